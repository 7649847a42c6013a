"""The same network neuron by neuron, in plain Python floats: no NumPy, no matrices.

It is the article's code made right: to read beside `mlp.py`, to test it against, and the loop that
the benchmarks race. A neuron i of layer l holds

    w      the weights w^l_i1 .. w^l_in of its inputs a^{l-1}_1 .. a^{l-1}_n
    b      its bias b^l_i
    z, a   its weighted input z = Σ_j w_j a_j + b, and its output a = f(z)
    delta  δ = ∂E/∂z

Every δ is computed before any weight moves, and a step always subtracts a gradient.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

Vector = Sequence[float]
Matrix = Sequence[Vector]
LEAK = 0.01
GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715
TINY = 2.2250738585072014e-308  # the smallest normal number, for 0 in logarithms and quotients


def sigmoid(z: float) -> float:
    """Return 1 / (1 + e^-z), with no exponent above 0."""
    if z >= 0:
        return 1 / (1 + math.exp(-z))
    e = math.exp(z)
    return e / (1 + e)


def softplus(z: float) -> float:
    """Return log(1 + e^z)."""
    return max(z, 0) + math.log1p(math.exp(-abs(z)))


def gelu_inner(z: float) -> float:
    """Return t of gelu(z) = z (1 + t) / 2."""
    return math.tanh(GELU_SCALE * (z + GELU_CUBE * z**3))


def d_gelu(z: float, a: float) -> float:
    """Return the derivative of z (1 + t) / 2."""
    t = gelu_inner(z)
    return (1 + t) / 2 + z / 2 * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBE * z * z)


def d_silu(z: float, a: float) -> float:
    """Return the derivative of z σ(z)."""
    s = sigmoid(z)
    return s + z * s * (1 - s)


# name: (f(z), f'(z) from z and a). softmax is not here, since it takes a whole layer.
ACTIVATIONS: dict[str, tuple[Callable[[float], float], Callable[[float, float], float]]] = {
    "identity": (lambda z: z, lambda z, a: 1.0),
    "sigmoid": (sigmoid, lambda z, a: a * (1 - a)),
    "tanh": (math.tanh, lambda z, a: 1 - a * a),
    "relu": (lambda z: max(z, 0.0), lambda z, a: 1.0 if z > 0 else 0.0),
    "leaky_relu": (lambda z: max(z, LEAK * z), lambda z, a: 1.0 if z > 0 else LEAK),
    "elu": (lambda z: z if z > 0 else math.expm1(z), lambda z, a: 1.0 if z > 0 else a + 1),
    "softplus": (softplus, lambda z, a: sigmoid(z)),
    "silu": (lambda z: z * sigmoid(z), d_silu),
    "gelu": (lambda z: z * (1 + gelu_inner(z)) / 2, d_gelu),
    "exp": (math.exp, lambda z, a: a),
}


def softmax(z: Vector) -> list[float]:
    """Return e^z_i / Σ_j e^z_j of a layer."""
    most = max(z)
    e = [math.exp(z_i - most) for z_i in z]
    total = sum(e)
    return [e_i / total for e_i in e]


def log(a: float) -> float:
    """Return log a, with a = 0 taken as the smallest normal number."""
    return math.log(max(a, TINY))


# name: (E of one output, ∂E/∂a); the loss of a sample is the sum over its outputs.
LOSSES: dict[str, tuple[Callable[[float, float], float], Callable[[float, float], float]]] = {
    "half_squared_error": (lambda a, y: (a - y) ** 2 / 2, lambda a, y: a - y),
    "cross_entropy": (lambda a, y: -y * log(a), lambda a, y: -y / max(a, TINY)),
    "binary_cross_entropy": (
        lambda a, y: -y * log(a) - (1 - y) * log(1 - a),
        lambda a, y: (1 - y) / max(1 - a, TINY) - y / max(a, TINY),
    ),
    "absolute_error": (lambda a, y: abs(a - y), lambda a, y: float((a > y) - (a < y))),
    "huber": (
        lambda a, y: (a - y) ** 2 / 2 if abs(a - y) <= 1 else abs(a - y) - 0.5,
        lambda a, y: max(-1.0, min(1.0, a - y)),
    ),
    "poisson": (lambda a, y: a - y * log(a), lambda a, y: 1 - y / max(a, TINY)),
}

# Output and loss that belong together: δ = a - y, with no quotient that could overflow.
JOINED = {("sigmoid", "binary_cross_entropy"), ("softmax", "cross_entropy")}
JOINED |= {("identity", "half_squared_error"), ("exp", "poisson")}


class Neuron:
    """One neuron: its weights, its bias, and what the last pass computed."""

    __slots__ = ("a", "b", "delta", "w", "z")

    def __init__(self, w: Vector, b: float) -> None:
        self.w = [float(w_j) for w_j in w]
        self.b = float(b)
        self.z = self.a = self.delta = 0.0


class Layer:
    """Neurons side by side, that read the same inputs."""

    def __init__(self, W: Matrix, b: Vector, activation: str = "sigmoid") -> None:
        if len(W) != len(b) or not W:
            raise ValueError(f"a layer needs one bias a neuron: {len(W)} rows of W, {len(b)} of b")
        if len({len(row) for row in W}) != 1:
            raise ValueError("the neurons of a layer must have equally many weights")
        if activation != "softmax" and activation not in ACTIVATIONS:
            known = ", ".join([*ACTIVATIONS, "softmax"])
            raise ValueError(f"unknown activation {activation!r}: the known ones are {known}")
        self.neurons = [Neuron(w, b_i) for w, b_i in zip(W, b, strict=True)]
        self.activation = activation
        f_df: Any = ACTIVATIONS.get(activation, (None, None))
        self.f: Callable[[float], float] | None = f_df[0]
        self.df: Callable[[float, float], float] | None = f_df[1]
        self.inputs: Vector = ()

    def forward(self, inputs: Vector) -> list[float]:
        """Compute each neuron's z and a; return the outputs."""
        self.inputs = inputs
        f = self.f
        for neuron in self.neurons:
            z = neuron.b
            for w, a in zip(neuron.w, inputs):  # noqa: B905  (a strict zip costs a tenth)
                z += w * a
            neuron.z = z
            if f is not None:
                neuron.a = f(z)
        if f is None:
            for neuron, a in zip(self.neurons, softmax([n.z for n in self.neurons]), strict=True):
                neuron.a = a
        return [neuron.a for neuron in self.neurons]

    def set_deltas(self, dE_da: Vector) -> None:
        """Set each neuron's δ = ∂E/∂z from ∂E/∂a of the layer's outputs."""
        df = self.df
        if df is not None:
            for neuron, g in zip(self.neurons, dE_da):  # noqa: B905
                neuron.delta = g * df(neuron.z, neuron.a)
        else:  # softmax: ∂a_i/∂z_j = a_i (1[i=j] - a_j)
            mean = sum(g * n.a for g, n in zip(dE_da, self.neurons, strict=True))
            for neuron, g in zip(self.neurons, dE_da, strict=True):
                neuron.delta = neuron.a * (g - mean)

    def dE_dinputs(self) -> list[float]:
        """Return Σ_i w_ij δ_i for each input j: what the layer before needs for its δ."""
        totals = [0.0] * len(self.inputs)
        for neuron in self.neurons:
            delta = neuron.delta
            totals = [t + w * delta for t, w in zip(totals, neuron.w)]  # noqa: B905
        return totals

    def update(self, learning_rate: float) -> None:
        """Take a step against the gradient: w_j ← w_j - η δ a_j, b ← b - η δ."""
        inputs = self.inputs
        for neuron in self.neurons:
            step = learning_rate * neuron.delta
            neuron.w = [w - step * a for w, a in zip(neuron.w, inputs)]  # noqa: B905
            neuron.b -= step


