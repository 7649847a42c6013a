"""Many networks in one pass: bpnet's stack against loops, one by one, torch.func vmap and JAX vmap.

The same networks of sigmoids, start weights, batch and rate, in float64 on every side: the loop of
plain Python floats has no other precision. A step is forward, backward and update of plain gradient
descent, on the same batch each time; bpnet's is the one that `fit` takes, PyTorch's is
vmap(grad_and_value), eager, in two ways of which the faster counts, JAX's one jitted call. "JAX
loop" has all steps of a round in one compiled loop: less work, since it can neither be handed the
next batch nor be stopped, and here for comparison. The loop of floats and one by one train a
network after the other, so that a step of one stands for all. "in fit" is one by one over the stack
too, but of whole epochs of ten batches in a new order, by `fit`.

Each library runs in a process of its own; the processes take turns, as in `vs_peers.py`. First all
must agree on the weights after one step; a library that does not is not timed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import measure
import workers
from contender import difference
from measure import Spread
from stacked import Row, contenders
from workers import Worker, Workers

if TYPE_CHECKING:
    from workloads import Array

PEERS = {"PyTorch": "torch", "JAX": "jax"}  # by name: the module
AGREE = 1e-12  # largest relative difference of the weights after one step
ALONE = 1.0  # a stack is never to be slower than its networks one by one, nor than torch's vmap
ROWS = (
    Row((2, 2, 2), 1, 1),
    Row((2, 2, 2), 10, 1),
    Row((2, 2, 2), 100, 1),
    Row((2, 2, 2), 1_000, 1, 60.0),
    Row((2, 2, 2), 10_000, 1),
    Row((4, 16, 1), 100, 32),
    Row((64, 32, 10), 16, 32),
    Row((784, 100, 10), 8, 128),
)
AIM = 120  # times the loop, for 1,000 article nets
SIDES = {
    "loop": "#b5541c",
    "one by one": "#7d9cc0",
    "PyTorch": "#c23b22",
    "JAX": "#5b4aa8",
    "JAX loop": "#b3a8dc",
    "bpnet": "#1f5fa8",
}
WAYS = {  # the others are sides of their own
    "vmap": "PyTorch",
    "vmap of functional_call": "PyTorch",
    "jit of vmap": "JAX",
    "compiled loop": "JAX loop",
}
IN_FIT = "in fit"
STARTS = 1000  # of the picture of restarts


class Library(workers.Library):
    """A library within its own process."""

    modules = PEERS
    environment: ClassVar = {**workers.Library.environment, "JAX_ENABLE_X64": "1"}
    most_steps = 4096

    def check(self, row: Row) -> dict[str, list[Array]]:
        """Return by contender the weights after one step."""
        self.contenders.clear()
        made = [(name, make()) for name, make in contenders(self.name, row).items()]
        return {name: contender.result() for name, contender in made if contender.same}

    def load(self, row: Row) -> dict[str, int]:
        """Make the contenders of a row; return how many networks a step of each trains."""
        self.contenders.clear()  # before the next ones take their memory
        self.contenders = {name: make() for name, make in contenders(self.name, row).items()}
        return {name: contender.networks for name, contender in self.contenders.items()}


def check(row: Row, processes: Sequence[Worker]) -> dict[str, float]:
    """Return by contender how far its weights are from the stack's after one step.

    Those that train one network at a time are compared on the first few.
    """
    found = {name: w for worker in processes for name, w in worker.ask("check", row).items()}
    ours = found.pop("bpnet")
    return {
        name: difference([array[: len(theirs[0])] for array in ours], theirs)
        for name, theirs in found.items()
    }


def run_row(
    row: Row, processes: Sequence[Worker], *, rounds: int, seconds: float, budget: float
) -> dict[str, Any]:
    """Check that all agree on a row, then time them in turn."""
    off = check(row, processes)
    contenders: dict[str, Worker] = {}
    networks: dict[str, int] = {}
    for worker in processes:
        for name, count in worker.ask("load", row).items():
            if off.get(name, 0.0) <= AGREE:
                contenders[name], networks[name] = worker, count
    taken, _ = workers.race(contenders, rounds=rounds, seconds=seconds, budget=budget)
    times = {name: [t / networks[name] for t in values] for name, values in taken.items()}
    spreads = {name: Spread.of(values) for name, values in times.items()}
    best: dict[str, str] = {}  # by side: its fastest way
    for name in sorted(spreads, key=lambda name: spreads[name].median):
        if (side := WAYS.get(name, name)) in SIDES:
            best.setdefault(side, name)
    in_fit = measure.ratio(times["fit one by one"], times["fit"])
    others = {side: way for side, way in best.items() if side != "bpnet"}
    return {
        "row": row.name,
        "sizes": row.sizes,
        "networks": row.networks,
        "batch": row.batch,
        "per_network_and_step": {side: spreads[way] for side, way in best.items()},
        "ratio": {IN_FIT: in_fit}
        | {side: measure.ratio(times[way], times["bpnet"]) for side, way in others.items()},
        "goal": {"loop": row.loop, "one by one": ALONE, "PyTorch": ALONE, IN_FIT: ALONE},
        "way": best,
        "ways": spreads,
        "difference": off,
    }


def against(result: Mapping[str, Any], side: str) -> str:
    """Return a side's time as a multiple of the stack's, beside the goal."""
    if side not in result["ratio"]:
        return "disagrees"
    ratio, goal = result["ratio"][side].median, result["goal"].get(side)
    text = measure.three_digits(ratio)
    return text if goal is None else f"{text} {'≥' if ratio >= goal else '<'} {goal:g}"


def row_of(result: Mapping[str, Any], sides: Sequence[str]) -> list[str]:
    """Return a line of the table."""
    ours = result["per_network_and_step"]["bpnet"].as_time()
    return [result["row"], ours, *(against(result, side) for side in sides)]


def remarks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the table cannot say."""
    lines, worst = [], 0.0
    for result in results:
        for name, off in result["difference"].items():
            if off > AGREE:
                lines.append(f"{result['row']}: {name} differs by {off:.1e} after one step.")
            else:
                worst = max(worst, off)
    lines.append(f"The weights of all agree after one step: relative difference {worst:.0e} or less.")
    ways = [result["way"]["PyTorch"] for result in results if "PyTorch" in result["way"]]
    if ways:
        counts = ", ".join(f"{way} ({ways.count(way)} rows)" for way in sorted(set(ways)))
        lines.append(f"PyTorch's faster way: {counts}.")
    goal = f"The aim for 1,000 of 2-2-2 is {AIM} times the loop."
    return [*lines, goal] if any(result["goal"]["loop"] for result in results) else lines


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a network's time over the number of networks, and how much longer others take."""
    from matplotlib.figure import Figure

    article = [result for result in results if tuple(result["sizes"]) == (2, 2, 2)]
    other = [result for result in results if result not in article]
    figure = Figure(figsize=(9.4, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for side, colour in SIDES.items():
        points = [
            (result["networks"], result["per_network_and_step"][side])
            for result in article
            if side in result["per_network_and_step"]
        ]
        if points:
            networks, spreads = zip(*points, strict=True)
            median = [spread.median * 1e9 for spread in spreads]
            left.plot(networks, median, "o-", color=colour, label=side, ms=5, lw=1.6)
            ends = [(spread.lower * 1e9, spread.upper * 1e9) for spread in spreads]
            left.fill_between(networks, *zip(*ends, strict=True), color=colour, alpha=0.15)
    left.set(xscale="log", yscale="log", xlabel="networks in one pass, 2-2-2, one sample")
    left.set_ylabel("ns a network and step")
    shown = left.get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper center", ncols=len(SIDES), frameon=False)
    for side, colour in SIDES.items():
        found = [(i, r["ratio"][side].median) for i, r in enumerate(other) if side in r["ratio"]]
        if found:
            rows, ratios = zip(*found, strict=True)
            right.plot(ratios, rows, "o", color=colour, ms=7)
    right.axvline(1, color="0.35", lw=1.2)
    measure.name_rows(right, [result["row"].replace(", ", "\n") for result in other])
    right.set_xscale("log")
    right.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}×")
    right.set_xlabel("how many times faster the stack is")
    measure.save_picture(figure, path)


def draw_restarts(starts: int, path: Path) -> None:
    """Draw where the article's printed losses fall among those of many starts."""
    import numpy as np
    from matplotlib.figure import Figure

    from bpnet import MLP
    from bpnet.cli.article import PRINTED, X, Y, losses_by_mark

    net = MLP.init((2, 2, 2), initializer="uniform", rng=0, networks=starts)
    found = losses_by_mark(net, np.array(X), np.array(Y), list(PRINTED), 0.5)
    figure = Figure(figsize=(9.4, 2.6), layout="constrained")
    for ax, (mark, (losses, _)) in zip(figure.subplots(1, 3), found.items(), strict=True):
        printed = PRINTED[mark]
        ends = min(losses.min(), printed), max(losses.max(), printed)
        ax.hist(losses, np.linspace(*ends, 41), color=SIDES["one by one"])
        ax.axvline(printed, color=SIDES["loop"], lw=1.6)
        below = f"{np.mean(losses < printed):.1%} of {starts:,} starts end lower"
        ax.set_title(f"after {mark:,} epochs the article's {printed:.6f}:\n{below}", size=9)
        ax.locator_params("x", nbins=4)
        ax.xaxis.set_major_formatter(lambda loss, _: f"{loss:.2g}")
        ax.set(xlabel="loss", yticks=[])
        ax.spines["left"].set_visible(False)
    measure.save_picture(figure, path, grid="x")


def options() -> Any:
    """Return what the command line asks for."""
    parser = workers.arguments(__doc__ or "", [row.name for row in ROWS], Library)
    parser.add_argument(
        "--restarts-picture",
        type=measure.new_picture,
        metavar="FILE",
        help=f"only draw the article's losses among those of {STARTS:,} starts",
    )
    return parser.parse_args()


def main() -> int:
    """Measure, print, and write what was asked for; return 1 if a library disagrees."""
    asked = options()
    if asked.restarts_picture:
        draw_restarts(100 if asked.quick else STARTS, asked.restarts_picture)
        return 0
    machine, how = measure.begin(asked), workers.how_long(asked)
    results = []
    with Workers(Library, asked.peers, asked.threads) as processes:
        processes.announce()
        for number in asked.rows:
            row = ROWS[number - 1]
            print(f"{number} of {len(ROWS)}: {row.name}", file=sys.stderr, flush=True)
            results.append(run_row(row, processes, **how))
    libraries, versions = processes.peers, processes.versions

    sides = ["loop", "one by one", IN_FIT, *libraries]
    sides += ["JAX loop"] if "JAX" in libraries else []
    head = ["networks", "bpnet's stack", *sides]
    print("\nTime of a network's step: the stack's, median [quartiles], float64; and how many")
    print("times as long the others take, whether that reaches the goal\n")
    print(measure.table(head, [row_of(result, sides) for result in results]))
    print("", *remarks(results), sep="\n")
    measure.finish(
        asked, "three short rounds each", partial(draw, results),
        benchmark="many", dtype="float64", threads=asked.threads, machine=machine,
        versions=versions, aim=AIM, results=results,
    )  # fmt: skip
    return int(any(off > AGREE for result in results for off in result["difference"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
