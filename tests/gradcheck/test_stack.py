"""The gradient check of a stack names the network."""

import io
import sys

import numpy as np
import pytest

from bpnet import MLP, GradientCheckFailed, check_gradient
from bpnet.gradcheck import StackReport

X = np.random.default_rng(0).normal(size=(5, 3))
Y = np.eye(2)[[0, 1, 1, 0, 1]]


def stack():
    rules = {"activation": "tanh", "output": "softmax", "loss": "cross_entropy"}
    return MLP.init((3, 4, 2), **rules, networks=4, rng=0)


@pytest.mark.parametrize("method", ["complex", "central"])
def test_a_right_stack_passes(method):
    report = check_gradient(stack(), X, Y, method=method)
    assert (report.ok, len(report.reports), report.cause) == (True, 4, None)
    assert 0 < report.max_error <= report.reports[0].tolerance
    report.raise_if_failed()
    assert "passed: 4 networks" in str(report)


def test_each_network_may_have_its_own_batch_weights_and_mask():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 6, 3)), np.eye(2)[rng.integers(0, 2, (4, 6))]
    mask = {2: rng.integers(0, 2, (4, 6, 4)) * 2.0}
    assert check_gradient(stack(), x, y, mask=mask, sample_weight=rng.random(6)).ok


def test_the_wrong_network_and_its_weight_are_named(monkeypatch):
    net = stack()
    wrong = net.backward(net.forward(X), Y)
    wrong.W[3][2, 1, 0] *= 1 + 1e-6
    report = check_gradient(net, X, Y, gradient=wrong)
    assert not report.ok
    assert report.failed == (2,)
    assert report.worst.name == "network 2: W[3][1, 0]"
    assert report.cause == "one coordinate only: W[3][1, 0]"
    with pytest.raises(GradientCheckFailed, match=r"1 of 4 networks wrong \(2\)"):
        report.raise_if_failed()
    assert "network 2: gradient check FAILED: 1 of 26" in str(report)
    assert not report
    assert check_gradient(net, X, Y)
    for b in wrong.b.values():
        b[...] = 0
    report = check_gradient(net, X, Y, gradient=wrong)
    with pytest.raises(GradientCheckFailed, match="the biases are left out: every ∂E/∂b is 0"):
        report.raise_if_failed()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    with pytest.raises(GradientCheckFailed, match="the biases are left out: every dE/db is 0"):
        report.raise_if_failed()  # where letters are missing


def test_a_function_of_ones_own_gets_the_stack():
    def doubled(net, x, y):
        return 2 * net.backward(net.forward(x), y).theta

    report = check_gradient(stack(), X, Y, gradient=doubled)
    assert report.failed == (0, 1, 2, 3)
    assert "2 times" in report.cause
    assert "4 of 4 networks wrong (0, 1, 2, 3); the worst:" in str(report)
    for count, few in ((5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4, ...")):
        many = StackReport((report.reports[0],) * count)
        assert f" {count} of {count} networks wrong ({few}); the worst:" in str(many)


def test_a_gradient_that_is_none_of_the_stack_is_refused():
    with pytest.raises(ValueError, match=r"shape \(26,\).*\(4, 26\)"):
        check_gradient(stack(), X, Y, gradient=np.zeros(26))
    with pytest.raises(TypeError, match="gradient is None: is a return missing"):
        check_gradient(stack(), X, Y, gradient=lambda *_: None)
    with pytest.raises(TypeError, match=r"^gradient must hold real numbers, but holds text"):
        check_gradient(stack(), X, Y, gradient=["a"])
