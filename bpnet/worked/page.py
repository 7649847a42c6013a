"""A worked solution written out: one walk over its sections, and what each format makes of it."""

from __future__ import annotations

import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bpnet.worked import formulas
from bpnet.worked.names import Name
from bpnet.worked.notation import ASCII, LATEX, MATHML, TEXT, Notation
from bpnet.worked.steps import Step
from bpnet.worked.words import EN

if TYPE_CHECKING:
    from bpnet.worked.outline import Section, Solution

SMALL = "δ∂η·⁺⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉≤≈√π…"  # what a terminal must show for the formulas
HELD = "\0"  # a space at which no line ends
WORD = re.compile(r"(?:[⺀-鿿]|[^\s⺀-鿿]+)[，。：；）]*\s*")  # a line may end behind each
BREAK = re.compile(r" (?=[-+·*/] )")  # where a long term may go on in the next line
Equation = tuple[str, list[list[str]]]  # a symbol, and rows of terms that begin with their sign


class Page:
    """What writes one solution; the formats below say how."""

    def __init__(self, worked: Solution, kind: str) -> None:
        notation, self.forms = FORMATS[kind]
        self.kind, self.worked, self.said = kind, worked, set[tuple[str, int]]()
        self.words = worked.words
        if kind == "ascii" and not all(map(shows, self.words.values())):
            self.words = EN
        self.notation = Notation(notation, worked.digits, worked.shown, self.words)

    def put(self, form: str, *parts: str) -> str:
        """Fill in a form of the table."""
        return self.forms[form].format(*parts)

    def every(self, form: str, between: str, parts: Iterable[str]) -> str:
        """Fill in a form with each part."""
        return self.forms[between].join(self.put(form, part) for part in parts)

    def paragraph(self, text: str) -> list[str]:
        """Write words."""
        return [self.put("p", text)]

    def heading(self, text: str, level: int) -> list[str]:
        """Write a heading."""
        return [self.put(f"h{level}", text)]

    def listing(self, code: list[str]) -> list[str]:
        """Write lines of code."""
        return [self.put("listing", self.every("line", "line end", map(self.escaped, code)))]

    def given(self, rows: list[list[str]]) -> list[str]:
        """Write equations side by side."""
        each = (self.every("term", "beside", row) for row in rows)
        return [self.put("givens", self.every("given", "row end", each))]

    def equations(self, equations: list[Equation]) -> list[str]:
        """Write equations one below the other."""
        each = []
        for symbol, rows in equations:
            lines = (self.every("term", "between", terms).rstrip() for terms in rows)
            each.append(self.put("equation", symbol, self.every("row", "row end", lines)))
        return [self.put("equations", self.forms["row end"].join(each))]

    def join(self, parts: list[str]) -> str:
        """Put all of it together."""
        return self.forms["all"].format(self.forms["end"].join(parts), self.worked.language)

    def write(self) -> str:
        """Return the whole solution."""
        title, *more = self.titles()
        words = [part for text in (*more, self.legend()) for part in self.paragraph(text)]
        sections = [part for section in self.worked.sections for part in self.section(section)]
        return self.join([*self.heading(title, 1), *words, *sections])

    def section(self, section: Section) -> list[str]:
        """Write a heading, the lines of code, the equations and the remarks."""
        steps = [[self.worked[str(name)] for name in row] for row in section.rows]
        flat, parts, l = [step for row in steps for step in row], list[str](), section.l
        if flat:
            text = self.say(section.title, l=str(l), theta=self.code(
                "net.theta -= learning_rate * grad.theta"))  # fmt: skip
            number = section.sample
            text = self.words["sample"].format(title=text, sample=number) if number else text
            parts += self.heading(text, 2)
            if "after" not in section.title and self.first(section.title, l):
                lines = sorted({line for step in flat for line in step.lines}, key=lambda n: n[1])
                parts += self.listing(list(map(str, lines))) if lines else []
            symbol = self.notation.write
            if section.title == "given":
                rows = [[symbol(s.name) + self.rows(s)[0][0] for s in row] for row in steps]
                parts += self.given(rows)
            else:
                parts += self.equations([(symbol(step.name), self.rows(step)) for step in flat])
        for text in self.remarks(section, flat):
            parts += self.paragraph(text)
        return parts

    def rows(self, step: Step) -> list[list[str]]:
        """Return the rows of an equation, each beginning with its sign, split into their terms."""
        rows = [[self.notation.sign("=") + row[0], *row[1:]] for row in step.rows(self.notation)]
        if step.difference is not None:
            number = self.notation.sign("≈") + self.notation.number(step.difference)
            rows.append([number, self.forms["aside"].format(self.words["difference"])])
        return rows

    def plain(self, text: str) -> str:
        """Write a name that came from elsewhere among words."""
        markdown = self.kind == "markdown"
        return re.sub(r"([\\`*_$<])", r"\\\1", text) if markdown else self.notation.plain(text)

    def escaped(self, text: str) -> str:
        """Write code as it stands."""
        return text if self.kind == "markdown" else self.notation.plain(text)

    def code(self, text: str) -> str:
        """Write code among words."""
        return self.put("code", self.escaped(text))

    def inline(self, code: str) -> str:
        """Write a formula among words."""
        return self.forms["inline"].format(self.notation.write(code))

    def say(self, key: str, **fields: str) -> str:
        """Return a template of the words."""
        return self.words[key].format(**fields)

    def first(self, what: str, l: int) -> bool:
        """Whether something of a layer is said for the first time, of several samples."""
        before = len(self.said)
        self.said.add((what, l))
        return len(self.said) > before

    def titles(self) -> Iterator[str]:
        """Yield what stands at the head: the net, and the quantity asked for."""
        worked, net, plain = self.worked, self.worked.work.net, self.plain
        yield self.say(
            "heading",
            sizes="-".join(map(str, net.sizes)),
            activations=plain(", ".join(f.name for f in net.activation.values())),
            loss=plain(net.loss_function.name),
            eta=self.inline("eta"),
            rate=f"{worked.work.learning_rate:g}",
        )
        if worked.done:
            yield self.say("done", done=f"{worked.done:,}")
        if worked.target:
            yield self.say("of", target=self.inline(worked.target))

    def legend(self) -> str:
        """Return how the symbols are to be read."""
        L, several = self.worked.work.net.L, self.worked.m > 1
        example = str(Name("z", L, (1, 0) if several else (0,)))
        return self.say(
            "legend ascii" if self.kind == "ascii" else "legend",
            symbol=self.inline(example),
            code=self.code(example),
            sample=self.words["legend sample"] * several,
            x=self.inline("a[1]"),
            new=self.inline(f"new.W[{L}]"),
            old=self.inline(f"W[{L}]"),
        )

    def remarks(self, section: Section, steps: Sequence[Step]) -> Iterator[str]:
        """Yield what is to be said below the equations of a section."""
        for note in dict.fromkeys(step.note for step in steps):
            if self.first(note, section.l):
                yield from self.remark(note, section.l or self.worked.work.net.L)
        if section.left_out:
            key = "left out" if section.rows else section.title
            yield self.say(key, count=f"{section.left_out:,}")

    def remark(self, note: str, l: int) -> Iterator[str]:
        """Yield why δ is found as it is, with the rules of the layer, or where E comes from."""
        net = self.worked.work.net
        names = {"z": f"z[{l}]", "a": f"a[{l}]", "y": "y"}
        codes = names | {"da": f"da[{l}]", "df": f"df[{l}]", "delta": f"a[{l}] - y"}
        if "joined" in note:
            f, loss = net.activation[l], net.loss_function
            codes["slope"] = formulas.fill(formulas.of_loss(loss, 1), names)
            codes["prime"] = formulas.fill(formulas.of_activation(f, 1) or "1", names).split(" | ")[
                -1
            ]
        fields = {key: self.inline(code) for key, code in codes.items()}
        for key in filter(None, note.split("; ")):
            yield self.say(key, f=self.plain(net.activation[l].name), **fields)


