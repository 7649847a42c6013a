"""The pictures, by what they hold: lines, texts, limits and colours, not pixels."""

import itertools

import numpy as np
import pytest

from bpnet import MLP, SGD, LayerMonitor, fit, plots
from bpnet.troubleshooting import RATES, rate_range

matplotlib = pytest.importorskip("matplotlib", reason="plots need matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgba  # noqa: E402

plt.rcParams["figure.max_open_warning"] = 0
X, Y = np.array([[0.05, 0.10], [0.5, -0.3]]), np.array([[0.01, 0.99], [0.2, 0.7]])
XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [1], [1], [0]])
W = [[[0.15, 0.20], [0.25, -0.30]], [[0.40, 0.45], [0.50, 0.55]]]
NET = MLP.from_weights(W=W, b=[[0.35, 0.35], [0.60, 0.60]])
IMAGES, IMAGE = MLP.init((12, 5, 3), rng=0), np.linspace(0, 1, 12)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def colour(line):
    return to_rgba(line.get_color())[:3]


@pytest.mark.parametrize("background", ["default", "dark_background"])
@pytest.mark.parametrize("sizes", [(2, 2, 2), (3, 4, 2, 1), (784, 30, 10), (2, *[3] * 9, 2)])
def test_network_has_no_overlapping_texts_and_the_colours_of_the_style(sizes, background):
    with plt.style.context(background):
        net = MLP.init(sizes, rng=1)
        cache = net.forward(np.linspace(-1, 1, sizes[0]))
        ax = plots.network(net, cache, net.backward(cache, np.zeros(sizes[-1])))
        ax.figure.canvas.draw()
        boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        figure = ax.figure.get_window_extent()
        assert all(figure.count_contains(box.corners()) == 4 for box in boxes)
        assert {text.get_color() for text in ax.texts} == {plt.rcParams["text.color"]}


def test_network_writes_each_number_and_shows_its_sign():
    cache = NET.forward(X)
    grad = NET.backward(cache, Y)
    ax = plots.network(NET, cache, grad, sample=1)
    numbers = {"0.150", "0.200", "0.250", "−0.300", "0.500", "$b$ 0.350", "$a^{2}$  sigmoid\n2"}
    for l, i in itertools.product((2, 3), range(2)):
        a, delta = cache.a[l][1, i], grad.delta[l][1, i]
        numbers.add(f"{a:.3f}\n$\\delta$ {delta:.3f}".replace("-", "−"))
    assert numbers <= set(texts(ax))
    blue, orange = (to_rgba(c)[:3] for c in (plots.POSITIVE, plots.NEGATIVE))
    assert [colour(line) for line in ax.lines].count(orange) == 1 == len(ax.lines) - 7
    assert colour(max(ax.lines[:4], key=lambda line: line.get_linewidth())) == orange  # −0.30
    rims = [circle.get_edgecolor()[:3] for circle in ax.patches[1::2]]
    deltas = [delta for l in (2, 3) for delta in grad.delta[l][1]]
    assert rims[2:] == [blue if delta >= 0 else orange for delta in deltas]
    ax = plots.network(MLP.init((784, 30, 4), rng=0), most=5)
    assert (len(ax.patches), len(ax.lines)) == (2 * (5 + 5 + 4), 25 + 20)
    assert {"779 more", "25 more"} <= set(texts(ax))


def test_everything_draws_where_it_is_told_and_changes_no_net(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("a plot is shown by its user"))
    net, monitor = MLP.init((2, 3, 1), rng=0), LayerMonitor(*XOR)
    history = fit(net.copy(), *XOR, epochs=3, callbacks=[monitor])
    stack = fit(MLP.init((2, 3, 1), networks=4, rng=0), *XOR, epochs=3)
    before = np.concatenate([net.theta, IMAGES.theta])
    for draw, *given in (
        (plots.network, net), (plots.learning_curves, history), (plots.spread, stack),
        (plots.layer_curves, monitor), (plots.layer_curves, monitor, "saturation"),
        (plots.loss_along_gradient, net, *XOR, 0.5),
        (plots.decision_regions, net, *XOR), (plots.confusion_matrix, net, *XOR),
        (lambda **kw: plots.first_layer(IMAGES, shape=(3, 4), **kw),),
        (lambda **kw: plots.sensitivity(IMAGES, IMAGE, shape=(3, 4), **kw),),
    ):  # fmt: skip
        _, ax = plt.subplots()
        assert draw(*given, ax=ax) is ax
        assert draw(*given) not in (None, ax)
        plt.close("all")
    assert np.array_equal(np.concatenate([net.theta, IMAGES.theta]), before)


def test_learning_curves():
    net = MLP.init((2, 3, 1), rng=0)
    history = fit(net, *XOR, epochs=8, validation=XOR, metrics="r2", early_stopping=20)
    ax = plots.learning_curves(history)
    assert labels(ax) == ["training", "validation", "best epoch"]
    assert list(ax.lines[0].get_ydata()) == history.loss
    plots.learning_curves(history, label="again", ax=ax)
    assert "again, training" in labels(ax)
    assert colour(ax.lines[0]) == colour(ax.lines[1]) != colour(ax.lines[3])
    assert plots.learning_curves(history, "r2").get_ylabel() == "r2"
    with pytest.raises(ValueError, match=r"no 'accuracy': it has loss, r2"):
        plots.learning_curves(history, "accuracy")


