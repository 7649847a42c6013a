"""What a net can do as a stack of networks: be put together, taken apart, and asked as one."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array


class Stackable(ABC):
    """The part of `MLP` that is about stacks: θ of shape (networks, P)."""

    @property
    @abstractmethod
    def theta(self) -> Array:
        """θ, (P,) or (networks, P)."""

    @abstractmethod
    def predict(self, x: ArrayLike) -> Array:
        """Return a^L."""

    @abstractmethod
    def loss(self, *, a: Any, y: ArrayLike) -> Any:
        """Return E of an output."""

    @abstractmethod
    def with_theta(self, theta: Array) -> Self:
        """Return a net like this one with another θ, not copied."""

    @classmethod
    def stack(cls, nets: Iterable[Self]) -> Self:
        """Return a stack of copies of networks that are alike but for their weights.

        Raises
        ------
        TypeError, ValueError
            If there are none, or they differ in sizes, activations, loss or dtype.
        """
        if not isinstance(nets, Iterable):
            raise TypeError(f"a stack is made of a list of networks, not of {nets!r}")
        nets = list(nets)
        theta = joined(nets)
        return nets[0].with_theta(theta)

    def ensemble(self, x: ArrayLike, *, spread: bool = False) -> Any:
        """Return the mean of a stack's outputs, (m, n_L); if asked, also their spread.

        Parameters
        ----------
        x : array_like
            As in `predict`.
        spread : bool
            Return (mean, standard deviation over the networks).

        Raises
        ------
        TypeError
            If this is one network.
        """
        len(self)
        out = self.predict(x)
        return (out.mean(axis=0), out.std(axis=0)) if spread else out.mean(axis=0)

    def best(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Return the network of a stack with the lowest loss on these data: ``net[k]`` for one k.

        Raises
        ------
        TypeError
            If this is one network.
        ValueError
            If no network has a finite loss, or as `loss`.
        """
        len(self)
        return self[lowest(self.loss(a=self.predict(x), y=y))]

    def __len__(self) -> int:
        if self.theta.ndim == 1:
            raise TypeError("this is one network, not a stack: it has no length and no net[k]")
        return len(self.theta)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, k: int) -> Self:
        """Return network k of a stack, which shares its memory.

        Raises
        ------
        TypeError
            If this is one network, or k is no integer.
        IndexError
            If there is no network k.
        """
        return self.with_theta(self.theta[place(k, len(self))])

    def __iter__(self) -> Iterator[Self]:
        return (self[k] for k in range(len(self)))


def joined(nets: Sequence[Any]) -> Array:
    """Return the θ, (networks, P), of networks put together."""
    if not nets:
        raise ValueError("a stack needs a network at least")
    other = [k for k, net in enumerate(nets) if not isinstance(net, Stackable)]
    if other:
        raise TypeError(f"a stack is made of networks, but nets[{other[0]}] is {nets[other[0]]!r}")
    first = nets[0]
    for k, net in enumerate(nets):
        if net.theta.ndim > 1:
            raise ValueError(f"nets[{k}] is a stack itself: pass its networks, [*net]")
        if net.loss_function != first.loss_function:
            mine, theirs = net.loss_function.name, first.loss_function.name
            raise ValueError(
                f"a stack is of networks alike, but nets[{k}] has the loss {mine!r}, "
                f"and nets[0] has {theirs!r}"
            )
        for what in ("sizes", "dtype"):
            mine, theirs = getattr(net, what), getattr(first, what)
            if mine != theirs:
                raise ValueError(
                    f"a stack is of networks alike, but nets[{k}] has {what} {mine}, "
                    f"and nets[0] has {theirs}"
                )
        if [*net.activation.values()] != [*first.activation.values()]:
            raise ValueError(f"a stack is of networks alike, but nets[{k}] has other activations")
    return np.stack([net.theta for net in nets])


def place(k: int, networks: int) -> int:
    """Return k, counted from the end where negative, if there is such a network."""
    try:
        if isinstance(k, (bool, np.bool_)):
            raise TypeError
        index = operator.index(k)
    except TypeError:
        raise TypeError(f"net[k] takes an integer, not {k!r}") from None
    if not -networks <= index < networks:
        raise IndexError(f"there is no network {index}: the stack holds {networks}")
    return index % networks


def lowest(losses: Array) -> int:
    """Return the number of the network with the lowest finite loss."""
    if not np.isfinite(losses).any():
        raise ValueError("no network of the stack has a finite loss")
    return int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
