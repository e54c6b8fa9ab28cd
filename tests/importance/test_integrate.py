"""Integrals over boxes: closed forms, honest errors, stopping, the same bits, warnings."""

from __future__ import annotations

import math
import re
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches.importance import integrals
from numpy.typing import NDArray
from scipy.special import erf, ndtri, stdtr

import fermiac as fm
from fermiac.errors import (
    ArgumentError,
    CheckpointError,
    ConvergenceWarning,
    FermiacWarning,
    HeavyTailWarning,
    NumericalError,
    TargetError,
)

Array = NDArray[np.float64]
METHODS = ("auto", "sobol", "map", "mixture", "rotated", "stratified", "mc")


def run(problem: integrals.Integral, **settings: Any) -> fm.Estimate:
    return fm.importance.integrate(problem.f, problem.bounds, **{"rng": 0, **settings})


def gauss(x: Array) -> Array:
    return np.exp(-(x**2).sum(axis=1))


def pull(e: fm.Estimate, truth: float) -> float:
    """Return the error in reported ones as a normal quantile of its t law."""
    off = float(e.mean) - truth
    if abs(off) <= 1e-14 * abs(truth):
        return 0.0
    return float(-ndtri(stdtr(e.df, -abs(off) / e.stderr)))


# --- known values --------------------------------------------------------------------------------


# The discontinuous family is 0 at most points, and what may hide there is said.
@pytest.mark.filterwarnings("ignore:f is 0 at most:fermiac.errors.ConvergenceWarning")
@pytest.mark.parametrize("dim", [1, 2, 5, 8, 16])
@pytest.mark.parametrize("family", list(integrals.DIFFICULTY))
def test_families(family: str, dim: int) -> None:
    problem = integrals.genz(family, dim)
    e = run(problem, n=20_000)
    assert pull(e, problem.truth) < 5
    assert abs(e.mean / problem.truth - 1) < (0.03 if family == "discontinuous" else 0.01)
    assert e.n_replicates is not None
    assert 8 <= e.n_replicates <= 31
    assert e.n_evals <= 20_000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("bounds", "truth"),
    [
        ([(-1.0, 2.0), (0.0, 1.0)], 0.25 * math.pi * (erf(1) + erf(2)) * erf(1)),
        ([(-np.inf, np.inf), (0.5, np.inf)], 0.5 * math.pi * (1 - erf(0.5))),
        ([(-np.inf, 1.0)], 0.5 * math.sqrt(math.pi) * (1 + erf(1))),
    ],
)
def test_methods_and_infinite_ends(method: str, bounds: Any, truth: float) -> None:
    if method == "rotated" and len(bounds) == 1:
        pytest.skip("one axis cannot be rotated")
    e = fm.importance.integrate(gauss, bounds, n=30_000, method=method, rng=1)
    assert pull(e, truth) < 5
    assert abs(e.mean / truth - 1) < 0.1


def test_infinite_axes_find_their_mass() -> None:
    e = fm.importance.integrate(
        lambda x: np.exp(-((x[:, 0] - 30) ** 2) - ((x[:, 1] + 5) / 9) ** 2),
        (-np.inf, np.inf),
        dim=2,
        n=50_000,
        rng=0,
    )
    assert abs(e.mean / (9 * math.pi) - 1) < 1e-2
    assert pull(e, 9 * math.pi) < 5


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
@pytest.mark.parametrize(
    ("make", "methods"),
    # A single peak is a product in its principal axes.
    [(integrals.equicorrelated, {"mixture", "rotated"}), (integrals.two_peaks, {"mixture"})],
)
def test_peaks_off_the_axes(make: Any, methods: set[str]) -> None:
    problem = make()
    for seed in range(3):
        e = run(problem, rng=seed)
        assert e.method in methods
        assert abs(e.mean / problem.truth - 1) < 3e-3
        assert pull(e, problem.truth) < 5


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
@pytest.mark.parametrize("make", [integrals.sunrise, integrals.singular])
def test_integrable_singularities(make: Any) -> None:
    problem = make()
    for seed in range(3):
        e = run(problem, rng=seed)
        assert abs(e.mean / problem.truth - 1) < 5e-3
        assert pull(e, problem.truth) < 5


