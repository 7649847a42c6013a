"""The worked solution as data: every value is training's, every formula gives its value."""

import inspect
import math
import re

import numpy as np
import pytest

from bpnet import ACTIVATIONS, LOSSES, MLP, SGD, Activation, Loss, explain, fit, huber, mlp
from bpnet.rules.losses import check_pair
from bpnet.worked import source
from tests.helpers.complaint import complains
from tests.helpers.formulas import evaluated
from tests.worked.problems import problem


def fits(output, loss):
    try:
        check_pair(LOSSES[loss], ACTIVATIONS[output])
    except ValueError:
        return False
    return True


PAIRS = [(f, loss) for loss in LOSSES for f in ACTIVATIONS if fits(f, loss)]
HIDDEN = [f for f in ACTIVATIONS if f != "softmax"]


def checked(worked, rel=1e-9):
    """Assert that each formula gives the value that it stands beside, from values shown."""
    scale = max(abs(step.value) for step in worked.values())
    for name, step in worked.items():
        assert step.name == name
        if step.code:
            assert evaluated(step) == pytest.approx(step.value, rel=rel, abs=1e-14 * scale)
            for source in step.came_from:
                assert worked[source].value == step.values[source]


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_every_formula_gives_its_value_for_each_output_and_loss(output, loss):
    for m in (1, 3):
        checked(explain(*problem((3, 4, 3), ["tanh", output], loss, m=m), learning_rate=0.7))


@pytest.mark.parametrize("f", HIDDEN)
def test_every_formula_gives_its_value_for_each_hidden_activation(f):
    for m in (1, 2):
        checked(explain(*problem((2, 3, 5, 2), [f, f, "sigmoid"], m=m, seed=m)))


@pytest.mark.parametrize("limit", [0.05, 5.0])
def test_the_huber_loss_takes_the_branch_that_holds(limit):
    net, x, y = problem((2, 3, 2), ["tanh", "identity"], huber(limit), m=4)
    worked = explain(net, x, y)
    checked(worked)
    branches = {worked[f"E[{s}, {i}]"].code.split()[-2] for s in range(4) for i in range(2)}
    assert branches == ({">"} if limit == 0.05 else {"<="})


def test_values_are_those_of_training():
    net, x, y = problem((3, 4, 2), ["tanh", "sigmoid"], m=3)
    worked, cache = explain(net, x, y, learning_rate=0.3), net.forward(x)
    grad = net.backward(cache, y)
    assert worked["E"].value == net.loss(cache, y)
    for l in (2, 3):
        for s, i in np.ndindex(3, net.sizes[l - 1]):
            assert worked[f"z[{l}][{s}, {i}]"].value == cache.z[l][s, i]
            assert worked[f"a[{l}][{s}, {i}]"].value == cache.a[l][s, i]
            assert worked[f"delta[{l}][{s}, {i}]"].value == grad.delta[l][s, i]
            assert worked[f"db[{l}][{i}]"].value == grad.b[l][i]
        for i, j in np.ndindex(*net.W[l].shape):
            assert worked[f"W[{l}][{i}, {j}]"].value == net.W[l][i, j]
            assert worked[f"dW[{l}][{i}, {j}]"].value == grad.W[l][i, j]
    trained = net.copy()
    fit(trained, x, y, epochs=1, batch_size=None, optimizer=SGD(0.3))
    for l in (2, 3):
        for i, j in np.ndindex(*net.W[l].shape):
            assert worked[f"new.W[{l}][{i}, {j}]"].value == trained.W[l][i, j]
    assert worked["new.E"].value == trained.loss(trained.forward(x), y)
    fit(trained, x, y, epochs=1, batch_size=None, optimizer=SGD(0.3))
    assert worked.after["new.E"].value == trained.loss(trained.forward(x), y)
    assert worked.after.after.done == 2


