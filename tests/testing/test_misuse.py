"""Passes that return or change the wrong thing, and arguments that cannot be."""

import re
import sys

import numpy as np
import pytest

from bpnet import MLP
from bpnet.testing import assert_backward, batches, case, cases, networks, targets
from tests.helpers.complaint import complains
from tests.helpers.homework import Homework, NoSlope

# ---- what the functions return and change


def returning(a=None, cache=None, dW=None, db=None):
    """Passes of which some results are replaced."""

    class Odd(Homework):
        def forward(self, W, b, x):
            out, kept = super().forward(W, b, x)
            return a(out, kept) if a else (out, kept)

        def backward(self, W, b, kept, y):
            result = super().backward(W, b, kept, y)
            return dW(*result) if dW else result

    return Odd()


@pytest.mark.parametrize(
    ("homework", "text"),
    [
        (returning(a=lambda a, cache: a),
         "forward must return two things, its output a^L and what backward needs, as in "
         "'return a, cache', but returned ndarray\n"),
        (returning(a=lambda a, cache: (a, *cache)), "but returned tuple of 3\n"),
        (returning(a=lambda a, cache: (a.T, cache)),
         "forward's output has shape (3, 1), but needs (1, 3), a row a sample: it looks "
         "transposed\n"),
        (returning(a=lambda a, cache: (a.sum(), cache)),
         "forward's output has shape (), but needs (1, 3), a row a sample\n"),
        (returning(a=lambda a, cache: ("a", cache)),
         "forward's output must hold real numbers, but holds text\n"),
        (returning(dW=lambda dW, db: (*dW, *db)),
         "backward must return two things, the gradients of all W and of all b, as in "
         "'return dW, db', but returned tuple of 4\n"),
        (returning(dW=lambda dW, db: None), "but returned NoneType: is a return missing?\n"),
        (returning(dW=lambda dW, db: (0.5, db)),
         "backward's dW must be a list of arrays, one a layer, not float\n"),
        (returning(dW=lambda dW, db: ("dW", db)), "one a layer, not str\n"),
        (returning(dW=lambda dW, db: (dW, db[1:])),
         "backward's db has length 1, but b has length 2: it needs one array for each layer with "
         "weights\n"),
        (returning(dW=lambda dW, db: (dW[::-1], db)),
         "backward's dW[0] has shape (3, 2), but W[0] has (2, 1): the list begins with the last "
         "layer, but must begin with layer 2\n"),
        (returning(dW=lambda dW, db: ([w.T for w in dW], db)),
         "backward's dW[0] has shape (1, 2), but W[0] has (2, 1): it looks transposed\n"),
        (returning(dW=lambda dW, db: (dW, [v[None] for v in db])),
         "backward's db[0] has shape (1, 2), but b[0] has (2,): sum without keepdims=True\n"),
        (returning(dW=lambda dW, db: ({"W1": dW[0], "W2": dW[1]}, db)),
         "backward's dW has the keys 'W1', 'W2': return a list in the order of the layers, or a "
         "dict whose keys are consecutive numbers\n"),
        (returning(dW=lambda dW, db: ({2: dW[0], 4: dW[1]}, db)), "dW has the keys 2, 4: return"),
        (returning(dW=lambda dW, db: ({}, db)), "backward's dW has length 0, but W has length 2"),
        (returning(dW=lambda dW, db: ([w + 0j for w in dW], db)),
         "backward's dW[0] must hold real numbers, but holds complex numbers\n"),
    ],
)  # fmt: skip
def test_results_that_do_not_fit(homework, text):
    message = homework.message(depth=3)
    assert text in message
    assert message.endswith(
        "\nthe smallest net found that shows it:\n  net, x, y = "
        "case((1, 2, 3), activation='sigmoid', loss='half_squared_error', m=1, seed=0)"
    )


def test_what_the_functions_change_is_named():
    def planted(change, where):
        class Changing(Homework):
            def forward(self, W, b, x):
                if where == "forward":
                    change(W, b, x)
                return super().forward(W, b, x)

            def backward(self, W, b, cache, y):
                if where == "backward":
                    change(W, b, y)
                return super().backward(W, b, cache, y)

        return Changing().message(depth=3)

    for where, batch in (("forward", "x"), ("backward", "y")):
        for name, change in {
            "W[1]": lambda W, b, rows: np.multiply(W[1], 0.5, out=W[1]),
            "b[0]": lambda W, b, rows: b.__setitem__(0, b[0] * 0.5),
            "W[2]": lambda W, b, rows: W.append("more"),
            batch: lambda W, b, rows: np.add(rows, 1, out=rows),
        }.items():
            text = f"{where} changes {name}, which it is given: it must leave its arguments"
            assert planted(change, where).startswith(text)


