"""The command ``bpnet mnist``: train on MNIST's four files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from bpnet.checks import as_float, as_int
from bpnet.cli.options import Parser, add_command, add_loss, add_option
from bpnet.mlp import MLP
from bpnet.rules.losses import get_loss
from bpnet.rules.optimizers import SGD
from bpnet.training.fit import fit
from bpnet.words import Words

if TYPE_CHECKING:
    from bpnet.training.callbacks import Training


WORDS = (
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


def add_mnist(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that trains on MNIST."""
    parser = add_command(commands, "mnist", run_mnist, WORDS)
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
    from bpnet.archive import writable_target
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
