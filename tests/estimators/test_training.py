"""How the estimators train: what scikit-learn tests of its MLP, and what it has not."""

import pickle
import re

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.datasets import make_multilabel_classification as make_multilabel
from sklearn.exceptions import ConvergenceWarning

from bpnet import LBFGS, MLP, Adam, CosineDecay, ReduceOnPlateau, RMSprop, TrainingDiverged
from tests.helpers.complaint import complains
from tests.helpers.sklearn_data import DATA, Classifier, Regressor, same_theta, theta

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT, BINARY, BIT, IRIS, KIND, DIABETES, SUGAR = DATA

BOTH = pytest.mark.parametrize(
    ("estimator", "X", "y"), [(Classifier, DIGITS, DIGIT), (Regressor, DIABETES, SUGAR)]
)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "gelu"])
@pytest.mark.parametrize("labels", [BIT[:200], DIGIT[:200] % 3])
def test_lbfgs_learns(activation, labels):
    X = (BINARY if labels is BIT[:200] or labels.max() == 1 else DIGITS)[:200]
    net = Classifier(50, activation, solver="lbfgs", max_iter=150, random_state=1)
    assert net.fit(X, labels).score(X, labels) > 0.95
    with pytest.warns(ConvergenceWarning, match="lbfgs: Maximum iterations \\(10\\)"):
        assert net.set_params(max_fun=10, tol=0.0).fit(X, labels).n_iter_ == 10


@BOTH
@pytest.mark.parametrize(
    "given",
    [
        {"solver": "sgd", "learning_rate_init": 0.05},
        {"solver": RMSprop(1e-3), "alpha": 0, "dropout": 0.2},
        {"solver": "sgd", "learning_rate": CosineDecay(0.1, epochs=6), "batch_size": 50},
        {"solver": Adam(ReduceOnPlateau(0.02, patience=0)), "alpha": 0.5},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    ],
    ids=str,
)
def test_partial_fits_are_a_fit_bit_by_bit(estimator, X, y, given):
    """Rule, schedule, order and dropout go on from call to call."""
    whole = estimator(tol=0, max_iter=6, **given).fit(X, y)
    parts, classes = estimator(**given), {"classes": np.unique(y)}
    for _ in range(6):
        parts.partial_fit(X, y, **(classes if estimator is Classifier else {}))
        parts = pickle.loads(pickle.dumps(parts))
    same_theta(whole, parts)
    assert whole.loss_curve_ == parts.loss_curve_
    assert (whole.t_, parts.t_, whole.n_iter_, parts.n_iter_) == (6 * len(X), 6 * len(X), 6, 1)


def test_partial_fit_and_its_errors():
    net = Classifier(random_state=0)
    with complains(ValueError, "classes must be passed on the first call to partial_fit."):
        net.partial_fit([[1]], ["a"])
    with complains(ValueError, "y holds one class only, 2: a classifier needs two at least"):
        net.partial_fit([[1]], [2], classes=[2])
    net.partial_fit([[1], [2], [3]], ["a", "b", "c"], classes=["a", "b", "c", "d"])
    net.partial_fit([[4]], ["d"])
    assert net.score([[1], [2], [3], [4]], ["a", "b", "c", "d"]) > 0
    with complains(ValueError, "`classes=['a']` is not the same as on last call…"):
        net.partial_fit([[4]], ["a"], classes=["a"])
    with complains(ValueError, "`y` has classes not in `self.classes_`. …"):
        net.partial_fit([[4]], ["e"])
    assert not hasattr(Classifier(solver=LBFGS()), "partial_fit")
    with complains(ValueError, "class_weight='balanced' needs all samples…"):
        Classifier(class_weight="balanced").partial_fit(IRIS, KIND, classes=[0, 1, 2])
    with complains(ValueError, "n_restarts is for fit, which ends…"):
        Regressor(n_restarts=2).partial_fit(IRIS, KIND)


def test_learning_rate_of_a_warm_start():
    X, y = [[3, 2], [1, 6], [5, 6], [-2, -4]], [1, 1, 1, 0]
    given = {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.25, "warm_start": True}
    net = Classifier(4, max_iter=1, **given).fit(X, y).fit(X, y)
    assert net._course.rule.learning_rate == net.learning_rate_init / (8 + 1) ** net.power_t


