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
    times = map(measure.in_words, (9.996e-6, 9.996e-4, 12, 3e-9, 1234, 0.9994))
    assert list(times) == ["10.0 µs", "1.00 ms", "12.0 s", "3.00 ns", "1234 s", "999 ms"]
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
    now = 0.0  # a race ends with its budget, but not too soon
    for budget, rounds in ((0, 5), (7.5, 8)):
        run = contender("a", 1.0)
        assert len(measure.race({"a": run}, rounds=100, seconds=1, budget=budget)["a"]) == rounds


def test_threads_must_be_set_before_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", measure)  # as if it were imported
    with pytest.raises(RuntimeError, match="before NumPy"):
        measure.set_threads(1)


def test_options_are_checked_when_given(tmp_path, monkeypatch):
    assert measure.new_file(str(tmp_path / "a.json")) == tmp_path / "a.json"
    assert measure.at_least_one("3") == 3
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    for kind, text, message in (
        *((measure.at_least_one, text, "whole number") for text in ("0", "-1", "1.5", "two", "")),
        (measure.new_file, tmp_path, "is a folder"),
        (measure.new_file, tmp_path / "none" / "a.json", "there is no folder"),
        (measure.new_picture, tmp_path / "a.txt", "must end in"),
        (measure.new_picture, tmp_path / "a.png", "pip install matplotlib"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=message):
            kind(str(text))


@pytest.mark.parametrize("name", ["vs_peers", "vs_loop", "many", "parts", "scaling", "mnist"])
def test_help(name):
    done = run_script(f"{name}.py", "--help")
    assert done.returncode == 0, done.stderr
    for option in ("--quick", "--threads", "--json", "--picture"):
        assert option in done.stdout
    assert run_script(f"{name}.py", "--no").returncode == 2


def test_memory_is_read_from_what_linux_says():
    status = "Name:\tpython\nVmHWM:\t   2048 kB\nVmRSS:\t 1500 kB\nRssAnon:\t 1000 kB\n"
    assert measure.memory(status) == {"own": 1000 * 1024, "peak": 2048 * 1024}
    assert measure.memory("") == {"own": 0, "peak": 0}
