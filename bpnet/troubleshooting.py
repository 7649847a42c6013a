"""Why does it not learn? `diagnose` says in words what it sees, each with its number and remedy.

A net whose loss is below a quarter of the best constant output's has learned: then saturated
neurons and small errors are no illness, and only what is at fault by itself is told.
"""

import textwrap
import warnings
from collections.abc import Sequence
from copy import deepcopy
from html import escape
from math import inf, isinf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.checks import known_name, same_length
from bpnet.errors import TrainingDiverged
from bpnet.mlp import MLP
from bpnet.rules.optimizers import SGD, Optimizer
from bpnet.training.callbacks import flat_share
from bpnet.training.fit import fit
from bpnet.training.history import History
from bpnet.words import Words, table

ROWS, LEAST = 500, 3  # samples, evenly spread, and epochs, that tell enough
LARGE = 10.0  # root mean square of an input, or its mean in standard deviations
MANY, MOSTLY = 0.3, 0.8  # of a layer's neurons, of the samples
VANISHING, EXPLODING = 1e-3, 300.0  # δ² by δ^L
RATES = tuple(float(f"{10.0 ** (k / 2):.1g}") for k in range(-9, 7))  # 3e-05, 0.0001, ... 1000
STEPS = 20  # at each of them
WIDTH = {"en": 78, "zh": 38}  # letters in a line, by language
WORDS = table("troubleshooting.toml")  # what is seen and its remedy, by language


class Finding(NamedTuple):
    """What `diagnose` has seen; the name, as "dead neurons", is the same in every language."""

    name: str
    layer: int | None
    number: float
    says: str
    remedy: str


class Diagnosis(list[Finding]):
    """The findings of `diagnose`; empty where nothing was found. Printing it tells them."""

    language = "en"

    def __str__(self) -> str:
        nothing, some = WORDS[""][self.language]
        lines, width = [some.format(len(self)) if self else nothing], WIDTH[self.language]
        for k, found in enumerate(self, 1):
            for text, lead in ((found.says, f"{k}. "), (found.remedy, "   -> ")):
                lines += textwrap.wrap(lead + text, width, subsequent_indent=" " * len(lead))
        return str(Words("\n".join(lines)))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        title = str(self).partition("\n")[0]
        rows = [f"<li>{escape(found.says)}<br>→ {escape(found.remedy)}</li>" for found in self]
        return f'<div lang="{self.language}">{title}<ol>{"".join(rows)}</ol></div>'


def diagnose(
    net: MLP,
    history: History | None = None,
    *,
    x: ArrayLike,
    y: ArrayLike,
    optimizer: Optimizer | None = None,
    language: str = "en",
) -> Diagnosis:
    """Say why a net, trained or not, does not learn, as far as it shows; nothing is changed.

    Parameters
    ----------
    history : History, optional
    x, y : array_like
        Samples such as it was trained on, some hundred at least.
    optimizer : Optimizer, optional
        That trained it or will, whose learning rate is judged; the default is gradient descent.
    language : {"en", "zh"}
    """
    if np.ndim(getattr(net, "theta", [[]])) > 1 or np.ndim(getattr(history, "loss", [])) > 1:
        raise TypeError("diagnose looks at one MLP: of a stack, at net[k] without the history")
    case = Case(net, history or History(), x, y, optimizer)
    case.report.language = known_name(language, "language", WIDTH, {})
    case.look_at_data()
    scaled = not case.report
    case.look_at_neurons()  # causes before what follows from them
    if not case.learned:
        case.look_at_errors()
        if scaled:
            case.look_at_rate()
    case.look_at_course()
    return case.report


