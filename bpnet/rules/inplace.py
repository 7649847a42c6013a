"""The rules of `activations.py` and `losses.py` again, in place: nothing is allocated per step.

A step on a small net costs what its NumPy calls cost, and on a large one what its temporary arrays
cost. A kernel is made once for the shape and dtype of a layer's z; it holds its constants as 0-d
arrays of that dtype (a Python float is converted at every call) and its scratch space. Each is
held equal to its rule in the table by a property test.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bpnet.arrays import Array
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK, largest_exponent

Forward = Callable[[Array, Array], object]  # f(z, a): a becomes f(z)
Backward = Callable[[Array, Array, Array], object]  # times_df(z, a, g): g becomes g ⊙ f'(z)
Pair = tuple[Forward, Backward]
Write = Callable[[Array, Array, Array], object]  # (z, a, y): s becomes each output's share of E
Exact = Callable[[Array, Array], Array]  # (z, y): the loss's E_z
Mean = Callable[[Array, Array, Array], Any]  # (z, a, y): the mean loss of the batch

MANY = 500  # numbers

# By name, since a look-up in np is a tenth of what a small call costs.
add, subtract, multiply, divide, negative = np.add, np.subtract, np.multiply, np.divide, np.negative
absolute, clip, copyto, greater, sign = np.absolute, np.clip, np.copyto, np.greater, np.sign
exp, expm1, log, log1p, tanh = np.exp, np.expm1, np.log, np.log1p, np.tanh
maximum, minimum, reciprocal = np.maximum, np.minimum, np.reciprocal


def constant(value: float, z: Array) -> Array:
    """Return a 0-d array of z's dtype."""
    return np.array(value, z.dtype)


