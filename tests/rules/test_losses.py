"""Losses: value, derivative, reduction, domains, and which output goes with which loss."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest

from bpnet import ACTIVATIONS, LOSSES, MLP, Loss, huber
from bpnet.rules.losses import check_pair, check_targets, floor, get_loss, log, reduce, sign
from bpnet.testing.cases import draw_targets
from tests.helpers.complaint import complains
from tests.helpers.nets import PAIRS

NAMES = list(LOSSES)
OUTPUTS = {  # which go with each loss
    "half_squared_error": set(ACTIVATIONS),
    "cross_entropy": {"softmax"},
    "binary_cross_entropy": {"sigmoid", "softmax"},
    "absolute_error": set(ACTIVATIONS),
    "huber": set(ACTIVATIONS),
    "poisson": {"sigmoid", "softplus", "exp", "softmax"},
}
JOINED = {
    "half_squared_error": "identity",
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "poisson": "exp",
}


def samples(loss, m=6, n=3, seed=1):
    rng = np.random.default_rng(seed)
    a = ACTIVATIONS["softmax"].f(rng.normal(size=(m, n)))
    if loss in ("half_squared_error", "absolute_error", "huber"):
        a = rng.normal(0, 1.5, (m, n))
    return a, draw_targets(LOSSES[loss], (m, n), rng)


def formula(name, a, y):
    """One output's share of the loss, from the textbook."""
    d = a - y
    return {
        "half_squared_error": lambda: d**2 / 2,
        "cross_entropy": lambda: -y * math.log(a),
        "binary_cross_entropy": lambda: -y * math.log(a) - (1 - y) * math.log(1 - a),
        "absolute_error": lambda: abs(d),
        "huber": lambda: d**2 / 2 if abs(d) <= 1 else abs(d) - 0.5,
        "poisson": lambda: a - y * math.log(a),
    }[name]()


def test_the_table_lists_what_the_design_lists():
    assert list(OUTPUTS) == NAMES
    assert all(loss.name == name for name, loss in LOSSES.items())


