"""A claimed gradient against the measured one: method, tolerance, coordinates, and a second look.

"auto" takes the complex step where nothing speaks against it, and looks again by differences at
what it calls wrong: a rule that only claims to be analytic must fail nobody's gradient.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int
from bpnet.gradcheck.claims import Claim
from bpnet.gradcheck.differences import TOLERANCE
from bpnet.gradcheck.probes import Probe, agree, differences_of
from bpnet.gradcheck.report import GradientReport
from bpnet.rules.initializers import generator

if TYPE_CHECKING:
    from bpnet.rules.initializers import Seed

METHODS = ("auto", "complex", "central")
CONFIRMED = 20  # wrong coordinates that are measured again

Options = tuple[str, "float | None", "int | None", "Seed"]  # method, tolerance, coordinates, rng


def as_method(method: str) -> str:
    """Return the method, if it is one."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: the known ones are {', '.join(METHODS)}")
    return method


def chosen(analytic: Array, coordinates: int | None, rng: Seed) -> Array:
    """Return the coordinates to check: all, or a sample and whatever is not finite."""
    P, rng = analytic.size, generator(rng)
    if coordinates is None:
        return np.arange(P)
    n = as_int(coordinates, "coordinates", least=1)
    if n > P:
        raise ValueError(f"coordinates must be from 1 to {P}, as many as there are, not {n}")
    sample = rng.choice(P, n, replace=False)
    return np.union1d(sample, np.flatnonzero(~np.isfinite(analytic)))


def checked(
    probe: Probe, claim: Claim, options: Options, watched: Collection[str] = ()
) -> GradientReport:
    """Return the report by the method asked for; if that is "auto", by the one that holds.

    What is `watched` when E has been evaluated is told of as changed inputs.
    """
    method, tolerance, coordinates, rng = options
    k = chosen(claim.gradient, coordinates, rng)
    given, known = claim.gradient[k], np.broadcast_to(claim.rounding, claim.gradient.shape)[k]

    def by(method: str, why: str) -> GradientReport:
        measure = probe.by_complex_step if method == "complex" else probe.by_differences
        numeric, off, kink = measure(k)
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
    return by("central", why) if report is None or why else report


def contradicted(report: GradientReport, probe: Probe) -> str:
    """Return why the complex step is not to be believed where it failed a gradient, or nothing."""
    wrong = np.flatnonzero(report.wrong)[:CONFIRMED]
    found = differences_of(probe, report.k[wrong])
    bad = wrong[~agree(report.numeric[wrong], found) & ~found.kink]
    return f"the complex step is not the slope at {report.name(bad[0])}" if bad.size else ""
