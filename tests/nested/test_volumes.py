"""Tests of prior masses, evidences and errors against their definitions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp

import fermiac as fm
from fermiac import _core

Array = NDArray[np.float64]
INF = math.inf


class Run(NamedTuple):
    """Dead points in the order of death."""

    ell: Array
    birth: Array
    lineage: NDArray[np.int64]
    mass: Array


def make_run(n: int, k: int, seed: int, *, support: float = 1.0, step: float = 0.0) -> Run:
    """A run on ell = -2 log(0.01 + X), X the prior mass above a point, that draws X itself.

    Likelihoods are 0 outside a share ``support`` of the prior and are rounded to ``step``.
    """
    rng = np.random.default_rng(seed)
    floor = 2 * math.log(0.01)

    def level(x: float) -> float:
        if x > support:
            return -INF
        ell = -2 * math.log(0.01 + x)
        return step * math.floor((ell + floor) / step) if step else ell

    live = [(level(x), -INF, i, x) for i, x in enumerate(rng.random(n))]
    dead: list[tuple[float, float, int, float]] = []
    for _ in range(12 * n // k):
        live.sort(key=lambda p: p[0])
        cut = live[k - 1][0]
        gone = [p for p in live if p[0] <= cut]
        live = live[len(gone) :]
        dead += gone
        if not live:
            break
        for point in gone[: n - len(live)]:
            while level(x := rng.random() * max(p[3] for p in gone)) <= cut:
                pass
            live.append((level(x), cut, point[2], x))
    dead += sorted(live, key=lambda p: p[0])
    ell, birth, lineage, mass = (np.array(column) for column in zip(*dead, strict=True))
    return Run(ell, birth, lineage, mass)


RUNS = {
    "single": make_run(40, 1, 1),
    "batches": make_run(40, 15, 2),
    "plateaus": make_run(40, 3, 3, step=0.5),
    "support": make_run(60, 4, 4, support=0.2),
    "one point": make_run(1, 1, 5),
}


def alive(ell: Array, birth: Array) -> NDArray[np.int64]:
    born = ((birth[None, :] < ell[:, None]) | (birth[None, :] == -INF)).sum(axis=1)
    return born - np.arange(ell.size)


def masses(log_x: Array) -> Array:
    """The trapezoid rule between the prior mass 1 and none: one row a point, last axis."""
    x = np.exp(log_x)
    before = np.concatenate([np.ones_like(x[..., :1]), x[..., :-1]], axis=-1)
    w = np.empty_like(x)
    w[..., 1:-1] = (before[..., 1:-1] - x[..., 2:]) / 2
    if x.shape[-1] == 1:
        return np.ones_like(x)
    w[..., 0] = 1 - (x[..., 0] + x[..., 1]) / 2
    w[..., -1] = (x[..., -2] + x[..., -1]) / 2
    return w


def evidence(log_w: Array, ell: Array) -> tuple[Any, Any, Array]:
    """The evidence (as log Z), the information and the posterior masses."""
    log_z = logsumexp(log_w + ell, axis=-1, keepdims=True)
    p = np.exp(log_w + ell - log_z)
    finite = np.where(ell > -INF, ell, 0.0)
    return log_z[..., 0], (p * finite).sum(axis=-1) - log_z[..., 0], p


@pytest.mark.parametrize("name", RUNS)
def test_volumes_follow_their_definitions(name: str) -> None:
    run = RUNS[name]
    found = _core.nested_volumes(run.ell, run.birth)
    n = alive(run.ell, run.birth)
    assert found["n_alive"].dtype == np.int64
    np.testing.assert_array_equal(found["n_alive"], n)
    log_x = -np.cumsum(1 / n)
    np.testing.assert_allclose(found["log_x"], log_x, rtol=1e-12)
    log_w = np.log(masses(log_x))
    # The reference subtracts masses that differ little.
    np.testing.assert_allclose(found["log_prior_masses"], log_w, atol=1e-11)
    assert abs(np.exp(found["log_prior_masses"]).sum() - 1) < 1e-14
    log_z, information, p = evidence(log_w, run.ell)
    assert found["log_evidence"] == pytest.approx(log_z, abs=1e-12)
    assert found["information"] == pytest.approx(information, abs=1e-11)
    assert found["ess"] == pytest.approx(1 / (p**2).sum(), rel=1e-10)


@pytest.mark.parametrize("name", RUNS)
def test_the_standard_error_is_the_first_order_one(name: str) -> None:
    run = RUNS[name]
    n = alive(run.ell, run.birth)
    # The gradient of log Z by each shrinkage, by central differences.
    h = 1e-5
    shifts = h * np.eye(n.size)
    both = [
        evidence(np.log(masses(-np.cumsum(1 / n + s * shifts, axis=-1))), run.ell)[0]
        for s in (1, -1)
    ]
    gradient = (both[0] - both[1]) / (2 * h)
    expected = math.sqrt(((gradient / n) ** 2).sum())
    found = _core.nested_volumes(run.ell, run.birth)["log_evidence_stderr"]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ["single", "batches", "plateaus", "support"])
def test_simulations_follow_the_law_of_the_shrinkage(name: str) -> None:
    run = RUNS[name]
    n = alive(run.ell, run.birth)
    values = np.stack([run.mass, np.log(run.mass)], axis=1)
    n_sets = 3000
    found = _core.nested_simulate(run.ell, n, n_sets, 1, 1, values)
    noise = np.random.default_rng(0).exponential(size=(n_sets, n.size))
    log_z, information, p = evidence(np.log(masses(-np.cumsum(noise / n, axis=1))), run.ell)
    pairs = [(found["log_evidence"], log_z), (found["information"], information)]
    pairs += list(zip(found["means"].T, (p @ values).T, strict=True))
    for ours, theirs in pairs:
        error = math.sqrt((ours.var() + theirs.var()) / n_sets)
        assert abs(ours.mean() - theirs.mean()) < 5 * error
        assert abs(ours.std() / theirs.std() - 1) < 0.1


@pytest.mark.parametrize("name", RUNS)
def test_a_bootstrap_is_a_run_of_drawn_lineages(name: str) -> None:
    run = RUNS[name]
    values = np.stack([run.mass, run.mass**2], axis=1)
    n_sets = 400
    found = _core.nested_bootstrap(run.ell, run.birth, run.lineage, n_sets, 3, 2, values)
    rng = np.random.default_rng(1)
    labels = np.unique(run.lineage)
    rows = []
    for _ in range(n_sets):
        copies = np.bincount(rng.choice(labels, labels.size), minlength=labels.max() + 1)
        points = np.repeat(np.arange(run.ell.size), copies[run.lineage])
        ell = run.ell[points]
        n = alive(ell, run.birth[points])
        log_z, information, p = evidence(np.log(masses(-np.cumsum(1 / n))), ell)
        rows.append([log_z, information, *(p @ values[points])])
    ours = np.column_stack([found["log_evidence"], found["information"], found["means"]])
    theirs = np.array(rows)
    if labels.size == 1:
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
        return
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / n_sets)
    assert (abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * error).all()
    assert (abs(ours.std(axis=0) / theirs.std(axis=0) - 1) < 0.25).all()


def test_replicates_do_not_depend_on_the_threads() -> None:
    run = RUNS["batches"]
    n = alive(run.ell, run.birth)
    values = run.mass[:, None]
    simulated = [_core.nested_simulate(run.ell, n, 50, 9, t, values) for t in (1, 2, 4)]
    drawn = [
        _core.nested_bootstrap(run.ell, run.birth, run.lineage, 50, 9, t, values) for t in (1, 2, 4)
    ]
    for first, *others in (simulated, drawn):
        for other in others:
            for key, value in first.items():
                np.testing.assert_array_equal(value, other[key])


def test_a_constant_likelihood_is_its_own_evidence() -> None:
    ell = np.full(500, 1e4 + 0.1)
    found = _core.nested_volumes(ell, np.full(500, -INF))
    assert (found["log_evidence"], found["log_evidence_stderr"]) == (ell[0], 0.0)
    assert found["information"] == 0.0


def test_merged_runs_are_the_run_of_all_points() -> None:
    runs = [RUNS["single"], RUNS["batches"], RUNS["support"]]
    ell = np.concatenate([r.ell for r in runs])
    birth = np.concatenate([r.birth for r in runs])
    order = np.argsort(ell, kind="stable")
    found = _core.nested_volumes(ell[order], birth[order])
    np.testing.assert_array_equal(found["n_alive"], alive(ell[order], birth[order]))
    # Where the runs have no ties, live points add up.
    at = 300
    level = ell[order][at]
    total = sum(((r.birth < level) & (r.ell >= level)).sum() for r in runs)
    assert found["n_alive"][at] == total


def test_points_that_no_run_leaves_are_refused() -> None:
    none = np.full(2, -INF)
    for ell, birth, message in [
        ([2.0, 1.0], none, "sort"),
        ([1.0, math.nan], none, "point 1 has NaN"),
        ([1.0, INF], none, "below \\+inf"),
        ([1.0, 2.0], [-INF, 2.0], "not below its log-likelihood"),
        ([1.0, 2.0], [-INF], "one each"),
    ]:
        with pytest.raises(fm.errors.ArgumentError, match=message):
            _core.nested_volumes(np.array(ell), np.array(birth))
    ell = np.array([1.0, 2.0])
    with pytest.raises(fm.errors.ArgumentError, match="n_alive"):
        _core.nested_simulate(ell, np.array([1, -1]), 3, 0, 1)
    with pytest.raises(fm.errors.ArgumentError, match="values"):
        _core.nested_simulate(ell, np.array([2, 1]), 3, 0, 1, np.ones((3, 1)))
    assert _core.nested_simulate(ell, np.array([2, 1]), 3, 0, 1, np.ones((2, 0)))["means"].size == 0
    with pytest.raises(fm.errors.ArgumentError, match="groups"):
        _core.nested_bootstrap(ell, none, np.array([1]), 3, 0, 1)
