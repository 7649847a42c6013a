"""What the gradient check differentiates: E as a function of a flat vector, moved along it.

A probe never touches what it was made from: it moves copies.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.checks import as_shares, detached
from bpnet.gradcheck.differences import COMPLEX_STEP
from bpnet.gradcheck.rounding import Pass, Rounding, loss_rounding, rounding_of
from bpnet.gradcheck.structure import Layout, flatten, layout_of_net, rebuild
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.parameters import FIRST, Parameters
from bpnet.rules.losses import check_targets

BYTES = 32 * 2**20  # of buffers at a time, for the networks that run side by side


class Probe(Protocol):
    """E of a flat vector θ."""

    theta: Array
    layout: Layout

    def at(self, thetas: Array) -> Array:
        """Return E of each row of thetas, (c, P)."""
        ...

    def along(self, k: Array, step: Array) -> Array:
        """Return E(θ + step_i e_{k_i}) for each i."""
        ...


class NetProbe:
    """The loss of a network as a function of θ, for many θ in one pass; and that pass itself.

    Parameters
    ----------
    net : MLP
        In float32 or float64.
    x, y, sample_weight, mask
        As for `MLP.forward` and `MLP.loss`.

    Attributes
    ----------
    given : MLP
        The net as it was given.
    own : Cache
        Of its forward pass.
    net, cache, x, y
        The same in float64, where the derivative is measured.
    shares : array, shape (m, 1)
        Of each sample in the mean.
    eps : float
        Of the given net's dtype.
    """

    def __init__(
        self,
        net: MLP,
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        mask: Mapping[int, ArrayLike] | None,
    ) -> None:
        self.sample_weight, self.mask = sample_weight, dict(mask or {})
        self.given, self.own = net, net.forward(x, mask=mask)
        E = net.loss(self.own, y, sample_weight=sample_weight)
        if not np.isfinite(E):
            raise ValueError(f"the loss is {E}, which has no derivative: check the weights and x")
        self.eps = float(np.finfo(net.dtype).eps)
        self.net = net.astype(np.float64)
        self.theta, self.layout = self.net.theta, layout_of_net(net.sizes)
        self.x = self.own.a[1].astype(np.float64)
        targets = np.array(y, net.dtype).reshape(self.own.m, net.sizes[-1])
        self.y = check_targets(net.loss_function, targets.astype(np.float64))
        self.cache = self.net.forward(self.x, mask=mask)
        shares = as_shares(sample_weight, self.own.m, self.net.dtype)
        equal = np.full((self.own.m, 1), 1 / self.own.m)
        self.shares = equal if shares is None else shares[:, None]
        numbers = net.theta.size + 3 * self.own.m * sum(net.sizes)
        self.rows = max(1, BYTES // (16 * numbers))

    def at(self, thetas: Array) -> Array:
        """Return E of each row of thetas, (c, P)."""
        return self._pass(thetas)[0]

    def along(self, k: Array, step: Array) -> Array:
        """Return E(θ + step_i e_{k_i}) for each i."""
        return np.concatenate([E for _, E, _ in self._passes(k, step)])

    def complex_step(self, k: Array, near: list[Array]) -> tuple[Array, Array]:
        """Return ∂E/∂θ_k, and whether θ_k moves what sits on a kink.

        Parameters
        ----------
        k : array of int, shape (n,)
        near : list of arrays of bool
            As from `on_kinks`.
        """
        derivative, moved = np.empty(len(k)), np.zeros(len(k), bool)
        for part, E, cache in self._passes(k, np.full(len(k), 1j * COMPLEX_STEP)):
            derivative[part] = E.imag / COMPLEX_STEP
            # The loss's kinks are in a^L, listed behind the z^l.
            for here, values in zip(near, [*cache.z.values(), cache.a.list[-1]], strict=True):
                if here.any():
                    moved[part] |= (values.imag[:, here] != 0).any(axis=1)
        return derivative, moved

    def rounding(self, method: str, dtype: np.dtype[Any] | None = None) -> Rounding:
        """Return bounds of the rounding in the gradient, and in what it is measured by.

        Parameters
        ----------
        method : str
        dtype : dtype, optional
            Of the gradient; the default is the given net's.
        """
        others = [self.own]
        if method == "complex":
            with np.errstate(all="ignore"):
                others.append(self.net.astype(np.complex128).forward(self.x, mask=self.mask))
        made = Pass(self.net, self.cache, others, self.y, self.shares)
        return rounding_of(made, self.given.dtype if dtype is None else dtype)

    def loss_rounding(self) -> float:
        """Return the rounding of E."""
        return loss_rounding(Pass(self.net, self.cache, [self.cache], self.y, self.shares))

    def on_kinks(self, rounding: Rounding) -> list[Array]:
        """Return which z^l, l = 2..L, and then which a^L sit on a kink, but for rounding."""
        found = [
            touches(f.kinks, self.cache.z[l], rounding.z[l]) for l, f in self.net.activation.items()
        ]
        kinks = self.net.loss_function.kinks
        return [*found, touches(kinks, self.cache.a.list[-1] - self.y, rounding.a[-1])]

    def _passes(self, k: Array, step: Array) -> Iterator[tuple[slice, Array, Cache]]:
        """Yield a part of the steps, E after each of them, and the cache of its pass."""
        cache = None
        for start in range(0, len(k), self.rows):
            part = slice(start, min(start + self.rows, len(k)))
            n = part.stop - start
            thetas = np.repeat(self.theta[None].astype(step.dtype), n, axis=0)
            thetas[np.arange(n), k[part]] += step[part]
            E, cache = self._pass(thetas, cache)
            yield part, E, cache

    def _pass(self, thetas: Array, cache: Cache | None = None) -> tuple[Array, Cache]:
        net = MLP(Parameters(self.net.sizes, thetas), self.net.activation, self.net.loss_function)
        mask = {
            l: np.broadcast_to(kept, (len(thetas), *np.shape(kept))) if l >= FIRST else kept
            for l, kept in self.mask.items()
        }
        with np.errstate(all="ignore"):
            cache = net.forward(self.x, mask=mask, cache=cache)
            return net.loss(cache, self.y, sample_weight=self.sample_weight), cache


def touches(kinks: tuple[float, ...], values: Array, off: Array) -> Array:
    """Return where the values lie on one of the kinks, within their rounding."""
    found = np.zeros(values.shape, bool)
    for kink in kinks:
        found |= np.abs(values - kink) <= off
    return found


class FunctionProbe:
    """Somebody's own function of a structure of numbers, as a function of a flat vector.

    Parameters
    ----------
    f : callable
        Of a structure, returning a number.
    at : structure
        The point, whose form the arguments of f take.

    Attributes
    ----------
    structure
        The point.
    theta : array, shape (P,)
        The point's numbers.
    layout : Layout
        Their names.
    dtype : dtype
        The coarsest of them.
    eps : float
        Of the coarsest precision that f has returned.
    """

    def __init__(self, f: Callable[[Any], Any], at: Any) -> None:
        self.f, self.structure = f, at
        self.theta, self.layout, self.dtype = flatten(at)
        self.eps = 0.0

    def value(self, theta: Array) -> Any:
        """Return f of one vector.

        Raises
        ------
        TypeError, ValueError
            If f does not return one number, or what f raises.
        """
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # Casting a complex number to a real one throws away what is looked for.
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            number = scalar(self.f(rebuild(self.structure, theta)))
        if number.dtype.kind in "fc":
            self.eps = max(self.eps, float(np.finfo(number.dtype).eps))
        return number

    def at(self, thetas: Array) -> Array:
        """Return f of each row of thetas, (c, P); NaN where f refuses a value."""
        return np.array([self._moved(row) for row in thetas])

    def along(self, k: Array, step: Array) -> Array:
        """Return f(θ + step_i e_{k_i}) for each i; NaN where f refuses a value."""
        values = np.empty(len(k), step.dtype)
        for i in range(len(k)):
            moved = self.theta.astype(step.dtype)
            moved[k[i]] += step[i]
            values[i] = self._moved(moved)
        return values

    def toward(self, direction: Array) -> Callable[[Array, Array], Array]:
        """Return `along` for a function of one number: f(θ + step_i direction)."""

        def along(_: Array, step: Array) -> Array:
            return self.at(self.theta + step[:, None] * direction)

        return along

    def _moved(self, theta: Array) -> Any:
        try:
            return self.value(theta)
        except (ArithmeticError, ValueError):  # such as math.log of a negative number
            return np.nan


def scalar(value: Any) -> Any:
    """Return what a function returned as a NumPy number.

    Raises
    ------
    TypeError, ValueError
        If it is no number, or several.
    """
    array = np.asarray(detached(value))
    if array.dtype.kind not in "iufc":
        hint = ": is a return missing?" if value is None else ""
        raise TypeError(f"the function must return a number, but returned {value!r}{hint}")
    if array.shape != ():
        hint = "take its .item()" if array.size == 1 else "sum it, or take its mean"
        raise ValueError(
            f"the function must return one number, but returned shape {array.shape}: {hint}"
        )
    return array[()]
