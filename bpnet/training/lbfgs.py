"""L-BFGS over the full batch: SciPy minimises, the network gives E and its gradient."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int
from bpnet.errors import TrainingDiverged
from bpnet.mlp import backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.data import ArraySource

if TYPE_CHECKING:
    from bpnet.training.loop import Training


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

    def __post_init__(self) -> None:
        self.memory = as_int(self.memory, "memory", least=1)
        self.tolerance = as_float(self.tolerance, "tolerance", least=0)


def run_lbfgs(training: Training) -> None:
    """Run the iterations of a training whose optimizer is `LBFGS`.

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
    rule, source = training.optimizer, training.source
    assert isinstance(rule, LBFGS)
    if not isinstance(source, ArraySource):
        raise ValueError("L-BFGS needs the full batch as arrays, not an iterable of batches")
    if training.net.theta.ndim > 1:
        raise ValueError("L-BFGS trains one network: train net[k] for each k of a stack")
    objective = Objective(training, source)
    begun = time.perf_counter()

    def after_iteration(theta: Array) -> None:
        nonlocal begun
        now = time.perf_counter()
        loss = objective.loss_at(theta)  # which leaves θ in the net
        objective.accepted = training.net.theta.copy()
        training.end_epoch(loss, now - begun)
        begun = time.perf_counter()
        if training.interrupt.pressed:
            training.stop("interrupted")
        if training.history.stopped is not None:
            raise StopIteration

    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        result = minimize(  # type: ignore[call-overload]  # SciPy's stubs name no options
            objective,
            training.net.theta.astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxiter": training.epochs,
                "maxcor": rule.memory,
                "gtol": rule.tolerance,
                "ftol": 0.0,
                "maxfun": 100 * training.epochs,
            },
        )
    training.net.theta = objective.accepted
    if training.history.stopped is None and len(training.history) < training.epochs:
        training.stop(f"L-BFGS: {result.message}")


class Objective:
    """E with its penalty, and the gradient, as functions of θ."""

    def __init__(self, training: Training, source: ArraySource) -> None:
        self.training, self.source = training, source
        self.accepted = training.net.theta.copy()
        self.last: tuple[Array, float] | None = None
        self.buffers: tuple[Cache, Gradient] | None = None

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Return E + penalty and its gradient at θ, both float64; θ is left in the net."""
        training, net = self.training, self.training.net
        net.theta[...] = theta
        x, y, share, _, _ = next(iter(self.source.epoch(self.source.m, None)))
        if self.buffers is None:
            cache = Cache.empty(net.signature, net.theta, x)
            self.buffers = cache, Gradient.empty(net.theta, cache)
        cache, grad = self.buffers
        cache.read(x)
        forward_pass(net, cache)
        cache.weigh(share)
        loss = float(cache.loss(y))
        backward_pass(net, cache, y, grad)
        training.penalty.add(net.theta, grad.theta)
        if not (math.isfinite(loss) and np.isfinite(grad.theta).all()):
            net.theta = self.accepted
            epoch = len(training.history) + 1
            raise TrainingDiverged(
                f"training diverged in iteration {epoch}: the loss or the gradient is not finite "
                "at a point that L-BFGS tried; scale the data. The net keeps its last weights",
                epoch=epoch,
                step=1,
                layer=None,
                learning_rate=None,
            )
        self.last = theta.copy(), loss
        penalised = loss + float(training.penalty.value(net.theta))
        return penalised, grad.theta.astype(np.float64)

    def loss_at(self, theta: Array) -> Any:
        """Return E at θ without the penalty, from the last call where it was there."""
        if self.last is None or not np.array_equal(self.last[0], theta):
            self(theta)
        assert self.last is not None
        return self.last[1]
