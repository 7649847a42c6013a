"""Slopes are what they say, sweeps grow in one thing, and memory stays beside the data."""

import math
from pathlib import Path

import pytest

from tests.helpers.scripts import quick_run, script

measure, scaling = script("measure"), script("scaling")


def test_slope_of_a_power():
    values = [2, 4, 16]
    assert scaling.slope(values, [5 * v**1.5 for v in values]) == pytest.approx(1.5)
    assert scaling.slope(values, [7.0] * 3) == pytest.approx(0)


def test_sweeps_grow_in_one_thing():
    n, m, k = scaling.sweeps(quick=False).values()
    assert [(w.sizes, w.batch) for w in list(n.values())[:2]] == [((8,) * 3, 128), ((16,) * 3, 128)]
    assert all(w.sizes == (784, 100, 10) and w.batch == batch for batch, w in m.items())
    assert [len(w.sizes) - 2 for w in k.values()] == list(k)


def test_scaling_quick(tmp_path):
    small = ("--threads", 1, "--largest", 0.04)
    found, _ = quick_run(tmp_path / "out.json", "scaling.py", *small)
    assert len(found["time"]) == 3
    for sweep in found["time"].values():
        assert len(sweep["points"]) == 3
        assert all(math.isfinite(slope) for slope in sweep["slopes"].values())
    data = [result["data"] for result in found["memory"]]
    assert data[-1] == pytest.approx(4e7, rel=1e-3)
    assert data[-1] == pytest.approx(16 * data[0], rel=1e-2)
    if Path("/proc/self/status").exists():
        grown = found["memory"][-1]["own"] - found["memory"][0]["own"]
        assert abs(grown) < 0.2 * (data[-1] - data[0])
        assert all(result["total"] > result["own"] > 1e7 for result in found["memory"])
