"""Penalties, decay, dropout and clipping, each against its formula."""

import numpy as np
import pytest

from bpnet import MLP, SGD, AdamW, Parameters, fit
from bpnet.network.cache import Cache
from bpnet.training.regularization import Clip, Dropout, Penalty, norms, weight_coordinates
from tests.helpers.complaint import complains

X, Y = np.split(np.random.default_rng(6).normal(size=(12, 5)), [3], axis=1)


def make(sizes=(3, 5, 4, 2), **options):
    options = {"activation": "tanh", "output": "identity", "rng": 2} | options
    net = MLP.init(sizes, **options)
    for l, b in net.b.items():
        b[:] = np.linspace(-0.4, 0.3 * l, b.shape[-1])
    return net


def stack_of(net, networks=2):
    theta = np.array([net.theta * (1 - 0.3 * k) for k in range(networks)])
    return MLP(Parameters(net.sizes, theta), net.activation, net.loss_function)


def theta_after(net, steps=1, rate=0.1, **options):
    net = net.copy()
    options = {"batch_size": None, "epochs": steps, "optimizer": SGD(rate)} | options
    fit(net, X, Y, **options)
    return net.theta


def test_weight_coordinates_are_those_of_the_matrices():
    net = make()
    flags = weight_coordinates(net)
    assert flags.dtype == bool
    parameters = Parameters(net.sizes, flags)
    assert [W.all() for W in parameters.W.values()] == [True] * 3
    assert [b.any() for b in parameters.b.values()] == [False] * 3
    assert np.array_equal(weight_coordinates(stack_of(net)), flags)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.3), (0.2, 0.0), (0.2, 0.3)])
def test_step_follows_the_gradient_of_loss_and_penalty(l1, l2):
    net, h = make(), 1e-5
    twin = net.copy()

    def objective(theta):
        twin.theta = theta
        penalty = sum(l1 * abs(W).sum() + l2 / 2 * (W**2).sum() for W in twin.W.values())
        return twin.loss(twin.forward(X), Y) + penalty

    numeric = np.array(
        [(objective(net.theta + e) - objective(net.theta - e)) / (2 * h)
         for e in h * np.eye(len(net.theta))]
    )  # fmt: skip
    step = (net.theta - theta_after(net, l1=l1, l2=l2)) / 0.1
    assert step == pytest.approx(numeric, abs=1e-8)
    assert objective(net.theta) == pytest.approx(
        net.loss(net.forward(X), Y) + Penalty(net, l1, l2).value(net.theta), rel=1e-14
    )
    history = fit(net.copy(), X, Y, epochs=1, batch_size=None, optimizer=SGD(0.1), l1=l1, l2=l2)
    assert history.loss == pytest.approx([net.loss(net.forward(X), Y)], rel=1e-14)