class TextPage(Page):
    """A solution in lines of a width, with Unicode's small digits or spelled as in the code."""

    def __init__(self, worked: Solution, width: int, ascii_only: bool | None) -> None:
        ascii_only = not shows(SMALL) if ascii_only is None else ascii_only
        super().__init__(worked, "ascii" if ascii_only else "text")
        self.width = width

    def code(self, text: str) -> str:
        """Write code among words."""
        return text.replace(" ", HELD)

    def heading(self, text: str, level: int) -> list[str]:
        """Write a heading."""
        return [*[""] * (level - 1), *self.wrapped(text)]

    def section(self, section: Section) -> list[str]:
        """Write a section, its remarks set off by a line."""
        return super().section(section) if section.rows else ["", *super().section(section)]

    def paragraph(self, text: str) -> list[str]:
        """Write words, below equations indented."""
        return self.wrapped(text, "  " * bool(self.said))

    def listing(self, code: list[str]) -> list[str]:
        """Write lines of code, cut at the width."""
        lines = [f"    {line}" for line in code]
        return [l if len(l) <= self.width else f"{l[: self.width - 4]} ..." for l in lines]

    def given(self, rows: list[list[str]]) -> list[str]:
        """Write equations side by side."""
        texts = ["   ".join(equation.replace(" ", HELD) for equation in row) for row in rows]
        wrapped = [textwrap.wrap(t, self.width - 2, break_long_words=False) for t in texts]
        return ["", *(f"  {line}".replace(HELD, " ") for lines in wrapped for line in lines)]

    def wrapped(self, text: str, indent: str = "") -> list[str]:
        """Break words into lines."""
        lines = [indent]
        for word in WORD.findall(text):
            if width_of(lines[-1] + word.rstrip()) > self.width and lines[-1].strip():
                lines.append(indent)
            lines[-1] += word
        return [line.rstrip().replace(HELD, " ") for line in lines]

    def equations(self, equations: list[Equation]) -> list[str]:
        """Write symbol = formula = numbers = value, in one line or one below the other."""
        column, out = max(len(symbol) for symbol, _ in equations), [""]
        for symbol, each in equations:
            rows = [[terms[0].strip(), *terms[1:]] for terms in each]
            lines = [" ".join(map("".join, rows))]
            room = self.width - column - 3
            if width_of(lines[0]) > room:
                lines = [line for terms in rows for line in broken(terms, room)]
            heads = [symbol, *[""] * (len(lines) - 1)]
            out += [f"  {head:<{column}} {line}" for head, line in zip(heads, lines, strict=True)]
        return out


