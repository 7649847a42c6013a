"""The same training step by each library: what `vs_peers.py` times, a process a library.

bpnet's, scikit-learn's and the floor are here, PyTorch's and JAX's in `frameworks.py`.
"""

from __future__ import annotations

import math
import warnings
from importlib.util import find_spec
from itertools import repeat
from typing import TYPE_CHECKING, Any

from contender import BETA1, BETA2, CHECK_EPSILON, EPSILON, Trainer, fit_step, fit_steps, in_turn, weights_of
from frameworks import Jax, Torch

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from workloads import Array, Problem, Workload


class Bpnet(Trainer):
    """The step that `fit` takes, `fit` itself, and `predict`."""

    def __init__(self, work: Workload, data: Problem, *, compiled: bool = False) -> None:
        self.compiled = compiled
        super().__init__(work, data)

    def reset(self, epsilon: float = EPSILON) -> None:
        from bpnet import MLP, SGD, Adam

        work, data = self.work, self.data
        activation = [work.hidden] * (len(work.sizes) - 2) + [work.output]
        self.net = MLP.from_weights(data.W, data.b, activation=activation, loss=work.loss)
        adam = Adam(work.rate, BETA1, BETA2, epsilon)
        self.optimizer = SGD(work.rate) if work.optimizer == "SGD" else adam
        if work.kind == "step":
            self.take = self.made_step()

    def made_step(self) -> Any:
        """Return what `fit` calls for each batch."""
        return fit_step(self.net, self.data.x, self.optimizer, compiled=self.compiled)

    def steps(self, n: int) -> None:
        self.loss = fit_steps(self.take, self.data.y, n)

    def epochs(self, n: int, **more: Any) -> None:
        from bpnet import fit

        how = {"epochs": n, "batch_size": self.work.batch, "optimizer": self.optimizer, "rng": 0}
        how |= {"compiled": self.compiled, **more}
        self.loss = fit(self.net, self.data.x, self.data.y, **how).loss[-1]

    def training(self, epochs: int, after: Any) -> None:
        self.epochs(epochs, callbacks=[lambda training: after() and training.stop("reached")])

    def predictions(self, n: int) -> None:
        for _ in repeat(None, n):
            self.a = self.net.predict(self.data.x)

    def weights(self) -> list[Array]:
        return weights_of(self.net)

    def outputs(self) -> Array:
        return self.a


class Floor(Trainer):
    """The step's matrix products alone, by the BLAS of NumPy, into arrays that are kept."""

    same = False

    def prepare(self) -> None:
        """Lay out the products of each size that a batch has; an epoch's last may be short."""
        m, batch = len(self.data.x), self.work.batch
        sizes = {min(m, batch), m % batch or batch} if self.work.kind == "epoch" else {m}
        self.products = {n: self.of_rows(n) for n in sizes}

    def of_rows(self, m: int) -> list[tuple[Array, Array, Array]]:
        """Return (A, B, out) of each product A B on so many rows."""
        import numpy as np

        W = self.data.W
        a = [np.ones((m, n), np.float32) for n in self.work.sizes]
        products = [(before, W_l.T, after) for before, W_l, after in zip(a, W, a[1:], strict=False)]
        if self.work.kind == "predict":
            return products
        delta = [np.ones_like(a_l) for a_l in a]
        for l, W_l in reversed(list(enumerate(W, 1))):
            products.append((delta[l].T, a[l - 1], np.empty_like(W_l)))
            if l > 1:
                products.append((delta[l], W_l, delta[l - 1]))
        return products

    def reset(self, epsilon: float = EPSILON) -> None:
        """Leave everything as it is: the numbers do not matter."""

    def steps(self, n: int) -> None:
        products = self.products[len(self.data.x)]
        for _ in repeat(None, n):
            for A, B, out in products:
                A.dot(B, out)

    predictions = steps

    def epochs(self, n: int) -> None:
        m, batch = len(self.data.x), self.work.batch
        for _ in repeat(None, n):
            for start in range(0, m, batch):
                for A, B, out in self.products[min(batch, m - start)]:
                    A.dot(B, out)


