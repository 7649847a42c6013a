"""What a result depends on, as far as it can be told."""

import platform
import sys
import types

import numpy as np
import pytest

import bpnet
from bpnet import machine


def test_environment_names_versions_blas_and_processor():
    found = bpnet.environment()
    assert found["bpnet"] == bpnet.__version__
    assert (found["numpy"], found["python"]) == (np.__version__, platform.python_version())
    assert platform.system() in found["system"]
    assert list(found)[-3:] == ["blas", "blas_threads", "blas_kernel"]
    assert all(value is None or isinstance(value, (str, int)) for value in found.values())
    assert found["blas"] is None or found["blas"].split()[0] in str(np.show_config("dicts"))


def library(path, threads, **more):
    return {"user_api": "blas", "filepath": path, "num_threads": threads, **more}


def test_of_several_libraries_it_is_numpys(monkeypatch):
    openmp = {"user_api": "openmp", "filepath": "numpy/libgomp.so", "num_threads": 9}
    found = [openmp, library("scipy.libs/b.so", 3, architecture="Haswell")]
    fake = types.SimpleNamespace(threadpool_info=lambda: found)
    monkeypatch.setitem(sys.modules, "threadpoolctl", fake)
    monkeypatch.setattr(machine, "find_spec", lambda name: fake)
    assert machine.threads_and_kernel() == (3, "Haswell")
    found.append(library("numpy.libs/a.so", 2))
    assert machine.threads_and_kernel() == (2, None)


@pytest.mark.parametrize(("given", "threads"), [({}, None), ({"OMP_NUM_THREADS": "3"}, 3)])
def test_without_threadpoolctl_the_variables_tell(monkeypatch, given, threads):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert machine.threads_and_kernel() == (threads, None)


def test_what_differs_is_told_where_both_are_known():
    now = {"numpy": "2", "blas_threads": 2, "blas_kernel": None, "new": 1}
    before = {"numpy": "2", "blas_threads": 4, "blas_kernel": "Zen"}
    assert machine.differing(now, before) == "blas_threads is 2, but was 4"
    assert machine.differing(now, now) == ""