@BOTH
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_warm_start(estimator, X, y, solver):
    given = {"solver": solver, "n_iter_no_change": np.inf}
    net = estimator(hidden_layer_sizes=5, warm_start=True, max_iter=3, **given)
    for max_iter in (3, 5):
        with pytest.warns(ConvergenceWarning):
            net.set_params(max_iter=max_iter).fit(X, y)
        assert net.n_iter_ == max_iter
    assert len(net.loss_curve_) == 8
    assert net.loss_curve_[3] < net.loss_curve_[0]
    with complains(ValueError, "the net to go on from is …-5-…, but X, y and hidden_layer_sizes…"):
        net.set_params(hidden_layer_sizes=6).fit(X, y)
    if estimator is Classifier:
        message = "warm_start can only be used where `y` has the same classes as in the previous…"
        with complains(ValueError, message):
            net.fit(X, y % 3)


@BOTH
def test_early_stopping(estimator, X, y):
    given = {"tol": 0.01, "max_iter": 500, "solver": "sgd", "learning_rate_init": 0.01}
    net = estimator(early_stopping=True, **given).fit(X, y)
    scores = net.validation_scores_
    assert net.n_iter_ == len(scores) == len(net.validation_loss_curve_) < 500
    assert net.best_loss_ is None
    assert net.best_validation_score_ == max(scores) > max(scores[-11:]) - 0.01
    assert re.match(r"Validation score did not improve more than tol=0.01", net.stopped_)
    net.set_params(early_stopping=False).fit(X, y)
    assert net.validation_scores_ is net.best_validation_score_ is None
    assert net.best_loss_ == min(net.loss_curve_)


@BOTH
@pytest.mark.parametrize("scoring", [None, "loss", "neg_mean_squared_error", "callable"])
def test_score_watched_is_that_of_the_weights_kept(estimator, X, y, scoring):
    """On samples of one's own; the net ends with the weights of the best epoch."""
    own = X[-100:], y[-100:]
    given = {"X_val": own[0], "y_val": own[1]}
    as_given = (lambda e, X, y: e.score(X, y)) if scoring == "callable" else scoring
    net = estimator(
        hidden_layer_sizes=20, max_iter=30, early_stopping=True, scoring=as_given, random_state=0,
        learning_rate_init=0.03, n_iter_no_change=5,
    ).fit(X[:-100], y[:-100], **given)  # fmt: skip
    loss = min(net.validation_loss_curve_)
    expected = {"loss": -loss, "neg_mean_squared_error": -np.mean((net.predict(own[0]) - own[1]) ** 2)}.get(
        scoring, net.score(*own)
    )
    assert net.best_validation_score_ == pytest.approx(expected, rel=1e-9)
    assert net.t_ == (len(X) - 100) * net.n_iter_


def test_early_stopping_of_partial_fit():
    given = {"early_stopping": True, "tol": 1e-2, "n_iter_no_change": 3}
    net = Classifier(**given)
    while not getattr(net, "stopped_", None):
        net.partial_fit(DIGITS, DIGIT, classes=np.arange(10))
    assert net.t_ == 0.9 * len(DIGITS) // 1 * len(net.loss_curve_)
    same_theta(net, Classifier(**given).fit(DIGITS, DIGIT))
    net.partial_fit(DIGITS, DIGIT)
    assert net.stopped_ is None


def test_validation_is_stratified_where_it_can_be():
    few = Classifier(early_stopping=True)
    with complains(ValueError, "The least populated class…"):
        few.fit([[1, 2], [2, 3], [3, 4], [4, 5]], [0, 0, 0, 1])
    with complains(ValueError, "The validation set is too small: 1 of 2 samples…"):
        Regressor(early_stopping=True).fit([[1, 2], [2, 3]], [0, 1])
    seen = []
    spy = lambda e, X, y: seen.append(y) or 0.5  # noqa: E731
    few.set_params(scoring=spy, max_iter=1, validation_fraction=0.2)
    few.fit(IRIS, np.array(["a", "b", "c"])[KIND])
    assert np.unique(seen[0], return_counts=True)[1].tolist() == [10, 10, 10]
    X, Y = make_multilabel(random_state=0)  # combinations of labels, some of them unique
    assert few.fit(X, Y).n_iter_ == 1


@pytest.mark.parametrize("n_iter_no_change", [2, 10, np.inf])
def test_n_iter_no_change(n_iter_no_change):
    net = Classifier(
        solver="sgd", tol=1e9, max_iter=40, n_iter_no_change=n_iter_no_change, random_state=0
    ).fit(BINARY, BIT)
    assert net.n_iter_ == min(40, n_iter_no_change + 2)


