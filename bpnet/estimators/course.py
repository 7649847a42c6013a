"""The course of a training: from samples and a net to `fit`, and what it leaves."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet.checks import all_finite
from bpnet.errors import TrainingDiverged
from bpnet.estimators.inputs import batches, dense
from bpnet.estimators.rules import Later, Shrinking, rule_of
from bpnet.estimators.scikit import ConvergenceWarning
from bpnet.estimators.watch import Job, Record, Watch
from bpnet.mlp import MLP
from bpnet.rules.optimizers import Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.fit import fit
from bpnet.training.lbfgs import LBFGS

if TYPE_CHECKING:
    from bpnet.training.history import History

LARGEST_BATCH = 200  # of batch_size="auto"


class Course:
    """The training of a net, or of a stack of them; what `partial_fit` goes on with.

    Attributes
    ----------
    net : MLP
    records : list of Record
        One for each network.
    rule : Optimizer or LBFGS
        From `prepare` on, as the generator.
    rng : numpy.random.Generator
    seen : int
        Samples so far.
    epochs : int
        Of the last call.
    stopped : str or None
        Why the last call ended early, as in `History`.
    """

    def __init__(self, net: MLP) -> None:
        self.net = net
        self.records = [Record() for _ in range(1 if net.theta.ndim == 1 else len(net))]
        self.seen = self.epochs = 0
        self.stopped: str | None = None
        self.rule: Any = None
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
        """Train: one epoch more, or to the end.

        Raises
        ------
        TrainingDiverged
            As `fit`, and where gradients were too large to take a step by.
        """
        parts = [(self.net, self.records)]
        if isinstance(self.rule, LBFGS) and self.net.theta.ndim > 1:  # one after another, as views
            parts = [(net, [record]) for net, record in zip(self.net, self.records, strict=True)]
        job.announce(self.net, len(parts))
        self.epochs = 0
        for net, records in parts:
            history, watch = self._fit(job, net, records)
            self.epochs, self.stopped = max(self.epochs, watch.epochs), history.stopped
            self.seen = watch.seen
            if not job.partial:
                warn_of_end(job.estimator, history, watch)
        if job.tasks is not None:
            job.tasks.close()
        self._check_state()

    def _fit(self, job: Job, net: MLP, records: list[Record]) -> tuple[History, Watch]:
        """Call `fit`."""
        estimator, (x, _, targets, weight), n = job.estimator, job.samples, job.n
        size = n if isinstance(self.rule, LBFGS) else batch_size(estimator.batch_size, n)
        mean = 1.0 if weight is None else float(weight.mean())
        rule, l2, lacking = penalised(self.rule, net, estimator.alpha, n, size, mean)
        watch = Watch(job, net, records, self.seen, lacking)
        options: dict[str, Any] = {"compiled": True} if estimator.compiled else {}
        data: tuple[Any, ...] = (x, targets)
        if hasattr(x, "toarray") and size < n:
            rng = self.rng if estimator.shuffle else None
            data = (batches(x, targets, weight, size, rng),)
            options |= {"steps_per_epoch": -(-n // size)}
            options |= {"weight_mean": None if weight is None else mean}
        else:
            data = dense(x), targets
            options |= {"batch_size": size, "sample_weight": weight}
        history = fit(
            net,
            *data,
            epochs=job.epochs,
            optimizer=rule,
            rng=self.rng,
            shuffle=estimator.shuffle,
            l2=l2,
            dropout=estimator.dropout,
            callbacks=[watch, *estimator.callbacks],
            keep_state=job.partial,
            **options,
        )
        if isinstance(rule, Optimizer):  # which may have changed
            self.rule.learning_rate = rule.learning_rate
        return history, watch

    def _check_state(self) -> None:
        """Raise TrainingDiverged if squares of gradients overflowed, so that steps were 0."""
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

    def curve(self, of: Callable[[Record], list[float]]) -> list[float]:
        """Return a list of the record, or the mean of several, where what has ended stays."""
        curves = [of(record) for record in self.records]
        if len(curves) == 1:
            return curves[0]
        epochs = max(map(len, curves))
        means = np.mean([curve + curve[-1:] * (epochs - len(curve)) for curve in curves], axis=0)
        return [float(mean) for mean in means]


def penalised(
    rule: Any, net: MLP, alpha: float, n: int, size: int, mean: float
) -> tuple[Any, float, Callable[[], Any]]:
    """Return a rule with scikit-learn's penalty, `fit`'s l2, and what tells the penalty."""
    if alpha == 0:
        return rule, 0.0, lambda: 0.0
    if isinstance(rule, LBFGS):
        l2 = alpha / (n * mean)
        return rule, l2, lambda: l2 / 2 * sum(np.vdot(W, W) for W in net.W.values())
    steps = Shrinking(rule, alpha, n, size, mean)
    return steps, 0.0, lambda: steps.spent() / n


def check_compiled() -> None:
    """Raise ValueError if `fit` knows no compiled kernels."""
    if "compiled" not in inspect.signature(fit).parameters:
        raise ValueError("compiled=True needs a bpnet whose `fit` takes it: this one does not")


def batch_size(given: Any, n: int) -> int:
    """Return how many samples a batch has."""
    if given == "auto":
        return min(LARGEST_BATCH, n)
    if given > n:
        text = f"Got `batch_size` {given} larger than sample size {n}. It is going to be clipped"
        warnings.warn(text, stacklevel=7)
    return min(int(given), n)


def warn_of_end(estimator: Any, history: History, watch: Watch) -> None:
    """Warn if training ended before it converged."""
    if history.stopped == "interrupted":
        warnings.warn("Training interrupted by user.", stacklevel=6)
    elif watch.out_of_calls or (history.stopped is None and watch.epochs == estimator.max_iter):
        what = "lbfgs" if watch.lbfgs else "Stochastic Optimizer"
        text = f"{what}: Maximum iterations ({watch.epochs}) reached and the optimization hasn't "
        warnings.warn(f"{text}converged yet.", ConvergenceWarning, stacklevel=6)
