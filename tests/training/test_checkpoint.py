"""Interrupted anywhere and resumed, training ends with the bits of one that never stopped."""

import itertools
import json
import os
import signal

import numpy as np
import pytest

from bpnet import MLP, SGD, Adam, EarlyStopping, InvalidFile, ReduceOnPlateau, Schedule, fit
from bpnet.archive import read_arrays
from tests.helpers.complaint import complains

X, Y = np.split(np.random.default_rng(5).normal(size=(22, 5)), [3], axis=1)
EPOCHS = 7


def make(dtype="float64", sizes=(3, 6, 2), **options):
    options = {"activation": "tanh", "output": "identity", "rng": 1} | options
    return MLP.init(sizes, dtype=dtype, **options)


class Killed(BaseException):
    """What kill -9 looks like from within: nothing is tidied up."""


def killed_at(rule, step):
    """Make an optimizer die in that step, counted over all epochs."""
    compute, count = rule.compute, itertools.count(1)

    def fatal(theta, g, move):
        compute(theta, g, move)
        if next(count) == step:
            raise Killed

    rule.compute = fatal
    return rule


# Each makes its options anew, since optimizers, generators and early stopping have state.
TRAININGS = {
    "SGD": lambda: {"optimizer": SGD(0.1)},
    "Adam, plateau": lambda: {
        "optimizer": Adam(ReduceOnPlateau(0.3, patience=0)),
        "validation": 0.3,
        "metrics": ["r2"],
    },
    "dropout, penalties, clipping": lambda: {
        "optimizer": SGD(0.1, momentum=0.5),
        "dropout": {1: 0.2, 2: 0.4},
        "l1": 0.01,
        "l2": 0.02,
        "clip_norm": 0.5,
        "clip_value": 0.2,
    },
    "early stopping": lambda: {
        "optimizer": SGD(0.5, momentum=0.9),
        "validation": (X[:6] * 2, Y[:6]),
        "early_stopping": EarlyStopping(1, min_delta=0.01),
    },
    "weights, Philox": lambda: {
        "optimizer": Adam(),
        "sample_weight": np.arange(1.0, 23.0),
        "rng": np.random.Generator(np.random.Philox(3)),
    },
    "MT19937, dropout": lambda: {
        "optimizer": Adam(),
        "dropout": 0.3,
        "rng": np.random.Generator(np.random.MT19937(3)),
    },
}


def train(net, options, **more):
    options = options | {"epochs": EPOCHS, "batch_size": 5} | more
    history = fit(net, X, Y, **options)
    return history, options["optimizer"]


def assert_same(net, history, rule, other, other_history, other_rule):
    assert net.theta.tobytes() == other.theta.tobytes()
    one, two = history.to_dict(), other_history.to_dict()
    assert len(one.pop("time")) == len(two.pop("time"))
    assert one == two
    assert history.stopped == other_history.stopped
    assert history.best_epoch == other_history.best_epoch
    assert rule.t == other_rule.t
    for name, vector in rule.state.items():
        assert vector.tobytes() == other_rule.state[name].tobytes()


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(("dtype", "every"), [("float64", 1), ("float32", 3)])
def test_killed_at_any_step_and_resumed_gives_the_same_bits(tmp_path, name, dtype, every):
    start = make(dtype)
    whole = start.copy()
    history, rule = train(whole, TRAININGS[name]())
    assert len(history) > 2
    for step in (2, 9, 16, 20):
        options = {"checkpoint": tmp_path / str(step), "checkpoint_every": every}
        fatal = TRAININGS[name]()
        killed_at(fatal["optimizer"], min(step, rule.t))
        with pytest.raises(Killed):
            train(start.copy(), fatal, **options)
        resumed = start.copy()
        result = train(resumed, TRAININGS[name](), resume=True, **options)
        assert_same(whole, history, rule, resumed, *result)


