"""A small net or a stack of them, with a batch: what the tests of stacks take."""

import numpy as np

from bpnet import MLP

SIZES = (3, 4, 2)
X = np.array([[0.3, -1.2, 2.0], [1.5, 0.1, -0.4]])
Y = np.array([[0.2, 0.9], [0.7, 0.4]])


def make(networks=None, rng=0, **options):
    options = {"activation": ("tanh", "sigmoid")} | options
    return MLP.init(SIZES, rng=rng, networks=networks, **options)
