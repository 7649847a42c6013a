"""Measures of a network's outputs a against targets y, both (m, n_L); by name or as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bpnet.arrays import Array

Metric = Callable[[Array, Array], Any]


def accuracy(y: Array, a: Array) -> float:
    """Return the fraction of samples whose class is right.

    The class is the largest of several outputs, or whether a single one is at least ½.
    """
    if y.shape[-1] == 1:
        return float(np.mean((a >= 0.5) == (y >= 0.5)))
    return float(np.mean(a.argmax(axis=-1) == y.argmax(axis=-1)))


def mean_squared_error(y: Array, a: Array) -> float:
    """Return the mean of (a - y)² over samples and outputs."""
    return float(np.mean(np.square(a - y)))


def mean_absolute_error(y: Array, a: Array) -> float:
    """Return the mean of |a - y| over samples and outputs."""
    return float(np.mean(np.abs(a - y)))


def r2(y: Array, a: Array) -> float:
    """Return 1 - Σ (a - y)² / Σ (y - mean y)², averaged over outputs.

    An output whose targets are all equal counts 1 where it is met exactly, else 0.
    """
    residual = np.square(a - y).sum(axis=0)
    total = np.square(y - y.mean(axis=0)).sum(axis=0)
    constant = total == 0
    score = 1 - residual / np.where(constant, 1, total)
    return float(np.mean(np.where(constant, residual == 0, score)))


METRICS: dict[str, Metric] = {
    rule.__name__: rule for rule in (accuracy, mean_squared_error, mean_absolute_error, r2)
}


def as_metrics(metrics: str | Metric | Sequence[str | Metric]) -> dict[str, Metric]:
    """Return the metrics by name; a function goes by its own name.

    Raises
    ------
    TypeError
        If one is neither a name nor a function.
    ValueError
        If a name is unknown, or two metrics have the same name.
    """
    single = isinstance(metrics, str) or callable(metrics)
    if not single and not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be names or functions of (y, a), not {metrics!r}")
    listed: Sequence[Any] = [metrics] if single else list(metrics)  # type: ignore[arg-type]  # mypy does not follow `single`
    found: dict[str, Metric] = {}
    for metric in listed:
        if isinstance(metric, str) and metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}: the known ones are {', '.join(METRICS)}")
        if not (isinstance(metric, str) or callable(metric)):
            raise TypeError(f"a metric is a name or a function of (y, a), not {metric!r}")
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
        if name in found or name in ("epoch", "loss", "validation_loss", "learning_rate", "time"):
            raise ValueError(f"a metric cannot be called {name!r}: that column is there already")
        found[name] = METRICS[metric] if isinstance(metric, str) else metric
    return found
