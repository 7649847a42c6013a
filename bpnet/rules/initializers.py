"""Start weights, always drawn from a given random generator.

A rule gives the half-width of a uniform distribution or the standard deviation of a normal one
from a layer's n_in = n_{l-1} inputs and n_out = n_l neurons; biases start at 0:

    xavier (glorot)  Var W = 2 / (n_in + n_out)   Glorot & Bengio 2010, for sigmoid and tanh
    he               Var W = 2 / n_in             He et al. 2015, for ReLU and its relatives
    lecun            Var W = 1 / n_in             LeCun et al. 1998, "Efficient BackProp"
    uniform          W and b from U(0, 1)         the article's; it saturates wide layers

A uniform distribution on ±r has the variance r²/3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import known_name

Seed: TypeAlias = "int | np.random.Generator"  # numpy.random is imported only to draw


@dataclass(frozen=True)
class Initializer:
    """A rule for start weights.

    Parameters
    ----------
    name : str
    W : callable
        ``W(rng, shape)`` returns W^l; shape is (..., n_l, n_{l-1}).
    b : callable
        ``b(rng, shape)`` returns b^l; shape is (..., n_l).
    """

    name: str
    W: Callable[[np.random.Generator, tuple[int, ...]], Array]
    b: Callable[[np.random.Generator, tuple[int, ...]], Array]


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return zeros: where biases start."""
    return np.zeros(shape)


def scaled(name: str, variance: Callable[[int, int], float]) -> list[Initializer]:
    """Return the uniform and the normal rule with this variance of (n_in, n_out)."""

    def uniform_W(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        r = math.sqrt(3 * variance(shape[-1], shape[-2]))
        return rng.uniform(-r, r, shape)

    def normal_W(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.normal(0, math.sqrt(variance(shape[-1], shape[-2])), shape)

    return [Initializer(f"{name}_uniform", uniform_W, zeros), Initializer(f"{name}_normal", normal_W, zeros)]


TABLE = (
    Initializer("uniform", *[lambda rng, shape: rng.random(shape)] * 2),
    *scaled("xavier", lambda n_in, n_out: 2 / (n_in + n_out)),
    *scaled("glorot", lambda n_in, n_out: 2 / (n_in + n_out)),
    *scaled("he", lambda n_in, n_out: 2 / n_in),
    *scaled("lecun", lambda n_in, n_out: 1 / n_in),
)
INITIALIZERS = {rule.name: rule for rule in TABLE}
ALIKE = {"kaiminguniform": "he_uniform", "kaimingnormal": "he_normal"}


def get_initializer(rule: str | Initializer) -> Initializer:
    """Return the rule of that name, or the given object; refuse what is neither."""
    if isinstance(rule, Initializer):
        return rule
    if not isinstance(rule, str):
        raise TypeError(f"an initializer is a name or an Initializer object, not {rule!r}")
    return INITIALIZERS[known_name(rule, "initializer", INITIALIZERS, ALIKE)]


def generator(rng: Seed) -> np.random.Generator:
    """Return the generator, or a new one from a seed, an integer >= 0."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (bool, np.bool_)) or not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng must be a seed (an integer >= 0) or a numpy.random.Generator, not {rng!r}")
    if rng < 0:
        raise ValueError(f"rng, a seed, must be >= 0, not {rng}")
    return np.random.default_rng(rng)
