"""Callbacks, progress, Ctrl-C: whatever ends training, net and history are whole."""

import signal
import sys
import threading
from unittest.mock import Mock

import numpy as np
import pytest

from bpnet import SGD, Adam, EarlyStopping, ExponentialDecay, ReduceOnPlateau, evaluate, fit
from tests.helpers.complaint import complains
from tests.helpers.regression import FAR, ZERO, X, Y, drift, drifting, make


class Diary:
    def __init__(self):
        self.lines = []

    def on_train_begin(self, training):
        self.lines.append(("begin", training.epoch, len(training.history)))

    def on_epoch_end(self, training):
        self.lines.append((training.epoch, training.step, len(training.history)))

    def on_train_end(self, training):
        self.lines.append(("end", training.epoch, training.epochs))


def test_events_in_order_and_what_they_see():
    diary, net, rule = Diary(), make(), Adam()
    seen = []

    def look(training):
        seen.append((training.net is net, training.optimizer is rule, training.history.loss[-1]))

    history = fit(net, X, Y, epochs=2, batch_size=8, optimizer=rule, callbacks=[diary, look])
    assert diary.lines == [("begin", 0, 0), (1, 3, 1), (2, 3, 2), ("end", 2, 2)]
    assert seen == [(True, True, loss) for loss in history.loss]
    for event, times in {"on_train_begin": 1, "on_epoch_end": 3, "on_train_end": 1}.items():
        calls = []  # an object may leave out any method
        part = type("Part", (), {event: lambda self, training, to=calls: to.append(training)})
        fit(make(), X, Y, epochs=3, callbacks=(part(),))
        assert len(calls) == times


def test_callback_ends_training():
    def stop(training):
        if training.epoch == 2:
            training.stop("loss is fine")

    diary = Diary()
    history = fit(make(), X, Y, epochs=9, callbacks=[stop, diary])
    assert (len(history), history.stopped) == (2, "loss is fine")
    assert diary.lines[-1] == ("end", 2, 9)
    begin = type("Begin", (), {"on_train_begin": lambda self, training: training.stop("no")})
    assert len(fit(make(), X, Y, epochs=9, callbacks=[begin()])) == 0


def test_callback_changes_weights_and_rate():
    net, rule = make(), SGD(0.5)

    def act(training):
        training.net.theta[:] = 1.0
        if training.epoch == 1:
            training.optimizer.learning_rate = 0.25
        if training.epoch == 2:
            training.optimizer.schedule = ExponentialDecay(0.1)

    history = fit(net, X, Y, epochs=3, batch_size=None, optimizer=rule, callbacks=[act])
    assert (net.theta == 1).all()
    assert history.learning_rate == pytest.approx([0.5, 0.25, 0.1 * 0.95**2])


@pytest.mark.usefixtures("_python_s_own_handler")  # which is there again
def test_callback_that_raises_leaves_net_and_history():
    def fail(training):
        if training.epoch == 2:
            raise ValueError("mine")

    net, twin = make(), make()
    with complains(ValueError, "mine") as caught:
        fit(net, X, Y, epochs=5, callbacks=[fail])
    history = fit(twin, X, Y, epochs=2)
    assert caught.value.history.loss == history.loss
    assert np.array_equal(net.theta, twin.theta)
    begin = type("Begin", (), {"on_train_begin": lambda self, training: 1 / 0})
    with pytest.raises(ZeroDivisionError) as caught:
        fit(net, X, Y, epochs=5, callbacks=[begin()])
    assert len(caught.value.history) == 0
    assert np.array_equal(net.theta, twin.theta)


def test_callbacks_see_numpy_s_warnings_as_they_are_set():
    seen = []
    with np.errstate(divide="raise", over="warn", under="ignore", invalid="call"):
        outside = np.geterr()
        fit(make(), X, Y, epochs=1, callbacks=[lambda training: seen.append(np.geterr())])
        assert np.geterr() == outside
    assert seen == [outside]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (print, "callbacks must be a list of callbacks, not <built-in function print>"),
        (5, "callbacks must be a list of callbacks, not 5"),
        ([5], "a callback is a function, or an object with one of on_train_begin, …_end, not 5"),
        ([print, None], "a callback is a function, or…not None"),
        ([Diary], "a callback is a function, or…not <class…Diary'>"),
    ],
)
def test_bad_callbacks(given, message):
    with complains(TypeError, message):
        fit(make(), X, Y, epochs=1, callbacks=given)


def test_progress_without_tqdm_is_a_line_an_epoch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    how = {"metrics": "r2", "validation": (X, Y), "optimizer": SGD(0.5)}
    fit(make(), X, Y, epochs=2, **how)
    assert capsys.readouterr() == ("", "")  # silent unless asked
    history = fit(make(), X, Y, epochs=2, progress=True, **how)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, len(lines)) == ("", 2)
    loss, validation = history.loss[1], history.validation_loss[1]
    r2 = history.metrics["r2"][1]
    assert lines[1].startswith(
        f"epoch 2/2  loss {loss:.4g}  validation_loss {validation:.4g}  r2 {r2:.4g}  "
        f"learning_rate 0.5  {history.time[1]:.2f} s"
    )


