"""Errors are matched by their whole message, given in plain text; "…" stands for anything."""

import re

import pytest


def complains(kind, message):
    pattern = ".*".join(map(re.escape, message.split("…")))
    return pytest.raises(kind, match=rf"(?s)\A{pattern}\Z")
