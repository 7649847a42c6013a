"""Planted errors: each must fail, and the cause that is named must be the planted one, or none."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from bpnet import LOSSES, MLP, Activation, Loss
from bpnet.gradcheck import check_function, check_gradient
from bpnet.rules.activations import ACTIVATIONS, softmax
from tests.helpers.nets import generated, gradient, plain
from tests.helpers.planted_errors import PLANTED, back, sigmoid


class TestPlanted:
    def test_without_an_error_it_passes(self):
        net, x, y = plain((3, 5, 4, 4, 2))
        report = check_gradient(net, x, y, gradient=back)
        report.raise_if_failed()
        assert report.cause is None

    @pytest.mark.parametrize(
        ("sizes", "net", "options"),
        [((3, 5, 4, 4, 2), {}, {"method": method}) for method in ("complex", "central")]
        + [((4, 3, 4, 4, 2), {"seed": seed}, {}) for seed in range(1, 4)]
        + [((3, 5, 4, 4, 2), {"dtype": "float32"}, {})],
    )
    @pytest.mark.parametrize("name", PLANTED)
    def test_each_fails_and_is_named(self, name, sizes, net, options):
        if "millionth" in name and "dtype" in net:
            return  # below what float32 tells apart
        parts, cause = PLANTED[name]
        report = check_gradient(*plain(sizes, **net), gradient=partial(back, **parts), **options)
        assert not report.ok
        assert report.cause == cause

    def test_from_a_sample(self):
        for name in ("sum for mean", "f' missing", "hidden δ from updated W", "biases left out"):
            parts, cause = PLANTED[name]
            mine = partial(back, **parts)
            report = check_gradient(*plain((3, 5, 4, 4, 2)), gradient=mine, coordinates=45)
            assert report.cause == cause


def other(net, x, y, df, layers):
    """The gradient of a net of tanh with half the squared error, with another f' in some layers."""
    a, z = {1: x}, {}
    for l in range(2, net.L + 1):
        z[l] = a[l - 1] @ net.W[l].T + net.b[l]
        a[l] = np.tanh(z[l])
    dW, db, g = {}, {}, (a[net.L] - y) / len(x)
    for l in range(net.L, 1, -1):
        delta = g * (df(z[l], a[l]) if l in layers else 1 - a[l] ** 2)
        dW[l], db[l], g = delta.T @ a[l - 1], delta.sum(axis=0), delta @ net.W[l]
    return dW, db


class TestOtherSlopes:
    @pytest.mark.parametrize(
        ("df", "layers", "cause"),
        [
            (lambda z, a: a * (1 - a), (2, 3, 4), "layers 2, 3, 4: it is sigmoid's"),
            (lambda z, a: sigmoid(z) * (1 - sigmoid(z)), (3,), "layer 3: it is sigmoid's"),
            (lambda z, a: 1.0 * (z > 0), (2, 3), "layers 2, 3: it is relu's"),
            (lambda z, a: np.where(z > 0, 1, a + 1), (4,), "layer 4: it is elu's"),
            (lambda z, a: sigmoid(z), (2,), "layer 2: it is softplus's"),
        ],
    )
    @pytest.mark.parametrize("factor", [1, 6])
    def test_each_is_named_by_its_activation(self, df, layers, cause, factor):
        net, x, y = plain((3, 5, 4, 2), activation="tanh", seed=1)
        assert check_gradient(net, x, y, gradient=lambda *p: other(*p, df, ())).ok

        def mine(*p):
            return tuple({l: factor * v for l, v in part.items()} for part in other(*p, df, layers))

        more = ", and 6 times: a sum over the m = 6 samples where their mean is meant"
        assert check_gradient(net, x, y, gradient=mine).cause == (
            f"f' is wrong in {cause}, not tanh's{more * (factor == 6)}"
        )

    def test_only_the_layers_that_have_another_are_named(self):
        net, x, y = plain((3, 5, 4, 2), activation=("tanh", "sigmoid", "identity"))

        def mine(net, x, y):
            cache = net.forward(x)
            delta, dW, db = (cache.a[4] - y) / len(x), {}, {}
            for l in (4, 3, 2):
                dW[l], db[l] = delta.T @ cache.a[l - 1], delta.sum(axis=0)
                delta = delta @ net.W[l] * cache.a[l - 1] * (1 - cache.a[l - 1])
            return dW, db

        cause = check_gradient(net, x, y, gradient=mine).cause
        assert cause == "f' is wrong in layer 2: it is sigmoid's, not tanh's"


