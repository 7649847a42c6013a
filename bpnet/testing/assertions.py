"""`assert_backward`: somebody's own forward and backward pass, held against bpnet's on drawn nets.

What can be wrong is looked for in the order in which it would mislead: what the functions return
and what they change, the output, whether the gradient is the same twice, and then the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int, as_numbers
from bpnet.errors import GradientCheckFailed
from bpnet.gradcheck import check_gradient
from bpnet.gradcheck.claims import check_repeated, same_bits
from bpnet.gradcheck.structure import leaves, shape_hint
from bpnet.gradcheck.variants import in_words
from bpnet.network.parameters import FIRST, ByLayer, Parameters
from bpnet.rules.activations import ACTIVATIONS, Activation, softmax
from bpnet.rules.losses import Loss
from bpnet.testing.cases import Case, case
from bpnet.testing.strategies import BATCH, DEPTH, WIDTH, Plan, Range, as_range, cases_of
from bpnet.words import Words

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Forward = Callable[[list[Array], list[Array], Array], Any]
Backward = Callable[[list[Array], list[Array], Any, Array], Any]

FORMS = {"rows": "a row a sample", "columns": "a column a sample", "one": "one sample"}
REDUCTIONS = ("mean", "sum")
OUTPUT_TOLERANCE = {"float64": 1e-9, "float32": 1e-4}  # relative to the largest output, or to 1
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
        W and b are lists of arrays: ``W[0]`` is W², of shape (n_2, n_1).
    backward : callable
        ``backward(W, b, cache, y)`` returns (dW, db), the derivatives of E in lists like W and b,
        or in dicts whose keys number the layers.
    activation, output, loss
        What the functions compute, as in `MLP.init`.
    sizes, depth, width : optional
        Of the nets, as in `networks`: ``depth=3`` for functions of one hidden layer.
    m : int or (int, int)
        Samples in a batch; 1 if samples is "one".
    samples : {"rows", "columns", "one"}
        How x, y and a^L hold the samples: a row each, (m, n); a column each, (n, m), where each
        b is (n_l, 1); or as one sample, (n,), for functions that take one at a time.
    reduction : {"mean", "sum"}
        Of the samples' losses. Of a sum, both values in the report are divided by m.
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
    passes = Passes(forward, backward, samples, reduction, tolerance)
    try:
        found = None
        if max_examples > 1:
            found = smallest(passes, cases_of(plan, rows), max_examples - 1, seed)
        if found is None:  # the smallest hides a missing 1/m, and of few nets it may be all
            last = case(**plan.largest(), m=rows[1], seed=seed)
            finding = passes.examine(last)
            found = None if finding is None else (finding, last)
    except Exception as error:
        for hint in written_for(passes, plan, rows[1]):
            error.add_note(hint)
        raise
    if found is not None:
        # In the smallest net mistakes look alike: with two samples, a sum for a mean is twice it.
        large = (tried(passes, plan, rows[1], seed) for seed in range(LARGER))
        more = next((one for one in large if one and one[0].cause), None)
        hints = [] if found[0].cause else written_for(passes, plan, rows[1], found[0].text)
        raise GradientCheckFailed(Words(message(*found, more, hints)))


def smallest(
    passes: Passes, given: SearchStrategy[Case], max_examples: int, seed: int
) -> tuple[Finding, Case] | None:
    """Return what is wrong and the smallest case that Hypothesis finds it in, or None."""
    import hypothesis

    class Wrong(Exception):
        pass

    last: list[tuple[Finding, Case]] = []

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
        finding = passes.examine(case)
        if finding is not None:
            last[:] = [(finding, case)]
            raise Wrong

    try:
        run()
    except Wrong:
        return last[0]
    except hypothesis.errors.Flaky:
        if not last:  # what they raise is not always the same
            raise
        text = (
            "the functions give another result for the same net when called again: hold their "
            "random numbers, and let them keep nothing between calls"
        )
        return Finding(text), last[0][1]
    return None


def tried(passes: Passes, plan: Plan, m: int, seed: int = 0) -> tuple[Finding, Case] | None:
    """Return what is wrong in a large net, with no text if nothing is; None where they raise."""
    large = case(**plan.largest(), m=m, seed=seed)
    try:
        return passes.examine(large) or Finding(""), large
    except Exception:  # somebody's function, on a net that it may not be for
        return None


def written_for(passes: Passes, plan: Plan, m: int, text: str = "") -> list[str]:
    """Return which depth to pass, if the functions fit nets of some depths and not of others."""
    depths = range(plan.depth[0], plan.depth[1] + 1)
    found = {L: tried(passes, plan._replace(depth=(L, L)), m) for L in depths}
    fit = [L for L, one in found.items() if one and (one[0].report or not one[0].text)]
    if not fit or len(fit) < fit[-1] - fit[0] + 1 or len(fit) == len(depths):
        return []
    # What goes wrong in hidden layers goes well without any, and tells nothing.
    if fit == [2] and not text.startswith("forward's output"):
        return []
    depth = str(fit[0]) if len(fit) == 1 else f"({fit[0]}, {fit[-1]})"
    return [f"on nets of depth {depth} they fit: if they are written for these, pass depth={depth}"]


def message(finding: Finding, case: Case, more: tuple[Finding, Case] | None, hints: Sequence[str]) -> str:
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


class Finding(NamedTuple):
    """What is wrong with somebody's passes: a sentence, the likely cause, and a report."""

    text: str
    cause: str | None = None
    report: str = ""


