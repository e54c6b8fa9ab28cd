"""Layouts: what is accepted, what is refused, and how the refusal reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fermiac._base import layout as fit

POINTS: fit.Layout = {
    "n": fit.size("n"),
    "draws": fit.array("f", "n", "d", finite=True),
    "starts": fit.row_starts("rows", "entries"),
    "ids": fit.array("iu", "entries", low=0, below="n", bits=32),
    "more": fit.maybe(fit.record({"scale": fit.real}, {"names": fit.texts}, rest=False)),
}


def good() -> dict[str, Any]:
    return {
        "n": 3,
        "draws": np.zeros((3, 2)),
        "starts": np.array([0, 2, 5]),
        "ids": np.array([0, 2, 1, 0, 2], dtype=np.uint32),
        "more": {"scale": 1.0, "names": ("a",)},
    }


def test_what_fits_is_accepted_and_sizes_are_bound() -> None:
    sizes: fit.Sizes = {}
    fit.require(good(), POINTS, sizes)
    assert sizes == {"n": 3, "d": 2, "rows": 2, "entries": 5}
    fit.require({**good(), "more": None}, POINTS)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("n", True, "True for an integer"),
        ("n", 2**200, "a int outside"),
        ("draws", np.zeros((4, 2)), "n is 4 here and 3 elsewhere"),
        ("draws", np.zeros(3), r"an array of shape \(3,\) for \(n, d\)"),
        ("draws", np.full((3, 2), np.nan), "not finite"),
        ("draws", [[0.0]], "a list for an array"),
        ("draws", np.zeros((3, 2), int), "int64 for real numbers"),
        ("starts", np.array([1, 2, 5]), "does not start at 0"),
        ("starts", np.array([0, 6, 5]), "numbers that fall"),
        ("starts", np.array([], int), "are needed"),
        ("starts", np.array([0, 2, 4]), "entries is 5 here and 4 elsewhere"),
        ("ids", np.array([0, 3, 1, 0, 2]), "not below 3"),
        ("ids", np.array([0, -1, 1, 0, 2]), "below 0"),
        ("ids", np.zeros(5, np.int8), "int8 for integers"),
        ("more", {}, "no 'scale' in it"),
        ("more", {"scale": 1.0, "x": 1}, "'x' is not known"),
        ("more", {"scale": "1"}, "scale: '1' for a number"),
        ("more", {"scale": 1.0, "names": [1]}, r"names: \[0\]: 1 for a text"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: Any, why: str) -> None:
    with pytest.raises(fit.Misfit, match=why):
        fit.require({**good(), name: value}, POINTS)


def test_a_missing_field_is_named() -> None:
    content = good()
    del content["ids"]
    with pytest.raises(fit.Misfit, match="no 'ids' in it"):
        fit.require(content, POINTS)


def test_numbers_and_arrays_of_one_shape() -> None:
    pair = {"low": fit.figures("*shape"), "high": fit.figures("*shape")}
    fit.require({"low": 1.0, "high": 2}, pair)
    fit.require({"low": np.ones((2, 3)), "high": np.ones((2, 3))}, pair)
    with pytest.raises(fit.Misfit, match="high: shape is"):
        fit.require({"low": np.ones(2), "high": 2.0}, pair)


def test_a_choice_that_fails_binds_no_size() -> None:
    both = fit.either(fit.array("f", "n", 2), fit.array("f", "m"))
    sizes: fit.Sizes = {}
    both(np.zeros(3), sizes)
    assert sizes == {"m": 3}


def test_empty_arrays_have_no_endless_axes():
    with pytest.raises(fit.Misfit, match="an empty array"):
        fit.figures()(np.empty((0, 2**40)), {})
    fit.figures()(np.empty((0, 3)), {})
