"""The local end of the page's bridge: a server on 127.0.0.1 for one browser.

Every path begins with a token that is drawn for this run. Another page in the same browser does not
know it and may not ask either: Host and Origin are checked, and no answer allows another origin.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import zipfile
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bpnet.page import SAID
from bpnet.page.answers import answer
from bpnet.page.own import judge_apart
from bpnet.worked.film import PARTS

PYODIDE = "https://cdn.jsdelivr.net/pyodide/v314.0.3/full/"
LARGEST, PATIENCE = 200_000, 10  # bytes of a request, seconds that it may take to come
FRONT = Path(__file__).with_name("front")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES = {f.name: f for f in (*FRONT.iterdir(), *PARTS[:2]) if f.suffix in KINDS}
JSON, NAMES = "application/json", ("127.0.0.1", "localhost")


class Handler(BaseHTTPRequestHandler):
    """Answers a connection."""

    server: Server
    server_version, sys_version = "bpnet", ""
    protocol_version, timeout = "HTTP/1.1", PATIENCE

    def do_GET(self, *, posted: bool = False) -> None:
        """Send a file of the front end or the answer to a request, or say why not."""
        name = self.path.split("/")[-1]
        status, why = self.refusal(name, posted=posted)
        if why:
            self.close_connection = True  # what is left of the request is not read
            body, kind = json.dumps({"error": why}).encode(), JSON
        elif posted:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            body, kind = answered(request.decode(errors="replace")).encode(), JSON
        else:
            file = FILES[name or "index.html"]
            body, kind = file.read_bytes(), KINDS[file.suffix]
        headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        headers |= {"Connection": "close"} if self.close_connection else {}
        self.send_response(status)
        for header, value in (SAID["headers"] | headers).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Answer a request."""
        self.do_GET(posted=True)

    def refusal(self, name: str, *, posted: bool) -> tuple[int, str]:
        """Return the status, and why there is no answer: not the page asks, or not as it does."""
        given, port, token = self.headers, self.server.server_port, self.server.token
        host, length = given.get("Host"), given.get("Content-Length", "")
        sized = re.fullmatch("[0-9]{1,9}", length) and "Transfer-Encoding" not in given
        known = name == "call" if posted else (name or "index.html") in FILES
        asked = self.path[1:].partition("/")[0]
        right = (  # in this order, and the last ones of a request
            (403, "the Host is not this server", host in [f"{name}:{port}" for name in NAMES]),
            (403, "the Origin is another page", given.get("Origin") in (None, f"http://{host}")),
            (403, "the address lacks the token of this run",
             secrets.compare_digest(asked.encode(), token.encode())),
            (404, "there is no such file", known and self.path == f"/{token}/{name}"),
            (415, f"a request is {JSON}", given.get("Content-Type", "").split(";")[0] == JSON),
            (411, "a request states its length", sized),
            (413, f"a request has up to {LARGEST:,} bytes", sized and int(length) <= LARGEST),
        )  # fmt: skip
        wrong = ((status, why) for status, why, holds in right[: 7 if posted else 4] if not holds)
        return next(wrong, (200, ""))

    def log_message(self, *words: Any) -> None:
        """Print nothing."""


class Server(ThreadingHTTPServer):
    """The server, with the token of this run."""

    daemon_threads, allow_reuse_address = True, os.name == "posix"  # else a port may be taken twice

    def __init__(self, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, *request: Any) -> None:
        """Print nothing about a connection that broke."""


def export(folder: Path, pyodide: str | None = None) -> None:
    """Write the page as files for any static host; the default is Pyodide from its CDN."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in FILES.items():
        text = path.read_text(encoding="utf-8")
        hosted = text.replace('data-end="local"', f'data-end="{escape(pyodide or PYODIDE)}"')
        (folder / name).write_text(hosted, encoding="utf-8")
    home = Path(__file__).parents[1]
    with zipfile.ZipFile(folder / "bpnet.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(home.rglob("*.*")):
            if path.suffix in (".py", ".pyi", ".toml", *KINDS):
                archive.write(path, path.relative_to(home.parent))


def answered(text: str) -> str:
    """Return the answer to a request; somebody's own code runs in a process of its own."""
    try:
        asked = json.loads(text)
        own = asked.get("do") == "own" and str(asked["code"])
    except (ValueError, AttributeError, KeyError, RecursionError):
        own = False
    return answer(text) if own is False else json.dumps(judge_apart(own))
