"""Seconds from arrays in memory to 97.5 % and to 98 % on MNIST's test images: what a user waits.

The same nets for all, 784-100-10 and 784-512-10 with ReLU and softmax, trained by Adam in float32:
first at a rate of 0.001 and batches of 32, bpnet's defaults, then at the best of a small grid for
each library, by the seconds to 97.5 % on the last 10,000 training images, which that training does
not see. Each run has a process of its own, whose clock starts when NumPy and the arrays are there:
importing the library, compiling and scoring after each epoch count. Kernels that numba has compiled
are on disk, but in the rows "first use".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import measure
import workers
from epochs import WAYS, missing
from peers import contenders
from workloads import DIGITS, Problem, Workload, start_weights

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from workloads import Array

GOALS = (0.975, 0.98)
HELD = 10_000  # training images on which settings are chosen
GRID = [(rate, batch) for rate in (1e-3, 2e-3) for batch in (32, 128)]  # the first is the default
RUNS = [*(way for way in WAYS if way != "PyTorch, flushed"), "compiled, first use"]
NETS = ((784, 100, 10), (784, 512, 10))


def accuracy(weights: list[Array], x: Array, labels: Array) -> float:
    """Return the part of the labels that a net's largest outputs are, by NumPy for all alike."""
    import numpy as np

    for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = np.maximum(x @ W.T + b, 0)
    return float(((x @ weights[-2].T + weights[-1]).argmax(axis=1) == labels).mean())


def child(told: dict[str, Any]) -> None:
    """Train once in this process, and print seconds and accuracy after each epoch."""
    workers.keep_to(told["threads"])
    import numpy as np

    with np.load(told["file"]) as file:
        x, y, labels, x_test, labels_test = (file[name] for name in file.files)
    work = Workload("", tuple(told["sizes"]), *DIGITS, "Adam", told["rate"], told["batch"], "epoch")
    W, b = (
        [array.astype(np.float32) for array in part]
        for part in start_weights(np.random.default_rng(told["seed"]), work.sizes)
    )
    order = np.random.default_rng(told["seed"]).permutation(len(x))  # since seeds differ by library
    first = np.unique(labels[order], return_index=True)[1]  # scikit-learn's first batch has all
    order = np.concatenate([order[first], np.delete(order, first)])
    data, course = Problem(x[order], y[order], labels[order], W, b), []
    begun = perf_counter()
    library, name = WAYS[told["way"].partition(",")[0]]
    contender = contenders(library, work, data, only=name)[name]

    def after() -> bool:
        found = accuracy(contender.weights(), x_test, labels_test)
        course.append((perf_counter() - begun, found))
        return found >= told["goal"]

    contender.training(told["epochs"], after)
    print(json.dumps(course))


def seconds_to(goal: float, course: list[tuple[float, float]]) -> float | None:
    """Return the seconds after which a training had reached an accuracy, if it did."""
    return next((seconds for seconds, found in course if found >= goal), None)


def run(told: dict[str, Any]) -> list[tuple[float, float]]:
    """Train once in a process of its own."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        if told["way"].endswith("first use"):
            environment["NUMBA_CACHE_DIR"] = folder
        command = [sys.executable, __file__, "--child", json.dumps(told)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{told['way']}: {done.stderr}")
    found: list[tuple[float, float]] = json.loads(done.stdout)
    return found


def digits(folder: str | None, quick: bool) -> list[Array]:
    """Return x, y and labels to train on, and x and labels to test: MNIST, or patterns in noise."""
    import numpy as np

    if folder is not None:
        from bpnet.datasets import load_mnist

        found = load_mnist(folder)
        parts = [found.x_train, found.y_train, found.labels_train, found.x_test, found.labels_test]
        return [part[:2000] for part in parts] if quick else parts
    rng, labels = np.random.default_rng(0), np.arange(1200) % 10
    x = rng.random((10, 784))[labels] * 0.3 + rng.random((1200, 784)) * 0.7
    x, y = x.astype(np.float32), np.eye(10, dtype=np.float32)[labels]
    return [x[:1000], y[:1000], labels[:1000], x[1000:], labels[1000:]]


def grid_choice(told: dict[str, Any], arrays: list[Array], held: int, ask: Callable[..., Any]) -> Any:
    """Return the rate and the batch with which a way is the first at 97.5 % on images held out."""
    x, y, labels = arrays[:3]
    ask(x[:-held], y[:-held], labels[:-held], x[-held:], labels[-held:])
    times = {}
    for rate, batch in GRID:
        course = run(told | {"rate": rate, "batch": batch, "goal": GOALS[0]})
        times[rate, batch] = seconds_to(GOALS[0], course) or 1e9
    return min(times, key=lambda setting: times[setting])


def main() -> None:
    """Measure, print, and write what was asked for."""
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
        return
    parser = measure.arguments(__doc__ or "", threads=measure.usable_cores())
    parser.add_argument("--data", metavar="DIR", help="MNIST's folder; without it only --quick")
    parser.add_argument("--seeds", type=measure.at_least_one, default=3, help="default 3")
    asked = parser.parse_args()
    if asked.data is None and not asked.quick:
        parser.error("--data is needed: the folder of MNIST's four files")
    machine, results = measure.begin(asked), []
    import numpy as np

    arrays = digits(asked.data, asked.quick)
    held, epochs = (100, 3) if asked.quick else (HELD, 40)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "digits.npz"))
        ways = [way for way in RUNS if find_spec("numba") or "compiled" not in way]
        for sizes in NETS[: 1 if asked.quick else 2]:
            for way in (way for way in ways if not missing(way.partition(",")[0])):
                told = {"way": way, "sizes": sizes, "file": file, "threads": asked.threads}
                told |= {"goal": GOALS[1], "epochs": epochs, "seed": 0}
                settings = {"default": GRID[0]}
                if not asked.quick and not way.endswith("first use"):
                    ask = lambda *parts: np.savez(file, *parts)  # noqa: E731
                    settings["best"] = grid_choice(told, arrays, held, ask)
                np.savez(file, *arrays)
                for name, (rate, batch) in settings.items():
                    print(f"{sizes}, {way}, {name}", file=sys.stderr, flush=True)
                    of = {"rate": rate, "batch": batch}
                    seeds = range(1 if asked.quick else asked.seeds)
                    courses = [run(told | of | {"seed": seed}) for seed in seeds]
                    results.append({"net": sizes, "way": way, "setting": name, **of, "courses": courses})
    rows = []
    for result in results:
        cells = []
        for goal in GOALS:
            found = [seconds_to(goal, course) for course in result["courses"]]
            reached = [seconds for seconds in found if seconds is not None]
            cells.append(f"{median(reached):.2f} ({len(reached)})" if reached else "never")
        net, setting = "-".join(map(str, result["net"])), f"{result['rate']:g}, {result['batch']}"
        rows.append([net, result["way"], result["setting"], setting, *cells])
    print("\nMedian seconds to an accuracy, and in brackets how many seeds reached it\n")
    print(measure.table(["net", "way", "setting", "rate, batch", "97.5 %", "98 %"], rows))
    measure.finish(
        asked, "three epochs on a thousand patterns", lambda path: None,
        benchmark="time_to_accuracy", threads=asked.threads, machine=machine, results=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
