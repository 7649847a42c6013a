"""Bad input gets one clear error; all that is well meant just works, and is never written to."""

import numpy as np
import pytest

from bpnet import MLP, fit
from bpnet.checks import (
    all_finite,
    as_float,
    as_int,
    as_numbers,
    as_rows,
    as_shares,
    check_finite,
    converted,
    same_length,
)
from tests.helpers.complaint import complains

X = np.array([[1.0, -2, 3], [0.5, 4, -1], [2, 0, 1], [7, -5, 0.25]])  # exact in float16
Y = np.array([[1.0, 0], [0, 2], [-1, 0.5], [3, 1]])
WIDTH = "this net takes 3 inputs: (m, 3), one row a sample"
TARGETS = "this net has 2 outputs: (m, 2), one row a sample"


def make(loss="half_squared_error", dtype="float64", sizes=(3, 4, 2)):
    return MLP.init(sizes, activation="tanh", loss=loss, rng=0, dtype=dtype)


MASKED = "x is a masked array, whose mask would be ignored: fill it first"


class Sparse:
    def toarray(self):
        return X


BAD_X = [
    (X[:, :2], ValueError, f"x has shape (4, 2), but {WIDTH}"),
    (X[None], ValueError, f"x has shape (1, 4, 3), but {WIDTH}"),
    (X[:, 0], ValueError, f"x has shape (4,), but {WIDTH}"),
    (1.5, ValueError, f"x has shape (), but {WIDTH}"),
    ([], ValueError, f"x has shape (0,), but {WIDTH}"),
    (X[:0], ValueError, "x is empty: it has shape (0, 3), but needs a row at least"),
    ([[1, 2, np.nan]], ValueError, "x must be finite, but x[0, 2] is nan"),
    ([[1, 2, 3], [-np.inf, 2, 3]], ValueError, "x must be finite, but x[1, 0] is -inf"),
    ([[1, 2, 3], [4, 5]], ValueError, "x is no array: x[1] has length 2, but x[0] has length 3"),
    ([[1, 2, 3], 4], ValueError, "x is no array: x[1] is no row, but x[0] has length 3"),
    ([[1, [2, 3], 4], [1, 2, 3]], ValueError, "x is no array: its rows differ in length or depth"),
    ([["a", "b", "c"]], TypeError, "x must hold real numbers, but holds text: …"),
    (np.array([b"abc"]), TypeError, "x must hold real numbers, but holds bytes"),
    (X + 1j, TypeError, "x must hold real numbers, but holds complex numbers"),
    (X.astype(object), TypeError, "x must hold real numbers, but holds dtype object"),
    (None, TypeError, "x must hold real numbers, but holds dtype object"),
    ({"a": 1}, TypeError, "x must hold real numbers, but holds dtype object"),
    (X.astype("M8[s]"), TypeError, "x must hold real numbers, but holds dtype datetime64[s]"),
    (np.ma.masked_array(X, X < 0), TypeError, MASKED),
    (Sparse(), TypeError, "x is a sparse array: pass x.toarray()"),
]


@pytest.mark.parametrize(("x", "kind", "message"), BAD_X)
def test_a_wrong_x_is_refused(x, kind, message):
    net = make()
    for call in (net.forward, net.predict):
        with complains(kind, message):
            call(x)


