"""What the libraries are compared on: nets, batches and optimisers, and the speed that is aimed at.

Nothing here belongs to a library: the same data and start weights for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from numpy.random import Generator
    from numpy.typing import NDArray

    Array = NDArray[Any]

LOSSES = {"sigmoid": "half_squared_error", "softmax": "cross_entropy", "identity": "half_squared_error"}


class Workload(NamedTuple):
    """A net, a batch, an optimiser, and what is done with them."""

    name: str
    sizes: tuple[int, ...]
    hidden: str
    output: str
    optimizer: str
    rate: float
    batch: int
    kind: str = "step"  # or "epoch" or "predict"
    rows: int = 0  # of the data; a step takes the same batch each time

    @property
    def loss(self) -> str:
        """The loss that goes with the output."""
        return LOSSES[self.output]


class Problem(NamedTuple):
    """Data and start weights in float32; W[l] is (n_l, n_{l-1})."""

    x: Array
    y: Array
    labels: Array
    W: list[Array]
    b: list[Array]


def start_weights(rng: Generator, sizes: Sequence[int], *networks: int) -> tuple[list[Array], list[Array]]:
    """Return weights by Glorot's rule and small biases, of one network or of so many."""
    W, b = [], []
    for n_before, n in pairwise(sizes):
        r = math.sqrt(6 / (n_before + n))
        W.append(rng.uniform(-r, r, (*networks, n, n_before)))
        b.append(rng.uniform(-0.1, 0.1, (*networks, n)))
    return W, b


def problem(work: Workload, data: str | None = None) -> Problem:
    """Return what every library starts from, the same at each call.

    With 784 inputs a fifth of the pixels is not 0, as in MNIST; `data` is the folder of MNIST, for
    epochs and predictions.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    n_in, n_out = work.sizes[0], work.sizes[-1]
    m = work.rows or work.batch
    parts = start_weights(rng, work.sizes)
    W, b = ([array.astype(np.float32) for array in part] for part in parts)
    if data is not None and work.kind != "step":
        from bpnet.datasets import load_mnist

        mnist = load_mnist(data)
        part = "train" if work.kind == "epoch" else "test"
        x, y, labels = (getattr(mnist, f"{what}_{part}")[:m] for what in ("x", "y", "labels"))
        return Problem(x, y, labels, W, b)
    x = rng.random((m, n_in), dtype=np.float32)
    if n_in == 784:
        x *= rng.random((m, n_in), dtype=np.float32) < 0.2
    labels = np.arange(m) % n_out
    if work.output == "identity":
        return Problem(x, rng.normal(size=(m, n_out)).astype(np.float32), labels, W, b)
    return Problem(x, np.eye(n_out, dtype=np.float32)[labels], labels, W, b)


class Goals(NamedTuple):
    """How many times faster bpnet is to be, and the multiple of the floor it is to stay below."""

    scikit_learn: float
    pytorch: float
    jax: float
    floor: float | None

    def of(self, library: str) -> float:
        """Return the goal against a library."""
        goals = {"scikit-learn": self.scikit_learn, "PyTorch": self.pytorch, "JAX": self.jax}
        return goals[library]


DIGITS = ("relu", "softmax")  # of the nets that classify
# fmt: off
WORKLOADS = (
    (Workload("784-30-10 sigmoid, batch 10, SGD", (784, 30, 10), "sigmoid", "sigmoid",
              "SGD", 3.0, 10), Goals(3.0, 8.0, 2.0, 2.0)),
    (Workload("784-30-10 ReLU, batch 10, Adam", (784, 30, 10), *DIGITS,
              "Adam", 1e-3, 10), Goals(2.5, 5.0, 1.3, 3.5)),
    (Workload("784-100-10, batch 128, SGD", (784, 100, 10), *DIGITS,
              "SGD", 0.1, 128), Goals(2.0, 1.8, 1.3, 1.35)),
    (Workload("784-100-10, batch 128, Adam", (784, 100, 10), *DIGITS,
              "Adam", 1e-3, 128), Goals(1.8, 1.5, 1.1, 1.7)),
    (Workload("784-512-10, batch 128, Adam", (784, 512, 10), *DIGITS,
              "Adam", 1e-3, 128), Goals(1.6, 1.1, 1.0, 1.5)),
    (Workload("784-800-10, batch 128, Adam", (784, 800, 10), *DIGITS,
              "Adam", 1e-3, 128), Goals(1.5, 1.0, 1.0, 1.4)),
    (Workload("20-50-1 regression, batch 1000, SGD", (20, 50, 1), "relu", "identity",
              "SGD", 0.01, 1000), Goals(2.0, 2.0, 1.0, 1.6)),
    (Workload("64-32-10, batch 32, Adam", (64, 32, 10), *DIGITS,
              "Adam", 1e-3, 32), Goals(2.5, 7.0, 1.0, None)),
    (Workload("256-256-256-256-10, batch 64, Adam", (256, 256, 256, 256, 10), *DIGITS,
              "Adam", 1e-3, 64), Goals(1.5, 1.5, 1.0, 1.6)),
    (Workload("MNIST epoch, 784-100-10, batch 128, Adam", (784, 100, 10), *DIGITS,
              "Adam", 1e-3, 128, "epoch", 60_000), Goals(2.0, 1.8, 1.2, 2.0)),
    (Workload("predict 10,000 images, 784-100-10", (784, 100, 10), *DIGITS,
              "Adam", 1e-3, 128, "predict", 10_000), Goals(1.5, 1.0, 1.0, 1.2)),
)
# fmt: on
