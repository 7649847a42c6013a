"""A claimed gradient: read into one flat vector, its inputs watched, held against the measured one.

"auto" takes the complex step where nothing speaks against it, and looks again by differences at
what it calls wrong: a rule that only claims to be analytic must fail nobody's gradient.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int, as_numbers
from bpnet.gradcheck.diagnosis import with_cause
from bpnet.gradcheck.differences import EPS, TOLERANCE, jittered
from bpnet.gradcheck.probes import EPS_32, FunctionProbe, NetProbe, Probe, agree, differences_of
from bpnet.gradcheck.report import GradientReport
from bpnet.gradcheck.structure import flatten, flatten_like, rebuild, returned, shape_hint
from bpnet.network.construction import listed
from bpnet.network.parameters import Parameters, count
from bpnet.rules.initializers import Seed, generator

METHODS = ("auto", "complex", "central")
IN_FLOAT32 = "it computes in float32"
CONFIRMED = 20  # wrong coordinates that are measured again
CALLS = 3  # of a gradient function, at points that differ in their last bits

Options = tuple[str, float | None, int | None, Seed]  # method, tolerance, coordinates, rng


class Claim(NamedTuple):
    """A gradient that is claimed, of θ or of any flat vector."""

    gradient: Array  # (P,), in float64
    eps: float  # of its precision
    changed: tuple[str, ...] = ()  # inputs that were seen to change
    rounding: Array | float = 0.0  # (P,), besides what formulas tell of it
    own: bool = False  # whether it is a net's, by its own rules


def of_net(probe: NetProbe, gradient: Any) -> Claim:
    """Return the claimed gradient of a net."""
    net, targets, sizes = probe.given, probe.y.astype(probe.given.dtype), probe.given.sizes
    eps = float(np.finfo(net.dtype).eps)
    if gradient is None:
        grad = net.backward(probe.own, targets, sample_weight=probe.sample_weight)
        return Claim(grad.theta.astype(np.float64), eps, own=True)
    if not callable(gradient):
        return Claim(as_theta(gradient, sizes), eps)
    results: list[Array] = []
    changed: set[str] = set()
    for _ in range(2):
        # The function gets copies, so that whatever it does to them, the caller's stay.
        mine, x, y = net.copy(), probe.own.a[1].copy(), targets.copy()
        before = mine.theta.copy(), x.copy(), y.copy()
        results.append(as_theta(gradient(mine, x, y), sizes))
        pairs = zip(("net.theta", "x", "y"), before, (mine.theta, x, y), strict=True)
        changed |= {f"{name} (by the gradient)" for name, *both in pairs if not same_bits(*both)}
    check_repeated(results, eps)
    return Claim(results[0], eps, tuple(sorted(changed)))


def as_theta(given: Any, sizes: tuple[int, ...]) -> Array:
    """Return a gradient of θ, in one of the forms that `check_gradient` takes, as (P,)."""
    given = getattr(returned(given, "gradient"), "theta", given)
    if isinstance(given, tuple) and len(given) == 2:
        result = Parameters(sizes, np.empty(count(sizes)))
        for name, arrays, views in zip("Wb", given, (result.W, result.b), strict=True):
            found = listed(arrays, f"the gradient's {name}")
            if len(found) != len(views):
                layers = f"the net has {len(views)} layers with weights, 2..{len(sizes)}"
                raise ValueError(f"the gradient's {name} has {len(found)} arrays, but {layers}")
            for l, array in zip(views, found, strict=True):
                shape, need = array.shape, views[l].shape
                if shape != need:
                    other = f"{name}[{l}] has {need}{shape_hint(shape, need)}"
                    raise ValueError(f"the gradient's {name}[{l}] has shape {shape}, but {other}")
                views[l] = as_numbers(array, f"the gradient's {name}[{l}]")
        return result.theta
    array = as_numbers(given, "gradient")
    if array.shape != (count(sizes),):
        like = f"must have θ's, ({count(sizes)},), or be an object that has it as theta"
        ways = f"{like}, or a tuple (W, b) of lists of arrays"
        raise ValueError(f"gradient has shape {array.shape}, but {ways}")
    return array.astype(np.float64)


def of_function(probe: FunctionProbe, gradient: Any) -> Claim:
    """Return the claimed gradient of a function, after a look at whether that is one."""
    structure, changed = probe.structure, set()
    first, second = probe.value(probe.theta), probe.value(probe.theta)
    if first.dtype.kind == "c":
        raise TypeError(f"the function must return a real number, but returned {first!r}")
    if not np.isfinite(first):
        raise ValueError(f"the function is {first} at this point: check where it is finite")
    if abs(first - second) > 1e3 * EPS * abs(first):
        both = f"called twice with the same input it returned {first} and {second}"
        raise ValueError(f"the function is random: {both}; hold its random numbers")
    point = rebuild(structure, probe.theta)
    probe.f(point)
    if not is_at(point, probe.theta):
        changed.add("at (by the function)")
    if not callable(gradient):
        found, eps = flatten_like(structure, gradient)
        return Claim(found, max(probe.at_eps, eps), tuple(changed))
    results: list[Array] = []
    for _ in range(2):
        point = copy.deepcopy(structure)
        found, eps = flatten_like(structure, gradient(point))
        results.append(found)
        if not is_at(point, probe.theta):
            changed.add("at (by the gradient)")
    eps = max(probe.at_eps, eps)
    check_repeated(results, eps)
    # What rounding does to it: how much it changes where the point changes in its last bits.
    here, *near = (
        flatten_like(structure, gradient(rebuild(structure, row)))[0]
        for row in (probe.theta, *jittered(probe.theta)[:CALLS])
    )
    moved = np.nan_to_num(np.fmax.reduce([np.abs(row - here) for row in near]))
    return Claim(results[0], eps, tuple(sorted(changed)), 4 * (moved * (eps / EPS)))


def is_at(point: Any, theta: Array) -> bool:
    """Whether a structure still holds these numbers."""
    try:
        return same_bits(flatten(point)[0], theta)
    except (TypeError, ValueError):
        return False


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays are bit for bit the same."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def check_repeated(results: Sequence[Array], eps: float) -> None:
    """Raise ValueError if a gradient function returned something else the second time."""
    first, second = results
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


def as_method(method: str) -> str:
    """Return the method, if it is one."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: the known ones are {', '.join(METHODS)}")
    return method


