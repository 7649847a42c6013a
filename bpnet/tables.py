"""Tables of text as inputs and targets of a net, and models: a net with the columns that it reads.

A column of numbers is one input, less its mean and divided by its standard deviation; a column of
categories is an input for each of them, 1 where it is there and 0 elsewhere. The target is a
number, which the net gives as it is, or a class. A model is a JSON file that holds all of this:

    {"format": "bpnet.TableModel", "version": 1,
     "columns": [{"name": "age", "categories": [], "mean": 29.7, "scale": 14.5},
                 {"name": "port", "categories": ["C", "Q", "S"], "mean": 0.0, "scale": 1.0}],
     "target": {"name": "survived", "categories": ["no", "yes"], "mean": 0.0, "scale": 1.0},
     "net": ...}                                                     as of formats/json.py
"""

import csv
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from bpnet.archive import StrPath
from bpnet.arrays import Array
from bpnet.errors import InvalidFile
from bpnet.formats.json import check_members, net_as_dict, net_from_dict, read_json, render
from bpnet.formats.shared import write
from bpnet.mlp import MLP
from bpnet.network.saved import check_version

FORMAT, VERSION = "bpnet.TableModel", 1
COLUMN = {"name": str, "categories": list, "mean": float, "scale": float}
MISSING = ("", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "?")  # in small letters
MANY, ROWS_EACH = 20, 5  # more categories than this need so many rows each
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


class Table(NamedTuple):
    """Columns of text by name; of each row its line in the file, if there is one."""

    name: str
    columns: dict[str, list[str]]
    lines: Sequence[int] = ()

    def texts(self, name: str) -> list[str]:
        """Return a column, if it is there and nothing in it is missing."""
        if name not in self.columns:
            known = ", ".join(map(repr, self.columns))
            raise ValueError(f"{self.name} has no column {name!r}: it has {known}")
        for i, text in enumerate(self.columns[name]):
            if text.lower() in MISSING:
                said = f"is missing{f' ({text!r})' if text else ''}"
                self.refuse(name, i, f"{said}: fill it in, or leave out the row")
        return self.columns[name]

    def refuse(self, name: str, i: int, why: str) -> None:
        """Raise ValueError for row i of a column."""
        line = f" (line {self.lines[i]})" if self.lines else ""
        raise ValueError(f"{self.name}, row {i + 1}{line}, column {name!r} {why}")


@dataclass(frozen=True)
class Column:
    """A column of categories, each an input or output; if there are none, of numbers, scaled."""

    name: str
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def width(self) -> int:
        """How many inputs or outputs it is."""
        return len(self.categories) or 1

    def values(self, table: Table) -> Array:
        """Return the numbers, or of categories their places, of a table's column, (m,)."""
        texts, kind = table.texts(self.name), "number"
        found = [as_number(text) for text in texts]
        if self.categories:  # 1.0 is 1, and True true, if no other text is
            by_text = {text: k for k, text in enumerate(self.categories)}
            by_likeness = {likeness(text): k for text, k in by_text.items()}
            found = [by_text.get(text, by_likeness.get(likeness(text))) for text in texts]
            known = ", ".join(self.categories[:MANY]) + ", ..." * (self.width > MANY)
            kind = f"category of the known ones: {known}"
        if None in found:
            i = found.index(None)
            table.refuse(self.name, i, f"holds {texts[i]!r}, which is no {kind}")
        return np.array(found, int if self.categories else float)

    def encode(self, table: Table) -> Array:
        """Return a table's column as inputs or targets, (m, width)."""
        values = self.values(table)
        if self.categories:
            return np.eye(self.width)[values]
        return (values[:, None] - self.mean) / self.scale


@dataclass(frozen=True)
class TableModel:
    """A net with the columns that it reads, in their order, and the one that it predicts.

    `bpnet.estimators.load_model` opens its file as an estimator.
    """

    net: MLP
    columns: tuple[Column, ...]
    target: Column

    def predict(self, rows: Any) -> tuple[Array, Array]:
        """Return the target of each row, (m,), class or number, and the net's outputs."""
        a, classes = self.net.predict(inputs_of(rows, self.columns)), self.target.categories
        return np.array(classes)[a.argmax(axis=-1)] if classes else a[:, 0], a

    def save(self, path: StrPath) -> None:
        """Write the model to a JSON file; an older one survives a failed write."""
        columns, target = [*map(asdict, self.columns)], asdict(self.target)
        model = {"format": FORMAT, "version": VERSION, "columns": columns, "target": target}
        write(path, f"{render(model | {'net': net_as_dict(self.net)})}\n".encode())


def load_table_model(path: StrPath) -> TableModel:
    """Read a model from its file: OSError, or InvalidFile if it is none or damaged."""
    return read_json(path, model_from_dict)


