"""Laws of the gradient, on generated nets of every kind: what test_gradients.py leaves to prove.

The second derivation is by HIPS autograd: the textbook formulas once more, written for its NumPy
and differentiated by it, with nothing taken from bpnet but the weights.
"""

from dataclasses import replace

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import ACTIVATIONS, LOSSES, MLP
from bpnet.gradcheck import check_gradient
from bpnet.testing.assertions import case, cases

HIDDEN = [name for name, f in ACTIVATIONS.items() if not f.rows_sum_to_one]
PAIRS = [
    (output, name)
    for name, loss in LOSSES.items()
    for output, f in ACTIVATIONS.items()
    if loss.output_range[0] <= f.range[0] and f.range[1] <= loss.output_range[1]
    if f.rows_sum_to_one or not loss.distribution
]
EPS_32 = np.finfo(np.float32).eps
each_pair = pytest.mark.parametrize(("output", "loss"), PAIRS)


def gradient(example):
    net, x, y = example
    return net.backward(net.forward(x), y)


def assert_close(got, expected, tolerance):
    """Relative to the largest entry, or to 1e-3 where all of them cancel (softmax of one)."""
    largest = max(np.abs(expected).max(), 1e-3)
    assert np.abs(got - expected).max() <= tolerance * largest


def test_the_pairs_are_those_that_can_go_together():
    for loss in LOSSES:
        for output in ACTIVATIONS:
            try:
                MLP.init((2, 2), activation=(output,), loss=loss, rng=0)
            except ValueError:
                assert (output, loss) not in PAIRS
            else:
                assert (output, loss) in PAIRS


# ---- a second derivation


F = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + anp.exp(-z)),
    "tanh": anp.tanh,
    "relu": lambda z: anp.where(z > 0, z, 0 * z),
    "leaky_relu": lambda z: anp.where(z > 0, z, 0.01 * z),
    "elu": lambda z: anp.where(z > 0, z, anp.exp(z) - 1),
    "softplus": lambda z: anp.log(1 + anp.exp(z)),
    "silu": lambda z: z / (1 + anp.exp(-z)),
    "gelu": lambda z: z / 2 * (1 + anp.tanh((2 / anp.pi) ** 0.5 * (z + 0.044715 * z**3))),
    "exp": anp.exp,
    "softmax": lambda z: anp.exp(z) / anp.sum(anp.exp(z), axis=1, keepdims=True),
}
E = {
    "half_squared_error": lambda a, y: (a - y) ** 2 / 2,
    "cross_entropy": lambda a, y: -y * anp.log(a),
    "binary_cross_entropy": lambda a, y: -y * anp.log(a) - (1 - y) * anp.log(1 - a),
    "absolute_error": lambda a, y: anp.abs(a - y),
    "huber": lambda a, y: anp.where(
        anp.abs(a - y) <= 1, (a - y) ** 2 / 2, anp.abs(a - y) - 0.5
    ),
    "poisson": lambda a, y: a - y * anp.log(a),
}  # fmt: skip


def assert_autograd_agrees(example):
    net, x, y = example
    names, loss = [f.name for f in net.activation.values()], E[net.loss_function.name]

    def value(W, b):
        a = x
        for W_l, b_l, name in zip(W, b, names, strict=True):
            a = F[name](anp.dot(a, W_l.T) + b_l)
        return anp.sum(loss(a, y)) / len(x)

    W, b = list(net.W.values()), list(net.b.values())
    assert net.loss(net.forward(x), y) == pytest.approx(value(W, b), rel=1e-12, abs=1e-12)
    dW, db = grad(value, 0)(W, b), grad(value, 1)(W, b)
    expected = [v.ravel() for pair in zip(dW, db, strict=True) for v in pair]
    assert_close(gradient(example).theta, np.concatenate(expected), 1e-12)


@each_pair
def test_autograd_agrees_for_each_hidden_activation_times_each_loss(output, loss):
    for seed, hidden in enumerate(HIDDEN):
        activation = (hidden, HIDDEN[seed - 1], output)
        assert_autograd_agrees(case((3, 5, 4, 2), activation=activation, loss=loss, m=4, seed=seed))


@settings(max_examples=150)
@given(cases(dtype="float64"))
def test_autograd_agrees_at_any_depth(example):
    assert_autograd_agrees(example)


# ---- the package's own checker, as a third


@settings(max_examples=100)
@given(cases(), st.sampled_from(["complex", "central"]))
def test_no_right_gradient_fails_the_check(example, method):
    report = check_gradient(*example, method=method)
    assert report.ok, report


# ---- laws


@settings(max_examples=100)
@given(cases(dtype="float32"))
def test_single_precision_agrees_within_a_hundred_eps(example):
    net, x, y = example
    double = net.astype(np.float64)
    expected = double.backward(double.forward(x), y).theta
    single = gradient(example)
    assert single.theta.dtype == np.float32
    assert_close(single.theta, expected, 100 * EPS_32)


