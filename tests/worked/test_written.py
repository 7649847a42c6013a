"""The worked solution as text, Markdown, LaTeX and HTML: each row of numbers gives its value."""

import io
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from bpnet import ACTIVATIONS, MLP, explain
from bpnet.worked.notation import ASCII, LATEX, MATHML, TEXT, Notation
from bpnet.worked.page import width_of
from bpnet.worked.published import X, Y, example
from bpnet.worked.words import EN, LANGUAGES, ZH
from tests.helpers.formulas import of_ascii, of_latex, of_mathml, of_unicode
from tests.worked.problems import problem

NOTATIONS = [(TEXT, of_unicode), (ASCII, of_ascii), (LATEX, of_latex), (MATHML, of_mathml)]
KATEX = Path(os.environ.get("BPNET_KATEX", "/nowhere")) / "katex"

PUBLISHED = """\
Backward: layer 2
    CODE
    CODE

  ∂E/∂a²₁ = W³₁₁ · δ³₁ + W³₂₁ · δ³₂
          = 0.4 · 0.138498562 + 0.5 · (-0.0380982365)
          = 0.0363503064
  f'(z²₁) = a²₁ · (1 - a²₁) = 0.593269992 · (1 - 0.593269992) = 0.241300709
  δ²₁     = ∂E/∂a²₁ · f'(z²₁) = 0.0363503064 · 0.241300709 = 0.00877135469
  ∂E/∂a²₂ = W³₁₂ · δ³₁ + W³₂₂ · δ³₂
          = 0.45 · 0.138498562 + 0.55 · (-0.0380982365)
          = 0.0413703226
  f'(z²₂) = a²₂ · (1 - a²₂) = 0.596884378 · (1 - 0.596884378) = 0.240613417
  δ²₂     = ∂E/∂a²₂ · f'(z²₂) = 0.0413703226 · 0.240613417 = 0.00995425471

The partial derivatives of layer 2
    CODE
    CODE

  ∂E/∂W²₁₁ = δ²₁ · a¹₁ = 0.00877135469 · 0.05 = 0.000438567734
"""
# ORACLES: the page's numbers in nine digits, for the words of the solution
ORACLE = """\
z²₁ .3775  z²₂ .3925  a²₁ .593269992  a²₂ .596884378  z³₁ 1.10590597  z³₂ 1.2249214
a³₁ .75136507  a³₂ .772928465  E .298371109  E₁ .274811083  E₂ .0235600256
δ³₁ .138498562  δ³₂ -.0380982365  δ²₁ .00877135469  δ²₂ .0099542547
∂E/∂W³₁₁ .0821670406  ∂E/∂W³₁₂ .0826676278  ∂E/∂W³₂₁ -.0226025405  ∂E/∂W³₂₂ -.0227402422
∂E/∂W²₁₁ .000438567734  ∂E/∂W²₁₂ .000877135469  ∂E/∂W²₂₁ .000497712735  ∂E/∂W²₂₂ .000995425471
W²⁺₁₁ .149780716  W²⁺₁₂ .199561432  W²⁺₂₁ .249751144  W²⁺₂₂ .299502287
W³⁺₁₁ .35891648  W³⁺₁₂ .408666186  W³⁺₂₁ .51130127  W³⁺₂₂ .56137012  E⁺ .280471447"""


def last_values(text):
    """Return what stands behind the last = of each equation."""
    found, symbol = {}, ""
    for line in text.splitlines():
        if head := re.match(r"  (\S+) +=", line):
            symbol = head[1]
        if value := re.search(r"= (-?\d\S*)$", line):
            found[symbol] = float(value[1])
    return found


def test_the_text_of_the_published_example():
    text = explain(example(), X, Y, learning_rate=0.5, digits=9).text()
    assert PUBLISHED in re.sub(r"mlp\.py:\d+  .*", "CODE", text)
    values = last_values(text[text.index("Forward") :])
    words = ORACLE.split()
    for symbol, printed in zip(words[::2], words[1::2], strict=True):
        assert values[symbol] == pytest.approx(float(printed), rel=5e-9), symbol
    assert text.count("mlp.py:") == 15


