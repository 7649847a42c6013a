"""Formulas worked out again from what is shown: the tree, and the texts of each notation."""

import ast
import math
import re
import xml.etree.ElementTree as ET

import numpy as np

from bpnet.worked.notation import trees

NAMES = {"exp": np.exp, "ln": math.log, "tanh": np.tanh, "sqrt": math.sqrt, "pi": math.pi}
NAMES |= {"abs": abs, "max": max, "sum": lambda *terms: math.fsum(terms)}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
MO = {"·": "*", "⁢": "*", "−": "-", "⁡": "", ",": ","}


def evaluated(step):
    """Return what a formula gives with its values, and see that its clause holds."""
    x, *clause = (
        eval(compile(ast.Expression(tree), "", "eval"), {**NAMES, **step.values})
        for tree in trees(step.code)
    )
    assert all(clause), step.code
    return x


def of_ascii(row):
    """Return what a row of ASCII numbers gives."""
    return eval(re.split(", (?:as|where) ", row)[0].replace("^", "**"), dict(NAMES))


def of_unicode(row):
    """Return what a row of Unicode numbers gives."""
    row = re.split(", (?:as|where) ", row)[0].replace("·", "*").replace("π", "pi")
    row = re.sub(r"\|(.*?)\|", r"abs(\1)", row.replace("√", "sqrt"))
    row = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda up: f"**{up[0].translate(SUPERSCRIPTS)}", row)
    return eval(row, dict(NAMES))


def of_latex(row):
    """Return what a row of LaTeX numbers gives."""
    row = row.split(r",\ \text")[0]
    for tex, python in (
        (r"\left|", "abs("), (r"\right|", ")"), (r"\left", ""), (r"\right", ""), (r"\cdot", "*"),
        (r"\frac", ""), ("}{", ")/("), ("e^{", "exp("), ("^{", "**("), ("{", "("), ("}", ")"),
    ):  # fmt: skip
        row = row.replace(tex, python)
    return eval(row.replace("\\", ""), dict(NAMES))


def of_mathml(row):
    """Return what a row of MathML numbers gives."""
    row = re.split("<mtext>, ", row)[0].replace("&nbsp;", " ")
    return eval(python_of(ET.fromstring(f"<mrow>{row}</mrow>")), dict(NAMES))


def python_of(node):
    parts = [python_of(child) for child in node]
    match node.tag:
        case "mfrac":
            return f"(({parts[0]})/({parts[1]}))"
        case "msup":
            return f"exp({parts[1]})" if parts[0] == "e" else f"({parts[0]})**({parts[1]})"
        case "msqrt":
            return f"sqrt({''.join(parts)})"
        case "mrow" if len(node) > 1 and node[0].text == "|":
            return f"abs({''.join(parts[1:-1])})"
        case "mrow":
            return "".join(parts)
        case "mi":
            return {"π": "pi"}.get(node.text, node.text)
    return MO.get(node.text, node.text.replace("−", "-"))
