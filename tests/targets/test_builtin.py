"""Built-in targets are frozen values: equality, hashes, pickles, texts."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from density_cases import (
    BINARY,
    CASES,
    X,
    points,
)

import fermiac as fm
from fermiac import targets


def test_derived_integrands_compare_by_what_they_are_made_of() -> None:
    make = [fm.targets.indicator, fm.targets.sobol_pick_freeze]
    made = [m(fm.targets.linear([1.0, c])) for m in make for c in (2.0, 3.0)]
    again = [pickle.loads(pickle.dumps(f)) for f in made]
    assert made == again
    assert len(set(made + again)) == 4
    assert repr(made[0]) == "indicator(linear([1.0, 2.0], 0.0))"


def test_negative_zero_hashes_like_zero() -> None:
    plus, minus = fm.targets.linear([0.0, 1.0]), fm.targets.linear([-0.0, 1.0])
    assert plus == minus
    assert hash(plus) == hash(minus)


def test_arguments_are_copied() -> None:
    c = np.array([1.0, 2.0])
    g = fm.targets.linear(c)
    c[0] = 100.0
    assert g == fm.targets.linear([1.0, 2.0])


@pytest.mark.parametrize("name", CASES)
def test_targets_are_values(name: str) -> None:
    target = CASES[name][0]
    copy = pickle.loads(pickle.dumps(target))
    assert copy == target
    assert hash(copy) == hash(target)
    assert repr(copy) == repr(target)
    assert copy.names == target.names
    x = points(name, 5)
    assert np.array_equal(copy.log_density(x), target.log_density(x))
    others = [other for key, (other, *_) in CASES.items() if key != name]
    assert target not in others
    with pytest.raises(AttributeError, match="frozen"):
        target.dim = 3


def test_reprs_are_short() -> None:
    assert repr(targets.logistic_regression(X, BINARY)) == (
        "logistic_regression(<83 x 4 array>, <83 array>)"
    )
    assert repr(CASES["linear_known"][0]).endswith("noise_sd=0.7)")
    assert repr(targets.eight_schools(True)) == "eight_schools(True)"
