"""The command ``bpnet mnist``: train on MNIST's four files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from bpnet.checks import as_float, as_int
from bpnet.cli.options import Parser, add_loss, layers
from bpnet.mlp import MLP
from bpnet.rules.losses import get_loss
from bpnet.rules.optimizers import SGD
from bpnet.training.fit import fit
from bpnet.words import Words

if TYPE_CHECKING:
    from bpnet.training.callbacks import Training


MNIST_EXAMPLES = """\
examples:
  bpnet mnist data/mnist
  bpnet mnist data/mnist --epochs 2 --save net.npz
  bpnet mnist data/mnist --hidden 100 --loss cross_entropy --learning-rate 0.1

DIR holds train-images-idx3-ubyte, train-labels-idx1-ubyte,
t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or .gz. They can
be had from any MNIST mirror, such as
https://ossci-datasets.s3.amazonaws.com/mnist/"""


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
    from bpnet.archive import writable_target
    from bpnet.datasets import load_mnist

    if not args.directory:
        raise ValueError("DIR is empty: name the folder of the four MNIST files")
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
        print(Words(f"saved     {args.save}"), flush=True)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return 0
