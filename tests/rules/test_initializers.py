"""Start weights: their spread, their bounds, and that the seed alone decides them."""

import math

import numpy as np
import pytest

from bpnet import ACTIVATIONS, INITIALIZERS, MLP, Initializer
from bpnet.rules.initializers import generator, get_initializer, zeros
from tests.helpers.complaint import complains

SHAPE = (160, 240)  # (n_out, n_in): unequal, so that one is not taken for the other
VARIANCE = {"xavier": 2 / (160 + 240), "glorot": 2 / (160 + 240), "he": 2 / 240, "lecun": 1 / 240}


def draw(name, seed=1):
    return INITIALIZERS[name].W(np.random.default_rng(seed), SHAPE)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_of_a_stacks_shape_the_last_two_axes_count(kind):
    W = INITIALIZERS[f"he_{kind}"].W(np.random.default_rng(1), (3, *SHAPE))
    assert W.shape == (3, *SHAPE)
    assert W.var() == pytest.approx(VARIANCE["he"], rel=0.02)


def test_the_table_lists_what_the_design_lists():
    scaled = [f"{rule}_{kind}" for rule in VARIANCE for kind in ("uniform", "normal")]
    assert list(INITIALIZERS) == ["uniform", *scaled]
    assert all(rule.name == name for name, rule in INITIALIZERS.items())


@pytest.mark.parametrize("rule", VARIANCE)
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_mean_and_variance_are_those_of_the_paper(rule, kind):
    W, var = draw(f"{rule}_{kind}"), VARIANCE[rule]
    n = W.size
    assert W.shape == SHAPE
    assert abs(W.mean()) < 4 * math.sqrt(var / n)  # four standard errors
    kurtosis = 1.8 if kind == "uniform" else 3
    assert abs(W.var() - var) < 4 * var * math.sqrt((kurtosis - 1) / n)
    assert abs((W**4).mean() / var**2 - kurtosis) < 0.15  # which distribution it is


@pytest.mark.parametrize("rule", VARIANCE)
def test_a_uniform_rule_fills_its_interval(rule):
    r, W = math.sqrt(3 * VARIANCE[rule]), draw(f"{rule}_uniform")
    assert 0.999 * r < W.max() < r
    assert -r < W.min() < -0.999 * r


def test_uniform_is_the_articles_for_weights_and_biases():
    rng, rule = np.random.default_rng(5), INITIALIZERS["uniform"]
    for values in (rule.W(rng, SHAPE), rule.b(rng, (20_000,))):
        assert 0 <= values.min() < 0.001
        assert 0.999 < values.max() < 1
        assert abs(values.mean() - 0.5) < 4 * math.sqrt(1 / 12 / values.size)
    net = MLP.init((2, 3, 2), initializer="uniform", rng=8)
    assert len({*net.theta}) == net.theta.size  # every bias its own


def test_biases_start_at_0():
    for name, rule in INITIALIZERS.items():
        if name != "uniform":
            b = rule.b(np.random.default_rng(0), (2, 7))
            assert b.shape == (2, 7)
            assert not b.any()
    assert zeros(np.random.default_rng(0), (3,)).dtype == float


def test_the_seed_decides_and_nothing_else():
    for rule in INITIALIZERS:
        first, again, other = (MLP.init((3, 4, 2), initializer=rule, rng=k).theta for k in (7, 7, 8))
        np.testing.assert_array_equal(first, again)
        assert np.any(first != other)
    # drawn layer by layer in NumPy's own order: W², b², W³, b³
    rng = np.random.default_rng(7)
    net = MLP.init((3, 4, 2), initializer="uniform", rng=7)
    for l in (2, 3):
        np.testing.assert_array_equal(net.W[l], rng.random(net.W[l].shape))
        np.testing.assert_array_equal(net.b[l], rng.random(net.b[l].shape))


def test_a_generator_goes_on_where_it_is():
    rng = np.random.default_rng(7)
    first, second = MLP.init((3, 2), rng=rng), MLP.init((3, 2), rng=rng)
    np.testing.assert_array_equal(first.theta, MLP.init((3, 2), rng=7).theta)
    assert np.any(first.theta != second.theta)
    assert generator(rng) is rng
    assert generator(np.int32(3)).random() == np.random.default_rng(3).random()
    assert generator(0).random() == np.random.default_rng(0).random()


def test_every_dtype_starts_from_the_same_numbers():
    double = MLP.init((3, 4, 2), rng=2).theta
    for dtype in ("float32", "complex128", "complex64", np.float64):
        theta = MLP.init((3, 4, 2), rng=2, dtype=dtype).theta
        assert theta.dtype == dtype
        np.testing.assert_array_equal(theta, double.astype(dtype))


@pytest.mark.parametrize("name", [*ACTIVATIONS])
def test_the_default_suits_the_activation(name):
    he = name in ("relu", "leaky_relu", "elu", "softplus", "silu", "gelu")
    net, rule = MLP.init((40, 60), activation=name, rng=3), "he_uniform" if he else "xavier_uniform"
    expected = INITIALIZERS[rule].W(np.random.default_rng(3), (60, 40))
    np.testing.assert_array_equal(net.W[2], expected)


def test_each_layer_may_have_its_own_rule():
    ones = Initializer("ones", W=lambda rng, shape: np.ones(shape), b=lambda rng, shape: np.full(shape, 2))
    net = MLP.init((3, 4, 5, 2), initializer=["he_normal", ones, None], rng=6)
    rng = np.random.default_rng(6)
    np.testing.assert_array_equal(net.W[2], INITIALIZERS["he_normal"].W(rng, (4, 3)))
    assert np.all(net.W[3] == 1)
    assert np.all(net.b[3] == 2)
    np.testing.assert_array_equal(net.W[4], INITIALIZERS["xavier_uniform"].W(rng, (2, 5)))
    alike = MLP.init((3, 4, 2), initializer=ones, rng=6)
    assert np.all(alike.W[2] == 1)
    assert np.all(alike.W[3] == 1)


def test_wrong_rules_and_seeds_are_refused():
    known = ", ".join(INITIALIZERS)
    with complains(ValueError, f"unknown initializer 'zeros': the known ones are {known}"):
        get_initializer("zeros")
    assert get_initializer("Kaiming-Normal") is INITIALIZERS["he_normal"]
    with complains(TypeError, "an initializer is a name or an Initializer object, not 0.1"):
        get_initializer(0.1)
    message = (
        "initializer names 3 layers, but this net has 2 with weights: "
        "one for each of the layers 2..3, or one for all"
    )
    with complains(ValueError, message):
        MLP.init((2, 3, 1), initializer=["uniform"] * 3, rng=0)
    wide = Initializer("wide", W=lambda rng, shape: np.ones((9, 9)), b=zeros)
    with complains(ValueError, "W[2] has shape (3, 2), but was given shape (9, 9)"):
        MLP.init((2, 3, 1), initializer=wide, rng=0)
    seed = "rng must be a seed (an integer >= 0) or a numpy.random.Generator, not "
    with complains(TypeError, "rng is missing: start weights are drawn, from a seed such as rng=0"):
        MLP.init((2, 3, 1))
    for wrong in (True, np.True_, 1.0, "1"):
        with complains(TypeError, f"{seed}{wrong!r}"):
            MLP.init((2, 3, 1), rng=wrong)
    with complains(TypeError, f"{seed}RandomState…"):
        generator(np.random.RandomState(0))
    with complains(ValueError, "rng, a seed, must be >= 0, not -1"):
        generator(-1)
