"""Averages by power functions of the step: closed forms, rebuilt widths, a training with them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.score.power_average import WIDTHS, combination, exponent_of

Array = NDArray[np.float64]
N_STEPS = 5000
#: A sequence of numbers in place of weights.
VALUES = np.sin(np.arange(1, N_STEPS + 1) / 300.0) + np.sqrt(np.arange(1, N_STEPS + 1)) / 50.0


def closed(gamma: float, t: int) -> float:
    """The average at step t: step τ has the weight (τ/t)^(γ+1) - ((τ-1)/t)^(γ+1)."""
    reached = (np.arange(t + 1) / t) ** (gamma + 1)
    return float(np.diff(reached) @ VALUES[:t])


def test_exponents_of_widths() -> None:
    for width in (0.03, 0.05, 0.1, 0.2, 0.28):
        gamma = exponent_of(width)
        assert np.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) == pytest.approx(width)
    assert exponent_of(0.05) == pytest.approx(16.97, abs=0.01)
    assert exponent_of(0.10) == pytest.approx(6.94, abs=0.01)


def test_the_recursion_has_the_closed_form() -> None:
    for width in (0.05, 0.2):
        gamma, average = exponent_of(width), 0.0
        for t in range(1, N_STEPS + 1):
            beta = (1 - 1 / t) ** (gamma + 1)
            average = beta * average + (1 - beta) * VALUES[t - 1]
        assert average == pytest.approx(closed(gamma, N_STEPS), rel=1e-9)


@pytest.mark.parametrize(("n", "tolerance"), [(8, 2e-2), (64, 1e-5)])
@pytest.mark.parametrize("width", [0.05, 0.07, 0.1, 0.13])
def test_widths_are_rebuilt_from_snapshots(n: int, tolerance: float, width: float) -> None:
    times = [round((i + 1) * N_STEPS / n) for i in range(n)]
    exponents = [exponent_of(w) for w in WIDTHS for _ in times]
    shares, distance = combination(exponents, times * 2, exponent_of(width), N_STEPS)
    kept = np.array([closed(g, t) for g, t in zip(exponents, times * 2, strict=True)])
    assert shares @ kept == pytest.approx(closed(exponent_of(width), N_STEPS), abs=tolerance)
    assert distance < 2 * np.sqrt(tolerance)
    assert shares.sum() == pytest.approx(1)


@pytest.mark.torch
def test_a_training_keeps_them(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    x = fm.random.Stream(1).normal((1000, 2))
    how: dict[str, Any] = {"n_steps": 200, "width": 16, "n_blocks": 1, "learning_rate": 3e-3}
    model = fm.score.train_score(x, ema="power", rng=0, **how)
    assert model.training.settings["ema"] == "power"
    # The same weights as those of the model, which has the first width.
    same = model.with_ema(WIDTHS[0])
    np.testing.assert_allclose(same.denoise(x, 0.7), model.denoise(x, 0.7), atol=1e-5)
    wide = model.with_ema(0.2)
    assert np.abs(wide.denoise(x, 0.7) - model.denoise(x, 0.7)).max() > 1e-4
    assert wide.training is model.training
    with pytest.warns(FermiacWarning, match="is known up to"):
        model.with_ema(0.01)
    for wrong in (0.0, 0.3, np.nan):
        with pytest.raises(ArgumentError, match="width"):
            model.with_ema(wrong)
    with pytest.raises(ArgumentError, match="ema='power'"):
        wide.with_ema(0.1)
    with pytest.raises(ArgumentError, match="ema: 'linear'"):
        fm.score.train_score(x, ema="linear", rng=0, **how)  # type: ignore[arg-type]
    wide.save(tmp_path / "wide.safetensors")
    again = fm.score.load_score(tmp_path / "wide.safetensors")
    np.testing.assert_array_equal(again.denoise(x, 0.7), wide.denoise(x, 0.7))
    sent = pickle.loads(pickle.dumps(model))
    assert sent._averages is None


@pytest.mark.torch
def test_a_stopped_training_goes_on_with_them(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    x = fm.random.Stream(1).normal((500, 2))
    how: dict[str, Any] = {"n_steps": 120, "width": 16, "n_blocks": 1, "rng": 0, "ema": "power"}
    whole = fm.score.train_score(x, **how)

    def stop(done: int, total: int) -> None:
        if done == 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.train_score(x, plan=fm.Plan(progress=stop, store=tmp_path), **how)
    part = caught.value.partial_result  # type: ignore[attr-defined]
    assert np.isfinite(part.with_ema(0.12).denoise(x, 1.0)).all()
    resumed = fm.score.train_score(x, plan=fm.Plan(store=tmp_path), **how)
    for width in (0.05, 0.12):
        np.testing.assert_array_equal(
            resumed.with_ema(width).denoise(x, 1.0), whole.with_ema(width).denoise(x, 1.0)
        )