def test_unbounded_integrands_take_strata_whose_errors_hold() -> None:
    inside, silent, chosen = 0, 0, []
    for problem in (integrals.sunrise(), integrals.singular()):
        for seed in range(60):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                e = run(problem, rng=seed, check=False)
            z = pull(e, problem.truth)
            inside += z < 2
            silent += z > 5 and not caught
            chosen.append(e.method)
    assert 0.90 <= inside / 120 <= 0.99
    assert silent == 0
    assert chosen.count("stratified") > 105


@pytest.mark.parametrize("family", ["corner peak", "continuous"])
def test_peaks_are_not_taken_for_poles(family: str) -> None:
    for seed in range(20):
        assert run(integrals.genz(family, 4), rng=seed, check=False, n=50_000).method == "map"


@pytest.mark.parametrize("power", [0.5, 0.7, 0.9])
def test_powers_without_a_variance_are_announced(power: float) -> None:
    for seed in range(30):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            e = fm.importance.integrate(
                lambda x: (1 - power) * x[:, 0] ** -power, [(0, 1)], 20_000, rng=seed, check=False
            )
        assert caught or pull(e, 1.0) < 5


@pytest.mark.parametrize(
    ("family", "dim", "bound"),
    [
        ("gaussian", 4, 2e-6),
        ("gaussian", 8, 1e-6),
        ("gaussian", 16, 1.7e-9),
        ("product peak", 2, 2e-6),
        ("product peak", 4, 3e-6),
    ],
)
def test_the_choice_costs_little(family: str, dim: int, bound: float) -> None:
    problem = integrals.genz(family, dim)

    def rms(method: str) -> float:
        runs = [run(problem, method=method, rng=seed, check=False) for seed in range(12)]
        return float(np.sqrt(np.mean([(float(e.mean) / problem.truth - 1) ** 2 for e in runs])))

    chosen = rms("auto")
    assert chosen < bound
    # Of 12 runs each, the root mean squares of two equal errors are that far apart in 1 %.
    assert chosen < 2.2 * rms("map")


def test_the_pilot_of_a_tolerance_is_small() -> None:
    e = fm.importance.integrate(gauss, (0, 1), dim=3, n=1 << 22, rtol=1e-3, rng=0)
    assert e.converged
    assert e.n_evals < 60_000


def test_several_complex_and_many_outputs() -> None:
    waves = np.arange(1, 4)
    e = fm.importance.integrate(
        lambda x: np.exp(1j * x.sum(axis=1)[:, None] * waves), (0, 1), dim=2, n=10_000, rng=0
    )
    truth = ((np.exp(1j * waves) - 1) / (1j * waves)) ** 2
    assert e.mean.dtype == complex
    assert np.all(np.abs(e.mean - truth) < 6 * e.stderr)
    assert e.cov.shape == (3, 3)
    centres = np.linspace(0, 1, 500)
    many = fm.importance.integrate(
        lambda x: np.cos(x[:, :1] - centres), [(0, 1)], n=20_000, rng=0, covariance="diag"
    )
    assert many.mean.shape == many.cov.shape == (500,)
    np.testing.assert_allclose(many.mean, np.sin(1 - centres) + np.sin(centres), rtol=1e-4)


def test_outputs_of_any_size_stand_side_by_side() -> None:
    scale = np.array([1.0, 1e-300, 1e300, 1e60])
    with pytest.warns(FermiacWarning, match="exactly 0"):
        e = fm.importance.integrate(
            lambda x: np.column_stack([gauss(x)[:, None] * scale, np.ones(len(x)), 0 * x[:, 0]]),
            (0, 1),
            dim=3,
            n=10_000,
            rng=2,
        )
    truth = (0.5 * math.sqrt(math.pi) * erf(1)) ** 3
    np.testing.assert_allclose(e.mean[:4] / scale, truth, rtol=1e-4)
    np.testing.assert_allclose(e.stderr[:4] / scale, e.stderr[0], rtol=1e-9)
    assert e.mean[4] == pytest.approx(1, abs=1e-12)
    assert e.mean[5] == 0
    assert e.stderr[5] > 0


def test_an_error_of_0_is_exact() -> None:
    with pytest.warns(ConvergenceWarning, match="values of f for .* are equal"):
        constant = fm.importance.integrate(
            lambda x: np.full(len(x), 3.0), (0, 2), dim=2, n=500, rng=0
        )
    assert constant.mean == pytest.approx(12, rel=1e-14)
    for seed in range(40):
        e = fm.importance.integrate(
            lambda x: (x[:, 0] < 1 / 3).astype(float), [(0, 1)], n=2000, method="sobol", rng=seed
        )
        assert e.stderr > 0
        assert abs(e.mean - 1 / 3) < 6 * e.stderr


