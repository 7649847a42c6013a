"""Nets in files: one .npz of plain arrays, written all or not at all, read without trust.

Members, each an array that needs no pickle:

    format       "bpnet.MLP"
    version      1
    sizes        n_1..n_L
    activations  the names, layers 2..L
    loss         its name, such as "half_squared_error" or "huber(2.0)"
    theta        θ, float or complex, (P,) or (networks, P)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpnet.archive import StrPath, cause, described, read_arrays, write_arrays
from bpnet.arrays import Array
from bpnet.checks import all_finite, as_sizes
from bpnet.errors import InvalidFile
from bpnet.mlp import MLP
from bpnet.network.construction import DTYPES, layer_rules
from bpnet.network.parameters import Parameters, count
from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.losses import LOSSES, Loss, get_loss, huber, huber_limit

FORMAT, VERSION = "bpnet.MLP", 1
MEMBERS = ("format", "version", "sizes", "activations", "loss", "theta")
HUBER = re.compile(r"huber\((.+)\)")


def save(net: MLP, path: StrPath) -> None:
    """Write a net to one .npz file; an older file survives a failed write.

    Parameters
    ----------
    net : MLP
    path : path
        Taken as it is: nothing is appended.

    Raises
    ------
    ValueError
        If the net holds an activation or a loss of your own, which a file cannot name, or a
        weight is NaN or infinite.
    OSError
        If the file cannot be written.
    """
    net.parameters.check_finite()
    arrays = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "sizes": np.array(net.sizes),
        "activations": np.array([activation_name(f) for f in net.activation.values()]),
        "loss": np.array(loss_name(net.loss_function)),
        "theta": net.theta,
    }
    write_arrays(path, arrays)


def load(path: StrPath) -> MLP:
    """Read a net that `MLP.save` has written.

    Nothing in the file is run, and no more memory is taken than the file is long.

    Parameters
    ----------
    path : path

    Returns
    -------
    MLP

    Raises
    ------
    OSError
        If the file is missing or cannot be opened.
    InvalidFile
        If it is no net, damaged, or of a version that this bpnet does not know.
    """
    arrays = read_arrays(path)
    try:
        return build(arrays)
    except (ValueError, TypeError) as error:
        raise InvalidFile(f"{os.fsdecode(path)} {cause(error)}") from error


def build(arrays: Mapping[str, Array]) -> MLP:
    """Return the net that the arrays describe.

    Raises
    ------
    InvalidFile, ValueError, TypeError
        If they describe none; the message goes on after the name of the file.
    """
    if "format" not in arrays or text(arrays, "format") != FORMAT:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise InvalidFile(f"is an .npz file, but not of a bpnet net: it holds {held}")
    version = whole(arrays, "version", ndim=0)
    if version != VERSION:
        raise InvalidFile(
            f"is of format version {version}, but this bpnet reads version {VERSION}: "
            "it was written by another release"
        )
    if set(arrays) != set(MEMBERS):
        wrong = ", ".join(sorted(set(arrays) ^ set(MEMBERS)))
        raise InvalidFile(f"does not hold {', '.join(MEMBERS)}, these and no others: see {wrong}")
    sizes = as_sizes(whole(arrays, "sizes", ndim=1))
    theta = arrays["theta"]
    if theta.dtype.newbyteorder("=") not in DTYPES:
        known = ", ".join(map(str, DTYPES))
        raise InvalidFile(f"holds theta as {theta.dtype}, but it must be one of {known}")
    if theta.ndim not in (1, 2) or theta.shape[-1] != count(sizes) or theta.size == 0:
        raise InvalidFile(
            f"holds theta of shape {theta.shape}, but a net of sizes {sizes} "
            f"has {count(sizes)} parameters"
        )
    if not all_finite(theta):
        raise InvalidFile("holds weights that are NaN or infinite")
    theta = theta.astype(theta.dtype.newbyteorder("="), copy=False)
    rules = layer_rules(len(sizes), text_list(arrays, "activations"), None, named_loss(arrays))
    return MLP(Parameters(sizes, theta), *rules)


def activation_name(activation: Activation) -> str:
    """Return the name that stands for an activation in a file."""
    if ACTIVATIONS.get(activation.name) is not activation:
        raise ValueError(
            f"the activation {activation.name!r} is your own, which a file cannot name: keep "
            "net.theta with np.save, and set it again on a net that you make the same way"
        )
    return activation.name


def loss_name(loss: Loss) -> str:
    """Return the name that stands for a loss in a file; Huber's with its limit in full."""
    if LOSSES.get(loss.name) is loss:
        return loss.name
    limit = huber_limit(loss)
    if limit:
        return f"huber({limit!r})"
    raise ValueError(
        f"the loss {loss.name!r} is your own, which a file cannot name: keep net.theta with "
        "np.save, and set it again on a net that you make the same way"
    )


def named_loss(arrays: Mapping[str, Array]) -> Loss:
    """Return the loss that a file names."""
    name = text(arrays, "loss")
    match = HUBER.fullmatch(name)
    return huber(float(match[1])) if match else get_loss(name)


def text(arrays: Mapping[str, Array], name: str) -> str:
    """Return a member that is one piece of text."""
    array = arrays[name]
    if array.dtype.kind != "U" or array.ndim != 0:
        raise InvalidFile(f"holds {name} as {described(array)}, not as text")
    return str(array)


def text_list(arrays: Mapping[str, Array], name: str) -> list[str]:
    """Return a member that is a list of texts."""
    array = arrays[name]
    if array.dtype.kind != "U" or array.ndim != 1:
        raise InvalidFile(f"holds {name} as {described(array)}, not as a list of names")
    return [str(item) for item in array]


def whole(arrays: Mapping[str, Array], name: str, ndim: int) -> Any:
    """Return a member that is an integer, or a list of them."""
    if name not in arrays:
        raise InvalidFile(f"holds no {name}")
    array = arrays[name]
    if array.dtype.kind not in "iu" or array.ndim != ndim:
        kind = "an integer" if ndim == 0 else "a list of integers"
        raise InvalidFile(f"holds {name} as {described(array)}, not as {kind}")
    return array.tolist()
