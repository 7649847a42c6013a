"""Which method the check of a function takes, what it says of that, and what it draws."""

import numpy as np
import pytest

from bpnet import MLP, check_function, check_gradient

AT = np.array([1.0, 2.0, 3.0])


def square(v):
    return np.sum(v * v)


def gradient(v):
    return 2 * v


@pytest.mark.parametrize("method", ["auto", "complex"])
def test_an_analytic_function_is_stepped_in_the_complex_plane_without_a_word(method):
    report = check_function(square, gradient, AT, method=method)
    assert (report.method, report.why, report.ok) == ("complex", "", True)


def test_central_differences_that_were_asked_for_need_no_reason_and_no_complex_numbers():
    seen = []

    def watched(v):
        seen.append(v.dtype.kind)
        return float(np.sum(v * v))

    report = check_function(watched, gradient, AT, method="central")
    assert (report.method, report.why, report.ok) == ("central", "", True)
    assert set(seen) == {"f"}


def refuses_complex(v):
    if np.iscomplexobj(v):
        raise RuntimeError("no complex here")
    return float(np.sum(v * v))


@pytest.mark.parametrize(
    ("f", "why"),
    [
        (refuses_complex, "it refuses complex numbers, RuntimeError: no complex here"),
        (lambda v: float(np.sum(np.abs(v) ** 2)), "of complex numbers it returns a real one"),
    ],
)
def test_the_reason_for_differences_is_told(f, why):
    report = check_function(f, gradient, AT)
    assert (report.method, report.why, report.ok) == ("central", why, True)
    assert f"  method    central differences ({why})" in str(report).splitlines()


def test_a_kink_is_a_reason():
    report = check_function(
        lambda v: np.sum(np.maximum(v, 0)), lambda v: (v > 0) * 1.0, np.array([0.0, 1.0, -1.0])
    )
    assert (report.method, report.why) == ("central", "the slope jumps here")
    assert report.kink_names == ("[0]",)


def test_the_sample_is_that_of_seed_0():
    at = np.arange(1.0, 101.0)
    plain, seeded, other = (
        check_function(square, gradient, at, coordinates=10, **rng).k.tolist()
        for rng in ({}, {"rng": 0}, {"rng": 1})
    )
    assert plain == seeded
    assert plain != other


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (([["a"]], [[1.0]]), r"the gradient's W\[2\] must hold real numbers, but holds text"),
        (([np.eye(2)], [["a", "b"]]), r"the gradient's b\[2\] must hold real numbers"),
    ],
)
def test_a_claim_that_is_no_numbers_is_named_by_layer(claim, message):
    with pytest.raises(TypeError, match=message):
        check_gradient(MLP.init((2, 2), rng=0), [[1, 2]], [[1, 2]], gradient=claim)
