"""The page's server: whom it answers, with what, and somebody's own code in its process."""

import http.client
import json
import time
import zipfile
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpnet.cli.main import main
from bpnet.page import own
from bpnet.page.server import FILES, LARGEST, Server
from tests.helpers.command import printed, refusal


def send(server, path="call", body=None, method=None, token=None, **headers):
    """Return the status, the headers and the body; a header of None is left out."""
    posted = {"Content-Type": "application/json", "Content-Length": str(len(body or b""))}
    sent = {"Host": f"127.0.0.1:{server.server_port}"} | (posted if body is not None else {})
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    method = method or ("GET" if body is None else "POST")
    path = f"/{server.token if token is None else token}/{path}"
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        reply = connection.getresponse()
        assert not any(header.startswith("Access-Control") for header in reply.headers)
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def call(server, **request):
    status, _, body = send(server, body=json.dumps(request).encode())
    assert status == 200
    return json.loads(body)


def test_the_page_and_its_files_come_with_a_strict_policy(server):
    for name in ("", *FILES):
        status, headers, body = send(server, name)
        assert (status, body) == (200, FILES[name or "index.html"].read_bytes())
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert headers["Cache-Control"] == "no-store"
    assert server.server_address[0] == "127.0.0.1"
    with Server() as other:
        assert other.token != server.token
        assert len(other.token) >= 32
    for host in ("127.0.0.1", "localhost"):
        host = f"{host}:{server.server_port}"
        assert send(server, body=b'{"do": "view"}', Host=host, Origin=f"http://{host}")[0] == 200


WRONG = {
    "token": ["", "x", "x/{token}", "{token}x", "%00", "*"],
    "path": ["", "call/", "../call", "calls", "%63all", "answers.py"],
    "Host": [None, "", "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1",
             "127.0.0.1.evil.example:{port}"],
    "Origin": ["null", "", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1",
               "http://localhost:{port}"],
    "Content_Type": [None, "text/plain", "application/x-www-form-urlencoded"],
    "Content_Length": [None, "", "-1", "1e3", "2²", str(LARGEST + 1), "9" * 30],
    "Transfer_Encoding": ["chunked"],
    "method": ["GET", "OPTIONS", "PUT", "DELETE", "HEAD", "BREW"],
}  # fmt: skip


@settings(max_examples=200)
@given(st.sampled_from([(k, v) for k, values in WRONG.items() for v in values]))
def test_what_is_not_of_the_page_is_refused(server, wrong):
    """One thing is wrong with a request that would be answered: the state stays as it was."""
    kind, value = wrong
    value = value and value.format(token=server.token, port=server.server_port)
    before = call(server, do="view")
    status, _, reply = send(server, body=b'{"do": "run", "count": 5}', **{kind: value})
    assert 400 <= status < 600
    assert server.token.encode() not in reply
    assert call(server, do="view") == before


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["do", "count", "field", "session", "code", "self"]), inner)
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_what_is_malformed_or_unknown_is_told_so(server, body):
    status, _, reply = send(server, body=body)
    assert status == 200
    assert "error" in json.loads(reply)


def test_the_largest_request_and_one_that_is_cut_off(server):
    assert "JSON object" in send(server, body=b"x" * LARGEST)[2].decode()
    host, headers = ("127.0.0.1", server.server_port), {"Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(*host, timeout=0.3)) as connection:
        connection.request("POST", f"/{server.token}/call", b"{", headers | {"Content-Length": "9"})
        with pytest.raises(TimeoutError):  # it waits for the rest, for as long as it has patience
            connection.getresponse()
    assert call(server, do="view")["steps"] == 0


GOOD = """
import numpy as np
def forward(W, b, x):
    return x @ W[0].T + b[0], x
def backward(W, b, x, y):
    delta = (x @ W[0].T + b[0] - y) / len(x)
    return [delta.T @ x], [delta.sum(axis=0)]
options = dict(depth=2, activation="identity")
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (GOOD + "print('seen')", "backward is right"),
        (GOOD.replace(" / len(x)", ""), "a sum over the m = 7 samples"),
        ("x = (", "SyntaxError"),
        ("assert 0, 'mine'", "line 1, in <module>\nAssertionError: mine"),
        ("forward = None", "KeyError: 'backward'"),
        (GOOD.replace("return [", "return undefined, ["), "line 7, in backward\nNameError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import os; os._exit(3)", "without an answer"),
        ("import os; os.abort()", "without an answer"),
        ("a = [0] * 10**18", "MemoryError"),
    ],
)
def test_somebodys_code_is_judged(code, words):
    found = own.judge_apart(code)
    assert words in found["own"]
    assert found["ok"] == (found.get("printed") == "seen\n")


@pytest.mark.parametrize("loop", ["", "while True: os.write(1, b'x' * 99)", "os.fork()"])
def test_an_endless_loop_is_stopped_and_the_page_lives(server, monkeypatch, loop):
    monkeypatch.setattr(own, "LIMIT", 1.5)
    begun = time.monotonic()
    code = f"import os\n{loop}\nwhile True: pass"
    assert not call(server, do="own", code=code)["ok"]
    assert time.monotonic() - begun < 6
    assert call(server, do="view")["steps"] == 0


def test_without_hypothesis_it_is_judged_too(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    assert own.judge(GOOD)["ok"]
    assert "gradient is wrong" in own.judge(GOOD.replace(" / len(x)", ""))["own"]


def test_the_hosted_copy_has_bpnet_in_it(capsys, tmp_path):
    printed(capsys, "page", "--export", tmp_path / "site", "--pyodide", "../pyodide/")
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'data-end="../pyodide/"' in page
    with zipfile.ZipFile(tmp_path / "site" / "bpnet.zip") as archive:
        assert {"bpnet/__init__.pyi", "bpnet/page/page.toml"} <= set(archive.namelist())


def test_the_command_serves_until_ctrl_c(capsys, monkeypatch, server):
    def interrupted(self):
        raise KeyboardInterrupt

    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(Server, "serve_forever", interrupted)
    assert (main(["page"]), main(["page", "--no-open"]), len(opened)) == (130, 130, 1)
    assert opened[0] in capsys.readouterr().out
    assert "0 to 65535" in refusal(capsys, "page", "--port", "70000")
    assert refusal(capsys, "page", "--no-open", "--port", str(server.server_port))
