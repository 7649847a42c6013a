"""Training: batches, steps, epochs.

(x, y) → forward → cache → backward → gradient → optimiser → θ, for each batch of each epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import best_layout, better_in_turn, check_memory
from bpnet.checks import as_float, as_int
from bpnet.mlp import MLP
from bpnet.rules.initializers import generator
from bpnet.rules.metrics import Metric
from bpnet.rules.optimizers import Adam, Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.callbacks import Audience, Progress, as_callbacks
from bpnet.training.data import (
    ArraySource,
    Batches,
    Reach,
    Remote,
    StreamSource,
    class_labels,
    combined_weight,
)
from bpnet.training.early_stopping import EarlyStopping, as_early_stopping, as_measured
from bpnet.training.evaluation import Evaluation, check_metrics
from bpnet.training.history import History
from bpnet.training.lbfgs import LBFGS, run_lbfgs
from bpnet.training.loop import run_steps, tell_schedule
from bpnet.training.regularization import Clip, Dropout, Frozen, Penalty, weight_coordinates
from bpnet.training.run import Run
from bpnet.training.step import Recipe

if TYPE_CHECKING:
    import os

    from bpnet.rules.initializers import Seed


def fit(
    net: MLP,
    x: ArrayLike | Iterable[Any] | Callable[[], Iterable[Any]],
    y: ArrayLike | None = None,
    *,
    epochs: int,
    batch_size: int | str | None = "auto",
    optimizer: Optimizer | LBFGS | None = None,
    rng: Seed = 0,
    shuffle: bool | str = True,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
    weight_mean: float | None = None,
    validation: tuple[ArrayLike, ...] | float | None = None,
    stratify: bool = False,
    metrics: str | Metric | Sequence[str | Metric] = (),
    l1: Any = 0.0,
    l2: Any = 0.0,
    penalize_biases: bool = False,
    dropout: float | Mapping[int, float] = 0.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    frozen: str | Iterable[str] = (),
    early_stopping: EarlyStopping | int | None = None,
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
    epochs : int
        Passes over the data; with L-BFGS, iterations.
    batch_size : int or None
        Samples a step: 1 is online training as in the article, None the full batch. The default
        is 32; the last batch of an epoch may be short and counts with its true size.
    optimizer : Optimizer or LBFGS
        The default is ``Adam()``.
    rng : int or numpy.random.Generator
        Draws the order of samples, dropout masks and validation rows, so that equal seeds give
        equal bits where `bpnet.environment` is equal.
    shuffle : bool or "each"
        Whether each epoch has a new order; "each" gives each network of a stack one of its own.
    sample_weight : array_like, shape (m,), optional
        E is Σ w_i E_i / Σ w_i; within a batch weights count relative to their overall mean, or, if
        they come with the batches of an iterable, to that of the batch.
    class_weight : dict of class number to weight, or "balanced", optional
        For one-hot targets, or one column of 0 and 1; multiplies sample_weight.
    weight_mean : float, optional
        Of all the weights that an iterable's batches bring: they then count relative to it.
    validation : (x, y) or (x, y, sample_weight), or float, optional
        Data to evaluate after each epoch, or the fraction of the rows to set aside for it.
    stratify : bool
        Whether that fraction is taken of each class alike; y as for class_weight.
    metrics : name, function of (y, a), or a sequence of them
        "accuracy", "precision", "recall", "f1", "log_loss", "mean_squared_error",
        "mean_absolute_error", "r2", and over several classes "f1_macro", "f1_weighted" and so on;
        taken after each epoch on the validation data if there are any, else on the training data,
        with their weights.
    l1, l2 : float, or array with one for each network of a stack
        λ₁ and λ₂ of the penalty λ₁ Σ|w| + ½ λ₂ Σ w² on weights; see `Penalty`.
    penalize_biases : bool
        Whether it is on biases too.
    dropout : float, or mapping of layer to float
        Probability that an output of a hidden layer (by mapping, also of the input) is dropped.
    clip_norm, clip_value : float, optional
        Limits of the whole gradient's length, and of its entries.
    frozen : str, or sequence of them
        Parameters that keep their bits, by the gradient check's names: ``"b"`` is all biases,
        ``"W[2]"`` a layer's weights, ``"W[3][1, 0]"`` one. The gradient, its length and the
        penalties are then those of the others.
    early_stopping : EarlyStopping or int, optional
        An int is the patience.
    callbacks : sequence
        See `Callback`.
    progress : bool
        Show a bar, or a line an epoch.
    checkpoint : path, optional
        Where to write the whole state of training after every `checkpoint_every` epochs.
    resume : bool
        Go on from the checkpoint file, if it exists, with the bits of one that never stopped.
    keep_state : bool
        Go on with the optimizer's state of an earlier call instead of a fresh one.
    steps_per_epoch : int, optional
        Batches an epoch, for an iterable, which may then go on for ever. Schedules need it to
        change the learning rate within an epoch of an iterable.

    Returns
    -------
    History
        Ctrl-C ends training after the present step; ``history.stopped`` says why it ended early.

    Raises
    ------
    TypeError, ValueError
        If the data do not fit the net, or an argument is out of range: before the first step.
    TrainingDiverged
        If a loss, a gradient or a step is not finite; the net keeps its last finite weights. Of a
        stack, if every network has; before that ``history.diverged`` and a RuntimeWarning tell.
    InvalidFile
        If the checkpoint is damaged, or of another net, another version or other settings.
    Exception
        Whatever a callback or the iterable raises, with the history in its attribute
        ``history``; the net keeps the weights of the last step.
    """
    optimizer = Adam() if optimizer is None else optimizer
    flags = {"progress": progress, "resume": resume, "keep_state": keep_state}
    check_kinds(net, optimizer, flags | {"penalize_biases": penalize_biases, "stratify": stratify})
    epochs, rng = as_int(epochs, "epochs", least=1), generator(rng)
    shuffle = as_shuffle(shuffle, y)
    source = as_source(net, x, y, epochs, steps_per_epoch, sample_weight, class_weight, weight_mean)
    held, source = validation_source(net, source, validation, stratify, rng)
    by_lbfgs = isinstance(optimizer, LBFGS)
    size = batch_rows(net, batch_size, source, full=by_lbfgs)
    check_room(net, epochs, size, optimizer)
    theta = best_layout(net.theta, net.sizes, size)
    work = net if theta is net.theta else net.with_theta(theta)  # callbacks see the net itself
    batches = Batches(source, size, shuffle, rng)
    still, weights = Frozen(net.sizes, frozen), weight_coordinates(net)
    penalty = Penalty(work, l1, l2, still.free & (weights | penalize_biases))
    drop, clip = Dropout(net, dropout, rng), Clip(clip_norm, clip_value)
    recipe = Recipe(optimizer, penalty, drop, clip, still)
    if by_lbfgs and (drop or clip or checkpoint is not None):
        raise ValueError("L-BFGS goes without dropout, clipping and checkpoints")
    measures = as_measured(metrics, early_stopping, net.loss_function)
    evaluation = Evaluation(held, source, measures)
    check_metrics(measures, held or source)
    stopper = as_early_stopping(early_stopping, validation=held is not None, metrics=measures)
    bar, saved = Progress(), None
    given = [*as_callbacks(callbacks), *([bar] if progress else [])]
    if checkpoint is not None:
        from bpnet.training.checkpoint import Checkpoint

        saved = Checkpoint(checkpoint, checkpoint_every, batches, recipe, stopper)
    elif resume:
        raise ValueError("resume needs the checkpoint file to resume from: give checkpoint=")
    with alone(optimizer, getattr(optimizer, "learning_rate", None), stopper):
        (optimizer.resume if keep_state else optimizer.start)(work.theta, weights)
        if stopper is not None:
            stopper.start()
        observes = isinstance(optimizer, Optimizer) and (given or optimizer.schedule.observes)
        audience = Audience(given, net) if given else None
        watchers = (tell_schedule if observes else None, stopper, audience, saved)
        run = Run(work, optimizer, epochs, evaluation, [w for w in watchers if w is not None])
        try:
            if saved is not None:
                saved.begin(run, resume=resume)
            run.train(run_lbfgs if by_lbfgs else run_steps, batches, recipe)
        finally:
            bar.close()
            net.theta[...] = work.theta
    return run.history