LABELS = "; class labels become rows by np.eye(2)[y]"
BAD_Y = [
    (Y[:, :1], ValueError, f"y has shape (4, 1), but {TARGETS}"),
    (Y[None], ValueError, f"y has shape (1, 4, 2), but {TARGETS}"),
    (Y[:, 0], ValueError, f"y has shape (4,), but {TARGETS}"),
    ([0, 1, 1, 0], ValueError, f"y has shape (4,), but {TARGETS}{LABELS}"),
    (np.ones(4, bool), ValueError, f"y has shape (4,), but {TARGETS}{LABELS}"),
    (np.ones(4, "uint8"), ValueError, f"y has shape (4,), but {TARGETS}{LABELS}"),
    (3, ValueError, f"y has shape (), but {TARGETS}{LABELS}"),
    (np.ones((4, 1), int), ValueError, f"y has shape (4, 1), but {TARGETS}"),
    (Y[:3], ValueError, "x has 4 rows, but y has 3: each sample needs both"),
    (Y[0], ValueError, "x has 4 rows, but y has 1: each sample needs both"),
    (Y[:0], ValueError, "y is empty: it has shape (0, 2), but needs a row at least"),
    (np.where(Y > 2, np.nan, Y), ValueError, "y must be finite, but y[3, 0] is nan"),
    (np.where(Y > 2, np.inf, Y), ValueError, "y must be finite, but y[3, 0] is inf"),
    (Y.astype(str), TypeError, "y must hold real numbers, but holds text: …"),
    (Y.astype(object), TypeError, "y must hold real numbers, but holds dtype object"),
    (Y + 0j, TypeError, "y must hold real numbers, but holds complex numbers"),
]


@pytest.mark.parametrize(("y", "kind", "message"), BAD_Y)
def test_a_wrong_y_is_refused(y, kind, message):
    net = make()
    cache = net.forward(X)
    for call in (
        lambda: net.backward(cache, y),
        lambda: net.loss(cache, y),
        lambda: net.loss(a=cache.a[3], y=y),
    ):
        with complains(kind, message):
            call()


def test_a_vector_never_broadcasts_against_a_column():
    net = make(sizes=(1, 3, 1))
    x, y = X[:, :1], Y[:, :1]
    one_output = "this net has 1 output: (m, 1), one row a sample; pass y.reshape(-1, 1)"
    one_input = "this net takes 1 input: (m, 1), one row a sample; pass x.reshape(-1, 1)"
    cache = net.forward(x)
    for call in (lambda y: net.backward(cache, y), lambda y: net.loss(a=cache.a[3], y=y)):
        with complains(ValueError, f"y has shape (4,), but {one_output}"):
            call(y[:, 0])
    with complains(ValueError, f"x has shape (4,), but {one_input}"):
        net.forward(x[:, 0])
    with complains(ValueError, "a has shape (4,), but this net has 1 output: …"):
        net.loss(a=cache.a[3][:, 0], y=y)
    with complains(ValueError, "x has 1 rows, but y has 4: each sample needs both"):
        net.loss(a=[0.5], y=y)


def test_one_dimension_of_the_right_length_is_one_sample():
    net = make()
    np.testing.assert_array_equal(net.forward(X[1]).a[3], net.forward(X[1:2]).a[3])
    assert net.predict(X[1]).shape == (1, 2)
    cache = net.forward(X[1])
    grad = net.backward(cache, Y[1])
    np.testing.assert_array_equal(grad.theta, net.backward(cache, Y[1:2]).theta)
    assert net.loss(a=cache.a[3][0], y=Y[1]) == net.loss(cache, Y[1])


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("cross_entropy", [-0.5, 1.5], "the loss 'cross_entropy' needs targets between 0 and 1, …"),
        ("cross_entropy", [0.5, 0.25], "the loss 'cross_entropy' needs rows of y that sum to 1 …"),
        ("binary_cross_entropy", [0, 2], "the loss 'binary_cross_entropy' needs targets …"),
        ("poisson", [0, -1], "the loss 'poisson' needs targets between 0 and inf, …"),
    ],
)
def test_targets_outside_the_domain_of_the_loss_are_refused(loss, y, message):
    net = make(loss)
    cache = net.forward(X[0])
    for call in (
        lambda: net.backward(cache, y),
        lambda: net.loss(cache, y),
        lambda: net.loss(a=cache.a[3], y=y),
    ):
        with complains(ValueError, message):
            call()


