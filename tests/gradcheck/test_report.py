"""What a gradient check takes and what it hands back: samples, copies, forms, words, errors."""

import copy
import math
import pickle

import numpy as np
import pytest

from bpnet import MLP
from bpnet.errors import GradientCheckFailed
from bpnet.gradcheck import check_gradient
from bpnet.gradcheck.report import GradientReport
from bpnet.gradcheck.structure import Block, Layout
from tests.helpers.complaint import complains
from tests.helpers.nets import gradient, plain

METHODS = ("complex", "central")


class TestSampling:
    def test_names_come_from_the_sample(self):
        net, x, y = plain()
        report = check_gradient(net, x, y, coordinates=10, rng=4)
        assert report.ok
        assert len(report.k) == len(set(report.k)) == 10
        again = check_gradient(net, x, y, coordinates=10, rng=np.random.default_rng(4))
        np.testing.assert_array_equal(report.k, again.k)
        other = check_gradient(net, x, y, coordinates=10, rng=5)
        assert not np.array_equal(report.k, other.k)
        assert sum(row.checked for row in report.table) == 10

    def test_the_chance_of_missing_an_error(self):
        net, x, y = plain()
        P, n = net.theta.size, 10
        report = check_gradient(net, x, y, coordinates=n)
        for wrong in range(P + 1):
            exact = math.comb(P - wrong, n) / math.comb(P, n)
            assert report.escape_probability(wrong) == pytest.approx(exact, rel=1e-12)
        few = next(K for K in range(P) if math.comb(P - K, n) / math.comb(P, n) <= 0.05)
        text = (
            f"10 of {P} coordinates: if one were wrong it would have escaped with probability "
            f"{1 - n / P:.1%}, {few} wrong ones ({few / P:.2%} of all) with probability 5%"
        )
        assert report.sampling == text
        assert f"  sample    {text}\n" in str(report)

    def test_all_coordinates_leave_nothing_to_state(self):
        net, x, y = plain()
        assert net.theta.size == 54
        for coordinates in (None, 54):
            report = check_gradient(net, x, y, coordinates=coordinates)
            assert report.sampling is None
            assert "sample" not in str(report)
            assert [report.escape_probability(wrong) for wrong in (0, 1)] == [1, 0]
        for wrong in (-1, 55):
            message = f"wrong must be from 0 to 54, the number of coordinates, not {wrong}"
            with complains(ValueError, message):
                report.escape_probability(wrong)


class TestPurity:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_net_x_and_y_stay_bit_for_bit(self, method, dtype):
        net, x, y = plain(dtype=dtype)
        before = net.theta.tobytes(), x.tobytes(), y.tobytes()
        check_gradient(net, x, y, method=method)
        assert (net.theta.tobytes(), x.tobytes(), y.tobytes()) == before

        def raises(net, x, y):
            net.theta[...] = x[...] = y[...] = 0
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            check_gradient(net, x, y, gradient=raises, method=method)
        assert (net.theta.tobytes(), x.tobytes(), y.tobytes()) == before

    def test_read_only_lists_and_other_orders_are_fine(self):
        net, x, y = plain()
        expected = check_gradient(net, x, y).numeric
        x.flags.writeable = y.flags.writeable = False
        for these in ((x, y), (x.tolist(), y.tolist()), (np.asfortranarray(x), y[::1])):
            np.testing.assert_array_equal(check_gradient(net, *these).numeric, expected)
        check_gradient(net, x[0], y[0]).raise_if_failed()

    @pytest.mark.parametrize("name", ["net.theta", "x", "y"])
    def test_a_right_gradient_that_changes_its_input_fails(self, name):
        def changes(net, x, y):
            right = gradient(net, x, y)
            {"net.theta": net.theta, "x": x, "y": y}[name][0] += 1e-9
            return right

        net, x, y = plain()
        before = net.theta.tobytes(), x.tobytes(), y.tobytes()
        report = check_gradient(net, x, y, gradient=changes)
        assert (report.failures, report.ok) == (0, False)
        assert report.cause == f"an input is changed: {name} (by the gradient)"
        assert "FAILED: 54 coordinates right, but an input was changed" in str(report)
        assert (net.theta.tobytes(), x.tobytes(), y.tobytes()) == before
        with pytest.raises(GradientCheckFailed, match="an input is changed"):
            report.raise_if_failed()


