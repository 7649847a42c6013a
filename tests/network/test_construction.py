"""`MLP.init` and `MLP.from_weights`: what they make of their arguments, and what they refuse."""

import numpy as np
import pytest

from bpnet import ACTIVATIONS, LOSSES, MLP, Activation, Loss, Parameters, load
from bpnet.network.construction import as_dtype
from tests.helpers.complaint import complains

W2, W3 = [[1, 2, 3], [4, 5, 6]], [[7, 8], [9, 10], [11, 12], [13, 14]]
B2, B3 = [15, 16], [17, 18, 19, 20]


def names(net):
    return [f.name for f in net.activation.values()]


def test_the_articles_net_is_the_default():
    net = MLP.init((2, 2, 2), rng=0)
    assert repr(net) == "MLP(2-2-2, sigmoid, sigmoid; half_squared_error, float64)"
    assert (net.sizes, net.L, net.dtype) == ((2, 2, 2), 3, np.float64)
    assert net.activation[3] is ACTIVATIONS["sigmoid"]
    assert net.loss_function is LOSSES["half_squared_error"]
    wide = MLP.init((3, 4, 5), activation="relu", output="softmax", rng=0, dtype="float32")
    assert repr(wide) == "MLP(3-4-5, relu, softmax; half_squared_error, float32)"


def test_an_activation_for_all_layers_or_one_for_each():
    assert names(MLP.init((2, 3, 4, 1), activation="tanh", rng=0)) == ["tanh"] * 3
    each = MLP.init((2, 3, 4, 1), activation=("relu", "tanh", "identity"), rng=0)
    assert names(each) == ["relu", "tanh", "identity"]
    assert list(each.activation) == [2, 3, 4]
    own = Activation("own", np.sin, lambda z, a: np.cos(z))
    assert MLP.init((2, 3, 1), activation=own, rng=0).activation[3] is own
    assert MLP.init((2, 3, 1), activation=["relu", own], rng=0).activation[3] is own
    assert names(MLP.init((2, 3, 1), activation="relu", output=own, rng=0)) == ["relu", "own"]
    both = MLP.init((2, 3, 1), activation=["relu", "tanh"], output="tanh", rng=0)
    assert names(both) == ["relu", "tanh"]
    assert names(MLP.init((2, 3), activation="softmax", rng=0)) == ["softmax"]


def test_the_output_follows_the_loss_where_the_activation_cannot():
    for activation, loss, output in [
        ("relu", "cross_entropy", "softmax"),
        ("sigmoid", "cross_entropy", "softmax"),
        ("relu", "binary_cross_entropy", "sigmoid"),
        ("tanh", "poisson", "exp"),
        ("softplus", "poisson", "softplus"),
        ("relu", "half_squared_error", "relu"),
        ("sigmoid", "binary_cross_entropy", "sigmoid"),
    ]:
        net = MLP.init((2, 3, 2), activation=activation, loss=loss, rng=0)
        assert names(net) == [activation, output]


WRONG_SIZES = [
    ((3,), ValueError, "sizes must name the input and the output layer at least, but is (3,)"),
    ((), ValueError, "sizes must name the input and the output layer at least, but is ()"),
    ((2, 0, 1), ValueError, "sizes[1] must be an integer >= 1, not 0"),
    ((-2, 1), ValueError, "sizes[0] must be an integer >= 1, not -2"),
    ((2, 3.0), TypeError, "sizes[1] must be an integer, not 3.0"),
    ((2, True), TypeError, "sizes[1] must be an integer, not True"),
    ("22", TypeError, "sizes[0] must be an integer, not '2'"),
    (7, TypeError, "sizes must be a sequence of integers such as (2, 3, 1), not 7"),
    ((10**20, 2, 2 * 10**20), MemoryError,
     "800,000,000,000,000,000,002 parameters need …, but this machine…"),
]  # fmt: skip
OWN = Loss("own", lambda a, y: a, lambda a, y: a, output_range=(0, 1))
HIDDEN_SOFTMAX = (
    "softmax is for the output layer, but was given for the hidden layer {}: name it as output='softmax'"
)


@pytest.mark.parametrize(
    ("kind", "message", "rules"),
    [
        *((kind, message, {"sizes": sizes}) for sizes, kind, message in WRONG_SIZES),
        (ValueError, "the loss 'cross_entropy' needs rows of probabilities, …",
         {"activation": "relu", "output": "relu", "loss": "cross_entropy"}),
        (ValueError, "the loss 'cross_entropy' needs rows of probabilities, …",
         {"activation": ["relu", "relu"], "loss": "cross_entropy"}),
        (ValueError, "the loss 'own' needs outputs between 0 and 1, …",
         {"activation": "relu", "loss": OWN}),
        (ValueError, HIDDEN_SOFTMAX.format(2), {"activation": "softmax"}),
        (ValueError, HIDDEN_SOFTMAX.format(3),
         {"sizes": (2, 3, 4, 2), "activation": ["tanh", "softmax", "identity"]}),
        (ValueError, "activation names 3 layers, but this net has 2 with weights: "
         "one for each of the layers 2..3, or one for all", {"activation": ["tanh"] * 3}),
        (ValueError, "activation names the output layer's as 'tanh', but output says 'identity': "
         "give one of the two", {"activation": ["relu", "tanh"], "output": "identity"}),
        (ValueError, "unknown activation 'tahn': …", {"activation": ["relu", "tahn"]}),
        (ValueError, "unknown activation 'sofmax': …", {"output": "sofmax"}),
        (ValueError, "unknown loss 'mse': …", {"loss": "mse"}),
        (TypeError, "an activation is a name or an Activation object, not 3", {"activation": 3}),
        (TypeError, "an activation is a name or an Activation object, not None",
         {"activation": ["relu", None]}),
    ],
)  # fmt: skip
def test_wrong_sizes_and_rules_that_cannot_go_together_are_refused(kind, message, rules):
    with complains(kind, message):
        MLP.init(**({"sizes": (2, 3, 2), "rng": 0} | rules))


