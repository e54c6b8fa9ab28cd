"""Intervals of epsilon and attack scores: fermiac beside SciPy, statsmodels, NumPy and jax_privacy.

``pytest benches/privacy/bench_scores.py --benchmark-group-by=group``. statsmodels and jax_privacy
run where they are installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
ROWS, PER_CLASS, RESAMPLES = 100_000, 10_000, 1000


# --- intervals -----------------------------------------------------------------------------------


def _table() -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 300, (2, ROWS)).astype(float), np.full(ROWS, 1000.0)


def _corners(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
    """The ends from a box that no diagonal crosses."""
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (
            np.log(np.maximum(1, np.fmax((1 - y[k]) / x[k], (1 - x[k]) / y[k]))) for k in (1, 0)
        )
    return low, high


def _scipy(errors: Array, n: Array) -> tuple[Array, Array]:
    from scipy import special

    boxes = []
    for k in errors:
        some = np.maximum(k, 1)
        low = np.where(k > 0, special.betaincinv(some, n - some + 1, 0.025), 0)
        boxes.append((low, special.betainccinv(k + 1, n - k, 0.025)))
    return _corners(*boxes)


def _statsmodels(errors: Array, n: Array) -> tuple[Array, Array]:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    return _corners(*(proportion.proportion_confint(k, n, 0.05, method="beta") for k in errors))


def _fermiac(errors: Array, n: Array, **keywords: Any) -> tuple[Any, Any]:
    i = fm.privacy.epsilon_interval(
        n - errors[0], errors[1], errors[0], n - errors[1], direction="attack", **keywords
    )
    return i.epsilon_lower, i.epsilon_upper


INTERVALS: dict[str, Callable[[Array, Array], tuple[Any, Any]]] = {
    "fermiac": _fermiac,
    "fermiac_1_thread": lambda errors, n: _fermiac(errors, n, plan=fm.Plan(n_threads=1)),
    "scipy": _scipy,
    "statsmodels": _statsmodels,
}


@pytest.mark.parametrize("method", list(INTERVALS))
def bench_clopper_pearson(benchmark: Any, method: str) -> None:
    errors, n = _table()
    call = INTERVALS[method]
    low, high = call(errors, n)
    expected = _fermiac(errors, n)
    benchmark.group = f"two-sided intervals of {ROWS} tables"
    finite = np.isfinite(expected[1])
    benchmark.extra_info["largest_difference"] = float(
        max(np.abs(low - expected[0]).max(), np.abs(high[finite] - expected[1][finite]).max())
    )
    benchmark.pedantic(call, args=(errors, n), rounds=3)


# --- scores --------------------------------------------------------------------------------------


def _scores() -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.normal(1, 1, PER_CLASS), rng.normal(0, 1, PER_CLASS)


def _numpy_bootstrap(members: Array, nonmembers: Array) -> Any:
    """Percentiles of the area under resampled curves; without the jackknife of BCa."""
    rng = np.random.default_rng(3)
    areas = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        some, others = rng.choice(members, members.size), rng.choice(nonmembers, nonmembers.size)
        others.sort()
        below, not_above = (np.searchsorted(others, some, side) for side in ("left", "right"))
        areas[i] = (below.sum() + not_above.sum()) / (2 * some.size * others.size)
    return np.quantile(areas, [0.025, 0.975])


def _jax_privacy(members: Array, nonmembers: Array) -> Any:
    """Percentiles as well."""
    auditing = pytest.importorskip("jax_privacy.auditing")
    auditor = auditing.CanaryScoreAuditor(members, nonmembers)
    params = auditing.BootstrapParams(num_samples=RESAMPLES, quantiles=(0.025, 0.975))
    return auditor.attack_auroc(bootstrap_params=params)


def _fermiac_bootstrap(members: Array, nonmembers: Array, **keywords: Any) -> Any:
    b = fm.privacy.roc(members, nonmembers).bootstrap("auc", RESAMPLES, rng=1, **keywords)
    return b.lower, b.upper


BOOTSTRAPS: dict[str, Callable[[Array, Array], Any]] = {
    "fermiac": _fermiac_bootstrap,
    "fermiac_1_thread": lambda m, n: _fermiac_bootstrap(m, n, plan=fm.Plan(n_threads=1)),
    "numpy": _numpy_bootstrap,
    "jax_privacy": _jax_privacy,
}


@pytest.mark.parametrize("method", list(BOOTSTRAPS))
def bench_bootstrap_of_the_area(benchmark: Any, method: str) -> None:
    scores = _scores()
    benchmark.group = f"{RESAMPLES} resamples of {2 * PER_CLASS} scores"
    call = BOOTSTRAPS[method]
    benchmark.extra_info["limits"] = np.ravel(call(*scores)).tolist()
    benchmark.pedantic(call, args=scores, rounds=1)


def _numpy_audit(members: Array, nonmembers: Array) -> float:
    """The best of the lower bounds at all thresholds, alpha divided by their number."""
    from scipy import special

    t = np.unique(np.concatenate([members, nonmembers]))
    misses = np.searchsorted(np.sort(members), t)
    alarms = nonmembers.size - np.searchsorted(np.sort(nonmembers), t)
    tail = 0.025 / (t.size + 1)
    limits = []
    for k, n in ((misses, members.size), (alarms, nonmembers.size)):
        limit = special.betainccinv(k + 1, np.maximum(n - k, 1), tail)
        limits.append(np.where(k < n, limit, 1.0))
    x, y = limits
    return float(np.log(np.maximum(1, np.maximum((1 - y) / x, (1 - x) / y))).max())


def _jax_audit(members: Array, nonmembers: Array) -> Any:
    auditing = pytest.importorskip("jax_privacy.auditing")
    auditor = auditing.CanaryScoreAuditor(members, nonmembers)
    return auditor.epsilon_clopper_pearson(
        significance=0.05, threshold_strategy=auditing.Bonferroni()
    )


AUDITS: dict[str, Callable[[Array, Array], Any]] = {
    "fermiac": lambda m, n: fm.privacy.audit_scores(m, n).epsilon_lower,
    "numpy_bonferroni": _numpy_audit,
    "jax_privacy_bonferroni": _jax_audit,
}


@pytest.mark.parametrize("method", list(AUDITS))
def bench_audit(benchmark: Any, method: str) -> None:
    scores = _scores()
    call = AUDITS[method]
    benchmark.group = f"audits of {2 * PER_CLASS} scores"
    benchmark.extra_info["epsilon_lower"] = float(np.ravel(call(*scores))[0])
    benchmark.pedantic(call, args=scores, rounds=3)
