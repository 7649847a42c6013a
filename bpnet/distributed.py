"""Training on several machines by Dask: one net on data in parts, or many nets at once.

A step is synchronous: every part's share of the loss and its gradient at the same θ, summed in the
order of the parts, and one update, made here: the same bits on any number of workers, to rounding
those of `fit`. Parts are made by tasks, which are repeated where a worker is lost, never scattered.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from math import inf
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from bpnet import __version__, checks
from bpnet.arrays import Array, digest
from bpnet.errors import TrainingDiverged
from bpnet.formats.shared import optional
from bpnet.mlp import MLP, backward_pass, forward_pass
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.rules.initializers import generator
from bpnet.rules.metrics import Mean
from bpnet.rules.optimizers import Adam, Optimizer
from bpnet.training.data import ArraySource, Batch, Reach, Remote, as_weight
from bpnet.training.evaluation import evaluate_source, measured
from bpnet.training.fit import fit
from bpnet.training.history import History
from bpnet.training.step import take_one

TRIAL = 20  # steps, after which it is told where Dask does not pay:
FAR = 5  # where a step takes so many times as long as the parts' gradients together


def fit_on_dask(
    net: MLP,
    x: Any,
    y: Any = None,
    *,
    client: Any = None,
    epochs: int,
    batch_size: int | None = None,
    rng: Any = 0,
    shuffle: bool = True,
    sample_weight: Any = None,
    validation: Any = None,
    retries: int = 3,
    **options: Any,
) -> History:
    """Train a net in place on data that lie in parts on a Dask cluster; return the history.

    Parameters
    ----------
    x, y : dask.array.Array, shapes (m, n_1) and (m, n_L)
        In chunks of the same rows; or, without y, x is a list with a function or a
        `dask.delayed` object for each part, that gives (x, y) or (x, y, sample_weight).
    client : distributed.Client, optional; the default is the current one
    batch_size : int, optional
        Rows a step, of which each part gives its share, drawn from the seed; the default is the
        full batch. A warning says where it is far too small for Dask. What was drawn is
        ``history.batches``, of which `fit` can take the same.
    sample_weight : dask.array.Array, shape (m,), optional
    validation : as in `fit`, also as dask arrays, or a list of parts
        Metrics are taken here, of the outputs of all parts.
    retries : int; how often a task that fails is tried again
    net, epochs, rng, shuffle, **options : as in `fit`, such as optimizer, metrics, checkpoint

    Raises
    ------
    Exception
        As `fit`, with what is wrong with data named by part and row; RuntimeError if a part cannot
        be loaded; ConnectionError if there is no cluster with this version of bpnet, or it is
        lost: the net is then as after the last step.
    """
    refused = {"dropout", "class_weight", "steps_per_epoch", "stratify", "weight_mean"} & {*options}
    if refused:
        raise TypeError(f"fit_on_dask goes without {', '.join(sorted(refused))}")
    rng = generator(rng)
    before, cluster = copy.deepcopy(rng), Cluster(client, retries)
    source: Any = Parts(cluster, net, x, y, sample_weight)
    parts = validation if isinstance(validation, tuple) else (validation,)
    if validation is not None and (len(parts) == 1 or hasattr(parts[0], "chunks")):
        validation = Parts(cluster, net, *parts)
    options |= {"batch_size": batch_size, "rng": rng, "shuffle": shuffle, "validation": validation}
    history = fit(net, source, epochs=epochs, **options)
    steps = source.steps(batch_size or source.m)
    history.batches = DrawnBatches(source.counts, steps, shuffle, before)
    return history


# The order of m rows, of which part in the epoch of which seed.
order = lru_cache(maxsize=32)(lambda seed, k, m: np.random.default_rng([seed, k]).permutation(m))


class Draw(NamedTuple):
    """A batch in few numbers: of every part the rows from one place of its order to another."""

    seed: int | None  # of the orders; None is as the rows stand
    step: int
    steps: int  # an epoch
    n: int  # rows, over all parts
    size: int  # numbers in their targets

    def rows(self, k: int, m: int) -> Any:
        """Return which of the m rows of part k are in this batch."""
        place = slice(self.step * m // self.steps, (self.step + 1) * m // self.steps)
        return place if self.seed is None else order(self.seed, k, m)[place]


@dataclass
class DrawnBatches:
    """Which rows the steps of a `fit_on_dask` took, for `fit` to take the same.

    ``fit(net, history.batches.of(x, y), ...)`` with all parts one after another; with weights
    also their ``weight_mean``.
    """

    rows: Sequence[int]  # of each part
    steps: int  # an epoch
    shuffle: bool
    rng: Any  # as before the first epoch

    def draws(self, width: int = 1) -> Iterator[Any]:
        """Yield the batches of an epoch."""
        S = self.steps
        seed = int(self.rng.integers(1 << 32)) if self.shuffle and S > 1 else None
        for s in range(S):
            n = sum((s + 1) * m // S - s * m // S for m in self.rows)
            yield Draw(seed, s, S, n, n * width)

    def of(self, *arrays: ArrayLike) -> Callable[[], Iterator[tuple[Array, ...]]]:
        """Return what gives the batches of one epoch after another, of x, y and weights if any."""
        again, starts = copy.deepcopy(self), np.cumsum((0, *self.rows))

        def epoch() -> Iterator[tuple[Array, ...]]:
            for draw in again.draws():
                parts = [np.arange(m)[draw.rows(k, m)] for k, m in enumerate(self.rows)]
                index = np.concatenate([a + r for a, r in zip(starts, parts, strict=False)])
                yield tuple(np.asarray(array)[index] for array in arrays)

        return epoch


class Part(ArraySource):
    """Rows of the data, checked, on a worker."""

    k: int
    mass: float  # the sum of its weights, relative to the mean of all; `weight` has the mean 1
    told: tuple[Any, ...]  # rows, kind, extremes of y, sum of the weights, checksums


def load_part(k: int, net: MLP, given: Any) -> Part:
    """Return part k, of a function or of what it would return; a task."""
    try:
        given = given() if callable(given) else given
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise TypeError(f"it must be (x, y) or (x, y, sample_weight), not {given!r:.60}")
        part = Part(net, *given[:2])
        kind = " and ".join(str(getattr(a, "dtype", type(a).__name__)) for a in given[:2])
        if len(given) == 3:
            part.weight, kind = as_weight(given[2], part.m, none=True), f"{kind} with weights"
    except Exception as error:  # of our own, or of any kind, which may take other arguments
        known = type(error) if type(error) in (TypeError, ValueError) else RuntimeError
        raise known(f"part {k}: {error if known is type(error) else repr(error)}") from error
    weight = np.ones(part.m) if part.weight is None else part.weight
    sums = tuple(map(digest, (part.x, part.y, weight)))
    part.k, part.told = k, (part.m, kind, (part.y.min(), part.y.max()), weight.sum(), sums)
    return part


def settle(part: Part, told: tuple[Any, ...], unit: float) -> Part:
    """Return a part with weights relative to their mean, also when it is loaded again; a task."""
    if part.told != told:
        text = f"part {part.k} was loaded again, and has {part.told[0]} rows that are not the"
        raise ValueError(f"{text} {told[0]} of before: a loader must give the same each time")
    part = copy.copy(part)
    part.mass = told[3] / unit
    if part.weight is not None:
        part.weight = part.weight * (part.m / (part.weight.sum() or 1.0))
    return part


def gradient(part: Part, theta: Array, draw: Draw) -> tuple[Any, ...]:
    """Return a part's share of a batch's loss, gradient and weights, and the seconds; a task."""
    begun, rows, net = time.perf_counter(), draw.rows(part.k, part.m), part.net.with_theta(theta)
    x, y = part.x[rows], part.y[rows]
    weight = np.ones(len(x)) if part.weight is None else part.weight[rows] * (part.mass / part.m)
    cache = Cache.empty(net.signature, theta, x)
    grad = Gradient.empty(theta, cache)
    cache.weigh((weight / draw.n).astype(net.dtype))
    with checks.quiet(also_divide=True):
        forward_pass(net, cache)
        backward_pass(net, cache, y, grad)
        loss = float(cache.loss(y))
    return loss, grad.theta, weight.sum(), time.perf_counter() - begun


def look(part: Part, theta: Array, keeps: bool) -> tuple[Any, ...]:
    """Return Σ w E, Σ w, and if asked what metrics are taken of: y, a, w; a task."""
    net, mass = part.net.with_theta(theta), part.mass
    loss = evaluate_source(net, part, {})[0] if mass else 0.0
    weight = None if part.weight is None else part.weight * (mass / part.m)
    return loss * mass, mass, (part.y, net.predict(part.x), weight) if keeps else None


class Cluster:
    """A Dask client, with its failures in words."""

    def __init__(self, client: Any, retries: int) -> None:
        self.distributed = distributed = optional("distributed", "bpnet.distributed")
        self.retries = retries = checks.as_int(retries, "retries", least=0)
        self.client = distributed.Client.current() if client is None else client
        if not isinstance(self.client, distributed.Client):
            raise TypeError(f"client must be a distributed.Client, not {client!r}")
        self.map = partial(self.client.map, pure=False, retries=retries)
        with self.in_words():  # a function without a name goes there whole, and needs no bpnet
            version = self.client.run(lambda: __import__("bpnet").__version__, on_error="return")
        self.workers, wrong = len(version), {a: v for a, v in version.items() if v != __version__}
        if wrong or not version:
            raise ConnectionError(f"there must be workers with bpnet {__version__}, not {wrong}")

    def ask(self, task: Callable[..., Any], parts: list[Any], *same: Any) -> list[Any]:
        """Return the columns of what a task returns for each part, given the same beside."""
        with self.in_words():
            found = self.client.gather(self.map(task, parts, *([one] * len(parts) for one in same)))
            return list(zip(*found, strict=True))

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Let a cluster that is lost end in one error."""
        try:
            yield
        except Exception as error:
            lost = isinstance(error, self.distributed.CancelledError)
            if self.client.status == "running" and not lost:
                raise
            text = "the scheduler is lost, the net as after its last step: start the cluster anew"
            raise ConnectionError(text) from error


