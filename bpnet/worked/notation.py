"""How a formula is written: one walk over the tree, and a table of forms for each notation.

The two of plain text stand here, Unicode and ASCII; LaTeX and MathML beside their pages.
"""

from __future__ import annotations

import math
import re
from typing import ClassVar

from bpnet.worked.expression import (
    DERIVATIVES,
    Expression,
    Letter,
    Name,
    Number,
    Operation,
    Quantity,
)

UP = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
DOWN = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUM, PRODUCT, POWER, ATOM = range(4)  # how tightly the parts of a text hold together


class Notation:
    """A way to write formulas, with the letters or with their numbers.

    A subclass gives `forms`: "{}" stands for what comes in, in order.

    Parameters
    ----------
    digits : int
        Significant digits of a number.
    shown : int
        Terms of a sum, beyond which it is abridged.
    words : dict of str to str
        For what stands between the formulas.
    """

    forms: ClassVar[dict[str, str]]
    letters: ClassVar[dict[str, str]]  # signs, letters and names of functions, where they differ
    fractions = True  # whether a quotient is written as a fraction, which needs no parentheses

    def __init__(self, digits: int, shown: int, words: dict[str, str]) -> None:
        self.digits, self.shown, self.words = digits, shown, words

    def symbol(self, name: Name) -> str:
        """Write a quantity's symbol."""
        raise NotImplementedError

    def plain(self, text: str) -> str:
        """Write a name of the user's own."""
        return text

    def form(self, name: str, *parts: object) -> str:
        """Fill in a form."""
        return self.forms[name].format(*parts)

    def letter(self, text: str) -> str:
        """Write a letter."""
        return self.form("letter", self.letters.get(text, text))

    def sign(self, text: str) -> str:
        """Write +, -, =, ≈, > or the like between two formulas, or "neg" before one."""
        return (
            self.form("neg") if text == "neg" else self.form("sign", self.letters.get(text, text))
        )

    def parens(self, text: str) -> str:
        """Write parentheses around."""
        return self.form("(", text)

    def number(self, value: float) -> str:
        """Write a number."""
        mantissa, exponent = self.split(value)
        return self.form("tens", mantissa, exponent) if exponent else self.form("number", mantissa)

    def split(self, value: float) -> tuple[str, int]:
        """Return a number as a mantissa and an exponent of ten, which mostly is 0."""
        if not math.isfinite(value):
            return self.letters.get(str(value), str(value)), 0
        mantissa, _, exponent = f"{value or 0:.{self.digits}g}".partition("e")
        return mantissa, int(exponent or 0)

    def write(self, e: Expression, numbers: bool = False) -> str:
        """Write a formula, with letters or with numbers."""
        return self.held(e, numbers)[0]

    def held(self, e: Expression, numbers: bool) -> tuple[str, int]:
        """Write a formula, and say how tightly its parts hold together."""
        if isinstance(e, Quantity) and not numbers:
            return self.symbol(e.name), ATOM
        if isinstance(e, Letter) and (not numbers or math.isnan(e.value)):
            return self.letter(e.text), ATOM
        if isinstance(e, (Quantity, Letter, Number)):
            tens = self.fractions and self.split(e.value)[1]
            return self.number(e.value), SUM if e.value < 0 else PRODUCT if tens else ATOM
        assert isinstance(e, Operation)
        return self.operation(e, numbers)

    def operation(self, e: Operation, numbers: bool) -> tuple[str, int]:
        """Write an operation, and say how tightly its parts hold together."""
        parts = e.parts
        match e.rule:
            case "neg":
                return self.sign("neg") + self.within(parts[0], PRODUCT, numbers), SUM
            case "*":
                joint = self.form("dot" if numbers else "times")
                return joint.join(self.within(part, PRODUCT, numbers) for part in parts), PRODUCT
            case "/" if self.fractions:
                return self.form("/", *(self.write(part, numbers) for part in parts)), POWER
            case "/":
                texts = [self.within(parts[k], (PRODUCT, POWER)[k], numbers) for k in (0, 1)]
                return self.form("/" if max(map(len, texts)) > 3 else "tight", *texts), PRODUCT
            case "^":
                base, own = self.held(parts[0], numbers)  # a symbol has a superscript already
                bare = own == ATOM and (numbers or not isinstance(parts[0], Quantity))
                exponent = self.write(parts[1])
                exponent = self.letters.get(f"^{exponent}", exponent)
                return self.form("^", base if bare else self.parens(base), exponent), POWER
            case rule if rule in ("+", "where") or rule.startswith("as "):
                return "".join(self.terms(e, numbers)), SUM
        inner = self.form(",").join(self.write(part, numbers) for part in parts)
        if e.rule in ("abs", "exp", "sqrt") and e.rule in self.forms:
            return self.form(e.rule, inner), ATOM
        return self.form("call", self.letters.get(e.rule) or self.plain(e.rule), inner), ATOM

    def within(self, e: Expression, hold: int, numbers: bool) -> str:
        """Write a part, in parentheses where it holds together less than its surroundings."""
        text, own = self.held(e, numbers)
        return text if own >= hold else self.parens(text)

    def terms(self, e: Expression, numbers: bool) -> list[str]:
        """Write the terms of a sum, each with its sign, the middle of many left out.

        A clause, as of the branch that holds, is a part for itself too.
        """
        rule = e.rule if isinstance(e, Operation) else ""
        if rule == "where" or rule.startswith("as "):
            x, left, right = e.parts
            word, _, sign = rule.partition(" ")
            if word == "where" and numbers:
                right = left  # the letter's value
            text = self.write(left, numbers and word == "as") + self.sign(sign or "=")
            clause = self.form("clause", self.words[word], text + self.write(right, numbers))
            return [*self.terms(x, numbers), clause]
        terms = e.parts if rule == "+" else (e,)
        left_out = len(terms) - self.shown
        written = []
        for k, term in enumerate(terms):
            if left_out > 1 and self.shown - 1 <= k < len(terms) - 1:
                if k == self.shown - 1:
                    more = self.words["more"].format(count=left_out)
                    written.append(self.sign("+") + self.form("gap", more))
                continue
            minus = isinstance(term, Operation) and term.rule == "neg"
            text, own = self.held(term.parts[0] if minus else term, numbers)
            if own < PRODUCT and (k or minus):
                text = self.parens(text)
            sign = ("neg" if k == 0 else "-") if minus else "+"
            written.append(self.sign(sign) + text if k or minus else text)
        return written


