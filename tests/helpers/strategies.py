"""Nets with a batch and targets that suit their loss: what the property tests run on.

A problem is drawn as sizes, names and a seed; its numbers come from that seed, so that they are
unequal, of both signs and far from any special case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from bpnet import MLP
from bpnet.network.parameters import blocks, count

HIDDEN = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "softplus",
    "silu",
    "gelu",
    "exp",
)
ANY_OUTPUT = (*HIDDEN, "softmax")
OUTPUTS = {
    "half_squared_error": ANY_OUTPUT,
    "cross_entropy": ("softmax",),
    "binary_cross_entropy": ("sigmoid", "softmax"),
    "absolute_error": ANY_OUTPUT,
    "huber": ANY_OUTPUT,
    "poisson": ("sigmoid", "softplus", "exp", "softmax"),
}
PAIRS = tuple((output, loss) for loss, outputs in OUTPUTS.items() for output in outputs)
JUMPS = ("relu", "leaky_relu")  # f' jumps at z = 0


@dataclass
class Problem:
    net: MLP
    x: np.ndarray
    y: np.ndarray

    def is_tame(self) -> bool:
        """Whether no neuron is so saturated that the rounding of 1 - a shows in the gradient."""
        cache = self.net.forward(self.x)
        return max(abs(z).max() for z in cache.z.values()) < 4

    def is_smooth(self, room: float = 1e-3) -> bool:
        """Whether no jump of a derivative is near, so that differences mean something."""
        cache = self.net.forward(self.x)
        d = cache.a[self.net.L] - self.y
        if self.net.loss_function.name == "absolute_error" and abs(d).min() < room:
            return False
        if self.net.loss_function.name == "huber" and abs(abs(d) - 1).min() < room:
            return False
        jumps = [l for l, f in self.net.activation.items() if f.name in JUMPS]
        return all(abs(cache.z[l]).min() > room for l in jumps)


def problem(
    sizes: Sequence[int],
    activation: Sequence[str],
    loss: str,
    m: int = 3,
    seed: int = 0,
    dtype: str = "float64",
) -> Problem:
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-1, 1, count(sizes))
    for start, n_out, n_in in blocks(sizes):
        theta[start : start + n_out * n_in] *= 1.5 / np.sqrt(n_in)
    net = MLP.init(sizes, activation=activation, loss=loss, rng=0, dtype=dtype)
    net.theta = theta
    x = rng.normal(size=(m, sizes[0]))
    return Problem(net, x.astype(dtype), targets(rng, loss, (m, sizes[-1])).astype(dtype))


def targets(rng: np.random.Generator, loss: str, shape: tuple[int, int]) -> np.ndarray:
    """Targets in the loss's domain, now at its edge (labels, one-hot rows), now inside it."""
    at_edge = rng.random() < 0.5
    if loss == "cross_entropy":
        m, n = shape
        return np.eye(n)[rng.integers(n, size=m)] if at_edge else rng.dirichlet(np.ones(n), m)
    if loss == "binary_cross_entropy":
        p = rng.random(shape)
        return np.round(p) if at_edge else p
    if loss == "poisson":
        return rng.poisson(2.0, shape) * (1.0 if at_edge else 0.7)
    return rng.normal(0, 1.5, shape)


@st.composite
def problems(
    draw: st.DrawFn,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    hidden: Sequence[str] = HIDDEN,
    max_depth: int = 6,
    max_width: int = 8,
    max_m: int = 7,
    dtype: str = "float64",
    smooth: bool = False,
) -> Problem:
    output, loss = draw(st.sampled_from(pairs))
    between = draw(st.lists(st.sampled_from(hidden), max_size=max_depth - 2))
    widths = st.integers(1, max_width)
    sizes = [draw(widths) for _ in range(len(between) + 1)]
    sizes.append(draw(st.integers(1, max_width) | st.integers(2, max_width)))
    m, seed = draw(st.integers(1, max_m)), draw(st.integers(0, 2**32 - 1))
    drawn = problem(sizes, (*between, output), loss, m, seed, dtype)
    assume(drawn.is_tame() and (drawn.is_smooth() or not smooth))
    return drawn
