"""Every form in place equals the rule of the table that it stands for: f, f', E and δ^L."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bpnet import ACTIVATIONS, LOSSES, Activation, Loss, huber
from bpnet.rules.kernels import layer_kernels, output_kernels
from bpnet.rules.losses import check_pair, reduce
from bpnet.testing.cases import draw_targets
from tests.helpers.nets import PAIRS

NAMES = list(ACTIVATIONS)
EDGES = [-1e4, -745, -104, -88.8, -37, -1e-30, -0.0, 0.0, 1e-30, 37, 44.4, 88.8, 104, 354.9, 1e4]
SHAPES = [(1, 1), (3, 4), (2, 3, 4), (5, 1, 2)]
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


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


def pairs():
    for loss in [*LOSSES.values(), huber(0.3)]:
        for output in ACTIVATIONS.values():
            try:
                check_pair(loss, output)
            except ValueError:
                continue
            yield pytest.param(loss, output, id=f"{loss.name}-{output.name}")


def kernels_of(loss, output, z):
    return output_kernels(loss, output, z, layer_kernels(output, z)[1])


def loudly():
    return np.errstate(over="ignore", under="ignore", invalid="raise", divide="raise")


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
    with loudly():
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
@both_dtypes
def test_a_rule_and_its_kernel_take_any_finite_z(name, dtype):
    most = np.finfo(dtype).max
    z = np.array([[most, -most, 0, 1], [1e30, -1e30, 1e-30, -1e-30]], dtype)
    rule, a, g = ACTIVATIONS[name], np.empty_like(z), np.ones_like(z)
    f, times_df = layer_kernels(rule, z)
    with loudly():
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
    silent = dataclasses.replace(ACTIVATIONS["relu"], f=lambda z: 0 * z)
    layer_kernels(silent, z)[0](z, a)
    assert not a.any()


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
    kernels_of(loss, rule, z)[0](z, a, y, delta)
    np.testing.assert_array_equal(delta, a - y)


def test_a_loss_of_ones_own_is_used_even_under_a_known_name():
    own = Loss("half_squared_error", E=lambda a, y: 5 * (a - y) ** 2, dE=lambda a, y: 10 * (a - y))
    z, y = np.array([[0.5, 2.0]]), np.array([[1.0, 1.0]])
    a, delta = np.tanh(z), np.empty_like(z)
    output_delta, value = kernels_of(own, ACTIVATIONS["tanh"], z)
    output_delta(z, a, y, delta)
    np.testing.assert_allclose(delta, 10 * (a - y) * (1 - a * a), rtol=1e-15)
    assert value(z, a, y) == pytest.approx(np.sum(5 * (a - y) ** 2), rel=1e-15)


@both_dtypes
@pytest.mark.parametrize(("output", "loss"), PAIRS)
@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 99))
def test_the_value_of_a_batch_is_the_tables_at_any_z(output, loss, dtype, data, seed):
    rule, E = ACTIVATIONS[output], LOSSES[loss]
    z, earlier = data.draw(numbers((3, 4), dtype)), data.draw(numbers((3, 4), dtype))
    y = draw_targets(E, (3, 4), seed).astype(dtype)
    _, value = kernels_of(E, rule, z)
    with loudly():
        a = rule.f(z)
        value(earlier, rule.f(earlier), y)  # whatever the scratch space holds must not matter
        got, expected = value(z, a, y), reduce(E.of_pass(z, a, y, rule))
    assert np.isfinite(got)
    # a cancellation of z against y z costs eps times the largest of them
    scale = abs(expected) + (np.abs(z * y).max() if E.joins(rule) else 1)
    assert abs(got - expected) <= 32 * np.finfo(dtype).eps * (scale + 1)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize(("loss", "output"), list(pairs()))
@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(1, 2), (5, 3), (7, 1), (4, 5, 3), (3, 1, 2)]),
    scale=st.sampled_from([0.1, 1.0, 8.0]),
)
@settings(max_examples=12)
def test_value_and_delta_are_the_rules(loss, output, dtype, seed, shape, scale):
    rng = np.random.default_rng(seed)
    z = (rng.normal(size=shape) * scale).astype(dtype)
    a, y = output.f(z), rng.random(shape)
    y = (y / y.sum(axis=-1, keepdims=True) if loss.distribution else y).astype(dtype)
    share = rng.random(shape[-2]).astype(dtype)[:, None]
    given_in = [array.copy() for array in (z, a, y, share)]
    write_delta, value = kernels_of(loss, output, z)
    delta = np.full_like(z, np.nan)
    write_delta(z, a, y, delta)

    eps = np.finfo(dtype).eps
    elements = loss.of_pass(z, a, y, output)
    size = np.abs(elements).sum() + np.abs(z).sum() + 1  # what rounding is relative to
    for given_share, weight in ((None, None), (share, share[:, 0])):
        found = np.array(value(z, a, y, given_share))
        assert found.shape == shape[:-2]
        np.testing.assert_allclose(found, reduce(elements, weight), rtol=0, atol=20 * eps * size)
    pair = loss.pair(output)  # whose formula test_exact.py holds
    if loss.joins(output) or pair:
        expected = pair.delta(z, y) if pair else a - y
    else:
        expected = output.backward(loss.dE(a, y), z, a)
    tolerance = 50 * eps * max(1, np.abs(expected).max())
    np.testing.assert_allclose(delta, expected, rtol=0, atol=tolerance)
    assert all(map(np.array_equal, (z, a, y, share), given_in))


@pytest.mark.parametrize(
    ("loss", "output", "z", "y"),
    [  # a softmax that rounds to 0; an exponential beyond its cap, where E goes on straight
        ("cross_entropy", "softmax", [[0, -2000, 3], [1, 2, 3]], [[0.2, 0.3, 0.5], [1, 0, 0]]),
        ("poisson", "exp", [[400], [2]], [[3], [0]]),
    ],
)
def test_a_value_is_taken_from_z_where_a_does_not_tell(loss, output, z, y):
    loss, output, z, y = LOSSES[loss], ACTIVATIONS[output], np.array(z, float), np.array(y, float)
    a = output.f(z)
    _, value = kernels_of(loss, output, z)
    assert value(z, a, y) == pytest.approx(reduce(loss.E_z(z, y)), rel=1e-14)
    if output.name == "exp":
        slope = (loss.E_z(z + 1, y) - loss.E_z(z, y))[0, 0]
        assert slope == pytest.approx((a - y)[0, 0], rel=1e-12)
