"""The gradient check of any function."""

import math
from collections import namedtuple

import numpy as np
import pytest

from bpnet.gradcheck import check_function
from tests.helpers.complaint import complains

X = np.array([0.3, -1.2, 2.0, 0.7])


def cubes(x):
    return np.sum(x * x * x)


def d_cubes(x):
    return 3 * x * x


def refuses_complex(x):
    if np.iscomplexobj(x):
        raise RuntimeError("none here")
    return cubes(x)


def small_net(p):
    a = np.tanh(p["W"][0] @ np.array([0.3, -0.8, 0.5]) + p["b"])
    return np.sum(p["W"][1] @ a * np.array([1.0, -2.0]))


def d_small_net(p):
    x, delta = np.array([0.3, -0.8, 0.5]), np.array([1.0, -2.0])
    a = np.tanh(p["W"][0] @ x + p["b"])
    hidden = p["W"][1].T @ delta * (1 - a * a)
    return {"b": hidden, "W": [np.outer(hidden, x), np.outer(delta, a)]}


def weights():
    rng = np.random.default_rng(0)
    W = [rng.normal(size=(2, 3)), rng.normal(size=(2, 2))]
    return {"W": W, "b": rng.normal(size=2)}


class TestNames:
    def test_of_a_vector(self):
        wrong = d_cubes(X)
        wrong[2] *= 1 + 1e-6
        report = check_function(cubes, wrong, X)
        assert (report.method, report.worst.name) == ("complex", "[2]")
        assert report.cause == "one coordinate only: [2]"
        assert [row.name for row in report.table] == ["all"]
        wrong[2] = np.nan
        report = check_function(cubes, lambda x: wrong, X)
        assert report.worst.name == "[2]"
        assert report.cause == "the gradient is not finite: [2] is nan"
        at = X.reshape(2, 2)
        assert check_function(cubes, d_cubes(at) * [[1, 1], [0, 1]], at).worst.name == "[1, 0]"

    def test_of_nested_lists_and_dicts(self):
        p = weights()
        assert check_function(small_net, d_small_net, p).ok
        wrong = d_small_net(p)
        wrong["W"][0][1, 2] *= 1 + 1e-6
        report = check_function(small_net, wrong, p)
        assert report.worst.name == "['W'][0][1, 2]"
        assert [row.name for row in report.table] == ["['W'][0]", "['W'][1]", "['b']"]
        assert [row.wrong for row in report.table] == [1, 0, 0]

    def test_of_numbers(self):
        assert check_function(math.sin, math.cos, 1.2).worst.name == "at"
        report = check_function(lambda p: p[0] * p[1] ** 2, [9.0, 5.0], [2.0, 3.0])
        assert report.worst.name == "[1]"
        assert report.worst.numeric == pytest.approx(12, rel=1e-12)
        right = check_function(lambda p: p[0] * p[1], lambda p: np.array(p[::-1]), [2.0, 3.0])
        assert right.ok  # a list may be answered by an array
        small = check_function(
            lambda x: math.log(x[0]) + x[1] ** 2 + math.sqrt(x[2]),  # each has a step of its own
            lambda x: [1 / x[0], 2 * x[1], 0.5 / math.sqrt(x[2])],
            [1e-3, 300.0, 1e-5],
        )
        assert small.ok

    def test_of_a_namedtuple(self):
        Line = namedtuple("Line", "slope offset")
        line = Line(np.array([1.5, 2.5]), np.array(0.5))

        def f(line):
            return np.sum(line.slope * line.slope) * line.offset

        def df(line):
            return Line(2 * line.slope * line.offset, np.sum(line.slope * line.slope))

        assert check_function(f, df, line).ok
        wrong = check_function(f, Line(df(line).slope, 1.0), line)
        assert wrong.worst.name == "[1]"


