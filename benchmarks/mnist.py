"""What bpnet reaches on MNIST, beside what books and papers report for such nets.

The first four rows are those of Nielsen, "Neural Networks and Deep Learning", chapters 1 and 3,
with his settings: the first 50,000 training images, sigmoid layers, start weights from N(0, 1).
His figure is the best epoch of the best run on the test images, so the same is compared with it;
beside it stands the mean of the last epochs, which is what a net scores that nobody picked.

The other rows train on all 60,000 images and score the last epoch, never one picked by its score.
Their settings were chosen on the last 10,000 training images, by nets that had not seen them. The
1.6 % error of 784-800-10 with cross-entropy is of Simard, Steinkraus & Platt, 2003, in LeCun's
table. Nothing is distorted or added to the images.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import measure

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from workloads import Array

    from bpnet import MLP
    from bpnet.datasets import MNIST

BOOK_IMAGES = 50_000
MEMORY_GOAL = 60e6  # bytes over the data and the bare interpreter with NumPy
DROPOUT = {1: 0.2, 2: 0.5}
CLASSIFIES = {"activation": "relu", "output": "softmax"}


class Row(NamedTuple):
    """A net, how it is trained, and what is reported for it elsewhere.

    Attributes
    ----------
    reported : float
        Test accuracy to compare with.
    by : str
        Who reports it.
    book : bool
        Whether it is trained and scored as in Nielsen's book.
    together : bool
        Whether the nets of all seeds are scored as one, by the mean of their outputs.
    """

    name: str
    sizes: tuple[int, ...]
    loss: str
    epochs: int
    batch: int
    rate: float
    reported: float
    by: str
    book: bool = True
    decay: float = 0.0  # Nielsen's λ: l2 is λ/n
    together: bool = False


ROWS = (
    Row("784-30-10 sigmoid, squared error", (784, 30, 10), "half_squared_error",
        30, 10, 3.0, 0.9542, "Nielsen"),
    Row("784-100-10 sigmoid, squared error", (784, 100, 10), "half_squared_error",
        30, 10, 3.0, 0.9659, "Nielsen"),
    Row("784-30-10 sigmoid, cross-entropy", (784, 30, 10), "binary_cross_entropy",
        30, 10, 0.5, 0.9649, "Nielsen", decay=5.0),
    Row("784-100-10 sigmoid, cross-entropy", (784, 100, 10), "binary_cross_entropy",
        60, 10, 0.1, 0.9804, "Nielsen", decay=5.0),
    Row("784-800-10 softmax, cross-entropy", (784, 800, 10), "cross_entropy",
        40, 128, 2e-3, 0.984, "Simard 2003", book=False),
    Row("784-1000-10, the nets together", (784, 1000, 10), "cross_entropy",
        50, 128, 2e-3, 0.987, "goal", book=False, together=True),
)  # fmt: skip


def book_start() -> Any:
    """Return the book's rule for start weights, which are large: N(0, 1), biases too."""
    from bpnet import Initializer

    def normal(rng: Any, shape: Any) -> Array:
        return rng.normal(size=shape)

    return Initializer("book", W=normal, b=normal)


def start(row: Row, seed: int) -> MLP:
    """Return the untrained net of a row, in float32."""
    from bpnet import MLP

    book = {"activation": "sigmoid", "initializer": book_start()}
    how: dict[str, Any] = book if row.book else CLASSIFIES
    return MLP.init(row.sizes, loss=row.loss, rng=seed, dtype="float32", **how)


def training(row: Row, images: int) -> dict[str, Any]:
    """Return what `fit` is told for a row."""
    from bpnet import SGD, Adam, CosineDecay

    if row.book:
        return {"optimizer": SGD(row.rate), "l2": row.decay / images}
    return {"optimizer": Adam(CosineDecay(row.rate, row.epochs)), "dropout": DROPOUT}


def train(row: Row, data: MNIST, seed: int) -> tuple[dict[str, Any], Array]:
    """Train one net; return its accuracy on the test images by epoch, and its last outputs."""
    from bpnet import fit

    images = slice(BOOK_IMAGES if row.book else None)
    x, y = data.x_train[images], data.y_train[images]
    net = start(row, seed)
    watched = {"validation": (data.x_test, data.y_test), "metrics": "accuracy"}
    how = training(row, len(x)) | watched
    history = fit(net, x, y, epochs=row.epochs, batch_size=row.batch, rng=seed, **how)
    accuracy = history.metrics["accuracy"]
    run = {"seed": seed, "seconds": sum(history.time), "accuracy": accuracy, "images": len(x)}
    return run, net.predict(data.x_test)


