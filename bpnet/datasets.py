"""MNIST from its four IDX files.

An IDX file is a magic number, the number of items and the lengths of an item's axes, each four
bytes, the highest first, and then one byte a pixel or label (LeCun, Cortes & Burges, "The MNIST
database of handwritten digits").
"""

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from bpnet.arrays import Array
from bpnet.errors import InvalidFile

MIRRORS = (
    "any mirror, such as https://ossci-datasets.s3.amazonaws.com/mnist/ "
    "or https://storage.googleapis.com/cvdf-datasets/mnist/"
)
CHUNK = 1024  # items read at a time, so that the raw bytes stay small
GZIP_MOST = 1032  # deflate makes no more than this of one byte
# What the files must hold, by magic number: a word, and the axes of an item.
IMAGES, LABELS = 2051, 2049
KINDS: dict[int, tuple[str, Any]] = {IMAGES: ("images", (28, 28)), LABELS: ("labels", ())}
FILES = {
    "train-images-idx3-ubyte": IMAGES,
    "train-labels-idx1-ubyte": LABELS,
    "t10k-images-idx3-ubyte": IMAGES,
    "t10k-labels-idx1-ubyte": LABELS,
}


@dataclass(frozen=True, eq=False, repr=False)
class MNIST:
    """Images as rows of pixels from 0 (white) to 1 (black), one-hot rows, and the digits."""

    x_train: Array
    y_train: Array
    labels_train: Array
    x_test: Array
    y_test: Array
    labels_test: Array

    def __repr__(self) -> str:
        train, test, dtype = len(self.x_train), len(self.x_test), self.x_train.dtype
        return f"MNIST({train} training images, {test} test images, {dtype})"


def load_mnist(directory: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> MNIST:
    """Read MNIST, or a set in its format such as Fashion-MNIST, from a folder."""
    chosen = np.dtype(dtype)
    if chosen not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, not {dtype!r}")
    paths = find(Path(directory))
    return MNIST(*(part for k in (0, 2) for part in read_pair(paths[k], paths[k + 1], chosen)))


def find(directory: Path) -> list[Path]:
    """Return the paths of the four files."""
    if not directory.is_dir():
        raise FileNotFoundError(
            f"there is no folder {directory}: it should hold MNIST, the files "
            f"{', '.join(FILES)}, each plain or .gz; they can be had from {MIRRORS}"
        )
    paths: list[Path] = []
    missing = []
    for name in FILES:
        stems = name, name.replace("-idx", ".idx")
        candidates = [directory / f"{stem}{end}" for stem in stems for end in ("", ".gz")]
        present = [path for path in candidates if path.is_file()][:1]
        paths += present
        missing += [] if present else [name]
    if missing:
        raise FileNotFoundError(
            f"{directory} lacks {' and '.join(missing)} (plain or .gz): MNIST is the four files "
            f"{', '.join(FILES)}, which can be had from {MIRRORS}"
        )
    return paths


def read_pair(images: Path, labels: Path, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Return x, y and the labels of one part of the set."""
    digits = read_idx(labels, LABELS, np.dtype(np.intp))
    if digits.max() >= 10:
        k = int(digits.argmax())
        raise invalid(labels, f"holds the label {digits[k]} at place {k}: they must be 0..9")
    x = read_idx(images, IMAGES, dtype).reshape(-1, 784)
    if len(x) != len(digits):
        other = f"{images} holds {len(x)} images: the two are not of the same set"
        raise invalid(labels, f"holds {len(digits)} labels, but {other}")
    x /= 255
    return x, np.eye(10, dtype=dtype)[digits], digits


def read_idx(path: Path, kind: int, dtype: np.dtype[Any]) -> Array:
    """Return the items of one file, converted piece by piece."""
    what, axes = KINDS[kind]
    with opened(path) as (file, capacity):
        count = read_header(path, file, kind, capacity)
        items = np.empty((count, *axes), dtype)
        for start in range(0, count, CHUNK):
            part = items[start : start + CHUNK]
            data = file.read(part.size)
            if len(data) < part.size:
                have = start * items[0].size + len(data)
                raise invalid(path, f"ends after {have} of its {items.size} bytes of {what}")
            np.copyto(part, np.frombuffer(data, np.uint8).reshape(part.shape))
        if file.read(1):
            raise invalid(path, f"goes on after its {count} {what}")
    return items


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes] | gzip.GzipFile, int]]:
    """Open a plain or gzip file, told apart by its bytes; with the most that it can hold."""
    try:
        with path.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if raw.peek(2)[:2] != b"\x1f\x8b":
                yield raw, size
                return
            with gzip.GzipFile(fileobj=raw) as file:
                yield file, size * GZIP_MOST
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise invalid(path, f"is a damaged gzip file ({error})") from None


def read_header(path: Path, file: IO[bytes] | gzip.GzipFile, kind: int, capacity: int) -> int:
    """Return the number of items that the header announces, if it is right."""
    what, axes = KINDS[kind]
    length = 8 + 4 * len(axes)
    head = file.read(length)
    magic = int.from_bytes(head[:4], "big")
    if len(head) >= 4 and magic != kind:
        holds = f"holds {KINDS[magic][0]}" if magic in KINDS else "is no such IDX file"
        text = f"should hold {what} (magic number {kind}), but {holds} (magic number {magic})"
        raise invalid(path, text)
    if len(head) < length:
        raise invalid(path, f"ends within its header, after {len(head)} of {length} bytes")
    count, *found = map(int, np.frombuffer(head[4:], ">u4"))
    if tuple(found) != axes:
        have, need = (" x ".join(map(str, pair)) for pair in (found, axes))
        raise invalid(path, f"holds images of {have} pixels, but MNIST's are {need}")
    if count == 0:
        raise invalid(path, f"holds no {what}")
    need_bytes = length + count * math.prod(axes)
    if need_bytes > capacity:  # before room is made for what a wrong header claims
        claim = f"announces {count} {what}, which are {need_bytes} bytes with the header"
        raise invalid(path, f"{claim}, but it is {path.stat().st_size} bytes long")
    return count


def invalid(path: Path, cause: str) -> InvalidFile:
    """Return the error that names the file, the cause and where a good file can be had."""
    return InvalidFile(f"{path} {cause}; MNIST can be had from {MIRRORS}")
