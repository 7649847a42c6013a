"""What tells how a training fares: flat slopes and gradients by layer, and which rates are of use.

A neuron's slope f'(z) is flat where it is below 5 % of the steepest that f has around 0. Then
hardly any of its error passes on. Only where f has a bound can it stay so: a sigmoid is saturated
near 0 or 1, a ReLU is dead below 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from math import inf, isinf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.errors import TrainingDiverged
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.rules.optimizers import SGD, Optimizer
from bpnet.training.callbacks import Training
from bpnet.training.fit import fit

FLAT, AROUND_0 = 0.05, np.linspace(-1, 1, 41)
RATES = tuple(float(f"{10.0 ** (k / 2):.1g}") for k in range(-9, 7))  # 3e-05, 0.0001, ... 1000
STEPS = 20  # at each of them


def flat_share(net: MLP, cache: Cache) -> dict[int, Array]:
    """Return by layer, for each neuron, (n_l,), the share of a pass's samples with a flat slope."""
    shares = {}
    for l, f in net.activation.items():
        steepest = np.abs(f.df(AROUND_0, f.f(AROUND_0))).max()
        flat = np.abs(f.df(cache.z[l], cache.a[l])) < FLAT * steepest
        shares[l] = flat.mean(axis=0) * (not all(map(isinf, f.range)))
    return shares


class LayerMonitor:
    """A callback that records by layer, on the samples x, y, before and after each epoch.

    Attributes
    ----------
    epoch : list of int
    gradient_norm : dict of int to list of float
        By layer, the length of ∂E/∂W^l.
    saturation : dict of int to list of float
        By layer, the share of its outputs that are saturated; of an activation with one bound, such
        as ReLU, the share of its neurons that are so on every sample: dead.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        self.x, self.y = x, y
        self.epoch: list[int] = []
        self.gradient_norm: dict[int, list[float]] = {}
        self.saturation: dict[int, list[float]] = {}

    def on_epoch_end(self, training: Training) -> None:
        """Record the net as it is now."""
        net = training.net
        if net.theta.ndim > 1:
            raise TypeError("LayerMonitor watches one network, not a stack")
        cache = net.forward(self.x)
        grad = net.backward(cache, self.y)
        self.epoch.append(training.epoch)
        for l, share in flat_share(net, cache).items():
            stuck = share == 1 if any(map(isinf, net.activation[l].range)) else share
            self.saturation.setdefault(l, []).append(float(stuck.mean()))
            self.gradient_norm.setdefault(l, []).append(float(np.linalg.norm(grad.W[l])))

    on_train_begin = on_epoch_end


def rate_range(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    optimizer: Optimizer | None = None,
    rates: Sequence[float] = RATES,
) -> Array:
    """Return, for each learning rate, the loss after some steps of a copy on the whole batch.

    They are steps of gradient descent, or of the optimizer given; inf is where training diverges.
    """
    losses = []
    for rate in rates:
        work: Any = net.copy()
        rule = SGD(rate) if optimizer is None else deepcopy(optimizer)
        rule.learning_rate = rate
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                fit(work, x, y, epochs=STEPS, batch_size=None, optimizer=rule)
                losses.append(work.loss(work.forward(x), y))
        except TrainingDiverged:
            losses.append(inf)
    return np.asarray(np.nan_to_num(losses, nan=inf, posinf=inf))
