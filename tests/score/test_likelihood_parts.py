"""Rows of likelihoods in parts; `tests/runs/test_whole_calls.py` has their bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning

MODEL = fm.score.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], [0.04, 0.04])
X = fm.random.Stream(6).normal((12, 2))


def likelihood(x: Any = X, **given: Any) -> Any:
    how = {"rtol": 1e-2, "trace": "hutchinson", "n_probes": 2, "rng": 1, **given}
    return fm.score.log_likelihood(MODEL, x, (0.1, 10.0), **how)


def test_later_rows_have_the_probes_of_the_whole_call() -> None:
    whole, rest = likelihood(), likelihood(X[5:], first_row=5)
    np.testing.assert_array_equal(rest.log_density, whole.log_density[5:])
    np.testing.assert_array_equal(rest.stderr, whole.stderr[5:])
    assert not (likelihood(X[5:]).log_density == whole.log_density[5:]).all()
    part = likelihood(X[5:], first_row=5, plan=fm.Plan(part=(1, 2)))
    np.testing.assert_array_equal(part.log_density, whole.log_density[8:])


def test_exact_traces_have_no_standard_errors(tmp_path: Path) -> None:
    whole = likelihood(trace="exact", n_probes=None)
    parts = [likelihood(trace="exact", n_probes=None, plan=fm.Plan(part=(i, 3))) for i in range(3)]
    parts[1].save(tmp_path / "one.safetensors")
    merged = fm.merge([parts[2], parts[0], fm.load(tmp_path / "one.safetensors")])
    assert merged.stderr is None
    np.testing.assert_array_equal(merged.log_density, whole.log_density)
    np.testing.assert_array_equal(merged.latent, whole.latent)
    assert merged.n_evals == whole.n_evals
    assert "Likelihood of 12 points" in repr(merged)


def test_images_and_settings_of_whole_calls(tmp_path: Path) -> None:
    class Normal(fm.score.Model):
        def _denoise(self, y: Any, sigma: Any) -> Any:
            return y / (1 + sigma[:, None] ** 2)

    x = X.reshape(6, 2, 2)
    whole = fm.score.log_likelihood(Normal(), x, (0.1, 10.0), rng=0)
    kept = fm.score.log_likelihood(Normal(), x, (0.1, 10.0), rng=0, plan=fm.Plan(store=tmp_path))
    assert kept.latent.shape == (6, 2, 2)
    assert kept.settings == whole.settings
    np.testing.assert_array_equal(kept.log_density, whole.log_density)
    assert len([*tmp_path.iterdir()]) == 6


def test_parts_of_other_calls_and_missing_ones() -> None:
    parts = [likelihood(plan=fm.Plan(part=(i, 3))) for i in range(3)]
    with pytest.raises(ArgumentError, match="two parts hold row 0"):
        parts[0].merge(parts[0])
    for other in (likelihood(), likelihood(plan=fm.Plan(part=(1, 3)), rng=2)):
        with pytest.raises(ArgumentError, match="are not parts of one call"):
            parts[0].merge(other)
    with pytest.raises(ArgumentError, match="parts of one call are needed"):
        parts[0].merge(3)
    with pytest.warns(FermiacWarning, match="4 of 12 rows are missing: 4 to 7"):
        fm.merge([parts[2], parts[0]])


@pytest.mark.parametrize(
    ("x", "more", "words"),
    [
        (X, {"executor": 3}, "executor: 3 given"),
        (X, {"store": "x", "rng": None}, "store: given without rng="),
        (X, {"part": (3, 2)}, "part"),
        (X, {"first_row": -1}, "first_row"),
        (X[0], {"part": (0, 1)}, r"x: shape \(2,\) was given"),
        (X[:0], {"part": (0, 1)}, r"x: shape \(0, 2\) was given"),
    ],
)
def test_refused(x: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        likelihood(x, **planned(**more))
