"""What a caller hands in, made into the arrays that the passes need, or one clear error."""

from __future__ import annotations

import inspect
import math
import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bpnet.arrays import Array, contiguous, moved_out, other

REAL_KINDS = "biuf"


def as_numbers(values: ArrayLike, name: str, *, allow_complex: bool = False) -> Array:
    """Return values as an array of numbers, not copied where it is one."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be ignored: fill it first")
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is a sparse array: pass {name}.toarray()")
    try:
        array = values if other(values) else np.asarray(detached(values))
    except (ValueError, TypeError) as error:
        why = uneven(values, name) if isinstance(values, (list, tuple)) else error
        raise ValueError(f"{name} is no array: {why}") from None
    if array.dtype.kind not in REAL_KINDS + ("c" if allow_complex else ""):
        raise TypeError(f"{name} must hold real numbers, but {instead(values, array, name)}")
    return array


def uneven(rows: Sequence[Any], name: str) -> str:
    """Return in words which of the rows is of another length or depth than the first."""
    told = [f"has length {len(row)}" if isinstance(row, Sized) else "is no row" for row in rows]
    for k, text in enumerate(told):
        if text != told[0]:
            return f"{name}[{k}] {text}, but {name}[0] {told[0]}"
    return "its rows differ in length or depth"


def instead(values: Any, array: Array, name: str) -> str:
    """Return what there is instead of real numbers, and what to do: of a table, which column."""
    kind = array.dtype.kind
    columns: Any = getattr(values, "columns", ())
    for column in columns:
        part = np.asarray(values[column])
        if part.dtype.kind not in REAL_KINDS:
            return f"its column {column!r} {instead(values[column], part, name)}"
    if len(columns):
        odd = [c for c in columns if not str(values[c].dtype).startswith("float")]
        column = (odd or columns)[0]
        return f"its column {column!r} is {values[column].dtype}: pass {name}.astype(float)"
    if kind in "OU" and array.size and isinstance(array.flat[0], str):
        return f"holds text{TEXT.get(name, '')}"
    if kind == "O" and hasattr(values, "isna") and values.isna().any():
        return "lacks values (NA): fill them or leave their rows out"
    what = {"c": "complex numbers", "S": "bytes"}.get(kind, f"dtype {array.dtype}")
    return f"holds {what}"


TEXT = {
    "x": ": give each category a column of 0 and 1",
    "y": ": labels become rows by np.eye(n)[np.unique(y, return_inverse=True)[1]]",
}


def known_name(
    name: str, what: str, table: Iterable[str], alike: Mapping[str, str],
    meant: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Return the name in a table that is meant, whatever its case and what parts its words.

    `alike` has other names of the same, in small letters and digits; `meant` has what to ask for
    names that others give to something else: "did you mean ...?"
    """
    if name in table:
        return name

    def letters(name: str) -> str:
        return "".join(filter(str.isalnum, name.lower()))

    names, key = {letters(known): known for known in table} | dict(alike), letters(name)
    if key in names:
        return names[key]
    import difflib  # only where something is wrong

    near = difflib.get_close_matches(key, names, 1)
    guess = (meant or {}).get(key) or (repr(names[near[0]]) if near else "")
    text = f"unknown {what} {name!r}: the known ones are {', '.join(table)}"
    raise ValueError(f"{text}; did you mean {guess}?" if guess else text)


def detached(values: Any) -> Any:
    """Return the numbers alone of a torch tensor that requires grad, which NumPy will not read."""
    return values.detach().cpu() if getattr(values, "requires_grad", False) else values


def all_finite(array: Array) -> bool:
    """Whether no element is NaN or infinite; the sum tells it fastest, but for overflow."""
    with quiet():
        total = array.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(array).all())


def quiet(*, also_divide: bool = False) -> np.errstate:
    """Return what silences NumPy while a pass runs; enter it once. A training may also divide by 0.

    e^-z may overflow and e^z underflow, as activations_inplace.py says. "invalid" is silenced
    because the products raise it where nothing is: OpenBLAS multiplies float32 matrices of five
    columns by a vector in lanes of which it fills some, and what was in the others may be a NaN.
    What is one in the result `report_nan` tells.
    """
    if also_divide:
        return np.errstate(all="ignore")
    return np.errstate(over="ignore", under="ignore", invalid="ignore")


def report_nan(array: Array, what: str) -> None:
    """Warn if a pass over finite numbers came to NaN; raise or keep silent where NumPy would."""
    how = np.geterr()["invalid"]
    if how == "ignore" or not np.isnan(array).any():
        return
    text = f"{what} holds NaN: numbers too large for {array.dtype} met on the way; scale the data"
    text += " or the weights"
    if how == "raise":
        raise FloatingPointError(text)
    warn(text)


def warn(text: str) -> None:
    """Give a RuntimeWarning that names the line outside of this package that led to it."""
    frame, depth, inside = inspect.currentframe(), 1, ("bpnet.", "scipy.")
    while frame and frame.f_back and frame.f_globals.get("__name__", "").startswith(inside):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, RuntimeWarning, stacklevel=depth)


