"""One training step: forward, backward, update, on buffers made once for a batch size."""

from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Any, NamedTuple, Self

import numpy as np
from numpy import add

from bpnet.arrays import Array
from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.rules.subnormal import FEW, SmallErrors
from bpnet.rules.update import Update, in_two_parts, make_update
from bpnet.training.regularization import Clip, Dropout, Frozen, Penalty

Failed = Callable[[Cache, Gradient, str, Any], None]
Take = Callable[[Array, Array | None], Any]
Call = Callable[..., Any]


class Recipe(NamedTuple):
    """What a step is made of: the optimiser, started on θ, and what goes with it."""

    optimizer: Any  # or L-BFGS, which takes steps of its own
    penalty: Penalty
    dropout: Dropout
    clip: Clip
    frozen: Frozen
    small: SmallErrors
    compiled: bool = False

    @classmethod
    def plain(cls, net: MLP, optimizer: Any) -> Self:
        """Return the recipe with nothing beside the optimiser."""
        dropout = Dropout(net, {}, np.random.default_rng(0))
        return cls(optimizer, Penalty(net), dropout, Clip(), Frozen(net.sizes), SmallErrors())

    def update(self, theta: Array, g: Array, move: Array) -> Update:
        """Return the update of these arrays, whose step is 0 where θ is frozen."""
        arrays, decays = (self.optimizer, theta, g, move), bool(self.penalty)
        if self.compiled and theta.ndim == 1 and not self.frozen:
            from bpnet.rules import compiled

            return compiled.make_update(*arrays, decays=decays)
        update = in_two_parts(make_update(*arrays, decays=decays), theta, move)
        if not self.frozen:
            return update

        def held() -> Any:
            number = update.compute()
            self.frozen.hold(move)
            return number

        return update._replace(compute=held)

    def of_network(self, k: int) -> Self:
        """Return the recipe for network k of a stack."""
        own = {"optimizer": self.optimizer.of_network(k), "penalty": self.penalty.of_network(k)}
        return self._replace(**own, small=SmallErrors(self.small.layers, k))


class Step(NamedTuple):
    """What `make_step` returns."""

    read: Callable[[Array], None]  # (x): sets the batch, which is not copied
    take: Take  # (y, share): takes the step, and returns the loss before the update


class Going:
    """Which networks of a stack, a ``mask``, still train; the others stand still."""

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


def make_step(net: MLP, x: Array, recipe: Recipe, failed: Failed, going: Going | None = None) -> Step:
    """Return a step of a net on batches shaped like x, (m, n_1) or (networks, m, n_1)."""
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
        return Step(cache.read, take_stack(advance, move, update, failing, going))
    take = take_one(advance, update, lambda what: failed(cache, grad, what, None))
    if lone:
        return Step(
            lambda x: cache.read(x if x.ndim == 2 else x[0]),
            lambda y, share: take(y if y.ndim == 2 else y[0], share),
        )
    return Step(cache.read, take)


def take_one(advance: Call, update: Update, failed: Call) -> Take:
    """Return what takes a step of one network."""
    compute, apply = update.compute, update.apply

    def take(y: Array, share: Array | None) -> Any:
        loss = advance(y, share)
        if not isfinite(loss + compute()):  # which may have overflowed: look closer
            lost = not isfinite(loss)
            if lost or update.broken():
                update.undo()
                failed("loss" if lost else "step")
                return loss
        apply()
        return loss

    return take


def take_stack(advance: Call, move: Array, update: Update, failed: Call, going: Going) -> Take:
    """Return what takes a step of all networks of a stack that are going."""
    compute, apply = update.compute, update.apply

    def take(y: Array, share: Array | None) -> Any:
        loss: Array = advance(y, share)
        if not isfinite(add.reduce(loss) + compute()):
            lost = np.asarray(~np.isfinite(loss))
            broken = update.broken() & ~lost
            for what, networks in (("loss", lost & going.mask), ("step", broken & going.mask)):
                if networks.any():
                    failed(what, networks)
                    going.end(networks)
        if not going.all:
            move[~going.mask] = 0
        apply()
        return loss

    return take


def make_advance(net: MLP, cache: Cache, grad: Gradient, theta: Array, g: Array, recipe: Recipe) -> Call:
    """Return what computes the loss of a batch and, if asked, the gradient into g."""
    penalty, dropout, clip = recipe.penalty or None, recipe.dropout or None, recipe.clip or None
    hold = recipe.frozen.hold if recipe.frozen else None
    value, z, a, output = cache.value, cache.z.list[-1], cache.a.list[-1], None
    if recipe.compiled and net.theta.ndim == 1:
        from bpnet.training.compiled import compile_kernels

        output = compile_kernels(cache, grad)
    watching = [l for l in cache.hidden_layers if cache.z.list[l].size > FEW and output is None]
    for l in watching:
        watched = recipe.small.watched(l, cache.times_df[l], grad.delta.list[l])
        cache.pairs[l], cache.times_df[l] = (cache.f[l], watched), watched

    def advance(y: Array, share: Array | None, moving: bool = True) -> Any:
        if dropout is not None:
            dropout.draw(cache)
        forward_pass(net, cache)
        if output is not None:
            loss = output(y, share)
        elif share is None:
            loss = value(z, a, y)
        else:
            cache.weigh(share)
            loss = cache.loss(y)
        if not moving:
            return loss
        if watching:
            recipe.small.t = recipe.optimizer.t
        backward_pass(net, cache, y, grad)
        if penalty is not None:
            penalty.add(theta, g)
        if hold is not None:
            hold(g)
        if clip is not None:
            clip.apply(g)  # which leaves a gradient that is not finite as it is
        return loss

    return advance
