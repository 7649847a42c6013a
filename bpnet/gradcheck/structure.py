"""Numbers in a structure, as one flat vector whose coordinates have names.

A structure is a number, an array, or a list, tuple or dict of structures. A coordinate is named
as Python would index it: ``[17]`` of a vector, ``['W1'][0, 3]`` of a dict of arrays,
``[0]['b'][2]`` deeper down, ``W[3][1, 0]`` of a network.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_numbers
from bpnet.network.parameters import entry_name, named_blocks


@dataclass(frozen=True)
class Block:
    """One array among the parameters.

    Attributes
    ----------
    name : str
        Such as ``"W[2]"`` or ``"['W1']"``; empty for a structure that is one array.
    start : int
        Where it starts in the flat vector; it lies there row by row.
    shape : tuple of int
    layer : int or None
        The layer l of a network's W^l or b^l.
    """

    name: str
    start: int
    shape: tuple[int, ...]
    layer: int | None = None

    @property
    def stop(self) -> int:
        """Where it ends in the flat vector."""
        return self.start + self.size

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def is_bias(self) -> bool:
        """Whether it is the b^l of a network's layer."""
        return self.layer is not None and len(self.shape) == 1

    @property
    def slice(self) -> slice:
        """Its coordinates."""
        return slice(self.start, self.stop)

    @property
    def label(self) -> str:
        """The name, or what to say where it is empty."""
        return self.name or "all"

    def name_of(self, k: int) -> str:
        """Name of coordinate k of the flat vector, which lies in this block."""
        return (
            entry_name(self.name, self.shape, k - self.start) if self.shape else self.name or "at"
        )


@dataclass(frozen=True)
class Layout:
    """The blocks of a flat vector, in order."""

    blocks: tuple[Block, ...]

    @cached_property
    def starts(self) -> list[int]:
        """Where the blocks start."""
        return [block.start for block in self.blocks]

    @property
    def slices(self) -> list[slice]:
        """The coordinates of each."""
        return [block.slice for block in self.blocks]

    @property
    def size(self) -> int:
        """The length of the flat vector."""
        return self.blocks[-1].stop

    def block_of(self, k: int) -> Block:
        """Return the block that coordinate k lies in."""
        return self.blocks[bisect_right(self.starts, k) - 1]

    def name(self, k: int) -> str:
        """Name of coordinate k."""
        return self.block_of(k).name_of(k)


def layout_of_net(sizes: Sequence[int]) -> Layout:
    """Return the layout of θ of a network: W[2], b[2], ..., W[L], b[L]."""
    found = (Block(name, start, shape, l) for name, l, start, shape in named_blocks(sizes))
    return Layout(tuple(found))


def flatten(structure: Any) -> tuple[Array, Layout, np.dtype[Any]]:
    """Return the numbers of a structure as one float64 vector, its layout, and its coarsest dtype.

    Raises
    ------
    TypeError
        If something in it has no derivative: integers, text, complex numbers, None.
    ValueError
        If it holds no number, or one that is not finite.
    """
    found: list[Block] = []
    parts: list[Array] = []
    dtype = np.dtype(np.float64)
    for name, leaf in leaves(structure, ""):
        array = as_floats(leaf, name)
        found.append(Block(name, sum(part.size for part in parts), array.shape))
        parts.append(array.astype(np.float64).ravel())
        if np.finfo(array.dtype).eps > np.finfo(dtype).eps:
            dtype = array.dtype
        if not np.isfinite(parts[-1]).all():
            raise ValueError(f"at{name} must be finite, but holds NaN or infinity")
    if not sum(part.size for part in parts):
        raise ValueError("at holds no numbers: there is nothing to differentiate")
    # An empty array has no coordinate to name.
    layout = Layout(tuple(block for block in found if block.stop > block.start))
    return np.concatenate(parts), layout, dtype


