"""What the benchmarks share: the clock, the machine, the numbers' form, and the files.

NumPy reads its number of threads when it is imported, so a script imports this module first, calls
`set_threads`, and only then imports NumPy. This module itself imports nothing but Python's own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any, Self

Run = Callable[[int], object]  # takes the given number of steps
Clock = Callable[[Any, int], float]  # takes a contender and a number of steps; returns the seconds

LEAST_ROUNDS = 5  # quartiles of fewer say nothing
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMP_NUM_THREADS",
)


def set_threads(count: int) -> None:
    """Let every BLAS that NumPy may bring use so many threads.

    Raises
    ------
    RuntimeError
        If NumPy is imported already: it would not listen.
    """
    if "numpy" in sys.modules:
        raise RuntimeError("set_threads must be called before NumPy is imported")
    for name in THREAD_VARIABLES:
        os.environ[name] = str(count)


@dataclass(frozen=True)
class Spread:
    """The median of some measurements and their quartiles."""

    median: float
    lower: float
    upper: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of two or more measurements."""
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper, len(values))

    def __str__(self) -> str:
        digits = map(three_digits, (self.median, self.lower, self.upper))
        return "{} [{} .. {}]".format(*digits)

    def as_time(self) -> str:
        """Return seconds in the unit that suits their median."""
        unit, scale = unit_of(self.median)
        scaled = Spread(self.median * scale, self.lower * scale, self.upper * scale, self.rounds)
        return f"{scaled} {unit}"


def repeated(step: Callable[[], object]) -> Run:
    """Return what takes n steps, from what takes one."""

    def run(n: int) -> None:
        for _ in repeat(None, n):
            step()

    return run


def seconds_of(run: Run, n: int) -> float:
    """Return the seconds that n steps take, with the garbage collector held, as timeit does."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = perf_counter()
        run(n)
        return perf_counter() - start
    finally:
        if collecting:
            gc.enable()


def steps_for(run: Run, seconds: float) -> int:
    """Return a number of steps, a power of two, that takes so long twice running."""
    run(1)  # the first step may import, or fill a cache
    n = 1
    while seconds_of(run, n) < seconds or seconds_of(run, n) < seconds:
        n *= 2
    return n


def race(
    contenders: Mapping[str, Run], *, rounds: int, seconds: float, budget: float
) -> dict[str, list[float]]:
    """Time contenders in turn, in short rounds, so that a busy moment meets all of them.

    Parameters
    ----------
    contenders : mapping of str to callable
        Each takes as many steps as it is told.
    rounds : int
        How often each gets its turn.
    seconds : float
        How long a turn is at least; one step may take longer.
    budget : float
        Seconds after which no further round is begun, `LEAST_ROUNDS` excepted.

    Returns
    -------
    dict
        For each contender the seconds a step took, round by round.
    """
    steps = {name: steps_for(run, seconds) for name, run in contenders.items()}
    return turns(contenders, steps, rounds=rounds, budget=budget)


def turns(
    contenders: Mapping[str, Any],
    steps: Mapping[str, int],
    *,
    rounds: int,
    budget: float,
    clock: Clock = seconds_of,
) -> dict[str, list[float]]:
    """Time contenders in turn, each with its number of steps; the rest is as in `race`.

    The clock may ask a process of its own for the seconds: what a contender is, it alone knows.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    start = perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and perf_counter() - start > budget:
            break
        for name, contender in contenders.items():
            times[name].append(clock(contender, steps[name]) / steps[name])
    return times


def ratio(of: Sequence[float], to: Sequence[float]) -> Spread:
    """Return the spread of the quotients, round by round: a slow moment drops out of each."""
    return Spread.of([a / b for a, b in zip(of, to, strict=True)])


