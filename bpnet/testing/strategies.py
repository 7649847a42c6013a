"""The strategies of `bpnet.testing`: what nets to draw, and how Hypothesis draws them.

A `Plan` has the sizes, and the rules that can go together; it draws by any means of choosing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from bpnet.arrays import Array
from bpnet.checks import as_int
from bpnet.mlp import MLP
from bpnet.network.construction import as_dtype, default_output
from bpnet.rules.activations import ACTIVATIONS, Activation, get_activation
from bpnet.rules.losses import LOSSES, Loss, check_pair, get_loss
from bpnet.testing.cases import Case, case, draw_inputs, draw_targets, draw_theta

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

Range = int | tuple[int, int]  # one number, or the least and the most
Outputs = str | Activation | AbstractSet[str | Activation]  # a set is one to draw from
Activations = Outputs | Sequence[str | Activation]
Losses = str | Loss | AbstractSet[str | Loss]
DTypes = DTypeLike | AbstractSet[DTypeLike]
Choose = Callable[[Sequence[Any]], Any]  # returns one of them; the first is the simplest

T = TypeVar("T", Activation, Loss)
D = TypeVar("D")

DEPTH, WIDTH, BATCH = (2, 6), (1, 8), (1, 7)
DTYPES = frozenset({"float64", "float32"})
SELDOM = 8  # one net in so many has equal widths, another one a single output
SEEDS = 2**32


def networks(
    sizes: Sequence[Range] | None = None,
    *,
    depth: Range = DEPTH,
    width: Range = WIDTH,
    activation: Activations | None = None,
    output: Outputs | None = None,
    loss: Losses | None = None,
    dtype: DTypes = DTYPES,
) -> SearchStrategy[MLP]:
    """Return a strategy for networks whose weights show mistakes.

    Most have unequal widths and two or more outputs; no x within ±2 saturates a neuron.

    Parameters
    ----------
    sizes : sequence of int or (int, int), optional
        Neurons in each layer, each a number or a range of them, in place of depth and width.
    depth, width : int or (int, int)
        L, the number of layers, the input layer counted; neurons in a layer.
    activation : str, Activation, a sequence or a set of them, optional
        One for every layer, a sequence for the layers 2..L, or a set to draw from for each
        layer. The default is all that the package has.
    output : str, Activation, or a set of them, optional
        Of layer L. The default is that of `activation` where it suits the loss, else the one
        that belongs to the loss.
    loss : str, Loss, or a set of them, optional
        The default is all that the package has; what does not suit the output is left out.
    dtype : dtype, or a set of them
        float64, float32 or both.
    """

    def made(choose: Choose, seed: Callable[[], int]) -> MLP:
        net = MLP.init(**plan.draw(choose), rng=0)
        draw_theta(net, seed())
        return net

    plan = Plan.of(sizes, depth, width, activation, output, loss, dtype)
    return drawn(made)


def batches(net: MLP, m: Range = BATCH) -> SearchStrategy[Array]:
    """Return a strategy for the inputs of a net: m samples or (least, most), within ±2."""
    return rows_of(lambda rows, seed: draw_inputs(net, rows, seed), m)


def targets(net: MLP, m: Range) -> SearchStrategy[Array]:
    """Return a strategy for targets of a net, in the domain of its loss and at its edge."""
    loss, n = net.loss_function, net.sizes[-1]
    return rows_of(lambda rows, seed: draw_targets(loss, (rows, n), seed).astype(net.dtype), m)


def rows_of(draw: Callable[[int, int], Array], m: Range) -> SearchStrategy[Array]:
    """Return a strategy for what `draw` makes of a number of rows and a seed."""
    least, most = as_range(m, "m", least=1)
    need_hypothesis()
    from hypothesis import strategies as st

    return st.builds(draw, st.sampled_from(range(least, most + 1)), st.integers(0, SEEDS - 1))


def cases(
    sizes: Sequence[Range] | None = None,
    *,
    depth: Range = DEPTH,
    width: Range = WIDTH,
    activation: Activations | None = None,
    output: Outputs | None = None,
    loss: Losses | None = None,
    m: Range = BATCH,
    dtype: DTypes = DTYPES,
) -> SearchStrategy[Case]:
    """Return a strategy for ``net, x, y = case`` with m samples; the rest is as in `networks`."""
    plan = Plan.of(sizes, depth, width, activation, output, loss, dtype)
    return cases_of(plan, as_range(m, "m", least=1))


def cases_of(plan: Plan, rows: tuple[int, int]) -> SearchStrategy[Case]:
    """Return the strategy for the cases of a plan, with so many samples."""

    def made(choose: Choose, seed: Callable[[], int]) -> Case:
        parts, m = plan.draw(choose), choose(range(rows[0], rows[1] + 1))
        return case(**parts, m=m, seed=seed())

    return drawn(made)


def drawn(made: Callable[[Choose, Callable[[], int]], D]) -> SearchStrategy[D]:
    """Return the strategy for what is made by choosing, and of a seed."""
    need_hypothesis()
    from hypothesis import strategies as st

    @st.composite
    def strategy(draw: DrawFn) -> D:
        def choose(choices: Sequence[Any]) -> Any:
            return draw(st.sampled_from(choices)) if len(choices) > 1 else choices[0]

        return made(choose, lambda: draw(st.integers(0, SEEDS - 1)))

    return strategy()


def need_hypothesis() -> None:
    """Raise ImportError, with what to install, if Hypothesis is not there."""
    if find_spec("hypothesis") is None:
        raise ImportError("bpnet.testing needs Hypothesis: pip install hypothesis")


class Plan(NamedTuple):
    """What networks to draw."""

    depth: tuple[int, int]
    widths: Sequence[tuple[int, int]]  # of each layer; if it is one, of all
    pairs: Sequence[tuple[Activation, Loss]]  # outputs and losses that can go together
    hidden: Sequence[Activation]  # to draw from, or if in_order, layer by layer
    in_order: bool
    dtypes: Sequence[np.dtype[Any]]

    @classmethod
    def of(
        cls, sizes: Sequence[Range] | None = None, depth: Range = DEPTH, width: Range = WIDTH,
        activation: Activations | None = None, output: Outputs | None = None,
        loss: Losses | None = None, dtype: DTypes = DTYPES,
    ) -> Self:  # fmt: skip
        """Return the plan of the arguments of `networks`, or raise their errors."""
        if sizes is None:
            layers, widths = as_range(depth, "depth", least=2), [as_range(width, "width", least=1)]
        else:
            widths = [as_range(n, f"sizes[{i}]", least=1) for i, n in enumerate(sizes)]
            layers = (as_int(len(widths), "the number of sizes", least=2),) * 2
        hidden: list[Activation] = list(ACTIVATIONS.values())
        ends, in_order = output, False
        if isinstance(activation, Sequence) and not isinstance(activation, str):
            n, (least, most) = len(activation), layers
            if not least <= n + 1 <= most:
                raise ValueError(
                    f"activation names {n} layers, as a net of depth {n + 1} has them, but the "
                    f"depth is from {least} to {most}: give a set to draw from"
                )
            if output is not None:
                raise ValueError("activation names every layer, the last too: leave out output")
            *hidden, last = [get_activation(f) for f in activation]
            layers, ends, in_order = (n + 1, n + 1), last, True
        elif activation is not None:
            hidden = rules_of(activation, ACTIVATIONS, get_activation)
            ends = output or activation
        pairs = suiting(ends, rules_of(loss, LOSSES, get_loss), own=output is None and not in_order)
        if not in_order:
            hidden = [f for f in hidden if not f.rows_sum_to_one]
        if layers[1] > 2 and not hidden:
            raise ValueError("softmax is for the output layer: name it as output='softmax'")
        return cls(layers, widths, pairs, hidden, in_order, real_dtypes(dtype))

    def draw(self, choose: Choose, sizes: Sequence[int] | None = None) -> dict[str, Any]:
        """Return the arguments of `MLP.init`, but for rng."""
        sizes = self.draw_sizes(choose) if sizes is None else sizes
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
        return self.draw(lambda choices: choices[0], sizes)


def as_range(value: Range, name: str, *, least: int) -> tuple[int, int]:
    """Return the least and the most that a number may be."""
    if not isinstance(value, tuple):
        return (as_int(value, name, least=least),) * 2
    if len(value) != 2:
        raise ValueError(f"{name} must be an integer or a pair (least, most), not {value!r}")
    low, high = (as_int(n, f"{name}[{i}]", least=least) for i, n in enumerate(value))
    if low > high:
        raise ValueError(f"{name} must be (least, most), in this order, not {value!r}")
    return low, high


def rules_of(given: Any, table: Mapping[str, T], get: Callable[[Any], T]) -> list[T]:
    """Return the rules to draw from: of a set, by name, so that the order is always the same."""
    if given is None:
        return list(table.values())
    if not isinstance(given, AbstractSet):
        return [get(given)]
    if not given:
        raise ValueError("a set to draw from is empty")
    return sorted(map(get, given), key=lambda rule: rule.name)


def real_dtypes(given: DTypes) -> list[np.dtype[Any]]:
    """Return the dtypes to draw from, float64 first."""
    try:
        dtypes = {as_dtype(d) for d in (given if isinstance(given, AbstractSet) else [given])}
    except ValueError:
        dtypes = set()
    if not dtypes or any(dtype.kind != "f" for dtype in dtypes):
        raise ValueError(f"dtype must be float64, float32 or a set of both, not {given!r}")
    return sorted(dtypes, key=str, reverse=True)


def suiting(output: Outputs | None, losses: Sequence[Loss], *, own: bool) -> list[tuple[Activation, Loss]]:
    """Return the outputs and losses that go together; `own`: or a loss with its own output."""
    outputs, pairs = rules_of(output, ACTIVATIONS, get_activation), []
    for loss in losses:
        fits = []
        for f in outputs:
            with suppress(ValueError):  # where the output leaves the domain of the loss
                check_pair(loss, f)
                fits.append(f)
        if own and not fits and loss.joined_output is not None:
            fits = [default_output(loss, outputs[0])]
        pairs += [(f, loss) for f in fits]
    if not pairs:
        check_pair(losses[0], outputs[0])
    return pairs
