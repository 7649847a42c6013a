"""Wrong gradients, and what is to be said of each.

`back` is a backward pass by hand, of nets of sigmoids with half the squared error, whose parts can
be exchanged for wrong ones.
"""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def back(net, x, y, *, delta=None, dW=None, db=None, output=None, after=None):
    """The gradient of a net of sigmoids; a part is a function of (l, p), p the pass so far."""
    L = net.L
    a, z = {1: x}, {}
    for l in range(2, L + 1):
        z[l] = a[l - 1] @ net.W[l].T + net.b[l]
        a[l] = sigmoid(z[l])
    p = {"W": dict(net.W), "a": a, "z": z, "y": y, "m": len(x), "delta": {}, "dW": {}, "db": {}}
    for l in range(L, 1, -1):
        if l == L:
            right = (a[L] - y) * a[L] * (1 - a[L]) / len(x)
            p["delta"][L] = right if output is None else output(p)
        else:
            right = p["delta"][l + 1] @ net.W[l + 1] * a[l] * (1 - a[l])
            p["delta"][l] = right if delta is None else delta(l, p)
        p["dW"][l] = p["delta"][l].T @ a[l - 1] if dW is None else dW(l, p)
        p["db"][l] = p["delta"][l].sum(axis=0) if db is None else db(l, p)
    if after is not None:
        after(p)
    return p["dW"], p["db"]


def before(l, p, W=None):
    """∂E/∂a^l, from W or with another matrix in its place."""
    return p["delta"][l + 1] @ (p["W"][l + 1] if W is None else W)


def slope(l, p):
    return p["a"][l] * (1 - p["a"][l])


def times(factor, layers=(2, 3, 4, 5)):
    def after(p):
        for l in layers:
            p["dW"][l] = factor * p["dW"][l]
            p["db"][l] = factor * p["db"][l]

    return {"after": after}


def transposed(*layers):
    def after(p):
        for l in layers:
            p["dW"][l] = p["dW"][l].T.reshape(p["dW"][l].shape)

    return {"after": after}


def one_coordinate(p):
    p["dW"][3][1, 2] *= 1 + 1e-6


def shared_buffer(p):
    p["db"][3] = p["db"][4]


def noise_in(*layers):
    def after(p):
        rng = np.random.default_rng(0)
        for l in layers:
            p["dW"][l] = p["dW"][l] + 0.1 * rng.normal(size=p["dW"][l].shape)
            p["db"][l] = p["db"][l] + 0.1 * rng.normal(size=p["db"][l].shape)

    return {"after": after}


def stale(p):
    """The cache of another batch: a² of x in reverse order."""
    return p["a"][2][::-1]


def from_updated_weights(l, p):
    return before(l, p, p["W"][l + 1] - 0.5 * p["dW"][l + 1]) * slope(l, p)


def last_only(p):
    right = (p["a"][5] - p["y"]) * slope(5, p) / p["m"]
    right[:-1] = 0
    return right


HIDDEN = "layers 2, 3, 4"