class Network:
    """Layers one after the other, and a loss: W = [W², ..., W^L] as lists of rows, b alike.

    >>> W = [[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]]
    >>> print(f"{Network(W, [[0.35, 0.35], [0.60, 0.60]]).loss([0.05, 0.10], [0.01, 0.99]):.6f}")
    0.298371
    """

    def __init__(
        self, W: Sequence[Matrix], b: Sequence[Vector], activation: str | Sequence[str] = "sigmoid",
        loss: str = "half_squared_error",
    ) -> None:  # fmt: skip
        names = [activation] * len(W) if isinstance(activation, str) else list(activation)
        self.layers = [Layer(*layer) for layer in zip(W, b, names, strict=True)]
        for before, layer in zip(self.layers, self.layers[1:]):  # noqa: B905
            n_in = len(layer.neurons[0].w)
            if n_in != len(before.neurons):
                raise ValueError(f"a layer of {n_in} inputs follows one of {len(before.neurons)}")
        self.n_in = len(self.layers[0].neurons[0].w)
        if loss not in LOSSES:
            raise ValueError(f"unknown loss {loss!r}: the known ones are {', '.join(LOSSES)}")
        self.E, self.dE = LOSSES[loss]
        self.joined = (names[-1], loss) in JOINED

    def forward(self, x: Vector) -> list[float]:
        """Return the outputs for one sample."""
        if len(x) != self.n_in:
            raise ValueError(f"x has {len(x)} numbers, but this net takes {self.n_in} inputs")
        for layer in self.layers:
            x = layer.forward(x)
        return list(x)

    def loss(self, x: Vector, y: Vector) -> float:
        """Return the loss of one sample: the sum over its outputs."""
        return sum(self.E(a, y_i) for a, y_i in zip(self.forward(x), y, strict=True))

    def backward(self, y: Vector) -> None:
        """Set every neuron's δ for the sample of the last `forward`, the output layer first."""
        last = self.layers[-1]
        if self.joined:
            for neuron, y_i in zip(last.neurons, y, strict=True):
                neuron.delta = neuron.a - y_i
        else:
            last.set_deltas([self.dE(n.a, y_i) for n, y_i in zip(last.neurons, y, strict=True)])
        for layer, after in zip(self.layers[-2::-1], self.layers[:0:-1], strict=True):
            layer.set_deltas(after.dE_dinputs())

    def step(self, x: Vector, y: Vector, learning_rate: float) -> None:
        """Train on one sample: forward, backward, update."""
        self.forward(x)
        self.backward(y)
        for layer in self.layers:
            layer.update(learning_rate)

    def gradient(self, xs: Matrix, ys: Matrix) -> list[tuple[list[list[float]], list[float]]]:
        """Return (∂E/∂W^l, ∂E/∂b^l) of every layer, for the mean loss of a batch."""
        share, each = 1 / len(xs), [layer.neurons for layer in self.layers]
        totals = [([[0.0] * len(n.w) for n in neurons], [0.0] * len(neurons)) for neurons in each]
        for x, y in zip(xs, ys, strict=True):
            self.forward(x)
            self.backward(y)
            for layer, (dW, db) in zip(self.layers, totals, strict=True):
                inputs = layer.inputs
                for i, neuron in enumerate(layer.neurons):
                    d = neuron.delta * share
                    dW[i] = [g + d * a for g, a in zip(dW[i], inputs)]  # noqa: B905
                    db[i] += d
        return totals

    def step_batch(self, xs: Matrix, ys: Matrix, learning_rate: float) -> None:
        """Train on the mean loss of a batch."""
        for layer, (dW, db) in zip(self.layers, self.gradient(xs, ys), strict=True):
            for neuron, dw, d in zip(layer.neurons, dW, db, strict=True):
                neuron.w = [w - learning_rate * g for w, g in zip(neuron.w, dw, strict=True)]
                neuron.b -= learning_rate * d
