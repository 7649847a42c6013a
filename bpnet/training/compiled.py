"""Training by `rules/compiled.py`: its kernels in the passes, and whole epochs of tiny nets.

Nets so small that calling NumPy costs more than computing train in one compiled loop: the equations
of `mlp.py`, neuron by neuron as in `reference.py`, over a flat θ. Indices are unsigned there: of
one that may be negative numba asks each time whether it is, which takes twice as long.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.network.parameters import FIRST
from bpnet.rules import compiled
from bpnet.rules.compiled import df, f, form, inlined, kernel, output_row, softmax, step_of
from bpnet.rules.optimizers import Adam, Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.rules.subnormal import EVERY
from bpnet.training.data import ArraySource, Batches

TINY = 4000  # multiplications of a batch by weights, up to which the compiled loop is the fastest
BLOCK, WORK = 1000, 10_000_000  # of a block of epochs at most: how many, and multiplications


def check_rules(net: MLP, rule: Any) -> None:
    """Raise ValueError for L-BFGS, and an activation, loss or optimizer of the user's own."""
    if not isinstance(rule, Optimizer):
        raise ValueError("L-BFGS has no compiled form: compiled=False")
    for activation in net.activation.values():
        compiled.activation_code(activation)
    compiled.loss_code(net.loss_function, net.activation[net.L])
    compiled.optimizer_code(rule.within or rule)


def compile_kernels(cache: Cache, grad: Gradient) -> Callable[[Array, Any], Any] | None:
    """Let the passes of a network take compiled kernels.

    Return what writes δ^L and gives the loss, of y and each row's part in the mean; None for a
    pair of output and loss that has a form of its own.
    """
    for l, activation in enumerate(cache.signature.activations, FIRST):
        cache.pairs[l] = compiled.layer_kernels(activation, cache.z.list[l], cache.pairs[l])
        cache.f[l], cache.times_df[l] = cache.pairs[l]
    code, limit = compiled.loss_code(cache.signature.loss, activation)
    if code is None:
        return None
    z, a, delta = cache.z.list[l], cache.a.list[l], grad.delta.list[l]
    of = compiled.activation_code(activation), code, np.array(limit, z.dtype)
    write = partial(compiled.output, *of, z, a)
    cache.output_delta = lambda z, a, y, delta: None  # it is there already
    return lambda y, share: write(y, share, delta)


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
        if code == compiled.SOFTMAX:
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
    sizes: Any, codes: Any, loss: Any, limit: Any, theta: Any, s: Any, v: Any, decay: Any, k: Any,
    code: Any, least: Any, adam: Any, x: Any, y: Any, order: Any, batch: Any, rates: Any, t: Any,
    losses: Any, failed: Any,
) -> None:  # fmt: skip
    """Train each network of a stack for as many epochs as there are losses after the first."""
    m, networks, P, number = x.shape[1], len(theta), theta.shape[1], type(theta[0, 0])
    steps, most = (m + batch - 1) // batch, form(theta[0, 0]).most
    neurons, vectors = np.zeros((3, sizes.sum()), theta.dtype), np.zeros((2, P), theta.dtype)
    z, a, delta, g, old = neurons[0], neurons[1], neurons[2], vectors[0], vectors[1]
    last, out = len(a) - sizes[-1], codes[-1]
    z_L, a_L, delta_L = z[last:], a[last:], delta[last:]
    for r in range(networks):
        x_r, y_r, theta_r = x[r if len(x) > 1 else 0], y[r if len(y) > 1 else 0], theta[r]
        s_r, v_r, decay_r, count = s[r], v[r], decay[r], 0
        for epoch in range(len(losses) - 1):
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
                    losses[0, r] = of_batch
                count += 1
                if failed[r]:
                    continue
                if len(adam):  # as `Adam.scales`
                    root = math.sqrt((1 - adam[1]) / (1 - adam[1] ** (t + count)))
                    k[compiled.EPSILON] = adam[2] / root
                    k[compiled.FACTOR] = (1 - adam[0]) / ((1 - adam[0] ** (t + count)) * root)
                eta = rates[step if len(rates) > 1 else 0, r if rates.shape[1] > 1 else 0]
                clearing = (t + count) % EVERY == 0
                for j in range(len(least)):  # in loops: numba takes seconds over a slice
                    k[compiled.LEAST_S + j] = least[j] if clearing else number(0)
                failed[r] = not abs(of_batch) <= most
                if not failed[r]:
                    failed[r] = step_of(code, theta_r, g, old, s_r, v_r, decay_r, eta, k)
            losses[epoch + 1, r] = total / m


