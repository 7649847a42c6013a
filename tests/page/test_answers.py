"""What the page is answered, without a browser."""

import json

import numpy as np
import pytest

from bpnet import MLP, SGD, fit, formats
from bpnet.page import answers
from bpnet.page.answers import Page, answer
from bpnet.page.state import OPTIMIZERS, preset
from bpnet.worked import published


@pytest.fixture(autouse=True)
def enough_time(monkeypatch):
    monkeypatch.setattr(answers, "SLICE", 60.0)


def asked(page, do, **more):
    reply = page.answer(do, **more)
    assert "error" not in reply, reply["error"]
    json.dumps(reply, allow_nan=False)
    return reply


def refused(page, do, **more):
    """Return the error, after which all is as it was."""
    before = page.answer("view")
    reply = page.answer(do, **more)
    assert list(reply) == ["error"]
    assert page.answer("view") == before
    return reply["error"]


def opened(name="article", **fields):
    page = Page()
    asked(page, "open", name=name)
    for field, value in fields.items():
        asked(page, "set", field=field, value=str(value))
    return page


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("name", "size"), [("article", 1), ("xor", 4), ("xor", 3), ("moons", 32)])
def test_ten_epochs_are_those_of_fit(optimizer, name, size):
    page, given = opened(name, size=size, optimizer=optimizer, rate=0.05), preset(name)
    batches = -(-len(given["x"]) // size)
    asked(page, "run", count=7)
    view = asked(page, "run", count=10 * batches - 7)
    kind, options = OPTIMIZERS[optimizer]
    net, x, y = given["net"], given["x"], given["y"]
    losses = fit(net, x, y, epochs=10, batch_size=size, shuffle=False,
                 optimizer=kind(learning_rate=0.05, **options)).loss  # fmt: skip
    np.testing.assert_array_equal(page.state.net.theta, net.theta)
    curve = [E for _, E in view["curve"]]
    assert batches > 1 or curve[:-1] == losses
    assert (view["steps"], curve[-1]) == (10 * batches, net.loss(net.forward(x), y))


def test_the_phases_lead_to_a_step_that_can_be_taken_back():
    page, net = Page(), published.example()
    start = asked(page, "view")
    for k, phase in enumerate(("forward", "loss", "backward"), 1):
        assert asked(page, "go", to=phase)["phase"] == k
    view = asked(page, "go", to="update")
    fit(net, published.X, published.Y, epochs=1, optimizer=SGD(0.5))
    assert (view["phase"], view["steps"], view["back"]) == (0, 1, 4)
    np.testing.assert_array_equal(page.state.net.theta, net.theta)
    for _ in range(4):
        view = asked(page, "back")
    assert view == start
    assert "nothing to take back" in refused(page, "back")


def test_reset_keeps_the_settings_and_back_undoes_it():
    page = opened(**{"W.2.0.1": -1.5})
    asked(page, "run", count=20)
    asked(page, "set", field="rate", value="0.1")
    trained = asked(page, "run", count=5, more=True)
    assert (trained["steps"], len(trained["curve"])) == (25, 26)
    view = asked(page, "reset")
    assert (view["steps"], view["rate"], view["W"][2][0][1]) == (0, 0.1, -1.5)
    assert len(view["curve"]) == 1
    assert asked(page, "back").items() <= trained.items()
    assert asked(page, "back")["steps"] == 20, "what is more of a run is taken back with it"


@pytest.mark.parametrize("size", [80, 10])
def test_a_run_ends_when_its_time_is_over(monkeypatch, size):
    monkeypatch.setattr(answers, "SLICE", 0.0)
    assert asked(opened("moons", size=size), "run", count=1000)["did"] == 1


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("sizes", "2-3-1", lambda v: v["sizes"] == (2, 3, 1)),
        ("seed", "7", lambda v: v["W"][2] == MLP.init((2, 2, 2), rng=7).W[2].tolist()),
        ("activation.3", "softmax", lambda v: v["activation"] == ["sigmoid", "softmax"]),
        ("data", "x1;x2;y1\n0;1;1\n1;0;0", lambda v: (v["sizes"], v["size"]) == ((2, 2, 1), 2)),
        ("data", "1 2 3 4", lambda v: v["data"] == {"x": [[1.0, 2.0]], "y": [[3.0, 4.0]]}),
        ("b.2.1", "2", lambda v: v["b"][2][1] == 2),
        ("x.0.1", "0.7", lambda v: v["data"]["x"] == [[0.05, 0.7]]),
    ],
)
def test_a_field_is_taken_over(field, value, shown):
    page = Page()
    asked(page, "run", count=3)
    assert shown(asked(page, "set", field=field, value=value))
    asked(page, "explain", name="backward")


