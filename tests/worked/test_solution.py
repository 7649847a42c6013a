"""The worked solution as data: every value is training's, every formula gives its value."""

import inspect
import os
import re

import numpy as np
import pytest

from bpnet import ACTIVATIONS, LOSSES, MLP, SGD, Activation, Loss, explain, fit, huber, mlp
from bpnet.rules.losses import check_pair
from bpnet.worked import work
from bpnet.worked.notation import Notation
from bpnet.worked.published import example, riddle, riddle_text
from tests.helpers.complaint import complains
from tests.worked.problems import problem


def fits(output, loss):
    try:
        check_pair(LOSSES[loss], ACTIVATIONS[output])
    except ValueError:
        return False
    return True


PAIRS = [(["tanh", f], loss) for loss in LOSSES for f in ACTIVATIONS if fits(f, loss)]
HIDDEN = [([f, "sigmoid"], LOSSES["half_squared_error"]) for f in ACTIVATIONS if f != "softmax"]
DEEP = [(["relu", "elu", "sigmoid"], huber(0.05)), (["gelu", "silu", "identity"], huber(5.0))]


def checked(worked, rel=1e-9):
    """Assert that each formula gives the value that it stands beside, from values shown."""
    scale = max(abs(step.value) for step in worked.values())
    for name, step in worked.items():
        assert step.name == name
        if step.made_by:
            told = step.made_by.evaluated()
            assert told == pytest.approx(step.value, rel=rel, abs=1e-14 * scale), str(step)
            for _, condition in step.made_by.clauses:
                assert step.made_by.evaluated(condition)
            for source in step.came_from:
                assert worked[source].value == step.made_by.values[source]


@pytest.mark.parametrize(("activations", "loss"), PAIRS + HIDDEN + DEEP)
def test_every_formula_gives_its_value_for_each_activation_and_loss(activations, loss):
    sizes = (2, 3, 2) if len(activations) == 2 else (2, 3, 1, 2)
    for m in (1, 3):
        checked(explain(*problem(sizes, activations, loss, m=m, seed=m), learning_rate=0.7))


def test_the_branch_that_holds_is_said():
    for limit, sign in ((0.05, ">"), (5.0, "≤")):
        worked = explain(*problem((2, 3, 2), ["tanh", "identity"], huber(limit), m=2))
        assert all(f" {sign} " in worked[f"E[{s}, {i}]"].formula for s in (0, 1) for i in (0, 1))
    net = MLP.from_weights([[[400.0]]], [[0.0]], activation="exp", loss="poisson")
    step = explain(net, [1.0], [1.0])["a[2][0]"]
    assert step.made_by.evaluated() == pytest.approx(step.value, rel=1e-9)
    assert ", as z²₁ > 338" in step.formula
    net, x, y = problem((2, 3, 2), ["tanh", "sigmoid"], dtype="float32")  # shown as it is
    worked = explain(net, x, y)
    assert worked["W[2][0, 0]"].value == float(net.W[2][0, 0])
    checked(worked, rel=2e-5)


def test_values_are_those_of_training():
    net, x, y = problem((3, 4, 2), ["tanh", "sigmoid"], m=3)
    worked, cache = explain(net, x, y, learning_rate=0.3), net.forward(x)
    grad, trained = net.backward(cache, y), net.copy()
    fit(trained, x, y, epochs=1, batch_size=None, optimizer=SGD(0.3))
    holders = {"z": cache.z, "a": cache.a, "delta": grad.delta, "W": net.W, "b": net.b}
    holders |= {"dW": grad.W, "db": grad.b, "new.W": trained.W, "new.b": trained.b}
    for kind, by_layer in holders.items():
        for l in (2, 3):
            for at, value in np.ndenumerate(by_layer[l]):
                assert worked[f"{kind}[{l}]{list(at)}"].value == value
    assert worked["E"].value == net.loss(cache, y)
    assert worked["new.E"].value == trained.loss(trained.forward(x), y)
    fit(trained, x, y, epochs=1, batch_size=None, optimizer=SGD(0.3))
    assert worked.after["new.E"].value == trained.loss(trained.forward(x), y)
    assert worked.after.after.done == 2


def test_it_stays_when_net_and_data_change():
    net, x, y = problem((2, 3, 2), ["tanh", "sigmoid"])
    worked = explain(net, x, y)
    before, theta = str(worked), net.theta.copy()
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


def test_the_order_is_that_of_the_computation():
    names = list(explain(*problem((2, 3, 2), "sigmoid", m=2)))
    assert len(names) == len(set(names))
    order = ["z[2][0, 0]", "E", "delta[3][1, 0]", "delta[2][1, 2]", "dW[2][0, 0]", "new.b[2][0]"]
    at = [names.index(name) for name in order]
    assert at == sorted(at)
    assert names[-1] == "new.E"


