"""Results in the unit of the data: factors near the ends of the range of doubles."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac import diagnostics, evaluate, resample
from fermiac.errors import FermiacWarning, NumericalError, WeightWarning

_STREAM = fm.random.Stream(3)
X = _STREAM.normal(24) + 0.3
W = np.abs(X) + 0.1
Y = _STREAM.normal(24) + 0.4 * X
X2 = np.column_stack([X, W])
A, B = X[:13], Y[:11]
SERIES = np.cumsum(_STREAM.normal(60)) * 0.2 + _STREAM.normal(60)
GROUPS = np.repeat(np.arange(6), 4)
CHAINS = _STREAM.normal((4, 101, 2))
SPLITS = evaluate.splits.out_of_bag(24, 60, rng=0)
COUNTS = np.array([np.bincount(train, minlength=24) for train, _ in SPLITS])
LOSSES = np.abs(_STREAM.normal((60, 24)))
LABELS = _STREAM.uniform(24) < 0.5
POWERS = [2.0**k for k in (-1000, -500, 500, 900)]

#: Numbers that do not depend on the unit, and numbers in it, or in a power of it.
Figures = tuple[list[Any], list[Any]]
Call = Callable[[float], Figures]

_IN_UNITS = (
    "estimate", "stderr", "bias", "lower", "upper", "mc_error", "replicates", "replicate_stderrs",
    "values", "influence", "plain_lower", "plain_upper", "subset_estimates", "subset_stderrs",
    "mean", "scale", "resubstitution", "out_of_bag", "no_information", "losses",
)  # fmt: skip
_WITHOUT = (
    "pvalue", "pvalue_lower", "log_pvalue", "pvalue_adjusted", "acceleration", "levels",
    "positions", "df", "prob_first", "prob_equivalent", "noise_share", "overfitting", "auc",
    "mean_ranks", "stationary", "method",
)  # fmt: skip


def figures(result: Any, *moving: str) -> Figures:
    """Return the figures of a result; `moving` ones are in the unit too."""
    own = [getattr(result, name) for name in (*_IN_UNITS, *moving) if hasattr(result, name)]
    free = [getattr(result, name) for name in _WITHOUT if hasattr(result, name)]
    return [value for value in free if value is not None], [v for v in own if v is not None]


def bootstrap(x: Any, statistic: Any, **options: Any) -> Figures:
    """Return the figures of a bootstrap."""
    return figures(resample.bootstrap(x, statistic, rng=0, n_resamples=49, **options))


def cases() -> Iterator[tuple[str, int, Call]]:
    """Yield a name, the power of the unit, and a call of data times a factor."""
    boot, jack, double = bootstrap, resample.jackknife, resample.double_bootstrap
    degree = {"var": 2, "skewness": 0, "kurtosis": 0, "cov": 2}
    for s in ("mean", "var", "sd", "median", "iqr", "mad", "trimmed_mean", "huber", "skewness",
              "kurtosis", resample.Quantile(0.3)):  # fmt: skip
        d = degree.get(s, 1) if isinstance(s, str) else 1
        yield f"bootstrap {s}", d, lambda c, s=s: boot(X * c, s)
        yield f"drawn {s}", d, lambda c, s=s: boot(X * c, s, exact=False, method="bca")
        yield f"clusters {s}", d, lambda c, s=s: boot(X * c, s, clusters=GROUPS)
        yield f"bayesian {s}", d, lambda c, s=s: boot(X * c, s, scheme="bayesian")
        yield f"jackknife {s}", d, lambda c, s=s: figures(jack(X * c, s))
        if s != "huber":
            yield f"columns {s}", d, lambda c, s=s: boot(X2 * c, s)
    for s in ("pearson", "spearman", "kendall", "cov", "ratio_of_means", "slope_through_origin",
              "concordance"):  # fmt: skip
        d = degree.get(s, 0)
        yield f"bootstrap {s}", d, lambda c, s=s: boot((X * c, W * c), s)
        yield f"jackknife {s}", d, lambda c, s=s: figures(jack((X * c, W * c), s))
    for s, d in (("ratio_of_means", 1), ("slope_through_origin", -1), ("pearson", 0), ("cov", 1)):
        yield f"first unit of {s}", d, lambda c, s=s: boot((X * c, W), s)
    for s in ("mean_difference", "mean_ratio", "cohen_d", "welch_t", "auc"):
        d = int(s == "mean_difference")
        yield f"bootstrap {s}", d, lambda c, s=s: boot((A * c, B * c), s)
        yield f"jackknife {s}", d, lambda c, s=s: figures(jack((A * c, B * c), s))
    own = resample.Huber
    yield "huber, scale given", 1, lambda c: boot(X * c, own(1.5, c))
    yield "ols, outcomes", 1, lambda c: boot((X2, Y * c), "ols")
    yield "ols, design", -1, lambda c: slopes(boot((X2 * c, Y), "ols"))
    yield "logistic", -1, lambda c: slopes(boot((X * c, Y > 0), "logistic"))
    for s, d in (("mean", 1), ("autocorrelation", 0)):
        yield f"sieve {s}", d, lambda c, s=s: boot(SERIES * c, s, scheme="sieve")
    yield "stationary sd", 1, lambda c: boot(SERIES * c, "sd", scheme="stationary")
    fixed = {"scheme": "sieve", "method": "fixed_b"}
    yield "fixed-b", 1, lambda c: boot(SERIES * c, "mean", **fixed)
    yield "m out of n", 1, lambda c: boot(X * c, "mean", scheme=resample.MOutOfN(9))
    sampler = resample.Parametric
    yield "parametric", 1, lambda c: boot(X * c, "sd", scheme=sampler(lambda s: s.normal(24) * c))
    yield "function", 1, lambda c: boot(X * c, lambda x: x.max(axis=1))
    yield "function of columns", 1, lambda c: boot(X2 * c, lambda x: x.max(axis=1))
    yield "jackknife of a function", 1, lambda c: figures(jack(X * c, lambda x: x.max(axis=1)))
    few = {"n_resamples": 100, "n_inner": 20, "rng": 0}
    yield "double", 1, lambda c: figures(double(X * c, "sd", **few))
    yield "double, function", 1, lambda c: figures(double(X * c, lambda x: x.max(axis=1), **few))
    little = resample.little_bootstraps
    for s in ("mean", "sd"):
        yield (
            f"little {s}",
            1,
            lambda c, s=s: figures(little(np.tile(X, 40) * c, s, rng=0, n_resamples=20)),
        )
    wild = resample.wild_bootstrap
    for label in (None, GROUPS):
        yield (
            f"wild {label is None}",
            1,
            lambda c, k=label: tested(
                wild((X, Y * c), rng=0, n_resamples=49, null=0.1 * c, clusters=k)
            ),
        )
    yield "block length", 0, lambda c: figures(resample.block_length(SERIES * c))
    test = resample.permutation_test
    options: dict[str, dict[str, Any]] = {
        "mean": {},
        "sampled": {"exact": False},
        "rank": {"statistic": "rank"},
        "median": {"statistic": "median"},
        "blocks": {"blocks": (GROUPS[:13], GROUPS[:11])},
        "max-t": {"adjust": "max-t"},
    }
    for name, kw in options.items():
        moving = () if "statistic" in kw or "adjust" in kw else ("statistic", "null")
        yield (
            f"permuted {name}",
            1,
            lambda c, kw=kw, m=moving: figures(
                test((A * c, B * c), rng=0, n_resamples=49, **kw), *m
            ),
        )
        if name not in ("median", "blocks"):
            yield (
                f"signs {name}",
                1,
                lambda c, kw=kw, m=moving: figures(test(X * c, rng=0, n_resamples=49, **kw), *m),
            )
    yield "columns permuted", 1, lambda c: figures(test(X2 * c, rng=0, n_resamples=49), "statistic")
    yield (
        "studentised",
        0,
        lambda c: figures(
            test((A * c, B * c), studentise=True, rng=0, n_resamples=49), "statistic", "null"
        ),
    )
    yield (
        "studentised signs",
        1,
        lambda c: figures(test(X * c, studentise=True, rng=0, n_resamples=49), "statistic"),
    )
    for s in ("pearson", "spearman"):
        yield (
            f"permuted {s}",
            0,
            lambda c, s=s: figures(
                test((X * c, Y * c), s, kind="pairs", rng=0, n_resamples=49), "statistic"
            ),
        )
    yield "auc", 0, lambda c: figures(evaluate.auc(LABELS, X * c))
    yield "t-test", 0, lambda c: tested(evaluate.resampled_ttest(X * c, test_train_ratio=0.1))
    for m in ("f", "t"):
        yield (
            f"5x2 {m}",
            0,
            lambda c, m=m: tested(evaluate.five_by_two_cv(X[:10].reshape(5, 2) * c, method=m)),
        )
    yield (
        "posterior",
        1,
        lambda c: figures(evaluate.correlated_posterior(X * c, test_train_ratio=0.1, rope=0.1 * c)),
    )
    yield "friedman", 0, lambda c: tested(evaluate.friedman(X.reshape(8, 3) * c))
    yield "nemenyi", 0, lambda c: figures(evaluate.nemenyi(X.reshape(8, 3) * c))
    yield (
        "losses",
        1,
        lambda c: figures(evaluate.error_from_losses(0.2 * W * c, LOSSES * c, COUNTS, 0.9 * c)),
    )
    yield (
        "bootstrap error",
        1,
        lambda c: figures(
            evaluate.bootstrap_error(nearest, X2, Y * c, loss="absolute", rng=0, n_resamples=30)
        ),
    )
    of_chains = CHAINS
    for m in ("rank", "split", "unsplit", "folded"):
        yield f"rhat {m}", 0, lambda c, m=m: ([diagnostics.rhat(of_chains * c, method=m)], [])
    for k in ("bulk", "tail", "mean", "sd", "mad", "quantile", "local"):
        yield f"ess {k}", 0, lambda c, k=k: ([diagnostics.ess(of_chains * c, kind=k)], [])
    for k in ("mean", "sd", "median"):
        yield f"mcse {k}", 1, lambda c, k=k: ([], [diagnostics.mcse(of_chains * c, kind=k)])
    for m in ("rank", "unsplit", "folded"):
        yield f"nested rhat {m}", 0, lambda c, m=m: (
            [diagnostics.nested_rhat(of_chains * c, 2, method=m)], []
        )  # fmt: skip
    yield "bfmi", 0, lambda c: ([diagnostics.bfmi(of_chains[..., 0] * c)], [])


def tested(result: Any) -> Figures:
    """Return the figures of a result whose statistic has no unit."""
    free, own = figures(result)
    return [*free, result.statistic], own


def slopes(given: Figures) -> Figures:
    """Return the figures of the coefficients but the constant, whose unit is another one."""
    free, own = given
    return free, [np.asarray(value)[..., 1:] for value in own]


def nearest(x: Any, y: Any) -> Callable[[Any], Any]:
    """Return the rule of the nearest example."""
    return lambda new: y[np.abs(new[:, None] - x).sum(2).argmin(1)]


TABLE = list(cases())


def expected(values: list[Any], degree: int, c: float) -> list[Any]:
    """Return figures in another unit."""
    return [np.asarray(value) * c**degree for value in values]


@pytest.fixture(autouse=True)
def only_numpy() -> Iterator[None]:
    """Doubts about few data are no errors here; warnings of NumPy are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        yield


