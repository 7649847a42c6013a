"""Every compiled rule equals the rule that it stands for, and NumPy's form of it."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba", reason="the compiled rules need numba")

from bpnet import ACTIVATIONS, LOSSES, SGD, Activation, Adagrad, Adam, AdamW, Loss, RMSprop, huber
from bpnet.rules import compiled, compiled_math
from bpnet.rules.compiled import E, backward, dE, df, f, forward, kind, output, output_row
from bpnet.rules.compiled_math import kernel
from bpnet.rules.kernels import layer_kernels, output_kernels
from bpnet.rules.subnormal import EVERY
from bpnet.rules.update import make_update
from tests.helpers.complaint import complains
from tests.helpers.strategies import HIDDEN, PAIRS, targets

DTYPES = ["float32", "float64"]
EDGES = [-1e4, -745, -104, -88.8, -37, -1e-30, -0.0, 0.0, 1e-30, 37, 44.4, 88.8, 104, 354.9, 1e4]
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


@kernel
def every_f(code, z, a, df_of_z):
    for i in range(len(z)):
        a[i] = f(code, z[i])
        df_of_z[i] = df(code, z[i], a[i])


@kernel
def every_E(code, z, a, y, limit, share, slope):
    for i in range(len(z)):
        share[i] = E(code, z[i], a[i], y[i], limit[()])
        slope[i] = dE(code, a[i], y[i], limit[()])


@kernel
def of_each(function, x, out):
    for i in range(len(x)):
        out[i] = function(x[i])


def assert_close(got, rule, slack=0.0, units=16):
    eps, tiny = np.finfo(rule.dtype).eps, np.finfo(rule.dtype).tiny
    assert got.dtype == rule.dtype
    assert np.all(abs(got - rule) <= units * eps * abs(rule) + eps * slack + 1000 * tiny)


def numbers(dtype, seed=0):
    rng = np.random.default_rng(seed)
    far = rng.choice([-1, 1], 400) * 10 ** rng.uniform(-12, 4, 400)
    return np.concatenate([rng.normal(0, 5, 400), far, EDGES]).astype(dtype)


@both_dtypes
@pytest.mark.parametrize(
    ("function", "peer", "x"),
    [
        (compiled_math.exp, np.exp, np.linspace(-87, 88, 9999)),
        (compiled_math.exp, np.exp, np.geomspace(1e-9, 80, 9999)),
        (compiled_math.expm1, np.expm1, -np.geomspace(1e-30, 100, 9999)),
        (compiled_math.log, np.log, np.geomspace(1e-37, 1e38, 9999)),
        (compiled_math.log, np.log, np.linspace(0.5, 2, 9999)),
        (compiled_math.log1p, np.log1p, np.linspace(0, 1, 9999)),
        (compiled_math.log1p, np.log1p, np.geomspace(1e-30, 1, 9999)),
        (compiled.tanh, np.tanh, np.geomspace(1e-30, 50, 9999)),
        (compiled.tanh, np.tanh, -np.linspace(0, 3, 9999)),
    ],
)
def test_elementary_functions_to_four_units_in_the_last_place(function, peer, x, dtype):
    x = x.astype(dtype)
    out, exact = np.empty_like(x), peer(x.astype(np.longdouble))
    of_each(function, x, out)
    assert (abs(out - exact) <= 4 * np.spacing(abs(exact).astype(dtype))).all()


@both_dtypes
def test_elementary_functions_at_their_ends(dtype):
    x = np.array([-np.inf, -1e9, -800, -90, 800, 1e30, np.inf, np.nan], dtype)
    out = np.empty_like(x)
    of_each(compiled_math.exp, x, out)
    tiny = np.exp(x[3])  # subnormal in float32
    assert out.tolist() == pytest.approx([0, 0, 0, tiny, *[np.inf] * 3, np.nan], nan_ok=True)
    of_each(compiled.tanh, x, out)
    assert out.tolist() == pytest.approx([-1] * 4 + [1] * 3 + [np.nan], nan_ok=True)
    of_each(compiled.sigmoid, x, out)
    assert out.tolist()[:4] == pytest.approx([0, 0, 0, tiny])
    assert out.tolist()[4:] == pytest.approx([1, 1, 1, np.nan], nan_ok=True)
    floor = np.array([0, np.finfo(dtype).smallest_subnormal, np.nan], dtype)
    of_each(compiled_math.log, floor, out[:3])
    least = np.log(np.finfo(dtype).tiny)
    assert out[:3].tolist() == pytest.approx([least, least, np.nan], nan_ok=True)


@both_dtypes
@pytest.mark.parametrize("name", HIDDEN)
def test_an_activation_is_the_table_s(name, dtype):
    z, rule = numbers(dtype), ACTIVATIONS[name]
    a, slope, numpy_a = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    every_f(compiled.activation_code(rule), z, a, slope)
    with np.errstate(all="ignore"):
        f_in_place, times_df = layer_kernels(rule, z)
        f_in_place(z, numpy_a)
        numpy_slope = np.ones_like(z)
        times_df(z, a, numpy_slope)
        table, table_slope = rule.f(z), rule.df(z, a)
    wide = np.minimum(abs(z), 40) if name == "gelu" else 0
    assert_close(a, table, slack=8 * wide)
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
@pytest.mark.parametrize(("out", "name"), PAIRS)
def test_a_loss_is_the_table_s(out, name, dtype):
    rng, output_rule = np.random.default_rng(1), ACTIVATIONS[out]
    z = rng.normal(0, 4, (40, 5)).astype(dtype)
    y = targets(rng, name, z.shape).astype(dtype)
    for loss in (LOSSES[name], *([huber(0.3)] if name == "huber" else [])):
        code, limit = compiled.loss_code(loss, output_rule)
        a = output_rule.f(z)
        expected_a, joined = loss.derivative(a, y), loss.joins(output_rule)
        share, slope = np.empty(z.size, dtype), np.empty(z.size, dtype)
        if name != "cross_entropy":
            flat = (v.ravel() for v in (z, a, y))
            every_E(code, *flat, np.array(limit, dtype), share, slope)
            exact = loss.of_pass(z, a, y, output_rule).ravel()
            assert_close(share, exact, slack=32 * (1 + abs(z * y).ravel()))
            assert_close(slope, ((a - y) if joined else expected_a).ravel())


@kernel
def every_row(out, loss, limit, z, a, y, delta):
    total = 0.0
    for i in range(len(z)):
        total += output_row(out, loss, limit[()], z[i], a[i], y[i], delta[i])
    return total


@both_dtypes
@pytest.mark.parametrize(("out", "name"), PAIRS)
def test_the_output_s_delta_and_loss_are_numpy_s(out, name, dtype):
    rng, rule, loss = np.random.default_rng(2), ACTIVATIONS[out], LOSSES[name]
    z = rng.normal(0, 3, (6, 4)).astype(dtype)
    y = targets(rng, name, z.shape).astype(dtype)
    _, times_df = layer_kernels(rule, z)
    delta_of, value = output_kernels(loss, rule, z, times_df)
    a, expected, delta = rule.f(z), np.empty_like(z), np.empty_like(z)
    with np.errstate(all="ignore"):
        delta_of(z, a, y, expected)
        E_of_batch = value(z, a, y)
    code, limit = compiled.loss_code(loss, rule)
    total = every_row(compiled.activation_code(rule), code, np.array(limit, dtype), z, a, y, delta)
    largest = abs(expected).max()
    assert_close(delta, expected, slack=64 * largest)
    assert total / 6 == pytest.approx(float(E_of_batch), rel=2e-5 if dtype == "float32" else 1e-13)


def test_cross_entropy_is_exact_where_a_rounds_to_0():
    z = np.array([[0.0, -900.0, 3.0], [-1000.0, 50.0, 900.0]])
    a, y, delta = ACTIVATIONS["softmax"].f(z), np.eye(3)[[1, 0]], np.empty((2, 3))
    args = compiled.SOFTMAX, compiled.CROSS_Z, np.array(0.0), z, a, y, delta
    assert every_row(*args) == pytest.approx(903.0485873515737 + 1900, rel=1e-15)


@both_dtypes
@pytest.mark.parametrize("name", ["relu", "gelu", "softmax"])
def test_the_loops_add_biases_and_sum_rows(name, dtype):
    rng, rule = np.random.default_rng(3), ACTIVATIONS[name]
    z, b, g = (rng.normal(size=shape).astype(dtype) for shape in ((7, 20), 20, (7, 20)))
    sum_of_z, a = z + b, np.empty_like(z)
    of = kind(compiled.activation_code(rule))
    forward(of, z, b, a)
    assert np.array_equal(z, sum_of_z)
    assert_close(a, rule.f(z), slack=8 * abs(z))
    again = np.empty_like(a)
    forward(of, z, None, again)
    assert np.array_equal(a, again)
    if name == "softmax":
        return
    delta, db, least = g.copy(), np.empty(20, dtype), np.array(0.0, dtype)
    backward(of, least, z, a, delta, db)
    assert_close(delta, g * rule.df(z, a), slack=32 * abs(g))
    assert_close(db, delta.sum(axis=0), slack=8 * abs(delta).max())
    alone = g.copy()
    backward(of, least, z, a, alone, None)
    assert np.array_equal(alone, delta)
    backward(of, np.array(0.1, dtype), z, a, g, None)
    assert np.array_equal(g, np.where(abs(delta) < 0.1, 0, delta))


@both_dtypes
def test_the_loop_of_the_output_weighs_its_samples(dtype):
    rng = np.random.default_rng(4)
    z, y = rng.normal(size=(5, 3)).astype(dtype), np.eye(3, dtype=dtype)[[0, 2, 1, 1, 0]]
    a, share = ACTIVATIONS["softmax"].f(z), np.array([0.5, 0.1, 0, 0.2, 0.2], dtype)
    of = kind(compiled.SOFTMAX), kind(compiled.CROSS_Z), np.array(0, dtype), z, a, y
    delta, db = np.empty_like(z), np.empty(3, dtype)
    each = -(y * np.log(a)).sum(axis=1)
    close = {"rel": 1e-5 if dtype == "float32" else 1e-14}
    assert output(*of, None, delta, db) == pytest.approx(each.mean(), **close)
    assert np.array_equal(delta, (a - y) * (np.ones((), dtype) / 5))
    assert db == pytest.approx(delta.sum(axis=0), rel=1e-4, abs=1e-7)
    assert output(*of, share, delta, None) == pytest.approx((each * share).sum(), **close)
    assert np.array_equal(delta, (a - y) * share[:, None])


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
FORMS = {
    "one": ((60,), "C", True),
    "stack": ((4, 15), "C", False),
    "fastest": ((4, 15), "F", False),
}


@pytest.mark.parametrize(
    ("name", "form", "dtype"),
    [
        *((name, "one", "float32") for name in RULES),
        *((name, form, "float64") for name in ("SGD", "AdamW") for form in FORMS),
    ],
)
def test_a_step_has_numpy_s_bits(name, form, dtype):
    shape, order, once = FORMS[form]
    rng = np.random.default_rng(5)
    start, weights = rng.normal(size=shape), rng.random(shape[-1]) < 0.6
    ends = []
    for make in (make_update, compiled.make_update):
        rule, steps = RULES[name](), np.random.default_rng(6)
        theta = np.array(start, dtype, order=order)
        g, move = np.empty_like(theta), np.empty_like(theta)
        rule.start(theta, weights)
        options = {"once": once} if make is compiled.make_update else {}
        update = make(rule, theta, g, move, decays=True, **options)
        for t in range(2 * EVERY + 5):
            rule.learning_rate = 0.01 * (1 + t // 40)
            rule.set_rate_at(0)
            g[...] = steps.normal(size=shape) * (steps.random(shape) < 0.1) * 10.0 ** -(t % 40)
            theta *= np.where(abs(theta) < 1e-3, 1e-30 if dtype == "float32" else 1e-250, 1)
            assert np.isfinite(update.compute())
            update.apply()
        ends.append([theta, *rule.state.values(), np.array(rule.t)])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 3e38])
def test_a_step_that_is_not_finite_is_undone(wrong):
    theta = np.linspace(-1, 1, 30).astype("float32")
    before, g = theta.copy(), np.ones(30, "float32")
    g[17] = wrong
    rule = SGD(10.0)
    rule.start(theta)
    update = compiled.make_update(rule, theta, g, np.empty_like(theta))
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


def test_a_stack_tells_which_step_is_broken_and_leaves_theta_to_the_caller():
    theta = np.ones((3, 4))
    g, move, rule = np.ones((3, 4)), np.empty((3, 4)), SGD(0.5)
    g[1, 2] = np.nan
    rule.start(theta)
    update = compiled.make_update(rule, theta, g, move, once=False)
    assert np.isnan(update.compute())
    assert update.broken().tolist() == [False, True, False]
    assert (theta == 1).all()
    move[1] = 0
    update.apply()
    assert theta[:, 0].tolist() == [0.5, 1, 0.5]


def test_rates_of_their_own_take_numpy_s_update():
    theta, g = np.ones((2, 3)), np.ones((2, 3))
    rule = SGD([0.5, 0.25])
    rule.start(theta)
    update = compiled.make_update(rule, theta, g, np.empty((2, 3)))
    update.compute()
    update.apply()
    assert theta[:, 0].tolist() == [0.5, 0.75]


# What has no compiled form


def test_a_rule_of_one_s_own_is_named():
    text = "the {} is your own and has no compiled form: compiled=False".format
    sine = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
    with complains(ValueError, text("activation 'sine'")):
        compiled.activation_code(sine)
    other = Activation("relu", f=np.abs, df=lambda z, a: np.sign(z))
    with complains(ValueError, text("activation 'relu'")):
        compiled.activation_code(other)
    quartic = Loss("quartic", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    with complains(ValueError, text("loss 'quartic'")):
        compiled.loss_code(quartic, ACTIVATIONS["relu"])

    class Mine(SGD):
        pass

    rule = Adam()
    rule.compute = lambda theta, g, move: None
    for own, name in ((Mine(0.1), "Mine"), (rule, "Adam")):
        with complains(ValueError, text(f"optimizer {name}")):
            compiled.optimizer_code(own)


def test_without_numba_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "bpnet.rules.compiled_math")
    with complains(ModuleNotFoundError, "compiled=True needs numba: pip install numba"):
        __import__("bpnet.rules.compiled_math")


def test_nothing_is_imported_unless_asked_for():
    code = "import sys, bpnet; bpnet.MLP, bpnet.fit; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
