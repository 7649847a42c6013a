"""Nets with a batch, for worked solutions."""

import numpy as np

from bpnet import MLP


def problem(sizes, activation, loss="half_squared_error", *, m=1, seed=0, dtype="float64"):
    """A net with weights of a size, a batch, and targets that suit every loss."""
    rng = np.random.default_rng(seed)
    net = MLP.init(sizes, activation=activation, loss=loss, rng=rng, dtype=dtype)
    net.theta = 0.6 * rng.normal(size=net.theta.size)
    y = rng.uniform(0.1, 0.9, size=(m, sizes[-1]))
    if net.loss_function.distribution:
        y /= y.sum(axis=1, keepdims=True)
    return net, rng.normal(size=(m, sizes[0])), y
