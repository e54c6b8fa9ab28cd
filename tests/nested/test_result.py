"""Tests of results of exact runs: volumes, weights, reweighting, files."""

from __future__ import annotations

import json
from pathlib import Path

import nested_reference as reference
import numpy as np
import pytest
from nested_help import result_of
from same_results import same

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError, WeightWarning
from fermiac.nested import NestedResult

GAUSSIAN = reference.gaussian(3, 0.1)


@pytest.fixture(scope="module")
def run() -> NestedResult:
    return result_of(GAUSSIAN, 1, 200, 25, names=("a", "b", "c"))


@pytest.fixture(scope="module")
def runs() -> list[NestedResult]:
    return [result_of(GAUSSIAN, seed) for seed in range(100)]


def test_volumes_are_those_of_the_formulas() -> None:
    run = result_of(GAUSSIAN, 1, 60, 7)
    alive = reference.n_alive(run.log_likelihoods, run.births)
    expected = reference.volumes(run.log_likelihoods, alive)
    np.testing.assert_array_equal(run.n_alive, alive)
    np.testing.assert_allclose(run.log_x, expected["log_x"], rtol=1e-12)
    np.testing.assert_allclose(run.log_prior_masses, expected["log_prior_masses"], atol=1e-9)
    assert run.log_evidence == pytest.approx(expected["log_evidence"], abs=1e-10)
    assert run.log_evidence_stderr == pytest.approx(expected["log_evidence_stderr"], rel=1e-6)
    assert run.information == pytest.approx(expected["information"], abs=1e-9)
    assert run.ess == pytest.approx(expected["ess"], rel=1e-9)
    assert np.exp(run.log_prior_masses).sum() == pytest.approx(1.0, abs=1e-12)
    # The mean of the weights is the evidence, as of every sample with unnormalised weights.
    assert run.log_weights is not None
    mean = np.logaddexp.reduce(run.log_weights) - np.log(run.n_draws)
    assert mean == pytest.approx(run.log_evidence, abs=1e-10)
    np.testing.assert_array_equal(run.log_densities, run.log_likelihoods)


