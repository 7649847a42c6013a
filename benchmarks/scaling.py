"""How the time of a step grows with width, batch and depth, and memory with the size of the data.

Time: one step of SGD (forward, backward, update) in float32, beside the floor, which is the time of
its matrix products alone, in turns. The slope is that of the logarithm of the time over the
logarithm of what grows, by least squares over the larger half: 1 is in proportion, 2 the square.

Memory: an epoch over a `numpy.memmap`, each size in a process of its own. The process's own memory
is what it has allocated; the total also counts the pages of the file that the system has left
mapped, which it takes back when something else needs the room.
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
from measure import Spread
from peers import contenders
from workloads import DIGITS, Workload, problem

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

GB = 10**9
INPUTS, OUTPUTS, BATCH = 784, 10, 128
FLOAT32 = 4  # bytes
POLL = 0.005  # seconds between two looks at a process's memory
COLOURS = {"bpnet": "#1f5fa8", "floor": "0.55"}


def sized(what: str, sizes: tuple[int, ...], batch: int) -> Workload:
    """Return a net that classifies, trained by SGD."""
    return Workload(what, sizes, *DIGITS, "SGD", 0.01, batch)


def sweeps(*, quick: bool) -> dict[str, dict[int, Workload]]:
    """Return by what grows: the workload at each of its values."""
    widths = [8, 32, 128] if quick else [2**k for k in range(3, 12)]
    batches = [1, 8, 64] if quick else [2**k for k in range(13)]
    depths = [1, 2, 4] if quick else [1, 2, 4, 8, 16, 32]
    return {
        "n: width of n-n-n, batch 128": {n: sized("width", (n, n, n), 128) for n in widths},
        "m: batch of 784-100-10": {m: sized("batch", (784, 100, 10), m) for m in batches},
        "k: hidden layers of 128, batch 128": {
            k: sized("depth", (*[128] * (k + 1), 10), 128) for k in depths
        },
    }


def run_point(work: Workload, **how: Any) -> dict[str, Any]:
    """Time a step and its floor."""
    made = contenders("bpnet", work, problem(work))
    times = measure.race({name: made[name].run for name in ("bpnet", "floor")}, **how)
    return {
        "bpnet": Spread.of(times["bpnet"]),
        "floor": Spread.of(times["floor"]),
        "multiple": measure.ratio(times["bpnet"], times["floor"]),
    }


def slope(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log seconds over log values, by least squares."""
    x, y = [math.log(v) for v in values], [math.log(s) for s in seconds]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return across / sum((a - x_mean) ** 2 for a in x)


