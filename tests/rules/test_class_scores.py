"""Precision, recall, F1 and log loss against scikit-learn's, whole and in parts; its own, too."""

import pickle
import warnings

import numpy as np
import pytest

from bpnet import MLP, EarlyStopping, evaluate, fit
from bpnet.rules.metrics import METRICS, SMALLER_IS_BETTER, ClassScore
from tests.helpers.complaint import complains

KINDS = ("precision", "recall", "f1")


def draws():
    """Classes, and labels; outputs for each; some classes do not appear."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        n, m = rng.integers(2, 6), rng.integers(1, 15)
        classes, labels = rng.integers(0, n, m), (rng.random((m, n)) < 0.4) * 1.0
        yield classes, np.eye(n)[classes], rng.dirichlet(np.ones(n), m), labels, rng.random((m, n))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_scikit_learns(kind):
    score = getattr(pytest.importorskip("sklearn.metrics"), f"{kind}_score")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels without a sample
        for classes, y, a, labels, p in draws():
            one, p_one = labels[:, :1], p[:, :1]
            for average in ("macro", "weighted"):
                mine = METRICS[f"{kind}_{average}"]
                how = {"average": average, "zero_division": 0}
                assert mine(y, a) == pytest.approx(score(classes, a.argmax(1), **how))
                assert mine(2 * y - 1, a) == pytest.approx(score(classes, a.argmax(1), **how))
                assert mine(one, p_one) == pytest.approx(score(one[:, 0], p_one[:, 0] >= 0.5, **how))
                if (labels.sum(axis=1) != 1).any():  # else they are classes
                    assert mine(labels, p) == pytest.approx(score(labels, p >= 0.5, **how))
            second = score(one[:, 0], p_one[:, 0] >= 0.5, zero_division=0)
            assert METRICS[kind](one, p_one) == pytest.approx(second)
            two = METRICS[kind](np.hstack([1 - one, one]), np.hstack([1 - p_one, p_one]))
            assert two == pytest.approx(second)
            if not one.all():  # else they are taken for 0 and 1
                assert METRICS[kind](2 * one - 1, p_one - 0.5) == pytest.approx(second)


def test_log_loss_is_scikit_learns():
    log_loss = pytest.importorskip("sklearn.metrics").log_loss
    for classes, y, a, labels, p in draws():
        assert METRICS["log_loss"](y, a) == pytest.approx(log_loss(classes, a, labels=range(y.shape[1])))
        one = log_loss(labels[:, 0], p[:, 0], labels=[0, 1])
        assert METRICS["log_loss"](labels[:, :1], p[:, :1]) == pytest.approx(one)
    assert METRICS["log_loss"](np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])) == pytest.approx(
        -np.log(np.finfo(float).eps)
    )


@pytest.mark.parametrize("name", ["f1", "recall_macro", "precision_weighted", "log_loss"])
def test_parts_weights_and_stacks(name):
    rng = np.random.default_rng(1)
    metric, a = METRICS[name], rng.dirichlet(np.ones(2), (3, 40))
    y = np.eye(2)[rng.integers(0, 2, 40)]
    whole = metric(y, a)
    assert whole.shape == (3,)
    assert whole == pytest.approx([metric(y, one) for one in a])
    so_far = None
    for part in (slice(0, 1), slice(1, 33), slice(33, 40)):
        so_far = metric.add(so_far, y[part], a[:, part])
    assert metric.value(so_far) == pytest.approx(whole)
    again = pickle.loads(pickle.dumps(metric))
    assert (again(y, a[0]), again.__name__) == (whole[0], name)
    if isinstance(metric, ClassScore):
        w = rng.integers(0, 3, 40)
        repeated = metric(np.repeat(y, w, axis=0), np.repeat(a, w, axis=1))
        assert metric.value(metric.add(None, y, a, w)) == pytest.approx(repeated)


def test_what_has_no_classes_is_refused():
    y, a = np.array([[0.2], [1.0]]), np.array([[0.5], [0.5]])
    with complains(ValueError, "f1 needs classes: y must hold rows with a single 1, or labels…"):
        METRICS["f1"](y, a)
    with complains(ValueError, "recall is of the second of two classes, but there are others: t…"):
        METRICS["recall"](np.eye(3), np.eye(3))
    with complains(ValueError, "log_loss needs outputs that are probabilities: rows that sum to 1…"):
        METRICS["log_loss"](np.eye(2), np.full((2, 2), 0.6))
    with complains(ValueError, "log_loss needs targets that are probabilities…"):
        METRICS["log_loss"](np.array([[-1.0]]), np.array([[0.6]]))


def test_what_cannot_be_counted_is_refused_before_the_first_step():
    net = MLP.init((2, 3), output="softmax", loss="cross_entropy", rng=0)
    before = net.theta.copy()
    with complains(ValueError, "f1 is of the second of two classes, but there are others…"):
        fit(net, np.zeros((3, 2)), np.eye(3), epochs=1, metrics="f1")
    assert np.array_equal(net.theta, before)


def test_any_function_of_scikit_learn_is_a_metric():
    """They take (y, a)."""
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    x, c = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    y = np.eye(3)[c]
    net = MLP.init((3, 4, 3), output="softmax", loss="cross_entropy", rng=0)
    functions = [sk.roc_auc_score, sk.average_precision_score, sk.r2_score]
    stop = EarlyStopping(patience=5, monitor="roc_auc_score", mode="max")
    history = fit(net, x, y, epochs=3, metrics=[*functions, "r2"], early_stopping=stop)
    a = net.predict(x)
    for f in functions:
        assert evaluate(net, x, y, metrics=f)[f.__name__] == pytest.approx(f(y, a))
    assert history.best_epoch == np.argmax(history.metrics["roc_auc_score"]) + 1


def test_the_better_side_of_each_is_known():
    y = np.eye(2)
    for name, metric in METRICS.items():
        good, bad = metric(y, y * 0.8 + 0.1), metric(y, 1 - y)
        assert (good < bad) == (name in SMALLER_IS_BETTER), name
