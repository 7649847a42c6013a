"""Stacks of networks: an ensemble, the best of them, what they refuse, and their memory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bpnet import MLP, Loss, arrays
from bpnet.arrays import check_memory, in_words
from tests.helpers.complaint import complains
from tests.helpers.small_stack import X, Y, make


def test_ensemble_is_the_mean_and_if_asked_the_spread():
    net = make(networks=4)
    outs = np.stack([one.predict(X) for one in net])
    mean = net.ensemble(X)
    assert mean.shape == (2, 2)
    np.testing.assert_allclose(mean, outs.mean(axis=0), rtol=1e-14)
    mean, spread = net.ensemble(X, spread=True)
    np.testing.assert_allclose(mean, outs.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(spread, outs.std(axis=0), rtol=1e-12)
    assert spread.min() > 0.01


def test_best_is_the_network_of_the_lowest_loss_and_shares_memory():
    net = make(networks=6)
    losses = [one.loss(a=one.predict(X), y=Y) for one in net]
    best = net.best(X, Y)
    np.testing.assert_array_equal(best.theta, net.theta[np.argmin(losses)])
    assert np.shares_memory(best.theta, net.theta)
    target = net[4].predict(X)
    np.testing.assert_array_equal(net.best(X, target).theta, net.theta[4])


def test_best_passes_over_networks_without_a_finite_loss():
    quartic = Loss("quartic", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    net = MLP.init((1, 1), activation="identity", loss=quartic, networks=3, rng=0)
    net.W[2][:, 0, 0] = 1e200, 3.0, 2.0
    np.testing.assert_array_equal(net.best([[1.0]], [[0.0]]).W[2], [[2.0]])
    net.W[2][:, 0, 0] = 1e200
    with complains(ValueError, "no network of the stack has a finite loss"):
        net.best([[1.0]], [[0.0]])


@pytest.mark.parametrize(
    ("networks", "kind", "bound"),
    [(0, ValueError, " >= 1"), (-1, ValueError, " >= 1")]
    + [(wrong, TypeError, "") for wrong in (1.5, "3", True, [2])],
)
def test_there_must_be_whole_networks(networks, kind, bound):
    with complains(kind, f"networks must be an integer{bound}, not {networks!r}"):
        make(networks=networks)


ALIKE = "a stack is of networks alike, but nets[{}] has "
NO_STACK = "this is one network, not a stack: it has no length and no net[k]"


@pytest.mark.parametrize(
    ("nets", "kind", "message"),
    [
        ([], ValueError, "a stack needs a network at least"),
        (None, TypeError, "a stack is made of a list of networks, not of None"),
        (make(), TypeError, NO_STACK),
        ([make(), 3], TypeError, "a stack is made of networks, but nets[1] is 3"),
        ([make(), make(networks=2)], ValueError,
         "nets[1] is a stack itself: pass its networks, [*net]"),
        ([make(), MLP.init((3, 5, 2), rng=0)], ValueError,
         f"{ALIKE.format(1)}sizes (3, 5, 2), and nets[0] has (3, 4, 2)"),
        ([make(), make(), make(dtype="float32")], ValueError,
         f"{ALIKE.format(2)}dtype float32, and nets[0] has float64"),
        ([make(), make(loss="huber")], ValueError,
         f"{ALIKE.format(1)}the loss 'huber', and nets[0] has 'half_squared_error'"),
        ([make(), make(activation="sigmoid")], ValueError, f"{ALIKE.format(1)}other activations"),
    ],
)  # fmt: skip
def test_only_networks_alike_are_stacked(nets, kind, message):
    with complains(kind, message):
        MLP.stack(nets)


def test_stacked_weights_must_be_of_equally_many_networks():
    ones, need = np.ones, "stacked networks: every layer needs as many"
    with complains(ValueError, f"W[3] has shape (4, 2, 4), but W[2] is of 5 {need}"):
        MLP.from_weights([ones((5, 4, 3)), ones((4, 2, 4))], [ones((5, 4)), ones((4, 2))])
    with complains(ValueError, f"W[3] has shape (2, 2, 4), but W[2] is of no {need}"):
        MLP.from_weights([ones((4, 3)), ones((2, 2, 4))], [ones(4), ones((2, 2))])
    with complains(ValueError, "b[3] has shape (2,), but…: b[3] must have shape (5, 2)"):
        MLP.from_weights([ones((5, 4, 3)), ones((5, 2, 4))], [ones((5, 4)), ones(2)])
    with complains(ValueError, "W[2] has shape (0, 4, 3), but must be a matrix…"):
        MLP.from_weights([ones((0, 4, 3))], [ones((0, 4))])


@pytest.mark.parametrize("k", [3, -4, 10**6, 1.0, "1", None, True, slice(1, 2), (0, 1)])
def test_networks_are_numbered(k):
    there = f"there is no network {k}: the stack holds 3"
    kind, message = (IndexError, there) if type(k) is int else (TypeError, f"net[k] …, not {k!r}")
    with complains(kind, message):
        make(networks=3)[k]


@pytest.mark.parametrize(
    "use", [len, list, lambda net: net[0], lambda net: net.ensemble(X), lambda net: net.best(X, Y)]
)
def test_one_network_is_no_stack(use):
    with complains(TypeError, NO_STACK):
        use(make())


def test_batches_are_for_all_networks_or_for_each():
    net = make(networks=4)
    need = "(m, 3), one row a sample, or (4, m, 3), a batch for each network"
    with complains(ValueError, f"x has shape (3, 2, 3), but this net takes 3 inputs: {need}"):
        net.forward(np.stack([X] * 3))
    with complains(ValueError, "x has shape (4, 2, 3), but this net takes 3 inputs: (m, 3), one …"):
        make().forward(np.stack([X] * 4))
    with complains(ValueError, "x has 2 rows, but y has 3: each sample needs both"):
        net.backward(net.forward(X), np.ones((4, 3, 2)))


def test_a_weight_that_is_not_finite_is_named_with_its_network():
    net = make(networks=4)
    net.W[3][2, 1, 0] = np.nan
    for theta in (net.theta, np.asfortranarray(net.theta)):
        with complains(ValueError, "theta must be finite, but W[3][1, 0] of network 2 is nan: …"):
            net.with_theta(theta).predict(X)


def test_a_stack_that_cannot_fit_fails_before_it_is_allocated(monkeypatch):
    monkeypatch.setattr(arrays, "memory_of_machine", lambda: 16e9)
    too_many = "{} with their gradients, but this machine has 16 GB: take fewer at a time"
    need = too_many.format("10,000,000 networks of 79,510 parameters need 12.7 TB")
    with complains(MemoryError, need):
        MLP.init((784, 100, 10), networks=10_000_000, rng=0)
    net = MLP.init((1, 1), networks=2000, rng=0)
    need = too_many.format("2,000 networks on 1,000,000 samples need 64 GB")
    with complains(MemoryError, need):
        net.forward(np.zeros((1_000_000, 1)))
    assert net.predict(np.zeros((3000, 1))).shape == (2000, 3000, 1)  # chunk by chunk


def test_memory_is_counted_in_bytes(monkeypatch):
    monkeypatch.setattr(arrays, "memory_of_machine", lambda: 1000.0)
    double = np.dtype(np.float64)
    check_memory("they", 7, double, 8)  # 896 bytes
    with complains(MemoryError, "they need 960 bytes with their gradients, but this machine has…"):
        check_memory("they", 6, double, 10)
    check_memory("they", 11, double, 10, gradients=False)
    with complains(MemoryError, "they need 960 bytes, but this machine has 1 kB: take fewer …"):
        check_memory("they", 12, double, 10, gradients=False)
    check_memory("they", 11, np.dtype(np.float32), 10)
    words = list(map(in_words, (999, 1000, 3.24e9, 2.5e16, 7e21)))
    assert words == ["999 bytes", "1 kB", "3.24 GB", "25 PB", "7e+03 EB"]
    monkeypatch.undo()
    assert arrays.memory_of_machine() > 1e8  # known, or without limit
    monkeypatch.setattr("os.sysconf", lambda name: int("none"))
    assert arrays.memory_of_machine() == math.inf
