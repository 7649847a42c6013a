"""θ, the flat vector of every weight and bias, and its views by layer.

L is the number of layers, the input counted; l = 2..L is a layer with weights;
n_l = sizes[l-1] is its number of neurons; P is the number of parameters.

    θ = (W², b², W³, b³, ..., W^L, b^L)      each W^l row by row

θ may carry a leading axis, (networks, P): then W[l] is (networks, n_l, n_{l-1}).
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array as Array
from bpnet.arrays import alike, other, product
from bpnet.checks import all_finite, as_rows
from bpnet.network.show import Row, Shown, aligned, rows_of

T = TypeVar("T")

FIRST = 2  # the first layer that has weights; layer 1 is the input


def by_layer(first: int, items: Iterable[T]) -> list[T]:
    """Return a list whose index is the layer: for the passes, which look nothing up by key."""
    before: list[Any] = [None] * first
    return [*before, *items]


class ByLayer(Mapping[int, T], Generic[T]):
    """What belongs to the layers, by the layer's number: ``W[2]`` is W², ``W[-1]`` a KeyError."""

    def __init__(self, what: str, first: int, items: Iterable[T]) -> None:
        self._what = what  # the name in messages, such as "W"
        self.list: list[T] = by_layer(first, items)  # the same items, whose index is the layer
        self._layers = range(first, len(self.list))

    def __getitem__(self, l: int) -> T:
        try:
            if l in self._layers:
                return self.list[int(l)]
        except (TypeError, ValueError):  # an array, say, which is neither in nor out
            pass
        layers = ", ".join(map(str, self._layers))
        raise KeyError(f"there is no {self._what}[{l!r}]: the layers that have one are {layers}")

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        arrays = {l: item for l, item in self.items() if isinstance(item, np.ndarray)}
        if arrays:
            return "\n".join(aligned(rows_of(**{self._what: arrays})))
        body = ", ".join(f"{l}: {item!r}" for l, item in self.items())
        return f"{self._what}{{{body}}}"


class Views(ByLayer[Array]):
    """Arrays by layer, each a view of one flat vector, which ``W[2] = values`` writes into."""

    def __setitem__(self, l: int, values: Array) -> None:
        view = self[l]
        if values is view:  # W[2] -= ... has written already
            return
        values = alike(values if other(values) else np.asarray(values), view)
        if values.shape != view.shape:
            text = f"has shape {view.shape}, but was given shape {values.shape}"
            raise ValueError(f"{self._what}[{l}] {text}")
        np.copyto(view, values, casting="same_kind")


class Parameters(Shown):
    """A flat vector θ and the matrices W^l and vectors b^l that are views of it.

    Parameters and gradients have this layout alike: ``W[l]`` has shape (n_l, n_{l-1}), where
    ``W[l][i, j]`` weighs neuron j of layer l-1 on neuron i of layer l; ``b[l]`` has shape (n_l,).

    Parameters
    ----------
    sizes : sequence of int
        Neurons in each layer, n_1..n_L.
    theta : array, shape (P,) or (networks, P)
        Kept, not copied.
    """

    sizes: tuple[int, ...]
    theta: Array
    W: Views
    b: Views

    def __init__(self, sizes: Sequence[int], theta: Array) -> None:
        self.sizes, self.theta, lead = tuple(sizes), theta, theta.shape[:-1]
        if theta.shape[-1] != count(self.sizes):
            need = f"a net of sizes {self.sizes} has {count(self.sizes)} parameters"
            raise ValueError(f"theta has {theta.shape[-1]} numbers, but {need}")
        views = [
            theta[..., start : start + math.prod(shape)].reshape(*lead, *shape)
            for _, _, start, shape in named_blocks(self.sizes)
        ]
        self.W, self.b = Views("W", FIRST, views[::2]), Views("b", FIRST, views[1::2])
        # For rows: a @ W_T[l] + b_row[l] is z^l of samples that are rows; dot(A, B, C) writes A B
        # into C, the fastest way for arrays like θ.
        self.W_T: list[Array] = by_layer(FIRST, [w.mT for w in views[::2]])
        self.b_row: list[Array] = by_layer(FIRST, [v[..., None, :] for v in views[1::2]])
        self.dot: Callable[[Array, Array, Array], object] = product(theta)

    listed: ClassVar[tuple[str, ...]] = ("L", "W", "b", "name", "sizes", "theta")

    def summary(self) -> tuple[str, list[Row]]:
        """Return what `repr` shows."""
        count = " x ".join(map(str, self.theta.shape))
        title = f"{type(self).__name__}, {count} numbers, {self.theta.dtype}"
        return title, rows_of(W=self.W, b=self.b)

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles are rebuilt from θ, so that their views are of their own θ.
        return type(self), (self.sizes, self.theta)

    @property
    def L(self) -> int:
        """Number of layers, the input layer counted."""
        return len(self.sizes)

    def rows(self, values: ArrayLike, name: str, *, finite: bool = True) -> Array:
        """Return x, or a or y, as rows of a net with these parameters; see `checks.as_rows`."""
        width, role = (self.sizes[0], "input") if name == "x" else (self.sizes[-1], "output")
        theta = self.theta
        networks = len(theta) if theta.ndim > 1 else None
        rows = as_rows(values, width, theta.dtype, name, role, networks, finite=finite)
        return alike(rows, theta)

    def check_finite(self) -> None:
        """Raise ValueError if a weight or bias is NaN or infinite, with its name."""
        theta = self.theta
        if all_finite(theta):
            return
        k = int(np.argmin(np.isfinite(theta).ravel()))
        network, k_theta = divmod(k, theta.shape[-1])
        name = self.name(k_theta) + (f" of network {network}" if theta.ndim > 1 else "")
        text = f"{name} is {theta.flat[k]}: set it, or start again from finite weights"
        raise ValueError(f"theta must be finite, but {text}")

    def name(self, k: int) -> str:
        """Name of coordinate k of θ, such as ``"W[3][1, 0]"``."""
        return coordinate_name(self.sizes, k)


