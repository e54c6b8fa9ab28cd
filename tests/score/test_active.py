"""Measurements chosen one by one: the order of a normal law, digits, every kind of particles."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, NumericalError, TargetError

pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.WeightWarning")
Array = NDArray[np.float64]
LAW = fm.score.Gaussian([0.0, 0.0], 1.0)
DATA = Path(__file__).resolve().parents[2] / "examples" / "data" / "digits.npz"


def normal_law() -> tuple[Any, Array]:
    """A normal law of six coordinates whose conditional variances are far from each other."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    covariance = (axes * [9.0, 3.0, 1.0, 0.3, 0.1, 0.03]) @ axes.T
    return fm.score.Gaussian(np.zeros(6), covariance), covariance


def greedy(covariance: Array, n: int, noise: float) -> list[int]:
    """The coordinates of the largest conditional variance, in order."""
    left, found = covariance.copy(), []
    for _ in range(n):
        variances = np.diag(left).copy()
        variances[found] = -1.0
        i = int(np.argmax(variances))
        found.append(i)
        gain = left[:, i] / (left[i, i] + noise**2)
        left = left - np.outer(gain, left[i])
    return found


@pytest.mark.parametrize("rule", ["entropy", "variance"])
@pytest.mark.parametrize("method", ["exact", "particles"])
def test_of_a_normal_law_the_largest_conditional_variances_are_measured(
    rule: Any, method: Any
) -> None:
    law, covariance = normal_law()
    truth = law.sample(1, rng=5)[0]
    s = fm.score.measure(
        law, lambda i: truth[i], range(6), 4, noise=0.05, rule=rule, method=method,
        n_particles=1000, n_steps=60, sigma_range=(0.005, 30.0), rng=1,
    )  # fmt: skip
    assert s.chosen.tolist() == greedy(covariance, 4, 0.05)
    np.testing.assert_array_equal(s.values[:, 0], truth[s.chosen])
    assert np.isnan(s.scores[3]).sum() == 3
    assert s.mode == method
    exact = fm.score.Linear(np.eye(6)[s.chosen], 0.05).posterior_of(law, truth[s.chosen])[0]
    e = s.expect(lambda x: x)
    assert (np.abs(e.mean - exact.means[0]) < 5 * e.stderr + 0.02).all()
    assert s.bias == ()


def test_scores_are_entropies_and_variances() -> None:
    law = fm.score.Gaussian([0.0, 1.0], np.diag([4.0, 0.25]))
    for rule, needed in (
        ("variance", [4.0, 0.25]),
        ("entropy", 0.5 * np.log(2 * np.pi * np.e * np.array([4.0, 0.25]))),
    ):
        s = fm.score.measure(
            law, float, [0, 1], 1, noise=0.01, rule=rule, n_particles=4000, rng=0
        )  # fmt: skip
        # The usual bandwidth adds 4 % to the variance.
        np.testing.assert_allclose(s.scores[0], needed, rtol=0.06, atol=0.04)


