"""Losses with outputs that they do not belong to, in their exact form from z.

∂E/∂a ⊙ f'(z) divides by an a that has rounded to 0, or multiplies by an f' that has: what is left
of the gradient is then wrong, not small. Here both have met on paper. S is the sum of a row's e^z.

    poisson, softplus    log a left of 0 is z + log(log(1 + t)/t) with t = e^z
                         δ = σ(z) - y σ(z)/a
    poisson, sigmoid     δ = (1 - a) (a - y)
    poisson, softmax     δ = a Σ y - y, since the a of a row add up to 1
    binary_cross_entropy, softmax
                         with the odds q_j = a_j/(1 - a_j) and h_j = (1 - y_j) q_j - y_j
                         δ_i = a_i - y_i - a_i Σ_{j≠i} h_j
                         of the largest term q may overflow, but a_i q = r_i/S does not, where r is
                         the softmax of the others among themselves
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bpnet.arrays import Array
from bpnet.rules.activations import log_softmax, sigmoid, softmax, softplus


@dataclass(frozen=True)
class Pair:
    """The exact form of a loss with one output activation.

    Parameters
    ----------
    output : str
        Name of the output activation.
    E_z : callable
        ``E_z(z, y)`` returns each output's share of the loss.
    delta : callable
        ``delta(z, y)`` returns ∂E/∂z.
    """

    output: str
    E_z: Callable[[Array, Array], Array]
    delta: Callable[[Array, Array], Array]


def log1p_over(t: Array) -> Array:
    """Return log(1 + t)/t, 1 at t = 0."""
    nothing = t == 0
    quotient: Array = np.log1p(t) / np.where(nothing, 1, t) + nothing
    return quotient


def log_softplus(z: Array) -> Array:
    """Return log log(1 + e^z)."""
    left = np.minimum(z, 0)
    log_a: Array = np.where(
        z > 0, np.log(softplus(np.maximum(z, 0))), left + np.log(log1p_over(np.exp(left)))
    )
    return log_a


def softplus_slope(z: Array) -> Array:
    """Return σ(z)/log(1 + e^z), the derivative of `log_softplus`."""
    t, right = np.exp(np.minimum(z, 0)), np.maximum(z, 0)
    slope: Array = np.where(z > 0, sigmoid(right) / softplus(right), 1 / ((1 + t) * log1p_over(t)))
    return slope


def largest_apart(z: Array) -> tuple[Array, Array, Array]:
    """Return where each row's largest z is, and a softmax without it.

    Returns
    -------
    largest : array of bool, shape (..., m, n)
        The first of equals.
    log_rest : array, shape (..., m, 1)
        log Σ e^z over the others.
    r : array, shape (..., m, n)
        The softmax of the others among themselves; 0 at the largest.
    """
    largest = np.arange(z.shape[-1], like=z) == z.real.argmax(axis=-1)[..., None]
    lowest = z.real.min() - 1
    second = np.max(np.where(largest, lowest, z), axis=-1, keepdims=True)
    among = np.where(largest, 0, np.exp(np.where(largest, lowest, z) - second))
    total = among.sum(axis=-1, keepdims=True)
    return largest, second + np.log(total), among / total


def softmax_binary_E_z(z: Array, y: Array) -> Array:
    """Return -y log a - (1 - y) log(1 - a), a = softmax(z); at most one a is above ½."""
    if z.shape[-1] == 1:  # a is 1 at any z
        constant: Array = (y - 1) * np.log(np.finfo(z.dtype).tiny) + 0 * z
        return constant
    largest, log_rest, _ = largest_apart(z)
    log_a = log_softmax(z)
    a = np.where(largest, 0, np.exp(log_a))
    log_S = np.sum(np.where(largest, z - log_a, 0), axis=-1, keepdims=True)
    share: Array = -y * log_a - (1 - y) * np.where(largest, log_rest - log_S, np.log1p(-a))
    return share


def softmax_binary_delta(z: Array, y: Array) -> Array:
    """Return ∂E/∂z of the same; see the head of this file."""
    if z.shape[-1] == 1:  # a is 1 at any z
        return np.zeros_like(z)
    largest, _, r = largest_apart(z)
    a = softmax(z)
    others = np.where(largest, 0, a)
    h = np.where(largest, 0, (1 - y) * others / (1 - others) - y)
    y_most, a_most = (np.sum(np.where(largest, v, 0), axis=-1, keepdims=True) for v in (y, a))
    from_largest = np.where(largest, 0, (1 - y_most) * a_most * r - y_most * a)
    delta: Array = a - y - a * (np.sum(h, axis=-1, keepdims=True) - h) - from_largest
    return delta


POISSON = (
    Pair(
        "softplus",
        lambda z, y: softplus(z) - y * log_softplus(z),
        lambda z, y: sigmoid(z) - y * softplus_slope(z),
    ),
    Pair(
        "sigmoid",
        lambda z, y: sigmoid(z) + y * softplus(-z),
        lambda z, y: sigmoid(-z) * (sigmoid(z) - y),
    ),
    Pair(
        "softmax",
        lambda z, y: softmax(z) - y * log_softmax(z),
        lambda z, y: softmax(z) * np.sum(y, axis=-1, keepdims=True) - y,
    ),
)
BINARY_CROSS_ENTROPY = (Pair("softmax", softmax_binary_E_z, softmax_binary_delta),)
