"""The rules of `activations.py` and `losses.py` again, in place: nothing is allocated per step.

A step on a small net costs what its NumPy calls cost, and on a large one what its temporary arrays
cost. A kernel is made once for the shape and dtype of a layer's z; it holds its constants as 0-d
arrays of that dtype (a Python float is converted at every call) and its scratch space. Each is
held equal to its rule in the table by a property test.

Two flags are expected and silenced by the callers: e^-z may overflow to infinity, whose reciprocal
is the right 0, and e^z may underflow to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import (  # by name, since a look-up in np is a tenth of what a small call costs
    absolute,
    add,
    clip,
    copyto,
    divide,
    exp,
    expm1,
    greater,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    reciprocal,
    sign,
    subtract,
    tanh,
)

from bpnet.activations import (
    ACTIVATIONS,
    GELU_CUBE,
    GELU_SCALE,
    LEAK,
    Activation,
    largest_exponent,
)
from bpnet.losses import LOSSES, Loss, huber_limit, reduce
from bpnet.parameters import Array

Forward = Callable[[Array, Array], object]  # f(z, a): a becomes f(z)
Backward = Callable[[Array, Array, Array], object]  # times_df(g, z, a): g becomes g ⊙ f'(z)
OutputDelta = Callable[[Array, Array, Array, Array], object]  # (delta, z, a, y): delta is written
Value = Callable[..., Any]  # (z, a, y, share=None): the loss of the batch


def constant(value: float, z: Array) -> Array:
    """Return a 0-d array of z's dtype."""
    return np.array(value, z.dtype)


