"""The front doors: of a net or a stack, of any function, and of a layer's own backward.

The last, dx, dw, db = backward(dout, cache), is a vector-Jacobian product: of any dout it makes the
derivatives of E = Σ dout out. So dout is drawn at random, and the result checked as E's gradient.
"""

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.checks import as_numbers
from bpnet.gradcheck import claims
from bpnet.gradcheck.claims import as_method, checked, same_bits
from bpnet.gradcheck.probes import FunctionProbe, NetProbe
from bpnet.gradcheck.report import GradientReport, StackReport
from bpnet.gradcheck.structure import Layout, returned
from bpnet.mlp import MLP
from bpnet.rules.initializers import Seed, generator

Pass = Callable[..., Any]


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

    The report has ``ok``, ``worst.name``, ``cause``, ``raise_if_failed()``, and prints as a table.
    A coordinate may sit on a kink, as of ReLU at z = 0, where the slopes on its two sides differ.
    There is no derivative then to compare with: it is counted and named, and not wrong.

    Parameters
    ----------
    net : MLP
        In float64 or float32; it stays as it is. The derivative is measured in float64 at the same
        weights. Of a stack, the one backward pass is checked for each network.
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
        Check so many, drawn by `rng`; the report says what that can have missed. By default all.
    rng : int or numpy.random.Generator
    sample_weight, mask : optional
        As in `MLP.backward` and `MLP.forward`; a gradient of your own must know of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, the loss is not finite, or the gradient is random.

    Examples
    --------
    In this gradient the mean over the samples is forgotten for W³:

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
    ...     delta = (cache.a[3] - y) * cache.a[3] * (1 - cache.a[3])
    ...     g = net.backward(cache, y)
    ...     g.W[3] = delta.T @ cache.a[2]
    ...     return g
    >>> print(check_gradient(net, x, y, gradient=mine).cause)
    in W[3] 5 times the derivative: a sum over the m = 5 samples where their mean is meant
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net must be an MLP, not {net!r}; for other functions: check_function")
    if net.dtype.kind != "f":
        raise ValueError(f"check a net of real weights, not {net!r}: the check makes them complex")
    options = as_method(method), tolerance, coordinates, rng

    def one(net: MLP, x: Any, y: Any, gradient: Any, mask: Any) -> GradientReport:
        probe = NetProbe(net, x, y, sample_weight, mask)
        return checked(probe, claims.of_net(probe, gradient), options)

    if net.theta.ndim == 1:
        return one(net, x, y, gradient, mask)

    def own(values: Any, k: int) -> Any:
        """Return what network k takes of a batch that all share, or that each has its own."""
        return values[k] if np.ndim(values) == 3 else values

    given: Any = gradient
    if given is None:
        given = net.backward(net.forward(x, mask=mask), y, sample_weight=sample_weight)
    elif callable(given):
        given = given(net.copy(), np.array(x), np.array(y))
    claim = as_numbers(getattr(returned(given, "gradient"), "theta", given), "gradient")
    if claim.shape != net.theta.shape:
        need = f"theta of this stack has {net.theta.shape}"
        raise ValueError(f"the gradient has shape {claim.shape}, but {need}")
    reports = []
    for k in range(len(net)):
        masks = mask and {l: own(values, k) for l, values in mask.items()}
        reports.append(one(net[k], own(x, k), own(y, k), claim[k], masks))
    return StackReport(tuple(reports))


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

    The report's names follow the structure: ``[17]``, ``[0][1, 2]``, ``['W1'][0, 3]``.

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

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, f is not analytic where the complex step was asked for, or f or
        the gradient is random or returns what does not fit.

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
    options, probe = (as_method(method), tolerance, coordinates, rng), FunctionProbe(f, at)
    return checked(probe, claims.of_function(probe, gradient), options)


def check_vjp(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Any],
    *inputs: Any,
    method: str = "auto",
    tolerance: float | None = None,
    coordinates: int | None = None,
    rng: Seed = 0,
) -> GradientReport:
    """Check the backward pass of a layer, or of any function with a cache.

    The report's names are those of forward's parameters: ``w[0, 2]``. An input, or dout, that is
    changed in place is told of, and is wrong: elsewhere it may be needed again. Errors are those of
    `check_function`, and of results that fit no (out, cache) or not the inputs.

    Parameters
    ----------
    forward, backward : callable
        ``out, cache = forward(*inputs)``, out an array or a number, and
        ``dx, dw, db = backward(dout, cache)``: the derivatives by each input that is a float or an
        array of floats, in their order, and None or nothing for the others. A None for an array of
        floats says that there is no derivative by it to check.
    *inputs
        They stay as they are: forward gets copies, in float64. What is no float is a constant.
    method, tolerance, coordinates, rng
        As in `check_function`; rng draws dout too.
    """
    rng = generator(rng)
    layer = Layer(forward, backward, inputs, rng)
    probe = FunctionProbe(layer.E, layer.point)
    probe.layout = Layout(tuple(replace(b, name=b.name[2:-2]) for b in probe.layout.blocks))
    options = as_method(method), tolerance, coordinates, rng
    claim = claims.of_function(probe, layer.gradient)
    return checked(probe, claim, options, watched=layer.changed)


