"""fit(..., compiled=True): as without but for the last bits, by the passes and by the loop."""

import warnings

import numpy as np
import pytest

pytest.importorskip("numba", reason="compiled training needs numba")

from bpnet import LBFGS, MLP, SGD, Activation, Adam, AdamW, errors, fit
from bpnet.rules.schedules import CosineDecay, ReduceOnPlateau, StepDecay
from bpnet.training import compiled, run
from tests.helpers.complaint import complains
from tests.helpers.nets import HIDDEN, PAIRS
from tests.rules.test_compiled import RULES, both_dtypes


@pytest.fixture(params=["passes", "loop"])
def way(request, monkeypatch):
    """Train by that way, whatever is quicker."""
    monkeypatch.setattr(compiled, "TINY", 10**9 if request.param == "loop" else 0)


def make(sizes=(3, 4, 2), hidden="tanh", out="identity", loss="half_squared_error", **options):
    m = options.pop("m", 10)
    net = MLP.init(sizes, activation=hidden, output=out, loss=loss, rng=1, **options)
    rng = np.random.default_rng(3)
    return net, rng.normal(size=(m, sizes[0])), rng.dirichlet(np.ones(sizes[-1]), m)


def alike(made, rel, **options):
    """Train both ways, and return the compiled one's net and history."""
    (net, x, y), epochs = made, options.pop("epochs", 4)
    rule, twin = options.pop("rule", RULES["Adam"]), net.copy()
    plain = fit(twin, x, y, epochs=epochs, optimizer=rule(), **options)
    history = fit(net, x, y, epochs=epochs, optimizer=rule(), compiled=True, **options)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=50 * rel, atol=50 * rel)
    for name, column in plain.to_dict().items():
        if name != "time":
            np.testing.assert_allclose(history.to_dict()[name], column, rtol=rel, atol=rel)
    return net, history


