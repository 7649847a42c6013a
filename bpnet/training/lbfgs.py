"""L-BFGS over the full batch: SciPy minimises, the network gives E and its gradient."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int, quiet
from bpnet.errors import TrainingDiverged
from bpnet.mlp import backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.data import ArraySource, Batches
from bpnet.training.regularization import Penalty
from bpnet.training.run import Run
from bpnet.training.step import Recipe


@dataclass
class LBFGS:
    """Limited-memory BFGS over the full batch, by SciPy (extra ``scipy``).

    `scipy.optimize.minimize`, method "L-BFGS-B" (Byrd, Lu, Nocedal & Zhu 1995); an epoch is one
    iteration, whose line search may take several passes over the data.

    Parameters
    ----------
    memory : int
        Pairs of steps and gradient changes that stand for the Hessian.
    tolerance : float
        Stop when no entry of the gradient is larger.
    """

    memory: int = 10
    tolerance: float = 1e-8
    last_rate: ClassVar[None] = None  # it has no learning rate

    def __post_init__(self) -> None:
        self.memory = as_int(self.memory, "memory", least=1)
        self.tolerance = as_float(self.tolerance, "tolerance", least=0)

    def start(self, theta: Array, weights: Array) -> None:
        """Begin, as an `Optimizer` does: there is nothing to make ready."""

    def resume(self, theta: Array, weights: Array) -> None:
        """Raise ValueError, since there is nothing to go on with."""
        raise ValueError("L-BFGS keeps no state from call to call")


def run_lbfgs(run: Run, batches: Batches, recipe: Recipe) -> None:
    """Drive a run whose optimizer is `LBFGS` by its iterations.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    ValueError
        If the data are an iterable of batches, or the net is a stack.
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError("L-BFGS needs SciPy: pip install 'bpnet-numpy[scipy]'") from None
    source, rule = batches.source, recipe.optimizer
    if not isinstance(source, ArraySource):
        raise ValueError("L-BFGS needs the full batch as arrays, not an iterable of batches")
    if run.net.theta.ndim > 1:
        raise ValueError("L-BFGS trains one network: train net[k] for each k of a stack")
    objective = Objective(run, source, recipe.penalty)
    begun = time.perf_counter()

    def after_iteration(theta: Array) -> None:
        nonlocal begun
        now = time.perf_counter()
        loss = objective.loss_at(theta)  # which leaves θ in the net
        objective.accepted = run.net.theta.copy()
        run.end_epoch(loss, now - begun)
        begun = time.perf_counter()
        if run.history.stopped is not None:
            raise StopIteration

    with quiet(also_divide=True):
        result = minimize(  # type: ignore[call-overload]  # SciPy's stubs name no options
            objective,
            run.net.theta.astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxiter": run.epochs,
                "maxcor": rule.memory,
                "gtol": rule.tolerance,
                "ftol": 0.0,
                "maxfun": 100 * run.epochs,
            },
        )
    run.net.theta = objective.accepted
    if run.history.stopped is None and len(run.history) < run.epochs:
        run.stop(f"L-BFGS: {result.message}")


class Objective:
    """E with its penalty, and the gradient, as functions of θ."""

    def __init__(self, run: Run, source: ArraySource, penalty: Penalty) -> None:
        self.run, self.penalty = run, penalty
        ((x, self.y, share, _, _),) = source.epoch(source.m, None)
        self.cache = Cache.empty(run.net.signature, run.net.theta, x)
        self.grad = Gradient.empty(run.net.theta, self.cache)
        self.cache.weigh(share)
        self.accepted = run.net.theta.copy()
        self.last: tuple[Array, float] | None = None

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Return E + penalty and its gradient at θ, both float64; θ is left in the net."""
        net, cache, grad = self.run.net, self.cache, self.grad
        net.theta[...] = theta
        forward_pass(net, cache)
        loss = float(cache.loss(self.y))
        backward_pass(net, cache, self.y, grad)
        self.penalty.add(net.theta, grad.theta)
        if not (math.isfinite(loss) and np.isfinite(grad.theta).all()):
            net.theta = self.accepted
            epoch = len(self.run.history) + 1
            raise TrainingDiverged(
                f"training diverged in iteration {epoch}: the loss or the gradient is not finite "
                "at a point that L-BFGS tried; scale the data. The net keeps its last weights",
                epoch=epoch,
                step=1,
                layer=None,
                learning_rate=None,
            )
        self.last = theta.copy(), loss
        penalised = loss + float(self.penalty.value(net.theta))
        return penalised, grad.theta.astype(np.float64)

    def loss_at(self, theta: Array) -> Any:
        """Return E at θ without the penalty, from the last call where it was there."""
        if self.last is None or not np.array_equal(self.last[0], theta):
            self(theta)
        assert self.last is not None
        return self.last[1]