@pytest.mark.parametrize("step", [3, 11, 15])  # of 5 in an epoch
def test_interrupted_by_ctrl_c_and_resumed(tmp_path, step):
    options = TRAININGS["dropout, penalties, clipping"]
    pressed = options()
    compute, count = pressed["optimizer"].compute, itertools.count(1)

    def press(theta, g, move):
        compute(theta, g, move)
        if next(count) == step:
            signal.raise_signal(signal.SIGINT)

    pressed["optimizer"].compute = press
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        history, _ = train(make(), pressed, checkpoint=tmp_path / "file")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (len(history), history.stopped) == (step // 5, "interrupted")
    net, whole = make(), make()
    result = train(net, options(), checkpoint=tmp_path / "file", resume=True)
    assert_same(net, *result, whole, *train(whole, options()))


@pytest.mark.parametrize("moment", ["half of the file", "before it has its name", "after that"])
def test_killed_in_the_middle_of_a_write(tmp_path, monkeypatch, moment):
    """As kill -9 does it: what is left of the file being written is told of in test_archive."""
    path, options = tmp_path / "file", TRAININGS["dropout, penalties, clipping"]
    savez, replace, calls = np.savez, os.replace, itertools.count(1)

    def half(file, **arrays):
        if next(calls) == 2:
            file.write(b"PK\x03\x04 half of it")
            raise Killed
        savez(file, **arrays)

    def named(source, target):
        if moment == "before it has its name" and next(calls) == 2:
            raise Killed
        replace(source, target)
        if moment == "after that" and next(calls) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        if moment == "half of the file":
            patch.setattr("numpy.savez", half)
        patch.setattr("os.replace", named)
        with pytest.raises(Killed):
            train(make(), options(), checkpoint=path)
    assert epoch_in(path) == (2 if moment == "after that" else 1)
    net, whole = make(), make()
    result = train(net, options(), checkpoint=path, resume=True)
    assert_same(net, *result, whole, *train(whole, options()))


def test_failed_write_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    train(make(), TRAININGS["SGD"](), checkpoint=path, epochs=2)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            train(make(), TRAININGS["SGD"](), checkpoint=path, resume=True)
    assert len(caught.value.history) == 3
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# When it is written and how it goes on


def epoch_in(path):
    return json.loads(str(read_arrays(path)["state"]))["epoch"]


def test_written_every_n_epochs_and_after_the_last(tmp_path):
    path, found = tmp_path / "file", []

    def look(training):
        found.append(epoch_in(path) if path.exists() else None)

    train(make(), TRAININGS["SGD"](), checkpoint=path, checkpoint_every=3, callbacks=[look])
    assert found == [None, None, None, 3, 3, 3, 6]
    assert epoch_in(path) == 7
    train(make(), TRAININGS["SGD"](), checkpoint=path, checkpoint_every=100, epochs=2)
    assert epoch_in(path) == 2
    stop = [lambda training: training.stop("enough")]
    train(make(), TRAININGS["SGD"](), checkpoint=path, checkpoint_every=100, callbacks=stop)
    assert epoch_in(path) == 1
    history, _ = train(make(), TRAININGS["SGD"](), checkpoint=path, resume=True)
    assert (len(history), history.stopped) == (1, "enough")


def test_resume_without_a_file_starts_afresh(tmp_path):
    net, other = make(), make()
    result = train(net, TRAININGS["SGD"](), checkpoint=tmp_path / "new", resume=True)
    assert_same(net, *result, other, *train(other, TRAININGS["SGD"]()))
    assert (tmp_path / "new").exists()


def test_without_resume_an_older_file_is_overwritten(tmp_path):
    path = tmp_path / "file"
    train(make(), TRAININGS["SGD"](), checkpoint=path)
    history, _ = train(make(), TRAININGS["SGD"](), checkpoint=path, epochs=2)
    assert len(history) == 2
    assert epoch_in(path) == 2


def test_a_finished_training_is_not_trained_again_but_goes_on_to_more_epochs(tmp_path):
    path, net, whole = tmp_path / "file", make(), make()
    history, _ = train(net, TRAININGS["SGD"](), checkpoint=path)
    other = make()
    again, _ = train(other, TRAININGS["SGD"](), checkpoint=path, resume=True)
    assert again.loss == history.loss
    assert np.array_equal(other.theta, net.theta)
    result = train(other, TRAININGS["SGD"](), checkpoint=path, resume=True, epochs=10)
    assert_same(other, *result, whole, *train(whole, TRAININGS["SGD"](), epochs=10))


def test_endless_iterable_goes_on_where_it_was(tmp_path):
    def endless():
        rng = np.random.default_rng(2)
        while True:
            x = rng.normal(size=(4, 3))
            yield x, x[:, :2]

    nets = [make() for _ in range(3)]
    path, options = tmp_path / "file", {"steps_per_epoch": 3}
    fit(nets[0], endless(), epochs=5, **options)
    fit(nets[1], endless(), epochs=2, checkpoint=path, **options)
    fit(nets[2], endless(), epochs=5, checkpoint=path, resume=True, **options)
    assert np.array_equal(nets[0].theta, nets[2].theta)
    with complains(InvalidFile, "…steps_per_epoch is 2, but was 3"):
        fit(nets[2], endless, epochs=5, steps_per_epoch=2, checkpoint=path, resume=True)


def test_schedule_of_one_s_own_keeps_its_state(tmp_path):
    class Seen(Schedule):
        def __init__(self):
            self.losses = []

        def __call__(self, t):
            return 0.1 / (1 + len(self.losses))

        def observe(self, loss):
            self.losses.append(loss)

        def reset(self):
            self.losses = []

        @property
        def state(self):
            return {"losses": self.losses}

        @state.setter
        def state(self, state):
            self.losses = list(state["losses"])

    path, nets = tmp_path / "file", [make(), make(), make()]
    whole = train(nets[0], {"optimizer": SGD(Seen())})
    train(nets[1], {"optimizer": SGD(Seen())}, checkpoint=path, epochs=3)
    resumed = train(nets[2], {"optimizer": SGD(Seen())}, checkpoint=path, resume=True)
    assert_same(nets[0], *whole, nets[2], *resumed)
