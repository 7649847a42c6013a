"""fit: the same bits as a loop written by hand, on the user's data as they are, in place."""

import math
import pickle
import tracemalloc

import numpy as np
import pytest

from bpnet import MLP, SGD, Adam, Schedule, TrainingDiverged, fit
from bpnet.network.gradient import Gradient
from bpnet.training import loop
from bpnet.training.step import make_step
from tests.helpers.complaint import complains, refuses
from tests.helpers.rules import RULES, Spy

NETS = {
    "sigmoid, half squared error": {"activation": "sigmoid"},
    "relu, softmax, cross-entropy": {"activation": "relu", "loss": "cross_entropy"},
    "tanh, identity, huber": {"activation": "tanh", "output": "identity", "loss": "huber"},
    "binary cross-entropy": {"activation": "elu", "loss": "binary_cross_entropy"},
}
every_net = pytest.mark.parametrize("kind", NETS)


def problem(kind="tanh, identity, huber", m=23, dtype="float64", sizes=(4, 6, 5, 3)):
    rng = np.random.default_rng(11)
    x = rng.normal(size=(m, sizes[0])).astype(dtype)
    labels = (abs(x[:, 0]) * 2 + x[:, 1] > 1).astype(int) + (x[:, 2] > 0.5)
    y = np.eye(sizes[-1], dtype=dtype)[labels % sizes[-1]]
    return MLP.init(sizes, rng=5, dtype=dtype, **NETS[kind]), x, y


@every_net
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [1, 5, 23])
def test_fit_is_the_loop_by_hand_bit_for_bit(kind, dtype, size):
    net, x, y = problem(kind, dtype=dtype)
    twin, rng = net.copy(), np.random.default_rng(3)
    eta = np.array(0.05, dtype)
    losses = []
    for _ in range(3):
        total = 0.0
        order = rng.permutation(23) if size < 23 else np.arange(23)
        for start in range(0, 23, size):
            rows = order[start : start + size]
            cache = twin.forward(x[rows])
            total += len(rows) * twin.loss(cache, y[rows])
            twin.theta -= eta * twin.backward(cache, y[rows]).theta
        losses.append(total / 23)
    history = fit(net, x, y, epochs=3, batch_size=size, optimizer=SGD(0.05), rng=3)
    assert np.array_equal(net.theta, twin.theta)
    assert history.loss == pytest.approx(losses, rel=1e-12 if dtype == "float64" else 1e-6)


@every_net
def test_one_sample_a_step_may_share_delta_and_the_bias_gradient(kind, monkeypatch):
    """`Gradient.shared` against arrays of their own, with all that touches either."""
    net, x, y = problem(kind)
    twin, plain = net.copy(), net.copy()
    how = {"epochs": 3, "batch_size": 1, "l1": 0.01, "l2": 0.1, "dropout": 0.2, "clip_norm": 0.5}
    how |= {"sample_weight": np.linspace(0.5, 2, len(x)), "rng": 1}
    fit(net, x, y, **how)
    fit(plain, x, y, epochs=3, batch_size=1, rng=1)
    monkeypatch.setattr(Gradient, "shared", Gradient.empty)
    fit(twin, x, y, **how)
    assert np.array_equal(net.theta, twin.theta)
    assert not np.array_equal(net.theta, plain.theta)


@pytest.mark.parametrize("name", ["Adam", "Nesterov"])
def test_any_rule_steps_as_by_hand(name):
    net, x, y = problem()
    twin, other = net.copy(), RULES[name](0.05)
    fit(net, x, y, epochs=4, batch_size=None, optimizer=RULES[name](0.05))
    for _ in range(4):
        other.step(twin.theta, twin.backward(twin.forward(x), y).theta)
    assert np.array_equal(net.theta, twin.theta)


def test_same_seed_same_bits_other_seed_other_bits_and_the_defaults():
    thetas = []
    for rng in (7, np.random.default_rng(7), 8):
        net, x, y = problem()
        fit(net, x, y, epochs=3, rng=rng, dropout=0.2, validation=0.3)
        thetas.append(net.theta)
    assert np.array_equal(thetas[0], thetas[1])
    assert not np.array_equal(thetas[0], thetas[2])
    net, x, y = problem(m=70)
    twin = net.copy()
    fit(net, x, y, epochs=2)  # by Adam, on batches of 32
    fit(twin, x, y, epochs=2, batch_size=32, optimizer=Adam(0.001), rng=0)
    assert np.array_equal(net.theta, twin.theta)