def sigmoid_kernels(z: Array) -> tuple[Forward, Backward]:
    one, s = constant(1, z), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        negative(z, a)
        exp(a, a)
        add(a, one, a)
        reciprocal(a, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        subtract(one, a, s)
        multiply(s, a, s)
        multiply(g, s, g)

    return f, times_df


def identity_kernels(z: Array) -> tuple[Forward, Backward]:
    def f(z: Array, a: Array) -> None:
        copyto(a, z)

    def times_df(g: Array, z: Array, a: Array) -> None:
        pass

    return f, times_df


def tanh_kernels(z: Array) -> tuple[Forward, Backward]:
    one, s = constant(1, z), np.empty_like(z)

    def times_df(g: Array, z: Array, a: Array) -> None:
        multiply(a, a, s)
        subtract(one, s, s)
        multiply(g, s, g)

    return tanh, times_df


def relu_kernels(z: Array) -> tuple[Forward, Backward]:
    zeros = np.zeros_like(z)  # three times quicker beside z than one 0
    positive = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        maximum(z, zeros, out=a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        greater(z, zeros, positive)
        multiply(g, positive, g)

    return f, times_df


def leaky_relu_kernels(z: Array) -> tuple[Forward, Backward]:
    zero, leak, s = constant(0, z), constant(LEAK, z), np.empty_like(z)
    positive = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        multiply(z, leak, a)
        maximum(z, a, out=a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        greater(z, zero, positive)
        multiply(g, leak, s)
        copyto(s, g, where=positive)
        copyto(g, s)

    return f, times_df


def elu_kernels(z: Array) -> tuple[Forward, Backward]:
    zero, one, s = constant(0, z), constant(1, z), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        minimum(z, zero, out=a)
        expm1(a, a)
        maximum(z, zero, out=s)
        add(a, s, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        minimum(a, zero, out=s)  # e^z - 1 where z < 0, else 0
        add(s, one, s)
        multiply(g, s, g)

    return f, times_df


def softplus_kernels(z: Array) -> tuple[Forward, Backward]:
    zero, s = constant(0, z), np.empty_like(z)
    sigmoid_f, _ = sigmoid_kernels(z)

    def f(z: Array, a: Array) -> None:
        absolute(z, a)
        negative(a, a)
        exp(a, a)
        log1p(a, a)
        maximum(z, zero, out=s)
        add(a, s, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        sigmoid_f(z, s)
        multiply(g, s, g)

    return f, times_df


def silu_kernels(z: Array) -> tuple[Forward, Backward]:
    one, s, t = constant(1, z), np.empty_like(z), np.empty_like(z)
    sigmoid_f, _ = sigmoid_kernels(z)

    def f(z: Array, a: Array) -> None:
        sigmoid_f(z, a)
        multiply(a, z, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        sigmoid_f(z, s)
        subtract(one, s, t)
        multiply(t, z, t)
        add(t, one, t)
        multiply(s, t, s)
        multiply(g, s, g)

    return f, times_df


def gelu_kernels(z: Array) -> tuple[Forward, Backward]:
    one, half = constant(1, z), constant(0.5, z)
    s, t, u = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    scale, cube = constant(GELU_SCALE, z), constant(GELU_SCALE * GELU_CUBE, z)
    cube_prime = constant(3 * GELU_SCALE * GELU_CUBE, z)

    def inner(z: Array, t: Array) -> None:
        multiply(z, z, t)
        multiply(t, cube, t)
        add(t, scale, t)
        multiply(t, z, t)
        tanh(t, t)

    def f(z: Array, a: Array) -> None:
        inner(z, a)
        add(a, one, a)
        multiply(a, half, a)
        multiply(a, z, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        inner(z, t)
        multiply(t, t, u)
        subtract(one, u, u)
        multiply(u, z, u)  # z (1 - t²): 0 at large z, before z² could overflow
        multiply(u, z, s)
        multiply(s, z, s)
        multiply(s, cube_prime, s)
        multiply(u, scale, u)
        add(s, u, s)  # z t'
        multiply(g, half, g)
        add(s, t, s)
        add(s, one, s)
        multiply(g, s, g)

    return f, times_df


def exp_kernels(z: Array) -> tuple[Forward, Backward]:
    zero, cap = constant(0, z), constant(largest_exponent(z.dtype), z)
    beyond = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        minimum(z, cap, out=a)
        exp(a, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        multiply(g, a, g)
        greater(z, cap, beyond)
        copyto(g, zero, where=beyond)

    return f, times_df


def softmax_kernels(z: Array) -> tuple[Forward, Backward]:
    s, of_row = np.empty_like(z), np.empty_like(z[..., :1])
    # The largest of each row is found quicker down the columns of a transposed copy.
    columns, largest = np.empty_like(z.mT, order="C"), np.empty_like(of_row.mT, order="C")

    def row_sums(a: Array) -> None:
        add.reduce(a, axis=-1, out=of_row, keepdims=True)

    if z.ndim == 2:  # a product with ones takes a seventh of the time
        ones = np.ones_like(z, shape=(z.shape[-1], 1))

        def row_sums(a: Array) -> None:
            a.dot(ones, of_row)

    def f(z: Array, a: Array) -> None:
        copyto(columns, z.mT)
        maximum.reduce(columns, axis=-2, out=largest, keepdims=True)
        subtract(z, largest.mT, a)
        exp(a, a)
        row_sums(a)
        divide(a, of_row, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        multiply(g, a, s)
        row_sums(s)
        subtract(g, of_row, g)
        multiply(g, a, g)

    return f, times_df


KERNELS = {
    "identity": identity_kernels,
    "sigmoid": sigmoid_kernels,
    "tanh": tanh_kernels,
    "relu": relu_kernels,
    "leaky_relu": leaky_relu_kernels,
    "elu": elu_kernels,
    "softplus": softplus_kernels,
    "silu": silu_kernels,
    "gelu": gelu_kernels,
    "exp": exp_kernels,
    "softmax": softmax_kernels,
}


def activation_kernels(activation: Activation, z: Array) -> tuple[Forward, Backward]:
    """Return f and times_df for a layer whose weighted input is shaped and typed like z.

    A user's own activation, and complex z, get the rule of the table itself.
    """
    if ACTIVATIONS.get(activation.name) is activation and z.dtype.kind == "f":
        return KERNELS[activation.name](z)

    def f(z: Array, a: Array) -> None:
        copyto(a, activation.f(z))

    def times_df(g: Array, z: Array, a: Array) -> None:
        copyto(g, activation.backward(g, z, a))

    return f, times_df


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
        derivative(delta, a, y)
        times_df(delta, z, a)

    return general


def derivative_kernel(loss: Loss, z: Array) -> Callable[[Array, Array, Array], None]:
    """Return what writes ∂E/∂a of each sample's loss: (delta, a, y)."""
    limit = huber_limit(loss)

    def general(delta: Array, a: Array, y: Array) -> None:
        copyto(delta, loss.derivative(a, y))

    def squared(delta: Array, a: Array, y: Array) -> None:
        subtract(a, y, delta)

    def absolute_error(delta: Array, a: Array, y: Array) -> None:
        subtract(a, y, delta)
        sign(delta, delta)

    def huber(delta: Array, a: Array, y: Array) -> None:
        subtract(a, y, delta)
        clip(delta, -limit, limit, out=delta)

    if z.dtype.kind != "f":
        return general
    if loss is LOSSES["half_squared_error"]:
        return squared
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
    quick = one_pass and loss is LOSSES["half_squared_error"]

    def value(z: Array, a: Array, y: Array, share: Array | None = None) -> Any:
        if quick and share is None:
            subtract(a, y, s)
            return flat.dot(flat) * (each / 2)
        write(z, a, y)
        if share is None:
            return add.reduce(flat, axis=axes) * each
        multiply(s, share, s)
        return add.reduce(flat, axis=axes)

    return value


def element_kernel(
    loss: Loss, output: Activation, z: Array, s: Array
) -> Callable[[Array, Array, Array], None] | None:
    """Return what writes each output's share of the loss into s, or None for other losses."""
    t, u, zero, one = np.empty_like(z), np.empty_like(z), constant(0, z), constant(1, z)
    half, least, limit = constant(0.5, z), np.finfo(z.dtype).tiny, huber_limit(loss)

    def squared(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, s)
        multiply(s, s, s)
        multiply(s, half, s)

    def softmax_cross_entropy(z: Array, a: Array, y: Array) -> None:
        if minimum.reduce(a, axis=None) < least:  # log a is not exact: take it from z
            copyto(s, loss.of_pass(z, a, y, output))
            return
        log(a, s)
        multiply(s, y, s)
        negative(s, s)

    def sigmoid_cross_entropy(z: Array, a: Array, y: Array) -> None:
        absolute(z, s)  # max(z, 0) - y z + log(1 + e^-|z|)
        negative(s, s)
        exp(s, s)
        log1p(s, s)
        maximum(z, zero, out=t)
        multiply(y, z, u)
        subtract(t, u, t)
        add(s, t, s)

    def absolute_error(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, s)
        absolute(s, s)

    def huber(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, t)
        clip(t, -limit, limit, out=s)
        multiply(s, half, u)
        subtract(t, u, t)
        multiply(s, t, s)

    cap = constant(largest_exponent(z.dtype), z)

    def exp_poisson(z: Array, a: Array, y: Array) -> None:
        subtract(z, cap, s)
        maximum(s, zero, out=s)
        add(s, one, s)
        multiply(s, a, s)
        multiply(y, z, t)
        subtract(s, t, s)

    found = {
        "half_squared_error": squared,
        "absolute_error": absolute_error,
        **({loss.name: huber} if limit else {}),
    }
    if loss.joins(output):
        found |= {
            "cross_entropy": softmax_cross_entropy,
            "binary_cross_entropy": sigmoid_cross_entropy,
            "poisson": exp_poisson,
        }
    ours = LOSSES.get(loss.name) is loss or limit
    return found.get(loss.name) if ours else None
