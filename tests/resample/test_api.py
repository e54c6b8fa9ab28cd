"""The bootstrap as users call it: reference values, coverage, determinism, hostile arguments."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, HeavyTailWarning, TargetError
from fermiac.resample import bootstrap

Array = NDArray[np.float64]
#: Mice and law school, from Efron and Tibshirani (1993).
MICE = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]
CONTROL = [52.0, 104.0, 146.0, 10.0, 51.0, 30.0, 40.0, 27.0, 46.0]
LSAT = [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594.0]
GPA = [3.39, 3.3, 2.81, 3.03, 3.44, 3.07, 3, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96]


def quietly(*args: Any, **kwargs: Any) -> fm.resample.Bootstrap:
    """The bootstrap of few observations, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return bootstrap(*args, **kwargs)


def draws(n: int, law: str = "exponential", seed: int = 1) -> Array:
    """Numbers of a law."""
    return np.asarray(getattr(fm.random.Stream(seed), law)(n))


# --- reference values ----------------------------------------------------------------------------


def test_mice() -> None:
    r = quietly(MICE, "mean", method="percentile", rng=0)
    assert r.stderr == pytest.approx(23.363523437299545, rel=1e-14)
    assert (r.lower, r.upper) == pytest.approx((304 / 7, 941 / 7), rel=1e-13)
    assert r.bias == 0.0
    assert r.exact
    assert (r.mc_error == 0).all()
    r = quietly(MICE, "mean", method="bca", rng=0)
    assert (r.lower, r.upper) == pytest.approx((324 / 7, 968 / 7), rel=1e-13)
    assert bootstrap(MICE, "median", rng=0).stderr == pytest.approx(37.8346744, rel=1e-8)


def test_law_school() -> None:
    r = bootstrap((LSAT, GPA), "pearson", rng=0)
    assert r.estimate == pytest.approx(0.776374491289407, rel=1e-14)
    assert r.method == "studentised"
    assert bootstrap(np.transpose([LSAT, GPA]), "pearson", rng=0).upper == r.upper


def test_intervals_from_draws_are_those_of_the_exact_law() -> None:
    for x, statistic in (
        (draws(40), "mean"),
        ((draws(20), draws(30, seed=2)), "mean_difference"),
        (draws(21), "median"),
        (draws(40), fm.resample.Quantile(0.8)),
    ):
        for method in ("percentile", "basic", "bca", "expanded"):
            known = bootstrap(x, statistic, method=method, rng=0)
            drawn = bootstrap(x, statistic, method=method, exact=False, n_resamples=4000, rng=0)
            assert known.exact
            assert not drawn.exact
            smooth = statistic in ("mean", "mean_difference")
            assert drawn.mc_error.min() > 0 or not smooth
            # Atoms of quantiles are farther from each other than the noise says.
            gap = 0.0 if smooth else 0.25
            assert abs(drawn.lower - known.lower) < 5 * drawn.mc_error[0] + gap
            assert abs(drawn.upper - known.upper) < 5 * drawn.mc_error[1] + gap
            assert drawn.stderr == pytest.approx(known.stderr, rel=0.06)


def test_monte_carlo_errors_are_calibrated() -> None:
    x = draws(25)
    for method in ("percentile", "bca", "studentised"):
        ends, errors = [], []
        for key in range(120):
            r = bootstrap(x, "mean", method=method, exact=False, n_resamples=600, rng=key)
            ends.append([r.lower, r.upper])
            errors.append(r.mc_error)
        ratio = np.std(ends, axis=0, ddof=1) / np.sqrt(np.mean(np.square(errors), axis=0))
        # The sd of 120 ends is known to 6.5 %.
        assert (np.abs(ratio - 1) < 0.3).all(), (method, ratio)


# --- intervals that hold -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "n", "statistic", "truth"),
    [
        ("exponential", 10, "mean", 1.0),
        ("exponential", 15, "median", np.log(2)),
        ("normal", 20, "sd", 1.0),
    ],
)
def test_default_intervals_hold(law: str, n: int, statistic: str, truth: float) -> None:
    held = 0
    for key in range(400):
        x = getattr(fm.random.Stream(key + 1000), law)(n)
        r = bootstrap(x, statistic, n_resamples=499, rng=key, plan=fm.Plan(n_threads=1))
        held += r.lower <= truth <= r.upper
    # The standard error of a coverage of 0.95 in 400 data sets is 0.011.
    assert 0.90 < held / 400 < 0.99


