"""Backpropagation from formula to code, in NumPy matrix products.

>>> from bpnet import MLP
>>> net = MLP.init((2, 2, 2), rng=0)
>>> cache = net.forward([0.05, 0.10])
>>> grad = net.backward(cache, [0.01, 0.99])
>>> net.theta -= 0.5 * grad.theta
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.2.0.dev0"

# The public names stand once, in the stub beside this file. They are loaded on first use, so that
# `import bpnet` costs little over NumPy.
_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_MODULE_OF = {name: module for module, name in re.findall(r"^from (\S+) import (\w+) as", _STUB, re.M)}
__all__ = sorted(_MODULE_OF)  # a list it is


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bpnet' has no attribute {name!r}")
    home = _MODULE_OF[name]
    value = import_module(f"bpnet.{name}") if home == "bpnet" else getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return ["__version__", *__all__]
