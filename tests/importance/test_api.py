"""Many expectations from one sample: exact answers, shapes, the same bits, warnings."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import problems
import pytest
from problems import Array
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError


def test_plain_monte_carlo_is_the_mean_and_its_error() -> None:
    law = fm.distributions.Gamma(3.0, 2.0)
    e = fm.importance.expect(
        lambda x: np.hstack([x, np.log(x)]), law, n=10_000, method="mc", rng=5, keep_draws=True
    )
    assert e.sample is not None
    x = e.sample.draws
    values = np.hstack([x, np.log(x)])
    np.testing.assert_allclose(e.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(e.cov, np.cov(values.T) / 10_000, rtol=1e-10)
    assert e.sample.log_weights is None
    assert e.sample.ess == 10_000
    assert e.stages == ()
    assert e.chosen_stage is None


def test_an_integrand_that_a_component_fits_exactly_has_no_variance() -> None:
    law = fm.distributions.MultivariateNormal(
        np.array([1.0, -2.0]), np.array([[2.0, 0.5], [0.5, 1]])
    )

    def f(x: Array) -> Array:
        return np.exp(0.3 * x[:, 0] - 0.2 * x[:, 1])

    exact = np.exp(0.3 - 0.2 * -2 + 0.5 * (0.09 * 2 - 2 * 0.06 * 0.5 + 0.04))
    plain = fm.importance.expect(f, law, n=20_000, method="mc", rng=0)
    e = fm.importance.expect(f, law, n=20_000, rng=0)
    assert abs(e.mean - exact) < 5 * e.stderr
    assert e.stderr < plain.stderr / 20


def test_scales_of_any_size_stand_in_one_vector() -> None:
    law = fm.distributions.Normal()
    scale = np.array([1.0, 1e-30, 1e60, 1e-200, 1e250])
    for method in ("aiscv", "mc"):
        e = fm.importance.expect(lambda x: x**2 * scale, law, n=10_000, method=method, rng=1)
        np.testing.assert_allclose(e.mean / scale, e.mean[0], rtol=1e-9)
        np.testing.assert_allclose(e.stderr / scale, e.stderr[0], rtol=1e-6)
        assert abs(e.mean[0] - 1) < 5 * e.stderr[0]
    powers_of_two = fm.importance.expect(
        lambda x: x**2 * np.array([1.0, 2.0**-700]), law, n=10_000, rng=1
    )
    assert powers_of_two.mean[1] == powers_of_two.mean[0] * 2.0**-700
    assert powers_of_two.stderr[1] == powers_of_two.stderr[0] * 2.0**-700


@pytest.mark.parametrize("scale", [1.0, 2.0**-20])
def test_forecasts_are_in_the_units_of_the_integrand(scale: float) -> None:
    law = fm.distributions.Normal()
    e = fm.importance.expect(
        lambda x: scale * x[:, 0] ** 2, law, n=10_000, weights="absolute", rng=1
    )
    # The variance of x^2 is 2; 9000 evaluations were left. The estimate of it has a standard
    # error of 12 %.
    assert e.stages[0]["forecast"] == pytest.approx(2 * scale**2 / 9_000, rel=0.6)


@pytest.mark.parametrize("fraction", [0.01, 0.9])
@pytest.mark.parametrize("n_stages", [1, 1000])
def test_the_smallest_budgets(fraction: float, n_stages: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        for seed in range(20):
            e = fm.importance.expect(
                lambda x: x[:, 0] ** 2,
                fm.distributions.Normal(),
                n=40,
                adapt_fraction=fraction,
                n_stages=n_stages,
                rng=seed,
            )
            assert e.n_evals == 40
            assert np.isfinite(e.mean)
            assert np.isfinite(e.stderr)


def test_a_large_offset_does_not_spoil_the_error() -> None:
    law = fm.distributions.Normal()
    e = fm.importance.expect(lambda x: 1e9 + x[:, 0], law, n=10_000, method="mc", rng=1)
    assert e.stderr == pytest.approx(0.01, rel=0.03)


def test_a_constant_integrand() -> None:
    with pytest.warns(fm.errors.FermiacWarning, match="values of f for .* are equal"):
        e = fm.importance.expect(lambda x: np.full(len(x), 7.0), fm.distributions.Normal(), rng=1)
    assert e.mean == pytest.approx(7.0, abs=1e-12)
    assert e.stderr < 0.05
    with pytest.warns(fm.errors.FermiacWarning, match="values of f for .* are equal"):
        plain = fm.importance.expect(
            lambda x: np.full(len(x), 7.0), fm.distributions.Normal(), method="mc", rng=1
        )
    assert plain.mean == 7.0
    # It may be 0 where no point fell.
    assert plain.stderr == 3 * 7.0 / plain.n_evals


@pytest.mark.parametrize("controls", ["own", "all"])
def test_constants_beside_other_integrands_are_exact(controls: Any) -> None:
    with pytest.warns(fm.errors.ConvergenceWarning, match=r"f for E\[0\] are equal"):
        e = fm.importance.expect(
            lambda x: np.hstack([7.0 + 0 * x, np.exp(x)]),
            fm.distributions.Normal(),
            controls=controls,
            rng=1,
        )
    assert e.mean[0] == pytest.approx(7.0, rel=1e-9)
    assert e.stderr[0] < 1e-9
    assert abs(e.mean[1] - np.exp(0.5)) < 5 * e.stderr[1]


def test_several_laws_and_pairs() -> None:
    laws = [fm.distributions.Normal(m, 1.0) for m in (-1.0, 0.0, 2.0)]
    shared = fm.importance.expect(lambda x: x[:, 0] ** 2, laws, n=20_000, rng=0)
    assert np.all(np.abs(shared.mean - [2, 1, 5]) < 5 * shared.stderr)
    pairs = fm.importance.expect(lambda x: x ** np.array([1, 2, 3]), laws, n=20_000, rng=0)
    assert np.all(np.abs(pairs.mean - [-1, 1, 14]) < 5 * pairs.stderr)
    plain = fm.importance.expect(lambda x: x[:, 0] ** 2, laws, n=20_000, method="mc", rng=0)
    assert np.all(np.abs(plain.mean - [2, 1, 5]) < 5 * plain.stderr)


def test_a_complex_integrand() -> None:
    t = np.array([0.5, 1.0])
    e = fm.importance.expect(
        lambda x: np.exp(1j * x * t), fm.distributions.Normal(1.0, 1.0), n=20_000, rng=0
    )
    exact = np.exp(1j * t - 0.5 * t**2)
    assert e.mean.dtype == complex
    assert np.all(np.abs(e.mean - exact) < 5 * e.stderr)
    cov = np.asarray(e.cov)
    np.testing.assert_allclose(cov, cov.conj().T)
    np.testing.assert_allclose(np.diag(cov).real, e.stderr**2)
    with pytest.raises(fm.errors.ArgumentError, match="complex"):
        e.transform(lambda m: m)


@pytest.mark.parametrize(
    ("law", "frozen"),
    [
        (fm.distributions.Gamma(2.0, 3.0), stats.gamma(2.0, scale=3.0)),
        (fm.distributions.Beta(2.0, 5.0), stats.beta(2.0, 5.0)),
        (fm.distributions.LogNormal(0.3, 0.8), stats.lognorm(0.8, scale=np.exp(0.3))),
        (fm.distributions.Uniform(-1.0, 3.0), stats.uniform(-1.0, 4.0)),
        (fm.distributions.Exponential(0.5), stats.expon(scale=0.5)),
        (fm.distributions.StudentT(7.0, 1.0, 2.0), stats.t(7.0, 1.0, 2.0)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_every_support_and_scipy_laws(law: Any, frozen: Any) -> None:
    f = fm.targets.powers([1, 2])
    e = fm.importance.expect(f, law, n=20_000, rng=2)
    exact = np.array([frozen.mean(), frozen.moment(2)])
    assert np.all(np.abs(e.mean - exact) < 5 * e.stderr)
    same = fm.importance.expect(f, frozen, n=20_000, rng=2)
    np.testing.assert_allclose(e.mean, same.mean, rtol=1e-12)


def test_a_law_of_scipy_that_is_not_built_in() -> None:
    frozen = stats.genpareto(-0.3)
    e = fm.importance.expect(fm.targets.powers([1, 2]), frozen, n=20_000, rng=2)
    exact = np.array([frozen.mean(), frozen.moment(2)])
    assert np.all(np.abs(e.mean - exact) < 5 * e.stderr)


class Kumaraswamy(fm.distributions.Law):
    """Density 6 x (1 - x^2)^2 on (0, 1)."""

    dim = 1

    def log_density(self, x: Array) -> Array:
        x = x[:, 0]
        inside = (x > 0) & (x < 1)
        y = np.where(inside, x, 0.5)
        return np.where(inside, np.log(6 * y * (1 - y**2) ** 2), -np.inf)


class FromUnit(Kumaraswamy):
    """It, by its quantile function."""

    def from_unit(self, u: Array) -> Array:
        return np.sqrt(1 - (1 - u) ** (1 / 3))


class FromSample(Kumaraswamy):
    """It, by a sampler."""

    def sample(self, n: int, rng: Any = None) -> Array:
        u = np.random.default_rng(rng).random((n, 1))
        return np.sqrt(1 - (1 - u) ** (1 / 3))


@pytest.mark.parametrize("law", [FromUnit(), FromSample()], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_a_law_of_the_user(law: Any, method: str) -> None:
    e = fm.importance.expect(lambda x: x[:, 0] ** 2, law, n=10_000, method=method, rng=1)
    assert abs(e.mean - 0.25) < 5 * e.stderr
    several = fm.importance.expect(
        fm.targets.powers(2), [law, fm.distributions.Beta(2.0, 2.0)], n=10_000, method=method, rng=1
    )
    assert np.all(np.abs(several.mean - [0.25, 0.3]) < 5 * several.stderr)


def same(a: fm.Estimate, b: fm.Estimate) -> None:
    for field in ("mean", "stderr", "cov", "ess", "khat"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "paper"},
        {"method": "mc"},
        {"controls": "all"},
        {"family": "t"},
        {"family": "mixture"},
    ],
    ids=lambda s: "-".join(map(str, s.values())) or "default",
)
def test_threads_and_wrapping_change_nothing(settings: dict[str, Any]) -> None:
    a = np.array([[1.0, 2.0], [3.0, 0.5], [2.0, 2.0]])
    f = fm.targets.genz("gaussian", a, np.full((3, 2), 0.4))
    law = fm.distributions.Uniform(np.zeros(2), np.ones(2))
    first = fm.importance.expect(f, law, n=50_000, rng=11, plan=fm.Plan(n_threads=1), **settings)
    for n_threads in (2, 3, 8):
        same(
            first,
            fm.importance.expect(
                f, law, n=50_000, rng=11, plan=fm.Plan(n_threads=n_threads), **settings
            ),
        )
    same(first, fm.importance.expect(lambda x: f(x), law, n=50_000, rng=11, **settings))
    same(first, fm.importance.expect(f, law, n=50_000, rng=first.seed, **settings))


def test_an_unseeded_run_can_be_repeated() -> None:
    f, law = fm.targets.powers([2, 3]), fm.distributions.Normal()
    first = fm.importance.expect(f, law, n=3_000)
    second = fm.importance.expect(f, law, n=3_000)
    assert first.seed != second.seed
    same(first, fm.importance.expect(f, law, n=3_000, rng=first.seed))


def test_a_run_inside_a_callable() -> None:
    law = fm.distributions.Normal()

    def f(x: Array) -> Array:
        inner = fm.importance.expect(
            fm.targets.powers(2), law, n=9_000, rng=1, plan=fm.Plan(n_threads=2)
        )
        return x[:, 0] ** 2 * inner.mean

    e = fm.importance.expect(f, law, n=2_000, rng=0, plan=fm.Plan(n_threads=2))
    assert abs(e.mean - 1) < 0.1


def test_the_alpha_step_is_certified() -> None:
    e = fm.importance.expect(*problems.moments()[:2], n=20_000, rng=0)
    assert len(e.stages) >= 2
    for stage in e.stages[1:]:
        assert stage["alpha_gap"] <= 1e-3
        assert stage["alpha_passes"] < 100
        assert stage["alpha"].sum() == pytest.approx(1.0)
        assert np.all(stage["alpha"] >= 0.1 / len(stage["alpha"]) - 1e-12)


def test_plain_sampling_where_no_fit_can_win() -> None:
    rng = np.random.default_rng(0)
    frequencies = 40 * rng.normal(size=(4, 1))

    def f(x: Array) -> Array:
        return 2 + np.sign(np.sin(frequencies.T * x))

    e = fm.importance.expect(f, fm.distributions.Normal(), n=10_000, rng=0, split_signs=False)
    assert abs(e.mean[0] - 2) < 5 * e.stderr[0]
    assert np.all(e.stderr < 1.5 / np.sqrt(5_000))


@pytest.mark.parametrize("family", ["gaussian", "t"])
def test_a_law_with_poles_at_its_bounds(family: str) -> None:
    law = fm.distributions.Beta(0.5, 0.5)
    e = fm.importance.expect(lambda x: x[:, 0], law, n=10_000, family=family, rng=0)
    assert abs(e.mean - 0.5) < 5 * e.stderr
    # A fortieth of this one lies within rounding of 1.
    law = fm.distributions.Beta(0.1, 0.1)
    with pytest.warns(fm.errors.ConvergenceWarning, match="within rounding of a bound"):
        fm.importance.expect(lambda x: x[:, 0], law, n=10_000, family=family, rng=0)


def test_many_outputs_of_a_callable_adapt_at_large_n() -> None:
    centres = np.linspace(-3, 3, 300)
    e = fm.importance.expect(
        lambda x: np.exp(-0.5 * (x - centres) ** 2 / 0.01),
        fm.distributions.Normal(),
        n=200_000,
        n_stages=2,
        adapt_fraction=0.5,
        rng=0,
    )
    exact = np.sqrt(0.01 / 1.01) * np.exp(-0.5 * centres**2 / 1.01)
    assert e.chosen_stage == 1
    assert np.mean(np.abs(e.mean - exact) < 2 * e.stderr) > 0.85


LAW = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))


def f(x: Array) -> Array:
    return x[:, 0] ** 2


def test_integrands_that_are_none() -> None:
    with pytest.raises(ArgumentError, match="f: int given; it must be a callable"):
        fm.importance.expect(3, LAW, n=1_000, rng=0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="dimension 1 where 2 are given"):
        fm.importance.expect(fm.targets.powers(2), LAW, n=1_000, rng=0)
    with pytest.raises(ArgumentError, match="3 outputs for 2 laws"):
        fm.importance.expect(lambda x: x[:, [0, 1, 0]], [LAW, LAW], n=1_000, rng=0)


@pytest.mark.parametrize(
    ("g", "message"),
    [
        (lambda x: 1.0, "one number for a batch of"),
        (lambda x: x[:5, 0], r"shape \(5,\)"),
        (lambda x: x.T, "transpose it"),
        (lambda x: np.zeros((len(x), 0)), "k >= 1"),
        (lambda x: np.zeros((len(x), 1, 1)), r"it must be"),
        (lambda x: np.array([object()] * len(x)), "type object"),
        (lambda x: np.array(["a"] * len(x)), "must hold numbers"),
        (lambda x: [[1.0], [1.0, 2.0]], "NumPy cannot take"),
        (lambda x: None, "gave None; it must return"),
        (lambda x: np.ma.masked_less(x[:, 0], 0.0), "masked values"),
        (lambda x: x[0], "vectorize"),
    ],
)
@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_wrong_shapes_and_types(g: Any, message: str, method: str) -> None:
    with pytest.raises(TargetError, match=message):
        fm.importance.expect(g, LAW, n=1_000, method=method, rng=0)


def test_outputs_that_change_between_batches() -> None:
    def changing(first: Any, later: Any) -> Any:
        calls = iter([first])
        return lambda x: next(calls, later)(x)

    with pytest.raises(TargetError, match=r"1 outputs.*2 before"):
        fm.importance.expect(
            changing(lambda x: x, lambda x: x[:, :1]), LAW, n=1_000, rng=0, check=False
        )
    with pytest.raises(TargetError, match="earlier batches had 2"):
        fm.importance.expect(changing(lambda x: x, f), LAW, n=1_000, rng=0, check=False)
    with pytest.raises(TargetError, match="earlier batches were real"):
        fm.importance.expect(changing(f, lambda x: f(x) + 0j), LAW, n=1_000, rng=0, check=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_values_that_are_not_finite(bad: float, method: str) -> None:
    def g(x: Array) -> Array:
        y = f(x)
        if len(x) > 137:
            y[137] = bad
        return y

    with pytest.raises(TargetError, match=r"at evaluation 137, x = \[.*on_nan=\"zero\""):
        fm.importance.expect(g, LAW, n=2_000, method=method, rng=0)
    with pytest.warns(fm.errors.FermiacWarning, match="not finite and counted as 0"):
        e = fm.importance.expect(g, LAW, n=2_000, method=method, rng=0, on_nan="zero")
    assert abs(e.mean - 1) < 0.2


def test_bad_values_where_the_law_is_zero_do_not_matter() -> None:
    laws = [fm.distributions.Uniform(0.0, 1.0), fm.distributions.Uniform(2.0, 3.0)]

    def g(x: Array) -> Array:
        y = x[:, 0].copy()
        y[(y > 1) & (y < 2)] = np.nan
        return y

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        e = fm.importance.expect(g, laws, n=10_000, rng=0)
    assert np.all(np.abs(e.mean - [0.5, 2.5]) < 5 * e.stderr)


@pytest.mark.parametrize("method", ["aiscv", "mc"])
def test_the_users_exception_passes_through(method: str) -> None:
    class Oops(Exception):
        pass

    def g(x: Array) -> Array:
        raise Oops("model 7 did not converge")

    with pytest.raises(Oops, match="model 7") as caught:
        fm.importance.expect(g, LAW, n=1_000, method=method, rng=0, plan=fm.Plan(n_threads=2))
    assert any("raised by the integrand on a batch of" in note for note in caught.value.__notes__)
    # Nothing is left behind: the next call works.
    assert (
        fm.importance.expect(f, LAW, n=1_000, rng=0, plan=fm.Plan(n_threads=2)).status == "complete"
    )


def test_a_law_that_fails() -> None:
    class Bad(fm.distributions.Law):
        dim = 1

        def __init__(self, value: Any) -> None:
            self.value = value

        def log_density(self, x: Array) -> Any:
            return self.value(x)

        def from_unit(self, u: Array) -> Array:
            return u

    def g(x: Array) -> Array:
        return x[:, 0]

    with pytest.raises(TargetError, match="log_density of Bad gave an array of shape"):
        fm.importance.expect(g, Bad(lambda x: x), n=1_000, rng=0)
    with pytest.raises(TargetError, match="log-density of the law is NaN"):
        fm.importance.expect(g, Bad(lambda x: np.full(len(x), np.nan)), n=1_000, rng=0)
    with pytest.raises(TargetError, match="log-density of the law is inf"):
        fm.importance.expect(g, Bad(lambda x: np.full(len(x), np.inf)), n=1_000, rng=0)
    with pytest.raises(ZeroDivisionError) as caught:
        fm.importance.expect(g, Bad(lambda x: 1 / 0), n=1_000, rng=0)
    assert any("log_density of Bad" in note for note in caught.value.__notes__)


def test_a_progress_callback_that_fails() -> None:
    import time

    def slow(x: Array) -> Array:
        time.sleep(0.15)
        return f(x)

    def report(done: int, total: int) -> None:
        raise LookupError(f"{done} of {total}")

    with pytest.raises(LookupError, match="of 200000"):
        fm.importance.expect(slow, LAW, n=200_000, rng=0, plan=fm.Plan(progress=report))


def test_values_that_overflow() -> None:
    with pytest.raises(fm.errors.NumericalError, match="divide the integrand by a constant"):
        fm.importance.expect(
            lambda x: np.where(x[:, 0] > 3.9, 1e200, 0.0),
            LAW,
            n=1_000_000,
            method="mc",
            rng=0,
        )
