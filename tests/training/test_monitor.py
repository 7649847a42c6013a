"""Early stopping on a metric, and validation rows of each class alike."""

import numpy as np
import pytest

from bpnet import MLP, SGD, Adam, EarlyStopping, InvalidFile, fit
from bpnet.training.data import set_aside
from tests.helpers.complaint import complains, refuses
from tests.helpers.regression import X, Y, drift, drifting, make
from tests.helpers.three_classes import X as CLASSES_X
from tests.helpers.three_classes import Y as CLASSES_Y


def net_of_classes(networks=None):
    sizes = (CLASSES_X.shape[1], 4, 3)
    return MLP.init(sizes, output="softmax", loss="cross_entropy", rng=0, networks=networks)


def closeness(y, a):
    """A score of one's own: more is better."""
    return -np.abs(a - y).mean()


@pytest.mark.parametrize(
    ("monitor", "options"),
    [("mean_absolute_error", {}), ("closeness", {"mode": "max"})],
)
def test_stops_at_the_best_of_a_metric(monitor, options):
    """The drifting net comes closest to FAR after some epochs, and goes away from it again."""

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
    options = {
        "epochs": 40,
        "optimizer": Adam(0.05),
        "validation": (CLASSES_X[:20], CLASSES_Y[:20]),
    }
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
    ],
)  # fmt: skip
def test_what_cannot_be_monitored_is_refused(kind, stop, metrics, message):
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, metrics=metrics, early_stopping=EarlyStopping(**stop))


def test_arguments_of_early_stopping():
    with complains(TypeError, "monitor must be the name of a loss or metric, not 3"):
        EarlyStopping(monitor=3)
    with complains(ValueError, "mode must be 'min' or 'max', not 'more'"):
        EarlyStopping(mode="more")


# Stratified


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


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ValueError, {}, "stratify is for validation as a fraction, such as validation=0.2"),
        (ValueError, {"validation": (X, Y)}, "stratify is for validation as a fraction, such…"),
        (ValueError, {"validation": 0.2}, "stratify needs classes: y must hold one-hot rows, or one"
         " column of 0 and 1"),
        (TypeError, {"stratify": 1, "validation": 0.2}, "stratify must be True or False, not 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_stratified_is_refused(kind, options, message):
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, optimizer=SGD(0.1), **({"stratify": True} | options))
