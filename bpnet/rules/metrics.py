"""Measures of a network's outputs a against targets y, both (m, n_L); by name or as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np

from bpnet.arrays import Array, number_or_array

Metric = Callable[[Array, Array], Any]


class Mean:
    """A metric of data that come part by part: the mean of what a function gives for each sample.

    `add` takes a part, and `value` reads what has come together. For a stack's outputs,
    (networks, m, n_L), the metric is one number a network.
    """

    __name__: str

    def __init__(self, of_samples: Metric) -> None:
        self.of_samples = of_samples
        update_wrapper(self, of_samples)

    def __call__(self, y: Array, a: Array) -> Any:
        """Return the metric of data that are all there."""
        return self.value(self.add(None, y, a))

    def __reduce__(self) -> str:
        return self.__name__  # a constant of this module

    def add(self, so_far: Any, y: Array, a: Array) -> Any:
        """Return m and the sum of what there is so far, None at first, with another part."""
        m, total = so_far or (0, 0.0)
        each = self.of_samples(y, a)
        return m + each.shape[-1], total + each.sum(axis=-1, dtype=np.float64)

    def value(self, so_far: Any) -> Any:
        """Return the metric of what there is so far."""
        m, total = so_far
        return number_or_array(total / m)


@Mean
def accuracy(y: Array, a: Array) -> Any:
    """Return whether each sample's class is right.

    The class is the largest of several outputs, or whether a single one is at least ½.
    """
    if y.shape[-1] == 1:
        return (a[..., 0] >= 0.5) == (y[..., 0] >= 0.5)
    return a.argmax(axis=-1) == y.argmax(axis=-1)


@Mean
def mean_squared_error(y: Array, a: Array) -> Any:
    """Return the mean of (a - y)² over outputs."""
    return np.square(a - y).mean(axis=-1)


@Mean
def mean_absolute_error(y: Array, a: Array) -> Any:
    """Return the mean of |a - y| over outputs."""
    return np.abs(a - y).mean(axis=-1)


class R2(Mean):
    """1 - Σ (a - y)² / Σ (y - mean y)², averaged over outputs.

    Parts come together as in Chan, Golub & LeVeque, "Updating Formulae", 1979; y is taken relative
    to its first row, so that targets which are all equal have exactly the mean and the spread 0.
    """

    def add(self, so_far: Any, y: Array, a: Array) -> Any:
        """Return the first row, m, and by output mean y, Σ (y - mean y)² and Σ (a - y)²."""
        first = y[..., :1, :].copy() if so_far is None else so_far[0]
        away = np.subtract(y, first, dtype=np.float64)
        m, mean = y.shape[-2], away.mean(axis=-2)
        spread = np.square(away - mean[..., None, :]).sum(axis=-2)
        residual = self.of_samples(y, a).sum(axis=-2, dtype=np.float64)
        if so_far is not None:
            _, m_before, mean_before, spread_before, residual_before = so_far
            d, part = mean - mean_before, m / (m_before + m)
            m, mean = m_before + m, mean_before + d * part
            spread = spread_before + spread + d * d * m_before * part
            residual = residual_before + residual
        return first, m, mean, spread, residual

    def value(self, so_far: Any) -> Any:
        """Return the metric of what there is so far."""
        *_, spread, residual = so_far
        constant = spread == 0
        score = 1 - residual / np.where(constant, 1, spread)
        return number_or_array(np.where(constant, residual == 0, score).mean(axis=-1))


@R2
def r2(y: Array, a: Array) -> Any:
    """Return (a - y)², of which R² is 1 - Σ (a - y)² / Σ (y - mean y)², averaged over outputs.

    An output whose targets are all equal counts 1 where it is met exactly, else 0.
    """
    return np.square(a - y)


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
    given: Sequence[Any] = [metrics] if single else list(metrics)  # type: ignore[arg-type]  # mypy does not follow `single`
    found: dict[str, Metric] = {}
    for metric in given:
        if isinstance(metric, str) and metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}: the known ones are {', '.join(METRICS)}")
        if not (isinstance(metric, str) or callable(metric)):
            raise TypeError(f"a metric is a name or a function of (y, a), not {metric!r}")
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
        if name in found or name in ("epoch", "loss", "validation_loss", "learning_rate", "time"):
            raise ValueError(f"a metric cannot be called {name!r}: that column is there already")
        found[name] = METRICS[metric] if isinstance(metric, str) else metric
    return found
