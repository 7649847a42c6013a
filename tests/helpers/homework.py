"""A forward and a backward pass as somebody might write them."""

import pytest

from bpnet import ACTIVATIONS, LOSSES, GradientCheckFailed
from bpnet.testing import assert_backward


class Homework:
    """Passes of any depth, as somebody might write them; what is to go wrong is overridden."""

    def __init__(self, f="sigmoid", last=None, dE="half_squared_error"):
        self.f = ACTIVATIONS.get(f, f)
        self.last = ACTIVATIONS[last] if last else self.f
        self.dE = LOSSES[dE].dE if dE in LOSSES else dE

    def forward(self, W, b, x):
        z, a = [], [x]
        for l in range(len(b)):
            z.append(self.weighted(W[l], a[-1], b[l]))
            a.append((self.last if l == len(b) - 1 else self.f).f(z[-1]))
        return a[-1], (z, a)

    def weighted(self, W, a, b):
        return a @ W.T + b

    def backward(self, W, b, cache, y):
        z, a = cache
        dW, db = [None] * len(b), [None] * len(b)
        delta = self.delta_L(z[-1], a[-1], y)
        for l in reversed(range(len(b))):
            dW[l], db[l] = delta.T @ a[l], delta.sum(axis=0)
            if l:
                delta = self.back(W[l], delta) * self.slope(z[l - 1], a[l])
        return dW, db

    def delta_L(self, z, a, y):
        return self.last.backward(self.dE(a, y), z, a) / len(a)

    def back(self, W, delta):
        return delta @ W

    def slope(self, z, a):
        return self.f.df(z, a)

    def assert_right(self, **options):
        assert_backward(self.forward, self.backward, **{"max_examples": 40, **options})

    def message(self, **options):
        """What is said of it; that it is said at all is the assertion."""
        with pytest.raises(GradientCheckFailed) as failed:
            self.assert_right(**options)
        return str(failed.value)


class NoSlope(Homework):
    def slope(self, z, a):
        return 1


class Summed(Homework):
    def delta_L(self, z, a, y):
        return len(a) * super().delta_L(z, a, y)
