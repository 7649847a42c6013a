"""Whether the derivative that an activation or a loss states is the slope of its own function.

An activation of one's own with a wrong f', or a loss with a wrong ∂E/∂a, makes every gradient
wrong that goes through it. It is seen most directly by itself, at the values of a pass.
"""

from collections.abc import Callable

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck.probes import NetProbe
from bpnet.rules.activations import Activation
from bpnet.rules.losses import Loss

STEP = 2.0**-12
APART = 1e-5  # relative, between a stated derivative and a slope
DOUBT = 10  # times what halving the step changed: further apart than this they must be


def wrong_rule(probe: NetProbe) -> str | None:
    """Return which rule of a net is no derivative, with an example; None if all are."""
    net, cache = probe.net, probe.cache
    for l, f in net.activation.items():
        found = wrong_activation(f, cache.z[l], cache.a[l])
        if found:
            return f"in layer {l}, {found}"
    output = net.activation[net.L]
    return wrong_loss(net.loss_function, output, cache.z[net.L], cache.a[net.L], probe.y)


def wrong_activation(f: Activation, z: Array, a: Array) -> str | None:
    """Return what is wrong about f' at z; None if nothing is."""
    h = STEP * np.maximum(1.0, np.abs(z))
    if f.vjp is None:
        name, stated, measured = "f'", f.df(z, a), slope(lambda t: f.f(z + t * h), h)
    else:
        g = np.cos(np.arange(z.size)).reshape(z.shape)  # a ∂E/∂a that is nowhere the same twice
        measured = row_slopes(lambda moved: np.sum(g * f.f(moved), axis=-1), z, h)
        name, stated = "vjp", f.vjp(g, z, a)
    return difference(f"{name} of {f.name!r}", stated, measured, away(z, f.kinks, h), "z", z)


def wrong_loss(loss: Loss, output: Activation, z: Array, a: Array, y: Array) -> str | None:
    """Return what is wrong about ∂E/∂a, or about δ^L = a - y where it is that."""
    if loss.joins(output) and loss.E_z is not None:
        E_z, h = loss.E_z, STEP * np.maximum(1.0, np.abs(z))
        measured = row_slopes(lambda moved: np.sum(E_z(moved, y), axis=-1), z, h)
        what = f"with {output.name!r}, a - y of the loss {loss.name!r}"
        return difference(what, a - y, measured, np.isfinite(z), "z", z)
    low, high = (-np.inf, np.inf) if output.attained else output.range
    h = STEP * np.minimum(np.maximum(1.0, np.abs(a)), np.minimum(a - low, high - a))
    measured = slope(lambda t: loss.E(a + t * h, y), h)
    told = ~loss.on_kinks(a, y, 2 * h) & np.isfinite(a - y) & (h > 0)
    return difference(f"dE of the loss {loss.name!r}", loss.dE(a, y), measured, told, "a", a)


def slope(F: Callable[[float], Array], h: Array) -> tuple[Array, Array]:
    """Return the slope of a function of t h at t = 0, and how far it may be off."""
    wide, narrow = (F(1.0) - F(-1.0)) / (2 * h), (F(0.5) - F(-0.5)) / h
    return (4 * narrow - wide) / 3, DOUBT * np.abs(narrow - wide)


def row_slopes(F: Callable[[Array], Array], z: Array, h: Array) -> tuple[Array, Array]:
    """Return the slopes of a function of rows, (m, n) to (m,), by each element of a row."""
    columns = []
    for j, only in enumerate(np.eye(z.shape[-1])):

        def moved(t: float, only: Array = only) -> Array:
            return F(z + t * h * only)

        columns.append(slope(moved, h[:, j]))
    found, doubt = np.stack(columns, axis=-1)
    return found, doubt


def away(values: Array, kinks: tuple[float, ...], h: Array) -> Array:
    """Return which values lie further than the steps from every kink."""
    result = np.isfinite(values)
    for kink in kinks:
        result &= np.abs(values - kink) > 2 * h
    return result


def difference(
    what: str, stated: Array, measured: tuple[Array, Array], told: Array, name: str, at: Array
) -> str | None:
    """Return a sentence on the place where a stated derivative is furthest from the slope."""
    slopes, doubt = measured
    allowed = doubt + APART * np.maximum(np.maximum(np.abs(stated), np.abs(slopes)), 1.0)
    off = np.where(told, np.abs(stated - slopes) - allowed, -np.inf)
    i = np.unravel_index(int(np.argmax(off)), off.shape)
    if not off[i] > 0:
        return None
    here = f"at {name} = {at[i]:.5g} it is {stated[i]:.5g}, but the slope is {slopes[i]:.5g}"
    return f"{what} is not the slope: {here}"
