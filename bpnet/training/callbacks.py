"""Callbacks: what they see of a training, how they are told, and those that show how it fares."""

import sys
from collections.abc import Iterable, Sequence
from functools import partialmethod
from math import isinf
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.training.history import History

EVENTS = ("on_train_begin", "on_epoch_end", "on_train_end")
FLAT, AROUND_0 = 0.05, np.linspace(-1, 1, 41)  # of the steepest slope that f has around 0


class Training(Protocol):
    """A training as it runs: what callbacks see."""

    net: MLP
    history: History
    optimizer: Any  # an Optimizer, or LBFGS
    epoch: int  # epochs done
    epochs: int  # epochs asked for
    step: int  # steps done within the present epoch

    def stop(self, reason: str) -> None:
        """End training after this epoch; the reason goes into ``history.stopped``."""


class Callback(Protocol):
    """What `fit` calls: a function of the `Training`, or an object with these methods.

    A function is called at the end of each epoch. An object may leave out any method. They may
    change the net's weights or the optimizer's schedule, or call ``training.stop("why")``.
    """

    def on_train_begin(self, training: Training) -> None:
        """Be called before the first step."""

    def on_epoch_end(self, training: Training) -> None:
        """Be called after each epoch, when the history has its entry."""

    def on_train_end(self, training: Training) -> None:
        """Be called after the last epoch, also when Ctrl-C or early stopping ended training."""


def as_callbacks(given: Sequence[Any]) -> list[Any]:
    """Return the callbacks as a list."""
    if not isinstance(given, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, not {given!r}")
    callbacks = list(given)
    for callback in callbacks:
        known = callable(callback) or any(hasattr(callback, event) for event in EVENTS)
        if not known or isinstance(callback, type):
            need = f"a function, or an object with one of {', '.join(EVENTS)}"
            raise TypeError(f"a callback is {need}, not {callback!r}")
    return callbacks


def tell(watchers: Sequence[Any], event: str, training: Training) -> None:
    """Call those of the watchers, callbacks or of that form, that want to know of the event."""
    for watcher in watchers:
        if hasattr(watcher, event):
            getattr(watcher, event)(training)
        elif event == "on_epoch_end" and callable(watcher):
            watcher(training)


class Audience:
    """The user's callbacks, as one: told with NumPy's warnings as the user has them."""

    def __init__(self, callbacks: list[Any], net: MLP) -> None:
        self.callbacks, self.net, self.flags = callbacks, net, np.geterr()

    def tell(self, event: str, training: Training) -> None:
        """Tell each of them."""
        if training.net is not self.net:  # a stack in another memory layout
            np.copyto(self.net.theta, training.net.theta)
        with np.errstate(**self.flags):
            tell(self.callbacks, event, training)

    on_train_begin = partialmethod(tell, "on_train_begin")
    on_epoch_end = partialmethod(tell, "on_epoch_end")
    on_train_end = partialmethod(tell, "on_train_end")


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
        figures = {}
        for name, column in training.history.to_dict().items():
            if name not in ("epoch", "time"):  # of a stack the lowest and the highest
                least, most = np.fmin.reduce(column[-1], None), np.fmax.reduce(column[-1], None)
                figures[name] = f"{least:.4g}" + (f"..{most:.4g}" if np.ndim(column[-1]) else "")
        if self.bar is not None:
            self.bar.set_postfix(figures, refresh=False)
            self.bar.update()
            return
        text = "  ".join(f"{name} {figure}" for name, figure in figures.items())
        epoch, seconds = f"{training.epoch}/{training.epochs}", training.history.time[-1]
        print(f"epoch {epoch}  {text}  {seconds:.2f} s", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


def flat_share(net: MLP, cache: Cache) -> dict[int, Array]:
    """Return by layer, for each neuron, (n_l,), the share of a pass's samples with a flat slope."""
    shares = {}
    for l, f in net.activation.items():
        steepest = np.abs(f.df(AROUND_0, f.f(AROUND_0))).max()
        flat = np.abs(f.df(cache.z[l], cache.a[l])) < FLAT * steepest
        shares[l] = flat.mean(axis=0) * (not all(map(isinf, f.range)))
    return shares


class LayerMonitor:
    """A callback that records by layer, on the samples x, y, before and after each epoch.

    Attributes
    ----------
    epoch : list of int
    gradient_norm : dict of int to list of float
        By layer, the length of ∂E/∂W^l.
    saturation : dict of int to list of float
        By layer, the share of its outputs that are saturated; of an activation with one bound, such
        as ReLU, the share of its neurons that are so on every sample: dead.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        self.x, self.y = x, y
        self.epoch: list[int] = []
        self.gradient_norm: dict[int, list[float]] = {}
        self.saturation: dict[int, list[float]] = {}

    def on_epoch_end(self, training: Training) -> None:
        """Record the net as it is now."""
        net = training.net
        if net.theta.ndim > 1:
            raise TypeError("LayerMonitor watches one network, not a stack")
        cache = net.forward(self.x)
        grad = net.backward(cache, self.y)
        self.epoch.append(training.epoch)
        for l, share in flat_share(net, cache).items():
            stuck = share == 1 if any(map(isinf, net.activation[l].range)) else share
            self.saturation.setdefault(l, []).append(float(stuck.mean()))
            self.gradient_norm.setdefault(l, []).append(float(np.linalg.norm(grad.W[l])))

    on_train_begin = on_epoch_end
