"""JSON: a net as text that people read and edit, and other languages and later versions too.

`to_json` shows what it looks like. Numbers have the fewest digits that give every bit back. A file
is read without trust: what describes no net is refused, and members of other names are ignored.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from bpnet.archive import StrPath, cause
from bpnet.arrays import Array
from bpnet.errors import InvalidFile
from bpnet.formats.shared import VERSION, check_single, described_net, write
from bpnet.mlp import MLP
from bpnet.network.saved import FORMAT, loss_name

NET = {"version": int, "sizes": list, "dtype": str, "loss": str, "layers": list}
LAYER = {"activation": str, "W": list, "b": list}
WORDS = {int: "a whole number", float: "a number", list: "a list", str: "text"}
T = TypeVar("T")


def to_json(net: MLP, path: StrPath | None = None) -> str:
    """Return a net as JSON, and write it to a file if asked.

    Examples
    --------
    >>> import json
    >>> from bpnet import MLP, formats
    >>> net = MLP.from_weights(W=[[[0.5, -2.0]]], b=[[0.1]])
    >>> json.loads(formats.to_json(net))  # doctest: +NORMALIZE_WHITESPACE
    {'format': 'bpnet.MLP', 'version': 1, 'sizes': [2, 1], 'dtype': 'float64',
     'loss': 'half_squared_error',
     'layers': [{'activation': 'sigmoid', 'W': [[0.5, -2.0]], 'b': [0.1]}]}
    """
    text = render(net_as_dict(net))
    write(path, f"{text}\n".encode())
    return text


def from_json(source: StrPath) -> MLP:
    """Read a net from a JSON file, or from JSON text, which begins with a brace.

    OSError or InvalidFile as of `load`.
    """
    return read_json(source, net_from_dict)


def read_json(source: StrPath, build: Callable[[Any], T]) -> T:
    """Return what a file or a text holds, built from its dicts and lists; InvalidFile names it."""
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    try:
        if is_text:
            return build(json.loads(str(source)))
        with open(source, encoding="utf-8-sig") as file:
            return build(json.load(file))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
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
    version, sizes, dtype, loss, _ = (value[name] for name in NET)
    return described_net(version, sizes, rules, loss, W, b, dtype)


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
    elif isinstance(value, (list, tuple)) and any(isinstance(i, (list, dict)) for i in value):
        items, ends = [render(item, deeper) for item in value], "[]"
    else:
        return json.dumps(value, allow_nan=False)
    body = ",\n".join(deeper + item for item in items)
    return f"{ends[0]}\n{body}\n{indent}{ends[1]}"
