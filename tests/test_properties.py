"""Laws of the gradient, on generated nets of every kind: what test_gradients.py leaves to prove."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import MLP
from bpnet.testing import cases
from tests.helpers.nets import HIDDEN, PAIRS, assert_close, gradient

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(cases(dtype="float64"))
def test_a_batchs_gradient_and_loss_are_the_mean_of_its_samples(example):
    net, x, y = example
    grad, m = net.backward(net.forward(x), y), len(x)
    each = [gradient(net, *pair) for pair in zip(x, y, strict=True)]
    tolerance = 1e-13 * max(np.abs(g).max() for g in each)
    assert np.abs(grad.theta - np.mean(each, axis=0)).max() <= tolerance
    E = np.mean([net.loss(net.forward(x[i]), y[i]) for i in range(m)])
    assert net.loss(net.forward(x), y) == pytest.approx(E, rel=1e-13)
    twice = net.backward(net.forward(np.concatenate([x, x])), np.concatenate([y, y]))
    assert (grad.m, twice.m) == (m, 2 * m)
    assert_close(twice.delta[2] * 2, np.tile(grad.delta[2], (2, 1)), 1e-13)


@settings(max_examples=60)
@given(cases(dtype="float64"), seeds)
def test_a_whole_sample_weight_is_a_repeated_row(example, seed):
    net, x, y = example
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 4, len(x))
    times[rng.integers(len(x))] += 1
    rows = np.repeat(np.arange(len(x)), times)
    cache, expected = net.forward(x), gradient(net, x[rows], y[rows])
    weighted = net.backward(cache, y, sample_weight=times)
    size = max(np.abs(gradient(net, x[i], y[i])).max() for i in range(len(x)))
    assert np.abs(weighted.theta - expected).max() <= 1e-13 * size
    E, close = net.loss(net.forward(x[rows]), y[rows]), {"rel": 1e-12, "abs": 1e-13}
    assert net.loss(cache, y, sample_weight=times) == pytest.approx(E, rel=1e-13)
    assert net.loss(a=cache.a[net.L], y=y, sample_weight=times) == pytest.approx(E, **close)
    for l in range(2, net.L + 1):  # a sample of weight 0 is as if it were absent
        assert not weighted.delta[l][times == 0].any()
    scaled = gradient(net, x, y, sample_weight=2.5 * times)
    np.testing.assert_allclose(scaled, weighted.theta, rtol=1e-12, atol=1e-14 * size)


@settings(max_examples=100)
@given(cases(dtype="float32"))
def test_single_precision_agrees_within_a_hundred_eps(example):
    net, x, y = example
    double = net.astype(np.float64)
    single = net.backward(net.forward(x), y)
    assert all(d.dtype == np.float32 for d in (single.theta, *single.delta.values()))
    assert_close(single.theta, gradient(double, x, y), 100 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    ("loss", "output"),
    [("half_squared_error", "identity"), ("cross_entropy", "softmax"), ("poisson", "exp"),
     ("binary_cross_entropy", "sigmoid"), ("half_squared_error", "sigmoid"),
     ("half_squared_error", "softmax"), ("huber", "gelu"), ("absolute_error", "relu")],
)  # fmt: skip
@settings(max_examples=25)
@given(st.data())
def test_a_perfect_prediction_has_no_gradient(loss, output, data):
    net, x, _ = data.draw(cases(loss=loss, output=output))
    cache = net.forward(x)
    y = cache.a[net.L].copy()
    grad = net.backward(cache, y)
    # rows of probabilities are normalised again, which may move them by a few eps
    few = 8 * np.finfo(net.dtype).eps if loss == "cross_entropy" else 0
    assert np.abs(grad.delta[net.L]).max() <= few
    assert np.abs(grad.theta).max() <= 1e3 * few


FAR = np.array([-1e4, -745, -355, -104, -88.8, -37, -1e-30, 0, 1e-30, 37, 88.8, 355, 1e4])
EDGES = {
    "cross_entropy": ([0, 1], [1, 0]),
    "binary_cross_entropy": ([0, 1], [1, 1], [0, 0]),
    "poisson": ([0, 0], [0, 1e4]),
}


@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_overflows_or_becomes_nan_at_any_z(output, loss, dtype):
    """z² and z³ take every pair of FAR; targets lie at the edge of their domain."""
    x = np.array([[p, q] for p in FAR for q in FAR])
    for hidden in HIDDEN:
        with np.errstate(under="ignore"):
            reach = np.abs(MLP.init((2, 2), activation=hidden, rng=0).activation[2].f(x)).max()
        W3 = np.array([[1, -0.5], [0.25, 1]]) * min(1, 1e4 / reach)
        rules = {"activation": (hidden, output), "loss": loss}
        net = MLP.from_weights([np.eye(2), W3], np.zeros((2, 2)), **rules, dtype=dtype)
        for edge in EDGES.get(loss, ([0, 0], [-3, 1e4])):
            y = np.tile(np.array(edge, float), (len(x), 1))
            with np.errstate(all="raise"):
                cache = net.forward(x)
                E = [net.loss(cache, y), *(net.loss(a=a, y=y) for a in (cache.a[3], net.predict(x)))]
                grad = net.backward(cache, y)
            assert np.abs(cache.z[2]).max() == 1e4
            assert np.isfinite([*E]).all()
            assert np.isfinite(grad.theta).all()
            assert all(np.isfinite(d).all() for d in grad.delta.values())


def stretched(net, x, reach):
    """A copy of which every layer's largest |z| is `reach`."""
    far = net.copy()
    a = x
    for l, f in net.activation.items():
        z = a @ far.W[l].T + far.b[l]
        factor = reach / max(np.abs(z).max(), 1e-30)
        far.W[l] *= factor
        far.b[l] *= factor
        a = f.f(z * factor)
    return far


@settings(max_examples=200)
@given(cases(), st.sampled_from([30.0, 800.0, 1e4]))
def test_nothing_overflows_or_becomes_nan_in_deeper_nets(example, reach):
    net, x, y = example
    with np.errstate(all="ignore"):
        far = stretched(net, x.astype(np.float64), reach)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        cache = far.forward(x)
        values = [far.loss(cache, y), far.loss(a=cache.a[far.L], y=y)]
        grad = far.backward(cache, y)
    assert np.abs(cache.z[2]).max() == pytest.approx(reach, rel=1e-4)
    assert np.isfinite(values).all()
    assert np.isfinite(grad.theta).all()
    assert all(np.isfinite(delta).all() for delta in grad.delta.values())
