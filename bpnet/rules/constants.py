"""Numbers that a rule, its form in place and its compiled form share."""

import math
from typing import Any

import numpy as np

LEAK = 0.01  # the slope of leaky_relu left of 0 (Maas et al. 2013)
GELU_SCALE = math.sqrt(2 / math.pi)  # gelu: the tanh form of Hendrycks & Gimpel 2016, section 2
GELU_CUBE = 0.044715


def largest_exponent(dtype: Any) -> float:
    """Return the largest z that exp tells apart: 338 in float64, 28 in float32."""
    return float(np.log(np.finfo(dtype).max)) / 2 - 16
