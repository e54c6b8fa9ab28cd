"""Noisy answers to adaptive queries: law of the noise, composition, certificates, fresh rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fermiac as fm
from fermiac.privacy import GaussianAnswers, LaplaceAnswers, SplitAnswers, Thresholdout


def test_law_of_the_noise() -> None:
    n = 20_000
    answers = LaplaceAnswers(1000, epsilon=0.1, budget=n, rng=5).query_means(np.full(n, 0.5))
    z = (answers.value - 0.5) / 0.01
    assert abs(z.mean()) < 5 * math.sqrt(2 / n)
    assert abs(np.abs(z).mean() - 1) < 5 / math.sqrt(n)
    assert abs((np.abs(z) > math.log(4)).mean() - 0.25) < 5 * math.sqrt(0.1875 / n)
    answers = GaussianAnswers(1000, rho=0.5, budget=n, rng=5).query_means(np.full(n, 0.5))
    z = (answers.value - 0.5) / 0.001
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / n)


def test_privacy_and_composition() -> None:
    t = Thresholdout(None, 10_000, budget=5, sigma=0.01, rng=0)
    assert t.epsilon() == pytest.approx(2 * 5 / (0.01 * 10_000))
    each, delta = 0.001, 1e-6
    many = LaplaceAnswers(1000, epsilon=each, budget=10_000, rng=0)
    assert many.epsilon() == pytest.approx(10)
    expected = each * math.sqrt(2e4 * math.log(1e6)) + 1e4 * each * math.expm1(each)
    assert many.epsilon(delta) == pytest.approx(expected)
    few = LaplaceAnswers(1000, epsilon=5.0, budget=2, rng=0)
    assert few.epsilon(delta) == few.epsilon() == 10
    normal = GaussianAnswers(1000, rho=0.5, budget=4, rng=0)
    assert normal.epsilon(1e-5) == fm.privacy.gdp_epsilon(1e-5, mu=2.0)


def test_certificates() -> None:
    t = Thresholdout(None, 10**6, budget=3, sigma=0.001, rng=0)
    epsilon, n, tau, beta = 0.006, 10**6, 0.02, 1e-9
    information = epsilon**2 * n / 2 + epsilon * math.sqrt(n * math.log(2 / beta) / 2)
    expected = 2 * math.exp(information - 2 * n * tau**2) + beta
    assert t.certificate(tau, beta) == pytest.approx(expected)
    assert t.certificate(0.001, beta) is None
    normal = GaussianAnswers(100_000, rho=1e-6, budget=20, rng=0)
    p, q = normal.certificate(0.03), 2 * math.exp(-2e5 * 0.0009)
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert divergence == pytest.approx(100_000 * 20e-6, rel=1e-9)
    assert normal.certificate(0.001) is None
    split = SplitAnswers(np.zeros(1000), budget=10)
    assert split.certificate(0.2) == pytest.approx(20 * math.exp(-8))
    assert split.certificate(0.01) is None


def test_split_uses_fresh_rows() -> None:
    rows = np.arange(12.0).reshape(6, 2) / 12
    split = SplitAnswers(rows, budget=3)
    answers = [split.query(lambda x: x) for _ in range(4)]
    np.testing.assert_allclose(answers[1].value, rows[2:4].mean(axis=0))
    assert answers[3].source == ("exhausted", "exhausted")
    assert split.remaining == 0