def test_fit_goes_on_from_the_present_weights():
    net, x, y = problem()
    twin = net.copy()
    options = {"optimizer": SGD(0.1), "batch_size": None}
    first = fit(net, x, y, epochs=6, **options)
    parts = [fit(twin, x, y, epochs=n, **options) for n in (2, 4)]
    assert np.array_equal(net.theta, twin.theta)
    assert first.loss == parts[0].loss + parts[1].loss


@pytest.mark.parametrize("rule", [*RULES.values()][1:], ids=[*RULES][1:])
def test_keep_state_goes_on_with_the_optimizer_s_memory(rule):
    whole, kept, fresh = rule(0.05), rule(0.05), rule(0.05)
    net, x, y = problem()
    twin, third = net.copy(), net.copy()
    fit(net, x, y, epochs=5, batch_size=None, optimizer=whole)
    fit(twin, x, y, epochs=2, batch_size=None, optimizer=kept)
    fit(twin, x, y, epochs=3, batch_size=None, optimizer=kept, keep_state=True)
    fit(third, x, y, epochs=2, batch_size=None, optimizer=fresh)
    fit(third, x, y, epochs=3, batch_size=None, optimizer=fresh)
    assert np.array_equal(net.theta, twin.theta)
    assert not np.array_equal(net.theta, third.theta)
    assert (whole.t, kept.t, fresh.t) == (5, 5, 3)
    other, how = MLP.init((4, 3), rng=0), {"epochs": 1, "optimizer": kept, "keep_state": True}
    name = next(iter(kept.state))
    with refuses(other, ValueError, f"the optimizer's {name} is float64 of shape (83,)…afresh"):
        fit(other, x, y, **how)
    kept.state[name][4] = math.nan  # as after divergence
    with complains(ValueError, f"the optimizer's {name} is not finite…start it afresh"):
        fit(net, x, y, **how)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*RULES][1:])
def test_dtype_is_kept_throughout(dtype, name, monkeypatch):
    net, x, y = problem(dtype=dtype)
    rule = RULES[name](0.05)
    steps, seen = [], set()
    monkeypatch.setattr(loop, "make_step", lambda *a: steps.append(make_step(*a)) or steps[-1])

    def look(training):
        (step,) = steps
        seen.update(a.dtype for a in held(step.take))

    def held(value):
        if isinstance(value, np.ndarray):
            yield value
        elif callable(value) and getattr(value, "__closure__", None):
            for cell in value.__closure__:
                yield from held(cell.cell_contents)
        elif hasattr(value, "fed"):
            yield from [*value.z.list[2:], *value.a.list[1:], *value.fed[1:]]
        elif hasattr(value, "delta"):
            yield from [value.theta, value.ones, *value.delta.list[2:]]

    history = fit(
        net, x, y, epochs=2, batch_size=None, optimizer=rule, callbacks=[look],
        l1=0.01, l2=0.01, clip_norm=1.0, sample_weight=np.arange(1, 24), validation=(x, y),
    )  # fmt: skip
    assert seen == {np.dtype(dtype)}
    assert {v.dtype for v in rule.state.values()} == {np.dtype(dtype)}
    assert net.theta.dtype == dtype
    assert {type(v) for v in [*history.loss, *history.validation_loss, *history.time]} == {float}