def blocks(sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (start, n_l, n_{l-1}) for l = 2..L: where W^l starts in θ; b^l follows it."""
    start = 0
    for n_in, n_out in itertools.pairwise(sizes):
        yield start, n_out, n_in
        start += n_out * (n_in + 1)


def count(sizes: Sequence[int]) -> int:
    """Return P, the number of weights and biases: the sum of n_l (n_{l-1} + 1)."""
    return sum(n_out * (n_in + 1) for _, n_out, n_in in blocks(sizes))


def named_blocks(sizes: Sequence[int]) -> Iterator[tuple[str, int, int, tuple[int, ...]]]:
    """Yield (name, l, start in θ, shape) of W^2, b^2, ..., W^L, b^L."""
    for l, (start, n_out, n_in) in enumerate(blocks(sizes), FIRST):
        yield f"W[{l}]", l, start, (n_out, n_in)
        yield f"b[{l}]", l, start + n_out * n_in, (n_out,)


def entry_name(name: str, shape: tuple[int, ...], i: int) -> str:
    """Name of number i of an array, counted row by row, such as ``"W[3][1, 0]"``."""
    return f"{name}[{', '.join(str(int(n)) for n in np.unravel_index(i, shape))}]"


def coordinate_name(sizes: Sequence[int], k: int) -> str:
    """Name of coordinate k of θ, such as ``"W[3][1, 0]"`` or ``"b[2][4]"``."""
    k = operator.index(k)
    for name, _, start, shape in named_blocks(sizes):
        if start <= k < start + math.prod(shape):
            return entry_name(name, shape, k - start)
    raise IndexError(f"theta has coordinates 0..{count(sizes) - 1}, not {k}")


def coordinates_named(sizes: Sequence[int], name: str) -> list[slice]:
    """Return the coordinates of θ that "W", "b[2]" or "W[3][1, 0]" means, as runs; or KeyError."""
    name = "".join(name.split())
    block, found = re.fullmatch(r"(.*?)(?:(?<=\])\[([0-9]+(?:,[0-9]+)*)\])?", name), []
    assert block is not None
    for known, _, start, shape in named_blocks(sizes):
        if name in (known, known[0]):
            found.append(slice(start, start + math.prod(shape)))
        elif block[2] and block[1] == known:
            index = [*map(int, block[2].split(","))]
            if len(index) == len(shape) and all(map(operator.lt, index, shape)):
                k = start + int(np.ravel_multi_index(index, shape))
                found.append(slice(k, k + 1))
    if not found:
        raise KeyError(name)
    return found
