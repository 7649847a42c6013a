"""The check of a layer's own backward, on layers as people write them."""

import numpy as np
import pytest

from bpnet import GradientReport, check_vjp
from tests.helpers.complaint import complains

RNG = np.random.default_rng(3)
X, W, B = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=4)


def affine(x, w, b):
    return x @ w + b, (x, w)


def d_affine(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def relu(x):
    return np.maximum(0, x), x


def d_relu(dout, x):
    return dout * (x > 0)


def normalize(x, gamma, beta, settings):
    """Normalise a batch; what it keeps for later goes into the dict, as is usual."""
    mean, var = x.mean(axis=0), x.var(axis=0)
    settings["running_mean"] = 0.9 * settings.get("running_mean", 0) + 0.1 * mean
    root = np.sqrt(var + settings["eps"])
    hat = (x - mean) / root
    return gamma * hat + beta, (hat, root, gamma)


def d_normalize(dout, cache):
    hat, root, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - hat * (g * hat).mean(axis=0)) / root
    return dx, (dout * hat).sum(axis=0), dout.sum(axis=0)


def softmax_loss(scores, y):
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean(), (np.exp(log_p), y)


def d_softmax_loss(dout, cache):
    p, y = cache
    return dout * (p - np.eye(p.shape[1])[y]) / len(y), None


def convolve(x, w):
    out = np.zeros(len(x) - len(w) + 1)
    for i in range(len(out)):
        out[i] = x[i : i + len(w)] @ w
    return out, (x, w)


def d_convolve(dout, cache):
    x, w = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, d in enumerate(dout):
        dx[i : i + len(w)] += d * w
        dw += d * x[i : i + len(w)]
    return dx, dw


