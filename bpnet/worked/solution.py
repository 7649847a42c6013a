"""`explain`, and what it returns: a solution that writes itself."""

from __future__ import annotations

from html import escape

from numpy.typing import ArrayLike

from bpnet.checks import as_float, as_int
from bpnet.mlp import MLP
from bpnet.worked.notation import Notation
from bpnet.worked.outline import Solution
from bpnet.worked.page import DOCUMENT, STYLE, Page, TextPage
from bpnet.worked.steps import Work
from bpnet.worked.words import words_of


class Worked(Solution):
    """One step of gradient descent, written out; what `explain` returns.

    A mapping of names to steps, in the order of the computation. Printed, it is the solution as
    text; a notebook shows it as HTML.
    """

    def text(self, *, width: int = 80, ascii_only: bool | None = None) -> str:
        """Return the solution as plain text of so many columns.

        In ASCII the quantities are spelled as in the code; the default is where standard output
        cannot show the formulas' letters.
        """
        return TextPage(self, width, ascii_only).write()

    def notation(self, ascii_only: bool | None = None) -> Notation:
        """Return how its formulas are written in text."""
        return TextPage(self, 80, ascii_only).notation

    def markdown(self) -> str:
        """Return the solution as Markdown with LaTeX in it."""
        return Page(self, "markdown").write()

    def latex(self) -> str:
        """Return the solution as the body of a LaTeX document that uses amsmath."""
        return Page(self, "latex").write()

    def html(self, *more: Worked | str) -> str:
        """Return the solution as one self-contained page, its formulas in MathML.

        More solutions, and lines of text, may follow on it.
        """
        parts = [Page(part, "html").write() if isinstance(part, Worked)
                 else f'<article class="bpnet-worked"><pre>{escape(part)}</pre></article>'
                 for part in (self, *more)]  # fmt: skip
        title, body = escape(repr(self.work.net)), "\n".join(parts)
        return DOCUMENT.format(title=title, language=self.language, style=STYLE, body=body)

    def _repr_html_(self) -> str:
        return f"<style>\n{STYLE}\n</style>\n{Page(self, 'html').write()}"

    def _repr_latex_(self) -> str:
        return self.latex()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        of = f" of {self.target}" if self.target else ""
        return f"<worked solution{of}, {self.work.net!r}: print it>"


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
) -> Worked:
    """Work one step of gradient descent out with every number: print it, or ask it by name.

    The net stays as it is, and what it learns later does not change the solution.

    Parameters
    ----------
    net : MLP
        One net of real weights, with any activations and loss.
    x : array_like, shape (m, n_1) or (n_1,)
    y : array_like, shape (m, n_L) or (n_L,)
    learning_rate : float
        η, > 0.
    digits : int
        Significant digits of the numbers that are written.
    shown : int
        How many neurons of a layer, samples and terms of a sum are written out; what is left out
        is said, and is there by its name.
    differences : bool
        Whether each partial derivative shows its finite difference too.
    language : {"en", "zh"}

    Returns
    -------
    Worked
        ``["W[3][1, 0]"]`` is the parameter, ``["dW[3][1, 0]"]`` its derivative,
        ``["new.W[3][1, 0]"]`` what the step makes of it; each has ``value``, ``formula``,
        ``numbers``, ``line`` (of ``mlp.py``) and ``came_from``. ``.of("δ²₁")`` is one quantity with
        all that it came from. ``.text()``, ``.markdown()``, ``.latex()`` and ``.html()`` write it.

    Raises
    ------
    TypeError, ValueError
        If net is no MLP, a stack, or complex; x or y does not fit it; an option is out of range;
        or the step leads to weights that are not finite.

    Examples
    --------
    >>> from bpnet import MLP, explain
    >>> net = MLP.from_weights(
    ...     W=[[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]],
    ...     b=[[0.35, 0.35], [0.60, 0.60]],
    ... )
    >>> worked = explain(net, [0.05, 0.10], [0.01, 0.99], learning_rate=0.5)
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
    return Worked(
        Work.of(net.copy(), x, y, as_float(learning_rate, "learning_rate", above=0)),
        as_int(digits, "digits", least=1),
        as_int(shown, "shown", least=1),
        language,
        bool(differences),
    )
