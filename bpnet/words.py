"""Texts that are kept in files, and those with formulas' letters, printed also without these.

A locale of old (cp1252, GBK, ASCII) has no δ or ∂, and printing one there raises
UnicodeEncodeError: for a report, just when a gradient is wrong.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

SPELLED = {
    "δ": "delta", "θ": "theta", "η": "eta", "σ": "sigma", "Σ": "sum", "∂": "d", "ᵀ": "^T",
    "⊙": "*", "·": "*", "×": "x", "≠": "!=", "≤": "<=", "≥": ">=", "√": "sqrt", "±": "+-",
    "½": "1/2", "¹": "^1", "²": "^2", "³": "^3", "…": "...", "∞": "inf", "→": "->", "←": "<-",
}  # fmt: skip
TABLE = str.maketrans(SPELLED)


class Words(str):
    """A text as it is, but that ``print`` spells it out (d for ∂) where letters are missing."""

    __slots__ = ()

    def __str__(self) -> str:
        return shown(self, sys.stdout, sys.stderr)


def shown(text: str, *streams: object) -> str:
    """Return a text as all of these streams can show it: as it is, or spelled in ASCII."""
    text = "".join(text)  # no Words any more
    for stream in streams:
        try:
            text.encode(getattr(stream, "encoding", None) or "utf-8")
        except (UnicodeEncodeError, LookupError):
            text = text.translate(TABLE).encode("ascii", "backslashreplace").decode("ascii")
    return text


def stored(name: str) -> str:
    """Return the text of a file of this package, such as ``worked/page.css``."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def table(name: str) -> dict[str, Any]:
    """Return what a TOML file of this package says."""
    return tomllib.loads(stored(name))
