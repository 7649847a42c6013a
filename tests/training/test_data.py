"""Where fit reads from: arrays, files larger than memory, iterables of batches."""

import itertools
import tracemalloc

import numpy as np
import pytest

from bpnet import MLP, SGD, evaluate, fit
from bpnet.training import loop
from bpnet.training.data import ArraySource, StreamSource
from tests.helpers.complaint import complains, refuses
from tests.helpers.three_classes import X, Y, assert_same, make, trained


def as_lists(a):
    return a.tolist()


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize(
    "form", [as_lists, np.asfortranarray, lambda a: a[:, :], lambda a: a.astype(">f8"), list, tuple]
)
def test_every_form_of_array_trains_to_the_same_bits(form, size):
    options = {"batch_size": size}
    assert_same(trained(form(X), form(Y), **options), trained(X, Y, **options))


def file_of(path, array):
    mapped = np.memmap(path, dtype=array.dtype, mode="w+", shape=array.shape)
    mapped[...] = array
    mapped.flush()
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", ">f4"])
@pytest.mark.parametrize("net_dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [None, 4])
def test_memmap_trains_to_the_same_bits_as_the_array(tmp_path, dtype, net_dtype, size):
    x, y = (100 * abs(X)).astype(dtype), Y.astype(dtype)
    files = file_of(tmp_path / "x", x), file_of(tmp_path / "y", y)
    options = {"batch_size": size, "optimizer": SGD(1e-3), "dtype": net_dtype, "validation": 0.2}
    assert_same(trained(*files, **options), trained(x, y, **options))
    assert_same(trained(files[0], y, **options), trained(x, y, **options))
    assert_same(trained(files[0][0], files[1][0]), trained(x[:1], y[:1]))


@pytest.mark.parametrize("columns", [False, True])
def test_memmap_trains_and_evaluates_in_constant_memory(tmp_path, columns):
    m, n = 60_000, 800  # 48 MB; with labels in the last column, each row is read by itself
    whole = np.memmap(tmp_path / "x", dtype="uint8", mode="w+", shape=(m, n))
    whole[:: m // 50] = 200
    x, y = (whole[:, :-1], whole[:, -1:]) if columns else (whole, whole[:, :1])
    net = MLP.init((x.shape[1], 1), activation="identity", rng=0, dtype="float32")
    tracemalloc.start()
    fit(net, x, y, epochs=1, batch_size=1000, optimizer=SGD(1e-9), validation=(x, y))
    evaluate(net, x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 14e6  # batches as bytes and as float32, 0.8 + 3.2 MB, each for two sizes


def test_nothing_is_copied_but_the_batch(tmp_path):
    for x, y in ((file_of(tmp_path / "x", X), file_of(tmp_path / "y", Y)), (X, Y)):
        source = ArraySource(make(), x, y)
        assert np.shares_memory(source.x, x)
        assert np.shares_memory(source.y, y)
        assert not np.shares_memory(next(iter(source.epoch(5, None)))[0], source.x)
    for size in (23, 24):
        assert next(iter(source.epoch(size, np.random.default_rng(0))))[0] is source.x


def test_what_is_wrong_in_a_memmap_is_named_by_its_row(tmp_path):
    x, y = X.copy(), Y.copy()
    x[17, 2] = np.nan
    bad = file_of(tmp_path / "x", x)
    with complains(ValueError, "row 17 of the data: x must be finite, but x[0, 2] is nan"):
        fit(make(), bad, y, epochs=1, batch_size=4)
    y[9] = 2.0
    with complains(ValueError, "row 9 of the data: …"):
        fit(make(), file_of(tmp_path / "z", X), file_of(tmp_path / "y", y), epochs=1)
    y[9, 1] = np.inf
    with complains(ValueError, "row 9 of the data: y must be finite, but y[0, 1] is inf"):
        fit(make(), X, file_of(tmp_path / "w", y), epochs=1)
    with complains(ValueError, "row 17 of the data: …"):
        fit(make(), bad, Y, epochs=1, batch_size=1, shuffle=False)


def test_memmap_that_does_not_fit_is_refused_before_the_first_step(tmp_path):
    net = make()
    before = net.theta.copy()
    x, y = file_of(tmp_path / "x", X), file_of(tmp_path / "y", Y)
    need = "but this net takes 4 inputs: (m, 4), one row a sample"
    with complains(ValueError, f"x has shape (23, 3), {need}"):
        fit(net, x[:, :3], y, epochs=1)
    with complains(ValueError, "x is empty: it has shape (0, 4), but needs a row at least"):
        fit(net, x[:0], y[:0], epochs=1)
    with complains(ValueError, "x has 22 rows, but y has 23…"):
        fit(net, x[1:], y, epochs=1)
    with complains(ValueError, "y has shape (23,), but this net has 3 outputs…"):
        fit(net, x, y[:, 0], epochs=1)
    with complains(TypeError, "x must hold real numbers, but holds complex numbers"):
        fit(net, file_of(tmp_path / "c", X.astype(complex)), y, epochs=1)
    assert np.array_equal(net.theta, before)


BATCHES = [(X[:10], Y[:10]), (X[10:20], Y[10:20]), (X[20:], Y[20:])]


@pytest.mark.parametrize(
    "data",
    [BATCHES, tuple(map(list, BATCHES)), lambda: BATCHES, lambda: iter(BATCHES),
     lambda: (batch for batch in BATCHES), [(x.tolist(), y.tolist()) for x, y in BATCHES]],
)  # fmt: skip
def test_iterable_trains_to_the_same_bits_as_the_arrays(data):
    for known in ({}, {"steps_per_epoch": 3}):
        assert_same(trained(data, **known), trained(X, Y, batch_size=10, shuffle=False))


def test_iterator_serves_one_epoch_or_is_continued():
    assert_same(trained(iter(BATCHES), epochs=1), trained(BATCHES, epochs=1))
    message = (
        "an iterator gives its batches once, but there are 2 epochs: pass a list, a function that "
        "returns a new iterator, or steps_per_epoch"
    )
    with complains(ValueError, message):
        fit(make(), iter(BATCHES), epochs=2)
    taken = []

    def endless():
        for k in itertools.count():
            taken.append(k)
            yield BATCHES[k % 3]

    theta, loss = trained(endless(), epochs=4, steps_per_epoch=2)  # goes on from epoch to epoch
    assert taken == list(range(8))
    assert len(loss) == 4
    assert np.array_equal(theta, trained([BATCHES[k % 3] for k in range(8)], epochs=1)[0])


def test_buffers_are_of_eight_shapes_at_most(monkeypatch):
    made, known, step, on = [], [], loop.best_step, loop.Steps.on

    def watched(self, x):
        take = on(self, x)
        known.append(len(self.by_shape))
        return take

    monkeypatch.setattr(loop, "best_step", lambda *a: made.append(a[1].shape[0]) or step(*a))
    monkeypatch.setattr(loop.Steps, "on", watched)
    batches, net = [(X[:n], Y[:n]) for n in (*range(1, 9), 1, 8, 9, 9, 1)], make()
    for x, y in batches:
        net.theta -= np.array(0.2) * net.backward(net.forward(x), y).theta
    assert np.array_equal(trained(batches, epochs=1)[0], net.theta)
    assert made == [*range(1, 10), 1]
    assert max(known) == 8


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "the iterable ended early: epoch 1 needs one at least, but it gave 0 batches"),
        (BATCHES, {"steps_per_epoch": 4}, "…epoch 1 needs 4, but it gave 3 batches"),
        (BATCHES, {"steps_per_epoch": 2}, "…epoch 2 needs 2, but it gave 1 batches"),
        (lambda: iter([]), {}, "…epoch 1 needs one at least, but it gave 0 batches"),
        ("iterator", {"steps_per_epoch": 3}, "…epoch 2 needs 3, but it gave 0 batches"),
        ([BATCHES[0], (X[:, :3], Y)], {}, "batch 2 of epoch 1: x has shape (23, 3), but…"),
        ([BATCHES[0], (X, Y[1:])], {}, "batch 2 of epoch 1: x has 23 rows, but y has 22…"),
        ([(X, Y * np.nan)], {}, "batch 1 of epoch 1: y must be finite, but y[0, 0] is nan"),
        ([(X, 2 * Y)], {}, "batch 1 of epoch 1: …"),
        ([(X, Y, np.ones(3))], {}, "batch 1 of epoch 1: sample_weight has shape (3,)…"),
        ([(X, Y, -np.ones(23))], {}, "batch 1 of epoch 1: sample_weight must be >= 0…"),
    ],
)
def test_iterable_that_ends_early_or_changes_shape(data, options, message):
    data = iter(BATCHES) if isinstance(data, str) else data
    with complains(ValueError, message) as caught:
        fit(make(), data, epochs=3, **options)
    assert len(caught.value.history) in (0, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "y is missing: x is an array, which needs its targets in another"),
        (5, "without y, x must be an iterable of batches (x, y), or a function that returns …int"),
        (lambda: 5, "the function must return an iterable of batches (x, y), not int"),
        ([X], "batch 1 of epoch 1 must be (x, y) or (x, y, sample_weight), not ndarray"),
        ([(X,)], "batch 1 of epoch 1 must be (x, y) or (x, y, sample_weight), not tuple"),
        ("ab", "batch 1 of epoch 1 must be (x, y) or (x, y, sample_weight), not str"),
        ([(X, "ab")], "batch 1 of epoch 1: y must hold real numbers, but holds text: …"),
    ],
)
def test_what_is_no_iterable_of_batches(data, message):
    with refuses(make(), TypeError, message) as net:
        fit(net, data, epochs=1)


def test_error_of_the_iterable_passes_with_the_history():
    def broken():
        yield from BATCHES
        raise OSError("disk on fire")

    calls = iter([lambda: BATCHES, broken])
    net = make()
    with complains(OSError, "disk on fire") as caught:
        fit(net, lambda: next(calls)(), epochs=3)
    assert len(caught.value.history.loss) == 1
    assert np.isfinite(net.predict(X)).all()


def test_skip_passes_over_epochs_that_are_done():
    for data, steps in ((itertools.cycle(BATCHES), 2), (BATCHES, 3), (BATCHES, None)):
        source = StreamSource(make(), data, 9, steps)
        source.skip(4)
        x = next(iter(source.epoch(0, None)))[0]
        assert np.array_equal(x, BATCHES[(4 * 2) % 3 if steps == 2 else 0][0])
        assert source.number == 5
    calls = []
    StreamSource(make(), lambda: calls.append(1) or BATCHES, 9, None).skip(3)
    assert calls == []
