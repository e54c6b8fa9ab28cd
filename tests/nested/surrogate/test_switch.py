"""Tests of runs that continue on a surrogate from a level."""

from __future__ import annotations

from typing import Any

import numpy as np
from nested_surrogates import EXACT, Counted, gaussian, sampled
from scipy.special import logsumexp

from fermiac import _core
from fermiac.nested.surrogate.switch import joined


def test_switch_in_the_middle_of_a_run() -> None:
    pulls = []
    for seed in range(4):
        f = Counted(gaussian)
        r = sampled(f, seed=seed, n_live=200, mode="switch")
        s = r.surrogate
        assert not s.rejected
        assert f.n == s.n_true
        assert s.n_surrogate > 1000
        pulls.append((r.log_evidence - EXACT) / r.log_evidence_stderr)
        assert np.isfinite(r.bootstrap(20, rng=0)).all()
    assert np.abs(pulls).max() < 5
    assert np.square(pulls).sum() < 18.5


def test_switch_keeps_the_volume() -> None:
    # Perfect draws from intervals; those of the "surrogate" lie beside those of the likelihood.
    rng = np.random.default_rng(5)
    n, k, rounds, width, shift = 100, 10, 600, 0.1, 0.06
    exact = np.log(width * np.sqrt(2 * np.pi))

    def ell(u: Any) -> Any:
        return -0.5 * ((u - 0.5) / width) ** 2

    def other(u: Any) -> Any:
        return ell(u - shift)

    def drawn(centre: float, level: float, size: int) -> Any:
        half = width * np.sqrt(-2 * level)
        return rng.uniform(max(centre - half, 0.0), min(centre + half, 1.0), size)

    def run(values: Any, centre: float, u: Any, births: Any, n_batches: int) -> tuple[Any, Any]:
        dead: list[tuple[Any, Any]] = []
        for _ in range(n_batches):
            worst = np.argsort(values(u))[:k]
            level = values(u)[worst[-1]]
            dead.append((u[worst], births[worst]))
            u[worst], births[worst] = drawn(centre, level, k), level
        all_u, all_births = zip(*dead, (u, births), strict=True)
        return np.concatenate(all_u), np.concatenate(all_births)

    errors, means = [], []
    for _ in range(rounds):
        u, births = run(ell, 0.5, rng.random(n), np.full(n, -np.inf), 13)
        level = np.sort(ell(u))[129]
        fresh = drawn(0.5 + shift, level, n)
        v, v_births = run(other, 0.5 + shift, fresh, np.full(n, level), 50)
        first = columns(u, ell(u), births)
        second = columns(v, other(v), v_births)
        raw = joined(first, other(u), second, ell(v), level)
        order = np.argsort(raw["log_likelihoods"], kind="stable")
        got = _core.nested_volumes(raw["log_likelihoods"][order], raw["births"][order])
        log_p = got["log_prior_masses"] + raw["log_densities"][order]
        log_z = logsumexp(log_p)
        errors.append(log_z - exact)
        means.append(np.exp(log_p - log_z) @ raw["draws"][order, 0] - 0.5)
    # A part that counts twice, or not at all, moves the first by a tenth, or the second by 0.006.
    for values, largest in ((errors, 0.01), (means, 0.001)):
        stderr = np.std(values) / np.sqrt(rounds)
        assert stderr < largest
        assert abs(np.mean(values)) < 5 * stderr


def columns(u: Any, values: Any, births: Any) -> dict[str, Any]:
    return {
        "draws": u[:, None],
        "unit_draws": u[:, None],
        "log_likelihoods": values,
        "births": births,
        "lineages": np.arange(len(u)),
        "families": np.arange(len(u)),
    }
