"""The loss and the metrics of a net on data, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array, moved_out, number_or_array
from bpnet.checks import quiet, report_nan
from bpnet.mlp import MLP, forward_pass
from bpnet.network.cache import Cache
from bpnet.rules.metrics import Mean, Metric, as_metrics
from bpnet.training.data import CHUNK, ArraySource, Remote, StreamSource, combined_weight
from bpnet.training.history import History


class Evaluation(NamedTuple):
    """What is measured after each epoch, on validation data or else on the data to train on."""

    held: ArraySource | None
    source: ArraySource | StreamSource
    metrics: dict[str, Metric]

    def record(self, net: MLP, history: History) -> None:
        """Add what is measured of a net to the history: all of it, or an error of a metric."""
        loss, values = evaluate_source(net, self.held or self.source, self.metrics)
        if self.held is not None:
            history.validation_loss.append(loss)
        for name, value in values.items():
            history.metrics[name].append(value)


def evaluate_source(
    net: MLP, source: ArraySource | StreamSource, metrics: dict[str, Metric]
) -> tuple[Any, dict[str, Any]]:
    """Return the loss and each metric; outputs are kept only for functions of the user's own."""
    if isinstance(source, Remote):
        return source.evaluate(net, metrics)
    work: dict[int, Cache] = {}
    total, mass = np.float64(0), 0.0  # losses in float32 too are added in float64
    in_parts = {name: rule for name, rule in metrics.items() if isinstance(rule, Mean)}
    so_far: dict[str, Any] = dict.fromkeys(in_parts)
    kept: list[tuple[Array, Array]] = []
    for x, y, share, rows, mass_of_part in source.epoch(CHUNK, None):
        weight = None if share is None else rows * share.astype(np.float64)
        if rows not in work:
            work[rows] = Cache.empty(net.signature, net.theta, x)
        cache = work[rows]
        cache.read(x)
        cache.weigh(share)
        with quiet():
            forward_pass(net, cache)
            total += rows * cache.loss(y)
        mass += mass_of_part
        y, a = moved_out(y), moved_out(cache.a.list[-1])
        for name, rule in in_parts.items():
            if mass_of_part:
                so_far[name] = rule.add(so_far[name], y, a, weight)
        if len(in_parts) < len(metrics):
            kept.append((y.copy(), a.copy()))
    values = {name: rule.value(so_far[name]) for name, rule in in_parts.items()}
    if kept:
        y, a = (np.concatenate(part, axis=-2) for part in zip(*kept, strict=True))
        values |= {name: measured(metrics[name], y, a) for name in metrics if name not in values}
    return number_or_array(total / mass), {name: values[name] for name in metrics}


def measured(metric: Metric, y: Array, a: Array) -> Any:
    """Return a metric of the outputs as a float, for a stack one a network."""
    if a.ndim == 3:
        each = enumerate(a)
        return np.array([measured(metric, y[k] if y.ndim == 3 else y, a_k) for k, a_k in each])
    value = np.asarray(metric(y, a))
    if value.ndim or value.dtype.kind not in "biuf":
        name = getattr(metric, "__name__", repr(metric))
        raise TypeError(f"the metric {name} must return one number, not {value.tolist()!r}")
    return float(value)


def check_metrics(metrics: dict[str, Metric], source: ArraySource | StreamSource) -> None:
    """Raise for metrics that cannot be taken of these data: as far as arrays show it beforehand."""
    if not isinstance(source, ArraySource):
        if metrics:
            raise ValueError("metrics of an iterable need validation=(x, y)")
        return
    for name, rule in metrics.items():
        if source.weight is not None and not isinstance(rule, Mean):
            text = "takes no weights: measure it on data without, or one by name"
            raise TypeError(f"the metric {name} {text}")
        if isinstance(rule, Mean) and not source.lazy:
            so_far = None
            for start in range(0, source.y.shape[-2], CHUNK):
                part = moved_out(source.y[..., start : start + CHUNK, :])
                so_far = rule.add(so_far, part, part)
            rule.value(so_far)


def evaluate(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    *,
    metrics: str | Metric | Sequence[str | Metric] = (),
    sample_weight: ArrayLike | None = None,
) -> dict[str, Any]:
    """Return the "loss" and each metric of a net on some data by its name, in constant memory.

    Parameters
    ----------
    net : MLP
    x, y : as in `fit`
    metrics : as in `fit`
        One of your own is given all targets and outputs at once, which are kept for it.
    sample_weight : array_like, shape (m,), optional
        For the loss and the metrics by name.
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net must be an MLP, not {type(net).__name__}")
    net.parameters.check_finite()
    source = ArraySource(net, x, y)
    source.weight = combined_weight(source.y, sample_weight, None)
    named = as_metrics(metrics, net.loss_function)
    check_metrics(named, source)
    loss, values = evaluate_source(net, source, named)
    report_nan(np.asarray(loss, net.dtype), "the loss")
    return {"loss": loss, **values}
