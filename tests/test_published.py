"""Published worked examples, to every digit given, in matrix form and neuron by neuron.

Mazur:        M. Mazur, "A Step by Step Backpropagation Example", 2015. The page prints nine digits;
              the further ones are the same quantities recomputed in float64.
Han & Kamber: J. Han, M. Kamber, "Data Mining: Concepts and Techniques", the 3-2-1 example of the
              chapter on classification by backpropagation; printed to three or four decimals.
"""

import numpy as np
import pytest

from bpnet import MLP, SGD, fit
from bpnet.reference import Network

MAZUR = {"W": [[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]]}
MAZUR["b"] = [[0.35, 0.35], [0.60, 0.60]]
X, Y, RATE = [0.05, 0.10], [0.01, 0.99], 0.5

HAN = {"W": [[[0.2, 0.4, -0.5], [-0.3, 0.1, 0.2]], [[-0.3, -0.2]]], "b": [[-0.4, 0.2], [0.1]]}
HAN_X, HAN_Y, HAN_RATE = [1, 0, 1], [1], 0.9


def assert_printed(value, printed):
    """Each number rounds to the digits that are printed for it."""
    numbers = np.ravel(value)
    words = printed.split()
    assert len(numbers) == len(words)
    for number, word in zip(numbers, words, strict=True):
        digits = word.lower().partition("e")[0].partition(".")[2]
        exponent = int(word.lower().partition("e")[2] or 0)
        half_a_digit = 0.5 * 10.0 ** (exponent - len(digits))
        assert abs(number - float(word)) <= half_a_digit + 4 * np.spacing(abs(number)), word


class Matrices:
    """The library's network."""

    def __init__(self, W, b):
        self.net = MLP.from_weights(W=W, b=b)

    def run(self, x, y):
        net, self.cache = self.net, self.net.forward(x)
        self.grad = net.backward(self.cache, y)
        z, a, delta = self.cache.z, self.cache.a, self.grad.delta
        return {
            "z": [z[2], z[3]],
            "a": [a[2], a[3]],
            "E": net.loss(a=a[3], y=y),
            "delta": [delta[2], delta[3]],
            "dW": [self.grad.W[2], self.grad.W[3]],
            "db": [self.grad.b[2], self.grad.b[3]],
        }

    def deltas_from_rounded_outputs(self, y, decimals):
        for l in (2, 3):
            self.cache.a[l][...] = self.cache.a[l].round(decimals)
        delta = self.net.backward(self.cache, y).delta
        return delta[2], delta[3]

    def step(self, x, y, rate, biases):
        net, grad = self.net, self.net.backward(self.net.forward(x), y)
        if biases:
            net.theta -= rate * grad.theta
            return
        for l in (2, 3):
            net.W[l] -= rate * grad.W[l]

    def weights(self):
        return self.net.W[2], self.net.W[3], self.net.b[2], self.net.b[3]


class Loops:
    """The loop twin."""

    def __init__(self, W, b):
        self.net = Network(W, b)

    def of_neurons(self, what):
        return [[getattr(n, what) for n in layer.neurons] for layer in self.net.layers]

    def run(self, x, y):
        E = self.net.loss(x, y)
        self.net.backward(y)
        dW, db = zip(*self.net.gradient([x], [y]), strict=True)
        values = {what: self.of_neurons(what) for what in ("z", "a", "delta")}
        return {**values, "E": E, "dW": dW, "db": db}

    def deltas_from_rounded_outputs(self, y, decimals):
        for layer in self.net.layers:
            for neuron in layer.neurons:
                neuron.a = round(neuron.a, decimals)
        self.net.backward(y)
        return self.of_neurons("delta")

    def step(self, x, y, rate, biases):
        held = self.of_neurons("b")
        self.net.step(x, y, rate)
        if not biases:
            for layer, bs in zip(self.net.layers, held, strict=True):
                for neuron, b in zip(layer.neurons, bs, strict=True):
                    neuron.b = b

    def weights(self):
        return (*self.of_neurons("w"), *self.of_neurons("b"))


both = pytest.mark.parametrize("form", [Matrices, Loops])


