"""scikit-learn's interface: a classifier and a regressor over `bpnet.fit`."""

from bpnet.estimators.classifier import MLPClassifier as MLPClassifier
from bpnet.estimators.regressor import MLPRegressor as MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
