"""PyTorch and JAX as contenders: what `vs_peers.py` times against bpnet, as `peers.py` says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any

from contender import BETA1, BETA2, EPSILON, Trainer, in_turn

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from workloads import Array, Problem, Workload


class Torch(Trainer):
    """PyTorch eager: a Sequential, and an optimiser of its own with one of its settings."""

    def __init__(self, work: Workload, data: Problem, **settings: bool) -> None:
        self.settings = settings
        super().__init__(work, data)

    def prepare(self) -> None:
        """Make the model and the tensors, which share the data's memory."""
        import torch
        from torch import nn
        from torch.nn import functional

        work, m = self.work, min(self.work.batch, len(self.data.x))
        functions = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
        layers: list[Any] = []
        for n_before, n in pairwise(work.sizes):
            layers += [nn.Linear(n_before, n), functions[work.hidden]()]
        # cross_entropy takes softmax's input, and class numbers rather than one-hot rows
        layers[-1:] = [nn.Sigmoid()] if work.output == "sigmoid" else []
        self.model = nn.Sequential(*layers)
        self.x = torch.from_numpy(self.data.x)
        if work.output == "softmax":
            self.y = torch.from_numpy(self.data.labels)
            self.E = functional.cross_entropy
        else:
            self.y = torch.from_numpy(self.data.y)
            self.E = lambda a, y: functional.mse_loss(a, y, reduction="sum") * (0.5 / m)

    def reset(self, epsilon: float = EPSILON) -> None:
        import torch

        with torch.no_grad():
            starts = in_turn(self.data.W, self.data.b)
            for array, start in zip(self.model.parameters(), starts, strict=True):
                array.copy_(torch.from_numpy(start))
        parameters, rate = self.model.parameters(), self.work.rate
        if self.work.optimizer == "SGD":
            self.optimizer: Any = torch.optim.SGD(parameters, rate, **self.settings)
        else:
            betas = (BETA1, BETA2)
            self.optimizer = torch.optim.Adam(parameters, rate, betas, epsilon, **self.settings)

    def train(self, batches: Iterator[tuple[Any, Any]]) -> None:
        """Take a step on each batch."""
        model, E, optimizer = self.model, self.E, self.optimizer
        for x, y in batches:
            optimizer.zero_grad()
            loss = E(model(x), y)
            loss.backward()
            optimizer.step()
        self.loss = loss.detach()

    def steps(self, n: int) -> None:
        self.train(repeat((self.x, self.y), n))

    def epochs(self, n: int) -> None:
        """Shuffle the numbers of the rows, and gather each batch."""
        import torch

        for _ in repeat(None, n):
            order = torch.randperm(len(self.x)).split(self.work.batch)
            self.train((self.x.index_select(0, k), self.y.index_select(0, k)) for k in order)

    def predictions(self, n: int) -> None:
        """Compute the probabilities in inference mode."""
        import torch

        with torch.inference_mode():
            for _ in repeat(None, n):
                self.a = torch.softmax(self.model(self.x), 1)

    def weights(self) -> list[Array]:
        return [array.detach().numpy() for array in self.model.parameters()]

    def outputs(self) -> Array:
        return self.a.numpy()


