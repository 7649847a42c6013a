"""What the formats share: the nets they take, what files say of them, a scaler made part of one."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bpnet.archive import StrPath, write_atomically
from bpnet.arrays import Array
from bpnet.checks import as_numbers, converted
from bpnet.errors import InvalidFile
from bpnet.mlp import MLP
from bpnet.network.saved import check_version, loss_named
from bpnet.rules.activations import ACTIVATIONS

VERSION = 1  # of what is written as JSON and safetensors


def optional(module: str, user: str) -> Any:
    """Import a module of an optional package; if it is missing, say how `user` gets it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0].replace("sklearn", "scikit-learn")
        raise ModuleNotFoundError(f"{user} needs {package}: pip install {package}") from error


def check_single(net: MLP, user: str) -> None:
    """Raise, in words of `user`, unless a net is one, real, finite, of bpnet's own activations."""
    if not isinstance(net, MLP):
        raise TypeError(f"{user} takes an MLP, not {net!r}")
    if net.theta.ndim > 1:
        stack = f"this is a stack of {len(net)}: pass net[k], one of them"
        raise ValueError(f"{user} takes one network, but {stack}")
    if net.dtype.kind != "f":
        these = f"these are {net.dtype}: only .npz files hold them"
        raise TypeError(f"{user} takes real weights, but {these}")
    for f in net.activation.values():
        if ACTIVATIONS.get(f.name) is not f:
            raise ValueError(f"{user} knows bpnet's own activations, but {f.name!r} is yours")
    net.parameters.check_finite()


def described_net(
    version: int, sizes: Sequence[int], activations: Sequence[str], loss: str, W:
    Sequence[ArrayLike], b: Sequence[ArrayLike], dtype: DTypeLike | None = None,
) -> MLP:  # fmt: skip
    """Return the net of what a file says; an error's message goes on after the file's name."""
    check_version(version, VERSION)
    net = MLP.from_weights(W, b, activation=activations, loss=loss_named(loss), dtype=dtype)
    check_single(net, "a file")
    if list(sizes) != list(net.sizes):
        raise InvalidFile(f"says sizes {list(sizes)}, but holds weights of {list(net.sizes)}")
    return net


def write(path: StrPath | None, data: bytes) -> None:
    """Write a file, all or nothing, if there is a path."""
    if path is not None:
        write_atomically(path, lambda file: file.write(data))


def with_scaler(net: MLP, scaler: Any) -> MLP:
    """Return a net that takes inputs before scaling: its first layer does the scaler's work.

    A scaler takes x to (x - mean) / scale, column by column, so that

    W² ((x - mean) / scale) + b² = (W² / scale) x + (b² - (W² / scale) mean)
    """
    if scaler is None:
        return net
    mean, scale = mean_and_scale(scaler)
    for part in mean, scale:
        if part.shape not in ((), net.sizes[:1]):
            n = net.sizes[0]
            raise ValueError(f"scaler has shape {part.shape}, but this net takes {n} inputs")
    if not scale.all():
        raise ValueError("scaler divides by 0")
    folded, W = net.copy(), net.W[2] / scale
    folded.W[2] = converted(W, net.dtype, "W[2] with the scaler")
    folded.b[2] = converted(net.b[2] - (W * mean).sum(axis=1), net.dtype, "b[2] with the scaler")
    return folded


def mean_and_scale(scaler: Any) -> tuple[Array, Array]:
    """Return what a scaler takes off and then divides by, in float64."""
    kind, fitted = type(scaler).__name__, hasattr(scaler, "n_features_in_")
    if kind == "StandardScaler" and fitted:
        mean = scaler.mean_ if scaler.with_mean else 0
        scale = scaler.scale_ if scaler.with_std else 1
    elif kind == "MinMaxScaler" and fitted and not scaler.clip:  # it computes x scale_ + min_
        mean, scale = -scaler.min_ / scaler.scale_, 1 / scaler.scale_
    elif isinstance(scaler, (tuple, list)) and len(scaler) == 2:
        mean, scale = scaler
    else:
        raise TypeError(
            "scaler must be (mean, scale), or scikit-learn's StandardScaler or MinMaxScaler, "
            f"fitted and without clip, not {scaler!r}"
        )
    parts = as_numbers(mean, "mean"), as_numbers(scale, "scale")
    return converted(parts[0], np.float64, "mean"), converted(parts[1], np.float64, "scale")
