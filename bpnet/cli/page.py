"""The command ``bpnet page``: open the page in which bpnet computes."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from bpnet.cli.options import Parser


def add_page(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add the command that serves the page."""
    words = "open a page in which to see and touch every number"
    about = "Serve the page on 127.0.0.1 until Ctrl-C, and open it in the browser."
    parser = commands.add_parser("page", help=words, description=about, allow_abbrev=False)
    add = parser.add_argument
    add("--port", type=int, default=0, metavar="N", help="default: a free one")
    add("--no-open", action="store_true", help="only print the address")
    hosted = "write the page as files for a static host, in which Pyodide runs bpnet"
    add("--export", type=Path, metavar="FOLDER", help=hosted)
    where = "address or folder of Pyodide there (default: its CDN)"
    add("--pyodide", metavar="URL", help=where)
    parser.set_defaults(run=run_page)


def run_page(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, or write it."""
    from bpnet.page.server import Server, export

    if args.export:
        export(args.export, args.pyodide)
        print(f"wrote {args.export / 'index.html'}")
        return 0
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port must be 0 to 65535, not {args.port}")
    with Server(args.port) as server:
        print(f"bpnet is at {server.url}\nCtrl-C ends it", flush=True)
        if not args.no_open:
            webbrowser.open(server.url)
        server.serve_forever()
    return 0
