"""The exceptions that a caller may want to catch by name."""

from __future__ import annotations


class InvalidFile(ValueError):
    """A file that is not what it should be: no net, damaged, or of an unknown version."""
