"""Weights of samples and of classes, combined and checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from bpnet import checks
from bpnet.arrays import Array


def as_weight(sample_weight: ArrayLike, m: int, *, none: bool = False) -> Array:
    """Return sample weights as float64, checked; whether all may be 0 is `none`."""
    if not (none and np.shape(sample_weight) == (m,) and not np.any(sample_weight)):
        checks.as_shares(sample_weight, m, np.dtype(np.float64))
    return np.array(sample_weight, np.float64)


def combined_weight(
    y: Array, sample_weight: ArrayLike | None, class_weight: Mapping[int, float] | str | None
) -> Array | None:
    """Return each sample's weight, the product of both kinds, with the mean 1; or None."""
    if sample_weight is None and class_weight is None:
        return None
    m = y.shape[-2]
    weight: Array = np.ones(m) if sample_weight is None else as_weight(sample_weight, m)
    if class_weight is not None:
        labels = class_labels(y)
        n = max(2, y.shape[-1])
        weight *= class_weights(class_weight, np.bincount(labels, minlength=n))[labels]
    if not weight.any():
        raise ValueError("sample_weight and class_weight leave no sample a weight above 0")
    weight /= weight.max()  # so that the sum cannot overflow
    weight *= m / weight.sum()
    return weight


def class_labels(y: Array, user: str = "class_weight") -> Array:
    """Return the class number of each row of one-hot or 0/1 targets, for a user named in errors."""
    one_hot = ((y == 0) | (y == 1)).all() and (y.shape[-1] == 1 or (y.sum(axis=-1) == 1).all())
    if y.ndim != 2 or not one_hot:
        raise ValueError(
            f"{user} needs classes: y must hold one-hot rows, or one column of 0 and 1"
            + ("; use sample_weight for other targets" if user == "class_weight" else "")
        )
    return y[:, 0].astype(int) if y.shape[-1] == 1 else y.argmax(axis=-1)


def class_weights(given: Mapping[int, float] | str, counts: Array) -> Array:
    """Return the weight of each class."""
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f'class_weight must be a dict or "balanced", not {given!r}')
        balanced: Array = counts.sum() / np.maximum(counts, 1) / np.count_nonzero(counts)
        return balanced
    if not isinstance(given, Mapping):
        raise TypeError(
            f'class_weight must be a dict of class to weight, or "balanced", not {given!r}'
        )
    weights = np.ones(len(counts))
    for label, weight in given.items():
        if checks.as_int(label, "a class of class_weight", least=0) >= len(counts):
            raise ValueError(f"class_weight names class {label}, but y has {len(counts)} classes")
        weights[label] = checks.as_float(weight, f"class_weight[{label}]", least=0)
    return weights
