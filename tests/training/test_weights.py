"""Sample weights and class weights, over batches, epochs, files and iterables."""

import numpy as np
import pytest

from bpnet import MLP, SGD, evaluate, fit
from bpnet.training.data import ArraySource, StreamSource, class_weights, combined_weight
from tests.helpers.complaint import complains, refuses
from tests.helpers.three_classes import LABELS, X, Y, assert_same, make, trained


def test_integer_weights_are_repeated_rows():
    counts = np.arange(23) % 4
    weighted = trained(X, Y, sample_weight=counts, batch_size=None)
    repeated = trained(np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0), batch_size=None)
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-12)
    assert weighted[1] == pytest.approx(repeated[1], rel=1e-12)
    net = make()
    one = evaluate(net, X, Y, sample_weight=counts)["loss"]
    assert one == pytest.approx(net.loss(a=net.predict(X), y=Y, sample_weight=counts), rel=1e-14)


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1.6e308])  # whose sum overflows
def test_only_ratios_of_weights_count(scale):
    weight = np.random.default_rng(4).random(23) + 0.1
    for size in (None, 4):
        one = trained(X, Y, sample_weight=weight, batch_size=size)
        other = trained(X, Y, sample_weight=weight * scale, batch_size=size)
        assert one[0] == pytest.approx(other[0], rel=1e-12)
        assert one[1] == pytest.approx(other[1], rel=1e-12)
    equal, none = (trained(X, Y, sample_weight=w, batch_size=4) for w in (np.full(23, 0.5), None))
    assert np.array_equal(equal[0], none[0])
    assert equal[1] == pytest.approx(none[1], rel=1e-14)


@pytest.mark.parametrize("size", [5, 23])
def test_weighted_loss_of_an_epoch_is_over_the_weights_of_all_its_batches(size):
    weight = np.r_[np.full(10, 3.0), np.zeros(8), np.full(5, 1.0)]
    net = make()
    start = net.loss(a=net.predict(X), y=Y, sample_weight=weight)
    options = {"epochs": 1, "optimizer": SGD(1e-200)}
    loss = trained(X, Y, sample_weight=weight, batch_size=size, shuffle=False, **options)[1]
    assert loss == pytest.approx([start], rel=1e-12)
    batches = [(X[i : i + 5], Y[i : i + 5], weight[i : i + 5]) for i in (0, 5, 15, 20)]
    keep = np.r_[0:10, 15:23]
    start = net.loss(a=net.predict(X[keep]), y=Y[keep], sample_weight=weight[keep])
    assert trained(batches, **options)[1] == pytest.approx([start], rel=1e-12)


def test_loss_of_much_validation_data_is_weighted_across_chunks():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2500, 4)), np.eye(3)[rng.integers(3, size=2500)]
    weight = np.r_[np.full(1024, 5.0), np.zeros(1024), np.full(452, 1.0)]
    net = make()
    expected = net.loss(a=net.predict(x), y=y, sample_weight=weight)
    assert evaluate(net, x, y, sample_weight=weight)["loss"] == pytest.approx(expected, rel=1e-12)


