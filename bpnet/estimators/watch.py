"""What watches a training: scikit-learn's rules of when it ends, and the curves that it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bpnet.arrays import Array
from bpnet.estimators.inputs import Samples, outputs
from bpnet.mlp import MLP

if TYPE_CHECKING:
    from bpnet.rules.optimizers import Optimizer
    from bpnet.training.callbacks import Training

FTOL = 2.220446049250313e-09  # SciPy's default for L-BFGS-B
SMALLEST_RATE = 1e-6  # at which the learning rate "adaptive" gives up


@dataclass
class Record:
    """The training of one network so far; the lists have one entry an epoch.

    Attributes
    ----------
    losses, validation_losses, scores : list of float
    best_loss, best_score : float
    best_theta : array or None
        θ at the best score, if that is what training ends by.
    waited : int
        Epochs without an improvement.
    """

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_score: float = -math.inf
    best_theta: Array | None = None
    waited: int = 0

    def see_loss(self, loss: float, tol: float, *, waiting: bool) -> None:
        """Take the loss of an epoch; count it, if that is what is waited for."""
        self.losses.append(loss)
        if waiting:  # NaN is waited for too
            self.waited = 0 if loss <= self.best_loss - tol else self.waited + 1
        self.best_loss = min(self.best_loss, loss)

    def see_score(self, score: float, tol: float, theta: Array, *, waiting: bool) -> None:
        """Take the score of an epoch, and the weights that have it; count it as the loss."""
        self.scores.append(score)
        better = score > self.best_score
        if waiting:
            self.waited = 0 if score >= self.best_score + tol else self.waited + 1
            self.best_theta = theta.copy() if better else self.best_theta
        self.best_score = score if better else self.best_score


@dataclass
class Job:
    """What a training is asked to do.

    Attributes
    ----------
    estimator : estimator
        Whose parameters say how.
    samples : Samples
        What to train on.
    held : Samples or None
        What to validate on.
    score : callable
        ``score(net, a)`` of one network with its outputs on the held data.
    partial : bool
        Whether it is one epoch, as of `partial_fit`.
    """

    estimator: Any
    samples: Samples
    held: Samples | None
    score: Callable[[MLP, Array], float]
    partial: bool

    def __post_init__(self) -> None:
        self.n = len(self.samples.targets)
        self.epochs = 1 if self.partial else self.estimator.max_iter
        self.tasks: Tasks | None = None

    def announce(self, net: MLP, fits: int) -> None:
        """Tell scikit-learn's callbacks, if there are some, that training begins."""
        if hasattr(self.estimator, "_skl_callbacks") and not self.partial:
            self.tasks = Tasks(self.estimator, net, fits * self.epochs, self.samples)


