"""The rules once more as formulas on paper: f, f', each output's share of E, and ∂E/∂a.

A formula is a text that Python's parser reads, in z, a and y; S is the sum of e^z over the layer.
Behind ``;`` stands when it holds, or what a letter means; between ``|`` stand the branches. What a
formula gives with its numbers is what the rule of this name in `bpnet.rules` gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpnet.checks import quiet
from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.constants import GELU_CUBE, LEAK
from bpnet.rules.losses import LOSSES, Loss, huber_limit

T = f"t == tanh(sqrt(2 / pi) * (z + {GELU_CUBE} * z ** 3))"
T_SLOPE = f"sqrt(2 / pi) * (1 + 3 * {GELU_CUBE} * z ** 2)"

# fmt: off
F = {  # f of z, f' of z and a
    "identity":   ("z", "1"),
    "sigmoid":    ("1 / (1 + exp(-z))", "a * (1 - a)"),
    "tanh":       ("tanh(z)", "1 - a ** 2"),
    "relu":       ("max(z, 0)", "1; z > 0 | 0; z <= 0"),
    "leaky_relu": (f"max(z, {LEAK} * z)", f"1; z > 0 | {LEAK}; z <= 0"),
    "elu":        ("z; z > 0 | exp(z) - 1; z <= 0", "1; z > 0 | 1 + a; z <= 0"),
    "softplus":   ("ln(1 + exp(z))", "1 / (1 + exp(-z))"),
    "silu":       ("z / (1 + exp(-z))", "s * (1 + z * (1 - s)); s == 1 / (1 + exp(-z))"),
    "gelu":       (f"z * (1 + t) / 2; {T}", f"(1 + t) / 2 + z * (1 - t ** 2) / 2 * {T_SLOPE}; {T}"),
    "exp":        ("exp(CAP); z > CAP | exp(z)", "0; z > CAP | a"),
    "softmax":    ("exp(z) / S", ""),
}
E = {  # an output's share of E, and ∂E/∂a
    "half_squared_error":   ("(a - y) ** 2 / 2", "a - y"),
    "cross_entropy":        ("-(y * ln(a))", "-(y / a)"),
    "binary_cross_entropy": ("-(y * ln(a)) - (1 - y) * ln(1 - a)", "(1 - y) / (1 - a) - y / a"),
    "absolute_error":       ("abs(a - y)", "1; a > y | -1; a < y | 0; a == y"),
    "poisson":              ("a - y * ln(a)", "1 - y / a"),
}
HUBER = ("(a - y) ** 2 / 2; abs(a - y) <= CAP | CAP * (abs(a - y) - CAP / 2); abs(a - y) > CAP",
         "a - y; abs(a - y) <= CAP | CAP; a - y > CAP | -CAP; a - y < -CAP")
E_Z = {  # the same shares from z, of the output that the loss is joined with
    "half_squared_error":   "(z - y) ** 2 / 2",
    "cross_entropy":        "y * (ln(S) - z)",
    "binary_cross_entropy": "y * ln(1 + exp(-z)) + (1 - y) * ln(1 + exp(z))",
    "poisson":              "exp(z) - y * z",
}
# fmt: on
MATH: dict[str, Any] = {"exp": np.exp, "tanh": np.tanh, "sqrt": np.sqrt, "pi": np.pi, "abs": abs}


def branch(formula: str, cap: float, letters: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """Return the branch that holds, and what a letter in it, t or s, is."""
    branches = formula.replace("CAP", f"{cap:.17g}").split(" | ")
    with quiet():
        for text in branches:
            condition = text.partition("; ")[2]
            if condition[:4] in ("t ==", "s =="):
                value = eval(condition[5:], MATH, dict(letters))
                return text, {condition[0]: float(value)}
            if not condition or eval(condition, MATH, dict(letters)):
                return text, {}
    return branches[-1], {}  # not a number


def fill(formula: str, names: Mapping[str, str]) -> str:
    """Return a formula of z, a, y and S as one of the quantities."""
    return re.sub(r"\b[zayS]\b(?!')", lambda found: names.get(found[0], found[0]), formula)


def of_activation(f: Activation, which: int) -> str:
    """Return f of z, or f' of z and a; of somebody's own by its name."""
    own = f"{quoted(f.name, which)}(z)"
    return F[f.name][which] if ACTIVATIONS.get(f.name) is f else own


def of_loss(loss: Loss, which: int) -> str:
    """Return an output's share of the loss, or ∂E/∂a of one sample."""
    if huber_limit(loss):
        return HUBER[which]
    own = f"{quoted(loss.name, which)}(a, y)"
    return E[loss.name][which] if LOSSES.get(loss.name) is loss else own


def quoted(name: str, which: int) -> str:
    """Return a name, or with a stroke that of its derivative, which no formula takes apart."""
    letters = (f"\\U{ord(c):08x}" for c in name + "'" * which)
    return f'"{"".join(letters)}"'
