"""ONNX Runtime computes what the net does, and the checker has nothing to say."""

import numpy as np
import pytest

from bpnet import formats
from tests.helpers.any_net import DTYPES, any_problems, make, units
from tests.helpers.complaint import complains

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
        assert units(run(formats.to_onnx(net), x), net.predict(x)) < 8


@pytest.mark.parametrize(
    "name", ["sigmoid", "elu", "softplus", "silu", "gelu", "exp", "leaky_relu"]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_far_from_0(name, dtype):
    net = make((1, 1), dtype=dtype, activation=name)
    net.W[2][:] = 1
    x = np.array([-800, -90, -21, -1e-6, 0, 1e-6, 21, 39, 90, 800], dtype)[:, None]
    with np.errstate(over="ignore"):
        assert units(run(formats.to_onnx(net), x), net.predict(x)) < 8


def test_of_real_size_with_any_number_of_rows_from_a_file(tmp_path):
    net = make((784, 100, 10), "float32", activation="relu", loss="cross_entropy")
    x = np.random.default_rng(0).random((300, 784), "f")
    model = formats.to_onnx(net, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx") == model
    for m in (1, 2, 300):
        assert units(run(model, x[:m]), net.predict(x[:m])) < 20


def test_what_it_says_of_itself():
    model = formats.to_onnx(make((3, 5, 4, 2), activation=("tanh", "identity", "identity")))
    assert (model.ir_version, model.opset_import[0].version, model.producer_name) == (
        *(10, 17),
        "bpnet",
    )
    assert [node.output[0] for node in model.graph.node] == ["z2", "a2", "z3", "a"]
    assert [t.name for t in model.graph.initializer] == ["W2", "b2", "W3", "b3", "W4", "b4"]
    for value, n in ((model.graph.input[0], 3), (model.graph.output[0], 2)):
        batch, width = value.type.tensor_type.shape.dim
        assert (batch.dim_param, width.dim_value) == ("batch", n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_scaler_in_the_first_layer(dtype):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(50, 3)) * [1, 40, 0.02] + [2, -30, 0.1]).astype(dtype)
    net = make(dtype=dtype)
    scalers = [
        preprocessing.StandardScaler(),
        preprocessing.StandardScaler(with_mean=False),
        preprocessing.StandardScaler(with_std=False),
        preprocessing.MinMaxScaler((-1, 2)),
    ]
    for scaler in scalers:
        want = net.predict(scaler.fit(x).transform(x).astype(dtype))
        assert units(run(formats.to_onnx(net, scaler=scaler), x), want) < 60
    want = net.predict(((x - 2.5) / [1, 40, 0.02]).astype(dtype))
    assert units(run(formats.to_onnx(net, scaler=(2.5, [1, 40, 0.02])), x), want) < 60
    with complains(ValueError, "a MinMaxScaler with clip=True cannot be made part of a layer"):
        formats.to_onnx(net, scaler=preprocessing.MinMaxScaler(clip=True).fit(x))
    with complains(TypeError, "scaler must be …, not RobustScaler"):
        formats.to_onnx(net, scaler=preprocessing.RobustScaler())
