"""Snippets of a page: run, and their output held against what stands below them."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

BLOCK = re.compile(r"(?:<!-- (.*?) -->\n)?```(\w+)\n(.*?)```", flags=re.S)


def snippets(blocks: list[tuple[str, str, str]]) -> list[tuple[str, str | None]]:
    """Give each Python block with the text block that follows it at once, or None."""
    after = [*((language, text) for _, language, text in blocks[1:]), ("", "")]
    return [
        (code, text if following == "text" else None)
        for (_, language, code), (following, text) in zip(blocks, after, strict=True)
        if language == "python"
    ]


def printed(code: str, names: dict[str, object] | None = None) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "snippet", "exec"), {"__name__": "page"} if names is None else names)
    return out.getvalue()


NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


def same(found: str, expected: str) -> bool:
    """Whether two outputs are alike but for rounding.

    Another processor rounds otherwise, which training makes larger: numbers may differ by a
    twentieth, rounding errors and times may be any, and so may the place of the largest rounding
    error.
    """
    parts = []
    for text in (found, expected):
        text = re.sub(r" +\d+\.\d{3}(?=  |$)", " time", text.strip(), flags=re.M)
        text = re.sub(r"\d(\.\d+)?e-(09|1\d)\b( +\w\[.*$)?", "tiny", text, flags=re.M)
        numbers = [float(n.replace(",", "")) for n in NUMBER.findall(text)]
        parts.append((NUMBER.sub("#", text), numbers))
    (words, numbers), (other_words, others) = parts
    return words.split() == other_words.split() and numbers == pytest.approx(others, rel=0.05)
