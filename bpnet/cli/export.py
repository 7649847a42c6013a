"""The command ``bpnet export``: write a saved net in another form."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bpnet.cli.options import Parser

if TYPE_CHECKING:
    from bpnet.mlp import MLP

SUFFIXES = {
    "c": ".h",
    "onnx": ".onnx",
    "torch": ".pt",
    "json": ".json",
    "safetensors": ".safetensors",
}
EXAMPLES = """\
examples:
  bpnet export net.npz --to onnx
  bpnet export net.npz --to c -o src/digits.h --dtype float32

A file of --to torch holds the state_dict of a module, which is printed."""


def add_export(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that writes a net in another form."""
    parser = commands.add_parser(
        "export",
        help="write a saved net as C, ONNX, JSON or for PyTorch",
        description="Write a net that `net.save` has saved in another form.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("net", type=Path, metavar="NET.npz", help="the saved net")
    parser.add_argument("--to", required=True, choices=SUFFIXES, help="the form")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="where to (default: beside the net, under its name)",
    )
    parser.add_argument("--dtype", help="float32 or float64 (default: that of the net)")
    parser.add_argument(
        "--name", help="what the names in C begin with (default: the name of the file)"
    )
    parser.set_defaults(run=run_export)


def run_export(args: argparse.Namespace) -> int:
    """Write a net in another form, and say where."""
    from bpnet.formats.npz import load

    path = args.output or args.net.with_suffix(SUFFIXES[args.to])
    if args.name is not None and args.to != "c":
        raise ValueError("--name is for --to c alone")
    net = load(args.net)
    if args.dtype is not None:
        net = net.astype(args.dtype)
    if path.exists() and os.path.samefile(path, args.net):
        raise ValueError(f"{path} is the net itself: name another file with -o")
    if args.to == "torch":
        print(write_torch(net, path))
    else:
        from bpnet import formats

        options = {} if args.name is None else {"name": args.name}
        getattr(formats, f"to_{args.to}")(net, path, **options)
    print(f"wrote {path}: {net}")
    return 0


def write_torch(net: MLP, path: Path) -> str:
    """Write the state_dict of a net's module, and return the module in words."""
    from bpnet.archive import write_atomically
    from bpnet.formats.shared import optional
    from bpnet.formats.torch import to_torch

    module = to_torch(net)
    save = optional("torch", "to_torch").save
    write_atomically(path, lambda file: save(module.state_dict(), file))
    return str(module)
