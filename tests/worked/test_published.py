"""The losses that circulate for the published example (ORACLES: Mazur, 2015)."""

import pytest

from bpnet import explain
from bpnet.worked.published import X, Y, example, riddle, riddle_text


def test_the_four_losses():
    assert list(riddle().values()) == [
        pytest.approx(0.28047144679143016, rel=1e-14),
        pytest.approx(0.29102777369359933, rel=1e-14),
        pytest.approx(0.291027924, abs=5e-10),
        pytest.approx(0.285750887, abs=5e-10),
    ]


def test_the_wrong_ones_are_marked():
    worked = explain(example(), X, Y)
    text = riddle_text(worked.notation())
    for loss, word in (
        ("0.280471447", "right  every weight and bias moves"),
        ("0.291027774", "right  the biases are held"),
        ("0.291027924", "WRONG  W³ had moved before δ² was taken"),
        ("0.285750887", "WRONG  the biases of a layer move as one, by the sum of its δ"),
    ):
        assert f"{loss}   {word}" in text
    assert "W[3] had moved before delta[2] was taken" in riddle_text(worked.notation(True))
    zh = explain(example(), X, Y, language="zh").notation()
    assert "错误  算 δ² 之前已更新了 W³" in riddle_text(zh)