def test_a_batch_s_weights_count_relative_to_the_mean_of_all():
    weight, net = np.arange(1.0, 24.0), make()
    theta = trained(X, Y, sample_weight=weight, batch_size=12, shuffle=False, epochs=1)[0]
    for rows in (slice(0, 12), slice(12, 23)):
        g = net.backward(net.forward(X[rows]), Y[rows], sample_weight=weight[rows]).theta
        net.theta -= 0.2 * (weight[rows].mean() / weight.mean()) * g
    assert theta == pytest.approx(net.theta, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shares_are_of_the_net_s_dtype(dtype):
    net, weight = make(dtype), np.arange(23)
    array = ArraySource(net, X, Y, weight=weight / weight.mean())
    stream = StreamSource(net, [(X, Y, weight)], 1, None)
    for source, size in ((array, 23), (array, 5), (stream, 0)):
        for x, y, share, _, _ in source.epoch(size, None):
            assert {x.dtype, y.dtype, share.dtype} == {np.dtype(dtype)}


def test_weights_of_rows_set_aside_do_not_count():
    weight = np.ones(23)
    plain = trained(X, Y, validation=0.3, batch_size=4)
    weighted = trained(X, Y, validation=0.3, batch_size=4, sample_weight=7 * weight)
    assert np.array_equal(plain[0], weighted[0])
    assert plain[1] == pytest.approx(weighted[1], rel=1e-14)
    net, rng = make(), np.random.default_rng(0)
    source = ArraySource(net, X, Y, weight=np.arange(23.0))
    for part in source.split(0.4, rng):
        assert part.weight[part.rows].mean() == pytest.approx(1)


def test_class_weight_is_the_sample_weight_of_each_class():
    by_class = {0: 2.0, 2: 0.5}
    weight = np.array([2.0, 1.0, 0.5])[LABELS]
    for size in (None, 4):
        assert_same(
            trained(X, Y, class_weight=by_class, batch_size=size),
            trained(X, Y, sample_weight=weight, batch_size=size),
        )
    twice = combined_weight(Y, np.arange(23), by_class)
    assert twice == pytest.approx(np.arange(23) * weight / (np.arange(23) * weight).mean())
    x, y = X[:, :2], (LABELS == 1).astype(float)[:, None]  # with one output
    nets = [MLP.init((2, 1), loss="binary_cross_entropy", rng=0) for _ in range(2)]
    fit(nets[0], x, y, epochs=2, class_weight={1: 3.0})
    fit(nets[1], x, y, epochs=2, sample_weight=1 + 2 * y[:, 0])
    assert np.array_equal(nets[0].theta, nets[1].theta)


def test_balanced_gives_every_class_the_same_total():
    weight = combined_weight(Y, None, "balanced")
    totals = [weight[k == LABELS].sum() for k in range(3)]
    assert totals == pytest.approx([23 / 3] * 3)
    two = np.array([[1.0], [0], [0], [0]])
    assert combined_weight(two, None, "balanced") == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])
    assert class_weights("balanced", np.array([4, 0, 2])) == pytest.approx([0.75, 3, 1.5])
    # a class that no sample has may have a weight
    assert combined_weight(np.eye(3)[[0, 1, 1]], None, {2: 5.0}) == pytest.approx([1, 1, 1])
    assert combined_weight(np.zeros((2, 1)), None, {1: 5.0}) == pytest.approx([1, 1])
    with complains(ValueError, "class_weight names class 2, but y has 2 classes"):
        combined_weight(np.zeros((2, 1)), None, {2: 5.0})


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ValueError, {"sample_weight": -np.ones(23)}, "sample_weight must be >= 0, but holds -1"),
        (ValueError, {"sample_weight": np.zeros(23)}, "sample_weight is 0 for every sample…"),
        (ValueError, {"sample_weight": np.ones(22)}, "sample_weight has shape (22,), but…"),
        (ValueError, {"sample_weight": np.ones((23, 1))}, "sample_weight has shape (23, 1), but…"),
        (ValueError, {"sample_weight": [np.nan] * 23}, "sample_weight must be finite, but…"),
        (ValueError, {"sample_weight": [np.inf] * 23}, "sample_weight must be finite, but…"),
        (TypeError, {"sample_weight": ["1"] * 23}, "sample_weight must hold real numbers…"),
        (ValueError, {"class_weight": "balance"},
         "class_weight must be a dict or \"balanced\", not 'balance'"),
        (TypeError, {"class_weight": [1, 2, 3]}, "class_weight must be a dict of class…"),
        (ValueError, {"class_weight": {3: 1.0}}, "class_weight names class 3, but y has 3 classes"),
        (ValueError, {"class_weight": {-1: 1.0}}, "a class of class_weight must be an integer >=…"),
        (TypeError, {"class_weight": {"a": 1.0}}, "a class of class_weight must be an integer…"),
        (ValueError, {"class_weight": {1: -1.0}}, "class_weight[1] must be >= 0, not -1"),
        (ValueError, {"class_weight": {0: 0, 1: 0, 2: 0}},
         "sample_weight and class_weight leave no sample a weight above 0"),
    ],
)  # fmt: skip
def test_bad_weights_are_refused_before_the_first_step(kind, options, message):
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, **options)


@pytest.mark.parametrize("y", [0.5 * Y + 1 / 6, np.ones((23, 3))])
def test_class_weight_needs_classes(y):
    net = make(activation="sigmoid", loss="huber")
    with complains(ValueError, "class_weight needs classes: y must hold one-hot rows, or …"):
        fit(net, X, y, epochs=1, class_weight="balanced")


def test_split_needs_weight_on_both_sides():
    weight = np.zeros(23)
    weight[4] = 1
    for fraction, purpose in ((0.05, "validate"), (0.95, "train on")):
        message = f"validation leaves only rows of weight 0 to {purpose}"
        with complains(ValueError, message):
            fit(make(), X, Y, epochs=1, validation=fraction, sample_weight=weight)
    history = fit(make(), X, Y, epochs=1, validation=0.04)  # of one row
    assert len(history.validation_loss) == 1
