"""Densities in pictures: bars that stay within bounds, contours that enclose the mass they name."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.path import Path
from numpy.typing import NDArray

import fermiac as fm
from fermiac.plotting.marginals import MASSES, density, edges_of
from fermiac.targets import transforms

Array = NDArray[np.float64]
RATE = fm.distributions.Exponential(1.0)


def bars(ax: Any) -> tuple[Array, Array]:
    heights, edges, _ = ax.patches[-1].get_data()
    return heights, edges


def equal(n: int) -> Array:
    return np.full(n, 1 / n)


@pytest.mark.parametrize("bounds", [(0.0, np.inf), (-np.inf, np.inf)])
def test_the_first_bar_of_a_positive_parameter_is_as_high_as_its_density(
    bounds: tuple[float, float],
) -> None:
    x = RATE.sample(40_000, rng=0)[:, 0]
    edges = edges_of(x, equal(x.size), bounds)
    assert edges[0] == 0.0 if np.isfinite(bounds[0]) else 0 < edges[0] < 2e-3
    heights = np.histogram(x, edges)[0] / x.size / np.diff(edges)
    exact = -np.diff(np.exp(-edges)) / np.diff(edges)
    # A bar that began below 0 would be half as high.
    assert heights[0] == pytest.approx(exact[0], rel=0.1)
    assert np.all(np.diff(heights[:8]) < 0)


def test_bars_at_two_bounds_are_level() -> None:
    x = fm.distributions.Uniform(-2.0, 3.0).sample(100_000, rng=1)[:, 0]
    edges = edges_of(x, equal(x.size), (-2.0, 3.0))
    assert (edges[0], edges[-1]) == (-2.0, 3.0)
    heights = np.histogram(x, edges)[0] / x.size / np.diff(edges)
    assert np.abs(heights / 0.2 - 1).max() < 0.2


def test_a_bound_far_away_is_not_drawn() -> None:
    x = fm.distributions.Normal(10.0, 1.0).sample(1000, rng=1)[:, 0]
    assert edges_of(x, equal(1000), (0.0, np.inf))[0] > 5
    # Neither is what lies beyond one, if all points are equal.
    assert edges_of(np.zeros(5), equal(5), (0.0, 1.0))[0] == 0.0


def test_bounds_are_those_of_priors_laws_and_transforms() -> None:
    prior = [RATE, fm.distributions.Uniform(-1.0, 1.0), fm.distributions.Normal()]
    known = [[0, np.inf], [-1, 1], [-np.inf, np.inf]]
    r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), prior, n_live=50, rng=0, dlogz=1.0)
    np.testing.assert_array_equal(r.bounds, known)
    for ax, (low, high) in zip(r.plot_marginals(), known, strict=True):
        assert bars(ax)[1][0] >= low
        assert bars(ax)[1][-1] <= high
    corner = r.plot_corner(columns=[1, 0])
    assert corner[1, 0].get_ylim()[0] == bars(corner[1, 1])[1][0] == 0.0
    assert corner[1, 0].get_xlim() == (-1.0, 1.0)
    np.testing.assert_array_equal(r.resample(50, rng=0).bounds, known)
    some = r._coordinates([2, 0])
    np.testing.assert_array_equal(some.bounds, [known[2], known[0]])

    law = fm.targets.law_density(fm.distributions.Product([RATE, fm.distributions.Normal()]))
    how: dict[str, Any] = {"kernel": "rwm", "n_draws": 20, "n_warmup": 20, "rng": 0}
    with pytest.warns(fm.errors.ConvergenceWarning):
        s = fm.mcmc.sample(law, transforms=[transforms.positive(), transforms.identity()], **how)
    np.testing.assert_array_equal(s.bounds, [[0, np.inf], [-np.inf, np.inf]])
    assert np.isinf(fm.Sample.from_arrays(np.ones((5, 2))).bounds).all()


def test_bounds_are_kept_in_files_and_merged(tmp_path: Any) -> None:
    r, again = (
        fm.nested.sample(lambda x: -x[:, 0], [RATE], n_live=50, rng=seed, dlogz=1.0)
        for seed in (0, 1)
    )
    r.save(tmp_path / "run")
    np.testing.assert_array_equal(fm.load(tmp_path / "run").bounds, [[0, np.inf]])
    one, other = r.resample(30, rng=2), again.resample(30, rng=3)
    np.testing.assert_array_equal(one.merge(other).bounds, [[0, np.inf]])
    free = fm.Sample.from_arrays(other.draws, log_densities=other.log_densities, seed=4)
    assert np.isinf(one.merge(free).bounds).all()


def inside_of(ax: Any, points: Array) -> list[float]:
    """Return the share of points inside of every contour, the largest first."""
    (found,) = [c for c in ax.collections if isinstance(c, ContourSet)]
    shares = []
    for path in found.get_paths():
        # Holes count by the even-odd rule.
        crossings = np.zeros(len(points), int)
        for polygon in path.to_polygons(closed_only=False):
            crossings += Path(polygon).contains_points(points)
        shares.append(float(np.mean(crossings % 2)))
    return shares


def ridge(n: int) -> Array:
    z = fm.random.Stream(3).normal((n, 2))
    return np.column_stack([z[:, 0], 0.99 * z[:, 0] + 0.14 * z[:, 1]])


def modes(n: int) -> Array:
    z = fm.random.Stream(4).normal((n, 2))
    z[: n // 2] = 5 + 0.1 * z[: n // 2]
    return z


def corner(n: int) -> Array:
    return RATE.sample(2 * n, rng=5).reshape(n, 2)


NONE, POSITIVE = [[-np.inf, np.inf]] * 2, [[0, np.inf]] * 2


@pytest.mark.parametrize(
    ("make", "bounds"), [(ridge, NONE), (modes, NONE), (corner, POSITIVE), (corner, NONE)]
)
def test_contours_enclose_the_mass_that_they_name(make: Any, bounds: Any) -> None:
    n = 20_000
    points = make(2 * n)[::2]
    fresh = make(2 * n)[1::2]
    ax = plt.subplots()[1]
    edges = edges_of(points[:, 0], equal(n), bounds[0]), edges_of(points[:, 1], equal(n), bounds[1])
    density(ax, points, equal(n), edges, np.asarray(bounds, dtype=float))
    wide, narrow = inside_of(ax, fresh)
    assert wide == pytest.approx(0.9, abs=0.02)
    assert narrow == pytest.approx(0.5, abs=0.03)


def test_contours_are_those_of_the_law() -> None:
    """At a corner of the support the contours of a product of exponentials are straight."""
    points = corner(40_000)
    ax = plt.subplots()[1]
    edges = edges_of(points[:, 0], equal(40_000), (0, np.inf))
    density(ax, points, equal(40_000), (edges, edges), np.asarray(POSITIVE, dtype=float))
    (found,) = [c for c in ax.collections if isinstance(c, ContourSet)]
    # x + y is Gamma(2): half of the mass lies below 1.678, nine tenths below 3.890.
    for path, level in zip(found.get_paths(), (3.890, 1.678), strict=True):
        on = path.vertices[(path.vertices > 0.05).all(axis=1)]
        assert len(on) > 15  # fine cells
        assert np.abs(on.sum(axis=1) / level - 1).max() < 0.12


def test_a_legend_names_the_contours() -> None:
    z = fm.random.Stream(0).normal((500, 3))
    axes = fm.Sample.from_arrays(z).plot_pairs()
    texts = [text.get_text() for text in axes[0, 2].get_legend().get_texts()]
    assert texts == ["50 % of the mass inside", "90 % of the mass inside"]
    widths = [line.get_linewidth() for line in axes[0, 2].get_legend().get_lines()]
    assert widths == list(MASSES.values())
    drawn = next(c for c in axes[2, 0].collections if isinstance(c, ContourSet))
    np.testing.assert_array_equal(drawn.get_linewidths(), widths[::-1])
