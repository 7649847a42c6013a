"""Backpropagation from formula to code, in NumPy matrix products.

>>> from bpnet import MLP
>>> net = MLP.init((2, 2, 2), rng=0)
>>> cache = net.forward([0.05, 0.10])
>>> grad = net.backward(cache, [0.01, 0.99])
>>> net.theta -= 0.5 * grad.theta
"""

from __future__ import annotations

from bpnet.activations import ACTIVATIONS, Activation
from bpnet.control import Callback, EarlyStopping
from bpnet.errors import InvalidFile, TrainingDiverged
from bpnet.evaluation import evaluate
from bpnet.history import History
from bpnet.initializers import INITIALIZERS, Initializer
from bpnet.losses import LOSSES, Loss, huber
from bpnet.mlp import MLP
from bpnet.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from bpnet.parameters import Parameters
from bpnet.passes import Cache, Gradient
from bpnet.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    Warmup,
)
from bpnet.training import fit

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LBFGS",
    "LOSSES",
    "MLP",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Cache",
    "Callback",
    "CosineDecay",
    "EarlyStopping",
    "ExponentialDecay",
    "Gradient",
    "History",
    "Initializer",
    "InvalidFile",
    "InverseScaling",
    "Loss",
    "Optimizer",
    "Parameters",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "TrainingDiverged",
    "Warmup",
    "evaluate",
    "fit",
    "huber",
]