class Watch:
    """A callback of `fit` that ends training as scikit-learn does, and keeps the curves.

    Parameters
    ----------
    job : Job
    net : MLP
        The net, or the stack, that trains.
    records : sequence of Record
        One for each network; gone on with.
    seen : int
        Samples seen before.
    lacking : callable
        ``lacking()`` returns what the loss of the epoch lacks: the penalty, one number a network.
    """

    def __init__(
        self,
        job: Job,
        net: MLP,
        records: Sequence[Record],
        seen: int,
        lacking: Callable[[], Any],
    ) -> None:
        self.job, self.estimator = job, job.estimator
        self.net, self.records, self.seen, self.lacking = net, records, seen, lacking
        self.by_score = self.estimator.early_stopping
        self.lbfgs = self.estimator._is_lbfgs()
        self.constant = self.estimator._constant(job.samples)
        self.done = np.zeros(len(records), bool)
        self.epochs = 0
        self.out_of_calls = False

    def on_train_begin(self, training: Training) -> None:
        """Tell scikit-learn's callbacks that an epoch begins."""
        if self.job.tasks is not None:
            self.job.tasks.begin()

    def on_epoch_end(self, training: Training) -> None:
        """Take the figures of the epoch, and end training if they say so."""
        estimator, tasks = self.estimator, self.job.tasks
        self.epochs += 1
        self.seen += self.job.n
        losses = np.atleast_1d(training.history.loss[-1] + self.lacking() + self.constant)
        for record, loss in zip(self.records, losses.tolist(), strict=True):
            record.see_loss(loss, estimator.tol, waiting=not (self.by_score or self.lbfgs))
        self._say("loss", [record.losses[-1] for record in self.records])
        if self.job.held is not None:
            self._validate(self.job.held)
        self._adapt(training)
        if estimator.solver == "lbfgs":
            self._end_lbfgs(training)
        if tasks is not None:
            if tasks.end():
                training.stop("a callback of scikit-learn")
            if training.history.stopped is None and training.epoch < training.epochs:
                tasks.begin()

    def _validate(self, held: Samples) -> None:
        """Take loss and score of the held data."""
        estimator, net = self.estimator, self.net
        a = outputs(net, held.x)
        loss = net.loss(a=a, y=held.targets, sample_weight=held.weight)
        losses = np.atleast_1d(loss + estimator._constant(held)).tolist()
        nets, each = ([net], [a]) if net.theta.ndim == 1 else (list(net), a)
        for record, one, out, loss in zip(self.records, nets, each, losses, strict=True):
            record.validation_losses.append(loss)
            score = -loss if estimator.scoring == "loss" else self.job.score(one, out)
            record.see_score(score, estimator.tol, one.theta, waiting=self.by_score)
        self._say("validation score", [record.scores[-1] for record in self.records])

    def _adapt(self, training: Training) -> None:
        """Change the learning rate, or end training where there was no improvement for long."""
        estimator, rule = self.estimator, cast("Optimizer", training.optimizer)
        how = estimator.learning_rate if estimator.solver == "sgd" else None
        if how == "invscaling":
            rule.learning_rate = estimator.learning_rate_init / (self.seen + 1) ** estimator.power_t
        waited = np.array([record.waited for record in self.records])
        due = (waited > estimator.n_iter_no_change) & ~self.done
        if not due.any():
            return
        if how == "adaptive":
            rates = np.broadcast_to(rule.learning_rate, due.shape)
            slower = due & (rates > SMALLEST_RATE)
            rates = np.where(slower, rates / 5, rates)
            rule.learning_rate = rates if len(rates) > 1 else float(rates[0])
            for k in np.flatnonzero(slower).tolist():
                self.records[k].waited = 0
            due &= ~slower
        self.done |= due
        if self.done.all():
            what = "Validation score" if self.by_score else "Training loss"
            training.stop(
                f"{what} did not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change} consecutive epochs."
            )

    def _end_lbfgs(self, training: Training) -> None:
        """End L-BFGS where SciPy by its defaults would, which is where scikit-learn's ends."""
        *_, before, loss = math.inf, *self.records[0].losses[-2:]
        if self.epochs >= self.estimator.max_fun:
            self.out_of_calls = True
            training.stop(f"max_fun={self.estimator.max_fun} is reached")
        elif before - loss <= FTOL * max(abs(before), abs(loss), 1) and self.epochs > 1:
            training.stop("L-BFGS: the loss falls by no more than rounding")

    def _say(self, what: str, values: list[float]) -> None:
        if self.estimator.verbose:
            ends = dict.fromkeys(f"{end(values):.8f}" for end in (min, max))
            text = f"Iteration {self.epochs}, {what} = {'..'.join(ends)}"
            print(text)  # noqa: T201  # what `verbose` asks for


class Tasks:
    """The epochs of a fit as scikit-learn's callbacks see them (from its version 1.9 on).

    Parameters
    ----------
    estimator : estimator
    net : MLP
        What trains.
    epochs : int
        The most that there can be.
    samples : Samples
        What is trained on.
    """

    def __init__(self, estimator: Any, net: MLP, epochs: int, samples: Samples) -> None:
        weight = samples.weight
        self.told = {
            "estimator": estimator,
            "X": samples.x,
            "y": samples.y,
            "metadata": None if weight is None else {"sample_weight": weight},
            # of an estimator that could be asked now; X has no names of columns any more
            "reconstruction_attributes": lambda: {"net_": net.copy(), "feature_names_in_": None},
        }
        self.fit = estimator._init_callback_context(max_subtasks=epochs)
        self.fit.call_on_fit_task_begin(**self.told)

    def begin(self) -> None:
        """Tell that an epoch begins."""
        self.epoch = self.fit.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.told)

    def end(self) -> bool:
        """Tell that the epoch has ended; return whether training shall."""
        return bool(self.epoch.call_on_fit_task_end(**self.told))

    def close(self) -> None:
        """Tell that the fit has ended."""
        self.fit.call_on_fit_task_end(**self.told)
