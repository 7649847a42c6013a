"""An array that stands for a GPU's: NumPy's protocols with `out=`, and nothing by itself.

It refuses to mix with NumPy's arrays, and to become one but by `get`, as CuPy's do.
"""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

MAKERS = (np.asarray, np.array, np.ascontiguousarray)  # which may be given NumPy's, with like=


def inside(value):
    """Return what there is to compute with."""
    if isinstance(value, OtherArray):
        return value.held
    if isinstance(value, np.ndarray):
        raise TypeError(f"an OtherArray does not mix with NumPy's arrays: {value!r}")
    if isinstance(value, (tuple, list)):
        return type(value)(map(inside, value))
    return {k: inside(v) for k, v in value.items()} if isinstance(value, dict) else value


def outside(value):
    if isinstance(value, (tuple, list)):
        return type(value)(map(outside, value))
    return OtherArray(value) if isinstance(value, (np.ndarray, np.generic)) else value


def index_of(index):
    """Return an index: those may hold NumPy's arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(part.held if isinstance(part, OtherArray) else part for part in parts)
    return parts if isinstance(index, tuple) else parts[0]


class OtherArray(NDArrayOperatorsMixin):
    def __init__(self, held):
        self.held = np.asarray(held)

    def __array_ufunc__(self, ufunc, method, *inputs, **how):
        result = getattr(ufunc, method)(*inside(inputs), **inside(how))
        return how["out"][0] if how.get("out") else outside(result)

    def __array_function__(self, function, types, args, how):
        free = function in MAKERS and not isinstance(args[0], OtherArray)
        given = args if free else inside(args)
        result = function(*given, **inside(how))
        return how["out"] if how.get("out") is not None else outside(result)

    def __array__(self, *args, **how):
        raise TypeError("no conversion to NumPy by itself: call get()")

    def __getattr__(self, name):  # shape, dtype, sum, mean, reshape, mT, ...
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.held, name)
        if not callable(found):
            return outside(found)
        return lambda *args, **how: outside(found(*inside(args), **inside(how)))

    def __getitem__(self, index):
        return OtherArray(self.held[index_of(index)])

    def __setitem__(self, index, values):
        self.held[index_of(index)] = inside(values)

    def __len__(self):
        return len(self.held)

    def __bool__(self):
        return bool(self.held)

    def __float__(self):
        return float(self.held)

    def get(self):
        return self.held.copy()
