"""Published worked examples, to every digit given.

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


def test_mazur_every_quantity():
    net = MLP.from_weights(**MAZUR)
    cache = net.forward(X)
    grad = net.backward(cache, Y)
    assert_printed(cache.z[2], ".3775 .3925")
    assert_printed(cache.a[2], ".593269992107 .596884378260")
    assert_printed(cache.z[3], "1.10590596706 1.224921404096")
    assert_printed(cache.a[3], ".7513650695523157 .7729284653214625")
    assert_printed(net.loss(cache, Y), ".2983711087600027")
    assert_printed(grad.delta[3], ".138498561629 -.038098236517")
    assert_printed(grad.delta[2], ".008771354689 .009954254705")
    assert_printed(grad.W[3], ".082167040564 .082667627848 -.022602540477 -.022740242216")
    assert_printed(grad.W[2], ".000438567734 .000877135469 .000497712735 .000995425471")
    assert_printed(grad.b[3], ".138498561629 -.038098236517")
    assert_printed(grad.b[2], ".008771354689 .009954254705")
    share = net.loss_function.of_output(net.predict(X), np.array([Y]))
    assert_printed(share, ".274811083176 .023560025584")


W2_AFTER = ".1497807161327628 .19956143226552567 .24975114363236958 .29950228726473915"
W3_AFTER = ".35891647971788465 .4086661860762334 .5113012702387375 .5613701211079891"
LOSS_AFTER = {  # steps: E with the biases held fixed, E with every bias updated
    1: (".29102777369359933", ".28047144679143016"),
    100: (".0200468282494252", ".006083131061206281"),
    1_000: (".001114349453733746", ".00027070458789574313"),
    10_000: ("3.510187782978859e-05", "2.4475622359322627e-06"),
}


@pytest.mark.parametrize("biases", [False, True])
def test_mazur_trained_for_10_000_steps(biases):
    net = MLP.from_weights(**MAZUR)
    for step in range(1, 10_001):
        grad = net.backward(net.forward(X), Y)
        if not biases:
            grad.b[2][:] = grad.b[3][:] = 0
        net.theta -= RATE * grad.theta
        if step == 1:
            assert_printed(net.W[2], W2_AFTER)
            assert_printed(net.W[3], W3_AFTER)
        if step in LOSS_AFTER:
            expected = float(LOSS_AFTER[step][biases])
            # the last of the 17 digits depends on the order in which a sum is taken
            assert net.loss(net.forward(X), Y) == pytest.approx(expected, rel=1e-14, abs=0)
    if not biases:
        assert_printed(net.predict(X), ".01591362044355068 .9840642735146238")
        by_fit = MLP.from_weights(**MAZUR)
        fit(by_fit, X, Y, epochs=10_000, optimizer=SGD(RATE), frozen="b")
        assert by_fit.theta == pytest.approx(net.theta, rel=1e-12)
        assert [*by_fit.b[2], *by_fit.b[3]] == [0.35, 0.35, 0.60, 0.60]


def test_mazur_neuron_by_neuron():
    net = Network(**MAZUR)
    assert_printed(net.loss(X, Y), ".2983711087600027")
    for step in range(1, 1_001):
        net.step(X, Y, RATE)
        if step == 1:
            assert_printed([n.w for n in net.layers[0].neurons], W2_AFTER)
            assert_printed([n.w for n in net.layers[1].neurons], W3_AFTER)
        if step in LOSS_AFTER:
            assert net.loss(X, Y) == pytest.approx(float(LOSS_AFTER[step][True]), rel=1e-14, abs=0)


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


def test_han_and_kamber():
    net, y = MLP.from_weights(**HAN), [1]
    cache = net.forward([1, 0, 1])
    assert_printed(cache.z[2], "-.7 .1")
    assert_printed(cache.a[2], ".332 .525")
    assert_printed(cache.z[3], "-.105")
    assert_printed(cache.a[3], ".474")
    # the book goes on with the rounded outputs (.1311 would be .1312), and its error is minus δ
    grad = net.backward(cache, y)
    assert_printed(-grad.delta[3], ".1312")
    net.theta -= 0.9 * grad.theta
    assert_printed(net.W[2], ".192 .4 -.508 -.306 .1 .194")
    assert_printed(net.W[3], "-.261 -.138")
    assert_printed(net.b[2], "-.408 .194")
    assert_printed(net.b[3], ".218")
    net = MLP.from_weights(**HAN)
    for l in (2, 3):
        cache.a[l][...] = cache.a[l].round(3)
    delta = net.backward(cache, y).delta
    assert_printed(-delta[3], ".1311")
    assert_printed(-delta[2], "-.0087 -.0065")