# Sizes 3-5-4-4-2 and m = 6. The name of the error, how it is made, what is to be said of it.
# fmt: off
PLANTED = {
    "sign": (times(-1), "everywhere -1 times the derivative: the sign"),
    "sign in a layer": (times(-1, [3]), "in W[3], b[3] -1 times the derivative: the sign"),
    "sum for mean": (times(6),
        "everywhere 6 times the derivative: a sum over the m = 6 samples where their mean is "
        "meant"),
    "mean twice": (times(1 / 6),
        "everywhere 0.166667 times the derivative: 1/m too often, with m = 6 samples"),
    "factor n_L": (times(2),
        "everywhere 2 times the derivative: a sum over the n_L = 2 outputs where their mean is "
        "meant or a half is forgotten"),
    "factor 1/n_L": (times(0.5),
        "everywhere 0.5 times the derivative: a mean over the n_L = 2 outputs where their sum is "
        "meant or a half too many"),
    "factor m n_L": (times(12),
        "everywhere 12 times the derivative: m n_L = 6 · 2: a sum where a mean over both is meant"),
    "factor 1/(m n_L)": (times(1 / 12),
        "everywhere 0.0833333 times the derivative: 1/(m n_L) = 1/(6 · 2) too often"),
    "sign and sum": (times(-6),
        "everywhere -6 times the derivative: the sign, and a sum over the m = 6 samples where "
        "their mean is meant"),
    "some factor": (times(0.37), "everywhere 0.37 times the derivative"),
    "f' missing": ({"delta": lambda l, p: before(l, p)}, f"f' is missing in {HIDDEN}"),
    "f' missing in one layer": (
        {"delta": lambda l, p: before(l, p) * (1 if l == 3 else slope(l, p))},
        "f' is missing in layer 3"),
    "f' missing at the output": (
        {"output": lambda p: (p["a"][5] - p["y"]) / p["m"]}, "f' is missing in layer 5"),
    "f' missing everywhere": (
        {"output": lambda p: (p["a"][5] - p["y"]) / p["m"], "delta": lambda l, p: before(l, p)},
        "f' is missing in layers 2, 3, 4, 5"),
    "f' of a where it takes z": (
        {"delta": lambda l, p: before(l, p) * sigmoid(p["a"][l]) * (1 - sigmoid(p["a"][l]))},
        f"f' is wrong in {HIDDEN}: it takes z, and was given a = f(z)"),
    "f' of z where it takes a": (
        {"delta": lambda l, p: before(l, p) * p["z"][l] * (1 - p["z"][l])},
        f"f' is wrong in {HIDDEN}: its formula takes a = f(z), and was given z"),
    "f' twice": (
        {"delta": lambda l, p: before(l, p) * slope(l, p) ** 2}, f"f' is taken twice in {HIDDEN}"),
    "f' of the layer after": (
        {"delta": lambda l, p: before(l, p) * slope(4 if l == 3 else l, p)},
        "f' is wrong in layer 3: it was given z of the layer after"),
    "f' of the layer before": (
        {"delta": lambda l, p: before(l, p) * slope(3 if l == 4 else l, p)},
        "f' is wrong in layer 4: it was given z of the layer before"),
    "W not transposed": (
        {"delta": lambda l, p: before(l, p, p["W"][4].T if l == 3 else None) * slope(l, p)},
        "δ^l takes W^{l+1} where it needs its transpose"),
    "gradient transposed, square": (transposed(4), "W[4] is transposed"),
    "gradient transposed, not square": (transposed(3), "W[3] is transposed"),
    "every gradient transposed": (transposed(2, 3, 4, 5),
        "W[2] is transposed; W[3] is transposed; W[4] is transposed; W[5] is transposed"),
    "hidden δ from updated W": ({"delta": from_updated_weights},
        "the hidden δ look computed from weights that were updated already, W - η ∂E/∂W with "
        "η = 0.5"),
    "biases left out": ({"db": lambda l, p: 0 * p["delta"][l].sum(axis=0)},
        "the biases are left out: every ∂E/∂b is 0"),
    "biases averaged": ({"db": lambda l, p: p["delta"][l].mean(axis=0)},
        "in b[2], b[3], b[4], b[5] 0.166667 times the derivative: 1/m too often, with m = 6 "
        "samples"),
    "biases of the last sample": ({"db": lambda l, p: p["delta"][l][-1]},
        "the weights are right and the biases wrong, in b[2], b[3], b[4], b[5]"),
    "off-by-one layer": (
        {"dW": lambda l, p: p["delta"][l].T @ p["a"][4 if l == 4 else l - 1]},
        "∂E/∂W^l takes a^l where it needs a^{l-1}"),
    "z for a": (
        {"dW": lambda l, p: p["delta"][l].T @ (p["z"] if l > 2 else p["a"])[l - 1]},
        "∂E/∂W^l takes z^{l-1} where it needs a^{l-1}"),
    "1/m in every layer": (
        {"delta": lambda l, p: before(l, p) * slope(l, p) / p["m"]},
        "each layer has a factor of its own, 0.166667 in layer 4, 0.0277778 in layer 3, "
        "0.00462963 in layer 2: 1/m is taken again in every layer"),
    "last sample only": ({"output": last_only}, "only the last sample of the batch counts"),
    "f' missing and sum for mean": (
        {"delta": lambda l, p: before(l, p), **times(6)},
        f"f' is missing in {HIDDEN}, and 6 times: a sum over the m = 6 samples where their mean "
        "is meant"),
    "stale cache": (
        {"dW": lambda l, p: p["delta"][l].T @ (stale(p) if l == 3 else p["a"][l - 1])},
        "the biases are right, and so δ; the weights are wrong, in W[3]"),
    "aliased buffer": ({"after": shared_buffer}, "b[3] holds the gradient of b[4]"),
    "one coordinate by a millionth": (
        {"after": one_coordinate}, "one coordinate only: W[3][1, 2]"),
    "one layer": (noise_in(3), "one layer only: layer 3"),
    "hidden layers": (noise_in(2, 3, 4),
        "right at the output and wrong below: look at δ of layer 4, (W^{l+1})ᵀ δ^{l+1} ⊙ f'(z^l)"),
    "lower layers": (noise_in(2, 3),
        "right in layers 4..5 and wrong below: look at δ of layer 3, (W^{l+1})ᵀ δ^{l+1} ⊙ f'(z^l)"),
    "noise": (noise_in(2, 3, 4, 5), None),
    "noise above": (noise_in(4, 5), None),
    "nothing": (times(0), "the gradient is 0 everywhere"),
    "a layer of zeros": (times(0, [3]), "left out: the gradient of W[3], b[3] is 0"),
}
# fmt: on
