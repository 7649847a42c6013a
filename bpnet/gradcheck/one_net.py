"""How the gradient of one net is measured."""

from __future__ import annotations

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck.differences import (
    COMPLEX_STEP,
)
from bpnet.gradcheck.measure import differences_of, refused
from bpnet.gradcheck.probes import NetProbe
from bpnet.gradcheck.structure import Layout
from bpnet.rules.activations import Activation
from bpnet.rules.losses import Loss


def complex_of_net(probe: NetProbe, layout: Layout, k: Array) -> tuple[Array, Array, Array]:
    """Return the derivatives by the complex step, their rounding and which sit on kinks."""
    rounding = probe.rounding("complex")
    numeric, moved = probe.complex_step(k, probe.on_kinks(rounding))
    kink = np.zeros(len(k), bool)
    if moved.any():
        kink[moved] = differences_of(probe, layout, k[moved], probe.loss_rounding()).kink
    return numeric, rounding.gradient[k], kink


def differences_of_net(probe: NetProbe, layout: Layout, k: Array) -> tuple[Array, Array, Array]:
    """Return the derivatives by differences, their rounding and which sit on kinks."""
    found = differences_of(probe, layout, k, probe.loss_rounding())
    return found.value, probe.rounding("central").gradient[k] + found.uncertainty, found.kink


def refusal_of_net(probe: NetProbe) -> str:
    """Return why the complex step cannot be taken of a net; empty if it can."""
    rules: list[Activation | Loss] = [*probe.net.activation.values(), probe.net.loss_function]
    for rule in rules:
        if not rule.analytic:
            return f"{rule.name!r} does not say analytic=True"
    try:
        probe.along(np.zeros(1, int), np.array([1j * COMPLEX_STEP]))
    except Exception as error:  # whatever somebody's own rule does with complex numbers
        return refused(error)
    return ""
