"""From a table to a model and to predictions, by the command; the same file as an estimator."""

import csv
import io
import re
import sys

import numpy as np
import pytest

from bpnet.cli.main import main
from bpnet.rules.metrics import METRICS
from bpnet.tables import load_table_model, read_table
from tests.helpers.command import printed, refusal

QUICK = ("--restarts", "2", "--hidden", "8", "--learning-rate", "0.02")


def write(name, header, rows):
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """Two tables: petals in three classes, and prices; both can be learnt from."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(120, 2)), rng.integers(3, size=120)
    colour, kind = np.array(["red", "blue"])[(x[:, 1] > 0) * 1], np.array(["B", "A", "Ö"])[c]
    petals = zip(x[:, 0] * 30 + 5 + 90 * c, x[:, 1], colour, kind, strict=True)
    write("petals.csv", ("length", "width", "colour", "kind"), petals)
    price = 1000 + 200 * x[:, 0] - 50 * (x[:, 1] > 0)
    prices = zip([""] * 120, x[:, 0], colour, price, strict=True)
    write("prices.csv", ("id", "size", "colour", "price"), prices)


def scores(out, name):
    """Return the net's and the baseline's value in the column of that name."""
    lines = out[out.index("   accuracy" if "accuracy" in out else "   mean_abs") :].splitlines()
    k = lines[0].split().index(name) - len(lines[0].split())
    return [float(line.split()[k]) for line in lines[1:3]]


def test_classes(capsys, monkeypatch):
    out = printed(capsys, "train", "petals.csv", "--target", "kind", "--save", "m.json", *QUICK)
    assert "target     kind, 3 classes: A (" in out
    assert "numbers    2: length, width\ncategories 1: colour (2)\n" in out
    assert "rows       72 to train on, 24 to stop and choose by, 24 to report on\n" in out
    assert re.search(r"^chosen     start [12] of 2, after epoch \d+ of \d+$", out, re.M)
    assert all(len(line) < 80 for line in out.splitlines())
    net, baseline = scores(out, "accuracy")
    assert net > 0.7 > 0.5 > baseline
    head, *lines = csv.reader(io.StringIO(printed(capsys, "predict", "m.json", "petals.csv")))
    table = read_table("petals.csv")
    said, p = load_table_model("m.json").predict(table)
    assert head == ["kind", "probability"]
    assert lines == [[k, f"{best:.6g}"] for k, best in zip(said, p.max(axis=1), strict=True)]
    assert np.mean(said == table.columns["kind"]) > 0.7
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main(["predict", "m.json", "petals.csv"]) == 0


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
    y, a = (np.array(each.columns["price"], float)[:, None] for each in (table, said))
    assert METRICS["r2"](y, a) > 0.9
    assert np.array_equal(a, load_table_model("m.json").predict(table)[1])


@pytest.mark.parametrize(("table", "target"), [("petals", "kind"), ("prices", "price")])
def test_the_file_is_an_estimator_that_says_the_same(capsys, table, target):
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    pd = pytest.importorskip("pandas", reason="data frames need pandas")
    from bpnet.estimators import load_model

    drop = ("--drop", "id") * (table == "prices")
    printed(capsys, "train", f"{table}.csv", "--target", target, "--save", "m.json", *drop, *QUICK)
    printed(capsys, "predict", "m.json", f"{table}.csv", "-o", "said.csv")
    model, frame = load_model("m.json"), pd.read_csv(f"{table}.csv")
    columns = [name for name in frame.columns if name not in ("id", target)]
    said = model.predict(frame)
    assert [*map(str, said.tolist())] == read_table("said.csv").columns[target]
    assert np.array_equal(said, model.predict(frame[columns].to_numpy()))
    assert model.feature_names_in_.tolist() == columns
    assert np.array_equal(model[-1].net_.theta, load_table_model("m.json").net.theta)
    assert model.score(frame, frame[target]) > 0.7
    if table == "petals":
        assert model.classes_.tolist() == ["A", "B", "Ö"]
        p = model.predict_proba(frame).max(axis=1)
        assert [f"{best:.6g}" for best in p] == read_table("said.csv").columns["probability"]
    inputs = model[:-1].transform(frame)
    before = model[-1].net_.theta.copy()
    model[-1].partial_fit(inputs, frame[target])  # it goes on from the file's net
    assert 0 < np.abs(model[-1].net_.theta - before).max() < 0.1 * np.abs(before).max()


def test_a_seed_gives_the_same_file_and_another_seed_another(capsys):
    found = []
    command = ("train", "petals.csv", "--target", "kind", "--epochs", "5", "--save", "m.json")
    for seed in "3", "3", "4":
        out = printed(capsys, *command, "--seed", seed, *QUICK)
        with open("m.json", encoding="utf-8") as file:
            found.append((out, file.read()))
    assert found[0] == found[1] != found[2]


def test_the_report_is_of_rows_that_nothing_has_seen(capsys):
    """Targets drawn at random cannot be told, however long they are learnt by heart."""
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.normal(size=(200, 20)), rng.integers(2, size=200)])
    write("noise.csv", [*map("x{}".format, range(20)), "say"], rows)
    out = printed(capsys, "train", "noise.csv", "--target", "say", "--patience", "400", *QUICK)
    assert scores(out, "accuracy")[0] < 0.75


def test_whole_numbers_are_classes_where_they_are_few_or_it_is_said(capsys):
    write("codes.csv", ("code", "group"), [(i % 7, i % 3) for i in range(60)])
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
        ("petals.csv --target length --task classes", "has 120 different texts in 120 rows, from"),
        ("petals.csv --target kind --task numbers", "row 1 (line 2), column 'kind' holds "),
        ("petals.csv --target kind --test 0.9", "--validation must be > 0 and < 0.1, not 0.2"),
        ("petals.csv --target kind --restarts 0", "--restarts must be an integer >= 1, not 0"),
        ("petals.csv --target kind --activation no", "unknown activation 'no'"),
        ("petals.csv --target kind --encoding x", "petals.csv is no text in x: save it as UTF-8"),
        ("petals.csv --target kind --save no/m.json", "no: there is no such folder to write to"),
        ("none.csv --target kind", "none.csv: No such file"),
        ("few.csv --target b", "few.csv needs 10 rows at least, but has 2"),
        ("prices.csv --target price", "prices.csv, row 1 (line 2), column 'id' is missing"),
        ("one.csv --target b", "column 'b' has 1 text in 12 rows, from which nothing is learnt"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(capsys, argv, message):
    write("few.csv", "ab", [(1, "x"), (2, "y")])
    write("one.csv", "ab", [(i, "x") for i in range(12)])
    err = refusal(capsys, "train", *argv.split(" "))
    assert message in err


def test_predictions_refuse_what_the_model_does_not_know(capsys):
    train = ("train", "petals.csv", "--target", "kind", "--save", "m.json", "--epochs", "1")
    printed(capsys, *train, *QUICK)
    write("new.csv", ("colour", "width", "length"), [("red", 1, 2), ("green", 1, 2)])
    for model, table, message in (
        ("m.json", "new.csv", "new.csv, row 2 (line 3), column 'colour' holds 'green'"),
        ("m.json", "prices.csv", "prices.csv has no column 'length'"),
        ("petals.csv", "new.csv", "petals.csv is no"),
    ):
        assert message in refusal(capsys, "predict", model, table)