def check_finite(array: Array, name: str, start: int = 0) -> None:
    """Raise ValueError with the place of a NaN or infinity; the rows are those from `start` on."""
    if all_finite(array):
        return
    array = moved_out(array)
    place = np.argwhere(~np.isfinite(array))[0].tolist()
    value = array[*place]
    if start:
        place[-2] += start
    raise ValueError(f"{name} must be finite, but {name}{place} is {value}")


def converted(array: Array, dtype: DTypeLike, name: str, start: int = 0) -> Array:
    """Return the array in this dtype; in an error, its rows are those of `name` from `start` on."""
    with quiet():
        result = array.astype(dtype, copy=False)
    if not all_finite(result):
        check_finite(array, name, start)
        raise ValueError(f"{name} holds numbers too large for {np.dtype(dtype)}")
    return result


def as_rows(
    values: ArrayLike, width: int, dtype: np.dtype[Any], name: str, role: str,
    networks: int | None = None, *, finite: bool = True,
) -> Array:  # fmt: skip
    """Return a batch, one row a sample, in a net's dtype; of a stack, maybe (networks, m, width).

    `name` and `role` are for messages: "x" and "input", "y" and "output". Unless `finite`, the
    caller finds out later whether every value is.
    """
    array = as_numbers(values, name, allow_complex=dtype.kind == "c")
    verb, plural = "has" if role == "output" else "takes", "" if width == 1 else "s"
    need = f"this net {verb} {width} {role}{plural}: (m, {width}), one row a sample"
    if array.ndim == 1 and array.shape[0] == width:
        array = array[None, :]
    stacked = networks is not None and array.ndim == 3 and array.shape[0] == networks
    if not (array.ndim == 2 or stacked) or array.shape[-1] != width:
        if networks is not None:
            need += f", or ({networks}, m, {width}), a batch for each network"
        hint = ""
        if array.ndim == 1 and width == 1:
            frame = hasattr(values, "to_frame")  # as a column of a table has
            hint = f"; pass {name}.{'to_frame()' if frame else 'reshape(-1, 1)'}"
        elif array.ndim == 2 and array.shape[0] == width:
            hint = f"; samples are rows: {name}.T?"
        elif array.ndim <= 1 and name == "y" and array.dtype.kind in "iub":
            hint = f"; class labels become rows by np.eye({width})[y]"
        raise ValueError(f"{name} has shape {array.shape}, but {need}{hint}")
    if array.shape[-2] == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}, but needs a row at least")
    if finite:
        array = converted(array, dtype, name)
    else:
        with quiet():
            array = array.astype(dtype, copy=False)
    return contiguous(array)  # same bits from every layout


def same_length(x: Array, y: Array) -> None:
    """Raise ValueError if x and y differ in their number of rows."""
    m, n = x.shape[-2], y.shape[-2]
    if m != n:
        raise ValueError(f"x has {m} rows, but y has {n}: each sample needs both")


def as_shares(sample_weight: ArrayLike | None, m: int, dtype: np.dtype[Any]) -> Array | None:
    """Return each sample's share in the mean, w_i / Σ w_i, shape (m,); None stays None."""
    if sample_weight is None:
        return None
    weights = as_numbers(sample_weight, "sample_weight")
    if weights.shape != (m,):
        need = f"there are {m} samples: it needs ({m},)"
        raise ValueError(f"sample_weight has shape {weights.shape}, but {need}")
    weights = converted(weights, np.float64, "sample_weight")
    if weights.min() < 0:
        raise ValueError(f"sample_weight must be >= 0, but holds {weights.min():g}")
    most = weights.max()
    if most == 0:
        raise ValueError("sample_weight is 0 for every sample: give one a weight")
    with quiet():
        weights = weights / most  # so that their sum cannot overflow
        shares: Array = (weights / weights.sum()).astype(dtype)
    return shares


def as_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of neurons n_1..n_L as a tuple."""
    try:
        given = tuple(sizes)
    except TypeError:
        text = f"sizes must be a sequence of integers such as (2, 3, 1), not {sizes!r}"
        raise TypeError(text) from None
    given = tuple(as_int(n, f"sizes[{i}]", least=1) for i, n in enumerate(given))
    if len(given) < 2:
        raise ValueError(f"sizes must name the input and the output layer at least, but is {given}")
    return given


def as_int(value: Any, name: str, *, least: int) -> int:
    """Return value as an int that is at least `least`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be an integer >= {least}, not {number}")
    return number


def as_float(
    value: Any,
    name: str,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    least: float = -math.inf,
) -> float:
    """Return value as a finite float with above < value < below and value >= least."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {value!r}") from None
    if not (math.isfinite(number) and above < number < below and number >= least):
        limits = {">": above, ">=": least, "<": below}
        bounds = [] if math.isfinite(number) else ["finite"]
        bounds += [f"{sign} {x:g}" for sign, x in limits.items() if math.isfinite(x)]
        raise ValueError(f"{name} must be {' and '.join(bounds)}, not {number:g}")
    return number
