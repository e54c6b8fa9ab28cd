"""The double bootstrap: against brute force, its coverage, samples of all kinds, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample import double_bootstrap

#: With few resamples of resamples, as here, the outermost percentiles are not resolved.
pytestmark = pytest.mark.filterwarnings("ignore:a calibrated level")
X = np.asarray(fm.random.Stream(1).exponential(20))


def test_against_a_loop() -> None:
    """Positions by resampling each resample here."""
    r = double_bootstrap(X, "mean", n_resamples=200, n_inner=400, rng=0)
    plain = fm.resample.bootstrap(X, "mean", n_resamples=200, exact=False, rng=0)
    np.testing.assert_allclose(r.replicates, plain.replicates, rtol=1e-13)
    # The position of the estimate in the resamples of a resample with this mean and variance is
    # normal to first order, so that the positions rise with the distance of the means.
    order = np.argsort(r.replicates)
    assert r.positions[order[:20]].mean() > 0.9
    assert r.positions[order[-20:]].mean() < 0.15
    tail = np.quantile(r.positions, [0.025, 0.975], method="weibull")
    np.testing.assert_allclose(r.levels, np.clip(tail, 1 / 401, 400 / 401))
    ends = np.quantile(r.replicates, r.levels, method="weibull")
    np.testing.assert_allclose([r.lower, r.upper], ends)
    assert r.summary()["mean"]["upper_level"] == r.levels[1]


def test_functions_and_names_agree() -> None:
    a = double_bootstrap(X, "mean", n_resamples=120, n_inner=40, rng=3)
    b = double_bootstrap(X, lambda batch: batch.mean(axis=1), n_resamples=120, n_inner=40, rng=3)
    np.testing.assert_allclose(a.replicates, b.replicates, rtol=1e-13)
    np.testing.assert_array_equal(a.positions, b.positions)
    assert b.n_evals == 120 * 41 + 1


@pytest.mark.filterwarnings("ignore:15 observations are few")
def test_coverage_of_a_skewed_mean() -> None:
    """The mean of 15 exponential numbers in 50 data sets: percentile intervals are too short."""
    held = plain = 0
    for seed in range(1000, 1050):
        x = fm.random.Stream(seed).exponential(15)
        r = double_bootstrap(
            x, "mean", n_resamples=300, n_inner=150, rng=seed, plan=fm.Plan(progress=False)
        )
        held += bool(r.lower < 1 < r.upper)
        plain += bool(r.plain_lower < 1 < r.plain_upper)
    assert held / 50 > 0.84
    assert held > plain


def test_samples_of_all_kinds() -> None:
    st = fm.random.Stream(2)
    x, y = st.normal((24, 2)), st.normal(24)
    few: Any = {"n_resamples": 100, "n_inner": 30, "rng": 0}
    r = double_bootstrap(x, "mean", **few)
    assert np.shape(r.estimate) == (2,)
    assert r.levels.shape == (2, 2)
    assert double_bootstrap((x, y), "ols", **few).replicates.shape == (100, 3)
    assert isinstance(double_bootstrap((x[:, 0], y), "mean_difference", **few).lower, float)
    truth = (y > 0).astype(float)
    guess = (y + x[:, 0] > 0).astype(float)
    assert 0 <= double_bootstrap((truth, guess), "accuracy", **few).estimate <= 1

    def gap(a: Any, b: Any) -> Any:
        return a.mean(1) - b.mean(1)

    strata = np.arange(24) % 2
    one = double_bootstrap((x[:, 0], y), gap, **few)
    known = double_bootstrap((x[:, 0], y), "mean_difference", **few)
    np.testing.assert_allclose(one.replicates, known.replicates, rtol=1e-10, atol=1e-14)
    split = double_bootstrap(y + 10 * strata, "mean", strata=strata, **few)
    whole = double_bootstrap(y + 10 * strata, "mean", **few)
    assert split.stderr < 0.5 * whole.stderr
    named = double_bootstrap(y + 10 * strata, lambda b: b.mean(1), strata=strata, **few)
    np.testing.assert_allclose(named.replicates, split.replicates)
    np.testing.assert_array_equal(named.positions, split.positions)


def test_the_seed_threads_and_pinned_values(thread_counts: tuple[int, ...]) -> None:
    runs = [
        double_bootstrap(X, "mean", n_resamples=150, n_inner=50, rng=4, plan=fm.Plan(n_threads=t))
        for t in thread_counts
    ]
    assert len({(r.lower, r.upper) for r in runs}) == 1
    assert [runs[0].lower, runs[0].upper] == pytest.approx(
        [0.3744935832544592, 1.0762841776679657], rel=1e-12
    )


def test_files(tmp_path: Path) -> None:
    r = double_bootstrap(X, "mean", n_resamples=100, n_inner=40, rng=0)
    r.save(tmp_path / "r.safetensors")
    loaded = fm.load(tmp_path / "r.safetensors")
    assert isinstance(loaded, fm.resample.DoubleBootstrap)
    assert loaded.to_dict() == r.to_dict()
    assert "calibrated" in repr(r)


def test_doubts() -> None:
    with pytest.warns(FermiacWarning, match="observations are few"):
        double_bootstrap(X[:8], "mean", n_resamples=200, n_inner=400, rng=1)
    with pytest.warns(FermiacWarning, match="calibration makes"):
        double_bootstrap(np.repeat(X, 2) + np.arange(40.0) / 50, "skewness", rng=0, n_resamples=100)
    with pytest.warns(FermiacWarning, match="beyond the resolution"):
        double_bootstrap(np.exp(3 * X), "mean", n_resamples=100, n_inner=20, rng=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistic": "autocorrelation"}, "order"),
        ({"statistic": "centre"}, "statistic"),
        ({"n_resamples": 99}, "n_resamples"),
        ({"n_inner": 19}, "n_inner"),
        ({"prob": 0}, "prob"),
        ({"strata": [1]}, "strata"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        double_bootstrap(X, **{"rng": 0, **arguments})


def test_an_interrupt_hands_out_the_resamples_so_far() -> None:
    def stop(done: int, total: int) -> None:
        if done > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        double_bootstrap(X, "mean", rng=0, plan=fm.Plan(progress=stop))
    part = stopped.value.partial_result
    assert part.status == "interrupted"
    assert part.n_resamples == 192
    whole = double_bootstrap(X, "mean", rng=0)
    np.testing.assert_array_equal(whole.positions[:192], part.positions)


def test_parts_stores_and_interrupts(tmp_path: Path) -> None:
    def call(**given: Any) -> Any:
        return double_bootstrap(X, "mean", **{"n_resamples": 400, "n_inner": 20, "rng": 0, **given})

    whole = call()
    parts = [call(plan=fm.Plan(part=(i, 3))) for i in range(3)]
    assert repr(parts[0]).startswith("Replicates: 133 of 400")
    # Another confidence needs no other resamples.
    other = call(prob=0.9, replicates=fm.merge(parts))
    assert other.upper == call(prob=0.9).upper <= whole.upper
    with pytest.raises(ArgumentError, match="of another call"):
        call(n_inner=21, replicates=fm.merge(parts))
    with pytest.warns(FermiacWarning), pytest.raises(ArgumentError, match="are missing"):
        call(replicates=fm.merge(parts[:2]))
    with pytest.raises(ArgumentError, match="store: given without rng="):
        call(plan=fm.Plan(store=tmp_path), rng=None)

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    for store in (None, tmp_path):
        with pytest.raises(KeyboardInterrupt) as stopped:
            call(plan=fm.Plan(store=store, progress=stop))
        partial = stopped.value.partial_result  # type: ignore[attr-defined]
        assert 200 <= partial.n_resamples < 400
        np.testing.assert_array_equal(partial.replicates, whole.replicates[: partial.n_resamples])
    assert call(plan=fm.Plan(store=tmp_path)).upper == whole.upper
