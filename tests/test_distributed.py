"""Training on a Dask cluster: as `fit` on the same batches, whatever the workers do."""

import contextvars
import os
import signal
import threading
import time
import warnings
from functools import partial

import numpy as np
import pytest

import bpnet.distributed as machines
from bpnet import (
    LBFGS,
    MLP,
    SGD,
    Activation,
    Adam,
    InvalidFile,
    InverseScaling,
    TrainingDiverged,
    fit,
)
from bpnet.distributed import fit_on_dask, sweep

distributed = pytest.importorskip("distributed", reason="training on machines needs distributed")
dask = pytest.importorskip("dask", reason="training on machines needs dask")
da = pytest.importorskip("dask.array", reason="training on machines needs dask")

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "ResourceWarning")
] + [pytest.mark.filterwarnings("ignore:Port .* is already in use")]

ROWS = (40, 33, 30)
M = sum(ROWS)
X = np.random.default_rng(0).normal(size=(M, 3))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
W = np.random.default_rng(1).random(M)
EDGES = np.cumsum((0, *ROWS))


def local(workers, **options):
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": None} | options
    return distributed.LocalCluster(n_workers=workers, **options)


def aside(cluster):
    return distributed.Client(cluster, set_as_default=False)


@pytest.fixture(scope="module")
def client():
    with local(3) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def processes():
    """Two workers that may be killed, each in a process of its own."""
    with local(2, processes=True) as cluster, aside(cluster) as client:
        yield client


def make(dtype="float64", **options):
    options = {"activation": "tanh", "output": "identity", "rng": 1} | options
    return MLP.init((3, 5, 2), dtype=dtype, **options)


def chunked(*arrays):
    return [da.from_array(a, chunks=(ROWS, *a.shape[1:])) for a in arrays]


def loader(k, *arrays):
    return tuple(a[EDGES[k] : EDGES[k + 1]] for a in arrays)


def loaders(*arrays, n=3):
    return [partial(loader, k, *arrays) for k in range(n)]


def assert_alike(one, other, tolerance=1e-12):
    (net, history), (twin, expected) = one, other
    np.testing.assert_allclose(net.theta, twin.theta, rtol=tolerance, atol=tolerance)
    assert len(history) == len(expected)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=tolerance)
    np.testing.assert_allclose(history.validation_loss, expected.validation_loss, rtol=tolerance)
    for name, column in expected.metrics.items():
        np.testing.assert_allclose(history.metrics[name], column, rtol=tolerance)


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
    given, net, twin = [X, Y, W][: 2 + weighted], make(dtype), make(dtype)
    options = {"epochs": 3, "optimizer": Adam(0.02)}
    how = {"batch_size": 20, "shuffle": shuffle, "rng": 7, "retries": 0}
    history = fit_on_dask(net, loaders(*given), **options, **how)
    mean = {"weight_mean": W.mean()} if weighted else {}
    other = fit(twin, history.batches.of(*given), **options, **mean)
    assert_alike((net, history), (twin, other), 1e-10 if dtype == "float64" else 2e-5)


def test_each_epoch_takes_each_row_once_in_an_order_of_its_own(client):
    """Also where a part has fewer rows than there are batches, and none is empty."""
    rows = np.arange(43.0)[:, None] * [1, 1, 1]
    parts = [rows[:40], rows[40:42], rows[42:]]
    history = fit_on_dask(
        make(),
        [partial(tuple, (part, part[:, :2])) for part in parts],
        epochs=1, batch_size=5, rng=3, optimizer=SGD(1e-9),
    )  # fmt: skip
    assert history.batches.rows == (40, 2, 1)
    epoch = history.batches.of(rows)
    first, second = ([batch[:, 0] for (batch,) in epoch()] for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4, 5, 4, 6, 4, 5, 4, 7]
    for batches in first, second:
        assert sorted(np.concatenate(batches)) == list(range(43))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert not np.array_equal(np.concatenate(first)[:4], np.arange(4))


