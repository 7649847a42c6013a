"""JSON: every bit back, text that people read, and nothing else passes for a net."""

import json

import numpy as np
import pytest

from bpnet import InvalidFile, formats, huber
from bpnet.formats.json import net_as_dict
from bpnet.network.saved import loss_name
from tests.helpers.any_net import DTYPES, any_problems, assert_same, make
from tests.helpers.complaint import complains


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(tmp_path, dtype):
    path = tmp_path / "net.json"
    for net, _ in any_problems(dtype):
        text = formats.to_json(net, path)
        assert path.read_text() == text + "\n"
        assert_same(net, formats.from_json(text))
        assert_same(net, formats.from_json(path))
    text = formats.to_json(make(loss=huber(0.1 + 0.2)))
    assert loss_name(formats.from_json(text).loss_function) == "huber(0.30000000000000004)"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_of_every_kind_of_number(dtype):
    bits = np.random.default_rng(0).integers(0, 2**32, (2, 9000), "u4")
    values = (bits if dtype == "float32" else bits.T.copy()).view(dtype).ravel()
    info = np.finfo(dtype)
    edges = [0.0, -0.0, info.max, -info.max, info.tiny, info.smallest_subnormal, 1 / 3, 1e22]
    edges += [*np.array([0x15AE43FD], "u4").view("f4")]  # its digits, read as float64, are not it
    values = np.array([*edges, *values[np.isfinite(values)]], dtype)
    net = make((len(values), 1), dtype)
    net.W[2] = values[None]
    text = formats.to_json(net)
    assert_same(net, formats.from_json(text))
    longest = max(len(n.strip(" []")) for n in text.split('"W": [')[1].split("]")[0].split(","))
    assert longest <= (24 if dtype == "float64" else 22)


def test_float32_has_its_own_digits():
    net = make((3, 1), "float32")
    net.W[2] = np.array([[0.1, -1e-5, 16777216.0]], "f")
    assert "[0.1, -1e-05, 16777216.0]" in formats.to_json(net)


STACKED = [{"activation": "tanh", "W": [[[1.0]]], "b": [[1.0]]}]


def changed(*layer, **members):
    """Return what a net's file says, with other members, or another in a layer: l, name, value."""
    net = net_as_dict(make((2, 3, 1))) | members
    if layer:
        l, name, value = layer
        net["layers"][l - 2][name] = value
    return net


WRONG = [
    ([], 'is JSON, but not of a bpnet net: it has no "format": "bpnet.MLP"'),
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
    (changed(2, "W", [[1, 2], [1], [1, 2]]), "…W[2] is no array: its rows differ in length…"),
    (changed(2, "W", [["1", 2]]), "…W[2] must hold real numbers, but holds text"),
    (changed(2, "W", [[10**400, None]]), "…W[2] must hold real numbers, but holds dtype object"),
    (changed(2, "b", [1e39, 0, 0], dtype="float32"), "…b[2] holds numbers too large for float32"),
    (changed(sizes=[1, 1], layers=STACKED), "…takes one network, but this is a stack of 1…"),
]
GOOD = formats.to_json(make((2, 3, 1)))
HOSTILE = [
    ("", "…Expecting value…"),
    (GOOD[:-9], "…"),
    (GOOD.replace('"b": [0.0', '"b": [NaN'), "…b[2] must be finite, but b[2][0] is nan"),
    (GOOD.replace('"b": [0.0', '"b": [1e999'), "…b[2] must be finite, but b[2][0] is inf"),
    ("[" * 100_000, "…recursion…"),
    (GOOD.replace("float64", "x" * 5000), "…dtype must be one of …xxx"),
    ("\udcff", "…codec can't decode…"),
]


@pytest.mark.parametrize(
    ("text", "message"), [*((json.dumps(value), words) for value, words in WRONG), *HOSTILE]
)
def test_what_describes_no_net_is_refused(tmp_path, text, message):
    path = tmp_path / "net.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with complains(InvalidFile, f"{path} {message}") as caught:
        formats.from_json(path)
    assert len(str(caught.value)) < 800


def test_what_does_not_matter(tmp_path):
    path = tmp_path / "net.json"
    path.write_text("\ufeff" + GOOD.replace("{", '{"note": "mine", ', 1), encoding="utf-8")
    assert_same(make((2, 3, 1)), formats.from_json(path))
    with complains(InvalidFile, "the text is JSON, but not of a bpnet net…"):
        formats.from_json("{}")
    with pytest.raises(FileNotFoundError):
        formats.from_json(tmp_path / "none.json")
