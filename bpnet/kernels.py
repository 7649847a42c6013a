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

from bpnet.activations import (
    ACTIVATIONS,
    GELU_CUBE,
    GELU_SCALE,
    LEAK,
    Activation,
    largest_exponent,
)
from bpnet.losses import LOSSES, Loss, reduce
from bpnet.parameters import Array

Forward = Callable[[Array, Array], object]  # f(z, a): a becomes f(z)
Backward = Callable[[Array, Array, Array], object]  # times_df(g, z, a): g becomes g ⊙ f'(z)
OutputDelta = Callable[[Array, Array, Array, Array], object]  # (delta, z, a, y): delta is written
Value = Callable[[Array, Array, Array], Any]  # (z, a, y): the loss of the batch


def constant(value: float, z: Array) -> Array:
    """Return a 0-d array of z's dtype."""
    return np.array(value, z.dtype)


def sigmoid(z: Array) -> tuple[Forward, Backward]:
    one, s = constant(1, z), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        np.negative(z, a)
        np.exp(a, a)
        np.add(a, one, a)
        np.reciprocal(a, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.subtract(one, a, s)
        np.multiply(s, a, s)
        np.multiply(g, s, g)

    return f, times_df


def identity(z: Array) -> tuple[Forward, Backward]:
    def f(z: Array, a: Array) -> None:
        np.copyto(a, z)

    def times_df(g: Array, z: Array, a: Array) -> None:
        pass

    return f, times_df


def tanh(z: Array) -> tuple[Forward, Backward]:
    one, s = constant(1, z), np.empty_like(z)

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.multiply(a, a, s)
        np.subtract(one, s, s)
        np.multiply(g, s, g)

    return np.tanh, times_df


def relu(z: Array) -> tuple[Forward, Backward]:
    zero, s = constant(0, z), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        np.maximum(z, zero, out=a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.sign(a, s)  # a is z or 0, so this is 1 or 0
        np.multiply(g, s, g)

    return f, times_df


def leaky_relu(z: Array) -> tuple[Forward, Backward]:
    zero, leak, s = constant(0, z), constant(LEAK, z), np.empty_like(z)
    positive = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        np.multiply(z, leak, a)
        np.maximum(z, a, out=a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.greater(z, zero, positive)
        np.multiply(g, leak, s)
        np.copyto(s, g, where=positive)
        np.copyto(g, s)

    return f, times_df


def elu(z: Array) -> tuple[Forward, Backward]:
    zero, one, s = constant(0, z), constant(1, z), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        np.minimum(z, zero, out=a)
        np.expm1(a, a)
        np.maximum(z, zero, out=s)
        np.add(a, s, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.minimum(a, zero, out=s)  # e^z - 1 where z < 0, else 0
        np.add(s, one, s)
        np.multiply(g, s, g)

    return f, times_df


def softplus(z: Array) -> tuple[Forward, Backward]:
    zero, s = constant(0, z), np.empty_like(z)
    sigmoid_f, _ = sigmoid(z)

    def f(z: Array, a: Array) -> None:
        np.absolute(z, a)
        np.negative(a, a)
        np.exp(a, a)
        np.log1p(a, a)
        np.maximum(z, zero, out=s)
        np.add(a, s, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        sigmoid_f(z, s)
        np.multiply(g, s, g)

    return f, times_df


def silu(z: Array) -> tuple[Forward, Backward]:
    one, s, t = constant(1, z), np.empty_like(z), np.empty_like(z)
    sigmoid_f, _ = sigmoid(z)

    def f(z: Array, a: Array) -> None:
        sigmoid_f(z, a)
        np.multiply(a, z, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        sigmoid_f(z, s)
        np.subtract(one, s, t)
        np.multiply(t, z, t)
        np.add(t, one, t)
        np.multiply(s, t, s)
        np.multiply(g, s, g)

    return f, times_df


def gelu(z: Array) -> tuple[Forward, Backward]:
    one, half = constant(1, z), constant(0.5, z)
    s, t, u = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    scale, cube = constant(GELU_SCALE, z), constant(GELU_SCALE * GELU_CUBE, z)
    cube_prime = constant(3 * GELU_SCALE * GELU_CUBE, z)

    def inner(z: Array, t: Array) -> None:
        np.multiply(z, z, t)
        np.multiply(t, cube, t)
        np.add(t, scale, t)
        np.multiply(t, z, t)
        np.tanh(t, t)

    def f(z: Array, a: Array) -> None:
        inner(z, a)
        np.add(a, one, a)
        np.multiply(a, z, a)
        np.multiply(a, half, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        inner(z, t)
        np.multiply(z, z, s)
        np.multiply(s, cube_prime, s)
        np.add(s, scale, s)  # the derivative of what tanh is taken of
        np.multiply(s, z, s)
        np.multiply(g, half, g)
        np.multiply(t, t, u)
        np.subtract(one, u, u)
        np.multiply(s, u, s)  # z t'
        np.add(s, t, s)
        np.add(s, one, s)
        np.multiply(g, s, g)

    return f, times_df


def exp(z: Array) -> tuple[Forward, Backward]:
    zero, cap = constant(0, z), constant(largest_exponent(z.dtype), z)
    beyond = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        np.minimum(z, cap, out=a)
        np.exp(a, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.multiply(g, a, g)
        np.greater(z, cap, beyond)
        np.copyto(g, zero, where=beyond)

    return f, times_df


def softmax(z: Array) -> tuple[Forward, Backward]:
    s, of_row = np.empty_like(z), np.empty_like(z[..., :1])

    def f(z: Array, a: Array) -> None:
        np.maximum.reduce(z, axis=-1, out=of_row, keepdims=True)
        np.subtract(z, of_row, a)
        np.exp(a, a)
        np.add.reduce(a, axis=-1, out=of_row, keepdims=True)
        np.divide(a, of_row, a)

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.multiply(g, a, s)
        np.add.reduce(s, axis=-1, out=of_row, keepdims=True)
        np.subtract(g, of_row, g)
        np.multiply(g, a, g)

    return f, times_df


KERNELS = {
    kernel.__name__: kernel
    for kernel in (
        identity, sigmoid, tanh, relu, leaky_relu, elu, softplus, silu, gelu, exp, softmax
    )
}  # fmt: skip


def activation_kernels(activation: Activation, z: Array) -> tuple[Forward, Backward]:
    """Return f and times_df for a layer whose weighted input is shaped and typed like z.

    A user's own activation, and complex z, get the rule of the table itself.
    """
    if ACTIVATIONS.get(activation.name) is activation and z.dtype.kind == "f":
        return KERNELS[activation.name](z)

    def f(z: Array, a: Array) -> None:
        np.copyto(a, activation.f(z))

    def times_df(g: Array, z: Array, a: Array) -> None:
        np.copyto(g, activation.backward(g, z, a))

    return f, times_df


def output_kernels(loss: Loss, output: Activation, z: Array) -> tuple[OutputDelta, Value]:
    """Return what writes δ^L, and what returns the loss of a batch, for outputs shaped like z.

    δ^L = ∂E/∂z^L of each sample's loss: a - y where loss and output belong together, else
    ∂E/∂a ⊙ f'(z^L). Neither holds the mean over samples.
    """

    def value(z: Array, a: Array, y: Array) -> Any:
        return reduce(loss.of_pass(z, a, y, output))

    if loss.joins(output):

        def joined(delta: Array, z: Array, a: Array, y: Array) -> None:
            np.subtract(a, y, delta)

        return joined, value

    _, times_df = activation_kernels(output, z)

    if loss is LOSSES["half_squared_error"]:

        def squared(delta: Array, z: Array, a: Array, y: Array) -> None:
            np.subtract(a, y, delta)
            times_df(delta, z, a)

        return squared, value

    def general(delta: Array, z: Array, a: Array, y: Array) -> None:
        np.copyto(delta, loss.dE(a, y))
        times_df(delta, z, a)

    return general, value
