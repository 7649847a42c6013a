"""The loop over the data: epochs of steps, with an optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bpnet.arrays import Array, better_in_turn, moved_out, number_or_array
from bpnet.checks import quiet
from bpnet.mlp import MLP
from bpnet.training.data import Batches, Remote
from bpnet.training.run import Run
from bpnet.training.step import Failed, Going, Recipe, Step, Take, make_step
from bpnet.training.turns import make_turns

SHAPES = 8  # batches of so many shapes have buffers at a time, if an iterable's vary


def run_steps(run: Run, batches: Batches, recipe: Recipe) -> None:
    """Drive a run by steps of an optimizer, batch by batch."""
    clock, history = time.perf_counter, run.history
    whole = batches.source.is_whole(batches.size)
    one_epoch = (epoch_of_one_step if whole else epoch_of_batches)(run, batches, recipe)
    with quiet(also_divide=True):
        while run.epoch < run.epochs and history.stopped is None:
            begun = clock()
            loss = one_epoch()
            if loss is None:
                run.stop("interrupted")
            else:
                run.end_epoch(loss, clock() - begun)


def tell_schedule(run: Run) -> None:
    """Let the schedule know the loss of an epoch: of validation if there is one."""
    history = run.history
    run.optimizer.schedule.observe((history.validation_loss or history.loss)[-1])


def best_step(
    net: MLP, x: Array, recipe: Recipe, failed: Failed, going: Going | None = None
) -> Step:
    """Return what takes a step fastest on batches like x; parameters as in `make_step`."""
    if going is not None and better_in_turn(net.theta, x.shape[-2]):
        return make_turns(net, x, recipe, failed, going)
    return make_step(net, x, recipe, failed, going)


class Steps:
    """The step for each shape of batch, made where the first one comes.

    Sources give one batch after another in the same array, overwritten, which is read once.
    """

    def __init__(self, run: Run, recipe: Recipe) -> None:
        self.run, self.recipe = run, recipe
        self.by_shape: dict[tuple[int, ...], Step] = {}
        self.x: Array | None = None
        self.take: Take

    def on(self, x: Array) -> Take:
        """Return what takes the step on this batch."""
        if x is not self.x:
            run, steps = self.run, self.by_shape
            if x.shape not in steps:
                if len(steps) == SHAPES:
                    steps.clear()
                steps[x.shape] = best_step(run.net, x, self.recipe, run.diverged, run.going)
            step = steps[x.shape]
            step.read(x)
            self.x, self.take = x, step.take
        return self.take


def epoch_of_one_step(run: Run, batches: Batches, recipe: Recipe) -> Callable[[], Any]:
    """Return what trains an epoch on data that are one batch; all that can be is done before."""
    ((x, y, share, _, _),) = batches.source.epoch(batches.size, None)
    take, set_rate_at = Steps(run, recipe).on(x), recipe.optimizer.set_rate_at
    trend, single = run.trend, run.going is None

    def one_epoch() -> Any:
        set_rate_at(run.epoch)
        run.step = 1
        loss = take(y, share)
        if trend.first is None:
            trend.begin(loss, y.size)
        return float(loss) if single else np.asarray(moved_out(loss), np.float64)

    return one_epoch


def epoch_of_batches(run: Run, batches: Batches, recipe: Recipe) -> Callable[[], Any]:
    """Return what trains an epoch, and gives the mean loss, or None where Ctrl-C cut it short."""
    source, size, optimizer = batches.source, batches.size, recipe.optimizer
    trend, interrupt, single = run.trend, run.interrupt, run.going is None
    step_on = source.steps_on(run, recipe) if isinstance(source, Remote) else Steps(run, recipe).on
    rng = batches.rng if batches.shuffle else None
    orders = len(run.net) if batches.shuffle == "each" and not single else None

    def one_epoch() -> Any:
        optimizer.set_rate_at(run.epoch)
        epoch_steps = source.steps(size) if optimizer.schedule.every_step else None
        total: Any = np.float64(0)  # losses in float32 too are added in float64
        of_all: Any = 0.0
        run.step = 0
        for x, y, share, mass, weight in source.epoch(size, rng, orders):
            if interrupt.pressed:
                return None
            if epoch_steps:
                optimizer.set_rate_at(run.epoch + run.step / epoch_steps)
            take = step_on(x)
            run.step += 1
            loss = take(y, share)
            if trend.first is None and np.all(weight):
                trend.begin(loss * (mass / weight), y.size)
            if mass == source.m == weight:  # all in one step: nothing to add up
                return float(loss) if single else np.asarray(moved_out(loss), np.float64)
            total += mass * loss
            of_all += weight
        return number_or_array(total / of_all)

    return one_epoch
