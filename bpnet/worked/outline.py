"""What is in a worked solution, and in which order: every quantity by its name, in sections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any, Self, TypeVar

import numpy as np

from bpnet.gradcheck import GradientReport, check_function
from bpnet.worked.expression import Name
from bpnet.worked.names import parse
from bpnet.worked.steps import PER_SAMPLE, Step, Work
from bpnet.worked.words import words_of

T = TypeVar("T")
Row = tuple[Name, ...]


@dataclass(frozen=True)
class Section:
    """A part of the solution with a heading: the pass through a layer, say.

    Attributes
    ----------
    title : str
        The key of the heading in `words.py`.
    rows : tuple of tuple of Name
        The quantities; those of a row stand side by side where they are given.
    l, sample : int
        What the heading is about, counted from 1; 0 where it is about none.
    left_out : int
        How many quantities are not written out.
    """

    title: str
    rows: tuple[Row, ...] = ()
    l: int = 0
    sample: int = 0
    left_out: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Mapping[str, Step]):
    """One step of gradient descent: a mapping of names to steps, in the order of computation.

    Attributes
    ----------
    work : Work
        The net, its passes and the learning rate.
    digits, shown, differences, language
        As in `explain`.
    done : int
        Steps of gradient descent before this one.
    target : str or None
        The quantity that `of` has asked for.
    """

    work: Work
    digits: int = 6
    shown: int = 4
    language: str = "en"
    differences: bool = False
    done: int = 0
    target: str | None = None

    def __getitem__(self, name: str) -> Step:
        step = self.work.step(self._parsed(name))
        if self.differences and step.symbol.name.kind in ("dW", "db"):
            return replace(step, difference=self._difference(step.symbol.name))
        return step

    def __iter__(self) -> Iterator[str]:
        for section in self.outline(None):
            yield from (str(name) for row in section.rows for name in row)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _parsed(self, name: Any) -> Name:
        if not isinstance(name, str):
            raise KeyError(f"a quantity is named by a text such as 'W[3][1, 0]', not by {name!r}")
        return parse(name, self.m)

    @property
    def m(self) -> int:
        """Number of samples."""
        return len(self.work.y)

    @property
    def words(self) -> dict[str, str]:
        """The words of its language."""
        return words_of(self.language)

    def of(self, name: str) -> Self:
        """Return one quantity with all that it came from, back to what was given.

        Parameters
        ----------
        name : str
            ``"delta[2][0]"`` or ``"δ²₁"``; ``"W[3][1, 0]"``, ``"dW[3][1, 0]"``, ``"E"``.

        Raises
        ------
        KeyError
            If there is no such quantity.
        """
        found = self._parsed(name)
        self.work.check(found)
        return replace(self, target=str(found))

    @cached_property
    def _near(self) -> dict[Name, int]:
        """How many steps away from the target each quantity is that it came from, if it is one."""
        found, ahead = dict[Name, int](), [self._parsed(self.target)] if self.target else []
        for steps in count():
            found |= dict.fromkeys(ahead, steps)
            formulas = [self.work.step(name).formula for name in ahead]
            came_from = dict.fromkeys(q.name for f in formulas if f for q in f.quantities())
            ahead = [name for name in came_from if name not in found]
            if not ahead:
                return found
        raise AssertionError

    @property
    def after(self) -> Self:
        """The next step of gradient descent, of the same batch."""
        work = self.work
        following = Work.of(work.after[0], work.cache.a[1], work.y, work.learning_rate)
        return replace(self, work=following, done=self.done + 1)

    def _difference(self, name: Name) -> float:
        """Return the finite difference of E at one parameter."""
        net, x, y = self.work.net.astype(np.float64), self.work.cache.a[1], self.work.y
        parameter = {"dW": net.W, "db": net.b}[name.kind][name.l]
        start, slope = parameter[name.at].copy(), np.array(self.work.value(name))

        def E(value: Any) -> float:
            parameter[name.at] = value
            return float(net.loss(net.forward(x), y))

        report: GradientReport = check_function(E, slope, start, method="central")
        return float(report.numeric[0])

    @property
    def sections(self) -> list[Section]:
        """What is written out, without what is empty."""
        found = self.outline(self.shown)
        return [section for section in found if section.rows or section.left_out]

    def outline(self, shown: int | None) -> Iterator[Section]:
        """Yield the sections, of long layers the first neurons; None leaves nothing out."""
        layers, samples = range(2, self.work.net.L + 1), list(range(self.m))
        if self._near and self.m > 1:
            own = [name for name in self._near if name.kind in PER_SAMPLE and name.at]
            samples = sorted({name.at[0] for name in own})
        cut = samples[:shown]
        part, neurons, weights = self._section, self._neurons, self._weights
        sides: list[tuple[str, int]] = [("a", 1), ("y", 0)]
        given = [
            [[n for row in neurons(kind, l, s) for n in row]] for s in cut for kind, l in sides
        ]
        yield part("given", [*given, *(weights("", l) for l in layers)], shown)
        for s in cut:
            for l in layers:
                yield part("forward", [neurons("z a", l, s)], shown, l, s)
            yield part("share", [neurons("E", 0, s)], shown, 0, s)
        yield part("loss", [self._totals(cut)], None)
        for s in cut:
            for l in reversed(layers):
                kinds = " ".join(self.work.kinds(l))
                yield part("backward", [neurons(kinds, l, s)], shown, l, s)
        yield Section("samples", left_out=len(samples) - len(cut))
        for l in layers:
            yield part("gradient", [weights("d", l)], shown, l)
        for l in layers:
            yield part("update", [weights("", l, new=True)], shown, l)
        for s in cut:
            for l in layers:
                yield part("after", [neurons("z a", l, s, new=True)], shown, l, s)
            yield part("share after", [neurons("E", 0, s, new=True)], shown, 0, s)
        yield part("loss after", [self._totals(cut, new=True)], None)

    def _neurons(self, kinds: str, l: int, s: int, *, new: bool = False) -> list[Row]:
        """Return a row for each neuron of a layer: its quantities of these kinds in a sample."""
        at = (s,) if self.m > 1 else ()
        n = self.work.net.sizes[l - 1]
        return [tuple(Name(kind, l, (*at, i), new) for kind in kinds.split()) for i in range(n)]

    def _weights(self, prefix: str, l: int, *, new: bool = False) -> list[Row]:
        """Return a row for each neuron of a layer: its weights and its bias, or derivatives."""
        n, n_in = self.work.shape("W", l)
        W, b = f"{prefix}W", f"{prefix}b"
        return [
            (*(Name(W, l, (i, j), new) for j in range(n_in)), Name(b, l, (i,), new))
            for i in range(n)
        ]

    def _totals(self, samples: Sequence[int], *, new: bool = False) -> list[Row]:
        """Return the loss of each sample, if there are several, and of the batch."""
        each = [(s,) for s in samples] if self.m > 1 else []
        return [(Name("E", 0, at, new),) for at in (*each, ())]

    def _section(
        self,
        title: str,
        blocks: Iterable[Sequence[Sequence[Name]]],
        shown: int | None,
        l: int = 0,
        s: int | None = None,
    ) -> Section:
        """Return a section: some rows of each block, of long rows some weights.

        Which are the first ones, or those that the target is nearest to.
        """
        near, kept, total = self._near, list[Row](), 0
        for block in blocks:
            own = [tuple(n for n in row if n in near) for row in block] if near else block
            rows = [tuple(row) for row in own if row]
            steps = [min(near.get(name, 0) for name in row) for row in rows]
            total += sum(map(len, rows))
            kept += [shortened(row, shown, near) for row in nearest(rows, steps, shown)]
        sample = 0 if s is None or self.m == 1 else s + 1
        return Section(title, tuple(kept), l, sample, total - sum(map(len, kept)))


def nearest(items: Sequence[T], distance: Sequence[int], shown: int | None) -> list[T]:
    """Return so many of the items, the nearest ones, in their order."""
    chosen = sorted(range(len(items)), key=distance.__getitem__)[:shown]
    return [items[k] for k in sorted(chosen)]


def shortened(row: Row, shown: int | None, near: dict[Name, int]) -> Row:
    """Return some names of a row; a bias at its end stays, and what belongs to one neuron."""
    weights = row[:-1] if row[-1].kind.endswith("b") else row
    if len({name.kind for name in weights}) > 1:
        return row
    steps = [near.get(name, 0) for name in weights]
    return (*nearest(weights, steps, shown), *row[len(weights) :])
