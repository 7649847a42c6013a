"""Every f and f' against its formula in 400 decimal digits, and what the table says of itself."""

import copy
import math
import pickle
from decimal import Decimal, localcontext

import numpy as np
import pytest

from bpnet import ACTIVATIONS, Activation, reference
from bpnet.rules.activations import get_activation, largest_exponent, log_softmax, softmax
from tests.helpers.complaint import complains

NAMES = list(reference.ACTIVATIONS)
DTYPES = ("float64", "float32")
POINTS = [0, 1e-30, 1e-8, 0.01, 0.3, 0.5, 1, 1.7, 3, 5, 10, 20, 30, 40, 88, 104, 700, 745, 1e4]
POINTS = np.array([-p for p in POINTS[:0:-1]] + POINTS)
SMOOTH = np.array([-6.1, -2.3, -0.9, -0.11, 0.07, 0.4, 1.3, 2.9, 5.2])


def exact(name, z, cap):
    """f(z) and f'(z) from the textbook formula, in decimal arithmetic."""
    one, leak, e = Decimal(1), Decimal("0.01"), z.exp()
    logistic = e / (1 + e)
    if name == "gelu":  # z (1 + t) / 2 with t = tanh u, so that t' = (1 - t²) u'
        scale, cube = Decimal(math.sqrt(2 / math.pi)), Decimal("0.044715")
        u = scale * (z + cube * z**3)
        t = -one if u < -200 else one if u > 200 else 1 - 2 / ((2 * u).exp() + 1)
        return z * (1 + t) / 2, (1 + t + z * (1 - t * t) * scale * (1 + 3 * cube * z * z)) / 2
    tanh = 1 - 2 / (e * e + 1)
    positive = z > 0
    return {
        "identity": (z, one),
        "sigmoid": (logistic, logistic * (1 - logistic)),
        "tanh": (tanh, 1 - tanh * tanh),
        "relu": (z, one) if positive else (0 * z, 0 * one),
        "leaky_relu": (z, one) if positive else (leak * z, leak),
        "elu": (z, one) if positive else (e - 1, e),
        "softplus": ((1 + e).ln(), logistic),
        "silu": (z * logistic, logistic + z * logistic * (1 - logistic)),
        "exp": (e, e) if z <= cap else (cap.exp(), 0 * one),
    }[name]


def table_of(name, z, dtype):
    cap = Decimal(largest_exponent(dtype))
    with localcontext() as context:
        context.prec = 400
        pairs = [exact(name, Decimal(float(v)), cap) for v in z]
        return [[float(v) for v in column] for column in zip(*pairs, strict=True)]


