"""The rules once more, number by number, compiled by numba into single passes over memory.

    f(code, z), df(code, z, a)      an activation and its derivative; softmax takes a row
    E(code, z, a, y, limit)         an output's share of the loss, and ∂E/∂a, or ∂E/∂z where output
                                    and loss belong together
    element(code, g, s, v, k)       an optimiser's vectors after a step, and the step

Each is the expression of its table, in the order of the form in place; the loops over arrays below
are made of them, and so is the one over tiny nets in `training/compiled.py`. A loop is told its
rule by the length of a tuple, `kind`, which is a part of its type: so numba compiles one for each
rule, with nothing to decide for each number, and keeps it on disk for the processes to come. The
exponentials of a layer stay NumPy's, which takes several of them at a time.
"""

from collections import namedtuple
from functools import partial
from math import exp, expm1, log, log1p, nan, sqrt, tanh
from pathlib import Path
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK, largest_exponent
from bpnet.rules.losses import LOSSES, Loss, huber_limit
from bpnet.rules.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from bpnet.rules.subnormal import EVERY, negligible
from bpnet.rules.update import Update

try:
    from numba import njit, types
    from numba.extending import overload
except ModuleNotFoundError:
    raise ImportError("compiled=True needs numba: pip install numba", name="numba") from None

# The numbers that a type of floats needs, in this type; numba takes them for constants.
Format = namedtuple("Format", "zero half one cap tiny most leak scale cube cube3")


def make_format(real: Any) -> Any:
    info, cube = np.finfo(real), GELU_SCALE * GELU_CUBE
    of_type = largest_exponent(real), info.tiny, info.max
    return Format(*map(real, (0, 0.5, 1, *of_type, LEAK, GELU_SCALE, cube, 3 * cube)))


SINGLE, DOUBLE = make_format(np.float32), make_format(np.float64)


def inlined(function: Any) -> Any:
    """Compile what stands within a kernel."""
    return njit(forceinline=True, error_model="numpy")(function)


def kernel(function: Any) -> Any:
    """Compile a loop; it is kept on disk, where there is a place, until a rule's file changes."""
    try:
        compiled = njit(cache=True, error_model="numpy")(function)
        newest = max(file.stat().st_mtime for file in Path(__file__).parent.glob("*.py"))
        for index in Path(str(compiled.stats.cache_path)).glob(f"*.{function.__name__}-*.nbi"):
            if index.stat().st_mtime < newest:  # numba looks at the loop's own file alone
                index.unlink(missing_ok=True)
    except (RuntimeError, OSError):
        return njit(error_model="numpy")(function)
    return compiled


def form(x: Any) -> Any:
    """Return the `Format` of a number's type."""


@overload(form, strict=False)
def _form(x: Any) -> Any:
    found = SINGLE if x == types.float32 else DOUBLE
    return lambda x: found


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
def gelu_inner(z: Any) -> Any:
    c = form(z)
    return tanh((z * z * c.cube + c.scale) * z)


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
        return z if z > 0 else z * c.leak
    if code == ELU:
        return expm1(-positive(-z)) + positive(z)
    if code == SOFTPLUS:
        return log1p(exp(-abs(z))) + positive(z)
    if code == SILU:
        return sigmoid(z) * z
    if code == GELU:
        return (gelu_inner(z) + c.one) * c.half * z
    if code == EXP:
        return exp(min(z, c.cap))
    return z


@inlined
def df(code: Any, z: Any, a: Any) -> Any:
    c = form(z)
    if code == SIGMOID:
        return (c.one - a) * a
    if code == RELU:
        return c.one if z > 0 else c.zero
    if code == TANH:
        return c.one - a * a
    if code == LEAKY_RELU:
        return c.one if z > 0 else c.leak
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
        return (u * z * z * c.cube3 + u * c.scale + t + c.one) * c.half
    if code == EXP:
        return c.zero if z > c.cap else a
    return c.one


@inlined
def softmax(z: Any, a: Any) -> None:
    most, total = z[0], form(z[0]).zero
    for j in range(1, len(z)):
        most = max(most, z[j])
    for j in range(len(z)):
        a[j] = exp(z[j] - most)
        total += a[j]
    for j in range(len(z)):
        a[j] /= total


# Losses; the last three are of z, with the output that belongs to them

SQUARED, ABSOLUTE, HUBER, BINARY, POISSON, CROSS = range(6)
CODES = {"half_squared_error": SQUARED, "absolute_error": ABSOLUTE, "huber": HUBER}
CODES |= {"binary_cross_entropy": BINARY, "poisson": POISSON, "cross_entropy": CROSS}


