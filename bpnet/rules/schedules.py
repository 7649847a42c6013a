"""Learning rates that change while training.

t is the number of epochs gone when a step begins, with the fraction of the present one: t = 2.5 in
the middle of the third epoch. η(t) is the learning rate of that step. A schedule is given to an
optimiser in place of a number: ``SGD(CosineDecay(0.1, epochs=30))``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from bpnet.arrays import Array, number_or_array
from bpnet.checks import as_float, as_int

Check = Callable[[Any, str], Any]  # (value, name): the value in its type, or an error


class Fields:
    """A dataclass that may hold arrays: its fields checked, equal where its type and they are."""

    checks: ClassVar[dict[str, Check]] = {}

    def _check(self) -> None:
        """Raise for fields out of range, and convert the others."""
        for name, check in self.checks.items():
            setattr(self, name, check(getattr(self, name), name))

    def __eq__(self, other: object) -> bool:
        names = getattr(self, "__dataclass_fields__", None)
        if type(self) is not type(other) or names is None:
            return NotImplemented
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return all(np.array_equal(mine, yours) for mine, yours in pairs)

    def __hash__(self) -> int:
        return hash(type(self))  # not of the fields, which may change


class Schedule(Fields):
    """A learning rate that depends on t; write ``__call__`` for one of your own."""

    every_step = True  # False where η changes only between epochs, which saves the calls
    remembers: ClassVar[tuple[str, ...]] = ()  # the names of what the losses have left in it

    def __post_init__(self) -> None:
        self._check()

    def __call__(self, t: float) -> Any:
        """Return η(t)."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget the losses of an earlier training."""
        if self._next is not None:
            self._next.reset()

    @property
    def _next(self) -> Any:
        """The schedule that this one goes over to, if there is one: it is told all."""
        return getattr(self, "then", None)

    @property
    def observes(self) -> bool:
        """Whether the schedule wants to be told the losses."""
        return type(self).observe is not Schedule.observe or bool(self._next and self._next.observes)

    def observe(self, loss: Any) -> None:
        """Be told the loss at the end of an epoch: of validation if there is one."""
        if self._next is not None:
            self._next.observe(loss)

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep; most schedules need nothing."""
        own = {name: getattr(self, name) for name in self.remembers}
        return own if self._next is None else self._next.state

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if self._next is not None:
            self._next.state = state
            return
        for name in {*self.remembers, *state}:
            setattr(self, name, state[name])


def as_rate(value: Any, name: str = "learning_rate") -> Any:
    """Return a positive learning rate: a float, or an array with one for each network."""
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) == 1:
        return np.array([as_float(v, f"{name}[{k}]", above=0) for k, v in enumerate(value)])
    return as_float(value, name, above=0)


def as_schedule(rate: Any, name: str = "") -> Schedule:
    """Return the schedule, or a constant one from a number."""
    return rate if isinstance(rate, Schedule) else Constant(rate)


RATE: dict[str, Check] = {"rate": lambda value, name: as_rate(value)}  # as a learning_rate
COUNT = partial(as_int, least=1)
POSITIVE, NOT_NEGATIVE = partial(as_float, above=0), partial(as_float, least=0)
FRACTION = partial(as_float, above=0, below=1)


@dataclass(eq=False)
class Constant(Schedule):
    """η(t) = rate."""

    rate: Any
    every_step = False
    checks = RATE

    def __call__(self, t: float) -> Any:
        return self.rate


@dataclass(eq=False)
class StepDecay(Schedule):
    """η(t) = rate · factor^⌊t / every⌋, with a factor in (0, 1), every so many epochs."""

    rate: Any
    every: int = 10
    factor: float = 0.1
    every_step = False
    checks: ClassVar = {**RATE, "every": COUNT, "factor": FRACTION}

    def __call__(self, t: float) -> Any:
        return self.rate * self.factor ** (t // self.every)


@dataclass(eq=False)
class ExponentialDecay(Schedule):
    """η(t) = rate · factor^t: the factor, in (0, 1), is what is left of η after one epoch."""

    rate: Any
    factor: float = 0.95
    checks: ClassVar = {**RATE, "factor": FRACTION}

    def __call__(self, t: float) -> Any:
        return self.rate * self.factor**t


@dataclass(eq=False)
class InverseScaling(Schedule):
    """η(t) = rate / (1 + t)^power, with a power > 0."""

    rate: Any
    power: float = 0.5
    checks: ClassVar = {**RATE, "power": POSITIVE}

    def __call__(self, t: float) -> Any:
        return self.rate / (1 + t) ** self.power


@dataclass(eq=False)
class CosineDecay(Schedule):
    """η(t) = final + (rate - final) (1 + cos(π t / epochs)) / 2; final from then on.

    Loshchilov & Hutter, "SGDR", 2017, equation 5, without restarts; final is in [0, rate].
    """

    rate: Any
    epochs: int
    final: float = 0.0
    checks: ClassVar = {**RATE, "epochs": COUNT, "final": NOT_NEGATIVE}

    def __post_init__(self) -> None:
        self._check()
        if self.final > np.min(self.rate):
            raise ValueError(f"final must be at most the rate, but is {self.final:g}")

    def __call__(self, t: float) -> Any:
        cos = math.cos(math.pi * min(t / self.epochs, 1))
        return self.final + (self.rate - self.final) * (1 + cos) / 2


@dataclass(eq=False)
class Warmup(Schedule):
    """Rise linearly to the rate that a schedule starts with, then follow it.

    η(t) = then(0) · (start + (1 - start) t / epochs) for t < epochs, then(t - epochs) after, with a
    schedule or a number in ``then``, and a ``start`` in (0, 1].
    """

    epochs: float
    then: Any
    start: float = 0.1
    checks: ClassVar = {"epochs": POSITIVE, "then": as_schedule, "start": POSITIVE}

    def __post_init__(self) -> None:
        self._check()
        if self.start > 1:
            raise ValueError(f"start must be a fraction, at most 1, not {self.start:g}")

    def __call__(self, t: float) -> Any:
        if t < self.epochs:
            return self.then(0.0) * (self.start + (1 - self.start) * t / self.epochs)
        return self.then(t - self.epochs)


class Patience:
    """Counts the epochs ``waited`` since the ``best`` loss, for a stack those of each network."""

    sign = 1.0
    patience: int
    min_delta: float
    best: Any
    waited: Any

    def check_patience(self) -> None:
        """Raise TypeError or ValueError for what is out of range."""
        self.patience = as_int(self.patience, "patience", least=0)
        self.min_delta = as_float(self.min_delta, "min_delta", least=0)

    def wait_afresh(self) -> None:
        """Forget the losses seen so far."""
        self.best, self.waited = self.sign * math.inf, 0

    def wait(self, loss: Any) -> tuple[Array, Array]:
        """Take an epoch's loss; return whether it is better, and whether patience has ended."""
        waiting = self.waited <= self.patience
        lower = self.sign * loss < self.sign * self.best - self.min_delta
        better = np.asarray(lower & waiting)
        self.best = np.where(better, loss, self.best)
        self.waited = np.where(better, 0, self.waited + 1)
        return better, self.waited > self.patience


