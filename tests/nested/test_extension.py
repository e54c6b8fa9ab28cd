"""Tests of runs that are continued after their end."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nested_gauss import EXACT, LAW, PRIOR, assert_same_run
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.nested import Dynamic, NestedResult

# Warnings about few points, or chains that are short on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:families of points disagree"),
    pytest.mark.filterwarnings("ignore:chains end where they began"),
]


def two_modes(x: Any) -> Any:
    """Two normal laws, the second one narrow."""
    near, far = ((x - at) / sd for at, sd in ((-2.0, 1.0), (3.0, 0.1)))
    heights = (-0.5 * (z * z).sum(axis=1) for z in (near, far))
    return np.logaddexp(next(heights), next(heights) + x.shape[1] * np.log(10))


def run(**given: Any) -> NestedResult:
    kinds: dict[str, Any] = {"sampler": "slice", "n_live": 60, "rng": 5, **given}
    return fm.nested.sample(kinds.pop("target", LAW), PRIOR, **kinds)


@pytest.mark.parametrize("sampler", ["auto", "unif", "slice", "rwalk"])
@pytest.mark.parametrize("batch", [1, 7])
def test_a_smaller_rest(sampler: str, batch: int) -> None:
    kinds = {"sampler": sampler, "batch": batch}
    short = run(dlogz=1.0, **kinds)
    whole = run(dlogz=1e-4, **kinds)
    assert short.n_draws < whole.n_draws
    assert_same_run(short.extend(dlogz=1e-4), whole)
    # The first is as it was, and can be extended again.
    assert_same_run(short, run(dlogz=1.0, **kinds))
    step = fm.nested.extend(short, dlogz=0.01)
    assert_same_run(step, run(dlogz=0.01, **kinds))
    assert_same_run(step.extend(dlogz=1e-4), whole)


@pytest.mark.parametrize("limit", [{"max_evals": 3000}, {"max_iter": 20}])
@pytest.mark.filterwarnings("ignore:the run ended by")
def test_after_a_limit(limit: dict[str, Any]) -> None:
    some = run(**limit)
    assert some.status == "stopped"
    assert_same_run(some.extend(), run())
    further = some.extend(**{name: 2 * n for name, n in limit.items()})
    assert some.n_draws < further.n_draws < run().n_draws
    assert further.status == "stopped"
    assert_same_run(further.extend(), run())


@pytest.mark.parametrize("max_evals", [200, 250, 300, 400])
@pytest.mark.filterwarnings("ignore:the run ended by")
def test_after_a_limit_near_the_survey_of_modes(max_evals: int) -> None:
    """The survey follows the first 240 draws."""
    kinds = {"sampler": "unif", "target": two_modes}
    some = run(max_evals=max_evals, **kinds)
    assert some.status == "stopped"
    assert_same_run(some.extend(), run(**kinds))


@pytest.mark.filterwarnings("ignore:the run ended by")
def test_limits_hold_again() -> None:
    with pytest.warns(ConvergenceWarning, match="ended by max_evals"):
        r = run(dlogz=1.0).extend(dlogz=1e-3, max_evals=100)
    assert r.n_evals == run(dlogz=1.0).n_evals
    with pytest.warns(ConvergenceWarning, match="ended by max_time"):
        r = run(max_evals=300).extend(plan=fm.Plan(max_time=1e-6))
    assert r.status == "stopped"


def test_more_points() -> None:
    first = run()
    more = first.extend(n_live=180)
    assert more.n_live == 240
    assert more.n_alive[0] == 240
    assert more.n_draws > 3.5 * first.n_draws
    assert set(map(bytes, first.draws)) < set(map(bytes, more.draws))
    assert more.log_evidence_stderr == pytest.approx(first.log_evidence_stderr / 2, rel=0.15)
    assert abs(more.log_evidence - EXACT) < 5 * more.log_evidence_stderr
    assert np.unique(more.lineages).size == 240
    # With the same bits at every call, and others at the next.
    np.testing.assert_array_equal(more.draws, first.extend(n_live=180).draws)
    yet = more.extend(n_live=60)
    assert yet.n_live == 300
    assert np.unique(yet.draws, axis=0).shape == yet.draws.shape
    assert len(yet.settings["seeds"]) == 3
    # All parts go on.
    longer = yet.extend(dlogz=1e-5)
    assert longer.n_live == 300
    assert longer.n_draws > yet.n_draws
    assert longer.n_evals > yet.n_evals
    both = first.extend(n_live=180, dlogz=1e-5)
    apart = first.extend(dlogz=1e-5).extend(n_live=180)
    np.testing.assert_array_equal(both.draws, apart.draws)


def test_extended_runs_have_no_bias() -> None:
    z = []
    for seed in range(16):
        r = run(rng=seed, n_live=30).extend(n_live=60)
        z.append((r.log_evidence - EXACT) / r.log_evidence_stderr)
    assert abs(np.mean(z)) < 1
    assert np.max(np.abs(z)) < 4
    # Parts that shared random numbers would scatter more.
    assert np.std(z) < 1.6


def test_other_targets() -> None:
    small, large = (Dynamic(target_ess=n, target_stderr=0.2) for n in (1000, 2000))
    assert_same_run(run().extend(dynamic=small), run(dynamic=small))
    assert_same_run(run(dynamic=small).extend(dynamic=large), run(dynamic=large))
    with pytest.warns(ConvergenceWarning, match="max_batches"):
        two = run(dynamic=Dynamic(target_ess=2000, target_stderr=0.2, max_batches=2))
    assert two.extend(dynamic=large).n_evals == run(dynamic=large).n_evals
    broad = run(dynamic=small).extend(n_live=100)
    assert broad.n_live == 160
    assert broad.ess > 1300
    with pytest.raises(ArgumentError, match=r"posterior_share is 0\.5"):
        run(dynamic=small).extend(dynamic=Dynamic(posterior_share=0.5))
    with pytest.raises(ArgumentError, match="dlogz: the batches of a dynamic run"):
        run(dynamic=small).extend(dlogz=1e-6)


def test_an_executor_and_threads() -> None:
    def target(x: np.ndarray) -> np.ndarray:
        return LAW.log_density(x)

    whole = run(target=target, dlogz=1e-3)
    with ThreadPoolExecutor(2) as pool:
        sharded = fm.executor.Sharded(pool)
        short = run(target=target, dlogz=1.0, plan=sharded)
        there = short.extend(dlogz=1e-3, plan=sharded)
    assert_same_run(there, whole)
    # The executor is gone; the likelihood is not.
    assert_same_run(short.extend(dlogz=1e-3, plan=fm.Plan(n_threads=2)), whole)


def test_progress_and_a_handle() -> None:
    seen: list[tuple[int, int]] = []
    r = run().extend(
        n_live=60, plan=fm.Plan(progress=lambda done, total: seen.append((done, total)))
    )
    assert seen[-1] == (r.n_evals, r.n_evals)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    handle = fm.nested.start("extend", run(), n_live=60)
    np.testing.assert_array_equal(handle.result(60).draws, r.draws)


def test_what_fails_leaves_what_there_was() -> None:
    stop = False

    def target(x: np.ndarray) -> np.ndarray:
        if stop:
            raise KeyboardInterrupt
        return LAW.log_density(x)

    first = run(target=target)
    two = first.extend(n_live=60)
    stop = True
    with pytest.raises(KeyboardInterrupt) as caught:
        two.extend(dlogz=1e-6)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.n_live == 120
    assert partial.n_draws >= two.n_draws
    with pytest.raises(KeyboardInterrupt) as caught:
        first.extend(n_live=60)
    np.testing.assert_array_equal(caught.value.partial_result.draws, first.draws)  # type: ignore[attr-defined]
    stop = False
    assert_same_run(first.extend(n_live=60), two)


def test_results_without_a_run(tmp_path: Path) -> None:
    r = run()
    r.save(tmp_path / "r")
    others = [
        fm.load(tmp_path / "r"),
        pickle.loads(pickle.dumps(r)),
        r.reweight(0.5 * r.log_likelihoods),
        r.merge(run(rng=6)),
        r.split(2)[0],
    ]
    for other in others:
        assert isinstance(other, NestedResult)
        with pytest.raises(ArgumentError, match="cannot be continued"):
            other.extend(dlogz=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dlogz": 0.1}, "dlogz: 0.1 given for a run that went on to 0.01"),
        ({"dlogz": 0}, "dlogz"),
        ({"n_live": 0}, "n_live"),
        ({"n_live": 5}, "n_live"),
        ({"max_evals": 0}, "max_evals"),
        ({"max_time": -1}, "max_time"),
        ({"dynamic": 3}, "dynamic"),
    ],
)
def test_arguments_are_checked(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run().extend(**planned(**given))


@pytest.mark.parametrize("sampler", ["slice", "unif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_ctrl_c_within_the_likelihood(sampler: str, share: float) -> None:
    left = np.inf

    def target(x: np.ndarray) -> np.ndarray:
        nonlocal left
        left -= len(x)
        if left < 0:
            left = np.inf
            raise KeyboardInterrupt
        return LAW.log_density(x)

    given: dict[str, Any] = {
        "target": target, "sampler": sampler, "dynamic": Dynamic(target_ess=800, target_stderr=0.3)
    }  # fmt: skip
    whole = run(**given)
    left = share * whole.n_evals
    with pytest.raises(KeyboardInterrupt) as caught:
        run(**given)
    assert_same_run(caught.value.partial_result.extend(), whole)  # type: ignore[attr-defined]
