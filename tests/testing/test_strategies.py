"""The strategies: what they draw suits, varies, and can be made again."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import MLP, Activation, Loss, huber
from bpnet.rules.losses import check_targets
from bpnet.testing import batches, case, cases, networks, targets
from tests.helpers.complaint import complains
from tests.helpers.nets import PAIRS

SINE = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z), analytic=True)


def drawn(strategy, n=200, seed=0):
    """What a strategy draws in the first n tries."""
    found = []

    @settings(max_examples=n, database=None)
    @given(strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


def names(net):
    return [f.name for f in net.activation.values()]


def assert_takes_its_batch(example):
    net, x, y = example
    assert 1 <= len(x) <= 7
    assert x.dtype == y.dtype == net.dtype
    cache = net.forward(x)
    assert np.isfinite(net.loss(cache, y))
    assert np.isfinite(net.backward(cache, y).theta).all()
    assert max(np.abs(z).max() for z in cache.z.values()) < 3.0001
    np.testing.assert_allclose(check_targets(net.loss_function, y), y, rtol=1e-6)


def test_every_pair_is_drawn_and_every_net_takes_its_batch():
    assert len(PAIRS) == 40
    for output, loss in PAIRS:
        for example in drawn(cases(output=output, loss=loss), n=3):
            assert_takes_its_batch(example)
            assert (names(example.net)[-1], example.net.loss_function.name) == (output, loss)
    found = drawn(cases(), n=250)
    for example in found:
        assert_takes_its_batch(example)
    pairs = {(names(net)[-1], net.loss_function.name) for net, _, _ in found}
    assert pairs <= set(PAIRS)
    assert len(pairs) > 20
    assert len({name for net, _, _ in found for name in names(net)}) > 8
    assert len({len(x) for _, x, _ in found}) > 5


def test_sizes_are_mostly_unequal_and_outputs_mostly_several():
    nets = drawn(networks(), n=200)
    depths = [net.L for net in nets]
    assert set(depths) == {2, 3, 4, 5, 6}
    assert {n for net in nets for n in net.sizes} == set(range(1, 9))
    unequal = [all(p != q for p, q in itertools.pairwise(net.sizes)) for net in nets]
    square = [len(set(net.sizes[1:])) == 1 and net.L > 2 for net in nets]
    several = [net.sizes[-1] > 1 for net in nets]
    assert 0.6 < np.mean(unequal) < 0.98
    assert np.mean(square) > 0.01
    assert 0.7 < np.mean(several) < 1
    assert 0.2 < np.mean([net.dtype == "float32" for net in nets]) < 0.8
    (simplest,) = drawn(networks(), n=1)
    assert (simplest.dtype, simplest.sizes) == (np.float64, (1, 2))
    (simplest,) = drawn(cases(), n=1)
    assert (simplest.net.dtype, len(simplest.x)) == (np.float64, 1)


def test_no_neuron_is_saturated_in_a_batch_or_by_any_x():
    chain = {"activation": "exp", "loss": "poisson"}
    for seed in range(20):
        net, x, _ = case((3, 8, 6, 7, 5, 8), m=7, seed=seed, **chain)
        z = net.forward(x).z.values()
        assert 2.9 < max(np.abs(z_l).max() for z_l in z) < 3.0001
    corners = np.array(list(itertools.product((-2.0, 0.0, 2.0), repeat=4)))
    nets = drawn(networks((4, 8, 6, 7, 5), dtype="float64"), n=60)
    nets += drawn(networks((4, 8, 6, 7, 5), **chain), n=10)
    most = [max(np.abs(z).max() for z in net.forward(corners).z.values()) for net in nets]
    assert max(most) < 3.0001
    assert np.median(most) > 2


def test_weights_show_mistakes():
    for example in drawn(cases(dtype="float64"), n=50):
        theta = np.abs(example.net.theta)
        assert len(np.unique(theta)) == theta.size
        assert theta.min() > 1e-3
        assert np.unique(example.x).size == example.x.size
    signs = [np.sign(net.theta) for net in drawn(networks(width=(4, 8)), n=50)]
    assert all((s > 0).any() and (s < 0).any() for s in signs)


def test_ranges_names_and_sets_are_honoured():
    for net in drawn(networks(depth=4, width=(3, 5)), n=40):
        assert net.L == 4
        assert set(net.sizes) <= {3, 4, 5}
    for net in drawn(networks((2, (5, 6), 3)), n=30):
        assert (net.sizes[0], net.sizes[2], net.L) == (2, 3, 3)
        assert net.sizes[1] in (5, 6)
    for net in drawn(networks((4, 4, 4)), n=10):
        assert net.sizes == (4, 4, 4)
    mixed = drawn(networks(activation={"tanh", SINE}, loss={"huber", "poisson"}), n=40)
    assert {name for net in mixed for name in names(net)} == {"tanh", "sine", "exp"}
    assert {net.loss_function.name for net in mixed} == {"huber", "poisson"}
    for net in mixed:
        assert (names(net)[-1] == "exp") == (net.loss_function.name == "poisson")
    for net in drawn(networks(activation=("tanh", "relu", "softmax")), n=30):
        assert names(net) == ["tanh", "relu", "softmax"]
    for net in drawn(networks(activation="tanh", output={"sigmoid", "softmax"}), n=40):
        assert names(net)[-1] in ("sigmoid", "softmax")
        assert set(names(net)[:-1]) <= {"tanh"}
    assert {net.dtype.name for net in drawn(networks(dtype="float32"), n=20)} == {"float32"}
    one = {len(x) for x in drawn(batches(mixed[0], m=(2, 4)), n=40)}
    assert one == {2, 3, 4}
    assert {len(example.y) for example in drawn(cases(m=5), n=20)} == {5}


@settings(max_examples=50)
@given(st.data())
def test_batches_and_targets_suit_a_net(data):
    net = data.draw(networks())
    x = data.draw(batches(net))
    y = data.draw(targets(net, len(x)))
    assert x.shape == (len(x), net.sizes[0])
    assert y.shape == (len(x), net.sizes[-1])
    assert x.dtype == y.dtype == net.dtype
    assert np.abs(x).max() <= 2
    assert np.isfinite(net.loss(net.forward(x), y))


def test_targets_reach_the_edge_of_their_domain():
    def of(loss, n=4):
        net = MLP.init((2, 3, n), loss=loss, rng=0)
        return np.concatenate(drawn(targets(net, (1, 7)), n=40))

    y = of("cross_entropy")
    assert 0.2 < np.mean(y.max(axis=1) == 1) < 0.8
    y = of("binary_cross_entropy")
    assert 0.1 < np.mean(y == 0) < 0.5
    assert 0.1 < np.mean(y == 1) < 0.5
    assert np.mean((y > 0) & (y < 1)) > 0.2
    y = of("poisson")
    assert 0.05 < np.mean(y == 0) < 0.4
    assert np.any(y != np.round(y))
    assert y.min() == 0
    assert of("huber").min() < -1
    assert of("huber").max() > 1
    below = Loss("below", lambda a, y: a - y, lambda a, y: 1 + 0 * a, target_range=(-np.inf, 3))
    y = of(below)
    assert y.max() == 3
    assert y.min() < 0
    between = Loss("between", lambda a, y: a - y, lambda a, y: 1 + 0 * a, target_range=(2, 6))
    y = of(between)
    assert (y.min(), y.max()) == (2, 6)


@settings(max_examples=40)
@given(cases())
def test_the_repr_of_a_case_makes_it_again(example):
    again = eval(repr(example), {"case": case})
    assert repr(again) == repr(example)
    for mine, other in zip(example, again, strict=True):
        a, b = (v.theta if isinstance(v, MLP) else v for v in (mine, other))
        assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())


def test_cases_differ_by_seed_and_name_rules_of_ones_own():
    assert case((2, 3), seed=1).net.theta[0] != case((2, 3), seed=2).net.theta[0]
    own = case((2, 3, 1), activation=(SINE, "tanh"), loss=huber(0.5), m=2, seed=5, dtype="float32")
    assert repr(own) == (
        "case((2, 3, 1), activation=(sine, 'tanh'), loss=huber(0.5), m=2, seed=5, dtype='float32')"
    )
    with complains(ValueError, "m must be an integer >= 1, not 0"):
        case((2, 3), m=0)
    with complains(ValueError, "seed must be an integer >= 0, not -3"):
        case((2, 3), seed=-3)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"depth": 1}, ValueError, "depth must be an integer >= 2, not 1"),
        ({"depth": (2, 3, 4)}, ValueError,
         "depth must be an integer or a pair (least, most), not (2, 3, 4)"),
        ({"depth": (4, 3)}, ValueError, "depth must be (least, most), in this order, not (4, 3)"),
        ({"depth": 2.5}, TypeError, "depth must be an integer, not 2.5"),
        ({"width": (0, 3)}, ValueError, "width[0] must be an integer >= 1, not 0"),
        ({"width": "8"}, TypeError, "width must be an integer, not '8'"),
        ({"sizes": (3,)}, ValueError, "the number of sizes must be an integer >= 2, not 1"),
        ({"sizes": (3, (2, 0))}, ValueError, "sizes[1][1] must be an integer >= 1, not 0"),
        ({"activation": set()}, ValueError, "a set to draw from is empty"),
        ({"activation": ("tanh",) * 7}, ValueError,
         "activation names 7 layers, as a net of depth 8 has them, but the depth is from 2 to 6: "
         "give a set to draw from"),
        ({"activation": ("tanh", "tanh"), "sizes": (1, 2)}, ValueError,
         "activation names 2 layers, … but the depth is from 2 to 2: …"),
        ({"activation": ("tanh", "tanh"), "output": "tanh"}, ValueError,
         "activation names every layer, the last too: leave out output"),
        ({"activation": "softmax"}, ValueError,
         "softmax is for the output layer: name it as output='softmax'"),
        ({"activation": 3}, TypeError, "an activation is a name or an Activation object, not 3"),
        ({"output": "tanh", "loss": "cross_entropy"}, ValueError,
         "the loss 'cross_entropy' needs rows of probabilities, which the output activation "
         "'tanh' does not give: use output='softmax'"),
        ({"activation": ("relu", "tanh"), "loss": "poisson"}, ValueError,
         "the loss 'poisson' needs outputs between 0 and inf, …"),
        ({"activation": ()}, ValueError, "activation names 0 layers, …"),
        ({"dtype": "complex128"}, ValueError,
         "dtype must be float64, float32 or a set of both, not 'complex128'"),
        ({"dtype": set()}, ValueError, "dtype must be float64, float32 or …, not set()"),
        ({"dtype": "int"}, ValueError, "dtype must be float64, float32 or …, not 'int'"),
        ({"loss": 1}, TypeError, "a loss is a name or a Loss object, not 1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("strategy", [networks, cases])
def test_bad_arguments_of_the_strategies(strategy, options, kind, message):
    with complains(kind, message):
        strategy(**options)
