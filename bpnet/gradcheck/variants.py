"""Gradients as they come out where one part of the formulas is wrong.

`gradient` is the backward pass once more, by the formulas, with parts that can be exchanged:

    δ^L = ∂E/∂a^L ⊙ f'(z^L)               the part "output", with "slope"
    δ^l = (W^{l+1})ᵀ δ^{l+1} ⊙ f'(z^l)    the parts "back" and "slope"
    ∂E/∂W^l = δ^l (a^{l-1})ᵀ              the part "fed"

`variants` goes through the usual mistakes. `updated` is the one with a number to find out, the
learning rate of the update that came too early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck.probes import NetProbe
from bpnet.network.parameters import FIRST, Parameters
from bpnet.rules.activations import ACTIVATIONS, Activation

Slope = Callable[[int, Array], Array]  # (l, g): δ^l from g = ∂E/∂a^l
Back = Callable[[int, Array], Array]  # (l, δ^{l+1}): ∂E/∂a^l
Fed = Callable[[int], Array]  # l: what ∂E/∂W^{l+1} takes for a^l


class Formulas:
    """The formulas of a pass, and their parts."""

    def __init__(self, probe: NetProbe) -> None:
        self.net, self.cache, self.y, self.shares = probe.net, probe.cache, probe.y, probe.shares
        self.L = self.net.L

    def slope(self, l: int, g: Array) -> Array:
        """Return g ⊙ f'(z^l)."""
        return self.net.activation[l].backward(g, self.cache.z[l], self.cache.a[l])

    def slope_at(self, l: int, z: Array, a: Array) -> Array:
        """Return f' of layer l at some (z, a)."""
        return self.net.activation[l].df(z, a)

    def output(self, slope: Slope) -> Array:
        """Return δ^L of each sample's loss."""
        if self.joined and slope == self.slope:
            return self.cache.a[self.L] - self.y
        return slope(self.L, self.net.loss_function.dE(self.cache.a[self.L], self.y))

    @property
    def joined(self) -> bool:
        """Whether δ^L = a - y."""
        return self.net.loss_function.joins(self.net.activation[self.L])

    def back(self, l: int, delta: Array) -> Array:
        """Return (W^{l+1})ᵀ δ^{l+1}."""
        return delta @ self.net.W[l + 1]

    def fed(self, l: int) -> Array:
        """Return a^l, as the next layer reads it."""
        return self.cache.fed[l]

    def gradient(
        self,
        *,
        output: Array | None = None,
        slope: Slope | None = None,
        back: Back | None = None,
        fed: Fed | None = None,
        shares: Array | None = None,
        mask: bool = True,
    ) -> Array:
        """Return ∂E/∂θ, (P,), with the given parts in place of the right ones."""
        slope, back, fed = slope or self.slope, back or self.back, fed or self.fed
        result = Parameters(self.net.sizes, np.empty(self.net.theta.size))
        delta = self.output(self.slope) if output is None else output
        delta = delta * (self.shares if shares is None else shares)
        for l in range(self.L, FIRST - 1, -1):
            result.W[l] = delta.T @ fed(l - 1)
            result.b[l] = delta.sum(axis=0)
            if l > FIRST:
                g = back(l - 1, delta)
                kept = self.cache.mask[l - 1]
                delta = slope(l - 1, g if kept is None or not mask else g * kept)
        return result.theta

    def same_width(self, l: int, other: int) -> bool:
        """Whether both layers exist and have as many neurons."""
        sizes = self.net.sizes
        return 1 <= other <= self.L and sizes[l - 1] == sizes[other - 1]


Variants = Iterator[tuple[str, Array]]  # what is wrong, and the gradient that this gives


def variants(probe: NetProbe) -> list[Variants]:
    """Return the usual mistakes, each kind by itself, the special case before the general."""
    formulas = Formulas(probe)
    return [
        *slopes(formulas),
        *(iter([variant]) for variant in outputs(formulas)),
        *products(formulas),
        samples(formulas, probe),
    ]


