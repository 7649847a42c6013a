"""A step of a stack of large networks: one after another, on the same buffers."""

from functools import partial
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.step import Failed, Going, Recipe, Step, make_advance, take_one


def make_turns(net: MLP, x: Array, recipe: Recipe, failed: Failed, going: Going) -> Step:
    """Return a step that takes the networks of a stack in turn; parameters as in `make_step`."""
    nets, optimizer = list(net), recipe.optimizer
    cache = Cache.empty(nets[0].signature, nets[0].theta, x if x.ndim == 2 else x[0])
    grad = Gradient.empty(nets[0].theta, cache)
    move = np.empty_like(nets[0].theta)

    def fail(k: int, what: str) -> None:
        this = np.arange(len(nets)) == k
        failed(cache, grad, what, this)
        going.end(this)

    rules, advances, takes, own_x = [], [], [], None
    for k, one in enumerate(nets):
        own, theta, g = recipe.of_network(k), one.theta, grad.theta
        rules.append(own.optimizer)
        advances.append(make_advance(one, cache, grad, theta, g, own))
        update = own.update(theta, g, move)
        takes.append(take_one(advances[k], update, partial(fail, k)))

    def take(y: Array, share: Array | None) -> Any:
        losses = np.empty(len(nets))
        for k, rule in enumerate(rules):
            rule.follow(optimizer)
            if own_x is not None:
                cache.read(own_x[k])
            y_k = y if y.ndim == 2 else y[k]
            share_k = share if share is None or share.ndim == 1 else share[k]
            moves = going.all or going.mask[k]
            losses[k] = takes[k](y_k, share_k) if moves else advances[k](y_k, share_k, False)
        optimizer.t += 1
        return losses

    def read(x: Array) -> None:
        nonlocal own_x
        own_x = x if x.ndim == 3 else None
        if own_x is None:
            cache.read(x)

    return Step(read, take)
