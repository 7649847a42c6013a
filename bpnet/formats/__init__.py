"""Nets in other forms: for PyTorch, ONNX, scikit-learn and C, and as files of numbers and of text.

    from bpnet import formats

    module = formats.to_torch(net)                     net = formats.from_torch(module)
    estimator = formats.to_sklearn(net)                net = formats.from_sklearn(estimator)
    formats.to_safetensors(net, "net.safetensors")     net = formats.from_safetensors(path)
    formats.to_json(net, "net.json")                   net = formats.from_json(path)
    formats.to_onnx(net, "net.onnx", scaler=scaler)
    formats.to_c(net, "net.h", scaler=scaler)

Each takes one network of bpnet's own activations with real weights (a stack: ``net[k]``, one
after the other) and says in words what its format cannot hold. What comes out computes a^L as
`MLP.predict` does, in the net's own dtype; ``net.astype("float32")`` first makes it small. A file
is written whole or not at all, and an older one survives a failed write. The format of `MLP.save`
and `load`, .npz, is the one that holds everything, stacks and complex weights too.

Nothing is imported until it is used: PyTorch, ONNX, safetensors and scikit-learn are needed only by
the functions that bear their names (ImportError says how to install them); JSON and C need NumPy
alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpnet.formats.c import to_c
    from bpnet.formats.json import from_json, to_json
    from bpnet.formats.onnx import to_onnx
    from bpnet.formats.safetensors import from_safetensors, to_safetensors
    from bpnet.formats.sklearn import from_sklearn, to_sklearn
    from bpnet.formats.torch import from_torch, to_torch

__all__ = [
    "from_json",
    "from_safetensors",
    "from_sklearn",
    "from_torch",
    "to_c",
    "to_json",
    "to_onnx",
    "to_safetensors",
    "to_sklearn",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bpnet.formats' has no attribute {name!r}")
    module = import_module(f"{__name__}.{name.split('_')[1]}")  # each lives under its format's name
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
