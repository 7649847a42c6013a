"""bpnet against scikit-learn's MLP, PyTorch eager and JAX jit, on the CPU.

The same nets, data, start weights, batches, dtype (float32), optimisers and number of threads. Each
library runs in a process of its own, since thread pools in one process slow each other; the
processes take turns in short rounds, one at a time. First all must agree on the loss and on the
weights after one step; a library that does not is not timed. Of several ways of a library
(PyTorch's optimisers by default, foreach or fused; who gathers for JAX) the fastest counts.

A step takes the same batch each time: bpnet's is the one that `fit` takes, scikit-learn's
`_backprop` and `update_params`, which is what its `fit` does for a batch but for gathering it.
PyTorch does not read its loss, and JAX is waited for only at the end of a round. A whole epoch is
each library's own: of a `fit` of three epochs, with all that it checks beforehand, or of a loop
over shuffled numbers of rows.

The floor is the time of the step's matrix products alone.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
from measure import Spread
from workloads import WORKLOADS, Goals, Workload, problem

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from peers import Contender
    from workloads import Array

PEERS = {"scikit-learn": "sklearn", "PyTorch": "torch", "JAX": "jax"}  # by name: the module
OURS = ("bpnet", "floor")
AGREE = 1e-5  # largest relative difference of the loss and of the weights after one step
PAUSE = 0.05  # seconds before a turn: threads of the one before spin so long for more work
MOST_STEPS = 512  # in one round: much later, a net that has learnt its only batch has tiny moments
EPOCHS = 3  # in one round: nobody trains for one, which would count the checks of `fit` in full
HOW_READ = "medians, float32; the last column is its time as a multiple of the products' alone"
COLOURS = {"scikit-learn": "#d98c1f", "PyTorch": "#c23b22", "JAX": "#5b4aa8"}


def keep_to(threads: int) -> None:
    """Let this process use so many cores, where the system can; JAX has no other switch."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(pipe: Connection, library: str, threads: int) -> None:
    """Do what the pipe asks for, until it asks for nothing: the life of a library's process."""
    keep_to(threads)
    os.environ["JAX_PLATFORMS"] = "cpu"
    if library == "PyTorch":
        import torch

        torch.set_num_threads(threads)
    here = Library(library)
    while (asked := pipe.recv()) is not None:
        name, *arguments = asked
        try:
            pipe.send((getattr(here, name)(*arguments), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))


