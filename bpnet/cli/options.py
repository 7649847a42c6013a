"""What the commands' parsers share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from bpnet.rules.losses import LOSSES


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    commands: tuple[str, ...] = ()  # the names of its subcommands

    def error(self, message: str) -> NoReturn:
        """Print the message without the usage, and exit with status 2."""
        print(f"bpnet: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def say(text: str) -> None:
    """Say on a terminal what takes a moment; the next line is longer and takes its place."""
    if sys.stdout.isatty():
        print(text, end="\r", flush=True)


def layers(text: str) -> tuple[int, ...]:
    """Return the numbers of neurons in a text such as "2,5,2" or "2-5-2"."""
    try:
        return tuple(int(n) for n in text.replace("-", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of layer sizes such as 2,5,2 or 2-5-2"
        ) from None


def names(text: str) -> str | tuple[str, ...]:
    """Return the name in a text, or of several, as in "tanh,relu", each."""
    found = tuple(name.strip() for name in text.split(","))
    return found if len(found) > 1 else found[0]


def add_command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    words: tuple[str, str, str],
) -> Parser:
    """Add a command: its help in a line, its description and its examples in words."""
    parser = commands.add_parser(
        name, help=words[0], description=words[1], epilog=words[2],
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def add_option(
    options: argparse._ActionsContainer, name: str, default: Any, metavar: str, text: str = ""
) -> None:
    """Add an option of the kind of its default, which its help tells."""
    kind = layers if isinstance(default, tuple) else type(default)
    told = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text = f"{text} (default: {told})" if text else f"default: {told}"
    options.add_argument(name, type=kind, default=default, metavar=metavar, help=text)


def add_loss(options: argparse._ActionsContainer, more: str = "") -> None:
    """Add ``--loss``, whose help goes on with `more`."""
    text = f"one of {', '.join(LOSSES)} (default: half_squared_error){more}"
    options.add_argument("--loss", default="half_squared_error", metavar="NAME", help=text)