def broken(terms: Sequence[str], room: int) -> list[str]:
    """Break a long row between its terms; a long term before other operators."""
    lines = [""]
    for term in terms:
        for piece in [term] if width_of(term) < room - 4 else BREAK.split(term):
            joined = f"{lines[-1]} {piece.strip()}".replace(" ,", ",") if lines[-1] else piece
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

DOCUMENT = """\
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
<body>{body}</body>
</html>
"""

IN_TEXT = {"inline": "{}", "aside": " ({})", "end": "\n", "all": "{}"}
IN_LATEX = {
    "inline": "${}$", "code": r"\texttt{{{}}}", "aside": r"\ \text{{({})}}", "p": "{}",
    "h1": r"\section*{{{}}}", "h2": r"\subsection*{{{}}}", "listing": r"\noindent {}",
    "line": r"\texttt{{{}}}", "line end": "\\\\\n", "beside": r" \quad ", "term": "{}",
    "between": "", "given": "&{}", "givens": "$$\\begin{{aligned}}\n{}\n\\end{{aligned}}$$",
    "row": "&{}",
    "row end": " \\\\\n", "equation": "{} {}", "end": "\n\n", "all": "{}\n",
    "equations": "$$\\begin{{aligned}}\n{}\n\\end{{aligned}}$$",
}  # fmt: skip
IN_MARKDOWN = IN_LATEX | {
    "code": "`{}`", "h1": "## {}", "h2": "### {}", "listing": "```text\n{}\n```", "line": "{}",
    "line end": "\n",
}  # fmt: skip
IN_HTML = {  # each term a formula of its own, so that a long sum goes on in the next line
    "inline": "<math>{}</math>", "code": "<code>{}</code>", "aside": "<mtext>&nbsp;({})</mtext>",
    "p": "<p>{}</p>", "h1": "<h1>{}</h1>", "h2": "<h2>{}</h2>", "line": "{}", "line end": "\n",
    "listing": "<pre><code>{}</code></pre>", "beside": "", "term": "<math>{}</math>",
    "between": " ", "given": '<div class="given">{}</div>', "givens": "{}",
    "row": "<div>{}</div>", "row end": "",
    "equation": "<dt><math>{}</math></dt><dd>{}</dd>", "equations": "<dl>{}</dl>", "end": "\n",
    "all": '<article class="bpnet-worked" lang="{1}">\n{0}\n</article>',
}  # fmt: skip
FORMATS = {
    "text": (TEXT, IN_TEXT), "ascii": (ASCII, IN_TEXT), "latex": (LATEX, IN_LATEX),
    "markdown": (LATEX, IN_MARKDOWN), "html": (MATHML, IN_HTML),
}  # fmt: skip
