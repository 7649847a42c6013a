"""Derivatives by evaluating only: central differences and the complex step.

    E(θ)    a function of a flat vector; e_k is the unit vector of coordinate k, h a step
    D(h)    (E(θ + h e_k) - E(θ - h e_k)) / 2h = ∂E/∂θ_k + c h² + c' h⁴ + ...
    J(h)    (E(θ + h e_k) - 2 E(θ) + E(θ - h e_k)) / h, the slope on the right less the slope on
            the left: c h + c' h³ + ... where E is smooth, and besides the jump where it is not

D and J are taken at h, h/2, h/4, h/8 and extrapolated to h = 0 (Richardson 1911). How far the
result may be off is told by the last extrapolation and by smaller steps, which show odd powers of
h too, as where f'' jumps; how much of it is rounding is told by what E jitters by. A coordinate
that this does not settle is taken again with steps 16 times smaller: so each finds its own.

The complex step (Squire & Trapp 1998): E(θ + i h e_k) = E(θ) + i h ∂E/∂θ_k - O(h²), so the
imaginary part gives the derivative without a difference, and h may be so small that no more
is to be said about it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bpnet.arrays import Array

# along(k, step): E(θ + step_i e_{k_i}) for each i; both arguments and the result have shape (c,).
Along = Callable[[Array, Array], Array]

COMPLEX_STEP = 1e-30
RATIOS = 0.5 ** np.arange(6)  # h, h/2, h/4, h/8, and the smaller steps h/16, h/32
START = 2.0**-3  # the first h, in units of the coordinate's scale
SHRINK = 2.0**-4  # from a round of steps to the next
ROUNDS = 6
EPS = float(np.finfo(np.float64).eps)
JITTERS = 6
GROWTH = 1e3  # at most, of the rounding with E
TOLERANCE = {"complex": 1e-9, "central": 1e-7}
AGREED = 1e-6  # relative, between the complex step and differences


class Differences(NamedTuple):
    """Central differences at some coordinates, each of shape (n,)."""

    value: Array
    uncertainty: Array  # how far the value may be off, by truncation and by rounding
    kink: Array  # where the slopes on both sides differ, down to the smallest step
    undefined: Array  # where E is not finite on both sides, down to the smallest step


def richardson(powers: tuple[int, ...], first: int) -> Array:
    """Weights of the results at the steps from the first on that cancel these powers of h."""
    used = slice(first, first + len(powers) + 1)
    system = np.stack([RATIOS[used] ** p for p in (0, *powers)])
    result = np.zeros(len(RATIOS))
    result[used] = np.linalg.solve(system, np.eye(len(system))[0])
    return result


# For D: the result, the same without the largest step, and from smaller steps.
FINE, COARSE, SMALL = richardson((2, 4, 6), 0), richardson((2, 4), 1), richardson((2,), 4)
JUMP_FINE, JUMP_COARSE = richardson((1, 3, 5), 0), richardson((1, 3), 1)  # for J
# How many times (rounding of E) / h the rounding of these may be.
D_ROUNDING = float(np.sum(np.abs(FINE) / RATIOS))
SMALL_ROUNDING = float(np.sum(np.abs(SMALL) / RATIOS))
J_ROUNDING = float(np.sum(4 * np.abs(JUMP_FINE) / RATIOS))


def jittered(theta: Array) -> Array:
    """Return θ with its last bits changed at random, several times: (JITTERS, P)."""
    signs = np.random.default_rng(0).choice((-2.0, 2.0), size=(JITTERS, theta.size))
    rows: Array = theta * (1 + EPS * signs)
    return rows


def jitter(at: Callable[[Array], Array], theta: Array, E_0: float) -> float:
    """Return how much E changes where θ changes in its last bits: the rounding in E."""
    moved = np.abs(at(jittered(theta)) - E_0)
    return float(np.fmax.reduce(moved, initial=0.0)) + EPS * abs(E_0)


def scales(theta: Array, slices: list[slice]) -> Array:
    """Return each coordinate's size of step, a power of 2, so that θ ± h is exact."""
    size = np.abs(theta)
    for block in slices:
        typical = np.sqrt(np.mean(theta[block] ** 2))
        small = size[block] < typical / 16
        size[block][small] = typical
    size[size == 0] = 1.0
    powers: Array = 2.0 ** np.round(np.log2(size))
    return powers


