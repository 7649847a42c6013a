"""L-BFGS reaches the optimum where it is known, with the penalty, over the full batch."""

import sys

import numpy as np
import pytest

from bpnet import LBFGS, MLP, Activation, TrainingDiverged, evaluate, fit
from bpnet.training.regularization import weight_coordinates
from tests.helpers.complaint import complains, refuses

pytest.importorskip("scipy", reason="L-BFGS is SciPy's")

X, W_TRUE, NOISE = np.split(np.random.default_rng(3).normal(size=(82, 3)), [40, 42])
X = X * [1.0, 5.0, 0.2]
Y = X @ W_TRUE.T + NOISE[:, :2] + [2.0, -1.0]


def linear(dtype="float64"):
    return MLP.init((3, 2), activation="identity", rng=0, dtype=dtype)


def least_squares(x, y, l2=0.0, weight=None):
    """W and b that minimise Σ w_i ½ |W x_i + b - y_i|² / Σ w_i + ½ λ |W|², in closed form."""
    share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum()
    ones = np.hstack([x, np.ones((len(x), 1))])
    ridge = np.diag([l2] * x.shape[1] + [0.0])
    solution = np.linalg.solve((ones.T * share) @ ones + ridge, (ones.T * share) @ y)
    return solution[:-1].T, solution[-1]


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_least_squares(l2, weighted):
    net = linear()
    weight = np.arange(1.0, 41.0) if weighted else None
    history = fit(net, X, Y, epochs=200, optimizer=LBFGS(), l2=l2, sample_weight=weight)
    W, b = least_squares(X, Y, l2, weight)
    assert net.W[2] == pytest.approx(W, abs=1e-6)
    assert net.b[2] == pytest.approx(b, abs=1e-6)
    assert len(history) < 200
    assert history.stopped.startswith("L-BFGS: CONVERGENCE")
    loss = evaluate(net, X, Y, sample_weight=weight)["loss"]
    assert history.loss[-1] == pytest.approx(loss, rel=1e-12)  # without the penalty
    assert (np.diff(history.loss) <= 1e-12).all() or l2
    assert history.learning_rate == []
    single = linear("float32")
    fit(single, X, Y, epochs=100, optimizer=LBFGS(tolerance=1e-3), l2=l2, sample_weight=weight)
    assert single.theta.dtype == "float32"
    assert single.W[2] == pytest.approx(W, abs=1e-2)


def lasso(x, y, l1, l2):
    """W and b that minimise the mean of ½ |W x + b - y|² + l1 Σ|w| + ½ l2 Σ w², by coordinates."""
    off = x - x.mean(axis=0)
    W, square = np.zeros((y.shape[1], x.shape[1])), np.square(off).mean(axis=0)
    for _ in range(500):
        for j in range(x.shape[1]):
            W[:, j] = 0
            pull = (off[:, j, None] * (y - off @ W.T)).mean(axis=0)
            W[:, j] = np.sign(pull) * np.maximum(abs(pull) - l1, 0) / (square[j] + l2)
    return W, y.mean(axis=0) - W @ x.mean(axis=0)


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.2, 0.0), (0.5, 0.3), (30.0, 0.0)])
def test_lasso_and_elastic_net_reach_the_optimum_with_exact_zeros(l1, l2):
    net = linear()
    start = net.theta.copy()
    history = fit(net, X, Y, epochs=500, optimizer=LBFGS(tolerance=1e-10), l1=l1, l2=l2)
    W, b = lasso(X, Y, l1, l2)
    assert net.W[2] == pytest.approx(W, abs=1e-7)
    assert net.b[2] == pytest.approx(b, abs=1e-6)
    np.testing.assert_array_equal(net.W[2] == 0, W == 0)
    assert history.stopped.startswith("L-BFGS: CONVERGENCE")
    assert history.loss[-1] == pytest.approx(evaluate(net, X, Y)["loss"], rel=1e-12)
    assert history.loss[0] <= evaluate(linear(), X, Y)["loss"] or l1 > 1
    assert not np.array_equal(net.theta, start)


def test_l1_of_a_net_goes_where_no_direction_leads_down():
    net = MLP.init((3, 6, 2), activation="tanh", output="identity", rng=0)
    fit(net, X, Y, epochs=3000, optimizer=LBFGS(tolerance=1e-9), l1=0.05, l2=0.01)
    weights = weight_coordinates(net)
    g = net.backward(net.forward(X), Y).theta + 0.01 * net.theta * weights
    zero = weights & (net.theta == 0)
    assert zero.sum() > 5
    assert (abs(g[zero]) <= 0.05 + 1e-7).all()
    moved = weights & ~zero
    assert g[moved] == pytest.approx(-0.05 * np.sign(net.theta[moved]), abs=1e-5)
    assert g[~weights] == pytest.approx(0, abs=1e-5)


def test_an_epoch_is_an_iteration_and_fit_goes_on():
    net = linear()
    history = fit(net, X, Y, epochs=3, optimizer=LBFGS())
    assert (len(history), history.stopped) == (3, None)
    assert len(history.to_dict()["time"]) == 3
    loss = evaluate(net, X, Y)["loss"]
    assert history.loss[-1] == pytest.approx(loss, rel=1e-13)
    assert fit(net, X, Y, epochs=3, optimizer=LBFGS()).loss[-1] < loss
    W, b = least_squares(X, Y)
    net.W[2], net.b[2] = W, b
    history = fit(net, X, Y, epochs=3, optimizer=LBFGS(tolerance=1e-6))
    assert len(history) == 0
    assert history.stopped.startswith("L-BFGS: ")
    assert net.W[2] == pytest.approx(W, abs=1e-15)


