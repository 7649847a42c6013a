"""The exceptions that a caller may want to catch by name."""

from functools import partial
from typing import Any


class InvalidFile(ValueError):
    """A file that is not what it should be: no net, damaged, or of an unknown version."""


class TrainingDiverged(ArithmeticError):
    """A loss, a gradient or a step that is no longer finite; the net keeps its last finite weights.

    `epoch` and `step` within it say where, from 1; `layer` (or None) is the first whose z, a or δ
    is not finite, `learning_rate` the one in use (L-BFGS has none), `history` of the epochs before.
    """

    def __init__(self, message: str, *, epoch: int, step: int, layer: int | None, learning_rate: Any) -> None:
        super().__init__(message)
        self.epoch, self.step, self.layer = epoch, step, layer
        self.learning_rate = learning_rate
        self.history: Any = None

    def __reduce__(self) -> tuple[Any, ...]:  # so that it comes back whole from another process
        known = {name: vars(self)[name] for name in ("epoch", "step", "layer", "learning_rate")}
        return partial(type(self), **known), self.args, {"history": self.history}


class GradientCheckFailed(AssertionError):
    """A gradient that is not the derivative of its function; the message is the whole report."""