def test_float32_losses_are_added_in_float64():
    net = MLP.init((1, 1), activation="identity", rng=0, dtype="float32")
    net.theta = [0.0, 0.1]
    m = 20_000
    x = np.zeros((m, 1), "float32")
    history = fit(net, x, x, epochs=1, batch_size=1, optimizer=SGD(1e-12), shuffle=False)
    assert history.loss == pytest.approx([0.005], rel=2e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("size", [None, 5])
def test_data_are_never_written_to(dtype, size):
    net, x, y = problem("sigmoid, half squared error", dtype="float32")
    x, y = (x > 0).astype(dtype), y.astype(dtype)
    weight = np.arange(23.0)
    before = [a.copy() for a in (x, y, weight)]
    for a in (x, y, weight):
        a.flags.writeable = False
    fit(
        net, x, y, epochs=2, batch_size=size, sample_weight=weight, validation=(x, y, weight),
        dropout={1: 0.3, 2: 0.3}, metrics=("accuracy", "r2"),
    )  # fmt: skip
    for a, b in zip((x, y, weight), before, strict=True):
        assert np.array_equal(a, b)


class Measured(Schedule):
    """Notes the memory that Python has asked for, now and at most since the step before."""

    def __init__(self):
        self.now, self.peak = [], []

    def __call__(self, t):
        now, peak = tracemalloc.get_traced_memory()
        self.now.append(now)
        self.peak.append(peak)
        tracemalloc.reset_peak()
        return 1e-3


# NumPy itself buffers 8192 numbers where it broadcasts a row: 64 kB, however large the arrays.
BUFFERS = 80_000


STEPS = {
    **{name: {"optimizer": rule} for name, rule in RULES.items()},
    "penalties": {"l1": 0.01, "l2": 0.01},
    "dropout": {"dropout": {1: 0.1, 2: 0.5}},
    "clipping by norm": {"clip_norm": 0.01},
    "clipping by value": {"clip_value": 0.01},
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("kind", [kind for kind in NETS if "huber" not in kind])
def test_a_step_allocates_no_array(kind, name):
    sizes, size = (80, 60, 50), 400  # x 256 kB, z² 192 kB, z³ 160 kB, θ 63 kB; θ fits the buffers
    net, x, y = problem(kind, m=1200, sizes=sizes)
    measured = Measured()
    options = dict(STEPS[name])
    optimizer = options.pop("optimizer", SGD)(measured)
    tracemalloc.start()
    fit(net, x, y, epochs=4, batch_size=size, optimizer=optimizer, **options)
    tracemalloc.stop()
    # Each epoch asks at its start and at each of its 3 steps; the first has warmed up.
    now, peak = (np.array(a[-12:]).reshape(3, 4) for a in (measured.now, measured.peak))
    assert (peak[:, 2:] - now[:, 1:-1]).max() < BUFFERS
    assert abs(now[-1] - now[0]).max() < 5_000


def test_small_batches_and_shuffling_allocate_next_to_nothing():
    net, x, y = problem("sigmoid, half squared error", m=100, sizes=(784, 30, 10))
    measured = Measured()
    tracemalloc.start()
    fit(net, x, y, epochs=3, batch_size=10, optimizer=SGD(measured))
    tracemalloc.stop()
    within = np.array(measured.peak[-9:]) - measured.now[-10:-1]
    assert within.max() < 6_000  # the batch has 63 kB, θ 191 kB; NumPy's buffers for z² 2.4 kB
    x, y = np.ones((100_000, 50), "float32"), np.ones((100_000, 1), "float32")  # 20 MB, shuffled
    net = MLP.init((50, 1), rng=0, dtype="float32")
    tracemalloc.start()
    fit(net, x, y, epochs=2, batch_size=1000, sample_weight=np.ones(100_000), validation=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # the order, the rows set aside, the weights: 0.8 MB each


def test_divergence_restores_the_weights_before_the_step():
    _, x, y = problem()
    net = MLP.init((4, 3), activation="identity", rng=1)
    spy = Spy(30.0, lambda theta, g: theta.copy())
    grown = pytest.warns(RuntimeWarning, match="the loss has grown")
    with grown, pytest.raises(TrainingDiverged) as caught:
        fit(net, x, y, epochs=500, batch_size=None, optimizer=spy)
    error = caught.value
    assert np.isfinite(net.theta).all()
    assert np.array_equal(net.theta, spy.seen[-1])
    assert error.epoch == len(spy.seen) == len(error.history) + 1
    assert (error.step, error.layer, error.learning_rate) == (1, 2, 30.0)
    assert isinstance(error, ArithmeticError)
    assert str(error) == (
        f"training diverged in epoch {error.epoch}, step 1: the loss is not finite, from the loss "
        "of a[2] on; the learning rate in use, 30, is likely too large; try 3. "
        "The net keeps its last finite weights"
    )
    assert np.isfinite(error.history.loss).all()
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error)
    assert vars(back) == vars(error)


NONE = "; no step was taken yet, so scale the data or the start weights. The net…"
R = "; the learning rate in use…"


@pytest.mark.parametrize(
    ("W", "x", "options", "layer", "message"),
    [
        ([1, 1, 1e200], [0, 0, 1e150], {}, 4, f"step 3: the loss is not finite, from z[4] on{R}"),
        ([1, 1e200], [1e-60], {}, 2, f"step 1: the step is not finite, from delta[2] on{R}"),
        ([1, 1e200], [1e-60], {"clip_value": 1.0}, 2, f"…step is not finite, from delta[2] on{R}"),
        ([1, 1e200], [1e-60], {"clip_norm": 1.0}, 2, f"…step is not finite, from delta[2] on{R}"),
        ([1, 1], [1], {"optimizer": SGD(1.7e308), "l2": 99.0}, 3, f"…from the step of W[3] on{R}"),
        ([1, 1], [1e200], {}, 3, f"step 1: the loss is not finite, from the loss of a[3] on{NONE}"),
    ],
)  # fmt: skip
def test_divergence_names_the_step_and_where_it_begins(W, x, options, layer, message):
    x, W = np.array(x)[:, None], [[[w]] for w in W]
    net = MLP.from_weights(W, [[0.0]] * len(W), activation="identity")
    how = {"epochs": 1, "batch_size": 1, "shuffle": False, "optimizer": SGD(0.1)} | options
    with refuses(net, TrainingDiverged, f"training diverged in epoch 1, {message}") as net:
        fit(net, x, 0 * x, **how)
    with pytest.raises(TrainingDiverged) as caught:
        fit(net, x, 0 * x, **how)
    assert (caught.value.epoch, caught.value.layer) == (1, layer)


@pytest.mark.parametrize("rule", [Adam(1e3), SGD(1e2)])
def test_loss_that_explodes_but_stays_finite_warns_once(rule):
    net, x, y = problem()
    with pytest.warns(RuntimeWarning) as caught:
        history = fit(net, x, y, epochs=30, optimizer=rule)
    assert np.isfinite(history.loss).all()
    assert len(caught) == 1
    text = str(caught[0].message)
    rate = rule.learning_rate
    assert text.startswith("the loss has grown to ")
    assert text.endswith(f"rate in use, {rate:g}, is likely too large; try {rate / 10:g}")
    assert caught[0].filename == __file__


def test_a_loss_that_was_low_by_chance_has_not_exploded():
    net = MLP.from_weights([[[0.0]]], [[0.0]], activation="identity")
    batches = [(np.ones((4, 1)), np.full((4, 1), t)) for t in [0.3, *[1e-12] * 3, 0.1]]
    fit(net.copy(), iter(batches), epochs=5, steps_per_epoch=1, optimizer=SGD(0.5))
    y = np.array([[1e-6], [1.0], [1.0], [1.0]])  # a first sample that fits
    how = {"batch_size": 1, "shuffle": False, "optimizer": SGD(1e-9)}
    assert fit(net, np.ones((4, 1)), y, epochs=2, **how).loss[1] == pytest.approx(0.375)


class Setting(SGD):
    """Sets one coordinate of the step."""

    def __init__(self, place, value):
        super().__init__(0.1)
        self.place, self.value = place, value

    def compute(self, theta, g, move):
        super().compute(theta, g, move)
        move[..., self.place] = self.value


@pytest.mark.parametrize("place", [0, 9_999, 10_000, 11_999])
def test_a_move_that_is_not_finite_is_seen_wherever_it_stands(place):
    net = MLP.init((119, 100), activation="identity", rng=0)
    with refuses(net, TrainingDiverged, "training diverged …: the step is not finite…"):
        how = {"epochs": 1, "optimizer": Setting(place, math.nan)}
        fit(net, np.ones((2, 119)), np.ones((2, 100)), **how)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("networks", [None, 1, 3, 100])
def test_two_finite_numbers_whose_difference_overflows_are_divergence(dtype, networks):
    net = MLP.init((1, 1), activation="tanh", networks=networks, dtype=dtype, rng=0)
    net.theta[..., -1] = 0.2 * np.finfo(dtype).max
    leap = Setting(-1, -0.9 * np.finfo(dtype).max)
    with refuses(net, TrainingDiverged, "…diverged…: the step is not finite…"):
        fit(net, np.ones((2, 1)), np.ones((2, 1)), epochs=3, optimizer=leap)
