"""One training step: forward, backward, update, on buffers made once for a batch size."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy import subtract

from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.parameters import Array
from bpnet.passes import Cache, Gradient

if TYPE_CHECKING:
    from bpnet.optimizers import Optimizer
    from bpnet.regularization import Clip, Dropout, Penalty

Failed = Callable[[Cache, Gradient, str, Any], None]


SHORT = 10_000  # numbers; BLAS takes longer vectors to several threads, which may wait for a core


def sum_of_squares(v: Array) -> Callable[[], Any]:
    """Return a function that gives Σ v²: not finite if one of v is not, or if it overflows."""
    if v.size <= SHORT:
        return lambda: v.dot(v)
    parts = [v[start : start + SHORT] for start in range(0, v.size, SHORT)]

    def total() -> Any:
        found = 0.0
        for part in parts:
            found += part.dot(part)
        return found

    return total


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
    x : array, shape (m, n_1)
    optimizer : Optimizer
        Started on the net's θ.
    failed : callable
        Called before θ changes, with the cache, the gradient, "loss" or "step", and which
        networks of a stack (None for one network), where one is not finite. For one network
        it must raise.
    penalty, dropout, clip : optional
        What the step does beside.
    going : Going, for a stack
        Updated where networks fail.
    """
    theta = net.theta
    # A stack of one takes the passes of one network, which cost less a call.
    alone = going is not None and len(net) == 1
    one = net[0] if alone else net
    cache = Cache.empty(one, x[0] if alone and x.ndim == 3 else x)
    grad = Gradient.empty(one, cache)
    g = grad.theta[None] if alone else grad.theta
    value, z, a = grad.value, cache.z_list[-1], cache.a_list[-1]
    compute, move = optimizer.compute, np.empty_like(theta)
    flat = move.ravel(order="K")  # a view, whatever the order in memory
    squares = sum_of_squares(flat)

    def advance(y: Array, share: Array | None) -> Any:
        """Write the step into move; return the loss."""
        if dropout is not None:
            dropout.draw(cache)
        forward_pass(one, cache)
        if share is None:
            loss = value(z, a, y)
        else:
            grad.weigh(share)
            loss = grad.loss(cache, y)
        backward_pass(one, cache, y, grad)
        if penalty is not None:
            penalty.add(theta, g)
        if clip is not None:
            clip.apply(g)  # which leaves a gradient that is not finite as it is
        optimizer.t += 1
        compute(theta, g, move)
        return loss

    def take(y: Array, share: Array | None) -> Any:
        loss = advance(y, share)
        if not isfinite(loss + squares()):  # which may have overflowed: look closer
            if not isfinite(loss):
                failed(cache, grad, "loss", None)
            if not np.isfinite(move).all():
                failed(cache, grad, "step", None)
        subtract(theta, move, theta)
        return loss

    def take_stack(y: Array, share: Array | None) -> Any:
        assert going is not None
        if alone:
            y = y[0] if y.ndim == 3 else y
            share = share[0] if share is not None and share.ndim == 2 else share
        loss: Array = np.reshape(advance(y, share), len(theta))
        if not isfinite(loss.sum() + squares()):
            lost: Array = ~np.isfinite(loss)
            broken: Array = ~np.isfinite(move).all(axis=1)
            for what, networks in (
                ("loss", lost & going.mask),
                ("step", broken & ~lost & going.mask),
            ):
                if networks.any():
                    failed(cache, grad, what, networks)
                    going.end(networks)
        if not going.all:
            move[~going.mask] = 0
        subtract(theta, move, theta)
        return loss

    def read(x: Array) -> None:
        cache.read(x[0] if alone and x.ndim == 3 else x)

    return Step(read, take if going is None else take_stack)
