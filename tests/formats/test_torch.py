"""PyTorch computes what the net does, and a module comes back as the same net."""

import pickle

import numpy as np
import pytest

from bpnet import formats
from tests.helpers.any_net import DTYPES, any_problems, assert_same, make, slack, units
from tests.helpers.complaint import complains

torch = pytest.importorskip("torch")
nn = torch.nn


def run(module, x):
    return module.eval()(torch.from_numpy(x)).detach().numpy()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_module_computes_a_and_comes_back(dtype):
    for net, x in any_problems(dtype):
        module = formats.to_torch(net)
        assert units(run(module, x), net.predict(x)) < 8 * slack(net, x), net
        again = pickle.loads(pickle.dumps(module))
        assert_same(net, formats.from_torch(again, loss=net.loss_function))


def test_its_names_and_its_numbers_are_its_own():
    net, before = make((3, 5, 4, 2), activation=("identity", "relu", "tanh")), torch.get_rng_state()
    module = formats.to_torch(net)
    assert torch.equal(torch.get_rng_state(), before)
    assert " ".join(module.state_dict()) == "0.weight 0.bias 2.weight 2.bias 4.weight 4.bias"
    assert all(p.requires_grad for p in module.parameters())
    nn.init.zeros_(module[0].weight)
    assert net.W[2].all()


def test_without_its_output_it_trains_with_the_losses_of_pytorch():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0])
    net = make(loss="cross_entropy")
    module = formats.to_torch(net)[:-1]
    loss = nn.CrossEntropyLoss()(module(torch.from_numpy(x)), torch.from_numpy(labels))
    loss.backward()
    cache, y = net.forward(x), np.eye(2)[labels]
    assert loss.item() == pytest.approx(net.loss(cache, y), rel=1e-14)
    assert np.allclose(module[0].weight.grad.numpy(), net.backward(cache, y).W[2], rtol=1e-12)
    assert_same(net, formats.from_torch(module, output="softmax"))


def test_modules_as_people_write_them():
    act, block_net = nn.ReLU(inplace=True), "MLP(3-4-4-2, relu, relu, softmax; cross_entropy, float"
    first, second, last = nn.Linear(3, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 2)
    block = nn.Sequential(nn.Dropout(0.5), first, act, second, act)
    module = nn.Sequential(block, nn.Identity(), last, nn.Softmax(dim=1))
    net = formats.from_torch(module)
    assert repr(net) == f"{block_net}32)"
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    assert units(net.predict(x), run(module, x)) < 8
    assert repr(formats.from_torch(module.double())) == f"{block_net}64)"
    half = nn.Linear(2, 3, dtype=torch.bfloat16)
    assert repr(formats.from_torch(half, loss="huber")) == "MLP(2-3, identity; huber, float32)"
    for output, loss in {"sigmoid": "binary_cross_entropy", "exp": "poisson"}.items():
        end = f"{output}; {loss}, float32)"
        assert repr(formats.from_torch(half, output=output)) == f"MLP(2-3, {end}"


LINEAR = nn.Linear(2, 2)


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


INFINITE = nn.Linear(2, 2)
nn.init.constant_(INFINITE.bias, np.inf)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Flatten()], "Flatten(start_dim=1, end_dim=-1) is nothing that bpnet has: from_tor…"),
        ([nn.Sequential(Doubling(1, 1))], "Doubling(in_features=1, …"),
        ([LINEAR, nn.GELU()], "GELU(approximate='none') is nothing that …, GELU(approximate='t…"),
        ([LINEAR, nn.Softplus(2)], "…, Softplus(beta=1.0, threshold=40.0), …"),
        ([LINEAR, nn.Softmax(1), LINEAR], "softmax is for the output layer, …"),
        ([LINEAR, nn.ReLU(), nn.Tanh()], "Tanh() does not follow a Linear, as a net's activ…"),
        ([nn.Tanh(), LINEAR], "Tanh() does not follow a Linear, as a net's activations do"),
        ([nn.Identity()], "the module holds no Linear layer"),
        ([LINEAR, nn.Linear(3, 1)], "W[3] has shape (1, 3), but the layer before has 2…"),
        ([LINEAR, nn.Softmax(-1)], "activation names the output layer's as 'softmax', but output …"),
        ([INFINITE], "b[2] must be finite, but b[2][0] is inf"),
    ],
)
def test_what_a_net_is_not(layers, message):
    output = "sigmoid" if message.startswith("activation names") else None
    with complains(ValueError, message):
        formats.from_torch(nn.Sequential(*layers), output=output)
    with complains(TypeError, "from_torch takes an nn.Sequential, not [Linear…"):
        formats.from_torch([LINEAR])