# --- errors hold ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "sobol", "map", "stratified", "mc"])
def test_errors_are_calibrated(method: str) -> None:
    inside, silent, total = 0, 0, 0
    for family in ("gaussian", "discontinuous", "continuous"):
        problem = integrals.genz(family, 3)
        for seed in range(40):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                e = run(problem, n=4000, method=method, rng=seed, check=False)
            z = pull(e, problem.truth)
            inside += z < 2
            silent += z > 5 and not caught
            total += 1
    assert 0.90 <= inside / total <= 0.99
    assert silent == 0


def test_a_tolerance_stops_the_run_and_its_interval_holds() -> None:
    problem = integrals.genz("continuous", 3)
    covered, missed, used = 0, 0, []
    for seed in range(60):
        e = run(problem, n=40_000, rtol=3e-3, rng=seed, check=False, method="sobol")
        assert e.converged
        low, high = e.interval(0.95)
        covered += low <= problem.truth <= high
        missed += abs(e.mean / problem.truth - 1) > 3e-3
        used.append(e.n_evals)
        assert (high - low) / 2 <= 3e-3 * e.mean * (1 + 1e-12)
    assert covered >= 56
    assert missed <= 2
    assert np.median(used) < 40_000


def test_a_tolerance_is_for_all_outputs() -> None:
    with pytest.warns(FermiacWarning, match="exactly 0"):
        e = fm.importance.integrate(
            lambda x: np.column_stack(
                [np.exp(1j * x[:, 0]), 1e60 * x[:, 0] ** 2, 1e-60 * (2 + x[:, 0]), 0 * x[:, 0]]
            ),
            (0, 1),
            dim=2,
            rtol=1e-4,
            rng=0,
        )
    assert e.converged
    assert e.n_looks is not None
    assert np.all(e.stderr[:3] <= 1e-4 * np.abs(e.mean[:3]))


@pytest.mark.filterwarnings("ignore:f is 0 at most:fermiac.errors.ConvergenceWarning")
def test_a_tolerance_out_of_reach_is_said() -> None:
    problem = integrals.genz("discontinuous", 4)
    with pytest.warns(ConvergenceWarning, match="not met within n: .* evaluations are forecast"):
        e = run(problem, n=5000, atol=1e-9)
    assert e.converged is False
    assert pull(e, problem.truth) < 5


def test_the_median_of_replicates() -> None:
    problem = integrals.genz("gaussian", 2)
    e = run(problem, combine="median", n_replicates=15, method="sobol")
    assert e.replicates is not None
    assert e.mean == np.median(e.replicates)
    low, high = e.interval(0.95)
    assert low <= problem.truth <= high
    assert low in e.replicates
    few = run(problem, combine="median", n_replicates=4, n=2000)
    with pytest.raises(ArgumentError, match="raise n_replicates"):
        few.interval(0.95)


# --- the same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_change_the_result(method: str, thread_counts: tuple[int, ...]) -> None:
    f = fm.targets.genz("gaussian", np.full(3, 2.0), np.full(3, 0.4))
    first = None
    for n_threads in thread_counts:
        e = fm.importance.integrate(
            f, (0, 1), dim=3, n=60_000, method=method, rng=4, plan=fm.Plan(n_threads=n_threads)
        )
        first = first or e
        assert e.mean == first.mean
        assert e.stderr == first.stderr


