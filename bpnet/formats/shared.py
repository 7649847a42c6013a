"""What the formats share: the nets they take, a loss by default, a scaler made part of a net."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from bpnet.archive import StrPath, write_atomically
from bpnet.arrays import Array
from bpnet.checks import as_numbers, converted
from bpnet.mlp import MLP
from bpnet.rules.activations import ACTIVATIONS, Activation, get_activation
from bpnet.rules.losses import LOSSES


def optional(module: str, user: str, package: str | None = None) -> Any:
    """Import a module of an optional package; if it is missing, say how `user` gets it."""
    top = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (
            str(error.name).partition(".")[0] != top
        ):  # the package is there, and something that it needs is not
            raise
        package = package or top
        raise ModuleNotFoundError(f"{user} needs {package}: pip install {package}") from None


def check_single(net: MLP, user: str) -> None:
    """Raise, in words of `user`, unless a net is one, real, finite, of bpnet's own activations."""
    if not isinstance(net, MLP):
        raise TypeError(f"{user} takes an MLP, not {net!r}")
    if net.theta.ndim > 1:
        raise ValueError(
            f"{user} takes one network, but this is a stack of {len(net)}: pass net[k], one of them"
        )
    if net.dtype.kind != "f":
        raise TypeError(
            f"{user} takes real weights, but these are {net.dtype}: only .npz files hold them"
        )
    for f in net.activation.values():
        if ACTIVATIONS.get(f.name) is not f:
            raise ValueError(f"{user} knows bpnet's own activations, but {f.name!r} is yours")
    net.parameters.check_finite()


def loss_for(output: str | Activation) -> str:
    """Return the loss that belongs to an output activation, else the half squared error."""
    joined = [loss.name for loss in LOSSES.values() if loss.joins(get_activation(output))]
    return joined[0] if joined else "half_squared_error"


def write_text(path: StrPath | None, text: str) -> None:
    """Write a text file, all or nothing, if there is a path."""
    if path is not None:
        write_atomically(path, lambda file: file.write(text.encode()))


def with_scaler(net: MLP, scaler: Any) -> MLP:
    """Return a net that takes inputs before scaling: its first layer does the scaler's work.

    W² ((x - mean) / scale) + b² is (W² / scale) x + (b² - W² (mean / scale)); taken in float64.

    Parameters
    ----------
    net : MLP
    scaler : fitted StandardScaler or MinMaxScaler, or (mean, scale), or None
        x becomes (x - mean) / scale, column by column.

    Raises
    ------
    TypeError, ValueError
        If it is another scaler, of another width, or divides by 0.
    """
    if scaler is None:
        return net
    mean, scale = mean_and_scale(scaler)
    for part in mean, scale:
        if part.shape not in ((), net.sizes[:1]):
            raise ValueError(
                f"scaler has shape {part.shape}, but this net takes {net.sizes[0]} inputs"
            )
    if not scale.all():
        raise ValueError(f"scaler divides column {int(np.argmin(scale != 0))} by 0")
    folded = net.copy()
    W = net.W[2] / scale
    folded.W[2] = converted(W, net.dtype, "W[2] with the scaler")
    b = net.b[2] - (W * mean).sum(axis=1)
    folded.b[2] = converted(b, net.dtype, "b[2] with the scaler")
    return folded


def mean_and_scale(scaler: Any) -> tuple[Array, Array]:
    """Return what a scaler takes off and then divides by, in float64."""
    kind = type(scaler).__name__
    if isinstance(scaler, (tuple, list)) and len(scaler) == 2:
        mean, scale = scaler
    elif kind not in ("StandardScaler", "MinMaxScaler"):
        raise TypeError(
            "scaler must be (mean, scale), or scikit-learn's StandardScaler or MinMaxScaler, "
            f"not {kind if hasattr(scaler, 'fit') else repr(scaler)}"
        )
    elif not hasattr(scaler, "n_features_in_"):
        raise ValueError(f"this {kind} is not fitted yet: call fit first")
    elif kind == "StandardScaler":
        mean = scaler.mean_ if scaler.with_mean else 0
        scale = scaler.scale_ if scaler.with_std else 1
    elif scaler.clip:
        raise ValueError("a MinMaxScaler with clip=True cannot be made part of a layer")
    else:  # it computes x scale_ + min_
        mean, scale = -scaler.min_ / scaler.scale_, 1 / scaler.scale_
    parts = as_numbers(mean, "scaler"), as_numbers(scale, "scaler")
    return converted(parts[0], np.float64, "mean"), converted(parts[1], np.float64, "scale")