def test_two_sharp_modes_have_a_large_variance_and_a_small_entropy() -> None:
    law = fm.score.GaussianMixture(
        [0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [[1e-4, 0.64], [1e-4, 0.64]]
    )
    found = {
        rule: fm.score.measure(law, lambda i: 0.5, [0, 1], 1, noise=0.05, rule=rule, rng=0).chosen[
            0
        ]
        for rule in ("entropy", "variance")
    }
    assert found["variance"] == 0
    # log 2 nats and the noise, against those of a deviation of 0.8: with few particles the kernel
    # is wider than the modes.
    wide = fm.score.measure(law, lambda i: 0.5, [0, 1], 1, noise=0.05, n_particles=20_000, rng=0)
    assert wide.chosen[0] == 1


def test_groups_of_rows_are_measured_together() -> None:
    law, covariance = normal_law()
    groups = np.eye(6).reshape(3, 2, 6)
    truth = law.sample(1, rng=5)[0]
    s = fm.score.measure(
        law, lambda i: truth[2 * i : 2 * i + 2], groups, 2, noise=0.1, rule="variance", rng=0,
        n_particles=2000,
    )  # fmt: skip
    assert s.values.shape == (2, 2)
    assert s.chosen[0] == int(np.argmax(np.diag(covariance).reshape(3, 2).sum(axis=1)))
    rows = fm.score.measure(law, lambda i: truth[i], np.eye(6), 1, noise=0.1, rng=0)
    mask = fm.score.measure(law, lambda i: truth[i], np.ones(6, dtype=bool), 1, noise=0.1, rng=0)
    np.testing.assert_array_equal(rows.scores, mask.scores)


def digits() -> tuple[Any, Array]:
    """A mixture of one normal law for each digit, over pixels from -1 to 1, and other digits."""
    with np.load(DATA) as data:
        images, labels = data["images"].astype(float) / 8 - 1, data["labels"]
    mine, others = images[:1500], images[1500:]
    each = [mine[labels[:1500] == k] for k in range(10)]
    covariances = np.array([np.cov(x.T) + 0.01 * np.eye(64) for x in each])
    weights = np.array([len(x) for x in each]) / len(mine)
    return fm.score.GaussianMixture(weights, [x.mean(axis=0) for x in each], covariances), others


def test_chosen_pixels_of_digits_tell_more_than_random_ones() -> None:
    law, others = digits()
    errors = {"chosen": 0.0, "random": 0.0}
    rng = np.random.default_rng(0)
    for k in range(6):
        x = others[k]
        s = fm.score.measure(law, lambda i, x=x: x[i], range(64), 6, noise=0.1, rng=k)
        picked = rng.choice(64, 6, replace=False)
        exact = fm.score.Linear(np.eye(64)[picked], 0.1).posterior_of(law, x[picked])[0]
        errors["chosen"] += float(np.mean((s.draws.mean(axis=0) - x) ** 2)) / 6
        errors["random"] += float(np.mean((exact.weights @ exact.means - x) ** 2)) / 6
    assert errors["chosen"] < 0.75 * errors["random"]


@pytest.mark.parametrize("method", ["running", "pigdm", "ddrm"])
def test_every_kind_of_particles(method: Any) -> None:
    law, _ = normal_law()
    truth = law.sample(1, rng=5)[0]
    s = fm.score.measure(
        law, lambda i: truth[i], range(6), 3, noise=0.2, method=method, sigma_range=(0.01, 30.0),
        names=list("abcdef"), rng=1,
    )  # fmt: skip
    assert s.names == tuple("abcdef")
    assert len(set(s.chosen.tolist())) == 3
    assert s.bias
    assert np.abs(s.draws[:, s.chosen] - truth[s.chosen]).mean() < 0.5
    assert s.n_evals > 0


def test_candidates_that_see_nothing() -> None:
    s = fm.score.measure(LAW, lambda i: 0.0, np.zeros((2, 2)), 1, noise=1e-100, rng=0)
    assert np.isfinite(s.scores).all()
    with pytest.raises(NumericalError, match="is too small"):
        fm.score.measure(LAW, lambda i: 0.0, np.zeros((2, 2)), 1, noise=1e-300, rng=0)


def test_models_without_a_derivative() -> None:
    own = fm.score.ScoreModel(
        lambda y, s: y * (s / (1 + s**2))[:, None], "eps", "ve", sigma_range=(0.01, 50.0), dim=3
    )
    s = fm.score.measure(own, lambda i: 1.0, range(3), 2, noise=0.3, n_particles=64, rng=0)
    assert s.mode == "ddrm"
    assert s.draws.shape == (64, 3)
    with pytest.raises(ArgumentError, match="derivative"):
        fm.score.measure(own, lambda i: 1.0, range(3), 2, noise=0.3, method="running")
    with pytest.raises(ArgumentError, match="'exact'"):
        fm.score.measure(own, lambda i: 1.0, range(3), 2, noise=0.3, method="exact")


def test_bits_and_files(tmp_path: Path) -> None:
    law, _ = normal_law()

    def run(**more: Any) -> Any:
        options = {"noise": 0.1, "method": "pigdm", "n_steps": 20, "rng": 3} | more
        return fm.score.measure(law, float, range(6), 2, **options)

    first = run()
    for threads in (1, 2):
        np.testing.assert_array_equal(run(plan=fm.Plan(n_threads=threads)).draws, first.draws)
    assert not np.array_equal(run(rng=4).draws, first.draws)
    first.save(tmp_path / "s.safetensors")
    again = fm.load(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(again.chosen, first.chosen)
    np.testing.assert_array_equal(again.scores, first.scores)
    assert "2 measurements" in repr(again)


def test_a_stop_hands_out_the_measurements() -> None:
    law, _ = normal_law()

    def ask(i: int) -> float:
        if len(asked) == 2:
            signal.raise_signal(signal.SIGINT)
        asked.append(i)
        return 0.5

    for method in ("exact", "running"):
        asked: list[int] = []
        with pytest.raises(KeyboardInterrupt) as stop:
            fm.score.measure(law, ask, range(6), 4, noise=0.1, method=method, rng=0)
        part = stop.value.partial_result  # type: ignore[attr-defined]
        assert part.status == "interrupted"
        assert part.chosen.tolist() == asked == part.chosen.tolist()
        assert part.values.shape == (2, 1)


def test_a_stop_before_the_first_measurement() -> None:
    def ask(i: int) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        fm.score.measure(LAW, ask, [0, 1], 1, noise=0.1, rng=0)
    part = stop.value.partial_result  # type: ignore[attr-defined]
    assert part.chosen.size == 0
    assert part.scores.shape == (0, 2)


class Strange:
    #: Of the wrong type: a dict is needed.
    __array_interface__ = 3


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        ({"candidates": [0, 2]}, ArgumentError, "candidates"),
        ({"candidates": [0.5]}, ArgumentError, "candidates"),
        ({"candidates": [[1.0, 2.0, 3.0]]}, ArgumentError, "candidates"),
        ({"candidates": [[np.inf, 0.0]]}, ArgumentError, "infinity"),
        ({"candidates": [False, False]}, ArgumentError, "at least one True"),
        ({"candidates": Strange()}, ArgumentError, "candidates"),
        ({"names": -np.eye(3)}, ArgumentError, "names"),
        ({"names": ["x"]}, ArgumentError, "names"),
        ({"n_measurements": 3}, ArgumentError, "n_measurements"),
        ({"noise": 0.0}, ArgumentError, "noise"),
        ({"noise": 1e300}, ArgumentError, "smaller units"),
        ({"candidates": np.full((2, 2), 1e308)}, ArgumentError, "smaller units"),
        ({"rule": "largest"}, ArgumentError, "rule"),
        ({"n_particles": 1}, ArgumentError, "n_particles"),
        ({"method": np.ones(3)}, ArgumentError, "method"),
        ({"method": "pigdm", "n_steps": 0}, ArgumentError, "n_steps"),
        ({"ask": 3}, ArgumentError, "ask"),
        ({"ask": lambda i: [1.0, 2.0]}, TargetError, "ask: .* candidate"),
        ({"ask": lambda i: np.nan}, TargetError, "ask"),
        ({"ask": lambda i: "x"}, TargetError, "ask"),
    ],
)
def test_refusals(call: Any, error: Any, match: str) -> None:
    given: dict[str, Any] = {"ask": float, "candidates": [0, 1], "n_measurements": 1} | call
    with pytest.raises(error, match=match):
        fm.score.measure(LAW, **{"noise": 0.1, "rng": 0} | given)