class Library:
    """A library within its own process; its methods are what the pipe may ask for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.contenders: dict[str, Contender] = {}

    def version(self) -> str:
        """Return the library's version."""
        version: str = import_module(PEERS.get(self.name, "bpnet")).__version__
        return version

    def check(self, work: Workload) -> dict[str, tuple[list[Array], bool, str]]:
        """Return by contender what it computes, whether that is to equal the others', and a note.

        An epoch of one batch is a step, in whatever order its rows are.
        """
        from peers import contenders

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
        from peers import contenders

        self.contenders.clear()  # before the next ones take their memory
        self.contenders = contenders(self.name, work, problem(work, data))
        return list(self.contenders)

    def steps_for(self, contender: str, seconds: float) -> int:
        """Return how many steps a round takes; each of them is warmed up by then."""
        found = self.contenders[contender]
        found.run(1)
        if found.work.kind == "epoch":
            return EPOCHS
        n = 1
        while n < MOST_STEPS and self.time(contender, n) < seconds:
            n *= 2
        return n

    def time(self, contender: str, n: int) -> float:
        """Return the seconds that n steps take from the start weights, after some to warm up."""
        found = self.contenders[contender]
        found.reset()
        if n >= 8:
            found.run(n // 8)
        return measure.seconds_of(found.run, n)


class Worker:
    """A library's process, asked through a pipe; between questions it sleeps."""

    def __init__(self, library: str, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.library = library
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, library, threads), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, name: str, *arguments: Any) -> Any:
        """Return the answer of the process.

        Raises
        ------
        RuntimeError
            If it met an error, with its report.
        """
        self.pipe.send((name, *arguments))
        try:
            answer, error = self.pipe.recv()
        except EOFError:
            error = "its process ended\n"
        if error is not None:
            raise RuntimeError(f"{self.library}: {error}")
        return answer

    def close(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join(timeout=10)


def by_pipe(contender: tuple[Worker, str], n: int) -> float:
    """Return the seconds of a contender in its own process, when the others have become quiet."""
    worker, name = contender
    time.sleep(PAUSE)
    seconds: float = worker.ask("time", name, n)
    return seconds


def difference(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """Return the largest difference, relative to the largest number of its array."""
    import numpy as np

    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape:
            raise RuntimeError(f"{a.dtype} {a.shape} was expected, not {b.dtype} {b.shape}")
        worst = max(worst, float(np.max(np.abs(a - b)) / np.max(np.abs(a))))
    return worst


def check(work: Workload, workers: Sequence[Worker]) -> dict[str, dict[str, Any]]:
    """Return by peer how far its loss and weights are from bpnet's, or why they may be."""
    (ours, _, _) = workers[0].ask("check", work)["bpnet"]
    found = {}
    for worker in workers[1:]:
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


def run_row(
    work: Workload,
    goals: Goals,
    workers: Sequence[Worker],
    *,
    data: str | None,
    rounds: int,
    seconds: float,
    budget: float,
) -> dict[str, Any]:
    """Check that the libraries agree on a workload, then time them in turn."""
    peers = check(work, workers)
    racing = [w for w in workers if w.library == "bpnet" or peers[w.library]["agrees"]]
    contenders = {name: (w, name) for w in racing for name in w.ask("load", work, data)}
    steps = {name: w.ask("steps_for", name, seconds) for name, (w, _) in contenders.items()}
    times = measure.turns(contenders, steps, rounds=rounds, budget=budget, clock=by_pipe)
    spreads = {name: Spread.of(values) for name, values in times.items()}
    for w in racing[1:]:
        ways = [name for name, (worker, _) in contenders.items() if worker is w]
        best = min(ways, key=lambda name: spreads[name].median)
        peers[w.library] |= {
            "way": best,
            "time": spreads[best],
            "ratio": measure.ratio(times[best], times["bpnet"]),
            "goal": goals.of(w.library),
            "ways": {name: spreads[name] for name in ways},
        }
    return {
        "workload": work.name,
        "kind": work.kind,
        "bpnet": spreads["bpnet"],
        "floor": spreads["floor"],
        "floor_multiple": measure.ratio(times["bpnet"], times["floor"]),
        "floor_goal": goals.floor,
        "steps": steps,
        "peers": peers,
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
    return [result["workload"], result["bpnet"].as_time(), *peers, floor]


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
        points = [
            (row, result["peers"][library])
            for row, result in enumerate(results)
            if "ratio" in result["peers"].get(library, {})
        ]
        if not points:
            continue
        rows = [row for row, _ in points]
        ratios = [peer["ratio"] for _, peer in points]
        median = [ratio.median for ratio in ratios]
        spread = [[r.median - r.lower for r in ratios], [r.upper - r.median for r in ratios]]
        ax.errorbar(median, rows, xerr=spread, fmt="o", color=colour, ms=7, label=library)
        goals = [peer["goal"] for _, peer in points]
        ax.plot(goals, rows, "|", color=colour, ms=13, mew=1.6, alpha=0.55)
    ax.set_yticks(range(len(results)), [result["workload"] for result in results])
    ax.set_ylim(len(results) - 0.5, -0.6)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}×")
    ax.xaxis.set_minor_formatter(lambda ratio, _: f"{ratio:g}×" if ratio in (0.5, 2, 5) else "")
    ax.set_xlabel("how many times faster bpnet is (median, quartiles); | marks the goal")
    ax.grid(axis="both", color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, 1.1), ncols=3)
    figure.savefig(path, dpi=150)


def shortened(work: Workload) -> Workload:
    """Return the workload on fewer rows, for a smoke test."""
    return work._replace(rows=min(work.rows, 10 * work.batch))


def options() -> Any:
    """Return what the command line asks for."""
    numbered = "\n".join(f"{k:>4}  {work.name}" for k, (work, _) in enumerate(WORKLOADS, 1))
    parser = measure.arguments(__doc__ or "", threads=measure.usable_cores())
    parser.epilog = f"rows:\n{numbered}"
    known = range(1, len(WORKLOADS) + 1)
    parser.add_argument(
        "--rows", type=int, nargs="+", choices=known, default=known, metavar="N", help="these rows"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=list(PEERS), help="only against these"
    )
    parser.add_argument("--rounds", type=measure.at_least_one, help="turns of each (default 31)")
    parser.add_argument(
        "--data", metavar="DIR", help="MNIST's folder, else made-up images of its shape"
    )
    return parser.parse_args()


def main() -> int:
    """Measure, print, and write what was asked for; return 1 if a library disagrees."""
    asked = options()
    measure.set_threads(asked.threads)
    how = {"rounds": 31, "seconds": 0.02, "budget": 60.0}
    if asked.quick:
        how = {"rounds": 3, "seconds": 0.001, "budget": 1.0}
    how["rounds"] = max(asked.rounds or how["rounds"], 2)
    machine = measure.machine() | {"blas_threads": str(asked.threads)}
    print(measure.machine_line(machine))
    libraries = [name for name in PEERS if name in asked.peers and find_spec(PEERS[name])]
    workers = [Worker(library, asked.threads) for library in ("bpnet", *libraries)]
    versions = {worker.library: worker.ask("version") for worker in workers}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    if left_out := [name for name in asked.peers if name not in libraries]:
        print(
            f"Left out: {', '.join(left_out)}. pip install 'bpnet-numpy[bench]' brings all peers."
        )
    results = []
    for row in asked.rows:
        work, goals = WORKLOADS[row - 1]
        work = shortened(work) if asked.quick else work
        print(f"{row} of {len(WORKLOADS)}: {work.name}", file=sys.stderr, flush=True)
        results.append({"row": row} | run_row(work, goals, workers, data=asked.data, **how))
    for worker in workers:
        worker.close()

    head = ["workload", "bpnet", *(f"vs {library}" for library in libraries), "/ floor"]
    print(f"\nHow many times faster bpnet is, and whether that reaches the goal: {HOW_READ}\n")
    print(measure.table(head, [row_of(result, libraries) for result in results]))
    print("", *remarks(results), sep="\n")
    if asked.quick:
        print("Quick: three short rounds each, on few rows. Not for quoting.")
    if asked.json:
        found = {"benchmark": "vs_peers", "quick": asked.quick, "dtype": "float32"}
        found |= {"threads": asked.threads, "machine": machine, "versions": versions}
        measure.write_json(asked.json, found | {"results": results})
    if asked.picture:
        draw(results, asked.picture)
    return int(not all(peer["agrees"] for r in results for peer in r["peers"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
