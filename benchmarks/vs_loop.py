"""The network neuron by neuron in plain Python against the same network in matrices.

One full training step (forward, backward, update) in float64, the same weights and the same data
on both sides, timed in turn. First it checks that both sides compute the same weights. A second
table is of `fit`: what batches, order and history add to the bare step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import measure
from contender import difference, weights_of, weights_of_loop
from measure import Spread

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from bpnet import MLP
    from bpnet.arrays import Array
    from bpnet.reference import Network

RATE = 0.5
AGREE = 1e-12  # largest relative difference of the weights after one step
FIT_GOAL = 1 / 3  # what fit may add to the bare step


class Case(NamedTuple):
    """A net, a batch, and how many times the loop's speed is asked of the matrices."""

    sizes: tuple[int, ...]
    batch: int
    goal: float | None

    @property
    def name(self) -> str:
        """The sizes, as in 784-30-10."""
        return "-".join(map(str, self.sizes))


CASES = (
    Case((2, 2, 2), 1, 0.5),
    Case((4, 4, 4), 1, 1.0),
    Case((8, 8, 8), 1, 2.0),
    Case((16, 16, 16), 1, None),
    Case((64, 64, 64), 1, 40.0),
    Case((784, 30, 10), 1, None),
    Case((784, 30, 10), 10, None),
    Case((784, 30, 10), 128, 2000.0),
)


def problem(case: Case) -> tuple[MLP, Array, Array]:
    """Return a net and a batch, the same at each call."""
    import numpy as np

    from bpnet import MLP

    rng = np.random.default_rng(0)
    net = MLP.init(case.sizes, rng=rng)
    x = rng.random((case.batch, case.sizes[0]))
    y = rng.uniform(0.1, 0.9, (case.batch, case.sizes[-1]))
    return net, x, y


def matrix_step(net: MLP, x: Array, y: Array) -> Callable[[], None]:
    """Return the step that `fit` takes on a batch: the equations, in buffers that are kept."""
    from bpnet import SGD, Cache, Gradient
    from bpnet.mlp import backward_pass, forward_pass

    cache = Cache.empty(net.signature, net.theta, x)
    grad = Gradient.empty(net.theta, cache)
    optimizer = SGD(RATE)
    optimizer.start(net.theta)

    def step() -> None:
        forward_pass(net, cache)
        backward_pass(net, cache, y, grad)
        optimizer.step(net.theta, grad.theta)

    return step


def loop_step(net: MLP, x: Array, y: Array) -> tuple[Network, Callable[[], None]]:
    """Return the loop twin of a net, and its step on the batch."""
    from bpnet.reference import Network

    loop = Network(*([array.tolist() for array in part.values()] for part in (net.W, net.b)))
    xs, ys = x.tolist(), y.tolist()
    if len(xs) == 1:
        return loop, lambda: loop.step(xs[0], ys[0], RATE)
    return loop, lambda: loop.step_batch(xs, ys, RATE)


def run_case(case: Case, **how: Any) -> dict[str, Any]:
    """Check that both sides agree on a case, then time them."""
    net, x, y = problem(case)
    loop, by_loop = loop_step(net, x, y)
    by_matrix = matrix_step(net, x, y)
    by_loop()
    by_matrix()
    error = difference(weights_of(net), weights_of_loop(loop))
    if not error <= AGREE:
        raise SystemExit(f"{case.name}: after one step the weights differ by {error:.1e}")
    runs = {"loop": measure.repeated(by_loop), "matrix": measure.repeated(by_matrix)}
    times = measure.race(runs, **how)
    return {
        "net": case.name,
        "batch": case.batch,
        "loop": Spread.of(times["loop"]),
        "matrix": Spread.of(times["matrix"]),
        "speedup": measure.ratio(times["loop"], times["matrix"]),
        "goal": case.goal,
        "difference": error,
    }


def run_fit(**how: Any) -> dict[str, Any]:
    """Time `fit`, with epochs of one sample, against the bare step on the first net."""
    from bpnet import SGD, fit

    bare_net, x, y = problem(CASES[0])
    fit_net = bare_net.copy()

    def by_fit(epochs: int) -> None:
        fit(fit_net, x, y, epochs=epochs, batch_size=1, optimizer=SGD(RATE), rng=0)

    runs = {"bare": measure.repeated(matrix_step(bare_net, x, y)), "fit": by_fit}
    how["seconds"] *= 5  # many epochs a round, so that what fit does once counts for little
    times = measure.race(runs, **how)
    return {
        "net": CASES[0].name,
        "batch": 1,
        "bare": Spread.of(times["bare"]),
        "fit": Spread.of(times["fit"]),
        "fit_to_bare": measure.ratio(times["fit"], times["bare"]),
        "goal": 1 + FIT_GOAL,
    }


