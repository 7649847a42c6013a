"""What `MLP.init` and `MLP.from_weights` are given, checked and put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bpnet.arrays import Array, check_memory
from bpnet.checks import as_int, as_numbers, converted
from bpnet.network.parameters import FIRST, ByLayer, Parameters, count
from bpnet.rules.activations import ACTIVATIONS, Activation, get_activation
from bpnet.rules.initializers import Initializer, Seed, generator, get_initializer
from bpnet.rules.losses import Loss, check_pair, get_loss

Named = str | Activation | Sequence[str | Activation]
Rules = tuple[ByLayer[Activation], Loss]
Arrays = Sequence[ArrayLike] | Mapping[int, ArrayLike]
DTYPES = tuple(np.dtype(name) for name in ("float64", "float32", "complex128", "complex64"))


def as_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a dtype that θ may have."""
    try:
        found = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        found = np.dtype(object)
    if found not in DTYPES or dtype is None:
        known = ", ".join(map(str, DTYPES))
        raise ValueError(f"dtype must be one of {known}, not {dtype!r}")
    return found


def per_layer(given: Any, single: type | tuple[type, ...], L: int, name: str) -> list[Any]:
    """Return one item for each of the layers 2..L, from one for all or a sequence."""
    if isinstance(given, single) or not isinstance(given, Sequence):
        return [given] * (L - 1)
    if len(given) != L - 1:
        need = f"{L - 1} with weights: one for each of the layers 2..{L}, or one for all"
        raise ValueError(f"{name} names {len(given)} layers, but this net has {need}")
    return list(given)


def checked_rules(sizes: tuple[int, ...], activation: Named, output: Any, loss: str | Loss) -> Rules:
    """Return the rules of a new net, as `layer_rules`; those of older files may be as they are."""
    rules = layer_rules(len(sizes), activation, output, loss)
    last = rules[0].list[-1]
    if last.rows_sum_to_one and sizes[-1] == 1:
        take = "take output='sigmoid' and loss='binary_cross_entropy', or two outputs"
        raise ValueError(f"{last.name} of one output is always 1: for two classes {take}")
    return rules


def layer_rules(L: int, activation: Named, output: Any, loss: str | Loss) -> Rules:
    """Return the activation of each layer and the loss, if they can go together."""
    loss = get_loss(loss)
    several = not isinstance(activation, (str, Activation)) and isinstance(activation, Sequence)
    layers = [get_activation(f) for f in per_layer(activation, (str, Activation), L, "activation")]
    if output is not None:
        last, layers[-1] = layers[-1], get_activation(output)
        if several and last is not layers[-1]:
            text = f"{last.name!r}, but output says {layers[-1].name!r}: give one of the two"
            raise ValueError(f"activation names the output layer's as {text}")
    elif not several:
        layers[-1] = default_output(loss, layers[-1])
    check_pair(loss, layers[-1])
    for l, f in enumerate(layers[:-1], FIRST):
        if f.rows_sum_to_one:
            text = f"was given for the hidden layer {l}: name it as output={f.name!r}"
            raise ValueError(f"{f.name} is for the output layer, but {text}")
    return ByLayer("activation", FIRST, layers), loss


def default_output(loss: Loss, activation: Activation) -> Activation:
    """Return the activation if the loss can do with it, else the one that belongs to the loss."""
    try:
        check_pair(loss, activation)
    except ValueError:
        if loss.joined_output is None:
            raise
        return ACTIVATIONS[loss.joined_output]
    return activation


def start_theta(
    sizes: tuple[int, ...], activation: ByLayer[Activation], initializer: Any,
    rng: Seed | None, dtype: DTypeLike, networks: int | None,
) -> Array:  # fmt: skip
    """Return θ with start weights; drawn in float64, so that every dtype starts alike."""
    rules = per_layer(initializer, (str, Initializer), len(sizes), "initializer")
    if rng is None:
        raise TypeError("rng is missing: start weights are drawn, from a seed such as rng=0")
    rng, chosen = generator(rng), as_dtype(dtype)
    lead = () if networks is None else (as_int(networks, "networks", least=1),)
    what, P = f"{networks:,} networks of " if lead else "", count(sizes)
    check_memory(f"{what}{P:,} parameters", networks or 1, chosen, P, gradients=bool(lead))
    start = Parameters(sizes, np.empty((*lead, P)))
    for l, rule in enumerate(rules, FIRST):
        draw = get_initializer(activation[l].initializer if rule is None else rule)
        start.W[l] = draw.W(rng, start.W[l].shape)
        start.b[l] = draw.b(rng, start.b[l].shape)
    return start.theta.astype(chosen, copy=False)


