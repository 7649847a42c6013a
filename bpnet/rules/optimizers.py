"""Update rules on flat vectors; they know no network.

    θ     parameters, (P,), or (networks, P) for a stack
    g     ∂E/∂θ, of the same shape; only read
    η     learning rate, a number or a schedule; for a stack also one number a network
    t     number of this step, 1, 2, ...

Each step is θ ← θ - move, and `move` is what a rule computes: always minus a gradient. Constants
are 0-d arrays of θ's dtype, and the moments are kept rescaled, since on a small net a step costs
what its calls cost and on a large one what its passes over θ cost.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy import (  # by name, as in activations_inplace.py
    add,
    divide,
    multiply,
    sqrt,
    square,
    subtract,
)

from bpnet.arrays import Array
from bpnet.checks import all_finite, as_float
from bpnet.rules.schedules import Constant, Schedule, as_schedule


class Optimizer:
    """An update rule with its state.

    A rule names the vectors it keeps in ``vectors``, and writes the step in `compute`. `fit` calls
    `start`, then `set_rate_at` and `compute`; `step` is for a loop of your own.

    Attributes
    ----------
    learning_rate : float or Schedule
        May be set anew, also while training: it holds from the next epoch on.
    t : int
        Steps taken.
    state : dict of str to array
        The vectors kept from step to step, by name; empty before `start`.
    """

    vectors: ClassVar[tuple[str, ...]] = ()
    learning_rate: Any

    def __post_init__(self) -> None:
        self._adopt_rate()
        self.state: dict[str, Array] = {}
        self.t = 0
        self._check()

    def _check(self) -> None:
        """Raise for hyperparameters out of range."""

    def _adopt_rate(self) -> None:
        self.schedule: Schedule = as_schedule(self.learning_rate)
        self._adopted = self.learning_rate

    def start(self, theta: Array, weights: Array | None = None) -> None:
        """Begin afresh: forget every step taken, make room for vectors like θ.

        Parameters
        ----------
        theta : array
        weights : array of bool, shape (P,), optional
            Which coordinates are weights, for rules that decay weights but not biases.

        Raises
        ------
        TypeError
            If θ is no array of floats.
        """
        check_floats(theta)
        self._check()
        self.t = 0
        self.state = {name: np.zeros_like(theta) for name in self.vectors}
        self.schedule.reset()
        self._prepare(theta, weights)

    def resume(self, theta: Array, weights: Array | None = None) -> None:
        """Go on with the state as it is, or begin where there is none.

        Raises
        ------
        TypeError
            If θ is no array of floats.
        ValueError
            If the state is of vectors of another shape or dtype, holds NaN or infinity, or is
            not what the hyperparameters need.
        """
        check_floats(theta)
        if not self.state and self.t == 0:
            self.start(theta, weights)
            return
        self._check()
        if set(self.state) != set(self.vectors):
            raise ValueError("the optimizer's hyperparameters have changed: start it afresh")
        for name, vector in self.state.items():
            if vector.shape != theta.shape or vector.dtype != theta.dtype:
                raise ValueError(
                    f"the optimizer's {name} is {vector.dtype} of shape {vector.shape}, but theta "
                    f"is {theta.dtype} of shape {theta.shape}: start it afresh"
                )
            if not all_finite(vector):
                raise ValueError(
                    f"the optimizer's {name} is not finite since training diverged: start it afresh"
                )
        self._prepare(theta, weights)

    def _prepare(self, theta: Array, weights: Array | None) -> None:
        self._move = np.empty_like(theta)
        self._weights = weights
        self._shape, self._dtype = theta.shape, theta.dtype
        self._largest = float(np.finfo(theta.dtype).max)
        self.last_rate: Any = None
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, float)}
        with np.errstate(over="ignore"):
            self._constants = {name: np.array(v, theta.dtype) for name, v in numbers.items()}
        for name, constant in self._constants.items():
            if not np.isfinite(constant) or (constant == 0) != (numbers[name] == 0):
                raise ValueError(f"{name}={numbers[name]:g} is out of range for {theta.dtype}")
        self.set_rate_at(0.0)

    def set_rate_at(self, t: float) -> None:
        """Set η for the steps that follow to what the schedule has after t epochs."""
        if self.learning_rate is not self._adopted:
            self._adopt_rate()
        schedule = self.schedule
        rate = schedule.rate if type(schedule) is Constant else schedule(t)  # quicker than a call
        if rate is not self.last_rate:
            self.last_rate = rate
            self.set_rate(rate)

    def set_rate(self, rate: Any) -> None:
        """Set η for the steps that follow: a number, or one for each network of a stack.

        Raises
        ------
        ValueError
            If it is negative, too large or NaN, or not one for each network.
        """
        if isinstance(rate, float):  # as almost always: a comparison in Python is quicker
            known = 0 <= rate <= self._largest
        else:
            rate = np.asarray(rate, np.float64)
            known = bool(((rate >= 0) & (rate <= self._largest)).all())
        if not known:
            raise ValueError(
                f"a learning rate must be in [0, {self._largest:.3g}], but the schedule gave {rate}"
            )
        rate = np.array(rate, self._dtype)
        if rate.ndim and rate.shape != self._shape[:-1]:
            raise ValueError(
                f"learning_rate holds {len(rate)} numbers, but one is needed for each network "
                f"of a stack, and theta has shape {self._shape}"
            )
        self.rate = rate[:, None] if rate.ndim else rate

    def of_network(self, k: int) -> Self:
        """Return the rule for network k of a stack, whose vectors are views of this one's."""
        one = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and value.shape == self._shape:
                setattr(one, name, value[k])
        one.state = {name: vector[k] for name, vector in self.state.items()}
        one._shape = self._shape[1:]
        return one

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write what to subtract from θ in step ``t`` into move; count t up before."""
        raise NotImplementedError

    def step(self, theta: Array, g: Array) -> None:
        """Take one step: θ changes in place.

        Raises
        ------
        TypeError
            If θ is no array of floats.
        ValueError
            If θ and g differ in shape, or θ from that of the steps before.
        """
        if not hasattr(self, "_move"):
            self.resume(theta)
        if theta.shape != np.shape(g):
            raise ValueError(f"theta has shape {theta.shape}, but g has shape {np.shape(g)}")
        if (self._shape, self._dtype) != (theta.shape, theta.dtype):
            raise ValueError(
                f"theta is {theta.dtype} of shape {theta.shape}, but was {self._dtype} of shape "
                f"{self._shape} in the steps before: call start(theta) to begin afresh"
            )
        self.t += 1
        self.compute(theta, g, self._move)
        subtract(theta, self._move, theta)


def check_floats(theta: Any) -> None:
    """Raise TypeError for a θ in which a step cannot be taken in place."""
    if not isinstance(theta, np.ndarray) or theta.dtype.kind != "f":
        kind = getattr(theta, "dtype", type(theta).__name__)
        raise TypeError(f"theta must be an array of floats, which changes in place, not {kind}")


@dataclass
class SGD(Optimizer):
    """Gradient descent, with momentum if asked.

    plain       move = η g
    momentum    v ← μ v + g,   move = η v                     (Polyak 1964)
    Nesterov    v ← μ v + g,   move = η (g + μ v)             (Sutskever et al. 2013, as in PyTorch)

    Parameters
    ----------
    learning_rate : float or Schedule
        η > 0.
    momentum : float
        μ in [0, 1).
    nesterov : bool
    """

    learning_rate: Any
    momentum: float = 0.0
    nesterov: bool = False

    def _check(self) -> None:
        self.momentum = as_float(self.momentum, "momentum", least=0, below=1)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum: give momentum=0.9 or so")
        self.vectors = ("v",) if self.momentum else ()  # type: ignore[misc]  # none is kept without

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        if not self.momentum:
            multiply(g, self.rate, move)
            return
        v, mu = self.state["v"], self._constants["momentum"]
        multiply(v, mu, v)
        add(v, g, v)
        if self.nesterov:
            multiply(v, mu, move)
            add(move, g, move)
            multiply(move, self.rate, move)
        else:
            multiply(v, self.rate, move)


@dataclass
class Adagrad(Optimizer):
    """Steps divided by the root of all squared gradients so far.

    s ← s + g²
    move = η g / (√s + ε)

    Duchi, Hazan & Singer, "Adaptive Subgradient Methods", 2011.

    Parameters
    ----------
    learning_rate : float or Schedule
    epsilon : float
        ε > 0.
    """

    learning_rate: Any = 0.01
    epsilon: float = 1e-10
    vectors = ("s",)

    def _check(self) -> None:
        self.epsilon = as_float(self.epsilon, "epsilon", above=0)

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        s = self.state["s"]
        square(g, move)
        add(s, move, s)
        divide_by_root(g, s, self._constants["epsilon"], self.rate, move)


@dataclass
class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of squared gradients.

    s ← ρ s + (1 - ρ) g²
    move = η g / (√s + ε),  or with momentum  v ← μ v + g / (√s + ε),  move = η v

    Hinton, "Neural Networks for Machine Learning", lecture 6e, 2012; ε and momentum as in PyTorch.

    Parameters
    ----------
    learning_rate : float or Schedule
    rho : float
        ρ in [0, 1).
    epsilon : float
        ε > 0.
    momentum : float
        μ in [0, 1).
    """

    learning_rate: Any = 0.01
    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0

    def _check(self) -> None:
        self.rho = as_float(self.rho, "rho", least=0, below=1)
        self.epsilon = as_float(self.epsilon, "epsilon", above=0)
        self.momentum = as_float(self.momentum, "momentum", least=0, below=1)
        self.one_less_rho = 1 - self.rho
        self.vectors = ("s", "v") if self.momentum else ("s",)  # type: ignore[misc]  # as in SGD

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        s, constants = self.state["s"], self._constants
        multiply(s, constants["rho"], s)
        square(g, move)
        multiply(move, constants["one_less_rho"], move)
        add(s, move, s)
        if not self.momentum:
            divide_by_root(g, s, constants["epsilon"], self.rate, move)
            return
        v = self.state["v"]
        divide_by_root(g, s, constants["epsilon"], np.ones_like(self.rate), move)
        multiply(v, constants["momentum"], v)
        add(v, move, v)
        multiply(v, self.rate, move)


