"""How the site is built: `python -m sphinx -W docs site`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import bpnet
from bpnet.page.server import export

HERE = Path(__file__).parent
ROOT = HERE.parent

project = "bpnet"
author = "The bpnet authors"
project_copyright = f"2026, {author}"
version = release = bpnet.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "bpnet"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False

# Notebooks are run by `notebooks/execute.py`, which holds their outputs against the files'.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"
suppress_warnings = ["myst.xref_missing"]  # links into the repository, right on its own pages


def copied(folder: str, pattern: str) -> None:
    """Bring files of the repository's folders beside the pages: Sphinx reads one folder only."""
    target = HERE / folder
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for path in sorted((ROOT / folder).glob(pattern)):
        shutil.copy(path, target)


copied("notebooks", "*.ipynb")


def escape(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Let |d| be |d|, which reStructuredText takes for the name of something else."""
    lines[:] = [re.sub(r"\|(\w+|\w+ - \w+)\|", r"\|\1\|", line) for line in lines]


def inline(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula as MathML, which browsers draw without help from another host."""
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def display(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula that stands by itself."""
    latex = node.astext().replace("{aligned}", "{align*}")
    formula = latex2mathml.converter.convert(latex, display="block")
    writer.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def page(app: Sphinx, error: Exception | None) -> None:
    """Put the page beside the site: there Pyodide runs bpnet, in the reader's browser."""
    if error is None:
        export(Path(app.outdir) / "page")


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    app.config.html_math_renderer = "mathml"
    app.connect("autodoc-process-docstring", escape)
    app.connect("build-finished", page)
