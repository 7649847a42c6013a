"""The clocks inside a step see each part of it, and change nothing."""

import numpy as np
import pytest

from tests.helpers.scripts import quick_run, script

workloads, peers, parts = script("workloads"), script("peers"), script("parts")


@pytest.mark.parametrize("row", [0, 1, 6])
def test_clocks_inside_a_step_change_nothing_and_see_all_parts(row):
    work, _ = workloads.WORKLOADS[row]
    data = workloads.problem(work)
    plain, clocked = peers.Bpnet(work, data), peers.Bpnet(work, data)
    plain.run(3)
    clocks = parts.Clocks()
    with clocks.inside(clocked) as take:
        for _ in range(3):
            take(data.y, None)
    assert np.array_equal(plain.net.theta, clocked.net.theta)
    assert {part for part, spent in clocks.spent.items() if not spent} == {"between"}
    spent = clocks.spent.copy()
    clocked.made_step()(data.y, None)
    assert clocks.spent == spent  # the clocks are gone


def test_parts_of_a_step(tmp_path):
    rows = ("--rows", 1, 8, "--threads", 1)
    found, shown = quick_run(tmp_path / "parts.json", "parts.py", *rows)
    results = found["results"]
    assert [result["workload"][:5] for result in results] == ["784-3", "64-32"]
    for result in results:
        assert min(result["parts"].values()) > 0
        assert sum(result["parts"].values()) > result["parts"]["products"]
    assert "Not for quoting" in shown
