"""The front door for networks: what is asked, and whether it is of one net or of a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.gradcheck.measure import as_method
from bpnet.gradcheck.one_net import check_net
from bpnet.gradcheck.report import GradientReport
from bpnet.gradcheck.stack import StackReport, check_stack
from bpnet.mlp import MLP

if TYPE_CHECKING:
    from bpnet.rules.initializers import Seed


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
    options: dict[str, Any] = {"tolerance": tolerance, "coordinates": coordinates, "rng": rng}
    check = check_stack if net.theta.ndim > 1 else check_net
    return check(net, x, y, gradient, sample_weight, mask, method=as_method(method), **options)