def test_the_bits_do_not_depend_on_the_workers(client, processes):
    delayed = [dask.delayed(load)() for load in loaders(X, Y)]
    found = []
    with local(1) as cluster, aside(cluster) as alone:
        for one, x in ((alone, loaders(X, Y)), (client, delayed), (processes, loaders(X, Y))):
            net = make()
            fit_on_dask(net, x, client=one, epochs=2, batch_size=30, optimizer=Adam(0.01))
            found.append(net.theta)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_validation_and_weights_on_the_cluster(client):
    x, y, w = chunked(X, Y, W)
    for validation in ((x, y, w), loaders(X, Y, W)):
        net, twin = make(), make()
        options = {"epochs": 2, "optimizer": SGD(0.1), "metrics": ("r2", "mean_squared_error")}
        history = fit_on_dask(net, x, y, sample_weight=w, validation=validation, **options)
        options |= {"batch_size": None, "sample_weight": W}
        assert_alike((net, history), (twin, fit(twin, X, Y, validation=(X, Y, W), **options)))


def test_a_checkpoint_goes_on_with_the_same_bits(client, tmp_path):
    x = loaders(X, Y)
    how = {"batch_size": 30, "optimizer": Adam(0.01), "epochs": 4, "validation": (X, Y)}
    through, stopped, again = make(), make(), make()
    whole = fit_on_dask(through, x, **how)
    kept = {"checkpoint": tmp_path / "run.npz"}
    with pytest.raises(ZeroDivisionError):
        fit_on_dask(stopped, x, callbacks=[lambda run: 1 / (3 - run.epoch)], **how, **kept)
    history = fit_on_dask(again, x, resume=True, **how, **kept)
    assert np.array_equal(again.theta, through.theta)
    assert history.loss == whole.loss
    other = loaders(X, Y)[::-1]
    with pytest.raises(InvalidFile, match="part 0"):
        fit_on_dask(again, other, resume=True, **how, **kept)


def test_a_killed_worker_costs_time_and_not_the_run(processes):
    """The second kill hits while its part is at work."""
    net, twin = make(), make()
    options = {"epochs": 5, "optimizer": Adam(0.01)}

    def kill(training):
        if training.epoch == 2:
            pids = processes.run(os.getpid)
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    history = fit_on_dask(net, loaders(X, Y), client=processes, callbacks=[kill], **options)
    assert_alike((net, history), (twin, fit(twin, X, Y, batch_size=None, **options)))
    processes.wait_for_workers(2, timeout=30)


def once_then(value, other, marker):
    """Return one part the first time, and another one when it is loaded again."""
    first = not marker.exists()
    marker.touch()
    return value if first else other


def test_a_part_that_is_another_when_loaded_again(processes, tmp_path):
    again = partial(once_then, (X, Y), (X[1:], Y[1:]), tmp_path / "seen")
    net, seen = make(), []

    def kill(training):
        seen.append(training.net.theta.copy())
        for pid in processes.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        processes.wait_for_workers(2, timeout=30)

    with pytest.raises(ValueError, match=r"part 0 was loaded again, and has 102 rows .* the 103"):
        fit_on_dask(net, [again], client=processes, epochs=3, callbacks=[kill])
    assert np.array_equal(net.theta, seen[-1])
    assert len(seen) == 1


def test_a_worker_with_another_bpnet(processes):
    def pretend(version):
        import bpnet

        bpnet.__version__ = version

    worker = next(iter(processes.scheduler_info()["workers"]))
    processes.run(pretend, "0.0.1", workers=[worker])
    with pytest.raises(ConnectionError, match=r"workers with bpnet .*, not .*0\.0\.1"):
        fit_on_dask(make(), loaders(X, Y), client=processes, epochs=1)
    processes.run(pretend, machines.__version__, workers=[worker])


def test_no_cluster_no_workers_and_one_that_is_lost(client, tmp_path):
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client, not 'tcp://"):
        fit_on_dask(make(), loaders(X, Y), client="tcp://nowhere:1", epochs=1)
    with local(0) as cluster, aside(cluster) as idle:
        with pytest.raises(ConnectionError, match="there must be workers"):
            fit_on_dask(make(), loaders(X, Y), client=idle, epochs=1)
        path, net, kept = tmp_path / "run.npz", make(), []
        cluster.scale(1)
        idle.wait_for_workers(1)

        def end(training):
            kept.append(training.net.theta.copy())
            if training.epoch == 2:
                cluster.close()

        with pytest.raises(ConnectionError, match="the scheduler is lost, the net as after"):
            fit_on_dask(net, loaders(X, Y), client=idle, epochs=5, callbacks=[end], checkpoint=path)
    assert np.array_equal(net.theta, kept[-1])
    again, twin = make(), make()
    fit_on_dask(again, loaders(X, Y), client=client, epochs=5, checkpoint=path, resume=True)
    fit_on_dask(twin, loaders(X, Y), client=client, epochs=5)
    assert np.array_equal(again.theta, twin.theta)


