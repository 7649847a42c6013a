"""The same training step by each library: what `vs_peers.py` times, a process a library.

A contender has `reset`, which goes back to the start weights and a fresh optimiser, `run(n)`, which
takes n steps, epochs or predictions and returns when they are done, and `result`, by which the
libraries are compared. A library is imported when its contenders are made, never before.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import repeat
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # NumPy must not be imported before its threads are set
    from workloads import Array, Problem, Workload

EPSILON = 1e-8  # Adam's
CHECK_EPSILON = 1e-3  # with 1e-8 the first step is the gradient's sign, even of its rounding
BETA1, BETA2 = 0.9, 0.999


class Contender:
    """One library's way; the subclasses fill in the steps.

    Attributes
    ----------
    same : bool
        Whether loss and weights are to equal the others'; where not, `note` says why.
    note : str
    """

    same = True
    note = ""

    def __init__(self, work: Workload, data: Problem) -> None:
        self.work, self.data = work, data
        self.loss: Any = None
        self.prepare()
        self.reset()
        self.run = {"step": self.steps, "epoch": self.epochs, "predict": self.predictions}[
            work.kind
        ]

    def prepare(self) -> None:
        """Do what is done once."""

    def reset(self, epsilon: float = EPSILON) -> None:
        """Go back to the start weights and a fresh optimiser."""
        raise NotImplementedError

    def steps(self, n: int) -> None:
        """Take n steps on the one batch; leave the loss of the last."""
        raise NotImplementedError

    def epochs(self, n: int) -> None:
        """Go through the data n times, each time in a new order."""
        raise NotImplementedError

    def predictions(self, n: int) -> None:
        """Compute the outputs of all rows n times."""
        raise NotImplementedError

    def weights(self) -> list[Array]:
        """Return W², b², W³, ... as they are."""
        raise NotImplementedError

    def outputs(self) -> Array:
        """Return what the last prediction gave."""
        raise NotImplementedError

    def result(self) -> list[Array]:
        """Return loss and weights after the first step, or the outputs."""
        import numpy as np

        self.reset(CHECK_EPSILON)
        self.run(1)
        if self.work.kind == "predict":
            return [self.outputs()]
        return [np.array([float(self.loss)], np.float32), *self.weights()]


class Bpnet(Contender):
    """The step that `fit` takes, `fit` itself, and `predict`."""

    def reset(self, epsilon: float = EPSILON) -> None:
        """Make a net of the start weights, and the step that `fit` would take."""
        from bpnet import MLP, SGD, Adam

        work, data = self.work, self.data
        activation = [work.hidden] * (len(work.sizes) - 2) + [work.output]
        self.net = MLP.from_weights(data.W, data.b, activation=activation, loss=work.loss)
        adam = Adam(work.rate, BETA1, BETA2, epsilon)
        self.optimizer = SGD(work.rate) if work.optimizer == "SGD" else adam
        if work.kind == "step":
            self.take = self.made_step()

    def made_step(self) -> Callable[[Array, None], Any]:
        """Return what `fit` calls for each batch."""
        from bpnet.training.step import Recipe, make_step

        def failed(cache: Any, grad: Any, what: str, networks: Any) -> NoReturn:
            raise FloatingPointError(f"the {what} is not finite")

        self.optimizer.start(self.net.theta)
        recipe = Recipe.plain(self.net, self.optimizer)
        return make_step(self.net, self.data.x, recipe, failed).take

    def steps(self, n: int) -> None:
        """Take steps as `fit` takes them."""
        import numpy as np

        take, y = self.take, self.data.y
        with np.errstate(all="ignore"):  # as `fit` does
            for _ in repeat(None, n):
                loss = take(y, None)
        self.loss = loss

    def epochs(self, n: int) -> None:
        """Train by `fit`."""
        from bpnet import fit

        how = {"epochs": n, "batch_size": self.work.batch, "optimizer": self.optimizer, "rng": 0}
        self.loss = fit(self.net, self.data.x, self.data.y, **how).loss[-1]

    def predictions(self, n: int) -> None:
        """Call `predict`."""
        for _ in repeat(None, n):
            self.a = self.net.predict(self.data.x)

    def weights(self) -> list[Array]:
        """Return W², b², W³, ..."""
        return [array for l in self.net.W for array in (self.net.W[l], self.net.b[l])]

    def outputs(self) -> Array:
        """Return a^L."""
        return self.a


class Floor(Contender):
    """The step's matrix products alone, by the BLAS of NumPy, into arrays that are kept."""

    same = False

    def prepare(self) -> None:
        """Lay out the products of each size that a batch has."""
        self.products = {n: self.of_rows(n) for n in self.batches()}

    def batches(self) -> set[int]:
        """Return the sizes that batches have; the last of an epoch may be short."""
        m, batch = len(self.data.x), self.work.batch
        if self.work.kind != "epoch":
            return {m}
        return {min(m, batch), m % batch or batch}

    def of_rows(self, m: int) -> list[tuple[Array, Array, Array]]:
        """Return (A, B, out) of each product A B on so many rows; where A is None, it is x."""
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
        """Multiply what a step multiplies."""
        products = self.products[len(self.data.x)]
        for _ in repeat(None, n):
            for A, B, out in products:
                A.dot(B, out)

    predictions = steps

    def epochs(self, n: int) -> None:
        """Multiply what an epoch multiplies."""
        m, batch = len(self.data.x), self.work.batch
        for _ in repeat(None, n):
            for start in range(0, m, batch):
                for A, B, out in self.products[min(batch, m - start)]:
                    A.dot(B, out)


class ScikitLearn(Contender):
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
        """Train by `fit`."""
        self.fit(self.data.x, self.y, n)
        self.loss = self.est.loss_

    def predictions(self, n: int) -> None:
        """Call `predict_proba`."""
        for _ in repeat(None, n):
            self.a = self.est.predict_proba(self.data.x)

    def weights(self) -> list[Array]:
        """Return W², b², W³, ...; its matrices are the transposes."""
        pairs = zip(self.est.coefs_, self.est.intercepts_, strict=True)
        return [array for W_l, b_l in pairs for array in (W_l.T, b_l)]

    def outputs(self) -> Array:
        """Return the probabilities."""
        return self.a


def contenders(library: str, work: Workload, data: Problem) -> dict[str, Contender]:
    """Return a library's contenders by name; of several the best counts."""
    if library == "bpnet":
        return {"bpnet": Bpnet(work, data), "floor": Floor(work, data)}
    if library == "scikit-learn":
        return {"scikit-learn": ScikitLearn(work, data)}
    from frameworks import Jax, Torch

    if library == "JAX":
        ways = ("JAX", "NumPy") if work.kind == "epoch" else ("",)
        return {f"JAX, {by} gathers" if by else "JAX": Jax(work, data, by) for by in ways}
    settings: dict[str, dict[str, bool]] = {"default": {}}
    if work.kind != "predict":
        settings |= {"foreach": {"foreach": True}, "fused": {"fused": True}}
    return {f"PyTorch {way}": Torch(work, data, **given) for way, given in settings.items()}
