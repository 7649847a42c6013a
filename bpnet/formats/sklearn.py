"""scikit-learn: fitted ``MLPClassifier`` and ``MLPRegressor`` as nets, and nets as such.

scikit-learn keeps the weights as ``coefs_``, one (n_{l-1}, n_l) for each layer, W^l transposed. It
knows one activation for all hidden layers and these ends:

    estimator        targets               output     loss
    MLPClassifier    classes               softmax    cross_entropy
    MLPClassifier    2 classes, or labels  sigmoid    binary_cross_entropy
    MLPRegressor                           identity   half_squared_error
    MLPRegressor     counts (since 1.7)    exp        poisson

For estimators of its own, bpnet has `bpnet.estimators`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.formats.shared import check_single, optional
from bpnet.mlp import MLP

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # type: ignore[import-untyped]

HIDDEN = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
OURS = {theirs: ours for ours, theirs in HIDDEN.items()}
ENDS = {  # scikit-learn's out_activation_: ours, and the loss that it is trained with
    "softmax": ("softmax", "cross_entropy"),
    "logistic": ("sigmoid", "binary_cross_entropy"),
    "identity": ("identity", "half_squared_error"),
    "exp": ("exp", "poisson"),
}


def from_sklearn(estimator: MLPClassifier | MLPRegressor) -> MLP:
    """Return a net with copies of the weights of a fitted MLP of scikit-learn.

    `MLP.predict` returns what ``predict_proba`` or a regressor's ``predict`` does, to rounding,
    but as rows, (m, n_L); of two classes it is the probability of the second alone. The classes'
    names stay with the estimator: ``estimator.classes_[net.predict(X).argmax(axis=1)]``.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Of scikit-learn. The last step of a pipeline is ``pipeline[-1]``.

    Returns
    -------
    MLP
        In the estimator's dtype.

    Raises
    ------
    TypeError
        If it is another estimator.
    NotFittedError
        If it is not fitted; a ValueError.
    """
    networks = optional("sklearn.neural_network", "from_sklearn", "scikit-learn")
    if not isinstance(estimator, (networks.MLPClassifier, networks.MLPRegressor)):
        hint = ": pass its last step, pipeline[-1]" if hasattr(estimator, "steps") else ""
        raise TypeError(
            "from_sklearn takes a fitted MLPClassifier or MLPRegressor of scikit-learn, not "
            f"{type(estimator).__name__}{hint}"
        )
    optional("sklearn.utils.validation", "from_sklearn").check_is_fitted(estimator, "coefs_")
    output, loss = ENDS[estimator.out_activation_]
    hidden = [OURS[estimator.activation]] * (len(estimator.coefs_) - 1)
    W = [coef.T for coef in estimator.coefs_]
    return MLP.from_weights(W, estimator.intercepts_, activation=[*hidden, output], loss=loss)


def to_sklearn(net: MLP, *, classes: ArrayLike | None = None) -> MLPClassifier | MLPRegressor:
    """Return a fitted MLP of scikit-learn with copies of the weights of a net.

    It predicts, scores, goes into a pipeline, is cloned, pickled and trained further by
    ``partial_fit``; of its training before it knows nothing: ``loss_curve_`` is empty.

    Parameters
    ----------
    net : MLP
        One network, of real weights, of a kind that scikit-learn has: see the table above. Two
        outputs of softmax become its one logistic output, of the difference of the two.
    classes : array_like, optional
        The classes' names, in the order of the outputs, which for scikit-learn is sorted; the
        default is 0, 1, ... Several labels (sigmoid, more than one output) have no names.

    Raises
    ------
    TypeError, ValueError
        If scikit-learn cannot hold the net, or the classes do not fit it.
    """
    check_single(net, "to_sklearn")
    networks = optional("sklearn.neural_network", "to_sklearn", "scikit-learn")
    out = out_activation(net)
    options = {"activation": hidden_activation(net), "hidden_layer_sizes": net.sizes[1:-1]}
    coefs = [net.W[l].T.copy() for l in range(2, net.L + 1)]
    intercepts = [net.b[l].copy() for l in range(2, net.L + 1)]
    if out in ("identity", "exp"):
        if classes is not None:
            raise ValueError(f"classes= is for classifiers, but this net's output is {out}")
        make = networks.MLPRegressor
        if out == "exp":
            if "loss" not in inspect.signature(make).parameters:
                raise ValueError("scikit-learn has the poisson loss since 1.7: upgrade it")
            options["loss"] = "poisson"
        Y = np.ones((2, net.sizes[-1]))
        return with_weights(make(**options), Y, coefs, intercepts)
    if out == "softmax" and net.sizes[-1] == 2:  # e^z2 / (e^z1 + e^z2) is the sigmoid of z2 - z1
        coefs[-1] = coefs[-1][:, 1:] - coefs[-1][:, :1]
        intercepts[-1] = intercepts[-1][1:] - intercepts[-1][:1]
    labels = out == "logistic" and net.sizes[-1] > 1
    names = as_classes(classes, max(2, net.sizes[-1]), labels)
    Y = np.eye(len(names), dtype=int) if labels else names
    return with_weights(networks.MLPClassifier(**options), Y, coefs, intercepts, names)


def with_weights(
    estimator: Any,
    Y: Array,
    coefs: list[Array],
    intercepts: list[Array],
    classes: Array | None = None,
) -> Any:
    """Return an estimator as if fitted to these weights.

    One step on made-up data lets scikit-learn set up what it keeps, in any of its versions; then
    the weights and the records of that step are replaced.
    """
    X = np.zeros((len(Y), len(coefs[0])), coefs[0].dtype)
    known = {} if classes is None else {"classes": classes}
    estimator.set_params(random_state=0)  # so that no one else's random numbers are drawn
    estimator.partial_fit(X, Y.ravel() if Y.shape[1:] == (1,) else Y, **known)
    estimator.set_params(random_state=None)
    estimator.coefs_, estimator.intercepts_ = coefs, intercepts
    vars(estimator).pop("_optimizer", None)  # which has seen that step
    estimator.n_iter_ = estimator.t_ = estimator._no_improvement_count = 0
    estimator.loss_curve_, estimator.loss_, estimator.best_loss_ = [], np.nan, np.inf
    return estimator


def hidden_activation(net: MLP) -> str:
    """Return scikit-learn's name for the activation of all hidden layers."""
    names = {net.activation[l].name for l in range(2, net.L)} or {"relu"}
    if len(names) > 1 or not names <= set(HIDDEN):
        raise ValueError(
            f"scikit-learn has one of {', '.join(HIDDEN)} for all hidden layers, but this net has "
            f"{', '.join(sorted(names))}"
        )
    return HIDDEN[names.pop()]


def out_activation(net: MLP) -> str:
    """Return scikit-learn's name for the output activation, if it has such an end."""
    end = net.activation[net.L].name, net.loss_function.name
    for theirs, ours in ENDS.items():
        if end == ours and (theirs != "softmax" or net.sizes[-1] > 1):
            return theirs
    raise ValueError(
        f"scikit-learn has no MLP of {net.sizes[-1]} outputs of {end[0]} with the loss {end[1]}: "
        f"it has {', '.join(f'{output} with {loss}' for output, loss in ENDS.values())}"
    )


def as_classes(classes: ArrayLike | None, n: int, labels: bool) -> Array:
    """Return the names of n classes, sorted as scikit-learn keeps them."""
    if classes is None:
        return np.arange(n)
    names = np.asarray(classes)
    if labels:
        raise ValueError(f"{n} labels, each 0 or 1, have no classes: leave the argument out")
    if names.shape != (n,) or not np.array_equal(np.unique(names), names):
        raise ValueError(
            f"classes must name the {n} outputs in sorted order, each once, not {classes!r}"
        )
    return names
