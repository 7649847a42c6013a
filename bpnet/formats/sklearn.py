"""scikit-learn: fitted ``MLPClassifier`` and ``MLPRegressor`` as nets, and nets as such.

scikit-learn keeps the weights as ``coefs_``, one (n_{l-1}, n_l) for each layer, W^l transposed. It
knows one activation for all hidden layers and these ends:

    estimator        targets               output     loss
    MLPClassifier    classes               softmax    cross_entropy
    MLPClassifier    2 classes, or labels  sigmoid    binary_cross_entropy
    MLPRegressor                           identity   half_squared_error
    MLPRegressor     counts (since 1.7)    exp        poisson
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.formats.shared import check_single, optional
from bpnet.mlp import MLP

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # type: ignore[import-untyped]

HIDDEN = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
ENDS = {  # by scikit-learn's out_activation_: ours, and the loss that it is trained with
    "softmax": ("softmax", "cross_entropy"),
    "logistic": ("sigmoid", "binary_cross_entropy"),
    "identity": ("identity", "half_squared_error"),
    "exp": ("exp", "poisson"),
}


def from_sklearn(estimator: MLPClassifier | MLPRegressor) -> MLP:
    """Return a net with copies of the weights of a fitted MLP of scikit-learn, in its dtype.

    `MLP.predict` returns what ``predict_proba`` or a regressor's ``predict`` does, to rounding,
    but as rows, (m, n_L); of two classes it is the probability of the second alone. The classes'
    names stay with the estimator: ``estimator.classes_[net.predict(X).argmax(axis=1)]``.
    TypeError of another estimator, NotFittedError, a ValueError too, of one that is not fitted.
    """
    networks = optional("sklearn.neural_network", "from_sklearn")
    if not isinstance(estimator, (networks.MLPClassifier, networks.MLPRegressor)):
        raise TypeError(
            "from_sklearn takes a fitted MLPClassifier or MLPRegressor of scikit-learn, such as "
            f"the last step of a pipeline, pipeline[-1], not {type(estimator).__name__}"
        )
    optional("sklearn.utils.validation", "from_sklearn").check_is_fitted(estimator, "coefs_")
    output, loss = ENDS[estimator.out_activation_]
    (hidden,) = (ours for ours, theirs in HIDDEN.items() if theirs == estimator.activation)
    return MLP.from_weights(
        [coef.T for coef in estimator.coefs_],
        estimator.intercepts_,
        activation=[*(hidden for _ in estimator.coefs_[1:]), output],
        loss=loss,
    )


def to_sklearn(net: MLP, *, classes: ArrayLike | None = None) -> MLPClassifier | MLPRegressor:
    """Return a fitted MLP of scikit-learn with copies of the weights of a net.

    It predicts, scores, goes into a pipeline, is cloned, pickled and trained further by
    ``partial_fit``; of its training before it knows nothing: ``loss_curve_`` is empty.

    Parameters
    ----------
    net : MLP
        Of a kind that scikit-learn has: see the table above. Two outputs of softmax become its one
        logistic output, of the difference of the two.
    classes : array_like, optional
        The classes' names, in the order of the outputs, which for scikit-learn is sorted; the
        default is 0, 1, ... Several labels (sigmoid, more than one output) have no names.
    """
    check_single(net, "to_sklearn")
    networks = optional("sklearn.neural_network", "to_sklearn")
    *hidden, output = (f.name for f in net.activation.values())
    n, end = net.sizes[-1], (output, net.loss_function.name)
    rules = set(hidden) or {"relu"}  # where there is no hidden layer, scikit-learn's default
    if end not in ENDS.values() or len(rules) > 1 or not rules <= set(HIDDEN):
        ends = ", ".join(f"{output} with {loss}" for output, loss in ENDS.values())
        raise ValueError(
            f"scikit-learn has no such net as {net!r}, but one of {', '.join(HIDDEN)} for all "
            f"hidden layers, and at the end {ends}"
        )
    regression, labels = output in ("identity", "exp"), output == "sigmoid" and n > 1
    k = 0 if regression or labels else max(2, n)
    names = np.arange(k) if classes is None else np.asarray(classes)
    if names.shape != (k,) or not np.array_equal(np.unique(names), names):
        raise ValueError(
            f"classes must name the {k} classes of this net in sorted order, each once, not {classes!r}"
        )
    coefs = [net.W[l].T.copy() for l in net.activation]
    intercepts = [net.b[l].copy() for l in net.activation]
    if output == "softmax" and n == 2:  # e^z2 / (e^z1 + e^z2) is the sigmoid of z2 - z1
        coefs[-1] = coefs[-1][:, 1:] - coefs[-1][:, :1]
        intercepts[-1] = intercepts[-1][1:] - intercepts[-1][:1]
    options = {"activation": HIDDEN[rules.pop()], "hidden_layer_sizes": net.sizes[1:-1]}
    options |= {"loss": "poisson"} if output == "exp" else {}
    kind = networks.MLPRegressor if regression else networks.MLPClassifier
    Y = np.ones((2, n)) if regression else np.eye(n, dtype=int) if labels else names
    known = {} if regression else {"classes": np.arange(n) if labels else names}
    # One step on made-up data lets scikit-learn set up what it keeps, in any of its versions; then
    # the weights and the records of that step are replaced.
    estimator: Any = kind(**options, random_state=0)  # so that no one else's numbers are drawn
    X = np.zeros((len(Y), net.sizes[0]), net.dtype)
    estimator.partial_fit(X, Y.squeeze(), **known).set_params(random_state=None)
    estimator.coefs_, estimator.intercepts_ = coefs, intercepts
    vars(estimator).pop("_optimizer", None)  # which has seen that step
    estimator.n_iter_ = estimator.t_ = estimator._no_improvement_count = 0
    estimator.loss_curve_, estimator.loss_, estimator.best_loss_ = [], np.nan, np.inf
    return estimator