@pytest.mark.parametrize("case", TABLE, ids=[case[0] for case in TABLE])
def test_factors(case: tuple[str, int, Call]) -> None:
    name, degree, call = case
    free, own = call(1.0)
    for c in POWERS:
        if abs(degree * np.log2(c)) > 1000 or (degree == -1 and c < 1):
            continue
        same, scaled = call(c)
        for value, wanted in zip([*same, *scaled], [*free, *expected(own, degree, c)], strict=True):
            np.testing.assert_array_equal(value, wanted)
    for c in (1e200, 1e-200, 1e307, 1e-307):
        if abs(degree) > 1 or (degree == -1 and c < 1):
            continue
        if name == "bootstrap error" and c > 1e306:
            with pytest.raises(NumericalError, match="sums of 'absolute' losses are too large"):
                call(c)
            continue
        same, scaled = call(c)
        for value, wanted in zip(same, free, strict=True):
            if not isinstance(wanted, str):
                np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-9)
        for value, wanted in zip(scaled, expected(own, degree, c), strict=True):
            # A bias is the difference of figures as large as the estimate.
            size = (
                max(np.abs(np.append(of, 0.0)).max() for of in (wanted, own[0] * c**degree)) or 1.0
            )
            np.testing.assert_allclose(value / size, wanted / size, rtol=1e-8, atol=1e-10)