def test_forms_give_the_same_bits() -> None:
    f = fm.targets.genz("gaussian", np.full(3, 2.0), np.full(3, 0.4))
    built_in = fm.importance.integrate(f, (0, 1), dim=3, n=30_000, rng=4)
    batched = fm.importance.integrate(lambda x: f(x), (0, 1), dim=3, n=30_000, rng=4)
    with ThreadPoolExecutor(2) as pool:
        shared = fm.importance.integrate(lambda x: f(x), (0, 1), dim=3, n=30_000, rng=4, plan=pool)
    assert built_in.mean == batched.mean == shared.mean
    assert built_in.stderr == batched.stderr == shared.stderr


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_a_killed_run_goes_on(tmp_path: Path, stop: int) -> None:
    problem = integrals.genz("gaussian", 3)
    kept = fm.Plan(store=tmp_path, every=1e-9)
    whole = run(problem, n=200_000, method="map")
    calls = 0

    def dies(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 3 + stop:
            raise RuntimeError("killed")
        return problem.f(x)

    with pytest.raises(RuntimeError, match="killed"):
        fm.importance.integrate(dies, problem.bounds, 200_000, method="map", rng=0, plan=kept)
    again = run(problem, n=200_000, method="map", plan=kept)
    assert again.mean == whole.mean
    assert again.stderr == whole.stderr
    with pytest.raises(CheckpointError, match="n"):
        run(problem, n=100_000, method="map", plan=kept)


def test_an_interrupt_hands_out_complete_replicates() -> None:
    calls = 0

    def f(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 40:
            signal.raise_signal(signal.SIGINT)
        return gauss(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        with pytest.raises(KeyboardInterrupt) as caught:
            fm.importance.integrate(f, (0, 1), dim=2, n=4_000_000, method="sobol", rng=0)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert 1 <= partial.n_replicates < 15
    truth = (0.5 * math.sqrt(math.pi) * erf(1)) ** 2
    assert abs(partial.mean - truth) < 1e-4


# --- warnings ------------------------------------------------------------------------------------


def test_innocent_integrands_do_not_warn() -> None:
    for family in integrals.SMOOTH:
        for dim in (1, 3, 6):
            for seed in range(2):
                run(integrals.genz(family, dim), n=20_000, rng=seed, check=False)


@pytest.mark.parametrize(
    ("f", "category", "match"),
    [
        (lambda x: x[:, 0] ** -0.95, HeavyTailWarning, "replicates|single point"),
        (lambda x: (np.abs(x - 0.5) < 0.002).all(axis=1) * 1.0, ConvergenceWarning, "unseen"),
        (lambda x: 0 * x[:, 0], FermiacWarning, "exactly 0"),
    ],
)
def test_each_warning_on_its_own_example(f: Any, category: Any, match: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(4):
            fm.importance.integrate(f, (0, 1), dim=2, n=10_000, method="sobol", rng=seed)
    found = [w for w in caught if issubclass(w.category, category)]
    assert any(re.search(match, str(w.message)) for w in found)


def test_a_missed_peak_is_announced() -> None:
    problem = integrals.equicorrelated()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        e = run(problem, n=20_000, method="map")
    assert pull(e, problem.truth) < 5 or caught


def test_values_that_are_not_finite() -> None:
    def f(x: Array) -> Array:
        out = gauss(x)
        out[x[:, 0] > 0.9] = np.nan
        return out

    with pytest.raises(TargetError, match="x = "):
        fm.importance.integrate(f, (0, 1), dim=2, rng=0)
    with pytest.warns(FermiacWarning, match="not finite"):
        e = fm.importance.integrate(f, (0, 1), dim=2, rng=0, on_nan="zero")
    truth = (0.5 * math.sqrt(math.pi)) ** 2 * erf(0.9) * erf(1)
    assert pull(e, truth) < 5


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"bounds": [(1.0, 0.0)]}, "low < high"),
        ({"bounds": [(0.0, np.nan)]}, "low < high"),
        ({"bounds": [0.0, 1.0]}, "bounds"),
        ({"bounds": np.zeros((0, 2))}, "bounds"),
        ({"bounds": [(0.0, 1e200), (0.0, 1e200)]}, "volume"),
        ({"dim": 3}, "dim"),
        ({"n": 59}, "20 \\(d \\+ 1\\) = 60"),
        ({"method": "vegas"}, "method"),
        ({"points": "halton"}, "points"),
        ({"rtol": 0.0}, "rtol"),
        ({"atol": -1.0}, "atol"),
        ({"rtol": np.nan}, "rtol"),
        ({"rtol": 1e-3, "method": "stratified"}, "stratified"),
        ({"n_replicates": 1}, "n_replicates"),
        ({"pilot_fraction": 0.95}, "pilot_fraction"),
        ({"combine": "median", "scramble": "owen"}, "linear"),
        ({"combine": "mode"}, "combine"),
        ({"sampler": 3}, "sampler"),
        ({"names": ["a", "b"]}, "names"),
        ({"n": 100, "method": "mixture"}, "too small"),
        ({"keep_draws": True}, "keep_draws"),
    ],
)
def test_bad_arguments(given: dict[str, Any], match: str) -> None:
    settings: dict[str, Any] = {"bounds": [(0.0, 1.0), (0.0, 1.0)], "rng": 0, **given}
    with pytest.raises(ArgumentError, match=match):
        fm.importance.integrate(gauss, **settings)


