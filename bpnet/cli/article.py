"""The command without a name, the article's run, also from many seeded starts; ``bpnet check``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int
from bpnet.cli.options import Parser, add_command, add_loss, add_option, names, say
from bpnet.mlp import MLP
from bpnet.rules.activations import ACTIVATIONS
from bpnet.rules.optimizers import SGD
from bpnet.training.fit import fit
from bpnet.words import Words
from bpnet.worked.published import PRINTED, X, Y, example

DIFFERENCES = 2000  # the most parameters that are compared with differences; of large nets fewer
SHOWN = 6  # the most numbers in a row
HISTORY = 10_000_000  # losses that a call of fit may record, one each epoch and network
BINS, WIDTH = 12, 40  # of the histogram: rows, and characters in the longest

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
NUMBERS = 1e8  # that a check may compute with by itself: some seconds
LEAST = 10  # coordinates that it measures, whatever it takes
EVALUATIONS = {"central": 12, "complex": 2}  # of E for a coordinate; of complex, each is two
CHECK = (
    "check the gradient of a net and print the report",
    "Check the gradient of a net, on a batch that is drawn, and print the report.",
    """\
examples:
  bpnet check --sizes 3,5,2 --activation tanh --loss cross_entropy
  bpnet check --sizes 4,8,3 --activation relu,softmax --loss cross_entropy
  bpnet check --sizes 784,100,10 --coordinates 500 --dtype float32

The exit status is 0 where the gradient is right, 1 where it is wrong, and 2
after an error.""",
)


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
        print(f"\n{report(net, x, y, marks, rate)}")
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


def losses_by_mark(
    net: MLP, x: Array, y: Array, marks: Sequence[int], learning_rate: float
) -> dict[int, tuple[Array, float]]:
    """Train a stack through the marks; return each network's loss there, and the seconds so far."""
    found, done, seconds = {}, 0, 0.0
    at_once = max(1, HISTORY // len(net))
    for mark in marks:
        began = time.perf_counter()
        while done < mark:
            epochs = min(mark - done, at_once)
            history = fit(net, x, y, epochs=epochs, batch_size=1, optimizer=SGD(learning_rate))
            if history.stopped == "interrupted":
                raise KeyboardInterrupt
            done += epochs
        seconds += time.perf_counter() - began
        found[mark] = net.loss(net.forward(x), y), seconds
    return found


def table(found: dict[int, tuple[Array, float]]) -> str:
    """Return the quartiles at each mark, as lines of text."""
    head = ("epochs", "best", "quartile", "median", "quartile", "worst", "seconds")
    lines = [f"{head[0]:>8}" + "".join(f"{name:>12}" for name in head[1:])]
    for mark, (losses, seconds) in found.items():
        five = np.quantile(losses, [0, 0.25, 0.5, 0.75, 1])
        lines.append(f"{mark:>8,}" + "".join(f"{q:>12.3g}" for q in five) + f"{seconds:>12.3f}")
    return "\n".join(lines)


def histogram(losses: Array, printed: float | None = None) -> str:
    """Return a histogram of the losses on a logarithmic scale; the row of `printed` is marked."""
    positive = losses[losses > 0]
    if positive.size == 0:
        return "every loss is 0"
    low, high = np.log10(positive.min()), np.log10(positive.max())
    if high - low < 1e-9:
        return f"every loss is {positive[0]:.3g}"
    edges = np.logspace(low, high, BINS + 1)
    edges[0], edges[-1] = positive.min(), positive.max()
    counts, _ = np.histogram(positive, edges)
    lines = []
    for left, right, n in zip(edges[:-1], edges[1:], counts, strict=True):
        bar = "#" * int(np.ceil(WIDTH * n / counts.max()))
        here = "  <- the article's" if printed is not None and left <= printed < right else ""
        lines.append(f"{left:>10.2e} .. {right:.2e}  {n:>6,}  {bar}{here}")
    return "\n".join(lines)


def report(net: MLP, x: Array, y: Array, marks: Sequence[int], learning_rate: float) -> str:
    """Train a stack and return the whole account as text; the article's beside its own net's."""
    found = losses_by_mark(net, x, y, marks, learning_rate)
    last = marks[-1]
    printed = PRINTED if net.sizes == (2, 2, 2) and learning_rate == 0.5 else {}
    compared = [
        f"the article's loss after {mark:,} epochs, {printed[mark]:.6f}: "
        f"{np.mean(found[mark][0] < printed[mark]):.1%} of the starts end lower"
        for mark in marks
        if mark in printed
    ]
    title = f"losses after {last:,} epochs, on a logarithmic scale"
    spread = f"{title}\n{histogram(found[last][0], printed.get(last))}"
    return "\n\n".join(filter(None, (table(found), "\n".join(compared), spread)))


def add_check(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that checks a gradient."""
    parser = add_command(commands, "check", run_check, CHECK)
    add = parser.add_argument
    add_option(parser, "--sizes", (2, 2, 2), "N,N,...", "neurons in each layer, the input first")
    known = f"one for all layers, or one for each of the layers 2..L: {', '.join(ACTIVATIONS)}"
    text = f"{known} (default: sigmoid)"
    add("--activation", type=names, default="sigmoid", metavar="NAME[,NAME...]", help=text)
    text = "activation of the last layer (default: to suit the loss)"
    add("--output", metavar="NAME", help=text)
    add_loss(parser)
    text = "for the start weights (default: to suit the activation)"
    add("--initializer", type=names, metavar="RULE[,RULE...]", help=text)
    add_option(parser, "--batch-size", 4, "N")
    add_option(parser, "--seed", 0, "N", "of weights and batch")
    text = "float64 or float32 (default: float64)"
    add("--dtype", choices=("float64", "float32"), default="float64", help=text)
    add("--method", default="auto", help="auto, complex or central (default: auto)")
    text = "how many weights to sample (default: all, of a large net what takes seconds)"
    add("--coordinates", type=int, metavar="N", help=text)
    text = "the largest relative error that passes (default: by method and dtype)"
    add("--tolerance", type=float, metavar="T", help=text)


def run_check(args: argparse.Namespace) -> int:
    """Check the gradient of a drawn net on a drawn batch."""
    from bpnet.gradcheck import check_gradient
    from bpnet.testing.cases import draw_batch

    seed = as_int(args.seed, "--seed", least=0)
    m = as_int(args.batch_size, "--batch-size", least=1)
    net = MLP.init(
        args.sizes, activation=args.activation, output=args.output, loss=args.loss,
        initializer=args.initializer, rng=seed, dtype=args.dtype,
    )  # fmt: skip
    few = args.coordinates
    if few is None:
        few = affordable(net, m, args.method)
        few = None if few == net.theta.size else few
    say("checking ...")
    rng = np.random.default_rng([seed, 1])  # not the stream that the weights are drawn from
    how = {"method": args.method, "tolerance": args.tolerance, "coordinates": few}
    report = check_gradient(net, *draw_batch(net, m, rng), rng=rng, **how)
    rule = f" by {args.initializer}" if args.initializer else ""
    print(Words(f"{net}\n  weights{rule} and a batch of {m}, seed {seed}\n\n{report}"))
    return 0 if report.ok else 1


def affordable(net: MLP, m: int, method: str) -> int:
    """Return how many coordinates of a net can be measured within `NUMBERS`."""
    numbers = net.theta.size + 3 * m * sum(net.sizes)
    few = int(NUMBERS / (numbers * EVALUATIONS.get(method, EVALUATIONS["complex"])))
    return min(net.theta.size, max(LEAST, few))