def slopes(formulas: Formulas) -> list[Variants]:
    """Yield what comes out where f' is wrong in one layer, in all hidden ones, in all."""
    z, a, at = formulas.cache.z, formulas.cache.a, formulas.slope_at

    def of_a(l: int, g: Array) -> Array:
        return g * at(l, a[l], formulas.net.activation[l].f(a[l]))

    def shifted(by: int) -> Slope:
        def slope(l: int, g: Array) -> Array:
            other = l + by
            if other < FIRST or not formulas.same_width(l, other):
                return formulas.slope(l, g)
            return g * at(l, z[other], a[other])

        return slope

    kinds: list[tuple[str, Slope]] = [
        ("f' is missing in {}", lambda l, g: g),
        ("f' is wrong in {}: its formula takes a = f(z), and was given z",
         lambda l, g: g * at(l, z[l], z[l])),
        ("f' is wrong in {}: it takes z, and was given a = f(z)", of_a),
        ("f' is taken twice in {}", lambda l, g: formulas.slope(l, formulas.slope(l, g))),
        ("f' is wrong in {}: it was given z of the layer after", shifted(1)),
        ("f' is wrong in {}: it was given z of the layer before", shifted(-1)),
    ]  # fmt: skip
    return [in_layers(formulas, text, wrong) for text, wrong in kinds]


def other_slopes(formulas: Formulas) -> Variants:
    """Yield what comes out where f' is that of another activation of the table."""
    z, a, own = formulas.cache.z, formulas.cache.a, formulas.net.activation
    for f in ACTIVATIONS.values():
        if f.vjp is not None or f.name == "identity":  # whose f' is 1, and so missing
            continue

        def of_own_a(l: int, g: Array, f: Activation = f) -> Array:
            return g * f.df(z[l], a[l])

        def of_its_a(l: int, g: Array, f: Activation = f) -> Array:
            return g * f.df(z[l], f.f(z[l]))

        for wrong in (of_own_a, of_its_a):
            others = {l for l in own if own[l] is not f}
            for layers, candidate in with_slope(formulas, wrong):
                where = sorted(others & set(layers))
                if where:
                    names = ", ".join(dict.fromkeys(own[l].name for l in where))
                    yield (
                        f"f' is wrong in {named(where)}: it is {f.name}'s, not {names}'s",
                        candidate,
                    )


def in_layers(formulas: Formulas, text: str, wrong: Slope) -> Variants:
    """Yield the candidates of `with_slope`, with this text of where they go wrong."""
    for layers, candidate in with_slope(formulas, wrong):
        yield text.format(named(layers)), candidate


def named(layers: Sequence[int]) -> str:
    """Return the layers in words."""
    return f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"


def with_slope(formulas: Formulas, wrong: Slope) -> Iterator[tuple[list[int], Array]]:
    """Yield what comes out where this slope is taken in one layer, in all hidden ones, in all."""
    hidden = list(range(FIRST, formulas.L))
    general = not formulas.joined  # else there is no f' at the output that could be wrong
    sets = [[l] for l in hidden + [formulas.L] * general]
    sets += [hidden] * (len(hidden) > 1)
    sets += [[*hidden, formulas.L]] * (general and bool(hidden))
    for layers in sets:

        def slope(l: int, g: Array, layers: list[int] = layers) -> Array:
            return wrong(l, g) if l in layers else formulas.slope(l, g)

        output = formulas.output(slope) if formulas.L in layers else None
        yield layers, formulas.gradient(output=output, slope=slope)


def outputs(formulas: Formulas) -> Variants:
    """Yield what comes out where δ^L is wrong in another way than by f'."""
    L, y, cache = formulas.L, formulas.y, formulas.cache
    f, loss, a, z = formulas.net.activation[L], formulas.net.loss_function, cache.a[L], cache.z[L]
    if f.vjp is not None:
        yield (
            f"{f.name}'s derivative is taken as a (1 - a) only: ∂a_i/∂z_j for i ≠ j is forgotten",
            formulas.gradient(output=loss.dE(a, y) * f.df(z, a)),
        )
    if formulas.joined:
        yield (
            f"there is an f' too many at the output: with {f.name} and {loss.name}, δ^L is a - y",
            formulas.gradient(output=(a - y) * f.df(z, a)),
        )
    elif not np.array_equal(loss.dE(a, y), a - y):  # else it is f' that is missing
        yield (
            f"δ^L is taken as a - y, which it is not with {f.name} and {loss.name}",
            formulas.gradient(output=a - y),
        )


