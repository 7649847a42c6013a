"""How what a net is made of shows itself, at the prompt and in a notebook: shapes and values."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import ClassVar

import numpy as np

from bpnet.arrays import Array

FEW = 8  # numbers that are shown each
Row = tuple[str, ...]  # a name, and what is said of it


class Shown:
    """What shows itself as a table, and lists by `dir` what matters to a reader."""

    listed: ClassVar[tuple[str, ...]] = ()

    def summary(self) -> tuple[str, list[Row]]:
        """Return a title, and the rows of the table."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return text(*self.summary())

    def _repr_html_(self) -> str:
        return html(*self.summary())

    def __dir__(self) -> list[str]:
        return sorted(self.listed)


def rows_of(what: str, arrays: Mapping[int, Array]) -> list[Row]:
    """Return a row for each layer's array: its name, its shape and its values."""
    return [(f"{what}[{l}]", size_of(array), values(array)) for l, array in arrays.items()]


def by_number(row: Row) -> int:
    """Return the layer of a row, so that what belongs to a layer stands together."""
    return int(row[0].strip("]").partition("[")[2])


def size_of(array: Array) -> str:
    """Return a shape as text."""
    return " x ".join(map(str, array.shape))


def values(array: Array) -> str:
    """Return the numbers of an array if they are few, else their range and their mean."""
    if array.size <= FEW:
        rows = np.atleast_2d(array).reshape(-1, array.shape[-1])
        return "; ".join(" ".join(f"{value:.5g}" for value in row) for row in rows)
    if array.dtype.kind == "c":
        return "complex"
    with np.errstate(all="ignore"):
        least, most, mean = array.min(), array.max(), array.mean()
    return f"{least:.4g} .. {most:.4g}, mean {mean:.4g}"


def text(title: str, rows: list[Row]) -> str:
    """Return a title and a table below it, in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([title, *(f"  {line}".rstrip() for line in lines)])


def html(title: str, rows: list[Row]) -> str:
    """Return the same as a table in HTML."""
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><caption>{escape(title)}</caption>{body}</table>"
