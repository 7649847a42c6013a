"""What scikit-learn's parameters mean to bpnet: its penalty, its Adam, its steps between calls."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy import add, multiply

from bpnet.arrays import Array
from bpnet.rules.optimizers import SGD, Adam, Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.lbfgs import LBFGS


def loss_named(loss: Any) -> Any:
    """Return a loss as bpnet names it: scikit-learn's squared error is half of one."""
    return "half_squared_error" if loss == "squared_error" else loss


def rule_of(estimator: Any) -> Optimizer | LBFGS:
    """Return what takes the steps: a copy of the object given, or made from the parameters."""
    solver: Any = copy.deepcopy(estimator.solver)
    if isinstance(solver, (Optimizer, LBFGS)):
        return solver
    if solver == "lbfgs":
        return LBFGS(tolerance=estimator.tol)
    rate = copy.deepcopy(estimator.learning_rate)
    rate = rate if isinstance(rate, Schedule) else estimator.learning_rate_init
    if solver == "adam":
        return AdamHat(rate, estimator.beta_1, estimator.beta_2, estimator.epsilon)
    momentum = estimator.momentum
    return SGD(rate, momentum, nesterov=bool(estimator.nesterovs_momentum and momentum))


@dataclass(eq=False)
class AdamHat(Adam):
    """Adam with ε beside √v, as in scikit-learn, where `Adam` has it beside √v̂.

    Kingma & Ba 2015, the end of section 2: ε̂ in place of ε √(1 - β₂^t).
    """

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        epsilon = self.epsilon
        self.epsilon = epsilon / math.sqrt(1 - self.beta2**self.t)
        super().compute(theta, g, move)
        self.epsilon = epsilon


class Shrinking(Optimizer):
    """A rule that is handed g + (α / n) W, where n samples are in the batch.

    So scikit-learn has it: ½ α Σ w² is added to the sum over a batch's samples, and is weaker in
    their mean the more there are. Of weighted samples n is their number times the mean weight.

    Parameters
    ----------
    rule : Optimizer
        What takes the steps; it is gone on with if it has taken some.
    alpha : float
    rows, batch : int
        How many samples there are, and how many of them in a batch; the last one may be short.
    mean : float
        The mean weight of the samples.

    Attributes
    ----------
    penalty : array, shape (networks,) or (1,)
        The sum of ½ (α / n) Σ w² over the samples that steps were taken on since `spent`.
    """

    def __init__(self, rule: Optimizer, alpha: float, rows: int, batch: int, mean: float) -> None:
        self.rule, self.learning_rate = rule, rule.learning_rate
        self.__post_init__()
        self.t = rule.t
        self.steps = -(-rows // batch)
        self.counts = batch, rows - (self.steps - 1) * batch  # of a batch, of the last
        self.strengths = [alpha / (n * mean) for n in self.counts]

    def _prepare(self, theta: Array, weights: Array | None) -> None:
        super()._prepare(theta, weights)
        (self.rule.resume if self.t else self.rule.start)(theta, weights)
        assert weights is not None  # `fit` knows which coordinates are weights
        self.before = self.t
        self.shrink = [np.multiply(weights, s, dtype=theta.dtype) for s in self.strengths]
        self.penalty = np.zeros(theta.shape[:-1] or 1)

    def spent(self) -> Array:
        """Return the penalty so far, and count anew."""
        penalty = self.penalty.copy()
        self.penalty[:] = 0
        return penalty

    def of_network(self, k: int) -> Self:
        """Return the rule for network k of a stack; the penalty is written where this one's is."""
        one = super().of_network(k)
        one.rule, one.penalty = self.rule.of_network(k), self.penalty[k : k + 1]
        return one

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        last = (self.t - self.before) % self.steps == 0
        shrunk = self.scratch("shrunk", theta)
        multiply(theta, self.shrink[last], shrunk)
        self.penalty += np.vecdot(theta, shrunk) * (self.counts[last] / 2)
        add(shrunk, g, shrunk)
        self.rule.t, self.rule.rate = self.t, self.rate
        self.rule.compute(theta, shrunk, move)


class Later(Schedule):
    """A schedule from a later epoch on, for a training that goes on call by call."""

    def __init__(self, schedule: Schedule, epochs: int) -> None:
        self.schedule, self.epochs = schedule, epochs
        self.every_step = schedule.every_step

    @property
    def observes(self) -> bool:
        """Whether the schedule wants to be told the losses."""
        return self.schedule.observes

    def observe(self, loss: Any) -> None:
        """Be told the loss at the end of an epoch."""
        self.schedule.observe(loss)

    def reset(self) -> None:
        """Forget the losses of an earlier training."""
        self.schedule.reset()

    def __call__(self, t: float) -> Any:
        """Return η(t)."""
        return self.schedule(self.epochs + t)