def run_row(row: Row, data: MNIST, seeds: int) -> dict[str, Any]:
    """Train the nets of a row and score them."""
    runs, outputs = [], []
    for seed in range(seeds):
        run, output = train(row, data, seed)
        last, seconds = run["accuracy"][-1], run["seconds"]
        print(f"  seed {seed}: {last:.2%} in {seconds:.0f} s", file=sys.stderr, flush=True)
        runs.append(run)
        outputs.append(output)
    return {
        "row": row.name,
        "epochs": row.epochs,
        "batch": row.batch,
        "runs": runs,
        **scores(row, runs, sum(outputs), data.labels_test),
        "reported": row.reported,
        "by": row.by,
    }


def scores(row: Row, runs: Sequence[Mapping[str, Any]], a: Array, labels: Array) -> dict[str, Any]:
    """Return the mean of the last epochs, the best run, and the figure to compare.

    a is the sum of all nets' outputs.
    """
    last = [run["accuracy"][-1] for run in runs]
    best_epoch = max(max(run["accuracy"]) for run in runs)
    together = float((a.argmax(axis=1) == labels).mean())
    mean = sum(last) / len(last)
    return {
        "mean": mean,
        "best": max(last),
        "best_epoch": best_epoch if row.book else None,
        "together": together if row.together else None,
        "seconds": sum(run["seconds"] for run in runs) / len(runs),
        "score": best_epoch if row.book else together if row.together else mean,
    }


def percent(share: float | None) -> str:
    """Return an accuracy in per cent."""
    return "" if share is None else f"{share:.2%}"


def row_of(result: Mapping[str, Any]) -> list[str]:
    """Return a line of the table."""
    sign = "≥" if result["score"] >= result["reported"] else "<"
    shares = [percent(result[key]) for key in ("mean", "best", "best_epoch", "together")]
    compared = f"{percent(result['score'])} {sign} {percent(result['reported'])}"
    nets, seconds = str(len(result["runs"])), measure.in_words(result["seconds"])
    return [result["row"], nets, *shares, seconds, compared, result["by"]]


HEAD = [
    "net", "nets", "last epoch, mean", "best net", "best epoch", "together", "a net", "here, there",
    "there",
]  # fmt: skip

BARE = "import numpy"
TRAINING = """
import sys
from bpnet import MLP, Adam, fit
from bpnet.datasets import load_mnist
data = load_mnist(sys.argv[1])
net = MLP.init((784, 100, 10), activation="relu", output="softmax", loss="cross_entropy",
               rng=0, dtype="float32")
fit(net, data.x_train, data.y_train, epochs=1, batch_size=128, optimizer=Adam(),
    validation=(data.x_test, data.y_test), metrics="accuracy")
"""


