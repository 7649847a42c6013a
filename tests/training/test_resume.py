"""Cut after any epoch, under each rule and schedule, a training goes on with the same bits."""

import json
import shutil

import numpy as np
import pytest

from bpnet import MLP, SGD, EarlyStopping, InvalidFile, Schedule, StepDecay, Warmup, fit
from bpnet.training import checkpoint
from bpnet.training.checkpoint import again, plain
from tests.helpers.complaint import complains
from tests.helpers.rules import RULES, SCHEDULES, plateau
from tests.helpers.stack_problem import X, Y, make

EPOCHS = 6


class Odd(Schedule):
    """One of the user's own, with a state of every kind that may be kept."""

    remembers = ("seen",)

    def reset(self):
        self.seen = {"n": np.int64(0), 3: (np.float32(0.1), [True, None]), "low": np.array(1e9)}

    def __call__(self, t):
        n, (fraction, _) = self.seen["n"], self.seen[3]
        return float(0.3 * 0.3**n + fraction * np.float32(0.7) ** n)

    def observe(self, loss):
        self.seen["n"] = self.seen["n"] + 1
        self.seen["low"] = np.minimum(self.seen["low"], loss)


OWN = {f"plateau {f}": lambda f=f: plateau(0.3, f) for f in (0.2, 0.6, 0.7, 0.9)}
OWN |= {"warm-up, plateau": lambda: Warmup(1.5, plateau(0.3)), "an integer": lambda: 1, "own": Odd}
OWN |= {name: lambda make=make: make(0.1) for name, make in SCHEDULES.items()}
TRAININGS = {name: lambda make=make: SGD(make()) for name, make in OWN.items()}
TRAININGS |= {name: lambda rule=rule: rule(plateau(0.1, 0.7)) for name, rule in RULES.items()}


def kinds(value):
    """The value with the type of all that is in it."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [kinds(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return type(value), value.dtype, value.tolist()
    return type(value), value


@pytest.mark.parametrize("networks", [None, 3])
@pytest.mark.parametrize("name", TRAININGS)
def test_cut_after_any_epoch_it_goes_on_with_the_same_bits(tmp_path, monkeypatch, name, networks):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # which is what takes time
    path = tmp_path / "file"

    def train(**more):
        net, rule, stopper = make(networks), TRAININGS[name](), EarlyStopping(9)
        how = {"batch_size": 5, "dropout": 0.1, "validation": 0.3, "early_stopping": stopper}
        history = fit(net, X, Y, epochs=EPOCHS, optimizer=rule, checkpoint=path, **how, **more)
        left = {key: value for key, value in vars(history).items() if key != "time"}
        kept = {"rule": rule.schedule.state, "t": rule.t, "stopper": stopper.state}
        return [net.theta.tobytes(), kinds(left), kinds(kept), kinds(rule.last_rate)]

    def keep(training):  # told before the file is written: it is of the epoch before
        if training.epoch > 1:
            shutil.copy(path, tmp_path / str(training.epoch - 1))

    whole = train(callbacks=[keep])
    for epoch in range(1, EPOCHS):
        shutil.copy(tmp_path / str(epoch), path)
        assert train(resume=True, callbacks=[lambda training: None]) == whole


def test_what_a_file_keeps_comes_back_in_its_type():
    numbers = [1, 1.5, np.True_, np.int8(3), np.float32(0.1), np.float64(np.inf)]
    value = {
        "a": [None, "text", True, *numbers],
        "b": (np.array(2.5), np.arange(3, dtype="f4"), ()),
        2: {(1, 2): [np.array([[1, 2]])]},
    }
    assert kinds(json.loads(json.dumps(plain(value)), object_hook=again)) == kinds(value)


def test_a_rate_that_a_callback_has_set_is_kept(tmp_path):
    def slower(training):
        training.optimizer.learning_rate *= 0.7

    path, how = tmp_path / "file", {"batch_size": 5, "callbacks": [slower]}
    nets = [make(None) for _ in range(2)]
    whole = fit(nets[0], X, Y, epochs=6, optimizer=SGD(0.1), **how)
    fit(nets[1], X, Y, epochs=3, optimizer=SGD(0.1), checkpoint=path, **how)
    parts = fit(nets[1], X, Y, epochs=6, optimizer=SGD(0.1), checkpoint=path, resume=True, **how)
    assert parts.learning_rate == whole.learning_rate
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)

    def swap(training):
        training.optimizer.schedule = StepDecay(0.2)

    fit(nets[1], X, Y, epochs=2, optimizer=SGD(0.1), checkpoint=path, callbacks=[swap])
    with complains(InvalidFile, "…: a callback had made the optimizer SGD(…"):
        fit(nets[1], X, Y, epochs=3, optimizer=SGD(0.1), checkpoint=path, resume=True)


def test_elsewhere_it_goes_on_with_a_warning(tmp_path, monkeypatch):
    here = {"numpy": "2.4", "blas_threads": 2, "blas_kernel": None}
    how = {"optimizer": SGD(0.1), "checkpoint": tmp_path / "file"}
    monkeypatch.setattr(checkpoint, "environment", lambda: here)
    fit(make(None), X, Y, epochs=1, **how)
    there = {"numpy": "2.5", "blas_threads": 4, "blas_kernel": "Haswell"}
    monkeypatch.setattr(checkpoint, "environment", lambda: there)
    text = "file goes on elsewhere, so that .*: numpy is 2.5, but was 2.4; blas_threads is 4, but"
    with pytest.warns(RuntimeWarning, match=text) as told:
        history = fit(make(None), X, Y, epochs=2, resume=True, **how)
    assert len(told) == 1
    assert len(history) == 2
    fit(make(None), X, Y, epochs=3, resume=True, **how)  # written there, so without a word
    net, data = MLP.init((1, 1), activation="identity", rng=0), (np.ones((4, 1)), np.zeros((4, 1)))
    how = {"optimizer": SGD(2.4), "checkpoint": tmp_path / "other", "shuffle": False}
    with pytest.warns(RuntimeWarning, match="the loss has grown"):
        fit(net, *data, epochs=8, **how)
    fit(net, *data, epochs=10, resume=True, **how)  # an explosion is not told of again


def test_data_in_files_are_known_by_their_content(tmp_path):
    x = np.random.default_rng(0).normal(size=(5000, 3))
    for name, rows in (("x", x), ("other", x + 1e-3)):
        np.save(tmp_path / f"{name}.npy", rows)
    maps = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("x", "other")}
    y, path = np.zeros((5000, 2)), tmp_path / "file"
    how = {"optimizer": SGD(0.01), "checkpoint": path, "batch_size": 1000}
    fit(make(None), maps["x"], y, epochs=1, **how)
    fit(make(None), maps["x"], y, epochs=2, resume=True, **how)
    with complains(InvalidFile, "…: the data: x changed"):
        fit(make(None), maps["other"], y, epochs=3, resume=True, **how)
    held = {"validation": (x[:4], y[:4])}
    fit(make(None), x, y, epochs=1, **how, **held)
    with complains(InvalidFile, "…: the validation data: x changed"):
        held = {"validation": (x[1:5], y[:4])}
        fit(make(None), x, y, epochs=2, resume=True, **how, **held)
