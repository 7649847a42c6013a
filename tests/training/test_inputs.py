"""What fit refuses, in one clear error before the first step: the net keeps its bits."""

import numpy as np
import pytest

from bpnet import LBFGS, MLP, SGD, Adagrad, Adam, RMSprop, StepDecay, fit
from tests.helpers.complaint import complains, refuses

X, Y = np.split(np.random.default_rng(9).normal(size=(20, 5)), [3], axis=1)
Y = np.abs(Y)


def make(dtype="float64"):
    return MLP.init((3, 4, 2), activation="tanh", output="identity", rng=1, dtype=dtype)


def assert_refused(kind, message, *data, net=None, **options):
    with refuses(net or make(), kind, message) as net:
        fit(net, *(data or (X, Y)), **({"epochs": 1} | options))


INTEGERS = {
    "epochs": (1, [0, -1], [1.0, "3", True, None]),
    "batch_size": (1, [0, -5], [2.5, "all", True]),
    "early_stopping": (0, [-1], [0.5, "2", False]),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name):
    least, low, wrong = INTEGERS[name]
    for value in low:
        message = f"{name} must be an integer >= {least}, not {value}"
        assert_refused(ValueError, message, **{name: value})
    for value in wrong:
        assert_refused(TypeError, f"{name} must be an integer, not {value!r}", **{name: value})


def test_flags_shuffle_and_seed():
    for name in ("progress", "resume", "keep_state"):
        for value in ("no", 1, None):
            message = f"{name} must be True or False, not {value!r}"
            assert_refused(TypeError, message, **{name: value})
    for wrong, kind in [("all", ValueError), (1, TypeError), (None, TypeError)]:
        assert_refused(kind, f'shuffle must be True, False or "each", not {wrong!r}', shuffle=wrong)
    assert_refused(ValueError, "rng, a seed, must be >= 0, not -1", rng=-1)
    for seed in (None, 1.5, "0", True, np.random):
        assert_refused(TypeError, "rng must be a seed (an integer >= 0) or a…", rng=seed)


@pytest.mark.parametrize("rule", ["adam", SGD, LBFGS, 0.1, lambda g: g])
def test_optimizer(rule):
    message = f"optimizer must be an Optimizer such as Adam(), not {rule!r}"
    assert_refused(TypeError, message, optimizer=rule)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (SGD(1e39), "learning_rate=1e+39 is out of range for float32"),
        (SGD(1e-60), "learning_rate=1e-60 is out of range for float32"),
        (Adagrad(epsilon=1e-60), "epsilon=1e-60 is out of range for float32"),
        (SGD(StepDecay(1e39)), "a learning rate must be in [0, 3.4e+38], but the schedule gave…"),
        (SGD([0.1, 0.2]), "learning_rate holds 2 numbers, but one is needed for each network of a "
         "stack, and theta has shape (26,)"),
    ],
)  # fmt: skip
def test_optimizer_that_does_not_suit_the_net(rule, message):
    assert_refused(ValueError, message, net=make("float32"), optimizer=rule)
    for name in ("l1", "l2"):
        message = f"{name} is too large for float32: 1e+39"
        assert_refused(ValueError, message, net=make("float32"), **{name: 1e39})


