"""ONNX Runtime computes what the net does, and the checker has nothing to say."""

import numpy as np
import pytest

from bpnet import formats
from tests.helpers.any_net import DTYPES, any_problems, make, units

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(model, x):
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (a,) = session.run(["a"], {"x": x})
    return a


@pytest.mark.parametrize("dtype", DTYPES)
def test_onnx_runtime_computes_a(dtype):
    for net, x in any_problems(dtype):
        assert units(run(formats.to_onnx(net), x), net.predict(x)) < 8, net


def test_of_real_size_with_any_number_of_rows_and_a_scaler_from_a_file(tmp_path):
    net = make((784, 100, 10), "float32", activation="relu", loss="cross_entropy")
    x = np.random.default_rng(0).random((300, 784), "f")
    model = formats.to_onnx(net, tmp_path / "net.onnx", scaler=(0.5, 4))
    assert onnx.load(tmp_path / "net.onnx") == model
    for m in (1, 2, 300):
        assert units(run(model, x[:m]), net.predict((x[:m] - 0.5) / 4)) < 20


def test_what_it_says_of_itself():
    model = formats.to_onnx(make((3, 5, 4, 2), activation=("tanh", "identity", "relu")))
    told = model.ir_version, model.opset_import[0].version, model.producer_name
    assert told == (10, 17, "bpnet")
    assert [node.output[0] for node in model.graph.node] == ["z2", "a2", "z3", "a3", "z4", "a"]
    assert [t.name for t in model.graph.initializer] == ["W2", "b2", "W3", "b3", "W4", "b4"]
    for value, n in ((model.graph.input[0], 3), (model.graph.output[0], 2)):
        batch, width = value.type.tensor_type.shape.dim
        assert (batch.dim_param, width.dim_value) == ("batch", n)
