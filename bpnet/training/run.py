"""A training as it runs: what a driver moves on, and what happens between two epochs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import warn
from bpnet.errors import TrainingDiverged
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.callbacks import tell
from bpnet.training.data import Batches
from bpnet.training.divergence import Trend, advice, first_not_finite, named
from bpnet.training.evaluation import Evaluation
from bpnet.training.history import History
from bpnet.training.interrupt import Interrupt, ctrl_c_ends_training
from bpnet.training.step import Recipe, going_of

Driver = Callable[["Run", Batches, Recipe], None]


@dataclass(eq=False, repr=False)
class Run:
    """A `Training`, as callbacks know it, with what drivers and a checkpoint need beside."""

    net: MLP
    optimizer: Any  # `last_rate` is the learning rate of the last step, or None
    epochs: int
    evaluation: Evaluation
    watchers: Sequence[Any]  # told of each event in this order: of the form of a `Callback`
    epoch: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    trend: Trend = field(default_factory=Trend, init=False)
    interrupt: Interrupt = field(default_factory=Interrupt, init=False)

    def __post_init__(self) -> None:
        self.history = History(metrics={name: [] for name in self.evaluation.metrics})
        self.measures = self.evaluation.held is not None or bool(self.evaluation.metrics)
        self.going = going_of(self.net)
        self.lone = self.net.theta.ndim > 1 and self.going is None  # a stack of one

    def stop(self, reason: str) -> None:
        """End training after this epoch."""
        self.history.stopped = reason

    def finish(self, networks: Array, reason: str) -> None:
        """Let networks of a stack, a mask, stand still; end training where none is left."""
        if self.going is not None:
            self.going.end(networks)  # and what has diverged is not waited for
            networks = ~self.going.mask
        if np.all(networks) and self.history.stopped is None:
            self.stop(reason)

    def train(self, drive: Driver, batches: Batches, recipe: Recipe) -> None:
        """Train by a driver, which Ctrl-C ends after the present step."""
        try:
            with ctrl_c_ends_training(self.interrupt):
                tell(self.watchers, "on_train_begin", self)
                drive(self, batches, recipe)
                tell(self.watchers, "on_train_end", self)
        except BaseException as error:
            error.history = self.history  # type: ignore[attr-defined]  # for whoever catches it
            raise

    def end_epoch(self, loss: Any, seconds: float) -> None:
        """Record an epoch, and let everything that watches see it."""
        history, rate = self.history, self.optimizer.last_rate
        if self.measures:  # first, so that where a metric raises all is as before
            self.evaluation.record(self.net, history)
        self.epoch += 1
        history.loss.append(np.array([loss]) if self.lone else loss)
        history.time.append(seconds)
        if rate is not None:
            history.learning_rate.append(rate)
        explosion = self.trend.explosion(loss, self.going)
        if explosion is not None:
            what, how, networks = explosion
            warn(f"{what} in epoch {self.epoch}, {how}: {advice(rate, networks)}")
        if self.watchers:
            tell(self.watchers, "on_epoch_end", self)
        if self.interrupt.pressed:
            self.stop("interrupted")

    def end_block(self, losses: list[Any], seconds: float) -> None:
        """Record a block of epochs at one rate, of which nobody watches more than one."""
        n, first, history = len(losses), self.trend.first, self.history
        if n > 1 and self.going is None and first is not None and max(losses) <= first:
            self.trend.lowest = min(self.trend.lowest, *losses)  # and none has exploded
            self.epoch += n - 1
            history.loss += [np.array([loss]) if self.lone else loss for loss in losses[:-1]]
            history.time += [seconds / n] * (n - 1)
            history.learning_rate += [self.optimizer.last_rate] * (n - 1)
            losses = losses[-1:]
        for loss in losses:
            self.end_epoch(loss, seconds / n)

    def diverged(self, cache: Cache, grad: Gradient, what: str, networks: Array | None) -> None:
        """Raise TrainingDiverged, or where other networks have not, warn and note it instead."""
        epoch, step, rate = self.epoch + 1, self.step, self.optimizer.last_rate
        layer, which = first_not_finite(cache, grad, networks, backward=what != "loss")
        who = "training" if networks is None else named(networks)
        todo = advice(rate, networks)
        if what != "step" and epoch == step == 1:
            todo = "no step was taken yet, so scale the data or the start weights"
        text = (
            f"{who} diverged in epoch {epoch}, step {step}: the {what} is not finite, from "
            f"{which}[{layer}] on; {todo}. The net keeps its last finite weights"
        )
        if networks is not None:
            entry = {"epoch": epoch, "step": step, "layer": layer}
            self.history.diverged += [{"network": int(k), **entry} for k in np.flatnonzero(networks)]
            if len(self.history.diverged) < len(networks):
                warn(f"{text}; the others go on")
                return
        raise TrainingDiverged(text, epoch=epoch, step=step, layer=layer, learning_rate=rate)
