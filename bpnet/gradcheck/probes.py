"""What the gradient check differentiates: E as a function of a flat vector, moved along it.

A probe never touches what it was made from: it moves copies.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_shares, detached
from bpnet.gradcheck.differences import (
    AGREED,
    COMPLEX_STEP,
    EPS,
    TOLERANCE,
    Differences,
    central,
    jitter,
    jittered,
    scales,
)
from bpnet.gradcheck.report import BLURRED
from bpnet.gradcheck.rounding import UNITS, Rounding
from bpnet.gradcheck.structure import flatten, layout_of_net, rebuild
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.parameters import FIRST, Parameters
from bpnet.rules.activations import Activation
from bpnet.rules.losses import Loss, check_targets

BYTES = 32 * 2**20  # of buffers at a time, for the networks that run side by side
DIRECTIONS = 3  # in which a function is tried with complex numbers
EPS_32 = float(np.finfo(np.float32).eps)

Measured = tuple[Array, Array, Array]  # derivatives, their rounding, which sit on kinks


class NetProbe:
    """The loss of a network as a function of θ, for many θ in one pass; and that pass itself."""

    eps = EPS  # of the precision that E is computed in
    roundings: float = 0.0  # of the largest derivative: the formulas tell what is rounding

    def __init__(self, net: MLP, x: Any, y: Any, sample_weight: Any, mask: Any) -> None:
        self.sample_weight, self.mask = sample_weight, dict(mask or {})
        self.given, self.own = net, net.forward(x, mask=mask)  # as it is, and its pass
        E = net.loss(self.own, y, sample_weight=sample_weight)
        if not np.isfinite(E):
            raise ValueError(f"the loss is {E}, which has no derivative: check the weights and x")
        # The same in float64, where the derivative is measured.
        self.net: MLP = net.astype(np.float64)
        self.rules: list[Activation | Loss] = [*net.activation.values(), net.loss_function]
        self.theta, self.layout = self.net.theta, layout_of_net(net.sizes)
        self.x = self.own.a[1].astype(np.float64)
        targets = np.array(y, net.dtype).reshape(self.own.m, net.sizes[-1])
        self.y: Array = check_targets(net.loss_function, targets.astype(np.float64))
        self.cache: Cache = self.net.forward(self.x, mask=mask)
        shares = as_shares(sample_weight, self.own.m, self.net.dtype)
        equal = np.full((self.own.m, 1), 1 / self.own.m)
        self.shares = equal if shares is None else shares[:, None]  # of each sample in the mean
        numbers = net.theta.size + 3 * self.own.m * sum(net.sizes)
        self.rows: int = max(1, BYTES // (16 * numbers))

    def at(self, thetas: Array) -> Array:
        """Return E of each row of thetas, (c, P)."""
        return self._pass(thetas)[0]

    def along(self, k: Array, step: Array) -> Array:
        """Return E(θ + step_i e_{k_i}) for each i."""
        return np.concatenate([E for _, E, _ in self._passes(k, step)])

    def noise(self) -> float:
        """Return the rounding in E, in float64."""
        made = self.net, self.cache, [self.cache], self.y, self.shares
        return Rounding(*made, u=EPS, eta=0.0).of_loss

    def rounding(self, method: str, dtype: np.dtype[Any] | None = None) -> Rounding:
        """Return bounds of the rounding in a gradient of this dtype, and in what measures it."""
        others = [self.own]
        if method == "complex":
            with np.errstate(all="ignore"):
                others.append(self.net.astype(np.complex128).forward(self.x, mask=self.mask))
        info = np.finfo(self.given.dtype if dtype is None else dtype)
        made = self.net, self.cache, others, self.y, self.shares
        return Rounding(*made, u=UNITS * float(info.eps), eta=float(info.tiny) ** 0.9)

    def refusal(self) -> str:
        """Return why the complex step cannot be taken; empty if it can."""
        for rule in self.rules:
            if not rule.analytic:
                return f"{rule.name!r} does not say analytic=True"
        try:
            self.along(np.zeros(1, int), np.array([1j * COMPLEX_STEP]))
        except Exception as error:  # whatever somebody's own rule does with complex numbers
            return refused(error)
        return ""

    def measured(self, method: str, k: Array) -> Measured:
        """Return ∂E/∂θ_k; what the complex step moves on a kink is looked at again."""
        rounding = self.rounding(method)
        if method == "central":
            found = differences_of(self, k)
            return found.value, rounding.gradient[k] + found.uncertainty, found.kink
        numeric, moved, kink = np.empty(len(k)), *np.zeros((2, len(k)), bool)
        # Which z^l, and behind them which a^L, for the loss's, sit on a kink, but for rounding.
        near = [np.zeros(z.shape, bool) for z in self.cache.z.values()]
        for l, f in self.net.activation.items():
            for at in f.kinks:
                near[l - FIRST] |= np.abs(self.cache.z[l] - at) <= rounding.z[l]
        a = self.cache.a.list[-1]
        near.append(self.net.loss_function.on_kinks(a, self.y, rounding.a[-1]))
        for part, E, cache in self._passes(k, np.full(len(k), 1j * COMPLEX_STEP)):
            numeric[part] = E.imag / COMPLEX_STEP
            for here, values in zip(near, [*cache.z.values(), cache.a.list[-1]], strict=True):
                if here.any():
                    moved[part] |= (values.imag[:, here] != 0).any(axis=1)
        if any(rule.in_place is None for rule in self.rules):
            # One's own may have kinks that it does not tell of: there its derivative jumps within
            # rounding.
            moved |= rounding.gradient[k] > BLURRED * np.abs(numeric)
        if moved.any():
            kink[moved] = differences_of(self, k[moved]).kink
        return numeric, rounding.gradient[k], kink

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


class FunctionProbe:
    """Somebody's own function of a structure of numbers, as a function of a flat vector."""

    eps = 0.0  # of the coarsest precision that f has returned
    roundings = 100.0  # of the largest derivative, since nothing is known of how it is computed

    def __init__(self, f: Callable[[Any], Any], at: Any) -> None:
        self.f, self.structure = f, at
        self.theta, self.layout, self.at_eps = flatten(at)  # the coarsest in it

    def value(self, theta: Array) -> Any:
        """Return f of one vector as a NumPy number, or raise what it is not."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # Casting a complex number to a real one throws away what is looked for.
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            value = self.f(rebuild(self.structure, theta))
            array = np.asarray(detached(value))
        if array.dtype.kind not in "iufc":
            hint = ": is a return missing?" if value is None else ""
            raise TypeError(f"the function must return a number, but returned {value!r}{hint}")
        if array.shape != ():
            hint = "take its .item()" if array.size == 1 else "sum it, or take its mean"
            text = f"the function must return one number, but returned shape {array.shape}"
            raise ValueError(f"{text}: {hint}")
        if array.dtype.kind in "fc":
            self.eps = max(self.eps, float(np.finfo(array.dtype).eps))
        return array[()]

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

    def noise(self) -> float:
        """Return the rounding in f, after a look at whether it computes in float32."""
        near = self.at(jittered(self.theta))
        with np.errstate(over="ignore"):
            if np.all(near == near.astype(np.float32)):  # in whatever type it is returned
                self.eps = EPS_32
        return self.eps * float(np.max(np.abs(near)))

    def refusal(self) -> str:
        """Return why the complex step cannot be taken; empty if it can."""
        size = scales(self.theta, self.layout.slices)
        E_0 = float(self.value(self.theta))
        noise = self.noise() + jitter(self.at, self.theta, E_0)
        for row in np.random.default_rng(0).normal(size=(DIRECTIONS, self.theta.size)):
            try:
                value = self.value(self.theta + 1j * COMPLEX_STEP * size * row)
            except Exception as error:  # whatever somebody's function does with complex numbers
                return refused(error)
            if value.dtype.kind != "c":
                return "of complex numbers it returns a real one"

            def toward(_: Array, step: Array, way: Array = size * row) -> Array:
                return self.at(self.theta + step[:, None] * way)

            slope = value.imag / COMPLEX_STEP
            found = central(toward, np.zeros(1, int), E_0, noise, np.ones(1), TOLERANCE["central"])
            if found.kink.any():
                return "the slope jumps here"
            if not agree(np.array([slope]), found).all():
                return "the complex step disagrees with differences"
        return ""

    def measured(self, method: str, k: Array) -> Measured:
        """Return ∂f/∂θ_k; on kinks `refusal` allows no complex step."""
        if method == "complex":
            numeric = self.along(k, np.full(len(k), 1j * COMPLEX_STEP)).imag / COMPLEX_STEP
            return numeric, np.zeros(len(k)), np.zeros(len(k), bool)
        found = differences_of(self, k)
        return found.value, found.uncertainty, found.kink

    def _moved(self, theta: Array) -> Any:
        try:
            return self.value(theta)
        except (ArithmeticError, ValueError):  # such as math.log of a negative number
            return np.nan


Probe = NetProbe | FunctionProbe


def refused(error: Exception) -> str:
    """Return that an error was the answer to complex numbers."""
    return f"it refuses complex numbers, {type(error).__name__}: {error}".split("\n")[0]


def differences_of(probe: Probe, k: Array) -> Differences:
    """Return the central differences at the coordinates k."""
    E_0, noise = float(probe.at(probe.theta[None])[0]), probe.noise()
    scale = scales(probe.theta, probe.layout.slices)[k]
    noise += jitter(probe.at, probe.theta, E_0)
    found = central(probe.along, k, E_0, noise, scale, TOLERANCE["central"])
    if found.undefined.any():
        name = probe.layout.name(int(k[np.argmax(found.undefined)]))
        raise ValueError(
            f"the function is not finite on both sides of {name}, however close: "
            "a derivative can be measured only where it is"
        )
    return found


def agree(slopes: Array, found: Differences) -> Array:
    """Return which slopes are those of the differences, within what these may be off by."""
    allowed = np.maximum(AGREED * np.abs(found.value), 3 * found.uncertainty)
    is_close: Array = np.abs(slopes - found.value) <= allowed
    return is_close
