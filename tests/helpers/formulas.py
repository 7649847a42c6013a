"""Formulas worked out again from what is shown: the tree, and the texts of each notation."""

import math
import re
import xml.etree.ElementTree as ET

from bpnet.worked.expression import Operation

NAMES = {"exp": math.exp, "ln": math.log, "tanh": math.tanh, "sqrt": math.sqrt, "pi": math.pi}
NAMES |= {"abs": abs, "max": max}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
MO = {"·": "*", "⁢": "*", "−": "-", "⁡": "", ",": ","}


def evaluated(e):
    """Return what a formula gives with its numbers."""
    if not isinstance(e, Operation):
        return math.pi if getattr(e, "text", "") == "π" else e.value
    if e.rule == "where" or e.rule.startswith("as "):
        if e.rule != "where":
            left, right = map(evaluated, e.parts[1:])
            sign = e.rule[3:].replace("=", "==") if e.rule == "as =" else e.rule[3:]
            assert eval(f"{left!r} {sign} {right!r}")
        else:
            assert math.isclose(evaluated(e.parts[1]), evaluated(e.parts[2]), rel_tol=1e-9)
        return evaluated(e.parts[0])
    values = [evaluated(part) for part in e.parts]
    match e.rule:
        case "+":
            return math.fsum(values)
        case "neg":
            return -values[0]
        case "*":
            return math.prod(values)
        case "/":
            return values[0] / values[1]
        case "^":
            return values[0] ** values[1]
    return NAMES[e.rule](*values)


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
