"""The rules once more, number by number, compiled by numba into single passes over memory.

    f(code, z), df(code, z, a)      an activation and its derivative; softmax takes a row
    E(code, z, a, y, limit)         an output's share of the loss
    dE(code, a, y, limit)           ∂E/∂a, or ∂E/∂z where output and loss belong together
    element(code, g, s, v, k)       an optimiser's vectors after a step, and the step

Each is the expression of its table, in the order of the form in place; the loops over arrays below
are made of them, and so is the one over tiny nets in `training/tiny.py`. A loop is told its rule by
the length of a tuple, `kind`, which is a part of its type: so numba compiles one for each rule,
with nothing to decide for each number, and keeps it on disk from one process to the next.

Importing this imports numba, which takes half a second; without it the error says what to install.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy import copyto

from bpnet.arrays import Array
from bpnet.rules import update
from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.compiled_math import exp, expm1, form, inlined, kernel, log, log1p
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK
from bpnet.rules.losses import LOSSES, Loss, huber_limit
from bpnet.rules.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from bpnet.rules.subnormal import EVERY


def kind(code: int) -> tuple[int, ...]:
    """Return a code as a type."""
    return (0,) * code


# Activations

NAMES = "identity sigmoid relu tanh leaky_relu elu softplus silu gelu exp softmax".split()  # noqa: SIM905
IDENTITY, SIGMOID, RELU, TANH, LEAKY_RELU, ELU, SOFTPLUS, SILU, GELU, EXP, SOFTMAX = range(11)


@inlined
def positive(x: Any) -> Any:
    return form(x).zero if x <= 0 else x  # so that NaN stays


@inlined
def sigmoid(z: Any) -> Any:
    c = form(z)
    return c.one / (c.one + exp(-z))


@inlined
def tanh(z: Any) -> Any:
    e = expm1(-abs(z + z))
    t = e / (e + form(z).two)
    return t if z < 0 else -t


@inlined
def gelu_inner(z: Any) -> Any:
    number = type(z)
    return tanh((z * z * number(GELU_SCALE * GELU_CUBE) + number(GELU_SCALE)) * z)


@inlined
def f(code: Any, z: Any) -> Any:
    c = form(z)
    if code == SIGMOID:
        return sigmoid(z)
    if code == RELU:
        return positive(z)
    if code == TANH:
        return tanh(z)
    if code == LEAKY_RELU:
        return z if z > 0 else z * type(z)(LEAK)
    if code == ELU:
        return expm1(-positive(-z)) + positive(z)
    if code == SOFTPLUS:
        return log1p(exp(-abs(z))) + positive(z)
    if code == SILU:
        return sigmoid(z) * z
    if code == GELU:
        return (gelu_inner(z) + c.one) * c.half * z
    if code == EXP:
        return exp(c.cap if z > c.cap else z)
    return z


@inlined
def df(code: Any, z: Any, a: Any) -> Any:
    c, number = form(z), type(z)
    if code == SIGMOID:
        return (c.one - a) * a
    if code == RELU:
        return c.one if z > 0 else c.zero
    if code == TANH:
        return c.one - a * a
    if code == LEAKY_RELU:
        return c.one if z > 0 else number(LEAK)
    if code == ELU:
        return (a if a < 0 else c.zero) + c.one
    if code == SOFTPLUS:
        return sigmoid(z)
    if code == SILU:
        s = sigmoid(z)
        return s * ((c.one - s) * z + c.one)
    if code == GELU:
        t = gelu_inner(z)
        u = (c.one - t * t) * z
        s = u * z * z * number(3 * GELU_SCALE * GELU_CUBE) + u * number(GELU_SCALE)
        return (s + t + c.one) * c.half
    if code == EXP:
        return c.zero if z > c.cap else a
    return c.one


@inlined
def softmax(z: Any, a: Any) -> None:
    most, total = z[0], form(z[0]).zero
    for j in range(1, len(z)):
        most = z[j] if z[j] > most else most
    for j in range(len(z)):
        a[j] = exp(z[j] - most)
    for j in range(len(z)):
        total += a[j]
    for j in range(len(z)):
        a[j] /= total


# Losses; the last three are those with the output that belongs to them, of z

SQUARED, ABSOLUTE, HUBER, BINARY, POISSON, BINARY_Z, POISSON_Z, CROSS_Z = range(8)
OF_A = {"half_squared_error": 0, "absolute_error": 1, "binary_cross_entropy": 3, "poisson": 4}
OF_Z = {"half_squared_error": 0, "binary_cross_entropy": 5, "poisson": 6, "cross_entropy": 7}


@inlined
def clipped(d: Any, limit: Any) -> Any:
    d = limit if d > limit else d
    return -limit if d < -limit else d


@inlined
def E(code: Any, z: Any, a: Any, y: Any, limit: Any) -> Any:
    c, d = form(z), a - y
    if code == ABSOLUTE:
        return abs(d)
    if code == HUBER:
        s = clipped(d, limit)
        return s * (d - s * c.half)
    if code == BINARY:
        return -y * log(a) - (c.one - y) * log(c.one - a)
    if code == POISSON:
        return a - y * log(a)
    if code == BINARY_Z:
        return log1p(exp(-abs(z))) + (positive(z) - y * z)
    if code == POISSON_Z:
        return (positive(z - c.cap) + c.one) * a - y * z
    return d * d * c.half


@inlined
def dE(code: Any, a: Any, y: Any, limit: Any) -> Any:
    c, d = form(a), a - y
    if code == ABSOLUTE:
        return c.one if d > 0 else (-c.one if d < 0 else d)
    if code == HUBER:
        return clipped(d, limit)
    if BINARY <= code <= POISSON:
        rest = c.eps if c.one - a < c.eps else c.one - a
        first = c.one if code == POISSON else (c.one - y) / rest
        return first - y / (c.least if a < c.least else a)
    return d


@inlined
def output_row(out: Any, loss: Any, limit: Any, z: Any, a: Any, y: Any, delta: Any) -> Any:
    """Write δ of a sample, and return its loss."""
    total = mean = log_most = form(z[0]).zero
    most = 0
    if loss == CROSS_Z:  # log a_j = z_j - z_most + log a_most, exact also where a_j is 0
        for j in range(1, len(z)):
            most = j if z[j] > z[most] else most
        log_most = log(a[most])
    for j in range(len(z)):
        if loss == CROSS_Z:
            total -= y[j] * (z[j] - z[most] + log_most)
        else:
            total += E(loss, z[j], a[j], y[j], limit)
        delta[j] = dE(loss, a[j], y[j], limit)
        mean += delta[j] * a[j]
    if loss < BINARY_Z:
        for j in range(len(z)):
            delta[j] = (
                (delta[j] - mean) * a[j] if out == SOFTMAX else delta[j] * df(out, z[j], a[j])
            )
    return total


# Optimisers, and the places of their constants in k

PLAIN, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, RMSPROP_MOMENTUM, ADAM, ADAMW = range(8)
RHO, REST, EPSILON, MU, FACTOR, LEAST_S, LEAST_V, LEAST_THETA = range(8)
PLACES = {"rho": RHO, "beta1": RHO, "one_less_rho": REST, "beta2": REST, "momentum": MU}
PLACES["epsilon"] = EPSILON


@inlined
def element(code: Any, g: Any, s: Any, v: Any, k: Any) -> Any:
    if MOMENTUM <= code <= NESTEROV:
        s = s * k[MU] + g
        return s, v, s * k[MU] + g if code == NESTEROV else s
    if code >= ADAM:
        s = s * k[RHO] + g
        v = v * k[REST] + g * g
        return s, v, s / (math.sqrt(v) + k[EPSILON])
    if code == PLAIN:
        return s, v, g
    s = s + g * g if code == ADAGRAD else s * k[RHO] + g * g * k[REST]
    move = g / (math.sqrt(s) + k[EPSILON])
    if code == RMSPROP_MOMENTUM:
        v = move = v * k[MU] + move
    return s, v, move


@inlined
def kept(x: Any, least: Any) -> Any:
    return x * form(x).zero if abs(x) < least else x


# Loops over arrays


@inlined
def sum_rows(delta: Any, db: Any) -> None:
    for i in range(len(delta)):
        for j in range(len(db)):
            db[j] = db[j] + delta[i, j] if i else delta[i, j]


@kernel
def forward(kind: Any, z: Any, b: Any, a: Any) -> None:
    """Z becomes z + b, unless b is None, and a becomes f(z)."""
    if b is not None:
        for i in range(len(z)):
            for j in range(len(b)):
                z[i, j] += b[j]
    if len(kind) == SOFTMAX:
        for i in range(len(z)):
            softmax(z[i], a[i])
    else:
        flat_z, flat_a = z.reshape(z.size), a.reshape(a.size)
        for i in range(z.size):
            flat_a[i] = f(len(kind), flat_z[i])


@kernel
def backward(kind: Any, least: Any, z: Any, a: Any, delta: Any, db: Any) -> None:
    """Delta becomes delta ⊙ f'(z), 0 where that is below least; db, unless None, the rows' sum."""
    flat_z, flat_a, flat, low = (
        z.reshape(z.size),
        a.reshape(a.size),
        delta.reshape(z.size),
        least[()],
    )
    for i in range(z.size):
        flat[i] = kept(flat[i] * df(len(kind), flat_z[i], flat_a[i]), low)
    if db is not None:
        sum_rows(delta, db)


@kernel
def output(
    kind: Any, loss: Any, limit: Any, z: Any, a: Any, y: Any, share: Any, delta: Any, db: Any
) -> Any:
    """Write δ^L with each sample's share in the mean, 1/m where it is None; return the loss."""
    c = form(z[0, 0])
    total, each = c.zero, c.one / type(c.one)(len(z))
    for i in range(len(z)):
        of_sample = output_row(len(kind), len(loss), limit[()], z[i], a[i], y[i], delta[i])
        weight = each if share is None else share[i]
        total += of_sample * weight
        for j in range(z.shape[1]):
            delta[i, j] *= weight
    if db is not None:
        sum_rows(delta, db)
    return total


