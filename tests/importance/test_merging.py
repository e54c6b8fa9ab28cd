"""Merging of evidences: the mean of Z with weights fixed in advance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning

LAW = fm.distributions.Normal([0.0, 0.0], 2.0)
TRUTH = 3.0


def density(x: Any) -> Any:
    return TRUTH - 0.5 * ((x - 0.5) ** 2).sum(axis=1) - np.log(2 * np.pi)


def run(seed: int, n: int = 1000, **given: Any) -> Any:
    return fm.importance.evidence(density, LAW, **{"n": n, "rng": seed, "scheme": "snis", **given})


def test_the_mean_of_the_evidences() -> None:
    a, b = run(1, 1000), run(2, 3000)
    merged = a.merge(b)
    z = 0.25 * np.exp(a.log_evidence) + 0.75 * np.exp(b.log_evidence)
    assert merged.log_evidence == pytest.approx(np.log(z), abs=1e-14)
    errors = np.exp([a.log_evidence, b.log_evidence]) * [
        a.log_evidence_stderr,
        b.log_evidence_stderr,
    ]
    assert merged.log_evidence_stderr == pytest.approx(
        np.hypot(0.25 * errors[0], 0.75 * errors[1]) / z
    )
    weights = merged.sample.log_weights
    assert np.log(np.mean(np.exp(weights))) == pytest.approx(merged.log_evidence, abs=1e-12)
    assert merged.ess == pytest.approx(a.ess + b.ess, rel=0.1)
    assert merged.converged
    assert merged.settings["n"] == 4000
    # Averages over the points use all of them.
    e = merged.sample.expect(lambda x: x[:, 0])
    assert abs(e.mean - 0.5) < 5 * e.stderr
    back = b.merge(a)
    assert (back.log_evidence, back.log_evidence_stderr) == (
        merged.log_evidence,
        merged.log_evidence_stderr,
    )


def test_the_error_holds_and_the_mean_has_no_bias() -> None:
    pulls, z = [], []
    for block in range(60):
        merged = fm.merge([run(1000 + 8 * block + k, 200) for k in range(8)])
        pulls.append((merged.log_evidence - TRUTH) / merged.log_evidence_stderr)
        z.append(np.exp(merged.log_evidence - TRUTH))
    assert 0.88 < np.mean(np.abs(pulls) < 2) <= 1
    assert abs(np.mean(z) - 1) < 5 * np.std(z) / np.sqrt(60)


def test_evidences_that_do_not_match() -> None:
    a = run(1)
    with pytest.raises(ArgumentError, match="both came from the seed 1"):
        a.merge(run(1))
    other = fm.importance.evidence(
        lambda x: -0.5 * x[:, 0] ** 2, fm.distributions.Normal(), n=1000, rng=2
    )
    with pytest.raises(ArgumentError, match="the points of evidence 1"):
        a.merge(other)
    with pytest.raises(ArgumentError, match="evidences are needed"):
        a.merge(a.sample)
    off = replace(run(2), log_evidence=TRUTH + 5)
    with pytest.warns(ConvergenceWarning, match="differ by more"):
        assert not a.merge(off).converged


def test_a_run_that_met_nothing() -> None:
    empty = replace(
        run(2),
        log_evidence=-np.inf,
        log_evidence_stderr=np.inf,
        sample=replace(run(2).sample, log_weights=np.full(1000, -np.inf)),
    )
    a = run(1)
    with pytest.warns(ConvergenceWarning, match="1 of 2 runs met no point"):
        merged = a.merge(empty)
    # Z of half the points is 0.
    assert merged.log_evidence == pytest.approx(a.log_evidence - np.log(2))
    assert merged.log_evidence_stderr == pytest.approx(a.log_evidence_stderr)


def test_the_sampler_of_merged_calls_is_the_mixture_of_theirs() -> None:
    wide = fm.distributions.Normal([0.0, 0.0], 4.0)
    a, b, c = (fm.importance.evidence(density, wide, n=3000, rng=k) for k in (3, 1, 2))
    merged, back = a.merge(b, c), c.merge(a, b)
    q = merged.sampler
    assert q.means.shape[0] == sum(one.sampler.means.shape[0] for one in (a, b, c))
    for name in ("means", "covariances", "shares"):
        np.testing.assert_array_equal(getattr(q, name), getattr(back.sampler, name))
    x = q.sample(50, rng=0)
    mixture = np.mean([np.exp(one.sampler.log_density(x)) for one in (a, b, c)], axis=0)
    np.testing.assert_allclose(np.exp(q.log_density(x)), mixture, rtol=1e-12)
    again = fm.importance.evidence(density, wide, n=4000, sampler=q, rng=9)
    assert abs(again.log_evidence - TRUTH) < 5 * again.log_evidence_stderr
    # Calls with one sampler, used as it is, have that sampler.
    d, e = (fm.importance.evidence(density, wide, n=2000, sampler=q, rng=k) for k in (5, 6))
    np.testing.assert_array_equal(d.merge(e).sampler.means, q.means)


def test_the_sampler_of_merged_estimates() -> None:
    f = fm.targets.powers([2, 4])
    a, b = (fm.importance.expect(f, fm.distributions.Normal(), n=4000, rng=k) for k in (2, 1))
    merged = a.merge(b)
    assert merged.sampler.shares.sum() == pytest.approx(1.0)
    assert len(merged.sampler.shares) == len(a.sampler.shares) + len(b.sampler.shares)
    made = [
        fm.importance.integrate(lambda x: x[:, 0] ** 2, [(0, 1)], n=4000, method="map", rng=k)
        for k in (2, 1)
    ]
    # Maps cannot be mixed.
    np.testing.assert_array_equal(made[0].merge(made[1]).sampler.knots, made[1].sampler.knots)