def test_the_order_of_the_points_given_does_not_matter() -> None:
    raw = reference.perfect_run(reference.terraces(), 50, 7, 3)
    shuffled = np.random.default_rng(0).permutation(len(raw["draws"]))
    a = result_of(GAUSSIAN, 0, raw=raw)
    b = result_of(GAUSSIAN, 0, raw={k: v[shuffled] for k, v in raw.items()})
    for name in ("draws", "unit_draws", "births", "lineages", "families", "log_weights", "log_x"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (np.diff(a.log_likelihoods) >= 0).all()


def test_lineages_follow_from_births() -> None:
    raw = reference.perfect_run(GAUSSIAN, 50, 1, 3)
    bare = {k: raw[k] for k in ("draws", "log_likelihoods", "births")}
    a, b = result_of(GAUSSIAN, 0, raw=raw), result_of(GAUSSIAN, 0, raw=bare)
    # One replacement at a time: there is but one who can have left the place.
    pairs = set(zip(a.lineages.tolist(), b.lineages.tolist(), strict=True))
    assert len(pairs) == 50
    assert b.unit_draws is None
    np.testing.assert_array_equal(b.families, b.lineages)


def test_what_is_said(run: NestedResult) -> None:
    head = repr(run).splitlines()[0]
    error = f"{run.log_evidence_stderr:.2f}"
    assert head == (
        f"NestedResult: log Z = {run.log_evidence:.2f} ± {error}, H {run.information:.3g} nats, "
        f"ESS {run.ess:.0f}, n live 200"
    )
    text = str(run.summary())
    assert text.startswith(head)
    assert "ranks of new points   z = 0.25" in text
    assert f"{run.n_evals}, of which 33.33% became dead points" in text
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ["a", "b", "c"]
    stopped = result_of(GAUSSIAN, 1, converged=False, status="stopped", warnings=("too short",))
    assert "stopped, not converged" in str(stopped.summary())
    assert str(stopped.summary()).endswith("warning: too short")


def test_the_unbiased_evidence(runs: list[NestedResult]) -> None:
    ratios = np.exp([r.log_evidence_unbiased - GAUSSIAN.log_evidence for r in runs])
    error = ratios.std(ddof=1) / 10
    assert abs(ratios.mean() - 1) < 5 * error
    few = [result_of(GAUSSIAN, seed, 8, 1) for seed in range(100)]
    unbiased = np.exp([r.log_evidence_unbiased - GAUSSIAN.log_evidence for r in few])
    plain = np.exp([r.log_evidence - GAUSSIAN.log_evidence for r in few])
    assert abs(unbiased.mean() - 1) < 5 * unbiased.std(ddof=1) / 10
    # What has no bias as a logarithm is too large as a number: by a third here.
    assert plain.mean() > unbiased.mean() + 0.1


def test_equal_weights(run: NestedResult) -> None:
    s = run.posterior(rng=0)
    assert (s.error_model, s.n_draws) == ("iid", round(float(run.ess)))
    assert s.names == run.names
    np.testing.assert_allclose(s.cov, run.cov, atol=0.003)
    assert s.log_densities is not None
    # In random order: no rise of the log-likelihood from the first half to the second.
    first, second = np.array_split(s.log_densities, 2)
    assert abs(first.mean() - second.mean()) < 5 * np.std(s.log_densities) * 2 / np.sqrt(len(first))
    assert run.posterior(7, rng=1).n_draws == 7


def test_reweighting(run: NestedResult) -> None:
    wider = reference.gaussian(3, 0.15)
    new = run.reweight(lambda x: -0.5 * np.sum(x**2, axis=1) / 0.15**2)
    assert type(new) is NestedResult
    assert new.is_reweighted
    assert not run.is_reweighted
    np.testing.assert_array_equal(new.log_prior_masses, run.log_prior_masses)
    assert abs(new.log_evidence - wider.log_evidence) < 4 * new.log_evidence_stderr
    assert new.log_evidence_stderr == pytest.approx(np.std(new.simulate(2000, rng=0)), rel=0.08)
    np.testing.assert_allclose(np.diag(new.cov), 0.15**2, rtol=0.3)
    e = new.expect(lambda x: x[:, 0] ** 2)
    assert abs(e.mean - 0.15**2) < 5 * e.stderr
    # Without likelihood it is the prior, whose evidence is known exactly.
    prior = run.reweight(np.zeros(run.n_draws))
    assert prior.log_evidence == pytest.approx(0, abs=1e-12)
    assert prior.log_evidence_stderr == pytest.approx(0, abs=1e-12)
    assert prior.information == pytest.approx(0, abs=1e-12)
    e = prior.expect(lambda x: np.sum(x**2, axis=1))
    assert abs(e.mean - 0.6) < 5 * e.stderr
    again = new.reweight(run.log_likelihoods)
    assert again.log_evidence == pytest.approx(run.log_evidence, abs=1e-10)
    assert not again.is_reweighted


def test_reweighting_to_another_prior(run: NestedResult) -> None:
    inside = np.where(np.sum(run.draws**2, axis=1) < 0.25, np.log(8.0), -np.inf)
    new = run.reweight(inside, old=np.zeros(run.n_draws))
    # All of the likelihood lies within half the radius, an eighth of the prior.
    assert new.log_evidence == pytest.approx(run.log_evidence + np.log(8), abs=0.01)


def test_errors_of_reweighted_averages() -> None:
    scores = []
    for seed in range(50):
        run = result_of(GAUSSIAN, seed, 200, 50)
        r = run.reweight(lambda x: -0.5 * np.sum(x**2, axis=1) / 0.15**2)
        e = r.expect(np.column_stack([r.draws[:, 0], r.draws[:, 0] ** 2]))
        scores.append((e.mean - [0, 0.15**2]) / e.stderr)
    # The scatter of 50 numbers is known to 10 %.
    assert np.all(np.mean(np.abs(scores) < np.array(2), axis=0) >= 0.84)
    assert np.all((np.std(scores, axis=0) > 0.7) & (np.std(scores, axis=0) < 1.35))
    assert np.all(np.abs(np.mean(scores, axis=0)) < 0.6)


def test_reweighting_that_fails(run: NestedResult) -> None:
    with pytest.warns(WeightWarning, match="a few lineages carry") as caught:
        far = run.reweight(lambda x: -0.5 * np.sum((x - 0.2) ** 2, axis=1) / 0.005**2)
    assert caught[0].message.result is far  # type: ignore[union-attr]
    assert far.warnings
    with pytest.raises(ArgumentError, match="0 at every point"):
        run.reweight(np.full(run.n_draws, -np.inf))
    with pytest.raises(TargetError, match="it must be a number"):
        run.reweight(np.full(run.n_draws, np.nan))
    with pytest.raises(ArgumentError, match="old: its density is 0"):
        run.reweight(np.zeros(run.n_draws), old=np.full(run.n_draws, -np.inf))


def test_saved_and_loaded(run: NestedResult, tmp_path: Path) -> None:
    raw = reference.perfect_run(GAUSSIAN, 20, 2, 1)
    raw["blobs"] = np.arange(2 * len(raw["draws"])).reshape(-1, 2)
    trace = {"level": np.arange(3.0), "n_evals": np.arange(3)}
    full = result_of(GAUSSIAN, 1, raw=raw, trace=trace)
    for i, result in enumerate((run, full)):
        path = tmp_path / f"{i}.safetensors"
        result.save(path)
        loaded = fm.load(path)
        assert type(loaded) is NestedResult
        assert same(
            {k: v for k, v in vars(result).items() if k != "log_evidence_samples"}, vars(loaded)
        )
        assert repr(loaded) == repr(result)
        assert loaded.expect(loaded.draws[:, 0]).stderr == result.expect(result.draws[:, 0]).stderr
    plain = run.to_dict()
    assert json.loads(json.dumps(plain))["log_evidence"] == run.log_evidence
    assert plain["lineages"] == run.lineages.tolist()


def test_plateaus() -> None:
    terraces = reference.terraces()
    off = []
    for seed in range(100):
        r = result_of(terraces, seed, 100, 10)
        off.append(r.log_evidence - terraces.log_evidence)
    assert abs(np.mean(off)) < 5 * np.std(off) / 10
    assert np.std(off) == pytest.approx(r.log_evidence_stderr, rel=0.3)


def test_a_constant_likelihood() -> None:
    n = 50
    x = np.random.default_rng(0).random((n, 2))
    raw = {"draws": x, "log_likelihoods": np.full(n, -7.5), "births": np.full(n, -np.inf)}
    r = result_of(GAUSSIAN, 0, raw=raw)
    assert r.log_evidence == -7.5
    assert r.log_evidence_stderr == pytest.approx(0, abs=1e-12)
    assert r.information == 0
    np.testing.assert_array_equal(r.n_alive, np.arange(n, 0, -1))
    assert abs(r.expect(x[:, 0]).mean - 0.5) < 0.2


def test_points_without_likelihood() -> None:
    problem = reference.half_forbidden()
    off = []
    for seed in range(40):
        r = result_of(problem, seed)
        off.append(r.log_evidence - problem.log_evidence)
        forbidden = r.log_likelihoods == -np.inf
        assert forbidden.any()
        # Of N0 points of which m are alive after these deaths, about the share m / N0 is left.
        left = np.mean(~forbidden[r.births == -np.inf])
        assert np.exp(r.log_x[forbidden.sum() - 1]) == pytest.approx(left, rel=0.02)
    assert abs(np.mean(off)) < 5 * np.std(off) / np.sqrt(40)
    assert np.isfinite(r.expect(lambda x: x[:, 0]).stderr)
    assert np.isfinite(r.information)
    assert r.n_live == 100


def test_single_point() -> None:
    r = result_of(
        GAUSSIAN,
        0,
        raw={"draws": [[0.5]], "log_likelihoods": [-2.0], "births": [-np.inf]},
    )
    assert r.log_evidence == -2.0
    assert r.log_evidence_unbiased == -2.0


def test_points_that_no_run_leaves() -> None:
    raw = reference.perfect_run(GAUSSIAN, 20, 2, 1)
    with pytest.raises(ArgumentError, match="births"):
        result_of(GAUSSIAN, 0, raw=raw | {"births": raw["births"] + 1e6})
    with pytest.raises(ArgumentError, match="births: an array of shape"):
        result_of(GAUSSIAN, 0, raw=raw | {"births": raw["births"][1:]})
    with pytest.raises(ArgumentError, match="log_likelihoods"):
        result_of(GAUSSIAN, 0, raw=raw | {"log_likelihoods": raw["log_likelihoods"] * np.nan})


def test_arguments(run: NestedResult) -> None:
    with pytest.raises(ArgumentError, match="by: 'point' was given"):
        run.bootstrap(by="point")
    with pytest.raises(ArgumentError, match="n: 1 was given"):
        run.simulate(1)