def crossover(widths: Sequence[int], speedups: Sequence[float]) -> float | None:
    """Return the width at which matrices draw level, between the measured ones.

    Both scales are logarithmic: a speed-up of 1 is the zero of its logarithm. None: they are
    ahead, or behind, at every width measured.
    """
    points = list(zip(map(math.log, widths), map(math.log, speedups), strict=True))
    for (n0, s0), (n1, s1) in pairwise(points):
        if s0 < 0 <= s1:
            return math.exp(n0 - s0 * (n1 - n0) / (s1 - s0))
    return None


def crossover_line(results: Sequence[dict[str, Any]]) -> tuple[float | None, str]:
    """Return the crossover of the n-n-n nets, and a sentence that states it."""
    square = {
        case.sizes[0]: result["speedup"].median
        for case, result in zip(CASES, results, strict=False)
        if len(set(case.sizes)) == 1
    }
    level = crossover(list(square), list(square.values()))
    first = min(square)
    if level is not None:
        behind = max(n for n in square if n < level)
        return level, (
            f"Crossover: plain floats win up to {behind}-{behind}-{behind}; "
            f"n-n-n nets draw level at n = {level:.1f} (one sample a step)."
        )
    side = "Matrices" if square[first] >= 1 else "Plain floats"
    return None, f"Crossover: none. {side} win at every n-n-n net measured (one sample a step)."


def case_row(result: dict[str, Any]) -> list[str]:
    """Return a line of the first table."""
    loop, matrix, speedup, goal = (result[key] for key in ("loop", "matrix", "speedup", "goal"))
    faster, goal = "loop" if speedup.median < 1 else "matrix", "" if goal is None else f"{goal:g}"
    times = [loop.as_time(), matrix.as_time(), str(speedup)]
    return [result["net"], str(result["batch"]), *times, faster, goal]


def fit_row(result: dict[str, Any]) -> list[str]:
    """Return the line of the second table."""
    times = [result["bare"].as_time(), result["fit"].as_time(), str(result["fit_to_bare"])]
    return [result["net"], str(result["batch"]), *times, f"{result['goal']:.2f}"]


def tick(seconds: float) -> str:
    """Return a round duration, such as 10 µs."""
    unit, scale = measure.unit_of(seconds)
    return f"{seconds * scale:g} {unit}"


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw both times of each case on one logarithmic axis, joined by the speed-up."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.46 * len(results) + 1.3), layout="constrained")
    ax = figure.subplots()
    rows = range(len(results))
    colours = {"loop": "#b5541c", "matrix": "#1f5fa8"}
    for row, result in zip(rows, results, strict=True):
        loop, matrix = result["loop"].median, result["matrix"].median
        ax.plot([loop, matrix], [row, row], color="0.8", lw=2, zorder=1)
        speedup = f"× {measure.three_digits(result['speedup'].median)}"
        ax.text(math.sqrt(loop * matrix), row - 0.16, speedup, ha="center", va="bottom", size=8)
    for side, colour in colours.items():
        spreads = [result[side] for result in results]
        measure.dots(ax, spreads, rows, color=colour, ms=6, zorder=2, label=side)
    measure.name_rows(ax, [f"{r['net']}, batch {r['batch']}" for r in results], 0.7)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda t, _: tick(t))
    ax.set_xlabel("time of one training step (median, quartiles); × is the loop's over the matrix's")
    ax.legend(frameon=False, loc="upper right")
    measure.save_picture(figure, path, grid="x")


def main() -> None:
    """Measure, print, and write what was asked for."""
    asked = measure.arguments(__doc__ or "").parse_args()
    how = {"rounds": 31, "seconds": 0.01, "budget": 6.0}
    if asked.quick:
        how = {"rounds": 3, "seconds": 0.001, "budget": 1.0}
    cases = CASES[:-1] if asked.quick else CASES
    machine = measure.begin(asked)

    results = [run_case(case, **how) for case in cases]
    head = ["net", "batch", "loop", "matrix", "loop / matrix", "faster", "goal"]
    print("\nOne training step (forward, backward, update): median [quartiles], float64\n")
    print(measure.table(head, [case_row(result) for result in results]))
    worst = max(result["difference"] for result in results)
    print(f"\nThe weights of both agree after one step: relative difference at most {worst:.0e}.")
    level, sentence = crossover_line(results)
    print(sentence)

    fit_result = run_fit(**how)
    head = ["net", "batch", "bare step", "fit, a step", "fit / bare", "at most"]
    print("\nThe same step inside fit: batches, order and loss history included\n")
    print(measure.table(head, [fit_row(fit_result)]))

    measure.finish(
        asked, "three short rounds each, the largest batch left out", partial(draw, results),
        benchmark="vs_loop", dtype="float64", machine=machine, results=results, crossover=level,
        fit=fit_result,
    )  # fmt: skip


if __name__ == "__main__":
    main()
