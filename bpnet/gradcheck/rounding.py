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

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.parameters import FIRST, Parameters
from bpnet.rules.activations import Activation

UNITS = 8  # u in units of eps: products, sums and functions of a step together
SAFETY = 2  # the bounds are of the first order


class Rounding:
    """Bounds of one pass's rounding errors; at least what `others`, in other dtypes, differ by."""

    def __init__(
        self, net: MLP, cache: Cache, others: Sequence[Cache], y: Array, shares: Array, *,
        u: float, eta: float,
    ) -> None:  # fmt: skip
        self.net, self.cache, self.others, self.y, self.L = net, cache, others, y, net.L
        self.shares = shares  # (m, 1), of each sample in the mean
        self.u, self.eta = u, eta  # for what rounds, and for what underflows
        self.z: list[Array] = [np.empty(0)] * FIRST
        self.a: list[Array] = [np.empty(0), np.zeros_like(cache.a[1])]
        with np.errstate(all="ignore"):
            for l in range(FIRST, net.L + 1):
                self._forward(l)

    def _forward(self, l: int) -> None:
        """Append Δz^l and Δa^l."""
        W, b, fed = np.abs(self.net.W[l]), np.abs(self.net.b[l]), np.abs(self.cache.fed[l - 1])
        f, z, a = self._layer(l)
        off = self.eta + self.u * (fed @ W.T + b) + (self.a[l - 1] * self._kept(l - 1)) @ W.T
        self.z.append(np.maximum(off, furthest([other.z[l].real for other in self.others], z)))
        # Without an open bound below it may be a product with z, as gelu is: z (1 + t) / 2.
        bounded = f.range[0] > -np.inf and not f.attained
        size = np.abs(a) + (0 if bounded else np.abs(z))
        off = self.eta + self.u * size + spread(f, z, self.z[l])
        self.a.append(np.maximum(off, furthest([other.a[l].real for other in self.others], a)))

    @cached_property
    def gradient(self) -> Array:
        """Δ∂E/∂θ, (P,)."""
        u, eta, result = self.u, self.eta, Parameters(self.net.sizes, np.empty(self.net.theta.size))
        with np.errstate(all="ignore"):
            delta, off = self._output_delta()
            delta, off = delta * self.shares, off * self.shares
            for l in range(self.L, FIRST - 1, -1):
                off = off + eta
                kept = self._kept(l - 1)
                fed_off = self.a[l - 1] * kept + u * np.abs(self.cache.fed[l - 1])
                result.W[l] = eta + off.T @ np.abs(self.cache.fed[l - 1])
                result.W[l] += (np.abs(delta) + off).T @ fed_off
                result.b[l] = eta + (off + u * np.abs(delta)).sum(axis=0)
                if l > FIRST:
                    g_off = (off + u * np.abs(delta)) @ np.abs(self.net.W[l]) * kept
                    mask = self.cache.mask[l - 1]
                    g = delta @ self.net.W[l] * (1.0 if mask is None else mask)
                    delta, off = self._through(l - 1, g, g_off)
        bound: Array = np.nan_to_num(SAFETY * result.theta, nan=np.inf, posinf=np.inf)
        return bound

    @property
    def of_loss(self) -> float:
        """ΔE; made with u = eps, since not all errors of a sum have one sign."""
        loss, y, (f, z, a) = self.net.loss_function, self.y, self._layer(self.L)
        z_off, a_off = self.z[self.L], self.a[self.L]
        with np.errstate(all="ignore"):
            share = loss.of_pass(z, a, y, f)
            if loss.joins(f):  # it is taken from z, with ∂E/∂z = a - y
                off = np.abs(a - y) * z_off + self.u * np.abs(y * z)
            else:
                off = furthest([loss.E(a + a_off, y), loss.E(a - a_off, y)], share)
            return float(np.sum((off + self.u * np.abs(share)) * self.shares))

    def _layer(self, l: int) -> tuple[Activation, Array, Array]:
        """Return f, z^l and a^l."""
        return self.net.activation[l], self.cache.z[l], self.cache.a[l]

    def _kept(self, l: int) -> Array | float:
        """Return the size of the dropout mask of a^l, or 1."""
        mask = self.cache.mask[l]
        return 1.0 if mask is None else np.abs(mask)

    def _near(self, l: int) -> list[tuple[Array, Array]]:
        """Return other (z^l, a^l) that this pass could as well have come to."""
        f, z, a = self._layer(l)
        above, below = z + self.z[l], z - self.z[l]
        found = [(above, f.f(above)), (below, f.f(below)), (z, a + self.a[l]), (z, a - self.a[l])]
        return found + [(other.z[l].real, other.a[l].real) for other in self.others]

    def _output_delta(self) -> tuple[Array, Array]:
        """Return δ^L of each sample's loss, and Δδ^L."""
        loss, y, (f, _, a) = self.net.loss_function, self.y, self._layer(self.L)
        if loss.joins(f):
            return a - y, self.a[self.L] + self.u * (np.abs(a) + np.abs(y))
        g, near = loss.dE(a, y), self._near(self.L)
        off = furthest([loss.dE(other, y.astype(other.dtype)) for _, other in near], g)
        return self._through(self.L, g, off + self.u * np.abs(g))

    def _through(self, l: int, g: Array, g_off: Array) -> tuple[Array, Array]:
        """Return δ^l = g ⊙ f'(z^l), or what the activation makes of g, and Δδ^l."""
        (f, z, a), near, u = self._layer(l), self._near(l), self.u
        delta = f.backward(g, z, a)
        if f.vjp is None:
            slope = f.df(z, a)
            slope_off = furthest([f.df(*at) for at in near], slope)
            slope_off += u * (1 + np.abs(slope)) * (1 + np.abs(z))
            return delta, g_off * (np.abs(slope) + slope_off) + np.abs(g) * slope_off
        share = u + 4 * self.z[l].max(axis=-1, keepdims=True)  # of each ∂a_i/∂z_j
        off = mixed(f, g_off, z, a) + share * mixed(f, g, z, a)
        return delta, off + furthest([f.backward(g, *at) for at in near], delta)


def spread(f: Activation, z: Array, z_off: Array) -> Array:
    """Return what f(z ± Δz) differs from f(z) by; where f mixes neurons, one after the other."""
    if f.vjp is None:
        return furthest([f.f(z + z_off), f.f(z - z_off)], f.f(z))
    moved = [np.abs(f.f(z + z_off * only) - f.f(z)) for only in np.eye(z.shape[-1])]
    return np.asarray(sum(moved))


def mixed(f: Activation, g: Array, z: Array, a: Array) -> Array:
    """Return |f'|ᵀ |g| for an activation that mixes neurons."""
    return np.asarray(sum(np.abs(f.backward(g * only, z, a)) for only in np.eye(z.shape[-1])))


def furthest(values: Sequence[Array], here: Array) -> Array:
    """Return the largest distance from `here`, element by element; NaN counts as none."""
    distance: Array = np.fmax.reduce([np.abs(other - here) for other in values])
    return np.nan_to_num(distance, nan=0.0, posinf=np.inf)