def products(formulas: Formulas) -> list[Variants]:
    """Yield what comes out where a factor of a matrix product is another one."""
    net, cache, same = formulas.net, formulas.cache, formulas.same_width

    def transposed(l: int, delta: Array) -> Array:
        W = net.W[l + 1]
        return delta @ (W.T if same(l, l + 1) else W)

    def shifted(l: int, delta: Array) -> Array:
        fits = l >= FIRST and net.W[l].shape == net.W[l + 1].shape
        return delta @ net.W[l if fits else l + 1]

    def after(l: int) -> Array:
        return cache.a[l + 1] if same(l, l + 1) else cache.fed[l]

    def weighted(l: int) -> Array:
        return cache.z[l] if l >= FIRST else cache.fed[l]

    gradient = formulas.gradient
    return [
        iter([("δ^l takes W^{l+1} where it needs its transpose", gradient(back=transposed))]),
        iter([("δ^l takes W^l where it needs W^{l+1}", gradient(back=shifted))]),
        iter([("∂E/∂W^l takes a^l where it needs a^{l-1}", gradient(fed=after))]),
        iter([("∂E/∂W^l takes z^{l-1} where it needs a^{l-1}", gradient(fed=weighted))]),
    ]


def samples(formulas: Formulas, probe: NetProbe) -> Variants:
    """Yield what comes out where the batch, its weights or its masks are not minded."""
    m = len(formulas.y)
    for which, i in (("last", m - 1), ("first", 0)) if m > 1 else ():
        only = np.zeros((m, 1))
        only[i] = 1.0
        yield f"only the {which} sample of the batch counts", formulas.gradient(shares=only)
        share = formulas.shares * only
        yield f"only the {which} sample of the batch counts", formulas.gradient(shares=share)
    if probe.sample_weight is not None:
        equal = np.full((m, 1), 1 / m)
        yield "sample_weight is left out", formulas.gradient(shares=equal)
    if probe.mask:
        yield "the dropout mask is left out on the way back", formulas.gradient(mask=False)


def updated(probe: NetProbe, analytic: Array, known: Array) -> Variants:
    """Yield what comes out where δ of the hidden layers is computed from weights updated before.

    Then δ^{L-1} = (W^L - η ∂E/∂W^L)ᵀ δ^L ⊙ f' is linear in η, which is fitted to the gradient of
    layer L-1; the layers below follow, each from the weights updated before it.

    Parameters
    ----------
    probe : NetProbe
    analytic : array, shape (P,)
        The claimed gradient.
    known : array of bool, shape (P,)
        Which of its coordinates to fit to.
    """
    formulas, L = Formulas(probe), probe.net.L
    if L <= FIRST:
        return
    right = formulas.gradient()
    dW = Parameters(probe.net.sizes, right).W
    layer = np.zeros(right.size, bool)
    views = Parameters(probe.net.sizes, layer)
    views.W[L - 1][...] = views.b[L - 1][...] = True
    here = layer & known
    linear = formulas.gradient(back=lambda l, delta: delta @ dW[l + 1])[here]
    square = float(linear @ linear)
    if not square:
        return
    rate = float((right - analytic)[here] @ linear) / square

    def at_once(l: int, delta: Array) -> Array:
        return delta @ (probe.net.W[l + 1] - rate * dW[l + 1])

    def one_by_one(l: int, delta: Array) -> Array:
        return delta @ (probe.net.W[l + 1] - rate * delta.T @ formulas.fed(l))

    if rate > 0:
        text = (
            "the hidden δ look computed from weights that were updated already, "
            f"W - η ∂E/∂W with η = {rate:.5g}"
        )
        for back in (one_by_one, at_once):
            yield text, formulas.gradient(back=back)
