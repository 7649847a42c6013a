"""A worked solution written out: one walk over its sections, whatever the format."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby

from bpnet.words import shown
from bpnet.worked.formulas import Name, of_f, of_loss
from bpnet.worked.notation import Notation, words_of
from bpnet.worked.work import Section, Step, Work

SMALL = "δ∂η·⁺⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉≤≈√π…"  # what a terminal must show for the formulas
WORD = re.compile(r"(?:[⺀-鿿]|(?:\[[\d, ]+\]|[^\s⺀-鿿])+)[，。：；）]*\s*")  # no line ends within
BREAK = re.compile(r"(?= [-+·*/] )")  # where a long term may go on in the next line
Equation = tuple[str, list[list[str]]]  # a symbol, and what it is equal to: rows, split into terms


class Page(Notation):
    """What writes one solution in a format; its table says how each part looks."""

    def __init__(self, worked: Work, kind: str) -> None:
        super().__init__(kind, worked.digits, worked.shown, worked.language)
        if kind == "ascii" and not shows("".join(self.words.values())):
            self.words = words_of("en")
        self.worked, self.said = worked, set[tuple[object, ...]]()

    def write(self) -> str:
        """Return the whole solution."""
        title, *more = self.titles()
        parts = [self.mark("h1", title), *(self.mark("p", text) for text in more)]
        for section in self.worked.outline():
            parts += self.section(section)
        return self.mark("all", "\n".join(parts), self.worked.language)

    def titles(self) -> Iterator[str]:
        """Yield what stands at the head: the net, the quantity asked for, how symbols are read."""
        worked, net, words, L = self.worked, self.worked.net, self.words, self.worked.net.L
        fs, several = ", ".join(f.name for f in net.activation.values()), worked.m > 1
        codes = {"eta": "eta", "x": "a[1]", "new": f"new.W[{L}]", "old": f"W[{L}]"}
        codes |= {"target": worked.target or "E", "symbol": f"z[{L}][{'1, ' * several}0]"}
        told = {key: self.mark("inline", self.of_code(code)) for key, code in codes.items()}
        told |= {"sizes": "-".join(map(str, net.sizes)), "activations": self.foreign(fs)}
        told |= {"loss": self.foreign(net.loss_function.name), "done": f"{worked.done:,}"}
        told |= {"rate": f"{worked.learning_rate:g}", "code": self.listed(codes["symbol"], "code")}
        told["sample"] = words["of sample"] * several
        keys = {"heading": True, "done": worked.done, "of": worked.target}
        yield from (words[key].format(**told) for key, holds in keys.items() if holds)
        legend = ["code", "symbols"][self.kind == "ascii" :]
        yield "".join(words[key].format(**told) for key in legend)

    def section(self, section: Section) -> Iterator[str]:
        """Yield a heading, the lines of code, the equations and the remarks."""
        (title, names, l, sample, after), words, worked = section, self.words, self.worked
        names = [name for name in names if not worked.near or name in worked.near]
        visible = list(filter(worked.visible, names))
        steps = [worked[str(name)] for name in visible]
        if not visible:
            return
        theta = self.listed("net.theta -= learning_rate * grad.theta", "code")
        text = words[title].format(l=l, theta=theta)
        for key, holds in {"after": after, "sample": sample and worked.m > 1}.items():
            text = words[key].format(title=text, sample=sample) if holds else text
        yield self.mark("h2", text)
        lines = sorted({line for step in steps for line in step.lines})
        if self.first(title, l) and lines and not after:
            each = (self.listed(str(line), "line") for line in lines)
            yield self.mark("listing", self.mark("line end").join(each))
        pairs = list(zip(visible, steps, strict=True))
        if title == "given":
            yield self.equations([self.beside(list(row)) for _, row in groupby(pairs, neuron_of)])
        else:
            yield self.equations([self.equation(*pair) for pair in pairs])
        for note in dict.fromkeys(note for step in steps for note in step.notes):
            if self.first(note, l):
                yield self.mark("p", self.remark(note, l or worked.net.L))
        samples = {i for name in names for axis, i in worked.axes(name) if axis == 0}
        hidden = len(samples - worked.written[0]) if title == "given" else 0
        for key, count in {"left out": len(names) - len(visible), "samples": hidden}.items():
            yield from [self.mark("p", words[key].format(count=f"{count:,}"))] * bool(count)

    def beside(self, row: list[tuple[Name, Step]]) -> Equation:
        """Return what is given, several side by side."""
        equals, gap = self.token("mark", " = "), self.mark("beside")
        told = [gap + self.symbol(name) + equals + self.number(step.value) for name, step in row]
        head = self.symbol(row[0][0])
        return head, [[told[0].removeprefix(gap + head), *told[1:]]]

    def equation(self, name: Name, step: Step) -> Equation:
        """Return a quantity, and the rows that it is equal to."""
        equals, near = (self.token("mark", sign) for sign in (" = ", " ≈ "))
        rows = [[equals + first, *more] for first, *more in step.rows(self)]
        if step.difference is not None:
            aside = self.mark("aside", self.words["difference"])
            rows.append([near + self.number(step.difference), aside])
        return self.symbol(name), rows

    def equations(self, equations: list[Equation]) -> str:
        """Write symbols and what they are equal to, in rows below each other."""
        each, row_end, term_end = [], self.mark("row end"), self.mark("term end")
        for symbol, rows in equations:
            lines = (term_end.join(self.mark("term", term) for term in row) for row in rows)
            row = row_end.join(self.mark("row", line) for line in lines)
            each.append(self.mark("equation", symbol, row))
        return self.mark("equations", row_end.join(each))

    def listed(self, text: str, form: str) -> str:
        """Write code as it stands."""
        return self.mark(form, text if self.kind == "markdown" else self.plain(text))

    def foreign(self, text: str) -> str:
        """Write a name that came from elsewhere among words."""
        markdown = self.kind == "markdown"
        return re.sub(r"([\\`*_$<])", r"\\\1", text) if markdown else self.plain(text)

    def first(self, *what: object) -> bool:
        """Whether something of a layer is said for the first time, of several samples."""
        new = what not in self.said
        self.said.add(what)
        return new

    def remark(self, note: str, l: int) -> str:
        """Return why δ is found as it is, with the rules of the layer, or where E comes from."""
        f, slope = self.worked.net.activation[l], of_loss(self.worked.net.loss_function)[1]
        codes = {key: f"{key}[{l}]" for key in ("z", "a", "da", "df")} | {"delta": "a - y"}
        if "joined" in note:
            codes |= {"slope": slope, "prime": of_f(f)[1].split("else ")[-1]}
        told = {key: self.mark("inline", self.of_code(code)) for key, code in codes.items()}
        return self.words[note].format(f=self.foreign(f.name), **told)


def neuron_of(pair: tuple[Name, Step]) -> tuple[int, tuple[int, ...]]:
    """Return what is equal for the weights and the bias of a neuron, or a sample's inputs."""
    name, _ = pair
    return name.l, name.at[:-1] if name.sampled else name.at[:1]


