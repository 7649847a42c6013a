"""What is known of a wrong gradient, and when a pattern is said to explain it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bpnet.arrays import Array
from bpnet.gradcheck.report import GradientReport
from bpnet.gradcheck.structure import Block, Layout

UNEXPLAINED = 1e-3  # of a difference, at most


@dataclass(frozen=True)
class Evidence:
    """The claimed and the measured gradient over all P coordinates.

    Attributes
    ----------
    layout : Layout
    analytic, numeric : array, shape (P,)
        The numeric one is NaN where nothing was measured, or on a kink.
    wrong : array of bool, shape (P,)
    slack : array, shape (P,)
        By how much two gradients may differ and count as the same.
    floor : array, shape (P,)
        The part of it that is rounding.
    """

    layout: Layout
    analytic: Array
    numeric: Array
    wrong: Array
    slack: Array
    floor: Array

    @classmethod
    def of(cls, report: GradientReport, analytic: Array) -> Evidence:
        """Return the evidence in a report."""
        measured = ~report.kink
        k = report.k[measured]
        numeric = np.full(analytic.size, np.nan)
        wrong = np.zeros(analytic.size, bool)
        slack, floor = np.zeros(analytic.size), np.zeros(analytic.size)
        numeric[k] = report.numeric[measured]
        wrong[k] = report.wrong[measured]
        floor[k] = report.rounding[measured]
        slack[k] = 2 * np.maximum(report.tolerance * report.largest, report.rounding)[measured]
        return cls(report.layout, analytic, numeric, wrong, slack, floor)

    @property
    def blocks(self) -> list[Block]:
        """The blocks in which something was compared that matters."""
        return [block for block in self.layout.blocks if self.matter[block.slice].any()]

    @property
    def measured(self) -> Array:
        """Which coordinates were compared."""
        return np.isfinite(self.numeric)

    def explained(self, candidate: Array, where: Array | None = None) -> bool:
        """Whether a wrong gradient is the claimed one, at all compared coordinates or at some."""
        here = self.measured if where is None else where
        difference, left = np.abs(self.analytic - self.numeric), np.abs(self.analytic - candidate)
        allowed = UNEXPLAINED * difference * self.wrong + self.slack
        # Where the slack is all there is to explain, nothing is explained by being within it.
        most = self.wrong & here
        enough = np.linalg.norm(left[most]) <= 0.1 * np.linalg.norm(difference[most])
        return bool(enough and np.all(left[here] <= allowed[here]))

    def wrong_blocks(self) -> list[Block]:
        """Return the blocks that hold wrong coordinates."""
        return [block for block in self.layout.blocks if self.wrong[block.slice].any()]

    @cached_property
    def matter(self) -> Array:
        """Which compared coordinates differ from 0 by more than rounding."""
        is_large: Array = self.measured & (np.abs(self.numeric) > 10 * self.floor)
        return is_large

    def in_layer(self, l: int) -> Array:
        """Which coordinates belong to layer l."""
        inside = np.zeros(self.wrong.size, bool)
        for block in self.layout.blocks:
            inside[block.slice] = block.layer == l
        return inside