class Jax(Trainer):
    """JAX: one jitted call a step, which may overwrite the weights that it is given."""

    def __init__(self, work: Workload, data: Problem, gather: str = "") -> None:
        self.gather = gather
        super().__init__(work, data)

    def prepare(self) -> None:
        """Make the jitted functions, and the arrays that stay on its side."""
        import jax
        import numpy as np
        from jax import numpy as jnp

        work, self.rng = self.work, np.random.default_rng(0)
        self.x, self.y = jnp.asarray(self.data.x), jnp.asarray(self.data.y)
        self.forward = jax.jit(partial(jax_forward, work))
        self.step = jax.jit(partial(jax_step, work), donate_argnums=0)
        self.gathered_step = jax.jit(
            lambda state, x, y, index: jax_step(work, state, x[index], y[index]), donate_argnums=0
        )

    def reset(self, epsilon: float = EPSILON) -> None:
        import numpy as np
        from jax import numpy as jnp

        W_T = [W_l.T for W_l in self.data.W]
        theta = [jnp.array(array) for array in in_turn(W_T, self.data.b)]
        moments = [[jnp.array(np.zeros(w.shape, w.dtype)) for w in theta] for _ in range(2)]
        if self.work.optimizer == "SGD":
            moments = []
        self.state = theta, moments, jnp.array(0, np.float32), jnp.array(epsilon, np.float32)

    def steps(self, n: int) -> None:
        x, y, step, state = self.x, self.y, self.step, self.state
        for _ in repeat(None, n):
            state, self.loss = step(state, x, y)
        self.wait(state)

    def epochs(self, n: int) -> None:
        """Shuffle the numbers of the rows, and gather each batch on one side."""
        rng, batch, state = self.rng, self.work.batch, self.state
        x, y = self.data.x, self.data.y
        for _ in repeat(None, n):
            order = rng.permutation(len(x))
            for start in range(0, len(x), batch):
                index = order[start : start + batch]
                if self.gather == "NumPy":
                    state, self.loss = self.step(state, x[index], y[index])
                else:
                    state, self.loss = self.gathered_step(state, self.x, self.y, index)
        self.wait(state)

    def wait(self, state: Any) -> None:
        """Keep the state when it is there."""
        import jax

        self.state = jax.block_until_ready(state)

    def predictions(self, n: int) -> None:
        """Compute the probabilities, and wait for them each time."""
        for _ in repeat(None, n):
            self.a = self.forward(self.state[0], self.x).block_until_ready()

    def weights(self) -> list[Array]:
        import numpy as np

        return [np.asarray(array).T for array in self.state[0]]

    def outputs(self) -> Array:
        import numpy as np

        return np.asarray(self.a)


def jax_z(work: Workload, theta: list[Any], x: Any) -> Any:
    """Return z^L."""
    import jax

    f = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[work.hidden]
    *hidden, W_L, b_L = theta
    for W_l, b_l in zip(hidden[::2], hidden[1::2], strict=True):
        x = f(x @ W_l + b_l)
    return x @ W_L + b_L


def jax_forward(work: Workload, theta: list[Any], x: Any) -> Any:
    """Return a^L."""
    import jax

    f = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "identity": lambda z: z}
    return f[work.output](jax_z(work, theta, x))


def jax_loss(work: Workload, theta: list[Any], x: Any, y: Any) -> Any:
    """Return E."""
    import jax

    if work.output == "softmax":
        return -(y * jax.nn.log_softmax(jax_z(work, theta, x))).sum() / len(x)
    d = jax_forward(work, theta, x) - y
    return (d * d).sum() / (2 * len(x))


def jax_step(work: Workload, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the state after a step of SGD or Adam, and the loss before it."""
    import jax
    from jax import numpy as jnp

    theta, moments, t, epsilon = state
    loss, g = jax.value_and_grad(partial(jax_loss, work))(theta, x, y)
    t += 1
    if not moments:
        theta = [w - work.rate * g_w for w, g_w in zip(theta, g, strict=True)]
        return (theta, moments, t, epsilon), loss
    m = [BETA1 * m_w + (1 - BETA1) * g_w for m_w, g_w in zip(moments[0], g, strict=True)]
    v = [BETA2 * v_w + (1 - BETA2) * g_w * g_w for v_w, g_w in zip(moments[1], g, strict=True)]
    c, r = 1 / (1 - BETA1**t), 1 / (1 - BETA2**t)
    theta = [
        w - work.rate * (c * m_w) / (jnp.sqrt(r * v_w) + epsilon)
        for w, m_w, v_w in zip(theta, m, v, strict=True)
    ]
    return (theta, [m, v], t, epsilon), loss
