"""Tables read and refused, columns as inputs, and models in files."""

import json

import numpy as np
import pytest

from bpnet import MLP, InvalidFile
from bpnet.tables import Categories, Numbers, TableModel, column_of, load_model, read_table
from tests.helpers.complaint import complains

TEXT = "age;port;sex\n30;S;m\n\n 20 ;C;f\n40;S;f\n"
ALL = np.arange(3)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(text, name="t.csv"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return written


def model(target=None):
    columns = Numbers("age", 30.0, 8.0), Categories("port", ("C", "S"))
    target = target or Categories("sex", ("f", "m"))
    return TableModel(MLP.init((3, 4, target.width), output="identity", rng=0), columns, target)


CRLF = "\ufeff" + TEXT.replace("\n", "\r\n")
TABS = TEXT.replace(";", "\t").replace("port", '"port"')


@pytest.mark.parametrize("text", [TEXT, TEXT.replace(";", ","), CRLF, TABS])
def test_a_table_is_read(write, text):
    table = read_table(write(text))
    assert table.columns == {
        "age": ["30", "20", "40"],
        "port": ["S", "C", "S"],
        "sex": ["m", "f", "f"],
    }
    assert table.lines == [2, 4, 5]
    assert len(table) == 3


def test_numbers_are_scaled_by_the_rows_to_train_on_and_categories_are_one_hot(write):
    table = read_table(write(TEXT))
    age, port = column_of(table, "age", ALL[:2]), column_of(table, "port", ALL)
    assert (age, port) == (Numbers("age", 25.0, 5.0), Categories("port", ("C", "S")))
    assert age.encode(table).tolist() == [[1.0], [-1.0], [3.0]]
    assert port.encode(table).tolist() == [[0, 1], [1, 0], [0, 1]]
    assert age.decode(age.encode(table)).tolist() == [30, 20, 40]
    assert port.decode(port.encode(table)).tolist() == ["S", "C", "S"]
    assert column_of(table, "age", ALL, ["age"]) == Categories("age", ("20", "30", "40"))
    assert Numbers.of(read_table(write("a\n7\n7\n")), "a", ALL[:2]) == Numbers("a", 7.0, 1.0)
    assert Categories.of(read_table(write("a\n10\n9\n2.5\n")), "a").categories == ("2.5", "9", "10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty"),
        ("a,b\n", "t.csv has no rows below the names of its columns"),
        ("1,2\n3,4\n", "t.csv must name its columns in the first row, which holds numbers"),
        ("a,,c\n1,2,3\n", "t.csv has no name for its column 2"),
        ("a,b,a\n1,2,3\n", "t.csv has two columns 'a'"),
        ("a,b\n1,2\n3\n", "t.csv, row 2 (line 3) has 1 instead of 2 fields"),
        ('a,b\n1,"2\n', "t.csv is no CSV file: line 2, unexpected end of data"),
        (b"a,b\n1,\xff\n", "t.csv is no text in UTF-8"),
        ("a,b\n1,2\n", "t.csv has no column 'age': it has 'a', 'b'"),
        ("age\n1\n\"\"\n", "t.csv, row 2 (line 3), column 'age' is missing: fill it in, or leav…"),
        ("age\n1\n2\nNaN\n", "t.csv, row 3 (line 4), column 'age' is missing ('NaN'): fill it in…"),
        ("age\n1\n2\ninf\n", "t.csv, row 3 (line 4), column 'age' holds 'inf', which is no numb…"),
        ("age\n1\n1_0\n2\n", "t.csv, row 2 (line 3), column 'age' holds '1_0', which is no numb…"),
        ("age\n" + "\n".join(f"x{i}" for i in range(30)), "column 'age' has 30 different texts…"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_by_row_and_column(write, text, message):
    with complains(ValueError, message):
        column_of(read_table(write(text)), "age", np.arange(2))


@pytest.mark.parametrize("target", [None, Numbers("price", -3.0, 20.0)])
def test_a_model_comes_back_with_its_bits_and_takes_rows_of_every_form(write, target):
    first = model(target)
    first.save("m.json")
    again = load_model("m.json")
    assert again.columns == first.columns
    assert again.target == first.target
    rows = [{"age": 30, "port": "S", "more": 1}, {"age": 20.5, "port": "C"}]
    columns = {"age": np.array([30, 20.5]), "port": ["S", "C"]}
    expected = first.predict(rows)
    x = [[0.0, 0.0, 1.0], [-9.5 / 8, 1.0, 0.0]]
    assert np.array_equal(expected, first.target.decode(first.net.predict(x)))
    for given in (rows, columns, read_table(write("port,age\nS,30\nC,20.5\n"))):
        assert np.array_equal(again.predict(given), expected)
    pandas = pytest.importorskip("pandas")
    assert np.array_equal(again.predict(pandas.DataFrame(columns)), expected)
    if target is None:
        assert np.array_equal(first.predict_proba(rows), again.net.predict(x))
    else:
        with complains(ValueError, "this model predicts numbers, 'price', and no classes"):
            again.predict_proba(rows)


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        (ValueError, [{"age": 1}], "row 1 has no column 'port'"),
        (ValueError, {"age": [1.0]}, "the table has no column 'port': it has 'age'"),
        (ValueError, [{"age": float("nan"), "port": "S"}], "the table, row 1, column 'age' is m…"),
        (ValueError, [{"age": None, "port": "S"}], "the table, row 1, column 'age' is missing:…"),
        (ValueError, [{"age": "x", "port": "S"}], "…row 1, column 'age' holds 'x', which is no…"),
        (ValueError, [{"age": 1, "port": "X"}],
         "the table, row 1, column 'port' holds 'X', which is none of the known categories: C, S"),
        (ValueError, [], "there are no rows, or none of the columns that the model reads"),
        (TypeError, [3], "row 1 must be a dict by column, not int"),
        (TypeError, 3, "rows must be dicts, or columns by name, not int"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused(kind, rows, message):
    with complains(kind, message):
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
        (lambda m: m["columns"][0].update(scale=0), "m.json must hold mean and scale of column…"),
        (lambda m: m["columns"][0].update(mean="1"), "m.json must hold mean and scale of column…"),
        (lambda m: m["columns"][0].update(name=3), 'm.json must hold "name" of each column, text'),
        (lambda m: m["target"].update(name="age"), "m.json names a column twice"),
        (lambda m: m["target"].update(categories=["f", "f"]), "m.json must hold categories of c…"),
        (lambda m: m["target"].update(categories=["f", []]), "m.json must hold categories of co…"),
        (lambda m: m["target"].update(categories="fm"), "m.json must hold \"categories\" of col…"),
        (lambda m: m["net"].update(sizes=[1]), "m.json …"),
    ],
)  # fmt: skip
def test_damaged_models_are_refused(write, change, message):
    model().save("m.json")
    with open("m.json", encoding="utf-8") as file:
        value = json.load(file)
    change(value)
    write(json.dumps(value), "m.json")
    with complains(InvalidFile, message):
        load_model("m.json")
    write("{", "m.json")
    with pytest.raises(InvalidFile, match=r"^m\.json "):
        load_model("m.json")
