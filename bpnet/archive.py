"""Named arrays in one file, written all or not at all, read without trust."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import IO, Any

import numpy as np

from bpnet.arrays import Array, moved_out
from bpnet.errors import InvalidFile

# Not on Windows, where a file that is open cannot be renamed.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

StrPath = str | os.PathLike[str]

BEGIN, END = ".bpnet-", ".tmp"  # of the name of a file that is being written


def cause(error: Exception) -> str:
    """Return what is wrong with a file, to go on after its name."""
    if isinstance(error, InvalidFile):
        return str(error)
    return f"is no bpnet net, or a damaged one: {str(error) or type(error).__name__}"


def described(array: Array) -> str:
    """Return the dtype and the shape in words."""
    return f"{array.dtype} of shape {array.shape}"


def write_arrays(path: StrPath, arrays: Mapping[str, Array]) -> None:
    """Write named arrays to one uncompressed .npz file, all or nothing."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name} holds Python objects, which bpnet does not write to files")
    members: dict[str, Any] = {name: moved_out(array) for name, array in arrays.items()}
    write_atomically(path, lambda file: np.savez(file, **members))


def read_arrays(path: StrPath) -> dict[str, Array]:
    """Return the arrays of a file of `write_arrays`, untrusted: InvalidFile if it is none.

    Members are bounded by the file's length, checked against their checksums, never unpickled.
    """
    name = os.fsdecode(path)
    with open(name, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise InvalidFile(f"{name} is no .npz file")
        try:
            return read_members(file)
        except Exception as error:
            # zipfile and NumPy's header parser raise nearly anything on a file made to hurt.
            raise InvalidFile(f"{name} {cause(error)}") from error


def read_members(file: IO[bytes]) -> dict[str, Array]:
    """Return the arrays of a zip file."""
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename.removesuffix(".npy") for member in members]
        for name, member in zip(names, members, strict=True):
            if names.count(name) > 1:
                raise InvalidFile(f"holds {name} more than once")
            if member.compress_type != zipfile.ZIP_STORED:
                raise InvalidFile(f"holds {member.filename} compressed, which bpnet never writes")
        if sum(member.file_size for member in members) > size:
            raise InvalidFile(f"announces more than its {size} bytes can hold")
        arrays = map(parse_array, names, map(archive.read, members))
        return dict(zip(names, arrays, strict=True))


def parse_array(name: str, data: bytes) -> Array:
    """Return the array of one member, the bytes of an .npy file."""
    np.lib.format.read_magic(stream := io.BytesIO(data))
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise InvalidFile(f"holds {name} as Python objects, which are never read")
    body = memoryview(data)[stream.tell() :]
    if len(body) != math.prod(shape) * dtype.itemsize:
        claim = f"announces the shape {shape} of {dtype}"
        raise InvalidFile(f"holds {len(body)} bytes of {name}, but {claim}")
    order: Any = "F" if fortran_order else "C"
    return np.ndarray(shape, dtype, buffer=body, order=order).copy()


def write_atomically(path: StrPath, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file by ``write(file)``, so that there is always a whole one: the older or the new.

    The data go to another file in the same folder, which takes the name once they are on the disk.
    The mode is the older file's, or that of any new file; a link keeps pointing where it does.
    """
    target = writable_target(path)
    folder, suffix = os.path.dirname(target), os.path.splitext(target)[1]
    clear_parts_of_the_dead(folder)
    with new_part(folder, suffix) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if os.path.exists(target):
                os.chmod(file.name, stat.S_IMODE(os.stat(target).st_mode))
            if fcntl is None:
                file.close()
            os.replace(file.name, target)  # while it is locked
        except BaseException as error:
            for clear in (file.close, lambda: os.unlink(file.name)):
                with contextlib.suppress(OSError):
                    clear()
            if isinstance(error, OSError) and error.filename in (None, file.name):  # a full disk
                raise type(error)(error.errno, error.strerror or str(error), target) from error
            raise
    with contextlib.suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def new_part(folder: str, suffix: str) -> IO[bytes]:
    """Return a new file to write to, locked as long as it is open."""
    while True:
        name = os.path.join(folder, f"{BEGIN}{secrets.token_hex(8)}{suffix}{END}")
        file = open(name, "xb")  # noqa: SIM115  # the caller closes it
        if fcntl is not None:
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(name):
            return file
        file.close()  # another writer has cleared it before it was locked


def clear_parts_of_the_dead(folder: str) -> None:
    """Remove what a killed process has left: whose lock, which a living one holds, can be had."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            named = entry.name.startswith(BEGIN) and entry.name.endswith(END)
            if named and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


def check_replaceable(path: StrPath, form: str, what: str) -> None:
    """Raise InvalidFile if a file is there that is not empty and of another format than `form`."""
    target = writable_target(path)
    if not os.path.exists(target) or not os.path.getsize(target):
        return
    with contextlib.suppress(InvalidFile, KeyError):
        if str(read_arrays(target)["format"]) == form:
            return
    raise InvalidFile(
        f"{os.fsdecode(path)} is no {what} of bpnet, or a damaged one, and is not overwritten: "
        "name another file, or remove it"
    )


def writable_target(path: StrPath) -> str:
    """Return the file behind a path, links followed, if one may be written there; else OSError."""
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