def sigmoid_pair(z: Array) -> Pair:
    one, s = constant(1, z), np.empty_like(z)
    # The same bits: 0.05 µs slower a call, but on many numbers twice as quick.
    invert: Callable[..., object] = partial(divide, one) if z.size > MANY else reciprocal

    def f(z: Array, a: Array) -> None:
        exp(negative(z, a), a)
        invert(add(a, one, a), a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        multiply(g, multiply(subtract(one, a, s), a, s), g)

    return f, times_df


def identity_pair(z: Array) -> Pair:
    return (lambda z, a: copyto(a, z)), (lambda z, a, g: None)


def tanh_pair(z: Array) -> Pair:
    one, s = constant(1, z), np.empty_like(z)

    def times_df(z: Array, a: Array, g: Array) -> None:
        multiply(g, subtract(one, multiply(a, a, s), s), g)

    return tanh, times_df


def relu_pair(z: Array) -> Pair:
    zeros, s = np.zeros_like(z), np.empty_like(z)  # three times quicker beside z than one 0
    positive = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        maximum(z, zeros, out=a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        copyto(s, greater(z, zeros, positive))  # beside floats a bool would be converted in pieces
        multiply(g, s, g)

    return f, times_df


def leaky_relu_pair(z: Array) -> Pair:
    zero, leak, s = constant(0, z), constant(LEAK, z), np.empty_like(z)
    positive = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        maximum(z, multiply(z, leak, a), out=a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        multiply(g, leak, s)
        copyto(s, g, where=greater(z, zero, positive))
        copyto(g, s)

    return f, times_df


def elu_pair(z: Array) -> Pair:
    zero, one, s = constant(0, z), constant(1, z), np.empty_like(z)

    def f(z: Array, a: Array) -> None:
        expm1(minimum(z, zero, out=a), a)
        add(a, maximum(z, zero, out=s), a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        minimum(a, zero, out=s)  # e^z - 1 where z < 0, else 0
        multiply(g, add(s, one, s), g)

    return f, times_df


def softplus_pair(z: Array) -> Pair:
    zero, s = constant(0, z), np.empty_like(z)
    sigmoid_f, _ = sigmoid_pair(z)

    def f(z: Array, a: Array) -> None:
        log1p(exp(negative(absolute(z, a), a), a), a)
        add(a, maximum(z, zero, out=s), a)

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
        add(multiply(subtract(one, s, t), z, t), one, t)
        multiply(g, multiply(s, t, s), g)

    return f, times_df


def gelu_pair(z: Array) -> Pair:
    one, half = constant(1, z), constant(0.5, z)
    s, t, u = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    scale, cube = constant(GELU_SCALE, z), constant(GELU_SCALE * GELU_CUBE, z)
    cube_prime = constant(3 * GELU_SCALE * GELU_CUBE, z)

    def inner(z: Array, t: Array) -> None:
        add(multiply(multiply(z, z, t), cube, t), scale, t)
        tanh(multiply(t, z, t), t)

    def f(z: Array, a: Array) -> None:
        inner(z, a)
        multiply(multiply(add(a, one, a), half, a), z, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        inner(z, t)
        subtract(one, multiply(t, t, u), u)
        multiply(u, z, u)  # z (1 - t²): 0 at large z, before z² could overflow
        multiply(multiply(multiply(u, z, s), z, s), cube_prime, s)
        add(s, multiply(u, scale, u), s)  # z t'
        multiply(g, half, g)
        multiply(g, add(add(s, t, s), one, s), g)

    return f, times_df


def exp_pair(z: Array) -> Pair:
    zero, cap = constant(0, z), constant(largest_exponent(z.dtype), z)
    beyond = np.empty_like(z, bool)

    def f(z: Array, a: Array) -> None:
        exp(minimum(z, cap, out=a), a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        multiply(g, a, g)
        copyto(g, zero, where=greater(z, cap, beyond))

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
        row_sums(exp(subtract(z, largest_of_row, a), a))
        divide(a, of_row, a)

    def times_df(z: Array, a: Array, g: Array) -> None:
        row_sums(multiply(g, a, s))
        multiply(subtract(g, of_row, g), a, g)

    return f, times_df


ACTIVATION_PAIRS = (
    *(identity_pair, sigmoid_pair, tanh_pair, relu_pair, leaky_relu_pair, elu_pair),
    *(softplus_pair, silu_pair, gelu_pair, exp_pair, softmax_pair),
)
PAIRS = {pair.__name__.removesuffix("_pair"): pair for pair in ACTIVATION_PAIRS}


# Losses


class InPlace(NamedTuple):
    """The forms in place of a loss; where one is None, the rule itself is taken."""

    derivative: Callable[[Array, Array, Array], object] | None = None  # (a, y, delta): ∂E/∂a
    elements: Callable[[Array, Array], Write] | None = None  # (z, s): what fills s
    joined_elements: Callable[[Array, Array, Exact], Write] | None = None  # (z, s, E_z): from z
    short_mean: Callable[[Array, Mean], Mean] | None = None  # (s, mean): in fewer calls


def sign_of_error(a: Array, y: Array, delta: Array) -> None:
    sign(subtract(a, y, delta), delta)


def clipped_error(a: Array, y: Array, delta: Array, limit: float) -> None:
    clip(subtract(a, y, delta), -limit, limit, out=delta)


def squared_short_mean(s: Array, mean: Mean) -> Mean:
    flat, half = s.reshape(-1), 1 / s.shape[0] / 2

    def squared(z: Array, a: Array, y: Array) -> Any:
        subtract(a, y, s)
        return flat.dot(flat) * half

    return squared


def cross_entropy_short_mean(s: Array, mean: Mean) -> Mean:
    flat, each, least = s.reshape(-1), 1 / s.shape[0], np.finfo(s.dtype).tiny

    def cross_entropy(z: Array, a: Array, y: Array) -> Any:
        if a.item(a.argmin()) < least:
            return mean(z, a, y)
        log(a, s)
        return -flat.dot(y.reshape(-1)) * each

    return cross_entropy


def squared_elements(z: Array, s: Array, E_z: Exact | None = None) -> Write:
    half = constant(0.5, z)

    def write(z: Array, a: Array, y: Array) -> None:
        subtract(a, y, s)
        multiply(multiply(s, s, s), half, s)

    return write


def absolute_elements(z: Array, s: Array) -> Write:
    return lambda z, a, y: absolute(subtract(a, y, s), s)


def huber_elements(z: Array, s: Array, limit: float) -> Write:
    half, t, u = constant(0.5, z), np.empty_like(z), np.empty_like(z)

    def write(z: Array, a: Array, y: Array) -> None:
        clip(subtract(a, y, t), -limit, limit, out=s)
        multiply(s, subtract(t, multiply(s, half, u), t), s)

    return write


def softmax_elements(z: Array, s: Array, E_z: Exact) -> Write:
    least = np.finfo(z.dtype).tiny

    def write(z: Array, a: Array, y: Array) -> None:
        if minimum.reduce(a, axis=None) < least:  # log a is not exact: take it from z
            copyto(s, E_z(z, y))
        else:
            negative(multiply(log(a, s), y, s), s)

    return write


def sigmoid_elements(z: Array, s: Array, E_z: Exact) -> Write:
    zero, t, u = constant(0, z), np.empty_like(z), np.empty_like(z)

    def write(z: Array, a: Array, y: Array) -> None:  # log(1 + e^-|z|) + max(z, 0) - y z
        log1p(exp(negative(absolute(z, s), s), s), s)
        subtract(maximum(z, zero, out=t), multiply(y, z, u), t)
        add(s, t, s)

    return write


def exp_elements(z: Array, s: Array, E_z: Exact) -> Write:
    zero, one, t = constant(0, z), constant(1, z), np.empty_like(z)
    cap = constant(largest_exponent(z.dtype), z)

    def write(z: Array, a: Array, y: Array) -> None:
        # Beyond the cap of e^z a straight line goes on: a (1 + z - cap) - y z.
        add(maximum(subtract(z, cap, s), zero, out=s), one, s)
        subtract(multiply(s, a, s), multiply(y, z, t), s)

    return write


def huber_form(limit: float) -> InPlace:
    return InPlace(partial(clipped_error, limit=limit), partial(huber_elements, limit=limit))


FORMS = {
    "half_squared_error": InPlace(subtract, squared_elements, squared_elements, squared_short_mean),
    "cross_entropy": InPlace(joined_elements=softmax_elements, short_mean=cross_entropy_short_mean),
    "binary_cross_entropy": InPlace(joined_elements=sigmoid_elements),
    "absolute_error": InPlace(sign_of_error, absolute_elements),
    "huber": huber_form(1.0),
    "poisson": InPlace(joined_elements=exp_elements),
}
