"""The libraries are compared on the same step, and what disagrees is told apart.

They are asked in processes of their own, as the benchmark does.
"""

import math
from itertools import pairwise

import numpy as np
import pytest

import bpnet
from tests.helpers.scripts import DRAWS, is_png, process_of, quick_run, script

measure, workloads, workers = script("measure"), script("workloads"), script("workers")
contender, peers, vs_peers = script("contender"), script("peers"), script("vs_peers")


def small(hidden, output, optimizer, *, kind="step", rows=0, outputs=3):
    """Return a workload of unequal widths."""
    sizes, rate = (6, 5, 4, outputs), 0.05 if optimizer == "SGD" else 0.01
    return workloads.Workload("small", sizes, hidden, output, optimizer, rate, 7, kind, rows)


SQUARED = small("sigmoid", "sigmoid", "SGD")
CLASSES = small("relu", "softmax", "Adam")
REGRESSION = small("relu", "identity", "Adam", outputs=1)
EPOCH = small("relu", "softmax", "Adam", kind="epoch", rows=20)
PREDICT = small("relu", "softmax", "Adam", kind="predict", rows=23)


@pytest.fixture(scope="module")
def ours():
    with process_of(vs_peers.Library, "bpnet") as worker:
        yield worker


@pytest.fixture(scope="module", params=vs_peers.PEERS)
def peer(request):
    with process_of(vs_peers.Library, request.param) as worker:
        yield worker


def test_a_peer_takes_the_same_steps(ours, peer):
    for work in SQUARED, REGRESSION, EPOCH, PREDICT:
        found = vs_peers.check(work, [ours, peer])[peer.library]
        assert found["agrees"], (work, found)
        if peer.library == "scikit-learn" and work is SQUARED:
            assert found["difference"] is None
            assert "less work" in found["note"]
        else:
            assert 0 <= found["difference"] <= vs_peers.AGREE
            assert found["note"] == ""


def test_a_peer_is_timed_if_it_agrees(ours, peer):
    goals = workloads.Goals(1.0, 1.0, 1.0, 2.0)
    row = vs_peers.Row(CLASSES, goals, [ours, peer])
    for _ in range(2):
        row.time(None, rounds=3, seconds=1e-4, budget=1.0)
    result = row.result()
    assert result["bpnet"].rounds == result["floor"].rounds == 6
    found = result["peers"][peer.library]
    assert found["agrees"]
    assert found["way"] in found["ways"]
    assert found["time"].median == min(spread.median for spread in found["ways"].values())
    assert 0 < found["ratio"].lower <= found["ratio"].median < math.inf
    assert result["floor_multiple"].median > 0


def test_an_epoch_is_one_of_several(ours):
    names = ours.ask("load", EPOCH, None)
    assert [name for name in names if name != "compiled"] == ["bpnet", "floor"]
    assert ours.ask("steps_for", "bpnet", 1e-9) == vs_peers.EPOCHS