def test_sizes_may_be_any_sequence_of_integers():
    for sizes in ([2, 3, 1], np.array([2, 3, 1]), (np.int8(2), 3, 1), range(1, 4)):
        net = MLP.init(sizes, rng=0)
        assert net.sizes == tuple(sizes)
        assert all(type(n) is int for n in net.sizes)
    assert MLP.init((1, 1), rng=0).theta.shape == (2,)


def test_given_weights_are_copied_and_integers_become_floats():
    given = [np.array(W2), np.array(W3)], [np.array(B2), np.array(B3)]
    net = MLP.from_weights(*given)
    assert (net.sizes, net.dtype) == ((3, 2, 4), np.float64)
    np.testing.assert_array_equal(net.theta, [*range(1, 7), 15, 16, *range(7, 15), *range(17, 21)])
    net.theta -= 0.5
    assert net.W[2][0, 0] == 0.5
    assert given[0][0][0, 0] == 1
    kept = np.zeros((1, 2))
    net = MLP.from_weights([kept], [np.zeros(1)])
    assert not np.shares_memory(net.theta, kept)


def test_weights_may_be_keyed_by_layer_or_stacked():
    by_list = MLP.from_weights(W=[W2, W3], b=(B2, B3))
    by_layer = MLP.from_weights(W={3: W3, 2: W2}, b={2: B2, 3: B3})
    again = MLP.from_weights(W=by_list.W, b=by_list.b)
    for net in (by_layer, again):
        np.testing.assert_array_equal(net.theta, by_list.theta)
    square = np.arange(8.0).reshape(2, 2, 2)
    net = MLP.from_weights(W=square, b=square[:, 0])
    np.testing.assert_array_equal(net.W[3], square[1])
    np.testing.assert_array_equal(net.b[3], [4, 5])
    net = MLP.from_weights([W2, W3], [B2, B3], activation="tanh", output="identity", loss="huber")
    assert repr(net) == "MLP(3-2-4, tanh, identity; huber, float64)"
    net = MLP.from_weights([W2, W3], [B2, B3], activation=("elu", "softmax"), loss="cross_entropy")
    assert repr(net) == "MLP(3-2-4, elu, softmax; cross_entropy, float64)"


def test_the_dtype_is_that_of_the_weights():
    def dtype(W, b, **options):
        return MLP.from_weights([W], [b], **options).dtype

    single, double = np.ones((1, 2), "float32"), np.ones((1, 2))
    assert dtype(single, np.ones(1, "float32")) == "float32"
    assert dtype(single.astype(">f4"), np.ones(1, "<f4")) == "float32"
    assert dtype(single, np.ones(1)) == "float64"
    assert dtype(double, np.ones(1, "float32")) == "float64"
    assert dtype(single, [1]) == "float64"
    assert dtype(np.ones((1, 2), "float16"), np.ones(1, "float16")) == "float64"
    assert dtype(np.ones((1, 2), bool), [1]) == "float64"
    assert dtype(single + 1j, np.ones(1, "float32")) == "complex128"
    assert dtype(double, [1j]) == "complex128"
    assert dtype(double, [1], dtype="float32") == "float32"
    assert dtype(single, np.ones(1, "float32"), dtype=float) == "float64"
    assert dtype(double, [1j], dtype="complex64") == "complex64"
    assert dtype(double.astype(">f8"), [1]).isnative


