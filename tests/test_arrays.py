"""Stacks of networks: they are made, run and copied as their networks would be one by one."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import MLP, arrays
from bpnet.arrays import best_layout, by_networks, room
from bpnet.mlp import CHUNK
from bpnet.rules.inplace import MANY, sigmoid_pair
from bpnet.testing import case
from tests.helpers.complaint import complains
from tests.helpers.nets import HIDDEN, PAIRS
from tests.helpers.small_stack import SIZES, X, Y, make


def networks_fastest(net):
    return net.with_theta(np.asfortranarray(net.theta))


LAYOUTS = {"as it comes": lambda net: net, "networks fastest": networks_fastest}


def test_init_draws_each_network_its_own_weights():
    net = make(networks=1000)
    assert len(net) == 1000
    assert net.theta.shape == (1000, 26)
    assert [net.W[l].shape for l in net.W] == [(1000, 4, 3), (1000, 2, 4)]
    assert [net.b[l].shape for l in net.b] == [(1000, 4), (1000, 2)]
    assert len(np.unique(net.W[2])) == 12_000
    assert not net.b[2].any()
    for l, n_in, n_out in [(2, 3, 4), (3, 4, 2)]:  # Xavier's variance, as for one network
        assert net.W[l].var() == pytest.approx(2 / (n_in + n_out), rel=0.03)
        assert abs(net.W[l]).max() <= math.sqrt(6 / (n_in + n_out))
    np.testing.assert_array_equal(net.theta, make(networks=1000).theta)
    assert (net.theta != make(networks=1000, rng=1).theta).any()


def test_init_of_the_article_draws_biases_too():
    net = MLP.init((2, 2, 2), networks=500, initializer="uniform", rng=0)
    assert 0 <= net.theta.min() < 0.01
    assert 0.99 < net.theta.max() < 1
    assert len(np.unique(net.b[2])) == 1000


def test_a_stack_of_one_is_a_stack():
    net = make(networks=1)
    assert (len(net), net.theta.shape, net.predict(X).shape) == (1, (1, 26), (1, 2, 2))
    assert net.loss(net.forward(X), Y).shape == (1,)


def test_from_weights_takes_stacked_ones():
    net = make(networks=3)
    W, b = {l: net.W[l] + 1 for l in net.W}, {l: net.b[l] - 1 for l in net.b}
    for given_W, given_b in [(W, b), (list(W.values()), list(b.values()))]:
        other = MLP.from_weights(given_W, given_b, activation=("tanh", "sigmoid"))
        for l in W:
            np.testing.assert_array_equal(other.W[l], W[l])
            np.testing.assert_array_equal(other.b[l], b[l])
            assert not np.shares_memory(other.W[l], W[l])
        assert len(other) == 3


def test_a_number_gives_a_network_that_shares_memory():
    net = make(networks=3)
    one = net[1]
    assert isinstance(one, MLP)
    assert one.theta.shape == (26,)
    assert np.shares_memory(one.theta, net.theta)
    net.W[3][1, 0, 2] = 7.5
    assert one.W[3][0, 2] == 7.5
    one.b[2][3] = -2.5
    assert net.b[2][1, 3] == -2.5
    one.theta += 1
    np.testing.assert_array_equal(net.theta[1], one.theta)
    assert (one.activation, one.loss_function) == (net.activation, net.loss_function)
    np.testing.assert_array_equal(net[-1].theta, net.theta[2])
    np.testing.assert_array_equal(net[np.int8(2)].theta, net.theta[2])
    assert [np.shares_memory(k.theta, net.theta) for k in net] == [True] * 3
    np.testing.assert_array_equal([k.theta for k in net], net.theta)


def test_a_network_of_the_other_layout_shares_memory_too():
    net = networks_fastest(make(networks=70))
    one = net[5]
    one.W[2][1, 2] = 9.0
    assert net.theta[5, 5] == 9.0
    np.testing.assert_allclose(one.predict(X), net.predict(X)[5], rtol=1e-14)


def test_stack_puts_networks_together():
    nets = [make(rng=k) for k in range(3)]
    net = MLP.stack(nets)
    assert len(net) == 3
    for k, one in enumerate(nets):
        np.testing.assert_array_equal(net[k].theta, one.theta)
        assert not np.shares_memory(net.theta, one.theta)
    assert (net.activation, net.loss_function) == (nets[0].activation, nets[0].loss_function)
    np.testing.assert_array_equal(MLP.stack(one for one in net).theta, net.theta)
    np.testing.assert_array_equal(MLP.stack(net).theta, net.theta)
    assert not np.shares_memory(MLP.stack(net).theta, net.theta)


def test_a_stack_is_true_even_where_it_would_be_asked_for_its_length():
    assert make(networks=2)
    assert make()


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=150)
@given(data=st.data(), pair=st.sampled_from(PAIRS), seed=st.integers(0, 2**32 - 1))
def test_a_stacked_pass_is_its_networks_one_by_one(layout, data, pair, seed):
    """All activations, losses and depths, data for all or each its own, shares of samples."""
    output, loss = pair
    between = data.draw(st.lists(st.sampled_from(HIDDEN), max_size=4))
    width = st.integers(1, 6)
    sizes = [data.draw(width) for _ in range(len(between) + 2)]
    sizes[-1] += output == "softmax"  # of one it is always 1
    networks, m = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    own_x, own_y, weighted = (data.draw(st.booleans()) for _ in range(3))
    rules = {"activation": (*between, output), "loss": loss}
    nets, xs, ys = zip(*(case(sizes, m=m, seed=seed + k, **rules) for k in range(networks)), strict=True)
    net = LAYOUTS[layout](MLP.stack(nets))
    x, y = np.stack(xs) if own_x else xs[0], np.stack(ys) if own_y else ys[0]
    weight = np.random.default_rng(seed).random(m) + 0.1 if weighted else None

    cache = net.forward(x)
    E = net.loss(cache, y, sample_weight=weight)
    grad = net.backward(cache, y, sample_weight=weight)
    out = net.predict(x)
    assert (E.shape, out.shape) == ((networks,), (networks, m, sizes[-1]))
    assert_like(net.loss(a=out, y=y, sample_weight=weight), E, 1e-10)  # from a it rounds otherwise
    for k, one in enumerate(nets):
        x_k, y_k = xs[k if own_x else 0], ys[k if own_y else 0]
        own = one.forward(x_k)
        expected = one.backward(own, y_k, sample_weight=weight)
        assert_like(E[k], one.loss(own, y_k, sample_weight=weight))
        assert_like(out[k], one.predict(x_k))
        assert_like(grad.theta[k], expected.theta)
        for l in own.z:
            assert_like(cache.z[l][k], own.z[l])
            assert_like(cache.a[l][k], own.a[l])
            assert_like(grad.delta[l][k], expected.delta[l])
            assert_like(grad.W[l][k], expected.W[l])
            assert_like(grad.b[l][k], expected.b[l])


def assert_like(ours, theirs, rtol=1e-12):
    """Differences are taken relative to the largest of the array, or 1e-3 of it, or 1."""
    size = rtol * max(np.max(np.abs(theirs), initial=0.0), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=size)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_networks_and_many_rows(layout):
    net = LAYOUTS[layout](make(networks=80))
    x = np.random.default_rng(0).normal(size=(80, CHUNK + 5, 3))
    y = np.random.default_rng(1).random((CHUNK + 5, 2))
    out, cache = net.predict(x), net.forward(x)
    grad = net.backward(cache, y)
    for k in (0, 41, 79):
        own = net[k].forward(x[k])
        assert_like(out[k], own.a[3])
        assert_like(grad.theta[k], net[k].backward(own, y).theta)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stack_takes_complex_numbers(layout):
    """The complex step goes through it: im E(θ + ih d) / h is the derivative along d."""
    net = make(networks=4)
    grad = net.backward(net.forward(X), Y)
    along, h = np.random.default_rng(0).normal(size=net.theta.shape), 1e-30
    moved = net.astype("complex128")
    moved.theta += 1j * h * along
    moved = LAYOUTS[layout](moved)
    E = moved.loss(moved.forward(X), Y)
    assert_like(E.imag / h, (grad.theta * along).sum(axis=1))


def test_a_sample_may_be_one_row():
    net = make(networks=3)
    cache = net.forward(X[0])
    assert cache.a[3].shape == (3, 1, 2)
    assert_like(net.loss(cache, Y[0]), [one.loss(one.forward(X[0]), Y[0]) for one in net])


def test_buffers_are_used_again_only_where_they_fit():
    net = make(networks=3)
    cache = net.forward(X)
    grad = net.backward(cache, Y)
    first = grad.theta.copy()
    assert net.forward(2 * X, cache=cache) is cache
    assert net.backward(cache, Y, grad=grad) is grad
    assert (grad.theta != first).any()
    own = np.stack([X, 2 * X, 3 * X])
    other = net.forward(own, cache=cache)
    assert other is not cache
    assert_like(other.a[3][1], cache.a[3][1])
    with complains(ValueError, "this cache is of a forward pass of another net"):
        make(networks=2).backward(cache, Y)
    with complains(ValueError, "this cache is of a forward pass of another net"):
        net[0].loss(cache, Y)


def test_dropout_masks_may_be_held():
    net = make(networks=3)
    mask = np.random.default_rng(0).choice([0.0, 2.0], size=(3, 2, 4))
    cache = net.forward(X, mask={2: mask})
    grad = net.backward(cache, Y)
    for k, one in enumerate(net):
        own = one.forward(X, mask={2: mask[k]})
        assert_like(cache.a[3][k], own.a[3])
        assert_like(grad.theta[k], one.backward(own, Y).theta)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("twin", [lambda net: pickle.loads(pickle.dumps(net)), MLP.copy])
def test_copies_hold_on_to_their_own_weights(twin, layout):
    net = LAYOUTS[layout](make(networks=3))
    other = twin(net)
    np.testing.assert_array_equal(other.theta, net.theta)
    assert not np.shares_memory(other.theta, net.theta)
    for l in other.W:
        assert np.shares_memory(other.W[l], other.theta)
        assert np.shares_memory(other.b[l], other.theta)
    other.theta += 1
    np.testing.assert_array_equal(other[2].W[3], net[2].W[3] + 1)


def test_repr_names_the_number():
    text = "3-4-2, tanh, sigmoid; half_squared_error, float64)"
    assert repr(make(networks=5)) == f"MLP(5 networks {text}"
    assert repr(make()) == f"MLP({text}"


def test_one_network_takes_the_calls_that_are_quickest_for_one():
    assert make().parameters.dot is np.ndarray.dot
    assert make(networks=3).parameters.dot is np.matmul
    assert networks_fastest(make(networks=3)).parameters.dot is by_networks
    assert make(networks=3)[0].parameters.dot is np.ndarray.dot
    assert networks_fastest(make(networks=3))[0].parameters.dot is np.ndarray.dot


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_sigmoid_of_many_numbers_has_the_bits_of_few(dtype):
    z = np.linspace(-9, 9, 4 * MANY, dtype=dtype)
    many, few = np.empty_like(z), np.empty_like(z[:100])
    sigmoid_pair(z)[0](z, many)
    f = sigmoid_pair(z[:100])[0]
    for start in range(0, z.size, 100):
        f(z[start : start + 100], few)
        np.testing.assert_array_equal(many[start : start + 100], few)


def test_many_tiny_networks_lie_with_the_networks_fastest():
    for networks, sizes, m, fastest in [
        (1000, (2, 2, 2), 1, True),
        (64, (2, 2, 2), 1, True),
        (63, (2, 2, 2), 1, False),
        (1000, (2, 2, 2), 125, True),
        (1000, (2, 2, 2), 126, False),
        (64, (2, 2, 2), 8, True),
        (64, (2, 2, 2), 9, False),
        (100, (4, 16, 1), 32, False),
        (2000, (8, 8, 2), 8, True),
        (2000, (8, 8, 2), 9, False),
        (64, (64, 64), 1, True),
        (64, (65, 64), 1, False),
    ]:
        theta = MLP.init(sizes, networks=networks, rng=0).theta
        chosen = best_layout(theta, sizes, m)
        np.testing.assert_array_equal(chosen, theta)
        assert arrays.networks_fastest(chosen) == fastest, (networks, sizes, m)
        assert (chosen is theta) == (not fastest)
        assert best_layout(chosen, sizes, m) is chosen
    theta = make().theta
    assert best_layout(theta, SIZES, 1) is theta


def test_room_lies_as_theta_does():
    net = make(networks=5)
    for theta, strides in [(net.theta, (48, 16, 8)), (np.asfortranarray(net.theta), (8, 80, 40))]:
        made = room(theta, 3, 2)
        assert (made.shape, made.strides, made.dtype) == ((5, 3, 2), strides, net.dtype)
    assert room(make(dtype="float32").theta, 3, 2).shape == (3, 2)
    assert room(make(dtype="float32").theta, 3, 2).dtype == np.float32


@pytest.mark.parametrize("inner", [1, 2, 5])
def test_products_over_the_networks(inner):
    rng = np.random.default_rng(inner)
    A, B = rng.normal(size=(7, 3, inner)), rng.normal(size=(7, inner, 4))
    for left, right in [(A, B), (A[0], B), (A, B[2])]:
        out = np.full((7, 3, 4), np.nan)
        by_networks(left, right, out)
        np.testing.assert_allclose(out, left @ right * np.ones((7, 1, 1)), rtol=1e-14, atol=1e-14)