def join_weights(W: Arrays, b: Arrays, dtype: Any) -> tuple[tuple[int, ...], Array]:
    """Return the sizes and θ of given weights, copied."""
    Ws, bs = listed(W, "W"), listed(b, "b")
    if len(Ws) != len(bs):
        raise ValueError(f"W has {len(Ws)} layers, but b has {len(bs)}: each layer needs both")
    if not Ws:
        raise ValueError("W is empty: give W², ..., W^L, one matrix for each layer with weights")
    lead = Ws[0].shape[:-2]  # (networks,) for a stack
    before = None
    for l, (W_l, b_l) in enumerate(zip(Ws, bs, strict=True), FIRST):
        check_layer(l, W_l, b_l, before, lead)
        before = W_l.shape[-2]
    sizes = (Ws[0].shape[-1], *(W_l.shape[-2] for W_l in Ws))
    found = common_dtype([*Ws, *bs])
    chosen = found if dtype is None else as_dtype(dtype)
    if chosen.kind != "c" and found.kind == "c":
        raise TypeError(f"W and b hold complex numbers, which do not fit into {chosen}")
    joined = Parameters(sizes, np.empty((*lead, count(sizes)), chosen))
    for l in joined.W:
        joined.W[l] = converted(Ws[l - FIRST], chosen, f"W[{l}]")
        joined.b[l] = converted(bs[l - FIRST], chosen, f"b[{l}]")
    return sizes, joined.theta


def check_layer(l: int, W: Array, b: Array, before: int | None, lead: tuple[int, ...]) -> None:
    """Raise ValueError if W^l and b^l fit neither each other nor the layer before."""
    given, many = f"W[{l}] has shape {W.shape}, but", lead[0] if lead else "no"
    if W.ndim not in (2, 3) or 0 in W.shape:
        shape = "(neurons of this layer, neurons of the layer before)"
        raise ValueError(f"{given} must be a matrix {shape}, or a stack of them")
    if W.shape[:-2] != lead:
        need = f"W[{FIRST}] is of {many} stacked networks: every layer needs as many"
        raise ValueError(f"{given} {need}")
    turned = ""
    if b.shape == (*lead, W.shape[-1]) or before == W.shape[-2] != W.shape[-1]:
        turned = "; is it transposed, as scikit-learn's coefs_ are? Pass [W.T for W in coefs_]"
    if b.shape != W.shape[:-1]:
        need = f"has {W.shape[-2]} neurons: b[{l}] must have shape {W.shape[:-1]}{turned}"
        raise ValueError(f"b[{l}] has shape {b.shape}, but W[{l}] of shape {W.shape} {need}")
    if before is not None and W.shape[-1] != before:
        need = f"the layer before has {before} neurons: W[{l}] needs as many columns{turned}"
        raise ValueError(f"{given} {need}")


def listed(arrays: Arrays, name: str) -> list[Array]:
    """Return the arrays of the layers 2, 3, ... as a list, from a sequence or a mapping."""
    if isinstance(arrays, Mapping):
        layers = sorted(arrays)
        if layers != list(range(FIRST, FIRST + len(layers))):
            raise ValueError(f"{name} is keyed by {layers}, but the layers are 2, 3, ..., L")
        arrays = [arrays[l] for l in layers]
    if isinstance(arrays, (str, bytes)) or not isinstance(arrays, (Sequence, np.ndarray)):
        raise TypeError(f"{name} must be a list of arrays or a dict by layer, not {arrays!r}")
    named = enumerate(arrays, FIRST)
    return [as_numbers(array, f"{name}[{l}]", allow_complex=True) for l, array in named]


def common_dtype(arrays: Sequence[Array]) -> np.dtype[Any]:
    """Return float32 where every array has it, complex128 where one is complex, else float64."""
    if any(array.dtype.kind == "c" for array in arrays):
        return np.dtype(np.complex128)
    single = all(array.dtype.newbyteorder("=") == np.float32 for array in arrays)
    return np.dtype(np.float32 if single else np.float64)
