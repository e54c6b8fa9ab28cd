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


@pytest.mark.parametrize(("kind", "p"), [("leverage", 2.0), ("lewis", 1.0), ("lewis", 3.0)])
def test_norms_are_unbiased(kind: Any, p: float) -> None:
    x = np.array([1.0, 0.01, -50.0, 2.0])
    known = (np.abs(B @ x) ** p).sum()
    found = []
    for seed in range(300):
        s = sample_rows(B, 30, kind, p=p, rng=seed)
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
