"""A step of a stack of large networks: one after another, on the same buffers."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet.arrays import Array, better_in_turn
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.rules.update import make_update
from bpnet.training.step import Failed, Going, Step, make_advance, make_step

if TYPE_CHECKING:
    from bpnet.rules.optimizers import Optimizer
    from bpnet.training.regularization import Clip, Dropout, Penalty


def make_best_step(
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
    """Return `make_turns` where a stack trains faster so, else `make_step`; parameters as there."""
    if going is not None and better_in_turn(net.theta, x.shape[-2]):
        return make_turns(net, x, optimizer, failed, going, penalty, dropout, clip)
    return make_step(
        net, x, optimizer, failed, penalty=penalty, dropout=dropout, clip=clip, going=going
    )


def make_turns(
    net: MLP,
    x: Array,
    optimizer: Optimizer,
    failed: Failed,
    going: Going,
    penalty: Penalty | None,
    dropout: Dropout | None,
    clip: Clip | None,
) -> Step:
    """Return a step that takes the networks of a stack one after another, on the same buffers.

    Parameters as in `make_step`.
    """
    nets = list(net)
    cache = Cache.empty(nets[0].signature, nets[0].theta, x if x.ndim == 2 else x[0])
    grad = Gradient.empty(nets[0].theta, cache)
    move = np.empty_like(nets[0].theta)
    rules, advances, updates = [], [], []
    for k, one in enumerate(nets):
        rule, own = optimizer.of_network(k), penalty and penalty.of_network(k)
        rules.append(rule)
        theta, g = one.theta, grad.theta
        advances.append(make_advance(one, cache, grad, theta, g, own, dropout, clip))
        updates.append(make_update(rule, theta, g, move, decays=own is not None))
    own_x = None

    def take(y: Array, share: Array | None) -> Any:
        losses = np.empty(len(nets))
        for k in range(len(nets)):
            if own_x is not None:
                cache.read(own_x[k])
            y_k = y if y.ndim == 2 else y[k]
            share_k = share if share is None or share.ndim == 1 else share[k]
            moving = going.all or going.mask[k]
            loss = losses[k] = advances[k](y_k, share_k, moving)
            if not moving:
                continue
            rules[k].follow(optimizer)
            update = updates[k]
            if isfinite(loss + update.compute()) or (isfinite(loss) and not update.broken()):
                update.apply()
            else:
                update.undo()
                this = np.arange(len(nets)) == k
                failed(cache, grad, "step" if isfinite(loss) else "loss", this)
                going.end(this)
        optimizer.t += 1
        return losses

    def read(x: Array) -> None:
        nonlocal own_x
        own_x = x if x.ndim == 3 else None
        if own_x is None:
            cache.read(x)

    return Step(read, take)
