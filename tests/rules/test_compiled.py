"""Every compiled rule equals the rule that it stands for, and NumPy's form of it."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba", reason="the compiled rules need numba")

from bpnet import ACTIVATIONS, LOSSES, SGD, Activation, Adagrad, Adam, AdamW, Loss, RMSprop, huber
from bpnet.rules import compiled
from bpnet.rules.compiled import df, f, kernel, output
from bpnet.rules.kernels import layer_kernels, output_kernels
from bpnet.rules.subnormal import EVERY, negligible
from bpnet.rules.update import in_two_parts, make_update
from bpnet.testing.cases import draw_targets
from tests.helpers.complaint import complains
from tests.helpers.nets import HIDDEN, PAIRS

EDGES = [-1e4, -745, -104, -88.8, -37, -1e-30, -0.0, 0.0, 1e-30, 37, 44.4, 88.8, 104, 354.9, 1e4]
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@kernel
def every_f(code, z, a, slope):
    for i in range(len(z)):
        a[i] = f(code, z[i])
        slope[i] = df(code, z[i], a[i])


def assert_close(got, rule, slack=0.0):
    eps, tiny = np.finfo(rule.dtype).eps, np.finfo(rule.dtype).tiny
    assert got.dtype == rule.dtype
    assert np.all(abs(got - rule) <= 16 * eps * abs(rule) + eps * slack + 1000 * tiny)


@both_dtypes
@pytest.mark.parametrize("name", HIDDEN)
def test_an_activation_is_the_table_s(name, dtype):
    rng, rule = np.random.default_rng(0), ACTIVATIONS[name]
    far = rng.choice([-1, 1], 400) * 10 ** rng.uniform(-12, 4, 400)
    z = np.concatenate([rng.normal(0, 5, 400), far, EDGES]).astype(dtype)
    a, slope = np.empty_like(z), np.empty_like(z)
    every_f(compiled.activation_code(rule), z, a, slope)
    numpy_a, numpy_slope = np.empty_like(z), np.ones_like(z)
    with np.errstate(all="ignore"):
        f_in_place, times_df = layer_kernels(rule, z)
        f_in_place(z, numpy_a)
        times_df(z, a, numpy_slope)
        table, table_slope = rule.f(z), rule.df(z, a)
    assert_close(a, table, slack=8 * np.minimum(abs(z), 40) if name == "gelu" else 0)
    assert_close(slope, table_slope, slack={"gelu": 32, "silu": 4}.get(name, 0))
    if name in ("identity", "relu", "leaky_relu"):
        assert np.array_equal(a, numpy_a)
    if name not in ("softplus", "silu", "gelu"):  # whose f' takes f's exponentials again
        assert np.array_equal(slope, numpy_slope)


@both_dtypes
@pytest.mark.parametrize("name", HIDDEN)
def test_an_activation_takes_any_finite_z_and_passes_nan_on(name, dtype):
    most = np.finfo(dtype).max
    z = np.array([most, -most, 1e30, -1e30, 0, np.nan], dtype)
    a, slope = np.empty_like(z), np.empty_like(z)
    every_f(compiled.activation_code(ACTIVATIONS[name]), z, a, slope)
    assert np.isfinite(a[:-1]).all()
    assert np.isfinite(slope[:-1]).all()
    assert np.isnan(a[-1])


@both_dtypes
@pytest.mark.parametrize("name", HIDDEN)
def test_a_layer_s_kernels_are_numpy_s_but_for_what_is_negligible(name, dtype):
    rng, rule = np.random.default_rng(2), ACTIVATIONS[name]
    z = rng.normal(size=(7, 20)).astype(dtype)
    by_numpy = layer_kernels(rule, z)
    f_of, times_df = compiled.layer_kernels(rule, z, by_numpy)
    a, delta = np.empty_like(z), rng.normal(size=z.shape).astype(dtype)
    delta[3] *= np.finfo(dtype).tiny
    expected = delta.copy()
    f_of(z, a)
    times_df(z, a, delta)
    by_numpy[1](z, a, expected)
    if times_df is not by_numpy[1]:
        expected[abs(expected) < negligible(dtype)] = 0
        assert not expected[3].any()
    assert np.array_equal(delta, expected)


@both_dtypes
@pytest.mark.parametrize("scale", [3, 60])
@pytest.mark.parametrize(("out", "name"), PAIRS)
def test_the_output_s_delta_and_loss_are_numpy_s(out, name, scale, dtype):
    rng, rule, of_table = np.random.default_rng(2), ACTIVATIONS[out], LOSSES[name]
    out_code = compiled.activation_code(rule)
    for loss in (of_table, *([huber(0.3)] if name == "huber" else [])):
        code, limit = compiled.loss_code(loss, rule)
        if code is None:
            assert loss.pair(rule)
            continue
        z = (rng.normal(size=(6, 4)) * min(scale, 20 if out == "exp" else 60)).astype(dtype)
        y = draw_targets(loss, z.shape, rng).astype(dtype)
        share = np.array([0.5, 0.1, 0, 0.1, 0.2, 0.1], dtype)
        with np.errstate(all="ignore"):
            a, expected, delta = rule.f(z), np.empty_like(z), np.empty_like(z)
            delta_of, value = output_kernels(loss, rule, z, layer_kernels(rule, z)[1])
            delta_of(z, a, y, expected)
            losses = [value(z, a, y), value(z, a, y, share[:, None])]
        for weights, E in zip((None, share), losses, strict=True):
            got = output(out_code, code, np.array(limit, dtype), z, a, y, weights, delta)
            each = np.full(6, 1 / 6, dtype) if weights is None else share
            assert_close(delta, expected * each[:, None], slack=8 * abs(expected).max())
            eps = np.finfo(dtype).eps
            assert abs(got - E) <= 32 * eps * (abs(E) + 1 + abs(z * y).max())


# Optimisers

RULES = {
    "SGD": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "Nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True),
    "Adagrad": Adagrad,
    "RMSprop": RMSprop,
    "RMSprop, momentum": lambda: RMSprop(momentum=0.8),
    "Adam": Adam,
    "AdamW": lambda: AdamW(weight_decay=0.2),
}


@both_dtypes
@pytest.mark.parametrize("name", RULES)
def test_a_step_has_numpy_s_bits(name, dtype):
    rng = np.random.default_rng(5)
    start, weights = rng.normal(size=60), rng.random(60) < 0.6
    ends = []
    for by_numpy in (True, False):
        rule, steps = RULES[name](), np.random.default_rng(6)
        theta = start.astype(dtype)
        g, move = np.empty_like(theta), np.empty_like(theta)
        rule.start(theta, weights)
        make = make_update if by_numpy else compiled.make_update
        update = make(rule, theta, g, move, decays=True)
        if by_numpy:
            update = in_two_parts(update, theta, move)
        for t in range(2 * EVERY + 5):
            rule.learning_rate = 0.01 * (1 + t // 40)
            rule.set_rate_at(0)
            g[...] = steps.normal(size=60) * (steps.random(60) < 0.1) * 10.0 ** -(t % 40)
            theta *= np.where(abs(theta) < 1e-3, 1e-30 if dtype == "float32" else 1e-250, 1)
            assert np.isfinite(update.compute())
            update.apply()
        ends.append([theta, *rule.state.values(), np.array(rule.t)])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -3e38])
def test_a_step_that_is_not_finite_is_undone(wrong):
    theta = np.linspace(-1, 1, 30).astype("float32")
    before, g = theta.copy(), np.ones(30, "float32")
    g[17] = wrong
    rule = SGD(10.0)
    rule.start(theta)
    update = compiled.make_update(rule, theta, g, np.empty_like(theta), decays=False)
    assert np.isnan(update.compute())
    assert update.broken()
    update.undo()
    assert np.array_equal(theta, before)
    g[17] = 1
    assert update.compute() == 0
    assert not update.broken()
    update.apply()
    assert np.array_equal(theta, before - 10)
    assert rule.t == 2


# What has no compiled form


def test_a_rule_of_one_s_own_is_named():
    text = "the {} is your own and has no compiled form: compiled=False".format
    for own in (
        Activation("sine", f=np.sin, df=lambda z, a: np.cos(z)),
        Activation("relu", f=np.abs, df=lambda z, a: np.sign(z)),
    ):
        with complains(ValueError, text(f"activation {own.name!r}")):
            compiled.activation_code(own)
    quartic = Loss("quartic", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    with complains(ValueError, text("loss 'quartic'")):
        compiled.loss_code(quartic, ACTIVATIONS["relu"])

    class Mine(SGD):
        def compute(self, theta, g, move):
            super().compute(theta, g, move)

    class Other(Adam):
        def advance(self, *arrays):
            super().advance(*arrays)

    rule = Adam()
    rule.compute = lambda theta, g, move: None
    for own, name in ((Mine(0.1), "Mine"), (Other(), "Other"), (rule, "Adam")):
        with complains(ValueError, text(f"optimizer {name}")):
            compiled.optimizer_code(own)


def test_without_numba_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "bpnet.rules.compiled")
    with complains(ImportError, "compiled=True needs numba: pip install numba"):
        __import__("bpnet.rules.compiled")


def test_nothing_is_imported_unless_asked_for():
    code = "import sys, bpnet; bpnet.MLP, bpnet.fit; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
