"""The lines of mlp.py that compute each quantity, found by what they say, not by their number."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import NamedTuple

CALLS = {  # what a call writes stands last in it
    "z": r"dot\(.*, z\[l\]\)",
    "bias": r"add\(z\[l\], b\[l\], z\[l\]\)",
    "a": r"f\[l\]\(z\[l\], a\[l\]\)",
    "E": r"E = reduce\(.*\)",
    "output": r"output_delta\(.*, delta\[L\]\)",
    "da": r"dot\(delta\[.*\], W\[.*\], delta\[l\]\)",
    "df": r"times_df\[l\]\(.*, delta\[l\]\)",
    "dW": r"dot\(delta_T\[l\], .*, dW\[l\]\)",
    "db": r"dot\(ones, delta\[l\], db\[l\]\)",
}


class Line(NamedTuple):
    """A line of the code."""

    file: str
    number: int
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}  {self.code}"


@cache
def lines() -> dict[str, Line]:
    """Return the line for each of `CALLS`; without sources there is none."""
    from bpnet import mlp

    found: dict[str, Line] = {}
    for function in (mlp.forward_pass, mlp.backward_pass, mlp.MLP.loss):
        try:
            source, start = inspect.getsourcelines(function)
        except (OSError, TypeError):
            continue
        codes = [line.split("  #")[0].strip() for line in source]
        found |= {what: Line("mlp.py", number, code) for number, code in enumerate(codes, start)
                  for what, pattern in CALLS.items() if re.fullmatch(pattern, code)}  # fmt: skip
    return found
