"""The clock, the numbers' form and the files that the benchmarks share."""

import argparse
import sys

import pytest

from tests.helpers.scripts import run_script, script

measure = script("measure")


def test_spread_is_the_median_with_quartiles():
    spread = measure.Spread.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert spread == measure.Spread(median=3.0, lower=2.0, upper=4.0, rounds=5)
    assert str(spread) == "3.00 [2.00 .. 4.00]"
    assert measure.Spread(1.5e-5, 9e-6, 2e-3, 5).as_time() == "15.0 [9.00 .. 2000] µs"


def test_race_takes_turns_and_keeps_times_apart(monkeypatch):
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


def test_race_ends_with_its_budget_but_not_too_soon(monkeypatch):
    now = 0.0

    def run(n):
        nonlocal now
        now += n

    monkeypatch.setattr(measure, "perf_counter", lambda: now)
    assert len(measure.race({"a": run}, rounds=100, seconds=1, budget=0)["a"]) == 5
    assert len(measure.race({"a": run}, rounds=100, seconds=1, budget=7.5)["a"]) == 8


def test_repeated_takes_as_many_steps_as_told():
    taken = []
    measure.repeated(lambda: taken.append(1))(7)
    assert len(taken) == 7


def test_threads_must_be_set_before_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", measure)  # as if it were imported
    with pytest.raises(RuntimeError, match="before NumPy"):
        measure.set_threads(1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5.6e-6, "5.60 µs"), (9.996e-6, "10.0 µs"), (9.996e-4, "1.00 ms"), (12, "12.0 s"),
     (3e-9, "3.00 ns"), (1234, "1234 s"), (0.9994, "999 ms"), (0.9996, "1.00 s")],
)  # fmt: skip
def test_in_words(seconds, words):
    assert measure.in_words(seconds) == words


def test_table_aligns_its_columns():
    drawn = measure.table(["net", "time"], [["2-2-2", "5 µs"], ["784-30-10", "12 ms"]])
    lines = "net         time", "---------  -----", "2-2-2       5 µs", "784-30-10  12 ms"
    assert drawn == "\n".join(lines)


def test_files_are_checked_when_named(tmp_path):
    assert measure.new_file(str(tmp_path / "a.json")) == tmp_path / "a.json"
    with pytest.raises(argparse.ArgumentTypeError, match="is a folder"):
        measure.new_file(str(tmp_path))
    with pytest.raises(argparse.ArgumentTypeError, match="must end in"):
        measure.new_picture(str(tmp_path / "a.txt"))


def test_a_picture_without_matplotlib_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    with pytest.raises(argparse.ArgumentTypeError, match="pip install matplotlib"):
        measure.new_picture(str(tmp_path / "a.png"))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", ""])
def test_threads_are_a_positive_integer(text):
    assert measure.at_least_one("3") == 3
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        measure.at_least_one(text)


@pytest.mark.parametrize("name", ["vs_peers", "vs_loop", "many", "parts", "scaling", "mnist"])
def test_help(name):
    done = run_script(f"{name}.py", "--help")
    assert done.returncode == 0, done.stderr
    for option in ("--quick", "--threads", "--json", "--picture"):
        assert option in done.stdout


def test_turns_ask_the_clock_they_are_given():
    asked = []

    def clock(contender, n):
        asked.append(contender)
        return contender * n

    times = measure.turns({"a": 2.0, "b": 3.0}, {"a": 4, "b": 5}, rounds=2, budget=1e9, clock=clock)
    assert times == {"a": [2.0] * 2, "b": [3.0] * 2}
    assert asked == [2.0, 3.0] * 2


def test_memory_is_read_from_what_linux_says():
    status = "Name:\tpython\nVmHWM:\t   2048 kB\nVmRSS:\t 1500 kB\nRssAnon:\t 1000 kB\n"
    assert measure.memory(status) == {"own": 1000 * 1024, "peak": 2048 * 1024}
    assert measure.memory("") == {"own": 0, "peak": 0}
