"""Loops against matrices: the benchmark runs, agrees with itself, and says who wins from where."""

import math

import numpy as np
import pytest

from tests.helpers.scripts import quick_run, script

measure, contender, vs_loop = script("measure"), script("contender"), script("vs_loop")


def test_vs_loop_quick(tmp_path):
    found, shown = quick_run(tmp_path / "out.json", "vs_loop.py")
    assert len(found["results"]) == 7
    for result in found["results"]:
        assert result["difference"] <= 1e-12
        for side in ("loop", "matrix", "speedup"):
            spread = result[side]
            assert 0 < spread["lower"] <= spread["median"] <= spread["upper"] < math.inf
            assert spread["rounds"] == 3
    assert 0 < found["fit"]["fit_to_bare"]["median"] < math.inf

    machine = found["machine"]
    assert (machine["blas_threads"], machine["numpy"]) == ("1", np.__version__)
    assert all(machine[key] for key in ("cpu", "cores", "python", "system", "blas"))
    for words in ("784-30-10", "Crossover", "Not for quoting", machine["cpu"]):
        assert words in shown


def test_disagreement_stops_the_benchmark(monkeypatch):
    right = vs_loop.matrix_step

    def wrong(net, x, y):
        step = right(net, x, y)
        net.theta *= 1 + 1e-9
        return step

    monkeypatch.setattr(vs_loop, "matrix_step", wrong)
    with pytest.raises(SystemExit, match="4-4-4: after one step the weights differ by"):
        vs_loop.run_case(vs_loop.CASES[1], rounds=3, seconds=0.0, budget=1.0)


def test_crossover_interpolates_on_logarithms():
    # From 1/2 at n = 2 to 2 at n = 8 the logarithm passes 0 half-way: n = 4.
    assert vs_loop.crossover([2, 8, 16], [0.5, 2.0, 9.0]) == pytest.approx(4)
    assert vs_loop.crossover([2, 4], [0.5, 1.0]) == pytest.approx(4)
    assert vs_loop.crossover([2, 4], [1.5, 3.0]) is None
    assert vs_loop.crossover([2, 4], [0.2, 0.9]) is None
    for speedups, sentence in (
        ((0.5, 2, 4, 8, 16), "up to 2-2-2; n-n-n nets draw level at n = 2.8"),
        ((1.1, 2, 4, 8, 16), "Matrices win at every n-n-n net"),
        ((0.1, 0.2, 0.3, 0.4, 0.5), "Plain floats win at every n-n-n net"),
    ):
        results = [{"speedup": measure.Spread(s, s, s, 3)} for s in (*speedups, 60, 500)]
        assert sentence in vs_loop.crossover_line(results)[1]
