"""The classifier and the regressor: what their targets, outputs and scores are; and from a file."""

from typing import Any, ClassVar, Self

import numpy as np

from bpnet.archive import StrPath
from bpnet.arrays import Array
from bpnet.estimators import scikit
from bpnet.estimators.base import BaseMLP
from bpnet.estimators.course import Course, Samples
from bpnet.estimators.parameters import LIMITS, documented, loss_named
from bpnet.rules.activations import get_activation
from bpnet.rules.losses import get_loss
from bpnet.rules.metrics import r2
from bpnet.tables import inputs_of, load_table_model


def gives_probabilities(estimator: Any) -> bool:
    """Whether outputs lie between 0 and 1; or AttributeError, as scikit-learn wants it."""
    out = estimator.out_activation
    if out is not None and get_activation(out).range != (0, 1):
        raise AttributeError(f"outputs of {out!r} are no probabilities: there is no predict_proba")
    return True


@documented
class MLPClassifier(scikit.ClassifierMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn is untyped
    """A classifier by a multi-layer perceptron: binary, multiclass or multilabel.

    What scikit-learn's MLPClassifier takes, and more; a parameter of the same name means the same.

    Parameters
    ----------
    loss : str or Loss, default='log_loss'
        'log_loss' is cross-entropy, or its binary form, by the output; or any of `bpnet.LOSSES`.
    {parameters}
    class_weight : dict, 'balanced' or None, default=None
        Of each label in training; 'balanced' gives every class the same total.

    Attributes
    ----------
    classes_ : array, shape (n_classes,)
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from bpnet.estimators import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0))
    >>> print(f"{model.fit(X, y).score(X, y):.2f}")
    1.00
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = LIMITS | {
        "class_weight": [dict, list, scikit.StrOptions({"balanced"}), None]
    }
    _stratified = True

    # fmt: off
    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: Any = "relu", *, loss: Any = "log_loss",
        solver: Any = "adam", alpha: float = 0.0001, batch_size: int | str = "auto",
        learning_rate: Any = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: bool | int = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        out_activation: Any = None, scoring: Any = None, dropout: Any = 0.0,
        start_weights: Any = None, callbacks: Any = (), n_restarts: int = 1, n_ensemble: int = 1,
        compiled: bool = False, class_weight: Any = None,
    ) -> None:
        # fmt: on
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})

    @scikit.where(BaseMLP._takes_steps)
    @scikit.fitting
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, *, X_val: Any = None,
        y_val: Any = None, sample_weight_val: Any = None,
    ) -> Self:  # fmt: skip
        """Go once through some samples, as `MLPRegressor.partial_fit`, and return the estimator.

        The first call needs `classes`, all that there are.
        """
        if not self.__sklearn_is_fitted__():
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._learn(y if "multilabel" in scikit.type_of_target(y) else classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(
                f"`classes={classes}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_}"
            )
        return self._train(X, y, sample_weight, (X_val, y_val, sample_weight_val), partial=True)

    def _learn(self, y: Any) -> None:
        """Learn the classes."""
        binarizer = scikit.LabelBinarizer().fit(y)
        if len(binarizer.classes_) < 2:
            (only,) = binarizer.classes_.tolist()
            raise ValueError(f"y holds one class only, {only!r}: a classifier needs two at least")
        self._label_binarizer, self.classes_ = binarizer, binarizer.classes_

    def _encode(self, y: Any, *, learn: bool, exactly: bool) -> tuple[Any, Array]:
        y = y.toarray() if hasattr(y, "toarray") else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = scikit.column_or_1d(y, warn=True)
        if learn:
            self._learn(y)
        labels = scikit.unique_labels(y)
        if exactly and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {labels}"
            )
        if len(np.setdiff1d(labels, self.classes_)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {labels}."
            )
        targets = np.asarray(self._label_binarizer.transform(y), np.float64)
        if self._kind() == "binary" and self._output().rows_sum_to_one:  # an output each
            targets = np.hstack([1 - targets, targets])
        return y, targets

    def _kind(self) -> str:
        return str(self._label_binarizer.y_type_)

    def _output(self) -> Any:
        default = "softmax" if self._kind() == "multiclass" else "sigmoid"
        return get_activation(self.out_activation or default)

    def _output_and_loss(self) -> tuple[Any, Any]:
        output, loss = self._output(), loss_named(self.loss)
        if loss == "log_loss":
            loss = "cross_entropy" if output.rows_sum_to_one else "binary_cross_entropy"
        return output, loss

    def _decode(self, a: Array) -> Any:
        if self._kind() == "binary":
            a = a[:, 0] if a.shape[1] == 1 else a.argmax(axis=1)
        return self._label_binarizer.inverse_transform(a)

    def _score(self, a: Array, held: Samples) -> float:
        """Return the accuracy; of labels, how often all are right."""
        said = self._decode(a)
        return float(scikit.accuracy_score(held.y, said, sample_weight=held.weight))

    @scikit.where(gives_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, or of each label, (m, n_classes)."""
        a = self._outputs(X)
        if a.shape[1] == 1:
            return np.hstack([1 - a, a])
        if self._kind() == "multiclass" and not self._output().rows_sum_to_one:
            a = a / np.maximum(a.sum(axis=1, keepdims=True), np.finfo(a.dtype).tiny)
        return a

    @scikit.where(gives_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`, -inf where a probability is 0."""
        with np.errstate(divide="ignore"):
            log_p: Array = np.log(self.predict_proba(X))
        return log_p


@documented
class MLPRegressor(scikit.RegressorMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn is untyped
    """A regressor by a multi-layer perceptron, of one output or many.

    What scikit-learn's MLPRegressor takes, and more; a parameter of the same name means the same.
    Of many outputs the loss is the sum, where scikit-learn shows their mean and descends the sum.

    Parameters
    ----------
    loss : str or Loss, default='squared_error'
        'squared_error' (half of it), 'poisson', or any of `bpnet.LOSSES`.
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from bpnet.estimators import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = MLPRegressor(n_ensemble=5, early_stopping=True, max_iter=1000, random_state=0)
    >>> mean, spread = net.fit(X * 20, y / 100).predict(X[:2] * 20, return_std=True)
    >>> mean.shape, spread.shape
    ((2,), (2,))
    """

    _target_checks: ClassVar[dict[str, Any]] = {"multi_output": True, "y_numeric": True}

    # fmt: off
    def __init__(
        self, loss: Any = "squared_error", hidden_layer_sizes: Any = (100,),
        activation: Any = "relu", *, solver: Any = "adam", alpha: float = 0.0001,
        batch_size: int | str = "auto", learning_rate: Any = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: bool | int = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-8, n_iter_no_change: float = 10, max_fun: int = 15000,
        out_activation: Any = None, scoring: Any = None, dropout: Any = 0.0,
        start_weights: Any = None, callbacks: Any = (), n_restarts: int = 1, n_ensemble: int = 1,
        compiled: bool = False,
    ) -> None:
        # fmt: on
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})

    def _encode(self, y: Any, *, learn: bool, exactly: bool) -> tuple[Any, Array]:
        if y.ndim == 2 and y.shape[1] == 1:
            y = scikit.column_or_1d(y, warn=True)
        return y, y.reshape(len(y), -1)

    def _output_and_loss(self) -> tuple[Any, Any]:
        loss = get_loss(loss_named(self.loss))
        return self.out_activation or loss.joined_output or "identity", loss

    def _constant(self, samples: Samples) -> float:
        if get_loss(loss_named(self.loss)).name != "poisson":
            return 0.0
        y = samples.targets
        share = (y * np.log(np.where(y > 0, y, 1)) - y).sum(axis=1)
        return float(np.average(share, weights=samples.weight))

    def _decode(self, a: Array) -> Any:
        return a[:, 0] if a.shape[1] == 1 else a

    def _score(self, a: Array, held: Samples) -> float:
        """Return R², averaged over outputs."""
        return float(r2.value(r2.add(None, held.targets, a, held.weight)))

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the outputs, (m,) or (m, n_outputs); of an ensemble their mean.

        Parameters
        ----------
        X : array-like or sparse, shape (m, n_features)
        return_std : bool
            Return (mean, standard deviation over the networks of the ensemble).
        """
        if not return_std:
            return super().predict(X)
        a = self._all_outputs(X)
        if a.ndim == 2:
            raise ValueError("return_std needs an ensemble: fit with n_ensemble=5 or so")
        return self._decode(a.mean(axis=0)), self._decode(a.std(axis=0))


def load_model(path: StrPath) -> Any:
    """Return the model in a file of ``bpnet train --save`` as a fitted pipeline of scikit-learn.

    It takes a DataFrame with the file's columns, or an array of them in their order, and says what
    ``bpnet predict`` does. Its last step, ``model[-1]``, is an `MLPClassifier` or `MLPRegressor`,
    whose ``net_`` is the file's net; the first, which scales and encodes, is not fitted anew.

    Raises
    ------
    OSError, InvalidFile
        If the file is missing, or is no such model, or a damaged one.
    """
    model = load_table_model(path)
    net, classes = model.net, model.target.categories
    names = np.array([column.name for column in model.columns], object)
    encode = scikit.FunctionTransformer(inputs_of, kw_args={"columns": model.columns})
    encode.feature_names_in_, encode.n_features_in_ = names, len(names)
    *hidden, output = (f.name for f in net.activation.values())
    kind = MLPClassifier if classes else MLPRegressor
    estimator = kind(
        hidden_layer_sizes=net.sizes[1:-1], activation=hidden, out_activation=output, loss=net.loss_function
    )
    if isinstance(estimator, MLPClassifier):
        estimator._learn(np.array(classes))
    estimator.n_features_in_ = net.sizes[0]
    estimator._adopt(Course(net))
    return scikit.make_pipeline(encode, estimator)
