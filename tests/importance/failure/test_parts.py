"""The parts of failure probabilities: proposals, walks, fits, design points, verdicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from limit_states import PROBLEMS, Array, normal
from scipy import stats

import fermiac as fm
from fermiac.errors import ConvergenceWarning
from fermiac.importance.failure import design, final
from fermiac.importance.failure.checks import verdict
from fermiac.importance.failure.fit import best_proposal, candidates
from fermiac.importance.failure.proposal import Axis, Polar, Proposal, Slab
from fermiac.importance.failure.run import Outcome
from fermiac.importance.failure.scores import Scores
from fermiac.importance.failure.space import LimitState, NormalMap
from fermiac.importance.failure.walk import Walk, start_points, steps

DIM = 6


def frame(r: int, seed: int = 0) -> Array:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(DIM, r)))[0]


def components() -> tuple[Any, ...]:
    return (
        Slab(frame(2), [Axis("tail", 2.5), Axis("normal", 1.0, 0.4)]),
        Slab(frame(DIM, 1), [Axis("normal", 0.3 * j, 0.5 + 0.2 * j) for j in range(DIM)]),
        Slab(frame(1, 2), [Axis("t", 1.0, 0.5)]),
        Polar(frame(1, 3)[:, 0], 8.0, 12.0, 1.5),
        Polar(frame(1, 4)[:, 0], 0.0, 9.0, 1.2),
    )


def proposal() -> Proposal:
    return Proposal(DIM, 0.2, np.array([0.2, 0.2, 0.1, 0.2, 0.1]), components())


def limit_state(name: str) -> LimitState:
    problem = PROBLEMS[name]
    return LimitState(problem.g, NormalMap(normal(problem.dim), 1), "raise", None)


# --- proposals -----------------------------------------------------------------------------------


def test_points_have_the_density_that_is_said() -> None:
    q = proposal()
    u = q.sample(200_000, rng=0)
    inverse = np.exp(-q.log_ratio(u))
    # Each density integrates to 1, and weighted points have the moments of the normal law.
    ratios = np.exp(q.component_ratios(u)) * inverse[:, None]
    for values, exact in [(inverse, 1.0), *[(r, 1.0) for r in ratios.T]]:
        assert abs(values.mean() - exact) < 5 * values.std() / math.sqrt(len(u))
    for j in range(DIM):
        values = inverse * u[:, j] ** 2
        assert abs(values.mean() - 1) < 5 * values.std() / math.sqrt(len(u))
    expected = stats.multivariate_normal(np.zeros(DIM)).logpdf(u[:100]) + q.log_ratio(u[:100])
    np.testing.assert_allclose(q.log_density(u[:100]), expected, rtol=1e-12)


@pytest.mark.parametrize("k", range(5))
def test_points_of_a_component_lie_in_its_support(k: int) -> None:
    q = Proposal(DIM, 0.0, np.ones(1), (components()[k],))
    u = q.from_unit(fm.random.sobol(4096, q.unit_dim, 1))
    assert np.isfinite(q.log_ratio(u)).all()


def test_the_law_of_a_tail_far_out() -> None:
    for bound in (5.0, 20.0, 37.0, 60.0):
        q = Proposal(1, 0.0, np.ones(1), (Slab(np.ones((1, 1)), [Axis("tail", bound)]),))
        v = np.array([1e-3, 0.5, 1 - 1e-12])
        u = q.from_unit(np.column_stack([np.full(3, 0.5), v]))[:, 0]
        assert (u >= bound).all()
        if bound < 37:
            exact = stats.norm.isf(v * stats.norm.sf(bound))
            np.testing.assert_allclose(u, exact, rtol=1e-9)
        else:
            np.testing.assert_allclose(u, bound - np.log(v) / bound, rtol=1e-3)


def test_polar_components_of_many_dimensions() -> None:
    for dim, kappa in ((2, 5.0), (3, 50.0), (100, 300.0)):
        axis = np.eye(dim)[0]
        q = Proposal(dim, 0.0, np.ones(1), (Polar(axis, kappa, dim / 2, 2.0),))
        u = q.from_unit(fm.random.sobol(2048, q.unit_dim, 1))
        assert np.isfinite(q.log_ratio(u)).all()
        # The norm is that of the normal law, and the direction lies about the axis.
        square = (u * u).sum(axis=1)
        assert abs(square.mean() / dim - 1) < 0.02
        mean = (u[:, 0] / np.sqrt(square)).mean()
        from scipy.special import ive

        exact = ive(dim / 2, kappa) / ive(dim / 2 - 1, kappa)
        assert abs(mean - exact) < 0.02


def test_threads_and_blocks_do_not_change_bits() -> None:
    one = proposal()
    many = Proposal(DIM, one.base, one.shares, one.components, n_threads=3)
    v = fm.random.sobol(10_000, one.unit_dim, 0)
    u = one.from_unit(v)
    np.testing.assert_array_equal(many.from_unit(v), u)
    np.testing.assert_array_equal(many.log_ratio(u), one.log_ratio(u))
    np.testing.assert_array_equal(one.log_ratio(u[:7]), one.log_ratio(u)[:7])


def walk(g: LimitState, n_level: int, budget: int, key: int) -> Walk:
    out = Walk(0)
    for so_far in steps(out, g, 0.0, n_level, budget, key, 0):
        assert so_far is out
    return out


# --- walks ---------------------------------------------------------------------------------------


def test_a_walk_gives_the_half_space() -> None:
    g = limit_state("half-space 3")
    found = walk(g, 2000, 20_000, 1)
    assert found.reached
    p, cov = found.estimate(0.0)
    assert abs(math.log(p / stats.norm.sf(3))) < 4 * cov
    assert 0.05 < cov < 0.3
    assert [level.threshold for level in found.levels[1:]] == sorted(
        (level.threshold for level in found.levels[1:]), reverse=True
    )
    for level in found.levels[1:]:
        assert (level.values[:, 0] <= level.threshold).all()
        assert 0.3 < level.acceptance < 0.7
    # Higher thresholds come from the earlier levels.
    p, cov = found.estimate(1.0)
    assert abs(math.log(p / stats.norm.sf(2))) < 4 * cov
    assert found.estimate(-100.0) == (0.0, math.inf)


def test_chains_keep_the_conditional_law() -> None:
    g = limit_state("half-space 3")
    level = walk(g, 20_000, 10**6, 2).levels[-1]
    c = level.u.sum(axis=1) / math.sqrt(10)
    bound = 3 - level.threshold
    exact = stats.truncnorm(bound, np.inf)
    assert abs(c.mean() - exact.mean()) < 0.05 * exact.std()
    across = level.u - c[:, None] / math.sqrt(10)
    assert abs(across.var(axis=0) - 0.9).max() < 0.1


def test_a_walk_ends_where_g_is_flat() -> None:
    g = LimitState(lambda x: np.ones(len(x)), NormalMap(normal(2), 1), "raise", None)
    found = walk(g, 200, 10_000, 0)
    assert not found.reached
    assert g.n_evals == 200


# --- fits and design points ----------------------------------------------------------------------


def test_shares_choose_what_covers_the_failure_points() -> None:
    q = Proposal(2, 0.0, np.ones(1), (Slab(np.eye(2)[:, :1], [Axis("tail", 4.0)]),))
    u = q.sample(2000, rng=0)
    measure = np.full(len(u), stats.norm.sf(4) / len(u))
    some, heavy = candidates(u[::2], measure[::2], [(np.eye(2)[0], 4.0)], fm.random.Stream(0))
    fitted, second = best_proposal(
        2, u[1::2], 2 * measure[1::2], np.ones((1000, 1), bool), some, heavy
    )
    # Nearly all of the weight is constant: 1 is the best there is.
    assert 1 < second < 1.35
    assert fitted.base >= 0.05
    assert fitted.base + fitted.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("gradient", [None, lambda u: np.full(10, -1 / math.sqrt(10))])
def test_the_design_point_of_a_half_space(gradient: Any) -> None:
    g = limit_state("half-space 6")
    found = design.search(g, 0, 0.0, np.zeros(10), gradient, 10, 1000)
    assert found is not None
    assert found.settled
    assert found.distance == pytest.approx(6, rel=1e-6)
    assert g.n_evals < (15 if gradient else 60)


def test_a_shell_is_one_region() -> None:
    g = limit_state("sphere")
    u = np.random.default_rng(0).normal(size=(400, 10))
    u *= 6.5 / np.linalg.norm(u, axis=1, keepdims=True)
    assert len(design.regions_of(g, 0, 0.0, u, np.ones(400), 1000)) == 1


def test_replicates_use_what_is_left() -> None:
    for n in (4096, 5000, 12_345, 10**6):
        made = final.plan(n, False)
        assert 8 <= made.n_replicates <= 15
        assert 8 / 9 * n <= made.n <= n
    small = final.plan(1000, False)
    assert 16 <= small.n_replicates <= 31
    assert len(final.plan(10**9, True).powers) <= 12


def test_scores_are_derivatives_of_log_densities() -> None:
    law = fm.distributions.Normal(np.array([1.0, 2.0]), np.array([2.0, 0.5]))
    scores = Scores(law)
    assert scores.names == ["mean[0]", "mean[1]", "sd[0]", "sd[1]"]
    x = np.array([[2.0, 2.5], [0.0, 1.0]])
    z = (x - [1.0, 2.0]) / [2.0, 0.5]
    exact = np.hstack([z / [2.0, 0.5], (z**2 - 1) / [2.0, 0.5]])
    np.testing.assert_allclose(scores(x), exact, rtol=1e-7, atol=1e-8)


def test_first_points_are_those_of_the_law() -> None:
    g = limit_state("four branches")
    u, values = start_points(g, 512, 0, 0)
    assert abs(u.mean(axis=0)).max() < 0.05
    assert values.shape == (512, 1)


# --- verdicts ------------------------------------------------------------------------------------


def outcome(p: float, walked: float, **change: Any) -> Outcome:
    one = np.array([1.0])
    given: dict[str, Any] = {
        "mean": p * one,
        "stderr": 0.02 * p * one,
        "cov": (0.02 * p * one[:, None]) ** 2,
        "df": 9 * one,
        "ess": 5000 * one,
        "khat": 0 * one,
        "unseen": 0.01 * p * one,
        "n_from_law": 1000,
        "heaviest": 3 * one,
        "largest_share": 1e-3 * one,
        "variance_share": 1e-3 * one,
        "n_final": 10_000,
        "second": (walked * one, 0.2 * walked * one),
        **change,
    }
    return Outcome(**given)


def judged(made: Outcome, **settings: Any) -> tuple[bool, list[str]]:
    converged, found = verdict(made, ("p",), {"method": "auto", "n": 20_000, **settings}, 0)
    assert all(issubclass(kind, fm.errors.FermiacWarning) for kind, _ in found)
    return converged, [text for _, text in found]


def test_two_opinions_that_agree() -> None:
    assert judged(outcome(1e-4, 1.2e-4)) == (True, [])


def test_a_larger_second_opinion_stands() -> None:
    made = outcome(1e-5, 1e-4)
    converged, (text,) = judged(made)
    assert not converged
    assert "misses a part" in text
    assert made.mean == 1e-4
    assert made.stderr == pytest.approx(2e-5)
    assert made.cov[0, 0] == pytest.approx(4e-10)


def test_a_lost_region_far_out_does_not_matter() -> None:
    assert judged(outcome(1e-4, 1e-4, lost=np.array([6.0]))) == (True, [])


def test_a_smaller_second_opinion_is_announced() -> None:
    made = outcome(1e-4, 1e-5)
    converged, (text,) = judged(made)
    assert not converged
    assert "lost a region" in text
    assert made.mean == 1e-4


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"heaviest": np.array([80.0])}, "80 times the mean weight"),
        (
            {
                "khat": np.array([0.8]),
                "variance_share": np.array([0.3]),
                "largest_share": np.array([0.1]),
            },
            "heavy tail",
        ),
        ({"unseen": np.array([2e-5])}, "so few points"),
        ({"stderr": np.array([1e-3]), "mean": np.zeros(1), "second": None}, "no point failed"),
        ({"met": False}, "was not reached"),
        ({"lost": np.array([3.5])}, "none. Such a region has a probability of about 0.00023"),
        (
            {"lost": np.array([5.0]), "surprises": np.zeros(1), "stderr": np.array([1e-9])},
            "met at the distance 5 from the origin",
        ),
        ({"surprises": np.array([0.1])}, "not beyond the root, worth 10 %"),
        ({"apart": {0: (1e-4, 1e-5)}}, "gives the probability 0.0001 and the walk 1e-05"),
    ],
)
def test_each_doubt_is_said(change: dict[str, Any], match: str) -> None:
    converged, texts = judged(outcome(1e-4, 1e-4, **change), rtol=0.01)
    assert not converged
    assert match in texts[0]


def test_expect_names_failure_probability_for_indicators() -> None:
    law = fm.distributions.Normal()
    with pytest.warns(ConvergenceWarning, match="failure_probability"):
        fm.importance.expect(lambda x: x[:, 0] > 3.5, law, n=20_000, rng=0)
    with pytest.warns(ConvergenceWarning) as caught:
        fm.importance.expect(lambda x: 2.0 * (x[:, 0] > 3.5), law, n=20_000, rng=0)
    assert not any("failure_probability" in str(w.message) for w in caught)
