"""What is trained on MNIST has the book's settings, and is scored as is said."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.scripts import quick_run, script

mnist = script("mnist")


def test_mnist_quick(tmp_path):
    mnist.write_noise(tmp_path)
    how = ("--data", tmp_path, "--threads", 1, "--rows", 3, 5, 6, "--seeds", 2)
    found, shown = quick_run(tmp_path / "out.json", "mnist.py", *how)
    book, plain, together = found["results"]
    assert book["score"] == book["best_epoch"]
    assert plain["best_epoch"] is None
    assert plain["score"] == plain["mean"]
    assert together["score"] == together["together"]
    for result in found["results"]:
        assert [run["seed"] for run in result["runs"]] == [0, 1]
        assert all(len(run["accuracy"]) == 1 and run["seconds"] > 0 for run in result["runs"])
        assert result["runs"][0]["images"] == 1000
        assert result["row"] in shown
    if Path("/proc/self/status").exists():
        assert found["memory"]["over"] < 60e6
        assert "(≤ 60)" in shown
    assert found["allocations"]["kept_a_step"] < 200
    assert found["allocations"]["above"] < found["allocations"]["batch"]


def test_mnist_settings_are_the_books():
    row = mnist.ROWS[2]
    net = mnist.start(row, 3)
    assert repr(net) == "MLP(784-30-10, sigmoid, sigmoid; binary_cross_entropy, float32)"
    assert np.std(net.theta) == pytest.approx(1, abs=0.02)
    assert np.abs(net.b[2]).min() > 0
    told = mnist.training(row, 50_000)
    assert told["l2"] == pytest.approx(5 / 50_000)
    assert told["optimizer"].learning_rate == 0.5
    assert mnist.training(mnist.ROWS[0], 50_000)["l2"] == 0


def test_mnist_scores_pick_no_epoch_but_the_books():
    runs = [{"accuracy": [0.5, 0.9, 0.8], "seconds": 1.0}]
    runs += [{"accuracy": [0.6, 0.7, 0.6], "seconds": 3.0}]
    outputs, labels = np.array([[0.4, 0.6], [0.7, 0.3], [0.9, 0.1]]), np.array([1, 0, 1])
    book, plain, together = (mnist.scores(mnist.ROWS[k], runs, outputs, labels) for k in (0, 4, 5))
    assert book["score"] == 0.9
    assert plain["score"] == plain["mean"] == pytest.approx(0.7)
    assert plain["best"] == 0.8
    assert together["score"] == pytest.approx(2 / 3)
    assert book["seconds"] == 2.0