class TestNoGradient:
    @pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
    def test_in_float32(self, activation):
        net, x, y = plain(activation=activation)
        single = net.astype("float32")
        found = single.backward(single.forward(x), y).theta
        for mine in (found, gradient(net, x, y).astype("float32")):
            cause = check_gradient(net, x, y, gradient=mine).cause
            assert cause == "the gradient is in float32, and off by what that rounds"
        partly = found.astype(float) * (1 + 1e-10)
        assert check_gradient(net, x, y, gradient=partly).cause == (
            "off by no more than float32 rounds: is a part of it computed in float32?"
        )
        # by as little, but all alike or in one block: that is another mistake
        for where in (slice(None), slice(5)):
            mine = gradient(net, x, y)
            mine[where] *= 1 + 1e-8
            assert "float32" not in check_gradient(net, x, y, gradient=mine).cause
        wrong = found + np.float32(1e-3) * np.arange(found.size, dtype="float32")
        assert check_gradient(net, x, y, gradient=wrong).cause is None

    @pytest.mark.parametrize(
        ("mine", "cause"),
        [
            (lambda t, g: t - 0.5 * g,
             "it is θ after the update, θ - η ∂E/∂θ with η = 0.5, not the gradient"),
            (lambda t, g: t + 0.01 * g,
             "it is θ after the update, θ + η ∂E/∂θ with η = 0.01, not the gradient"),
            (lambda t, g: t, "it is θ itself, not the gradient"),
        ],
    )  # fmt: skip
    def test_an_updated_theta(self, mine, cause):
        net, x, y = plain()
        wrong = mine(net.theta, gradient(net, x, y))
        assert check_gradient(net, x, y, gradient=wrong).cause == cause
        at = np.array([0.3, -1.2, 2.0])
        report = check_function(lambda x: np.sum(x**3), lambda x: mine(x, 3 * x * x), at)
        assert report.cause == cause
        # of one or two numbers, any is an update
        report = check_function(lambda x: np.sum(x**3), lambda x: x - x * x, at[:1])
        assert report.cause is None


class TestSoftmax:
    @staticmethod
    def cause(loss, output):
        """What is said where δ^L is taken as ``output(a, y)``."""

        def mine(net, x, y):
            a2 = np.tanh(x @ net.W[2].T + net.b[2])
            delta3 = output(softmax(a2 @ net.W[3].T + net.b[3]), y) / len(x)
            delta2 = delta3 @ net.W[3] * (1 - a2 * a2)
            return [delta2.T @ x, delta3.T @ a2], [delta2.sum(axis=0), delta3.sum(axis=0)]

        net, x, y = plain((3, 4, 3), activation="tanh", output="softmax", loss=loss)
        return check_gradient(net, x, y, gradient=mine).cause

    DIAGONAL = "softmax's derivative is taken as a (1 - a) only: ∂a_i/∂z_j for i ≠ j is forgotten"

    def test_the_off_diagonal_forgotten(self):
        wrong = self.cause("half_squared_error", lambda a, y: (a - y) * a * (1 - a))
        assert wrong == self.DIAGONAL
        assert self.cause("cross_entropy", lambda a, y: -y * (1 - a)).startswith(self.DIAGONAL)

    def test_an_f_prime_too_many(self):
        assert self.cause("cross_entropy", lambda a, y: (a - y) * a * (1 - a)) == (
            "there is an f' too many at the output: with softmax and cross_entropy, δ^L is a - y"
        )

    def test_a_minus_y_where_it_is_not(self):
        # (a - y) / (a (1 - a)) times a (1 - a): it comes to the same, so both are named.
        assert self.cause("binary_cross_entropy", lambda a, y: a - y) == (
            f"{self.DIAGONAL}; "
            "or δ^L is taken as a - y, which it is not with softmax and binary_cross_entropy"
        )


