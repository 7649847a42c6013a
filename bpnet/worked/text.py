"""A worked solution as plain text: with Unicode's small digits, or in ASCII as the code spells."""

from __future__ import annotations

import re
import sys
import textwrap
import unicodedata
from collections.abc import Sequence

from bpnet.worked.expression import Name
from bpnet.worked.notation import Ascii, Text
from bpnet.worked.outline import Section, Solution
from bpnet.worked.page import Page
from bpnet.worked.steps import Step
from bpnet.worked.words import words_of

SMALL = "δ∂η·⁺⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉≤≈√π…"  # what a terminal must show for the formulas
HELD = "\0"  # a space at which no line ends
WORD = re.compile(r"(?:[⺀-鿿]|[^\s⺀-鿿]+)[，。：；）]*\s*")  # a line may end behind each
BREAK = re.compile(r" (?=[-+·*/] )")  # where a long term may go on in the next line


class TextPage(Page):
    """A solution in lines of a width."""

    def __init__(self, worked: Solution, width: int, ascii_only: bool) -> None:
        words = worked.words
        if ascii_only and not all(map(shows, words.values())):
            words = words_of("en")
        super().__init__(
            worked, (Ascii if ascii_only else Text)(worked.digits, worked.shown, words)
        )
        self.width, self.spelled = width, ascii_only

    def code(self, text: str) -> str:
        """Write code among words."""
        return text.replace(" ", HELD)

    def write(self) -> str:
        """Return the whole solution."""
        lines = [line for title in (*self.titles(), self.legend()) for line in self.wrapped(title)]
        for section in self.worked.sections:
            lines += self.section(section)
        return "\n".join(lines)

    def wrapped(self, text: str, indent: str = "") -> list[str]:
        """Break words into lines."""
        lines = [indent]
        for word in WORD.findall(text):
            if width_of(lines[-1] + word.rstrip()) > self.width and lines[-1].strip():
                lines.append(indent)
            lines[-1] += word
        return [line.rstrip().replace(HELD, " ") for line in lines]

    def section(self, section: Section) -> list[str]:
        """Write a heading, the lines of code, and the equations."""
        steps, out = self.steps(section), [""]
        if section.rows:
            code = [f"    {line}" for line in self.lines(section, steps)]
            cut = [l if len(l) <= self.width else f"{l[: self.width - 4]} ..." for l in code]
            out += [*self.wrapped(self.title(section)), *cut, ""]
        if section.title == "given":
            out += [line for row in section.rows for line in self.side_by_side(row)]
        else:
            column = max((len(self.notation.write(step.symbol)) for step in steps), default=0)
            out += [line for step in steps for line in self.equation(step, column)]
        return out + [
            line for text in self.remarks(section, steps) for line in self.wrapped(text, "  ")
        ]

    def side_by_side(self, row: Sequence[Name]) -> list[str]:
        """Write what is given side by side."""
        text = "   ".join(self.given(name).replace(" ", HELD) for name in row)
        lines = textwrap.wrap(text, self.width - 2, break_long_words=False)
        return [f"  {line}".replace(HELD, " ") for line in lines]

    def equation(self, step: Step, column: int) -> list[str]:
        """Write symbol = formula = numbers = value, in one line or one below the other."""
        symbol = self.notation.write(step.symbol)
        rows = [[terms[0].strip(), *terms[1:]] for terms in self.rows(step)]
        one = f"  {symbol:<{column}} {' '.join(map(''.join, rows))}"
        if width_of(one) <= self.width:
            return [one]
        indent = " " * (max(column, len(symbol)) + 3)
        lines = [line for terms in rows for line in broken(terms, self.width - len(indent))]
        return [f"  {symbol:<{column}} {lines[0]}", *(indent + line for line in lines[1:])]


def broken(terms: Sequence[str], room: int) -> list[str]:
    """Break a long row between its terms; a long term before other operators."""
    lines = [""]
    for term in terms:
        for piece in [term] if width_of(term) < room - 4 else BREAK.split(term):
            joined = f"{lines[-1]} {piece.strip()}" if lines[-1] else piece
            if width_of(joined) <= room or not lines[-1]:
                lines[-1] = joined
            else:
                lines.append(f"    {piece.strip()}")
    return lines


def width_of(text: str) -> int:
    """Return the columns that a text takes; Chinese letters take two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def shows(text: str) -> bool:
    """Whether the terminal, or what takes its place, has letters for all of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
