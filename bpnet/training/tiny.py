"""Nets so small that calling NumPy costs more than computing: whole epochs in one compiled loop.

The equations are those of `mlp.py`, neuron by neuron as in `reference.py`, over a flat θ; f, f', E
and the steps are those of `rules/compiled.py`. Indices are unsigned: of one that may be negative
numba asks each time whether it is, which takes twice as long.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.rules import compiled
from bpnet.rules.compiled import (
    EPSILON,
    FACTOR,
    LEAST_S,
    SOFTMAX,
    df,
    f,
    output_row,
    softmax,
    step_of,
)
from bpnet.rules.compiled_math import form, inlined, kernel
from bpnet.rules.optimizers import Adam, Optimizer
from bpnet.rules.subnormal import EVERY

MOST = 2000  # multiplications of a batch by weights, beyond which the passes are faster


@inlined
def forward(sizes: Any, codes: Any, theta: Any, z: Any, a: Any) -> None:
    """Fill z and a, the neurons of all layers in a row, from the inputs that stand first in a."""
    w = before = sizes[0] - sizes[0]
    for l in range(1, len(sizes)):
        n_in, n_out, code = sizes[l - 1], sizes[l], codes[l - 1]
        here, b = before + n_in, w + n_in * n_out
        for i in range(n_out):
            total = form(theta[0]).zero
            for j in range(n_in):
                total += theta[w + j] * a[before + j]
            w = w + n_in
            z[here + i] = total + theta[b + i]
            a[here + i] = f(code, z[here + i])
        if code == SOFTMAX:
            softmax(z[here : here + n_out], a[here : here + n_out])
        w, before = b + n_out, here


@inlined
def backward(sizes: Any, codes: Any, theta: Any, z: Any, a: Any, delta: Any, g: Any) -> None:
    """Add a sample's gradient to g, from δ^L, that stands last in delta."""
    w, here, one = np.uintp(len(theta)), np.uintp(len(a)) - sizes[-1], np.uintp(1)
    for l in range(len(sizes) - 1, 0, -1):
        n_in, n_out = sizes[l - 1], sizes[l]
        b, before = w - n_out, here - n_in
        w = b - n_in * n_out
        for i in range(n_out):
            d, row = delta[here + i], w + i * n_in
            g[b + i] += d
            for j in range(n_in):
                g[row + j] += d * a[before + j]
        if l > 1:
            for j in range(n_in):
                total = delta[here] * theta[w + j]
                for i in range(one, n_out):
                    total += delta[here + i] * theta[w + i * n_in + j]
                delta[before + j] = total * df(codes[l - 2], z[before + j], a[before + j])
        here = before


@kernel
def train(
    sizes: Any, codes: Any, loss: Any, limit: Any, theta: Any, x: Any, y: Any, order: Any,
    batch: Any, code: Any, s: Any, v: Any, decay: Any, k: Any, least: Any, adam: Any, rates: Any,
    t: Any, neurons: Any, vectors: Any, losses: Any, first: Any, failed: Any,
) -> None:  # fmt: skip
    """Train each network of a stack for as many epochs as there are losses; see `train_epochs`.

    theta, and s, v and decay or, where the rule has none, (networks, 0); x and y (1 or networks,
    m, n); order (epochs, 1 or networks, m) or (0, 0, 0); rates (1 or epochs, 1 or steps, 1 or
    networks); adam β₁, β₂ and ε in float64, or nothing; t the steps taken before; neurons (3, all
    of them) and vectors (2, P) are scratch space.
    """
    m, networks, P, number = x.shape[1], len(theta), theta.shape[1], type(theta[0, 0])
    each_epoch, each_step, each_network = len(rates) > 1, rates.shape[1] > 1, rates.shape[2] > 1
    steps, most = (m + batch - 1) // batch, np.finfo(theta.dtype).max
    z, a, delta, g, old = neurons[0], neurons[1], neurons[2], vectors[0], vectors[1]
    last, out = len(a) - sizes[-1], codes[-1]
    z_L, a_L, delta_L = z[last:], a[last:], delta[last:]
    for r in range(networks):
        x_r, y_r, theta_r = x[r if len(x) > 1 else 0], y[r if len(y) > 1 else 0], theta[r]
        s_r, v_r, decay_r, count = s[r], v[r], decay[r], 0
        for epoch in range(len(losses)):
            total = 0.0
            for step in range(steps):
                start, rows = step * batch, min(batch, m - step * batch)
                share, of_batch = number(1) / number(rows), number(0)
                for p in range(P):
                    g[p] = 0
                for i in range(start, start + rows):
                    if len(order):
                        i = order[epoch, r if order.shape[1] > 1 else 0, i]
                    for j in range(sizes[0]):
                        a[j] = x_r[i, j]
                    forward(sizes, codes, theta_r, z, a)
                    of_sample = output_row(out, loss, limit[()], z_L, a_L, y_r[i], delta_L)
                    of_batch += of_sample * share
                    for j in range(len(delta_L)):
                        delta_L[j] *= share
                    backward(sizes, codes, theta_r, z, a, delta, g)
                total += rows * of_batch
                if count == 0:
                    first[r] = of_batch
                count += 1
                if failed[r] >= 0:
                    continue
                if len(adam):
                    root = math.sqrt((1 - adam[1]) / (1 - adam[1] ** (t + count)))
                    k[EPSILON] = adam[2] / root
                    k[FACTOR] = (1 - adam[0]) / ((1 - adam[0] ** (t + count)) * root)
                eta = rates[epoch * each_epoch, step * each_step, r * each_network]
                clearing = (t + count) % EVERY == 0
                for j in range(len(least)):  # in loops: numba takes seconds over a slice
                    k[LEAST_S + j] = least[j] if clearing else number(0)
                wrong = not abs(of_batch) <= most
                if not wrong and step_of(code, 1, theta_r, g, old, s_r, v_r, decay_r, eta, k):
                    wrong = True
                    for j in range(P):
                        theta_r[j] = old[j]
                if wrong:
                    failed[r] = count - 1
                    if networks == 1:
                        return
            losses[epoch, r] = total / m


