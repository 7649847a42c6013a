"""What the estimators take and refuse, and scikit-learn's tools around them."""

import pickle
import re
from shutil import which

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification as make_multilabel
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bpnet import MLP
from bpnet import estimators as ours
from tests.helpers.complaint import complains
from tests.helpers.sklearn_data import DATA, KINDS, Classifier, Regressor, same_theta, theta

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT, BINARY, BIT, IRIS, KIND, DIABETES, SUGAR = DATA


def test_two_lines_with_labels_of_text():
    names = np.array(["setosa", "versicolor", "virginica"])[KIND]
    model = make_pipeline(StandardScaler(), Classifier(max_iter=500, learning_rate_init=0.01))
    assert cross_val_score(model, IRIS, names, cv=5).mean() > 0.93
    assert set(model.fit(IRIS, names).predict(IRIS)) == set(names)
    assert model[-1].classes_.tolist() == sorted(set(names))


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
@pytest.mark.parametrize(
    "given", [{"shuffle": False}, {"dropout": 0.1, "early_stopping": True}, {"batch_size": 2000}]
)
@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_sparse_input_is_dense_input_batch_by_batch(kind, given, monkeypatch):
    w = 1.0 + (DIGIT > 4)
    a = Classifier(max_iter=3, **given).fit(DIGITS, DIGIT, sample_weight=w)
    made = []
    as_array = sparse.csr_array.toarray
    for csr in (sparse.csr_array, sparse.csr_matrix):
        spy = lambda x, *args, **named: made.append(x.shape) or as_array(x)  # noqa: E731
        monkeypatch.setattr(csr, "toarray", spy)
    b = Classifier(max_iter=3, **given).fit(kind(DIGITS), DIGIT, sample_weight=w)
    same_theta(a, b, exactly=False)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_)
    for ask in ("predict_proba", "transform_hidden", "sensitivity"):
        dense, of_sparse = getattr(a, ask)(DIGITS), getattr(b, ask)(kind(DIGITS))
        np.testing.assert_allclose(dense, of_sparse, rtol=1e-6, atol=1e-9)
    rows = max(m for m, width in made if width == 64)
    assert rows == (1797 if "batch_size" in given else 1024)


def test_multilabel_and_multioutput():
    X, Y = make_multilabel(n_samples=50, random_state=0)
    net = Classifier(50, "logistic", solver="lbfgs", alpha=1e-5, max_iter=150).fit(X, Y)
    assert net.score(X, Y) > 0.97
    p = net.predict_proba(X)
    np.testing.assert_array_equal(p > 0.5, Y)
    assert ((p.sum(axis=1) - 1) ** 2).sum() > 1e-10
    np.testing.assert_allclose(net.predict_log_proba(X), np.log(p))
    again = Classifier(50, "logistic", solver="sgd", learning_rate_init=0.2)
    for _ in range(100):
        again.partial_fit(X, sparse.csr_array(Y), classes=np.arange(5))
    assert again.score(X, Y) > 0.9
    y = np.column_stack([SUGAR, DIABETES[:, 0] * 2])
    two = Regressor(hidden_layer_sizes=50, solver="lbfgs", max_iter=300).fit(DIABETES, y)
    assert two.predict(DIABETES).shape == y.shape
    assert two.score(DIABETES, y) > 0.9


