"""Texts that hold the formulas' letters, printed also where there are none of these.

A locale of old (cp1252, GBK, ASCII) has no δ or ∂, and printing one there raises
UnicodeEncodeError: for a report, just when a gradient is wrong.
"""

from __future__ import annotations

import sys

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