@inlined
def step_of(
    code: Any, once: Any, theta: Any, g: Any, move: Any,
    s: Any, v: Any, decay: Any, eta: Any, k: Any,
) -> Any:  # fmt: skip
    """Take a step over vectors, and return 0 if every number of it is finite.

    At once, θ moves, and move becomes what it was; else move becomes the step. Of s, v and decay
    those are looked at that the rule has.
    """
    rate, zero, most = eta * k[FACTOR], form(eta).zero, np.finfo(k.dtype).max
    constants, least_s, least_v, least = (k[0], k[1], k[2], k[3]), k[5], k[6], k[7]
    wrong = 0
    for i in range(len(theta)):
        s_i = s[i] if code > PLAIN else zero
        v_i = v[i] if code >= RMSPROP_MOMENTUM else zero
        s_i, v_i, move_i = element(code, g[i], s_i, v_i, constants)
        theta_i, move_i = theta[i], move_i * rate
        if code == ADAMW:
            move_i = move_i + theta_i * decay[i] * eta
        if code > PLAIN:
            s[i] = kept(s_i, least_s)
        if code >= RMSPROP_MOMENTUM:
            v[i] = kept(v_i, least_v)
        move_i = theta_i if abs(theta_i - move_i) < least else move_i
        wrong |= not (abs(move_i) <= most)
        move[i] = theta_i if once else move_i
        if once:
            theta[i] = theta_i - move_i
    return wrong


