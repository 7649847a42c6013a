"""The command ``bpnet predict``: what a model of ``bpnet train`` says of new rows."""

from __future__ import annotations

import argparse
import csv
import io
import sys

from bpnet.cli.options import Parser

EXAMPLES = """\
examples:
  bpnet predict iris.json new.csv
  bpnet predict iris.json new.csv -o predicted.csv

A line for each row: the target, and of classes the probability of the one that
is said. Columns that the model does not read may be there or not."""


def add_predict(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that predicts."""
    parser = commands.add_parser(
        "predict",
        help="predict from a model of `bpnet train`",
        description="Predict the target of each row of a table.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL.json", help="as `bpnet train --save` wrote it")
    parser.add_argument("table", metavar="NEW.csv", help="rows with the columns of the training")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to (default: to be printed)")
    parser.set_defaults(run=run_predict)


def run_predict(args: argparse.Namespace) -> int:
    """Print the predictions as CSV, or write them to a file."""
    from bpnet.formats.shared import write
    from bpnet.tables import Numbers, load_model, read_table

    model = load_model(args.model)
    a = model.net.predict(model.inputs(read_table(args.table)))
    said, text = model.target.decode(a), io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    if isinstance(model.target, Numbers):
        lines.writerow([model.target.name])
        lines.writerows([repr(float(number))] for number in said)
    else:
        lines.writerow([model.target.name, "probability"])
        sure = a.max(axis=-1)
        lines.writerows([name, f"{p:.6g}"] for name, p in zip(said, sure, strict=True))
    if args.output is None:
        sys.stdout.write(text.getvalue())
    else:
        write(args.output, text.getvalue().encode())
    return 0
