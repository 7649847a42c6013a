"""The command ``bpnet check``: check a network's gradient, and print the report."""

from __future__ import annotations

import argparse

import numpy as np

from bpnet.checks import as_int
from bpnet.cli.options import Parser, add_loss, add_sizes, names, say
from bpnet.mlp import MLP
from bpnet.rules.activations import ACTIVATIONS
from bpnet.words import Words

NUMBERS = 1e8  # that a check may compute with by itself: some seconds
LEAST = 10  # coordinates that it measures, whatever it takes
EVALUATIONS = {
    "central": 12,
    "complex": 2,
}  # of E for a coordinate; of complex numbers, each is two

EXAMPLES = """\
examples:
  bpnet check --sizes 3,5,2 --activation tanh --loss cross_entropy
  bpnet check --sizes 4,8,3 --activation relu,softmax --loss cross_entropy
  bpnet check --sizes 784,100,10 --coordinates 500 --dtype float32

The exit status is 0 where the gradient is right, 1 where it is wrong, and 2
after an error."""


def add_check(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that checks a gradient."""
    parser = commands.add_parser(
        "check",
        help="check the gradient of a net and print the report",
        description="Check the gradient of a net, on a batch that is drawn, and print the report.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_sizes(parser)
    parser.add_argument(
        "--activation",
        type=names,
        default="sigmoid",
        metavar="NAME[,NAME...]",
        help="one for all layers, or one for each of the layers 2..L: "
        f"{', '.join(ACTIVATIONS)} (default: sigmoid)",
    )
    parser.add_argument(
        "--output", metavar="NAME", help="activation of the last layer (default: to suit the loss)"
    )
    add_loss(parser)
    parser.add_argument(
        "--initializer",
        type=names,
        metavar="RULE[,RULE...]",
        help="for the start weights (default: to suit the activation)",
    )
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="default: 4")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of weights and batch (default: 0)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float64", "float32"),
        default="float64",
        help="float64 or float32 (default: float64)",
    )
    parser.add_argument("--method", default="auto", help="auto, complex or central (default: auto)")
    parser.add_argument(
        "--coordinates",
        type=int,
        metavar="N",
        help="how many weights to sample (default: all, of a large net what takes seconds)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="the largest relative error that passes (default: by method and dtype)",
    )
    parser.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    """Check the gradient of a drawn net on a drawn batch."""
    from bpnet.gradcheck import check_gradient
    from bpnet.testing.cases import draw_batch

    seed = as_int(args.seed, "--seed", least=0)
    m = as_int(args.batch_size, "--batch-size", least=1)
    net = MLP.init(
        args.sizes,
        activation=args.activation,
        output=args.output,
        loss=args.loss,
        initializer=args.initializer,
        rng=seed,
        dtype=args.dtype,
    )
    few = args.coordinates
    if few is None:
        few = affordable(net, m, args.method)
        few = None if few == net.theta.size else few
    say("checking ...")
    rng = np.random.default_rng([seed, 1])  # not the stream that the weights are drawn from
    report = check_gradient(
        net,
        *draw_batch(net, m, rng),
        method=args.method,
        tolerance=args.tolerance,
        coordinates=few,
        rng=rng,
    )
    rule = f" by {args.initializer}" if args.initializer else ""
    print(Words(f"{net}\n  weights{rule} and a batch of {m}, seed {seed}\n\n{report}"))
    return 0 if report.ok else 1


def affordable(net: MLP, m: int, method: str) -> int:
    """Return how many coordinates of a net can be measured within `NUMBERS`."""
    numbers = net.theta.size + 3 * m * sum(net.sizes)
    few = int(NUMBERS / (numbers * EVALUATIONS.get(method, EVALUATIONS["complex"])))
    return min(net.theta.size, max(LEAST, few))
