"""Ways to watch and to end training: early stopping, callbacks, progress, Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bpnet.validation import as_float, as_int

if TYPE_CHECKING:
    from bpnet.loop import Training
    from bpnet.parameters import Array


EVENTS = ("on_train_begin", "on_epoch_end", "on_train_end")


class Callback(Protocol):
    """What `fit` calls: a function of the `Training`, or an object with these methods.

    A function is called at the end of each epoch. An object may leave out any method. They may
    read everything and change the net's weights or the optimizer's schedule;
    ``training.stop("why")`` ends training after this epoch.
    """

    def on_train_begin(self, training: Training) -> None:
        """Be called before the first step."""

    def on_epoch_end(self, training: Training) -> None:
        """Be called after each epoch, when the history has its entry."""

    def on_train_end(self, training: Training) -> None:
        """Be called after the last epoch, also when Ctrl-C or early stopping ended training."""


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
        better = np.asarray((loss < self.best - self.min_delta) & waiting)
        self.best = np.where(better, loss, self.best)
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        self.waited = np.where(better, 0, self.waited + 1)
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


def as_callbacks(given: Sequence[Any]) -> list[Any]:
    """Return the callbacks as a list.

    Raises
    ------
    TypeError
        If one of them cannot be called, or they are no sequence.
    """
    if not isinstance(given, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, not {given!r}")
    callbacks = list(given)
    for callback in callbacks:
        known = callable(callback) or any(hasattr(callback, event) for event in EVENTS)
        if not known or isinstance(callback, type):
            raise TypeError(
                f"a callback is a function, or an object with one of {', '.join(EVENTS)}, "
                f"not {callback!r}"
            )
    return callbacks


class Interrupt:
    """Whether Ctrl-C was pressed."""

    pressed = False


@contextmanager
def ctrl_c_ends_training() -> Iterator[Interrupt]:
    """Let the first Ctrl-C end training after the present step, and a second one at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # signals reach the main thread alone
        return

    def press(number: int, frame: Any) -> None:
        interrupt.pressed = True
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield interrupt  # the program has a handler of its own
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def figure(value: Any) -> str:
    """Return a number in short; of a stack's numbers the lowest and the highest."""
    if np.ndim(value) == 0:
        return f"{value:.4g}"
    return f"{np.fmin.reduce(value):.4g}..{np.fmax.reduce(value):.4g}"


class Progress:
    """A bar by tqdm where it is installed, else a line an epoch, on the standard error stream."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, training: Training) -> None:
        """Open the bar."""
        try:
            from tqdm import tqdm
        except ImportError:
            return
        done = len(training.history)
        self.bar = tqdm(total=training.epochs, initial=done, unit="epoch", file=sys.stderr)

    def on_epoch_end(self, training: Training) -> None:
        """Show the epoch's figures."""
        figures = {
            name: figure(column[-1])
            for name, column in training.history.to_dict().items()
            if name not in ("epoch", "time")
        }
        if self.bar is not None:
            self.bar.set_postfix(figures, refresh=False)
            self.bar.update()
            return
        text = "  ".join(f"{name} {figure}" for name, figure in figures.items())
        seconds = training.history.time[-1]
        epoch = f"epoch {training.epoch}/{training.epochs}"
        print(f"{epoch}  {text}  {seconds:.2f} s", file=sys.stderr, flush=True)

    def on_train_end(self, training: Training) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
