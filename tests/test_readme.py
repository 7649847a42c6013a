"""What the README says is so: snippets run and print what it shows, lines are the code's."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from bpnet.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"(?:<!-- (.*?) -->\n)?```(\w+)\n(.*?)```", README, flags=re.S)
SNIPPETS = [
    (code, BLOCKS[i + 1][2] if i + 1 < len(BLOCKS) and BLOCKS[i + 1][1] == "text" else None)
    for i, (_, language, code) in enumerate(BLOCKS)
    if language == "python"
]
COMMANDS = [
    (mark.removeprefix("output of: "), text)
    for mark, language, text in BLOCKS
    if mark.startswith("output of: ")
]


def printed(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    return out.getvalue()


NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


def same(found: str, expected: str) -> bool:
    """Whether two outputs are alike but for rounding.

    Another processor rounds otherwise, which training makes larger: numbers may differ by a
    twentieth, rounding errors and times may be any, and so may the place of the largest rounding
    error.
    """
    parts = []
    for text in (found, expected):
        text = re.sub(r" +\d+\.\d{3}(?=  |$)", " time", text.strip(), flags=re.M)
        text = re.sub(r"\d(\.\d+)?e-(09|1\d)\b( +\w\[.*$)?", "tiny", text, flags=re.M)
        numbers = [float(n.replace(",", "")) for n in NUMBER.findall(text)]
        parts.append((NUMBER.sub("#", text), numbers))
    (words, numbers), (other_words, others) = parts
    return words.split() == other_words.split() and numbers == pytest.approx(others, rel=0.05)


def test_same_is_strict_about_what_matters() -> None:
    assert same("loss 0.5001", "loss 0.5")
    assert same("error 3.0e-15  W[2][0, 1]", "error 1.0e-16  W[3][1, 1]")
    assert not same("loss 0.6", "loss 0.5")
    assert not same("loss 0.5", "cost 0.5")
    assert not same("error 3.0e-05", "error 1.0e-16")


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_prints_what_stands_below_it(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, expected = SNIPPETS[number]
    monkeypatch.chdir(tmp_path)
    found = printed(code)
    if expected is not None:
        assert same(found, expected), found


@pytest.mark.parametrize(("command", "expected"), COMMANDS)
def test_a_command_prints_what_stands_below_it(
    command: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *arguments = shlex.split(command)
    assert name == "bpnet"
    main(arguments)
    found = capsys.readouterr().out
    assert same(found, expected), found


def test_there_is_something_to_test() -> None:
    assert len(SNIPPETS) >= 3
    assert len(COMMANDS) >= 1


@pytest.mark.parametrize("mark", ["run", "test"])
def test_the_two_commands_are_one_line_each(mark: str) -> None:
    commands = [code for found, language, code in BLOCKS if found == mark and language == "sh"]
    assert len(commands) == 1
    assert len(commands[0].strip().splitlines()) == 1
    assert commands[0].startswith("python3 -m venv .venv && ")


def test_each_formula_stands_beside_a_line_of_the_code() -> None:
    lines = (ROOT / "bpnet" / "mlp.py").read_text().splitlines()
    rows = re.findall(r"\[`(.+?)`\]\(bpnet/mlp\.py#L(\d+)\)", README)
    assert len(rows) >= 8
    for code, number in rows:
        assert lines[int(number) - 1].strip() == code


def test_every_link_to_a_file_leads_to_one() -> None:
    for link in re.findall(r"\]\(([\w./-]+)(?:#[^)]*)?\)", README):
        assert (ROOT / link).exists(), link
