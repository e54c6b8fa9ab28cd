"""Probabilities of rare events: exact answers, verdicts, the same bits, bad input."""

from __future__ import annotations

import math
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forms import INTEGRANDS, Make, law, moments
from limit_states import BREITUNG, FOUR, PROBLEMS, Array, Problem, half_space, normal
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, TargetError

D = fm.distributions
quiet = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")


def run(problem: Problem, n: int = 20_000, rng: int = 0, **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        return fm.importance.failure_probability(
            problem.g, problem.law, n, rng=rng, check=False, **settings
        )


def same(a: Any, b: Any) -> bool:
    return bool(
        np.array_equal(a.mean, b.mean)
        and np.array_equal(a.stderr, b.stderr)
        and a.n_evals == b.n_evals
    )


# --- exact answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_known_problems_come_out_right_and_precise(name: str) -> None:
    problem = PROBLEMS[name]
    p = run(problem, rng=3)
    assert p.converged
    assert p.warnings == ()
    assert p.n_evals <= 20_000
    assert abs(p.mean - problem.probability) < 5 * p.stderr
    assert p.stderr < 3 / math.sqrt(20_000) * problem.probability
    assert 8 <= p.n_replicates <= 15
    assert p.df == p.n_replicates - 1
    assert abs(math.log(p.subset["mean"] / p.mean)) < 4 * p.subset["stderr"] / p.subset["mean"]


def test_error_bars_hold_and_no_failure_is_silent() -> None:
    pulls, silent = [], 0
    for problem in (half_space(4, 10), FOUR, PROBLEMS["parabola"], PROBLEMS["paraboloid"]):
        for seed in range(15):
            p = run(problem, 8000, 100 + seed)
            pulls.append((p.mean - problem.probability) / p.stderr)
            silent += bool(p.converged and abs(pulls[-1]) > 5)
    # 60 pulls with 8 to 15 replicates: 0.92 to 0.94 lie within 2.
    assert 0.85 <= np.mean(np.abs(pulls) < 2) <= 0.99
    assert silent <= 1


def test_subset_simulation_knows_its_error() -> None:
    problem = half_space(4, 10)
    found = [run(problem, 6000, seed, method="subset") for seed in range(40)]
    logs = np.array([math.log(p.mean / problem.probability) for p in found])
    errors = np.array([p.stderr / p.mean for p in found])
    assert 0.85 <= np.mean(np.abs(logs) < 2 * errors) <= 1.0
    assert all(p.n_evals <= 6000 for p in found)


@pytest.mark.parametrize("method", ["subset", "line", "form", "mc"])
def test_every_method_gives_the_half_space(method: str) -> None:
    problem = half_space(2.5, 4)
    p = run(problem, rng=1, method=method)
    assert p.method == method
    assert p.n_evals <= 20_000
    assert 0 < p.stderr < 0.2 * problem.probability
    assert abs(p.mean - problem.probability) < 5 * p.stderr


@pytest.mark.parametrize("n", [500, 3000])
def test_small_budgets_are_kept(n: int) -> None:
    for method in ("auto", "subset", "line", "form"):
        p = run(half_space(3, 3), n, 2, method=method)
        assert p.n_evals <= n
        assert abs(p.mean - half_space(3, 3).probability) < 6 * p.stderr


@pytest.mark.parametrize(
    ("law", "g", "exact"),
    [
        (D.Product([D.Exponential()] * 5), lambda x: 20 - x.sum(1), stats.gamma.sf(20, 5)),
        (
            D.MultivariateNormal([1.0, 0.0], [[1.0, 0.8], [0.8, 2.0]]),
            lambda x: 8 - x.sum(1),
            stats.norm.sf(7 / math.sqrt(4.6)),
        ),
        (D.LogNormal(0.0, 1.0), lambda x: 40 - x[:, 0], stats.norm.sf(math.log(40))),
        (D.Normal(), lambda x: 4 - abs(x[:, 0]), 2 * stats.norm.sf(4)),
        (
            D.GaussianCopula([D.Gumbel(0.0, 1.0), D.Uniform(0.0, 1.0)], [[1.0, 0.5], [0.5, 1.0]]),
            lambda x: x[:, 1] - 1e-3,
            1e-3,
        ),
    ],
)
def test_laws_of_all_kinds(law: Any, g: Any, exact: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        p = fm.importance.failure_probability(g, law, 20_000, rng=4)
    assert abs(p.mean - exact) < 5 * p.stderr
    assert p.stderr < 0.05 * exact


def test_named_parameters() -> None:
    p = fm.importance.failure_probability(
        lambda load, strength: strength - load,
        {"load": D.Normal(0.0, 1.0), "strength": D.Normal(5.0, 1.0)},
        n=5000,
        rng=0,
    )
    assert abs(p.mean - stats.norm.sf(5 / math.sqrt(2))) < 5 * p.stderr


def test_common_events_are_right_too() -> None:
    for t, exact in ((0.5, stats.norm.cdf(-0.5)), (-3.0, stats.norm.cdf(3))):
        p = fm.importance.failure_probability(lambda x, t=t: x[:, 0] + t, normal(2), 5000, rng=0)
        assert p.converged
        assert abs(p.mean - exact) < 5 * p.stderr


# --- thresholds and outputs ----------------------------------------------------------------------


def test_thresholds_and_outputs_share_one_sample() -> None:
    def g(x: Array) -> Array:
        return np.column_stack([x[:, 0], x[:, 1]])

    thresholds = np.array([-2.0, -3.5, -4.5])
    p = fm.importance.failure_probability(
        g, normal(3), 30_000, thresholds=thresholds, rng=1, check=False
    )
    exact = np.tile(stats.norm.cdf(thresholds), 2)
    assert p.mean.shape == (6,)
    assert p.cov.shape == (6, 6)
    assert p.names[:2] == ("P(g[0] <= -2)", "P(g[0] <= -3.5)")
    assert (np.abs(p.mean - exact) < 5 * p.stderr).all()
    assert (p.stderr < 0.05 * exact).all()
    low, high = p.interval(0.999)
    assert ((low < exact) & (exact < high)).all()
    assert np.allclose(np.diag(p.cov), p.stderr**2)


def test_shapes_follow_the_arguments() -> None:
    g = half_space(2, 2).g
    one = fm.importance.failure_probability(g, normal(2), 3000, thresholds=[0.0], rng=0)
    plain = fm.importance.failure_probability(g, normal(2), 3000, rng=0)
    assert one.mean.shape == (1,)
    assert isinstance(plain.mean, float)
    assert one.mean[0] == plain.mean
    assert isinstance(plain.beta, float)


def test_names_of_events() -> None:
    g = half_space(2, 2).g
    p = fm.importance.failure_probability(g, normal(2), 3000, names=["collapse"], rng=0)
    assert p.names == ("collapse",)
    with pytest.raises(ArgumentError, match="2 given for 1 events"):
        fm.importance.failure_probability(g, normal(2), 3000, names=["a", "b"], rng=0)


# --- stopping ------------------------------------------------------------------------------------


def test_a_tolerance_stops_the_run() -> None:
    p = run(FOUR, 400_000, 2, rtol=0.02)
    assert p.converged
    assert p.n_evals < 300_000
    assert p.looks > 1
    low, high = p.interval(0.95)
    plain = p.mean * math.exp(-stats.t.ppf(0.975, p.df) * p.stderr / p.mean)
    assert low < plain < p.mean
    assert low < FOUR.probability < high


def test_a_tolerance_out_of_reach_is_said() -> None:
    with pytest.warns(ConvergenceWarning, match="was not reached with n = 20000"):
        p = fm.importance.failure_probability(FOUR.g, FOUR.law, 20_000, rtol=1e-6, rng=0)
    assert not p.converged


# --- verdicts ------------------------------------------------------------------------------------


def test_breitungs_pair_is_solved_or_announced() -> None:
    wrong = 0
    for seed in range(10):
        p = run(BREITUNG, 20_000, seed)
        wrong += bool(p.converged and abs(p.mean - BREITUNG.probability) > 5 * p.stderr)
    assert wrong == 0


@quiet
def test_a_walk_alone_that_lost_a_region_says_so() -> None:
    runs = [run(BREITUNG, 20_000, seed, method="subset") for seed in range(20)]
    doubted = [p for p in runs if not p.converged]
    assert len(doubted) >= 4
    assert all(abs(p.mean - BREITUNG.probability) < 5 * p.stderr for p in runs if p.converged)
    signs = "in a direction in which the walk has none", "few of its chains reached that region"
    assert all(any(sign in "".join(p.warnings) for sign in signs) for p in doubted)
    assert all(p.n_evals <= 20_000 for p in runs)


def test_a_walk_alone_that_is_right_is_not_doubted() -> None:
    names = ["half-space 3", "four branches", "parabola", "sphere", "half-space d=100"]
    doubted = 0
    for name in names:
        for seed in range(8):
            doubted += not run(PROBLEMS[name], 20_000, seed, method="subset").converged
    assert doubted <= 1


def test_failure_that_is_never_reached_is_bounded() -> None:
    with pytest.warns(ConvergenceWarning, match="no point failed"):
        p = fm.importance.failure_probability(lambda x: 1e3 + x[:, 0] ** 2, normal(2), 3000, rng=0)
    assert p.mean == 0
    assert not p.converged
    assert 0 < p.stderr < 0.05
    low, high = p.interval(0.95)
    assert low == 0
    assert high == pytest.approx(-math.log(0.05) / 3 * p.stderr)
    assert p.beta == np.inf


def test_certain_failure_ends_at_once() -> None:
    p = fm.importance.failure_probability(lambda x: x[:, 0] - 100, normal(2), 20_000, rng=0)
    assert p.mean == 1
    assert p.converged
    assert p.n_evals <= 1000
    assert 0 < p.stderr < 0.01
    low, high = p.interval(0.95)
    assert 0.99 < low < high == 1


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_constant_ends_at_once(value: float) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        p = fm.importance.failure_probability(
            lambda x: np.full(len(x), value), normal(2), 20_000, rng=0
        )
    assert p.mean == (value <= 0)
    assert p.n_evals <= 1000
    assert p.stderr > 0
    assert bool(caught) == (value > 0)
    assert p.converged == (value <= 0)


def test_a_flat_limit_state_does_not_hang() -> None:
    """Most of the space has one value, so that no level divides it."""
    p = run(Problem(lambda x: np.where(x[:, 0] > 2.5, -1.0, 1.0), 2, 0.0062), 10_000, 0)
    assert p.n_evals <= 10_000
    low, high = p.interval(0.999)
    assert low < stats.norm.sf(2.5) < high or not p.converged


def test_regions_have_design_points() -> None:
    p = run(FOUR, 20_000, 1)
    weights = [r["weight"] for r in p.regions]
    assert sum(weights) == pytest.approx(1)
    assert max(weights) < 0.6
    assert len(p.regions) == 4
    best = min(np.linalg.norm(r["normal_point"]) for r in p.regions)
    assert best == pytest.approx(3.0, abs=0.1)
    law = D.MultivariateNormal([10.0, 0.0], [[4.0, 0.0], [0.0, 1.0]])
    p = fm.importance.failure_probability(lambda x: 18 - x[:, 0], law, 5000, rng=0)
    (region,) = p.regions
    np.testing.assert_allclose(region["point"], [18, 0], atol=1e-2)
    np.testing.assert_allclose(region["importance"], [1, 0], atol=1e-4)
    assert p.levels[0]["probability"] == 1
    assert all(a["acceptance"] > 0.1 for a in p.levels[1:] if a["walk"] == 0 and a["cov"] > 0)


def test_gradients_save_evaluations() -> None:
    problem = half_space(4, 30)
    slope = -np.ones(30) / math.sqrt(30)
    p = run(problem, 20_000, 0, gradient=lambda x: np.broadcast_to(slope, x.shape))
    assert abs(p.mean - problem.probability) < 5 * p.stderr
    assert p.stderr < 0.02 * problem.probability


# --- sensitivities and surrogates ----------------------------------------------------------------


def test_sensitivities_have_their_closed_forms() -> None:
    law = D.Product([D.Normal(1.0, 2.0), D.Normal(3.0, 0.5)])
    p = fm.importance.failure_probability(
        lambda x: 10 - x.sum(axis=1), law, 30_000, sensitivities=True, rng=2
    )
    sd = math.sqrt(4.25)
    beta = (10 - 4) / sd
    density = stats.norm.pdf(beta)
    exact = {
        "laws[0].mean": density / sd,
        "laws[0].sd": density * beta / sd**2 * 2.0,
        "laws[1].mean": density / sd,
        "laws[1].sd": density * beta / sd**2 * 0.5,
    }
    found = {s["parameter"]: s for s in p.sensitivities}
    assert set(found) == set(exact)
    for name, value in exact.items():
        assert abs(found[name]["derivative"] - value) < 5 * found[name]["stderr"]
        assert found[name]["stderr"] < 0.1 * value


def test_sensitivities_of_a_covariance_and_by_plain_monte_carlo() -> None:
    cov = np.array([[1.0, 0.3], [0.3, 2.0]])
    variance = cov.sum()
    for method, t in (("auto", 5.0), ("mc", 3.0)):
        p = fm.importance.failure_probability(
            lambda x, t=t: t - x.sum(axis=1),
            D.MultivariateNormal([0.0, 0.0], cov),
            20_000,
            method=method,
            sensitivities=True,
            rng=2,
        )
        beta = t / math.sqrt(variance)
        by_variance = stats.norm.pdf(beta) * beta / (2 * variance)
        found = {s["parameter"]: s for s in p.sensitivities}
        for name, factor in (("cov[0, 0]", 1), ("cov[1, 0]", 2), ("cov[1, 1]", 1)):
            one = found[name]
            assert abs(one["derivative"] - factor * by_variance) < 5 * one["stderr"]


@pytest.mark.parametrize("law", [D.Uniform(0.0, 1.0), D.Dirichlet([1.0, 1.0, 1.0])])
def test_sensitivities_need_parameters(law: Any) -> None:
    with pytest.raises(ArgumentError, match="sensitivities"):
        fm.importance.failure_probability(
            lambda x: x[:, 0] - 0.01, law, 2000, sensitivities=True, rng=0
        )


@quiet
def test_a_surrogate_of_any_quality_leaves_the_estimate_unbiased() -> None:
    exact = PROBLEMS["paraboloid"]
    gains = []
    for surrogate in (
        lambda x: exact.g(x) + 0.02 * np.sin(9 * x[:, 0]),
        lambda x: 3.2 - x[:, 0] + x[:, 1] ** 2,
    ):
        found = [
            fm.importance.failure_probability(
                exact.g, exact.law, 4000, surrogate=surrogate, rng=seed, check=False
            )
            for seed in range(12)
        ]
        means = np.array([p.mean for p in found])
        error = means.std(ddof=1) / math.sqrt(len(means))
        assert abs(means.mean() - exact.probability) < 5 * error
        assert all(p.n_evals <= 4000 < p.n_surrogate_evals for p in found)
        gains.append(np.median([p.gain for p in found]))
    assert gains[0] > 1.5


# --- the same bits -------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("make", INTEGRANDS)
def test_all_forms_and_threads_give_the_same_bits(
    make: Make, thread_counts: tuple[int, ...]
) -> None:
    settings: dict[str, Any] = {"n": 2000, "thresholds": [-40.0, -10.0], "rng": 5}
    plain = fm.importance.failure_probability(moments, law(), plan=fm.Plan(n_threads=1), **settings)
    for n_threads in thread_counts:
        p = fm.importance.failure_probability(
            make(), law(), plan=fm.Plan(n_threads=n_threads), **settings
        )
        assert same(p, plain)


@quiet
def test_an_executor_gives_the_same_bits() -> None:
    g = half_space(3, 3)
    with ThreadPoolExecutor(2) as pool:
        assert same(run(g, 4000, 1, plan=pool), run(g, 4000, 1))


@quiet
@pytest.mark.parametrize("method", ["auto", "subset", "line"])
def test_a_killed_run_resumes_with_the_same_bits(tmp_path: Path, method: str) -> None:
    problem = PROBLEMS["parabola"]
    whole = run(problem, 5000, 3, method=method)
    calls = 0

    def failing(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise ValueError("killed")
        return problem.g(x)

    path = tmp_path / "run"
    with pytest.raises(ValueError, match="killed"):
        run(Problem(failing, 2, 0.0), 5000, 3, method=method, plan=fm.Plan(store=path))
    resumed = run(problem, 5000, 3, method=method, plan=fm.Plan(store=path))
    assert same(resumed, whole)
    with pytest.raises(CheckpointError, match="another run"):
        run(problem, 6000, 3, method=method, plan=fm.Plan(store=path))


def test_results_are_saved(tmp_path: Path) -> None:
    p = fm.importance.failure_probability(
        FOUR.g, FOUR.law, 4000, thresholds=[0.0, 1.0], sensitivities=True, rng=0
    )
    p.save(tmp_path / "p")
    again = fm.load(tmp_path / "p")
    assert isinstance(again, fm.importance.FailureProbability)
    assert same(again, p)
    np.testing.assert_array_equal(again.interval()[0], p.interval()[0])
    assert again.summary().to_dict() == p.summary().to_dict()
    assert "second" not in repr(p)
    assert "P(g <= 0)" in str(p.summary())


def test_it_runs_in_the_background() -> None:
    g = half_space(3, 2)
    started = fm.importance.start("failure_probability", g.g, g.law, n=3000, rng=0)
    assert same(started.result(timeout=60), run(g, 3000, 0))


# --- interrupts and progress ---------------------------------------------------------------------


@pytest.mark.parametrize(("share", "complete"), [(0.02, False), (0.95, True)])
def test_an_interrupt_hands_out_what_was_done(share: float, complete: bool) -> None:
    n, seen = 200_000, 0

    def g(x: Array) -> Array:
        nonlocal seen
        seen += len(x)
        if seen > share * n:
            signal.raise_signal(signal.SIGINT)
        return FOUR.g(x)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(Problem(g, 2, 0.0), n, 1)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    if not complete:
        assert partial is None
        return
    assert partial.status == "interrupted"
    assert not partial.converged
    assert abs(partial.mean - FOUR.probability) < 5 * partial.stderr


def test_progress_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    run(FOUR, 5000, 0, plan=fm.Plan(progress=lambda *state: seen.append(state)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (5000, 5000)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n": 40}, "n: 40 was given; 500"),
        ({"n": 2**80}, "n: "),
        ({"thresholds": [[0.0]]}, "thresholds: an array of shape"),
        ({"thresholds": []}, "thresholds: an array of shape"),
        ({"thresholds": math.nan}, "thresholds: they hold NaN"),
        ({"method": "fosm"}, "method: 'fosm' was given"),
        ({"rtol": 0.0}, "rtol: 0.0 was given"),
        ({"rtol": -1.0}, "rtol"),
        ({"rtol": 0.1, "method": "mc"}, "rtol: given with method='mc'"),
        ({"surrogate": 3}, "surrogate: int given"),
        ({"surrogate": len, "method": "subset"}, "surrogate: given with"),
        ({"gradient": 1.0}, "gradient: float given"),
        ({"sensitivities": 1}, "sensitivities"),
        ({"on_nan": "skip"}, "on_nan"),
        ({"g": None}, "g: NoneType given"),
        ({"g": fm.targets.powers(2)}, "dimension 1 where 2"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], match: str) -> None:
    given: dict[str, Any] = {"g": half_space(3, 2).g, "law": normal(2), "n": 2000} | change
    g, law = given.pop("g"), given.pop("law")
    with pytest.raises(ArgumentError, match=match):
        fm.importance.failure_probability(g, law, rng=0, **given)


def test_a_surrogate_has_as_many_columns_as_g() -> None:
    with pytest.raises(ArgumentError, match="surrogate: it gives 2 numbers"):
        fm.importance.failure_probability(
            half_space(2, 2).g, normal(2), 2000, surrogate=lambda x: 2 - x, rng=0
        )


def test_probabilities_of_any_size() -> None:
    """Squares of such numbers are below the range of doubles."""
    p = run(Problem(lambda x: 30 - x[:, 0], 2, 0.0), 5000, 0, method="form")
    exact = stats.norm.sf(30)
    assert abs(p.mean - exact) < 5 * p.stderr < 0.2 * exact
    assert p.ess > 100


def test_bools_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"bools; .* use fermiac\.importance\.expect"):
        fm.importance.failure_probability(lambda x: x[:, 0] > 3, normal(2), 2000, rng=0)


def test_a_law_without_a_map_is_refused() -> None:
    class Own(D.Law):
        dim = 1

        def log_density(self, x: Array) -> Array:
            return -0.5 * x[:, 0] ** 2

    with pytest.raises(ArgumentError, match="no map from the unit cube"):
        fm.importance.failure_probability(lambda x: x[:, 0], Own(), 2000, rng=0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite(value: float) -> None:
    def g(x: Array) -> Array:
        return np.where(x[:, 0] < -1, value, 3 - x[:, 0])

    with pytest.raises(TargetError, match=r"g: it gave (nan|inf) at the point"):
        fm.importance.failure_probability(g, normal(2), 4000, rng=0)
    with pytest.warns(fm.errors.FermiacWarning, match="counted as no failure"):
        p = fm.importance.failure_probability(g, normal(2), 4000, on_nan="zero", rng=0)
    assert abs(p.mean - stats.norm.sf(3)) < 5 * p.stderr


@pytest.mark.parametrize("method", ["auto", "subset", "line", "form", "mc"])
def test_values_that_count_as_no_failure(method: str) -> None:
    def g(x: Array) -> Array:
        return np.where((x[:, 0] < 0) | (abs(x[:, 1]) > 1.5), math.nan, 2.5 - x[:, 0])

    exact = stats.norm.sf(2.5) * (1 - 2 * stats.norm.sf(1.5))
    # NumPy's warnings of overflows would be errors here.
    p = run(Problem(g, 2, exact), 10_000, 0, method=method, on_nan="zero")
    assert abs(p.mean - exact) < 5 * p.stderr


@pytest.mark.parametrize(
    ("g", "match"),
    [
        (lambda x: x.T, "shape"),
        (lambda x: x[:, 0] + 1j, "complex"),
        (lambda x: x[:, 0] if len(x) < 200 else x, "the shape must not change"),
        (lambda x: None, "gave None"),
    ],
)
def test_wrong_values_are_refused(g: Any, match: str) -> None:
    with pytest.raises(TargetError, match=match):
        fm.importance.failure_probability(g, normal(3), 10_000, rng=0, check=False)


def test_exceptions_of_the_user_pass_through() -> None:
    def g(x: Array) -> Array:
        raise RuntimeError("mesh failed")

    with pytest.raises(RuntimeError, match="mesh failed") as caught:
        fm.importance.failure_probability(g, normal(2), 2000, rng=0, check=False)
    assert any("raised by g" in note for note in caught.value.__notes__)


def test_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(TargetError, match="gradient gave an array of shape"):
        run(half_space(3, 2), 2000, 0, gradient=lambda x: x[:, 0])
