"""exp, expm1, log and log1p for numba's loops, which take several numbers at a time by them.

The C library's are called number by number: 12,800 σ(z) in float32 take 70 µs with its exp, 13 in
NumPy's passes, 8 with this one inlined. Results are typed as the argument is, right to two or
three units in the last place, and the same on every machine.

    e^z = 2^n e^r                    n = round(z / log 2), r = z - n log 2;  q = e^r - 1, a series
    log x = e log 2 + log(1 + f)     x = 2^e (1 + f);  log(1 + f) = 2 artanh(f / (2 + f)), a series
"""

from __future__ import annotations

import math
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np

from bpnet.rules.constants import largest_exponent

try:
    from numba import njit, types
    from numba.extending import overload
except ModuleNotFoundError as missing:
    text = "compiled=True needs numba: pip install numba"
    raise ModuleNotFoundError(text, name=missing.name) from None

# The numbers of a type of floats, in this type or, the last three, in that of its bits. Below low
# e^z rounds to 0, above high it overflows; ln2_high is log 2 but for its last bits, so that n times
# it is exact; rounding, added and taken off again, rounds to an integer; least is what one may
# divide by; bits is the length of the mantissa, fraction its mask.
Format = namedtuple(  # which numba takes for a constant
    "Format",
    "zero half one two sqrt2 low high per_ln2 ln2 ln2_high ln2_low rounding "
    "cap tiny least eps exp_series log_series bits bias fraction",
)


def make_format(real: Any, integer: Any, low: int, high: int, terms: int, ln2_high: float) -> Any:
    """Return the numbers of a type for which the series of e^r needs so many terms."""
    info, ln2 = np.finfo(real), math.log(2)
    ln2_low = ln2 - ln2_high + 2.3190468138462996e-17  # and what log 2 is more than its double
    numbers = (0, 0.5, 1, 2, math.sqrt(2), low, high, 1 / ln2, ln2, ln2_high, ln2_low)
    bits, tiny = info.nmant, float(info.tiny)
    more = (1.5 * 2**bits, largest_exponent(real), tiny, tiny**0.9, info.eps)
    exp_series = tuple(real(1 / math.factorial(k)) for k in range(terms, 0, -1))
    log_series = tuple(real(1 / (2 * k + 1)) for k in range(terms - 2, 0, -1))
    integers = map(integer, (bits, info.maxexp - 1, 2**bits - 1))
    floats = map(real, (*numbers, *more))
    return Format._make([*floats, exp_series, log_series, *integers])


SINGLE = make_format(np.float32, np.int32, -104, 89, 7, 0.693359375)
DOUBLE = make_format(np.float64, np.int64, -746, 710, 13, 0.693147180369123816490)
SAME_BITS = {"float32": "int32", "int32": "float32", "float64": "int64", "int64": "float64"}


def inlined(function: Any) -> Any:
    """Compile what stands within a kernel."""
    return njit(forceinline=True, error_model="numpy")(function)


def kernel(function: Any) -> Any:
    """Compile a loop; it is kept on disk, where there is a place, until a rule's file changes."""
    try:
        compiled = njit(cache=True, error_model="numpy")(function)
        newest = max(file.stat().st_mtime for file in Path(__file__).parent.glob("*.py"))
        folder = Path(str(compiled.stats.cache_path))
        for index in folder.glob(f"*.{function.__name__}-*.nbi"):
            if index.stat().st_mtime < newest:  # numba looks at the loop's own file alone
                index.unlink(missing_ok=True)
    except (RuntimeError, OSError):
        return njit(error_model="numpy")(function)
    return compiled


def form(x: Any) -> Any:
    """Return the `Format` of a number's type."""


def read_bits(x: Any) -> Any:
    """Return the integer of the same bits as a number, or the number of an integer's."""


@overload(form, strict=False)
def _form(x: Any) -> Any:
    found = SINGLE if x == types.float32 else DOUBLE
    return lambda x: found


@overload(read_bits, strict=False)
def _read_bits(x: Any) -> Any:
    own, other = np.dtype(x.name).type, np.dtype(SAME_BITS[x.name]).type
    return lambda x: own(x).view(other)


@inlined
def exp_parts(z: Any) -> Any:
    """Return q, s and t with e^z = (1 + q) s t, where s and t are powers of 2."""
    c = form(z)
    z = c.low if z < c.low else z  # NaN stays
    z = c.high if z > c.high else z
    n = (z * c.per_ln2 + c.rounding) - c.rounding
    r = (z - n * c.ln2_high) - n * c.ln2_low
    w, even, odd = r * r, c.exp_series[0], c.exp_series[1]  # two chains, so that neither waits
    for k in range(2, len(c.exp_series) - 1, 2):
        even, odd = even * w + c.exp_series[k], odd * w + c.exp_series[k + 1]
    q = (even * w + c.exp_series[-1]) + odd * r
    integer = type(c.bits)
    i = integer(n)
    j = i // 2  # two powers, since 2^n itself may be too large or too small
    s = read_bits(integer((j + c.bias) << c.bits))
    return q * r, s, read_bits(integer((i - j + c.bias) << c.bits))


@inlined
def exp(z: Any) -> Any:
    """e^z."""
    q, s, t = exp_parts(z)
    return (form(z).one + q) * s * t


@inlined
def expm1(z: Any) -> Any:
    """e^z - 1, for z <= 0."""
    q, s, t = exp_parts(z)
    return q * (s * t) + (s * t - form(z).one)


@inlined
def log_near(f: Any) -> Any:
    """Log(1 + f), for 1 + f in [√½, √2]."""
    c = form(f)
    s = f / (c.two + f)
    w, p = s * s, c.log_series[0]
    for term in c.log_series[1:]:
        p = p * w + term
    return c.two * s + c.two * s * (p * w)


@inlined
def log(x: Any) -> Any:
    """Log x, or of the smallest normal number where x is below."""
    c = form(x)
    i = read_bits(c.tiny if x < c.tiny else x)
    m = read_bits(type(c.bits)((i & c.fraction) | (c.bias << c.bits)))
    e, large = type(x)((i >> c.bits) - c.bias), m > c.sqrt2
    near = log_near((m * c.half if large else m) - c.one)
    return (e + c.one if large else e) * c.ln2 + near if x - x == 0 else x  # NaN, infinity


@inlined
def log1p(x: Any) -> Any:
    """Log(1 + x), for x in [0, 1]."""
    c = form(x)
    near = x < c.sqrt2 - c.one
    return (c.zero if near else c.ln2) + log_near(x if near else (x - c.one) * c.half)
