"""The state of the page: where it begins, and how it is taken away: Python, JSON, link and film."""

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.formats.json import net_as_dict, net_from_dict, to_json
from bpnet.mlp import MLP
from bpnet.page import SAID
from bpnet.rules.losses import check_targets
from bpnet.rules.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from bpnet.worked import published
from bpnet.worked.film import batch_rows, film

LINK = 1_000_000  # the most bytes of a link, unpacked
HELD = ("optimizer", "rate", "size", "seed", "article", "before", "steps")  # of a state, in a link
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SGD": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9}),
    "Nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    **{kind.__name__: (kind, {}) for kind in (Adagrad, RMSprop, Adam, AdamW)},
}
PYTHON: dict[str, str] = SAID["python"]


def new_rule(name: str, rate: float) -> Optimizer:
    """Return an optimiser that has taken no step."""
    if name not in OPTIMIZERS:
        raise ValueError(f"there is no optimizer {name!r:.40}: {', '.join(OPTIMIZERS)}")
    kind, options = OPTIMIZERS[name]
    rule: Optimizer = kind(learning_rate=rate, **options)
    return rule


@dataclass(eq=False)
class State:
    """A training: the net, the data, and how it came here."""

    net: MLP
    x: Array
    y: Array
    optimizer: str = "SGD"
    rate: float = 0.5
    size: int = 1  # of a batch
    seed: int = 0
    article: bool = False  # whether the article's printed losses are to be compared
    steps: int = 0  # from `start`
    before: int = 0  # steps to `start`, with other settings
    phase: int = 0
    losses: tuple[float, ...] = ()  # before each of the last steps

    def __post_init__(self) -> None:
        self.rule = new_rule(self.optimizer, self.rate)
        self.start, self.first = self.net.copy(), self.net.copy()  # `first` is what reset gives

    @property
    def total(self) -> int:
        """All steps so far."""
        return self.before + self.steps

    @property
    def rows(self) -> slice:
        """The samples that the next step takes."""
        return batch_rows(len(self.x), self.size, self.steps)

    def begin_again(self, *, at: int | None = None, curve: bool = True) -> None:
        """Let what was edited hold from here on; of another function the curve is another too."""
        self.before = self.total if at is None else at
        self.steps, self.phase, self.start = 0, 0, self.net.copy()
        self.rule = new_rule(self.optimizer, self.rate)
        if self.before == 0:
            self.first = self.net.copy()
        if curve:
            self.losses = ()


def preset(name: str) -> dict[str, Any]:
    """Return where a training begins: the published example, XOR or two moons."""
    if name == "article":
        x, y = (np.array([row], np.float64) for row in (published.X, published.Y))
        return {"net": published.example(), "x": x, "y": y, "article": True}
    if name == "xor":
        y, hidden, rule = np.array([[0.0], [1.0], [1.0], [0.0]]), 3, ("SGD", 0.5)
        x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    elif name == "moons":
        y, hidden, rule = np.repeat([[0.0], [1.0]], 40, axis=0), 8, ("Adam", 0.03)
        t, noise = np.linspace(0, np.pi, 40), np.random.default_rng(0).normal(0, 0.12, (80, 2))
        moons = [[np.cos(t), np.sin(t)], [1 - np.cos(t), 0.5 - np.sin(t)]]
        x = np.round(np.concatenate(moons, axis=1).T + noise, 3)
    else:
        raise ValueError(f"there is no preset {name!r:.40}: article, xor, moons")
    net = MLP.init((2, hidden, 1), activation="tanh", loss="binary_cross_entropy", rng=1)
    return dict(zip(HELD[:4], (*rule, len(x), 1), strict=True)) | {"net": net, "x": x, "y": y}


def taken(state: State, what: str, language: str) -> str:
    """Return the state as a text; a link's has where it began, and the steps to take again."""
    match what:
        case "python":
            return snippet(state)
        case "json":
            return to_json(state.net) + "\n"
        case "link":
            held = {name: getattr(state, name) for name in HELD} | {"net": net_as_dict(state.start)}
            held |= {"x": state.x.tolist(), "y": state.y.tolist()}
            packed = zlib.compress(json.dumps(held).encode(), 9)
            return base64.urlsafe_b64encode(packed).decode().strip("=")
        case "film":
            options: Any = {"batch_size": state.size, "language": language}
            options |= {"optimizer": new_rule(state.optimizer, state.rate)}
            return film(state.start, state.x, state.y, steps=max(state.steps, 1), **options)
    raise ValueError(f"there is no {what!r:.40} to take: python, json, link, film")


def snippet(state: State) -> str:
    """Return Python that gives the state's weights, to the last bit."""
    kind, options = OPTIMIZERS[state.optimizer]
    net, size = state.start, state.size
    epochs, rest = divmod(state.steps, -(-len(state.x) // size))
    parts = [("", epochs), (f"[:{rest * size}]", int(rest > 0))]
    given = {"learning_rate": state.rate} | options
    return PYTHON["snippet"].format(
        rule=kind.__name__,
        options=", ".join(f"{key}={value!r}" for key, value in given.items()),
        W=[W.tolist() for W in net.W.values()],
        b=[b.tolist() for b in net.b.values()],
        activation=[f.name for f in net.activation.values()],
        loss=net.loss_function.name,
        x=state.x.tolist(),
        y=state.y.tolist(),
        fits="".join(PYTHON["fit"].format(rows=r, epochs=n, size=size) for r, n in parts if n),
    )


def read_fragment(text: str) -> dict[str, Any]:
    """Return what a state is made of, with the steps to take again."""
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        held = json.loads(zlib.decompressobj().decompress(packed, LINK))
        net = net_from_dict(held["net"]).astype(np.float64)
        x, y = (net.parameters.rows(held[name], name) for name in ("x", "y"))
        net.loss(net.forward(x), check_targets(net.loss_function, y))
        least = {"before": 0, "steps": 0, "seed": 0, "size": 1}
        held |= {name: as_int(held[name], name, least=n) for name, n in least.items()}
        new_rule(held["optimizer"], held["rate"])
        if held["size"] > len(x):
            raise ValueError("a batch is larger than the data")
        return {name: held[name] for name in HELD} | {"net": net, "x": x, "y": y}
    except (ValueError, TypeError, LookupError, zlib.error, RecursionError) as error:
        raise ValueError(f"the link is damaged, or of another version ({error!s:.80})") from None
