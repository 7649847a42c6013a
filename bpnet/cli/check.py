"""The command ``bpnet check``: check a network's gradient, and print the report."""

from __future__ import annotations

import argparse

import numpy as np

from bpnet.checks import as_int
from bpnet.cli.options import Parser, add_command, add_loss, add_option, names, say
from bpnet.mlp import MLP
from bpnet.rules.activations import ACTIVATIONS
from bpnet.words import Words

NUMBERS = 1e8  # that a check may compute with by itself: some seconds
LEAST = 10  # coordinates that it measures, whatever it takes
EVALUATIONS = {"central": 12, "complex": 2}  # of E for a coordinate; of complex, each is two

WORDS = (
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


def add_check(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that checks a gradient."""
    parser = add_command(commands, "check", run_check, WORDS)
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
