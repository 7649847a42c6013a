"""The front doors: `check_gradient` for a net or a stack, `check_function` for anything else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.gradcheck import claims
from bpnet.gradcheck.diagnosis import with_cause
from bpnet.gradcheck.measure import Options, as_method, checked
from bpnet.gradcheck.probes import EPS_32, FunctionProbe, NetProbe
from bpnet.gradcheck.report import GradientReport, StackReport
from bpnet.mlp import MLP

if TYPE_CHECKING:
    from bpnet.rules.initializers import Seed

IN_FLOAT32 = "it computes in float32"


def check_gradient(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    *,
    gradient: Callable[[MLP, Array, Array], Any] | Any = None,
    method: str = "auto",
    tolerance: float | None = None,
    coordinates: int | None = None,
    rng: Seed = 0,
    sample_weight: ArrayLike | None = None,
    mask: Mapping[int, ArrayLike] | None = None,
) -> GradientReport | StackReport:
    """Compare a network's gradient with the measured derivative of its loss.

    The net, x and y stay as they are.

    Parameters
    ----------
    net : MLP
        In float64 or float32. The derivative is measured in float64 at the same weights. Of a
        stack, the one backward pass is checked for each network.
    x : array_like, shape (m, n_1) or (n_1,)
    y : array_like, shape (m, n_L) or (n_L,)
    gradient : callable or array_like, optional
        A gradient of your own to check in place of ``net.backward``'s: ``gradient(net, x, y)``,
        which gets copies with x and y as rows, or what it returned. That is θ's gradient as one
        array (P,), an object that has it as ``theta``, or a tuple (W, b) of lists of arrays in
        the order of the layers 2..L, or of dicts by layer.
    method : {"auto", "complex", "central"}
        The complex step, exact to rounding where every function is analytic; or central
        differences, extrapolated, each coordinate with a step of its own. "auto" takes the
        complex step where every activation and the loss say that they are `analytic`.
    tolerance : float, optional
        The largest error that passes. The default is 1e-9 with the complex step and 1e-7 with
        central differences, and 1.2e-5 in float32.
    coordinates : int, optional
        Check so many coordinates, drawn at random without replacement; the report says what
        that can have missed. The default is all.
    rng : int or numpy.random.Generator
        For that draw.
    sample_weight : array_like, shape (m,), optional
        As in `MLP.backward`; a gradient of your own must know of it.
    mask : mapping of int to array, optional
        Dropout masks, as in `MLP.forward`; a gradient of your own must know of them.

    Returns
    -------
    GradientReport or StackReport
        ``report.ok``, ``report.worst.name``, ``print(report)``, ``report.raise_if_failed()``; for
        a stack the names begin with the network's number.

    Raises
    ------
    TypeError
        If net is no MLP, or something is of the wrong kind.
    ValueError
        If the method is unknown or does not suit the net, a number is out of range, x or y does
        not fit, the loss is not finite, or the gradient is random or of another shape.

    Notes
    -----
    A coordinate sits on a kink, as of ReLU at z = 0, where the slopes on its two sides differ.
    There is no derivative then to compare with: it is counted and named, and not wrong.

    Examples
    --------
    The derivative of the sigmoid is a (1 - a); here it is taken of z by mistake:

    >>> import numpy as np
    >>> from bpnet import MLP
    >>> from bpnet.gradcheck import check_gradient
    >>> net = MLP.init((3, 4, 2), rng=0)
    >>> rng = np.random.default_rng(1)
    >>> x, y = rng.normal(size=(5, 3)), rng.random((5, 2))
    >>> check_gradient(net, x, y).ok
    True
    >>> def mine(net, x, y):
    ...     cache = net.forward(x)
    ...     (a1, a2, a3), z2 = cache.a.values(), cache.z[2]
    ...     delta3 = (a3 - y) * a3 * (1 - a3) / len(x)
    ...     delta2 = delta3 @ net.W[3] * z2 * (1 - z2)
    ...     return [delta2.T @ a1, delta3.T @ a2], [delta2.sum(axis=0), delta3.sum(axis=0)]
    >>> print(check_gradient(net, x, y, gradient=mine).cause)
    f' is wrong in layer 2: its formula takes a = f(z), and was given z
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net must be an MLP, not {net!r}; for other functions: check_function")
    if net.dtype.kind != "f":
        raise ValueError(f"check a net of real weights, not {net!r}: the check makes them complex")
    options = as_method(method), tolerance, coordinates, rng
    if net.theta.ndim == 1:
        return net_report(net, x, y, gradient, sample_weight, mask, options)
    claim = claims.of_stack(net, x, y, gradient, sample_weight, mask)

    def own(values: Any, k: int) -> Any:
        """Return what network k takes of a batch that all share, or that each has its own."""
        return values[k] if np.ndim(values) == 3 else values

    reports = []
    for k in range(len(net)):
        masks = mask and {l: own(values, k) for l, values in mask.items()}
        batch = own(x, k), own(y, k)
        reports += [net_report(net[k], *batch, claim[k], sample_weight, masks, options)]
    return StackReport(tuple(reports))


def net_report(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    gradient: Any,
    sample_weight: ArrayLike | None,
    mask: Mapping[int, ArrayLike] | None,
    options: Options,
) -> GradientReport:
    """Check the gradient of one net; parameters as in `check_gradient`."""
    probe = NetProbe(net, x, y, sample_weight, mask)
    claim = claims.of_net(probe, gradient)
    report = checked(probe, claim, options)
    return with_cause(report, probe, claim.gradient, own=gradient is None)


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
    >>> from bpnet import check_function
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
    options = as_method(method), tolerance, coordinates, rng
    return function_report(FunctionProbe(f, at), gradient, options)


def function_report(
    probe: FunctionProbe, gradient: Any, options: Options, watched: Collection[str] = ()
) -> GradientReport:
    """Check the gradient of what is probed; parameters as in `check_function` and `checked`."""
    claim = claims.of_function(probe, gradient)
    report = checked(probe, claim, options, watched)
    if probe.eps == EPS_32:
        report = replace(report, why=f"{report.why}; {IN_FLOAT32}" if report.why else IN_FLOAT32)
    return with_cause(report, probe, claim.gradient)
