"""Metrics by hand, evaluate, and the history of a training."""

import pickle
import sys
import tracemalloc

import numpy as np
import pytest

from bpnet import MLP, SGD, History, evaluate, fit
from bpnet.rules.metrics import METRICS, accuracy, as_metrics, likely_accuracy, mean_squared_error, r2
from tests.helpers.complaint import complains

X, Y = np.split(np.random.default_rng(8).normal(size=(30, 5)), [3], axis=1)


def make(dtype="float64"):
    return MLP.init((3, 4, 2), activation="tanh", output="identity", rng=1, dtype=dtype)


def test_accuracy_of_classes():
    y = np.eye(3)[[0, 1, 2, 2]]
    a = np.array([[0.5, 0.3, 0.2], [0.3, 0.45, 0.25], [0.1, 0.2, 0.7], [0.1, 0.5, 0.4]])
    assert accuracy(y, a) == 0.75
    soft = np.array([[0.6, 0.3, 0.1], [0.5, 0.2, 0.3], [0, 0.6, 0.4], [0.1, 0.6, 0.3]])
    assert accuracy(soft, a) == 0.5
    assert accuracy(np.eye(2)[[0, 1, 1]], np.array([[0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])) == 2 / 3


def test_accuracy_of_one_output():
    y = np.array([[1.0], [0.0], [1.0], [0.0]])
    assert accuracy(y, np.array([[0.5], [0.49], [0.4], [0.1]])) == 0.75
    assert accuracy(y, np.array([[1.6], [0.49], [0.4], [0.6]])) == 0.5
    signs = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    assert accuracy(signs, np.array([[0.0], [-0.1], [0.4], [0.1]])) == 0.75
    assert accuracy(np.ones((2, 1)), np.array([[0.4], [0.6]])) == 0.5  # taken for 0 and 1


def test_accuracy_of_labels_counts_each():
    y, a = np.array([[1, 0, 1], [0, 0, 0]]), np.array([[0.9, 0.7, 0.2], [0.1, 0.2, 0.5]])
    assert accuracy(y, a) == pytest.approx(3 / 6)
    assert accuracy(2 * y - 1, 2 * a - 1) == pytest.approx(3 / 6)
    assert accuracy(2 * np.eye(3) - 1, np.eye(3)[[0, 1, 1]] - 5) == pytest.approx(2 / 3)  # classes
    assert accuracy(np.eye(3, dtype=bool), np.eye(3)[[0, 0, 2]]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("y", "holds"),
    [
        ([[1.0], [2.0]], "2"),
        ([[0.5], [0.4]], "0.5"),
        ([[0.0], [1.0], [-1.0]], "both 0 and -1"),
        ([[1.0, 0.0], [0.3, 0.9]], "0.3"),
        ([[1.5, -0.5]], "1.5"),
        ([[0.2, -1.0]], "0.2"),
    ],
)
def test_accuracy_of_no_classes_is_refused_before_the_first_step(y, holds):
    y = np.array(y)
    x = np.ones((len(y), 3))
    net = MLP.init((3, y.shape[1]), activation="identity", rng=0)
    message = (
        f"accuracy needs classes, but y holds {holds}: it counts one-hot rows, and labels of 0 and "
        "1 or of -1 and 1; for other targets there are mean_absolute_error and r2"
    )
    for call in (
        lambda: accuracy(y, y),
        lambda: evaluate(net, x, y, metrics="accuracy"),
        lambda: fit(net, x, y, epochs=1, metrics="accuracy"),
        lambda: fit(net, [(x, y)], epochs=1, metrics="accuracy", validation=(x, y)),
    ):
        with complains(ValueError, message):
            call()
    parts = accuracy.add(accuracy.add(None, y[:1], y[:1]), y[1:], y[1:]) if len(y) > 1 else None
    if parts is not None:
        with complains(ValueError, message):
            accuracy.value(parts)


def test_accuracy_of_probabilities_where_the_loss_takes_them():
    x, y = np.eye(3), np.array([[0.9], [0.2], [0.55]])
    net = MLP.from_weights([[[3.0, -3.0, -3.0]]], [[0.0]], loss="binary_cross_entropy")
    assert evaluate(net, x, y, metrics="acc")["accuracy"] == pytest.approx(2 / 3)
    assert likely_accuracy(np.array([[0.9, 0.9]]), np.array([[0.8, 0.1]])) == 0.5
    with complains(ValueError, "accuracy needs classes, but y holds 1.2: …"):
        likely_accuracy(np.array([[1.2]]), np.array([[1.0]]))


@pytest.mark.parametrize("m", [40, 2500])
def test_weights_count_in_metrics_as_repeated_rows(m):
    rng = np.random.default_rng(m)
    x, y, w = rng.normal(size=(m, 3)), rng.normal(size=(m, 2)) + 5, rng.integers(3, size=m)
    w[1024:2048] = 0  # a chunk of weight 0
    names = ["mean_squared_error", "mean_absolute_error", "r2"]
    again = [np.repeat(a, w, axis=0) for a in (x, y)]
    for one in (make(), MLP.stack([make(), make()])):
        whole = evaluate(one, *again, metrics=names)
        found = evaluate(one, x, y, metrics=names, sample_weight=w)
        assert {**found} == {name: pytest.approx(whole[name], rel=1e-11) for name in whole}
    labels = np.eye(2)[rng.integers(2, size=m)]
    net = make()
    found = evaluate(net, x, labels, metrics="accuracy", sample_weight=w)["accuracy"]
    right = net.predict(x).argmax(1) == labels.argmax(1)
    assert found == pytest.approx((w * right).sum() / w.sum())
    history = fit(net, x, labels, epochs=1, metrics="accuracy", sample_weight=w)
    again = evaluate(net, x, labels, metrics="accuracy", sample_weight=w)["accuracy"]
    assert history.metrics["accuracy"] == pytest.approx([again])


def test_a_function_of_one_s_own_knows_no_weights():
    message = "the metric median_error takes no weights: measure it on data without, or one by name"
    weight = np.ones(30)
    for call in (
        lambda: evaluate(make(), X, Y, metrics=median_error, sample_weight=weight),
        lambda: fit(make(), X, Y, epochs=1, metrics=median_error, sample_weight=weight),
        lambda: fit(make(), X, Y, epochs=1, metrics=median_error, validation=(X, Y, weight)),
    ):
        with complains(TypeError, message):
            call()
    how = {"metrics": median_error, "sample_weight": weight, "validation": (X, Y)}
    assert len(fit(make(), X, Y, epochs=1, **how).metrics["median_error"]) == 1


def test_r2_where_targets_are_all_equal():
    y = np.array([[1.0, 2.0], [1.0, 4.0]])
    assert r2(y, y) == 1.0
    assert r2(y, np.array([[1.0, 2.0], [1.5, 4.0]])) == 0.5
    assert r2(y, np.array([[1.0, 3.0], [1.0, 3.0]])) == 0.5
    tenth = np.full((3, 1), 0.1)  # whose mean by a sum is not 0.1
    assert r2(tenth, tenth) == 1.0
    assert r2(tenth, tenth + 1) == 0.0


OF_NUMBERS = [*METRICS][:4]  # those that take any targets; the others are in test_class_scores.py


@pytest.mark.parametrize("name", OF_NUMBERS)
@pytest.mark.parametrize("shape", [(70, 3), (70, 1), (4, 70, 2)])
def test_parts_come_together_to_the_metric_of_the_whole(name, shape):
    rng, metric = np.random.default_rng(2), METRICS[name]
    y = (rng.random(shape[-2:]) > 0.6) + 1e6 * (name == "r2")
    a = y + rng.normal(size=shape)
    so_far = None
    for start, stop in ((0, 1), (1, 40), (40, 70)):
        so_far = metric.add(so_far, y[start:stop], a[..., start:stop, :])
    found = metric.value(so_far)
    if len(shape) == 2:
        assert found == pytest.approx(by_hand(name, y, a), rel=1e-12)
        assert type(found) is float
        assert metric(y, a) == pytest.approx(found, rel=1e-12)
    else:
        np.testing.assert_allclose(found, [metric(y, a_k) for a_k in a], rtol=1e-12)
    assert pickle.loads(pickle.dumps(metric)) is metric


def by_hand(name, y, a):
    if name == "accuracy":
        return ((a >= 0.5) == (y >= 0.5)).mean()
    if name == "r2":
        return np.mean(1 - ((a - y) ** 2).sum(0) / (len(y) * y.var(0)))
    return (abs(a - y) if name == "mean_absolute_error" else (a - y) ** 2).mean()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_metrics_are_floats(dtype):
    y = np.sign(Y).astype(dtype)
    for metric in map(METRICS.get, OF_NUMBERS):
        assert type(metric(y, y)) is float


def median_error(y, a):
    return np.median(abs(y - a))


def test_as_metrics_takes_names_and_functions():
    assert as_metrics(()) == {}
    assert as_metrics("r2") == {"r2": r2}
    assert as_metrics(["MSE", "mae"]).keys() == {"mean_squared_error", "mean_absolute_error"}
    assert as_metrics(median_error) == {"median_error": median_error}
    both = as_metrics(["accuracy", median_error])
    assert both == {"accuracy": accuracy, "median_error": median_error}

    class Scorer:
        def __call__(self, y, a):
            return 0.0

        def __repr__(self):
            return "scorer"

    assert list(as_metrics([Scorer()])) == ["scorer"]


@pytest.mark.parametrize(
    ("kind", "metrics", "message"),
    [
        (ValueError, "auc", f"unknown metric 'auc': the known ones are {', '.join(METRICS)}…"),
        (ValueError, ["r2", "R2"], "a metric cannot be called 'r2': that column is there already"),
        (TypeError, 5, "metrics must be names or functions of (y, a), not 5"),
        (TypeError, ["r2", 5], "a metric is a name or a function of (y, a), not 5"),
        (ValueError, ["r2", "r2"], "a metric cannot be called 'r2': that column is there already"),
        (ValueError, [r2, "r2"], "a metric cannot be called 'r2'…"),
    ],
)
def test_bad_metrics(kind, metrics, message):
    for call in (
        lambda: fit(make(), X, Y, epochs=1, metrics=metrics),
        lambda: evaluate(make(), X, Y, metrics=metrics),
    ):
        with complains(kind, message):
            call()


@pytest.mark.parametrize("name", ["epoch", "loss", "validation_loss", "learning_rate", "time"])
def test_metric_may_not_take_the_name_of_a_column(name):
    def metric(y, a):
        return 0.0

    metric.__name__ = name
    with complains(ValueError, f"a metric cannot be called {name!r}: that column is there already"):
        as_metrics(metric)


# evaluate


@pytest.mark.parametrize("m", [1, 30, 1024, 2100])
def test_evaluate_is_the_loss_and_the_metrics_of_predict(m):
    rng = np.random.default_rng(m)
    x, y, weight = rng.normal(size=(m, 3)), rng.normal(size=(m, 2)), rng.random(m) + 0.1
    net = make()
    out = net.predict(x)
    found = evaluate(net, x, y, metrics=("mean_squared_error", median_error))
    assert list(found) == ["loss", "mean_squared_error", "median_error"]
    assert found["loss"] == pytest.approx(net.loss(a=out, y=y), rel=1e-12)
    assert type(found["loss"]) is float
    assert found["mean_squared_error"] == pytest.approx(mean_squared_error(y, out), rel=1e-12)
    assert found["median_error"] == pytest.approx(median_error(y, out), rel=1e-12)
    weighted = evaluate(net, x, y, sample_weight=weight)
    assert weighted == pytest.approx({"loss": net.loss(a=out, y=y, sample_weight=weight)}, rel=1e-12)


def test_evaluate_keeps_no_outputs_for_metrics_by_name():
    net = MLP.init((1, 200), activation="identity", rng=0)
    x, y = np.ones((20_000, 1)), np.ones((20_000, 200))  # the outputs have 32 MB
    tracemalloc.start()
    evaluate(net, x, y, metrics=OF_NUMBERS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # of 1,024 rows, and as many as are left over


def test_evaluate_changes_nothing():
    net = make("float32")
    before, x, y = net.theta.copy(), X.astype("float32"), Y.astype("float32")
    x.flags.writeable = y.flags.writeable = False
    assert type(evaluate(net, x, y)["loss"]) is float
    assert np.array_equal(net.theta, before)


def test_evaluate_is_silent_where_the_limit_is_right():
    net = MLP.init((3, 2), rng=0)
    with np.errstate(all="raise"):
        assert evaluate(net, X * 1e4, Y)["loss"] > 0
        net = MLP.init((3, 2), loss="cross_entropy", rng=0)
        assert evaluate(net, X * 1e4, np.eye(2)[[0, 1] * 15])["loss"] > 0


def test_evaluate_refuses_what_does_not_fit():
    with complains(TypeError, "net must be an MLP, not ndarray"):
        evaluate(X, Y, X)
    with complains(ValueError, "x has shape (30, 2), but this net takes 3 inputs…"):
        evaluate(make(), X[:, :2], Y)
    with complains(ValueError, "x has 30 rows, but y has 29: each sample needs both"):
        evaluate(make(), X, Y[:-1])
    with complains(ValueError, "sample_weight has shape (3,), but there are 30 samples…"):
        evaluate(make(), X, Y, sample_weight=[1, 2, 3])
    net = make()
    net.theta[3] = np.nan
    with complains(ValueError, "theta must be finite, but W[2][1, 0] is nan…"):
        evaluate(net, X, Y)


# History


def test_history_has_a_column_for_each_thing_recorded():
    net = make()
    held, metrics = (X[:5], Y[:5]), ["r2", median_error]
    history = fit(net, X, Y, epochs=3, optimizer=SGD(0.1), metrics=metrics, validation=held)
    assert len(history) == 3
    columns = history.to_dict()
    names = "epoch loss validation_loss r2 median_error learning_rate time"
    assert list(columns) == names.split()
    assert columns["epoch"] == [1, 2, 3]
    assert columns["learning_rate"] == [0.1] * 3
    assert all(len(column) == 3 for column in columns.values())
    assert all(seconds > 0 for seconds in history.time)
    last = {"loss": history.validation_loss[-1]}
    last |= {name: values[-1] for name, values in history.metrics.items()}
    assert last == pytest.approx(evaluate(net, *held, metrics=metrics))
    columns["loss"].append(0.0)
    assert len(history) == 3
    assert (history.stopped, history.best_epoch) == (None, None)


def test_metrics_are_of_the_training_data_where_there_are_no_others():
    net = make()
    history = fit(net, X, Y, epochs=2, metrics="r2")
    assert history.metrics["r2"][-1] == pytest.approx(r2(Y, net.predict(X)))
    assert "validation_loss" not in history.to_dict()


def test_metrics_of_an_iterable_need_validation_data():
    with complains(ValueError, "metrics of an iterable need validation=(x, y)"):
        fit(make(), [(X, Y)], epochs=1, metrics="r2")
    history = fit(make(), [(X, Y)], epochs=1, metrics="r2", validation=(X, Y))
    assert len(history.metrics["r2"]) == 1


def test_metric_that_raises_leaves_a_history_of_whole_epochs():
    calls = []

    def fickle(y, a):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of patience")
        return 0.5

    net = make()
    with complains(RuntimeError, "out of patience") as caught:
        fit(net, X, Y, epochs=5, metrics=["r2", fickle], validation=(X, Y))
    columns = caught.value.history.to_dict()
    assert {name: len(column) for name, column in columns.items()} == dict.fromkeys(columns, 2)
    assert np.isfinite(net.predict(X)).all()


def test_history_as_a_data_frame():
    pytest.importorskip("pandas", reason="to_frame makes a pandas DataFrame")
    history = fit(make(), X, Y, epochs=2, metrics="r2")
    frame = history.to_frame()
    assert list(frame.index) == [1, 2]
    assert frame.index.name == "epoch"
    assert list(frame.columns) == ["loss", "r2", "learning_rate", "time"]
    assert list(frame["loss"]) == history.loss
    empty = History()
    assert empty.to_dict() == {"epoch": [], "loss": []}
    assert len(empty.to_frame()) == 0


def test_data_frame_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with complains(ImportError, "a data frame needs pandas: pip install pandas"):
        History(loss=[1.0]).to_frame()