def test_the_table_lists_what_the_design_lists():
    assert list(ACTIVATIONS) == [*NAMES, "softmax"]
    assert all(f.name == name for name, f in ACTIVATIONS.items())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_f_and_df_are_the_textbook_formula_at_any_z(name, dtype):
    z = POINTS.astype(dtype)
    f, eps = ACTIVATIONS[name], np.finfo(dtype).eps
    with np.errstate(all="raise", under="ignore"):  # e^-1e4 is rightly 0
        a = f.f(z)
        df = f.df(z, a)
    expected_a, expected_df = table_of(name, z, dtype)
    # relative to f itself, save gelu: its 1 + t cancels left of 0
    slack = 4 * eps * np.abs(z) if name == "gelu" else np.finfo(dtype).tiny
    assert np.all(np.abs(a - expected_a) <= 4 * eps * np.abs(expected_a) + slack)
    # relative to 1 or df, save silu: its z (1 - σ) carries the rounding of 1 - σ, times z
    slack = eps * np.minimum(np.abs(z), 40) if name == "silu" else 0
    assert np.all(np.abs(df - expected_df) <= 8 * eps * np.maximum(1, np.abs(df)) + slack)
    assert a.dtype == df.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_f_and_df_take_complex_z(name):
    """df is analytic too, so that a complex θ passes through `backward`."""
    f, h = ACTIVATIONS[name], 1e-30

    def df(v):
        return f.df(v, f.f(v))

    np.testing.assert_allclose(f.f(SMOOTH + 1j * h).imag / h, df(SMOOTH), rtol=1e-14, atol=1e-15)
    slope = (df(SMOOTH + 1e-5) - df(SMOOTH - 1e-5)) / 2e-5
    np.testing.assert_allclose(df(SMOOTH + 1j * h).imag / h, slope, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_f_jumps_in_slope_at_its_kinks_only(name):
    f, h = ACTIVATIONS[name], 1e-7
    kinks = np.array([z for z in (-1.0, 0.0, 1.0) if z in f.kinks])
    assert len(kinks) == len(f.kinks)
    for z in np.array([-1.0, 0.0, 1.0]):
        left, at, right = f.f(np.array([z - h, z, z + h]))
        jump = abs((right - at) / h - (at - left) / h)
        assert (jump > 0.9) == (z in f.kinks)


def test_at_the_kink_the_left_slope_is_taken():
    z = np.zeros(1)
    slopes = {name: ACTIVATIONS[name].df(z, ACTIVATIONS[name].f(z))[0] for name in NAMES}
    assert (slopes["relu"], slopes["leaky_relu"], slopes["elu"]) == (0, 0.01, 1)


def test_softmax_is_a_distribution_by_rows():
    z = np.array([[[1.0, 2, 4], [0, 0, 0]], [[-1e4, 0, 1e4], [1e4, 1e4, 1e4]]])
    with np.errstate(all="raise", under="ignore"):
        a = softmax(z)
    e = [math.exp(v) for v in (1, 2, 4)]
    np.testing.assert_allclose(a[0, 0], np.array(e) / sum(e), rtol=1e-15)
    np.testing.assert_allclose(a[0, 1], [1 / 3] * 3, rtol=1e-15)
    np.testing.assert_array_equal(a[1, 0], [0, 0, 1])
    np.testing.assert_allclose(a[1, 1], [1 / 3] * 3, rtol=1e-15)


def test_log_softmax_is_the_logarithm_of_softmax_and_stays_finite():
    z = np.array([[1.0, 2, 4], [-2, 0.5, 0.25]])
    np.testing.assert_allclose(log_softmax(z), np.log(softmax(z)), rtol=1e-14)
    far = log_softmax(np.array([[-1e4, 0.0, 1e4]]))
    np.testing.assert_array_equal(far, [[-2e4, -1e4, 0]])
    stacked = np.stack([z, z + 3])
    np.testing.assert_allclose(log_softmax(stacked), np.log(softmax(stacked)), rtol=1e-13)


def test_softmax_goes_back_through_its_whole_jacobian():
    f, rng = ACTIVATIONS["softmax"], np.random.default_rng(3)
    z, g = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    a = f.f(z)
    got = f.backward(g, z, a)
    for row in range(5):
        jacobian = np.diag(a[row]) - np.outer(a[row], a[row])  # ∂a_i/∂z_j = a_i (1[i=j] - a_j)
        np.testing.assert_allclose(got[row], jacobian.T @ g[row], rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(f.df(z, a)[row], np.diag(jacobian), rtol=1e-14)
        for j in range(4):
            step = z[row] + 1e-30j * np.eye(4)[j]
            np.testing.assert_allclose(softmax(step).imag / 1e-30, jacobian[:, j], rtol=1e-13)


@pytest.mark.parametrize("dtype", [*DTYPES, "complex128"])
@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_shape_and_dtype_are_kept_and_nothing_is_written_to(name, dtype):
    f = ACTIVATIONS[name]
    z = np.linspace(-3, 4, 24).reshape(2, 3, 4).astype(dtype)
    g = (z * 0.5 + 1).astype(dtype)
    before = z.tobytes(), g.tobytes()
    a = f.f(z)
    kept = a.tobytes()
    for out in (a, f.df(z, a), f.backward(g, z, a)):
        assert (out.shape, out.dtype) == (z.shape, z.dtype)
        assert not np.shares_memory(out, z)
        assert not np.shares_memory(out, g)
    assert (z.tobytes(), g.tobytes(), a.tobytes()) == (*before, kept)


@pytest.mark.parametrize("name", NAMES)
def test_backward_is_g_times_df(name):
    f, g = ACTIVATIONS[name], np.linspace(-2, 1, len(SMOOTH))
    a = f.f(SMOOTH)
    np.testing.assert_array_equal(f.backward(g, SMOOTH, a), g * f.df(SMOOTH, a))


def test_what_the_table_says_of_each():
    inf = math.inf
    ranges = {"sigmoid": (0, 1), "tanh": (-1, 1), "elu": (-1, inf), "softmax": (0, 1)}
    ranges |= dict.fromkeys(("relu", "softplus", "exp"), (0, inf))
    for name, left in {"silu": -1.3, "gelu": -0.8}.items():
        ranges[name] = (ACTIVATIONS[name].f(np.linspace(left, left + 0.1, 10_001)).min(), inf)
    he = {"relu", "leaky_relu", "elu", "softplus", "silu", "gelu"}
    for name, f in ACTIVATIONS.items():
        assert f.range == pytest.approx(ranges.get(name, (-inf, inf)), rel=1e-8)
        assert f.attained == (name in ("relu", "silu", "gelu"))
        assert f.initializer == ("he_uniform" if name in he else "xavier_uniform")
        assert f.kinks == ((0.0,) if name in ("relu", "leaky_relu") else ())
        assert f.rows_sum_to_one == (name == "softmax")
        assert (f.vjp is not None) == (name == "softmax")
        assert f.analytic


@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_outputs_lie_in_the_stated_range(name):
    f = ACTIVATIONS[name]
    a = f.f(POINTS[:, None] + np.array([0.0, 1.0]))
    low, high = f.range
    assert np.all((a >= low) & (a <= high))  # rounding may reach the open ends


def test_exp_stops_growing_where_a_square_would_overflow():
    for dtype, cap in ("float64", 338), ("float32", 28):
        assert int(largest_exponent(dtype)) == cap
        assert largest_exponent(dtype) == pytest.approx(math.log(float(np.finfo(dtype).max)) / 2 - 16)
        z = np.array([largest_exponent(dtype), largest_exponent(dtype) + 1, 1e4], dtype)
        f = ACTIVATIONS["exp"]
        a = f.f(z)
        assert a[0] == a[1] == a[2]
        assert np.isfinite(a * a * 1e12).all()
        np.testing.assert_array_equal(f.df(z, a), [a[0], 0, 0])


def test_an_activation_of_the_table_survives_copy_and_pickle_as_itself():
    for f in ACTIVATIONS.values():
        for twin in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
            assert twin is f


def cube(z):
    return z * z * z


def cube_prime(z, a):
    return 3 * z * z


def test_an_activation_of_ones_own():
    own = Activation("sigmoid", f=cube, df=cube_prime)  # a known name makes it no other one
    assert get_activation(own) is own
    assert (own.vjp, own.kinks, own.analytic) == (None, (), False)
    assert (own.range, own.rows_sum_to_one) == ((-math.inf, math.inf), False)
    assert own.initializer == "xavier_uniform"
    for twin in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert twin == own
        assert twin is not ACTIVATIONS["sigmoid"]
    with pytest.raises(AttributeError):
        own.name = "other"


def test_a_vjp_of_ones_own_is_used():
    own = Activation("own", f=cube, df=cube_prime, vjp=lambda g, z, a: g + 10 * z + 100 * a)
    g, z, a = np.array([1.0]), np.array([2.0]), np.array([3.0])
    assert own.backward(g, z, a) == 321


def test_an_unknown_activation_is_answered_with_the_known_ones():
    assert get_activation("gelu") is ACTIVATIONS["gelu"]
    known = ", ".join([*NAMES, "softmax"])
    with complains(
        ValueError, f"unknown activation 'tahn': the known ones are {known}; did you mean 'tanh'?"
    ):
        get_activation("tahn")
    for other, name in {
        "linear": "identity", "logistic": "sigmoid", "swish": "silu", "Sigmoid": "sigmoid",
        "LeakyReLU": "leaky_relu",
    }.items():  # fmt: skip
        assert get_activation(other) is ACTIVATIONS[name]
    with complains(ValueError, "…; did you mean 'softmax'?"):
        get_activation("log-softmax")
    for wrong in (3, None, np.tanh):
        with complains(TypeError, f"an activation is a name or an Activation object, not {wrong}"):
            get_activation(wrong)
