"""Losses of one's own whose kinks lie elsewhere than at a value of a - y."""

import numpy as np
import pytest

from bpnet import MLP, Loss, check_gradient

HINGE = Loss(
    "hinge",
    E=lambda a, y: np.maximum(1 - a * y, 0 * a),
    dE=lambda a, y: np.where(a.real * y < 1, -y, 0.0 * a),
    kinks=(lambda a, y: a * y - 1,),
    analytic=True,
)
MIXED = Loss(  # |a - y| + max(a, 0.25)
    "mixed",
    E=lambda a, y: np.maximum(a - y, y - a) + np.maximum(a, 0.25),
    dE=lambda a, y: np.sign((a - y).real) + (a.real > 0.25),
    kinks=(0.0, lambda a, y: a - 0.25),
    analytic=True,
)
X = np.array([[1.0, 2.0]])


def net_at(loss, a):
    """A net of one linear layer whose output is a."""
    return MLP.from_weights([[[0.5, a / 2]]], [[-0.5]], activation="identity", loss=loss)


@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize(("loss", "a", "y"), [(HINGE, -1.0, -1.0), (MIXED, 0.25, 2.0), (MIXED, 0.5, 0.5)])
def test_an_output_on_a_kink_is_not_compared(method, loss, a, y):
    report = check_gradient(net_at(loss, a), X, [[y]], method=method)
    assert (report.ok, report.kinks) == (True, 3)
    report = check_gradient(net_at(loss, a + 1e-6), X, [[y]], method="complex")  # where E slopes
    assert (report.ok, report.kinks) == (True, 0), str(report)


def test_only_the_outputs_within_reach_are_on_it():
    a, y = np.array([[0.25, 0.2501, 2.0]]), np.array([[2.0, 2.0, 2.0]])
    assert MIXED.on_kinks(a, y, np.full(a.shape, 1e-9)).tolist() == [[True, False, True]]
    assert MIXED.on_kinks(a, y, np.full(a.shape, 1e-3)).tolist() == [[True, True, True]]


def test_a_wrong_derivative_is_found_beside_the_kink():
    """The rule is measured where no step reaches over a kink: it is named, not the net."""
    wrong = Loss("wrong", E=HINGE.E, dE=lambda a, y: -2 * HINGE.dE(a, y), kinks=HINGE.kinks)
    report = check_gradient(net_at(wrong, 0.3), X, [[1.0]])
    assert "dE of the loss 'wrong' is not the slope" in report.cause
    right = Loss("right", E=HINGE.E, dE=HINGE.dE, kinks=HINGE.kinks)
    near = check_gradient(net_at(right, 1.0 + 1e-5), X, [[1.0]], gradient=np.ones(3))
    assert "right" not in (near.cause or "")
