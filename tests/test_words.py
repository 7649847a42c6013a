"""Texts with letters that a locale may lack."""

import copy
import io
import pickle
import sys
import traceback

import pytest

from bpnet import GradientCheckFailed, check_gradient
from bpnet.words import SPELLED, Words, shown
from tests.helpers.nets import plain
from tests.helpers.planted_errors import PLANTED, back

TEXT = "look at δ of layer 3, (W^{l+1})ᵀ δ^{l+1} ⊙ f'(z^l)"
ASCII = "look at delta of layer 3, (W^{l+1})^T delta^{l+1} * f'(z^l)"


def printing_in(monkeypatch, encoding, name="stdout"):
    """Make standard output strict in an encoding, as a pipe's is; return what reads it."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    monkeypatch.setattr(sys, name, out)

    def written():
        out.flush()
        return out.buffer.getvalue().decode(encoding)

    return written


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "gbk", "cp437"])
def test_a_report_is_printed_where_letters_are_missing(monkeypatch, encoding):
    net, x, y = plain((3, 5, 4, 4, 2))
    parts, cause = PLANTED["off-by-one layer"]
    assert not cause.isascii()
    report = check_gradient(net, x, y, gradient=lambda net, x, y: back(net, x, y, **parts))
    assert report.cause == cause
    written = printing_in(monkeypatch, encoding)
    print(report)
    print(report.cause)
    print(f"{report.cause}", report.worst)
    with pytest.raises(GradientCheckFailed) as failed:
        report.raise_if_failed()
    print(failed.value)
    print(*traceback.format_exception_only(failed.value))
    assert written().isascii()
    assert written().count("dE/dW^l takes a^l where it needs a^{l-1}") == 5


def test_a_word_is_its_text_and_survives_copies():
    words = Words(TEXT)
    assert words == TEXT
    for other in (copy.copy(words), copy.deepcopy(words), pickle.loads(pickle.dumps(words))):
        assert (type(other), other) == (Words, TEXT)
    assert all(len(letter) == 1 and text.isascii() for letter, text in SPELLED.items())


def test_standard_error_counts_too_and_none_shows_everything(monkeypatch):
    written = printing_in(monkeypatch, "utf-8")
    print(Words(TEXT))
    assert written() == f"{TEXT}\n"  # where there are all letters
    printing_in(monkeypatch, "ascii", "stderr")
    assert str(Words(TEXT)) == ASCII
    monkeypatch.setattr(sys, "stderr", None)
    assert str(Words(TEXT)) == TEXT


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "unknown"])
def test_what_has_no_spelling_is_escaped(encoding):
    stream = type("Stream", (), {"encoding": encoding})
    assert shown("ключ \udc80 δ", stream) == "\\u043a\\u043b\\u044e\\u0447 \\udc80 delta"
    assert shown("plain", stream) == "plain"
