"""The gradient check of a stack: its one backward pass, against each network's own derivative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.checks import as_numbers
from bpnet.errors import GradientCheckFailed
from bpnet.gradcheck.one_net import check_net
from bpnet.gradcheck.report import Coordinate, GradientReport
from bpnet.gradcheck.structure import returned
from bpnet.mlp import MLP
from bpnet.network.show import Printed
from bpnet.words import Words


@dataclass(frozen=True, eq=False, repr=False)
class StackReport(Printed):
    """What the gradient check of a stack found.

    Attributes
    ----------
    reports : tuple of GradientReport
        One for each network; the attributes below sum them up.

    Notes
    -----
    It is true where it is `ok`, as each report is.
    """

    reports: tuple[GradientReport, ...]

    @property
    def ok(self) -> bool:
        """Whether every network's gradient is right."""
        return all(report.ok for report in self.reports)

    def __bool__(self) -> bool:
        return self.ok

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
            head = (
                f"gradient check of a stack FAILED: {len(self.failed):,} of {count:,} networks "
                f"wrong ({few}); the worst:"
            )
        return f"{head}\n\nnetwork {self.network}: {self.reports[self.network]}"

    def raise_if_failed(self) -> None:
        """Raise `GradientCheckFailed`, an AssertionError, with the printed report if not `ok`."""
        if not self.ok:
            raise GradientCheckFailed(Words(self))


def check_stack(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    gradient: Any,
    sample_weight: ArrayLike | None,
    mask: Mapping[int, ArrayLike] | None,
    **options: Any,
) -> StackReport:
    """Check the gradient of a stack; parameters as in `check_net`.

    ``gradient`` may be an array (networks, P), an object that has it as ``theta``, or a function
    ``gradient(net, x, y)`` that returns one.
    """
    if gradient is None:
        cache = net.forward(x, mask=mask)
        claim = net.backward(cache, y, sample_weight=sample_weight).theta
    else:
        given = gradient(net.copy(), np.array(x), np.array(y)) if callable(gradient) else gradient
        claim = as_numbers(getattr(returned(given, "gradient"), "theta", given), "gradient")
    if claim.shape != net.theta.shape:
        raise ValueError(
            f"the gradient has shape {claim.shape}, but theta of this stack has {net.theta.shape}"
        )

    def own(values: Any, k: int) -> Any:
        """Return what network k takes of a batch that all share, or that each has its own."""
        return values[k] if np.ndim(values) == 3 else values

    reports = [
        check_net(
            net[k],
            own(x, k),
            own(y, k),
            claim[k],
            sample_weight,
            mask and {l: own(values, k) for l, values in mask.items()},
            **options,
        )
        for k in range(len(net))
    ]
    return StackReport(tuple(reports))
