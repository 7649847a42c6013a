"""The whole state of a training in one file, so that it can go on as if it had never stopped.

Members of the .npz: format, version, theta, best_theta where early stopping keeps one, each vector
of the optimizer as "optimizer.NAME", and "state", a JSON text with everything else. A file is
written at the end of an epoch, all or nothing; whatever happens later, resuming goes back there.
"""

import dataclasses
import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from bpnet.archive import check_replaceable, described, read_arrays, write_arrays
from bpnet.arrays import Array
from bpnet.checks import as_int, warn
from bpnet.errors import InvalidFile
from bpnet.machine import differing, environment
from bpnet.rules.optimizers import Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.data import ArraySource, Batches, StreamSource
from bpnet.training.early_stopping import EarlyStopping
from bpnet.training.history import History
from bpnet.training.run import Run
from bpnet.training.step import Recipe

FORMAT, VERSION = "bpnet.checkpoint", 2
SHOWN = 200  # characters of a setting that a message has room for


@dataclasses.dataclass(eq=False)
class Checkpoint:
    """Where and how often the state of a training is written; the last epoch's is always."""

    path: Any
    every: int
    batches: Batches
    recipe: Recipe
    stopper: EarlyStopping | None

    def __post_init__(self) -> None:
        self.path, self.every = Path(self.path), as_int(self.every, "checkpoint_every", least=1)
        check_replaceable(self.path, FORMAT, "checkpoint")

    def begin(self, run: Run, *, resume: bool) -> None:
        """Note what the training is, before a callback can change it, and where; resume it."""
        self.settings, self.environment = self.settings_of(run), environment()
        if resume and self.path.exists():
            self.restore(run)

    def on_epoch_end(self, run: Run) -> None:
        """Write the state if this epoch is one to write after."""
        last = run.epoch == run.epochs or run.history.stopped is not None
        if last or run.epoch % self.every == 0:
            self.save(run)

    def save(self, run: Run) -> None:
        """Write the state; an older file survives a failed write."""
        optimizer, stopper = run.optimizer, self.stopper
        arrays = {"format": np.array(FORMAT), "version": np.array(VERSION), "theta": run.net.theta}
        arrays |= {f"optimizer.{name}": vector for name, vector in optimizer.state.items()}
        if stopper is not None and stopper.best_theta is not None:
            arrays["best_theta"] = stopper.best_theta
        rate = optimizer.learning_rate  # which a callback may have set
        state = {
            "settings": self.settings,
            "environment": self.environment,
            "optimizer": in_words(optimizer),
            "learning_rate": None if isinstance(rate, Schedule) else plain(rate),
            "history": plain(dataclasses.asdict(run.history)),
            "early_stopping": None if stopper is None else plain(stopper.state),
            "going": None if run.going is None else run.going.mask.tolist(),
            **{name: plain(getattr(*place)) for name, place in self.places(run).items()},
        }
        write_arrays(self.path, {**arrays, "state": np.array(json.dumps(state))})

    def places(self, run: Run) -> dict[str, tuple[Any, str]]:
        """Return what a file has of a run as it is, by name: an attribute of one of its parts."""
        optimizer, trend = run.optimizer, run.trend
        return {
            "epoch": (run, "epoch"),
            "step": (run, "step"),
            "optimizer_steps": (optimizer, "t"),
            "schedule": (optimizer.schedule, "state"),
            "rng": (self.batches.rng.bit_generator, "state"),
            "small": (self.recipe.small, "layers"),
            **{name: (trend, name) for name in ("lowest", "first", "told")},
        }

    def restore(self, run: Run) -> None:
        """Set a training to the state in the file; after an error it is as it was."""
        arrays = read_arrays(self.path)
        state = self._state(arrays)
        optimizer, stopper, net = run.optimizer, self.stopper, run.net
        try:
            vectors = {name: arrays[f"optimizer.{name}"] for name in optimizer.state}
            best = {"best_theta": arrays["best_theta"]} if "best_theta" in arrays else {}
            for name, vector in {"theta": arrays["theta"], **vectors, **best}.items():
                if vector.shape != net.theta.shape or vector.dtype != net.dtype:
                    raise ValueError(f"{name} is {described(vector)}")
            history, waited = History(**state["history"]), state["early_stopping"]
            state |= {name: int(state[name]) for name in ("epoch", "step", "optimizer_steps")}
            places = self.places(run)
            for (part, name), value in [(place, state[key]) for key, place in places.items()]:
                setattr(part, name, value)
            if run.going is not None:
                run.going.end(~np.array(state["going"]))
            if stopper is not None:
                for name in stopper.state:
                    setattr(stopper, name, waited[name])
                stopper.best_theta = arrays.get("best_theta")
            if state["learning_rate"] is not None:
                optimizer.learning_rate = state["learning_rate"]
            now, then = in_words(optimizer), state["optimizer"]
            moved = differing(self.environment, state["environment"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidFile(f"{self.path} is a damaged checkpoint: {error!r}") from error
        if now != then:
            text = f"a callback had made the optimizer {then}, which is not in the file"
            raise InvalidFile(f"{self.path}: {text}: start afresh")
        if moved:
            warn(f"{self.path} goes on elsewhere, so that the last bits may differ: {moved}")
        for name, vector in vectors.items():
            optimizer.state[name][...] = vector
        net.theta[...] = arrays["theta"]
        run.history = history
        if isinstance(self.batches.source, StreamSource):
            self.batches.source.skip(run.epoch)

    def _state(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """Return the JSON part, if it is of this run."""
        if "format" not in arrays or str(arrays["format"]) != FORMAT:
            raise InvalidFile(f"{self.path} is no checkpoint of bpnet")
        if arrays.get("version") != VERSION:
            text = f"this bpnet reads version {VERSION}: start afresh, with another file"
            version = arrays.get("version")
            raise InvalidFile(f"{self.path} is a checkpoint of version {version}, but {text}")
        try:
            state: dict[str, Any] = json.loads(str(arrays["state"]), object_hook=again)
            written = state["settings"]
            now = json.loads(json.dumps(self.settings))
            differ = [n for n in sorted({*now, *written}) if now.get(n) != written.get(n)]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidFile(f"{self.path} is a damaged checkpoint: {error!r}") from error
        # Where there are others, the data differ because of them: in dtype or number, say.
        told = [name for name in differ if not name.startswith("the ")] or differ
        if told:
            text = "; ".join(difference(n, now.get(n), written.get(n)) for n in told)
            raise InvalidFile(f"{self.path} is the checkpoint of another training: {text}")
        return state

    def settings_of(self, run: Run) -> dict[str, Any]:
        """Return what must be equal for a training to go on with the same bits."""
        batches, stopper = self.batches, self.stopper
        source, (optimizer, penalty, dropout, clip, frozen, *_) = batches.source, self.recipe
        stream = source if isinstance(source, StreamSource) else None
        held, waits = run.evaluation.held, None
        if stopper is not None:
            waits = [stopper.patience, stopper.min_delta, stopper.monitor, stopper.restore_best]
            waits += [stopper.mode] if stopper.mode else []
        return {
            "sizes": list(run.net.sizes),
            "networks": list(run.net.theta.shape[:-1]),
            "dtype": str(run.net.dtype),
            "activations": [f.name for f in run.net.activation.values()],
            "loss": run.net.loss_function.name,
            "optimizer": in_words(optimizer),
            "samples": source.m,
            "steps_per_epoch": None if stream is None else stream.expected,
            "weight_mean": None if stream is None else stream.mean,
            "the data": source.fingerprint() if isinstance(source, ArraySource) else None,
            "batch_size": batches.size,
            "shuffle": batches.shuffle,
            "rng": type(batches.rng.bit_generator).__name__,
            "validation samples": None if held is None else held.m,
            "the validation data": None if held is None else held.fingerprint(),
            "metrics": list(run.evaluation.metrics),
            **penalty.given,
            "dropout": {str(l): keep for l, keep in dropout.keep.items()},
            "clip": [clip.norm, clip.value],
            "frozen": frozen.names or None,
            "compiled": self.recipe.compiled or None,
            "early_stopping": waits,
        }


def difference(name: str, now: Any, before: Any) -> str:
    """Return in words how a setting differs: its values, or of data which of the arrays."""
    if isinstance(now, dict) and isinstance(before, dict) and name.startswith("the "):
        names = [key for key in {**now, **before} if now.get(key) != before.get(key)]
        return f"{name}: {' and '.join(names)} changed"
    texts = [repr(now), repr(before)]
    if max(map(len, texts)) > SHOWN:  # then the part where they begin to differ
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
        start = max(0, same - SHOWN // 2)
        texts = [f"...{text[start : start + SHOWN]}..." for text in texts]
    return f"{name} is {texts[0]}, but was {texts[1]}"


def in_words(value: Any) -> str:
    """Return an optimizer or a schedule in words, with its parameters and without its state."""
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    if not isinstance(value, (Optimizer, Schedule)):
        return repr(value)
    known: Any = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    parameters = {f.name: getattr(value, f.name) for f in known if f.init}
    text = ", ".join(f"{name}={in_words(item)}" for name, item in parameters.items())
    return f"{type(value).__name__}({text})"


def plain(value: Any) -> Any:
    """Return the value as JSON can hold it, so that `again` gives it back in its type."""
    if isinstance(value, (np.ndarray, np.generic)):
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return {kind: value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, tuple):
        return {"tuple": plain([*value])}
    if isinstance(value, list):
        return [*map(plain, value)]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: plain(item) for key, item in value.items()}
        return {"pairs": plain([*value.items()])}
    return value


def again(value: dict[str, Any]) -> Any:
    """Return what `plain` was given, of a JSON object whose parts are there again."""
    match value:
        case {"array": items, "dtype": dtype} if len(value) == 2:
            return np.array(items, dtype)
        case {"number": number, "dtype": dtype} if len(value) == 2:
            return np.dtype(dtype).type(number)
        case {"tuple": items} if len(value) == 1:
            return tuple(items)
        case {"pairs": pairs} if len(value) == 1:
            return dict(pairs)
    return value