@pytest.mark.parametrize("name", NAMES)
def test_E_is_the_textbook_formula_element_by_element(name):
    a, y = samples(name)
    expected = [[formula(name, *pair) for pair in zip(*rows, strict=True)] for rows in zip(a, y, strict=True)]
    np.testing.assert_allclose(LOSSES[name].E(a, y), expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", NAMES)
def test_dE_is_the_derivative_of_E(name):
    loss, (a, y) = LOSSES[name], samples(name)
    np.testing.assert_allclose(loss.E(a + 1e-30j, y).imag / 1e-30, loss.dE(a, y), rtol=1e-13)
    assert loss.analytic


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_shape_and_dtype_are_kept_and_nothing_is_written_to(name, dtype):
    loss = LOSSES[name]
    a, y = (v.astype(dtype).reshape(2, 3, 3) for v in samples(name))
    before = a.tobytes(), y.tobytes()
    rules = [loss.E, loss.dE] + ([loss.E_z] if loss.E_z else [])
    for rule in rules:
        out = rule(a, y)
        assert (out.shape, out.dtype) == (a.shape, a.dtype)
        assert not np.shares_memory(out, a)
        assert not np.shares_memory(out, y)
    assert (a.tobytes(), y.tobytes()) == before


def test_reduce_sums_over_outputs_and_averages_over_samples():
    share = np.arange(12.0).reshape(2, 2, 3)  # (networks, m, n_L)
    np.testing.assert_array_equal(reduce(share), [(3 + 12) / 2, (21 + 30) / 2])
    assert reduce(share[0]) == 7.5
    assert reduce(share[0], np.array([0.25, 0.75])) == 9.75
    np.testing.assert_array_equal(reduce(share, np.array([0.25, 0.75])), [9.75, 27.75])


@pytest.mark.parametrize(("name", "output"), JOINED.items())
def test_the_joined_form_is_the_general_one(name, output):
    loss, f, rng = LOSSES[name], ACTIVATIONS[output], np.random.default_rng(4)
    z, y = rng.normal(0, 2, (6, 3)), samples(name)[1]
    a = f.f(z)
    np.testing.assert_allclose(loss.E_z(z, y), loss.E(a, y), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(f.backward(loss.dE(a, y), z, a), a - y, rtol=1e-12, atol=1e-13)
    E_z = loss.E_z(z + 1e-30j, y)
    if output != "softmax":  # softmax mixes the outputs
        np.testing.assert_allclose(E_z.imag / 1e-30, a - y, rtol=1e-12, atol=1e-13)


def test_which_output_a_loss_is_joined_with():
    for name, loss in LOSSES.items():
        assert loss.joined_output == JOINED.get(name)
        assert (loss.E_z is not None) == (name in JOINED)
        for output in ACTIVATIONS.values():
            assert loss.joins(output) == (JOINED.get(name) == output.name)


def test_of_pass_takes_z_only_for_the_joined_output():
    loss, y = LOSSES["binary_cross_entropy"], np.array([[1.0, 0.0]])
    z = np.array([[-800.0, 800.0]])
    with np.errstate(under="ignore"):
        a = ACTIVATIONS["sigmoid"].f(z)
    np.testing.assert_array_equal(loss.of_pass(z, a, y, ACTIVATIONS["sigmoid"]), [[800, 800]])
    a = np.array([[0.25, 0.75]])
    by_a = loss.of_pass(z, a, y, dataclasses.replace(ACTIVATIONS["sigmoid"], name="own"))
    np.testing.assert_allclose(by_a, [[math.log(4), math.log(4)]], rtol=1e-15)


@pytest.mark.parametrize(("output", "name"), PAIRS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_E_z_and_E_stay_finite_wherever_the_output_saturates(output, name, dtype):
    z = np.array([[1e4, -1e4], [-1e4, 1e4], [0, 1e4], [40, -40], [-800, 800]], dtype)
    f, loss = ACTIVATIONS[output], LOSSES[name]
    for edge in ([0, 1], [1, 0]):
        y = np.tile(np.array(edge, dtype), (len(z), 1))
        with np.errstate(all="raise", under="ignore"):
            a = f.f(z)
            values = [loss.E(a, y), loss.dE(a, y), loss.of_pass(z, a, y, f)]
        assert all(np.isfinite(v).all() for v in values)


def test_logarithm_and_quotient_of_0():
    for dtype in ("float64", "float32", "complex128"):
        tiny = np.finfo(dtype).tiny
        zero = np.zeros(1, dtype)
        assert log(zero)[0] == np.log(tiny)
        assert floor(zero)[0] == pytest.approx(tiny**0.9, rel=1e-6)
        assert np.isfinite(1 / floor(zero)[0] * 1e3)
        assert log(zero).dtype == floor(zero).dtype == dtype
    x = np.array([1e-200, 0.5, 3])
    np.testing.assert_array_equal(floor(x), x)
    np.testing.assert_array_equal(log(x), np.log(x))


def test_sign_is_by_sign_in_the_dtype_given():
    d = np.array([-3, -0.0, 0, 2e-9], "float32")
    np.testing.assert_array_equal(sign(d), [-1, 0, 0, 1])
    assert sign(d).dtype == "float32"
    assert sign(d.astype(complex)).dtype == complex


@pytest.mark.parametrize("limit", [0.5, 1, 2.5])
def test_huber_is_a_square_near_0_and_a_line_beyond_the_limit(limit):
    loss = huber(limit)
    a, y = np.array([0.3, limit, 4.0, -6.0]), np.array([0.1, 0.0, 0.5, 1.0])
    d = [0.3 - 0.1, limit, 3.5, -7.0]
    expected = [v * v / 2 if abs(v) <= limit else limit * (abs(v) - limit / 2) for v in d]
    np.testing.assert_allclose(loss.E(a, y), expected, rtol=1e-15)
    np.testing.assert_allclose(loss.dE(a, y), [max(-limit, min(limit, v)) for v in d])
    assert loss.name == ("huber" if limit == 1 else f"huber({limit})")
    assert loss.analytic
    assert loss.kinks == ()


def test_huber_wants_a_positive_limit():
    for limit in (0, -1):
        with complains(ValueError, f"limit must be > 0, not {limit}"):
            huber(limit)
    for limit in (math.nan, math.inf):
        with complains(ValueError, f"limit must be finite and > 0, not {limit}"):
            huber(limit)
    with complains(TypeError, "limit must be a number, not 'wide'"):
        huber("wide")


def test_a_loss_survives_copy_and_pickle():
    for loss in LOSSES.values():
        for twin in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert twin is loss
    assert pickle.loads(pickle.dumps(huber(3))) is huber(3)


def test_what_the_table_says_of_each():
    inf, unit = math.inf, (0, 1)
    outputs = {"cross_entropy": unit, "binary_cross_entropy": unit, "poisson": (0, inf)}
    for name, loss in LOSSES.items():
        assert loss.output_range == outputs.get(name, (-inf, inf))
        assert loss.target_range == outputs.get(name, (-inf, inf))
        assert loss.distribution == (name == "cross_entropy")
        assert loss.kinks == ((0.0,) if name == "absolute_error" else ())


def test_a_loss_of_ones_own():
    own = Loss("quartic", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    assert get_loss(own) is own
    assert (own.joined_output, own.E_z, own.kinks) == (None, None, ())
    assert (own.analytic, own.distribution) == (False, False)
    assert own.output_range == own.target_range == (-math.inf, math.inf)
    assert not any(own.joins(f) for f in ACTIVATIONS.values())
    with pytest.raises(AttributeError):
        own.name = "other"


def test_an_unknown_loss_is_answered_with_the_known_ones():
    assert get_loss("huber") is LOSSES["huber"]
    known = ", ".join(NAMES)
    for name, guess in {
        "mse": "'half_squared_error', which is half of it, summed over the outputs",
        "MAE": "'absolute_error', which is summed over the outputs",
        "log_loss": "'cross_entropy', for classes, or 'binary_cross_entropy', for labels",
        "hubert": "'huber'",
    }.items():
        message = f"unknown loss {name!r}: the known ones are {known}; did you mean {guess}?"
        with complains(ValueError, message):
            get_loss(name)
    with complains(ValueError, f"unknown loss 'xyz': the known ones are {known}"):
        get_loss("xyz")
    for name in ("BCE", "binary_crossentropy", "BinaryCrossEntropy"):
        assert get_loss(name) is LOSSES["binary_cross_entropy"]
    assert get_loss("categorical_crossentropy") is get_loss("crossentropy")
    for wrong in (3, None, abs):
        with complains(TypeError, f"a loss is a name or a Loss object, not {wrong}"):
            get_loss(wrong)


def wrong(what):
    def mean(a, y):
        return (a - y).mean(axis=-1, keepdims=True)

    rules = {"E": lambda a, y: (a - y) ** 2, "dE": lambda a, y: 2 * (a - y)}
    return Loss("own", **{**rules, what: mean}, joined_output="identity" if what == "E_z" else None)


@pytest.mark.parametrize("what", ["E", "dE", "E_z"])
def test_a_loss_that_reduces_by_itself_is_refused(what):
    net = MLP.init((2, 3), activation="identity", loss=wrong(what), rng=0)
    x, y = [[1.0, 2.0], [3.0, 5.0]], [[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]
    cache = net.forward(x)
    of = "z" if what == "E_z" else "a"
    message = (
        "the loss 'own' returned shape (2, 1) for outputs of shape (2, 3): "
        f"{what}({of}, y) is taken element by element, and summed by bpnet"
    )
    with complains(ValueError, message):
        if what == "dE":
            net.backward(cache, y)
        else:
            net.loss(cache, y)


def test_a_loss_that_returns_one_number_is_refused():
    own = Loss("own", E=lambda a, y: float(((a - y) ** 2).sum()), dE=lambda a, y: 2 * (a - y))
    net = MLP.init((2, 3), loss=own, rng=0)
    with complains(ValueError, "the loss 'own' returned shape () for outputs of shape (1, 3): …"):
        net.loss(net.forward([1, 2]), [0, 0, 1])


def test_which_pairs_go_together():
    for name, loss in LOSSES.items():
        for output in ACTIVATIONS.values():
            if output.name in OUTPUTS[name]:
                assert check_pair(loss, output) is None
            else:
                with complains(ValueError, f"the loss {name!r} needs … {output.name!r} does not …"):
                    check_pair(loss, output)
    assert [(f, name) for name in NAMES for f in ACTIVATIONS if f in OUTPUTS[name]] == PAIRS


def test_a_pair_that_cannot_go_together_is_answered_with_one_that_can():
    cases = {
        ("cross_entropy", "tanh"): "the loss 'cross_entropy' needs rows of probabilities, which "
        "the output activation 'tanh' does not give: use output='softmax'",
        ("cross_entropy", "sigmoid"): "the loss 'cross_entropy' needs rows of probabilities, which "
        "the output activation 'sigmoid' does not give: use output='softmax', or "
        "loss='binary_cross_entropy' for independent labels",
        ("binary_cross_entropy", "relu"): "the loss 'binary_cross_entropy' needs outputs between 0 "
        "and 1, which the output activation 'relu' does not give: use output='sigmoid'",
        ("poisson", "tanh"): "the loss 'poisson' needs outputs between 0 and inf, which the output "
        "activation 'tanh' does not give: use output='exp'",
    }
    for (loss, output), message in cases.items():
        with complains(ValueError, message):
            check_pair(LOSSES[loss], ACTIVATIONS[output])
    own = Loss("own", E=lambda a, y: a, dE=lambda a, y: a, output_range=(-1, 1))
    assert check_pair(own, ACTIVATIONS["tanh"]) is None
    assert check_pair(own, ACTIVATIONS["sigmoid"]) is None
    with complains(ValueError, "the loss 'own' needs outputs between -1 and 1, …: use another loss"):
        check_pair(own, ACTIVATIONS["elu"])


ROWS = "rows of y that sum to 1 (one-hot or probabilities)"


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("cross_entropy", [0.5, 0.7, -0.2], "targets between 0 and 1, but y holds -0.2"),
        ("cross_entropy", [0.0, 1.5, 0.0], "targets between 0 and 1, but y holds 1.5"),
        ("binary_cross_entropy", [0, 1, 2.0], "targets between 0 and 1, but y holds 2"),
        ("binary_cross_entropy", [-1e-9, 1, 0], "targets between 0 and 1, but y holds -1e-09"),
        ("poisson", [0, 3.0, -1], "targets between 0 and inf, but y holds -1"),
        ("cross_entropy", [0.5, 0.25, 0], f"{ROWS}, but a row sums to 0.75"),
        ("cross_entropy", [0.5, 0.5, 2e-5], f"{ROWS}, but a row sums to 1.00002"),
    ],
)
def test_targets_outside_the_domain_are_refused(loss, y, message):
    fine = [0.0, 1.0, 0.0]
    with complains(ValueError, f"the loss {loss!r} needs {message}"):
        check_targets(LOSSES[loss], np.array([fine, y]))


def test_targets_at_the_edge_of_the_domain_are_taken_as_they_are():
    y = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for loss in LOSSES.values():
        assert check_targets(loss, y) is y
    assert check_targets(LOSSES["poisson"], 1e6 * y)[0, 1] == 1e6
    assert check_targets(LOSSES["huber"], -1e6 * y)[0, 1] == -1e6


def test_rows_that_are_off_by_float32_rounding_are_normalised():
    thirds = np.full((2, 3), np.float32(1) / np.float32(3)).astype(float)
    thirds[1] = [0.2, 0.3, 0.5]
    before = thirds.copy()
    got = check_targets(LOSSES["cross_entropy"], thirds)
    assert np.abs(got.sum(axis=-1) - 1).max() < 4e-16
    np.testing.assert_array_equal(thirds, before)
    assert abs(before[0].sum() - 1) > 1e-9
    stacked = check_targets(LOSSES["cross_entropy"], np.stack([before] * 4))
    np.testing.assert_array_equal(stacked, np.stack([got] * 4))
    eps = np.finfo(float).eps
    tenths = np.array([[0.5 + 4 * eps, 0.5, *[0.0] * 8]])  # off by what ten roundings may give
    assert check_targets(LOSSES["cross_entropy"], tenths) is tenths
    exact = before[1:]
    assert check_targets(LOSSES["cross_entropy"], exact) is exact
    nearly = np.array([[0.5, 0.5 + 9e-6]])
    assert abs(check_targets(LOSSES["cross_entropy"], nearly).sum() - 1) < 4e-16
