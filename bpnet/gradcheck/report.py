"""The report of a gradient check: what was compared, what came out, in words and in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bpnet.arrays import Array
from bpnet.errors import GradientCheckFailed
from bpnet.gradcheck.structure import Layout
from bpnet.network.show import Printed
from bpnet.words import Words

SHOWN = 5  # names of kinks, before "and ... more"
BLURRED = 0.01
ESCAPE = 0.05  # the chance of escaping that the sampling statement is made for


@dataclass(frozen=True)
class Coordinate:
    """One coordinate of θ and its derivative.

    Attributes
    ----------
    name : str
        Such as ``"W[3][1, 0]"``.
    analytic, numeric : float
        The claimed derivative and the measured one.
    error : float
        How far they are apart, relative to the larger of them or to what rounding leaves.
    """

    name: str
    analytic: float
    numeric: float
    error: float

    def __str__(self) -> str:
        return (
            f"{self.name}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, "
            f"error {self.error:.2g}"
        )


@dataclass(frozen=True)
class BlockResult:
    """One row of the report's table: a weight matrix, a bias vector, or an array of one's own.

    Attributes
    ----------
    name : str
    checked, wrong, kinks : int
        Coordinates looked at; how many of them are wrong; how many sit on a kink.
    max_error : float
        The largest error away from kinks, 0 if there is no coordinate to tell.
    worst : str
        The name of the coordinate that has it, or an empty string.
    """

    name: str
    checked: int
    wrong: int
    kinks: int
    max_error: float
    worst: str


@dataclass(frozen=True, eq=False, repr=False)
class GradientReport(Printed):
    """What a gradient check found.

    Attributes
    ----------
    layout : Layout
        The blocks of θ and the names of its coordinates.
    method : str
        ``"complex"`` or ``"central"``.
    tolerance : float
        The largest error that passes.
    k : array of int, shape (n,)
        The coordinates that were checked.
    analytic, numeric : array, shape (n,)
        The claimed derivative of each of them and the measured one.
    rounding : array, shape (n,)
        How far these may be apart by rounding alone.
    kink : array of bool, shape (n,)
        Which of them sit on a kink, where there is no derivative to compare with.
    changed : tuple of str
        Which of its inputs the gradient function changed.
    why : str
        Why this method was taken, where that needs saying.
    cause : str or None
        What the pattern of the errors points to; None where nothing failed or no pattern is known.

    Notes
    -----
    A report is true where it is `ok`: ``assert check_gradient(net, x, y)``.
    """

    layout: Layout
    method: str
    tolerance: float
    k: Array
    analytic: Array
    numeric: Array
    rounding: Array
    kink: Array
    changed: tuple[str, ...] = ()
    why: str = ""
    cause: str | None = None

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

    def __bool__(self) -> bool:
        return self.ok

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
        if not self.compared:
            return None
        i = self._worst(np.flatnonzero(~self.kink))
        return Coordinate(
            self.name(i),
            float(self.analytic[i]),
            float(self.numeric[i]),
            float(self.error[i]),
        )

    def name(self, i: int) -> str:
        """Return the name of coordinate ``k[i]``."""
        return self.layout.name(int(self.k[i]))

    def _worst(self, among: Array) -> int:
        """Return which has the largest error; of equal ones, which has the largest difference."""
        error = self.error[among]
        equal = among[error >= 0.999 * np.max(error)]
        return int(equal[np.argmax(np.abs(self.analytic - self.numeric)[equal])])

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
            here = (self.k >= block.start) & (self.k < block.stop)
            compared = np.flatnonzero(here & ~self.kink)
            largest, worst = 0.0, ""
            if compared.size:
                i = self._worst(compared)
                largest, worst = float(self.error[i]), self.name(i)
            rows.append(
                BlockResult(
                    block.label,
                    int(here.sum()),
                    int((self.wrong & here).sum()),
                    int((self.kink & here).sum()),
                    largest,
                    worst,
                )
            )
        return tuple(rows)

    def escape_probability(self, wrong: int) -> float:
        """Return the chance that none of so many wrong coordinates was among those compared.

        The sample is drawn without replacement, so it is C(P - wrong, n) / C(P, n).

        Parameters
        ----------
        wrong : int
            How many of the P coordinates are wrong, 0 <= wrong <= P.
        """
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
        few, many = 1, P  # the fewest wrong coordinates of which one is found at 95 %
        while few < many:
            middle = (few + many) // 2
            if self.escape_probability(middle) <= ESCAPE:
                many = middle
            else:
                few = middle + 1
        return (
            f"{n:,} of {P:,} coordinates: if one were wrong it would have escaped with "
            f"probability {self.escape_probability(1):.1%}, {few:,} wrong ones "
            f"({few / P:.2%} of all) with probability {ESCAPE:.0%}"
        )

    def __str__(self) -> str:
        return str(Words("\n".join([*self._head(), "", *self._rows()])))

    def _head(self) -> list[str]:
        method = {"complex": "complex step", "central": "central differences"}[self.method]
        count = f"{self.compared:,} coordinate{'' if self.compared == 1 else 's'}"
        if self.failures:
            lines = [f"gradient check FAILED: {self.failures:,} of {count} wrong"]
        elif self.changed:
            lines = [f"gradient check FAILED: {count} right, but an input was changed"]
        else:
            lines = [f"gradient check passed: {count}"]
        facts = [("method", f"{method}{self.why and f' ({self.why})'}")]
        facts += [("error", f"{self.max_error:.2g} at most, {self.tolerance:.2g} allowed")]
        if self.worst is not None and self.failures:
            facts += [("worst", str(self.worst))]
        if not self.ok:
            facts += [("cause", self.cause or "no known pattern")]
        if self.kinks:
            more = f" and {self.kinks - SHOWN:,} more" if self.kinks > SHOWN else ""
            names = ", ".join(self.kink_names[:SHOWN])
            facts += [("kinks", f"{self.kinks:,}, not compared: {names}{more}")]
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
            lines.append(
                f"  {row.name:<{width}}  {row.checked:7,} {row.wrong:7,} {row.kinks:7,}  "
                f"{error:>13}{at}"
            )
        return lines

    def raise_if_failed(self) -> None:
        """Raise `GradientCheckFailed`, an AssertionError, with the printed report if not `ok`."""
        if not self.ok:
            raise GradientCheckFailed(Words(self))