class TestMethods:
    @pytest.mark.parametrize("method", ["auto", "complex", "central"])
    def test_each_measures_the_derivative(self, method):
        kinds = set()

        def watched(x):
            kinds.add(x.dtype.kind)
            return cubes(x)

        report = check_function(watched, d_cubes, X, method=method)
        taken = "complex" if method == "auto" else method
        assert (report.method, report.why, report.ok) == (taken, "", True)
        assert kinds == ({"f"} if method == "central" else {"f", "c"})
        np.testing.assert_allclose(report.numeric, 3 * X * X, rtol=1e-9)

    @pytest.mark.parametrize(
        ("f", "df", "why"),
        [
            (lambda x: float(cubes(x)), d_cubes, "it refuses complex numbers, "),
            (lambda x: sum(map(math.sin, x)), np.cos, "it refuses complex numbers, "),
            (refuses_complex, d_cubes, "it refuses complex numbers, RuntimeError: none here"),
            (lambda x: np.sum(np.abs(x)), np.sign, "of complex numbers it returns a real one"),
            (lambda x: cubes(x) + 0.01 * np.linalg.norm(x) ** 2, lambda x: 3 * x * x + 0.02 * x,
             "the complex step disagrees with differences"),
        ],
    )  # fmt: skip
    def test_auto_leaves_the_complex_step_where_it_does_not_hold(self, f, df, why):
        report = check_function(f, df, X)
        assert (report.ok, report.method) == (True, "central")
        assert report.why.startswith(why)
        assert f"  method    central differences ({report.why})\n" in str(report)
        message = f"the complex step cannot be taken: {report.why}; take method='central'"
        with complains(ValueError, message):
            check_function(f, df, X, method="complex")

    def test_a_penalty_that_both_forget_is_found(self):
        # The complex step of a norm is 0, as is the derivative that was forgotten.
        report = check_function(lambda x: cubes(x) + 0.01 * np.linalg.norm(x) ** 2, d_cubes, X)
        assert report.failures == 4

    def test_a_failure_by_the_complex_step_is_measured_again(self):
        # In a random direction the part that is not analytic is too small to be seen.
        def f(x):
            return 1e7 * np.sum(x[1:] * x[1:]) + np.abs(x[0])

        def df(x):
            return np.concatenate([np.sign(x[:1]), 2e7 * x[1:]])

        report = check_function(f, df, X)
        assert report.ok
        assert report.why == "the complex step is not the slope at [0]"
        message = f"the complex step cannot be taken: {report.why}; take method='central'"
        with complains(ValueError, message):
            check_function(f, df, X, method="complex")

    def test_kinks_are_named(self):
        at = np.array([1.0, 0.0, -2.0])
        report = check_function(lambda x: np.sum(np.maximum(x, 0)), lambda x: 1.0 * (x > 0), at)
        assert (report.ok, report.why) == (True, "the slope jumps here")
        assert report.kink_names == ("[1]",)
        wrong = check_function(lambda x: np.sum(np.maximum(x, 0)), np.zeros(3), at)
        assert wrong.worst.name == "[0]"
        assert wrong.failures == 1

    def test_it_fails_where_there_is_one_side_only(self):
        with complains(
            ValueError,
            "the function is not finite on both sides of [0], however close: a derivative can be "
            "measured only where it is",
        ):
            check_function(lambda x: math.sqrt(x[0]) + x[1], lambda x: [0.0, 1.0], [0.0, 1.0])


