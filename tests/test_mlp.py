"""The network object: passes and their buffers, copies, stacks, prediction."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet import LOSSES, MLP, Activation, Cache, Gradient, Parameters, evaluate, huber
from bpnet.mlp import CHUNK
from bpnet.testing import case
from bpnet.testing.cases import draw_batch
from tests.helpers.complaint import complains
from tests.helpers.nets import HIDDEN, PAIRS

RNG = np.random.default_rng(20)
X, Y = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))


def make(**options):
    return MLP.init((3, 4, 2), activation=("tanh", "sigmoid"), rng=1, **options)


def copies(thing):
    return copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))


def assert_attached(parameters):
    for view in (*parameters.W.values(), *parameters.b.values()):
        assert np.shares_memory(view, parameters.theta)


def arrays(cache, grad):
    return [*cache.z.values(), *cache.a.values(), *grad.delta.values(), grad.theta]


def assert_same_bits(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def test_theta_is_one_vector_that_everything_is_a_view_of():
    net = make()
    theta = net.theta
    assert_attached(net)
    net.theta -= 0.5 * np.ones_like(theta)
    net.W[2] -= 1
    net.W[3] = np.full((2, 4), 7)
    net.b[3] = [8, 9]
    net.b[2] *= 0
    assert net.theta is theta
    np.testing.assert_array_equal(theta[-10:], [7] * 8 + [8, 9])
    np.testing.assert_array_equal(theta[12:16], 0)
    net.theta = list(range(26))
    assert net.theta is theta
    np.testing.assert_array_equal(net.W[3], [[16, 17, 18, 19], [20, 21, 22, 23]])
    assert_attached(net)
    with complains(ValueError, "W[2] has shape (4, 3), but was given shape (3, 4)"):
        net.W[2] = np.zeros((3, 4))
    net = make().astype("complex128")
    net.theta = net.theta + 1j
    np.testing.assert_array_equal(net.theta.imag, 1)
    net.theta = make().theta
    np.testing.assert_array_equal(net.theta.imag, 0)


def test_a_net_is_equal_to_itself_alone():
    net = make()
    same = net
    assert net == same
    assert net != make()
    assert len({net, same, make()}) == 2


def test_a_copied_net_is_independent_and_attached():
    net = make()
    expected = net.predict(X)
    for twin in (*copies(net), net.copy()):
        assert type(twin) is MLP
        assert repr(twin) == repr(net)
        assert_attached(twin)
        assert not np.shares_memory(twin.theta, net.theta)
        np.testing.assert_array_equal(twin.predict(X), expected)
        assert twin.activation[2] is net.activation[2]
        assert twin.loss_function is net.loss_function
        twin.theta -= 1
        twin.W[2] -= 1
        assert np.all(twin.predict(X) != expected)
        np.testing.assert_array_equal(net.predict(X), expected)
    shallow = copy.copy(net)
    shallow.W[2] -= 1
    np.testing.assert_array_equal(shallow.predict(X), net.predict(X))
    net = MLP.init((3, 4, 2), activation=("elu", "tanh"), loss=huber(0.5), rng=1)
    cache = net.forward(X)
    twin, twin_cache = copy.deepcopy((net, cache))  # together
    np.testing.assert_array_equal(twin.backward(twin_cache, Y).theta, net.backward(cache, Y).theta)


@pytest.mark.parametrize("mask", [None, {1: np.eye(5, 3), 2: np.arange(20).reshape(5, 4) % 3}])
def test_a_copied_cache_and_gradient_serve_as_the_original(mask):
    net = make()
    cache = net.forward(X, mask=mask)
    grad = net.backward(cache, Y)
    expected = [v.copy() for v in arrays(cache, grad)]
    for twin_cache, twin_grad in zip(copies(cache), copies(grad), strict=True):
        assert (type(twin_cache), type(twin_grad)) == (Cache, Gradient)
        assert (twin_cache.m, twin_grad.m) == (5, 5)
        assert_same_bits(arrays(twin_cache, twin_grad), expected)
        assert_attached(twin_grad)
        for l in (2, 3):
            assert twin_cache.z[l] is twin_cache.z.list[l]
            assert not np.shares_memory(twin_cache.z[l], cache.z[l])
            assert not np.shares_memory(twin_grad.delta[l], grad.delta[l])
        again = net.backward(twin_cache, Y, grad=twin_grad)
        assert again is twin_grad
        assert_same_bits(arrays(twin_cache, again), expected)
        twin_grad.W[2] = 0 * twin_grad.W[2]
        assert not twin_grad.theta[:12].any()
        assert net.forward(2 * X, cache=twin_cache, mask=mask) is twin_cache
        assert_same_bits(arrays(cache, grad), expected)


def test_the_cache_holds_a_copy_of_x():
    net, x, y = make(), X.copy(), Y.copy()
    cache = net.forward(x)
    expected = net.backward(cache, Y).theta.copy()
    x[...] = 0
    grad = net.backward(cache, y)
    y[...] = 0
    np.testing.assert_array_equal(grad.theta, expected)
    np.testing.assert_array_equal(cache.a[1], X)
    assert not np.shares_memory(cache.a[1], x)
    second = net.forward(3 * X)  # a net keeps no hidden last pass
    np.testing.assert_array_equal(net.backward(cache, Y).theta, expected)
    assert np.any(net.backward(second, Y).theta != expected)
    assert not any(np.shares_memory(cache.z[l], second.z[l]) for l in (2, 3))


def test_passes_print_nothing_and_write_to_nothing(capsys):
    net, x, y = make(), X.copy(), Y.copy()
    before = net.theta.tobytes(), x.tobytes(), y.tobytes()
    weight, mask = np.arange(1.0, 6), np.ones((5, 4))
    cache = net.forward(x, mask={2: mask})
    kept = [v.tobytes() for v in (*cache.a.values(), *cache.z.values())]
    net.backward(cache, y, sample_weight=weight)
    net.loss(cache, y, sample_weight=weight)
    net.predict(x)
    assert (net.theta.tobytes(), x.tobytes(), y.tobytes()) == before
    assert kept == [v.tobytes() for v in (*cache.a.values(), *cache.z.values())]
    np.testing.assert_array_equal(weight, np.arange(1.0, 6))
    np.testing.assert_array_equal(mask, 1)
    assert capsys.readouterr() == ("", "")


@settings(max_examples=80)
@given(
    pair=st.sampled_from(PAIRS),
    hidden=st.sampled_from(HIDDEN),
    dtype=st.sampled_from(["float64", "float32"]),
    batches=st.lists(st.integers(1, 7), min_size=2, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_reused_buffers_give_the_bits_of_new_ones(pair, hidden, dtype, batches, seed):
    output, loss = pair
    activation = (hidden, "tanh", output)
    net = case((3, 5, 4, 2), activation=activation, loss=loss, seed=seed, dtype=dtype).net
    rng = np.random.default_rng(seed)
    cache = grad = None
    for i, m in enumerate(batches):
        x, y = draw_batch(net, m, rng)
        weight = rng.random(m) + 0.1 if i % 3 == 1 else None
        mask = {2: rng.integers(0, 3, (m, 5))} if i % 2 else None
        fresh = net.forward(x, mask=mask)
        expected = arrays(fresh, net.backward(fresh, y, sample_weight=weight))
        fits = cache is not None and cache.m == m
        before = cache, grad
        cache = net.forward(x, cache=cache, mask=mask)
        grad = net.backward(cache, y, sample_weight=weight, grad=grad)
        assert_same_bits(arrays(cache, grad), expected)
        assert ((cache, grad) == before) == fits
        net.theta -= 0.1 * grad.theta


def test_buffers_of_another_net_are_left_alone():
    net, cache = make(), make().forward(X)
    grad = net.backward(cache, Y)
    kept = [v.copy() for v in arrays(cache, grad)]
    others = [
        make(dtype="float32"),
        make(loss="huber"),
        MLP.init((3, 5, 2), rng=0),
        MLP.init((3, 4, 2), activation=("relu", "sigmoid"), rng=0),
        MLP(Parameters((3, 4, 2), np.stack([net.theta] * 2)), net.activation, net.loss_function),
    ]
    for other in others:
        new = other.forward(X, cache=cache)
        assert new is not cache
        assert other.backward(new, Y, grad=grad) is not grad
        assert_same_bits(arrays(cache, grad), kept)
    for wider in (X[:4], np.concatenate([X, X])):
        assert net.forward(wider, cache=cache) is not cache
    assert net.forward(X, cache=cache) is cache


def test_a_gradient_tells_the_loss_of_its_pass():
    for output, loss in PAIRS:
        net, x, y = case((3, 4, 3), activation=("tanh", output), loss=loss, m=5)
        cache = net.forward(x)
        grad = net.backward(cache, y)
        assert cache.loss(y) == pytest.approx(net.loss(cache, y), rel=1e-13)
        weight = [1, 0, 2, 5, 0.5]
        net.backward(cache, y, sample_weight=weight, grad=grad)
        E = net.loss(cache, y, sample_weight=weight)
        assert cache.loss(y) == pytest.approx(E, rel=1e-13)
        assert cache._equal_share.dtype == net.dtype
    rules = {"activation": ["tanh", "identity", "sigmoid"], "loss": "binary_cross_entropy"}
    W, b = [[[1.0]], [[1.0]], [[50.0]]], np.zeros((3, 1))
    net = MLP.from_weights(W, b, **rules, dtype="float32")
    cache = net.forward([[1.0], [2.0]])
    y = np.zeros((2, 1), "float32")
    grad = net.backward(cache, y, sample_weight=[1, 3])
    expected = 50 * (np.tanh(1) + 3 * np.tanh(2)) / 4  # from z: log(1 - a) is lost in a = 1
    assert cache.loss(y) == pytest.approx(expected, rel=1e-6)
    assert cache._equal_share.dtype == "float32"


def test_a_cache_may_read_x_without_copying_it():
    net, x = make(), X.copy()
    cache = net.forward(x)
    cache.read(x)
    assert cache.a.list[1] is cache.fed[1] is cache.a[1] is x
    assert (list(cache.a), cache.a[3] is cache.a.list[3]) == ([1, 2, 3], True)
    with complains(KeyError, repr("there is no a[0]: the layers that have one are 1, 2, 3")):
        cache.a[0]
    for mask, kept in (({1: np.ones((5, 3))}, False), ({2: np.ones((5, 4))}, True)):
        cache = net.forward(X, mask=mask)
        cache.read(x)
        assert (cache.fed[1] is x) == kept  # what a mask leaves of x has room of its own


def test_a_mask_may_change_after_forward():
    mask, net = np.ones((5, 4)), make()
    cache = net.forward(X, mask={2: mask})
    before = net.backward(cache, Y).theta.copy()
    mask[...] = 0
    np.testing.assert_array_equal(net.backward(cache, Y).theta, before)
    net, mask = make(dtype="float32"), np.full((5, 4), 0.1)
    cache, single = net.forward(X, mask={2: mask}), net.forward(X, mask={2: mask.astype("f4")})
    assert cache.mask[2].dtype == "float32"
    assert_same_bits(cache.a.values(), single.a.values())


def test_a_batch_of_one_needs_no_share():
    net = make()
    one, three = net.forward(X[:1]), net.forward(np.tile(X[:1], (3, 1)))
    grad = net.backward(one, Y[:1])
    np.testing.assert_allclose(net.backward(three, np.tile(Y[:1], (3, 1))).theta, grad.theta, rtol=1e-13)
    weighted = net.backward(one, Y[:1], sample_weight=[7], grad=grad)
    assert weighted is grad
    np.testing.assert_array_equal(weighted.theta, net.backward(one, Y[:1]).theta)
    assert isinstance(grad, Parameters)
    assert (grad.name(0), grad.name(25)) == ("W[2][0, 0]", "b[3][1]")
    assert (grad.L, grad.sizes) == (3, (3, 4, 2))


def test_an_activation_and_a_loss_of_ones_own_train():
    sine = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
    net = MLP.init((3, 4, 2), activation=sine, loss=LOSSES["huber"], rng=1)
    grad = net.backward(net.forward(X), Y)
    k, h = 7, 1e-6
    E = []
    for step in (h, -2 * h):
        net.theta[k] += step
        E.append(net.loss(net.forward(X), Y))
    assert grad.theta[k] == pytest.approx((E[0] - E[1]) / (2 * h), rel=1e-8)


def test_the_loss_is_one_float_summed_over_outputs_averaged_over_samples():
    net = make()
    cache = net.forward(X)
    a = cache.a[3]
    expected = sum((a[i, j] - Y[i, j]) ** 2 / 2 for i in range(5) for j in range(2)) / 5
    weight = np.array([3, 0, 1, 0, 2])
    heavy = sum(w * (a[i] - Y[i]) @ (a[i] - Y[i]) / 2 for i, w in enumerate(weight)) / 6
    for output in ({"a": a}, {"cache": cache}, {"a": a.tolist()}):
        assert type(net.loss(**output, y=Y)) is float
        assert net.loss(**output, y=Y) == pytest.approx(expected, rel=1e-14)
        assert net.loss(**output, y=Y, sample_weight=weight) == pytest.approx(heavy, rel=1e-14)
    assert type(make(dtype="float32").loss(a=a, y=Y)) is float
    assert net.loss(a=a[0], y=Y[0]) == net.loss(a=a[:1], y=Y[:1])
    with np.errstate(all="raise"):  # beyond the largest number, without a word
        assert net.loss(a=[[1e200, 0]], y=[[0, 1]]) == np.inf


def test_the_loss_of_an_array_is_refused_with_the_two_right_ways():
    net = MLP.init((2, 2, 2), rng=0)
    x, y = [0.05, 0.1], [0.01, 0.99]  # x would do for a
    for call in (
        lambda: net.loss(x, y),
        lambda: net.loss(np.array([x]), y),
        lambda: net.loss(net.forward(x), y, a=x),
        lambda: net.loss(y=y),
        lambda: net.loss(net.forward(x)),
    ):
        with pytest.raises(TypeError, match=r"net\.loss\(net\.forward\(x\), y\), or .*a=out, y=y"):
            call()


@pytest.mark.parametrize("networks", [None, 3])
@pytest.mark.parametrize("sizes", [(2, 2, 2), (30, 1200, 3)])
def test_a_cache_of_other_weights_is_refused_unless_allowed(sizes, networks):
    net, other = (MLP.init(sizes, rng=seed, networks=networks) for seed in (0, 1))
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, sizes[0])), rng.random((4, sizes[-1]))
    cache = net.forward(x)
    with pytest.raises(ValueError, match="with other weights: of another net, or of before theta"):
        other.backward(cache, y)
    copied = pickle.loads(pickle.dumps(cache))
    for k in (0, net.theta.size // 2, net.theta.size - 1):
        kept = net.theta.flat[k]
        net.theta.flat[k] = np.nextafter(kept, 2)
        for stale in (cache, copied):
            with pytest.raises(ValueError, match="call forward again, or allow it by stale=True"):
                net.backward(stale, y)
        net.backward(cache, y, stale=True)
        net.theta.flat[k] = kept
        net.backward(cache, y)
    net.W[2][..., [0, 1], :] = net.W[2][..., [1, 0], :]  # the same numbers in another order
    with pytest.raises(ValueError, match="other weights"):
        net.backward(cache, y)
    with pytest.raises(ValueError, match="other weights"):
        net.backward(net.forward(x, cache=cache), y) and other.backward(cache, y)


def test_a_cache_that_read_an_array_is_given_a_buffer_of_its_own():
    net, rng = make(), np.random.default_rng(0)
    cache = net.forward(X)
    mine, before = rng.normal(size=X.shape), None
    before = mine.copy()
    cache.read(mine)
    net.forward(X, cache=cache)
    np.testing.assert_array_equal(mine, before)
    np.testing.assert_array_equal(cache.a[1], X)


def test_with_the_cache_the_loss_is_exact_where_the_output_has_rounded():
    net = MLP.from_weights([[[50.0]]], [[0.0]], loss="binary_cross_entropy")
    cache = net.forward([1.0])
    assert cache.a[2] == 1
    assert net.loss(cache, [0]) == pytest.approx(50, rel=1e-15)
    assert net.loss(cache, [1]) == pytest.approx(np.exp(-50), rel=1e-15)
    assert net.loss(a=cache.a[2], y=[0]) > 50


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("m", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_predict_is_the_output_of_forward_in_chunks(m, dtype):
    net = make(dtype=dtype)
    x = np.random.default_rng(m).normal(size=(m, 3))
    out = net.predict(x)
    assert (out.shape, out.dtype) == ((m, 2), dtype)
    assert out.flags.owndata
    np.testing.assert_allclose(out, net.forward(x).a[3], rtol=1e-6 if dtype == "float32" else 1e-14)
    assert CHUNK == 1024
    kept = out.copy()  # and a copy
    net.predict(2 * x)
    np.testing.assert_array_equal(out, kept)
    out[...] = 0
    np.testing.assert_array_equal(net.predict(x), kept)


def test_predict_takes_a_chunk_at_a_time():
    rows = []
    own = Activation("own", lambda z: rows.append(len(z)) or 2 * z, lambda z, a: 2 + 0 * z)
    MLP.init((1, 1), activation=own, rng=0).predict(np.ones((2 * CHUNK + 3, 1)))
    assert rows == [CHUNK, CHUNK, 3]


def test_astype_gives_an_independent_net():
    net = make()
    for dtype in ("float32", "float64", "complex64", "complex128"):
        other = net.astype(dtype)
        assert (other.dtype, other.sizes) == (dtype, net.sizes)
        assert other.predict(X).dtype == dtype
        assert_attached(other)
        assert not np.shares_memory(other.theta, net.theta)
        assert other.activation is net.activation
        assert other.loss_function is net.loss_function
        np.testing.assert_array_equal(other.theta, net.theta.astype(dtype))


class Flagged:
    """A product that raises the flag "invalid" though each number is right, as OpenBLAS may."""

    def __init__(self, dot):
        self.dot, self.calls = dot, 0

    def __call__(self, A, B, out):
        self.dot(A, B, out)
        self.calls += 1
        np.sqrt(np.array([-1.0]))


@pytest.mark.parametrize("networks", [None, 3])
def test_a_flag_that_a_product_raises_for_nothing_is_no_warning(networks):
    net = MLP.init((1, 5, 2), rng=0, dtype=np.float32, networks=networks)
    twin, x, y = net.copy(), [[0.5], [-1.0]], [[0.0, 1.0], [1.0, 0.0]]
    flagged = net.parameters.dot = Flagged(net.parameters.dot)
    cache, expected = net.forward(x), twin.forward(x)
    np.testing.assert_array_equal(cache.a[3], expected.a[3])
    grad = net.backward(cache, y).theta
    np.testing.assert_array_equal(grad, twin.backward(expected, y).theta)
    np.testing.assert_array_equal(net.predict(x), expected.a[3])
    assert np.array_equal(evaluate(net, x, y)["loss"], evaluate(twin, x, y)["loss"])
    assert flagged.calls == 2 * 3 + 5


def overflowing():
    """A net whose output is inf - inf."""
    W = [[[1e30], [1e30]], [[1e30, -1e30]]]
    return MLP.from_weights(W, [[0, 0], [0]], activation="identity", dtype=np.float32)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda net: net.forward([[1.0]]), "output"),
        (lambda net: net.predict([[1.0]]), "output"),
        (lambda net: evaluate(net, [[1.0]], [[0.0]]), "loss"),
    ],
)
def test_numbers_that_overflow_to_nan_are_told_of(act, what):
    words = f"the {what} holds NaN: numbers too large for float32 met on the way; scale the data"
    with pytest.warns(RuntimeWarning, match=words) as caught:
        act(overflowing())
    assert [Path(w.filename).name for w in caught] == ["test_mlp.py"]
    with np.errstate(invalid="ignore"):
        act(overflowing())
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError, match=words):
        act(overflowing())
    net = MLP.from_weights([[[1.0]], [[1e30]]], [[0], [0]], activation="identity", dtype="float32")
    cache = net.forward([[1e30]])
    cache.a.list[-1][...] = np.inf
    cache.a.list[1][...] = 0.0
    with pytest.warns(RuntimeWarning, match="the gradient holds NaN"):
        net.backward(cache, [[0.0]])
