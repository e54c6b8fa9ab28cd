"""The evidence of unnormalised densities: known constants, error bars that hold, hard targets."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from evidence_targets import (
    LOG_2PI,
    Array,
    Target,
    banana,
    gaussian,
    narrow,
    pull,
    pulls,
    run_evidence,
    small,
    student,
    two_modes,
    wide,
)
from scipy.special import gammaln

import fermiac as fm


@pytest.mark.timeout(600)
@pytest.mark.calibration
@pytest.mark.parametrize("make", [gaussian, student, banana])
def test_error_bars_are_calibrated(make: Callable[[], Target]) -> None:
    pull = pulls(make(), range(120), n=50_000)
    assert 0.90 <= np.mean(np.abs(pull) < 2) <= 0.99
    assert abs(pull.mean()) < 5 / math.sqrt(120)


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
@pytest.mark.parametrize("family", ["t", "gaussian"])
def test_error_bars_are_calibrated_for_every_scheme(scheme: str, family: str) -> None:
    target = Target(
        lambda x: -2.0 * np.sum((x - 1.0) ** 2, axis=1), wide(2, 4.0), LOG_2PI - math.log(4.0)
    )
    pull = pulls(target, range(200), n=2000, scheme=scheme, family=family)
    assert 0.90 <= np.mean(np.abs(pull) < 2) <= 0.99
    assert abs(pull.mean()) < 5 / math.sqrt(200)


def test_the_mean_of_the_weights_is_unbiased() -> None:
    target = small()
    ratio, variance = [], []
    for seed in range(200):
        z = run_evidence(target, n=2000, rng=seed)
        ratio.append(math.exp(z.log_evidence - target.log_evidence))
        variance.append((ratio[-1] * z.log_evidence_stderr) ** 2)
    z_score = (np.mean(ratio) - 1.0) / math.sqrt(np.sum(variance) / 200**2)
    assert abs(z_score) < 5


@pytest.mark.parametrize("scheme", ["amis", "pmc"])
@pytest.mark.parametrize("make", [narrow, two_modes, small])
def test_targets_far_from_the_law_are_found(make: Callable[[], Target], scheme: str) -> None:
    target = make()
    for seed in range(5):
        z = run_evidence(target, rng=seed, scheme=scheme)
        assert z.converged
        assert abs(pull(target, z)) < 5
        assert z.log_evidence_stderr < 0.01


def test_both_modes_carry_the_weight_that_they_have() -> None:
    z = run_evidence(two_modes(), rng=3)
    sample = z.sample
    assert sample.log_weights is not None
    w = np.exp(sample.log_weights - sample.log_weights.max())
    upper = np.sum(w[sample.draws.sum(axis=1) > 0]) / w.sum()
    assert abs(upper - 0.5) < 5 * 0.5 / math.sqrt(z.ess)
    assert len(z.stages[-1]["shares"]) >= 2


@pytest.mark.parametrize("scheme", ["amis", "pmc"])
def test_bounded_supports(scheme: str) -> None:
    d = fm.distributions
    law = d.Product([d.Exponential(1.0), d.Uniform(0.0, 1.0), d.Normal()])

    def f(x: Array) -> Array:
        a, b, c = x.T
        return 40 * np.log(a) - 20 * a + 40 * np.log(b) + 60 * np.log1p(-b) - 0.5 * (c - 2) ** 2

    truth = gammaln(41) - 41 * math.log(20) + gammaln(41) + gammaln(61) - gammaln(102)
    target = Target(f, law, float(truth) + LOG_2PI / 2)
    assert np.all(np.abs(pulls(target, range(10), n=20_000, scheme=scheme)) < 5)
    draws = run_evidence(target, rng=0, scheme=scheme).sample.draws
    assert draws[:, 0].min() > 0
    assert draws[:, 1].min() > 0
    assert draws[:, 1].max() < 1


def test_a_normalised_law_has_evidence_one() -> None:
    law = wide(3, 2.0)
    z = fm.importance.evidence(law, law, n=5000, rng=0)
    assert abs(z.log_evidence) < 5 * z.log_evidence_stderr
    # The law is what it starts from: every weight is 1 without adaptation.
    with pytest.warns(
        fm.errors.ConvergenceWarning, match="all 5000 values of the weights are equal"
    ):
        z = fm.importance.evidence(law, law, n=5000, rng=0, scheme="snis")
    assert abs(z.log_evidence) < 1e-14
    assert z.khat == -np.inf


def test_scales_do_not_matter() -> None:
    target = Target(
        lambda x: -0.5 * (((x - [1e6, -1e-7]) / [1e4, 1e-9]) ** 2).sum(axis=1),
        fm.distributions.MultivariateNormal(np.zeros(2), np.diag([1e12, 1e-14])),
        LOG_2PI + math.log(1e4) + math.log(1e-9),
    )
    z = run_evidence(target, rng=1)
    assert z.converged
    assert abs(pull(target, z)) < 5
    # A constant factor shifts the answer and nothing else.
    moved = run_evidence(target._replace(log_density=lambda x: target.log_density(x) - 1e4), rng=1)
    assert abs(moved.log_evidence + 1e4 - z.log_evidence) < 1e-10
    assert abs(moved.log_evidence_stderr / z.log_evidence_stderr - 1) < 1e-6


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
def test_threads_do_not_change_a_bit(scheme: str, thread_counts: tuple[int, ...]) -> None:
    target = banana(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.WeightWarning)
        runs = [
            run_evidence(target, n=30_000, rng=5, scheme=scheme, plan=fm.Plan(n_threads=t))
            for t in thread_counts
        ]
    for z in runs[1:]:
        assert z.log_evidence == runs[0].log_evidence
        assert z.log_evidence_stderr == runs[0].log_evidence_stderr
        np.testing.assert_array_equal(z.sample.draws, runs[0].sample.draws)
        np.testing.assert_array_equal(z.sample.log_weights, runs[0].sample.log_weights)


def test_the_seed_reproduces_the_result() -> None:
    z = run_evidence(small(), n=2000)
    again = run_evidence(small(), n=2000, rng=z.seed)
    assert again.log_evidence == z.log_evidence
    assert run_evidence(small(), n=2000, rng=z.seed ^ 1).log_evidence != z.log_evidence


class _Laplace(fm.distributions.Law):
    """A law in Python, which runs on the calling thread."""

    dim = 1

    def log_density(self, x: Array) -> Array:
        return -np.abs(x[:, 0]) - math.log(2.0)

    def from_unit(self, u: Array) -> Array:
        v = u - 0.5
        return -np.sign(v) * np.log1p(-2 * np.abs(v))


def test_a_law_in_python(thread_counts: tuple[int, ...]) -> None:
    target = Target(lambda x: -0.5 * (x[:, 0] - 3) ** 2, _Laplace(), LOG_2PI / 2)
    runs = [run_evidence(target, n=20_000, rng=2, plan=fm.Plan(n_threads=t)) for t in thread_counts]
    assert abs(pull(target, runs[0])) < 5
    assert len({z.log_evidence for z in runs}) == 1


def test_the_number_of_components_is_what_is_asked_for() -> None:
    z = run_evidence(two_modes(), n=20_000, rng=0, n_components=1, n_stages=8)
    assert {len(s["shares"]) for s in z.stages[1:]} == {1}
    assert len(z.stages) <= 9
    z = run_evidence(two_modes(), n=20_000, rng=0, n_components=3)
    assert len(z.stages[-1]["shares"]) == 3


def test_a_target_that_is_zero_nearly_everywhere_is_found() -> None:
    def f(x: Array) -> Array:
        return np.where(np.all(np.abs(x - 2.0) < 0.25, axis=1), 0.0, -np.inf)

    target = Target(f, wide(2, 1.0), 2 * math.log(0.5))
    # A share 6e-4 of the law has density at all.
    assert np.all(np.abs(pulls(target, range(20), n=20_000)) < 5)


def test_values_that_cannot_be_used_are_named() -> None:
    def f(x: Array) -> Array:
        y = small().log_density(x)
        y[np.abs(x[:, 0]) > 1.5] = np.nan
        return y

    with pytest.raises(fm.errors.TargetError, match=r"nan|NaN"):
        run_evidence(small()._replace(log_density=f), n=2000, rng=0)
    with pytest.raises(fm.errors.TargetError):
        run_evidence(small()._replace(log_density=lambda x: x), n=2000, rng=0)


def test_the_exception_of_a_target_passes_through() -> None:
    def f(x: Array) -> Array:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_evidence(small()._replace(log_density=f), n=2000, rng=0)