def is_tiny(run: Any, batches: Batches, recipe: Any) -> bool:
    """Whether `train` is the fastest way, and does all that is asked for."""
    net, source, (rule, *beside, _, _) = run.net, batches.source, recipe
    if not isinstance(source, ArraySource) or source.lazy or source.weight is not None:
        return False
    networks = 1 if run.going is None else len(net)
    products = networks * batches.size * sum(n_in * n_out for n_in, n_out in pairwise(net.sizes))
    paired = net.loss_function.pair(net.activation[net.L])
    return products <= TINY and type(rule) in compiled.TABLE and not any([*beside, paired])


def in_rows(array: Array) -> Array:
    """Return a copy, (networks, ...), of an array like θ."""
    return np.array(array if array.ndim > 1 else array[None], order="C")


def tiny_epochs(run: Any, batches: Batches, one_epoch: Callable[[], Any]) -> Callable[[], Any]:
    """Return what trains a block of epochs by `train`, and gives their losses."""
    net, rule, size, rng, going = run.net, run.optimizer, batches.size, batches.rng, run.going
    source: Any = batches.source
    m, (networks, P) = source.m, np.atleast_2d(net.theta).shape
    scheduled = isinstance(rule.learning_rate, Schedule)
    most = min(BLOCK, 1 + WORK // (m * networks * P))
    most = 1 if run.watchers or run.measures or scheduled else most
    steps, orders = source.steps(size), networks if batches.shuffle == "each" else 1
    within = steps if scheduled and rule.schedule.every_step else 1
    x, y = (v if source.rows is None else v[..., source.rows, :] for v in (source.x, source.y))
    data = [np.ascontiguousarray(v if v.ndim == 3 else v[None]) for v in (x, y)]
    loss, limit = compiled.loss_code(net.loss_function, net.activation[net.L])
    codes = [compiled.activation_code(f) for f in net.activation.values()]
    of_net = np.array(net.sizes, np.uintp), np.array(codes), loss, np.array(limit, net.dtype)
    s, v, decay, k, least = compiled.optimizer_arguments(rule, net.theta, False)
    adam = np.array([rule.beta1, rule.beta2, rule.epsilon] if isinstance(rule, Adam) else [])
    of_rule = in_rows(decay), k, compiled.optimizer_code(rule), np.array(least, net.dtype), adam
    moving, again = (net.theta, s, v), 0  # the epoch up to which each is a block of its own

    def block() -> Any:
        nonlocal again
        epochs = 1 if run.epoch < again else min(most, run.epochs - run.epoch)
        order, before = np.empty((0, 0, 0), np.intp), None
        if batches.shuffle and size < m:  # the same draws as `ArraySource.epoch`'s
            before = rng.bit_generator.state
            order = rng.permuted(np.tile(np.arange(m), (epochs * orders, 1)), axis=1)
            order = order.reshape(epochs, orders, m)
        rates = []
        for i in range(within):
            rule.set_rate_at(run.epoch + i / within)
            rates.append(rule.rate.ravel())
        losses, moved = np.empty((1 + epochs, networks)), [in_rows(array) for array in moving]
        still = np.zeros(networks, bool) if going is None else ~going.mask
        failed, batch = still.copy(), (*data, order, size, np.array(rates), rule.t)
        train(*of_net, *moved, *of_rule, *batch, losses, failed)
        if (failed != still).any():
            if before is not None:
                rng.bit_generator.state = before
            again = run.epoch + epochs
            taken = block() if epochs > 1 else one_epoch()
            return taken if taken is None or epochs > 1 else [taken]
        for array, values in zip(moving, moved, strict=True):
            array[...] = values.reshape(array.shape)
        rule.t, run.step = rule.t + steps * epochs, steps
        first, *rest = losses[:, 0].tolist() if going is None else losses
        if run.trend.first is None:
            run.trend.begin(first, size * net.sizes[-1])
        return rest

    return block