class Adding(Homework):
    """Adds to what it has returned before, for weights of these shapes."""

    def __init__(self):
        super().__init__()
        self.total = {}

    def backward(self, W, b, cache, y):
        dW, db = super().backward(W, b, cache, y)
        sums = self.total.setdefault(str([w.shape for w in W]), [np.zeros_like(w) for w in W])
        for total, w in zip(sums, dW, strict=True):
            total += w
        return [total.copy() for total in sums], db


class Dropped(Homework):
    """Dropout whose random numbers nobody holds."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def slope(self, z, a):
        return super().slope(z, a) * (self.rng.random(a.shape) < 0.5)


def test_a_gradient_that_is_another_when_called_again_is_told():
    other = "|the functions give"
    assert re.match(f"the gradient is (random|twice as large){other}", Adding().message())
    message = Dropped().message(depth=(5, 6))
    assert re.match(f"the gradient is random: called twice{other}", message)


def test_what_is_wrong_only_sometimes_is_told():
    class Sometimes(Homework):
        calls = 0

        def delta_L(self, z, a, y):
            self.calls += 1
            return super().delta_L(z, a, y) * (2 if self.calls in (9, 10) else 1)

    text = "the functions give another result for the same net when called again: hold their "
    assert Sometimes().message().startswith(f"{text}random numbers, and let them keep nothing")


def test_what_the_functions_raise_is_theirs_with_a_note():
    class Wrong(Homework):
        def back(self, W, delta):
            return delta @ W.T

    with pytest.raises(ValueError, match="matmul") as raised:
        Wrong().assert_right()
    (note,) = raised.value.__notes__
    assert note.startswith("in backward(W, b, cache, y) of net, x, y = case((")
    with pytest.raises(AttributeError) as raised:
        assert_backward(lambda W, b, x: x.foo, Homework().backward)
    (note,) = raised.value.__notes__
    assert note.startswith("in forward(W, b, x) of net, x, y = case((1, 2), ")


def test_a_larger_net_that_raises_does_not_hide_what_was_found():
    class Limited(NoSlope):
        def forward(self, W, b, x):
            if W[0].shape == (7, 8) and len(W) == 5:
                raise MemoryError
            return super().forward(W, b, x)

    message = Limited().message()
    assert "cause     f' is missing in layer 2\n" in message
    assert "a larger one" not in message


def test_biases_of_columns_keep_their_axis():
    class Flat(Homework):
        def forward(self, W, b, x):
            a, kept = super().forward(W, [v[:, 0] for v in b], x.T)
            return a.T, kept

        def backward(self, W, b, kept, y):
            return super().backward(W, b, kept, y.T)

    message = Flat().message(samples="columns", sizes=(2, 3))
    assert message.startswith(
        "backward's db[0] has shape (3,), but b[0] has (3, 1): sum with keepdims=True, or take "
    )


# ---- arguments


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"samples": "row"}, ValueError, "samples must be one of rows, columns, one, not 'row'"),
        ({"reduction": "max"}, ValueError, "reduction must be one of mean, sum, not 'max'"),
        ({"activation": {"tanh"}}, TypeError,
         "activation is a set, but the functions compute one: name it"),
        ({"loss": {"huber"}}, TypeError, "loss is a set, but …"),
        ({"output": {"tanh"}}, TypeError, "output is a set, but …"),
        ({"tolerance": 0}, ValueError, "tolerance must be > 0 and < 1, not 0"),
        ({"max_examples": 0}, ValueError, "max_examples must be an integer >= 1, not 0"),
        ({"seed": -1}, ValueError, "seed must be an integer >= 0, not -1"),
        ({"seed": None}, TypeError, "seed must be an integer, not None"),
        ({"m": 0}, ValueError, "m must be an integer >= 1, not 0"),
        ({"loss": "mse"}, ValueError, "unknown loss 'mse': …"),
        ({"activation": "tahn"}, ValueError, "unknown activation 'tahn': …"),
        ({"dtype": "float16"}, ValueError,
         "dtype must be float64, float32 or a set of both, not 'float16'"),
    ],
)  # fmt: skip
def test_bad_arguments_of_assert_backward(options, kind, message):
    homework = Homework()
    with complains(kind, message):
        assert_backward(homework.forward, homework.backward, **options)


def test_without_hypothesis_there_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    net, h = MLP.init((2, 3), rng=0), Homework()
    of_net = [lambda: batches(net), lambda: targets(net, 3)]
    for call in (networks, cases, *of_net, lambda: assert_backward(h.forward, h.backward)):
        with complains(ImportError, "bpnet.testing needs Hypothesis: pip install hypothesis"):
            call()
    assert case((2, 3), m=4, seed=1).x.shape == (4, 2)
