"""The loop twin by itself: plain floats, the article's errors made right."""

import ast
import inspect
import math

import numpy as np
import pytest

from bpnet import ACTIVATIONS, LOSSES, reference
from bpnet.reference import Layer, Network, Neuron
from bpnet.testing import case
from tests.helpers.complaint import complains
from tests.helpers.nets import HIDDEN

W2, B2 = [[0.15, 0.20, -0.4], [0.25, 0.30, 0.1]], [0.35, -0.15]
W3, B3 = [[0.40, 0.45]], [0.60]
X, Y = [0.05, 0.10, -0.7], [0.01]
POINTS = [-1e4, -745.0, -30.0, -2.5, -1e-9, 0.0, 0.3, 1.0, 2.5, 30.0, 300.0]


def network(**options):
    return Network([W2, W3], [B2, B3], **options)


def test_there_is_no_numpy_inside():
    tree = ast.parse(inspect.getsource(reference))
    imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = {getattr(n, "module", None) or n.names[0].name for n in imports}
    assert "math" in names
    assert not any(name.startswith(("numpy", "bpnet")) for name in names)


def test_the_twin_knows_every_activation_and_loss():
    assert set(reference.ACTIVATIONS) == set(HIDDEN)
    assert list(reference.LOSSES) == list(LOSSES)
    joined = {(loss.joined_output, loss.name) for loss in LOSSES.values() if loss.joined_output}
    assert joined == reference.JOINED


@pytest.mark.parametrize("name", HIDDEN)
def test_a_neurons_rules_are_the_tables(name):
    f, df = reference.ACTIVATIONS[name]
    for z in POINTS:
        array = np.array([z])
        with np.errstate(under="ignore"):
            a = ACTIVATIONS[name].f(array)
            slope = ACTIVATIONS[name].df(array, a)
        assert f(z) == pytest.approx(a[0], rel=1e-14, abs=1e-15)
        assert df(z, f(z)) == pytest.approx(slope[0], rel=1e-13, abs=1e-14)
        assert type(f(z)) is float
        assert type(df(z, f(z))) is float


@pytest.mark.parametrize("name", LOSSES)
def test_a_losss_rules_are_the_tables(name):
    E, dE = reference.LOSSES[name]
    for a in (0.0, 1e-300, 0.25, 0.5, 1 - 1e-9, 1.0):
        for y in (0.0, 0.3, 0.5, 1.0):
            with np.errstate(over="raise", divide="raise"):
                value = LOSSES[name].E(np.array([a]), np.array([y]))[0]
            assert E(a, y) == pytest.approx(value, rel=1e-14)
            assert math.isfinite(dE(a, y))
            if 1e-9 < a < 1 - 1e-10:
                slope = LOSSES[name].dE(np.array([a]), np.array([y]))[0]
                assert dE(a, y) == pytest.approx(slope, rel=1e-14)
    for d in (-3.0, -1.0, 1.0, 3.0):  # beyond huber's limit too
        if name in ("half_squared_error", "absolute_error", "huber"):
            assert E(d + 0.5, 0.5) == LOSSES[name].E(np.array([d + 0.5]), np.array([0.5]))
            assert dE(d + 0.5, 0.5) == LOSSES[name].dE(np.array([d + 0.5]), np.array([0.5]))


def test_forward_keeps_what_each_neuron_computed():
    net = network(activation=["tanh", "sigmoid"])
    out = net.forward(X)
    z = [sum(w * x for w, x in zip(row, X, strict=True)) + b for row, b in zip(W2, B2, strict=True)]
    a = [math.tanh(v) for v in z]
    z3 = 0.40 * a[0] + 0.45 * a[1] + 0.60
    hidden, last = net.layers
    assert [n.z for n in hidden.neurons] == pytest.approx(z, rel=1e-15)
    assert [n.a for n in hidden.neurons] == pytest.approx(a, rel=1e-15)
    assert last.neurons[0].z == pytest.approx(z3, rel=1e-15)
    assert out == pytest.approx([1 / (1 + math.exp(-z3))], rel=1e-15)
    assert type(out) is list
    assert [layer.activation for layer in net.layers] == ["tanh", "sigmoid"]
    assert Layer([[0]], [0]).forward([1]) == [0.5]  # the defaults are the article's
    E = (network().forward(X)[0] - Y[0]) ** 2 / 2
    assert network().loss(X, Y) == network(activation="sigmoid").loss(X, Y) == E
    e = [math.exp(v) for v in (1, 2, 4)]
    assert reference.softmax([1, 2, 4]) == pytest.approx([v / sum(e) for v in e], rel=1e-15)
    assert reference.softmax([-1e4, 0, 1e4]) == [0, 0, 1]


def test_every_delta_is_computed_before_any_weight_moves():
    net = network()
    net.forward(X)
    net.backward(Y)
    hidden, last = net.layers
    (delta_3,) = (n.delta for n in last.neurons)
    a3 = last.neurons[0].a
    assert delta_3 == pytest.approx((a3 - Y[0]) * a3 * (1 - a3), rel=1e-15)
    for i, neuron in enumerate(hidden.neurons):
        expected = W3[0][i] * delta_3 * neuron.a * (1 - neuron.a)
        assert neuron.delta == pytest.approx(expected, rel=1e-14)
    deltas = [n.delta for n in hidden.neurons]
    twin = network()
    twin.step(X, Y, 0.5)
    assert [n.delta for n in twin.layers[0].neurons] == deltas
    for i, neuron in enumerate(twin.layers[0].neurons):
        w = [w - 0.5 * deltas[i] * x for w, x in zip(W2[i], X, strict=True)]
        assert neuron.w == pytest.approx(w, rel=1e-15)
        assert neuron.b == pytest.approx(B2[i] - 0.5 * deltas[i], rel=1e-15)
    moved = twin.layers[1].neurons[0]
    w = [w - 0.5 * delta_3 * n.a for w, n in zip(W3[0], hidden.neurons, strict=True)]
    assert moved.w == pytest.approx(w, rel=1e-15)
    assert moved.b == pytest.approx(0.60 - 0.5 * delta_3, rel=1e-15)


