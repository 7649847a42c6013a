"""scikit-learn's MLPs as nets, and nets as its MLPs: the same predictions."""

import pickle

import numpy as np
import pytest

from bpnet import MLP, formats
from tests.helpers.any_net import make, units
from tests.helpers.complaint import complains

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 4))
TARGETS = {
    "two": np.where(X[:, 0] > 0, "yes", "no"),
    "three": np.digitize(X[:, 0], [-0.5, 0.5]) * 10,
    "labels": (X[:, :3] > 0).astype(int),
    "number": X @ [1.0, -2.0, 0.5, 0.0],
    "numbers": X[:, :2] ** 2,
}
ENDS = {
    "two": "sigmoid; binary_cross_entropy",
    "three": "softmax; cross_entropy",
    "labels": "sigmoid; binary_cross_entropy",
    "number": "identity; half_squared_error",
    "numbers": "identity; half_squared_error",
}


def fitted(target, dtype="float64", **options):
    make = MLPRegressor if target.startswith("number") else MLPClassifier
    options = {"hidden_layer_sizes": (5, 3), "random_state": 0, "max_iter": 60, "tol": 1} | options
    return make(**options).fit(X.astype(dtype), TARGETS[target])


def outputs(estimator, x):
    """Return what the net's output layer should give."""
    if isinstance(estimator, MLPRegressor):
        return estimator.predict(x).reshape(len(x), -1)
    p = estimator.predict_proba(x)
    return p[:, 1:] if estimator.n_outputs_ == 1 else p


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_there_and_back(target, activation):
    estimator = fitted(target, activation=activation)
    net = formats.from_sklearn(estimator)
    assert units(net.predict(X), outputs(estimator, X)) < 5
    f = activation.replace("logistic", "sigmoid")
    n = estimator.n_outputs_
    assert repr(net) == f"MLP(4-5-3-{n}, {f}, {f}, {ENDS[target]}, float64)"

    classes = np.unique(TARGETS[target]) if target in ("two", "three") else None
    back = formats.to_sklearn(net, classes=classes)
    assert back.activation == activation
    assert np.array_equal(outputs(back, X), outputs(estimator, X))
    assert np.array_equal(back.predict(X), estimator.predict(X))
    assert back.score(X, TARGETS[target]) == estimator.score(X, TARGETS[target])
    missing = {*vars(estimator)} - {*vars(back)}
    assert missing <= {"_optimizer"}


def test_float32_poisson_and_no_hidden_layer():
    estimator = fitted("three", "float32", hidden_layer_sizes=())
    net = formats.from_sklearn(estimator)
    assert repr(net) == "MLP(4-3, softmax; cross_entropy, float32)"
    back = formats.to_sklearn(net, classes=[0, 10, 20])
    assert np.array_equal(back.predict_proba(X.astype("f")), estimator.predict_proba(X.astype("f")))
    try:
        counts = MLPRegressor(3, loss="poisson", max_iter=60, tol=1)
    except TypeError:
        return  # before scikit-learn 1.7
    counts.set_params(hidden_layer_sizes=3, random_state=0).fit(X, RNG.poisson(2, 40))
    net = formats.from_sklearn(counts)
    assert units(net.predict(X), outputs(counts, X)) < 5
    assert np.array_equal(formats.to_sklearn(net).predict(X), counts.predict(X))


def test_a_net_becomes_an_estimator_that_lives_on():
    net = make((4, 6, 2), loss="cross_entropy")
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    estimator = formats.to_sklearn(net, classes=["no", "yes"])
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert units(estimator.predict_proba(X), net.predict(X)) < 5
    assert set(estimator.predict(X)) <= {"no", "yes"}
    assert (estimator.n_iter_, estimator.t_, estimator.loss_curve_) == (0, 0, [])
    assert estimator.get_params() == MLPClassifier((6,), "tanh").get_params()
    again = pickle.loads(pickle.dumps(make_pipeline("passthrough", estimator)))
    assert np.array_equal(again.predict(X), estimator.predict(X))
    with pytest.raises(NotFittedError):
        clone(estimator).predict(X)
    before, theta = estimator.score(X, TARGETS["two"]), net.theta.copy()
    estimator.partial_fit(X, TARGETS["two"])
    first_step = estimator.coefs_[0] - net.W[2].T
    assert np.allclose(abs(first_step), 1e-3, rtol=1e-3)  # Adam's, of no history
    for _ in range(299):
        estimator.partial_fit(X, TARGETS["two"])
    assert len(estimator.loss_curve_) == 300
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]
    assert estimator.score(X, TARGETS["two"]) > before
    assert np.array_equal(net.theta, theta)


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        (
            {"activation": "gelu", "output": "identity"},
            None,
            "…one of identity, sigmoid, tanh, relu for all hidden…gelu",
        ),
        ({"sizes": (2, 3, 3, 2), "activation": ("tanh", "relu", "identity")}, None, "…relu, tanh"),
        ({}, None, "scikit-learn has no MLP of 2 outputs of tanh with the loss half_squared_erro…"),
        ({"loss": "huber", "output": "identity"}, None, "scikit-learn has no MLP of…"),
        ({"sizes": (2, 1), "loss": "cross_entropy"}, None, "scikit-learn has no MLP of 1 output…"),
        ({"output": "identity"}, [0, 1], "classes= is for classifiers, but this net's output is…"),
        ({"loss": "binary_cross_entropy"}, [0, 1], "2 labels, each 0 or 1, have no classes: lea…"),
        ({"loss": "cross_entropy"}, ["b", "a"], "classes must name the 2 outputs in sorted orde…"),
        ({"loss": "cross_entropy"}, [1, 2, 3], "classes must name the 2 outputs in sorted order…"),
    ],
)
def test_what_scikit_learn_cannot_hold(options, classes, message):
    with complains(ValueError, message):
        formats.to_sklearn(make(**options), classes=classes)


def test_what_is_no_fitted_mlp():
    with pytest.raises(NotFittedError):
        formats.from_sklearn(MLPClassifier())
    with complains(TypeError, "from_sklearn takes a fitted MLPClassifier or …, not SVC"):
        formats.from_sklearn(SVC())
    with complains(TypeError, "…, not Pipeline: pass its last step, pipeline[-1]"):
        formats.from_sklearn(make_pipeline(MLPClassifier()))
    assert isinstance(formats.from_sklearn(fitted("number")), MLP)