def run_sweep(points: Mapping[int, Workload], **how: Any) -> dict[str, Any]:
    """Time every point; the slopes are over the larger half."""
    timed = [{"value": value, **run_point(work, **how)} for value, work in points.items()]
    upper = timed[len(timed) // 2 - (len(timed) < 4) :]
    values = [point["value"] for point in upper]
    slopes = {side: slope(values, [point[side].median for point in upper]) for side in ("bpnet", "floor")}
    return {"points": timed, "slopes": slopes, "slopes_from": values[0]}


def train_on_files(pipe: Connection, folder: Path, rows: int) -> None:
    """Train for an epoch on files of so many rows: the life of a process that is watched."""
    import numpy as np

    import bpnet

    pipe.send("imported")
    pipe.recv()
    x = np.memmap(folder / "x", np.float32, "r", shape=(rows, INPUTS))
    y = np.memmap(folder / "y", np.float32, "r", shape=(rows, OUTPUTS))
    net = bpnet.MLP.init((INPUTS, 100, OUTPUTS), rng=0, dtype=np.float32)
    start = time.perf_counter()
    bpnet.fit(net, x, y, epochs=1, batch_size=BATCH, optimizer=bpnet.SGD(0.1), rng=0)
    pipe.send(time.perf_counter() - start)
    pipe.recv()


def memory_of(pid: int) -> dict[str, float]:
    """Return the memory of a process, as `measure.memory` does."""
    status = Path(f"/proc/{pid}/status")
    return measure.memory(status.read_text(encoding="utf-8") if status.exists() else "")


def watched(folder: Path, rows: int) -> dict[str, float]:
    """Train on files in a process of its own, and return how long it took and its memory."""
    spawn = multiprocessing.get_context("spawn")
    pipe, theirs = spawn.Pipe()
    process = spawn.Process(target=train_on_files, args=(theirs, folder, rows))
    process.start()
    theirs.close()
    pid = process.pid or 0
    pipe.recv()
    before = own = memory_of(pid)["own"]
    pipe.send("go")
    while not pipe.poll(POLL):
        own = max(own, memory_of(pid)["own"])
    seconds = pipe.recv()
    total = memory_of(pid)["peak"]
    pipe.send("end")
    process.join()
    return {"seconds": seconds, "own_before": before, "own": own, "total": total}


def run_memory(sizes: Sequence[float]) -> list[dict[str, float]]:
    """Return by size of the data, in bytes, what memory an epoch takes.

    The files are sparse: zeros that take no room on the disk, but are read like any others.
    """
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in sizes:
            rows = int(size / (INPUTS + OUTPUTS) / FLOAT32)
            for file, width in (("x", INPUTS), ("y", OUTPUTS)):
                with (folder / file).open("wb") as opened:
                    opened.truncate(rows * width * FLOAT32)
            data = rows * (INPUTS + OUTPUTS) * FLOAT32
            found.append({"rows": rows, "data": data, **watched(folder, rows)})
    return found


def megabytes(size: float) -> str:
    """Return a size in MB; 0 is one that is not known."""
    return f"{size / 1e6:.0f} MB" if size else "unknown"


def memory_row(result: Mapping[str, float]) -> list[str]:
    """Return a line of the table of memory."""
    shown = [megabytes(result[key]) for key in ("own_before", "own", "total")]
    return [megabytes(result["data"]), *shown, measure.in_words(result["seconds"])]


def sweep_row(point: Mapping[str, Any]) -> list[str]:
    """Return a line of a table of times."""
    value, multiple = point["value"], point["multiple"]
    return [str(value), point["bpnet"].as_time(), point["floor"].as_time(), str(multiple)]


def draw(found: Mapping[str, Any], memory: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw each sweep on logarithmic axes beside its floor, and memory over data."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(8.4, 6), layout="constrained")
    axes = figure.subplots(2, (len(found) + 2) // 2).ravel()
    for ax, (name, sweep) in zip(axes, found.items(), strict=False):
        values = [point["value"] for point in sweep["points"]]
        for side, style in (("bpnet", "o-"), ("floor", "s--")):
            times = [point[side].median for point in sweep["points"]]
            label = f"{side}, slope {sweep['slopes'][side]:.2f}"
            ax.plot(values, times, style, ms=4, label=label, color=COLOURS[side])
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_title(f"time of a step against {name}", size=9)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda seconds, _: measure.in_words(seconds))
        ax.legend(frameon=False, fontsize=8)
    ax = axes[-1]
    data = [result["data"] / GB for result in memory]
    for key, label, colour in (("own", "its own", "#1f5fa8"), ("total", "with the file's", "0.55")):
        ax.plot(data, [result[key] / 1e6 for result in memory], "o-", ms=4, label=label, c=colour)
    ax.set_title("memory in MB against data in GB, memmap", size=9)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=8)
    measure.save_picture(figure, path)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = measure.arguments(__doc__ or "", threads=measure.usable_cores())
    parser.add_argument("--largest", type=float, metavar="GB", help="size of the largest memmap (default 4)")
    asked = parser.parse_args()
    how = {"rounds": 15, "seconds": 0.01, "budget": 3.0}
    if asked.quick:
        how = {"rounds": 3, "seconds": 0.001, "budget": 1.0}
    machine = measure.begin(asked)
    found = {}
    for name, points in sweeps(quick=asked.quick).items():
        found[name] = sweep = run_sweep(points, **how)
        letter, _, what = name.partition(": ")
        head = [letter, "a step", "floor", "a step / floor"]
        print(f"\nTime against {letter}, the {what}: median [quartiles], float32, SGD\n")
        print(measure.table(head, [sweep_row(point) for point in sweep["points"]]))
        slopes = sweep["slopes"]
        print(
            f"\nSlope from {sweep['slopes_from']} on: {slopes['bpnet']:.2f}; "
            f"the floor's: {slopes['floor']:.2f}."
        )

    largest = asked.largest or (0.05 if asked.quick else 4.0)
    halvings = (4, 0) if asked.quick else (4, 3, 2, 1, 0)
    memory = run_memory([largest * GB / 2**k for k in halvings])
    head = ["data", "before", "own memory, at most", "with the file's pages", "an epoch"]
    print("\nMemory against the size of a memmap: 784-100-10, batch 128\n")
    print(measure.table(head, [memory_row(result) for result in memory]))
    grown = memory[-1]["own"] - memory[0]["own"]
    print(
        f"\nOwn memory grows by {grown / 1e6:.1f} MB while the data grow by "
        f"{megabytes(memory[-1]['data'] - memory[0]['data'])}."
    )
    measure.finish(
        asked, "few points, three short rounds each, small files", partial(draw, found, memory),
        benchmark="scaling", dtype="float32", machine=machine, time=found, memory=memory,
    )  # fmt: skip


if __name__ == "__main__":
    main()
