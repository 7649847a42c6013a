"""What the pattern of a wrong gradient points to.

A pattern is named only where it explains every wrong coordinate, and leaves every right one right;
where two explain them alike, both are named; where none does, nothing is said. To explain a
coordinate is to account for 99.9 % of the difference between analytic and numeric there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck.probes import NetProbe, Probe
from bpnet.gradcheck.report import GradientReport, few
from bpnet.gradcheck.stated import wrong_rule
from bpnet.gradcheck.structure import Block, Layout
from bpnet.gradcheck.variants import Formulas, Variants, other_slopes, updated, variants
from bpnet.words import Words

SAME = 1e-4  # relative, between a factor and the number it is named for
UNEXPLAINED = 1e-3  # of a difference, at most
Causes = Iterator[str]  # what a pattern says, if it holds
Named = list[tuple[float, str]]  # a factor, and what it comes from
HALVES: Named = [(2.0, "a half is forgotten"), (0.5, "a half too many")]


def with_cause(report: GradientReport, probe: Probe, analytic: Array, *, own: bool = False) -> GradientReport:
    """Return the report with its likely cause; analytic is all of the claim, checked or not."""
    if report.ok:
        return report
    evidence = Evidence.of(report, analytic)
    if isinstance(probe, NetProbe):
        causes = causes_in_net(evidence, probe, own=own)
    else:
        causes = causes_in_function(evidence, probe.theta)
    with np.errstate(all="ignore"):
        cause = next(itertools.chain(plain(report, analytic), causes), None)
    return replace(report, cause=cause and Words(cause))


def causes_in_net(evidence: Evidence, probe: NetProbe, *, own: bool) -> Causes:
    """Yield what each pattern says of a net's gradient, from the plain to the particular."""
    named = factors_of_net(probe)
    if own and (text := wrong_rule(probe)):
        factor = next(constant(evidence, named), None)
        yield f"{text}; the gradient is {factor}" if factor else text
    yield from few_or_zero(evidence)
    yield from single_precision(evidence, probe)
    yield from constant(evidence, named)
    yield from updated_theta(evidence, probe.theta)
    yield from mistakes(evidence, probe, named)
    yield from constant(evidence, None)
    yield from moved_blocks(evidence)
    yield from factor_by_layer(evidence, len(probe.y))
    yield from where_in_net(evidence)


def causes_in_function(evidence: Evidence, theta: Array) -> Causes:
    """Yield what each pattern says of a function's gradient at θ."""
    yield from few_or_zero(evidence)
    yield from constant(evidence, [(-1.0, "the sign"), *HALVES], whole=True)
    yield from updated_theta(evidence, theta)
    yield from constant(evidence, None)
    yield from moved_blocks(evidence)
    blocks = evidence.wrong_blocks
    if len(blocks) == 1 and evidence.right_blocks:
        yield f"one block only: {blocks[0].label}"


