"""Training on a Dask cluster: as `fit` on the same batches, whatever the workers do."""

import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import bpnet.distributed as machines
from bpnet import LBFGS, MLP, SGD, Activation, Adam, InverseScaling, TrainingDiverged, fit
from bpnet.distributed import fit_on_dask, sweep

distributed = pytest.importorskip("distributed", reason="training on machines needs distributed")
dask = pytest.importorskip("dask", reason="training on machines needs dask")
da = pytest.importorskip("dask.array", reason="training on machines needs dask")

QUIET = ("ignore:Port", "ignore::DeprecationWarning", "ignore::ResourceWarning")
pytestmark = [pytest.mark.filterwarnings(words) for words in QUIET]

ROOT = str(Path(machines.__file__).parents[1])
ROWS = (40, 33, 30)
X = np.random.default_rng(0).normal(size=(103, 3))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
W, EDGES = np.random.default_rng(1).random(103), np.cumsum((0, *ROWS))
IDENTITY = {"output": "identity"}


@contextmanager
def cluster_of(workers, default=False, **how):
    how = {"processes": False, "threads_per_worker": 1, "dashboard_address": None} | how
    cluster = distributed.LocalCluster(n_workers=workers, **how)
    with cluster, distributed.Client(cluster, set_as_default=default) as client:
        yield client


@pytest.fixture(scope="module")
def client():
    with cluster_of(3, default=True) as client:
        yield client


@pytest.fixture
def processes():
    """Two workers in processes of their own, which nobody starts again."""
    with cluster_of(0, processes=True) as client:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", client.scheduler.address]
        command += ["--no-nanny", "--nthreads=1", "--no-dashboard"]
        how = {"env": os.environ | {"PYTHONPATH": ROOT}, "stderr": subprocess.DEVNULL}
        workers = [subprocess.Popen(command, **how) for _ in range(2)]
        client.wait_for_workers(2, timeout=60)
        client.victim = workers[0]
        yield client
        for worker in workers:
            worker.kill()
            worker.wait()


def make(dtype="float64", **options):
    options = {"activation": "tanh", "output": "identity", "rng": 1} | options
    return MLP.init((3, 5, 2), dtype=dtype, **options)


def chunked(*arrays):
    return [da.from_array(a, chunks=(ROWS, *a.shape[1:])) for a in arrays]


def loaders(*arrays, n=3):
    return [partial(tuple, [a[EDGES[k] : EDGES[k + 1]] for a in arrays]) for k in range(n)]


def run(x=None, epochs=1, net=None, **options):
    net = net or make()
    return net, fit_on_dask(net, loaders(X, Y) if x is None else x, epochs=epochs, **options)


