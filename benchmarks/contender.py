"""What takes part in a comparison: one library's way to train, predict or merely multiply.

A library is imported when its contenders are made, never before; then they go back to the start
weights by `reset`, take n steps by `run(n)`, and are compared by their `result`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from workloads import Array, Problem, Workload

EPSILON = 1e-8  # Adam's
CHECK_EPSILON = 1e-3  # with 1e-8 the first step is the gradient's sign, even of its rounding
BETA1, BETA2 = 0.9, 0.999


class Contender:
    """One way; the subclasses fill in how it starts, steps, and what it has learnt.

    Attributes
    ----------
    same : bool
        Whether `result` is to equal the others'; where not, `note` may say why.
    note : str
    """

    same = True
    note = ""

    def __init__(self, work: Any, data: Any) -> None:
        self.work, self.data = work, data
        self.prepare()
        self.reset()

    def prepare(self) -> None:
        """Do what is done once."""

    def reset(self, epsilon: float = EPSILON) -> None:
        """Go back to the start weights and a fresh optimiser."""
        raise NotImplementedError

    def run(self, n: int) -> None:
        """Take n steps, epochs or predictions, and return when they are done."""
        raise NotImplementedError

    def weights(self) -> list[Array]:
        """Return W², b², W³, ... as they are."""
        raise NotImplementedError

    def result(self) -> list[Array]:
        """Return the weights after the first step."""
        self.reset(CHECK_EPSILON)
        self.run(1)
        return self.weights()


class Trainer(Contender):
    """A way to do what a `Workload` asks for: steps, epochs or predictions."""

    def __init__(self, work: Workload, data: Problem) -> None:
        ways = {"step": self.steps, "epoch": self.epochs, "predict": self.predictions}
        self.loss: Any = None
        self.run = ways[work.kind]
        super().__init__(work, data)

    def steps(self, n: int) -> None:
        """Take n steps on the one batch; leave the loss of the last."""
        raise NotImplementedError

    def epochs(self, n: int) -> None:
        """Go through the data n times, each time in a new order."""
        raise NotImplementedError

    def training(self, epochs: int, after: Callable[[], bool]) -> None:
        """Train so many epochs as one training; after each ask whether to stop."""
        for _ in range(epochs):
            self.epochs(1)
            if after():
                break

    def predictions(self, n: int) -> None:
        """Compute the outputs of all rows n times."""
        raise NotImplementedError

    def outputs(self) -> Array:
        """Return what the last prediction gave."""
        raise NotImplementedError

    def result(self) -> list[Array]:
        """Return loss and weights after the first step, or the outputs."""
        import numpy as np

        weights = super().result()
        if self.work.kind == "predict":
            return [self.outputs()]
        return [np.array([float(self.loss)], np.float32), *weights]


def fit_step(net: Any, x: Array, optimizer: Any, *, compiled: bool = False) -> Callable[[Array, None], Any]:
    """Return what `fit` calls for each batch, ``take(y, None)``, set on the batch x.

    The one place where a benchmark knows how `fit` is made inside.
    """
    from bpnet.training.loop import best_step
    from bpnet.training.step import Recipe, going_of

    def failed(cache: Any, grad: Any, what: str, networks: Any) -> NoReturn:
        raise FloatingPointError(f"the {what} is not finite")

    optimizer.start(net.theta)
    recipe = Recipe.plain(net, optimizer)._replace(compiled=compiled)
    step = best_step(net, x, recipe, failed, going_of(net))
    step.read(x)
    return step.take


def fit_steps(take: Callable[[Array, None], Any], y: Array, n: int) -> Any:
    """Take n steps of `fit_step`, as silent as `fit` keeps them; return the loss of the last."""
    import numpy as np

    with np.errstate(all="ignore"):
        for _ in repeat(None, n):
            loss = take(y, None)
    return loss


def in_turn(W: Iterable[Any], b: Iterable[Any]) -> list[Any]:
    """Return W², b², W³, ... of the matrices and the biases."""
    return [array for pair in zip(W, b, strict=True) for array in pair]


def weights_of(net: Any) -> list[Array]:
    """Return W², b², W³, ... of a net."""
    return in_turn(net.W.values(), net.b.values())


def weights_of_loop(loop: Any) -> list[Array]:
    """Return W², b², W³, ... of the loop twin."""
    import numpy as np

    layers = [layer.neurons for layer in loop.layers]
    W, b = ([np.array([getattr(n, w) for n in neurons]) for neurons in layers] for w in "wb")
    return in_turn(W, b)


def difference(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """Return the largest difference, relative to the largest number of its array.

    Relative to itself would ask too much: a step takes some of many weights close to 0.
    """
    import numpy as np

    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape:
            raise RuntimeError(f"{a.dtype} {a.shape} was expected, not {b.dtype} {b.shape}")
        worst = max(worst, float(np.max(np.abs(a - b)) / np.max(np.abs(a))))
    return worst
