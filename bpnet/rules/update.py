"""A rule's steps on arrays that stay: in one call, over a large θ in pieces where that is faster.

A rule passes some ten times over its vectors. Where they do not fit into the cache of a core each
pass waits for memory; ten passes over one piece of θ, then over the next, wait once. That takes
more calls, and what there is to win differs between processors with the same caches: on Intel's
Xeon a third of the time, on AMD's EPYC nothing where the third cache is as fast as the passes. So
both ways, whose results are the same to the bit, are tried for some steps, and the faster stays.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import subtract

from bpnet.arrays import Array, networks_fastest
from bpnet.rules.optimizers import Optimizer

Compute = Callable[[], Any]

ONE_THREAD = 10_000  # numbers: longer vectors BLAS takes to several, which may wait for a core
TRIALS = 5  # steps each way, the fastest of which counts
SECOND_LEVEL = "/sys/devices/system/cpu/cpu0/cache/index2/size"  # on Linux, such as "1024K"


class Update(NamedTuple):
    """A step in two parts, between which it can still be given up.

    Attributes
    ----------
    compute : callable
        Counts t up and computes the step; returns a number that is not finite if one of the step
        is not, and perhaps if it is only very large.
    undo : callable
        Makes θ what it was, if it has moved already.
    broken : callable
        Whether the step is not finite; of a stack, of which networks.
    apply : callable
        θ ← θ - move, unless it has moved already.
    """

    compute: Compute
    undo: Callable[[], object]
    broken: Callable[[], Any]
    apply: Callable[[], object]


def make_update(
    rule: Optimizer, theta: Array, g: Array, move: Array, *, decays: bool = False
) -> Update:
    """Return the update of a rule on these arrays.

    Parameters
    ----------
    rule : Optimizer
        Started on θ.
    theta, g, move : array
        Those of every step. The step is written into move, and may be changed there before it is
        applied.
    decays : bool
        As in `Optimizer.advance`.
    """
    return in_two_parts(make_compute(rule, theta, g, move, decays), theta, move)


def in_two_parts(compute: Compute, theta: Array, move: Array) -> Update:
    """Return the update whose step stands in move before θ moves."""

    def broken() -> Any:
        wrong = ~np.isfinite(move)
        return wrong.any(axis=-1) if theta.ndim > 1 else wrong.any()

    return Update(compute, lambda: None, broken, partial(subtract, theta, move, theta))


def make_compute(
    rule: Optimizer, theta: Array, g: Array, move: Array, decays: bool = False
) -> Compute:
    """Return what counts t up, writes the step into move and returns Σ move²."""
    whole = compute_of(rule, theta, g, move, decays)
    indices = pieces(theta, numbers_in_cache(len(rule.state) + 2, theta.itemsize))
    if len(indices) == 1 or not getattr(rule.compute, "by_element", False):
        return whole
    parts = [rule.part(index) for index in indices]
    computes = [
        compute_of(part, theta[index], g[index], move[index], decays)
        for part, index in zip(parts, indices, strict=True)
    ]

    def in_pieces() -> Any:
        total = 0.0
        for part, compute in zip(parts, computes, strict=True):
            part.follow(rule)
            total += compute()
        rule.t += 1
        return total

    return fastest_of(whole, in_pieces)


def compute_of(rule: Optimizer, theta: Array, g: Array, move: Array, decays: bool) -> Compute:
    """Return what computes the step over all of θ at once."""
    advance, squares = rule.advance, sum_of_squares(move.ravel(order="K"))  # a view of move

    def compute() -> Any:
        advance(theta, g, move, decays)
        return squares()

    return compute


def sum_of_squares(v: Array) -> Callable[[], Any]:
    """Return a function that gives Σ v²: not finite if one of v is not, or if it overflows."""
    if v.size <= ONE_THREAD:
        return partial(v.dot, v)
    parts = [v[start : start + ONE_THREAD] for start in range(0, v.size, ONE_THREAD)]

    def total() -> Any:
        found = 0.0
        for part in parts:
            found += part.dot(part)
        return found

    return total


def fastest_of(*ways: Compute) -> Compute:
    """Return what calls these in turn, and after `TRIALS` calls of each the fastest alone."""
    seconds = [math.inf] * len(ways)
    calls, chosen = 0, None

    def compute() -> Any:
        nonlocal calls, chosen
        if chosen is not None:
            return chosen()
        k = calls % len(ways)
        begun = time.perf_counter()
        result = ways[k]()
        seconds[k] = min(seconds[k], time.perf_counter() - begun)
        calls += 1
        if calls == TRIALS * len(ways):
            chosen = ways[seconds.index(min(seconds))]
        return result

    return compute


def pieces(theta: Array, size: int) -> Sequence[Any]:
    """Return indices that cut θ into pieces of some `size` numbers, each together in memory.

    A piece is cut along the axis that is slowest in memory; of a stack, a network at least.
    """
    if theta.ndim == 1 or len(theta) == 1 or networks_fastest(theta):
        width = max(1, size * theta.shape[-1] // theta.size)
        return [(..., slice(i, i + width)) for i in range(0, theta.shape[-1], width)]
    count = max(1, size // theta.shape[-1])
    return [slice(k, k + count) for k in range(0, len(theta), count)]


def numbers_in_cache(arrays: int, itemsize: int) -> int:
    """Return how many numbers of so many arrays half the cache of a core holds."""
    return second_level_cache() // 2 // (arrays * itemsize)


@cache
def second_level_cache() -> int:
    """Return the bytes of a core's second cache: 1 MiB where they cannot be read."""
    try:
        return 1024 * int(Path(SECOND_LEVEL).read_text().strip().removesuffix("K"))
    except (OSError, ValueError):
        return 1 << 20