def assert_alike(one, other, tolerance=1e-12):
    (net, history), (twin, expected) = one, other
    np.testing.assert_allclose(net.theta, twin.theta, rtol=tolerance, atol=tolerance)
    columns, wanted = history.to_dict(), expected.to_dict()
    for name in {*columns, *wanted} - {"time"}:
        np.testing.assert_allclose(columns[name], wanted[name], rtol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": Adam(0.01)},
        {"optimizer": SGD(0.1, momentum=0.5), "l1": 0.01, "l2": 0.1, "clip_norm": 0.3},
        {"optimizer": LBFGS(), "l1": 0.01, "frozen": "b[2]"},
        {"optimizer": Adam(InverseScaling(0.05)), "validation": (X, Y), "metrics": ("r2",)},
        {"optimizer": SGD(0.2), "metrics": (lambda y, a: abs(y - a).max(),), "early_stopping": 2},
    ],
)
def test_a_full_batch_is_that_of_fit(client, options):
    net, twin = make(), make()
    history = fit_on_dask(net, *chunked(X, Y), epochs=6, **options)
    assert_alike((net, history), (twin, fit(twin, X, Y, epochs=6, batch_size=None, **options)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_fit_can_take_the_batches_that_were_drawn(client, dtype, weighted, shuffle):
    given, options = [X, Y, W][: 2 + weighted], {"epochs": 3, "optimizer": Adam(0.02)}
    how = {"batch_size": 20, "shuffle": shuffle, "rng": 7, "retries": 0, **options}
    net, history = run(loaders(*given), net=make(dtype), **how)
    mean, twin = {"weight_mean": W.mean()} if weighted else {}, make(dtype)
    other = fit(twin, history.batches.of(*given), **options, **mean)
    assert_alike((net, history), (twin, other), 1e-10 if dtype == "float64" else 2e-5)


def test_each_epoch_takes_each_row_once_in_an_order_of_its_own(client):
    rows = np.arange(43.0)[:, None] * [1, 1, 1]  # of parts, some with fewer rows than batches
    loads = [partial(tuple, (p, p[:, :2])) for p in (rows[:40], rows[40:42], rows[42:])]
    _, history = run(loads, batch_size=5, rng=3, optimizer=SGD(1e-9))
    epoch = history.batches.of(rows)
    first, second = ([batch[:, 0] for (batch,) in epoch()] for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4, 5, 4, 6, 4, 5, 4, 7]
    first, second = np.concatenate(first), np.concatenate(second)
    assert sorted(first) == sorted(second) == list(range(43)) != list(first) != list(second)


def test_the_bits_do_not_depend_on_the_workers(client, processes):
    how = {"epochs": 2, "batch_size": 30, "optimizer": Adam(0.01)}
    with cluster_of(1) as alone:
        nets = [run(client=one, **how)[0] for one in (alone, client, processes)]
    nets.append(run([dask.delayed(load)() for load in loaders(X, Y)], **how)[0])
    assert all(np.array_equal(net.theta, nets[0].theta) for net in nets)


def test_validation_and_weights_on_the_cluster(client):
    x, y, w = chunked(X, Y, W)
    for validation in ((x, y, w), loaders(X, Y, W)):
        net, twin = make(), make()
        options = {"epochs": 2, "optimizer": SGD(0.1), "metrics": ("r2", "mean_squared_error")}
        history = fit_on_dask(net, x, y, sample_weight=w, validation=validation, **options)
        options |= {"batch_size": None, "sample_weight": W}
        assert_alike((net, history), (twin, fit(twin, X, Y, validation=(X, Y, W), **options)))


def test_a_killed_worker_costs_time_and_not_the_run(processes):
    options, twin = {"epochs": 5, "optimizer": Adam(0.01)}, make()
    kills = [lambda training: processes.victim.kill() if training.epoch == 2 else None]
    trained = run(client=processes, callbacks=kills, **options)
    assert_alike(trained, (twin, fit(twin, X, Y, batch_size=None, **options)))


def test_a_part_that_is_another_when_loaded_again(processes, tmp_path):
    net, seen, path = make(), [], tmp_path / "pid"

    def load():
        first = not path.exists()
        path.write_text(str(os.getpid()))
        return (X, Y) if first else (X[1:], Y[1:])

    def end(training):
        seen.append(training.net.theta.copy())
        os.kill(int(path.read_text()), signal.SIGKILL)

    with pytest.raises(ValueError, match=r"part 0 was loaded again, and has 102 rows .* the 103"):
        run([load], net=net, client=processes, epochs=3, callbacks=[end])
    assert np.array_equal(net.theta, seen[-1])


def test_no_cluster_no_workers_and_a_worker_with_another_bpnet(client, processes, monkeypatch):
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client, not 'tcp://"):
        run(client="tcp://nowhere:1")
    with cluster_of(0) as idle, pytest.raises(ConnectionError, match="there must be workers"):
        run(client=idle)
    pretend = partial(setattr, __import__("bpnet"), "__version__")
    worker = next(iter(processes.scheduler_info()["workers"]))
    processes.run(pretend, "0.0.1", workers=[worker])
    with pytest.raises(ConnectionError, match=r"workers with bpnet .*, not .*0\.0\.1"):
        run(client=processes)
    processes.run(pretend, machines.__version__, workers=[worker])
    monkeypatch.setattr(distributed.client, "_global_clients", {})
    with pytest.raises(ValueError, match="No clients found"):
        contextvars.Context().run(run)


def test_a_lost_scheduler_and_how_to_go_on(client, tmp_path):
    how = {"epochs": 4, "batch_size": 30, "optimizer": Adam(0.01), "validation": (X, Y)}
    net, kept, path = make(), [], {"checkpoint": tmp_path / "run.npz"}
    with cluster_of(1) as lost:

        def end(training):
            kept.append(training.net.theta.copy())
            if training.epoch == 2:
                lost.cluster.close()

        with pytest.raises(ConnectionError, match="the scheduler is lost, the net as after"):
            run(net=net, client=lost, callbacks=[end], **how, **path)
    assert np.array_equal(net.theta, kept[-1])
    again, history = run(client=client, resume=True, **how, **path)
    through, whole = run(client=client, **how)
    assert np.array_equal(again.theta, through.theta)
    assert history.loss == whole.loss
    with pytest.raises(ValueError, match="part 0"):
        run(loaders(X, Y)[::-1], resume=True, **how, **path)


HELD = Activation("held", f=threading.Lock().acquire, df=np.ones_like)
LINE_UP = r"dask arrays in the same chunks of rows, as y\.rechunk"
NAN = np.where(np.arange(309).reshape(103, 3) == 3 * 44 + 2, np.nan, X)


@pytest.mark.parametrize(
    ("x", "kind", "words"),
    [
        (loaders(NAN, Y), ValueError, r"part 1: x must be finite, but x\[4, 2\] is nan"),
        (loaders(X[:73], Y[:73]), ValueError, "part 2: x is empty"),
        (loaders(X[:, :2], Y), ValueError, r"part \d: x has shape \(\d\d, 2\)"),
        ([*loaders(X, Y, n=2), loaders(X, Y[1:])[2]], ValueError, "part 2: x has 30 rows"),
        ([*loaders(X, Y, n=1), loaders(X.astype("f4"), Y)[1]], TypeError,
         "part 1 has x and y of float32 and float64, but part 0 of float64 and float64"),
        ([*loaders(X, Y, n=1), loaders(X, Y, W)[1]], TypeError, "part 1 .* with weights"),
        ([*loaders(X, Y, n=1), lambda: 1 / 0], RuntimeError, r"part 1: ZeroDivisionError\('div"),
        ([*loaders(X, Y, n=1), lambda: X], TypeError, r"part 1: it must be \(x, y\) or"),
        (loaders(X, Y, -W), ValueError, r"part \d: sample_weight must be >= 0"),
        (loaders(X, Y, 0 * W), ValueError, "weights of all samples add up to nothing"),
        *((x, ValueError, LINE_UP) for x in (X, [X, Y], [])),
    ],
)  # fmt: skip
def test_parts_that_are_wrong(client, x, kind, words):
    with pytest.raises(kind, match=words):
        run(x, net=(net := make()), retries=0)
    assert np.array_equal(net.theta, make().theta)


def test_arrays_that_do_not_line_up(client):
    x, y, w = chunked(X, Y, W)
    for *given, options in (
        (x, y.rechunk((50, 2)), {}),
        (x.rechunk((ROWS, 1)), y, {}),
        (x, Y, {}),
        (x, y, {"sample_weight": w.rechunk(50)}),
        (x, y, {"validation": 0.2}),
        (loaders(X, Y), {"sample_weight": w}),
    ):
        with pytest.raises(ValueError, match=LINE_UP):
            fit_on_dask(make(), *given, epochs=1, **options)


def test_what_cannot_be_trained_so(client):
    for words, how in (
        ("the net's own activation or loss cannot be sent", {"net": make(activation=HELD)}),
        ("goes without class_weight, dropout", {"dropout": 0.1, "class_weight": "balanced"}),
        ("for many there is sweep", {"net": make(networks=2)}),
        ("epochs must be", {"x": [lambda: pytest.fail("loaded")], "epochs": 0}),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            run(**how)
    with pytest.raises(ValueError, match="grid must hold sizes"):
        sweep(X, Y, grid={"sizes": [(3, 2)], "rate": [1]}, epochs=1, validation=0.2)


def test_divergence_is_told_and_undone(client):
    net, seen = make(), []
    how = {"callbacks": [lambda run: seen.append(run.net.theta.copy())], "optimizer": SGD(1e200)}
    with pytest.raises(TrainingDiverged, match=r"in epoch 2, step 1.*net keeps its last"):
        run(net=net, epochs=3, **how)
    assert np.array_equal(net.theta, seen[-1])


def test_a_run_far_too_small_is_told_of_once(client, monkeypatch):
    monkeypatch.setattr(machines, "FAR", 0)  # or the test would be of how busy the machine is
    with pytest.warns(RuntimeWarning, match="fit on one machine would be faster") as told:
        run(epochs=2 * machines.TRIAL + 1)
    assert len(told) == 1


def test_sweep_is_fit_by_each_setting_the_best_first(client):
    came, grid = [], {"sizes": [(3, 4, 2), (3, 6, 2)], "learning_rate": (0.01, 0.1), "seed": (0, 1)}
    how = {"epochs": 3, "validation": (X[:30], Y[:30]), "l2": 0.01}
    net = {"activation": "tanh", **IDENTITY}
    found = sweep(X, Y, grid=grid, net=net, on_result=came.append, **how)
    assert len(found) == len(came) == 8
    assert [one.loss for one in found] == sorted(one.loss for one in came)
    for one in found:
        twin = MLP.init(one.settings["sizes"], rng=one.settings["seed"], **net)
        history = fit(twin, X, Y, optimizer=Adam(one.settings["learning_rate"]), **how)
        assert one.loss == pytest.approx(history.validation_loss[-1], rel=1e-10)
        np.testing.assert_allclose(one.net.theta, twin.theta, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_sweep_outlives_a_net_that_diverges_and_stops_early(client):
    held, how = (X[:30], -Y[:30]), {"epochs": 30, "early_stopping": 1, "optimizer": SGD(0.1)}
    grid = {"sizes": [(3, 4, 2)], "learning_rate": (0.01, 1e200, 0.1), "seed": (0, 1)}
    *kept, first, second = sweep(lambda: (X, Y), grid=grid, net=IDENTITY, validation=held, **how)
    assert first.loss == second.loss == np.inf
    for one in kept:
        loss = one.net.loss(one.net.forward(X[:30]), -Y[:30])
        assert one.loss == pytest.approx(loss, rel=1e-12)


def test_sweep_keeps_what_was_done_when_a_worker_is_killed(processes):
    came = []

    def kill_first(one):
        came.append(one)
        if len(came) == 1:
            processes.victim.kill()

    how = {"epochs": 3, "validation": (X, Y), "client": processes}
    how["metrics"] = [lambda y, a: time.sleep(0.1) or 0.0]
    sweep(X, Y, grid={"sizes": [(3, n, 2) for n in (2, 3, 4)]}, on_result=kill_first, **how)
    assert sorted(one.settings["sizes"][1] for one in came) == [2, 3, 4]


@pytest.mark.filterwarnings("ignore")
def test_grid_search_under_joblib_on_dask(client):
    joblib = pytest.importorskip("joblib", reason="grid search needs scikit-learn")
    selection = pytest.importorskip("sklearn.model_selection", reason="and so it does")
    from bpnet.estimators import MLPRegressor

    estimator = MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0)
    search = selection.GridSearchCV(estimator, {"learning_rate_init": [0.001, 0.05]}, cv=2)
    with joblib.parallel_backend("dask"):
        search.fit(X, Y)
    alone = estimator.set_params(**search.best_params_).fit(X, Y)
    assert np.array_equal(search.predict(X), alone.predict(X))
