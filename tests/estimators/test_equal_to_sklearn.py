# ruff: noqa: E402
"""What must come out as from scikit-learn's MLP, to rounding: it is the oracle."""

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn import neural_network as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.preprocessing import scale

from bpnet import estimators as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PLAIN = {"solver": "sgd", "momentum": 0, "shuffle": False, "random_state": 3, "max_iter": 30}


def data(name):
    load = {"iris": load_iris, "cancer": load_breast_cancer, "diabetes": load_diabetes}[name]
    X, y = load(return_X_y=True)
    return scale(X), y if name != "diabetes" else scale(y)


def both(kind, X, y, **parameters):
    return [getattr(library, kind)(**parameters).fit(X, y) for library in (theirs, ours)]


def assert_equal(a, b, rtol=1e-10):
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e4 * rtol, atol=1e3 * rtol)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=rtol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("loss_", "best_loss_", "best_validation_score_"):
        one, other = getattr(a, name), getattr(b, name)
        assert one is other is None or one == pytest.approx(other, rel=rtol), name


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("alpha", [0, 1e-4, 3.0])
@pytest.mark.parametrize(
    ("kind", "name"), [("Classifier", "iris"), ("Classifier", "cancer"), ("Regressor", "diabetes")]
)
def test_plain_descent(kind, name, alpha, activation):
    """From equal start weights, by the same steps; 64 leaves a short last batch everywhere."""
    X, y = data(name)
    sizes = {"hidden_layer_sizes": (7, 4), "batch_size": 64, "learning_rate_init": 0.05}
    a, b = both(f"MLP{kind}", X, y, activation=activation, alpha=alpha, **sizes, **PLAIN)
    assert_equal(a, b)
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-7)
    if kind == "Classifier":
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-7)
        np.testing.assert_allclose(a.predict_log_proba(X), b.predict_log_proba(X), rtol=1e-7)


@pytest.mark.parametrize(
    "parameters",
    [
        {"momentum": 0.9, "nesterovs_momentum": True},
        {"momentum": 0.9, "nesterovs_momentum": False},
        {"learning_rate": "invscaling", "learning_rate_init": 0.5, "power_t": 0.3},
        {"learning_rate": "adaptive", "learning_rate_init": 0.3, "tol": 1e-2, "max_iter": 200},
        {"tol": 1e-2, "max_iter": 500, "n_iter_no_change": 3},
        {"solver": "adam", "max_iter": 50, "epsilon": 1e-3},
        {"solver": "adam", "early_stopping": True, "learning_rate_init": 0.01},
        {"early_stopping": True, "validation_fraction": 0.2, "max_iter": 100},
    ],
    ids=str,
)
@pytest.mark.parametrize(("kind", "name"), [("Classifier", "cancer"), ("Regressor", "diabetes")])
def test_solvers_and_ends(kind, name, parameters):
    X, y = data(name)
    given = PLAIN | {"batch_size": 50} | parameters
    a, b = both(f"MLP{kind}", X, y, **given)
    assert_equal(a, b, 1e-9)
    if given.get("early_stopping"):
        np.testing.assert_allclose(a.validation_scores_, b.validation_scores_)


def test_poisson_loss():
    X, _ = data("diabetes")
    y = np.random.default_rng(0).poisson(np.exp(X[:, 2]))
    assert_equal(*both("MLPRegressor", X, y, loss="poisson", learning_rate_init=1e-3, **PLAIN))


def test_lbfgs_and_float32():
    X, y = data("iris")
    a, b = both("MLPClassifier", X, y, solver="lbfgs", alpha=1.0, max_iter=20, random_state=0)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-9)
    X = X.astype(np.float32)
    a, b = both("MLPClassifier", X, y, **PLAIN)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-5)
    assert {w.dtype for w in b.coefs_ + b.intercepts_} == {np.dtype(np.float32)}
    assert b.predict_proba(X).dtype == np.float32


def test_weights_of_samples_in_one_batch():
    X, y = data("cancer")
    w = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    given = PLAIN | {"batch_size": len(y), "alpha": 2.0, "learning_rate_init": 0.5}
    a, b = (library.MLPClassifier(**given).fit(X, y, sample_weight=w) for library in (theirs, ours))
    assert_equal(a, b)


def test_multi_output_descends_the_same_sum():
    X, y = data("diabetes")
    y = np.column_stack([y, -y, y**2])
    a, b = both("MLPRegressor", X, y, alpha=0, **PLAIN)
    np.testing.assert_allclose(a.coefs_[0], b.coefs_[0])
    np.testing.assert_allclose(3 * np.array(a.loss_curve_), b.loss_curve_)  # there the mean