def test_binary_probabilities_and_one_class_only():
    net = Classifier(5, "logistic").fit(BINARY, BIT)
    p = net.predict_proba(BINARY)
    assert p.shape == (len(BIT), 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert roc_auc_score(BIT, p[:, 1]) == 1.0
    with complains(ValueError, "y holds one class only, 'a': a classifier needs two at least"):
        Classifier().fit(IRIS, ["a"] * 150)


@KINDS
def test_float32_is_kept(kind):
    X = DIGITS.astype(np.float32)
    single, double = (kind(hidden_layer_sizes=(5, 3), max_iter=5).fit(x, DIGIT) for x in (X, DIGITS))
    assert theta(single).dtype == np.float32
    hidden = single.transform_hidden(X, 2), double.transform_hidden(DIGITS, 2)
    assert hidden[0].dtype == np.float32
    np.testing.assert_allclose(*hidden, rtol=1e-2, atol=1e-3)
    if kind is Regressor:
        assert single.predict(X).dtype == np.float32


def test_data_frames():
    pd = pytest.importorskip("pandas", reason="data frames need pandas")
    X = pd.DataFrame(IRIS, columns=list("abcd"))
    X["flag"] = pd.array([True, False] * 75, dtype="boolean")
    X["count"] = pd.array(range(150), dtype="Int64")
    names = pd.Series(np.array(["x", "y", "z"])[KIND], dtype="string")
    net = Classifier(max_iter=5, early_stopping=True, scoring="f1_macro").fit(X, names)
    assert net.feature_names_in_.tolist() == ["a", "b", "c", "d", "flag", "count"]
    assert set(net.predict(X)) <= {"x", "y", "z"}
    with complains(ValueError, "The feature names should match…"):
        net.predict(X[X.columns[::-1]])
    gap = X.copy()
    gap.loc[3, "count"] = pd.NA
    with complains(ValueError, "column 'count': Input X contains NaN.…"):
        net.predict(gap)
    with complains(ValueError, "column 'species': could not convert string to float: 'x'"):
        Classifier().fit(X.assign(species=names.astype(object)), KIND)
    frame = net.set_output(transform="pandas").transform_hidden(X[1:4])
    assert frame.columns[1] == net.get_feature_names_out()[1] == "mlpclassifier1"
    assert frame.index.tolist() == [1, 2, 3]


@KINDS
def test_what_is_refused(kind):
    masked = np.ma.masked_greater(IRIS, 7)
    two, hidden = np.ma.masked_equal(KIND, 2), {"hidden_layer_sizes": (3, 0)}
    for params, X, y, options, error, message in [
        ({}, masked, KIND, {}, TypeError, "X is a masked array, whose mask would be ignored: …"),
        ({}, IRIS, two, {}, TypeError, "y is a masked array…"),
        ({}, IRIS, KIND, {"sample_weight": two}, TypeError, "sample_weight is a masked array…"),
        ({}, IRIS, KIND, {"sample_weight": -np.ones(150)}, ValueError,
         "sample_weight must be >= 0, but holds -1"),
        ({}, IRIS, KIND, {"X_val": IRIS}, ValueError, "X_val and y_val go together: give both …"),
        (hidden, IRIS, KIND, {}, ValueError, "hidden_layer_sizes[1] must be an integer >= 1, not…"),
        ({"learning_rate_init": 0}, IRIS, KIND, {}, ValueError,
         "The 'learning_rate_init' parameter of MLP…Got 0 instead."),
    ]:  # fmt: skip
        with complains(error, message):
            kind(**params).fit(X, y, **options)
    net = kind(max_iter=2).fit(IRIS, KIND)
    with complains(ValueError, "layer 3 is no hidden layer of this net: 2..2 are"):
        net.transform_hidden(IRIS, 3)
    with complains(TypeError, "X is a masked array…"):
        net.predict(masked)
    with pytest.warns(UserWarning, match=re.escape("Got `batch_size` 999 larger than sample size")):
        kind(max_iter=1, batch_size=999).fit(IRIS, KIND)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
@KINDS
@pytest.mark.parametrize("n_ensemble", [1, 3])
def test_sensitivity_is_the_derivative(kind, activation, n_ensemble):
    net = kind(hidden_layer_sizes=(6, 5), activation=activation, max_iter=5, n_ensemble=n_ensemble)
    net.fit(IRIS, KIND)
    ask = net.predict_proba if kind is Classifier else lambda X: net.predict(X)[:, None]
    found = net.sensitivity(IRIS)
    assert found.shape == (150, net.n_outputs_, 4)
    for j, step in enumerate(1e-5 * np.eye(4)):
        slope = (ask(IRIS + step) - ask(IRIS - step)) / 2e-5
        np.testing.assert_allclose(found[..., j], slope, rtol=1e-5, atol=1e-8)


def test_hidden_layers():
    net = Classifier((6, 5), max_iter=5).fit(IRIS, KIND)
    cache = net.net_.forward(IRIS)
    np.testing.assert_array_equal(net.transform_hidden(IRIS), cache.a[3])
    np.testing.assert_array_equal(net.transform_hidden(IRIS, 2), cache.a[2])
    linear = Classifier((), max_iter=5).fit(IRIS, KIND)
    with complains(ValueError, "layer 1 is no hidden layer of this net: there is none"):
        linear.transform_hidden(IRIS)


def test_searches_copies_and_files(tmp_path):
    joblib = pytest.importorskip("joblib")
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    grid = {"alpha": [1e-4, 1.0], "activation": ["tanh", ["relu"]]}
    search = GridSearchCV(Classifier(max_iter=30, learning_rate_init=0.03), grid, n_jobs=2, cv=3)
    assert search.fit(IRIS, KIND).best_score_ > 0.9
    how = {"n_candidates": 3, "resource": "max_iter", "max_resources": 9, "random_state": 0}
    halving = HalvingRandomSearchCV(Regressor(), {"alpha": [0, 1, 10]}, **how)
    assert "max_iter" in halving.fit(DIABETES, SUGAR).best_params_
    start = MLP.init((4, 5, 3), rng=0)
    net = Classifier(5, start_weights=start, max_iter=2).fit(IRIS, KIND)
    twin = clone(net)
    assert not hasattr(twin, "net_")
    same_theta(twin.fit(IRIS, KIND), net)
    joblib.dump(net, tmp_path / "net.joblib")
    again = joblib.load(tmp_path / "net.joblib").partial_fit(IRIS, KIND)
    same_theta(again, net.partial_fit(IRIS, KIND))


def test_metadata_routing():
    w = np.where(KIND == 2, 0.0, 1.0)  # the scores forget what is of the third kind
    with sklearn.config_context(enable_metadata_routing=True):
        net = Classifier(max_iter=100, learning_rate_init=0.01)
        net.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_validate(net, IRIS, KIND, params={"sample_weight": w})["test_score"]
    assert scores.mean() > 0.95


def test_html_shows_the_layers():
    net = Classifier((8, 7), ["relu", "gelu"], max_iter=2)
    assert "8 relu" not in net._repr_html_()
    text = make_pipeline(StandardScaler(), net).fit(IRIS, KIND)._repr_html_()
    assert "4 – 8 relu – 7 gelu – 3 softmax; cross_entropy; 127 parameters, float64" in text
    told = "MLPClassifier(activation=['relu', 'gelu'], hidden_layer_sizes=(8, 7),"
    assert repr(net) == f"{told}\n{' ' * 14}max_iter=2, random_state=0)"


def test_callbacks_of_scikit_learn():
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has them from 1.9 on")
    monitor = callback.ScoringMonitor(scoring="accuracy")

    class Enough:
        """Ends the fit after the third epoch."""

        def setup(self, estimator, context):
            self.begun, self.ended = [], []

        def teardown(self, estimator, context):
            self.ended.append("all")

        def on_fit_task_begin(self, estimator, context):
            self.begun.append(context.task_name)

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            self.ended.append(context.task_name)
            return len(self.ended) == 3

    enough = Enough()
    names = np.array(["a", "b", "c"])[KIND]
    net = Classifier(max_iter=9).set_callbacks(monitor, enough).fit(IRIS, names)
    assert (net.n_iter_, net.stopped_) == (3, "a callback of scikit-learn")
    assert enough.begun == ["fit", "epoch", "epoch", "epoch"]
    assert enough.ended == ["epoch", "epoch", "epoch", "fit", "all"]
    scores = [row["accuracy"] for row in monitor.get_logs().data]
    assert net.score(IRIS, names) in scores
    pickle.dumps(net.set_callbacks())


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_skl2onnx_takes_it(kind):
    """Its converter for scikit-learn's MLP, which has only to be told of the class."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from skl2onnx.common import shape_calculator as shapes
    from skl2onnx.operator_converters import multilayer_perceptron as converters
    from skl2onnx.shape_calculators import linear_regressor

    net = getattr(ours, kind)(max_iter=20, random_state=0).fit(IRIS, KIND)
    if kind == "MLPClassifier":
        shape, convert = shapes.calculate_linear_classifier_output_shapes, converters
        convert, options = converters.convert_sklearn_mlp_classifier, {"zipmap": [True, False]}
        options |= {"nocl": [True, False], "output_class_labels": [False, True]}
        asked, answers = {"options": {id(net): {"zipmap": False}}}, (net.predict, net.predict_proba)
    else:
        shape = linear_regressor.calculate_linear_regressor_output_shapes
        convert, options, asked = converters.convert_sklearn_mlp_regressor, None, {}
        answers = (lambda X: net.predict(X)[:, None],)
    skl2onnx.update_registered_converter(type(net), f"Bpnet{kind}", shape, convert, options=options)
    X = IRIS.astype(np.float32)
    model = skl2onnx.to_onnx(net, X[:1], **asked)
    session = runtime.InferenceSession(model.SerializeToString())
    out = session.run(None, {session.get_inputs()[0].name: X})
    for found, answer in zip(out, answers, strict=True):
        np.testing.assert_allclose(found, answer(IRIS), atol=1e-5)


def test_emlearn_takes_it(tmp_path, monkeypatch):
    with np.errstate():  # which it sets for all that comes after
        emlearn = pytest.importorskip("emlearn", reason="emlearn is not installed")
    if which("gcc") is None:
        pytest.skip("emlearn compiles what it makes by gcc, which is not there")
    monkeypatch.chdir(tmp_path)  # where it compiles
    net = Classifier(6, max_iter=200, learning_rate_init=0.01).fit(IRIS, KIND)
    model = emlearn.convert(net, kind="MLPClassifier")
    np.testing.assert_allclose(model.predict_proba(IRIS), net.predict_proba(IRIS), atol=1e-4)
