"""What a net can do as a stack of networks: be put together, taken apart, and asked as one."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike


class Stackable:
    """The part of `MLP`, whose four names it uses, that is about stacks: θ is (networks, P)."""

    theta: Any
    predict: Any
    loss: Any
    with_theta: Any

    @classmethod
    def stack(cls, nets: Iterable[Self]) -> Self:
        """Return a stack of copies of networks that are alike but for their weights."""
        if not isinstance(nets, Iterable):
            raise TypeError(f"a stack is made of a list of networks, not of {nets!r}")
        nets = list(nets)
        check_alike(nets)
        stacked: Self = nets[0].with_theta(np.stack([net.theta for net in nets]))
        return stacked

    def ensemble(self, x: ArrayLike, *, spread: bool = False) -> Any:
        """Return the mean of a stack's outputs, (m, n_L); with `spread` (mean, deviation)."""
        len(self)
        out = self.predict(x)
        return (out.mean(axis=0), out.std(axis=0)) if spread else out.mean(axis=0)

    def best(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Return the network of a stack with the lowest finite loss on these data, a ``net[k]``."""
        len(self)
        losses = self.loss(a=self.predict(x), y=y)
        if not np.isfinite(losses).any():
            raise ValueError("no network of the stack has a finite loss")
        return self[int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))]

    def __len__(self) -> int:
        if self.theta.ndim == 1:
            raise TypeError("this is one network, not a stack: it has no length and no net[k]")
        return len(self.theta)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, k: int) -> Self:
        """Return network k of a stack, which shares its memory."""
        networks = len(self)
        try:
            if isinstance(k, (bool, np.bool_)):
                raise TypeError
            index = operator.index(k)
        except TypeError:
            raise TypeError(f"net[k] takes an integer, not {k!r}") from None
        if not -networks <= index < networks:
            raise IndexError(f"there is no network {index}: the stack holds {networks}")
        one: Self = self.with_theta(self.theta[index])
        return one

    def __iter__(self) -> Iterator[Self]:
        return (self[k] for k in range(len(self)))


def check_alike(nets: Sequence[Any]) -> None:
    """Raise if these are no networks that differ in their weights alone."""
    if not nets:
        raise ValueError("a stack needs a network at least")
    other = [k for k, net in enumerate(nets) if not isinstance(net, Stackable)]
    if other:
        raise TypeError(f"a stack is made of networks, but nets[{other[0]}] is {nets[other[0]]!r}")
    first = nets[0]
    for k, net in enumerate(nets):
        if net.theta.ndim > 1:
            raise ValueError(f"nets[{k}] is a stack itself: pass its networks, [*net]")
        mine, theirs = net.loss_function, first.loss_function
        compared: list[tuple[Any, Any, str, str]] = [
            (mine, theirs, f"the loss {mine.name!r}", f"{theirs.name!r}"),
            (net.sizes, first.sizes, f"sizes {net.sizes}", f"{first.sizes}"),
            (net.dtype, first.dtype, f"dtype {net.dtype}", f"{first.dtype}"),
            ([*net.activation.values()], [*first.activation.values()], "other activations", ""),
        ]
        for here, there, text, its in compared:
            if here != there:
                text = f"{text}, and nets[0] has {its}" if its else text
                raise ValueError(f"a stack is of networks alike, but nets[{k}] has {text}")
