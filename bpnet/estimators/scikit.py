"""The one door to scikit-learn: what the estimators stand on, by version."""

# mypy: implicit-reexport, disable-error-code="import-untyped, import-not-found, no-redef"
# ruff: noqa: F401

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import accuracy_score, check_scoring
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPRegressor as Own
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, LabelBinarizer
    from sklearn.utils import check_array, check_random_state, column_or_1d
    from sklearn.utils._param_validation import Interval, StrOptions
    from sklearn.utils._set_output import _get_container_adapter as container_adapter
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import type_of_target, unique_labels
    from sklearn.utils.validation import _check_sample_weight as check_sample_weight
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    missing = isinstance(error, ModuleNotFoundError) and error.name in ("sklearn", "sklearn.base")
    text: str = f"bpnet.estimators needs scikit-learn 1.6 or newer ({error.msg}): pip install"
    if missing:
        raise ModuleNotFoundError(f"{text} scikit-learn", name="sklearn") from None
    raise ImportError(f"{text} --upgrade scikit-learn", name=error.name) from None

OWN_LIMITS: dict[str, list[Any]] = Own._parameter_constraints
Callbacks: Any = type("Callbacks", (), {})
with suppress(ImportError):  # which are there from 1.9 on
    from sklearn.callback import CallbackSupportMixin

    Callbacks = CallbackSupportMixin

F = TypeVar("F", bound=Callable[..., Any])


def fitting(method: F) -> F:
    """Let scikit-learn check the parameters before the method, and end its callbacks after it."""
    return cast(F, _fit_context(prefer_skip_nested_validation=True)(method))


def where(check: Callable[[Any], bool]) -> Callable[[F], F]:
    """Let a method be there only for estimators that the check lets through."""
    return cast(Callable[[F], F], available_if(check))
