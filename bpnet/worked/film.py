"""A training as a film: a page with a slider that needs neither Python nor a network."""

import copy
import json
import math
import time
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.archive import StrPath, write_atomically
from bpnet.arrays import Array
from bpnet.checks import as_int, same_length
from bpnet.mlp import MLP
from bpnet.rules.losses import check_targets
from bpnet.rules.optimizers import SGD, Optimizer
from bpnet.training.fit import fit
from bpnet.words import table
from bpnet.worked.notation import words_of

WIDTH = 8  # of the largest net that is drawn, in neurons and in layers
PARTS = [Path(__file__).with_name(name) for name in ("draw.js", "draw.css", "film.html")]


class Film(str):
    """A page as text, which a notebook shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<film, {len(self):,} characters of HTML: write it to a file>"

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" width="100%" height="720"></iframe>'


def film(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    *,
    steps: int,
    optimizer: Optimizer | None = None,
    batch_size: int | None = None,
    frames: int = 100,
    language: str = "en",
    path: StrPath | None = None,
) -> Film:
    """Train a copy of a net and return the training as one HTML page with a slider.

    Parameters
    ----------
    net : MLP
        At most 8 layers of 8 neurons, which show the first sample of each batch.
    x, y : array_like
    steps : int
        One a batch, in the order of the samples.
    optimizer : Optimizer, optional
        The default is ``SGD(0.5)``; it stays as it is, as the net does.
    batch_size : int, optional
        The default is all samples.
    frames : int
        At most so many; they are closer together where the training begins.
    language : {"en", "zh"}
    path : path, optional
        Where to write the page too.

    Raises
    ------
    TypeError, ValueError, TrainingDiverged
        As `fit`, and if the net is too large to be drawn.

    Examples
    --------
    >>> from bpnet import MLP, film
    >>> film(MLP.init((2, 2, 2), rng=0), [0.05, 0.1], [0.01, 0.99], steps=100)[:15]
    '<!doctype html>'
    """
    if net.theta.ndim > 1 or net.dtype.kind != "f":
        raise TypeError(f"a film is of one net of real weights, not of {net!r}")
    if max(*net.sizes, net.L) > WIDTH:
        raise ValueError(f"a film shows at most {WIDTH} layers of {WIDTH} neurons, not {net!r}")
    words_of(language)
    steps, frames = as_int(steps, "steps", least=1), as_int(frames, "frames", least=2)
    rule = copy.deepcopy(SGD(0.5) if optimizer is None else optimizer)
    net, x, y = net.copy(), net.parameters.rows(x, "x"), net.parameters.rows(y, "y")
    same_length(x, y)
    size = len(x) if batch_size is None else as_int(batch_size, "batch_size", least=1)
    shown, losses, done = list[dict[str, Any]](), list[float](), 0
    for mark in chosen(steps, frames):
        losses += train(net, x, y, rule, size=size, done=done, count=mark - done)
        rows, done = batch_rows(len(x), size, mark), mark
        shown.append(picture(net, x[rows], y[rows]) | {"steps": mark})
    losses.append(shown[-1]["E"])
    curve = [[k, losses[k]] for k in chosen(steps, 400)]
    parts = {part.suffix[1:]: part.read_text(encoding="utf-8") for part in PARTS}
    words = {key: each[language] for key, each in table("worked/film.toml").items()}
    words["title"] = words["title"].format(net="-".join(map(str, net.sizes)))
    told = {"language": language, "frames": brief(shown), "curve": brief(curve)}
    page = Template(parts["html"]).substitute(words, **told, last=len(shown) - 1, **parts)
    if path is not None:
        write_atomically(path, lambda file: file.write(page.encode()))
    return Film(page)


def brief(value: Any) -> str:
    """Return JSON with numbers of six digits, since what is drawn has fewer."""
    short = json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.6g}"))
    return json.dumps(short)


def chosen(steps: int, count: int) -> list[int]:
    """Return 0..steps, or so many of them, close together at the beginning."""
    if steps < count:
        return list(range(steps + 1))
    return sorted({0, *np.geomspace(1, steps, count).astype(int).tolist(), steps})


def batch_rows(m: int, size: int, done: int) -> slice:
    """Return which samples the step after so many others takes."""
    first = done % -(-m // size) * size
    return slice(first, min(first + size, m))


def train(net: MLP, x: Array, y: Array, rule: Optimizer, *, size: int, done: int, count: int,
          until: float = math.inf) -> list[float]:  # fmt: skip
    """Take steps in place, the batches in order, or what the clock allows; return each's loss."""
    losses, whole = list[float](), size >= len(x)

    def watch(training: Any) -> None:
        if time.monotonic() > until:
            training.stop("the time is over")

    while len(losses) < count and (not losses or time.monotonic() < until):
        rows = batch_rows(len(x), size, done + len(losses))
        epochs = count - len(losses) if whole else 1
        losses += fit(net, x[rows], y[rows], epochs=epochs, batch_size=None, optimizer=rule,
                      callbacks=[watch], keep_state=True).loss  # fmt: skip
    return losses


def picture(net: MLP, x: Array, y: Array, sample: int = 0) -> dict[str, Any]:
    """Return what a drawing of a net shows: its weights, and of a sample a, δ and y."""
    cache, y = net.forward(x), check_targets(net.loss_function, y)
    delta = net.backward(cache, y).delta
    lists: dict[str, Any] = {"W": {l: W.tolist() for l, W in net.W.items()}}
    lists["b"] = {l: b.tolist() for l, b in net.b.items()}
    for kind, of in {"a": cache.a, "delta": delta}.items():
        lists[kind] = {l: rows[sample].tolist() for l, rows in of.items()}
    return {"sizes": net.sizes, "E": float(net.loss(cache, y)), "y": y[sample].tolist(), **lists}
