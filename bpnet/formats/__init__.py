"""Nets in files, one module a format."""
