"""A small regression for a stack of networks, and how many of them train in each of three ways."""

import numpy as np

from bpnet import MLP

SIZES = (3, 4, 2)
M = 13  # so that the last batch of 4 is short


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape)


X = noise(M, 3)
Y = np.sin(2 * X[:, :2] + X[:, 1:] * X[:, 2:])
X_HELD, Y_HELD = np.split(noise(9, 5), [3], axis=1)
WAYS = {"matmul": 5, "networks fastest": 100, "in turns": 5}


def make(networks=5, activation=("tanh", "identity"), rng=0):
    return MLP.init(SIZES, activation=activation, networks=networks, rng=rng)
