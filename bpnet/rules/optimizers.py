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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy import (  # by name, as in activations_inplace.py
    add,
    divide,
    multiply,
    sqrt,
    square,
    subtract,
)

from bpnet.arrays import Array, alike, other
from bpnet.checks import all_finite, as_float
from bpnet.rules.schedules import EqualByFields, Schedule, as_rate, as_schedule
from bpnet.rules.subnormal import EVERY, clear, end_small, negligible, negligible_theta

Compute = TypeVar("Compute", bound=Callable[..., None])


def by_element(compute: Compute) -> Compute:
    """Mark a `compute` that takes each coordinate by itself: it may be given θ piece by piece."""
    compute.by_element = True  # type: ignore[attr-defined]
    return compute


class Optimizer(EqualByFields):
    """An update rule with its state.

    A rule of one's own names the vectors and the constants that it needs, and writes the step in
    `compute`. `fit` calls `start`, then `set_rate_at` and `compute`; `step` is for a loop of your
    own.

    Attributes
    ----------
    learning_rate : float or Schedule
        May be set anew, also while training: it holds from the next epoch on.
    schedule : Schedule
        The same as a schedule: a number is a constant one. Setting it sets `learning_rate`.
    last_rate : float or array of float64, shape (networks,)
        η of the steps that follow: a number, or one for each network of a stack.
    rate : array, shape () or (networks, 1)
        The same in θ's dtype, shaped for `compute`.
    t : int
        Steps taken.
    state : dict of str to array
        The vectors kept from step to step, by name; empty before `start`.
    typed : dict of str to array
        The constants by name, in θ's dtype, which on a small net is faster than a float.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from bpnet import Optimizer
    >>> @dataclass(eq=False)  # v ← μ v + g,  move = η sign(v)
    ... class Signs(Optimizer):
    ...     learning_rate: float
    ...     mu: float = 0.5
    ...     vectors = ("v",)
    ...     constants = ("mu",)
    ...
    ...     def compute(self, theta, g, move):
    ...         v = self.state["v"]
    ...         np.multiply(v, self.typed["mu"], v)
    ...         np.add(v, g, v)
    ...         np.multiply(np.sign(v), self.rate, move)
    >>> theta = np.array([1.0, 2.0])
    >>> Signs(0.25).step(theta, np.array([0.1, -3.0]))
    >>> theta.tolist()
    [0.75, 2.25]
    """

    constants: ClassVar[tuple[str, ...]] = ()
    squares: ClassVar[tuple[str, ...]] = ()  # those of the vectors that are used as √v + ε
    decays = False  # whether θ shrinks by itself
    learning_rate: Any
    epsilon: float
    _index: Any  # of a part in the whole
    _shape: tuple[int, ...]  # of θ, once there is one

    @property
    def vectors(self) -> tuple[str, ...]:
        """The names of the vectors kept; most rules have the same always, and a plain tuple."""
        return ()

    def __post_init__(self) -> None:
        self.state: dict[str, Array] = {}
        self.t = 0
        as_schedule(self.learning_rate)
        self._check()

    def _check(self) -> None:
        """Raise for hyperparameters out of range."""

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        return as_schedule(self.learning_rate)

    @schedule.setter
    def schedule(self, schedule: Schedule) -> None:
        self.learning_rate = schedule

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
        """Make what a step on arrays like θ needs beside the state."""
        self._shape, self._dtype = theta.shape, theta.dtype
        self._like = np.empty_like(theta, shape=())
        self._largest = float(np.finfo(theta.dtype).max)
        self._scratch: dict[tuple[Any, ...], Array] = {}
        self.typed = {name: self._in_dtype(name, getattr(self, name)) for name in self.constants}
        beside = {name: self.epsilon if name in self.squares else None for name in self.vectors}
        self._least = {name: negligible(self._dtype, beside[name]) for name in self.vectors}
        self._least_theta = negligible_theta(self._dtype)
        if isinstance(self.learning_rate, float):
            self._in_dtype("learning_rate", self.learning_rate)
        self.last_rate: Any = None
        self.set_rate_at(0.0)

    def _in_dtype(self, name: str, number: float) -> Array:
        """Return a number as an array of θ's dtype; raise ValueError where that cannot hold it."""
        with np.errstate(over="ignore"):
            array = np.array(number, self._dtype)
        if not np.isfinite(array) or (array == 0) != (number == 0):
            raise ValueError(f"{name}={number:g} is out of range for {self._dtype}")
        return alike(array, self._like)

    def set_rate_at(self, t: float) -> None:
        """Set η for the steps that follow to what the learning rate is after t epochs.

        Raises
        ------
        ValueError
            If it is negative, too large or NaN, or not one number for each network of a stack.
        """
        given = self.learning_rate
        rate = given(t) if isinstance(given, Schedule) else given
        if rate is self.last_rate:
            return
        if rate is given:
            self.learning_rate = rate = as_rate(given)
        self._set_rate(rate)

    def _set_rate(self, rate: Any) -> None:
        if isinstance(rate, float):  # as almost always: a comparison in Python is quicker
            known = 0 <= rate <= self._largest
        else:
            numbers = np.asarray(rate, np.float64)
            known = bool(((numbers >= 0) & (numbers <= self._largest)).all())
        if not known:
            raise ValueError(
                f"a learning rate must be in [0, {self._largest:.3g}], but the schedule gave {rate}"
            )
        typed = alike(np.array(rate, self._dtype), self._like)
        if typed.ndim and typed.shape != self._shape[:-1]:
            raise ValueError(
                f"learning_rate holds {len(typed)} numbers, but one is needed for each network "
                f"of a stack, and theta has shape {self._shape}"
            )
        self.last_rate, self.rate = rate, typed[:, None] if typed.ndim else typed

    def of_network(self, k: int) -> Self:
        """Return the rule for network k of a stack, whose vectors are views of this one's."""
        return self.part(k)

    def part(self, index: Any) -> Self:
        """Return the rule for theta[index], whose vectors are views of this one's.

        Parameters
        ----------
        index : int, slice or tuple
            Along the first axis, or (..., slice) along the last.
        """
        one = copy.copy(self)
        one._index = index
        one._shape = np.broadcast_to(0, self._shape)[index].shape
        one.state = {name: vector[index] for name, vector in self.state.items()}
        one.typed = {
            name: array if array.ndim == 0 else np.broadcast_to(array, self._shape)[index]
            for name, array in self.typed.items()
        }
        one.follow(self)
        return one

    def follow(self, whole: Optimizer) -> None:
        """Take over the number of the step and the rate of the rule that this is a part of."""
        self.t, rate = whole.t, whole.rate
        across = rate.ndim == 0 or isinstance(self._index, tuple)
        self.rate = rate if across else rate[self._index]

    def advance(self, theta: Array, g: Array, move: Array, decays: bool = False) -> None:
        """Count t up and compute the step; in every fiftieth clear what is very small.

        Why, and from where on, `subnormal.py` tells.

        Parameters
        ----------
        theta, g, move : array
            As in `compute`.
        decays : bool
            Whether g holds a penalty under which θ shrinks by itself.
        """
        self.t += 1
        self.compute(theta, g, move)
        decays = decays or self.decays
        if self.t % EVERY == 0 and (self.state or decays):
            spare, kept = self.scratch("spare", theta), self.scratch("kept", theta, bool)
            for name, vector in self.state.items():
                clear(vector, self._least[name], spare, kept)
            if decays:
                end_small(theta, move, self._least_theta, spare, kept)

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write what to subtract from θ in step ``t`` into move; count t up before.

        Parameters
        ----------
        theta, g : array
            θ and ∂E/∂θ, only read.
        move : array
            Of the same shape; its earlier contents mean nothing.
        """
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
        if not hasattr(self, "_shape"):
            self.resume(theta)
        if theta.shape != np.shape(g):
            raise ValueError(f"theta has shape {theta.shape}, but g has shape {np.shape(g)}")
        if (self._shape, self._dtype) != (theta.shape, theta.dtype):
            raise ValueError(
                f"theta is {theta.dtype} of shape {theta.shape}, but was {self._dtype} of shape "
                f"{self._shape} in the steps before: call start(theta) to begin afresh"
            )
        move = self.scratch("move", theta)
        self.advance(theta, g, move)
        subtract(theta, move, theta)

    def scratch(self, name: str, like: Array, dtype: Any = None) -> Array:
        """Return an array to write into, made once for each shape; a part of the rule shares it."""
        if (name, like.shape) not in self._scratch:
            self._scratch[name, like.shape] = np.empty_like(like, dtype)
        return self._scratch[name, like.shape]


def check_floats(theta: Any) -> None:
    """Raise TypeError for a θ in which a step cannot be taken in place."""
    if not (isinstance(theta, np.ndarray) or other(theta)) or theta.dtype.kind != "f":
        kind = getattr(theta, "dtype", type(theta).__name__)
        raise TypeError(f"theta must be an array of floats, which changes in place, not {kind}")


@dataclass(eq=False)
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
    constants = ("momentum",)

    @property
    def vectors(self) -> tuple[str, ...]:
        """v; none is kept without momentum."""
        return ("v",) if self.momentum else ()

    def _check(self) -> None:
        self.momentum = as_float(self.momentum, "momentum", least=0, below=1)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum: give momentum=0.9 or so")

    @by_element
    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        if not self.momentum:
            multiply(g, self.rate, move)
            return
        v, mu = self.state["v"], self.typed["momentum"]
        multiply(v, mu, v)
        add(v, g, v)
        if self.nesterov:
            multiply(v, mu, move)
            add(move, g, move)
            multiply(move, self.rate, move)
        else:
            multiply(v, self.rate, move)


@dataclass(eq=False)
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
    vectors = squares = ("s",)
    constants = ("epsilon",)

    def _check(self) -> None:
        self.epsilon = as_float(self.epsilon, "epsilon", above=0)

    @by_element
    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        s = self.state["s"]
        square(g, move)
        add(s, move, s)
        divide_by_root(g, s, self.typed["epsilon"], move)
        multiply(move, self.rate, move)


@dataclass(eq=False)
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
    constants = ("rho", "one_less_rho", "epsilon", "momentum")
    squares = ("s",)

    @property
    def vectors(self) -> tuple[str, ...]:
        """The running mean s; the velocity v too, with momentum."""
        return ("s", "v") if self.momentum else ("s",)

    def _check(self) -> None:
        self.rho = as_float(self.rho, "rho", least=0, below=1)
        self.epsilon = as_float(self.epsilon, "epsilon", above=0)
        self.momentum = as_float(self.momentum, "momentum", least=0, below=1)
        self.one_less_rho = 1 - self.rho

    @by_element
    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        s, typed = self.state["s"], self.typed
        multiply(s, typed["rho"], s)
        square(g, move)
        multiply(move, typed["one_less_rho"], move)
        add(s, move, s)
        divide_by_root(g, s, typed["epsilon"], move)
        if self.momentum:
            v = self.state["v"]
            multiply(v, typed["momentum"], v)
            add(v, move, v)
            multiply(v, self.rate, move)
        else:
            multiply(move, self.rate, move)


def divide_by_root(g: Array, s: Array, epsilon: Array, move: Array) -> None:
    """Write g / (√s + ε) into move."""
    sqrt(s, move)
    add(move, epsilon, move)
    divide(g, move, move)


@dataclass(eq=False)
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
    squares = ("v",)
    constants: ClassVar[tuple[str, ...]] = ("beta1", "beta2", "epsilon")

    def _check(self) -> None:
        self.beta1 = as_float(self.beta1, "beta1", least=0, below=1)
        self.beta2 = as_float(self.beta2, "beta2", least=0, below=1)
        self.epsilon = as_float(self.epsilon, "epsilon", above=0)

    @by_element
    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        m, v, typed = self.state["m"], self.state["v"], self.typed
        multiply(m, typed["beta1"], m)
        add(m, g, m)
        multiply(v, typed["beta2"], v)
        square(g, move)
        add(v, move, v)
        r = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.t))
        epsilon = typed["epsilon"]
        epsilon[...] = self.epsilon / r  # ε', in place since that is faster than a new array
        divide_by_root(m, v, epsilon, move)
        multiply(move, self.rate * ((1 - self.beta1) / ((1 - self.beta1**self.t) * r)), move)


@dataclass(eq=False)
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

    constants = (*Adam.constants, "weight_decay")

    def _check(self) -> None:
        super()._check()
        self.weight_decay = as_float(self.weight_decay, "weight_decay", least=0)
        self.decays = self.weight_decay > 0

    def _prepare(self, theta: Array, weights: Array | None) -> None:
        super()._prepare(theta, weights)
        if weights is not None:
            self.typed["weight_decay"] = self.typed["weight_decay"] * alike(weights, self._like)

    @by_element
    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        super().compute(theta, g, move)
        decay = self.scratch("spare", theta)
        multiply(theta, self.typed["weight_decay"], decay)
        multiply(decay, self.rate, decay)
        add(move, decay, move)
