"""Nets and batches to check gradients on."""

import numpy as np

from bpnet import MLP
from tests.helpers.strategies import HIDDEN, PAIRS, targets


def generated(seed):
    """A net, a batch and its options: depths 2 to 6, widths 1 to 8, batches of 1 to 7.

    Unlike the problems of `strategies` these may be saturated, and may sit on kinks.
    """
    rng = np.random.default_rng(seed)
    output, loss = PAIRS[seed % len(PAIRS)]
    sizes = tuple(int(n) for n in rng.integers(1, 9, size=rng.integers(2, 7)))
    layers = [*rng.choice(HIDDEN, size=len(sizes) - 2).tolist(), output]
    dtype = ("float64", "float32")[rng.integers(2)]
    net = MLP.init(sizes, activation=layers, loss=loss, rng=rng, dtype=dtype)
    if rng.random() < 0.7:  # else the biases are 0, which is where kinks are met
        net.theta = net.theta + 0.3 * rng.normal(size=net.theta.size)
    m = int(rng.integers(1, 8))
    x = rng.normal(size=(m, sizes[0]))
    if rng.random() < 0.2:
        x[0] = 0
    options = {}
    if rng.random() < 0.2:
        options["sample_weight"] = rng.random(m) + 0.1
    if rng.random() < 0.2:
        options["mask"] = {
            l: (rng.random((m, sizes[l - 1])) < 0.7) / 0.7 for l in range(1, len(sizes))
        }
    return net, x, targets(rng, loss, (m, sizes[-1])), options


def plain(sizes=(3, 5, 4, 2), m=6, seed=0, **options):
    """A smooth net away from any trouble, whose every derivative is of a size."""
    rng = np.random.default_rng(seed)
    net = MLP.init(sizes, rng=rng, **options)
    net.theta = net.theta + 0.3 * rng.normal(size=net.theta.size)
    return net, rng.normal(size=(m, sizes[0])), rng.random((m, sizes[-1]))


def gradient(net, x, y):
    return net.backward(net.forward(x), y).theta.copy()
