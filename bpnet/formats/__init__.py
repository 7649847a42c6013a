"""Nets in other forms: for PyTorch, ONNX, scikit-learn and C, and as files of numbers and of text.

    from bpnet import formats

    module = formats.to_torch(net)                     net = formats.from_torch(module)
    estimator = formats.to_sklearn(net)                net = formats.from_sklearn(estimator)
    formats.to_safetensors(net, "net.safetensors")     net = formats.from_safetensors(path)
    formats.to_json(net, "net.json")                   net = formats.from_json(path)
    formats.to_onnx(net, "net.onnx", scaler=scaler)
    formats.to_c(net, "net.h", scaler=scaler)

Each takes one network of bpnet's own activations with real weights (a stack: ``net[k]``, one
after the other), or raises a TypeError or ValueError that says what its format cannot hold. What
comes out computes a^L as `MLP.predict` does, in the net's own dtype; ``net.astype("float32")``
first makes it small. A file is written whole or not at all, and an older one survives a failed
write. The format of `MLP.save` and `load`, .npz, is the one that holds everything, stacks and
complex weights too.

PyTorch, ONNX, safetensors and scikit-learn are needed only by the functions that bear their names,
and imported when these are called; JSON and C need NumPy alone.
"""

from bpnet.formats.c import to_c as to_c
from bpnet.formats.json import from_json as from_json
from bpnet.formats.json import to_json as to_json
from bpnet.formats.onnx import to_onnx as to_onnx
from bpnet.formats.safetensors import from_safetensors as from_safetensors
from bpnet.formats.safetensors import to_safetensors as to_safetensors
from bpnet.formats.sklearn import from_sklearn as from_sklearn
from bpnet.formats.sklearn import to_sklearn as to_sklearn
from bpnet.formats.torch import from_torch as from_torch
from bpnet.formats.torch import to_torch as to_torch
