"""Samples of Markov chains: errors of averages, tables, what is found wrong, what is kept."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, WeightWarning
from fermiac.results.chain_summary import findings

Array = NDArray[np.float64]


def walks(chains: int, draws: int, d: int = 1, rho: float = 0.8, *, seed: int = 0) -> Array:
    """Stationary chains with the law N(0, 1) and the correlations rho^t."""
    x = fm.random.Stream(seed).normal((chains, draws, d))
    x[:, 1:] *= np.sqrt(1 - rho**2)
    for t in range(1, draws):
        x[:, t] += rho * x[:, t - 1]
    return x


def variance_of_mean(chains: int, draws: int, rho: float) -> float:
    """That of the mean of such chains."""
    t = np.arange(1, draws)
    return float((1 + 2 * np.sum((1 - t / draws) * rho**t)) / (chains * draws))


def run(draws: Array | None = None, **stats: Any) -> fm.Sample:
    x = walks(4, 1000, 2, 0.3) if draws is None else draws
    return replace(
        fm.Sample.from_arrays(x, names=[f"p{j}" for j in range(x.shape[2])]), stats=stats
    )


def told(call: Callable[[], Any]) -> tuple[Any, list[FermiacWarning]]:
    """What a call gives, and all that it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [w.message for w in caught if isinstance(w.message, FermiacWarning)]


def texts(sample: fm.Sample) -> list[str]:
    found = findings(sample)
    assert all(category is ConvergenceWarning for category, _ in found)
    return [text for _, text in found]


# Averages and their errors.


@pytest.mark.parametrize(("chains", "rho"), [(4, 0.8), (4, -0.5), (1, 0.5)])
def test_errors_of_means_are_those_of_autoregressive_chains(chains: int, rho: float) -> None:
    columns, draws = 500, 2000 // chains
    s = fm.Sample.from_arrays(walks(chains, draws, columns, rho, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        e = s.expect(lambda x: x)
    true = variance_of_mean(chains, draws, rho)
    # Of independent columns: a binomial number of pulls, a mean of squared errors.
    within = np.mean(abs(e.mean / e.stderr) < 2)
    assert abs(within - 0.9545) < 5 * np.sqrt(0.9545 * 0.0455 / columns)
    assert abs(np.mean(e.stderr**2) / true - 1) < 0.1
    assert abs(np.mean(e.mean**2 / e.stderr**2) - 1) < 0.1 + 5 * np.sqrt(2 / columns)
    np.testing.assert_allclose(e.stderr, fm.diagnostics.mcse(s.draws), rtol=1e-10)
    np.testing.assert_allclose(e.ess, fm.diagnostics.ess(s.draws, kind="mean"), rtol=1e-10)
    np.testing.assert_allclose(e.stderr, np.sqrt(np.diag(e.cov)), rtol=1e-14)


def test_the_covariance_of_averages() -> None:
    x = walks(4, 2000, 3, 0.7, seed=2)
    y = np.stack([x[..., 0], 0.6 * x[..., 0] + 0.8 * x[..., 1], x[..., 2]], axis=2)
    e = fm.Sample.from_arrays(y).expect(lambda x: x)
    correlation = e.cov / np.outer(e.stderr, e.stderr)
    # Some 180 batches.
    for pair, true in {(0, 1): 0.6, (0, 2): 0.0, (1, 2): 0.0}.items():
        assert abs(correlation[pair] - true) < 5 / np.sqrt(180)
    assert np.linalg.eigvalsh(e.cov).min() > 0
    # The mean of the difference, by itself and by the delta method.
    s = fm.Sample.from_arrays(y)
    direct = s.expect(lambda x: x[:, 1] - x[:, 0])
    delta = e.transform(lambda m: m[1] - m[0])
    assert delta.mean == pytest.approx(direct.mean, abs=1e-14)
    assert delta.stderr == pytest.approx(direct.stderr, rel=0.2)


def test_stein_controls_are_exact_for_polynomials_of_a_gaussian() -> None:
    cov = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])
    mean = np.array([3.0, -1.0, 100.0])
    x = mean + walks(4, 500, 3, 0.9, seed=3) @ np.linalg.cholesky(cov).T
    s = fm.Sample.from_arrays(x, gradients=-(x - mean) @ np.linalg.inv(cov))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = s.expect(lambda x: np.column_stack([x, x[:, 0] * x[:, 1]]), controls="stein")
    np.testing.assert_allclose(e.mean, [*mean, mean[0] * mean[1] + cov[0, 1]], rtol=1e-11)
    assert np.all(e.stderr < 1e-11)


