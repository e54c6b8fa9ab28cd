"""Noise classifiers: the posterior of the level, its floor, and refused levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.score.classifier import entropy_floor, moments

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]
WEIGHTS, MEANS = [0.5, 0.3, 0.2], [[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]]
VARIANCES = [[0.25, 0.25], [0.36, 0.16], [0.09, 0.64]]
LEVELS = np.geomspace(10, 0.05, 100)
#: A network that learns two coordinates in a second or so.
SMALL: dict[str, Any] = {"width": 64, "learning_rate": 3e-3}


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def mixture() -> Any:
    return fm.score.GaussianMixture(WEIGHTS, MEANS, VARIANCES)


@pytest.fixture(scope="module")
def drawn(mixture: Any) -> Array:
    draws: Array = mixture.sample(4000, rng=0)
    return draws


def normal(n: int, d: int, key: int) -> Array:
    return fm.random.Stream(key).normal((n, d))


def test_the_classifier_is_the_posterior_of_the_level(
    torch: Any, mixture: Any, drawn: Array
) -> None:
    classifier = fm.score.train_noise_classifier(drawn, LEVELS, n_steps=800, rng=1, **SMALL)
    k = np.arange(3000) % 100
    y = mixture.sample(3000, rng=2) + LEVELS[k][:, None] * normal(3000, 2, 3)
    exact = mixture.level_log_density(y, LEVELS)
    exact = exact - logsumexp(exact, axis=1, keepdims=True)
    given = classifier(y)
    assert given.shape == (3000, 100)
    given = given - logsumexp(given, axis=1, keepdims=True)
    divergence = np.sum(np.exp(exact) * (exact - given), axis=1)
    assert divergence.mean() < 0.03
    mean, sd = classifier.log_sigma(y)
    exact_mean, exact_sd = moments(exact, LEVELS)
    assert np.abs(mean - exact_mean).mean() < 0.1
    assert np.abs(sd - exact_sd).mean() < 0.1
    told = classifier.training
    assert told is not None
    own = -exact[np.arange(3000), k].mean()
    assert abs(classifier.cross_entropy - own) < 5 * told.cross_entropy_stderr + 0.03
    assert told.entropy_floor < classifier.cross_entropy
    found = classifier.calibration(5)
    assert found.shares.sum() == pytest.approx(1)
    assert (np.abs(found.shares - 0.2) < 6 * found.stderr).all()
    assert abs(found.pull_mean) < 0.1
    assert abs(found.pull_sd - 1) < 0.1
    np.testing.assert_allclose(
        classifier._logits_tensor(torch.as_tensor(y, dtype=torch.float32)).numpy(),
        classifier(y),
        atol=1e-5,
    )


def test_regression_gives_a_normal_law_over_the_levels(torch: Any) -> None:
    d = 64
    data = np.repeat(normal(2, d, 0), 20, axis=0)
    levels = np.geomspace(5, 0.1, 60)
    made = fm.score.train_noise_classifier(
        data, levels, target="regress", n_steps=600, rng=1, **SMALL
    )
    # Data that are points: the level is known to about (2 d)^-1/2.
    mean, sd = made.log_sigma(data + 0.5 * normal(40, d, 2))
    assert np.abs(mean - np.log(0.5)).mean() < 0.2
    assert 0.5 < sd.mean() * np.sqrt(2 * d) < 2.5
    logits = made(data + 0.5 * normal(40, d, 2))
    np.testing.assert_allclose(moments(logits, levels)[0], mean, atol=0.02)
    assert made.cross_entropy < np.log(60) - 1


def test_no_classifier_is_below_the_floor() -> None:
    levels, d, n = np.geomspace(3, 0.1, 20), 8, 4000
    squares = (normal(n, d, 0) ** 2).sum(axis=1)
    k = np.arange(n) % 20
    norm = (levels[k] ** 2 * squares)[:, None]
    logits = -d * np.log(levels) - norm / (2 * levels**2)
    entropies = logsumexp(logits, axis=1) - logits[np.arange(n), k]
    error = entropies.std() / np.sqrt(n)
    assert abs(entropy_floor(levels, d) - entropies.mean()) < 4 * error


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0], [1.0, -1.0], [[1.0, 2.0]]])
def test_levels_that_are_none(torch: Any, levels: Any) -> None:
    with pytest.raises(ArgumentError, match="levels"):
        fm.score.train_noise_classifier(normal(20, 2, 0), levels)
