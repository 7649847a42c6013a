"""What the pages in every notation share: headings, remarks and the rows of an equation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from bpnet.worked import formulas
from bpnet.worked.expression import Expression, Letter, Name, Quantity, letter
from bpnet.worked.notation import Notation
from bpnet.worked.outline import Section, Solution
from bpnet.worked.source import Line
from bpnet.worked.steps import Step


class Page:
    """What writes one solution.

    Parameters
    ----------
    worked : Solution
    notation : Notation
    """

    forms: ClassVar[dict[str, str]] = {"inline": "{}", "code": "{}", "aside": " ({})"}
    spelled = False  # whether symbols are spelled as in the code

    def __init__(self, worked: Solution, notation: Notation) -> None:
        self.worked, self.notation, self.words = worked, notation, notation.words
        self.said = set[tuple[str, int]]()

    def plain(self, text: str) -> str:
        """Write words or code that came from elsewhere."""
        return text

    def inline(self, formula: str) -> str:
        """Write a formula among words."""
        return self.forms["inline"].format(formula)

    def code(self, text: str) -> str:
        """Write code among words."""
        return self.forms["code"].format(self.plain(text))

    def say(self, key: str, **fields: Expression | str) -> str:
        """Return a template of the words, its formulas written."""
        written = {
            name: field if isinstance(field, str) else self.inline(self.notation.write(field))
            for name, field in fields.items()
        }
        return self.words[key].format(**written)

    def titles(self) -> Iterator[str]:
        """Yield what stands at the head: the net, and the quantity asked for."""
        work, worked = self.worked.work, self.worked
        yield self.say(
            "heading",
            sizes="-".join(map(str, work.net.sizes)),
            activations=self.plain(", ".join(f.name for f in work.net.activation.values())),
            loss=self.plain(work.net.loss_function.name),
            eta=Letter("η"),
            rate=f"{work.learning_rate:g}",
        )
        if worked.done:
            yield self.say("done", done=f"{worked.done:,}")
        if worked.target:
            yield self.say("of", target=worked[worked.target].symbol)

    def legend(self) -> str:
        """Return how the symbols are to be read."""
        L, several = self.worked.work.net.L, self.worked.m > 1
        example = Name("z", L, (1, 0) if several else (0,))
        return self.say(
            "legend ascii" if self.spelled else "legend",
            symbol=Quantity(example),
            code=self.code(str(example)),
            sample=self.words["legend sample"] * several,
            x=letter("a", 1),
            new=letter("W", L, new=True),
            old=letter("W", L),
        )

    def title(self, section: Section) -> str:
        """Return the heading of a section."""
        theta = self.code("net.theta -= learning_rate * grad.theta")
        text = self.say(section.title, l=str(section.l), theta=theta)
        sample = section.sample
        return self.words["sample"].format(title=text, sample=sample) if sample else text

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
        f, a, y, z = net.activation[l], letter("a", l), letter("y"), letter("z", l)
        about: dict[str, Expression | str]
        about = {"da": letter("da", l), "df": letter("df", l), "f": self.plain(f.name)}
        if "joined" in note:
            about |= {"slope": formulas.loss_slope(net.loss_function, a, y), "delta": a - y}
        if note == "joined":
            yield self.say(note, **about, prime=formulas.slope(f, z, a, float("inf")))
        if "from z" in note:
            yield self.say("from z", z=z, a=a)
        if "matrix" in note:
            yield self.say("matrix", **about)
        if "softmax" in note:
            one, two = (Quantity(Name("a", l, (i,))) for i in range(2))
            yield self.say("softmax", diagonal=one * (1 - one), beside=-(one * two))
        if note == "matrix joined softmax":
            yield self.say("joined softmax", **about)

    def first(self, what: str, l: int) -> bool:
        """Whether something of a layer is said for the first time, of several samples."""
        before = len(self.said)
        self.said.add((what, l))
        return len(self.said) > before

    def steps(self, section: Section) -> list[Step]:
        """Return what a section writes out."""
        return [self.worked[str(name)] for row in section.rows for name in row]

    def lines(self, section: Section, steps: Sequence[Step]) -> list[Line]:
        """Return the lines of code that compute the steps, each once; of later passes none."""
        if "after" in section.title or not self.first(section.title, section.l):
            return []
        return sorted({line for step in steps for line in step.lines}, key=lambda line: line.number)

    def rows(self, step: Step) -> list[list[str]]:
        """Return the rows of an equation, each beginning with its sign, split into their terms."""
        rows = [[self.notation.sign("=") + row[0], *row[1:]] for row in step.rows(self.notation)]
        if step.difference is not None:
            number = self.notation.sign("≈") + self.notation.number(step.difference)
            rows.append([number, self.forms["aside"].format(self.words["difference"])])
        return rows

    def given(self, name: Name) -> str:
        """Write symbol = value."""
        step = self.worked[str(name)]
        return self.notation.write(step.symbol) + self.rows(step)[0][0]