class TestPrecision:
    @pytest.mark.parametrize("seed", range(5))
    def test_at_a_minimum_only_rounding_is_left(self, seed):
        rng = np.random.default_rng(seed)
        A, b = rng.normal(size=(20, 4)), rng.normal(size=20)
        x = np.linalg.lstsq(A, b, rcond=None)[0]

        def f(x):
            r = A @ x - b
            return np.sum(r * r) / 2

        for method in ("complex", "central"):
            check_function(f, lambda x: A.T @ (A @ x - b), x, method=method).raise_if_failed()
        assert not check_function(f, lambda x: A.T @ (A @ x - b) + 1e-6, x).ok

    def test_what_is_in_float32_is_held_to_float32(self):
        def f(x):
            return float(cubes(x.astype(np.float32)))

        report = check_function(f, d_cubes, X, method="central")
        assert (report.ok, report.tolerance) == (True, pytest.approx(1.2e-3, rel=0.01))
        assert not check_function(f, lambda x: d_cubes(x) * 1.01, X, method="central").ok
        x = X.astype(np.float32)
        report = check_function(cubes, d_cubes, x)
        assert report.ok
        assert report.tolerance == pytest.approx(1.2e-5, rel=0.01)
        assert not check_function(cubes, d_cubes(x) * np.float32(1.001), x).ok
        report = check_function(lambda x: 1e300 * cubes(x), lambda x: 1e300 * d_cubes(x), X)
        assert (report.ok, report.why) == (True, "")  # large values are none

    def test_one_that_takes_complex_numbers_in_single_precision_too(self):
        def f(x):
            return np.sum(x.astype("complex64" if np.iscomplexobj(x) else "float32") ** 3)

        report = check_function(f, d_cubes, X)
        assert (report.ok, report.method, report.why) == (True, "complex", "it computes in float32")
        assert "  method    complex step (it computes in float32)\n" in str(report)
        assert report.tolerance == pytest.approx(1.2e-5, rel=0.01)
        assert not check_function(f, lambda x: d_cubes(x) * 1.0001, X)
        report = check_function(lambda x: float(f(x)), d_cubes, X)
        assert report.ok
        assert report.why.endswith("; it computes in float32")

    def test_jax_in_single_precision(self):
        jax = pytest.importorskip("jax")

        def f(x):
            return jax.numpy.sum(jax.numpy.tanh(x) * x)

        report = check_function(f, jax.grad(f), X)
        assert (report.ok, report.why) == (True, "it computes in float32")
        assert not check_function(f, lambda x: jax.grad(f)(x) * 1.001, X)

    def test_torch_with_gradients_attached(self):
        torch = pytest.importorskip("torch")

        def f(x):
            t = torch.tensor(x, requires_grad=True)
            return (torch.tanh(t) * t).sum(), t

        def df(x):
            E, t = f(x)
            return torch.autograd.grad(E, t, create_graph=True)[0]

        assert check_function(lambda x: f(x)[0], df, X)
        assert not check_function(lambda x: f(x)[0], lambda x: 2 * df(x), X)

    def test_samples(self):
        x = np.random.default_rng(0).normal(size=1000)
        calls = []

        def f(x):
            calls.append(1)
            return cubes(x)

        report = check_function(f, d_cubes, x, coordinates=20, rng=3)
        assert (report.ok, len(report.k)) == (True, 20)
        assert len(calls) < 200
        assert report.sampling.startswith("20 of 1,000 coordinates: if one were wrong it would")
        seed_0, same, other = (
            check_function(cubes, d_cubes, x, coordinates=20, **rng).k.tolist()
            for rng in ({}, {"rng": 0}, {"rng": 3})
        )
        assert seed_0 == same != other == report.k.tolist()

    def test_options_are_checked_first(self):
        with complains(ValueError, "unknown method 'foo': …"):
            check_function(cubes, d_cubes, X, method="foo")
        with complains(ValueError, "coordinates must be from 1 to 4, as many as …, not 5"):
            check_function(cubes, d_cubes, X, coordinates=5)
        with complains(ValueError, "tolerance must be > 0 and < 1, not -1"):
            check_function(cubes, d_cubes, X, tolerance=-1)


class TestPurity:
    def test_the_point_stays_and_who_changes_it_fails(self):
        def df(x):
            right = d_cubes(x)
            x *= 2
            return right

        def f(x):
            x[0] *= 1.0 + 1e-15
            return cubes(x)

        for function, derivative, who in ((cubes, df, "gradient"), (f, d_cubes, "function")):
            x = X.copy()
            report = check_function(function, derivative, x)
            assert (report.ok, report.failures) == (False, 0)
            assert report.cause == f"an input is changed: at (by the {who})"
            np.testing.assert_array_equal(x, X)

    def test_also_in_a_structure_and_where_a_part_is_dropped(self):
        def drops(p):
            grad = d_small_net(p)
            p["W"].pop()
            return grad

        p = weights()
        before = [a.tobytes() for a in (*p["W"], p["b"])]
        assert check_function(small_net, d_small_net, p).ok
        assert not check_function(small_net, drops, p).ok
        assert [a.tobytes() for a in (*p["W"], p["b"])] == before


NOTHING = (
    "by which nothing can be differentiated: at must be a float, an array of floats, or a list, "
    "tuple or dict of these; leave out what is no parameter"
)


