"""The regressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from bpnet.arrays import Array
from bpnet.estimators import scikit
from bpnet.estimators.base import BaseMLP
from bpnet.estimators.inputs import Samples
from bpnet.estimators.parameters import documented
from bpnet.estimators.rules import loss_named
from bpnet.rules.losses import get_loss
from bpnet.rules.metrics import r2


@documented
class MLPRegressor(scikit.RegressorMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn is untyped
    """A regressor by a multi-layer perceptron, of one output or many.

    What scikit-learn's MLPRegressor takes, and more; a parameter of the same name means the same.
    Of many outputs the loss is the sum, where scikit-learn shows their mean and descends the sum.

    Parameters
    ----------
    loss : str or Loss, default='squared_error'
        'squared_error' (half of it), 'poisson', or any of `bpnet.LOSSES`.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Neurons of each hidden layer; () is a net without one.
    activation : str, Activation, or a list with one for each hidden layer, default='relu'
        'identity', 'logistic', 'tanh', 'relu', or any of `bpnet.ACTIVATIONS`.
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from bpnet.estimators import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = MLPRegressor(n_ensemble=5, early_stopping=True, max_iter=1000, random_state=0)
    >>> model = make_pipeline(StandardScaler(), net).fit(X, y / 100)
    >>> mean, spread = model.predict(X[:2], return_std=True)
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
        self._keep(locals())

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
        """Return the outputs; of an ensemble their mean.

        Parameters
        ----------
        X : array-like or sparse, shape (m, n_features)
        return_std : bool
            Return (mean, standard deviation over the networks of the ensemble).

        Returns
        -------
        array, shape (m,) or (m, n_outputs)
            Or two of them.

        Raises
        ------
        ValueError
            If a standard deviation is asked of one network.
        """
        if not return_std:
            return super().predict(X)
        a = self._all_outputs(X)
        if a.ndim == 2:
            raise ValueError("return_std needs an ensemble: fit with n_ensemble=5 or so")
        return self._decode(a.mean(axis=0)), self._decode(a.std(axis=0))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
