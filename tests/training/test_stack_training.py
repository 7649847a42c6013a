"""Training a stack: as its networks would train one by one, with the same seed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bpnet import LBFGS, MLP, SGD, Adam, arrays, evaluate, fit
from tests.helpers.complaint import complains, refuses
from tests.helpers.rules import RULES, SCHEDULES, Spy, plateau
from tests.helpers.stack_problem import X_HELD, Y_HELD, M, X, Y, make, noise

EACH = ("learning_rate", "l1", "l2")  # what may be one number or an array, one for each network


def of(value, k):
    """What network k gets of an option."""
    return value if np.ndim(value) == 0 else value[k]


def check_one_by_one(net, rule=SGD, x=X, y=Y, data_of=None, **options):
    """Train a stack, and some of its networks alone, to the same end; return the histories."""
    options = {"epochs": 4, "batch_size": 4, "rng": 3} | options
    rate = options.pop("learning_rate", 0.05)
    alone = {k: net[k].copy() for k in (0, 1, len(net) // 2, len(net) - 1)}
    start = net.theta.copy()
    history = fit(net, x, y, optimizer=rule(rate), **options)
    assert (net.theta != start).any(axis=1).all()
    histories = {}
    for k, one in alone.items():
        x_k, y_k = (x if x.ndim == 2 else x[k]), (y if y.ndim == 2 else y[k])
        mine = {name: of(value, k) if name in EACH else value for name, value in options.items()}
        own = histories[k] = fit(one, x_k, y_k, optimizer=rule(of(rate, k)), **mine)
        np.testing.assert_allclose(net.theta[k], one.theta, rtol=1e-11, atol=1e-13)
        for name, column in own.to_dict().items():
            if name not in ("time", "epoch"):
                ours = [of(entry, k) for entry in history.to_dict()[name][: len(column)]]
                np.testing.assert_allclose(ours, column, rtol=1e-11, atol=1e-13)
    return history, histories


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("each", [False, True])
def test_every_optimizer(net, rule, each):
    rate = np.linspace(0.01, 0.04, len(net)) if each else 0.02
    history, _ = check_one_by_one(net, rule, learning_rate=rate)
    assert np.shape(history.loss) == (4, len(net))
    if each:
        np.testing.assert_array_equal(history.learning_rate, [rate] * 4)
    else:
        assert history.learning_rate == [0.02] * 4


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("each", [False, True])
def test_every_schedule(net, schedule, each):
    rate = np.linspace(0.01, 0.05, len(net)) if each else 0.03
    history, histories = check_one_by_one(net, lambda rate: SGD(schedule(rate)), learning_rate=rate, epochs=6)
    rates = [own.learning_rate for own in histories.values()]
    assert any(rate[0] != rate[-1] for rate in rates)
    assert len(history.learning_rate) == 6


def test_a_plateau_is_each_networks_own():
    how = {"epochs": 6, "validation": (X_HELD, Y_HELD)}
    history, _ = check_one_by_one(make(4), lambda rate: SGD(plateau(rate, min_delta=0.1)), **how)
    assert len({tuple(rates) for rates in np.array(history.learning_rate[1:]).T}) > 1


def test_penalties_and_clipping_of_each_network(net):
    strengths = np.linspace(0, 0.3, len(net))
    check_one_by_one(net, l1=strengths[::-1], l2=strengths)
    check_one_by_one(net, l1=0.01, l2=0.2)
    check_one_by_one(net, Adam, l2=list(strengths))
    check_one_by_one(net, clip_norm=0.4)
    check_one_by_one(net, clip_value=0.05)


@pytest.mark.parametrize("size", [1, 4, 13, None])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_batch_size(net, size, shuffle):
    check_one_by_one(net, batch_size=size, shuffle=shuffle)


def test_data_for_all_or_for_each(net):
    own_x = X + 0.3 * noise(len(net), M, 3)
    own_y = Y + 0.3 * noise(len(net), M, 2)
    for x, y in [(own_x, Y), (X, own_y), (own_x, own_y)]:
        check_one_by_one(net, x=x, y=y)
        check_one_by_one(net, x=x, y=y, batch_size=None)


def test_weights_validation_and_metrics(net):
    history, _ = check_one_by_one(
        net,
        sample_weight=np.linspace(0.2, 1.2, M),
        validation=(X_HELD, Y_HELD, np.linspace(0.1, 1, 9)),
        metrics=["mean_squared_error", "r2"],
    )
    assert np.shape(history.validation_loss) == np.shape(history.metrics["r2"]) == (4, len(net))
    check_one_by_one(net, validation=0.3, metrics="mean_absolute_error", batch_size=None)
    found = evaluate(net, X_HELD, Y_HELD, metrics="r2")
    for k in (0, len(net) - 1):
        own = evaluate(net[k], X_HELD, Y_HELD, metrics="r2")
        assert {name: pytest.approx(column[k]) for name, column in found.items()} == own


def test_classes():
    net = MLP.init((3, 5, 3), activation="relu", loss="cross_entropy", networks=5, rng=1)
    y = np.eye(3)[np.arange(M) * 5 % 3]
    history, _ = check_one_by_one(net, Adam, y=y, metrics="accuracy", class_weight="balanced")
    assert np.shape(history.metrics["accuracy"]) == (4, 5)


def test_float32_stays(net):
    single = net.astype("float32")
    history = fit(single, X, Y, epochs=3, batch_size=4, optimizer=SGD(0.05), rng=3)
    double = fit(net, X, Y, epochs=3, batch_size=4, optimizer=SGD(0.05), rng=3)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.theta, net.theta, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(history.loss, double.loss, rtol=1e-5)
    assert history.loss[0].dtype == np.float64


def test_batches_of_an_iterable(net):
    own = X[:5] + noise(len(net), 5, 3)
    batches = [(X[:6], Y[:6]), (own, Y[:5]), (X[6:], Y[6:], np.linspace(0.1, 1, 7))]
    alone = [one.copy() for one in net]
    history = fit(net, batches, epochs=3, optimizer=SGD(0.05))
    for k in (0, 2, len(net) - 1):
        mine = [batches[0], (own[k], Y[:5]), batches[2]]
        one = fit(alone[k], mine, epochs=3, optimizer=SGD(0.05))
        np.testing.assert_allclose(net.theta[k], alone[k].theta, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose([losses[k] for losses in history.loss], one.loss, rtol=1e-11)


def test_a_stack_of_one_trains_as_the_network_alone():
    for dropout in (0.0, 0.4):
        net = make(1)
        one = net[0].copy()
        history = fit(net, X, Y, epochs=5, batch_size=4, rng=1, dropout=dropout)
        own = fit(one, X, Y, epochs=5, batch_size=4, rng=1, dropout=dropout)
        np.testing.assert_array_equal(net.theta[0], one.theta)
        np.testing.assert_array_equal(np.array(history.loss)[:, 0], own.loss)
    for networks in (None, 1):  # whose order is that of each
        first, second = make(networks), make(networks)
        fit(first, X, Y, epochs=3, batch_size=4, rng=2, shuffle=True)
        fit(second, X, Y, epochs=3, batch_size=4, rng=2, shuffle="each")
        np.testing.assert_array_equal(first.theta, second.theta)


def test_dropout_drops_in_each_network_for_itself(net):
    net.theta[...] = net.theta[0]
    start = net.theta[0].copy()
    fit(net, X, Y, epochs=1, batch_size=None, optimizer=SGD(0.05), dropout={2: 0.5}, rng=0)
    assert len(np.unique(net.theta, axis=0)) == len(net)
    steps = net.theta - start
    assert abs(steps).max() < 1
    twin = make(len(net))
    twin.theta[...] = start
    fit(twin, X, Y, epochs=1, batch_size=None, optimizer=SGD(0.05), dropout={2: 0.5}, rng=0)
    np.testing.assert_array_equal(twin.theta, net.theta)


def orders(seed, epochs, networks):
    rng = np.random.default_rng(seed)
    return [[rng.permutation(M) for _ in range(networks)] for _ in range(epochs)]


@pytest.mark.parametrize("own_data", [False, True])
def test_each_network_may_have_its_own_order(net, own_data):
    x = X + 0.3 * noise(len(net), M, 3) if own_data else X
    y = Y + 0.3 * noise(len(net), M, 2) if own_data else Y
    weight = np.linspace(1.3, 0.3, M)
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
    spy = Spy(1e-12, lambda theta, g: g.copy())
    x, y = np.arange(M, dtype=float)[:, None] * [1, 0, 0], np.zeros((M, 2))
    net = MLP.init((3, 2), activation="identity", networks=3, rng=0)
    net.theta[...] = 0
    net.b[2][...] = 1  # with rate 0 or so, the gradient of W tells the mean of x[:, 0]
    fit(net, x, y, epochs=1, batch_size=1, optimizer=spy, shuffle="each", validation=0.25)
    rows = np.round(np.array(spy.seen)[:, :, 0]).astype(int)
    assert rows.shape == (10, 3)
    assert all(len(set(column)) == 10 for column in rows.T)
    assert len({tuple(sorted(column)) for column in rows.T}) == 1
    assert len({tuple(column) for column in rows.T}) == 3


def test_each_reads_files_row_by_row(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    nets, how = (make(3), make(3)), {"epochs": 2, "batch_size": 4, "rng": 2, "shuffle": "each"}
    for net, x in zip(nets, (mapped, X), strict=True):
        fit(net, x, Y, **how)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    mapped[7, 1] = np.nan
    with complains(ValueError, "row 7 of the data: x must be finite, but x[0, 1] is nan"):
        fit(nets[0], mapped, Y, **how)


def test_an_order_for_each_is_for_arrays_that_leave_room_for_it(monkeypatch):
    with complains(ValueError, 'shuffle="each" is for arrays; an iterable gives its batches…'):
        fit(make(), [(X, Y)], epochs=1, shuffle="each")
    monkeypatch.setattr(arrays, "memory_of_machine", lambda: 6000.0)
    with complains(MemoryError, "the orders of 200 samples for 4 networks need 6.4 kB, but this …"):
        x, y = np.ones((200, 3)), np.ones((200, 2))
        fit(make(4), x, y, epochs=1, shuffle="each", batch_size=1)


def test_callbacks_and_views_see_the_callers_net_as_it_trains(net, capsys, monkeypatch):
    thetas, start, theta, one, W = [], net.theta.copy(), net.theta, net[1], net.W[3]

    def watch(training):
        np.testing.assert_array_equal(training.net.theta, net.theta)
        thetas.append(net.theta.copy())

    monkeypatch.setitem(sys.modules, "tqdm", None)
    rates = np.linspace(0.01, 0.03, len(net))
    how = {"epochs": 3, "batch_size": 4, "progress": True, "callbacks": [watch]}
    last = fit(net, X, Y, optimizer=SGD(rates), **how).loss[-1]
    shown = f"epoch 3/3  loss {last.min():.4g}..{last.max():.4g}  learning_rate 0.01..0.03"
    assert shown in capsys.readouterr().err
    assert len(np.unique([start, *thetas], axis=0)) == 4
    np.testing.assert_array_equal(thetas[-1], net.theta)
    assert net.theta is theta
    np.testing.assert_array_equal(one.theta, theta[1])
    np.testing.assert_array_equal(W[1], one.W[3])
    assert np.shares_memory(one.theta, net.theta)


def test_the_state_of_an_optimizer_may_be_kept(net):
    once, optimizer = net.copy(), Adam(0.02)
    fit(once, X, Y, epochs=6, shuffle=False, batch_size=4, optimizer=Adam(0.02))
    for _ in range(3):
        fit(net, X, Y, epochs=2, shuffle=False, batch_size=4, optimizer=optimizer, keep_state=True)
    np.testing.assert_array_equal(net.theta, once.theta)
    assert optimizer.t == 24


NEED = "but one is needed for each network of a stack, and theta has shape (4, 26)"
ONE_EACH = "but must be one number, or one for each network of a stack: (4,)"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": SGD([0.1, 0.2, 0.3])}, f"learning_rate holds 3 numbers, {NEED}"),
        ({"optimizer": Adam([])}, f"learning_rate holds 0 numbers, {NEED}"),
        ({"l2": [0.1, 0.2]}, f"l2 has shape (2,), {ONE_EACH}"),
        ({"l1": np.ones((4, 1))}, f"l1 has shape (4, 1), {ONE_EACH}"),
        ({"l2": [0, 0, -1, 0]}, "l2[2] must be >= 0, not -1"),
        ({"x": np.ones((3, M, 3))}, "x has shape (3, 13, 3), but …, or (4, m, 3), a batch for…"),
        ({"optimizer": LBFGS()}, "L-BFGS trains one network: train net[k] for each k of a stack"),
    ],
)
def test_what_does_not_fit_a_stack_is_refused_before_the_first_step(wrong, message):
    with refuses(make(4), ValueError, message) as net:
        fit(net, **({"x": X, "y": Y, "epochs": 1} | wrong))
    with complains(ValueError, "learning_rate[1] must be > 0, not 0"):
        SGD([0.1, 0.0])


def test_a_training_that_cannot_fit_fails_before_it_begins(monkeypatch):
    net, single = make(4), make(None)
    monkeypatch.setattr(arrays, "memory_of_machine", lambda: 6528 / arrays.MEMORY)
    fit(net, X, Y, epochs=100, batch_size=4, optimizer=SGD(0.01))  # 4 (4 · 26 + 100) numbers
    with complains(MemoryError, "4 networks of 26 parameters over 100 epochs need 8.19 kB, but …"):
        fit(net, X, Y, epochs=100, batch_size=4)  # Adam keeps two vectors more
    with complains(MemoryError, "4 networks of 26 parameters over 101 epochs need 6.56 kB, …"):
        fit(net, X, Y, epochs=101, batch_size=4, optimizer=SGD(0.01))
    fit(single, X, Y, epochs=500, batch_size=None, optimizer=SGD(0.01))
    monkeypatch.setattr(arrays, "HEAVIEST", 0)  # in turns, with room for one
    fit(net, X, Y, epochs=178, batch_size=4, optimizer=SGD(0.01))
    with complains(MemoryError, "4 networks of 26 parameters over 179 epochs need…"):
        fit(net, X, Y, epochs=179, batch_size=4, optimizer=SGD(0.01))
