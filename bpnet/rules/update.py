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
from typing import Any

from bpnet.arrays import Array, networks_fastest, other
from bpnet.rules.optimizers import Optimizer

Update = Callable[[], Any]

ONE_THREAD = 10_000  # numbers: longer vectors BLAS takes to several, which may wait for a core
TRIALS = 5  # steps each way, the fastest of which counts
SECOND_LEVEL = "/sys/devices/system/cpu/cpu0/cache/index2/size"  # on Linux, such as "1024K"


def make_update(
    rule: Optimizer, theta: Array, g: Array, move: Array, *, decays: bool = False
) -> Update:
    """Return what takes a step: it counts t up, writes the step into move and returns Σ move².

    That is not finite where a number of move is not, or where the sum overflows. θ stays as it is,
    so that a step may be given up: θ ← θ - move is left to the caller.

    Parameters
    ----------
    rule : Optimizer
        Started on θ.
    theta, g, move : array
        Those of every step; move is written.
    decays : bool
        As in `Optimizer.advance`.
    """
    whole = update_of(rule, theta, g, move, decays)
    indices = pieces(theta, numbers_in_cache(len(rule.state) + 2, theta.itemsize))
    if len(indices) == 1 or other(theta) or not getattr(rule.compute, "by_element", False):
        return whole
    parts = [rule.part(index) for index in indices]
    updates = [
        update_of(part, theta[index], g[index], move[index], decays)
        for part, index in zip(parts, indices, strict=True)
    ]

    def in_pieces() -> Any:
        total = 0.0
        for part, update in zip(parts, updates, strict=True):
            part.follow(rule)
            total += update()
        rule.t += 1
        return total

    return fastest_of(whole, in_pieces)


def update_of(rule: Optimizer, theta: Array, g: Array, move: Array, decays: bool) -> Update:
    """Return the update over all of θ at once."""
    if rule.state or decays or rule.decays:  # room for `advance`, so that no step allocates
        rule.scratch("spare", theta)
        rule.scratch("kept", theta, bool)
    advance, squares = rule.advance, sum_of_squares(move.ravel(order="K"))  # a view of move

    def update() -> Any:
        advance(theta, g, move, decays)
        return squares()

    return update


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


def fastest_of(*ways: Update) -> Update:
    """Return what calls these in turn, and after `TRIALS` calls of each the fastest alone."""
    seconds = [math.inf] * len(ways)
    calls = 0
    chosen: Update | None = None

    def update() -> Any:
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

    return update


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
