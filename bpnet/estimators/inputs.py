"""What a user hands to an estimator: checked by scikit-learn, and where that is silent, here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bpnet.arrays import Array
from bpnet.estimators.scikit import check_array, train_test_split, validate_data
from bpnet.mlp import MLP

FLOATS = (np.float64, np.float32)
CHUNK = 1024  # rows that are made dense at a time


class Samples(NamedTuple):
    """x, the user's y, the net's targets, and weights or None."""

    x: Any
    y: Any
    targets: Array
    weight: Array | None

    def take(self, rows: Array) -> Samples:
        """Return some of them."""
        weight = None if self.weight is None else self.weight[rows]
        return Samples(self.x[rows], self.y[rows], self.targets[rows], weight)


def refuse_masked(**given: Any) -> None:
    """Raise TypeError for an array with masked values, which NumPy would take for values."""
    for name, values in given.items():
        if np.ma.is_masked(values):
            raise TypeError(f"{name} is a masked array, whose mask would be ignored: fill it first")


def checked(estimator: Any, X: Any, y: Any = "no_validation", **options: Any) -> Any:
    """Return X, and y if it is given, as scikit-learn checks them; X may be CSR.

    An error names the first column of a data frame that is at fault.
    """
    refuse_masked(X=X, y=y)
    try:
        return validate_data(estimator, X, y, accept_sparse="csr", dtype=FLOATS, **options)
    except (TypeError, ValueError) as error:
        for name in getattr(X, "columns", ()):
            try:
                check_array(X[[name]], dtype=FLOATS)
            except (TypeError, ValueError):
                raise type(error)(f"column {name!r}: {error}") from None
        raise


def as_weight(sample_weight: Any, X: Any) -> Array | None:
    """Return the weights of the samples, float64, checked; None stays None."""
    if sample_weight is None:
        return None
    refuse_masked(sample_weight=sample_weight)
    m = X.shape[0]
    if np.isscalar(sample_weight):
        sample_weight = np.full(m, sample_weight)
    options = {"ensure_2d": False, "dtype": np.float64, "input_name": "sample_weight"}
    weight: Array = check_array(sample_weight, **options)
    if weight.shape != (m,):
        raise ValueError(f"sample_weight has shape {weight.shape}, but there are {m} samples")
    if weight.min() < 0:
        raise ValueError(f"sample_weight must be >= 0, but holds {weight.min():g}")
    if not weight.any():
        raise ValueError("sample_weight is zero for every sample: give one a weight")
    return weight


def warn_of_size(x: Any) -> None:
    """Warn of inputs beside which a bias is lost: nothing can be learned from them."""
    largest = max(x.max(), -x.min())
    if largest * np.finfo(x.dtype).eps > 1:
        text = f"X holds numbers as large as {largest:.3g}, beside which biases are lost in"
        warnings.warn(f"{text} {x.dtype}: scale it, by StandardScaler for example", stacklevel=5)


def divided(
    n: int, fraction: float, classes: Any, state: np.random.RandomState, *, lenient: bool
) -> tuple[Array, Array]:
    """Return the numbers of the rows to train on, and of a fraction to validate on.

    Classes are as frequent in both; `lenient` lets go of them where one is too rare for that.
    """
    choose = partial(train_test_split, np.arange(n), test_size=fraction, random_state=state)
    try:
        rest, rows = choose(stratify=classes)
    except ValueError:
        if not lenient:
            raise
        rest, rows = choose()
    if len(rows) < 2:
        raise ValueError(
            f"The validation set is too small: {len(rows)} of {n} samples. Increase "
            "'validation_fraction' or the size of your dataset."
        )
    return rest, rows


def dense(x: Any) -> Array:
    """Return rows as an array."""
    return x.toarray() if hasattr(x, "toarray") else x  # type: ignore[no-any-return]


def chunks(x: Any) -> Iterator[Array]:
    """Yield x as arrays of some rows at a time."""
    for start in range(0, x.shape[0], CHUNK):
        yield dense(x[start : start + CHUNK])


def outputs(net: MLP, x: Any) -> Array:
    """Return a^L, (m, n_L), or (networks, m, n_L) of a stack."""
    if not hasattr(x, "toarray"):
        return net.predict(x)
    return np.concatenate([net.predict(part) for part in chunks(x)], axis=-2)


def batches(
    x: Any, y: Array, weight: Array | None, size: int, rng: np.random.Generator | None
) -> Iterator[tuple[Array, ...]]:
    """Yield an epoch of a sparse x, one batch at a time made dense, in the order of `fit`."""
    n = x.shape[0]
    order = np.arange(n) if rng is None else rng.permutation(n)
    for start in range(0, n, size):
        rows = order[start : start + size]
        batch = x[rows].toarray(), y[rows]
        yield batch if weight is None else (*batch, weight[rows])
