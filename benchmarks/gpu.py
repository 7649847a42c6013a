"""A training step on a GPU, by CuPy's arrays, beside the same step on the processor, in float32."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import measure

SIZES = {"784-100-10, batch 128": 128, "784-1000-1000-10, batch 4096": 4096}


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five steps each")
    asked = parser.parse_args()
    if find_spec("cupy") is None or not import_module("cupy").is_available():
        print("this needs a GPU, and CuPy: pip install cupy-cuda12x, or the one for your CUDA")
        raise SystemExit(0 if asked.quick else 1)
    import cupy
    import numpy as np

    print(measure.machine_line(measure.machine()), cupy.cuda.runtime.getDeviceProperties(0)["name"])

    for name in SIZES:
        steps = 5 if asked.quick else 200
        cpu = seconds_of_a_step(name, np, lambda: None, steps)
        gpu = seconds_of_a_step(name, cupy, cupy.cuda.Device().synchronize, steps)
        print(f"{name}: NumPy {measure.in_words(cpu)}, CuPy {measure.in_words(gpu)}")


if __name__ == "__main__":
    main()
