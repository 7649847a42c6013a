"""How things show themselves at the prompt and in a notebook: shapes and values, short."""

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
        title, rows = self.summary()
        return "\n  ".join([title, *aligned(rows)])

    def _repr_html_(self) -> str:
        title, rows = self.summary()
        cells = (f"<td>{'</td><td>'.join(map(escape, row))}</td>" for row in rows)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table><caption>{escape(title)}</caption>{body}</table>"

    def __dir__(self) -> list[str]:
        return sorted(self.listed)


class Printed:
    """What shows itself as ``str`` writes it."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def aligned(rows: list[Row]) -> list[str]:
    """Return rows as lines, their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def rows_of(**kinds: Mapping[int, Array]) -> list[Row]:
    """Return a row for each layer's array, layer by layer: its name, its shape and its values."""
    named = [(l, f"{kind}[{l}]", array) for kind, of in kinds.items() for l, array in of.items()]
    named.sort(key=lambda each: each[0])
    return [(name, " x ".join(map(str, array.shape)), values(array)) for _, name, array in named]


def values(array: Array) -> str:
    """Return the numbers of an array if they are few, else their range and their mean."""
    if array.size <= FEW:
        rows = np.atleast_2d(array).reshape(-1, array.shape[-1])
        return "; ".join(" ".join(f"{value:.5g}" for value in row) for row in rows)
    if array.dtype.kind == "c":
        return "complex"
    with np.errstate(all="ignore"):
        return f"{array.min():.4g} .. {array.max():.4g}, mean {array.mean():.4g}"