@dataclass(frozen=True)
class Evidence:
    """The claimed and the measured gradient over all P coordinates, each an array (P,)."""

    layout: Layout
    analytic: Array
    numeric: Array  # NaN where nothing was measured, or on a kink
    wrong: Array
    slack: Array  # by how much two gradients may differ and count as the same
    floor: Array  # the part of it that is rounding

    @classmethod
    def of(cls, report: GradientReport, analytic: Array) -> Evidence:
        """Return the evidence in a report."""
        slack = 2 * np.maximum(report.tolerance * report.largest, report.rounding)
        k, empty = report.k[~report.kink], np.zeros(analytic.size)
        found = [empty * np.nan, empty > 0, empty, empty.copy()]
        given = report.numeric, report.wrong, slack, report.rounding
        for full, values in zip(found, given, strict=True):
            full[k] = values[~report.kink]
        return cls(report.layout, analytic, *found)

    @cached_property
    def measured(self) -> Array:
        """Which coordinates were compared."""
        return np.isfinite(self.numeric)

    @cached_property
    def matter(self) -> Array:
        """Which compared coordinates differ from 0 by more than rounding."""
        is_large: Array = self.measured & (np.abs(self.numeric) > 10 * self.floor)
        return is_large

    def holding(self, some: Array) -> list[Block]:
        """Return the blocks that hold some of these coordinates."""
        return [block for block in self.layout.blocks if some[block.slice].any()]

    @cached_property
    def wrong_blocks(self) -> list[Block]:
        """The blocks that hold wrong coordinates."""
        return self.holding(self.wrong)

    @property
    def right_blocks(self) -> list[Block]:
        """The blocks that matter and hold none."""
        return [block for block in self.holding(self.matter) if block not in self.wrong_blocks]

    def explained(self, candidate: Array, where: Array | None = None) -> bool:
        """Whether a wrong gradient is the claimed one, at all compared coordinates or at some."""
        here = self.measured if where is None else where
        difference, left = np.abs(self.analytic - self.numeric), np.abs(self.analytic - candidate)
        allowed = UNEXPLAINED * difference * self.wrong + self.slack
        # Where the slack is all there is to explain, nothing is explained by being within it.
        most = self.wrong & here
        enough = np.linalg.norm(left[most]) <= 0.1 * np.linalg.norm(difference[most])
        return bool(enough and np.all(left[here] <= allowed[here]))

    def inside(self, blocks: Iterable[Block]) -> Array:
        """Which coordinates belong to some blocks."""
        found = np.zeros(self.wrong.size, bool)
        for block in blocks:
            found[block.slice] = True
        return found

    def in_layer(self, l: int) -> Array:
        """Which coordinates belong to layer l."""
        return self.inside(block for block in self.layout.blocks if block.layer == l)

    def mostly_wrong(self, blocks: Iterable[Block]) -> bool:
        """Whether at least half of each block is wrong: else it is not the blocks that are."""
        parts = [block.slice for block in blocks]
        return all(2 * self.wrong[part].sum() >= self.matter[part].sum() for part in parts)


def plain(report: GradientReport, analytic: Array) -> Causes:
    """Name what needs no comparison: an input that was changed, a number that is not finite."""
    if report.changed:
        yield f"an input is changed: {', '.join(report.changed)}"
    for k in np.flatnonzero(~np.isfinite(analytic)):
        yield f"the gradient is not finite: {report.layout.name(int(k))} is {analytic[k]}"


def few_or_zero(evidence: Evidence) -> Causes:
    """Name the only wrong coordinate, or what is 0 and should not be."""
    wrong, blocks = np.flatnonzero(evidence.wrong), evidence.wrong_blocks
    if len(wrong) == 1 and evidence.matter.sum() > 1:
        yield f"one coordinate only: {evidence.layout.name(int(wrong[0]))}"
    if not np.any(evidence.analytic):
        yield "the gradient is 0 everywhere"
    if not np.any(evidence.analytic[evidence.inside(blocks)]):
        if blocks == [block for block in evidence.holding(evidence.matter) if block.is_bias]:
            yield "the biases are left out: every ∂E/∂b is 0"
        yield f"left out: the gradient of {names(blocks)} is 0"


def single_precision(evidence: Evidence, probe: NetProbe) -> Causes:
    """Say that a gradient is as exact as float32 is; of a net in float32 it would not be wrong."""
    bound = probe.rounding("central", np.dtype(np.float32)).gradient[evidence.wrong]
    claim, right = evidence.analytic[evidence.wrong], evidence.numeric[evidence.wrong]
    off = np.abs(claim - right)
    small = np.linalg.norm(off) <= UNEXPLAINED * np.linalg.norm(right)
    whole = evidence.mostly_wrong(evidence.holding(evidence.matter))
    if len(off) > 1 and small and not np.any(off > bound):
        if np.all(claim == claim.astype(np.float32)):
            yield "the gradient is in float32, and off by what that rounds"
        # So small a mistake would be the same everywhere, or in few places.
        elif whole and factor_of(evidence, evidence.wrong) is None:
            yield "off by no more than float32 rounds: is a part of it computed in float32?"


def updated_theta(evidence: Evidence, theta: Array) -> Causes:
    """Say that it is no gradient, but θ after a step along it."""
    known = evidence.measured
    step, gradient = (theta - evidence.analytic)[known], evidence.numeric[known]
    rate = fitted(step, gradient)
    left = np.linalg.norm(step - rate * gradient)
    if known.sum() < 3 or not left <= UNEXPLAINED * abs(rate) * np.linalg.norm(gradient):
        return
    if evidence.explained(theta - rate * evidence.numeric):  # else θ is lost beside the gradient
        update = f"θ {'-' if rate > 0 else '+'} η ∂E/∂θ with η = {abs(rate):.5g}"
        what = f"θ after the update, {update}" if rate else "θ itself"
        yield f"it is {what}, not the gradient"