def test_areas_of_few_scores_have_intervals() -> None:
    held = 0
    for key in range(200):
        stream = fm.random.Stream(key + 5000)
        a, b = stream.normal(20) + 2.3262, stream.normal(20)
        r = quietly((a, b), "auc", n_resamples=499, rng=key, plan=fm.Plan(n_threads=1))
        assert 0 <= r.lower <= r.upper <= 1
        held += r.lower <= 0.95 <= r.upper
    assert held / 200 > 0.9
    with pytest.warns(FermiacWarning, match="do not overlap"):
        r = bootstrap((np.arange(20.0) + 30, np.arange(20.0)), "auc", rng=0)
    assert (r.lower, r.upper) == (pytest.approx(0.025 ** (1 / 20)), 1.0)


def test_bca_with_ties_is_never_nan() -> None:
    for key in range(30):
        x = np.floor(draws(30, seed=key + 7) * 3)
        r = quietly(x, "median", method="bca", rng=0)
        assert np.isfinite([r.lower, r.upper]).all()
        assert r.method in ("bca", "order")


def test_proportions_have_the_score_interval() -> None:
    x = np.repeat([1.0, 0.0], [81, 19])
    r = bootstrap(x, "mean", rng=0)
    assert r.method == "wilson"
    assert (r.lower, r.upper) == pytest.approx((0.7222115462, 0.8748524849), abs=1e-10)
    r = bootstrap(np.zeros(20), "mean", rng=0)
    assert r.lower == 0.0
    assert 0.1 < r.upper < 0.2


# --- determinism ---------------------------------------------------------------------------------


def test_bits_do_not_depend_on_threads(thread_counts: tuple[int, ...]) -> None:
    x = (draws(300), draws(200, seed=2))
    one = bootstrap(x, "auc", n_resamples=300, rng=3, plan=fm.Plan(n_threads=1))
    for n in thread_counts:
        other = bootstrap(x, "auc", n_resamples=300, rng=3, plan=fm.Plan(n_threads=n))
        assert (other.replicates == one.replicates).all()
        assert other.replicate_stderrs is not None
        assert (other.replicate_stderrs == one.replicate_stderrs).all()
        assert (other.lower, other.upper) == (one.lower, one.upper)


def test_draws_are_pinned() -> None:
    r = bootstrap(np.arange(12.0), "mean", n_resamples=4, exact=False, method="percentile", rng=5)
    pinned = [6.25, 6.083333333333333, 6.333333333333333, 4.666666666666667]
    np.testing.assert_allclose(r.replicates, pinned, rtol=1e-14)


def test_extended_replicates_are_those_of_one_call() -> None:
    x = draws(30)
    for statistic, more in (("mean", {}), ("median", {"exact": False, "method": "bca"}),
                            (lambda b: b.max(1), {})):  # fmt: skip
        short = bootstrap(x, statistic, n_resamples=100, rng=1, **more)
        whole = bootstrap(x, statistic, n_resamples=250, rng=1, **more)
        longer = short.extend(150)
        assert longer.n_resamples == 250
        assert (longer.replicates == whole.replicates).all()
        assert (longer.lower, longer.upper) == (whole.lower, whole.upper)


def test_exact_results_are_extended_by_replicates() -> None:
    known = bootstrap(draws(30), "mean", method="bca", rng=1)
    drawn = known.extend(2000)
    assert known.exact
    assert not drawn.exact
    assert drawn.n_resamples == 2000
    assert abs(drawn.upper - known.upper) < 5 * drawn.mc_error[1]


def test_a_tolerance_is_met() -> None:
    x = draws(30)
    r = bootstrap(x, "mean", n_resamples=200, tolerance=0.01, rng=1)
    assert r.mc_error.max() <= 0.01
    assert r.n_resamples > 200
    again = bootstrap(x, "mean", n_resamples=r.n_resamples, rng=1)
    assert (again.replicates == r.replicates).all()


# --- forms of statistics and data ----------------------------------------------------------------


def _area(a: Array, b: Array) -> Any:
    more = a[:, :, None] > b[:, None, :]
    return more.mean((1, 2)) + 0.5 * (a[:, :, None] == b[:, None, :]).mean((1, 2))


def _weighted_mean(x: Array, w: Array) -> Any:
    return (w * x).sum(1) / w.sum(1)


