"""Numbers so small that the processor slows down, and how training keeps clear of them.

Below the smallest normal number, 1.2e-38 in float32 and 2.2e-308 in float64, numbers are subnormal,
and arithmetic on one costs some hundred cycles on Intel's processors, a few on AMD's. A training
comes there by itself: Adam's m of a weight whose gradient is 0 for long (a pixel that is always
white, a dead ReLU) shrinks to 0.9 of itself in every step, and sticks, since 0.9 times 4 units in
the last place rounds to 4 again. On MNIST that is up to a fifth of m, and an epoch may take three
times as long.

NumPy has no switch for it. So what has come near is set to 0, every fifty steps, in all that
shrinks so:

- the vectors of an optimiser, below `negligible`: tiny / eps, 1e-31 in float32 and 1e-292 in
  float64, from where fifty steps of 0.9 lead to no subnormal number. A momentum that small moves
  no weight: against θ = 1e-10 it takes a step of 1e-17 at least to change a bit. A square that
  stands beside ε under a root must besides be lost there, √v < ε eps / 4; where ε is so small
  that it is not, it stays as it is, since g / (√v + ε) would grow;
- θ where it decays by itself, under AdamW or with a penalty, below 1024 tiny. A step ends at 0
  there: its move is then θ;
- δ of a saturated layer in `fit`, below `negligible`, where some of it has come there. The public
  `backward` is exact: the tiny δ of sixty sigmoid layers are what a learner wants to see.

Which step clears depends on its number t alone, and for δ on what the last fiftieth has shown,
which a checkpoint keeps: a training that is resumed has the bits of one that never stopped.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import absolute, copyto, count_nonzero, greater_equal, less, multiply, subtract

from bpnet.arrays import Array

EVERY = 50  # steps
FEW = 1000  # numbers of δ, up to which there is not much to gain


def negligible(dtype: Any, epsilon: float | None = None) -> float:
    """Return below what numbers, or with an ε those v of √v + ε, are set to 0; 0 if none is."""
    info = np.finfo(dtype)
    tiny, eps = float(info.tiny), float(info.eps)
    if info.bits < 32:  # half precision has too few exponents to spare any
        return 0.0
    if epsilon is None:
        return tiny / eps
    least = min(tiny / eps, (epsilon * eps / 4) ** 2)
    return least if least >= tiny else 0.0


def negligible_theta(dtype: Any) -> float:
    """Return below what a θ that decays is set to 0; 0 if none is."""
    info = np.finfo(dtype)
    return 0.0 if info.bits < 32 else 1024 * float(info.tiny)


def clear(v: Array, least: float, s: Array, kept: Array) -> None:
    """Set what is below least to 0, with scratch space of numbers and of bools; NaN stays."""
    greater_equal(absolute(v, s), least, kept)
    copyto(s, kept)
    multiply(v, s, v)  # of a tenth, `copyto(v, 0, where=...)` would take ten times as long


def end_small(theta: Array, move: Array, least: float, s: Array, kept: Array) -> None:
    """Let a step end at 0 where θ - move is below least; the rest as in `clear`."""
    less(absolute(subtract(theta, move, s), s), least, kept)
    copyto(move, theta, where=kept)


class SmallErrors:
    """Clears δ^l of the hidden layers of a training, while it has numbers that need it.

    A pass over δ in each step would be too much for what is rare: every fifty steps it looks, and
    clears in those that follow the ``layers``, by network in turn and l, where it found something.
    """

    def __init__(self, layers: dict[tuple[int, int], bool] | None = None, network: int = 0) -> None:
        self.layers, self.network, self.t = {} if layers is None else layers, network, 0

    def watched(self, l: int, times_df: Callable[..., object], delta: Array) -> Any:
        """Return layer l's ``times_df(z, a, delta)`` with what clears delta, an array like this."""
        least, layers, here = negligible(delta.dtype), self.layers, (self.network, l)
        s, kept = np.empty_like(delta), np.empty_like(delta, bool)

        def cleared(z: Array, a: Array, delta: Array) -> None:
            times_df(z, a, delta)
            if self.t % EVERY == 0:  # the steps taken before
                greater_equal(absolute(delta, s), least, kept)
                layers[here] = bool(count_nonzero(s) > count_nonzero(kept))
            if layers.get(here):
                clear(delta, least, s, kept)

        return cleared
