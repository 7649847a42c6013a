"""The loss and the metrics of a net on data, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.batches import CHUNK, ArraySource, combined_weight
from bpnet.metrics import Metric, as_metrics
from bpnet.mlp import MLP, forward_pass
from bpnet.parameters import Array
from bpnet.passes import Cache, Gradient


def evaluate_source(
    net: MLP, source: ArraySource, metrics: dict[str, Metric]
) -> tuple[float, dict[str, Any]]:
    """Return the loss and each metric; the outputs are kept only where a metric needs them."""
    work: dict[int, tuple[Cache, Gradient]] = {}
    total, mass = 0.0, 0.0
    kept: list[tuple[Array, Array]] = []
    for x, y, share, weight in source.epoch(CHUNK, None):
        m = x.shape[-2]
        if m not in work:
            cache = Cache.empty(net, x)
            work[m] = cache, Gradient.empty(net, cache)
        cache, grad = work[m]
        cache.read(x)
        forward_pass(net, cache)
        grad.weigh(share)
        total += weight * grad.loss(cache, y)
        mass += weight
        if metrics:
            kept.append((y.copy(), cache.a_list[-1].copy()))
    loss = total / mass
    if not metrics:
        return loss, {}
    y_all, a_all = (np.concatenate(part, axis=-2) for part in zip(*kept, strict=True))
    return loss, {name: metric(y_all, a_all) for name, metric in metrics.items()}


def evaluate(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    *,
    metrics: str | Metric | Sequence[str | Metric] = (),
    sample_weight: ArrayLike | None = None,
) -> dict[str, Any]:
    """Return the loss and the metrics of a net on some data, in constant memory.

    Parameters
    ----------
    net : MLP
    x : array_like, shape (m, n_1)
    y : array_like, shape (m, n_L)
    metrics : as in `fit`
    sample_weight : array_like, shape (m,), optional
        For the loss.

    Returns
    -------
    dict
        "loss", and each metric by its name.
    """
    source = ArraySource(net, x, y)
    source.weight = combined_weight(source.y, sample_weight, None)
    with np.errstate(over="ignore", under="ignore"):
        loss, values = evaluate_source(net, source, as_metrics(metrics))
    return {"loss": loss, **values}