class ScikitLearn(Trainer):
    """`_backprop` and `update_params`, a step of its `fit` without gathering; `fit` itself."""

    def prepare(self) -> None:
        """Make an estimator that has been fitted once."""
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        work, (x, y, labels, _, _) = self.work, self.data
        if work.output == "sigmoid":
            self.same = False
            self.note = "its regressor has no sigmoid output: identity instead, less work"
        self.rate = work.rate if self.same else 1e-3  # with identity, so that it does not diverge
        estimator = MLPClassifier if work.output == "softmax" else MLPRegressor
        self.y = labels if work.output == "softmax" else y[:, 0] if y.shape[1] == 1 else y
        self.est = estimator(
            hidden_layer_sizes=work.sizes[1:-1],
            activation="logistic" if work.hidden == "sigmoid" else work.hidden,
            solver=work.optimizer.lower(),
            alpha=0.0,
            batch_size=min(work.batch, len(x)),
            learning_rate_init=self.rate,
            momentum=0.0,
            nesterovs_momentum=False,
            tol=0.0,
            n_iter_no_change=math.inf,
            warm_start=True,
            random_state=0,
        )
        first = slice(work.batch)
        self.fit(x[first], self.y[first], 1)  # makes what a fitted estimator has
        # `fit` holds one-hot rows as bool, so that they do not turn float32 into float64.
        self.rows = y.astype(bool) if work.output == "softmax" else y

    def reset(self, epsilon: float = EPSILON) -> None:
        """Set the start weights and an optimiser, as `fit` makes one."""
        from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

        est, rate = self.est, self.rate
        est.coefs_ = [W_l.T.copy() for W_l in self.data.W]
        est.intercepts_ = [b_l.copy() for b_l in self.data.b]
        if epsilon == CHECK_EPSILON:  # its ε stands beside √v before the correction
            epsilon *= math.sqrt(1 - BETA2)
        est.epsilon = epsilon
        self.params = est.coefs_ + est.intercepts_
        if self.work.optimizer == "SGD":
            est._optimizer = SGDOptimizer(self.params, rate, momentum=0.0, nesterov=False)
        else:
            est._optimizer = AdamOptimizer(self.params, rate, BETA1, BETA2, epsilon)

    def steps(self, n: int) -> None:
        """Do with a batch what `fit` does."""
        est, x, y, params = self.est, self.data.x, self.rows, self.params
        L = len(self.work.sizes)
        a, delta = [x, *[None] * (L - 1)], [None] * (L - 1)
        dW: list[Any] = [None] * (L - 1)
        db: list[Any] = [None] * (L - 1)
        for _ in repeat(None, n):
            self.loss, dW, db = est._backprop(x, y, None, a, delta, dW, db)
            est._optimizer.update_params(params, dW + db)

    def fit(self, x: Array, y: Array, epochs: int) -> None:
        """Call `fit`, which goes on from the weights there are."""
        self.est.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that so many epochs are few
            self.est.fit(x, y)

    def epochs(self, n: int) -> None:
        self.fit(self.data.x, self.y, n)
        self.loss = self.est.loss_

    def training(self, epochs: int, after: Any) -> None:
        """Call `partial_fit`, an epoch each, which keeps the optimiser's state."""
        for _ in range(epochs):
            self.est.partial_fit(self.data.x, self.y)
            if after():
                break

    def predictions(self, n: int) -> None:
        for _ in repeat(None, n):
            self.a = self.est.predict_proba(self.data.x)

    def weights(self) -> list[Array]:
        return in_turn([W_l.T for W_l in self.est.coefs_], self.est.intercepts_)

    def outputs(self) -> Array:
        return self.a


def contenders(library: str, work: Workload, data: Problem, only: str | None = None) -> dict[str, Trainer]:
    """Return a library's contenders by name, or one of them; of several the best counts."""
    if only == "compiled":
        return {only: Bpnet(work, data, compiled=True)}
    if only is not None and library == "PyTorch":
        return {only: Torch(work, data, **{only.partition(" ")[2]: True})}
    if only is not None and library == "JAX":
        return {only: Jax(work, data, "JAX")}
    if library == "bpnet":
        compiled = {}
        if find_spec("numba") and work.kind != "predict":
            compiled = {"compiled": Bpnet(work, data, compiled=True)}
        return {"bpnet": Bpnet(work, data), **compiled, "floor": Floor(work, data)}
    if library == "scikit-learn":
        return {"scikit-learn": ScikitLearn(work, data)}
    if library == "JAX":
        ways = ("JAX", "NumPy") if work.kind == "epoch" else ("",)
        return {f"JAX, {by} gathers" if by else "JAX": Jax(work, data, by) for by in ways}
    settings: dict[str, dict[str, bool]] = {"default": {}}
    if work.kind != "predict":
        settings |= {"foreach": {"foreach": True}, "fused": {"fused": True}}
    return {f"PyTorch {way}": Torch(work, data, **given) for way, given in settings.items()}
