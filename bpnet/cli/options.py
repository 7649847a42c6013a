"""What the commands' parsers share."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from bpnet.rules.losses import LOSSES


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line.

    Attributes
    ----------
    commands : tuple of str
        The names of its subcommands.
    """

    commands: tuple[str, ...] = ()

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


def add_sizes(options: argparse._ActionsContainer) -> None:
    """Add ``--sizes``."""
    options.add_argument(
        "--sizes",
        type=layers,
        default=(2, 2, 2),
        metavar="N,N,...",
        help="neurons in each layer, the input first (default: 2,2,2)",
    )


def add_loss(options: argparse._ActionsContainer, more: str = "") -> None:
    """Add ``--loss``, whose help goes on with `more`."""
    options.add_argument(
        "--loss",
        default="half_squared_error",
        metavar="NAME",
        help=f"one of {', '.join(LOSSES)} (default: half_squared_error){more}",
    )
