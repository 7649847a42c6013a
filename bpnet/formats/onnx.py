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
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet import __version__
from bpnet.archive import StrPath, write_atomically
from bpnet.arrays import Array
from bpnet.formats.shared import check_single, optional, with_scaler
from bpnet.mlp import MLP
from bpnet.rules.constants import GELU_CUBE, GELU_SCALE, LEAK, largest_exponent

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 10


def to_onnx(net: MLP, path: StrPath | None = None, *, scaler: Any = None) -> onnx.ModelProto:
    """Return a net as an ONNX model, and write it to a file if asked.

    Parameters
    ----------
    net : MLP
        One network, of real weights.
    path : path, optional
        Where to write the model; an older file survives a failed write.
    scaler : fitted StandardScaler or MinMaxScaler, or (mean, scale), optional
        What the net's inputs were scaled with in training, x to (x - mean) / scale. It becomes
        part of the first layer, so that the model takes inputs as they were before.

    Returns
    -------
    onnx.ModelProto
        Which ``SerializeToString`` turns into the bytes of the file.

    Raises
    ------
    TypeError, ValueError
        If the net is a stack, complex, or has an activation of your own, or the scaler does not
        fit it.
    """
    check_single(net, "to_onnx")
    onnx = optional("onnx", "to_onnx")
    graph = Graph(onnx, net.dtype)
    scaled, a = with_scaler(net, scaler), Tensor(graph, "x")
    for l in range(2, net.L + 1):
        W, b = graph.constant(scaled.W[l], f"W{l}"), graph.constant(scaled.b[l], f"b{l}")
        z = a("Gemm", W, b, transB=1).named(f"z{l}")
        a = RULES[net.activation[l].name](z)
        a = a if a is z and l < net.L else a.named("a" if l == net.L else f"a{l}")
    model = graph.model(net)
    onnx.checker.check_model(model)
    if path is not None:
        data = model.SerializeToString()
        write_atomically(path, lambda file: file.write(data))
    return model  # type: ignore[no-any-return]


class Graph:
    """Nodes and constants, as they are added.

    Parameters
    ----------
    onnx : module
    dtype : dtype
        Of all tensors.
    """

    def __init__(self, onnx: Any, dtype: np.dtype[Any]) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Array | float, name: str = "") -> Tensor:
        """Add a constant."""
        name = name or f"c{len(self.constants)}"
        array = np.ascontiguousarray(value, self.dtype).reshape(np.shape(value))
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return Tensor(self, name)

    def model(self, net: MLP) -> Any:
        """Return the whole."""
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        x = helper.make_tensor_value_info("x", kind, ["batch", net.sizes[0]])
        a = helper.make_tensor_value_info("a", kind, ["batch", net.sizes[-1]])
        return helper.make_model(
            helper.make_graph(self.nodes, "net", [x], [a], self.constants, doc_string=repr(net)),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="bpnet",
            producer_version=__version__,
        )


class Tensor:
    """A tensor of a graph: what is computed from it adds nodes.

    ``z("Tanh")`` is tanh z, ``z("Min", 0.0)`` the smaller of z and 0, ``z * z`` the square.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __call__(self, operator: str, *others: Tensor | float, **attributes: Any) -> Tensor:
        """Add a node whose first input this is."""
        graph = self.graph
        inputs = [t if isinstance(t, Tensor) else graph.constant(t) for t in others]
        names, out = [self.name, *(t.name for t in inputs)], f"{operator}{len(graph.nodes)}"
        graph.nodes.append(graph.onnx.helper.make_node(operator, names, [out], out, **attributes))
        return Tensor(graph, out)

    def __add__(self, other: Tensor | float) -> Tensor:
        return self("Add", other)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return self("Mul", other)

    def named(self, name: str) -> Tensor:
        """Give the tensor, which the last node has computed, its final name."""
        self.graph.nodes[-1].output[0] = self.graph.nodes[-1].name = name
        return Tensor(self.graph, name)

    def is_float32(self) -> bool:
        """Whether it is; engines have some operators for no other dtype."""
        return self.graph.dtype == np.float32


def leaky_relu(z: Tensor) -> Tensor:
    """Return max(z, 0.01 z); the operator's own slope is float32."""
    return z("LeakyRelu", alpha=LEAK) if z.is_float32() else z("Max", z * LEAK)


def elu(z: Tensor) -> Tensor:
    """Return max(z, 0) + e^min(z, 0) - 1."""
    return z("Elu", alpha=1.0) if z.is_float32() else z("Relu") + z("Min", 0.0)("Exp") + -1.0


def softplus(z: Tensor) -> Tensor:
    """Return max(z, 0) + log(1 + e^-|z|)."""
    return z("Softplus") if z.is_float32() else z("Relu") + (z("Abs")("Neg")("Exp") + 1.0)("Log")


def gelu(z: Tensor) -> Tensor:
    """Return z (1 + tanh(√(2/π) (z + 0.044715 z³))) / 2."""
    inner = (z + z * z * z * GELU_CUBE) * GELU_SCALE
    return z * (inner("Tanh") + 1.0) * 0.5


def capped_exp(z: Tensor) -> Tensor:
    """Return e^z, constant beyond `largest_exponent`."""
    return z("Min", largest_exponent(z.graph.dtype))("Exp")


RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "sigmoid": lambda z: z("Sigmoid"),
    "tanh": lambda z: z("Tanh"),
    "relu": lambda z: z("Relu"),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "softplus": softplus,
    "silu": lambda z: z * z("Sigmoid"),
    "gelu": gelu,
    "exp": capped_exp,
    "softmax": lambda z: z("Softmax", axis=-1),
}
