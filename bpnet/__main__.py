"""``python -m bpnet`` and the script ``bpnet``: the command, and Ctrl-C while it is loaded."""

import sys


def main() -> int:
    """Load the command, run it and return its exit status."""
    try:
        from bpnet.cli.main import main as command
    except KeyboardInterrupt:
        print("bpnet: interrupted", file=sys.stderr)
        return 128 + 2
    return command()


if __name__ == "__main__":
    sys.exit(main())
