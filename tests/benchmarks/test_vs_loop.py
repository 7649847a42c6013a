"""The benchmark scripts run, agree with themselves, and their helpers compute what they say."""

import argparse
import importlib
import json
import math
from importlib.util import find_spec

import numpy as np
import pytest

from tests.helpers.scripts import BENCHMARKS, run_script


@pytest.fixture
def scripts(monkeypatch):
    """Let the scripts be imported by their names, as they import each other."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def measure(scripts):
    return importlib.import_module("measure")


@pytest.fixture
def vs_loop(scripts):
    return importlib.import_module("vs_loop")


def test_vs_loop_quick(tmp_path):
    done = run_script("vs_loop.py", "--quick", "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))

    cases = [(result["net"], result["batch"]) for result in found["results"]]
    squares = [(f"{n}-{n}-{n}", 1) for n in (2, 4, 8, 16, 64)]
    assert cases == [*squares, ("784-30-10", 1), ("784-30-10", 10)]
    for result in found["results"]:
        assert result["difference"] <= 1e-12
        for side in ("loop", "matrix", "speedup"):
            spread = result[side]
            assert 0 < spread["lower"] <= spread["median"] <= spread["upper"] < math.inf
            assert spread["rounds"] == 3
    assert 0 < found["fit"]["fit_to_bare"]["median"] < math.inf

    machine = found["machine"]
    assert machine["blas_threads"] == "1"
    assert machine["numpy"] == np.__version__
    assert machine["cores"] >= 1
    assert all(machine[key] for key in ("cpu", "python", "system", "blas"))

    for words in ("2-2-2", "784-30-10", "faster", "Crossover", "Not for quoting", machine["cpu"]):
        assert words in done.stdout


def test_vs_loop_help():
    done = run_script("vs_loop.py", "--help")
    assert done.returncode == 0
    for option in ("--quick", "--threads", "--json", "--picture"):
        assert option in done.stdout


def test_a_missing_folder_is_told_before_measuring(tmp_path):
    done = run_script("vs_loop.py", "--json", tmp_path / "none" / "out.json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "there is no folder" in done.stderr


def test_disagreement_stops_the_benchmark(vs_loop, monkeypatch):
    """A step of a wrong rate must not be timed as if it were the same step."""
    right = vs_loop.matrix_step

    def wrong(net, x, y):
        step = right(net, x, y)
        net.theta *= 1 + 1e-9
        return step

    monkeypatch.setattr(vs_loop, "matrix_step", wrong)
    with pytest.raises(SystemExit, match="4-4-4: after one step the weights differ by"):
        vs_loop.run_case(vs_loop.CASES[1], rounds=3, seconds=0.0, budget=1.0)


def test_largest_batch_agrees(vs_loop):
    case = vs_loop.CASES[-1]
    assert (case.name, case.batch) == ("784-30-10", 128)
    net, x, y = vs_loop.problem(case)
    start = net.theta.copy()
    loop, by_loop = vs_loop.loop_step(net, x, y)
    by_loop()
    assert vs_loop.difference(net, loop) > 1e-4  # only one side has moved
    vs_loop.matrix_step(net, x, y)()
    assert vs_loop.difference(net, loop) <= 1e-12
    assert np.abs(net.theta - start).max() > 1e-3


def test_crossover_interpolates_on_logarithms(vs_loop):
    # From 1/2 at n = 2 to 2 at n = 8 the logarithm passes 0 half-way: n = 4.
    assert vs_loop.crossover([2, 8, 16], [0.5, 2.0, 9.0]) == pytest.approx(4)
    assert vs_loop.crossover([2, 4], [0.5, 1.0]) == pytest.approx(4)
    assert vs_loop.crossover([2, 4], [1.5, 3.0]) is None
    assert vs_loop.crossover([2, 4], [0.2, 0.9]) is None


@pytest.mark.parametrize(
    ("speedups", "sentence"),
    [
        ((0.5, 2, 4, 8, 16), "up to 2-2-2; n-n-n nets draw level at n = 2.8"),
        ((0.2, 0.4, 0.8, 1.6, 3), "up to 8-8-8; n-n-n nets draw level at n = 10.0"),
        ((1.1, 2, 4, 8, 16), "Matrices win at every n-n-n net"),
        ((0.1, 0.2, 0.3, 0.4, 0.5), "Plain floats win at every n-n-n net"),
    ],
)
def test_crossover_line(vs_loop, measure, speedups, sentence):
    results = [{"speedup": measure.Spread(s, s, s, 3)} for s in (*speedups, 60, 500)]
    assert sentence in vs_loop.crossover_line(results)[1]


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="drawing needs the extra 'plots'")
def test_picture(vs_loop, measure, tmp_path):
    results = [
        {"net": net, "batch": 1, "loop": measure.Spread(loop, loop, 1.1 * loop, 5)}
        | {"matrix": measure.Spread(1e-5, 0.9e-5, 1.2e-5, 5)}
        | {"speedup": measure.Spread(loop / 1e-5, 0.4, 0.6, 5)}
        for net, loop in (("2-2-2", 5e-6), ("784-30-10", 0.3))
    ]
    vs_loop.draw(results, tmp_path / "times.svg")
    drawn = (tmp_path / "times.svg").read_text(encoding="utf-8")
    assert "<svg" in drawn
    vs_loop.draw(results, tmp_path / "times.png")
    assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")


def test_spread_is_the_median_with_quartiles(measure):
    spread = measure.Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert spread == measure.Spread(median=3.0, lower=2.0, upper=4.0, rounds=5)
    assert str(spread) == "3.00 [2.00 .. 4.00]"
    assert measure.Spread(1.5e-5, 9e-6, 2e-3, 5).as_time() == "15.0 [9.00 .. 2000] µs"


def test_race_takes_turns_and_keeps_times_apart(measure, monkeypatch):
    """A clock that the contenders move: 'slow' takes 3 s a step, 'fast' 1 s."""
    now, turns = 0.0, []

    def contender(name, cost):
        def run(n):
            nonlocal now
            now += n * cost
            turns.append((name, n))

        return run

    monkeypatch.setattr(measure, "perf_counter", lambda: now)
    runs = {"slow": contender("slow", 3.0), "fast": contender("fast", 1.0)}
    times = measure.race(runs, rounds=4, seconds=6.0, budget=1e9)
    assert times == {"slow": [3.0] * 4, "fast": [1.0] * 4}
    assert turns[-8:] == [("slow", 2), ("fast", 8)] * 4
    assert measure.ratio(times["slow"], times["fast"]).median == 3.0


def test_race_ends_with_its_budget_but_not_too_soon(measure, monkeypatch):
    now = 0.0

    def run(n):
        nonlocal now
        now += n

    monkeypatch.setattr(measure, "perf_counter", lambda: now)
    assert len(measure.race({"a": run}, rounds=100, seconds=1, budget=0)["a"]) == 5
    assert len(measure.race({"a": run}, rounds=100, seconds=1, budget=7.5)["a"]) == 8


def test_repeated_takes_as_many_steps_as_told(measure):
    taken = []
    measure.repeated(lambda: taken.append(1))(7)
    assert len(taken) == 7


def test_threads_must_be_set_before_numpy(measure):
    with pytest.raises(RuntimeError, match="before NumPy"):
        measure.set_threads(1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5.6e-6, "5.60 µs"), (9.996e-6, "10.0 µs"), (9.996e-4, "1.00 ms"), (12, "12.0 s"),
     (3e-9, "3.00 ns"), (1234, "1234 s"), (0.9994, "999 ms"), (0.9996, "1.00 s")],
)  # fmt: skip
def test_in_words(measure, seconds, words):
    assert measure.in_words(seconds) == words


def test_ticks_are_round(vs_loop):
    assert [vs_loop.tick(t) for t in (1e-6, 1e-4, 1e-3, 1.0)] == ["1 µs", "100 µs", "1 ms", "1 s"]


def test_table_aligns_its_columns(measure):
    drawn = measure.table(["net", "time"], [["2-2-2", "5 µs"], ["784-30-10", "12 ms"]])
    assert drawn.splitlines() == [
        "net         time",
        "---------  -----",
        "2-2-2       5 µs",
        "784-30-10  12 ms",
    ]


def test_files_are_checked_when_named(measure, tmp_path):
    assert measure.new_file(str(tmp_path / "a.json")) == tmp_path / "a.json"
    with pytest.raises(argparse.ArgumentTypeError, match="is a folder"):
        measure.new_file(str(tmp_path))
    with pytest.raises(argparse.ArgumentTypeError, match="must end in"):
        measure.new_picture(str(tmp_path / "a.txt"))


def test_a_picture_without_matplotlib_names_the_extra(measure, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    with pytest.raises(argparse.ArgumentTypeError, match=r"bpnet-numpy\[plots\]"):
        measure.new_picture(str(tmp_path / "a.png"))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", ""])
def test_threads_are_a_positive_integer(measure, text):
    assert measure.at_least_one("3") == 3
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        measure.at_least_one(text)
