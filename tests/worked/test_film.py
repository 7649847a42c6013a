"""The film of a training, but for what a browser shows of it (tests/page/test_browser.py)."""

import json

import numpy as np
import pytest

from bpnet import MLP, Adam, film, fit


def part(page, name):
    return json.JSONDecoder().raw_decode(page.split(f" {name} = ")[1])[0]


@pytest.mark.parametrize("size", [None, 3])
def test_the_frames_are_the_training(tmp_path, size):
    net, rule, path = MLP.init((2, 3, 1), rng=1), Adam(0.1), tmp_path / "film.html"
    x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    start = net.theta.copy()
    page = film(net, x, y, steps=40, optimizer=rule, batch_size=size, frames=9, path=path)
    np.testing.assert_array_equal(net.theta, start)
    assert (rule.t, path.read_text(encoding="utf-8")) == (0, page)
    frames, curve = part(page, "frames"), part(page, "curve")
    assert [frame["steps"] for frame in frames][::8] == [0, 40]
    assert len(frames) <= 10
    losses = fit(net, x, y, epochs=40 // (2 if size else 1), batch_size=size, shuffle=False,
                 optimizer=Adam(0.1)).loss  # fmt: skip
    assert size or [E for _, E in curve[:-1]] == pytest.approx(losses, rel=1e-5)
    np.testing.assert_allclose(frames[-1]["W"]["2"], net.W[2], rtol=1e-5)
    assert len(repr(page)) < 80
    assert page._repr_html_().startswith("<iframe srcdoc=")
    assert "训练过程" in film(net, x, y, steps=1, language="zh")


@pytest.mark.parametrize(
    ("net", "more", "words"),
    [
        (MLP.init((2, 9, 1), rng=0), {}, "8 layers of 8 neurons"),
        (MLP.init((2, 2, 1), rng=0, networks=3), {}, "one net"),
        (MLP.init((2, 2, 1), rng=0), {"language": "la"}, "unknown language"),
        (MLP.init((2, 2, 1), rng=0), {"steps": 0}, "steps"),
        (MLP.init((3, 2, 1), rng=0), {}, "x has"),
    ],
)
def test_what_is_no_film(net, more, words):
    with pytest.raises((TypeError, ValueError), match=words):
        film(net, [[0.0, 1.0]], [[1.0]], **{"steps": 5} | more)