WRONG = {
    "sizes": {"2": "2 to 6 layers", "2-9-1": "1 to 8", "": "layers", "2-0-1": "neurons"},
    "seed": {"-1": "whole number", "1.5": "whole number"},
    "loss": {"cross_entropy": "softmax", "none": "no loss"},
    "activation.2": {"softmax": "softmax", "none": "activation"},
    "activation.4": {"tanh": "activation.4"},
    "optimizer": {"Newton": "Newton"},
    "rate": {"0": "learning_rate", "-1": "learning_rate", "nan": "number", "1e9": "number"},
    "size": {"2": "1 to 1", "0": "1 to 1", "half": "whole"},
    "W.3.1.0": {"": "number", "inf": "number"},
    "W.3.2.0": {"1": "out of bounds"},
    "W.4.0.0": {"1": "W[4]"},
    "W.2.0": {"1": "W.2.0"},
    "x.0.1": {"1,2": "number"},
    "data": {"1 2\n3": "a sample a line", "": "a sample a line", "1,2,3,x": "number",
             "1 2": "a sample a line", "0 1 1 0\n" * 201: "200 samples"},
    "nothing": {"1": "no nothing"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("do", "more", "words"),
    [
        *(("set", {"field": field, "value": value}, words)
          for field, values in WRONG.items() for value, words in values.items()),
        ("fly", {}, "unknown request 'fly'"),
        ("run", {"count": 0}, "count"),
        ("run", {"count": 10**9}, "200,000 steps"),
        ("run", {}, "count"),
        ("go", {"to": "sleep"}, "sleep"),
        ("open", {"name": "zoo"}, "article, xor, moons"),
        ("open", {"link": "eJw"}, "the link is damaged"),
        ("explain", {"name": "W[9][0, 0]"}, "there is no W[9][0, 0]"),
        ("regions", {"count": 1000}, "100"),
        ("take", {"what": "money"}, "python, json, link, film"),
        ("view", {"language": "xx"}, "unknown language"),
        ("view", {"sample": -1}, "sample"),
        ("set", {"field": 3, "value": 4}, "no 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_changes_nothing(do, more, words):
    assert words in refused(Page(), do, **more)


def test_a_training_that_diverges_is_not_kept():
    page = opened("xor", loss="half_squared_error", **{"activation.3": "identity", "rate": 9e5})
    assert "learning" in refused(page, "run", count=1000)


@pytest.mark.parametrize("text", ["", "[", "[]", "1", '{"do": [1]}', "[" * 100_000, '{"do": null}'])
def test_what_is_no_request(text):
    assert "JSON object" in json.loads(answer(text))["error"]


def test_pages_do_not_see_each_other_and_the_oldest_ends():
    def steps(session):
        return json.loads(answer(json.dumps({"session": session, "do": "view"})))["steps"]

    answer('{"session": "one", "do": "run", "count": 3}')
    assert (steps("two"), steps("one")) == (0, 3)
    assert all(steps(f"more {k}") == 0 for k in range(answers.SESSIONS))
    assert steps("one") == 0


def test_explained_with_its_line_its_difference_and_where_it_came_from():
    entries = {e["name"]: e for e in asked(Page(), "explain", name="W³₂₁")["entries"]}
    assert list(entries) == ["W[3][1, 0]", "dW[3][1, 0]", "new.W[3][1, 0]"]
    found = entries["dW[3][1, 0]"]
    assert "<mn>−0.0226025405</mn>" in found["rows"][-1]
    assert "<mn>−0.0226025405</mn>" in found["difference"]
    assert found["lines"][0].endswith("dot(delta_T[l], a[l - 1], dW[l])")
    assert [f["name"] for f in found["from"]] == ["delta[3][1]", "a[2][0]"]
    adam = opened(optimizer="Adam")
    names = [e["name"] for e in asked(adam, "explain", name="W[3][1, 0]")["entries"]]
    assert names == ["W[3][1, 0]", "dW[3][1, 0]"], "Adam's step is another"
    assert "plain gradient descent" in refused(adam, "explain", name="update")


@pytest.mark.parametrize("name", ["article", "xor"])
def test_one_can_walk_from_the_loss_to_what_was_given(name):
    ahead, seen = ["E"], set()
    while ahead:
        at = ahead.pop()
        if at not in seen:
            seen.add(at)
            entries = {e["name"]: e for e in asked(opened(name), "explain", name=at)["entries"]}
            ahead += [f["name"] for f in entries[at]["from"]]
    assert {"W[2][0, 1]", "b[3][0]"} <= seen
    assert any(at.startswith("a[1]") for at in seen)


def test_the_riddle_has_the_code_that_leads_to_each_loss():
    for one, right in zip(asked(Page(), "riddle")["losses"], (1, 1, 0, 0), strict=True):
        net = published.example()
        cache = net.forward(published.X)
        grad = net.backward(cache, published.Y)
        exec(one["code"], {"net": net, "cache": cache, "y": published.Y, "grad": grad})
        E = net.loss(net.forward(published.X), published.Y)
        assert (f"{E:.9f}", one["right"]) == (one["loss"], right)


@pytest.mark.parametrize(("name", "size", "rule"), [("article", 1, "Nesterov"), ("xor", 3, "Adam")])
def test_what_is_taken_away_gives_the_state_again(name, size, rule):
    page, other, space = opened(name, optimizer=rule, size=size), Page(), {}
    asked(page, "run", count=4)
    asked(page, "set", field="b.2.1", value="0.125")
    view = asked(page, "run", count=7)
    exec(asked(page, "take", what="python")["text"].replace("print(", "E = ("), space)
    np.testing.assert_array_equal(space["net"].theta, page.state.net.theta)
    assert space["E"] == view["curve"][-1][1]
    kept = formats.from_json(asked(page, "take", what="json")["text"])
    np.testing.assert_array_equal(kept.theta, page.state.net.theta)
    link = asked(other, "open", link=asked(page, "take", what="link")["text"])
    assert (link["steps"], link["todo"]) == (4, 7)
    again = asked(other, "run", count=7)
    assert all(again[key] == view[key] for key in view.keys() - {"curve", "back"})
    assert "<svg" in asked(page, "take", what="film")["text"]


def test_regions_are_of_the_net():
    page = opened("moons")
    asked(page, "run", count=500)
    found, net = asked(page, "regions", count=5), page.state.net
    corners = [net.predict([x, y])[0, 0] for y in found["ends"][1] for x in found["ends"][0]]
    np.testing.assert_allclose([found["values"][k] for k in (0, 4, 20, 24)], corners, atol=1e-12)
    assert "two inputs" in refused(opened(sizes="3-2-1"), "regions")
