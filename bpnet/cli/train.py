"""The commands ``bpnet train`` and ``bpnet predict``, for tables, and ``bpnet mnist``."""

from __future__ import annotations

import argparse
import csv
import io
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet import tables
from bpnet.archive import writable_target
from bpnet.arrays import Array
from bpnet.checks import as_float, as_int
from bpnet.cli.options import Parser, add_command, add_loss, add_option, say
from bpnet.formats.shared import write
from bpnet.mlp import MLP
from bpnet.rules.losses import get_loss
from bpnet.rules.metrics import METRICS
from bpnet.rules.optimizers import SGD, Adam
from bpnet.tables import Column, Table, TableModel, inputs_of, read_table
from bpnet.training.data import set_aside
from bpnet.training.early_stopping import EarlyStopping
from bpnet.training.fit import fit
from bpnet.words import Words

if TYPE_CHECKING:
    from bpnet.training.callbacks import Training

FEW_CLASSES, ROWS_EACH, FEWEST_ROWS = 20, 5, 10
ENCODING = "of the table's file, such as cp1252"
TRAIN = (
    "train on a table in a CSV file",
    "Train a net to predict a column of a table, and tell how well it does.",
    """\
examples:
  bpnet train iris.csv --target species --save iris.json
  bpnet train houses.csv --target price --drop id,address --hidden 64,32

The first row names the columns; commas, semicolons or tabs part the fields.
Numbers are scaled; of other texts each is an input of its own; missing values
are refused. Rows are set aside to stop early and choose the best start by, and
others for the report. A file of --save is for `bpnet predict`, and
bpnet.estimators.load_model.""",
)
PREDICT = (
    "predict from a model of `bpnet train`",
    "Predict the target of each row of a table.",
    """\
examples:
  bpnet predict iris.json new.csv
  bpnet predict iris.json new.csv -o predicted.csv

A line for each row: the target, and of classes the probability of the one that
is said. Columns that the model does not read may be there or not.""",
)
MNIST = (
    "train on MNIST and print the test accuracy by epoch",
    "Train a net on MNIST and print its test accuracy by epoch.",
    """\
examples:
  bpnet mnist data/mnist
  bpnet mnist data/mnist --epochs 2 --save net.npz
  bpnet mnist data/mnist --hidden 100 --loss cross_entropy --learning-rate 0.1

DIR holds train-images-idx3-ubyte, train-labels-idx1-ubyte,
t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or .gz. They can
be had from any MNIST mirror, such as
https://ossci-datasets.s3.amazonaws.com/mnist/""",
)


