"""Tests of dynamic nested sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import until
from nested_gauss import DIM, EXACT, LAW, MEANS, PRIOR, assert_same_run
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning
from fermiac.nested import Dynamic, NestedResult
from fermiac.runs.checkpoint import RunCheckpoint

# Warnings about few points, or chains that are short on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:families of points disagree"),
    pytest.mark.filterwarnings("ignore:chains end where they began"),
]


def run(**given: Any) -> NestedResult:
    kinds: dict[str, Any] = {"sampler": "slice", "n_live": 100, "rng": 3, **given}
    return fm.nested.sample(kinds.pop("target", LAW), kinds.pop("prior", PRIOR), **planned(**kinds))


def alive_at(r: NestedResult, level: float) -> int:
    return int(np.sum((r.births <= level) & (r.log_likelihoods > level)))


@pytest.mark.parametrize("share", [0.0, 0.8, 1.0])
def test_evidence_and_posterior_have_no_bias(share: float) -> None:
    aim = Dynamic(posterior_share=share, target_ess=2500, target_stderr=0.17)
    runs = [run(rng=seed, dynamic=aim) for seed in range(12)]
    z = np.array([float(r.log_evidence - EXACT) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) < 1
    assert np.max(np.abs(z)) < 4
    assert 0.5 < np.std(z) < 1.7
    averages = [r.expect(lambda x: x) for r in runs]
    off = np.array([e.mean - MEANS for e in averages])
    error = np.array([e.stderr for e in averages]).mean(axis=0)
    assert np.all(np.abs(off.mean(axis=0)) < 5 * error / np.sqrt(len(runs)))
    assert np.all(off.std(axis=0) < 2 * error)
    assert np.all(off.std(axis=0) > 0.4 * error)
    assert np.std([r.rank_z for r in runs]) < 2


def test_what_is_aimed_at_is_reached() -> None:
    for share in (0.0, 0.5, 1.0):
        aim = Dynamic(posterior_share=share, target_ess=3000, target_stderr=0.2)
        r = run(dynamic=aim)
        assert (r.status, r.converged, r.warnings) == ("complete", True, ())
        assert aim.measure(float(r.ess), r.log_evidence_volumes_stderr) <= 1
        # Not much beyond it.
        assert aim.measure(float(r.ess), r.log_evidence_volumes_stderr) > 0.7
    assert r.ess >= 3000
    assert r.settings["dynamic"]["target_ess"] == 3000


def test_points_are_added_where_they_count() -> None:
    none, all_of_it = (
        run(dynamic=Dynamic(posterior_share=g, target_ess=3000, target_stderr=0.15))
        for g in (0.0, 1.0)
    )
    static = run(n_live=400)
    # High up, and in the lower half of the way to the posterior.
    heights = np.quantile(static.log_x, [0.5, 0.9])
    early, late = heights[1], static.log_x[np.argmax(static._weights())]

    def alive(r: NestedResult, log_x: float) -> int:
        return int(r.n_alive[np.searchsorted(-r.log_x, -log_x)])

    assert alive(all_of_it, late) > 2 * alive(all_of_it, early)
    assert alive(none, early) > 0.7 * alive(none, late)
    assert alive(none, early) > 2 * 100
    # The same effort gives more of what was asked for.
    assert all_of_it.ess / all_of_it.n_evals > 1.3 * static.ess / static.n_evals
    cost = [r.log_evidence_volumes_stderr**2 * r.n_evals for r in (none, static)]
    assert cost[0] < 0.8 * cost[1]


def test_points_add_up() -> None:
    r = run(dynamic=Dynamic(target_ess=2000))
    assert r.settings["n_live"] == r.n_live == 100
    low, high = r.settings["runs"]["low"], r.settings["runs"]["high"]
    assert len(low) > 3
    assert (low[0], high[0]) == (-np.inf, np.inf)
    order = np.lexsort((r.lineages, r.log_likelihoods))
    np.testing.assert_array_equal(order, np.arange(r.n_draws))
    n_alive = [np.sum(r.births < ell) - i for i, ell in enumerate(r.log_likelihoods)]
    np.testing.assert_array_equal(r.n_alive, n_alive)
    # Each batch has a hundred lineages of its own.
    _, first = np.unique(r.lineages, return_index=True)
    assert len(first) == 100 * len(low)
    born = np.sort(r.births[first])
    np.testing.assert_array_equal(np.unique(born), np.unique(low))
    # Families are those of prior draws, though batches began above levels.
    assert np.unique(r.families).size <= np.sum(r.births == -np.inf)
    assert r.families.max() < r.n_draws
    roots = r.births == -np.inf
    assert np.unique(r.families[roots]).size == roots.sum()
    assert set(r.trace["run"]) == set(range(len(low)))
    assert r.bootstrap(200, rng=0).std() == pytest.approx(r.log_evidence_volumes_stderr, rel=0.4)


def test_batches_explore_the_prior() -> None:
    aim = Dynamic(posterior_share=1.0, target_ess=1e9, max_batches=6, explore_every=2)
    with pytest.warns(ConvergenceWarning, match="max_batches ended the run"):
        r = run(dynamic=aim)
    low = np.array(r.settings["runs"]["low"])
    np.testing.assert_array_equal(np.flatnonzero(low == -np.inf), [0, 2, 4, 6])
    assert (r.status, r.converged) == ("stopped", False)
    with pytest.warns(ConvergenceWarning):
        r = run(dynamic=Dynamic(posterior_share=1.0, target_ess=1e9, max_batches=6,
                                explore_every=None))  # fmt: skip
    assert np.all(np.array(r.settings["runs"]["low"][1:]) > -np.inf)


def test_a_missed_mode_is_found_by_exploring() -> None:
    # The narrow mode has more of the evidence than the broad one, and a tenth of a percent of
    # the prior.
    def two(x: np.ndarray) -> np.ndarray:
        broad = -0.5 * ((x + 5) ** 2).sum(axis=1) / 4
        narrow = 14 - 0.5 * ((x - 5) ** 2).sum(axis=1) / 0.01
        out: np.ndarray = np.logaddexp(broad, narrow)
        return out

    prior = fm.distributions.Uniform([-10.0] * 2, [10.0] * 2)
    exact = np.log((2 * np.pi * 4 + 2 * np.pi * 0.01 * np.exp(14)) / 400)
    aim = Dynamic(target_ess=8000, explore_every=1, n_batch=400)
    found = [
        run(target=two, prior=prior, sampler="slice", n_live=30, rng=seed, dynamic=aim)
        for seed in range(3)
    ]
    for r in found:
        assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr


def test_a_constant_likelihood() -> None:
    aim = Dynamic(target_ess=500)
    with pytest.warns(ConvergenceWarning, match="values of the log-likelihood are equal"):
        r = run(target=lambda x: np.full(len(x), 2.0), sampler="unif", dynamic=aim)
    assert r.log_evidence == pytest.approx(2.0, abs=1e-12)
    assert r.ess >= 400


def test_plateaus_and_impossible_points() -> None:
    def stairs(x: np.ndarray) -> np.ndarray:
        r = np.abs(x).max(axis=1)
        return np.where(r > 8, -np.inf, -np.floor(2 * r))

    edges = np.arange(0, 8.5, 0.5) / 10
    exact = np.log(np.sum(np.diff(edges**2) * np.exp(-np.arange(16))))
    prior = fm.distributions.Uniform([-10.0] * 2, [10.0] * 2)
    aim = Dynamic(target_ess=1500, target_stderr=0.1)
    z = []
    for seed in range(6):
        r = run(target=stairs, prior=prior, dynamic=aim, rng=seed)
        z.append((r.log_evidence - exact) / r.log_evidence_stderr)
    assert abs(np.mean(z)) < 1.5
    assert np.max(np.abs(z)) < 4.5


def test_limits() -> None:
    aim = Dynamic(target_ess=4000)
    whole = run(dynamic=aim)
    with pytest.warns(ConvergenceWarning, match="ended by max_evals before its targets"):
        some = run(dynamic=aim, max_evals=whole.n_evals // 2)
    assert whole.n_evals // 2 <= some.n_evals < 0.6 * whole.n_evals
    assert some.status == "stopped"
    assert abs(some.log_evidence - EXACT) < 5 * some.log_evidence_stderr
    n_batches = len(whole.trace["level"])
    with pytest.warns(ConvergenceWarning, match="ended by max_iter"):
        some = run(dynamic=aim, max_iter=n_batches // 2)
    assert len(some.trace["level"]) == pytest.approx(n_batches // 2, abs=2)
    with pytest.warns(ConvergenceWarning, match="ended by max_time"):
        some = run(dynamic=Dynamic(target_ess=1e9), plan=fm.Plan(max_time=0.3))
    assert some.status == "stopped"


def test_threads_change_nothing() -> None:
    aim = Dynamic(target_ess=1500)
    assert_same_run(
        run(dynamic=aim, plan=fm.Plan(n_threads=1)), run(dynamic=aim, plan=fm.Plan(n_threads=2))
    )
    assert_same_run(run(dynamic=True, max_evals=10**9), run(dynamic=Dynamic(), max_evals=10**9))


class Killed(BaseException):
    """Ends a process."""


@pytest.mark.parametrize(
    ("sampler", "share"),
    [("slice", 0.0), ("slice", 0.1), ("slice", 0.6), ("rwalk", 0.4), ("slice", 0.99)],
)
def test_a_killed_run_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, share: float
) -> None:
    aim = Dynamic(target_ess=400, target_stderr=0.3)

    def target(x: np.ndarray) -> np.ndarray:
        return LAW.log_density(x)

    given: dict[str, Any] = {"target": target, "dynamic": aim, "sampler": sampler, "n_live": 30}
    whole = run(**given)
    n_writes = 0
    last = 10**9

    def write(self: RunCheckpoint, *args: Any, **kwargs: Any) -> None:
        nonlocal n_writes
        n_writes += 1
        if n_writes > last:
            raise Killed
        if n_writes == last:
            put(self, *args, **kwargs)

    put = RunCheckpoint.write
    # At the end of every round.
    monkeypatch.setattr(RunCheckpoint, "wait", lambda self: 0.0)
    monkeypatch.setattr(RunCheckpoint, "write", write)
    path = tmp_path / "run"
    run(**given, store=tmp_path / "counted")
    n_writes, last = 0, max(int(share * n_writes), 1)
    assert not (path / "state.safetensors").exists()
    with pytest.raises(Killed):
        run(**given, store=path)
    assert (path / "state.safetensors").exists()
    monkeypatch.undo()
    assert_same_run(run(**given, store=path, rng=None), whole)


def test_a_partial_result_goes_on() -> None:
    """Stopped by a callback, between two rounds."""
    aim = Dynamic(target_ess=20_000)
    whole = run(dynamic=aim)

    def stop(done: int, total: int) -> None:
        if 0 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(dynamic=aim, plan=fm.Plan(progress=stop))
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.n_evals < whole.n_evals
    assert_same_run(partial.extend(), whole)


def test_a_finished_file_goes_on_to_other_targets(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run(dynamic=Dynamic(target_ess=1000), store=path)
    evaluated = 0

    def counted(x: np.ndarray) -> np.ndarray:
        nonlocal evaluated
        evaluated += len(x)
        return LAW.log_density(x)

    more = run(dynamic=Dynamic(target_ess=2000), store=path)
    assert_same_run(more, run(dynamic=Dynamic(target_ess=2000)))
    again = run(target=counted, dynamic=Dynamic(target_ess=2000), store=path)
    assert again.n_evals == more.n_evals
    assert evaluated < 10
    with pytest.raises(CheckpointError, match="its dynamic is"):
        run(store=path)
    with pytest.raises(CheckpointError, match="its dynamic is"):
        run(dynamic=Dynamic(posterior_share=0.5), store=path)


def test_progress_rises_and_a_handle_looks() -> None:
    seen: list[tuple[int, int]] = []
    r = run(
        dynamic=Dynamic(target_ess=2500),
        plan=fm.Plan(progress=lambda done, total: seen.append((done, total))),
    )
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (r.n_evals, r.n_evals)
    handle = fm.nested.start(
        "sample", LAW, PRIOR, sampler="slice", n_live=200, rng=0, dynamic=Dynamic(target_ess=1e8)
    )

    def several() -> Any:
        view = handle.inspect()
        return view if view is not None and len(view.settings["runs"]["low"]) > 3 else None

    view = until(several, "a view of more than three runs")
    assert view.status == "running"
    assert view.ess > 0
    partial = handle.abort()
    assert partial.status == "interrupted"
    assert partial.n_evals >= view.n_evals
    assert len(partial.settings["runs"]["low"]) > 3


def test_blobs_and_saving(tmp_path: Path) -> None:
    r = run(
        target=lambda x: (LAW.log_density(x), x.sum(axis=1)), blobs=["sum"],
        dynamic=Dynamic(target_ess=800),
    )  # fmt: skip
    assert r.blobs is not None
    np.testing.assert_array_equal(r.blobs[:, 0], r.draws.sum(axis=1))
    r.save(tmp_path / "r")
    assert_same_run(fm.load(tmp_path / "r"), r)  # type: ignore[arg-type]


def test_auto_settles_for_rejection_or_chains() -> None:
    prior = fm.distributions.Uniform([-1.0] * 2, [1.0] * 2)
    law = fm.distributions.Normal([0.0] * 2, [0.5] * 2)
    aim = Dynamic(target_ess=500)
    r = run(target=law, prior=prior, sampler="auto", dynamic=aim)
    assert np.all(np.isnan(r.trace["tries"]))
    assert abs(r.log_evidence + 2 * np.log(2) - 2 * np.log(0.9545)) < 5 * r.log_evidence_stderr


def test_rejection_above_a_level_has_a_bound() -> None:
    aim = Dynamic(posterior_share=1.0, target_ess=1500, explore_every=None)
    r = run(sampler="unif", dynamic=aim, max_evals=500_000)
    assert r.n_evals < 20_000


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match="dynamic: 3 given"):
        run(dynamic=3)
    with pytest.raises(ArgumentError, match="n_live"):
        run(dynamic=Dynamic(n_batch=DIM))
