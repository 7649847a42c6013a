"""A small regression, and one that overfits: what tests of watching a training train."""

import numpy as np

from bpnet import MLP, SGD, fit

X, Y = np.split(np.random.default_rng(4).normal(size=(20, 5)), [3], axis=1)
ZERO = np.zeros((4, 1))
FAR = np.full((4, 1), 2.6)  # passed after some steps


def make():
    return MLP.init((3, 4, 2), activation="tanh", output="identity", rng=1)


def drifting():
    """A net whose training loss falls and whose loss against FAR rises; both by steps of SGD."""
    net = MLP.init((1, 1), activation="identity", rng=0)
    net.theta = [0.0, 4.0]
    return net


def drift(net=None, **options):
    """Train a drifting net, or the one given, validated against FAR; return the history."""
    how = {"epochs": 50, "optimizer": SGD(0.1), "validation": (ZERO, FAR)} | options
    return fit(net or drifting(), ZERO, ZERO, **how)
