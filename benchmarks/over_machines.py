"""What a step costs on a Dask cluster, and from which size on n workers pay.

A worker is a process of its own on this machine, with one BLAS thread; it stands for a machine.
Full-batch steps of SGD on 784-100-10 in float32, by `fit` in one process and
by `fit_on_dask` on the same rows, made on the workers, a part for each. What Dask adds to a step
hardly depends on the rows, so that the smallest size shows it.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import measure
from measure import in_words

INPUTS, OUTPUTS = 784, 10


def part(k: int, rows: int) -> Any:
    """Return part k: a task makes it where it is needed."""
    import numpy as np

    rng = np.random.default_rng(k)
    x = rng.random((rows, INPUTS), dtype=np.float32)
    return x, np.eye(OUTPUTS, dtype=np.float32)[rng.integers(OUTPUTS, size=rows)]


def seconds_of_a_step(workers: int, rows: int, steps: int, client: Any = None) -> float:
    """Return the median over steps, by `fit` without a client, else on the cluster."""
    import numpy as np

    import bpnet
    from bpnet.distributed import fit_on_dask

    rules = {"activation": "relu", "output": "softmax", "loss": "cross_entropy"}
    net = bpnet.MLP.init((INPUTS, 100, OUTPUTS), dtype="float32", rng=0, **rules)
    how = {"epochs": steps + 1, "optimizer": bpnet.SGD(0.01), "batch_size": None}
    loads = [partial(part, k, rows // workers) for k in range(workers)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Dask does not pay is what is measured here
        if client is None:
            x, y = map(np.concatenate, zip(*(load() for load in loads), strict=True))
            history = bpnet.fit(net, x, y, **how)
        else:
            history = fit_on_dask(net, loads, client=client, **how)
    return median(history.time[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two sizes, three steps each")
    parser.add_argument("--workers", type=measure.at_least_one, default=2, metavar="N")
    asked = parser.parse_args()
    if find_spec("distributed") is None:
        raise SystemExit("this needs Dask: pip install 'dask[array]' distributed")
    measure.set_threads(1)
    print(measure.machine_line(measure.machine()))
    from distributed import Client, LocalCluster

    sizes, steps = ((64, 1024), 3) if asked.quick else ([64 * 4**k for k in range(6)], 15)
    found: list[dict[str, Any]] = [{"rows": rows} for rows in sizes]
    for row in found:
        row["fit"] = seconds_of_a_step(asked.workers, row["rows"], steps)
    for workers in sorted({1, asked.workers}):
        how = {"threads_per_worker": 1, "dashboard_address": None}
        cluster = LocalCluster(n_workers=workers, **how)
        with cluster, Client(cluster, set_as_default=False) as client:
            for row in found:
                seconds = seconds_of_a_step(workers, row["rows"], steps, client)
                row[f"Dask, {workers} workers"] = seconds
    names = [name for name in found[0] if name != "rows"]
    print("\nA step, the median: 784-100-10, float32, SGD, full batch\n")
    rows = [[str(row["rows"]), *(in_words(row[name]) for name in names)] for row in found]
    print(measure.table(["rows", *names], rows))
    pays = [row["rows"] for row in found if row[names[-1]] < row["fit"]]
    own, each = found[0][names[-1]] - found[0]["fit"], found[-1]["fit"] / found[-1]["rows"]
    print(f"\nDask's own share of a step: {in_words(max(own, 1e-9))}.")
    if asked.workers > 1:
        even = own / (each * (1 - 1 / asked.workers))
        print(f"By that {asked.workers} workers pay from some {even:.0f} rows on;", end=" ")
    print(f"they did at {pays[0]} rows." if pays else "they did at none of these sizes.")


if __name__ == "__main__":
    main()
