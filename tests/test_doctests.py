"""Every example of every docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import bpnet

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(bpnet.__path__, "bpnet.")
    if module.name != "bpnet.__main__"
)


def load(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name.startswith("bpnet"):
            raise
        pytest.skip(f"{name} needs {missing.name}, which is an extra")
    except ImportError as missing:
        if "pip install" not in str(missing):
            raise
        pytest.skip(f"{name}: {missing}")


@pytest.mark.parametrize("name", ["bpnet", *MODULES])
def test_examples_of(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example may write a file
    assert doctest.testmod(load(name)).failed == 0


def test_the_core_has_examples():
    for name in ("", ".mlp", ".rules.activations", ".rules.losses", ".reference"):
        tests = doctest.DocTestFinder().find(importlib.import_module(f"bpnet{name}"))
        assert any(test.examples for test in tests)
