"""The benchmark of many networks runs, and compares what it says it compares.

Libraries that are compared with are asked in processes of their own, as the benchmark does.
"""

import math
from importlib.util import find_spec

import numpy as np
import pytest

import bpnet
from tests.helpers.scripts import DRAWS, is_png, process_of, quick_run, run_script, script

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


def test_the_rows_are_those_of_the_issue():
    article = [row for row in many.ROWS if row.sizes == (2, 2, 2)]
    assert [row.networks for row in article] == [1, 10, 100, 1_000, 10_000]
    assert {row.batch for row in article} == {1}
    assert [row.name for row in many.ROWS if row not in article] == [
        "100 of 4-16-1, batch 32",
        "16 of 64-32-10, batch 32",
        "8 of 784-100-10, batch 128",
    ]
    assert {row.networks: row.loop for row in many.ROWS if row.loop} == {1_000: 60.0}
    assert many.AIM == 120


def test_every_network_starts_from_weights_of_its_own():
    data, again = stacked.problem(SMALL), stacked.problem(SMALL)
    for arrays, others in [(data.W, again.W), (data.b, again.b), ([data.x], [again.x])]:
        for a, b in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.float64
            assert len(np.unique(a)) == a.size
    assert [W_l.shape for W_l in data.W] == [(5, 4, 3), (5, 2, 4)]
    assert (data.x.shape, data.y.shape) == ((6, 3), (6, 2))


@pytest.mark.parametrize("row", [SMALL, TINY, SMALL._replace(networks=1)])
def test_the_compared_step_is_a_step_of_gradient_descent(row):
    data = stacked.problem(row)
    net = bpnet.MLP.from_weights(data.W, data.b)
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
        contender = made[name]
        assert (contender.networks, contender.same) == (networks, False)
        steps = []
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


def test_a_peer_takes_the_same_steps(ours, peer):
    for row in SMALL, TINY:
        found = many.check(row, [ours, peer])
        assert len(found) == 4, "the loop, one by one, and two ways of a peer"
        assert all(0 <= off <= many.AGREE for off in found.values()), found


def test_a_peer_is_timed_if_it_agrees(ours, peer):
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
        self.networks, self.weights = networks, weights
        self.asked = []

    def ask(self, name, *arguments):
        self.asked.append((name, *arguments))
        if name == "check":
            return self.weights
        if name == "load":
            return self.networks
        contender, *_ = arguments
        return 4 if name == "steps_for" else self.seconds[contender]


def stubs(off=0.0):
    weights, other = [np.full((100, 2), 2.0)], [np.full((100, 2), 2.0 + off)]
    few = [np.full((10, 2), 2.0)]
    seconds = {"bpnet": 1e-5, "one by one": 8e-6, "loop": 4e-6, "fit": 2e-4, "fit one by one": 1e-4}
    networks = {"bpnet": 100, "one by one": 1, "loop": 1, "fit": 1000, "fit one by one": 10}
    ours = Stub("bpnet", seconds, networks, {"bpnet": weights, "one by one": few, "loop": few})
    theirs = Stub(
        "PyTorch",
        {"vmap": 6e-5, "vmap of functional_call": 3e-5},
        {"vmap": 100, "vmap of functional_call": 100},
        {"vmap": other, "vmap of functional_call": weights},
    )
    return [ours, theirs]


def test_times_are_of_one_network_and_the_faster_way_counts(monkeypatch):
    monkeypatch.setattr(many.workers, "PAUSE", 0.0)
    row = many.ROWS[3]
    result = many.run_row(row, stubs(), rounds=3, seconds=1.0, budget=9.0)
    medians = {side: spread.median for side, spread in result["per_network_and_step"].items()}
    times = {"bpnet": 1e-7, "one by one": 8e-6, "loop": 4e-6, "PyTorch": 3e-7}
    assert medians == pytest.approx(times)
    ratios = {side: ratio.median for side, ratio in result["ratio"].items()}
    assert ratios == pytest.approx({"one by one": 80, "loop": 40, "PyTorch": 3, "in fit": 50})
    assert result["way"]["PyTorch"] == "vmap of functional_call"
    sides = ["loop", "one by one", "in fit", "PyTorch", "JAX"]
    name, time, *compared = many.row_of(result, sides)
    assert (name, time) == ("1,000 of 2-2-2, batch 1", "100 [100 .. 100] ns")
    assert compared == ["40.0 < 60", "80.0 ≥ 1", "50.0 ≥ 1", "3.00 ≥ 1", "disagrees"]
    assert many.remarks([result]) == [
        "The weights of all agree after one step: relative difference 0e+00 or less.",
        "PyTorch's faster way: vmap of functional_call (1 rows).",
        "The aim for 1,000 of 2-2-2 is 120 times the loop.",
    ]


