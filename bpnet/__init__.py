"""Backpropagation from formula to code, in NumPy matrix products.

>>> from bpnet import MLP
>>> net = MLP.init((2, 2, 2), rng=0)
>>> cache = net.forward([0.05, 0.10])
>>> grad = net.backward(cache, [0.01, 0.99])
>>> net.theta -= 0.5 * grad.theta
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bpnet.mlp import MLP

if TYPE_CHECKING:
    from bpnet.activations import ACTIVATIONS, Activation
    from bpnet.control import Callback, EarlyStopping
    from bpnet.errors import GradientCheckFailed, InvalidFile, TrainingDiverged
    from bpnet.evaluation import evaluate
    from bpnet.gradcheck import GradientReport, check_function, check_gradient
    from bpnet.history import History
    from bpnet.initializers import INITIALIZERS, Initializer
    from bpnet.losses import LOSSES, Loss, huber
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
    from bpnet.storage import load
    from bpnet.training import fit

__version__ = "0.1.0"

# What is loaded on first use, by module, so that `import bpnet` costs little over NumPy.
LAZY = {
    "activations": ("ACTIVATIONS", "Activation"),
    "control": ("Callback", "EarlyStopping"),
    "errors": ("GradientCheckFailed", "InvalidFile", "TrainingDiverged"),
    "evaluation": ("evaluate",),
    "gradcheck": ("GradientReport", "check_function", "check_gradient"),
    "history": ("History",),
    "initializers": ("INITIALIZERS", "Initializer"),
    "losses": ("LOSSES", "Loss", "huber"),
    "optimizers": ("LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"),
    "parameters": ("Parameters",),
    "passes": ("Cache", "Gradient"),
    "schedules": (
        "CosineDecay",
        "ExponentialDecay",
        "InverseScaling",
        "ReduceOnPlateau",
        "Schedule",
        "StepDecay",
        "Warmup",
    ),
    "storage": ("load",),
    "training": ("fit",),
}
MODULE_OF = {name: module for module, names in LAZY.items() for name in names}

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
    "GradientCheckFailed",
    "GradientReport",
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
    "check_function",
    "check_gradient",
    "evaluate",
    "fit",
    "huber",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in MODULE_OF:
        raise AttributeError(f"module 'bpnet' has no attribute {name!r}")
    value = getattr(import_module(f"bpnet.{MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
