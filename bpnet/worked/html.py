"""A worked solution as HTML with MathML: one file that needs nothing else, or a notebook's output.

Each term of a sum is a formula of its own, so that a long one goes on in the next line where the
screen is narrow. Colours are those of the surroundings, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import ClassVar

from bpnet.worked.expression import DERIVATIVES, Name
from bpnet.worked.notation import Notation
from bpnet.worked.outline import Section, Solution
from bpnet.worked.page import Page

STYLE = """\
.bpnet-worked{line-height:1.7;overflow-wrap:anywhere}
.bpnet-worked h1{font-size:1.3em}
.bpnet-worked h2{font-size:1.1em;margin:1.6em 0 .3em;padding-top:.5em;border-top:1px solid #8886}
.bpnet-worked pre{margin:.3em 0;overflow-x:auto;font-size:.85em;opacity:.8}
.bpnet-worked p{margin:.3em 0}
.bpnet-worked dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.4em;
margin:.5em 0;align-items:baseline}
.bpnet-worked dt{margin:0;font-weight:normal;text-align:right}
.bpnet-worked dd{margin:0;display:flex;align-items:baseline;flex-wrap:wrap;gap:0 .4em;
overflow-x:auto}
.bpnet-worked .given{display:flex;flex-wrap:wrap;gap:0 1.5em;margin:.4em 0}
.bpnet-worked dl math{math-style:normal}"""

PAGE = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root{{color-scheme:light dark}}
body{{max-width:60rem;margin:0 auto;padding:1rem;font-family:system-ui,sans-serif}}
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""


class Html(Notation):
    """Formulas in MathML."""

    forms: ClassVar[dict[str, str]] = {
        "letter": "<mi>{}</mi>", "number": "<mn>{}</mn>",
        "tens": "<mn>{}</mn><mo>·</mo><msup><mn>10</mn><mn>{}</mn></msup>",
        "sign": '<mo form="infix">{}</mo>', "neg": '<mo form="prefix">−</mo>',  # also at an end
        "(": '<mrow><mo stretchy="false">(</mo>{}<mo stretchy="false">)</mo></mrow>',
        "times": "<mo>&#x2062;</mo>", "dot": "<mo>·</mo>", ",": "<mo>,</mo>",
        "/": "<mfrac><mrow>{}</mrow><mrow>{}</mrow></mfrac>",
        "^": "<msup><mrow>{}</mrow><mrow>{}</mrow></msup>",
        "abs": "<mrow><mo>|</mo>{}<mo>|</mo></mrow>", "sqrt": "<msqrt>{}</msqrt>",
        "exp": "<msup><mi>e</mi><mrow>{}</mrow></msup>",
        "call": '<mi>{}</mi><mo>&#x2061;</mo><mrow><mo stretchy="false">(</mo>{}'
        '<mo stretchy="false">)</mo></mrow>',
        "clause": "<mtext>, {}&nbsp;</mtext>{}", "gap": "<mo>⋯</mo><mtext>({})</mtext><mo>⋯</mo>",
    }  # fmt: skip
    letters: ClassVar[dict[str, str]] = {
        "<=": "≤",
        "<": "&lt;",
        ">": "&gt;",
        "-": "−",
        "inf": "∞",
        "-inf": "−∞",
    }

    def plain(self, text: str) -> str:
        """Write a name of the user's own."""
        return escape(text)

    def number(self, value: float) -> str:
        """Write a number with the minus of formulas."""
        return super().number(value).replace(">-", ">−")

    def symbol(self, name: Name) -> str:
        """Write z with its layer above and its index below."""
        numbers = "".join(name.below)
        below = f"<mn>{numbers}</mn>" * bool(numbers)
        if "," in name.below:
            inner = "".join("<mo>,</mo>" if n == "," else f"<mn>{n}</mn>" for n in name.below)
            below = f"<mrow>{inner}</mrow>"
        above = f"<mn>{name.l}</mn>" * bool(name.l)
        above = f"<mrow>{above}<mo>+</mo></mrow>" if name.new else above
        tag = "m" + "sub" * bool(below) + "sup" * bool(above)
        letter = f"<mi>{ {'delta': 'δ', 'df': 'z'}.get(name.kind, name.kind[-1]) }</mi>"
        text = f"<{tag}>{letter}{below}{above}</{tag}>" if below or above else letter
        if name.kind == "df":
            return f"<mi>f</mi><mo>′</mo>{self.parens(text)}"
        if name.kind in DERIVATIVES:
            return self.form("/", "<mo>∂</mo><mi>E</mi>", f"<mo>∂</mo>{text}")
        return text


class HtmlPage(Page):
    """A solution as an article of HTML."""

    forms: ClassVar[dict[str, str]] = {
        "inline": "<math>{}</math>", "code": "<code>{}</code>",
        "aside": "<mtext>&nbsp;({})</mtext>",
    }  # fmt: skip

    def __init__(self, worked: Solution) -> None:
        super().__init__(worked, Html(worked.digits, worked.shown, worked.words))

    def plain(self, text: str) -> str:
        """Write words or code that came from elsewhere."""
        return escape(text)

    def write(self) -> str:
        """Return the whole solution."""
        title, *more = self.titles()
        parts = [
            f'<article class="bpnet-worked" lang="{self.worked.language}">',
            f"<h1>{title}</h1>",
        ]
        parts += [f"<p>{text}</p>" for text in (*more, self.legend())]
        for section in self.worked.sections:
            parts += self.section(section)
        return "\n".join([*parts, "</article>"])

    def section(self, section: Section) -> list[str]:
        """Write a heading, the lines of code, and the equations."""
        steps, parts = self.steps(section), []
        if section.rows:
            parts.append(f"<h2>{self.title(section)}</h2>")
            code = "\n".join(escape(str(line)) for line in self.lines(section, steps))
            parts += [f"<pre><code>{code}</code></pre>"] * bool(code)
        if section.title == "given":
            for names in section.rows:
                equations = "".join(self.inline(self.given(name)) for name in names)
                parts.append(f'<div class="given">{equations}</div>')
        elif steps:
            parts.append("<dl>")
            for step in steps:
                rows = [
                    f"<div>{' '.join(map(self.inline, terms))}</div>" for terms in self.rows(step)
                ]
                symbol = self.inline(self.notation.write(step.symbol))
                parts.append(f"<dt>{symbol}</dt><dd>{''.join(rows)}</dd>")
            parts.append("</dl>")
        return [*parts, *(f"<p>{remark}</p>" for remark in self.remarks(section, steps))]


def preformatted(text: str) -> str:
    """Return lines of text as an article of their own."""
    return f'<article class="bpnet-worked"><pre>{escape(text)}</pre></article>'


def document(title: str, language: str, parts: Iterable[str]) -> str:
    """Return one self-contained file of articles and paragraphs."""
    body = "\n".join(parts)
    return PAGE.format(title=escape(title), language=language, style=STYLE, body=body)
