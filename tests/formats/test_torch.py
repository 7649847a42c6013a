"""PyTorch computes what the net does, and a module comes back as the same net."""

import pickle

import numpy as np
import pytest

from bpnet import MLP, formats
from tests.helpers.any_net import DTYPES, any_problems, assert_same, make, units
from tests.helpers.complaint import complains

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_module_computes_a_and_comes_back(dtype):
    for net, x in any_problems(dtype):
        module = formats.to_torch(net)
        assert units(module(torch.from_numpy(x)).detach().numpy(), net.predict(x)) < 8
        assert_same(net, formats.from_torch(module))
        again = pickle.loads(pickle.dumps(module))
        assert_same(net, formats.from_torch(again, loss=net.loss_function))


def test_its_names_and_its_numbers_are_its_own():
    net = make((3, 5, 4, 2), activation=("identity", "relu", "identity"))
    before, theta = torch.get_rng_state(), net.theta.copy()
    module = formats.to_torch(net)
    assert torch.equal(torch.get_rng_state(), before)
    names = [f"{place}.{part}" for place in (0, 2, 4) for part in ("weight", "bias")]
    assert [*module.state_dict()] == names
    assert all(p.requires_grad for p in module.parameters())
    with torch.no_grad():
        module[0].weight.zero_()
    assert np.array_equal(net.theta, theta)


@pytest.mark.parametrize("z", [-800.0, -90.0, -21.0, 0.0, 1e-8, 21.0, 39.0, 90.0, 800.0])
def test_far_from_0(z):
    for name in ("sigmoid", "elu", "softplus", "silu", "gelu", "exp", "tanh"):
        for dtype in DTYPES:
            net = MLP.from_weights([[[1.0]]], [[0.0]], activation=name, dtype=dtype)
            x = np.array([[z]], dtype)
            with np.errstate(over="ignore"):
                a = formats.to_torch(net)(torch.from_numpy(x)).detach().numpy()
            assert units(a, net.predict(x)) < 8


def test_logits_train_with_the_losses_of_pytorch():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0])
    net = make(loss="cross_entropy")
    module = formats.to_torch(net, logits=True)
    loss = nn.CrossEntropyLoss()(module(torch.from_numpy(x)), torch.from_numpy(labels))
    loss.backward()
    cache, y = net.forward(x), np.eye(2)[labels]
    assert loss.item() == pytest.approx(net.loss(cache, y), rel=1e-14)
    grad = net.backward(cache, y)
    assert np.allclose(module[0].weight.grad.numpy(), grad.W[2], rtol=1e-12)
    assert_same(net, formats.from_torch(module, output="softmax"))
    assert formats.from_torch(module, output="softmax").loss_function.name == "cross_entropy"


def test_modules_as_people_write_them():
    act = nn.ReLU(inplace=True)
    first, second, last = nn.Linear(3, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 2)
    block = nn.Sequential(nn.Dropout(0.5), first, act, second, act)
    module = nn.Sequential(block, nn.Identity(), last, nn.Softmax(dim=1))
    net = formats.from_torch(module)
    assert repr(net) == "MLP(3-4-4-2, relu, relu, softmax; cross_entropy, float32)"
    assert not net.b[3].any()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    want = module.eval()(torch.from_numpy(x)).detach().numpy()
    assert units(net.predict(x), want) < 8
    net.theta[:] = 0
    assert first.weight.any()

    linear = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert repr(formats.from_torch(linear.half(), loss="huber")) == (
        "MLP(2-3-1, identity, identity; huber, float32)"
    )
    assert repr(formats.from_torch(nn.Linear(2, 1, dtype=torch.float64), output="exp")) == (
        "MLP(2-1, exp; poisson, float64)"
    )
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    assert np.array_equal(formats.from_torch(normed).W[2], normed.weight.detach().numpy())


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Flatten()], "module 0 is Flatten(start_dim=1, end_dim=-1), which bpnet does not…"),
        ([nn.Linear(1, 1), nn.BatchNorm1d(1)], "module 1 is BatchNorm1d(1, …"),
        ([nn.Sequential(Doubling(1, 1))], "module 0.0 is Doubling(in_features=1, …"),
        ([nn.Linear(1, 1), nn.LogSoftmax(-1)], "module 1 is LogSoftmax(dim=-1), which bpnet…"),
        (
            [nn.Linear(1, 1), nn.GELU()],
            "module 1 is GELU(approximate='none'), but bpnet's gelu is GELU(approximate='tanh')",
        ),
        ([nn.Linear(1, 1), nn.LeakyReLU(0.2)], "…but bpnet's leaky_relu is LeakyReLU(negative_s…"),
        ([nn.Linear(1, 1), nn.ELU(0.5)], "…but bpnet's elu is ELU(alpha=1.0)"),
        ([nn.Linear(1, 1), nn.Softplus(2)], "…but bpnet's softplus is Softplus(beta=1.0, …"),
        ([nn.Linear(1, 1), nn.Softmax(0)], "…but bpnet's softmax is Softmax(dim=-1)"),
        ([nn.Linear(1, 1), nn.Softmax(1), nn.Linear(1, 1)], "softmax is for the output layer, …"),
        ([nn.Linear(1, 1), nn.ReLU(), nn.Tanh()], "module 2 is Tanh(), which does not follow a…"),
        ([nn.Tanh(), nn.Linear(1, 1)], "module 0 is Tanh(), which does not follow a Linear, as…"),
        ([nn.Identity()], "the module holds no Linear layer"),
        ([nn.Linear(2, 3), nn.Linear(2, 1)], "W[3] has shape (1, 2), but the layer before has 3…"),
    ],
)
def test_what_a_net_is_not(layers, message):
    with complains(ValueError, message):
        formats.from_torch(nn.Sequential(*layers))


def test_arguments_that_do_not_fit():
    module = nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1))
    with complains(ValueError, "the module ends in softmax itself: leave output= out"):
        formats.from_torch(module, output="sigmoid")
    with complains(TypeError, "from_torch takes an nn.Sequential, not {}"):
        formats.from_torch({})
    with complains(TypeError, "from_torch takes weights of floats, but 0.weight is …complex64"):
        formats.from_torch(nn.Linear(1, 1, dtype=torch.complex64))
    with torch.no_grad():
        module[0].bias[1] = float("inf")
    with complains(ValueError, "b[2] must be finite, but b[2][1] is inf"):
        formats.from_torch(module)
