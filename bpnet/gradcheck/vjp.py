"""The front door for a layer's own backward, as people write them.

    out, cache = forward(x, w, b)
    dx, dw, db = backward(dout, cache)

A backward pass is a vector-Jacobian product: of any dout it makes the derivatives of E = Σ dout out
by the inputs. So dout is drawn at random, and what comes back is checked as the gradient of E.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck.check import function_report
from bpnet.gradcheck.claims import same_bits
from bpnet.gradcheck.measure import as_method
from bpnet.gradcheck.probes import FunctionProbe
from bpnet.gradcheck.report import GradientReport
from bpnet.gradcheck.structure import Layout
from bpnet.rules.initializers import generator

if TYPE_CHECKING:
    from bpnet.rules.initializers import Seed


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

    Parameters
    ----------
    forward : callable
        ``out, cache = forward(*inputs)``; out is an array or a number.
    backward : callable
        ``dx, dw, db = backward(dout, cache)``: the derivatives by each input that is a float or an
        array of floats, in their order, and None or nothing for the others. A None for an array of
        floats says that there is no derivative by it to check.
    *inputs
        They stay as they are: forward gets copies, in float64. What is no float, such as a dict of
        settings or labels in integers, is a constant.
    method, tolerance, coordinates
        As in `check_function`.
    rng : int or numpy.random.Generator
        Draws dout, and coordinates.

    Returns
    -------
    GradientReport
        Its names are those of forward's parameters: ``w[0, 2]``. An input, or dout, that is changed
        in place is told of, and is wrong: elsewhere it may be needed again.

    Raises
    ------
    TypeError, ValueError
        If forward returns no (out, cache), backward returns something else than one derivative for
        each input, in its shape, or as `check_function`.

    Examples
    --------
    >>> import numpy as np
    >>> from bpnet import check_vjp
    >>> def forward(x, w, b):
    ...     return x @ w + b, (x, w)
    >>> def backward(dout, cache):
    ...     x, w = cache
    ...     return dout @ w.T, x.T @ dout, dout.mean(axis=0)
    >>> rng = np.random.default_rng(0)
    >>> x, w, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), np.zeros(2)
    >>> report = check_vjp(forward, backward, x, w, b)
    >>> print(report.cause)
    in b 0.2 times the derivative: a mean over 5 where their sum is meant
    """
    rng = generator(rng)
    layer = Layer(forward, backward, inputs, rng)
    probe = FunctionProbe(layer.E, layer.point)
    named = (replace(block, name=block.name[2:-2]) for block in probe.layout.blocks)
    probe.layout = Layout(tuple(named))
    options = as_method(method), tolerance, coordinates, rng
    return function_report(probe, layer.gradient, options, watched=layer.changed)


class Layer:
    """A forward and a backward pass as one function E of the inputs, and its gradient."""

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        inputs: tuple[Any, ...],
        rng: np.random.Generator,
    ) -> None:
        self.forward, self.backward = forward, backward
        self.inputs = dict(zip(names_of(forward, inputs), inputs, strict=True))
        self.changed: set[str] = set()  # what a pass has changed in place, and which
        # The inputs to differentiate by: floats and arrays of them.
        self.point = {name: value for name, value in self.inputs.items() if is_float(value)}
        self.floats = list(self.point)
        if not self.point:
            raise TypeError(
                "forward has no input to differentiate by: pass floats or arrays of floats, such "
                "as np.array([[1.0, 2.0]])"
            )
        out, cache = self.run(self.point)
        self.dout = rng.normal(size=np.shape(out))[()]  # ∂E/∂out
        given = self.returned(self.point, cache)
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
        given = self.returned(point, self.run(point)[1])
        return {name: given[name] for name in point}

    def returned(self, point: dict[str, Any], cache: Any) -> dict[str, Any]:
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
                raise ValueError(
                    f"backward returned d{name} of shape {shape}, but {name} has shape {need}"
                )
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


def names_of(forward: Callable[..., Any], inputs: tuple[Any, ...]) -> list[str]:
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
