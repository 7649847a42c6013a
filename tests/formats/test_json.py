"""JSON: every bit back, text that people read, and nothing else passes for a net."""

import json

import numpy as np
import pytest

from bpnet import InvalidFile, formats, huber
from bpnet.formats import json as form
from bpnet.network.saved import loss_name
from tests.helpers.any_net import DTYPES, any_problems, assert_same, make
from tests.helpers.complaint import complains


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(tmp_path, dtype):
    path = tmp_path / "net.json"
    for net, _ in any_problems(dtype):
        text = formats.to_json(net, path)
        assert path.read_text() == text + "\n"
        for back in (formats.from_json(text), formats.from_json(path)):
            assert_same(net, back)
            assert back.loss_function is net.loss_function
    text = formats.to_json(make(loss=huber(0.1 + 0.2)))
    assert loss_name(formats.from_json(text).loss_function) == "huber(0.30000000000000004)"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_of_every_kind_of_number(dtype):
    bits = np.random.default_rng(0).integers(0, 2**32, (2, 9000), "u4")
    values = (bits if dtype == "float32" else bits.T.copy()).view(dtype).ravel()
    info = np.finfo(dtype)
    edges = [0.0, -0.0, info.max, -info.max, info.tiny, info.smallest_subnormal, 1 / 3, 1e22]
    twice_rounded = np.array([0x15AE43FD], "u4").view(
        "f4"
    )  # its digits, read as float64, are not it
    values = np.array([*edges, *twice_rounded, *values[np.isfinite(values)]], dtype)
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


def whole():
    return form.net_as_dict(make((2, 3, 1)))


def changed(**changes):
    return {name: v for name, v in (whole() | changes).items() if v is not None}


def layer(l=0, **changes):
    layers = whole()["layers"]
    layers[l] |= changes
    return changed(layers=[{k: v for k, v in f.items() if v is not None} for f in layers])


