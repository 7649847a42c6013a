"""What all formats have in common: what they refuse, and what they need."""

import os
import sys

import numpy as np
import pytest

from bpnet import Activation, Loss, formats
from bpnet.formats.shared import with_scaler
from tests.helpers.any_net import make
from tests.helpers.complaint import complains

PACKAGES = {
    "to_c": None,
    "to_json": None,
    "to_onnx": "onnx",
    "to_safetensors": "safetensors",
    "to_sklearn": "scikit-learn",
    "to_torch": "torch",
}
own = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
broken = make()
broken.b[2][1] = np.nan
cubic = Loss("cubic", E=lambda a, y: abs(a - y) ** 3, dE=lambda a, y: 3 * (a - y) * abs(a - y))


def write(name, net, path):
    """Call a writer, which takes a path or not."""
    call = getattr(formats, name)
    return call(net) if name in ("to_sklearn", "to_torch") else call(net, path)


@pytest.mark.parametrize("name", [name for name, package in PACKAGES.items() if package])
def test_a_missing_package_is_named(name, tmp_path, monkeypatch):
    top = PACKAGES[name].replace("scikit-learn", "sklearn")
    for module in [top, *(m for m in sys.modules if m.startswith(f"{top}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with complains(ImportError, f"{name} needs {PACKAGES[name]}: pip install {PACKAGES[name]}"):
        write(name, make(), tmp_path / "net")


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize(
    ("net", "kind", "message"),
    [
        (make(networks=4), ValueError, "{} takes one network, but this is a stack of 4: pass net…"),
        (make(dtype="complex64"), TypeError, "{} takes real weights, but these are complex64: o…"),
        (make(activation=own), ValueError, "{} knows bpnet's own activations, but 'sine' is yours"),
        ("net.npz", TypeError, "{} takes an MLP, not 'net.npz'"),
        (broken, ValueError, "…b[2][1] is nan…"),
    ],
)
def test_what_no_format_takes(name, net, kind, message, tmp_path):
    with complains(kind, message.format(name)):
        write(name, net, tmp_path / "net")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["to_c", "to_json", "to_onnx", "to_safetensors"])
def test_an_older_file_survives_a_failed_write_and_a_loss_without_a_name(name, tmp_path, monkeypatch):
    pytest.importorskip(PACKAGES[name] or "bpnet")
    path, net = tmp_path / "net", make(loss=cubic)
    path.write_text("older")
    if name in ("to_json", "to_safetensors"):  # the others hold no loss
        with complains(ValueError, "the loss 'cubic' is your own, which a file cannot name…"):
            write(name, net, path)
        net = make()
    monkeypatch.setattr(os, "fsync", None)
    with pytest.raises(TypeError):
        write(name, net, path)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["net"]


@pytest.mark.parametrize(
    ("scaler", "kind", "message"),
    [
        (3, TypeError, "scaler must be (mean, scale), or scikit-learn's …, not 3"),
        (([0, 0], 1), ValueError, "scaler has shape (2,), but this net takes 3 inputs"),
        ((0, [1, 0, 2]), ValueError, "scaler divides by 0"),
        ((0, [1, np.nan, 2]), ValueError, "scale must be finite, but scale[1] is nan"),
        ((0, 1e-300), ValueError, "W[2] with the scaler holds numbers too large for float32"),
        (("a", 1), TypeError, "mean must hold real numbers, but holds text"),
    ],
)
def test_scalers_that_do_not_fit(scaler, kind, message):
    net = make(dtype="float32")
    with complains(kind, message):
        formats.to_c(net, scaler=scaler)
    assert np.array_equal(net.theta, make(dtype="float32").theta)


def test_scikit_learn_s_scalers():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    standard, to_range = preprocessing.StandardScaler, preprocessing.MinMaxScaler
    x = np.random.default_rng(0).normal(size=(50, 3)) * [1, 40, 0.02] + [2, -30, 0.1]
    net = make()
    for scaler in (standard(), standard(with_mean=False), standard(with_std=False), to_range((-1, 2))):
        want = net.predict(scaler.fit(x).transform(x))
        assert np.allclose(with_scaler(net, scaler).predict(x), want, rtol=0, atol=1e-14)
    for scaler in standard(), to_range(clip=True).fit(x), preprocessing.RobustScaler().fit(x):
        with complains(TypeError, f"scaler must be …, fitted and without clip, not {scaler!r}"):
            with_scaler(net, scaler)
