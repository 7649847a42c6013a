"""Activations: one table of name, f and f'.

z is a layer's weighted input, a = f(z) its output; both have shape (..., m, n), one row a sample.
A derivative takes what it needs of (z, a). g is ∂E/∂a, and g ⊙ f'(z) is ∂E/∂z.

Every entry is finite at any finite z, and raises no flag but underflow up to |z| = 1e4 and far
beyond. Every entry also takes complex z, analytic away from its kinks: that is what the complex
step needs, and why no ``abs`` stands here. ``np.maximum`` and ``np.minimum`` order complex numbers
by their real part first.

`inplace.py` has the same rules without temporary arrays, for training.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import known_name
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK, largest_exponent
from bpnet.rules.inplace import PAIRS, Pair


@dataclass(frozen=True)
class Activation:
    """An activation and its derivative.

    Parameters
    ----------
    name : str
        What it is called in messages and files.
    f, df : callable
        ``f(z)`` returns a, ``df(z, a)`` f'(z), of z's shape and dtype.
    vjp : callable, optional
        ``vjp(g, z, a)`` returns ∂E/∂z from g = ∂E/∂a, for an activation that mixes the neurons
        of a layer, so that f' is a matrix. The default is ``g * df(z, a)``.
    range : tuple of float
        The interval that a lies in; a loss with logarithms needs (0, 1) or (0, inf).
    rows_sum_to_one : bool
        Whether each row of a is a probability distribution.
    initializer : str
        The start weights that suit it.
    kinks : tuple of float
        Where f' jumps.
    analytic : bool
        Whether f and df take complex z, so that the complex step may be used.
    attained : bool
        Whether a may be the finite end of its range, of which there is no logarithm.

    Examples
    --------
    >>> import numpy as np
    >>> from bpnet import MLP, Activation
    >>> sine = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
    >>> MLP.init((2, 3, 1), activation=sine, rng=0).activation[2].name
    'sine'
    """

    name: str
    f: Callable[[Array], Array]
    df: Callable[[Array, Array], Array]
    vjp: Callable[[Array, Array, Array], Array] | None = None
    range: tuple[float, float] = (-math.inf, math.inf)
    rows_sum_to_one: bool = False
    initializer: str = "xavier_uniform"
    kinks: tuple[float, ...] = ()
    analytic: bool = False
    attained: bool = False
    # Makes the same in place, for arrays like a given z. Only the table's entries have it, set
    # afterwards: a copy with another rule, by `dataclasses.replace`, must not keep it.
    in_place: Callable[[Array], Pair] | None = field(default=None, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return short(self)

    def __reduce__(self) -> Any:
        # An activation of the table is pickled by its name, since its rules are lambdas.
        if ACTIVATIONS.get(self.name) is self:
            return get_activation, (self.name,)
        return super().__reduce__()

    def backward(self, g: Array, z: Array, a: Array) -> Array:
        """Return ∂E/∂z from g = ∂E/∂a: g ⊙ f'(z), or what `vjp` makes of it."""
        return g * self.df(z, a) if self.vjp is None else self.vjp(g, z, a)


def short(rule: Any) -> str:
    """Return a rule's name, and what is not the default, but no functions."""
    told = {f.name: getattr(rule, f.name) for f in fields(rule)[1:] if f.repr}
    usual = {f.name: f.default for f in fields(rule)}
    more = [f"{key}={value!r}" for key, value in told.items()
            if value != usual[key] and not callable(value)]  # fmt: skip
    return f"{type(rule).__name__}({', '.join([repr(rule.name), *more])})"


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + e^-z), as e^min(z,0) / (1 + e^-|z|): no exponent is positive."""
    a: Array = np.exp(np.minimum(z, 0)) / (1 + np.exp(np.minimum(z, -z)))
    return a


def softplus(z: Array) -> Array:
    """Return log(1 + e^z), as max(z, 0) + log(1 + e^-|z|)."""
    return np.maximum(z, 0) + np.log1p(np.exp(np.minimum(z, -z)))


def softmax(z: Array) -> Array:
    """Return e^z_i / Σ_j e^z_j; taking the row's largest z off first leaves it as it is."""
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    a: Array = e / np.sum(e, axis=-1, keepdims=True)
    return a


