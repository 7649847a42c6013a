"""One training step: forward, backward, update, on buffers made once for a batch size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Any, NamedTuple, Self

import numpy as np
from numpy import add, subtract

from bpnet.arrays import Array, moved_out
from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.rules.update import make_update
from bpnet.training.regularization import Clip, Dropout, Frozen, Penalty

Failed = Callable[[Cache, Gradient, str, Any], None]
Take = Callable[[Array, Array | None], Any]
Call = Callable[..., Any]


class Recipe(NamedTuple):
    """What a step is made of: the optimiser, started on θ, and what goes with it.

    L-BFGS, which takes steps of its own, stands in the place of an optimiser too.
    """

    optimizer: Any
    penalty: Penalty
    dropout: Dropout
    clip: Clip
    frozen: Frozen

    @classmethod
    def plain(cls, net: MLP, optimizer: Any) -> Self:
        """Return the recipe with nothing beside the optimiser."""
        dropout = Dropout(net, {}, np.random.default_rng(0))
        return cls(optimizer, Penalty(net), dropout, Clip(), Frozen(net.sizes))

    def update(self, theta: Array, g: Array, move: Array) -> Call:
        """Return what writes the step into move, 0 where θ is frozen, and returns Σ move²."""
        update = make_update(self.optimizer, theta, g, move, decays=bool(self.penalty))
        if not self.frozen:
            return update

        def held() -> Any:
            squares = update()
            self.frozen.hold(move)
            return squares

        return held

    def of_network(self, k: int) -> Self:
        """Return the recipe for network k of a stack."""
        own = {"optimizer": self.optimizer.of_network(k), "penalty": self.penalty.of_network(k)}
        return self._replace(**own)


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
    take: Take


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
    net: MLP, x: Array, recipe: Recipe, failed: Failed, going: Going | None = None
) -> Step:
    """Return a step on batches shaped like x.

    Parameters
    ----------
    net : MLP
        Trained in place.
    x : array, shape (m, n_1), or (networks, m, n_1)
    recipe : Recipe
    failed : callable
        Called with the cache, the gradient, "loss" or "step", and which networks of a stack (None
        for one network), where one is not finite. Their θ stay as they are.
    going : Going, for a stack
        As from `going_of`; updated where networks fail.
    """
    lone = going is None and net.theta.ndim > 1  # a stack of one takes the passes of one
    one = net[0] if lone else net
    cache = Cache.empty(one.signature, one.theta, x[0] if lone and x.ndim == 3 else x)
    grad = Gradient.shared(one.theta, cache)
    theta, move = net.theta, np.empty_like(net.theta)
    g = grad.theta[None] if lone else grad.theta
    advance = make_advance(one, cache, grad, theta, g, recipe)
    update = recipe.update(theta, g, move)
    if going is not None:
        failing = partial(failed, cache, grad)
        return Step(cache.read, take_stack(advance, theta, move, update, failing, going))
    take = take_one(advance, theta, move, update, lambda what: failed(cache, grad, what, None))
    if lone:
        return Step(
            lambda x: cache.read(x if x.ndim == 2 else x[0]),
            lambda y, share: take(y if y.ndim == 2 else y[0], share),
        )
    return Step(cache.read, take)


def take_one(advance: Call, theta: Array, move: Array, update: Call, failed: Call) -> Take:
    """Return what takes a step of one network."""

    def take(y: Array, share: Array | None) -> Any:
        loss = advance(y, share)
        if not isfinite(loss + update()):  # which may have overflowed: look closer
            if not isfinite(loss):
                failed("loss")
                return loss
            if not np.isfinite(theta - move).all():
                failed("step")
                return loss
        subtract(theta, move, theta)
        return loss

    return take


def take_stack(
    advance: Call, theta: Array, move: Array, update: Call, failed: Call, going: Going
) -> Take:
    """Return what takes a step of all networks of a stack that are going."""

    def take(y: Array, share: Array | None) -> Any:
        loss: Array = advance(y, share)
        if not isfinite(add.reduce(loss) + update()):
            lost = np.asarray(moved_out(~np.isfinite(loss)))
            broken = np.asarray(moved_out(~np.isfinite(theta - move).all(axis=1))) & ~lost
            for what, networks in (("loss", lost & going.mask), ("step", broken & going.mask)):
                if networks.any():
                    failed(what, networks)
                    going.end(networks)
        if not going.all:
            move[~going.mask] = 0
        subtract(theta, move, theta)
        return loss

    return take


def make_advance(
    net: MLP, cache: Cache, grad: Gradient, theta: Array, g: Array, recipe: Recipe
) -> Call:
    """Return what computes the loss of a batch and, if asked, the gradient into g."""
    penalty, dropout, clip = recipe.penalty or None, recipe.dropout or None, recipe.clip or None
    hold = recipe.frozen.hold if recipe.frozen else None
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
        if hold is not None:
            hold(g)
        if clip is not None:
            clip.apply(g)  # which leaves a gradient that is not finite as it is
        return loss

    return advance
