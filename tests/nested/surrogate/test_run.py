"""Tests of runs on surrogates: exact evidences, numbers of calls, refusals."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from nested_surrogates import BOX, DIM, EXACT, SMALL, WIDTH, Counted, gaussian, sampled

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning, TargetError
from fermiac.nested import Surrogate

EXAMPLES = Path(__file__).parents[3] / "examples"
DATA = EXAMPLES / "data"


def rough(x: Any) -> Any:
    """No smooth function comes near it; its evidence follows from one coordinate."""
    return gaussian(x) + 2.0 * np.sign(np.sin(40 * x[:, :2])).sum(axis=1)


def warned(f: Any, *, seed: int = 0, n_live: int, **options: Any) -> tuple[Any, Any]:
    """The result, and what was warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        r = fm.nested.sample(
            f,
            BOX,
            rng=seed,
            check=False,
            n_live=n_live,
            plan=fm.Plan(progress=False),
            surrogate=Surrogate(**{**SMALL, **options}),
        )
    assert all(warning.message.result is r for warning in told)  # type: ignore[union-attr]
    assert r.warnings == tuple(warning.message.args[0] for warning in told)
    return r, told


@pytest.fixture(scope="module")
def cosmology() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_cosmology", EXAMPLES / "_cosmology.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hubble(cosmology: ModuleType) -> tuple[Any, Any, float]:
    """The likelihood of the Hubble rates with five parameters, its prior, the exact evidence."""
    model = cosmology.MODELS["errors"]
    f = cosmology.log_likelihood(model, cosmology.load(DATA / "hubble_rates.csv"))
    laws = {"uniform": fm.distributions.Uniform, "normal": fm.distributions.Normal}
    prior = [laws[kind](a, b) for kind, a, b in model.prior.values()]
    known = cosmology.load_known(DATA / "cosmology_values.csv")["errors"]
    return f, prior, known["log_evidence"]


def test_gaussian_evidence_and_posterior() -> None:
    pulls, moments = [], []
    for seed in range(5):
        f = Counted(gaussian)
        r = sampled(f, seed=seed, n_live=200)
        s = r.surrogate
        assert not s.rejected
        assert not s.biased
        assert (
            f.n
            == s.n_true
            == r.n_evals
            == sum((s.n_pilot, s.n_gate, s.n_guarded, s.n_audit, s.n_corrected))
        )
        pulls.append((r.log_evidence - EXACT) / r.log_evidence_stderr)
        e = r.expect(lambda x: x**2)
        moments.append((e.mean - WIDTH**2) / e.stderr)
        # Where it matters the likelihood is known, not guessed.
        heavy = r.log_weights > r.log_weights.max() - 5
        np.testing.assert_allclose(r.log_densities[heavy], gaussian(r.draws[heavy]), rtol=1e-12)
    assert np.abs(pulls).max() < 5
    assert np.square(pulls).sum() < 20.5  # 99.9 % of chi-square with five degrees of freedom
    assert np.abs(moments).max() < 5


def test_hubble_rates_for_a_fifth_of_the_calls(hubble: tuple[Any, Any, float]) -> None:
    f, prior, exact = hubble
    plain = Counted(f)
    pulls = []
    asked = 0
    for seed in (1, 2):
        reference = fm.nested.sample(plain, prior, rng=seed, plan=fm.Plan(progress=False))
        counted = Counted(f)
        r = sampled(counted, prior, seed)
        assert not r.surrogate.rejected
        assert counted.n == r.surrogate.n_true
        asked += counted.n
        # Both by prior masses: a run on a surrogate has no evidence from all points.
        assert r.log_evidence_stderr < 1.1 * reference.log_evidence_volumes_stderr
        pulls.append((r.log_evidence - exact) / r.log_evidence_stderr)
    assert 5 * asked < plain.n
    assert np.abs(pulls).max() < 5


def test_what_cannot_be_learnt_is_refused() -> None:
    f = Counted(rough)
    r, told = warned(f, seed=3, n_live=100, pilot_evals=1000)
    assert told[0].category is ConvergenceWarning
    assert "the surrogate was refused" in str(told[0].message)
    assert told[0].filename == __file__
    s = r.surrogate
    assert s.rejected
    assert s.reason
    assert s.n_plain > 0
    assert f.n == s.n_true == r.n_evals
    assert r.status == "complete"
    assert "refused" in repr(s)
    # It is the run that would have been made without a surrogate.
    plain = fm.nested.sample(rough, BOX, n_live=100, rng=3, plan=fm.Plan(progress=False))
    np.testing.assert_array_equal(r.draws, plain.draws)
    assert r.log_evidence == plain.log_evidence
    x = np.linspace(-3, 5, 400_001)
    one = np.exp(-0.5 * (x / WIDTH) ** 2 + 2 * np.sign(np.sin(40 * x))).mean()
    exact = EXACT * (DIM - 2) / DIM + 2 * np.log(one)
    assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr


def test_cheap_likelihoods_are_warned_of() -> None:
    _, told = warned(gaussian, n_live=50)
    assert [w.category for w in told] == [FermiacWarning]
    assert "too little for a gain from a surrogate" in str(told[0].message)


def test_bits_do_not_depend_on_threads() -> None:
    one, two = (sampled(gaussian, n_live=60, plan=fm.Plan(n_threads=n)) for n in (1, 2))
    assert one.log_evidence == two.log_evidence
    np.testing.assert_array_equal(one.draws, two.draws)
    np.testing.assert_array_equal(one.log_likelihoods, two.log_likelihoods)


def test_errors_of_the_likelihood_pass() -> None:
    def late(x: Any) -> Any:
        return np.where(x[:, 0] > 4.9, np.nan, gaussian(x))

    with pytest.raises(TargetError, match="nan"):
        sampled(late, n_live=100)
    r = sampled(late, n_live=100, on_nan="-inf")
    assert abs(r.log_evidence - EXACT) < 5 * r.log_evidence_stderr


def test_partial_results_are_of_the_space_of_the_parameters() -> None:
    s = sampled(gaussian, n_live=100).surrogate
    ends = np.cumsum([s.n_pilot, s.n_gate, s.n_guarded])
    for limit, biased in ((ends[0] - 100, False), ((ends[1] + ends[2]) // 2, True)):
        f = Counted(gaussian, limit)
        with pytest.raises(RuntimeError, match="no more") as caught:
            sampled(f, n_live=100)
        partial = caught.value.partial_result  # type: ignore[attr-defined]
        assert partial.status == "interrupted"
        assert partial.surrogate.biased is biased
        assert partial.draws.min() < -1
        assert partial.draws.max() > 1
        np.testing.assert_allclose(partial.draws, 8 * partial.unit_draws - 3, rtol=0, atol=1e-12)