class TestForms:
    """In which a gradient of one's own may come."""

    @pytest.mark.parametrize(
        "form",
        [
            lambda grad: grad,
            lambda grad: grad.theta,
            lambda grad: grad.theta.tolist(),
            lambda grad: (list(grad.W.values()), list(grad.b.values())),
            lambda grad: (dict(grad.W), dict(grad.b)),
        ],
    )
    def test_each(self, form):
        net, x, y = plain()
        grad = form(net.backward(net.forward(x), y))
        assert check_gradient(net, x, y, gradient=grad).ok
        assert check_gradient(net, x, y, gradient=lambda net, x, y: grad).ok

    def test_the_function_gets_rows_in_the_nets_precision(self):
        def mine(net, x, y):
            assert (x.shape, y.shape) == ((1, 3), (1, 2))
            assert x.dtype == y.dtype == net.dtype == np.float32
            return gradient(net, x, y)

        net, x, y = plain(dtype="float32")
        assert check_gradient(net, x[0], y[0], gradient=mine).ok

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            (np.zeros(53), ValueError, "gradient has shape (53,), but must have θ's, (54,), or be "
             "an object that has it as theta, or a tuple (W, b) of lists of arrays"),
            (np.zeros((54, 1)), ValueError, "gradient has shape (54, 1), but must have θ's…"),
            (None, TypeError, "gradient is None: is a return missing?"),
            ("0" * 54, TypeError, "gradient must hold real numbers, but holds text"),
            (np.zeros(54, complex), TypeError,
             "gradient must hold real numbers, but holds complex numbers"),
            (([np.zeros((5, 3))], [np.zeros(5)]), ValueError,
             "the gradient's W has 1 arrays, but the net has 3 layers with weights, 2..4"),
            (([np.zeros((5, 3)), np.zeros((5, 4)), np.zeros((2, 4))], [np.zeros(5)] * 3),
             ValueError,
             "the gradient's W[3] has shape (5, 4), but W[3] has (4, 5): it looks transposed"),
            (([np.zeros((5, 3)), np.zeros((4, 5)), np.zeros((2, 4))], [np.zeros((1, 5))] * 3),
             ValueError,
             "the gradient's b[2] has shape (1, 5), but b[2] has (5,): sum without keepdims=…"),
            (([["a"]] * 3, [np.zeros(5)] * 3), TypeError,
             "the gradient's W[2] must hold real numbers, but holds text"),
            (({3: np.zeros((5, 3))}, {}), ValueError,
             "the gradient's W is keyed by [3], but the layers are 2, 3, ..., L"),
        ],
    )  # fmt: skip
    def test_another_shape_or_structure(self, wrong, error, message):
        net, x, y = plain()
        with complains(error, message):
            check_gradient(net, x, y, gradient=lambda net, x, y: wrong)

    def test_one_that_is_random_or_adds_up(self):
        rng, total = np.random.default_rng(0), np.zeros(54)

        def noisy(net, x, y):
            return gradient(net, x, y) * rng.random()

        def adds(net, x, y):
            total[...] += gradient(net, x, y)
            return total

        for mine, message in (
            (noisy, "the gradient is random: called twice with the same input it returned different"
             " numbers; hold its random numbers, and let it keep nothing between calls"),
            (adds, "the gradient is twice as large when called again: it adds to the result of the "
             "call before, which must be set to zero first"),
        ):  # fmt: skip
            with complains(ValueError, message):
                check_gradient(*plain(), gradient=mine)


