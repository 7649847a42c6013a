"""The whole state of a training in one file, so that it can go on as if it had never stopped.

Members of the .npz: format, version, theta, best_theta where early stopping keeps one, each vector
of the optimizer as "optimizer.NAME", and "state", a JSON text with everything else. A file is
written at the end of an epoch, all or nothing; whatever happens later, resuming goes back there.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bpnet.archive import described, read_arrays, writable_target, write_arrays
from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.errors import InvalidFile
from bpnet.rules.optimizers import Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.data import ArraySource, Batches, StreamSource, checksum
from bpnet.training.early_stopping import EarlyStopping
from bpnet.training.history import History
from bpnet.training.run import Run
from bpnet.training.step import Recipe

FORMAT, VERSION = "bpnet.checkpoint", 1


class Checkpoint:
    """Where and how often the state of a training is written.

    Parameters
    ----------
    path : path
    every : int
        Epochs between two writes; the last epoch is written always.
    batches : Batches
    recipe : Recipe
    stopper : EarlyStopping, optional

    Raises
    ------
    OSError
        If no file can be written there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int,
        batches: Batches,
        recipe: Recipe,
        stopper: EarlyStopping | None,
    ) -> None:
        self.path = Path(path)
        self.every = as_int(every, "checkpoint_every", least=1)
        self.batches, self.recipe, self.stopper = batches, recipe, stopper
        writable_target(self.path)

    def on_epoch_end(self, run: Run) -> None:
        """Write the state if this epoch is one to write after."""
        last = run.epoch == run.epochs or run.history.stopped is not None
        if last or run.epoch % self.every == 0:
            self.save(run)

    def save(self, run: Run) -> None:
        """Write the state; an older file survives a failed write."""
        optimizer, stopper = run.optimizer, self.stopper
        arrays = {
            "format": np.array(FORMAT),
            "version": np.array(VERSION),
            "theta": run.net.theta,
            **{f"optimizer.{name}": vector for name, vector in optimizer.state.items()},
        }
        if stopper is not None and stopper.best_theta is not None:
            arrays["best_theta"] = stopper.best_theta
        state = {
            "settings": self.settings(run),
            "epoch": run.epoch,
            "step": run.step,
            "optimizer_steps": optimizer.t,
            "schedule": plain(optimizer.schedule.state),
            "rng": plain(self.batches.rng.bit_generator.state),
            "history": plain(dataclasses.asdict(run.history)),
            "early_stopping": None if stopper is None else plain(stopper.state),
            "lowest": plain(run.trend.lowest),
            "first": plain(run.trend.first),
            "going": None if run.going is None else run.going.mask.tolist(),
        }
        arrays["state"] = np.array(json.dumps(state))
        write_arrays(self.path, arrays)

    def restore(self, run: Run) -> None:
        """Set a training to the state in the file; without a file it begins at the beginning.

        Raises
        ------
        InvalidFile
            If the file is damaged, no checkpoint, of another version, or of a training with
            another net, data or settings; the training is left as it was.
        """
        if not self.path.exists():
            return
        arrays = read_arrays(self.path)
        state = arrays_again(self._state(arrays, run))
        optimizer, stopper, net = run.optimizer, self.stopper, run.net
        try:
            vectors = {name: arrays[f"optimizer.{name}"] for name in optimizer.state}
            best = {"best_theta": arrays["best_theta"]} if "best_theta" in arrays else {}
            for name, vector in {"theta": arrays["theta"], **vectors, **best}.items():
                if vector.shape != net.theta.shape or vector.dtype != net.dtype:
                    raise ValueError(f"{name} is {described(vector)}")
            history = History(**state["history"])
            epoch, step, t = (int(state[name]) for name in ("epoch", "step", "optimizer_steps"))
            lowest, first, waited = state["lowest"], state["first"], state["early_stopping"] or {}
            self.batches.rng.bit_generator.state = state["rng"]
            optimizer.schedule.state = state["schedule"]
            optimizer.t, run.epoch, run.step = t, epoch, step
            run.trend.lowest, run.trend.first = lowest, first
            if run.going is not None:
                run.going.end(~np.array(state["going"]))
            if stopper is not None:
                stopper.best, stopper.best_epoch = waited["best"], waited["best_epoch"]
                stopper.waited, stopper.best_theta = waited["waited"], arrays.get("best_theta")
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidFile(f"{self.path} is a damaged checkpoint: {error!r}") from error
        for name, vector in vectors.items():
            optimizer.state[name][...] = vector
        net.theta[...] = arrays["theta"]
        run.history = history
        if isinstance(self.batches.source, StreamSource):
            self.batches.source.skip(epoch)

    def _state(self, arrays: dict[str, Array], run: Run) -> dict[str, Any]:
        """Return the JSON part, if it is of this run."""
        if "format" not in arrays or str(arrays["format"]) != FORMAT:
            raise InvalidFile(f"{self.path} is no checkpoint of bpnet")
        if arrays.get("version") != VERSION:
            raise InvalidFile(
                f"{self.path} is a checkpoint of version {arrays.get('version')}, but this bpnet "
                f"reads version {VERSION}: start afresh, with another file"
            )
        try:
            state: dict[str, Any] = json.loads(str(arrays["state"]))
            written = state["settings"]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidFile(f"{self.path} is a damaged checkpoint: {error!r}") from error
        now = json.loads(json.dumps(self.settings(run)))
        differ = [
            f"{name} is {now.get(name)!r}, but was {written.get(name)!r}"
            for name in sorted({*now, *written})
            if now.get(name) != written.get(name)
        ]
        if differ:
            raise InvalidFile(
                f"{self.path} is the checkpoint of another training: {'; '.join(differ)}"
            )
        return state

    def settings(self, run: Run) -> dict[str, Any]:
        """Return what must be equal for a training to go on with the same bits."""
        batches, stopper = self.batches, self.stopper
        source, (optimizer, penalty, dropout, clip) = batches.source, self.recipe
        held = run.evaluation.held
        waits = None
        if stopper is not None:
            waits = [stopper.patience, stopper.min_delta, stopper.monitor, stopper.restore_best]
        return {
            "sizes": list(run.net.sizes),
            "networks": list(run.net.theta.shape[:-1]),
            "dtype": str(run.net.dtype),
            "activations": [f.name for f in run.net.activation.values()],
            "loss": run.net.loss_function.name,
            "optimizer": with_parameters(optimizer),
            "samples": source.m,
            "steps_per_epoch": source.expected if isinstance(source, StreamSource) else None,
            "weights": checksum(source.weight) if isinstance(source, ArraySource) else None,
            "batch_size": batches.size,
            "shuffle": batches.shuffle,
            "rng": type(batches.rng.bit_generator).__name__,
            "validation rows": None if held is None else held.fingerprint(),
            "metrics": list(run.evaluation.metrics),
            "l1": checksum(penalty.l1),
            "l2": checksum(penalty.l2),
            "dropout": {str(l): keep for l, keep in dropout.keep.items()},
            "clip": [clip.norm, clip.value],
            "early_stopping": waits,
        }


def with_parameters(value: Any) -> str:
    """Return an optimizer or a schedule in words, with its parameters and without its state."""
    if isinstance(value, np.ndarray):  # whose repr leaves numbers out
        return f"array({value.shape}, checksum {checksum(value)})"
    if not isinstance(value, (Optimizer, Schedule)):
        return repr(value)
    known: Any = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    parameters = {f.name: getattr(value, f.name) for f in known if f.init}
    if isinstance(value, Optimizer):
        parameters["learning_rate"] = value.schedule
    text = ", ".join(f"{name}={with_parameters(item)}" for name, item in parameters.items())
    return f"{type(value).__name__}({text})"


def plain(value: Any) -> Any:
    """Return the value with arrays as lists, marked, and NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value.item() if isinstance(value, np.generic) else value


def arrays_again(value: Any) -> Any:
    """Return what `plain` was given."""
    if isinstance(value, dict):
        if set(value) == {"array", "dtype"}:
            return np.array(value["array"], value["dtype"])
        return {key: arrays_again(item) for key, item in value.items()}
    return [arrays_again(item) for item in value] if isinstance(value, list) else value