def test_forms_of_a_statistic_agree() -> None:
    x, y = draws(25), draws(25, seed=2)
    pairs: list[tuple[Any, Any, Any, dict[str, Any]]] = [
        (x, "mean", lambda b: b.mean(1), {}),
        (x, "mean", _weighted_mean, {"weights": True}),
        (x, "var", lambda b: b.var(1, ddof=1), {}),
        (x, "median", lambda b: np.median(b, axis=1), {}),
        (x, fm.resample.Quantile(0.3), lambda b: np.quantile(b, 0.3, axis=1), {}),
        (x, "iqr", lambda b: np.diff(np.quantile(b, [0.25, 0.75], axis=1), axis=0)[0], {}),
        ((x, y), "auc", _area, {}),
        ((x, y), "mean_difference", lambda a, b: a.mean(1) - b.mean(1), {}),
        ((x, y), "ratio_of_means", lambda a, b: a.mean(1) / b.mean(1), {"paired": True}),
    ]
    for data, name, function, more in pairs:
        common = {"n_resamples": 60, "rng": 2, "method": "percentile"}
        ours = bootstrap(data, name, exact=False, **common)
        other = bootstrap(data, function, **common, **more)
        np.testing.assert_allclose(ours.replicates, other.replicates, rtol=1e-12)
        assert ours.estimate == pytest.approx(other.estimate, rel=1e-12)


def _cells(truth: Array, guess: Array) -> tuple[Any, Any, Any, Any]:
    tp, fp = (truth * guess).sum(1), ((1 - truth) * guess).sum(1)
    fn, tn = (truth * (1 - guess)).sum(1), ((1 - truth) * (1 - guess)).sum(1)
    return tp, fp, fn, tn


def _mcc(truth: Array, guess: Array) -> Any:
    tp, fp, fn, tn = _cells(truth, guess)
    return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def _kappa(truth: Array, guess: Array) -> Any:
    tp, fp, fn, tn = _cells(truth, guess)
    n = tp + fp + fn + tn
    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
    return ((tp + tn) / n - chance) / (1 - chance)


def _spearman(x: Array, y: Array) -> Any:
    from scipy.stats import spearmanr

    return [spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]


def test_statistics_of_confusion_tables_and_ranks() -> None:
    stream = fm.random.Stream(8)
    truth = np.asarray(stream.uniform(60) < 0.5, float)
    guess = np.where(stream.uniform(60) < 0.8, truth, 1 - truth)
    functions: dict[str, Any] = {
        "accuracy": lambda t, g: (t == g).mean(1),
        "precision": lambda t, g: _cells(t, g)[0] / g.sum(1),
        "recall": lambda t, g: _cells(t, g)[0] / t.sum(1),
        "f1": lambda t, g: 2 * _cells(t, g)[0] / (t.sum(1) + g.sum(1)),
        "mcc": _mcc,
        "kappa": _kappa,
    }
    common: dict[str, Any] = {"n_resamples": 40, "rng": 2, "method": "percentile"}
    rows = np.stack([fm.random.Stream(9, k).integers(60, 60) for k in range(40)])
    for name, function in functions.items():
        ours = bootstrap((truth, guess), name, indices=rows, **common)
        other = bootstrap((truth, guess), function, paired=True, indices=rows, **common)
        np.testing.assert_allclose(ours.replicates, other.replicates, rtol=1e-12)
        r = bootstrap((truth, guess), name, rng=0, n_resamples=2000)
        assert r.method == ("wilson" if name == "accuracy" else "studentised")
        assert r.lower < r.estimate < r.upper
        j = fm.resample.jackknife((truth, guess), name)
        rough = 59 * (j.estimate - j.values)
        np.testing.assert_allclose(rough, j.influence, atol=0.05 * np.abs(rough).max())
    x, y = np.round(draws(25), 1), np.round(draws(25, seed=2), 1)
    ours = bootstrap((x, y), "spearman", **common)
    other = bootstrap((x, y), _spearman, paired=True, **common)
    np.testing.assert_allclose(ours.replicates, other.replicates, rtol=1e-12)
    with pytest.raises(ArgumentError, match="truth"):
        bootstrap((x, y), "f1", rng=0)


def test_cells_are_multinomial() -> None:
    truth = np.repeat([1.0, 1.0, 0.0, 0.0], [30, 10, 5, 55])
    guess = np.repeat([1.0, 0.0, 1.0, 0.0], [30, 10, 5, 55])
    common: dict[str, Any] = {"n_resamples": 20_000, "rng": 1, "method": "percentile"}
    r = bootstrap((truth, guess), "accuracy", exact=False, **common)
    assert abs(r.replicates.mean() - 0.85) < 5 * np.sqrt(0.85 * 0.15 / 100 / 20_000)
    assert r.replicates.var() == pytest.approx(0.85 * 0.15 / 100, rel=0.06)
    both = bootstrap((truth, guess), "f1", **common)
    rows = np.stack([fm.random.Stream(9, k).integers(100, 100) for k in range(4000)])
    drawn = bootstrap((truth, guess), "f1", indices=rows, **common)
    assert both.stderr == pytest.approx(drawn.stderr, rel=0.06)
    assert both.lower == pytest.approx(drawn.lower, abs=0.01)
    # Within strata of the truth, recall changes and the number of positives does not.
    levels = bootstrap((truth, guess), "recall", strata=truth, **common)
    assert levels.replicates.var() == pytest.approx(0.75 * 0.25 / 40, rel=0.06)
    pairs = np.arange(100) // 2
    assert bootstrap((truth, guess), "f1", clusters=pairs, rng=1).stderr > both.stderr


