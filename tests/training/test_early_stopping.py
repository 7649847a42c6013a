"""Validation data, and early stopping on a loss or a metric with the best weights."""

import math

import numpy as np
import pytest

from bpnet import MLP, Adam, EarlyStopping, InvalidFile, evaluate, fit
from bpnet.training.data import set_aside
from tests.helpers.complaint import complains, refuses
from tests.helpers.regression import FAR, ZERO, X, Y, drift, drifting, make
from tests.helpers.rules import Spy
from tests.helpers.three_classes import X as CLASSES_X
from tests.helpers.three_classes import Y as CLASSES_Y


def test_validation_loss_is_that_of_the_data_given():
    net = make()
    x, y, weight = X[:7] * 2, Y[:7], np.arange(1.0, 8.0)
    for data in ((x, y), (x, y, weight), [x.tolist(), y.tolist()]):
        history = fit(net, X, Y, epochs=2, validation=data)
        expected = evaluate(net, *data[:2], sample_weight=data[2] if len(data) == 3 else None)
        assert history.validation_loss[-1] == pytest.approx(expected["loss"], rel=1e-13)
        assert len(history.validation_loss) == 2


@pytest.mark.parametrize("shuffle", [False, True])
def test_fraction_is_set_aside_at_random_and_not_trained_on(shuffle):
    x, net = np.arange(1.0, 21.0)[:, None] * [1, 0, 0], make()
    spy = Spy(1e-9, lambda theta, g: round(g[0] / g[12]))  # ∂E/∂W² is δ² x of one row, ∂E/∂b² δ²
    how = {"batch_size": 1, "optimizer": spy, "validation": 0.25, "shuffle": shuffle}
    history = fit(net, x, Y, epochs=3, metrics="r2", **how)
    first, second = spy.seen[:15], spy.seen[15:30]
    assert sorted(first) == sorted(second) == sorted(set(first))
    assert (first == second == sorted(first)) == (not shuffle)
    aside = sorted(set(range(1, 21)) - set(spy.seen))
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
        (ValueError, 0.01,
         "validation=0.01 of 20 samples leaves 0 to validate and 20 to train on: both need some"),
        (ValueError, 0.99, "validation=0.99 of 20 samples leaves 20 to validate and 0 to train…"),
        (ValueError, (X,), "validation must be (x, y) or (x, y, sample_weight), not 1 arrays"),
        (TypeError, X, "validation must be (x, y), (x, y, sample_weight) or a fraction, not nda…"),
        (TypeError, "0.2", "validation must be (x, y), (x, y, sample_weight) or a fraction, not…"),
        (ValueError, (X[:, :2], Y), "validation: x has shape (20, 2), but this net takes 3 inp…"),
        (ValueError, (X, Y[:, :1]), "validation: y has shape (20, 1), but this net has 2 outp…"),
        (ValueError, (X, Y[:5]), "validation: x has 20 rows, but y has 5: each sample needs both"),
        (ValueError, (X, Y * np.nan), "validation: y must be finite, but y[0, 0] is nan"),
        (ValueError, (X, Y, [1.0]), "validation: sample_weight has shape (1,), but there are…"),
        (TypeError, (X, "ab"), "validation: y must hold real numbers, but holds text: …"),
    ],
)  # fmt: skip
def test_bad_validation(kind, given, message):
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, validation=given)
    message = "a fraction cannot be set aside of an iterable: give validation=(x, y)"
    with complains(ValueError, message):
        fit(make(), [(X, Y)], epochs=1, validation=0.2)


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
    state = stopper.best, stopper.waited, stopper.best_theta, stopper.best_epoch
    assert state == (math.inf, 0, None, 0)


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
    net = drifting()
    history = drift(net, early_stopping=50, epochs=8)  # after the last epoch too
    assert history.stopped is None
    assert history.best_epoch == 1 + np.argmin(history.validation_loss) < 8
    assert evaluate(net, ZERO, FAR)["loss"] == min(history.validation_loss)
    for monitor, stopped in ((None, True), ("validation_loss", True), ("loss", False)):
        history = drift(early_stopping=EarlyStopping(1, monitor=monitor), epochs=20)
        assert (history.stopped is not None) == stopped
    history = drift(early_stopping=EarlyStopping(1, min_delta=1.0), epochs=20, validation=None)
    assert history.best_epoch < len(history) < 20


def test_early_stopping_may_be_used_again():
    stopping = EarlyStopping(1)
    lengths = [len(drift(early_stopping=stopping)) for _ in range(2)]
    assert lengths[0] == lengths[1] < 50
    begin = type("Begin", (), {"on_train_begin": lambda self, training: training.stop("no")})
    assert drift(early_stopping=stopping, callbacks=[begin()]).best_epoch is None  # before any


def net_of_classes(networks=None):
    sizes = (CLASSES_X.shape[1], 4, 3)
    return MLP.init(sizes, output="softmax", loss="cross_entropy", rng=0, networks=networks)


def closeness(y, a):
    """A score of one's own: more is better."""
    return -np.abs(a - y).mean()


