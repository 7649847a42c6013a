"""The two passes of `mlp.py` for one network, with everything but the products compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy import multiply

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.network.parameters import FIRST, by_layer
from bpnet.rules.compiled import activation_code, backward, forward, kind, loss_code, output
from bpnet.rules.subnormal import negligible


class Passes(NamedTuple):
    """What `make_passes` returns.

    Attributes
    ----------
    forward : callable
        Fills the cache from the x that it has read.
    backward : callable
        ``backward(y, share)`` fills the gradient, and returns the loss; share is each row's part
        in the mean, (m,), or None for 1/m.
    """

    forward: Callable[[], None]
    backward: Callable[[Array, Array | None], Any]


def make_passes(net: MLP, cache: Cache, grad: Gradient, *, clearing: bool = True) -> Passes:
    """Return the passes of one network, no stack, on these buffers; dropout as the cache has it.

    Parameters
    ----------
    net, cache, grad
        A net of rules of the tables, and its buffers.
    clearing : bool
        Whether what is very small in δ of the hidden layers is set to 0, as `subnormal.py` says.

    Raises
    ------
    ValueError
        If an activation or the loss is of the user's own.
    """
    L, W_T, W, b, dot = cache.L, net.parameters.W_T, net.W.list, net.b.list, net.parameters.dot
    z, a, fed, mask = cache.z.list, cache.a.list, cache.fed, cache.mask
    delta, delta_T, dW = grad.delta.list, grad.delta_T, grad.W.list
    db = grad.b.list if grad.ones is not None else [None] * (L + 1)  # else they are δ itself
    least = np.array(negligible(net.dtype) if clearing else 0.0, net.dtype)
    kinds = by_layer(FIRST, [kind(activation_code(f)) for f in net.activation.values()])
    code, limit = loss_code(net.loss_function, net.activation[L])
    of_loss = kinds[L], kind(code), np.array(limit, net.dtype), z[L], a[L]
    fs = by_layer(FIRST, [partial(forward, kinds[l], z[l], b[l], a[l]) for l in cache.layers])
    times_df = by_layer(
        FIRST,
        [partial(backward, kinds[l], least, z[l], a[l], delta[l], db[l]) for l in range(FIRST, L)],
    )

    def forward_pass() -> None:
        for l in cache.layers:
            dot(fed[l - 1], W_T[l], z[l])
            fs[l]()
            if l < L and mask[l] is not None:
                multiply(a[l], mask[l], fed[l])

    def backward_pass(y: Array, share: Array | None) -> Any:
        loss = output(*of_loss, y, share, delta[L], db[L])
        for l in cache.hidden_layers:
            dot(delta[l + 1], W[l + 1], delta[l])
            if mask[l] is not None:
                multiply(delta[l], mask[l], delta[l])
            times_df[l]()
        for l in cache.layers:
            dot(delta_T[l], fed[l - 1], dW[l])
        return loss

    return Passes(forward_pass, backward_pass)
