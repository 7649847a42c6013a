"""What a check of a net and of a function share: method, tolerance, coordinates, and a second look.

"auto" takes the complex step where nothing speaks against it, and looks again by differences at
what it calls wrong: a rule that only claims to be analytic must fail nobody's gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int
from bpnet.gradcheck.differences import EPS, Differences, central, jitter, scales
from bpnet.gradcheck.probes import Probe
from bpnet.gradcheck.report import GradientReport
from bpnet.rules.initializers import generator

if TYPE_CHECKING:
    from bpnet.rules.initializers import Seed

METHODS = ("auto", "complex", "central")
TOLERANCE = {"complex": 1e-9, "central": 1e-7}
AGREED = 1e-6  # relative, between the complex step and differences
CONFIRMED = 20  # wrong coordinates that are measured again

Measured = tuple[Array, Array, Array]  # derivatives, their rounding, which sit on kinks


def as_method(method: str) -> str:
    """Return the method, if it is one."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: the known ones are {', '.join(METHODS)}")
    return method


def tolerance_of(tolerance: float | None, method: str, eps: float, eps_E: float = EPS) -> float:
    """Return the tolerance, or the default for the method and the precision.

    Parameters
    ----------
    tolerance : float or None
    method : str
    eps, eps_E : float
        Of the gradient, and of the values of E where it is measured.
    """
    if tolerance is not None:
        return as_float(tolerance, "tolerance", above=0, below=1)
    return max(TOLERANCE[method], 100 * eps, (1 if method == "complex" else 100) * 100 * eps_E)


def chosen(analytic: Array, coordinates: int | None, rng: Seed) -> Array:
    """Return the coordinates to check: all, or a sample and whatever is not finite."""
    P = analytic.size
    rng = generator(rng)
    if coordinates is None:
        return np.arange(P)
    n = as_int(coordinates, "coordinates", least=1)
    if n > P:
        raise ValueError(f"coordinates must be from 1 to {P}, as many as there are, not {n}")
    sample = rng.choice(P, n, replace=False)
    return np.union1d(sample, np.flatnonzero(~np.isfinite(analytic)))


def measured_by(
    compared: Callable[[str, str], GradientReport],
    method: str,
    why: str,
    probe: Probe,
    rounding: Callable[[], float],
) -> GradientReport:
    """Return the report by the method asked for; if that is "auto", by the one that holds.

    Parameters
    ----------
    compared : callable
        ``compared(method, why)`` returns the report by "complex" or "central".
    method : str
        As it was asked for.
    why : str
        Why the complex step cannot be taken; empty if it can.
    probe : Probe
    rounding : callable
        Returns the rounding in E.
    """
    report = None
    if method != "central" and not why:
        report = compared("complex", "")
        why = contradicted(report, probe, rounding()) if report.failures else ""
    if why and method == "complex":
        raise ValueError(f"the complex step cannot be taken: {why}; take method='central'")
    return compared("central", why) if report is None or why else report


def contradicted(report: GradientReport, probe: Probe, rounding: float) -> str:
    """Return why the complex step is not to be believed where it failed a gradient, or nothing."""
    wrong = np.flatnonzero(report.wrong)[:CONFIRMED]
    found = differences_of(probe, report.k[wrong], rounding)
    off = np.abs(found.value - report.numeric[wrong])
    bad = ~(off <= np.maximum(AGREED * np.abs(found.value), 3 * found.uncertainty)) & ~found.kink
    if not bad.any():
        return ""
    return f"the complex step is not the slope at {report.name(wrong[bad][0])}"


def refused(error: Exception) -> str:
    """Return that an error was the answer to complex numbers."""
    return f"it refuses complex numbers, {type(error).__name__}: {error}".split("\n")[0]


def differences_of(probe: Probe, k: Array, rounding: float) -> Differences:
    """Return the central differences at the coordinates k of an E with this rounding."""
    E_0 = float(probe.at(probe.theta[None])[0])
    scale = scales(probe.theta, probe.layout.slices)[k]
    noise = rounding + jitter(probe.at, probe.theta, E_0)
    found = central(probe.along, k, E_0, noise, scale, TOLERANCE["central"])
    if found.undefined.any():
        name = probe.layout.name(int(k[np.argmax(found.undefined)]))
        raise ValueError(
            f"the function is not finite on both sides of {name}, however close: "
            "a derivative can be measured only where it is"
        )
    return found
