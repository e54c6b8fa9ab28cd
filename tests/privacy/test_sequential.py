"""Sequential audits: e-values by enumeration, bounds, stopping, extension, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.privacy import TradeOff, audit_sequential
from fermiac.privacy.sequential import (
    Bets,
    curve_region,
    epsilon_region,
    gaussian_region,
    nearest,
)

REGIONS = {
    "epsilon": epsilon_region(np.array([0.7]), 0.0),
    "epsilon and delta": epsilon_region(np.array([0.7]), 0.05),
    "Gaussian": gaussian_region(np.array([0.8])),
    "curve": curve_region(TradeOff([0.05, 0.2, 0.5], [0.7, 0.4, 0.1])),
}


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 1), (0, 2), (4, 6)])
def test_no_rates_that_a_claim_allows_expect_an_e_value_above_one(
    name: str, n: int, m: int
) -> None:
    region = REGIONS[name]
    hits, alarms = (x.ravel().astype(float) for x in np.mgrid[: n + 1, : m + 1])
    for tpr, fpr in ((0.9, 0.1), (0.6, 0.4), (0.3, 0.05), (0.2, 0.8)):
        ones = np.ones_like(hits)
        bets = Bets(n * ones, hits, m * ones, alarms, tpr * ones, fpr * ones)
        e = np.exp(bets.log_e(region)[:, 0])
        q = np.linspace(1e-6, 1 - 1e-6, 400)
        for share in (1.0, 0.9, 0.5):
            p = share * region.height(q)
            law = stats.binom.pmf(hits, n, p[:, None]) * stats.binom.pmf(alarms, m, q[:, None])
            assert (law @ e).max() < 1 + 1e-9
        at_bet = stats.binom.pmf(hits, n, tpr) * stats.binom.pmf(alarms, m, fpr)
        # The bets gain if they are right.
        assert at_bet @ np.log(e) >= -1e-12


@pytest.mark.parametrize("name", REGIONS)
def test_the_nearest_rates_are_those_of_a_search(name: str) -> None:
    region = REGIONS[name]

    def entropy(q: float) -> float:
        p = float(region.height(np.array([q]))[0])
        return 3 * stats.entropy([0.9, 0.1], [p, 1 - p]) + stats.entropy([0.2, 0.8], [q, 1 - q])

    found = optimize.minimize_scalar(
        entropy, bounds=(0.2, 0.9), method="bounded", options={"xatol": 1e-10}
    )
    one = np.ones(1)
    p, q = nearest(0.9 * one, 0.2 * one, 3 * one, one, region)
    assert entropy(float(q[0])) <= found.fun + 1e-12
    assert p[0] == region.height(q)[0]
    inside = nearest(0.3 * one, 0.6 * one, one, one, region)
    assert (inside[0][0], inside[1][0]) == (0.3, 0.6)


def _answers(epsilon: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers of randomised response to members and to others."""
    stream = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-epsilon))
    return (stream.random(n) < p) * 1.0, (stream.random(n) < 1 - p) * 1.0


def test_bounds_rise_to_the_truth_and_no_further() -> None:
    too_high = 0
    for seed in range(25):
        a = audit_sequential(*_answers(1.0, 300, seed), threshold=0.5, alpha=0.2)
        too_high += a.epsilon_lower > 1.0
        assert (np.diff(a.bounds) >= 0).all()
    # At most 5 of 25 on average.
    assert too_high <= stats.binom.ppf(0.9999, 25, 0.2)
    a = audit_sequential(*_answers(1.0, 10**5, 0), threshold=0.5)
    assert 0.9 < a.epsilon_lower <= 1.02


def test_the_bound_is_that_of_the_e_values() -> None:
    stream = np.random.default_rng(3)
    a = audit_sequential(stream.normal(size=300) + 1.5, stream.normal(size=400), delta=1e-3)
    assert a.epsilon_lower == a.bounds[-1] > 0
    at, above = (a.log_e_values(a.epsilon_lower + step).max() for step in (0.0, 0.02))
    assert at >= np.log(20) > above
    mu = [
        a._records().log_e(gaussian_region(np.array([m])))[:, 0].cumsum().max()
        for m in (a.mu_lower, a.mu_lower + 0.02)
    ]
    assert mu[0] >= np.log(20) > mu[1]
    same = a.log_e_values(TradeOff.from_epsilon(0.5, delta=1e-3))
    np.testing.assert_allclose(same, a.log_e_values(0.5), atol=1e-9)


def test_an_audit_stops_at_the_rejection_of_a_claim() -> None:
    members, nonmembers = _answers(2.0, 3000, 1)
    a = audit_sequential(members, nonmembers, claim=1.0, threshold=0.5)
    assert a.rejected
    assert a.members.size < 300
    path = a.log_e_values(1.0)
    assert path[-1] >= np.log(20) > path[:-1].max()
    assert "rejected" in repr(a)
    true = [audit_sequential(*_answers(1.0, 120, s), claim=1.0, threshold=0.5) for s in range(30)]
    assert 0 < sum(a.rejected for a in true) <= stats.binom.ppf(0.9999, 30, 0.05)
    assert {a.members.size for a in true if not a.rejected} == {120}


def test_an_extended_audit_is_that_of_all_scores(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    members, nonmembers = stream.normal(size=200) + 1, stream.normal(size=200)
    whole = audit_sequential(members, nonmembers, claim=5.0)
    # The first look of the second part comes where a look was before.
    cut = int(whole.n_members[-8])
    first = audit_sequential(members[:cut], nonmembers[:cut], claim=5.0)
    first.save(tmp_path / "audit")
    loaded = fm.privacy.SequentialAudit.load(tmp_path / "audit")
    again = loaded.extend(members[cut:], nonmembers[cut:])
    np.testing.assert_array_equal(again.thresholds, whole.thresholds)
    np.testing.assert_array_equal(again.bounds, whole.bounds)
    assert again.mu_lower == whole.mu_lower
    assert again.claim == 5.0


def test_unequal_numbers_go_in_step() -> None:
    stream = np.random.default_rng(0)
    a = audit_sequential(stream.normal(size=100) + 2, stream.normal(size=1000))
    assert (a.n_members[-1], a.n_nonmembers[-1]) == (100, 1000)
    np.testing.assert_allclose(a.n_members / 100, a.n_nonmembers / 1000, atol=0.011)
    assert a.epsilon_lower > 0.5


def test_refusals() -> None:
    x = [1.0, 2.0]
    for arguments, words in (
        ({"alpha": 0.0}, "alpha"),
        ({"delta": 1.0}, "delta"),
        ({"claim": -1.0}, "claim"),
        ({"claim": [1.0, 2.0]}, "claim"),
        ({"threshold": "high"}, "threshold"),
    ):
        with pytest.raises(ArgumentError, match=words):
            audit_sequential(x, x, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="members"):
        audit_sequential([], x)
    with pytest.raises(ArgumentError, match="NaN"):
        audit_sequential([np.nan], x)
    for claim in (-1.0, float("nan"), [0.5, 1.0], np.ones((2, 2, 2)), "0.5"):
        with pytest.raises(ArgumentError, match="claim: "):
            audit_sequential(x, x).log_e_values(claim)  # type: ignore[arg-type]
