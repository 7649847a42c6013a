"""What the last bits of a result depend on beside the program: the versions and the machine."""

import os
import platform
from importlib.util import find_spec
from typing import Any

import numpy as np


def environment() -> dict[str, Any]:
    """Return what equal bits need beside equal seeds; None where it cannot be told.

    "bpnet", "numpy" and "python" are versions; "system", "cpu" and "vectors" name the machine.
    Sums round otherwise with another "blas" (the library that multiplies matrices), number of its
    "blas_threads" or "blas_kernel", which it chooses by the processor. These two are known by
    threadpoolctl (``pip install threadpoolctl``), or threads by an environment variable.
    """
    import bpnet  # by now it is there

    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    found = {
        "bpnet": bpnet.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": processor(),
        "vectors": " ".join(config.get("SIMD Extensions", {}).get("found", ())) or None,
        "blas": " ".join(map(str, (blas.get("name"), blas.get("version")))) if blas else None,
    }
    threads, kernel = threads_and_kernel()
    return {**found, "blas_threads": threads, "blas_kernel": kernel}


def processor() -> str | None:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            named = [line.split(":", 1)[1].strip() for line in file if line[:10] == "model name"]
    except OSError:  # of another system than Linux
        named = []
    return named[0] if named else platform.processor() or None


def threads_and_kernel() -> tuple[int | None, str | None]:
    """Return how many threads the BLAS uses, and the name of its kernel."""
    if find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]  # it has none

        found = [library for library in threadpool_info() if library["user_api"] == "blas"]
        found.sort(key=lambda library: "numpy" not in library["filepath"])  # others bring their own
        if found:
            return found[0]["num_threads"], found[0].get("architecture")
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name]), None
    return None, None


def differing(now: dict[str, Any], before: dict[str, Any]) -> str:
    """Return in words what differs, where both are known; empty if nothing does."""
    pairs = [(name, now[name], before.get(name)) for name in now]
    unequal = [(name, a, b) for name, a, b in pairs if None not in (a, b) and a != b]
    return "; ".join(f"{name} is {a}, but was {b}" for name, a, b in unequal)