@kernel
def step(
    kind: Any, once: Any, theta: Any, g: Any, move: Any,
    s: Any, v: Any, decay: Any, eta: Any, k: Any,
) -> Any:  # fmt: skip
    """Do so, with a kind, and once (0,) or ()."""
    return step_of(len(kind), len(once), theta, g, move, s, v, decay, eta[()], k)


# What a training asks for; a rule of the user's own raises ValueError


def refused(what: str, name: str) -> ValueError:
    return ValueError(f"the {what} {name} is your own and has no compiled form: compiled=False")


def activation_code(activation: Activation) -> int:
    """Return the number of an activation of the table."""
    if ACTIVATIONS.get(activation.name) is not activation:
        raise refused("activation", repr(activation.name))
    return NAMES.index(activation.name)


def loss_code(loss: Loss, out: Activation) -> tuple[int, float]:
    """Return the number of a loss of the table with this output, and Huber's limit, or 0."""
    if limit := huber_limit(loss):
        return HUBER, limit
    if LOSSES.get(loss.name) is not loss:
        raise refused("loss", repr(loss.name))
    return (OF_Z if loss.joins(out) else OF_A)[loss.name], 0.0


def optimizer_code(rule: Optimizer) -> int:
    """Return the number of one of the update rules."""
    compute = getattr(rule.compute, "__func__", None)  # of the class, unless it was set on the rule
    if type(rule) not in (SGD, Adagrad, RMSprop, Adam, AdamW) or compute is not type(rule).compute:
        raise refused("optimizer", type(rule).__name__)
    if isinstance(rule, SGD):
        return PLAIN if not rule.momentum else NESTEROV if rule.nesterov else MOMENTUM
    if isinstance(rule, RMSprop):
        return RMSPROP_MOMENTUM if rule.momentum else RMSPROP
    return ADAGRAD if isinstance(rule, Adagrad) else ADAMW if rule.decays else ADAM


