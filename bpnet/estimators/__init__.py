"""scikit-learn's interface: a classifier and a regressor over `bpnet.fit`."""

from bpnet.estimators.models import MLPClassifier as MLPClassifier
from bpnet.estimators.models import MLPRegressor as MLPRegressor
from bpnet.estimators.models import load_model as load_model

__all__ = ["MLPClassifier", "MLPRegressor", "load_model"]
