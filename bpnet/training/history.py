"""What training did, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpnet.network.show import Row, Shown


@dataclass(repr=False)
class History(Shown):
    """What training did: one entry an epoch in each list.

    For a stack of networks each entry of a loss or a metric is an array, (networks,).

    Attributes
    ----------
    loss : list of float
        Mean loss of the epoch's samples, each taken just before the step that used it, without
        L1 and L2 penalties: comparable with the validation loss.
    validation_loss : list of float
        At the end of the epoch; empty where there are no validation data.
    metrics : dict of str to list of float
        By name, at the end of the epoch: of the validation data if there is any, else of the
        training data.
    learning_rate : list of float
        Of the epoch's last step; empty for L-BFGS, which has none.
    time : list of float
        Seconds that the epoch took.
    best_epoch : int or None
        Number, from 1, of the epoch with the best monitored loss or metric, under early stopping.
    batches : Batches of `bpnet.distributed`, or None
        Which rows the steps of `fit_on_dask` took.
    diverged : list of dict
        Of a stack: "network", "epoch", "step" and "layer" of each that diverged, while others went
        on; for one network `TrainingDiverged` is raised instead.
    stopped : str or None
        Why training ended before the last epoch, such as "early stopping" or "interrupted".
    """

    loss: list[Any] = field(default_factory=list)
    validation_loss: list[Any] = field(default_factory=list)
    metrics: dict[str, list[Any]] = field(default_factory=dict)
    learning_rate: list[Any] = field(default_factory=list)
    time: list[float] = field(default_factory=list)
    best_epoch: Any = None
    batches: Any = None
    diverged: list[dict[str, int]] = field(default_factory=list)
    stopped: str | None = None

    def __dir__(self) -> list[str]:
        return sorted([*vars(self), "to_dict", "to_frame"])

    def summary(self) -> tuple[str, list[Row]]:
        """Return what `repr` shows: where each column began and ended; of a stack, its medians."""
        title = f"History of {len(self):,} epoch{'s' * (len(self) != 1)}"
        title += f", {sum(self.time):.3g} s" * bool(self.time)
        title += f", stopped: {self.stopped}" if self.stopped else ""
        title += f", best epoch {self.best_epoch}" if self.best_epoch is not None else ""
        columns = {
            key: c for key, c in self.to_dict().items() if c and key not in ("epoch", "time")
        }
        ends = {key: [f"{np.median(c[k]):.5g}" for k in (0, -1)] for key, c in columns.items()}
        return title, [(key, " -> ".join(both)) for key, both in ends.items()]

    def __len__(self) -> int:
        return len(self.loss)

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the recorded columns by name: ``epoch`` from 1, ``loss``, ... and each metric."""
        columns = {
            "epoch": list(range(1, len(self) + 1)),
            "loss": self.loss,
            "validation_loss": self.validation_loss,
            **self.metrics,
            "learning_rate": self.learning_rate,
            "time": self.time,
        }
        recorded = {name: list(column) for name, column in columns.items() if column}
        return recorded or {"epoch": [], "loss": []}

    def to_frame(self) -> Any:
        """Return the columns as a pandas DataFrame, indexed by epoch."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("a data frame needs pandas: pip install pandas") from None
        return pd.DataFrame(self.to_dict()).set_index("epoch")
