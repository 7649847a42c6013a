"""What nets to draw: sizes, and rules that can go together, by any means of choosing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from bpnet.checks import as_int
from bpnet.network.construction import as_dtype, default_output
from bpnet.rules.activations import ACTIVATIONS, Activation, get_activation
from bpnet.rules.losses import LOSSES, Loss, check_pair, get_loss

Range = int | tuple[int, int]  # one number, or the least and the most
Outputs = str | Activation | AbstractSet[str | Activation]  # a set is one to draw from
Activations = Outputs | Sequence[str | Activation]
Losses = str | Loss | AbstractSet[str | Loss]
DTypes = DTypeLike | AbstractSet[DTypeLike]

T = TypeVar("T", Activation, Loss)
C = TypeVar("C")

DEPTH, WIDTH, BATCH = (2, 6), (1, 8), (1, 7)
DTYPES = frozenset({"float64", "float32"})
SELDOM = 8  # one net in so many has equal widths, another one a single output


class Choose(Protocol):
    """How one of several is chosen: by Hypothesis, or by a generator of random numbers."""

    def __call__(self, choices: Sequence[C], /) -> C:
        """Return one of them; the first is the simplest."""
        ...


@dataclass(frozen=True)
class Plan:
    """What networks to draw.

    Attributes
    ----------
    depth : (int, int)
        The least and the most layers.
    widths : sequence of (int, int)
        The least and the most neurons of each layer; of one layer, those of all.
    pairs : sequence of (Activation, Loss)
        The outputs and the losses, as they can go together.
    hidden : sequence of Activation
        Of the hidden layers: to draw from, or if `in_order`, layer by layer.
    in_order : bool
    dtypes : sequence of dtype
    """

    depth: tuple[int, int]
    widths: Sequence[tuple[int, int]]
    pairs: Sequence[tuple[Activation, Loss]]
    hidden: Sequence[Activation]
    in_order: bool
    dtypes: Sequence[np.dtype[Any]]

    @classmethod
    def of(
        cls,
        sizes: Sequence[Range] | None = None,
        depth: Range = DEPTH,
        width: Range = WIDTH,
        activation: Activations | None = None,
        output: Outputs | None = None,
        loss: Losses | None = None,
        dtype: DTypes = DTYPES,
    ) -> Self:
        """Return the plan of the arguments of `bpnet.testing.networks`, or raise their errors."""
        if sizes is None:
            layers, widths = as_range(depth, "depth", least=2), [as_range(width, "width", least=1)]
        else:
            widths = [as_range(n, f"sizes[{i}]", least=1) for i, n in enumerate(sizes)]
            layers = (as_int(len(widths), "the number of sizes", least=2),) * 2
        hidden: list[Activation] = list(ACTIVATIONS.values())
        ends, in_order = output, False
        if isinstance(activation, Sequence) and not isinstance(activation, str):
            layers = exactly(len(activation) + 1, layers)
            if output is not None:
                raise ValueError("activation names every layer, the last too: leave out output")
            *hidden, last = [get_activation(f) for f in activation]
            ends, in_order = last, True
        elif activation is not None:
            hidden = rules_of(activation, ACTIVATIONS, get_activation)
            ends = output or activation
        pairs = suiting(ends, rules_of(loss, LOSSES, get_loss), own=output is None and not in_order)
        if not in_order:
            hidden = [f for f in hidden if not f.rows_sum_to_one]
        if layers[1] > 2 and not hidden:
            raise ValueError("softmax is for the output layer: name it as output='softmax'")
        return cls(layers, widths, pairs, hidden, in_order, real_dtypes(dtype))

    def draw(self, choose: Choose) -> dict[str, Any]:
        """Return the arguments of `MLP.init`, but for rng."""
        sizes = self.draw_sizes(choose)
        output, loss = choose(self.pairs_for(sizes[-1]))
        hidden = self.hidden
        if not self.in_order:
            hidden = [choose(self.hidden) for _ in sizes[1:-1]]
        dtype = choose(self.dtypes)
        return {"sizes": sizes, "activation": (*hidden, output), "loss": loss, "dtype": dtype}

    def pairs_for(self, n: int) -> Sequence[tuple[Activation, Loss]]:
        """Return the outputs and losses that n outputs may have: softmax of one is always 1."""
        return [pair for pair in self.pairs if n > 1 or not pair[0].rows_sum_to_one] or self.pairs

    def draw_sizes(self, choose: Choose) -> tuple[int, ...]:
        """Return sizes: neighbours unequal, and two or more outputs, most of the time."""
        L = choose(range(self.depth[0], self.depth[1] + 1))
        kind = choose(("plain",) * (SELDOM - 2) + ("single output", "equal widths"))
        sizes: list[int] = []
        for l in range(L):
            least, most = self.widths[l % len(self.widths)]
            choices: Sequence[int] = range(least, most + 1)
            if l == L - 1:
                single = kind == "single output" and not self.pairs_for(1)[0][0].rows_sum_to_one
                choices = [n for n in choices if (n == 1) == single] or choices
            before, alike = sizes[-1] if sizes else 0, kind == "equal widths"
            choices = [n for n in choices if (n == before) == alike] or choices
            sizes.append(choose(choices))
        return tuple(sizes)

    def largest(self) -> dict[str, Any]:
        """Return the arguments of `MLP.init` of a large net, with unequal sizes if there may be."""
        L = self.depth[1]
        ranges = [self.widths[l % len(self.widths)] for l in range(L)]
        sizes = [most - l % (most - least + 1) for l, (least, most) in enumerate(ranges)]
        output, loss = self.pairs_for(sizes[-1])[0]
        hidden = self.hidden if self.in_order else [self.hidden[0]] * (L - 2)
        activation, dtype = (*hidden, output), self.dtypes[0]
        return {"sizes": sizes, "activation": activation, "loss": loss, "dtype": dtype}


def as_range(value: Range, name: str, *, least: int) -> tuple[int, int]:
    """Return the least and the most that a number may be.

    Raises
    ------
    TypeError, ValueError
        If it is neither an integer nor a pair of them in this order, or too small.
    """
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ValueError(f"{name} must be an integer or a pair (least, most), not {value!r}")
        low, high = (as_int(n, f"{name}[{i}]", least=least) for i, n in enumerate(value))
        if low > high:
            raise ValueError(f"{name} must be (least, most), in this order, not {value!r}")
        return low, high
    n = as_int(value, name, least=least)
    return n, n


def exactly(L: int, layers: tuple[int, int]) -> tuple[int, int]:
    """Return the range of one depth, if it may be drawn."""
    if not layers[0] <= L <= layers[1]:
        raise ValueError(
            f"activation names {L - 1} layers, as a net of depth {L} has them, but the depth is "
            f"from {layers[0]} to {layers[1]}: give a set to draw from"
        )
    return L, L


def rules_of(given: Any, table: Mapping[str, T], get: Callable[[Any], T]) -> list[T]:
    """Return the rules to draw from: of a set, by name, so that the order is always the same."""
    if given is None:
        return list(table.values())
    if isinstance(given, AbstractSet):
        if not given:
            raise ValueError("a set to draw from is empty")
        return sorted((get(rule) for rule in given), key=lambda rule: rule.name)
    return [get(given)]


def real_dtypes(given: DTypes) -> list[np.dtype[Any]]:
    """Return the dtypes to draw from, float64 first."""
    try:
        dtypes = {as_dtype(d) for d in (given if isinstance(given, AbstractSet) else [given])}
    except ValueError:
        dtypes = set()
    if not dtypes or any(dtype.kind != "f" for dtype in dtypes):
        raise ValueError(f"dtype must be float64, float32 or a set of both, not {given!r}")
    return sorted(dtypes, key=str, reverse=True)


def suiting(
    output: Outputs | None, losses: Sequence[Loss], *, own: bool
) -> list[tuple[Activation, Loss]]:
    """Return the outputs and losses that can go together.

    Parameters
    ----------
    output : str, Activation, a set of them, or None
    losses : sequence of Loss
    own : bool
        Whether a loss may take the output that belongs to it where none of the others suits.
    """
    outputs, pairs = rules_of(output, ACTIVATIONS, get_activation), []
    for loss in losses:
        fits = [f for f in outputs if goes_with(f, loss)]
        if own and not fits and loss.joined_output is not None:
            fits = [default_output(loss, outputs[0])]
        pairs += [(f, loss) for f in fits]
    if not pairs:
        check_pair(losses[0], outputs[0])
    return pairs


def goes_with(output: Activation, loss: Loss) -> bool:
    """Whether the output stays in the domain of the loss."""
    try:
        check_pair(loss, output)
    except ValueError:
        return False
    return True
