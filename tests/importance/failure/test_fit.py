"""Fits of proposals: shares that cover the failure points."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from limit_states import normal, oscillator
from scipy import stats

import fermiac as fm
from fermiac.errors import FermiacWarning
from fermiac.importance.failure import fit
from fermiac.importance.failure.fit import best_proposal, candidates
from fermiac.importance.failure.proposal import Axis, Polar, Proposal, Slab, finite


def test_shares_choose_what_covers_the_failure_points() -> None:
    q = Proposal(2, 0.0, np.ones(1), (Slab(np.eye(2)[:, :1], [Axis("tail", 4.0)]),))
    u = q.sample(2000, rng=0)
    measure = np.full(len(u), stats.norm.sf(4) / len(u))
    some, heavy = candidates(
        u[::2], measure[::2], [(np.eye(2)[0], 4.0)], fm.random.Stream(0), (1, 2, 4, 8)
    )
    fitted, second = best_proposal(
        2, u[1::2], 2 * measure[1::2], np.ones((1000, 1), bool), some, heavy
    )
    # Nearly all of the weight is constant: 1 is the best there is.
    assert 1 < second < 1.35
    assert fitted.base >= 0.05
    assert fitted.base + fitted.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", [1000, 1001])
def test_an_oscillator_of_200_coordinates_has_a_fit(seed: int) -> None:
    """Densities at its failure points differ by factors beyond the range of doubles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        warnings.simplefilter("error", RuntimeWarning)
        e = fm.importance.failure_probability(
            oscillator(200, 4.5), normal(200), n=5000, rng=seed, plan=fm.Plan(n_threads=1)
        )
    assert 0 < e.mean < 1
    assert e.stderr > 0


def test_points_that_a_component_covers_far_better_than_the_law() -> None:
    tails = [Slab(np.eye(2)[:, :1], [Axis("normal", loc, 0.1)]) for loc in (20.0, 30.0)]
    u = np.column_stack([np.repeat([20.0, 30.0], 50), np.zeros(100)])
    fitted, second = best_proposal(
        2, u, np.full(100, 1e-6), np.ones((100, 1), bool), [*tails, tails[0]], []
    )
    assert finite(fitted)
    assert fitted.base + fitted.shares.sum() == pytest.approx(1)
    assert not np.isnan(second)


def test_a_fit_that_failed_leaves_the_proposal_before(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Proposal] = []

    def lost(dim: int, *_: object) -> tuple[Proposal, float]:
        made.append(Proposal(dim, np.nan))
        return made[-1], np.nan

    monkeypatch.setattr(fit, "best_proposal", lost)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        e = fm.importance.failure_probability(lambda x: 3 - x[:, 0], normal(2), n=3000, rng=0)
    assert made
    assert 0 < e.mean < 0.1


@pytest.mark.parametrize(
    "part",
    [
        Slab(np.eye(2)[:, :1], [Axis("tail", np.nan)]),
        Slab(np.full((2, 1), np.nan), [Axis("tail", 1.0)]),
        Slab(np.eye(2)[:, :1], [Axis("normal", 0.0, np.inf)]),
        Polar(np.array([1.0, 0.0]), 0.0, 1.0, 0.0),
    ],
)
def test_parts_that_are_not_finite_are_left_out(part: Slab | Polar) -> None:
    assert not finite(part)
    assert finite(Slab(np.eye(2)[:, :1], [Axis("tail", 4.0)]))
