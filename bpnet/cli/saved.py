"""The commands ``bpnet explain``, a step worked out with every number, and ``bpnet export``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from bpnet.checks import as_int
from bpnet.cli.options import Parser, add_command

EXAMPLES = """\
examples:
  bpnet explain --published --of "dW[2][0, 1]" --differences
  bpnet explain --published --format html > worked.html
  bpnet explain --weights net.json --x 1,0,1 --y 1 --learning-rate 0.9
  bpnet explain --weights net.npz --x="-1,2;0.5,1" --y "0;1" --steps 10

net.json is what formats.to_json writes, net.npz what net.save does."""
FORMATS = ("text", "markdown", "latex", "html")
FENCES = {"markdown": "```text\n{}\n```\n", "latex": "\\begin{{verbatim}}\n{}\n\\end{{verbatim}}\n"}
FORMS = ("c", "onnx", "torch", "json", "safetensors")
SUFFIXES = {"c": ".h", "torch": ".pt"}  # the others are called as the form is
EXPORT = (
    "write a saved net as C, ONNX, JSON or for PyTorch",
    "Write a net that `net.save` has saved in another form.",
    """\
examples:
  bpnet export net.npz --to onnx
  bpnet export net.npz --to c -o src/digits.h --dtype float32

A file of --to torch holds the state_dict of a module, which is printed.""",
)


def add_explain(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that works a step out."""
    text = "work a step of gradient descent out, with every number"
    parser = add_command(commands, "explain", run_explain, (text, text, EXAMPLES))
    add, net = parser.add_argument, parser.add_mutually_exclusive_group(required=True)
    mazur = "Mazur's example (2015), and the losses that circulate for it"
    net.add_argument("--published", action="store_true", help=mazur)
    net.add_argument("--weights", metavar="FILE", help="a net in a .json or .npz file")
    add("--x", metavar="N,...[;...]", help="the input; samples apart by ;")
    add("--y", metavar="N,...[;...]", help="the target, likewise")
    add("--learning-rate", type=float, default=0.5, metavar="RATE", help="default: 0.5")
    add("--steps", type=int, default=1, metavar="N", help="of many the first and the last")
    add("--format", choices=FORMATS, default="text", help="default: text")
    add("--of", metavar="NAME", help="one quantity and all that it came from: delta[2][0], E, ...")
    add("--digits", type=int, default=6, metavar="N", help="default: 6")
    add("--shown", type=int, default=4, metavar="N", help="neurons, samples and terms (default: 4)")
    add("--differences", action="store_true", help="by each derivative its finite difference")
    add("--language", default="en", help="en or zh (default: en)")
    add("--ascii", action="store_true", help="text in ASCII, spelled as in the code")


def run_explain(args: argparse.Namespace) -> int:
    """Print the worked solution of one or more steps."""
    from bpnet.formats.json import from_json
    from bpnet.formats.npz import load
    from bpnet.worked import published
    from bpnet.worked.page import SMALL, TextPage, shows
    from bpnet.worked.solution import Solution, explain

    steps = as_int(args.steps, "--steps", least=1)
    if args.published:
        net, x, y = published.example(), args.x or published.X, args.y or published.Y
    elif args.x is None or args.y is None:
        raise ValueError("--weights needs a sample: give --x and --y")
    else:
        read = from_json if args.weights.lower().endswith(".json") else load
        net, x, y = read(args.weights), args.x, args.y
    options = ("learning_rate", "digits", "shown", "differences", "language")
    chosen = {name: getattr(args, name) for name in options}
    worked = explain(net, samples(x, "--x"), samples(y, "--y"), **chosen)
    plain = args.ascii or args.format == "latex" or not shows(SMALL)
    notation = TextPage(worked, "ascii" if plain else "text")
    parts: list[Solution | str] = [asked(worked, args.of)]
    for _ in range(1, steps):
        worked = worked.after
    if steps > 2:
        told = {"count": f"{steps - 2:,}", "done": f"{steps - 1:,}"}
        loss = notation.number(worked["E"].value)
        parts.append(notation.words["between"].format(**told, loss=loss) + "\n")
    if steps > 1:
        parts.append(asked(worked, args.of))
    if args.published and (args.x, args.y, args.of) == (None, None, None):
        fence = "{}\n" if args.format == "html" else FENCES.get(args.format, "{}\n")
        parts.append(fence.format(published.riddle_text(notation)))
    encoding = sys.stdout.encoding or "utf-8"
    if args.format == "html":
        first, *more = parts
        text = first.html(*more) if isinstance(first, Solution) else ""
    else:
        how = {"ascii_only": plain} if args.format == "text" else {}
        texts = (p if isinstance(p, str) else getattr(p, args.format)(**how) for p in parts)
        text = "\n".join(texts)
    missing = "xmlcharrefreplace" if args.format == "html" else "replace"
    print(text.encode(encoding, missing).decode(encoding), end="")
    return 0


def asked(worked: Any, name: str | None) -> Any:
    """Return the solution, or of it the part that was asked for."""
    try:
        return worked if name is None else worked.of(name)
    except KeyError as error:
        raise ValueError(f"--of: {error.args[0]}") from None


def samples(given: Any, option: str) -> Any:
    """Return the rows in a text such as "0,1;1,0"."""
    if not isinstance(given, str):
        return given
    try:
        rows = [[float(n) for n in row.split(",")] for row in given.split(";")]
    except ValueError:
        raise ValueError(
            f"{option} is {given!r}, but must be numbers such as 0.05,0.1, samples apart by ;"
        ) from None
    return rows[0] if len(rows) == 1 else rows


def add_export(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that writes a net in another form."""
    parser = add_command(commands, "export", run_export, EXPORT)
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
