"""What a quantity is called, and reading it as the code or as the formulas spell it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

KINDS = "delta|dW|db|da|df|W|b|z|a|E|y|x"
SPELLED = re.compile(rf"(new\.)?({KINDS})(?:\[(\d+)\])?(⁺?)(?:\[([\d,]+)\]|_([\d,]+))?")
UP, DOWN = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺", "₀₁₂₃₄₅₆₇₈₉"
PLAIN = str.maketrans(UP + DOWN, "0123456789+0123456789")
PER_SAMPLE = ("z", "a", "delta", "da", "df", "y", "E", "x")


class Name(NamedTuple):
    """What a quantity is called, such as ``dW[3][1, 0]``; ``new`` is after the step.

    The kinds are W, b, z, a, delta, E, y; dW, db and da for ∂E/∂W, ∂E/∂b and ∂E/∂a; df for f'(z).
    The layer is 0 where there is none; the index is from 0, as in the code, and begins with the
    sample in a batch of several.
    """

    kind: str
    l: int = 0
    at: tuple[int, ...] = ()
    new: bool = False

    def __str__(self) -> str:
        layer = f"[{self.l}]" if self.l else ""
        index = f"[{', '.join(map(str, self.at))}]" if self.at else ""
        return f"{'new.' * self.new}{self.kind}{layer}{index}"


@lru_cache(1 << 16)
def parse(text: str, samples: int = 0) -> Name:
    """Return the name that a text spells: ``W[3][1, 0]`` or ``W³₂₁``, ``delta[2][0]`` or ``δ²₁``.

    Of one sample, the index of a quantity of its pass needs no number of the sample.

    Raises
    ------
    KeyError
        If it is no name of a quantity.
    """
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
    rank = 2 if kind in ("W", "dW") else 1 + (kind in PER_SAMPLE and samples > 1)
    if small and "," not in small and rank > 1:  # 21 is 2 and 1
        small = ",".join(small)
    at = [int(n) - bool(small) for n in (small or inner or "").split(",") if n]
    if samples == 1 and len(at) == rank + 1 and at[0] == 0:
        at = at[1:]
    kind, l = ("a", "1") if kind == "x" else (kind, l)
    return Name(kind, int(l or 0), tuple(at), bool(new or plus))
