"""Samples: averages with errors, quantiles, resampling, reweighting, merging."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, TargetError, WeightWarning

Array = NDArray[np.float64]


def gaussian(n: int, seed: int, sd: float = 1.5, d: int = 2) -> fm.Sample:
    """Points of N(0, sd²) in each coordinate, weighted for N(0, 1)."""
    law = fm.distributions.MultivariateNormal(np.zeros(d), sd**2 * np.eye(d))
    target = fm.distributions.MultivariateNormal(np.zeros(d), np.eye(d))
    x = law.sample(n, rng=seed)
    log_densities = target.log_density(x)
    return fm.Sample.from_arrays(
        x,
        log_densities - law.log_density(x),
        log_densities=log_densities,
        gradients=-x,
        seed=seed,
    )


def test_the_self_normalised_average_and_its_error() -> None:
    s = gaussian(500, 0)
    values = np.column_stack([s.draws[:, 0] ** 2, np.exp(s.draws[:, 1]), np.full(500, 3.7)])
    e = s.expect(values, names=["a", "b", "c"])
    assert s.log_weights is not None
    w = np.exp(s.log_weights)
    w /= w.sum()
    np.testing.assert_allclose(s.weights, w, rtol=1e-12)
    mean = w @ values
    parts = w[:, None] * (values - mean)
    np.testing.assert_allclose(e.mean, mean, rtol=1e-13)
    parts = parts[:, :2]
    np.testing.assert_allclose(e.cov[:2, :2], parts.T @ parts, rtol=1e-11)
    np.testing.assert_allclose(e.stderr[:2], np.sqrt(np.sum(parts**2, axis=0)), rtol=1e-11)
    assert e.stderr[2] < 1e-15
    squares = np.sum(w**2)
    variance = w @ (values - mean) ** 2 / (1 - squares)
    np.testing.assert_allclose(e.ess[:2], variance[:2] / e.stderr[:2] ** 2, rtol=1e-11)
    assert e.ess[2] == pytest.approx(1 / squares)
    assert s.ess == pytest.approx(1 / squares)
    assert e.khat[2] == -np.inf
    assert (e.method, e.names, e.seed) == ("snis", ("a", "b", "c"), 0)


def test_equal_weights_give_the_textbook_error() -> None:
    x = fm.distributions.Normal(3.0, 2.0).sample(400, rng=1)
    s = fm.Sample.from_arrays(x)
    e = s.expect(lambda x: x[:, 0])
    assert isinstance(e.mean, float)
    assert e.method == "mean"
    assert e.mean == pytest.approx(x.mean(), rel=1e-14)
    assert e.stderr == pytest.approx(x.std(ddof=1) / 20, rel=1e-12)
    assert e.ess == pytest.approx(400)
    np.testing.assert_allclose(s.mean, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(s.cov, np.cov(x.T).reshape(1, 1), rtol=1e-12)
    assert (s.ess, s.khat) == (pytest.approx(400), -np.inf)


def test_errors_are_calibrated() -> None:
    inside, total = 0, 0
    for seed in range(200):
        s = gaussian(600, seed)
        e = s.expect(lambda x: np.column_stack([x[:, 0], x[:, 0] ** 2, x[:, 0] * x[:, 1] > 0.5]))
        # P(XY > 1/2) = ∫ K₀(z) / π from 1/2 on.
        exact = np.array([0.0, 1.0, 0.20489410208])
        inside += int(np.sum(np.abs(e.mean - exact) < 2 * np.asarray(e.stderr)))
        total += 3
    assert 0.90 <= inside / total <= 0.99


def test_builtin_complex_and_large_integrands() -> None:
    s = gaussian(2000, 3, d=1)
    built = s.expect(fm.targets.powers([1, 2]))
    plain = s.expect(lambda x: np.hstack([x, x**2]))
    np.testing.assert_allclose(built.mean, plain.mean, rtol=1e-13)
    wave = s.expect(lambda x: np.exp(1j * x[:, 0]))
    assert abs(wave.mean - np.exp(-0.5)) < 5 * wave.stderr
    large = s.expect(lambda x: 1e200 * x[:, 0] ** 2)
    assert large.mean == pytest.approx(1e200 * plain.mean[1])
    assert large.stderr == pytest.approx(1e200 * plain.stderr[1])
    small = s.expect(lambda x: 1e-250 * x[:, 0] ** 2)
    assert small.stderr == pytest.approx(1e-250 * plain.stderr[1])


def test_bits_do_not_depend_on_threads(thread_counts: tuple[int, ...]) -> None:
    s = gaussian(30_000, 4)
    for controls in (None, "stein"):
        first, *others = (
            s.expect(lambda x: np.exp(x), controls=controls, n_threads=k) for k in thread_counts
        )
        for e in others:
            np.testing.assert_array_equal(first.mean, e.mean)
            np.testing.assert_array_equal(first.cov, e.cov)
            np.testing.assert_array_equal(first.khat, e.khat)


def test_points_without_weight_may_hold_anything() -> None:
    s = fm.Sample.from_arrays([1.0, 2.0, 3.0], [0.0, -np.inf, 0.0])
    e = s.expect(lambda x: np.where(x[:, 0] == 2, np.nan, x[:, 0]))
    assert e.mean == 2.0
    with pytest.raises(TargetError, match=r"gave nan at draw 2, x = \[3\.\]"):
        s.expect(lambda x: np.where(x[:, 0] == 3, np.nan, x[:, 0]))


def test_heavy_tails_are_announced() -> None:
    law = fm.distributions.Normal(0.0, 0.1)
    x = law.sample(4000, rng=1)
    s = fm.Sample.from_arrays(x)
    with pytest.warns(WeightWarning, match="the new weights have a heavy tail"):
        t = s.reweight(fm.distributions.Normal(), old=law)
    # N(0, 1) / N(0, 0.1²): the weights have moments of order below 1 / k, k = 1 - 0.1².
    assert t.khat == pytest.approx(0.99, abs=0.25)
    assert t.warnings
    with pytest.warns(WeightWarning, match=r"weighted values of second have .*k-hat up to"):
        e = t.expect(np.column_stack([np.ones(4000), x[:, 0] ** 2]), names=["first", "second"])
    assert len(e.warnings) == 1


def test_several_laws_are_taken_one_at_a_time() -> None:
    laws = [fm.distributions.Normal(0.0, 1.0), fm.distributions.Normal(1.0, 1.0)]
    kept = fm.importance.expect(lambda x: x[:, 0], laws, n=4_000, rng=0, keep_draws=True)
    s = kept.sample
    assert s is not None
    assert s.n_laws == 2
    for j in range(2):
        e = s.expect(lambda x: x[:, 0], law=j)
        assert abs(e.mean - j) < 5 * e.stderr
        one = s.select_law(j)
        assert one.expect(lambda x: x[:, 0]).mean == e.mean
        assert one.ess == np.asarray(s.ess)[j]
        np.testing.assert_allclose(one.mean, e.mean, rtol=1e-13)
    for call in (lambda: s.mean, lambda: s.quantile(0.5), lambda: s.resample(10), s.summary):
        with pytest.raises(ArgumentError, match=r"2 laws: choose one by sample\.select_law"):
            call()


@pytest.mark.parametrize("kind", ["linear", "inverted_cdf"])
def test_quantiles_of_equal_weights_are_those_of_numpy(kind: str) -> None:
    x = fm.distributions.Normal().sample(101, rng=0)
    q = np.array([0.0, 0.05, 0.333, 0.5, 0.99, 1.0])
    want = np.quantile(x, q, axis=0, method=kind)  # type: ignore[call-overload]
    for log_weights in (None, np.full(101, -3.0)):
        s = fm.Sample.from_arrays(x, log_weights)
        np.testing.assert_array_equal(s.quantile(q, kind=kind), want)
    assert fm.Sample.from_arrays(x).quantile(0.5, kind=kind).shape == (1,)


def test_quantiles_of_whole_weights_are_those_of_the_points_repeated() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    counts = rng.integers(0, 6, size=60)
    with np.errstate(divide="ignore"):
        s = fm.Sample.from_arrays(x, np.log(counts))
    q = (np.arange(40) + 0.37) / 40
    repeated = np.repeat(x, counts, axis=0)
    want = np.quantile(repeated, q, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(s.quantile(q, kind="inverted_cdf"), want)


def test_linear_quantiles_average_the_quantile_function_over_a_window() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=30), rng.uniform(size=30)
    s = fm.Sample.from_arrays(x, np.log(w))
    n = float(s.ess)
    for q in (0.0, 0.2, 0.77, 1.0):
        # By brute force: the inverse of the distribution function at many probabilities.
        p = ((n - 1) * q + (np.arange(20_000) + 0.5) / 20_000) / n
        brute = s.quantile(p, kind="inverted_cdf").mean()
        assert s.quantile(q)[0] == pytest.approx(brute, abs=1e-3)
    # A point that is split in two of half the weight changes the window alone.
    q = np.linspace(0, 1, 50)
    assert np.all(np.diff(s.quantile(q)[:, 0]) >= 0)


def test_errors_of_quantiles_are_calibrated() -> None:
    inside = 0
    for seed in range(200):
        value, error = gaussian(800, seed).quantile([0.1, 0.5, 0.9], return_stderr=True)
        exact = fm.distributions.Normal().ppf([[0.1], [0.5], [0.9]])
        inside += int(np.sum(np.abs(value - exact) < 2 * error))
    assert 0.90 <= inside / 1200 <= 0.99


@pytest.mark.parametrize("method", ["systematic", "stratified", "multinomial", "residual"])
def test_resampling(method: str) -> None:
    s = gaussian(5000, 0)
    t = s.resample(rng=7, method=method)
    assert t.n_draws == round(float(s.ess))
    assert (t.error_model, t.log_weights, t.seed) == ("iid", None, 7)
    assert t.log_densities is not None
    assert t.gradients is not None
    law = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))
    np.testing.assert_allclose(t.log_densities, law.log_density(t.draws), rtol=1e-12)
    np.testing.assert_array_equal(t.gradients, -t.draws)
    e = t.expect(lambda x: np.hstack([x, x**2]))
    assert np.all(np.abs(e.mean - [0, 0, 1, 1]) < 5 * np.asarray(e.stderr))
    np.testing.assert_array_equal(s.resample(rng=7, method=method).draws, t.draws)
    assert np.any(s.resample(rng=8, method=method).draws != t.draws)
    # Random order: neighbours are no copies of each other more often than any two are.
    same = np.mean(np.all(np.diff(s.resample(20_000, rng=1, method=method).draws, axis=0) == 0, 1))
    assert same < 0.01


def test_reweighting_there_and_back() -> None:
    s = gaussian(3000, 1)
    wide = fm.distributions.MultivariateNormal(np.zeros(2), 1.44 * np.eye(2))
    t = s.reweight(wide)
    assert t.gradients is None
    e = t.expect(lambda x: x[:, 0] ** 2)
    assert abs(e.mean - 1.44) < 5 * e.stderr
    narrow = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))
    back = t.reweight(narrow.log_density)
    np.testing.assert_allclose(back.log_weights, s.log_weights, atol=1e-12)
    np.testing.assert_allclose(back.log_densities, s.log_densities, atol=1e-12)
    by_values = t.reweight(s.log_densities)
    np.testing.assert_array_equal(by_values.log_weights, back.log_weights)
    frozen = scipy.stats.multivariate_normal(np.zeros(2), np.eye(2))
    by_scipy = t.reweight(frozen)
    np.testing.assert_allclose(by_scipy.log_weights, back.log_weights, atol=1e-12)
    # The mean weight is the ratio of the normalising constants.
    shifted = s.reweight(lambda x: narrow.log_density(x) + 5.0)
    assert shifted.log_weights is not None
    assert np.log(np.mean(np.exp(shifted.log_weights))) == pytest.approx(5, abs=0.1)
    # What has no density under the new target has no weight.
    half = s.reweight(lambda x: np.where(x[:, 0] > 0, narrow.log_density(x), -np.inf))
    m = half.expect(lambda x: x[:, 0])
    assert abs(m.mean - np.sqrt(2 / np.pi)) < 5 * m.stderr


def test_merging_is_concatenation() -> None:
    a, b, c = (gaussian(n, seed) for n, seed in ((300, 1), (500, 2), (200, 3)))
    m = a.merge(b).merge(c)
    np.testing.assert_array_equal(m.draws, np.concatenate([a.draws, b.draws, c.draws]))
    for name in ("log_weights", "log_densities", "gradients"):
        parts = [getattr(s, name) for s in (a, b, c)]
        np.testing.assert_array_equal(getattr(m, name), np.concatenate(parts))
    assert m.settings["seeds"] == (1, 2, 3)
    assert m.expect(lambda x: x).mean.shape == (2,)
    with pytest.raises(ArgumentError, match="samples 0 and 1 both came from the seed 2"):
        m.merge(gaussian(10, 2))
    # What was resampled from a sample is not independent of it.
    r = a.resample(50, rng=9)
    with pytest.raises(ArgumentError, match="seed 1"):
        r.merge(a.resample(50, rng=10))
    with pytest.raises(ArgumentError, match=r"coordinates of sample 1 \(3\)"):
        a.merge(gaussian(10, 5, d=3))
    with pytest.raises(ArgumentError, match=r"error model of sample 1 \(iid\)"):
        a.merge(fm.Sample.from_arrays(np.zeros((4, 2))))


def test_tables() -> None:
    s = gaussian(1000, 0)
    text = s.summary().splitlines()
    assert text[0].startswith("Sample of 1000 points in 2 dimensions, weighted: ESS ")
    assert "k-hat" in text[0]
    assert text[1].split() == ["name", "mean", "mcse", "sd", "5%", "50%", "95%", "ess"]
    assert text[2].split()[0] == "x[0]"
    assert float(text[2].split()[3]) == pytest.approx(np.sqrt(s.cov[0, 0]), rel=1e-3)
    plain = json.loads(json.dumps(s.to_dict()))
    assert len(plain["log_densities"]) == 1000


def test_arrays_are_checked() -> None:
    x = np.zeros((5, 2))
    bad: list[tuple[Callable[[], object], str]] = [
        (lambda: fm.Sample.from_arrays(np.zeros((0, 2))), "shape \\(0, 2\\)"),
        (lambda: fm.Sample.from_arrays(["text"]), "no array of real numbers"),
        (lambda: fm.Sample.from_arrays([[1.0, np.nan]]), "draws: nan given at \\(0, 1\\)"),
        (lambda: fm.Sample.from_arrays(x, np.zeros(4)), "log_weights: an array of shape \\(4,\\)"),
        (lambda: fm.Sample.from_arrays(x, np.full(5, np.inf)), "log_weights: inf given"),
        (lambda: fm.Sample.from_arrays(x, log_densities=np.full(5, np.nan)), "log_densities: nan"),
        (lambda: fm.Sample.from_arrays(x, gradients=np.zeros(5)), "gradients: an array of shape"),
        (lambda: fm.Sample.from_arrays(x, names=["a"]), "names: .* 2 different names"),
        (lambda: fm.Sample.from_arrays(x, seed=-1), "seed"),
    ]
    for call, message in bad:
        with pytest.raises(ArgumentError, match=message):
            call()


def test_arguments_are_checked() -> None:
    s = gaussian(50, 0)
    none = fm.Sample.from_arrays([1.0, 2.0], [-np.inf, -np.inf])
    far = fm.distributions.Uniform(10.0, 11.0)
    box = fm.distributions.Uniform(0.0, 1.0)
    points = fm.Sample.from_arrays([0.5, 1.5])
    bad: list[tuple[Callable[[], object], str]] = [
        (lambda: s.expect(np.zeros(7)), "f: a ndarray of shape \\(7,\\)"),
        (lambda: s.expect(lambda x: x, names=["a"]), "names: .* 2 different"),
        (lambda: s.expect(lambda x: x, law=1), "law: 1 was given"),
        (lambda: s.quantile(1.5), "q: 1.5"),
        (lambda: s.quantile(0.5, kind="other"), "kind: 'other'"),
        (lambda: s.quantile([0, 0.5], return_stderr=True), "the ends"),
        (lambda: s.resample(0), "n: 0"),
        (lambda: s.resample(method="other"), "method: 'other'"),
        (lambda: none.expect(lambda x: x), "no point of this sample has weight"),
        (lambda: fm.Sample.from_arrays([1.0]).expect(lambda x: x), "1 draw of positive weight"),
        (lambda: points.reweight(far), "does not hold the log-densities"),
        (lambda: points.reweight(fm.distributions.Normal(), old=box), "density is 0 at draw 1"),
        (lambda: points.reweight(far, old=fm.distributions.Normal()), "0 at every draw"),
        (lambda: s.merge(3), "a int given"),  # type: ignore[arg-type]
    ]
    for call, message in bad:
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(TargetError, match="new log-density has shape"):
        s.reweight(np.zeros(3))
    with pytest.raises(TargetError, match="new log-density is nan at draw 0"):
        s.reweight(np.full(50, np.nan))


def test_no_warning_without_reason() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FermiacWarning)
        for seed in range(20):
            gaussian(1000, seed).expect(lambda x: np.hstack([x, x**2]), controls="stein")


def test_chains_do_not_pass_for_independent_points() -> None:
    walk = np.cumsum(fm.random.Stream(0).normal((4, 200, 2)), axis=1)
    for log_weights in (None, np.zeros((4, 200))):
        s = fm.Sample.from_arrays(walk, log_weights)
        assert s.error_model == "chains"
        with pytest.raises(ArgumentError, match="chains depend on each other"):
            s.resample(10)
        np.testing.assert_allclose(s.mean, walk.mean(axis=(0, 1)), rtol=1e-12)


def test_too_few_effective_points_are_announced() -> None:
    x = fm.random.Stream(0).normal((1000,))
    log_weights = np.full(1000, -np.inf)
    log_weights[:4] = [0, -1, -10, -3]
    with pytest.warns(WeightWarning, match="1.8 effective points of 1000, too few"):
        fm.Sample.from_arrays(x, log_weights).expect(lambda x: x)
    log_weights[:4] = [0, -600, -700, -np.inf]
    alone = fm.Sample.from_arrays(x, log_weights)
    for call in (lambda: alone.expect(lambda x: x), lambda: alone.cov):
        with pytest.raises(ArgumentError, match="all weight rests on one draw"):
            call()


def test_what_is_never_seen_is_announced() -> None:
    x = fm.random.Stream(0).normal((1000,))
    with pytest.warns(
        FermiacWarning, match=r"f was 0 at every draw .*for b: .* below about 0\.003"
    ):
        e = fm.Sample.from_arrays(x).expect(lambda x: np.hstack([x > 0, x > 10]), names=["a", "b"])
    assert e.mean[1] == 0
    # A part of a complex integrand may be 0.
    assert fm.Sample.from_arrays(x).expect(lambda x: x[:, 0] + 0j).mean.imag == 0


@pytest.mark.parametrize("kind", ["linear", "inverted_cdf"])
def test_quantiles_beyond_the_sample_have_no_error(kind: str) -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100,)))
    q = [0.001, 0.01, 0.1, 0.9, 0.99, 0.999]
    _, error = s.quantile(q, kind=kind, return_stderr=True)
    np.testing.assert_array_equal(np.isinf(error[:, 0]), [True, True, False, False, True, True])


def test_the_same_points_are_not_merged_twice() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100,)))
    with pytest.raises(ArgumentError, match="samples 0 and 1 hold the same points"):
        s.merge(s)


def test_resampling_beyond_the_memory_is_refused() -> None:
    s = fm.Sample.from_arrays([1.0, 2.0], [0.0, 0.0])
    with pytest.raises(ArgumentError, match="n: 1099511627776 was given, for which there is no"):
        s.resample(2**40, rng=0)


# Integrands that reuse their arrays, and those of another dimension.


def test_integrands_may_write_to_their_batch_and_reuse_their_array() -> None:
    draws = np.random.default_rng(0).normal(size=(50_000, 2))
    sample = fm.Sample.from_arrays(draws.copy())
    kept = np.empty(len(draws))

    def first(x: Array) -> Array:
        kept[: len(x)] = x[:, 0]
        x[:] = np.nan
        return kept[: len(x)]

    mean = sample.expect(lambda x: x[:, 0]).mean
    assert sample.expect(first).mean == mean
    np.testing.assert_array_equal(sample.draws, draws)


def test_targets_have_the_dimension_of_the_sample() -> None:
    sample = fm.Sample.from_arrays(np.random.default_rng(0).normal(size=(100, 3)))
    for target in (fm.targets.powers([1, 2]), fm.targets.funnel(2)):
        with pytest.raises(ArgumentError, match=r"takes points of dimension . where 3 are given"):
            sample.expect(target)
