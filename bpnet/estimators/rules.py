"""What the parameters of scikit-learn mean to bpnet: start weights, penalty, Adam, schedules."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy import add, multiply

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.mlp import MLP
from bpnet.rules.activations import ACTIVATIONS, get_activation
from bpnet.rules.optimizers import SGD, Adam, Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.lbfgs import LBFGS


def layer_sizes(hidden: Any, n_in: int, n_out: int) -> tuple[int, ...]:
    """Return the neurons of all layers; `hidden` is a number or a sequence of them."""
    given = tuple(hidden) if np.iterable(hidden) else (hidden,)
    checked = (as_int(n, f"hidden_layer_sizes[{i}]", least=1) for i, n in enumerate(given))
    return (n_in, *checked, n_out)


def net_of(estimator: Any, sizes: Sequence[int], dtype: Any, state: np.random.RandomState) -> MLP:
    """Return the net, or the stack of all starts, that an estimator asks for."""
    output, loss = estimator._output_and_loss()
    hidden, layers, start = estimator.activation, len(sizes) - 2, estimator.start_weights
    if not isinstance(hidden, (list, tuple)):
        hidden = [hidden] * layers
    elif len(hidden) != layers:
        raise ValueError(
            f"activation names {len(hidden)} layers, but hidden_layer_sizes {layers}: name one for "
            "each hidden layer, and the output's as out_activation"
        )
    networks = estimator.n_restarts * estimator.n_ensemble
    if start is None:
        drawn = [drawn_weights(sizes, estimator.activation, state) for _ in range(networks)]
    elif networks > 1:
        raise ValueError("start_weights are one start: n_restarts and n_ensemble must be 1")
    else:
        drawn = [given_weights(start, sizes)]
    rules: dict[str, Any] = {"activation": [*hidden, output], "loss": loss, "dtype": dtype}
    try:
        nets = [MLP.from_weights(W, b, **rules) for W, b in drawn]
    except ValueError as error:  # which may name a parameter
        raise ValueError(str(error).replace("output=", "out_activation=")) from None
    return nets[0] if networks == 1 else MLP.stack(nets)


def drawn_weights(
    sizes: Sequence[int], activation: Any, state: np.random.RandomState
) -> tuple[list[Array], list[Array]]:
    """Draw W and b as scikit-learn's MLP does, from the same random numbers.

    U(-r, r) with r² = 6 / (n_in + n_out), or 2 / (n_in + n_out) for the logistic function.
    """
    several = isinstance(activation, (list, tuple))
    logistic = not several and get_activation(activation) is ACTIVATIONS["sigmoid"]
    factor = 2.0 if logistic else 6.0
    W, b = [], []
    for n_in, n_out in pairwise(sizes):
        r = math.sqrt(factor / (n_in + n_out))
        W.append(state.uniform(-r, r, (n_in, n_out)).T)
        b.append(state.uniform(-r, r, n_out))
    return W, b


def given_weights(given: Any, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """Return W and b of a net, or of scikit-learn's (coefs, intercepts)."""
    if not isinstance(given, MLP):
        if len(given) != 2:
            raise ValueError(
                "start_weights must be an MLP or (coefs, intercepts), each a list with one array "
                f"a layer, not {len(given)} items"
            )
        given = MLP.from_weights([np.asarray(W).T for W in given[0]], list(given[1]))
    check_sizes(given, sizes, "start_weights are of a net")
    return list(given.W.values()), list(given.b.values())


def check_sizes(net: MLP, sizes: Sequence[int], what: str) -> None:
    """Raise ValueError if a net has other layers than X, y and hidden_layer_sizes ask for."""
    if net.sizes != tuple(sizes):
        have, need = ("-".join(map(str, each)) for each in (net.sizes, sizes))
        raise ValueError(f"{what} {have}, but X, y and hidden_layer_sizes need {need}")


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

    def scales(self) -> tuple[float, float]:
        """Return ε' and c / η of step t."""
        epsilon = self.epsilon
        self.epsilon = epsilon / math.sqrt(1 - self.beta2**self.t)
        scales = super().scales()
        self.epsilon = epsilon
        return scales


class Shrinking(Optimizer):
    """A rule that is handed g + (α / n) W, where n samples are in the batch.

    So scikit-learn has it: ½ α Σ w² is added to the sum over a batch's samples, and is weaker in
    their mean the more there are. Of weighted samples n is their number times the mean weight.

    A rule that has taken steps is gone on with; the last of its batches may be short.
    """

    def __init__(self, rule: Optimizer, alpha: float, rows: int, batch: int, mean: float) -> None:
        self.within, self.learning_rate = rule, rule.learning_rate
        self.__post_init__()
        self.t = rule.t
        self.steps = -(-rows // batch)
        self.counts = batch, rows - (self.steps - 1) * batch  # of a batch, of the last
        self.strengths = [alpha / (n * mean) for n in self.counts]

    def _prepare(self, theta: Array, weights: Array | None) -> None:
        super()._prepare(theta, weights)
        (self.within.resume if self.t else self.within.start)(theta, weights)
        assert weights is not None  # `fit` knows which coordinates are weights
        self.before = self.t
        self.shrink = [np.multiply(weights, s, dtype=theta.dtype) for s in self.strengths]
        # The sum of ½ (α / n) Σ w² over the samples that steps were taken on since `spent`.
        self.penalty = np.zeros(theta.shape[:-1] or 1)

    def spent(self) -> Array:
        """Return the penalty so far, and count anew."""
        penalty = self.penalty.copy()
        self.penalty[:] = 0
        return penalty

    def of_network(self, k: int) -> Self:
        """Return the rule for network k of a stack; the penalty is written where this one's is."""
        one = super().of_network(k)
        one.within, one.penalty = self.within.of_network(k), self.penalty[k : k + 1]
        return one

    def hand_on(self, theta: Array, g: Array, handed: Array) -> None:
        """Write the gradient with the penalty's into handed."""
        last = (self.t - self.before) % self.steps == 0
        multiply(theta, self.shrink[last], handed)
        self.penalty += np.vecdot(theta, handed) * (self.counts[last] / 2)
        add(handed, g, handed)

    def compute(self, theta: Array, g: Array, move: Array) -> None:
        """Write the step into move."""
        shrunk = self.scratch("shrunk", theta)
        self.hand_on(theta, g, shrunk)
        self.within.t, self.within.rate = self.t, self.rate
        self.within.compute(theta, shrunk, move)


class Later(Schedule):
    """A schedule from a later epoch on, for a training that goes on call by call."""

    def __init__(self, schedule: Schedule, epochs: int) -> None:
        self.schedule, self.epochs = schedule, epochs
        self.every_step, self.reset = schedule.every_step, schedule.reset  # type: ignore[method-assign]
        self.observe = schedule.observe  # type: ignore[method-assign]

    @property
    def observes(self) -> bool:
        """Whether the schedule wants to be told the losses."""
        return self.schedule.observes

    def __call__(self, t: float) -> Any:
        """Return η(t)."""
        return self.schedule(self.epochs + t)