class Text(Notation):
    """Formulas in Unicode: z³₁, ∂E/∂W²₁₂."""

    fractions = False
    forms: ClassVar[dict[str, str]] = {
        "letter": "{}", "number": "{}", "tens": "{}e{}", "sign": " {} ", "neg": "-", "(": "({})",
        "times": " · ", "dot": " · ", "/": "{} / {}", "tight": "{}/{}", "^": "{}{}", ",": ", ",
        "abs": "|{}|", "call": "{}({})", "clause": ", {} {}", "gap": "… ({}) …",
    }  # fmt: skip
    letters: ClassVar[dict[str, str]] = {
        "<=": "≤",
        "sqrt": "√",
        "^2": "²",
        "^3": "³",
        "inf": "∞",
        "-inf": "-∞",
    }

    def symbol(self, name: Name) -> str:
        """Write z³₁."""
        kind = {"delta": "δ", "df": "z"}.get(name.kind, name.kind[-1])
        above = f"{name.l or ''}".translate(UP) + "⁺" * name.new
        text = f"{kind}{above}{''.join(name.below).translate(DOWN)}"
        if name.kind == "df":
            return f"f'({text})"
        return f"∂E/∂{text}" if name.kind in DERIVATIVES else text


class Ascii(Text):
    """Formulas in ASCII, the quantities spelled as in the code: z[3][0], dE/dW[2][0, 1]."""

    forms: ClassVar[dict[str, str]] = Text.forms | {
        "times": " * ", "dot": " * ", "^": "{}^{}", "abs": "abs({})", "gap": "... ({}) ...",
    }  # fmt: skip
    letters: ClassVar[dict[str, str]] = {"≈": "~", "η": "eta", "π": "pi"}

    def symbol(self, name: Name) -> str:
        """Write z[3][0]."""
        if name.kind == "df":
            return f"f'({name._replace(kind='z')})"
        return re.sub("^d(?=[Wba])", "dE/d", str(name))