class TextPage(Page):
    """A solution in lines of 80 columns."""

    def mark(self, kind: str, *parts: object) -> str:
        """Fill in a form; break words into lines, and cut lines of code."""
        text = super().mark(kind, *parts)
        if kind == "line" and len(text) > 80:
            return f"{text[:76]} ..."
        if kind not in ("h1", "h2", "p"):
            return text
        indent = "  " * (kind == "p" and bool(self.said))
        lines = broken(WORD.findall(text), 80 - len(indent), "")
        return "\n" * (kind == "h2") + "\n".join(indent + line for line in lines)

    def equations(self, equations: list[Equation]) -> str:
        """Write symbol = formula = numbers = value, in one line or one below the other."""
        column, out = max(len(symbol) for symbol, _ in equations), [""]
        for symbol, rows in equations:
            lines = ["".join(map("".join, rows))]
            if width_of(lines[0]) > 78 - column:
                lines = [line for terms in rows for line in broken(terms, 78 - column, " " * 5)]
            heads = [symbol, *[""] * (len(lines) - 1)]
            out += [f"  {head:<{column}}{line}" for head, line in zip(heads, lines, strict=True)]
        return "\n".join(out)


def broken(pieces: Iterable[str], room: int, indent: str) -> list[str]:
    """Break a line between its pieces; a long piece before operators."""
    lines = [""]
    for piece in pieces:
        for part in [piece] if width_of(piece) < room - len(indent) else BREAK.split(piece):
            if lines[-1].strip() and width_of(lines[-1] + part.rstrip()) > room:
                lines.append(indent)
            lines[-1] += part.lstrip() if lines[-1] == indent and indent else part
    return [line.rstrip() for line in lines]


def width_of(text: str) -> int:
    """Return the columns that a text takes; Chinese letters take two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def shows(text: str) -> bool:
    """Whether the terminal, or what takes its place, has letters for all of a text."""
    return shown(text, sys.stdout) == text
