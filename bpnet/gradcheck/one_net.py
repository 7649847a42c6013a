"""The gradient check of one net, and how its derivative is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.gradcheck import claims, diagnosis
from bpnet.gradcheck.differences import COMPLEX_STEP
from bpnet.gradcheck.measure import (
    Measured,
    chosen,
    differences_of,
    measured_by,
    refused,
    tolerance_of,
)
from bpnet.gradcheck.probes import NetProbe
from bpnet.gradcheck.report import BLURRED, GradientReport
from bpnet.mlp import MLP
from bpnet.rules.activations import Activation
from bpnet.rules.losses import Loss

if TYPE_CHECKING:
    from bpnet.rules.initializers import Seed


def check_net(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    gradient: Any,
    sample_weight: ArrayLike | None,
    mask: Mapping[int, ArrayLike] | None,
    *,
    method: str,
    tolerance: float | None,
    coordinates: int | None,
    rng: Seed,
) -> GradientReport:
    """Check the gradient of one net of real weights; parameters as in `check_gradient`."""
    probe = NetProbe(net, x, y, sample_weight, mask)
    analytic, changed = claims.of_net(probe, gradient)
    k = chosen(analytic, coordinates, rng)
    why = "" if method == "central" else refusal(probe)

    def compared(method: str, why: str) -> GradientReport:
        measured = by_complex_step if method == "complex" else by_differences
        numeric, rounding, kink = measured(probe, k)
        allowed, claim = tolerance_of(tolerance, method, probe.eps), analytic[k]
        parts = numeric, rounding, kink & np.isfinite(claim), changed, why
        return GradientReport(probe.layout, method, allowed, k, claim, *parts)

    report = measured_by(compared, method, why, probe, probe.loss_rounding)
    cause = diagnosis.of_net(report, probe, analytic, own=gradient is None)
    return replace(report, cause=cause)


def by_complex_step(probe: NetProbe, k: Array) -> Measured:
    """Return the derivatives by the complex step; what it moves on a kink is looked at again."""
    rounding = probe.rounding("complex")
    numeric, moved = probe.complex_step(k, probe.on_kinks(rounding))
    if any(rule.in_place is None for rule in rules_of(probe.net)):
        # One's own may have kinks that it does not tell of: there its derivative jumps within
        # rounding.
        moved |= rounding.gradient[k] > BLURRED * np.abs(numeric)
    kink = np.zeros(len(k), bool)
    if moved.any():
        kink[moved] = differences_of(probe, k[moved], probe.loss_rounding()).kink
    return numeric, rounding.gradient[k], kink


def by_differences(probe: NetProbe, k: Array) -> Measured:
    """Return the derivatives by differences."""
    found = differences_of(probe, k, probe.loss_rounding())
    return found.value, probe.rounding("central").gradient[k] + found.uncertainty, found.kink


def rules_of(net: MLP) -> list[Activation | Loss]:
    """Return the activations and the loss of a net."""
    return [*net.activation.values(), net.loss_function]


def refusal(probe: NetProbe) -> str:
    """Return why the complex step cannot be taken of a net; empty if it can."""
    for rule in rules_of(probe.net):
        if not rule.analytic:
            return f"{rule.name!r} does not say analytic=True"
    try:
        probe.along(np.zeros(1, int), np.array([1j * COMPLEX_STEP]))
    except Exception as error:  # whatever somebody's own rule does with complex numbers
        return refused(error)
    return ""
