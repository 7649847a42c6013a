"""A model of ``bpnet train`` as a fitted estimator."""

from typing import Any

import numpy as np

from bpnet.archive import StrPath
from bpnet.estimators import scikit
from bpnet.estimators.course import Course
from bpnet.estimators.models import MLPClassifier, MLPRegressor
from bpnet.tables import inputs_of, load_table_model


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
        hidden_layer_sizes=net.sizes[1:-1],
        activation=hidden,
        out_activation=output,
        loss=net.loss_function,
    )
    if isinstance(estimator, MLPClassifier):
        estimator._learn(np.array(classes))
    estimator.n_features_in_ = net.sizes[0]
    estimator._adopt(Course(net))
    return scikit.make_pipeline(encode, estimator)
