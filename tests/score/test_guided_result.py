"""Guided samples: errors of particles with common ancestors, warnings, and files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_help import two_peaks

import fermiac as fm
from fermiac.errors import WeightWarning

Array = NDArray[np.float64]
RANGE = (0.005, 20.0)


def reward(x: Array) -> Array:
    return np.asarray(0.8 * x[:, 0])


def run(**options: Any) -> Any:
    given: dict[str, Any] = {"n_steps": 20, "sigma_range": RANGE, "rng": 0} | options
    return fm.score.svdd(two_peaks(), given.pop("reward", reward), given.pop("n", 2000), **given)


# Lines of descent are few and uneven, which is told; their errors are right all the same.
@pytest.mark.filterwarnings("ignore::fermiac.errors.WeightWarning")
def test_errors_count_common_ancestors_once() -> None:
    """Sixteen runs spread as their errors say, which those of independent points are not."""
    options: dict[str, Any] = {"alpha": 0.5, "ess_threshold": 0.95, "n_steps": 40, "n": 600}
    runs = [run(mode="particles", rng=k, **options) for k in range(16)]
    estimates = [r.expect(lambda x: x) for r in runs]
    assert all(r.error_model == "particles" and r.n_resamplings > 5 for r in runs)
    spread = np.std([e.mean[0] for e in estimates], ddof=1)
    told = np.sqrt(np.mean([e.stderr[0] ** 2 for e in estimates]))
    points = np.mean([r.draws.std() / np.sqrt(r.ess) for r in runs])
    # A spread of 16 has a relative error of 18 %.
    assert 0.45 * told < spread < 1.8 * told
    assert told > 1.5 * points


def test_weights_that_collapse_are_told() -> None:
    with pytest.warns(WeightWarning, match="effective starting points"):
        sample = run(mode="particles", reward=lambda x: 200 * x[:, 0], n=200)
    assert sample.warnings


def test_results_are_kept(tmp_path: Any) -> None:
    sample = run(n=20, mode="particles", names=["x"])
    sample.save(tmp_path / "guided.safetensors")
    again = fm.load(tmp_path / "guided.safetensors")
    assert isinstance(again, fm.score.Guided)
    np.testing.assert_array_equal(again.draws, sample.draws)
    np.testing.assert_array_equal(again.ancestors, sample.ancestors)
    assert "particles, mean reward" in repr(again)


def test_results_without_weights_are_kept(tmp_path: Any) -> None:
    o = fm.score.Linear([[1.0]], 0.5)
    sample = fm.score.posterior(fm.score.Gaussian([0.0], 1.0), o, [1.0], 10, method="pigdm", rng=0)
    sample.save(tmp_path / "drawn.safetensors")
    again = fm.load(tmp_path / "drawn.safetensors")
    assert again.log_weights is None
    np.testing.assert_array_equal(again.residuals, sample.residuals)
