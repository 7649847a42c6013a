"""The pictures, by what they hold: lines, texts, limits and colours, not pixels."""

import itertools

import numpy as np
import pytest

from bpnet import MLP, SGD, EarlyStopping, LayerMonitor, fit, plots
from bpnet.training.vitals import RATES, rate_range

matplotlib = pytest.importorskip("matplotlib", reason="plots need matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import same_color, to_rgba  # noqa: E402
from matplotlib.patches import Circle  # noqa: E402

X, Y = np.array([[0.05, 0.10], [0.5, -0.3]]), np.array([[0.01, 0.99], [0.2, 0.7]])
XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [1], [1], [0]])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def published():
    W = [[[0.15, 0.20], [0.25, -0.30]], [[0.40, 0.45], [0.50, 0.55]]]
    return MLP.from_weights(W=W, b=[[0.35, 0.35], [0.60, 0.60]])


def pixels(n_L=3, hidden=5):
    return MLP.init((12, hidden, n_L), rng=0)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def circles(ax):
    return [patch for patch in ax.patches if isinstance(patch, Circle)]


def boxes_of_texts(ax):
    ax.figure.canvas.draw()
    return [text.get_window_extent() for text in ax.texts if text.get_text()]


@pytest.mark.parametrize("background", ["default", "dark_background"])
@pytest.mark.parametrize("sizes", [(2, 2, 2), (3, 4, 2, 1), (784, 30, 10), (2, *[3] * 9, 2)])
def test_network_has_no_overlapping_texts_and_the_colours_of_the_style(sizes, background):
    with plt.style.context(background):
        net = MLP.init(sizes, rng=1)
        cache = net.forward(np.linspace(-1, 1, sizes[0]))
        ax = plots.network(net, cache, net.backward(cache, np.zeros(sizes[-1])))
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes_of_texts(ax), 2))
        figure = ax.figure.get_window_extent()
        assert all(figure.count_contains(box.corners()) == 4 for box in boxes_of_texts(ax))
        assert {text.get_color() for text in ax.texts} == {plt.rcParams["text.color"]}


def test_network_writes_each_number_and_shows_its_sign():
    net = published()
    cache = net.forward(X)
    grad = net.backward(cache, Y)
    ax = plots.network(net, cache, grad, sample=1)
    written = texts(ax)
    for number in ("0.150", "−0.300", "0.500", "0.450", "$b$ 0.350", "$b$ 0.600"):
        assert number in written
    for l in (2, 3):
        for i in range(2):
            a, delta = cache.a[l][1, i], grad.delta[l][1, i]
            assert f"{a:.3f}\n$\\delta$ {delta:.3f}".replace("-", "−") in written
    assert "$a^{2}$  sigmoid\n2" in written
    positive, negative = (to_rgba(c)[:3] for c in (plots.POSITIVE, plots.NEGATIVE))
    signs = [line.get_color() for line in ax.lines]
    assert len(signs) == 8
    assert [to_rgba(c)[:3] for c in signs].count(negative) == 1
    widest = max(ax.lines[:4], key=lambda line: line.get_linewidth())
    assert to_rgba(widest.get_color())[:3] == negative  # −0.30, the largest of its layer
    rims = [to_rgba(c.get_edgecolor())[:3] for c in circles(ax)[1::2]]
    deltas = [d for l in (2, 3) for d in grad.delta[l][1]]
    assert rims[2:] == [positive if d >= 0 else negative for d in deltas]


def test_network_abridges_what_does_not_fit_and_says_so():
    ax = plots.network(MLP.init((784, 30, 4), rng=0), most=5)
    assert len(circles(ax)) == 2 * (5 + 5 + 4)
    assert len(ax.lines) == 25 + 20
    assert {"779 more", "25 more"} <= set(texts(ax))