def test_random_factors_give_no_warning_of_numpy() -> None:
    stream = fm.random.Stream(8)
    many = 400
    picks = np.resize(np.argsort(stream.uniform(len(TABLE))), many)
    for place, exponent in zip(picks, stream.uniform(many) * 610 - 305, strict=True):
        name, degree, call = TABLE[int(place)]
        try:
            call(10.0**exponent)
        except NumericalError:
            # The variance or the slope itself, out of the range of doubles.
            assert degree not in (0, 1), (name, exponent)


@pytest.mark.parametrize(("statistic", "c"), [("var", 1e200), ("var", 1e-200), ("cov", 1e170)])
def test_answers_out_of_range(statistic: str, c: float) -> None:
    x: Any = (X * c, W * c) if statistic == "cov" else X * c
    for call in (resample.jackknife, bootstrap):
        with pytest.raises(NumericalError, match=f"^{statistic}: its (estimate|stderr) is too"):
            call(x, statistic)


def test_ordinary_data_are_used_as_they_are() -> None:
    data = resample.bootstrap(X, "sd", rng=0, n_resamples=49)
    assert data.data[0] is not X
    np.testing.assert_array_equal(data.data[0], X)
    huge = resample.bootstrap(X * 2.0**500, "sd", rng=0, n_resamples=49)
    np.testing.assert_array_equal(huge.data[0], X * 2.0**500)


