"""What a quantity is called, and the formulas of formulas.toml, filled in for it."""

import ast
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bpnet.rules.activations import ACTIVATIONS, Activation
from bpnet.rules.constants import GELU_CUBE, LEAK
from bpnet.rules.losses import LOSSES, Loss, huber_limit
from bpnet.words import table

STEP: dict[str, str] = table("worked/formulas.toml")["step"]
F: dict[str, list[str]] = table("worked/formulas.toml")["activation"]
E: dict[str, list[str]] = table("worked/formulas.toml")["loss"]
CALLS: dict[str, str] = table("worked/formulas.toml")["call"]
NEURON: ast.expr = ast.parse("s, i", mode="eval").body  # an index
MATH = {"exp": np.exp, "ln": np.log, "tanh": np.tanh, "sqrt": np.sqrt, "abs": abs}
MATH |= {"max": np.maximum, "sum": lambda *terms: sum(terms)}
SPELLED = re.compile(
    r"(new\.)?(delta|dW|db|da|df|W|b|z|a|E|y|x)(?:\[(\d+)\])?(⁺?)(?:\[([\d,]+)\]|_([\d,]+))?"
)
UP, DOWN = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺", "₀₁₂₃₄₅₆₇₈₉"
PLAIN = str.maketrans(UP + DOWN, "0123456789+0123456789")


class Name(NamedTuple):
    """What a quantity is called, such as ``dW[3][1, 0]``."""

    kind: str  # W, b, z, a, delta, E, y; dW, db, da for ∂E/∂W, ∂E/∂b, ∂E/∂a; df for f'(z)
    l: int = 0  # 0 where there is no layer
    at: tuple[int, ...] = ()  # from 0, as in the code; in a batch of several the sample first
    new: bool = False  # after the step

    @property
    def sampled(self) -> bool:
        """Whether each sample has its own."""
        return self.kind not in ("W", "b", "dW", "db")

    def __str__(self) -> str:
        layer = f"[{self.l}]" if self.l else ""
        index = f"[{', '.join(map(str, self.at))}]" if self.at else ""
        return f"{'new.' * self.new}{self.kind}{layer}{index}"


def parse(text: str, samples: int) -> Name:
    """Return the name that a text spells: ``W[3][1, 0]`` or ``W³₂₁``; else raise KeyError."""
    if not isinstance(text, str):
        raise KeyError(f"a quantity is named by a text such as 'W[3][1, 0]', not by {text!r}")
    plain = text.replace(" ", "").replace("δ", "delta").replace("∂", "d").replace("dE/dz", "delta")
    plain = re.sub(r"^f'\(z(.*)\)$", r"df\1", plain.replace("dE/d", "d"))
    plain = re.sub(f"[{UP[:10]}]+", lambda found: f"[{found[0].translate(PLAIN)}]", plain)
    plain = re.sub(f"[{DOWN},]*[{DOWN}]", lambda found: f"_{found[0].translate(PLAIN)}", plain)
    found = SPELLED.fullmatch(plain)
    if not found:
        raise KeyError(f"{text!r} is no quantity: write W[3][1, 0], delta[2][0], dW[2][0, 1] or E")
    new, kind, l, plus, inner, small = found.groups()
    if kind in "Eyx" and inner is None and small is None:
        l, inner = None, l
    rank = 2 if kind in ("W", "dW") else 1 + (Name(kind).sampled and samples > 1)
    if small and "," not in small and rank > 1:  # 21 is 2 and 1
        small = ",".join(small)
    at = tuple(int(n) - bool(small) for n in (small or inner or "").split(",") if n)
    if samples == 1 and len(at) == rank + 1 and at[0] == 0:
        at = at[1:]
    kind, l = ("a", "1") if kind == "x" else (kind, l)
    return Name(kind, int(l or 0), at, bool(new or plus))


def rebuilt(e: Any, change: Callable[[Any], Any]) -> Any:
    """Return a part of a tree with what it is made of changed."""
    if isinstance(e, list):
        return list(map(change, e))
    if isinstance(e, ast.expr):
        return type(e)(*(change(part) for _, part in ast.iter_fields(e)))
    return e