class Misfit(Exception):
    """What a function returned does not fit, or it changed what it was given."""


@dataclass(frozen=True)
class Passes:
    """A forward and a backward pass, and the form in which they take samples."""

    forward: Forward
    backward: Backward
    samples: str  # one of FORMS
    reduction: str  # one of REDUCTIONS
    tolerance: float | None

    def examine(self, case: Case) -> Finding | None:
        """Return what is wrong on this case, or None."""
        try:
            a, gradient = self.run(case)
            wrong = wrong_output(case, a)
            if wrong:
                return wrong
            again = self.run(case)[1]
            with misfits():
                check_repeated([gradient, again], float(np.finfo(case.net.dtype).eps))
        except Misfit as misfit:
            return Finding(str(misfit))
        options: dict[str, Any] = {"gradient": gradient, "tolerance": self.tolerance}
        report = check_gradient(case.net, case.x, case.y, **options)
        if report.ok or report.worst is None:
            return None
        name = report.worst.name
        letter, l, rest = name[0], *name[2:].split("]", 1)
        in_lists = f"{letter}[{int(l) - FIRST}]{rest}"
        text = f"backward's gradient is wrong, most of all in {name}, in the lists {in_lists}"
        return Finding(text, report.cause, str(report))

    def run(self, case: Case) -> tuple[Array, Array]:
        """Return the output by rows, (m, n_L), and the gradient of θ, (P,), or raise Misfit."""
        before, mine = Arguments.of(case, self.samples), Arguments.of(case, self.samples)
        with noted("forward(W, b, x)", case):
            result = self.forward(mine.W, mine.b, mine.x)
        a, cache = two_of(result, "forward", "its output a^L and what backward needs", "a, cache")
        mine.check("forward", before)
        with misfits():
            a = as_numbers(a, "forward's output")
        if a.shape != before.y.shape:
            need = f"{before.y.shape}, {FORMS[self.samples]}{shape_hint(a.shape, before.y.shape)}"
            raise Misfit(f"forward's output has shape {a.shape}, but needs {need}")
        a = np.array(a.T if self.samples == "columns" else a).reshape(case.y.shape)
        with noted("backward(W, b, cache, y)", case):
            result = self.backward(mine.W, mine.b, cache, mine.y)
        mine.check("backward", before)
        dW, db = two_of(result, "backward", "the gradients of all W and of all b", "dW, db")
        gradient = Parameters(case.net.sizes, np.empty(case.net.theta.size))
        parts = (("W", dW, before.W, gradient.W), ("b", db, before.b, gradient.b))
        for name, given, like, views in parts:
            for l, array in zip(views, fitting(given, like, name), strict=True):
                views[l] = array.reshape(views[l].shape)
        return a, gradient.theta / (len(case.y) if self.reduction == "sum" else 1)


class Arguments(NamedTuple):
    """What the functions are given: copies, in their form."""

    W: list[Array]
    b: list[Array]
    x: Array
    y: Array

    @classmethod
    def of(cls, case: Case, samples: str) -> Arguments:
        """Return copies of a case's weights, batch and targets in this form."""
        W = [W_l.copy() for W_l in case.net.W.values()]
        b = [b_l.copy() for b_l in case.net.b.values()]
        x, y = case.x.copy(), case.y.copy()
        if samples == "columns":
            return cls(W, [b_l[:, None] for b_l in b], x.T.copy(), y.T.copy())
        return cls(W, b, x[0], y[0]) if samples == "one" else cls(W, b, x, y)

    def check(self, function: str, before: Arguments) -> None:
        """Raise Misfit if a function has changed one of them."""
        expected, mine = (
            dict(leaf for part in self._fields for leaf in leaves(getattr(of, part), part))
            for of in (before, self)
        )
        for name in {**expected, **mine}:
            old, new = expected.get(name), mine.get(name)
            if old is None or not isinstance(new, np.ndarray) or not same_bits(new, old):
                raise Misfit(
                    f"{function} changes {name}, which it is given: it must leave its arguments as "
                    "they are, and the update of the weights to its caller"
                )