@pytest.mark.parametrize(
    ("monitor", "options"), [("mean_absolute_error", {}), ("closeness", {"mode": "max"})]
)
def test_stops_at_the_best_of_a_metric(monitor, options):
    def training(**more):
        metrics = [closeness] if monitor == "closeness" else monitor
        return drift(metrics=metrics, **more)

    values = np.array(training().metrics[monitor])
    best = values.argmax() if options.get("mode") == "max" else values.argmin()
    net = drifting()
    stop = EarlyStopping(patience=3, monitor=monitor, **options)
    history = training(net=net, early_stopping=stop)
    assert 0 < best < 46
    assert (history.best_epoch, len(history)) == (best + 1, best + 5)
    assert stop.best == values[best]
    twin = drifting()
    drift(twin, epochs=int(best) + 1)
    assert np.array_equal(net.theta, twin.theta)
    stop = EarlyStopping(patience=0, monitor=monitor, mode="min" if options else "max")
    assert len(training(early_stopping=stop)) == 2


def test_a_metric_by_name_is_measured_for_it_and_more_is_better():
    net, options = net_of_classes(), {"epochs": 60, "optimizer": Adam(0.05), "validation": 0.3}
    stop = EarlyStopping(patience=5, monitor="accuracy")
    history = fit(net, CLASSES_X, CLASSES_Y, early_stopping=stop, **options)
    accuracy = history.metrics["accuracy"]
    assert [*history.metrics] == ["accuracy"]
    assert history.best_epoch == np.argmax(accuracy) + 1
    assert stop.best == max(accuracy)
    options |= {"early_stopping": stop, "metrics": ["r2", "f1_macro"]}
    again = fit(net_of_classes(), CLASSES_X, CLASSES_Y, **options)
    assert again.best_epoch == history.best_epoch


def test_each_network_of_a_stack_has_its_own_best():
    options = {"epochs": 40, "optimizer": Adam(0.05)}
    options["validation"] = CLASSES_X[:20], CLASSES_Y[:20]
    stop = EarlyStopping(patience=3, monitor="f1_macro")
    history = fit(net_of_classes(4), CLASSES_X, CLASSES_Y, early_stopping=stop, **options)
    scores = np.array(history.metrics["f1_macro"])
    assert np.array_equal(stop.best, scores.max(axis=0))
    assert np.array_equal(history.best_epoch, scores.argmax(axis=0) + 1)


def test_a_checkpoint_knows_the_mode(tmp_path):
    def train(mode):
        stop = EarlyStopping(patience=9, monitor="r2", mode=mode)
        fit(make(), X, Y, epochs=2, early_stopping=stop, checkpoint=tmp_path / "c", resume=True)

    train("max")
    train("max")
    with pytest.raises(InvalidFile, match="early_stopping is"):
        train("min")


@pytest.mark.parametrize(
    ("kind", "stop", "metrics", "message"),
    [
        (ValueError, {"monitor": "acuracy"}, "r2",
         "early stopping monitors 'acuracy', but what is measured is loss, validation_loss, r2"),
        (ValueError, {"monitor": "auc"}, (),
         "early stopping monitors 'auc', but what is measured is loss, validation_loss, accuracy…"),
        (ValueError, {"monitor": "closeness"}, closeness,
         "whether more of 'closeness' is better is not known: say mode='max' or 'min'"),
        (ValueError, {"patience": -1}, (), "patience must be an integer >= 0, not -1"),
        (TypeError, {"patience": 1.5}, (), "patience must be an integer, not 1.5"),
        (ValueError, {"min_delta": -1}, (), "min_delta must be >= 0, not -1"),
        (TypeError, {"monitor": 3}, (), "monitor must be the name of a loss or metric, not 3"),
        (ValueError, {"mode": "more"}, (), "mode must be 'min' or 'max', not 'more'"),
        (ValueError, {"monitor": "validation_loss"}, (), "early stopping on the validation loss…"),
    ],
)  # fmt: skip
def test_what_cannot_be_monitored_is_refused(kind, stop, metrics, message):
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, metrics=metrics, early_stopping=EarlyStopping(**stop))


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_each_class_gives_its_share(fraction):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 4], [50, 23, 7, 1]))
    rest, held = set_aside(81, fraction, np.random.default_rng(1), labels)
    assert np.array_equal(np.sort([*rest, *held]), np.arange(81))
    counts = np.bincount(labels[held], minlength=5)
    assert (abs(counts - fraction * np.bincount(labels)) <= 1).all()
    assert abs(len(held) - fraction * 81) <= 1
    assert set(labels[rest]) == {0, 1, 2, 4}  # what training has not seen it cannot tell
    other = set_aside(81, fraction, np.random.default_rng(2), labels)[1]
    assert len(other) == len(held)
    assert set(other) != set(held)


def test_fit_sets_aside_of_each_class_alike():
    """Two rows of the rare class are in eight: by the seeds that draw none of them at random."""
    y = np.repeat([[0.0], [1.0]], [30, 10], axis=0)
    shares = []

    def spread(y, a):
        shares.append(y.mean())
        return 0.0

    for seed in range(6):
        net = MLP.init((3, 1), loss="binary_cross_entropy", rng=0)
        x = np.random.default_rng(0).normal(size=(40, 3))
        fit(net, x, y, epochs=1, validation=0.2, stratify=True, metrics=spread, rng=seed)
    assert shares == [0.25] * 6
    for kind, options, message in (
        (ValueError, {}, "stratify is for validation as a fraction, such as validation=0.2"),
        (ValueError, {"validation": (X, Y)}, "stratify is for validation as a fraction, such…"),
        (ValueError, {"validation": 0.2}, "stratify needs classes: y must hold one-hot rows, or…"),
        (TypeError, {"stratify": 1, "validation": 0.2}, "stratify must be True or False, not 1"),
    ):
        with refuses(make(), kind, message) as net:
            fit(net, X, Y, epochs=1, **({"stratify": True} | options))
