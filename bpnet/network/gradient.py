"""What a backward pass holds: ∂E/∂θ, laid out as θ is, and the errors δ^l."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bpnet.arrays import Array
from bpnet.network.cache import PAD, Cache, Signature
from bpnet.network.parameters import FIRST, ByLayer, Parameters
from bpnet.rules.activations_inplace import activation_kernels
from bpnet.rules.losses_inplace import output_kernels

if TYPE_CHECKING:
    from bpnet.mlp import MLP


class Gradient(Parameters):
    """∂E/∂θ and the errors δ^l of one backward pass; laid out as the parameters are.

    Attributes
    ----------
    theta : array, shape (P,)
        ∂E/∂θ.
    W, b : mapping
        ``W[l]`` is ∂E/∂W^l and ``b[l]`` is ∂E/∂b^l, views of ``theta``.
    delta : mapping
        ``delta[l]``, l = 2..L, shape (m, n_l), is ∂E/∂z^l.
    """

    def __init__(
        self, signature: Signature, theta: Array, delta: Sequence[Array] | None = None
    ) -> None:
        super().__init__(signature.sizes, theta)
        self.ones: Any = None
        if delta is None:  # of one sample, δ^l is ∂E/∂b^l
            delta = self.b_row[FIRST:]
        else:
            self.ones = np.ones_like(theta, shape=(1, delta[0].shape[-2]))
        self.signature = signature
        self.m = delta[0].shape[-2]
        self.delta_list: list[Array] = [*PAD, *delta]
        self.delta_T: list[Array] = [*PAD, *(delta_l.mT for delta_l in delta)]
        rules = zip(signature.activations, delta, strict=True)
        self.times_df = [*PAD, *(activation_kernels(f, delta_l)[1] for f, delta_l in rules)]
        self.output_delta, self.value = output_kernels(
            signature.loss, signature.activations[-1], delta[-1]
        )
        self.equal_share = None if self.m == 1 else np.array(1 / self.m, theta.dtype)
        self.share: Any
        self.weigh(None)
        self.delta = ByLayer("delta", FIRST, delta)

    @classmethod
    def empty(cls, net: MLP, cache: Cache) -> Self:
        """Return room for the gradient of a pass."""
        delta = [np.empty_like(z) for z in cache.z_list[FIRST:]]
        return cls(cache.signature, np.empty_like(net.theta), delta)

    @classmethod
    def shared(cls, net: MLP, cache: Cache) -> Self:
        """Return room as `empty` does; of one sample, δ^l and ∂E/∂b^l are the same numbers."""
        if cache.m > 1 or net.theta.ndim > 1:
            return cls.empty(net, cache)
        return cls(cache.signature, np.empty_like(net.theta))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.signature, self.theta, self.delta_list[FIRST:])

    def weigh(self, shares: Array | None) -> None:
        """Set each sample's share in the mean, (m,) or (networks, m); None is 1/m each."""
        self.weighted = shares is not None
        self.share = self.equal_share if shares is None else shares[..., None]

    def loss(self, cache: Cache, y: Array) -> Any:
        """Return E of the pass, with the shares that `weigh` has set."""
        share = self.share if self.weighted else None
        return self.value(cache.z_list[-1], cache.a_list[-1], y, share)

    def fits(self, cache: Cache) -> bool:
        """Whether the buffers serve this cache."""
        return self.m == cache.m and self.signature == cache.signature
