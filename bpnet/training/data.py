"""Where training reads its samples from: arrays, files larger than memory, or batches of one's own.

Every source yields ``(x, y, share, mass, weight)``: a batch, each row's share in the batch's loss
(None: 1/rows), what the batch counts in the epoch, mostly its rows, and the sum of their weights.
With the loss E of each batch, the loss of an epoch is Σ mass E / Σ weight. The arrays are the
source's own buffers, overwritten by the next batch. Where each network of a stack has an order of
its own, all but the mass have the networks in front.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isinf
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from bpnet import checks
from bpnet.arrays import Array, check_memory, digest, other
from bpnet.mlp import MLP
from bpnet.rules.losses import check_targets

Batch = tuple[Array, Array, Array | None, Any, Any]
CHUNK = 1024  # rows at a time where order and steps do not matter
END = object()  # what follows the last batch of an iterable
BEYOND = 1e-5  # how far beyond an output's range targets may lie, as rounding puts them


class Reach:
    """Tells once of targets beyond the range of a net's output: it never comes near them."""

    def __init__(self, net: MLP) -> None:
        self.output = net.activation[net.L]
        self.told = all(map(isinf, self.output.range))

    def see(self, y: Array) -> None:
        """Warn where these targets are the first that lie beyond."""
        if self.told:
            return
        (low, high), least, most = self.output.range, y.min(), y.max()
        below = least < low - BEYOND
        self.told = bool(below or most > high + BEYOND)
        if self.told:
            wrong = least if below else most
            where = f"above {low:.3g}" if isinf(high) else f"between {low:.3g} and {high:.3g}"
            checks.warn(
                f"y holds {wrong:g}, but the net's output, {self.output.name}, stays {where}: make "
                'the net with output="identity", or scale y'
            )


