"""The compiled passes against the two passes of the page."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="the compiled passes need numba")

from bpnet import MLP, Activation
from bpnet.mlp import backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.compiled import make_passes
from tests.helpers.complaint import complains
from tests.helpers.strategies import problem

NETS = {
    "the article's": ((2, 2, 2), ("sigmoid", "sigmoid"), "half_squared_error", 1),
    "classes": ((5, 7, 4, 3), ("relu", "gelu", "softmax"), "cross_entropy", 9),
    "one layer": ((4, 3), ("sigmoid",), "binary_cross_entropy", 6),
    "counts": ((3, 20, 2), ("relu", "softplus"), "poisson", 4),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize(("sizes", "activation", "loss", "m"), NETS.values(), ids=NETS)
def test_passes_are_the_page_s(sizes, activation, loss, m, dtype, drop):
    p = problem(sizes, activation, loss, m, seed=3, dtype=dtype)
    net, x, y = p.net, p.x, p.y
    share = np.arange(1, m + 1, dtype=dtype) / (m * (m + 1) / 2)
    close = {"rtol": 2e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    passes = []
    for _ in range(2):
        cache = Cache.empty(net.signature, net.theta, x)
        grad = Gradient.shared(net.theta, cache)
        if drop:
            rng = np.random.default_rng(0)
            for l in range(1, net.L):
                mask = rng.integers(0, 2, (m, sizes[l - 1])).astype(dtype) * 2
                cache.drop(l, mask)
        cache.read(x)
        passes.append((cache, grad))
    (cache, grad), (expected, of) = passes
    forward, backward = make_passes(net, cache, grad)
    for weights in (None, share):
        forward()
        E = backward(y, weights)
        expected.weigh(weights)
        forward_pass(net, expected)
        backward_pass(net, expected, y, of)
        for l in range(2, net.L + 1):
            np.testing.assert_allclose(cache.z[l], expected.z[l], **close)
            np.testing.assert_allclose(cache.fed[l], expected.fed[l], **close)
            np.testing.assert_allclose(grad.delta[l], of.delta[l], **close)
        np.testing.assert_allclose(grad.theta, of.theta, **close)
        np.testing.assert_allclose(E, expected.loss(y), **close)


@pytest.mark.parametrize("clearing", [True, False])
def test_small_errors_are_cleared_if_asked(clearing):
    net = MLP.init((3, 4, 2), activation="tanh", output="identity", rng=0, dtype="float32")
    net.W[3][:, 1] = 1e-35
    x, y = np.ones((5, 3), "float32"), np.zeros((5, 2), "float32")
    cache = Cache.empty(net.signature, net.theta, x)
    grad = Gradient.empty(net.theta, cache)
    cache.read(x)
    forward, backward = make_passes(net, cache, grad, clearing=clearing)
    forward()
    backward(y, None)
    assert grad.delta[2][:, 0].all()
    assert grad.delta[2][:, 1].any() != clearing


def test_a_rule_of_one_s_own_is_named():
    sine = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
    net = MLP.init((2, 3, 1), activation=sine, output="identity", rng=0)
    cache = Cache.empty(net.signature, net.theta, np.zeros((1, 2)))
    with complains(ValueError, "the activation 'sine' is your own…"):
        make_passes(net, cache, Gradient.empty(net.theta, cache))
