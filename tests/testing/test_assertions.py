"""Somebody's own passes: the right ones pass, the wrong ones are told by name."""

import os
import re
import runpy
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import bpnet.testing
from bpnet import Activation, Loss, huber
from bpnet.testing import case
from tests.helpers.homework import Homework, NoSlope, Summed

SINE = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z), analytic=True)
QUARTIC = Loss("quartic", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3, analytic=True)


# ---- right passes pass


@pytest.mark.parametrize(
    ("homework", "options"),
    [
        (Homework(), {}),
        (Homework(), {"dtype": "float32"}),
        (Homework("tanh"), {"activation": "tanh", "depth": (5, 6)}),
        (Homework("relu", "identity"), {"activation": "relu", "output": "identity"}),
        (Homework("relu", "identity", "absolute_error"),
         {"activation": "relu", "output": "identity", "loss": "absolute_error"}),
        (Homework("tanh", "softmax", "cross_entropy"),
         {"activation": "tanh", "loss": "cross_entropy"}),
        (Homework("gelu", "softmax", "huber"),
         {"activation": ("gelu", "gelu", "softmax"), "loss": huber()}),
        (Homework("elu", "sigmoid", "binary_cross_entropy"),
         {"activation": "elu", "loss": "binary_cross_entropy", "dtype": "float32"}),
        (Homework("silu", "exp", "poisson"), {"activation": "silu", "loss": "poisson"}),
        (Homework(SINE, dE=QUARTIC.dE), {"activation": SINE, "loss": QUARTIC, "depth": 3}),
        (Homework(), {"sizes": (2, 2, 2), "m": 1}),
        (Homework(), {"sizes": (3, (2, 4), 1), "m": (2, 3)}),
        (Homework(), {"depth": 2, "width": 3, "tolerance": 1e-12}),
    ],
    ids=lambda value: "" if isinstance(value, Homework) else "-".join(value),
)  # fmt: skip
def test_right_passes_pass(homework, options):
    homework.assert_right(max_examples=15, **options)


class Columns(Homework):
    """Samples as columns."""

    def weighted(self, W, a, b):
        assert b.shape == (len(W), 1)
        return W @ a + b

    def backward(self, W, b, cache, y):
        z, a = cache
        delta = self.delta_L(z[-1], a[-1], y)
        dW, db = {}, {}
        for l in reversed(range(len(W))):
            dW[l + 1], db[l + 1] = delta @ a[l].T, delta.sum(axis=1, keepdims=True)
            delta = W[l].T @ delta * self.slope(z[l - 1], a[l])
        return dW, db

    def delta_L(self, z, a, y):
        return (a - y) * self.last.df(z, a) / y.shape[1]


class OneSample(Homework):
    """Plain loops over one sample, with lists for what they return."""

    def weighted(self, W, a, b):
        assert a.ndim == b.ndim == 1
        return np.array([sum(w * x for w, x in zip(row, a, strict=True)) for row in W]) + b

    def backward(self, W, b, cache, y):
        z, a = cache
        delta = (a[-1] - y) * self.last.df(z[-1], a[-1])
        dW, db = [], []
        for l in reversed(range(len(W))):
            dW.insert(0, [[d * x for x in a[l]] for d in delta])
            db.insert(0, list(delta))
            delta = W[l].T @ delta * self.slope(z[l - 1], a[l])
        return [dW, db]


@pytest.mark.parametrize(("samples", "kind"), [("columns", Columns), ("one", OneSample)])
def test_samples_may_be_columns_or_one_at_a_time(samples, kind):
    class WithoutBias(kind):
        def weighted(self, W, a, b):
            return W @ a

    class WithoutSlope(kind):
        def slope(self, z, a):
            return 1

    options = {"activation": "tanh", "samples": samples, "max_examples": 15}
    kind("tanh").assert_right(**options)
    assert "the biases are left out" in WithoutBias("tanh").message(**options)
    assert "f' is missing in layers 2, 3, 4, 5" in WithoutSlope("tanh").message(**options)


