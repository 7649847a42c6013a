"""The one door to scikit-learn: what the estimators stand on, by version."""

# mypy: disable-error-code="import-untyped, import-not-found, no-redef"

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

try:
    from sklearn import get_config as get_config
    from sklearn.base import BaseEstimator as BaseEstimator
    from sklearn.base import ClassifierMixin as ClassifierMixin
    from sklearn.base import RegressorMixin as RegressorMixin
    from sklearn.base import _fit_context
    from sklearn.exceptions import ConvergenceWarning as ConvergenceWarning
    from sklearn.metrics import check_scoring as check_scoring
    from sklearn.model_selection import train_test_split as train_test_split
    from sklearn.preprocessing import LabelBinarizer as LabelBinarizer
    from sklearn.utils import check_array as check_array
    from sklearn.utils import check_random_state as check_random_state
    from sklearn.utils import column_or_1d as column_or_1d
    from sklearn.utils._param_validation import Interval as Interval
    from sklearn.utils._param_validation import Options as Options
    from sklearn.utils._param_validation import StrOptions as StrOptions
    from sklearn.utils.class_weight import compute_sample_weight as compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import type_of_target as type_of_target
    from sklearn.utils.multiclass import unique_labels as unique_labels
    from sklearn.utils.validation import check_is_fitted as check_is_fitted
    from sklearn.utils.validation import validate_data as validate_data
except ImportError as error:
    missing = isinstance(error, ModuleNotFoundError) and error.name == "sklearn"
    text = f"bpnet.estimators needs scikit-learn 1.6 or newer ({error.msg}): pip install"
    if missing:
        raise ModuleNotFoundError(f"{text} scikit-learn", name="sklearn") from None
    raise ImportError(f"{text} --upgrade scikit-learn", name=error.name) from None

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
