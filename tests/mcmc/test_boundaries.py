"""Boundaries of the support, where starts and trajectories have no density."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning, TargetError
from fermiac.mcmc.boundaries import at_draws, at_starts
from fermiac.targets import as_target

Array = NDArray[np.float64]


def normal_in(low: float, high: float, where: slice = slice(None)) -> fm.targets.LogDensity:
    """A standard normal law in five coordinates, cut off in some of them."""

    def cut(x: Array) -> Array:
        part = x[:, where]
        inside = ((part >= low) & (part <= high)).all(axis=1)
        return np.where(inside, -0.5 * (x**2).sum(axis=1), -np.inf)

    return as_target(cut, 5, gradient=lambda x: -x)


def test_the_error_of_a_half_normal_law_names_the_transform() -> None:
    def half(x: Array) -> Array:
        return np.where((x >= 0).all(axis=1), -0.5 * (x**2).sum(axis=1), -np.inf)

    with pytest.raises(TargetError, match=r"0 below 0 in .*transforms=\{range\(0, 12\): 'log'\}"):
        fm.mcmc.sample(half, 12, lambda x: -x, rng=0)
    s = fm.mcmc.sample(half, 12, lambda x: -x, transforms={range(12): "log"}, rng=0)
    assert s.warnings == ()
    assert abs(s.draws.mean() - np.sqrt(2 / np.pi)) < 0.02


@pytest.mark.parametrize(
    ("low", "high", "block"),
    [
        (0.0, np.inf, "'log'"),
        (0.0, 1.0, "'logit'"),
        (2.0, np.inf, "transforms.above(2)"),
        (0.25, 3.5, "transforms.bounded(0.25, 3.5)"),
        (-np.inf, 0.004, "transforms.below(0.004)"),
    ],
)
def test_each_kind_of_boundary_has_its_transform(low: float, high: float, block: str) -> None:
    advice, n_evals = at_starts(normal_in(low, high), ())
    assert f"range(0, 5): {block}" in advice
    assert n_evals < 2000


def test_boundaries_of_some_coordinates_are_named() -> None:
    target = normal_in(0.0, np.inf, slice(1, 4, 2))
    advice, _ = at_starts(target, ("a", "b", "c", "d", "e"))
    assert "below 0 in coordinates 'b', 'd'" in advice
    assert "{'b': 'log', 'd': 'log'}" in advice


def test_a_boundary_that_moves_with_other_coordinates_is_not_named() -> None:
    ordered = as_target(lambda x: np.where(x[:, 0] < x[:, 1], -(x**2).sum(axis=1), -np.inf), 2)
    assert at_starts(ordered, ())[0] == ""


def test_nothing_is_said_without_a_point_in_the_support() -> None:
    nowhere = as_target(lambda x: np.full(len(x), -np.inf), 3)
    assert at_starts(nowhere, ()) == ("", 800)
    draws = np.zeros((10, 5))
    assert at_draws(normal_in(0.0, 1.0), draws, (), most=100) == ("", 0)


def test_trajectories_that_leave_the_support_name_its_boundaries() -> None:
    with pytest.warns(ConvergenceWarning, match=r"left the support: .* outside \[-1, 1\]"):
        s = fm.mcmc.sample(normal_in(-1.0, 1.0), n_warmup=200, n_draws=200, rng=0)
    assert any("transforms.bounded(-1, 1)" in text for text in s.warnings)


def test_divergences_of_a_density_without_boundaries_name_none() -> None:
    def funnel(x: Array) -> tuple[Array, Array]:
        v, rest = x[:, :1], x[:, 1:]
        squares = (rest**2).sum(axis=1) * np.exp(-v[:, 0])
        value = -(v[:, 0] ** 2) / 18 - 0.5 * squares - 2 * v[:, 0]
        return value, np.hstack([-v / 9 + 0.5 * squares[:, None] - 2, -rest * np.exp(-v)])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kernel = fm.mcmc.NUTS(target_accept=0.6)
        s = fm.mcmc.sample(funnel, 5, gradient=True, kernel=kernel, n_draws=400, rng=0)
    assert s.stats["diverging"].any()
    assert not any("support" in str(w.message) for w in caught)
