"""Early stopping: end training when a loss no longer improves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.rules.schedules import Patience
from bpnet.training.run import Run


@dataclass
class EarlyStopping(Patience):
    """End training when a loss has not improved for some epochs, with the best weights.

    Parameters
    ----------
    patience : int
        Epochs without improvement that are waited for, >= 0.
    min_delta : float
        What counts as an improvement is more than this, >= 0.
    monitor : str
        "validation_loss" or "loss"; the default is the first if there are validation data.
    restore_best : bool
        Whether the net ends with the weights of the best epoch.
    """

    patience: int = 10
    min_delta: float = 0.0
    monitor: str | None = None
    restore_best: bool = True
    best: Any = field(default=math.inf, init=False)
    waited: Any = field(default=0, init=False)
    best_epoch: Any = field(default=0, init=False)
    best_theta: Array | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.check_patience()
        if self.monitor not in (None, "loss", "validation_loss"):
            raise ValueError(f"monitor must be 'loss' or 'validation_loss', not {self.monitor!r}")

    def start(self) -> None:
        """Forget what an earlier training left."""
        self.wait_afresh()
        self.best_epoch, self.best_theta = 0, None

    def observe(self, loss: Any, epoch: int, theta: Array) -> Array:
        """Take the loss of an epoch, for a stack one each; return which have finished."""
        better, finished = self.wait(loss)
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        if self.restore_best:
            if self.best_theta is None:
                self.best_theta = theta.copy(order="K")
            np.copyto(self.best_theta, theta, where=better[..., None])
        return finished

    def on_epoch_end(self, run: Run) -> None:
        """Take the epoch's loss; end training, or of a stack those networks that have finished."""
        history = run.history
        held = history.validation_loss if self.monitor != "loss" else ()
        finished = self.observe((held or history.loss)[-1], run.epoch, run.net.theta)
        run.finish(finished, "early stopping")

    def on_train_end(self, run: Run) -> None:
        """Give the net its best weights back, and the history the number of their epoch."""
        run.history.best_epoch = self.best_epochs()
        if self.best_theta is not None:
            run.net.theta = self.best_theta

    def best_epochs(self) -> Any:
        """Return the number of the best epoch, or None before any; for a stack one each, or 0."""
        best = np.asarray(self.best_epoch)
        return best if best.ndim else int(best) or None

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the best weights."""
        return {"best": self.best, "waited": self.waited, "best_epoch": self.best_epoch}


def as_early_stopping(
    given: EarlyStopping | int | None, *, validation: bool
) -> EarlyStopping | None:
    """Return early stopping from a patience, or as it is.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or monitors the validation loss where there is none.
    """
    if given is None:
        return None
    if not isinstance(given, EarlyStopping):
        given = EarlyStopping(patience=as_int(given, "early_stopping", least=0))
    if given.monitor == "validation_loss" and not validation:
        raise ValueError("early stopping on the validation loss needs validation data")
    return given