@settings(max_examples=100)
@given(cases(), st.integers(0, 2**32 - 1))
def test_hidden_neurons_may_be_permuted_at_any_depth(example, seed):
    net, x, y = example
    rng = np.random.default_rng(seed)
    order = {l: rng.permutation(n) for l, n in enumerate(net.sizes, 1)}
    order[1], order[net.L] = np.arange(net.sizes[0]), np.arange(net.sizes[-1])
    other = net.copy()
    for l in net.W:
        other.W[l] = net.W[l][np.ix_(order[l], order[l - 1])]
        other.b[l] = net.b[l][order[l]]
    digits = 64 * np.finfo(net.dtype).eps
    assert_close(other.predict(x), net.predict(x), digits)
    mine, permuted = gradient(example), gradient((other, x, y))
    size = max(np.abs(mine.theta).max(), 1e-3)
    for l in net.W:
        expected = mine.W[l][np.ix_(order[l], order[l - 1])]
        assert np.abs(permuted.W[l] - expected).max() <= digits * size
        assert np.abs(permuted.b[l] - mine.b[l][order[l]]).max() <= digits * size


@settings(max_examples=100)
@given(cases(), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_samples_may_be_repeated_and_reordered(example, times, seed):
    net, x, y = example
    rows = np.random.default_rng(seed).permutation(np.tile(np.arange(len(x)), times))
    grad, again = gradient(example), gradient((net, x[rows], y[rows]))
    largest = max(np.abs(gradient((net, x[i], y[i])).theta).max() for i in range(len(x)))
    off = np.abs(again.theta - grad.theta).max()
    assert off <= 64 * np.finfo(net.dtype).eps * max(largest, 1e-3)


@settings(max_examples=100)
@given(cases(dtype="float64"))
def test_a_step_that_is_small_enough_lowers_the_loss(example):
    net, x, y = example
    g, before = gradient(example).theta, net.loss(net.forward(x), y)
    slope = g @ g
    if slope < 1e-8:  # a net whose ReLUs are all off, or a softmax of one output
        return
    rate = 1.0
    for _ in range(40):
        after = net.copy()
        after.theta -= rate * g
        fall = before - after.loss(after.forward(x), y)
        if fall > 0.5 * rate * slope:
            return
        rate /= 2
    pytest.fail(f"no step lowers the loss of {example}")


@pytest.mark.parametrize(
    ("loss", "output"),
    [
        ("half_squared_error", "identity"),
        ("cross_entropy", "softmax"),
        ("binary_cross_entropy", "sigmoid"),
        ("poisson", "exp"),
        ("half_squared_error", "sigmoid"),
        ("half_squared_error", "softmax"),
        ("huber", "gelu"),
        ("absolute_error", "relu"),
    ],
)
@settings(max_examples=25)
@given(st.data())
def test_a_perfect_prediction_has_no_gradient(loss, output, data):
    net, x, _ = data.draw(cases(loss=loss, output=output))
    cache = net.forward(x)
    y = cache.a[net.L].copy()
    grad = net.backward(cache, y)
    # rows of probabilities are normalised again, which may move them by a few eps
    few = 8 * np.finfo(net.dtype).eps if loss == "cross_entropy" else 0
    assert np.abs(grad.delta[net.L]).max() <= few
    assert np.abs(grad.theta).max() <= 1e3 * few


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.joined_output])
@settings(max_examples=25)
@given(st.data())
def test_the_joined_and_the_general_form_of_the_output_error_agree(loss, data):
    output = LOSSES[loss].joined_output
    example = data.draw(cases(loss=loss, output=output, dtype="float64"))
    net, x, y = example
    general = replace(LOSSES[loss], joined_output=None, E_z=None)
    other = replace(net, loss_function=general)
    joined, apart = gradient(example), gradient((other, x, y))
    np.testing.assert_allclose(joined.delta[net.L], (net.predict(x) - y) / len(x), atol=1e-15)
    assert_close(apart.delta[net.L], joined.delta[net.L], 1e-12)
    assert_close(apart.theta, joined.theta, 1e-12)
    assert net.loss(net.forward(x), y) == pytest.approx(
        other.loss(other.forward(x), y), rel=1e-12, abs=1e-13
    )


# ---- extremes


def stretched(net, x, reach):
    """A copy of which every layer's largest |z| is `reach`."""
    far = net.copy()
    a = x
    for l, f in net.activation.items():
        z = a @ far.W[l].T + far.b[l]
        factor = reach / max(np.abs(z).max(), 1e-30)
        far.W[l] *= factor
        far.b[l] *= factor
        a = f.f(z * factor)
    return far


@settings(max_examples=200)
@given(cases(), st.sampled_from([30.0, 800.0, 1e4]))
def test_nothing_overflows_or_becomes_nan_in_deeper_nets(example, reach):
    net, x, y = example
    with np.errstate(all="ignore"):
        far = stretched(net, x.astype(np.float64), reach)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        cache = far.forward(x)
        values = [far.loss(cache, y), far.loss(cache.a[far.L], y)]
        grad = far.backward(cache, y)
    assert np.abs(cache.z[2]).max() == pytest.approx(reach, rel=1e-4)
    assert np.isfinite(values).all()
    assert np.isfinite(grad.theta).all()
    assert all(np.isfinite(delta).all() for delta in grad.delta.values())
