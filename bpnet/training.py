"""Training: batches, epochs and the history of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.initializers import Seed, generator
from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.optimizers import SGD
from bpnet.parameters import Array
from bpnet.passes import Cache, Gradient
from bpnet.validation import as_int


@dataclass
class History:
    """What training did, epoch by epoch.

    Attributes
    ----------
    loss : list of float
        The mean loss of the epoch's samples, each taken just before the step that used it.
    """

    loss: list[float] = field(default_factory=list)


def fit(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int,
    batch_size: int | None = 32,
    optimizer: SGD,
    rng: Seed = 0,
) -> History:
    """Train a net in place and return the history of its loss.

    Parameters
    ----------
    net : MLP
    x : array_like, shape (m, n_1)
    y : array_like, shape (m, n_L)
    epochs : int
        Passes over the data, > 0.
    batch_size : int or None
        Samples a step; 1 is online training as in the article, None the full batch. The order
        is drawn anew for each epoch; the last batch may be short.
    optimizer : SGD
    rng : int or numpy.random.Generator
        Draws the order of the samples.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        If the data do not fit the net, or an argument is out of range; before the first step.
    """
    x, y = net._rows(x, "x"), net._targets(y, net._rows(x, "x"))
    net._check_theta()
    epochs = as_int(epochs, "epochs", least=1)
    m = x.shape[-2]
    size = m if batch_size is None else min(as_int(batch_size, "batch_size", least=1), m)
    rng = generator(rng)
    optimizer.start(net.theta)
    history = History()
    work: dict[int, tuple[Cache, Gradient]] = {}
    with np.errstate(over="ignore", under="ignore"):
        for _ in range(epochs):
            total = 0.0
            for rows, targets in batches(x, y, size, rng):
                n = len(rows)
                if n not in work:
                    cache = Cache.empty(net, rows)
                    work[n] = cache, Gradient.empty(net, cache)
                cache, grad = work[n]
                cache.read(rows)
                forward_pass(net, cache)
                backward_pass(net, cache, targets, grad)
                total += n * grad.value(cache.z_list[-1], cache.a_list[-1], targets)
                optimizer.step(net.theta, grad.theta)
            history.loss.append(float(total) / m)
    return history


def batches(x: Array, y: Array, size: int, rng: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """Yield the batches of one epoch, in a new order unless one batch holds everything."""
    m = len(x)
    if size == m:
        yield x, y
        return
    order = rng.permutation(m)
    for start in range(0, m, size):
        index = order[start : start + size]
        yield x[index], y[index]
