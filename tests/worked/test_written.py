"""The worked solution as text, Markdown, LaTeX and HTML: each row of numbers gives its value."""

import io
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bpnet import ACTIVATIONS, explain
from bpnet.worked.notation import Notation, words_of
from bpnet.worked.page import width_of
from bpnet.worked.published import X, Y, example
from tests.worked.problems import problem, worked_out

KATEX = Path(os.environ.get("BPNET_KATEX", "/nowhere")) / "katex"
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
    sum_of = "  ∂E/∂a²₁ = W³₁₁ · δ³₁ + W³₂₁ · δ³₂\n          = 0.4 · 0.138498562 + 0.5 · (-0.038"
    assert sum_of in text
    assert "  δ²₁     = ∂E/∂a²₁ · f'(z²₁) = 0.0363503064 · 0.241300709 = 0.0087713" in text
    values, words = last_values(text[text.index("Forward") :]), ORACLE.split()
    for symbol, printed in zip(words[::2], words[1::2], strict=True):
        assert values[symbol] == pytest.approx(float(printed), rel=5e-9), symbol
    assert text.count("mlp.py:") == 15


def every(sizes=(2, 2, 2), m=2, **options):
    """Solutions that take every activation and loss."""
    losses = ("huber", "absolute_error", "half_squared_error")
    rules = [([f, "identity"], losses[k % 3]) for k, f in enumerate(ACTIVATIONS) if f != "softmax"]
    rules += [(["tanh", "softmax"], "cross_entropy"), (["tanh", "softmax"], losses[2])]
    rules += [(["relu", "sigmoid"], "binary_cross_entropy")]
    rules += [(["relu", f], "poisson") for f in ("exp", "softplus")]
    for k, pair in enumerate(rules):
        yield explain(*problem(sizes, *pair, m=m, seed=k), **options)


@pytest.mark.parametrize("kind", ["text", "ascii", "latex", "markdown", "html"])
def test_each_row_of_numbers_gives_its_value(kind):
    notation = Notation(kind, 17, 99, "en")
    for worked in every():
        for step in worked.values():
            if step.made_by:
                row = "".join(notation.terms(step.made_by, numbers=True))
                assert worked_out(row) == pytest.approx(step.value, rel=1e-8, abs=1e-12), row


@pytest.mark.parametrize(
    ("kind", "symbol", "formula"),
    [
        ("text", "∂E/∂W³₂₁", "δ³₂ · a²₁"),
        ("ascii", "dE/dW[3][1, 0]", "delta[3][1] * a[2][0]"),
        ("latex", r"\frac{\partial E}{\partial W^{3}_{21}}", r"\delta^{3}_{2} \cdot a^{2}_{1}"),
        ("html", "∂E∂W213", "δ23·a12"),
    ],
)
def test_symbols_and_formulas_in_each_notation(kind, symbol, formula):
    notation, step = Notation(kind, 6, 4, "en"), explain(example(), X, Y)["dW[3][1, 0]"]
    written = [notation.of_code(step.name), "".join(notation.terms(step.made_by))]
    if kind == "html":
        written = ["".join(ET.fromstring(f"<m>{text}</m>").itertext()) for text in written]
    assert written == [symbol, formula]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_lines_fit_into_80_columns(language, ascii_only):
    for worked in every((3, 12, 3), m=3, language=language, shown=3):
        text = worked.text(ascii_only=ascii_only)
        assert max(map(width_of, text.splitlines())) <= 80
        assert text.isascii() == (ascii_only and language == "en")


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
    en, zh = words_of("en"), words_of("zh")
    for key, text in en.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", zh[key])), key
    text = explain(example(), X, Y, language="zh").text()
    assert "反向传播：第 2 层" in text
    assert last_values(text) == last_values(explain(example(), X, Y).text())


def test_what_is_left_out_is_said():
    net, x, y = problem((20, 8, 2), ["relu", "identity"], m=4)
    text = explain(net, x, y, shown=3).text()
    assert "(17 more)" in text
    assert "Samples not written out: 1; all is there by name." in text
    assert re.search("Not written out: [1-9][0-9]*; all is there by name.", text)
    assert "a²₁,₄" not in text
    assert len(text.splitlines()) < 500
    whole = explain(net, x, y, shown=99).text()
    assert "ot written out" not in whole
    assert "more)" not in whole


def test_why_delta_is_what_it_is():
    joined = explain(*problem((2, 2, 2), ["tanh", "sigmoid"], "binary_cross_entropy")).text()
    words = "Loss and output belong together: ∂E/∂a³ = (1 - y) / (1 - a) - y / a times f'(z³) = a"
    assert words in " ".join(joined.split())
    for loss in ("cross_entropy", "half_squared_error"):
        text = " ".join(explain(*problem((2, 2, 3), ["tanh", "softmax"], loss)).text().split())
        assert "f'(z³) is no number for each but a matrix." in text
        assert ("it is a - y" in text) == (loss == "cross_entropy")
    assert "belong together" not in explain(example(), X, Y).text()


def test_markdown_and_latex_hold_the_same_formulas():
    net = problem((2, 3, 2), ["tanh", "softmax"], "cross_entropy", m=2)
    worked = explain(*net, differences=True)
    blocks = [
        re.findall(r"(?s)\$\$\\begin{aligned}\n(.*?)\n\\end{aligned}\$\$", text)
        for text in (worked.markdown(), worked.latex())
    ]
    assert blocks[0] == blocks[1]
    assert len(blocks[0]) == len(list(worked.outline()))
    assert "```text\nmlp.py:" in worked.markdown()
    assert r"W\_T[l]" in worked.latex()
    assert worked._repr_latex_() == worked.latex()
    marks = {worked.text: "(finite difference)", worked.latex: r"\approx", worked.html: "≈"}
    for write, mark in marks.items():
        assert write().count(mark) == 17


def test_html_is_one_well_formed_file():
    for worked in every():
        page = worked.html("1 < 2")
        tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n").replace("&nbsp;", " "))
        for node in tree.iter():
            assert node.tag not in ("script", "link", "img")
            need = {"mfrac": 2, "msup": 2, "msub": 2, "msubsup": 3}.get(node.tag)
            assert need in (None, len(node))
        assert "1 &lt; 2" in page
    fragment = worked._repr_html_()
    assert fragment.startswith("<style>")
    assert "<html" not in fragment


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
