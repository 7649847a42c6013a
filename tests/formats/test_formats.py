"""What all formats have in common: what they refuse, and what they need."""

import os
import subprocess
import sys

import numpy as np
import pytest

import bpnet
from bpnet import MLP, Activation, Loss, formats
from bpnet.formats.shared import loss_for
from tests.helpers.any_net import make
from tests.helpers.complaint import complains

WRITERS = ("to_c", "to_json", "to_onnx", "to_safetensors", "to_sklearn", "to_torch")
PACKAGES = {
    "to_onnx": "onnx",
    "to_safetensors": "safetensors",
    "to_sklearn": "scikit-learn",
    "to_torch": "torch",
}
own = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
cubic = Loss("cubic", E=lambda a, y: abs(a - y) ** 3, dE=lambda a, y: 3 * (a - y) * abs(a - y))


def write(name, net, path):
    """Call a writer, which takes a path or not."""
    call = getattr(formats, name)
    return call(net) if name in ("to_sklearn", "to_torch") else call(net, path)


def test_nothing_is_imported_until_it_is_used():
    code = (
        "import sys, bpnet\n"
        "net = bpnet.MLP.init((2, 2), rng=0)\n"
        "assert {'to_c', 'from_torch'} <= {*dir(bpnet.formats)}\n"
        "assert 'bpnet.formats.c' not in sys.modules\n"
        "bpnet.formats.to_c(net), bpnet.formats.to_json(net)\n"
        "assert not {'torch', 'onnx', 'sklearn', 'safetensors'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert bpnet.formats is formats
    with complains(AttributeError, "module 'bpnet.formats' has no attribute 'from_c'"):
        formats.from_c  # noqa: B018


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named(name, tmp_path, monkeypatch):
    top = "sklearn" if name == "to_sklearn" else PACKAGES[name]
    for module in [top, *(m for m in sys.modules if m.startswith(f"{top}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with complains(ImportError, f"{name} needs {PACKAGES[name]}: pip install {PACKAGES[name]}"):
        write(name, make(), tmp_path / "net")


def broken():
    net = make()
    net.b[2][1] = np.nan
    return net


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("net", "kind", "message"),
    [
        (make(networks=4), ValueError, "takes one network, but this is a stack of 4: pass net[k]…"),
        (make(dtype="complex64"), TypeError, "takes real weights, but these are complex64: only…"),
        (make(activation=own), ValueError, "knows bpnet's own activations, but 'sine' is yours"),
        ("net.npz", TypeError, "takes an MLP, not 'net.npz'"),
        (broken(), ValueError, "b[2][1] is nan…"),
    ],
)
def test_what_no_format_takes(name, net, kind, message, tmp_path):
    prefix = "…" if "nan" in message else f"{name} "
    with complains(kind, prefix + message):
        write(name, net, tmp_path / "net")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["to_json", "to_safetensors"])
def test_a_loss_of_ones_own_has_no_name_in_a_file(name, tmp_path):
    with complains(ValueError, "the loss 'cubic' is your own, which a file cannot name…"):
        write(name, make(loss=cubic), tmp_path / "net")
    for name in ("to_c", "to_onnx", "to_torch"):  # which hold no loss
        write(name, make(loss=cubic), tmp_path / "net")


@pytest.mark.parametrize("name", ["to_c", "to_json", "to_onnx", "to_safetensors"])
def test_an_older_file_survives_a_failed_write(name, tmp_path, monkeypatch):
    pytest.importorskip(PACKAGES.get(name, "bpnet"))
    path = tmp_path / "net"
    path.write_text("older")

    def full(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write(name, make(), path)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["net"]


def test_a_loss_by_the_output():
    pairs = {
        "softmax": "cross_entropy",
        "sigmoid": "binary_cross_entropy",
        "exp": "poisson",
        "identity": "half_squared_error",
        "tanh": "half_squared_error",
    }
    for output, loss in pairs.items():
        assert loss_for(output) == loss
        MLP.init((2, 2), activation=output, loss=loss, rng=0)


class StandardScaler:
    """As little of scikit-learn's as its fit leaves."""

    with_mean, with_std = True, True

    def fit(self):
        pass


@pytest.mark.parametrize(
    ("scaler", "kind", "message"),
    [
        (3, TypeError, "scaler must be (mean, scale), or scikit-learn's …, not 3"),
        (StandardScaler(), ValueError, "this StandardScaler is not fitted yet: call fit first"),
        (([0, 0], 1), ValueError, "scaler has shape (2,), but this net takes 3 inputs"),
        ((0, [1, 0, 2]), ValueError, "scaler divides column 1 by 0"),
        ((0, [1, np.nan, 2]), ValueError, "scale must be finite, but scale[1] is nan"),
        ((0, 1e-300), ValueError, "W[2] with the scaler holds numbers too large for float32"),
        (("a", 1), TypeError, "scaler must hold real numbers, but holds text"),
    ],
)
def test_scalers_that_do_not_fit(scaler, kind, message):
    net = make(dtype="float32")
    with complains(kind, message):
        formats.to_c(net, scaler=scaler)
    assert np.array_equal(net.theta, make(dtype="float32").theta)