def test_columns_share_their_resamples() -> None:
    x = np.stack([draws(30), draws(30, seed=2)], axis=1)
    r = bootstrap(x, "mean", n_resamples=200, exact=False, rng=1)
    assert r.replicates.shape == (200, 2)
    assert r.mc_error.shape == (2, 2)
    one = bootstrap(x[:, 1], "mean", n_resamples=200, exact=False, rng=1)
    np.testing.assert_allclose(r.replicates[:, 1], one.replicates, rtol=1e-14)
    assert np.asarray(r.upper)[1] == pytest.approx(one.upper)
    assert np.shape(r.cov) == (2, 2)


@pytest.mark.filterwarnings("ignore:function. the statistic is the same")
def test_strata_and_clusters_are_kept() -> None:
    levels = np.repeat([3, 1], [10, 20])
    x = np.where(levels == 3, 1.0, 0.0) + 1e-3 * draws(30)
    shares = bootstrap(x, lambda b: (b > 0.5).mean(1), strata=levels, n_resamples=50,
                       method="percentile", rng=0)  # fmt: skip
    assert (shares.replicates == 1 / 3).all()
    whole = np.repeat(np.arange(10), 3)
    r = bootstrap(x, lambda b: b.reshape(len(b), 10, 3).std(2).max(1), clusters=whole,
                  n_resamples=50, method="percentile", rng=0)  # fmt: skip
    # Clusters are drawn as they are, so that no cluster of a resample is more spread than any.
    assert r.replicates.max() <= x.reshape(10, 3).std(1).max() + 1e-15


def test_stratified_and_clustered_errors() -> None:
    stream = fm.random.Stream(3)
    levels = np.repeat([0, 1], [20, 30])
    x = 5.0 * levels + stream.normal(50)
    r = bootstrap(x, "mean", strata=levels, method="percentile", rng=0)
    parts = [x[levels == k] for k in (0, 1)]
    variance = sum(p.size * p.var() for p in parts) / 50**2
    assert r.exact
    assert r.stderr == pytest.approx(np.sqrt(variance), rel=1e-6)
    groups = np.repeat(np.arange(20), 5)
    y = np.repeat(stream.normal(20), 5) + 0.1 * stream.normal(100)
    c = bootstrap(y, "mean", clusters=groups, n_resamples=4000, rng=0)
    means = y.reshape(20, 5).mean(1)
    assert c.stderr == pytest.approx(means.std() / np.sqrt(20), rel=0.06)
    assert c.upper - c.lower > 2.5 * (bootstrap(y, "mean", rng=0).upper - y.mean())


def test_the_bayesian_bootstrap_has_the_moments_of_its_posterior() -> None:
    x = draws(40)
    r = bootstrap(x, "mean", scheme="bayesian", n_resamples=4000, rng=0)
    assert r.method == "percentile"
    assert r.stderr == pytest.approx(x.std() / np.sqrt(41), rel=0.06)
    assert abs(r.bias) < 5 * r.stderr / np.sqrt(4000)


# --- results -------------------------------------------------------------------------------------


def test_scipy_gives_the_same_intervals() -> None:
    stats = pytest.importorskip("scipy.stats")
    x = draws(30)
    theirs = stats.bootstrap((x,), np.mean, n_resamples=9999, method="BCa",
                             rng=np.random.default_rng(0)).confidence_interval  # fmt: skip
    ours = bootstrap(x, "mean", method="bca", rng=0).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_a_transformed_statistic() -> None:
    r = bootstrap(draws(30), "var", n_resamples=500, rng=0)
    sd = r.transform(np.sqrt)
    assert sd.estimate == pytest.approx(np.sqrt(r.estimate))
    np.testing.assert_allclose(sd.replicates, np.sqrt(r.replicates))
    low, high = r.interval(0.95, "percentile")
    assert (sd.lower, sd.upper) == pytest.approx((np.sqrt(low), np.sqrt(high)), abs=2e-3)


# --- doubts and errors ---------------------------------------------------------------------------


