"""The house stands: nothing imports upwards or in a circle, or reaches into another room's drawers.

The modules are read, not imported, with what they import inside functions and for types alone.
`docs/architecture.md` tells the same floors in words.
"""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "bpnet").rglob("*.py"))

# From the ground up. A room may import the rooms of lower floors and its own modules, no others.
FLOORS = (
    ("bpnet", "errors", "words", "arrays", "reference"),
    ("checks",),
    ("rules", "archive", "datasets", "machine"),
    ("network",),
    ("mlp",),
    ("training", "gradcheck", "formats"),
    ("tables",),
    ("worked", "testing", "estimators", "plots", "troubleshooting", "distributed"),
    ("page",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Where packages that are no dependency may be imported: there, and only inside a function ...
OPTIONAL = {
    "cupy": (),
    "dask": ("distributed",),
    "distributed": ("distributed",),
    "hypothesis": ("testing",),
    "jax": (),
    "matplotlib": ("plots",),
    "numba": ("rules",),
    "onnx": ("formats.onnx",),
    "onnxruntime": (),
    "pandas": ("training.history", "estimators"),
    "safetensors": ("formats.safetensors",),
    "scipy": ("training.lbfgs", "estimators"),
    "sklearn": ("estimators", "formats.sklearn"),
    "threadpoolctl": ("machine",),
    "torch": ("formats.torch",),
    "tqdm": ("training.callbacks",),
}
# ... but for a class or kernels that stand on another library: nobody imports them unasked.
AT_IMPORT = {("estimators", "sklearn"), ("rules", "numba")}
# Names with an underscore that are there to be used: a named tuple's, `sys._getframe`, those that
# argparse has for what its public functions return, and scikit-learn's for estimators of others.
NOT_PRIVATE = {
    *("_fit_context", "_init_callback_context", "_get_container_adapter"),
    "_check_sample_weight",
    *("_replace", "_asdict", "_fields", "_make", "_getframe"),
    *("_SubParsersAction", "_ActionsContainer"),
}


class Import(NamedTuple):
    """What a module imports, by its full name, and where."""

    name: str
    line: int
    at_once: bool  # when the module is imported, rather than in a function or for types


def imports_in(tree, module, at_once=True):
    """Give every import; of ``from m import x`` both m and m.x, one of which may be a module."""
    for node in ast.iter_child_nodes(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports have full names here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (Import(name, node.lineno, at_once) for name in names)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_in(ast.Module(node.body, []), module, False)
            yield from imports_in(ast.Module(node.orelse, []), module, at_once)
            continue
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from imports_in(node, module, at_once and not later)


def module_of(path, root=ROOT):
    """Return a file's name as a module: a package's is that of its folder."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def room_of(module):
    """Return the room a module is in: a module or a folder directly in the house."""
    return module.split(".")[1] if "." in module else module


TREES = {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
IMPORTS = {module: list(imports_in(tree, module)) for module, tree in TREES.items()}


def house_module(name):
    """Return the module of the house that ``m.x`` is or is from; None where it is another's."""
    if name in TREES:
        return name
    owner = name.rpartition(".")[0]
    return owner if owner in TREES else None


def graph_of(imports=None):
    """Return by module which modules of the house it imports, and on which line."""
    edges = {}
    for module, found in (imports or IMPORTS).items():
        named = [(house_module(found.name), found.line) for found in found]
        edges[module] = {to: line for to, line in reversed(named) if to not in (None, module)}
    return edges


def upward(edges):
    """Return every import that does not lead down, or stay in its room, in words."""
    return [
        f"{module}:{line} imports {to}, which is not on a floor below"
        for module, imported in edges.items()
        for to, line in imported.items()
        if room_of(to) != room_of(module) and FLOOR[room_of(to)] >= FLOOR[room_of(module)]
    ]


def circles(edges):
    """Return rings of modules, each of which is imported by the next."""
    edges, found = {module: dict(imported) for module, imported in edges.items()}, []
    while True:
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            ring = error.args[1]
            found.append(" <- ".join(ring))
            del edges[ring[1]][ring[0]]  # and look for the next
        else:
            return found


def misplaced(imports):
    """Return every import of an optional package that its extra does not cover, in words."""
    wrong = []
    for module, found in imports.items():
        inside = module.removeprefix("bpnet.")
        for name, line, at_once in found:
            package = name.split(".")[0]
            homes = OPTIONAL.get(package)
            if homes is None:
                continue
            if not any(f"{inside}.".startswith(f"{home}.") for home in homes):
                wrong.append(f"{module}:{line} imports {package}, whose place is {homes}")
            elif at_once and (room_of(module), package) not in AT_IMPORT:
                wrong.append(f"{module}:{line} imports {package} when it is imported itself")
    return wrong


def is_private(name):
    """Whether a name is for its own room alone; `__init__` and the like are for Python."""
    return re.fullmatch(r"_[^_]\w*", name) is not None and name not in NOT_PRIVATE


def private_names(trees):
    """Return the private names that each room gives itself."""
    own = {}
    for module, tree in trees.items():
        names = own.setdefault(room_of(module), set())
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)  # of __slots__, or of object.__setattr__
    return own


def reached(trees):
    """Return every use of a private name that another room gave, in words."""
    own, wrong = private_names(trees), []
    for module, tree in trees.items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.ImportFrom) and room_of(node.module or "") != room_of(module):
                names = [alias.name for alias in node.names if is_private(alias.name)]
            elif isinstance(node, ast.Attribute) and is_private(node.attr):
                names = [] if node.attr in own[room_of(module)] else [node.attr]
            wrong += [f"{module}:{node.lineno} reaches for {name}" for name in names]
    return wrong


def test_every_module_has_a_floor():
    rooms = {room_of(module) for module in TREES}
    assert rooms <= set(FLOOR), f"give {rooms - set(FLOOR)} a floor, here and in architecture.md"


@pytest.mark.parametrize(
    ("found", "given"),
    [(upward, graph_of()), (circles, graph_of()), (misplaced, IMPORTS), (reached, TREES)],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_the_house_stands(found, given):
    wrong = found(given)
    assert not wrong, "\n".join(wrong)


def test_the_benchmarks_have_no_circle():
    paths = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py")}
    edges = {}
    for name, path in paths.items():
        found = imports_in(ast.parse(path.read_text(encoding="utf-8")), name)
        edges[name] = {i.name.split(".")[0]: i.line for i in found if i.name.split(".")[0] in paths}
    assert len(edges) > 10
    assert not circles(edges)


def test_the_house_does_not_go_through_its_front_door():
    """Names come from their modules: of `bpnet` itself there is the version."""
    asked = {
        f"{module}:{line} {name}"
        for module, found in IMPORTS.items()
        for name, line, _ in found
        if house_module(name) == "bpnet" and name not in ("bpnet", "bpnet.__version__")
    }
    assert not asked


def test_what_is_optional_is_an_extra_and_the_groups_follow():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    needed = {re.match(r"[\w-]+", line)[0] for lines in extras.values() for line in lines}
    imported = {package for package, homes in OPTIONAL.items() if homes}
    imported -= {"threadpoolctl"}  # which is asked where it is there, as with scikit-learn
    assert {"scikit-learn" if name == "sklearn" else name for name in imported} <= needed
    assert project["dependency-groups"]["test"] == extras["test"]


def test_nothing_else_is_imported():
    """NumPy is the one dependency; all that is no optional package is Python's own."""
    known = {"bpnet", "numpy", *OPTIONAL, *sys.stdlib_module_names}
    names = {imported.name.split(".")[0] for found in IMPORTS.values() for imported in found}
    assert names <= known


def test_the_core_is_imported_without_an_optional_package():
    """In a process of its own, with every public name loaded and the command's parser built."""
    code = (
        "import sys, bpnet, bpnet.cli.main, bpnet.testing\n"
        "for name in bpnet.__all__: getattr(bpnet, name)\n"
        f"print(sorted(set({sorted(OPTIONAL)}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_page_on_architecture_names_each_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) \|(.*?)\|", page, re.M)
    floors = [tuple(re.findall(r"`(\w+?)(?:\.py|/)?`", rooms)) for _, rooms in told]
    assert [int(number) for number, _ in told] == list(reversed(range(len(FLOORS))))
    assert floors == list(reversed(FLOORS))


@pytest.mark.parametrize(
    ("code", "judge", "words"),
    [
        ("from bpnet.mlp import MLP", lambda tree, found: upward(graph_of(found)), "bpnet.mlp"),
        ("def f():\n  import bpnet.training.fit", lambda tree, found: upward(graph_of(found)),
         ":2 imports bpnet.training.fit"),
        ("if TYPE_CHECKING:\n  from bpnet import mlp", lambda tree, found: upward(graph_of(found)),
         "imports bpnet.mlp"),
        ("if TYPE_CHECKING:\n  from bpnet.rules import losses",
         lambda tree, found: circles(graph_of(IMPORTS | found)), "activations <- bpnet.rules.los"),
        ("def f():\n  import scipy.optimize", lambda tree, found: misplaced(found), "scipy"),
        ("from bpnet.network.parameters import _rows", lambda tree, found: reached(tree), "_rows"),
        ("def f(net):\n  return net._rows", lambda tree, found: reached(tree), ":2 reaches"),
    ],
)  # fmt: skip
def test_what_is_forbidden_is_found(code, judge, words):
    """A module of rules that does what none may do."""
    module, tree = "bpnet.rules.activations", ast.parse(code)
    found = judge({module: tree}, {module: list(imports_in(tree, module))})
    assert words in "\n".join(found)


def test_an_optional_package_waits_for_a_call():
    found = {"bpnet.training.lbfgs": [Import("scipy.optimize.minimize", 3, True)]}
    assert "when it is imported itself" in misplaced(found)[0]
    found["bpnet.training.lbfgs"] = [Import("scipy.optimize.minimize", 3, False)]
    assert misplaced(found) == []
    assert misplaced({"bpnet.estimators": [Import("sklearn.base", 1, True)]}) == []
    assert misplaced({"bpnet.formats.sklearn": [Import("sklearn.base", 1, True)]})
