"""Each of the three ways to train a stack."""

import pytest

from bpnet import arrays
from tests.helpers.stack_problem import SIZES, WAYS, make


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Return how many networks to make, so that they train in one of the three ways."""
    if request.param == "in turns":
        monkeypatch.setattr(arrays, "HEAVIEST", 0)
    theta = make(WAYS[request.param]).theta
    fastest = arrays.best_layout(theta, SIZES, 4) is not theta
    assert fastest == (request.param == "networks fastest")
    assert arrays.better_in_turn(theta, 4) == (request.param == "in turns")
    return WAYS[request.param]


@pytest.fixture
def net(way):
    """Return a stack for each of them."""
    return make(way)
