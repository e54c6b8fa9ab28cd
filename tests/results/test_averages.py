"""Averages over weighted points: values, errors, warnings, tables."""

from __future__ import annotations

import json
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import worker_targets
from executor_help import spawned
from numpy.typing import NDArray
from samples import gaussian

import fermiac as fm
from fermiac.errors import (
    ArgumentError,
    ConvergenceWarning,
    FermiacWarning,
    HeavyTailWarning,
    TargetError,
    WeightWarning,
)
from fermiac.results.unseen import all_equal, unseen

Array = NDArray[np.float64]


def test_the_self_normalised_average_and_its_error() -> None:
    s = gaussian(500, 0)
    values = np.column_stack([s.draws[:, 0] ** 2, np.exp(s.draws[:, 1]), np.full(500, 3.7)])
    with pytest.warns(ConvergenceWarning, match="all 351 values of c are equal"):
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
            s.expect(lambda x: np.exp(x), controls=controls, plan=fm.Plan(n_threads=k))
            for k in thread_counts
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
    heavy = pytest.warns(WeightWarning, match=r"weighted values of second have .*k-hat up to")
    with heavy, pytest.warns(ConvergenceWarning, match="values of first are equal"):
        e = t.expect(np.column_stack([np.ones(4000), x[:, 0] ** 2]), names=["first", "second"])
    assert len(e.warnings) == 2


def test_no_warning_without_reason() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FermiacWarning)
        for seed in range(20):
            gaussian(1000, seed).expect(lambda x: np.hstack([x, x**2]), controls="stein")


def test_too_few_effective_points_are_announced() -> None:
    x = fm.random.Stream(0).normal((1000,))
    log_weights = np.full(1000, -np.inf)
    log_weights[:4] = [0, -1, -10, -3]
    with pytest.warns(WeightWarning, match="1.8 effective points of 1000, too few"):
        fm.Sample.from_arrays(x, log_weights).expect(lambda x: x)
    log_weights[:4] = [0, -600, -700, -np.inf]
    alone = fm.Sample.from_arrays(x, log_weights)
    for call in (lambda: alone.expect(lambda x: x), lambda: alone.cov):
        with pytest.raises(ArgumentError, match="one draw has all the weight"):
            call()


def test_what_is_never_seen_is_announced() -> None:
    x = fm.random.Stream(0).normal((1000,))
    with pytest.warns(ConvergenceWarning, match=r"all 1000 values of b .* up to 0\.3 %"):
        e = fm.Sample.from_arrays(x).expect(lambda x: np.hstack([x > 0, x > 10]), names=["a", "b"])
    assert e.mean[1] == 0
    # The imaginary part of a complex integrand may be 0.
    assert fm.Sample.from_arrays(x).expect(lambda x: x[:, 0] + 0j).mean.imag == 0
    with pytest.warns(ConvergenceWarning, match="all 1000 values"):
        fm.Sample.from_arrays(x).expect(lambda x: np.where(x[:, 0] > 5, 9.0, 0.1) + 0.3j)
    # Controls that explain a function leave no spread of values that vary.
    s = fm.Sample.from_arrays(x[:, None], gradients=-x[:, None])
    assert s.expect(lambda x: 2 + x[:, 0], controls="stein").stderr < 1e-14


def test_what_equal_values_leave_unseen() -> None:
    for n, prob in [(1, 0.95), (50, 0.95), (10**9, 0.5)]:
        assert n * math.log1p(-unseen(n, prob)) == pytest.approx(math.log(1 - prob))
    columns = np.array([[1e308, 0.1, 0.0, 3.0], [-1e308, 0.1 * (1 + 1e-15), 0.0, 3.1]])
    assert all_equal(columns).tolist() == [False, True, True, False]


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


def test_tables() -> None:
    s = gaussian(1000, 0)
    text = str(s.summary()).splitlines()
    assert text[0].startswith("Sample of 1000 points in 2 dimensions, weighted: ESS ")
    assert "k-hat" in text[0]
    assert text[1].split() == ["name", "mean", "mcse", "sd", "5%", "50%", "95%", "ess"]
    assert text[2].split()[0] == "x[0]"
    assert float(text[2].split()[3]) == pytest.approx(np.sqrt(s.cov[0, 0]), rel=1e-3)
    plain = json.loads(json.dumps(s.to_dict()))
    assert len(plain["log_densities"]) == 1000


def test_a_parameter_is_averaged_by_its_name() -> None:
    x = fm.random.Stream(0).normal((4, 500, 5))
    names = ["mu", "m[0, 0]", "m[0, 1]", "m[1, 0]", "m[1, 1]"]
    s = fm.Sample.from_arrays(x, names=names)
    e = s.expect("m")
    same = s.expect(lambda x: x[:, 1:])
    np.testing.assert_array_equal(e.mean, same.mean)
    np.testing.assert_array_equal(e.stderr, same.stderr)
    assert e.names == tuple(names[1:])
    one = s.expect("m[1,0]")
    assert (one.mean, one.names) == (same.mean[2], ("m[1, 0]",))
    assert s.expect("mu", names=["location"]).names == ("location",)
    with pytest.raises(KeyError, match="did you mean 'm'"):
        s.expect("mo")


