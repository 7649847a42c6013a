"""Tables read and refused, columns as inputs, and models in files."""

import json

import numpy as np
import pytest

from bpnet import MLP, InvalidFile
from bpnet.tables import (
    Column,
    TableModel,
    holds_numbers,
    inputs_of,
    load_table_model,
    read_table,
    scaled,
    told_apart,
)  # fmt: skip
from tests.helpers.complaint import complains

TEXT = "age;port;sex\n30;S;m\n\n 20 ;C;f\n40;S;f\n"
AGE, PORT, SEX = Column("age", (), 30.0, 8.0), Column("port", ("C", "S")), Column("sex", ("f", "m"))


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(text, name="t.csv"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return written


def model(target=SEX):
    net = MLP.init((3, 4, target.width), output="identity", rng=0)
    return TableModel(net, (AGE, PORT), target)


TABS = TEXT.replace(";", "\t").replace("port", '"port"')


def test_a_table_is_read(write):
    columns = {"age": ["30", "20", "40"], "port": ["S", "C", "S"], "sex": ["m", "f", "f"]}
    for text in TEXT, TEXT.replace(";", ","), "\ufeff" + TEXT.replace("\n", "\r\n"), TABS:
        assert read_table(write(text)) == ("t.csv", columns, [2, 4, 5])
    assert read_table(write(TEXT.encode("utf-16")), "utf-16").columns == columns
    table = read_table(write('"a,b,c";d\n3,5;x\n-1,25e3;3,\n'))  # decimal commas, as in Europe
    assert table.columns == {"a,b,c": ["3.5", "-1.25e3"], "d": ["x", "3,"]}
    assert read_table(write('a\tb\n"3,5"\tÖ\n'.encode("cp1252")), "cp1252").columns["a"] == ["3,5"]


def test_numbers_are_scaled_by_the_rows_to_train_on_and_categories_are_one_hot(write):
    table = read_table(write(TEXT))
    age, port = scaled(table, "age", np.arange(2)), told_apart(table, "port")
    assert (age, port) == (Column("age", (), 25.0, 5.0), PORT)
    assert inputs_of(table, (age, port)).tolist() == [[1, 0, 1], [-1, 1, 0], [3, 0, 1]]
    assert told_apart(table, "age") == Column("age", ("20", "30", "40"))
    assert scaled(read_table(write("a\n7\n7\n")), "a", np.arange(2)) == Column("a", (), 7.0, 1.0)
    codes = Column("code", ("01", "1", "true"))
    found = codes.values(read_table(write("code\n1\n01\nTrue\n1.0\n")))
    assert found.tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty"),
        ("\r\n\n", "t.csv is empty"),
        ("a,b\n", "t.csv has no rows below the names of its columns"),
        ("1,2\n3,4\n", "t.csv must name its columns in its first row"),
        ("a,,c\n1,2,3\n", "t.csv has a column without a name in its first row"),
        ("a,b,a\n1,2,3\n", "t.csv has two columns ['a']"),
        ("a,b\n1,2\n3\n", "t.csv, row 2 (line 3) has 1 instead of 2 fields"),
        ('a,b\n1,"2\n', "t.csv is no CSV file: line 2, unexpected end of data"),
        (b"a,b\n1,\xff\n", "t.csv is no text in utf-8: save it as UTF-8, or name its enc…"),
        ("a,b\n1,2\n", "t.csv has no column 'age': it has 'a', 'b'"),
        ("age\n1\n\"\"\n", "t.csv, row 2 (line 3), column 'age' is missing: fill it in, or leav…"),
        ("age\n1\n2\nNaN\n", "t.csv, row 3 (line 4), column 'age' is missing ('NaN'): fill it in…"),
        ("age\n1\n2\ninf\n", "t.csv, row 3 (line 4), column 'age' holds 'inf', which is no numb…"),
        ("age\n1\n1_0\n2\n", "t.csv, row 2 (line 3), column 'age' holds '1_0', which is no numb…"),
        ("age\n" + "\n".join(f"x{i}" for i in range(30)), "column 'age' has 30 different texts…"),
        ("age\nx\nx\n", "column 'age' has 1 text in 2 rows, from which nothing is learnt: leave…"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_by_row_and_column(write, text, message):
    with complains(ValueError, message):
        table = read_table(write(text))
        if not holds_numbers(table, "age"):
            told_apart(table, "age")


@pytest.mark.parametrize("target", [SEX, Column("price")])
def test_a_model_comes_back_with_its_bits_and_takes_rows_of_every_form(write, target):
    first = model(target)
    first.save("m.json")
    again = load_table_model("m.json")
    assert (again.columns, again.target) == (first.columns, target)
    columns = {"age": np.array([30, 20.5]), "port": ["S", "C"], "more": [None, 1]}
    a = first.net.predict([[0.0, 0.0, 1.0], [-9.5 / 8, 1.0, 0.0]])
    said = np.array(["f", "m"])[a.argmax(axis=1)] if target is SEX else a[:, 0]
    rows = [columns, [[30, "S"], [20.5, "C"]], read_table(write("port,age\nS,30\nC,20.5\n"))]
    for given in [*rows, pytest.importorskip("pandas").DataFrame(columns)]:
        assert np.array_equal(again.predict(given)[0], said)
        assert np.array_equal(again.predict(given)[1], a)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"age": [1.0]}, "the table has no column 'port': it has 'age'"),
        ({"age": [1, float("nan")], "port": "SS"}, "the table, row 2, column 'age' is missing ('…"),
        ([[None, "S"]], "the table, row 1, column 'age' is missing: …"),
        ([["x", "S"]], "the table, row 1, column 'age' holds 'x', which is no number"),
        ([[1, "X"]], "…column 'port' holds 'X', which is no category of the known ones: C, S"),
        ({"age": [], "port": []}, "there are no rows"),
        ([[3]], "rows have shape (1, 1), but this model reads 2 columns: age, port"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, message):
    with complains(ValueError, message):
        model().predict(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="x"), 'm.json is JSON, but no model of a table: it has no "f…'),
        (lambda m: m.update(version=2), "m.json is of format version 2, but this bpnet reads ve…"),
        (lambda m: m.pop("target"), 'm.json must hold "name" of each column, text'),
        (lambda m: m.pop("net"), "m.json is JSON, but not of a bpnet net…"),
        (lambda m: m.update(columns={}), 'm.json must hold "columns" of the model, a list'),
        (lambda m: m["columns"].pop(), "m.json has columns for 1 inputs and 2 outputs, but MLP(3…"),
        (lambda m: m["columns"][0].update(scale=0.0), "m.json must hold mean and scale of colum…"),
        (lambda m: m["columns"][0].update(mean=1e999), "m.json must hold mean and scale of colum…"),
        (lambda m: m["columns"][0].update(mean="1"), 'm.json must hold "mean" of each column, a…'),
        (lambda m: m["target"].update(name="age"), "m.json names a column twice"),
        (lambda m: m["target"].update(categories=["f", "f"]), "m.json must hold categories of c…"),
        (lambda m: m["target"].update(categories=["f", 3]), "m.json must hold categories of colu…"),
        (lambda m: m["target"].update(categories=["m", "f"]), "m.json must hold the target's ca…"),
        (lambda m: m["net"].update(sizes=[1]), "m.json …"),
    ],
)
def test_damaged_models_are_refused(write, change, message):
    model().save("m.json")
    with open("m.json", encoding="utf-8") as file:
        value = json.load(file)
    change(value)
    with complains(InvalidFile, message):
        load_table_model(write(json.dumps(value), "m.json"))
    with complains(InvalidFile, "m.json …"):
        load_table_model(write("{", "m.json"))