def machine() -> dict[str, Any]:
    """Describe where the measurements are made. NumPy must have been imported."""
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "blas_threads": os.environ.get(THREAD_VARIABLES[0], "as many as it likes"),
    }


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """Return the processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if told:
            return told
    return platform.processor() or platform.machine() or "unknown"


def memory(status: str) -> dict[str, float]:
    """Return a process's memory in bytes from the text of Linux's /proc/PID/status.

    "own" is what it has allocated now, "peak" the most it has had, pages of files included. They
    are 0 where the text does not say.
    """
    size = {"RssAnon": 0.0, "VmHWM": 0.0}
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name in size:
            size[name] = float(value.split()[0]) * 1024
    return {"own": size["RssAnon"], "peak": size["VmHWM"]}


def machine_line(described: Mapping[str, Any]) -> str:
    """Return the machine in words, for the screen."""
    return (
        f"{described['cpu']}, {described['cores']} cores, {described['system']}, "
        f"load {described['load']}\n{described['python']}, NumPy {described['numpy']}, "
        f"{described['blas']}, BLAS threads: {described['blas_threads']}"
    )


def unit_of(seconds: float) -> tuple[str, float]:
    """Return the unit in which a duration is shown, and how many of it a second has."""
    rounded = float(f"{seconds:.2e}")
    units = (("ns", 1e9), ("µs", 1e6), ("ms", 1e3))
    return next(((unit, scale) for unit, scale in units if rounded * scale < 1e3), ("s", 1.0))


def in_words(seconds: float) -> str:
    """Return a duration with three digits and its unit.

    >>> in_words(5.6e-6), in_words(0.9996), in_words(12)
    ('5.60 µs', '1.00 s', '12.0 s')
    """
    unit, scale = unit_of(seconds)
    return f"{three_digits(seconds * scale)} {unit}"


def three_digits(number: float) -> str:
    """Return a positive number rounded to three digits, or to a whole number.

    >>> three_digits(0.5), three_digits(9.996), three_digits(2345.6)
    ('0.500', '10.0', '2346')
    """
    exponent = int(f"{number:.2e}".partition("e")[2])
    return f"{number:.{max(0, 2 - exponent)}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def arguments(description: str, *, threads: int = 1) -> argparse.ArgumentParser:
    """Return a parser that knows the options which all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="seconds, not minutes: a smoke test")
    parser.add_argument(
        "--threads", type=at_least_one, default=threads, help="threads of the BLAS (default %(default)s)"
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the results there")
    parser.add_argument("--picture", type=new_picture, metavar="FILE", help="draw them (.png, .svg or .pdf)")
    return parser


def add_rows(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Let the parser know ``--rows``, and its help which rows there are."""
    numbered = "\n".join(f"{k:>4}  {name}" for k, name in enumerate(names, 1))
    parser.epilog = f"rows:\n{numbered}"
    known = range(1, len(names) + 1)
    parser.add_argument(
        "--rows", type=int, nargs="+", choices=known, default=known, metavar="N", help="these rows"
    )


def at_least_one(text: str) -> int:
    """Return a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of 1 or more")
    return int(text)


def new_file(name: str) -> Path:
    """Return the path, if a file can be there: found out before the measurement, not after."""
    path = Path(name)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder: name a file")
    return path


def new_picture(name: str) -> Path:
    """Return the path of a picture, if it can be drawn."""
    path = new_file(name)
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise argparse.ArgumentTypeError(f"{path}: the name must end in .png, .svg or .pdf")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("a picture needs matplotlib: pip install matplotlib")
    return path


def begin(asked: argparse.Namespace) -> dict[str, Any]:
    """Set the threads that were asked for, print where this runs, and return that.

    From here on NumPy may be imported.
    """
    set_threads(asked.threads)
    described = machine()
    print(machine_line(described))
    return described


def finish(asked: argparse.Namespace, quick: str, draw: Callable[[Path], None], **found: Any) -> None:
    """Say what a quick run left out, and write the files that were asked for.

    In JSON a `Spread` becomes an object of its numbers.
    """
    if asked.quick:
        print(f"\nQuick: {quick}. Not for quoting.")
    if asked.json:
        text = json.dumps({"quick": asked.quick} | found, indent=2, ensure_ascii=False, default=asdict)
        asked.json.write_text(text + "\n", encoding="utf-8")
    if asked.picture:
        draw(asked.picture)


def save_picture(figure: Any, path: Path, *, grid: str = "both") -> None:
    """Write a figure whose axes have a light grid, and no frame but below and to the left."""
    for ax in figure.axes:
        ax.grid(axis=grid, color="0.92")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def name_rows(ax: Any, names: Sequence[str], above: float = 0.5) -> None:
    """Write a name at each row of a picture, from the top down, without ticks or a frame."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -above)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def dots(ax: Any, spreads: Sequence[Spread], rows: Sequence[int], **how: Any) -> None:
    """Draw medians as dots with their quartiles, one a row."""
    ends = [[s.median - s.lower for s in spreads], [s.upper - s.median for s in spreads]]
    ax.errorbar([s.median for s in spreads], rows, xerr=ends, fmt="o", **how)
