"""Tests of importance nested sampling."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches.nested.posteriors import POSTERIORS
from benches.nested.problems import problem
from forms import formula
from nested_runs import assert_same, run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]
SAMPLER = fm.nested.Uniform()
PLAIN = fm.nested.Uniform(importance=False)
STOPPED = "ignore:the run ended by:fermiac.errors.ConvergenceWarning"


def second_of(result: fm.nested.NestedResult) -> fm.nested.ImportanceEvidence:
    assert result.importance is not None
    return result.importance


def assert_same_second(a: fm.nested.NestedResult, b: fm.nested.NestedResult) -> None:
    assert_same(a, b)
    assert_same_points(a, b)


def assert_same_points(a: fm.nested.NestedResult, b: fm.nested.NestedResult) -> None:
    one, other = second_of(a), second_of(b)
    numbers = (
        *("log_evidence", "log_evidence_stderr", "log_evidence_tests", "cut_share", "n_cut"),
        *("log_evidence_tests_stderr", "n_tests", "ess", "khat", "n_bounds", "n_evals"),
    )
    for name in numbers:
        np.testing.assert_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("draws", "log_weights", "log_densities"):
        np.testing.assert_array_equal(getattr(one.sample, name), getattr(other.sample, name))


CASES: list[tuple[str, dict[str, Any]]] = [
    ("gauss5", {}),
    ("gauss5", {"bound": "single"}),
    # With fewer points small modes are lost, which both evidences then miss.
    ("eggbox", {"n_live": 400}),
    ("shells2", {}),
    ("von_mises", {}),
    ("von_mises", {"bound": "friends"}),
]


@pytest.mark.filterwarnings("ignore:the bound had to be made:fermiac.errors.FermiacWarning")
@pytest.mark.parametrize(("name", "how"), CASES, ids=str)
def test_known_evidences(name: str, how: dict[str, Any]) -> None:
    p = problem(name)
    n = 20
    runs = [
        fm.nested.sample(
            p.values,
            p.prior,
            **{"sampler": SAMPLER, "n_live": 200, "periodic": p.periodic, **how},
            rng=seed,
        )
        for seed in range(n)
    ]
    seconds = [second_of(r) for r in runs]
    apart = np.array([s.log_evidence - p.log_evidence for s in seconds])
    errors = np.array([s.log_evidence_stderr for s in seconds])
    z = apart / errors
    assert abs(z.mean()) < 1, z
    assert np.abs(z).max() < 5, z
    assert 0.4 < z.std() < 1.6, z.std()
    plain = np.array([r.log_evidence_volumes_stderr for r in runs])
    assert np.all(errors < 0.3 * plain), (errors, plain)
    assert not any("all points" in text for r in runs for text in r.warnings)
    tests = np.array([s.log_evidence_tests - p.log_evidence for s in seconds])
    z = tests / np.array([s.log_evidence_tests_stderr for s in seconds])
    assert np.abs(z).max() < 5, z


def assert_all_but_survey(r: fm.nested.NestedResult, n_surveys: int = 1) -> None:
    assert 0 <= r.n_evals - second_of(r).n_evals <= n_surveys * r.n_live


def test_what_it_holds() -> None:
    r = run(n_live=100, sampler=SAMPLER)
    second = second_of(r)
    sample = second.sample
    # All evaluated points are among them, of which one in ten or less is a test point, but those of
    # the survey, no more than one for each live point where there is one mode.
    assert second.n_evals == sample.n_draws
    assert_all_but_survey(r)
    assert 0 < int(r.trace["probes"].sum()) < second.n_tests < 0.1 * r.n_evals
    assert 0 <= second.cut_share < 0.1
    assert 1 < second.n_bounds < 100
    assert second.ess == sample.ess
    assert second.khat == sample.khat < 0.7
    log_mean = float(np.logaddexp.reduce(sample.log_weights) - math.log(sample.n_draws))
    assert log_mean == pytest.approx(second.log_evidence, abs=1e-12)
    # Every point of the run is among them, and all have the likelihood at their place.
    rows = {row.tobytes() for row in sample.draws}
    assert {row.tobytes() for row in r.draws} <= rows
    np.testing.assert_allclose(formula(sample.draws), sample.log_densities, rtol=1e-12)
    ours, theirs = sample.expect(lambda x: x), r.expect(lambda x: x)
    error = np.hypot(ours.stderr, theirs.stderr)
    assert np.abs((ours.mean - theirs.mean) / error).max() < 5
    assert np.all(ours.stderr < theirs.stderr)
    assert repr(second).startswith("ImportanceEvidence: log Z = ")
    # It costs the run nothing but test points and memory.
    plain = run(n_live=100, sampler=PLAIN)
    assert plain.importance is None
    np.testing.assert_array_equal(plain.draws, r.draws)
    assert plain.log_evidence == plain.log_evidence_volumes == r.log_evidence_volumes
    assert plain.n_evals < r.n_evals


def test_the_evidence_is_that_of_all_points() -> None:
    r = run(n_live=100)
    second = second_of(r)
    assert r.log_evidence == second.log_evidence != r.log_evidence_volumes
    assert r.log_evidence_stderr == second.log_evidence_stderr < 0.5 * r.log_evidence_volumes_stderr
    assert r.log_weights is not None
    log_mean = float(np.logaddexp.reduce(r.log_weights) - math.log(r.n_draws))
    assert log_mean == pytest.approx(r.log_evidence, abs=1e-12)
    text = str(r.summary())
    assert "from all points" in text
    assert "from prior masses" in text
    assert f"those above {r.unseen_share:.2g}" in text
    assert (1 - r.unseen_share) ** 100 == pytest.approx(0.05)


CHAINS: list[Any] = [fm.nested.Slice(n_slices=15), fm.nested.RandomWalk(n_steps=40), "galilean"]


@pytest.mark.parametrize("sampler", CHAINS, ids=["slice", "rwalk", "galilean"])
def test_independent_points_after_chains(sampler: Any) -> None:
    """The evidence of a normal law is that of points drawn from a fitted density."""
    law = fm.distributions.Normal(np.zeros(3), [1.0, 0.5, 0.1])
    box = fm.distributions.Uniform(-8 * np.ones(3), 8 * np.ones(3))
    exact = -3 * math.log(16)
    runs = [fm.nested.sample(law, box, sampler=sampler, n_live=100, rng=seed) for seed in range(12)]
    seconds = [second_of(r) for r in runs]
    z = np.array([(s.log_evidence - exact) / s.log_evidence_stderr for s in seconds])
    assert abs(z.mean()) < 1, z
    assert np.abs(z).max() < 4, z
    assert 0.4 < z.std() < 1.6, z.std()
    tests = [(s.log_evidence_tests - exact) / s.log_evidence_tests_stderr for s in seconds]
    assert np.abs(tests).max() < 4.5, tests
    for r, second in zip(runs, seconds, strict=True):
        assert second.is_fitted
        assert second.n_bounds == 0
        assert r.log_evidence == second.log_evidence
        assert r.log_evidence_stderr < 0.2 * r.log_evidence_volumes_stderr
        assert second.khat < 0.7
        assert second.ess > 0.5 * second.n_evals
        assert r.warnings == ()
        mean = float(np.logaddexp.reduce(second.sample.log_weights) - math.log(second.n_evals))
        assert mean == pytest.approx(second.log_evidence, abs=1e-12)
    assert "independent points" in str(runs[0].summary())
    off = second.sample.expect(lambda x: x)
    assert np.abs(off.mean / off.stderr).max() < 5


SHAPES: list[tuple[str, float]] = [("corner", 0.03), ("two modes", 0.03), ("a circle", 0.03)]


@pytest.mark.parametrize(("shape", "most"), SHAPES, ids=[name for name, _ in SHAPES])
def test_shapes_of_fitted_densities(shape: str, most: float) -> None:
    d = 4
    periodic: list[int] = []
    if shape == "corner":
        prior = fm.distributions.Uniform(np.zeros(d), np.ones(d))
        exact = d * math.log(0.05 * -math.expm1(-20))

        def f(x: Array) -> Array:
            return np.asarray(-x.sum(axis=1) / 0.05)

    elif shape == "two modes":
        prior = fm.distributions.Uniform(-20 * np.ones(d), 20 * np.ones(d))
        exact = -d * math.log(40)
        laws = [fm.distributions.Normal(at * np.ones(d), 1.0) for at in (5.0, -5.0)]

        def f(x: Array) -> Array:
            logs = [
                law.logpdf(x).sum(axis=-1) if law.logpdf(x).ndim > 1 else law.logpdf(x)
                for law in laws
            ]
            return np.asarray(np.logaddexp(*logs) - math.log(2))

    else:
        periodic = list(range(d))
        prior = fm.distributions.Uniform(np.zeros(d), 2 * np.pi * np.ones(d))
        exact = d * math.log(np.i0(10.0))

        def f(x: Array) -> Array:
            return np.asarray(10 * np.cos(x).sum(axis=1))

    for seed in range(3):
        r = fm.nested.sample(f, prior, sampler="slice", n_live=150, periodic=periodic, rng=seed)
        second = second_of(r)
        assert second.is_fitted
        assert r.log_evidence == second.log_evidence
        assert r.log_evidence_stderr < most
        assert abs(r.log_evidence - exact) < 4 * r.log_evidence_stderr, seed


def test_what_independent_points_cost() -> None:
    chained, plain = (
        run(sampler=fm.nested.Slice(n_slices=9, importance=on), n_live=200) for on in (True, False)
    )
    assert plain.importance is None
    assert plain.log_evidence == plain.log_evidence_volumes
    np.testing.assert_array_equal(plain.draws, chained.draws)
    assert plain.log_evidence_volumes == chained.log_evidence_volumes
    second = second_of(chained)
    n_search = chained.n_evals - (plain.n_evals + second.n_tests + second.n_evals)
    assert 0 <= n_search <= 2 * 500
    assert chained.n_evals < 1.18 * plain.n_evals
    np.testing.assert_allclose(
        formula(second.sample.draws), second.sample.log_densities, rtol=1e-12
    )


def test_many_modes_for_few_points_have_no_fitted_density() -> None:
    """Some of the eighteen peaks are lost, which the weights of a fitted density could not tell."""
    p = problem("eggbox")
    r = fm.nested.sample(p.values, p.prior, sampler="slice", n_live=100, rng=1)
    assert r.importance is None
    assert r.log_evidence == r.log_evidence_volumes


@pytest.mark.filterwarnings("ignore:the bound had to be")
def test_modes_of_few_points_are_kept() -> None:
    """Ten of 500 points are in a corner of the eggbox, which without bounds of its own dies out."""
    p = problem("eggbox")
    n_lost = 0
    for seed in range(20):
        r = fm.nested.sample(p.values, p.prior, rng=seed, plan=fm.Plan(n_threads=1))
        sample = second_of(r).sample
        for corner in (0.0, 10 * np.pi):
            is_there = (np.abs(sample.draws - corner) < np.pi).all(axis=1)
            # The weights of all points have the mean Z; a corner has 2 % of Z.
            assert sample.log_weights is not None
            n_lost += np.exp(sample.log_weights - r.log_evidence)[is_there].sum() < 0.005 * len(
                sample.draws
            )
    assert n_lost == 0


def test_doubts_about_a_fitted_density() -> None:
    r = run(sampler=fm.nested.Slice(n_slices=9))
    second = second_of(r)
    masses = (r.log_evidence_volumes, r.log_evidence_volumes_stderr)
    assert not second.doubts(*masses)
    for name, wrong in (("log_evidence", bytearray(8)), ("stderr", np.ones(3)), ("stderr", "1")):
        with pytest.raises(ArgumentError, match=f"{name}: "):
            second.doubts(**{"log_evidence": 0.0, "stderr": 1.0, name: wrong})  # type: ignore[arg-type]
    assert "ESS of 50" in replace(second, ess=50.0).doubts(*masses)
    assert not replace(second, cut_share=0.02).doubts(*masses)
    assert "too low at 20% of the posterior" in replace(second, cut_share=0.2).doubts(*masses)
    assert second.lost_share == 0
    # Masses that drifted are no doubt about points that cover the posterior.
    assert not second.doubts(masses[0] + 100 * masses[1], masses[1])
    apart = second.log_evidence + 6 * second.log_evidence_stderr
    tests = {"n_tests": 2000, "log_evidence_tests": apart, "log_evidence_tests_stderr": 1e-9}
    assert "6.0 standard errors" in replace(second, **tests).doubts(*masses)
    assert second.sample.log_weights is not None
    heavy = second.sample.log_weights.copy()
    heavy[0] = heavy.max() + 6
    other = replace(second, khat=2.0, sample=replace(second.sample, log_weights=heavy))
    assert "one point" in other.doubts(*masses)


@pytest.mark.parametrize("how", [{}, {"periodic": [0], "reflective": [1]}])
def test_independent_points_have_the_same_bits_on_any_number_of_threads(
    how: dict[str, Any],
) -> None:
    runs = [
        run(sampler=fm.nested.Slice(n_slices=9), plan=fm.Plan(n_threads=n), **how)
        for n in (1, 2, 3)
    ]
    assert second_of(runs[0]).is_fitted
    assert_same_second(runs[0], runs[1])
    assert_same_second(runs[0], runs[2])


@pytest.mark.filterwarnings(STOPPED)
def test_resumed_with_independent_points(tmp_path: Path) -> None:
    how = {"sampler": fm.nested.Slice(n_slices=9), "n_live": 200}
    whole, kept = run(**how), tmp_path / "run"
    second = second_of(whole)
    before = whole.n_evals - second.n_evals - second.n_tests
    # Limits within the run, just before its end, and within the estimate.
    for limit in (before // 2, before + 100, whole.n_evals - 200, 10**9):
        part = run(store=kept, **how, max_evals=limit)
        assert_same(part, run(**how, max_evals=limit))
    assert_same_second(whole, part)


def test_killed_among_independent_points(tmp_path: Path) -> None:
    how: dict[str, Any] = {"sampler": fm.nested.Slice(n_slices=9), "n_live": 200}
    whole = run(formula, **how)
    second = second_of(whole)
    for after in (second.n_evals + second.n_tests - 10, second.n_evals - 10):
        seen = 0

        def f(x: Array, after: int = after) -> Array:
            nonlocal seen
            seen += len(x)
            if seen > whole.n_evals - after:
                raise KeyboardInterrupt
            return np.asarray(formula(x))

        kept = tmp_path / f"run{after}"
        with pytest.raises(KeyboardInterrupt) as stopped:
            run(f, store=kept, check=False, **how)
        partial = stopped.value.partial_result  # type: ignore[attr-defined]
        assert partial.importance is None
        assert_same_second(whole, run(formula, store=kept, check=False, **how))


def test_doubts() -> None:
    r = run(n_live=100)
    second = second_of(r)
    masses = (r.log_evidence_volumes, r.log_evidence_volumes_stderr)
    assert not second.doubts(*masses)
    assert "converged" in replace(second, converged=False).doubts(*masses)
    other = replace(
        second,
        n_tests=2000,
        log_evidence_tests=second.log_evidence + 1,
        log_evidence_tests_stderr=0.05,
    )
    assert "test points alone" in other.doubts(*masses)
    assert "below" in second.doubts(r.log_evidence + 10 * masses[1], masses[1])
    assert second.sample.log_weights is not None
    heavy = second.sample.log_weights.copy()
    heavy[0] = heavy.max() + 5
    other = replace(second, khat=2.0, sample=replace(second.sample, log_weights=heavy))
    assert "one point" in other.doubts(*masses)


@pytest.mark.filterwarnings("ignore:the bound cuts off:fermiac.errors.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:all points together:fermiac.errors.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:the ranks of new points:fermiac.errors.ConvergenceWarning")
def test_a_funnel_whose_neck_is_cut() -> None:
    """Prior masses are wrong by several errors, and all points with those outside are not."""
    p = POSTERIORS["funnel7"]()
    runs = [fm.nested.sample(p.values, p.prior, sampler=SAMPLER, rng=seed) for seed in range(4)]
    errors = np.array([r.log_evidence - p.log_evidence for r in runs])
    z = errors / [r.log_evidence_stderr for r in runs]
    assert np.abs(z).max() < 4, z
    assert np.abs(errors).max() < 0.02
    assert all(r.warnings for r in runs)
    assert min(second_of(r).cut_share for r in runs) > 0


def test_merged() -> None:
    runs = [run(n_live=100, rng=seed) for seed in range(3)]
    both = runs[0].merge(*runs[1:])
    second = second_of(both)
    assert both.log_evidence == second.log_evidence
    parts = [second_of(r) for r in runs]
    sizes = np.array([part.n_evals for part in parts])
    evidences = np.exp([part.log_evidence for part in parts])
    mean = float(np.log(sizes @ evidences / sizes.sum()))
    assert second.log_evidence == pytest.approx(mean, abs=1e-12)
    sample = second.sample
    assert sample.n_draws == sizes.sum()
    log_mean = float(np.logaddexp.reduce(sample.log_weights) - math.log(sample.n_draws))
    assert log_mean == pytest.approx(mean, abs=1e-12)
    typical = float(np.mean([part.log_evidence_stderr for part in parts]))
    assert second.log_evidence_stderr == pytest.approx(typical / math.sqrt(3), rel=0.1)
    # The order of merges has no effect.
    assert_same_points(both, runs[2].merge(runs[0].merge(runs[1])))
    chained = run(sampler=fm.nested.Slice(n_slices=9, importance=False), rng=7)
    assert runs[0].merge(chained).importance is None
    chained = run(sampler=fm.nested.Slice(n_slices=9), rng=7)
    mixed = runs[0].merge(chained)
    assert abs(mixed.log_evidence - both.log_evidence) < 5 * mixed.log_evidence_stderr


@pytest.mark.filterwarnings("ignore:max_batches ended:fermiac.errors.ConvergenceWarning")
def test_of_the_first_run_of_a_dynamic_run(tmp_path: Path) -> None:
    aim = fm.nested.Dynamic(target_ess=900, max_batches=3)
    how = {"dynamic": aim, "n_live": 100}
    first, r = run(n_live=100), run(**how)
    assert r.n_draws > first.n_draws
    assert second_of(r).log_evidence == second_of(first).log_evidence == r.log_evidence
    assert_same_second(r, run(**how, store=tmp_path / "run"))
    assert_same_second(r, run(**how, store=tmp_path / "run"))
    assert_same_second(r, first.extend(dynamic=aim))


@pytest.mark.parametrize("how", [{}, {"bound": "friends"}, {"periodic": [0], "reflective": [1]}])
def test_the_same_bits_on_any_number_of_threads(how: dict[str, Any]) -> None:
    runs = [run(n_live=150, sampler=SAMPLER, plan=fm.Plan(n_threads=n), **how) for n in (1, 2, 3)]
    assert_same_second(runs[0], runs[1])
    assert_same_second(runs[0], runs[2])


@pytest.mark.filterwarnings(STOPPED)
@pytest.mark.parametrize("bound", ["multi", "friends"])
def test_resumed(tmp_path: Path, bound: str) -> None:
    how = {"sampler": SAMPLER, "bound": bound}
    whole, kept = run(**how), tmp_path / "run"
    for limit in ({"max_evals": 70}, {"max_iter": 5}, {"max_iter": 25}, {"max_evals": 10**9}):
        part = run(store=kept, **how, **limit)
        assert_same_second(part, run(**how, **limit))
    assert_same_second(whole, part)
    with pytest.raises(fm.errors.CheckpointError):
        run(store=kept, sampler=PLAIN, bound=bound)


@pytest.mark.filterwarnings(STOPPED)
def test_extended() -> None:
    whole = run(sampler=SAMPLER)
    part = run(sampler=SAMPLER, max_iter=10)
    assert_all_but_survey(part)
    assert_same_second(whole, part.extend())
    more = whole.extend(n_live=40)
    assert_all_but_survey(more, n_surveys=2)
    assert more.n_live == 100


def test_interrupted() -> None:
    calls = 0

    def f(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return np.asarray(formula(x))

    with pytest.raises(KeyboardInterrupt) as stopped:
        run(f, sampler=SAMPLER)
    partial = stopped.value.partial_result  # type: ignore[attr-defined]
    assert_all_but_survey(partial)


def test_saved(tmp_path: Path) -> None:
    r = run(sampler=SAMPLER, names=["a", "b", "c"])
    path = tmp_path / "run.safetensors"
    r.save(path)
    loaded = fm.load(path)
    assert isinstance(loaded, fm.nested.NestedResult)
    assert_same_second(r, loaded)
    json.dumps(r.to_dict())
    assert second_of(loaded).sample.names == r.names


def test_points_without_likelihood_count() -> None:
    """Half of the prior has none: its points are in the sum with weight 0."""

    def f(x: Array) -> Array:
        return np.where(x[:, 0] < 0.5, -0.5 * (x / 0.05).sum(axis=1) ** 2, -np.inf)

    prior = fm.distributions.Uniform([0.0], [1.0])
    exact = math.log(0.05 * math.sqrt(2 * math.pi) / 2)
    r = fm.nested.sample(f, prior, sampler=SAMPLER, n_live=400, rng=1)
    second = second_of(r)
    assert (second.sample.log_weights == -np.inf).sum() > 300
    assert abs(second.log_evidence - exact) < 5 * second.log_evidence_stderr


def test_not_a_flag() -> None:
    with pytest.raises(ArgumentError, match="importance"):
        fm.nested.Uniform(importance=1)  # type: ignore[arg-type]