class TestOptions:
    def test_sample_weights_left_out_or_summed(self):
        net, x, y = plain()
        w = np.arange(1.0, 7.0)
        summed = net.backward(net.forward(x), y, sample_weight=w).theta * w.sum()
        for mine, cause in (
            (gradient(net, x, y), "sample_weight is left out"),
            (summed, "everywhere 21 times the derivative: the sum of the sample weights, by which "
             "was not divided"),
        ):  # fmt: skip
            report = check_gradient(net, x, y, gradient=mine, sample_weight=w)
            assert report.cause == cause

    def test_a_mask_left_out_on_the_way_back(self):
        net, x, y = plain((3, 5, 2))
        mask = {2: (np.arange(30).reshape(6, 5) % 3 > 0) * 1.5}

        def mine(net, x, y):
            a2 = sigmoid(x @ net.W[2].T + net.b[2])
            a3 = sigmoid(a2 * mask[2] @ net.W[3].T + net.b[3])
            delta3 = (a3 - y) * a3 * (1 - a3) / len(x)
            delta2 = delta3 @ net.W[3] * a2 * (1 - a2)
            fed = a2 * mask[2]
            return [delta2.T @ x, delta3.T @ fed], [delta2.sum(axis=0), delta3.sum(axis=0)]

        report = check_gradient(net, x, y, gradient=mine, mask=mask)
        assert report.cause == "the dropout mask is left out on the way back"


class TestRules:
    """An activation or a loss of one's own whose derivative is none."""

    def test_an_activation(self):
        wrong = Activation("swish", f=lambda z: z * sigmoid(z), df=lambda z, a: sigmoid(z))
        net, x, y = plain((3, 4, 2), activation=wrong, output="identity")
        report = check_gradient(net, x, y)
        number = r"(-?[\d.e-]+)"
        found = re.fullmatch(
            f"in layer 2, f' of 'swish' is not the slope: at z = {number} it is {number}, "
            f"but the slope is {number}",
            report.cause,
        )
        z, stated, slope = map(float, found.groups())
        s = sigmoid(z)
        assert stated == pytest.approx(s, rel=1e-3)
        assert slope == pytest.approx(s + z * s * (1 - s), rel=1e-3)

    def test_a_loss_whose_value_and_derivative_reduce_differently(self):
        wrong = Loss(
            "mean_squared", E=lambda a, y: (a - y) * (a - y) / 2, dE=lambda a, y: (a - y) / a.shape[-1]
        )
        cause = check_gradient(*plain((3, 4, 3), loss=wrong)).cause
        assert cause.startswith("dE of the loss 'mean_squared' is not the slope: at a = ")
        assert cause.endswith(
            "; the gradient is everywhere 0.333333 times the derivative: a mean over the n_L = 3 "
            "outputs where their sum is meant"
        )

    def test_a_loss_joined_to_an_output_that_it_does_not_fit_and_a_wrong_vjp(self):
        half = LOSSES["half_squared_error"]
        wrong = replace(half, name="half", joined_output="tanh", E_z=lambda z, y: half.E(np.tanh(z), y))
        cause = check_gradient(*plain((3, 4, 2), activation="tanh", loss=wrong)).cause
        assert cause.startswith("with 'tanh', a - y of the loss 'half' is not the slope: at z = ")
        soft = ACTIVATIONS["softmax"]
        wrong = replace(soft, name="my softmax", vjp=lambda g, z, a: g * a * (1 - a))
        cause = check_gradient(*plain((3, 4, 3), activation=("tanh", wrong))).cause
        assert cause.startswith("in layer 3, vjp of 'my softmax' is not the slope: at z = ")

    def test_right_rules_are_not_blamed_for_a_wrong_pass(self, monkeypatch):
        backward = MLP.backward

        def doubled(*args, **options):
            grad = backward(*args, **options)
            grad.theta[...] *= 2
            return grad

        monkeypatch.setattr(MLP, "backward", doubled)
        cause = check_gradient(*plain()).cause
        assert cause.startswith("everywhere 2 times the derivative: ")

    def test_right_rules_are_not_blamed(self):
        for seed in range(120):
            net, x, y, options = generated(seed)
            net = net.astype("float64")
            wrong = net.backward(net.forward(x), y).theta + 1.0
            cause = check_gradient(net, x, y, gradient=wrong, **options).cause
            assert cause is None or "is not the slope" not in cause