def test_a_turn_runs_for_a_while_before_it_counts(monkeypatch):
    library, done, now = vs_peers.Library("bpnet"), [], [0.0]

    class Clocked:
        def reset(self):
            done.append("reset")

        def run(self, n):
            done.append(n)
            now[0] += n if done.count("reset") <= 2 else 0.5 * n  # slow at first

    library.contenders["one"] = Clocked()
    monkeypatch.setattr(workers.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(workers.measure, "perf_counter", lambda: now[0])
    assert library.time("one", 16, 4.0) == 0.5
    assert done == ["reset", 2, "reset", 2, "reset", 2, 16]


def test_a_failing_process_is_named_with_its_report(ours):
    with pytest.raises(RuntimeError, match=r"(?s)bpnet: .*AttributeError.*nonsense"):
        ours.ask("nonsense")
    assert ours.ask("version") == bpnet.__version__  # and it goes on


@pytest.mark.parametrize("work", [SQUARED, CLASSES, REGRESSION])
def test_the_compared_step_is_a_step_on_the_mean_loss(work):
    """bpnet's side, by its own gradient in float64."""
    data = workloads.problem(work)
    rules = {"activation": [work.hidden] * 2 + [work.output], "loss": work.loss}
    net = bpnet.MLP.from_weights(data.W, data.b, **rules, dtype=np.float64)
    cache = net.forward(data.x)
    grad = net.backward(cache, data.y).theta
    step = work.rate * grad
    if work.optimizer == "Adam":
        step = work.rate * grad / (np.abs(grad) + contender.CHECK_EPSILON)
    loss, *weights = peers.contenders("bpnet", work, data)["bpnet"].result()
    flat = np.concatenate([array.ravel() for array in weights])
    assert loss[0] == pytest.approx(net.loss(cache, data.y), rel=1e-6)
    assert np.abs(flat - (net.theta - step)).max() < 1e-6
    assert np.abs(step).max() > 1e-4


def test_an_epoch_of_one_batch_is_a_step():
    epoch = CLASSES._replace(kind="epoch", rows=CLASSES.batch)
    made = (peers.Bpnet(work, workloads.problem(CLASSES)) for work in (CLASSES, epoch))
    assert vs_peers.difference(*(one.result()[1:] for one in made)) < 1e-6


def test_a_round_starts_from_the_start_weights():
    contender = peers.contenders("bpnet", CLASSES, workloads.problem(CLASSES))["bpnet"]
    first = [array.copy() for array in contender.result()]
    contender.run(50)
    assert vs_peers.difference(first, [contender.result()[0], *contender.weights()]) == 0


def test_the_floor_has_the_products_of_a_step():
    floor = peers.Floor(CLASSES, workloads.problem(CLASSES))
    shapes = [(A.shape, B.shape, out.shape) for A, B, out in floor.products[7]]
    forward = [((7, 6), (6, 5), (7, 5)), ((7, 5), (5, 4), (7, 4)), ((7, 4), (4, 3), (7, 3))]
    backward = [
        ((3, 7), (7, 4), (3, 4)),  # ∂E/∂W⁴ = δ⁴ a³
        ((7, 3), (3, 4), (7, 4)),  # W⁴ δ⁴
        ((4, 7), (7, 5), (4, 5)),
        ((7, 4), (4, 5), (7, 5)),
        ((5, 7), (7, 6), (5, 6)),  # the input needs no δ
    ]
    assert shapes == forward + backward
    assert all(out.dtype == np.float32 for _, _, out in floor.products[7])
    floor.run(2)


def test_the_floor_of_an_epoch_and_of_a_prediction():
    epoch = peers.Floor(EPOCH, workloads.problem(EPOCH))
    assert sorted(epoch.products) == [6, 7]  # 20 rows: 7, 7 and 6
    epoch.run(1)
    predict = peers.Floor(PREDICT, workloads.problem(PREDICT))
    assert [out.shape for _, _, out in predict.products[23]] == [(23, 5), (23, 4), (23, 3)]


def test_problems_are_the_same_for_all_libraries():
    for work, _ in workloads.WORKLOADS:
        few = work._replace(rows=min(work.rows, 2 * work.batch))
        data, again = workloads.problem(few), workloads.problem(few)
        for a, b in zip([data.x, data.y, *data.W], [again.x, again.y, *again.W], strict=True):
            assert np.array_equal(a, b)
            assert a.dtype == np.float32
        assert [W_l.shape[::-1] for W_l in data.W] == list(pairwise(work.sizes))
        assert data.x.shape == (few.rows or few.batch, work.sizes[0])
        if work.output != "identity":  # scikit-learn must see every class in a batch
            assert set(data.labels[: work.batch]) == set(range(10))
            assert np.array_equal(data.y.argmax(axis=1), data.labels)


def test_eleven_workloads_have_goals():
    assert len(workloads.WORKLOADS) == 11
    kinds = [work.kind for work, _ in workloads.WORKLOADS]
    assert kinds == ["step"] * 9 + ["epoch", "predict"]
    goals = workloads.WORKLOADS[0][1]
    assert [goals.of(name) for name in vs_peers.PEERS] == [3.0, 8.0, 2.0]


class Stub:
    """A worker that says what it is told to."""

    def __init__(self, library, answer):
        self.library, self.answer = library, answer

    def ask(self, *question):
        return self.answer


def test_a_library_that_computes_something_else_is_told_apart():
    loss, W = np.float32([0.5]), np.float32([[1.0, -2.0], [0.5, 3.0]])
    bpnet_says = Stub("bpnet", {"bpnet": ([loss, W], True, "")})
    right = Stub("JAX", {"JAX": ([loss, W * np.float32(1 + 5e-6)], True, "")})
    wrong = Stub("PyTorch", {"default": ([loss, W], True, ""), "fused": ([loss, W + 1], True, "")})
    other = Stub("scikit-learn", {"scikit-learn": ([loss, W + 1], False, "another output")})
    found = vs_peers.check(SQUARED, [bpnet_says, right, wrong, other])
    agrees = {name: peer["agrees"] for name, peer in found.items()}
    assert agrees == {"JAX": True, "PyTorch": False, "scikit-learn": True}
    assert found["PyTorch"]["difference"] == pytest.approx(1 / 3)
    assert found["scikit-learn"]["difference"] is None
    assert vs_peers.against(found["PyTorch"]) == "disagrees"
    remarks = vs_peers.remarks([{"workload": "w", "peers": found}])
    assert "w: PyTorch differs by 3.3e-01 after one step." in remarks
    assert "* w: scikit-learn: another output." in remarks


def test_results_of_another_dtype_are_no_agreement():
    single, twice = np.ones(2, np.float32), np.ones(2)
    assert vs_peers.difference([single], [single]) == 0
    with pytest.raises(RuntimeError, match=r"float32 .* was expected, not float64"):
        vs_peers.difference([single], [twice])


def peer_result(ratio, goal, note=""):
    spread = measure.Spread(ratio, 0.9 * ratio, 1.1 * ratio, 5)
    agrees = {"agrees": True, "note": note, "difference": 1e-7, "way": "PyTorch fused"}
    return agrees | {"ratio": spread, "goal": goal}


def row_result(**given):
    time = measure.Spread(1e-5, 1e-5, 2e-5, 5)
    multiple = measure.Spread(1.5, 1.4, 1.7, 5)
    result = {"workload": "w", "bpnet": time, "floor_multiple": multiple, "floor_goal": 1.4}
    return result | {"peers": {}, "compiled": measure.Spread(1.2, 1.1, 1.3, 5)} | given


def test_a_line_says_what_is_reached_and_what_is_not():
    peers_found = {"scikit-learn": peer_result(2.5, 3.0, "other"), "JAX": peer_result(1.0, 1.0)}
    result = row_result(peers=peers_found)
    line = vs_peers.row_of(result, ["scikit-learn", "PyTorch", "JAX"])
    assert line[:-1] == ["w", "10.0 [10.0 .. 20.0] µs", "2.50 < 3*", "", "1.00 ≥ 1", "1.50 > 1.4"]
    assert vs_peers.row_of(row_result(floor_goal=None), [])[-2:] == ["1.50", "1.20"]
    assert vs_peers.row_of(row_result(floor_goal=1.5, compiled=None), [])[-2:] == ["1.50 ≤ 1.5", ""]


@DRAWS
def test_picture(tmp_path):
    left, right = {"PyTorch": peer_result(0.5, 2)}, {"JAX": peer_result(9.0, 2)}
    vs_peers.draw([row_result(peers=left), row_result(peers=right)], tmp_path / "peers.png")
    assert is_png(tmp_path / "peers.png")


def test_vs_peers_alone(tmp_path):
    """Without any peer, what is left is bpnet beside the floor."""
    alone = ("--rows", 8, 11, "--threads", 1, "--peers")
    found, shown = quick_run(tmp_path / "out.json", "vs_peers.py", *alone, draws=False)
    assert [result["row"] for result in found["results"]] == [8, 11]
    assert found["threads"] == 1
    assert found["machine"]["blas_threads"] == "1"
    for result in found["results"]:
        assert 0 < result["bpnet"]["lower"] <= result["bpnet"]["upper"] < math.inf
        assert result["floor_multiple"]["rounds"] == 3
    for words in ("64-32-10, batch 32, Adam", "/ floor", "Not for quoting"):
        assert words in shown
