"""The proof: every gradient against differences, the complex step, the loops, and autograd.

The last is by HIPS autograd: the textbook formulas once more, written for its NumPy and
differentiated by it, with nothing taken from bpnet but the weights.
"""

import pickle

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad as autograd
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import LOSSES, MLP
from bpnet.gradcheck import check_gradient
from bpnet.reference import Network
from bpnet.testing import case, cases
from tests.helpers.nets import HIDDEN, PAIRS, assert_close, gradient, is_smooth

each_pair = pytest.mark.parametrize(("output", "loss"), PAIRS)


def complex_step(example, k):
    net, x, y = example
    net, h = net.astype(complex), 1e-100
    net.theta[k] += 1j * h
    return net.loss(net.forward(x), y).imag / h


def central_difference(example, k, mask=None, h=1e-5):
    net, x, y = example
    net = net.copy()
    E = []
    for step in (h, -2 * h):
        net.theta[k] += step
        E.append(net.loss(net.forward(x, mask=mask), y))
    return (E[0] - E[1]) / (2 * h)


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=50)
@given(data=st.data())
def test_complex_step_on_every_parameter(loss, data):
    example = data.draw(cases(loss=loss, dtype="float64"))
    theta = gradient(*example)
    assert_close(theta, [complex_step(example, k) for k in range(theta.size)], 1e-12)


@each_pair
@settings(max_examples=5)
@given(data=st.data())
def test_central_differences_on_every_parameter(output, loss, data):
    small = {"depth": (2, 4), "width": (1, 5), "dtype": "float64"}
    strategy = cases(output=output, loss=loss, **small)
    net, x, y = example = data.draw(strategy.filter(lambda example: is_smooth(*example)))
    theta = gradient(*example)
    numeric = [central_difference(example, k) for k in range(theta.size)]
    noise = 1e-10 * (1 + abs(net.loss(a=net.predict(x), y=y)))  # the rounding of E, over h
    assert np.abs(theta - numeric).max() <= 1e-7 * np.abs(theta).max() + noise


@each_pair
@settings(max_examples=12)
@given(data=st.data())
def test_the_loops_give_the_same_gradient(output, loss, data):
    net, x, y = data.draw(cases(output=output, loss=loss, dtype="float64"))
    W, b = ([v.tolist() for v in views.values()] for views in (net.W, net.b))
    twin = Network(W, b, [f.name for f in net.activation.values()], loss)
    cache, xs, ys = net.forward(x), x.tolist(), y.tolist()
    grad = net.backward(cache, y)
    flat = [np.concatenate([np.ravel(dW), db]) for dW, db in twin.gradient(xs, ys)]
    assert_close(grad.theta, np.concatenate(flat), 1e-12)
    E, out, delta = [], [], {l: [] for l in grad.delta}
    for x_s, y_s in zip(xs, ys, strict=True):
        E.append(twin.loss(x_s, y_s))
        out.append(twin.forward(x_s))
        twin.backward(y_s)
        for l, layer in enumerate(twin.layers, 2):
            delta[l].append([neuron.delta / len(xs) for neuron in layer.neurons])
    assert net.loss(cache, y) == pytest.approx(np.mean(E), rel=1e-12, abs=1e-12)
    assert net.loss(a=cache.a[net.L], y=y) == pytest.approx(np.mean(E), rel=1e-12, abs=1e-12)
    assert_close(cache.a[net.L], out, 1e-12)
    for l, rows in delta.items():
        assert_close(grad.delta[l], rows, 1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_dropout_with_held_masks(seed):
    rng = np.random.default_rng(seed)
    activation = ("tanh", "silu", "softmax")
    example = case((3, 5, 4, 2), activation=activation, loss="cross_entropy", m=4, seed=seed)
    net, x, y = example
    masks = {l: (rng.random((4, n)) < 0.6) / 0.6 for l, n in ((1, 3), (2, 5), (3, 4))}
    for mask in (masks, {2: masks[2]}, {3: masks[3]}, {1: masks[1]}):
        cache = net.forward(x, mask=mask)
        grad = net.backward(cache, y)
        fed = x
        for l in (2, 3, 4):  # each layer reads what the mask leaves of the one before
            fed = fed * mask.get(l - 1, 1)
            z = fed @ net.W[l].T + net.b[l]
            np.testing.assert_allclose(cache.z[l], z, rtol=1e-13, atol=1e-15)
            fed = net.activation[l].f(cache.z[l])
            np.testing.assert_allclose(cache.a[l], fed, rtol=1e-13)
        numeric = [central_difference(example, k, mask=mask) for k in range(grad.theta.size)]
        assert_close(grad.theta, numeric, 1e-8)
        for l in mask:
            if l > 1:
                assert not grad.delta[l][mask[l] == 0].any()


F = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + anp.exp(-z)),
    "tanh": anp.tanh,
    "relu": lambda z: anp.where(z > 0, z, 0 * z),
    "leaky_relu": lambda z: anp.where(z > 0, z, 0.01 * z),
    "elu": lambda z: anp.where(z > 0, z, anp.exp(z) - 1),
    "softplus": lambda z: anp.log(1 + anp.exp(z)),
    "silu": lambda z: z / (1 + anp.exp(-z)),
    "gelu": lambda z: z / 2 * (1 + anp.tanh((2 / anp.pi) ** 0.5 * (z + 0.044715 * z**3))),
    "exp": anp.exp,
    "softmax": lambda z: anp.exp(z) / anp.sum(anp.exp(z), axis=1, keepdims=True),
}
E = {
    "half_squared_error": lambda a, y: (a - y) ** 2 / 2,
    "cross_entropy": lambda a, y: -y * anp.log(a),
    "binary_cross_entropy": lambda a, y: -y * anp.log(a) - (1 - y) * anp.log(1 - a),
    "absolute_error": lambda a, y: anp.abs(a - y),
    "huber": lambda a, y: anp.where(
        anp.abs(a - y) <= 1, (a - y) ** 2 / 2, anp.abs(a - y) - 0.5
    ),
    "poisson": lambda a, y: a - y * anp.log(a),
}  # fmt: skip


