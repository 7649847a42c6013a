"""``bpnet export``: a saved net in every form, and one line where it cannot be."""

import sys

import numpy as np
import pytest

from bpnet import formats
from bpnet.cli.export import SUFFIXES
from bpnet.cli.main import main
from tests.helpers.any_net import assert_same, make

PACKAGES = {"onnx": "onnx", "torch": "torch", "safetensors": "safetensors"}
net = make((4, 6, 3), loss="cross_entropy")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net.save("net.npz")
    return tmp_path


def run(capsys, *argv):
    status = main(["export", *argv])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("form", SUFFIXES)
def test_every_form(folder, capsys, form):
    pytest.importorskip(PACKAGES.get(form, "bpnet"))
    status, out, err = run(capsys, "net.npz", "--to", form)
    assert (status, err) == (0, "")
    path = folder / f"net{SUFFIXES[form]}"
    assert out.endswith(f"wrote net{SUFFIXES[form]}: {net}\n")
    if form == "json":
        assert_same(net, formats.from_json(path))
    elif form == "safetensors":
        assert_same(net, formats.from_safetensors(path))
    elif form == "onnx":
        import onnx

        assert onnx.load(path) == formats.to_onnx(net)
    elif form == "torch":
        import torch

        assert out.startswith("Sequential(\n  (0): Linear(in_features=4, out_features=6, bias=T")
        module = formats.to_torch(make((4, 6, 3), loss="cross_entropy"))
        module.load_state_dict(torch.load(path, weights_only=True))
        assert_same(net, formats.from_torch(module))
    else:
        assert path.read_text() == formats.to_c(net, name="net")


def test_options(folder, capsys):
    assert (
        run(capsys, "net.npz", "--to", "c", "-o", "a.c", "--dtype", "float32", "--name", "x")[0]
        == 0
    )
    assert (folder / "a.c").read_text() == formats.to_c(net.astype("float32"), name="x")
    assert run(capsys, "net.npz", "--to", "json", "--output", "b")[0] == 0
    assert np.array_equal(formats.from_json(folder / "b").theta, net.theta)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["none.npz", "--to", "c"], "none.npz: No such file or directory"),
        (["net.json", "--to", "c"], "net.json is no .npz file"),
        (["net.npz"], "the following arguments are required: --to (see bpnet export --help)"),
        (["net.npz", "--to", "json", "-o", "net.npz"], "net.npz is the net itself: name another…"),
        (["net.npz", "--to", "json", "-o", "no/net"], "…/no: there is no such folder to write to"),
        (["net.npz", "--to", "json", "--name", "a"], "--name is for --to c alone"),
        (["net.npz", "--to", "c", "--name", "1"], "name must be letters, digits and _, …"),
        (["net.npz", "--to", "c", "--dtype", "int8"], "dtype must be one of …"),
        (["stack.npz", "--to", "c"], "to_c takes one network, but this is a stack of 2: …"),
        (["net.npz", "--to", "onnx"], "to_onnx needs onnx: pip install onnx"),
    ],
)
def test_refusals_are_one_line(folder, capsys, monkeypatch, argv, message):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (folder / "net.json").write_text("{}")
    make(networks=2).save("stack.npz")
    before = sorted(folder.iterdir()), (folder / "net.npz").read_bytes()
    status, out, err = run(capsys, *argv)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("bpnet: error: ")
    for part in message.split("…"):
        assert part in err
    assert (sorted(folder.iterdir()), (folder / "net.npz").read_bytes()) == before


def test_help_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["export", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 80
