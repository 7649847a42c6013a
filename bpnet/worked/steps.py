"""What one step of gradient descent computes, quantity by quantity.

The values are those of `MLP.forward`, `MLP.backward` and `MLP.loss`. Only what these do not keep,
∂E/∂a and f'(z), is taken from the rules again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
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
from bpnet.rules.losses import check_targets, huber_limit
from bpnet.worked import formulas
from bpnet.worked.names import PER_SAMPLE, Name, parse
from bpnet.worked.notation import TEXT, Notation, quantities
from bpnet.worked.source import Line, lines
from bpnet.worked.words import EN

AGREE = 1e-6  # relative: a loss that is further from that of the rounded output is E of z
AFTER = ("W", "b", "z", "a", "E")  # what there is after the step too
LINES = {"z": ("z", "bias"), "delta": ("df",)}  # of the others, the line of that name
PLAIN = Notation(TEXT, 6, sys.maxsize, EN)


@dataclass(frozen=True)
class Step:
    """One quantity, and how it came about.

    ``code`` is the formula as Python reads it, ``sum`` of any number of terms, and behind ``;``
    when it holds or what a letter means; empty for what was given. ``values`` are those of the
    quantities and letters in it, ``lines`` those of ``mlp.py`` that compute it, ``note`` the key of
    what is to be said, ``difference`` the finite difference, if it was asked for.
    """

    name: str
    code: str
    value: float
    values: Mapping[str, float]
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
        return quantities(self.code)

    @property
    def formula(self) -> str:
        """The formula in letters, as text; empty for what was given."""
        return PLAIN.write(self.code) if self.code else ""

    @property
    def numbers(self) -> str:
        """The formula with its numbers, as text; empty for what was given."""
        return PLAIN.write(self.code, self.values) if self.code else ""

    def rows(self, notation: Notation) -> list[list[str]]:
        """Return the formula, the formula with its numbers and the value, each if it says more.

        Each is split into the terms of its sum.
        """
        rows = [[notation.number(self.value)]]
        if self.code:
            rows[:0] = [notation.terms(self.code, numbers) for numbers in (None, self.values)]
        return [row for row, after in zip(rows, [*rows[1:], None], strict=True) if row != after]

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return " = ".join([PLAIN.write(self.name), *map("".join, self.rows(PLAIN))])


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
            sample = ", the sample first" * (kind in PER_SAMPLE and len(shape) > 1)
            raise KeyError(
                f"there is no {name}: the index of {Name(kind, l)} is [{ranges}]{sample}"
            )

    def value(self, name: Name) -> float:
        """Return a quantity's value."""
        kind, l, at, new = name
        if kind in PER_SAMPLE and len(self.y) == 1:
            at = (0, *at)
        net, cache = self.after if new else (self.net, self.cache)
        if kind == "E":
            return float(self.shares[new][at].sum() if name.at else net.loss(cache, self.y))
        if kind == "y":
            return float(self.y[at])
        if kind in ("dW", "db"):
            by_layer: Any = getattr(self.grad, kind[1:])
        else:
            holders: dict[str, Any] = {"W": net, "b": net, "delta": self.grad}
            by_layer = getattr(holders.get(kind, cache if kind in ("z", "a") else self), kind)
        return float(by_layer[l][at])

    def step(self, name: Name) -> Step:
        """Return a quantity with its formula."""
        self.check(name)
        kind, l, keys = name.kind, name.l, tuple[str, ...]()
        code, letters = self.formula(name)
        if code and not (name.new and kind in ("W", "b")):
            at_output = l == self.net.L and kind in ("da", "df", "delta")
            keys = ("output",) if at_output else LINES.get(kind, (kind,))
        found = tuple(lines()[key] for key in keys if key in lines())
        values = {text: self.value(parse(text)) for text in quantities(code)}
        values |= {"eta": self.learning_rate, "m": float(len(self.y)), **letters}
        return Step(str(name), code, self.value(name), values, found, self.note(name))

    def note(self, name: Name) -> str:
        """Return the keys of what is to be said about a quantity."""
        if name.kind not in ("E", "delta"):
            return ""
        if name.kind == "E" or len(self.kinds(name.l)) > 1:
            said = {"matrix": name.kind != "E" and self.mixed(name.l), "from z": self.rounded(name)}
            return "; ".join(key for key, holds in said.items() if holds)
        return "matrix; joined softmax" if self.mixed(name.l) else "joined"

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

    def formula(self, name: Name) -> tuple[str, dict[str, float]]:
        """Return the formula of a quantity, and the values of letters in it."""
        kind, l, at, new = name
        i, s, net = at[-1] if at else 0, at[:-1], self.net

        def q(kind: str, l: int, *at: int) -> str:
            return str(Name(kind, l, at, new and (kind, l) != ("a", 1)))  # x stays

        def row(form: str, l: int) -> str:
            each = (form.replace("#", f"[{', '.join(map(str, (*s, j)))}]").replace("@", str(j))
                    for j in range(net.sizes[l - 1]))  # fmt: skip
            return f"sum({', '.join(each)})"

        match kind:
            case "W" | "b" if new:
                old = Name(kind, l, at)
                return f"{old} - eta * d{old}", {}
            case "z":
                terms = row(f"{q('W', l)}[{i}, @] * {q('a', l - 1)}#", l - 1)
                return f"{terms[:-1]}, {q('b', l, i)})", {}
            case "a" if l > 1:
                layer = row(f"exp({q('z', l)}#)", l)
                form = formulas.of_activation(net.activation[l], 0)
                if self.mixed(l) and "S" not in form:
                    return form.replace("(z)", row(f"{q('z', l)}#", l)[3:]), {}
                return self.rule(form, z=q("z", l, *at), S=layer)
            case "E":
                return self.of_E(name, row)
            case "da" if l == net.L:
                code, letters = self.of_loss(name, 1)
                return self.mean(code), letters
            case "da":
                return row(f"W[{l + 1}][@, {i}] * delta[{l + 1}]#", l + 1), {}
            case "df":
                form = formulas.of_activation(net.activation[l], 1)
                return self.rule(form, z=q("z", l, *at), a=q("a", l, *at))
            case "delta" if len(self.kinds(l)) == 1:
                return self.mean(f"{q('a', l, *at)} - {q('y', 0, *at)}"), {}
            case "delta" if not self.mixed(l):
                return f"{q('da', l, *at)} * {q('df', l, *at)}", {}
            case "delta" if net.activation[l].name != "softmax":
                own = formulas.quoted(f"{net.activation[l].name}.vjp", 0)
                return own + row(f"da[{l}]#", l)[3:], {}
            case "delta":
                products = row(f"da[{l}]# * a[{l}]#", l)
                return f"{q('a', l, *at)} * ({q('da', l, *at)} - {products})", {}
            case "dW" | "db":
                k = range(len(self.y))
                deltas = [Name("delta", l, (*(n,) * (len(k) > 1), at[0])) for n in k]
                below = [f" * {Name('a', l - 1, (*delta.at[:-1], i))}" for delta in deltas]
                each = map("".join, zip(map(str, deltas), below, strict=True))
                return f"sum({', '.join(each if kind == 'dW' else map(str, deltas))})", {}
        return "", {}

    def of_E(self, name: Name, row: Any) -> tuple[str, dict[str, float]]:
        """Return an output's share, the sum of a sample's, or the mean over the samples."""
        at, L, m, E = name.at, self.net.L, len(self.y), f"{'new.' * name.new}E"
        if len(at) < len(self.shape("E", 0)):
            n = self.net.sizes[-1] if at or m == 1 else m
            parts = ", ".join(f"{E}[{', '.join(map(str, (*at, j)))}]" for j in range(n))
            return f"sum({parts})" if at or m == 1 else self.mean(f"sum({parts})"), {}
        if not (self.joined and self.rounded(name)):
            return self.of_loss(name, 0)
        z = f"{'new.' * name.new}z[{L}]"
        names = {"z": str(Name("z", L, at, name.new)), "S": row(f"exp({z}#)", L)}
        return self.rule(
            formulas.E_Z[self.net.loss_function.name], y=str(Name("y", 0, at)), **names
        )

    def of_loss(self, name: Name, which: int) -> tuple[str, dict[str, float]]:
        """Return an output's share of the loss, or its derivative by a."""
        form = formulas.of_loss(self.net.loss_function, which)
        a, y = Name("a", self.net.L, name.at, name.new), Name("y", 0, name.at)
        return self.rule(form, huber_limit(self.net.loss_function), a=str(a), y=str(y))

    def rule(self, form: str, cap: float = 0, **names: str) -> tuple[str, dict[str, float]]:
        """Return a rule of quantities, in the branch that holds."""
        letters = {key: self.value(parse(text)) for key, text in names.items() if key != "S"}
        code, found = formulas.branch(form, cap or largest_exponent(self.net.dtype), letters)
        return formulas.fill(code, names), found

    def mean(self, code: str) -> str:
        """Return a formula times a sample's share in the mean, which for one sample is 1."""
        if len(self.y) == 1:
            return code
        x, semicolon, clause = code.partition("; ")
        return f"1 / m * ({x}){semicolon}{clause}"