def test_everything_draws_where_it_is_told_and_changes_no_net(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("a plot is shown by its user"))
    net, image_net = MLP.init((2, 3, 1), rng=0), pixels()
    before = net.theta.copy(), image_net.theta.copy()
    monitor = LayerMonitor(*XOR)
    history = fit(net.copy(), *XOR, epochs=3, callbacks=[monitor])
    stack = fit(MLP.init((2, 3, 1), networks=4, rng=0), *XOR, epochs=3)
    image = np.arange(12.0)
    for draw in (
        lambda ax: plots.network(net, ax=ax),
        lambda ax: plots.learning_curves(history, ax=ax),
        lambda ax: plots.layer_curves(monitor, ax=ax),
        lambda ax: plots.layer_curves(monitor, "saturation", ax=ax),
        lambda ax: plots.spread(stack, ax=ax),
        lambda ax: plots.rate_test(net, *XOR, ax=ax),
        lambda ax: plots.loss_along_gradient(net, *XOR, 0.5, ax=ax),
        lambda ax: plots.decision_regions(net, *XOR, ax=ax),
        lambda ax: plots.confusion_matrix(net, *XOR, ax=ax),
        lambda ax: plots.first_layer(image_net, shape=(3, 4), ax=ax),
        lambda ax: plots.sensitivity(image_net, image, shape=(3, 4), ax=ax),
    ):
        _, ax = plt.subplots()
        assert draw(ax) is ax
        assert draw(None) not in (None, ax)
        plt.close("all")
    assert np.array_equal(net.theta, before[0])
    assert np.array_equal(image_net.theta, before[1])


def test_learning_curves():
    net = MLP.init((2, 3, 1), rng=0)
    history = fit(
        net, *XOR, epochs=8, validation=XOR, metrics="r2", early_stopping=EarlyStopping(20)
    )
    ax = plots.learning_curves(history)
    assert labels(ax) == ["training", "validation", "best epoch"]
    assert list(ax.lines[0].get_ydata()) == history.loss
    assert list(ax.lines[1].get_xdata()) == list(range(1, 9))
    plots.learning_curves(history, label="again", ax=ax)
    assert "again, training" in labels(ax)
    assert not same_color(ax.lines[0].get_color(), ax.lines[3].get_color())
    assert plots.learning_curves(history, "r2").get_ylabel() == "r2"
    with pytest.raises(ValueError, match=r"no 'accuracy': it has loss, r2"):
        plots.learning_curves(history, "accuracy")
    history.loss = [1.0, 0.1, 0.01]
    assert plots.learning_curves(history).get_yscale() == "log"


def test_spread_and_curves_refuse_the_other_history():
    net, stack = MLP.init((2, 2, 1), rng=0), MLP.init((2, 2, 1), networks=7, rng=0)
    one, many = (fit(n, *XOR, epochs=4, optimizer=SGD(1.0)) for n in (net, stack))
    ax = plots.spread(many)
    assert np.allclose(ax.lines[0].get_ydata(), np.median(many.loss, axis=1))
    assert labels(ax)[-1] == "median of 7"
    with pytest.raises(TypeError, match=r"plots\.learning_curves"):
        plots.spread(one)
    with pytest.raises(TypeError, match=r"plots\.spread"):
        plots.learning_curves(many)
    with pytest.raises(TypeError, match=r"net\[k\]"):
        plots.network(stack)


def test_layer_monitor_records_without_changing_training():
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.zeros((40, 1))
    plain, watched = (MLP.init((2, 6, 1), rng=3) for _ in range(2))
    monitor = LayerMonitor(x[:10], y[:10])
    options = {"epochs": 3, "batch_size": 8, "rng": 1}
    fit(plain, x, y, **options)
    grad = watched.backward(watched.forward(x[:10]), y[:10])
    fit(watched, x, y, callbacks=[monitor], **options)
    assert np.array_equal(plain.theta, watched.theta)
    assert monitor.epoch == [0, 1, 2, 3]
    assert monitor.gradient_norm[2][0] == pytest.approx(np.sqrt((grad.W[2] ** 2).sum()))
    assert plots.layer_curves(monitor).get_legend().texts[1].get_text() == "$l$ = 3"


