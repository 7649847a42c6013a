"""The rules of `activations.py` again, in place: nothing is allocated per step.

A step on a small net costs what its NumPy calls cost, and on a large one what its temporary arrays
cost. A kernel is made once for the shape and dtype of a layer's z; it holds its constants as 0-d
arrays of that dtype (a Python float is converted at every call) and its scratch space. Each is
held equal to its rule in the table by a property test.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy import (  # by name, since a look-up in np is a tenth of what a small call costs
    absolute,
    add,
    copyto,
    divide,
    exp,
    expm1,
    greater,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    reciprocal,
    subtract,
    tanh,
)

from bpnet.arrays import Array
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK, largest_exponent

Forward = Callable[[Array, Array], object]  # f(z, a): a becomes f(z)
Backward = Callable[[Array, Array, Array], object]  # times_df(z, a, g): g becomes g ⊙ f'(z)
Pair = tuple[Forward, Backward]

MANY = 500  # numbers


def constant(value: float, z: Array) -> Array:
    """Return a 0-d array of z's dtype."""
    return np.array(value, z.dtype)


def sigmoid_pair(z: Array) -> Pair:
    one, s = constant(1, z), np.empty_like(z)
    # The same bits: 0.05 µs slower a call, but on many numbers twice as quick.
    invert: Callable[..., object] = partial(divide, one) if z.size > MANY else reciprocal

    def f(z: Array, a: Array) -> None:
        negative(z, a)
        exp(a, a)
        add(a, one, a)
        invert(a, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        subtract(one, a, s)
        multiply(s, a, s)
        multiply(g, s, g)

    return f, times_df


def identity_pair(z: Array) -> Pair:
    def f(z: Array, a: Array) -> None:
        copyto(a, z)

    def times_df(z: Array, a: Array, g: Array) -> None:
        pass

    return f, times_df


def tanh_pair(z: Array) -> Pair:
    one, s = constant(1, z), np.empty_like(z)

    def times_df(z: Array, a: Array, g: Array) -> None:
        multiply(a, a, s)
        subtract(one, s, s)
        multiply(g, s, g)

    return tanh, times_df


def relu_pair(z: Array) -> Pair:
    zeros = np.zeros_like(z)  # three times quicker beside z than one 0
    positive, s = np.empty_like(z, bool), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        maximum(z, zeros, out=a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        greater(z, zeros, positive)
        copyto(s, positive)  # beside floats a bool would be converted in pieces
        multiply(g, s, g)

    return f, times_df


def leaky_relu_pair(z: Array) -> Pair:
    zero, leak, s = constant(0, z), constant(LEAK, z), np.empty_like(z)
    positive = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        multiply(z, leak, a)
        maximum(z, a, out=a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        greater(z, zero, positive)
        multiply(g, leak, s)
        copyto(s, g, where=positive)
        copyto(g, s)

    return f, times_df


def elu_pair(z: Array) -> Pair:
    zero, one, s = constant(0, z), constant(1, z), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        minimum(z, zero, out=a)
        expm1(a, a)
        maximum(z, zero, out=s)
        add(a, s, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        minimum(a, zero, out=s)  # e^z - 1 where z < 0, else 0
        add(s, one, s)
        multiply(g, s, g)

    return f, times_df


def softplus_pair(z: Array) -> Pair:
    zero, s = constant(0, z), np.empty_like(z)
    sigmoid_f, _ = sigmoid_pair(z)

    def f(z: Array, a: Array) -> None:
        absolute(z, a)
        negative(a, a)
        exp(a, a)
        log1p(a, a)
        maximum(z, zero, out=s)
        add(a, s, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        sigmoid_f(z, s)
        multiply(g, s, g)

    return f, times_df


def silu_pair(z: Array) -> Pair:
    one, s, t = constant(1, z), np.empty_like(z), np.empty_like(z)
    sigmoid_f, _ = sigmoid_pair(z)

    def f(z: Array, a: Array) -> None:
        sigmoid_f(z, a)
        multiply(a, z, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        sigmoid_f(z, s)
        subtract(one, s, t)
        multiply(t, z, t)
        add(t, one, t)
        multiply(s, t, s)
        multiply(g, s, g)

    return f, times_df


def gelu_pair(z: Array) -> Pair:
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

    def times_df(z: Array, a: Array, g: Array) -> None:
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


def exp_pair(z: Array) -> Pair:
    zero, cap = constant(0, z), constant(largest_exponent(z.dtype), z)
    beyond = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        minimum(z, cap, out=a)
        exp(a, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        multiply(g, a, g)
        greater(z, cap, beyond)
        copyto(g, zero, where=beyond)

    return f, times_df


def softmax_pair(z: Array) -> Pair:
    s, of_row = np.empty_like(z), np.empty_like(z[..., :1])
    # The largest of each row is found quicker down the columns of a transposed copy.
    columns, largest = np.empty_like(z.mT, order="C"), np.empty_like(of_row.mT, order="C")
    largest_of_row = largest.mT
    column_maxima: Callable[..., object] = maximum.reduce

    def row_sums(a: Array) -> None:
        add.reduce(a, axis=-1, out=of_row, keepdims=True)

    if z.ndim == 2:  # a product with ones takes a seventh of the time
        ones = np.ones_like(z, shape=(z.shape[-1], 1))

        def row_sums(a: Array) -> None:
            a.dot(ones, of_row)

    def f(z: Array, a: Array) -> None:
        copyto(columns, z.mT)
        column_maxima(columns, -2, None, largest, True)
        subtract(z, largest_of_row, a)
        exp(a, a)
        row_sums(a)
        divide(a, of_row, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        multiply(g, a, s)
        row_sums(s)
        subtract(g, of_row, g)
        multiply(g, a, g)

    return f, times_df


PAIRS: dict[str, Callable[[Array], Pair]] = {
    "identity": identity_pair,
    "sigmoid": sigmoid_pair,
    "tanh": tanh_pair,
    "relu": relu_pair,
    "leaky_relu": leaky_relu_pair,
    "elu": elu_pair,
    "softplus": softplus_pair,
    "silu": silu_pair,
    "gelu": gelu_pair,
    "exp": exp_pair,
    "softmax": softmax_pair,
}
