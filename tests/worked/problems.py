"""Nets with a batch for worked solutions, and formulas worked out again as they are written."""

import math
import re

import numpy as np

from bpnet import MLP

NAMES = {"exp": np.exp, "ln": math.log, "tanh": np.tanh, "sqrt": math.sqrt, "max": max}
PYTHON = (  # what is written, in any notation, and what Python calls it
    (r",\\ \\text.*|<mtext>, .*|, (as|where) .*", ""),
    (r"<msup><mo[^>]*>\)</mo><mn>2</mn></msup>|\)\^\{2\}|\)²|\)\^2", ")**2"),
    (r"<msup><mn>10</mn><mn>(.*?)</mn></msup>|10\^\{(.*?)\}", r"10**(\1\2)"),
    (r"<msqrt>.*?</msqrt>|\\sqrt\{2 / \\pi\}|√\(2/π\)|sqrt\(2 / pi\)", str(math.sqrt(2 / math.pi))),
    ("<[^>]*>", ""), (r"\|(.*?)\|", r"abs(\1)"), (r"\\cdot|·", "*"), ("−", "-"),
    (r"\\(exp|ln|tanh|max)", r"\1"),
)  # fmt: skip


def problem(sizes, activation, loss="half_squared_error", *, m=1, seed=0, dtype="float64"):
    """A net with weights of a size, a batch, and targets that suit every loss."""
    rng = np.random.default_rng(seed)
    net = MLP.init(sizes, activation=activation, loss=loss, rng=rng, dtype=dtype)
    net.theta = 0.6 * rng.normal(size=net.theta.size)
    y = rng.uniform(0.1, 0.9, size=(m, sizes[-1]))
    if net.loss_function.distribution:
        y /= y.sum(axis=1, keepdims=True)
    return net, rng.normal(size=(m, sizes[0])), y


def worked_out(row):
    """Return what a row of numbers gives."""
    for written, python in PYTHON:
        row = re.sub(written, python, row)
    return eval(row, dict(NAMES))
