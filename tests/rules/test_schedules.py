"""Schedules against their formulas, evaluated by hand and over time."""

import math
from functools import partial

import numpy as np
import pytest

from bpnet import (
    MLP,
    SGD,
    Adam,
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    Warmup,
    fit,
)
from bpnet.rules.schedules import Constant, as_rate, as_schedule
from tests.helpers.complaint import complains

RATED = [Constant, StepDecay, ExponentialDecay, InverseScaling, ReduceOnPlateau]


@pytest.mark.parametrize(
    ("schedule", "at", "rate"),
    [
        (Constant(0.3), 17.2, 0.3),
        (StepDecay(0.8, every=3, factor=0.5), 0, 0.8),
        (StepDecay(0.8, every=3, factor=0.5), 2.99, 0.8),
        (StepDecay(0.8, every=3, factor=0.5), 3, 0.4),
        (StepDecay(0.8, every=3, factor=0.5), 7, 0.2),
        (StepDecay(0.8), 9, 0.8),  # every 10 epochs to a tenth
        (StepDecay(0.8), 20, 0.008),
        (ExponentialDecay(0.8, factor=0.5), 0, 0.8),
        (ExponentialDecay(0.8, factor=0.5), 0.5, 0.8 / math.sqrt(2)),
        (ExponentialDecay(0.8, factor=0.5), 3, 0.1),
        (ExponentialDecay(0.8), 1, 0.76),
        (InverseScaling(0.6), 0, 0.6),
        (InverseScaling(0.6), 3, 0.3),
        (InverseScaling(0.6, power=1), 1.5, 0.24),
        (CosineDecay(0.6, epochs=8), 0, 0.6),
        (CosineDecay(0.6, epochs=8), 2, 0.3 * (1 + math.sqrt(0.5))),
        (CosineDecay(0.6, epochs=8), 4, 0.3),
        (CosineDecay(0.6, epochs=8), 8, 0.0),
        (CosineDecay(0.6, epochs=8, final=0.2), 4, 0.4),
        (CosineDecay(0.6, epochs=8, final=0.2), 8, 0.2),
        (CosineDecay(0.6, epochs=8, final=0.2), 100, 0.2),
        (Warmup(4, 0.8), 0, 0.08),
        (Warmup(4, 0.8, start=0.5), 0, 0.4),
        (Warmup(4, 0.8, start=0.5), 1, 0.5),
        (Warmup(4, 0.8, start=0.5), 4, 0.8),
        (Warmup(0.5, 0.8, start=0.5), 0.25, 0.6),
        (Warmup(4, 0.8, start=1), 1, 0.8),
        (Warmup(2, CosineDecay(0.6, epochs=8), start=0.25), 1, 0.375),
        (Warmup(2, CosineDecay(0.6, epochs=8)), 2, 0.6),
        (Warmup(2, CosineDecay(0.6, epochs=8)), 6, 0.3),
        (Warmup(2, ExponentialDecay(0.8, factor=0.5)), 3.5, 0.8 * 0.5**1.5),
    ],
)
def test_formula(schedule, at, rate):
    assert schedule(at) == pytest.approx(rate, rel=1e-14, abs=1e-17)


def test_what_changes_within_an_epoch():
    within = ExponentialDecay(1), InverseScaling(1), CosineDecay(1, 2), Warmup(1, 1)
    between = Constant(1), StepDecay(1), ReduceOnPlateau(1)
    assert all(schedule.every_step for schedule in within)
    assert not any(schedule.every_step for schedule in between)


def test_defaults_of_a_plateau():
    """Those of the others stand in the table."""
    assert ReduceOnPlateau(1) == ReduceOnPlateau(1, 0.5, patience=5, min_delta=0.0, least=0.0)


def rates(schedule, losses):
    found = []
    for loss in losses:
        found.append(schedule(0.0))
        schedule.observe(loss)
    return [*found, schedule(0.0)]


