"""The gradient check of networks: it passes what is right and finds what is wrong."""

import math

import numpy as np
import pytest

from bpnet import LOSSES, MLP, Activation, Loss
from bpnet.gradcheck import check_gradient
from tests.helpers.complaint import complains
from tests.helpers.nets import PAIRS, generated, gradient, plain

METHODS = ("complex", "central")


class TestRightNets:
    @pytest.mark.parametrize("method", ["auto", "central"])
    @pytest.mark.parametrize("part", range(4))
    def test_none_fails_in_2000_generated_cases(self, method, part):
        count = 500 if method == "auto" else 200
        blurred = kinks = total = 0
        for seed in range(count * part, count * (part + 1)):
            net, x, y, options = generated(seed)
            report = check_gradient(net, x, y, method=method, **options)
            assert report.ok, f"seed {seed}, {net}\n{report}"
            blurred += int(report.blurred.sum())
            kinks += report.kinks
            total += len(report.k)
        # What passes must have been compared.
        assert blurred < 0.1 * total
        assert kinks < 0.02 * total

    @pytest.mark.parametrize("scale", [2.5, 10.0])
    def test_saturated_nets_pass(self, scale):
        for seed in range(150):
            net, x, y, options = generated(seed)
            if any(f.name == "exp" for f in net.activation.values()):
                continue  # e^z of such z is beyond what exp tells apart
            net.theta *= scale
            report = check_gradient(net, x, y, **options)
            assert report.ok, f"seed {seed}, {net}\n{report}"

    @pytest.mark.parametrize("method", METHODS)
    def test_a_sigmoid_at_its_end_passes(self, method):
        # a (1 - a) has no correct digit left at z = 36, and is 0 at z = 40, where the slope is not.
        for z in (20.0, 30.0, 36.0, 40.0, 300.0, -36.0, -300.0):
            net = MLP.from_weights(W=[[[z], [1.0]], [[1.0, 2.0]]], b=[[0.0, 0.1], [0.2]])
            check_gradient(net, [1.0], [0.3], method=method).raise_if_failed()

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize(("output", "loss"), PAIRS)
    def test_a_perfect_prediction_passes(self, dtype, output, loss):
        rng = np.random.default_rng(3)
        layers = ("tanh", output)
        net = MLP.init((3, 4, 3), activation=layers, loss=loss, rng=rng, dtype=dtype)
        x = rng.normal(size=(4, 3))
        y = net.predict(x)
        if LOSSES[loss].target_range[0] == 0:
            y = np.maximum(y, 0)
        check_gradient(net, x, y).raise_if_failed()