class Formula:
    """A formula filled in for one quantity: a tree whose names are quantities, and their values."""

    def __init__(self, text: str, name: Name, sizes: tuple[int, ...], m: int, c: float,
                 letters: dict[str, float], value: Callable[[Name], float]) -> None:  # fmt: skip
        self.sizes, self.m, self.c, self.value = sizes, m, c, value
        self.new = name.new and name.kind not in ("W", "b")
        at = dict(zip("si" if name.sampled and m > 1 else "ij", name.at, strict=False))
        self.index = at | {"l": name.l or len(sizes)}
        self.values = {key: np.float64(number) for key, number in letters.items()}
        self.names = dict[str, Name]()  # of the quantities, from left to right
        self.clauses = list[tuple[str, ast.Compare]]()  # when it holds, what a letter means
        self.tree: ast.expr = self.filled(ast.parse(text, mode="eval").body)

    def filled(self, e: Any) -> Any:
        """Return a part with its quantities named, its sums written out, its branch chosen."""
        match e:
            case ast.Subscript(value=ast.Subscript(value=ast.Name(id=kind), slice=layer), slice=at):
                return self.quantity(kind, self.layer(layer), at)
            case ast.Subscript(value=ast.Name(id=kind), slice=at):
                return self.quantity(kind, 0, at)
            case ast.Name(id="z" | "a" | "y" as kind):
                return self.quantity(kind, self.index["l"] * (kind != "y"), NEURON)
            case ast.Name(id="c" | "LEAK" | "CUBE" as constant):
                return ast.Constant({"c": self.c, "LEAK": LEAK, "CUBE": GELU_CUBE}[constant])
            case ast.IfExp(test=test, body=body, orelse=other):
                test = self.filled(test)
                if not self.evaluated(test):
                    return self.filled(other)
                self.clauses.append(("as", test))
                return self.filled(body)
            case ast.NamedExpr(target=ast.Name(id=t), value=value):
                value, letter = self.filled(value), ast.Name(t, ast.Load())
                self.values[t] = np.float64(self.evaluated(value))
                self.clauses.append(("where", ast.Compare(letter, [ast.Eq()], [value])))
                return letter
            case ast.GeneratorExp(elt=term, generators=[ast.comprehension(ast.Name(id=k), each)]):
                l = self.layer(each.slice) if isinstance(each, ast.Subscript) else 0
                count = self.sizes[l - 1] if l else self.m
                return [self.filled(term) for self.index[k] in range(count)]
            case ast.Call(func=f, args=[ast.GeneratorExp() as terms]):
                return ast.Call(f, self.filled(terms), [])
        return rebuilt(e, self.filled)

    def layer(self, e: ast.expr) -> int:
        """Return which layer l, l - 1 or l + 1 is."""
        return {"l": 0, "l - 1": -1, "l + 1": 1}[ast.unparse(e)] + self.index["l"]

    def quantity(self, kind: str, l: int, at: Any) -> ast.Name:
        """Return a quantity by its name, and remember its value."""
        letters = [e.id for e in getattr(at, "elts", [at])]
        index = tuple(self.index[letter] for letter in letters if letter != "s" or self.m > 1)
        name = Name(kind, l, index, self.new and (kind, l) not in (("a", 1), ("y", 0)))
        self.names[str(name)] = name
        self.values[str(name)] = np.float64(self.value(name))
        return ast.Name(str(name), ast.Load())

    def evaluated(self, tree: ast.expr | None = None) -> Any:
        """Return what it gives with the values, or a part of it; NaN with somebody's own rules."""
        whole = ast.fix_missing_locations(ast.Expression(tree or self.tree))
        if any(isinstance(getattr(e, "value", 0), str) for e in ast.walk(whole)):
            return np.nan
        with np.errstate(all="ignore"):
            return eval(compile(whole, "", "eval"), MATH | self.values)


def of_f(f: Activation) -> list[str]:
    """Return the formulas of f and f'; somebody's own by their names."""
    if f.name in F and ACTIVATIONS.get(f.name) is f:
        return F[f.name]
    own = STEP["a mixed"].format(f=f.name) if f.vjp else f"{f.name!r}(z)"
    return [own, f"{f.name + chr(39)!r}(z)"]


def of_loss(loss: Loss) -> list[str]:
    """Return the formulas of an output's share of the loss and of ∂E/∂a, likewise."""
    limit = huber_limit(loss)
    if limit or (loss.name in E and LOSSES.get(loss.name) is loss):
        return E["huber" if limit else loss.name]
    return [f"{loss.name!r}(a, y)", f"{loss.name + chr(39)!r}(a, y)"]
