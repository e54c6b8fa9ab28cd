"""Control variates with coefficients from a pilot, by penalised regressions.

A third of the points is the pilot. The coefficients come from it, and the average from the other
points, so that it is unbiased and its error holds with any number of controls. Coefficients from
the same points, or from the other folds of the points, make errors too small if the residuals
depend on products of controls: measured for cosines and controls of degree four, 0.75 of the 95 %
intervals held.

The strength of the penalty, or the degree, has the least squared error over the folds of the pilot,
for each function by itself. The regressions of up to 64 functions at all strengths share one
eigendecomposition for each fold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Literal, TypeAlias

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
    from fermiac.distributions.law import BuiltInLaw
    from fermiac.results.sample import Sample

__all__ = ["Folded", "folded"]

Array = NDArray[np.float64]
_Penalty: TypeAlias = Literal["ridge", "lasso"]

#: The pilot is one over this of the points.
_PILOT = 3
#: Its parts, each of which is left out of a fit in turn.
_FOLDS = 5
#: Controls are used if they make the squared error smaller by this factor: 1.5 makes up for the
#: pilot.
_GAIN = 2.0
#: Controls at most: the time of an eigendecomposition rises with the third power.
_MOST = 500
#: Functions that are fitted together at most.
_TOGETHER = 64
#: Points of a batch, and draws of a law for the fourth moments of its polynomials.
_BATCH, _DRAWN = 4096, 1 << 13
#: Strengths of the penalties, relative to the mean square of a control, or to the largest
#: covariance of the values with one.
_RIDGES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-6)
_LASSOS = (0.3, 0.1, 0.03, 0.01, 1e-3)
#: Directions of the controls with less than this share of the largest mean square are left out.
_RANK = 1e-13
#: Without a penalty there are at most this many controls for each effective point.
_FREE = 0.1
#: The largest sum of the fourth powers of errors, in units of the squared sum of their squares: the
#: kurtosis over n. With twice as much, 0.89 of the 95 % intervals without a warning hold at 1500
#: normal draws and degree 5.
_NOISE = 0.03
#: An error below this share of the values is rounding.
_ROUNDING = 1e-11
#: Steps of the lasso, and the change relative to the largest coefficient at which it ends.
_STEPS, _SETTLED = 200, 1e-4


@dataclass(frozen=True)
class Folded:
    """Averages with controls from a pilot.

    Attributes
    ----------
    average : Average
        The averages.
    residuals : ndarray, shape (n, K)
        The values less their controls, whose averages they are.
    chosen : tuple of str
        What was chosen for each column.
    """

    average: Average
    residuals: Array
    chosen: tuple[str, ...]


@dataclass(frozen=True)
class _Columns:
    """Controls as functions of the rows of a sample.

    Attributes
    ----------
    at : callable
        A function from the positions of some rows to their controls, (b, m).
    degrees : ndarray, shape (m,)
        The degree of each control, increasing.
    kurtosis : ndarray, shape (m,)
        The fourth moment of each control over its squared second, under the law or a normal one.
    """

    at: Callable[[slice], Array]
    degrees: NDArray[np.int64]
    kurtosis: Array


def _stein(sample: Sample, degree: int) -> _Columns:
    r"""Return the Stein controls of products of Hermite polynomials of standardised coordinates.

    The control of P is :math:`\Delta P + \nabla P \cdot \nabla \log p`.
    """
    dim = sample.dim
    _few_enough(math.comb(dim + degree, degree) - 1, degree)
    weights = sample._weights()
    points = sample._points
    assert sample.gradients is not None
    gradients = np.ascontiguousarray(sample.gradients.reshape(points.shape))
    with np.errstate(over="ignore", invalid="ignore"):
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

    # Under a normal law the control of a product of Hermite polynomials is a multiple of it.
    nodes, shares = np.polynomial.hermite_e.hermegauss(2 * degree + 1)
    kurtosis = [1.0]
    for k in range(1, degree + 1):
        squares = np.polynomial.hermite_e.hermeval(nodes, np.eye(k + 1)[k]) ** 2
        kurtosis.append(float(shares @ squares**2 * shares.sum() / (shares @ squares) ** 2))
    return _Columns(
        at,
        np.array([len(term) for term in terms]),
        np.array([math.prod(kurtosis[k] for _, k in factors) for factors in powers]),
    )


def _of_law(sample: Sample, law: BuiltInLaw, degree: int) -> _Columns:
    """Return the polynomials that are orthonormal under a law."""
    points = sample._points
    counts = [law.polynomials(points[:1], k).shape[1] for k in range(1, degree + 1)]
    _few_enough(counts[-1], degree)
    degrees = np.repeat(np.arange(1, degree + 1), np.diff([0, *counts]))
    fourth = np.zeros(counts[-1])
    drawn = law.sample(_DRAWN, rng=0).reshape(_DRAWN, law.dim)
    for rows in _batches(_DRAWN):
        fourth += (law.polynomials(drawn[rows], degree) ** 4).sum(axis=0)
    return _Columns(lambda rows: law.polynomials(points[rows], degree), degrees, fourth / _DRAWN)


def _few_enough(count: int, degree: int) -> None:
    if count > _MOST:
        raise ArgumentError(
            f"degree: {degree} given, which makes {count:.4g} controls; at most {_MOST} are "
            "possible: lower it"
        )


def folded(
    sample: Sample,
    values: Array,
    controls: Controls,
    law: int,
    n_threads: int | None,
) -> Folded:
    """Return the averages of the columns of `values`, with controls where they help."""
    if sample.error_model not in ("iid", "weighted", "chains"):
        raise ArgumentError(
            f"controls: {controls.kind!r} by folds given for a sample with the error model "
            f"{sample.error_model!r}; they are for independent draws and for chains"
        )
    assert controls.degree is not None
    if controls.law is None:
        columns = _stein(sample, controls.degree)
    else:
        columns = _of_law(sample, controls.law, controls.degree)
    plain = average(sample, values, None, law, n_threads)
    if not len(columns.degrees):
        return Folded(plain, values, ("none",) * values.shape[1])
    weights = sample._weights(law)
    folds = _fold_of(sample)
    pilot = folds >= 0
    parts, chosen = np.zeros_like(values), []
    for first in range(0, values.shape[1], _TOGETHER):
        block = slice(first, first + _TOGETHER)
        names = _fitted(
            columns, values[:, block], weights, folds, controls.penalty, parts[:, block]
        )
        chosen += names
    used = np.array([name != "none" for name in chosen])
    share = float(weights[~pilot].sum())
    residuals = values - parts
    # The pilot counts with the mean of the others, so that sums over all points are theirs.
    for j in np.flatnonzero(used):
        mean = float(weights[~pilot] @ residuals[~pilot, j]) / share
        residuals[:, j] = np.where(pilot, mean, mean + (residuals[:, j] - mean) / share)
    got = average(sample, residuals, None, law, n_threads)
    findings = list(got.findings)
    if used.any():
        drift = _drift(sample, parts[:, used], law, n_threads)
        if drift > DRIFT:
            findings.append(drift_finding(drift, controls))
    squared, before = np.diag(got.cov), np.diag(plain.cov)
    variance = np.where(before > 0, plain.ess, 0.0) * before
    exact = np.sqrt(squared) <= _ROUNDING * np.hypot(got.mean, np.sqrt(variance))
    found = replace(
        got,
        ess=np.where(used, effective_size(variance, squared, np.inf), plain.ess),
        khat=np.where(used & exact, -np.inf, got.khat),
        rhat=None if plain.rhat is None else np.where(used & exact, 1.0, plain.rhat),
        df=np.where(used, np.maximum(share * np.asarray(got.df), 1.0), got.df),
        findings=tuple(findings),
    )
    return Folded(found, residuals, tuple(chosen))


def _fitted(
    columns: _Columns,
    values: Array,
    weights: Array,
    folds: NDArray[np.int64],
    penalty: _Penalty | None,
    out: Array,
) -> list[str]:
    """Fill `out` with the fitted controls of some functions, and return what was chosen."""
    grams = _grams(columns, values, weights, folds)
    fits = _fits(grams, columns, penalty, _size(weights[folds >= 0]))
    best = _best(fits, columns, values, weights, folds)
    if best.any():
        beta = fits.coefficients[best, _FOLDS, :, np.arange(len(best))].T
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in _batches(len(values)):
                out[rows] = columns.at(rows) @ beta
        out[weights == 0] = 0.0
    return [fits.names[i] for i in best]


def _drift(sample: Sample, parts: Array, law: int, n_threads: int | None) -> float:
    """Return the largest distance of the means of fitted controls from zero, in errors."""
    check = average(sample, parts, None, law, n_threads)
    error = np.sqrt(np.diag(check.cov))
    return float(np.max(np.abs(check.mean) / np.where(error > 0, error, np.inf)))


def _size(weights: Array) -> float:
    """Return the effective number of points."""
    squares = float(np.sum(weights**2))
    return float(np.sum(weights)) ** 2 / squares if squares > 0 else 0.0


def _fold_of(sample: Sample) -> NDArray[np.int64]:
    """Return the fold of each point of the pilot, and -1 for the others.

    The pilot is every third point, and of chains, whose draws depend on those before, the first
    third in blocks.
    """
    n = sample.n_draws
    at = np.arange(n)
    if not error_model_of(sample).of_chains:
        return np.where(at % _PILOT == 0, at // _PILOT % _FOLDS, -1)
    length = sample.draws.shape[-2]
    at, last = at % length, max(length // _PILOT, 1)
    return np.where(at < last, at * _FOLDS // last, -1)


def _batches(n: int) -> list[slice]:
    return [slice(i, min(i + _BATCH, n)) for i in range(0, n, _BATCH)]


@dataclass(frozen=True)
class _Grams:
    """Sums over points.

    Attributes
    ----------
    of : ndarray, shape (folds, 1 + m + K, 1 + m + K)
        Products of ones, m controls and K values in each fold of the pilot.
    light : ndarray of bool, shape (m,)
        The controls whose squares are sums of many, so that an error from their squares holds.
    """

    of: Array
    light: NDArray[np.bool_]


def _grams(columns: _Columns, values: Array, weights: Array, folds: NDArray[np.int64]) -> _Grams:
    """Return the products of all columns in each fold, with the squared weights of points."""
    m, n = len(columns.degrees), len(values)
    out = np.zeros((_FOLDS, 1 + m + values.shape[1], 1 + m + values.shape[1]))
    second, fourth = np.zeros(m), np.zeros(m)
    # The variance of the average is that of contributions with these weights.
    roots = weights * math.sqrt(n)
    for rows in _batches(n):
        used = weights[rows] > 0
        with np.errstate(over="ignore", invalid="ignore"):
            phi = columns.at(rows)
            squares = (phi[used] * roots[rows][used][:, None]) ** 2
            second += squares.sum(axis=0)
            fourth += (squares**2).sum(axis=0)
        if not np.isfinite(fourth).all():
            raise ArgumentError(
                "degree: the controls are beyond the range of doubles; lower it, or scale the draws"
            )
        used &= folds[rows] >= 0
        whole = np.hstack([np.ones((len(phi), 1)), phi, values[rows]])[used]
        whole *= roots[rows][used][:, None]
        for k in range(_FOLDS):
            own = whole[folds[rows][used] == k]
            out[k] += own.T @ own
    light = fourth <= _NOISE * second**2
    return _Grams(out, light & (columns.kurtosis <= _NOISE * _size(weights)))


@dataclass(frozen=True)
class _Fits:
    """The coefficients of all choices, the first of which has no controls.

    Attributes
    ----------
    names : sequence of str
        Words for the choices.
    coefficients : ndarray, shape (choices, folds + 1, m, K)
        Those without each fold, and at last those of the whole pilot.
    intercepts : ndarray, shape (choices, folds + 1, K)
        The means of what is left.
    light : ndarray of bool, shape (choices,)
        The choices of light controls only.
    """

    names: Sequence[str]
    coefficients: Array
    intercepts: Array
    light: NDArray[np.bool_]


def _fits(grams: _Grams, columns: _Columns, penalty: _Penalty | None, size: float) -> _Fits:
    """Fit all choices to all folds but one each, which judges them, and to all folds."""
    m, whole = len(grams.light), grams.of.sum(axis=0)
    light = np.flatnonzero(grams.light)
    scale = np.sqrt(np.diag(whole)[1 : m + 1] / max(whole[0, 0], 1e-300))
    scale = np.where(scale > 0, scale, 1.0)
    fits: list[list[Array]] = []
    means = []
    for k in range(_FOLDS + 1):
        rest = whole - grams.of[k] if k < _FOLDS else whole
        means.append(rest[0, 1:] / max(rest[0, 0], 1e-300))
        s, b = _centred(rest, means[-1], m, scale)
        names, found = ["none"], [np.zeros_like(b)]
        fits.append(found)

        def put(
            name: str,
            some: NDArray[np.int64],
            beta: Array,
            names: list[str] = names,
            found: list[Array] = found,
        ) -> None:
            names.append(name)
            found.append(np.zeros_like(found[0]))
            found[-1][some] = beta

        for degree in dict.fromkeys(columns.degrees.tolist()):
            below = np.flatnonzero(columns.degrees <= degree)
            both = np.intersect1d(below, light)
            for some in (below,) if len(both) == len(below) else (below, both):
                if len(some) <= _FREE * size:
                    put(f"degree {degree}", some, _Spectrum(s[np.ix_(some, some)]).solve(b[some]))
        own, start = b[light], None
        spectrum = _Spectrum(s[np.ix_(light, light)])
        for strength in _RIDGES if penalty == "ridge" else _LASSOS if penalty == "lasso" else ():
            name = f"{penalty} {strength:g}"
            if penalty == "ridge":
                put(name, light, spectrum.solve(own, strength))
                continue
            start = _lasso(spectrum, own, strength * np.abs(own).max(axis=0, initial=0.0), start)
            put(name, light, start)
            # Least squares on the controls that a lasso chose takes its shrinkage away.
            put(
                f"{name}, refitted",
                light,
                _refitted(s[np.ix_(light, light)], own, start, _FREE * size),
            )
    coefficients = np.stack(fits, axis=1) / scale[:, None]
    at = np.array(means)
    intercepts = at[:, m:] - np.einsum("km,ckmj->ckj", at[:, :m], coefficients)
    heavy = (coefficients[:, :, ~grams.light] != 0).any(axis=(1, 2, 3))
    return _Fits(names, coefficients, intercepts, ~heavy)


def _best(
    fits: _Fits, columns: _Columns, values: Array, weights: Array, folds: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the choice for each function by the squared errors at the folds that were left out.

    Fits whose squared errors come from few points are not taken, nor are those with controls whose
    squares do: their error would be too small where such points are missing.
    """
    count, _, m, outputs = fits.coefficients.shape
    second, fourth = np.zeros((count, outputs)), np.zeros((count, outputs))
    for rows in _batches(len(values)):
        used = (folds[rows] >= 0) & (weights[rows] > 0)
        with np.errstate(over="ignore", invalid="ignore"):
            phi = columns.at(rows)[used]
        fold = folds[rows][used]
        own, left = weights[rows][used], values[rows][used]
        for k in range(_FOLDS):
            some = fold == k
            beta = fits.coefficients[:, k].transpose(1, 0, 2).reshape(m, -1)
            fitted = (phi[some] @ beta).reshape(-1, count, outputs) + fits.intercepts[:, k]
            squares = (own[some][:, None, None] * (left[some][:, None] - fitted)) ** 2
            second += squares.sum(axis=0)
            fourth += (squares**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.where(second > 0, fourth / second**2, 0.0)
    kept = (noise <= _PILOT * _NOISE) & fits.light[:, None]
    # A function that is a sum of controls has no error.
    kept |= second <= _ROUNDING**2 * second[0]
    judged = np.where(kept, second, np.inf)
    judged[0] = second[0]
    best: NDArray[np.int64] = judged.argmin(axis=0)
    least = judged[best, np.arange(outputs)]
    return np.where(_GAIN * least < second[0], best, 0)


def _centred(gram: Array, means: Array, m: int, scale: Array) -> tuple[Array, Array]:
    """Return the covariances of scaled controls, and those with the values."""
    total = max(gram[0, 0], 1e-300)
    s = gram[1 : m + 1, 1 : m + 1] / total - np.outer(means[:m], means[:m])
    b = gram[1 : m + 1, m + 1 :] / total - np.outer(means[:m], means[m:])
    return s / np.outer(scale, scale), b / scale[:, None]


class _Spectrum:
    """The eigendecomposition of a covariance matrix, for regressions of any strength."""

    def __init__(self, s: Array) -> None:
        values, self._vectors = np.linalg.eigh(s)
        self._values = np.maximum(values, 0.0)
        self._least = _RANK * self._values.max(initial=1e-300)

    def solve(self, b: Array, strength: float = 0.0) -> Array:
        """Return (S + strength I)^-1 b."""
        shifted = self._values + strength
        inverse = np.divide(1.0, shifted, out=np.zeros_like(shifted), where=shifted > self._least)
        out: Array = self._vectors @ (inverse * (self._vectors.T @ b).T).T
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
        size = np.abs(z).max(initial=1e-300)
        if (
            max(np.abs(z - before).max(initial=0.0), np.abs(z - beta).max(initial=0.0))
            <= _SETTLED * size
        ):
            break
    return z


def _refitted(s: Array, b: Array, lasso: Array, most: float) -> Array:
    """Return least squares on the controls of a lasso; the lasso itself where they are too many."""
    out = lasso.copy()
    for j in range(b.shape[1]):
        active = np.flatnonzero(lasso[:, j])
        if 0 < len(active) <= most:
            out[active, j] = _Spectrum(s[np.ix_(active, active)]).solve(b[active, j])
    return out
