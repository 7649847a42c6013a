"""scikit-learn's data sets, scaled, and the estimators with a seed."""

from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.preprocessing import scale

from bpnet.estimators import MLPClassifier, MLPRegressor

Classifier = partial(MLPClassifier, random_state=0)
Regressor = partial(MLPRegressor, random_state=0)
KINDS = pytest.mark.parametrize("kind", [Classifier, Regressor])
DIGITS = load_digits(return_X_y=True)[0] / 16, load_digits().target
BINARY = [part[DIGITS[1] < 2] for part in DIGITS]
IRIS = load_iris(return_X_y=True)
DIABETES = map(scale, load_diabetes(return_X_y=True))
DATA = *DIGITS, *BINARY, *IRIS, *DIABETES  # each X, y


def theta(estimator):
    return estimator.net_.theta


def same_theta(one, other, exactly=True):
    tolerance = {} if exactly else {"rtol": 1e-9, "atol": 1e-12}
    check = np.testing.assert_array_equal if exactly else np.testing.assert_allclose
    check(theta(one), theta(other), **tolerance)
