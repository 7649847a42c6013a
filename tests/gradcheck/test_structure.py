"""Numbers in a structure as one flat vector, and the names of its coordinates."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from bpnet import MLP
from bpnet.gradcheck.structure import flatten, flatten_like, layout_of_net, rebuild, shape_hint
from bpnet.network.parameters import coordinate_name, count

Pair = namedtuple("Pair", "left right")


def nested():
    return {
        "W": [np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), (np.float32(7.0), 8.0)],
        "none": [],
        2: Pair(np.array([9.0]), np.array(10.0)),
    }


NAMES = [f"['W'][0][{i}, {j}]" for i in (0, 1) for j in (0, 1, 2)]
NAMES += ["['W'][1][0]", "['W'][1][1]", "[2][0][0]", "[2][1]"]


def test_flatten():
    flat, layout, eps = flatten(nested())
    np.testing.assert_array_equal(flat, np.arange(1.0, 11.0))
    assert (flat.dtype, eps, layout.size) == (np.float64, 2.0**-23, 10)
    assert [layout.name(k) for k in range(10)] == NAMES
    labels = ["['W'][0]", "['W'][1][0]", "['W'][1][1]", "[2][0]", "[2][1]"]
    assert [block.label for block in layout.blocks] == labels


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_rebuild(dtype):
    structure = nested()
    flat = np.arange(10).astype(dtype)
    built = rebuild(structure, flat)
    assert list(built) == ["W", "none", 2]
    parts = (built, built["W"], built["W"][1], built[2])
    assert tuple(map(type, parts)) == (dict, list, tuple, Pair)
    assert built["none"] == []
    np.testing.assert_array_equal(built["W"][0], [[0, 1, 2], [3, 4, 5]])
    assert built["W"][0].dtype == dtype
    assert built["W"][1] == (6, 7)
    assert (built[2].right.shape, built[2].right) == ((), 9)
    built["W"][0][...] = -1
    np.testing.assert_array_equal(flat, np.arange(10))


def test_one_array_one_number_and_no_block_without_numbers():
    _, layout, _ = flatten(np.zeros((2, 2)))
    assert [layout.name(k) for k in range(4)] == ["[0, 0]", "[0, 1]", "[1, 0]", "[1, 1]"]
    assert layout.blocks[0].label == "all"
    flat, layout, eps = flatten(1.5)
    assert (flat.tolist(), layout.name(0), eps) == ([1.5], "at", 2.0**-52)
    assert rebuild(1.5, np.array([2.5])) == 2.5
    assert type(rebuild(1.5, np.array([2.5]))) is float
    _, layout, _ = flatten([np.zeros(0), np.ones(2), np.zeros((0, 3)), 1.0])
    assert [layout.name(k) for k in range(3)] == ["[1][0]", "[1][1]", "[3]"]
    assert [block.label for block in layout.blocks] == ["[1]", "[3]"]


def test_a_networks_names():
    sizes = (3, 4, 2)
    layout = layout_of_net(sizes)
    assert layout.size == count(sizes)
    assert [layout.name(k) for k in range(layout.size)] == [
        coordinate_name(sizes, k) for k in range(layout.size)
    ]
    assert [(b.label, b.layer, b.is_bias, b.size) for b in layout.blocks] == [
        ("W[2]", 2, False, 12),
        ("b[2]", 2, True, 4),
        ("W[3]", 3, False, 8),
        ("b[3]", 3, True, 2),
    ]


def test_a_networks_views_are_a_structure():
    net = MLP.init((2, 3, 1), rng=0)
    flat, layout, _ = flatten({"W": net.W, "b": net.b})
    assert (layout.name(0), layout.name(6)) == ("['W'][2][0, 0]", "['W'][3][0, 0]")
    np.testing.assert_array_equal(flat[:6], net.W[2].ravel())


@pytest.mark.parametrize(
    ("shape", "need", "hint"),
    [
        ((3, 2), (2, 3), ": it looks transposed"),
        ((1, 3), (3, 1), ": it looks transposed"),
        ((1, 3), (3,), ": sum without keepdims=True"),
        ((1, 1), (), ": sum without keepdims=True"),
        ((3,), (3, 1), ": sum with keepdims=True, or take reshape"),
        ((2, 1, 3), (2, 3, 1), ""),
        ((3,), (4,), ""),
        ((4,), (2, 2), ""),
    ],
)
def test_what_a_wrong_shape_looks_like(shape, need, hint):
    assert shape_hint(shape, need) == hint


def test_flatten_like_takes_the_order_of_the_structure():
    structure = OrderedDict(a=np.zeros(2), b=[np.zeros(1), 0.0])
    given = {"b": np.array([[3], [4]])[:, 0], "a": [1, 2]}
    given["b"] = [[3], np.float32(4)]
    flat, eps = flatten_like(structure, given)
    np.testing.assert_array_equal(flat, [1, 2, 3, 4])
    assert (flat.dtype, eps) == (np.float64, 2.0**-23)