class TestMethods:
    def test_both_measure_the_derivative(self):
        net, x, y = plain(activation="tanh", seed=1)
        exact = gradient(net, x, y)
        step = check_gradient(net, x, y, method="complex")
        differences = check_gradient(net, x, y, method="central")
        assert (step.method, differences.method) == METHODS
        np.testing.assert_allclose(step.numeric, exact, rtol=1e-13, atol=1e-17)
        np.testing.assert_allclose(differences.numeric, exact, rtol=1e-9)
        assert step.max_error < 1e-13
        assert differences.max_error < 1e-9

    def test_auto_takes_the_complex_step_where_every_rule_allows_it(self):
        net, x, y = plain()
        report = check_gradient(net, x, y)
        assert (report.method, report.why) == ("complex", "")
        sine = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
        net, x, y = plain(activation=sine)
        report = check_gradient(net, x, y)
        assert (report.ok, report.method) == (True, "central")
        assert report.why == "'sine' does not say analytic=True"
        assert report.why in str(report)
        message = f"the complex step cannot be taken: {report.why}; take method='central'"
        with complains(ValueError, message):
            check_gradient(net, x, y, method="complex")
        quartic = Loss("quartic", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
        report = check_gradient(*plain(loss=quartic))
        assert (report.ok, report.method) == (True, "central")
        assert "'quartic'" in report.why

    def test_auto_leaves_the_complex_step_where_it_overflows(self):
        naive = Activation(  # e^z of a complex z beyond 709 is inf + inf i
            "naive", f=lambda z: 1 - 1 / (1 + np.exp(z)), df=lambda z, a: a * (1 - a), analytic=True
        )
        W, b = [[[800.0], [0.5]], [[1.0, 2.0]]], [[0, 0], [0]]
        net = MLP.from_weights(W, b, activation=naive)
        report = check_gradient(net, [1.0], [0.5])
        assert report.method == "central"
        assert (report.why, report.ok) == ("the complex step is not the slope at W[2][0, 0]", True)

    @pytest.mark.parametrize(
        ("f", "why"),
        [
            (lambda z: np.abs(z) * z, "the complex step is not the slope at "),
            (np.cbrt, "it refuses complex numbers, TypeError: "),
        ],
    )
    def test_auto_does_not_believe_a_rule_that_says_so_wrongly(self, f, why):
        def df(z, a):
            return 2 * np.abs(z) if f is not np.cbrt else 1 / (3 * a * a)

        claims = Activation("claims", f=f, df=df, analytic=True)
        net, x, y = plain(activation=claims)
        report = check_gradient(net, x, y)
        assert (report.ok, report.method) == (True, "central")
        assert report.why.startswith(why)
        message = f"the complex step cannot be taken: {report.why}; take method='central'"
        with complains(ValueError, message):
            check_gradient(net, x, y, method="complex")

    def test_the_tolerance_follows_method_and_precision_or_is_given(self):
        for method, double in (("complex", 1e-9), ("central", 1e-7)):
            for dtype, tolerance in (("float64", double), ("float32", 100 * 2.0**-23)):
                report = check_gradient(*plain(dtype=dtype), method=method)
                assert (report.ok, report.tolerance) == (True, tolerance)
        net, x, y = plain()
        wrong = gradient(net, x, y) * 1.001
        assert not check_gradient(net, x, y, gradient=wrong).ok
        assert not check_gradient(net, x, y, gradient=wrong, tolerance=0.0009).ok
        assert check_gradient(net, x, y, gradient=wrong, tolerance=0.0011).ok

    def test_unscaled_inputs(self):
        # A step that suits weights of 0.01 and inputs of 255 suits no weight of 1.
        net, x, y = plain((6, 4, 2))
        net.W[2][...] /= 255
        for method in METHODS:
            report = check_gradient(net, x * 255, y, method=method)
            assert report.ok
            assert not report.blurred.any()

    def test_sample_weights_and_masks_are_those_of_the_loss(self):
        net, x, y = plain()
        options = {
            "sample_weight": np.arange(1.0, 7.0),
            "mask": {2: (np.arange(30).reshape(6, 5) % 3 > 0) * 1.5},
        }
        assert check_gradient(net, x, y, **options).ok
        assert not check_gradient(net, x, y, gradient=gradient(net, x, y), **options).ok


class TestKinksOfALoss:
    """Anywhere, not in a - y: here where 1 - y a is 0 (hinge)."""

    LOSS = Loss(
        "hinge",
        E=lambda a, y: np.maximum(1 - y * a, 0),
        dE=lambda a, y: np.where(1 - y * a >= 0, -y, 0.0),  # the slope on the other side
        analytic=True,
    )

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("n", [3, 30])
    def test_they_are_counted_and_not_wrong(self, method, n):
        W = [np.linspace(0.2, 1.0, n)[None], [[1.0]]]
        net = MLP.from_weights(W, [[0.0], [0.0]], activation="identity", loss=self.LOSS)
        x = np.full(n, 1.0)
        net.W[3] = 1 / net.predict(x)  # so that a = 1
        assert net.predict(x) == 1
        report = check_gradient(net, x, [1.0], method=method)
        assert (report.ok, report.kinks, report.compared) == (True, n + 3, 0)
        # away from it, what is wrong is so
        assert not check_gradient(net, 0.9 * x, [1.0], gradient=np.zeros(n + 3), method=method)

    @pytest.mark.parametrize("method", METHODS)
    def test_of_one_output_the_other_is_compared(self, method):
        net = MLP.from_weights([[[1.0], [0.5]]], [[0, 0]], activation="identity", loss=self.LOSS)
        report = check_gradient(net, [1.0], [1.0, 1.0], method=method)
        assert report.kink_names == ("W[2][0, 0]", "b[2][0]")
        wrong = net.backward(net.forward([1.0]), [1.0, 1.0])
        wrong.b[2][...] = [np.nan, 7]
        report = check_gradient(net, [1.0], [1.0, 1.0], gradient=wrong, method=method)
        assert report.kink_names == ("W[2][0, 0]",)
        assert report.failures == 2


class TestFinding:
    @pytest.mark.parametrize("method", METHODS)
    def test_one_millionth_in_any_one_weight(self, method):
        net, x, y = plain((3, 4, 2))
        right = gradient(net, x, y)
        for k in range(right.size):
            wrong = right.copy()
            wrong[k] *= 1 + 1e-6
            report = check_gradient(net, x, y, gradient=wrong, method=method)
            name = net.parameters.name(k)
            assert (report.ok, report.failures, report.worst.name) == (False, 1, name)
            assert report.worst.analytic == wrong[k]
            assert report.worst.numeric == pytest.approx(right[k], rel=1e-8)
            assert report.worst.error == pytest.approx(1e-6, rel=0.1)
            assert report.cause == f"one coordinate only: {name}"

    def test_one_millionth_in_generated_nets(self):
        missed = tried = 0
        for seed in range(400):
            net, x, y, _ = generated(seed)
            net = net.astype("float64")
            wrong = gradient(net, x, y)
            large = np.flatnonzero(np.abs(wrong) > 1e-5 * np.abs(wrong).max())
            if not large.size:
                continue
            k = np.random.default_rng(seed).choice(large)
            wrong[k] *= 1 + 1e-6
            report = check_gradient(net, x, y, gradient=wrong)
            if net.parameters.name(int(k)) not in report.kink_names:
                tried += 1
                missed += report.ok
        assert tried > 350
        assert missed <= 0.02 * tried  # there, rounding is larger than that

    def test_one_in_ten_thousand(self):
        net, x, y = plain((100, 90, 10), m=2)
        assert net.theta.size == 10_000
        wrong = gradient(net, x, y)
        k = 9090 + 3 * 90 + 41
        wrong[k] += 1e-6 * np.abs(wrong).max()
        report = check_gradient(net, x, y, gradient=wrong)
        assert report.failures == 1
        assert report.worst.name == "W[3][3, 41]"

    def test_float32_finds_what_its_precision_allows_and_a_0_that_should_be_none(self):
        for dtype, at, change, failures in (("float32", 7, 1.001, 1), ("float64", 3, 0.0, 2)):
            net, x, y = plain(dtype=dtype)
            wrong = gradient(net, x, y)
            wrong[at] *= wrong.dtype.type(change)
            wrong[11] += 1e-3 * (dtype == "float64")
            report = check_gradient(net, x, y, gradient=wrong)
            assert report.failures == failures
            assert report.worst.name == net.parameters.name(at)

    def test_nan_is_wrong_wherever_it_is(self):
        net, x, y = plain()
        wrong = gradient(net, x, y)
        wrong[5] = np.nan
        report = check_gradient(net, x, y, gradient=wrong, coordinates=2)
        assert (report.ok, report.worst.name, report.worst.error) == (False, "W[2][1, 2]", math.inf)
        assert report.cause == "the gradient is not finite: W[2][1, 2] is nan"


class TestKinks:
    @staticmethod
    def at_a_kink(activation="relu"):
        """The first hidden unit of the first sample has z = 0, the others not."""
        return (
            MLP.from_weights(
                W=[[[1.0, -1.0], [0.5, 0.7]], [[1.0, 2.0], [-1.5, 0.4]]],
                b=[[0.0, 0.1], [0.2, -0.3]],
                activation=(activation, "identity"),
            ),
            [[0.5, 0.5], [0.3, -0.2]],
            [[1.0, 0.0], [0.2, 0.1]],
        )

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
    def test_they_are_named_and_counted_and_not_wrong(self, method, activation):
        net, x, y = self.at_a_kink(activation)
        report = check_gradient(net, x, y, method=method)
        assert report.ok
        assert report.kink_names == ("W[2][0, 0]", "W[2][0, 1]", "b[2][0]")
        assert (report.kinks, report.compared) == (3, 9)
        assert "kinks     3, not compared: W[2][0, 0], W[2][0, 1], b[2][0]\n" in str(report)
        assert [row.kinks for row in report.table] == [2, 1, 0, 0]

    @pytest.mark.parametrize("method", METHODS)
    def test_there_either_slope_is_right_but_nan_and_what_is_wrong_elsewhere(self, method):
        net, x, y = self.at_a_kink()
        one_sided = gradient(net, x, y)
        one_sided[[0, 1, 4]] += [0.5, 0.5, 1.0]
        assert check_gradient(net, x, y, gradient=one_sided, method=method).ok
        for k, factor, name in ((2, 1.01, "W[2][1, 0]"), (0, np.nan, "W[2][0, 0]")):
            wrong = gradient(net, x, y)
            wrong[k] *= factor
            report = check_gradient(net, x, y, gradient=wrong, method=method)
            assert not report.ok
            assert report.worst.name == name

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
    def test_beside_a_kink_there_is_a_derivative(self, method, distance):
        net, x, y = self.at_a_kink()
        for net.b[2][0] in (distance, -distance):
            report = check_gradient(net, x, y, method=method)
            assert (report.ok, report.kinks) == (True, 0)

    @pytest.mark.parametrize("method", METHODS)
    def test_of_the_loss(self, method):
        rules = {"activation": "identity", "loss": "absolute_error"}
        net = MLP.from_weights([[[1.0, 2.0], [0.5, -1.0]]], [[0.0, 0.25]], **rules)
        report = check_gradient(net, [1.0, 1.0], [3.0, 0.5], method=method)
        assert report.ok
        assert report.kink_names == ("W[2][0, 0]", "W[2][0, 1]", "b[2][0]")

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("activation", ["elu", "softplus", "gelu", "silu"])
    def test_smooth_functions_have_none(self, method, activation):
        net, x, y = self.at_a_kink(activation)
        report = check_gradient(net, x, y, method=method)
        assert (report.ok, report.kinks) == (True, 0)

    @pytest.mark.parametrize("method", METHODS)
    def test_kinks_upstream_of_a_smooth_layer(self, method):
        # gelu(0 + ih) has a real part of -h², which relu of the next layer must not go by.
        W, b = [[[1.0], [2.0]], [[1.0, 0.5]]], [[0.0, 0.0], [0.0]]
        net = MLP.from_weights(W, b, activation=("gelu", "relu"))
        report = check_gradient(net, [0.0], [1.0], method=method)
        assert report.ok
        assert report.kink_names == ("b[2][0]", "b[2][1]", "b[3][0]")