@both
def test_mazur_every_quantity(form):
    got = form(**MAZUR).run(X, Y)
    assert_printed(got["z"][0], ".3775 .3925")
    assert_printed(got["a"][0], ".593269992107 .596884378260")
    assert_printed(got["z"][1], "1.10590596706 1.224921404096")
    assert_printed(got["a"][1], ".7513650695523157 .7729284653214625")
    assert_printed(got["E"], ".2983711087600027")
    assert_printed(got["delta"][1], ".138498561629 -.038098236517")
    assert_printed(got["delta"][0], ".008771354689 .009954254705")
    assert_printed(got["dW"][1], ".082167040564 .082667627848 -.022602540477 -.022740242216")
    assert_printed(got["dW"][0], ".000438567734 .000877135469 .000497712735 .000995425471")
    assert_printed(got["db"][1], ".138498561629 -.038098236517")
    assert_printed(got["db"][0], ".008771354689 .009954254705")


def test_mazur_the_loss_of_each_output():
    net = MLP.from_weights(**MAZUR)
    share = net.loss_function.of_output(net.predict(X), np.array([Y]))
    assert_printed(share, ".274811083176 .023560025584")


@both
def test_mazur_weights_after_one_step(form):
    net = form(**MAZUR)
    net.step(X, Y, RATE, biases=False)
    W2, W3, b2, b3 = net.weights()
    assert_printed(W2, ".1497807161327628 .19956143226552567 .24975114363236958 .29950228726473915")
    assert_printed(W3, ".35891647971788465 .4086661860762334 .5113012702387375 .5613701211079891")
    assert [*b2, *b3] == [0.35, 0.35, 0.60, 0.60]


LOSS_AFTER = {  # steps: E with the biases held fixed, E with every bias updated
    1: (".29102777369359933", ".28047144679143016"),
    100: (".0200468282494252", ".006083131061206281"),
    1_000: (".001114349453733746", ".00027070458789574313"),
    10_000: ("3.510187782978859e-05", "2.4475622359322627e-06"),
}


@both
@pytest.mark.parametrize("biases", [False, True])
def test_mazur_trained_for_10_000_steps(form, biases):
    net = form(**MAZUR)
    for step in range(1, 10_001):
        net.step(X, Y, RATE, biases)
        if step in LOSS_AFTER:
            got = net.run(X, Y)
            # the last of the 17 digits depends on the order in which a sum is taken
            assert got["E"] == pytest.approx(float(LOSS_AFTER[step][biases]), rel=1e-14, abs=0)
        if step == 1:  # what a hidden δ from updated output weights would give
            assert abs(got["E"] - 0.291027924) > 1e-7
    outputs = np.ravel(got["a"][1])
    if not biases:
        assert_printed(outputs, ".01591362044355068 .9840642735146238")
    assert np.all(np.abs(outputs - [0.015912196, 0.984065734]) > 1e-6)


def test_mazur_trained_by_fit_with_its_biases_held():
    net = MLP.from_weights(**MAZUR)
    fit(net, X, Y, epochs=10_000, optimizer=SGD(RATE), frozen="b")
    assert net.loss(net.forward(X), Y) == pytest.approx(float(LOSS_AFTER[10_000][False]), rel=1e-13)
    assert [*net.b[2], *net.b[3]] == [0.35, 0.35, 0.60, 0.60]


def test_mazur_the_circulating_figures_come_from_updated_weights():
    """The negative oracle: hidden δ computed with output weights that have moved already."""
    net = MLP.from_weights(**MAZUR)
    for step in range(1, 10_001):
        cache = net.forward(X)
        grad = net.backward(cache, Y)
        net.W[3] -= RATE * grad.W[3]
        net.W[2] -= RATE * net.backward(cache, Y, stale=True).W[2]
        if step == 1:
            assert_printed(net.loss(a=net.predict(X), y=Y), ".291027924")
    assert_printed(net.predict(X), ".015912196 .984065734")


@both
def test_han_and_kamber(form):
    net = form(**HAN)
    got = net.run(HAN_X, HAN_Y)
    assert_printed(got["z"][0], "-.7 .1")
    assert_printed(got["a"][0], ".332 .525")
    assert_printed(got["z"][1], "-.105")
    assert_printed(got["a"][1], ".474")
    # the book goes on with the rounded outputs (.1311 would be .1312), and its error is minus δ
    assert_printed(-np.array(got["delta"][1]), ".1312")
    delta_2, delta_3 = net.deltas_from_rounded_outputs(HAN_Y, decimals=3)
    assert_printed(-np.array(delta_3), ".1311")
    assert_printed(-np.array(delta_2), "-.0087 -.0065")
    net.step(HAN_X, HAN_Y, HAN_RATE, biases=True)
    W2, W3, b2, b3 = net.weights()
    assert_printed(W2, ".192 .4 -.508 -.306 .1 .194")
    assert_printed(W3, "-.261 -.138")
    assert_printed(b2, "-.408 .194")
    assert_printed(b3, ".218")
