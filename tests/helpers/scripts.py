"""Scripts as tests take them: imported, run, and asked in processes of their own."""

import importlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import bpnet

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DRAWS = pytest.mark.skipif(find_spec("matplotlib") is None, reason="drawing needs matplotlib")


def script(name):
    """Import a script by its name, as the scripts import each other."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(BENCHMARKS))
    return importlib.import_module(name)


def run_script(name, *arguments, warnings="error"):
    """Run a script, or one elsewhere by its path, in a process where NumPy is not imported yet."""
    package = Path(bpnet.__file__).resolve().parents[1]
    return subprocess.run(
        [sys.executable, "-W", warnings, BENCHMARKS / name, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(package), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def quick_run(out, name, *arguments, draws=True):
    """Run a script as quickly as it can; return the results that it wrote, and what it printed.

    Where matplotlib is there, a picture of them is drawn.
    """
    picture = out.with_suffix(".png")
    drawing = ["--picture", picture] if draws and find_spec("matplotlib") else []
    done = run_script(name, "--quick", "--json", out, *drawing, *arguments)
    assert done.returncode == 0, done.stderr
    assert not drawing or is_png(picture)
    return json.loads(out.read_text(encoding="utf-8")), done.stdout


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


@contextmanager
def process_of(kind, name):
    """Give the process of a library, `kind` being a benchmark's Library; skip if it is missing."""
    if find_spec(kind.modules.get(name, "bpnet")) is None:
        pytest.skip(f"{name} is not installed: the extra 'bench' brings it")
    worker = script("workers").Worker(kind, name, 1)
    yield worker
    worker.close()
