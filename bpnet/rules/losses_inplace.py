"""The rules of `losses.py` again, in place; `activations_inplace.py` tells how and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from bpnet.rules.activations import Activation, largest_exponent
from bpnet.rules.activations_inplace import activation_kernels, constant
from bpnet.rules.losses import LOSSES, Loss, huber_limit, reduce

OutputDelta = Callable[[Array, Array, Array, Array], object]  # (delta, z, a, y): delta is written
Value = Callable[..., Any]  # (z, a, y, share=None): the loss of the batch

SHORT = 10_000  # numbers that a dot product may add; of more, pairwise sums are more exact


def output_kernels(loss: Loss, output: Activation, z: Array) -> tuple[OutputDelta, Value]:
    """Return what writes δ^L, and what returns the loss of a batch, for outputs shaped like z.

    δ^L = ∂E/∂z^L of each sample's loss: a - y where loss and output belong together, else
    ∂E/∂a ⊙ f'(z^L). It does not hold the mean over samples; the value of the loss does.
    """
    return delta_kernel(loss, output, z), value_kernel(loss, output, z)


def delta_kernel(loss: Loss, output: Activation, z: Array) -> OutputDelta:
    def joined(delta: Array, z: Array, a: Array, y: Array) -> None:
        subtract(a, y, delta)

    if loss.joins(output):
        return joined
    _, times_df = activation_kernels(output, z)
    derivative = derivative_kernel(loss, z)

    def general(delta: Array, z: Array, a: Array, y: Array) -> None:
        derivative(a, y, delta)
        times_df(delta, z, a)

    return general


def derivative_kernel(loss: Loss, z: Array) -> Callable[[Array, Array, Array], object]:
    """Return what writes ∂E/∂a of each sample's loss: (a, y, delta)."""
    limit = huber_limit(loss)

    def general(a: Array, y: Array, delta: Array) -> None:
        copyto(delta, loss.derivative(a, y))

    def absolute_error(a: Array, y: Array, delta: Array) -> None:
        subtract(a, y, delta)
        sign(delta, delta)

    def huber(a: Array, y: Array, delta: Array) -> None:
        subtract(a, y, delta)
        clip(delta, -limit, limit, out=delta)

    if z.dtype.kind != "f":
        return general
    if loss is LOSSES["half_squared_error"]:
        return subtract
    if loss is LOSSES["absolute_error"]:
        return absolute_error
    return huber if limit else general


def value_kernel(loss: Loss, output: Activation, z: Array) -> Value:
    """Return what gives a batch's loss, the mean over samples or the sum with their shares."""
    s = np.empty_like(z)
    write = element_kernel(loss, output, z, s)
    if write is None or z.dtype.kind != "f":

        def general(z: Array, a: Array, y: Array, share: Array | None = None) -> Any:
            weight = None if share is None else share[..., 0]
            return reduce(loss.of_pass(z, a, y, output), weight)

        return general

    one_pass = z.ndim == 2
    flat, each = s.reshape(-1) if one_pass else s, 1 / z.shape[-2]
    axes = None if one_pass else (-2, -1)

    def long_mean(z: Array, a: Array, y: Array) -> Any:
        write(z, a, y)
        return add.reduce(flat, axis=axes) * each

    mean = short_mean(loss, s, write) if one_pass and s.size <= SHORT else long_mean

    def value(z: Array, a: Array, y: Array, share: Array | None = None) -> Any:
        if share is None:
            return mean(z, a, y)
        write(z, a, y)
        multiply(s, share, s)
        return add.reduce(flat, axis=axes)

    return value


def short_mean(loss: Loss, s: Array, write: Elements) -> Callable[[Array, Array, Array], Any]:
    """Return what gives the mean loss of a short batch: dot products, and fewer of all calls."""
    flat, each, ones = s.reshape(-1), 1 / s.shape[0], np.ones_like(s, shape=s.size)
    least = np.finfo(s.dtype).tiny

    def squared(z: Array, a: Array, y: Array) -> Any:
        subtract(a, y, s)
        return flat.dot(flat) * (each / 2)

    def cross_entropy(z: Array, a: Array, y: Array) -> Any:
        if a.item(a.argmin()) >= least:
            log(a, s)
            return -flat.dot(y.reshape(-1)) * each
        return any_loss(z, a, y)

    def any_loss(z: Array, a: Array, y: Array) -> Any:
        write(z, a, y)
        return flat.dot(ones) * each

    if LOSSES.get(loss.name) is not loss:
        return any_loss
    return {"half_squared_error": squared, "cross_entropy": cross_entropy}.get(loss.name, any_loss)


Elements = Callable[[Array, Array, Array], None]  # (z, a, y): s becomes each output's share


def element_kernel(loss: Loss, output: Activation, z: Array, s: Array) -> Elements | None:
    """Return what writes each output's share of the loss into s, or None for other losses."""
    limit = huber_limit(loss)
    if limit:
        return huber_elements(z, s, limit)
    if LOSSES.get(loss.name) is not loss:
        return None
    if loss.name == "half_squared_error":
        return squared_elements(z, s)
    if loss.name == "absolute_error":
        return absolute_elements(s)
    if not loss.joins(output):
        return None
    if loss.name == "cross_entropy":
        return softmax_elements(z, s, lambda z, a, y: loss.of_pass(z, a, y, output))
    return sigmoid_elements(z, s) if loss.name == "binary_cross_entropy" else exp_elements(z, s)


def squared_elements(z: Array, s: Array) -> Elements:
    half = constant(0.5, z)

    def write(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, s)
        multiply(s, s, s)
        multiply(s, half, s)

    return write


def absolute_elements(s: Array) -> Elements:
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


def softmax_elements(z: Array, s: Array, exact: Callable[..., Array]) -> Elements:
    least = np.finfo(z.dtype).tiny

    def write(z: Array, a: Array, y: Array) -> None:
        if minimum.reduce(a, axis=None) < least:  # log a is not exact: take it from z
            copyto(s, exact(z, a, y))
            return
        log(a, s)
        multiply(s, y, s)
        negative(s, s)

    return write


def sigmoid_elements(z: Array, s: Array) -> Elements:
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


def exp_elements(z: Array, s: Array) -> Elements:
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
