"""Tests of importance nested sampling."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches.nested.problems import problem
from forms import formula
from nested_runs import assert_same, run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]
SAMPLER = fm.nested.Uniform(importance=True)
STOPPED = "ignore:the run ended by:fermiac.errors.ConvergenceWarning"


def second_of(result: fm.nested.NestedResult) -> fm.nested.ImportanceEvidence:
    assert result.importance is not None
    return result.importance


def assert_same_second(a: fm.nested.NestedResult, b: fm.nested.NestedResult) -> None:
    assert_same(a, b)
    one, other = second_of(a), second_of(b)
    for name in ("log_evidence", "log_evidence_stderr", "ess", "khat", "n_bounds", "n_evals"):
        assert getattr(one, name) == getattr(other, name), name
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
    plain = np.array([r.log_evidence_stderr for r in runs])
    assert np.all(errors < 0.3 * plain), (errors, plain)
    assert not any("all points" in text for r in runs for text in r.warnings)


def test_what_it_holds() -> None:
    r = run(n_live=100, sampler=SAMPLER)
    second = second_of(r)
    sample = second.sample
    # Points just outside of the bound are a test alone.
    probes = int(r.trace["probes"].sum())
    assert probes > 0
    assert second.n_evals == r.n_evals - probes == sample.n_draws
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
    # It costs the run nothing but memory.
    plain = run(n_live=100, sampler="unif")
    assert plain.importance is None
    assert_same(plain, r)


@pytest.mark.parametrize("how", [{}, {"bound": "friends"}, {"periodic": [0], "reflective": [1]}])
def test_the_same_bits_on_any_number_of_threads(how: dict[str, Any]) -> None:
    runs = [run(n_live=150, sampler=SAMPLER, n_threads=n, **how) for n in (1, 2, 3)]
    assert_same_second(runs[0], runs[1])
    assert_same_second(runs[0], runs[2])


@pytest.mark.filterwarnings(STOPPED)
@pytest.mark.parametrize("bound", ["multi", "friends"])
def test_resumed(tmp_path: Path, bound: str) -> None:
    how = {"sampler": SAMPLER, "bound": bound}
    whole, kept = run(**how), tmp_path / "run"
    for limit in ({"max_evals": 70}, {"max_iter": 5}, {"max_iter": 25}, {"max_evals": 10**9}):
        part = run(checkpoint=kept, **how, **limit)
        assert_same_second(part, run(**how, **limit))
    assert_same_second(whole, part)
    with pytest.raises(fm.errors.CheckpointError):
        run(checkpoint=kept, sampler="unif", bound=bound)


@pytest.mark.filterwarnings(STOPPED)
def test_extended() -> None:
    whole = run(sampler=SAMPLER)
    part = run(sampler=SAMPLER, max_iter=10)
    assert second_of(part).n_evals == part.n_evals
    assert_same_second(whole, part.extend())
    more = whole.extend(n_live=40)
    assert more.importance is None
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
    assert second_of(partial).n_evals == partial.n_evals


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


@pytest.mark.parametrize("other", ["dynamic", "validate", "surrogate"])
def test_refused(other: str) -> None:
    with pytest.raises(ArgumentError, match=f"importance=True was given with {other}="):
        run(sampler=SAMPLER, **{other: True})


def test_not_a_flag() -> None:
    with pytest.raises(ArgumentError, match="importance"):
        fm.nested.Uniform(importance=1)  # type: ignore[arg-type]
    r = run(sampler=SAMPLER)
    with pytest.raises(ArgumentError, match="importance=True was given with dynamic="):
        r.extend(dynamic=fm.nested.Dynamic())
