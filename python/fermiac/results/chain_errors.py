"""The error model of Markov chains, and warnings about their convergence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.diagnostics.autocorrelation import LEAST_TIMES, WINDOW, is_long_enough
from fermiac.diagnostics.nested import superchain_rhat
from fermiac.errors import ConvergenceWarning
from fermiac.results.error_models import (
    DRIFT,
    Average,
    Controls,
    control_findings,
    degrees_of_freedom,
    drift_finding,
    effective_size,
    is_exact,
    register,
    regressed,
)
from fermiac.results.result import Finding

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = [
    "MOST_RHAT",
    "autocorrelation_times",
    "chain_shape",
    "convergence_findings",
    "is_ensemble",
    "length_findings",
    "rank_rhat",
    "rhat_of",
    "statistic",
    "superchains",
    "walker_sizes",
    "walker_times",
]

Array = NDArray[np.float64]
#: Chains above this R-hat, or below this effective sample size a chain, have not run long enough.
MOST_RHAT, _LEAST_ESS = 1.01, 100.0
#: The least effective sample size of all chains together, if they are many short ones.
_LEAST_IN_ALL = 400.0
#: The probability of a warning about R-hat by chance, if all superchains have converged.
_CHANCE = 0.01
#: The number of names in a warning.
_SHOWN = 3


def chain_shape(sample: Sample) -> tuple[int, int]:
    """Return the number of chains and the number of draws of each."""
    lead = sample.draws.shape[:-1]
    return (1, lead[0]) if len(lead) == 1 else (lead[0], lead[1])


def is_ensemble(sample: Sample) -> bool:
    """Return whether the chains are walkers of an ensemble, whose moves use other walkers."""
    return bool(sample.settings.get("ensemble"))


def superchains(sample: Sample) -> int | None:
    """Return the number of groups of chains with a common start, or None without such groups."""
    k = sample.settings.get("n_superchains")
    chains = chain_shape(sample)[0]
    # Other numbers of chains are parts of a run, or several runs.
    if not isinstance(k, int) or sample.settings.get("n_chains") != chains or chains <= k:
        return None
    return k if chains % k == 0 else None


def rhat_of(sample: Sample, draws: Array, n_threads: int) -> Array:
    """Return the R-hat of each column of the draws of a sample: nested R-hat of superchains."""
    k = superchains(sample)
    if k is None:
        return rank_rhat(draws, n_threads)
    return superchain_rhat(draws, k, _CHANCE / max(sample.dim, draws.shape[2]))


def statistic(
    draws: Array, name: str, n_threads: int, probabilities: tuple[float, float] = (0.0, 0.0)
) -> Array:
    """Return a statistic of `fermiac.diagnostics` for each column of (chains, draws, columns)."""
    return _core.diagnostics_convergence(
        np.ascontiguousarray(draws), name, probabilities, n_threads
    )


def rank_rhat(draws: Array, n_threads: int) -> Array:
    """Return the rank-normalised R-hat of each column; a single chain is split into halves."""
    chains, n, columns = draws.shape
    if chains == 1:
        if n < 8:
            return np.full(columns, np.nan)
        draws = draws[0, : n - n % 2].reshape(2, n // 2, columns)
    return statistic(draws, "rhat_rank", n_threads)


def walker_times(draws: Array, n_threads: int) -> Array:
    """Return the autocorrelation time of the walkers of an ensemble for each column."""
    return statistic(draws, "windowed_time", n_threads, (WINDOW, 0.0))


def autocorrelation_times(sample: Sample, draws: Array, n_threads: int) -> Array:
    """Return the autocorrelation time of each column of the draws of a sample.

    For independent chains it is the number of draws divided by the effective sample size for the
    mean.
    """
    if is_ensemble(sample):
        return walker_times(draws, n_threads)
    size: Array = draws.shape[0] * draws.shape[1] / statistic(draws, "ess_mean", n_threads)
    return size


def walker_sizes(draws: Array, n_threads: int) -> Array:
    """Return the effective sample size of an ensemble for the mean of each column."""
    size = draws.shape[0] * draws.shape[1]
    parts = draws - draws.mean(axis=(0, 1))
    variance = np.sum(parts**2, axis=(0, 1)) / (size - 1)
    error = _squared_errors(parts / size, True, n_threads)
    return effective_size(variance, error, float(size))


def _chains(
    sample: Sample, values: Array, controls: Controls | None, law: int, n_threads: int
) -> Average:
    """Average over the draws of chains, weighted or not.

    The error of an average is a sum of one contribution for each draw. The contributions of a
    chain are correlated as its draws are, and their effective sample size gives the error.
    """
    chains, n = chain_shape(sample)
    got = regressed(sample, values, controls, sample._weights(law), n_threads)
    raw = got.raw
    parts = raw["parts"].reshape(chains, n, -1)
    coupled = is_ensemble(sample)
    many = superchains(sample) is not None
    error = _squared_errors(parts, coupled, n_threads, many)
    exact = is_exact(raw, got.variance, error)
    findings = list(got.findings)
    plain, size = error, float(sample.n_draws)
    if controls is not None:
        plain_parts = _core.weighted_average(
            sample._weights(law), np.ascontiguousarray(values), n_threads
        )["parts"].reshape(parts.shape)
        plain = _squared_errors(plain_parts, coupled, n_threads, many)
        size = float(effective_size(got.variance, plain, 1 / got.squares).min())
        # The drift from the core assumes independent draws, which overstates it for slow chains.
        if raw["drift"] > DRIFT:
            drift = _drift(sample, controls, law, n_threads)
            if drift > DRIFT:
                findings.append(drift_finding(drift, controls))
        if not exact.all():
            findings += control_findings(raw, error, plain, size)
    judged = parts if sample.log_weights is not None else values.reshape(parts.shape)
    rhat = None
    if not coupled:
        rhat = np.where(exact, 1.0, rhat_of(sample, judged, n_threads))
    elif not exact.all():
        findings += length_findings(n, walker_times(parts[..., ~exact], n_threads))
    return Average(
        mean=raw["mean"],
        cov=_covariance(parts, error),
        ess=effective_size(got.variance, error, 1 / got.squares),
        khat=np.where(exact, -np.inf, raw["khat"]),
        findings=tuple(findings),
        rhat=rhat,
        # Controls reduce the error, but not the effective number of values.
        df=degrees_of_freedom(
            np.minimum(effective_size(got.variance, plain, 1 / got.squares), sample.n_draws),
            raw,
            controls,
        ),
    )


register("chains", _chains, of_chains=True, reweighted="chains")


def _squared_errors(parts: Array, coupled: bool, n_threads: int, many: bool = False) -> Array:
    """Return the squared error of each sum of parts, (chains, draws, columns).

    The sums of `many` independent chains tell it, and autocorrelations of short ones are biased.

    Walkers of an ensemble are `coupled`. The single series of sums over all walkers includes their
    dependence; the autocorrelations of the walkers are less noisy. The larger of the two errors is
    used.
    """
    size = parts.shape[0] * parts.shape[1]
    if many:
        sums = parts.sum(axis=1)
        of_chains: Array = np.sum((sums - sums.mean(axis=0)) ** 2, axis=0)
        return of_chains * (len(parts) / (len(parts) - 1))
    # The effective sample size neglects differences below 1e-15.
    scale = np.abs(parts).max(axis=(0, 1))
    scale[scale == 0] = 1.0
    scaled = parts / scale
    squares = np.sum(scaled**2, axis=(0, 1)) * scale**2 * (size / (size - 1))
    if not coupled:
        error: Array = squares * (size / statistic(scaled, "ess_mean", n_threads))
        return error
    sums = scaled.sum(axis=0, keepdims=True)
    of_sums = np.sum(sums**2, axis=(0, 1)) * scale**2 * walker_times(sums, n_threads)
    error = np.maximum(squares * walker_times(scaled, n_threads), of_sums)
    error[squares == 0] = 0.0
    return error


def _covariance(parts: Array, error: Array) -> Array:
    """Return a matrix with the squared errors and the correlations of batch means."""
    chains, n, columns = parts.shape
    length = math.isqrt(n)
    kept = parts[:, : n - n % length].reshape(chains, -1, length, columns)
    means = kept.sum(axis=2).reshape(-1, columns)
    norms = np.sqrt(np.sum(means**2, axis=0))
    means = np.divide(means, norms, out=np.zeros_like(means), where=norms > 0)
    stderr = np.sqrt(error)
    cov: Array = (means.T @ means) * np.outer(stderr, stderr)
    np.fill_diagonal(cov, error)
    return cov


def _drift(sample: Sample, controls: Controls, law: int, n_threads: int) -> float:
    """Return the largest ratio of the mean of a control to its standard error from the chains.

    Of the Stein controls, only those of the coordinates and of their squares are tested.
    """
    weights = sample._weights(law)[:, None]
    columns = controls.given
    if columns is None:
        assert sample.gradients is not None
        # Gradients at points without weight are arbitrary.
        slopes = np.where(weights > 0, sample.gradients.reshape(sample.n_draws, -1), 0.0)
        x = sample._points - sample._points.mean(axis=0)
        columns = np.hstack([slopes, 1 + x * slopes])
    products = weights * columns
    mean = products.sum(axis=0)
    parts = (products - weights * mean).reshape(*chain_shape(sample), -1)
    error = np.sqrt(_squared_errors(parts, is_ensemble(sample), n_threads))
    moved = np.divide(np.abs(mean), error, out=np.zeros_like(mean), where=error > 0)
    return float(moved.max())


def _worst(names: Sequence[str], figures: Array, bad: NDArray[np.bool_], largest: bool) -> str:
    """Return the names of the columns with bad figures, the worst first."""
    order = np.argsort(-figures if largest else figures, kind="stable")
    listed = [names[j] for j in order if bad[j]]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def convergence_findings(
    sample: Sample, names: Sequence[str], rhat: Array, sizes: Mapping[str, Array]
) -> list[Finding]:
    """Return the warnings about R-hat and about effective sample sizes, which have names."""
    found: list[Finding] = []
    nested = superchains(sample) is not None
    bad = rhat > MOST_RHAT
    if bad.any():
        what = "nested R-hat" if nested else "R-hat"
        found.append(
            (
                ConvergenceWarning,
                f"{what} is up to {rhat[bad].max():.4g} ({_worst(names, rhat, bad, True)}), above "
                f"{MOST_RHAT}: the chains have not converged to one law; do not use averages and "
                "errors yet: run longer, with more warm-up, or reparametrise",
            )
        )
    least = _LEAST_IN_ALL if nested else _LEAST_ESS * chain_shape(sample)[0]
    of_each = "" if nested else f", that is {_LEAST_ESS:.0f} a chain"
    low = [
        f"{what} is down to {ess.min():.3g} ({_worst(names, ess, ess < least, False)})"
        for what, ess in sizes.items()
        if (ess < least).any()
    ]
    if low:
        found.append(
            (
                ConvergenceWarning,
                f"{' and '.join(low)}, below {least:.0f}{of_each}: errors are rough; draw more, or "
                "use a kernel that mixes faster",
            )
        )
    return found


def length_findings(n: int, times: Array) -> list[Finding]:
    """Return a warning if `n` draws of a walker are too few for the autocorrelation times."""
    if is_long_enough(n, times):
        return []
    longest = float(times.max())
    return [
        (
            ConvergenceWarning,
            f"{n} draws of a walker are fewer than {LEAST_TIMES} autocorrelation times, the "
            f"longest of which seems to be {longest:.3g}, and is probably longer: errors are too "
            f"small; draw {LEAST_TIMES * longest:.0f} of each or more, after a warm-up of several "
            "such times",
        )
    ]
