"""Errors are matched by their whole message, given in plain text; "…" stands for anything."""

import re
from contextlib import contextmanager

import numpy as np
import pytest


def complains(kind, message):
    pattern = ".*".join(map(re.escape, message.split("…")))
    return pytest.raises(kind, match=rf"(?s)\A{pattern}\Z")


@contextmanager
def refuses(net, kind, message):
    """Expect such a complaint, and that the net keeps its bits."""
    before = net.theta.copy()
    with complains(kind, message):
        yield net
    assert np.array_equal(net.theta, before, equal_nan=True)
