"""An update in pieces is the same, to the bit, as one over all of θ."""

import math
from pathlib import Path

import numpy as np
import pytest

from bpnet import SGD, Adagrad, Adam, AdamW, RMSprop, StepDecay
from bpnet.rules import update
from bpnet.rules.subnormal import EVERY
from bpnet.rules.update import fastest_of, make_update, numbers_in_cache, pieces, sum_of_squares

RULES = {
    "SGD": lambda rate: SGD(rate),
    "Nesterov": lambda rate: SGD(rate, momentum=0.9, nesterov=True),
    "Adagrad": Adagrad,
    "RMSprop": lambda rate: RMSprop(rate, momentum=0.5),
    "Adam": Adam,
    "AdamW": lambda rate: AdamW(rate, weight_decay=0.3),
}
LAYOUTS = {
    "one network": ((1000,), "C"),
    "a stack of one": ((1, 1000), "C"),
    "a stack": ((40, 25), "C"),
    "a stack, networks fastest": ((40, 25), "F"),
}


@pytest.fixture
def _in_pieces(monkeypatch):
    """Cut into pieces whatever has more than some 100 numbers, and stay with it."""
    monkeypatch.setattr(update, "numbers_in_cache", lambda arrays, itemsize: 100)
    monkeypatch.setattr(update, "fastest_of", lambda whole, in_pieces: in_pieces)


@pytest.mark.usefixtures("_in_pieces")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "order"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_same_bits_in_pieces(make, shape, order, dtype):
    rng = np.random.default_rng(2)
    rate = 0.03
    if shape[0] == 40:
        rate = StepDecay(np.linspace(0.01, 0.1, 40), every=1, factor=0.5)
    start, weights = rng.normal(size=shape), rng.random(shape[-1]) < 0.5
    ends = []
    for whole in (False, True):
        rule, steps = make(rate), np.random.default_rng(3)
        theta = np.array(start, dtype, order=order)
        g, move = np.empty_like(theta), np.empty_like(theta)
        rule.start(theta, weights)
        take = make_update(rule, theta, g, move, decays=True)
        assert take.__name__ == "in_pieces"
        for t in range(2 * EVERY + 10):
            rule.set_rate_at(t // EVERY)
            g[...] = steps.normal(size=shape) * (steps.random(shape) < 0.1) * 1e-12
            theta *= np.where(abs(theta) < 1e-3, 1e-20, 1)  # so that there is something to end
            if whole:
                rule.advance(theta, g, move, decays=True)
            else:
                squares = take()
                assert squares == pytest.approx((move.astype(float) ** 2).sum(), rel=1e-5)
            theta -= move
        ends.append([theta, *rule.state.values(), np.array(rule.t)])
    assert all(map(np.array_equal, *ends))
    assert ends[0][-1] == 2 * EVERY + 10


@pytest.mark.usefixtures("_in_pieces")
def test_a_rule_of_one_s_own_sees_all_of_theta_unless_it_says_otherwise():
    class Normed(SGD):
        def compute(self, theta, g, move):
            super().compute(theta, g / np.linalg.norm(g), move)

    theta = np.ones(1000)
    g, move = np.ones(1000), np.empty(1000)
    rule = Normed(0.5)
    rule.start(theta)
    assert make_update(rule, theta, g, move)() == pytest.approx(0.25)
    plain = SGD(0.5)
    plain.start(theta)
    plain.compute = Normed(0.5).compute  # set on the object
    assert make_update(plain, theta, g, move).__name__ == "update"


def test_small_theta_is_taken_at_once():
    theta = np.ones(1000)
    rule = Adam()
    rule.start(theta)
    assert make_update(rule, theta, theta, theta.copy()).__name__ == "update"


@pytest.mark.usefixtures("_in_pieces")
@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_a_number_that_is_not_finite_shows_in_the_squares(wrong):
    for place in (0, 555, 999):
        theta, g = np.ones(1000), np.ones(1000)
        g[place] = wrong
        rule = SGD(1.0)
        rule.start(theta)
        with np.errstate(over="ignore"):
            assert not math.isfinite(make_update(rule, theta, g, np.empty(1000))())
        assert (theta == 1).all()
        assert rule.t == 1


@pytest.mark.parametrize("n", [1, 9999, 10_000, 10_001, 25_000])
def test_sum_of_squares_of_any_length(n):
    v = np.random.default_rng(0).normal(size=n)
    assert sum_of_squares(v)() == pytest.approx((v * v).sum(), rel=1e-12)
    v[-1] = np.nan
    assert math.isnan(sum_of_squares(v)())


@pytest.mark.parametrize("size", [1, 7, 100, 999, 1000, 5000])
@pytest.mark.parametrize(("shape", "order"), LAYOUTS.values(), ids=LAYOUTS)
def test_pieces_cover_every_number_once_and_lie_together(shape, order, size):
    theta = np.zeros(shape, order=order)
    for index in pieces(theta, size):
        part = theta[index]
        assert part.flags.c_contiguous or part.flags.f_contiguous
        assert part.size <= max(size, 40)
        part += 1
    assert (theta == 1).all()


def test_the_faster_way_stays(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(update.time, "perf_counter", lambda: now[0])

    def way(name, seconds):
        def call():
            calls.append(name)
            now[0] += seconds.pop(0) if len(seconds) > 1 else seconds[0]
            return name

        return call

    take = fastest_of(way("slow", [3, 3, 3, 2]), way("fast", [9, 9, 1]))
    for _ in range(20):
        assert take() == calls[-1]
    tried = 2 * update.TRIALS
    assert calls[:tried] == ["slow", "fast"] * update.TRIALS
    assert set(calls[tried:]) == {"fast"}


@pytest.mark.parametrize(("text", "numbers"), [("2048K\n", 65536), ("1024K\n", 32768), ("strange", 32768)])
def test_the_size_is_the_cache_s(monkeypatch, tmp_path, text, numbers):
    file = tmp_path / "size"
    file.write_text(text)
    monkeypatch.setattr(update, "SECOND_LEVEL", str(file))
    update.second_level_cache.cache_clear()
    assert numbers_in_cache(4, 4) == numbers
    monkeypatch.setattr(update, "SECOND_LEVEL", str(Path(tmp_path, "none")))
    update.second_level_cache.cache_clear()
    assert numbers_in_cache(4, 8) == 16384
    update.second_level_cache.cache_clear()