class Case:
    """A net on its data, or some of them, after one forward and one backward pass."""

    def __init__(self, net: MLP, history: History, x: Any, y: Any, optimizer: Any) -> None:
        x, y = net.parameters.rows(x, "x"), net.parameters.rows(y, "y")
        same_length(x, y)
        rows = np.unique(np.linspace(0, len(x) - 1, ROWS).astype(int))
        self.net, self.x, self.y, self.report = net, x[rows], y[rows], Diagnosis()
        self.losses, self.history, self.optimizer = history.loss, history, optimizer
        self.cache = net.forward(self.x)
        self.loss = float(net.loss(self.cache, self.y))
        mean = np.broadcast_to(self.y.mean(axis=0), self.y.shape)
        self.constant = float(net.loss(a=mean, y=self.y))  # of the best constant output
        before = self.constant or (self.losses or [0])[0]  # of one sample it is 0
        self.learned = self.loss < 0.25 * before

    def see(self, fault: str, number: float, **values: Any) -> None:
        """Add a finding to the report, in its language."""
        text = number if isinstance(number, int) else f"{number:.3g}"
        says, remedy = WORDS[fault][language := self.report.language]
        said = f"{fault}: " * (language == "en") + says.format(number=text, **values)
        remedy = remedy.format(number=text, **values)
        self.report.append(Finding(fault, values.get("l"), float(number), said, remedy))

    def look_at_data(self) -> None:
        """See whether inputs are large or far from 0, and targets where the output never is."""
        mean, deviation = self.x.mean(axis=0), self.x.std(axis=0)
        size = np.sqrt(mean**2 + deviation**2)
        far = (np.abs(mean) > LARGE * deviation) & (deviation > 0) & (size > 1)
        if (wrong := (size > LARGE) | far).any():
            j = int(np.argmax(np.where(wrong, size, 0)))
            self.see("unscaled inputs", size[j], k=wrong.sum(), n=len(size), j=j)
        output = self.net.activation[self.net.L]
        low, high = output.range
        off = np.maximum(low - self.y, self.y - high)
        values = {"f": output.name, "low": low, "high": high, "share": np.mean(off > 1e-6)}
        if off.max() > 1e-6:
            self.see("targets out of reach", self.y.flat[off.argmax()], **values)

    def look_at_neurons(self) -> None:
        """See whether neurons have a twin, or are dead, or saturated, as outputs at a wrong end."""
        W, b, L, loss = self.net.W, self.net.b, self.net.L, self.net.loss_function
        for l, share in flat_share(self.net, self.cache).items():
            f, n, name, stuck = self.net.activation[l], len(share), "saturated", share > MOSTLY
            if any(map(isinf, f.range)):
                name, stuck = "dead", share == 1
            healthy = self.learned and (name == "saturated" or len(self.x) < 20)
            if l == L:
                off = np.abs(self.cache.a[l] - self.y) > 0.5 * np.ptp(self.y)
                stuck = stuck & (off.mean(axis=0) > 0.02)
                healthy |= loss.joins(f) or loss.pair(f) is not None
            else:
                each = np.column_stack([W[l], b[l], W[l + 1].T])
                if each.any():  # then those that are all 0 are pruned
                    each = each[each.any(axis=1)] / np.abs(each).max()
                count = np.unique(each.round(7), axis=0, return_counts=True)[1]
                if (twins := int(count[count > 1].sum())) > 0:
                    self.see("symmetric neurons", twins, l=l, n=n)
            if stuck.mean() > (0 if l == L else MANY) and not healthy:
                self.see(f"{name} neurons", int(stuck.sum()), l=l, n=n, f=f.name)

    def look_at_errors(self) -> None:
        """See whether δ grows from the output to layer 2, or shrinks and it is not known why."""
        errors = self.net.backward(self.cache, self.y).delta.values()
        sizes = [float(np.sqrt(np.mean(delta**2))) for delta in errors]
        ratio, text = sizes[0] / (sizes[-1] or inf), ", ".join(f"{size:.0e}" for size in sizes)
        known = any("neurons" in found.name for found in self.report) or not sizes[-1]
        if ratio > EXPLODING or (ratio < VANISHING and not known):
            fault = "exploding gradient" if ratio > 1 else "vanishing gradient"
            self.see(fault, ratio, L=self.net.L, sizes=text)

    def look_at_rate(self) -> None:
        """See whether another learning rate gets further in 20 steps on the whole batch."""
        net, losses, given = self.net, self.losses, getattr(self.optimizer, "learning_rate", None)
        rate, trained = max(self.history.learning_rate, default=given), len(losses) >= LEAST
        if not isinstance(rate, (int, float)) or not (trained or given):
            return
        start, f = net, [*net.activation.values()]
        if trained:  # and perhaps spoiled by a rate too large, which fresh weights show
            start = MLP.init(net.sizes, activation=f, loss=net.loss_function, rng=0)
        number, E, at, best = self.tried(start, rate)
        better = best < 0.9 * min(self.loss, at, E)
        if number < rate and better and at > 0.9 * min(self.constant, E):
            self.see("learning rate too large", number, rate=rate, E=E, at=at, best=best)
        elif not self.report:
            number, E, at, best = self.tried(net, rate) if trained else (number, E, at, best)
            slow = trained and (losses[-1] > 0.8 * losses[0] or self.loss > 1.1 * self.constant)
            slow |= not trained and E - at < 0.01 * (E - best)
            if slow and number > 3 * rate and best < 0.8 * self.loss:
                self.see("learning rate too small", number, rate=rate, E=E, at=at, best=best)

    def tried(self, net: MLP, rate: float) -> tuple[float, ...]:
        """Return the best rate, and the loss before, after steps at the given rate, and at it."""
        losses = rate_range(net, self.x, self.y, self.optimizer, (rate, *RATES))
        k, E = int(np.argmin(losses[1:])), float(net.loss(net.forward(self.x), self.y))
        return RATES[k], E, float(losses[0]), float(losses[1:][k])

    def look_at_course(self) -> None:
        """See whether the loss has stayed where it was, or that of validation has turned."""
        losses, held = self.losses, self.history.validation_loss
        still = len(losses) >= LEAST and abs(losses[-1] - losses[0]) < 0.02 * losses[0]
        if still and not self.learned and self.loss > 0.9 * self.constant:
            times, n = self.loss / (self.constant or inf), len(losses)
            self.see("loss has not moved", times, first=losses[0], last=losses[-1], n=n)
        if len(held) >= 2 * LEAST and self.history.stopped != "early stopping":
            k, last = int(np.argmin(held)), float(np.mean(held[-LEAST:]))
            if last > max(1.2 * held[k], 0.02 * held[0]) and losses[-1] < losses[k]:
                self.see("over-fitting", last / (held[k] or inf), k=k + 1)


def rate_range(
    net: MLP, x: ArrayLike, y: ArrayLike, optimizer: Optimizer | None = None, rates: Sequence[float] = RATES
) -> Array:
    """Return, for each learning rate, the loss after some steps of a copy on the whole batch."""
    losses = []
    for rate in rates:
        work: Any = net.copy()
        rule = SGD(rate) if optimizer is None else deepcopy(optimizer)
        rule.learning_rate = rate
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                fit(work, x, y, epochs=STEPS, batch_size=None, optimizer=rule)
                losses.append(work.loss(work.forward(x), y))
        except TrainingDiverged:
            losses.append(inf)
    return np.asarray(np.nan_to_num(losses, nan=inf, posinf=inf))
