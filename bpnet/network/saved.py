"""What a saved net consists of: named arrays, none of which needs pickle.

format       "bpnet.MLP"
version      1
sizes        n_1..n_L
activations  the names, layers 2..L
loss         its name, such as "half_squared_error" or "huber(2.0)"
theta        θ, float or complex, (P,) or (networks, P)
"""

import re

import numpy as np

from bpnet.arrays import Array
from bpnet.errors import InvalidFile
from bpnet.network.parameters import ByLayer, Parameters
from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.losses import LOSSES, Loss, get_loss, huber, huber_limit

FORMAT, VERSION = "bpnet.MLP", 1
MEMBERS = ("format", "version", "sizes", "activations", "loss", "theta")
OWN = (
    "is your own, which a file cannot name: keep net.theta with np.save, and set it again on a net "
    "that you make the same way"
)


def members(parameters: Parameters, activation: ByLayer[Activation], loss: Loss) -> dict[str, Array]:
    """Return the arrays of a net."""
    parameters.check_finite()
    return {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "sizes": np.array(parameters.sizes),
        "activations": np.array([activation_name(f) for f in activation.values()]),
        "loss": np.array(loss_name(loss)),
        "theta": parameters.theta,
    }


def check_version(version: object, known: int) -> None:
    """Raise InvalidFile unless a file is of the version that this bpnet knows."""
    if version != known:
        text = f"this bpnet reads version {known}: it was written by another release"
        raise InvalidFile(f"is of format version {version!r}, but {text}")


def activation_name(activation: Activation) -> str:
    """Return the name that stands for an activation in a file."""
    if ACTIVATIONS.get(activation.name) is not activation:
        raise ValueError(f"the activation {activation.name!r} {OWN}")
    return activation.name


def loss_name(loss: Loss) -> str:
    """Return the name that stands for a loss in a file; Huber's with its limit in full."""
    limit = huber_limit(loss)
    if LOSSES.get(loss.name) is not loss and not limit:
        raise ValueError(f"the loss {loss.name!r} {OWN}")
    return loss.name if LOSSES.get(loss.name) is loss else f"huber({limit!r})"


def loss_named(name: str) -> Loss:
    """Return the loss that `loss_name` has named."""
    match = re.fullmatch(r"huber\((.+)\)", name)
    return huber(float(match[1])) if match else get_loss(name)
