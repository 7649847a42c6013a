"""Arrays of other libraries: the same rules by NumPy's protocols, and so the same bits.

The double of `helpers/other_array.py` stands for a GPU's arrays. NumPy's side takes the rules of
the tables here too, and `matmul`, since the forms in place round otherwise.
"""

from importlib.util import find_spec

import numpy as np
import pytest

from bpnet import ACTIVATIONS, LOSSES, MLP, SGD, Adagrad, Adam, AdamW, RMSprop, arrays, fit
from bpnet.arrays import moved_out
from bpnet.network import parameters
from bpnet.rules import kernels
from tests.helpers.other_array import OtherArray

X = np.random.default_rng(0).normal(size=(23, 3))
Y = np.random.default_rng(1).dirichlet([1, 1], size=23)
W = np.random.default_rng(2).random(23)
PAIRS = [
    ("half_squared_error", "identity"), ("half_squared_error", "sigmoid"),
    ("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid"),
    ("binary_cross_entropy", "softmax"), ("absolute_error", "tanh"), ("huber", "identity"),
    ("poisson", "exp"), ("poisson", "softplus"), ("poisson", "softmax"), ("poisson", "sigmoid"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def plain_rules(monkeypatch):
    monkeypatch.setattr(kernels, "fast", lambda z: False)
    monkeypatch.setattr(parameters, "product", lambda theta: np.matmul)


def make(dtype="float64", **options):
    options = {"activation": "tanh", "output": "softmax", "loss": "cross_entropy"} | options
    return MLP.init((3, 4, 2), rng=1, dtype=dtype, **options)


def moved(net):
    return net.with_theta(OtherArray(net.theta.copy()))


def assert_same(one, other):
    assert isinstance(one, OtherArray)
    assert (one.dtype, one.get().tolist()) == (other.dtype, other.tolist())


def assert_same_passes(net, weight=None):
    twin, x, y = moved(net), X.astype(net.dtype), Y.astype(net.dtype)
    cache, other = net.forward(x), twin.forward(OtherArray(x))
    grad = net.backward(cache, y, sample_weight=weight)
    same = twin.backward(other, OtherArray(y), sample_weight=weight)
    assert_same(same.theta, grad.theta)
    assert_same(same.x, grad.x)
    assert_same(twin.predict(OtherArray(x)), net.predict(x))
    expected = net.loss(cache, y, sample_weight=weight)
    E = twin.loss(other, OtherArray(y), sample_weight=weight)
    assert np.array_equal(moved_out(E), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", set(ACTIVATIONS) - {"softmax"})
def test_activations(name, dtype):
    assert_same_passes(make(activation=name, dtype=dtype))


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_losses(loss, output):
    assert {pair[0] for pair in PAIRS} == set(LOSSES)
    assert_same_passes(make(output=output, loss=loss), weight=W)
    assert_same_passes(make(output=output, loss=loss, networks=3))


def assert_same_training(net, x=X, y=Y, *, validation=True, **options):
    twin, held = moved(net), (X[:5], Y[:5])
    options = {"epochs": 4, "optimizer": SGD(0.3)} | options
    more = {"validation": held, "metrics": ("accuracy", "log_loss")} if validation else {}
    expected = fit(net, x, y, **more, **options)
    history = fit(twin, OtherArray(x), OtherArray(y), **more, **options)
    assert_same(twin.theta, net.theta)
    columns, wanted = history.to_dict(), expected.to_dict()
    assert set(columns) == set(wanted)
    for name in set(wanted) - {"time"}:
        assert np.array_equal(columns[name], wanted[name])
        assert not any(isinstance(value, OtherArray) for value in columns[name])


@pytest.mark.parametrize("networks", [None, 3])
@pytest.mark.parametrize("batch_size", [5, None])
@pytest.mark.parametrize(
    "rule",
    [SGD(0.3), SGD(0.1, momentum=0.9, nesterov=True), Adagrad(0.1), RMSprop(0.01), Adam(0.01),
     AdamW(0.01, weight_decay=0.1), RMSprop(0.01, momentum=0.5)],
)  # fmt: skip
def test_optimizers(rule, batch_size, networks):
    how = {"optimizer": rule, "batch_size": batch_size, "epochs": 55 if batch_size is None else 11}
    assert_same_training(make(networks=networks), **how)


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.3}, {"dropout": 0.3, "networks": 3}, {"l1": 0.01, "l2": 0.1},
        {"l1": 0.01, "l2": np.array([0.1, 0.0, 0.2]), "networks": 3}, {"frozen": ("b", "W[2]")},
        {"clip_norm": 0.1}, {"clip_value": 0.01}, {"sample_weight": W},
        {"early_stopping": 1}, {"early_stopping": 1, "networks": 3},
        {"dtype": "float32", "optimizer": Adam()}, {"shuffle": "each", "networks": 3},
        {"validation": False, "batch_size": None},
        {"optimizer": SGD(np.array([0.1, 0.2, 0.3])), "networks": 3},
    ],
    ids=str,
)  # fmt: skip
def test_training(options):
    how = {name: options[name] for name in ("networks", "dtype") if name in options}
    assert_same_training(make(**how), **{k: v for k, v in options.items() if k not in how})


def test_a_stack_keeps_its_layout_and_takes_no_turns(monkeypatch):
    net, how = make(networks=70), {"epochs": 2, "optimizer": SGD(0.1), "batch_size": 1}
    twin, turns = moved(net), moved(net)
    fit(net, X, Y, **how)
    fit(twin, OtherArray(X), Y, **how)
    monkeypatch.setattr(arrays, "HEAVIEST", 0)
    fit(turns, OtherArray(X), Y, **how)
    assert_same(turns.theta, twin.theta.get())
    np.testing.assert_allclose(twin.theta.get(), net.theta, rtol=1e-12, atol=1e-13)


def test_a_gradient_step_by_hand_a_copy_and_a_file(tmp_path):
    net, twin = make(), moved(make())
    net.theta -= 0.5 * net.backward(net.forward(X), Y).theta
    twin.theta -= 0.5 * twin.backward(twin.forward(X), Y).theta  # NumPy's data are moved in
    twin.b[3] = np.array([1.0, 2.0])
    net.b[3] = np.array([1.0, 2.0])
    assert_same(twin.copy().theta, net.theta)
    twin.save(tmp_path / "net.npz")
    assert np.array_equal(np.load(tmp_path / "net.npz")["theta"], net.theta)


def test_what_does_not_mix_is_refused():
    with pytest.raises(TypeError, match=r"OtherArray does not go with a net whose theta is NumPy"):
        make().forward(OtherArray(X))
    with pytest.raises(ValueError, match=r"x must be finite, but x\[2, 1\] is nan"):
        moved(make()).forward(OtherArray(np.where(X[2, 1] == X, np.nan, X)))
    with pytest.raises(TypeError, match="theta must be an array of floats"):
        SGD(0.1).start([1.0])


if find_spec("cupy") is not None and __import__("cupy").is_available():

    def test_on_a_gpu():
        import cupy

        net = make(dtype="float32")
        far = net.with_theta(cupy.asarray(net.theta))
        history = fit(far, cupy.asarray(X), cupy.asarray(Y), epochs=20, dropout=0.1)
        expected = fit(net, X, Y, epochs=20, dropout=0.1)
        np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-4)
        np.testing.assert_allclose(far.theta.get(), net.theta, rtol=1e-3, atol=1e-5)