@dataclass(eq=False)
class ReduceOnPlateau(Patience, Schedule):
    """Multiply η by a factor when the loss has not improved for some epochs.

    Parameters
    ----------
    rate : float
        η to begin with.
    factor, least : float
        The factor, in (0, 1), and below which η never falls, at most the rate.
    patience, min_delta : int, float
        So many epochs are waited for an improvement, which is one of more than min_delta.
    """

    rate: Any
    factor: float = 0.5
    patience: int = 5
    min_delta: float = 0.0
    least: float = 0.0
    best: Any = field(default=math.inf, init=False, repr=False)
    waited: Any = field(default=0, init=False, repr=False)
    drops: Any = field(default=0, init=False, repr=False)
    every_step = False
    remembers = ("best", "waited", "drops")
    checks: ClassVar = {**RATE, "factor": FRACTION, "least": NOT_NEGATIVE}

    def __post_init__(self) -> None:
        self._check()
        self.check_patience()
        if self.least > np.min(self.rate):
            raise ValueError(f"least must be at most the rate, but is {self.least:g}")

    def reset(self) -> None:
        """Forget the losses seen so far."""
        self.wait_afresh()
        self.drops = 0

    def __call__(self, t: float) -> Any:
        rate = np.maximum(self.rate * self.factor**self.drops, self.least)
        return rate if np.ndim(rate) else float(rate)

    def observe(self, loss: Any) -> None:
        """Count the epochs without improvement; drop when there are more than the patience."""
        _, drop = self.wait(loss)
        # A number in Python, from the first on: 0.3**4 has other bits than 0.3**np.int64(4).
        self.drops = number_or_array(self.drops + drop)
        self.waited = np.where(drop, 0, self.waited)