def test_doubts_are_told() -> None:
    with pytest.warns(FermiacWarning, match="few"):
        bootstrap(draws(8), "mean", rng=0)
    with pytest.warns(FermiacWarning, match="point"):
        r = bootstrap(np.full(20, 3.0), "mean", rng=0)
    assert (r.lower, r.upper) == (3.0, 3.0)
    with pytest.warns(FermiacWarning, match="no finite end|open"):
        r = bootstrap([1.0, 2.0, 3.0], "median", rng=0)
    assert (r.lower, r.upper) == (-np.inf, np.inf)
    r = quietly(([1.0, 2, 3, 4], [2.0, 1, 4, 3]), "pearson", n_resamples=999, rng=0)
    assert any("that of BCa was taken" in text for text in r.warnings)
    assert r.lower < r.estimate < r.upper
    r = quietly([1.0, 2.0], "mean", rng=0)
    assert any("infinite" in text for text in r.warnings)
    assert (r.lower, r.upper) == (-np.inf, np.inf)
    stream = fm.random.Stream(1)
    with pytest.warns(HeavyTailWarning):
        bootstrap(stream.normal(2000) / stream.normal(2000), "mean", rng=0)


@pytest.mark.parametrize(
    ("x", "more"),
    [
        ([1.0], {}),
        ([], {}),
        ([1.0, np.nan, 2.0], {}),
        ([1.0, np.inf, 2.0], {}),
        ("text", {}),
        (np.zeros((3, 3, 3)), {}),
        ([1.0, 2.0], {"statistic": "nothing"}),
        ([1.0, 2.0], {"statistic": "auc"}),
        (([1.0, 2.0], [1.0]), {"statistic": "auc"}),
        (([1.0, 2.0], [1.0, 2.0, 3.0]), {"statistic": "pearson"}),
        ([1.0, 2.0], {"statistic": np.mean}),
        ([1.0, 2.0], {"statistic": 3}),
        ([1.0, 2.0], {"prob": 1.0}),
        ([1.0, 2.0], {"n_resamples": 0}),
        ([1.0, 2.0], {"method": "order"}),
        ([1.0, 2.0], {"method": "BCa"}),
        ([1.0, 2.0, 3.0], {"strata": [1, 2]}),
        ([1.0, 2.0, 3.0], {"strata": [1, 1, 2]}),
        ([1.0, 2.0, 3.0, 4.0], {"strata": [1, 1, 2, 2], "clusters": [1, 1, 1, 2]}),
        ([1.0, 2.0], {"scheme": "bayesian", "method": "bca"}),
        ([1.0, 2.0], {"scheme": "bayesian", "statistic": lambda b: b.mean(1)}),
        ([1.0, 2.0], {"batch": 3}),
        ([1.0, 2.0], {"exact": True, "method": "studentised"}),
        ([1.0, 2.0], {"tolerance": -1.0}),
        ([1.0, 2.0], {"statistic": fm.resample.Quantile}),
    ],
)  # fmt: skip
def test_wrong_arguments(x: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        bootstrap(x, rng=0, **more)


def test_wrong_callables() -> None:
    for f in (lambda b: 1.0, lambda b: b, lambda b: "text", lambda b: b.mean(0)):
        with pytest.raises(TargetError):
            bootstrap(np.zeros((5, 3)) + 1.0, f, rng=0)
    with pytest.raises(ZeroDivisionError):
        bootstrap([1.0, 2.0], lambda b: 1 / 0, rng=0)


def test_nan_is_left_out_on_request() -> None:
    x = draws(20)
    with_nan = np.insert(x, 4, np.nan)
    assert bootstrap(with_nan, on_nan="omit", rng=0).upper == bootstrap(x, rng=0).upper
    y = draws(20, seed=2)
    pairs = bootstrap((with_nan, np.insert(y, 4, 1.0)), "pearson", on_nan="omit", rng=0)
    assert pairs.upper == bootstrap((x, y), "pearson", rng=0).upper


def test_other_arrays() -> None:
    x = draws(20)
    known = bootstrap(x, rng=0).upper
    locked = x.copy()
    locked.flags.writeable = False
    for other in (x.tolist(), locked, np.repeat(x, 2)[::2], x[::-1][::-1]):
        assert bootstrap(other, rng=0).upper == known
    assert bootstrap(x.astype(np.float32), rng=0).upper == pytest.approx(known, rel=1e-6)


def test_ctrl_c_hands_out_the_replicates_so_far() -> None:
    calls = 0

    def f(b: Array) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return b.mean(1)

    with pytest.raises(KeyboardInterrupt) as caught:
        bootstrap(draws(20), f, batch=50, method="percentile", rng=0)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.n_resamples == 100
