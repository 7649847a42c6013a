"""bpnet against scikit-learn's MLP, PyTorch eager and JAX jit, on the CPU.

The same nets, data, start weights, batches, dtype (float32), optimisers and number of threads. Each
library runs in a process of its own, since thread pools in one process slow each other; the
processes take turns, one at a time: a tenth of a second to get up to speed, then a tenth that
counts, in blocks of steps from the start weights. The rows take turns as well, a third of their
rounds at a time. First all must agree on the loss and on the weights after one step; a library that
does not is not timed. Of several ways of a library (PyTorch's optimisers by default, foreach or
fused; who gathers for JAX) the fastest counts.

A step takes the same batch each time: bpnet's is the one that `fit` takes, scikit-learn's
`_backprop` and `update_params`, which is what its `fit` does for a batch but for gathering it.
PyTorch does not read its loss, and JAX is waited for only at the end of a block. A whole epoch is
each library's own: of a `fit` of three epochs, with all that it checks beforehand, or of a loop
over shuffled numbers of rows.

The floor is the time of the step's matrix products alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
import workers
from contender import difference
from measure import Spread
from peers import contenders
from workers import Worker, Workers
from workloads import WORKLOADS, Goals, Workload, problem

if TYPE_CHECKING:
    from workloads import Array

PEERS = {"scikit-learn": "sklearn", "PyTorch": "torch", "JAX": "jax"}  # by name: the module
OURS = ("bpnet", "floor")
AGREE = 1e-5  # largest relative difference of the loss and of the weights after one step
PARTS = 3  # in which all rows take turns too: a machine can be slow for a minute
EPOCHS = 3  # at a time: nobody trains for one, which would count the checks of `fit` in full
HOW_READ = "medians, float32; the last columns are times as multiples of the products' alone"
COLOURS = {"scikit-learn": "#d98c1f", "PyTorch": "#c23b22", "JAX": "#5b4aa8"}


class Library(workers.Library):
    """A library within its own process."""

    modules = PEERS

    def check(self, work: Workload) -> dict[str, tuple[list[Array], bool, str]]:
        """Return by contender what it computes, whether that is to equal the others', and a note.

        An epoch of one batch is a step, in whatever order its rows are.
        """
        if work.kind == "epoch":
            work = work._replace(rows=work.batch)
        made = contenders(self.name, work, problem(work))
        return {
            name: (contender.result(), contender.same, contender.note)
            for name, contender in made.items()
            if name != "floor"
        }

    def load(self, work: Workload, data: str | None) -> list[str]:
        """Make the contenders of a workload; return their names."""
        self.contenders.clear()  # before the next ones take their memory
        self.contenders = contenders(self.name, work, problem(work, data))
        return list(self.contenders)

    def steps_for(self, contender: str, seconds: float) -> int:
        """Return how many steps a block has; an epoch is never alone."""
        if self.contenders[contender].work.kind == "epoch":
            return EPOCHS
        return super().steps_for(contender, seconds)


def check(work: Workload, processes: Sequence[Worker]) -> dict[str, dict[str, Any]]:
    """Return by peer how far its loss and weights are from bpnet's, or why they may be."""
    (ours, _, _) = processes[0].ask("check", work)["bpnet"]
    found = {}
    for worker in processes[1:]:
        results = worker.ask("check", work)
        worst, note = 0.0, ""
        for theirs, same, reason in results.values():
            worst, note = max(worst, difference(ours, theirs) if same else 0.0), reason
        found[worker.library] = {
            "difference": None if note else worst,
            "agrees": worst <= AGREE,
            "note": note,
        }
    return found


class Row:
    """A workload: the libraries that agree on it, and their times so far."""

    def __init__(self, work: Workload, goals: Goals, processes: Sequence[Worker]) -> None:
        self.work, self.goals, self.peers = work, goals, check(work, processes)
        self.racing = [w for w in processes if w.library == "bpnet" or self.peers[w.library]["agrees"]]
        self.of: dict[str, Worker] = {}  # by contender
        self.times: dict[str, list[float]] = {}
        self.steps: dict[str, int] = {}

    def time(self, data: str | None, *, rounds: int, seconds: float, budget: float) -> None:
        """Time all in turn, so many rounds more."""
        self.of = {name: w for w in self.racing for name in w.ask("load", self.work, data)}
        times, self.steps = workers.race(self.of, rounds=rounds, seconds=seconds, budget=budget)
        for name, more in times.items():
            self.times.setdefault(name, []).extend(more)

    def result(self) -> dict[str, Any]:
        """Return medians and ratios of all rounds."""
        times = self.times
        spreads = {name: Spread.of(values) for name, values in times.items()}
        for w in self.racing[1:]:
            ways = [name for name, worker in self.of.items() if worker is w]
            best = min(ways, key=lambda name: spreads[name].median)
            self.peers[w.library] |= {
                "way": best,
                "time": spreads[best],
                "ratio": measure.ratio(times[best], times["bpnet"]),
                "goal": self.goals.of(w.library),
                "ways": {name: spreads[name] for name in ways},
            }
        return {
            "workload": self.work.name,
            "kind": self.work.kind,
            "bpnet": spreads["bpnet"],
            "floor": spreads["floor"],
            "floor_multiple": measure.ratio(times["bpnet"], times["floor"]),
            "floor_goal": self.goals.floor,
            "compiled": measure.ratio(times["compiled"], times["floor"]) if "compiled" in times else None,
            "steps": self.steps,
            "peers": self.peers,
        }


