"""Losses and δ^L of every pair of output and loss, against fifty digits by mpmath."""

import mpmath
import numpy as np
import pytest

from bpnet import ACTIVATIONS, LOSSES, MLP
from tests.rules.test_inplace import pairs

PAIRS = [param.values for param in pairs() if param.values[0].name in LOSSES]
EXACT = [(E, f) for E, f in PAIRS if E.joins(f) or E.pair(f)]
BY_A = [pair for pair in PAIRS if pair[1].name in ("sigmoid", "tanh") and pair not in EXACT]
IDS = {"ids": lambda rule: rule.name}


def outputs(name, z):
    """The outputs of a row in fifty digits; only of the activations that exact pairs have."""
    if name == "softmax":
        powers = [mpmath.e**z_j for z_j in z]
        return [p / sum(powers) for p in powers]
    f = {
        "identity": lambda t: t,
        "exp": mpmath.exp,
        "sigmoid": lambda t: 1 / (1 + mpmath.exp(-t)),
        "softplus": lambda t: mpmath.log1p(mpmath.exp(t)),
        "tanh": mpmath.tanh,
    }[name]
    return list(map(f, z))


def loss(name, a, y):
    one = {
        "half_squared_error": lambda p, t: (p - t) ** 2 / 2,
        "absolute_error": lambda p, t: abs(p - t),
        "huber": lambda p, t: (p - t) ** 2 / 2 if abs(p - t) <= 1 else abs(p - t) - 0.5,
        "cross_entropy": lambda p, t: -t * mpmath.log(p),
        "binary_cross_entropy": lambda p, t: -t * mpmath.log(p) - (1 - t) * mpmath.log(1 - p),
        "poisson": lambda p, t: p - t * mpmath.log(p),
    }[name]
    return sum(one(p, t) for p, t in zip(a, y, strict=True))


def in_digits(E, f, z, y):
    """E and ∂E/∂z of one row; the slope by a difference in 420 digits."""
    with mpmath.workdps(420):
        z, y, h = list(map(mpmath.mpf, z)), list(map(mpmath.mpf, y)), mpmath.mpf(10) ** -60
        moved = [[z_k + h * (j == k) for k, z_k in enumerate(z)] for j in range(len(z))]
        E_0 = loss(E, outputs(f, z), y)
        slopes = [(loss(E, outputs(f, z_j), y) - E_0) / h for z_j in moved]
        return float(E_0), np.array([float(s) for s in slopes])


def found(E, f, z, y, dtype):
    """E and δ^L by a net whose output weighs its input by the unit matrix."""
    n = len(z)
    net = MLP.from_weights([np.eye(n)], [np.zeros(n)], output=f, loss=E, dtype=dtype)
    cache = net.forward(np.array(z, dtype))
    return net.loss(cache, y), net.backward(cache, y).delta[2][0]


def rows(E, most, rng):
    """Rows of z up to ±most, with ties and wide gaps, and targets for them."""
    corners = [(0, 0, 0), (most, -most, 0), (-most, most, most), (-most, -most, -most / 2)]
    for z in [*corners, (20, 0, 0), (-80, 3, 1), *rng.uniform(-most, most, (6, 3))]:
        z = np.clip(z, -most, most).astype("float32").tolist()
        y = np.eye(3)[rng.integers(3)] if rng.random() < 0.5 else rng.multinomial(64, [1 / 3] * 3) / 64
        yield z, y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("E", "f"), EXACT, **IDS)
def test_an_exact_pair_is_exact_at_any_z(E, f, dtype):
    """To a few units in the last place of 1 or what is larger; e^z is capped beyond 28 (338)."""
    most = {"exp": 25}.get(f.name, 85 if dtype == "float32" else 300)
    eps = np.finfo(dtype).eps
    for z, y in rows(E, most, np.random.default_rng(0)):
        E_0, slopes = in_digits(E.name, f.name, z, y)
        got, delta = found(E, f, z, y, dtype)
        size = np.abs(np.array(z) * y).max()  # a difference of z and y z has its rounding
        assert abs(got - E_0) <= 16 * eps * (abs(E_0) + size), (z, y)
        assert np.all(np.abs(delta - slopes) <= 32 * eps * (1 + np.abs(slopes).max())), (z, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("E", "f"), BY_A, **IDS)
def test_another_pair_is_as_exact_as_a_is(E, f, dtype):
    """As `losses.py` says: to a few units in the last place of a, y and 1, times the largest f'."""
    eps = np.finfo(dtype).eps
    for z, y in rows(E, 85, np.random.default_rng(1)):
        E_0, slopes = in_digits(E.name, f.name, z, y)
        got, delta = found(E, f, z, y, dtype)
        a = f.f(np.array(z))
        if np.any(np.abs(a - y) == 0):  # the kink of the absolute error has no slope
            continue
        size = 1 + np.abs(a).max()
        assert abs(got - E_0) <= 32 * eps * (abs(E_0) + size), (z, y)
        assert np.all(np.abs(delta - slopes) <= 32 * eps * size), (z, y)


def test_a_softmax_of_one_output_has_no_others():
    z, y = np.array([[3.0], [-800.0]]), np.array([[1.0], [0.0]])
    pair = LOSSES["binary_cross_entropy"].pair(ACTIVATIONS["softmax"])
    np.testing.assert_array_equal(pair.delta(z, y), 0)
    assert np.isfinite(pair.E_z(z, y)).all()


def test_what_saturated_before():
    poisson, binary = LOSSES["poisson"], LOSSES["binary_cross_entropy"]
    _, delta = found(poisson, ACTIVATIONS["softplus"], [-80.0], [1.0], "float32")
    assert delta == pytest.approx(-1, rel=1e-6)
    E, delta = found(binary, ACTIVATIONS["softmax"], [20.0, 0.0], [0.0, 1.0], "float32")
    assert pytest.approx(40, rel=1e-6) == E
    np.testing.assert_allclose(delta, [2, -2], rtol=1e-6)
