"""Numbers in a structure, as one flat vector whose coordinates have names.

A structure is a number, an array, or a list, tuple or dict of structures. A coordinate is named
as Python would index it: ``[17]`` of a vector, ``['W1'][0, 3]`` of a dict of arrays,
``[0]['b'][2]`` deeper down, ``W[3][1, 0]`` of a network.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_numbers
from bpnet.gradcheck.differences import EPS
from bpnet.network.parameters import entry_name, named_blocks


@dataclass(frozen=True)
class Block:
    """One array among the parameters; it lies in the flat vector row by row."""

    name: str  # such as "W[2]" or "['W1']"; empty for a structure that is one array
    start: int  # where it starts in the flat vector
    shape: tuple[int, ...]
    layer: int | None = None  # of a network's W^l or b^l

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def slice(self) -> slice:
        """Its coordinates."""
        return slice(self.start, self.start + self.size)

    @property
    def is_bias(self) -> bool:
        """Whether it is the b^l of a network's layer."""
        return self.layer is not None and len(self.shape) == 1

    @property
    def label(self) -> str:
        """The name, or what to say where it is empty."""
        return self.name or "all"


@dataclass(frozen=True)
class Layout:
    """The blocks of a flat vector, in order."""

    blocks: tuple[Block, ...]

    @property
    def slices(self) -> list[slice]:
        """The coordinates of each."""
        return [block.slice for block in self.blocks]

    @property
    def size(self) -> int:
        """The length of the flat vector."""
        return sum(block.size for block in self.blocks)

    def name(self, k: int) -> str:
        """Name of coordinate k."""
        block = next(block for block in self.blocks if k < block.slice.stop)
        if not block.shape:
            return block.name or "at"
        return entry_name(block.name, block.shape, k - block.start)


def layout_of_net(sizes: Sequence[int]) -> Layout:
    """Return the layout of θ of a network: W[2], b[2], ..., W[L], b[L]."""
    return Layout(tuple(Block(name, start, n, l) for name, l, start, n in named_blocks(sizes)))


def flatten(structure: Any) -> tuple[Array, Layout, float]:
    """Return a structure's numbers as one float64 vector, its layout, and the coarsest eps."""
    blocks, arrays, start = [], [], 0
    for name, leaf in leaves(structure, ""):
        known = isinstance(leaf, (np.ndarray, np.generic, float))
        array = np.asarray(leaf if known else None)
        if array.dtype.kind != "f":
            raise TypeError(
                f"at{name} {f'holds {array.dtype}' if known else f'is {leaf!r}'}, by which nothing "
                "can be differentiated: at must be a float, an array of floats, or a list, tuple "
                "or dict of these; leave out what is no parameter"
            )
        if not np.isfinite(array.astype(np.float64)).all():
            raise ValueError(f"at{name} must be finite, but holds NaN or infinity")
        arrays.append(array)
        if array.size:  # else there is no coordinate to name
            blocks.append(Block(name, start, array.shape))
            start += array.size
    if not blocks:
        raise ValueError("at holds no numbers: there is nothing to differentiate")
    flat, eps = joined(arrays)
    return flat, Layout(tuple(blocks)), eps


def joined(arrays: Iterable[Array]) -> tuple[Array, float]:
    """Return the numbers of arrays as one float64 vector, and the coarsest eps, float64's least."""
    arrays = list(arrays)
    eps = [float(np.finfo(array.dtype).eps) for array in arrays if array.dtype.kind == "f"]
    flat = np.concatenate([array.astype(np.float64).ravel() for array in arrays])
    return flat, max(EPS, *eps)


def parts(structure: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the keys and values of a dict or a list; None of what is a leaf."""
    if isinstance(structure, Mapping):
        return structure.items()
    return enumerate(structure) if isinstance(structure, (list, tuple)) else None


def leaves(structure: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each array or number in the structure."""
    found = parts(structure)
    if found is None:
        yield name, structure
    for key, value in found or ():
        yield from leaves(value, f"{name}[{key!r}]")


def rebuild(structure: Any, flat: Array) -> Any:
    """Return a structure of the same kind that holds the numbers of a flat vector, copied."""
    start = 0

    def filled(part: Any) -> Any:
        nonlocal start
        if isinstance(part, Mapping):
            return {key: filled(value) for key, value in part.items()}
        if isinstance(part, (list, tuple)):
            items = [filled(value) for value in part]
            return type(part)(*items) if hasattr(part, "_fields") else type(part)(items)
        here, start = start, start + np.size(part)
        numbers = flat[here:start].reshape(np.shape(part))
        return numbers.copy() if isinstance(part, np.ndarray) else numbers.item()

    return filled(structure)


def flatten_like(structure: Any, given: Any) -> tuple[Array, float]:
    """Return a gradient that was given in the structure's form, flat, and its coarsest eps."""
    return joined(matched(structure, given, ""))


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
    elif isinstance(structure, (list, tuple)):
        if not isinstance(given, (list, tuple, np.ndarray)):
            raise TypeError(f"{what} must be a list, as at{name} is, not {type(given).__name__}")
        if len(given) != len(structure):
            raise ValueError(f"{what} has {len(given)} items, but at{name} has {len(structure)}")
    else:
        array, shape = as_numbers(given, what), np.shape(structure)
        if array.shape != shape:
            hint = shape_hint(array.shape, shape)
            raise ValueError(f"{what} has shape {array.shape}, but at{name} has {shape}{hint}")
        yield array
    for key, value in parts(structure) or ():
        yield from matched(value, given[key], f"{name}[{key!r}]")


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
