"""The same code, both libraries: scikit-learn's MLP and bpnet's, on the data scikit-learn brings.

A fit is of the whole pipeline, scaler and MLP, with the parameters that both have by default, but
for the end: every fit takes the same number of epochs (n_iter_), 200 unless asked otherwise. The
folds of a cross-validation are equal for both; each seed draws its own folds and start weights. The
two take turns, fit by fit, in changing order. A score is accuracy, or R² of the diabetes; "noise"
is twice the standard error of the differences, of which each seed gives one, the mean over its
folds. A time ratio is of a pair of fits: median [quartiles].
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import measure
from measure import Spread

if TYPE_CHECKING:
    from pathlib import Path

SETS = ("digits", "breast cancer", "wine", "iris", "diabetes")
SOLVERS = ("adam", "sgd", "lbfgs")
LIBRARIES = {"scikit-learn": "sklearn.neural_network", "bpnet": "bpnet.estimators"}
FOLDS = 5


def load(name: str) -> tuple[Any, Any]:
    """Return X and y of a set."""
    from sklearn import datasets

    loader = getattr(datasets, f"load_{name.replace(' ', '_')}")
    X, y = loader(return_X_y=True)
    return X, y


def model(library: str, name: str, solver: str, epochs: int, seed: int) -> Any:
    """Return the pipeline of a library: this is the code that is the same."""
    from importlib import import_module

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    module = import_module(LIBRARIES[library])
    kind = module.MLPRegressor if name == "diabetes" else module.MLPClassifier
    ends = {"max_iter": epochs, "n_iter_no_change": float("inf")}
    if solver == "lbfgs":
        ends = {"max_iter": epochs}
    net = make_pipeline(StandardScaler(), kind(solver=solver, random_state=seed, **ends))
    if name == "diabetes":
        return TransformedTargetRegressor(net, transformer=StandardScaler())
    return net


def folds(name: str, y: Any, seed: int) -> Any:
    """Return the folds of a cross-validation."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = KFold if name == "diabetes" else StratifiedKFold
    return kind(FOLDS, shuffle=True, random_state=seed).split(y, y)


def epochs_of(fitted: Any) -> int:
    """Return n_iter_ of the MLP in a fitted pipeline."""
    return int(getattr(fitted, "regressor_", fitted)[-1].n_iter_)


def run_set(name: str, solver: str, *, epochs: int, seeds: int) -> dict[str, Any]:
    """Cross-validate both libraries on a set."""
    X, y = load(name)
    scores: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    seconds: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    taken: dict[str, list[int]] = {library: [] for library in LIBRARIES}
    for seed in range(seeds):
        for fold, (train, test) in enumerate(folds(name, y, seed)):
            order = list(LIBRARIES) if (seed + fold) % 2 else list(LIBRARIES)[::-1]
            for library in order:
                one = model(library, name, solver, epochs, seed)
                start = perf_counter()
                one.fit(X[train], y[train])
                seconds[library].append(perf_counter() - start)
                scores[library].append(float(one.score(X[test], y[test])))
                taken[library].append(epochs_of(one))
    theirs, ours = LIBRARIES
    pairs = zip(scores[ours], scores[theirs], strict=True)
    each = [mine - other for mine, other in pairs]
    differences = [statistics.mean(each[k : k + FOLDS]) for k in range(0, len(each), FOLDS)]
    spread = statistics.stdev(differences) if seeds > 1 else statistics.stdev(each)
    return {
        "set": name,
        "solver": solver,
        "epochs": {library: statistics.mean(taken[library]) for library in LIBRARIES},
        "score": {library: statistics.mean(scores[library]) for library in LIBRARIES},
        "difference": statistics.mean(differences),
        "noise": 2 * spread / seeds**0.5,
        "seconds": {library: Spread.of(seconds[library]) for library in LIBRARIES},
        "faster": measure.ratio(seconds[theirs], seconds[ours]),
    }


def row_of(result: dict[str, Any]) -> list[str]:
    """Return a line of the table."""
    theirs, ours = LIBRARIES
    epochs = sorted({f"{n:g}" for n in result["epochs"].values()})
    return [
        result["set"],
        result["solver"],
        " / ".join(epochs),
        f"{result['score'][theirs]:.4f}",
        f"{result['score'][ours]:.4f}",
        f"{result['difference']:+.4f} ± {result['noise']:.4f}",
        measure.in_words(result["seconds"][theirs].median),
        measure.in_words(result["seconds"][ours].median),
        f"{result['faster']} ×",
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table in Markdown."""
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def remarks(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return where bpnet is worse beyond noise, or slower."""
    lines = []
    for result in results:
        name = f"{result['set']} by {result['solver']}"
        if result["difference"] < -result["noise"]:
            lines.append(f"{name}: the score is lower beyond noise.")
        if result["faster"].median < 1:
            lines.append(f"{name}: slower.")
    return lines or ["No score is lower beyond noise, and no fit slower."]


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw how many times faster each fit is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 0.9 + 0.4 * len(results)), layout="constrained")
    ax = figure.subplots()
    for k, result in enumerate(results):
        spread = result["faster"]
        ax.plot((spread.lower, spread.upper), (k, k), color="#7d9cc0", lw=4)
        ax.plot(spread.median, k, "o", color="#1f5fa8", ms=7)
    ax.axvline(1, color="0.35", lw=1.2)
    measure.name_rows(ax, [f"{result['set']}, {result['solver']}" for result in results])
    ax.set_xlim(left=0)
    ax.set_xlabel("how many times faster than scikit-learn a fit is")
    measure.save_picture(figure, path, grid="x")


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = measure.arguments(__doc__ or "")
    parser.add_argument("--seeds", type=measure.at_least_one, default=5, help="default %(default)s")
    parser.add_argument("--epochs", type=measure.at_least_one, default=200, help="of each fit")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=["adam"])
    asked = parser.parse_args()
    seeds, epochs = (1, 3) if asked.quick else (asked.seeds, asked.epochs)
    machine = measure.begin(asked)
    import sklearn

    print(f"scikit-learn {sklearn.__version__}")
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no fit is to converge
        for solver in asked.solvers:
            for name in asked.sets:
                print(f"{name}, {solver}", file=sys.stderr, flush=True)
                results.append(run_set(name, solver, epochs=epochs, seeds=seeds))
    theirs, ours = LIBRARIES
    head = ["set", "solver", "n_iter_", f"score, {theirs}", f"score, {ours}", "difference ± noise"]
    head += [f"a fit, {theirs}", f"a fit, {ours}", "faster, median [quartiles]"]
    print(f"\n{seeds} × {FOLDS} fits each\n\n{markdown(head, [row_of(r) for r in results])}\n")
    print(*remarks(results), sep="\n")
    measure.finish(
        asked, "one seed, three epochs", partial(draw, results), benchmark="vs_sklearn",
        seeds=seeds, folds=FOLDS, threads=asked.threads, machine=machine,
        versions={"scikit-learn": sklearn.__version__}, results=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
