"""Warm-ups that hopeless starts cannot spoil."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

import fermiac as fm
from fermiac.errors import ConvergenceWarning
from fermiac.mcmc.init_rescue import rescued

Array = NDArray[np.float64]

N = 200
NAMES = ["mu", "phi", "theta", "log_sigma"]


def series() -> Array:
    """An ARMA(1, 1) series with coefficients 0.95 and 0.2, and noise of deviation 0.15."""
    noise = 0.15 * np.random.default_rng(11).normal(size=N)
    moved = noise + 0.2 * np.concatenate([[0.0], noise[:-1]])
    return np.asarray(lfilter([1.0], [1.0, -0.95], moved))


Y = series()


#: By importance sampling with 60,000 draws of a Student law, effective number 45,000.
MEANS = np.array([0.006423, 0.91287, 0.22873, -1.96852])
DEVIATIONS = np.array([0.012497, 0.031804, 0.072799, 0.050794])


def arma(x: Array) -> tuple[Array, Array]:
    """The posterior of posteriordb's arma11 on the unconstrained space, with its gradient."""
    values, gradients = np.empty(len(x)), np.empty_like(x)
    with np.errstate(all="ignore"):
        for i, (mu, phi, theta, log_sigma) in enumerate(x):
            before = np.concatenate([[mu], Y[:-1]])
            filtered = [1.0], [1.0, theta]
            error = lfilter(*filtered, Y - mu - phi * before)
            ones = np.ones(N)
            ones[0] += phi
            late = np.concatenate([[0.0], error[:-1]])
            slopes = lfilter(*filtered, [-ones, -before, -late])
            precision, scale = np.exp(-2 * log_sigma), (np.exp(log_sigma) / 2.5) ** 2
            squares = precision * error @ error
            prior = mu**2 / 200 + (phi**2 + theta**2) / 8 + np.log1p(scale)
            values[i] = (1 - N) * log_sigma - 0.5 * squares - prior
            gradients[i, :3] = -precision * (slopes @ error) - [mu / 100, phi / 4, theta / 4]
            gradients[i, 3] = 1 - N + squares - 2 * scale / (1 + scale)
    good = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
    return np.where(good, values, -np.inf), gradients


def sample(**keywords: Any) -> fm.mcmc.Chains:
    keywords = {"names": NAMES, "check": False, "n_draws": 500} | keywords
    return fm.mcmc.sample(arma, 4, True, **keywords)


def test_an_arma_posterior_is_right_for_all_seeds() -> None:
    for seed in range(8):
        s = sample(rng=seed)  # a warning would be an error
        assert s.n_evals < 60_000
        assert fm.diagnostics.rhat(s.draws).max() < 1.02
        e = s.expect(lambda x: np.concatenate([x, (x - MEANS) ** 2], axis=1))
        assert (abs(e.mean - [*MEANS, *DEVIATIONS**2]) < 4.5 * e.stderr).all(), seed


def test_a_rescued_start_depends_on_its_chain_alone() -> None:
    four = sample(rng=2, n_chains=4, pool=False, n_warmup=0, n_draws=1, check_gradient=False)
    two = sample(rng=2, n_chains=2, pool=False, n_warmup=0, n_draws=1, check_gradient=False)
    np.testing.assert_array_equal(four.draws[:2], two.draws)


def test_evaluations_are_counted() -> None:
    n = 0

    def counted(x: Array) -> tuple[Array, Array]:
        nonlocal n
        n += len(x)
        return arma(x)

    s = fm.mcmc.sample(
        counted,
        4,
        True,
        rng=0,
        n_warmup=0,
        n_draws=1,
        check=False,
        kernel=fm.mcmc.NUTS(step_size=0.001),
    )
    assert s.n_evals == n


def test_a_start_far_out_does_not_spoil_the_others() -> None:
    init = [
        [0.0, 0.5, 0.1, 0.0],
        [0.1, 0.2, -0.3, 0.0],
        [0.5, 1.0, 0.3, -1.0],
        [0.0, 0.1, 1.9, 0.0],
    ]
    with pytest.warns(ConvergenceWarning) as caught:
        s = sample(init=init, rng=0, check_gradient=False)
    assert any("chains 3: at the end of the warm-up" in str(w.message) for w in caught)
    assert fm.diagnostics.rhat(s.draws[:3]).max() < 1.02
    assert s.log_densities is not None
    assert s.log_densities[:3].min() > 250


def test_starts_move_only_where_that_gains_much() -> None:
    def target(scale: float, constant: float) -> Any:
        return fm.targets.as_target(
            lambda x: (constant - 0.5 * scale * (x**2).sum(axis=1), -scale * x), 2, gradient=True
        )

    def draw(k: int) -> Array:
        return np.random.default_rng(k).uniform(-2, 2, (3, 2))

    def starts(scale: float, constant: float) -> tuple[Any, Array, int]:
        density = target(scale, constant)
        return density, *rescued(density, draw(0), density._evaluate(draw(0), False)[0], draw)

    _, x, n_evals = starts(1e6, 0.0)
    np.testing.assert_array_equal(x, draw(0))
    assert n_evals == 0
    # A large constant makes starts suspect, but nothing is better than they are.
    _, x, n_evals = starts(1.0, -1e12)
    np.testing.assert_array_equal(x, draw(0))
    assert n_evals > 60
    # All draws are hopeless: climbs lead to where the excess is small.
    density, x, _ = starts(1e20, 0.0)
    assert (density._evaluate(x, False)[0] > -1.1e8).all()
