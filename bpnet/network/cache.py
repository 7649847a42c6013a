"""What one pass holds: the cache of `forward` and the gradient of `backward`.

Each is a value of its own, with its own buffers, kernels and scratch space. Lists beside the
mappings hold the same arrays; their index is the layer too, and they cost no look-up by key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from bpnet import checks
from bpnet.arrays import Array, check_memory, room
from bpnet.network.parameters import FIRST, ByLayer
from bpnet.rules.activations import Activation
from bpnet.rules.activations_inplace import activation_kernels
from bpnet.rules.losses import Loss

if TYPE_CHECKING:
    from bpnet.mlp import MLP

PAD: list[Any] = [None] * FIRST


class Signature(NamedTuple):
    """What must be equal for a cache or a gradient of one net to serve another."""

    sizes: tuple[int, ...]
    theta_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    activations: tuple[Activation, ...]
    loss: Loss

    @classmethod
    def of(cls, net: MLP) -> Self:
        """Return the signature of a net."""
        activations = tuple(net.activation.values())
        return cls(net.sizes, net.theta.shape, net.theta.dtype, activations, net.loss_function)


class Cache:
    """z^l and a^l of one forward pass.

    Attributes
    ----------
    z : mapping
        ``z[l]``, l = 2..L, shape (m, n_l): the weighted input of layer l.
    a : mapping
        ``a[l]``, l = 1..L, shape (m, n_l): its output; ``a[1]`` is x, ``a[L]`` the net's output.
    m : int
        Number of samples.
    """

    def __init__(
        self, signature: Signature, a: Sequence[Array], z: Sequence[Array], mask: Any = None
    ) -> None:
        self.signature = signature
        self.m = a[0].shape[-2]
        self.z_list: list[Array] = [*PAD, *z]
        self.a_list: list[Array] = [PAD[0], *a]
        self.fed = list(self.a_list)  # what the next layer reads: a, or with dropout a part of it
        self.mask: list[Any] = [None] * (len(a) + 1)  # of layer l: an array, or None
        rules = zip(signature.activations, z, strict=True)
        self.f = [*PAD, *(activation_kernels(f, z_l)[0] for f, z_l in rules)]
        self.upward = range(FIRST, len(a) + 1)  # the layers 2..L
        self.downward = self.upward[::-1]
        self.z = ByLayer("z", FIRST, z)
        self.a = ByLayer("a", 1, a)
        self.hold(mask)
        for l in mask or ():
            np.multiply(self.a_list[l], self.mask[l], self.fed[l])

    @classmethod
    def empty(cls, net: MLP, x: Array) -> Self:
        """Return room for a pass over x, which is kept, not copied."""
        m, theta = x.shape[-2], net.theta
        if theta.ndim > 1:
            what = f"{len(theta):,} networks on {m:,} samples"
            check_memory(what, len(theta), theta.dtype, 2 * m * sum(net.sizes[1:]))
        z = [room(theta, m, n) for n in net.sizes[1:]]
        return cls(Signature.of(net), [x, *map(np.empty_like, z)], z)

    def __reduce__(self) -> tuple[Any, ...]:
        mask = {l: mask for l, mask in enumerate(self.mask) if mask is not None}
        return type(self), (self.signature, self.a_list[1:], self.z_list[FIRST:], mask)

    def fits(self, net: MLP, x: Array) -> bool:
        """Whether the buffers serve this net and this batch."""
        return self.a_list[1].shape == x.shape and self.signature == Signature.of(net)

    def read(self, x: Array) -> None:
        """Take x as a¹, without copying it."""
        self.a_list[1] = x
        if self.mask[1] is None:
            self.fed[1] = x
        self.a = ByLayer("a", 1, self.a_list[1:])

    def hold(self, mask: Mapping[int, ArrayLike] | None) -> None:
        """Set the dropout masks of the layers 1..L-1, copied, or none; all of them or an error."""
        held = {} if mask is None else self._held(mask)
        for l in range(1, len(self.a_list) - 1):
            self.mask[l] = held.get(l)
            self.fed[l] = np.empty_like(self.a_list[l]) if l in held else self.a_list[l]

    def _held(self, mask: Mapping[int, ArrayLike]) -> dict[int, Array]:
        if not isinstance(mask, Mapping):
            raise TypeError(f"mask must be a dict by layer such as {{2: array}}, not {mask!r}")
        held: dict[int, Array] = {}
        for l, values in mask.items():
            if l not in range(1, len(self.a_list) - 1):
                last = len(self.a_list) - 2
                raise ValueError(f"mask[{l!r}] is for no layer: dropout is for 1..{last}")
            a, array = self.a_list[l], checks.as_numbers(values, f"mask[{l}]")
            if array.shape != a.shape:
                raise ValueError(f"mask[{l}] has shape {array.shape}, but a[{l}] has {a.shape}")
            held[l] = checks.converted(array, a.dtype, f"mask[{l}]").copy()
        return held