def model_from_dict(value: Any) -> TableModel:
    """Return the model of a file; an error's message goes on after the file's name."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InvalidFile(f'is JSON, but no model of a table: it has no "format": "{FORMAT}"')
    check_members(value, {"version": int, "columns": list}, "the model")
    check_version(value["version"], VERSION)
    *columns, target = map(column_from_dict, [*value["columns"], value.get("target")])
    if len({column.name for column in (*columns, target)}) <= len(columns):
        raise InvalidFile("names a column twice")
    if sorted(target.categories) != [*target.categories]:
        raise InvalidFile("must hold the target's categories sorted")
    net, width = net_from_dict(value.get("net")), sum(column.width for column in columns)
    if (width, target.width) != (net.sizes[0], net.sizes[-1]):
        raise InvalidFile(f"has columns for {width} inputs and {target.width} outputs, but {net}")
    return TableModel(net, tuple(columns), target)


def column_from_dict(value: Any) -> Column:
    """Return the column that a file describes."""
    check_members(value, COLUMN, "each column")
    name, texts, mean, scale = (value[key] for key in COLUMN)
    if any(type(text) is not str for text in texts) or len({*texts}) < len(texts):
        raise InvalidFile(f"must hold categories of column {name!r}, each a text, once")
    if not (math.isfinite(mean) and 0 < scale < math.inf):
        raise InvalidFile(f"must hold mean and scale of column {name!r}, finite, the scale above 0")
    return Column(name, tuple(texts), mean, scale)


def inputs_of(rows: Any, columns: Sequence[Column]) -> Array:
    """Return rows as inputs of a net that reads these columns, (m, n_1).

    Rows are a `Table`, a DataFrame, a dict of columns, whose other columns are left alone, or an
    array of these columns, in their order. ValueError says by row and column what is wrong.
    """
    table = as_table(rows, [column.name for column in columns])
    return np.hstack([column.encode(table) for column in columns])


def as_number(text: str) -> float | None:
    """Return the finite number that a text is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def likeness(text: str) -> float | str:
    """Return what two spellings of a category have in common."""
    number = as_number(text)
    return text.casefold() if number is None else number


def holds_numbers(table: Table, name: str) -> bool:
    """Whether a column is of numbers; one with a few texts among them is refused."""
    texts = table.texts(name)
    other = [i for i, text in enumerate(texts) if as_number(text) is None]
    if 0 < 2 * len(other) < len(texts):
        said = f"holds {texts[other[0]]!r}, which is no number, but most of this column are"
        table.refuse(name, other[0], f"{said}: correct it, or name the column in --categories")
    return not other


def scaled(table: Table, name: str, rows: Array) -> Column:
    """Return a column of numbers with mean and standard deviation of these rows."""
    values = Column(name).values(table)[rows]
    return Column(name, (), float(values.mean()), float(values.std()) if np.ptp(values) else 1.0)


def told_apart(table: Table, name: str) -> Column:
    """Return a column with all the categories that are in it, few enough to learn from."""
    m, found = len(table.columns[name]), tuple(sorted(set(table.texts(name))))
    if not 1 < len(found) <= max(MANY, m // ROWS_EACH):
        many = "1 text" if len(found) == 1 else f"{len(found):,} different texts"
        said = f"column {name!r} has {many} in {m:,} rows, from which nothing is learnt"
        raise ValueError(f"{said}: leave it out with --drop, or choose another --target")
    return Column(name, found)


def as_table(rows: Any, names: Sequence[str]) -> Table:
    """Return rows, of a form that `inputs_of` takes, as a table of these columns."""
    if isinstance(rows, Table):
        return rows
    if isinstance(rows, Mapping) or hasattr(rows, "columns"):
        columns = {name: [*map(as_text, rows[name])] for name in names if name in rows}
    else:
        array = np.array(rows, object)
        if array.ndim != 2 or array.shape[1] != len(names):
            read = f"{len(names)} columns: {', '.join(names)}"
            raise ValueError(f"rows have shape {array.shape}, but this model reads {read}")
        columns = {name: [*map(as_text, array[:, j])] for j, name in enumerate(names)}
    if columns and not any(columns.values()):
        raise ValueError("there are no rows")
    return Table("the table", columns)


def as_text(value: Any) -> str:
    """Return a value as it stands in a file; None as an empty text."""
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return "" if value is None else str(value).strip()


def read_table(path: StrPath, encoding: str = "utf-8") -> Table:
    """Read a CSV file whose first row names the columns.

    Fields are parted by commas, semicolons or tabs, whichever the first line has most of; beside
    semicolons, 3,5 is 3.5. ValueError, by row and line, if it is no such file.
    """
    name = os.fsdecode(path)
    try:
        with open(path, encoding=encoding, newline="") as file:
            text = file.read().removeprefix("\ufeff").lstrip("\r\n")
    except (UnicodeError, LookupError):
        advice = "save it as UTF-8, or name its encoding: --encoding cp1252"
        raise ValueError(f"{name} is no text in {encoding}: {advice}") from None
    first = text.splitlines()[:1]
    delimiter = max(",;\t", key=lambda mark: len(next(csv.reader(first, delimiter=mark), ())))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        found = [(reader.line_num, [part.strip() for part in row]) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{name} is no CSV file: line {reader.line_num}, {error}") from None
    (_, header), *rows = found or [(0, [])]
    twice = [text for text in header if header.count(text) > 1]
    for wrong, said in (
        (not header, "is empty"),
        ("" in header, "has a column without a name in its first row"),
        (twice, f"has two columns {twice[:1]}"),
        (None not in map(as_number, header), "must name its columns in its first row"),
        (not rows, "has no rows below the names of its columns"),
    ):
        if wrong:
            raise ValueError(f"{name} {said}")
    for i, (line, row) in enumerate(rows, 1):
        if len(row) != len(header):
            where = f"{name}, row {i} (line {line})"
            raise ValueError(f"{where} has {len(row)} instead of {len(header)} fields")
        if delimiter == ";":
            row[:] = [t.replace(",", ".") if DECIMAL_COMMA.fullmatch(t) else t for t in row]
    columns = {column: [row[j] for _, row in rows] for j, column in enumerate(header)}
    return Table(name, columns, [line for line, _ in rows])
