"""Each update rule against PyTorch's, restated here step by step, and against PyTorch itself."""

import math
from functools import partial

import numpy as np
import pytest

from bpnet import LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, StepDecay
from bpnet.rules.optimizers import check_floats
from tests.helpers.complaint import complains

STEPS = 50
START = np.array([1.3, -0.7, 0.2, 2.1, -1.9, 0.05, 0.6])


def gradient(theta):
    """Of a bumpy bowl, whose coordinates differ in steepness by a factor of 200."""
    steep = np.array([0.05, 0.4, 1.0, 2.5, 0.9, 10.0, 0.3], theta.dtype)
    return steep * theta + np.sin(3 * theta + 1)


# PyTorch's rules, from the documentation of torch.optim, one step each: θ, t, state -> θ.


def torch_sgd(theta, g, t, state, lr, momentum=0.0, nesterov=False):
    if momentum == 0:
        return theta - lr * g
    state["b"] = g if t == 1 else momentum * state["b"] + g
    return theta - lr * (g + momentum * state["b"] if nesterov else state["b"])


def torch_adagrad(theta, g, t, state, lr, eps=1e-10):
    state["sum"] = state.get("sum", 0.0) + g * g
    return theta - lr * g / (np.sqrt(state["sum"]) + eps)


def torch_rmsprop(theta, g, t, state, lr, alpha=0.99, eps=1e-8, momentum=0.0):
    state["v"] = alpha * state.get("v", 0.0) + (1 - alpha) * g * g
    scaled = g / (np.sqrt(state["v"]) + eps)
    if momentum == 0:
        return theta - lr * scaled
    state["b"] = momentum * state.get("b", 0.0) + scaled
    return theta - lr * state["b"]


