"""The worked solution of what is pointed at: formulas in MathML, lines of code, where from."""

from typing import Any

from bpnet.page import SAID
from bpnet.worked import published
from bpnet.worked.formulas import Name
from bpnet.worked.page import Page
from bpnet.worked.solution import Solution, explain

MOST = 40  # quantities that are written out at once
TOGETHER = ("W dW", "b db", "z a y E da df delta")  # what is told of a weight, a bias, a neuron
OF_PHASE = {"forward": "z a", "loss": "E", "backward": "da df delta dW db", "update": "W b"}
CODES: dict[str, str] = SAID["riddle"]  # what was done for each loss


def explained(worked: Solution, name: str, row: int, *, plain: bool) -> dict[str, Any]:
    """Return the quantities around one, or those of a phase; where the step is plain, it too."""
    net = worked.net
    page = Page(worked, "html")
    symbol, number = page.symbol, page.number

    def told(name: Name) -> bool:
        return not name.new or (plain and name.kind in ("W", "b"))

    if name in OF_PHASE:
        at, new = (row,) if worked.m > 1 else (), name == "update"
        names = [each for each in worked.names if each.kind in OF_PHASE[name].split()
                 and each.new == new and told(each)
                 and (not each.sampled or each.at[: len(at)] in (at, ()))]  # fmt: skip
        if not names:
            raise ValueError("the step that is worked out is that of plain gradient descent, SGD")
    else:
        asked = worked.named(name)
        kinds = next(kinds.split() for kinds in TOGETHER if asked.kind in kinds.split())
        names = [each for each in worked.names if each.kind in kinds and each.at == asked.at
                 and (each.l or net.L) == (asked.l or net.L) and told(each)]  # fmt: skip
    entries = []
    for each in names[:MOST]:
        step = worked[str(each)]
        difference = step.difference
        came_from = [
            {"name": n, "symbol": symbol(worked.named(n)), "value": number(worked[n].value)}
            for n in step.came_from
        ]
        entries.append({
            "name": step.name,
            "symbol": symbol(each),
            "rows": ["".join(terms) for terms in step.rows(page)],
            "lines": [str(line) for line in step.lines],
            "notes": [page.remark(note, each.l or net.L) for note in step.notes],
            "difference": None if difference is None else number(difference),
            "from": came_from,
        })  # fmt: skip
    return {"entries": entries, "left_out": max(0, len(names) - MOST), "name": name}


def riddle(language: str) -> list[dict[str, Any]]:
    """Return the four losses that circulate for the published example, with what was done."""
    page = Page(explain(published.example(), published.X, published.Y, language=language), "html")
    symbols = {"W": "W[3]", "delta": "delta[2]", "errors": "delta"}
    written = {key: page.mark("inline", page.of_code(code)) for key, code in symbols.items()}
    return [
        {"done": done, "loss": f"{loss:.9f}", "right": published.RIGHT[done], "code": CODES[done],
         "words": page.words[done].format(**written),
         "verdict": page.words["right" if published.RIGHT[done] else "wrong"]}
        for done, loss in published.riddle().items()
    ]  # fmt: skip