def test_plateau_waits_for_its_patience_then_drops_and_waits_again():
    schedule = ReduceOnPlateau(0.8, factor=0.5, patience=2)
    losses = [3.0, 2.0, 2.0, 2.5, 2.0, 2.1, 2.1, 2.1, 1.9]
    #         best  best  1    2    drop  1    2   drop  best
    assert rates(schedule, losses) == [0.8, 0.8, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]
    assert type(schedule(0.0)) is float
    assert (float(schedule.best), int(schedule.waited), int(schedule.drops)) == (1.9, 0, 2)


def test_plateau_counts_an_improvement_above_min_delta_only():
    schedule = ReduceOnPlateau(0.8, patience=0, min_delta=0.5)
    assert rates(schedule, [3.0, 2.5, 2.4, 1.9]) == [0.8, 0.8, 0.4, 0.4, 0.2]
    assert schedule.best == 2.4


def test_plateau_never_falls_below_least():
    schedule = ReduceOnPlateau(0.8, factor=0.1, patience=0, least=0.05)
    assert rates(schedule, [1, 1, 1, 1]) == pytest.approx([0.8, 0.8, 0.08, 0.05, 0.05])


def test_plateau_takes_nan_for_no_improvement():
    schedule = ReduceOnPlateau(0.8, patience=0)
    assert rates(schedule, [math.nan, 1.0]) == [0.8, 0.4, 0.4]


def test_plateau_state_goes_from_one_to_another():
    first = Warmup(1, ReduceOnPlateau(0.8, patience=1))
    for loss in (3.0, 3.0, 4.0, 5.0):
        first.observe(loss)
    other = Warmup(1, ReduceOnPlateau(0.8, patience=1))
    other.state = first.state
    assert set(first.state) == {"best", "waited", "drops"}
    for loss in (5.0, 1.0):
        for schedule in (first, other):
            schedule.observe(loss)
        assert first(2.0) == other(2.0)
    assert other(2.0) == 0.2
    other.reset()
    assert (other(2.0), other.then.best, other.then.waited) == (0.8, math.inf, 0)
    assert other.then.drops == 0


def test_who_observes():
    assert ReduceOnPlateau(1).observes
    assert Warmup(1, ReduceOnPlateau(1)).observes
    assert not Warmup(1, 0.1).observes
    assert not CosineDecay(1, 2).observes


def test_schedule_without_state():
    schedule = Constant(0.3)
    assert schedule.state == {}
    schedule.state = {}
    schedule.observe(1.0)
    schedule.reset()
    assert schedule(1) == 0.3
    with pytest.raises(NotImplementedError):
        Schedule()(0.0)


def test_state_of_a_schedule_of_one_s_own():
    class Counted(Schedule):
        @property
        def state(self):
            return {"n": self.n}

        @state.setter
        def state(self, state):
            Schedule.state.fset(self, state)

    schedule = Counted()
    schedule.state = {"n": 3}
    assert schedule.n == 3


def test_rate_may_be_one_for_each_network():
    two = [0.8, 0.4]
    for schedule in (StepDecay(two), CosineDecay(tuple(two), 2), ReduceOnPlateau(np.array(two))):
        assert schedule(0.0) == pytest.approx([0.8, 0.4])
    plateau = ReduceOnPlateau([0.8, 0.4], patience=0)
    for loss in ([1.0, 1.0], [0.5, 2.0]):
        plateau.observe(np.array(loss))
    assert list(plateau(0.0)) == [0.8, 0.2]


def test_as_rate_and_as_schedule():
    assert as_rate(2) == 2.0
    assert isinstance(as_rate(2), float)
    assert isinstance(as_rate([1, 2]), np.ndarray)
    schedule = StepDecay(1)
    assert as_schedule(schedule) is schedule
    assert as_schedule(0.5) == Constant(0.5)
    with complains(ValueError, "rho[1] must be > 0, not -1"):
        as_rate([1.0, -1.0], "rho")


