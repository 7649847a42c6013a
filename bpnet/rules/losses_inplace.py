"""The rules of `losses.py` again, in place; `activations_inplace.py` tells how and why."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy import (
    absolute,
    add,
    clip,
    copyto,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    sign,
    subtract,
)

from bpnet.arrays import Array
from bpnet.rules.activations_inplace import constant
from bpnet.rules.constants import largest_exponent

Elements = Callable[[Array, Array, Array], None]  # (z, a, y): s becomes each output's share
Exact = Callable[[Array, Array], Array]  # (z, y): the loss's E_z
Mean = Callable[[Array, Array, Array], Any]  # (z, a, y): the mean loss of the batch


class InPlace(NamedTuple):
    """The forms in place of a loss; where one is None, the rule itself is taken.

    Attributes
    ----------
    derivative : callable
        ``derivative(a, y, delta)``: delta becomes ∂E/∂a of each sample's loss.
    elements : callable
        ``elements(z, s)`` returns what fills s, for outputs like z, with their shares of E(a, y).
    joined_elements : callable
        ``joined_elements(z, s, E_z)``: the same where the output belongs to the loss.
    short_mean : callable
        ``short_mean(s, mean)`` returns what gives the mean of a short batch in fewer calls.
    """

    derivative: Callable[[Array, Array, Array], object] | None = None
    elements: Callable[[Array, Array], Elements] | None = None
    joined_elements: Callable[[Array, Array, Exact], Elements] | None = None
    short_mean: Callable[[Array, Mean], Mean] | None = None


def sign_of_error(a: Array, y: Array, delta: Array) -> None:
    subtract(a, y, delta)
    sign(delta, delta)


def clipped_error(a: Array, y: Array, delta: Array, limit: float) -> None:
    subtract(a, y, delta)
    clip(delta, -limit, limit, out=delta)


def squared_short_mean(s: Array, mean: Mean) -> Mean:
    flat, half = s.reshape(-1), 1 / s.shape[0] / 2

    def squared(z: Array, a: Array, y: Array) -> Any:
        subtract(a, y, s)
        return flat.dot(flat) * half

    return squared


def cross_entropy_short_mean(s: Array, mean: Mean) -> Mean:
    flat, each, least = s.reshape(-1), 1 / s.shape[0], np.finfo(s.dtype).tiny

    def cross_entropy(z: Array, a: Array, y: Array) -> Any:
        if a.item(a.argmin()) >= least:
            log(a, s)
            return -flat.dot(y.reshape(-1)) * each
        return mean(z, a, y)

    return cross_entropy


def squared_elements(z: Array, s: Array, E_z: Exact | None = None) -> Elements:
    half = constant(0.5, z)

    def write(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, s)
        multiply(s, s, s)
        multiply(s, half, s)

    return write


def absolute_elements(z: Array, s: Array) -> Elements:
    def write(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, s)
        absolute(s, s)

    return write


def huber_elements(z: Array, s: Array, limit: float) -> Elements:
    half, t, u = constant(0.5, z), np.empty_like(z), np.empty_like(z)

    def write(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, t)
        clip(t, -limit, limit, out=s)
        multiply(s, half, u)
        subtract(t, u, t)
        multiply(s, t, s)

    return write


def softmax_elements(z: Array, s: Array, E_z: Exact) -> Elements:
    least = np.finfo(z.dtype).tiny

    def write(z: Array, a: Array, y: Array) -> None:
        if minimum.reduce(a, axis=None) < least:  # log a is not exact: take it from z
            copyto(s, E_z(z, y))
            return
        log(a, s)
        multiply(s, y, s)
        negative(s, s)

    return write


def sigmoid_elements(z: Array, s: Array, E_z: Exact) -> Elements:
    zero, t, u = constant(0, z), np.empty_like(z), np.empty_like(z)

    def write(z: Array, a: Array, y: Array) -> None:
        absolute(z, s)  # max(z, 0) - y z + log(1 + e^-|z|)
        negative(s, s)
        exp(s, s)
        log1p(s, s)
        maximum(z, zero, out=t)
        multiply(y, z, u)
        subtract(t, u, t)
        add(s, t, s)

    return write


def exp_elements(z: Array, s: Array, E_z: Exact) -> Elements:
    zero, one, t = constant(0, z), constant(1, z), np.empty_like(z)
    cap = constant(largest_exponent(z.dtype), z)

    def write(z: Array, a: Array, y: Array) -> None:
        subtract(z, cap, s)  # beyond the cap of e^z a straight line goes on: a (1 + z - cap) - y z
        maximum(s, zero, out=s)
        add(s, one, s)
        multiply(s, a, s)
        multiply(y, z, t)
        subtract(s, t, s)

    return write


def huber_form(limit: float) -> InPlace:
    """Return the forms of the Huber loss with this limit."""
    return InPlace(partial(clipped_error, limit=limit), partial(huber_elements, limit=limit))


FORMS = {
    "half_squared_error": InPlace(subtract, squared_elements, squared_elements, squared_short_mean),
    "cross_entropy": InPlace(joined_elements=softmax_elements, short_mean=cross_entropy_short_mean),
    "binary_cross_entropy": InPlace(joined_elements=sigmoid_elements),
    "absolute_error": InPlace(sign_of_error, absolute_elements),
    "huber": huber_form(1.0),
    "poisson": InPlace(joined_elements=exp_elements),
}
