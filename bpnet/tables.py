"""Tables of text as inputs and targets of a net, and models: a net with the columns that it reads.

A column of numbers is one input, less its mean and divided by its standard deviation; a column of
categories is an input for each of them, 1 where it is there and 0 elsewhere. The target is a
number, scaled alike, or a class. A model is a JSON file that holds all of this:

    {"format": "bpnet.TableModel", "version": 1,
     "columns": [{"name": "age", "mean": 29.7, "scale": 14.5},
                 {"name": "port", "categories": ["C", "Q", "S"]}],
     "target": {"name": "survived", "categories": ["no", "yes"]},
     "net": ...}                                                     as of formats/json.py
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bpnet.archive import StrPath, cause
from bpnet.arrays import Array
from bpnet.errors import InvalidFile
from bpnet.formats.json import check_members, net_as_dict, net_from_dict, render
from bpnet.formats.shared import write
from bpnet.mlp import MLP
from bpnet.network.saved import check_version

FORMAT, VERSION = "bpnet.TableModel", 1
MISSING = ("", "na", "n/a", "<na>", "nan", "null", "?")  # in small letters
MANY, ROWS_EACH = 20, 5  # more categories than this need so many rows each


class Table(NamedTuple):
    """Columns of text by name; of each row its line in the file, if there is one."""

    name: str
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> list[str]:
        """Return a column, if it is there."""
        if name not in self.columns:
            known = ", ".join(map(repr, self.columns))
            raise ValueError(f"{self.name} has no column {name!r}: it has {known}")
        return self.columns[name]

    def texts(self, name: str) -> list[str]:
        """Return a column, if it is there and nothing in it is missing."""
        texts = self.column(name)
        for i, text in enumerate(texts):
            if text.lower() in MISSING:
                what = f" ({text!r})" if text else ""
                raise ValueError(
                    f"{self.place(i, name)} is missing{what}: fill it in, or leave out the row"
                )
        return texts

    def place(self, i: int, name: str) -> str:
        """Return where row i has this column, in words."""
        line = f" (line {self.lines[i]})" if self.lines else ""
        return f"{self.name}, row {i + 1}{line}, column {name!r}"


@dataclass(frozen=True)
class Numbers:
    """A column of numbers, scaled."""

    name: str
    mean: float
    scale: float
    width: ClassVar[int] = 1

    @classmethod
    def of(cls, table: Table, name: str, rows: Array) -> Numbers:
        """Return the column with mean and standard deviation of these rows."""
        values = cls(name, 0.0, 1.0).encode(table)[rows, 0]
        spread = float(values.std()) if np.ptp(values) else 1.0
        return cls(name, float(values.mean()), spread)

    def encode(self, table: Table) -> Array:
        """Return a table's column as inputs, (m, 1)."""
        values = [as_number(text) for text in table.texts(self.name)]
        if None in values:
            i = values.index(None)
            text = table.columns[self.name][i]
            raise ValueError(f"{table.place(i, self.name)} holds {text!r}, which is no number")
        return (np.array(values, np.float64)[:, None] - self.mean) / self.scale

    def decode(self, a: Array) -> Array:
        """Return outputs, (m, 1), as numbers of the column, (m,)."""
        numbers: Array = a[:, 0] * self.scale + self.mean
        return numbers


@dataclass(frozen=True)
class Categories:
    """A column of categories, one-hot."""

    name: str
    categories: tuple[str, ...]

    @classmethod
    def of(cls, table: Table, name: str) -> Categories:
        """Return the column with all the categories that are in it, sorted, numbers as numbers."""
        found = Counter(table.texts(name))
        numbers = {text: as_number(text) for text in found}
        known = None not in numbers.values()
        return cls(name, tuple(sorted(found, key=lambda t: (numbers[t] if known else 0.0, t))))

    @property
    def width(self) -> int:
        """How many inputs or outputs it is."""
        return len(self.categories)

    def numbers(self, table: Table) -> Array:
        """Return the number of each row's category, (m,)."""
        number = {text: k for k, text in enumerate(self.categories)}
        texts = table.texts(self.name)
        for i, text in enumerate(texts):
            if text not in number:
                known = ", ".join(self.categories[:MANY])
                raise ValueError(
                    f"{table.place(i, self.name)} holds {text!r}, which is none of the known "
                    f"categories: {known}{', ...' if self.width > MANY else ''}"
                )
        return np.array([number[text] for text in texts], int)

    def encode(self, table: Table) -> Array:
        """Return a table's column as inputs, (m, width)."""
        return np.eye(self.width)[self.numbers(table)]

    def decode(self, a: Array) -> Array:
        """Return outputs, (m, width), as the likeliest categories, (m,)."""
        likeliest: Array = np.array(self.categories)[a.argmax(axis=-1)]
        return likeliest


