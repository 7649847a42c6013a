"""What one forward pass holds: z^l and a^l, and the kernels that compute them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy import multiply
from numpy.typing import ArrayLike

from bpnet.arrays import Array, alike, check_memory, room
from bpnet.checks import as_numbers, converted
from bpnet.network.parameters import FIRST, ByLayer, by_layer
from bpnet.network.show import Row, Shown, rows_of
from bpnet.rules.activations import Activation
from bpnet.rules.kernels import layer_kernels, output_kernels
from bpnet.rules.losses import Loss


class Signature(NamedTuple):
    """What must be equal for a cache or a gradient of one net to serve another."""

    sizes: tuple[int, ...]
    theta_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    activations: tuple[Activation, ...]
    loss: Loss


class Cache(Shown):
    """z^l and a^l of one forward pass.

    It holds the scratch space of its pass too, so it serves one thread at a time.

    Attributes
    ----------
    z : mapping
        ``z[l]``, l = 2..L, shape (m, n_l): the weighted input of layer l.
    a : mapping
        ``a[l]``, l = 1..L, shape (m, n_l): its output; ``a[1]`` is x, ``a[L]`` the net's output.
    m : int
        Number of samples.
    """

    L: int
    f: list[Callable[[Array, Array], object]]
    times_df: list[Callable[[Array, Array, Array], object]]
    fed: list[Array]
    value: Callable[..., Any]
    output_delta: Callable[[Array, Array, Array, Array], object]

    def __init__(
        self, signature: Signature, a: Sequence[Array], z: Sequence[Array], mask: Any = None
    ) -> None:
        self.signature: Signature = signature
        self.m: int = a[0].shape[-2]
        self.a: ByLayer[Array] = ByLayer("a", 1, a)
        self.z: ByLayer[Array] = ByLayer("z", FIRST, z)
        self.L = L = len(a)
        self.layers: range = range(FIRST, L + 1)
        self.hidden_layers: range = range(L - 1, FIRST - 1, -1)
        self.made_of: int | None = None  # the digest of the θ of `MLP.forward`, if it was that
        self._own_x: Array | None = None  # what `copy_in` fills
        self._pairs = by_layer(FIRST, map(layer_kernels, signature.activations, z))
        # By layer: f(z, a), times_df(z, a, delta), and what the next layer reads, a^l or the part
        # of it that dropout keeps.
        self.f = by_layer(FIRST, [f for f, _ in self._pairs[FIRST:]])
        self.times_df = by_layer(FIRST, [times_df for _, times_df in self._pairs[FIRST:]])
        self.fed = list(self.a.list)
        self.mask: list[Any] = [None] * (L + 1)  # of layer l: an array, or None
        self._delta_of_each, self.value = output_kernels(
            signature.loss, signature.activations[-1], z[-1], self.times_df[L]
        )
        each = np.array(1 / self.m, z[-1].dtype)
        self._equal_share = None if self.m == 1 else alike(each, z[-1])
        self.weigh(None)
        self.hold(mask)
        for l in mask or ():
            multiply(self.a.list[l], self.mask[l], self.fed[l])

    @classmethod
    def empty(cls, signature: Signature, theta: Array, x: Array) -> Self:
        """Return room for a pass over x, which is kept, not copied; laid out as θ is."""
        m, sizes = x.shape[-2], signature.sizes
        if theta.ndim > 1:
            what = f"{len(theta):,} networks on {m:,} samples"
            check_memory(what, len(theta), theta.dtype, 2 * m * sum(sizes[1:]))
        z = [room(theta, m, n) for n in sizes[1:]]
        return cls(signature, [x, *map(np.empty_like, z)], z)

    listed: ClassVar[tuple[str, ...]] = ("L", "a", "m", "z")

    def summary(self) -> tuple[str, list[Row]]:
        """Return what `repr` shows."""
        title = f"Cache of {self.m:,} sample{'s' * (self.m > 1)}, {self.signature.dtype}"
        return title, rows_of(z=self.z, a=self.a)

    def __reduce__(self) -> tuple[Any, ...]:
        mask = {l: mask for l, mask in enumerate(self.mask) if mask is not None}
        made = self.signature, self.a.list[1:], self.z.list[FIRST:], mask
        return type(self), made, {"made_of": self.made_of}

    def fits(self, signature: Signature, x: Array) -> bool:
        """Whether the buffers serve this net and this batch."""
        return self.a.list[1].shape == x.shape and self.signature == signature

    def read(self, x: Array) -> None:
        """Take x as a¹, without copying it; with dropout of the input, feed the part it keeps."""
        self.a.list[1] = x
        if self.mask[1] is None:
            self.fed[1] = x
        else:
            multiply(x, self.mask[1], self.fed[1])

    def copy_in(self, x: Array) -> None:
        """Take a copy of x as a¹, in a buffer of the cache's own."""
        if self._own_x is None:
            self._own_x = np.empty_like(x)
        np.copyto(self._own_x, x)
        self.read(self._own_x)

    def weigh(self, shares: Array | None) -> None:
        """Set each sample's share in the mean, (m,) or (networks, m); None is 1/m each."""
        self._weights = None if shares is None else alike(shares[..., None], self.z.list[-1])
        share = self._equal_share if self._weights is None else self._weights
        delta_of_each = self._delta_of_each
        if share is None:
            self.output_delta = delta_of_each
            return

        def output_delta(z: Array, a: Array, y: Array, delta: Array) -> None:
            delta_of_each(z, a, y, delta)
            multiply(delta, share, delta)

        self.output_delta = output_delta

    def loss(self, y: Array) -> Any:
        """Return E of the pass, with the shares that `weigh` has set."""
        return self.value(self.z.list[-1], self.a.list[-1], y, self._weights)

    def hold(self, mask: Mapping[int, ArrayLike] | None) -> None:
        """Set the dropout masks of the layers 1..L-1, copied, or none; all of them or an error."""
        if not isinstance(mask, Mapping | None):
            raise TypeError(f"mask must be a dict by layer such as {{2: array}}, not {mask!r}")
        held = {}
        for l, values in (mask or {}).items():
            if l not in range(1, self.L):
                raise ValueError(f"mask[{l!r}] is for no layer: dropout is for 1..{self.L - 1}")
            a, array = self.a.list[l], as_numbers(values, f"mask[{l}]")
            if array.shape != a.shape:
                raise ValueError(f"mask[{l}] has shape {array.shape}, but a[{l}] has {a.shape}")
            held[l] = alike(converted(array, a.dtype, f"mask[{l}]"), a).copy()
        for l in range(1, self.L):
            self.drop(l, held.get(l))

    def drop(self, l: int, mask: Array | None) -> None:
        """Feed layer l + 1 with a^l ⊙ mask, which is kept, not copied; or with all of a^l."""
        self.mask[l], a = mask, self.a.list[l]
        if mask is None:
            self.fed[l] = a
        else:  # which may be one for each network of a stack, where x is the same for all
            self.fed[l] = np.empty_like(a if a.shape == mask.shape else mask)
        if l < FIRST:
            return
        f, times_df = self.f[l], self.times_df[l] = self._pairs[l]
        if mask is None:
            return

        def kept_f(z: Array, kept: Array) -> None:
            f(z, a)
            multiply(a, mask, kept)

        def kept_times_df(z: Array, kept: Array, delta: Array) -> None:
            multiply(delta, mask, delta)
            times_df(z, a, delta)

        self.f[l], self.times_df[l] = kept_f, kept_times_df