@pytest.mark.parametrize(
    ("activation", "z", "stuck"),
    [("sigmoid", [9, 0, -9, 1], 0.5), ("tanh", [4, -4, 4, 0.1], 0.75), ("relu", [-1, -2, 3, -3], 0),
     ("relu", [-1, -2, -3, -3], 1), ("leaky_relu", [-9, -9, -9, -9], 0)],
)  # fmt: skip
def test_saturation_is_of_outputs_and_death_of_neurons(activation, z, stuck):
    """One hidden neuron whose z is x."""
    activations = (activation, "identity")
    net = MLP.from_weights(W=[[[1.0]], [[1.0]]], b=[[0.0], [0.0]], activation=activations)
    x = np.reshape(z, (-1, 1))
    monitor = LayerMonitor(x, np.zeros((4, 1)))
    fit(net, x, np.zeros((4, 1)), epochs=1, optimizer=SGD(1e-12), callbacks=[monitor])
    assert monitor.saturation[2] == [stuck, stuck]


def test_rate_test_finds_the_quadratic_s_rate():
    """E = ½ (θ - 1)² of a bias alone: η = 1 goes there in a step, η > 2 leads away."""
    net = MLP.from_weights(W=[[[0.0]]], b=[[0.0]], activation="identity")
    x, y = [[0.0]], [[1.0]]
    losses = rate_range(net, x, y)
    assert losses[RATES.index(1.0)] == 0
    assert (losses[np.array(RATES) > 2] > 0.5).all()
    assert losses[RATES.index(0.1)] == pytest.approx(0.5 * 0.9**40)
    assert "lowest at 1" in labels(plots.rate_test(net, x, y))


def test_loss_along_gradient_ends_where_the_step_does():
    net = published()
    ax = plots.loss_along_gradient(net, X[:1], Y[:1], 0.5)
    cache = net.forward(X[:1])
    stepped = net.with_theta(net.theta - 0.5 * net.backward(cache, Y[:1]).theta)
    after = stepped.loss(stepped.forward(X[:1]), Y[:1])
    assert labels(ax)[-1] == f"after the step: {after:.4g}"
    assert ax.lines[-1].get_xydata().tolist() == [[0.5, after]]


def test_decision_regions_and_confusion_agree_with_the_net():
    net = MLP.from_weights(W=[[[1.0, 0.0], [0.0, 1.0]]], b=[[0.0, 0.0]], activation="identity")
    x = np.array([[2.0, 1.0], [1.0, 2.0], [3.0, 1.0], [0.0, 1.0]])
    y = np.eye(2)[[0, 1, 0, 0]]
    ax = plots.decision_regions(net, x, y)
    assert labels(ax) == ["class 0", "class 1"]
    assert ax.collections[-2].get_offsets().tolist() == x[[0, 2, 3]].tolist()
    border = ax.collections[1].get_paths()[0].vertices
    assert np.allclose(border[:, 0], border[:, 1], atol=0.05)  # x_1 = x_2
    ax = plots.confusion_matrix(net, x, y, names=["left", "right"])
    placed = {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts
    }
    assert placed == {(0, 0): "2", (0, 1): "1", (1, 1): "1"}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["left", "right"]
    with pytest.raises(ValueError, match="2 inputs"):
        plots.decision_regions(pixels(), np.zeros((1, 12)), [[0, 0, 1]])


def test_images_are_the_weights_and_the_slopes():
    net, x = pixels(), np.linspace(0, 1, 12)
    ax = plots.first_layer(net, shape=(3, 4), most=4)
    assert len(ax.images) == 4
    assert np.array_equal(ax.images[2].get_array(), net.W[2][2].reshape(3, 4))
    low, high = ax.images[2].get_clim()
    assert -low == high == np.abs(net.W[2][2]).max()
    ax = plots.sensitivity(net, x, shape=(3, 4))
    assert texts(ax) == ["input", "output 0", "output 1", "output 2"]
    assert np.array_equal(ax.images[2].get_array(), net.sensitivity(x)[0, 1].reshape(3, 4))
    with pytest.raises(ValueError, match=r"give shape=\(rows, cols\)"):
        plots.first_layer(net)
