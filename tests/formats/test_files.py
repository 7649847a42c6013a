"""JSON and safetensors: every bit back, read by others too, and nothing else passes for a net."""

import json

import numpy as np
import pytest

from bpnet import InvalidFile, formats, huber
from bpnet.formats.json import net_as_dict
from tests.helpers.any_net import DTYPES, any_problems, assert_same, make, units
from tests.helpers.complaint import complains

NET = make((2, 3, 1))
GOOD = formats.to_json(NET)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["json", "safetensors"])
def test_round_trip(tmp_path, form, dtype):
    pytest.importorskip(form)
    to, read = getattr(formats, f"to_{form}"), getattr(formats, f"from_{form}")
    stack = make((3, 5, 4, 2), dtype, networks=70, loss=huber(0.1 + 0.2))
    across = stack.with_theta(np.asfortranarray(stack.theta))[3]
    assert not across.W[3].flags.c_contiguous  # which safetensors would corrupt
    for net in [across, *(net for net, _ in any_problems(dtype))]:
        to(net, tmp_path / "net")
        assert_same(net, read(tmp_path / "net"))
    whole = (tmp_path / "net").read_bytes()
    for length in range(0, len(whole) - 2, 7):
        (tmp_path / "net").write_bytes(whole[:length])
        with complains(InvalidFile, f"{tmp_path / 'net'} is no bpnet net, or a damaged one: …"):
            read(tmp_path / "net")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


@pytest.mark.parametrize("dtype", DTYPES)
def test_json_has_every_bit_of_every_kind_of_number_in_few_digits(dtype):
    bits = np.random.default_rng(0).integers(0, 2**32, (2, 9000), "u4")
    values = (bits if dtype == "float32" else bits.T.copy()).view(dtype).ravel()
    info = np.finfo(dtype)
    edges = [0.1, -1e-5, 16777216.0, -0.0, info.max, -info.max, info.smallest_subnormal, 1e22]
    edges += [*np.array([0x15AE43FD], "u4").view("f4")]  # its digits, read as float64, are not it
    values = np.array([*edges, *values[np.isfinite(values)]], dtype)
    net = make((len(values), 1), dtype)
    net.W[2] = values[None]
    text = formats.to_json(net)
    assert_same(net, formats.from_json(text))
    digits = [n.strip(" []\n") for n in text.split('"W": [')[1].split("]")[0].split(",")]
    assert digits[:4] == ["0.1", "-1e-05", "16777216.0", "-0.0"]
    assert max(map(len, digits)) <= (24 if dtype == "float64" else 22)


def changed(*layer, **members):
    """Return what a net's file says, with other members, or another in a layer: l, name, value."""
    says = net_as_dict(NET) | members
    if layer:
        l, name, value = layer
        says["layers"][l - 2][name] = value
    return json.dumps(says)


STACKED = [{"activation": "tanh", "W": [[[1.0]]], "b": [[1.0]]}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", 'is JSON, but not of a bpnet net: it has no "format": "bpnet.MLP"'),
        (changed(format="x"), "is JSON, but not of a bpnet net…"),
        (changed(version=2), "is of format version 2, but this bpnet reads version 1…"),
        (changed(version=True), 'must hold "version" of the net, a whole number'),
        (changed(loss=None), 'must hold "loss" of the net, text'),
        (changed(loss="huber(-1)"), "…limit must be > 0…"),
        (changed(sizes=[2, 3, 2]), "says sizes [2, 3, 2], but holds weights of [2, 3, 1]"),
        (changed(dtype="complex64"), "…real weights, but these are complex64…"),
        (changed(layers=[]), "…W is empty…"),
        (changed(layers=[[]]), 'must hold "activation" of layer 2, text'),
        (changed(3, "b", None), 'must hold "b" of layer 3, a list'),
        (changed(2, "activation", "step"), "…unknown activation 'step'…"),
        (changed(2, "W", [[1, 2], [1], [1, 2]]), "…W[2] is no array: W[2][1] has length 1…"),
        (changed(2, "W", [[10**400, None]]), "…W[2] must hold real numbers, but holds dtype obj…"),
        (changed(2, "b", [1e39, 0, 0], dtype="float32"), "…b[2] holds numbers too large for flo…"),
        (changed(sizes=[1, 1], layers=STACKED), "…takes one network, but this is a stack of 1…"),
        (GOOD.replace('"b": [0.0', '"b": [NaN'), "…b[2] must be finite, but b[2][0] is nan"),
        (GOOD.replace('"b": [0.0', '"b": [1e999'), "…b[2] must be finite, but b[2][0] is inf"),
        ("[" * 100_000, "…recursion…"),
        (GOOD.replace("float64", "x" * 5000), "…dtype must be one of …xxx"),
        ("\udcff", "…codec can't decode…"),
    ],
)
def test_json_that_describes_no_net(tmp_path, text, message):
    path = tmp_path / "net.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with complains(InvalidFile, f"{path} {message}") as caught:
        formats.from_json(path)
    assert len(str(caught.value)) < 800