def test_in_a_batch_the_sample_comes_first_and_wide_layers_take_a_comma():
    worked = explain(*problem((2, 12, 2), "sigmoid", m=2))
    assert worked["δ³₂₁"].name == "delta[3][1, 0]"
    assert worked["W³₂,₁₁"].name == "W[3][1, 10]"
    assert worked["b²₁₁"].name == "b[2][10]"
    assert repr(worked["W[3][1, 10]"]).startswith("W³₂,₁₁ = ")
    assert worked["E₂"].came_from == ("E[1, 0]", "E[1, 1]")
    with complains(KeyError, "…there is no delta[3][1]: indices count from 0, the sample first, …"):
        worked["delta[3][1]"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("q[3]", "'q[3]' is no quantity: write W[3][1, 0], delta[2][0], dW[2][0, 1] or E"),
        (3, "a quantity is named by a text such as 'W[3][1, 0]', not by 3"),
        *((name, f"there is no {name}: indices count from 0, and the neurons are 2 in layer 1, 2 in"
           " layer 2, 2 in layer 3; list(...) of the solution has every name")
          for name in ("W[4][0, 0]", "z[1][0]", "W[3][2, 0]", "delta[3]", "W[0, 1]",
                       "new.delta[2][0]", "new.a[1][0]", "E[2]")),
    ],
)  # fmt: skip
def test_a_name_of_nothing_is_refused_in_words(name, message):
    worked = explain(*problem((2, 2, 2), "sigmoid"))
    with pytest.raises(KeyError) as caught:
        worked[name]
    assert caught.value.args[0] == message
    assert name not in worked


def test_where_delta_is_found_at_once_there_is_no_slope_of_its_own():
    joined = explain(*problem((2, 2, 2), ["tanh", "softmax"], "cross_entropy"))
    assert joined["delta[3][0]"].formula == "a³₁ - y₁"
    assert "da[3][0]" not in joined
    mixed = explain(*problem((2, 2, 2), ["tanh", "softmax"]))
    assert mixed["delta[3][0]"].came_from == ("a[3][0]", "da[3][0]", "da[3][1]", "a[3][1]")
    assert "df[3][0]" not in mixed


def test_of_a_quantity_is_all_that_it_came_from():
    worked = explain(*problem((2, 2, 2), "sigmoid"))
    part = worked.of("δ²₁")
    assert list(part)[-1] == "delta[2][0]"
    assert len(part) == len(list(part))
    for name, step in part.items():
        assert set(step.came_from) <= set(part), name
    assert "delta[2][1]" not in list(part)
    assert "W[3][0, 0]" in list(part)
    assert {"new.W[2][1, 0]", "db[3][1]", "delta[2][1]"} < set(worked.of("new.E"))
    assert not any(name.startswith("new.") for name in worked.of("dW[2][0, 0]"))
    assert list(worked.of("W[3][1, 0]")) == ["W[3][1, 0]"]
    worked = explain(*problem((30, 20, 3), "sigmoid", m=2), shown=2)
    text = worked.of("dW[2][17, 25]").text()  # of a far neuron that one comes first
    for word in ("∂E/∂W²₁₈,₂₆", "δ²₁,₁₈", "a²₁,₁₈", "W³₁,₁₈", "a¹₁,₂₆"):
        assert re.search(f"  {word} +=", text), word


def test_where_the_output_has_rounded_loss_and_delta_are_exact_and_said_to_be():
    said = "Taken from z², since a² has rounded to 0 or 1."
    net = MLP.from_weights([[[50.0]]], [[0.0]], activation="sigmoid", loss="binary_cross_entropy")
    worked = explain(net, [1.0], [0.0])
    assert worked["E[0]"].value == pytest.approx(50.0) == worked["E[0]"].made_by.evaluated()
    assert said in worked.text()
    net = MLP.from_weights([[[1.0], [40.0]]], [[0.0, 0.0]], activation="softmax", loss="binary_cross_entropy")
    x, y = [1.0], [0.0, 0.5]
    worked = explain(net, x, y)
    assert worked["delta[2][0]"].value == net.backward(net.forward(x), y).delta[2][0, 0]
    assert worked["delta[2][0]"].notes == ["matrix", "from z"]
    assert said in worked.text()
    assert said not in explain(net, [0.01], y).text()