def add_train(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that trains on a table."""
    parser = add_command(commands, "train", run_train, TRAIN)
    add = parser.add_argument
    add("table", metavar="TABLE.csv", help="the file")
    add("--target", required=True, metavar="COLUMN", help="the column to predict")
    several: dict[str, Any] = {"type": fields, "default": (), "metavar": "COLUMN,..."}
    add("--drop", help="columns to leave out", **several)
    add("--categories", help="columns of numbers that are only names", **several)
    few = f"at most {FEW_CLASSES} whole numbers, with {ROWS_EACH} rows each on average"
    text = f"what the target is (default: classes if it is text, or {few})"
    add("--task", choices=("classes", "numbers"), help=text)
    add_option(parser, "--hidden", (32,), "N,...", "neurons")
    add_option(parser, "--activation", "tanh", "NAME", "of hidden layers")
    add_option(parser, "--epochs", 500, "N", "at most")
    add_option(parser, "--patience", 20, "N", "epochs to wait")
    add_option(parser, "--learning-rate", 0.003, "RATE")
    add_option(parser, "--restarts", 5, "N", "starts to choose from")
    add_option(parser, "--validation", 0.2, "PART", "of the rows, to stop and choose by")
    add_option(parser, "--test", 0.2, "PART", "of the rows, to report on")
    add_option(parser, "--seed", 0, "N", "of all that is drawn")
    add_option(parser, "--encoding", "utf-8", "NAME", ENCODING)
    add("--save", metavar="FILE.json", help="write the model to this file")


def add_predict(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that predicts."""
    parser = add_command(commands, "predict", run_predict, PREDICT)
    add = parser.add_argument
    add("model", metavar="MODEL.json", help="as `bpnet train --save` wrote it")
    add("table", metavar="NEW.csv", help="rows with the columns of the training")
    add("-o", "--output", metavar="FILE", help="where to (default: to be printed)")
    add_option(parser, "--encoding", "utf-8", "NAME", ENCODING)


def fields(text: str) -> tuple[str, ...]:
    """Return the names in a text such as "id,address", which may have quotes as in a CSV file."""
    return tuple(name.strip() for row in csv.reader([text]) for name in row)


def run_train(args: argparse.Namespace) -> int:
    """Train on a table, report, and save."""
    how: dict[str, Any] = {
        "epochs": as_int(args.epochs, "--epochs", least=1),
        "optimizer": Adam(as_float(args.learning_rate, "--learning-rate", above=0)),
        "early_stopping": EarlyStopping(as_int(args.patience, "--patience", least=0)),
        "rng": np.random.default_rng(as_int(args.seed, "--seed", least=0)),
    }
    table = read_table(args.table, args.encoding)
    columns, target, rows = prepared(table, args, how["rng"])
    x, y = inputs_of(table, columns), target.encode(table)
    stack = MLP.init(
        (x.shape[1], *args.hidden, y.shape[1]),
        activation=args.activation,
        output="softmax" if target.categories else "identity",
        loss="cross_entropy" if target.categories else "half_squared_error",
        rng=how["rng"],
        networks=as_int(args.restarts, "--restarts", least=1),
    )
    if args.save is not None:
        writable_target(args.save)  # before the time for training is spent
    tell_data(table, columns, target, rows)
    tell("net", f"{stack[0]}")
    train, held = ((x[part], y[part]) for part in rows[:2])
    say("training ...")
    history = fit(stack, *train, validation=held, **how)
    if not history.loss:  # Ctrl-C in the first epoch
        raise KeyboardInterrupt
    losses = stack.loss(stack.forward(held[0]), held[1])
    k = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
    net, epoch = stack[k].copy(), np.atleast_1d(history.best_epoch)[k]
    tell("chosen", f"start {k + 1} of {len(stack)}, after epoch {epoch} of {len(history)}")
    if not target.categories:  # the net shall say the numbers themselves
        net.W[net.L] *= target.scale
        net.b[net.L] = net.b[net.L] * target.scale + target.mean
    model = TableModel(net, columns, target)
    print(Words(f"\n{report(model, table, rows[0], rows[2])}"))
    if args.save is not None:
        model.save(args.save)
        print(Words(f"\nsaved      {args.save}"))
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return 0


def prepared(
    table: Table, args: argparse.Namespace, rng: np.random.Generator
) -> tuple[tuple[Column, ...], Column, list[Array]]:
    """Return the inputs' columns, the target, and the rows to train on, stop by and report on."""
    for name in {*args.drop, *args.categories} - {*table.columns}:
        table.texts(name)  # which is not there
    m, labels, target = len(table.texts(args.target)), None, None
    if m < FEWEST_ROWS:
        raise ValueError(f"{table.name} needs {FEWEST_ROWS} rows at least, but has {m}")
    classes = args.task == "classes" or args.target in args.categories
    if not classes and args.task is None:
        classes = not tables.holds_numbers(table, args.target)
        values = np.zeros(0) if classes else Column(args.target).values(table)
        few = len(set(values)) <= min(FEW_CLASSES, m // ROWS_EACH)
        classes |= few and np.array_equal(values, values.round())
    if classes:
        target = tables.told_apart(table, args.target)
        labels = target.values(table)
    share = as_float(args.test, "--test", above=0, below=1)
    part = as_float(args.validation, "--validation", above=0, below=1 - share) / (1 - share)
    rest, test = set_aside(m, share, rng, labels, ("--test", "report on"))
    among = None if labels is None else labels[rest]
    inner, held = set_aside(len(rest), part, rng, among, ("--validation", "stop by"))
    known, used = rest[inner], [n for n in table.columns if n not in (args.target, *args.drop)]
    if not used:
        raise ValueError("there is no column to predict from: all are left out")
    columns = tuple(
        tables.scaled(table, name, known)
        if name not in args.categories and tables.holds_numbers(table, name)
        else tables.told_apart(table, name)
        for name in used
    )
    return columns, target or tables.scaled(table, args.target, known), [known, rest[held], test]


def tell(what: str, text: str) -> None:
    """Print a line, and what does not fit into it below."""
    print(Words(textwrap.fill(f"{what:<11}{text}", 79, subsequent_indent=" " * 11)))


def tell_data(table: Table, columns: tuple[Column, ...], target: Column, rows: list[Array]) -> None:
    """Print what was found in a table."""
    values = target.values(table)
    told = f"a number: mean {target.mean:.4g}, spread {target.scale:.4g}"
    if target.categories:
        each = zip(target.categories, np.bincount(values), strict=True)
        named = ", ".join(f"{name} ({n:,})" for name, n in each)
        told = f"{target.width} classes: {named}"
    tell("data", f"{table.name}: {len(values):,} rows, {len(table.columns)} columns")
    tell("target", f"{target.name}, {told}")
    numbers = [column.name for column in columns if not column.categories]
    texts = [f"{column.name} ({column.width})" for column in columns if column.categories]
    for what, found in {"numbers": numbers, "categories": texts}.items():
        if found:
            tell(what, f"{len(found)}: {', '.join(found)}")
    known, held, test = map(len, rows)
    tell("rows", f"{known:,} to train on, {held:,} to stop and choose by, {test:,} to report on")


def report(model: TableModel, table: Table, known: Array, rows: Array) -> str:
    """Return how well a model does on rows it has not seen, beside what needs no net, as text."""
    target = model.target
    y = Column(target.name, target.categories).encode(table)
    usual = y[known].mean(axis=0)
    names, baseline = ["mean_absolute_error", "r2"], f"always the mean, {usual[0]:.4g}"
    if target.categories:
        names = ["accuracy", "f1_macro", "log_loss"]
        baseline = f"always {target.categories[usual.argmax()]!r}"
    y, said = y[rows], model.net.predict(inputs_of(table, model.columns)[rows])
    guesses = {"net": said, baseline: np.broadcast_to(usual, y.shape)}
    width, room = max(map(len, guesses)), [max(len(name), 10) + 2 for name in names]
    lines = [" " * width + "".join(map(str.rjust, names, room))]
    for who, a in guesses.items():
        scores = (f"{METRICS[name](y, a):>{n}.4g}" for name, n in zip(names, room, strict=True))
        lines.append(f"{who:<{width}}{''.join(scores)}")
    return "\n".join(lines)


def run_predict(args: argparse.Namespace) -> int:
    """Print the predictions as CSV, or write them to a file."""
    model, text = tables.load_table_model(args.model), io.StringIO()
    said, a = model.predict(read_table(args.table, args.encoding))
    lines, name = csv.writer(text, lineterminator="\n"), model.target.name
    if model.target.categories:
        lines.writerow([name, "probability"])
        lines.writerows(zip(said, map("{:.6g}".format, a.max(axis=-1)), strict=True))
    else:
        lines.writerow([name])
        lines.writerows([repr(number)] for number in said.tolist())
    if args.output is None:
        print(Words(text.getvalue()), end="")
    else:
        write(args.output, text.getvalue().encode())
    return 0


def add_mnist(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that trains on MNIST."""
    parser = add_command(commands, "mnist", run_mnist, MNIST)
    parser.add_argument("directory", metavar="DIR", help="the folder of the four MNIST files")
    add_option(parser, "--hidden", (30,), "N[,N...]", "neurons in the hidden layers")
    add_option(parser, "--epochs", 30, "N")
    add_option(parser, "--batch-size", 10, "N")
    add_option(parser, "--learning-rate", 3.0, "RATE")
    add_loss(parser, "; the output is softmax for cross_entropy, sigmoid for the others")
    add_option(parser, "--seed", 0, "N", "of start weights and batches")
    parser.add_argument("--save", metavar="FILE", help="write the last weights to this .npz file")


def run_mnist(args: argparse.Namespace) -> int:
    """Train on MNIST, and print how well the net does after each epoch."""
    from bpnet.datasets import load_mnist

    if not args.directory:
        raise ValueError("DIR is empty: name the folder of the four MNIST files")
    how: dict[str, Any] = {
        "epochs": as_int(args.epochs, "--epochs", least=1),
        "batch_size": as_int(args.batch_size, "--batch-size", least=1),
        "optimizer": SGD(as_float(args.learning_rate, "--learning-rate", above=0)),
        "rng": np.random.default_rng(as_int(args.seed, "--seed", least=0)),
    }
    output = "softmax" if get_loss(args.loss).distribution else "sigmoid"
    rules = {"output": output, "loss": args.loss, "rng": how["rng"], "dtype": np.float32}
    net = MLP.init((784, *args.hidden, 10), **rules)
    if args.save is not None:
        writable_target(args.save)  # before the time for training is spent
    data = load_mnist(args.directory)
    print(f"data      {len(data.x_train):,} training and {len(data.x_test):,} test images")
    print(f"net       {'-'.join(map(str, net.sizes))}, sigmoid, {output} output; {args.loss}")
    rate, size = args.learning_rate, args.batch_size
    print(f"training  learning rate {rate:g}, batch size {size}, seed {args.seed}")
    print("\nepoch  training loss  test accuracy  seconds", flush=True)
    accuracy: list[float] = []

    def show(training: Training) -> None:
        found = training.net.predict(data.x_test).argmax(axis=-1)
        accuracy.append(float((found == data.labels_test).mean()))
        loss, seconds = training.history.loss[-1], training.history.time[-1]
        row = f"{training.epoch:>5}  {loss:>13.6f}  {accuracy[-1]:>13.2%}  {seconds:>7.2f}"
        print(row, flush=True)

    history = fit(net, data.x_train, data.y_train, callbacks=[show], **how)
    if not accuracy:  # Ctrl-C in the first epoch
        raise KeyboardInterrupt
    best = max(accuracy)
    print(f"\nbest      {best:.2%}, epoch {accuracy.index(best) + 1}\nlast      {accuracy[-1]:.2%}")
    if args.save is not None:
        net.save(args.save)
        print(Words(f"saved     {args.save}"), flush=True)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return 0
