"""`fit(shuffle="each")`: every network of a stack sees the samples in an order of its own."""

from __future__ import annotations

import numpy as np
import pytest

from bpnet import MLP, SGD, arrays, fit
from tests.helpers.complaint import complains

M = 13  # so that the last batch of 4 is short
RNG = np.random.default_rng(5)
X = RNG.normal(size=(M, 3))
Y = np.sin(2 * X[:, :2] + X[:, 1:] * X[:, 2:])
WAYS = {"matmul": 4, "networks fastest": 100, "in turns": 4}


def make(networks=4, rng=0):
    return MLP.init((3, 4, 2), activation=("tanh", "identity"), rng=rng, networks=networks)


@pytest.fixture(params=WAYS)
def net(request, monkeypatch):
    """A stack for each of the three ways to train one."""
    if request.param == "in turns":
        monkeypatch.setattr(arrays, "HEAVIEST", 0)
    return make(WAYS[request.param])


def orders(seed, epochs, networks):
    rng = np.random.default_rng(seed)
    return [[rng.permutation(M) for _ in range(networks)] for _ in range(epochs)]


@pytest.mark.parametrize("own_data", [False, True])
def test_each_network_may_have_its_own_order(net, own_data):
    x = X + 0.3 * RNG.normal(size=(len(net), M, 3)) if own_data else X
    y = Y + 0.3 * RNG.normal(size=(len(net), M, 2)) if own_data else Y
    weight = RNG.random(M) + 0.3
    weight *= M / weight.sum()
    alone = [one.copy() for one in net]
    how = {"batch_size": 4, "optimizer": SGD(0.05)}
    history = fit(net, x, y, epochs=3, shuffle="each", rng=8, sample_weight=weight, **how)
    for epoch, order in enumerate(orders(8, 3, len(net))):
        for k, one in enumerate(alone):
            x_k, y_k, w_k = ((x[k], y[k]) if own_data else (x, y)), None, weight[order[k]]
            x_k, y_k = (array[order[k]] for array in x_k)
            own = fit(one, x_k, y_k, epochs=1, shuffle=False, sample_weight=w_k, **how)
            assert history.loss[epoch][k] == pytest.approx(own.loss[0], rel=1e-11)
    for k, one in enumerate(alone):
        np.testing.assert_allclose(net.theta[k], one.theta, rtol=1e-11, atol=1e-13)
    assert len(np.unique(orders(8, 1, len(net))[0], axis=0)) == len(net)


def test_the_orders_are_of_the_rows_to_train_on():
    net, seen = make(3), []

    class Spy(SGD):
        def compute(self, theta, g, move):
            seen.append(g.copy())
            super().compute(theta, g, move)

    x, y = np.arange(M, dtype=float)[:, None] * [1, 0, 0], np.zeros((M, 2))
    net = MLP.init((3, 2), activation="identity", networks=3, rng=0)
    net.theta[...] = 0
    net.b[2][...] = 1  # with rate 0 or so, the gradient of W tells the mean of x[:, 0]
    fit(net, x, y, epochs=1, batch_size=1, optimizer=Spy(1e-12), shuffle="each", validation=0.25)
    rows = np.round(np.array(seen)[:, :, 0]).astype(int)
    assert rows.shape == (10, 3)
    assert all(len(set(column)) == 10 for column in rows.T)
    assert len({tuple(sorted(column)) for column in rows.T}) == 1
    assert len({tuple(column) for column in rows.T}) == 3


def test_each_of_one_network_is_its_order():
    for networks in (None, 1):
        first, second = make(networks), make(networks)
        fit(first, X, Y, epochs=3, batch_size=4, rng=2, shuffle=True)
        fit(second, X, Y, epochs=3, batch_size=4, rng=2, shuffle="each")
        np.testing.assert_array_equal(first.theta, second.theta)


def test_each_reads_files_row_by_row(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r+")
    first, second = make(3), make(3)
    fit(first, mapped, Y, epochs=2, batch_size=4, rng=2, shuffle="each")
    fit(second, X, Y, epochs=2, batch_size=4, rng=2, shuffle="each")
    np.testing.assert_array_equal(first.theta, second.theta)
    mapped[7, 1] = np.nan
    with complains(ValueError, "row 7 of the data: x must be finite, but x[0, 1] is nan"):
        fit(first, mapped, Y, epochs=2, batch_size=4, rng=2, shuffle="each")


def test_shuffle_is_one_of_three(monkeypatch):
    net = make()
    how = 'shuffle must be True, False or "each", not '
    for wrong, kind in [("all", ValueError), (1, TypeError), (None, TypeError)]:
        with complains(kind, f"{how}{wrong!r}"):
            fit(make(), X, Y, epochs=1, shuffle=wrong)
    with complains(
        ValueError, 'shuffle="each" is for arrays; an iterable gives its batches in its order'
    ):
        fit(make(), [(X, Y)], epochs=1, shuffle="each")
    monkeypatch.setattr(arrays, "memory_of_machine", lambda: 6000.0)
    with complains(
        MemoryError,
        "the orders of 200 samples for 4 networks need 6.4 kB, but this machine has 6 kB: …",
    ):
        fit(net, np.ones((200, 3)), np.ones((200, 2)), epochs=1, shuffle="each", batch_size=1)
