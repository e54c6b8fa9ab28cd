"""The starts of the chains, and the check of the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from forms import DIM, formula, slope
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
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


def test_jitter_is_uniform_about_zero() -> None:
    x = at(None, 4000)
    assert np.abs(x).max() < 2
    assert abs(scipy.stats.kstest(x.ravel() / 4 + 0.5, "uniform").statistic) < 0.02
    np.testing.assert_array_equal(x, at("jitter", 4000))
    np.testing.assert_array_equal(x[:3], at("jitter", 3))
    assert not np.array_equal(x, at("jitter", 4000, key=2))


def test_starts_without_density_are_drawn_anew() -> None:
    def quadrant(x: Array) -> Array:
        return np.where((x > 0.5).all(axis=1), 0.0, -np.inf)

    target = fm.targets.as_target(quadrant, 2, gradient=np.zeros_like)
    x = at("jitter", 500, target)
    assert (x > 0.5).all()
    assert abs(scipy.stats.kstest((x.ravel() - 0.5) / 1.5, "uniform").statistic) < 0.06
    np.testing.assert_array_equal(x[:9], at("jitter", 9, target))
    law = fm.distributions.Normal([0.0, 0.0])
    y = at(law, 50, target)
    assert (y > 0.5).all()
    np.testing.assert_array_equal(y[:9], at(law, 9, target))


def test_starts_of_a_law_follow_it() -> None:
    x = at(LAW, 4000)
    z = (x.mean(axis=0) - MEAN) / np.sqrt(np.diag(COV) / 4000)
    assert np.abs(z).max() < 5
    np.testing.assert_array_equal(x[:5], at(LAW, 5))
    assert at(scipy.stats.multivariate_normal(MEAN, COV), 5).shape == (5, 3)


def test_given_points() -> None:
    points = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(at(points, 2), points)
    np.testing.assert_array_equal(at([1, 2, 3], 2), [[1.0, 2.0, 3.0]] * 2)
    np.testing.assert_array_equal(at(lambda n: points[:n], 2), points)
    np.testing.assert_array_equal(
        at(lambda n, rng: rng.normal((n, 3)), 2), fm.random.Stream(1).normal((2, 3))
    )


def test_a_start_without_density_is_named() -> None:
    target = fm.targets.law_density(fm.distributions.Gamma(2.0))
    with pytest.raises(TargetError, match=r"log-density is -inf at the start of chain 2"):
        at(np.array([[1.0], [2.0], [-3.0]]), 3, target)

    def gradient(x: Array) -> Array:
        out = np.zeros_like(x)
        out[:, 1] = np.nan
        return out

    flat = fm.targets.as_target(lambda x: np.zeros(len(x)), 3, gradient=gradient)
    with pytest.raises(TargetError, match=r"gradient is nan in coordinate 1 at the start of chain"):
        at(np.ones((2, 3)), 2, flat)
    with pytest.raises(TargetError, match="all 100 random starts had zero density"):
        at("jitter", 2, fm.targets.as_target(lambda x: np.full(len(x), -np.inf), 3, gradient))


def sampled(gradient: Any, f: Any = formula, dim: int = DIM, **more: Any) -> fm.Sample:
    given: dict[str, Any] = {"kernel": fm.mcmc.MALA(), "n_warmup": 0, "n_draws": 2, "rng": 0}
    return fm.mcmc.sample(f, dim, gradient, **{**given, **more})


def test_a_wrong_gradient_is_found() -> None:
    def wrong(x: Array) -> Array:
        out = slope(x)
        out[:, 2] *= 1.1
        return out

    with pytest.raises(TargetError, match=r"gradient: it is .* in coordinate 2 .* differences"):
        sampled(wrong)
    assert sampled(wrong, check_gradient=False).n_draws == 8
    assert sampled(slope).n_evals == sampled(slope, check_gradient=False).n_evals + 5
    with pytest.raises(TargetError, match="in coordinate 0"):
        sampled(lambda x: -slope(x))
    with pytest.raises(TargetError, match="in coordinate 1"):  # a scale of the parameters
        sampled(
            lambda x: slope(x) * [1.0, 2.0, 1.0], transforms={1: fm.targets.transforms.below(9)}
        )


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_right_gradients_pass(scale: float, offset: float) -> None:
    def f(x: Array) -> Array:
        return offset - 0.5 * ((x / scale) ** 2).sum(axis=1)

    for dim in (1, 40):
        sampled(lambda x: -x / scale**2, f, dim, init=np.full(dim, 0.7 * scale))


def test_gradients_pass_at_walls_and_corners() -> None:
    def wall(x: Array) -> Array:
        return np.where(x[:, 0] >= 1.0, -x[:, 0], -np.inf)

    sampled(lambda x: -np.ones_like(x), wall, 1, init=np.ones(1))
    sampled(lambda x: -np.sign(x), lambda x: -np.abs(x).sum(axis=1), 4, init=np.full(4, 0.3))


NAMED = {"params": {"a": (), "b": 2}, "kernel": "rwm", "n_warmup": 0, "n_draws": 1, "rng": 0}


def named_density(a, b):
    return -(a**2) - (b**2).sum(axis=1)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_starts_by_name():
    b = np.arange(8.0).reshape(4, 2) + 1
    points = np.column_stack([np.full(4, 3.0), b])
    runs = [
        fm.mcmc.sample(named_density, init=init, **NAMED).draws
        for init in (
            {"a": 3, "b": b},
            {"b": b, "a": np.full(4, 3.0)},
            points,
            lambda n: {"a": 3, "b": b},
        )
    ]
    for draws in runs[1:]:
        np.testing.assert_array_equal(draws, runs[0])
    same = fm.mcmc.sample(named_density, init={"a": 1.0, "b": [1.0, 2.0]}, **NAMED)
    assert same.draws.shape == (4, 1, 3)
    constrained = fm.mcmc.sample(
        named_density, init={"a": 1.0, "b": b}, transforms={"b": "log"}, **NAMED
    )
    assert (constrained.draws[..., 1:] > 0).all()


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"a": 1, "bb": [1, 2]}, "no parameter 'bb'; did you mean 'b'"),
        ({"a": 1}, "'b' is missing"),
        ({"a": 1, "b": [1, 2, 3]}, "last axes must be"),
        ({"a": np.ones(3), "b": np.ones((4, 2))}, "do not broadcast"),
        ({"a": np.ones(3), "b": [1, 2]}, r"\(4, 3\)"),
        ({"a": "x", "b": [1, 2]}, r"init\['a'\]"),
        ({"a": np.nan, "b": [1, 2]}, "NaN"),
    ],
)
def test_starts_by_name_that_do_not_fit(init, message):
    with pytest.raises(ArgumentError, match=message):
        fm.mcmc.sample(named_density, init=init, **NAMED)
    with pytest.raises(ArgumentError, match="have no names"):
        fm.mcmc.sample(lambda x: -(x**2).sum(axis=1), 2, kernel="rwm", init={"a": 1})