def test_watching_works_as_with_any_rule():
    seen = []

    def end(training):
        seen.append((training.epoch, training.net.theta.copy()))
        if training.epoch == 4:
            training.stop("enough")

    net = linear()
    how = {"epochs": 50, "optimizer": LBFGS()}
    history = fit(net, X, Y, callbacks=[end], validation=0.25, metrics="r2", **how)
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4]
    assert history.stopped == "enough"
    assert np.array_equal(net.theta, seen[-1][1])
    assert len(history.validation_loss) == len(history.metrics["r2"]) == 4
    net = linear()
    history = fit(net, X[:5], Y[:5], validation=(X, Y), early_stopping=0, **how)
    assert evaluate(net, X, Y)["loss"] == pytest.approx(min(history.validation_loss), rel=1e-12)


@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_weights_that_a_callback_sets_are_gone_on_from_and_kept(l1):
    seen = []

    def reset(training):
        seen.append(training.net.theta.copy())
        if training.epoch in (3, 8):
            training.net.theta = np.full(8, float(training.epoch))

    net, how = linear(), {"optimizer": LBFGS(), "l1": l1}
    history = fit(net, X, Y, epochs=8, callbacks=[reset], **how)
    assert (len(history), history.stopped, len(seen)) == (8, None, 8)
    assert net.theta.tolist() == [8.0] * 8  # as with any rule
    other = linear()
    other.theta = np.full(8, 3.0)
    again = fit(other, X, Y, epochs=4, **how)
    assert history.loss[3:7] == again.loss
    assert history.loss[3] > history.loss[2]


def test_times_add_up_and_warnings_name_the_line_that_called_fit(monkeypatch):
    def far(training):
        training.net.theta = np.full(8, 1e6)

    with pytest.warns(RuntimeWarning, match="the loss has grown") as told:
        fit(linear(), X, Y, epochs=3, optimizer=LBFGS(), callbacks=[far])
    assert [warning.filename for warning in told] == [__file__]
    ticks = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    history = fit(linear(), X, Y, epochs=4, optimizer=LBFGS())
    assert history.time == [1.0] * 4  # two looks at the clock an iteration; between them not


def test_an_error_leaves_the_weights_before_it():
    def fail(training):
        if training.epoch == 2:
            raise KeyError("no")

    net = linear()
    before, start = net.theta.copy(), evaluate(net, X, Y)["loss"]
    with pytest.raises(TrainingDiverged, match="in iteration 1: the loss or the") as caught:
        fit(net, X * 1e200, Y, epochs=5, optimizer=LBFGS())
    assert np.array_equal(net.theta, before)
    error = caught.value
    assert (error.epoch, error.step, error.layer, error.learning_rate) == (1, 1, None, None)
    assert len(error.history) == 0
    with pytest.raises(KeyError) as caught:
        fit(net, X, Y, epochs=50, optimizer=LBFGS(), callbacks=[fail])
    assert len(caught.value.history) == 2
    assert evaluate(net, X, Y)["loss"] < start


def test_divergence_at_a_point_that_was_tried_keeps_the_last_one():
    def f(z):
        return np.where(z > 2, np.nan, z)

    cliff = Activation("cliff", f, lambda z, a: np.ones_like(z))
    net, kept = MLP.from_weights([[[0.1]]], [[0.0]], activation=cliff), []
    how = {"optimizer": LBFGS(), "callbacks": [lambda t: kept.append(t.net.theta.copy())]}
    with pytest.raises(TrainingDiverged, match="at a point that L-BFGS tried"):
        fit(net, np.ones((1, 1)), np.full((1, 1), 9.0), epochs=50, **how)
    assert net.theta.tolist() == (kept or [np.array([0.1, 0.0])])[-1].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 8}, "L-BFGS needs the full batch: batch_size=None"),
        ({"dropout": {1: 0.5}}, "L-BFGS goes without dropout, clipping and checkpoints"),
        ({"clip_norm": 1.0}, "L-BFGS goes without dropout, clipping and checkpoints"),
        ({"clip_value": 1.0}, "L-BFGS goes without dropout, clipping and checkpoints"),
        ({"checkpoint": "file"}, "L-BFGS goes without dropout, clipping and checkpoints"),
        ({"keep_state": True}, "L-BFGS keeps no state from call to call"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options, message, tmp_path):
    if "checkpoint" in options:
        options = {"checkpoint": tmp_path / options["checkpoint"]}
    with refuses(linear(), ValueError, message) as net:
        fit(net, X, Y, epochs=1, optimizer=LBFGS(), **options)


def test_iterables_stacks_and_a_missing_scipy_are_told_of(monkeypatch):
    net = linear()
    with complains(ValueError, "L-BFGS needs the full batch as arrays, not an iterable of batches"):
        fit(net, [(X, Y)], epochs=1, optimizer=LBFGS())
    with complains(ValueError, "L-BFGS trains one network: train net[k] for each k of a stack"):
        fit(MLP.stack([net, net]), X, Y, epochs=1, optimizer=LBFGS())
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with complains(ImportError, "L-BFGS needs SciPy: pip install scipy"):
        fit(net, X, Y, epochs=1, optimizer=LBFGS())
