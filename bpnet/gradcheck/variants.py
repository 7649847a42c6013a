"""Gradients as they come out where one part of the formulas is wrong.

`gradient` is the backward pass once more, by the formulas, with parts that can be exchanged:

    δ^L = ∂E/∂a^L ⊙ f'(z^L)               the part "output", with "slope"
    δ^l = (W^{l+1})ᵀ δ^{l+1} ⊙ f'(z^l)    the parts "back" and "slope"
    ∂E/∂W^l = δ^l (a^{l-1})ᵀ              the part "fed"

`variants` goes through the usual mistakes. `updated` is the one with a number to find out, the
learning rate of the update that came too early.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck.probes import NetProbe
from bpnet.network.parameters import FIRST, Parameters
from bpnet.rules.activations import ACTIVATIONS, Activation

Slope = Callable[[int, Array], Array]  # (l, g): δ^l from g = ∂E/∂a^l
Back = Callable[[int, Array], Array]  # (l, δ^{l+1}): ∂E/∂a^l
Fed = Callable[[int], Array]  # l: what ∂E/∂W^{l+1} takes for a^l
Variants = Iterator[tuple[str, Array]]  # what is wrong, and the gradient that this gives


class Formulas:
    """The formulas of a pass, and their parts."""

    def __init__(self, probe: NetProbe) -> None:
        self.probe, self.net, self.cache = probe, probe.net, probe.cache
        self.y, self.shares, self.L = probe.y, probe.shares, probe.net.L
        self.f, self.loss = self.net.activation, self.net.loss_function
        self.joined = self.loss.joins(self.f[self.L])  # whether δ^L = a - y

    def slope(self, l: int, g: Array) -> Array:
        """Return g ⊙ f'(z^l)."""
        return self.f[l].backward(g, self.cache.z[l], self.cache.a[l])

    def back(self, l: int, delta: Array) -> Array:
        """Return (W^{l+1})ᵀ δ^{l+1}."""
        return delta @ self.net.W[l + 1]

    def fed(self, l: int) -> Array:
        """Return a^l, as the next layer reads it."""
        return self.cache.fed[l]

    def output(self, slope: Slope) -> Array:
        """Return δ^L of each sample's loss."""
        if self.joined and slope == self.slope:
            return self.cache.a[self.L] - self.y
        return slope(self.L, self.loss.dE(self.cache.a[self.L], self.y))

    def gradient(
        self, *, output: Array | None = None, slope: Slope | None = None, back: Back | None = None,
        fed: Fed | None = None, shares: Array | None = None, mask: bool = True,
    ) -> Array:  # fmt: skip
        """Return ∂E/∂θ, (P,), with the given parts in place of the right ones."""
        slope, back, fed = slope or self.slope, back or self.back, fed or self.fed
        result = Parameters(self.net.sizes, np.empty(self.net.theta.size))
        delta = self.output(self.slope) if output is None else output
        delta = delta * (self.shares if shares is None else shares)
        for l in range(self.L, FIRST - 1, -1):
            result.W[l] = delta.T @ fed(l - 1)
            result.b[l] = delta.sum(axis=0)
            if l > FIRST:
                g, kept = back(l - 1, delta), self.cache.mask[l - 1]
                delta = slope(l - 1, g if kept is None or not mask else g * kept)
        return result.theta

    def same_width(self, l: int, other: int) -> bool:
        """Whether both layers exist and have as many neurons."""
        sizes = self.net.sizes
        return 1 <= other <= self.L and sizes[l - 1] == sizes[other - 1]

    def with_slope(self, wrong: Slope, tell: Callable[[list[int]], str]) -> Variants:
        """Yield the gradients with this slope in one layer, all hidden ones, all, where told."""
        hidden = list(range(FIRST, self.L))
        general = not self.joined  # else there is no f' at the output that could be wrong
        sets = [[l] for l in hidden + [self.L] * general]
        sets += [hidden] * (len(hidden) > 1)
        sets += [[*hidden, self.L]] * (general and bool(hidden))
        for layers in filter(tell, sets):

            def slope(l: int, g: Array, layers: list[int] = layers) -> Array:
                return wrong(l, g) if l in layers else self.slope(l, g)

            output = self.output(slope) if self.L in layers else None
            yield tell(layers), self.gradient(output=output, slope=slope)


def variants(probe: NetProbe) -> list[Variants]:
    """Return the usual mistakes, each kind by itself, the special case before the general."""
    formulas = Formulas(probe)
    single = [*outputs(formulas), *products(formulas)]
    return [*slopes(formulas), *(iter([one]) for one in single), samples(formulas)]


def slopes(formulas: Formulas) -> list[Variants]:
    """Return what comes out where f' is wrong in one layer, in all hidden ones, in all."""
    z, a, f = formulas.cache.z, formulas.cache.a, formulas.f

    def shifted(by: int) -> Slope:
        def slope(l: int, g: Array) -> Array:
            if l + by < FIRST or not formulas.same_width(l, l + by):
                return formulas.slope(l, g)
            return g * f[l].df(z[l + by], a[l + by])

        return slope

    kinds: list[tuple[str, Slope]] = [
        ("f' is missing in {}", lambda l, g: g),
        ("f' is wrong in {}: its formula takes a = f(z), and was given z",
         lambda l, g: g * f[l].df(z[l], z[l])),
        ("f' is wrong in {}: it takes z, and was given a = f(z)",
         lambda l, g: g * f[l].df(a[l], f[l].f(a[l]))),
        ("f' is taken twice in {}", lambda l, g: formulas.slope(l, formulas.slope(l, g))),
        ("f' is wrong in {}: it was given z of the layer after", shifted(1)),
        ("f' is wrong in {}: it was given z of the layer before", shifted(-1)),
    ]  # fmt: skip

    def told(text: str, wrong: Slope) -> Variants:
        return formulas.with_slope(wrong, lambda layers: text.format(in_words(layers)))

    return [told(*kind) for kind in kinds]


