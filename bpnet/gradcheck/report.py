"""The reports of a gradient check: what was compared, what came out, in words and in numbers."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bpnet.arrays import Array
from bpnet.errors import GradientCheckFailed
from bpnet.gradcheck.structure import Layout
from bpnet.network.show import Printed
from bpnet.words import Words

SHOWN = 5  # names, before "and ... more"
BLURRED = 0.01  # of a derivative: where rounding may change more, that is said
ESCAPE = 0.05  # the chance of escaping that the sampling statement is made for
METHOD_NAMES = {"complex": "complex step", "central": "central differences"}


def few(names: Sequence[str]) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


@dataclass(frozen=True)
class Coordinate:
    """One coordinate of θ and its derivative."""

    name: str  # such as "W[3][1, 0]"
    analytic: float  # the claimed derivative
    numeric: float  # and the measured one
    error: float  # how far apart, relative to the larger of them or to what rounding leaves

    def __str__(self) -> str:
        both = f"analytic {self.analytic:.10g}, numeric {self.numeric:.10g}"
        return f"{self.name}: {both}, error {self.error:.2g}"


@dataclass(frozen=True)
class BlockResult:
    """One row of the report's table: a weight matrix, a bias vector, or an array of one's own."""

    name: str
    checked: int  # coordinates looked at
    wrong: int  # how many of them are wrong
    kinks: int  # how many sit on a kink
    max_error: float  # the largest error away from kinks, 0 if there is no coordinate to tell
    worst: str  # the name of the coordinate that has it, or an empty string


class Verdict(Printed):
    """What is true where it is `ok`, and raises what it prints where it is not."""

    @property
    def ok(self) -> bool:
        """Whether all is right."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_failed(self) -> None:
        """Raise `GradientCheckFailed`, an AssertionError, with the printed report if not `ok`."""
        if not self.ok:
            raise GradientCheckFailed(Words(self))


@dataclass(frozen=True, eq=False, repr=False)
class GradientReport(Verdict):
    """What a gradient check found; true where it is `ok`: ``assert check_gradient(net, x, y)``."""

    layout: Layout  # the blocks of θ and the names of its coordinates
    method: str  # "complex" or "central"
    tolerance: float  # the largest error that passes
    k: Array  # (n,), the coordinates that were checked
    analytic: Array  # (n,), their claimed derivatives
    numeric: Array  # (n,), the measured ones
    rounding: Array  # (n,), how far these may be apart by rounding alone
    kink: Array  # (n,), which sit on a kink, where there is no derivative to compare with
    changed: tuple[str, ...] = ()  # which of its inputs the gradient function changed
    why: str = ""  # why this method was taken, where that needs saying
    cause: str | None = None  # what the pattern of the errors points to, if one is known

    @cached_property
    def error(self) -> Array:
        """The error of each coordinate, as in `Coordinate`; infinite where one is NaN."""
        with np.errstate(all="ignore"):
            difference = np.abs(self.analytic - self.numeric)
            scale = np.maximum(self.largest, self.rounding / self.tolerance)
            error = np.where(difference == 0, 0.0, difference / scale)
        error[~(np.isfinite(self.analytic) & np.isfinite(self.numeric))] = np.inf
        return error

    @property
    def largest(self) -> Array:
        """The larger of |analytic| and |numeric|."""
        return np.maximum(np.abs(self.analytic), np.abs(self.numeric))

    @property
    def blurred(self) -> Array:
        """Which coordinates rounding alone may change by 1 %, an array of bool."""
        is_blurred: Array = (self.rounding > BLURRED * self.largest) & (self.largest > 0)
        return is_blurred & ~self.kink

    @property
    def wrong(self) -> Array:
        """Which of the checked coordinates are wrong, an array of bool."""
        is_wrong: Array = (self.error > self.tolerance) & ~self.kink
        return is_wrong

    @property
    def failures(self) -> int:
        """How many coordinates are wrong."""
        return int(self.wrong.sum())

    @property
    def ok(self) -> bool:
        """Whether every compared coordinate is right and no input was changed."""
        return not self.failures and not self.changed

    @property
    def compared(self) -> int:
        """How many coordinates were compared: those checked that sit on no kink."""
        return int((~self.kink).sum())

    @property
    def max_error(self) -> float:
        """The largest error of a compared coordinate."""
        return float(np.max(self.error[~self.kink], initial=0.0))

    @property
    def worst(self) -> Coordinate | None:
        """The coordinate with the largest error; None if all sit on kinks."""
        return self._worst(~self.kink)

    def name(self, i: int) -> str:
        """Return the name of coordinate ``k[i]``."""
        return self.layout.name(int(self.k[i]))

    def _worst(self, among: Array) -> Coordinate | None:
        """Return which has the largest error; of equal ones, which has the largest difference."""
        if not among.any():
            return None
        equal = np.flatnonzero(among & (self.error >= 0.999 * np.max(self.error[among])))
        i = equal[np.argmax(np.abs(self.analytic - self.numeric)[equal])]
        numbers = (float(of[i]) for of in (self.analytic, self.numeric, self.error))
        return Coordinate(self.name(i), *numbers)

    @property
    def kinks(self) -> int:
        """How many coordinates sit on a kink."""
        return int(self.kink.sum())

    @property
    def kink_names(self) -> tuple[str, ...]:
        """The names of these."""
        return tuple(self.name(int(i)) for i in np.flatnonzero(self.kink))

    @property
    def table(self) -> tuple[BlockResult, ...]:
        """One row for each weight matrix and bias vector, or array of one's own."""
        rows = []
        for block in self.layout.blocks:
            here = (self.k >= block.start) & (self.k < block.start + block.size)
            checked, wrong, kinks = (int(np.sum(here & of)) for of in (here, self.wrong, self.kink))
            worst = self._worst(here & ~self.kink)
            most = (worst.error, worst.name) if worst else (0.0, "")
            rows.append(BlockResult(block.label, checked, wrong, kinks, *most))
        return tuple(rows)

    def escape_probability(self, wrong: int) -> float:
        """Return the chance that none of so many wrong was compared, C(P - wrong, n) / C(P, n)."""
        P, n = self.layout.size, self.compared
        if not 0 <= wrong <= P:
            raise ValueError(f"wrong must be from 0 to {P}, the number of coordinates, not {wrong}")
        drawn = np.arange(wrong)
        return float(np.prod(np.maximum(P - n - drawn, 0) / (P - drawn)))

    @property
    def sampling(self) -> str | None:
        """What a check of some coordinates can have missed; None if all were compared."""
        P, n = self.layout.size, self.compared
        if len(self.k) == P or not n:
            return None
        # The fewest wrong coordinates of which one is found at 95 %.
        escape = self.escape_probability
        few = 1 + bisect_left(range(1, P), True, key=lambda wrong: escape(wrong) <= ESCAPE)
        return (
            f"{n:,} of {P:,} coordinates: if one were wrong it would have escaped with "
            f"probability {escape(1):.1%}, {few:,} wrong ones "
            f"({few / P:.2%} of all) with probability {ESCAPE:.0%}"
        )

    def __str__(self) -> str:
        return str(Words("\n".join([*self._head(), "", *self._rows()])))

    def _head(self) -> list[str]:
        count = f"{self.compared:,} coordinate{'' if self.compared == 1 else 's'}"
        found = f"{self.failures:,} of {count} wrong"
        if not self.failures:
            found = f"{count} right, but an input was changed" if self.changed else count
        lines = [f"gradient check {'passed' if self.ok else 'FAILED'}: {found}"]
        facts = [("method", f"{METHOD_NAMES[self.method]}{self.why and f' ({self.why})'}")]
        facts += [("error", f"{self.max_error:.2g} at most, {self.tolerance:.2g} allowed")]
        if self.failures:
            facts += [("worst", str(self.worst))]
        if not self.ok:
            facts += [("cause", self.cause or "no known pattern")]
        if self.kinks:
            facts += [("kinks", f"{self.kinks:,}, not compared: {few(self.kink_names)}")]
        if self.blurred.any():
            count = f"{int(self.blurred.sum()):,}"
            facts += [("rounding", f"blurs {count} by 1 % or more: compared to within that")]
        if self.sampling:
            facts += [("sample", self.sampling)]
        return lines + [f"  {name:<10}{text}" for name, text in facts]

    def _rows(self) -> list[str]:
        table = self.table
        width = max(5, *(len(row.name) for row in table))
        lines = [f"  {'block':<{width}}  checked   wrong   kinks  largest error"]
        for row in table:
            error = f"{row.max_error:.1e}" if row.worst else "-"
            at = f"  {row.worst}" if row.max_error > 0 else ""
            counts = f"{row.checked:7,} {row.wrong:7,} {row.kinks:7,}"
            lines.append(f"  {row.name:<{width}}  {counts}  {error:>13}{at}")
        return lines


