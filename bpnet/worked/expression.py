"""Formulas as values: a small tree, which each notation writes in its own way.

Quantities, letters and numbers are the leaves. Arithmetic on them builds the tree, so that a
formula is written here as on paper: ``a * (1 - a)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

DERIVATIVES = ("dW", "db", "da")  # kinds that are ∂E by W, b and a


class Name(NamedTuple):
    """What a quantity is called, such as ``dW[3][1, 0]``.

    Attributes
    ----------
    kind : str
        W, b, z, a, delta, E, y; dW, db and da for ∂E/∂W, ∂E/∂b and ∂E/∂a; df for f'(z).
    l : int
        The layer; 0 where there is none.
    at : tuple of int
        From 0, as in the code; in a batch of several samples the sample's comes first.
    new : bool
        Whether it is meant after the step.
    """

    kind: str
    l: int = 0
    at: tuple[int, ...] = ()
    new: bool = False

    def __str__(self) -> str:
        layer = f"[{self.l}]" if self.l else ""
        index = f"[{', '.join(map(str, self.at))}]" if self.at else ""
        return f"{'new.' * self.new}{self.kind}{layer}{index}"

    @property
    def below(self) -> list[str]:
        """The subscripts: the index from 1, and a comma where 21 would not be 2 and 1."""
        numbers = [str(i + 1) for i in self.at]
        comma = max(map(len, numbers), default=1) > 1
        return ",".join(numbers).replace(",", " , ").split() if comma else numbers


class Expression:
    """A formula; the operators make larger ones of it."""

    @property
    def parts(self) -> tuple[Expression, ...]:
        """What it is made of; a leaf is made of nothing."""
        return ()

    def __add__(self, other: Expression) -> Operation:
        return add([self, other])

    def __radd__(self, other: float) -> Operation:
        return add([Number(other), self])

    def __sub__(self, other: Expression | float) -> Operation:
        return add([self, -wrapped(other)])

    def __rsub__(self, other: float) -> Operation:
        return add([Number(other), -self])

    def __neg__(self) -> Operation:
        return call("neg", self)

    def __mul__(self, other: Expression) -> Operation:
        return call("*", self, other)

    def __rmul__(self, other: float) -> Operation:
        return call("*", other, self)

    def __truediv__(self, other: Expression | float) -> Operation:
        return call("/", self, other)

    def __rtruediv__(self, other: float) -> Operation:
        return call("/", other, self)

    def __pow__(self, exponent: int) -> Operation:
        return call("^", self, exponent)

    def quantities(self) -> Iterator[Quantity]:
        """Yield the quantities in it, from left to right."""
        for part in self.parts:
            yield from part.quantities()


@dataclass(frozen=True)
class Number(Expression):
    """A number that belongs to the formula."""

    value: float


@dataclass(frozen=True)
class Letter(Expression):
    """A letter that stands for a number, such as η."""

    text: str
    value: float = float("nan")


@dataclass(frozen=True)
class Quantity(Expression):
    """A quantity of the net, and its value."""

    name: Name
    value: float = float("nan")

    def quantities(self) -> Iterator[Quantity]:
        """Yield itself."""
        yield self


@dataclass(frozen=True)
class Operation(Expression):
    """What an operator or a function makes of other formulas.

    Attributes
    ----------
    rule : str
        ``"+"`` of any number of terms, ``"neg"``, ``"*"``, ``"/"``, ``"^"``;
        ``"as >"`` or ``"as <="`` of x, left and right: x, as left > right;
        ``"where"`` of x, letter and meaning: x, where letter = meaning;
        else the name of a function: exp, ln, tanh, max, abs, sqrt, or one of the user's own.
    parts : tuple of Expression
    """

    rule: str
    parts: tuple[Expression, ...] = ()


def wrapped(x: Expression | float) -> Expression:
    """Return a number as a formula."""
    return x if isinstance(x, Expression) else Number(x)


def call(rule: str, *parts: Expression | float) -> Operation:
    """Return an operation."""
    return Operation(rule, tuple(map(wrapped, parts)))


def add(terms: list[Expression]) -> Operation:
    """Return a sum; of a sum and a term, one longer sum."""
    head = terms[0]
    flat = head.parts if isinstance(head, Operation) and head.rule == "+" else (head,)
    return Operation("+", (*flat, *terms[1:]))


def times(x: Expression, y: Expression) -> Expression:
    """Return the product, taken into the branch that y may be."""
    if isinstance(y, Operation) and y.rule.startswith("as "):
        return Operation(y.rule, (times(x, y.parts[0]), *y.parts[1:]))
    return x * y


def letter(kind: str, l: int = 0, *, new: bool = False) -> Quantity:
    """Return the symbol of a whole layer, as in a³."""
    return Quantity(Name(kind, l, (), new))
