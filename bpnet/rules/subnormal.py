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
  there: its move is then θ.

Which step clears depends on its number t alone, so that a training that is resumed has the
same bits as one that never stopped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import absolute, copyto, greater_equal, less, multiply, subtract

from bpnet.arrays import Array

EVERY = 50  # steps


def negligible(dtype: Any, epsilon: float | None = None) -> float:
    """Return below what numbers are set to 0; 0 if none is.

    Parameters
    ----------
    dtype : dtype
        Half precision has too few exponents to spare any.
    epsilon : float, optional
        ε, for the numbers v of √v + ε.
    """
    info = np.finfo(dtype)
    tiny, eps = float(info.tiny), float(info.eps)
    if info.bits < 32:
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
    """Set what is below least to 0; NaN stays.

    Parameters
    ----------
    v : array
    least : float
    s, kept : array, array of bool
        Scratch space shaped like v. A product with 0 and 1 takes the same time whatever v is;
        ``copyto(v, 0, where=...)`` takes ten times as long where a tenth is small.
    """
    absolute(v, s)
    greater_equal(s, least, kept)
    copyto(s, kept)
    multiply(v, s, v)


def end_small(theta: Array, move: Array, least: float, s: Array, kept: Array) -> None:
    """Let a step end at 0 where θ - move is below least; the rest as in `clear`."""
    subtract(theta, move, s)
    absolute(s, s)
    less(s, least, kept)
    copyto(move, theta, where=kept)