def central(along: Along, k: Array, E_0: float, noise: float, scale: Array, tolerance: float) -> Differences:
    """Return ∂E/∂θ_k by extrapolated central differences; a tenth of `tolerance` is settled."""
    n = len(k)
    value, uncertainty = np.full(n, np.nan), np.full(n, np.inf)
    fallback = np.full(n, np.nan)  # at a kink: the mean of both slopes
    last = np.zeros(n)  # the jump with the steps before
    seen = np.zeros(n)  # the largest jump that stayed when the steps shrank
    sight = np.full(n, np.inf)  # the smallest jump that the best steps would have shown
    unsettled = np.ones(n, bool)
    h = START * scale
    for _ in range(ROUNDS):
        at = np.flatnonzero(unsettled)
        D, off, rounding, J, J_off = extrapolated(along, k[at], h[at], E_0, noise)
        finite = np.isfinite(D)
        fallback[at[finite]] = D[finite]
        jump = finite & (np.abs(J) > np.maximum(3 * J_off, tolerance * np.abs(D)))
        J = np.where(jump, np.abs(J), 0.0)
        stayed = jump & (2 * last[at] > J) & (last[at] < 2 * J)
        last[at] = J
        seen[at[stayed]] = np.maximum(seen[at[stayed]], J[stayed])
        error = np.where(finite & ~jump, 3 * off + rounding, np.inf)
        better = error < uncertainty[at]
        value[at[better]], uncertainty[at[better]] = D[better], error[better]
        sight[at[better]] = 30 * J_off[better]
        small = error <= np.maximum(0.1 * tolerance * np.abs(D), 5 * rounding)
        unsettled[at[small & ~jump & ((seen[at] == 0) | (30 * J_off < seen[at]))]] = False
        if not unsettled.any():
            break
        h *= SHRINK
    smooth = (uncertainty <= tolerance * np.abs(value)) & (sight < seen)
    missing = np.isnan(value)
    value[missing] = fallback[missing]
    return Differences(value, uncertainty, unsettled & (seen > 0) & ~smooth, np.isnan(value))


def extrapolated(
    along: Along, k: Array, h: Array, E_0: float, noise: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Return D, how far it is off, how much of it is rounding, J and how far that is off."""
    n, r = len(k), len(RATIOS)
    steps = h[:, None] * RATIOS
    both = along(np.repeat(k, 2 * r), np.hstack([steps, -steps]).ravel())
    right, left = both.reshape(n, 2, r).swapaxes(0, 1)
    with np.errstate(all="ignore"):
        D = (right - left) / (2 * steps)
        J = ((right - E_0) - (E_0 - left)) / steps
        size = np.max(np.abs(both.reshape(n, -1)), axis=1)
        # Where E is larger than at θ, so is its rounding.
        growth = np.clip(np.divide(size, abs(E_0)), 1, GROWTH)
        level = (noise * growth + EPS * size) / h
        D_0, J_0 = D @ FINE, J @ JUMP_FINE
        off = np.maximum(np.abs(D_0 - D @ COARSE), np.abs(D_0 - D @ SMALL))
        off = np.maximum(off, np.abs(J_0) / 2)  # a jump too small to be told from rounding
        J_off = np.abs(J_0 - J @ JUMP_COARSE) + level * J_ROUNDING
    return D_0, off, level * (D_ROUNDING + SMALL_ROUNDING), J_0, J_off
