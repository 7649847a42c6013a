"""Many networks trained at once, by each library: what `many.py` times, a process a library.

Every network is of sigmoids with half the squared error, in float64, and a step is plain gradient
descent on the same batch for all. W[l] is (networks, n_l, n_{l-1}).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from contender import EPSILON, Contender, fit_step, fit_steps, in_turn, weights_of, weights_of_loop
from frameworks import jax_loss
from workloads import Workload, start_weights

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from workloads import Array

RATE = 0.5
BATCHES = 10  # an epoch of `fit`
SIGMOIDS = Workload("", (), "sigmoid", "sigmoid", "SGD", RATE, 0)
FEW = 10  # networks that are compared, where each is trained by itself


class Row(NamedTuple):
    """Networks, their sizes, the batch, and how much faster than the loop they are to be."""

    sizes: tuple[int, ...]
    networks: int
    batch: int
    loop: float | None = None

    @property
    def name(self) -> str:
        """The row in words."""
        net = "-".join(map(str, self.sizes))
        return f"{self.networks:,} of {net}, batch {self.batch}"


class Problem(NamedTuple):
    """A batch, and the start weights of every network."""

    x: Array
    y: Array
    W: list[Array]
    b: list[Array]


def problem(row: Row) -> Problem:
    """Return what every library starts from, the same at each call."""
    import numpy as np

    rng, m = np.random.default_rng(0), row.batch
    W, b = start_weights(rng, row.sizes, row.networks)
    x, y = rng.random((m, row.sizes[0])), rng.uniform(0.1, 0.9, (m, row.sizes[-1]))
    return Problem(x, y, W, b)


class Way(Contender):
    """One way to train the networks; ``run(1)`` takes a step of so many `networks`."""

    def __init__(self, work: Row, data: Problem) -> None:
        self.networks = work.networks
        super().__init__(work, data)


class Stack(Way):
    """bpnet's stack: the step that `fit` takes, in the memory layout that it takes."""

    def reset(self, epsilon: float = EPSILON) -> None:
        from bpnet import MLP
        from bpnet.arrays import best_layout

        net = MLP.from_weights(self.data.W, self.data.b)
        self.start(net.with_theta(best_layout(net.theta, net.sizes, self.work.batch)))

    def start(self, net: Any) -> None:
        """Make the step of a net."""
        from bpnet import SGD

        self.net, self.take = net, fit_step(net, self.data.x, SGD(RATE))

    def run(self, n: int) -> None:
        fit_steps(self.take, self.data.y, n)

    def weights(self) -> list[Array]:
        return weights_of(self.net)


class OneByOne(Stack):
    """bpnet's networks one after the other: a step of the first is as long as of any."""

    def prepare(self) -> None:
        """Let it be one."""
        self.networks, self.which = 1, 0

    def of_one(self) -> list[list[Array]]:
        """Return W and b of the network whose turn it is."""
        return [[array[self.which] for array in part] for part in (self.data.W, self.data.b)]

    def reset(self, epsilon: float = EPSILON) -> None:
        from bpnet import MLP

        self.start(MLP.from_weights(*self.of_one()))

    def result(self) -> list[Array]:
        """Return the weights of the first few networks, each after its first step."""
        import numpy as np

        found = []
        for k in range(min(FEW, self.work.networks)):
            self.which = k
            found.append(super().result())
        self.which = 0
        return [np.stack(arrays) for arrays in zip(*found, strict=True)]


class Fit(Way):
    """`fit` of the stack: epochs of some batches in a new order, with the history."""

    same = False

    def prepare(self) -> None:
        """Draw the data, and count the steps."""
        import numpy as np

        rng, m = np.random.default_rng(1), BATCHES * self.work.batch
        self.x = rng.random((m, self.work.sizes[0]))
        self.y = rng.uniform(0.1, 0.9, (m, self.work.sizes[-1]))
        self.networks = BATCHES * self.work.networks

    def reset(self, epsilon: float = EPSILON) -> None:
        from bpnet import MLP

        self.net = MLP.from_weights(self.data.W, self.data.b)

    def run(self, n: int) -> None:
        from bpnet import SGD, fit

        how = {"epochs": n, "batch_size": self.work.batch, "optimizer": SGD(RATE)}
        fit(self.net, self.x, self.y, **how)


class FitOneByOne(Fit):
    """`fit` of one network."""

    def prepare(self) -> None:
        """Let it be one."""
        super().prepare()
        self.networks = BATCHES

    def reset(self, epsilon: float = EPSILON) -> None:
        super().reset()
        self.net = self.net[0].copy()


class Loop(OneByOne):
    """The loop twin, in plain Python floats."""

    def reset(self, epsilon: float = EPSILON) -> None:
        from bpnet.reference import Network

        self.loop = Network(*([array.tolist() for array in part] for part in self.of_one()))

    def run(self, n: int) -> None:
        """Take steps on the one sample, or on the batch."""
        x, y, step = self.data.x.tolist(), self.data.y.tolist(), self.loop.step_batch
        if len(x) == 1:
            x, y, step = x[0], y[0], self.loop.step
        for _ in repeat(None, n):
            step(x, y, RATE)

    def weights(self) -> list[Array]:
        return weights_of_loop(self.loop)


