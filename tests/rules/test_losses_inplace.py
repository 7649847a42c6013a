"""Each kernel of a loss is its rule: the value of a batch, with shares or without, and δ^L."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import ACTIVATIONS, LOSSES, huber
from bpnet.rules.kernels import layer_kernels, output_kernels
from bpnet.rules.losses import check_pair, reduce


def pairs():
    for loss in [*LOSSES.values(), huber(0.3)]:
        for output in ACTIVATIONS.values():
            try:
                check_pair(loss, output)
            except ValueError:
                continue
            yield pytest.param(loss, output, id=f"{loss.name}-{output.name}")


def targets(loss, shape, rng):
    y = rng.random(shape)
    return y / y.sum(axis=-1, keepdims=True) if loss.distribution else y


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize(("loss", "output"), list(pairs()))
@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(1, 2), (5, 3), (7, 1), (4, 5, 3), (3, 1, 2)]),
    scale=st.sampled_from([0.1, 1.0, 8.0]),
)
@settings(max_examples=12)
def test_kernels_are_the_rules(loss, output, dtype, seed, shape, scale):
    rng = np.random.default_rng(seed)
    z = (rng.normal(size=shape) * scale).astype(dtype)
    a = output.f(z)
    y = targets(loss, shape, rng).astype(dtype)
    share = rng.random(shape[-2]).astype(dtype)[:, None]
    given_in = [array.copy() for array in (z, a, y, share)]
    write_delta, value = output_kernels(loss, output, z, layer_kernels(output, z)[1])
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
    for array, before in zip((z, a, y, share), given_in, strict=True):
        np.testing.assert_array_equal(array, before)


def test_a_softmax_that_rounds_to_0_is_taken_from_z():
    loss, output = LOSSES["cross_entropy"], ACTIVATIONS["softmax"]
    z = np.array([[0.0, -2000.0, 3.0], [1.0, 2.0, 3.0]])
    y = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    a = output.f(z)
    assert a[0, 1] == 0
    _, value = output_kernels(loss, output, z, layer_kernels(output, z)[1])
    assert value(z, a, y) == pytest.approx(reduce(loss.E_z(z, y)), rel=1e-14)


def test_poisson_goes_on_straight_where_the_exponential_is_capped():
    loss, output = LOSSES["poisson"], ACTIVATIONS["exp"]
    z, y = np.array([[400.0], [2.0]]), np.array([[3.0], [0.0]])
    a = output.f(z)
    _, value = output_kernels(loss, output, z, layer_kernels(output, z)[1])
    assert value(z, a, y) == pytest.approx(reduce(loss.E_z(z, y)), rel=1e-14)
    slope = (loss.E_z(z + 1, y) - loss.E_z(z, y))[0, 0]
    assert slope == pytest.approx((a - y)[0, 0], rel=1e-12)
