"""How a formula is written: its code, token by token, by the marks of each format (marks.toml)."""

import ast
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from typing import Any

from bpnet.words import table
from bpnet.worked.formulas import DOWN, UP, Formula, Name, parse, rebuilt

TOKEN = re.compile(
    r"(?P<name>(new\.)?[a-zA-Z]+(\[[\d, ]+\])+|new\.E)|(?P<own>'([^'\\]|\\.)*'|\"([^\"\\]|\\.)*\")"
    r"|(?P<number>\d+(\.\d+)?(e[+-]?\d+)?)|(?P<word>sqrt\(2 / pi\)|\w+)"
    r"|(?P<mark>\) \*\* 2| [^ ]+ |, |[^ ])"
)
SMALL = (str.maketrans("0123456789+", UP), str.maketrans("0123456789", DOWN))
ESCAPED = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}


@cache
def marks_of(kind: str) -> dict[str, str]:
    """Return the marks of a format, and those of the one that it is like."""
    own: dict[str, str] = table("worked/marks.toml")[kind]
    return (marks_of(own["like"]) if "like" in own else {}) | own


@cache
def words_of(language: str) -> dict[str, str]:
    """Return the words of a language; of another, raise ValueError."""
    if language not in ("en", "zh"):
        raise ValueError(f"unknown language {language!r}: the known ones are en, zh")
    return {key: words[language] for key, words in table("worked/words.toml").items()}


class Notation:
    """A way to write formulas, with so many digits and terms of a sum."""

    def __init__(self, kind: str, digits: int, shown: int, language: str) -> None:
        self.kind, self.digits, self.shown = kind, digits, shown
        self.marks, self.words = marks_of(kind), words_of(language)

    def mark(self, kind: str, *parts: object) -> str:
        """Write a kind of token, or a part of a page."""
        return self.marks.get(kind, "{}").format(*parts)

    def plain(self, text: str) -> str:
        """Write words or names that came from elsewhere."""
        if self.kind in ("latex", "markdown"):
            return re.sub(r"[\\{}$&#%_^~]", lambda c: ESCAPED.get(c[0], "\\" + c[0]), text)
        return escape(text) if self.kind == "html" else text

    def symbol(self, name: Name) -> str:
        """Write z with its layer above and its index below, or as the code spells it."""
        kind = {"delta": "delta", "df": "z"}.get(name.kind, name.kind[-1])
        text = str(name._replace(kind=kind))
        if self.kind != "ascii":
            numbers = [str(i + 1) for i in name.at]
            comma = "," * any(len(number) > 1 for number in numbers)  # 21 would not be 2 and 1
            scripts = [f"{name.l or ''}{'+' * name.new}", comma.join(numbers)]
            form = "^" * bool(scripts[0]) + "_" * bool(scripts[1])
            for k, script in enumerate(scripts):
                runs = re.findall(r"\d+|\D", script)
                kinds = ("number" if run.isdigit() else "mark" for run in runs)
                small = script.translate(SMALL[k])
                scripts[k] = small if self.kind == "text" else "".join(map(self.mark, kinds, runs))
            text = self.mark(form, self.mark("word", self.marks.get(kind, kind)), *scripts)
        return self.mark({"df": "df", "dW": "d", "db": "d", "da": "d"}.get(name.kind, ""), text)

    def number(self, value: float, *, within: bool = False) -> str:
        """Write a number; within a formula in parentheses, where it needs them."""
        text = f"{value or 0:.{self.digits}g}"
        (mantissa, _, exponent), size = text.partition("e"), text.strip("-")
        tens = bool(exponent) and "tens" in self.marks
        text = text.replace(size, self.marks.get(size, size))  # inf or nan
        text = self.mark("tens", mantissa, int(exponent)) if tens else self.mark("number", text)
        if within and (value < 0 or tens):
            text = self.token("mark", "(") + text + self.token("mark", ")")
        return text.replace("<mn>-", "<mn>−")

    def token(self, kind: str, token: str) -> str:
        """Write a token of a formula's code."""
        if kind == "name":
            return self.symbol(parse(token, 0))
        if kind == "own":
            return self.mark("own", self.plain(ast.literal_eval(token)))
        if token.startswith("gap"):
            return self.mark("gap", self.words["more"].format(count=token[3:]))
        if kind == "number" and len(token) > 8:
            return self.number(float(token))
        text = self.marks.get(token, token)
        ready = self.kind != "html" or text.startswith("<m")
        return text if ready else self.mark(kind, escape(text.strip()))

    def code(self, e: ast.expr, values: Mapping[str, float], *, first: bool = True) -> str:
        """Write a part of a formula, with the numbers of what has a value."""
        code, out = ast.unparse(e), ""
        if self.kind != "ascii":
            code = re.sub(r"abs\(([^()]*)\)", r"|\1|", code)
        for found in TOKEN.finditer(code):
            token = found[0]
            if token in values and token != "pi":
                around = code[found.start() - 1 : found.start()] + code[found.end() :][:1]
                alone = around in ("()", "||") or (first and around == "")
                out += self.number(values[token], within=not alone)
            else:
                out += self.token(str(found.lastgroup), token)
        return out

    def of_code(self, code: str) -> str:
        """Write a formula that is not filled in."""
        return self.code(ast.parse(code, mode="eval").body, {})

    def whole(self, formula: Formula | None, *, numbers: bool = False) -> str:
        """Write a formula; nothing where there is none."""
        return "".join(self.terms(formula, numbers=numbers)) if formula else ""

    def terms(self, formula: Formula, *, numbers: bool = False) -> list[str]:
        """Write the terms of a formula, each with its sign; a clause is one too."""
        e, values, terms = self.shortened(formula.tree), formula.values if numbers else {}, []
        while isinstance(e, ast.BinOp) and isinstance(e.op, ast.Add | ast.Sub):
            terms.append((" + " if isinstance(e.op, ast.Add) else " - ", e.right))
            e = e.left
        terms.append(("-", e.operand) if isinstance(e, ast.UnaryOp) else ("", e))
        written = [self.token("mark", sign) * bool(sign) + self.code(term, values, first=not sign)
                   for sign, term in reversed(terms)]  # fmt: skip
        for word, e in formula.clauses:
            left = self.code(e.left, values if word == "as" else {})
            right = self.code(e.left if word == "where" and numbers else e.comparators[0], values)
            sign = {ast.Gt: " > ", ast.Lt: " < ", ast.LtE: " <= "}.get(type(e.ops[0]), " == ")
            said = left + self.token("mark", sign) + right
            written.append(self.mark("clause", self.words[word], said))
        return written

    def shortened(self, e: Any) -> Any:
        """Return a formula whose sums are written out, the middle of many terms left out."""
        if not isinstance(e, ast.Call) or getattr(e.func, "id", "sum") != "sum":
            return rebuilt(e, self.shortened)
        terms, count = list(map(self.shortened, e.args)), len(e.args) - self.shown
        if count > 1:
            terms[self.shown - 1 : -1] = [ast.Name(f"gap{count}", ast.Load())]
        if isinstance(e.func, ast.Constant):
            return ast.Call(e.func, terms, [])
        total, *more = terms
        for term in more:
            total = ast.BinOp(total, ast.Add(), term)
        return total
