"""The published example, and the four losses after one step that circulate for it.

M. Mazur, "A Step by Step Backpropagation Example", 2015: its weights after one step are right, its
losses after one step and after 10,000 are not. What went wrong there, and what others did who came
to yet another number, is done here on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bpnet.checks import as_int
from bpnet.mlp import MLP
from bpnet.worked.expression import letter
from bpnet.worked.words import words_of

X, Y = (0.05, 0.10), (0.01, 0.99)
W = [[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]]
B = [[0.35, 0.35], [0.60, 0.60]]
LEARNING_RATE = 0.5


def example() -> MLP:
    """Return the net of the published example."""
    return MLP.from_weights(W, B)


def updated(net: MLP) -> None:
    """Move every parameter: θ ← θ - η ∂E/∂θ."""
    net.theta -= LEARNING_RATE * net.backward(net.forward(X), Y).theta


def held(net: MLP) -> None:
    """Move the weights only."""
    grad = net.backward(net.forward(X), Y)
    for l in net.W:
        net.W[l] -= LEARNING_RATE * grad.W[l]


def early(net: MLP) -> None:
    """Move W³ first, and take δ² with what it has become: the mistake of the page's loss."""
    cache = net.forward(X)
    for l in (3, 2):
        net.W[l] -= LEARNING_RATE * net.backward(cache, Y, stale=True).W[l]


def shared(net: MLP) -> None:
    """Move the biases of a layer as if they were one parameter, whose derivative is Σ δ."""
    grad = net.backward(net.forward(X), Y)
    for l in net.W:
        net.W[l] -= LEARNING_RATE * grad.W[l]
        net.b[l] -= LEARNING_RATE * grad.b[l].sum()


STEPS: tuple[tuple[Callable[[MLP], None], bool], ...] = (
    (updated, True), (held, True), (early, False), (shared, False),
)  # fmt: skip


class Answer(NamedTuple):
    """A loss that circulates for the example, what was done, and whether that is right."""

    key: str
    loss: float
    right: bool


def riddle(steps: int = 1) -> tuple[Answer, ...]:
    """Return the four losses that circulate for the published example, each by what was done.

    Parameters
    ----------
    steps : int
        Of gradient descent; the losses that circulate are after 1.

    Raises
    ------
    TypeError, ValueError
        If steps is no integer of at least 1.

    Examples
    --------
    >>> for answer in riddle():
    ...     print(f"{answer.loss:.9f}", "right" if answer.right else "WRONG", answer.key)
    0.280471447 right updated
    0.291027774 right held
    0.291027924 WRONG early
    0.285750887 WRONG shared
    """
    steps = as_int(steps, "steps", least=1)
    answers = []
    for step, right in STEPS:
        net = example()
        for _ in range(steps):
            step(net)
        answers.append(Answer(step.__name__, float(net.loss(net.forward(X), Y)), right))
    return tuple(answers)


def riddle_text(steps: int = 1, *, language: str = "en", ascii_only: bool | None = None) -> str:
    """Return the four losses as lines of text, with what was done, the wrong ones marked."""
    from bpnet.worked.notation import Ascii, Text
    from bpnet.worked.text import SMALL, shows

    ascii_only, words = not shows(SMALL) if ascii_only is None else ascii_only, words_of(language)
    words = words_of("en") if ascii_only and not all(map(shows, words.values())) else words
    notation = (Ascii if ascii_only else Text)(9, 4, words)
    symbols = {"W": letter("W", 3), "delta": letter("delta", 2), "errors": letter("delta")}
    written = {name: notation.write(symbol) for name, symbol in symbols.items()}
    count = words["one step"] if steps == 1 else words["steps"].format(steps=f"{steps:,}")
    lines = [words["riddle"].format(steps=count), ""]
    for key, loss, right in riddle(steps):
        verdict, why = words["right" if right else "wrong"], words[key].format(**written)
        lines.append(f"  {loss:<12.9g}  {verdict}  {why}")
    return "\n".join(lines)
