"""Training: batches, steps, epochs.

(x, y) → forward → cache → backward → gradient → optimiser → θ, for each batch of each epoch.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from bpnet import control
from bpnet.batches import ArraySource, StreamSource, combined_weight
from bpnet.errors import TrainingDiverged
from bpnet.evaluation import evaluate_source
from bpnet.history import History
from bpnet.initializers import Seed, generator
from bpnet.metrics import Metric, as_metrics
from bpnet.mlp import MLP
from bpnet.optimizers import LBFGS, Adam, Optimizer
from bpnet.parameters import Array
from bpnet.passes import Cache, Gradient
from bpnet.regularization import Clip, Dropout, Penalty, weight_coordinates
from bpnet.steps import Step, make_step
from bpnet.validation import as_int

if TYPE_CHECKING:
    import os

EXPLODED = 1e3  # a loss this many times the best one so far has exploded


def fit(
    net: MLP,
    x: ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]],
    y: ArrayLike | None = None,
    *,
    epochs: int,
    batch_size: int | str | None = "auto",
    optimizer: Optimizer | LBFGS | None = None,
    rng: Seed = 0,
    shuffle: bool = True,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
    validation: tuple[ArrayLike, ...] | float | None = None,
    metrics: str | Metric | Sequence[str | Metric] = (),
    l1: Any = 0.0,
    l2: Any = 0.0,
    dropout: float | Mapping[int, float] = 0.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    early_stopping: control.EarlyStopping | int | None = None,
    callbacks: Sequence[Any] = (),
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    keep_state: bool = False,
    steps_per_epoch: int | None = None,
) -> History:
    """Train a net in place, from the weights it has, and return the history.

    Parameters
    ----------
    net : MLP
    x : array_like, shape (m, n_1), or an iterable of batches
        Without y: an iterable of ``(x, y)`` or ``(x, y, sample_weight)``, gone through once an
        epoch, or a function that returns one. A `numpy.memmap` is read batch by batch.
    y : array_like, shape (m, n_L)
        Targets.
    epochs : int
        Passes over the data; with L-BFGS, iterations.
    batch_size : int or None
        Samples a step: 1 is online training as in the article, None the full batch. The default
        is 32; the last batch of an epoch may be short and counts with its true size.
    optimizer : Optimizer or LBFGS
        The default is ``Adam()``.
    rng : int or numpy.random.Generator
        Draws the order of samples, dropout masks and validation rows, so that equal seeds give
        equal bits.
    shuffle : bool
        Whether each epoch has a new order.
    sample_weight : array_like, shape (m,), optional
        E is Σ w_i E_i / Σ w_i; within a batch weights count relative to their overall mean.
    class_weight : dict of class number to weight, or "balanced", optional
        For one-hot targets, or one column of 0 and 1; multiplies sample_weight.
    validation : (x, y) or (x, y, sample_weight), or float, optional
        Data to evaluate after each epoch, or the fraction of the rows to set aside for it.
    metrics : name, function of (y, a), or a sequence of them
        "accuracy", "mean_squared_error", "mean_absolute_error", "r2"; taken after each epoch on
        the validation data if there are any, else on the training data.
    l1, l2 : float
        λ₁ and λ₂ of the penalty λ₁ Σ|w| + ½ λ₂ Σ w² on weights, not biases; see `Penalty`.
    dropout : float, or mapping of layer to float
        Probability that an output of a hidden layer (by mapping, also of the input) is dropped.
    clip_norm, clip_value : float, optional
        Limits of the whole gradient's length, and of its entries.
    early_stopping : EarlyStopping or int, optional
        An int is the patience.
    callbacks : sequence
        See `Callback`.
    progress : bool
        Show a bar, or a line an epoch.
    checkpoint : path, optional
        Where to write the whole state of training after every `checkpoint_every` epochs.
    resume : bool
        Go on from the checkpoint file, if it exists: the result has the same bits as if training
        had never stopped.
    keep_state : bool
        Go on with the optimizer's state of an earlier call instead of a fresh one.
    steps_per_epoch : int, optional
        Batches an epoch, for an iterable.

    Returns
    -------
    History
        Ctrl-C ends training after the present step, with what there is; ``history.stopped`` says
        why training ended early.

    Raises
    ------
    TypeError, ValueError
        If the data do not fit the net, or an argument is out of range: before the first step.
    TrainingDiverged
        If a loss, a gradient or a step is not finite; the net keeps its last finite weights.
    InvalidFile
        If the checkpoint is damaged, or of another net, another version or other settings.
    Exception
        Whatever a callback or the iterable raises, with the history in its attribute
        ``history``; the net keeps the weights of the last step.
    """
    if net.dtype.kind != "f":
        raise TypeError(f"fit trains float32 and float64 nets, not {net.dtype}: use net.astype")
    net._check_theta()
    epochs = as_int(epochs, "epochs", least=1)
    rng = generator(rng)
    if steps_per_epoch is not None:
        steps_per_epoch = as_int(steps_per_epoch, "steps_per_epoch", least=1)
    source: ArraySource | StreamSource
    if y is None:
        if sample_weight is not None or class_weight is not None:
            raise ValueError("weights come with the batches (x, y, sample_weight) of an iterable")
        source = StreamSource(net, x, epochs, steps_per_epoch)  # type: ignore[arg-type]  # it checks
    else:
        if steps_per_epoch is not None:
            raise ValueError("steps_per_epoch is for an iterable of batches, not for arrays")
        source = ArraySource(net, x, y)  # type: ignore[arg-type]  # it checks what x is
        source.weight = combined_weight(source.y, sample_weight, class_weight)
    held, source = validation_source(net, source, validation, rng)
    training = Training(
        net,
        source,
        held,
        epochs=epochs,
        optimizer=Adam() if optimizer is None else optimizer,
        rng=rng,
        shuffle=shuffle,
        size=batch_rows(batch_size, source, optimizer),
        metrics=as_metrics(metrics),
        penalty=Penalty(net, l1, l2),
        dropout=Dropout(net, dropout, rng),
        clip=Clip(clip_norm, clip_value),
        early_stopping=control.as_early_stopping(early_stopping),
        callbacks=[*callbacks, *([control.Progress()] if progress else [])],
    )
    if checkpoint is not None:
        from bpnet.checkpoint import Checkpoint

        training.checkpoint = Checkpoint(checkpoint, checkpoint_every)
    elif resume:
        raise ValueError("resume needs the checkpoint file to resume from: give checkpoint=")
    training.run(resume=resume, keep_state=keep_state)
    return training.history


def validation_source(
    net: MLP,
    source: ArraySource | StreamSource,
    given: tuple[ArrayLike, ...] | float | None,
    rng: np.random.Generator,
) -> tuple[ArraySource | None, ArraySource | StreamSource]:
    """Return the validation data, if any, and what is left to train on."""
    if given is None:
        return None, source
    if isinstance(given, (tuple, list)):
        if len(given) not in (2, 3):
            raise ValueError(
                f"validation must be (x, y) or (x, y, sample_weight), not {len(given)} arrays"
            )
        try:
            held = ArraySource(net, given[0], given[1])
            if len(given) == 3:
                held.weight = combined_weight(held.y, given[2], None)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation: {error}") from None
        return held, source
    if not isinstance(source, ArraySource):
        raise ValueError("a fraction cannot be set aside of an iterable: give validation=(x, y)")
    rest, held = source.split(given, rng)
    return held, rest


def batch_rows(
    batch_size: int | str | None, source: ArraySource | StreamSource, optimizer: Any
) -> int:
    """Return the number of rows a batch."""
    if isinstance(source, StreamSource):
        if batch_size not in ("auto", None):
            raise ValueError("batch_size is for arrays; an iterable gives batches of its own size")
        return 0
    if batch_size == "auto":
        batch_size = None if isinstance(optimizer, LBFGS) else 32
    if batch_size is None:
        return source.m
    size = min(as_int(batch_size, "batch_size", least=1), source.m)
    if isinstance(optimizer, LBFGS) and size < source.m:
        raise ValueError("L-BFGS needs the full batch: batch_size=None")
    return size


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
        shuffle: bool,
        size: int,
        metrics: dict[str, Metric],
        penalty: Penalty,
        dropout: Dropout,
        clip: Clip,
        early_stopping: control.EarlyStopping | None,
        callbacks: list[Any],
    ) -> None:
        if not isinstance(optimizer, (Optimizer, LBFGS)):
            raise TypeError(f"optimizer must be an Optimizer such as Adam(), not {optimizer!r}")
        for callback in callbacks:
            if not callable(callback) and not any(hasattr(callback, name) for name in EVENTS):
                raise TypeError(
                    f"a callback is a function, or has one of {', '.join(EVENTS)}: {callback!r}"
                )
        if metrics and held is None and not isinstance(source, ArraySource):
            raise ValueError("metrics of an iterable need validation=(x, y)")
        if early_stopping and early_stopping.monitor == "validation_loss" and held is None:
            raise ValueError("early stopping on the validation loss needs validation data")
        self.net, self.source, self.held = net, source, held
        self.epochs, self.optimizer = epochs, optimizer
        self.rng, self.shuffle, self.size = rng, shuffle, size
        self.metrics, self.penalty, self.dropout, self.clip = metrics, penalty, dropout, clip
        self.early_stopping, self.callbacks = early_stopping, callbacks
        self.checkpoint: Any = None
        self.history = History(metrics={name: [] for name in metrics})
        self.epoch = self.step = 0
        self.warned, self.lowest = False, math.inf
        self.work: dict[int, tuple[Cache, Step]] = {}
        self.interrupt = control.Interrupt()
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
        try:
            with control.ctrl_c_ends_training() as self.interrupt:
                self._tell("on_train_begin")
                if isinstance(self.optimizer, LBFGS):
                    from bpnet.lbfgs import run_lbfgs

                    run_lbfgs(self)
                else:
                    self._epochs(self.optimizer)
                self._finish()
        except Exception as error:
            error.history = self.history  # type: ignore[attr-defined]  # for whoever catches it
            raise

    def _epochs(self, optimizer: Optimizer) -> None:
        """Run the epochs that are left."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            while self.epoch < self.epochs and self.history.stopped is None:
                begun = time.perf_counter()
                loss = self._one_epoch(optimizer)
                if self.interrupt.pressed:
                    self.stop("interrupted")
                    if loss is None:
                        return
                self.end_epoch(loss, time.perf_counter() - begun)

    def _one_epoch(self, optimizer: Optimizer) -> float | None:
        """Go through the data once; return the mean loss, or None without any step."""
        each_step = optimizer.schedule.every_step
        order_rng = self.rng if self.shuffle else None
        total = mass = 0.0
        self.step = 0
        epoch_steps = self.source.steps(self.size)
        optimizer.set_rate_at(self.epoch)
        for x, y, share, weight in self.source.epoch(self.size, order_rng):
            if each_step and epoch_steps:
                optimizer.set_rate_at(self.epoch + self.step / epoch_steps)
            self.step += 1
            total += weight * self._step_on(x, optimizer)(y, share)
            mass += weight
            if self.interrupt.pressed:
                break
        return total / mass if mass else None

    def _step_on(self, x: Array, optimizer: Optimizer) -> Step:
        """Return the step for batches of this size, set to read x."""
        work = self.work.get(x.shape[-2])
        if work is None:
            cache = Cache.empty(self.net, x)
            step = make_step(
                self.net,
                cache,
                optimizer,
                self._diverged,
                penalty=self.penalty or None,
                dropout=self.dropout or None,
                clip=self.clip or None,
            )
            self.work[x.shape[-2]] = cache, step
            return step
        cache, step = work
        if cache.a_list[1] is not x:
            cache.read(x)
        return step

    def end_epoch(self, loss: Any, seconds: float) -> None:
        """Record an epoch, and let everything that watches see it."""
        self.epoch += 1
        history = self.history
        history.loss.append(loss)
        if isinstance(self.optimizer, Optimizer):
            history.learning_rate.append(self.optimizer.last_rate)
        if self.held is not None or self.metrics:
            self._validate()
        history.time.append(seconds)
        if loss < self.lowest:
            self.lowest = loss
        elif loss > EXPLODED * self.lowest and not self.warned:
            self.warned = True
            warnings.warn(
                f"the loss has grown to {loss:.3g} in epoch {self.epoch}, from "
                f"{self.lowest:.3g}: {self._advice()}",
                RuntimeWarning,
                stacklevel=5,
            )
        watched = history.validation_loss[-1] if self.held is not None else loss
        if isinstance(self.optimizer, Optimizer):
            self.optimizer.schedule.observe(watched)
        self._consider_stopping()
        self._tell("on_epoch_end")
        if self.checkpoint is not None:
            self.checkpoint.save_if_due(self)

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
        if stopper.observe(watched, self.epoch, self.net.theta) and history.stopped is None:
            self.stop("early stopping")

    def _finish(self) -> None:
        stopper = self.early_stopping
        if stopper is not None:
            self.history.best_epoch = stopper.best_epoch
            if stopper.best_theta is not None:
                self.net.theta = stopper.best_theta
        self._tell("on_train_end")

    def _tell(self, event: str) -> None:
        """Call the callbacks, with NumPy's warnings as the user has them."""
        if not self.callbacks:
            return
        with np.errstate(**self.user_errors):
            for callback in self.callbacks:
                if hasattr(callback, event):
                    getattr(callback, event)(self)
                elif event == "on_epoch_end" and callable(callback):
                    callback(self)

    def _advice(self) -> str:
        if not isinstance(self.optimizer, Optimizer):
            return "scale the data"
        rate = self.optimizer.last_rate
        return f"the learning rate in use, {rate:g}, is likely too large; try {rate / 10:g}"

    def _diverged(self, cache: Cache, grad: Gradient, what: str) -> NoReturn:
        """Raise TrainingDiverged, naming the first layer that is not finite."""
        layer, which = first_not_finite(cache, grad, backward=what == "step")
        where = f"the {what} is not finite, from {which}[{layer}] on"
        raise TrainingDiverged(
            f"training diverged in epoch {self.epoch + 1}, step {self.step}: {where}; "
            f"{self._advice()}. The net keeps its last finite weights",
            epoch=self.epoch + 1,
            step=self.step,
            layer=layer,
            learning_rate=getattr(self.optimizer, "last_rate", None),
        )


EVENTS = ("on_train_begin", "on_epoch_end", "on_train_end")


def first_not_finite(cache: Cache, grad: Gradient, *, backward: bool) -> tuple[int, str]:
    """Return the first layer, in the order of computing, with something not finite, and what."""
    L = cache.upward[-1]
    passes = [(l, name, arrays[l]) for l in cache.upward
              for name, arrays in (("z", cache.z_list), ("a", cache.a_list))]  # fmt: skip
    if backward:
        passes += [(l, name, arrays[l]) for l in cache.downward
                   for name, arrays in (("delta", grad.delta_list), ("W", grad.W_list))]  # fmt: skip
    for l, name, array in passes:
        if not np.isfinite(array).all():
            return l, name
    return L, "the loss of a" if not backward else "the step of W"