def test_a_step_out_of_the_finite_numbers_is_refused_before_anything_is_printed():
    net, x, y = problem((2, 2, 2), ["relu", "identity"])
    net.theta *= 1e100
    with complains(ValueError, "the step leads to weights that are not finite: …"):
        explain(net, x, y, learning_rate=1e200)


def test_float32_is_shown_as_it_is():
    net, x, y = problem((2, 3, 2), ["tanh", "sigmoid"], dtype="float32")
    worked = explain(net, x, y)
    assert worked["W[2][0, 0]"].value == float(net.W[2][0, 0])
    checked(worked, rel=2e-5)


def test_it_stays_when_net_and_data_change():
    net, x, y = problem((2, 3, 2), ["tanh", "sigmoid"])
    x, y = np.array(x), np.array(y)
    worked = explain(net, x, y)
    before = str(worked)
    theta = net.theta.copy()
    assert str(explain(net, x, y)) == before
    assert np.array_equal(net.theta, theta)
    net.theta, x[...], y[...] = 0 * theta, 7, 0.5
    assert str(worked) == before


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("W³₂₁", "W[3][1, 0]"), ("W[3][1,0]", "W[3][1, 0]"), ("b²₁", "b[2][0]"),
        ("δ²₁", "delta[2][0]"), ("δ[2][0]", "delta[2][0]"), ("delta[2][0, 0]", "delta[2][0]"),
        ("∂E/∂W³₂₁", "dW[3][1, 0]"), ("dE/dW[3][1, 0]", "dW[3][1, 0]"), ("∂E/∂a²₁", "da[2][0]"),
        ("f'(z²₁)", "df[2][0]"), ("∂E/∂z³₂", "delta[3][1]"),
        ("W³⁺₂₁", "new.W[3][1, 0]"), ("E⁺", "new.E"), ("E₂", "E[1]"),
        ("x₂", "a[1][1]"), ("x[1]", "a[1][1]"), ("y₁", "y[0]"), ("z[3][1]", "z[3][1]"),
    ],
)  # fmt: skip
def test_names_are_read_as_the_code_and_the_formulas_spell_them(spelling, name):
    worked = explain(*problem((2, 2, 2), "sigmoid"))
    assert worked[spelling].name == name
    assert spelling in worked
    assert worked.of(spelling).target == name


def test_in_a_batch_the_sample_comes_first_and_wide_layers_take_a_comma():
    worked = explain(*problem((2, 12, 2), "sigmoid", m=2))
    assert worked["δ³₂₁"].name == "delta[3][1, 0]"
    assert worked["W³₂,₁₁"].name == "W[3][1, 10]"
    assert worked["b²₁₁"].name == "b[2][10]"
    assert str(worked["W[3][1, 10]"]).startswith("W³₂,₁₁ = ")
    assert worked["E₂"].came_from == ("E[1, 0]", "E[1, 1]")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("q[3]", "'q[3]' is no quantity: write W[3][1, 0], delta[2][0], dW[2][0, 1] or E"),
        ("W[4][0, 0]", "there is no W[4][0, 0]: the layers are 2..3"),
        ("z[1][0]", "there is no z[1][0]: the layers are 2..3"),
        ("W[3][2, 0]", "there is no W[3][2, 0]: the index of W[3] is [0..1, 0..1]"),
        ("delta[3]", "there is no delta[3]: the index of delta[3] is [0..1]"),
        ("W[0, 1]", "there is no W[0, 1]: write W[3][1, 0], delta[2][0] or new.W[3][1, 0]"),
        ("new.delta[2][0]", "there is no new.delta[2][0]: write W[3]…"),
        ("new.a[1][0]", "there is no new.a[1][0]: the layers are 2..3"),
        ("E[2]", "there is no E[2]: the index of E is [0..1]"),
        (3, "a quantity is named by a text such as 'W[3][1, 0]', not by 3"),
    ],
)
def test_a_name_of_nothing_is_refused_in_words(name, message):
    worked = explain(*problem((2, 2, 2), "sigmoid"))
    with pytest.raises(KeyError) as caught:
        worked[name]
    assert re.fullmatch(".*".join(map(re.escape, message.split("…"))), caught.value.args[0])
    assert name not in worked