def every(sizes=(2, 3, 2), m=2):
    """Solutions that take every activation and loss."""
    yield explain(*problem(sizes, ["tanh", "softmax"], "cross_entropy", m=m))
    yield explain(*problem(sizes, ["tanh", "softmax"], m=m))
    for k, f in enumerate(ACTIVATIONS):
        pair = ("huber", "absolute_error", "half_squared_error")[k % 3], [f, "identity"]
        if f != "softmax":
            yield explain(*problem(sizes, pair[1], pair[0], m=m, seed=k))
    yield explain(*problem(sizes, ["relu", "sigmoid"], "binary_cross_entropy", m=m))
    yield explain(*problem(sizes, ["relu", "exp"], "poisson", m=m))
    yield explain(*problem(sizes, ["relu", "softplus"], "poisson", m=m))


@pytest.mark.parametrize(("forms", "read"), NOTATIONS, ids=["text", "ascii", "latex", "mathml"])
def test_each_row_of_numbers_gives_its_value(forms, read):
    write = Notation(forms, 17, 99, EN).write
    for worked in every():
        for step in worked.values():
            if step.code:
                row = write(step.code, step.values)
                assert read(row) == pytest.approx(step.value, rel=1e-8, abs=1e-12), row


def test_symbols_and_formulas_in_each_notation():
    step = explain(*problem((2, 2, 2), "sigmoid"))["dW[3][1, 0]"]
    written = [Notation(forms, 6, 4, EN).write(step.name) for forms, _ in NOTATIONS]
    assert written[:3] == [
        "∂E/∂W³₂₁", "dE/dW[3][1, 0]", r"\frac{\partial E}{\partial W^{3}_{21}}",
    ]  # fmt: skip
    assert "".join(ET.fromstring(written[3]).itertext()) == "∂E∂W213"
    written = [Notation(forms, 6, 4, EN).write(step.code) for forms, _ in NOTATIONS]
    assert written[:3] == ["δ³₂ · a²₁", "delta[3][1] * a[2][0]", r"\delta^{3}_{2} \, a^{2}_{1}"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_lines_fit_into_80_columns(language, ascii_only):
    for worked in every((3, 12, 3), m=3):
        options = {"language": language, "shown": 3, "digits": 6}
        net, x, y = worked.work.net, worked.work.cache.a[1], worked.work.y
        text = explain(net, x, y, **options).text(ascii_only=ascii_only)
        assert max(map(width_of, text.splitlines())) <= 80
        assert "\0" not in text
        if ascii_only and language == "en":
            assert text.isascii()


def test_the_terminal_decides_between_unicode_and_ascii(monkeypatch):
    worked = explain(example(), X, Y, language="zh")
    for encoding, formula, words in (
        ("utf-8", "δ²₁", "反向"),
        ("gbk", "delta[2][0]", "反向"),
        ("ascii", "delta[2][0]", "Backward"),
    ):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        stream.write(str(worked))
        stream.flush()
        text = stream.buffer.getvalue().decode(encoding)
        assert formula in text
        assert words in text


def test_both_languages_say_the_same():
    assert EN.keys() == ZH.keys()
    for key, text in EN.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", ZH[key])), key
    zh = explain(example(), X, Y, language="zh").text()
    assert "反向传播：第 2 层" in zh
    assert last_values(zh) == last_values(explain(example(), X, Y).text())


def test_what_is_left_out_is_said():
    net, x, y = problem((20, 8, 2), ["relu", "identity"], m=4)
    text = explain(net, x, y, shown=3).text()
    assert "(18 more)" in text
    assert "Samples not written out: 1; all is there by name." in text
    assert "Not written out: 10; all is there by name." in text
    assert "a²₁,₄" not in text
    assert len(text.splitlines()) < 500
    whole = explain(net, x, y, shown=99).text()
    assert "ot written out" not in whole
    assert "more)" not in whole


def test_why_delta_is_what_it_is():
    joined = explain(*problem((2, 2, 2), ["tanh", "sigmoid"], "binary_cross_entropy")).text()
    words = "Loss and output belong together: ∂E/∂a³ = (1 - y) / (1 - a³) - y/a³ times f'(z³) = a³"
    assert words in " ".join(joined.split())
    for loss in ("cross_entropy", "half_squared_error"):
        text = " ".join(explain(*problem((2, 2, 3), ["tanh", "softmax"], loss)).text().split())
        assert "f'(z³) is no number for each but a matrix." in text
        assert ("it is a³ - y" in text) == (loss == "cross_entropy")
    assert "belong together" not in explain(example(), X, Y).text()


def test_a_difference_stands_beside_its_derivative():
    worked = explain(*problem((2, 2, 2), "sigmoid"), differences=True)
    marks = {
        worked.text: "(finite difference)", worked.latex: r"\approx", worked.html: "≈",
        worked.markdown: r"\text{(finite difference)}",
    }  # fmt: skip
    for write, mark in marks.items():
        assert write().count(mark) == 12


def test_markdown_and_latex_hold_the_same_formulas():
    worked = explain(*problem((2, 3, 2), ["tanh", "softmax"], "cross_entropy", m=2))
    blocks = [
        re.findall(r"(?s)\$\$\\begin{aligned}\n(.*?)\n\\end{aligned}\$\$", text)
        for text in (worked.markdown(), worked.latex())
    ]
    assert blocks[0] == blocks[1]
    assert len(blocks[0]) == len([s for s in worked.sections if s.rows])
    assert "```text\nmlp.py:" in worked.markdown()
    assert r"W\_T[l]" in worked.latex()
    assert worked._repr_latex_() == worked.latex()


def test_html_is_one_well_formed_file():
    for worked in every():
        page = worked.html()
        tree = ET.fromstring(page.replace("<!DOCTYPE html>\n", "").replace("&nbsp;", " ")
                             .replace('<meta charset="utf-8">', "")
                             .replace('initial-scale=1">', 'initial-scale=1"/>'))  # fmt: skip
        assert not re.search(r"https?:|<script|<link|<img", page)
        for node in tree.iter():
            if node.tag in ("mfrac", "msup", "msub"):
                assert len(node) == 2
            if node.tag == "msubsup":
                assert len(node) == 3
    fragment = worked._repr_html_()
    assert fragment.startswith("<style>")
    assert "<html" not in fragment


def test_the_users_names_are_escaped():
    from bpnet import Activation

    odd = Activation("<b>&_$", f=np.sin, df=lambda z, a: np.cos(z))
    net = MLP.init((1, 1), activation=odd, rng=0)
    worked = explain(net, [1], [1])
    assert "<b>" not in worked.html()
    assert r"\mathrm{<b>\&\_\$}" in worked.latex()


@pytest.mark.skipif(not KATEX.exists(), reason="KaTeX is not there: set BPNET_KATEX")
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_latex_parses_in_katex():
    texts = [worked.latex() for worked in every()]
    texts += [explain(*problem((3, 12, 3), "gelu", m=2), language="zh", shown=2).latex()]
    texts += [explain(*problem((2, 2, 2), "sigmoid"), differences=True).markdown()]
    source = "\n".join(texts)
    script = """
        const katex = require(process.argv[1]);
        const text = require("fs").readFileSync(0, "utf8");
        let count = 0;
        for (const found of text.matchAll(/\\$\\$([^]*?)\\$\\$|\\$([^$]*)\\$/g)) {
            const displayMode = found[1] !== undefined;
            const options = {displayMode, throwOnError: true, strict: "error"};
            katex.renderToString(displayMode ? found[1] : found[2], options);
            count++;
        }
        console.log(count);"""
    run = subprocess.run(
        ["node", "-e", script, str(KATEX)], input=source, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) > source.count(r"\begin{aligned}") > 100
