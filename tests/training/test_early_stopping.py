"""Validation data, and early stopping with the best weights."""

import math

import numpy as np
import pytest

from bpnet import SGD, EarlyStopping, evaluate, fit
from tests.helpers.complaint import complains, refuses
from tests.helpers.regression import FAR, ZERO, X, Y, drift, drifting, make

# Validation


def test_validation_loss_is_that_of_the_data_given():
    net = make()
    x, y, weight = X[:7] * 2, Y[:7], np.arange(1.0, 8.0)
    for data in ((x, y), (x, y, weight), [x.tolist(), y.tolist()]):
        history = fit(net, X, Y, epochs=2, validation=data)
        expected = evaluate(net, *data[:2], sample_weight=data[2] if len(data) == 3 else None)
        assert history.validation_loss[-1] == pytest.approx(expected["loss"], rel=1e-13)
        assert len(history.validation_loss) == 2


def test_rows_left_by_a_fraction_keep_their_order_without_shuffle():
    seen, x = [], np.arange(1.0, 21.0)[:, None] * [1, 0, 0]

    class Spy(SGD):
        def compute(self, theta, g, move):
            seen.append(round(g[0] / g[12]))
            super().compute(theta, g, move)

    how = {"epochs": 2, "batch_size": 1, "optimizer": Spy(1e-9), "validation": 0.25}
    fit(make(), x, Y, shuffle=False, **how)
    assert seen[:15] == seen[15:] == sorted(set(seen))


def test_fraction_is_set_aside_at_random_and_not_trained_on():
    x = np.arange(1.0, 21.0)[:, None] * [1, 0, 0]
    seen, net = set(), make()

    class Spy(SGD):
        def compute(self, theta, g, move):
            # of one sample, ∂E/∂W² = δ² xᵀ and ∂E/∂b² = δ²: their ratio is x
            seen.add(round(g[0] / g[12]))
            super().compute(theta, g, move)

    history = fit(
        net, x, Y, epochs=3, validation=0.25, batch_size=1, optimizer=Spy(1e-9), metrics="r2"
    )
    assert len(seen) == 15
    aside = sorted(set(range(1, 21)) - seen)
    assert aside != list(range(16, 21))
    rows = np.array(aside) - 1
    expected = evaluate(net, x[rows], Y[rows], metrics="r2")
    assert history.validation_loss[-1] == pytest.approx(expected["loss"], rel=1e-6)
    assert history.metrics["r2"][-1] == pytest.approx(expected["r2"], rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (ValueError, 1.0, "validation must be > 0 and < 1, not 1"),
        (ValueError, 0, "validation must be > 0 and < 1, not 0"),
        (ValueError, -0.5, "validation must be > 0 and < 1, not -0.5"),
        (TypeError, True, "validation must be a number, not True"),
        (
            ValueError,
            0.01,
            "validation=0.01 of 20 samples leaves 0 to validate and 20 to train on: both need some",
        ),
        (ValueError, 0.99, "validation=0.99 of 20 samples leaves 20 to validate and 0 to train…"),
        (ValueError, (X,), "validation must be (x, y) or (x, y, sample_weight), not 1 arrays"),
        (
            TypeError,
            X,
            "validation must be (x, y), (x, y, sample_weight) or a fraction, not ndarray",
        ),
        (TypeError, "0.2", "validation must be (x, y), (x, y, sample_weight) or a fraction…"),
        (ValueError, (X[:, :2], Y), "validation: x has shape (20, 2), but this net takes 3 inp…"),
        (ValueError, (X, Y[:, :1]), "validation: y has shape (20, 1), but this net has 2 outp…"),
        (ValueError, (X, Y[:5]), "validation: x has 20 rows, but y has 5: each sample needs both"),
        (ValueError, (X, Y * np.nan), "validation: y must be finite, but y[0, 0] is nan"),
        (ValueError, (X, Y, [1.0]), "validation: sample_weight has shape (1,), but there are…"),
        (TypeError, (X, "ab"), "validation: y must hold real numbers, but holds text: …"),
    ],
)
def test_bad_validation(kind, given, message):
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, validation=given)


