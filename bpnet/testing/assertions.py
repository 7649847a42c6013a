"""`assert_backward`, which grades somebody's backward pass on what the strategies draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from bpnet.checks import as_float, as_int
from bpnet.errors import GradientCheckFailed
from bpnet.rules.activations import Activation
from bpnet.rules.losses import Loss
from bpnet.testing.cases import Case, case
from bpnet.testing.grading import FORMS, REDUCTIONS, Backward, Finding, Forward, Passes
from bpnet.testing.strategies import BATCH, DEPTH, WIDTH, Plan, Range, as_range, cases_of
from bpnet.words import Words

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LARGER = 5  # larger nets that are tried for a more telling cause


def assert_backward(
    forward: Forward,
    backward: Backward,
    *,
    activation: str | Activation | Sequence[str | Activation] = "sigmoid",
    output: str | Activation | None = None,
    loss: str | Loss = "half_squared_error",
    sizes: Sequence[Range] | None = None,
    depth: Range = DEPTH,
    width: Range = WIDTH,
    m: Range = BATCH,
    samples: str = "rows",
    reduction: str = "mean",
    dtype: DTypeLike = np.float64,
    tolerance: float | None = None,
    max_examples: int = 100,
    seed: int = 0,
) -> None:
    """Assert that a forward and a backward pass are right, on many generated networks.

    Parameters
    ----------
    forward : callable
        ``forward(W, b, x)`` returns (a, cache): the output a^L, and whatever `backward` needs.
        W and b are lists of arrays, W², ..., W^L and b², ..., b^L: ``W[0]`` is W², of shape
        (n_2, n_1).
    backward : callable
        ``backward(W, b, cache, y)`` returns (dW, db), the derivatives of E in lists like W and b,
        or in dicts whose keys number the layers.
    activation, output, loss
        What the functions compute, as in `MLP.init`. Another loss than the package's is given as
        a `Loss`.
    sizes, depth, width : optional
        Of the nets, as in `networks`: ``depth=3`` for functions of one hidden layer.
    m : int or (int, int)
        Samples in a batch; 1 if samples is "one".
    samples : {"rows", "columns", "one"}
        How x, y and a^L hold the samples: a row each, (m, n); a column each, (n, m), where each
        b is (n_l, 1); or as one sample, (n,), for functions that take one at a time.
    reduction : {"mean", "sum"}
        Whether E is the mean of the samples' losses or their sum. Of a sum, both values in the
        report are divided by m.
    dtype, tolerance : optional
        As in `MLP.init` and `check_gradient`.
    max_examples, seed : int
        How many networks to try; they are the same in every run, others with another seed.

    Raises
    ------
    GradientCheckFailed
        An AssertionError, with the smallest net found in which something is wrong: what the
        functions return or change, the output, or the gradient, with the name of the coordinate,
        both values and the likely cause. What the functions raise comes with notes of the net and
        of the depth that they look written for.
    ImportError, TypeError, ValueError
        If Hypothesis is not installed, or an argument is wrong.

    Examples
    --------
    >>> from bpnet.testing import assert_backward
    >>> def forward(W, b, x):  # one linear layer
    ...     return x @ W[0].T + b[0], x
    >>> def backward(W, b, x, y):
    ...     delta = (x @ W[0].T + b[0] - y) / len(x)
    ...     return [delta.T @ x], [delta.sum(axis=0)]
    >>> assert_backward(forward, backward, depth=2, activation="identity")
    """
    for name, value, names in (("samples", samples, FORMS), ("reduction", reduction, REDUCTIONS)):
        if value not in names:
            raise ValueError(f"{name} must be one of {', '.join(names)}, not {value!r}")
    for name, rule in (("activation", activation), ("output", output), ("loss", loss)):
        if isinstance(rule, (set, frozenset)):
            raise TypeError(f"{name} is a set, but the functions compute one: name it")
    if tolerance is not None:
        as_float(tolerance, "tolerance", above=0, below=1)
    max_examples = as_int(max_examples, "max_examples", least=1)
    seed = as_int(seed, "seed", least=0)
    rows = (1, 1) if samples == "one" else as_range(m, "m", least=1)
    plan = Plan.of(sizes, depth, width, activation, output, loss, dtype)
    passes = Passes(forward, backward, samples, reduction)
    try:
        found = None
        if max_examples > 1:
            found = smallest(passes, cases_of(plan, rows), tolerance, max_examples - 1, seed)
        if found is None:  # the smallest hides a missing 1/m, and of few nets it may be all
            last = case(**plan.largest(), m=rows[1], seed=seed)
            finding = passes.examine(last, tolerance)
            found = None if finding is None else (finding, last)
    except Exception as error:
        for hint in written_for(passes, plan, rows[1]):
            error.add_note(hint)
        raise
    if found is not None:
        # In the smallest net mistakes look alike: with two samples, a sum for a mean is twice it.
        large = (tried(passes, plan, rows[1], seed, tolerance) for seed in range(LARGER))
        more = next((one for one in large if one and one[0].cause), None)
        hints = [] if found[0].cause else written_for(passes, plan, rows[1], found[0].text)
        raise GradientCheckFailed(Words(message(*found, more, hints)))


def smallest(
    passes: Passes,
    given: SearchStrategy[Case],
    tolerance: float | None,
    max_examples: int,
    seed: int,
) -> tuple[Finding, Case] | None:
    """Return what is wrong and the smallest case that Hypothesis finds it in, or None."""
    import hypothesis

    class Wrong(Exception):
        pass

    last: list[Case] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(given)
    def run(case: Case) -> None:
        finding = passes.examine(case, tolerance)
        if finding is not None:
            last[:] = [case]
            raise Wrong(finding, case)

    try:
        run()
    except Wrong as wrong:
        finding, case = wrong.args
        return finding, case
    except hypothesis.errors.Flaky:
        if not last:  # what they raise is not always the same
            raise
        text = (
            "the functions give another result for the same net when called again: hold their "
            "random numbers, and let them keep nothing between calls"
        )
        return Finding(text), last[0]
    return None


def tried(
    passes: Passes, plan: Plan, m: int, seed: int = 0, tolerance: float | None = None
) -> tuple[Finding, Case] | None:
    """Return what is wrong in a large net, with no text if nothing is; None where they raise."""
    large = case(**plan.largest(), m=m, seed=seed)
    try:
        return passes.examine(large, tolerance) or Finding(""), large
    except Exception:  # somebody's function, on a net that it may not be for
        return None


def written_for(passes: Passes, plan: Plan, m: int, text: str = "") -> list[str]:
    """Return which depth to pass, if the functions fit nets of some depths and not of others.

    What goes wrong in hidden layers goes well without any: where it is not the output that is
    wrong, as the text says, this tells nothing.
    """
    depths = range(plan.depth[0], plan.depth[1] + 1)
    found = {L: tried(passes, plan._replace(depth=(L, L)), m) for L in depths}
    fit = [L for L, one in found.items() if one and (one[0].report or not one[0].text)]
    if not fit or len(fit) < fit[-1] - fit[0] + 1 or len(fit) == len(depths):
        return []
    if fit == [2] and not text.startswith("forward's output"):
        return []
    depth = str(fit[0]) if len(fit) == 1 else f"({fit[0]}, {fit[-1]})"
    return [f"on nets of depth {depth} they fit: if they are written for these, pass depth={depth}"]


def message(
    finding: Finding, case: Case, more: tuple[Finding, Case] | None, hints: Sequence[str]
) -> str:
    """Return the message."""
    lines = [finding.text, "", "the smallest net found that shows it:", f"  net, x, y = {case!r}"]
    if finding.report:
        lines += ["", finding.report]
    elif finding.cause:
        lines += [f"  cause     {finding.cause}"]
    if more is not None and more[0].cause != finding.cause:
        lines += ["", "and a larger one:", f"  net, x, y = {more[1]!r}"]
        lines += [f"  cause     {more[0].cause}"]
    lines += [line for hint in hints for line in ("", hint)]
    return "\n".join(lines)
