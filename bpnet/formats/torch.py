"""PyTorch: a net as an ``nn.Sequential``, and such a module as a net.

    Linear(n_1, n_2), activation of layer 2, Linear(n_2, n_3), ..., activation of layer L

Linear layers stand at the even places, so that the names in a ``state_dict`` are ``0.weight``,
``0.bias``, ``2.weight`` ...: a hidden layer without an activation gets an ``nn.Identity``, and one
at the output nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from bpnet.arrays import Array
from bpnet.formats.shared import check_single, loss_for, optional
from bpnet.mlp import MLP
from bpnet.rules.activations import Activation
from bpnet.rules.constants import LEAK, largest_exponent

if TYPE_CHECKING:
    from torch import nn

    from bpnet.rules.losses import Loss

# The class of each activation, and with what arguments it is bpnet's. Softplus is a straight line
# beyond its threshold; PyTorch's own, 20, shows in float64 (2e-9), one of 40 does not.
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": LEAK}),
    "elu": ("ELU", {"alpha": 1.0}),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 40.0}),
    "silu": ("SiLU", {}),
    "gelu": ("GELU", {"approximate": "tanh"}),
    "softmax": ("Softmax", {"dim": -1}),
}
ALSO: dict[str, tuple[Any, ...]] = {"threshold": (20, 20.0), "dim": (1,)}  # as good when read


def to_torch(net: MLP, *, logits: bool = False) -> nn.Sequential:
    """Return a net as an ``nn.Sequential`` with copies of its weights, in its dtype.

    Parameters
    ----------
    net : MLP
        One network, of real weights.
    logits : bool
        Leave the output activation out, so that the module returns z^L. PyTorch's losses want
        this: ``nn.CrossEntropyLoss`` contains the softmax, ``nn.BCEWithLogitsLoss`` the sigmoid.
        By default the module returns a^L, as `MLP.predict` does, whatever the loss of the net.

    Raises
    ------
    TypeError, ValueError
        If the net is a stack, complex, or has an activation of your own.

    Examples
    --------
    >>> from bpnet import MLP, formats
    >>> net = MLP.init((4, 8, 3), activation="tanh", loss="cross_entropy", rng=0)
    >>> formats.to_torch(net)  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): Tanh()
      (2): Linear(in_features=8, out_features=3, bias=True)
      (3): Softmax(dim=-1)
    )
    """
    check_single(net, "to_torch")
    torch = optional("torch", "to_torch")
    layers: list[Any] = []
    for l in range(2, net.L + 1):
        n_out, n_in = net.W[l].shape
        linear = torch.nn.utils.skip_init(  # which draws no random numbers
            torch.nn.Linear, n_in, n_out, dtype=getattr(torch, net.dtype.name)
        )
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(net.W[l].copy()))
            linear.bias.copy_(torch.from_numpy(net.b[l].copy()))
        layers.append(linear)
        if l < net.L or not (logits or net.activation[l].name == "identity"):
            f = net.activation[l].name
            kind, arguments = MODULES.get(f, ("", {}))
            layers.append(
                exp_module()(largest_exponent(net.dtype))
                if f == "exp"
                else getattr(torch.nn, kind)(**arguments)
            )
    return torch.nn.Sequential(*layers)  # type: ignore[no-any-return]


def from_torch(
    module: nn.Module,
    *,
    output: str | Activation | None = None,
    loss: str | Loss | None = None,
) -> MLP:
    """Return a net with copies of the weights of an ``nn.Sequential`` of linear layers.

    Parameters
    ----------
    module : nn.Sequential
        Of ``nn.Linear`` and the modules that `to_torch` makes, in sequence or nested sequences.
        Dropout is left out, as in ``module.eval()``; a layer without bias gets zeros.
    output : str or Activation, optional
        Activation of the last layer, where the module ends in a linear one: ``"softmax"`` for a
        classifier that was trained with ``nn.CrossEntropyLoss``. The default is the identity.
    loss : str or Loss, optional
        The default is the one that belongs to the output: ``"cross_entropy"`` to softmax,
        ``"binary_cross_entropy"`` to sigmoid, ``"poisson"`` to exp, else ``"half_squared_error"``.

    Returns
    -------
    MLP
        In float64 if a weight is, else in float32.

    Raises
    ------
    TypeError, ValueError
        If the module holds something else, which is named, or a weight is not finite.
    """
    torch = optional("torch", "from_torch")
    W: list[Array] = []
    b: list[Array] = []
    rules: list[Any] = []  # of each linear layer; None where nothing has followed it yet
    for place, layer in leaves(torch.nn, module):
        if is_plain(layer, torch.nn.Linear):
            bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
            W.append(as_array(torch, layer.weight, f"{place}.weight"))
            b.append(as_array(torch, bias, f"{place}.bias"))
            rules.append(None)
        elif not is_plain(layer, torch.nn.Dropout):
            name = activation_of(torch.nn, layer, place)
            if name == "identity":
                continue
            if not rules or rules[-1] is not None:
                raise ValueError(
                    f"module {place} is {described(layer)}, which does not follow a Linear, as "
                    "the activations of a net do"
                )
            rules[-1] = name
    if not rules:
        raise ValueError("the module holds no Linear layer")
    if output is not None and rules[-1] is not None:
        raise ValueError(f"the module ends in {rules[-1]} itself: leave output= out")
    layers = [rule or "identity" for rule in (*rules[:-1], rules[-1] or output)]
    return MLP.from_weights(W, b, activation=layers, loss=loss or loss_for(layers[-1]))


def leaves(nn: Any, module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules of nested sequences, in order, each with its name."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"from_torch takes an nn.Sequential, not {module!r}")
    if not is_plain(module, nn.Sequential):
        yield name or "0", module
        return
    for place, child in enumerate(module):  # named_children() leaves repeated ones out
        yield from leaves(nn, child, f"{name}.{place}" if name else f"{place}")


def is_plain(layer: Any, kind: Any) -> bool:
    """Whether a module is of this kind and computes what it does; a subclass may not."""
    return isinstance(layer, kind) and type(layer).forward is kind.forward


def as_array(torch: Any, tensor: Any, name: str) -> Array:
    """Return a tensor of floats as an array; halves become float32."""
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"from_torch takes weights of floats, but {name} is {tensor.dtype}")
    array: Array = tensor.detach().cpu().numpy()
    return array


def activation_of(nn: Any, layer: Any, place: str) -> str:
    """Return the name of the activation that a module is."""
    if is_plain(layer, exp_module()):
        return "exp"
    for name, (kind, arguments) in MODULES.items():
        if not is_plain(layer, getattr(nn, kind)):
            continue
        if all(getattr(layer, k) in (v, *ALSO.get(k, ())) for k, v in arguments.items()):
            return name
        bpnets = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
        raise ValueError(
            f"module {place} is {described(layer)}, but bpnet's {name} is {kind}({bpnets})"
        )
    known = ", ".join(["Linear", "Dropout", *(kind for kind, _ in MODULES.values())])
    raise ValueError(
        f"module {place} is {described(layer)}, which bpnet does not have: from_torch takes an "
        f"nn.Sequential of {known}"
    )


def described(layer: Any) -> str:
    """Return a module's name and arguments, without what it holds."""
    return f"{type(layer).__name__}({layer.extra_repr()})"


@cache
def exp_module() -> Any:
    """Return the class of the activation exp, which PyTorch has no module for."""
    nn = optional("torch.nn", "to_torch")

    class Exp(nn.Module):  # type: ignore[misc, name-defined]
        """e^z, constant beyond a largest z, as bpnet's."""

        __qualname__ = "Exp"

        def __init__(self, largest: float) -> None:
            super().__init__()
            self.largest = largest

        def forward(self, z: Any) -> Any:
            return z.clamp(max=self.largest).exp()

        def extra_repr(self) -> str:
            return f"largest={self.largest:g}"

    return Exp


def __getattr__(name: str) -> Any:
    if name == "Exp":  # where a pickle looks for it
        return exp_module()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
