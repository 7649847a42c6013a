"""`explain`, and what it returns: a solution that writes itself."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from string import Template
from typing import Self

from numpy.typing import ArrayLike

from bpnet.checks import as_float, as_int
from bpnet.mlp import MLP
from bpnet.rules.losses import check_targets
from bpnet.words import stored
from bpnet.worked.notation import words_of
from bpnet.worked.page import SMALL, Page, TextPage, shows
from bpnet.worked.work import Work


class Solution(Work):
    """One step of gradient descent: a mapping of names to steps, in order, that prints itself."""

    def of(self, name: str) -> Self:
        """Return one quantity, ``"δ²₁"`` say, with all that it came from; or raise KeyError."""
        return replace(self, target=str(self.named(name)))

    def text(self, *, ascii_only: bool | None = None) -> str:
        """Return it as text of 80 columns: in ASCII, or the default, as standard output can."""
        plain = not shows(SMALL) if ascii_only is None else ascii_only
        return TextPage(self, "ascii" if plain else "text").write() + "\n"

    def markdown(self) -> str:
        """Return the solution as Markdown with LaTeX in it."""
        return Page(self, "markdown").write()

    def latex(self) -> str:
        """Return the solution as the body of a LaTeX document that uses amsmath."""
        return Page(self, "latex").write()

    def html(self, *more: Solution | str) -> str:
        """Return it as one self-contained page, its formulas in MathML; more may follow on it."""
        parts = [Page(part, "html").write() if isinstance(part, Work)
                 else f'<article class="bpnet-worked"><pre>{escape(part)}</pre></article>'
                 for part in (self, *more)]  # fmt: skip
        told = {"title": escape(repr(self.net)), "language": self.language}
        told["style"] = stored("worked/page.css")
        return Template(stored("worked/page.html")).substitute(told, body="\n".join(parts))

    def _repr_html_(self) -> str:
        return f"<style>\n{stored('worked/page.css')}</style>\n{Page(self, 'html').write()}"

    def _repr_latex_(self) -> str:
        return self.latex()

    def __str__(self) -> str:
        return self.text().rstrip("\n")

    def __repr__(self) -> str:
        of = f" of {self.target}" * bool(self.target)
        return f"<worked solution{of}, {self.net!r}: print it>"


def explain(
    net: MLP,
    x: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: float = 0.5,
    digits: int = 6,
    shown: int = 4,
    differences: bool = False,
    language: str = "en",
) -> Solution:
    """Work one step of gradient descent out with every number: print it, or ask it by name.

    The net stays as it is, and what it learns later does not change the solution.

    Parameters
    ----------
    net : MLP
        One net of real weights, with any activations and loss.
    x, y : array_like
        A batch, or one sample.
    learning_rate : float
    digits, shown : int
        Significant digits; and how many neurons of a layer, samples and terms are written out.
    differences : bool
        Whether each partial derivative shows its finite difference too.
    language : {"en", "zh"}

    Returns
    -------
    Solution
        ``["W[3][1, 0]"]`` is the parameter, ``["dW[3][1, 0]"]`` its derivative,
        ``["new.W[3][1, 0]"]`` what the step makes of it; each has ``value``, ``formula``,
        ``numbers``, ``line`` (of ``mlp.py``) and ``came_from``. ``.of("δ²₁")`` is one quantity with
        all that it came from. ``.text()``, ``.markdown()``, ``.latex()`` and ``.html()`` write it.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or the step leads to weights that are not finite.

    Examples
    --------
    >>> from bpnet import explain
    >>> from bpnet.worked.published import X, Y, example
    >>> worked = explain(example(), X, Y, learning_rate=0.5)
    >>> print(worked["dW[3][1, 0]"])
    ∂E/∂W³₂₁ = δ³₂ · a²₁ = (-0.0380982) · 0.59327 = -0.0226025
    >>> worked["dW[3][1, 0]"].came_from
    ('delta[3][1]', 'a[2][0]')
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net must be an MLP, not {net!r}")
    if net.theta.ndim > 1:
        raise ValueError(f"this is a stack of {len(net)} networks: explain one of them, net[k]")
    if net.dtype.kind != "f":
        raise ValueError(f"explain a net of real weights, not {net!r}")
    words_of(language)
    rate = as_float(learning_rate, "learning_rate", above=0)
    digits, shown = as_int(digits, "digits", least=1), as_int(shown, "shown", least=1)
    net = net.copy()
    cache = net.forward(x)
    grad = net.backward(cache, y)
    rows = check_targets(net.loss_function, net.parameters.rows(y, "y")).copy()
    options = digits, shown, language, bool(differences)
    worked = Solution(net, cache, grad, rows, rate, *options)
    assert worked.stepped  # or it raises now, not when the solution is printed
    return worked
