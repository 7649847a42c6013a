"""Batches of an iterable train as the same batches of arrays do: bits, layout and weights."""

import numpy as np
import pytest

from bpnet import MLP, SGD, Adam, fit
from bpnet.training import fit as fit_module
from tests.helpers.complaint import complains, refuses
from tests.helpers.stack_problem import X, Y, make

BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 12, 4)]  # of equal shape
HOW = {"epochs": 3, "optimizer": SGD(0.05)}


@pytest.mark.parametrize("given", ["list", "function", "generator", "endless"])
def test_a_stack_has_the_bits_that_arrays_give_it_in_each_way(net, given):
    """Also where the second batch comes in another array of the shape of the first."""
    twin, calls = net.copy(), []

    def function():
        calls.append(1)
        return iter(BATCHES)

    def generator():
        while True:
            yield from BATCHES

    x = {"list": BATCHES, "function": function, "generator": generator(), "endless": generator}
    steps = {"steps_per_epoch": 3} if given in ("generator", "endless") else {}
    history = fit(net, x[given], **HOW, **steps)
    assert len(calls) == (3 if given == "function" else 0)
    other = fit(twin, X[:12], Y[:12], batch_size=4, shuffle=False, **HOW)
    np.testing.assert_array_equal(net.theta, twin.theta)
    np.testing.assert_allclose(history.loss, other.loss, rtol=1e-13)


def test_the_layout_is_chosen_by_the_first_batch(monkeypatch):
    seen = []
    layout = fit_module.best_layout
    monkeypatch.setattr(fit_module, "best_layout", lambda *a: seen.append(a[2]) or layout(*a))
    fit(make(100), [(X[0], Y[0]), *BATCHES], **HOW)
    fit(make(100), BATCHES[1:], **HOW)
    fit(make(5), [(np.stack([X] * 5), Y)], **HOW)
    assert seen == [1, 4, 13]


@pytest.mark.parametrize("wrong", [5, (), ("ab", Y), ([[np.nan] * 3], Y[:1])])
def test_a_first_batch_that_is_none_is_told_of_as_ever(wrong):
    with refuses(make(100), (TypeError, ValueError), "batch 1 of epoch 1…") as net:
        fit(net, [wrong], **HOW)
    with refuses(make(100), ValueError, "the iterable ended early: epoch 1 needs one at…") as net:
        fit(net, [], **HOW)


def test_a_stack_whose_iterable_raises_in_the_first_epoch_has_moved():
    for good in (2, 0):
        net = make(100)
        start = net.theta.copy()

        def batches(good=good):
            yield from BATCHES[:good]
            raise KeyError("no more")

        with pytest.raises(KeyError) as caught:
            fit(net, batches, **HOW)
        assert len(caught.value.history) == 0
        assert (net.theta != start).any(axis=1).all() == (good > 0)
        assert good or np.array_equal(net.theta, start)


