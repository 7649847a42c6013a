"""ONNX: a net as a graph that ONNX Runtime and other engines run.

The input is ``x``, (batch, n_1), the output ``a``, (batch, n_L), with any number of rows, both in
the net's dtype: a float64 net takes float64 numbers, and one for engines that know float32 alone is
made by ``to_onnx(net.astype("float32"))``::

    session = onnxruntime.InferenceSession("net.onnx")
    (a,) = session.run(None, {"x": x.astype("float32")})

Each layer is a Gemm with the tensors ``W2``, ``b2``, ... and the operators of its activation; z^l
and a^l go by the names ``z2``, ``a2``, .... Opset 17, IR version 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet import __version__
from bpnet.archive import StrPath
from bpnet.arrays import Array
from bpnet.formats.shared import check_single, optional, with_scaler, write
from bpnet.mlp import MLP
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK, largest_exponent

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 10


def to_onnx(net: MLP, path: StrPath | None = None, *, scaler: Any = None) -> onnx.ModelProto:
    """Return a net as an ONNX model, and write it to a file if asked; `scaler` as in `to_c`."""
    check_single(net, "to_onnx")
    onnx = optional("onnx", "to_onnx")
    helper, scaled = onnx.helper, with_scaler(net, scaler)
    kind = helper.np_dtype_to_tensor_dtype(net.dtype)
    ends = (
        [helper.make_tensor_value_info(name, kind, ["batch", n])]
        for name, n in (("x", net.sizes[0]), ("a", net.sizes[-1]))
    )
    graph = helper.make_graph([], "net", *ends, doc_string=repr(net))
    a = Tensor(onnx, graph, net.dtype, "x")
    for l, f in net.activation.items():
        W, b = a.constant(scaled.W[l], f"W{l}"), a.constant(scaled.b[l], f"b{l}")
        z = a("Gemm", W, b, transB=1).named(f"z{l}")
        a = RULES[f.name](z).named("a" if l == net.L else f"a{l}")
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bpnet",
        producer_version=__version__,
    )
    onnx.checker.check_model(model)
    write(path, model.SerializeToString())
    return model  # type: ignore[no-any-return]


@dataclass
class Tensor:
    """A tensor of a graph, of one dtype with all others: what is computed from it adds nodes."""

    onnx: Any
    graph: Any  # onnx.GraphProto
    dtype: np.dtype[Any]
    name: str

    def __call__(self, operator: str, *others: Tensor | float, **attributes: Any) -> Tensor:
        """Add a node whose first input this is."""
        inputs = (t if isinstance(t, Tensor) else self.constant(t) for t in others)
        names = [self.name, *(tensor.name for tensor in inputs)]
        out = f"{operator}{len(self.graph.node)}"
        node = self.onnx.helper.make_node(operator, names, [out], out, **attributes)
        self.graph.node.append(node)
        return replace(self, name=out)

    def constant(self, value: Array | float, name: str = "") -> Tensor:
        """Add a constant."""
        constant = replace(self, name=name or f"c{len(self.graph.initializer)}")
        array = np.array(value, self.dtype, order="C")
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(array, constant.name))
        return constant

    def __add__(self, other: Tensor | float) -> Tensor:
        return self("Add", other)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return self("Mul", other)

    def named(self, name: str) -> Tensor:
        """Give the tensor, which the last node has computed, its final name."""
        self.graph.node[-1].output[0] = self.graph.node[-1].name = name
        return replace(self, name=name)


# Of operators that engines have in both dtypes: Elu, LeakyRelu and Softplus are for float32 alone.
RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z("Identity"),
    "sigmoid": lambda z: z("Sigmoid"),
    "tanh": lambda z: z("Tanh"),
    "relu": lambda z: z("Relu"),
    "leaky_relu": lambda z: z("Max", z * LEAK),
    "elu": lambda z: z("Relu") + z("Min", 0.0)("Exp") + -1.0,
    "softplus": lambda z: z("Relu") + (z("Abs")("Neg")("Exp") + 1.0)("Log"),
    "silu": lambda z: z * z("Sigmoid"),
    "gelu": lambda z: z * (((z + z * z * z * GELU_CUBE) * GELU_SCALE)("Tanh") + 1.0) * 0.5,
    "exp": lambda z: z("Min", largest_exponent(z.dtype))("Exp"),
    "softmax": lambda z: z("Softmax", axis=-1),
}