SETTINGS = {"eps": 1e-5}
LAYERS = {
    "affine": (affine, d_affine, (X, W, B), "complex"),
    "relu": (relu, d_relu, (X,), "complex"),
    "batch normalisation": (normalize, d_normalize, (X, W[:, 0], W[:, 1], SETTINGS), "central"),
    "softmax loss": (softmax_loss, d_softmax_loss, (X, np.array([0, 2, 1, 1, 0])), "complex"),
    "convolution": (convolve, d_convolve, (X.ravel(), B), "central"),
    "of numbers": (lambda x, y: (x * y, (x, y)), lambda d, c: (d * c[1], d * c[0]), (2.0, 3.0),
                   "complex"),
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
def test_right_layers_pass(layer):
    forward, backward, inputs, method = LAYERS[layer]
    report = check_vjp(forward, backward, *inputs)
    assert isinstance(report, GradientReport)
    assert report.ok, str(report)
    assert report.method == method
    assert report.compared == sum(np.size(v) for v in inputs if np.asarray(v).dtype.kind == "f")
    assert "running_mean" not in SETTINGS


WRONG = {
    "a transpose": (lambda d, c: (d @ c[1].T, (c[0].T @ d), 2 * d.sum(axis=0)), "in b 2 times"),
    "a mean": (lambda d, c: (d @ c[1].T, c[0].T @ d, d.mean(axis=0)), "a mean over 5 where"),
    "the sign": (lambda d, c: [-g for g in d_affine(d, c)], "everywhere -1 times…the sign"),
    "dout left out": (lambda d, c: d_affine(np.ones_like(d), c), None),
    "one left out": (lambda d, c: (d @ c[1].T, 0 * c[1], d.sum(axis=0)), "left out…of w is 0"),
    "NaN": (lambda d, c: (d @ c[1].T * np.nan, c[0].T @ d, d.sum(axis=0)), "x[0, 0] is nan"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_layers_fail_with_their_cause(mistake):
    backward, cause = WRONG[mistake]
    report = check_vjp(affine, backward, X, W, B)
    assert not report.ok
    for words in (cause or "").split("…"):
        assert words in (report.cause or "")
    assert [row.name for row in report.table] == ["x", "w", "b"]


def test_the_worst_coordinate_has_the_parameters_name():
    def backward(dout, cache):
        dx, dw, db = d_affine(dout, cache)
        dw[2, 1] *= 1 + 1e-6
        return dx, dw, db

    report = check_vjp(affine, backward, X, W, B)
    assert (report.worst.name, report.failures) == ("w[2, 1]", 1)
    assert report.cause == "one coordinate only: w[2, 1]"
    assert "w[2, 1]: analytic" in str(report)


def test_what_a_pass_changes_in_place_is_told():
    before = X.copy()

    def backward(dout, x):
        dout[x <= 0] = 0
        return dout

    def forward(x):
        kept = x.copy()
        x[x < 0] = 0
        return x, kept

    report = check_vjp(relu, backward, X)
    assert (report.ok, report.failures) == (False, 0)
    assert report.cause == "an input is changed: dout (by backward)"
    assert check_vjp(forward, d_relu, X).changed == ("x (by forward)",)
    assert np.array_equal(X, before)


def test_names_without_names():
    def forward(*parts):
        return sum(p * p for p in parts), parts

    report = check_vjp(forward, lambda d, parts: [2 * d * p for p in parts], X, X + 1)
    assert [row.name for row in report.table] == ["parts[0]", "parts[1]"]
    assert check_vjp(divmod_like := np.frompyfunc(lambda a: (a * a, a), 1, 2),
                     lambda d, a: 2 * d * a, 3.0).ok, divmod_like  # fmt: skip


def test_dout_and_the_sample_follow_the_seed():
    reports = [check_vjp(affine, d_affine, X, W, B, rng=seed, coordinates=9) for seed in (1, 1, 2)]
    assert [r.analytic.tolist() == reports[0].analytic.tolist() for r in reports] == [True, True, False]
    assert all(r.ok and len(r.k) == 9 for r in reports)


def test_float32_inside_is_allowed_for():
    def forward(x):
        a = np.tanh(x.astype(np.float32))
        return a, a

    def wrong(dout, a):
        return dout * (1 - a * a) * 1.01

    assert check_vjp(forward, lambda dout, a: dout * (1 - a * a), X).ok
    assert not check_vjp(forward, wrong, X).ok


def test_a_derivative_by_an_input_can_be_left_open():
    report = check_vjp(affine, lambda d, c: (None, c[0].T @ d, d.sum(axis=0)), X, W, B)
    assert ([row.name for row in report.table], report.ok) == (["w", "b"], True)
    with complains(ValueError, "backward returned None for every input: there is nothing to…"):
        check_vjp(relu, lambda d, c: None, X)


@pytest.mark.parametrize(
    ("kind", "forward", "backward", "inputs", "message"),
    [
        (TypeError, lambda x: x, d_relu, (X,), "forward must return (out, cache), not ndarray"),
        (TypeError, lambda x: (x, x, x), d_relu, (X,), "forward must return (out, cache), not 3…"),
        (TypeError, lambda x: ("a", x), d_relu, (X,), "out must be an array of numbers, not 'a'"),
        (TypeError, relu, d_relu, (X, X), "forward(x) does not take these inputs: too many…"),
        (TypeError, relu, d_relu, ([1, 2],), "forward has no input to differentiate by…"),
        (ValueError, affine, lambda d, c: (d, d), (X, W, B),
         "backward returned 2 derivatives, but forward takes 3 floats or arrays of…: x, w, b"),
        (ValueError, affine, lambda d, c: (d @ c[1].T, d.T @ c[0], d.sum(axis=0)), (X, W, B),
         "backward returned dw of shape (4, 3), but w has shape (3, 4)"),
        (TypeError, softmax_loss, lambda d, c: (d * c[0], c[1]), (X, np.zeros(5, int)),
         "backward returned a derivative by y, which is a ndarray"),
        (ValueError, lambda x: (x * np.random.default_rng().random(), x), d_relu, (X,),
         "the function is random…"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused(kind, forward, backward, inputs, message):
    with complains(kind, message):
        check_vjp(forward, backward, *inputs)
    with complains(ValueError, "unknown method 'exact'…"):
        check_vjp(affine, d_affine, X, W, B, method="exact")
