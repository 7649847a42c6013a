"""What the commands' parsers share."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message without the usage, and exit with status 2."""
        print(f"bpnet: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


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
