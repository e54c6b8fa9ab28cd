"""Warnings of importance sampling: heavy tails, missed mass, laws out of reach."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from evidence_targets import (
    LOG_2PI,
    Array,
    Target,
    narrow,
    run_evidence,
    wide,
)
from scipy import stats

import fermiac as fm


@pytest.mark.parametrize(("a", "announced"), [(0.1, 0.0), (0.4, 0.9), (0.45, 0.9)])
def test_error_bars_that_fail_are_announced(a: float, announced: float) -> None:
    """E exp(a x^2) has a finite variance for a < 1/4 only."""
    law = fm.distributions.Normal()
    n_warned = 0
    for seed in range(50):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fm.importance.expect(
                lambda x: np.exp(a * x[:, 0] ** 2), law, n=5_000, method="mc", rng=seed
            )
        n_warned += any(issubclass(w.category, fm.errors.WeightWarning) for w in caught)
    assert n_warned >= announced * 50
    if announced == 0:
        assert n_warned <= 2


def test_heavy_tails_are_announced() -> None:
    law = fm.distributions.Normal()
    with pytest.warns(fm.errors.WeightWarning):
        e = fm.importance.expect(
            lambda x: np.exp(0.49 * x[:, 0] ** 2), law, n=20_000, method="mc", rng=0
        )
    assert e.khat > 0.7
    assert e.warnings


def test_too_few_points_for_all_controls() -> None:
    f = fm.targets.powers(list(range(2, 22)))
    with pytest.warns(fm.errors.FermiacWarning, match="controls='own' was used"):
        fm.importance.expect(f, fm.distributions.Uniform(), n=300, controls="all", rng=0)


def test_a_law_that_is_not_normalised_is_announced() -> None:
    class Unnormalised(fm.distributions.Law):
        dim = 1

        def log_density(self, x: Array) -> Array:
            return -0.5 * x[:, 0] ** 2

        def from_unit(self, u: Array) -> Array:
            return stats.norm.ppf(u)

    with pytest.warns(fm.errors.ConvergenceWarning, match="mean weight .* not normalised"):
        fm.importance.expect(
            lambda x: x[:, 0] ** 2, Unnormalised(), n=10_000, fallback=False, rng=0
        )


def test_a_law_that_the_sampler_never_meets() -> None:
    """Without weight in the criterion and without floors, its component gets no points."""
    laws = [fm.distributions.Normal(), fm.distributions.Normal(1e3, 1e-3)]
    with pytest.warns(fm.errors.WeightWarning, match=r"law of E\[1\] is 0 at every point"):
        e = fm.importance.expect(
            lambda x: np.ones(len(x)), laws, n=4_000, method="paper", weights=[1.0, 0.0], rng=0
        )
    assert e.mean[1] == 0.0
    assert e.stderr[1] == pytest.approx(3 / (e.n_evals - e.stages[-1]["used"]))
    assert np.asarray(e.cov)[1, 1] == pytest.approx(e.stderr[1] ** 2)
    assert abs(e.mean[0] - 1) < 5 * e.stderr[0]


def test_a_law_out_of_reach() -> None:
    laws = [fm.distributions.Uniform(0.0, 1.0), fm.distributions.Uniform(0.0, 1e-9)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        e = fm.importance.expect(lambda x: 1 + 0 * x[:, 0], laws, n=2_000, rng=0)
    assert abs(e.mean[0] - 1) < 0.2
    assert np.all(np.isfinite(e.mean))
    assert e.warnings == tuple(w.message.args[0] for w in caught)


def four_branches(x: Array) -> Array:
    """Return where a series system of four branches fails; P = 2.22279506619e-3."""
    a, b = x[:, 0] - x[:, 1], (x[:, 0] + x[:, 1]) / math.sqrt(2)
    curved, straight = 3 + 0.1 * a**2 - np.abs(b), 7 / math.sqrt(2) - np.abs(a)
    return (np.minimum(curved, straight) <= 0).astype(float)


@pytest.mark.parametrize("family", ["auto", "mixture"])
def test_several_small_regions_are_never_missed_in_silence(family: str) -> None:
    law = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))
    for seed in range(40):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            e = fm.importance.expect(four_branches, law, n=20_000, family=family, rng=seed)
        off = abs(e.mean - 2.22279506619e-3)
        assert off < 4.5 * e.stderr or any("field unseen" in text for text in e.warnings)


def test_what_may_be_hidden_is_three_over_the_points_of_the_law() -> None:
    law = fm.distributions.Normal()
    plain = fm.importance.expect(lambda x: 5.0 * (x > 2), law, n=1_000, method="mc", rng=4)
    assert plain.unseen[0] == pytest.approx(3 * 5.0 / 1_000, rel=1e-14)
    # Twenty thousand points, of which the law has a first stage and its share of the others.
    with pytest.warns(fm.errors.ConvergenceWarning, match="field unseen"):
        given = fm.importance.expect(
            lambda x: x[:, 0] > 3.2, law, n=20_000, defensive_base=0.05, rng=0
        )
    first = given.stages[0]["n_evals"]
    assert 3 / given.unseen == pytest.approx(first + 0.05 * (20_000 - first), abs=6)
    # The default explores.
    with pytest.warns(fm.errors.ConvergenceWarning, match="field unseen"):
        explored = fm.importance.expect(lambda x: x[:, 0] > 3.2, law, n=20_000, rng=0)
    first = explored.stages[0]["n_evals"]
    assert 3 / explored.unseen == pytest.approx(first + 0.25 * (20_000 - first), abs=6)


@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_integrands_that_show_their_mass_are_not_suspected(method: str) -> None:
    box = fm.distributions.Uniform([0.0, 0.0], [1.0, 1.0])
    peak = fm.importance.expect(
        lambda x: np.exp(-20 * ((x - 0.4) ** 2).sum(axis=1)), box, method=method, rng=0
    )
    moments = fm.importance.expect(
        fm.targets.powers([1, 2, 4]), fm.distributions.Normal(), method=method, rng=0
    )
    half = fm.importance.expect(
        lambda x: x[:, 0] > 1, fm.distributions.Normal(), method=method, rng=0
    )
    for e in (peak, moments, half):
        assert not e.warnings
        assert np.all(e.unseen > 0)


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
def test_a_target_that_is_zero_everywhere_is_announced(scheme: str) -> None:
    with pytest.warns(fm.errors.ConvergenceWarning, match="is 0 at all"):
        z = fm.importance.evidence(
            lambda x: np.full(len(x), -np.inf), wide(2, 1.0), n=1000, rng=0, scheme=scheme
        )
    assert z.log_evidence == -np.inf
    assert z.log_evidence_stderr == np.inf
    assert not z.converged
    assert z.ess == 0
    assert z.warnings


def test_a_budget_that_does_not_reach_the_target_is_announced() -> None:
    with pytest.warns(fm.errors.ConvergenceWarning, match="before it reached the target"):
        z = run_evidence(narrow(), n=1000, rng=0)
    assert not z.converged
    assert z.stages[-2]["power"] < 1


def test_heavy_weights_are_announced() -> None:
    with pytest.warns(fm.errors.WeightWarning) as caught:
        z = run_evidence(narrow(2), n=5000, rng=0, scheme="snis")
    assert not z.converged
    assert any("ESS of the weights" in str(w.message) for w in caught)
    # Weights exp(0.9 x) under an exponential law have a Pareto tail of shape 0.9.
    law = fm.distributions.Exponential(1.0)
    with pytest.warns(fm.errors.WeightWarning, match="k-hat is"):
        z = fm.importance.evidence(lambda x: -0.1 * x[:, 0], law, n=200_000, rng=0, scheme="snis")
    # A shape k fitted to m values has the standard error (1 + k) / sqrt(m).
    assert abs(z.khat - 0.9) < 5 * 1.9 / math.sqrt(3 * math.sqrt(200_000))


def test_heavy_tails_are_told_from_uneven_weights() -> None:
    # A posterior cut off by its prior: k-hat is above 0.7 in most runs, and the error bars hold.
    target = Target(
        lambda x: -50.0 * x[:, 0] ** 2,
        fm.distributions.Uniform(0.0, 1.0),
        LOG_2PI / 2 - math.log(20.0),
    )
    runs = [run_evidence(target, n=5000, rng=seed) for seed in range(40)]
    assert np.mean([z.khat > 0.7 for z in runs]) > 0.4
    assert not any(z.warnings for z in runs)
    pull = np.array([(z.log_evidence - target.log_evidence) / z.log_evidence_stderr for z in runs])
    assert abs(np.mean(pull**2) - 1) < 5 * math.sqrt(2 / 40)
    # Few points have weight at all, so there is no k-hat; theirs has a Pareto tail of shape 0.9.
    prior = fm.distributions.Uniform(0.0, 1.0)
    with pytest.warns(fm.errors.WeightWarning, match="no fit, since most"):
        fm.importance.evidence(
            lambda x: np.where(x[:, 0] < 0.007, -0.9 * np.log(x[:, 0]), -np.inf),
            prior,
            n=50_000,
            rng=0,
            scheme="snis",
        )
    # Two degrees of freedom, and no sampler with such tails: the variance is infinite.
    for seed in range(5):
        with pytest.warns(fm.errors.WeightWarning, match="of the variance"):
            fm.importance.evidence(
                lambda x: -1.5 * np.log1p(x[:, 0] ** 2 / 2), wide(1, 9.0), n=50_000, rng=seed
            )
