"""Guidance, observations, particles and flows on a network that has learnt digits.

Its law is not known. A mixture of one normal law for each digit tells classes apart, and held-out
images tell how good the draws are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::fermiac.errors.WeightWarning")]
Array = NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / "examples" / "data" / "digits.npz"
LEVELS = (0.05, 20.0)
SEEN = np.arange(64) < 32


class Digits(NamedTuple):
    """A network, a mixture for its data, the data with labels, and held-out images."""

    network: Any
    mixture: Any
    images: Array
    labels: NDArray[np.int64]
    held_out: Array


@pytest.fixture(scope="module")
def digits() -> Iterator[Digits]:
    torch = pytest.importorskip("torch")
    # A small network is slower on several threads.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with np.load(DATA) as data:
        images, labels = data["images"].astype(float) / 8 - 1, data["labels"].astype(np.int64)
    mine, known = images[:1500], labels[:1500]
    each = [mine[known == k] for k in range(10)]
    mixture = fm.score.GaussianMixture(
        [len(x) for x in each],
        [x.mean(axis=0) for x in each],
        [np.cov(x.T) + 0.01 * np.eye(64) for x in each],
    )
    network = fm.score.train_score(
        mine, sigma_range=LEVELS, n_steps=400, width=128, learning_rate=3e-3, rng=0
    )
    yield Digits(network, mixture, mine, known, images[1500:])
    torch.set_num_threads(before)


def class_of(d: Digits, k: int) -> Any:
    """The law of a digit, and the logarithm of its probability with the gradient."""
    part = fm.score.GaussianMixture([1.0], d.mixture.means[[k]], d.mixture.covariances[[k]])

    def log_class(y: Array, s: Array) -> Array:
        own = part.log_density(y, s) + np.log(d.mixture.weights[k])
        return np.asarray(own - d.mixture.log_density(y, s))

    def slope(y: Array, s: Array) -> Array:
        return np.asarray(part.score(y, s) - d.mixture.score(y, s))

    return log_class, slope


def share(d: Digits, x: Array, k: int) -> float:
    return float(d.mixture.responsibilities(x, 0.0)[:, k].mean())


def test_a_class_by_guidance_and_by_particles(digits: Digits) -> None:
    log_class, slope = class_of(digits, 3)
    strong = fm.score.guided(digits.network, classifier=log_class, gradient=slope, scale=1.5)
    how: dict[str, Any] = {"n_steps": 25, "sigma_range": LEVELS, "rng": 0}
    plain = fm.score.sample(digits.network, 200, 64, **how).draws
    led = fm.score.sample(strong, 200, 64, **how).draws
    assert 0.02 < share(digits, plain, 3) < 0.3
    assert share(digits, led, 3) > 0.9
    assert strong.bias
    s = fm.score.steer(
        digits.network, lambda y, x, sigma: log_class(x, np.full(len(x), 0.3)), 200, 64, **how
    )
    assert s.bias
    assert share(digits, s.resample(200, rng=0).draws, 3) > 0.7


@pytest.mark.filterwarnings("ignore:n_steps")
@pytest.mark.parametrize("method", ["pigdm", "ddrm", "daps", "particles"])
def test_lower_halves_given_the_upper_ones(digits: Digits, method: Any) -> None:
    o, away, least = fm.score.Linear(SEEN, 0.1), [], []
    for k, x in enumerate(digits.held_out[:4]):
        s = fm.score.posterior(
            digits.network, o, x[SEEN], 24, method=method, n_steps=25, sigma_range=LEVELS, rng=k
        )
        assert s.bias
        assert np.isfinite(s.draws).all()
        assert np.sqrt(np.mean(s.residuals**2)) < 0.4
        mean = s.expect(lambda v: v).mean
        away.append(np.mean((mean - x)[32:] ** 2))
        least.append(np.mean((digits.images.mean(axis=0) - x)[32:] ** 2))
    assert np.mean(away) < 0.8 * np.mean(least)


def test_pixels_are_measured(digits: Digits) -> None:
    x = digits.held_out[0]
    s = fm.score.measure(
        digits.network, lambda i: x[i], range(64), 6, noise=0.1, method="running", n_particles=64,
        n_steps=40, sigma_range=LEVELS, rng=0,
    )  # fmt: skip
    before = np.mean((digits.images.mean(axis=0) - x) ** 2)
    assert np.mean((s.draws.mean(axis=0) - x) ** 2) < 0.8 * before


def test_a_flow_makes_one_digit_another(digits: Digits) -> None:
    ends = [digits.images[digits.labels == k] for k in (1, 8)]
    flow = fm.score.train_flow(
        *ends, coupling="ot", n_steps=250, batch_size=128, learning_rate=3e-3, rng=0
    )
    moved = fm.score.transport(flow, ends[0], 20)
    assert share(digits, ends[0], 8) < 0.1
    assert share(digits, moved, 8) > 0.8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = fm.score.transport(flow, moved, 20, reverse=True)
    assert np.sqrt(np.mean((back - ends[0]) ** 2)) < 0.2