def test_where_delta_is_found_at_once_there_is_no_slope_of_its_own():
    joined = explain(*problem((2, 2, 2), ["tanh", "softmax"], "cross_entropy"))
    with pytest.raises(KeyError, match=r"delta\[3\] is found without it \(a - y at once\)"):
        joined["da[3][0]"]
    mixed = explain(*problem((2, 2, 2), ["tanh", "softmax"]))
    assert mixed["delta[3][0]"].came_from == ("a[3][0]", "da[3][0]", "da[3][1]", "a[3][1]")
    with pytest.raises(KeyError, match=r"\(f' is a matrix\)"):
        mixed["df[3][0]"]


def test_of_a_quantity_is_all_that_it_came_from():
    worked = explain(*problem((2, 2, 2), "sigmoid"))
    part = worked.of("δ²₁")
    assert list(part)[-1] == "delta[2][0]"
    for name, step in part.items():
        assert set(step.came_from) <= set(part), name
    assert "delta[2][1]" not in list(part)
    assert "W[3][0, 0]" in list(part)
    assert {"new.W[2][1, 0]", "db[3][1]", "delta[2][1]"} < set(worked.of("new.E"))
    assert not any(name.startswith("new.") for name in worked.of("dW[2][0, 0]"))
    assert list(worked.of("W[3][1, 0]")) == ["W[3][1, 0]"]


def test_of_a_far_neuron_shows_that_neuron_first():
    worked = explain(*problem((30, 20, 3), "sigmoid", m=2), shown=2)
    text = worked.of("dW[2][17, 25]").text()
    for word in ("∂E/∂W²₁₈,₂₆", "δ²₁,₁₈", "a²₁,₁₈", "W³₁,₁₈", "a¹₁,₂₆"):
        assert f"\n  {word} " in text or f"   {word} =" in text, word


def test_the_order_is_that_of_the_computation():
    names = list(explain(*problem((2, 3, 2), "sigmoid", m=2)))
    assert len(names) == len(set(names))
    assert names.index("z[2][0, 0]") < names.index("E") < names.index("delta[3][1, 0]")
    assert names.index("delta[2][1, 2]") < names.index("dW[2][0, 0]") < names.index("new.b[2][0]")
    assert names[-1] == "new.E"


def test_a_rounded_output_does_not_round_the_loss():
    net = MLP.from_weights([[[50.0]]], [[0.0]], activation="sigmoid", loss="binary_cross_entropy")
    step = explain(net, [1.0], [0.0])["E[0]"]
    assert step.value == pytest.approx(50.0)
    assert evaluated(step) == pytest.approx(50.0)
    assert "a is" not in str(step)
    assert "since a¹" not in explain(net, [1.0], [0.0]).text()
    assert "Taken from z², since a² has rounded to 0 or 1." in explain(net, [1.0], [0.0]).text()


def test_where_the_output_has_rounded_delta_is_exact_and_said_to_be():
    net = MLP.from_weights(
        [[[1.0], [40.0]]], [[0.0, 0.0]], activation="softmax", loss="binary_cross_entropy"
    )
    x, y = [1.0], [0.0, 0.5]
    worked = explain(net, x, y)
    assert worked["delta[2][0]"].value == net.backward(net.forward(x), y).delta[2][0, 0]
    assert worked["delta[2][0]"].note == "matrix; from z"
    assert "Taken from z², since a² has rounded to 0 or 1." in worked.text()
    assert not any("from z" in step.note for step in explain(net, [0.01], y).values())


