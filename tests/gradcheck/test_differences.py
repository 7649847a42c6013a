"""Derivatives by evaluating only, of functions whose derivatives are known."""

import numpy as np
import pytest

from bpnet.gradcheck.differences import central, jitter, jittered, richardson, scales

EPS = 2.0**-52


def along(f, theta):
    """E(θ + step e_k) of a function that takes rows of θ."""

    def moved(k, step):
        rows = np.repeat(np.asarray(theta)[None].astype(step.dtype), len(k), axis=0)
        rows[np.arange(len(k)), k] += step
        with np.errstate(all="ignore"):
            return f(rows)

    return moved


def differences(f, theta, tolerance=1e-7, noise=None):
    theta = np.asarray(theta, float)
    E_0 = f(theta[None])[0]
    noise = EPS * abs(E_0) if noise is None else noise
    scale = scales(theta, [slice(0, theta.size)])
    return central(along(f, theta), np.arange(theta.size), E_0, noise, scale, tolerance)


SMOOTH = {
    "cubic": (lambda t: t[:, 0] ** 3 - 2 * t[:, 0] * t[:, 1],
              lambda a, b: (3 * a * a - 2 * b, -2 * a)),
    "exp": (lambda t: np.exp(t[:, 0] - t[:, 1]), lambda a, b: (np.exp(a - b), -np.exp(a - b))),
    "sin": (lambda t: np.sin(3 * t[:, 0]) * t[:, 1],
            lambda a, b: (3 * np.cos(3 * a) * b, np.sin(3 * a))),
    "steep": (lambda t: np.tanh(200 * (t[:, 0] - 1.3)) + t[:, 1],
              lambda a, b: (200 / np.cosh(200 * (a - 1.3)) ** 2, 1.0)),
    "quotient": (lambda t: t[:, 1] / t[:, 0], lambda a, b: (-b / a**2, 1 / a)),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("theta", [(1.3, 0.7), (-0.4, 2.0), (1.301, -30.0)])
def test_a_smooth_function(name, theta):
    f, df = SMOOTH[name]
    found = differences(f, theta)
    exact = np.array(df(*theta))
    assert not found.kink.any()
    assert not found.undefined.any()
    # The stated uncertainty holds, and is small enough to be of use.
    assert np.all(np.abs(found.value - exact) <= found.uncertainty)
    assert np.all(found.uncertainty <= np.maximum(1e-7 * np.abs(exact), 1e-10))


def test_a_coordinate_needs_to_be_asked_for():
    f, df = SMOOTH["exp"]
    theta = np.array([1.3, 0.7])
    found = central(along(f, theta), np.array([1]), f(theta[None])[0], EPS, np.ones(1), 1e-7)
    np.testing.assert_allclose(found.value, [df(*theta)[1]], rtol=1e-9)


def test_a_smooth_coordinate_takes_one_round_of_steps():
    steps = []

    def f(rows):
        return np.exp(rows[:, 0])

    def watched(k, step):
        steps.extend(step)
        return along(f, [0.5])(k, step)

    found = central(watched, np.zeros(1, int), np.exp(0.5), EPS, np.full(1, 2.0), 1e-7)
    sizes = [2.0**-2, 2.0**-3, 2.0**-4, 2.0**-5, 2.0**-6, 2.0**-7]
    assert steps == sizes + [-h for h in sizes]
    assert found.value[0] == pytest.approx(np.exp(0.5), rel=1e-12)
    assert 1e-14 < found.uncertainty[0] < 1e-9


def test_an_unsettled_one_takes_steps_16_times_smaller():
    steps = []

    def watched(k, step):
        steps.append(np.abs(step).max())
        return along(lambda rows: np.abs(rows[:, 0]), [0.0])(k, step)

    central(watched, np.zeros(1, int), 0.0, 0.0, np.ones(1), 1e-7)
    assert steps == [2.0**-3, 2.0**-7, 2.0**-11, 2.0**-15, 2.0**-19, 2.0**-23]


class TestKinks:
    @pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
    def test_however_small_beside_a_slope(self, size):
        found = differences(lambda t: np.sin(t[:, 0]) + size * np.abs(t[:, 0]) + t[:, 1] ** 2, (0.0, 1.0))
        assert found.kink.tolist() == [True, False]
        # What is returned there is the mean of the slopes on both sides.
        assert found.value[0] == pytest.approx(1.0, rel=1e-6)
        assert found.value[1] == pytest.approx(2.0, rel=1e-9)

    @pytest.mark.parametrize("distance", [0.3, 1e-2, 1e-4, 1e-6])
    def test_beside_one_the_slope_of_that_side_is_found(self, distance):
        for side in (1, -1):
            found = differences(lambda t: np.exp(t[:, 0]) + np.abs(t[:, 0] - 1), (1 + side * distance,))
            assert not found.kink[0]
            exact = np.exp(1 + side * distance) + side
            assert found.value[0] == pytest.approx(exact, rel=1e-7)
        assert differences(lambda t: np.abs(t[:, 0] - 1), (1 + 1e-12,)).kink[0]  # no step is so small

    def test_a_jump_of_the_second_derivative_is_none(self):
        found = differences(lambda t: t[:, 0] + np.maximum(t[:, 0], 0) ** 2, (0.0,))
        assert not found.kink[0]
        assert abs(found.value[0] - 1) <= found.uncertainty[0] <= 1e-6
        found = differences(lambda t: np.cosh(30 * t[:, 0]), (1.0,))  # nor is strong curvature
        assert not found.kink[0]
        assert found.value[0] == pytest.approx(30 * np.sinh(30), rel=1e-7)


class TestDomain:
    def test_steps_shrink_into_it(self):
        def f(t):
            return np.log(t[:, 0]) + t[:, 1]

        found = differences(f, (1e-4, 3.0))
        np.testing.assert_allclose(found.value, [1e4, 1], rtol=1e-8)

    def test_at_its_end_there_is_nothing(self):
        found = differences(lambda t: np.sqrt(t[:, 0]) + t[:, 1], (0.0, 1.0))
        assert found.undefined.tolist() == [True, False]
        assert np.isnan(found.value[0])
        assert not found.kink[0]


class TestNoise:
    def test_it_is_in_the_uncertainty_and_not_much_larger(self):
        rng = np.random.default_rng(1)
        off, stated = [], []
        for _ in range(200):
            found = differences(lambda t: t[:, 0] + 1e-9 * rng.uniform(-1, 1, len(t)), (1.0,), noise=1e-9)
            off.append(abs(found.value[0] - 1))
            stated.append(found.uncertainty[0])
        assert np.all(np.array(off) <= stated)
        # The result is good to 8 · 13.5 times the noise at worst, and usually to a quarter of it.
        assert max(off) < 8 * 13.6e-9
        assert np.median(stated) < 100 * np.median(off)

    def test_a_jump_that_it_hides_is_in_the_uncertainty(self):
        found = differences(lambda t: np.sin(t[:, 0]) + 1e-5 * np.abs(t[:, 0] - 0.05), (0.0,), noise=1e-6)
        assert 1e-9 < abs(found.value[0] - (1 - 1e-5)) <= found.uncertainty[0]

    def test_jitter_is_what_the_last_bits_do(self):
        theta = np.array([1.0, 2.0])
        rows = jittered(theta)
        assert rows.shape == (6, 2)
        assert np.all(rows != theta)
        np.testing.assert_allclose(rows, np.broadcast_to(theta, (6, 2)), rtol=3 * EPS)
        assert jitter(lambda rows: rows[:, 0] * 0 + 5, theta, 5.0) == 5 * EPS
        assert jitter(lambda rows: np.full(6, np.nan), theta[:1], 1.0) == EPS  # out of the domain
        # 1e8 (θ_1 - 1) near 0 keeps 2 eps · 1e8 of θ_1.
        assert jitter(lambda rows: 1e8 * (rows[:, 0] - 1), theta, 0.0) == pytest.approx(2e8 * EPS)


class TestScales:
    def test_powers_of_two_of_the_coordinates_size(self):
        theta = np.array([3.0, -0.3, 0.1, 100.0])
        found = scales(theta, [slice(0, 2), slice(2, 4)])
        # 0.1 is small beside 100: it gets the block's size, 71.
        np.testing.assert_array_equal(found, [4.0, 0.25, 64.0, 128.0])
        found = scales(np.array([0.0, 0.0, 0.0, 9.0]), [slice(0, 2), slice(2, 4)])
        np.testing.assert_array_equal(found, [1.0, 1.0, 8.0, 8.0])


def test_richardsons_weights_cancel_powers():
    ratios = 0.5 ** np.arange(6)
    for powers, first in (((2, 4, 6), 0), ((2, 4), 1), ((1, 3, 5), 0), ((2,), 4)):
        w = richardson(powers, first)
        assert w.shape == (6,)
        assert (w.sum(), np.count_nonzero(w)) == (pytest.approx(1), len(powers) + 1)
        assert not w[:first].any()
        for p in powers:
            assert w @ ratios**p == pytest.approx(0, abs=1e-15)