@dataclass(frozen=True, eq=False, repr=False)
class StackReport(Verdict):
    """What the gradient check of a stack found; true where it is `ok`, as each report is."""

    reports: tuple[GradientReport, ...]  # one for each network; the others sum them up

    @property
    def ok(self) -> bool:
        """Whether every network's gradient is right."""
        return all(report.ok for report in self.reports)

    @property
    def failed(self) -> tuple[int, ...]:
        """The numbers of the networks whose gradient is wrong."""
        return tuple(k for k, report in enumerate(self.reports) if not report.ok)

    @property
    def max_error(self) -> float:
        """The largest error of any network."""
        return max(report.max_error for report in self.reports)

    @property
    def network(self) -> int:
        """The number of the network that has it; where some fail, of one that does."""
        among = self.failed or range(len(self.reports))
        return max(among, key=lambda k: self.reports[k].max_error)

    @property
    def worst(self) -> Coordinate | None:
        """The coordinate with the largest error, named as ``"network 3: W[3][1, 0]"``."""
        worst = self.reports[self.network].worst
        return worst and replace(worst, name=f"network {self.network}: {worst.name}")

    @property
    def kinks(self) -> int:
        """How many coordinates sit on a kink."""
        return sum(report.kinks for report in self.reports)

    @property
    def cause(self) -> str | None:
        """What the errors of the worst network point to."""
        return self.reports[self.network].cause

    def __str__(self) -> str:
        count = len(self.reports)
        if self.ok:
            head = f"gradient check of a stack passed: {count:,} networks; the largest errors:"
        else:
            few = ", ".join(map(str, self.failed[:5])) + (", ..." if len(self.failed) > 5 else "")
            wrong = f"{len(self.failed):,} of {count:,} networks wrong ({few})"
            head = f"gradient check of a stack FAILED: {wrong}; the worst:"
        return f"{head}\n\nnetwork {self.network}: {self.reports[self.network]}"
