"""Trainings that go wrong: a loss that explodes, a number that is not finite, and what to say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpnet.arrays import Array, moved_out
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.step import Going

EXPLODED = 1e3  # a loss this many times the lowest so far, and above the first, has exploded
TELLING = 4  # a first batch of fewer targets tells nothing of the loss that training starts from


@dataclass
class Trend:
    """The first and the lowest loss, for a stack those of each network, to see one explode."""

    first: Any = None  # before the first step, or else of the first epoch
    lowest: Any = math.inf
    told: bool = False  # of an explosion, which it is once

    def begin(self, loss: Any, targets: int) -> None:
        """Take the loss before the first step, on so many targets."""
        if targets >= TELLING:
            self.first = self.lowest = moved_out(loss)

    def explosion(self, loss: Any, going: Going | None) -> tuple[str, str, Array | None] | None:
        """Take the loss of an epoch; where one has exploded return what, how, and of which."""
        if self.first is None:
            self.first = loss
        if going is not None:
            return self._explosion_in_stack(loss, going)
        if loss < self.lowest:
            self.lowest = loss
        elif loss > EXPLODED * self.lowest and loss > self.first and not self.told:
            self.told = True
            return f"the loss has grown to {loss:.3g}", f"from {self.lowest:.3g}", None
        return None

    def _explosion_in_stack(self, loss: Array, going: Going) -> tuple[str, str, Array] | None:
        grown = loss > self.first
        lowest, self.lowest = self.lowest, np.minimum(self.lowest, loss)
        if self.told or not np.count_nonzero(grown):
            return None
        exploded = grown & (loss > EXPLODED * lowest) & going.mask
        self.told = bool(exploded.any())
        what = f"the loss of {named(exploded)} has grown", f"over {EXPLODED:g}-fold", exploded
        return what if self.told else None


def named(networks: Array) -> str:
    """Return in words which networks a mask holds, the first few of them."""
    numbers = np.flatnonzero(networks)
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    word = "network" if len(numbers) == 1 else "networks"
    return f"{word} {', '.join(map(str, numbers[:5]))}{more}"


def advice(rate: Any, networks: Array | None) -> str:
    """Return what to do about it, at that learning rate, if there is one, of those networks."""
    if rate is None:
        return "scale the data"
    rate = np.asarray(rate)
    rate = np.max(rate[networks] if rate.ndim else rate)
    return f"the learning rate in use, {rate:g}, is likely too large; try {rate / 10:g}"


def first_not_finite(
    cache: Cache, grad: Gradient, networks: Array | None, *, backward: bool
) -> tuple[int, str]:
    """Return the first layer, in the order of computing, with something not finite, and what."""
    passes = [(l, *part) for l in cache.z for part in (("z", cache.z[l]), ("a", cache.a[l]))]
    for l in reversed(cache.layers if backward else ()):
        passes += [(l, "delta", grad.delta[l]), (l, "W", grad.W[l])]
    for l, name, array in passes:
        if not np.isfinite(array[networks] if array.ndim > 2 else array).all():
            return l, name
    return cache.L, "the step of W" if backward else "the loss of a"