def test_results_in_another_unit_go_on(tmp_path: Any) -> None:
    c = 2.0**-900
    results = [resample.bootstrap(X * f, "sd", rng=0, n_resamples=99) for f in (1.0, c)]
    file = tmp_path / "result.safetensors"
    results[1].save(file)
    for more in (results[1], fm.load(file)):
        again, base = more.extend(50), results[0].extend(50)
        assert (again.lower, again.upper) == (base.lower * c, base.upper * c)
        np.testing.assert_array_equal(again.replicates, base.replicates * c)
        ends = [np.array(r.interval(0.8, "bca")) for r in (more, results[0])]
        np.testing.assert_array_equal(ends[0], ends[1] * c)
    with pytest.raises(NumericalError, match=r"^sd: its cov is too large"):
        _ = resample.bootstrap(X * 1e200, "sd", rng=0, n_resamples=49).cov
    wide = resample.bootstrap(X * 2.0**900, "sd", rng=0, n_resamples=99)
    assert wide.transform(lambda v: v / 4).stderr == results[0].stderr * 2.0**898


def test_tolerance_is_in_the_unit_of_the_data() -> None:
    loose, tight = (
        resample.bootstrap(X * 2.0**500, "sd", rng=0, n_resamples=99, tolerance=t * 2.0**500)
        for t in (1.0, 0.03)
    )
    assert loose.n_resamples == 99 < tight.n_resamples
    assert tight.mc_error.max() <= 0.03 * 2.0**500


def test_whole_numbers_in_any_unit() -> None:
    whole = np.rint(9 * np.append(X, Y))
    for c in (0.37, np.pi, 1e200, 1e-307):
        for test in ((whole[:20], whole[20:]), whole):
            plain = resample.permutation_test(test)
            given = tuple(x * c for x in test) if isinstance(test, tuple) else test * c
            p = resample.permutation_test(given)
            assert p.method == plain.method == "shift"
            assert p.pvalue == plain.pvalue
        ends = [
            resample.bootstrap(whole * f, "mean", method="percentile").upper / f for f in (1.0, c)
        ]
        assert ends[1] == pytest.approx(ends[0], rel=1e-13)


def test_studentised_means_of_tiny_data() -> None:
    a, b = _STREAM.normal(9), _STREAM.normal(8) + 0.9
    p, *others = (
        resample.permutation_test((a * c, b * c), studentise=True, n_resamples=999, rng=1).pvalue
        for c in (1.0, 1e-253, 1e253)
    )
    assert others == [p, p]


def test_losses_out_of_range() -> None:
    for c in (1e200, 1e-200):
        with pytest.raises(NumericalError, match=r"^loss: "):
            evaluate.bootstrap_error(nearest, X2, Y * c, loss="squared", rng=0, n_resamples=30)


def test_smoothed_weights_of_huge_ratios() -> None:
    ramp = 1.7e308 * np.linspace(-1, 1, 100)
    for ratios in (np.append(0.0, np.full(99, -np.inf)), ramp):
        with pytest.warns(WeightWarning, match="one weight has all of the sum"):
            log_weights, khat = diagnostics.psis(ratios)
        assert khat == np.inf
        assert sorted(np.exp(log_weights))[-2:] == [0, 1]
    with pytest.warns(WeightWarning):
        _, khats = diagnostics.psis(np.column_stack([ramp, CHAINS[0, :100, 0]]))
    assert khats[0] == np.inf
    assert abs(khats[1]) < 1
    # Half of the weights are equal and the others 0, so the tail has no spread.
    log_weights, khat = diagnostics.psis(np.repeat([1e308, -1e308], 50))
    assert khat == -np.inf
    np.testing.assert_allclose(np.exp(log_weights), np.repeat([0.02, 0.0], 50), rtol=1e-14)
