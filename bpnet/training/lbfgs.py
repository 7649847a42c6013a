"""L-BFGS over the full batch: SciPy minimises, the network gives E and its gradient.

Σ|w| has no gradient at 0, where an L1 penalty leads. With it every weight is split in two,
w = p - n with p, n >= 0, and Σ (p + n) stands for Σ|w|: the same minimum, of a smooth function
within bounds, which L-BFGS-B is made for (Schmidt, Fung & Rosales, "Fast Optimization Methods for
L1 Regularization", 2007). So weights come to be exactly 0.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int, quiet
from bpnet.errors import TrainingDiverged
from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.data import ArraySource, Batches, Remote
from bpnet.training.run import Run
from bpnet.training.step import Recipe


@dataclass
class LBFGS:
    """Limited-memory BFGS over the full batch, by SciPy (``pip install scipy``).

    `scipy.optimize.minimize`, method "L-BFGS-B" (Byrd, Lu, Nocedal & Zhu 1995); an epoch is one
    iteration, whose line search may take several passes over the data, until no entry of the
    gradient is larger than `tolerance`. The last `memory` pairs of steps and gradient changes stand
    for the Hessian. Where a callback changes the net's weights, it begins anew from them.
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
    """Drive a run whose optimizer is `LBFGS` by its iterations."""
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError("L-BFGS needs SciPy: pip install scipy") from None
    source, rule, history = batches.source, recipe.optimizer, run.history
    if not isinstance(source, ArraySource):
        raise ValueError("L-BFGS needs the full batch as arrays, not an iterable of batches")
    if run.net.theta.ndim > 1:
        raise ValueError("L-BFGS trains one network: train net[k] for each k of a stack")
    objective = Objective(run, source, recipe)
    begun, changed = time.perf_counter(), True

    def after_iteration(v: Array) -> None:
        nonlocal begun, changed
        now = time.perf_counter()
        loss = objective.loss_at(v)  # which leaves θ in the net
        accepted = objective.accepted = run.net.theta.copy()
        run.end_epoch(loss, now - begun)
        begun = time.perf_counter()
        changed = not np.array_equal(run.net.theta, accepted)  # by a callback
        objective.accepted = run.net.theta.copy()
        if changed or history.stopped is not None or len(history) == run.epochs:
            raise StopIteration

    options = {"maxcor": rule.memory, "gtol": rule.tolerance, "ftol": 0.0}
    options |= {"maxiter": run.epochs, "maxfun": 100 * run.epochs}
    how: Any = {"fun": objective, "jac": True, "callback": after_iteration}
    how |= {"method": "L-BFGS-B", "bounds": objective.bounds, "options": options}
    with quiet(also_divide=True):
        while changed and history.stopped is None and len(history) < run.epochs:
            changed = False
            result = minimize(x0=objective.variables(), **how)
    run.net.theta = objective.accepted
    if history.stopped is None and len(history) < run.epochs:
        run.stop(f"L-BFGS: {result.message}")


def pass_over(source: ArraySource, net: MLP, g: Array) -> Callable[[], Any]:
    """Return what returns the loss of all samples, and writes its gradient into g."""
    ((x, y, share, _, _),) = source.epoch(source.m, None)
    cache = Cache.empty(net.signature, net.theta, x)
    grad = Gradient(net.signature, g, [np.empty_like(z) for z in cache.z.values()])
    cache.weigh(share)

    def full_pass() -> Any:
        forward_pass(net, cache)
        backward_pass(net, cache, y, grad)
        return cache.loss(y)

    return full_pass


class Objective:
    """E with its penalty, and the gradient, as functions of SciPy's variables v.

    They are θ; with an L1 penalty the p where weights stand in θ, and behind θ the n.
    """

    def __init__(self, run: Run, source: ArraySource, recipe: Recipe) -> None:
        self.run, self.frozen, penalty = run, recipe.frozen, recipe.penalty
        self.smooth, l1 = copy.copy(penalty), penalty.l1
        self.smooth.l1 = None
        self.split = np.flatnonzero(np.zeros(0) if l1 is None else l1)
        self.l1 = np.zeros(0) if l1 is None else l1[self.split].astype(np.float64)
        self.bounds = None
        if self.split.size:
            least = np.full(run.net.theta.size + self.split.size, -np.inf)
            least[self.split] = least[run.net.theta.size :] = 0
            self.bounds = np.stack([least, np.full(least.size, np.inf)], axis=1)
        self.g = np.empty_like(run.net.theta)
        make = source.pass_over if isinstance(source, Remote) else partial(pass_over, source)
        self.full_pass = make(run.net, self.g)
        self.accepted = run.net.theta.copy()
        self.last: tuple[Array, float] | None = None

    def variables(self) -> Array:
        """Return v of the net's θ, in float64."""
        v = self.run.net.theta.astype(np.float64)
        negative = np.maximum(-v[self.split], 0)
        v[self.split] = np.maximum(v[self.split], 0)
        return np.concatenate([v, negative])

    def __call__(self, v: Array) -> tuple[float, Array]:
        """Return E + penalty and its gradient at v, both float64; θ is left in the net."""
        net, g_theta, split = self.run.net, self.g, self.split
        theta, negative = v[: net.theta.size].copy(), v[net.theta.size :]
        penalised = self.l1 @ (theta[split] + negative)
        theta[split] -= negative
        np.copyto(net.theta, theta, casting="same_kind", where=self.frozen.free)
        loss = float(self.full_pass())
        self.smooth.add(net.theta, g_theta)
        self.frozen.hold(g_theta)
        if not (math.isfinite(loss) and np.isfinite(g_theta).all()):
            net.theta = self.accepted
            epoch = len(self.run.history) + 1
            text = (
                f"training diverged in iteration {epoch}: the loss or the gradient is not finite "
                "at a point that L-BFGS tried; scale the data. The net keeps its last weights"
            )
            raise TrainingDiverged(text, epoch=epoch, step=1, layer=None, learning_rate=None)
        self.last = v.copy(), loss
        penalised += loss + float(self.smooth.value(net.theta))
        g = g_theta.astype(np.float64)
        by_negative = self.l1 - g[split]
        g[split] += self.l1
        return float(penalised), np.concatenate([g, by_negative])

    def loss_at(self, v: Array) -> Any:
        """Return E at v without the penalty, from the last call where it was there."""
        if self.last is None or not np.array_equal(self.last[0], v):
            self(v)
        assert self.last is not None
        return self.last[1]
