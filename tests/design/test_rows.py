"""Scores of rows: definitions, unbiased norms, degenerate matrices, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.design import row_scores, sample_rows
from fermiac.errors import ArgumentError, ConvergenceWarning

A = np.array([[1, 0], [0, 1], [1, 1], [1, -1], [4, 0]], float)
B = np.asarray(fm.random.Stream(1).student_t(2.0, (300, 4))) * [1.0, 100.0, 0.01, 1.0]


def test_reference_values() -> None:
    known = [0.17056216, 0.35660253, 0.39529333, 0.39529333, 0.68224865]
    np.testing.assert_allclose(row_scores(A, "lewis", p=1), known, atol=5e-9)


def test_definitions() -> None:
    h = B @ np.linalg.inv(B.T @ B) @ B.T
    np.testing.assert_allclose(row_scores(B), np.diag(h), rtol=1e-9)
    ridge = B @ np.linalg.inv(B.T @ B + 3 * np.eye(4)) @ B.T
    np.testing.assert_allclose(row_scores(B, "ridge", ridge=3.0), np.diag(ridge), rtol=1e-9)
    np.testing.assert_allclose(row_scores(B, "lewis", p=2), row_scores(B))


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 3.0, 4.0, 8.0])
def test_lewis_weights_solve_their_equation(p: float) -> None:
    w = row_scores(B, "lewis", p=p)
    middle = np.linalg.inv((B * w[:, None] ** (1 - 2 / p)).T @ B)
    np.testing.assert_allclose(w ** (2 / p), np.einsum("nd,de,ne->n", B, middle, B), rtol=1e-8)
    assert w.sum() == pytest.approx(4, rel=1e-8)
    # They belong to the space of the columns, not to its basis.
    other = B @ fm.random.Stream(3).normal((4, 4))
    np.testing.assert_allclose(row_scores(other, "lewis", p=p), w, rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.2, 1.5, 3.0, 4.0, 8.0])
def test_sensitivities_are_the_largest_shares(p: float) -> None:
    a = np.asarray(fm.random.Stream(4).student_t(3.0, (40, 2)))
    got = row_scores(a, "sensitivity", p=p)
    # For p = 1 the largest shares are where a row is orthogonal to x.
    angles = np.append(np.linspace(0, np.pi, 20_001), np.arctan2(-a[:, 0], a[:, 1]))
    shares = np.abs(a @ [np.cos(angles), np.sin(angles)]) ** p
    np.testing.assert_allclose(got, (shares / shares.sum(0)).max(1), rtol=1e-6)
    one = np.array([[1.0], [2.0], [0.0], [-3.0]])
    known = np.abs(one[:, 0]) ** p / (np.abs(one) ** p).sum()
    np.testing.assert_allclose(row_scores(one, "sensitivity", p=p), known, rtol=1e-8)


def test_sensitivities_and_other_scores() -> None:
    few = B[:80]
    np.testing.assert_allclose(row_scores(few, "sensitivity"), row_scores(few))
    for p in (1.0, 1.5):
        got = row_scores(few, "sensitivity", p=p)
        assert (got <= row_scores(few, "lewis", p=p) * (1 + 1e-9)).all()
        other = few @ fm.random.Stream(3).normal((4, 4))
        np.testing.assert_allclose(row_scores(other, "sensitivity", p=p), got, rtol=1e-6)
    wide = np.column_stack([few, few[:, 0] + few[:, 3]])
    padded = np.concatenate([np.zeros((1, 5)), wide])
    got = row_scores(padded, "sensitivity", p=3)
    assert got[0] == 0
    np.testing.assert_allclose(got[1:], row_scores(few, "sensitivity", p=3), rtol=1e-6)
    with pytest.raises(ArgumentError, match="from 1 to 100"):
        row_scores(few, "sensitivity", p=0.5)
    with pytest.raises(ArgumentError, match="lewis"):
        row_scores(np.ones((5001, 1)), "sensitivity", p=3)
    assert (row_scores(np.zeros((3, 2)), "sensitivity", p=3) == 0).all()


@pytest.mark.parametrize(
    ("kind", "p"), [("leverage", 2.0), ("lewis", 1.0), ("lewis", 3.0), ("sensitivity", 3.0)]
)
def test_norms_are_unbiased(kind: Any, p: float) -> None:
    scores = row_scores(B, kind, p=p)
    x = np.array([1.0, 0.01, -50.0, 2.0])
    known = (np.abs(B @ x) ** p).sum()
    found = []
    for seed in range(300):
        s = sample_rows(B, 30, p=p, scores=scores, rng=seed)
        found.append(((s.factors * np.abs(B[s.rows] @ x)) ** p).sum() / known)
    assert abs(np.mean(found) - 1) < 5 * np.std(found) / np.sqrt(300)


def test_dependent_columns_and_rows_of_zeros() -> None:
    wide = np.column_stack([B, B[:, 0] + B[:, 3]])
    np.testing.assert_allclose(row_scores(wide), row_scores(B), rtol=1e-7)
    assert row_scores(wide, "lewis", p=1).sum() == pytest.approx(4, rel=1e-8)
    padded = np.concatenate([np.zeros((2, 4)), B])
    for kind in ("leverage", "lewis", "ridge"):
        assert (row_scores(padded, kind, p=1)[:2] == 0).all()  # type: ignore[arg-type]
    s = sample_rows(padded, 500, rng=0)
    assert s.rows.min() >= 2
    assert np.isfinite(s.factors).all()
    with pytest.raises(ArgumentError, match="all rows are zero"):
        sample_rows(np.zeros((3, 2)), 5, rng=0)
    few = row_scores(B[:2])  # fewer rows than columns
    np.testing.assert_allclose(few, 1.0)


def test_ill_conditioned_columns() -> None:
    """Leverage scores keep their digits where A'A has lost them."""
    x = np.linspace(0, 1, 200)
    close = np.column_stack([np.ones(200), x, x + 1e-9 * np.cos(40 * x)])
    span = np.column_stack([np.ones(200), x, np.cos(40 * x)])
    np.testing.assert_allclose(row_scores(close), row_scores(span), rtol=1e-4)


