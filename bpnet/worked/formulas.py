"""The rules once more as formulas on paper: f, f', each output's share of E, and ∂E/∂a.

z, a and y are quantities with values, so that a rule with branches writes the one that holds. What
a formula gives with its numbers is what the rule of this name in `bpnet.rules` gives; a test
evaluates both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK
from bpnet.rules.losses import LOSSES, Loss, huber_limit
from bpnet.worked.expression import Expression, Letter, Number, Quantity, add, call

Rule = Callable[..., Expression]

GELU_ROOT = call("sqrt", 2 / Letter("π"))  # GELU_SCALE
exp, ln, size = partial(call, "exp"), partial(call, "ln"), partial(call, "abs")


def by_sign(z: Quantity, positive: Expression | float, other: Expression | float) -> Expression:
    """Return the branch of a rule that splits at z = 0."""
    return call("as >", positive, z, 0) if z.value > 0 else call("as <=", other, z, 0)


def gelu(z: Quantity, *, slope: bool = False) -> Expression:
    """Return z (1 + t) / 2, or its derivative (1 + t) / 2 + z t' / 2."""
    t = Letter("t", math.tanh(GELU_SCALE * (z.value + GELU_CUBE * z.value**3)))
    inner = GELU_ROOT * (1 + 3 * Number(GELU_CUBE) * z**2)
    x = (1 + t) / 2 + z * (1 - t**2) / 2 * inner if slope else z * (1 + t) / 2
    return call("where", x, t, call("tanh", GELU_ROOT * (z + GELU_CUBE * z**3)))


def silu_slope(z: Quantity) -> Expression:
    """Return s (1 + z (1 - s)), with s = σ(z)."""
    s = Letter("s", 1 / (1 + math.exp(-z.value)) if z.value > -700 else 0.0)
    return call("where", s * (1 + z * (1 - s)), s, 1 / (1 + exp(-z)))


def sign(a: Quantity, y: Quantity) -> Expression:
    """Return the slope of |a - y|."""
    if a.value == y.value:
        return call("as =", 0, a, y)
    return call("as >", 1, a, y) if a.value > y.value else call("as <", -1, a, y)


def huber(a: Quantity, y: Quantity, *, limit: float) -> Expression:
    """Return a square within the limit, a straight line beyond."""
    d = a - y
    if abs(a.value - y.value) <= limit:
        return call("as <=", d**2 / 2, size(d), limit)
    return call("as >", limit * (size(d) - limit / 2), size(d), limit)


def huber_slope(a: Quantity, y: Quantity, *, limit: float) -> Expression:
    """Return a - y clipped to ±limit."""
    d = a - y
    if abs(a.value - y.value) <= limit:
        return call("as <=", d, size(d), limit)
    return call("as >", limit, d, limit) if a.value > y.value else call("as <", -limit, d, -limit)


# fmt: off
F: dict[str, tuple[Rule, Rule]] = {  # f of z, f' of z and a
    "identity":   (lambda z: z, lambda z, a: Number(1)),
    "sigmoid":    (lambda z: 1 / (1 + exp(-z)), lambda z, a: a * (1 - a)),
    "tanh":       (lambda z: call("tanh", z), lambda z, a: 1 - a**2),
    "relu":       (lambda z: call("max", z, 0), lambda z, a: by_sign(z, 1, 0)),
    "leaky_relu": (lambda z: call("max", z, LEAK * z), lambda z, a: by_sign(z, 1, LEAK)),
    "elu":        (lambda z: by_sign(z, z, exp(z) - 1), lambda z, a: by_sign(z, 1, 1 + a)),
    "softplus":   (lambda z: ln(1 + exp(z)), lambda z, a: 1 / (1 + exp(-z))),
    "silu":       (lambda z: z / (1 + exp(-z)), lambda z, a: silu_slope(z)),
    "gelu":       (gelu, lambda z, a: gelu(z, slope=True)),
    "exp":        (exp, lambda z, a: a),
}

E: dict[str, tuple[Rule, Rule]] = {  # an output's share of E, and ∂E/∂a
    "half_squared_error":   (lambda a, y: (a - y)**2 / 2, lambda a, y: a - y),
    "cross_entropy":        (lambda a, y: -(y * ln(a)), lambda a, y: -(y / a)),
    "binary_cross_entropy": (lambda a, y: -(y * ln(a)) - (1 - y) * ln(1 - a),
                             lambda a, y: (1 - y) / (1 - a) - y / a),
    "absolute_error":       (lambda a, y: size(a - y), sign),
    "poisson":              (lambda a, y: a - y * ln(a), lambda a, y: 1 - y / a),
}

# The same shares from z, for the output that the loss is joined with, exact where a is rounded.
E_Z: dict[str, Callable[[Sequence[Quantity], int, Quantity], Expression]] = {
    "half_squared_error":   lambda z, i, y: (z[i] - y)**2 / 2,
    "cross_entropy":        lambda z, i, y: y * (ln(add([exp(z_j) for z_j in z])) - z[i]),
    "binary_cross_entropy": lambda z, i, y: y * ln(1 + exp(-z[i])) + (1 - y) * ln(1 + exp(z[i])),
    "poisson":              lambda z, i, y: exp(z[i]) - y * z[i],
}
# fmt: on


def output(f: Activation, z: Sequence[Quantity], i: int, cap: float) -> Expression:
    """Return a_i of a layer, given every z of it; cap is where e^z stays constant."""
    if ACTIVATIONS["softmax"] is f:
        return exp(z[i]) / add([exp(z_j) for z_j in z])
    if f.name == "exp" and z[i].value > cap:
        return call("as >", exp(cap), z[i], cap)
    return F[f.name][0](z[i]) if ACTIVATIONS.get(f.name) is f else call(f.name, z[i])


def slope(f: Activation, z: Quantity, a: Quantity, cap: float) -> Expression:
    """Return f'(z)."""
    if f.name == "exp" and z.value > cap:
        return call("as >", 0, z, cap)
    return F[f.name][1](z, a) if ACTIVATIONS.get(f.name) is f else call(f"{f.name}'", z)


def share(loss: Loss, a: Quantity, y: Quantity) -> Expression:
    """Return an output's share of the loss."""
    if limit := huber_limit(loss):
        return huber(a, y, limit=limit)
    return E[loss.name][0](a, y) if LOSSES.get(loss.name) is loss else call(loss.name, a, y)


def loss_slope(loss: Loss, a: Quantity, y: Quantity) -> Expression:
    """Return ∂E/∂a of one sample."""
    if limit := huber_limit(loss):
        return huber_slope(a, y, limit=limit)
    return E[loss.name][1](a, y) if LOSSES.get(loss.name) is loss else call(f"{loss.name}'", a, y)