@pytest.mark.parametrize(
    ("make", "name", "bounds", "outside"),
    [
        (partial(StepDecay, 1), "every", "an integer >= 1", (0,)),
        (partial(StepDecay, 1), "factor", "> 0 and < 1", (0, 1)),
        (partial(ExponentialDecay, 1), "factor", "> 0 and < 1", (0, 1.1)),
        (partial(InverseScaling, 1), "power", "> 0", (0,)),
        (partial(CosineDecay, 1), "epochs", "an integer >= 1", (0,)),
        (partial(CosineDecay, 1, 3), "final", ">= 0", (-1,)),
        (partial(CosineDecay, 1, 3), "final", "at most the rate, but is", (2,)),
        (partial(Warmup, then=0.1), "epochs", "> 0", (0,)),
        (partial(Warmup, 1, 0.1), "start", "> 0", (0,)),
        (partial(Warmup, 1, 0.1), "start", "a fraction, at most 1", (1.5,)),
        (partial(ReduceOnPlateau, 1), "factor", "> 0 and < 1", (0, 1)),
        (partial(ReduceOnPlateau, 1), "patience", "an integer >= 0", (-1,)),
        (partial(ReduceOnPlateau, 1), "min_delta", ">= 0", (-1,)),
        (partial(ReduceOnPlateau, 1), "least", ">= 0", (-1,)),
        (partial(ReduceOnPlateau, 1), "least", "at most the rate, but is", (2,)),
    ],
)
def test_out_of_range(make, name, bounds, outside):
    for value in outside:
        end = f" {value}" if bounds.endswith("is") else f", not {value}"
        with complains(ValueError, f"{name} must be {bounds}{end}"):
            make(**{name: value})


@pytest.mark.parametrize("make", [*RATED, partial(CosineDecay, epochs=3), partial(Warmup, 1)])
def test_the_rate_is_positive(make):
    with complains(ValueError, "learning_rate must be > 0, not 0"):
        make(0)


def test_edges_of_the_ranges_are_in_them():
    CosineDecay(1, 1, final=1)
    assert Warmup(1, 0.5, start=1)(0.5) == 0.5
    ReduceOnPlateau(1, patience=0, least=1)


# In an optimizer


def test_schedule_changes_the_rate_of_the_steps():
    theta, rule = np.zeros(2), SGD(ExponentialDecay(0.8, factor=0.5))
    rule.start(theta)
    path = []
    for t in (0, 1, 1.5, 2):
        rule.set_rate_at(t)
        rule.step(theta, np.ones(2))
        path.append(-theta[1])
        assert rule.last_rate == pytest.approx(0.8 * 0.5**t)
    steps = np.diff([0, *path])
    assert steps == pytest.approx([0.8, 0.4, 0.8 * 0.5**1.5, 0.2], rel=1e-14)


def test_learning_rate_may_be_set_anew():
    theta, rule = np.zeros(1), SGD(0.5)
    rule.start(theta)
    rule.learning_rate = 0.25
    rule.set_rate_at(1.0)
    rule.step(theta, np.ones(1))
    assert theta[0] == -0.25
    rule.learning_rate = CosineDecay(2.0, epochs=4)
    rule.set_rate_at(2.0)
    assert rule.last_rate == pytest.approx(1.0)
    rule.schedule = ExponentialDecay(0.3)
    rule.set_rate_at(0.0)
    assert rule.last_rate == 0.3
    rule.learning_rate = -1
    with complains(ValueError, "learning_rate must be > 0, not -1"):
        rule.set_rate_at(1.0)


def test_start_resets_the_schedule_and_resume_does_not():
    rule = SGD(ReduceOnPlateau(0.4, patience=0))
    rule.start(np.zeros(1))
    for loss in (1.0, 2.0, 2.0):
        rule.schedule.observe(loss)
    rule.step(np.zeros(1), np.zeros(1))
    rule.resume(np.zeros(1))
    assert rule.last_rate == pytest.approx(0.1)
    rule.start(np.zeros(1))
    assert rule.last_rate == 0.4


class Given(Schedule):
    """Whatever it is told to give."""

    def __init__(self, value):
        self.value = value

    def __call__(self, t):
        return self.value


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, np.float32(-1), np.array([0.1, -0.1])])
def test_schedule_that_gives_no_rate_is_refused(rate):
    message = f"a learning rate must be in [0, 1.8e+308], but the schedule gave {rate}"
    with complains(ValueError, message):
        SGD(Given(rate)).start(np.zeros((2, 3)))


