"""Resampling, reweighting and merging of samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from samples import gaussian, run, texts, told, walks

import fermiac as fm
from fermiac.errors import ArgumentError, WeightWarning


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
    # In random order neighbours are equal no more often than any other pair.
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
    # Points outside of the support of the new target have no weight.
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
    # A resampled sample is not independent of the original.
    r = a.resample(50, rng=9)
    with pytest.raises(ArgumentError, match="seed 1"):
        r.merge(a.resample(50, rng=10))
    with pytest.raises(ArgumentError, match=r"coordinates of sample 1 \(3\)"):
        a.merge(gaussian(10, 5, d=3))
    with pytest.raises(ArgumentError, match=r"error model of sample 1 \(iid\)"):
        a.merge(fm.Sample.from_arrays(np.zeros((4, 2))))


def test_chains_do_not_pass_for_independent_points() -> None:
    walk = np.cumsum(fm.random.Stream(0).normal((4, 200, 2)), axis=1)
    for log_weights in (None, np.zeros((4, 200))):
        s = fm.Sample.from_arrays(walk, log_weights)
        assert s.error_model == "chains"
        with pytest.raises(ArgumentError, match="chains depend on each other"):
            s.resample(10)
        np.testing.assert_allclose(s.mean, walk.mean(axis=(0, 1)), rtol=1e-12)


def test_the_same_points_are_not_merged_twice() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100,)))
    with pytest.raises(ArgumentError, match="samples 0 and 1 hold the same points"):
        s.merge(s)


def test_resampling_beyond_the_memory_is_refused() -> None:
    s = fm.Sample.from_arrays([1.0, 2.0], [0.0, 0.0])
    with pytest.raises(ArgumentError, match=r"n: 8\.796 TB of memory are needed"):
        s.resample(2**40, rng=0)


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
    # Statistics that not all samples have with the same length are dropped.
    t = s.merge(replace(parts[2], stats={"energy": np.zeros((2, 1000))}))
    assert list(t.stats) == ["energy"]
    assert t.warmup_stats == {}
    assert t.n_evals == 30
    shorter = fm.Sample.from_arrays(walks(2, 999, 2), names=["p0", "p1"])
    with pytest.raises(ArgumentError, match=r"the draws of a chain of sample 1 \(999\)"):
        parts[0].merge(shorter)
    # Runs that disagree have not converged, even if each seems to have.
    away = replace(parts[1], draws=parts[1].draws + 5)
    u, given = told(lambda: parts[0].merge(away))
    assert given[0].result is u
    assert "R-hat is up to" in str(given[0])
    assert u.warnings == tuple(warning.args[0] for warning in given)


def test_merging_mends_what_was_too_short() -> None:
    short = [run(walks(4, 60, 1, 0.6, seed=k)) for k in range(2)]
    blamed = [replace(s, warnings=("kept", *texts(s))) for s in short]
    assert all(len(s.warnings) > 1 for s in blamed)
    merged, _ = told(lambda: blamed[0].merge(blamed[1]))
    assert merged.warnings == ("kept", *texts(merged))


def test_chains_are_not_resampled() -> None:
    with pytest.raises(ArgumentError, match="chains depend on each other"):
        run().resample(10)
    with pytest.raises(ArgumentError, match="'nested'; reweight takes independent points or"):
        replace(run(), error_model="nested").reweight(np.zeros((4, 1000)), old=np.zeros((4, 1000)))
    with pytest.warns(WeightWarning, match="heavy tail"):
        run().reweight(5 * run().draws[..., 0], old=np.zeros((4, 1000)))


def test_replicates_are_reweighted_with_an_error_from_their_spread() -> None:
    law, other = fm.distributions.Normal(), fm.distributions.Normal(0.3)
    kept = fm.importance.expect(
        lambda x: x[:, 0], law, n=20_000, method="mc", points="sobol", keep_draws=True, rng=0
    ).sample
    assert kept is not None
    new = kept.reweight(other, old=law)
    assert new.error_model == "replicas"
    answer = new.expect(lambda x: x[:, 0])
    assert answer.df == len(kept.draws) - 1
    assert abs(answer.mean - 0.3) < 5 * answer.stderr
    assert answer.stderr < 0.002
    for one in (kept.draws[:1], kept.draws[0]):
        sample = fm.Sample.from_arrays(one)
        with pytest.raises(ArgumentError, match="'replicas' given for draws of shape"):
            replace(sample, error_model="replicas").expect(lambda x: x[:, 0])


def test_constrained_draws_are_reweighted_from_their_own_density(tmp_path: Path) -> None:
    old, new = fm.distributions.Gamma(3.0), fm.distributions.Gamma(3.2)
    s = fm.mcmc.sample(old, transforms={0: "log"}, path=tmp_path / "run", rng=0)
    s.save(tmp_path / "file")
    # With the log-densities of the unconstrained points the mean would be 2.2.
    for sample in (s, fm.load(tmp_path / "run"), fm.load(tmp_path / "file")):
        assert isinstance(sample, fm.Sample)
        assert sample.settings["transforms"] == "(above(0.0),)"
        with pytest.raises(ArgumentError, match="unconstrained parameters"):
            sample.reweight(new)
    turned = s.reweight(new, old=old)
    e = turned.expect(lambda x: x[:, 0])
    assert abs(e.mean - 3.2) < 5 * e.stderr
    # The log-densities of the reweighted sample are those of its draws.
    back = turned.reweight(old).expect(lambda x: x[:, 0])
    assert abs(back.mean - 3) < 5 * back.stderr
