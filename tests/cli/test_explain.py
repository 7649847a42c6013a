"""The command ``bpnet explain``: what it prints, in which form, and what it refuses."""

import io
import re
import sys

import pytest

from bpnet import MLP, explain
from bpnet.cli.main import main
from bpnet.formats import to_json
from bpnet.worked.published import X, Y, example

HAN = MLP.from_weights(  # Han & Kamber's net (ORACLES section 2)
    W=[[[0.2, 0.4, -0.5], [-0.3, 0.1, 0.2]], [[-0.3, -0.2]]], b=[[-0.4, 0.2], [0.1]]
)


def printed(capsys, *argv):
    status = main(["explain", *argv])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def test_the_published_example_with_its_losses(capsys):
    out = printed(capsys, "--published")
    assert out.startswith(explain(example(), X, Y).text())
    assert "0.291027924   WRONG  W³ had moved before δ² was taken\n" in out
    assert "0.280471447   right" in out


def test_options_are_passed_on(capsys):
    out = printed(capsys, "--published", "--digits", "3", "--learning-rate", "2", "--shown", "1")
    assert out.startswith(explain(example(), X, Y, digits=3, learning_rate=2, shown=1).text())
    assert "(finite difference)" in printed(capsys, "--published", "--differences")
    assert "反向传播" in printed(capsys, "--published", "--language", "zh")
    assert printed(capsys, "--published", "--ascii").isascii()
    out = printed(capsys, "--published", "--of", "δ²₁")
    assert out == explain(example(), X, Y).of("δ²₁").text()


def test_every_format(capsys):
    worked = explain(example(), X, Y)
    latex = printed(capsys, "--published", "--format", "latex")
    assert latex.startswith(worked.latex())
    assert latex.isascii()
    assert r"\begin{verbatim}" in latex
    markdown = printed(capsys, "--published", "--format", "markdown")
    assert markdown.startswith(worked.markdown())
    assert markdown.count("```") % 2 == 0
    html = printed(capsys, "--published", "--format", "html", "--steps", "3")
    assert html.startswith("<!DOCTYPE html>")
    assert html.count("<article") == 4
    assert "WRONG" in html
    assert "Steps not written out: 1; " in html


def test_a_net_of_a_file(capsys, tmp_path):
    arguments = ("--x", "1,0,1", "--y", "1", "--learning-rate", "0.9", "--digits", "3")
    to_json(HAN, tmp_path / "net.json")
    HAN.save(tmp_path / "net.npz")
    out = printed(capsys, "--weights", str(tmp_path / "net.json"), *arguments)
    assert re.search(r"a³₁ += .* = 0\.474\n", out)
    assert re.search(r"W³⁺₁₁ = .* = -0\.261\n", out)
    assert "circulates" not in out
    assert printed(capsys, "--weights", str(tmp_path / "net.npz"), *arguments) == out
    batch = ("--x=-1,0,1;0,2,0.5", "--y", "1;0")
    out = printed(capsys, "--weights", str(tmp_path / "net.npz"), *batch)
    assert "Backward: layer 2, sample 2" in out
    assert "a¹₂₂ = 2" in out


def test_of_many_steps_the_first_and_the_last(capsys):
    out = printed(capsys, "--published", "--steps", "100", "--digits", "9")
    assert "Steps not written out: 98; the loss after 99 steps is 0.0061627249." in out
    assert "After 99 steps of gradient descent" in out
    assert "= 0.00608313106\n" in out
    assert "not written out" not in printed(capsys, "--published", "--steps", "2")


def test_html_survives_another_encoding(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["explain", "--published", "--format", "html", "--language", "zh"]) == 0
    stream.flush()
    html = stream.buffer.getvalue().decode("latin-1")
    assert "&#24050;&#30693;" in html  # what is given


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "one of the arguments --published --weights is required"),
        (["--weights", "FILE"], "--weights needs a sample: give --x and --y"),
        (["--weights", "no.json", "--x", "1", "--y", "1"], "no.json: No such file"),
        (["--weights", __file__, "--x", "1", "--y", "1"], "test_explain.py is no .npz file"),
        (["--published", "--x", "1,b"], "--x is '1,b', but must be numbers such as 0.05,0.1"),
        (["--published", "--x", "1,2,3"], "x has shape (3,), but this net takes 2 inputs"),
        (["--published", "--of", "E[7]"], "--of: there is no E[7]: indices count"),
        (["--published", "--steps", "0"], "--steps must be an integer >= 1, not 0"),
        (["--published", "--language", "fr"], "unknown language 'fr'"),
    ],
)
def test_errors_are_one_line(capsys, argv, message):
    assert main(["explain", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