# ---- planted errors are found, and named


class SlopeOfZ(Homework):
    def slope(self, z, a):
        return z * (1 - z)


class Transposed(Homework):
    def back(self, W, delta):
        return delta @ (W.T if W.shape[0] == W.shape[1] else W)


class Updated(Homework):
    def backward(self, W, b, cache, y):
        z, a = cache
        W = [w.copy() for w in W]
        dW, db = [None] * len(W), [None] * len(W)
        delta = self.delta_L(z[-1], a[-1], y)
        for l in reversed(range(len(W))):
            dW[l], db[l] = delta.T @ a[l], delta.sum(axis=0)
            W[l] -= 0.5 * dW[l]
            delta = self.back(W[l], delta) * self.slope(z[l - 1], a[l])
        return dW, db


class Output(Homework):
    """Wrong in δ^L, by `change` of (δ^L, a^L, y)."""

    def __init__(self, change, *rules):
        super().__init__(*rules)
        self.change = change

    def delta_L(self, z, a, y):
        return self.change(super().delta_L(z, a, y), a, y)


class Edited(Homework):
    """Wrong in what is returned, by `edit`."""

    def __init__(self, edit, **options):
        super().__init__(**options)
        self.edit = edit

    def backward(self, W, b, cache, y):
        dW, db = super().backward(W, b, cache, y)
        return self.edit(dW, db) or (dW, db)


def times(factor, l, where=...):
    def edit(dW, db):
        dW[l][where] *= factor

    return edit


def one_layer(dW, db):
    dW[1], db[1] = 3 * dW[1], 3 * db[1]