class Layer:
    """A forward and a backward pass as one function E of the inputs, and its gradient."""

    def __init__(self, forward: Pass, backward: Pass, inputs: tuple[Any, ...], rng: Any) -> None:
        self.forward, self.backward = forward, backward
        self.inputs: dict[str, Any] = dict(zip(names_of(forward, inputs), inputs, strict=True))
        self.changed: set[str] = set()  # what a pass has changed in place, and which
        # The inputs to differentiate by: floats and arrays of them.
        self.point = {name: value for name, value in self.inputs.items() if is_float(value)}
        self.floats: list[str] = list(self.point)
        if not self.point:
            raise TypeError(
                "forward has no input to differentiate by: pass floats or arrays of floats, such "
                "as np.array([[1.0, 2.0]])"
            )
        out, cache = self.run(self.point)
        self.dout: Any = rng.normal(size=np.shape(out))[()]  # ∂E/∂out
        given = self.returned(cache)
        self.point = {name: v for name, v in self.point.items() if given[name] is not None}
        if not self.point:
            raise ValueError("backward returned None for every input: there is nothing to check")

    def run(self, point: dict[str, Any]) -> tuple[Any, Any]:
        """Return out and the cache at a point; the other inputs are as they were given."""
        inputs = copy.deepcopy(self.inputs | point)
        before = {n: v.copy() for n, v in inputs.items() if isinstance(v, np.ndarray)}
        found = self.forward(*inputs.values())
        self.watch("forward", before, inputs)
        several = isinstance(found, (tuple, list))
        if not several or len(found) != 2:
            what = f"{len(found)} items" if several else type(found).__name__
            raise TypeError(f"forward must return (out, cache), not {what}")
        if np.asarray(found[0]).dtype.kind not in "iufc":
            raise TypeError(f"out must be an array of numbers, not {found[0]!r}")
        return found[0], found[1]

    def E(self, point: dict[str, Any]) -> Any:
        """Return Σ dout out."""
        out = np.asarray(self.run(point)[0])
        if out.shape != np.shape(self.dout):
            raise ValueError(f"out has shape {out.shape}, but had {np.shape(self.dout)} before")
        dtype = np.finfo(out.dtype).dtype if out.dtype.kind in "fc" else np.float64
        return np.sum(out * np.asarray(self.dout, dtype))  # in out's own precision

    def gradient(self, point: dict[str, Any]) -> dict[str, Any]:
        """Return what backward says is ∂E by each input of the point."""
        given = self.returned(self.run(point)[1])
        return {name: given[name] for name in point}

    def returned(self, cache: Any) -> dict[str, Any]:
        """Return what backward makes of dout, by the input's name, or raise why it does not fit."""
        passed, before = np.array(self.dout)[()], {"dout": np.array(self.dout)}
        found = self.backward(passed, cache)
        self.watch("backward", before, {"dout": passed})
        given = list(found) if isinstance(found, (tuple, list)) else [found]
        names = self.floats if len(given) == len(self.floats) else list(self.inputs)
        if len(given) != len(names):
            raise ValueError(
                f"backward returned {len(given)} derivatives, but forward takes {len(self.floats)} "
                f"floats or arrays of floats: {', '.join(self.floats)}"
            )
        for name, derivative in zip(names, given, strict=True):
            if derivative is None:
                continue
            if name not in self.floats:
                kind = type(self.inputs[name]).__name__
                raise TypeError(f"backward returned a derivative by {name}, which is a {kind}")
            shape, need = np.shape(derivative), np.shape(self.inputs[name])
            if shape != need:
                text = f"backward returned d{name} of shape {shape}"
                raise ValueError(f"{text}, but {name} has shape {need}")
        return dict(zip(names, given, strict=True))

    def watch(self, actor: str, before: dict[str, Array], after: dict[str, Any]) -> None:
        """Note which arrays a pass has changed in place."""
        for name, old in before.items():
            if not same_bits(old, np.asarray(after[name])):
                self.changed.add(f"{name} (by {actor})")


def is_float(value: Any) -> bool:
    """Whether one can differentiate by a value: by a float, or an array of them."""
    kind = value.dtype.kind if isinstance(value, np.ndarray) else ""
    return kind == "f" or isinstance(value, (float, np.floating))


def names_of(forward: Pass, inputs: tuple[Any, ...]) -> list[str]:
    """Return the names of forward's parameters, as far as it has them."""
    try:
        signature = inspect.signature(forward)
    except ValueError:  # of what is written in C
        return [f"inputs[{i}]" for i in range(len(inputs))]
    try:
        bound = signature.bind(*inputs).arguments
    except TypeError as error:
        raise TypeError(f"forward{signature} does not take these inputs: {error}") from None
    kinds, names = signature.parameters, []
    for name, value in bound.items():
        several = kinds[name].kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}[{i}]" for i in range(len(value))] if several else [name]
    return names