def torch_adam(theta, g, t, state, lr, betas=(0.9, 0.999), eps=1e-8):
    state["m"] = betas[0] * state.get("m", 0.0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0.0) + (1 - betas[1]) * g * g
    m_hat = state["m"] / (1 - betas[0] ** t)
    v_hat = state["v"] / (1 - betas[1] ** t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


def torch_adamw(theta, g, t, state, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
    return torch_adam(theta - lr * weight_decay * theta, g, t, state, lr, betas, eps)


# ours, which is called as in torch.optim, the restatement, and what both of these are called with
# fmt: off
RULES = {
    "SGD": (SGD(0.03), torch_sgd, {"lr": 0.03}),
    "momentum": (SGD(0.01, momentum=0.8), torch_sgd, {"lr": 0.01, "momentum": 0.8}),
    "Nesterov": (SGD(0.01, momentum=0.9, nesterov=True), torch_sgd,
                 {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "Adagrad": (Adagrad(), torch_adagrad, {"lr": 0.01}),
    "Adagrad, ε": (Adagrad(0.4, 0.03), torch_adagrad, {"lr": 0.4, "eps": 0.03}),
    "RMSprop": (RMSprop(), torch_rmsprop, {"lr": 0.01}),
    "RMSprop, momentum": (RMSprop(0.02, rho=0.9, epsilon=0.02, momentum=0.7), torch_rmsprop,
                          {"lr": 0.02, "alpha": 0.9, "eps": 0.02, "momentum": 0.7}),
    "Adam": (Adam(), torch_adam, {"lr": 0.001}),
    "Adam, other": (Adam(0.1, beta1=0.7, beta2=0.9, epsilon=0.05), torch_adam,
                    {"lr": 0.1, "betas": (0.7, 0.9), "eps": 0.05}),
    "Adam, no memory": (Adam(0.1, beta1=0.0, beta2=0.0), torch_adam,
                        {"lr": 0.1, "betas": (0.0, 0.0)}),
    "AdamW": (AdamW(), torch_adamw, {"lr": 0.001}),
    "AdamW, other": (AdamW(0.05, beta1=0.8, beta2=0.95, epsilon=0.01, weight_decay=0.3),
                     torch_adamw,
                     {"lr": 0.05, "betas": (0.8, 0.95), "eps": 0.01, "weight_decay": 0.3}),
}
# fmt: on
every_rule = pytest.mark.parametrize("name", RULES)


def ours(rule, theta, steps=STEPS):
    rule.start(theta)
    path = []
    for _ in range(steps):
        rule.step(theta, gradient(theta))
        path.append(theta.copy())
    return np.array(path)


@every_rule
def test_rule_is_pytorch_s_restated(name):
    rule, restated, settings = RULES[name]
    path, theta, state = ours(rule, START.copy()), START.copy(), {}
    for t in range(1, STEPS + 1):
        theta = restated(theta, gradient(theta), t, state, **settings)
        assert abs(path[t - 1] - theta).max() < 1e-12
    assert abs(theta - START).max() > 0.01  # it did move
    assert rule.t == STEPS


@every_rule
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_rule_is_pytorch_s(name, dtype, tolerance):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    rule, _, settings = RULES[name]
    start = START.astype(dtype)
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, type(rule).__name__)([parameter], **settings)
    for theta in ours(rule, start.copy()):
        here = parameter.detach().numpy()
        parameter.grad = torch.tensor(gradient(here))
        optimizer.step()
        assert abs(theta - parameter.detach().numpy()).max() < tolerance


@every_rule
def test_state_and_step_keep_the_dtype_and_leave_the_gradient_alone(name):
    rule = RULES[name][0]
    theta = START.astype("float32")
    g = gradient(theta)
    before = g.copy()
    rule.start(theta)
    for _ in range(3):
        rule.step(theta, g)
    assert np.array_equal(g, before)
    move = np.empty_like(theta)
    rule.compute(theta, g, move)
    arrays = [*rule.state.values(), rule.rate, *rule.typed.values()]
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    assert all(vector.shape == theta.shape for vector in rule.state.values())
    assert list(rule.state) == list(rule.vectors)


def test_vectors_kept():
    assert [SGD(1).vectors, SGD(1, momentum=0.5).vectors] == [(), ("v",)]
    assert [RMSprop().vectors, RMSprop(momentum=0.5).vectors] == [("s",), ("s", "v")]
    assert [Adagrad().vectors, Adam().vectors, AdamW().vectors] == [("s",), ("m", "v"), ("m", "v")]


def test_adamw_decays_the_coordinates_that_are_weights():
    weights = np.array([True, False, True])
    rule, theta = AdamW(0.1, weight_decay=0.5), np.array([3.0, -4.0, 5.0])
    for factor in (0.95, 0.95**2):  # the first resume starts
        rule.resume(theta, weights)
        rule.step(theta, np.zeros(3))
        assert theta == pytest.approx([3 * factor, -4.0, 5 * factor], rel=1e-15)


@every_rule
def test_start_forgets_and_resume_goes_on(name):
    rule = RULES[name][0]
    first = ours(rule, START.copy())
    assert np.array_equal(ours(rule, START.copy()), first)
    theta = START.copy()
    rule.start(theta)
    for _ in range(2):
        for _ in range(STEPS // 2):
            rule.step(theta, gradient(theta))
        rule.resume(theta)
    assert np.array_equal(theta, first[-1])


def test_step_begins_by_itself():
    theta, rule = START.copy(), Adam(0.1)
    assert rule.state == {}
    rule.step(theta, gradient(theta))
    assert np.array_equal(theta, ours(Adam(0.1), START.copy(), steps=1)[0])


def test_state_survives_with_resume_only_where_it_fits():
    rule = Adam()
    rule.step(START.copy(), START)
    m = "the optimizer's m is float64 of shape (7,)"
    with complains(ValueError, f"{m}, but theta is float64 of shape (3,): start it afresh"):
        rule.resume(np.zeros(3))
    with complains(ValueError, f"{m}, but theta is float32 of shape (7,): start it afresh"):
        rule.resume(np.zeros(7, "float32"))
    rule.state["v"][2] = np.inf
    diverged = "the optimizer's v is not finite since training diverged: start it afresh"
    with complains(ValueError, diverged):
        rule.resume(START)
    rule.start(np.zeros(3))
    assert rule.t == 0
    rule.resume(np.zeros(3))


def test_rule_without_vectors_resumes_too():
    rule = SGD(0.1)
    theta = START.copy()
    rule.step(theta, START)
    rule.resume(np.zeros(2))
    rule.step(np.zeros(2), np.ones(2))
    assert rule.t == 2


def test_hyperparameter_set_anew_holds_from_the_next_start():
    rule, theta = SGD(0.1), np.zeros(1)
    rule.momentum = 0.9
    rule.start(theta)
    for _ in range(3):
        rule.step(theta, np.ones(1))
    assert theta[0] == pytest.approx(-0.561)
    for value, message in (
        (1.0, "momentum must be >= 0 and < 1, not 1"),
        (0.0, "the optimizer's hyperparameters have changed: start it afresh"),
    ):
        rule.momentum = value
        with complains(ValueError, message):
            rule.resume(theta)


def test_stack_may_have_a_rate_a_network():
    theta = np.zeros((2, 3))
    rule = SGD(np.array([0.5, 0.25]))
    rule.step(theta, np.ones((2, 3)))
    assert np.array_equal(theta, [[-0.5] * 3, [-0.25] * 3])
    two = "learning_rate holds 2 numbers, but one is needed for each network of a stack, and "
    for shape in ((3,), (3, 4)):
        with complains(ValueError, f"{two}theta has shape {shape}"):
            SGD([0.5, 0.25]).start(np.zeros(shape))


@pytest.mark.parametrize("name", [name for name in RULES if name != "SGD"])
def test_networks_of_a_stack_are_trained_each_by_itself(name):
    rule = RULES[name][0]
    stack = np.array([START, -0.3 * START])
    together = ours(rule, stack.copy())
    for k in range(2):
        assert np.array_equal(together[:, k], ours(rule, stack[k].copy()))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (SGD(1e39), "learning_rate=1e+39 is out of range for float32"),
        (SGD(1e-60), "learning_rate=1e-60 is out of range for float32"),
        (Adam(epsilon=1e-60), "epsilon=1e-60 is out of range for float32"),
    ],
)
def test_numbers_that_the_dtype_does_not_hold(rule, message):
    with complains(ValueError, message):
        rule.start(np.zeros(3, "float32"))
    rule.start(np.zeros(3))


def test_step_refuses_what_does_not_fit():
    rule = SGD(0.1)
    with complains(ValueError, "theta has shape (2,), but g has shape (3,)"):
        rule.step(np.zeros(2), np.zeros(3))
    was = "was float64 of shape (2,) in the steps before: call start(theta) to begin afresh"
    with complains(ValueError, f"theta is float64 of shape (3,), but {was}"):
        rule.step(np.zeros(3), np.zeros(3))
    with complains(ValueError, f"theta is float32 of shape (2,), but {was}"):
        rule.step(np.zeros(2, "float32"), np.zeros(2))


@pytest.mark.parametrize(
    ("theta", "kind"), [([1.0, 2.0], "list"), (np.array([1, 2]), "int64"), (np.ones(2, "c8"), "complex64")]
)
def test_theta_that_cannot_be_stepped_is_refused(theta, kind):
    message = f"theta must be an array of floats, which changes in place, not {kind}"
    for call in (SGD(0.1).start, SGD(0.1).resume, check_floats, lambda t: SGD(0.1).step(t, t)):
        with complains(TypeError, message):
            call(theta)


@pytest.mark.parametrize(
    ("make", "names", "bounds", "outside"),
    [
        (partial(SGD, 0.1), "momentum", ">= 0 and < 1", (-0.1, 1)),
        (SGD, "learning_rate", "> 0", (0, -1)),
        (SGD, "learning_rate", "finite and > 0", (math.nan, math.inf)),
        (Adagrad, "epsilon", "> 0", (0,)),
        (RMSprop, "rho momentum", ">= 0 and < 1", (-0.5, 1)),
        (RMSprop, "epsilon", "> 0", (0,)),
        (Adam, "beta1 beta2", ">= 0 and < 1", (-0.1, 1)),
        (Adam, "epsilon", "> 0", (0,)),
        (AdamW, "weight_decay", ">= 0", (-1,)),
        (AdamW, "beta1 beta2", ">= 0 and < 1", (-0.1, 1)),
        (LBFGS, "memory", "an integer >= 1", (0,)),
        (LBFGS, "tolerance", ">= 0", (-1,)),
    ],
)
def test_hyperparameters_out_of_range(make, names, bounds, outside):
    for name in names.split():
        for value in outside:
            with complains(ValueError, f"{name} must be {bounds}, not {value}"):
                make(**{name: value})


def test_hyperparameters_that_do_not_go_together():
    with complains(ValueError, "nesterov needs momentum: give momentum=0.9 or so"):
        SGD(0.1, nesterov=True)
    with complains(ValueError, "learning_rate[1] must be > 0, not 0"):
        SGD([0.1, 0.0])


@pytest.mark.parametrize("rate", ["fast", None, True, 1j, [[0.1]]])
def test_rate_that_is_no_number(rate):
    with complains(TypeError, f"learning_rate must be a number, not {rate!r}"):
        SGD(rate)


def test_edges_of_the_ranges_are_in_them():
    assert RMSprop(rho=0, momentum=0).rho == AdamW(weight_decay=0).weight_decay == 0
    assert (LBFGS().memory, LBFGS().tolerance) == (10, 1e-8)
    assert (LBFGS(memory=1, tolerance=0).memory, LBFGS(tolerance=0).tolerance) == (1, 0)


def test_rule_of_one_s_own():
    class SignDescent(Optimizer):
        def __init__(self, learning_rate):
            self.learning_rate = learning_rate
            self.best = math.inf  # not declared, so it is the rule's own affair
            self.__post_init__()

        def compute(self, theta, g, move):
            np.multiply(np.sign(g), self.rate, move)

    theta = START.copy()
    SignDescent(0.1).step(theta, START)
    assert theta == pytest.approx(START - 0.1 * np.sign(START))
    with pytest.raises(NotImplementedError):
        Optimizer.compute(SignDescent(0.1), theta, theta, theta)
    rule = SignDescent(0.1)
    assert (rule == rule, rule == SignDescent(0.1), len({rule, rule})) == (True, False, 1)


def test_constants_that_are_declared_are_typed_and_checked():
    class Leaky(SGD):
        leak = 0.25
        constants = (*SGD.constants, "leak")

        def compute(self, theta, g, move):
            super().compute(theta, g, move)
            np.multiply(move, self.typed["leak"], move)

    theta, rule = np.ones(2, "float32"), Leaky(0.5)
    rule.step(theta, np.ones(2, "float32"))
    assert theta.tolist() == [0.875, 0.875]
    assert rule.typed["leak"].dtype == theta.dtype
    rule.leak = 1e-60
    with complains(ValueError, "leak=1e-60 is out of range for float32"):
        rule.start(theta)


def test_equal_where_the_fields_are():
    rates = np.array([0.1, 0.2])
    assert SGD(rates) == SGD(rates.copy())
    assert SGD(rates) != SGD(2 * rates)
    assert SGD(0.1) != SGD(rates)
    assert SGD(StepDecay(rates)) == SGD(StepDecay(rates.copy()))
    assert SGD(StepDecay(rates)) != SGD(StepDecay(rates, every=2))
    assert (SGD(0.1) == SGD(0.1), SGD(0.1) == SGD(0.1, momentum=0.5)) == (True, False)
    assert Adam(0.1) != AdamW(0.1)
    assert len({SGD(0.1), SGD(0.1), Adam(0.1)}) == 2


def test_rule_of_a_network_has_views_and_that_network_s_rate():
    theta = np.array([START, START])
    rule, twin = AdamW([0.1, 0.2], weight_decay=0.5), AdamW(0.2, weight_decay=0.5)
    weights = np.arange(len(START)) < 4
    rule.start(theta, weights)
    twin.start(theta[1], weights)
    one, move, expected = rule.of_network(1), np.empty_like(START), START.copy()
    for _ in range(3):
        one.t += 1
        one.compute(theta[1], gradient(theta[1]), move)
        theta[1] -= move
        twin.step(expected, gradient(expected))
    assert np.array_equal(theta[1], expected)
    assert all(np.shares_memory(one.state[name], rule.state[name]) for name in rule.vectors)
    assert not rule.state["m"][0].any()
