"""The command without a name: the article's run."""

from __future__ import annotations

import argparse
import time

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int
from bpnet.cli import restarts
from bpnet.cli.check import affordable
from bpnet.cli.options import Parser, add_option, say
from bpnet.mlp import MLP
from bpnet.rules.optimizers import SGD
from bpnet.training.fit import fit
from bpnet.worked.published import X, Y, example

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
    add, marks = options.add_argument, [100, 1000, 10000]
    text = "after which epochs to print (default: 100 1000 10000)"
    add("--epochs", type=int, nargs="+", default=marks, metavar="N", help=text)
    add_option(options, "--learning-rate", 0.5, "RATE")
    add("--seed", type=int, metavar="N", help="of the start weights (default: 0)")
    add_option(options, "--sizes", (2, 2, 2), "N,N,...", "neurons in each layer, the input first")
    text = "rule for the start weights (default: uniform, the article's U(0, 1), biases too)"
    add("--initializer", metavar="RULE", help=text)
    text = "start from the weights of Mazur's step by step example (2015) instead"
    add("--published", action="store_true", help=text)
    text = "train from N seeded starts at once, and print how their losses are spread"
    add("--restarts", type=int, metavar="N", help=text)
    parser.set_defaults(run=run_article)


def run_article(args: argparse.Namespace) -> int:
    """Train on one sample, or from many starts, and print the losses on the way."""
    from bpnet.gradcheck import check_gradient

    marks = sorted({as_int(n, "--epochs", least=1) for n in args.epochs})
    rate = as_float(args.learning_rate, "--learning-rate", above=0)
    net, start = article_net(args)
    x, y, source = article_sample(net, args.seed or 0)
    print(f"net            {'-'.join(map(str, net.sizes))}, sigmoid, half squared error")
    print(start)
    print(f"input          {row(x)}{source}")
    print(f"target         {row(y)}")
    print(f"learning rate  {rate:g}", flush=True)
    if args.restarts is not None:
        print(f"\n{restarts.report(net, x, y, marks, rate)}")
        return 0
    say("gradient       is being compared with differences ...")
    few = min(DIFFERENCES, affordable(net, 1, "central"))
    error = check_gradient(net, x, y, method="central", coordinates=few).max_error
    part = "" if few >= net.theta.size else f" of {net.theta.size}"
    print(
        f"gradient       largest relative error {error:.1e} against central differences, "
        f"{min(few, net.theta.size)}{part} parameters"
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
        E, a = net.loss(cache, y), cache.a[net.L][0]
        print(f"{mark:>10,}  {E:>#12.6g}  {seconds:>8.3f}  {row(a)}", flush=True)
    return 0


def article_net(args: argparse.Namespace) -> tuple[MLP, str]:
    """Return the net, or a stack of --restarts, and in words where its weights come from."""
    many = args.restarts is not None
    if args.published:
        if many:
            raise ValueError("--published is one start, --restarts asks for many: leave one out")
        if args.seed is not None or args.initializer is not None or args.sizes != (2, 2, 2):
            raise ValueError(
                "--published gives the start weights of a 2-2-2 net: "
                "leave out --seed, --initializer and --sizes"
            )
        return example(), "start          published weights and biases (Mazur, 2015)"
    count = as_int(args.restarts, "--restarts", least=1) if many else None
    seed, rule = as_int(args.seed or 0, "--seed", least=0), args.initializer or "uniform"
    net = MLP.init(args.sizes, initializer=rule, rng=seed, networks=count)
    starts = f"starts         {count:,}," if many else "start         "
    return net, f"{starts} weights and biases by {rule!r}, seed {seed}"


def article_sample(net: MLP, seed: int) -> tuple[Array, Array, str]:
    """Return the article's sample, or a drawn one for other sizes, and a word on it."""
    n_in, n_out = net.sizes[0], net.sizes[-1]
    if (n_in, n_out) == (len(X), len(Y)):
        return np.array(X), np.array(Y), ""
    rng = np.random.default_rng([seed, 1])  # not the stream that the weights are drawn from
    x, y = rng.uniform(0, 1, n_in), rng.uniform(0.01, 0.99, n_out)
    return x, y, f" (input and target are drawn, seed {seed})"
