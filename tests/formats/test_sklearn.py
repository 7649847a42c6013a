"""scikit-learn's MLPs as nets, and nets as its MLPs: the same predictions."""

import numpy as np
import pytest

from bpnet import formats
from tests.helpers.any_net import make, units
from tests.helpers.complaint import complains

pytest.importorskip("sklearn")
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

X = np.random.default_rng(3).normal(size=(40, 4))
HAS_POISSON = "loss" in MLPRegressor().get_params()  # since 1.7
TARGETS = {  # and the end that scikit-learn gives it
    "two": (np.where(X[:, 0] > 0, "yes", "no"), "sigmoid; binary_cross_entropy"),
    "three": (np.digitize(X[:, 0], [-0.5, 0.5]) * 10, "softmax; cross_entropy"),
    "labels": ((X[:, :3] > 0).astype(int), "sigmoid; binary_cross_entropy"),
    "number": (X @ [1.0, -2.0, 0.5, 0.0], "identity; half_squared_error"),
    "numbers": (X[:, :2] ** 2, "identity; half_squared_error"),
    "count": (np.random.default_rng(0).poisson(2, 40), "exp; poisson"),
}


def outputs(estimator, x):
    """Return what the net's output layer should give."""
    if isinstance(estimator, MLPRegressor):
        return estimator.predict(x).reshape(len(x), -1)
    p = estimator.predict_proba(x)
    return p[:, 1:] if estimator.n_outputs_ == 1 else p


@pytest.mark.parametrize("target", TARGETS if HAS_POISSON else [*TARGETS][:-1])
@pytest.mark.parametrize(
    ("activation", "hidden", "dtype"),
    [
        ("identity", (5, 3), "float64"),
        ("logistic", (5, 3), "float64"),
        ("tanh", (5, 3), "float32"),
        ("relu", (5,), "float64"),
        ("relu", (), "float32"),
    ],
)
def test_there_and_back(target, activation, hidden, dtype):
    (Y, end), x = TARGETS[target], X.astype(dtype)
    kind = MLPRegressor if target in ("number", "numbers", "count") else MLPClassifier
    options = {"loss": "poisson"} if target == "count" else {}
    options |= {"hidden_layer_sizes": hidden, "activation": activation, "max_iter": 60, "tol": 1}
    estimator = kind(**options, random_state=0).fit(x, Y)
    net = formats.from_sklearn(estimator)
    assert units(net.predict(x), outputs(estimator, x)) < 5
    rules = [activation.replace("logistic", "sigmoid")] * len(hidden) + [end]
    sizes = "-".join(map(str, (4, *hidden, estimator.n_outputs_)))
    assert repr(net) == f"MLP({sizes}, {', '.join(rules)}, {dtype})"

    classes = np.unique(Y) if target in ("two", "three") else None
    back = formats.to_sklearn(net, classes=classes)
    assert back.activation == activation
    assert np.array_equal(outputs(back, x), outputs(estimator, x))
    assert np.array_equal(back.predict(x), estimator.predict(x))
    assert back.score(x, Y) == estimator.score(x, Y)
    assert {*vars(estimator)} - {*vars(back)} <= {"_optimizer"}


def test_a_net_becomes_an_estimator_that_lives_on():
    net = make((4, 6, 2), loss="cross_entropy")
    state, theta = np.random.get_state()[1].copy(), net.theta.copy()  # noqa: NPY002
    estimator = formats.to_sklearn(net, classes=["no", "yes"])
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert units(estimator.predict_proba(X), net.predict(X)) < 5
    assert (estimator.n_iter_, estimator.t_, estimator.loss_curve_) == (0, 0, [])
    assert estimator.get_params() == MLPClassifier((6,), "tanh").get_params()
    estimator.partial_fit(X, TARGETS["two"][0])
    first_step = estimator.coefs_[0] - net.W[2].T
    assert np.allclose(abs(first_step), 1e-3, rtol=1e-3)  # Adam's, of no history
    assert len(estimator.loss_curve_) == 1
    assert np.array_equal(net.theta, theta)


NO_NET = "scikit-learn has no such net as MLP(…), but one of identity, sigmoid, …"


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        ({"activation": "gelu", "output": "identity"}, None, NO_NET),
        ({"sizes": (2, 3, 3, 2), "activation": ("tanh", "relu", "identity")}, None, NO_NET),
        ({"loss": "huber", "output": "identity"}, None, NO_NET),
        ({"output": "identity"}, [0, 1], "classes must name the 0 classes of this net in sor…"),
        ({"loss": "binary_cross_entropy"}, [0, 1], "classes must name the 0 classes of this net…"),
        ({"loss": "cross_entropy"}, ["b", "a"], "classes must name the 2 …, not ['b', 'a']"),
        ({"loss": "cross_entropy"}, [1, 2, 3], "classes must name the 2 classes of this net in …"),
    ],
)
def test_what_scikit_learn_cannot_hold(options, classes, message):
    with complains(ValueError, message):
        formats.to_sklearn(make(**options), classes=classes)


def test_what_is_no_fitted_mlp():
    with pytest.raises(NotFittedError):
        formats.from_sklearn(MLPClassifier())
    with complains(TypeError, "…the last step of a pipeline, pipeline[-1], not Pipeline"):
        formats.from_sklearn(make_pipeline(MLPClassifier()))
