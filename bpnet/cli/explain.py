"""The command ``bpnet explain``: a step of gradient descent worked out, with every number."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpnet.checks import as_int
from bpnet.cli.options import Parser
from bpnet.errors import InvalidFile

if TYPE_CHECKING:
    from bpnet.mlp import MLP
    from bpnet.worked.solution import Worked

KEYS = ("W", "b", "activation", "output", "loss")  # of the short form of a net in JSON
SHORT = '{"W": [W2, ..., WL], "b": [b2, ..., bL], "activation": "sigmoid", "loss": "..."}'
FENCES = {
    "markdown": ("```text\n", "\n```\n"), "latex": ("\\begin{verbatim}\n", "\n\\end{verbatim}\n"),
}  # fmt: skip

EXAMPLES = """\
examples:
  bpnet explain --published --of "dW[2][0, 1]" --differences
  bpnet explain --published --format html > worked.html
  bpnet explain --weights net.json --x 1,0,1 --y 1 --learning-rate 0.9
  bpnet explain --weights net.npz --x="-1,2;0.5,1" --y "0;1" --steps 10

net.json is what formats.to_json writes, or in short
  {"W": [[[0.2, 0.4], [-0.3, 0.1]], [[-0.3, -0.2]]], "b": [[-0.4, 0.2], [0.1]],
   "activation": "sigmoid", "loss": "half_squared_error"}
with W² and W³, a row for each neuron; the last two keys may be left out."""


def add_explain(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that works a step out."""
    parser = commands.add_parser(
        "explain",
        help="work a step of gradient descent out, with every number",
        description="Work a step of gradient descent out, with every number and its formula.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # fmt: off
    add = parser.add_argument
    net = parser.add_mutually_exclusive_group(required=True)
    net.add_argument("--published", action="store_true",
                     help="Mazur's example (2015), and the losses that circulate for it")
    net.add_argument("--weights", metavar="FILE", help="a net in a .json or .npz file")
    add("--x", metavar="N,...[;...]", help="the input; samples apart by ;")
    add("--y", metavar="N,...[;...]", help="the target, likewise")
    add("--learning-rate", type=float, default=0.5, metavar="RATE", help="default: 0.5")
    add("--steps", type=int, default=1, metavar="N", help="of many the first and the last")
    add("--format", choices=("text", "markdown", "latex", "html"), default="text",
        help="default: text")
    add("--of", metavar="NAME", help="one quantity and all that it came from: delta[2][0], E, ...")
    add("--digits", type=int, default=6, metavar="N", help="default: 6")
    add("--shown", type=int, default=4, metavar="N",
        help="neurons, samples and terms (default: 4)")
    add("--differences", action="store_true",
        help="beside each derivative its finite difference")
    add("--language", default="en", help="en or zh (default: en)")
    add("--ascii", action="store_true", help="text in ASCII, spelled as in the code")
    # fmt: on
    parser.set_defaults(run=run_explain)


def run_explain(args: argparse.Namespace) -> int:
    """Print the worked solution of one or more steps."""
    from bpnet.worked import published
    from bpnet.worked.solution import explain

    steps = as_int(args.steps, "--steps", least=1)
    if args.published:
        net, x, y = published.example(), args.x or published.X, args.y or published.Y
    elif args.x is None or args.y is None:
        raise ValueError("--weights needs a sample: give --x and --y")
    else:
        net, x, y = read_net(args.weights), args.x, args.y
    options = ("learning_rate", "digits", "shown", "differences", "language")
    chosen: dict[str, Any] = {name: getattr(args, name) for name in options}
    worked = explain(net, samples(x, "--x"), samples(y, "--y"), **chosen)
    parts: list[Worked | str] = [asked(worked, args.of)]
    for _ in range(1, steps):
        worked = worked.after
    if steps > 2:
        count, loss = f"{steps - 2:,}", f"{worked['E'].value:.{args.digits}g}"
        words = worked.words["between"]
        parts.append(words.format(count=count, done=f"{steps - 1:,}", loss=loss))
    if steps > 1:
        parts.append(asked(worked, args.of))
    if args.published and (args.x, args.y, args.of) == (None, None, None):
        ascii_only = True if args.ascii or args.format == "latex" else None
        parts.append(published.riddle_text(worked.notation(ascii_only)))
    write(parts, args)
    return 0


def asked(worked: Worked, name: str | None) -> Worked:
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


def read_net(path: str) -> MLP:
    """Return the net in a file: .npz, the JSON of `formats.to_json`, or its short form."""
    from bpnet.formats.npz import load
    from bpnet.mlp import MLP

    if not path.lower().endswith(".json"):
        return load(path)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidFile(f"{path} is no JSON: {error}") from None
    if isinstance(found, dict) and "format" in found:
        return import_module("bpnet.formats.json").from_json(path)  # type: ignore[no-any-return]
    if not isinstance(found, dict) or not {"W", "b"} <= set(found) <= set(KEYS):
        raise InvalidFile(f"{path} holds no net: it must be {SHORT}")
    try:
        return MLP.from_weights(**found)
    except (ValueError, TypeError) as error:
        raise InvalidFile(f"{path} holds no net: {error}") from None


def write(parts: list[Worked | str], args: argparse.Namespace) -> None:
    """Print solutions and lines of text; what the terminal has not is ?, in HTML a number."""
    encoding = sys.stdout.encoding or "utf-8"
    if args.format == "html":
        first, *more = parts
        assert not isinstance(first, str)
        text = first.html(*more)
        if encoding.lower().replace("-", "") != "utf8":
            text = text.encode("ascii", "xmlcharrefreplace").decode()
    else:
        before, behind = FENCES.get(args.format, ("", "\n"))
        options = {"ascii_only": args.ascii or None} if args.format == "text" else {}
        end = "\n" * (args.format == "text")
        text = "\n".join(
            getattr(part, args.format)(**options) + end if not isinstance(part, str)
            else f"{before}{part}{behind}" if "\n" in part else f"{part}\n" for part in parts
        )  # fmt: skip
    print(text.encode(encoding, "replace").decode(encoding), end="")