Column = Numbers | Categories


@dataclass(frozen=True)
class TableModel:
    """A net with the columns that it reads and the one that it predicts.

    Rows are a `Table`, a list of dicts by column, or what gives a column by its name: a dict of
    lists, or a DataFrame. Columns that the net does not read are left alone.

    Attributes
    ----------
    net : MLP
    columns : tuple of Numbers and Categories
        The net's inputs, in their order.
    target : Numbers or Categories
    """

    net: MLP
    columns: tuple[Column, ...]
    target: Column

    def inputs(self, rows: Any) -> Array:
        """Return the rows as inputs of the net, (m, n_1).

        Raises
        ------
        ValueError
            If a column is missing, or a value, or one is no number or no known category.
        """
        table = as_table(rows, [column.name for column in self.columns])
        return np.hstack([column.encode(table) for column in self.columns])

    def predict(self, rows: Any) -> Array:
        """Return the target of each row, (m,): the name of a class, or a number."""
        return self.target.decode(self.net.predict(self.inputs(rows)))

    def predict_proba(self, rows: Any) -> Array:
        """Return the probability of each class, (m, classes); a number has none."""
        if isinstance(self.target, Numbers):
            raise ValueError(f"this model predicts numbers, {self.target.name!r}, and no classes")
        return self.net.predict(self.inputs(rows))

    def save(self, path: StrPath) -> None:
        """Write the model to a JSON file; an older one survives a failed write."""
        model = {
            "format": FORMAT,
            "version": VERSION,
            "columns": [asdict(column) for column in self.columns],
            "target": asdict(self.target),
            "net": net_as_dict(self.net),
        }
        write(path, f"{render(plain(model))}\n".encode())


def load_model(path: StrPath) -> TableModel:
    """Read a model from its file.

    Raises
    ------
    OSError
        If the file is missing or cannot be opened.
    InvalidFile
        If it is no model, damaged, or of a version that this bpnet does not know.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return model_from_dict(json.load(file))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidFile(f"{os.fsdecode(path)} {cause(error):.500}") from error


def model_from_dict(value: Any) -> TableModel:
    """Return the model of a file; an error's message goes on after the file's name."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InvalidFile(f'is JSON, but no model of a table: it has no "format": "{FORMAT}"')
    check_members(value, {"version": int, "columns": list}, "the model")
    check_version(value["version"], VERSION)
    columns = tuple(column_from_dict(column) for column in value["columns"])
    target, net = column_from_dict(value.get("target")), net_from_dict(value.get("net"))
    names = [column.name for column in (*columns, target)]
    if len(set(names)) < len(names):
        raise InvalidFile("names a column twice")
    widths = sum(column.width for column in columns), target.width
    if widths != (net.sizes[0], net.sizes[-1]):
        raise InvalidFile(f"has columns for {widths[0]} inputs and {widths[1]} outputs, but {net}")
    return TableModel(net, columns, target)


def column_from_dict(value: Any) -> Column:
    """Return the column that a file describes."""
    check_members(value, {"name": str}, "each column")
    if "categories" in value:
        check_members(value, {"categories": list}, f"column {value['name']!r}")
        texts = value["categories"]
        if not texts or any(type(text) is not str for text in texts) or len({*texts}) < len(texts):
            raise InvalidFile(
                f"must hold categories of column {value['name']!r}, each a text, once"
            )
        return Categories(value["name"], tuple(texts))
    pair = value.get("mean"), value.get("scale")
    if not all(type(n) in (int, float) and math.isfinite(n) for n in pair) or pair[1] <= 0:
        raise InvalidFile(
            f"must hold mean and scale of column {value['name']!r} as numbers, the scale above 0"
        )
    return Numbers(value["name"], float(pair[0]), float(pair[1]))


