"""Stated derivatives against the slopes of their functions: right ones pass, others are shown."""

import re
from dataclasses import replace

import numpy as np
import pytest

from bpnet import LOSSES, Activation, Loss
from bpnet.gradcheck.rounding import mixed
from bpnet.gradcheck.stated import away, difference, row_slopes, slope, wrong_activation, wrong_loss
from bpnet.rules.activations import ACTIVATIONS
from tests.helpers.nets import PAIRS

# Kinks, places beside them within a step and beyond, tails, and what is in between.
Z = np.array([[0.0, 1e-5, -1e-5, 6e-4], [-0.7, 1.3, -2.4, 3.1], [-30.0, 30.0, -8.0, 12.0]])
H = 2.0**-12


def told(text, what):
    """The three numbers of a sentence on what is not the slope."""
    number = r"(-?[\d.]+(?:e[+-]\d+)?)"
    place = rf"{re.escape(what)} is not the slope: at [az] = {number} it is {number}"
    return tuple(map(float, re.fullmatch(f"{place}, but the slope is {number}", text).groups()))


def only(i, size=1.0):
    return size * (np.arange(12) == i).reshape(3, 4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_table_is_right_and_found_where_it_is_not(name):
    f = ACTIVATIONS[name]
    assert wrong_activation(f, Z, f.f(Z)) is None
    z = np.array([[-0.7, 1.3, -2.4, 0.9], [0.4, -1.1, 2.2, -0.2], [1.8, 0.6, -0.9, -1.7]])
    a, g = f.f(z), np.cos(np.arange(12.0)).reshape(3, 4)
    for i in (0, 5, 11):
        if f.vjp is None:
            what, right = f"f' of '{name}'", f.df(z, a)
            wrong = replace(f, df=lambda z, a, i=i: f.df(z, a) + only(i, 1e-3))
        else:
            what, right = f"vjp of '{name}'", f.vjp(g, z, a)
            wrong = replace(f, vjp=lambda g, z, a, i=i: f.vjp(g, z, a) + only(i, 1e-3))
        place, stated, measured = told(wrong_activation(wrong, z, a), what)
        assert (place, measured) == (z.flat[i], pytest.approx(right.flat[i], rel=1e-4, abs=1e-5))
        assert stated == pytest.approx(right.flat[i] + 1e-3, rel=1e-4, abs=1e-5)


def test_more_kinks_than_one_are_left_out_each():
    double = Activation(
        "double",
        f=lambda z: np.abs(z + 1) + np.abs(z - 2),
        df=lambda z, a: np.where(z >= -1, 1, -1) + np.where(z >= 2, 1, -1),
        kinks=(-1.0, 2.0),
    )
    z = np.array([[-1.0, 2.0, 0.3, 5.0]])
    assert wrong_activation(double, z, double.f(z)) is None
    for kink, place in ((-1.0, 2), (2.0, -1)):
        other = wrong_activation(replace(double, kinks=(kink,)), z, double.f(z))
        assert told(other, "f' of 'double'")[0] == place


GATED = Activation(  # each neuron is gated by the sum of all
    "gated",
    f=lambda z: np.maximum(z, 0) * z.sum(axis=-1, keepdims=True),
    df=lambda z, a: np.where(z >= 0, z.sum(axis=-1, keepdims=True), 0) + np.maximum(z, 0),
    vjp=lambda g, z, a: (
        g * (z >= 0) * z.sum(axis=-1, keepdims=True) + (g * np.maximum(z, 0)).sum(axis=-1, keepdims=True)
    ),
    kinks=(0.0,),
)


def test_one_that_mixes_neurons_may_take_z_and_have_kinks():
    z = np.array([[0.0, 1.2, -0.7], [0.4, 2.0, 1.1]])
    assert wrong_activation(GATED, z, GATED.f(z)) is None
    text = wrong_activation(replace(GATED, kinks=()), z, GATED.f(z))
    assert told(text, "vjp of 'gated'")[0] == 0
    g = np.array([[1.0, -2.0, 0.5], [0.3, 0.2, -1.0]])
    by_neuron = np.stack([GATED.vjp(g * one, z, GATED.f(z)) for one in np.eye(3)])
    np.testing.assert_allclose(mixed(GATED, g, z, GATED.f(z)), np.abs(by_neuron).sum(axis=0))


def test_away_is_more_than_two_steps_from_each():
    h = np.full(6, 0.25)
    values = np.array([1.0, 1.5, 1.51, -2.5, -2.49, np.nan])
    assert away(values, (1.0, -2.0), h).tolist() == [False, False, True, False, False, False]
    assert away(values, (), h).tolist() == [True] * 5 + [False]
    assert away(np.array([-1.0, 0.4]), (1.0,), h[:2]).tolist() == [True, True]


def test_slopes_are_of_the_fourth_order_and_doubt_what_halving_changed():
    z, h = np.array([0.3, -1.2]), np.array([0.1, 0.2])
    found, doubt = slope(lambda t: np.exp(z + t * h), h)
    np.testing.assert_allclose(found, np.exp(z), rtol=2e-5)
    wide, narrow = np.exp(z) * np.sinh(h) / h, np.exp(z) * np.sinh(h / 2) / (h / 2)
    np.testing.assert_allclose(doubt, 10 * (wide - narrow), rtol=1e-6)


def test_slopes_of_rows_are_taken_one_element_after_the_other():
    z = np.array([[0.3, -1.2, 0.5], [1.1, 0.2, -0.4]])
    found, _ = row_slopes(lambda z: z[:, 0] * z[:, 1] + z[:, 2] ** 3, z, np.full(z.shape, 1e-3))
    right = np.stack([z[:, 1], z[:, 0], 3 * z[:, 2] ** 2], axis=1)
    np.testing.assert_allclose(found, right, rtol=1e-9)


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_every_loss_of_the_table_is_right_and_found_where_it_is_not(output, loss):
    f, loss = ACTIVATIONS[output], LOSSES[loss]
    z = np.array([[0.2, -1.3, 2.1, -0.6], [1.4, 0.8, -2.2, 0.1], [-4.0, 3.0, 4.2, -5.0]])
    a, in_unit = f.f(z), loss.target_range[1] == 1
    y = np.eye(4)[[1, 3, 0]] if in_unit else a + np.linspace(0.1, 2.5, 12).reshape(3, 4)
    assert wrong_loss(loss, f, z, a, y) is None
    for i in (2, 5, 7):
        if loss.joins(f):  # E_z of another target than that of a - y
            wrong = replace(loss, E_z=lambda z, y, i=i: loss.E_z(z, y + only(i, 1e-3)))
            what, at, right = f"with '{output}', a - y of the loss '{loss.name}'", z, a - y
            size = 1e-3 * (1 - a.flat[i] * f.rows_sum_to_one)  # Σ y weighs a of the row
        else:
            wrong = replace(loss, dE=lambda a, y, i=i: loss.dE(a, y) * (1 + only(i, 1e-3)))
            what, at, right = f"dE of the loss '{loss.name}'", a, loss.dE(a, y)
            size = 1e-3 * right.flat[i]
        text = wrong_loss(wrong, f, z, a, y)
        if not size:
            assert text is None
            continue
        place, stated, measured = told(text, what)
        assert place == pytest.approx(at.flat[i], rel=1e-4)
        assert stated - measured == pytest.approx(size, rel=0.2, abs=1e-4 * abs(right.flat[i]))


@np.errstate(all="ignore")
def test_a_loss_is_asked_only_within_the_range_of_the_output():
    """log a of a = 1e-9 takes steps below that, and at the very end none can be taken."""
    f = ACTIVATIONS["sigmoid"]
    loss = Loss("two logs", E=lambda a, y: -np.log(a) - np.log(1 - a), dE=lambda a, y: 1 / (1 - a) - 1 / a)
    a = np.array([[1e-9, 0.5, 1 - 1e-9, 0.0, 1.0]])
    assert wrong_loss(loss, f, 0 * a, a, a) is None
    for i in range(3):  # also where only the one or the other end is near
        bump = np.where(np.arange(5) == i, 1 + 0.01 * np.abs(loss.dE(a, a)), 0)
        wrong = replace(loss, dE=lambda a, y, bump=bump: loss.dE(a, y) + bump)
        text = wrong_loss(wrong, f, 0 * a, a, a)
        place, _, measured = told(text, "dE of the loss 'two logs'")
        assert place == pytest.approx(a[0, i], rel=1e-5)
        assert measured == pytest.approx(loss.dE(a, a)[0, i], rel=1e-3, abs=1e-6)


def test_a_losss_kinks_are_left_out():
    f = ACTIVATIONS["identity"]
    loss = replace(LOSSES["absolute_error"], dE=lambda a, y: np.where(a >= y, 1.0, -1.0))
    a, y = np.array([[0.5, 2.0, 7.0]]), np.array([[0.5, 3.0, -7.0]])
    assert wrong_loss(loss, f, a, a, y) is None
    for kinks in ((), (1.0,)):
        text = wrong_loss(replace(loss, kinks=kinks), f, a, a, y)
        assert told(text, "dE of the loss 'absolute_error'") == (0.5, 1, 0)
    wrong = replace(loss, dE=lambda a, y: np.where(a > 5, 1.1, loss.dE(a, y)))
    assert told(wrong_loss(wrong, f, a, a, y), "dE of the loss 'absolute_error'") == (7, 1.1, 1)


def test_a_loss_is_asked_from_z_only_where_it_joins_and_has_that_form():
    loss = Loss("l", lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), joined_output="identity")
    a, y = np.array([[0.5, 2.0]]), np.array([[0.1, 0.4]])
    assert wrong_loss(loss, ACTIVATIONS["identity"], a, a, y) is None
    half = replace(loss, E_z=lambda z, y: 7 * z)  # wrong, and of no concern to another output
    assert wrong_loss(half, ACTIVATIONS["tanh"], a, np.tanh(a), y) is None
    assert "a - y of the loss" in wrong_loss(half, ACTIVATIONS["identity"], a, a, y)


def test_a_difference_is_told_from_its_allowance():
    told, at = np.array([True, True, False]), np.array([1.0, 2.0, 3.0])
    slopes, doubt = np.array([5.0, 0.2, 9.0]), np.zeros(3)

    def of(stated, doubt=doubt, told=told):
        return difference("f'", np.array(stated), (slopes, doubt), told, "z", at)

    assert of([5.0, 0.2, 0.0]) is None
    assert of([5.0 + 4.9e-5, 0.2 + 0.9e-5, 0.0]) is None
    assert of([5.0 + 5.1e-5, 0.2, 0.0]) == ("f' is not the slope: at z = 1 it is 5.0001, but the slope is 5")
    assert "at z = 2 " in of([5.0, 0.2 + 1.1e-5, 0.0])
    assert "at z = 2 " in of([5.0 + 1e-3, 0.3, 0.0])
    assert of([5.0, 0.3, 0.0], np.array([0.0, 0.2, 0.0])) is None
    assert of([7.0, 0.3, 0.0], told=np.zeros(3, bool)) is None
