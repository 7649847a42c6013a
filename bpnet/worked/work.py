"""What one step of gradient descent computes: every quantity by its name, with its formula.

The values are those of `MLP.forward`, `MLP.backward` and `MLP.loss`. Only what these do not keep,
∂E/∂a, f'(z) and an output's share of E, is taken from the rules again.
"""

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import NamedTuple, Self

import numpy as np

from bpnet import mlp
from bpnet.arrays import Array
from bpnet.checks import all_finite, quiet
from bpnet.gradcheck import GradientReport, check_gradient
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.network.parameters import Parameters
from bpnet.rules.constants import largest_exponent
from bpnet.rules.losses import huber_limit
from bpnet.worked.formulas import CALLS, STEP, F, Formula, Name, of_f, of_loss, parse
from bpnet.worked.notation import Notation

PLAIN = Notation("text", 6, 50, "en")
AGREE = 1e-6  # relative: what is further from what the rounded output gives was taken from z


class Line(NamedTuple):
    """A line of the code."""

    file: str
    number: int
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}  {self.code}"


@cache
def lines() -> dict[str, list[Line]]:
    """Return the lines for each call of formulas.toml, found by what they say; or none."""
    try:
        source = enumerate(inspect.getsource(mlp).splitlines(), 1)
    except OSError:
        source = enumerate(())
    code = [Line("mlp.py", number, text.split("  #")[0].strip()) for number, text in source]
    return {key: [l for l in code if re.fullmatch(call, l.code)] for key, call in CALLS.items()}


@dataclass(frozen=True, repr=False)
class Step:
    """One quantity, and how it came about."""

    name: str
    symbol: str
    value: float
    made_by: Formula | None = None  # None of what was given
    lines: Sequence[Line] = ()  # of mlp.py, that compute it
    notes: Sequence[str] = ()  # the keys of what is to be said
    difference: float | None = None  # the finite difference, if it was asked for

    line = property(lambda self: self.lines[0] if self.lines else None)
    came_from = property(lambda self: tuple(self.made_by.names if self.made_by else ()))
    formula = property(lambda self: PLAIN.whole(self.made_by))
    numbers = property(lambda self: PLAIN.whole(self.made_by, numbers=True))

    def rows(self, notation: Notation) -> list[list[str]]:
        """Return formula, numbers and value, in terms; each unless the next says as much."""
        rows = [[notation.number(self.value)]]
        if self.made_by:
            rows[:0] = [notation.terms(self.made_by, numbers=which) for which in (False, True)]
        return [row for row, after in zip(rows, [*rows[1:], None], strict=True) if row != after]

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return " = ".join([self.symbol, *map("".join, self.rows(PLAIN))])


class Section(NamedTuple):
    """A part of the solution, by the key of its heading."""

    title: str
    names: list[Name]
    l: int = 0  # the layer, and the sample counted from 1; 0 where there is none
    sample: int = 0
    after: bool = False  # the step


