"""Is this gradient the derivative of this function? Each coordinate, by name, and the likely cause.

check        `check_gradient` for nets and `check_function` for anything else
differences  central differences, extrapolated; the complex step; kinks from one-sided slopes
rounding     how much of each coordinate may be rounding
probes       the function that is evaluated, for many changed θ in one pass
claims       the claimed gradient, read and tried for what it changes
structure    names for the coordinates of lists, dicts and nets
report       what came out, in numbers and in words
diagnosis    what the pattern of the errors points to; by variants and rules, the usual mistakes
stackcheck   the same for a stack of networks
"""

from __future__ import annotations

from bpnet.gradcheck.check import check_function, check_gradient
from bpnet.gradcheck.measure import METHODS
from bpnet.gradcheck.report import BlockResult, Coordinate, GradientReport
from bpnet.gradcheck.stack import StackReport

__all__ = [
    "METHODS",
    "BlockResult",
    "Coordinate",
    "GradientReport",
    "StackReport",
    "check_function",
    "check_gradient",
]
