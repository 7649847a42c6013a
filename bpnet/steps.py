"""One training step: forward, backward, update, on buffers made once for a batch size."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy import subtract

from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.parameters import Array
from bpnet.passes import Cache, Gradient

if TYPE_CHECKING:
    from bpnet.optimizers import Optimizer
    from bpnet.regularization import Clip, Dropout, Penalty

Step = Callable[[Array, Array | None], Any]
Failed = Callable[[Cache, Gradient, str], NoReturn]


def make_step(
    net: MLP,
    cache: Cache,
    optimizer: Optimizer,
    failed: Failed,
    *,
    penalty: Penalty | None = None,
    dropout: Dropout | None = None,
    clip: Clip | None = None,
) -> Step:
    """Return a function that takes a step on the batch that the cache reads.

    Parameters
    ----------
    net : MLP
        Trained in place.
    cache : Cache
        ``cache.read(x)`` sets the batch.
    optimizer : Optimizer
        Started on the net's θ.
    failed : callable
        Called with the cache, the gradient and "loss" or "step" where one is not finite; it
        raises, before θ has changed.
    penalty, dropout, clip : optional
        What the step does beside.

    Returns
    -------
    callable
        ``step(y, share)`` returns the loss before the update; share is each row's part in the
        mean, (m,), or None for 1/m.
    """
    grad = Gradient.empty(net, cache)
    theta, g = net.theta, grad.theta
    value, z, a = grad.value, cache.z_list[-1], cache.a_list[-1]
    move_of = optimizer.move

    def step(y: Array, share: Array | None) -> Any:
        if dropout is not None:
            dropout.draw(cache)
        forward_pass(net, cache)
        if share is None:
            loss = value(z, a, y)
        else:
            grad.weigh(share)
            loss = grad.loss(cache, y)
        if not isfinite(loss):
            failed(cache, grad, "loss")
        backward_pass(net, cache, y, grad)
        if penalty is not None:
            penalty.add(theta, g)
        if clip is not None:
            clip.apply(g)
        move = move_of(theta, g)
        if not (isfinite(move.dot(move)) or np.isfinite(move).all()):
            failed(cache, grad, "step")
        subtract(theta, move, theta)
        return loss

    return step
