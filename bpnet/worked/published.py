"""The published example, and the four losses after one step that circulate for it.

M. Mazur, "A Step by Step Backpropagation Example", 2015: its weights after one step are right, its
loss is not. What went wrong there, and what others did, is done here on purpose.
"""

from bpnet.mlp import MLP
from bpnet.worked.notation import Notation

X, Y = (0.05, 0.10), (0.01, 0.99)
W = [[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]]
B = [[0.35, 0.35], [0.60, 0.60]]
PRINTED = {100: 0.005217, 1000: 0.000241, 10000: 0.000003}  # the article's, from an unseeded start
RIGHT = {"updated": True, "held": True, "early": False, "shared": False}  # what was done


def example() -> MLP:
    """Return the net of the published example."""
    return MLP.from_weights(W, B)


def riddle() -> dict[str, float]:
    """Return the four losses that circulate for the published example, each by what was done."""
    losses = {}
    for done in RIGHT:
        net = example()
        cache = net.forward(X)
        grad = net.backward(cache, Y)
        for l in (3, 2):
            if done == "early":  # δ² with what W³ has become
                grad = net.backward(cache, Y, stale=True)
            net.W[l] -= 0.5 * grad.W[l]
            if done in ("updated", "shared"):  # or as if the biases of a layer were one parameter
                net.b[l] -= 0.5 * (grad.b[l] if done == "updated" else grad.b[l].sum())
        losses[done] = float(net.loss(net.forward(X), Y))
    return losses


def riddle_text(notation: Notation) -> str:
    """Return the four losses as lines of text, with what was done, the wrong ones marked."""
    symbols = {"W": "W[3]", "delta": "delta[2]", "errors": "delta"}
    written = {key: notation.of_code(code) for key, code in symbols.items()}
    words, lines = notation.words, [notation.words["riddle"], ""]
    for done, loss in riddle().items():
        verdict = words["right" if RIGHT[done] else "wrong"]
        lines.append(f"  {loss:<12.9g}  {verdict}  {words[done].format(**written)}")
    return "\n".join(lines)
