"""What a backward pass holds: ∂E/∂θ, laid out as θ is, and the errors δ^l."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from bpnet.arrays import Array
from bpnet.network.cache import Cache, Signature
from bpnet.network.parameters import FIRST, ByLayer, Parameters, by_layer
from bpnet.network.show import Row, rows_of


class Gradient(Parameters):
    """∂E/∂θ of a pass, ``theta``, its views ``W[l]``, ``b[l]``, and ∂E/∂z^l, ``delta[l]``."""

    def __init__(self, signature: Signature, theta: Array, delta: Sequence[Array] | None = None) -> None:
        super().__init__(signature.sizes, theta)
        self.ones: Any = None  # (1, m), to sum over samples; None where of one ∂E/∂b^l is δ^l
        if delta is None:
            delta = self.b_row[FIRST:]
        else:
            self.ones = np.ones_like(theta, shape=(1, delta[0].shape[-2]))
        self.signature = signature
        self.m: int = delta[0].shape[-2]
        self.delta: ByLayer[Array] = ByLayer("delta", FIRST, delta)
        self.delta_T: list[Array] = by_layer(FIRST, [delta_l.mT for delta_l in delta])
        self.way_to_x: Callable[[], Array] | None = None  # set by `MLP.backward`

    @classmethod
    def empty(cls, theta: Array, cache: Cache) -> Self:
        """Return room for the gradient of a pass, like θ."""
        delta = [np.empty_like(z) for z in cache.z.values()]
        return cls(cache.signature, np.empty_like(theta), delta)

    @classmethod
    def shared(cls, theta: Array, cache: Cache) -> Self:
        """Return room as `empty` does; of one sample, δ^l and ∂E/∂b^l are the same numbers."""
        if cache.m > 1 or theta.ndim > 1:
            return cls.empty(theta, cache)
        return cls(cache.signature, np.empty_like(theta))

    listed: ClassVar[tuple[str, ...]] = (*Parameters.listed, "delta", "m", "x")

    def summary(self) -> tuple[str, list[Row]]:
        """Return what `repr` shows."""
        return super().summary()[0], rows_of(delta=self.delta, W=self.W, b=self.b)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.signature, self.theta, self.delta.list[FIRST:])

    @property
    def x(self) -> Array:
        """∂E/∂x = (W²)ᵀ δ², made when asked for; ValueError if weights have changed since."""
        if self.way_to_x is None:
            raise ValueError("∂E/∂x belongs to a gradient that net.backward has returned")
        return self.way_to_x()

    def fits(self, cache: Cache) -> bool:
        """Whether the buffers serve this cache."""
        return self.m == cache.m and self.signature == cache.signature