def test_scores_of_ones_own_and_the_seed(tmp_path: Path) -> None:
    norms = (B**2).sum(axis=1)
    s = sample_rows(B, 50, scores=norms, rng=1)
    np.testing.assert_allclose(s.probabilities, norms / norms.sum())
    again = sample_rows(B, 50, scores=norms, rng=1)
    assert (s.rows == again.rows).all()
    assert s.rows[:5].tolist() == [167, 87, 274, 50, 50]
    s.save(tmp_path / "s.safetensors")
    loaded = fm.load(tmp_path / "s.safetensors")
    assert isinstance(loaded, fm.design.RowSample)
    assert loaded.to_dict() == s.to_dict()


def test_an_iteration_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from fermiac.design import rows

    monkeypatch.setattr(rows, "_ITERATIONS", 2)
    with pytest.warns(ConvergenceWarning, match="has not converged"):
        row_scores(B, "lewis", p=1)
    with pytest.warns(ConvergenceWarning, match="has not converged"):
        sample_rows(B, 5, "lewis", p=1, rng=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "volume"}, "kind"),
        ({"p": 0.0}, "p"),
        ({"p": 1e9}, "p"),
        ({"ridge": 0.0}, "ridge"),
        ({"n": 0}, "n"),
        ({"scores": [1.0]}, "scores"),
        ({"scores": np.zeros(300)}, "row that is not zero"),
        ({"scores": -np.ones(300)}, "not negative"),
        ({"A": [1.0, 2.0]}, "matrix"),
        ({"A": [[np.inf]]}, "matrix"),
        ({"rng": -1}, "rng"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sample_rows(**{"A": B, "n": 10, "kind": "ridge", "rng": 0, **arguments})
