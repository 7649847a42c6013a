"""safetensors: weights under PyTorch's names, in a file that runs nothing when it is read.

W^l is ``"0.weight"``, ``"2.weight"``, ... for l = 2, 3, ..., and b^l ``"0.bias"``, ``"2.bias"``,
...: the names in the ``state_dict`` of `to_torch`, so that PyTorch reads the file into such a
module::

    module.load_state_dict(safetensors.torch.load_file("net.safetensors"))

The metadata, which is text only, says the rest: ``bpnet`` (the format's version, 1), ``sizes``,
``activations``, ``loss``, and ``crc32`` of θ, since the format itself has no checksum.
"""

import os
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpnet.archive import StrPath, cause
from bpnet.arrays import Array
from bpnet.errors import InvalidFile
from bpnet.formats.shared import VERSION, check_single, described_net, optional, write
from bpnet.mlp import MLP
from bpnet.network.saved import loss_name

NAME = re.compile(r"(.*?)(0|[1-9]\d*)\.(weight|bias)")  # "0.weight", "net.2.bias", "fc1.weight"


def to_safetensors(net: MLP, path: StrPath) -> None:
    """Write a net to a .safetensors file."""
    check_single(net, "to_safetensors")
    tensors = {}
    for l in net.activation:  # contiguous, since the package corrupts what is not, unsaid
        tensors[f"{2 * l - 4}.weight"] = np.ascontiguousarray(net.W[l])
        tensors[f"{2 * l - 4}.bias"] = np.ascontiguousarray(net.b[l])
    metadata = {
        "format": "pt",  # whose names they are
        "bpnet": str(VERSION),
        "sizes": ",".join(map(str, net.sizes)),
        "activations": ",".join(f.name for f in net.activation.values()),
        "loss": loss_name(net.loss_function),
        "crc32": checksum(net),
    }
    write(path, optional("safetensors.numpy", "to_safetensors").save(tensors, metadata))


def from_safetensors(path: StrPath, **rules: Any) -> MLP:
    """Read a net from a .safetensors file; OSError or InvalidFile as of `load`.

    A file of `to_safetensors` says all itself. One that PyTorch has written holds the weights
    alone: ``from_safetensors(path, activation="relu", loss="cross_entropy")``, with rules as in
    `MLP.from_weights`; its layers are linear, in a sequence, and named by numbers.
    """
    package, name = optional("safetensors", "from_safetensors"), os.fsdecode(path)
    try:
        with package.safe_open(name, "np") as file:
            says = file.metadata() or {}
            W, b = linear_layers({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        net = None
        if "bpnet" in says:
            version, sizes = int(says["bpnet"]), [int(n) for n in says["sizes"].split(",")]
            rules_of_file = says["activations"].split(",")
            net = described_net(version, sizes, rules_of_file, says["loss"], W, b)
            if says["crc32"] != checksum(net):
                raise InvalidFile("holds other weights than were written: their checksum differs")
    except (package.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise InvalidFile(f"{name} {cause(error)}") from error
    if net is None and "activation" not in rules:
        raise ValueError(f"{name} holds weights alone: say activation=, and output= or loss=")
    if net is not None and rules:
        raise ValueError(f"{name} says its rules itself: leave out {', '.join(rules)}")
    return MLP.from_weights(W, b, **rules) if net is None else net


def checksum(net: MLP) -> str:
    """Return a checksum of θ, the same on every machine."""
    return str(zlib.crc32(net.theta.astype(net.dtype.newbyteorder("<")).tobytes()))


def linear_layers(tensors: Mapping[str, Array]) -> tuple[list[Array], list[Array]]:
    """Return W², W³, ... and b², b³, ... by the numbers in their names; no bias is one of zeros."""
    layers: dict[int, dict[str, Array]] = {}
    prefixes = set()
    for name, array in tensors.items():
        match = NAME.fullmatch(name)
        if match is None:
            raise InvalidFile(
                f"holds {name}: bpnet reads linear layers alone, named by numbers, such as 0.weight"
            )
        prefixes.add(match[1])
        layers.setdefault(int(match[2]), {})[match[3]] = array
    if len(prefixes) != 1:
        raise InvalidFile(f"holds {', '.join(tensors) or 'nothing'}, which is no one sequence")
    ordered = [layers[number] for number in sorted(layers)]
    W = [layer["weight"] for layer in ordered]
    zeros = [np.zeros(len(W_l), W_l.dtype) for W_l in W]
    return W, [layer.get("bias", zero) for layer, zero in zip(ordered, zeros, strict=True)]