class Epochs(NamedTuple):
    """What `train_epochs` returns.

    Attributes
    ----------
    losses : array, shape (epochs, networks)
    first : array, shape (networks,)
        The losses before the first step.
    failed : array of int, shape (networks,)
        Which step, from 0, was not finite, and was not taken; -1 for a network that is going.
    """

    losses: Array
    first: Array
    failed: Array


def is_tiny(sizes: tuple[int, ...], m: int) -> bool:
    """Whether `train_epochs` is the fastest way to train on batches of m."""
    return m * sum(n_in * n_out for n_in, n_out in pairwise(sizes)) <= MOST


def train_epochs(
    net: MLP,
    rule: Optimizer,
    x: Array,
    y: Array,
    *,
    batch: int,
    epochs: int,
    rates: Any = None,
    order: Array | None = None,
    going: Array | None = None,
) -> Epochs:
    """Train a net or a stack, in place, for some epochs; count the rule's steps.

    A network whose loss or step is not finite keeps its last finite θ. It stands still from then
    on; if it is the only one, training ends before that step, and losses end with the epoch before.

    Parameters
    ----------
    net : MLP
        Of rules of the tables.
    rule : Optimizer
        One of the package's, started on the net's θ.
    x, y : array, shape (m, n) or (networks, m, n)
    batch : int
        Rows a step; the last step of an epoch may have fewer.
    epochs : int
    rates : array, shape (1 or epochs, 1 or steps, 1 or networks), optional
        η; the default is the one that the rule has.
    order : array of int, shape (epochs, 1 or networks, m), optional
        The rows of each epoch in the order in which they are taken; the default is as they stand.
    going : array of bool, shape (networks,), optional
        Which networks train; the others have losses all the same. The default is all.

    Raises
    ------
    ValueError
        If an activation, the loss or the rule is of the user's own.
    """
    out, dtype = net.activation[net.L], net.dtype
    copies: list[tuple[Array, Array]] = []

    def rows(v: Array) -> Array:
        whole = v if v.ndim > 1 else v[None]
        copies.append((whole, np.ascontiguousarray(whole)))
        return copies[-1][1]

    networks = 1 if net.theta.ndim == 1 else len(net)
    code, (loss, limit) = compiled.optimizer_code(rule), compiled.loss_code(net.loss_function, out)
    codes = np.array([compiled.activation_code(f) for f in net.activation.values()])
    s, v, decay, k, least = compiled.optimizer_arguments(rule, net.theta, False)
    adam = [rule.beta1, rule.beta2, rule.epsilon] if isinstance(rule, Adam) else []
    rates = np.array(rule.rate if rates is None else rates, dtype)
    rates = rates if rates.ndim == 3 else rates.reshape(1, 1, -1)
    losses, first = np.full((epochs, networks), np.nan), np.zeros(networks, dtype)
    order = np.empty((0, 0, 0), np.intp) if order is None else order
    m, n_in, n_out = x.shape[-2], net.sizes[0], net.sizes[-1]
    steps, each = -(-m // batch), (1, networks)
    for array, shapes in (  # the loop looks at nothing: it would read and write beyond
        (x, [(m, n_in), (networks, m, n_in)]),
        (y, [(m, n_out), (networks, m, n_out)]),
        (order, [(0, 0, 0), *((epochs, n, m) for n in each)]),
        (rates, [(e, i, n) for e in (1, epochs) for i in (1, steps) for n in each]),
    ):
        if array.shape not in shapes:
            raise ValueError(f"an array has shape {array.shape}, but must have one of {shapes}")
    failed = np.where(np.ones(networks, bool) if going is None else going, -1, 0)
    train(
        np.array(net.sizes, np.uintp), codes, loss, np.array(limit, dtype), rows(net.theta),
        *(array if array.ndim == 3 else array[None] for array in (x, y)), order, batch, code,
        rows(s), rows(v), rows(decay), k, np.array(least, dtype), np.array(adam), rates, rule.t,
        np.zeros((3, sum(net.sizes)), dtype), np.zeros((2, net.theta.shape[-1]), dtype),
        losses, first, failed,
    )  # fmt: skip
    for whole, array in copies:
        if whole is not array:
            whole[...] = array
    if networks == 1 and failed[0] >= 0 and (going is None or going[0]):
        rule.t += int(failed[0])
        return Epochs(losses[: failed[0] // steps], first, failed)
    rule.t += steps * epochs
    return Epochs(losses, first, failed)
