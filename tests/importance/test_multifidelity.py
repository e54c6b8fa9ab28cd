"""Models of several fidelities: exact allocations, calibrated errors, gains, bad input, bits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from forms import INTEGRANDS, Make, law, moments
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import (
    ArgumentError,
    CheckpointError,
    ConvergenceWarning,
    FermiacWarning,
    TargetError,
)
from fermiac.importance import Multifidelity, multifidelity
from fermiac.importance.allocation import allocate, mfmc, variance

Array = NDArray[np.float64]
UNIT = fm.distributions.Uniform(0.0, 1.0)
#: The monomials x^5 … x, with costs that fall by tens.
POWERS = np.arange(5.0, 0.0, -1.0)
COSTS = 10.0 ** -np.arange(5.0)
COV = 1 / (POWERS[:, None] + POWERS + 1) - 1 / ((POWERS[:, None] + 1) * (POWERS + 1))


def monomial(power: float) -> Any:
    return lambda x: x[:, 0] ** power


MODELS = [monomial(p) for p in POWERS]


def test_the_optimal_allocation_of_a_chain() -> None:
    found = mfmc(COV, COSTS, (1, 2, 3, 4))
    assert found is not None
    rho = COV[0] / np.sqrt(COV[0, 0] * np.diag(COV))
    falls = rho**2 - np.append(rho[1:], 0.0) ** 2
    np.testing.assert_allclose(found.ratios, np.sqrt(falls[1:] / (COSTS[1:] * falls[0])))
    # The product of variance and cost is that of the general formula at these numbers.
    shared = np.append(1.0, found.ratios[:-1])
    product = variance(COV, (1, 2, 3, 4), found.ratios, shared) * (1 + found.ratios @ COSTS[1:])
    assert found.product == pytest.approx(float(product), rel=1e-6)
    for factor in (0.9, 1.1):
        other = found.ratios * np.array([factor, 1, 1, 1])
        shared = np.append(1.0, other[:-1])
        worse = variance(COV, (1, 2, 3, 4), other, shared) * (1 + other @ COSTS[1:])
        assert worse > product


def test_models_that_break_the_condition_are_dropped() -> None:
    costs = np.array([1.0, 0.01, 0.9, 0.8, 0.007])
    assert mfmc(COV, costs, (1, 2, 3, 4)) is None
    found = allocate(COV, costs, "mfmc")
    assert 0 < len(found.models) < 4
    assert found.product < COV[0, 0] * costs[0]
    # Nothing helps: costs as high as that of the truth.
    assert allocate(COV, np.ones(5)).method in ("mc", "acv")
    assert allocate(np.diag([1.0, 2.0, 3.0]), np.array([1.0, 0.1, 0.1])).method == "mc"
    assert allocate(COV, np.ones(5)).product <= COV[0, 0]


def test_two_models_have_the_exact_gain() -> None:
    rho, w = 0.95, 0.01
    cov = np.array([[1.0, rho * 2], [rho * 2, 4.0]])
    exact = (np.sqrt(1 - rho**2) + np.sqrt(w * rho**2)) ** 2
    for method in ("mfmc", "acv", "auto"):
        found = allocate(cov, np.array([1.0, w]), method)
        assert found.product == pytest.approx(exact, rel=1e-4)
        assert found.ratios[0] == pytest.approx(np.sqrt(rho**2 / (w * (1 - rho**2))), rel=0.02)


def test_control_variates_around_the_truth_beat_the_chain() -> None:
    chain, star = allocate(COV, COSTS, "mfmc"), allocate(COV, COSTS, "acv")
    best = allocate(COV, COSTS)
    assert best.product == min(chain.product, star.product)
    assert star.product < 0.7 * chain.product


@pytest.mark.parametrize("method", ["auto", "mfmc", "acv", "mc"])
def test_errors_are_calibrated(method: Any) -> None:
    pulls, held, gains = [], [], []
    for seed in range(60):
        m = multifidelity(MODELS, UNIT, 300, COSTS, method=method, check=False, rng=seed)
        low, high = m.interval()
        pulls.append((float(m.mean) - 1 / 6) / float(m.stderr))
        held.append(low <= 1 / 6 <= high)
        gains.append(m.gain / m.gain_forecast)
        assert m.cost <= 300 * (1 + 1e-9)
    assert 0.88 <= np.mean(held) <= 1.0
    assert abs(np.mean(pulls)) < 5 / np.sqrt(60)
    # The pilot took a tenth of the budget and more.
    assert 0.5 < np.median(gains) < 1.05


def test_gains() -> None:
    m = multifidelity(MODELS, UNIT, 2_000, COSTS, rng=0)
    assert m.method == "acv"
    assert 20 < m.gain < 45
    plain = multifidelity(MODELS, UNIT, 2_000, COSTS, method="mc", rng=0)
    assert plain.gain == pytest.approx(0.9, abs=0.02)  # the pilot
    assert plain.n_runs[1:].sum() == 0
    assert float(plain.stderr) / float(m.stderr) == pytest.approx(np.sqrt(m.gain / 0.9), rel=0.1)


def test_useless_models_are_not_used() -> None:
    useless = lambda x: np.sin(1e4 * x[:, 0])  # noqa: E731
    m = multifidelity([MODELS[0], useless], UNIT, 2_000, [1.0, 0.5], rng=0)
    assert m.method == "mc"
    assert m.gain == pytest.approx(1.0, abs=0.2)


def test_a_biased_model_does_no_harm() -> None:
    wrong = lambda x: 7.0 - 3 * x[:, 0] ** 5 + 1e-3 * x[:, 0]  # noqa: E731
    m = multifidelity([MODELS[0], wrong], UNIT, 500, [1.0, 0.001], rng=0)
    assert abs(float(m.mean) - 1 / 6) < 5 * float(m.stderr)
    assert m.gain > 100
    assert m.coefficients[1, 0] == pytest.approx(1 / 3, rel=0.01)


def test_a_tolerance_is_the_root_mean_square_error() -> None:
    errors, costs = [], []
    for seed in range(30):
        m = multifidelity(MODELS, UNIT, costs=COSTS, atol=4e-3, check=False, rng=seed)
        assert m.converged is True
        assert float(m.stderr) <= 4e-3
        errors.append(float(m.mean) - 1 / 6)
        costs.append(m.cost)
    assert np.sqrt(np.mean(np.square(errors))) < 1.25 * 4e-3
    finer = multifidelity(MODELS, UNIT, costs=COSTS, rtol=1e-3, rng=0)
    assert float(finer.stderr) <= 1e-3 * abs(float(finer.mean))
    with pytest.warns(ConvergenceWarning, match=r"not met.*forecast"):
        m = multifidelity(MODELS, UNIT, 300, COSTS, atol=1e-5, rng=0)
    assert m.converged is False
    assert m.cost <= 300 * (1 + 1e-9)


def test_several_outputs() -> None:
    def both(power: float) -> Any:
        return lambda x: np.column_stack([x[:, 0] ** power, 1e3 * np.exp(x[:, 0] * power / 5)])

    models = [both(p) for p in (5.0, 4.5, 4.0)]
    pulls = []
    for seed in range(30):
        m = multifidelity(models, UNIT, 400, COSTS[:3], names=["a", "b"], check=False, rng=seed)
        pulls.append((m.mean - np.array([1 / 6, 1e3 * (np.e - 1)])) / m.stderr)
    assert np.mean(np.abs(pulls) < 2) > 0.85
    assert m.cov.shape == (2, 2)  # type: ignore[union-attr]
    assert m.coefficients.shape == (3, 2)
    ratio = m.ratio("b", "a")
    assert abs(float(ratio.mean) - 6e3 * (np.e - 1)) < 5 * float(ratio.stderr)
    assert type(ratio) is fm.Estimate


def test_constant_models() -> None:
    with pytest.warns(FermiacWarning, match="all 198 values of the first model are equal"):
        m = multifidelity([lambda x: np.full(len(x), 3.0)] * 2, UNIT, 200, [1.0, 0.1], rng=0)
    assert m.mean == 3.0
    assert m.stderr == 3 * 3.0 / 198
    m = multifidelity([MODELS[0], lambda x: np.full(len(x), 3.0)], UNIT, 200, [1.0, 0.1], rng=0)
    assert m.method == "mc"
    # The same model twice: correlations are 1.
    m = multifidelity([MODELS[0], MODELS[0]], UNIT, 200, [1.0, 0.01], rng=0)
    assert abs(float(m.mean) - 1 / 6) < 5 * float(m.stderr) + 1e-9


def test_costs_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves only while a model runs, by 10 for a point of the first and 1 otherwise."""
    now = 0.0

    def ticking(price: float, f: Callable[[Array], Array]) -> Callable[[Array], Array]:
        def model(x: Array) -> Array:
            nonlocal now
            now += price * len(x)
            return f(x)

        return model

    module = import_module("fermiac.importance.multifidelity")
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now))
    models = [ticking(10.0, lambda x: x[:, 0] ** 2), ticking(1.0, lambda x: x[:, 0])]
    m = multifidelity(models, UNIT, 100, check=False, rng=0)
    np.testing.assert_allclose(m.costs, [10.0, 1.0])
    assert m.n_runs[1] > m.n_runs[0]


