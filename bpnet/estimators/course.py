"""The course of a training: from samples and a net to `fit`, how long, and what it leaves.

`Watch` ends it by scikit-learn's rules, and keeps the curves.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import all_finite
from bpnet.errors import TrainingDiverged
from bpnet.estimators.parameters import Later, Shrinking, rule_of
from bpnet.estimators.scikit import ConvergenceWarning
from bpnet.mlp import MLP
from bpnet.rules.optimizers import Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.fit import fit
from bpnet.training.lbfgs import LBFGS

if TYPE_CHECKING:
    from bpnet.training.callbacks import Training
    from bpnet.training.history import History

LARGEST_BATCH = 200  # of batch_size="auto"
FTOL = 2.220446049250313e-09  # SciPy's default for L-BFGS-B
CHUNK = 1024  # rows of a sparse x that are made dense at a time
SMALLEST_RATE = 1e-6  # at which the learning rate "adaptive" gives up


class Samples(NamedTuple):
    """x, the user's y, the net's targets, and weights or None."""

    x: Any
    y: Any
    targets: Array
    weight: Array | None

    def take(self, rows: Array) -> Samples:
        """Return some of them."""
        weight = None if self.weight is None else self.weight[rows]
        return Samples(self.x[rows], self.y[rows], self.targets[rows], weight)


@dataclass
class Record:
    """The training of one network so far; the lists have one entry an epoch."""

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_score: float = -math.inf
    best_theta: Array | None = None  # at the best score, if that is what training ends by
    waited: int = 0  # epochs without an improvement


@dataclass
class Job:
    """What a training is asked to do, and its epochs as scikit-learn's callbacks see them."""

    estimator: Any
    samples: Samples
    held: Samples | None  # to validate on
    score: Callable[[MLP, Array], float]  # of one network with its outputs on the held data
    partial: bool  # whether it is one epoch, as of `partial_fit`
    whole: Any = None  # the contexts of scikit-learn's callbacks, where there are some
    epoch: Any = None

    def __post_init__(self) -> None:
        self.n: int = len(self.samples.targets)
        self.epochs = 1 if self.partial else self.estimator.max_iter

    def begin(self, net: MLP, fits: int) -> None:
        """Tell that training begins."""
        if self.partial or not hasattr(self.estimator, "_skl_callbacks"):
            return
        weight = self.samples.weight
        self.told = {
            "estimator": self.estimator,
            "X": self.samples.x,
            "y": self.samples.y,
            "metadata": None if weight is None else {"sample_weight": weight},
            # of an estimator that could be asked now; X has no names of columns any more
            "reconstruction_attributes": lambda: {"net_": net.copy(), "feature_names_in_": None},
        }
        self.whole = self.estimator._init_callback_context(max_subtasks=fits * self.epochs)
        self.whole.call_on_fit_task_begin(**self.told)

    def begin_epoch(self) -> None:
        """Tell that an epoch begins."""
        if self.whole is not None:
            self.epoch = self.whole.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.told)

    def end(self, task: Any) -> bool:
        """Tell that the whole or an epoch has ended; return whether training shall."""
        return task is not None and bool(task.call_on_fit_task_end(**self.told))


