"""A training step on a GPU, by CuPy's arrays, beside the same step on the processor, in float32."""

from __future__ import annotations

from importlib.util import find_spec
from time import perf_counter
from typing import Any

import measure

SIZES = {"784-100-10, batch 128": 128, "784-1000-1000-10, batch 4096": 4096}


def missing() -> str:
    """Return what this machine lacks, or nothing."""
    if find_spec("cupy") is None:
        return "CuPy is missing: pip install cupy-cuda12x, or the one for your CUDA"
    import cupy

    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "there is no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"there is no GPU that CuPy can use: {error}"


def seconds_of_a_step(name: str, xp: Any, wait: Any, steps: int) -> float:
    """Return the seconds of a step of Adam on arrays of a library."""
    import bpnet

    sizes = tuple(map(int, name.split(",")[0].split("-")))
    rules = {"activation": "relu", "output": "softmax", "loss": "cross_entropy"}
    start = bpnet.MLP.init(sizes, rng=0, dtype="float32", **rules)
    net = start.with_theta(xp.asarray(start.theta))
    x = xp.ones((SIZES[name], sizes[0]), xp.float32)
    y = xp.eye(10, dtype=xp.float32)[xp.arange(SIZES[name]) % 10]
    for epochs in (3, steps):  # the first are to warm up
        wait()
        begun = perf_counter()
        bpnet.fit(net, x, y, epochs=epochs, batch_size=None)
        wait()
    return (perf_counter() - begun) / steps


def main() -> None:
    """Measure, or say what is missing."""
    asked = measure.arguments(__doc__ or "", threads=measure.usable_cores()).parse_args()
    if lacks := missing():
        print(lacks)
        raise SystemExit(0 if asked.quick else 1)
    measure.begin(asked)
    import cupy
    import numpy as np

    for name in SIZES:
        steps = 5 if asked.quick else 200
        cpu = seconds_of_a_step(name, np, lambda: None, steps)
        gpu = seconds_of_a_step(name, cupy, cupy.cuda.Device().synchronize, steps)
        print(f"{name}: NumPy {measure.in_words(cpu)}, CuPy {measure.in_words(gpu)}")


if __name__ == "__main__":
    main()
