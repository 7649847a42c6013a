"""Where the time of a training step goes: the steps of `vs_peers.py`, part by part.

The step is the one that `fit` takes; a clock stands around each call that computes something in it.
The products are those that the floor of `vs_peers.py` times alone; here they stand among all the
rest, which takes the caches. "between" is the Python from call to call and the clocks' own share,
some 0.15 µs a call; the step without clocks stands beside the sum.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any
from unittest import mock

import measure
from peers import Bpnet
from workloads import WORKLOADS, problem

if TYPE_CHECKING:
    from workloads import Workload

STEPS = [work for work, _ in WORKLOADS if work.kind == "step"]
PARTS = {
    "products": "#1f5fa8",
    "biases": "#7d9cc0",
    "f and f'": "#3f8f5f",
    "loss": "#9cc08d",
    "optimiser": "#c23b22",
    "finite?": "#d98c1f",
    "θ": "#e5c07b",
    "between": "#bbbbbb",
}
Call = Callable[..., Any]


class Clocks:
    """The seconds spent in each part."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(PARTS, 0.0)

    def around(self, part: str, call: Call) -> Call:
        """Return the call with a clock around it."""
        spent = self.spent

        def timed(*given: Any) -> Any:
            start = perf_counter()
            result = call(*given)
            spent[part] += perf_counter() - start
            return result

        return timed

    def around_made(self, part: str, make: Call) -> Call:
        """Return what makes one call or several, so that each comes with a clock."""

        def made(*given: Any) -> Any:
            calls = make(*given)
            if callable(calls):
                return self.around(part, calls)
            return tuple(self.around(part, call) for call in calls)

        return made

    @contextmanager
    def inside(self, ours: Bpnet) -> Iterator[Call]:
        """Give the step with clocks inside it."""
        from bpnet import mlp
        from bpnet.network import cache
        from bpnet.rules import update

        m = len(ours.data.x)
        dot = ours.net.parameters.dot
        product, total = self.around("products", dot), self.around("biases", dot)

        def either(A: Any, B: Any, out: Any) -> None:
            (total if m > 1 and A.shape == (1, m) else product)(A, B, out)

        clocks = [
            (mlp, "add", "biases", self.around),
            (cache, "multiply", "loss", self.around),  # by each sample's share in the mean
            (cache, "layer_kernels", "f and f'", self.around_made),
            (cache, "output_kernels", "loss", self.around_made),
            (update, "sum_of_squares", "finite?", self.around_made),
            (update, "subtract", "θ", self.around),
            (ours.optimizer, "compute", "optimiser", self.around),
        ]
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(ours.net.parameters, "dot", either))
            for where, name, part, put in clocks:
                with_clock = put(part, getattr(where, name))
                stack.enter_context(mock.patch.object(where, name, with_clock))
            yield ours.made_step()


def run_row(work: Workload, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Return the median seconds of a step, with and without clocks, and of each part."""
    import numpy as np

    plain, clocked, clocks = Bpnet(work, problem(work)), Bpnet(work, problem(work)), Clocks()
    compiled = Bpnet(work, problem(work), compiled=find_spec("numba") is not None)
    y, times, once, parts = plain.data.y, [], [], []
    with np.errstate(all="ignore"):  # as `fit` does
        n = measure.steps_for(plain.run, seconds)
        for _ in range(rounds):
            for one, found in ((plain, times), (compiled, once)):
                one.reset()
                one.run(n)
                found.append(measure.seconds_of(one.run, n) / n)
            clocked.reset()
            with clocks.inside(clocked) as take:
                for _ in range(n):
                    take(y, None)
                clocks.spent.update(dict.fromkeys(PARTS, 0.0))
                start = perf_counter()
                for _ in range(n):
                    take(y, None)
                whole = perf_counter() - start
            spent = {part: spent / n for part, spent in clocks.spent.items()}
            spent["between"] = whole / n - sum(spent.values())
            parts.append(spent)
    return {
        "workload": work.name,
        "step": median(times),
        "compiled": median(once) if compiled.compiled else None,
        "parts": {part: median(found[part] for found in parts) for part in PARTS},
    }


def row_of(result: dict[str, Any]) -> list[str]:
    """Return a line of the table."""
    each = [f"{result['parts'][part] * 1e6:.1f}" for part in PARTS]
    total = sum(result["parts"].values())
    compiled = f"{result['compiled'] * 1e6:.1f}" if result["compiled"] else ""
    step = f"{result['step'] * 1e6:.1f}"
    return [result["workload"], *each, f"{total * 1e6:.1f}", step, compiled]


def draw(results: list[dict[str, Any]], path: Any) -> None:
    """Draw the parts of each step as shares of it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 0.5 + 0.42 * len(results)), layout="constrained")
    ax = figure.subplots()
    totals = [sum(result["parts"].values()) for result in results]
    left = [0.0] * len(results)
    for part, colour in PARTS.items():
        shares = [r["parts"][part] / total for r, total in zip(results, totals, strict=True)]
        ax.barh(range(len(results)), shares, left=left, color=colour, label=part)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    measure.name_rows(ax, [result["workload"] for result in results])
    ax.set(xlim=(0, 1))
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    figure.legend(loc="outside upper center", ncols=len(PARTS), frameon=False)
    measure.save_picture(figure, path)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = measure.arguments(__doc__ or "", threads=measure.usable_cores())
    measure.add_rows(parser, [work.name for work in STEPS])
    asked = parser.parse_args()
    rounds, seconds = (2, 0.001) if asked.quick else (15, 0.1)
    machine = measure.begin(asked)
    results = []
    for row in asked.rows:
        work = STEPS[row - 1]
        print(f"{row} of {len(STEPS)}: {work.name}", file=sys.stderr, flush=True)
        results.append(run_row(work, rounds=rounds, seconds=seconds))
    print("\nParts of a step: medians in µs, float32\n")
    head = ["workload", *PARTS, "sum", "no clocks", "compiled"]
    print(measure.table(head, [row_of(result) for result in results]))
    measure.finish(
        asked, "two short rounds", partial(draw, results),
        benchmark="parts", dtype="float32", machine=machine, results=results,
    )  # fmt: skip


if __name__ == "__main__":
    main()
