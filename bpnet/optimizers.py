"""Update rules on flat vectors; they know no network.

θ     parameters, (P,); a step changes them in place
g     ∂E/∂θ, only read
η     learning rate
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bpnet.parameters import Array
from bpnet.validation import as_float


@dataclass
class SGD:
    """Gradient descent: θ ← θ - η g.

    Parameters
    ----------
    learning_rate : float
        η > 0.

    Raises
    ------
    TypeError, ValueError
        If the learning rate is no positive number.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        self.learning_rate = as_float(self.learning_rate, "learning_rate", above=0)

    def start(self, theta: Array) -> None:
        """Make room for steps on a vector of this shape and dtype."""
        self._rate = np.array(self.learning_rate, theta.dtype)
        self._move = np.empty_like(theta)

    def step(self, theta: Array, g: Array) -> None:
        """Take one step: θ changes in place."""
        np.multiply(g, self._rate, self._move)
        np.subtract(theta, self._move, theta)
