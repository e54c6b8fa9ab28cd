"""Multilevel Monte Carlo: options with closed forms, rates, warnings, the same bits, bad input."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches.importance.options import EXACT, PAYOFFS, level
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, TargetError
from fermiac.importance import Multilevel, multilevel
from fermiac.importance.moments import Moments

Array = NDArray[np.float64]
Stream = fm.random.Stream


def geometric(alpha: float, beta: float, fault: float = 0.0) -> Callable[..., Any]:
    """A level function of the expectation 1 with known rates; level l is 1 - 2^(-alpha (l + 1))."""

    def both(l: int, n: int, stream: Stream) -> tuple[Array, Array | None]:  # noqa: E741
        shared, own = stream.normal(n), stream.normal(n)
        spread = 2.0 ** (-beta * l / 2)
        coarse = 1 - 2.0 ** (-alpha * l) + shared
        fine = coarse + 2.0 ** (-alpha * l) * (1 - 2.0**-alpha) + spread * own
        return (fine, None) if l == 0 else (fine, coarse + fault * (l == 2))

    return both


@pytest.mark.parametrize(
    ("name", "atol", "most"),
    [("european", 0.2, 1.1), ("asian", 0.1, 1.1), ("lookback", 0.3, 1.1), ("digital", 1.6, 1.2)],
)
@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_options_with_closed_forms(name: str, atol: float, most: float) -> None:
    errors = [
        float(multilevel(level(PAYOFFS[name]), atol, rng=seed).mean) - EXACT[name]
        for seed in range(30)
    ]
    # 30 errors give their root mean square to 13 %.
    assert np.sqrt(np.mean(np.square(errors))) < most * atol
    assert np.mean(np.abs(errors) < 2 * atol) >= 0.9


def test_the_cost_rises_like_the_squared_inverse_of_the_tolerance() -> None:
    costs = [
        np.mean([multilevel(level(PAYOFFS["asian"]), tol, rng=s).cost for s in range(8)])
        for tol in (0.1, 0.05, 0.025)
    ]
    slopes = np.diff(np.log2(costs))
    assert np.all(np.abs(slopes - 2) < 0.45), slopes


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_the_cost_exponent_is_that_of_the_theory() -> None:
    # By Milstein's scheme variances fall faster than costs rise. By Euler's the rates are equal,
    # and the squared logarithm of the tolerance has a part in every exponent.
    f = level(PAYOFFS["european"], milstein=True)
    tolerances = 0.05 * 2.0 ** -np.arange(0, 2.1, 0.5)
    # With few paths of the finest levels at least, which would cost a share of their own.
    runs = [[multilevel(f, t, n_start=200, rng=s) for s in range(4)] for t in tolerances]
    costs = [np.mean([m.cost for m in same]) for same in runs]
    assert abs(np.polyfit(np.log(tolerances), np.log(costs), 1)[0] + 2) < 0.1


def test_statistical_errors_are_calibrated() -> None:
    pulls = []
    for seed in range(200):
        # Rates that are steep: next to no bias at level 2.
        m = multilevel(geometric(6.0, 2.0), 0.1, rng=seed, alpha=6.0)
        exact = 1 - 2.0 ** (-6 * len(m.n_paths))
        pulls.append((float(m.mean) - exact) / float(m.stderr))
    assert 0.9 < np.mean(np.abs(pulls) < 2) < 0.99
    assert abs(np.mean(pulls)) < 0.3


def test_rates_bias_and_levels() -> None:
    m = multilevel(geometric(1.0, 2.0), 0.01, rng=0)
    assert m.beta == pytest.approx(2.0, abs=0.2)
    assert m.alpha == pytest.approx(1.0, abs=0.3)
    assert m.gamma == pytest.approx(1.0)
    assert m.converged is True
    truth = 2.0 ** -len(m.n_paths)
    assert 0.5 * truth < float(m.bias) < 3 * truth
    assert abs(float(m.mean) - (1 - truth)) < 5 * float(m.stderr)
    assert (np.diff(m.n_paths[:4]) < 0).all()
    assert m.cost == m.n_paths @ m.level_costs
    # Twice the paths of a level for a quarter of its cost.
    cheap = multilevel(geometric(1.0, 2.0), 0.01, costs=lambda l: 1.0, rng=0)  # noqa: E741
    assert cheap.gamma == 0.0
    assert cheap.n_paths[1] / cheap.n_paths[0] > 1.2 * m.n_paths[1] / m.n_paths[0]


def test_several_outputs() -> None:
    def both(l: int, n: int, stream: Stream) -> Any:  # noqa: E741
        fine, coarse = geometric(1.0, 2.0)(l, n, stream)
        pair = [np.column_stack([y, 100 * y]) for y in (fine, coarse) if y is not None]
        return pair[0], pair[1] if l else None

    m = multilevel(both, [0.05, 5.0], names=["a", "b"], rng=1)
    assert m.mean.shape == m.stderr.shape == m.bias.shape == (2,)  # type: ignore[union-attr]
    np.testing.assert_allclose(m.mean[1], 100 * m.mean[0])  # type: ignore[index]
    assert m.names == ("a", "b")
    assert m.level_means.shape == (len(m.n_paths), 2)
    with pytest.raises(ArgumentError, match="atol: 3 numbers given for 2 outputs"):
        multilevel(both, [0.1, 0.1, 0.1], rng=1)
    with pytest.raises(ArgumentError, match="names: 1 given for 2"):
        multilevel(both, 0.1, names=["a"], rng=1)


@pytest.mark.parametrize(("name", "atol"), [("european", 0.1), ("asian", 0.1), ("lookback", 0.3)])
@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_sobol_points_reach_the_tolerance_at_less_cost(name: str, atol: float) -> None:
    f = level(PAYOFFS[name])
    nets = [multilevel(f, atol, points="sobol", rng=seed) for seed in range(30)]
    errors = [float(m.mean) - EXACT[name] for m in nets]
    assert np.sqrt(np.mean(np.square(errors))) < 1.15 * atol
    assert np.mean(np.abs(errors) < 2 * atol) >= 0.9
    assert all(m.n_replicates == 32 and m.method == "multilevel Sobol'" for m in nets)
    plain = np.mean([multilevel(f, atol, rng=seed).cost for seed in range(5)])
    assert np.mean([m.cost for m in nets]) < (0.3 if name != "lookback" else 1.0) * plain


def test_errors_of_sobol_points_are_calibrated() -> None:
    pulls = []
    for seed in range(120):
        m = multilevel(geometric(6.0, 2.0), 0.01, points="sobol", rng=seed, alpha=6.0)
        exact = 1 - 2.0 ** (-6 * len(m.n_paths))
        pulls.append((float(m.mean) - exact) / float(m.stderr))
        assert m.n_paths.sum() == m.n_evals
        assert (m.n_paths % 32 == 0).all()
    assert 0.9 < np.mean(np.abs(pulls) < 2) < 0.99
    assert abs(np.mean(pulls)) < 0.35


def test_the_stream_of_sobol_points() -> None:
    seen: list[Array] = []

    def both(l: int, n: int, stream: Any) -> Any:  # noqa: E741
        first, rest, last = stream.uniform(n), stream.normal((n, 2)), stream.exponential((n,))
        assert rest.shape == (n, 2)
        seen.append(np.column_stack([first, fm.special.ndtr(rest), np.exp(-last)]))
        return first + 1 - 4.0**-l, first + 1 - 4.0 ** (1 - l) if l else None

    multilevel(both, 0.5, points="sobol", n_start=1024, rng=7)
    # Each replicate is a scrambled net of 32 points in the coordinates together.
    for net in np.split(seen[0], 32):
        for column in net.T:
            assert (np.sort((column * 32).astype(int)) == np.arange(32)).all()
    assert not np.array_equal(seen[0][:32], seen[0][32:64])


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda s, n: s.normal(), "a row for each path is needed"),
        (lambda s, n: s.normal(n + 1), "a row for each path is needed"),
        (lambda s, n: s.uniform((n, -1)), "a row for each path is needed"),
        (lambda s, n: s.gamma(2.0, n), "stream.gamma: not available with points='sobol'"),
    ],
)
def test_other_draws_from_sobol_points_are_refused(draw: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        multilevel(lambda l, n, s: (draw(s, n), None), 0.1, points="sobol", rng=0)  # noqa: E741


def test_sobol_points_are_the_same_on_executors_and_after_a_kill(tmp_path: Path) -> None:
    f = level(PAYOFFS["european"])
    whole = multilevel(f, 0.1, points="sobol", rng=3)
    with ThreadPoolExecutor(2) as pool:
        other = multilevel(f, 0.1, points="sobol", rng=3, plan=pool)
    assert other.mean == whole.mean
    calls = 0

    def failing(l: int, n: int, stream: Stream) -> Any:  # noqa: E741
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ValueError("killed")
        return f(l, n, stream)

    path = tmp_path / "run"
    with pytest.raises(ValueError, match="killed"):
        multilevel(failing, 0.1, points="sobol", rng=3, plan=fm.Plan(store=path))
    resumed = multilevel(f, 0.1, points="sobol", rng=3, plan=fm.Plan(store=path))
    assert resumed.mean == whole.mean
    assert resumed.stderr == whole.stderr
    with pytest.raises(CheckpointError, match="another run"):
        multilevel(f, 0.1, rng=3, plan=fm.Plan(store=path))
    with pytest.raises(ArgumentError, match="'sobol' given with debias=True"):
        multilevel(f, 0.1, points="sobol", debias=True)
    with pytest.raises(ArgumentError, match="points: 'halton' was given"):
        multilevel(f, 0.1, points="halton")  # type: ignore[arg-type]


def test_the_randomised_form_has_no_bias() -> None:
    pulls, errors = [], []
    for seed in range(40):
        m = multilevel(geometric(1.0, 2.5), 0.05, debias=True, max_level=40, rng=seed)
        assert m.converged is True
        assert m.bias == 0.0
        errors.append(float(m.mean) - 1)
        pulls.append(errors[-1] / float(m.stderr))
    assert np.sqrt(np.mean(np.square(errors))) < 1.2 * 0.05
    assert np.mean(np.abs(pulls) < 2) >= 0.85
    assert abs(np.mean(pulls)) < 5 / np.sqrt(40)
    with pytest.raises(ArgumentError, match=r"debias.*variance or cost is infinite"):
        multilevel(geometric(1.0, 0.8), 0.05, debias=True, rng=0)
    with pytest.warns(ConvergenceWarning, match="drew a level above max_level"):
        m = multilevel(geometric(1.0, 2.0), 0.05, debias=True, max_level=4, rng=0)
    assert m.converged is False


def test_warnings_fire_on_their_own_example() -> None:
    with pytest.warns(ConvergenceWarning, match="bias at the finest level 3"):
        m = multilevel(geometric(0.7, 2.0), 0.02, max_level=3, rng=0)
    assert m.converged is False
    with pytest.warns(ConvergenceWarning, match="coarse values of level 2 have another mean"):
        multilevel(geometric(1.5, 2.0, fault=0.3), 0.1, rng=0)
    with pytest.warns(ConvergenceWarning) as given:
        multilevel(geometric(0.2, 2.0), 0.1, max_level=6, rng=0)
    assert any("too slowly" in str(one.message) for one in given)

    def rare(l: int, n: int, stream: Stream) -> Any:  # noqa: E741
        fine, coarse = geometric(2.0, 4.0)(l, n, stream)
        return fine + 10.0 * (stream.uniform(n) < 0.002) * (l == 1), coarse

    with pytest.warns(ConvergenceWarning) as given:
        multilevel(rare, 0.1, rng=0)
    assert any("level 1 has the kurtosis" in str(one.message) for one in given)


def test_innocent_problems_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(10):
            multilevel(geometric(1.0, 2.0), 0.05, rng=seed)
            multilevel(level(PAYOFFS["european"]), 0.2, rng=seed)


def test_workers_and_stores_give_the_same_bits(tmp_path: Path) -> None:
    kept = fm.Plan(store=tmp_path)
    f = geometric(1.0, 1.5)
    m = multilevel(f, 0.01, rng=3)
    with ThreadPoolExecutor(2) as pool:
        shared = multilevel(f, 0.01, rng=3, plan=pool)
    calls = 0

    def dies(l: int, n: int, stream: Stream) -> Any:  # noqa: E741
        nonlocal calls
        calls += 1
        if calls == 9:
            raise RuntimeError("killed")
        return f(l, n, stream)

    with pytest.raises(RuntimeError, match="killed"):
        multilevel(dies, 0.01, rng=3, plan=kept)
    resumed = multilevel(f, 0.01, plan=kept)
    for other in (shared, resumed):
        assert other.mean == m.mean
        np.testing.assert_array_equal(other.level_kurtosis, m.level_kurtosis)
    with pytest.raises(CheckpointError, match="atol"):
        multilevel(f, 0.02, plan=kept)


def test_an_interrupt_hands_out_what_was_done() -> None:
    calls = 0

    def f(l: int, n: int, stream: Stream) -> Any:  # noqa: E741
        nonlocal calls
        calls += 1
        if calls == 100:
            signal.raise_signal(signal.SIGINT)
        return geometric(1.0, 2.0)(l, n, stream)

    with pytest.raises(KeyboardInterrupt) as caught:
        multilevel(f, 1e-4, rng=0)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.converged is False
    exact = 1 - 2.0 ** -len(partial.n_paths)
    assert abs(partial.mean - exact) < 5 * partial.stderr
    calls = 99
    with pytest.raises(KeyboardInterrupt) as caught:
        multilevel(f, 1e-4, rng=0)
    assert caught.value.partial_result is None  # type: ignore[attr-defined]


def test_bad_input() -> None:
    f = geometric(1.0, 2.0)
    for match, options in (
        ("atol: 0 was given", {"atol": 0.0}),
        ("atol: .*paths would be needed", {"atol": 1e-300}),
        ("max_level: 1 was given", {"max_level": 1}),
        ("n_start: 1 was given", {"n_start": 1}),
        ("costs: an array of shape", {"costs": [1.0, 2.0]}),
        ("costs: 0.0 was given", {"costs": lambda l: 0.0}),  # noqa: E741
        ("alpha: -1.0 was given; a number above 0", {"alpha": -1}),
    ):
        with pytest.raises(ArgumentError, match=match):
            multilevel(f, **{"atol": 0.1, "rng": 0, **options})
    with pytest.raises(ArgumentError, match="level: 3 given"):
        multilevel(3, 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("give", "match"),
    [
        (lambda x: x, "a pair"),
        (lambda x: (x[1:], None), "of shape"),
        (lambda x: (x + 1j, None), "must be real"),
        (lambda x: (x * np.nan, None), "finite numbers"),
    ],
)
def test_bad_values(give: Any, match: str) -> None:
    with pytest.raises(TargetError, match=match):
        multilevel(lambda l, n, stream: give(stream.normal(n)), 0.1, rng=0)  # noqa: E741


@pytest.mark.parametrize(
    ("give", "match"),
    [
        (lambda x: (x, x[1:]), "of shape"),
        (lambda x: (x, None), "gave None"),
        (lambda x: (x, np.column_stack([x, x])), "must be equal"),
    ],
)
def test_bad_coarse_values(give: Any, match: str) -> None:
    def both(l: int, n: int, stream: Stream) -> Any:  # noqa: E741
        x = stream.normal(n)
        return give(x) if l else (x, 7.0)

    with pytest.raises(TargetError, match=match):
        multilevel(both, 0.1, rng=0)


def test_results_are_saved_and_printed(tmp_path: Path) -> None:
    m = multilevel(geometric(1.0, 2.0), 0.05, rng=0)
    m.save(tmp_path / "m.safetensors")
    again = Multilevel.load(tmp_path / "m.safetensors")
    assert again.mean == m.mean
    np.testing.assert_array_equal(again.n_paths, m.n_paths)
    assert "level 2" in str(m.summary())
    low, high = m.interval()
    assert low < m.mean < high


def test_moments_are_those_of_all_values() -> None:
    x = Stream(0).gamma(2.0, (1000, 2)) + 1e3
    parts = [Moments.of(part) for part in np.split(x, [1, 100, 650])]
    merged = Moments.none(2)
    for part in parts:
        merged = merged.merged(part)
    whole = Moments.of(x)
    for name in ("mean", "m2", "m3", "m4"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-9)
    np.testing.assert_allclose(merged.variance, x.var(axis=0, ddof=1))
    assert (merged.kurtosis > 3).all()
    assert Moments.none(1).kurtosis == 0


def test_pinned_values() -> None:
    # They change only with a note under Value-breaking in the changelog.
    assert multilevel(geometric(1.0, 2.0), 0.05, rng=0).mean == pytest.approx(
        0.9714218434225401, rel=1e-11
    )
