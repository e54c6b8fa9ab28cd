"""Starts near modes, and normal laws along the way to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

import fermiac as fm
from fermiac.mcmc import init_search
from fermiac.mcmc.init import starts
from fermiac.mcmc.job import Job, Settings

Array = NDArray[np.float64]


MEAN = np.array([2.0, -30.0, 0.5])


COV = np.array([[4.0, 1.0, 0.3], [1.0, 25.0, 0.0], [0.3, 0.0, 0.25]])


LAW = fm.distributions.MultivariateNormal(MEAN, COV)


TARGET = fm.targets.law_density(LAW)


def at(init: Any, n: int = 6, target: Any = TARGET, key: int = 1) -> Array:
    settings = Settings(
        n_chains=n,
        n_warmup=0,
        n_draws=1,
        thin=1,
        pool=True,
        keep_warmup=False,
        keep_gradients=False,
    )
    kernel = fm.mcmc.MALA()
    job = Job(target=target, kernel=kernel, settings=settings, key=key, names=(), space=None)
    x, n_evals = starts(init, job)
    assert x.shape == (n, target.dim)
    assert n_evals >= n
    return x


@pytest.mark.parametrize("init", ["mode", "pathfinder"])
def test_a_climb_depends_on_its_chain_alone(init: str) -> None:
    np.testing.assert_array_equal(at(init, 4)[:2], at(init, 2))


def test_the_mode_is_found() -> None:
    x = at("mode", 12)
    assert np.abs((x - MEAN) / np.sqrt(np.diag(COV))).max() < 1
    assert len(np.unique(x, axis=0)) == 12


def test_pathfinder_draws_about_the_target() -> None:
    x = at("pathfinder", 100)
    white = np.linalg.solve(np.linalg.cholesky(COV), (x - MEAN).T).T
    assert np.abs(white.mean(axis=0)).max() < 0.5
    assert 0.5 < white.std(axis=0).min()
    assert white.std(axis=0).max() < 1.6
    banana = at("pathfinder", 4, fm.targets.banana())
    assert np.isfinite(fm.targets.banana().log_density(banana)).all()


@pytest.mark.parametrize(("dim", "m"), [(7, 3), (3, 2), (2, 4)])
def test_the_normal_law_of_a_quasi_newton_step(dim: int, m: int) -> None:
    rng = np.random.default_rng(dim)
    root = rng.normal(size=(dim, dim))
    precision = root @ root.T + np.eye(dim)
    steps = [rng.normal(size=dim) for _ in range(m)]
    bends = [precision @ step for step in steps]
    a = np.exp(rng.normal(size=dim))
    x, slope_ = rng.normal(size=dim), rng.normal(size=dim)
    # The textbook's updates, one after the other.
    inverse = np.diag(a)
    for s, z in zip(steps, bends, strict=True):
        left = np.eye(dim) - np.outer(s, z) / (s @ z)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ z)
    law = init_search._law(x, slope_, a, steps, bends)
    assert law is not None
    np.testing.assert_allclose(law.mean, x + inverse @ slope_)
    points, density = law.draws(np.vstack([np.zeros(dim), np.eye(dim)]))
    moved = points[1:] - points[0]
    np.testing.assert_allclose(moved.T @ moved, inverse, atol=1e-9 * np.abs(inverse).max())
    exact = scipy.stats.multivariate_normal(law.mean, (inverse + inverse.T) / 2).logpdf(points)
    np.testing.assert_allclose(density, exact + 0.5 * dim * np.log(2 * np.pi))


def test_the_diagonal_of_a_quasi_newton_step() -> None:
    rng = np.random.default_rng(5)
    a, step = np.exp(rng.normal(size=4)), rng.normal(size=4)
    bend = np.diag([1.0, 3.0, 0.2, 5.0]) @ step
    # The textbook's update of the Hessian, scaled so that it fits along the bend.
    hessian = np.diag(1 / a) * (bend @ (a * bend)) / (step @ bend)
    along = hessian @ step
    hessian += np.outer(bend, bend) / (step @ bend) - np.outer(along, along) / (step @ along)
    np.testing.assert_allclose(init_search._diagonal(a, step, bend), 1 / np.diag(hessian))
