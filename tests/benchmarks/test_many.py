"""The benchmark of many networks runs, and compares what it says it compares.

Libraries that are compared with are asked in processes of their own, as the benchmark does.
"""

import math
from importlib.util import find_spec

import numpy as np
import pytest

import bpnet
from tests.helpers.scripts import DRAWS, process_of, quick_run, run_script, script

SIDES_OF = {"PyTorch": ("PyTorch",), "JAX": ("JAX", "JAX loop")}
stacked, many = script("stacked"), script("many")
SMALL = stacked.Row((3, 4, 2), 5, 6)
TINY = stacked.Row((2, 3, 2), 70, 1, 2.0)  # which bpnet lays out with the networks fastest


@pytest.fixture(scope="module")
def ours():
    with process_of(many.Library, "bpnet") as worker:
        yield worker


@pytest.fixture(scope="module", params=many.PEERS)
def peer(request):
    with process_of(many.Library, request.param) as worker:
        yield worker


@pytest.mark.parametrize("row", [SMALL, TINY, SMALL._replace(networks=1)])
def test_the_compared_step_is_a_step_of_gradient_descent(row):
    data = stacked.problem(row)
    net = bpnet.MLP.from_weights(data.W, data.b)
    assert len(np.unique(net.theta)) == net.theta.size  # each starts from weights of its own
    expected = net.theta - stacked.RATE * net.backward(net.forward(data.x), data.y).theta
    made = {name: make() for name, make in stacked.contenders("bpnet", row).items()}
    assert list(made) == ["bpnet", "one by one", "loop", "fit", "fit one by one"]
    for name in ("bpnet", "one by one", "loop"):
        contender = made[name]
        assert contender.same
        weights = contender.result()
        compared = row.networks if name == "bpnet" else min(row.networks, stacked.FEW)
        theta = np.concatenate([array.reshape(len(array), -1) for array in weights], axis=1)
        np.testing.assert_allclose(theta, expected[:compared], rtol=1e-12)
        assert contender.networks == (row.networks if name == "bpnet" else 1)
        assert np.abs(theta - net.theta[:compared]).max() > 1e-4


def test_fit_takes_as_many_steps_as_are_counted(monkeypatch):
    made = {name: make() for name, make in stacked.contenders("bpnet", SMALL).items()}
    for name, networks in [("fit", 50), ("fit one by one", 10)]:
        contender, steps = made[name], []
        assert (contender.networks, contender.same) == (networks, False)
        monkeypatch.setattr(bpnet, "fit", lambda *args, to=steps, **how: to.append((args, how)))
        contender.run(3)
        (net, x, y), how = steps[0]
        assert (how["epochs"], how["batch_size"], len(x), len(y)) == (3, 6, 60, 60)
        assert net is contender.net
        monkeypatch.undo()
        start = contender.net.theta.copy()
        contender.run(1)
        assert (contender.net.theta != start).all()
        contender.reset()
        np.testing.assert_array_equal(contender.net.theta, start)


def test_a_peer_takes_the_same_steps_and_is_timed(ours, peer):
    for row in SMALL, TINY:
        found = many.check(row, [ours, peer])
        assert len(found) == 4, "the loop, one by one, and two ways of a peer"
        assert all(0 <= off <= many.AGREE for off in found.values()), found
    result = many.run_row(TINY, [ours, peer], rounds=3, seconds=1e-4, budget=1.0)
    sides = {"bpnet", "one by one", "loop", *SIDES_OF[peer.library]}
    assert set(result["per_network_and_step"]) == sides
    assert set(result["ratio"]) == {"in fit"} | sides - {"bpnet"}
    assert set(result["ways"]) == set(result["difference"]) | {"bpnet", "fit", "fit one by one"}
    for side, ratio in result["ratio"].items():
        assert 0 < ratio.lower <= ratio.median < math.inf, side
    assert result["ratio"]["loop"].median > 3  # 70 networks at once: far from level


class Stub:
    """Answers as a worker would whose contenders take so many seconds a step."""

    def __init__(self, library, seconds, networks, weights):
        self.library, self.seconds = library, seconds
        self.answers = {"check": weights, "load": networks}

    def ask(self, name, contender=None, *arguments):
        return self.answers.get(name) or (4 if name == "steps_for" else self.seconds[contender])


@pytest.mark.parametrize(
    ("off", "way", "compared", "remark"),
    [
        (0.0, "vmap of functional_call", "3.00 ≥ 1", "PyTorch's faster way: vmap of functional_"),
        (1e-9, None, "disagrees", "1,000 of 2-2-2, batch 1: vmap differs by 5.0e-10 after one"),
    ],
)
def test_the_faster_way_counts_and_what_disagrees_is_not_timed(monkeypatch, off, way, compared, remark):
    monkeypatch.setattr(many.workers, "PAUSE", 0.0)
    weights, few = [np.full((100, 2), 2.0)], [np.full((10, 2), 2.0)]
    seconds = {"bpnet": 1e-5, "one by one": 8e-6, "loop": 4e-6, "fit": 2e-4, "fit one by one": 1e-4}
    networks = {"bpnet": 100, "one by one": 1, "loop": 1, "fit": 1000, "fit one by one": 10}
    ours = Stub("bpnet", seconds, networks, {"bpnet": weights, "one by one": few, "loop": few})
    ways = {"vmap": 6e-5, "vmap of functional_call": 3e-5}
    theirs = {name: [weights[0] + off] for name in ways}
    peer = Stub("PyTorch", ways, dict.fromkeys(ways, 100), theirs)
    result = many.run_row(many.ROWS[3], [ours, peer], rounds=3, seconds=1.0, budget=9.0)
    assert result["way"].get("PyTorch") == way
    medians = {side: spread.median for side, spread in result["per_network_and_step"].items()}
    times = {"bpnet": 1e-7, "one by one": 8e-6, "loop": 4e-6}
    assert medians == pytest.approx(times | ({"PyTorch": 3e-7} if way else {}))
    line = many.row_of(result, ["loop", "one by one", "in fit", "PyTorch"])
    time = ["1,000 of 2-2-2, batch 1", "100 [100 .. 100] ns"]
    assert line == [*time, "40.0 < 60", "80.0 ≥ 1", "50.0 ≥ 1", compared]
    assert remark in "\n".join(many.remarks([result]))


def test_quick_run(tmp_path):
    rows = ("--threads", 1, "--rows", 2, 6)
    found, shown = quick_run(tmp_path / "many.json", "many.py", *rows)
    assert (found["quick"], found["dtype"], found["aim"]) == (True, "float64", 120)
    here = {name for name, module in many.PEERS.items() if find_spec(module)}
    assert set(found["versions"]) == {"bpnet", *here}
    for row in found["results"]:
        theirs = {side for library in here for side in SIDES_OF[library]}
        assert set(row["ratio"]) == {"loop", "one by one", "in fit", *theirs}
        assert all(off <= many.AGREE for off in row["difference"].values())
    for words in ("10 of 2-2-2, batch 1", "float64", "one by one", "Not for quoting"):
        assert words in shown


@DRAWS
def test_picture_of_restarts(tmp_path):
    path = tmp_path / "restarts.svg"
    done = run_script("many.py", "--quick", "--restarts-picture", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "<svg" in path.read_text(encoding="utf-8")
