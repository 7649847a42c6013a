r"""A worked solution as LaTeX, and as Markdown with LaTeX in it.

The formulas stand in ``$$\begin{aligned}``, which needs amsmath and which KaTeX and MathJax know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from bpnet.worked.expression import DERIVATIVES, Name
from bpnet.worked.notation import Notation
from bpnet.worked.outline import Section, Solution
from bpnet.worked.page import Page


class Latex(Notation):
    r"""Formulas in LaTeX: z^{3}_{1}, \frac{\partial E}{\partial W^{2}_{12}}."""

    forms: ClassVar[dict[str, str]] = {
        "letter": "{}", "number": "{}", "tens": r"{} \cdot 10^{{{}}}", "sign": " {} ", "neg": "-",
        "(": r"\left({}\right)", "times": r" \, ", "dot": r" \cdot ", "/": r"\frac{{{}}}{{{}}}",
        "^": "{}^{{{}}}", ",": ", ", "abs": r"\left|{}\right|", "exp": "e^{{{}}}",
        "sqrt": r"\sqrt{{{}}}", "call": r"{}\left({}\right)", "clause": r",\ \text{{{} }} {}",
        "gap": r"\cdots \text{{ ({}) }} \cdots",
    }  # fmt: skip
    letters: ClassVar[dict[str, str]] = {
        "<=": r"\le", "≈": r"\approx", "η": r"\eta", "π": r"\pi", "inf": r"\infty",
        "-inf": r"-\infty", "nan": r"\mathrm{NaN}", "ln": r"\ln", "tanh": r"\tanh", "max": r"\max",
    }  # fmt: skip

    def plain(self, text: str) -> str:
        """Write a name of the user's own."""
        return rf"\mathrm{{{escaped(text)}}}"

    def symbol(self, name: Name) -> str:
        """Write z^{3}_{1}."""
        kind = {"delta": r"\delta", "df": "z"}.get(name.kind, name.kind[-1])
        above, below = f"{name.l or ''}{'+' * name.new}", "".join(name.below)
        text = kind + (f"^{{{above}}}" if above else "") + (f"_{{{below}}}" if below else "")
        if name.kind == "df":
            return f"f'({text})"
        return rf"\frac{{\partial E}}{{\partial {text}}}" if name.kind in DERIVATIVES else text


class LatexPage(Page):
    """A solution as the body of a LaTeX document."""

    forms: ClassVar[dict[str, str]] = {
        "inline": "${}$",
        "code": r"\texttt{{{}}}",
        "aside": r"\ \text{{({})}}",
    }
    heads = (r"\section*{{{}}}", r"\subsection*{{{}}}")

    def __init__(self, worked: Solution) -> None:
        super().__init__(worked, Latex(worked.digits, worked.shown, worked.words))

    def plain(self, text: str) -> str:
        """Write words or code that came from elsewhere."""
        return escaped(text)

    def listing(self, code: Sequence[str]) -> str:
        """Write lines of code."""
        return r"\noindent " + "\\\\\n".join(map(self.code, code))

    def write(self) -> str:
        """Return the whole solution."""
        title, *more = self.titles()
        parts = [self.heads[0].format(title), *more, self.legend()]
        for section in self.worked.sections:
            parts += self.section(section)
        return "\n\n".join(parts) + "\n"

    def section(self, section: Section) -> list[str]:
        """Write a heading, the lines of code, and the equations."""
        steps, parts, rows = self.steps(section), [], []
        if section.rows:
            parts.append(self.heads[1].format(self.title(section)))
            code = [str(line) for line in self.lines(section, steps)]
            parts += [self.listing(code)] * bool(code)
            if section.title == "given":
                each = [[self.given(name) for name in names] for names in section.rows]
                rows = ["&" + r" \quad ".join(equations) for equations in each]
            for step in steps if not rows else ():
                texts = ["&" + "".join(terms).rstrip() for terms in self.rows(step)]
                rows += [f"{self.notation.write(step.symbol)} {texts[0]}", *texts[1:]]
            body = " \\\\\n".join(rows)
            parts.append(f"$$\\begin{{aligned}}\n{body}\n\\end{{aligned}}$$")
        return [*parts, *self.remarks(section, steps)]


class MarkdownPage(LatexPage):
    """A solution as Markdown, the formulas in LaTeX."""

    heads = ("## {}", "### {}")

    def code(self, text: str) -> str:
        """Write code among words."""
        return f"`{text}`"

    def plain(self, text: str) -> str:
        """Write words that came from elsewhere."""
        return re.sub(r"([\\`*_$<])", r"\\\1", text)

    def listing(self, code: Sequence[str]) -> str:
        """Write lines of code."""
        return "\n".join(["```text", *code, "```"])


def escaped(text: str) -> str:
    """Return a text with LaTeX's own characters escaped."""
    named = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}
    return re.sub(r"[\\{}$&#%_^~]", lambda found: named.get(found[0], "\\" + found[0]), text)
