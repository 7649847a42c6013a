"""Measures of a network's outputs a against targets y, both (m, n_L); by name or as a function."""

from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np

from bpnet.arrays import Array, number_or_array
from bpnet.checks import known_name
from bpnet.rules.losses import ROW_SUM_TOLERANCE, Loss

Metric = Callable[[Array, Array], Any]


class Mean:
    """A metric of data in parts: the mean of what a function gives for each sample."""

    __name__: str

    def __init__(self, of_samples: Metric) -> None:
        self.of_samples = of_samples
        update_wrapper(self, of_samples)

    def __call__(self, y: Array, a: Array) -> Any:
        return self.value(self.add(None, y, a))

    def __reduce__(self) -> Any:
        return self.__name__  # a constant of this module

    def add(self, so_far: Any, y: Array, a: Array, weight: Array | None = None) -> Any:
        """Return Σ w and Σ w v of what there is so far, None at first, with another part."""
        mass, total = so_far or (0, 0.0)
        each = self.of_samples(y, a)
        return mass + mass_of(each.shape[-1], weight), total + weighted_sum(each, weight)

    def value(self, so_far: Any) -> Any:
        """Return the metric of what there is so far."""
        mass, total = so_far
        return number_or_array(total / mass)


def mass_of(m: int, weight: Array | None) -> Any:
    """Return the sum of m samples' weights, 1 each where none are given."""
    return m if weight is None else weight.sum()


def kinds_of_labels(y: Array) -> tuple[bool, bool, bool]:
    """Return whether all of y is 0 or 1, whether -1 or 1, and whether each row has a single 1."""
    one = y == 1
    bits, signs = bool((one | (y == 0)).all()), bool((one | (y == -1)).all())
    return bits, signs, bool((one.sum(axis=-1) == 1).all())


def weighted_sum(each: Array, weight: Array | None) -> Any:
    """Return Σ w v over the last axis, the samples, in float64."""
    return (each if weight is None else each * weight).sum(axis=-1, dtype=np.float64)


class Accuracy(Mean):
    """The part of the samples whose class is right; what are classes, the targets say."""

    def __init__(self, name: str, *, probabilities: bool = False) -> None:
        self.__name__ = name
        self.probabilities = probabilities

    def add(self, so_far: Any, y: Array, a: Array, weight: Array | None = None) -> Any:
        """Return Σ w, Σ w v by each way to read targets, and whether each of them may be meant."""
        right = (
            a.argmax(axis=-1) == y.argmax(axis=-1),
            ((a >= 0.5) == (y >= 0.5)).mean(axis=-1),
            ((a >= 0) == (y >= 0)).mean(axis=-1),
        )
        totals = np.array([weighted_sum(each, weight) for each in np.broadcast_arrays(*right)])
        bits, signs, single = kinds_of_labels(y)
        parts = bool((y >= 0).all() and (abs(y.sum(axis=-1) - 1) <= ROW_SUM_TOLERANCE).all())
        rows = y.shape[-1] > 1 and (parts or (signs and single))
        likely = self.probabilities and bool(((y >= 0) & (y <= 1)).all())
        odd: Any = () if bits or signs or rows or likely else y[(y != 0) & (abs(y) != 1)]
        other = f"{odd[0]:g}" if len(odd) else None  # none, where rows mix 0 and -1
        may = np.array([rows, bits or likely, signs])
        mass = mass_of(y.shape[-2], weight)
        if so_far is None:
            return mass, totals, may, other
        return so_far[0] + mass, so_far[1] + totals, so_far[2] & may, so_far[3] or other

    def value(self, so_far: Any) -> Any:
        """Return the metric by the first of the ways that suits all targets."""
        mass, totals, may, other = so_far
        if not may.any():
            raise ValueError(
                f"accuracy needs classes, but y holds {other or 'both 0 and -1'}: it counts "
                "one-hot rows, and labels of 0 and 1 or of -1 and 1; for other targets there are "
                "mean_absolute_error and r2"
            )
        return number_or_array(totals[may.argmax()] / mass)


accuracy = Accuracy("accuracy")
likely_accuracy = Accuracy("likely_accuracy", probabilities=True)


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

    def add(self, so_far: Any, y: Array, a: Array, weight: Array | None = None) -> Any:
        """Return the first row, Σ w, and by output mean y, Σ w (y - mean y)² and Σ w (a - y)²."""

        def total(each: Array) -> Any:
            return weighted_sum(each.mT, weight)

        first = y[..., :1, :].copy() if so_far is None else so_far[0]
        away = np.subtract(y, first, dtype=np.float64)
        mass = mass_of(y.shape[-2], weight)
        mean = total(away) / mass
        spread = total(np.square(away - mean[..., None, :]))
        residual = total(self.of_samples(y, a))
        if so_far is not None:
            _, mass_before, mean_before, spread_before, residual_before = so_far
            d, part = mean - mean_before, mass / (mass_before + mass)
            mass, mean = mass_before + mass, mean_before + d * part
            spread = spread_before + spread + d * d * mass_before * part
            residual = residual_before + residual
        return first, mass, mean, spread, residual

    def value(self, so_far: Any) -> Any:
        *_, spread, residual = so_far
        constant = spread == 0
        score = 1 - residual / np.where(constant, 1, spread)
        return number_or_array(np.where(constant, residual == 0, score).mean(axis=-1))


@R2
def r2(y: Array, a: Array) -> Any:
    """Return (a - y)², of which R² is 1 - Σ (a - y)² / Σ (y - mean y)², averaged over outputs."""
    return np.square(a - y)


