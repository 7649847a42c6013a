"""The command ``bpnet``: the article's run, and one subcommand for each other job.

A subcommand is a function that adds its parser to COMMANDS, with the function that runs it as the
default of ``run``. What is printed is ASCII, so that any terminal shows it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bpnet import __version__
from bpnet.arguments import Parser, add_loss, add_sizes, layers
from bpnet.commands_check import add_check
from bpnet.errors import TrainingDiverged
from bpnet.losses import get_loss
from bpnet.mlp import MLP
from bpnet.optimizers import SGD
from bpnet.parameters import Array
from bpnet.training import fit
from bpnet.validation import as_float, as_int

if TYPE_CHECKING:
    from bpnet.gradcheck import GradientReport
    from bpnet.loop import Training

X, Y = (0.05, 0.10), (0.01, 0.99)  # the article's sample
PUBLISHED_W = [[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]]
PUBLISHED_B = [[0.35, 0.35], [0.60, 0.60]]

INTERRUPTED, BROKEN_PIPE = 128 + 2, 128 + 13  # as of a process that the signal has ended
DIFFERENCES = 2000  # the most parameters that are compared with differences
SHOWN = 6  # the most numbers in a row

ARTICLE_HELP = """\
Backpropagation from formula to code, in NumPy matrix products.

Without a command, bpnet runs the article: a 2-2-2 net with sigmoids learns one sample, and the
loss and the outputs are printed after 100, 1,000 and 10,000 epochs."""

ARTICLE_EXAMPLES = """\
examples:
  bpnet                                    the article's run
  bpnet --published                        from the start weights of the published example
  bpnet --sizes 2,5,3,2 --seed 7           a deeper net
  bpnet --epochs 10 50000 --learning-rate 2
  bpnet --restarts 1000                    from 1,000 starts at once
  bpnet mnist data/mnist                   train on MNIST; more by bpnet mnist --help
  bpnet check --sizes 3,5,2                check a gradient; more by bpnet check --help"""

MNIST_EXAMPLES = """\
examples:
  bpnet mnist data/mnist
  bpnet mnist data/mnist --epochs 2 --save net.npz
  bpnet mnist data/mnist --hidden 100,50 --loss cross_entropy --learning-rate 0.1

DIR holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte, each plain or .gz. They can be had from any MNIST mirror, such as
https://ossci-datasets.s3.amazonaws.com/mnist/"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; the default is those of the process.

    Returns
    -------
    int
        0; 1 where ``check`` finds a gradient wrong; 2 after an error, which is one line on stderr;
        130 after Ctrl-C; 141 where the reader of the output has gone.
    """
    try:
        status = run(sys.argv[1:] if argv is None else list(argv))
        print(end="", flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        give_up_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("bpnet: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return failed(named or str(error))
    except (ValueError, TypeError, MemoryError, TrainingDiverged) as error:
        return failed(str(error) or type(error).__name__)
    return status


def give_up_stdout() -> None:
    """Let what is still to be printed go nowhere, or the end of the process would fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failed(message: str) -> int:
    """Print an error in one line and return the exit status."""
    try:
        print(end="", flush=True)
    except OSError:
        give_up_stdout()
    print("bpnet: error:", " ".join(message.splitlines()), file=sys.stderr)
    return 2


def run(argv: list[str]) -> int:
    """Parse the arguments and run what they name."""
    parser = make_parser()
    try:
        args = parser.parse_args(argv)
        if args.command and argv[0] != args.command:
            parser.error(f"options before {args.command!r} are those of the article's run")
    except SystemExit as stop:  # an error, or --help and --version
        return int(stop.code or 0)
    return int(args.run(args))