def check_kinds(net: Any, optimizer: Any, flags: dict[str, Any]) -> None:
    """Raise for a net that is none to train, what is no optimizer, or neither True nor False."""
    if not isinstance(net, MLP):
        raise TypeError(f"net must be an MLP, not {type(net).__name__}")
    if net.dtype.kind != "f":
        raise TypeError(f"fit trains float32 and float64 nets, not {net.dtype}: use net.astype")
    net.parameters.check_finite()
    if not isinstance(optimizer, (Optimizer, LBFGS)):
        raise TypeError(f"optimizer must be an Optimizer such as Adam(), not {optimizer!r}")
    for name, flag in flags.items():
        if not isinstance(flag, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, not {flag!r}")


@contextmanager
def alone(*parts: Any) -> Iterator[None]:
    """Keep what has the state of a training from serving another one at the same time."""
    mine = [part for part in parts if isinstance(part, (Optimizer, Schedule, EarlyStopping))]
    for part in mine:
        if any(part is other for other in IN_USE):
            kind = type(part).__name__
            raise ValueError(f"this {kind} is in use by a training that still runs: give a new one")
    IN_USE.extend(mine)
    try:
        yield
    finally:
        IN_USE[:] = [other for other in IN_USE if not any(other is part for part in mine)]


IN_USE: list[Any] = []  # by trainings that run


def as_source(
    net: MLP, x: Any, y: Any, epochs: int, steps_per_epoch: Any,
    sample_weight: Any, class_weight: Any, weight_mean: Any,
) -> ArraySource | StreamSource:  # fmt: skip
    """Return what the samples are read from: arrays, or without y an iterable of batches."""
    if isinstance(x, Remote):
        return x.load()
    if steps_per_epoch is not None:
        steps_per_epoch = as_int(steps_per_epoch, "steps_per_epoch", least=1)
    if weight_mean is not None:
        weight_mean = as_float(weight_mean, "weight_mean", above=0)
    if y is None:
        if sample_weight is not None or class_weight is not None:
            raise ValueError("weights come with the batches (x, y, sample_weight) of an iterable")
        return StreamSource(net, x, epochs, steps_per_epoch, weight_mean)
    if weight_mean is not None:
        raise ValueError("weight_mean is for an iterable of batches; that of arrays is known")
    if steps_per_epoch is not None:
        raise ValueError("steps_per_epoch is for an iterable of batches, not for arrays")
    if callable(x) or isinstance(x, Iterator):
        raise TypeError("x gives batches, which hold their targets: leave y out")
    source = ArraySource(net, x, y)
    source.weight = combined_weight(source.y, sample_weight, class_weight)
    source.reach = Reach(net)
    if not source.lazy:  # else each batch is seen as it comes
        source.reach.see(source.y)
    return source


def as_shuffle(shuffle: Any, y: Any) -> bool | str:
    """Return shuffle, if it is one of the three and suits the data."""
    if isinstance(shuffle, (bool, np.bool_)):
        return bool(shuffle)
    if not (isinstance(shuffle, str) and shuffle == "each"):
        kind = ValueError if isinstance(shuffle, str) else TypeError
        raise kind(f'shuffle must be True, False or "each", not {shuffle!r}')
    if y is None:
        raise ValueError('shuffle="each" is for arrays; an iterable gives its batches in its order')
    return shuffle


def check_room(net: MLP, epochs: int, size: int, optimizer: Any) -> None:
    """Raise MemoryError where a stack's training needs more than there is."""
    if net.theta.ndim == 1:
        return
    networks, P = net.theta.shape
    arrays = 1 + len(getattr(optimizer, "vectors", ()))  # and a loss each epoch and network
    if not better_in_turn(net.theta, size):
        arrays += 3  # θ in another layout, its gradient and the step
    times = "1 epoch" if epochs == 1 else f"{epochs:,} epochs"
    what = f"{networks:,} networks of {P:,} parameters over {times}"
    check_memory(what, networks, net.theta.dtype, arrays * P + epochs, gradients=False)


def validation_source(
    net: MLP, source: Any, given: Any, stratify: bool, rng: np.random.Generator
) -> tuple[ArraySource | None, ArraySource | StreamSource]:
    """Return the validation data, if any, and what is left to train on."""
    if stratify and (given is None or isinstance(given, (tuple, list))):
        raise ValueError("stratify is for validation as a fraction, such as validation=0.2")
    if given is None:
        return None, source
    if isinstance(given, Remote):
        return given.load(), source
    forms = "(x, y) or (x, y, sample_weight)"
    if isinstance(given, (tuple, list)):
        if len(given) not in (2, 3):
            raise ValueError(f"validation must be {forms}, not {len(given)} arrays")
        try:
            held = ArraySource(net, given[0], given[1])
            held.weight = combined_weight(held.y, given[2] if len(given) == 3 else None, None)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation: {error}") from None
        return held, source
    if not isinstance(given, (float, int, np.number)):
        forms = forms.replace(" or", ",")
        raise TypeError(f"validation must be {forms} or a fraction, not {type(given).__name__}")
    if not isinstance(source, ArraySource):
        raise ValueError("a fraction cannot be set aside of an iterable: give validation=(x, y)")
    labels = class_labels(source.y, "stratify") if stratify else None
    return source.split(given, rng, labels)[::-1]


def batch_rows(
    net: MLP, batch_size: int | str | None, source: ArraySource | StreamSource, *, full: bool
) -> int:
    """Return the number of rows a batch, all of them where it must be so."""
    if isinstance(source, StreamSource):
        if batch_size not in ("auto", None):
            raise ValueError("batch_size is for arrays; an iterable gives batches of its own size")
        return source.first_rows() if net.theta.ndim > 1 else 0  # by which a layout is chosen
    if batch_size == "auto":
        batch_size = None if full else 32
    if batch_size is None:
        return source.m
    size = min(as_int(batch_size, "batch_size", least=1), source.m)
    if full and size < source.m:
        raise ValueError("L-BFGS needs the full batch: batch_size=None")
    return size