@Mean
def log_loss(y: Array, a: Array) -> Any:
    """Return -Σ y log a of each sample; of a single output -y log a - (1 - y) log(1 - a)."""
    for name, v in (("targets", y), ("outputs", a)):
        off = (v < 0) | (v > 1)
        if v.shape[-1] > 1:
            off |= np.abs(v.sum(axis=-1, keepdims=True) - 1) > ROW_SUM_TOLERANCE
        if off.any():
            raise ValueError(
                f"log_loss needs {name} that are probabilities: rows that sum to 1, or a single "
                "column between 0 and 1"
            )
    eps = np.finfo(a.dtype).eps
    p = np.clip(a, eps, 1 - eps).astype(np.float64)
    if y.shape[-1] == 1:
        return -(y * np.log(p) + (1 - y) * np.log(1 - p))[..., 0]
    return -(y * np.log(p)).sum(axis=-1)


class ClassScore(Mean):
    """Precision, recall or F1 of classes, from counts that add up part by part.

        precision = TP / (TP + FP),  recall = TP / (TP + FN),  F1 = 2 TP / (2 TP + FP + FN)

    and 0 for 0/0. What are classes, the targets say: rows with a single 1 (the class is the largest
    output), else labels of 0 and 1 or of -1 and 1, each column by itself (a label is there from ½
    on, or from 0); a single column has the two classes that its label is there or not.

    The name ``"f1"`` is of the second of two classes; ``"f1_macro"`` the mean over classes, those
    that appear, or over labels; ``"f1_weighted"`` takes each by its number of samples.
    """

    KINDS = ("precision", "recall", "f1")

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.kind, _, self.average = name.partition("_")

    def __reduce__(self) -> Any:
        return ClassScore, (self.__name__,)

    def add(self, so_far: Any, y: Array, a: Array, weight: Array | None = None) -> Any:
        """Return counts by each way to read targets, which may be meant, and which exclude."""
        single, classes = y.shape[-1] == 1, np.arange(y.shape[-1])
        largest = (v.argmax(axis=-1)[..., None] == classes for v in (y, a))
        ways: list[Any] = [largest, (y >= 0.5, a >= 0.5), (y >= 0, a >= 0)]
        if single:
            ways = [[np.concatenate([~v, v], axis=-1) for v in way] for way in ways]
        counts = np.array([counted(true, said, weight) for true, said in ways])
        bits, signs, single_1 = kinds_of_labels(y)
        rows = not single and (bits or signs) and single_1
        may, exclusive = np.array([rows, bits, signs]), (True, single, single)
        if so_far is None:
            return counts, may, exclusive
        return so_far[0] + counts, so_far[1] & may, exclusive

    def value(self, so_far: Any) -> Any:
        """Return the score by the first of the ways that suits all targets."""
        counts, may, exclusive = so_far
        name, way = self.__name__, int(may.argmax())
        if not may.any():
            raise ValueError(
                f"{name} needs classes: y must hold rows with a single 1, or labels of 0 and 1 or of -1 and 1"
            )
        right, said, true = counts[way]
        over = {"precision": said, "recall": true, "f1": (said + true) / 2}[self.kind]
        score = np.divide(right, over, out=np.zeros_like(right), where=over > 0)
        if not self.average:
            if not exclusive[way] or score.shape[-1] != 2:
                raise ValueError(
                    f"{name} is of the second of two classes, but there are others: take "
                    f"{name}_macro or {name}_weighted"
                )
            return number_or_array(score[..., 1])
        share = true
        if self.average == "macro":
            share = ((said + true > 0) | (not exclusive[way])).astype(np.float64)
        total = share.sum(axis=-1)
        return number_or_array((score * share).sum(axis=-1) / np.where(total > 0, total, 1))


def counted(true: Array, said: Array, weight: Array | None) -> Array:
    """Return by class how many samples are said to be of it and are, are said to, and are."""
    of = 1.0 if weight is None else weight[..., None]
    found = [(v * of).sum(axis=-2, dtype=np.float64) for v in (true & said, said, true)]
    return np.stack(np.broadcast_arrays(*found))


TABLE = (
    *(accuracy, mean_squared_error, mean_absolute_error, r2, log_loss),
    *(ClassScore(kind + of) for of in ("", "_macro", "_weighted") for kind in ClassScore.KINDS),
)
METRICS: dict[str, Metric] = {rule.__name__: rule for rule in TABLE}
ALIKE = {"acc": "accuracy", "mse": "mean_squared_error", "mae": "mean_absolute_error"}
SMALLER_IS_BETTER = {"mean_squared_error", "mean_absolute_error", "log_loss"}


def as_metrics(metrics: str | Metric | Sequence[str | Metric], loss: Loss | None = None) -> dict[str, Metric]:
    """Return the metrics by name, or refuse them; the loss says if targets may be probabilities."""
    single = isinstance(metrics, str) or callable(metrics)
    if not single and not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be names or functions of (y, a), not {metrics!r}")
    given: Sequence[Any] = [metrics] if single else list(metrics)  # type: ignore[arg-type]  # mypy does not follow `single`
    found: dict[str, Metric] = {}
    for metric in given:
        if isinstance(metric, str):
            metric = METRICS[known_name(metric, "metric", METRICS, ALIKE)]
        if not callable(metric):
            raise TypeError(f"a metric is a name or a function of (y, a), not {metric!r}")
        name = getattr(metric, "__name__", repr(metric))
        if name in found or name in ("epoch", "loss", "validation_loss", "learning_rate", "time"):
            raise ValueError(f"a metric cannot be called {name!r}: that column is there already")
        likely = metric is accuracy and loss is not None and loss.target_range == (0, 1)
        found[name] = likely_accuracy if likely else metric
    return found
