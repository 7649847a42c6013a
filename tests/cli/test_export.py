"""``bpnet export``: a saved net in every form, and one line where it cannot be."""

import sys

import pytest

from bpnet import formats
from bpnet.cli.main import main
from bpnet.cli.saved import FORMS
from tests.helpers.any_net import assert_same, make

net = make((4, 6, 3), loss="cross_entropy")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net.save("net.npz")
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_every_form(folder, capsys, form):
    if form in ("onnx", "torch", "safetensors"):
        pytest.importorskip(form)
    path = folder / {"c": "net.h", "torch": "net.pt"}.get(form, f"net.{form}")
    assert main(["export", "net.npz", "--to", form]) == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[-1], err) == (f"wrote {path.name}: {net}", "")
    if form == "torch":
        import torch

        module = formats.to_torch(make((4, 6, 3), loss="cross_entropy"))
        assert out.startswith(f"{module}\n")
        module.load_state_dict(torch.load(path, weights_only=True))
        assert_same(net, formats.from_torch(module))
    elif form == "safetensors":
        assert_same(net, formats.from_safetensors(path))
    else:
        (folder / "same").mkdir()
        getattr(formats, f"to_{form}")(net, folder / "same" / path.name)
        assert path.read_bytes() == (folder / "same" / path.name).read_bytes()


def test_options(folder):
    assert main(["export", "net.npz", "--to", "c", "-o", "digits.c", "--dtype", "float32"]) == 0
    assert (folder / "digits.c").read_text() == formats.to_c(net.astype("f"), name="digits")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("net.json --to c", "net.json is no .npz file"),
        ("net.npz", "the following arguments are required: --to (see bpnet export --help)"),
        ("net.npz --to json -o net.npz", "net.npz is the net itself: name another file with -o"),
        ("net.npz --to json -o no/net", "{}/no: there is no such folder to write to"),
        ("stack.npz --to c", "to_c takes one network, but this is a stack of 2: pass net[k], …"),
        ("net.npz --to onnx", "to_onnx needs onnx: pip install onnx"),
    ],
)
def test_refusals_are_one_line(folder, capsys, monkeypatch, line, message):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (folder / "net.json").write_text("{}")
    make(networks=2).save("stack.npz")
    before = sorted(folder.iterdir()), (folder / "net.npz").read_bytes()
    assert main(["export", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("bpnet: error: " + message.format(folder).rstrip("…"))
    assert (sorted(folder.iterdir()), (folder / "net.npz").read_bytes()) == before