def test_net():
    with complains(TypeError, "net must be an MLP, not ndarray"):
        fit(X, Y, make(), epochs=1)
    message = "fit trains float32 and float64 nets, not complex128: use net.astype"
    assert_refused(TypeError, message, net=make("complex128"))
    net = make()
    net.b[3][1] = np.inf
    assert_refused(ValueError, "theta must be finite, but b[3][1] is inf: set it, or…", net=net)


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (ValueError, (X[:, :2], Y), "x has shape (20, 2), but this net takes 3 inputs: (m, 3), …"),
        (ValueError, (X, Y[:, :1]), "y has shape (20, 1), but this net has 2 outputs: (m, 2), …"),
        (ValueError, (X, Y[:, 0]), "y has shape (20,), but this net has 2 outputs: (m, 2), one…"),
        (ValueError, (X, [0, 1] * 10), "…class labels become rows by np.eye(2)[y]"),
        (ValueError, (X, Y[:-1]), "x has 20 rows, but y has 19: each sample needs both"),
        (ValueError, (X[:0], Y[:0]), "x is empty: it has shape (0, 3), but needs a row at least"),
        (ValueError, (X * np.nan, Y), "x must be finite, but x[0, 0] is nan"),
        (ValueError, (X, Y * np.inf), "y must be finite, but y[0, 0] is inf"),
        (ValueError, ([[1, 2, 3], [1, 2]], Y), "x is no array: x[1] has length 2, but x[0] has…"),
        (TypeError, (X.astype(str), Y),
         "x must hold real numbers, but holds text: give each category a column of 0 and 1"),
        (TypeError, (X * 1j, Y), "x must hold real numbers, but holds complex numbers"),
        (TypeError, (None, Y), "x must hold real numbers, but holds dtype object"),
        (TypeError, (np.ma.masked_array(X), Y), "x is a masked array, whose mask would be…"),
        (TypeError, (iter([X]), Y), "x gives batches, which hold their targets: leave y out"),
        (TypeError, (lambda: [X], Y), "x gives batches, which hold their targets: leave y out"),
        (TypeError, (None,), "without y, x must be an iterable of batches (x, y), or a function…"),
    ],
)  # fmt: skip
def test_data(kind, data, message):
    assert_refused(kind, message, *data)


def test_targets_outside_the_loss():
    for loss, y in (("cross_entropy", Y), ("binary_cross_entropy", Y + 1), ("poisson", Y - 5)):
        net = MLP.init((3, 2), loss=loss, rng=1)
        assert_refused(ValueError, f"the loss '{loss}' needs …", X, y, net=net)


WITH_BATCHES = "weights come with the batches (x, y, sample_weight) of an iterable"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 4}, "batch_size is for arrays; an iterable gives batches of its own size"),
        ({"sample_weight": np.ones(20)}, WITH_BATCHES),
        ({"class_weight": "balanced"}, WITH_BATCHES),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be an integer >= 1, not 0"),
        ({"metrics": "r2"}, "metrics of an iterable need validation=(x, y)"),
    ],
)
def test_options_that_are_not_for_iterables(options, message):
    assert_refused(ValueError, message, [(X, Y)], **options)
    message = "steps_per_epoch is for an iterable of batches, not for arrays"
    assert_refused(ValueError, message, steps_per_epoch=3)


class Scorer:
    """A metric without a name."""

    def __init__(self, value):
        self.value = value

    def __call__(self, y, a):
        return self.value

    def __repr__(self):
        return "scorer"


@pytest.mark.parametrize("value", ["good", [0.1, 0.2], None, 1j])
def test_metric_that_is_no_number(value):
    for metric, name in ((lambda y, a: value, "<lambda>"), (Scorer(value), "scorer")):
        with complains(TypeError, f"the metric {name} must return one number, not {value!r}"):
            fit(make(), X, Y, epochs=1, metrics=metric)
    for number in (1, np.float32(1), np.int64(1), np.array(1.0), True):
        history = fit(make(), X, Y, epochs=1, metrics=lambda y, a, number=number: number)
        assert history.metrics == {"<lambda>": [1.0]}
        assert type(history.metrics["<lambda>"][0]) is float


@pytest.mark.parametrize("size", [np.int64(7), 7, 20, 1000, None, "auto"])
@pytest.mark.parametrize("rule", [Adam(), RMSprop(momentum=0.5)])
def test_what_is_accepted(size, rule):
    history = fit(make(), X, Y, epochs=np.int32(2), batch_size=size, optimizer=rule, rng=np.int8(3))
    assert len(history) == 2
    for call in (lambda: fit(make(), X, Y, 3), lambda: fit(make(), X, Y)):
        with pytest.raises(TypeError, match=r"positional|epochs"):
            call()