WRONG = {
    "a list": ([], 'is JSON, but not of a bpnet net: it has no "format": "bpnet.MLP"'),
    "another format": (changed(format="x"), "is JSON, but not of a bpnet net…"),
    "no version": (changed(version=None), "is of format version None, but this bpnet reads…"),
    "newer": (changed(version=2), "is of format version 2, but this bpnet reads version 1…"),
    "version true": (changed(version=True), "is of format version True, but…"),
    "version 1.0": (changed(version=1.0), "is of format version 1.0, but…"),
    "lacks": (changed(loss=None), "must hold format, …, layers for its net, but holds dtype, …"),
    "more": (changed(extra=1), "must hold …, but holds dtype, extra, …"),
    "sizes": (changed(sizes=[2, 3, 2]), "says sizes [2, 3, 2], but holds weights of [2, 3, 1]"),
    "sizes of floats": (changed(sizes=[2.0, 3, 1]), "…sizes[0] must be an integer, not 2.0"),
    "sizes a text": (changed(sizes="2"), "must hold its sizes and layers as lists, and its loss…"),
    "dtype": (changed(dtype="float16"), "says dtype 'float16', but it must be float64 or float32"),
    "dtype a list": (changed(dtype=["float64"]), "says dtype ['float64'], but it must be…"),
    "loss a number": (changed(loss=1), "must hold its sizes and layers as lists, and its loss…"),
    "loss": (changed(loss="hinge"), "…unknown loss 'hinge'…"),
    "huber": (changed(loss="huber(-1)"), "…limit must be > 0…"),
    "no layers": (changed(layers=[]), "…W is empty…"),
    "layer a list": (changed(layers=[[]]), "must hold activation, W, b for its layer 2, but…list"),
    "layer lacks": (
        layer(1, b=None),
        "must hold activation, W, b for its layer 3, but holds W, a…",
    ),
    "activation": (layer(activation="step"), "…unknown activation 'step'…"),
    "activation none": (layer(activation=0), "…an activation is a name or an Activation…"),
    "softmax hidden": (layer(activation="softmax"), "…softmax is for the output layer…"),
    "W flat": (layer(W=[1.0, 2.0]), "does not hold W of layer 2 as rows of numbers"),
    "W deep": (layer(W=[[[1.0]]]), "holds W of layer 2 with [1.0] in it, which is no number"),
    "W ragged": (layer(W=[[1, 2], [1], [1, 2]]), "holds W of layer 2 in rows of different len…"),
    "W of text": (layer(W=[["1", 2]]), "holds W of layer 2 with '1' in it, which is no number"),
    "W of true": (layer(W=[[True, 2]]), "holds W of layer 2 with True in it, which is no number"),
    "W empty": (layer(W=[]), "…W[2] has shape (0,), but must be a matrix…"),
    "W narrow": (layer(1, W=[[1, 2]]), "…W[3] has shape (1, 2), but the layer before has 3…"),
    "W huge": (layer(W=[[10**400, 1]] * 3), "holds W of layer 2 with a number too large for flo…"),
    "b short": (layer(b=[1, 2]), "…b[2] has shape (2,), but W[2] of shape (3, 2)…"),
    "b rows": (layer(b=[[1], [2], [3]]), "holds b of layer 2 with [1] in it, which is no number"),
    "b a number": (layer(b=1), "does not hold b of layer 2 as a list of numbers"),
    "too large": (changed(dtype="float32") | layer(b=[1e39, 0, 0]), "…"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_describes_no_net_is_named(tmp_path, case):
    value, message = WRONG[case]
    path = tmp_path / "net.json"
    path.write_text(json.dumps(value))
    with complains(InvalidFile, f"{path} {message}" if case != "too large" else "…"):
        formats.from_json(path if case != "too large" else json.dumps(value | {"dtype": "float32"}))


GOOD = formats.to_json(make((2, 3, 1)))
HOSTILE = {
    "nothing": ("", "…Expecting value…"),
    "cut": (GOOD[:-9], "…"),
    "two": (GOOD + GOOD, "…Extra data…"),
    "NaN": (GOOD.replace("0.0", "NaN", 1), "holds NaN, which is no number"),
    "infinity": (GOOD.replace("0.0", "-Infinity", 1), "holds -Infinity, which is no number"),
    "overflow": (GOOD.replace("0.0", "1e999", 1), "…must be finite…"),
    "twice": (GOOD.replace('"version": 1', '"version": 1, "version": 1'), "holds 'version' more…"),
    "deep": ("[" * 100_000, "holds brackets in brackets, too deep to be a net"),
    "digits": (GOOD.replace("0.0", "9" * 5000, 1), "…"),
    "long": (GOOD.replace("float64", "x" * 5000, 1), "says dtype 'xxx…x"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_text_made_to_hurt(tmp_path, case):
    text, message = HOSTILE[case]
    path = tmp_path / "net.json"
    path.write_text(text)
    with complains(InvalidFile, f"{path} {message}") as caught:
        formats.from_json(path)
    assert len(str(caught.value)) < 800


def test_files_that_are_no_text_or_too_long(tmp_path, monkeypatch):
    path = tmp_path / "net.json"
    path.write_bytes(b"\xff\xfe{")
    with complains(InvalidFile, f"{path} …"):
        formats.from_json(path)
    with complains(InvalidFile, "the text is JSON, but not of a bpnet net…"):
        formats.from_json("{}")
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    assert_same(make((2, 3, 1)), formats.from_json(path))
    monkeypatch.setattr(form, "LARGEST", 100)
    with complains(ValueError, "this net needs more than 100 characters: save it as .npz"):
        formats.to_json(make())
    with complains(InvalidFile, f"{path} holds more than 100 characters, which bpnet does not…"):
        formats.from_json(path)
    with pytest.raises(FileNotFoundError):
        formats.from_json(tmp_path / "none.json")
