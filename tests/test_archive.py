"""What is wrong with a file is said in words; files themselves are tested with the formats."""

import pytest

from bpnet.archive import cause
from bpnet.errors import InvalidFile


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InvalidFile("holds no θ"), "holds no θ"),
        (KeyError("theta"), "is no bpnet net, or a damaged one: 'theta'"),
        (EOFError(), "is no bpnet net, or a damaged one: EOFError"),  # which has no words itself
    ],
)
def test_a_cause_is_never_empty(error, words):
    assert cause(error) == words
