"""The command ``bpnet check``: check a network's gradient, and print the report."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from bpnet.checks import as_int
from bpnet.cli.options import Parser, add_loss, add_sizes, names
from bpnet.rules.activations import ACTIVATIONS

EXAMPLES = """\
examples:
  bpnet check --sizes 3,5,2 --activation tanh --loss cross_entropy
  bpnet check --sizes 4,8,8,3 --activation tanh,relu,softmax --loss cross_entropy
  bpnet check --sizes 784,100,10 --coordinates 500 --dtype float32

The exit status is 0 where the gradient is right, 1 where it is not, and 2 after an error."""


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
    parser.add_argument("--dtype", default="float64", help="float64 or float32 (default: float64)")
    parser.add_argument("--method", default="auto", help="auto, complex or central (default: auto)")
    parser.add_argument(
        "--coordinates", type=int, metavar="N", help="how many weights to sample (default: all)"
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
    from bpnet.mlp import MLP
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
    rng = np.random.default_rng([seed, 1])  # not the stream that the weights are drawn from
    report = check_gradient(
        net,
        *draw_batch(net, m, rng),
        method=args.method,
        tolerance=args.tolerance,
        coordinates=args.coordinates,
        rng=rng,
    )
    rule = f" by {args.initializer}" if args.initializer else ""
    print_any(f"{net}\n  weights{rule} and a batch of {m}, seed {seed}\n\n{report}")
    return 0 if report.ok else 1


def print_any(text: str) -> None:
    """Print a text, with a question mark for what the terminal has no letter for."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))
