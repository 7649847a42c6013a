"""What the page's tests share."""

import threading

import pytest

from bpnet.page.server import Server


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