@pytest.mark.parametrize(("k", "name"), [(4, "W[2][1, 1]"), (13, "b[2][1]"), (25, "b[3][1]")])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_theta_that_is_not_finite_is_refused_by_name(k, name, value):
    net = make()
    net.theta[k] = value
    message = "theta must be finite, but {} is {}: set it, or start again from finite weights"
    for call in (net.forward, net.predict):
        with complains(ValueError, message.format(name, value)):
            call(X)


def test_theta_of_the_wrong_shape_or_kind_is_refused():
    net = make()
    before = net.theta.copy()
    for shape in ((25,), (), (1, 26)):
        with complains(ValueError, f"theta has shape (26,), but was given shape {shape}"):
            net.theta = np.zeros(shape)
    with complains(TypeError, "theta must hold real numbers, but holds complex numbers"):
        net.theta = before + 0j
    with complains(ValueError, "theta must be finite, but theta[0] is nan"):
        net.theta = np.full(26, np.nan)
    np.testing.assert_array_equal(net.theta, before)
    single = make(dtype="float32")
    with complains(ValueError, "theta holds numbers too large for float32"):
        single.theta = np.full(26, 1e300)
    with complains(ValueError, "x holds numbers too large for float32"):
        single.forward([[1e39, 0, 0]])
    with complains(ValueError, "y holds numbers too large for float32"):
        single.backward(single.forward(X[0]), [[0, -1e39]])
    assert np.isfinite(single.predict([[1e38, 0, 0]])).all()
    with np.errstate(all="raise"):  # those that underflow become 0
        assert converted(np.array([1e-300]), "float32", "x") == 0
        assert single.predict([[1e-300, 0, 0]]).shape == (1, 2)


LAYOUTS = {
    "list": lambda v: v.tolist(),
    "tuple": lambda v: tuple(map(tuple, v.tolist())) if v.ndim > 1 else tuple(v.tolist()),
    "float16": lambda v: v.astype("float16"),
    "float32": lambda v: v.astype("float32"),
    "longdouble": lambda v: v.astype("longdouble"),
    "fortran": np.asfortranarray,
    "strided": lambda v: np.repeat(v, 2, axis=0)[::2].repeat(3, axis=-1)[..., ::3],
    "reversed": lambda v: np.ascontiguousarray(v[::-1])[::-1],
    "big-endian": lambda v: v.astype(">f8"),
    "big-endian single": lambda v: v.astype(">f4"),
    "unaligned": lambda v: unaligned(v),
    "subclass": lambda v: v.view(np.recarray),
}


def unaligned(values):
    raw = bytearray(values.nbytes + 1)
    array = np.frombuffer(raw, values.dtype, offset=1, count=values.size).reshape(values.shape)
    array[...] = values
    return array


