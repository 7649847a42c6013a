"""The command ``bpnet export``: write a saved net in another form."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bpnet.cli.options import Parser, add_command

FORMS = ("c", "onnx", "torch", "json", "safetensors")
SUFFIXES = {"c": ".h", "torch": ".pt"}  # the others are called as the form is
WORDS = (
    "write a saved net as C, ONNX, JSON or for PyTorch",
    "Write a net that `net.save` has saved in another form.",
    """\
examples:
  bpnet export net.npz --to onnx
  bpnet export net.npz --to c -o src/digits.h --dtype float32

A file of --to torch holds the state_dict of a module, which is printed.""",
)


def add_export(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that writes a net in another form."""
    parser = add_command(commands, "export", run_export, WORDS)
    parser.add_argument("net", type=Path, metavar="NET.npz", help="the saved net")
    parser.add_argument("--to", required=True, choices=FORMS, help="the form")
    where = "where to (default: beside the net, under its name)"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=where)
    parser.add_argument("--dtype", help="float32 or float64 (default: that of the net)")


def run_export(args: argparse.Namespace) -> int:
    """Write a net in another form, and say where."""
    from bpnet import formats
    from bpnet.archive import write_atomically
    from bpnet.formats.npz import load
    from bpnet.formats.shared import optional

    suffix = SUFFIXES.get(args.to, f".{args.to}")
    net, path = load(args.net), args.output or args.net.with_suffix(suffix)
    net = net.astype(args.dtype or net.dtype)
    if path.exists() and os.path.samefile(path, args.net):
        raise ValueError(f"{path} is the net itself: name another file with -o")
    if args.to == "torch":
        module, save = formats.to_torch(net), optional("torch", "to_torch").save
        write_atomically(path, lambda file: save(module.state_dict(), file))
        print(module)
    else:
        getattr(formats, f"to_{args.to}")(net, path)
    print(f"wrote {path}: {net}")
    return 0