def against(peer: Mapping[str, Any] | None) -> str:
    """Return how many times faster bpnet is than a peer, beside the goal."""
    if peer is None:
        return ""
    if not peer["agrees"]:
        return "disagrees"
    ratio, goal = peer["ratio"].median, peer["goal"]
    sign = "≥" if ratio >= goal else "<"
    return f"{measure.three_digits(ratio)} {sign} {goal:g}{'*' if peer['note'] else ''}"


def row_of(result: Mapping[str, Any], libraries: Sequence[str]) -> list[str]:
    """Return a line of the table."""
    multiple, goal = result["floor_multiple"].median, result["floor_goal"]
    floor = measure.three_digits(multiple)
    if goal is not None:
        floor += f" {'≤' if multiple <= goal else '>'} {goal:g}"
    peers = [against(result["peers"].get(library)) for library in libraries]
    compiled = result["compiled"]
    last = measure.three_digits(compiled.median) if compiled else ""
    return [result["workload"], result["bpnet"].as_time(), *peers, floor, last]


def remarks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the table cannot say: which ways were the fastest, who differs, and how far."""
    lines, worst = [], 0.0
    for result in results:
        for library, peer in result["peers"].items():
            where = f"{result['workload']}: {library}"
            if not peer["agrees"]:
                lines.append(f"{where} differs by {peer['difference']:.1e} after one step.")
                continue
            if peer["note"]:
                lines.append(f"* {where}: {peer['note']}.")
            worst = max(worst, peer["difference"] or 0.0)
    lines.append(f"The others agree with bpnet to {worst:.0e} after one step.")
    ways = [peer["way"] for result in results for peer in result["peers"].values() if "way" in peer]
    several = sorted({way for way in ways if way not in PEERS})
    if several:
        counts = ", ".join(f"{way} ({ways.count(way)} rows)" for way in several)
        lines.append(f"The fastest way counted: {counts}.")
    return lines


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw how many times faster bpnet is, a dot a peer, a line a workload."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 0.46 * len(results) + 1.4), layout="constrained")
    ax = figure.subplots()
    ax.axvline(1, color="0.35", lw=1.2)
    for library, colour in COLOURS.items():
        found = [result["peers"].get(library, {}) for result in results]
        rows = [row for row, peer in enumerate(found) if "ratio" in peer]
        if rows:
            ratios = [found[row]["ratio"] for row in rows]
            measure.dots(ax, ratios, rows, color=colour, ms=7, label=library)
            goals = [found[row]["goal"] for row in rows]
            ax.plot(goals, rows, "|", color=colour, ms=13, mew=1.6, alpha=0.55)
    measure.name_rows(ax, [result["workload"] for result in results], 0.6)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}×")
    ax.xaxis.set_minor_formatter(lambda ratio, _: f"{ratio:g}×" if ratio in (0.5, 2, 5) else "")
    ax.set_xlabel("how many times faster bpnet is (median, quartiles); | marks the goal")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, 1.1), ncols=3)
    measure.save_picture(figure, path)


def shortened(work: Workload) -> Workload:
    """Return the workload on fewer rows, for a smoke test."""
    return work._replace(rows=min(work.rows, 10 * work.batch))


def options() -> Any:
    """Return what the command line asks for."""
    parser = workers.arguments(__doc__ or "", [work.name for work, _ in WORKLOADS], Library)
    parser.add_argument("--data", metavar="DIR", help="MNIST's folder, else made-up images of its shape")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and write what was asked for; return 1 if a library disagrees."""
    asked = options()
    machine, how = measure.begin(asked), workers.how_long(asked)
    if asked.data:
        from bpnet.datasets import find

        try:
            find(Path(asked.data))  # a wrong folder is an error now, not in the row that reads it
        except FileNotFoundError as error:
            raise SystemExit(f"vs_peers.py: error: {error}") from None
    rows: dict[int, Row] = {}
    parts = 1 if asked.quick else PARTS
    how |= {"rounds": max(2, -(-how["rounds"] // parts))}
    with Workers(Library, asked.peers, asked.threads) as processes:
        processes.announce()
        for number in asked.rows:
            work, goals = WORKLOADS[number - 1]
            rows[number] = Row(shortened(work) if asked.quick else work, goals, processes)
        for part in range(1, parts + 1):
            for number, row in rows.items():
                where = f"part {part} of {parts}, row {number}: {row.work.name}"
                print(where, file=sys.stderr, flush=True)
                row.time(asked.data, **how)
    results = [{"row": number} | row.result() for number, row in rows.items()]
    libraries, versions = processes.peers, processes.versions

    head = ["workload", "bpnet", *(f"vs {library}" for library in libraries), "/ floor", "compiled / floor"]
    print(f"\nHow many times faster bpnet is, and whether that reaches the goal: {HOW_READ}\n")
    print(measure.table(head, [row_of(result, libraries) for result in results]))
    print("", *remarks(results), sep="\n")
    measure.finish(
        asked, "three short rounds each, on few rows", partial(draw, results),
        benchmark="vs_peers", dtype="float32", threads=asked.threads, machine=machine,
        versions=versions, results=results,
    )  # fmt: skip
    return int(not all(peer["agrees"] for r in results for peer in r["peers"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
