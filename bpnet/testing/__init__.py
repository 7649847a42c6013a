"""Tests of a backward pass on generated networks (extra ``testing``: Hypothesis).

`assert_backward` runs somebody's own forward and backward pass on many networks: to grade
homework, or for a library to test itself. This file is complete; it runs by itself and by pytest::

    import numpy as np

    from bpnet.testing import assert_backward

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def forward(W, b, x):
        a2 = sigmoid(x @ W[0].T + b[0])
        a3 = sigmoid(a2 @ W[1].T + b[1])
        return a3, (x, a2, a3)

    def backward(W, b, cache, y):
        x, a2, a3 = cache
        delta3 = (a3 - y) * a3 * (1 - a3) / len(x)
        delta2 = delta3 @ W[1] * a2 * (1 - a2)
        return [delta2.T @ x, delta3.T @ a2], [delta2.sum(axis=0), delta3.sum(axis=0)]

    def test_backward():
        assert_backward(forward, backward, depth=3, activation="sigmoid", loss="half_squared_error")

    if __name__ == "__main__":
        test_backward()
        print("backward is right")

With the derivative of the hidden layer forgotten, ``delta2 = delta3 @ W[1]``, it tells so, with the
smallest net found that shows it as a call of `case`, which gives the same net, batch and targets.

`networks`, `batches`, `targets` and `cases` are the strategies, for tests of one's own::

    from hypothesis import given
    from bpnet.testing import cases

    @given(cases(activation="relu", loss="cross_entropy"))
    def test_rows_are_probabilities(case):
        net, x, y = case
        assert abs(net.predict(x).sum(axis=1) - 1).max() < 1e-5
"""

from __future__ import annotations

from bpnet.testing.assertions import assert_backward
from bpnet.testing.cases import Case, case
from bpnet.testing.strategies import batches, cases, networks, targets

__all__ = ["Case", "assert_backward", "batches", "case", "cases", "networks", "targets"]
