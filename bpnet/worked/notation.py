"""How a formula is written: one walk over the tree, and a table of forms for each notation."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from bpnet.worked.names import DOWN, UP, Name, parse

SUM, PRODUCT, POWER, ATOM = range(4)  # how tightly the parts of a text hold together
LETTERS = {"eta": "η", "pi": "π", "m": "m", "t": "t", "s": "s"}  # all other names are quantities
SIGNS = {ast.Gt: ">", ast.LtE: "<=", ast.Lt: "<", ast.Eq: "=", ast.Add: "+", ast.Sub: "-"}

TEXT = {  # "{}" stands for what comes in, in order; a sign or a letter without a form is itself
    "tens": "{}e{}", "sign": " {} ", "neg": "-", "(": "({})", "times": " · ", "dot": " · ",
    "/": "{} / {}", "tight": "{}/{}", "pow": "{}{}", ",": ", ", "abs": "|{}|", "call": "{}({})",
    "clause": ", {} {}", "gap": "… ({}) …", "^": "{0}{1}", "_": "{0}{2}", "^_": "{0}{1}{2}",
    "<=": "≤", "sqrt": "√", "^2": "²", "^3": "³", "inf": "∞", "-inf": "-∞", "d": "∂E/∂{}",
    "df": "f'({})",
}  # fmt: skip
ASCII = TEXT | {
    "times": " * ", "dot": " * ", "pow": "{}^{}", "abs": "abs({})", "gap": "... ({}) ...",
    "<=": "<=", "sqrt": "sqrt", "^2": "2", "^3": "3", "inf": "inf", "-inf": "-inf", "≈": "~",
    "η": "eta", "π": "pi", "d": "dE/d{}",
}  # fmt: skip
LATEX = {
    "tens": r"{} \cdot 10^{{{}}}", "sign": " {} ", "neg": "-", "(": r"\left({}\right)",
    "times": r" \, ", "dot": r" \cdot ", "/": r"\frac{{{}}}{{{}}}", "pow": "{}^{{{}}}", ",": ", ",
    "abs": r"\left|{}\right|", "exp": "e^{{{}}}", "root": r"\sqrt{{{}}}",
    "call": r"{}\left({}\right)", "clause": r",\ \text{{{} }} {}", "own": r"\mathrm{{{}}}",
    "gap": r"\cdots \text{{ ({}) }} \cdots", "^": "{0}^{{{1}}}", "_": "{0}_{{{2}}}",
    "^_": "{0}^{{{1}}}_{{{2}}}", "<=": r"\le", "≈": r"\approx", "η": r"\eta", "π": r"\pi",
    "δ": r"\delta", "inf": r"\infty", "-inf": r"-\infty", "nan": r"\mathrm{NaN}", "ln": r"\ln",
    "tanh": r"\tanh", "max": r"\max", "d": r"\frac{{\partial E}}{{\partial {}}}", "df": "f'({})",
}  # fmt: skip
PARENS = '<mrow><mo stretchy="false">(</mo>{}<mo stretchy="false">)</mo></mrow>'
MATHML = {
    "letter": "<mi>{}</mi>", "number": "<mn>{}</mn>", "mark": "<mo>{}</mo>",
    "tens": "<mn>{}</mn><mo>·</mo><msup><mn>10</mn><mn>{}</mn></msup>", "(": PARENS,
    "sign": '<mo form="infix">{}</mo>', "neg": '<mo form="prefix">−</mo>',  # also at an end
    "times": "<mo>&#x2062;</mo>", "dot": "<mo>·</mo>", ",": "<mo>,</mo>",
    "/": "<mfrac><mrow>{}</mrow><mrow>{}</mrow></mfrac>",
    "pow": "<msup><mrow>{}</mrow><mrow>{}</mrow></msup>",
    "abs": "<mrow><mo>|</mo>{}<mo>|</mo></mrow>", "root": "<msqrt>{}</msqrt>",
    "exp": "<msup><mi>e</mi><mrow>{}</mrow></msup>",
    "call": "<mi>{}</mi><mo>&#x2061;</mo>" + PARENS,
    "clause": "<mtext>, {}&nbsp;</mtext>{}", "gap": "<mo>⋯</mo><mtext>({})</mtext><mo>⋯</mo>",
    "^": "<msup>{0}<mrow>{1}</mrow></msup>", "_": "<msub>{0}<mrow>{2}</mrow></msub>",
    "^_": "<msubsup>{0}<mrow>{2}</mrow><mrow>{1}</mrow></msubsup>", "<=": "≤", "<": "&lt;",
    ">": "&gt;", "-": "−", "inf": "∞", "-inf": "−∞", "df": f"<mi>f</mi><mo>′</mo>{PARENS}",
    "d": "<mfrac><mrow><mo>∂</mo><mi>E</mi></mrow><mrow><mo>∂</mo>{}</mrow></mfrac>",
}  # fmt: skip


class Leaves(ast.NodeTransformer):
    """Makes one name of a quantity such as ``new.W[3][1, 0]``."""

    def __init__(self, code: str) -> None:
        self.code = code

    def visit_Subscript(self, node: ast.Subscript | ast.Attribute) -> ast.Name:
        """Return the name."""
        name = self.code[node.col_offset : node.end_col_offset]
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    visit_Attribute = visit_Subscript


@lru_cache(4096)
def trees(code: str) -> list[ast.expr]:
    """Return the formula in a text, and behind it the clause, if there is one."""
    lines = ast.parse(code).body
    return [Leaves(code).visit(line.value) for line in lines if isinstance(line, ast.Expr)]


def quantities(code: str) -> tuple[str, ...]:
    """Return the names of the quantities in a formula, from left to right."""
    return tuple(dict.fromkeys(re.findall(r"(?:new\.)?\w+(?:\[[\d, ]+\])+", code)))


@dataclass(frozen=True)
class Notation:
    """A way to write formulas, with the letters, or with the numbers of some of them.

    Numbers have so many significant digits; a sum of more terms than are shown is abridged.
    """

    forms: dict[str, str]
    digits: int
    shown: int
    words: dict[str, str]

    def form(self, name: str, *parts: object) -> str:
        """Fill in a form."""
        return self.forms.get(name, "{}").format(*parts)

    def sign(self, text: str) -> str:
        """Write +, -, =, ≈, > or the like between two formulas, or "neg" before one."""
        return self.form("neg" if text == "neg" else "sign", self.forms.get(text, text))

    def plain(self, text: str) -> str:
        """Write words or names that came from elsewhere."""
        if self.forms is LATEX:
            named = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}
            return re.sub(r"[\\{}$&#%_^~]", lambda c: named.get(c[0], "\\" + c[0]), text)
        return escape(text) if self.forms is MATHML else text

    def symbol(self, name: Name) -> str:
        """Write z with its layer above and its index below, or as the code spells it."""
        kind = {"delta": "δ", "df": "z"}.get(name.kind, name.kind[-1])
        if self.forms is ASCII:
            text = str(name._replace(kind="delta" if kind == "δ" else kind))
        else:
            numbers = [str(i + 1) for i in name.at]
            comma = "," * (max(map(len, numbers), default=1) > 1)  # 21 would not be 2 and 1
            scripts = [f"{name.l or ''}{'+' * name.new}", comma.join(numbers)]
            form = "^" * bool(scripts[0]) + "_" * bool(scripts[1])
            if self.forms is TEXT:
                small = (str.maketrans("0123456789+", UP), str.maketrans("0123456789", DOWN))
                scripts = [text.translate(to) for text, to in zip(scripts, small, strict=True)]
            marked = [
                "".join(self.form("number" if c.isdigit() else "mark", c)
                        for c in re.findall(r"\d+|\D", text)) for text in scripts
            ]  # fmt: skip
            text = self.form(form, self.form("letter", self.forms.get(kind, kind)), *marked)
        if name.kind == "df":
            return self.form("df", text)
        return self.form("d", text) if name.kind in ("dW", "db", "da") else text

    def number(self, value: float) -> str:
        """Write a number."""
        mantissa, exponent = self.split(value)
        text = self.form("tens" if exponent else "number", mantissa, exponent)
        return text.replace(">-", ">−")

    def split(self, value: float) -> tuple[str, int]:
        """Return a number as a mantissa and an exponent of ten, which mostly is 0."""
        if not math.isfinite(value):
            return self.forms.get(str(value), str(value)), 0
        mantissa, _, exponent = f"{value or 0:.{self.digits}g}".partition("e")
        return mantissa, int(exponent or 0)

    def write(self, code: str, numbers: Mapping[str, float] | None = None) -> str:
        """Write a formula."""
        return "".join(self.terms(code, numbers))

    def terms(self, code: str, numbers: Mapping[str, float] | None = None) -> list[str]:
        """Write the terms of a formula, each with its sign; a clause is one too."""
        (formula, *clauses), numbers = trees(code), numbers or {}
        written = self.summands(formula, numbers)
        for e in clauses:
            assert isinstance(e, ast.Compare)
            left, right, word = e.left, e.comparators[0], "as"
            text = self.held(left, numbers)[0]
            if isinstance(left, ast.Name) and left.id in LETTERS:
                right, word = left if numbers else right, "where"  # the letter's value
                text = self.held(left, {})[0]
            text += self.sign(SIGNS[type(e.ops[0])]) + self.held(right, numbers)[0]
            written.append(self.form("clause", self.words[word], text))
        return written

    def held(self, e: ast.expr, numbers: Mapping[str, float]) -> tuple[str, int]:
        """Write a formula, and say how tightly its parts hold together."""
        match e:
            case ast.Name(id=name) if name not in numbers:
                letter = LETTERS.get(name)
                if letter is None:
                    return self.symbol(parse(name)), ATOM
                return self.form("letter", self.forms.get(letter, letter)), ATOM
            case ast.Name() | ast.Constant():
                value = numbers[e.id] if isinstance(e, ast.Name) else float(e.value)  # type: ignore[arg-type]
                tens = "root" in self.forms and self.split(value)[1]  # a product, but not in text
                return self.number(value), SUM if value < 0 else PRODUCT if tens else ATOM
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                both = [self.within(part, PRODUCT, numbers) for part in (left, right)]
                return self.form("dot" if numbers else "times").join(both), PRODUCT
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                if "root" in self.forms:  # a fraction needs no parentheses
                    both = [self.held(part, numbers)[0] for part in (left, right)]
                    return self.form("/", *both), POWER
                both = [self.within(left, PRODUCT, numbers), self.within(right, POWER, numbers)]
                return self.form("/" if max(map(len, both)) > 3 else "tight", *both), PRODUCT
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                base, own = self.held(left, numbers)  # a symbol has a superscript already
                bare = own == ATOM and (not isinstance(left, ast.Name) or left.id in LETTERS
                                        or left.id in numbers)  # fmt: skip
                power = self.held(right, {})[0]
                power = self.forms.get(f"^{power}", power)
                return self.form("pow", base if bare else self.form("(", base), power), POWER
            case ast.Call(func=func, args=args) if name_of(func) != "sum":
                return self.called(name_of(func), [self.held(arg, numbers)[0] for arg in args])
        return "".join(self.summands(e, numbers)), SUM

    def called(self, name: str, inner: list[str]) -> tuple[str, int]:
        """Write a function of something."""
        form = "root" if name == "sqrt" and "root" in self.forms else name
        if form in ("abs", "exp", "root") and form in self.forms:
            return self.form(form, *inner), ATOM
        head = self.forms.get(name)
        if head is None:
            known = name in ("exp", "ln", "tanh", "max")
            head = name if known else self.form("own", self.plain(name))
        return self.form("call", head, self.form(",").join(inner)), ATOM

    def within(self, e: ast.expr, hold: int, numbers: Mapping[str, float]) -> str:
        """Write a part, in parentheses where it holds together less than its surroundings."""
        text, own = self.held(e, numbers)
        return text if own >= hold else self.form("(", text)

    def summands(self, e: ast.expr, numbers: Mapping[str, float]) -> list[str]:
        """Write the terms of a sum, each with its sign, the middle of many left out."""
        terms = flat(e)
        gap = range(self.shown - 1, len(terms) - 1) if len(terms) - self.shown > 1 else range(0)
        written = []
        for k, (sign, term) in enumerate(terms):
            if k in gap:
                if k == gap[0]:
                    more = self.words["more"].format(count=len(gap))
                    written.append(self.sign("+") + self.form("gap", more))
                continue
            text, own = self.held(term, numbers)
            first = k == 0 and sign == "+"
            if own < PRODUCT and not first:
                text = self.form("(", text)
            written.append(text if first else self.sign("neg" if k == 0 else sign) + text)
        return written


def flat(e: ast.expr) -> list[tuple[str, ast.expr]]:
    """Return the terms of a sum, each with its sign."""
    match e:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            return [*flat(left), (SIGNS[type(op)], right)]
        case ast.Call(func=func, args=args) if name_of(func) == "sum":
            return [("+", arg) for arg in args]
        case ast.UnaryOp(operand=operand):
            return [("-", operand)]
    return [("+", e)]


def name_of(function: ast.expr) -> str:
    """Return the name of a function; somebody's own stands in quotes."""
    assert isinstance(function, (ast.Name, ast.Constant))
    return function.id if isinstance(function, ast.Name) else str(function.value)
