"""How much of a network's gradient is rounding: a running error analysis of the two passes.

Beside z^l, a^l and δ^l go bounds of their rounding errors, by the rules of Higham, "Accuracy and
Stability of Numerical Algorithms", 2002, section 3.3. u is a few units in the last place:

    Δz^l = u (|W^l| |a^{l-1}| + |b^l|) + |W^l| Δa^{l-1}
    Δa^l = what f(z ± Δz) differs from f(z) by, + u |a|
    Δf'  = what f' differs by at z ± Δz, and at a ± Δa, + u (1 + |f'|) (1 + |z|)
    Δδ^l = (Δ((W^{l+1})ᵀ δ^{l+1})) |f'| + |(W^{l+1})ᵀ δ^{l+1}| Δf'
    Δ∂E/∂W^l = Δδ^l |a^{l-1}|ᵀ + (|δ^l| + Δδ^l) (Δa^{l-1} + u |a^{l-1}|)ᵀ

and each holds a tiny number besides, for what underflows. So a wrong gradient is told from a
rounded one. A saturated sigmoid is the plain case: 1 - a is good to eps only, so that
f' = a (1 - a) near a = 1 has a relative error of eps / (1 - a), of any size; and a sum over
samples that cancel keeps the rounding of its largest terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.parameters import FIRST, Parameters
from bpnet.rules.activations import Activation

EPS = float(np.finfo(np.float64).eps)
UNITS = 8  # u in units of eps: products, sums and functions of a step together
SAFETY = 2  # the bounds are of the first order


@dataclass(frozen=True)
class Pass:
    """What a pass was made of.

    Attributes
    ----------
    net, cache : MLP, Cache
        In float64.
    others : sequence of Cache
        Of the same pass in other dtypes: a bound is at least what their real parts differ by.
    y : array, shape (m, n_L)
    shares : array, shape (m, 1)
        Of each sample in the mean.
    """

    net: MLP
    cache: Cache
    others: Sequence[Cache]
    y: Array
    shares: Array

    def kept(self, l: int) -> Array | float:
        """Return the dropout mask of a^l, or 1."""
        mask = self.cache.mask[l]
        return 1.0 if mask is None else np.asarray(mask)


@dataclass(frozen=True)
class Rounding:
    """Bounds of the rounding errors in one pass.

    Attributes
    ----------
    z, a : list of arrays
        Of z^l and a^l; the index is the layer.
    gradient : array, shape (P,)
        Of ∂E/∂θ.
    """

    z: list[Array]
    a: list[Array]
    gradient: Array


def rounding_of(made: Pass, dtype: np.dtype[Any]) -> Rounding:
    """Return the bounds for a pass in this dtype."""
    u, eta = UNITS * float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny) ** 0.9
    with np.errstate(all="ignore"):
        z_off, a_off = forward_errors(made, u, eta)
        gradient = SAFETY * backward_errors(made, z_off, a_off, u, eta)
    return Rounding(z_off, a_off, np.nan_to_num(gradient, nan=np.inf, posinf=np.inf))


def loss_rounding(made: Pass) -> float:
    """Return the rounding of E in float64, with u = eps: not all errors of a sum have one sign."""
    net, y, L = made.net, made.y, made.net.L
    loss, z, a = net.loss_function, made.cache.z[L], made.cache.a[L]
    with np.errstate(all="ignore"):
        z_off, a_off = forward_errors(made, EPS, 0.0)
        share = loss.of_pass(z, a, y, net.activation[L])
        if loss.joins(net.activation[L]):  # it is taken from z, with ∂E/∂z = a - y
            off = np.abs(a - y) * z_off[L] + EPS * np.abs(y * z)
        else:
            off = furthest([loss.E(a + a_off[L], y), loss.E(a - a_off[L], y)], share)
        return float(np.sum((off + EPS * np.abs(share)) * made.shares))


def forward_errors(made: Pass, u: float, eta: float) -> tuple[list[Array], list[Array]]:
    """Return Δz^l and Δa^l; the index is the layer."""
    net, cache = made.net, made.cache
    a_off: list[Array] = [np.empty(0), np.zeros_like(cache.a[1])]
    z_off: list[Array] = [np.empty(0)] * FIRST
    for l in range(FIRST, net.L + 1):
        W, b, fed = np.abs(net.W[l]), np.abs(net.b[l]), np.abs(cache.fed[l - 1])
        f, z, a = net.activation[l], cache.z[l], cache.a[l]
        off = eta + u * (fed @ W.T + b) + (a_off[l - 1] * np.abs(made.kept(l - 1))) @ W.T
        z_off.append(np.maximum(off, furthest([other.z[l].real for other in made.others], z)))
        # Without an open bound below it may be a product with z, as gelu is: z (1 + t) / 2.
        bounded = f.range[0] > -np.inf and not f.attained
        size = np.abs(a) + (0 if bounded else np.abs(z))
        off = eta + u * size + spread(f, z, z_off[l])
        a_off.append(np.maximum(off, furthest([other.a[l].real for other in made.others], a)))
    return z_off, a_off


def backward_errors(
    made: Pass, z_off: list[Array], a_off: list[Array], u: float, eta: float
) -> Array:
    """Return Δ∂E/∂θ."""
    net, cache, L = made.net, made.cache, made.net.L
    result = Parameters(net.sizes, np.empty(net.theta.size))
    near = Near(made, z_off, a_off, u)
    delta, off = near.output_delta()
    delta, off = delta * made.shares, off * made.shares
    for l in range(L, FIRST - 1, -1):
        off = off + eta
        fed, kept = np.abs(cache.fed[l - 1]), made.kept(l - 1)
        fed_off = a_off[l - 1] * np.abs(kept) + u * fed
        result.W[l] = eta + off.T @ fed + (np.abs(delta) + off).T @ fed_off
        result.b[l] = eta + (off + u * np.abs(delta)).sum(axis=0)
        if l > FIRST:
            g = delta @ net.W[l] * kept
            g_off = (off + u * np.abs(delta)) @ np.abs(net.W[l]) * np.abs(kept)
            delta, off = near.through(l - 1, g, g_off)
    return result.theta


@dataclass(frozen=True)
class Near:
    """The derivatives of a pass, and what they are at the other z^l, a^l it may have come to."""

    made: Pass
    z_off: list[Array]
    a_off: list[Array]
    u: float

    def values(self, l: int) -> list[tuple[Array, Array]]:
        """Return other (z^l, a^l) that this pass could as well have come to."""
        cache, z_off, a_off = self.made.cache, self.z_off[l], self.a_off[l]
        f, z, a = self.made.net.activation[l].f, cache.z[l], cache.a[l]
        above, below = z + z_off, z - z_off
        found = [(above, f(above)), (below, f(below)), (z, a + a_off), (z, a - a_off)]
        return found + [(other.z[l].real, other.a[l].real) for other in self.made.others]

    def output_delta(self) -> tuple[Array, Array]:
        """Return δ^L of each sample's loss, and Δδ^L."""
        net, y, L = self.made.net, self.made.y, self.made.net.L
        loss, a = net.loss_function, self.made.cache.a[L]
        if loss.joins(net.activation[L]):
            return a - y, self.a_off[L] + self.u * (np.abs(a) + np.abs(y))
        g = loss.dE(a, y)
        off = furthest([loss.dE(other, y.astype(other.dtype)) for _, other in self.values(L)], g)
        return self.through(L, g, off + self.u * np.abs(g))

    def through(self, l: int, g: Array, g_off: Array) -> tuple[Array, Array]:
        """Return δ^l = g ⊙ f'(z^l), or what the activation makes of g, and Δδ^l."""
        f, z, a = self.made.net.activation[l], self.made.cache.z[l], self.made.cache.a[l]
        near, u = self.values(l), self.u
        delta = f.backward(g, z, a)
        if f.vjp is None:
            slope = f.df(z, a)
            slope_off = furthest([f.df(*at) for at in near], slope)
            slope_off += u * (1 + np.abs(slope)) * (1 + np.abs(z))
            return delta, g_off * (np.abs(slope) + slope_off) + np.abs(g) * slope_off
        share = u + 4 * self.z_off[l].max(axis=-1, keepdims=True)  # of each ∂a_i/∂z_j
        off = mixed(f, g_off, z, a) + share * mixed(f, g, z, a)
        return delta, off + furthest([f.backward(g, *at) for at in near], delta)


def spread(f: Activation, z: Array, z_off: Array) -> Array:
    """Return what f(z ± Δz) differs from f(z) by; where f mixes neurons, one after the other."""
    if f.vjp is None:
        return furthest([f.f(z + z_off), f.f(z - z_off)], f.f(z))
    total = np.zeros_like(z)
    for only in np.eye(z.shape[-1]):
        total += np.abs(f.f(z + z_off * only) - f.f(z))
    return total


def mixed(f: Activation, g: Array, z: Array, a: Array) -> Array:
    """Return |f'|ᵀ |g| for an activation that mixes neurons."""
    total = np.zeros_like(z)
    for only in np.eye(z.shape[-1]):
        total += np.abs(f.backward(g * only, z, a))
    return total


def furthest(values: Sequence[Array], here: Array) -> Array:
    """Return the largest distance from `here`, element by element; NaN counts as none."""
    distance: Array = np.fmax.reduce([np.abs(other - here) for other in values])
    return np.nan_to_num(distance, nan=0.0, posinf=np.inf)
