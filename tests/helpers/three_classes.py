"""A few samples of three classes and a small net for them: what tests of `fit`'s data train."""

import numpy as np

from bpnet import MLP, SGD, fit

X = np.random.default_rng(2).normal(size=(23, 4))
LABELS = np.random.default_rng(3).integers(3, size=23)
Y = np.eye(3)[LABELS]


def make(dtype="float64", **options):
    options = {"activation": ("tanh", "softmax"), "loss": "cross_entropy"} | options
    return MLP.init((4, 5, 3), rng=5, dtype=dtype, **options)


def trained(*data, dtype="float64", **options):
    net = make(dtype)
    history = fit(net, *data, **({"epochs": 3, "optimizer": SGD(0.2)} | options))
    return net.theta, history.loss


def assert_same(first, second):
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]