def test_rate_0_is_a_rate():
    theta = np.array([0.5, -2.0])
    Adam(Given(0.0)).step(theta, np.ones(2))
    assert list(theta) == [0.5, -2.0]
    stack = np.zeros((2, 1))
    SGD(Given(np.array([0.0, 0.5]))).step(stack, np.ones((2, 1)))
    assert stack.tolist() == [[0.0], [-0.5]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_largest_rate_there_is(dtype):
    largest = np.finfo(dtype).max
    for rate in (float(largest), np.array([largest] * 2)):
        rule = SGD(Given(rate))
        rule.start(np.zeros((2, 3), dtype))
        assert (rule.rate == largest).all()


# In fit


class Recorded(Schedule):
    """Notes at which t it is asked, each once."""

    def __init__(self, every_step):
        self.every_step, self.asked = every_step, {}

    def __call__(self, t):
        self.asked[t] = True
        return 0.1


@pytest.mark.parametrize(("every_step", "thirds"), [(True, range(6)), (False, [0, 3])])
def test_fit_asks_at_each_step_or_at_each_epoch(every_step, thirds):
    schedule, x = Recorded(every_step), np.linspace(-1, 1, 14).reshape(7, 2)
    net, optimizer = MLP.init((2, 1), activation="tanh", rng=0), SGD(schedule)
    fit(net, x, x[:, :1], epochs=2, batch_size=3, optimizer=optimizer)
    assert list(schedule.asked) == pytest.approx([third / 3 for third in thirds])


def test_stream_of_known_length_has_fractions_of_epochs_too():
    x = np.linspace(-1, 1, 6).reshape(3, 2)
    batches = [(x, x[:, :1])] * 4
    known, unknown = Recorded(True), Recorded(True)
    net = MLP.init((2, 1), activation="tanh", rng=0)
    fit(net, batches, epochs=2, steps_per_epoch=4, optimizer=SGD(known))
    fit(net, batches, epochs=2, optimizer=SGD(unknown))
    assert list(known.asked) == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert list(unknown.asked) == [0, 1]


def test_history_has_the_rate_of_the_last_step_of_each_epoch():
    x = np.linspace(-1, 1, 8).reshape(4, 2)
    schedule = Warmup(2, 0.4, start=0.5)
    net, adam = MLP.init((2, 1), activation="tanh", rng=0), Adam(schedule)
    history = fit(net, x, x[:, :1], epochs=3, batch_size=2, optimizer=adam)
    assert history.learning_rate == pytest.approx([0.25, 0.35, 0.4])


def test_a_plateau_drops_by_the_same_powers_as_python():
    plateau = ReduceOnPlateau(0.3, factor=0.3, patience=0)
    for n in range(6):
        assert plateau(0) == 0.3 * 0.3**n  # which of np.int64(4) has other bits
        for loss in (1.0, 1.0)[bool(n) :]:
            plateau.observe(loss)


def test_a_plateau_that_a_callback_sets_is_told_the_losses():
    x = np.linspace(-1, 1, 8).reshape(4, 2)

    def wait(training):
        if training.epoch == 1:
            training.optimizer.schedule = ReduceOnPlateau(0.5, patience=0, min_delta=9.0)

    net = MLP.init((2, 1), activation="tanh", rng=0)
    history = fit(net, x, x[:, :1], epochs=5, optimizer=SGD(0.1), callbacks=[wait])
    assert history.learning_rate == [0.1, 0.5, 0.5, 0.25, 0.125]


def test_plateau_follows_the_validation_loss_if_there_is_one():
    x = np.linspace(-1, 1, 8).reshape(4, 2)
    y, far = np.full((4, 1), 0.5), np.full((4, 1), 1.0)
    net = MLP.init((2, 1), rng=0)
    net.theta = np.array([0.1, 0.1, 4.0])  # training lowers a, towards ½: farther from 1
    plateau = ReduceOnPlateau(0.5, patience=0)
    history = fit(net, x, y, epochs=4, optimizer=SGD(plateau), validation=(x, far))
    assert history.learning_rate == [0.5, 0.5, 0.25, 0.125]
    net.theta = np.array([0.1, 0.1, 4.0])
    history = fit(net, x, y, epochs=4, optimizer=SGD(plateau))
    assert history.learning_rate == [0.5] * 4
