"""The losses that circulate for the published example (ORACLES: Mazur, 2015)."""

import pytest

from bpnet.worked.published import example, riddle, riddle_text
from tests.helpers.complaint import complains

LOSSES = {  # steps: every bias updated, biases held, W³ too early, one bias a layer
    1: (0.28047144679143016, 0.29102777369359933, 0.291027924, 0.285750887),
    100: (0.006083131061206281, 0.0200468282494252, None, None),
}


@pytest.mark.parametrize("steps", LOSSES)
def test_the_four_losses(steps):
    answers = riddle(steps)
    assert [answer.right for answer in answers] == [True, True, False, False]
    for answer, loss in zip(answers, LOSSES[steps], strict=True):
        if loss is not None:
            digits = len(str(loss).lstrip("0.").partition("e")[0].replace(".", ""))
            assert answer.loss == pytest.approx(loss, rel=10.0 ** (1.5 - min(digits, 15)))


def test_the_wrong_ones_are_marked():
    text = riddle_text()
    for loss, word in (
        ("0.280471447", "right  every weight and bias moves"),
        ("0.291027774", "right  the biases are held"),
        ("0.291027924", "WRONG  W³ had moved before δ² was taken"),
        ("0.285750887", "WRONG  the biases of a layer move as one, by the sum of its δ"),
    ):
        assert f"{loss}   {word}" in text
    assert "WRONG  W[3] had moved before delta[2] was taken" in riddle_text(ascii_only=True)
    assert "错误  算 δ² 之前已更新了 W³" in riddle_text(language="zh")
    assert "after 10 steps" in riddle_text(10)


def test_the_example_is_new_each_time():
    net = example()
    net.theta[...] = 0
    assert example().W[3][1, 0] == 0.5
    with complains(ValueError, "steps must be an integer >= 1, not 0"):
        riddle(0)