def checked(probe: Probe, claim: Claim, options: Options, watched: Collection[str] = ()) -> GradientReport:
    """Return the report on a claim; what is in `watched` at its end is told of as changed."""
    method, tolerance, coordinates, rng = options
    P, rng = claim.gradient.size, generator(rng)
    k = np.arange(P)
    if coordinates is not None:
        n = as_int(coordinates, "coordinates", least=1)
        if n > P:
            raise ValueError(f"coordinates must be from 1 to {P}, as many as there are, not {n}")
        infinite = np.flatnonzero(~np.isfinite(claim.gradient))  # are wrong, whatever is drawn
        k = np.union1d(rng.choice(P, n, replace=False), infinite)
    given, known = claim.gradient[k], np.broadcast_to(claim.rounding, P)[k]

    def by(method: str, why: str) -> GradientReport:
        numeric, off, kink = probe.measured(method, k)
        largest = np.max(np.abs(numeric), initial=0.0, where=np.isfinite(numeric))
        rounding = probe.roundings * max(claim.eps, probe.eps) * largest + known + off
        if tolerance is None:
            measured = (1 if method == "complex" else 100) * 100 * probe.eps
            allowed = max(TOLERANCE[method], 100 * claim.eps, measured)
        else:
            allowed = as_float(tolerance, "tolerance", above=0, below=1)
        parts = given, numeric, rounding, kink & np.isfinite(given)
        changed = (*claim.changed, *sorted(watched))
        return GradientReport(probe.layout, method, allowed, k, *parts, changed, why)

    report, why = None, "" if method == "central" else probe.refusal()
    if method != "central" and not why:
        report = by("complex", "")
        why = contradicted(report, probe) if report.failures else ""
    if why and method == "complex":
        raise ValueError(f"the complex step cannot be taken: {why}; take method='central'")
    if report is None or why:
        report = by("central", why)
    if probe.eps == EPS_32:
        report = replace(report, why=f"{report.why}; {IN_FLOAT32}" if report.why else IN_FLOAT32)
    return with_cause(report, probe, claim.gradient, own=claim.own)


def contradicted(report: GradientReport, probe: Probe) -> str:
    """Return why the complex step is not to be believed where it failed a gradient, or nothing."""
    wrong = np.flatnonzero(report.wrong)[:CONFIRMED]
    found = differences_of(probe, report.k[wrong])
    bad = wrong[~agree(report.numeric[wrong], found) & ~found.kink]
    return f"the complex step is not the slope at {report.name(bad[0])}" if bad.size else ""
