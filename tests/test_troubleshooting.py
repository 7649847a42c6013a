"""`diagnose`: each fault planted and found, healthy trainings left in peace, nothing changed."""

import copy
import io
import re
import string
import sys
import warnings

import numpy as np
import pytest

from bpnet import MLP, SGD, Adam, diagnose, fit
from bpnet.troubleshooting import WORDS

RNG = np.random.default_rng(0)
LABELS = RNG.integers(3, size=240)
X = RNG.normal(size=(240, 4)) + np.array([[2, 0, 0, 0], [0, 2, 0, 1], [-2, 0, 2, 0]])[LABELS]
Y = np.eye(3)[LABELS]
SOFTMAX = {"output": "softmax", "loss": "cross_entropy"}
TANH, RELU = {"activation": "tanh", **SOFTMAX}, {"activation": "relu", **SOFTMAX}
LEAKY = {"activation": "leaky_relu", **SOFTMAX}
XOR = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]


def made(options, *sizes, **values):
    """A net of these hidden sizes; ``b2=...`` sets biases or weights."""
    net = MLP.init((4, *sizes, 3), rng=0, **options)
    for name, value in values.items():
        getattr(net, name[0])[int(name[1])][:] = value
    return net


def train(net, y=Y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loss that explodes
        return fit(net, X, y, **{"epochs": 10} | options)


def names(report):
    return [found.name for found in report]


@pytest.mark.parametrize(
    ("sizes", "options", "optimizer"),
    [((12,), RELU, Adam(0.01)), ((12,), TANH, SGD(0.1)), ((10, 10, 10), RELU, Adam(0.003)),
     ((8,), {}, SGD(2.0))],
)  # fmt: skip
def test_a_healthy_training_is_left_in_peace(sizes, options, optimizer):
    net = made(options, *sizes)
    assert not diagnose(net, x=X, y=Y, optimizer=optimizer)
    first = train(net, epochs=2, optimizer=optimizer)
    assert not diagnose(net, first, x=X, y=Y)
    history = train(net, epochs=30, optimizer=optimizer, validation=0.2)
    assert str(diagnose(net, history, x=X, y=Y, optimizer=optimizer)) == "nothing found"


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_few_samples_and_saturation_of_what_has_learned_are_no_illness(activation):
    net = MLP.init((2, 8, 1), rng=1, activation=activation, loss="binary_cross_entropy")
    history = fit(net, *XOR, epochs=600, batch_size=None, optimizer=Adam(0.1))
    assert history.loss[-1] < 0.01
    assert not diagnose(net, history, x=XOR[0], y=XOR[1])
    net, x, y = MLP.init((2, 2, 2), rng=0, initializer="uniform"), [0.05, 0.10], [0.01, 0.99]
    history = fit(net, x, y, epochs=300, batch_size=1, optimizer=SGD(0.5))  # the article's
    assert not diagnose(net, history, x=x, y=y)


@pytest.mark.parametrize(
    ("net", "name", "layer", "number"),
    [(made(RELU, 10, b2=[-99] * 4 + [0] * 6), "dead neurons", 2, 4),
     (made(TANH, 5, W2=0.2, W3=-0.1), "symmetric neurons", 2, 5),
     (made(TANH, 9, b2=[9, -9, 9] * 3), "saturated neurons", 2, 9),
     (made({}, 8, b3=[-30, 0, 0]), "saturated neurons", 3, 1),
     (made(SOFTMAX, *[8] * 9), "vanishing gradient", None, None),
     (made(LEAKY, *[30] * 6).with_theta(4 * made(LEAKY, *[30] * 6).theta),
      "exploding gradient", None, None)],
)  # fmt: skip
def test_a_fault_of_the_weights_is_found(net, name, layer, number):
    theta = net.theta.copy()
    (found,) = diagnose(net, x=X, y=Y)
    if number is None:
        delta = [*net.backward(net.forward(X), Y).delta.values()]
        number = np.sqrt((delta[0] ** 2).mean() / (delta[-1] ** 2).mean())
    assert found[:3] == (name, layer, pytest.approx(number))
    assert np.array_equal(net.theta, theta)


def test_what_looks_like_a_fault_and_is_none():
    joined = made({"loss": "binary_cross_entropy"}, 8, b3=[-30, 0, 0])
    assert not diagnose(joined, x=X, y=Y)  # δ = a - y is as large as ever
    net = made(TANH, 6)
    net.W[2][3] = net.W[2][1]
    assert not diagnose(net, x=X, y=Y)  # their gradients differ by W³ ...
    net.W[3][:, 3] = net.W[3][:, 1]
    assert [f[:3] for f in diagnose(net, x=X, y=Y)] == [("symmetric neurons", 2, 2)]  # ... or not
    net.W[2][[1, 3]], net.W[3][:, [1, 3]] = 0, 0
    assert not diagnose(net, x=X, y=Y)  # pruned


@pytest.mark.parametrize(("scale", "shift", "j"), [([1, 1, 1, 300], 0, 3), (0.1, [0, 0, 5, 0], 2)])
def test_unscaled_inputs_are_found_with_their_column(scale, shift, j):
    net, x = MLP.init((4, 8, 1), rng=0, activation="relu", output="identity"), X * scale + shift
    found = diagnose(net, x=x, y=X[:, :1])[0]
    assert found[:3] == ("unscaled inputs", None, pytest.approx(np.sqrt((x[:, j] ** 2).mean())))
    assert f"x[:, {j}]" in found.says


@pytest.mark.parametrize(("output", "far"), [("sigmoid", 3.5), ("relu", -2.0)])
def test_targets_out_of_reach_are_found(output, far):
    net = MLP.init((4, 8, 1), rng=0, activation="tanh", output=output)
    y = np.where(X[:, :1] > 0, 0.5, far)
    (found,) = [f for f in diagnose(net, x=X, y=y) if f.name == "targets out of reach"]
    assert found.number == far
    assert f"{np.mean(y == far):.0%}" in found.says
    assert "targets out of reach" not in names(diagnose(net, x=X, y=(X[:, :1] > 0) * 1.0))


@pytest.mark.parametrize(
    ("optimizer", "options", "verdict"),
    [(SGD(100.0), TANH, "large"), (SGD(50.0), RELU, "large"), (Adam(3.0), RELU, "large"),
     (SGD(1e-5), TANH, "small"), (Adam(1e-6), RELU, "small"), (SGD(1e-4), {}, "small")],
)  # fmt: skip
def test_the_learning_rate_is_judged_with_a_better_one(optimizer, options, verdict):
    net = made(options, 12)
    before = diagnose(net, x=X, y=Y, optimizer=optimizer)
    history = train(net, optimizer=optimizer)
    for report in (before, diagnose(net, history, x=X, y=Y, optimizer=optimizer)):
        (found,) = [f for f in report if "learning rate" in f.name]
        assert found.name == f"learning rate too {verdict}"
        assert (found.number < optimizer.learning_rate) == (verdict == "large")
    optimizer.learning_rate = found.number
    assert train(made(options, 12), optimizer=optimizer).loss[-1] < 0.8 * history.loss[-1]


def test_a_loss_that_has_not_moved_and_over_fitting():
    net = made(RELU, 8, b2=-99)
    assert names(diagnose(net, train(net), x=X, y=Y)) == ["dead neurons", "loss has not moved"]
    net, noise = made(RELU, 60), np.eye(3)[np.random.default_rng(5).integers(3, size=240)]
    history = train(net, noise, epochs=150, optimizer=Adam(0.01), validation=0.5)
    (found,), held = diagnose(net, history, x=X, y=noise), history.validation_loss
    assert found[:3] == ("over-fitting", None, pytest.approx(np.mean(held[-3:]) / min(held)))
    assert f"epoch {np.argmin(held) + 1}," in found.says


def test_nothing_is_changed_and_the_report_is_for_people():
    net, x, optimizer = made(TANH, 5, W2=0.2, W3=-0.1), X * 100, Adam(0.5)
    history = train(net)
    given = [net.theta, x, Y, history, optimizer]
    before = copy.deepcopy(given)
    report = diagnose(net, history, x=x, y=Y, optimizer=optimizer)
    assert all(map(np.array_equal, given[:3], before[:3]))
    assert given[3:] == before[3:]
    assert names(report) == ["unscaled inputs", "symmetric neurons", "saturated neurons"]
    assert all(len(line) <= 80 for line in str(report).splitlines())
    assert f"-> {report[0].remedy}" in str(report)
    assert "f&#x27;(z)" in report._repr_html_()


def test_chinese_says_the_same_in_other_words(monkeypatch):
    net = made(SOFTMAX, *[8] * 9)
    english, chinese = (diagnose(net, x=X, y=Y, language=name) for name in ("en", "zh"))
    assert english[0][:3] == chinese[0][:3]
    assert re.match(f"梯度消失.*{english[0].number:.3g}", chinese[0].says)
    assert 'lang="zh">发现 1 个问题' in chinese._repr_html_()
    assert str(diagnose(made(TANH, 5), x=X, y=Y, language="zh")) == "没有发现问题"
    for texts in WORDS.values():
        for pair in zip(texts["en"], texts["zh"], strict=True):
            fields = [{part[1] for part in string.Formatter().parse(text)} for text in pair]
            assert fields[0] == fields[1]
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert "delta^2" in str(english)
    with pytest.raises(ValueError, match="unknown language 'de': the known ones are en, zh"):
        diagnose(net, x=X, y=Y, language="de")


def test_a_stack_is_refused_and_data_that_do_not_fit():
    stack = MLP.init((4, 5, 3), networks=2, rng=0, **TANH)
    for given in ((stack, None), (stack[0], fit(stack, X, Y, epochs=1)), ("net", None)):
        with pytest.raises(TypeError, match=r"net\[k\]"):
            diagnose(*given, x=X, y=Y)
    with pytest.raises(ValueError, match="x has 240 rows, but y has 239"):
        diagnose(stack[0], x=X, y=Y[1:])
