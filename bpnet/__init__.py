"""Backpropagation from formula to code, in NumPy matrix products.

>>> from bpnet import MLP
>>> net = MLP.init((2, 2, 2), rng=0)
>>> cache = net.forward([0.05, 0.10])
>>> grad = net.backward(cache, [0.01, 0.99])
>>> net.theta -= 0.5 * grad.theta
"""

from __future__ import annotations

from bpnet.activations import ACTIVATIONS, Activation
from bpnet.errors import InvalidFile
from bpnet.initializers import INITIALIZERS, Initializer
from bpnet.losses import LOSSES, Loss, huber
from bpnet.mlp import MLP
from bpnet.optimizers import SGD
from bpnet.parameters import Parameters
from bpnet.passes import Cache, Gradient
from bpnet.training import History, fit

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "MLP",
    "SGD",
    "Activation",
    "Cache",
    "Gradient",
    "History",
    "Initializer",
    "InvalidFile",
    "Loss",
    "Parameters",
    "fit",
    "huber",
]