def optimizer_arguments(rule: Optimizer, theta: Array, decays: bool) -> tuple[Any, ...]:
    """Return s, v and decay, shaped like θ or without numbers, k, and its last three when clearing.

    Parameters
    ----------
    decays
        As in `Optimizer.advance`.
    """
    none, k = np.empty_like(theta, shape=(*theta.shape[:-1], 0)), np.zeros(8, theta.dtype)
    k[FACTOR] = 1
    for name in rule.constants:
        if name in PLACES:
            k[PLACES[name]] = getattr(rule, name)
    s, v, *_ = *(rule.state[name] for name in rule.vectors), none, none
    least = [*(rule.least[name] for name in rule.vectors), 0.0, 0.0][:2]
    least.append(rule.least_theta if decays or rule.decays else 0.0)
    decay = np.empty_like(theta) if rule.decays else none
    if rule.decays:
        decay[...] = rule.typed["weight_decay"]
    return s, v, decay, k, least


def make_update(
    rule: Optimizer, theta: Array, g: Array, move: Array, *, decays: bool = False, once: bool = True
) -> update.Update:
    """Return an update like `update.make_update`, in one pass.

    Parameters
    ----------
    rule, theta, g, move, decays
        As there.
    once : bool
        Whether the pass that computes the step may move θ too, until `undo`; move holds what θ was
        then, and not the step. Of a stack whose networks have their own rates it may not.
    """
    code = optimizer_code(rule)
    if rule.rate.ndim:
        return update.make_update(rule, theta, g, move, decays=decays)
    *vectors, k, least = optimizer_arguments(rule, theta, decays)
    flat = [v.ravel(order="K") for v in (theta, g, move, *vectors)]  # views
    take = partial(step, kind(code), kind(once), *flat)
    scales, fine = rule.scales if isinstance(rule, Adam) else None, True

    def compute() -> float:
        nonlocal fine
        t = rule.t = rule.t + 1
        if scales is not None:
            k[EPSILON], k[FACTOR] = scales()
        if t % EVERY < 2:
            k[LEAST_S:] = 0.0 if t % EVERY else least
        fine = take(rule.rate, k) == 0
        return 0.0 if fine else math.nan

    if once:
        undo = partial(copyto, theta, move)
        return update.Update(compute, undo, lambda: not fine, lambda: None)
    return update.in_two_parts(compute, theta, move)
