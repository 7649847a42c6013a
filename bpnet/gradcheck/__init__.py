"""Is this gradient the derivative of this function? Each coordinate, by name, and the likely cause.

check        the front doors: `check_gradient` for a net or a stack, `check_function` for anything
             else, `check_vjp` for a layer's own backward
claims       the claimed gradient, read, tried for what it changes, held against the measured one
probes       the function that is evaluated, for many changed θ in one pass
structure    names for the coordinates of lists, dicts and nets
differences  central differences, extrapolated; the complex step; kinks from one-sided slopes
rounding     how much of each coordinate of a net may be rounding
report       what came out, in numbers and in words
diagnosis    what the pattern of the errors points to
variants     the gradients that the usual mistakes in the formulas give
stated       whether the f' and ∂E/∂a that the rules state are slopes of theirs

The error of a coordinate is

    |analytic - numeric| / max(|analytic|, |numeric|, rounding / tolerance)

relative to the derivative itself, so that 1e-6 in one weight is seen whatever the others are.
Where what rounding may have done to a derivative is more than the tolerance allows, as in one
that is tiny, the difference is held against that: it passes if it is no larger. `rounding` bounds
it for each coordinate, in the gradient and in the measurement together: for a network by following
the rounding errors through both passes (`rounding.py`), for other functions by the size of the
whole gradient and by what the gradient changes when its input changes in the last bits.
"""

from __future__ import annotations

from bpnet.gradcheck.check import check_function, check_gradient, check_vjp
from bpnet.gradcheck.claims import METHODS
from bpnet.gradcheck.report import BlockResult, Coordinate, GradientReport, StackReport

__all__ = [
    "METHODS", "BlockResult", "Coordinate", "GradientReport", "StackReport",
    "check_function", "check_gradient", "check_vjp",
]  # fmt: skip