class ArraySource:
    """Rows of arrays, in a new order each epoch; nothing is copied but the batch at hand.

    A `numpy.memmap` is read, converted and checked batch by batch, so that data larger than
    memory train in constant memory; other arrays are checked once.
    """

    reach: Reach | None = None  # of a training

    def __init__(self, net: MLP, x: ArrayLike, y: ArrayLike, weight: Array | None = None) -> None:
        self.net = net
        self.x, self.y = self._mapped(x, "x"), self._mapped(y, "y")
        checks.same_length(self.x, self.y)
        self.lazy = isinstance(x, np.memmap) or isinstance(y, np.memmap)
        if not isinstance(y, np.memmap):
            self.y = check_targets(net.loss_function, self.y)
        self.weight = weight  # which count relative to their mean
        self.rows: Array | None = None  # those that belong to this source; None is all
        self.m: int = self.x.shape[-2]
        self.buffers: dict[tuple[int, ...], tuple[Array, Array, Array, Array]] = {}
        self.whole: tuple[Batch] | None = None

    def _mapped(self, values: ArrayLike, name: str) -> Array:
        """Return the array checked, or a memmap as it is: each of its batches is checked."""
        array = checks.as_numbers(values, name)
        width = self.net.sizes[0 if name == "x" else -1]
        lazy = isinstance(values, np.memmap) and array.ndim == 2 and array.size > 0
        if lazy and array.shape[1] == width:
            return array
        return self.net.parameters.rows(values if array.ndim == 1 else array, name)

    def split(
        self, fraction: Any, rng: Generator, labels: Array | None = None
    ) -> tuple[ArraySource, ArraySource]:
        """Return two sources of disjoint rows: the rest, and a fraction as `set_aside` draws it."""
        rest, held = set_aside(self.m, fraction, rng, labels)
        return self._part(rest, "train on"), self._part(held, "validate")

    def _part(self, rows: Array, purpose: str) -> ArraySource:
        part = object.__new__(ArraySource)
        vars(part).update(vars(self))
        part.rows, part.m, part.buffers, part.whole = rows, len(rows), {}, None
        if self.weight is not None:
            mean = self.weight[rows].mean()
            if mean == 0:
                raise ValueError(f"validation leaves only rows of weight 0 to {purpose}")
            part.weight = self.weight / mean
        return part

    def fingerprint(self) -> dict[str, int]:
        """Return checksums of the arrays, by name; of those in files, of some rows of them."""
        x, y = self.x, self.y
        if self.lazy:
            x, y = (np.asarray(a[:: -(-self.m // CHUNK)], np.float64) for a in (x, y))
        named = {"x": x, "y": y, "the weights": self.weight, "the choice of rows": self.rows}
        return {name: digest(array) for name, array in named.items() if array is not None}

    def steps(self, size: int) -> int:
        """Return the number of batches an epoch."""
        return -(-self.m // size)

    def epoch(
        self, size: int, rng: Generator | None, networks: int | None = None
    ) -> Iterable[Batch]:
        """Return the batches: with an rng in a new order, for each of `networks` its own."""
        if not self.is_whole(size):
            return self._parts(size, rng, networks)
        if self.whole is None:
            share = None if self.weight is None else (self.weight / self.m).astype(self.net.dtype)
            self.whole = ((self.x, self.y, share, self.m, self.m),)
        return self.whole

    def is_whole(self, size: int) -> bool:
        """Whether an epoch is one batch, the arrays themselves."""
        return size >= self.m and self.rows is None and not self.lazy

    def _parts(self, size: int, rng: Generator | None, networks: int | None) -> Iterator[Batch]:
        if rng is None or size >= self.m:
            order = np.arange(self.m)
        elif networks is None:
            order = rng.permutation(self.m)
        else:
            what = f"the orders of {self.m:,} samples for {networks:,} networks"
            check_memory(what, networks, np.dtype(np.int64), self.m, gradients=False)
            order = np.stack([rng.permutation(self.m) for _ in range(networks)])
        if self.rows is not None:
            order = self.rows[order]
        for start in range(0, self.m, size):
            yield self._gather(order[..., start : start + size])

    def _gather(self, index: Array) -> Batch:
        n = index.shape[-1]
        if index.shape not in self.buffers:
            rows = self._room(self.x, index), self._room(self.y, index)
            share = np.empty(index.shape, self.net.dtype)
            self.buffers[index.shape] = *rows, np.empty(index.shape), share
        x, y, weight, share = self.buffers[index.shape]
        take_rows(self.x, index, x)
        take_rows(self.y, index, y)
        if self.lazy:
            x, y = self._converted(x, y, index)
        if self.weight is None:
            return x, y, None, n, n
        np.take(self.weight, index, out=weight, mode="clip")
        np.divide(weight, n, share, casting="same_kind")
        return x, y, share, n, weight.sum(axis=-1)

    def _converted(self, x: Array, y: Array, index: Array) -> tuple[Array, Array]:
        """Return rows of a memmap as the net takes them; an error names the row of the file."""
        try:
            y = check_targets(self.net.loss_function, self.net.parameters.rows(y, "y"))
            if self.reach is not None:
                self.reach.see(y)
            return self.net.parameters.rows(x, "x"), y
        except (TypeError, ValueError) as error:
            if index.size == 1:
                raise type(error)(f"row {index[0]} of the data: {error}") from None
            for k in index.ravel():
                row = slice(k, k + 1)
                self._converted(self.x[..., row, :], self.y[..., row, :], np.array([k]))
            raise

    @staticmethod
    def _room(source: Array, index: Array) -> Array:
        lead = source.shape[:-2]
        if index.ndim == 2:
            lead, n = index.shape[:1], index.shape[1] * source.shape[-1]
            what = f"the batches of {index.shape[1]:,} samples for {lead[0]:,} networks"
            check_memory(what, lead[0], source.dtype, n, gradients=False)
        shape = (*lead, index.shape[-1], source.shape[-1])
        return np.empty(shape, source.dtype, like=source if other(source) else None)


class Remote(ArraySource):
    """Samples that are elsewhere, as on other machines, which compute what training needs of them.

    `epoch` yields words for batches in the place of x and y, which `steps_on` understands.
    """

    @abstractmethod
    def load(self) -> Self:
        """Return itself, with the samples loaded and checked."""

    @abstractmethod
    def steps_on(self, run: Any, recipe: Any) -> Callable[[Any], Callable[[Any, Any], Any]]:
        """Return what takes a word for a batch, and returns what takes the step on it."""

    @abstractmethod
    def pass_over(self, net: MLP, g: Array) -> Callable[[], Any]:
        """Return what returns the loss of all samples, and writes its gradient into g."""

    @abstractmethod
    def evaluate(self, net: MLP, metrics: Any) -> tuple[Any, dict[str, Any]]:
        """Return the loss of all samples, and each metric."""


def set_aside(
    m: int, fraction: float, rng: Generator, labels: Array | None = None,
    purposes: tuple[str, str] = ("validation", "validate"),
) -> tuple[Array, Array]:  # fmt: skip
    """Return which of m rows stay and which are set aside, drawn at random, both in order.

    With labels, numbers from 0 on, each class gives its share, as near as whole rows come to it
    (those nearest to one more give it), and keeps one row at least.
    """
    fraction = checks.as_float(fraction, purposes[0], above=0, below=1)
    n, order = round(fraction * m), rng.permutation(m)
    if labels is not None:
        counts = np.bincount(labels)
        most = np.maximum(counts - 1, 0)
        takes = np.minimum((fraction * counts).astype(int), most)
        missing = np.where(takes < most, fraction * counts - takes, -1.0)
        more = np.argsort(-missing, kind="stable")[: n - takes.sum()]
        takes[more[missing[more] >= 0]] += 1
        by_class = [order[labels[order] == c] for c in range(len(counts))]
        order = np.concatenate([rows[:k] for rows, k in zip(by_class, takes, strict=True)])
        n = len(order)
    if not 0 < n < m:
        left = f"{n} to {purposes[1]} and {m - n} to train on: both need some"
        raise ValueError(f"{purposes[0]}={fraction:g} of {m} samples leaves {left}")
    held = np.zeros(m, bool)
    held[order[:n]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def take_rows(source: Array, index: Array, out: Array) -> None:
    """Copy the rows of an array that index names, for each network its own if index is 2-D."""
    if source.ndim == index.ndim + 1 == 3:  # rows of each network's own data: count them through
        networks, m, width = source.shape
        source, index = source.reshape(-1, width), index + m * np.arange(networks)[:, None]
    if not other(source) and source.flags.c_contiguous:
        np.take(source, index, axis=-2, out=out, mode="clip")  # clip: no copy of the buffer
    else:  # np.take would copy the whole source
        out[...] = source[..., index, :]


class StreamSource:
    """Batches that an iterable, or what a function returns, gives: one pass an epoch.

    With `steps` an epoch it may go on for ever: it is continued from epoch to epoch, and where one
    begins at its end, gone through anew if that can be. Weights count relative to `mean`, or
    without it to the batch's own.
    """

    def __init__(
        self, net: MLP, batches: Any, epochs: int, steps: int | None, mean: float | None = None
    ) -> None:
        if isinstance(batches, np.ndarray):
            raise TypeError("y is missing: x is an array, which needs its targets in another")
        if not (callable(batches) or isinstance(batches, Iterable)):
            need = "x must be an iterable of batches (x, y), or a function that returns one"
            raise TypeError(f"without y, {need}, not {type(batches).__name__}")
        if isinstance(batches, Iterator) and epochs > 1 and steps is None:
            raise ValueError(
                f"an iterator gives its batches once, but there are {epochs} epochs: pass a list, "
                "a function that returns a new iterator, or steps_per_epoch"
            )
        self.net, self.batches, self.expected = net, batches, steps
        self.unit = self.mean = mean  # what weights are measured by
        self.reach = Reach(net)
        self.running: Iterator[Any] | None = None
        self.peeked, self.number, self.m = False, 0, None

    def first_rows(self) -> int:
        """Return the number of rows of the first batch, which training is given all the same."""
        batches, failure = self._begun(), None
        first: list[Any] = []
        try:
            first = [next(batches, END)]
        except Exception as error:  # to be raised in its time
            failure = error

        def again() -> Iterator[Any]:
            yield from first
            if failure is not None:
                raise failure
            yield from batches

        self.running, self.peeked = again(), True
        try:
            return int(self.net.parameters.rows(first[0][0], "x").shape[-2])
        except (LookupError, TypeError, ValueError):  # which `_checked` will tell of
            return 0

    def steps(self, size: int) -> int | None:
        """Return the number of batches an epoch, if it is known."""
        return self.expected

    def epoch(
        self, size: int, rng: Generator | None, networks: int | None = None
    ) -> Iterator[Batch]:
        """Return the batches of an epoch, whose order is the iterable's own."""
        return (self._checked(batch, k) for k, batch in enumerate(self._batches(), 1))

    def is_whole(self, size: int) -> bool:
        """Whether an epoch is one batch, known beforehand: no."""
        return False

    def skip(self, epochs: int) -> None:
        """Pass over the batches of epochs that an earlier training has done."""
        for _ in range(epochs if self.expected else 0):
            for _ in self._batches():
                pass
        self.number = epochs

    def _batches(self) -> Iterator[Any]:
        """Yield the batches of an epoch as they come."""
        self.number += 1
        taken = 0
        if self.running is None or (self.expected is None and not self.peeked):
            self.running = self._begun()
        self.peeked = False
        while self.expected is None or taken < self.expected:
            batch = next(self.running, END)
            if batch is END and taken == 0 and not isinstance(self.batches, Iterator):
                self.running = self._begun()
                batch = next(self.running, END)
            if batch is END:
                break
            taken += 1
            yield batch
        if taken < (self.expected or 1):
            need = f"needs {self.expected or 'one at least'}, but it gave {taken} batches"
            raise ValueError(f"the iterable ended early: epoch {self.number} {need}")

    def _begun(self) -> Iterator[Any]:
        batches = self.batches() if callable(self.batches) else self.batches
        if not isinstance(batches, Iterable):
            kind = type(batches).__name__
            raise TypeError(f"the function must return an iterable of batches (x, y), not {kind}")
        return iter(batches)

    def _checked(self, batch: Any, number: int) -> Batch:
        where = f"batch {number} of epoch {self.number}"
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            kind = type(batch).__name__
            raise TypeError(f"{where} must be (x, y) or (x, y, sample_weight), not {kind}")
        try:
            x, y = self.net.parameters.rows(batch[0], "x"), self.net.parameters.rows(batch[1], "y")
            checks.same_length(x, y)
            y = check_targets(self.net.loss_function, y)
            m = x.shape[-2]
            self.reach.see(y)
            given = batch[2] if len(batch) == 3 else None
            if given is None and self.mean is None:
                self.unit = self.unit or 1.0
                return x, y, None, m / self.unit, m / self.unit
            weight = as_weight(np.ones(m) if given is None else given, m, none=bool(self.mean))
        except (ValueError, TypeError) as error:
            raise type(error)(f"{where}: {error}") from None
        most = weight.max()
        if self.unit is None:  # a power of two, so that no bit depends on which batch is the first
            self.unit = float(np.ldexp(1.0, np.frexp(most)[1] - 1))
        relative = weight / (most or 1.0)  # so that no sum can overflow
        total = relative.sum()
        mass = total * (most / self.unit)
        if self.mean is None:
            return x, y, (relative / total).astype(self.net.dtype), mass, mass
        return x, y, (relative * (most / self.mean / m)).astype(self.net.dtype), m, mass


class Batches(NamedTuple):
    """How a training reads its samples: so many rows at a time, and in whose order."""

    source: ArraySource | StreamSource
    size: int
    shuffle: bool | str
    rng: Generator


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
        other = "; use sample_weight for other targets" if user == "class_weight" else ""
        need = "y must hold one-hot rows, or one column of 0 and 1"
        raise ValueError(f"{user} needs classes: {need}{other}")
    return y[:, 0].astype(int) if y.shape[-1] == 1 else y.argmax(axis=-1)


def class_weights(given: Any, counts: Array) -> Array:
    """Return the weight of each class."""
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f'class_weight must be a dict or "balanced", not {given!r}')
        balanced: Array = counts.sum() / np.maximum(counts, 1) / np.count_nonzero(counts)
        return balanced
    if not isinstance(given, Mapping):
        text = 'class_weight must be a dict of class to weight, or "balanced"'
        raise TypeError(f"{text}, not {given!r}")
    weights = np.ones(len(counts))
    for label, weight in given.items():
        if checks.as_int(label, "a class of class_weight", least=0) >= len(counts):
            raise ValueError(f"class_weight names class {label}, but y has {len(counts)} classes")
        weights[label] = checks.as_float(weight, f"class_weight[{label}]", least=0)
    return weights
