"""Whole epochs of a training on MNIST: seconds of the third, and the last beside the first.

784-H-10 with ReLU and softmax, Adam, float32, shuffling included; what decays towards subnormal
numbers shows in the later epochs. Every library trains in a process of its own, after an epoch to
warm up from the same start weights: bpnet by `fit`, scikit-learn by `partial_fit`, PyTorch by its
fused Adam in a loop, without and with `set_flush_denormal`, JAX by a jitted call a step. The table
is in Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from time import perf_counter
from typing import Any

import measure
import workers
from peers import contenders
from vs_peers import PEERS
from workloads import DIGITS, Workload, problem

NETS = ((30, 10), (100, 32), (100, 128))  # H and the batch
ROWS = [
    Workload(f"784-{H}-10, batch {m}", (784, H, 10), *DIGITS, "Adam", 1e-3, m, "epoch", 60_000)
    for H, m in NETS
]
WAYS = {  # the column, its library, and its contender there
    "bpnet": ("bpnet", "bpnet"),
    "compiled": ("bpnet", "compiled"),
    "scikit-learn": ("scikit-learn", "scikit-learn"),
    "PyTorch": ("PyTorch", "PyTorch fused"),
    "PyTorch, flushed": ("PyTorch", "PyTorch fused"),
    "JAX": ("JAX", "JAX, JAX gathers"),
}


class Library(workers.Library):
    """A library within its own process."""

    modules = PEERS

    def epochs(self, way: str, work: Workload, data: str | None, count: int) -> list[float]:
        """Return the seconds of each epoch of a training, by one of the ways."""
        if way == "PyTorch, flushed":
            import torch

            torch.set_flush_denormal(True)
        contender = contenders(self.name, work, problem(work, data))[WAYS[way][1]]
        contender.epochs(1)
        contender.reset()
        clock = [perf_counter()]
        contender.training(count, lambda: clock.append(perf_counter()))
        return [after - before for before, after in pairwise(clock)]


def missing(way: str) -> bool:
    """Whether what a way needs is not installed."""
    return not find_spec("numba" if way == "compiled" else PEERS.get(WAYS[way][0], "bpnet"))


def row_of(result: Mapping[str, Any]) -> list[str]:
    """Return a line of the table: the third epoch, and the last as a multiple of the first."""
    cells = []
    for way in WAYS:
        seconds = result["seconds"].get(way)
        third = f"{seconds[2]:.2f}" if seconds else ""
        cells.append(f"{third} ({seconds[-1] / seconds[0]:.2f})" if seconds else "")
    return [result["workload"], *cells]


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def options() -> Any:
    """Return what the command line asks for."""
    parser = measure.arguments(__doc__ or "", threads=measure.usable_cores())
    measure.add_rows(parser, [work.name for work in ROWS])
    parser.add_argument("--data", metavar="DIR", help="MNIST's folder, else made-up images")
    parser.add_argument("--epochs", type=measure.at_least_one, default=8, help="default 8")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write what was asked for."""
    asked = options()
    machine, results = measure.begin(asked), []
    count = 3 if asked.quick else max(3, asked.epochs)
    for number in asked.rows:
        work = ROWS[number - 1]
        work = work._replace(rows=20 * work.batch) if asked.quick else work
        found: dict[str, list[float]] = {}
        for way in WAYS:
            if missing(way):
                continue
            print(f"row {number}: {work.name}, {way}", file=sys.stderr, flush=True)
            worker = workers.Worker(Library, WAYS[way][0], asked.threads)
            found[way] = worker.ask("epochs", way, work, asked.data, count)
            worker.close()
        results.append({"row": number, "workload": work.name, "seconds": found})
    print("\nThe third epoch in seconds (the last as a multiple of the first), float32\n")
    print(markdown(["training", *WAYS], [row_of(result) for result in results]))
    measure.finish(
        asked, "three epochs of twenty batches", lambda path: None,
        benchmark="epochs", dtype="float32", threads=asked.threads, machine=machine,
        results=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