def test_named_inputs() -> None:
    inputs = {"a": fm.distributions.Normal(1.0, 0.1), "b": UNIT}
    m = multifidelity(
        [lambda a, b: a * b + a**3, lambda a, b: a * b], inputs, 400, [1.0, 0.1], rng=0
    )
    assert abs(float(m.mean) - (0.5 + 1 + 3 * 0.01)) < 5 * float(m.stderr)


@pytest.mark.parametrize("make", INTEGRANDS)
def test_all_forms_and_threads_give_the_same_bits(
    make: Make, thread_counts: tuple[int, ...]
) -> None:
    cheap = lambda x: moments(x) + 0.1 * np.sin(x[:, :1])  # noqa: E731
    m = multifidelity([moments, cheap], law(), 300, [1.0, 0.1], rng=5, plan=fm.Plan(n_threads=1))
    for n_threads in thread_counts:
        again = multifidelity(
            [make(), cheap], law(), 300, [1.0, 0.1], rng=5, plan=fm.Plan(n_threads=n_threads)
        )
        np.testing.assert_array_equal(again.mean, m.mean)
        np.testing.assert_array_equal(again.cov, m.cov)


def test_workers_and_stores_give_the_same_bits(tmp_path: Path) -> None:
    kept = fm.Plan(store=tmp_path)
    m = multifidelity(MODELS, UNIT, 300, COSTS, rng=7)
    with ThreadPoolExecutor(2) as pool:
        shared = multifidelity(MODELS, UNIT, 300, COSTS, rng=7, plan=pool)
    calls = 0

    def dies(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("killed")
        return x[:, 0] ** 5

    with pytest.raises(RuntimeError, match="killed"):
        multifidelity([dies, *MODELS[1:]], UNIT, 300, COSTS, rng=7, plan=kept, check=False)
    resumed = multifidelity(MODELS, UNIT, 300, COSTS, plan=kept)
    for other in (shared, resumed):
        assert other.mean == m.mean
        assert other.stderr == m.stderr
    with pytest.raises(CheckpointError, match="costs"):
        multifidelity(MODELS, UNIT, 300, 2 * COSTS, plan=kept)


def test_an_interrupt_hands_out_the_last_round() -> None:
    calls = 0

    def f(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 3:
            signal.raise_signal(signal.SIGINT)
        return x[:, 0] ** 5

    with pytest.raises(KeyboardInterrupt) as caught:
        multifidelity([f, *MODELS[1:]], UNIT, costs=COSTS, atol=1e-4, rng=0, check=False)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial is None or partial.status == "interrupted"
    calls = 2
    with pytest.raises(KeyboardInterrupt) as caught:
        multifidelity([f], UNIT, 300, [1.0], rng=0, check=False)
    assert caught.value.partial_result is None  # type: ignore[attr-defined]


def test_bad_input() -> None:
    for match, options in (
        ("n: not given; one of", {"n": None}),
        ("n, cost: both given", {"cost": 3.0}),
        ("costs: not given, with cost=", {"n": None, "cost": 3.0, "costs": None}),
        ("costs: not given, with store=", {"costs": None, "plan": fm.Plan(store="x")}),
        ("costs: an array of shape", {"costs": [1.0]}),
        ("costs: 0.0 was given", {"costs": [1.0, 0.0]}),
        ("rtol, atol: 0 given", {"rtol": 0.0}),
        ("budget of 10 given; the pilot needs", {"n": 10}),
        ("budget of 60 given; the pilot costs", {"n": 60, "n_pilot": 50}),
        ("method: 'mlmc'", {"method": "mlmc"}),
        ("n_pilot: 1 was given", {"n_pilot": 1}),
        ("names: 2 given for 1", {"names": ["a", "b"]}),
        ("more runs would be needed", {"n": None, "atol": 1e-200}),
    ):
        with pytest.raises(ArgumentError, match=match):
            multifidelity(MODELS[:2], UNIT, **{"n": 300, "costs": [1, 0.1], "rng": 0, **options})
    for bad in ([], 3, MODELS[0]):
        with pytest.raises(ArgumentError, match=r"models: .* given; a sequence"):
            multifidelity(bad, UNIT, 300, [1.0])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"models\[1\]: it gives 2 numbers"):
        multifidelity([MODELS[0], lambda x: np.hstack([x, x])], UNIT, 300, [1, 0.1], rng=0)
    with pytest.raises(TargetError, match=r"models\[1\] gave nan at the point"):
        multifidelity([MODELS[0], lambda x: x[:, 0] * np.nan], UNIT, 300, [1, 0.1], rng=0)


def test_results_are_saved_and_printed(tmp_path: Path) -> None:
    m = multifidelity(MODELS, UNIT, 300, COSTS, rng=0)
    m.save(tmp_path / "m.safetensors")
    again = Multifidelity.load(tmp_path / "m.safetensors")
    assert again.mean == m.mean
    np.testing.assert_array_equal(again.n_runs, m.n_runs)
    assert "gain over plain Monte Carlo" in str(m.summary())


def test_pinned_values() -> None:
    # They change only with a note under Value-breaking in the changelog.
    m = multifidelity(MODELS, UNIT, 300, COSTS, method="mfmc", rng=0)
    assert m.mean == pytest.approx(0.1671446650489611, rel=1e-9)
    assert m.n_runs.tolist() == [127, 798, 3749, 16122, 90374]


def test_a_tolerance_near_the_largest_double() -> None:
    huge, large = (multifidelity(MODELS, UNIT, costs=COSTS, atol=a, check=False, rng=0)
                   for a in (1e308, 10.0))  # fmt: skip
    assert huge.mean == large.mean
    assert huge.converged
