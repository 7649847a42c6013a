"""Whole epochs and times to an accuracy are measured by each library that is there."""

import numpy as np

from bpnet import MLP
from tests.helpers.scripts import quick_run, script

time_to_accuracy = script("time_to_accuracy")


def test_whole_epochs(tmp_path):
    found, shown = quick_run(tmp_path / "out.json", "epochs.py", "--threads", 1, "--rows", 2, draws=False)
    (row,) = found["results"]
    assert {"bpnet"} <= row["seconds"].keys()
    assert all(len(seconds) == 3 and min(seconds) > 0 for seconds in row["seconds"].values())
    assert "| 784-100-10, batch 32 | " in shown


def test_the_time_to_an_accuracy(tmp_path):
    found, shown = quick_run(tmp_path / "out.json", "time_to_accuracy.py", "--threads", 1, draws=False)
    assert {result["way"] for result in found["results"]} >= {"bpnet"}
    for result in found["results"]:
        (course,) = result["courses"]
        assert 1 <= len(course) <= 3
        assert course == sorted(course)
        assert 0.1 < course[-1][1] <= 1
    assert "97.5 %" in shown


def test_an_accuracy_is_reached_or_never():
    course = [(1.0, 0.9), (2.0, 0.98), (3.0, 0.97)]
    assert time_to_accuracy.seconds_to(0.975, course) == 2.0
    assert time_to_accuracy.seconds_to(0.99, course) is None


def test_the_accuracy_is_that_of_the_net():
    rules = {"activation": "relu", "output": "softmax", "loss": "cross_entropy"}
    net, x = MLP.init((5, 4, 3), **rules, rng=0), np.random.default_rng(1).normal(size=(9, 5))
    weights, labels = script("contender").weights_of(net), net.predict(x).argmax(axis=1)
    assert time_to_accuracy.accuracy(weights, x, labels) == 1
    assert time_to_accuracy.accuracy(weights, x, (labels + 1) % 3) == 0
