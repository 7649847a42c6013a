"""The command ``bpnet``: the article's run, and one subcommand for each other job.

A subcommand is a function that adds its parser, with the function that runs it as the default of
``run``. What is printed is ASCII, so that any terminal shows it.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from bpnet import __version__
from bpnet.cli.article import ARTICLE_EXAMPLES, ARTICLE_HELP, add_article, add_check
from bpnet.cli.options import Parser
from bpnet.cli.page import add_page
from bpnet.cli.saved import add_explain, add_export
from bpnet.cli.train import add_mnist, add_predict, add_train
from bpnet.errors import TrainingDiverged
from bpnet.words import shown

HELP = ("-h", "--help", "--version")
INTERRUPTED, BROKEN_PIPE = 128 + 2, 128 + 13  # as of a process that the signal has ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, by default with the arguments of the process; return its exit status."""
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
    except (ValueError, TypeError, MemoryError, ImportError, TrainingDiverged) as error:
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
    print("bpnet: error:", shown(" ".join(message.splitlines()), sys.stderr), file=sys.stderr)
    return 2


def run(argv: list[str]) -> int:
    """Parse the arguments and run what they name."""
    parser = make_parser()
    try:
        options = argv[:1] and argv[0].startswith("-") and argv[0] not in HELP
        command = next((word for word in argv if word in parser.commands), "")
        if options and command:  # which an option such as --epochs may take for its own
            parser.error(f"options before {command!r} are those of the article's run")
        args = parser.parse_args(argv)
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
    of_nets, of_tables = (add_mnist, add_check, add_export, add_explain), (add_train, add_predict)
    for add in (*of_nets, *of_tables, add_page):
        add(commands)
    parser.commands = tuple(commands.choices)
    return parser