def test_what_disagrees_is_not_timed(monkeypatch):
    monkeypatch.setattr(many.workers, "PAUSE", 0.0)
    workers = stubs(off=1e-9)
    result = many.run_row(many.ROWS[3], workers, rounds=3, seconds=1.0, budget=9.0)
    assert result["difference"]["vmap"] == pytest.approx(5e-10, rel=1e-3)
    assert not [asked for asked in workers[1].asked if asked[:2] == ("time", "vmap")]
    assert "vmap" not in result["ways"]
    assert many.remarks([result])[0] == (
        "1,000 of 2-2-2, batch 1: vmap differs by 5.0e-10 after one step."
    )


def test_a_round_starts_from_the_start_weights(ours):
    ours.ask("load", SMALL)
    assert ours.ask("steps_for", "bpnet", 1e-9) == 1
    assert ours.ask("time", "bpnet", 20, 1e-9) > 0
    library = many.Library("bpnet")
    library.load(SMALL)
    library.time("bpnet", 16, 1e-9)
    first = [array.copy() for array in library.contenders["bpnet"].weights()]
    library.time("bpnet", 16, 1e-9)
    for a, b in zip(first, library.contenders["bpnet"].weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_quick_run(tmp_path):
    picture = tmp_path / "many.svg"
    drawing = ["--picture", picture] if find_spec("matplotlib") else []
    rows = ("--threads", 1, "--rows", 2, 6)
    found, shown = quick_run(tmp_path / "many.json", "many.py", *rows, *drawing)
    assert found["benchmark"] == "many"
    assert (found["quick"], found["dtype"], found["aim"]) == (True, "float64", 120)
    here = {name for name, module in many.PEERS.items() if find_spec(module)}
    assert set(found["versions"]) == {"bpnet", *here}
    assert [row["row"] for row in found["results"]] == [
        "10 of 2-2-2, batch 1",
        "100 of 4-16-1, batch 32",
    ]
    for row in found["results"]:
        theirs = {side for library in here for side in SIDES_OF[library]}
        assert set(row["ratio"]) == {"loop", "one by one", "in fit", *theirs}
        assert all(off <= many.AGREE for off in row["difference"].values())
    for words in ("10 of 2-2-2, batch 1", "float64", "one by one", "Not for quoting"):
        assert words in shown
    assert not drawing or "<svg" in picture.read_text(encoding="utf-8")


def test_without_peers(tmp_path):
    alone = ("--threads", 1, "--rows", 1, "--peers")
    _, shown = quick_run(tmp_path / "many.json", "many.py", *alone)
    assert "1 of 2-2-2, batch 1" in shown
    assert "PyTorch" not in shown


@DRAWS
def test_picture_of_restarts(tmp_path):
    path = tmp_path / "restarts.svg"
    done = run_script("many.py", "--quick", "--restarts-picture", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "<svg" in path.read_text(encoding="utf-8")
    many.draw_restarts(20, tmp_path / "restarts.png")
    assert is_png(tmp_path / "restarts.png")


def test_help_and_bad_options(tmp_path):
    shown = run_script("many.py", "--help").stdout
    for words in ("--rows", "--peers", "--restarts-picture", "8  8 of 784-100-10, batch 128"):
        assert words in shown
    for wrong in (["--rows", 9], ["--peers", "Theano"], ["--json", tmp_path / "no" / "file"]):
        assert run_script("many.py", *wrong).returncode == 2