def test_given_weights_are_copied_and_integers_become_floats():
    W, b = [[[1, 0]], [[2]]], [[0], [3]]
    net = Network(W, b)
    net.step([1, 1], [0], 0.5)
    assert (W, b) == ([[[1, 0]], [[2]]], [[0], [3]])
    assert net.layers[0].neurons[0].w[0] != 1
    neuron = Neuron([1, 2], 3)
    assert all(type(v) is float for v in (*neuron.w, neuron.b, neuron.z, neuron.a, neuron.delta))
    assert (neuron.z, neuron.a, neuron.delta) == (0, 0, 0)
    with pytest.raises(AttributeError):
        neuron.bias = 1


@pytest.mark.parametrize(
    ("sizes", "activation", "loss"),
    [
        ((3, 4, 2), ("tanh", "sigmoid"), "half_squared_error"),
        ((3, 2, 4, 3), ("elu", "silu", "softmax"), "cross_entropy"),
        ((2, 5, 3), ("gelu", "softmax"), "half_squared_error"),
    ],
)
def test_a_batch_step_is_a_step_along_the_mean_gradient(sizes, activation, loss):
    net, x, y = case(sizes, activation=activation, loss=loss, m=5, seed=4)
    xs, ys = x.tolist(), y.tolist()
    W, b = ([v.tolist() for v in views.values()] for views in (net.W, net.b))
    twin = Network(W, b, activation, loss)
    twin.step_batch(xs, ys, 0.25)
    net.theta -= 0.25 * net.backward(net.forward(x), y).theta
    for l, layer in enumerate(twin.layers, 2):
        np.testing.assert_allclose([n.w for n in layer.neurons], net.W[l], rtol=1e-12)
        np.testing.assert_allclose([n.b for n in layer.neurons], net.b[l], rtol=1e-12)
    one = Network(W, b, activation, loss)
    online = Network(W, b, activation, loss)
    one.step_batch(xs[:1], ys[:1], 0.25)
    online.step(xs[0], ys[0], 0.25)
    for layer, other in zip(one.layers, online.layers, strict=True):
        for n, o in zip(layer.neurons, other.neurons, strict=True):
            assert n.w == pytest.approx(o.w, rel=1e-14)
            assert n.b == pytest.approx(o.b, rel=1e-14)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "half_squared_error"])
def test_a_saturated_output_divides_by_nothing(loss):
    net = Network([[[800.0], [-800.0]]], [[0.0, 0.0]], "softmax", loss)
    assert net.forward([1.0]) == [1, 0]
    net.backward([0, 1])
    assert all(math.isfinite(n.delta) for n in net.layers[0].neurons)
    sigmoid = Network([[[-800.0]]], [[0.0]], "sigmoid", "poisson")
    sigmoid.forward([1.0])
    sigmoid.backward([1])
    assert math.isfinite(sigmoid.layers[0].neurons[0].delta)
    joined = Network([[[800.0], [3.0]]], [[0.0, 0.0]], "sigmoid", "binary_cross_entropy")
    a = joined.forward([1.0])
    joined.backward([0, 1])
    assert [n.delta for n in joined.layers[0].neurons] == [1, a[1] - 1]
    with pytest.raises(ValueError, match="argument"):
        joined.backward([0])


def test_what_does_not_fit_is_refused():
    names, net, general = ", ".join([*HIDDEN, "softmax"]), network(), network(loss="huber")
    unequal = "…argument…"  # zip's words
    for make, message in [
        (lambda: Network([W3, W2], [B3, B2]), "a layer of 3 inputs follows one of 1"),
        (lambda: Layer(W2, B3), "a layer needs one bias a neuron: 2 rows of W, 1 of b"),
        (lambda: Layer([], []), "a layer needs one bias a neuron: 0 rows of W, 0 of b"),
        (lambda: Layer([[1, 2], [3]], [0, 0]), "the neurons of a layer must have equally many w…"),
        (lambda: network(activation="tahn"), f"unknown activation 'tahn': the known … {names}"),
        (lambda: network(loss="mse"), f"unknown loss 'mse': the known … {', '.join(LOSSES)}"),
        (lambda: Network([W2, W3], [B2], "tanh"), unequal),
        (lambda: network(activation=["tanh"]), unequal),
        (lambda: network(activation=["tanh"] * 3), unequal),
        (lambda: net.forward(X[:2]), "x has 2 numbers, but this net takes 3 inputs"),
        (lambda: net.step([*X, 1.0], Y, 0.5), "x has 4 numbers, but this net takes 3 inputs"),
        (lambda: net.loss(X[:2], Y), "x has 2 numbers, but this net takes 3 inputs"),
        (lambda: net.step(X, [], 0.5), unequal),
        (lambda: net.loss(X, [0.5, 0.5]), unequal),
        (lambda: general.step(X, [0.5, 0.5], 0.5), unequal),
        (lambda: net.gradient([X, X], [Y]), unequal),
    ]:
        with complains(ValueError, message):
            make()