def test_exp_stays_constant_beyond_its_cap():
    net = MLP.from_weights([[[400.0]]], [[0.0]], activation="exp", loss="poisson")
    step = explain(net, [1.0], [1.0])["a[2][0]"]
    assert math.isclose(evaluated(step), step.value, rel_tol=1e-9)


def test_rules_of_the_users_own_are_named():
    sine = Activation("my_sine", f=np.sin, df=lambda z, a: np.cos(z))
    quartic = Loss("4th", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    worked = explain(*problem((2, 2, 2), sine, quartic))
    assert re.match(r"a²₁ = my_sine\(z²₁\) = my_sine\(\S+\) = ", str(worked["a²₁"]))
    assert "my_sine'(z²₁)" in str(worked["f'(z²₁)"])
    assert "4th'(a³₁, y₁)" in str(worked["da[3][0]"])
    for write in (worked.text, worked.latex, worked.markdown, worked.html):
        assert "sine" in write()


def test_lines_are_those_of_the_source():
    worked = explain(*problem((2, 2, 2), "sigmoid", m=2))
    text = inspect.getsource(mlp).splitlines()
    assert set(source.lines()) == set(source.CALLS)
    starts = {"z[2][0, 0]": "dot(", "a[2][0, 0]": "f[l](", "da[2][0, 0]": "dot(delta["}
    starts |= {"df[2][0, 0]": "times_df[l](", "delta[3][0, 0]": "output_delta("}
    starts |= {"dW[2][0, 0]": "dot(delta_T[l], ", "db[2][0]": "dot(ones, ", "E": "E = reduce("}
    for name, start in starts.items():
        line = worked[name].line
        assert line.code.startswith(start)
        assert text[line.number - 1].strip().startswith(line.code)
    assert [line.code.split("(")[0] for line in worked["z[2][0, 0]"].lines] == ["dot", "add"]
    assert worked["W[2][0, 0]"].line is None


def test_without_sources_there_are_no_lines(monkeypatch):
    def nothing(function):
        raise OSError

    monkeypatch.setattr(inspect, "getsourcelines", nothing)
    source.lines.cache_clear()
    try:
        assert "mlp.py" not in explain(*problem((2, 2, 2), "sigmoid")).text()
    finally:
        source.lines.cache_clear()


def test_each_derivative_shows_its_difference():
    net, x, y = problem((2, 3, 2), ["tanh", "softmax"], "cross_entropy", m=3)
    worked = explain(net, x, y, differences=True)
    for name in ("dW[2][2, 1]", "dW[3][0, 2]", "db[2][1]"):
        assert worked[name].difference != worked[name].value
        assert worked[name].difference == pytest.approx(worked[name].value, rel=1e-8)
    assert worked["delta[2][0, 0]"].difference is None
    assert explain(net, x, y)["dW[2][2, 1]"].difference is None


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        (("net",), {}, TypeError, "net must be an MLP, not 'net'"),
        ((MLP.init((2, 2), rng=0, networks=3),), {}, ValueError,
         "this is a stack of 3 networks: explain one of them, net[k]"),
        ((MLP.init((2, 2), rng=0, dtype="complex128"),), {}, ValueError,
         "explain a net of real weights, not MLP(…)"),
        ((), {"learning_rate": 0}, ValueError, "learning_rate must be > 0, not 0"),
        ((), {"digits": 0}, ValueError, "digits must be an integer >= 1, not 0"),
        ((), {"shown": 1.5}, TypeError, "shown must be an integer, not 1.5"),
        ((), {"language": "fr"}, ValueError, "unknown language 'fr': the known ones are en, zh"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused(arguments, options, kind, message):
    net = arguments[0] if arguments else MLP.init((2, 2), rng=0)
    with complains(kind, message):
        explain(net, [1, 2], [0, 1], **options)
    if not options:
        return
    with complains(ValueError, "x has shape (3,), but …"):
        explain(net, [1, 2, 3], [0, 1])
