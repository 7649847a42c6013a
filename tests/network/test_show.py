"""What stands at the prompt: caches, gradients, parameters, rules, histories and reports."""

import copy
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import bpnet
from bpnet import ACTIVATIONS, LOSSES, MLP, SGD, Activation, History, check_gradient, fit, huber
from bpnet.worked.published import X, Y, example


@pytest.fixture
def passed():
    net = example()
    cache = net.forward(X)
    return net, cache, net.backward(cache, Y)


def test_each_shows_what_it_holds(passed):
    net, cache, grad = passed
    assert repr(net.parameters).splitlines() == [
        "Parameters, 12 numbers, float64",
        "  W[2]  2 x 2  0.15 0.2; 0.25 0.3",
        "  b[2]  2      0.35 0.35",
        "  W[3]  2 x 2  0.4 0.45; 0.5 0.55",
        "  b[3]  2      0.6 0.6",
    ]
    assert repr(net.W) == "W[2]  2 x 2  0.15 0.2; 0.25 0.3\nW[3]  2 x 2  0.4 0.45; 0.5 0.55"
    assert repr(cache).splitlines() == [
        "Cache of 1 sample, float64",
        "  a[1]  1 x 2  0.05 0.1",
        "  z[2]  1 x 2  0.3775 0.3925",
        "  a[2]  1 x 2  0.59327 0.59688",
        "  z[3]  1 x 2  1.1059 1.2249",
        "  a[3]  1 x 2  0.75137 0.77293",
    ]
    lines = repr(grad).splitlines()
    assert lines[0] == "Gradient, 12 numbers, float64"
    assert lines[1] == "  delta[2]  1 x 2  0.0087714 0.0099543"
    assert lines[5] == "  W[3]      2 x 2  0.082167 0.082668; -0.022603 -0.02274"
    assert len(lines) == 7


def test_many_numbers_are_shown_by_their_range():
    net = MLP.init((100, 20, 2), rng=0, networks=3, dtype="float32")
    net.b[2] = np.full((3, 20), 2.5, np.float32)
    text = repr(net.parameters)
    assert "  b[2]  3 x 20        2.5 .. 2.5, mean 2.5\n" in text
    assert "W[2]  3 x 20 x 100  -" in text
    assert text.startswith("Parameters, 3 x 2062 numbers, float32\n")
    assert max(map(len, text.splitlines())) < 80
    assert "complex" in repr(net[0].astype("complex64").parameters)
    net.theta[0, 3] = np.nan
    assert "nan .. nan" in repr(net.parameters)


def test_rules_show_their_name_and_what_is_special():
    assert repr(ACTIVATIONS["sigmoid"]) == "Activation('sigmoid', range=(0, 1), analytic=True)"
    assert repr(huber(2.0)) == "Loss('huber(2)', analytic=True)"
    assert "joined_output='softmax'" in repr(LOSSES["cross_entropy"])
    assert "pairs" not in repr(LOSSES["poisson"])
    own = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z), kinks=(1.5,))
    assert repr(own) == "Activation('sine', kinks=(1.5,))"
    assert repr(example().activation).startswith("activation{2: Activation('sigmoid', ")


@pytest.mark.parametrize("networks", [None, 3])
def test_a_history_shows_where_it_began_and_ended(networks):
    x, y = np.random.default_rng(0).random((2, 20, 2))
    net = MLP.init((2, 3, 2), rng=0, networks=networks)
    history = fit(net, x, y, epochs=4, batch_size=5, optimizer=SGD(0.5), validation=0.2, rng=0)
    head, *lines = repr(history).splitlines()
    assert head.startswith("History of 4 epochs, ")
    assert [line.split()[0] for line in lines] == ["loss", "validation_loss", "learning_rate"]
    ends = [f"{np.median(history.loss[k]):.5g}" for k in (0, -1)]
    assert lines[0].split(maxsplit=1)[1] == " -> ".join(ends)
    assert repr(History(stopped="interrupted")) == "History of 0 epochs, stopped: interrupted"


def test_a_report_shows_what_it_prints(passed):
    report = check_gradient(passed[0], X, Y)
    stack = check_gradient(MLP.init((2, 2), rng=0, networks=2), X, Y)
    for each in (report, stack):
        assert repr(each) == str(each)
        assert ET.fromstring(each._repr_html_()).text == str(each)


def test_in_a_notebook_they_are_tables(passed):
    net, cache, grad = passed
    for shown in (net.parameters, cache, grad, History(loss=[2.0, 1.0])):
        table = ET.fromstring(shown._repr_html_())
        title, *lines = repr(shown).splitlines()
        assert table.find("caption").text == title
        cells = [[cell.text for cell in row] for row in table.iter("tr")]
        assert [" ".join(row).split() for row in cells] == [line.split() for line in lines]


def test_dir_shows_what_matters(passed):
    net, cache, grad = passed
    assert dir(cache) == ["L", "a", "m", "z"]
    assert dir(grad) == ["L", "W", "b", "delta", "m", "name", "sizes", "theta", "x"]
    assert dir(net.parameters) == ["L", "W", "b", "name", "sizes", "theta"]
    for shown in (cache, grad, net.parameters, History()):
        assert all(hasattr(shown, name) for name in dir(shown))
    assert dir(bpnet) == sorted([*bpnet.__all__, "__version__"])
    assert copy.deepcopy(cache).a[2][0, 0] == cache.a[2][0, 0]