@pytest.mark.parametrize("strength", [{"l1": 0.4}, {"l2": 0.4}])
def test_strength_does_not_depend_on_the_batch_size(strength):
    net = make()
    for size in (1, 5, 12):
        ends = [theta_after(net, batch_size=size, rate=1e-7, **how) for how in (strength, {})]
        move = (ends[0] - ends[1]) / -(-12 // size)
        assert move == pytest.approx(-1e-7 * added(net, strength), abs=1e-13)


def added(net, strength):
    """What the penalty adds to the gradient, by its formula."""
    term = strength.get("l1", 0) * np.sign(net.theta) + strength.get("l2", 0) * net.theta
    return term * weight_coordinates(net)


def test_penalty_of_a_stack_has_a_strength_for_each_network():
    net = make()
    stack = stack_of(net)
    each = Penalty(stack, [0.1, 0.0], [0.0, 0.2])
    g = np.zeros_like(stack.theta)
    each.add(stack.theta, g)
    assert g[0] == pytest.approx(added(net, {"l1": 0.1}), rel=1e-14)
    assert g[1] == pytest.approx(0.7 * added(net, {"l2": 0.2}), rel=1e-14)
    one = Penalty(net, 0.1, 0.0).value(net.theta)
    two = Penalty(net, 0.0, 0.2).value(0.7 * net.theta)
    assert each.value(stack.theta) == pytest.approx([one, two], rel=1e-14)
    assert Penalty(net.astype("float32"), 0.1, 0.1).l2.dtype == "float32"
    zero, g = np.zeros_like(net.theta), np.zeros_like(net.theta)
    penalties = Penalty(net), Penalty(net, 0.3, 0.0), Penalty(net, 0.0, 0.3)
    assert [bool(penalty) for penalty in penalties] == [False, True, True]
    assert penalties[0].value(net.theta) == 0
    penalties[1].add(zero, g)  # a weight of 0 is not moved by l1
    assert not g.any()


def test_adamw_decays_weights_and_not_biases_in_fit():
    net = make()
    rate, decay = 0.01, 0.5
    with_decay = theta_after(net, optimizer=AdamW(rate, weight_decay=decay))
    without = theta_after(net, optimizer=AdamW(rate, weight_decay=0))
    expected = -rate * decay * net.theta * weight_coordinates(net)
    assert with_decay - without == pytest.approx(expected, abs=1e-15)


def test_mask_keeps_a_share_of_the_outputs_and_their_mean():
    net = make((3, 60, 40, 2))
    cache = net.forward(np.ones((500, 3)))
    dropout = Dropout(net, {1: 0.25, 3: 0.6}, np.random.default_rng(0))
    dropout.draw(cache)
    assert cache.mask[2] is None
    for l, p in ((1, 0.25), (3, 0.6)):
        values = np.unique(cache.mask[l])
        assert values == pytest.approx([0, 1 / (1 - p)])
        size = cache.mask[l].size
        assert abs((cache.mask[l] == 0).mean() - p) < 4 * np.sqrt(p * (1 - p) / size)
        assert cache.mask[l].mean() == pytest.approx(1, abs=5 / np.sqrt(size))
    mask, first = cache.mask[3], cache.mask[3].copy()
    dropout.draw(cache)
    assert cache.mask[3] is mask
    assert not np.array_equal(mask, first)


@pytest.mark.parametrize("hidden", [1, 3])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_masks_are_drawn_whatever_the_layout(layout, hidden):
    """Also of one neuron, with the networks fastest: drawn into a view, not into a copy."""
    net = MLP.init((2, hidden, 2), networks=100, rng=0)
    net = net.with_theta(layout(net.theta))
    cache, x = Cache.empty(net.signature, net.theta, np.ones((7, 2))), np.ones((7, 2))
    dropout = Dropout(net, {1: 0.25, 2: 0.25}, np.random.default_rng(0))
    for _ in range(2):
        cache.read(x)
        dropout.draw(cache)
        for l in (1, 2):
            assert set(np.unique(cache.mask[l])) == {0, 1 / 0.75}
            assert cache.mask[l].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rates", [0.4, {1: 0.3}, {1: 0.3, 2: 0.5}])
def test_masks_come_from_the_training_rng(dtype, rates):
    net = make(dtype=dtype)
    theta, rng = theta_after(net, dropout=rates, rng=9), np.random.default_rng(9)
    rates = rates if isinstance(rates, dict) else {2: rates, 3: rates}
    mask = {}
    for l, p in rates.items():
        u = rng.random((12, net.sizes[l - 1]), dtype=dtype)
        mask[l] = (u < 1 - p) / (1 - p)
    g = net.backward(net.forward(X, mask=mask), Y).theta
    assert theta == pytest.approx(net.theta - 0.1 * g, rel=1e-12 if dtype == "float64" else 1e-5)
    assert np.array_equal(theta, theta_after(net, dropout=rates, rng=9))
    assert not np.array_equal(theta, theta_after(net, dropout=rates, rng=10))


def test_predict_and_validation_are_without_dropout():
    net = make()
    history = fit(
        net, X, Y, epochs=1, optimizer=SGD(1e-300), dropout={1: 0.5, 2: 0.5}, validation=(X, Y),
        metrics="mean_squared_error",
    )  # fmt: skip
    plain = net.loss(net.forward(X), Y)
    assert history.validation_loss == pytest.approx([plain], rel=1e-14)
    assert history.loss != pytest.approx([plain], rel=1e-3)
    mse = history.metrics["mean_squared_error"]
    assert mse == pytest.approx([((net.predict(X) - Y) ** 2).mean()], rel=1e-14)
    assert np.array_equal(net.predict(X), make().predict(X))


LIMITS = [(limit, "> 0" if abs(limit) < 2 else "finite and > 0") for limit in (0, -1, np.inf)]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ValueError, {"l1": -0.1}, "l1 must be >= 0, not -0.1"),
        (ValueError, {"l2": -1}, "l2 must be >= 0, not -1"),
        (ValueError, {"l2": np.nan}, "l2 must be finite and >= 0, not nan"),
        (ValueError, {"l1": np.inf}, "l1 must be finite and >= 0, not inf"),
        (TypeError, {"l1": "0.1"}, "l1 must be a number, not '0.1'"),
        (TypeError, {"l2": None}, "l2 must be a number, not None"),
        (ValueError, {"l2": [1, 2]}, "l2 has shape (2,), but must be one number, or …: ()"),
        (ValueError, {"dropout": 1}, "dropout must be >= 0 and < 1, not 1"),
        (ValueError, {"dropout": -0.1}, "dropout must be >= 0 and < 1, not -0.1"),
        (TypeError, {"dropout": "0.5"}, "dropout must be a number, not '0.5'"),
        (TypeError, {"dropout": [0.5, 0.5]}, "dropout must be a number, not [0.5, 0.5]"),
        (ValueError, {"dropout": {2: 1.0}}, "dropout[2] must be >= 0 and < 1, not 1"),
        (TypeError, {"dropout": {2: None}}, "dropout[2] must be a number, not None"),
        (ValueError, {"dropout": {4: 0.5}}, "dropout names layer 4, but it is for layers 1..3"),
        (ValueError, {"dropout": {0: 0.5}}, "a layer of dropout must be an integer >= 1, not 0"),
        (TypeError, {"dropout": {"2": 0.5}}, "a layer of dropout must be an integer, not '2'"),
        (TypeError, {"dropout": {2.0: 0.5}}, "a layer of dropout must be an integer, not 2.0"),
        *((ValueError, {name: limit}, f"{name} must be {what}, not {limit:g}")
          for name in ("clip_norm", "clip_value")
          for limit, what in [*LIMITS, (np.nan, "finite and > 0")]),
    ],
)  # fmt: skip
def test_bad_options(kind, options, message):
    with complains(kind, message):
        fit(make(), X, Y, epochs=1, **options)


