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

FORMATS = ("text", "markdown", "latex", "html")
KEYS = ("W", "b", "activation", "output", "loss")  # of the short form of a net in JSON
SHORT = '{"W": [W2, ..., WL], "b": [b2, ..., bL], "activation": "sigmoid", "loss": "..."}'

EXAMPLES = """\
examples:
  bpnet explain --published
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
    net = parser.add_mutually_exclusive_group(required=True)
    net.add_argument(
        "--published",
        action="store_true",
        help="Mazur's step by step example (2015), and the losses that circulate for it",
    )
    net.add_argument("--weights", metavar="FILE", help="a net in a .json or .npz file")
    parser.add_argument("--x", metavar="N,...[;...]", help="the input; samples apart by ;")
    parser.add_argument("--y", metavar="N,...[;...]", help="the target, likewise")
    parser.add_argument(
        "--learning-rate", type=float, default=0.5, metavar="RATE", help="default: 0.5"
    )
    parser.add_argument(
        "--steps", type=int, default=1, metavar="N", help="of many the first and the last"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument(
        "--of", metavar="NAME", help="one quantity and all that it came from: delta[2][0], E, ..."
    )
    parser.add_argument("--digits", type=int, default=6, metavar="N", help="default: 6")
    parser.add_argument(
        "--shown", type=int, default=4, metavar="N", help="neurons, samples and terms (default: 4)"
    )
    parser.add_argument(
        "--differences", action="store_true", help="beside each derivative its finite difference"
    )
    parser.add_argument("--language", default="en", help="en or zh (default: en)")
    parser.add_argument(
        "--ascii", action="store_true", help="text in ASCII, spelled as in the code"
    )
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
    worked = explain(
        net,
        samples(x, "--x"),
        samples(y, "--y"),
        learning_rate=args.learning_rate,
        digits=args.digits,
        shown=args.shown,
        differences=args.differences,
        language=args.language,
    )
    first = asked(worked, args.of)
    for _ in range(1, steps):
        worked = worked.after
    solutions = [first] if steps == 1 else [first, asked(worked, args.of)]
    riddle = args.published and (args.x, args.y, args.of) == (None, None, None)
    text = rendered(solutions, args, riddle=riddle)
    write(text, html=args.format == "html")
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
    """Return the net in a file: .npz, the JSON of `formats.to_json`, or its short form.

    Raises
    ------
    OSError
        If the file cannot be read.
    InvalidFile
        If it holds no net.
    """
    from bpnet.formats.npz import load
    from bpnet.mlp import MLP

    if not path.lower().endswith(".json"):
        return load(path)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidFile(f"{path} is no JSON: {error}") from None
    if isinstance(found, dict) and "format" in found:
        net: MLP = import_module("bpnet.formats.json").from_json(path)
        return net
    if not isinstance(found, dict) or not {"W", "b"} <= set(found) <= set(KEYS):
        raise InvalidFile(f"{path} holds no net: it must be {SHORT}")
    try:
        return MLP.from_weights(**found)
    except (ValueError, TypeError) as error:
        raise InvalidFile(f"{path} holds no net: {error}") from None


def rendered(solutions: list[Worked], args: argparse.Namespace, *, riddle: bool) -> str:
    """Return the solutions in a format, with what is left out between them, and the riddle."""
    from bpnet.worked.html import HtmlPage, document, preformatted
    from bpnet.worked.published import riddle_text

    first, last = solutions[0], solutions[-1]
    ascii_only = True if args.ascii or args.format == "latex" else None
    note, answers = "", riddle_text(language=args.language, ascii_only=ascii_only) if riddle else ""
    if last.done > 1:
        loss, done = f"{last['E'].value:.{args.digits}g}", f"{last.done:,}"
        note = last.words["between"].format(count=f"{last.done - 1:,}", done=done, loss=loss)
    if args.format == "html":
        pages = [HtmlPage(worked).write() for worked in solutions]
        more = [f"<p>{note}</p>"] * bool(note), [preformatted(answers)] * bool(answers)
        parts = [pages[0], *more[0], *pages[1:], *more[1]]
        return document(repr(first.work.net), args.language, parts)
    fences = {
        "markdown": ("```text\n", "\n```"), "latex": ("\\begin{verbatim}\n", "\n\\end{verbatim}"),
    }  # fmt: skip
    before, behind = fences.get(args.format, ("", ""))
    if args.format == "text":
        pages = [f"{worked.text(ascii_only=ascii_only)}\n" for worked in solutions]
    else:
        pages = [getattr(worked, args.format)() for worked in solutions]
    parts = [pages[0], f"{note}\n" * bool(note), *pages[1:]]
    parts.append(f"{before}{answers}{behind}\n" * bool(answers))
    return "\n".join(part for part in parts if part)


def write(text: str, *, html: bool) -> None:
    """Print a text; a letter that the terminal has not is a question mark, in HTML its number."""
    encoding = sys.stdout.encoding or "utf-8"
    if html and encoding.lower().replace("-", "") != "utf8":
        text = text.encode("ascii", "xmlcharrefreplace").decode()
    print(text.encode(encoding, "replace").decode(encoding), end="")
