"""The compiled loop of tiny nets against the passes, over every rule of the tables."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="the loop of tiny nets needs numba")

from bpnet import MLP, SGD, Adagrad, Adam, AdamW, RMSprop, fit
from bpnet.rules.subnormal import EVERY
from bpnet.training.tiny import is_tiny, train_epochs
from tests.helpers.strategies import HIDDEN, PAIRS, problem

RULES = {
    "SGD": lambda: SGD(0.05),
    "Nesterov": lambda: SGD(0.01, momentum=0.9, nesterov=True),
    "Adagrad": lambda: Adagrad(0.05),
    "RMSprop": lambda: RMSprop(0.01, momentum=0.5),
    "Adam": lambda: Adam(0.01),
    "AdamW": lambda: AdamW(0.01, weight_decay=0.3),
}


def assert_alike(net, losses, twin, history, rel):
    np.testing.assert_allclose(losses.squeeze(-1), history.loss, rtol=rel, atol=rel)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=50 * rel, atol=50 * rel)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("k", "pair"), list(enumerate(PAIRS)))
def test_every_pair_trains_as_by_the_passes(k, pair, dtype):
    output, loss = pair
    hidden = HIDDEN[k % len(HIDDEN)], HIDDEN[(k // 3 + 4) % len(HIDDEN)]
    p = problem((3, 4, 2, 3), (*hidden, output), loss, m=7, seed=k, dtype=dtype)
    net, twin = p.net, p.net.copy()
    rule, other = SGD(0.02), SGD(0.02)
    rule.start(net.theta)
    result = train_epochs(net, rule, p.x, p.y, batch=3, epochs=4)
    history = fit(twin, p.x, p.y, epochs=4, batch_size=3, shuffle=False, optimizer=other)
    assert_alike(net, result.losses, twin, history, 1e-12 if dtype == "float64" else 5e-6)
    assert (rule.t, result.failed.tolist()) == (other.t, [-1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RULES)
def test_every_optimizer_trains_as_in_fit(name, dtype):
    p = problem((3, 5, 2), ("tanh", "identity"), "half_squared_error", 10, seed=1, dtype=dtype)
    net, twin, rule, other = p.net, p.net.copy(), RULES[name](), RULES[name]()
    weights = np.concatenate([np.ones(15, bool), np.zeros(5, bool), np.ones(10, bool), [0, 0]]) > 0
    rule.start(net.theta, weights)
    # in blocks: the state and the step's number go on, also over the steps that clear
    losses = [train_epochs(net, rule, p.x, p.y, batch=4, epochs=n).losses for n in (7, 1, 32)]
    assert rule.t == 40 * 3 > 2 * EVERY
    history = fit(twin, p.x, p.y, epochs=40, batch_size=4, shuffle=False, optimizer=other)
    rel = 1e-11 if dtype == "float64" else 2e-5
    assert_alike(net, np.concatenate(losses), twin, history, rel)
    for vector in rule.vectors:
        np.testing.assert_allclose(
            rule.state[vector], other.state[vector], rtol=100 * rel, atol=rel
        )


def test_blocks_do_not_show_in_the_bits():
    ends = []
    for blocks in ((60,), (1, 19, 40)):
        p = problem((3, 5, 2), ("gelu", "sigmoid"), "half_squared_error", 4, seed=1)
        rule = Adam(0.01)
        rule.start(p.net.theta)
        for epochs in blocks:
            train_epochs(p.net, rule, p.x, p.y, batch=2, epochs=epochs)
        ends.append([p.net.theta, *rule.state.values()])
    assert all(map(np.array_equal, *ends))


def test_orders_and_rates_of_each_step():
    p = problem((3, 4, 2), ("sigmoid", "identity"), "half_squared_error", 6, seed=2)
    net, twin, rule, other = p.net, p.net.copy(), SGD(1.0), SGD(1.0)
    rule.start(net.theta)
    order = np.array([[np.random.default_rng(e).permutation(6)] for e in range(5)])
    rates = np.linspace(0.01, 0.3, 10).reshape(5, 2, 1)
    train_epochs(net, rule, p.x, p.y, batch=4, epochs=5, rates=rates, order=order)
    other.start(twin.theta)
    for epoch in range(5):
        for step, rows in enumerate((order[epoch, 0, :4], order[epoch, 0, 4:])):
            other.learning_rate = rates[epoch, step, 0]
            other.set_rate_at(0)
            cache = twin.forward(p.x[rows])
            other.step(twin.theta, twin.backward(cache, p.y[rows]).theta)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-12)


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("own_data", [False, True])
def test_the_networks_of_a_stack_train_each_by_itself(layout, own_data):
    rng = np.random.default_rng(0)
    stack = MLP.init((3, 4, 2), activation="tanh", output="identity", networks=5, rng=1)
    if layout == "F":
        stack = stack.with_theta(np.asfortranarray(stack.theta))
    x, y = rng.normal(size=(5, 6, 3)), rng.normal(size=(5, 6, 2))
    order = rng.permuted(np.tile(np.arange(6), (3, 5, 1)), axis=-1)
    rates = np.linspace(0.01, 0.2, 5)
    alone = [stack[k].copy() for k in range(5)]
    rule = AdamW(rates, weight_decay=0.1)
    rule.start(stack.theta)
    data = (x, y) if own_data else (x[0], y[0])
    result = train_epochs(stack, rule, *data, batch=4, epochs=3, order=order)
    for k, net in enumerate(alone):
        own = AdamW(rates[k], weight_decay=0.1)
        own.start(net.theta)
        i = k if own_data else 0
        one = train_epochs(net, own, x[i], y[i], batch=4, epochs=3, order=order[:, k : k + 1])
        assert np.array_equal(stack.theta[k], net.theta)
        assert np.array_equal(result.losses[:, k], one.losses[:, 0])
        assert np.array_equal(rule.state["v"][k], own.state["v"])
    assert result.first.shape == (5,)


def test_a_single_net_stops_before_the_step_that_is_not_finite():
    net = MLP.init((2, 2), activation="identity", rng=0)
    x, y = np.full((6, 2), 1e3), np.zeros((6, 2))
    rule = SGD(1.0)
    rule.start(net.theta)
    result = train_epochs(net, rule, x, y, batch=2, epochs=500)
    failed = int(result.failed[0])
    assert failed > 3
    assert rule.t == failed
    assert result.losses.shape == (failed // 3, 1)
    assert np.isfinite(net.theta).all()
    twin = MLP.init((2, 2), activation="identity", rng=0)
    other = SGD(1.0)
    other.start(twin.theta)
    with np.errstate(all="ignore"):
        for _ in range(failed):
            other.step(twin.theta, twin.backward(twin.forward(x[:2]), y[:2]).theta)
        assert np.allclose(net.theta, twin.theta, rtol=1e-6)
        grad = twin.backward(twin.forward(x[:2]), y[:2])
        E = twin.loss(twin.forward(x[:2]), y[:2])
        assert not (np.isfinite(E) and np.isfinite(grad.theta).all())


def test_networks_that_fail_or_stand_still_have_losses_all_the_same():
    stack = MLP.init((2, 2), activation="identity", networks=3, rng=0)
    before = stack.theta.copy()
    x, y = np.full((4, 2), 10.0), np.ones((4, 2))
    rule = SGD([1e-3, 1e-3, 1e3])
    rule.start(stack.theta)
    going = np.array([True, False, True])
    result = train_epochs(stack, rule, x, y, batch=4, epochs=300, going=going)
    assert result.failed[:2].tolist() == [-1, 0]
    assert 0 < result.failed[2] < 300
    assert np.array_equal(stack.theta[1], before[1])
    assert np.isfinite(stack.theta).all()
    assert rule.t == 300
    assert (np.diff(result.losses[:100, 0]) < 0).all()
    assert len(set(result.losses[:, 1])) == 1
    assert np.array_equal(result.losses[0], result.first)


def test_which_nets_are_tiny():
    assert is_tiny((2, 2, 2), 200)
    assert not is_tiny((2, 2, 2), 2000)
    assert not is_tiny((64, 32, 10), 1)
