"""What is added to, drawn into, held back or cut off from a step beside the optimiser's own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from bpnet.arrays import Array, alike, other
from bpnet.checks import as_float, as_int
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.parameters import FIRST, Parameters, coordinates_named, count, named_blocks

FEW = 32  # frozen runs: up to so many are set to 0 faster one by one than by their coordinates


def weight_coordinates(net: MLP) -> Array:
    """Return which coordinates of θ are weights, not biases: (P,) of bool."""
    flags = Parameters(net.sizes, np.zeros(net.theta.shape[-1], bool))
    for W in flags.W.values():
        W[...] = True
    return flags.theta


class Penalty:
    """λ₁ Σ|w| + ½ λ₂ Σ w² over weights w, added to E, the mean over samples.

    Its gradient λ₁ sign(w) + λ₂ w is added whole to each step's, so that the strength does not
    depend on the batch size. Nielsen's and Hinton's λ/n, with n samples in all, is λ₂. By steps of
    it a weight that L1 takes to 0 goes from side to side, about as far as a step of η λ₁ (with Adam
    of η); `LBFGS` makes it exactly 0.
    """

    def __init__(self, net: MLP, l1: Any = 0.0, l2: Any = 0.0, over: Array | None = None) -> None:
        weights = weight_coordinates(net) if over is None else over
        biases = bool((weights & ~weight_coordinates(net)).any())
        self.given = {"l1": np.asarray(l1).tolist(), "l2": np.asarray(l2).tolist()}
        self.given["penalize_biases"] = biases or None
        self.l1 = self._strengths(net, l1, "l1", weights)
        self.l2 = self._strengths(net, l2, "l2", weights)
        self.term = np.empty_like(net.theta)

    @staticmethod
    def _strengths(net: MLP, value: Any, name: str, weights: Array) -> Array | None:
        """Return λ for each coordinate, 0 for those that do not count, or None if all are 0."""
        lead = net.theta.shape[:-1]
        if np.ndim(value) == 0:
            strength = np.array(as_float(value, name, least=0))
        else:
            if np.shape(value) != lead:
                need = f"must be one number, or one for each network of a stack: {lead}"
                raise ValueError(f"{name} has shape {np.shape(value)}, but {need}")
            each = [as_float(v, f"{name}[{k}]", least=0) for k, v in enumerate(value)]
            strength = np.array(each)[:, None]
        if strength.max() > np.finfo(net.dtype).max:
            raise ValueError(f"{name} is too large for {net.dtype}: {strength.max():g}")
        like = net.theta if strength.ndim else weights
        strengths, over = np.empty_like(like, net.dtype), alike(weights, like)
        np.multiply(alike(strength, like), over, strengths, casting="same_kind")
        return alike(strengths, net.theta) if strength.any() else None

    def of_network(self, k: int) -> Self:
        """Return the penalty of network k of a stack."""
        one = copy.copy(self)
        one.l1, one.l2 = (v if v is None or v.ndim == 1 else v[k] for v in (self.l1, self.l2))
        one.term = self.term[0]  # scratch space, the same for all
        return one

    def __bool__(self) -> bool:
        return self.l1 is not None or self.l2 is not None

    def add(self, theta: Array, g: Array) -> None:
        """Add the penalty's gradient to g."""
        if self.l2 is not None:
            np.multiply(theta, self.l2, self.term)
            np.add(g, self.term, g)
        if self.l1 is not None:
            np.sign(theta, self.term)
            np.multiply(self.term, self.l1, self.term)
            np.add(g, self.term, g)

    def value(self, theta: Array) -> Any:
        """Return the penalty itself, one number a network."""
        total: Any = 0.0
        if self.l2 is not None:
            total = total + (self.l2 * theta * theta).sum(axis=-1) / 2
        if self.l1 is not None:
            total = total + (self.l1 * np.abs(theta)).sum(axis=-1)
        return total


class Dropout:
    """Inverted dropout: an output is kept with probability 1 - p and then divided by 1 - p.

    Its mean stays as it is, so `predict` needs no change (Srivastava et al., "Dropout", 2014).
    """

    def __init__(self, net: MLP, rates: Any, rng: np.random.Generator) -> None:
        self.rng = rng
        if not isinstance(rates, Mapping):
            p = as_float(rates, "dropout", least=0, below=1)
            if p and net.L == 2:
                text = "dropout is for hidden layers, of which this net has none"
                raise ValueError(f"{text}; {{1: {p:g}}} drops inputs")
            rates = dict.fromkeys(range(2, net.L), p) if p else {}
        self.keep: dict[int, float] = {}
        for l, p in rates.items():
            if as_int(l, "a layer of dropout", least=1) >= net.L:
                raise ValueError(f"dropout names layer {l!r}, but it is for layers 1..{net.L - 1}")
            if as_float(p, f"dropout[{l}]", least=0, below=1):
                self.keep[l] = 1 - float(p)

    def __bool__(self) -> bool:
        return bool(self.keep)

    def draw(self, cache: Cache) -> None:
        """Fill the cache's masks with 0 and 1/(1 - p), drawn anew."""
        for l, keep in self.keep.items():
            mask = cache.mask[l]
            if mask is None:
                z, n = cache.z.list[FIRST], cache.a.list[l].shape[-1]
                mask = np.empty_like(z, shape=(*z.shape[:-1], n))  # for each network its own
                cache.drop(l, mask)
            if other(mask):
                mask[...] = alike(self.rng.random(mask.shape, mask.dtype), mask)
            else:
                self.rng.random(out=mask.ravel(order="K"), dtype=mask.dtype)  # a view
            np.less(mask, keep, out=mask)
            np.multiply(mask, 1 / keep, mask)
            if l == 1:
                cache.read(cache.a.list[1])


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
                for run in coordinates_named(sizes, name):
                    self.free[run] = False
            except KeyError:
                known = ", ".join(["W", "b", *(block for block, *_ in named_blocks(sizes))])
                known += ", and those of single ones, such as 'W[2][0, 0]'"
                text = f"frozen names {name!r}, but the known names are {known}"
                raise ValueError(text) from None
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


class Clip:
    """Limits of a gradient's Euclidean norm (Pascanu et al. 2013) and entries, after penalties."""

    def __init__(self, norm: float | None = None, value: float | None = None) -> None:
        self.norm = None if norm is None else as_float(norm, "clip_norm", above=0)
        self.value = None if value is None else as_float(value, "clip_value", above=0)

    def __bool__(self) -> bool:
        return self.norm is not None or self.value is not None

    def apply(self, g: Array) -> None:
        """Limit g in place, each network of a stack by itself; one with NaN or infinity is left."""
        length = norms(g)
        finite: Any = np.isfinite(length)
        where = True if finite.all() else finite
        if self.norm is not None and (length > self.norm).any():
            scale = self.norm / np.maximum(length, self.norm)
            np.multiply(g, scale.astype(g.dtype), g, where=where)
        if self.value is not None:
            np.clip(g, -self.value, self.value, out=g, where=where)


def norms(g: Array) -> Array:
    """Return the Euclidean norms over the last axis, (1,) or (networks, 1), without overflow."""
    squares: Array = np.vecdot(g, g)[..., None]
    lengths: Array = np.sqrt(squares)
    finite = np.isfinite(squares)
    if not finite.all():
        largest = np.abs(g).max(axis=-1, keepdims=True).astype(np.float64)
        relative = g / np.where(largest > 0, largest, 1)
        scaled = largest * np.sqrt(np.vecdot(relative, relative)[..., None])
        lengths = np.where(finite, lengths, scaled)  # the others of a stack keep their bits
    return lengths