def test_iterable_has_no_fraction():
    message = "a fraction cannot be set aside of an iterable: give validation=(x, y)"
    with complains(ValueError, message):
        fit(make(), [(X, Y)], epochs=1, validation=0.2)


# Early stopping


@pytest.mark.parametrize(
    ("options", "losses", "stop_at", "best"),
    [
        ({"patience": 0}, [3.0, 2.0, 2.0], 3, 2),
        ({"patience": 1}, [3.0, 2.0, 2.5, 2.0], 4, 2),
        ({"patience": 2}, [3.0, 3.5, 3.0, 2.0, 2.0, 2.0, 2.0], 7, 4),
        ({"patience": 0, "min_delta": 0.5}, [3.0, 2.4, 1.9], 3, 2),
        ({"patience": 0, "min_delta": 0.5}, [3.0, 2.5], 2, 1),
        ({"patience": 1}, [3.0, math.nan, 2.0, math.nan, math.nan], 5, 3),
        ({}, [1.0] * 12, 12, 1),
    ],
)
def test_patience_and_min_delta(options, losses, stop_at, best):
    stopper = EarlyStopping(**options)
    for epoch, loss in enumerate(losses, 1):
        stop = stopper.observe(loss, epoch, np.array([float(epoch)]))
        assert bool(stop) == (epoch == stop_at)
    assert stopper.best_epoch == best
    assert stopper.best == losses[best - 1]
    assert list(stopper.best_theta) == [best]
    stopper.start()
    assert (stopper.best, stopper.waited, stopper.best_theta) == (math.inf, 0, None)
    assert stopper.best_epoch == 0


def test_training_stops_and_the_best_weights_are_restored():
    thetas, net = [], drifting()
    history = drift(net, early_stopping=2, callbacks=[lambda t: thetas.append(t.net.theta.copy())])
    best = int(np.argmin(history.validation_loss))
    assert 0 < best < 49
    assert len(history) == best + 1 + 3
    assert history.best_epoch == best + 1
    assert history.stopped == "early stopping"
    assert np.array_equal(net.theta, thetas[best])
    assert type(history.best_epoch) is int
    net = drifting()
    drift(net, early_stopping=EarlyStopping(2, restore_best=False))
    assert np.array_equal(net.theta, thetas[-1])


def test_what_is_monitored():
    for monitor, stopped in ((None, True), ("validation_loss", True), ("loss", False)):
        history = drift(early_stopping=EarlyStopping(1, monitor=monitor), epochs=20)
        assert (history.stopped is not None) == stopped
    history = drift(early_stopping=EarlyStopping(1, min_delta=1.0), epochs=20, validation=None)
    assert history.best_epoch < len(history) < 20


def test_best_weights_are_restored_after_the_last_epoch_too():
    net = drifting()
    history = drift(net, early_stopping=50, epochs=8)
    assert history.stopped is None
    assert history.best_epoch == 1 + np.argmin(history.validation_loss) < 8
    assert evaluate(net, ZERO, FAR)["loss"] == min(history.validation_loss)


def test_early_stopping_may_be_used_again():
    stopping = EarlyStopping(1)
    lengths = [len(drift(early_stopping=stopping)) for _ in range(2)]
    assert lengths[0] == lengths[1] < 50


@pytest.mark.parametrize(
    ("kind", "make_it", "message"),
    [
        (ValueError, lambda: EarlyStopping(-1), "patience must be an integer >= 0, not -1"),
        (TypeError, lambda: EarlyStopping(1.5), "patience must be an integer, not 1.5"),
        (ValueError, lambda: EarlyStopping(min_delta=-1), "min_delta must be >= 0, not -1"),
        (ValueError, lambda: -1, "early_stopping must be an integer >= 0, not -1"),
        (TypeError, lambda: True, "early_stopping must be an integer, not True"),
        (TypeError, lambda: "3", "early_stopping must be an integer, not '3'"),
        (
            ValueError,
            lambda: EarlyStopping(monitor="validation_loss"),
            "early stopping on the validation loss needs validation data",
        ),
    ],
)
def test_bad_early_stopping(kind, make_it, message):
    with complains(kind, message):
        fit(make(), X, Y, epochs=1, early_stopping=make_it())