class Parts(Remote):
    """Data in parts on a cluster, as `fit` takes them."""

    lazy = True  # x and y are not here

    def __init__(self, cluster: Cluster, net: MLP, *given: Any) -> None:
        self.cluster, self.net, self.given = cluster, net, given
        self.weight, self.rows, self.mass = None, None, np.zeros(())

    def load(self) -> Self:
        """Have the parts loaded, hear what they tell, and give them their final weights."""
        if self.net.theta.ndim > 1:
            raise ValueError("fit_on_dask trains one network; for many there is sweep")
        dask, cluster = optional("dask", "bpnet.distributed"), self.cluster
        given, make = as_parts(dask, *self.given), dask.delayed(load_part, pure=False)
        try:
            cluster.distributed.protocol.pickle.dumps(self.net)
        except Exception as error:
            text = "the net's own activation or loss cannot be sent, as functions of a module can"
            raise TypeError(f"{text}: {error!r}") from None
        with cluster.in_words():
            tasks = [make(k, self.net, part) for k, part in enumerate(given)]
            loaded = cluster.client.compute(tasks, retries=cluster.retries)
            told = cluster.client.gather(cluster.map(lambda part: part.told, loaded))
        self.counts, kinds, reach, masses, self.digests = zip(*told, strict=True)
        for k, kind in enumerate(kinds):
            if kind != kinds[0]:
                raise TypeError(f"part {k} has x and y of {kind}, but part 0 of {kinds[0]}")
        Reach(self.net).see(np.array(reach))
        self.m = sum(self.counts)
        unit = sum(masses) / self.m
        if not 0 < unit < inf:
            raise ValueError("the weights of all samples add up to nothing, or to infinity")
        self.weight = np.array(unit) if "weights" in kinds[0] else None  # tells that there are any
        self.parts = cluster.map(settle, loaded, told, [unit] * len(told))
        return self

    def fingerprint(self) -> dict[str, int]:
        """Return checksums of the parts."""
        return {f"part {k}": hash(found) for k, found in enumerate(self.digests)}

    def steps(self, size: int) -> int:
        """Return the number of batches an epoch."""
        return min(-(-self.m // size), int(max(self.counts)))  # some rows of that part each

    def epoch(self, size: int, rng: Any, networks: Any = None) -> Iterator[Batch]:
        """Yield the batches of an epoch; the sum of their weights comes with the step."""
        drawn = DrawnBatches(self.counts, self.steps(size), rng is not None, rng)
        for draw in drawn.draws(self.net.sizes[-1]):
            self.mass = np.zeros(())
            yield draw, draw, None, draw.n, self.mass

    def pass_over(self, net: MLP, g: Array) -> Callable[..., float]:
        """Return what returns the loss of a batch, or of all, and writes its gradient into g."""
        total, times = np.empty(g.shape), list[tuple[float, float]]()

        def ask(draw: Draw | None = None) -> float:
            begun, draw = time.perf_counter(), draw or Draw(None, 0, 1, self.m, 0)
            s, S, each = draw.step, draw.steps, zip(self.parts, self.counts, strict=True)
            here = [part for part, m in each if (s + 1) * m // S > s * m // S]
            loss, gs, mass, work = self.cluster.ask(gradient, here, net.theta.copy(), draw)
            total[...] = 0
            for one in gs:  # in their order, in float64
                np.add(total, one, total)
            g[...] = total
            self.mass[...] = sum(mass)
            times.append((time.perf_counter() - begun, sum(work)))
            step, own = np.median(times, axis=0) if len(times) == TRIAL else (0, 0)
            if step > FAR * own:
                checks.warn(
                    f"a step takes {1e3 * step:.3g} ms here, its gradients {1e3 * own:.3g} ms in "
                    "all: fit on one machine would be faster. Dask pays from batches some "
                    f"{step / own:.0f} times as large on"
                )
            return float(sum(loss))

        return ask

    def steps_on(self, run: Any, recipe: Any) -> Callable[[Any], Callable[[Any, Any], Any]]:
        """Return what takes a draw, and returns what takes the step on it."""
        net, theta, move = run.net, run.net.theta, np.empty_like(run.net.theta)
        cache = Cache.empty(net.signature, theta, np.zeros((1, net.sizes[0]), net.dtype))
        forward_pass(net, cache)  # so that only the gradient can be what is not finite
        grad = Gradient(net.signature, np.empty_like(theta), list(cache.z.values()))
        g, ask = grad.theta, self.pass_over(net, grad.theta)

        def advance(draw: Draw, share: None) -> float:
            loss = ask(draw)
            recipe.penalty.add(theta, g)
            recipe.frozen.hold(g)
            recipe.clip.apply(g)
            return loss

        failed: Any = partial(run.diverged, cache, grad, networks=None)
        take = take_one(advance, theta, move, recipe.update(theta, g, move), failed)
        return lambda draw: take

    def evaluate(self, net: MLP, metrics: Any) -> tuple[Any, dict[str, Any]]:
        """Return the loss of all samples, and each metric."""
        total, mass, seen = self.cluster.ask(look, self.parts, net.theta.copy(), bool(metrics))
        columns: Any = zip(*seen, strict=True) if metrics else ()
        data: list[Any] = [None if c[0] is None else np.concatenate(c) for c in columns]
        values = {}
        for name, rule in metrics.items():
            added = rule.add(None, *data) if isinstance(rule, Mean) else None
            values[name] = rule.value(added) if added else measured(rule, *data[:2])
        return sum(total) / sum(mass), values


def as_parts(dask: Any, x: Any, y: Any = None, sample_weight: Any = None) -> list[Any]:
    """Return for each part what loads it: a function, or what Dask makes of it."""
    arrays = [array for array in (x, y, sample_weight) if array is not None]
    parts: list[Any] = x if isinstance(x, list) and len(arrays) == 1 else []
    if parts and all(callable(part) or dask.is_dask_collection(part) for part in parts):
        return parts
    found = [getattr(a, "chunks", type(a).__name__) for a in arrays]
    whole = y is not None and not any(isinstance(chunks, str) for chunks in found)
    same = whole and all(np.array_equal(c[0], x.chunks[0], equal_nan=True) for c in found)
    if not same or any(len(columns) > 1 for chunks in found for columns in chunks[1:]):
        raise ValueError(
            "data and validation data are x, y and weights as dask arrays in the same chunks of "
            "rows, as y.rechunk((x.chunks[0], -1)) makes them, or x alone, a list of functions or "
            f"delayed objects, one for each part, that give (x, y); not {found}"
        )
    return list(zip(*(a.to_delayed().ravel() for a in arrays), strict=True))


class Trained(NamedTuple):
    """One training of a `sweep`."""

    loss: float  # of the validation data, by the weights that it ended with; inf: it diverged
    settings: dict[str, Any]
    net: MLP


def sweep(
    x: Any,
    y: Any = None,
    *,
    grid: Mapping[str, Sequence[Any]],
    validation: Any,
    epochs: int,
    net: Mapping[str, Any] | None = None,
    optimizer: Optimizer | None = None,
    client: Any = None,
    on_result: Callable[[Trained], object] = lambda one: None,
    retries: int = 3,
    **options: Any,
) -> list[Trained]:
    """Train a net by each combination of a grid on a Dask cluster; return all, the best first.

    Nets of the same sizes train as stacks, one for each worker. What has come back stays, whatever
    becomes of a worker.

    Parameters
    ----------
    x, y : array_like, or x a function that returns both, called on the workers
    grid : dict of what is tried of "sizes", "learning_rate", "l1", "l2" and, for weights, "seed"
    net : dict of what else `MLP.init` is given, such as activation and loss
    optimizer : Optimizer, whose rate the grid may replace; the default is ``Adam()``
    on_result : callable, given each `Trained` as it comes
    validation, epochs, **options : as in `fit`
    client, retries : as in `fit_on_dask`
    """
    cluster, known = Cluster(client, retries), ("sizes", "learning_rate", "l1", "l2", "seed")
    if not {"sizes"} <= set(grid) <= set(known) or not all(map(len, grid.values())):
        raise ValueError(f"grid must hold sizes, and of the rest of {known} what is tried")
    names, results = [name for name in known[1:] if name in grid], list[Trained]()
    every = [dict(zip(names, row, strict=True)) for row in product(*(grid[n] for n in names))]
    size = -(-len(every) // cluster.workers)
    stacks = [(n, every[i : i + size]) for n in grid["sizes"] for i in range(0, len(every), size)]
    options |= {"epochs": epochs, "validation": validation}
    load = x if callable(x) else lambda: (x, y)
    task = partial(train_alike, load, net or {}, optimizer or Adam(), options)
    with cluster.in_words(), cluster.client.as_current():  # or wait asks another one's loop
        waiting = cluster.map(task, *zip(*stacks, strict=True))
        while waiting:
            done, waiting = cluster.distributed.wait(waiting, return_when="FIRST_COMPLETED")
            came = [one for stack in cluster.client.gather(list(done)) for one in stack]
            results += came
            for one in came:
                on_result(one)
    return sorted(results, key=lambda one: one.loss)


def train_alike(load: Any, make: Any, rule: Any, how: Any, sizes: Any, tried: Any) -> list[Trained]:
    """Train nets of the same sizes as a stack; a task."""
    net = MLP.stack([MLP.init(sizes, **{"rng": one.get("seed", 0), **make}) for one in tried])
    rule, lost = copy.deepcopy(rule), np.zeros(len(net), bool)
    how = how | {name: np.array([one[name] for one in tried]) for name in {*tried[0]} - {"seed"}}
    rule.learning_rate = how.pop("learning_rate", rule.learning_rate)
    try:
        history = fit(net, *load(), optimizer=rule, **how)
    except TrainingDiverged as error:
        history, lost[:] = error.history, True
    lost[[entry["network"] for entry in history.diverged]] = True
    losses, best = np.array(history.validation_loss or [[inf] * len(net)]), history.best_epoch
    last = np.broadcast_to(len(losses) if best is None else best, len(net)) - 1
    found = np.where(lost, inf, losses[last, range(len(net))]).tolist()
    settings = [{"sizes": tuple(sizes), **one} for one in tried]
    return list(map(Trained, found, settings, [one.copy() for one in net]))
