"""safetensors: what is written is what PyTorch reads, what PyTorch writes is read, else refused."""

import numpy as np
import pytest

from bpnet import MLP, InvalidFile, formats, huber
from bpnet.network.saved import loss_name
from tests.helpers.any_net import DTYPES, any_problems, assert_same, make, units
from tests.helpers.complaint import complains

safetensors = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(path, dtype):
    for net, _ in any_problems(dtype):
        formats.to_safetensors(net, path)
        assert_same(net, formats.from_safetensors(path))
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
def test_pytorch_reads_it_and_what_pytorch_writes_is_read(path, dtype):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    rules = ("relu",) * 6 + ("softmax",)  # "10.weight" comes after "8.weight"
    net = make((3, 4, 4, 4, 4, 4, 4, 2), activation=rules, loss="cross_entropy", dtype=dtype)
    formats.to_safetensors(net, path)
    module = formats.to_torch(net.with_theta(np.zeros_like(net.theta)))
    module.load_state_dict(files.load_file(path))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    assert units(module(torch.from_numpy(x)).detach().numpy(), net.predict(x)) < 8
    for prefix in ("", "net.layers.", "fc"):
        files.save_file({prefix + k: v for k, v in module.state_dict().items()}, path)
        assert_same(net, formats.from_safetensors(path, activation="relu", loss="cross_entropy"))


def write(path, shapes, metadata=None, dtype="f4"):
    """Write tensors of ones, of these names and shapes."""
    tensors = {name: np.ones(shape, dtype) for name, shape in shapes.items()}
    path.write_bytes(safetensors.save(tensors, metadata))


TWO = {"fc1.weight": (4, 3), "fc2.weight": (2, 4), "fc2.bias": (2,)}
ONE = {"0.weight": (2, 3), "0.bias": (2,)}
OWN = {"bpnet": "1", "sizes": "3,2", "activations": "tanh", "loss": "huber", "crc32": "0"}


def test_the_rules_of_pytorch_s_file_are_the_caller_s(path):
    write(path, TWO, dtype="f4")
    net = formats.from_safetensors(path, activation="elu", output="sigmoid", loss="huber")
    assert repr(net) == "MLP(3-4-2, elu, sigmoid; huber, float32)"
    assert (net.b[2] == 0).all()
    with complains(ValueError, f"{path} holds weights alone: say activation=, and output= or lo…"):
        formats.from_safetensors(path, loss="huber")
    with complains(TypeError, "…unexpected keyword argument 'activations'"):
        formats.from_safetensors(path, activation="elu", activations=())
    with complains(ValueError, "W[3] has shape (2, 5), but the layer before has 4 …"):
        write(path, TWO | {"fc2.weight": (2, 5)})
        formats.from_safetensors(path, activation="elu")


@pytest.mark.parametrize(
    ("shapes", "metadata", "message"),
    [
        (ONE | {"1.running_mean": (2,)}, None, "holds 1.running_mean: bpnet reads linear layers…"),
        ({"0.bias": (2,)}, None, "…damaged one: 'weight'"),
        ({}, None, "holds nothing, which is no one sequence"),
        ({"body.weight": (2, 2)}, None, "holds body.weight: bpnet reads linear layers alone, …"),
        ({"a1.weight": (2, 2), "b2.weight": (2, 2)}, None, "holds a1.weight, b2.weight, which is…"),
        ({"1.weight": (2, 2), "01.weight": (2, 2)}, None, "holds 01.weight, 1.weight, which is …"),
        (ONE, OWN | {"bpnet": "2"}, "is of format version 2, but this bpnet reads version 1…"),
        (ONE, OWN | {"sizes": "2,3"}, "says sizes [2, 3], but holds weights of [3, 2]"),
        (ONE, OWN | {"activations": "step"}, "…unknown activation 'step'…"),
        (ONE, OWN | {"loss": "huber(nan)"}, "…limit must be > 0…"),
        (ONE, {"bpnet": "1"}, "…damaged one: 'sizes'"),
        (ONE, OWN, "holds other weights than were written: their checksum differs"),
    ],
)
def test_what_describes_no_net(path, shapes, metadata, message):
    write(path, shapes, metadata)
    with complains(InvalidFile, f"{path} {message}"):
        formats.from_safetensors(path, activation="relu")


def test_damaged_it_is_refused_or_the_same_net(path):
    net = MLP.init((2, 3, 1), activation="relu", loss="huber", rng=0)
    formats.to_safetensors(net, path)
    with complains(ValueError, f"{path} says its rules itself: leave out loss"):
        formats.from_safetensors(path, loss="huber")
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
