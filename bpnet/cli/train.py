"""The command ``bpnet train``: a table in a file to a model in a file, without code."""

from __future__ import annotations

import argparse
import csv
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from bpnet.checks import as_float, as_int
from bpnet.cli.options import Parser, layers, say
from bpnet.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpnet.arrays import Array
    from bpnet.mlp import MLP
    from bpnet.tables import Column, Table

FEW_CLASSES, ROWS_EACH, FEWEST_ROWS = 20, 5, 10
LINE, INDENT = 79, 11
EXAMPLES = """\
examples:
  bpnet train iris.csv --target species --save iris.json
  bpnet train houses.csv --target price --drop id,address --hidden 64,32

The first row names the columns. A column of numbers is scaled to mean 0 and
standard deviation 1; of other texts each is an input of its own. Missing values
are refused. Rows are set aside twice: some to stop early and choose the best
start by, others for the report. A file of --save is read by `bpnet predict` and
by bpnet.tables.load_model."""


def add_train(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that trains on a table."""
    parser = commands.add_parser(
        "train",
        help="train on a table in a CSV file",
        description="Train a net to predict a column of a table, and tell how well it does.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("table", metavar="TABLE.csv", help="the file; commas, semicolons or tabs part its fields")
    add("--target", required=True, metavar="COLUMN", help="the column to predict")
    add("--drop", type=fields, default=(), metavar="COLUMN,...", help="columns to leave out")
    add(
        "--categories",
        type=fields,
        default=(),
        metavar="COLUMN,...",
        help="columns of numbers that are only names",
    )
    add(
        "--task",
        choices=("classes", "numbers"),
        help=f"what the target is (default: classes if it is text, or at most {FEW_CLASSES} whole "
        f"numbers, with {ROWS_EACH} rows each on average)",
    )
    add("--hidden", type=layers, default=(32,), metavar="N,...", help="neurons (default: 32)")
    add("--activation", default="tanh", metavar="NAME", help="of hidden layers (default: tanh)")
    add("--epochs", type=int, default=500, metavar="N", help="at most (default: 500)")
    add("--patience", type=int, default=20, metavar="N", help="epochs to wait (default: 20)")
    add("--learning-rate", type=float, default=0.003, metavar="RATE", help="default: 0.003")
    add("--restarts", type=int, default=5, metavar="N", help="starts to choose from (default: 5)")
    for part in ("validation", "test"):
        add(f"--{part}", type=float, default=0.2, metavar="PART", help="of the rows (default: 0.2)")
    add("--seed", type=int, default=0, metavar="N", help="of all that is drawn (default: 0)")
    add("--save", metavar="FILE.json", help="write the model to this file")
    parser.set_defaults(run=run_train)


def fields(text: str) -> tuple[str, ...]:
    """Return the names in a text such as "id,address", which may have quotes as in a CSV file."""
    return tuple(name.strip() for row in csv.reader([text]) for name in row)


def run_train(args: argparse.Namespace) -> int:
    """Train on a table, report, and save."""
    from bpnet.archive import writable_target
    from bpnet.network.stack import lowest
    from bpnet.rules.optimizers import Adam
    from bpnet.tables import TableModel, read_table
    from bpnet.training.early_stopping import EarlyStopping
    from bpnet.training.fit import fit

    epochs = as_int(args.epochs, "--epochs", least=1)
    restarts = as_int(args.restarts, "--restarts", least=1)
    optimizer = Adam(as_float(args.learning_rate, "--learning-rate", above=0))
    stopping = EarlyStopping(as_int(args.patience, "--patience", least=0))
    rng = np.random.default_rng(as_int(args.seed, "--seed", least=0))
    table = read_table(args.table)
    rows, columns, target = prepared(table, args, rng)
    stack = start_of(columns, target, args, rng, restarts)
    if args.save is not None:
        writable_target(args.save)  # before the time for training is spent
    tell_data(table, columns, target, rows)
    tell("net", f"{stack[0]}")
    x, y = TableModel(stack, columns, target).inputs(table), target.encode(table)
    train, held, test = ((x[part], y[part]) for part in rows)
    say("training ...")
    history = fit(
        stack,
        *train,
        epochs=epochs,
        optimizer=optimizer,
        validation=held,
        early_stopping=stopping,
        rng=rng,
    )
    if not history.loss:  # Ctrl-C in the first epoch
        raise KeyboardInterrupt
    k = lowest(stack.loss(stack.forward(held[0]), held[1]))
    model = TableModel(stack[k].copy(), columns, target)
    epoch = np.atleast_1d(history.best_epoch)[k]
    tell("chosen", f"start {k + 1} of {restarts}, after epoch {epoch} of {len(history)}")
    print(Words(f"\n{report(model.net, target, train[1], *test)}"))
    if args.save is not None:
        model.save(args.save)
        print(Words(f"\nsaved      {args.save}"))
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return 0


def start_of(
    columns: tuple[Column, ...],
    target: Column,
    args: argparse.Namespace,
    rng: np.random.Generator,
    networks: int,
) -> MLP:
    """Return a stack of nets for these columns, as they start."""
    from bpnet.mlp import MLP
    from bpnet.tables import Categories

    classes = isinstance(target, Categories)
    return MLP.init(
        (sum(column.width for column in columns), *args.hidden, target.width),
        activation=args.activation,
        output="softmax" if classes else "identity",
        loss="cross_entropy" if classes else "half_squared_error",
        rng=rng,
        networks=networks,
    )


def prepared(
    table: Table, args: argparse.Namespace, rng: np.random.Generator
) -> tuple[list[Array], tuple[Column, ...], Column]:
    """Return the rows to train on, to stop by and to report on; the inputs' columns; the target."""
    from bpnet.tables import Categories, Numbers, column_of
    from bpnet.training.data import set_aside

    for name in (args.target, *args.drop, *args.categories):
        table.column(name)
    m, labels = len(table), None
    if m < FEWEST_ROWS:
        raise ValueError(f"{table.name} needs {FEWEST_ROWS} rows at least, but has {m}")
    classes = None
    if is_of_classes(table, args.target, args.task):
        classes = Categories.of(table, args.target)
        labels = classes.numbers(table)
        if not 1 < classes.width <= max(FEW_CLASSES, m // ROWS_EACH):
            raise ValueError(
                f"the target {args.target!r} has {classes.width:,} "
                + ("class" if classes.width == 1 else "classes")
                + f" in {m:,} rows: from so {'few' if classes.width == 1 else 'many'} nothing is "
                "learnt"
            )
    test = as_float(args.test, "--test", above=0, below=1)
    share = as_float(args.validation, "--validation", above=0, below=1 - test) / (1 - test)
    rest, held_out = set_aside(m, test, rng, labels, ("--test", "report on"))
    among = None if labels is None else labels[rest]
    inner, held = set_aside(len(rest), share, rng, among, ("--validation", "stop by"))
    rows = [rest[inner], rest[held], held_out]
    left_out = {args.target, *args.drop}
    used = [name for name in table.columns if name not in left_out]
    if not used:
        raise ValueError("there is no column to predict from: all are left out")
    columns = tuple(column_of(table, name, rows[0], args.categories) for name in used)
    return rows, columns, classes or Numbers.of(table, args.target, rows[0])


def is_of_classes(table: Table, name: str, task: str | None) -> bool:
    """Whether a target is to be predicted as a class."""
    from bpnet.tables import as_number, holds_numbers

    if task is not None:
        return task == "classes"
    if not holds_numbers(table, name):
        return True
    found = {float(as_number(text) or 0) for text in table.texts(name)}
    few = len(found) <= min(FEW_CLASSES, len(table) // ROWS_EACH)
    return few and all(number.is_integer() for number in found)


def tell(what: str, text: str) -> None:
    """Print a line, and what does not fit into it below."""
    indent = " " * INDENT
    print(Words(textwrap.fill(text, LINE, initial_indent=f"{what:<11}", subsequent_indent=indent)))


def tell_data(
    table: Table, columns: tuple[Column, ...], target: Column, rows: Sequence[Array]
) -> None:
    """Print what was found in a table."""
    from bpnet.tables import Categories, Numbers

    tell("data", f"{table.name}: {len(table):,} rows, {len(table.columns)} columns")
    if isinstance(target, Categories):
        labels = np.bincount(target.numbers(table))
        each = zip(target.categories, labels, strict=True)
        named = ", ".join(f"{name} ({n:,})" for name, n in each)
        tell("target", f"{target.name}, {target.width} classes: {named}")
    else:
        tell(
            "target", f"{target.name}, a number: mean {target.mean:.4g}, spread {target.scale:.4g}"
        )
    numbers = [column.name for column in columns if isinstance(column, Numbers)]
    if numbers:
        tell("numbers", f"{len(numbers)}: {', '.join(numbers)}")
    texts = [f"{c.name} ({c.width})" for c in columns if isinstance(c, Categories)]
    if texts:
        tell("categories", f"{len(texts)}: {', '.join(texts)}")
    train, held, test = map(len, rows)
    tell("rows", f"{train:,} to train on, {held:,} to stop and choose by, {test:,} to report on")


def report(net: MLP, target: Column, y_train: Array, x: Array, y: Array) -> str:
    """Return how well a net does on rows it has not seen, beside what needs no net, as text."""
    from bpnet.rules.metrics import METRICS
    from bpnet.tables import Numbers

    known = y_train.mean(axis=0)
    names: tuple[str, ...]
    if isinstance(target, Numbers):
        names, baseline = ("mean_absolute_error", "r2"), f"always the mean, {target.mean:.4g}"
    else:
        names = ("accuracy", "f1_macro", "log_loss")
        baseline = f"always {target.categories[known.argmax()]!r}"
    guesses = {"net": net.predict(x), baseline: np.broadcast_to(known, y.shape)}
    width = max(map(len, guesses))
    room = [max(len(name), 10) + 2 for name in names]
    lines = [" " * width + "".join(map(str.rjust, names, room))]
    for who, a in guesses.items():
        values = []
        for name, wide in zip(names, room, strict=True):
            unit = target.scale if isinstance(target, Numbers) and name != "r2" else 1.0
            values.append(f"{METRICS[name](y, a) * unit:>{wide}.4g}")
        lines.append(f"{who:<{width}}{''.join(values)}")
    return "\n".join(lines)
