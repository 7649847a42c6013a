"""safetensors: what is written is what PyTorch reads, what PyTorch writes is read, else refused."""

import numpy as np
import pytest

from bpnet import MLP, InvalidFile, formats, huber
from bpnet.network.saved import loss_name
from tests.helpers.any_net import DTYPES, any_problems, assert_same, make, units
from tests.helpers.complaint import complains

safetensors_numpy = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(path, dtype):
    for net, _ in any_problems(dtype):
        formats.to_safetensors(net, path)
        back = formats.from_safetensors(path)
        assert_same(net, back)
        assert back.loss_function is net.loss_function
    net = make(loss=huber(0.1 + 0.2), dtype=dtype)
    formats.to_safetensors(net, path)
    assert loss_name(formats.from_safetensors(path).loss_function) == "huber(0.30000000000000004)"


def test_network_of_a_stack_that_lies_across_memory(path):
    stack = make((3, 5, 4, 2), networks=70)
    net = stack.with_theta(np.asfortranarray(stack.theta))[3]
    assert not net.W[3].flags.c_contiguous
    formats.to_safetensors(net, path)
    assert_same(stack[3], formats.from_safetensors(path))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_reads_it(path, dtype):
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    net = make((3, 5, 4, 2), activation=("relu", "tanh", "sigmoid"), dtype=dtype)
    formats.to_safetensors(net, path)
    module = formats.to_torch(make((3, 5, 4, 2), activation=("relu", "tanh", "sigmoid")))
    module.to(getattr(torch, dtype)).load_state_dict(load_file(path))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    assert units(module(torch.from_numpy(x)).detach().numpy(), net.predict(x)) < 8


def test_what_pytorch_writes_is_read(path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    nn = torch.nn
    hidden = [layer for _ in range(6) for layer in (nn.Linear(3, 3), nn.ReLU())]
    module = nn.Sequential(*hidden, nn.Linear(3, 2, bias=False), nn.Softmax(-1))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    want = module(torch.from_numpy(x)).detach().numpy()
    for prefix in ("", "net.layers."):
        save_file({prefix + k: v for k, v in module.state_dict().items()}, path)
        net = formats.from_safetensors(path, activation="relu", loss="cross_entropy")
        assert units(net.predict(x), want) < 8
    save_file(module.half().state_dict(), path)
    assert formats.from_safetensors(path, activation="relu").dtype == np.float32


def write(path, shapes, metadata=None, dtype="f4"):
    """Write tensors of ones, of these names and shapes."""
    tensors = {name: np.ones(shape, dtype) for name, shape in shapes.items()}
    path.write_bytes(safetensors_numpy.save(tensors, metadata))


TWO = {"fc1.weight": (4, 3), "fc1.bias": (4,), "fc2.weight": (2, 4), "fc2.bias": (2,)}


@pytest.mark.parametrize(
    ("arguments", "rules"),
    [
        ({"activation": "relu"}, "relu, identity; half_squared_error"),
        ({"activation": "relu", "output": "sigmoid"}, "relu, sigmoid; binary_cross_entropy"),
        ({"activation": "elu", "loss": "cross_entropy"}, "elu, softmax; cross_entropy"),
        ({"activation": "elu", "loss": "huber"}, "elu, identity; huber"),
        ({"activation": ("tanh", "exp")}, "tanh, exp; poisson"),
        ({"activation": ["tanh", "exp"], "loss": "absolute_error"}, "tanh, exp; absolute_error"),
    ],
)
def test_rules_of_another_s_file(path, arguments, rules):
    write(path, TWO)
    assert repr(formats.from_safetensors(path, **arguments)) == f"MLP(3-4-2, {rules}, float32)"


def test_one_layer_alone(path):
    write(path, {"weight": (2, 3), "bias": (2,)}, dtype="f8")
    assert repr(formats.from_safetensors(path, output="softmax")) == (
        "MLP(3-2, softmax; cross_entropy, float64)"
    )
    with complains(ValueError, "…has no hidden layer for activation=: say output=, or loss="):
        formats.from_safetensors(path, activation="relu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "… of sizes (3, 4, 2), holds weights alone: say activation= of the hidden layers…"),
        ({"loss": "huber"}, "…holds weights alone: say activation= of the hidden layers, …"),
        ({"activation": "step"}, "unknown activation 'step'…"),
        ({"activation": ("relu",)}, "activation names 1 layers, but this net has 2 with weights…"),
        ({"activation": ()}, "activation names 0 layers, but this net has 2 with weights…"),
        ({"activation": ("relu", "exp"), "output": "tanh"}, "activation names the output layer's…"),
    ],
)
def test_rules_that_do_not_fit(path, arguments, message):
    write(path, TWO)
    with complains(ValueError, message):
        formats.from_safetensors(path, **arguments)