def other_slopes(probe: NetProbe) -> Variants:
    """Yield what comes out where f' is that of another activation of the table."""
    formulas = Formulas(probe)
    z, a, own = formulas.cache.z, formulas.cache.a, formulas.f
    for f in ACTIVATIONS.values():

        def tell(layers: list[int], f: Activation = f) -> str:
            where = [l for l in layers if own[l] is not f]
            names = ", ".join(dict.fromkeys(own[l].name for l in where))
            text = f"f' is wrong in {in_words(where)}: it is {f.name}'s, not {names}'s"
            return text if where else ""

        def of_own_a(l: int, g: Array, f: Activation = f) -> Array:
            return g * f.df(z[l], a[l])

        def of_its_a(l: int, g: Array, f: Activation = f) -> Array:
            return g * f.df(z[l], f.f(z[l]))

        if f.vjp is None and f.name != "identity":  # whose f' is 1, and so missing
            yield from formulas.with_slope(of_own_a, tell)
            yield from formulas.with_slope(of_its_a, tell)


def in_words(layers: Sequence[int]) -> str:
    """Return the layers in words."""
    return f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"


def outputs(formulas: Formulas) -> Variants:
    """Yield what comes out where δ^L is wrong in another way than by f'."""
    L, y, loss, gradient = formulas.L, formulas.y, formulas.loss, formulas.gradient
    f, z, a = formulas.f[L], formulas.cache.z[L], formulas.cache.a[L]
    if f.vjp is not None:
        text = f"{f.name}'s derivative is taken as a (1 - a) only: ∂a_i/∂z_j for i ≠ j is forgotten"
        yield text, gradient(output=loss.dE(a, y) * f.df(z, a))
    if formulas.joined:
        text = f"there is an f' too many at the output: with {f.name} and {loss.name}, δ^L is a - y"
        yield text, gradient(output=(a - y) * f.df(z, a))
    elif not np.array_equal(loss.dE(a, y), a - y):  # else it is f' that is missing
        text = f"δ^L is taken as a - y, which it is not with {f.name} and {loss.name}"
        yield text, gradient(output=a - y)


def products(formulas: Formulas) -> Variants:
    """Yield what comes out where a factor of a matrix product is another one."""
    W, a, z, fed = formulas.net.W, formulas.cache.a, formulas.cache.z, formulas.cache.fed
    gradient, same = formulas.gradient, formulas.same_width

    def transposed(l: int, delta: Array) -> Array:
        return delta @ (W[l + 1].T if same(l, l + 1) else W[l + 1])

    def shifted(l: int, delta: Array) -> Array:
        return delta @ W[l if l >= FIRST and W[l].shape == W[l + 1].shape else l + 1]

    def after(l: int) -> Array:
        return a[l + 1] if same(l, l + 1) else fed[l]

    def weighted(l: int) -> Array:
        return z[l] if l >= FIRST else fed[l]

    yield "δ^l takes W^{l+1} where it needs its transpose", gradient(back=transposed)
    yield "δ^l takes W^l where it needs W^{l+1}", gradient(back=shifted)
    yield "∂E/∂W^l takes a^l where it needs a^{l-1}", gradient(fed=after)
    yield "∂E/∂W^l takes z^{l-1} where it needs a^{l-1}", gradient(fed=weighted)


def samples(formulas: Formulas) -> Variants:
    """Yield what comes out where the batch, its weights or its masks are not minded."""
    m, gradient = len(formulas.y), formulas.gradient
    for which, i in (("last", m - 1), ("first", 0)) if m > 1 else ():
        only = np.eye(m)[:, [i]]
        for shares in (only, formulas.shares * only):
            yield f"only the {which} sample of the batch counts", gradient(shares=shares)
    if formulas.probe.sample_weight is not None:
        yield "sample_weight is left out", gradient(shares=np.full((m, 1), 1 / m))
    if formulas.probe.mask:
        yield "the dropout mask is left out on the way back", gradient(mask=False)


def updated(probe: NetProbe, analytic: Array, known: Array) -> Variants:
    """Yield what comes out where δ of the hidden layers is computed from weights updated before.

    Then δ^{L-1} = (W^L - η ∂E/∂W^L)ᵀ δ^L ⊙ f' is linear in η, which is fitted to the gradient of
    layer L-1, where it is known; the layers below follow.
    """
    formulas, L, W = Formulas(probe), probe.net.L, probe.net.W
    if L <= FIRST:
        return
    right = formulas.gradient()
    dW = Parameters(probe.net.sizes, right).W
    here = np.r_[*(block.slice for block in probe.layout.blocks if block.layer == L - 1)]
    here = here[known[here]]
    linear = formulas.gradient(back=lambda l, delta: delta @ dW[l + 1])[here]
    square = float(linear @ linear)
    rate = float((right - analytic)[here] @ linear) / square if square else 0.0
    if not rate > 0:
        return

    def one_by_one(l: int, delta: Array) -> Array:
        return delta @ (W[l + 1] - rate * delta.T @ formulas.fed(l))

    def at_once(l: int, delta: Array) -> Array:
        return delta @ (W[l + 1] - rate * dW[l + 1])

    weights = f"weights that were updated already, W - η ∂E/∂W with η = {rate:.5g}"
    for back in (one_by_one, at_once):
        yield f"the hidden δ look computed from {weights}", formulas.gradient(back=back)
