"""Early stopping: end training when a loss no longer improves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet.checks import as_float, as_int
from bpnet.rules.schedules import count_waiting

if TYPE_CHECKING:
    from bpnet.arrays import Array


@dataclass
class EarlyStopping:
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
        self.patience = as_int(self.patience, "patience", least=0)
        self.min_delta = as_float(self.min_delta, "min_delta", least=0)
        if self.monitor not in (None, "loss", "validation_loss"):
            raise ValueError(f"monitor must be 'loss' or 'validation_loss', not {self.monitor!r}")

    def start(self) -> None:
        """Forget what an earlier training left."""
        self.best, self.waited, self.best_epoch, self.best_theta = math.inf, 0, 0, None

    def observe(self, loss: Any, epoch: int, theta: Array) -> Array:
        """Take the loss of an epoch, for a stack one each; return which have finished."""
        waiting = self.waited <= self.patience  # what has finished stays so
        better, self.best, self.waited = count_waiting(
            loss, self.best, self.waited, self.min_delta, waiting
        )
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        if self.restore_best:
            if self.best_theta is None:
                self.best_theta = theta.copy(order="K")
            np.copyto(self.best_theta, theta, where=better[..., None])
        finished: Array = self.waited > self.patience
        return finished

    def best_epochs(self) -> Any:
        """Return the number of the best epoch, or None before any; for a stack one each, or 0."""
        best = np.asarray(self.best_epoch)
        return best if best.ndim else int(best) or None

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the best weights."""
        return {"best": self.best, "waited": self.waited, "best_epoch": self.best_epoch}


def as_early_stopping(given: EarlyStopping | int | None) -> EarlyStopping | None:
    """Return early stopping from a patience, or as it is.

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if given is None or isinstance(given, EarlyStopping):
        return given
    return EarlyStopping(patience=as_int(given, "early_stopping", least=0))
