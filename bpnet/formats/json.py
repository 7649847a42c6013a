"""JSON: a net as text that people read and edit, and other languages and later versions too.

`to_json` shows what it looks like. Numbers have the fewest digits that give every bit back. A file
is read without trust: what describes no net is refused, and members of other names are ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpnet.archive import StrPath, cause
from bpnet.arrays import Array
from bpnet.errors import InvalidFile
from bpnet.formats.shared import VERSION, check_single, described_net, write
from bpnet.mlp import MLP
from bpnet.network.saved import FORMAT, loss_name

NET = {"version": int, "sizes": list, "dtype": str, "loss": str, "layers": list}
LAYER = {"activation": str, "W": list, "b": list}
WORDS = {int: "a whole number", list: "a list", str: "text"}


def to_json(net: MLP, path: StrPath | None = None) -> str:
    """Return a net as JSON, and write it to a file if asked.

    Parameters
    ----------
    net : MLP
        One network, of real weights.
    path : path, optional
        Where to write the text; an older file survives a failed write.

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
    write(path, f"{text}\n".encode())
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
        if is_text:
            return net_from_dict(json.loads(str(source)))
        with open(source, encoding="utf-8-sig") as file:
            return net_from_dict(json.load(file))
    except (ValueError, TypeError, RecursionError) as error:
        name = "the text" if is_text else os.fsdecode(source)
        raise InvalidFile(f"{name} {cause(error):.500}") from error


def net_as_dict(net: MLP) -> dict[str, Any]:
    """Return a net as dicts, lists, texts and numbers, for a JSON file that holds more than it."""
    check_single(net, "to_json")
    return {
        "format": FORMAT,
        "version": VERSION,
        "sizes": list(net.sizes),
        "dtype": net.dtype.name,
        "loss": loss_name(net.loss_function),
        "layers": [
            {"activation": f.name, "W": [*map(short, net.W[l])], "b": short(net.b[l])}
            for l, f in net.activation.items()
        ],
    }


def net_from_dict(value: Any) -> MLP:
    """Return the net of what `net_as_dict` gave; an error's message goes on after a file's name."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InvalidFile(f'is JSON, but not of a bpnet net: it has no "format": "{FORMAT}"')
    check_members(value, NET, "the net")
    layers = value["layers"]
    for l, layer in enumerate(layers, 2):
        check_members(layer, LAYER, f"layer {l}")
    rules, W, b = ([layer[name] for layer in layers] for name in LAYER)
    return described_net(
        value["version"], value["sizes"], rules, value["loss"], W, b, value["dtype"]
    )


def check_members(value: Any, kinds: Mapping[str, type], what: str) -> None:
    """Raise InvalidFile unless a value is a dict with these names, and what they name is such."""
    for name, kind in kinds.items():
        if not isinstance(value, dict) or type(value.get(name)) is not kind:
            raise InvalidFile(f'must hold "{name}" of {what}, {WORDS[kind]}')


def short(numbers: Array) -> list[float]:
    """Return numbers as the floats with the fewest digits that give them back."""
    if numbers.dtype == np.float64:
        return numbers.tolist()  # type: ignore[no-any-return]
    digits = [float(str(number)) for number in numbers]  # those of float32, read as float64,
    read = np.array(digits, np.float32)  # which are seldom another float32
    return np.where(read == numbers, digits, numbers).tolist()  # type: ignore[no-any-return]


def render(value: Any, indent: str = "") -> str:
    """Return JSON text, indented, with each list of numbers on one line."""
    deeper = indent + "  "
    if isinstance(value, dict):
        items, ends = [f"{json.dumps(k)}: {render(v, deeper)}" for k, v in value.items()], "{}"
    elif isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
        items, ends = [render(item, deeper) for item in value], "[]"
    else:
        return json.dumps(value, allow_nan=False)
    body = ",\n".join(deeper + item for item in items)
    return f"{ends[0]}\n{body}\n{indent}{ends[1]}"