class Vmap(Way):
    """PyTorch: vmap over the gradient of one network's loss, which is written out."""

    def prepare(self) -> None:
        """Make the tensors of the batch, and the mapped gradient."""
        import torch
        from torch.func import grad_and_value, vmap

        self.x, self.y = torch.from_numpy(self.data.x), torch.from_numpy(self.data.y)
        self.half_share = 0.5 / self.work.batch
        self.gradient = vmap(grad_and_value(self.loss_of), in_dims=(0, None, None))

    def loss_of(self, theta: Any, x: Any, y: Any) -> Any:
        """Return E of one network."""
        a = self.output_of(theta, x)
        return ((a - y) ** 2).sum() * self.half_share

    def output_of(self, theta: Any, x: Any) -> Any:
        """Return a^L of one network."""
        import torch

        for W_l, b_l in zip(theta[::2], theta[1::2], strict=True):
            x = torch.sigmoid(x @ W_l.T + b_l)
        return x

    def reset(self, epsilon: float = EPSILON) -> None:
        import torch

        self.theta: Any = tuple(torch.from_numpy(array.copy()) for array in in_turn(self.data.W, self.data.b))

    def run(self, n: int) -> None:
        """Take the gradient of all, and subtract it."""
        import torch

        theta = self.theta
        every = list(theta.values()) if isinstance(theta, dict) else list(theta)
        with torch.no_grad():
            for _ in repeat(None, n):
                g, _ = self.gradient(theta, self.x, self.y)
                parts = g.values() if isinstance(g, dict) else g
                for w, g_w in zip(every, parts, strict=True):
                    w.sub_(g_w, alpha=RATE)

    def weights(self) -> list[Array]:
        return [array.numpy() for array in self.theta]


class VmapOfModule(Vmap):
    """PyTorch: the same with a Sequential, by functional_call on stacked weights."""

    def prepare(self) -> None:
        """Make the model, whose own weights are not used."""
        import torch
        from torch import nn

        layers: list[Any] = []
        for n_before, n in pairwise(self.work.sizes):
            layers += [nn.Linear(n_before, n, dtype=torch.float64), nn.Sigmoid()]
        self.model = nn.Sequential(*layers)
        self.names = [name for name, _ in self.model.named_parameters()]
        super().prepare()

    def output_of(self, theta: Any, x: Any) -> Any:
        """Return a^L of one network."""
        from torch.func import functional_call

        return functional_call(self.model, theta, (x,))

    def reset(self, epsilon: float = EPSILON) -> None:
        super().reset()
        self.theta = dict(zip(self.names, self.theta, strict=True))

    def weights(self) -> list[Array]:
        return [array.numpy() for array in self.theta.values()]


class JitVmap(Way):
    """JAX: one jitted call a step, of vmap over one network's step."""

    def prepare(self) -> None:
        """Make the batch's arrays, and the jitted step, which may overwrite the weights."""
        import jax
        from jax import numpy as jnp

        self.x, self.y = jnp.asarray(self.data.x), jnp.asarray(self.data.y)
        every = jax.vmap(jax_step, in_axes=(0, None, None))
        self.step = jax.jit(every, donate_argnums=0)

    def reset(self, epsilon: float = EPSILON) -> None:
        """Set the start weights; each matrix as its transpose, which JAX's users write."""
        from jax import numpy as jnp

        W_T = [W_l.swapaxes(1, 2) for W_l in self.data.W]
        self.theta = [jnp.array(array) for array in in_turn(W_T, self.data.b)]

    def run(self, n: int) -> None:
        """Take steps, and wait for the last."""
        import jax

        theta, x, y, step = self.theta, self.x, self.y, self.step
        for _ in repeat(None, n):
            theta, _ = step(theta, x, y)
        self.theta = jax.block_until_ready(theta)

    def weights(self) -> list[Array]:
        import numpy as np

        found = [np.asarray(array) for array in self.theta]
        return [array.swapaxes(1, 2) if array.ndim == 3 else array for array in found]


class CompiledLoop(JitVmap):
    """JAX: all steps in one compiled loop, which could not read a batch from outside."""

    def prepare(self) -> None:
        """Make the jitted loop."""
        import jax

        super().prepare()
        x, y = self.x, self.y
        every = jax.vmap(jax_step, in_axes=(0, None, None))

        def steps(theta: list[Any], n: Any) -> list[Any]:
            return jax.lax.fori_loop(0, n, lambda _, theta: every(theta, x, y)[0], theta)

        self.loop = jax.jit(steps, donate_argnums=0)

    def run(self, n: int) -> None:
        """Take all steps in one call."""
        import jax

        self.theta = jax.block_until_ready(self.loop(self.theta, n))


def jax_step(theta: list[Any], x: Any, y: Any) -> tuple[list[Any], Any]:
    """Return one network's weights after a step, and its loss before."""
    import jax

    loss, g = jax.value_and_grad(partial(jax_loss, SIGMOIDS))(theta, x, y)
    return [w - RATE * g_w for w, g_w in zip(theta, g, strict=True)], loss


def contenders(library: str, row: Row) -> dict[str, Callable[[], Way]]:
    """Return by name what makes each way of a library."""
    ways: dict[str, dict[str, type[Way]]] = {
        "bpnet": {
            "bpnet": Stack,
            "one by one": OneByOne,
            "loop": Loop,
            "fit": Fit,
            "fit one by one": FitOneByOne,
        },
        "PyTorch": {"vmap": Vmap, "vmap of functional_call": VmapOfModule},
        "JAX": {"jit of vmap": JitVmap, "compiled loop": CompiledLoop},
    }
    data = problem(row)
    return {name: partial(way, row, data) for name, way in ways[library].items()}
