"""Tests of repeats with longer chains (`validate=`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nested_gauss import EXACT, LAW, PRIOR, assert_same_run
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning
from fermiac.nested import NestedResult, RandomWalk, Slice, Uniform
from fermiac.nested.samplers import SAMPLERS
from fermiac.nested.validation import Repeats, lengthened

# Warnings about few points, or chains that are short on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:families of points disagree"),
    pytest.mark.filterwarnings("ignore:chains end where they began"),
]

TEN = fm.distributions.Normal([0.0] * 10)
BOX = fm.distributions.Uniform([-10.0] * 10, [10.0] * 10)


def run(**given: Any) -> NestedResult:
    kinds: dict[str, Any] = {"sampler": "slice", "n_live": 100, "rng": 0, "validate": True, **given}
    return fm.nested.sample(kinds.pop("target", LAW), kinds.pop("prior", PRIOR), **planned(**kinds))


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_chains_that_are_too_short_are_found_out() -> None:
    told = 0
    for seed in range(3):
        r = run(target=TEN, prior=BOX, sampler=Slice(n_slices=1), rng=seed)
        np.testing.assert_array_equal(r.validation["n_slices"], [1, 2, 4, 8, 16])
        told += any("still changes when chains are made longer" in text for text in r.warnings)
        # The last is the best, and is what comes back.
        assert r.log_evidence_volumes == r.validation["log_evidence"][-1]
        assert r.n_evals == r.validation["n_evals"][-1]
        off = r.validation["log_evidence"] + 10 * np.log(20)
        assert off[:2].max() > 2
        assert abs(off[-1]) < off[:2].max() / 2
    assert told >= 2


def test_chains_that_are_long_enough_pass() -> None:
    lengths = []
    for seed in range(5):
        r = run(rng=seed, n_live=50)
        assert r.warnings == ()
        assert abs(r.log_evidence - EXACT) < 4.5 * r.log_evidence_stderr
        n = len(r.validation["n_slices"])
        np.testing.assert_array_equal(r.validation["n_slices"], 15 * 2 ** np.arange(n))
        lengths.append(n)
        z = np.diff(r.validation["log_evidence"]) / np.hypot(
            r.validation["stderr"][1:], r.validation["stderr"][:-1]
        )
        # It ends as soon as two in a row agree.
        agree = np.abs(z) < 1
        both = agree[1:] & agree[:-1]
        assert not both[:-1].any()
        assert both[-1] or n == 5
    assert min(lengths) == 3


def test_repeats_are_independent() -> None:
    r = run(validate=2)
    first = fm.nested.sample(LAW, PRIOR, sampler="slice", n_live=100, rng=0)
    assert r.validation["log_evidence"][0] == first.log_evidence_volumes
    assert r.validation["n_evals"][0] == first.n_evals
    assert r.seed != first.seed
    assert not set(map(bytes, r.unit_draws)) & set(map(bytes, first.unit_draws))  # type: ignore[arg-type]
    # The last one alone.
    n_slices = int(r.validation["n_slices"][-1])
    alone = fm.nested.sample(LAW, PRIOR, sampler=Slice(n_slices=n_slices), n_live=100, rng=r.seed)
    np.testing.assert_array_equal(alone.draws, r.draws)
    assert first.validation == {}
    assert_same_run(run(validate=2, plan=fm.Plan(n_threads=2)), r)


def test_rejection_is_compared_with_chains() -> None:
    r = run(sampler="unif", validate=True, n_live=60)
    assert r.validation["n_slices"][0] == 0
    np.testing.assert_array_equal(r.validation["n_slices"][1:3], [15, 30])
    assert "Slice" in r.settings["sampler"]
    assert abs(r.log_evidence - EXACT) < 4.5 * r.log_evidence_stderr


def test_how_chains_are_lengthened() -> None:
    assert lengthened(Uniform(), 0) == Slice()
    assert lengthened(Uniform(), 12) == Slice(n_slices=24)
    assert lengthened(Slice(n_slices=3, step_out=True), 3) == Slice(n_slices=6, step_out=True)
    assert lengthened(RandomWalk(), 25) == RandomWalk(n_steps=50)
    assert lengthened(SAMPLERS.resolve("auto"), 25) == Slice(n_slices=50)


def test_what_is_a_trend() -> None:
    def judged(*log_z: float) -> tuple[bool, bool]:
        repeats = Repeats(None, None, 4, start=0.0, checkpoint=None)  # type: ignore[arg-type]
        repeats._rows = [[2.0**k, z, 0.1, 1.0] for k, z in enumerate(log_z)]
        return repeats._settled(), repeats._trends()

    assert judged(0.0, 0.05, 0.0) == (True, False)
    assert judged(1.0, 0.0, 0.05, 0.0)[0]
    # Noise of the size that there is.
    assert judged(0.0, 0.15, -0.05, 0.12, 0.0) == (False, False)
    assert judged(0.8, 0.6, 0.4, 0.2, 0.0) == (False, True)
    assert judged(0.0, 0.0, 0.4) == (False, True)


def test_noise_alone_is_seldom_a_trend() -> None:
    draws = np.random.default_rng(0).normal(0, 0.1, (2000, 5))
    repeats = Repeats(None, None, 4, start=0.0, checkpoint=None)  # type: ignore[arg-type]
    warned = 0
    for log_z in draws:
        for n in (3, 4, 5):
            repeats._rows = [[1.0, z, 0.1, 1.0] for z in log_z[:n]]
            if repeats._settled():
                break
        else:
            warned += repeats._trends()
    assert warned / len(draws) < 0.05


def test_a_limit_ends_the_repeats() -> None:
    with pytest.warns(ConvergenceWarning, match="ended by max_evals"):
        r = run(max_evals=2000)
    assert len(r.validation["n_slices"]) == 1
    assert r.status == "stopped"


def test_with_dynamic() -> None:
    r = run(n_live=50, dynamic=fm.nested.Dynamic(target_ess=1000, target_stderr=0.2), validate=1)
    assert len(r.validation["n_slices"]) == 2
    assert r.ess > 900
    assert len(r.settings["runs"]["low"]) > 2


def test_a_killed_call_gives_the_same_bits(tmp_path: Path) -> None:
    whole = run()
    n_runs = len(whole.validation["n_evals"])
    ends = np.cumsum(whole.validation["n_evals"])
    evaluated = 0

    def target(x: np.ndarray) -> np.ndarray:
        nonlocal evaluated
        evaluated += len(x)
        return LAW.log_density(x)

    reference = run(target=target)
    path = tmp_path / "run"

    def stop(done: int, total: int) -> None:
        # The last report of a run is that it is done; the file has all of it then.
        if done >= ends[1] * 0.9 and done == total:
            raise KeyboardInterrupt

    ends = np.cumsum(reference.validation["n_evals"])
    with pytest.raises(KeyboardInterrupt) as caught:
        run(target=target, store=path, plan=fm.Plan(progress=stop))
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.n_evals in reference.validation["n_evals"]
    evaluated = 0
    again = run(target=target, store=path, rng=None)
    assert_same_run(again, reference)
    np.testing.assert_array_equal(
        np.array(list(again.validation.values())), np.array(list(reference.validation.values()))
    )
    assert evaluated <= ends[-1] - ends[1] + 10
    assert n_runs >= 3
    with pytest.raises(CheckpointError, match="its validate is"):
        run(target=target, store=path, validate=False)


def test_saved_and_reweighted(tmp_path: Path) -> None:
    r = run(validate=1)
    r.save(tmp_path / "r")
    loaded = fm.load(tmp_path / "r")
    assert isinstance(loaded, NestedResult)
    np.testing.assert_array_equal(loaded.validation["stderr"], r.validation["stderr"])
    assert r.reweight(0.9 * r.log_likelihoods).validation == {}


@pytest.mark.parametrize("given", ["double", 1.5, -1])
def test_arguments_are_checked(given: Any) -> None:
    with pytest.raises(ArgumentError, match="validate"):
        run(validate=given)