def constant(evidence: Evidence, named: Named | None, *, whole: bool = False) -> Causes:
    """Name the one factor of what is wrong: if it is `named`, or `whole`, or with None any."""
    factor = factor_of(evidence, evidence.wrong)
    if factor is None:
        return
    text, meanings = f"{scope(evidence)} {factor:.6g} times the derivative", meaning(factor, named)
    size = max(abs(factor), 1 / abs(factor))
    n = round(size)
    if whole and n > 1 and abs(size - n) <= SAME * n:
        wrong, meant = ("sum", "mean") if abs(factor) > 1 else ("mean", "sum")
        meanings.append(f"a {wrong} over {n} where their {meant} is meant")
    if meanings:
        yield f"{text}: {' or '.join(meanings)}"
    elif named is None:
        yield text


def factor_of(evidence: Evidence, where: Array) -> float | None:
    """Return analytic / numeric if it is the same everywhere there, in two places at least."""
    analytic, numeric = evidence.analytic[where], evidence.numeric[where]
    if (where & evidence.matter).sum() < 2:
        return None
    factor = fitted(analytic, numeric)
    fits = evidence.explained(factor * evidence.numeric, where)
    return factor if fits and abs(factor) > SAME else None


def fitted(left: Array, right: Array) -> float:
    """Return the factor by which the right comes closest to the left; NaN if there is none."""
    return float(np.divide(left @ right, right @ right))


def meaning(factor: float, named: Named | None) -> list[str]:
    """Return what a factor may come from, with the sign besides where that is wrong too."""
    named = named or []
    signs = [(-n, f"the sign, and {text}") for n, text in named if n > 0]
    return [text for n, text in named + signs if abs(factor - n) <= SAME * abs(n)]


def factors_of_net(probe: NetProbe) -> Named:
    """Return the factors that a batch and a number of outputs suggest."""
    m, n, weights = len(probe.y), probe.net.sizes[-1], probe.sample_weight
    many, wide = m > 1, n > 1
    rows: list[tuple[bool, float, str]] = [
        (True, -1.0, "the sign"),
        (many, m, f"a sum over the m = {m} samples where their mean is meant"),
        (many, 1 / m, f"1/m too often, with m = {m} samples"),
        (wide, n, f"a sum over the n_L = {n} outputs where their mean is meant"),
        (wide, 1 / n, f"a mean over the n_L = {n} outputs where their sum is meant"),
        (many and wide, m * n, f"m n_L = {m} · {n}: a sum where a mean over both is meant"),
        (many and wide, 1 / (m * n), f"1/(m n_L) = 1/({m} · {n}) too often"),
    ]
    if weights is not None:
        text = "the sum of the sample weights, by which was not divided"
        rows += [(True, float(np.sum(weights)), text)]
    return [(factor, text) for told, factor, text in rows if told] + HALVES


def mistakes(evidence: Evidence, probe: NetProbe, named: Named) -> Causes:
    """Name the usual mistakes in the formulas that explain the gradient, alone or with a factor."""
    right, measured = Formulas(probe).gradient(), evidence.measured
    off = np.abs(right - evidence.numeric)[measured]
    if np.any(off > evidence.slack[measured]) or evidence.explained(right):
        return  # the measurement does not confirm the formulas: nothing can be said by them
    kinds = variants(probe)
    # One factor in all of layer L-1 says nothing about a learning rate: any would fit it.
    if factor_of(evidence, evidence.wrong & evidence.in_layer(probe.net.L - 1)) is None:
        kinds.append(updated(probe, evidence.analytic, measured))
    for some in (kinds, [other_slopes(probe)]):
        found = [first for kind in some if (first := explaining(evidence, kind, named))]
        alone = [text for text, factor in found if not factor]
        if found:
            texts = alone or [f"{text}, and {more}" for text, more in found]
            yield "; or ".join(dict.fromkeys(texts))