def test_rules_of_the_users_own_are_named():
    sine = Activation("<my_$'sine", f=np.sin, df=lambda z, a: np.cos(z))
    mix = Activation("mix", f=lambda z: z[..., ::-1] * 1.0, df=lambda z, a: 0 * z,
                     vjp=lambda g, z, a: g[..., ::-1] * 1.0)  # fmt: skip
    quartic = Loss("4th", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    worked = explain(*problem((2, 2, 2), [mix, sine], quartic))
    assert re.match(r"a³₁ = <my_\$'sine\(z³₁\) = <my_\$'sine\(\S+\) = ", str(worked["a³₁"]))
    assert "<my_$'sine'(z³₁)" in str(worked["f'(z³₁)"])
    assert "4th'(a³₁, y₁)" in str(worked["da[3][0]"])
    assert worked["a²₁"].formula == "mix(z²₁, z²₂)"
    assert worked["δ²₂"].formula == "mix.vjp(∂E/∂a²₁, ∂E/∂a²₂)"
    assert "<my" not in worked.html()
    assert r"\mathrm{<my\_\$'sine}" in worked.latex()
    assert r"\<my\_\$'sine" in worked.markdown()


def test_lines_are_those_of_the_source(monkeypatch):
    worked = explain(*problem((2, 2, 2), "sigmoid", m=2))
    text = inspect.getsource(mlp).splitlines()
    assert all(work.lines().values())
    starts = {"z[2][0, 0]": "dot(", "a[2][0, 0]": "f[l](", "da[2][0, 0]": "dot(delta["}
    starts |= {"df[2][0, 0]": "times_df[l](", "delta[3][0, 0]": "output_delta("}
    starts |= {"dW[2][0, 0]": "dot(delta_T[l], ", "db[2][0]": "dot(ones, ", "E": "E = reduce("}
    for name, start in starts.items():
        line = worked[name].line
        assert line.code.startswith(start)
        assert text[line.number - 1].strip().startswith(line.code)
    assert [line.code.split("(")[0] for line in worked["z[2][0, 0]"].lines] == ["dot", "add"]
    assert worked["W[2][0, 0]"].line is None
    monkeypatch.setattr(inspect, "getsource", lambda module: os.stat("/nowhere"))
    none = work.lines.__wrapped__()  # without sources
    assert not any(none.values())
    monkeypatch.setattr(work, "lines", lambda: none)
    assert "mlp.py" not in explain(*problem((2, 2, 2), "sigmoid")).text()


def test_each_derivative_shows_its_difference():
    net, x, y = problem((2, 3, 2), ["tanh", "softmax"], "cross_entropy", m=3)
    worked = explain(net, x, y, differences=True)
    for name in ("dW[2][2, 1]", "dW[3][0, 2]", "db[2][1]"):
        assert worked[name].difference != worked[name].value
        assert worked[name].difference == pytest.approx(worked[name].value, rel=1e-8)
    assert worked["delta[2][0, 0]"].difference is None
    assert explain(net, x, y)["dW[2][2, 1]"].difference is None


@pytest.mark.parametrize(
    ("net", "options", "kind", "message"),
    [
        ("net", {}, TypeError, "net must be an MLP, not 'net'"),
        (MLP.init((2, 2), rng=0, networks=3), {}, ValueError,
         "this is a stack of 3 networks: explain one of them, net[k]"),
        (MLP.init((2, 2), rng=0, dtype="complex128"), {}, ValueError,
         "explain a net of real weights, not MLP(…)"),
        (MLP.init((3, 2), rng=0), {}, ValueError, "x has shape (2,), but …"),
        (None, {"learning_rate": 0}, ValueError, "learning_rate must be > 0, not 0"),
        (None, {"digits": 0}, ValueError, "digits must be an integer >= 1, not 0"),
        (None, {"shown": 1.5}, TypeError, "shown must be an integer, not 1.5"),
        (None, {"language": "fr"}, ValueError, "unknown language 'fr': the known ones are en, zh"),
        (MLP.from_weights([[[1e200] * 2]], [[0]], activation="identity"),
         {"learning_rate": 1e200}, ValueError, "the step leads to weights that are not finite: …"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused(net, options, kind, message):
    net = example() if net is None else net
    with complains(kind, message):
        explain(net, [1, 2], [0, 1][: getattr(net, "sizes", [2])[-1]], **options)


def test_the_four_losses_and_which_are_wrong():
    assert list(riddle().values()) == [
        pytest.approx(0.28047144679143016, rel=1e-14),
        pytest.approx(0.29102777369359933, rel=1e-14),
        pytest.approx(0.291027924, abs=5e-10),
        pytest.approx(0.285750887, abs=5e-10),
    ]
    for kind, language, line in (
        ("text", "en", "0.280471447   right  every weight and bias moves"),
        ("text", "en", "0.291027774   right  the biases are held"),
        ("text", "en", "0.291027924   WRONG  W³ had moved before δ² was taken"),
        ("text", "en", "0.285750887   WRONG  the biases of a layer move as one, by the"),
        ("ascii", "en", "WRONG  W[3] had moved before delta[2] was taken"),
        ("text", "zh", "错误  算 δ² 之前已更新了 W³"),
    ):
        assert line in riddle_text(Notation(kind, 6, 4, language))
