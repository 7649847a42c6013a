"""What the page asks and is answered, in JSON: a training is looked at, edited and taken back.

`answer` takes the text of a request and returns that of its answer, for the local server and for
Pyodide alike. A request that cannot be done leaves the state as it was.
"""

import copy
import json
import re
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.mlp import MLP
from bpnet.page.explained import explained, riddle
from bpnet.page.state import OPTIMIZERS, State, preset, read_fragment, taken
from bpnet.rules.activations import ACTIVATIONS
from bpnet.rules.losses import LOSSES
from bpnet.worked.film import WIDTH, chosen, picture, train
from bpnet.worked.notation import words_of
from bpnet.worked.published import PRINTED
from bpnet.worked.solution import explain

LAYERS = 6  # of the largest net that is edited here
SAMPLES, STEPS, BACK, SESSIONS = 200, 200_000, 100, 8  # at most so many
SLICE = 0.1  # seconds of training in one request, so that it can be stopped
POINTS = 300  # of the loss curve
PHASES = {"forward": 1, "loss": 2, "backward": 3, "update": 0}
CHOICES = {"activation": [*ACTIVATIONS], "loss": [*LOSSES], "optimizer": [*OPTIMIZERS]}
REFUSED = (ValueError, TypeError, LookupError, ArithmeticError, MemoryError, Warning)


