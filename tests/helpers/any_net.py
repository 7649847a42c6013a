"""Nets of every output, loss and hidden activation, and how near two outputs are."""

import numpy as np

from bpnet import MLP
from bpnet.testing import case
from tests.helpers.nets import HIDDEN, PAIRS

DTYPES = ("float32", "float64")


def any_problems(dtype, most=9):
    """Yield a net and a batch for each output and loss, with up to three hidden layers."""
    rng = np.random.default_rng(5)
    for i, (output, loss) in enumerate(PAIRS):
        hidden = [HIDDEN[(i + 3 * k) % len(HIDDEN)] for k in range(i % 4)]
        sizes = rng.integers(1, most, len(hidden) + 2).tolist()
        net, x, _ = case(sizes, activation=(*hidden, output), loss=loss, m=7, seed=i, dtype=dtype)
        yield net, x


def make(sizes=(3, 5, 2), dtype="float64", **options):
    return MLP.init(sizes, rng=1, dtype=dtype, **({"activation": "tanh"} | options))


def units(a, want):
    """Return the largest difference in units in the last place of 1, or of what is wanted."""
    assert a.shape == want.shape
    assert a.dtype == want.dtype
    scale = np.finfo(want.dtype).eps * np.maximum(np.abs(want), 1)
    return float((np.abs(a - want) / scale).max())


def assert_same(net, other):
    assert other.sizes == net.sizes
    assert other.dtype == net.dtype
    assert other.theta.tobytes() == net.theta.tobytes()
    assert list(other.activation.values()) == list(net.activation.values())
