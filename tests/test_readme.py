"""What the README says is so: snippets run and print what it shows, lines are the code's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bpnet.cli.main import main
from tests.helpers.snippets import BLOCK, printed, same, snippets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = BLOCK.findall(README)
SNIPPETS = snippets(BLOCKS)
COMMANDS = [
    (mark.removeprefix("output of: "), text)
    for mark, language, text in BLOCKS
    if mark.startswith("output of: ")
]


def test_same_is_strict_about_what_matters() -> None:
    assert same("loss 0.5001", "loss 0.5")
    assert same("error 3.0e-15  W[2][0, 1]", "error 1.0e-16  W[3][1, 1]")
    assert not same("loss 0.6", "loss 0.5")
    assert not same("loss 0.5", "cost 0.5")
    assert not same("error 3.0e-05", "error 1.0e-16")
    assert len(SNIPPETS) >= 3  # there is something to test
    assert len(COMMANDS) >= 1


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


def test_the_chinese_readme_keeps_step() -> None:
    chinese = (ROOT / "README.zh-CN.md").read_text("utf-8")
    assert BLOCK.findall(chinese) == BLOCKS
    for pattern in (r"^(#+) ", r"\]\((bpnet/mlp\.py#L\d+)\)", r"^(\| 784-.*)$", r"!\[.*\]\((.*)\)"):
        assert re.findall(pattern, chinese, re.M) == re.findall(pattern, README, re.M)
    for link in re.findall(r"\]\(([\w./-]+)(?:#[^)]*)?\)", chinese):
        assert (ROOT / link).exists(), link
