"""Nets of every output, loss and activation, far from 0 too, and how near two outputs are."""

import numpy as np

from bpnet import MLP
from bpnet.network.saved import loss_name
from bpnet.rules.activations import ACTIVATIONS
from bpnet.testing import case
from tests.helpers.nets import HIDDEN, PAIRS

DTYPES = ("float32", "float64")
FAR = [-1e20, -800, -90, -21, -9, -1e-6, 0, 1e-6, 9, 21, 39, 90, 800, 1e20]


def any_problems(dtype):
    """Yield nets and batches: each output and loss, with up to three hidden layers; far from 0."""
    rng = np.random.default_rng(5)
    for i, (output, loss) in enumerate(PAIRS):
        hidden = [HIDDEN[(i + 3 * k) % len(HIDDEN)] for k in range(i % 4)]
        sizes = rng.integers(1, 9, len(hidden) + 2).tolist()
        net, x, _ = case(sizes, activation=(*hidden, output), loss=loss, m=7, seed=i, dtype=dtype)
        yield net, x
    for name in ACTIVATIONS:
        net = MLP.from_weights([[[1.0], [-1.0]]], [[0, 0]], activation=name, dtype=dtype)
        yield net, np.array(FAR, dtype)[:, None]


def make(sizes=(3, 5, 2), dtype="float64", **options):
    return MLP.init(sizes, rng=1, dtype=dtype, **({"activation": "tanh"} | options))


def units(a, want):
    """Return the largest difference in units in the last place of 1, or of what is wanted."""
    assert a.shape == want.shape
    assert a.dtype == want.dtype
    scale = np.finfo(want.dtype).eps * np.maximum(np.abs(want), 1)
    return float((np.abs(a - want) / scale).max())


def assert_same(net, other):
    assert repr(other) == repr(net)  # sizes, activations and dtype
    assert loss_name(other.loss_function) == loss_name(net.loss_function)
    assert other.theta.tobytes() == net.theta.tobytes()
