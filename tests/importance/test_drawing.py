"""Sobol' points, given samplers, tolerances and pooled stages of `expect` and `evidence`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from forms import INTEGRANDS, MOMENTS, Make, law
from forms import moments as moments_of_form
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm
from fermiac.errors import (
    ArgumentError,
    ConvergenceWarning,
    FermiacWarning,
    TargetError,
    WeightWarning,
)

Array = NDArray[np.float64]
expect, evidence = fm.importance.expect, fm.importance.evidence
d = fm.distributions


def moments(x: Array) -> Array:
    return np.stack([np.exp(0.3 * x.sum(axis=1)), (x**2).sum(axis=1)], axis=1)


def tail(x: Array) -> Array:
    far: Array = (x.sum(axis=1) / np.sqrt(x.shape[1]) > 2.0).astype(float)
    return far


def gamma_product(x: Array) -> Array:
    y: Array = x[:, 0] ** 1.5 * np.exp(0.3 * x[:, 1]) * x[:, 2]
    return y


def step(x: Array) -> Array:
    y: Array = (x[:, 0] > 1.234).astype(float)
    return y


def normal(dim: int) -> fm.distributions.Law:
    return d.MultivariateNormal(np.zeros(dim), np.eye(dim))


PROBLEMS: dict[str, tuple[Callable[[Array], Array], fm.distributions.Law, Any]] = {
    "moments": (moments, normal(5), [np.exp(0.225), 5.0]),
    "tail": (tail, normal(2), [stats.norm.sf(2.0)]),
    "gamma": (
        gamma_product,
        d.Product([d.Gamma(2.0), d.Normal(), d.Exponential()]),
        [1.875 * np.sqrt(np.pi) * np.exp(0.045)],  # Γ(3.5) = 1.875 √π
    ),
    "step": (step, d.Normal(), [stats.norm.sf(1.234)]),
}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_intervals_from_replicates_cover(name: str) -> None:
    f, law, exact = PROBLEMS[name]
    inside, squares, plain = [], [], []
    for seed in range(60):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of mass that no point met
            e = expect(f, law, n=8000, points="sobol", rng=seed)
        low, high = (np.atleast_1d(end) for end in e.interval(0.95))
        inside.append((low <= exact) & (exact <= high))
        squares.append((np.atleast_1d(e.mean) / exact - 1) ** 2)
    for seed in range(12):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            e = expect(f, law, n=8000, rng=seed)
        plain.append((np.atleast_1d(e.mean) / exact - 1) ** 2)
    share = np.mean(inside, axis=0)
    # 60 runs at 0.95: three deviations are 0.085.
    assert (share > 0.865).all(), share
    assert (np.mean(squares, axis=0) < 0.7 * np.mean(plain, axis=0)).all()


def test_evidence_from_replicates_covers() -> None:
    law = d.MultivariateNormal(np.zeros(3), 4 * np.eye(3))

    def target(x: Array) -> Array:
        y: Array = -0.5 * ((x - 0.5) ** 2).sum(axis=1) * np.array([1.0])
        return y

    exact = 1.5 * np.log(2 * np.pi)
    inside, errors, plain = [], [], []
    for seed in range(60):
        z = evidence(target, law, n=6000, points="sobol", rng=seed)
        low, high = z.interval(0.95)
        inside.append(low <= exact <= high)
        errors.append(z.log_evidence_stderr)
        if seed < 10:
            plain.append(evidence(target, law, n=6000, rng=seed).log_evidence_stderr)
    assert np.mean(inside) > 0.865
    assert np.median(errors) < 0.5 * np.median(plain)
    assert z.df == z.n_replicates - 1  # type: ignore[operator]
    assert z.sample.error_model == "replicas"
    assert z.sample.draws.shape[0] == z.n_replicates
    logw = z.sample.log_weights
    assert logw is not None
    np.testing.assert_allclose(np.log(np.mean(np.exp(logw))), z.log_evidence, rtol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"rtol": 3e-3}], ids=["fixed", "looks"])
def test_the_estimate_is_the_mean_of_its_replicates(settings: dict[str, Any]) -> None:
    law = d.Gamma(3.0)
    f = lambda x: np.hstack([x, np.exp(-x)])  # noqa: E731
    e = expect(f, law, n=30_000, method="mc", points="sobol", rng=3, keep_draws=True, **settings)
    assert e.sample is not None
    assert e.replicates is not None
    count = e.n_replicates
    assert count == len(e.replicates)
    assert e.df == count - 1
    assert e.n_evals == e.sample.draws[..., 0].size >= (1 if settings else 8 / 9 * 30_000)
    by_replicate = np.stack([f(x).mean(axis=0) for x in e.sample.draws])
    np.testing.assert_allclose(e.replicates, by_replicate, rtol=1e-12)
    np.testing.assert_allclose(e.mean, by_replicate.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(e.cov, np.cov(by_replicate.T) / count, rtol=1e-9)
    assert e.sample.error_model == "replicas"
    assert e.sample.log_weights is None
    again = e.sample.expect(f)
    np.testing.assert_allclose(again.mean, e.mean, rtol=1e-12)
    np.testing.assert_allclose(again.stderr, e.stderr, rtol=1e-9)
    np.testing.assert_allclose(again.df, count - 1)
    assert (abs(e.mean - [3, 1 / 8]) < 6 * e.stderr).all()
    # Any stretch of the points of a net is a sample.
    half = e.sample[:, : e.sample.draws.shape[1] // 2].expect(f)
    assert (abs(half.mean - [3, 1 / 8]) < 6 * half.stderr).all()


def test_threads_and_forms_of_targets_give_the_same_bits() -> None:
    law = d.Uniform(np.zeros(3), np.ones(3))
    built_in = fm.targets.g_function([0.0, 1.0, 4.5])
    runs = [
        expect(
            target, law, n=20_000, points="sobol", rng=4, plan=fm.Plan(n_threads=threads), **more
        )
        for more in ({}, {"method": "mc"}, {"rtol": 1e-2, "n_replicates": 9})
        for target, threads in (
            (built_in, 1),
            (built_in, 2),
            (built_in, 3),
            (lambda x: np.asarray(built_in(x)), 2),
        )
    ]
    for first in (0, 4, 8):
        for other in runs[first + 1 : first + 4]:
            np.testing.assert_array_equal(runs[first].mean, other.mean)
            np.testing.assert_array_equal(runs[first].stderr, other.stderr)
    assert runs[8].n_replicates == 9


@pytest.mark.parametrize("make", INTEGRANDS)
def test_all_forms_of_integrands_give_the_same_bits(make: Make) -> None:
    settings: dict[str, Any] = {"n": 8000, "points": "sobol", "rng": 2, "rtol": 0.05}
    e = expect(make(), law(), **settings)
    reference = expect(moments_of_form, law(), **settings)
    np.testing.assert_array_equal(e.mean, reference.mean)
    np.testing.assert_array_equal(e.stderr, reference.stderr)
    assert (np.abs(e.mean - MOMENTS) < 5 * e.stderr).all()


def test_estimates_of_replicates_merge() -> None:
    a, b = (expect(moments, normal(2), n=8000, points="sobol", rng=k) for k in (1, 2))
    both = a.merge(b)
    assert both.n_replicates == a.n_replicates + b.n_replicates  # type: ignore[operator]
    assert both.replicates is not None
    assert len(both.replicates) == both.n_replicates
    assert (np.abs(both.mean - [np.exp(0.09), 2.0]) < 5 * both.stderr).all()


def test_a_run_that_was_killed_resumes_with_the_same_bits(tmp_path: Any) -> None:
    law = d.MultivariateNormal(np.zeros(2), np.eye(2))
    left = [8]

    def failing(x: Array) -> Array:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return moments(x)

    settings: dict[str, Any] = {"n": 300_000, "points": "sobol", "rng": 7, "check": False}
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as info:
        expect(failing, law, plan=fm.Plan(store=path), **settings)
    partial = info.value.partial_result  # type: ignore[attr-defined]
    assert partial is not None
    assert partial.status == "interrupted"
    assert partial.n_replicates < 15
    whole = expect(moments, law, **settings)
    left[0] = -1
    resumed = expect(failing, law, plan=fm.Plan(store=path), **settings)
    np.testing.assert_array_equal(resumed.mean, whole.mean)
    np.testing.assert_array_equal(resumed.replicates, whole.replicates)
    np.testing.assert_array_equal(partial.replicates, whole.replicates[: len(partial.replicates)])


def test_fewer_than_four_complete_replicates_have_no_error() -> None:
    law = d.MultivariateNormal(np.zeros(2), np.eye(2))
    left = [3]

    def failing(x: Array) -> Array:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return x[:, 0]

    with pytest.raises(KeyboardInterrupt) as info:
        expect(failing, law, n=500_000, method="mc", points="sobol", rng=1, check=False)
    partial = info.value.partial_result  # type: ignore[attr-defined]
    assert partial is not None
    assert partial.n_replicates < 4
    assert np.isinf(partial.stderr)


def test_complex_functions_and_several_laws() -> None:
    law = d.Normal()
    e = expect(lambda x: np.exp(1j * x[:, 0]), law, n=8000, points="sobol", rng=0)
    assert abs(e.mean - np.exp(-0.5)) < 5 * e.stderr
    assert e.replicates is not None
    np.testing.assert_allclose(e.replicates.mean(axis=0), e.mean)
    laws = [d.Normal(0.0, 1.0), d.Normal(1.0, 2.0)]
    both = expect(lambda x: x[:, 0] ** 2, laws, n=20_000, points="sobol", rng=0)
    assert (abs(both.mean - [1, 5]) < 5 * both.stderr).all()


def test_zero_and_constant_functions() -> None:
    law = d.Normal()
    zero = pytest.warns(FermiacWarning, match="0 at every point")
    with zero, pytest.warns(FermiacWarning, match="values of f for .* are equal"):
        e = expect(
            lambda x: np.column_stack([0 * x, 0 * x + 2]), law, n=4000, points="sobol", rng=0
        )
    assert e.mean[0] == 0
    assert e.stderr[0] > 0
    np.testing.assert_allclose(e.mean[1], 2, rtol=1e-9)


def test_a_law_without_a_map_is_refused() -> None:
    law = d.Mixture([0.5, 0.5], [d.Normal(), d.Normal(2.0)])
    with pytest.raises(ArgumentError, match=r"from the unit cube, which points='sobol' needs"):
        expect(lambda x: x[:, 0], law, points="sobol")
    with pytest.raises(ArgumentError, match=r"from the unit cube, which points='sobol' needs"):
        evidence(lambda x: -(x[:, 0] ** 2), law, points="sobol")


@pytest.mark.parametrize("points", ["random", "sobol"])
def test_a_tolerance_is_met_and_intervals_after_it_hold(points: Any) -> None:
    law = normal(3)
    inside = []
    for seed in range(40):
        e = expect(moments, law, n=200_000, points=points, rtol=0.01, rng=seed)
        assert e.converged
        assert e.n_evals < 190_000
        low, high = e.interval(0.95)
        assert (high - low <= 0.0202 * np.abs(e.mean)).all()
        inside.append((low <= [np.exp(0.135), 3.0]) & ([np.exp(0.135), 3.0] <= high))
    assert np.mean(inside) > 0.95


@pytest.mark.parametrize("points", ["random", "sobol"])
def test_a_run_that_met_nothing_does_not_stop_early(points: Any) -> None:
    settings: dict[str, Any] = {"method": "mc", "points": points, "rtol": 0.1, "rng": 0}
    with pytest.warns(FermiacWarning, match="0 at every point"):
        e = expect(lambda x: (x[:, 0] > 9).astype(float), d.Normal(), n=40_000, **settings)
    assert e.mean == 0
    assert e.n_evals > 30_000
    # Beside another function, zeros are exempt.
    with pytest.warns(FermiacWarning, match="0 at every point"):
        e = expect(
            lambda x: np.column_stack([x[:, 0] ** 2, x[:, 0] > 9]), d.Normal(), n=40_000, **settings
        )
    assert e.converged
    assert e.n_evals < 20_000


def test_a_tolerance_that_is_not_met_warns_with_a_forecast() -> None:
    with pytest.warns(ConvergenceWarning, match=r"about n = .* evaluations are forecast"):
        e = expect(moments, normal(2), n=4000, rtol=1e-6, points="sobol", rng=0)
    assert e.converged is False
    with pytest.warns(ConvergenceWarning, match=r"about n = .* evaluations are forecast"):
        e = expect(moments, normal(2), n=4000, atol=1e-6, rng=0)
    assert e.converged is False
    assert expect(moments, normal(2), n=4000, rng=0).converged is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rtol": 0.0}, "rtol, atol: 0 given"),
        ({"rtol": -1.0}, "rtol"),
        ({"atol": np.nan}, "atol"),
        ({"points": "halton"}, "points"),
        ({"pool": "some"}, "pool"),
        ({"n_replicates": 8}, "n_replicates: given without points='sobol'"),
        ({"points": "sobol", "n_replicates": 1}, "n_replicates"),
        ({"pilot_fraction": 0.1}, "pilot_fraction: given without a sampler"),
        ({"pool": "all", "points": "sobol"}, "pool: 'all' given with points='sobol'"),
        ({"pool": "all", "controls": "all"}, "controls: 'all' given with pool='all'"),
        ({"pool": "all", "rtol": 0.1}, "pool: 'all' given with rtol or atol"),
        ({"pool": "all", "method": "mc"}, "pool: 'all' given with method='mc'"),
        ({"sampler": d.Normal(), "method": "mc"}, "sampler: given with method='mc'"),
        ({"sampler": d.Normal(), "family": "t"}, "family: given with a sampler"),
        ({"sampler": d.Normal(), "pool": "all"}, "pool: 'all' given with a sampler"),
        ({"sampler": d.Normal(), "pilot_fraction": 2.0}, "pilot_fraction"),
        ({"sampler": normal(2)}, "sampler: one of 2 dimensions given for a law of 1"),
        ({"sampler": d.Poisson(3.0)}, "sampler: a law of whole numbers"),
        ({"sampler": 3}, "sampler"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        expect(lambda x: x[:, 0], d.Normal(), **settings)


def test_failures_of_a_function_pass_through() -> None:
    with pytest.raises(TargetError, match="the integrand is NaN"):
        expect(lambda x: x[:, 0] * np.nan, d.Normal(), method="mc", points="sobol")


SUPPORTS = {
    "line": (d.Normal(), lambda x: np.exp(x[:, 0])),
    "half-line": (d.Gamma(2.0), lambda x: x[:, 0] ** 2),
    "interval": (d.Beta(2.0, 3.0), lambda x: x[:, 0] ** 2),
    "t": (d.StudentT(5.0), lambda x: np.abs(x[:, 0])),
}


@pytest.mark.parametrize("name", list(SUPPORTS))
def test_a_trained_sampler_is_a_law(name: str, tmp_path: Any) -> None:
    law, f = SUPPORTS[name]
    e = expect(f, law, n=6000, fallback=False, rng=0)
    q = e.sampler
    assert isinstance(q, fm.importance.Sampler)
    assert q.kind == "components"
    x = q.sample(20_000, rng=1)
    low, high = np.quantile(x, [0.1, 0.9])
    grid = np.linspace(low, high, 4001)[:, None]
    mass = np.trapezoid(np.exp(q.log_density(grid)), grid[:, 0])
    assert abs(mass - 0.8) < 0.012
    path = tmp_path / "q.fermiac"
    q.save(path)
    again = fm.importance.Sampler.load(path)
    np.testing.assert_array_equal(again.log_density(x), q.log_density(x))
    np.testing.assert_array_equal(again.sample(5, rng=2), x_of(q))
    assert "components" in str(q.summary())
    outside = {"half-line": -1.0, "interval": 2.0}.get(name)
    if outside is not None:
        assert q.log_density([[outside]])[0] == -np.inf


def x_of(q: fm.distributions.Law) -> Array:
    return np.asarray(q.sample(5, rng=2))


@pytest.mark.parametrize("points", ["random", "sobol"])
@pytest.mark.parametrize("pilot", [None, 0.2])
def test_a_sampler_serves_again(points: Any, pilot: float | None) -> None:
    law = normal(3)

    def first(x: Array) -> Array:
        y: Array = (x.sum(axis=1) > 4.0).astype(float)
        return y

    def second(x: Array) -> Array:
        y: Array = (x.sum(axis=1) > 4.5).astype(float)
        return y

    exact = stats.norm.sf(4.5 / np.sqrt(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of mass that no point met
        trained = expect(first, law, n=20_000, rng=0).sampler
        pulls, errors = [], []
        for seed in range(20):
            e = expect(
                second,
                law,
                n=8000,
                sampler=trained,
                pilot_fraction=pilot,
                points=points,
                rng=seed,
            )
            pulls.append((e.mean - exact) / e.stderr)
            errors.append(e.stderr)
            assert e.n_evals <= 8000
        plain = expect(second, law, n=8000, method="mc", rng=0).stderr
    assert np.median(errors) < 0.3 * plain
    assert np.mean(np.abs(pulls) < 2.2) > 0.7
    assert np.max(np.abs(pulls)) < 6
    if pilot is None:
        assert e.stages == ()
        assert e.sampler is trained


def test_samplers_of_other_calls_and_laws_serve() -> None:
    def f(x: Array) -> Array:
        y: Array = np.exp(-8 * ((x - 0.4) ** 2).sum(axis=1))
        return y

    one = (np.sqrt(np.pi / 8) * (stats.norm.cdf(2.4) - stats.norm.cdf(-1.6))) ** 2
    box = d.Uniform([0.0, 0.0], [1.0, 1.0])
    integral = fm.importance.integrate(f, [(0, 1)] * 2, n=8000, method="map", rng=0)
    for sampler in (integral.sampler, d.Product([d.Beta(2.0, 3.0)] * 2)):
        e = expect(f, box, n=8000, sampler=sampler, rng=1)
        assert abs(e.mean - one) < 5 * e.stderr


@pytest.mark.filterwarnings("ignore:all .* are equal:fermiac.errors.ConvergenceWarning")
def test_a_sampler_that_does_not_fit_warns() -> None:
    class Wrong(fm.distributions.Law):
        """A law whose density is not that of its points."""

        dim = 1

        def log_density(self, x: Array) -> Array:
            y: Array = d.Normal().log_density(x) + 0.2
            return y

        def from_unit(self, u: Array) -> Array:
            y: Array = d.Normal().from_unit(u)
            return y

    law = d.Normal()
    with pytest.warns(ConvergenceWarning, match="the mean weight of the law"):
        expect(lambda x: x[:, 0] ** 2, law, n=8000, sampler=Wrong(), rng=0)
    with pytest.warns(ConvergenceWarning, match="the mean weight of the law"):
        evidence(law.log_density, law, n=8000, sampler=Wrong(), rng=0)
    narrow = d.Normal(0.0, 0.3)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        expect(lambda x: x[:, 0] ** 2, law, n=8000, sampler=narrow, defensive_base=0.0, rng=0)
    assert {w.category for w in found} >= {WeightWarning, ConvergenceWarning}


@pytest.mark.parametrize("seed", range(4))
def test_innocent_samplers_give_no_warning(seed: int) -> None:
    law = normal(2)
    sampler = expect(moments, law, n=8000, rng=seed).sampler
    for points in ("random", "sobol"):
        for f in (moments, lambda x: np.abs(x[:, 0]), lambda x: np.cos(x).sum(axis=1) + 2):
            expect(f, law, n=8000, sampler=sampler, points=points, rng=seed)  # type: ignore[arg-type]


def test_evidence_trains_and_takes_samplers(tmp_path: Any) -> None:
    law = d.MultivariateNormal(np.zeros(2), 9 * np.eye(2))

    def target(scale: float) -> Callable[[Array], Array]:
        return lambda x: -0.5 * ((x - 1) ** 2).sum(axis=1) / scale

    z = evidence(target(1.0), law, n=6000, rng=0)
    z.save(tmp_path / "z.fermiac")
    sampler = fm.load(tmp_path / "z.fermiac").sampler
    assert isinstance(sampler, fm.importance.Sampler)
    for pilot in (None, 0.2):
        for points in ("random", "sobol"):
            y = evidence(
                target(1.2),
                law,
                n=6000,
                sampler=sampler,
                pilot_fraction=pilot,
                points=points,  # type: ignore[arg-type]
                rng=1,
            )
            assert abs(y.log_evidence - np.log(2.4 * np.pi)) < 5 * y.log_evidence_stderr
            assert (len(y.stages) == 1) == (pilot is None)
    with pytest.raises(ArgumentError, match="sampler: given with scheme='snis'"):
        evidence(target(1.0), law, sampler=sampler, scheme="snis")
    with pytest.raises(ArgumentError, match="which has no region"):
        fm.importance.integrate(lambda x: x[:, 0], [(0, 1)] * 2, sampler=sampler)


def test_evidences_of_replicates_merge() -> None:
    law = d.Normal()
    f = lambda x: law.log_density(x) * 0.9  # noqa: E731
    a, b = (evidence(f, law, n=4000, points="sobol", rng=k) for k in (1, 2))
    z = a.merge(b)
    exact = np.log(np.sqrt(2 * np.pi) ** 0.1 / np.sqrt(0.9))
    assert abs(z.log_evidence - exact) < 5 * z.log_evidence_stderr
    assert z.n_replicates == a.n_replicates + b.n_replicates  # type: ignore[operator]


def test_pooled_stages_have_errors_that_hold() -> None:
    law = normal(2)
    exact = [np.exp(0.09), 2.0]
    pulls, better = [], []
    for seed in range(60):
        e = expect(moments, law, n=8000, pool="all", rng=seed)
        last = expect(moments, law, n=8000, controls="none", rng=seed)
        assert e.n_evals == last.n_evals == 8000
        pulls.append((e.mean - exact) / e.stderr)
        better.append(e.stderr / last.stderr)
    assert (np.mean(np.abs(pulls) < 2, axis=0) > 0.865).all()
    assert (np.mean(better, axis=0) < 1.05).all()


def test_pooled_stages_that_contradict_the_last_warn() -> None:
    from fermiac.importance.checks import drawing_findings
    from fermiac.importance.settings import drawing

    raw = {
        "n_looks": 0,
        "replicates": np.empty((0, 1)),
        "final_mean": np.array([2.0]),
        "final_stderr": np.array([0.1]),
        "mean": np.array([1.0]),
        "stderr": np.array([0.1]),
    }
    how = drawing([d.Normal()], "random", None, None, None, "all")
    one = np.ones(1)
    found = drawing_findings(raw, ("a",), one, False, how, raw["mean"], raw["stderr"], 9.0)
    assert [kind for kind, _ in found] == [ConvergenceWarning]
    raw["final_mean"] = np.array([1.3])
    assert not drawing_findings(raw, ("a",), one, False, how, raw["mean"], raw["stderr"], 9.0)


@pytest.mark.parametrize("points", ["random", "sobol"])
@pytest.mark.filterwarnings("ignore:all .* values of f for E.0. are equal")
def test_controls_with_a_given_sampler(points: Any) -> None:
    law = d.Normal(np.zeros(2), np.ones(2))
    q = d.Normal(np.array([0.5, 0.0]), np.full(2, 1.2))
    exact = np.array([1.0, 1.0, np.exp(0.145)])

    def f(x: Array) -> Array:
        return np.stack([np.ones(len(x)), x[:, 0] ** 2, np.exp(x @ [0.5, 0.2])], axis=1)

    def run(controls: Any) -> tuple[Array, Array]:
        found = [
            expect(f, law, n=4000, sampler=q, controls=controls, points=points, rng=s)
            for s in range(40)
        ]
        assert all(e.n_evals <= 4000 for e in found)
        means, errors = (np.array([getattr(e, k) for e in found]) for k in ("mean", "stderr"))
        return means, errors

    means, errors = run(None)
    assert (abs(means - exact) < 5 * errors).all()
    plain = errors.mean(axis=0)
    means, errors = run("own")
    # The law is the control: constants are exact.
    assert (abs(means[:, 0] - 1) < 1e-12).all()
    means, errors = run("polynomial")
    assert (errors.mean(axis=0)[1:] < 0.01 * plain[1:]).all()
    pulls = (means - exact)[:, 1:] / errors[:, 1:]
    # 80 pulls, correlated by pairs.
    assert np.mean(abs(pulls) < 2) > 0.86


def test_controls_that_a_given_sampler_does_not_have_are_refused() -> None:
    law, q = d.Normal(), d.Normal(0.0, 2.0)
    with pytest.raises(ArgumentError, match="raise defensive_base"):
        expect(moments, law, sampler=q, controls="own", defensive_base=0.0)
    with pytest.raises(ArgumentError, match="n_stages: given with a sampler"):
        expect(moments, law, sampler=q, controls="own", n_stages=3)
    with pytest.raises(ArgumentError, match="controls"):
        expect(moments, law, sampler=q, controls="stein")  # type: ignore[arg-type]


def test_a_net_of_one_axis_from_the_law_alone() -> None:
    # The adaptation ends with the law, whose points have no working coordinates.
    e = expect(
        lambda x: np.stack([x[:, 0] < 4.5, x[:, 0]], axis=1),
        d.Normal(), n=2000, points="sobol", n_replicates=2, check=False, rng=1, weights=[1.0, 0.0],
    )  # fmt: skip
    assert e.n_replicates == 2


def test_values_far_beyond_the_law_are_ignored() -> None:
    # A component with heavy tails draws a point at 1e40, where this function is NaN.
    f, law, exact = PROBLEMS["gamma"]
    with np.errstate(over="ignore", invalid="ignore"):
        e = expect(f, law, n=2000, points="sobol", rng=1052)
    assert abs(e.mean - exact[0]) < 6 * e.stderr
    with pytest.raises(TargetError, match="the integrand is NaN"):
        expect(lambda x: np.where(x[:, 0] > 3, np.nan, x[:, 0]), d.Normal(), n=2000, rng=0)
