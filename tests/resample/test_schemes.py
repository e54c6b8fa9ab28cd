"""Schemes of resampling: fewer draws, fitted laws, given indices; forms of functions."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.resample import MOutOfN, Parametric, bootstrap, jackknife

Array = NDArray[np.float64]


def draws(n: int, law: str = "exponential", seed: int = 1) -> Array:
    """Numbers of a law."""
    return np.asarray(getattr(fm.random.Stream(seed), law)(n))


# --- fewer draws ---------------------------------------------------------------------------------


def test_fewer_draws_are_scaled_back() -> None:
    x = draws(200)
    few = bootstrap(x, "mean", scheme=MOutOfN(50), n_resamples=4000, rng=0)
    assert few.method == "basic"
    assert not few.exact
    assert few.stderr == pytest.approx(x.std() / np.sqrt(200), rel=0.05)
    assert np.std(few.replicates) == pytest.approx(x.std() / np.sqrt(50), rel=0.05)
    share = bootstrap(x, "mean", scheme=MOutOfN(0.25), n_resamples=4000, rng=0)
    assert (share.replicates == few.replicates).all()
    called = bootstrap(x, lambda b: b.mean(1), scheme=MOutOfN(50), n_resamples=4000, rng=0)
    np.testing.assert_allclose(called.replicates, few.replicates, rtol=1e-12)
    assert called.upper == pytest.approx(few.upper, rel=1e-12)


def test_ends_of_a_uniform_law_are_held() -> None:
    held = usual = 0
    for key in range(200):
        x = draws(200, "uniform", key + 50)
        common: dict[str, Any] = {"n_resamples": 299, "rng": key, "plan": fm.Plan(n_threads=1)}
        r = bootstrap(x, lambda b: b.max(1), scheme=MOutOfN(20, rate=1.0), **common)
        held += r.lower <= 1.0 <= r.upper
        r = bootstrap(x, lambda b: b.max(1), method="percentile", **common)
        usual += r.lower <= 1.0 <= r.upper
    assert 0.88 < held / 200 <= 1.0
    assert usual == 0


def test_fewer_draws_of_two_samples() -> None:
    a, b = draws(30), draws(60, seed=2)
    r = bootstrap((a, b), "auc", scheme=MOutOfN(0.5), n_resamples=400, rng=0)
    assert r.lower < r.estimate < r.upper
    same = bootstrap(
        (a, b), lambda x, y: (x[:, :, None] > y[:, None, :]).mean((1, 2)), scheme=MOutOfN(0.5),
        n_resamples=40, rng=0,
    )  # fmt: skip
    np.testing.assert_allclose(same.replicates, r.replicates[:40], rtol=1e-12)
    levels = (np.arange(30) % 2, np.arange(60) % 3)
    common: dict[str, Any] = {"strata": levels, "scheme": MOutOfN(0.5), "n_resamples": 40, "rng": 0}
    named = bootstrap((a, b), "mean_difference", **common)
    called = bootstrap((a, b), lambda x, y: x.mean(1) - y.mean(1), **common)
    np.testing.assert_allclose(called.replicates, named.replicates, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, np.nan, "few", 20, 21])
def test_wrong_numbers_of_draws(wrong: Any) -> None:
    with pytest.raises(ArgumentError):
        bootstrap(draws(20), "mean", scheme=MOutOfN(wrong), rng=0)


# --- fitted laws ---------------------------------------------------------------------------------


def test_samples_of_a_fitted_law() -> None:
    x = draws(40)
    fitted = Parametric(lambda stream: x.mean() * stream.exponential(40))
    r = bootstrap(x, "mean", scheme=fitted, n_resamples=3000, rng=1)
    assert r.stderr == pytest.approx(x.mean() / np.sqrt(40), rel=0.06)
    called = bootstrap(x, lambda b: b.mean(1), scheme=fitted, n_resamples=50, rng=1)
    np.testing.assert_allclose(called.replicates, r.replicates[:50], rtol=1e-12)
    more = bootstrap(x, "mean", scheme=fitted, n_resamples=30, rng=1).extend(20)
    assert (more.replicates == r.replicates[:50]).all()
    pair = Parametric(lambda stream: (stream.normal(12), stream.normal(15)))
    two = bootstrap((draws(12), draws(15, seed=2)), "auc", scheme=pair, n_resamples=200, rng=0)
    assert abs(two.replicates.mean() - 0.5) < 5 * two.replicates.std() / np.sqrt(200)


@pytest.mark.parametrize(
    "sampler",
    [lambda s: s.normal(3), lambda s: None, lambda s: "text", lambda s: np.full(20, np.nan)],
)
def test_wrong_samplers(sampler: Any) -> None:
    with pytest.raises(TargetError, match="sampler"):
        bootstrap(draws(20), "mean", scheme=Parametric(sampler), rng=0)
    with pytest.raises(ArgumentError):
        Parametric(3)  # type: ignore[arg-type]


# --- given indices -------------------------------------------------------------------------------


def test_resamples_of_given_indices() -> None:
    x = draws(15)
    rows = np.stack([fm.random.Stream(5, k).integers(15, 15) for k in range(300)])
    r = bootstrap(x, "var", indices=rows, rng=0)
    assert (r.scheme, r.n_resamples, r.method) == ("indices", 300, "studentised")
    np.testing.assert_allclose(r.replicates, x[rows].var(1, ddof=1), rtol=1e-11)
    called = bootstrap(x, lambda b: b.var(1, ddof=1), indices=rows, rng=0)
    np.testing.assert_allclose(called.replicates, r.replicates, rtol=1e-11)
    weighed = bootstrap(
        x, lambda x, w: (w * x).sum(1) / w.sum(1), indices=rows, weights=True, rng=0
    )
    np.testing.assert_allclose(weighed.replicates, x[rows].mean(1), rtol=1e-12)
    with pytest.raises(ArgumentError, match="rows of indices"):
        r.extend(10)


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        (np.zeros((4, 3), int), {}),
        (np.zeros((4, 5)), {}),
        (np.full((4, 5), 5), {}),
        (np.full((4, 5), -1), {}),
        ("text", {}),
        (np.zeros((0, 5), int), {}),
        (np.zeros((4, 5), int), {"scheme": "bayesian"}),
        (np.zeros((4, 5), int), {"strata": [1, 1, 1, 2, 2]}),
        (np.zeros((4, 5), int), {"tolerance": 0.1}),
    ],
)
def test_wrong_indices(rows: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        bootstrap([1.0, 2.0, 3.0, 4.0, 5.0], "mean", indices=rows, rng=0, **more)


# --- forms of functions --------------------------------------------------------------------------


_NUMBERS = ctypes.POINTER(ctypes.c_double)


@ctypes.CFUNCTYPE(
    ctypes.c_int, _NUMBERS, ctypes.c_ssize_t, ctypes.c_ssize_t, _NUMBERS, ctypes.c_void_p
)
def _mean_square(x: Any, n: int, d: int, out: Any, user: Any) -> int:
    for i in range(n):
        out[i] = sum(x[i * d + j] ** 2 for j in range(d)) / d
    return 0


def test_a_pointer_is_a_statistic() -> None:
    x = draws(12)
    common: dict[str, Any] = {"n_resamples": 50, "rng": 2}
    ours = bootstrap(x, fm.targets.native(_mean_square, dim=12), **common)
    other = bootstrap(x, lambda b: (b**2).mean(1), method="percentile", **common)
    assert ours.method == "percentile"
    np.testing.assert_allclose(ours.replicates, other.replicates, rtol=1e-12)
    weighed = bootstrap(
        x, fm.targets.native(_mean_square, dim=12), weights=True, method="percentile", **common
    )
    np.testing.assert_allclose(weighed.estimate, 1.0)
    assert jackknife(x, fm.targets.native(_mean_square, dim=12), weights=True).values.shape == (12,)
    with pytest.raises(ArgumentError, match="bca"):
        bootstrap(x, fm.targets.native(_mean_square, dim=12), method="bca", **common)
    with pytest.raises(ArgumentError, match="12"):
        bootstrap(x, fm.targets.native(_mean_square, dim=5), **common)
    with pytest.raises(ArgumentError, match="left out"):
        jackknife(x, fm.targets.native(_mean_square, dim=12))


def test_a_module_is_a_statistic() -> None:
    torch = pytest.importorskip("torch")

    class MeanSquare(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return (x**2).mean(1)

    x = draws(12)
    common: dict[str, Any] = {"n_resamples": 50, "rng": 2, "method": "percentile"}
    other = bootstrap(x, lambda b: (b**2).mean(1), **common)
    for module in (MeanSquare(), fm.targets.torch(MeanSquare(), dim=12)):
        ours = bootstrap(x, module, **common)
        np.testing.assert_allclose(ours.replicates, other.replicates, rtol=1e-12)


def _spread(b: Array) -> Any:
    return np.stack([b.std(1), b.mean(1)], axis=1)


def test_executors_give_the_bits_of_local_calls() -> None:
    x = draws(12)
    common: dict[str, Any] = {"n_resamples": 500, "rng": 2}
    local = bootstrap(x, _spread, **common)
    with ThreadPoolExecutor(2) as pool:
        for batch in (None, 7):
            other = bootstrap(x, _spread, plan=pool, batch=batch, **common)
            assert (other.replicates == local.replicates).all()
            assert (np.asarray(other.upper) == np.asarray(local.upper)).all()
        weighed = bootstrap(x, lambda x, w: (w * x).sum(1), weights=True, plan=pool, **common)
        with pytest.raises(TargetError):
            bootstrap(x, lambda b: b.mean(1)[:1], plan=pool, **common)
    assert weighed.replicates.shape == (500,)
    for more in ({"plan": 3}, {"plan": 3, "statistic": "median"}):
        with pytest.raises(ArgumentError):
            bootstrap(x, **{"statistic": _spread, **more}, rng=0)  # type: ignore[arg-type]


def test_groups_of_the_jackknife() -> None:
    x = draws(60)
    calls = 0

    def f(b: Array) -> Any:
        nonlocal calls
        calls += 1
        return b.mean(1)

    grouped = jackknife(x, f, jackknife_groups=12)
    assert calls == 13
    assert grouped.values.shape == (12,)
    known = [np.delete(x, np.arange(k, 60, 12)).mean() for k in range(12)]
    np.testing.assert_allclose(grouped.values, known, rtol=1e-13)
    means = [x[k::12].mean() for k in range(12)]
    assert grouped.stderr == pytest.approx(np.std(means, ddof=1) / np.sqrt(12), rel=1e-10)
    all_alone = jackknife(x, f, jackknife_groups=1000)
    assert all_alone.acceleration == pytest.approx(jackknife(x, "mean").acceleration, rel=1e-10)
    r = bootstrap(x, lambda b: b.mean(1), jackknife_groups=12, n_resamples=500, rng=0)
    assert r.method == "bca"
    for wrong in (1, 2.5, "text"):
        with pytest.raises(ArgumentError):
            jackknife(x, f, jackknife_groups=wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="callables"):
        bootstrap(x, "mean", jackknife_groups=5, rng=0)


X = np.arange(24.0) ** 1.5 % 7
TRUTH, GUESS = (np.arange(60) % 3 > 0) * 1.0, (np.arange(60) % 4 > 1) * 1.0
#: Replicates 0 to 3 with the seed 5.
PINNED: dict[str, tuple[Any, str, dict[str, Any], list[float]]] = {
    "bayesian": (
        X,
        "mean",
        {"scheme": "bayesian"},
        [3.721905073543523, 3.397438784756675, 3.1337080049773496, 3.3829164900431636],
    ),
    "strata": (
        X,
        "mean",
        {"exact": False, "strata": np.arange(24) % 3},
        [3.140482734134393, 2.921388822497679, 3.8545485759009486, 3.207975599056147],
    ),
    "clusters": (
        X,
        "mean",
        {"clusters": np.arange(24) // 3},
        [3.3706210667235457, 2.3461075687873354, 3.74063715468107, 2.9051294599968367],
    ),
    "m out of n": (
        X,
        "mean",
        {"scheme": MOutOfN(10)},
        [3.279155785534155, 2.5476562463936907, 3.411797294699018, 2.590547259786436],
    ),
    "stationary": (
        X,
        "mean",
        {"scheme": fm.resample.Stationary(4.5)},
        [3.161155484743899, 4.001913478480608, 3.0727118740514348, 3.4542308736607272],
    ),
    "sieve": (
        X,
        "mean",
        {"scheme": fm.resample.Sieve(2)},
        [3.1262288889000276, 3.0500163539190464, 3.4512719269077, 3.057181947318195],
    ),
    "three cells": (
        (TRUTH, GUESS),
        "f1",
        {},
        [0.5217391304347826, 0.6666666666666666, 0.47761194029850745, 0.5161290322580645],
    ),
    "four cells": (
        (TRUTH, GUESS),
        "mcc",
        {},
        [0.14379213277409608, -0.1274117978594064, -0.1345345587992625, 0.07744107744107744],
    ),
    "two samples": (
        (X[:10], X[10:]),
        "auc",
        {},
        [0.45357142857142857, 0.2892857142857143, 0.17857142857142858, 0.3357142857142857],
    ),
}


@pytest.mark.parametrize("name", PINNED)
@pytest.mark.filterwarnings("ignore:.*(few for|effective sample size)")
def test_draws_are_pinned(name: str) -> None:
    x, statistic, more, pinned = PINNED[name]
    common: dict[str, Any] = {"method": "percentile", "rng": 5, **more}
    r = fm.resample.bootstrap(x, statistic, n_resamples=4, **common)
    np.testing.assert_allclose(r.replicates, pinned, rtol=1e-12)
    # Continued from a number that is no multiple of the replicates of a stream.
    short = fm.resample.bootstrap(x, statistic, n_resamples=150, **common).extend(100)
    whole = fm.resample.bootstrap(
        x, statistic, n_resamples=250, plan=fm.Plan(n_threads=2), **common
    )
    assert (short.replicates == whole.replicates).all()
