"""A training as it runs: epochs, steps, and what watches between epochs."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.errors import TrainingDiverged
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.rules.metrics import Metric
from bpnet.rules.optimizers import Optimizer
from bpnet.training.callbacks import Progress
from bpnet.training.data import ArraySource, StreamSource
from bpnet.training.early_stopping import EarlyStopping
from bpnet.training.evaluation import evaluate_source
from bpnet.training.history import History
from bpnet.training.interrupt import Interrupt, ctrl_c_ends_training
from bpnet.training.lbfgs import LBFGS
from bpnet.training.regularization import Clip, Dropout, Penalty, weight_coordinates
from bpnet.training.step import Step, going_of
from bpnet.training.turns import make_best_step

EXPLODED = 1e3  # a loss this many times the lowest so far, and above the first, has exploded
SHAPES = 8  # batches of so many shapes have buffers at a time, if an iterable's vary
TELLING = 4  # a first batch of fewer targets tells nothing of the loss that training starts from


class Training:
    """A training as it runs; what callbacks see.

    Attributes
    ----------
    net : MLP
    history : History
    optimizer : Optimizer or LBFGS
    epoch : int
        Epochs done.
    epochs : int
        Epochs asked for.
    step : int
        Steps done within the present epoch.
    """

    def __init__(
        self,
        net: MLP,
        source: ArraySource | StreamSource,
        held: ArraySource | None,
        *,
        epochs: int,
        optimizer: Optimizer | LBFGS,
        rng: np.random.Generator,
        shuffle: bool | str,
        size: int,
        metrics: dict[str, Metric],
        penalty: Penalty,
        dropout: Dropout,
        clip: Clip,
        early_stopping: EarlyStopping | None,
        callbacks: list[Any],
    ) -> None:
        if not isinstance(optimizer, (Optimizer, LBFGS)):
            raise TypeError(f"optimizer must be an Optimizer such as Adam(), not {optimizer!r}")
        if metrics and held is None and not isinstance(source, ArraySource):
            raise ValueError("metrics of an iterable need validation=(x, y)")
        if early_stopping and early_stopping.monitor == "validation_loss" and held is None:
            raise ValueError("early stopping on the validation loss needs validation data")
        self.net, self.source, self.held = net, source, held
        self.given = net  # the caller's, where a stack trains in another memory layout
        self.epochs, self.optimizer = epochs, optimizer
        self.rng, self.shuffle, self.size = rng, shuffle, size
        self.metrics, self.penalty, self.dropout, self.clip = metrics, penalty, dropout, clip
        self.early_stopping, self.callbacks = early_stopping, callbacks
        self.checkpoint: Any = None
        self.history = History(metrics={name: [] for name in metrics})
        self.epoch = self.step = 0
        self.warned = False
        self.lowest: Any = math.inf
        self.first: Any = None  # the loss before the first step, or else of the first epoch
        self.work: dict[tuple[int, ...], Step] = {}
        self.last_x: Array | None = None
        self.last_take: Any = None
        self.going = going_of(net)
        self.lone = net.theta.ndim > 1 and self.going is None  # a stack of one
        self.rule = optimizer if isinstance(optimizer, Optimizer) else None
        self.order_rng = rng if shuffle else None
        self.orders = len(net) if shuffle == "each" and self.going is not None else None
        self.interrupt = Interrupt()
        self.user_errors = np.geterr()

    def stop(self, reason: str) -> None:
        """End training after this epoch; the reason goes into ``history.stopped``."""
        self.history.stopped = reason

    def run(self, *, resume: bool, keep_state: bool) -> None:
        """Train to the last epoch, or until something ends it."""
        if isinstance(self.optimizer, LBFGS):
            if self.dropout or self.clip or self.checkpoint:
                raise ValueError("L-BFGS goes without dropout, clipping and checkpoints")
            if keep_state:
                raise ValueError("L-BFGS keeps no state from call to call")
        else:
            begin = self.optimizer.resume if keep_state else self.optimizer.start
            begin(self.net.theta, weight_coordinates(self.net))
        if self.early_stopping:
            self.early_stopping.start()
        if resume:
            self.checkpoint.restore(self)
        watchers = self.held, self.metrics, self.early_stopping, self.callbacks, self.checkpoint
        adapts = self.rule is not None and self.rule.schedule.observes
        self.watched = adapts or any(watchers)
        try:
            with ctrl_c_ends_training() as self.interrupt:
                self._tell("on_train_begin")
                if isinstance(self.optimizer, LBFGS):
                    from bpnet.training.lbfgs import run_lbfgs

                    run_lbfgs(self)
                else:
                    self._epochs(self.optimizer)
                self._finish()
        except BaseException as error:
            error.history = self.history  # type: ignore[attr-defined]  # for whoever catches it
            for callback in self.callbacks:
                if isinstance(callback, Progress):
                    callback.on_train_end(self)
            raise

    def _epochs(self, optimizer: Optimizer) -> None:
        """Run the epochs that are left."""
        clock, interrupt, history = time.perf_counter, self.interrupt, self.history
        whole = isinstance(self.source, ArraySource) and self.source.is_whole(self.size)
        one_epoch = self._epoch_of_one_step(optimizer) if whole else self._one_epoch
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            while self.epoch < self.epochs and history.stopped is None:
                begun = clock()
                loss = one_epoch(optimizer)
                if loss is not None:
                    self.end_epoch(loss, clock() - begun)
                if interrupt.pressed:
                    self.stop("interrupted")

    def _epoch_of_one_step(self, optimizer: Optimizer) -> Callable[[Optimizer], Any]:
        """Return `_one_epoch` for data that are one batch: all that can be is done beforehand."""
        ((x, y, share, _, _),) = self.source.epoch(self.size, None)
        take, single = self._step_on(x, optimizer).take, self.going is None

        def one_epoch(optimizer: Optimizer) -> Any:
            optimizer.set_rate_at(self.epoch)
            self.step = 1
            loss = take(y, share)
            if self.first is None and y.size >= TELLING:
                self.first = self.lowest = loss
            return float(loss) if single else np.asarray(loss, np.float64)

        return one_epoch

    def _one_epoch(self, optimizer: Optimizer) -> Any:
        """Go through the data once; return the mean loss, or None if Ctrl-C cut it short."""
        optimizer.set_rate_at(self.epoch)
        epoch_steps = self.source.steps(self.size) if optimizer.schedule.every_step else None
        total: Any = np.float64(0)  # losses in float32 too are added in float64
        mass: Any = 0.0
        take = self.last_take
        self.step = 0
        batches = self.source.epoch(self.size, self.order_rng, self.orders)
        for x, y, share, rows, weight in batches:
            if self.interrupt.pressed:
                return None
            if epoch_steps:
                optimizer.set_rate_at(self.epoch + self.step / epoch_steps)
            if x is not self.last_x:
                take, self.last_x = self._step_on(x, optimizer).take, x
                self.last_take = take
            self.step += 1
            loss = take(y, share)
            if self.first is None and y.size >= TELLING:
                self.first = self.lowest = loss
            if rows == self.source.m == weight:  # all in one step: nothing to add up
                return float(loss) if self.going is None else np.asarray(loss, np.float64)
            total += rows * loss
            mass += weight
        mean = total / mass
        return mean.item() if mean.ndim == 0 else mean

    def _step_on(self, x: Array, optimizer: Optimizer) -> Step:
        """Return the step for batches of this size, set to read x."""
        if x.shape not in self.work:
            if len(self.work) == SHAPES:
                self.work.clear()
            self.work[x.shape] = make_best_step(
                self.net,
                x,
                optimizer,
                self._diverged,
                penalty=self.penalty or None,
                dropout=self.dropout or None,
                clip=self.clip or None,
                going=self.going,
            )
        step = self.work[x.shape]
        step.read(x)
        return step

    def end_epoch(self, loss: Any, seconds: float) -> None:
        """Record an epoch, and let everything that watches see it."""
        if self.held is not None or self.metrics:
            self._validate()  # first, since a metric may raise: an epoch is recorded whole or not
        self.epoch += 1
        history = self.history
        history.loss.append(np.array([loss]) if self.lone else loss)
        history.time.append(seconds)
        if self.rule is not None:
            history.learning_rate.append(self.rule.last_rate)
        if self.first is None:
            self.first = loss
        if self.going is not None:
            self._compare_stack(loss)
        elif loss < self.lowest:
            self.lowest = loss
        elif loss > EXPLODED * self.lowest and loss > self.first and not self.warned:
            self._warn(f"the loss has grown to {loss:.3g}", f"from {self.lowest:.3g}")
        if self.watched:
            self._watch(loss)

    def _watch(self, loss: Any) -> None:
        """Let the schedule, early stopping, callbacks and the checkpoint act."""
        if self.rule is not None:
            self.rule.schedule.observe(self.history.validation_loss[-1] if self.held else loss)
        self._consider_stopping()
        self._tell("on_epoch_end")
        if self.checkpoint is not None:
            self.checkpoint.save_if_due(self)

    def _compare_stack(self, loss: Array) -> None:
        """Take the losses of a stack: note the lowest, warn of the first that explodes."""
        grown = loss > self.first
        if np.count_nonzero(grown) and not self.warned and self.going is not None:
            exploded = grown & (loss > EXPLODED * self.lowest) & self.going.mask
            if exploded.any():
                what = f"the loss of {listed(exploded)} has grown"
                self._warn(what, f"over {EXPLODED:g}-fold", exploded, depth=7)
        self.lowest = np.minimum(self.lowest, loss)

    def _warn(self, what: str, how: str, networks: Any = None, depth: int = 6) -> None:
        self.warned = True
        text = f"{what} in epoch {self.epoch}, {how}: {self._advice(networks)}"
        warnings.warn(text, RuntimeWarning, stacklevel=depth)

    def _validate(self) -> None:
        """Record the validation loss and the metrics."""
        source = self.held if self.held is not None else self.source
        assert isinstance(source, ArraySource)  # an iterable with metrics has been refused
        loss, values = evaluate_source(self.net, source, self.metrics)
        if self.held is not None:
            self.history.validation_loss.append(loss)
        for name, value in values.items():
            self.history.metrics[name].append(value)

    def _consider_stopping(self) -> None:
        stopper, history = self.early_stopping, self.history
        if stopper is None:
            return
        on_training = self.held is None or stopper.monitor == "loss"
        watched = (history.loss if on_training else history.validation_loss)[-1]
        finished = stopper.observe(watched, self.epoch, self.net.theta)
        if self.going is not None:
            self.going.end(finished)  # and what has diverged is not waited for
            finished = ~self.going.mask
        if np.all(finished) and history.stopped is None:
            self.stop("early stopping")

    def _finish(self) -> None:
        stopper = self.early_stopping
        if stopper is not None:
            self.history.best_epoch = stopper.best_epochs()
            if stopper.best_theta is not None:
                self.net.theta = stopper.best_theta
        self._tell("on_train_end")

    def _tell(self, event: str) -> None:
        """Call the callbacks, with NumPy's warnings as the user has them."""
        if not self.callbacks:
            return
        if self.given is not self.net:
            np.copyto(self.given.theta, self.net.theta)
        with np.errstate(**self.user_errors):
            for callback in self.callbacks:
                if hasattr(callback, event):
                    getattr(callback, event)(self)
                elif event == "on_epoch_end" and callable(callback):
                    callback(self)

    def _advice(self, networks: Array | None) -> str:
        if self.rule is None:
            return "scale the data"
        rate = np.asarray(self.rule.last_rate)
        rate = np.max(rate[networks] if rate.ndim else rate)
        return f"the learning rate in use, {rate:g}, is likely too large; try {rate / 10:g}"

    def _diverged(self, cache: Cache, grad: Gradient, what: str, networks: Array | None) -> None:
        """Raise TrainingDiverged, naming the first layer that is not finite.

        Where other networks of a stack have not diverged, warn and note it in the history instead.
        """
        layer, which = first_not_finite(cache, grad, networks, backward=what != "loss")
        where = f"the {what} is not finite, from {which}[{layer}] on"
        advice = self._advice(networks)
        if what != "step" and self.epoch == 0 and self.step == 1:
            advice = "no step was taken yet, so scale the data or the start weights"
        when = f"epoch {self.epoch + 1}, step {self.step}"
        who = "training" if networks is None else listed(networks)
        text = f"{who} diverged in {when}: {where}; {advice}. The net keeps its last finite weights"
        if networks is not None:
            entry = {"epoch": self.epoch + 1, "step": self.step, "layer": layer}
            lost = [{"network": int(k), **entry} for k in np.flatnonzero(networks)]
            self.history.diverged += lost
            if len(self.history.diverged) < len(networks):
                warnings.warn(f"{text}; the others go on", RuntimeWarning, stacklevel=7)
                return
        raise TrainingDiverged(
            text,
            epoch=self.epoch + 1,
            step=self.step,
            layer=layer,
            learning_rate=getattr(self.optimizer, "last_rate", None),
        )


def listed(networks: Array) -> str:
    """Return in words which networks a mask holds, the first few of them."""
    numbers = np.flatnonzero(networks)
    text = ", ".join(map(str, numbers[:5]))
    if len(numbers) > 5:
        text += f" and {len(numbers) - 5} more"
    return f"network {text}" if len(numbers) == 1 else f"networks {text}"


def first_not_finite(
    cache: Cache, grad: Gradient, networks: Array | None, *, backward: bool
) -> tuple[int, str]:
    """Return the first layer, in the order of computing, with something not finite, and what.

    Of a stacked pass, only the networks that the mask names are looked at.
    """
    L = cache.layers[-1]
    passes = [(l, "z", cache.z.list[l]) for l in cache.layers]
    passes += [(l, "a", cache.a.list[l]) for l in cache.layers]
    passes.sort(key=lambda entry: entry[0])
    if backward:
        for l in reversed(cache.layers):
            passes += [(l, "delta", grad.delta.list[l]), (l, "W", grad.W.list[l])]
    for l, name, array in passes:
        here = array[networks] if array.ndim > 2 else array
        if not np.isfinite(here).all():
            return l, name
    return L, "the loss of a" if not backward else "the step of W"
