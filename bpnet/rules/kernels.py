"""What computes a layer and the output of a pass, made once for arrays like a given z.

A rule of the tables takes its form in place; a rule of one's own, and complex z, the rule itself.
What a call writes stands last. Two flags are expected and silenced by the callers: e^-z may
overflow to infinity, whose reciprocal is the right 0, and e^z may underflow to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import add, copyto, multiply, subtract

from bpnet.arrays import Array, other
from bpnet.rules.activations import Activation
from bpnet.rules.activations_inplace import Backward, Forward
from bpnet.rules.losses import Loss, reduce
from bpnet.rules.losses_inplace import Elements, InPlace

OutputDelta = Callable[[Array, Array, Array, Array], object]  # (z, a, y, delta)
Value = Callable[..., Any]  # (z, a, y, share=None): the loss of the batch

SHORT_SUM = 10_000  # numbers that a dot product may add; of more, pairwise sums are more exact


def fast(z: Array) -> bool:
    """Whether the forms in place are for arrays like z: NumPy's, and real."""
    return z.dtype.kind == "f" and not other(z)


def layer_kernels(activation: Activation, z: Array) -> tuple[Forward, Backward]:
    """Return f and times_df for a layer whose weighted input is shaped and typed like z.

    ``f(z, a)``: a becomes f(z). ``times_df(z, a, delta)``: delta becomes delta ⊙ f'(z).
    """
    if activation.in_place is not None and fast(z):
        return activation.in_place(z)

    def f(z: Array, a: Array) -> None:
        copyto(a, activation.f(z))

    def times_df(z: Array, a: Array, delta: Array) -> None:
        copyto(delta, activation.backward(delta, z, a))

    return f, times_df


def output_kernels(
    loss: Loss, output: Activation, z: Array, times_df: Backward
) -> tuple[OutputDelta, Value]:
    """Return what writes δ^L, and what returns the loss of a batch, for outputs shaped like z.

    δ^L = ∂E/∂z^L of each sample's loss: a - y where loss and output belong together, else
    ∂E/∂a ⊙ f'(z^L), by the output's `times_df`. It does not hold the mean over samples; the value
    of the loss does.
    """
    form = loss.in_place if loss.in_place is not None and fast(z) else InPlace()
    return delta_kernel(loss, output, form, z, times_df), value_kernel(loss, output, form, z)


def delta_kernel(
    loss: Loss, output: Activation, form: InPlace, z: Array, times_df: Backward
) -> OutputDelta:
    """Return what writes δ^L."""

    def joined(z: Array, a: Array, y: Array, delta: Array) -> None:
        subtract(a, y, delta)

    if loss.joins(output):
        return joined
    pair = loss.pair(output)
    if pair is not None:
        return lambda z, a, y, delta: copyto(delta, pair.delta(z, y))

    def by_rule(a: Array, y: Array, delta: Array) -> None:
        copyto(delta, loss.derivative(a, y))

    derivative = by_rule if form.derivative is None else form.derivative

    def general(z: Array, a: Array, y: Array, delta: Array) -> None:
        derivative(a, y, delta)
        times_df(z, a, delta)

    return general


def value_kernel(loss: Loss, output: Activation, form: InPlace, z: Array) -> Value:
    """Return what gives a batch's loss, the mean over samples or the sum with their shares."""
    s = np.empty_like(z)
    write: Elements | None = None
    if loss.joins(output) and loss.E_z is not None and form.joined_elements is not None:
        write = form.joined_elements(z, s, loss.E_z)
    elif form.elements is not None:
        write = form.elements(z, s)
    if write is None:

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

    mean = short_mean(form, s, write) if one_pass and s.size <= SHORT_SUM else long_mean

    def value(z: Array, a: Array, y: Array, share: Array | None = None) -> Any:
        if share is None:
            return mean(z, a, y)
        write(z, a, y)
        multiply(s, share, s)
        return add.reduce(flat, axis=axes)

    return value


def short_mean(form: InPlace, s: Array, write: Elements) -> Callable[[Array, Array, Array], Any]:
    """Return what gives the mean loss of a short batch: dot products, and fewer of all calls."""
    flat, each, ones = s.reshape(-1), 1 / s.shape[0], np.ones_like(s, shape=s.size)

    def mean(z: Array, a: Array, y: Array) -> Any:
        write(z, a, y)
        return flat.dot(ones) * each

    return mean if form.short_mean is None else form.short_mean(s, mean)
