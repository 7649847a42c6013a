"""From a table to a model and to predictions, by the command."""

import csv
import io
import re

import numpy as np
import pytest

from bpnet.cli.main import main
from bpnet.rules.metrics import METRICS
from bpnet.tables import load_model, read_table
from tests.cli.test_main import printed, refusal

QUICK = ("--restarts", "2", "--hidden", "8", "--learning-rate", "0.02")


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """Two tables: petals in three classes, and prices; both can be learnt from."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(120, 2)), rng.integers(3, size=120)
    rows = zip(x[:, 0] * 30 + 5 + 90 * c, x[:, 1], np.array(["red", "blue"])[(x[:, 1] > 0) * 1],
               np.array(["B", "A", "Ö"])[c], strict=True)  # fmt: skip
    write("petals.csv", ("length", "width", "colour", "kind"), rows)
    price = 1000 + 200 * x[:, 0] - 50 * (x[:, 1] > 0)
    colour = np.array(["red", "blue"])[(x[:, 1] > 0) * 1]
    write("prices.csv", ("id", "size", "colour", "price"),
          zip(range(120), x[:, 0], colour, price, strict=True))  # fmt: skip


def write(name, header, rows):
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def scores(out, name):
    """Return the net's and the baseline's value in the column of that name."""
    lines = out[out.index("   accuracy" if "accuracy" in out else "   mean_abs") :].splitlines()
    k = lines[0].split().index(name) - len(lines[0].split())
    return [float(line.split()[k]) for line in lines[1:3]]


def test_classes(capsys):
    out = printed(capsys, "train", "petals.csv", "--target", "kind", "--save", "m.json", *QUICK)
    assert "target     kind, 3 classes: A (" in out
    assert "numbers    2: length, width\ncategories 1: colour (2)\n" in out
    assert "rows       72 to train on, 24 to stop and choose by, 24 to report on\n" in out
    assert re.search(r"^chosen     start [12] of 2, after epoch \d+ of \d+$", out, re.M)
    assert all(len(line) < 80 for line in out.splitlines())
    net, baseline = scores(out, "accuracy")
    assert net > 0.7 > 0.5 > baseline
    model = load_model("m.json")
    said = list(csv.reader(io.StringIO(printed(capsys, "predict", "m.json", "petals.csv"))))
    table = read_table("petals.csv")
    assert said[0] == ["kind", "probability"]
    assert [row[0] for row in said[1:]] == model.predict(table).tolist()
    sure = model.predict_proba(table).max(axis=1)
    assert [float(row[1]) for row in said[1:]] == pytest.approx(sure, rel=1e-5)
    assert (
        np.mean([row[0] == kind for row, kind in zip(said[1:], table.columns["kind"], strict=True)])
        > 0.7
    )


def test_numbers(capsys):
    command = ("train", "prices.csv", "--target", "price", "--drop", "id", "--save", "m.json")
    out = printed(capsys, *command, *QUICK)
    assert "target     price, a number: mean " in out
    assert "numbers    1: size\n" in out
    error, mean_error = scores(out, "mean_absolute_error")
    assert 0 < error * 5 < mean_error < 250
    assert scores(out, "r2")[0] > 0.9
    assert printed(capsys, "predict", "m.json", "prices.csv", "-o", "said.csv") == ""
    said, table = read_table("said.csv"), read_table("prices.csv")
    y = np.array(table.columns["price"], float)[:, None]
    a = np.array(said.columns["price"], float)[:, None]
    assert METRICS["r2"](y, a) > 0.9
    assert np.array_equal(a[:, 0], load_model("m.json").predict(table))


def test_a_seed_gives_the_same_file_and_another_seed_another(capsys):
    found = []
    command = ("train", "petals.csv", "--target", "kind", "--epochs", "5", "--save", "m.json")
    for seed in "3", "3", "4":
        out = printed(capsys, *command, "--seed", seed, *QUICK)
        with open("m.json", encoding="utf-8") as file:
            found.append((out, file.read()))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_the_report_is_of_rows_that_nothing_has_seen(capsys):
    """Targets drawn at random cannot be told, however long they are learnt by heart."""
    rng = np.random.default_rng(1)
    rows = [
        (*row, "yn"[k])
        for row, k in zip(rng.normal(size=(200, 20)), rng.integers(2, size=200), strict=True)
    ]
    write("noise.csv", (*map("x{}".format, range(20)), "say"), rows)
    out = printed(capsys, "train", "noise.csv", "--target", "say", "--patience", "400", *QUICK)
    assert scores(out, "accuracy")[0] < 0.75


def test_whole_numbers_are_classes_where_they_are_few_or_it_is_said(capsys):
    rows = [(i % 7, i % 3) for i in range(60)]
    write("codes.csv", ("code", "group"), rows)
    short = ("train", "codes.csv", "--target", "group", "--epochs", "1", *QUICK)
    assert "3 classes: 0 (20), 1 (20), 2 (20)" in printed(capsys, *short)
    assert "target     group, a number" in printed(capsys, *short, "--task", "numbers")
    assert "categories 1: code (7)" in printed(capsys, *short, "--categories", "code")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("petals.csv --target kinds", "petals.csv has no column 'kinds': it has 'length', 'width'"),
        ("petals.csv --target kind --drop wide", "petals.csv has no column 'wide'"),
        ("petals.csv --target kind --drop length,width,colour", "no column to predict from"),
        ("petals.csv --target length --task classes", "has 120 classes in 120 rows: from so many"),
        ("petals.csv --target kind --task numbers", "row 1 (line 2), column 'kind' holds "),
        ("petals.csv --target kind --test 0.9", "--validation must be > 0 and < 0.1, not 0.2"),
        ("petals.csv --target kind --restarts 0", "--restarts must be an integer >= 1, not 0"),
        ("petals.csv --target kind --activation no", "unknown activation 'no'"),
        ("petals.csv --target kind --save no/m.json", "no: there is no such folder to write to"),
        ("none.csv --target kind", "none.csv: No such file"),
        ("few.csv --target b", "few.csv needs 10 rows at least, but has 2"),
        ("gap.csv --target b", "gap.csv, row 11 (line 12), column 'a' is missing"),
        ("one.csv --target b", "the target 'b' has 1 class in 12 rows: from so few nothing is"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_a_line(capsys, argv, message):
    write("few.csv", "ab", [(1, "x"), (2, "y")])
    write("gap.csv", "ab", [(i if i != 10 else "", "xy"[i % 2]) for i in range(12)])
    write("one.csv", "ab", [(i, "x") for i in range(12)])
    assert message in refusal(capsys, "train", *argv.split(" "))


def test_predictions_refuse_what_the_model_does_not_know(capsys):
    printed(
        capsys,
        "train",
        "petals.csv",
        "--target",
        "kind",
        "--save",
        "m.json",
        "--epochs",
        "1",
        *QUICK,
    )
    write("new.csv", ("colour", "width", "length"), [("red", 1, 2), ("green", 1, 2)])
    assert "new.csv, row 2 (line 3), column 'colour' holds 'green'" in refusal(
        capsys, "predict", "m.json", "new.csv"
    )
    assert "prices.csv has no column 'length'" in refusal(capsys, "predict", "m.json", "prices.csv")
    assert "petals.csv is no" in refusal(capsys, "predict", "petals.csv", "new.csv")


@pytest.mark.parametrize("command", ["train", "predict"])
def test_help_fits_a_terminal_and_is_ascii(capsys, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 80
