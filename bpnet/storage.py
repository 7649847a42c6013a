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

import contextlib
import errno
import io
import math
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from bpnet.activations import ACTIVATIONS, Activation
from bpnet.construction import DTYPES, layer_rules
from bpnet.errors import InvalidFile
from bpnet.losses import LOSSES, Loss, get_loss, huber, huber_limit
from bpnet.mlp import MLP
from bpnet.parameters import Array, Parameters, count
from bpnet.validation import all_finite, as_sizes

FORMAT, VERSION = "bpnet.MLP", 1
MEMBERS = ("format", "version", "sizes", "activations", "loss", "theta")
HUBER = re.compile(r"huber\((.+)\)")

StrPath = str | os.PathLike[str]


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
    net._check_theta()
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


def cause(error: Exception) -> str:
    """Return what is wrong with a file, to go on after its name."""
    if isinstance(error, InvalidFile):
        return str(error)
    return f"is no bpnet net, or a damaged one: {error or type(error).__name__}"


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


def described(array: Array) -> str:
    """Return the dtype and the shape in words."""
    return f"{array.dtype} of shape {array.shape}"


def write_arrays(path: StrPath, arrays: Mapping[str, Array]) -> None:
    """Write named arrays to one uncompressed .npz file, all or nothing.

    Raises
    ------
    TypeError
        If an array holds objects, which only pickle could write.
    OSError
        If the file cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name} holds Python objects, which bpnet does not write to files")
    members: dict[str, Any] = dict(arrays)
    write_atomically(path, lambda file: np.savez(file, **members))


def read_arrays(path: StrPath) -> dict[str, Array]:
    """Return the arrays of a file of `write_arrays`, without trusting it.

    Members are bounded by the length of the file, checked against their checksums, and never
    unpickled.

    Raises
    ------
    OSError
        If the file is missing or cannot be opened.
    InvalidFile
        If it is anything but such a file, whole.
    """
    name = os.fsdecode(path)
    with open(name, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise InvalidFile(f"{name} is no .npz file")
        try:
            return read_members(file, os.fstat(file.fileno()).st_size)
        except Exception as error:
            # zipfile and NumPy's header parser raise nearly anything on a file made to hurt.
            raise InvalidFile(f"{name} {cause(error)}") from error


def read_members(file: IO[bytes], size: int) -> dict[str, Array]:
    """Return the arrays of a zip file of `size` bytes."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename.removesuffix(".npy") for member in members]
        for name in names:
            if names.count(name) > 1:
                raise InvalidFile(f"holds {name} more than once")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise InvalidFile(f"holds {member.filename} compressed, which bpnet never writes")
        if sum(member.file_size for member in members) > size:
            raise InvalidFile(f"announces more than its {size} bytes can hold")
        return {
            name: parse_array(name, archive.read(member))
            for name, member in zip(names, members, strict=True)
        }


def parse_array(name: str, data: bytes) -> Array:
    """Return the array of one member, the bytes of an .npy file."""
    stream = io.BytesIO(data)
    np.lib.format.read_magic(stream)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise InvalidFile(f"holds {name} as Python objects, which are never read")
    body = memoryview(data)[stream.tell() :]
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise InvalidFile(
            f"holds {len(body)} bytes of {name}, but announces the shape {shape} of {dtype}"
        )
    order: Any = "F" if fortran_order else "C"
    return np.ndarray(shape, dtype, buffer=body, order=order).copy()


def write_atomically(path: StrPath, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that there is always a whole one: the older or the new.

    The data go to another file in the same folder, which takes the name once they are on the
    disk. A failed or interrupted write leaves the older file as it was and nothing else. The
    mode is the older file's, or that of any new file; a link keeps pointing where it does.

    Parameters
    ----------
    path : path
    write : callable
        ``write(file)`` writes the content to a binary file object.

    Raises
    ------
    OSError
        If the file cannot be written. What `write` raises passes through.
    """
    target = writable_target(path)
    folder, suffix = os.path.dirname(target), os.path.splitext(target)[1]
    part = os.path.join(folder, f".bpnet-{secrets.token_hex(8)}{suffix}.tmp")
    try:
        with open(part, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(part, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    with contextlib.suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def writable_target(path: StrPath) -> str:
    """Return the file behind a path, links followed, if one may be written there.

    Raises
    ------
    OSError
        If its folder is missing or not writable, or it is a folder, a device or the like.
    """
    target = os.path.realpath(os.fsdecode(path))
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, not a file to write", target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "this is no regular file, and would be replaced", target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to write to", folder)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "this folder may not be written to", folder)
    return target
