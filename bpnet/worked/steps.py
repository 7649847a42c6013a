"""What one step of gradient descent computes, quantity by quantity.

The values are those of `MLP.forward`, `MLP.backward` and `MLP.loss`. Only what these do not keep,
∂E/∂a and f'(z), is taken from the rules again; and each formula comes from one place below.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.checks import all_finite, quiet
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.rules.constants import largest_exponent
from bpnet.rules.losses import check_targets
from bpnet.worked import formulas
from bpnet.worked.expression import Expression, Letter, Name, Quantity, add, call, times
from bpnet.worked.notation import Notation, Text
from bpnet.worked.source import Line, lines
from bpnet.worked.words import words_of

AGREE = 1e-6  # relative: a loss that is further from that of the rounded output is E of z
AFTER = ("W", "b", "z", "a", "E")  # what there is after the step too
PER_SAMPLE = ("z", "a", "delta", "da", "df", "y", "E")
LINES = {"z": ("z", "bias"), "delta": ("df",)}  # of the others, the line of that name
PLAIN = Text(6, sys.maxsize, words_of("en"))


@dataclass(frozen=True)
class Step:
    """One quantity, and how it came about.

    Attributes
    ----------
    name : str
        As the code spells it: ``"delta[2][0]"``.
    symbol : Quantity
    formula : Expression or None
        In letters; None for what was given.
    value : float
        As training has it.
    lines : tuple of Line
        The lines of ``mlp.py`` that compute it; none for what is given and for the step itself.
    note : str
        What is to be said about it, as a key of `words.py`, or nothing.
    difference : float or None
        Of a partial derivative, the finite difference, if it was asked for.
    """

    name: str
    symbol: Quantity
    formula: Expression | None
    value: float
    lines: tuple[Line, ...] = ()
    note: str = ""
    difference: float | None = None

    @property
    def line(self) -> Line | None:
        """The first of the lines."""
        return self.lines[0] if self.lines else None

    @property
    def came_from(self) -> tuple[str, ...]:
        """The names of the quantities in the formula."""
        found = self.formula.quantities() if self.formula else ()
        return tuple(dict.fromkeys(str(quantity.name) for quantity in found))

    @property
    def numbers(self) -> str:
        """The formula with its numbers, as text; empty for what was given."""
        return PLAIN.write(self.formula, numbers=True) if self.formula else ""

    def rows(self, notation: Notation) -> list[list[str]]:
        """Return the formula, the formula with its numbers and the value, each if it says more.

        Each is split into the terms of its sum.
        """
        rows = [[notation.number(self.value)]]
        if self.formula is not None:
            rows[:0] = [notation.terms(self.formula, numbers) for numbers in (False, True)]
        return [row for row, after in zip(rows, [*rows[1:], None], strict=True) if row != after]

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return " = ".join([PLAIN.write(self.symbol), *map("".join, self.rows(PLAIN))])


@dataclass(frozen=True, eq=False)
class Work:
    """A net, what its passes computed of a batch, the targets, (m, n_L), and a learning rate."""

    net: MLP
    cache: Cache
    grad: Gradient
    y: Array
    learning_rate: float

    @classmethod
    def of(cls, net: MLP, x: ArrayLike, y: ArrayLike, learning_rate: float) -> Self:
        """Return what the passes compute, and see that the step leads to finite weights."""
        cache = net.forward(x)
        rows = check_targets(net.loss_function, net.parameters.rows(y, "y"))
        work = cls(net, cache, net.backward(cache, y), rows.copy(), learning_rate)
        assert work.after  # or it raises now, not when the solution is printed
        return work

    @cached_property
    def after(self) -> tuple[MLP, Cache]:
        """The net after the step, and its pass over the same batch."""
        with quiet():
            theta = self.net.theta - self.learning_rate * self.grad.theta
        if not all_finite(theta):
            raise ValueError(
                "the step leads to weights that are not finite: take a smaller learning_rate, or "
                "smaller weights and data"
            )
        net = self.net.with_theta(theta)
        return net, net.forward(self.cache.a[1])

    @cached_property
    def shares(self) -> list[Array]:
        """Each output's share of the loss, (m, n_L), before and after the step."""
        L, of_pass, f = self.net.L, self.net.loss_function.of_pass, self.net.activation[self.net.L]
        return [of_pass(c.z[L], c.a[L], self.y, f) for c in (self.cache, self.after[1])]

    @cached_property
    def da(self) -> dict[int, Array]:
        """∂E/∂a^l by layer."""
        net, L = self.net, self.net.L
        found = {l: self.grad.delta[l + 1] @ net.W[l + 1] for l in range(2, L)}
        return found | {L: net.loss_function.derivative(self.cache.a[L], self.y) / len(self.y)}

    @cached_property
    def df(self) -> dict[int, Array]:
        """f'(z^l) by layer."""
        cache = self.cache
        return {l: f.df(cache.z[l], cache.a[l]) for l, f in self.net.activation.items()}

    @cached_property
    def joined(self) -> bool:
        """Whether the loss and the output belong together, so that δ^L = a - y."""
        return self.net.loss_function.joins(self.net.activation[self.net.L])

    def mixed(self, l: int) -> bool:
        """Whether f mixes the neurons of the layer, so that f' is a matrix."""
        return self.net.activation[l].vjp is not None

    def kinds(self, l: int) -> tuple[str, ...]:
        """Return what leads to δ of a layer: ∂E/∂a and f', where there are these."""
        if l == self.net.L and self.joined:
            return ("delta",)
        return ("da", "delta") if self.mixed(l) else ("da", "df", "delta")

    def shape(self, kind: str, l: int) -> tuple[int, ...]:
        """Return the lengths of the axes of such a quantity's index."""
        net, m = self.net, len(self.y)
        n = net.sizes[l - 1]
        if kind in ("W", "dW"):
            return n, net.sizes[l - 2]
        return (n,) if m == 1 or kind in ("b", "db") else (m, n)

    def check(self, name: Name) -> None:
        """Raise KeyError, in words, if there is no such quantity."""
        kind, l, at, new = name
        first = 1 if kind == "a" and not new else 2
        if (l == 0) != (kind in "Ey") or (new and kind not in AFTER):
            raise KeyError(f"there is no {name}: write W[3][1, 0], delta[2][0] or new.W[3][1, 0]")
        if l and not first <= l <= self.net.L:
            raise KeyError(f"there is no {name}: the layers are {first}..{self.net.L}")
        if kind in ("da", "df") and kind not in self.kinds(l):
            why = "a - y at once" if l == self.net.L and self.joined else "f' is a matrix"
            raise KeyError(f"there is no {name}: delta[{l}] is found without it ({why})")
        shape = self.shape(kind, l)
        whole = kind == "E" and len(at) < len(shape)  # of a sample, or of the batch
        inside = all(i in range(n) for i, n in zip(at, shape, strict=False))
        if not inside or (len(at) != len(shape) and not whole):
            ranges = ", ".join(f"0..{n - 1}" for n in shape)
            what = str(Name(kind, l))
            sample = ", the sample first" * (kind in PER_SAMPLE and len(shape) > 1)
            raise KeyError(f"there is no {name}: the index of {what} is [{ranges}]{sample}")

    def value(self, name: Name) -> float:
        """Return a quantity's value."""
        kind, l, at, new = name
        if kind in PER_SAMPLE and len(self.y) == 1:
            at = (0, *at)
        net, cache = self.after if new else (self.net, self.cache)
        if kind == "E":
            return float(self.shares[new][at].sum() if name.at else net.loss(cache, self.y))
        by_layer: Any
        match kind:
            case "y":
                return float(self.y[at])
            case "W" | "b":
                by_layer = getattr(net, kind)
            case "z" | "a":
                by_layer = getattr(cache, kind)
            case "dW" | "db":
                by_layer = getattr(self.grad, kind[1:])
            case _:
                by_layer = self.grad.delta if kind == "delta" else getattr(self, kind)
        return float(by_layer[l][at])

    def step(self, name: Name) -> Step:
        """Return a quantity with its formula."""
        self.check(name)
        kind, L = name.kind, self.net.L
        formula: Expression | None = None
        keys: tuple[str, ...] = ()
        if name.new and kind in ("W", "b"):
            old, slope = (self.quantity(k, name.l, *name.at) for k in (kind, f"d{kind}"))
            formula = old - Letter("η", self.learning_rate) * slope
        elif kind not in ("W", "b", "y") and (kind, name.l) != ("a", 1):
            formula = getattr(self, f"of_{kind}")(name)
            at_output = name.l == L and kind in ("da", "df", "delta")
            keys = ("output",) if at_output else LINES.get(kind, (kind,))
        found = tuple(lines()[key] for key in keys if key in lines())
        value = self.value(name)
        return Step(str(name), Quantity(name, value), formula, value, found, self.note(name))

    def note(self, name: Name) -> str:
        """Return the key of what is to be said about a quantity."""
        if name.kind not in ("E", "delta"):
            return ""
        rounded = "from z" * self.rounded(name)
        if name.kind == "E":
            return rounded
        softmax = " softmax" * (self.net.activation[name.l].name == "softmax")
        if len(self.kinds(name.l)) == 1:
            return "matrix joined softmax" if softmax else "joined"
        matrix = f"matrix{softmax}" * self.mixed(name.l)
        return " ".join(filter(None, (matrix, rounded)))

    def quantity(self, kind: str, l: int, *at: int, new: bool = False) -> Quantity:
        """Return a leaf for a formula."""
        name = Name(kind, l, at, new and (kind, l) != ("a", 1))  # x stays
        return Quantity(name, self.value(name))

    def row(self, kind: str, name: Name, l: int) -> list[Quantity]:
        """Return a kind of quantity of every neuron of layer l, in the sample of a name."""
        n = self.net.sizes[l - 1]
        return [self.quantity(kind, l, *name.at[:-1], j, new=name.new) for j in range(n)]

    def of_z(self, name: Name) -> Expression:
        """Return z^l_i = Σ_j W^l_ij a^{l-1}_j + b^l_i."""
        l, i, new = name.l, name.at[-1], name.new
        below = enumerate(self.row("a", name, l - 1))
        terms: list[Expression] = [self.quantity("W", l, i, j, new=new) * a for j, a in below]
        return add([*terms, self.quantity("b", l, i, new=new)])

    def of_a(self, name: Name) -> Expression:
        """Return a^l_i = f(z^l_i); softmax takes every z of the layer."""
        f, i, cap = self.net.activation[name.l], name.at[-1], largest_exponent(self.net.dtype)
        if self.mixed(name.l):
            return formulas.output(f, self.row("z", name, name.l), i, cap)
        z = self.quantity("z", name.l, *name.at, new=name.new)
        return formulas.output(f, [z], 0, cap)

    def of_E(self, name: Name) -> Expression:
        """Return an output's share, the sum of a sample's, or the mean over the samples."""
        m, n, at, new = len(self.y), self.net.sizes[-1], name.at, name.new
        if len(at) == len(self.shape("E", 0)):
            return self.of_share(name)
        if at or m == 1:
            return add([self.quantity("E", 0, *at, i, new=new) for i in range(n)])
        return self.mean(add([self.quantity("E", 0, s, new=new) for s in range(m)]))

    def of_share(self, name: Name) -> Expression:
        """Return an output's share of the loss; from z where the output has rounded to 0 or 1."""
        loss, y = self.net.loss_function, self.quantity("y", 0, *name.at)
        if self.joined and self.rounded(name):
            return formulas.E_Z[loss.name](self.row("z", name, self.net.L), name.at[-1], y)
        return formulas.share(loss, self.quantity("a", self.net.L, *name.at, new=name.new), y)

    def rounded(self, name: Name) -> bool:
        """Whether an output's share or δ is exact from z, and not what its rounded a gives."""
        at, L, loss = name.at, self.net.L, self.net.loss_function
        if len(at) < len(self.shape("E", 0)) or (name.kind == "delta" and name.l < L):
            return False
        cache = self.after[1] if name.new else self.cache
        a, at = cache.a[L], at if len(self.y) > 1 else (0, *at)
        if name.kind == "delta":
            exact = self.grad.delta[L][at]
            with quiet():
                told = self.net.activation[L].backward(self.da[L], cache.z[L], a)[at]
        else:
            exact, told = self.shares[name.new][at], loss.of_output(a, self.y)[at]
        size = max(abs(exact), float(np.finfo(a.dtype).eps) / AGREE)
        return bool(abs(told - exact) > AGREE * size)

    def mean(self, e: Expression) -> Expression:
        """Return a formula times a sample's share in the mean, which for one sample is 1."""
        return e if len(self.y) == 1 else times(1 / Letter("m", len(self.y)), e)

    def of_da(self, name: Name) -> Expression:
        """Return ∂E/∂a^L, or the sum over the next layer, ∂E/∂a^l_j = Σ_i W^{l+1}_ij δ^{l+1}_i."""
        l, j = name.l, name.at[-1]
        if l == self.net.L:
            a, y = self.quantity("a", l, *name.at), self.quantity("y", 0, *name.at)
            return self.mean(formulas.loss_slope(self.net.loss_function, a, y))
        above = enumerate(self.row("delta", name, l + 1))
        return add([self.quantity("W", l + 1, i, j) * delta for i, delta in above])

    def of_df(self, name: Name) -> Expression:
        """Return f'(z)."""
        z, a = (self.quantity(kind, name.l, *name.at) for kind in "za")
        f = self.net.activation[name.l]
        return formulas.slope(f, z, a, largest_exponent(self.net.dtype))

    def of_delta(self, name: Name) -> Expression:
        """Return δ = ∂E/∂a f'(z); a - y where both belong together; a sum where f' is a matrix."""
        l, j = name.l, name.at[-1]
        if len(self.kinds(l)) == 1:
            return self.mean(self.quantity("a", l, *name.at) - self.quantity("y", 0, *name.at))
        if not self.mixed(l):
            return self.quantity("da", l, *name.at) * self.quantity("df", l, *name.at)
        g, a, f = self.row("da", name, l), self.row("a", name, l), self.net.activation[l]
        if f.name != "softmax":
            return call(f"{f.name}.vjp", *g)
        return a[j] * (g[j] - add([g_i * a_i for g_i, a_i in zip(g, a, strict=True)]))

    def of_dW(self, name: Name) -> Expression:
        """Return ∂E/∂W^l_ij = δ^l_i a^{l-1}_j, summed over the samples."""
        l, (i, j) = name.l, name.at
        pairs = [(self.quantity("delta", l, *s, i), self.quantity("a", l - 1, *s, j))
                 for s in self.samples]  # fmt: skip
        terms: list[Expression] = [delta * a for delta, a in pairs]
        return add(terms) if len(terms) > 1 else terms[0]

    def of_db(self, name: Name) -> Expression:
        """Return ∂E/∂b^l_i = δ^l_i, summed over the samples."""
        terms: list[Expression] = [
            self.quantity("delta", name.l, *s, *name.at) for s in self.samples
        ]
        return add(terms) if len(terms) > 1 else terms[0]

    @property
    def samples(self) -> list[tuple[int, ...]]:
        """What the index of each sample begins with; nothing where there is one."""
        return [(s,) for s in range(len(self.y))] if len(self.y) > 1 else [()]
