"""One training step: forward, backward, update, on buffers made once for a batch size."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy import add

from bpnet.arrays import Array
from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.rules.update import make_update

if TYPE_CHECKING:
    from bpnet.rules.optimizers import Optimizer
    from bpnet.training.regularization import Clip, Dropout, Penalty

Failed = Callable[[Cache, Gradient, str, Any], None]


class Step(NamedTuple):
    """What `make_step` returns.

    Attributes
    ----------
    read : callable
        ``read(x)`` sets the batch, which is not copied.
    take : callable
        ``take(y, share)`` takes the step on it and returns the loss before the update; share is
        each row's part in the mean, (m,), or None for 1/m.
    """

    read: Callable[[Array], None]
    take: Callable[[Array, Array | None], Any]


class Going:
    """Which networks of a stack still train; the others stand still.

    Attributes
    ----------
    mask : array of bool, shape (networks,)
    """

    def __init__(self, networks: int) -> None:
        self.mask = np.ones(networks, bool)
        self.all = True

    def end(self, networks: Array) -> None:
        """Let these networks, a mask, stand still from now on."""
        self.mask &= ~networks
        self.all = bool(self.mask.all())


def going_of(net: MLP) -> Going | None:
    """Return that all networks of a stack still train; None for one network, stacked or not."""
    return Going(len(net)) if net.theta.ndim > 1 and len(net) > 1 else None


def make_step(
    net: MLP,
    x: Array,
    optimizer: Optimizer,
    failed: Failed,
    *,
    penalty: Penalty | None = None,
    dropout: Dropout | None = None,
    clip: Clip | None = None,
    going: Going | None = None,
) -> Step:
    """Return a step on batches shaped like x.

    Parameters
    ----------
    net : MLP
        Trained in place.
    x : array, shape (m, n_1), or (networks, m, n_1)
    optimizer : Optimizer
        Started on the net's θ.
    failed : callable
        Called before θ changes, with the cache, the gradient, "loss" or "step", and which
        networks of a stack (None for one network), where one is not finite. For one network
        it must raise.
    penalty, dropout, clip : optional
        What the step does beside.
    going : Going, for a stack
        As from `going_of`; updated where networks fail.
    """
    lone = going is None and net.theta.ndim > 1  # a stack of one takes the passes of one
    one = net[0] if lone else net
    cache = Cache.empty(one.signature, one.theta, x[0] if lone and x.ndim == 3 else x)
    grad = Gradient.shared(one.theta, cache)
    theta, move = net.theta, np.empty_like(net.theta)
    g = grad.theta[None] if lone else grad.theta
    advance = make_advance(one, cache, grad, theta, g, penalty, dropout, clip)
    update = make_update(optimizer, theta, g, move, decays=penalty is not None)
    compute, apply = update.compute, update.apply

    def take(y: Array, share: Array | None) -> Any:
        loss = advance(y, share)
        if not isfinite(loss + compute()):  # which may have overflowed: look closer
            update.undo()
            if not isfinite(loss):
                failed(cache, grad, "loss", None)
            if update.broken():
                failed(cache, grad, "step", None)
        apply()
        return loss

    def take_stack(y: Array, share: Array | None) -> Any:
        assert going is not None
        loss: Array = advance(y, share)
        if not isfinite(add.reduce(loss) + compute()):
            lost = np.asarray(~np.isfinite(loss))
            broken = update.broken()
            for what, networks in (
                ("loss", lost & going.mask),
                ("step", broken & ~lost & going.mask),
            ):
                if networks.any():
                    failed(cache, grad, what, networks)
                    going.end(networks)
        if not going.all:
            move[~going.mask] = 0
        apply()
        return loss

    if lone:
        return Step(
            lambda x: cache.read(x if x.ndim == 2 else x[0]),
            lambda y, share: take(y if y.ndim == 2 else y[0], share),
        )
    return Step(cache.read, take if going is None else take_stack)


def make_advance(
    net: MLP,
    cache: Cache,
    grad: Gradient,
    theta: Array,
    g: Array,
    penalty: Penalty | None,
    dropout: Dropout | None,
    clip: Clip | None,
) -> Callable[..., Any]:
    """Return what computes the loss of a batch and, if asked, the gradient into g."""
    value, z, a = cache.value, cache.z.list[-1], cache.a.list[-1]

    def advance(y: Array, share: Array | None, moving: bool = True) -> Any:
        if dropout is not None:
            dropout.draw(cache)
        forward_pass(net, cache)
        if share is None:
            loss = value(z, a, y)
        else:
            cache.weigh(share)
            loss = cache.loss(y)
        if not moving:
            return loss
        backward_pass(net, cache, y, grad)
        if penalty is not None:
            penalty.add(theta, g)
        if clip is not None:
            clip.apply(g)  # which leaves a gradient that is not finite as it is
        return loss

    return advance
