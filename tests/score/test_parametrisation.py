"""Parametrisations of networks: every kind and prediction, tables of times, and ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import (
    DIM,
    FORMS,
    IDS,
    TABLE,
    denoised,
    network,
    noisy,
    score,
)

from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.score import ScoreModel

Array = NDArray[np.float64]


def exact(x: Array, s: Array) -> Array:
    return denoised(x, s[:, None])


@pytest.mark.parametrize(("prediction", "kind", "options"), FORMS, ids=IDS)
def test_every_parametrisation_of_a_normal_law(
    prediction: str, kind: str, options: dict[str, Any]
) -> None:
    model = ScoreModel(
        network(prediction, kind, options), prediction, kind, (0.01, 100.0), **options
    )
    y, s = noisy(200)
    np.testing.assert_allclose(model.denoise(y, s), denoised(y, s[:, None]), rtol=1e-11, atol=1e-12)
    for level in (0.02, 1.0, 30.0):
        ours, needed = model.denoise(y, level), denoised(y, level)
        np.testing.assert_allclose(ours, needed, rtol=1e-11, atol=1e-12)
    if prediction != "x0":
        # Of the mean alone, the score loses digits where the noise is small.
        np.testing.assert_allclose(model.score(y, s), score(y, s[:, None]), rtol=1e-9, atol=1e-9)


def test_a_score_keeps_its_digits_at_low_levels() -> None:
    y, _ = noisy(50)
    for prediction, kind in (("eps", "ve"), ("score", "vp"), ("edm", "edm"), ("score", "flow")):
        options = {"sigma_data": 0.6} if kind == "edm" else {}
        seen: list[Array] = []

        def constant(x: Array, t: Array, seen: list[Array] = seen) -> Array:
            seen.append(x)
            return np.ones_like(x)

        model = ScoreModel(constant, prediction, kind, (1e-9, 1.0), **options)
        s = 1e-7
        a = {"vp": 1 / np.sqrt(1 + s * s), "flow": 1 / (1 + s)}.get(kind, 1.0)
        needed = {
            "eps": np.full_like(y, -1 / s),
            "score": np.full_like(y, a),
            "edm": -y / (s * s + 0.36) + 0.6 / (s * np.sqrt(s * s + 0.36)),
        }[prediction]
        np.testing.assert_allclose(model.score(y, s), needed, rtol=1e-14)


def test_times_of_a_table_lie_between_its_rows() -> None:
    times: list[Array] = []

    def network(x: Array, t: Array) -> Array:
        times.append(t)
        return x

    levels = np.sqrt((1 - TABLE) / TABLE)
    between = np.sqrt(levels[10] * levels[11])
    y = np.zeros((4, DIM))
    asked = np.array([levels[0], levels[10], between, levels[999]])
    model = ScoreModel(network, kind="vp", alphas_cumprod=TABLE)
    model.denoise(y, asked)
    np.testing.assert_allclose(times.pop(), [0, 10, 10.5, 999], atol=1e-9)
    assert model.sigma_range == pytest.approx((levels[0], levels[999]))
    discrete = ScoreModel(network, kind="vp", alphas_cumprod=TABLE, discrete=True)
    discrete.denoise(y, asked * np.array([1, 1.0001, 1, 1]))
    assert times[-1].dtype == np.int64
    np.testing.assert_array_equal(times.pop(), [0, 10, 10, 999])
    ScoreModel(network, kind="vp", alphas_cumprod=TABLE, time_scale=1e-3).denoise(y, asked)
    np.testing.assert_allclose(times.pop(), [0, 0.01, 0.0105, 0.999], atol=1e-12)
    ScoreModel(network, time=np.log).denoise(y, asked)
    np.testing.assert_allclose(times.pop(), np.log(asked))


def test_ranges_of_the_kinds() -> None:
    assert ScoreModel(exact).sigma_range is None
    assert ScoreModel(exact, "x0", "flow").sigma_range is None
    assert ScoreModel(exact, "x0", "edm").sigma_range == (0.002, 80.0)
    low, high = ScoreModel(exact, "x0", "vp").sigma_range or (0, 0)
    log_a = -0.25 * 19.9 - 0.05
    assert high == pytest.approx(np.sqrt(np.exp(-2 * log_a) - 1))
    assert low == pytest.approx(np.sqrt(np.expm1(0.5e-6 * 19.9 + 1e-4)))
    model = ScoreModel(exact, "x0", sigma_range=(0.1, 10.0))
    with pytest.raises(ArgumentError, match=r"sigma: 11 lies outside .* from 0\.1 to 10"):
        model.denoise(np.zeros((1, DIM)), 11.0)
    model = ScoreModel(exact, "x0", sigma_range=(0.1, 10.0), clamp=True)
    with pytest.warns(FermiacWarning, match="moved to its end"):
        moved = model.denoise(np.ones((1, DIM)), 11.0)
    np.testing.assert_allclose(moved, denoised(np.ones((1, DIM)), 10.0))


def test_times_that_are_refused() -> None:
    for give, message in (
        (lambda s: "early", "gave an array of type <U5"),
        (lambda s: s[:1], r"gave an array of shape \(1,\)"),
        (lambda s: s * np.nan, "gave nan in row 0"),
    ):
        with pytest.raises(TargetError, match=f"time {message}"):
            ScoreModel(exact, time=give).denoise(np.zeros((3, 4)), [2.0, 2.0, 2.0])