def test_no_client_at_all(monkeypatch):
    monkeypatch.setattr(distributed.client, "_global_clients", {})
    with pytest.raises(ValueError, match="No clients found"):
        contextvars.Context().run(fit_on_dask, make(), loaders(X, Y), epochs=1)


NAN = X.copy()
NAN[EDGES[1] + 4, 2] = np.nan


@pytest.mark.parametrize(
    ("x", "kind", "words"),
    [
        (loaders(NAN, Y), ValueError, r"part 1: x must be finite, but x\[4, 2\] is nan"),
        (loaders(X[:73], Y[:73]), ValueError, "part 2: x is empty"),
        (loaders(X[:, :2], Y), ValueError, r"part \d: x has shape \(\d\d, 2\)"),
        ([*loaders(X, Y, n=2), partial(loader, 2, X, Y[1:])], ValueError, "part 2: x has 30 rows"),
        ([*loaders(X, Y, n=1), partial(loader, 1, X.astype("f4"), Y)], TypeError,
         "part 1 has x and y of float32 and float64, but part 0 of float64 and float64"),
        ([*loaders(X, Y, n=1), partial(loader, 1, X, Y, W)], TypeError, "part 1 .* with weights"),
        ([*loaders(X, Y, n=1), lambda: 1 / 0], RuntimeError, r"part 1: ZeroDivisionError\('div"),
        ([*loaders(X, Y, n=1), lambda: X], TypeError, r"part 1: it must be \(x, y\) or"),
        (loaders(X, Y, -W), ValueError, r"part \d: sample_weight must be >= 0"),
        (loaders(X, Y, 0 * W), ValueError, "weights of all samples add up to nothing"),
        ([X, Y], ValueError, "x, y and weights as dask arrays"),
        (X, ValueError, "x, y and weights as dask arrays"),
        ([], ValueError, "x, y and weights as dask arrays"),
    ],
)  # fmt: skip
def test_parts_that_are_wrong(client, x, kind, words):
    net = make()
    before = net.theta.copy()
    with pytest.raises(kind, match=words):
        fit_on_dask(net, x, epochs=1, retries=0)
    assert np.array_equal(net.theta, before)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ((da.from_array(X, chunks=(ROWS, 3)), da.from_array(Y, chunks=(50, 2))), {}),
        ((da.from_array(X, chunks=(ROWS, 1)), da.from_array(Y, chunks=(ROWS, 2))), {}),
        ((da.from_array(X, chunks=(ROWS, 3)), Y), {}),
        ((loaders(X, Y),), {"validation": 0.2}),
        ((loaders(X, Y),), {"sample_weight": W}),
    ],
)
def test_arrays_that_do_not_line_up(client, given, options):
    with pytest.raises(ValueError, match=r"in the same chunks of rows, as y\.rechunk"):
        fit_on_dask(make(), *given, epochs=1, **options)


def test_what_cannot_be_trained_so(client):
    lock = threading.Lock()
    held = Activation("held", f=lambda z: z * (lock is not None), df=lambda z, a: 1 + 0 * z)
    with pytest.raises(TypeError, match="the net's own activation or loss cannot be sent"):
        fit_on_dask(make(activation=held), loaders(X, Y), epochs=1)
    with pytest.raises(TypeError, match="goes without class_weight, dropout"):
        fit_on_dask(make(), loaders(X, Y), epochs=1, dropout=0.1, class_weight="balanced")
    with pytest.raises(ValueError, match="for many there is sweep"):
        fit_on_dask(make(networks=2), loaders(X, Y), epochs=1)
    with pytest.raises(ValueError, match="epochs must be an integer >= 1"):
        fit_on_dask(make(), [lambda: pytest.fail("loaded")], epochs=0)