def divide_by_root(g: Array, s: Array, epsilon: Array, rate: Array, move: Array) -> None:
    """Write η g / (√s + ε) into move."""
    sqrt(s, move)
    add(move, epsilon, move)
    divide(g, move, move)
    multiply(move, rate, move)


@dataclass
class Adam(Optimizer):
    """Steps along a running mean of gradients, divided by the root of that of their squares.

    m ← β₁ m + (1 - β₁) g
    v ← β₂ v + (1 - β₂) g²
    move = η m̂ / (√v̂ + ε),   m̂ = m / (1 - β₁^t),   v̂ = v / (1 - β₂^t)

    Kingma & Ba, "Adam", 2015, algorithm 1. Kept are m / (1 - β₁) and v / (1 - β₂), which saves two
    passes over θ; the factors are put back into one number and into ε:

    move = c m' / (√v' + ε'),  r = √((1 - β₂) / (1 - β₂^t)),  ε' = ε / r,
    c = η (1 - β₁) / ((1 - β₁^t) r)

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2 : float
        β₁ and β₂ in [0, 1).
    epsilon : float
        ε > 0.
    """

    learning_rate: Any = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    vectors = ("m", "v")

    def _check(self) -> None:
        self.beta1 = as_float(self.beta1, "beta1", least=0, below=1)
        self.beta2 = as_float(self.beta2, "beta2", least=0, below=1)
        self.epsilon = as_float(self.epsilon, "epsilon", above=0)

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        m, v, constants = self.state["m"], self.state["v"], self._constants
        multiply(m, constants["beta1"], m)
        add(m, g, m)
        multiply(v, constants["beta2"], v)
        square(g, move)
        add(v, move, v)
        r = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.t))
        constants["epsilon"][...] = self.epsilon / r
        c = self.rate * ((1 - self.beta1) / ((1 - self.beta1**self.t) * r))
        divide_by_root(m, v, constants["epsilon"], c, move)


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay: move = Adam's + η λ θ.

    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2. `fit` decays
    weights, not biases; on a bare vector every coordinate decays.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon
        As in `Adam`.
    weight_decay : float
        λ >= 0.
    """

    weight_decay: float = 0.01

    def _check(self) -> None:
        super()._check()
        self.weight_decay = as_float(self.weight_decay, "weight_decay", least=0)

    def _prepare(self, theta: Array, weights: Array | None) -> None:
        super()._prepare(theta, weights)
        self._decay = np.empty_like(theta)
        every = 1 if self._weights is None else self._weights
        self._lambda = np.array(self.weight_decay * every, theta.dtype)

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        super().compute(theta, g, move)
        multiply(theta, self._lambda, self._decay)
        multiply(self._decay, self.rate, self._decay)
        add(move, self._decay, move)
