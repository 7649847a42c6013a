"""What the two estimators are set by: what each parameter may be, and what it means, once."""

from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from bpnet.estimators.scikit import Interval, Options, StrOptions
from bpnet.mlp import MLP
from bpnet.rules.activations import Activation
from bpnet.rules.losses import Loss
from bpnet.rules.optimizers import Optimizer
from bpnet.rules.schedules import Schedule
from bpnet.training.lbfgs import LBFGS

AT_LEAST_ONE: Any = Interval(Integral, 1, None, closed="left")
AT_LEAST_ZERO: Any = Interval(Real, 0, None, closed="left")
POSITIVE: Any = Interval(Real, 0, None, closed="neither")
BELOW_ONE: Any = Interval(Real, 0, 1, closed="left")

LIMITS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", AT_LEAST_ONE],
    "activation": [str, Activation, list, tuple],
    "out_activation": [str, Activation, None],
    "loss": [str, Loss],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"}), Optimizer, LBFGS],
    "batch_size": [StrOptions({"auto"}), AT_LEAST_ONE],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "scoring": [str, callable, None],
    "n_iter_no_change": [AT_LEAST_ONE, Options(Real, {np.inf})],
    "dropout": [BELOW_ONE, dict],
    "start_weights": [MLP, list, tuple, None],
    "callbacks": [list, tuple],
    **{name: [AT_LEAST_ONE] for name in ("max_iter", "max_fun", "n_restarts", "n_ensemble")},
    **{name: [AT_LEAST_ZERO] for name in ("alpha", "power_t", "tol")},
    **{name: [POSITIVE] for name in ("learning_rate_init", "epsilon")},
    **{name: [BELOW_ONE] for name in ("momentum", "validation_fraction", "beta_1", "beta_2")},
    **{name: ["boolean"] for name in ("shuffle", "warm_start", "nesterovs_momentum")},
    **{name: ["boolean"] for name in ("early_stopping", "compiled")},
}

PARAMETERS = """\
hidden_layer_sizes : int or sequence of int, default=(100,)
        Neurons of each hidden layer; () is a net without one.
    activation : str, Activation, or a list with one for each hidden layer, default='relu'
        'identity', 'logistic', 'tanh', 'relu', or any of `bpnet.ACTIVATIONS`.
    solver : {'adam', 'sgd', 'lbfgs'}, Optimizer or LBFGS, default='adam'
        An object such as ``bpnet.RMSprop(0.01)`` brings its own learning rate.
    alpha : float, default=0.0001
        As in scikit-learn: ½ α Σ w² over the weights, not the biases, is added to the loss summed
        over a batch, so that it is divided by the number of the batch's samples.
    batch_size : int or 'auto', default='auto'
        'auto' is ``min(200, n_samples)``; L-BFGS takes all samples at once.
    learning_rate : {'constant', 'invscaling', 'adaptive'} or Schedule, default='constant'
        As in scikit-learn, the names are for 'sgd'; a schedule is for 'sgd' and 'adam'.
    learning_rate_init, power_t : float, default=0.001 and 0.5
        For 'sgd' and 'adam', if `learning_rate` is no schedule; 'invscaling' takes
        learning_rate_init / (t + 1)^power_t after t samples.
    max_iter, max_fun : int, default=200 and 15000
        The most epochs, and of L-BFGS, iterations.
    shuffle, warm_start, verbose : bool, default=True, False and False
        Take the samples in a new order each epoch; go on from the net that there is; print losses.
    random_state : int, RandomState or None, default=None
        Draws start weights, the rows to validate on, orders and dropout. Start weights are those
        of scikit-learn's MLP with the same state.
    tol, n_iter_no_change : float, int or inf, default=0.0001 and 10
        Epochs that do not improve by `tol` are so many waited for; L-BFGS ends at such a gradient.
    momentum, nesterovs_momentum : float and bool, default=0.9 and True
        For 'sgd'.
    early_stopping : bool, default=False
        Whether to set some samples aside, to end when the score on them no longer improves, and
        to take the weights that had the best one. L-BFGS and `partial_fit` can do it too.
    validation_fraction : float, default=0.1
        How many of the samples; classes are as frequent there, and combinations of labels where
        none is too rare. ``fit(..., X_val=, y_val=)`` names them instead.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        For 'adam'; ε stands beside √v, as in scikit-learn.
    out_activation : str, Activation or None, default=None
        Of the output layer; None is the one that belongs to the targets and the loss.
    scoring : str, callable or None, default=None
        What early stopping watches: None is {score}, 'loss' minus the validation loss, anything
        else as in `sklearn.model_selection.cross_val_score`.
    dropout : float or dict, default=0.0
        Probability that an output of a hidden layer is dropped, or by layer, 1 being the input.
    start_weights : MLP, or (coefs, intercepts), or None, default=None
        What to start from instead of random weights; coefs are (n_in, n_out) each, as `coefs_`.
    callbacks : list or tuple, default=()
        Of bpnet, as `bpnet.fit` takes them; scikit-learn's are set by `set_callbacks`.
    n_restarts : int, default=1
        Train from so many starts, all in one pass, and keep the best: by the validation score
        under early stopping, else by the loss.
    n_ensemble : int, default=1
        Keep so many networks, the best of ``n_restarts * n_ensemble``, and average their outputs.
    compiled : bool, default=False
        Handed to `bpnet.fit`: compiled kernels."""

ATTRIBUTES = """\
net_ : MLP
        The trained net, or the stack of an ensemble; the attributes below are views of it.
    coefs_, intercepts_ : list of array
        ``coefs_[i]``, (n_in, n_out), and ``intercepts_[i]``, (n_out,), lead to layer i + 2; of an
        ensemble (networks, ...).
    n_layers_, n_outputs_, n_features_in_ : int
    feature_names_in_ : array of str
        If X has them.
    out_activation_ : str
        By scikit-learn's name, where it has one.
    n_iter_, t_ : int
        Epochs of the last call, samples seen in all.
    loss_, best_loss_ : float
        With penalty; ``best_loss_`` is None under early stopping.
    loss_curve_ : list of float
        One an epoch, each the mean over its batches, taken before the step. Of an ensemble, here
        and below, the mean of the networks'.
    validation_scores_, validation_loss_curve_ : list of float, or None without validation
    best_validation_score_ : float or None
    stopped_ : str or None
        Why training ended before `max_iter`; `partial_fit` sets it when it would end."""

C = TypeVar("C", bound=type)


def documented(cls: C) -> C:
    """Fill in what the documentation of the two classes has in common."""
    text = (cls.__doc__ or "").replace("{parameters}", PARAMETERS)
    text = text.replace("{attributes}", ATTRIBUTES)
    cls.__doc__ = text.replace("{score}", "accuracy" if "classifier" in text else "R²")
    return cls
