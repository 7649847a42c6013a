"""What the two estimators share: from scikit-learn's (X, y) to a trained net, and from it."""

import copy
import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import partial as given
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.estimators import scikit
from bpnet.estimators.course import Course, Job, Samples, chunks, outputs
from bpnet.estimators.parameters import LIMITS, check_sizes, layer_sizes, net_of
from bpnet.mlp import MLP
from bpnet.training.lbfgs import LBFGS

FLOATS = (np.float64, np.float32)


def refuse_masked(**given: Any) -> None:
    """Raise TypeError for an array with masked values, which NumPy would take for values."""
    for name, values in given.items():
        if np.ma.is_masked(values):
            raise TypeError(f"{name} is a masked array, whose mask would be ignored: fill it first")


def checked(estimator: Any, X: Any, y: Any = "no_validation", **options: Any) -> Any:
    """Return X, and y if it is given, as scikit-learn checks them; X may be CSR."""
    refuse_masked(X=X, y=y)
    try:
        return scikit.validate_data(estimator, X, y, accept_sparse="csr", dtype=FLOATS, **options)
    except (TypeError, ValueError) as error:
        for name in getattr(X, "columns", ()):
            try:
                scikit.check_array(X[[name]], dtype=FLOATS)
            except (TypeError, ValueError):
                raise type(error)(f"column {name!r}: {error}") from None
        raise


def as_weight(sample_weight: Any, X: Any) -> Array | None:
    """Return the weights of the samples, float64, checked; None stays None."""
    if sample_weight is None:
        return None
    refuse_masked(sample_weight=sample_weight)
    weight: Array = scikit.check_sample_weight(sample_weight, X, dtype=np.float64)
    if weight.min() < 0:
        raise ValueError(f"sample_weight must be >= 0, but holds {weight.min():g}")
    if not weight.any():
        raise ValueError("sample_weight is zero for every sample: give one a weight")
    return weight


def warn_of_size(x: Any) -> None:
    """Warn of inputs beside which a bias is lost: nothing can be learned from them."""
    largest = max(x.max(), -x.min())
    if largest * np.finfo(x.dtype).eps > 1:
        text = f"X holds numbers as large as {largest:.3g}, beside which biases are lost in"
        warnings.warn(f"{text} {x.dtype}: scale it, by StandardScaler for example", stacklevel=5)


def divided(
    n: int, fraction: float, classes: Any, state: np.random.RandomState, *, lenient: bool
) -> tuple[Array, Array]:
    """Return the numbers of the rows to train on, and of a fraction to validate on."""
    choose = given(scikit.train_test_split, np.arange(n), test_size=fraction, random_state=state)
    try:
        rest, rows = choose(stratify=classes)
    except ValueError:
        if not lenient:
            raise
        rest, rows = choose()
    if len(rows) < 2:
        raise ValueError(
            f"The validation set is too small: {len(rows)} of {n} samples. Increase "
            "'validation_fraction' or the size of your dataset."
        )
    return rest, rows