def leaves(structure: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each array or number in the structure."""
    if isinstance(structure, Mapping):
        for key, value in structure.items():
            yield from leaves(value, f"{name}[{key!r}]")
    elif isinstance(structure, (list, tuple)):
        for i, value in enumerate(structure):
            yield from leaves(value, f"{name}[{i}]")
    else:
        yield name, structure


def as_floats(leaf: Any, name: str) -> Array:
    """Return an array or number of the point, if one can differentiate by it."""
    array = np.asarray(leaf) if isinstance(leaf, (np.ndarray, np.generic, float)) else None
    if array is None or array.dtype.kind != "f":
        given = f"is {leaf!r}" if array is None else f"holds {array.dtype}"
        raise TypeError(
            f"at{name} {given}, by which nothing can be differentiated: at must be a float, an "
            "array of floats, or a list, tuple or dict of these; leave out what is no parameter"
        )
    return array


def rebuild(structure: Any, flat: Array) -> Any:
    """Return a structure of the same kind that holds the numbers of a flat vector, copied."""
    return build(structure, flat, 0)[0]


def build(structure: Any, flat: Array, start: int) -> tuple[Any, int]:
    """Return the structure filled from ``flat[start:]``, and where it ends there."""
    if isinstance(structure, Mapping):
        filled = {}
        for key, value in structure.items():
            filled[key], start = build(value, flat, start)
        return filled, start
    if isinstance(structure, (list, tuple)):
        items = []
        for value in structure:
            item, start = build(value, flat, start)
            items.append(item)
        if hasattr(structure, "_fields"):  # a namedtuple
            return type(structure)(*items), start
        return type(structure)(items), start
    shape = np.shape(structure)
    stop = start + math.prod(shape)
    if not isinstance(structure, np.ndarray):
        return flat[start].item(), stop
    return flat[start:stop].reshape(shape).copy(), stop


def flatten_like(structure: Any, given: Any) -> tuple[Array, np.dtype[Any]]:
    """Return a gradient that was given in the structure's form, flat, and its coarsest dtype.

    Raises
    ------
    TypeError, ValueError
        If its form, a shape or a kind of number differs.
    """
    parts: list[Array] = []
    dtype = np.dtype(np.float64)
    for array in matched(structure, given, ""):
        parts.append(array.astype(np.float64).ravel())
        if array.dtype.kind == "f" and np.finfo(array.dtype).eps > np.finfo(dtype).eps:
            dtype = array.dtype
    return np.concatenate(parts), dtype


def matched(structure: Any, given: Any, name: str) -> Iterator[Array]:
    """Yield the arrays of a gradient in the order of the structure."""
    what = f"gradient{name}"
    given = returned(given, what)
    if isinstance(structure, Mapping):
        if not isinstance(given, Mapping):
            raise TypeError(f"{what} must be a dict, as at{name} is, not {type(given).__name__}")
        if set(given) != set(structure):
            keys, needed = (", ".join(map(repr, group)) for group in (given, structure))
            raise ValueError(f"{what} has the keys {keys or 'none'}, but at{name} has {needed}")
        for key, value in structure.items():
            yield from matched(value, given[key], f"{name}[{key!r}]")
    elif isinstance(structure, (list, tuple)):
        if not isinstance(given, (list, tuple, np.ndarray)):
            raise TypeError(f"{what} must be a list, as at{name} is, not {type(given).__name__}")
        if len(given) != len(structure):
            raise ValueError(f"{what} has {len(given)} items, but at{name} has {len(structure)}")
        for i, value in enumerate(structure):
            yield from matched(value, given[i], f"{name}[{i}]")
    else:
        array = as_numbers(given, what)
        if array.shape != np.shape(structure):
            raise ValueError(
                f"{what} has shape {array.shape}, but at{name} has {np.shape(structure)}"
                f"{shape_hint(array.shape, np.shape(structure))}"
            )
        yield array


def returned(given: Any, what: str) -> Any:
    """Return what a gradient function returned, or raise TypeError where that is nothing."""
    if given is None:
        raise TypeError(f"{what} is None: is a return missing?")
    return given


def shape_hint(shape: tuple[int, ...], need: tuple[int, ...]) -> str:
    """Return what a wrong shape looks like: the right one reversed, or with axes of length 1."""
    if shape == need[::-1] and len(shape) > 1:
        return ": it looks transposed"
    if [n for n in shape if n != 1] == [n for n in need if n != 1]:
        if len(shape) > len(need):
            return ": sum without keepdims=True"
        if len(shape) < len(need):
            return ": sum with keepdims=True, or take reshape"
    return ""
