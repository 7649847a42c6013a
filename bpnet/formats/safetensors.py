"""safetensors: weights under PyTorch's names, in a file that runs nothing when it is read.

W^l is ``"0.weight"``, ``"2.weight"``, ... for l = 2, 3, ..., and b^l ``"0.bias"``, ``"2.bias"``,
...: the names in the ``state_dict`` of `to_torch`, so that PyTorch reads the file into such a
module::

    module.load_state_dict(safetensors.torch.load_file("net.safetensors"))

The metadata, which is text only, says the rest: ``bpnet`` (the format's version, 1), ``sizes``,
``activations``, ``loss``, and ``crc32`` of θ, since the format itself has no checksum.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bpnet.archive import StrPath, cause, write_atomically
from bpnet.arrays import Array
from bpnet.errors import InvalidFile
from bpnet.formats.shared import check_single, loss_for, optional
from bpnet.mlp import MLP
from bpnet.network.saved import loss_name, loss_named
from bpnet.rules.activations import Activation
from bpnet.rules.losses import Loss, get_loss

VERSION = "1"
DTYPES = ("F64", "F32", "F16")
NAME = re.compile(r"(?:(?P<stem>.*)\.)?(?P<part>weight|bias)")
NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)")


def to_safetensors(net: MLP, path: StrPath) -> None:
    """Write a net to a .safetensors file; an older file survives a failed write.

    Parameters
    ----------
    net : MLP
        One network, of real weights.
    path : path
        Taken as it is: nothing is appended.

    Raises
    ------
    TypeError, ValueError
        If the net is a stack, complex, or has an activation or a loss of your own.
    """
    check_single(net, "to_safetensors")
    save = optional("safetensors.numpy", "to_safetensors").save
    tensors = {}
    for l in range(2, net.L + 1):  # contiguous, since the package corrupts what is not, unsaid
        tensors[f"{2 * l - 4}.weight"] = np.ascontiguousarray(net.W[l])
        tensors[f"{2 * l - 4}.bias"] = np.ascontiguousarray(net.b[l])
    metadata = {
        "format": "pt",  # whose names they are
        "bpnet": VERSION,
        "sizes": ",".join(map(str, net.sizes)),
        "activations": ",".join(f.name for f in net.activation.values()),
        "loss": loss_name(net.loss_function),
        "crc32": checksum(net),
    }
    data = save(tensors, metadata)
    write_atomically(path, lambda file: file.write(data))


def from_safetensors(
    path: StrPath,
    *,
    activation: str | Activation | Sequence[str | Activation] | None = None,
    output: str | Activation | None = None,
    loss: str | Loss | None = None,
) -> MLP:
    """Read a net from a .safetensors file.

    A file of `to_safetensors` says all itself. One that PyTorch has written holds the weights
    alone: ``from_safetensors("model.safetensors", activation="relu", loss="cross_entropy")``.

    Parameters
    ----------
    path : path
    activation : str, Activation, or a sequence of them, optional
        For a file of another's: one for all hidden layers, or one for each of the layers 2..L.
    output : str or Activation, optional
        Of layer L. The default is the one that belongs to the loss, such as softmax to
        ``"cross_entropy"``, else the identity.
    loss : str or Loss, optional
        The default is the one that belongs to the output.

    Returns
    -------
    MLP
        In float64 if a weight is, else in float32.

    Raises
    ------
    OSError
        If the file is missing or cannot be opened.
    InvalidFile
        If it is damaged, of a newer version, or holds something else than linear layers in a
        sequence, named with numbers and ``.weight`` and ``.bias``.
    TypeError, ValueError
        If an argument is missing, or given for a file that says it itself.
    """
    package = optional("safetensors", "from_safetensors")
    name = os.fsdecode(path)
    try:
        with package.safe_open(name, "np") as file:
            metadata = file.metadata() or {}
            tensors = {key: tensor(file, key) for key in file.keys()}  # noqa: SIM118
        W, b = linear_layers(tensors)
        sizes = MLP.from_weights(W, b).sizes
        own = own_net(metadata, W, b) if "bpnet" in metadata else None
    except (package.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise InvalidFile(f"{name} {cause(error)}") from error
    if own is None:
        return others_net(W, b, f"{name}, of sizes {sizes},", activation, output, loss)
    if (activation, output, loss) != (None, None, None):
        raise ValueError(f"{name} says its activations and loss itself: leave the arguments out")
    return own


def checksum(net: MLP) -> str:
    """Return a checksum of θ, the same on every machine."""
    return str(zlib.crc32(net.theta.astype(net.dtype.newbyteorder("<")).tobytes()))


def tensor(file: Any, name: str) -> Array:
    """Return one tensor of a file; halves become float32."""
    dtype = file.get_slice(name).get_dtype()
    if dtype not in DTYPES:
        raise InvalidFile(f"holds {name} as {dtype}, but bpnet reads {', '.join(DTYPES)}")
    array: Array = file.get_tensor(name)
    return array.astype(np.float32) if dtype == "F16" else array


def linear_layers(tensors: Mapping[str, Array]) -> tuple[list[Array], list[Array]]:
    """Return W², W³, ... and b², b³, ... by the numbers in their names."""
    layers: dict[str, dict[str, Array]] = {}
    for name, array in tensors.items():
        match = NAME.fullmatch(name)
        if match is None or array.ndim != (2 if match["part"] == "weight" else 1):
            raise InvalidFile(
                f"holds {name} of shape {array.shape}, which is no weight or bias of a linear layer"
            )
        layers.setdefault(match["stem"] or "", {})[match["part"]] = array
    found = [NUMBERED.fullmatch(stem) for stem in layers]
    places = {
        int(match["number"]): stem for match, stem in zip(found, layers, strict=True) if match
    }
    alike = {(match["before"], match["after"]) for match in found if match}
    if len(layers) != 1 and (len(places) != len(layers) or len(alike) != 1):
        raise InvalidFile(
            f"holds layers named {', '.join(layers) or 'nothing'}, which does not tell their "
            'order: bpnet reads names that differ in a number, such as "0.weight", "2.weight"'
        )
    ordered = [layers[places[n]] for n in sorted(places)] or [*layers.values()]
    for layer in ordered:
        if "weight" not in layer:
            raise InvalidFile("holds a bias of a layer whose weight it does not hold")
    W = [layer["weight"] for layer in ordered]
    return W, [
        layer.get("bias", np.zeros(len(w), w.dtype)) for layer, w in zip(ordered, W, strict=True)
    ]


def own_net(metadata: Mapping[str, str], W: list[Array], b: list[Array]) -> MLP:
    """Return the net of a file of `to_safetensors`, if its metadata fit its weights."""
    if metadata["bpnet"] != VERSION:
        raise InvalidFile(
            f"is of format version {metadata['bpnet']}, but this bpnet reads version {VERSION}: "
            "it was written by another release"
        )
    rules = metadata["activations"].split(",")
    net = MLP.from_weights(W, b, activation=rules, loss=loss_named(metadata["loss"]))
    if metadata["sizes"] != ",".join(map(str, net.sizes)):
        raise InvalidFile(f"says sizes {metadata['sizes']}, but holds weights of {net.sizes}")
    if metadata["crc32"] != checksum(net):
        raise InvalidFile("holds other weights than were written: their checksum differs")
    return net


def others_net(
    W: list[Array],
    b: list[Array],
    name: str,
    activation: str | Activation | Sequence[str | Activation] | None,
    output: str | Activation | None,
    loss: str | Loss | None,
) -> MLP:
    """Return a net of another's weights and the rules that the caller has named."""
    if activation is not None and not isinstance(activation, (str, Activation)):
        layers = [*activation]
    elif activation is None and len(W) > 1:
        raise ValueError(
            f"{name} holds weights alone: say activation= of the hidden layers, such as "
            "activation='relu', and output= or loss="
        )
    elif activation is not None and len(W) == 1:
        raise ValueError(f"{name} has no hidden layer for activation=: say output=, or loss=")
    else:
        joined = None if loss is None else get_loss(loss).joined_output
        output = output or joined or "identity"
        layers = [*(activation or output for _ in W[1:]), output]
    if loss is None and layers:
        loss = loss_for(output or layers[-1])
    return MLP.from_weights(
        W, b, activation=layers, output=output, loss=loss or "half_squared_error"
    )