class BaseMLP(scikit.Callbacks, scikit.BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """What `MLPClassifier` and `MLPRegressor` share.

    Each of them says of itself `_encode`, `_decode`, `_output_and_loss` and `_score`.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = LIMITS
    _target_checks: ClassVar[dict[str, Any]] = {"multi_output": True}
    _stratified: ClassVar[bool] = False

    def _constant(self, samples: Samples) -> float:
        """Return what scikit-learn's loss has more than bpnet's, of the targets alone."""
        return 0.0

    def _is_lbfgs(self) -> bool:
        return isinstance(self.solver, LBFGS) or self.solver == "lbfgs"

    def _takes_steps(self) -> bool:
        if self._is_lbfgs():
            raise AttributeError("partial_fit is for stochastic solvers, which L-BFGS is not")
        return True

    @scikit.fitting
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:  # fmt: skip
        """Train the net, and return the estimator; X and y are as scikit-learn's MLP takes them.

        Sparse X is made dense one batch at a time; for L-BFGS, as a whole. Weights are relative to
        their mean; 0 is as good as no sample. `X_val` and `y_val` are what to validate on.
        TypeError or ValueError, if a parameter or the data are not as they must be;
        TrainingDiverged, if numbers overflow.
        """
        return self._train(X, y, sample_weight, (X_val, y_val, sample_weight_val), partial=False)

    @scikit.where(_takes_steps)
    @scikit.fitting
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:  # fmt: skip
        """Go once through some samples, and return the estimator; all is as in `fit`.

        Under early stopping some samples are set aside, of the same samples the same ones;
        ``stopped_`` says when it is time to end, and the net then has its best weights.
        """
        return self._train(X, y, sample_weight, (X_val, y_val, sample_weight_val), partial=True)

    def _train(self, X: Any, y: Any, sample_weight: Any, validation: Sequence[Any], *, partial: bool) -> Self:
        """Begin a training or go on with one, and keep what comes out."""
        going_on = self.__sklearn_is_fitted__() and bool(partial or self.warm_start)
        x, y = checked(self, X, y, reset=not going_on, **self._target_checks)
        y, targets = self._encode(y, learn=not going_on and not partial, exactly=not partial)
        samples = Samples(x, y, targets, as_weight(sample_weight, x))
        state = scikit.check_random_state(self.random_state)
        sizes = layer_sizes(self.hidden_layer_sizes, x.shape[1], targets.shape[1])
        if going_on:
            check_sizes(self.net_, sizes, "the net to go on from is")
            course: Course = self._course
        elif partial and self.n_restarts > 1:
            raise ValueError("n_restarts is for fit, which ends: give partial_fit one start")
        else:
            for name in ("net_", "_course", "_split_state"):
                self.__dict__.pop(name, None)
            course = Course(net_of(self, sizes, x.dtype, state))
        rows, held = self._validation(samples, validation, state, partial)
        weight, class_weight = samples.weight, getattr(self, "class_weight", None)
        if partial and class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all samples, which partial_fit has not: give the "
                "weights as a dict"
            )
        if class_weight is not None:
            of_class = scikit.compute_sample_weight(class_weight, y)
            weight = of_class if weight is None else weight * of_class
        if weight is not None:  # a weight of 0 is as good as no sample
            rows = rows[weight[rows] > 0]
            if len(rows) == 0:
                raise ValueError("the weight is zero for every sample to train on")
        samples = samples._replace(weight=weight)
        samples = samples if len(rows) == len(targets) else samples.take(rows)
        warn_of_size(samples.x)
        course.prepare(self, state, partial=partial)
        course.run(Job(self, samples, held, self._scorer(held), partial))
        if not partial or course.stopped:
            course.choose(self.n_ensemble, by_score=self.early_stopping)
        self._adopt(course)
        self.n_iter_, self.t_, self.stopped_ = course.epochs, course.seen, course.stopped
        self.loss_curve_: list[float] = course.curve("losses")
        self.loss_: float = self.loss_curve_[-1]
        self.best_loss_: float | None = None if self.early_stopping else course.mean("best_loss")
        self.validation_loss_curve_: list[float] | None = course.curve("validation_losses") or None
        self.validation_scores_: list[float] | None = course.curve("scores") or None
        self.best_validation_score_ = course.mean("best_score") if self.validation_scores_ else None
        return self

    def _validation(
        self, samples: Samples, given: Sequence[Any], state: np.random.RandomState, partial: bool
    ) -> tuple[Array, Samples | None]:
        """Return the numbers of the rows to train on, and what to validate on, if anything."""
        n = len(samples.targets)
        X_val, y_val, weight_val = given
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: give both or none")
        if X_val is not None:
            x, y = checked(self, X_val, y_val, reset=False, **self._target_checks)
            y, targets = self._encode(y, learn=False, exactly=False)
            return np.arange(n), Samples(x, y, targets, as_weight(weight_val, x))
        if not self.early_stopping:
            return np.arange(n), None
        if not hasattr(self, "_split_state"):  # the same rows in every call
            self._split_state = copy.deepcopy(state)
        state = copy.deepcopy(self._split_state)
        classes = samples.y if self._stratified else None
        lenient = partial or samples.y.ndim > 1
        rest, rows = divided(n, self.validation_fraction, classes, state, lenient=lenient)
        return rest, samples.take(rows)

    def _scorer(self, held: Samples | None) -> Callable[[MLP, Array], float]:
        """Return the function that scores one network, with its outputs, on the held data."""
        if held is None or self.scoring in (None, "loss"):
            return lambda net, a: self._score(a, held)
        score = scikit.check_scoring(self, self.scoring)
        alone = copy.copy(self)  # with the net that is asked about, and without names of columns
        alone.__dict__.pop("feature_names_in_", None)
        takes_weight = "sample_weight" in inspect.signature(score).parameters
        weights = {"sample_weight": held.weight} if takes_weight else {}

        def scored(net: MLP, a: Array) -> float:
            alone.net_ = net
            return float(score(alone, held.x, held.y, **weights))

        return scored

    def _adopt(self, course: Course) -> None:
        """Be an estimator with the net of this course."""
        self._course: Course = course
        net: MLP = course.net
        self.net_, self.n_layers_, self.n_outputs_ = net, net.L, net.sizes[-1]
        self.out_activation_: str = net.activation[net.L].name.replace("sigmoid", "logistic")

    @property
    def coefs_(self) -> list[Array]:
        """The weights by layer, each (n_in, n_out): views of the net's."""
        return [W.mT for W in self.net_.W.values()]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases by layer: views of the net's."""
        return list(self.net_.b.values())

    def _rows(self, X: Any) -> Any:
        """Return X, checked against what the net was fitted on."""
        scikit.check_is_fitted(self)
        return checked(self, X, reset=False)

    def _all_outputs(self, X: Any) -> Array:
        """Return the net's outputs, (m, n_outputs), or (networks, m, n_outputs) of an ensemble."""
        x = self._rows(X)  # first: without a net this raises NotFittedError
        return outputs(self.net_, x)

    def _outputs(self, X: Any) -> Array:
        """Return the net's outputs, (m, n_outputs); of an ensemble their mean."""
        a = self._all_outputs(X)
        return a if a.ndim == 2 else a.mean(axis=0)

    def predict(self, X: Any) -> Any:
        """Return labels or numbers, (m,), of several labels or outputs 2-D."""
        return self._decode(self._outputs(X))

    def transform_hidden(self, X: Any, layer: int | None = None) -> Any:
        """Return the outputs of a hidden layer, (m, n_l), or (networks, m, n_l) of an ensemble.

        2 is the first layer after the input; the default is the last hidden one. It is an array,
        or the data frame that `set_output` asks for.
        """
        x, net = self._rows(X), self.net_
        l = net.L - 1 if layer is None else as_int(layer, "layer", least=1)
        if not 1 < l < net.L:
            there = f"2..{net.L - 1} are" if net.L > 2 else "there is none"
            raise ValueError(f"layer {l} is no hidden layer of this net: {there}")
        hidden = np.concatenate([net.forward(part).a[l] for part in chunks(x)], axis=-2)
        library = scikit.container_adapter("transform", self)
        if library is None or hidden.ndim > 2:
            return hidden
        names = self.get_feature_names_out(n=hidden.shape[1])
        return library.create_container(hidden, X, columns=names)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Say what `transform_hidden` returns: 'default', 'pandas' or 'polars'."""
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def get_feature_names_out(self, input_features: Any = None, *, n: int | None = None) -> Array:
        """Return the names of what `transform_hidden` gives, class and neuron; `n` of them."""
        scikit.check_is_fitted(self)
        n, name = n or self.net_.sizes[-2], type(self).__name__.lower()
        return np.array([f"{name}{i}" for i in range(n)], dtype=object)

    def sensitivity(self, X: Any) -> Array:
        """Return the derivative of each output by each input, (m, n_outputs, n_features).

        Of an ensemble it is that of the mean output.
        """
        parts = [self.net_.sensitivity(part) for part in chunks(self._rows(X))]
        found = np.concatenate(parts, axis=-3)
        return found if found.ndim == 3 else found.mean(axis=0)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        if tags.classifier_tags is None:
            tags.target_tags.multi_output = True
        else:
            tags.classifier_tags.multi_label = True
        return tags

    def _sk_visual_block_(self) -> Any:
        """Return what a diagram of scikit-learn shows; the caption tells the net's layers."""
        text = ""
        if self.__sklearn_is_fitted__():
            net = self.net_
            layers = [f"{net.sizes[l - 1]} {f.name}" for l, f in net.activation.items()]
            many = f"{len(net)} networks, " if net.theta.ndim > 1 else ""
            text = f"{net.sizes[0]} – {' – '.join(layers)}; {net.loss_function.name}; "
            text += f"{many}{net.theta.shape[-1]:,} parameters, {net.dtype}"
        return SimpleNamespace(
            kind="single", estimators=self, names=type(self).__name__, name_details=str(self),
            name_caption=text, doc_link_label=None, dash_wrapped=True,
        )  # fmt: skip