class Page:
    """What one page shows, with the states before it."""

    def __init__(self) -> None:
        self.state = State(**preset("article"))
        self.states: deque[State] = deque(maxlen=BACK)
        self.language, self.sample = "en", 0

    def answer(self, /, do: str = "", language: str = "en", sample: int = 0, more: bool = False,
               **asked: Any) -> dict[str, Any]:  # fmt: skip
        """Do what is asked, all or nothing; `more` of what was begun is taken back with it."""
        kept = self.state
        try:
            words_of(language)
            self.language, self.sample = language, as_int(sample, "sample", least=0)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                if do in LOOKS:
                    return LOOKS[do](self, **asked)
                if do not in CHANGES:
                    raise ValueError(f"unknown request {do!r:.40}")
                self.state = copy.copy(kept)
                self.state.net, self.state.rule = kept.net.copy(), copy.deepcopy(kept.rule)
                reply = (CHANGES[do](self, **asked) or {}) | self.view()
        except REFUSED as error:
            self.state = kept
            said = error.args[0] if isinstance(error, KeyError) else error
            return {"error": str(said) or type(error).__name__}
        if do != "back" and not more:
            self.states.append(kept)
        return reply | {"back": len(self.states)}

    @property
    def row(self) -> int:
        """Which row of the batch is shown."""
        rows = self.state.rows
        return self.sample - rows.start if rows.start <= self.sample < rows.stop else 0

    def view(self) -> dict[str, Any]:
        """Return all that is drawn."""
        s, net, rows, row = self.state, self.state.net, self.state.rows, self.row
        losses, since = [*s.losses, float(net.loss(net.forward(s.x), s.y))], s.total - len(s.losses)
        if not np.isfinite(losses[-1]):
            raise ValueError("the loss is not finite: take smaller weights and data")
        return {
            **picture(net, s.x[rows], s.y[rows], row),
            **{name: getattr(s, name) for name in ("optimizer", "rate", "size", "seed", "phase")},
            "activation": [f.name for f in net.activation.values()],
            "loss": net.loss_function.name,
            "data": {"x": s.x.tolist(), "y": s.y.tolist()},
            "rows": [rows.start, rows.stop],
            "sample": rows.start + row,
            "steps": s.total,
            "curve": [[since + k, losses[k]] for k in chosen(len(s.losses), POINTS)],
            "marks": [*PRINTED.items()] if s.article else [],
            "choices": CHOICES,
            "back": len(self.states),
        }

    def open(self, name: str = "article", link: str = "") -> dict[str, Any]:
        """Begin with a preset, or with what a link holds, and say how many steps it was on."""
        given = read_fragment(link) if link else preset(name)
        check_size(given["net"].sizes, len(given["x"]))
        todo = given.pop("steps", 0)
        self.state = State(**given)
        return {"todo": todo}

    def go(self, to: str) -> None:
        """Go on to a phase of the present step; the last one moves the weights."""
        phase = PHASES[to]
        if to == "update":
            self.run(1)
        self.state.phase = phase

    def run(self, count: int) -> dict[str, Any]:
        """Train so many steps, or those that the time allows; say how many it were."""
        s = self.state
        if s.total + as_int(count, "count", least=1) > STEPS:
            raise ValueError(f"the page trains {STEPS:,} steps: press reset to begin again")
        losses = train(s.net, s.x, s.y, s.rule, size=s.size, done=s.steps, count=count,
                       until=time.monotonic() + SLICE)  # fmt: skip
        s.steps, s.losses, s.phase = s.steps + len(losses), (*s.losses, *losses), 2
        return {"did": len(losses)}

    def back(self) -> None:
        """Take the last change back."""
        if not self.states:
            raise ValueError("there is nothing to take back")
        self.state = self.states.pop()

    def reset(self) -> None:
        """Go back to the weights of the start, with the settings as they are."""
        self.state.net = self.state.first.copy()
        self.state.begin_again(at=0)

    def set(self, field: str, value: str) -> None:
        """Take over what was written into a field such as W.3.1.0 or rate."""
        s, net, field, text = self.state, self.state.net, str(field), str(value).strip()
        kind, *at = [field.split(".")[0], *map(whole, field.split(".")[1:])]
        s.article = s.article and kind in ("rate", "optimizer", "size")
        match str(kind), at:
            case "sizes", []:
                self.new_net(tuple(int(n) for n in re.findall(r"\d{1,3}", text)))
            case "seed", []:
                s.seed = whole(text)
                self.new_net(net.sizes)
            case "activation", [l] if text in ACTIVATIONS and l in net.activation:
                rules: Any = {**net.activation, l: ACTIVATIONS[text]}.values()
                s.net = MLP.from_weights(net.W, net.b, activation=[*rules], loss=net.loss_function)
                s.begin_again()
            case "loss", [] if text in LOSSES:
                rules = net.activation.values()
                s.net = MLP.from_weights(net.W, net.b, activation=[*rules], loss=LOSSES[text])
                s.begin_again()
            case "optimizer" | "rate" | "size", []:
                read: Any = {"optimizer": str, "rate": number, "size": whole}[kind]
                setattr(s, kind, read(text))
                if not 1 <= s.size <= len(s.x):
                    raise ValueError(f"a batch has 1 to {len(s.x)} of these samples")
                s.begin_again(curve=False)
            case "W" | "b", [l, *place] if len(place) == 1 + (kind == "W"):
                getattr(net, kind)[l][tuple(place)] = number(text)
                s.begin_again(curve=s.total == 0)
            case "x" | "y", [k, i]:
                data = {"x": s.x.copy(), "y": s.y.copy()}
                data[kind][k, i] = number(text)
                self.new_data(**data)
            case "data", []:
                self.new_data(*read_table(text, s.y.shape[1]))
            case _:
                raise ValueError(f"there is no {field:.40} that could be {text:.40}")

    def new_net(self, sizes: tuple[int, ...]) -> None:
        """Draw a net with the present rules, and a few samples where the data do not fit."""
        s = self.state
        check_size(sizes, len(s.x))
        *hidden, output = s.net.activation.values()
        hidden += (hidden[-1:] or [ACTIVATIONS["sigmoid"]]) * LAYERS
        rules: Any = {"activation": [*hidden[: len(sizes) - 2], output]}
        rules["loss"] = s.net.loss_function
        s.net = MLP.init(sizes, rng=s.seed, **rules)
        if (s.x.shape[1], s.y.shape[1]) != (sizes[0], sizes[-1]):
            s.x, s.size = np.random.default_rng(s.seed).uniform(0, 1, (4, sizes[0])).round(2), 4
            s.y = MLP.init(sizes, rng=s.seed + 1, **rules).predict(s.x)  # what can be learnt
        s.begin_again(at=0)

    def new_data(self, x: Array, y: Array) -> None:
        """Take other samples, and another net where its ends do not fit them."""
        s = self.state
        s.size = len(x) if s.size == len(s.x) else min(s.size, len(x))
        s.x, s.y = x, y
        sizes = (x.shape[1], *s.net.sizes[1:-1], y.shape[1])
        check_size(sizes, len(x))
        if sizes != s.net.sizes:
            self.new_net(sizes)
        s.begin_again()

    def explain(self, name: str = "E") -> dict[str, Any]:
        """Return the worked solution of a quantity or of a phase."""
        s, rows = self.state, self.state.rows
        worked = explain(s.net, s.x[rows], s.y[rows], learning_rate=s.rate, digits=9, shown=6,
                         differences=True, language=self.language)  # fmt: skip
        return explained(worked, name, self.row, plain=s.optimizer == "SGD")

    def regions(self, count: int = 48) -> dict[str, Any]:
        """Return the output over the plane of two inputs, row by row from below, in 0..1."""
        s, count = self.state, as_int(count, "count", least=2)
        if s.net.sizes[0] != 2 or count > 100:
            raise ValueError("decision regions are of two inputs, on a grid of up to 100 by 100")
        low, high = s.x.min(0), s.x.max(0)
        margin = np.where(high > low, (high - low) / 5, 1.0)
        axes = np.linspace(low - margin, high + margin, count).T
        a = s.net.predict(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2))
        values = a[:, 0] if a.shape[1] == 1 else a.argmax(1) / (a.shape[1] - 1)
        low, high = min(0, values.min()), max(1, values.max())  # those of an output without bounds
        values = ((values - low) / (high - low)).tolist()
        return {"count": count, "ends": axes[:, [0, -1]].tolist(), "values": values}