@inlined
def E(code: Any, z: Any, a: Any, y: Any, limit: Any) -> Any:
    c, d = form(z), a - y
    if code == ABSOLUTE:
        return abs(d), c.one if d > 0 else (-c.one if d < 0 else d)
    if code == HUBER:
        s = d
        if abs(d) > limit:
            s = limit if d > 0 else -limit
        return s * (d - s * c.half), s
    if code == BINARY:
        return log1p(exp(-abs(z))) + (positive(z) - y * z), d
    if code == POISSON:
        return (positive(z - c.cap) + c.one) * a - y * z, d
    return d * d * c.half, d


@inlined
def output_row(out: Any, loss: Any, limit: Any, z: Any, a: Any, y: Any, delta: Any) -> Any:
    """Write δ of a sample, and return its loss."""
    total = mean = log_most = form(z[0]).zero
    most = 0
    if loss == CROSS:  # log a_j = z_j - z_most + log a_most, exact also where a_j is 0
        for j in range(1, len(z)):
            most = j if z[j] > z[most] else most
        log_most = log(a[most])
    for j in range(len(z)):
        share, delta[j] = E(loss, z[j], a[j], y[j], limit)
        total += -y[j] * (z[j] - z[most] + log_most) if loss == CROSS else share
        mean += delta[j] * a[j]
    if loss < BINARY:
        for j in range(len(z)):
            slope = a[j] if out == SOFTMAX else df(out, z[j], a[j])
            delta[j] = (delta[j] - mean if out == SOFTMAX else delta[j]) * slope
    return total


# Optimisers, and the places of their constants in k

TABLE = (SGD, Adagrad, RMSprop, Adam, AdamW)
PLAIN, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, RMSPROP_MOMENTUM, ADAM, ADAMW = range(8)
RHO, REST, EPSILON, MU, FACTOR, LEAST_S, LEAST_V, LEAST_THETA = range(8)
PLACES = {"rho": RHO, "beta1": RHO, "one_less_rho": REST, "beta2": REST, "momentum": MU}


@inlined
def element(code: Any, g: Any, s: Any, v: Any, k: Any) -> Any:
    if MOMENTUM <= code <= NESTEROV:
        s = s * k[MU] + g
        return s, v, s * k[MU] + g if code == NESTEROV else s
    if code >= ADAM:
        s = s * k[RHO] + g
        v = v * k[REST] + g * g
        return s, v, s / (sqrt(v) + k[EPSILON])
    if code == PLAIN:
        return s, v, g
    s = s + g * g if code == ADAGRAD else s * k[RHO] + g * g * k[REST]
    move = g / (sqrt(s) + k[EPSILON])
    if code == RMSPROP_MOMENTUM:
        v = move = v * k[MU] + move
    return s, v, move


@inlined
def kept(x: Any, least: Any) -> Any:
    return x * form(x).zero if abs(x) < least else x


# Loops over arrays


@kernel
def times_df(kind: Any, least: Any, z: Any, a: Any, delta: Any) -> None:
    """Delta becomes delta ⊙ f'(z), 0 where that is below least."""
    flat_z, flat_a, flat = z.reshape(z.size), a.reshape(z.size), delta.reshape(z.size)
    low = least[()]
    for i in range(z.size):
        flat[i] = kept(flat[i] * df(len(kind), flat_z[i], flat_a[i]), low)


@kernel
def output(out: Any, loss: Any, limit: Any, z: Any, a: Any, y: Any, share: Any, delta: Any) -> Any:
    """Write δ^L with each sample's share in the mean, 1/m where it is None; return the loss."""
    total, each = form(z[0, 0]).zero, form(z[0, 0]).one / type(z[0, 0])(len(z))
    for i in range(len(z)):
        of_sample = output_row(out, loss, limit[()], z[i], a[i], y[i], delta[i])
        weight = each if share is None else share[i]
        total += of_sample * weight
        for j in range(z.shape[1]):
            delta[i, j] *= weight
    return total


@inlined
def step_of(code: Any, theta: Any, g: Any, old: Any, s: Any, v: Any, decay: Any, eta: Any, k: Any) -> Any:
    """Take a step, and return 0 if every number of θ stays finite; old becomes what θ was."""
    rate, c = eta * k[FACTOR], form(eta)
    constants, least_s, least_v, least = (k[0], k[1], k[2], k[3]), k[5], k[6], k[7]
    wrong = 0
    for i in range(len(theta)):
        s_i = s[i] if code > PLAIN else c.zero
        v_i = v[i] if code >= RMSPROP_MOMENTUM else c.zero
        s_i, v_i, move_i = element(code, g[i], s_i, v_i, constants)
        theta_i, move_i = theta[i], move_i * rate
        if code == ADAMW:
            move_i = move_i + theta_i * decay[i] * eta
        if code > PLAIN:
            s[i] = kept(s_i, least_s)
        if code >= RMSPROP_MOMENTUM:
            v[i] = kept(v_i, least_v)
        moved = theta_i - move_i
        move_i = theta_i if abs(moved) < least else move_i
        wrong |= not (abs(moved) <= c.most)
        old[i], theta[i] = theta_i, theta_i - move_i
    return wrong


