"""PyTorch: a net as an ``nn.Sequential``, and such a module as a net.

    Linear(n_1, n_2), activation of layer 2, Linear(n_2, n_3), ..., activation of layer L

Every activation has its module, an ``nn.Identity`` too, so that the names in a ``state_dict`` are
``0.weight``, ``0.bias``, ``2.weight``, ..., and ``module[:-1]`` returns z^L, as PyTorch's losses
want it: ``nn.CrossEntropyLoss`` contains the softmax, ``nn.BCEWithLogitsLoss`` the sigmoid.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from bpnet.arrays import Array
from bpnet.formats.shared import check_single, optional
from bpnet.mlp import MLP
from bpnet.rules.activations import Activation, get_activation
from bpnet.rules.constants import LEAK, largest_exponent
from bpnet.rules.losses import LOSSES

if TYPE_CHECKING:
    from torch import nn

    from bpnet.rules.losses import Loss

# The class of each activation, and the arguments with which it is bpnet's: the first is written,
# the others are read too. Softplus is a straight line beyond its threshold; PyTorch's own, 20,
# shows in float64 (2e-9), one of 40 does not.
MODULES: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "identity": ("Identity", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": (LEAK,)}),
    "elu": ("ELU", {"alpha": (1.0,)}),
    "softplus": ("Softplus", {"beta": (1.0,), "threshold": (40.0, 20.0)}),
    "silu": ("SiLU", {}),
    "gelu": ("GELU", {"approximate": ("tanh",)}),
    "softmax": ("Softmax", {"dim": (-1, 1)}),
    "exp": ("Exp", {}),  # which PyTorch has not: see below
}


def to_torch(net: MLP) -> nn.Sequential:
    """Return a net as an ``nn.Sequential`` with copies of its weights, in its dtype."""
    check_single(net, "to_torch")
    torch = optional("torch", "to_torch")
    layers: list[Any] = []
    for l, f in net.activation.items():
        n_out, n_in = net.W[l].shape
        linear = torch.nn.Linear(n_in, n_out, device="meta")  # draws no random numbers
        linear.weight = torch.nn.Parameter(torch.tensor(net.W[l]))
        linear.bias = torch.nn.Parameter(torch.tensor(net.b[l]))
        if f.name == "exp":
            rule = exp_module()(largest_exponent(net.dtype))
        else:
            kind, arguments = MODULES[f.name]
            rule = getattr(torch.nn, kind)(**{name: v[0] for name, v in arguments.items()})
        layers += [linear, rule]
    return torch.nn.Sequential(*layers)  # type: ignore[no-any-return]


def from_torch(
    module: nn.Module, *, output: str | Activation | None = None, loss: str | Loss | None = None
) -> MLP:
    """Return a net with copies of the weights of an ``nn.Sequential`` of linear layers.

    It is in float64 if a weight is, else in float32.

    Parameters
    ----------
    module : nn.Sequential
        Of ``nn.Linear`` and the modules that `to_torch` makes, in sequence or nested sequences.
        Dropout is left out, as in ``module.eval()``; a layer without bias gets zeros.
    output : str or Activation, optional
        Of the last layer, where the module ends in a linear one: ``"softmax"`` for a classifier
        that was trained with ``nn.CrossEntropyLoss``. The default is the identity.
    loss : str or Loss, optional
        The default belongs to the output (cross-entropy to softmax), or is half the squared error.
    """
    torch = optional("torch", "from_torch")
    W: list[Array] = []
    b: list[Array] = []
    rules: list[str | Activation] = []  # of each linear layer; "" where nothing has followed it
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch takes an nn.Sequential, not {module!r}")
    for _, layer in module.named_modules(remove_duplicate=False):
        if type(layer) is torch.nn.Linear:  # a subclass may compute something else
            dtype = torch.promote_types(layer.weight.dtype, torch.float32)  # of halves, float32
            weight = layer.weight.detach().cpu().to(dtype)
            bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()
            W.append(weight.numpy())
            b.append(bias.cpu().to(dtype).numpy())
            rules.append("")
        elif type(layer) not in (torch.nn.Sequential, torch.nn.Dropout, torch.nn.Identity):
            name = activation_of(torch.nn, layer)
            if not rules or rules[-1]:
                raise ValueError(f"{layer!r} does not follow a Linear, as a net's activations do")
            rules[-1] = name
    if not rules:
        raise ValueError("the module holds no Linear layer")
    rules = [rule or "identity" for rule in (*rules[:-1], rules[-1] or output)]
    joined = (rule for rule in LOSSES.values() if rule.joins(get_activation(rules[-1])))
    loss = loss or next(joined, "half_squared_error")
    return MLP.from_weights(W, b, activation=rules, output=output, loss=loss)


def activation_of(nn: Any, layer: Any) -> str:
    """Return the name of the activation that a module is."""
    forms = ["Linear", "Dropout"]
    for name, (kind, arguments) in MODULES.items():
        if type(layer) is (exp_module() if name == "exp" else getattr(nn, kind)) and all(
            getattr(layer, argument) in values for argument, values in arguments.items()
        ):
            return name
        forms.append(f"{kind}({', '.join(f'{name}={v[0]!r}' for name, v in arguments.items())})")
    raise ValueError(
        f"{type(layer).__name__}({layer.extra_repr()}) is nothing that bpnet has: from_torch takes "
        f"an nn.Sequential of {', '.join(forms)}"
    )


@cache
def exp_module() -> Any:
    """Return the class of the activation exp, a subclass of PyTorch's."""
    nn = optional("torch.nn", "to_torch")

    class Exp(nn.Module):  # type: ignore[misc, name-defined]
        """e^z, constant beyond a largest z, as bpnet's."""

        __qualname__ = "Exp"

        def __init__(self, largest: float) -> None:
            super().__init__()
            self.largest = largest

        def forward(self, z: Any) -> Any:
            return z.clamp(max=self.largest).exp()

    return Exp


def __getattr__(name: str) -> Any:
    if name == "Exp":  # where a pickle looks for it
        return exp_module()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
