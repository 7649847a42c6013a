"""Reading what somebody calls a quantity: as the code does, or as the formulas do."""

from __future__ import annotations

import re

from bpnet.worked.expression import Name

KINDS = "delta|dW|db|da|df|W|b|z|a|E|y|x"
CODE = re.compile(rf"(new\.)?({KINDS})(?:\[(\d+)\])?(?:\[([\d,]+)\])?")
SYMBOL = re.compile(rf"({KINDS})([⁰¹²³⁴⁵⁶⁷⁸⁹]*)(⁺?)([₀₁₂₃₄₅₆₇₈₉,]*)")
DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "0123456789" * 2)


def parse(text: str, samples: int) -> Name:
    """Return the name that a text spells: ``W[3][1, 0]`` or ``W³₂₁``, ``delta[2][0]`` or ``δ²₁``.

    Of one sample, the index of a quantity of its pass needs no number of the sample.

    Raises
    ------
    KeyError
        If it is no name of a quantity.
    """
    plain = text.replace(" ", "").replace("δ", "delta").replace("∂", "d").replace("dE/dz", "delta")
    plain = re.sub(r"^f'\(z(.*)\)$", r"df\1", plain.replace("dE/d", "d"))
    if found := CODE.fullmatch(plain):
        new, kind, l, inner = found.groups()
        if kind in "Eyx" and inner is None:
            l, inner = None, l
        at = [int(n) for n in (inner or "").split(",") if n]
    elif found := SYMBOL.fullmatch(plain):
        kind, l, new, inner = (group.translate(DIGITS) for group in found.groups())
        single = "," not in inner and rank(kind, samples) > 1  # 21 is 2 and 1
        at = [int(n) - 1 for n in (inner if single else inner.split(",")) if n]
    else:
        raise KeyError(f"{text!r} is no quantity: write W[3][1, 0], delta[2][0], dW[2][0, 1] or E")
    if samples == 1 and len(at) == rank(kind, samples) + 1 and at[0] == 0:
        at = at[1:]
    kind, l = ("a", "1") if kind == "x" else (kind, l)
    return Name(kind, int(l or 0), tuple(at), bool(new))


def rank(kind: str, samples: int) -> int:
    """Return how many numbers the index of such a quantity has."""
    if kind in ("W", "dW"):
        return 2
    return 1 if kind in ("b", "db") or samples == 1 else 2
