"""Subnormal numbers: what sinks towards them is cleared, and nothing that counts changes by it."""

import numpy as np
import pytest

from bpnet import MLP, SGD, Adagrad, Adam, AdamW, RMSprop, fit
from bpnet.rules import optimizers, subnormal
from bpnet.rules.subnormal import EVERY, clear, negligible, negligible_theta

RULES = {
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "Nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True),
    "Adagrad": Adagrad,
    "RMSprop": lambda: RMSprop(rho=0.9),
    "RMSprop, momentum": lambda: RMSprop(rho=0.9, momentum=0.8),
    "Adam": lambda: Adam(beta2=0.9),
    "AdamW": lambda: AdamW(beta2=0.9, weight_decay=0.1),
}
every_rule = pytest.mark.parametrize("make", RULES.values(), ids=RULES)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def subnormal_of(*arrays):
    tiny = np.finfo(arrays[0].dtype).tiny
    return [int(((v != 0) & (abs(v) < tiny)).sum()) for v in arrays]


@pytest.fixture
def _never(monkeypatch):
    monkeypatch.setattr(optimizers, "EVERY", 10**9)


def fading(make, dtype, steps):
    """A rule whose gradient is 0 after a while, of most coordinates, and its θ."""
    rule, theta = make(), np.linspace(-1, 1, 40).astype(dtype)
    start = np.geomspace(1, 1e-5, 40).astype(dtype)
    rule.start(theta)
    with np.errstate(under="ignore"):
        for t in range(steps):
            rule.step(theta, start * (t < 5))
    return rule, theta


LONG = {"float32": 40 * EVERY, "float64": 160 * EVERY}


@both_dtypes
@every_rule
def test_no_vector_stays_subnormal(make, dtype):
    rule, theta = fading(make, dtype, LONG[dtype])
    assert subnormal_of(*rule.state.values(), theta) == [0] * (len(rule.state) + 1)
    if not isinstance(rule, Adagrad):  # whose s does not fade
        assert not any(vector.any() for vector in rule.state.values())


@pytest.mark.usefixtures("_never")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_or_else_momentum_would_stick_there(dtype):
    rule, _ = fading(RULES["Adam"], dtype, LONG[dtype])
    assert subnormal_of(*rule.state.values()) == [40, 40]


def sparse_training(make, dtype, **options):
    """A net on inputs that are mostly 0, some of which come back after hundreds of steps."""
    rng = np.random.default_rng(5)
    x = rng.random((700, 12)) * (rng.random((700, 12)) < np.geomspace(0.5, 0.002, 12))
    y = np.eye(3)[rng.integers(0, 3, 700)]
    net = MLP.init((12, 8, 3), activation="relu", output="softmax", loss="cross_entropy", rng=1, dtype=dtype)
    rule = make()
    fit(net, x, y, epochs=2, batch_size=1, optimizer=rule, rng=0, **options)
    return net.theta, rule


@both_dtypes
@every_rule
def test_theta_has_the_same_bits(make, dtype, monkeypatch):
    cleared, rule = sparse_training(make, dtype)
    monkeypatch.setattr(optimizers, "EVERY", 10**9)
    theta, other = sparse_training(make, dtype)
    assert np.array_equal(cleared, theta)
    if dtype == "float32" and rule.vectors[-1] != "s":  # what was cleared did make a difference
        assert any(not np.array_equal(rule.state[name], other.state[name]) for name in rule.vectors)


@every_rule
def test_which_step_clears_depends_on_t_alone(make):
    def run(*parts):
        rule, theta = make(), np.linspace(-1, 1, 9).astype("float32")
        rule.start(theta)
        for steps in parts:
            for _ in range(steps):
                rule.step(theta, np.float32(1e-30) * theta * (rule.t % 7 == 0))
            rule.resume(theta)
        return [theta, *rule.state.values()]

    whole = run(3 * EVERY)
    for parts in ((EVERY - 1, 2 * EVERY + 1), (EVERY, EVERY, EVERY), (EVERY + 20, 2 * EVERY - 20)):
        assert all(map(np.array_equal, run(*parts), whole))


def test_thresholds():
    assert negligible("float32") == pytest.approx(9.86e-32, rel=1e-3)
    assert negligible("float64") == pytest.approx(1.0e-292, rel=1e-2)
    assert negligible("float16") == negligible_theta("float16") == 0
    assert negligible_theta("float32") == 1024 * np.finfo("float32").tiny
    for dtype in ("float32", "float64"):
        info = np.finfo(dtype)
        for epsilon in (1e-3, 1e-8, 1e-10):
            least = negligible(dtype, epsilon)
            beside = np.array(epsilon, dtype)
            assert info.tiny < least <= negligible(dtype)
            assert beside + np.sqrt(np.array(least, dtype)) == beside
    assert negligible("float32", 1e-12) == 0  # no room between ε and the subnormal numbers
    assert negligible("float64", 1e-100) > 0


