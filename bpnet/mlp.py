"""The network, forward and backward: the derivation, line by line, in matrix products.

    l = 1..L    layer; layer 1 is the input, layer L the output
    m           samples in a batch; every sample is a row
    x = a¹      input, (m, n_1)                  y  target, (m, n_L)
    W^l, b^l    weights (n_l, n_{l-1}) and biases (n_l,) of layer l = 2..L
    z^l, a^l    weighted input and output of layer l, (m, n_l)
    f, f'       the layer's activation and its derivative
    E           loss: the sum over outputs, the mean over samples
    δ^l         ∂E/∂z^l, the error of layer l, (m, n_l)

Superscripts in the formulas are subscripts in the code: ``W[2]`` is W², ``delta[3]`` is δ³. Samples
are rows, so a product with W^l becomes one with its transpose. What a call writes stands last:

    dot(A, B, C)                C becomes the matrix product A B
    add(A, B, C)                C becomes A + B, a row of biases added to every row
    W_T[l], delta_T[l]          the transposes of W^l and δ^l
    f[l](z, a)                  a becomes f(z)
    times_df[l](z, a, delta)    delta becomes delta ⊙ f'(z)
    output_delta(z, a, y, delta)    delta becomes ∂E/∂a ⊙ f'(z), the mean's 1/m included
    dW[l], db[l]                ∂E/∂W^l and ∂E/∂b^l
    ones                        a row of m ones: the product with it sums over the samples

`forward_pass` and `backward_pass` are the equations; the class around them checks what comes in.
With dropout, a[l] of a hidden layer is the part that is kept, and f and f' know the whole.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy import add
from numpy.typing import ArrayLike, DTypeLike

from bpnet import arrays, checks
from bpnet.arrays import Array
from bpnet.network import construction
from bpnet.network.cache import Cache, Signature
from bpnet.network.gradient import Gradient
from bpnet.network.parameters import ByLayer, Parameters, Views
from bpnet.network.saved import members
from bpnet.network.stack import Stackable
from bpnet.rules.losses import check_targets, reduce

if TYPE_CHECKING:
    import os

    from bpnet.rules.activations import Activation
    from bpnet.rules.initializers import Initializer, Seed
    from bpnet.rules.losses import Loss


def forward_pass(net: MLP, cache: Cache) -> None:
    """Fill the cache, for l = 2..L.

    z^l = W^l a^{l-1} + b^l
    a^l = f(z^l)
    """
    W_T, b, dot = net.parameters.W_T, net.parameters.b_row, net.parameters.dot
    z, a, f = cache.z.list, cache.fed, cache.f
    for l in cache.layers:
        dot(a[l - 1], W_T[l], z[l])
        add(z[l], b[l], z[l])
        f[l](z[l], a[l])


def backward_pass(net: MLP, cache: Cache, y: Array, grad: Gradient) -> None:
    """Fill the gradient: the errors from the output, for l = L-1..2; then, for l = 2..L, the rest.

    δ^L = ∂E/∂a^L ⊙ f'(z^L)
    δ^l = (W^{l+1})ᵀ δ^{l+1} ⊙ f'(z^l)
    ∂E/∂W^l = δ^l (a^{l-1})ᵀ
    ∂E/∂b^l = δ^l, summed over the samples
    """
    L, W, dot = cache.L, net.parameters.W.list, net.parameters.dot
    z, a, times_df, output_delta = cache.z.list, cache.fed, cache.times_df, cache.output_delta
    delta, delta_T, ones = grad.delta.list, grad.delta_T, grad.ones
    dW, db = grad.W.list, grad.b_row
    output_delta(z[L], a[L], y, delta[L])
    for l in cache.hidden_layers:
        dot(delta[l + 1], W[l + 1], delta[l])
        times_df[l](z[l], a[l], delta[l])
    for l in cache.layers:
        dot(delta_T[l], a[l - 1], dW[l])
        if ones is not None:  # of one sample, ∂E/∂b^l may be δ^l itself
            dot(ones, delta[l], db[l])


@dataclass(eq=False, repr=False)
class MLP(Stackable):
    """A multi-layer perceptron: weight matrices, bias vectors, activations and a loss.

    Made by `MLP.init` with random start weights, or by `MLP.from_weights` with given ones;
    ``activation[l]`` is f of layer l = 2..L.

    Examples
    --------
    >>> from bpnet import MLP
    >>> net = MLP.from_weights(
    ...     W=[[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]],
    ...     b=[[0.35, 0.35], [0.60, 0.60]],
    ... )
    >>> cache = net.forward([0.05, 0.10])
    >>> grad = net.backward(cache, [0.01, 0.99])
    >>> print(f"{net.loss(cache, [0.01, 0.99]):.6f}  {grad.W[3][1, 0]:.6f}")
    0.298371  -0.022603
    """

    parameters: Parameters
    activation: ByLayer[Activation]
    loss_function: Loss

    @classmethod
    def init(
        cls,
        sizes: Sequence[int],
        *,
        activation: str | Activation | Sequence[str | Activation] = "sigmoid",
        output: str | Activation | None = None,
        loss: str | Loss = "half_squared_error",
        initializer: str | Initializer | Sequence[str | Initializer] | None = None,
        rng: Seed | None = None,
        dtype: DTypeLike = np.float64,
        networks: int | None = None,
    ) -> Self:
        """Return a net with random start weights.

        Parameters
        ----------
        sizes : sequence of int
            Neurons in each layer, n_1..n_L; (2, 2, 2) is the article's net.
        activation : str, Activation, or a sequence of them
            One for all layers, or one for each of the layers 2..L.
        output : str or Activation, optional
            Of layer L: by default `activation`, or what belongs to a loss that cannot do with it.
        loss : str or Loss
        initializer : str, Initializer, or a sequence of them, optional
            One for all layers or one for each; by default Xavier, or He for ReLU and the like.
        rng : int or numpy.random.Generator
            The seed, or the generator to draw from; it must be given.
        dtype : dtype
            float64, float32, or complex128 and complex64 for the complex step.
        networks : int, optional
            Make a stack: so many networks, each with its own start weights, that train in one
            pass. ``W[l]`` is then (networks, n_l, n_{l-1}), and ``net[k]`` is network k.
        """
        sizes = checks.as_sizes(sizes)
        rules = construction.checked_rules(sizes, activation, output, loss)
        theta = construction.start_theta(sizes, rules[0], initializer, rng, dtype, networks)
        return cls(Parameters(sizes, theta), *rules)

    @classmethod
    def from_weights(
        cls,
        W: Sequence[ArrayLike] | Mapping[int, ArrayLike],
        b: Sequence[ArrayLike] | Mapping[int, ArrayLike],
        *,
        activation: str | Activation | Sequence[str | Activation] = "sigmoid",
        output: str | Activation | None = None,
        loss: str | Loss = "half_squared_error",
        dtype: DTypeLike | None = None,
    ) -> Self:
        """Return a net with copies of the given weights.

        Parameters
        ----------
        W, b : sequence or mapping of arrays
            W², ..., W^L and b², ..., b^L in this order, or keyed by layer: W^l of shape
            (n_l, n_{l-1}), b^l of (n_l,); for a stack (networks, ...).
        activation, output, loss
            As in `init`.
        dtype : dtype, optional
            The default is float32 where every array is, complex where one is, else float64.
        """
        sizes, theta = construction.join_weights(W, b, dtype)
        rules = construction.checked_rules(sizes, activation, output, loss)
        return cls(Parameters(sizes, theta), *rules)

    @property
    def theta(self) -> Array:
        """θ: every weight and bias in one array, (P,). Assigning to it writes into it."""
        return self.parameters.theta

    @theta.setter
    def theta(self, values: ArrayLike) -> None:
        theta = self.parameters.theta
        if values is theta:  # theta -= ... has written already
            return
        array = checks.as_numbers(values, "theta", allow_complex=theta.dtype.kind == "c")
        if array.shape != theta.shape:
            raise ValueError(f"theta has shape {theta.shape}, but was given shape {array.shape}")
        theta[...] = arrays.alike(checks.converted(array, theta.dtype, "theta"), theta)

    @property
    def W(self) -> Views:
        """The weight matrices by layer: ``W[l][i, j]`` weighs neuron j of l-1 on neuron i of l."""
        return self.parameters.W

    @property
    def b(self) -> Views:
        """The bias vectors by layer."""
        return self.parameters.b

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons in each layer, n_1..n_L."""
        return self.parameters.sizes

    @property
    def L(self) -> int:
        """Number of layers, the input layer counted."""
        return len(self.parameters.sizes)

    @property
    def signature(self) -> Signature:
        """What must be equal for a cache or a gradient of another net to serve this one."""
        theta, activations = self.theta, tuple(self.activation.values())
        return Signature(self.sizes, theta.shape, theta.dtype, activations, self.loss_function)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of θ, and so of everything computed from it."""
        return self.parameters.theta.dtype

    def forward(
        self,
        x: ArrayLike,
        *,
        cache: Cache | None = None,
        mask: Mapping[int, ArrayLike] | None = None,
    ) -> Cache:
        """Return z^l and a^l of every layer.

        Parameters
        ----------
        x : array_like, shape (m, n_1) or (n_1,)
            Copied into the cache, so that it may change before `backward`.
        cache : Cache, optional
            Of an earlier call, to overwrite and return if it fits this batch: without allocation.
        mask : mapping of int to array, optional
            Dropout with held masks: ``mask[l]``, shape (m, n_l), l = 1..L-1, multiplies a^l
            before the next layer reads it.

        Raises
        ------
        TypeError, ValueError
            If x is not real, finite and of this width, or θ is not finite.

        Warns
        -----
        RuntimeWarning
            If numbers grow too large for the dtype and end in NaN.
        """
        rows = self.parameters.rows(x, "x")
        self.parameters.check_finite()
        if cache is None or not cache.fits(self.signature, rows):
            cache = Cache.empty(self.signature, self.theta, rows)
        cache.hold(mask)
        cache.copy_in(rows)
        cache.made_of = arrays.digest(self.theta)
        with checks.quiet():
            forward_pass(self, cache)
        checks.report_nan(cache.a.list[-1], "the output")
        return cache

    def backward(
        self,
        cache: Cache,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        grad: Gradient | None = None,
        stale: bool = False,
    ) -> Gradient:
        """Return δ^l, ∂E/∂W^l and ∂E/∂b^l of every layer.

        Parameters
        ----------
        cache : Cache
            What `forward` returned.
        y : array_like, shape (m, n_L) or (n_L,)
            Targets.
        sample_weight : array_like, shape (m,), optional
            E is then Σ w_i E_i / Σ w_i; the default is the mean, every w_i = 1.
        grad : Gradient, optional
            Of an earlier call, to overwrite and return if it fits.
        stale : bool
            Allow a cache of other weights than the net has now.

        Raises
        ------
        TypeError, ValueError
            If y does not fit the net, the batch or the loss, or the cache is of another net or
            of weights that have changed since.
        """
        self._check_cache(cache)
        made_of = arrays.digest(self.theta)
        if not stale and cache.made_of not in (None, made_of):
            raise ValueError(
                "this cache is of a forward pass with other weights: of another net, or of before "
                "theta changed. Its gradient would be of neither: call forward again, or allow it "
                "by stale=True"
            )
        rows = self._targets(y, cache.a.list[1])
        if grad is None or not grad.fits(cache):
            grad = Gradient.empty(self.theta, cache)
        cache.weigh(checks.as_shares(sample_weight, cache.m, self.dtype))
        with checks.quiet():
            backward_pass(self, cache, rows, grad)
        checks.report_nan(grad.theta, "the gradient")

        def way_to_x() -> Array:
            if arrays.digest(self.theta) != made_of:
                raise ValueError("theta has changed since backward: call it again for ∂E/∂x")
            kept = 1 if cache.mask[1] is None else cache.mask[1]
            dx: Array = np.matmul(grad.delta.list[2], self.W[2]) * kept
            return dx

        grad.way_to_x = way_to_x
        return grad

    def loss(
        self,
        cache: Cache | None = None,
        y: ArrayLike | None = None,
        *,
        a: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Return E: the loss summed over outputs, averaged over samples.

        Parameters
        ----------
        cache : Cache
            What `forward` returned. E is taken from z^L where that is exact and a^L, rounded to
            0 or 1, is not.
        y : array_like, shape (m, n_L) or (n_L,)
        a : array_like, shape (m, n_L) or (n_L,)
            In place of the cache, an output alone.
        sample_weight : array_like, shape (m,), optional
            As in `backward`, whose errors it raises too.
        """
        if y is None or (cache is None) == (a is None) or not isinstance(cache, Cache | None):
            ways = "net.loss(net.forward(x), y), or net.loss(a=out, y=y)"
            raise TypeError(f"the loss is of an output: {ways}")
        with np.errstate(over="ignore", under="ignore"):
            if cache is not None:
                self._check_cache(cache)
                z, out = cache.z.list[-1], cache.a.list[-1]
                rows = self._targets(y, out)
                share = self.loss_function.of_pass(z, out, rows, self.activation[self.L])
            else:
                assert a is not None  # it is one of the two
                out = self.parameters.rows(a, "a")
                share = self.loss_function.of_output(out, self._targets(y, out))
            weight = checks.as_shares(sample_weight, out.shape[-2], self.dtype)
            E = reduce(share, None if weight is None else arrays.alike(weight, share))
        return E.item() if E.ndim == 0 else E

    def predict(self, x: ArrayLike) -> Array:
        """Return a^L, the network's output, shape (m, n_L), or (networks, m, n_L) for a stack.

        x is (m, n_1) or (n_1,); errors and warnings are those of `forward`.
        """
        rows = self.parameters.rows(x, "x", finite=False)
        self.parameters.check_finite()
        out = arrays.room(self.theta, rows.shape[-2], self.sizes[-1])
        cache: Cache | None = None
        for start in range(0, rows.shape[-2], CHUNK):  # so that z and a stay small
            part = rows[..., start : start + CHUNK, :]
            if cache is not None and cache.fits(self.signature, part):
                cache.read(part)
            else:
                cache = Cache.empty(self.signature, self.theta, part)
            with checks.quiet():
                forward_pass(self, cache)
            if not checks.all_finite(cache.z.list[2]):  # smaller than x, which shows in it
                given = np.atleast_2d(x)[..., start : start + CHUNK, :]
                checks.converted(given, self.dtype, "x", start)
            out[..., start : start + CHUNK, :] = cache.a.list[-1]
        checks.report_nan(out, "the output")
        return out

    def sensitivity(self, x: ArrayLike) -> Array:
        """Return ∂a^L/∂x: how much each output moves with each input, shape (m, n_L, n_1).

        For each output i the recursion of `backward_pass` from δ^L = ∂a_i/∂z^L, and (W²)ᵀ δ².
        """
        cache, W = self.forward(x), self.parameters.W.list
        z, a, L = cache.z.list, cache.a.list, cache.L
        slopes = np.empty_like(a[L], shape=(*a[L].shape, self.sizes[0]))
        for i in range(self.sizes[-1]):
            delta = np.zeros_like(a[L])
            delta[..., i] = 1
            cache.times_df[L](z[L], a[L], delta)
            for l in cache.hidden_layers:
                delta = np.matmul(delta, W[l + 1])
                cache.times_df[l](z[l], a[l], delta)
            np.matmul(delta, W[2], out=slopes[..., i, :])
        return slopes

    def copy(self) -> Self:
        """Return an independent net with the same weights."""
        return copy.deepcopy(self)

    def astype(self, dtype: DTypeLike) -> Self:
        """Return an independent net with its weights in another dtype.

        A complex net lets θ and x carry the imaginary step of the complex-step derivative.
        """
        return self.with_theta(self.theta.astype(construction.as_dtype(dtype)))

    def with_theta(self, theta: Array) -> Self:
        """Return a net like this one with another θ, which is kept, not copied."""
        return type(self)(Parameters(self.sizes, theta), self.activation, self.loss_function)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the net to one .npz file; an older file survives a failed write.

        ValueError tells of an activation or a loss of your own, which a file cannot name.
        """
        from bpnet.archive import write_arrays  # and with it zipfile: only where it is needed

        write_arrays(path, members(self.parameters, self.activation, self.loss_function))

    def __repr__(self) -> str:
        names = ", ".join(f.name for f in self.activation.values())
        sizes = "-".join(map(str, self.sizes))
        many = f"{len(self)} networks " if self.theta.ndim > 1 else ""
        return f"MLP({many}{sizes}, {names}; {self.loss_function.name}, {self.dtype})"

    def _targets(self, y: ArrayLike, like: Array) -> Array:
        """Return y as rows that fit the batch and the loss."""
        rows = self.parameters.rows(y, "y")
        checks.same_length(like, rows)
        return check_targets(self.loss_function, rows)

    def _check_cache(self, cache: Cache) -> None:
        if not isinstance(cache, Cache):
            raise TypeError(f"cache must be what forward returned, not {cache!r}")
        if not cache.fits(self.signature, cache.a.list[1]):
            raise ValueError("this cache is of a forward pass of another net")


CHUNK = 1024  # rows at a time in `predict`