def peak_of(code: str, *arguments: str) -> float:
    """Return the most memory in bytes that Python needs to run some code, in a process of its own.

    0 where the system does not say: /proc is Linux's.
    """
    told = 'from pathlib import Path\nprint(Path("/proc/self/status").read_text())\n'
    if not Path("/proc/self/status").exists():
        return 0.0
    command = [sys.executable, "-c", f"{code}\n{told}", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return measure.memory(output)["peak"]


def run_memory(data: MNIST, folder: str) -> dict[str, float]:
    """Return the peak of training on MNIST, in bytes, and what it is made of."""
    arrays = [array for array in vars(data).values() if hasattr(array, "nbytes")]
    bare, peak, size = peak_of(BARE), peak_of(TRAINING, folder), sum(a.nbytes for a in arrays)
    return {"bare": bare, "data": float(size), "peak": peak, "over": peak - bare - size}


def run_allocations(data: MNIST) -> dict[str, float]:
    """Return what `fit` allocates at steady state, in bytes, by tracemalloc.

    Ten steps an epoch, so that what an epoch allocates can be told from what a step does: the order
    of the rows, eight bytes a row, and the entries of the history.
    """
    from bpnet import MLP, Adam, fit

    steps, batch, skipped = 10, 128, 3
    x, y = data.x_train[: steps * batch], data.y_train[: steps * batch]
    net = MLP.init((784, 100, 10), rng=0, dtype="float32", loss="cross_entropy", **CLASSIFIES)
    seen: list[tuple[int, int]] = []

    def look(training: Any) -> None:
        seen.append(tracemalloc.get_traced_memory())
        tracemalloc.reset_peak()

    tracemalloc.start()
    fit(net, x, y, epochs=20, batch_size=batch, optimizer=Adam(), callbacks=[look])
    tracemalloc.stop()
    kept, late = [now for now, _ in seen][skipped:], seen[skipped + 1 :]
    return {
        "kept_a_step": (kept[-1] - kept[0]) / (len(kept) - 1) / steps,
        "above": max(peak - before for (_, peak), before in zip(late, kept, strict=False)),
        "order": 8.0 * len(x),
        "batch": float(x[:batch].nbytes),
    }


def memory_lines(memory: Mapping[str, float], steady: Mapping[str, float]) -> str:
    """Return what was found on memory, in sentences."""
    first = "The peak of memory is not known here: it is read from Linux's /proc."
    if memory["peak"]:
        size = {key: f"{value / 1e6:.1f} MB" for key, value in memory.items()}
        sign = "≤" if memory["over"] <= MEMORY_GOAL else ">"
        first = (
            f"Training 784-100-10 in float32 peaks at {size['peak']}: the bare interpreter with\n"
            f"NumPy {size['bare']}, the data {size['data']}, and {size['over']} more "
            f"({sign} {MEMORY_GOAL / 1e6:.0f})."
        )
    above, order, batch = (f"{steady[key] / 1e3:.1f} kB" for key in ("above", "order", "batch"))
    return (
        f"{first}\nAt steady state a step of `fit` keeps {steady['kept_a_step']:.0f} bytes; an "
        f"epoch of ten steps has at most {above} in\nuse beside that, {order} of it the order of "
        f"the rows. The input of a batch would be {batch}."
    )


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the test errors: a dot a net, the figure that counts, and the one reported elsewhere."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 0.55 * len(results) + 1.3), layout="constrained")
    ax = figure.subplots()
    for row, result in enumerate(results):
        last = [100 * (1 - run["accuracy"][-1]) for run in result["runs"]]
        here, there = 100 * (1 - result["score"]), 100 * (1 - result["reported"])
        first = row == 0
        labels = ["a net, last epoch", "the figure that counts", "reported"] if first else [None] * 3
        ax.plot(last, [row] * len(last), "o", ms=5, color="0.7", label=labels[0])
        ax.plot(here, row, "o", ms=8, color="#1f5fa8", label=labels[1])
        ax.plot(there, row, "|", ms=18, mew=2, color="#b5541c", label=labels[2])
    measure.name_rows(ax, [result["row"] for result in results])
    ax.set_xlim(left=0)
    ax.set_xlabel("errors on the test images, %")
    ax.legend(frameon=False, loc="upper right", fontsize=8, markerscale=0.7)
    measure.save_picture(figure, path, grid="x")


def options() -> Any:
    """Return what the command line asks for."""
    parser = measure.arguments(__doc__ or "", threads=measure.usable_cores())
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="the folder of MNIST's files; without it --quick takes noise of that shape",
    )
    measure.add_rows(parser, [row.name for row in ROWS])
    parser.add_argument("--seeds", type=measure.at_least_one, help="nets a row (default 3, and 5 together)")
    asked = parser.parse_args()
    if asked.data is None and not asked.quick:
        parser.error("--data is needed: the folder of MNIST's four files")
    return asked


def write_noise(folder: str) -> None:
    """Write four files as MNIST's are, of noise: enough to see that everything runs."""
    import numpy as np

    rng = np.random.default_rng(0)
    for name, count in (("train", 1300), ("t10k", 200)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, 10, count, np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = np.array([0x800 + array.ndim, *array.shape], ">u4")
            Path(folder, f"{name}-{kind}-ubyte").write_bytes(head.tobytes() + array.tobytes())


def shortened(data: MNIST) -> MNIST:
    """Return a thousand training images and as many test images, for a smoke test."""
    return type(data)(**{name: array[:1000] for name, array in vars(data).items()})


def main() -> None:
    """Train, print, and write what was asked for."""
    asked = options()
    machine = measure.begin(asked)
    from bpnet.datasets import load_mnist

    with tempfile.TemporaryDirectory() as folder:
        if asked.data is None:
            write_noise(folder)
        folder = asked.data or folder
        data = load_mnist(folder)
        memory, steady = run_memory(data, folder), run_allocations(data)
    print("", memory_lines(memory, steady), sep="\n")

    data = shortened(data) if asked.quick else data
    results = []
    for k in asked.rows:
        row = ROWS[k - 1]._replace(epochs=1) if asked.quick else ROWS[k - 1]
        seeds = asked.seeds or (1 if asked.quick else 5 if row.together else 3)
        print(f"{k} of {len(ROWS)}: {row.name}", file=sys.stderr, flush=True)
        results.append(run_row(row, data, seeds))
    print(f"\nAccuracy on the {len(data.x_test)} test images, float32\n")
    print(measure.table(HEAD, [row_of(result) for result in results]))
    print(
        "\nNielsen's figure is the best epoch of his best net, so the best epoch here is compared. "
        "The\nothers are scored at the last epoch: the mean of the nets, or all together."
    )
    measure.finish(
        asked, "one epoch on a thousand images", partial(draw, results),
        benchmark="mnist", dtype="float32", machine=machine, memory=memory, allocations=steady,
        results=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