def test_adaptive_learning_rate_and_verbose(capsys):
    net = Classifier(2, tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive")
    net.set_params(verbose=10).fit([[3, 2], [1, 6]], [1, 0])
    assert net.n_iter_ < 3000
    assert net._course.rule.learning_rate < 1e-6
    assert f"Iteration 2, loss = {net.loss_curve_[1]:.8f}\n" in capsys.readouterr().out


def test_shuffle():
    given = {"hidden_layer_sizes": 1, "max_iter": 1, "batch_size": 1}
    nets = [Regressor(shuffle=s, **given).fit(DIABETES, SUGAR) for s in (True, True, False)]
    same_theta(*nets[:2])
    assert not np.array_equal(theta(nets[0]), theta(nets[2]))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_restarts_and_ensembles(solver):
    given = {"hidden_layer_sizes": 6, "solver": solver, "shuffle": False, "max_iter": 30}
    both, best, first = (
        Regressor(**given, **many).fit(DIABETES, SUGAR) for many in ({"n_ensemble": 3}, {"n_restarts": 3}, {})
    )
    assert first.net_.sizes == best.net_.sizes == both.net_.sizes
    np.testing.assert_allclose(theta(both)[0], theta(first), rtol=1e-6, atol=1e-8)
    assert any(np.allclose(theta(best), one, rtol=1e-6) for one in theta(both))
    assert best.loss_ == min(r.losses[-1] for r in both._course.records) < both.loss_
    mean, std = both.predict(DIABETES, return_std=True)
    each = both.net_.predict(DIABETES)[..., 0]
    np.testing.assert_allclose(mean, each.mean(axis=0))
    np.testing.assert_allclose(std, each.std(axis=0))
    assert both.coefs_[0].shape == (3, 10, 6)
    with complains(ValueError, "return_std needs an ensemble: fit with n_ensemble=5 or so"):
        best.predict(DIABETES, return_std=True)


def test_networks_trained_in_turn_have_the_same_penalty():
    """So large that the stack takes turns; the last batch is short."""
    given = {"hidden_layer_sizes": 1000, "alpha": 5.0, "random_state": 0, "shuffle": False}
    given["max_iter"] = 2
    one = Classifier(**given).fit(DIGITS[:500], DIGIT[:500])
    many = Classifier(n_ensemble=2, **given).fit(DIGITS[:500], DIGIT[:500])
    np.testing.assert_allclose(theta(many)[0], theta(one), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(many._course.records[0].losses, one.loss_curve_)


def test_ensemble_of_a_classifier_with_early_stopping_and_rates_of_its_own():
    net = Classifier(
        n_ensemble=2, n_restarts=2, early_stopping=True, solver="sgd", learning_rate="adaptive",
        learning_rate_init=0.2, tol=0.01, max_iter=400, random_state=0,
    ).fit(DIGITS, DIGIT)  # fmt: skip
    assert len(net.net_) == 2
    assert net.score(DIGITS, DIGIT) > 0.95
    records = net._course.records
    assert net.best_validation_score_ == np.mean([record.best_score for record in records])
    np.testing.assert_allclose(net.predict_proba(DIGITS).sum(axis=1), 1)


def test_start_weights():
    old = Classifier(5, max_iter=3, random_state=0).fit(IRIS, KIND)
    for start in (old.net_, (old.coefs_, old.intercepts_)):
        new = Classifier(5, start_weights=start, max_iter=1, alpha=0).fit(IRIS, KIND)
        assert new.loss_ == pytest.approx(old.net_.loss(a=old.net_.predict(IRIS), y=np.eye(3)[KIND]))
    with complains(
        ValueError, "start_weights are of a net 4-5-3, but X, y and hidden_layer_sizes need 4-7-3"
    ):
        Classifier(7, start_weights=old.net_).fit(IRIS, KIND)
    with complains(ValueError, "start_weights must be an MLP or (coefs, intercepts)…"):
        Classifier(7, start_weights=(1, 2, 3)).fit(IRIS, KIND)
    with complains(ValueError, "start_weights are one start…"):
        Classifier(5, start_weights=old.net_, n_restarts=2).fit(IRIS, KIND)


def test_layers_outputs_and_losses_by_choice():
    net = Classifier(
        (20, 10), ["tanh", "gelu"], out_activation="sigmoid", loss="half_squared_error",
        dropout={1: 0.1, 3: 0.2}, learning_rate_init=0.01, random_state=0,
    ).fit(DIGITS, DIGIT)  # fmt: skip
    assert [f.name for f in net.net_.activation.values()] == ["tanh", "gelu", "sigmoid"]
    assert net.out_activation_ == "logistic"
    assert net.score(DIGITS, DIGIT) > 0.95
    np.testing.assert_allclose(net.predict_proba(DIGITS).sum(axis=1), 1)
    two = Classifier(5, out_activation="softmax", random_state=0, max_iter=500)
    assert two.fit(BINARY, BIT).score(BINARY, BIT) > 0.95
    np.testing.assert_array_equal(two.predict(BINARY), two.predict_proba(BINARY)[:, 1] > 0.5)
    straight = Classifier((), out_activation="identity", loss="huber", max_iter=500)
    assert straight.fit(BINARY, BIT).score(BINARY, BIT) > 0.95
    assert not hasattr(straight, "predict_proba")
    robust = Regressor("absolute_error", random_state=0, max_iter=300).fit(DIABETES, SUGAR)
    assert robust.net_.loss_function.name == "absolute_error"
    assert robust.score(DIABETES, SUGAR) > 0.5
    with complains(ValueError, "activation names 1 layers, but hidden_layer_sizes 2…"):
        Classifier((2, 3), ["relu"]).fit(IRIS, KIND)
    with complains(ValueError, "…use out_activation='softmax'"):
        Classifier(loss="cross_entropy", out_activation="identity").fit(IRIS, KIND)


def test_callbacks_of_bpnet():
    net = Classifier(callbacks=[lambda training: training.stop("enough")]).fit(IRIS, KIND)
    assert (net.stopped_, net.n_iter_) == ("enough", 1)


@pytest.mark.parametrize("given", [{}, {"solver": "sgd", "batch_size": 60}, {"n_ensemble": 3}])
def test_compiled_trains_alike(given):
    pytest.importorskip("numba", reason="compiled kernels need numba")
    nets = [Classifier(compiled=c, max_iter=5, **given).fit(IRIS, KIND) for c in (False, True)]
    plain, compiled = (net.net_.theta for net in nets)
    np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)
    assert nets[1].loss_curve_ == pytest.approx(nets[0].loss_curve_, rel=1e-4)
    with complains(ValueError, "L-BFGS has no compiled form: compiled=False"):
        Classifier(compiled=True, solver="lbfgs").fit(IRIS, KIND)


def test_what_diverges_or_cannot_learn_is_told():
    with pytest.raises(TrainingDiverged), pytest.warns(UserWarning, match="X holds numbers as"):
        Regressor().fit(IRIS * 1e300, KIND)
    with (
        complains(TrainingDiverged, "the squares of the gradients overflow float64…"),
        pytest.warns(UserWarning, match="beside which biases are lost in float64"),
    ):
        Classifier().fit(IRIS * 1e300, KIND)
    with pytest.warns(RuntimeWarning, match="the loss has grown to"):
        Regressor(solver="sgd", learning_rate_init=1e3).fit(IRIS, KIND)
    net = Classifier().fit(IRIS, KIND)
    with pytest.raises(TrainingDiverged), pytest.warns(UserWarning, match="X holds"):
        net.fit(IRIS * 1e300, KIND)
    assert not net.__sklearn_is_fitted__()


def test_weight_is_as_good_as_samples():
    """A weight of 0 is no sample, in shuffled batches too; equal weights are none."""
    w = np.random.default_rng(0).integers(0, 2, len(DIGIT))
    given = {"max_iter": 3}
    weighted = Classifier(**given).fit(DIGITS, DIGIT, sample_weight=w)
    without = Classifier(**given).fit(DIGITS[w > 0], DIGIT[w > 0])
    same_theta(weighted, without, exactly=False)
    balanced = Classifier(class_weight="balanced", **given).fit(DIGITS[:300], DIGIT[:300])
    by_hand = 30 / np.bincount(DIGIT[:300])[DIGIT[:300]]
    same = Classifier(**given).fit(DIGITS[:300], DIGIT[:300], sample_weight=by_hand)
    same_theta(balanced, same, exactly=False)


def test_coefs_are_views_and_a_copy_keeps_them_so():
    net = pickle.loads(pickle.dumps(Classifier(3, max_iter=2).fit(IRIS, KIND)))
    assert all(np.shares_memory(w, theta(net)) for w in net.coefs_ + net.intercepts_)
    before = net.predict_proba(IRIS)
    net.coefs_[0][...] = 0
    assert np.ptp(net.predict_proba(IRIS), axis=0).max() < 1e-15 < np.ptp(before, axis=0).max()
    assert isinstance(net.net_, MLP)