def test_a_square_beside_a_tiny_epsilon_is_kept():
    rule, theta = Adam(epsilon=1e-25), np.ones(3, "float32")
    for _ in range(2 * EVERY):
        rule.step(theta, np.full(3, 1e-18, "float32"))
    assert (rule.state["v"] > 0).all()


@both_dtypes
def test_clear_keeps_what_is_not_small(dtype):
    least = negligible(dtype)
    kept = [0.0, -1.0, least, -least, np.inf, -np.inf, np.nan, 1e30]
    v = np.array([*kept, least / 2, -least / 2, np.finfo(dtype).smallest_subnormal], dtype)
    with np.errstate(invalid="ignore"):
        clear(v, least, np.empty_like(v), np.empty_like(v, bool))
    np.testing.assert_array_equal(v, np.array([*kept, 0, 0, 0], dtype))


@pytest.mark.parametrize(
    ("make", "options"),
    [(lambda: SGD(1.0), {"l2": 0.2}), (lambda: AdamW(0.1, weight_decay=2), {})],
    ids=["l2", "weight decay"],
)
def test_theta_that_decays_ends_at_0_and_not_below_the_normal_numbers(make, options):
    weights = MLP.init((5, 3), activation="identity", rng=0, dtype="float32")
    x, y, rule = np.zeros((1, 5)), np.zeros((1, 3)), make()
    fit(weights, x, y, epochs=400, optimizer=rule, **options)
    assert subnormal_of(weights.theta) == [0]
    assert subnormal_of(weights.theta * np.float32(1e-3)) == [0]
    fit(weights, x, y, epochs=200, optimizer=rule, keep_state=True, **options)
    assert not weights.W[2].any()


def test_theta_that_does_not_decay_is_left_alone():
    theta = np.array([1e-36, -1e-40, 0.0], "float32")
    before = theta.copy()
    for rule in (SGD(0.1, momentum=0.5), Adam(), AdamW(weight_decay=0)):
        for _ in range(EVERY):
            rule.step(theta, np.zeros(3, "float32"))
        assert np.array_equal(theta, before)
    ending = AdamW(1e-30)
    for _ in range(EVERY):
        ending.step(theta, np.zeros(3, "float32"))
    assert theta.tolist() == [0, 0, 0]


def test_a_step_is_not_swallowed_where_theta_starts_at_0():
    theta = np.zeros(2, "float32")
    rule = AdamW(1e-3, weight_decay=1)
    rule.start(theta)
    rule.t = EVERY - 1
    rule.step(theta, np.ones(2, "float32"))
    assert (theta < -1e-6).all()


# δ


def saturated(networks):
    """A net whose δ² are too small for some of the steps, and data for it."""
    net = MLP.init((3, 40, 2), activation="sigmoid", rng=0, dtype="float32", networks=networks)
    net.W[3][..., :30] *= 1e-35
    x = np.random.default_rng(1).normal(size=(160, 3)).astype("float32")
    return net, x, (x[:, :2] > 0) * 1.0


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("networks", [None, 3])
def test_errors_too_small_are_cleared_in_fit_alone(networks, turns, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("bpnet.training.loop.better_in_turn", lambda theta, m: turns)
    monkeypatch.setattr(subnormal, "clear", lambda v, *rest: (clear(v, *rest), seen.append(v)))
    net, x, y = saturated(networks)
    cache = net.forward(x)
    assert subnormal_of(net.backward(cache, y).delta[2])[0] > 0
    other, bare = net.copy(), net.copy()
    options = {"batch_size": 64, "optimizer": SGD(1e-4), "rng": 0, "frozen": "W[3]"}
    fit(net, x, y, epochs=40, **options)
    assert len(seen) == 120 * (3 if networks and turns else 1)
    assert subnormal_of(*seen) == [0] * len(seen)
    for epochs in (7, 23, 40):
        fit(other, x, y, epochs=epochs, checkpoint=tmp_path / "c", resume=True, **options)
    monkeypatch.setattr("bpnet.training.step.FEW", 10**9)
    before = len(seen)
    fit(bare, x, y, epochs=40, **options)
    assert len(seen) == before
    assert np.array_equal(net.theta, other.theta)
    assert abs(net.theta - bare.theta).max() < 1e-30  # biases that are 0 would move