CHANGES = {f.__name__: f for f in (Page.open, Page.go, Page.run, Page.back, Page.reset, Page.set)}
LOOKS: dict[str, Callable[..., dict[str, Any]]] = {
    "view": Page.view, "explain": Page.explain, "regions": Page.regions,
    "riddle": lambda page: {"losses": riddle(page.language)},
    "take": lambda page, what: {"text": taken(page.state, what, page.language)},
}  # fmt: skip
LOCK, PAGES = threading.Lock(), dict[str, Page]()


def number(text: str) -> float:
    """Return the number that a field holds."""
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not abs(value) <= 1e6:
        raise ValueError(f"write a number such as 0.5, up to 1e6, not {text!r:.40}")
    return value


def whole(text: str) -> int:
    """Return the whole number that a field holds."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"write a whole number such as 1, not {text!r:.40}")
    return int(text)


def read_table(text: str, targets: int) -> tuple[Array, Array]:
    """Return the samples of a table; its head, if any, names the targets y1, y2, ..."""
    lines = filter(None, (line.strip(" ,;\t\r") for line in text.split("\n")))
    rows = [re.split(r"[,;\s]+", line) for line in lines]
    if rows and rows[0][0][:1] in ("x", "y"):
        targets = sum(name.startswith("y") for name in rows.pop(0))
    if len({*map(len, rows)}) != 1 or not 0 < targets < len(rows[0]):
        raise ValueError("write a sample a line: its inputs, then its targets, apart by commas")
    table = np.array([[number(word) for word in row] for row in rows])
    return table[:, :-targets], table[:, -targets:]


def check_size(sizes: tuple[int, ...], m: int) -> None:
    """Raise ValueError for more than the page shows."""
    if not 2 <= len(sizes) <= LAYERS or not all(1 <= n <= WIDTH for n in sizes):
        raise ValueError(f"write 2 to {LAYERS} layers of 1 to {WIDTH} neurons, such as 2-3-1")
    if m > SAMPLES:
        raise ValueError(f"the page takes up to {SAMPLES} samples, not {m}")


def answer(request: str) -> str:
    """Return the answer to a request, both in JSON; ``session`` tells pages apart."""
    try:
        asked = json.loads(request)
        known = all(isinstance(value, (str, int)) for value in asked.values())
    except (ValueError, AttributeError, RecursionError):
        known = False
    if not known:
        return json.dumps({"error": "a request is a JSON object of texts and whole numbers"})
    with LOCK:
        session = str(asked.pop("session", ""))[:64]
        PAGES[session] = page = PAGES.pop(session, None) or Page()  # the last one asked
        if len(PAGES) > SESSIONS:
            del PAGES[next(iter(PAGES))]
        return json.dumps(page.answer(**asked), allow_nan=False)
