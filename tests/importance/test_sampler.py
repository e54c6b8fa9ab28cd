"""Trained samplers as laws: densities, draws, files, and their use in other calls."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches.importance import integrals
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.importance import Sampler

Array = NDArray[np.float64]
METHODS = ("sobol", "map", "mixture", "rotated")
BOXES: dict[str, Any] = {
    "finite": [(-1.0, 2.0), (0.0, 1.0)],
    "infinite": [(-np.inf, np.inf), (0.5, np.inf)],
    "below": [(-np.inf, 1.0), (0.0, 1.0)],
}


def f(x: Array) -> Array:
    """A correlated bump."""
    a, b = x[:, 0] - 0.5, x[:, 1] - 0.8
    return np.exp(-6 * (a**2 + b**2 - 1.2 * a * b))


def trained(method: str, box: str = "finite", **more: Any) -> Sampler:
    settings: dict[str, Any] = {"n": 20_000, "method": method, "rng": 3, **more}
    sampler = fm.importance.integrate(f, BOXES[box], **settings).sampler
    assert isinstance(sampler, Sampler)
    return sampler


@pytest.mark.parametrize("box", list(BOXES))
@pytest.mark.parametrize("method", METHODS)
def test_the_density_is_normalised_and_that_of_the_draws(method: str, box: str) -> None:
    q = trained(method, box)
    x = q.sample(40_000, rng=1)
    assert x.shape == (40_000, 2)
    # The mean of a density p over q at draws of q is the mass of p.
    law = fm.distributions.MultivariateNormal(np.array([0.4, 0.7]), 0.003 * np.eye(2))
    ratios = np.exp(law.log_density(x) - q.log_density(x))
    error = ratios.std() / np.sqrt(len(x))
    assert abs(ratios.mean() - 1) < 5 * error + 1e-3
    # Of q over p, cut to a disc, the same as the share of draws in the disc.
    z = law.sample(40_000, rng=2)
    inside = ((z - law.mean) ** 2).sum(axis=1) < 0.01
    mass = np.where(inside, np.exp(q.log_density(z) - law.log_density(z)), 0.0)
    share = (((x - law.mean) ** 2).sum(axis=1) < 0.01).mean()
    error = np.hypot(mass.std(), np.sqrt(share)) / np.sqrt(len(x))
    assert abs(mass.mean() - share) < 5 * error


@pytest.mark.parametrize("method", ["map", "sobol"])
def test_the_density_of_one_axis_integrates_to_one(method: str) -> None:
    e = fm.importance.integrate(lambda x: x[:, 0] ** 3, [(0, 2)], n=5000, method=method, rng=0)
    assert isinstance(e.sampler, Sampler)
    grid = (np.arange(200_000) + 0.5) / 100_000
    density = e.sampler.pdf(grid)
    assert density.mean() * 2 == pytest.approx(1, abs=1e-6)
    # The histogram of its points, of the map of a regular grid.
    x = e.sampler.from_unit((np.arange(100_000)[:, None] + 0.5) / 100_000)
    counts, edges = np.histogram(x, bins=50, range=(0, 2))
    expected = density.reshape(50, -1).mean(axis=1) * np.diff(edges)
    np.testing.assert_allclose(counts / 100_000, expected, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_files_and_pickles_give_the_same_sampler(method: str, tmp_path: Path) -> None:
    q = trained(method)
    path = tmp_path / "sampler.safetensors"
    q.save(path)
    x = q.sample(100, rng=0)
    for other in (Sampler.load(path), pickle.loads(pickle.dumps(q)), fm.load(path)):
        np.testing.assert_array_equal(other.sample(100, rng=0), x)
        np.testing.assert_array_equal(other.log_density(x), q.log_density(x))
    with pytest.raises(CheckpointError, match="Estimate is needed"):
        fm.Estimate.load(path)


@pytest.mark.parametrize("method", METHODS)
def test_a_sampler_serves_again(method: str) -> None:
    q = trained(method)
    first = fm.importance.integrate(f, BOXES["finite"], n=20_000, method=method, rng=3)
    again = fm.importance.integrate(f, BOXES["finite"], n=20_000, sampler=q, rng=9)
    further = fm.importance.integrate(
        f, BOXES["finite"], n=20_000, sampler=q, pilot_fraction=0.3, rng=9
    )
    assert again.stages == ()
    for e in (again, further):
        assert abs(e.mean - first.mean) < 6 * np.hypot(e.stderr, first.stderr) + 1e-12
    assert again.method == first.method


def test_it_is_a_law() -> None:
    q = trained("map")
    e = fm.importance.expect(lambda x: x[:, 0], q, n=20_000, rng=0)
    x = q.sample(50_000, rng=1)
    assert abs(e.mean - x[:, 0].mean()) < 6 * np.hypot(e.stderr, x[:, 0].std() / 200)
    assert q.dim == 2
    assert np.isnan(q.log_density([np.nan, 0.5]))
    assert q.log_density([5.0, 0.5]) == -np.inf
    assert q.log_density(np.zeros((3, 4, 2)) + 0.5).shape == (3, 4)
    assert "map of 2 axes" in repr(q)
    assert q.summary().names == ("x[0]", "x[1]")
    ends = q.from_unit(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert np.isfinite(ends).all()


def test_a_sampler_of_another_box_is_refused() -> None:
    q = trained("map")
    with pytest.raises(ArgumentError, match="trained for the bounds"):
        fm.importance.integrate(f, [(0, 1), (0, 1)], sampler=q, rng=0)
    with pytest.raises(ArgumentError, match="method"):
        fm.importance.integrate(f, BOXES["finite"], sampler=q, method="map", rng=0)
    with pytest.raises(ArgumentError, match="coordinates"):
        q.log_density(np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        q.from_unit(np.full((1, 2), 1.5))


def test_damaged_fields_are_refused() -> None:
    from dataclasses import replace

    q = trained("map")
    for change in (
        {"knots": q.knots[:-1]},
        {"knots": q.knots[::-1].copy()},
        {"share": 0.5},
        {"kind": "mixture"},
        {"scale": np.zeros(2)},
        {"n_knots": np.array([2, -3])},
    ):
        with pytest.raises(CheckpointError, match="cannot be used"):
            replace(q, **change)


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_singular_axes_are_resolved() -> None:
    problem = integrals.singular()
    e = fm.importance.integrate(problem.f, problem.bounds, method="map", rng=0)
    assert isinstance(e.sampler, Sampler)
    x = e.sampler.sample(20_000, rng=0)
    # An eighth of them is uniform; the others follow 0.6 x^-0.4.
    share = (x[:, 0] < 0.01).mean()
    assert abs(share - (0.125 * 0.01 + 0.875 * 0.01**0.6)) < 0.01
