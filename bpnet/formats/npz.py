"""Read nets that `MLP.save` has written: without trust. `network.saved` says what they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from bpnet.archive import StrPath, cause, described, read_arrays
from bpnet.arrays import Array
from bpnet.checks import all_finite, as_sizes
from bpnet.errors import InvalidFile
from bpnet.mlp import MLP
from bpnet.network.construction import DTYPES, layer_rules
from bpnet.network.parameters import Parameters, count
from bpnet.network.saved import FORMAT, MEMBERS, VERSION, check_version, loss_named


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
    check_version(whole(arrays, "version", ndim=0), VERSION)
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
    rules = layer_rules(
        len(sizes), text_list(arrays, "activations"), None, loss_named(text(arrays, "loss"))
    )
    return MLP(Parameters(sizes, theta), *rules)


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