@kernel
def step(kind: Any, theta: Any, g: Any, old: Any, s: Any, v: Any, decay: Any, eta: Any, k: Any) -> Any:
    return step_of(len(kind), theta, g, old, s, v, decay, eta.item(), k)


# What a training asks for


def of_table(what: str, name: str, known: bool) -> None:
    """Raise ValueError for what is of the user's own."""
    if not known:
        raise ValueError(f"the {what} {name} is your own and has no compiled form: compiled=False")


def activation_code(activation: Activation) -> int:
    """Return the number of an activation of the table."""
    of_table("activation", repr(activation.name), ACTIVATIONS.get(activation.name) is activation)
    return NAMES.index(activation.name)


def layer_kernels(activation: Activation, z: Array, by_numpy: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return f(z, a) and times_df(z, a, delta), compiled where that is quicker."""
    code = activation_code(activation)
    if code in (SOFTPLUS, SILU, GELU, SOFTMAX):
        return by_numpy
    return by_numpy[0], partial(times_df, (0,) * code, np.array(negligible(z.dtype), z.dtype))


def loss_code(loss: Loss, out: Activation) -> tuple[int | None, float]:
    """Return a loss's number, None with an output of `pairs.py`, and Huber's limit, or 0."""
    limit = huber_limit(loss)
    of_table("loss", repr(loss.name), bool(limit) or LOSSES.get(loss.name) is loss)
    return None if loss.pair(out) else CODES["huber" if limit else loss.name], limit


def optimizer_code(rule: Optimizer) -> int:
    """Return the number of one of the update rules, or of one that computes as it does."""
    functions = [getattr(f, "__func__", None) for f in (rule.compute, rule.advance)]
    known = any(functions == [base.compute, base.advance] for base in TABLE)
    of_table("optimizer", type(rule).__name__, known)
    if isinstance(rule, SGD):
        return PLAIN if not rule.momentum else NESTEROV if rule.nesterov else MOMENTUM
    if isinstance(rule, RMSprop):
        return RMSPROP_MOMENTUM if rule.momentum else RMSPROP
    return ADAGRAD if isinstance(rule, Adagrad) else ADAMW if rule.decays else ADAM


def optimizer_arguments(rule: Optimizer, theta: Array, decays: bool) -> tuple[Any, ...]:
    """Return s, v and decay, like θ or without numbers, k, and its last three when clearing."""
    none, k = np.empty_like(theta, shape=(*theta.shape[:-1], 0)), np.zeros(8, theta.dtype)
    k[FACTOR], k[EPSILON] = 1, getattr(rule, "epsilon", 0)
    for name in PLACES.keys() & rule.constants:
        k[PLACES[name]] = getattr(rule, name)
    s, v, *_ = *(rule.state[name] for name in rule.vectors), none, none
    least = [*(rule.least[name] for name in rule.vectors), 0.0, 0.0][:2]
    least.append(rule.least_theta if decays or rule.decays else 0.0)
    decay = np.zeros_like(theta) + rule.typed["weight_decay"] if rule.decays else none
    return s, v, decay, k, least


def make_update(rule: Optimizer, theta: Array, g: Array, old: Array, *, decays: bool) -> Update:
    """Return the update of one network in one pass, which moves θ too, until `undo`."""
    if rule.within is not None:
        inner, handed = rule.within, np.empty_like(g)
        taken = make_update(inner, theta, handed, old, decays=decays)

        def hand_on() -> Any:
            rule.t += 1
            inner.t, inner.rate = rule.t - 1, rule.rate
            rule.hand_on(theta, g, handed)
            return taken.compute()

        return taken._replace(compute=hand_on)
    *vectors, k, least = optimizer_arguments(rule, theta, decays)
    take = partial(step, (0,) * optimizer_code(rule), theta, g, old, *vectors)
    scales, fine = rule.scales if isinstance(rule, Adam) else None, True

    def compute() -> float:
        nonlocal fine
        t = rule.t = rule.t + 1
        if scales is not None:
            k[EPSILON], k[FACTOR] = scales()
        if t % EVERY < 2:
            k[LEAST_S:] = 0.0 if t % EVERY else least
        fine = take(rule.rate, k) == 0
        return 0.0 if fine else nan

    return Update(compute, partial(np.copyto, theta, old), lambda: not fine, lambda: None)
