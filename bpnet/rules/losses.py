"""Losses: one table of name, E, ∂E/∂a, and the output that makes δ^L = a - y.

a is the network's output a^L and y the target, both of shape (..., m, n_L). `E` and `dE` work
element by element; the one place where elements become a number is `reduce`:

    E = (1/m) Σ_samples Σ_outputs E(a, y)

the sum over outputs and the mean over samples, so that a loss and its derivative cannot be
reduced differently.

Where an output and a loss belong together (the canonical link of statistics), f' cancels and
δ^L = (a - y) / m. There `E_z` gives the same loss from z, exact where a rounds to 0 or 1. Other
pairs with a logarithm have an exact form of their own in `pairs.py`. All that is left is taken from
a, and as exact as a is: δ is right but for a few units in the last place of a, y and 1, times the
largest f'. So δ vanishes where a sigmoid has rounded to 1 (z > 17 in float32, 37 in float64) or a
tanh to ±1 (9 and 19).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, known_name
from bpnet.rules import pairs
from bpnet.rules.activations import ACTIVATIONS, Activation, capped_exp, log_softmax, short, softplus
from bpnet.rules.constants import largest_exponent
from bpnet.rules.inplace import FORMS, InPlace, huber_form
from bpnet.rules.pairs import Pair

Real = tuple[float, float]
ROW_SUM_TOLERANCE = 1e-5  # rows rounded to float32 pass, rows that are no distribution do not


@dataclass(frozen=True)
class Loss:
    """A loss and its derivative, element by element.

    Parameters
    ----------
    name : str
        What it is called in messages and files.
    E, dE : callable
        ``E(a, y)`` returns each output's share of the loss, ``dE(a, y)`` ∂E/∂a, shaped like a.
    joined_output : str, optional
        Name of the output activation for which ∂E/∂z = a - y.
    E_z : callable, optional
        ``E_z(z, y)`` returns the same as E, from z, for the joined output.
    pairs : tuple of Pair
        The exact forms with other outputs; see `bpnet.rules.pairs`.
    output_range, target_range : tuple of float
        The intervals that the output activation's range and the targets must lie in.
    distribution : bool
        Whether each row of outputs and of targets must be a probability distribution.
    kinks : tuple
        Where dE jumps: numbers are values of a - y, functions of (a, y) change their sign there,
        as ``lambda a, y: a * y - 1`` for a hinge.
    analytic : bool
        Whether E and dE take complex a, so that the complex step may be used.

    Examples
    --------
    >>> from bpnet import MLP, Loss
    >>> quartic = Loss("quartic", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    >>> MLP.init((2, 3, 1), loss=quartic, rng=0).loss_function.name
    'quartic'
    """

    name: str
    E: Callable[[Array, Array], Array]
    dE: Callable[[Array, Array], Array]
    joined_output: str | None = None
    E_z: Callable[[Array, Array], Array] | None = None
    pairs: tuple[Pair, ...] = field(default=(), repr=False)
    output_range: Real = (-math.inf, math.inf)
    target_range: Real = (-math.inf, math.inf)
    distribution: bool = False
    kinks: tuple[float | Callable[[Array, Array], Array], ...] = ()
    analytic: bool = False
    # Its forms in place; only the table's losses have them, as in `Activation`.
    in_place: InPlace | None = field(default=None, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return short(self)

    def __reduce__(self) -> Any:
        # A loss of the table is pickled by its name, since its rules are lambdas.
        if LOSSES.get(self.name) is self:
            return get_loss, (self.name,)
        limit = huber_limit(self)
        return (huber, (limit,)) if limit else super().__reduce__()

    def joins(self, output: Activation) -> bool:
        """Whether δ^L is a - y with this output activation."""
        return self.joined_output is not None and ACTIVATIONS[self.joined_output] is output

    def pair(self, output: Activation) -> Pair | None:
        """Return the exact form with this output activation, if it has one."""
        return next((p for p in self.pairs if ACTIVATIONS[p.output] is output), None)

    def of_output(self, a: Array, y: Array) -> Array:
        """Return each output's share of the loss from a; a share of the wrong shape is refused."""
        return self._elements(self.E(a, y), a, "E(a, y)")

    def of_pass(self, z: Array, a: Array, y: Array, output: Activation) -> Array:
        """Return each output's share of the loss, from z where that is exact."""
        if self.E_z is not None and self.joins(output):
            return self._elements(self.E_z(z, y), z, "E_z(z, y)")
        pair = self.pair(output)
        return self.of_output(a, y) if pair is None else pair.E_z(z, y)

    def derivative(self, a: Array, y: Array) -> Array:
        """Return ∂E/∂a; one of the wrong shape is refused."""
        return self._elements(self.dE(a, y), a, "dE(a, y)")

    def on_kinks(self, a: Array, y: Array, off: Array) -> Array:
        """Return which outputs lie within `off` of a kink."""
        found = np.zeros(a.shape, bool)
        for kink in self.kinks:
            if callable(kink):
                with np.errstate(all="ignore"):
                    signs = np.array([np.sign(kink(at, y)) for at in (a - off, a, a + off)])
                found |= (signs.min(axis=0) <= 0) & (signs.max(axis=0) >= 0)
            else:
                found |= np.abs(a - y - kink) <= off
        return found

    def _elements(self, values: Array, like: Array, what: str) -> Array:
        if np.shape(values) != like.shape:
            raise ValueError(
                f"the loss {self.name!r} returned shape {np.shape(values)} for outputs of shape "
                f"{like.shape}: {what} is taken element by element, and summed by bpnet"
            )
        return values


def reduce(share: Array, weight: Array | None = None) -> Any:
    """Sum over the outputs, then average over the samples: (..., m, n_L) becomes (...)."""
    of_sample = share.sum(axis=-1)
    return of_sample.mean(axis=-1) if weight is None else (of_sample * weight).sum(axis=-1)


def floor(x: Array) -> Array:
    """Return x, no smaller than what can be divided by without overflow."""
    floored: Array = np.maximum(x, np.finfo(x.dtype).tiny ** 0.9)
    return floored


def log(x: Array) -> Array:
    """Return log x, with x = 0 taken as the smallest normal number."""
    logarithm: Array = np.log(np.maximum(x, np.finfo(x.dtype).tiny))
    return logarithm


def sign(d: Array) -> Array:
    """Return -1, 0 or 1 by the sign of d, in d's dtype."""
    signs: Array = (d > 0).astype(d.dtype) - (d < 0)
    return signs


def poisson_E_z(z: Array, y: Array) -> Array:
    """Return e^z - y z; where e^z is capped it goes on as a straight line, of the slope a - y."""
    beyond = np.maximum(z - largest_exponent(z.dtype), 0)
    share: Array = capped_exp(z) * (1 + beyond) - y * z
    return share


def huber(limit: float = 1.0) -> Loss:
    """Return the Huber loss: ½ d² for |d| <= limit, limit (|d| - ½ limit) beyond, d = a - y.

    With c = d clipped to ±limit it is c (d - c/2), and its derivative is c
    (Huber, "Robust Estimation of a Location Parameter", 1964).
    """
    return huber_of(as_float(limit, "limit", above=0))


@cache  # so that equal limits give one object, and nets that have it are alike
def huber_of(limit: float) -> Loss:
    """Return the Huber loss of a checked limit."""
    name = "huber" if limit == 1 else f"huber({limit:g})"
    E, dE = partial(huber_E, limit=limit), partial(huber_dE, limit=limit)
    loss = Loss(name, E=E, dE=dE, analytic=True)
    object.__setattr__(loss, "in_place", huber_form(limit))
    return loss


def huber_limit(loss: Loss) -> float:
    """Return the limit of a Huber loss, or 0 for another."""
    is_huber = isinstance(loss.E, partial) and loss.E.func is huber_E
    return float(loss.E.keywords["limit"]) if is_huber else 0.0  # type: ignore[attr-defined]  # of a partial


def huber_E(a: Array, y: Array, limit: float) -> Array:
    """Return c (d - c/2), with d = a - y and c = d clipped to ±limit."""
    c = huber_dE(a, y, limit)
    share: Array = c * (a - y - c / 2)
    return share


def huber_dE(a: Array, y: Array, limit: float) -> Array:
    """Return a - y clipped to ±limit."""
    c: Array = np.clip(a - y, -limit, limit)
    return c


# fmt: off
TABLE = (
    Loss("half_squared_error",
         E=lambda a, y: (a - y) * (a - y) / 2,
         dE=lambda a, y: a - y,
         joined_output="identity", E_z=lambda z, y: (z - y) * (z - y) / 2, analytic=True),
    Loss("cross_entropy",
         E=lambda a, y: -y * log(a),
         dE=lambda a, y: -y / floor(a),
         joined_output="softmax", E_z=lambda z, y: -y * log_softmax(z),
         output_range=(0, 1), target_range=(0, 1), distribution=True, analytic=True),
    Loss("binary_cross_entropy",
         E=lambda a, y: -y * log(a) - (1 - y) * log(1 - a),
         dE=lambda a, y: (1 - y) / np.maximum(1 - a, np.finfo(a.dtype).eps) - y / floor(a),
         joined_output="sigmoid", E_z=lambda z, y: y * softplus(-z) + (1 - y) * softplus(z),
         pairs=pairs.BINARY_CROSS_ENTROPY,
         output_range=(0, 1), target_range=(0, 1), analytic=True),
    Loss("absolute_error",
         E=lambda a, y: np.maximum(a - y, y - a),
         dE=lambda a, y: sign(a - y),
         kinks=(0.0,), analytic=True),
    huber(),
    Loss("poisson",
         E=lambda a, y: a - y * log(a),
         dE=lambda a, y: 1 - y / floor(a),
         joined_output="exp", E_z=poisson_E_z, pairs=pairs.POISSON,
         output_range=(0, math.inf), target_range=(0, math.inf), analytic=True),
)
# fmt: on
for entry in TABLE:
    object.__setattr__(entry, "in_place", FORMS[entry.name])

LOSSES = {loss.name: loss for loss in TABLE}
ALIKE = {
    "bce": "binary_cross_entropy",
    "binarycrossentropy": "binary_cross_entropy",
    "categoricalcrossentropy": "cross_entropy",
}
SQUARED = "'half_squared_error', which is half of it, summed over the outputs"
ABSOLUTE = "'absolute_error', which is summed over the outputs"
CLASSES = "'cross_entropy', for classes, or 'binary_cross_entropy', for labels"
MEANT = {
    **dict.fromkeys(("mse", "meansquarederror", "squarederror", "l2"), SQUARED),
    **dict.fromkeys(("mae", "meanabsoluteerror", "l1"), ABSOLUTE),
    **dict.fromkeys(("logloss", "nll", "ce"), CLASSES),
}


def get_loss(loss: str | Loss) -> Loss:
    """Return the loss of that name, or the given object; refuse what is neither."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise TypeError(f"a loss is a name or a Loss object, not {loss!r}")
    return LOSSES[known_name(loss, "loss", LOSSES, ALIKE, MEANT)]


def check_pair(loss: Loss, output: Activation) -> None:
    """Raise ValueError where the output activation leaves the domain of the loss."""
    low, high = loss.output_range
    fits = low <= output.range[0] and output.range[1] <= high
    fits &= not (output.attained and output.range[0] == low > -math.inf)
    if fits and (output.rows_sum_to_one or not loss.distribution):
        return
    need = "rows of probabilities" if loss.distribution else f"outputs between {low} and {high}"
    hint = f"use output={loss.joined_output!r}" if loss.joined_output else "use another loss"
    if loss.distribution and output.name == "sigmoid":
        hint += ", or loss='binary_cross_entropy' for independent labels"
    raise ValueError(
        f"the loss {loss.name!r} needs {need}, which the output activation "
        f"{output.name!r} does not give: {hint}"
    )


def check_targets(loss: Loss, y: Array) -> Array:
    """Return y, its rows normalised where they must sum to 1 and do but for rounding, or refuse."""
    low, high = loss.target_range
    if (low, high) != (-math.inf, math.inf):
        least, most = y.real.min(), y.real.max()
        if least < low or most > high:
            wrong = least if least < low else most
            raise ValueError(
                f"the loss {loss.name!r} needs targets between {low} and {high}, but y holds {wrong:g}"
            )
    if loss.distribution:
        total = y.sum(axis=-1, keepdims=True)
        off = np.abs(total - 1)
        if off.max() > ROW_SUM_TOLERANCE:
            raise ValueError(
                f"the loss {loss.name!r} needs rows of y that sum to 1 (one-hot or "
                f"probabilities), but a row sums to {total.flat[off.argmax()]:g}"
            )
        if off.max() > y.shape[-1] * np.finfo(y.dtype).eps:
            y = y / total
    return y
