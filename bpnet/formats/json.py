"""JSON: a net as text that people read and edit, and other languages and later versions too.

    {
      "format": "bpnet.MLP",
      "version": 1,
      "sizes": [2, 2, 1],
      "dtype": "float64",
      "loss": "half_squared_error",
      "layers": [
        {
          "activation": "sigmoid",
          "W": [
            [0.15, 0.2],
            [0.25, 0.3]
          ],
          "b": [0.35, 0.35]
        },
        ...
      ]
    }

Numbers have the fewest digits that give every bit back. A file is read without trust: nothing but
exactly this passes.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from bpnet.archive import StrPath, cause
from bpnet.arrays import Array
from bpnet.checks import as_sizes
from bpnet.errors import InvalidFile
from bpnet.formats.shared import check_single, write_text
from bpnet.mlp import MLP
from bpnet.network.saved import FORMAT, loss_name, loss_named

VERSION = 1
MEMBERS = ("format", "version", "sizes", "dtype", "loss", "layers")
LAYER = ("activation", "W", "b")
LARGEST = 1 << 30  # characters; a net of this length belongs into an .npz file


def to_json(net: MLP, path: StrPath | None = None) -> str:
    """Return a net as JSON, and write it to a file if asked.

    Parameters
    ----------
    net : MLP
        One network, of real weights.
    path : path, optional
        Where to write the text; an older file survives a failed write.

    Returns
    -------
    str
        The text of the file, but for its last line break.

    Raises
    ------
    TypeError, ValueError
        If the net is a stack, complex, or has an activation or a loss of your own.

    Examples
    --------
    >>> from bpnet import MLP, formats
    >>> net = MLP.from_weights(W=[[[0.5, -2.0]]], b=[[0.1]])
    >>> print(formats.to_json(net))
    {
      "format": "bpnet.MLP",
      "version": 1,
      "sizes": [2, 1],
      "dtype": "float64",
      "loss": "half_squared_error",
      "layers": [
        {
          "activation": "sigmoid",
          "W": [
            [0.5, -2.0]
          ],
          "b": [0.1]
        }
      ]
    }
    """
    text = render(net_as_dict(net))
    if len(text) >= LARGEST:
        raise ValueError(f"this net needs more than {LARGEST} characters: save it as .npz")
    write_text(path, text + "\n")
    return text


def from_json(source: StrPath) -> MLP:
    """Read a net from a JSON file, or from JSON text.

    Parameters
    ----------
    source : path or str
        Text is what begins with a brace.

    Raises
    ------
    OSError
        If the file is missing or cannot be opened.
    InvalidFile
        If it is no net, damaged, or of a version that this bpnet does not know.
    """
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    try:
        return net_from_dict(parse(str(source) if is_text else read(source)))
    except (ValueError, TypeError) as error:
        name = "the text" if is_text else os.fsdecode(source)
        raise InvalidFile(f"{name} {cause(error):.500}") from error


def net_as_dict(net: MLP) -> dict[str, Any]:
    """Return a net as dicts, lists, texts and numbers, for a JSON file that holds more than it."""
    check_single(net, "to_json")
    layers = [
        {"activation": f.name, "W": plain(net.W[l]), "b": plain(net.b[l])}
        for l, f in net.activation.items()
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "sizes": list(net.sizes),
        "dtype": net.dtype.name,
        "loss": loss_name(net.loss_function),
        "layers": layers,
    }


def net_from_dict(value: Any) -> MLP:
    """Return the net of what `net_as_dict` gave; an error's message goes on after a file's name."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InvalidFile(f'is JSON, but not of a bpnet net: it has no "format": "{FORMAT}"')
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        raise InvalidFile(
            f"is of format version {version!r}, but this bpnet reads version {VERSION}: "
            "it was written by another release"
        )
    check_members(value, MEMBERS, "net")
    sizes, dtype, layers = value["sizes"], value["dtype"], value["layers"]
    if [type(sizes), type(layers), type(value["loss"])] != [list, list, str]:
        raise InvalidFile("must hold its sizes and layers as lists, and its loss as text")
    if dtype not in ("float64", "float32"):
        raise InvalidFile(f"says dtype {dtype!r}, but it must be float64 or float32")
    for l, layer in enumerate(layers, 2):
        check_members(layer, LAYER, f"layer {l}")
    net = MLP.from_weights(
        [numbers(layer["W"], f"W of layer {l}", 2) for l, layer in enumerate(layers, 2)],
        [numbers(layer["b"], f"b of layer {l}", 1) for l, layer in enumerate(layers, 2)],
        activation=[layer["activation"] for layer in layers],
        loss=loss_named(value["loss"]),
        dtype=dtype,
    )
    if net.sizes != as_sizes(sizes):
        raise InvalidFile(f"says sizes {sizes}, but holds weights of {list(net.sizes)}")
    return net


def check_members(value: Any, names: tuple[str, ...], what: str) -> None:
    """Raise InvalidFile if a value is no dict with exactly these names."""
    if not isinstance(value, dict) or set(value) != set(names):
        held = ", ".join(sorted(value)) if isinstance(value, dict) else type(value).__name__
        raise InvalidFile(f"must hold {', '.join(names)} for its {what}, but holds {held}")


def numbers(value: Any, name: str, depth: int) -> Array:
    """Return lists of numbers as an array of float64."""
    rows = value if depth == 2 else [value]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise InvalidFile(f"does not hold {name} as {['a list', 'rows'][depth - 1]} of numbers")
    if len({len(row) for row in rows}) > 1:
        raise InvalidFile(f"holds {name} in rows of different lengths")
    wrong = [item for row in rows for item in row if type(item) not in (int, float)]
    if wrong:
        raise InvalidFile(f"holds {name} with {wrong[0]!r} in it, which is no number")
    try:
        return np.array(value, np.float64)
    except OverflowError:
        raise InvalidFile(f"holds {name} with a number too large for float64") from None


def plain(array: Array) -> Any:
    """Return an array as nested lists of the floats with the fewest digits that give it back."""
    if array.ndim > 1:
        return [plain(row) for row in array]
    if array.dtype == np.float64:
        return array.tolist()
    short = [float(str(item)) for item in array]  # the digits of float32, read as float64
    return [
        s if np.float32(s) == item else float(item) for s, item in zip(short, array, strict=True)
    ]


def render(value: Any, indent: str = "") -> str:
    """Return JSON text, indented, with each list of numbers on one line."""
    nested = isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value)
    if not nested and not isinstance(value, dict):
        return json.dumps(value, allow_nan=False)
    deeper = indent + "  "
    if nested:
        items = [render(item, deeper) for item in value]
    else:
        items = [f"{json.dumps(key)}: {render(item, deeper)}" for key, item in value.items()]
    left, right = "[]" if nested else "{}"
    body = ",\n".join(deeper + item for item in items)
    return f"{left}\n{body}\n{indent}{right}"


def read(path: StrPath) -> str:
    """Return the text of a file, if it is not too long."""
    with open(path, encoding="utf-8-sig") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise InvalidFile(f"holds more than {LARGEST} characters, which bpnet does not read")
    return text


def parse(text: str) -> Any:
    """Return what JSON text says; what JSON does not know, or says twice, is refused."""

    def constant(name: str) -> None:
        raise InvalidFile(f"holds {name}, which is no number")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise InvalidFile(f"holds {name!r} more than once")
            found[name] = value
        return found

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=members)
    except RecursionError:
        raise InvalidFile("holds brackets in brackets, too deep to be a net") from None
