"""Pareto-smoothed importance weights: values of arviz-stats, shapes, edge cases."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version

import make_psis_values as made
import numpy as np
import psis_values as ref
import pytest
from plans import on_threads

import fermiac as fm


def _has_reference() -> bool:
    if importlib.util.find_spec("arviz_stats") is None:
        return False
    return tuple(map(int, version("arviz-stats").split(".")[:2])) >= (0, 8)


@pytest.mark.parametrize("name", list(made.CASES))
def test_values_are_those_of_arviz_stats(name: str) -> None:
    case = made.CASES[name]
    log_weights, khat = fm.diagnostics.psis(case.log_ratios(), case.r_eff)
    np.testing.assert_allclose(
        [khat, *made.digest(log_weights)], ref.VALUES[name], rtol=1e-10, atol=1e-10
    )


@pytest.mark.skipif(not _has_reference(), reason="arviz-stats >= 0.8 is not installed")
def test_every_weight_is_that_of_arviz_stats() -> None:
    from arviz_stats.base import array_stats

    rng = np.random.default_rng(8)
    # Which of several equal ratios gets which smoothed weight is arbitrary.
    inputs = [case.log_ratios() for name, case in made.CASES.items() if name != "ties"]
    inputs += [s * rng.standard_t(3, size=n) for n in (100, 1000, 30_000) for s in (0.1, 1.0, 9.0)]
    for log_ratios in inputs:
        for r_eff in (0.2, 1.0):
            expected, shape = array_stats.psislw(-log_ratios, r_eff=r_eff)
            log_weights, khat = fm.diagnostics.psis(log_ratios, r_eff)
            np.testing.assert_allclose(khat, shape, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(log_weights, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("k", [0.3, 0.7])
def test_finds_the_shape_of_pareto_weights(k: float) -> None:
    u = fm.random.Stream(12).uniform(100_000)
    _, khat = fm.diagnostics.psis(-k * np.log(u))
    assert abs(khat - k) < 0.15


def test_constant_weights_have_no_tail() -> None:
    log_weights, khat = fm.diagnostics.psis(np.full(1000, -1e3))
    assert khat == -np.inf
    np.testing.assert_allclose(np.exp(log_weights), 1 / 1000, rtol=1e-13)


def test_smoothing_steadies_a_mean_that_raw_weights_miss() -> None:
    """Weights of shape 0.7 have a mean but no variance."""
    errors = []
    for seed in range(400):
        ratios = -0.7 * np.log(fm.random.Stream(seed).uniform(1000))
        log_weights, _ = fm.diagnostics.psis(ratios, normalize=False)
        errors.append(
            np.abs([np.exp(ratios).mean() - 1 / 0.3, np.exp(log_weights).mean() - 1 / 0.3])
        )
    raw, smoothed = np.mean(errors, axis=0)
    assert smoothed < 0.8 * raw


def test_normalised_weights_sum_to_one_and_the_scale_is_kept_otherwise() -> None:
    ratios = 2.0 * np.log(-np.log(made.spread(3000))) + 800.0
    normalised, khat = fm.diagnostics.psis(ratios)
    kept, same = fm.diagnostics.psis(ratios, normalize=False)
    assert abs(np.exp(normalised).sum() - 1) < 1e-12
    assert khat == same
    np.testing.assert_allclose(kept - kept[0], normalised - normalised[0], atol=1e-12)
    below = ratios < np.sort(ratios)[-200]
    np.testing.assert_allclose(kept[below], ratios[below], rtol=1e-15)
    assert kept.max() <= ratios.max()


def test_order_of_the_weights_is_kept() -> None:
    ratios = 1.5 * np.log(made.spread(500))
    log_weights, _ = fm.diagnostics.psis(ratios)
    assert np.all(np.diff(log_weights[np.argsort(ratios)]) >= 0)
    assert ratios[0] == 1.5 * np.log(made.spread(500))[0]  # the argument is left alone


def test_columns_are_smoothed_each_for_itself_on_any_number_of_threads(
    thread_counts: tuple[int, ...],
) -> None:
    cases = [fm.random.Stream(s).normal(2000) * (s + 1) for s in range(7)]
    r_eff = np.linspace(0.3, 1.0, 7)
    expected = [fm.diagnostics.psis(x, r) for x, r in zip(cases, r_eff, strict=True)]
    for n_threads in thread_counts:
        log_weights, khat = on_threads(
            n_threads, fm.diagnostics.psis, np.column_stack(cases), r_eff
        )
        assert log_weights.shape == (2000, 7)
        assert khat.shape == (7,)
        for j, (weights, k) in enumerate(expected):
            np.testing.assert_array_equal(log_weights[:, j], weights)
            assert khat[j] == k


def test_too_few_values_are_left_as_they_are() -> None:
    log_weights, khat = fm.diagnostics.psis([0.0, 1.0, 2.0], normalize=False)
    assert np.isnan(khat)
    np.testing.assert_allclose(log_weights, [0.0, 1.0, 2.0], atol=1e-15)


def test_weights_that_are_mostly_zero_have_no_shape() -> None:
    ratios = np.full(1000, -np.inf)
    ratios[:20] = np.arange(20.0)
    log_weights, khat = fm.diagnostics.psis(ratios, normalize=False)
    assert np.isnan(khat)
    np.testing.assert_array_equal(log_weights, ratios)


@pytest.mark.parametrize(
    ("log_ratios", "options", "name"),
    [
        ([0.0, np.nan], {}, "log_ratios"),
        ([0.0, np.inf], {}, "log_ratios"),
        (np.full(50, -np.inf), {}, "log_ratios"),
        (np.zeros((2, 2, 2)), {}, "log_ratios"),
        ([], {}, "log_ratios"),
        (["a"], {}, "log_ratios"),
        (np.zeros(50), {"r_eff": 0.0}, "r_eff"),
        (np.zeros(50), {"r_eff": np.nan}, "r_eff"),
        (np.zeros((50, 3)), {"r_eff": [1.0, 1.0]}, "r_eff"),
    ],
)
def test_bad_arguments(log_ratios: object, options: dict[str, object], name: str) -> None:
    with pytest.raises(fm.errors.ArgumentError, match=name):
        fm.diagnostics.psis(log_ratios, **options)  # type: ignore[arg-type]


def test_threshold() -> None:
    assert fm.diagnostics.khat_threshold(10**6) == 0.7
    assert abs(fm.diagnostics.khat_threshold(1000) - 2 / 3) < 1e-15
    with pytest.raises(fm.errors.ArgumentError, match="n:"):
        fm.diagnostics.khat_threshold(1)
