"""Tests of the audit of a surrogate and of its correction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nested_surrogates import WIDTH, gaussian, sampled

import fermiac as fm
from fermiac.nested import Surrogate
from fermiac.nested.problem import as_prior
from fermiac.nested.surrogate.accuracy import (
    audit,
    correction_findings,
    inclusion,
    systematic,
    usable,
)
from fermiac.nested.surrogate.models import Truth
from fermiac.nested.surrogate.work import Refused

HOW: tuple[bool | str, ...] = (True, "subsample")


def test_a_part_of_the_points_stands_for_all() -> None:
    def wavy(x: Any) -> Any:
        return gaussian(x) + np.sin(3 * x).sum(axis=1)

    whole, part = (sampled(wavy, n_live=200, correct=c, n_corrected=300) for c in HOW)
    assert part.surrogate.n_corrected == 300
    assert whole.surrogate.n_corrected > 1000
    np.testing.assert_array_equal(whole.log_likelihoods, part.log_likelihoods)
    noise = part.surrogate.ratio_stderr
    assert 0 < noise < 0.1 * part.log_evidence_stderr
    # The two are the same run, and differ by what was left out alone.
    assert abs(whole.log_evidence - part.log_evidence) < 5 * noise
    assert part.log_evidence_stderr == pytest.approx(whole.log_evidence_stderr, rel=0.1)
    assert part.information == pytest.approx(whole.information, rel=0.05)
    e = part.expect(lambda x: x)
    x = np.linspace(-3, 5, 4001)
    p = np.exp(-0.5 * (x / WIDTH) ** 2 + np.sin(3 * x))
    assert (np.abs(e.mean - p @ x / p.sum()) < 5 * e.stderr).all()


def test_inclusion_chances_and_systematic_rows() -> None:
    rng = np.random.default_rng(0)
    p = rng.exponential(size=500) ** 3
    chances = inclusion(p, 100)
    assert chances.sum() == pytest.approx(100)
    assert chances.max() <= 1
    free = chances < 1
    np.testing.assert_allclose((chances / p)[free], (chances / p)[free][0])
    taken = np.zeros(500)
    for _ in range(4000):
        rows = systematic(chances, rng)
        assert abs(len(rows) - 100) <= 1
        taken[rows] += 1
    error = np.sqrt(chances * (1 - chances) / 4000)
    assert (np.abs(taken / 4000 - chances) <= 5.5 * error + 1e-12).all()


def test_the_audit_sees_what_is_hidden() -> None:
    cube = fm.distributions.Uniform([0.0] * 3, [1.0] * 3)

    def f(u: Any) -> Any:
        return -0.5 * ((u - 0.5) ** 2).sum(axis=1) / 0.1**2

    def hidden(u: Any) -> Any:
        return np.where(u[:, 0] > 0.65, 0.0, f(u))

    class Blind:
        def predict(self, u: Any) -> Any:
            return f(u), np.ones(len(u), bool)

    r = fm.nested.sample(f, cube, n_live=100, rng=0, plan=fm.Plan(progress=False))
    for target, agrees in ((f, True), (hidden, False), (lambda u: f(u) + 50, True)):
        truth = Truth(as_prior(cube, None, None), fm.targets.as_target(target, 3), "raise")
        offset = 0.0 if target in (f, hidden) else -50.0
        model: Any = Blind()
        options = Surrogate(audit=0.2)
        assert audit(model, truth, r, options, offset, 1) is agrees
        assert 0 < truth.n <= np.ceil(0.2 * r.n_draws)


def test_a_correction_that_a_few_points_carry_is_refused() -> None:
    usable({"khat": 0.9, "ess_ratio": 0.9})
    usable({"khat": 0.1, "ess_ratio": 0.1})
    with pytest.raises(Refused, match="a few points carry the correction"):
        usable({"khat": 0.9, "ess_ratio": 0.1})
    found = correction_findings({"ess_ratio": 0.1})
    assert [category for category, _ in found] == [fm.errors.WeightWarning]
