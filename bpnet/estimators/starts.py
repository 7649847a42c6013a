"""The net that a training starts from: drawn as scikit-learn draws, or given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.mlp import MLP
from bpnet.rules.activations import ACTIVATIONS, get_activation


def layer_sizes(hidden: Any, n_in: int, n_out: int) -> tuple[int, ...]:
    """Return the neurons of all layers; `hidden` is a number or a sequence of them."""
    given = tuple(hidden) if np.iterable(hidden) else (hidden,)
    checked = (as_int(n, f"hidden_layer_sizes[{i}]", least=1) for i, n in enumerate(given))
    return (n_in, *checked, n_out)


def net_of(estimator: Any, sizes: Sequence[int], dtype: Any, state: np.random.RandomState) -> MLP:
    """Return the net, or the stack of all starts, that an estimator asks for.

    Raises
    ------
    TypeError, ValueError
        If the start weights or the activations do not fit the layers.
    """
    output, loss = estimator._output_and_loss()
    activation = [*hidden_activations(estimator.activation, len(sizes) - 2), output]
    networks = estimator.n_restarts * estimator.n_ensemble
    if estimator.start_weights is None:
        drawn = [drawn_weights(sizes, estimator.activation, state) for _ in range(networks)]
    elif networks > 1:
        raise ValueError("start_weights are one start: n_restarts and n_ensemble must be 1")
    else:
        drawn = [given_weights(estimator.start_weights, sizes)]
    try:
        nets = [
            MLP.from_weights(W, b, activation=activation, loss=loss, dtype=dtype) for W, b in drawn
        ]
    except ValueError as error:  # which may name a parameter
        raise ValueError(str(error).replace("output=", "out_activation=")) from None
    return nets[0] if networks == 1 else MLP.stack(nets)


def hidden_activations(given: Any, layers: int) -> list[Any]:
    """Return the activation of each hidden layer, from one for all or one for each."""
    if not isinstance(given, (list, tuple)):
        return [given] * layers
    if len(given) != layers:
        raise ValueError(
            f"activation names {len(given)} layers, but hidden_layer_sizes {layers}: name one for "
            "each hidden layer, and the output's as out_activation"
        )
    return list(given)


def drawn_weights(
    sizes: Sequence[int], activation: Any, state: np.random.RandomState
) -> tuple[list[Array], list[Array]]:
    """Draw W and b as scikit-learn's MLP does, from the same random numbers.

    U(-r, r) with r² = 6 / (n_in + n_out), or 2 / (n_in + n_out) for the logistic function.
    """
    several = isinstance(activation, (list, tuple))
    logistic = not several and get_activation(activation) is ACTIVATIONS["sigmoid"]
    factor = 2.0 if logistic else 6.0
    W, b = [], []
    for n_in, n_out in pairwise(sizes):
        r = math.sqrt(factor / (n_in + n_out))
        W.append(state.uniform(-r, r, (n_in, n_out)).T)
        b.append(state.uniform(-r, r, n_out))
    return W, b


def given_weights(given: Any, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """Return W and b of a net, or of scikit-learn's (coefs, intercepts)."""
    if not isinstance(given, MLP):
        if len(given) != 2:
            raise ValueError(
                "start_weights must be an MLP or (coefs, intercepts), each a list with one array "
                f"a layer, not {len(given)} items"
            )
        given = MLP.from_weights([np.asarray(W).T for W in given[0]], list(given[1]))
    check_sizes(given, sizes, "start_weights are of a net")
    return list(given.W.values()), list(given.b.values())


def check_sizes(net: MLP, sizes: Sequence[int], what: str) -> None:
    """Raise ValueError if a net has other layers than X, y and hidden_layer_sizes ask for."""
    if net.sizes != tuple(sizes):
        have, need = ("-".join(map(str, each)) for each in (net.sizes, sizes))
        raise ValueError(f"{what} {have}, but X, y and hidden_layer_sizes need {need}")
