"""Every in-place kernel equals the rule of the table that it stands for."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bpnet import ACTIVATIONS, LOSSES, Activation, Loss, huber
from bpnet.rules.kernels import layer_kernels, output_kernels
from bpnet.rules.losses import reduce
from bpnet.testing.cases import draw_targets
from tests.helpers.nets import PAIRS

NAMES = list(ACTIVATIONS)
EDGES = [-1e4, -745, -104, -88.8, -37, -1e-30, -0.0, 0.0, 1e-30, 37, 44.4, 88.8, 104, 354.9, 1e4]
SHAPES = [(1, 1), (3, 4), (2, 3, 4), (5, 1, 2)]


def numbers(shape, dtype):
    width = 32 if dtype == "float32" else 64
    near = st.floats(-20, 20, width=width)
    far = st.floats(-1e4, 1e4, width=width)
    edge = st.sampled_from(EDGES).map(lambda v: float(np.dtype(dtype).type(v)))
    return hnp.arrays(dtype, shape, elements=near | far | edge)


@st.composite
def passes(draw):
    dtype, shape = draw(st.sampled_from(["float64", "float32"])), draw(st.sampled_from(SHAPES))
    g = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype(dtype)
    return draw(numbers(shape, dtype)), draw(numbers(shape, dtype)), g


def assert_close(got, rule, slack):
    """A few units in the last place; at the bottom of the range e^z, times z, underflows."""
    eps, tiny = np.finfo(rule.dtype).eps, np.finfo(rule.dtype).tiny
    assert got.dtype == rule.dtype
    assert np.all(np.abs(got - rule) <= 16 * eps * np.abs(rule) + eps * slack + 1000 * tiny)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(data=passes())
def test_a_kernel_is_its_rule_and_writes_its_output_only(name, data):
    z, earlier, g = data
    rule = ACTIVATIONS[name]
    f, times_df = layer_kernels(rule, z)
    before = z.tobytes()
    a, got = np.full_like(z, np.nan), g.copy()
    with np.errstate(over="ignore", under="ignore", invalid="raise", divide="raise"):
        f(earlier, np.empty_like(z))  # whatever the scratch space holds must not matter
        times_df(earlier, rule.f(earlier), g.copy())
        f(z, a)
        # gelu's 1 + t cancels left of 0: there both are right to eps times |z|
        assert_close(a, rule.f(z), slack=8 * np.minimum(np.abs(z), 40) if name == "gelu" else 0)
        given = rule.f(z)
        kept = given.tobytes()
        times_df(z, given, got)
        expected = rule.backward(g, z, given)
    slack = {"gelu": 32 * np.abs(g), "softmax": 16 * np.abs(g).max(), "silu": 4 * np.abs(g)}
    assert_close(got, expected, slack.get(name, 0))
    assert (z.tobytes(), given.tobytes()) == (before, kept)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_rule_and_its_kernel_take_any_finite_z(name, dtype):
    most = np.finfo(dtype).max
    z = np.array([[most, -most, 0, 1], [1e30, -1e30, 1e-30, -1e-30]], dtype)
    rule, a, g = ACTIVATIONS[name], np.empty_like(z), np.ones_like(z)
    f, times_df = layer_kernels(rule, z)
    with np.errstate(over="ignore", under="ignore", invalid="raise", divide="raise"):
        f(z, a)
        times_df(z, a, g)
        values = [a, g, rule.f(z), rule.df(z, a), rule.backward(np.ones_like(z), z, a)]
    assert all(np.isfinite(value).all() for value in values)
    assert_close(g, values[-1], slack=16)


def test_every_rule_of_the_tables_has_a_form_in_place():
    assert all(rule.in_place for rule in [*ACTIVATIONS.values(), *LOSSES.values(), huber(0.5)])


def test_an_activation_of_ones_own_is_used_even_under_a_known_name():
    own = Activation("tanh", f=lambda z: 3 * z, df=lambda z, a: np.full_like(z, 3) + a)
    z = np.array([[0.5, -2.0]])
    f, times_df = layer_kernels(own, z)
    a, g = np.empty_like(z), np.array([[10.0, 1.0]])
    f(z, a)
    times_df(z, a, g)
    np.testing.assert_array_equal(a, [[1.5, -6]])
    np.testing.assert_array_equal(g, [[45, -3]])


def test_a_copy_of_a_known_activation_is_not_taken_for_the_original():
    silent = dataclasses.replace(ACTIVATIONS["relu"], f=lambda z: 0 * z)
    z = np.array([[2.0]])
    a = np.empty_like(z)
    layer_kernels(silent, z)[0](z, a)
    assert a == 0


@pytest.mark.parametrize("name", NAMES)
def test_complex_numbers_take_the_rule_of_the_table(name):
    z = np.array([[0.5, -2.0, 1.5]]) + 1e-30j
    rule, a, g = ACTIVATIONS[name], np.empty_like(z), np.ones_like(z)
    f, times_df = layer_kernels(rule, z)
    f(z, a)
    times_df(z, a, g)
    np.testing.assert_array_equal(a, rule.f(z))
    np.testing.assert_array_equal(g, rule.backward(np.ones_like(z), z, a))


@pytest.mark.parametrize("loss", [loss for loss in LOSSES.values() if loss.joined_output])
def test_where_output_and_loss_belong_together_delta_is_a_minus_y(loss):
    """Also where a has rounded to its limit, so that ∂E/∂a ⊙ f' would be 0 or 0/0."""
    z = np.array([[800.0, -800.0], [3.0, -2.0]])
    rule, y = ACTIVATIONS[loss.joined_output], np.array([[0.0, 1.0], [0.25, 0.75]])
    with np.errstate(under="ignore"):
        a = rule.f(z)
    delta = np.empty_like(z)
    output_kernels(loss, rule, z, layer_kernels(rule, z)[1])[0](z, a, y, delta)
    np.testing.assert_array_equal(delta, a - y)