class Watch:
    """A callback of `fit` that ends training as scikit-learn does, and keeps the curves."""

    def __init__(
        self, job: Job, net: MLP, records: Sequence[Record], seen: int, lacking: Callable[[], Any]
    ) -> None:
        self.job, self.estimator = job, job.estimator
        self.net, self.records = net, records  # of a stack, one for each network
        self.seen = seen  # samples, before too
        self.lacking = lacking  # gives what the loss of the epoch lacks: the penalty
        self.by_score: Any = self.estimator.early_stopping
        self.lbfgs: Any = self.estimator._is_lbfgs()
        self.constant: Any = self.estimator._constant(job.samples)
        self.done = np.zeros(len(records), bool)
        self.epochs = 0
        self.out_of_calls: bool = False

    def on_train_begin(self, training: Training) -> None:
        """Tell that an epoch begins."""
        self.job.begin_epoch()

    def on_epoch_end(self, training: Training) -> None:
        """Take the figures of the epoch, and end training if they say so."""
        estimator = self.estimator
        self.epochs += 1
        self.seen += self.job.n
        losses = np.atleast_1d(training.history.loss[-1] + self.lacking() + self.constant)
        for record, loss in zip(self.records, losses.tolist(), strict=True):
            record.losses.append(loss)
            if not (self.by_score or self.lbfgs):  # NaN is waited for too
                better = loss <= record.best_loss - estimator.tol
                record.waited = 0 if better else record.waited + 1
            record.best_loss = min(record.best_loss, loss)
        self._say("loss", losses.tolist())
        if self.job.held is not None:
            self._validate(self.job.held)
        self._adapt(training)
        if estimator.solver == "lbfgs":  # end where SciPy by its defaults would, as scikit-learn's
            *_, before, loss = math.inf, *self.records[0].losses[-2:]
            if self.epochs >= estimator.max_fun:
                self.out_of_calls = True
                training.stop(f"max_fun={estimator.max_fun} is reached")
            elif before - loss <= FTOL * max(abs(before), abs(loss), 1) and self.epochs > 1:
                training.stop("L-BFGS: the loss falls by no more than rounding")
        if self.job.end(self.job.epoch):
            training.stop("a callback of scikit-learn")
        if training.history.stopped is None and training.epoch < training.epochs:
            self.job.begin_epoch()

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
            record.scores.append(score)
            if self.by_score:
                better = score >= record.best_score + estimator.tol
                record.waited = 0 if better else record.waited + 1
            if score > record.best_score:
                record.best_score = score
                record.best_theta = one.theta.copy() if self.by_score else None
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

    def _say(self, what: str, values: list[float]) -> None:
        if self.estimator.verbose:
            ends = dict.fromkeys(f"{end(values):.8f}" for end in (min, max))
            text = f"Iteration {self.epochs}, {what} = {'..'.join(ends)}"
            print(text)  # noqa: T201  # what `verbose` asks for

    def warn_of_end(self, stopped: str | None) -> None:
        """Warn if training ended before it converged."""
        if stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=6)
        elif self.out_of_calls or (stopped is None and self.epochs == self.estimator.max_iter):
            what = "lbfgs" if self.lbfgs else "Stochastic Optimizer"
            text = f"{what}: Maximum iterations ({self.epochs}) reached and the optimization hasn't"
            warnings.warn(f"{text} converged yet.", ConvergenceWarning, stacklevel=6)


