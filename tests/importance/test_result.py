"""Results of importance sampling: shapes, kept samples, stages and texts."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import problems
import pytest
from evidence_targets import (
    run_evidence,
    small,
)
from problems import Array, Problem

import fermiac as fm


def run(problem: Problem, seeds: range, **settings: Any) -> list[fm.Estimate]:
    with warnings.catch_warnings():
        # Some of these tails are heavy, and said to be; here it is the numbers that count.
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        return [fm.importance.expect(problem.f, problem.law, rng=s, **settings) for s in seeds]


def test_the_kept_sample_gives_the_estimate_back() -> None:
    law = fm.distributions.Normal(1.0, 2.0)
    e = fm.importance.expect(
        lambda x: x[:, 0] ** 2, law, n=8_000, controls="none", rng=3, keep_draws=True
    )
    assert e.sample is not None
    w = np.exp(e.sample.log_weights)
    assert np.mean(w * e.sample.draws[:, 0] ** 2) == pytest.approx(e.mean, rel=1e-12)
    assert abs(w.mean() - 1) < 5 * w.std() / np.sqrt(len(w))


@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_zero_entries_are_exactly_zero(method: str) -> None:
    law = fm.distributions.Normal()
    with pytest.warns(fm.errors.FermiacWarning, match=r"exactly 0"):
        e = fm.importance.expect(
            lambda x: np.hstack([x**2, 0 * x, x**4]), law, n=4_000, method=method, rng=1
        )
    assert e.mean[1] == 0.0
    # 3 / N for |f| of size 1, N the points drawn from the law: it may be 0, or not have been met.
    assert e.stderr[1] == e.unseen[1] > 0.0
    if method == "mc":
        assert e.stderr[1] == pytest.approx(3 / 4_000, rel=1e-14)
    cov = np.asarray(e.cov)
    assert cov[1, 1] == pytest.approx(e.stderr[1] ** 2, rel=1e-14)
    assert np.all(cov[1, [0, 2]] == 0.0)
    low, high = e.interval(0.95)
    assert low[1] == 0.0
    assert high[1] == pytest.approx(-math.log(0.05) / 3 * e.stderr[1])
    assert low[0] < 1.0 < high[0]
    assert abs(e.mean[2] - 3) < 5 * e.stderr[2]


def test_a_complex_value_with_a_part_that_is_zero_keeps_its_error() -> None:
    law = fm.distributions.Normal()
    real = fm.importance.expect(lambda x: x[:, 0] ** 2, law, n=2_000, rng=0)
    e = fm.importance.expect(lambda x: x[:, 0] ** 2 + 0j, law, n=2_000, rng=0)
    # The part that was never met lets the sampler explore, at a price.
    assert e.stderr == pytest.approx(real.stderr, rel=0.3)
    assert not e.warnings


def test_an_event_that_was_never_met_has_a_one_sided_interval() -> None:
    with pytest.warns(fm.errors.FermiacWarning, match=r"exactly 0: either .* never met"):
        e = fm.importance.expect(
            lambda x: x[:, 0] > 40, fm.distributions.Normal(), n=1_000, method="mc", rng=0
        )
    assert e.mean == 0.0
    assert e.stderr == e.unseen == pytest.approx(3 / 1_000)
    # Exactly: the probability at which no event in 1000 has the chance 1 - prob.
    low, high = e.interval(0.99)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.01 ** (1 / 1_000), rel=0.01)
    assert e.transform(lambda m: 2 * m).unseen is None


def test_scalars_in_scalars_out() -> None:
    e = fm.importance.expect(lambda x: x[:, 0], fm.distributions.Normal(), n=1_000, rng=0)
    for value in (e.mean, e.stderr, e.cov, e.ess, e.khat, e.unseen):
        assert isinstance(value, float)
    one = fm.importance.expect(lambda x: x, fm.distributions.Normal(), n=1_000, rng=0)
    assert one.mean.shape == one.stderr.shape == (1,)
    assert one.mean[0] == e.mean


def test_the_diagonal_covariance_is_the_diagonal() -> None:
    problem = problems.moments()
    full = run(problem, range(1), n=5_000)[0]
    diagonal = run(problem, range(1), n=5_000, covariance="diag")[0]
    np.testing.assert_allclose(diagonal.cov, np.diag(full.cov), rtol=1e-12)
    np.testing.assert_array_equal(diagonal.mean, full.mean)
    with pytest.raises(fm.errors.ArgumentError, match="covariance"):
        diagonal.ratio(1, 0)


def test_the_sample_is_on_the_absolute_scale() -> None:
    target = small()
    z = run_evidence(target, n=5000, rng=0, names=["a", "b", "c"])
    sample = z.sample
    assert sample.names == ("a", "b", "c")
    assert sample.error_model == "weighted"
    log_w = sample.log_weights
    assert log_w is not None
    assert abs(np.logaddexp.reduce(log_w) - math.log(len(log_w)) - z.log_evidence) < 1e-12
    w = np.exp(log_w - log_w.max())
    assert abs(w.sum() ** 2 / np.sum(w**2) / z.ess - 1) < 1e-12
    assert abs(sample.ess / z.ess - 1) < 1e-12
    _, khat = fm.diagnostics.psis(log_w)
    assert z.khat == khat
    mean = w @ sample.draws / w.sum()
    assert np.all(np.abs(mean - 1.0) < 5 * 0.1 / math.sqrt(z.ess))


def test_the_stages_add_up_to_the_budget() -> None:
    calls: list[int] = []

    def f(x: Array) -> Array:
        calls.append(len(x))
        return small().log_density(x)

    z = run_evidence(small()._replace(log_density=f), n=30_001, rng=0, check=False)
    assert sum(calls) == z.n_evals == 30_001
    assert sum(s["n_evals"] for s in z.stages) == z.stages[-1]["used"] == 30_001
    assert z.stages[-1]["n_evals"] == len(z.sample.draws) >= 15_000
    powers = [s["power"] for s in z.stages]
    assert 0 < powers[0] < 1
    assert powers[-2:] == [1.0, 0.0]
    assert z.stages[0]["shares"].size == 0
    assert all(abs(s["shares"].sum() - 1) < 1e-12 for s in z.stages[1:])


def test_texts() -> None:
    z = run_evidence(small(), n=5000, rng=0)
    assert repr(z).startswith("Evidence: log Z = ")
    assert len(repr(z).splitlines()) <= 6
    assert "seed 0" in str(z.summary())
    assert z.to_dict()["sample"]["log_weights"][0] == z.sample.log_weights[0]  # type: ignore[index]
