"""Brownian noise: its law, and its independence of grids and of the order of calls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]

LOW, HIGH = 0.02, 80.0


def noise(
    hi: float | Array,
    lo: float | Array,
    n: int,
    dim: int = 1,
    first: int = 0,
    key: int = 3,
    tolerance: float = 1e-6,
) -> Array:
    """Normalised increments of n rows."""
    upper, lower = (np.atleast_1d(np.asarray(s, dtype=float)) for s in (hi, lo))
    return _core.score_brownian(key, first, n, dim, upper, lower, LOW, HIGH, tolerance)


def test_increments_are_standard_normal() -> None:
    n = 20_000
    for hi, lo in [(80.0, 0.02), (80.0, 79.0), (3.0, 1.0), (0.0201, 0.02)]:
        z = noise(hi, lo, n, dim=2)
        for column in z.T:
            assert abs(column.mean()) * np.sqrt(n) < 5
            assert abs(column.var() - 1) / np.sqrt(2 / n) < 5
            assert abs((column**4).mean() - 3) / np.sqrt(96 / n) < 5
        assert abs(np.mean(z[:, 0] * z[:, 1])) * np.sqrt(n) < 5


def test_disjoint_intervals_rows_and_keys_are_independent() -> None:
    n = 20_000
    levels = [80.0, 30.0, 29.9, 1.0, 0.5, 0.02]
    z = np.stack([noise(a, b, n)[:, 0] for a, b in itertools.pairwise(levels)])
    gram = z @ z.T / n
    off = gram[~np.eye(len(z), dtype=bool)]
    assert np.abs(off).max() * np.sqrt(n) < 5
    assert abs(np.mean(z[0][1:] * z[0][:-1])) * np.sqrt(n) < 5
    assert abs(np.mean(z[0] * noise(80.0, 30.0, n, key=4)[:, 0])) * np.sqrt(n) < 5


def test_overlapping_intervals_share_what_they_have_in_common() -> None:
    n = 20_000
    a, b = noise(4.0, 1.0, n)[:, 0], noise(2.0, 0.5, n)[:, 0]
    wanted = (2.0**2 - 1.0**2) / np.sqrt((4.0**2 - 1.0**2) * (2.0**2 - 0.5**2))
    assert abs(np.mean(a * b) - wanted) / np.sqrt((1 + wanted**2) / n) < 5


@pytest.mark.parametrize("n_steps", [2, 7, 100])
def test_fine_increments_add_up_to_coarse_ones(n_steps: int) -> None:
    levels = np.geomspace(50.0, 0.03, n_steps + 1)
    widths = np.sqrt(levels[:-1] ** 2 - levels[1:] ** 2)
    fine = [noise(a, b, 5, dim=3) for a, b in itertools.pairwise(levels)]
    total = sum(w * z for w, z in zip(widths, fine, strict=True))
    coarse = np.sqrt(50.0**2 - 0.03**2) * noise(50.0, 0.03, 5, dim=3)
    # Levels are rounded by half the tolerance; that is all there is between them.
    np.testing.assert_allclose(total, coarse, atol=1e-6 * 50.0 * np.sqrt(n_steps))


def test_levels_on_the_tree_add_up_to_rounding() -> None:
    # With a power of two of parts the middle of log s is where the tree bisects.
    middle = np.sqrt(LOW * HIGH)
    upper = np.sqrt(HIGH**2 - middle**2) * noise(HIGH, middle, 4, dim=2)
    lower = np.sqrt(middle**2 - LOW**2) * noise(middle, LOW, 4, dim=2)
    whole = np.sqrt(HIGH**2 - LOW**2) * noise(HIGH, LOW, 4, dim=2)
    np.testing.assert_allclose(upper + lower, whole, rtol=1e-12)


def test_neither_order_nor_batch_changes_an_increment() -> None:
    intervals = [(10.0, 5.0), (0.3, 0.1), (5.0, 0.3), (80.0, 10.0)]
    forth = [noise(a, b, 6, dim=3) for a, b in intervals]
    back = [noise(a, b, 6, dim=3) for a, b in reversed(intervals)][::-1]
    for x, y in zip(forth, back, strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(forth[0][4:], noise(10.0, 5.0, 2, dim=3, first=4))


def test_rows_may_have_levels_of_their_own() -> None:
    hi, lo = np.array([10.0, 3.0, 0.5]), np.array([5.0, 2.9, 0.02])
    together = noise(hi, lo, 3, dim=2)
    for i in range(3):
        alone = noise(hi[i], lo[i], 1, dim=2, first=i)
        np.testing.assert_array_equal(together[i], alone[0])


def test_dimension_does_not_change_small_intervals_law() -> None:
    # A step just above the tolerance is still of variance 1.
    n = 20_000
    z = noise(1.0, 1.0 - 2e-4, n, tolerance=1e-4)[:, 0]
    assert abs(z.var() - 1) / np.sqrt(2 / n) < 5


@pytest.mark.parametrize(
    ("hi", "lo", "message"),
    [
        (81.0, 1.0, "beyond the Brownian path"),
        (1.0, 0.01, "beyond the Brownian path"),
        (1.0, 2.0, "more than the tolerance"),
        (1.0, 1.0 - 1e-9, "more than the tolerance"),
        (1.0, np.nan, "beyond the Brownian path"),
    ],
)
def test_intervals_that_the_path_does_not_have_are_refused(
    hi: float, lo: float, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        noise(hi, lo, 2)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1e-12, np.nan])
def test_tolerances_that_the_tree_cannot_keep_are_refused(tolerance: float) -> None:
    with pytest.raises(ArgumentError, match="tolerance"):
        noise(2.0, 1.0, 1, tolerance=tolerance)
