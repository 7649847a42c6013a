"""What computes a layer and the output of a pass, made once for arrays like a given z.

A rule of the tables takes its form in place; a rule of one's own, and complex z, the rule itself.
What a call writes stands last. Two flags are expected and silenced by the callers: e^-z may
overflow to infinity, whose reciprocal is the right 0, and e^z may underflow to 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import add, copyto, multiply, subtract

from bpnet.arrays import Array
from bpnet.rules.activations import Activation
from bpnet.rules.inplace import Backward, Forward, InPlace, Write
from bpnet.rules.losses import Loss, reduce

OutputDelta = Callable[[Array, Array, Array, Array], object]  # (z, a, y, delta)
Value = Callable[..., Any]  # (z, a, y, share=None): the loss of the batch

SHORT_SUM = 10_000  # numbers that a dot product may add; of more, pairwise sums are more exact


def layer_kernels(activation: Activation, z: Array) -> tuple[Forward, Backward]:
    """Return f(z, a) and times_df(z, a, delta) for a layer with weighted inputs like z."""
    if activation.in_place is not None and z.dtype.kind == "f":
        return activation.in_place(z)

    def f(z: Array, a: Array) -> None:
        copyto(a, activation.f(z))

    def times_df(z: Array, a: Array, delta: Array) -> None:
        copyto(delta, activation.backward(delta, z, a))

    return f, times_df


def output_kernels(loss: Loss, output: Activation, z: Array, times_df: Backward) -> tuple[OutputDelta, Value]:
    """Return what writes δ^L, and what returns the loss of a batch, for outputs like z.

    δ^L = ∂E/∂z^L is of each sample's loss, before the mean over samples; the loss is that mean.
    """
    form = loss.in_place if loss.in_place is not None and z.dtype.kind == "f" else InPlace()
    value = value_kernel(loss, output, form, z)
    if loss.joins(output):
        return (lambda z, a, y, delta: subtract(a, y, delta)), value
    pair = loss.pair(output)
    if pair is not None:
        return (lambda z, a, y, delta: copyto(delta, pair.delta(z, y))), value
    derivative = form.derivative or (lambda a, y, delta: copyto(delta, loss.derivative(a, y)))

    def output_delta(z: Array, a: Array, y: Array, delta: Array) -> None:
        derivative(a, y, delta)
        times_df(z, a, delta)

    return output_delta, value


def value_kernel(loss: Loss, output: Activation, form: InPlace, z: Array) -> Value:
    """Return what gives a batch's loss, the mean over samples or the sum with their shares."""
    s = np.empty_like(z)
    write: Write | None = None
    if loss.joins(output) and loss.E_z is not None and form.joined_elements is not None:
        write = form.joined_elements(z, s, loss.E_z)
    elif form.elements is not None:
        write = form.elements(z, s)
    if write is None:
        return lambda z, a, y, share=None: reduce(
            loss.of_pass(z, a, y, output), None if share is None else share[..., 0]
        )

    one_pass = z.ndim == 2
    flat, each = s.reshape(-1) if one_pass else s, 1 / z.shape[-2]
    axes = None if one_pass else (-2, -1)

    ones = np.ones_like(s, shape=s.size) if one_pass and s.size <= SHORT_SUM else None

    def mean(z: Array, a: Array, y: Array) -> Any:
        write(z, a, y)
        return (add.reduce(flat, axis=axes) if ones is None else flat.dot(ones)) * each

    quick = mean if ones is None or form.short_mean is None else form.short_mean(s, mean)

    def value(z: Array, a: Array, y: Array, share: Array | None = None) -> Any:
        if share is None:
            return quick(z, a, y)
        write(z, a, y)
        multiply(s, share, s)
        return add.reduce(flat, axis=axes)

    return value