class TestEvidence:
    @pytest.mark.parametrize(
        ("sizes", "m", "change", "cause"),
        [
            ((3, 5, 4, 2), 6, lambda g: g + np.isin(np.arange(54), 1) - np.isin(np.arange(54), 50),
             None),
            ((3, 5, 4, 2), 6, lambda g: np.where(np.isin(np.arange(54), [1, 2]), -g, g),
             "in 2 coordinates of W[2] -1 times the derivative: the sign"),
            ((3, 4, 1), 1, lambda g: -g, "everywhere -1 times the derivative: the sign"),
            ((3, 2), 6, lambda g: g + np.arange(8.0), None),
        ],
    )  # fmt: skip
    def test_no_more_is_said_than_is_seen(self, sizes, m, change, cause):
        net, x, y = plain(sizes, m=m)
        wrong = change(gradient(net, x, y))
        assert check_gradient(net, x, y, gradient=wrong).cause == cause

    def test_random_errors_are_hardly_ever_given_a_reason(self):
        reasons = []
        for seed in range(150):
            net, x, y, _ = generated(seed)
            net = net.astype("float64")
            rng = np.random.default_rng(seed)
            right = gradient(net, x, y)
            wrong = right + 0.1 * rng.normal(size=right.size)
            report = check_gradient(net, x, y, gradient=wrong)
            if report.cause and len(net.sizes) > 2 and min(net.sizes) > 1:
                reasons.append((seed, net, report.cause))
        assert reasons == []

    @pytest.mark.parametrize("factor", [0.8123, 1.234])
    def test_a_rate_is_not_read_out_of_one_factor(self, factor):
        # One hidden neuron and one sample: any factor on its δ looks like some learning rate.
        net, x, y = plain((3, 1, 2), m=1)
        wrong = gradient(net, x, y)
        wrong[:4] *= factor
        cause = check_gradient(net, x, y, gradient=wrong).cause
        assert cause == f"in W[2], b[2] {factor} times the derivative"


class TestFunctions:
    @staticmethod
    def problem():
        rng = np.random.default_rng(2)
        x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
        p = {"W1": rng.normal(size=(3, 3)), "W2": rng.normal(size=(3, 3)), "b": rng.normal(size=3)}

        def loss(p):
            error = np.tanh(x @ p["W1"] + p["b"]) @ p["W2"] - y
            return np.sum(error * error) / 2

        def right(p):
            a = np.tanh(x @ p["W1"] + p["b"])
            delta = a @ p["W2"] - y
            hidden = delta @ p["W2"].T * (1 - a * a)
            return {"W1": x.T @ hidden, "W2": a.T @ delta, "b": hidden.sum(axis=0)}

        return p, loss, right

    @pytest.mark.parametrize(
        ("change", "cause"),
        [
            (lambda g: {name: -part for name, part in g.items()},
             "everywhere -1 times the derivative: the sign"),
            (lambda g: {name: 2 * part for name, part in g.items()}, "everywhere 2 times the "
             "derivative: a half is forgotten or a sum over 2 where their mean is meant"),
            (lambda g: {name: part / 5 for name, part in g.items()},
             "everywhere 0.2 times the derivative: a mean over 5 where their sum is meant"),
            (lambda g: {name: part * 5 for name, part in g.items()},
             "everywhere 5 times the derivative: a sum over 5 where their mean is meant"),
            (lambda g: {name: part * 0.37 for name, part in g.items()},
             "everywhere 0.37 times the derivative"),
            (lambda g: {**g, "W2": g["W2"].T}, "['W2'] is transposed"),
            (lambda g: {**g, "W1": g["W2"], "W2": g["W1"]},
             "['W1'] holds the gradient of ['W2']; ['W2'] holds the gradient of ['W1']"),
            (lambda g: {**g, "b": 0 * g["b"]}, "left out: the gradient of ['b'] is 0"),
            (lambda g: {name: 0 * part for name, part in g.items()},
             "the gradient is 0 everywhere"),
            (lambda g: {**g, "W1": g["W1"] + np.eye(3)}, "one block only: ['W1']"),
            (lambda g: {**g, "b": g["b"] * np.array([1, 1 + 1e-6, 1])},
             "one coordinate only: ['b'][1]"),
            (lambda g: {**g, "W1": g["W1"] ** 2, "b": g["b"] ** 2}, None),
        ],
    )  # fmt: skip
    def test_each_fails_and_is_named(self, change, cause):
        p, loss, right = self.problem()
        assert check_function(loss, right, p).ok
        for method in ("complex", "central"):
            report = check_function(loss, lambda p: change(right(p)), p, method=method)
            assert (report.ok, report.cause) == (False, cause)

    @pytest.mark.parametrize(("n", "more"), [(5, ""), (6, " and 1 more"), (8, " and 3 more")])
    def test_of_many_blocks_five_are_named(self, n, more):
        p = {k: np.array([1.5, 2.5]) for k in range(n + 1)}

        def wrong(p):
            return {k: (3 if k < n else 2) * v for k, v in p.items()}

        report = check_function(lambda p: sum(v @ v for v in p.values()), wrong, p)
        blocks = ", ".join(f"[{k}]" for k in range(5))
        assert report.cause == f"in {blocks}{more} 1.5 times the derivative"