def test_wrong_shapes_are_target_errors() -> None:
    for f in (lambda x: x[:-1, 0], lambda x: np.array([None] * len(x)), lambda x: 3.0):
        with pytest.raises(TargetError):
            fm.importance.integrate(f, (0, 1), dim=2, rng=0)


def test_more_axes_than_direction_numbers() -> None:
    e = fm.importance.integrate(
        lambda x: 1 + 0.1 * (x[:, 0] - 0.5) + 0.1 * (x[:, -1] - 0.5),
        (0, 1),
        dim=1100,
        n=22_100,
        method="sobol",
        rng=0,
    )
    assert pull(e, 1.0) < 5


def test_draws_of_random_points_are_kept() -> None:
    e = fm.importance.integrate(
        gauss, (0, 1), dim=2, n=5000, points="random", method="map", keep_draws=True, rng=0
    )
    assert e.sample is not None
    weighted = np.exp(e.sample.log_weights) * gauss(e.sample.draws)
    assert abs(weighted.mean() - e.mean) < 6 * e.stderr + 6 * weighted.std() / np.sqrt(
        len(weighted)
    )


def test_results_are_saved(tmp_path: Path) -> None:
    e = fm.importance.integrate(gauss, (0, 1), dim=2, n=20_000, rtol=1e-2, rng=0)
    path = tmp_path / "integral.safetensors"
    e.save(path)
    again = fm.Estimate.load(path)
    assert again.mean == e.mean
    assert again.interval() == e.interval()
    assert again.sampler is not None
    np.testing.assert_array_equal(again.sampler.knots, e.sampler.knots)  # type: ignore[attr-defined]
    assert "forecast of map" in str(again.summary())


# The first function is constant.
@pytest.mark.filterwarnings("ignore:all .* are equal:fermiac.errors.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(8))
def test_boxes_anywhere(seed: int) -> None:
    stream = fm.random.Stream(seed, 0, 0)
    dim = 1 + seed % 4
    sizes = 10.0 ** (12 * stream.uniform(dim) - 6)
    low = (10.0 ** (6 * stream.uniform(dim)) * np.sign(stream.uniform(dim) - 0.5)).round(3)
    bounds = np.column_stack([low, low + sizes])
    sizes = bounds[:, 1] - bounds[:, 0]
    met = []

    def f(x: Array) -> Array:
        met.append((x.min(axis=0), x.max(axis=0)))
        t = (x - bounds[:, 0]) / sizes
        return np.column_stack([np.ones(len(x)), t.sum(axis=1), np.prod(1 + t**2, axis=1)])

    e = fm.importance.integrate(f, bounds, n=8_000, rng=seed)
    lows, highs = np.array(met).swapaxes(0, 1)
    assert np.all(lows >= bounds[:, 0])
    assert np.all(highs <= bounds[:, 1])
    truth = np.prod(sizes) * np.array([1.0, dim / 2, (4 / 3) ** dim])
    assert abs(e.mean[0] / truth[0] - 1) < 1e-12
    assert np.all(np.abs(e.mean - truth)[1:] < 7 * e.stderr[1:])
    # Powers of two move no digit.
    twice = fm.importance.integrate(lambda x: f(x / 4), 4 * bounds, n=8_000, rng=seed, check=False)
    np.testing.assert_allclose(twice.mean, 4.0**dim * e.mean, rtol=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_values_beyond_the_range_of_doubles_are_no_silent_nan(seed: int) -> None:
    def f(x: Array) -> Array:
        values: Array = np.exp(-x.sum(axis=1) / 1e-4) * 1e8
        return values

    with pytest.raises(NumericalError, match="mean is NaN") as raised:
        fm.importance.integrate(f, [(0, np.inf)] * 2, n=30_000, rng=seed)
    assert raised.value.partial_result.n_evals > 0
    # With the unit of the coordinates it is right.
    e = fm.importance.integrate(lambda x: 1e-8 * f(1e-4 * x), [(0, np.inf)] * 2, n=30_000, rng=seed)
    assert abs(e.mean - 1) < 5 * e.stderr
