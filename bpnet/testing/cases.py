"""Networks with a batch and targets that suit them, drawn from a seed: what checks run on.

A case is made so that mistakes show in it: weights and biases are unequal, of both signs and away
from 0, and no neuron is saturated: |z| is at most 3 in its batch. Targets lie in the loss's domain,
a part of them at its edge: one-hot rows, labels 0 and 1, counts of 0.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.mlp import MLP
from bpnet.network.parameters import FIRST
from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.initializers import Seed, generator
from bpnet.rules.losses import LOSSES, Loss

REACH = 2.0  # the largest |x|
TAME = 3.0  # the largest |z|
GRID = np.linspace(0, 1, 33)[:, None]  # where an activation is looked at for its least and most
EDGE = 0.3  # how many targets lie at an edge of the domain


@dataclass(frozen=True, eq=False)
class Case:
    """A net, a batch and its targets: ``net, x, y = case``. Its repr is the call that makes it."""

    net: MLP
    x: Array  # (m, n_1)
    y: Array  # (m, n_L)
    seed: int

    def __iter__(self) -> Iterator[MLP | Array]:
        return iter((self.net, self.x, self.y))

    def __repr__(self) -> str:
        net, loss = self.net, named(self.net.loss_function)
        layers = [named(f) for f in net.activation.values()]
        activation = layers[0] if len(set(layers)) == 1 else f"({', '.join(layers)})"
        dtype = "" if net.dtype == np.float64 else f", dtype='{net.dtype}'"
        rules = f"activation={activation}, loss={loss}"
        return f"case({net.sizes}, {rules}, m={len(self.x)}, seed={self.seed}{dtype})"


def named(rule: Activation | Loss) -> str:
    """Return how to write a rule in a call: its name in quotes, if that is known."""
    known = rule is ACTIVATIONS.get(rule.name) or rule is LOSSES.get(rule.name)
    return repr(rule.name) if known else rule.name


def case(
    sizes: Sequence[int],
    *,
    activation: str | Activation | Sequence[str | Activation] = "sigmoid",
    output: str | Activation | None = None,
    loss: str | Loss = "half_squared_error",
    m: int = 3,
    seed: int = 0,
    dtype: DTypeLike = np.float64,
) -> Case:
    """Return the case of a seed: the same net, m samples and their targets every time.

    The other parameters, and the errors, are as in `MLP.init`.

    Examples
    --------
    >>> from bpnet.testing import case
    >>> net, x, y = case((3, 5, 2), activation="tanh", loss="cross_entropy", m=4, seed=7)
    >>> print(net, x.shape, y.shape)
    MLP(3-5-2, tanh, softmax; cross_entropy, float64) (4, 3) (4, 2)
    """
    seed, m = as_int(seed, "seed", least=0), as_int(m, "m", least=1)
    rng = generator(seed)
    net = MLP.init(sizes, activation=activation, output=output, loss=loss, rng=0, dtype=dtype)
    x, y = draw_batch(net, m, rng)
    draw_theta(net, rng, x)
    return Case(net, x, y, seed)


def draw_theta(net: MLP, rng: Seed, x: Array | None = None) -> None:
    """Give a net weights that show mistakes: no |z| beyond 3 in this batch, or for any |x| <= 2."""
    rng = generator(rng)
    a = np.outer([-REACH, REACH], np.ones(net.sizes[0])) if x is None else x.astype(np.float64)
    for l in range(FIRST, net.L + 1):
        W = away_from_0(rng, net.W[l].shape) * (1.5 / math.sqrt(net.sizes[l - 2]))
        b, f = away_from_0(rng, net.b[l].shape) * 0.75, net.activation[l].f
        if x is None:  # a holds the least and the most, and so does z
            middle, reach = W @ (a[0] + a[1]) / 2 + b, np.abs(W) @ (a[1] - a[0]) / 2
            z = np.stack([middle - reach, middle + reach])
        else:
            z = a @ W.T + b
        tame = min(1.0, TAME / float(np.abs(z).max()))
        net.W[l], net.b[l], z = tame * W, tame * b, tame * z
        a = f(z)
        if x is None:  # f may have its least or its most between the ends
            a = f(z[0] + GRID * (z[1] - z[0]))
            a = np.stack([a.min(axis=0), a.max(axis=0)])


def away_from_0(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return numbers from ±(0.2, 1)."""
    numbers: Array = rng.uniform(0.2, 1.0, shape) * rng.choice((-1.0, 1.0), shape)
    return numbers


def draw_batch(net: MLP, m: int, rng: Seed) -> tuple[Array, Array]:
    """Return x, (m, n_1), and y, (m, n_L), for a net, in its dtype."""
    rng = generator(rng)
    x = draw_inputs(net, m, rng)
    return x, draw_targets(net.loss_function, (m, net.sizes[-1]), rng).astype(net.dtype)


def draw_inputs(net: MLP, m: int, rng: Seed) -> Array:
    """Return x, (m, n_1), in the net's dtype."""
    return generator(rng).uniform(-REACH, REACH, (m, net.sizes[0])).astype(net.dtype)


def draw_targets(loss: Loss, shape: tuple[int, int], rng: Seed) -> Array:
    """Return y, (m, n_L), in the domain of the loss and at its edge, in float64."""
    rng, (m, n) = generator(rng), shape
    low, high = loss.target_range
    if loss.distribution:
        one_hot = np.eye(n)[rng.integers(n, size=m)]
        return np.where(rng.random((m, 1)) < 0.5, one_hot, rng.dirichlet(np.ones(n), m))
    if math.isfinite(low) and math.isfinite(high):
        u = rng.random(shape)
        inside = low + (high - low) * rng.random(shape)
        return np.where(u < EDGE, low, np.where(u > 1 - EDGE, high, inside))
    if math.isfinite(low) or math.isfinite(high):  # counts, and what is between them
        above = rng.poisson(2.0, shape) * np.where(rng.random(shape) < 0.5, 1.0, 0.7)
        return np.asarray(low + above if math.isfinite(low) else high - above)
    return rng.normal(0.0, 1.5, shape)
