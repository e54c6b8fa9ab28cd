"""Frequentist intervals of epsilon: reference values, corners, coverage by enumeration, edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import ratios
from numpy.typing import NDArray
from plans import planned
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.privacy import (
    epsilon_interval,
    epsilon_of_rates,
    gdp_bound,
)

Array = NDArray[np.float64]


DIRECTIONS = ("both", "attack", "forward", "reverse")


METHODS = ("clopper-pearson", "jeffreys", "katz-log")


@pytest.mark.parametrize(
    ("method", "counts", "delta", "lower", "upper"),
    [
        ("clopper-pearson", (400, 100, 100, 400), 1e-5, 1.164810959, 1.615678042),
        ("jeffreys", (400, 100, 100, 400), 1e-5, 1.170665184, 1.608978412),
        ("clopper-pearson", (40, 10, 10, 40), 0.0, 0.6758726394, 2.193870885),
        ("jeffreys", (40, 10, 10, 40), 0.0, 0.7271206618, 2.114098748),
    ],
)
def test_boxes_meet_reference_values(
    method: str, counts: tuple[int, ...], delta: float, lower: float, upper: float
) -> None:
    i = epsilon_interval(*counts, delta=delta, method=method)
    assert i.epsilon_lower == pytest.approx(lower, abs=1e-9)
    assert i.epsilon_upper == pytest.approx(upper, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "errors", "lower", "upper"),
    [
        (2000, 755, 0.409, 0.592),
        (20000, 7551, 0.471, 0.529),
        (100, 27, 0.541, 1.476),
        (500, 134, 0.804, 1.210),
        (1000, 269, 0.859, 1.143),
        (500, 60, 1.721, 2.280),
        (1000, 119, 1.809, 2.202),
        (100, 2, 2.581, 6.017),
        (1000, 18, 3.536, 4.527),
        (5000, 90, 3.791, 4.219),
    ],
)
def test_boxes_of_symmetric_attacks(n: int, errors: int, lower: float, upper: float) -> None:
    i = epsilon_interval(n - errors, errors, errors, n - errors, delta=1e-5)
    assert (i.epsilon_lower, i.epsilon_upper) == pytest.approx((lower, upper), abs=5.1e-4)


def limits(k: Array, n: Array, tail: float, method: str) -> tuple[Array, Array]:
    """Limits of a rate by scipy."""
    more = 0.5 if method == "jeffreys" else 0.0
    some = np.where(k > 0, k, 1)
    low = stats.beta.ppf(tail, some + more, n - some + 1 - more)
    k1 = np.where(k < n, k, n - 1)
    high = stats.beta.isf(tail, k1 + 1 - more, n - k1 + more)
    return np.where(k > 0, low, 0.0), np.where(k < n, high, 1.0)


@pytest.mark.parametrize("method", ["clopper-pearson", "jeffreys"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("delta", [0.0, 1e-3, 0.2])
def test_the_ends_are_the_extremes_over_the_box(method: str, direction: str, delta: float) -> None:
    """Boxes anywhere, over the diagonal as well, against a grid over each."""
    rng = np.random.default_rng(5)
    n = 40
    m0, m1 = rng.integers(2, 60, (2, n))
    fn, fp = rng.integers(0, m1 + 1), rng.integers(0, m0 + 1)
    i = epsilon_interval(
        m1 - fn, fp, fn, m0 - fp, delta=delta, prob=0.8, method=method, direction=direction
    )
    x, y = limits(fn, m1, 0.05, method), limits(fp, m0, 0.05, method)
    share = np.linspace(0, 1, 81)[:, None]
    on_x, on_y = (low + share * (high - low) for low, high in (x, y))
    eps = np.log(np.maximum(1, ratios(direction, on_x[:, None], on_y[None], delta)))
    np.testing.assert_allclose(i.epsilon_upper, eps.max((0, 1)), rtol=1e-9, atol=1e-9)
    # Between the grid's points the border where nothing is said may pass: 0 is then just missed.
    least = eps.min((0, 1))
    assert np.all(i.epsilon_lower <= least + 1e-9)
    off = np.abs(i.epsilon_lower - least) > 1e-9
    assert np.all(i.epsilon_lower[off] == 0)
    assert np.all(least[off] < 0.1)


@pytest.mark.parametrize(("n1", "n0"), [(6, 6), (12, 30), (25, 4), (10, 300)])
@pytest.mark.parametrize("direction", ["both", "attack"])
def test_coverage_by_enumeration(n1: int, n0: int, direction: str) -> None:
    """The probability that a bound fails, summed over all outcomes."""
    alpha = 0.1
    fn, fp = np.meshgrid(np.arange(n1 + 1), np.arange(n0 + 1), indexing="ij")
    table = (n1 - fn, fp, fn, n0 - fp)
    two = epsilon_interval(*table, prob=1 - alpha, direction=direction)
    low = epsilon_interval(*table, prob=1 - alpha, kind="lower", direction=direction).epsilon_lower
    high = epsilon_interval(*table, prob=1 - alpha, kind="upper", direction=direction).epsilon_upper
    for x in np.linspace(0.01, 0.99, 15):
        for y in np.unique([1 - x, 0.5 * (1 - x), (1 - x) / 20, 1 - 2 * x, 1 - 20 * x]):
            if not 0 < y < 1:
                continue
            p = stats.binom.pmf(fn, n1, x) * stats.binom.pmf(fp, n0, y)
            eps = epsilon_of_rates(x, y, direction=direction)
            assert p[low > eps + 1e-9].sum() <= alpha
            assert p[high < eps - 1e-9].sum() <= alpha
            assert (
                p[(two.epsilon_lower > eps + 1e-9) | (two.epsilon_upper < eps - 1e-9)].sum()
                <= alpha
            )


@pytest.mark.parametrize("delta", [0.0, 0.05])
def test_katz_is_the_delta_method(delta: float) -> None:
    tp, fp, fn, tn = 80.0, 10.0, 20.0, 190.0
    tpr, fpr = tp / 100, fp / 200
    ratio = (tpr - delta) / fpr
    assert ratio > (tn / 200 - delta) / (fn / 100)
    se = np.sqrt(tpr * (1 - tpr) / 100 / (tpr - delta) ** 2 + (1 - fpr) / fpr / 200)
    z = stats.norm.isf(0.05)
    i = epsilon_interval(tp, fp, fn, tn, delta=delta, method="katz-log")
    assert i.epsilon_lower == pytest.approx(np.log(ratio) - z * se, rel=1e-12)
    assert i.epsilon_upper == pytest.approx(np.log(ratio) + z * se, rel=1e-12)
    one = epsilon_interval(tp, fp, fn, tn, delta=delta, method="katz-log", kind="lower", prob=0.95)
    assert (one.epsilon_lower, one.epsilon_upper) == (
        pytest.approx(i.epsilon_lower, rel=1e-12),
        np.inf,
    )
    # Katz's own variance, 1/tp - 1/members + 1/fp - 1/non-members.
    if delta == 0:
        assert se**2 == pytest.approx(1 / tp - 1 / 100 + 1 / fp - 1 / 200)


def test_without_errors_only_the_lower_end_is_finite() -> None:
    i = epsilon_interval(1000, 20, 0, 980, delta=1e-5)
    assert i.epsilon_lower > 2
    assert i.epsilon_upper == np.inf
    # Closed form: the limit above a rate without errors is 1 - tail^(1/n).
    one = epsilon_interval(50, 0, 0, 50, kind="lower", prob=0.95)
    rate = 1 - 0.025 ** (1 / 50)
    assert one.epsilon_lower == pytest.approx(np.log((1 - rate) / rate), rel=1e-12)
    assert epsilon_interval(50, 0, 0, 50, method="katz-log").epsilon_upper == np.inf


@pytest.mark.parametrize("method", METHODS)
def test_symmetries_and_empty_tables(method: str) -> None:
    rng = np.random.default_rng(8)
    tp, fp, fn, tn = np.floor(rng.exponential(30, (4, 500)))
    i = epsilon_interval(tp, fp, fn, tn, method=method, delta=1e-3)
    flipped = epsilon_interval(fn, tn, tp, fp, method=method, delta=1e-3)
    swapped = epsilon_interval(tn, fn, fp, tp, method=method, delta=1e-3)
    for other in (flipped, swapped):
        np.testing.assert_allclose(i.epsilon_lower, other.epsilon_lower, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(i.epsilon_upper, other.epsilon_upper, rtol=1e-12, atol=1e-13)
    assert np.all(i.epsilon_lower <= i.epsilon_upper)
    none = epsilon_interval(0, 3, 0, 4, method=method)
    assert (none.epsilon_lower, none.epsilon_upper) == (0.0, np.inf)


@pytest.mark.parametrize("method", METHODS)
def test_bits_do_not_depend_on_batch_or_threads(
    method: str, thread_counts: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(9)
    table = np.floor(rng.exponential(200, (4, 9001)))
    delta, prob = rng.uniform(0, 0.01, 9001), rng.uniform(0.5, 0.99, 9001)
    runs = [
        epsilon_interval(*table, delta=delta, prob=prob, method=method, plan=fm.Plan(n_threads=n))
        for n in thread_counts
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.epsilon_lower, runs[0].epsilon_lower)
        np.testing.assert_array_equal(run.epsilon_upper, runs[0].epsilon_upper)
    for k in (0, 4095, 4096, 9000):
        one = epsilon_interval(*table[:, k], delta=delta[k], prob=prob[k], method=method)
        assert (one.epsilon_lower, one.epsilon_upper) == (
            runs[0].epsilon_lower[k],
            runs[0].epsilon_upper[k],
        )
        assert isinstance(one.epsilon_lower, float)


def test_arguments_broadcast_and_kinds_fit_together() -> None:
    i = epsilon_interval([[40], [400]], 10, 10, 90, delta=[0.0, 1e-3, 0.1], prob=0.9)
    assert i.epsilon_lower.shape == (2, 3)
    low = epsilon_interval(
        [[40], [400]], 10, 10, 90, delta=[0.0, 1e-3, 0.1], prob=0.95, kind="lower"
    )
    np.testing.assert_allclose(low.epsilon_lower, i.epsilon_lower, rtol=1e-12)
    assert np.all(low.epsilon_upper == np.inf)
    high = epsilon_interval(400, 10, 10, 90, prob=0.95, kind="upper")
    assert (high.epsilon_lower, high.epsilon_upper) == (
        0.0,
        pytest.approx(i.epsilon_upper[1, 0], rel=1e-12),
    )
    assert epsilon_interval(np.zeros((0, 2)), 1, 1, 1).epsilon_lower.shape == (0, 2)
    assert "intervals within" in repr(i)
    assert len(repr(i).splitlines()) <= 6
    assert "0 intervals" in repr(epsilon_interval([], 1, 1, 1))


def test_results_are_saved(tmp_path: Path) -> None:
    for result in (
        epsilon_interval([40, 400], 10, 10, 40, delta=[0.0, 0.1]),
        gdp_bound(40, 10, 10, 40, delta=1e-5),
    ):
        result.save(tmp_path / "r")
        assert fm.load(tmp_path / "r").to_dict() == result.to_dict()


def test_gdp_bound_is_its_formula() -> None:
    rng = np.random.default_rng(3)
    n1, n0 = rng.integers(1, 400, (2, 300))
    fn, fp = rng.integers(0, n1 + 1), rng.integers(0, n0 + 1)
    _, x = limits(fn, n1, 0.025, "clopper-pearson")
    _, y = limits(fp, n0, 0.025, "clopper-pearson")
    expected = np.maximum(0, stats.norm.isf(y) - stats.norm.ppf(x))
    b = gdp_bound(n1 - fn, fp, fn, n0 - fp, delta=1e-5)
    np.testing.assert_allclose(b.mu_lower, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(b.epsilon_lower, fm.privacy.gdp_epsilon(1e-5, mu=b.mu_lower))
    assert np.all(np.asarray(b.epsilon_lower)[b.mu_lower == 0] == 0)


def test_gdp_bound_of_noise_is_nearly_always_zero() -> None:
    rng = np.random.default_rng(4)
    fn, fp = rng.binomial(200, 0.3, 4000), rng.binomial(200, 0.7, 4000)
    found = np.mean(gdp_bound(200 - fn, fp, fn, 200 - fp).mu_lower > 0)
    assert found <= 0.05
    # An inverted attack says nothing either.
    assert gdp_bound(0, 200, 200, 0).mu_lower == 0.0
    assert gdp_bound(0, 0, 0, 0).mu_lower == 0.0


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"tp": -1}, "tp"),
        ({"fp": np.nan}, "fp"),
        ({"fn": np.inf}, "fn"),
        ({"tn": "3"}, "tn"),
        ({"tn": True}, "tn"),
        ({"tp": [True, False]}, "tp"),
        ({"tp": np.ma.masked_array([1.0, 2.0], [True, False])}, "tp"),
        ({"tp": 1j}, "tp"),
        ({"tp": None}, "tp"),
        ({"delta": 1.0}, "delta"),
        ({"delta": -1e-9}, "delta"),
        ({"prob": 0.0}, "prob"),
        ({"prob": 1.0}, "prob"),
        ({"kind": "both"}, "kind"),
        ({"method": "wald"}, "method"),
        ({"direction": "up"}, "direction"),
        ({"direction": 3}, "direction"),
        ({"n_threads": 0}, "n_threads"),
        ({"tp": [1, 2], "fp": [1, 2, 3]}, "broadcast"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, Any], name: str) -> None:
    good: dict[str, Any] = {"tp": 5, "fp": 1, "fn": 1, "tn": 5}
    with pytest.raises(ArgumentError, match=name):
        epsilon_interval(**planned(**(good | given)))


@pytest.mark.parametrize(
    ("kind", "of_posterior"), [("two-sided", "equal"), ("lower", "lower"), ("upper", "upper")]
)
def test_intervals_of_the_posterior(kind: str, of_posterior: str) -> None:
    table = ([400, 40], [100, 10], [100, 0], [400, 40])
    found = fm.privacy.epsilon_interval(*table, delta=1e-5, method="bayes", kind=kind)
    known = fm.privacy.epsilon_posterior(*table, delta=1e-5).interval(0.9, kind=of_posterior)
    np.testing.assert_array_equal((found.epsilon_lower, found.epsilon_upper), known)
    box = fm.privacy.epsilon_interval(*table, delta=1e-5, method="jeffreys", kind=kind)
    assert (
        (box.epsilon_lower <= found.epsilon_lower) & (found.epsilon_upper <= box.epsilon_upper)
    ).all()