def assert_autograd_agrees(example):
    net, x, y = example
    names, loss = [f.name for f in net.activation.values()], E[net.loss_function.name]

    def value(W, b):
        a = x
        for W_l, b_l, name in zip(W, b, names, strict=True):
            a = F[name](anp.dot(a, W_l.T) + b_l)
        return anp.sum(loss(a, y)) / len(x)

    W, b = list(net.W.values()), list(net.b.values())
    assert net.loss(net.forward(x), y) == pytest.approx(value(W, b), rel=1e-12, abs=1e-12)
    dW, db = autograd(value, 0)(W, b), autograd(value, 1)(W, b)
    expected = [v.ravel() for pair in zip(dW, db, strict=True) for v in pair]
    assert_close(gradient(*example), np.concatenate(expected), 1e-12)


@each_pair
def test_autograd_agrees_for_each_hidden_activation_times_each_loss(output, loss):
    for seed, hidden in enumerate(HIDDEN):
        activation = (hidden, HIDDEN[seed - 1], output)
        assert_autograd_agrees(case((3, 5, 4, 2), activation=activation, loss=loss, m=4, seed=seed))


@settings(max_examples=150)
@given(cases(dtype="float64"))
def test_autograd_agrees_at_any_depth(example):
    assert_autograd_agrees(example)


@settings(max_examples=100)
@given(cases(), st.sampled_from(["complex", "central"]))
def test_no_right_gradient_fails_the_check(example, method):
    report = check_gradient(*example, method=method)
    assert report.ok, report


@each_pair
@pytest.mark.parametrize("networks", [None, 3])
def test_the_derivatives_by_x_are_the_complex_steps(output, loss, networks):
    """With weights of the samples and an input mask for E, without for a^L."""
    rules = {"activation": ("tanh", output), "loss": loss}
    drawn = [case((4, 5, 3), **rules, m=3, seed=seed) for seed in range(networks or 1)]
    net, x, y = drawn[0]
    rng = np.random.default_rng(0)
    weight, mask = rng.random(3) + 0.1, {1: rng.integers(0, 2, (3, 4)) * 1.5}
    if networks:  # whose input mask would need a row for each
        net, mask = MLP.stack([one.net for one in drawn]), {}
    grad = net.backward(net.forward(x, mask=mask), y, sample_weight=weight)
    slopes, turned = net.sensitivity(x), net.astype(complex)
    assert slopes.shape == (*net.theta.shape[:-1], 3, 3, 4)
    for s in range(3):
        for j in range(4):
            moved = x.astype(complex)
            moved[s, j] += 1e-100j
            E = turned.loss(turned.forward(moved, mask=mask), y, sample_weight=weight)
            assert_close(grad.x[..., s, j], np.imag(E) / 1e-100, 1e-12)
            out = turned.forward(moved).a[3]
            assert_close(slopes[..., s, :, j], out[..., s, :].imag / 1e-100, 1e-12)


def test_the_derivative_by_x_is_of_the_weights_that_backward_saw():
    net, x, y = case((2, 3, 2), activation="tanh", loss="huber", m=2, seed=0)
    grad = net.backward(net.forward(x), y)
    net.theta[0] += 1
    with pytest.raises(ValueError, match="theta has changed since backward: call it again"):
        _ = grad.x
    with pytest.raises(ValueError, match="belongs to a gradient that net"):
        _ = pickle.loads(pickle.dumps(grad)).x