def test_a_loss_of_ones_own_is_used_even_under_a_known_name():
    own = Loss("half_squared_error", E=lambda a, y: 5 * (a - y) ** 2, dE=lambda a, y: 10 * (a - y))
    z, y = np.array([[0.5, 2.0]]), np.array([[1.0, 1.0]])
    a, delta = np.tanh(z), np.empty_like(z)
    output_delta, value = output_kernels(
        own, ACTIVATIONS["tanh"], z, layer_kernels(ACTIVATIONS["tanh"], z)[1]
    )
    output_delta(z, a, y, delta)
    np.testing.assert_allclose(delta, 10 * (a - y) * (1 - a * a), rtol=1e-15)
    assert value(z, a, y) == pytest.approx(np.sum(5 * (a - y) ** 2), rel=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("output", "loss"), PAIRS)
@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 99))
def test_the_value_of_a_batch_is_the_tables_at_any_z(output, loss, dtype, data, seed):
    rule, E = ACTIVATIONS[output], LOSSES[loss]
    z, earlier = data.draw(numbers((3, 4), dtype)), data.draw(numbers((3, 4), dtype))
    y = draw_targets(E, (3, 4), seed).astype(dtype)
    _, value = output_kernels(E, rule, z, layer_kernels(rule, z)[1])
    with np.errstate(over="ignore", under="ignore", invalid="raise", divide="raise"):
        a = rule.f(z)
        value(earlier, rule.f(earlier), y)  # whatever the scratch space holds must not matter
        got, expected = value(z, a, y), reduce(E.of_pass(z, a, y, rule))
    eps = np.finfo(dtype).eps
    assert np.isfinite(got)
    # a cancellation of z against y z costs eps times the largest of them
    scale = abs(expected) + (np.abs(z * y).max() if E.joins(rule) else 1)
    assert abs(got - expected) <= 32 * eps * (scale + 1)
