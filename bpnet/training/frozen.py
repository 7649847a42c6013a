"""Parameters that training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.network.parameters import coordinates_named, count, named_blocks

FEW = 32  # runs: up to so many are set to 0 faster one by one than by their coordinates


class Frozen:
    """Coordinates of θ that keep their bits: their gradient and their move are 0.

    The gradient too, so that they count neither in the length that is clipped nor for a line
    search; the move besides, since a rule may move by more than the gradient, as weight decay does.
    """

    def __init__(self, sizes: tuple[int, ...], names: str | Iterable[str] = ()) -> None:
        one = isinstance(names, str) or not isinstance(names, Iterable)
        given: list[Any] = [names] if one else list(names)
        self.free = np.ones(count(sizes), bool)
        if not all(isinstance(name, str) for name in given):
            raise TypeError(f"frozen takes names such as 'b' or 'W[2]', not {names!r}")
        for name in given:
            try:
                runs = coordinates_named(sizes, name)
            except KeyError:
                known = ", ".join(block for block, *_ in named_blocks(sizes))
                raise ValueError(
                    f"frozen names {name!r}, but the known names are W, b, {known}, and those of "
                    "single ones, such as 'W[2][0, 0]'"
                ) from None
            for run in runs:
                self.free[run] = False
        if not self.free.any():
            raise ValueError("frozen holds every weight and bias: nothing is left to train")
        self.names = sorted({"".join(name.split()) for name in given})
        edges = np.flatnonzero(np.diff(self.free, prepend=True, append=True))
        runs = [slice(*pair) for pair in edges.reshape(-1, 2).tolist()]
        self.parts: list[Any] = runs if len(runs) <= FEW else [np.flatnonzero(~self.free)]

    def __bool__(self) -> bool:
        return bool(self.parts)

    def hold(self, v: Array) -> None:
        """Set a gradient or a move to 0 at these coordinates, in every network of a stack."""
        for part in self.parts:
            v[..., part] = 0
