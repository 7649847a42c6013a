"""Read nets that `MLP.save` has written: without trust. `network.saved` says what they hold."""

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

WORDS = {"U": ("text", "a list of names"), "iu": ("an integer", "a list of integers")}


def load(path: StrPath) -> MLP:
    """Read a net that `MLP.save` has written.

    Nothing in the file is run, and no more memory is taken than the file is long.

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
    """Return the net that the arrays describe; an error's message goes on after the file's name."""
    if "format" not in arrays or member(arrays, "format", "U", 0) != FORMAT:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise InvalidFile(f"is an .npz file, but not of a bpnet net: it holds {held}")
    check_version(member(arrays, "version", "iu", 0), VERSION)
    if set(arrays) != set(MEMBERS):
        wrong = ", ".join(sorted(set(arrays) ^ set(MEMBERS)))
        raise InvalidFile(f"does not hold {', '.join(MEMBERS)}, these and no others: see {wrong}")
    sizes = as_sizes(member(arrays, "sizes", "iu", 1))
    theta = arrays["theta"]
    if theta.dtype.newbyteorder("=") not in DTYPES:
        known = ", ".join(map(str, DTYPES))
        raise InvalidFile(f"holds theta as {theta.dtype}, but it must be one of {known}")
    if theta.ndim not in (1, 2) or theta.shape[-1] != count(sizes) or theta.size == 0:
        raise InvalidFile(
            f"holds theta of shape {theta.shape}, but a net of sizes {sizes} has {count(sizes)} parameters"
        )
    if not all_finite(theta):
        raise InvalidFile("holds weights that are NaN or infinite")
    theta = theta.astype(theta.dtype.newbyteorder("="), copy=False)
    loss = loss_named(member(arrays, "loss", "U", 0))
    rules = layer_rules(len(sizes), member(arrays, "activations", "U", 1), None, loss)
    return MLP(Parameters(sizes, theta), *rules)


def member(arrays: Mapping[str, Array], name: str, kinds: str, ndim: int) -> Any:
    """Return a member of these kinds of dtype as text or integer, or as a list of them."""
    if name not in arrays:
        raise InvalidFile(f"holds no {name}")
    array = arrays[name]
    if array.dtype.kind not in kinds or array.ndim != ndim:
        wanted = WORDS[kinds][ndim]
        raise InvalidFile(f"holds {name} as {described(array)}, not as {wanted}")
    return array.tolist()
