"""A gradient as its owner hands it in, read into one flat vector, and its inputs watched."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_numbers
from bpnet.gradcheck.differences import EPS, jittered
from bpnet.gradcheck.probes import FunctionProbe, NetProbe
from bpnet.gradcheck.structure import flatten, flatten_like, rebuild, returned, shape_hint
from bpnet.network.construction import listed
from bpnet.network.parameters import Parameters, count

CALLS = 3  # of a gradient function, at points that differ in their last bits


def of_net(probe: NetProbe, gradient: Any) -> tuple[Array, tuple[str, ...]]:
    """Return the claimed gradient of a net, (P,) in float64, and the inputs that were changed."""
    net, sizes = probe.given, probe.given.sizes
    if gradient is None:
        y = probe.y.astype(net.dtype)
        grad = net.backward(probe.own, y, sample_weight=probe.sample_weight)
        return grad.theta.astype(np.float64), ()
    if not callable(gradient):
        return as_theta(gradient, sizes), ()
    results: list[Array] = []
    changed: list[str] = []
    for _ in range(2):
        # The function gets copies, so that whatever it does to them, the caller's stay.
        mine, x, y = net.copy(), probe.own.a[1].copy(), probe.y.astype(net.dtype)
        before = mine.theta.copy(), x.copy(), y.copy()
        results.append(as_theta(gradient(mine, x, y), sizes))
        pairs = zip(("net.theta", "x", "y"), before, (mine.theta, x, y), strict=True)
        changed += [name for name, old, new in pairs if not same_bits(old, new)]
    check_repeated(results[0], results[1], probe.eps)
    return results[0], tuple(sorted({f"{name} (by the gradient)" for name in changed}))


def as_theta(given: Any, sizes: tuple[int, ...]) -> Array:
    """Return a gradient of θ, in one of the forms that `check_gradient` takes, as (P,)."""
    given = getattr(returned(given, "gradient"), "theta", given)
    if isinstance(given, tuple) and len(given) == 2:
        result = Parameters(sizes, np.empty(count(sizes)))
        for name, arrays, views in zip("Wb", given, (result.W, result.b), strict=True):
            found = listed(arrays, f"the gradient's {name}")
            if len(found) != len(views):
                raise ValueError(
                    f"the gradient's {name} has {len(found)} arrays, but the net has "
                    f"{len(views)} layers with weights, 2..{len(sizes)}"
                )
            for l, array in zip(views, found, strict=True):
                if array.shape != views[l].shape:
                    raise ValueError(
                        f"the gradient's {name}[{l}] has shape {array.shape}, "
                        f"but {name}[{l}] has {views[l].shape}"
                        f"{shape_hint(array.shape, views[l].shape)}"
                    )
                views[l] = as_numbers(array, f"the gradient's {name}[{l}]")
        return result.theta
    array = as_numbers(given, "gradient")
    if array.shape != (count(sizes),):
        raise ValueError(
            f"gradient has shape {array.shape}, but must have θ's, ({count(sizes)},), or be an "
            "object that has it as theta, or a tuple (W, b) of lists of arrays"
        )
    return array.astype(np.float64)


def of_function(probe: FunctionProbe, gradient: Any) -> tuple[Array, Array, float, tuple[str, ...]]:
    """Return the claimed gradient of a function, what rounding does to it, and changed inputs.

    Parameters
    ----------
    probe : FunctionProbe
    gradient : callable or structure

    Returns
    -------
    gradient : array, shape (P,)
    rounding : array, shape (P,)
        How much it changes where the point changes in its last bits.
    eps : float
        Of the coarsest dtype, the gradient's included.
    changed : tuple of str
    """
    structure = probe.structure
    if not callable(gradient):
        found, own = flatten_like(structure, gradient)
        return found, np.zeros(found.size), eps_of(probe.dtype, own), ()
    results: list[Array] = []
    changed: tuple[str, ...] = ()
    for _ in range(2):
        point = copy.deepcopy(structure)
        found, own = flatten_like(structure, gradient(point))
        results.append(found)
        if not is_at(point, probe.theta):
            changed = ("at (by the gradient)",)
    eps = eps_of(probe.dtype, own)
    check_repeated(results[0], results[1], eps)
    here, *near = (
        flatten_like(structure, gradient(rebuild(structure, row)))[0]
        for row in (probe.theta, *jittered(probe.theta)[:CALLS])
    )
    moved = np.fmax.reduce([np.abs(row - here) for row in near])
    return results[0], np.nan_to_num(moved) * (eps / EPS), eps, changed


def eps_of(*dtypes: np.dtype[Any]) -> float:
    """Return the eps of the coarsest of the dtypes, float64's at least."""
    return max(EPS, *(float(np.finfo(dtype).eps) for dtype in dtypes))


def changed_by(probe: FunctionProbe) -> tuple[str, ...]:
    """Return which inputs f changes, after a look at whether it is a function at all.

    Raises
    ------
    TypeError, ValueError
        If f does not return one real number, returns NaN or infinity, or is random.
    """
    first, second = probe.value(probe.theta), probe.value(probe.theta)
    if first.dtype.kind == "c":
        raise TypeError(f"the function must return a real number, but returned {first!r}")
    if not np.isfinite(first):
        raise ValueError(f"the function is {first} at this point: check where it is finite")
    if abs(first - second) > 1e3 * EPS * abs(first):
        raise ValueError(
            f"the function is random: called twice with the same input it returned {first} and "
            f"{second}; hold its random numbers"
        )
    point = rebuild(probe.structure, probe.theta)
    probe.f(point)
    return () if is_at(point, probe.theta) else ("at (by the function)",)


def is_at(point: Any, theta: Array) -> bool:
    """Whether a structure still holds these numbers."""
    try:
        return same_bits(flatten(point)[0], theta)
    except (TypeError, ValueError):
        return False


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays are bit for bit the same."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def check_repeated(first: Array, second: Array, eps: float) -> None:
    """Raise ValueError if a gradient function returned something else the second time."""
    close = 1e6 * eps * float(np.max(np.abs(first), initial=0.0, where=np.isfinite(first)))
    if np.allclose(second, first, rtol=0, atol=close, equal_nan=True):
        return
    if np.allclose(second, 2 * first, rtol=0, atol=2 * close, equal_nan=True):
        raise ValueError(
            "the gradient is twice as large when called again: it adds to the result of the "
            "call before, which must be set to zero first"
        )
    raise ValueError(
        "the gradient is random: called twice with the same input it returned different "
        "numbers; hold its random numbers, and let it keep nothing between calls"
    )