class TestReport:
    def test_failed(self):
        net, x, y = plain((2, 3, 1), m=2)
        wrong = gradient(net, x, y)
        wrong[[1, 4]] = [-0.7, 1.1 * wrong[4]]
        report = check_gradient(net, x, y, gradient=wrong)
        assert not report
        assert not report.ok
        assert check_gradient(net, x, y)
        assert report.failures == 2
        assert str(report).startswith("gradient check FAILED: 2 of 13 coordinates wrong\n")
        assert f"\n  worst     {report.worst}\n" in str(report)
        assert str(report.worst).startswith("W[2][0, 1]: analytic -0.7, numeric ")
        assert "no known pattern" not in str(report)
        row = report.table[0]
        assert (row.name, row.checked, row.wrong, row.kinks) == ("W[2]", 6, 2, 0)
        assert row.worst == "W[2][0, 1]"
        assert row.max_error == report.max_error == report.worst.error
        with pytest.raises(AssertionError) as caught:
            report.raise_if_failed()
        assert isinstance(caught.value, GradientCheckFailed)
        assert str(caught.value) == str(report)
        assert check_gradient(net, x, y, gradient=wrong + np.arange(13.0)).cause is None

    def test_everything_on_a_kink(self):
        net = MLP.from_weights(W=[[[1.0]]], b=[[0.0]], activation="identity", loss="absolute_error")
        report = check_gradient(net, [2.0], [2.0])
        assert (report.kinks, report.compared, report.max_error) == (2, 0, 0)
        assert report.worst is report.sampling is None
        assert report.table[0].worst == ""
        assert str(report).splitlines()[0] == "gradient check passed: 0 coordinates"

    @staticmethod
    def made(analytic, numeric, rounding=0.0, kink=(), size=None):
        """A report on a vector."""
        analytic, numeric = np.array(analytic, float), np.array(numeric, float)
        n = len(analytic)
        on_kink = np.isin(np.arange(n), kink)
        layout = Layout((Block("", 0, (size or n,)),))
        bounds = np.broadcast_to(np.asarray(rounding, float), (n,))
        return GradientReport(layout, "central", 1e-6, np.arange(n), analytic, numeric, bounds, on_kink)

    def test_the_error_is_relative_to_the_larger_one_or_to_what_rounding_leaves(self):
        report = self.made([1, 0, 2, 3e-9, 0, 0], [1.25, 5, 2, 1e-9, 2e-9, 0], 1e-8)
        np.testing.assert_allclose(report.error, [0.2, 1, 0, 2e-7, 2e-7, 0], rtol=1e-12)
        assert report.wrong.tolist() == [True, True, False, False, False, False]
        assert (report.failures, report.max_error, report.worst.name) == (2, 1, "[1]")
        assert self.made([1.0], [1 - 0.99e-6]).ok  # against the tolerance
        assert not self.made([1.0], [1 - 1.01e-6]).ok
        assert str(self.made([1], [0])).startswith("gradient check FAILED: 1 of 1 coordinate wr")

    def test_of_equal_errors_the_largest_difference_is_the_worst(self):
        report = self.made([2, 20, -30, 4], [1, 10, -15, 2])
        assert (report.worst.name, report.table[0].worst) == ("[2]", "[2]")
        assert self.made([2, 20, 3], [1, 10, 1]).worst.name == "[2]"
        assert self.made([1.0010005, 10.001], [1, 10], 2e-5).worst.name == "[0]"

    def test_what_rounding_blurs(self):
        report = self.made([1, 1, 1e-6, 0, 1, -2], [1, 1, 1e-6, 0, 0, -2], [0.009, 0.011] * 3, [5])
        assert report.blurred.tolist() == [False, True, True, False, False, False]
        text = "  rounding  blurs 2 by 1 % or more: compared to within that\n"
        assert text in str(report)
        assert "rounding" not in str(self.made([1], [1], 0.001))

    @pytest.mark.parametrize(("n", "more"), [(5, "\n"), (7, " and 2 more\n")])
    def test_few_kinks_are_named_and_more_are_counted(self, n, more):
        text = str(self.made([0] * 7, [0] * 7, 0, range(n)))
        assert f"  kinks     {n}, not compared: [0], [1], [2], [3], [4]{more}" in text

    def test_a_sample_on_kinks_compares_the_rest(self):
        report = self.made([0] * 4, [0] * 4, 0, [1], size=10)
        assert report.compared == 3
        assert report.sampling.startswith("3 of 10 coordinates: if one were wrong it would have esca")
        assert report.escape_probability(1) == pytest.approx(0.7)

    def test_copies(self):
        net, x, y = plain()
        report = check_gradient(net, x, y)
        for other in (copy.deepcopy(report), pickle.loads(pickle.dumps(report))):
            assert str(other) == str(report)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"method": "foo"}, ValueError,
             "unknown method 'foo': the known ones are auto, complex, central"),
            ({"method": None}, ValueError, "unknown method None: …"),
            ({"tolerance": 0}, ValueError, "tolerance must be > 0 and < 1, not 0"),
            ({"tolerance": 1}, ValueError, "tolerance must be > 0 and < 1, not 1"),
            ({"tolerance": math.nan}, ValueError, "tolerance must be finite and > 0 and …"),
            ({"tolerance": "1e-6"}, TypeError, "tolerance must be a number, not '1e-6'"),
            ({"coordinates": 0}, ValueError, "coordinates must be an integer >= 1, not 0"),
            ({"coordinates": 55}, ValueError,
             "coordinates must be from 1 to 54, as many as there are, not 55"),
            ({"coordinates": 2.5}, TypeError, "coordinates must be an integer, not 2.5"),
            ({"rng": None}, TypeError, "rng must be a seed…, not None"),
            ({"mask": {9: np.ones((6, 5))}}, ValueError, "mask[9] is for no layer: …"),
            ({"sample_weight": [1.0]}, ValueError, "sample_weight has shape (1,), but …"),
        ],
    )  # fmt: skip
    def test_options(self, options, error, message):
        net, x, y = plain()
        with complains(error, message):
            check_gradient(net, x, y, **options)

    @pytest.mark.parametrize(
        ("net", "error", "message"),
        [
            (3, TypeError, "net must be an MLP, not 3; for other functions: check_function"),
            *((plain().net.astype(dtype), ValueError,
               f"check a net of real weights, not MLP(…, {dtype}): …")
              for dtype in ("complex128", "complex64")),
            (MLP.from_weights([[[1e200] * 3, [0] * 3]], [[0.0] * 2], activation="identity"),
             ValueError, "the loss is inf, which has no derivative: check the weights and x"),
        ],
    )  # fmt: skip
    def test_nets(self, net, error, message):
        _, x, y = plain()
        with complains(error, message):
            check_gradient(net, x, y)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (np.zeros((6, 4)), np.zeros((6, 2)), "x has shape (6, 4), but …"),
            (np.zeros((6, 3)), np.zeros((6, 1)), "y has shape (6, 1), but …"),
            (np.zeros((6, 3)), np.zeros((5, 2)), "x has 6 rows, but y has 5: …"),
            (np.full((6, 3), np.nan), np.zeros((6, 2)), "x must be finite, but …"),
        ],
    )
    def test_a_batch_that_does_not_fit(self, x, y, message):
        net, _, _ = plain()
        with complains(ValueError, message):
            check_gradient(net, x, y)
