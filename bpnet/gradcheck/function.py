"""The front door for functions of any kind, and how one is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck import claims, diagnosis
from bpnet.gradcheck.differences import (
    COMPLEX_STEP,
    central,
    complex_step,
    jitter,
    jittered,
    scales,
)
from bpnet.gradcheck.measure import (
    AGREED,
    TOLERANCE,
    Measured,
    as_method,
    chosen,
    differences_of,
    measured_by,
    refused,
    tolerance_of,
)
from bpnet.gradcheck.probes import FunctionProbe
from bpnet.gradcheck.report import GradientReport

if TYPE_CHECKING:
    from bpnet.rules.initializers import Seed

EPS_32 = float(np.finfo(np.float32).eps)
IN_FLOAT32 = "it computes in float32"
ROUNDINGS = 100  # of the largest derivative, in the gradient of a function of unknown structure
DIRECTIONS = 3  # in which a function is tried with complex numbers


def check_function(
    f: Callable[[Any], Any],
    gradient: Callable[[Any], Any] | Any,
    at: Any,
    *,
    method: str = "auto",
    tolerance: float | None = None,
    coordinates: int | None = None,
    rng: Seed = 0,
) -> GradientReport:
    """Compare the claimed gradient of any function with its measured derivative.

    Parameters
    ----------
    f : callable
        Takes what `at` is and returns one number.
    gradient : callable or structure
        Takes what `at` is and returns the derivatives in the same structure; or these
        derivatives themselves.
    at : float, array of floats, or list, tuple or dict of such, nested as you like
        The point. It stays as it is: the functions get copies, in float64.
    method : {"auto", "complex", "central"}
        "auto" takes the complex step where f takes complex numbers and proves analytic against
        central differences in a few directions, else central differences. ``abs``, ``.real``
        and ``np.linalg.norm`` are what makes a function not analytic.
    tolerance, coordinates, rng
        As in `check_gradient`. The default tolerance is larger where f returns float32.

    Returns
    -------
    GradientReport
        Its names follow the structure: ``[17]``, ``[0][1, 2]``, ``['W1'][0, 3]``.

    Raises
    ------
    TypeError
        If `at` holds something else than floats, or f or the gradient returns no real numbers.
    ValueError
        If the method is unknown or f not analytic where the complex step was asked for, a number
        is out of range, f is random, returns NaN or several numbers, or the gradient has another
        structure or shape or is random.

    Examples
    --------
    A hand-written backward pass whose loss has a half that the gradient has not:

    >>> import numpy as np
    >>> from bpnet.gradcheck import check_function
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    >>> weights = {"W1": rng.normal(size=(3, 4)), "W2": rng.normal(size=(4, 2))}
    >>> def loss(p):
    ...     error = np.tanh(x @ p["W1"]) @ p["W2"] - y
    ...     return np.sum(error * error) / 2
    >>> def backward(p):
    ...     a = np.tanh(x @ p["W1"])
    ...     delta = 2 * (a @ p["W2"] - y)
    ...     return {"W1": x.T @ (delta @ p["W2"].T * (1 - a * a)), "W2": a.T @ delta}
    >>> report = check_function(loss, backward, weights)
    >>> print(report.cause)
    everywhere 2 times the derivative: a half is forgotten or a sum over 2 where their mean is meant
    >>> print(report.worst.name)
    ['W2'][1, 0]
    """
    method = as_method(method)
    probe = FunctionProbe(f, at)
    changed = claims.changed_by(probe)
    analytic, moved, eps, also = claims.of_function(probe, gradient)
    k = chosen(analytic, coordinates, rng)
    why = "" if method == "central" else refusal(probe)

    def compared(method: str, why: str) -> GradientReport:
        measured = by_complex_step if method == "complex" else by_differences
        numeric, uncertainty, kink = measured(probe, k)
        allowed, claim = tolerance_of(tolerance, method, eps, probe.eps), analytic[k]
        largest = np.max(np.abs(numeric), initial=0.0, where=np.isfinite(numeric))
        noise = ROUNDINGS * max(eps, probe.eps) * largest + 4 * moved[k] + uncertainty
        parts = numeric, noise, kink & np.isfinite(claim), changed + also, why
        return GradientReport(probe.layout, method, allowed, k, claim, *parts)

    report = measured_by(compared, method, why, probe, lambda: rounding_in(probe))
    if probe.eps == EPS_32:
        report = replace(report, why=f"{report.why}; {IN_FLOAT32}" if report.why else IN_FLOAT32)
    return replace(report, cause=diagnosis.of_function(report, analytic, probe.theta))


def by_complex_step(probe: FunctionProbe, k: Array) -> Measured:
    """Return the derivatives by the complex step, which `refusal` keeps away from kinks."""
    return complex_step(probe.along, k), np.zeros(len(k)), np.zeros(len(k), bool)


def by_differences(probe: FunctionProbe, k: Array) -> Measured:
    """Return the derivatives by differences."""
    found = differences_of(probe, k, rounding_in(probe))
    return found.value, found.uncertainty, found.kink


def rounding_in(probe: FunctionProbe) -> float:
    """Return the rounding in f, after a look at whether it computes in float32."""
    near = probe.at(jittered(probe.theta))
    with np.errstate(over="ignore"):
        if np.all(near == near.astype(np.float32)):  # in whatever type it is returned
            probe.eps = EPS_32
    return probe.eps * float(np.max(np.abs(near)))


def refusal(probe: FunctionProbe) -> str:
    """Return why the complex step cannot be taken of a function; empty if it can."""
    size = scales(probe.theta, probe.layout.slices)
    E_0 = float(probe.value(probe.theta))
    noise = rounding_in(probe) + jitter(probe.at, probe.theta, E_0)
    for row in np.random.default_rng(0).normal(size=(DIRECTIONS, probe.theta.size)):
        try:
            value = probe.value(probe.theta + 1j * COMPLEX_STEP * size * row)
        except Exception as error:  # whatever somebody's function does with complex numbers
            return refused(error)
        if value.dtype.kind != "c":
            return "of complex numbers it returns a real one"
        slope = value.imag / COMPLEX_STEP
        line, one = probe.toward(size * row), np.ones(1)
        found = central(line, np.zeros(1, int), E_0, noise, one, TOLERANCE["central"])
        if found.kink.any():
            return "the slope jumps here"
        if not abs(slope - found.value[0]) <= max(AGREED * abs(slope), 3 * found.uncertainty[0]):
            return "the complex step disagrees with differences"
    return ""