def plain(value: Any) -> Any:
    """Return a value with tuples as lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def as_number(text: str) -> float | None:
    """Return the finite number that a text is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def holds_numbers(table: Table, name: str) -> bool:
    """Whether a column is of numbers; one with a few texts among them is refused."""
    texts = table.texts(name)
    other = [i for i, text in enumerate(texts) if as_number(text) is None]
    if 0 < 2 * len(other) < len(texts):
        raise ValueError(
            f"{table.place(other[0], name)} holds {texts[other[0]]!r}, which is no number, but "
            "most of this column are: correct it, or name the column in --categories"
        )
    return not other


def column_of(table: Table, name: str, rows: Array, categories: Sequence[str] = ()) -> Column:
    """Return what a column of a table is, scaled by these rows.

    Raises
    ------
    ValueError
        If it is neither, or has nearly as many categories as rows.
    """
    if name not in categories and holds_numbers(table, name):
        return Numbers.of(table, name, rows)
    column = Categories.of(table, name)
    if column.width > max(MANY, len(table) // ROWS_EACH):
        raise ValueError(
            f"column {name!r} has {column.width:,} different texts in {len(table):,} rows, from "
            f"which nothing is learnt: leave it out with --drop {name}"
        )
    return column


def as_table(rows: Any, names: Sequence[str]) -> Table:
    """Return rows of one of the forms that `TableModel` takes as a table of these columns."""
    if isinstance(rows, Table):
        return rows
    if isinstance(rows, (list, tuple)):
        for i, row in enumerate(rows, 1):
            if not isinstance(row, Mapping):
                raise TypeError(f"row {i} must be a dict by column, not {type(row).__name__}")
            absent = [name for name in names if name not in row]
            if absent:
                raise ValueError(f"row {i} has no column {absent[0]!r}")
        columns = {name: [as_text(row[name]) for row in rows] for name in names}
    elif isinstance(rows, Mapping) or hasattr(rows, "columns"):
        columns = {name: [as_text(v) for v in rows[name]] for name in names if name in rows}
    else:
        raise TypeError(f"rows must be dicts, or columns by name, not {type(rows).__name__}")
    if {len(column) for column in columns.values()} in ({0}, set()):
        raise ValueError("there are no rows, or none of the columns that the model reads")
    return Table("the table", columns, [])


def as_text(value: Any) -> str:
    """Return a value as it stands in a file; None as an empty text."""
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return "" if value is None else str(value).strip()


def read_table(path: StrPath) -> Table:
    """Read a CSV file, in UTF-8, whose first row names the columns.

    Fields are parted by commas, semicolons or tabs, whichever the first line has most of.

    Raises
    ------
    OSError
        If the file is missing or cannot be opened.
    ValueError
        If it is no such file, a row has too few or too many fields, or there are none.
    """
    name = os.fsdecode(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError:
        raise ValueError(f"{name} is no text in UTF-8") from None
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        found = [(reader.line_num, [part.strip() for part in row]) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{name} is no CSV file: line {reader.line_num}, {error}") from None
    (_, header), *rows = found or [(0, [])]
    check_header(name, header)
    for i, (line, row) in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(
                f"{name}, row {i} (line {line}) has {len(row)} instead of {len(header)} fields"
            )
    if not rows:
        raise ValueError(f"{name} has no rows below the names of its columns")
    columns = zip(*(row for _, row in rows), strict=True)
    named = {column: list(texts) for column, texts in zip(header, columns, strict=True)}
    return Table(name, named, [line for line, _ in rows])


def check_header(name: str, header: list[str]) -> None:
    """Raise ValueError if the first row of a file is none of names."""
    if not header:
        raise ValueError(f"{name} is empty")
    if all(as_number(text) is not None for text in header):
        raise ValueError(f"{name} must name its columns in the first row, which holds numbers")
    if "" in header:
        raise ValueError(f"{name} has no name for its column {header.index('') + 1}")
    twice = [text for text, times in Counter(header).items() if times > 1]
    if twice:
        raise ValueError(f"{name} has two columns {twice[0]!r}")