def test_divergence_is_told_and_undone(client):
    net, seen = make(), []
    with pytest.raises(TrainingDiverged, match=r"in epoch 2, step 1.*net keeps its last") as caught:
        fit_on_dask(
            net, loaders(X, Y), epochs=3, optimizer=SGD(1e200),
            callbacks=[lambda training: seen.append(training.net.theta.copy())],
        )  # fmt: skip
    assert np.array_equal(net.theta, seen[-1])
    assert len(caught.value.history) == 1


def test_a_run_far_too_small_is_told_of_once(client):
    with pytest.warns(
        RuntimeWarning, match="fit on one machine would be faster. Dask pays"
    ) as all_:
        fit_on_dask(make(), loaders(X, Y), epochs=2 * machines.TRIAL + 1)
    assert len(all_) == 1


def test_sweep_is_fit_by_each_setting_the_best_first(client):
    came, grid = [], {"sizes": [(3, 4, 2), (3, 6, 2)], "learning_rate": (0.01, 0.1), "seed": (0, 1)}
    how = {"epochs": 3, "validation": (X[:30], Y[:30]), "l2": 0.01}
    net = {"activation": "tanh", "output": "identity"}
    found = sweep(X, Y, grid=grid, net=net, on_result=came.append, **how)
    assert len(found) == len(came) == 8
    assert [one.loss for one in found] == sorted(one.loss for one in came)
    for one in found:
        twin = MLP.init(one.settings["sizes"], rng=one.settings["seed"], **net)
        history = fit(twin, X, Y, optimizer=Adam(one.settings["learning_rate"]), **how)
        assert one.loss == pytest.approx(history.validation_loss[-1], rel=1e-10)
        np.testing.assert_allclose(one.net.theta, twin.theta, rtol=1e-9, atol=1e-12)
    assert len({str(one.settings) for one in found}) == 8


def test_sweep_outlives_a_net_that_diverges_and_stops_early(client):
    how = {
        "epochs": 30,
        "validation": (X[:30], -Y[:30]),
        "early_stopping": 1,
        "optimizer": SGD(0.1),
    }
    grid = {"sizes": [(3, 4, 2)], "learning_rate": (0.01, 1e200, 0.1), "seed": (0, 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        *kept, first, second = sweep(lambda: (X, Y), grid=grid, net={"output": "identity"}, **how)
    assert first.loss == second.loss == np.inf
    for one in kept:
        loss = one.net.loss(one.net.forward(X[:30]), -Y[:30])
        assert one.loss == pytest.approx(loss, rel=1e-12)
    with pytest.raises(ValueError, match="grid must hold sizes"):
        sweep(X, Y, grid={"sizes": [(3, 2)], "rate": [1]}, **how)
    with pytest.raises(ValueError, match="y has shape"):
        sweep(X, Y[:, :1], grid={"sizes": [(3, 2)]}, **how)


def slow(y, a):
    time.sleep(0.1)
    return 0.0


def test_sweep_keeps_what_was_done_when_a_worker_is_killed(processes):
    came = []

    def kill_first(one):
        came.append(one)
        if len(came) == 1:
            os.kill(next(iter(processes.run(os.getpid).values())), signal.SIGKILL)

    grid = {"sizes": [(3, n, 2) for n in (2, 3, 4)]}
    how = {"epochs": 3, "validation": (X, Y), "metrics": [slow], "client": processes}
    found = sweep(X, Y, grid=grid, on_result=kill_first, **how)
    assert sorted(one.settings["sizes"][1] for one in came) == [2, 3, 4]
    assert len(found) == 3


def test_grid_search_under_joblib_on_dask(client):
    pytest.importorskip("sklearn", reason="grid search needs scikit-learn")
    import joblib
    from sklearn.model_selection import GridSearchCV

    from bpnet.estimators import MLPRegressor

    search = GridSearchCV(
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0),
        {"learning_rate_init": [0.001, 0.05]},
        cv=2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with joblib.parallel_backend("dask"):
            search.fit(X, Y)
        alone = search.best_estimator_.__class__(**search.best_estimator_.get_params()).fit(X, Y)
    assert np.array_equal(search.predict(X), alone.predict(X))
    assert search.best_params_ == {"learning_rate_init": 0.05}