def test_json_as_people_write_it(tmp_path):
    path = tmp_path / "net.json"
    path.write_text("\ufeff" + GOOD.replace("{", '{"note": "mine", ', 1), encoding="utf-8")
    assert_same(NET, formats.from_json(path))
    with complains(InvalidFile, "the text is JSON, but not of a bpnet net…"):
        formats.from_json("{}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_reads_safetensors_and_what_it_writes_is_read(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    files, path = pytest.importorskip("safetensors.torch"), tmp_path / "net.safetensors"
    rules = ("relu",) * 6 + ("softmax",)  # "10.weight" comes after "8.weight"
    net = make((3, 4, 4, 4, 4, 4, 4, 2), dtype, activation=rules, loss="cross_entropy")
    formats.to_safetensors(net, path)
    module = formats.to_torch(net.with_theta(np.zeros_like(net.theta)))
    module.load_state_dict(files.load_file(path))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    assert units(module(torch.from_numpy(x)).detach().numpy(), net.predict(x)) < 8
    for prefix in ("", "net.layers.", "fc"):
        files.save_file({prefix + k: v for k, v in module.state_dict().items()}, path)
        assert_same(net, formats.from_safetensors(path, activation="relu", loss="cross_entropy"))


TWO = {"fc1.weight": (4, 3), "fc2.weight": (2, 4), "fc2.bias": (2,)}
ONE = {"0.weight": (2, 3), "0.bias": (2,)}
OWN = {"bpnet": "1", "sizes": "3,2", "activations": "tanh", "loss": "huber", "crc32": "0"}


@pytest.mark.parametrize(
    ("shapes", "metadata", "rules", "message"),
    [
        (TWO, None, {"activation": "elu", "output": "tanh"}, "MLP(3-4-2, elu, tanh; half_squar…"),
        (TWO, None, {"loss": "huber"}, "{} holds weights alone: say activation=, and output= or …"),
        (TWO | {"fc2.weight": (2, 5)}, None, {"activation": "elu"}, "W[3] has shape (2, 5), but…"),
        (ONE | {"1.running_mean": (2,)}, None, {}, "{} holds 1.running_mean: bpnet reads linear …"),
        ({"0.bias": (2,)}, None, {}, "{} …damaged one: 'weight'"),
        ({}, None, {}, "{} holds nothing, which is no one sequence"),
        ({"body.weight": (2, 2)}, None, {}, "{} holds body.weight: bpnet reads linear layers al…"),
        ({"a1.weight": (2, 2), "b2.weight": (2, 2)}, None, {}, "{} holds a1.weight, b2.weight, …"),
        ({"1.weight": (2, 2), "01.weight": (2, 2)}, None, {}, "{} holds 01.weight, 1.weight, wh…"),
        (ONE, OWN | {"bpnet": "2"}, {}, "{} is of format version 2, but this bpnet reads versio…"),
        (ONE, OWN | {"sizes": "2,3"}, {}, "{} says sizes [2, 3], but holds weights of [3, 2]"),
        (ONE, {"bpnet": "1"}, {}, "{} …damaged one: 'sizes'"),
        (ONE, OWN, {}, "{} holds other weights than were written: their checksum differs"),
        (ONE, OWN | {"crc32": "4137743041"}, {"loss": "huber"}, "{} says its rules itself: leav…"),
    ],
)
def test_safetensors_by_what_they_hold(tmp_path, shapes, metadata, rules, message):
    path, numpy = tmp_path / "net", pytest.importorskip("safetensors.numpy")
    tensors = {name: np.ones(shape, "f4") for name, shape in shapes.items()}
    path.write_bytes(numpy.save(tensors, metadata))
    if message.startswith("MLP"):
        assert repr(formats.from_safetensors(path, **rules)).startswith(message[:-1])
    else:
        with complains(ValueError, message.format(path)) as caught:
            formats.from_safetensors(path, **rules)
        assert (caught.type is InvalidFile) == (message.startswith("{}") and not rules)


def test_safetensors_with_a_bit_changed_are_refused_or_the_same_net(tmp_path):
    pytest.importorskip("safetensors")
    path, refused = tmp_path / "net", 0
    formats.to_safetensors(NET, path)
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        try:
            back = formats.from_safetensors(path)
        except ValueError:  # InvalidFile, or as another's file, where its own mark is damaged
            refused += 1
        else:
            assert back.theta.tobytes() == NET.theta.tobytes()
    assert refused > len(whole) - 20
