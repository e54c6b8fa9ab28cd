r"""Control variates with coefficients from other points, by penalised regressions.

The points are split into folds. The coefficients of a fold come from the points of the others, so
that the error shows what the controls are worth at points that they were not fitted to. The
strength of the penalty, or the degree, is the one with the least squared error over all folds, for
each function by itself; no controls are one of the choices.

The regressions of all functions at all strengths share one eigendecomposition for each fold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.results.error_models import (
    DRIFT,
    Average,
    Controls,
    average,
    drift_finding,
    effective_size,
    error_model_of,
)

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.results.sample import Sample

__all__ = ["Columns", "Penalty", "folded", "of_law", "stein"]

Array = NDArray[np.float64]
Penalty: TypeAlias = Literal["ridge", "lasso"]

#: The parts of the points, each of which is left out of a fit in turn.
_FOLDS = 5
#: Controls at most: the time of an eigendecomposition rises with the third power.
_MOST = 1000
#: Points of a batch.
_BATCH = 4096
#: Strengths of the penalties, relative to the mean square of a control, or to the largest covariance
#: with one.
_RIDGES = (0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
_LASSOS = (0.0, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3)
#: Directions of the controls with less than this share of the largest mean square are left out.
_RANK = 1e-13
#: Without a penalty there are at most this many controls for each effective point.
_FREE = 0.1
#: Steps of the lasso, and the change relative to the largest coefficient at which it ends.
_STEPS, _SETTLED = 200, 1e-4


@dataclass(frozen=True)
class Columns:
    """Controls as functions of the rows of a sample.

    Attributes
    ----------
    at : callable
        A function from the positions of some rows to their controls, (b, m).
    degrees : ndarray, shape (m,)
        The degree of each control, increasing.
    """

    at: Callable[[slice], Array]
    degrees: NDArray[np.int64]


def stein(sample: Sample, degree: int) -> Columns:
    r"""Return the Stein controls of products of Hermite polynomials of standardised coordinates.

    The control of P is :math:`\Delta P + \nabla P \cdot \nabla \log p`.
    """
    dim = sample.dim
    _few_enough(math.comb(dim + degree, degree) - 1, degree)
    weights = sample._weights()
    points = sample._points
    assert sample.gradients is not None
    gradients = np.ascontiguousarray(sample.gradients.reshape(points.shape))
    centre = weights @ points
    scale = np.sqrt(weights @ (points - centre) ** 2)
    scale = np.where(scale > 0, scale, 1.0)
    terms = [
        term
        for total in range(1, degree + 1)
        for term in combinations_with_replacement(range(dim), total)
    ]
    powers = [[(j, term.count(j)) for j in sorted(set(term))] for term in terms]

    def at(rows: slice) -> Array:
        z = (points[rows] - centre) / scale
        slope = gradients[rows] * scale
        # Orthonormal Hermite polynomials, with h_k' = sqrt(k) h_(k-1).
        h = np.ones((degree + 1, *z.shape))
        for k in range(1, degree + 1):
            h[k] = z * h[k - 1] - (math.sqrt(k - 1) * h[k - 2] if k > 1 else 0.0)
            h[k] /= math.sqrt(k)
        out = np.empty((len(z), len(powers)))
        for column, factors in enumerate(powers):
            total = np.zeros(len(z))
            for j, k in factors:
                own = math.sqrt(k) * h[k - 1][:, j] * slope[:, j]
                if k > 1:
                    own = own + math.sqrt(k * (k - 1)) * h[k - 2][:, j]
                for i, other in factors:
                    if i != j:
                        own = own * h[other][:, i]
                total += own
            out[:, column] = total
        return out

    return Columns(at, np.array([len(term) for term in terms]))


def of_law(sample: Sample, law: Law, degree: int) -> Columns:
    """Return the polynomials that are orthonormal under a law."""
    points = sample._points
    if law.dim != sample.dim:
        raise ArgumentError(
            f"law: a law of {law.dim} dimensions given for draws of {sample.dim} dimensions"
        )
    counts = [law.polynomials(points[:1], k).shape[1] for k in range(1, degree + 1)]
    _few_enough(counts[-1], degree)
    degrees = np.repeat(np.arange(1, degree + 1), np.diff([0, *counts]))
    return Columns(lambda rows: law.polynomials(points[rows], degree), degrees)


def _few_enough(count: int, degree: int) -> None:
    if count > _MOST:
        raise ArgumentError(
            f"degree: {degree} given, which makes {count:.4g} controls; at most {_MOST} are "
            "possible: lower it"
        )


def folded(
    sample: Sample,
    values: Array,
    columns: Columns,
    controls: Controls,
    law: int,
    n_threads: int | None,
) -> tuple[Average, tuple[str, ...]]:
    """Return the averages of the columns of `values`, and what was chosen for each."""
    if sample.error_model not in ("iid", "weighted", "chains"):
        raise ArgumentError(
            f"controls: {'stein' if controls.penalty else 'polynomial'!r} by folds given for a "
            f"sample with the error model {sample.error_model!r}; they are for independent draws "
            "and for chains"
        )
    plain = average(sample, values, None, law, n_threads)
    weights = sample._weights(law)
    which = _fold_of(sample)
    grams = _grams(columns, values, weights, which)
    fits = _fits(grams, columns, controls.penalty, 1 / float(np.sum(weights**2)))
    best = fits.losses.argmin(axis=0)
    parts = np.empty_like(values)
    for rows in _batches(len(values)):
        phi = columns.at(rows)
        for k in range(_FOLDS):
            some = which[rows] == k
            parts[rows][some] = phi[some] @ fits.of(k, best)
    parts[weights == 0] = 0.0
    got = average(sample, values - parts, None, law, n_threads)
    squared, before = np.diag(got.cov), np.diag(plain.cov)
    # The forecast is for independent draws: those of chains depend on each other.
    worse = ~(squared <= before)
    if worse.any():
        parts[:, worse] = 0.0
        best = np.where(worse, 0, best)
        got = average(sample, values - parts, None, law, n_threads)
        squared = np.diag(got.cov)
    findings = list(got.findings)
    used = best > 0
    if used.any():
        check = average(sample, parts[:, used], None, law, n_threads)
        error = np.sqrt(np.diag(check.cov))
        drift = np.abs(check.mean) / np.where(error > 0, error, np.inf)
        if drift.max() > DRIFT:
            findings.append(drift_finding(float(drift.max()), controls))
    variance = plain.ess * before
    ess = np.where(used & (before > 0), effective_size(variance, squared, np.inf), plain.ess)
    found = replace(got, ess=ess, findings=tuple(findings))
    return found, tuple(fits.names[i] for i in best)


def _fold_of(sample: Sample) -> NDArray[np.int64]:
    """Return the fold of each point: blocks of chains, whose draws depend on those before."""
    n = sample.n_draws
    if not error_model_of(sample).of_chains:
        return np.arange(n) % _FOLDS
    length = sample.draws.shape[-2]
    return np.tile(np.arange(length) * _FOLDS // length, n // length)


def _batches(n: int) -> list[slice]:
    return [slice(i, min(i + _BATCH, n)) for i in range(0, n, _BATCH)]


@dataclass(frozen=True)
class _Grams:
    """Products of ones, controls and values, (folds, 1 + m + K, 1 + m + K), and scales of controls."""

    of: Array
    m: int


def _grams(
    columns: Columns, values: Array, weights: Array, which: NDArray[np.int64]
) -> _Grams:
    """Return the products of all columns in each fold, with the squared weights of points."""
    m, n = len(columns.degrees), len(values)
    out = np.zeros((_FOLDS, 1 + m + values.shape[1], 1 + m + values.shape[1]))
    # The variance of the average is that of contributions with these weights.
    roots = weights * math.sqrt(n)
    for rows in _batches(n):
        phi = columns.at(rows)
        used = weights[rows] > 0
        whole = np.hstack([np.ones((len(phi), 1)), phi, values[rows]])[used]
        whole *= roots[rows][used][:, None]
        if not np.isfinite(whole).all():
            raise ArgumentError(
                "degree: the controls are beyond the range of doubles; lower it, or scale the draws"
            )
        for k in range(_FOLDS):
            own = whole[which[rows][used] == k]
            out[k] += own.T @ own
    return _Grams(out, m)


@dataclass(frozen=True)
class _Fits:
    """The coefficients of all choices, the first of which has no controls.

    Attributes
    ----------
    names : sequence of str
        Words for the choices.
    losses : ndarray, shape (choices, K)
        The sums of the squared errors over all folds.
    coefficients : ndarray, shape (choices, folds, m, K)
    """

    names: Sequence[str]
    losses: Array
    coefficients: Array

    def of(self, fold: int, chosen: NDArray[np.int64]) -> Array:
        """Return the coefficients of a fold, (m, K), one choice for each function."""
        out: Array = self.coefficients[chosen, fold, :, np.arange(len(chosen))].T
        return out


def _fits(grams: _Grams, columns: Columns, penalty: Penalty | None, size: float) -> _Fits:
    """Fit all choices to all folds but one each, and judge them by the one left out."""
    m, whole = grams.m, grams.of.sum(axis=0)
    scale = np.sqrt(np.diag(whole)[1 : m + 1] / max(whole[0, 0], 1e-300))
    scale = np.where(scale > 0, scale, 1.0)
    names, fits = ["none"], []
    for k in range(_FOLDS):
        rest = whole - grams.of[k]
        s, b = _centred(rest, m, scale)
        fits.append([np.zeros_like(b)])
        names = ["none"]
        if penalty is None:
            for degree in dict.fromkeys(columns.degrees.tolist()):
                count = int(np.sum(columns.degrees <= degree))
                if count > _FREE * size:
                    break
                beta = np.zeros_like(b)
                beta[:count] = _Spectrum(s[:count, :count]).solve(b[:count], 0.0)
                fits[-1].append(beta)
                names.append(f"degree {degree}")
            continue
        spectrum = _Spectrum(s)
        strengths = _RIDGES if penalty == "ridge" else _LASSOS
        start = None
        for strength in sorted(strengths, reverse=True):
            if strength == 0.0 and m > _FREE * size:
                continue
            if penalty == "ridge" or strength == 0.0:
                fits[-1].append(spectrum.solve(b, strength))
            else:
                start = _lasso(spectrum, b, strength * np.abs(b).max(axis=0), start)
                fits[-1].append(start)
            names.append("no penalty" if strength == 0.0 else f"{penalty} {strength:g}")
        if penalty == "lasso":
            # Least squares on the controls that a lasso chose takes its shrinkage away.
            lassos = [i for i, name in enumerate(names) if name.startswith("lasso")]
            for i in lassos:
                fits[-1].append(_refitted(s, b, fits[-1][i], _FREE * size))
                names.append(f"{names[i]}, refitted")
    coefficients = np.array([[fold[i] / scale[:, None] for fold in fits] for i in range(len(names))])
    losses = np.array(
        [
            np.sum([_loss(grams.of[k], whole - grams.of[k], beta[k], m) for k in range(_FOLDS)], 0)
            for beta in coefficients
        ]
    )
    return _Fits(names, losses, coefficients)


def _centred(gram: Array, m: int, scale: Array) -> tuple[Array, Array]:
    """Return the covariances of scaled controls, and those with the values."""
    total = max(gram[0, 0], 1e-300)
    means = gram[0, 1:] / total
    s = gram[1 : m + 1, 1 : m + 1] / total - np.outer(means[:m], means[:m])
    b = gram[1 : m + 1, m + 1 :] / total - np.outer(means[:m], means[m:])
    return s / np.outer(scale, scale), b / scale[:, None]


def _loss(left: Array, rest: Array, beta: Array, m: int) -> Array:
    """Return the sums of the squared errors in a fold; the intercept is that of the others."""
    total = max(rest[0, 0], 1e-300)
    means = rest[0, 1:] / total
    intercept = means[m:] - means[:m] @ beta
    # The values minus the controls minus the intercept, as a combination of all columns.
    squares = np.diag(left)[m + 1 :] - 2 * np.sum(beta * left[1 : m + 1, m + 1 :], axis=0)
    squares = squares + np.sum(beta * (left[1 : m + 1, 1 : m + 1] @ beta), axis=0)
    sums = left[0, m + 1 :] - left[0, 1 : m + 1] @ beta
    out: Array = squares - 2 * intercept * sums + intercept**2 * left[0, 0]
    return np.maximum(out, 0.0)


class _Spectrum:
    """The eigendecomposition of a covariance matrix, for regressions of any strength."""

    def __init__(self, s: Array) -> None:
        values, self._vectors = np.linalg.eigh(s)
        self._values = np.maximum(values, 0.0)
        self._least = _RANK * max(float(self._values.max()), 1e-300)

    def solve(self, b: Array, strength: float) -> Array:
        """Return (S + strength I)^-1 b."""
        shifted = self._values + strength
        inverse = np.divide(1.0, shifted, out=np.zeros_like(shifted), where=shifted > self._least)
        out: Array = self._vectors @ (inverse[:, None] * (self._vectors.T @ b))
        return out


def _lasso(spectrum: _Spectrum, b: Array, strength: Array, start: Array | None) -> Array:
    """Return the lasso of all columns of b, by the alternating direction method of multipliers."""
    z = np.zeros_like(b) if start is None else start
    dual = np.zeros_like(b)
    for _ in range(_STEPS):
        beta = spectrum.solve(b + z - dual, 1.0)
        before, moved = z, beta + dual
        z = np.sign(moved) * np.maximum(np.abs(moved) - strength, 0.0)
        dual = moved - z
        size = np.abs(z).max() + 1e-300
        if max(np.abs(z - before).max(), np.abs(z - beta).max()) <= _SETTLED * size:
            break
    return z


def _refitted(s: Array, b: Array, lasso: Array, most: float) -> Array:
    """Return least squares on the controls with a coefficient; the lasso where they are too many."""
    out = lasso.copy()
    for j in range(b.shape[1]):
        active = np.flatnonzero(lasso[:, j])
        if 0 < len(active) <= most:
            out[active, j] = _Spectrum(s[np.ix_(active, active)]).solve(b[active, j : j + 1], 0.0)[
                :, 0
            ]
    return out