@pytest.mark.parametrize(
    ("homework", "named", "cause", "options"),
    [
        (Summed(), None, "7 times the derivative: a sum over the m = 7 samples", {}),
        (Output(lambda d, a, y: -d), None, "-1 times the derivative: the sign", {}),
        (Output(lambda d, a, y: 2 * d), None, "2 times the derivative: a half is forgotten", {}),
        (Output(lambda d, a, y: d / a.shape[1]), None,
         "a mean over the n_L = 3 outputs where their sum is meant", {}),
        (NoSlope(), "[Wb][2-5]", "f' is missing in layers 2, 3, 4, 5", {}),
        (SlopeOfZ(), "[Wb][2-5]", "its formula takes a = f(z), and was given z", {}),
        (Transposed(), "[Wb][2-5]", "takes W^{l+1} where it needs its transpose", {}),
        (Updated(), "[Wb][2-5]", "weights that were updated already, W - η ∂E/∂W with η = 0.5", {}),
        (Edited(lambda dW, db: (dW, [0 * v for v in db])), "b[2-6]", "the biases are left out", {}),
        (Edited(times(1 + 1e-6, -1, (0, 0))), "W[2-6]", "one coordinate only: W[6][0, 0]", {}),
        (Edited(times(1.25, 1, 0), f="tanh"), "W3",
         "in 7 coordinates of W[3] 1.25 times the derivative",
         {"activation": "tanh", "depth": 4}),
        (Edited(one_layer), "[Wb]3", "in W[3], b[3] 3 times the derivative", {"depth": (3, 6)}),
        (Edited(times(np.nan, 0, (0, 0))), "W2", "gradient is not finite: W[2][0, 0] is nan", {}),
        (Output(lambda d, a, y: -y * (1 - a) / len(a), "tanh", "softmax", "cross_entropy"), None,
         "softmax's derivative is taken as a (1 - a) only",
         {"activation": "tanh", "loss": "cross_entropy"}),
        (Output(lambda d, a, y: (a - y) * a * (1 - a) / len(a),
                "tanh", "sigmoid", "binary_cross_entropy"), None,
         "there is an f' too many at the output",
         {"activation": "tanh", "loss": "binary_cross_entropy"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Homework) else "",
)  # fmt: skip
def test_planted_errors_are_found_and_named(homework, named, cause, options):
    options = {"depth": (2, 6), **options}
    message = homework.message(**options)
    assert cause in message
    first = message.splitlines()[0]
    found = re.fullmatch(
        r"backward's gradient is wrong, most of all in ([Wb])\[(\d)\]\[([\d, ]+)\], "
        r"in the lists \1\[(\d)\]\[\3\]",
        first,
    )
    letter, l, _, place = found.groups()
    assert int(place) == int(l) - 2
    assert re.fullmatch(named or "[Wb][2-6]", letter + l)
    again = re.search(r"net, x, y = (case\(.*)", message)[1]
    net, x, y = eval(again, {"case": case})
    assert (x.shape, y.shape) == ((len(x), net.sizes[0]), (len(x), net.sizes[-1]))
    assert re.search(r"worst +[Wb]\[\d\]\[[\d, ]+\]: analytic \S+, numeric \S+, error \S+\n", message)
    assert "<" not in again


def test_the_smallest_net_and_a_larger_one():
    message = Summed().message()
    smallest, larger = re.findall(r"net, x, y = (.*)", message)
    assert smallest == "case((1, 2), activation='sigmoid', loss='half_squared_error', m=2, seed=0)"
    assert larger.startswith("case((8, 7, 6, 5, 4, 3), activation='sigmoid'")
    assert "m=7" in larger
    assert "m = 2 samples where their mean is meant or" in message
    assert "or a half is forgotten\n" in message
    assert message.endswith("7 times the derivative: a sum over the m = 7 samples where their mean is meant")
    assert message.count("cause") == 2
    # where the smallest net tells as much, that is enough
    assert NoSlope().message(depth=3).count("net, x, y") == 1
    for few in (1, 2):  # of which one is large enough to show a missing mean
        message = Summed().message(max_examples=few)
        assert "7 times the derivative: a sum over the m = 7 samples where" in message
    Homework().assert_right(max_examples=1)
    assert "m=3" in Summed().message(max_examples=1, m=(1, 3))
    assert "seed=9" in Summed().message(max_examples=1, seed=9)
    Summed().assert_right(reduction="sum", max_examples=15)  # losses may be summed
    assert "1/m too often, with m = 7 samples" in Homework().message(reduction="sum")


# ---- the depth


class OfDepth(Homework):
    """Written for nets of so many layers: with others it raises, or returns too little."""

    depth = 3

    def forward(self, W, b, x):
        assert W[self.depth - 2] is not None
        return super().forward(W[: self.depth - 1], b[: self.depth - 1], x)

    def backward(self, W, b, cache, y):
        return super().backward(W[: self.depth - 1], b[: self.depth - 1], cache, y)


class OneLayer(OfDepth):
    depth = 2


class Two(OfDepth):
    def forward(self, W, b, x):
        self.depth = min(len(W) + 1, 4)
        assert len(W) > 1, "no hidden layer"
        return super().forward(W, b, x)


FITS = "on nets of depth {0} they fit: if they are written for these, pass depth={0}"


def test_the_depth_that_functions_are_written_for_is_told():
    with pytest.raises(IndexError) as raised:
        OfDepth().assert_right()
    assert raised.value.__notes__[1:] == [FITS.format(3)]
    with pytest.raises(AssertionError, match="no hidden layer") as raised:
        Two().assert_right()
    assert raised.value.__notes__[1:] == [FITS.format((3, 4))]
    message = OneLayer().message()
    assert message.startswith("forward's output has shape")
    assert message.endswith(f"\n\n{FITS.format(2)}")
    assert OfDepth().message(depth=(3, 5)).endswith(f"\n\n{FITS.format(3)}")
    OfDepth().assert_right(depth=3)
    # where all depths fit, or none, or a cause is known, it is not
    none = Homework("identity", "sigmoid").message()
    for message in (OfDepth().message(depth=4), NoSlope().message(), NoBias().message(), none):
        assert "they fit" not in message


# ---- the output


class NoBias(Homework):
    def weighted(self, W, a, b):
        return a @ W.T


class Turned(Homework):
    def weighted(self, W, a, b):
        return a @ (W if W.shape == W.T.shape else W.T) + b


@pytest.mark.parametrize(
    ("homework", "cause", "options"),
    [
        (NoBias(), "the biases are left out", {}),
        (Turned(), "W is transposed", {"sizes": (3, 3, 3)}),
        (Homework("tanh"), "in layers 2, 3, 4, 5, 6 it computes tanh", {}),
        (Homework("sigmoid", "tanh"), "in layer 6 it computes tanh", {}),
        (Homework("identity", "sigmoid"), "the activation is left out in layers 2, 3, 4, 5", {}),
        (Homework("sigmoid", "identity", "binary_cross_entropy"),
         "the activation is left out in layer 6", {"loss": "binary_cross_entropy"}),
    ],
)  # fmt: skip
def test_a_wrong_output_is_told_as_such(homework, cause, options):
    message = homework.message(**options)
    assert re.match(
        r"forward's output is wrong: output \d of sample \d is \S+, "
        r"but the network's a\[\d\]\[\d, \d\] is \S+\n",
        message,
    )
    assert cause in message
    assert "gradient check" not in message


class Odd(Homework):
    """Wrong in what the output is, by `change` of (z^L, a^L)."""

    def __init__(self, change, *rules):
        super().__init__(*rules)
        self.change = change

    def forward(self, W, b, x):
        _, (z, a) = super().forward(W, b, x)
        a[-1] = self.change(z[-1], a[-1])
        return a[-1], (z, a)


def test_a_softmax_over_the_samples_and_an_output_of_no_known_pattern():
    turned = Odd(lambda z, a: np.exp(z) / np.exp(z).sum(axis=0), "tanh", "softmax")
    message = turned.message(activation="tanh", loss="cross_entropy")
    assert "softmax is taken over the samples, not over the outputs" in message
    message = Odd(lambda z, a: np.where(np.arange(a.shape[1]) == 0, np.nan, a)).message()
    assert "output 0 of sample 0 is nan" in message
    assert "cause" not in message


# ---- runs


def test_every_run_is_the_same_and_another_seed_is_another():
    def seen(seed, **options):
        nets = []

        class Watching(Homework):
            def forward(self, W, b, x):
                nets.append([x.tobytes(), *(w.shape for w in W)])
                return super().forward(W, b, x)

        Watching().assert_right(max_examples=30, seed=seed, **options)
        return nets

    first = seen(0)
    assert seen(0) == first
    assert seen(1) != first
    assert len(first) == 2 * 30
    assert Updated().message() == Updated().message()


def test_the_example_of_the_docstring_is_a_file_that_runs(tmp_path):
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", bpnet.testing.__doc__)
    code, tests = (textwrap.dedent(block) for block in blocks)
    path = tmp_path / "test_homework.py"

    def run(code, *command):
        path.write_text(code, encoding="utf-8")
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(
            [sys.executable, *command, str(path)],
            capture_output=True,
            encoding="utf-8",
            env=env,
            cwd=tmp_path,
            check=False,
        )

    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "backward is right\n", "")
    wrong = "delta2 = delta3 @ W[1]"
    assert f"``{wrong}``" in bpnet.testing.__doc__
    assert f"{wrong} * a2 * (1 - a2)\n" in code
    done = run(code.replace(f"{wrong} * a2 * (1 - a2)\n", f"{wrong}\n"))
    assert done.returncode == 1

    wrong = "GradientCheckFailed: backward's gradient is wrong, most of all in b[2][0], in"
    assert wrong in done.stderr
    assert "cause     f' is missing in layer 2\n" in done.stderr
    path.write_text(tests, encoding="utf-8")
    runpy.run_path(str(path))["test_rows_are_probabilities"]()