def test_functions_take_parameters_by_name() -> None:
    x = fm.random.Stream(0).normal((4, 500, 3))
    s = fm.Sample.from_arrays(x, names=["mu", "theta[0]", "theta[1]"])
    e = s.expect(lambda theta, mu: theta[:, 1] * mu)
    same = s.expect(lambda x: x[:, 2] * x[:, 0])
    assert (e.mean, e.stderr) == (same.mean, same.stderr)
    assert s.expect(lambda *, mu: mu**2).mean == s.expect(lambda x: x[:, 0] ** 2).mean
    # One argument is the batch, whatever its name; arguments with defaults are none of a sample.
    assert s.expect(lambda mu, power=2: mu[:, 2] ** power).mean == np.mean(x[..., 2] ** 2)
    with pytest.raises(fm.errors.ArgumentError, match=r"needs 'thetta'.*did you mean 'theta'"):
        s.expect(lambda mu, thetta: mu)


def test_several_parameters_are_averaged_by_their_names() -> None:
    x = fm.random.Stream(0).normal((4, 500, 3))
    s = fm.Sample.from_arrays(x, names=["mu", "theta[0]", "theta[1]"])
    e = s.expect(["theta", "mu"])
    same = s.expect(lambda x: x[:, [1, 2, 0]])
    np.testing.assert_array_equal(e.mean, same.mean)
    np.testing.assert_array_equal(e.stderr, same.stderr)
    assert e.names == ("theta[0]", "theta[1]", "mu")
    assert s.expect(["mu"]).mean.shape == (1,)
    with pytest.raises(KeyError, match="no parameter 'zzz'; there are mu, theta"):
        s.expect(["mu", "zzz"])
    with pytest.raises(fm.errors.ArgumentError, match="comes twice"):
        s.expect(["mu", "mu"])


HEAVY = {
    "t2": lambda rng: rng.standard_t(2, 4000),
    "t3 squared": lambda rng: rng.standard_t(3, 4000) ** 2,
    "Cauchy": lambda rng: rng.standard_cauchy(4000),
}
INNOCENT = {
    "normal": lambda rng: rng.normal(size=4000),
    "normal squared": lambda rng: rng.normal(size=4000) ** 2,
    "log-normal": lambda rng: np.exp(rng.normal(size=4000)),
    "exponential squared": lambda rng: rng.exponential(size=4000) ** 2,
    "t5": lambda rng: rng.standard_t(5, 4000),
    "t10 squared": lambda rng: rng.standard_t(10, 4000) ** 2,
}


def heavy_shares(laws: Any) -> dict[str, float]:
    """The shares of samples of chains for which a heavy tail is told."""
    shares = {}
    for name, draw in laws.items():
        n = 0
        for seed in range(20):
            x = draw(np.random.default_rng(seed)).reshape(4, 1000, 1)
            s = fm.Sample.from_arrays(x)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                s.expect(lambda x: x)
            n += any(issubclass(w.category, HeavyTailWarning) for w in caught)
        shares[name] = n / 20
    return shares


def test_values_of_infinite_variance_are_told_and_others_are_not() -> None:
    told, spared = heavy_shares(HEAVY), heavy_shares(INNOCENT)
    assert told["t2"] > 0.2
    assert told["t3 squared"] > 0.7
    assert told["Cauchy"] > 0.9
    assert max(spared.values()) <= 0.1, spared


def test_a_function_on_workers() -> None:
    x = fm.random.Stream(3).normal((4, 500, 2))
    chains = fm.Sample.from_arrays(x, names=["a", "b"])
    weighted = fm.Sample.from_arrays(x[0], log_weights=x[1, :, 0])

    def pair(x: Any) -> Any:
        return np.stack([x[:, 0] ** 2, 1j * x[:, 1]], axis=1)

    def product(a: Any, b: Any) -> Any:
        return a * b

    cases: list[tuple[Any, Any]] = [
        (chains, worker_targets.moments),
        (chains, pair),
        (chains, product),
        (chains, fm.targets.powers([[1, 1], [0, 4]])),
        (weighted, worker_targets.moments),
    ]
    with ThreadPoolExecutor(3) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample, f in cases:
            local = sample.expect(f)
            for executor in (threads, fm.executor.Sharded(threads, rows=77)):
                there = sample.expect(f, plan=executor)
                for name in ("mean", "stderr", "ess"):
                    np.testing.assert_array_equal(getattr(there, name), getattr(local, name))
        for values in (x, "a", ["a", "b"]):
            with pytest.raises(ArgumentError, match="plan: an executor given with f"):
                chains.expect(values, plan=threads)
        with pytest.raises(TargetError):
            chains.expect(lambda x: x[:3, 0], plan=threads)
    with spawned(2) as pool:
        there = weighted.expect(worker_targets.moments, plan=pool)
    np.testing.assert_array_equal(there.mean, weighted.expect(worker_targets.moments).mean)
    with pytest.raises(ArgumentError, match="plan: 3 given"):
        weighted.expect(worker_targets.moments, plan=3)
