"""Named statistics against brute force over resamples of given indices."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample import Huber, bootstrap, jackknife

Array = NDArray[np.float64]


def numbers(n: int, seed: int) -> Array:
    """Normal numbers."""
    return np.asarray(fm.random.Stream(seed).normal(n))


def rows(n: int, b: int) -> NDArray[np.int64]:
    """Indices of resamples."""
    return np.stack([fm.random.Stream(5, k).integers(n, n) for k in range(b)])


def compared(data: Any, name: Any, function: Any, b: int = 40) -> None:
    """Compare replicates of a statistic with a function of the resampled arrays."""
    n = len(data[0]) if isinstance(data, tuple) else len(data)
    index = rows(n, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        r = bootstrap(data, name, indices=index, method="percentile", rng=0)
    given = data if isinstance(data, tuple) else (data,)
    known = np.array([function(*(x[i] for x in given)) for i in index])
    np.testing.assert_allclose(r.replicates, known, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(r.estimate, function(*given), rtol=1e-10, atol=1e-12)


def derivatives(data: Any, name: Any) -> None:
    """Compare influences with the jackknife, whose difference is of the order of 1 / n."""
    j = jackknife(data, name)
    rough = (len(j.values) - 1) * (j.estimate - j.values)
    pairs = zip(np.atleast_2d(rough.T), np.atleast_2d(j.influence.T), strict=True)
    for a, b in pairs:
        assert np.corrcoef(a, b)[0, 1] > 0.97
        assert abs(b.sum()) < 1e-9 * np.abs(b).sum()


def test_kendall() -> None:
    from scipy.stats import kendalltau

    x = numbers(40, 1)
    y = x + 2 * numbers(40, 2)
    for a, b in ((x, y), (np.round(x), np.round(y, 1))):
        compared((a, b), "kendall", lambda u, v: kendalltau(u, v).statistic)
        derivatives((a, b), "kendall")
    r = bootstrap((x, y), "kendall", n_resamples=500, rng=0)
    assert r.method == "studentised"
    assert -1 <= r.lower < r.estimate < r.upper <= 1


def _harrell(y: Array, s: Array, e: Array) -> float:
    above = all_ = 0.0
    for i in range(len(y)):
        later = (y > y[i]) | ((y == y[i]) & (e == 0))
        if e[i] == 1:
            above += ((s > s[i]) & later).sum() + 0.5 * ((s == s[i]) & later).sum()
            all_ += later.sum()
    return above / all_


def test_concordance() -> None:
    y = np.round(np.exp(numbers(40, 1)), 1)
    s = np.round(y + numbers(40, 2), 1)
    e = (fm.random.Stream(3).uniform(40) < 0.7) * 1.0
    compared((y, s, e), "concordance", _harrell)
    compared((y, s), "concordance", lambda a, b: _harrell(a, b, np.ones(len(a))))
    derivatives((y, s, e), "concordance")
    # The events are at 1 and 2, with scores of 1 and 3; of their 5 pairs that of 2 with the one who
    # left at 2 with a score of 2 is out of order.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        r = bootstrap(
            (np.array([1.0, 2, 2, 5]), np.array([1.0, 3, 2, 4]), np.array([1.0, 1, 0, 0])),
            "concordance",
            n_resamples=50,
            method="percentile",
            rng=0,
        )
    assert r.estimate == 4 / 5


def _ols(x: Array, y: Array) -> Any:
    return np.linalg.lstsq(np.column_stack([np.ones(len(y)), x]), y, rcond=None)[0]


def test_least_squares() -> None:
    x = numbers(60, 1).reshape(30, 2) * [1.0, 100.0] + [0.0, 1e4]
    y = x @ [1.0, 0.02] + numbers(30, 3)
    compared((x, y), "ols", _ols)
    compared((x[:, 0], y), "ols", _ols)
    j = jackknife((x, y), "ols")
    keep = [np.delete(np.arange(30), k) for k in range(30)]
    known = np.array([_ols(x[k], y[k]) for k in keep])
    # The design has a condition of 1e4 · 100.
    np.testing.assert_allclose(j.values, known, rtol=1e-9)
    derivatives((x, y), "ols")
    r = bootstrap((x, y), "ols", n_resamples=500, rng=0)
    assert r.method == "studentised"
    assert r.replicates.shape == (500, 3)
    assert (np.asarray(r.lower) < r.estimate).all()


@pytest.mark.parametrize("name", ["ols", "logistic", "auc"])
def test_fast_standard_errors_are_those_of_influences(name: Any) -> None:
    stream = fm.random.Stream(4)
    x = stream.normal((90, 3))
    if name == "auc":
        # Labels of strata that are the samples: the same draws by the general path.
        data: Any = (np.round(x[:40, 0] + 0.5, 1), np.round(x[40:, 0], 1))
        labels: dict[str, Any] = {"strata": (np.zeros(40), np.zeros(50))}
    else:
        y = x @ [1.0, 0.5, 0.0] + stream.normal(90)
        data = (x, y if name == "ols" else (y > 0) * 1.0)
        # Clusters of single observations.
        labels = {"clusters": np.arange(90)}
    common: dict[str, Any] = {"method": "studentised", "n_resamples": 100, "rng": 2}
    fast, general = bootstrap(data, name, **common), bootstrap(data, name, **common, **labels)
    np.testing.assert_allclose(fast.replicates, general.replicates, rtol=1e-11, atol=1e-12)
    assert fast.replicate_stderrs is not None
    assert general.replicate_stderrs is not None
    np.testing.assert_allclose(fast.replicate_stderrs, general.replicate_stderrs, rtol=1e-11)


def test_panels_have_the_bits_of_single_replicates(thread_counts: tuple[int, ...]) -> None:
    stream = fm.random.Stream(5)
    data = (stream.normal((200, 4)), stream.normal(200))
    common: dict[str, Any] = {"method": "percentile", "rng": 2}
    whole = bootstrap(data, "ols", n_resamples=230, plan=fm.Plan(n_threads=1), **common)
    for n in thread_counts:
        parts = bootstrap(data, "ols", n_resamples=37, plan=fm.Plan(n_threads=n), **common)
        for more in (1, 2, 60, 130):
            parts = parts.extend(more, plan=fm.Plan(n_threads=n))
        assert (parts.replicates == whole.replicates).all()


def test_resamples_of_deficient_rank_take_the_least_norm() -> None:
    x = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    y = np.array([1.0, 2.0, 0.0, 1.5, 3.0, 4.0])
    index = np.array([[0, 1, 2, 3, 0, 1], [4, 5, 4, 5, 4, 5], [0, 1, 2, 3, 4, 5]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        r = bootstrap((x, y), "ols", indices=index, method="percentile", rng=0)
    assert any("not unique in 2 resamples" in text for text in r.warnings)
    known = [_ols(x[i], y[i]) for i in index]
    np.testing.assert_allclose(r.replicates, known, atol=1e-12)
    with pytest.raises(ArgumentError, match="rank"):
        bootstrap((np.ones(10), numbers(10, 1)), "ols", rng=0)
    with pytest.raises(ArgumentError, match="coefficients"):
        bootstrap((numbers(12, 1).reshape(4, 3), numbers(4, 1)), "ols", rng=0)


def test_logistic_regression() -> None:
    from scipy.optimize import minimize
    from scipy.special import expit

    x = numbers(120, 1).reshape(60, 2)
    y = (fm.random.Stream(4).uniform(60) < expit(x @ [1.0, -0.5])) * 1.0
    design = np.column_stack([np.ones(60), x])
    fit = minimize(
        lambda b: np.logaddexp(0, design @ b).sum() - y @ design @ b,
        np.zeros(3),
        jac=lambda b: design.T @ (expit(design @ b) - y),
        tol=1e-12,
    ).x

    def step(a: Array, b: Array) -> Any:
        rows = np.column_stack([np.ones(len(b)), a])
        p = expit(rows @ fit)
        return fit + np.linalg.solve((rows * (p * (1 - p))[:, None]).T @ rows, rows.T @ (b - p))

    r = bootstrap((x, y), "logistic", n_resamples=200, rng=0)
    np.testing.assert_allclose(r.estimate, fit, atol=1e-6)
    index = rows(60, 30)
    known = np.array([step(x[i], y[i]) for i in index])
    ours = bootstrap((x, y), "logistic", indices=index, method="percentile", rng=0)
    np.testing.assert_allclose(ours.replicates, known, atol=1e-5)
    derivatives((x, y), "logistic")
    for wrong in (np.arange(60.0), np.zeros(60), (x[:, 0] > 0) * 1.0):
        with pytest.raises(ArgumentError):
            bootstrap((x, wrong), "logistic", rng=0)


def test_losses_of_probabilities() -> None:
    p = np.asarray(fm.random.Stream(1).uniform(50))
    y = (fm.random.Stream(2).uniform(50) < p) * 1.0
    compared((y, p), "brier", lambda a, b: ((a - b) ** 2).mean())
    compared((y, p), "log_loss", lambda a, b: -np.log(np.where(a == 1, b, 1 - b)).mean())
    assert bootstrap((y, p), "brier", method="bca", rng=0).exact
    for name, wrong in (("brier", p + 1), ("log_loss", y), ("brier", p - 1)):
        with pytest.raises(ArgumentError, match="probability"):
            bootstrap((y, wrong), name, rng=0)
    with pytest.raises(ArgumentError, match="probability"):
        bootstrap((p, p), "brier", rng=0)


def test_slopes_of_pairs() -> None:
    x, y = numbers(30, 1), numbers(30, 2)
    compared((x, y), "slope_through_origin", lambda a, b: (a * b).sum() / (a * a).sum())
    with pytest.raises(ArgumentError, match="zero"):
        bootstrap((np.zeros(9), y[:9]), "slope_through_origin", rng=0)


def _huber(x: Array, cut: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda t: np.clip(x - t, -cut, cut).sum(), x.min(), x.max(), xtol=1e-14))


def test_huber() -> None:
    x = np.append(numbers(30, 1), [9.0, -30.0, 12.0])
    scale = 1.4826022185056018 * np.median(np.abs(x - np.median(x)))
    compared(x, Huber(1.5), lambda a: _huber(a, 1.5 * scale))
    compared(x, Huber(1.0, scale=2.0), lambda a: _huber(a, 2.0))
    derivatives(x, Huber())
    # Between two clusters beyond the cut, all values are roots; the middle is taken.
    two = np.array([0.0, 0.0, 0.0, 10.0, 10.0, 10.0])
    assert jackknife(two, Huber(1.0, scale=1.0)).estimate == 5.0
    with pytest.raises(ArgumentError, match="scale"):
        bootstrap(np.repeat([1.0, 2.0], [9, 3]), Huber(), rng=0)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ArgumentError):
            Huber(wrong)


def test_results_are_loaded_and_continued(tmp_path: Any) -> None:
    x, y = numbers(30, 1), numbers(30, 2)
    cases: list[tuple[Any, Any]] = [
        ((x, y), "kendall"),
        ((x, y), "ols"),
        ((x, y), "slope_through_origin"),
        (((y > 0) * 1.0, 1 / (1 + np.exp(-x))), "brier"),
        (x, Huber(1.2)),
    ]
    for data, name in cases:
        r = bootstrap(data, name, n_resamples=60, exact=False, rng=0)
        r.save(tmp_path / "r")
        again = fm.resample.Bootstrap.load(tmp_path / "r").extend(20)
        assert (again.replicates == r.extend(20).replicates).all()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (np.arange(9.0), "ols"),
        ((np.zeros((3, 3, 3)), np.arange(3.0)), "ols"),
        ((np.arange(9.0), np.arange(8.0)), "kendall"),
        ((np.arange(9.0), np.arange(9.0), np.arange(9.0)), "concordance"),
        ((np.ones(9), np.arange(9.0)), "concordance"),
        ((np.arange(9.0),) * 4, "concordance"),
    ],
)
def test_wrong_data(data: Any, name: Any) -> None:
    with pytest.raises(ArgumentError):
        bootstrap(data, name, rng=0)