def test_progress_with_tqdm_is_a_bar(monkeypatch, tmp_path):
    tqdm = Mock()
    bar = tqdm.tqdm.return_value
    monkeypatch.setitem(sys.modules, "tqdm", tqdm)
    history = fit(make(), X, Y, epochs=3, progress=True)
    tqdm.tqdm.assert_called_once_with(total=3, initial=0, unit="epoch", file=sys.stderr)
    assert (bar.update.call_count, bar.close.call_count) == (3, 1)
    figures = {"loss": f"{history.loss[-1]:.4g}", "learning_rate": "0.001"}
    bar.set_postfix.assert_called_with(figures, refresh=False)  # update() draws

    def fail(training):
        if training.epoch == 2:
            raise KeyError("no")

    how = {"epochs": 5, "progress": True, "checkpoint": tmp_path / "file"}
    bar.reset_mock()
    with pytest.raises(KeyError):
        fit(make(), X, Y, callbacks=[fail], **how)
    assert (bar.update.call_count, bar.close.call_count) == (1, 1)
    fit(make(), X, Y, resume=True, **how)
    assert (tqdm.tqdm.call_args.kwargs["initial"], bar.update.call_count) == (1, 5)


def test_progress_with_the_real_tqdm(capsys):
    pytest.importorskip("tqdm", reason="draws tqdm's bar")
    fit(make(), X, Y, epochs=2, progress=True)
    out, err = capsys.readouterr()
    assert (out, "2/2" in err, "loss=" in err) == ("", True, True)


@pytest.mark.parametrize("shared", ["optimizer", "schedule", "early_stopping"])
def test_what_has_state_serves_one_training_at_a_time(shared):
    rule, stopper = Adam(ReduceOnPlateau(0.1)), EarlyStopping(3)
    parts = {"optimizer": rule, "early_stopping": stopper}
    theirs, name = {
        "optimizer": ({"optimizer": rule}, "Adam"),
        "schedule": ({"optimizer": SGD(rule.schedule)}, "ReduceOnPlateau"),
        "early_stopping": ({"early_stopping": stopper}, "EarlyStopping"),
    }[shared]

    def within(training):
        message = f"this {name} is in use by a training that still runs: give a new one"
        before = rule.t, stopper.best
        with complains(ValueError, message):
            fit(make(), X, Y, epochs=1, **theirs)
        assert (rule.t, stopper.best) == before
        fit(make(), X, Y, epochs=1, optimizer=Adam(), early_stopping=EarlyStopping(3))

    net, alone = make(), make()
    history = fit(net, X, Y, epochs=3, callbacks=[within], **parts)
    assert fit(alone, X, Y, epochs=3, **parts).loss == history.loss  # free again
    with pytest.raises(ValueError, match="x has"):
        fit(alone, X[:, 1:], Y, epochs=3, **parts)
    fit(alone, X, Y, epochs=1, **theirs)


@pytest.fixture
def _python_s_own_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press(training):
    if training.epoch == 2:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("_python_s_own_handler")
def test_ctrl_c_between_epochs():
    net, twin, diary = make(), make(), Diary()
    history = fit(net, X, Y, epochs=9, callbacks=[press, diary])
    fit(twin, X, Y, epochs=2)
    assert (len(history), history.stopped) == (2, "interrupted")
    assert np.array_equal(net.theta, twin.theta)
    assert diary.lines[-1] == ("end", 2, 9)
    assert fit(net, X, Y, epochs=1).stopped is None
    net = drifting()
    history = drift(net, early_stopping=30, callbacks=[press])
    assert (len(history), history.stopped) == (2, "interrupted")
    assert evaluate(net, ZERO, FAR)["loss"] == min(history.validation_loss)

    def batches():
        yield X, Y
        signal.raise_signal(signal.SIGINT)
        yield X, Y

    net, twin = make(), make()
    history = fit(net, batches, epochs=9, optimizer=SGD(0.1))  # while an iterable is read
    assert (len(history), history.stopped) == (0, "interrupted")
    assert history.to_dict() == {"epoch": [], "loss": []}
    fit(twin, X, Y, epochs=1, optimizer=SGD(0.1))
    assert np.array_equal(net.theta, twin.theta)


@pytest.mark.usefixtures("_python_s_own_handler")
def test_ctrl_c_within_an_epoch_ends_after_the_step():
    class Pressed(SGD):
        def compute(self, theta, g, move):
            super().compute(theta, g, move)
            if self.t == 8:
                signal.raise_signal(signal.SIGINT)

    net, twin, rule = make(), make(), Pressed(0.1)
    history = fit(net, X, Y, epochs=9, batch_size=4, optimizer=rule)
    assert (len(history), history.stopped, rule.t) == (1, "interrupted", 8)
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(20), rng.permutation(20)])[:32]
    for rows in order.reshape(8, 4):
        twin.theta -= np.array(0.1) * twin.backward(twin.forward(X[rows]), Y[rows]).theta
    assert np.array_equal(net.theta, twin.theta)
    assert len(history.to_dict()["time"]) == 1


@pytest.mark.usefixtures("_python_s_own_handler")
def test_second_ctrl_c_ends_at_once():
    def twice(training):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(make(), X, Y, epochs=9, callbacks=[twice])
    assert len(caught.value.history) == 1


def test_a_handler_of_the_program_stays():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        history = fit(make(), X, Y, epochs=3, callbacks=[press])
    finally:
        mine = signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]
    assert mine is not before
    assert (len(history), history.stopped) == (3, None)


def test_fit_runs_in_threads_of_its_own():
    thetas = {}

    def train(seed):
        net = make()
        fit(net, X, Y, epochs=20, rng=seed)
        thetas[seed] = net.theta

    threads = [threading.Thread(target=train, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        net = make()
        fit(net, X, Y, epochs=20, rng=seed)
        assert np.array_equal(thetas[seed], net.theta)