@both_dtypes
@pytest.mark.parametrize(("k", "pair"), list(enumerate(PAIRS)))
def test_every_pair_trains_alike(k, pair, dtype, way):
    out, loss = pair
    hidden = HIDDEN[(k + 2) % len(HIDDEN)], HIDDEN[(k // 3 + 4) % len(HIDDEN)], out
    made = make((3, 4, 2, 3), hidden, None, loss, m=7, dtype=dtype)
    alike(made, 1e-12 if dtype == "float64" else 5e-6, rule=lambda: SGD(0.02), batch_size=3)


@both_dtypes
@pytest.mark.parametrize("networks", [None, 3])
@pytest.mark.parametrize("name", RULES)
def test_every_optimizer_trains_alike(name, networks, dtype, way):
    made = make(dtype=dtype, networks=networks)  # beyond the steps that clear
    alike(made, 1e-11 if dtype == "float64" else 2e-5, rule=RULES[name], batch_size=4, epochs=40)


OPTIONS = {
    "shuffled for each": {"shuffle": "each", "batch_size": 3},
    "as they stand": {"shuffle": False, "batch_size": 3},
    "all at once": {"batch_size": None},
    "a rate for each": {"rule": lambda: SGD(np.array([0.1, 0.02, 0.05])), "batch_size": 4},
    "in steps": {"rule": lambda: Adam(CosineDecay(0.02, epochs=4)), "batch_size": 4},
    "in epochs": {"rule": lambda: SGD(StepDecay(0.1, every=2))},
    "by loss": {"rule": lambda: SGD(ReduceOnPlateau(0.1, patience=0)), "validation": 0.3},
    "measured": {"metrics": "r2", "early_stopping": 2, "validation": 0.3, "epochs": 9},
    "weighted": {"sample_weight": np.arange(10)},
    "penalised": {"l1": 0.01, "l2": 0.1, "frozen": "b", "clip_norm": 0.1},
    "dropout": {"dropout": 0.3, "batch_size": 3},
    "watched": {"callbacks": [lambda training: training.epoch == 3 and training.stop("seen")]},
}


@pytest.mark.parametrize("networks", [None, 1, 3])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_does_what_it_does(name, networks, way):
    if (name == "a rate for each" and networks != 3) or (name == "by loss" and networks):
        return  # a drop hangs on which loss is the lower, by a bit
    alike(make(networks=networks), 1e-10, **OPTIONS[name])


def test_turns_take_compiled_steps_at_the_rate_of_each(monkeypatch):
    monkeypatch.setattr("bpnet.training.loop.better_in_turn", lambda theta, m: True)
    monkeypatch.setattr(compiled, "TINY", 0)
    for options in ({"rule": lambda: AdamW(np.array([0.1, 0.02, 0.05]))}, {"l2": 0.1}):
        alike(make(networks=3), 1e-10, batch_size=4, **options)


@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_neither_blocks_nor_cuts_show_in_the_bits(rule, tmp_path, way, monkeypatch):
    ends = []
    for cut in (None, 1, 7, 20, "blocks of 3"):
        net, x, y = make()
        options = {"batch_size": 4, "compiled": True, "rng": 5}
        if isinstance(cut, int):
            options |= {"checkpoint": tmp_path / f"{cut}", "resume": True}
            fit(net.copy(), x, y, epochs=cut, optimizer=RULES[rule](), **options)
        elif cut:
            monkeypatch.setattr(compiled, "BLOCK", 3)
        history = fit(net, x, y, epochs=21, optimizer=RULES[rule](), **options)
        ends.append([net.theta, history.loss])
    assert all(np.array_equal(a, b) for end in ends[1:] for a, b in zip(ends[0], end, strict=True))


def test_a_checkpoint_is_of_one_setting(tmp_path):
    net, x, y = make()
    fit(net, x, y, epochs=2, checkpoint=tmp_path / "c", compiled=True)
    with complains(errors.InvalidFile, "…another training: compiled is None, but was True"):
        fit(net, x, y, epochs=4, checkpoint=tmp_path / "c", resume=True)


def test_the_loss_that_explodes_and_the_step_that_diverges_are_told_as_ever(way):
    told = []
    for how in (False, True):
        net, x, y = make((2, 2), hidden="identity", m=6)
        options = {"batch_size": 2, "compiled": how, "optimizer": SGD(0.9), "shuffle": False}
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with pytest.raises(errors.TrainingDiverged) as error:
                fit(net, 1e3 * x, y, epochs=500, **options)
        assert np.isfinite(net.theta).all()
        history = error.value.history
        told.append([str(error.value), *(str(w.message) for w in seen), len(history.loss)])
    assert told[0] == told[1]


def test_a_network_that_diverges_leaves_the_others_going(way):
    ends = []
    for how in (False, True):
        net, x, y = make((2, 3, 2), hidden="identity", networks=3)
        rates = np.array([1e-3, 1e3, 1e-2])
        options = {"batch_size": 4, "compiled": how, "optimizer": SGD(rates)}
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            history = fit(net, x, y, epochs=60, **options)
        ends.append([net.theta, history.loss[-1], history.diverged, [str(w.message) for w in seen]])
    np.testing.assert_allclose(ends[1][0], ends[0][0], rtol=1e-9)
    np.testing.assert_allclose(ends[1][1], ends[0][1], rtol=1e-9)
    assert ends[0][2:] == ends[1][2:]


def test_blocks_are_long_where_nobody_watches(monkeypatch):
    blocks, end = [], run.Run.end_block
    note = lambda self, losses, seconds: blocks.append(len(losses)) or end(self, losses, seconds)  # noqa: E731
    monkeypatch.setattr(run.Run, "end_block", note)
    net, x, y = make((2, 2, 2), m=1)
    fit(net, x, y, epochs=2500, compiled=True)
    fit(*make((2, 2, 2), m=1), epochs=3, compiled=True, callbacks=[lambda training: None])
    assert blocks == [1000, 1000, 500, 1, 1, 1]


def test_what_has_no_compiled_form_is_refused_before_the_first_step():
    sine = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
    net, x, y = make(hidden=sine)
    with complains(ValueError, "the activation 'sine' is your own…"):
        fit(net, x, y, epochs=1, compiled=True)
    with complains(ValueError, "L-BFGS has no compiled form: compiled=False"):
        fit(*make(), epochs=1, optimizer=LBFGS(), compiled=True)
    with complains(TypeError, "compiled must be True or False, not 'yes'"):
        fit(*make(), epochs=1, compiled="yes")