def test_dropout_is_for_hidden_layers_and_a_mapping_for_any():
    rng = np.random.default_rng(0)
    assert Dropout(make(), 0.25, rng).keep == {2: 0.75, 3: 0.75}
    assert Dropout(make(), {1: 0.2, 3: 0.5, 2: 0}, rng).keep == {1: 0.8, 3: 0.5}
    for net, none in ((make(), 0), (make(), {}), (make((3, 2)), 0.0)):
        assert not Dropout(net, none, rng)
    fit(make((3, 2)), X, Y, epochs=1, dropout={1: 0.5})
    message = "dropout is for hidden layers, of which this net has none; {1: 0.5} drops inputs"
    with complains(ValueError, message):
        fit(make((3, 2)), X, Y, epochs=1, dropout=0.5)


def test_clip_by_norm_shortens_a_long_gradient_and_by_value_cuts_each_entry():
    g = np.array([3.0, -4.0])
    for limit, expected in ((2.5, [1.5, -2.0]), (5.0, [3, -4]), (6.0, [3, -4])):
        clipped = g.copy()
        Clip(limit, None).apply(clipped)
        assert clipped == pytest.approx(expected, rel=1e-15)
        assert np.array_equal(clipped, expected) or limit < 5
    Clip(2.5, 1.75).apply(g)  # the norm first
    assert g == pytest.approx([1.5, -1.75])
    g = np.array([3.0, -4.0, 0.5, -0.25])
    Clip(None, 0.5).apply(g)
    assert list(g) == [0.5, -0.5, 0.5, -0.25]


@np.errstate(over="ignore", invalid="ignore")
def test_clip_does_not_overflow_and_leaves_what_is_not_finite_for_training_to_see():
    for dtype in ("float32", "float64"):
        g = np.array([3, -4], dtype) * np.array(np.finfo(dtype).max / 16, dtype)
        Clip(5.0, None).apply(g)
        assert g == pytest.approx([3.0, -4.0], rel=1e-6)
        assert g.dtype == dtype
    for clip in (Clip(1.0, None), Clip(None, 1.0), Clip(1.0, 1.0)):
        for bad in (np.inf, -np.inf, np.nan):
            g = np.array([[bad, 8.0], [0.0, 8.0]])
            one = g[0].copy()
            clip.apply(one)
            assert np.array_equal(one, g[0], equal_nan=True)
            clip.apply(g)
            assert np.array_equal(g, [[bad, 8.0], [0.0, 1.0]], equal_nan=True)


def test_each_network_of_a_stack_is_clipped_by_itself():
    g = np.array([[3.0, -4.0], [0.3, 0.4], [6.0, 8.0]])
    Clip(1.0, None).apply(g)
    assert g == pytest.approx(np.array([[0.6, -0.8], [0.3, 0.4], [0.6, 0.8]]))
    assert norms(g) == pytest.approx(np.array([[1.0], [0.5], [1.0]]))
    with np.errstate(over="ignore"):
        long = norms(np.array([[0.3, 0.4], [0.0, 0.0], [3e38, 4e37], [3e38, 3e38]], "f"))
    expected = [0.5, 0.0, 3e38 * np.sqrt(1 + 4 / 225), 3e38 * np.sqrt(2)]
    assert long[:, 0] == pytest.approx(expected, rel=1e-7)


def test_fit_clips_after_the_penalty():
    net = make()
    g = net.backward(net.forward(X), Y).theta + added(net, {"l1": 0.2, "l2": 3.0})
    length = np.sqrt((g * g).sum())
    move = net.theta - theta_after(net, l1=0.2, l2=3.0, clip_norm=length / 7)
    assert move == pytest.approx(0.1 * g / 7, rel=1e-10)
    move = net.theta - theta_after(net, l1=0.2, l2=3.0, clip_value=0.05)
    assert move == pytest.approx(0.1 * np.clip(g, -0.05, 0.05), rel=1e-8, abs=1e-12)
    assert np.array_equal(theta_after(net), theta_after(net, clip_norm=1e6, clip_value=1e6))
    assert [bool(Clip(*limits)) for limits in ((), (1.0, None), (None, 1.0))] == [False, True, True]
