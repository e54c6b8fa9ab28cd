"""The bag of little bootstraps: known errors, data on disk, the order of data, arguments."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_help import spawned

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample import little_bootstraps
from fermiac.resample.little import _Division, _Stored

X = np.asarray(fm.random.Stream(1).exponential(20_000))


def test_every_observation_is_in_one_subset() -> None:
    for n, run, count in [(100, 1, 5), (103, 4, 7), (1000, 16, 13)]:
        parts = [_Division(n, run, count).rows(j) for j in range(count)]
        assert sorted(np.concatenate(parts).tolist()) == list(range(n))


@pytest.mark.parametrize(
    ("statistic", "known"),
    [("mean", 1.0), ("sd", np.sqrt(2.0)), ("trimmed_mean", 0.933)],  # times 1 / √n
)
def test_errors_of_known_statistics(statistic: Any, known: float) -> None:
    r = little_bootstraps(X, statistic, n_resamples=200, rng=0)
    # The error itself has an error of a few percent.
    assert r.stderr * np.sqrt(20_000) == pytest.approx(known, rel=0.1)
    width = (r.upper - r.lower) / (2 * 1.96 * r.stderr)
    assert width == pytest.approx(1.0, abs=0.05)
    assert r.n_used == 20_000
    assert r.subset_estimates.shape == (r.n_subsets,)
    assert (r.mc_error < 0.2 * r.stderr).all()


def test_the_mean_is_that_of_the_data() -> None:
    r = little_bootstraps(X, "mean", rng=0)
    assert r.estimate == pytest.approx(X.mean(), rel=1e-12)


def test_coverage() -> None:
    held = 0
    for seed in range(1000, 1100):
        x = fm.random.Stream(seed).exponential(1000)
        r = little_bootstraps(x, "mean", n_resamples=60, rng=seed, plan=fm.Plan(progress=False))
        held += bool(r.lower < 1 < r.upper)
    assert 0.89 <= held / 100 <= 0.99


def test_data_on_disk_and_in_memory(tmp_path: Path) -> None:
    st = fm.random.Stream(3)
    table = st.normal((30_000, 3)).astype(np.float32)
    file = np.memmap(tmp_path / "table", np.float32, "w+", shape=table.shape)
    file[:] = table
    a = little_bootstraps((file[:, :2], file[:, 2]), "ols", n_resamples=40, rng=0)
    b = little_bootstraps((table[:, :2], table[:, 2]), "ols", n_resamples=40, rng=0)
    np.testing.assert_array_equal(a.lower, b.lower)
    assert np.shape(a.estimate) == (3,)
    np.testing.assert_allclose(a.stderr, 1 / np.sqrt(30_000), rtol=0.1)


def test_functions_and_names_agree() -> None:
    def means(x: Any, w: Any) -> Any:
        return (w @ x) / w.sum(axis=1)

    a = little_bootstraps(X, "mean", n_resamples=40, rng=3)
    b = little_bootstraps(X, means, n_resamples=40, rng=3)
    assert a.lower == pytest.approx(b.lower, rel=1e-10)
    seen = []

    def sums(x: Any, w: Any) -> Any:
        seen.append(w.sum(axis=1))
        return means(x, w)

    little_bootstraps(X, sums, n_subsets=2, n_resamples=20, rng=0)
    totals = np.concatenate(seen)
    assert np.unique(totals[totals > 1100]).tolist() == [2 * 1056.0]


def test_some_of_the_subsets() -> None:
    whole = little_bootstraps(X, "mean", rng=0)
    some = little_bootstraps(X, "mean", n_subsets=5, rng=0)
    assert some.n_used == 5 * 1056
    ratio = float(some.stderr) / float(whole.stderr)
    assert ratio == pytest.approx(np.sqrt(20_000 / some.n_used), rel=0.1)


def test_the_seed_threads_and_pinned_values(thread_counts: tuple[int, ...]) -> None:
    runs = [
        little_bootstraps(X[:3000], "sd", n_resamples=40, rng=4, plan=fm.Plan(n_threads=t))
        for t in thread_counts
    ]
    assert len({(r.lower, r.upper) for r in runs}) == 1
    assert [runs[0].lower, runs[0].upper] == pytest.approx(
        [0.9401581896529737, 1.0559512550922525], rel=1e-9
    )


def test_files(tmp_path: Path) -> None:
    r = little_bootstraps(X, "mean", n_resamples=20, rng=0)
    r.save(tmp_path / "r.safetensors")
    loaded = fm.load(tmp_path / "r.safetensors")
    assert isinstance(loaded, fm.resample.LittleBootstraps)
    assert loaded.to_dict() == r.to_dict()
    assert r.summary()["mean"]["stderr"] == r.stderr
    assert "19 subsets" in repr(r)


def test_doubts() -> None:
    with pytest.warns(FermiacWarning, match="few observations near a quantile"):
        r = little_bootstraps(X, "median", rng=0)
    assert 1.0 < r.stderr * np.sqrt(20_000) < 1.3  # of 1: it is too large
    with pytest.warns(FermiacWarning, match="small for a bag"):
        little_bootstraps(X[:200], "mean", rng=0)
    period = np.repeat(np.arange(20.0), 15)  # of the number of subsets
    with pytest.warns(FermiacWarning, match="the subsets differ"):
        little_bootstraps(X + np.resize(period, 20_000), "mean", rng=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistic": "mean_difference"}, "independent samples"),
        ({"statistic": "autocorrelation"}, "series"),
        ({"exponent": 0.4}, "exponent"),
        ({"n_subsets": 1}, "n_subsets"),
        ({"n_subsets": 10**6}, "n_subsets"),
        ({"n_resamples": 10}, "n_resamples"),
        ({"prob": 1}, "prob"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        little_bootstraps(X, **{"rng": 0, **arguments})


def test_data_that_cannot_be_used() -> None:
    bad = X.copy()
    bad[77] = np.nan
    for given, message in [
        (X[:50], "80 are needed"),
        ((X, X[:-1]), "as many"),
        (X.astype(str), "numbers"),
        (bad, "NaN"),
        (3.0, "shapes"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            little_bootstraps(given, rng=0)


def test_an_interrupt_hands_out_the_subsets_so_far() -> None:
    def stop(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    whole = little_bootstraps(X, "mean", rng=0)
    with pytest.raises(KeyboardInterrupt) as stopped:
        little_bootstraps(X, "mean", rng=0, plan=fm.Plan(progress=stop))
    part = stopped.value.partial_result
    assert part.status == "interrupted"
    ratio = float(part.stderr) / float(whole.stderr)
    assert ratio == pytest.approx(np.sqrt(20_000 / part.n_used), rel=0.05)


def test_workers_open_the_file_of_a_map(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, fm.random.Stream(1).exponential((2000, 3)))
    x: Any = np.load(path, mmap_mode="r")
    assert len(pickle.dumps(_Stored.of(x))) < 1000
    for given in (x, x[5:], x[:, 1], x[::2], np.asfortranarray(x)):
        there = pickle.loads(pickle.dumps(_Stored.of(given)))
        np.testing.assert_array_equal(there.opened(), given)
    columns = np.memmap(tmp_path / "y", "f8", "w+", 16, (2000, 2), "F")
    columns[:] = x[:, :2]
    columns.flush()
    stored = pickle.dumps(_Stored.of(columns))
    assert len(stored) < 1000
    np.testing.assert_array_equal(pickle.loads(stored).opened(), columns)
    with spawned(2) as executor:
        there = little_bootstraps(x, "mean", n_resamples=20, rng=0, plan=executor)
    np.testing.assert_array_equal(
        there.upper, little_bootstraps(x, "mean", n_resamples=20, rng=0).upper
    )


def test_parts_and_stores(tmp_path: Path) -> None:
    x = fm.random.Stream(1).exponential(2000)
    whole = little_bootstraps(x, n_resamples=20, rng=0)
    parts = [
        little_bootstraps(x, n_resamples=20, rng=0, plan=fm.Plan(part=(i, 2))) for i in range(2)
    ]
    with pytest.raises(ArgumentError, match="of another call"):
        little_bootstraps(x + 1, n_resamples=20, rng=0, replicates=fm.merge(parts))
    merged = little_bootstraps(x, n_resamples=20, rng=0, replicates=fm.merge(parts), prob=0.95)
    assert (merged.lower, merged.upper) == (whole.lower, whole.upper)

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    for store in (None, tmp_path):
        with pytest.raises(KeyboardInterrupt) as stopped:
            little_bootstraps(x, n_resamples=20, rng=0, plan=fm.Plan(store=store, progress=stop))
        partial = stopped.value.partial_result  # type: ignore[attr-defined]
        assert 2 <= partial.n_subsets < whole.n_subsets
        assert partial.status == "interrupted"
    assert (
        little_bootstraps(x, n_resamples=20, rng=0, plan=fm.Plan(store=tmp_path)).upper
        == whole.upper
    )
