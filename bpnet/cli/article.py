"""The command without a name: the article's run."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int
from bpnet.cli.check import affordable
from bpnet.cli.options import Parser, add_sizes, say
from bpnet.mlp import MLP
from bpnet.rules.optimizers import SGD
from bpnet.training.fit import fit
from bpnet.worked.published import X, Y, example

if TYPE_CHECKING:
    from bpnet.gradcheck import GradientReport


DIFFERENCES = 2000  # the most parameters that are compared with differences; of large nets fewer
SHOWN = 6  # the most numbers in a row


ARTICLE_HELP = """\
Backpropagation from formula to code, in NumPy matrix products.

Without a command, bpnet runs the article: a 2-2-2 net with sigmoids learns one
sample, and the loss and the outputs are printed after 100, 1,000 and 10,000
epochs."""


ARTICLE_EXAMPLES = """\
examples:
  bpnet                             the article's run
  bpnet --published                 from the weights of the published example
  bpnet --sizes 2,5,3,2 --seed 7    a deeper net
  bpnet --epochs 10 50000 --learning-rate 2
  bpnet --restarts 1000             from 1,000 starts at once
  bpnet mnist data/mnist            train on MNIST; more by bpnet mnist --help
  bpnet check --sizes 3,5,2         check a gradient; bpnet check --help
  bpnet explain --published         work a step out with every number"""


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
    print(f"learning rate  {rate:g}", flush=True)
    say("gradient       is being compared with differences ...")
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

    few = min(DIFFERENCES, affordable(net, 1, "central"))
    report = check_gradient(net, x, y, method="central", coordinates=few)
    assert isinstance(report, GradientReport)  # since this is one net
    return report


def run_restarts(args: argparse.Namespace, marks: list[int], rate: float) -> int:
    """Train from many starts at once, and print how the losses are spread."""
    from bpnet.cli.restarts import report

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
    return example(), "published weights and biases (Mazur, 2015)"


def article_sample(net: MLP, seed: int) -> tuple[Array, Array, str]:
    """Return the article's sample, or a drawn one for other sizes, and a word on it."""
    n_in, n_out = net.sizes[0], net.sizes[-1]
    if (n_in, n_out) == (len(X), len(Y)):
        return np.array(X), np.array(Y), ""
    rng = np.random.default_rng([seed, 1])  # not the stream that the weights are drawn from
    x, y = rng.uniform(0, 1, n_in), rng.uniform(0.01, 0.99, n_out)
    return x, y, f" (input and target are drawn, seed {seed})"
