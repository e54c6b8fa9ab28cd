"""Merging of estimates: weights fixed in advance, independent runs, errors that hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning

LAW = fm.distributions.Normal([0.0, 1.0])


def moments(x: Any) -> Any:
    return np.column_stack([np.exp(0.5 * x[:, 0]), x[:, 0] * x[:, 1], x[:, 1] ** 2])


def run(seed: int, n: int = 2000, **given: Any) -> fm.Estimate:
    return fm.importance.expect(moments, LAW, **{"n": n, "rng": seed, **given})


TRUTH = np.array([np.exp(0.125), 0.0, 2.0])


def test_the_weighted_mean_and_its_errors() -> None:
    a, b = run(1, 1000), run(2, 3000)
    merged = a.merge(b)
    np.testing.assert_allclose(merged.mean, 0.25 * a.mean + 0.75 * b.mean, rtol=1e-14)
    np.testing.assert_allclose(merged.cov, a.cov / 16 + 9 / 16 * b.cov, rtol=1e-14)
    np.testing.assert_allclose(merged.stderr, np.sqrt(np.diagonal(merged.cov)), rtol=1e-12)
    assert (merged.n_evals, merged.settings["n"], merged.settings["seeds"]) == (4000, 4000, (1, 2))
    equal = a.merge(b, weights=[1, 1])
    np.testing.assert_allclose(equal.mean, 0.5 * a.mean + 0.5 * b.mean, rtol=1e-14)
    assert np.all(np.asarray(merged.df) > 1)


def test_no_order_changes_a_bit() -> None:
    runs = [run(k, 500) for k in range(7)]
    one = fm.merge(runs)
    for order in (runs[::-1], runs[3:] + runs[:3]):
        other = fm.merge(order)
        for name in ("mean", "stderr", "cov", "ess", "khat", "df", "unseen"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.filterwarnings("ignore::fermiac.errors.WeightWarning")
def test_the_error_of_merged_runs_holds() -> None:
    pulls = []
    for block in range(60):
        merged = fm.merge([run(1000 + 8 * block + k, 2000) for k in range(8)])
        pulls.append((merged.mean - TRUTH) / merged.stderr)
    inside = np.mean(np.abs(pulls) < 2)
    assert 0.9 < inside < 0.99
    # The mean of the pulls: no bias.
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 5 / np.sqrt(60))


def test_single_and_complex_estimates() -> None:
    law = fm.distributions.Normal()
    runs = [fm.importance.expect(lambda x: np.exp(1j * x[:, 0]), law, rng=k) for k in range(3)]
    merged = fm.merge(runs)
    assert isinstance(merged.mean, complex)
    assert isinstance(merged.stderr, float)
    assert abs(merged.mean - np.exp(-0.5)) < 5 * merged.stderr


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_an_event_that_no_run_met() -> None:
    law = fm.distributions.Normal()
    runs = [
        fm.importance.expect(lambda x: x[:, 0] > 40, law, n=1000, rng=k, method="mc")
        for k in range(4)
    ]
    merged = fm.merge(runs)
    # The rule of three with all points.
    assert merged.mean == 0
    assert merged.stderr == merged.unseen == pytest.approx(runs[0].stderr / 4)
    assert merged.interval(0.95)[0] == 0


def test_runs_that_contradict_each_other() -> None:
    runs = [run(1), run(2)]
    runs[1] = replace(runs[1], mean=runs[1].mean + 20 * runs[1].stderr)
    with pytest.warns(ConvergenceWarning, match="differ by more than their errors allow") as seen:
        merged = fm.merge(runs)
    assert seen[0].message.result is merged  # type: ignore[union-attr]


def test_what_cannot_be_merged(tmp_path: Path) -> None:
    a = run(1)
    with pytest.raises(ArgumentError, match="both came from the seed 1"):
        a.merge(run(1))
    with pytest.raises(ArgumentError, match="both came from the seed 2"):
        a.merge(run(2)).merge(run(2))
    with pytest.raises(ArgumentError, match="the method of estimate 1"):
        a.merge(run(2, method="mc"))
    with pytest.raises(ArgumentError, match="other shapes"):
        a.merge(run(2, covariance="diag"))
    with pytest.raises(ArgumentError, match="give weights="):
        a.merge(replace(run(2), status="interrupted"))
    for wrong in ([1], [1, -1], [1, np.inf], "ab"):
        with pytest.raises(ArgumentError, match="weights"):
            a.merge(run(2), weights=wrong)
    with pytest.raises(ArgumentError, match="estimates are needed"):
        a.merge(3)  # type: ignore[arg-type]
    for nothing in ([], 3, None, [3], [fm.distributions], tmp_path, tmp_path / "none"):
        with pytest.raises(ArgumentError, match="results"):
            fm.merge(nothing)
    (tmp_path / "a.safetensors").write_text("no result")
    with pytest.raises(CheckpointError):
        fm.merge(tmp_path)


def test_files_and_folders(tmp_path: Path) -> None:
    runs = [run(k, 500) for k in range(3)]
    for k, one in enumerate(runs):
        one.save(tmp_path / f"{k}.safetensors")
    merged = fm.merge(runs)
    for given in (tmp_path, str(tmp_path), sorted(tmp_path.iterdir()), iter(runs)):
        np.testing.assert_array_equal(fm.merge(given).mean, merged.mean)
    merged.save(tmp_path / "merged")
    again = fm.load(tmp_path / "merged")
    np.testing.assert_array_equal(again.cov, merged.cov)  # type: ignore[attr-defined]
    assert fm.merge([runs[0]]) is runs[0]


def test_samples_and_nested_runs() -> None:
    a, b = (fm.Sample.from_arrays(np.arange(4.0) + k, seed=k) for k in (1, 2))
    assert fm.merge([a, b]).n_draws == 8

    def slope(x: Any) -> Any:
        return -0.5 * (x**2).sum(axis=1)

    prior = fm.distributions.Uniform([-5.0], [5.0])
    runs = [fm.nested.sample(slope, prior, n_live=50, rng=k) for k in range(2)]
    assert fm.merge(runs).log_evidence == runs[0].merge(runs[1]).log_evidence
