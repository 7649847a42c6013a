"""Stacks: many networks of one shape in one θ of shape (networks, P).

The equations are those of one network, with an axis in front that broadcasts. What differs is
which call computes a product fastest, and that is chosen here, by measured size:

- one network: the method ``dot`` of two matrices (0.26 µs a call on tiny ones);
- a stack: ``matmul``, which costs some 30 ns for each of its matrices, however small;
- a stack of many tiny networks: the arrays lie with the networks fastest in memory, though the
  axes stay where they are, and ``einsum`` runs its inner loop over the networks. For 1,000
  products of (1, 2) by (2, 2) that takes 3.9 µs, where ``matmul`` takes 35;
- a stack of large networks: they train in turn, with ``dot``, on the same buffers, since all of
  them together would leave the processor's cache.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Product = Callable[[Array, Array, Array], object]  # product(A, B, out)

FEWEST = 64  # networks, below which einsum's 2 µs a call are not worth it
# Multiplications in one product of one network, beyond which matmul is faster: of one sample, whose
# products matmul cannot block, or of several, where it is half the networks but at most so many.
LARGEST_ROW, LARGEST = 4096, 512
HEAVIEST = 4_000_000  # multiplications of one network in a pass, beyond which turns are faster
COLUMNS = 1021  # of `digest`: a prime, so that no width of a layer divides it
MEMORY = 0.9  # the part of the machine's memory that a stack may ask for


def other(array: Any) -> TypeGuard[Array]:
    """Whether this is an array of another library, as on a GPU, that is never converted by itself.

    It speaks NumPy's protocols, with ``out=`` and ``like=``, and `get` copies it to one of NumPy's.
    """
    if isinstance(array, np.ndarray):
        return False
    return all(hasattr(array, name) for name in ("__array_ufunc__", "__array_function__", "get"))


def alike(values: Array, like: Array) -> Array:
    """Return values as an array of the type of `like`: those of NumPy are moved in."""
    if type(values) is type(like):
        return values
    if other(like):
        return np.asarray(values, like=like)
    if other(values):
        raise TypeError(
            f"{type(values).__name__} does not go with a net whose theta is NumPy's: move the one "
            "by get(), or the other by net.with_theta"
        )
    return values


def moved_out(array: Any) -> Any:
    """Return an array of NumPy in place of one of another library; all else as it is."""
    far = other(array)
    return array.get() if far else array


def contiguous(array: Array) -> Array:
    """Return the array with its rows one after another in memory."""
    return np.ascontiguousarray(array, like=array if other(array) else None)


def product(theta: Array) -> Product:
    """Return what multiplies the matrices of the last two axes fastest, for arrays like θ."""
    if theta.ndim == 1:
        return np.matmul if other(theta) else np.ndarray.dot
    return by_networks if networks_fastest(theta) else np.matmul


def by_networks(A: Array, B: Array, out: Array) -> None:
    """Write A B into out, with the inner loop over the networks."""
    if A.shape[-1] == 1:  # a column times a row, as where a batch is one sample: no sum
        np.multiply(A, B, out)
    else:
        np.einsum("...ij,...jk->...ik", A, B, out=out)


def number_or_array(value: Any) -> Any:
    """Return a Python number where there is one, as of one network, else the array."""
    return value.item() if value.ndim == 0 else moved_out(value)


def networks_fastest(theta: Array) -> bool:
    """Whether θ lies with the networks fastest in memory."""
    return theta.ndim > 1 and theta.strides[0] == theta.itemsize and len(theta) > 1


def room(theta: Array, *shape: int) -> Array:
    """Return an uninitialised array (*shape), or (networks, *shape), typed and laid out as θ is."""
    if theta.ndim == 1:
        return np.empty_like(theta, shape=shape)
    if networks_fastest(theta):
        return np.moveaxis(np.empty_like(theta, shape=(*shape, len(theta)), order="C"), -1, 0)
    return np.empty_like(theta, shape=(len(theta), *shape), order="C")


def best_layout(theta: Array, sizes: tuple[int, ...], m: int) -> Array:
    """Return θ itself, or a copy with the networks fastest where that trains batches of m faster.

    The copy has the same axes and values.
    """
    if theta.ndim == 1 or len(theta) < FEWEST or networks_fastest(theta) or other(theta):
        return theta
    largest = m * max(n_in * n_out for n_in, n_out in pairwise(sizes))
    limit = LARGEST_ROW if m == 1 else min(len(theta) // 2, LARGEST)
    return np.asfortranarray(theta) if largest <= limit else theta


def better_in_turn(theta: Array, m: int) -> bool:
    """Whether a stack trains faster network by network, on buffers that stay in the cache.

    So it does where the networks are so large that the calls for each do not matter.
    """
    return m * theta.shape[-1] > HEAVIEST and not other(theta)


def digest(array: Array) -> int:
    """Return a checksum of an array's bytes, which differs where a number does.

    CRC-32; of a long array, of its sums modulo 2^32 in 1,021 columns: ten times as fast, and
    still different for almost every change, exchanged entries included.
    """
    words: Any = np.frombuffer(moved_out(array).ravel(order="K"), np.uint32)
    columns = words[: words.size // COLUMNS * COLUMNS].reshape(-1, COLUMNS)
    if len(columns) < 16:
        return zlib.crc32(words)
    sums: Any = np.add.reduce(columns, axis=0, dtype=np.uint32)
    return zlib.crc32(words[columns.size :], zlib.crc32(sums))


def check_memory(
    what: str, networks: int, dtype: np.dtype[Any], numbers: int, *, gradients: bool = True
) -> None:
    """Raise MemoryError, with the size in words, for a stack that cannot fit.

    Parameters
    ----------
    what : str
        What is asked for, for the message.
    networks : int
    dtype : dtype
    numbers : int
        How many each network needs.
    gradients : bool
        Whether their gradients need as many again.

    Raises
    ------
    MemoryError
        If that is more than the machine has.
    """
    need, have = (1 + gradients) * networks * numbers * dtype.itemsize, memory_of_machine()
    if need > MEMORY * have:
        also = " with their gradients" if gradients else ""
        raise MemoryError(
            f"{what} need {in_words(need)}{also}, but this machine has "
            f"{in_words(have)}: take fewer at a time"
        )


def memory_of_machine() -> float:
    """Return the machine's memory in bytes, or infinity where it cannot be told."""
    import os

    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return math.inf


def in_words(size: float) -> str:
    """Return a number of bytes as "3.2 GB" or the like."""
    units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"
