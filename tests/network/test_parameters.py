"""θ and its views by layer."""

import copy

import numpy as np
import pytest

from bpnet import MLP, Parameters
from bpnet.network.parameters import ByLayer, blocks, coordinate_name, count
from tests.helpers.complaint import complains

SIZES = (3, 5, 2)
P = 5 * 3 + 5 + 2 * 5 + 2


def parameters():
    return Parameters(SIZES, np.arange(float(P)))


def test_theta_holds_each_matrix_row_by_row_then_its_biases():
    p = parameters()
    assert count(SIZES) == P == 32
    assert list(blocks(SIZES)) == [(0, 5, 3), (20, 2, 5)]
    assert list(blocks((2, 3, 4, 1))) == [(0, 3, 2), (9, 4, 3), (25, 1, 4)]
    np.testing.assert_array_equal(p.W[2], np.arange(15).reshape(5, 3))
    np.testing.assert_array_equal(p.b[2], np.arange(15, 20))
    np.testing.assert_array_equal(p.W[3], np.arange(20, 30).reshape(2, 5))
    np.testing.assert_array_equal(p.b[3], [30, 31])
    assert (p.sizes, p.L) == (SIZES, 3)
    assert all(np.shares_memory(v, p.theta) for v in (*p.W.values(), *p.b.values()))


def test_the_lists_for_the_passes_are_the_same_views():
    p = parameters()
    for l in (2, 3):
        assert p.W.list[l] is p.W[l]
        np.testing.assert_array_equal(p.W_T[l], p.W[l].T)
        np.testing.assert_array_equal(p.b_row[l], p.b[l][None, :])
        assert np.shares_memory(p.W_T[l], p.theta)
        assert np.shares_memory(p.b_row[l], p.theta)
    assert p.W.list[:2] == p.W_T[:2] == p.b_row[:2] == [None, None]


def test_a_stack_of_networks_has_a_leading_axis_everywhere():
    p = Parameters(SIZES, np.arange(4.0 * P).reshape(4, P))
    assert (p.W[2].shape, p.W[3].shape) == ((4, 5, 3), (4, 2, 5))
    assert (p.b[2].shape, p.b_row[3].shape) == ((4, 5), (4, 1, 2))
    np.testing.assert_array_equal(p.W[3][2], 2 * P + np.arange(20, 30).reshape(2, 5))
    np.testing.assert_array_equal(p.b[2][1], P + np.arange(15, 20))
    p.W[2] = np.zeros((4, 5, 3))
    assert p.theta[:, :15].max() == 0


def test_theta_of_the_wrong_length_is_refused():
    for length in (P - 1, P + 1):
        message = f"theta has {length} numbers, but a net of sizes (3, 5, 2) has {P} parameters"
        with complains(ValueError, message):
            Parameters(SIZES, np.zeros(length))


def test_every_coordinate_has_its_name():
    names = [f"W[2][{i}, {j}]" for i in range(5) for j in range(3)]
    names += [f"b[2][{i}]" for i in range(5)]
    names += [f"W[3][{i}, {j}]" for i in range(2) for j in range(5)]
    names += [f"b[3][{i}]" for i in range(2)]
    p = parameters()
    assert [coordinate_name(SIZES, k) for k in range(P)] == names
    assert [p.name(k) for k in range(P)] == names
    for k, name in enumerate(names):  # the name is where the number is found
        assert eval(name, {"W": p.W, "b": p.b}) == k
    assert coordinate_name(SIZES, np.int64(20)) == "W[3][0, 0]"
    for k in (-1, P, P + 7):
        with complains(IndexError, f"theta has coordinates 0..31, not {k}"):
            coordinate_name(SIZES, k)
    with pytest.raises(TypeError):
        coordinate_name(SIZES, 1.0)


@pytest.mark.parametrize("wrong", [-1, 0, 1, 4, "2", None, (2,), [2]])
def test_a_layer_that_is_not_there_is_a_key_error(wrong):
    p = parameters()
    message = f"there is no W[{wrong!r}]: the layers that have one are 2, 3"
    with complains(KeyError, repr(message)):
        p.W[wrong]
    with complains(KeyError, repr(message)):
        p.W[wrong] = np.zeros((5, 3))


def test_layers_of_a_pass_start_where_their_letter_starts():
    net = MLP.init((3, 4, 2), rng=0)
    cache = net.forward([1, 2, 3])
    grad = net.backward(cache, [0, 1])
    of = {"z": cache.z, "delta": grad.delta, "W": grad.W, "b": net.b, "activation": net.activation}
    for letter, mapping in {"a": cache.a, **of}.items():
        first = 1 if letter == "a" else 2
        assert list(mapping) == list(range(first, 4))
        for wrong in (first - 1, -1, 4):
            known = ", ".join(map(str, range(first, 4)))
            message = f"there is no {letter}[{wrong}]: the layers that have one are {known}"
            with complains(KeyError, repr(message)):
                mapping[wrong]


def test_by_layer_is_a_mapping():
    by_layer = ByLayer("f", 2, ["x", "y"])
    assert (list(by_layer), len(by_layer), by_layer[3]) == ([2, 3], 2, "y")
    assert list(by_layer.values()) == ["x", "y"]
    assert 1 not in by_layer
    assert by_layer.get(4) is None
    assert repr(by_layer) == "f{2: 'x', 3: 'y'}"
    with pytest.raises(TypeError):
        by_layer[2] = "z"


def test_assignment_writes_into_theta():
    p = parameters()
    theta = p.theta
    p.W[2] = np.full((5, 3), 7)
    p.b[3] = [8, 9]
    p.W[3] *= 2
    p.b[2] -= 1.0
    p.W[2][1, 2] = -1
    assert p.theta is theta
    expected = [*[7.0] * 15, *range(14, 19), *range(40, 60, 2), 8, 9]
    expected[1 * 3 + 2] = -1
    np.testing.assert_array_equal(theta, expected)
    twin = copy.deepcopy(p)
    assert copy.copy(p).theta is p.theta
    twin.W[2] -= 1
    assert (type(twin), twin.theta[0], p.theta[0], twin.W_T[2][0, 0]) == (Parameters, 6, 7, 6)
    p = Parameters((2, 2), np.arange(6.0))
    p.W[2] = p.W[2].T  # its own transpose
    np.testing.assert_array_equal(p.theta, [0, 2, 1, 3, 4, 5])


def test_assignment_of_another_shape_or_kind_is_refused():
    p = parameters()
    before = p.theta.copy()
    cases = [
        (p.W, 2, np.zeros((3, 5)), "W[2] has shape (5, 3), but was given shape (3, 5)"),
        (p.W, 2, 0.0, "W[2] has shape (5, 3), but was given shape ()"),
        (p.b, 3, [1.0], "b[3] has shape (2,), but was given shape (1,)"),
        (p.b, 3, [[1.0, 2.0]], "b[3] has shape (2,), but was given shape (1, 2)"),
    ]
    for views, l, values, message in cases:
        with complains(ValueError, message):
            views[l] = values
    with pytest.raises(TypeError):
        p.b[3] = [1j, 2]
    np.testing.assert_array_equal(p.theta, before)


def test_integers_and_single_precision_may_be_assigned():
    p = Parameters((1, 2), np.zeros(4, "float32"))
    p.W[2] = [[1], [2]]
    p.b[2] = np.array([0.5, 0.25])
    np.testing.assert_array_equal(p.theta, [1, 2, 0.5, 0.25])
    assert p.theta.dtype == "float32"
