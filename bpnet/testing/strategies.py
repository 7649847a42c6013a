"""The strategies of `bpnet.testing`: what a plan allows, drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bpnet.arrays import Array
from bpnet.mlp import MLP
from bpnet.testing.cases import Case, case, draw_inputs, draw_targets, draw_theta
from bpnet.testing.plans import (
    BATCH,
    DEPTH,
    DTYPES,
    WIDTH,
    Activations,
    C,
    Choose,
    DTypes,
    Losses,
    Outputs,
    Plan,
    Range,
    as_range,
)

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

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

    Layers that follow each other have unequal widths, most of the time; most nets have two or
    more outputs; weights and biases are unequal and of both signs, and no x within ±2 saturates
    a neuron.

    Parameters
    ----------
    sizes : sequence of int or (int, int), optional
        Neurons in each layer, each a number or a range of them, in place of depth and width.
    depth : int or (int, int)
        L, the number of layers, the input layer counted.
    width : int or (int, int)
        Neurons in a layer.
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

    Raises
    ------
    ImportError
        If Hypothesis is not installed.
    TypeError, ValueError
        If an argument is of the wrong kind, a range is empty or reaches below what there is, a
        name is unknown, or no output and loss can go together.
    """
    need_hypothesis()
    from hypothesis import strategies as st

    plan = Plan.of(sizes, depth, width, activation, output, loss, dtype)

    @st.composite
    def drawn(draw: DrawFn) -> MLP:
        net = MLP.init(**plan.draw(chooser(draw)), rng=0)
        draw_theta(net, draw(st.integers(0, SEEDS - 1)))
        return net

    return drawn()


def batches(net: MLP, m: Range = BATCH) -> SearchStrategy[Array]:
    """Return a strategy for the inputs of a net: x, (m, n_1), within ±2.

    Parameters
    ----------
    net : MLP
    m : int or (int, int)
        Samples.
    """
    return rows_of(lambda rows, seed: draw_inputs(net, rows, seed), m)


def targets(net: MLP, m: Range) -> SearchStrategy[Array]:
    """Return a strategy for targets y, (m, n_L), in the domain of a net's loss and at its edge.

    Parameters
    ----------
    net : MLP
    m : int or (int, int)
        Samples.
    """
    loss, n = net.loss_function, net.sizes[-1]
    return rows_of(lambda rows, seed: draw_targets(loss, (rows, n), seed).astype(net.dtype), m)


def rows_of(draw: Callable[[int, int], Array], m: Range) -> SearchStrategy[Array]:
    """Return a strategy for what `draw` makes of a number of rows and a seed."""
    need_hypothesis()
    from hypothesis import strategies as st

    least, most = as_range(m, "m", least=1)
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
    """Return a strategy for a network with a batch and its targets: ``net, x, y = case``.

    A failing example is printed as the call of `case` that makes it again.

    Parameters
    ----------
    sizes, depth, width, activation, output, loss, dtype
        As in `networks`.
    m : int or (int, int)
        Samples.
    """
    plan = Plan.of(sizes, depth, width, activation, output, loss, dtype)
    return drawn_from(plan, as_range(m, "m", least=1))


def drawn_from(plan: Plan, rows: tuple[int, int]) -> SearchStrategy[Case]:
    """Return the strategy for the cases of a plan, with so many samples."""
    need_hypothesis()
    from hypothesis import strategies as st

    @st.composite
    def drawn(draw: DrawFn) -> Case:
        choose = chooser(draw)
        parts, m = plan.draw(choose), choose(range(rows[0], rows[1] + 1))
        return case(**parts, m=m, seed=draw(st.integers(0, SEEDS - 1)))

    return drawn()


def chooser(draw: DrawFn) -> Choose:
    """Return how Hypothesis chooses one of several; the first is the simplest."""
    from hypothesis import strategies as st

    def choose(choices: Sequence[C]) -> C:
        return draw(st.sampled_from(choices)) if len(choices) > 1 else choices[0]

    return choose


def need_hypothesis() -> None:
    """Raise ImportError, with what to install, if Hypothesis is not there."""
    if find_spec("hypothesis") is None:
        raise ImportError("bpnet.testing needs Hypothesis: pip install 'bpnet-numpy[testing]'")
