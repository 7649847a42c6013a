"""Early stopping: end training when a loss or a metric no longer improves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpnet.arrays import Array, alike
from bpnet.checks import as_int
from bpnet.rules.losses import Loss
from bpnet.rules.metrics import METRICS, SMALLER_IS_BETTER, Mean, Metric, as_metrics
from bpnet.rules.schedules import Patience
from bpnet.training.run import Run


@dataclass
class EarlyStopping(Patience):
    """End training when a loss or a metric has stopped improving, with the best weights.

    Parameters
    ----------
    patience : int
        Epochs without improvement, by more than `min_delta`, that are waited for.
    monitor : str
        "validation_loss", "loss" or the name of a metric; the default is the first if there are
        validation data. A metric that bpnet names, such as "accuracy", is measured for it.
    restore_best : bool
        Whether the net ends with the weights of the best epoch.
    mode : {"min", "max"}, optional
        Whether less is better or more. It is known but for a metric of your own.
    """

    patience: int = 10
    min_delta: float = 0.0
    monitor: str | None = None
    restore_best: bool = True
    mode: str | None = None
    best: Any = field(default=math.inf, init=False)
    waited: Any = field(default=0, init=False)
    best_epoch: Any = field(default=0, init=False)
    best_theta: Array | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.check_patience()
        if not isinstance(self.monitor, (str, type(None))):
            raise TypeError(f"monitor must be the name of a loss or metric, not {self.monitor!r}")
        if self.mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', not {self.mode!r}")

    def start(self) -> None:
        """Forget what an earlier training left."""
        more = self.monitor in METRICS and self.monitor not in SMALLER_IS_BETTER
        self.sign = -1.0 if self.mode == "max" or (more and self.mode is None) else 1.0
        self.wait_afresh()
        self.best_epoch, self.best_theta = 0, None

    def observe(self, loss: Any, epoch: int, theta: Array) -> Array:
        """Take the loss or metric of an epoch, for a stack one each; return which have finished."""
        better, finished = self.wait(loss)
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        if self.restore_best:
            if self.best_theta is None:
                self.best_theta = theta.copy(order="K")
            np.copyto(self.best_theta, theta, where=alike(better[..., None], theta))
        return finished

    def on_epoch_end(self, run: Run) -> None:
        """Take what is monitored; end training, or of a stack those networks that have finished."""
        history = run.history
        columns = {**history.metrics, "loss": history.loss}
        columns |= {"validation_loss": history.validation_loss} if history.validation_loss else {}
        column = columns[self.monitor or [*columns][-1]]
        run.finish(self.observe(column[-1], run.epoch, run.net.theta), "early stopping")

    def on_train_end(self, run: Run) -> None:
        """Give the net its best weights back, and the history the number of their epoch."""
        best = np.asarray(self.best_epoch)  # 0 before any
        run.history.best_epoch = best if best.ndim else int(best) or None
        if self.best_theta is not None:
            run.net.theta = self.best_theta

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the best weights."""
        return {"best": self.best, "waited": self.waited, "best_epoch": self.best_epoch}


def as_early_stopping(
    given: EarlyStopping | int | None, *, validation: bool, metrics: dict[str, Metric]
) -> EarlyStopping | None:
    """Return early stopping from a patience, or as it is."""
    if given is None:
        return None
    if not isinstance(given, EarlyStopping):
        given = EarlyStopping(patience=as_int(given, "early_stopping", least=0))
    if given.monitor == "validation_loss" and not validation:
        raise ValueError("early stopping on the validation loss needs validation data")
    if given.monitor not in (None, "loss", "validation_loss", *metrics):
        measured = ", ".join(("loss", "validation_loss", *(metrics or METRICS)))
        text = f"monitors {given.monitor!r}, but what is measured is {measured}"
        raise ValueError(f"early stopping {text}")
    own = not isinstance(metrics.get(given.monitor or ""), Mean | None)
    if own and given.mode is None:
        text = "is better is not known: say mode='max' or 'min'"
        raise ValueError(f"whether more of {given.monitor!r} {text}")
    return given


def as_measured(metrics: Any, stopper: Any, loss: Loss) -> dict[str, Metric]:
    """Return the metrics by name, with one of bpnet's that early stopping monitors."""
    monitor = getattr(stopper, "monitor", None)
    more = as_metrics(monitor, loss) if monitor in METRICS else {}
    return more | as_metrics(metrics, loss)