def log_softmax(z: Array) -> Array:
    """Log softmax(z), finite at any finite z."""
    shifted = z - np.max(z, axis=-1, keepdims=True)
    log_a: Array = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return log_a


def softmax_vjp(g: Array, z: Array, a: Array) -> Array:
    """Return a_j (g_j - Σ_i g_i a_i), since ∂a_i/∂z_j = a_i (1[i=j] - a_j)."""
    delta: Array = a * (g - np.sum(g * a, axis=-1, keepdims=True))
    return delta


def gelu_inner(z: Array) -> Array:
    """T = tanh(√(2/π) (z + 0.044715 z³))."""
    return np.tanh(GELU_SCALE * (z + GELU_CUBE * z * z * z))


def gelu_prime(z: Array, a: Array) -> Array:
    """Return the derivative of z (1 + t) / 2: (1 + t) / 2 + z t' / 2."""
    t = gelu_inner(z)
    s = (1 - t) * (1 + t) * z  # 0 at large z, before z² could overflow
    df: Array = (1 + t + GELU_SCALE * (s + 3 * GELU_CUBE * s * z * z)) / 2
    return df


def silu_prime(z: Array, a: Array) -> Array:
    """Return the derivative of z σ(z): σ (1 + z (1 - σ))."""
    s = sigmoid(z)
    df: Array = s * (1 + z * (1 - s))
    return df


def capped_exp(z: Array) -> Array:
    """Return e^z; beyond `largest_exponent` it stays constant, so that losses stay finite."""
    return np.exp(np.minimum(z, largest_exponent(z.dtype)))


def where_positive(z: Array, yes: Array | float, no: Array | float) -> Array:
    """Pick by the sign of z, in z's dtype; at the kink z = 0 it is `no`."""
    picked: Array = np.where(z > 0, yes, no).astype(z.dtype)
    return picked


# fmt: off
TABLE = (
    Activation("identity", lambda z: z.copy(), lambda z, a: np.ones_like(z), analytic=True),
    Activation("sigmoid",  sigmoid, lambda z, a: a * (1 - a), range=(0, 1), analytic=True),
    Activation("tanh",     np.tanh, lambda z, a: 1 - a * a, range=(-1, 1), analytic=True),
    Activation("relu",     lambda z: np.maximum(z, 0), lambda z, a: where_positive(z, 1, 0),
               range=(0, math.inf), initializer="he_uniform", kinks=(0.0,), analytic=True,
               attained=True),
    Activation("leaky_relu", lambda z: np.maximum(z, LEAK * z),
               lambda z, a: where_positive(z, 1, LEAK),
               initializer="he_uniform", kinks=(0.0,), analytic=True),
    Activation("elu",      lambda z: np.maximum(z, 0) + np.expm1(np.minimum(z, 0)),
               lambda z, a: where_positive(z, 1, a + 1),
               range=(-1, math.inf), initializer="he_uniform", analytic=True),
    Activation("softplus", softplus, lambda z, a: sigmoid(z),
               range=(0, math.inf), initializer="he_uniform", analytic=True),
    Activation("silu",     lambda z: z * sigmoid(z), silu_prime,
               range=(-0.2784645427610738, math.inf), initializer="he_uniform", analytic=True,
               attained=True),
    Activation("gelu",     lambda z: z * ((1 + gelu_inner(z)) / 2), gelu_prime,
               range=(-0.17004075057125406, math.inf), initializer="he_uniform", analytic=True,
               attained=True),
    Activation("exp",      capped_exp, lambda z, a: np.where(z <= largest_exponent(z.dtype), a, 0),
               range=(0, math.inf), analytic=True),
    Activation("softmax",  softmax, lambda z, a: a * (1 - a), vjp=softmax_vjp,
               range=(0, 1), rows_sum_to_one=True, analytic=True),
)
# fmt: on
for entry in TABLE:
    object.__setattr__(entry, "in_place", PAIRS[entry.name])

ACTIVATIONS = {activation.name: activation for activation in TABLE}
ALIKE = {"linear": "identity", "none": "identity", "logistic": "sigmoid", "swish": "silu"}


def get_activation(activation: str | Activation) -> Activation:
    """Return the activation of that name, or the given object; refuse what is neither."""
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str):
        raise TypeError(f"an activation is a name or an Activation object, not {activation!r}")
    return ACTIVATIONS[known_name(activation, "activation", ACTIVATIONS, ALIKE)]
