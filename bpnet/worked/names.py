"""What a quantity is called, and reading it as the code or as the formulas spell it."""

from __future__ import annotations

import re
from typing import NamedTuple

SPELLED = re.compile(
    r"(new\.)?(delta|dW|db|da|df|W|b|z|a|E|y|x)(?:\[(\d+)\])?(⁺?)(?:\[([\d,]+)\]|_([\d,]+))?"
)
UP, DOWN = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺", "₀₁₂₃₄₅₆₇₈₉"
PLAIN = str.maketrans(UP + DOWN, "0123456789+0123456789")


class Name(NamedTuple):
    """What a quantity is called, such as ``dW[3][1, 0]``."""

    kind: str  # W, b, z, a, delta, E, y; dW, db, da for ∂E/∂W, ∂E/∂b, ∂E/∂a; df for f'(z)
    l: int = 0  # 0 where there is no layer
    at: tuple[int, ...] = ()  # from 0, as in the code; in a batch of several the sample first
    new: bool = False  # after the step

    @property
    def sampled(self) -> bool:
        """Whether each sample has its own."""
        return self.kind not in ("W", "b", "dW", "db")

    def __str__(self) -> str:
        layer = f"[{self.l}]" if self.l else ""
        index = f"[{', '.join(map(str, self.at))}]" if self.at else ""
        return f"{'new.' * self.new}{self.kind}{layer}{index}"


def parse(text: str, samples: int) -> Name:
    """Return the name that a text spells: ``W[3][1, 0]`` or ``W³₂₁``; else raise KeyError."""
    if not isinstance(text, str):
        raise KeyError(f"a quantity is named by a text such as 'W[3][1, 0]', not by {text!r}")
    plain = text.replace(" ", "").replace("δ", "delta").replace("∂", "d").replace("dE/dz", "delta")
    plain = re.sub(r"^f'\(z(.*)\)$", r"df\1", plain.replace("dE/d", "d"))
    plain = re.sub(f"[{UP[:10]}]+", lambda found: f"[{found[0].translate(PLAIN)}]", plain)
    plain = re.sub(f"[{DOWN},]*[{DOWN}]", lambda found: f"_{found[0].translate(PLAIN)}", plain)
    found = SPELLED.fullmatch(plain)
    if not found:
        raise KeyError(f"{text!r} is no quantity: write W[3][1, 0], delta[2][0], dW[2][0, 1] or E")
    new, kind, l, plus, inner, small = found.groups()
    if kind in "Eyx" and inner is None and small is None:
        l, inner = None, l
    rank = 2 if kind in ("W", "dW") else 1 + (Name(kind).sampled and samples > 1)
    if small and "," not in small and rank > 1:  # 21 is 2 and 1
        small = ",".join(small)
    at = tuple(int(n) - bool(small) for n in (small or inner or "").split(",") if n)
    if samples == 1 and len(at) == rank + 1 and at[0] == 0:
        at = at[1:]
    kind, l = ("a", "1") if kind == "x" else (kind, l)
    return Name(kind, int(l or 0), at, bool(new or plus))