def weighted(weight, size=5):
    return [(X[i : i + size], Y[i : i + size], weight[i : i + size]) for i in range(0, 13, size)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_with_their_mean_weights_of_batches_count_as_those_of_arrays(dtype):
    weight = np.array([0, 0, 0, 0, 0, 3.0, 1, 4, 1, 5, 9, 2, 6])  # the first batch weighs nothing
    one, other = make(None).astype(dtype), make(None).astype(dtype)
    history = fit(one, weighted(weight), weight_mean=weight.mean(), **HOW)
    arrays = fit(other, X, Y, batch_size=5, shuffle=False, sample_weight=weight, **HOW)
    close = 1e-12 if dtype == "float64" else 1e-5
    assert one.theta == pytest.approx(other.theta, rel=close, abs=close)
    assert history.loss == pytest.approx(arrays.loss, rel=close)
    plain = [batch[:2] for batch in weighted(weight)]
    half, whole = make(None), make(None)
    fit(half, plain, weight_mean=2.0, epochs=1, optimizer=SGD(0.2))  # as weights of 1
    fit(whole, plain, epochs=1, optimizer=SGD(0.1))
    assert half.theta == pytest.approx(whole.theta, rel=1e-13)
    with refuses(one, ValueError, "weight_mean is for an iterable of batches; that of…") as net:
        fit(net, X, Y, weight_mean=1.0, **HOW)
    with refuses(one, ValueError, "weight_mean must be > 0, not 0") as net:
        fit(net, BATCHES, weight_mean=0, **HOW)


@pytest.mark.parametrize("scale", [1e-300, 100.0, 1e308])
def test_without_it_only_the_ratios_within_a_batch_count(scale):
    weight = np.r_[np.full(5, 0.25), np.linspace(0.5, 1, 8)]
    net, twin = make(None), make(None)
    history = fit(net, weighted(weight * scale), **HOW)
    again = fit(twin, weighted(weight), **HOW)
    assert net.theta == pytest.approx(twin.theta, rel=1e-12)
    assert history.loss == pytest.approx(again.loss, rel=1e-12)
    one, by_hand = make(None), make(None)
    fit(one, weighted(weight), epochs=1, optimizer=SGD(0.1))
    for x, y, w in weighted(weight):
        g = by_hand.backward(by_hand.forward(x), y, sample_weight=w).theta
        by_hand.theta -= 0.1 * g
    assert one.theta == pytest.approx(by_hand.theta, rel=1e-12)


@pytest.mark.parametrize("mean", [None, 0.7])
def test_the_loss_is_the_mean_over_all_samples_by_their_weights(mean):
    weight = np.linspace(0.8, 24, 13)
    how = {"epochs": 1, "optimizer": SGD(1e-200), "weight_mean": mean}
    net, end = make(None), X[:1] + 1
    expected = net.loss(net.forward(np.r_[X, end]), np.r_[Y, Y[:1]], sample_weight=np.r_[weight, 1])
    for place in range(4):
        batches = weighted(weight)
        batches.insert(place, (end, Y[:1]))
        assert fit(net, batches, **how).loss == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("stream", [False, True])
def test_a_light_first_batch_is_no_low_loss_to_explode_from(stream):
    weight = np.r_[np.full(5, 1e-6), np.ones(8)]
    if stream:
        fit(make(None), weighted(weight), weight_mean=weight.mean(), **HOW)
    else:
        fit(make(None), X, Y, batch_size=5, shuffle=False, sample_weight=weight, **HOW)


def test_resumed_the_loss_has_its_bits_whichever_batch_comes_first(tmp_path):
    batches = weighted(np.exp(np.linspace(-3, 3, 13)), 4)
    path, whole, parts = tmp_path / "file", make(None), make(None)
    how = {"steps_per_epoch": 2, "optimizer": Adam(0.01)}
    history = fit(whole, batches, epochs=5, **how)
    fit(parts, batches, epochs=1, checkpoint=path, **how)
    resumed = fit(parts, batches, epochs=5, checkpoint=path, resume=True, **how)
    assert resumed.loss == history.loss
    np.testing.assert_array_equal(parts.theta, whole.theta)


BEYOND = {
    "sigmoid": (100.0, "between 0 and 1"),
    "tanh": (-1.5, "between -1 and 1"),
    "relu": (-2.0, "above 0"),
    "silu": (-0.5, "above -0.278"),
    "gelu": (-0.5, "above -0.17"),
    "elu": (-3.0, "above -1"),
    "softplus": (-1.0, "above 0"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_targets_beyond_the_output_are_told_of_once(name, tmp_path):
    wrong, where = BEYOND[name]
    x, y = np.ones((6, 2)), np.full((6, 1), 0.5)
    y[4] = wrong
    np.save(tmp_path / "y.npy", y)
    text = (
        f"y holds {wrong:g}, but the net's output, {name}, stays {where}: make the net with "
        'output="identity", or scale y'
    )
    batches = [(x[i : i + 2], y[i : i + 2]) for i in (0, 2, 4)]
    for data in ((x, y), (x, np.load(tmp_path / "y.npy", mmap_mode="r")), (batches,)):
        net = MLP.init((2, 3, 1), output=name, rng=0)
        with pytest.warns(RuntimeWarning) as told:
            fit(net, *data, epochs=3, optimizer=SGD(1e-6))
        assert [str(warning.message) for warning in told] == [text]
        assert told[0].filename == __file__


def test_targets_at_the_ends_and_beyond_by_rounding_are_silent():
    x = np.ones((2, 2))
    ends = {"sigmoid": [[0], [1.000001]], "tanh": [[-1], [1]], "relu": [[0], [9]]}
    for output, y in ends.items():
        fit(MLP.init((2, 1), output=output, rng=0), x, y, epochs=1)
    fit(MLP.init((2, 1), output="identity", rng=0), x, 100 * x[:, :1], epochs=1)
    with complains(ValueError, "…needs targets between 0 and 1, but y holds 2"):
        fit(MLP.init((2, 1), loss="binary_cross_entropy", rng=0), x, 2 * x[:, :1], epochs=1)
