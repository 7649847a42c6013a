"""The article's run from many seeded starts at once: where its printed losses fall among them."""

import time
from collections.abc import Sequence

import numpy as np

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.rules.optimizers import SGD
from bpnet.training.fit import fit

PRINTED = {100: 0.005217, 1000: 0.000241, 10000: 0.000003}  # the article's, from an unseeded start
HISTORY = 10_000_000  # losses that a call of fit may record, one each epoch and network
BINS, WIDTH = 12, 40  # of the histogram: rows, and characters in the longest


def losses_by_mark(
    net: MLP, x: Array, y: Array, marks: Sequence[int], learning_rate: float
) -> dict[int, tuple[Array, float]]:
    """Train a stack through the marks; return each network's loss there, and the seconds so far."""
    found, done, seconds = {}, 0, 0.0
    at_once = max(1, HISTORY // len(net))
    for mark in marks:
        began = time.perf_counter()
        while done < mark:
            epochs = min(mark - done, at_once)
            history = fit(net, x, y, epochs=epochs, batch_size=1, optimizer=SGD(learning_rate))
            if history.stopped == "interrupted":
                raise KeyboardInterrupt
            done += epochs
        seconds += time.perf_counter() - began
        found[mark] = net.loss(net.forward(x), y), seconds
    return found


def table(found: dict[int, tuple[Array, float]]) -> str:
    """Return the quartiles at each mark, as lines of text."""
    head = ("epochs", "best", "quartile", "median", "quartile", "worst", "seconds")
    lines = [f"{head[0]:>8}" + "".join(f"{name:>12}" for name in head[1:])]
    for mark, (losses, seconds) in found.items():
        five = np.quantile(losses, [0, 0.25, 0.5, 0.75, 1])
        lines.append(f"{mark:>8,}" + "".join(f"{q:>12.3g}" for q in five) + f"{seconds:>12.3f}")
    return "\n".join(lines)


def histogram(losses: Array, printed: float | None = None) -> str:
    """Return a histogram of the losses on a logarithmic scale; the row of `printed` is marked."""
    positive = losses[losses > 0]
    if positive.size == 0:
        return "every loss is 0"
    low, high = np.log10(positive.min()), np.log10(positive.max())
    if high - low < 1e-9:
        return f"every loss is {positive[0]:.3g}"
    edges = np.logspace(low, high, BINS + 1)
    edges[0], edges[-1] = positive.min(), positive.max()
    counts, _ = np.histogram(positive, edges)
    lines = []
    for left, right, n in zip(edges[:-1], edges[1:], counts, strict=True):
        bar = "#" * int(np.ceil(WIDTH * n / counts.max()))
        here = "  <- the article's" if printed is not None and left <= printed < right else ""
        lines.append(f"{left:>10.2e} .. {right:.2e}  {n:>6,}  {bar}{here}")
    return "\n".join(lines)


def standing(losses: Array, printed: float) -> str:
    """Return in words which part of the losses is lower than a printed one."""
    return f"{np.mean(losses < printed):.1%} of the starts end lower"


def report(net: MLP, x: Array, y: Array, marks: Sequence[int], learning_rate: float) -> str:
    """Train a stack and return the whole account as text; the article's beside its own net's."""
    found = losses_by_mark(net, x, y, marks, learning_rate)
    last = marks[-1]
    printed = PRINTED if net.sizes == (2, 2, 2) and learning_rate == 0.5 else {}
    compared = [
        f"the article's loss after {mark:,} epochs, {printed[mark]:.6f}: "
        f"{standing(found[mark][0], printed[mark])}"
        for mark in marks
        if mark in printed
    ]
    title = f"losses after {last:,} epochs, on a logarithmic scale"
    spread = f"{title}\n{histogram(found[last][0], printed.get(last))}"
    return "\n\n".join(filter(None, (table(found), "\n".join(compared), spread)))