def results(net, x, y, weight, mask):
    cache = net.forward(x, mask={2: mask})
    grad = net.backward(cache, y, sample_weight=weight)
    plain = net.forward(x)
    E = [net.loss(plain, y), net.loss(a=plain.a[3], y=y), net.loss(cache, y, sample_weight=weight)]
    return [net.predict(x), *cache.a.values(), *grad.delta.values(), grad.theta, np.array(E)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_layout_just_works_and_gives_the_same_bits(layout, dtype):
    rng = np.random.default_rng(1)
    x = rng.integers(-99, 99, (9, 30)) / 64  # wide enough for BLAS to take different paths
    y, weight = rng.integers(0, 3, (9, 11)) / 4, rng.integers(1, 5, 9) / 2
    mask = rng.integers(0, 2, (9, 20)) * 2.0
    net = make(sizes=(30, 20, 11), dtype=dtype)
    change = LAYOUTS[layout]
    plain = results(net, x, y, weight, mask)
    given = [change(v) for v in (x, y, weight, mask)]
    before = [np.asarray(v).tobytes() for v in given]
    for v in given:
        if isinstance(v, np.ndarray) and layout != "subclass":
            v.flags.writeable = False
    for got, expected in zip(results(net, *given), plain, strict=True):
        assert type(got) is np.ndarray
        assert got.dtype.isnative
        assert got.tobytes() == expected.tobytes()
    assert [np.asarray(v).tobytes() for v in given] == before


@pytest.mark.parametrize("kind", [bool, int, "int8", "uint16", ">i4"])
def test_integers_and_booleans_are_numbers(kind):
    x, y = np.array([[1, 0, 1], [0, 1, 1]]), np.array([[0, 1], [1, 1]])
    plain = results(make(), x * 1.0, y * 1.0, [1, 1], np.ones((2, 4)))
    given = x.astype(kind), y.astype(kind), np.ones(2, kind), np.ones((2, 4), kind)
    for got, expected in zip(results(make(), *given), plain, strict=True):
        assert got.tobytes() == expected.tobytes()


def test_arrays_on_disk_and_weights_in_every_layout_give_the_same_net(tmp_path):
    np.save(tmp_path / "x.npy", X)
    disk, net = np.load(tmp_path / "x.npy", mmap_mode="r"), make()
    assert net.predict(disk).tobytes() == net.predict(X).tobytes()
    assert type(net.predict(disk)) is type(net.forward(disk).a[1]) is np.ndarray
    W, b = [X, Y.T], [X[:, 1], Y[2]]
    plain = MLP.from_weights(W, b)
    for layout, change in LAYOUTS.items():
        if "16" not in layout and "single" not in layout and layout != "float32":
            given = [change(v) for v in W], [change(v) for v in b]
            net = MLP.from_weights(*given)
            assert net.theta.tobytes() == plain.theta.tobytes()
            assert type(net.theta) is np.ndarray


def test_masks_are_refused_where_they_do_not_fit():
    for mask, kind, message in [
        ({3: np.ones((4, 2))}, ValueError, "mask[3] is for no layer: dropout is for 1..2"),
        ({0: np.ones((4, 3))}, ValueError, "mask[0] is for no layer: dropout is for 1..2"),
        ({"a": np.ones((4, 2))}, ValueError, "mask['a'] is for no layer: dropout is for 1..2"),
        ({2: np.ones(4)}, ValueError, "mask[2] has shape (4,), but a[2] has (4, 4)"),
        ({2: np.full((4, 4), np.nan)}, ValueError, "mask[2] must be finite, but mask[2][0, 0]…"),
        ({2: np.full((4, 4), "a")}, TypeError, "mask[2] must hold real numbers, but holds text"),
        (np.ones((4, 4)), TypeError, "mask must be a dict by layer such as {2: array}, not …"),
    ]:
        with complains(kind, message):
            make().forward(X, mask=mask)


def test_a_refused_call_leaves_a_reused_cache_as_it_was():
    net = make()
    cache = net.forward(X, mask={2: np.full((4, 4), 0.5)})
    expected = net.backward(cache, Y).theta
    for x, mask in [
        (X[:, :2], None),
        (2 * X, {2: np.ones(4)}),
        (2 * X, {1: np.zeros((4, 3)), 2: np.ones(4)}),
    ]:
        with pytest.raises(ValueError, match="has shape"):
            net.forward(x, cache=cache, mask=mask)
        np.testing.assert_array_equal(net.backward(cache, Y).theta, expected)


def test_a_cache_of_another_net_is_refused():
    net, x = make(), X
    others = [make(dtype="float32"), make(sizes=(3, 5, 2)), make(loss="huber")]
    for other in (*others, MLP.init((3, 4, 2), activation="elu", rng=0)):
        with complains(ValueError, "this cache is of a forward pass of another net"):
            net.backward(other.forward(x), Y)
        with complains(ValueError, "this cache is of a forward pass of another net"):
            net.loss(other.forward(x), Y)
    with complains(TypeError, "cache must be what forward returned, not array(…)"):
        net.backward(net.predict(x), Y)


@pytest.mark.parametrize(
    ("weight", "kind", "message"),
    [
        ([1, 2, 3], ValueError, "… has shape (3,), but there are 4 samples: it needs (4,)"),
        (np.ones((4, 1)), ValueError, "… has shape (4, 1), but there are 4 samples: it needs (4,)"),
        (2.0, ValueError, "… has shape (), but there are 4 samples: it needs (4,)"),
        ([1, -0.5, 1, 1], ValueError, "… must be >= 0, but holds -0.5"),
        ([0, 0, 0, 0], ValueError, "… is 0 for every sample: give one a weight"),
        ([1, np.nan, 1, 1], ValueError, "… must be finite, but sample_weight[1] is nan"),
        ([1, 1, 1, np.inf], ValueError, "… must be finite, but sample_weight[3] is inf"),
        ([1j, 1, 1, 1], TypeError, "… must hold real numbers, but holds complex numbers"),
        (["a", "b", "c", "d"], TypeError, "… must hold real numbers, but holds text"),
    ],
)
def test_wrong_sample_weights_are_refused(weight, kind, message):
    net = make()
    cache = net.forward(X)
    message = message.replace("…", "sample_weight")
    for call in (net.backward, net.loss):
        with complains(kind, message):
            call(cache, Y, sample_weight=weight)


def test_shares_add_up_to_1_whatever_the_size_of_the_weights():
    assert as_shares(None, 3, np.dtype("float64")) is None
    for scale in (1, 1e-300, 1e-320, 1e308 / 3, 5e307):
        weights = np.array([1, 0, 3, 2]) * scale
        with np.errstate(all="raise", under="ignore"):
            shares = as_shares(weights, 4, np.dtype("float32"))
        np.testing.assert_allclose(shares, [1 / 6, 0, 1 / 2, 1 / 3], rtol=1e-3)
        assert shares.dtype == "float32"
    with np.errstate(all="raise"):
        assert as_shares([1, 1e-320], 2, np.dtype("float32"))[1] == 0
    single = np.array([0.1, 0.7, 0.3], "float32")  # shares are taken in double precision
    double = as_shares(single.astype("float64"), 3, np.dtype("float64"))
    np.testing.assert_array_equal(as_shares(single, 3, np.dtype("float64")), double)


def test_numbers_are_not_copied_without_need():
    assert as_numbers(X, "x") is X
    assert as_rows(X, 3, X.dtype, "x", "input") is X
    assert converted(X, "float64", "x") is X
    assert np.shares_memory(as_rows(X[0], 3, X.dtype, "x", "input"), X)
    assert as_numbers([1j], "x", allow_complex=True).dtype == complex
    assert same_length(X, Y) is None
    x = np.asfortranarray(np.ones((4, 3)))
    assert as_rows(x, 3, x.dtype, "x", "input").flags.c_contiguous


def test_finite_is_told_even_where_the_sum_overflows():
    most = np.finfo("float64").max
    with np.errstate(all="raise"):
        assert all_finite(np.array([most, most]))
        assert all_finite(np.array([most, -most, 1]))
        assert not all_finite(np.array([1, np.nan]))
        assert not all_finite(np.array([np.inf, -np.inf]))
        assert not all_finite(np.array([[most, most, np.inf]]))
    assert all_finite(np.array([], dtype=float))
    assert check_finite(np.array([1.0]), "v") is None
    with complains(ValueError, "v must be finite, but v[1, 2] is inf"):
        check_finite(np.array([[0, 1, 2], [3, 4, np.inf]]), "v")
    x = np.ones((3000, 3))
    x[2100, 1] = np.nan  # counted through, not chunk by chunk
    with complains(ValueError, "x must be finite, but x[2100, 1] is nan"):
        MLP.init((3, 2), rng=0).predict(x)


def test_rows_that_lie_as_columns_are_asked_about():
    net = MLP.init((3, 2), rng=0)
    with complains(ValueError, "x has shape (3, 5), but …one row a sample; samples are rows: x.T?"):
        net.predict(np.ones((3, 5)))
    with complains(ValueError, "y has shape (2, 5), but …one row a sample; samples are rows: y.T?"):
        fit(net, np.ones((5, 3)), np.ones((2, 5)), epochs=1)


def test_what_is_wrong_in_a_table_is_told_by_column():
    pd = pytest.importorskip("pandas", reason="tables are of pandas")
    net = MLP.init((2, 1), rng=0)
    good = {"age": [1.0, 2.0]}
    for second, message in [
        (["m", "f"], "its column 'sex' holds text: give each category a column of 0 and 1"),
        ([True, False], "its column 'sex' is bool: pass x.astype(float)"),
        (pd.array([1, None], dtype="Int64"), "its column 'sex' is Int64: pass x.astype(float)"),
        (pd.array([1, 2], dtype="Int64"), "its column 'sex' is Int64: pass x.astype(float)"),
        (np.array(["2020", "2021"], "M8[s]"), "its column 'sex' holds dtype datetime64…"),
        ([1 + 1j, 0], "its column 'sex' holds complex numbers"),
        ([object(), 1], "its column 'sex' holds dtype object"),
    ]:
        with complains(TypeError, f"x must hold real numbers, but {message}"):
            net.predict(pd.DataFrame({**good, "sex": second}))
    assert net.predict(pd.DataFrame({**good, "sex": [1, 2]})).shape == (2, 1)
    x = np.ones((2, 2))
    with complains(ValueError, "y has shape (2,), but …; pass y.to_frame()"):
        fit(net, x, pd.Series([0.0, 1.0]), epochs=1)
    with complains(ValueError, "y has shape (2,), but …; pass y.reshape(-1, 1)"):
        fit(net, x, np.array([0.0, 1.0]), epochs=1)
    labels = "y must hold real numbers, but holds text: labels become rows by np.eye(n)[np.unique(…"
    for y in (pd.Series(["a", "b"]), pd.Series(["a", "b"], dtype="category"), ["a", "b"]):
        with complains(TypeError, labels):
            fit(net, x, y, epochs=1)
    missing = pd.Series([True, None], dtype="object")
    with complains(TypeError, "y must hold real numbers, but lacks values (NA): fill them or…"):
        fit(net, x, missing, epochs=1)


def test_numbers_of_any_kind_and_bounds():
    for value in (3, np.int8(3), np.array(3)):
        assert (type(as_int(value, "n", least=3)), as_int(value, "n", least=3)) == (int, 3)
    with complains(ValueError, "n must be an integer >= 4, not 3"):
        as_int(3, "n", least=4)
    for wrong in (3.0, "3", None, True, np.True_):
        with complains(TypeError, f"n must be an integer, not {wrong!r}"):
            as_int(wrong, "n", least=0)
    for value in (0.5, np.float32(0.5), np.array(0.5)):
        assert (type(as_float(value, "r")), as_float(value, "r")) == (float, 0.5)
    assert as_float(3, "r", least=3) == 3
    assert as_float(-1, "r", above=-2, below=0) == -1
    for wrong in ("0.5", b"1", None, True, np.True_, [1.0, 2.0], 1j):
        with complains(TypeError, f"r must be a number, not {wrong!r}"):
            as_float(wrong, "r")
    for value, bounds, text in [
        (0, {"above": 0}, "r must be > 0, not 0"),
        (1, {"above": 0, "below": 1}, "r must be > 0 and < 1, not 1"),
        (-0.5, {"least": 0}, "r must be >= 0, not -0.5"),
        (1, {"least": 0, "below": 1}, "r must be >= 0 and < 1, not 1"),
        (np.nan, {}, "r must be finite, not nan"),
        (np.inf, {"above": 0}, "r must be finite and > 0, not inf"),
        (-np.inf, {}, "r must be finite, not -inf"),
    ]:
        with complains(ValueError, text):
            as_float(value, "r", **bounds)