def make_parser() -> Parser:
    """Return the parser of the whole command."""
    parser = Parser(
        prog="bpnet",
        description=ARTICLE_HELP,
        epilog=ARTICLE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bpnet {__version__}")
    add_article(parser)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser


def row(values: Array) -> str:
    """Return numbers in columns; of many, the first and how many there are."""
    text = "  ".join(f"{value:.6f}" for value in values[:SHOWN])
    return text if len(values) <= SHOWN else f"{text}  ... ({len(values)} numbers)"


def add_article(parser: Parser) -> None:
    """Add the options of the article's run."""
    options = parser.add_argument_group("the article's run")
    options.add_argument(
        "--epochs",
        type=int,
        nargs="+",
        default=[100, 1000, 10000],
        metavar="N",
        help="after which epochs to print (default: 100 1000 10000)",
    )
    options.add_argument(
        "--learning-rate", type=float, default=0.5, metavar="RATE", help="default: 0.5"
    )
    options.add_argument("--seed", type=int, metavar="N", help="of the start weights (default: 0)")
    add_sizes(options)
    options.add_argument(
        "--initializer",
        metavar="RULE",
        help="rule for the start weights (default: uniform, the article's U(0, 1), biases too)",
    )
    options.add_argument(
        "--published",
        action="store_true",
        help="start from the weights of Mazur's step by step example (2015) instead",
    )
    options.add_argument(
        "--restarts",
        type=int,
        metavar="N",
        help="train from N seeded starts at once, and print how their losses are spread",
    )
    parser.set_defaults(run=run_article)


def run_article(args: argparse.Namespace) -> int:
    """Train on one sample, and print the loss and the outputs on the way."""
    marks = sorted({as_int(n, "--epochs", least=1) for n in args.epochs})
    rate = as_float(args.learning_rate, "--learning-rate", above=0)
    if args.restarts is not None:
        return run_restarts(args, marks, rate)
    net, start = article_net(args)
    x, y, source = article_sample(net, args.seed or 0)
    print(f"net            {'-'.join(map(str, net.sizes))}, sigmoid, half squared error")
    print(f"start          {start}")
    print(f"input          {row(x)}{source}")
    print(f"target         {row(y)}")
    print(f"learning rate  {rate:g}")
    report = gradient_report(net, x, y)
    part = "" if len(report.k) == net.theta.size else f" of {net.theta.size}"
    print(
        f"gradient       largest relative error {report.max_error:.1e} against central "
        f"differences, {len(report.k)}{part} parameters"
    )
    print(f"\n{'epochs':>10}  {'loss':>12}  {'seconds':>8}  outputs")
    done, seconds = 0, 0.0
    for mark in [0, *marks]:
        if mark:
            began = time.perf_counter()
            history = fit(net, x, y, epochs=mark - done, batch_size=1, optimizer=SGD(rate))
            seconds += time.perf_counter() - began
            if history.stopped == "interrupted":
                raise KeyboardInterrupt
        done = mark
        cache = net.forward(x)
        E = net.loss(cache, y)
        print(
            f"{mark:>10,}  {E:>#12.6g}  {seconds:>8.3f}  {row(cache.a[net.L][0])}",
            flush=True,
        )
    return 0


def gradient_report(net: MLP, x: Array, y: Array) -> GradientReport:
    """Return the check of the gradient against central differences, of a large net in part."""
    from bpnet.gradcheck import GradientReport, check_gradient

    few = min(net.theta.size, DIFFERENCES)
    report = check_gradient(net, x, y, method="central", coordinates=few)
    assert isinstance(report, GradientReport)  # since this is one net
    return report


def run_restarts(args: argparse.Namespace, marks: list[int], rate: float) -> int:
    """Train from many starts at once, and print how the losses are spread."""
    from bpnet.restarts import report

    if args.published:
        raise ValueError("--published is one start, --restarts asks for many: leave one out")
    count = as_int(args.restarts, "--restarts", least=1)
    seed, rule = as_int(args.seed or 0, "--seed", least=0), args.initializer or "uniform"
    net = MLP.init(args.sizes, initializer=rule, rng=seed, networks=count)
    x, y, source = article_sample(net, seed)
    print(f"net            {'-'.join(map(str, net.sizes))}, sigmoid, half squared error")
    print(f"starts         {count:,}, weights and biases by {rule!r}, seed {seed}")
    print(f"input          {row(x)}{source}")
    print(f"target         {row(y)}")
    print(f"learning rate  {rate:g}\n", flush=True)
    print(report(net, x, y, marks, rate))
    return 0


def article_net(args: argparse.Namespace) -> tuple[MLP, str]:
    """Return the net, and in words where its weights come from."""
    if not args.published:
        seed, rule = as_int(args.seed or 0, "--seed", least=0), args.initializer or "uniform"
        net = MLP.init(args.sizes, initializer=rule, rng=seed)
        return net, f"weights and biases by {rule!r}, seed {seed}"
    if args.seed is not None or args.initializer is not None or args.sizes != (2, 2, 2):
        raise ValueError(
            "--published gives the start weights of a 2-2-2 net: "
            "leave out --seed, --initializer and --sizes"
        )
    return MLP.from_weights(PUBLISHED_W, PUBLISHED_B), "published weights and biases (Mazur, 2015)"


def article_sample(net: MLP, seed: int) -> tuple[Array, Array, str]:
    """Return the article's sample, or a drawn one for other sizes, and a word on it."""
    n_in, n_out = net.sizes[0], net.sizes[-1]
    if (n_in, n_out) == (len(X), len(Y)):
        return np.array(X), np.array(Y), ""
    rng = np.random.default_rng([seed, 1])  # not the stream that the weights are drawn from
    x, y = rng.uniform(0, 1, n_in), rng.uniform(0.01, 0.99, n_out)
    return x, y, f" (input and target are drawn, seed {seed})"


def add_mnist(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that trains on MNIST."""
    parser = commands.add_parser(
        "mnist",
        help="train on MNIST and print the test accuracy by epoch",
        description="Train a net on MNIST and print its test accuracy by epoch.",
        epilog=MNIST_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("directory", metavar="DIR", help="the folder of the four MNIST files")
    parser.add_argument(
        "--hidden",
        type=layers,
        default=(30,),
        metavar="N[,N...]",
        help="neurons in the hidden layers (default: 30)",
    )
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="default: 30")
    parser.add_argument("--batch-size", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "--learning-rate", type=float, default=3.0, metavar="RATE", help="default: 3.0"
    )
    add_loss(parser, "; the output is softmax for cross_entropy, sigmoid for the others")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of start weights and batches (default: 0)",
    )
    parser.add_argument("--save", metavar="FILE", help="write the last weights to this .npz file")
    parser.set_defaults(run=run_mnist)


def run_mnist(args: argparse.Namespace) -> int:
    """Train on MNIST, and print how well the net does after each epoch."""
    from bpnet.datasets import load_mnist
    from bpnet.storage import writable_target

    epochs = as_int(args.epochs, "--epochs", least=1)
    batch_size = as_int(args.batch_size, "--batch-size", least=1)
    optimizer = SGD(as_float(args.learning_rate, "--learning-rate", above=0))
    rng = np.random.default_rng(as_int(args.seed, "--seed", least=0))
    output = "softmax" if get_loss(args.loss).distribution else "sigmoid"
    net = MLP.init(
        (784, *args.hidden, 10), output=output, loss=args.loss, rng=rng, dtype=np.float32
    )
    if args.save is not None:
        writable_target(args.save)  # before the time for training is spent
    data = load_mnist(args.directory)
    print(f"data      {len(data.x_train):,} training and {len(data.x_test):,} test images")
    print(f"net       {'-'.join(map(str, net.sizes))}, sigmoid, {output} output; {args.loss}")
    print(
        f"training  learning rate {optimizer.learning_rate:g}, batch size {batch_size}, "
        f"seed {args.seed}"
    )
    print("\nepoch  training loss  test accuracy  seconds", flush=True)
    accuracy: list[float] = []

    def show(training: Training) -> None:
        found = training.net.predict(data.x_test).argmax(axis=-1)
        accuracy.append(float((found == data.labels_test).mean()))
        loss, seconds = training.history.loss[-1], training.history.time[-1]
        print(
            f"{training.epoch:>5}  {loss:>13.6f}  {accuracy[-1]:>13.2%}  {seconds:>7.2f}",
            flush=True,
        )

    history = fit(
        net,
        data.x_train,
        data.y_train,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        rng=rng,
        callbacks=[show],
    )
    if not accuracy:  # Ctrl-C in the first epoch
        raise KeyboardInterrupt
    best = max(accuracy)
    print(f"\nbest      {best:.2%}, epoch {accuracy.index(best) + 1}\nlast      {accuracy[-1]:.2%}")
    if args.save is not None:
        net.save(args.save)
        print(f"saved     {args.save}", flush=True)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return 0


COMMANDS: tuple[Callable[[argparse._SubParsersAction[Parser]], None], ...] = (
    add_mnist,
    add_check,
)
