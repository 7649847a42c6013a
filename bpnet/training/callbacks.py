"""Ways to watch and to end training: early stopping, callbacks, progress, Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from bpnet.training.loop import Training


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
