"""Exact laws against enumeration of all resamples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.resample import laws

Array = NDArray[np.float64]


def resamples(x: Array) -> Array:
    """All resamples of a sample, a row each."""
    return x[np.array(list(product(range(x.size), repeat=x.size)))]


@pytest.mark.parametrize("q", [0.2, 0.5, 0.77, 0.9])
@pytest.mark.parametrize("n", [4, 5, 6])
def test_quantiles_of_few_observations(n: int, q: float) -> None:
    x = np.round(fm.random.Stream(n).exponential(n), 2)
    known = np.quantile(resamples(x), q, axis=1)
    law = laws.law_of_quantile(x, q)
    assert law.mean == pytest.approx(known.mean(), rel=1e-11)
    assert law.sd == pytest.approx(known.std(), rel=1e-11)
    for value in np.unique(known)[::7]:
        below = (known < value - 1e-9).mean() + 0.5 * (np.abs(known - value) < 1e-9).mean()
        near = 0.5 * (law.below(value - 1e-9) + law.below(value + 1e-9))
        assert near == pytest.approx(below, abs=1e-9)
    for p in (0.013, 0.3, 0.52, 0.991):
        ordered = np.sort(known)
        at = int(np.ceil(p * ordered.size - 1e-9)) - 1
        assert law.quantile(p) == pytest.approx(ordered[at], abs=1e-9)


def test_quantiles_of_many_observations() -> None:
    x = fm.random.Stream(3).normal(400)
    drawn = fm.resample.bootstrap(
        x, fm.resample.Quantile(0.3), exact=False, n_resamples=20_000, method="percentile", rng=0
    )
    law = laws.law_of_quantile(x, 0.3)
    assert law.sd == pytest.approx(drawn.stderr, rel=0.03)
    assert law.mean == pytest.approx(drawn.replicates.mean(), abs=5 * law.sd / np.sqrt(20_000))
    for p in (0.025, 0.5, 0.975):
        assert np.mean(drawn.replicates <= law.quantile(p)) == pytest.approx(p, abs=0.012)


def test_means_of_few_observations_are_enumerated() -> None:
    x = np.array([1.0, 4.0, 4.0, 7.5, 9.0])
    known = resamples(x).mean(1)
    law = laws.law_of_mean([x / 5])
    assert law.mean == pytest.approx(known.mean(), rel=1e-14)
    assert law.sd == pytest.approx(known.std(), rel=1e-12)
    for value in np.unique(np.round(known, 9))[::11]:
        below = (known < value - 1e-7).mean() + 0.5 * (np.abs(known - value) < 1e-7).mean()
        near = 0.5 * (law.below(value - 1e-7) + law.below(value + 1e-7))
        assert near == pytest.approx(below, abs=1e-12)


def test_the_transform_meets_enumeration() -> None:
    x, y = fm.random.Stream(1).exponential(8), fm.random.Stream(2).exponential(7)
    for parts in ([x / 8], [x / 8, -y / 7]):
        if len(parts) == 1:
            known = laws._enumerated(parts)
        else:
            # Too many outcomes for arrays of all; the halves are joined by sorting.
            known = laws._enumerated([p[:5] for p in parts])
            parts = [p[:5] for p in parts]
        mean = sum(float(p.sum()) for p in parts)
        sd = float(np.sqrt(sum(((p - p.mean()) ** 2).sum() for p in parts)))
        found = laws._transformed(parts, mean, sd)
        # Smearing over cells misses atoms of few observations by some thousandths.
        for p in (0.025, 0.3, 0.5, 0.975):
            assert known.below(found.quantile(p)) == pytest.approx(p, abs=0.006)


def test_the_normal_limit_of_means() -> None:
    x = fm.random.Stream(1).normal(20_000)
    law = laws.law_of_mean([x / x.size])
    sd = x.std() / np.sqrt(x.size)
    assert law.sd == pytest.approx(sd, rel=1e-9)
    for p, z in ((0.025, -1.959963985), (0.5, 0.0), (0.975, 1.959963985)):
        assert (law.quantile(p) - x.mean()) / sd == pytest.approx(z, abs=2e-3)


def test_laws_of_constants() -> None:
    assert laws.law_of_mean([np.full(9, 1 / 9)]).sd == 0.0
    assert laws.law_of_quantile(np.full(9, 2.0), 0.3).quantile(0.1) == 2.0


def test_laws_on_a_lattice_are_binomial() -> None:
    from scipy.stats import binom

    x = np.repeat([0.0, 1.0], [30, 10])
    law = laws.law_of_mean([x / 40], 1 / 40)
    k = np.arange(41)
    known = binom.cdf(k, 40, 0.25) - 0.5 * binom.pmf(k, 40, 0.25)
    np.testing.assert_allclose([law.below(v / 40) for v in k], known, atol=1e-13)
    assert law.quantile(0.025) == binom.ppf(0.025, 40, 0.25) / 40
    r = fm.resample.bootstrap(x, "mean", method="percentile", rng=0)
    assert (r.lower, r.upper) == (binom.ppf(0.025, 40, 0.25) / 40, binom.ppf(0.975, 40, 0.25) / 40)
    # Counts on a lattice, beside the circle of cells.
    y = np.floor(3 * fm.random.Stream(1).exponential(60))
    a, b = laws.law_of_mean([y / 60], 1 / 60), laws.law_of_mean([y / 60])
    assert a.sd == pytest.approx(b.sd, rel=1e-9)
    assert a.quantile(0.9) == pytest.approx(b.quantile(0.9), abs=0.02)


def test_units_of_whole_numbers_and_decimals() -> None:
    assert laws.unit_of(np.array([1.0, -3.0, 8.0])) == 1.0
    assert laws.unit_of(np.array([0.1, -3.7, 8.0])) == 0.1
    assert laws.unit_of(np.array([0.125, 2.0])) == 0.001
    assert laws.unit_of(np.array([1 / 3, 2.0])) == pytest.approx(1 / 3)
    assert laws.unit_of(np.array([1.0, 2**0.5])) is None
    assert laws.unit_of(np.append(np.ones(100), np.pi)) is None
    # Means of 200 decimals have atoms 0.0005 apart.
    x = np.round(fm.random.Stream(1).normal(200), 1)
    r = fm.resample.bootstrap(x, "mean", method="percentile", rng=0)
    for end in (r.lower, r.upper):
        assert abs(end * 2000 - np.rint(end * 2000)) < 1e-6


def test_fewer_cells_are_as_exact() -> None:
    x = fm.random.Stream(1).exponential(2000) / 2000
    few = laws.law_of_mean([x])
    many = laws._transformed([x], few.mean, few.sd, 2**18)
    for p in (0.005, 0.025, 0.5, 0.975):
        assert few.quantile(p) == pytest.approx(many.quantile(p), abs=1e-6 * few.sd)


def test_laws_of_roots_are_those_of_draws() -> None:
    stream = fm.random.Stream(2)
    x, y = stream.exponential(30), stream.exponential(30) + 0.2
    slopes = stream.normal(30)
    cases: list[tuple[object, object]] = [
        ((x, y), "ratio_of_means"),
        ((slopes, slopes + y), "slope_through_origin"),
        (stream.normal(40), fm.resample.Huber()),
    ]
    for data, name in cases:
        common = {"method": "percentile", "rng": 0}
        known = fm.resample.bootstrap(data, name, **common)  # type: ignore[arg-type]
        drawn = fm.resample.bootstrap(  # type: ignore[call-overload, unused-ignore]
            data,
            name,
            exact=False,
            n_resamples=40_000,
            **common,  # type: ignore[arg-type]
        )
        assert known.exact
        assert known.n_resamples == 0
        assert known.stderr == pytest.approx(drawn.stderr, rel=0.02)
        assert known.bias == pytest.approx(drawn.bias, abs=5 * drawn.stderr / 200)
        assert abs(known.lower - drawn.lower) < 5 * drawn.mc_error[0]
        assert abs(known.upper - drawn.upper) < 5 * drawn.mc_error[1]


def test_moments_of_roots_are_those_of_sums() -> None:
    # With equal denominators a ratio is a mean.
    x = fm.random.Stream(4).exponential(25)
    root, mean = laws.law_of_ratio([x], [np.ones(25)]), laws.law_of_mean([x / 25])
    assert root is not None
    assert root.mean == pytest.approx(mean.mean, rel=1e-6)
    assert root.sd == pytest.approx(mean.sd, rel=1e-4)
    for p in (0.001, 0.025, 0.5, 0.975):
        assert root.quantile(p) == pytest.approx(mean.quantile(p), abs=1e-4 * mean.sd)
    assert laws.law_of_ratio([x], [np.append(np.ones(24), 0.0)]) is None


def test_the_mice_fall_below_their_mean_with_a_known_probability() -> None:
    mice = np.array([94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0])
    for unit in (1 / 7, None):
        law = laws.law_of_mean([mice / 7], unit)
        assert law.below(mice.mean()) == pytest.approx(0.5122306910507406, rel=1e-13)
