"""Pick-freeze designs: replicates of Sobol' points, their sums, and the indices from them.

A row of the design has a pair (A, B) of independent points of a law. For each input it also has the
point A with this input taken from B and, for second-order indices, B with the input taken from A.
Rows come from nets in 2 d dimensions, in independent replicates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import NumericalError
from fermiac.importance.outputs import Outputs, rows_at_once
from fermiac.importance.polynomials import Basis, fold_coefficients, ranked_terms
from fermiac.random import sobol

__all__ = ["Control", "Design", "Indices", "Sums"]

Array = NDArray[np.float64]
#: Sizes of the control that are tried, and points of the fit for each of its terms at least.
_SIZES = (6, 12, 24, 48, 96, 160, 256)
_POINTS_PER_TERM = 5
#: Model runs that the control is fitted to at most.
FIT_RUNS = 2**14
#: The largest share of the variance that a useful control leaves.
_PAYS = 0.5


@dataclass(frozen=True)
class Design:
    """The layout of the rows of a design.

    Attributes
    ----------
    law : Law
        The law of a point, of independent groups of coordinates.
    groups : tuple of tuple of int
        The coordinates of each input.
    both : bool
        Whether a row also has B with each input taken from A.
    key : int
        The key of the points.
    """

    law: Any
    groups: tuple[tuple[int, ...], ...]
    both: bool
    key: int

    @property
    def runs(self) -> int:
        """Model runs of a row."""
        return 2 + len(self.groups) * (2 if self.both else 1)

    def units(self, replicate: int, start: int, n: int) -> tuple[Array, Array]:
        """Return the uniform numbers of A and B of some rows."""
        dim = self.law.dim
        u = sobol(n, 2 * dim, self.key, start=start, replicate=replicate)
        return np.ascontiguousarray(u[:, :dim]), np.ascontiguousarray(u[:, dim:])

    def crossed(self, a: Array, b: Array) -> Array:
        """Return A, B and the points between them, shape (runs, n, d)."""
        out = np.empty((self.runs, *a.shape))
        out[0], out[1] = a, b
        n = len(self.groups)
        out[2 : 2 + n] = a
        if self.both:
            out[2 + n :] = b
        for g, group in enumerate(self.groups):
            place = list(group)
            out[2 + g][:, place] = b[:, place]
            if self.both:
                out[2 + n + g][:, place] = a[:, place]
        return out


class Control:
    """Polynomials fitted to the model, for each replicate from the points of the others."""

    def __init__(self, basis: Basis, coefficients: Array, residual: Array) -> None:
        self.basis = basis
        #: Shape (replicates, terms, K).
        self.coefficients = coefficients
        #: The share of the variance that is left, out of sample, shape (K,).
        self.residual = residual

    def values(self, design: Design, replicate: int, a: Array, b: Array) -> Array:
        """Return the control at the points of some rows, shape (runs, n, K)."""
        beta = self.coefficients[replicate]
        return self.basis.crossed(a, b, design.groups, design.both, beta)


def fitted_control(
    design: Design, bounded: Sequence[bool], units: list[tuple[Array, Array]], values: list[Array]
) -> Control | None:
    """Return the control with the least residual variance out of sample, None if none helps.

    Parameters
    ----------
    units : list of pairs of ndarray
        The uniform numbers of A and B, of each replicate.
    values : list of ndarray, shape (runs, n, K)
    """
    runs = sum(v.shape[0] * v.shape[1] for v in values)
    centre = np.mean([v[:2].mean(axis=(0, 1)) for v in values], axis=0)
    spread = np.mean([((v - centre) ** 2).mean(axis=(0, 1)) for v in values], axis=0)
    if not (spread > 0).any():
        return None
    most = min(runs // _POINTS_PER_TERM, _SIZES[-1])
    sizes = [n for n in _SIZES if n <= most]
    if not sizes:
        return None
    scale = np.where(spread > 0, spread, 1.0)
    shares = np.zeros(design.law.dim)
    for g, group in enumerate(design.groups):
        moved = [((v[0] - v[2 + g]) ** 2).mean(axis=0) / (2 * scale) for v in values]
        shares[list(group)] = np.mean(moved, axis=0).max()
    basis = Basis(bounded, ranked_terms(shares, bounded, sizes[-1]))
    count = len(basis.terms)
    sizes = sorted({min(n, count) for n in sizes})
    outputs = len(centre)
    grams = [
        basis.gram(
            design.crossed(a, b).reshape(-1, design.law.dim),
            ((v - centre) / np.sqrt(scale)).reshape(-1, outputs),
        )
        for (a, b), v in zip(units, values, strict=True)
    ]
    try:
        left, coefficients = fold_coefficients(np.array(grams), count, outputs, sizes)
    except NumericalError:
        return None
    residuals = left / runs
    moving = spread > 0
    best = int(np.argmin(np.log(np.maximum(residuals[:, moving], 1e-30)).mean(axis=1)))
    residual, found = residuals[best], coefficients[best][:, : sizes[best]]
    # The products of a poor control have heavier tails than those of the model.
    found[:, :, ~(residual < _PAYS)] = 0.0
    if not found.any():
        return None
    found = found * np.sqrt(scale)
    found[:, 0] += centre
    return Control(Basis(bounded, basis.terms[: sizes[best]]), found, residual)


class Sums:
    """The sums of all replicates of a design, which grows by doubling.

    Attributes
    ----------
    rows : int
        Rows of each replicate that are in the sums.
    """

    def __init__(
        self,
        design: Design,
        replicates: int,
        model: Outputs,
        bounded: Sequence[bool] | None,
        report: Callable[[], None],
    ) -> None:
        self.design = design
        self.replicates = replicates
        self.rows = 0
        self.control: Control | None = None
        #: The squared deviations of the first values from their centre, shape (m, K).
        self.squares: Array | None = None
        self._model = model
        self._bounded = bounded
        self._report = report
        self._centre: Array | None = None
        self._sums: Array | None = None
        # Powers of two that bring the outputs to a size whose square is within range.
        self._scale: Array | None = None
        # The rows that the control is fitted to, of each replicate.
        self._units: list[tuple[Array, Array]] = []
        self._values: list[Array] = []

    def grow(self, rows: int) -> None:
        """Evaluate the model at the rows of all replicates up to a number of them."""
        if rows <= self.rows:
            return
        few = rows * self.replicates * self.design.runs <= FIT_RUNS
        if self._sums is None or few:
            self._grow_kept(rows)
        else:
            added = [self._added(r, rows) for r in range(self.replicates)]
            self._sums = self._sums + np.array(added)
            self._units, self._values = [], []
        self.rows = rows

    def _grow_kept(self, rows: int) -> None:
        """Evaluate rows and store them, set the centre of the values and fit the control."""
        units, values = [], []
        for r in range(self.replicates):
            parts = [(u, self._evaluated(u)) for u in self._blocks(r, self.rows, rows)]
            if self._values:
                parts.insert(0, (self._units[r], self._values[r]))
            a, b = (np.concatenate([u[k] for u, _ in parts]) for k in (0, 1))
            units.append((a, b))
            values.append(np.concatenate([y for _, y in parts], axis=1))
        if self._scale is None:
            self._scale = _scale_of(values)
            values = [v * self._scale for v in values]
        centre = np.mean([v[:2].mean(axis=(0, 1)) for v in values], axis=0)
        deviations = [((v[:2] - centre) ** 2).reshape(-1, len(centre)) for v in values]
        control = None
        if self._bounded is not None:
            control = fitted_control(self.design, self._bounded, units, values)
        sums = [
            self._sum(r, *u, v, centre, control)
            for r, (u, v) in enumerate(zip(units, values, strict=True))
        ]
        # All are set together, so that after an interrupt the sums belong to one control.
        self._centre, self.control, self._sums = centre, control, np.array(sums)
        self.squares, self._units, self._values = np.concatenate(deviations), units, values

    def _blocks(self, replicate: int, start: int, stop: int) -> Iterator[tuple[Array, Array]]:
        step = rows_at_once(self.design.runs, self.design.law.dim)
        for at in range(start, stop, step):
            yield self.design.units(replicate, at, min(step, stop - at))

    def _evaluated(self, units: tuple[Array, Array]) -> Array:
        """Return the values of the model at some rows, shape (runs, n, K)."""
        law, dim = self.design.law, self.design.law.dim
        a, b = (np.asarray(law.from_unit(u), np.float64) for u in units)
        points = self.design.crossed(a, b)
        y = self._model(points.reshape(-1, dim))
        self._report()
        y = y.reshape(self.design.runs, len(a), -1)
        return y if self._scale is None else y * self._scale

    def _added(self, replicate: int, rows: int) -> Array:
        assert self._centre is not None
        out = np.zeros(())
        for units in self._blocks(replicate, self.rows, rows):
            values = self._evaluated(units)
            out = out + self._sum(replicate, *units, values, self._centre, self.control)
        return out

    def _sum(
        self,
        replicate: int,
        a: Array,
        b: Array,
        values: Array,
        centre: Array,
        control: Control | None,
    ) -> Array:
        """Return the sums of some rows minus those of the control, shape (columns, K)."""
        out = _products(self.design, values - centre)
        if control is not None:
            p = control.values(self.design, replicate, a, b)
            out -= _products(self.design, p - centre)
        return out

    def indices(self) -> Indices:
        """Return the indices from all rows so far."""
        assert self._scale is not None
        return self._scaled_indices().times(1 / self._scale)

    def _scaled_indices(self) -> Indices:
        """Return the indices of the outputs in units of their size."""
        assert self._sums is not None
        assert self._centre is not None
        means = self._sums / self.rows
        if self.control is not None:
            means = means + _expected(self.design, self.control, self._centre)
        return Indices.of_means(self.design, means, self._centre)

    def reported(self) -> Indices:
        """Return the indices with no error of 0, which no sample can know.

        If all replicates agree, an error is at least what a single point makes of it. For an input
        without effect at N rows it follows from the rule of three: the probability of an effect is
        below 3/N with a confidence of 95 %. The same holds for a model that is constant at N
        points.
        """
        found = self._scaled_indices()
        assert self.squares is not None
        assert self._scale is not None
        pairs = self.rows * self.replicates
        point, three = 1 / (self.rows * math.sqrt(self.replicates)), 3 / (2 * pairs)
        top, varies = self.squares.max(axis=0), found.variance > 0
        size = np.where(found.mean == 0, 1.0, np.abs(found.mean))
        least = np.where(varies, np.sqrt(top) * point, size * three)
        mean_stderr = np.where(found.mean_stderr == 0, least, found.mean_stderr)
        with np.errstate(over="ignore"):
            least = np.where(varies, top * point, size * size * three)
        variance_stderr = np.where(found.variance_stderr == 0, least, found.variance_stderr)
        cov = found.cov.copy()
        for k in np.flatnonzero(varies):
            # A difference of two values is at most twice the largest deviation.
            effect = 2 * top[k] * (3 / pairs) / found.variance[k]
            diagonal = np.diag(cov[k])
            np.fill_diagonal(cov[k], np.where(diagonal == 0, effect**2, diagonal))
        known = replace(found, cov=cov, mean_stderr=mean_stderr, variance_stderr=variance_stderr)
        return known.times(1 / self._scale)


def _scale_of(values: list[Array]) -> Array:
    """Return the power of two for each output that brings its deviations to a size of about 1."""
    low = np.min([v.min(axis=(0, 1)) for v in values], axis=0)
    high = np.max([v.max(axis=(0, 1)) for v in values], axis=0)
    _, exponents = np.frexp(high / 2 - low / 2)
    out: Array = np.ldexp(1.0, -np.clip(exponents, -1000, 1000))
    return out


def _products(design: Design, f: Array) -> Array:
    """Return sums over rows: values, squares, products of independent and of crossed points."""
    n = len(design.groups)
    a, b, x = f[0], f[1], f[2 : 2 + n]
    rows = [(a + b).sum(axis=0) / 2, (a * a + b * b).sum(axis=0) / 2, (a * b).sum(axis=0)]
    if not design.both:
        first = [(b * v).sum(axis=0) for v in x]
        total = [((a - v) ** 2).sum(axis=0) / 2 for v in x]
        return np.array([*rows, *first, *total])
    y = f[2 + n :]
    first = [(b * v + a * w).sum(axis=0) / 2 for v, w in zip(x, y, strict=True)]
    total = [((a - v) ** 2 + (b - w) ** 2).sum(axis=0) / 4 for v, w in zip(x, y, strict=True)]
    pairs = [(x[i] * y[j] + x[j] * y[i]).sum(axis=0) / 2 for i in range(n) for j in range(i + 1, n)]
    return np.array([*rows, *first, *total, *pairs])


def _expected(design: Design, control: Control, centre: Array) -> Array:
    """Return the expectations of the products of a control, shape (replicates, columns, K)."""
    parts = control.basis.variances(control.coefficients, design.groups)
    shift = control.coefficients[:, 0] - centre
    n, square = len(design.groups), shift**2
    rows = [shift, parts.whole + square, square]
    rows += [parts.first[:, g] + square for g in range(n)]
    rows += [parts.total[:, g] for g in range(n)]
    if design.both:
        for i in range(n):
            for j in range(i + 1, n):
                closed = parts.first[:, i] + parts.first[:, j] + parts.pairs[:, i, j]
                rows.append(closed + square)
    return np.stack(rows, axis=1)


@dataclass(frozen=True)
class Indices:
    """Indices of K outputs with the covariance of each output's.

    Attributes
    ----------
    values : ndarray, shape (K, m)
        First order, total order and second order, one after the other.
    cov : ndarray, shape (K, m, m)
    mean, variance : ndarray, shape (K,)
    mean_stderr, variance_stderr : ndarray, shape (K,)
    """

    values: Array
    cov: Array
    mean: Array
    mean_stderr: Array
    variance: Array
    variance_stderr: Array

    def times(self, factor: Array) -> Indices:
        """Return the indices of the outputs, each times a factor."""
        with np.errstate(over="ignore", under="ignore"):
            return replace(
                self,
                mean=self.mean * factor,
                mean_stderr=self.mean_stderr * factor,
                variance=self.variance * factor * factor,
                variance_stderr=self.variance_stderr * factor * factor,
            )

    @classmethod
    def of_means(cls, design: Design, means: Array, centre: Array) -> Indices:
        """Return the indices from the means of each replicate, shape (replicates, columns, K)."""
        n, replicates = len(design.groups), len(means)
        q = means.mean(axis=0)
        mean, square, independent = q[0], q[1], q[2]
        variance = square - mean**2
        safe = np.where(variance > 0, variance, np.nan)
        total = q[3 + n : 3 + 2 * n] / safe
        # The mean product of independent points estimates the squared mean. Its noise equals that
        # of the crossed product if the input has no effect, and is independent of it if only this
        # input has an effect. The coefficient between these cases is 1 - total.
        share = np.clip(1 - np.nan_to_num(total), 0, 1)
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)] if design.both else []

        def first_of(at: Array, weight: Array) -> tuple[Array, Array]:
            """Return the numerator, and its linear part at each replicate."""
            level = weight * independent + (1 - weight) * mean**2
            slope = weight * means[:, 2] + (1 - weight) * 2 * mean * means[:, 0]
            return q[at] - level, means[:, at] - slope

        tops, lines = [], []
        for g in range(n):
            top, line = first_of(3 + g, share[g])  # type: ignore[arg-type]
            tops.append(top)
            lines.append(line)
        for g in range(n):
            tops.append(q[3 + n + g])
            lines.append(means[:, 3 + n + g])
        for k, (i, j) in enumerate(pairs):
            weight = np.clip(share[i] + share[j] - 1, 0, 1)
            top, line = first_of(3 + 2 * n + k, weight)  # type: ignore[arg-type]
            tops.append(top - tops[i] - tops[j])
            lines.append(line - lines[i] - lines[j])
        of_variance = means[:, 1] - 2 * mean * means[:, 0]
        values = np.array(tops) / safe
        linear = (np.array(lines) - values[:, None] * of_variance) / safe  # (m, replicates, K)
        centred = linear - linear.mean(axis=1, keepdims=True)
        scale = 1 / (replicates * (replicates - 1))
        cov = np.einsum("irk,jrk->kij", centred, centred) * scale

        def error(x: Array) -> Array:
            out: Array = np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=0) * scale)
            return out

        return cls(values.T, cov, mean + centre, error(means[:, 0]), variance, error(of_variance))