OWN = {"bpnet": "1", "sizes": "3,2", "activations": "tanh", "loss": "huber", "crc32": "0"}
ONE = {"0.weight": (2, 3), "0.bias": (2,)}


@pytest.mark.parametrize(
    ("shapes", "metadata", "message"),
    [
        (
            {"0.weight": (2, 3), "1.running_mean": (2,)},
            None,
            "holds 1.running_mean of shape (2,),…",
        ),
        ({"0.weight": (2, 3, 1, 1)}, None, "holds 0.weight of shape (2, 3, 1, 1), which is no…"),
        ({"0.bias": (2,)}, None, "holds a bias of a layer whose weight it does not hold"),
        ({}, None, "holds layers named nothing, which does not tell their order…"),
        ({"body.weight": (2, 2), "head.weight": (2, 2)}, None, "holds layers named body, head, …"),
        (
            {"a1.weight": (2, 2), "b2.weight": (2, 2)},
            None,
            "holds layers named a1, b2, which does…",
        ),
        ({"a1.weight": (2, 2), "a01.weight": (2, 2)}, None, "holds layers named a01, a1, which…"),
        ({"0.weight": (4, 3), "2.weight": (2, 5)}, None, "…W[3] has shape (2, 5), but the layer…"),
        (ONE, OWN | {"bpnet": "2"}, "is of format version 2, but this bpnet reads version 1…"),
        (ONE, OWN | {"sizes": "2,3"}, "says sizes 2,3, but holds weights of (3, 2)"),
        (ONE, OWN | {"activations": "step"}, "…unknown activation 'step'…"),
        (ONE, OWN | {"loss": "huber(nan)"}, "…limit must be > 0…"),
        (ONE, {"bpnet": "1"}, "…damaged one: 'activations'"),
        (ONE, OWN, "holds other weights than were written: their checksum differs"),
    ],
)
def test_what_describes_no_net(path, shapes, metadata, message):
    write(path, shapes, metadata)
    with complains(InvalidFile, f"{path} {message}"):
        formats.from_safetensors(path)


def test_other_types_are_named(path):
    write(path, ONE, dtype="i4")
    with complains(InvalidFile, f"{path} holds 0.bias as I32, but bpnet reads F64, F32, F16"):
        formats.from_safetensors(path)
    write(path, ONE, dtype="f4")
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    with complains(InvalidFile, f"{path} …must be finite…"):
        formats.from_safetensors(path, activation="relu")


def test_own_files_say_all_themselves(path):
    formats.to_safetensors(make(), path)
    with complains(ValueError, f"{path} says its activations and loss itself: leave the argum…"):
        formats.from_safetensors(path, loss="huber")
    with pytest.raises(FileNotFoundError):
        formats.from_safetensors(path.parent / "none")


def test_damaged_it_is_refused_or_the_same_net(path):
    net = MLP.init((2, 3, 1), activation="relu", loss="huber", rng=0)
    formats.to_safetensors(net, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidFile):
            formats.from_safetensors(path)
    refused = 0
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        try:
            back = formats.from_safetensors(path)
        except (InvalidFile, ValueError):  # as another's file, where its own mark is damaged
            refused += 1
        else:
            assert back.theta.tobytes() == net.theta.tobytes()
    assert refused > len(whole) - 20