class Course:
    """The training of a net, or of a stack of them; what `partial_fit` goes on with."""

    def __init__(self, net: MLP) -> None:
        self.net: MLP = net
        self.records = [Record() for _ in range(1 if net.theta.ndim == 1 else len(net))]
        self.seen = self.epochs = 0  # samples so far; epochs of the last call
        self.stopped: str | None = None  # why the last call ended early, as in `History`
        self.rule: Any = None  # Optimizer or LBFGS, from `prepare` on, as the generator
        self.rng: Any = None

    def prepare(self, estimator: Any, state: np.random.RandomState, *, partial: bool) -> None:
        """Get ready to go on: where the last call was, or with a rule and patience anew."""
        if self.rng is None:
            self.rng = np.random.default_rng(state.randint(2**31 - 1))
        for record in self.records:
            record.waited = record.waited if partial and self.stopped is None else 0
        if not partial or self.rule is None:
            self.rule = rule_of(estimator)
        rate = getattr(self.rule, "learning_rate", None)
        rate = rate.schedule if isinstance(rate, Later) else rate
        if partial and isinstance(rate, Schedule):
            self.rule.learning_rate = Later(rate, len(self.records[0].losses))

    def run(self, job: Job) -> None:
        """Train: one epoch more, or to the end; TrainingDiverged as of `fit`."""
        parts = [(self.net, self.records)]
        if isinstance(self.rule, LBFGS) and self.net.theta.ndim > 1:  # one after another, as views
            parts = [(net, [record]) for net, record in zip(self.net, self.records, strict=True)]
        job.begin(self.net, len(parts))
        self.epochs = 0
        for net, records in parts:
            history, watch = self._fit(job, net, records)
            self.epochs, self.stopped = max(self.epochs, watch.epochs), history.stopped
            self.seen = watch.seen
            if not job.partial:
                watch.warn_of_end(history.stopped)
        job.end(job.whole)
        state = getattr(self.rule, "state", {})
        if self.net.theta.ndim == 1 and not all(map(all_finite, state.values())):
            raise TrainingDiverged(
                f"the squares of the gradients overflow {self.net.dtype}, so that no step could "
                "be taken: scale X and y, by StandardScaler for example",
                epoch=self.epochs,
                step=1,
                layer=None,
                learning_rate=getattr(self.rule, "last_rate", None),
            )

    def _fit(self, job: Job, net: MLP, records: list[Record]) -> tuple[History, Watch]:
        """Call `fit`."""
        estimator, (x, _, targets, weight), n = job.estimator, job.samples, job.n
        size, rule, l2, mean = n, self.rule, 0.0, 1.0 if weight is None else float(weight.mean())
        lacking: Callable[[], Any] = float  # which gives 0.0
        if isinstance(rule, LBFGS):
            l2 = estimator.alpha / (n * mean)
            lacking = lambda: l2 / 2 * sum(np.vdot(W, W) for W in net.W.values())  # noqa: E731
        else:
            given = LARGEST_BATCH if estimator.batch_size == "auto" else int(estimator.batch_size)
            if given > n and estimator.batch_size != "auto":
                text = f"Got `batch_size` {given} larger than sample size {n}."
                warnings.warn(f"{text} It is going to be clipped", stacklevel=6)
            size = min(given, n)
            if estimator.alpha:
                rule = steps = Shrinking(rule, estimator.alpha, n, size, mean)
                lacking = lambda: steps.spent() / n  # noqa: E731
        watch = Watch(job, net, records, self.seen, lacking)
        options: dict[str, Any] = {"compiled": estimator.compiled}
        data: tuple[Any, ...]
        if hasattr(x, "toarray") and size < n:
            rng = self.rng if estimator.shuffle else None
            data = (partial(batches, x, targets, weight, size, rng),)
            options |= {"steps_per_epoch": -(-n // size)}
            options |= {"weight_mean": None if weight is None else mean}
        else:
            data = dense(x), targets
            options |= {"batch_size": size, "sample_weight": weight}
        history = fit(
            net, *data, epochs=job.epochs, optimizer=rule, rng=self.rng, shuffle=estimator.shuffle,
            l2=l2, dropout=estimator.dropout, callbacks=[watch, *estimator.callbacks],
            keep_state=job.partial, **options,
        )  # fmt: skip
        if isinstance(rule, Optimizer):  # which may have changed
            self.rule.learning_rate = rule.learning_rate
        return history, watch

    def choose(self, best: int, *, by_score: bool) -> None:
        """Keep so many networks, the best; under early stopping, with their best weights."""
        theta = np.atleast_2d(self.net.theta)
        figures = [-record.best_score if by_score else record.losses[-1] for record in self.records]
        order = np.argsort(figures, kind="stable")[:best]  # NaN comes last
        chosen = sorted(k for k in order.tolist() if np.isfinite(figures[k]))
        for k in chosen if by_score else ():
            theta[k] = self.records[k].best_theta
        if 0 < len(chosen) < len(self.records):
            kept = theta[chosen[0]] if best == 1 else theta[chosen]
            self.net = self.net.with_theta(kept.copy())
            self.records = [self.records[k] for k in chosen]
            self.rule = None  # its vectors are of all of them

    def curve(self, name: str) -> list[float]:
        """Return a list of the record, or the mean of several, where what has ended stays."""
        curves: list[list[float]] = [getattr(record, name) for record in self.records]
        if len(curves) == 1:
            return curves[0]
        epochs = max(map(len, curves))
        means = np.mean([curve + curve[-1:] * (epochs - len(curve)) for curve in curves], axis=0)
        return [float(mean) for mean in means]

    def mean(self, name: str) -> float:
        """Return the mean of a figure of the records."""
        return float(np.mean([getattr(record, name) for record in self.records]))


def dense(x: Any) -> Array:
    """Return rows as an array."""
    return x.toarray() if hasattr(x, "toarray") else x  # type: ignore[no-any-return]


def chunks(x: Any) -> Iterator[Array]:
    """Yield x as arrays of some rows at a time."""
    for start in range(0, x.shape[0], CHUNK):
        yield dense(x[start : start + CHUNK])


def outputs(net: MLP, x: Any) -> Array:
    """Return a^L, (m, n_L), or (networks, m, n_L) of a stack."""
    if not hasattr(x, "toarray"):
        return net.predict(x)
    return np.concatenate([net.predict(part) for part in chunks(x)], axis=-2)


def batches(
    x: Any, y: Array, weight: Array | None, size: int, rng: np.random.Generator | None
) -> Iterator[tuple[Array, ...]]:
    """Yield an epoch of a sparse x, one batch at a time made dense, in the order of `fit`."""
    n = x.shape[0]
    order = np.arange(n) if rng is None else rng.permutation(n)
    for start in range(0, n, size):
        rows = order[start : start + size]
        batch = x[rows].toarray(), y[rows]
        yield batch if weight is None else (*batch, weight[rows])
