"""The bounds of rounding: they hold, and leave room for errors to be seen."""

import numpy as np
import pytest

from bpnet import MLP, Activation
from bpnet.gradcheck import check_gradient
from bpnet.gradcheck.probes import NetProbe
from bpnet.rules.activations import ACTIVATIONS
from tests.helpers.nets import generated, plain


def probe_of(net, x, y, **options):
    return NetProbe(net, x, y, options.get("sample_weight"), options.get("mask"))


@pytest.mark.parametrize("part", range(3))
def test_float32_stays_within_its_bounds(part):
    for seed in range(100 * part, 100 * (part + 1)):
        net, x, y, options = generated(seed)
        net = net.astype("float32")
        probe = probe_of(net, x, y, **options)
        rounding = probe.rounding("central")
        right = probe.net.backward(probe.cache, probe.y, sample_weight=probe.sample_weight)
        grad = net.backward(probe.own, y, sample_weight=probe.sample_weight)
        assert np.all(np.abs(grad.theta - right.theta) <= rounding.gradient), seed
        for l in range(2, net.L + 1):
            assert np.all(np.abs(probe.own.z[l] - probe.cache.z[l]) <= rounding.z[l]), seed
            assert np.all(np.abs(probe.own.a[l] - probe.cache.a[l]) <= rounding.a[l]), seed


@pytest.mark.parametrize(("dtype", "share"), [("float64", 1e-11), ("float32", 1e-2)])
def test_they_are_a_small_part_of_what_they_bound(dtype, share):
    net, x, y = plain((3, 5, 4, 4, 2), dtype=dtype)
    probe = probe_of(net, x, y)
    gradient = net.backward(probe.own, y).theta
    assert np.median(probe.rounding("complex").gradient / np.abs(gradient)) < share


def test_what_saturates_is_bounded_by_what_1_minus_a_keeps():
    # a (1 - a) at z = 30 is 9e-14, of which 1 - a keeps one digit or two.
    net = MLP.from_weights(W=[[[30.0]], [[1.0]]], b=[[0.0], [0.2]])
    probe = probe_of(net, [1.0], [0.3])
    bound = probe.rounding("complex").gradient
    right = check_gradient(net, [1.0], [0.3]).numeric
    assert 1e-4 * abs(right[0]) < bound[0] < 10 * abs(right[0])
    assert bound[2] < 1e-12 * abs(right[2])


def test_samples_that_cancel_keep_the_rounding_of_their_largest():
    net = MLP.from_weights(W=[[[2.0**-20]]], b=[[0.0]], activation="identity")
    probe = probe_of(net, [[2.0**20], [-(2.0**20)]], [[0.5], [-1.5]])
    bound, right = probe.rounding("complex").gradient, net.backward(probe.own, probe.y).theta
    assert right.tolist() == [0.0, 0.5]  # ± 2^18, and its half each
    assert 2.0**18 * 2.0**-52 < bound[0] < 1e-7
    assert bound[1] < 1e-13


def test_a_perfect_prediction_has_no_gradient_but_rounding():
    net, x, _ = plain(activation="tanh", output="identity")
    probe = probe_of(net, x, net.predict(x))
    assert np.all(probe.rounding("complex").gradient > 0)
    assert np.all(probe.rounding("complex").gradient < 1e-13)


def test_one_neuron_after_the_other_where_they_are_mixed():
    # Moving all z of softmax together leaves it where it is, and says nothing of its rounding.
    net, x, y = plain((3, 4, 3), activation=("tanh", "softmax"))
    probe = probe_of(net, x, y)
    a = probe.cache.a[3]
    rounding = probe.rounding("central")
    right = a * (rounding.z[3] + np.sum(a * rounding.z[3], axis=1, keepdims=True))
    assert np.all(rounding.a[3] > 0.1 * right)
    soft = ACTIVATIONS["softmax"]
    mine = Activation("mine", f=soft.f, df=soft.df, vjp=soft.vjp, range=(0, 1), analytic=True)
    other = MLP(net.parameters, {2: net.activation[2], 3: mine}, net.loss_function)
    report = check_gradient(other, x, y)
    assert report.ok
    assert report.max_error < 1e-12


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("identity", "huber"),
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("exp", "poisson"),
        ("softplus", "poisson"),
    ],
)
def test_of_the_loss(output, loss):
    net, x, y = plain(activation="tanh", output=output, loss=loss, dtype="float32")
    probe = probe_of(net, x, y)
    exact = probe.net.loss(probe.cache, probe.y)
    bound = probe.noise()
    # In float32, whose eps is 2^29 times as large, it is off by no more than that.
    assert abs(net.loss(probe.own, y) - exact) < 2.0**29 * bound
    assert bound < 1e-13 * max(exact, 1)
