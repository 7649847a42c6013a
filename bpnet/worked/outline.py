"""What is in a worked solution: every quantity of a step by its name, in sections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from bpnet.gradcheck import GradientReport, check_function
from bpnet.worked.names import PER_SAMPLE, Name, parse
from bpnet.worked.notation import quantities
from bpnet.worked.steps import Step, Work
from bpnet.worked.words import words_of

T = TypeVar("T")
Row = tuple[Name, ...]


class Section(NamedTuple):
    """A part of the solution: the key of its heading, rows of quantities, the layer and sample.

    Those count from 1, and are 0 where there is none; so many quantities are not written out.
    """

    title: str
    rows: tuple[Row, ...] = ()
    l: int = 0
    sample: int = 0
    left_out: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Mapping[str, Step]):
    """One step of gradient descent: a mapping of names to steps, after `done` steps before it."""

    work: Work
    digits: int = 6
    shown: int = 4
    language: str = "en"
    differences: bool = False
    done: int = 0
    target: str | None = None

    def __getitem__(self, name: str) -> Step:
        found = parse(name, self.m)
        step = self.work.step(found)
        if self.differences and found.kind in ("dW", "db"):
            return replace(step, difference=self._difference(found))
        return step

    def __iter__(self) -> Iterator[str]:
        for section in self._outline(None):
            yield from (str(name) for row in section.rows for name in row)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def m(self) -> int:
        """Number of samples."""
        return len(self.work.y)

    @property
    def words(self) -> dict[str, str]:
        """The words of its language."""
        return words_of(self.language)

    def of(self, name: str) -> Self:
        """Return one quantity, ``"δ²₁"`` say, with all that it came from, back to what was given.

        Raises
        ------
        KeyError
            If there is no such quantity.
        """
        found = parse(name, self.m)
        self.work.check(found)
        return replace(self, target=str(found))

    @cached_property
    def _near(self) -> dict[Name, int]:
        """How many steps away from the target each quantity is that it came from, if it is one."""
        found, ahead = dict[Name, int](), [parse(self.target)] if self.target else []
        while ahead:
            found |= dict.fromkeys(ahead, max(found.values(), default=-1) + 1)
            codes = [self.work.formula(name)[0] for name in ahead]
            came_from = {parse(q): 0 for code in codes for q in quantities(code)}
            ahead = [name for name in came_from if name not in found]
        return found

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
        found = self._outline(self.shown)
        return [section for section in found if section.rows or section.left_out]

    def _outline(self, shown: int | None) -> Iterator[Section]:
        """Yield the sections, of long layers the first neurons; None leaves nothing out."""
        layers, samples = range(2, self.work.net.L + 1), list(range(self.m))
        if self._near and self.m > 1:
            own = [name for name in self._near if name.kind in PER_SAMPLE and name.at]
            samples = sorted({name.at[0] for name in own})
        cut, part, neurons = samples[:shown], self._section, self._neurons

        def weights(title: str, prefix: str = "", *, new: bool = False) -> Iterator[Section]:
            for l in layers:
                yield part(title, [self._weights(prefix, l, new=new)], shown, l)

        def forward(pass_: str, share: str, loss: str, *, new: bool = False) -> Iterator[Section]:
            for s in cut:
                for l in layers:
                    yield part(pass_, [neurons("z a", l, s, new=new)], shown, l, s)
                yield part(share, [neurons("E", 0, s, new=new)], shown, 0, s)
            each = [(s,) for s in cut] if self.m > 1 else []
            yield part(loss, [[(Name("E", 0, at, new),) for at in (*each, ())]], None)

        given = [[sum(neurons(kind, l, s), ())] for s in cut for kind, l in (("a", 1), ("y", 0))]
        yield part("given", [*given, *(self._weights("", l) for l in layers)], shown)
        yield from forward("forward", "share", "loss")
        for s in cut:
            for l in reversed(layers):
                kinds = " ".join(self.work.kinds(l))
                yield part("backward", [neurons(kinds, l, s)], shown, l, s)
        yield Section("samples", left_out=len(samples) - len(cut))
        yield from weights("gradient", "d")
        yield from weights("update", new=True)
        yield from forward("after", "share after", "loss after", new=True)

    def _neurons(self, kinds: str, l: int, s: int, *, new: bool = False) -> list[Row]:
        """Return a row for each neuron of a layer: its quantities of these kinds in a sample."""
        at, n = (s,) if self.m > 1 else (), self.work.net.sizes[l - 1]
        return [tuple(Name(kind, l, (*at, i), new) for kind in kinds.split()) for i in range(n)]

    def _weights(self, prefix: str, l: int, *, new: bool = False) -> list[Row]:
        """Return a row for each neuron of a layer: its weights and its bias, or derivatives."""
        n, n_in = self.work.shape("W", l)
        names = [[Name(f"{prefix}W", l, (i, j), new) for j in range(n_in)] for i in range(n)]
        return [(*row, Name(f"{prefix}b", l, (i,), new)) for i, row in enumerate(names)]

    # fmt: off
    def _section(self, title: str, blocks: Iterable[Sequence[Row]], shown: int | None,
                 l: int = 0, s: int | None = None) -> Section:
        """Return a section: some rows of each block, of long rows some weights.

        Which are the first ones, or those that the target is nearest to.
        """
        # fmt: on
        near, kept, total = self._near, list[Row](), 0
        for block in blocks:
            own = [tuple(n for n in row if n in near) for row in block] if near else block
            rows = [row for row in own if row]
            steps = [min(near.get(name, 0) for name in row) for row in rows]
            total += sum(map(len, rows))
            for row in nearest(rows, steps, shown):
                bias = row[-1:] if row[-1].kind.endswith("b") else ()
                weights = row[: len(row) - len(bias)]
                if len({name.kind for name in weights}) == 1:  # else all of one neuron
                    weights = tuple(nearest(weights, [near.get(n, 0) for n in weights], shown))
                kept.append((*weights, *bias))
        sample = 0 if s is None or self.m == 1 else s + 1
        return Section(title, tuple(kept), l, sample, total - sum(map(len, kept)))


def nearest(items: Sequence[T], distance: Sequence[int], shown: int | None) -> list[T]:
    """Return so many of the items, the nearest ones, in their order."""
    chosen = sorted(range(len(items)), key=distance.__getitem__)[:shown]
    return [items[k] for k in sorted(chosen)]