class TestBadInput:
    @pytest.mark.parametrize(
        ("at", "error", "message"),
        [
            (np.arange(3), TypeError, f"at holds int64, {NOTHING}"),
            ({"a": X, "steps": 3}, TypeError, f"at['steps'] is 3, {NOTHING}"),
            ([X, "text"], TypeError, f"at[1] is 'text', {NOTHING}"),
            ([X, (None,)], TypeError, f"at[1][0] is None, {NOTHING}"),
            (1j, TypeError, f"at is 1j, {NOTHING}"),
            (X + 0j, TypeError, f"at holds complex128, {NOTHING}"),
            (np.array([None]), TypeError, f"at holds object, {NOTHING}"),
            ([], ValueError, "at holds no numbers: there is nothing to differentiate"),
            ([np.zeros(0)], ValueError, "at holds no numbers: there is nothing to differentiate"),
            ({"a": np.array([1.0, np.nan])}, ValueError,
             "at['a'] must be finite, but holds NaN or infinity"),
        ],
    )  # fmt: skip
    def test_a_point_by_which_nothing_can_be_differentiated(self, at, error, message):
        with complains(error, message):
            check_function(lambda p: 0.0, lambda p: p, at)

    @pytest.mark.parametrize(
        ("f", "error", "message"),
        [
            (lambda x: x, ValueError, "the function must return one number, but returned shape "
             "(4,): sum it, or take its mean"),
            (lambda x: cubes(x)[None], ValueError,
             "the function must return one number, but returned shape (1,): take its .item()"),
            (lambda x: None, TypeError, "…, but returned None: is a return missing?"),
            (lambda x: "text", TypeError, "the function must return a number, but returned 'text'"),
            (lambda x: 1j * cubes(x), TypeError,
             "the function must return a real number, but returned …"),
            (lambda x: math.nan, ValueError,
             "the function is nan at this point: check where it is finite"),
            (lambda x: math.inf, ValueError, "the function is inf at this point: …"),
        ],
    )  # fmt: skip
    def test_a_function_that_returns_no_number(self, f, error, message):
        with complains(error, message):
            check_function(f, d_cubes, X)

    def test_a_random_function(self):
        rng = np.random.default_rng(0)
        with complains(
            ValueError,
            "the function is random: called twice with the same input it returned … and …; hold "
            "its random numbers",
        ):
            check_function(lambda x: cubes(x) * rng.random(), d_cubes, X)

    @pytest.mark.parametrize(
        ("gradient", "error", "message"),
        [
            ({"W": [np.zeros((2, 3)), np.zeros((2, 2))]}, ValueError,
             "gradient has the keys 'W', but at has 'W', 'b'"),
            ({}, ValueError, "gradient has the keys none, but at has 'W', 'b'"),
            ([np.zeros((2, 3))], TypeError, "gradient must be a dict, as at is, not list"),
            ({"W": [np.zeros((2, 3))], "b": np.zeros(2)}, ValueError,
             "gradient['W'] has 1 items, but at['W'] has 2"),
            ({"W": 3.0, "b": np.zeros(2)}, TypeError,
             "gradient['W'] must be a list, as at['W'] is, not float"),
            ({"W": [np.zeros((3, 2)), np.zeros((2, 2))], "b": np.zeros(2)}, ValueError,
             "gradient['W'][0] has shape (3, 2), but at['W'][0] has (2, 3): it looks transposed"),
            ({"W": [np.zeros((2, 3)), np.zeros((2, 2))], "b": np.zeros((1, 2))}, ValueError,
             "gradient['b'] has shape (1, 2), but at['b'] has (2,): sum without keepdims=True"),
            ({"W": [np.zeros((2, 3)), np.zeros((2, 2))], "b": ["x", "y"]}, TypeError,
             "gradient['b'] must hold real numbers, but holds text"),
            ({"W": [np.zeros((2, 3)), np.zeros((2, 2))], "b": None}, TypeError,
             "gradient['b'] is None: is a return missing?"),
        ],
    )  # fmt: skip
    def test_a_gradient_of_another_structure(self, gradient, error, message):
        with complains(error, message):
            check_function(small_net, gradient, weights())
        with complains(error, message):
            check_function(small_net, lambda p: gradient, weights())
