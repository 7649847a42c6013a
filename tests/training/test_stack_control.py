"""A stack in training, network by network: early stopping, divergence, checkpoints."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bpnet import MLP, SGD, Adam, EarlyStopping, InvalidFile, TrainingDiverged, evaluate, fit
from bpnet.training.divergence import advice, first_not_finite
from tests.helpers.complaint import complains
from tests.helpers.rules import SCHEDULES, plateau
from tests.helpers.stack_problem import X_HELD, Y_HELD, X, Y, make

HOW = {"batch_size": 4, "rng": 3, "epochs": 60}
HELD = {"validation": (X_HELD, Y_HELD)}
STOPPERS = {
    "on validation": (EarlyStopping(patience=2), HELD),
    "on the loss": (EarlyStopping(patience=1), {}),
    "by a least improvement": (EarlyStopping(0, min_delta=0.005, monitor="loss"), HELD),
    "with the last weights": (EarlyStopping(patience=1, restore_best=False), HELD),
}


@pytest.mark.parametrize(("stopper", "options"), STOPPERS.values(), ids=STOPPERS)
def test_each_network_stops_as_it_would_alone(way, stopper, options):
    net, thetas = make(way), []
    rates = np.linspace(0.02, 0.3, way)
    alone = {k: net[k].copy() for k in (0, 1, way // 2, way - 1)}
    options = {"early_stopping": stopper, **HOW, **options}
    watch = [lambda training: thetas.append(training.net.theta.copy())]
    history = fit(net, X, Y, optimizer=SGD(rates), callbacks=watch, **options)
    ends = []
    for k, one in alone.items():
        own = fit(one, X, Y, optimizer=SGD(rates[k]), **options)
        ends.append(len(own))
        np.testing.assert_allclose(net.theta[k], one.theta, rtol=1e-10, atol=1e-12)
        assert history.best_epoch[k] == own.best_epoch
        stood_still = [theta[k] for theta in thetas[len(own) - 1 :]]
        np.testing.assert_array_equal(stood_still, [stood_still[0]] * len(stood_still))
        moved = [theta[k] for theta in thetas[: len(own)]]
        assert len(np.unique(moved, axis=0)) == len(moved)
        for name in ("loss", "validation_loss"):
            mine = [entry[k] for entry in getattr(history, name)[: len(own)]]
            np.testing.assert_allclose(mine, getattr(own, name), rtol=1e-10)
    assert len(set(ends)) > 1
    assert len(history) >= max(ends)
    assert (history.stopped == "early stopping") == (len(history) < 60)


def diverge(net, rates, who=2, **options):
    """Train with a rate at which one network diverges; return the history and the warning."""
    options = {"epochs": 4, "batch_size": 4, "rng": 3} | options
    with pytest.warns(RuntimeWarning) as caught:
        history = fit(net, X, Y, optimizer=SGD(rates), **options)
    told = [str(warning.message) for warning in caught if "diverged" in str(warning.message)]
    assert len(told) == 1
    assert told[0].startswith(f"network {who} diverged in epoch")
    assert all(warning.filename == __file__ for warning in caught)
    return history, told[0]


def rates_of(networks, who=2, wild=1e80):
    rates = np.linspace(0.01, 0.04, networks)
    rates[who] = wild
    return rates


def test_divergence_of_one_leaves_the_others_alone(way):
    """The others have the bits that they have beside a tame network, or without any."""
    net, tame = make(way, "identity"), make(way, "identity")
    others = np.arange(way) != 2
    without = MLP.stack([one for k, one in enumerate(net) if k != 2])
    history, _ = diverge(net, rates_of(way))
    fit(tame, X, Y, epochs=4, batch_size=4, rng=3, optimizer=SGD(rates_of(way, wild=0.02)))
    fit(without, X, Y, epochs=4, batch_size=4, rng=3, optimizer=SGD(rates_of(way)[others]))
    np.testing.assert_array_equal(net.theta[others], tame.theta[others])
    np.testing.assert_array_equal(net.theta[others], without.theta)
    losses = np.array(history.loss)
    assert np.isfinite(losses[:, others]).all()
    assert not np.isfinite(losses[:, 2]).any()
    assert (losses[-1, others] < losses[0, others]).all()


def test_a_diverged_network_keeps_its_last_finite_weights(way):
    net = make(way, "identity")
    alone = net[2].copy()
    history, text = diverge(net, rates_of(way))
    with pytest.raises(TrainingDiverged) as raised:
        fit(alone, X, Y, epochs=4, batch_size=4, rng=3, optimizer=SGD(1e80))
    error = raised.value
    np.testing.assert_allclose(net.theta[2], alone.theta, rtol=1e-12)
    assert np.isfinite(net.theta).all()
    place = {"epoch": error.epoch, "step": error.step, "layer": error.layer}
    assert history.diverged == [{"network": 2} | place]
    assert text.replace("network 2", "training").removesuffix("; the others go on") == str(error)
    assert history.stopped is None
    assert len(history) == 4


def test_the_advice_is_of_the_networks_own_rate():
    rates = np.array([1e-3, 1e-3, 1e80, 1e-3, 1e-3])
    _, text = diverge(make(5, "identity"), rates)
    assert "the learning rate in use, 1e+80, is likely too large; try 1e+79" in text
    net = make(3, "identity")
    net.W[3][1] = 1e200  # this one diverges by its weights, at a rate lower than the others'
    _, text = diverge(net, np.array([0.02, 0.01, 0.02]), who=1)
    assert "no step was taken yet, so scale the data or the start weights" in text


def test_advice_and_place_are_of_the_first_that_went_wrong():
    text = advice([0.1, 5.0], np.array([True, False]))
    assert text.endswith("in use, 0.1, is likely too large; try 0.01")
    net = make(None)
    cache = net.forward(X)
    grad = net.backward(cache, Y)
    grad.delta[2][0, 0] = grad.delta[3][0, 0] = np.nan
    assert first_not_finite(cache, grad, None, backward=True) == (3, "delta")  # from the output on


def test_networks_that_diverge_at_different_times_are_named_each():
    net = make(5, "identity")
    rule = SGD([0.01, 1e80, 0.01, 1e30, 0.02])
    with pytest.warns(RuntimeWarning) as caught:
        history = fit(net, X, Y, optimizer=rule, epochs=6, batch_size=4, rng=3)
    told = [str(warning.message) for warning in caught]
    first, second = history.diverged
    assert (first["network"], second["network"]) == (1, 3)
    assert (first["epoch"], first["step"]) < (second["epoch"], second["step"])
    for k in (1, 3):
        assert sum(text.startswith(f"network {k} diverged") for text in told) == 1
    assert np.isfinite(net.theta).all()


def test_networks_that_diverge_together_are_named_together():
    net = make(9, "identity")
    lost = [0, 1, 3, 4, 5, 6, 8]
    net.W[3][lost] = 1e200
    with pytest.warns(RuntimeWarning) as caught:
        history = fit(net, X, Y, optimizer=SGD(0.01), epochs=3, batch_size=4)
    assert [str(warning.message) for warning in caught] == [
        "networks 0, 1, 3, 4, 5 and 2 more diverged in epoch 1, step 1: the loss is not finite, "
        "from the loss of a[3] on; no step was taken yet, so scale the data or the start weights. "
        "The net keeps its last finite weights; the others go on"
    ]
    assert [entry["network"] for entry in history.diverged] == lost
    net = make(3, "identity")
    net.W[2][0] = 1e200
    net.W[3][0] = 1e200  # its z³ overflows
    net.W[3][2] = 1e200  # its z³ is finite, its square is not
    with pytest.warns(RuntimeWarning):
        history = fit(net, X, Y, optimizer=SGD(0.01), epochs=1, batch_size=None)
    place = {"epoch": 1, "step": 1, "layer": 3}
    assert history.diverged == [{"network": 0} | place, {"network": 2} | place]


def test_all_diverged_raises(way):
    net = make(way, "identity")
    warnings.simplefilter("ignore")  # on the way, of those that diverge earlier
    with pytest.raises(TrainingDiverged, match=r"^networks? .* diverged in epoch \d") as raised:
        fit(net, X, Y, epochs=9, batch_size=4, rng=3, optimizer=SGD(1e80))
    history = raised.value.history
    assert sorted(entry["network"] for entry in history.diverged) == list(range(way))
    assert np.isfinite(net.theta).all()


def test_a_step_that_overflows_is_divergence_too():
    net = make(3, "identity")
    start = net.theta.copy()
    with pytest.warns(RuntimeWarning, match="network 1 diverged .* the step is not finite"):
        fit(net, X, 5 * Y, epochs=1, batch_size=None, optimizer=SGD([0.01, 1.7e308, 0.01]))
    np.testing.assert_array_equal(net.theta[1], start[1])
    assert (net.theta[[0, 2]] != start[[0, 2]]).all()


def test_clipping_and_penalties_leave_the_diverged_where_it_is():
    net, tame = make(5, "identity"), make(5, "identity")
    net.W[3][2] = 1e200
    how = {"epochs": 3, "clip_norm": 1.0, "clip_value": 0.5, "l2": 0.1, "rng": 1}
    with pytest.warns(RuntimeWarning, match="network 2 diverged"):
        fit(net, X, Y, optimizer=Adam(0.01), **how)
    fit(tame, X, Y, optimizer=Adam(0.01), **how)
    others = np.arange(5) != 2
    np.testing.assert_array_equal(net.theta[others], tame.theta[others])


def test_a_diverged_network_is_not_waited_for():
    net = make(3)
    net.W[3][1] = 1e200
    with pytest.warns(RuntimeWarning, match="network 1 diverged"):
        history = fit(net, X, Y, optimizer=SGD(0.3), early_stopping=3, **HELD, **HOW)
    assert history.stopped == "early stopping"
    assert np.isfinite(net.theta).all()
    assert [entry["network"] for entry in history.diverged] == [1]
    best = np.argmin(np.array(history.validation_loss)[:, [0, 2]], axis=0) + 1
    np.testing.assert_array_equal(history.best_epoch[[0, 2]], best)

    def spoil(training):
        if training.epoch == 8:
            training.net.W[3][1] = 1e200

    rates, how = [1e-300, 0.01], {"early_stopping": EarlyStopping(3, monitor="loss")}
    with pytest.warns(RuntimeWarning, match="network 1 diverged in epoch 9"):  # the last one
        history = fit(make(2), X, Y, optimizer=SGD(rates), callbacks=[spoil], **how, **HOW)
    assert (len(history), history.stopped) == (9, "early stopping")


def test_a_loss_that_explodes_warns_once_with_the_network():
    net = MLP.init((3, 2), activation="identity", networks=4, rng=0)
    with pytest.warns(RuntimeWarning) as caught:
        fit(net, X, Y, optimizer=SGD([0.01, 0.02, 6.0, 3.0]), epochs=8, batch_size=None)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith("the loss of network 2 has grown in epoch")
    assert text.endswith("the learning rate in use, 6, is likely too large; try 0.6")
    assert caught[0].filename == __file__


def trainings(way):
    rates = np.linspace(0.01, 0.05, way)
    return {
        "Adam, an order for each": {"optimizer": Adam(rates), "shuffle": "each"},
        "a plateau for each":
            {"optimizer": SGD(plateau(rates), 0.5), "l2": rates, "metrics": "r2", **HELD},
        "early stopping": {"optimizer": SGD(8 * rates), "early_stopping": EarlyStopping(3), **HELD},
        "dropout": {"optimizer": Adam(SCHEDULES["cosine"](0.03)), "dropout": 0.3, "clip_norm": 1.0},
    }  # fmt: skip


@pytest.mark.parametrize("kind", trainings(2))
@pytest.mark.parametrize("cut", [1, 5])
def test_resuming_ends_with_the_same_bits(way, kind, cut, tmp_path):
    path = tmp_path / "state.npz"
    how = {"epochs": 8, "batch_size": 4, "rng": 4}

    def stop(training):
        if training.epoch == cut + 1:
            raise InterruptedError

    whole, parts = make(way), make(way)
    expected = fit(whole, X, Y, **trainings(way)[kind], **how)
    with pytest.raises(InterruptedError):
        fit(parts, X, Y, **trainings(way)[kind], **how, checkpoint=path, callbacks=[stop])
    parts.theta += 1
    history = fit(parts, X, Y, **trainings(way)[kind], **how, checkpoint=path, resume=True)
    np.testing.assert_array_equal(parts.theta, whole.theta)
    for name, column in expected.to_dict().items():
        if name != "time":
            for ours, theirs in zip(history.to_dict()[name], column, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(history.best_epoch, expected.best_epoch)
    assert history.stopped == expected.stopped


def test_what_has_diverged_or_finished_stays_so_after_resuming(way, tmp_path):
    path = tmp_path / "state.npz"
    net = make(way, "identity")
    history, _ = diverge(net, rates_of(way), checkpoint=path, epochs=3)
    kept = net.theta.copy()
    how = {"epochs": 6, "batch_size": 4, "rng": 3, "checkpoint": path, "resume": True}
    resumed = fit(net, X, Y, optimizer=SGD(rates_of(way)), **how)  # with no further warning
    assert resumed.diverged == history.diverged
    np.testing.assert_array_equal(net.theta[2], kept[2])
    others = np.arange(way) != 2
    assert (net.theta[others] != kept[others]).any(axis=1).all()


def test_a_checkpoint_is_of_one_number_of_networks_and_one_shuffle(tmp_path):
    path = tmp_path / "state.npz"
    how = {"epochs": 2, "optimizer": SGD(0.01), "checkpoint": path}
    fit(make(5), X, Y, **how)
    with complains(InvalidFile, "…networks is [4], but was [5]…"):
        fit(make(4), X, Y, resume=True, **how)
    with complains(InvalidFile, "…shuffle is 'each', but was True"):
        fit(make(5), X, Y, resume=True, shuffle="each", **how)
    with complains(InvalidFile, "…l2 is [0.1, 0.0, 0.0, 0.0, 0.0], but was 0.0"):
        fit(make(5), X, Y, resume=True, l2=[0.1, 0, 0, 0, 0], **how)
    how["optimizer"] = SGD([0.01, 0.01, 0.01, 0.01, 0.02])
    with complains(InvalidFile, "…optimizer is …, but was …"):
        fit(make(5), X, Y, resume=True, **how)
    net, rates = make(1500), np.full(1500, 0.01)
    fit(net, X, Y, epochs=1, optimizer=SGD(rates), checkpoint=path)
    rates[700] = 0.02  # one of many is told too
    with complains(InvalidFile, "…optimizer is ...…0.01, 0.02, 0.01…, but was ...…0.01, 0.01, …"):
        fit(net, X, Y, epochs=2, optimizer=SGD(rates), checkpoint=path, resume=True)


def test_metrics_of_a_stack_are_of_each_networks_own_targets(way):
    net = make(way)
    y = np.linspace(0.5, 2, way)[:, None, None] * Y

    def worst(y, a):
        assert y.shape == a.shape == Y.shape
        return abs(y - a).max()

    names = ["mean_squared_error", "r2", worst]
    history = fit(net, X, y, epochs=2, batch_size=4, optimizer=SGD(0.01), metrics=names)
    for k in (0, 1, way - 1):
        own = evaluate(net[k], X, y[k], metrics=names)
        for name, column in history.metrics.items():
            assert column[-1][k] == pytest.approx(own[name], rel=1e-11)
