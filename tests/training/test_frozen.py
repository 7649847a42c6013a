"""Parameters held by name: their bits stay, and the others train as if those were constants."""

import numpy as np
import pytest

from bpnet import LBFGS, MLP, SGD, Adam, AdamW, InvalidFile, Optimizer, fit
from bpnet.network.parameters import coordinate_name, coordinates_named, count
from bpnet.training.regularization import FEW, Frozen
from tests.helpers.complaint import complains, refuses
from tests.helpers.rules import RULES
from tests.helpers.stack_problem import X as STACK_X
from tests.helpers.stack_problem import Y as STACK_Y

RNG = np.random.default_rng(9)
X = RNG.normal(size=(12, 3))
Y = RNG.normal(size=(12, 2))
SIZES = (3, 4, 2)


def make(dtype="float64"):
    net = MLP.init(SIZES, activation="tanh", output="identity", rng=1, dtype=dtype)
    for b in net.b.values():
        b[:] = np.linspace(-0.4, 0.3, b.shape[-1])
    net.b[2][0] = -0.0  # whose sign is a bit too
    return net


def bits(array):
    return array.view(f"u{array.itemsize}")


class Growing(Optimizer):
    """A rule that moves by θ itself, whatever the gradient is."""

    learning_rate = 0.1

    def compute(self, theta, g, move):
        np.multiply(theta + 1, -0.01, move)


NAMED = RULES | {"AdamW": lambda rate: AdamW(rate, weight_decay=0.3)}
NAMED |= {"one's own": lambda rate: Growing(), "L-BFGS": lambda rate: LBFGS()}


def test_a_name_means_what_the_check_calls_so():
    for k in range(count(SIZES)):
        assert coordinates_named(SIZES, coordinate_name(SIZES, k)) == [slice(k, k + 1)]
    assert coordinates_named(SIZES, "b") == [slice(12, 16), slice(24, 26)]
    assert coordinates_named(SIZES, "W[3]") == [slice(16, 24)]
    assert coordinates_named(SIZES, "W") == [slice(0, 12), slice(16, 24)]
    assert coordinates_named(SIZES, " W[3][1,0] ") == [slice(20, 21)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", NAMED)
def test_frozen_coordinates_keep_their_bits_and_the_others_move(rule, dtype):
    if rule == "L-BFGS":
        pytest.importorskip("scipy")
    net = make(dtype)
    before = net.copy()
    more = {} if rule == "L-BFGS" else {"clip_norm": 0.5, "dropout": 0.2, "batch_size": 5}
    names = ("b[2]", "W[3]", "W[2][1, 2]")
    fit(net, X, Y, epochs=4, optimizer=NAMED[rule](0.1), frozen=names, l1=0.1, l2=0.3, **more)
    held = np.zeros(count(SIZES), bool)
    held[12:24] = held[5] = True
    assert np.array_equal(bits(net.theta)[held], bits(before.theta)[held])
    assert (net.theta != before.theta)[~held].all()


def test_networks_of_a_stack_are_held_alike(net):
    before = net.theta.copy()
    fit(net, STACK_X, STACK_Y, epochs=2, optimizer=AdamW(0.1, weight_decay=0.1), frozen="b", l2=0.1)
    held = Frozen(net.sizes, "b").free
    assert np.array_equal(net.theta[:, ~held], before[:, ~held])
    assert (net.theta[:, held] != before[:, held]).all()


def test_the_others_take_the_steps_of_a_net_with_constants():
    net, E = make(), make()
    grad = E.backward(E.forward(X), Y)
    g = np.where(Frozen(SIZES, "W[2]").free, grad.theta, 0)
    g[16:24] += 0.3 * E.theta[16:24]
    step = 0.5 * g * (0.1 / np.linalg.norm(g))
    options = {"batch_size": None, "optimizer": SGD(0.5), "clip_norm": 0.1, "l2": 0.3}
    fit(net, X, Y, epochs=1, frozen=["W[2]"], **options)
    assert net.theta == pytest.approx(E.theta - step, abs=1e-15)
    names = [f"W[2][{i}, {j}]" for i in range(10) for j in range(0, 10, 2)]  # many, scattered
    frozen, v = Frozen((10, 10, 1), names), np.ones((2, 121))
    assert len(names) > FEW
    frozen.hold(v)
    assert np.array_equal(v == 0, np.tile(~frozen.free, (2, 1)))
    assert v.sum() == 2 * (121 - 50)


def test_lbfgs_finds_the_minimum_over_the_others():
    pytest.importorskip("scipy")
    net = MLP.init((3, 2), activation="identity", rng=0)
    net.b[2] = [0.5, -0.25]
    fit(net, X, Y, epochs=100, optimizer=LBFGS(), frozen="b")
    assert net.W[2] == pytest.approx(np.linalg.lstsq(X, Y - net.b[2], rcond=None)[0].T, abs=1e-6)
    assert net.b[2].tolist() == [0.5, -0.25]


def test_a_checkpoint_goes_on_with_the_same_names_alone(tmp_path):
    where = {"checkpoint": tmp_path / "c.npz", "resume": True, "optimizer": Adam()}
    whole, parts = make(), make()
    fit(whole, X, Y, epochs=4, frozen="b")
    for epochs in (2, 4):
        fit(parts, X, Y, epochs=epochs, frozen=["b"], **where)
    assert np.array_equal(whole.theta, parts.theta)
    with pytest.raises(InvalidFile, match="penalize_biases is True"):
        fit(parts, X, Y, epochs=6, frozen="b[2]", penalize_biases=True, **where)
    with pytest.raises(InvalidFile, match=r"frozen is \['b', 'W\[2\]'\]|frozen is \['W\[2\]', 'b'"):
        fit(parts, X, Y, epochs=6, frozen=["b", "W[2]"], **where)


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        (ValueError, "W[9]", "frozen names 'W[9]', but the known names are W, b, W[2], b[2], W[3…"),
        (ValueError, ["b", "W[2][4, 0]"], "frozen names 'W[2][4, 0]'…"),
        (ValueError, "W[2][-1, 0]", "…"),
        (ValueError, "W[2][1]", "…"),
        (ValueError, "b[2][1", "…"),
        (ValueError, ["W[2]", ""], "frozen names ''…"),
        (ValueError, ["W", "b"], "frozen holds every weight and bias: nothing is left to train"),
        (TypeError, [2], "frozen takes names such as 'b' or 'W[2]', not [2]"),
        (TypeError, 2, "frozen takes names such as 'b' or 'W[2]', not 2"),
    ],
)
def test_what_names_nothing_is_refused(kind, names, message):
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, frozen=names)


def test_biases_are_penalised_on_request():
    net, twin = make(), make()
    options = {"batch_size": None, "optimizer": SGD(0.5), "epochs": 1, "l2": 0.3, "l1": 0.1}
    fit(net, X, Y, penalize_biases=True, **options)
    g = twin.backward(twin.forward(X), Y).theta + 0.3 * twin.theta + 0.1 * np.sign(twin.theta)
    assert net.theta == pytest.approx(twin.theta - 0.5 * g, abs=1e-15)
    with complains(TypeError, "penalize_biases must be True or False, not 1"):
        fit(net, X, Y, penalize_biases=1, **options)
