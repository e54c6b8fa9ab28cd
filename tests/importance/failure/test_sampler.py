"""Trained samplers of rare events: laws, files, their use again, what they miss."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limit_states import FOUR, PROBLEMS, half_space, normal

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.importance import FailureSampler, failure_probability


def trained(name: str, n: int = 20_000) -> FailureSampler:
    problem = PROBLEMS[name]
    with warnings.catch_warnings():
        # Few points are doubtful, but train a sampler.
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        p = failure_probability(problem.g, normal(problem.dim), n, rng=0)
    assert isinstance(p.sampler, FailureSampler)
    return p.sampler


@pytest.mark.parametrize("name", ["four branches", "sphere"])
def test_points_have_the_density_that_is_said(name: str) -> None:
    q = trained(name)
    u = q.sample(100_000, rng=1)
    inverse = np.exp(normal(q.dim).log_density(u) - q.log_density(u))
    assert abs(inverse.mean() - 1) < 5 * inverse.std() / np.sqrt(len(u))
    # 20 is what a share of 0.05 of the law allows.
    assert inverse.max() <= 1 / q.base * (1 + 1e-9)
    assert q.base + q.shares.sum() == pytest.approx(1)
    assert q.summary().to_dict()
    assert repr(q).startswith("FailureSampler: ")


@pytest.mark.parametrize("name", ["half-space 6", "four branches", "paraboloid", "sphere"])
def test_a_sampler_saves_the_training(name: str) -> None:
    problem, q = PROBLEMS[name], trained(name)
    pulls = []
    for seed in range(12):
        p = failure_probability(problem.g, normal(problem.dim), 5000, sampler=q, rng=seed)
        assert p.converged
        assert p.n_evals <= 5000
        assert p.subset is None
        assert p.levels == ()
        pulls.append((p.mean - problem.probability) / p.stderr)
        assert p.stderr < 0.05 * problem.probability
    assert np.mean(np.abs(pulls) < 2) >= 0.75
    assert np.abs(pulls).max() < 5


def test_files_and_pickles_keep_it(tmp_path: Path) -> None:
    q = trained("sphere", 5000)
    q.save(tmp_path / "q.safetensors")
    u = q.sample(100, rng=0)
    for other in (
        FailureSampler.load(tmp_path / "q.safetensors"),
        pickle.loads(pickle.dumps(q)),
    ):
        np.testing.assert_array_equal(other.sample(100, rng=0), u)
        np.testing.assert_array_equal(other.log_density(u), q.log_density(u))
    p = failure_probability(PROBLEMS["sphere"].g, normal(10), 20_000, rng=0)
    p.save(tmp_path / "p.safetensors")
    again = fm.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(again.sampler.sample(9, rng=0), p.sampler.sample(9, rng=0))


def test_a_region_that_it_does_not_know_is_said() -> None:
    q = trained("half-space 3")

    def both(x: Any) -> Any:
        along = x.sum(axis=1) / np.sqrt(10)
        return np.minimum(3.5 - along, 4.0 + along)

    texts = []
    for seed in range(6):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            p = failure_probability(both, normal(10), 5000, sampler=q, rng=seed)
        assert not p.converged
        texts += p.warnings
    assert sum("in which the sample has none" in text for text in texts) >= 4


def test_other_thresholds() -> None:
    q = trained("half-space 6")
    levels = [0.0, -0.3, -0.6]
    p = failure_probability(
        half_space(6, 10).g, normal(10), 5000, thresholds=levels, sampler=q, rng=1
    )
    exact = fm.distributions.Normal().cdf(np.array(levels) - 6.0)
    assert np.all(np.abs(p.mean - exact.ravel()) < 5 * p.stderr)
    assert p.converged


def test_threads_and_tolerances() -> None:
    q = trained("four branches")
    runs = [
        failure_probability(
            FOUR.g,
            normal(2),
            40_000,
            sampler=q,
            rtol=0.05,
            rng=1,
            plan=fm.Plan(n_threads=n),
            check=False,
        )
        for n in (1, 3)
    ]
    assert runs[0].mean == runs[1].mean
    assert runs[0].converged
    assert runs[0].n_evals < 20_000


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_another_sampler_is_another_run(tmp_path: Path) -> None:
    kept = fm.Plan(store=tmp_path)
    first, second = trained("four branches", 5000), trained("parabola", 5000)
    failure_probability(FOUR.g, normal(2), 6000, sampler=first, plan=kept, rng=0)
    with pytest.raises(CheckpointError, match="another run"):
        failure_probability(FOUR.g, normal(2), 6000, sampler=second, plan=kept, rng=0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sampler": 3}, "sampler: 3 given"),
        ({"sampler": normal(2)}, "a fermiac.importance.FailureSampler is needed"),
        ({"method": "line"}, "sampler: given with"),
        ({"surrogate": lambda x: x[:, 0]}, "sampler: given with"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], match: str) -> None:
    given = {"sampler": trained("parabola", 2000), **change}
    with pytest.raises(ArgumentError, match=match):
        failure_probability(FOUR.g, normal(2), 2000, **given)


def test_another_dimension_is_refused() -> None:
    with pytest.raises(ArgumentError, match="one of 2 dimensions was given for a law of 3"):
        failure_probability(half_space(3, 3).g, normal(3), 2000, sampler=trained("parabola", 2000))


@pytest.mark.parametrize(
    "change",
    [
        {"base": 0.5},
        {"base": float("nan")},
        {"shares": -1.0},
        {"n_axes": 7},
        {"kinds": 3},
        {"scales": 0.0},
        {"directions": 2.0},
    ],
)
def test_damaged_samplers_are_refused(change: dict[str, Any]) -> None:
    q = trained("parabola", 2000)
    ((name, value),) = change.items()
    bad = value if name == "base" else np.full_like(getattr(q, name), value)
    with pytest.raises(CheckpointError, match="the sampler cannot be used"):
        replace(q, **{name: bad})