@pytest.mark.parametrize(
    ("kind", "W", "b", "message"),
    [
        (TypeError, 7, [B2], "W must be a list of arrays or a dict by layer, not 7"),
        (TypeError, [W2], "15", "b must be a list of arrays or a dict by layer, not '15'"),
        (TypeError, [W2], b"15", "b must be a list of arrays or a dict by layer, not b'15'"),
        (TypeError, [[["a", "b"]]], [[1]], "W[2] must hold real numbers, but holds text"),
        (TypeError, [W2], [[None, None]], "b[2] must hold real numbers, but holds dtype object"),
        (ValueError, [W2, W3], [B2], "W has 2 layers, but b has 1: each layer needs both"),
        (ValueError, [], [],
         "W is empty: give W², ..., W^L, one matrix for each layer with weights"),
        (ValueError, [W2, [1.0, 2.0]], [B2, B3], "W[3] has shape (2,), but must be a matrix "
         "(neurons of this layer, neurons of the layer before)…"),
        (ValueError, [np.ones((2, 0))], [B2], "W[2] has shape (2, 0), but must be a matrix …"),
        (ValueError, [W2, W3], [B2, B2],
         "b[3] has shape (2,), but W[3] of shape (4, 2) has 4 neurons: "
         "b[3] must have shape (4,); is it transposed, as scikit-learn's coefs_ are? Pass "
         "[W.T for W in coefs_]"),
        (ValueError, [W2], [[B2]],
         "b[2] has shape (1, 2), but W[2] of shape (2, 3) has 2 neurons: …"),
        (ValueError, [W3, W2], [B3, B2],
         "W[3] has shape (2, 3), but the layer before has 4 neurons: W[3] needs as many columns"),
        (ValueError, {2: W2, 4: W3}, [B2, B3],
         "W is keyed by [2, 4], but the layers are 2, 3, ..., L"),
        (ValueError, {1: W2}, {1: B2}, "W is keyed by [1], but the layers are 2, 3, ..., L"),
        (ValueError, [W2], {3: B2}, "b is keyed by [3], but the layers are 2, 3, ..., L"),
        (ValueError, [[[1, np.nan]]], [[1]], "W[2] must be finite, but W[2][0, 1] is nan"),
        (ValueError, [W2], [[1, -np.inf]], "b[2] must be finite, but b[2][1] is -inf"),
        (ValueError, [[[1, 2], [3]]], [B2],
         "W[2] is no array: W[2][1] has length 1, but W[2][0] has length 2"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(kind, W, b, message):
    with complains(kind, message):
        MLP.from_weights(W, b)


def test_weights_that_do_not_fit_their_dtype_are_refused():
    complex_ones = "W and b hold complex numbers, which do not fit into float32"
    for kind, W, b, message in (
        (TypeError, [[1j]], [1], complex_ones),
        (TypeError, [[1]], [1j], complex_ones),
        (ValueError, [[1e300]], [1], "W[2] holds numbers too large for float32"),
        (ValueError, [[1]], [-1e39], "b[2] holds numbers too large for float32"),
    ):
        with complains(kind, message):
            MLP.from_weights([W], [b], dtype="float32")


def test_theta_is_single_or_double_real_or_complex():
    for dtype in ("float64", "float32", "complex128", "complex64"):
        assert as_dtype(dtype) == as_dtype(np.dtype(dtype)) == dtype
        assert as_dtype(np.dtype(dtype).newbyteorder(">")).isnative
    assert as_dtype(float) == "float64"
    known = "float64, float32, complex128, complex64"
    for wrong in ("float16", int, "int64", None, "double precision", object):
        with complains(ValueError, f"dtype must be one of {known}, not {wrong!r}"):
            as_dtype(wrong)
    for call in (
        lambda dtype: MLP.init((2, 1), rng=0, dtype=dtype),
        MLP.init((2, 1), rng=0).astype,
        lambda dtype: MLP.from_weights([W2], [B2], dtype=dtype),
    ):
        with complains(ValueError, f"dtype must be one of {known}, not 'int8'"):
            call("int8")


def test_softmax_of_one_output_is_refused_with_the_way_out(tmp_path):
    message = (
        "softmax of one output is always 1: for two classes take output='sigmoid' and "
        "loss='binary_cross_entropy', or two outputs"
    )
    with complains(ValueError, message):
        MLP.init((2, 1), loss="cross_entropy", rng=0)
    with complains(ValueError, message):
        MLP.from_weights([[[1.0, 2.0]]], [[0.0]], activation="softmax")
    two = MLP.init((2, 2), loss="cross_entropy", rng=0)
    old = MLP(Parameters((2, 1), np.ones(3)), two.activation, two.loss_function)
    old.save(tmp_path / "net")  # as 0.1 made them
    assert load(tmp_path / "net").activation[2].name == "softmax"


def test_weights_that_lie_the_other_way_round_are_asked_about():
    hint = "…; is it transposed, as scikit-learn's coefs_ are? Pass [W.T for W in coefs_]"
    W = [np.ones((4, 3)), np.ones((2, 4))]
    b = [np.ones(4), np.ones(2)]
    for given_W, given_b in [
        ([w.T for w in W], b),
        ([np.ones((3, 3)), np.ones((3, 2))], [np.ones(3), np.ones(2)]),  # the first is square
        ([np.ones((5, 3, 4)), W[1]], [np.ones((5, 4)), b[1]]),
    ]:
        with complains(ValueError, hint):
            MLP.from_weights(given_W, given_b)
    with complains(ValueError, "b[2] has shape (5,), but W[2] of shape (4, 3) has 4 neurons: …"):
        MLP.from_weights(W, [np.ones(5), b[1]])
    with complains(ValueError, "b[3] has shape (3,), …: b[3] must have shape (4,)"):
        MLP.from_weights([W[0], np.ones((4, 4))], [b[0], np.ones(3)])
