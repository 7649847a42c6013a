"""The proof: every gradient against differences, the complex step, the loops, and by its laws."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import MLP, Parameters
from bpnet.reference import Network
from tests.helpers.strategies import (
    ANY_OUTPUT,
    HIDDEN,
    OUTPUTS,
    PAIRS,
    Problem,
    problem,
    problems,
    targets,
)

each_pair = pytest.mark.parametrize(("output", "loss"), PAIRS)
seeds = st.integers(0, 2**32 - 1)


def gradient(p: Problem, **options):
    return p.net.backward(p.net.forward(p.x), p.y, **options)


def assert_close(got, expected, tolerance):
    """Relative to the largest entry, or to 1e-3 where all of them cancel (softmax of one)."""
    assert np.shape(got) == np.shape(expected)
    largest = max(np.abs(expected).max(), 1e-3)
    assert np.abs(np.asarray(got) - expected).max() <= tolerance * largest


def complex_step(p: Problem, k: int, **options) -> float:
    net, h = p.net.astype(complex), 1e-100
    net.theta[k] += 1j * h
    return net.loss(net.forward(p.x), p.y, **options).imag / h


def central_difference(p: Problem, k: int, mask=None, h: float = 1e-5) -> float:
    net = p.net.copy()
    E = []
    for step in (h, -2 * h):
        net.theta[k] += step
        E.append(net.loss(net.forward(p.x, mask=mask), p.y))
    return (E[0] - E[1]) / (2 * h)


def loops(p: Problem) -> Network:
    W, b = ([v.tolist() for v in views.values()] for views in (p.net.W, p.net.b))
    names = [f.name for f in p.net.activation.values()]
    return Network(W, b, names, p.net.loss_function.name)


@pytest.mark.parametrize("name", OUTPUTS)
@settings(max_examples=50)
@given(data=st.data())
def test_complex_step_on_every_parameter(name, data):
    pairs = [pair for pair in PAIRS if pair[1] == name]
    p = data.draw(problems(pairs))
    theta = gradient(p).theta
    assert_close(theta, [complex_step(p, k) for k in range(theta.size)], 1e-12)


@each_pair
@settings(max_examples=5)
@given(data=st.data())
def test_central_differences_on_every_parameter(output, loss, data):
    p = data.draw(problems([(output, loss)], max_depth=4, max_width=5, smooth=True))
    theta = gradient(p).theta
    numeric = [central_difference(p, k) for k in range(theta.size)]
    noise = 1e-10 * (1 + abs(p.net.loss(p.net.predict(p.x), p.y)))  # the rounding of E, over h
    assert np.abs(theta - numeric).max() <= 1e-7 * np.abs(theta).max() + noise


@pytest.mark.parametrize("hidden", HIDDEN)
def test_central_differences_through_each_hidden_activation(hidden):
    p = problem((3, 4, 5, 2), (hidden, hidden, "tanh"), "half_squared_error", m=4, seed=3)
    assert p.is_smooth()
    theta = gradient(p).theta
    assert_close(theta, [central_difference(p, k) for k in range(theta.size)], 1e-8)


@each_pair
@settings(max_examples=12)
@given(data=st.data())
def test_the_loops_give_the_same_gradient(output, loss, data):
    p = data.draw(problems([(output, loss)]))
    twin, net, grad, cache = loops(p), p.net, gradient(p), p.net.forward(p.x)
    xs, ys = p.x.tolist(), p.y.tolist()
    flat = [np.concatenate([np.ravel(dW), db]) for dW, db in twin.gradient(xs, ys)]
    assert_close(grad.theta, np.concatenate(flat), 1e-12)
    E, out, delta = [], [], {l: [] for l in grad.delta}
    for x, y in zip(xs, ys, strict=True):
        E.append(twin.loss(x, y))
        out.append(twin.forward(x))
        twin.backward(y)
        for l, layer in enumerate(twin.layers, 2):
            delta[l].append([neuron.delta / len(xs) for neuron in layer.neurons])
    assert net.loss(cache, p.y) == pytest.approx(np.mean(E), rel=1e-12, abs=1e-12)
    assert net.loss(cache.a[net.L], p.y) == pytest.approx(np.mean(E), rel=1e-12, abs=1e-12)
    assert_close(cache.a[net.L], out, 1e-12)
    for l, rows in delta.items():
        assert_close(grad.delta[l], rows, 1e-12)


@settings(max_examples=60)
@given(p=problems())
def test_delta_is_the_derivative_by_z(p):
    """Step each z^l alone; the tail of the net is recomputed here, by the formulas."""
    net, cache, grad, h = p.net, p.net.forward(p.x), gradient(p), 1e-100

    def loss_from(l, z):
        for k in range(l, net.L):
            a = net.activation[k].f(z)
            z = a @ net.W[k + 1].T + net.b[k + 1]
        rule, last = net.loss_function, net.activation[net.L]
        return rule.of_pass(z, last.f(z), p.y, last).sum() / len(p.x)

    for l in range(2, net.L + 1):
        numeric = np.empty_like(cache.z[l])
        for place in np.ndindex(numeric.shape):
            z = cache.z[l].astype(complex)
            z[place] += 1j * h
            numeric[place] = loss_from(l, z).imag / h
        assert_close(grad.delta[l], numeric, 1e-12)


@settings(max_examples=60)
@given(p=problems())
def test_a_batchs_gradient_and_loss_are_the_mean_of_its_samples(p):
    net, m = p.net, len(p.x)
    pairs = list(zip(p.x, p.y, strict=True))
    each = [net.backward(net.forward(x), y).theta for x, y in pairs]
    tolerance = 1e-13 * max(np.abs(g).max() for g in each)
    assert np.abs(gradient(p).theta - np.mean(each, axis=0)).max() <= tolerance
    E = np.mean([net.loss(net.forward(x), y) for x, y in pairs])
    assert net.loss(net.forward(p.x), p.y) == pytest.approx(E, rel=1e-13)
    twice = Problem(net, np.concatenate([p.x, p.x]), np.concatenate([p.y, p.y]))
    assert np.abs(gradient(twice).theta - gradient(p).theta).max() <= tolerance
    assert_close(gradient(twice).delta[2] * 2, np.tile(gradient(p).delta[2], (2, 1)), 1e-13)
    assert m == gradient(p).m


@settings(max_examples=60)
@given(p=problems(), seed=seeds)
def test_a_whole_sample_weight_is_a_repeated_row(p, seed):
    net, rng = p.net, np.random.default_rng(seed)
    times = rng.integers(0, 4, len(p.x))
    times[rng.integers(len(p.x))] += 1
    repeated = Problem(net, np.repeat(p.x, times, axis=0), np.repeat(p.y, times, axis=0))
    weighted, expected = gradient(p, sample_weight=times), gradient(repeated)
    size = max(
        np.abs(net.backward(net.forward(x), y).theta).max() for x, y in zip(p.x, p.y, strict=True)
    )
    assert np.abs(weighted.theta - expected.theta).max() <= 1e-13 * size
    cache = net.forward(p.x)
    E = net.loss(net.forward(repeated.x), repeated.y)
    assert net.loss(cache, p.y, sample_weight=times) == pytest.approx(E, rel=1e-13)
    assert net.loss(cache.a[net.L], p.y, sample_weight=times) == pytest.approx(
        E, rel=1e-12, abs=1e-13
    )
    for l in range(2, net.L + 1):  # a sample of weight 0 is as if it were absent
        assert not weighted.delta[l][times == 0].any()
    np.testing.assert_allclose(
        gradient(p, sample_weight=2.5 * times).theta, weighted.theta, rtol=1e-12, atol=1e-14 * size
    )


@pytest.mark.parametrize("seed", range(6))
def test_dropout_with_held_masks(seed):
    rng = np.random.default_rng(seed)
    p = problem((3, 5, 4, 2), ("tanh", "silu", "softmax"), "cross_entropy", m=4, seed=seed)
    masks = {l: (rng.random((4, n)) < 0.6) / 0.6 for l, n in ((1, 3), (2, 5), (3, 4))}
    for mask in (masks, {2: masks[2]}, {3: masks[3]}, {1: masks[1]}):
        cache = p.net.forward(p.x, mask=mask)
        grad = p.net.backward(cache, p.y)
        fed = p.x
        for l in (2, 3, 4):  # each layer reads what the mask leaves of the one before
            fed = fed * mask.get(l - 1, 1)
            np.testing.assert_allclose(
                cache.z[l], fed @ p.net.W[l].T + p.net.b[l], rtol=1e-13, atol=1e-15
            )
            fed = p.net.activation[l].f(cache.z[l])
            np.testing.assert_allclose(cache.a[l], fed, rtol=1e-13)
        numeric = [central_difference(p, k, mask=mask) for k in range(grad.theta.size)]
        assert_close(grad.theta, numeric, 1e-8)
        for l in mask:
            if l > 1:
                assert not grad.delta[l][mask[l] == 0].any()


@settings(max_examples=40)
@given(p=problems(max_depth=4), seed=seeds)
def test_renumbering_hidden_neurons_renumbers_the_gradient(p, seed):
    net, rng = p.net, np.random.default_rng(seed)
    order = {l: rng.permutation(n) for l, n in enumerate(net.sizes, 1)}
    order[1], order[net.L] = np.arange(net.sizes[0]), np.arange(net.sizes[-1])
    other = net.copy()
    for l in net.W:
        other.W[l] = net.W[l][np.ix_(order[l], order[l - 1])]
        other.b[l] = net.b[l][order[l]]
    np.testing.assert_allclose(other.predict(p.x), net.predict(p.x), rtol=1e-12, atol=1e-14)
    grad, renumbered = gradient(p), gradient(Problem(other, p.x, p.y))
    size = 1e-12 * np.abs(grad.theta).max()
    for l in net.W:
        expected = grad.W[l][np.ix_(order[l], order[l - 1])]
        np.testing.assert_allclose(renumbered.W[l], expected, rtol=0, atol=size)
        np.testing.assert_allclose(renumbered.b[l], grad.b[l][order[l]], rtol=0, atol=size)


@settings(max_examples=60)
@given(p=problems(smooth=True))
def test_single_precision_agrees_within_its_epsilon(p):
    single = Problem(p.net.astype("float32"), p.x.astype("float32"), p.y.astype("float32"))
    theta = gradient(p).theta
    got = gradient(single)
    assert got.theta.dtype == "float32"
    assert all(d.dtype == "float32" for d in got.delta.values())
    # rounding of z grows by a few eps a layer; of 1 - a by 1/(1 - a), 55 where |z| < 4
    assert_close(got.theta, theta, 3e-4)


@settings(max_examples=60)
@given(p=problems(smooth=True))
def test_a_small_step_against_the_gradient_lowers_the_loss(p):
    grad = gradient(p).theta
    slope = grad @ grad
    net = p.net.copy()
    before = net.loss(net.forward(p.x), p.y)
    rate = 1e-6 / max(1, np.abs(grad).max())
    net.theta -= rate * grad
    fall = before - net.loss(net.forward(p.x), p.y)
    assert abs(fall - rate * slope) <= 1e-3 * rate * slope + 1e-14 * (1 + abs(before))


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("identity", "half_squared_error"),
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("exp", "poisson"),
    ],
)
def test_a_perfect_prediction_has_no_gradient(output, loss):
    p = problem((3, 5, 4), ("tanh", output), loss, m=6, seed=2)
    p.y = p.net.forward(p.x).a[3].copy()
    assert np.abs(gradient(p).theta).max() <= 1e-16


FAR = np.array([-1e4, -745, -355, -104, -88.8, -37, -1e-30, 0, 1e-30, 37, 88.8, 355, 1e4])
EDGES = {
    "cross_entropy": ([0, 1], [1, 0]),
    "binary_cross_entropy": ([0, 1], [1, 1], [0, 0]),
    "poisson": ([0, 0], [0, 1e4]),
}


@each_pair
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_overflows_or_becomes_nan_at_any_z(output, loss, dtype):
    """z² and z³ take every pair of FAR; targets lie at the edge of their domain."""
    x = np.array([[p, q] for p in FAR for q in FAR])
    for hidden in HIDDEN:
        with np.errstate(under="ignore"):
            reach = np.abs(MLP.init((2, 2), activation=hidden, rng=0).activation[2].f(x)).max()
        W3 = np.array([[1, -0.5], [0.25, 1]]) * min(1, 1e4 / reach)
        net = MLP.from_weights(
            [np.eye(2), W3],
            np.zeros((2, 2)),
            activation=(hidden, output),
            loss=loss,
            dtype=dtype,
        )
        for edge in EDGES.get(loss, ([0, 0], [-3, 1e4])):
            y = np.tile(np.array(edge, float), (len(x), 1))
            with np.errstate(all="raise"):
                cache = net.forward(x)
                E = [net.loss(cache, y), net.loss(cache.a[3], y), net.loss(net.predict(x), y)]
                grad = net.backward(cache, y)
            assert np.abs(cache.z[2]).max() == 1e4
            assert np.isfinite([*E]).all()
            assert np.isfinite(grad.theta).all()
            assert all(np.isfinite(d).all() for d in grad.delta.values())


def test_the_shapes_of_a_deep_net_with_unequal_layers():
    p = problem((5, 1, 7, 3, 2), ("elu", "gelu", "tanh", "sigmoid"), "huber", m=6)
    cache, grad = p.net.forward(p.x), gradient(p)
    for l, n in enumerate((5, 1, 7, 3, 2), 1):
        assert cache.a[l].shape == (6, n)
        if l > 1:
            n_in = p.net.sizes[l - 2]
            assert cache.z[l].shape == grad.delta[l].shape == (6, n)
            assert grad.W[l].shape == (n, n_in)
            assert grad.b[l].shape == (n,)
            np.testing.assert_allclose(grad.W[l], grad.delta[l].T @ cache.a[l - 1], atol=1e-15)
            np.testing.assert_allclose(grad.b[l], grad.delta[l].sum(axis=0), atol=1e-15)
    assert copy.deepcopy(grad).theta.shape == p.net.theta.shape == (52,)
    assert set(ANY_OUTPUT) > set(HIDDEN)
    assert targets(np.random.default_rng(0), "huber", (6, 2)).shape == (6, 2)


@settings(max_examples=40)
@given(p=problems(max_depth=4), seed=st.integers(0, 99), own_batches=st.booleans())
def test_a_stack_is_its_networks_one_by_one(p, seed, own_batches):
    rng, net, K = np.random.default_rng(seed), p.net, 3
    theta = net.theta + 0.2 * rng.normal(size=(K, net.theta.size))
    stack = MLP(Parameters(net.sizes, theta), net.activation, net.loss_function)
    x, y = p.x, p.y
    if own_batches:
        x = x + 0.1 * rng.normal(size=(K, *x.shape))
        y = np.stack([p.y] * K)
    weight = rng.random(len(p.x)) + 0.1
    assert stack.L == net.L
    cache = stack.forward(x)
    plain, weighted = stack.backward(cache, y), stack.backward(cache, y, sample_weight=weight)
    E, E_weighted = stack.loss(cache, y), stack.loss(cache, y, sample_weight=weight)
    out = stack.predict(x)
    assert E.shape == E_weighted.shape == (K,)
    assert out.shape == (K, len(p.x), net.sizes[-1])
    for k in range(K):
        one = MLP(Parameters(net.sizes, theta[k]), net.activation, net.loss_function)
        x_k, y_k = (x[k], y[k]) if own_batches else (x, y)
        own = one.forward(x_k)
        options = {"rtol": 1e-12, "atol": 1e-14}
        np.testing.assert_allclose(out[k], own.a[net.L], **options)
        for grad, expected in [
            (plain, one.backward(own, y_k)),
            (weighted, one.backward(own, y_k, sample_weight=weight)),
        ]:
            size = 1e-12 * np.abs(expected.theta).max() + 1e-15
            np.testing.assert_allclose(grad.theta[k], expected.theta, rtol=0, atol=size)
            for l in expected.delta:
                np.testing.assert_allclose(grad.delta[l][k], expected.delta[l], rtol=0, atol=size)
                np.testing.assert_allclose(grad.W[l][k], expected.W[l], rtol=0, atol=size)
        assert E[k] == pytest.approx(one.loss(own, y_k), rel=1e-12, abs=1e-13)
        assert E_weighted[k] == pytest.approx(
            one.loss(own, y_k, sample_weight=weight), rel=1e-12, abs=1e-13
        )