@contextmanager
def noted(call: str, case: Case) -> Iterator[None]:
    """Add to an exception which call it was, in which case."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {call} of net, x, y = {case!r}")
        raise


@contextmanager
def misfits() -> Iterator[None]:
    """Raise as Misfit what a check of some function's result raises."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise Misfit(str(error)) from None


def two_of(result: Any, function: str, what: str, form: str) -> tuple[Any, Any]:
    """Return the two things that a function returned, or raise Misfit."""
    several = isinstance(result, (tuple, list))
    if several and len(result) == 2:
        return result[0], result[1]
    raise Misfit(
        f"{function} must return two things, {what}, as in 'return {form}', "
        f"but returned {type(result).__name__}{f' of {len(result)}' if several else ''}"
        f"{': is a return missing?' if result is None else ''}"
    )


def fitting(given: Any, like: list[Array], name: str) -> list[Array]:
    """Return the arrays of a gradient in the order of the layers, or raise Misfit."""
    what = f"backward's d{name}"
    if isinstance(given, Mapping):
        whole = all(isinstance(key, int) for key in given)
        keys = sorted(given) if whole else []
        if not whole or keys != [*range(min(keys, default=0), max(keys, default=-1) + 1)]:
            raise Misfit(
                f"{what} has the keys {', '.join(map(repr, given))}: return a list in the order of "
                "the layers, or a dict whose keys are consecutive numbers"
            )
        given = [given[key] for key in keys]
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise Misfit(f"{what} must be a list of arrays, one a layer, not {type(given).__name__}")
    if len(given) != len(like):
        each = f"{name} has length {len(like)}: it needs one array for each layer with weights"
        raise Misfit(f"{what} has length {len(given)}, but {each}")
    with misfits():
        arrays = [as_numbers(array, f"{what}[{i}]") for i, array in enumerate(given)]
    shapes, needed = [a.shape for a in arrays], [v.shape for v in like]
    for i, (shape, need) in enumerate(zip(shapes, needed, strict=True)):
        if shape != need:
            hint = shape_hint(shape, need)
            if shapes == needed[::-1]:
                hint = ": the list begins with the last layer, but must begin with layer 2"
            raise Misfit(f"{what}[{i}] has shape {shape}, but {name}[{i}] has {need}{hint}")
    return arrays


def wrong_output(case: Case, a: Array) -> Finding | None:
    """Return what is wrong about an output, (m, n_L), or None."""
    L, right = case.net.L, case.net.forward(case.x).a[case.net.L]
    if close(a, right):
        return None
    off = np.abs(a - right)
    s, i = np.unravel_index(int(np.argmax(np.where(np.isnan(off), np.inf, off))), a.shape)
    ours = f"the network's a[{L}][{s}, {i}] is {right[s, i]:.10g}"
    text = f"forward's output is wrong: output {i} of sample {s} is {a[s, i]:.10g}, but {ours}"
    with np.errstate(all="ignore"):
        fits = [mistake for mistake, other in other_outputs(case) if close(a, other)]
    return Finding(text, " or ".join(fits) or None)


def close(a: Array, right: Array) -> bool:
    """Whether two outputs are the same but for rounding."""
    allowed = OUTPUT_TOLERANCE[str(right.dtype)] * max(1.0, float(np.abs(right).max()))
    return bool(np.all(np.abs(a - right) <= allowed))


def other_outputs(case: Case) -> Iterator[tuple[str, Array]]:
    """Yield plain mistakes of a forward pass, and the output that each gives."""
    net, x, L = case.net, case.x, case.net.L
    without, turned = net.copy(), net.copy()
    for l, W in net.W.items():
        without.b[l] = 0 * net.b[l]
        turned.W[l] = W.T if W.shape == W.T.shape else W
    yield "the biases are left out", without.forward(x).a[L]
    yield "W is transposed", turned.forward(x).a[L]
    if net.activation[L].rows_sum_to_one:
        wrong = softmax(net.forward(x).z[L].T).T
        yield "softmax is taken over the samples, not over the outputs", wrong
    for f in ACTIVATIONS.values():
        for layers in {(L,), tuple(range(FIRST, L)), tuple(range(FIRST, L + 1))}:
            rules = {**net.activation, **dict.fromkeys(layers, f)}
            other = replace(net, activation=ByLayer("activation", FIRST, list(rules.values())))
            text = f"in {in_words(layers)} it computes {f.name}"
            if f.name == "identity":
                text = f"the activation is left out in {in_words(layers)}"
            yield text, other.forward(x).a[L]