@dataclass(frozen=True, eq=False, repr=False)
class Work(Mapping[str, Step]):
    """One step of gradient descent: a mapping of names to steps, in the order of computation."""

    net: MLP
    cache: Cache
    grad: Gradient
    y: Array
    learning_rate: float
    digits: int
    shown: int
    language: str
    differences: bool
    done: int = 0  # steps before this one
    target: str = ""  # the quantity that was asked for

    def __getitem__(self, text: str) -> Step:
        name = self.named(text)
        kind, at_output = name.kind, name.l == self.net.L and name.kind in ("da", "df", "delta")
        formula, difference = self.formula(name), None
        found = lines().get("output" if at_output else kind, ()) if formula else ()
        if self.differences and kind in ("dW", "db"):
            difference = float(getattr(self.numeric, kind[1:])[name.l][name.at])
        made = formula, found, self.notes(name), difference
        return Step(str(name), PLAIN.symbol(name), self.value(name), *made)

    def __iter__(self) -> Iterator[str]:
        return (str(name) for name in self.names if not self.near or name in self.near)

    def __len__(self) -> int:
        return len(self.near or self.names)

    @property
    def m(self) -> int:
        """Number of samples."""
        return len(self.y)

    @cached_property
    def stepped(self) -> tuple[MLP, Cache]:
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

    @property
    def after(self) -> Self:
        """The next step of gradient descent, of the same batch."""
        net, cache = self.stepped
        grad = net.backward(cache, self.y)
        return replace(self, net=net, cache=cache, grad=grad, done=self.done + 1)

    @cached_property
    def numeric(self) -> Parameters:
        """The finite difference of E for each parameter."""
        report = check_gradient(self.net, self.cache.a[1], self.y, method="central")
        assert isinstance(report, GradientReport)  # since this is one net
        return Parameters(self.net.sizes, report.numeric)

    @cached_property
    def names(self) -> dict[Name, None]:
        """Every quantity, in the order of the computation."""
        return {name: None for section in self.outline() for name in section.names}

    def named(self, text: str) -> Name:
        """Return the name that a text spells; if there is no such quantity, raise KeyError."""
        name = parse(text, self.m)
        if name in self.names:
            return name
        sizes = ", ".join(f"{n} in layer {l}" for l, n in enumerate(self.net.sizes, 1))
        raise KeyError(
            f"there is no {name}: indices count from 0{', the sample first' * (self.m > 1)}, and "
            f"the neurons are {sizes}; list(...) of the solution has every name"
        )

    @cached_property
    def near(self) -> dict[Name, None]:
        """What the target came from, if there is one, the nearest first."""
        found, ahead = dict[Name, None](), [parse(self.target, 0)] if self.target else []
        while ahead:
            found |= dict.fromkeys(ahead)
            formulas = filter(None, map(self.formula, ahead))
            names = dict.fromkeys(name for formula in formulas for name in formula.names.values())
            ahead = [name for name in names if name not in found]
        return found

    @cached_property
    def written(self) -> dict[int, set[int]]:
        """Which neurons of a layer, and by 0 which samples: near the target, or the first."""
        chosen = defaultdict[int, set[int]](set)
        for name in self.near or self.names:
            for axis, i in self.axes(name):
                if len(chosen[axis]) < self.shown:
                    chosen[axis].add(i)
        return chosen

    def axes(self, name: Name) -> list[tuple[int, int]]:
        """Return of each number of an index which layer's neuron it is; 0 if it is the sample."""
        l, rank = name.l or self.net.L, len(name.at)
        axes = [l, l - 1] if not name.sampled else [0, l] if self.m > 1 else [l]
        return list(zip(axes[:rank], name.at, strict=True))

    def visible(self, name: Name) -> bool:
        """Whether a quantity is written out."""
        return all(i in self.written[axis] for axis, i in self.axes(name))

    def kinds(self, l: int) -> tuple[str, ...]:
        """Return what leads to δ of a layer: ∂E/∂a and f', where there are these."""
        f = self.net.activation[l]
        if l == self.net.L and self.net.loss_function.joins(f):
            return ("delta",)
        return ("da", "delta") if f.vjp else ("da", "df", "delta")

    def value(self, name: Name) -> float:
        """Return a quantity's value."""
        kind, l, at, new = name
        net, cache = self.stepped if new else (self.net, self.cache)
        if kind == "E" and not at:
            return float(net.loss(cache, self.y))
        if not name.sampled:
            return float(getattr(self.grad if kind[0] == "d" else net, kind[-1])[l][at])
        s, i = (at[0], at[1:]) if self.m > 1 else (0, at)
        row, L, loss, delta = slice(s, s + 1), net.L, net.loss_function, self.grad.delta
        a, y, z = cache.a[l or L][row], self.y[row], cache.z.get(l or L, cache.a[1])[row]
        match kind:
            case "E":
                values = loss.of_pass(z, a, y, net.activation[L])
            case "da" if l == L:
                values = loss.derivative(a, y) / self.m
            case "da":
                values = delta[l + 1][row] @ net.W[l + 1]
            case "df":
                values = net.activation[l].df(z, a)
            case _:
                values = delta[l][row] if kind == "delta" else {"z": z, "a": a, "y": y}[kind]
        return float(values[0][i].sum())

    def code_of(self, name: Name) -> str:
        """Return which of the formulas gives a quantity; none of what was given."""
        kind, l, at, new = name
        f, loss = self.net.activation.get(l or self.net.L), of_loss(self.net.loss_function)
        mean = "1 / m * ({})" if self.m > 1 else "{}"
        match kind:
            case "W" | "b" | "y":
                return STEP[f"new {kind}"] if new else ""
            case "a" | "df":
                return of_f(f)[kind == "df"] if f else ""
            case "E" if len(at) <= (self.m > 1):
                return STEP["E of a sample" if at or self.m == 1 else "E"]
            case "E":
                return loss[0]
            case "da" if l == self.net.L:
                return mean.format(loss[1])
            case "delta" if "da" not in self.kinds(l):
                return mean.format(STEP["delta joined"])
            case "delta" if f and f.vjp:
                key = "softmax" if of_f(f) is F["softmax"] else "mixed"
                return STEP[f"delta {key}"].replace("{f!r}", repr(f"{f.name}.vjp"))
        return STEP[kind]

    def filled(self, name: Name, text: str) -> Formula:
        """Return a formula for a quantity."""
        limit = huber_limit(self.net.loss_function) if name.kind in ("E", "da") else 0
        letters = {"eta": self.learning_rate, "m": self.m, "pi": np.pi}
        c = limit or largest_exponent(self.net.dtype)
        return Formula(text, name, self.net.sizes, self.m, c, letters, self.value)

    def formula(self, name: Name) -> Formula | None:
        """Return the formula of a quantity; None of what was given."""
        text = self.code_of(name)
        if name.kind == "E" and self.kinds(self.net.L) == ("delta",) and self.rounded(name):
            text = "".join(of_loss(self.net.loss_function)[2:]) or text
        return self.filled(name, text) if text else None

    def rounded(self, name: Name) -> bool:
        """Whether an output's share or δ is exact from z, and not what its rounded a gives."""
        if name[:2] not in (("E", 0), ("delta", self.net.L)) or len(name.at) <= (self.m > 1):
            return False
        told, exact = self.filled(name, self.code_of(name)).evaluated(), self.value(name)
        eps = float(np.finfo(self.net.dtype).eps)
        return bool(abs(told - exact) > max(AGREE * abs(exact), eps))

    def notes(self, name: Name) -> list[str]:
        """Return the keys of what is to be said about a quantity."""
        delta, l = name.kind == "delta", name.l
        matrix = ["matrix"] if delta and self.net.activation[l].vjp else []
        joined = ["joined softmax" if matrix else "joined"] * (delta and len(self.kinds(l)) == 1)
        return matrix + joined + ["from z"] * self.rounded(name)

    def outline(self) -> Iterator[Section]:
        """Yield the sections with all their quantities."""
        sizes, layers, several = self.net.sizes, range(2, self.net.L + 1), self.m > 1

        def neurons(kinds: Sequence[str], l: int, s: int, *, new: bool = False) -> list[Name]:
            at = (s,) * several
            return [Name(k, l, (*at, i), new) for i in range(sizes[l - 1]) for k in kinds]

        def weights(d: str, l: int, *, new: bool = False) -> list[Name]:
            ends = [[*((i, j) for j in range(sizes[l - 2])), (i,)] for i in range(sizes[l - 1])]
            return [Name(d + "bW"[len(at) - 1], l, at, new) for row in ends for at in row]

        def forward(*, new: bool = False) -> Iterator[Section]:
            for s in range(self.m):
                for l in layers:
                    yield Section("forward", neurons("za", l, s, new=new), l, s + 1, new)
                yield Section("share", neurons("E", 0, s, new=new), 0, s + 1, new)
            each = [(s,) for s in range(self.m) if several]
            yield Section("loss", [Name("E", 0, at, new) for at in (*each, ())], after=new)

        given = [neurons(k, l, s) for s in range(self.m) for k, l in (("a", 1), ("y", 0))]
        given += [weights("", l) for l in layers]
        yield Section("given", [name for names in given for name in names])
        yield from forward()
        for s in range(self.m):
            for l in reversed(layers):
                yield Section("backward", neurons(self.kinds(l), l, s), l, s + 1)
        yield from (Section("gradient", weights("d", l), l) for l in layers)
        yield from (Section("update", weights("", l, new=True), l) for l in layers)
        yield from forward(new=True)
