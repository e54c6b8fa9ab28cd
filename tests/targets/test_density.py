"""Log-densities: checks of points and values, of any form."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.stats
from forms import (
    DENSITIES,
    DIM,
    MEAN,
    SD,
    Make,
    law,
    points,
    slope,
)
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import fermiac as fm
from fermiac import targets
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]


@pytest.mark.parametrize("make", DENSITIES)
def test_a_log_density_is_an_integrand(make: Make) -> None:
    # E log p = minus the entropy.
    e = fm.importance.expect(make(), law(), n=20_000, rng=1)
    entropy = float(np.sum(scipy.stats.norm(MEAN, SD).entropy()))
    assert abs(e.mean + entropy) < 5 * e.stderr
    assert np.ndim(e.mean) == 0


@pytest.mark.parametrize("make", DENSITIES)
def test_points_are_checked(make: Make) -> None:
    target = make()
    for wrong in (np.zeros((4, DIM + 1)), np.zeros(DIM), np.zeros((2, DIM), complex), "text"):
        with pytest.raises(ArgumentError, match="x: "):
            target.log_density(wrong)
    assert target([[0] * DIM]).shape == (1,)
    with pytest.raises(ArgumentError, match=f"dim: 7 given .* dimension {DIM}"):
        fm.targets.as_target(target, 7)
    assert fm.targets.as_target(target, DIM) is target
    with pytest.raises(ArgumentError, match="gradient: given"):
        fm.targets.as_target(target, DIM, gradient=slope)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_may_not_be_is_named(bad: float) -> None:
    def f(x: Array) -> Array:
        values = np.full(len(x), -np.inf)
        values[137] = bad
        return values

    with pytest.raises(TargetError, match=rf"log-density is {bad} at row 137 of the batch"):
        fm.targets.as_target(f, DIM).log_density(points(200))


def test_gradients_must_be_finite_where_the_density_is_not_0() -> None:
    def f(x: Array) -> Array:
        return np.where(np.arange(len(x)) < 100, -np.inf, 0.0)

    def gradient(x: Array) -> Array:
        slopes = np.zeros(x.shape)
        slopes[[50, 137], 1] = np.nan
        return slopes

    target = fm.targets.as_target(f, DIM, gradient=gradient)
    with pytest.raises(TargetError, match="nan in coordinate 1 at row 137"):
        target.log_density_and_gradient(points(200))


def test_laws_without_a_handle_have_no_gradient() -> None:
    target = targets.law_density(scipy.stats.gumbel_l(1.0, 2.0))
    assert target.form == "python"
    assert not target.has_gradient
    x = np.array([[0.3], [2.0]])
    assert_allclose(target.log_density(x), scipy.stats.gumbel_l.logpdf(x[:, 0], 1.0, 2.0))
    with pytest.raises(ArgumentError, match="no gradient"):
        target.log_density_and_gradient(x)
    assert np.array_equal(pickle.loads(pickle.dumps(target)).log_density(x), target.log_density(x))
    assert targets.law_density(scipy.stats.norm(1.0, 2.0)).has_gradient
    with pytest.raises(ArgumentError, match="law"):
        targets.law_density("normal")


def test_a_density_is_exported_with_the_package() -> None:
    assert isinstance(fm.targets.funnel(2), fm.targets.BuiltinDensity)
    assert isinstance(fm.targets.funnel(2), fm.targets.LogDensity)
