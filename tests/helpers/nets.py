"""Nets to prove gradients on: all by the one generator, `bpnet.testing`."""

import numpy as np

from bpnet import MLP
from bpnet.rules.activations import ACTIVATIONS
from bpnet.testing import case
from bpnet.testing.cases import draw_batch
from bpnet.testing.strategies import Plan

HIDDEN = [name for name, f in ACTIVATIONS.items() if not f.rows_sum_to_one]
PAIRS = [(output.name, loss.name) for output, loss in Plan.of().pairs]


def plain(sizes=(3, 5, 4, 2), m=6, **options):
    """A smooth net away from any trouble, whose every derivative is of a size."""
    return case(sizes, m=m, **options)


def generated(seed):
    """A net as it is before training, a batch and options; some saturated, some on kinks."""
    rng = np.random.default_rng(seed)
    net = MLP.init(**Plan.of().draw(lambda choices: choices[rng.integers(len(choices))]), rng=rng)
    if rng.random() < 0.7:  # else the biases are 0, which is where kinks are met
        net.theta = net.theta + 0.3 * rng.normal(size=net.theta.size)
    m = int(rng.integers(1, 8))
    x, y = draw_batch(net, m, rng)
    if rng.random() < 0.2:
        x[0] = 0
    options = {}
    if rng.random() < 0.2:
        options["sample_weight"] = rng.random(m) + 0.1
    if rng.random() < 0.2:
        masks = enumerate(net.sizes[:-1], 1)
        options["mask"] = {l: (rng.random((m, n)) < 0.7) / 0.7 for l, n in masks}
    return net, x, y, options


def is_smooth(net, x, y, room=1e-3):
    """Whether no jump of a derivative is near, so that differences mean something."""
    cache = net.forward(x)
    off = np.abs(cache.a[net.L] - y)
    near = [np.abs(cache.z[l]) for l, f in net.activation.items() if f.kinks]
    near += {"absolute_error": [off], "huber": [np.abs(off - 1)]}.get(net.loss_function.name, [])
    return all(distance.min() > room for distance in near)


def gradient(net, x, y, **options):
    return net.backward(net.forward(x), y, **options).theta.copy()


def assert_close(got, expected, tolerance):
    """Relative to the largest entry, or to 1e-3 where all of them cancel (softmax of one)."""
    assert np.shape(got) == np.shape(expected)
    largest = max(np.abs(expected).max(), 1e-3)
    assert np.abs(np.asarray(got) - expected).max() <= tolerance * largest