def explaining(evidence: Evidence, kind: Variants, named: Named) -> tuple[str, str] | None:
    """Return the first of a kind that explains the gradient, and what its factor comes from."""
    with_factor = None
    for text, candidate in kind:
        if evidence.explained(candidate):
            return text, ""
        factor = fitted(evidence.analytic[evidence.measured], candidate[evidence.measured])
        meanings = meaning(factor, named)
        if meanings and with_factor is None and evidence.explained(factor * candidate):
            with_factor = text, f"{factor:.6g} times: {' or '.join(meanings)}"
    return with_factor


def moved_blocks(evidence: Evidence) -> Causes:
    """Name the blocks that are transposed, or hold what belongs into another one."""
    found = [moved(evidence, block) for block in evidence.wrong_blocks]
    if all(found):
        yield "; ".join(text for text in found if text)


def moved(evidence: Evidence, block: Block) -> str | None:
    """Say what a block holds instead, if all of it is known and two numbers of it are wrong."""
    where, numeric, found = evidence.inside([block]), evidence.numeric, []
    if len(block.shape) == 2:
        turned = numeric[block.slice].reshape(block.shape).T.ravel()
        found += [(f"{block.label} is transposed", turned)]
    for other in evidence.layout.blocks:
        if other is not block and other.size == block.size:
            text = f"{block.label} holds the gradient of {other.label}"
            found += [(text, numeric[other.slice])]
    if evidence.wrong[where].sum() < 2 or not evidence.measured[where].all():
        return None
    for text, numbers in found:
        candidate = numeric.copy()
        candidate[where] = numbers
        if np.isfinite(numbers).all() and evidence.explained(candidate, where):
            return text
    return None


def factor_by_layer(evidence: Evidence, m: int) -> Causes:
    """Name the factors, if every layer has one of its own."""
    layers = sorted({block.layer for block in evidence.wrong_blocks if block.layer}, reverse=True)
    factors = [factor_of(evidence, evidence.wrong & evidence.in_layer(l)) for l in layers]
    if len(layers) < 2 or None in factors:
        return
    each = ", ".join(f"{r:.6g} in layer {l}" for r, l in zip(factors, layers, strict=True))
    ratios = [below / above for above, below in itertools.pairwise(r for r in factors if r)]
    again = m > 1 and all(abs(ratio * m - 1) <= SAME for ratio in ratios)
    more = ": 1/m is taken again in every layer" if again else ""
    yield f"each layer has a factor of its own, {each}{more}"


def where_in_net(evidence: Evidence) -> Causes:
    """Say where the wrong coordinates are, if that is in some of the layers only."""
    blocks, right = evidence.wrong_blocks, evidence.right_blocks
    wrong_layers = sorted({block.layer or 0 for block in blocks})
    right_layers = sorted({block.layer or 0 for block in right} - set(wrong_layers))
    if evidence.mostly_wrong(blocks) and right:
        if all(block.is_bias for block in blocks):
            yield f"the weights are right and the biases wrong, in {names(blocks)}"
        if not any(block.is_bias for block in blocks) and any(block.is_bias for block in right):
            yield f"the biases are right, and so δ; the weights are wrong, in {names(blocks)}"
        if len(wrong_layers) > 1 and right_layers and right_layers[0] > wrong_layers[-1]:
            l, L = right_layers[0], evidence.layout.blocks[-1].layer
            above = "at the output" if l == L else f"in layers {l}..{L}"
            delta = f"δ of layer {wrong_layers[-1]}, (W^{{l+1}})ᵀ δ^{{l+1}} ⊙ f'(z^l)"
            yield f"right {above} and wrong below: look at {delta}"
    if len(wrong_layers) == 1 and right_layers:
        yield f"one layer only: layer {wrong_layers[0]}"


def scope(evidence: Evidence) -> str:
    """Say where the wrong coordinates are: everywhere, in which blocks, or how many of them."""
    blocks, right = evidence.wrong_blocks, evidence.matter & ~evidence.wrong
    if not right.any():
        return "everywhere"
    if not np.any(right & evidence.inside(blocks)):
        return f"in {names(blocks)}"
    return f"in {int(evidence.wrong.sum()):,} coordinates of {names(blocks)}"


def names(blocks: Sequence[Block]) -> str:
    """Return the blocks' names, a few of them."""
    return few([block.label for block in blocks])