@pytest.mark.parametrize("controls", ["stein", "given"])
def test_errors_with_controls(controls: str) -> None:
    def f(x: Array) -> Array:
        return np.cos(x[:, 0] + 1)

    true = np.exp(-0.5) * np.cos(1)
    pulls, gains = [], []
    for seed in range(100):
        x = walks(4, 300, 1, 0.6, seed=seed)
        s = fm.Sample.from_arrays(x, gradients=-x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            e = s.expect(f, controls="stein" if controls == "stein" else x[..., :1])
            gains.append(s.expect(f).stderr / e.stderr)
        pulls.append((e.mean - true) / e.stderr)
    assert abs(np.mean(np.square(pulls)) - 1) < 0.1 + 5 * np.sqrt(2 / 100)
    assert abs(np.mean(pulls)) < 5 / np.sqrt(100)
    assert np.mean(gains) > (2 if controls == "stein" else 1.2)


def test_weighted_chains() -> None:
    """The error accounts for weights and for dependence: chains of N(0, 1), weighted to N(1/2)."""
    pulls, ratios = [], []
    for seed in range(100):
        x = walks(4, 500, 1, 0.8, seed=seed)
        s = fm.Sample.from_arrays(x, log_densities=-(x[..., 0] ** 2) / 2)
        s = replace(s, stats={"diverging": np.zeros((4, 500), bool)})
        t = s.reweight(lambda x: -((x[:, 0] - 0.5) ** 2) / 2)
        assert t.error_model == "chains"
        assert "diverging" in t.stats
        e, _ = told(lambda t=t: t.expect(lambda p: p[:, 0]))
        weights = t.weights.ravel()
        independent = np.sqrt(np.sum((weights * (x.ravel() - e.mean)) ** 2))
        pulls.append((e.mean - 0.5) / e.stderr)
        ratios.append(e.stderr / independent)
    assert abs(np.mean(np.square(pulls)) - 1) < 0.15 + 5 * np.sqrt(2 / 100)
    assert 2 < np.mean(ratios) < 3  # √9 for x itself
    assert "weighted: ESS" in repr(t)
    assert "mcse_mean" in t.summary()
    even = replace(s, log_weights=np.zeros((4, 500)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert even.expect(lambda x: x[:, 0]).stderr == pytest.approx(
            s.expect(lambda x: x[:, 0]).stderr, rel=1e-3
        )
    with pytest.raises(ArgumentError, match="give resample=False"):
        t.to_arviz()


def test_complex_and_constant_functions() -> None:
    s = run()
    e = s.expect(lambda x: np.exp(1j * x[:, 0]))
    parts = s.expect(lambda x: np.column_stack([np.cos(x[:, 0]), np.sin(x[:, 0])]))
    assert e.mean == pytest.approx(complex(*parts.mean))
    assert e.stderr == pytest.approx(np.hypot(*parts.stderr))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = s.expect(lambda x: np.full(len(x), 0.1))
    assert constant.mean == pytest.approx(0.1, rel=1e-15)
    assert constant.stderr < 1e-16


def test_what_has_not_converged_is_announced() -> None:
    apart = walks(4, 500, 2, 0.3)
    apart[0, :, 1] += 3
    s = fm.Sample.from_arrays(apart)
    e, (rhat, ess) = told(lambda: s.expect(lambda x: x, names=["a", "b"]))
    assert isinstance(rhat, ConvergenceWarning)
    assert isinstance(ess, ConvergenceWarning)
    assert rhat.result is e
    assert "(b), above 1.01" in str(rhat)
    assert "(b), below 400, that is 100 a chain" in str(ess)
    # What controls explain is exact even so.
    gaussian = fm.Sample.from_arrays(apart, gradients=-apart)
    e, given = told(lambda: gaussian.expect(lambda x: x[:, 1], controls="stein"))
    assert abs(e.mean) < 1e-14
    assert given == []
    # A single chain is compared with itself.
    trend = walks(1, 500, 1, 0.0) + np.linspace(0, 3, 500)[None, :, None]
    _, (rhat, _) = told(lambda: fm.Sample.from_arrays(trend).expect(lambda x: x[:, 0]))
    assert "R-hat" in str(rhat)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fm.Sample.from_arrays(walks(1, 500, 1, 0.0)).expect(lambda x: x[:, 0])


def test_slow_chains_with_right_gradients_have_controls_of_mean_zero() -> None:
    """Errors as of independent draws would put the mean of the controls far from zero."""
    for seed in range(10):
        x = walks(4, 2000, 1, 0.99, seed=seed)
        s = fm.Sample.from_arrays(x, gradients=-x)
        _, given = told(lambda s=s: s.expect(lambda p: np.exp(p[:, 0]), controls="stein", degree=1))
        assert not any("mean of the controls" in str(w) for w in given)


def test_the_bits_do_not_depend_on_threads(thread_counts: tuple[int, ...]) -> None:
    x = walks(3, 2000, 6, 0.1)
    s = fm.Sample.from_arrays(x, gradients=-x)
    got = [s.expect(lambda x: np.sin(x), controls="stein", n_threads=t) for t in thread_counts]
    for e in got[1:]:
        np.testing.assert_array_equal(e.mean, got[0].mean)
        np.testing.assert_array_equal(e.cov, got[0].cov)


def test_scale_does_not_matter() -> None:
    x = walks(4, 500, 1, 0.5)
    ess = fm.Sample.from_arrays(x).expect(lambda x: x[:, 0]).ess
    for scale in (1e-150, 1e150):
        e = fm.Sample.from_arrays(x).expect(lambda x, c=scale: c * x[:, 0])
        assert e.ess == pytest.approx(ess, rel=1e-9)
    tiny = fm.Sample.from_arrays(1e-30 * x).summary().split("\n")[2].split()
    assert float(tiny[6]) == pytest.approx(1e-30 / np.sqrt(ess), rel=0.1)


def test_quantiles() -> None:
    x = walks(4, 1000, 2, 0.7)
    s = fm.Sample.from_arrays(x)
    q = [0.0001, 0.1, 0.5]
    value, error = s.quantile(q, return_stderr=True)
    np.testing.assert_allclose(value, np.quantile(x.reshape(-1, 2), q, axis=0))
    assert np.isinf(error[0]).all()
    for k in (1, 2):
        mcse = fm.diagnostics.mcse(x, kind="quantile", prob=q[k])
        np.testing.assert_allclose(error[k], mcse, rtol=1e-12)
    weighted = replace(s, log_weights=np.zeros((4, 1000)))
    np.testing.assert_allclose(weighted.quantile(0.5, return_stderr=True)[1], error[2], rtol=0.2)
    assert s.quantile(0.5).shape == (2,)


def test_chains_that_are_too_short() -> None:
    s = fm.Sample.from_arrays(np.arange(12.0).reshape(2, 3, 2))
    assert repr(s) == "Sample of 2 chains × 3 draws in 2 dimensions"
    assert "mcse" not in s.summary().split("\n")[1]
    assert texts(s) == ["chains of 3 draws are too short to judge; draw 100 of each at least"]
    with pytest.raises(ArgumentError, match="2 chains of 3 draws given; 4 draws are needed"):
        s.expect(lambda x: x)
    one = fm.Sample.from_arrays(np.arange(2.0).reshape(1, 1, 2))
    assert "Sample of 1 chain × 1 draws" in one.summary()
    assert repr(fm.Sample.from_arrays(np.arange(6.0).reshape(1, 6, 1))).startswith(
        "Sample of 1 chain × 6 draws in 1 dimension: ESS ≥ "
    )


# What is said of a run.


def test_a_good_run_is_not_blamed() -> None:
    energy = walks(4, 1000, 1, 0.0)[..., 0]
    s = run(
        energy=energy,
        diverging=np.zeros((4, 1000), bool),
        acceptance_rate=np.full((4, 1000), 0.8),
        reached_max_depth=np.arange(4000).reshape(4, 1000) < 30,
    )
    assert findings(s) == ()
    assert findings(run()) == ()
    assert findings(run(energy=np.full((4, 1000), np.nan))) == ()


def test_what_is_wrong_with_a_run() -> None:
    flags = np.zeros((4, 1000), bool)
    flags[1, :12] = True
    (text,) = texts(run(diverging=flags))
    assert text.startswith("12 of 4000 transitions (0.3 %) diverged")
    assert "raise the target acceptance" in text
    (text,) = texts(run(**{"x.diverging": flags, "y.diverging": ~flags & False}))
    assert text.startswith("12 of 4000 transitions of block x (0.3 %) diverged")
    rates = np.full((4, 1000), 0.7)
    rates[2:] = 1e-5
    (text,) = texts(run(acceptance_rate=rates))
    assert text.startswith(
        "2 of 4 chains stand still, with a mean acceptance of 1e-05: the run has"
    )
    energy = walks(4, 1000, 1, 0.99)[..., 0]
    (text,) = texts(run(energy=energy))
    least = fm.diagnostics.bfmi(energy).min()
    assert text.startswith(f"E-BFMI is down to {least:.2f}, below 0.3")
    depth = np.arange(4000).reshape(4, 1000) % 4 == 0
    (text,) = texts(run(reached_max_depth=depth))
    assert text.startswith("25 % of the transitions reached the largest tree depth")


def test_the_worst_coordinates_are_named() -> None:
    x = walks(4, 1000, 50, 0.3)
    x[0, :, [3, 7, 30, 41]] += np.array([1, 4, 2, 3])[:, None]
    first, second, *_ = texts(fm.Sample.from_arrays(x))
    rhat = fm.diagnostics.rhat(x)
    assert first.startswith(f"R-hat is up to {rhat[7]:.4g} (x[7], x[41], x[30] and 1 more)")
    assert second.startswith("the bulk ESS is down to ")
    assert "(x[7], x[41], x[30] and 1 more) and the tail ESS is down to" in second


def test_the_table() -> None:
    x = walks(4, 1000, 3, 0.6)
    s = fm.Sample.from_arrays(x, names=["a", "b", "long name"])
    lines = s.summary().split("\n")
    assert lines[1].split() == "name mean sd 5% 50% 95% mcse_mean ess_bulk ess_tail rhat".split()
    shown = np.array([line[9:].split() for line in lines[2:5]], float)
    points = x.reshape(-1, 3)
    table = [
        points.mean(axis=0),
        points.std(axis=0, ddof=1),
        *np.quantile(points, [0.05, 0.5, 0.95], axis=0),
        fm.diagnostics.mcse(x),
        fm.diagnostics.ess(x),
        fm.diagnostics.ess(x, kind="tail"),
        fm.diagnostics.rhat(x),
    ]
    np.testing.assert_allclose(shown, np.transpose(table), rtol=6e-4)
    assert lines[5:] == ["4 chains × 1000 draws"]
    headline = repr(s)
    least = min(table[6].min(), table[7].min())
    assert headline == (
        f"Sample of 4 chains × 1000 draws in 3 dimensions: R-hat ≤ {table[8].max():.3f}, "
        f"ESS ≥ {least:.0f}"
    )


def test_long_tables_are_cut_and_show_the_worst() -> None:
    x = walks(2, 400, 120, 0.2)
    x[0, :, 110] += 5
    s = fm.Sample.from_arrays(x)
    lines = s.summary().split("\n")
    assert lines[2 + 39].startswith("x[39] ")
    rhat = fm.diagnostics.rhat(x[..., 110])
    assert lines[2 + 40].startswith(
        f"… and 80 more; of all, the largest R-hat is {rhat:.3f} (x[110])"
    )
    assert repr(s).endswith("in the first 100 of them")


def test_below_the_table_stands_how_the_run_went() -> None:
    flags = np.zeros((4, 1000), bool)
    flags[0, 0] = True
    s = replace(
        run(diverging=flags, energy=walks(4, 1000, 1, 0.0)[..., 0], reached_max_depth=~flags),
        settings={"n_warmup": 500, "bias": "discretisation"},
        seed=7,
        n_evals=123,
        wall_time=2.0,
        warnings=("told before",),
        status="interrupted",
    )
    lines = s.summary().split("\n")
    assert lines[4] == (
        "4 chains × 1000 draws after 500 of warm-up, seed 7, 123 evaluations, 2 s, interrupted"
    )
    least = fm.diagnostics.bfmi(s.stats["energy"]).min()
    assert lines[5] == (
        f"divergences 1 (0.025 %); at the largest tree depth 100 %; least E-BFMI {least:.2f}"
    )
    assert "discretisation bias" in lines[6]
    assert lines[7] == "warning: told before"
    assert lines[8].startswith("warning: 1 of 4000 transitions")
    assert len(repr(s).split("\n")) <= 6


# Statistics of the transitions.


def test_statistics_are_kept_and_checked(tmp_path: Path) -> None:
    flags = np.arange(4000).reshape(4, 1000) % 7 == 0
    depth = np.arange(4000, dtype=np.int32).reshape(4, 1000)
    s = replace(run(diverging=flags, tree_depth=depth), warmup_stats={"step_size": np.ones((4, 9))})
    s.save(tmp_path / "s.safetensors")
    t = fm.Sample.load(tmp_path / "s.safetensors")
    for name, array in s.stats.items():
        np.testing.assert_array_equal(t.stats[name], array)
        assert t.stats[name].dtype == array.dtype
    np.testing.assert_array_equal(t.warmup_stats["step_size"], np.ones((4, 9)))
    known = json.loads(json.dumps(s.to_dict()))
    assert known["stats"]["diverging"][0][0] is True
    assert run().stats == {}
    for wrong, message in [
        ({"a": np.zeros((4, 999))}, r"'a' has shape \(4, 999\); \(4, 1000\) is needed"),
        ({"a": np.array([["x"] * 1000] * 4)}, "'a' is no array of real numbers"),
        ([1], "a list given; a mapping"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            replace(s, stats=wrong)
    with pytest.raises(ArgumentError, match=r"'a' has shape \(3, 5\); \(4, n_warmup\) is needed"):
        replace(s, warmup_stats={"a": np.zeros((3, 5))})
    with pytest.raises(ArgumentError, match="arrays of different lengths"):
        replace(s, warmup_stats={"a": np.zeros((4, 5)), "b": np.zeros((4, 6))})
    points = fm.Sample.from_arrays(np.zeros((5, 2)))
    with pytest.raises(ArgumentError, match="not those of chains"):
        replace(points, stats={"a": np.zeros((5, 1))})


def test_runs_are_merged_chain_by_chain() -> None:
    parts = [
        replace(
            run(
                walks(2, 1000, 2, 0.3, seed=k),
                energy=np.full((2, 1000), k),
                n_steps=np.ones((2, 1000)),
            ),
            seed=k,
            n_evals=10,
            warmup_stats={"step_size": np.full((2, 5 + k // 2), k)},
        )
        for k in range(3)
    ]
    s = parts[0].merge(parts[1])
    assert s.draws.shape == (4, 1000, 2)
    assert s.error_model == "chains"
    assert s.stats["energy"][:, 0].tolist() == [0, 0, 1, 1]
    assert s.warmup_stats["step_size"].shape == (4, 5)
    assert s.settings["seeds"] == (0, 1)
    assert s.warnings == ()
    # What not all have, or not as long, is left out.
    t = s.merge(replace(parts[2], stats={"energy": np.zeros((2, 1000))}))
    assert list(t.stats) == ["energy"]
    assert t.warmup_stats == {}
    assert t.n_evals == 30
    shorter = fm.Sample.from_arrays(walks(2, 999, 2), names=["p0", "p1"])
    with pytest.raises(ArgumentError, match=r"the draws of a chain of sample 1 \(999\)"):
        parts[0].merge(shorter)
    # Runs that disagree have not converged, whatever each says of itself.
    away = replace(parts[1], draws=parts[1].draws + 5)
    u, given = told(lambda: parts[0].merge(away))
    assert given[0].result is u
    assert "R-hat is up to" in str(given[0])
    assert u.warnings == tuple(map(str, given))


def test_merging_mends_what_was_too_short() -> None:
    short = [run(walks(4, 60, 1, 0.6, seed=k)) for k in range(2)]
    blamed = [replace(s, warnings=("kept", *texts(s))) for s in short]
    assert all(len(s.warnings) > 1 for s in blamed)
    merged, _ = told(lambda: blamed[0].merge(blamed[1]))
    assert merged.warnings == ("kept", *texts(merged))


def test_chains_are_not_resampled() -> None:
    with pytest.raises(ArgumentError, match="chains depend on each other"):
        run().resample(10)
    with pytest.raises(ArgumentError, match="'replicas'; reweight takes independent points or"):
        replace(run(), error_model="replicas").reweight(
            np.zeros((4, 1000)), old=np.zeros((4, 1000))
        )
    with pytest.warns(WeightWarning, match="heavy tail"):
        run().reweight(5 * run().draws[..., 0], old=np.zeros((4, 1000)))


def test_constrained_draws_are_reweighted_from_their_own_density(tmp_path: Path) -> None:
    old, new = fm.distributions.Gamma(3.0), fm.distributions.Gamma(3.2)
    s = fm.mcmc.sample(old, transforms={0: "log"}, path=tmp_path / "run", rng=0)
    s.save(tmp_path / "file")
    # Log-densities of unconstrained points are no density of these: the mean would be 2.2.
    for sample in (s, fm.load(tmp_path / "run"), fm.load(tmp_path / "file")):
        assert isinstance(sample, fm.Sample)
        assert sample.settings["transforms"] == "(above(0.0),)"
        with pytest.raises(ArgumentError, match="unconstrained parameters"):
            sample.reweight(new)
    turned = s.reweight(new, old=old)
    e = turned.expect(lambda x: x[:, 0])
    assert abs(e.mean - 3.2) < 5 * e.stderr
    # Its own are those of its draws.
    back = turned.reweight(old).expect(lambda x: x[:, 0])
    assert abs(back.mean - 3) < 5 * back.stderr
