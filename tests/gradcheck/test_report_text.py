"""The printed report, to the letter, of findings made up by hand."""

import numpy as np
import pytest

from bpnet import GradientCheckFailed
from bpnet.gradcheck.report import GradientReport
from bpnet.gradcheck.structure import layout_of_net

SIZES = (2, 2, 1)  # W[2]: 0..3, b[2]: 4, 5, W[3]: 6, 7, b[3]: 8


def report(k, analytic, numeric, *, kink=(), rounding=0.0, **options):
    k = np.asarray(k)
    options = {"method": "complex", "tolerance": 1e-9, **options}
    return GradientReport(
        layout_of_net(SIZES),
        options.pop("method"),
        options.pop("tolerance"),
        k,
        np.asarray(analytic, float),
        np.asarray(numeric, float),
        np.broadcast_to(rounding, k.shape).astype(float),
        np.isin(k, list(kink)),
        **options,
    )


def lines(text):
    return text.strip("\n").splitlines()


def test_all_right():
    ones = np.ones(9)
    found = report(range(9), ones, ones)
    assert found.raise_if_failed() is None
    assert str(found).splitlines() == lines(
        """
gradient check passed: 9 coordinates
  method    complex step
  error     0 at most, 1e-09 allowed

  block  checked   wrong   kinks  largest error
  W[2]         4       0       0        0.0e+00
  b[2]         2       0       0        0.0e+00
  W[3]         2       0       0        0.0e+00
  b[3]         1       0       0        0.0e+00
"""
    )


def test_wrong_ones_kinks_and_a_reason_for_the_method():
    analytic = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9])
    numeric = analytic.copy()
    numeric[3], numeric[7] = 5.0, 8.000008
    found = report(
        range(9),
        analytic,
        numeric,
        kink=(4, 5),
        method="central",
        tolerance=1e-7,
        why="relu has a kink",
        cause="made up",
    )
    assert str(found).splitlines() == lines(
        """
gradient check FAILED: 2 of 7 coordinates wrong
  method    central differences (relu has a kink)
  error     0.2 at most, 1e-07 allowed
  worst     W[2][1, 1]: analytic 4, numeric 5, error 0.2
  cause     made up
  kinks     2, not compared: b[2][0], b[2][1]

  block  checked   wrong   kinks  largest error
  W[2]         4       1       0        2.0e-01  W[2][1, 1]
  b[2]         2       0       2              -
  W[3]         2       1       0        1.0e-06  W[3][0, 1]
  b[3]         1       0       0        0.0e+00
"""
    )


def test_one_coordinate_of_a_sample_and_what_it_may_have_missed():
    found = report([6], [1.0], [1.0])
    assert str(found).splitlines() == lines(
        """
gradient check passed: 1 coordinate
  method    complex step
  error     0 at most, 1e-09 allowed
  sample    1 of 9 coordinates: if one were wrong it would have escaped with probability 88.9%, """
        """9 wrong ones (100.00% of all) with probability 5%

  block  checked   wrong   kinks  largest error
  W[2]         0       0       0              -
  b[2]         0       0       0              -
  W[3]         1       0       0        0.0e+00
  b[3]         0       0       0              -
"""
    )


def test_an_input_that_was_changed_and_rounding_that_blurs():
    found = report(range(9), np.ones(9), np.ones(9), rounding=0.02, changed=("x",))
    assert str(found).splitlines()[:5] == lines(
        """
gradient check FAILED: 9 coordinates right, but an input was changed
  method    complex step
  error     0 at most, 1e-09 allowed
  cause     no known pattern
  rounding  blurs 9 by 1 % or more: compared to within that
"""
    )
    with pytest.raises(GradientCheckFailed, match="but an input was changed"):
        found.raise_if_failed()


def test_numbers_that_are_no_numbers_are_infinitely_wrong():
    found = report([0, 1, 2], [np.nan, 1.0, 1.0], [1.0, np.inf, 1.0])
    assert (found.error.tolist(), found.failures) == ([np.inf, np.inf, 0], 2)