def test_a_stack_has_its_spread_and_no_curves():
    stack = MLP.init((2, 2, 1), networks=7, rng=0)
    one, many = (fit(net, *XOR, epochs=4, optimizer=SGD(1.0)) for net in (stack[0].copy(), stack))
    ax = plots.spread(many)
    assert np.allclose(ax.lines[0].get_ydata(), np.median(many.loss, axis=1))
    assert labels(ax)[-1] == "median of 7"
    for draw, given, instead in (
        (plots.spread, one, r"plots\.learning_curves"), (plots.network, stack, r"net\[k\]"),
        (plots.learning_curves, many, r"plots\.spread"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=instead):
            draw(given)


def test_layer_monitor_records_without_changing_training():
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.zeros((40, 1))
    plain, watched = (MLP.init((2, 6, 1), rng=3) for _ in range(2))
    monitor, options = LayerMonitor(x[:10], y[:10]), {"epochs": 3, "batch_size": 8, "rng": 1}
    fit(plain, x, y, **options)
    before = watched.backward(watched.forward(x[:10]), y[:10])
    fit(watched, x, y, callbacks=[monitor], **options)
    assert np.array_equal(plain.theta, watched.theta)
    assert monitor.epoch == [0, 1, 2, 3]
    assert monitor.gradient_norm[2][0] == pytest.approx(np.sqrt((before.W[2] ** 2).sum()))
    assert plots.layer_curves(monitor).get_legend().texts[1].get_text() == "$l$ = 3"


@pytest.mark.parametrize(
    ("activation", "z", "stuck"),
    [("sigmoid", [9, 0, -9, 1], 0.5), ("tanh", [4, -4, 4, 0.1], 0.75), ("relu", [-1, -2, 3, -3], 0),
     ("relu", [-1, -2, -3, -3], 1), ("leaky_relu", [-9, -9, -9, -9], 0)],
)  # fmt: skip
def test_saturation_is_of_outputs_and_death_of_neurons(activation, z, stuck):
    net = MLP.from_weights([[[1.0]]] * 2, [[0.0], [0.0]], activation=(activation, "identity"))
    x, y = np.reshape(z, (4, 1)), [[0]] * 4  # the one hidden neuron's z is x
    monitor = LayerMonitor(x, y)
    fit(net, x, y, epochs=1, optimizer=SGD(1e-12), callbacks=[monitor])
    assert monitor.saturation[2] == [stuck, stuck]


def test_rate_range_finds_the_quadratic_s_rate():
    """E = ½ (θ - 1)² of a bias alone: η = 1 goes there in a step, η > 2 leads away."""
    net, x, y = MLP.from_weights(W=[[[0.0]]], b=[[0.0]], activation="identity"), [[0.0]], [[1.0]]
    losses = rate_range(net, x, y)
    assert losses[RATES.index(1.0)] == 0
    assert (losses[np.array(RATES) > 2] > 0.5).all()
    assert losses[RATES.index(0.1)] == pytest.approx(0.5 * 0.9**40)


def test_loss_along_gradient_ends_where_the_step_does():
    ax = plots.loss_along_gradient(NET, X[:1], Y[:1], 0.5)
    stepped = NET.with_theta(NET.theta - 0.5 * NET.backward(NET.forward(X[:1]), Y[:1]).theta)
    after = stepped.loss(stepped.forward(X[:1]), Y[:1])
    assert labels(ax)[-1] == f"after the step: {after:.4g}"
    assert ax.lines[-1].get_xydata().tolist() == [[0.5, after]]


def test_decision_regions_and_confusion_agree_with_the_net():
    net = MLP.from_weights(W=[np.eye(2)], b=[[0.0, 0.0]], activation="identity")
    x, y = np.array([[2.0, 1.0], [1.0, 2.0], [3.0, 1.0], [0.0, 1.0]]), np.eye(2)[[0, 1, 0, 0]]
    ax = plots.decision_regions(net, x, y)
    assert labels(ax) == ["class 0", "class 1"]
    assert ax.collections[-2].get_offsets().tolist() == x[[0, 2, 3]].tolist()
    border = ax.collections[1].get_paths()[0].vertices
    assert np.allclose(border[:, 0], border[:, 1], atol=0.05)  # x_1 = x_2
    ax = plots.confusion_matrix(net, x, y, names=["left", "right"])
    assert {text.get_position(): text.get_text() for text in ax.texts} == {
        (0, 0): "2", (1, 0): "1", (1, 1): "1"
    }  # fmt: skip
    assert [t.get_text() for t in ax.get_yticklabels()] == ["left", "right"]
    with pytest.raises(ValueError, match="2 inputs"):
        plots.decision_regions(IMAGES, IMAGE, [0, 0, 1])


def test_images_are_the_weights_and_the_slopes():
    ax = plots.first_layer(IMAGES, shape=(3, 4), most=4)
    weights, most = IMAGES.W[2][2].reshape(3, 4), np.abs(IMAGES.W[2][2]).max()
    assert (len(ax.images), *ax.images[2].get_clim()) == (4, -most, most)
    assert np.array_equal(ax.images[2].get_array(), weights)
    ax = plots.sensitivity(IMAGES, IMAGE, shape=(3, 4))
    assert texts(ax) == ["input", "output 0", "output 1", "output 2"]
    assert np.array_equal(ax.images[2].get_array().ravel(), IMAGES.sensitivity(IMAGE)[0, 1])
    with pytest.raises(ValueError, match=r"give shape=\(rows, cols\)"):
        plots.first_layer(IMAGES)
