"""Starts near the bulk of a density: near a mode, or from normal approximations along a climb."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.targets.density import LogDensity

__all__ = ["approach", "climbed"]

Array = NDArray[np.float64]
#: Points with the gradients there.
Path = list[tuple[Array, Array]]

#: The number of steps in the quasi-Newton approximation, and of iterations.
_HISTORY = 6
_ITERATIONS = 200
#: The trials of a line search, and the gain in log-density that ends the climb.
_TRIALS = 30
_FLAT = 1e-8
#: The number of points at which a normal law is judged, and of laws along a path.
_JUDGES = 10
_LAWS = 50
#: The spread of the starts about a mode, relative to the deviations there.
_SPREAD = 0.1


def approach(
    target: LogDensity, x0: Array, streams: list[_core.Stream], how: str
) -> tuple[Array, int]:
    """Return better starts, one climb per chain, and the number of evaluations.

    ``"mode"``: near the end of the climb. ``"pathfinder"``: a draw from the normal law along the
    path with the least divergence from the target.

    References
    ----------
    L. Zhang, B. Carpenter, A. Gelman, A. Vehtari, "Pathfinder: parallel quasi-Newton variational
    inference", Journal of Machine Learning Research, 2022, arXiv:2108.03782.
    """
    paths, n_evals = climbed(target, x0)
    out, dim = x0.copy(), x0.shape[1]
    for i, (path, stream) in enumerate(zip(paths, streams, strict=True)):
        laws = _laws(path)
        if how == "mode":
            noise = _normal(stream, 1, dim)
            points = [law.draws(_SPREAD * noise)[0] for law in laws[-1:]]
        else:
            laws = laws[:: max(len(laws) // _LAWS, 1)]
            points = _best(target, laws, _normal(stream, _JUDGES, dim))
            n_evals += _JUDGES * len(laws)
        # The first point with density; the end of the climb always has one.
        tried = np.concatenate([*points, path[-1][0][None]])
        values, gradients = target._evaluate(tried, True)
        assert gradients is not None
        out[i] = tried[np.argmax(np.isfinite(values) & np.isfinite(gradients).all(axis=1))]
        n_evals += len(tried)
    return out, n_evals


def climbed(target: LogDensity, x0: Array) -> tuple[list[Path], int]:
    """Return the paths from these points upwards; all climbs are evaluated in one batch."""
    climbs = {i: _climb(x) for i, x in enumerate(x0)}
    asked = {i: next(climb) for i, climb in climbs.items()}
    paths: list[Path] = [[] for _ in x0]
    n_evals = 0
    while asked:
        values, gradients = target._evaluate(np.array(list(asked.values())), True)
        assert gradients is not None
        n_evals += len(values)
        for i, value, slope in zip(list(asked), values, gradients, strict=True):
            try:
                asked[i] = climbs[i].send((float(value), slope.copy()))
            except StopIteration as end:
                paths[i] = end.value
                del asked[i]
    return paths, n_evals


def _climb(x: Array) -> Generator[Array, tuple[float, Array], Path]:
    """Climb by a quasi-Newton method: yield points, get values and gradients, return the path.

    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming, 1989; with a bisection for the weak Wolfe conditions.
    """
    value, slope = yield x
    path = [(x, slope)]
    pairs: list[tuple[Array, Array]] = []
    for _ in range(_ITERATIONS):
        direction = _newton(slope, pairs)
        rate = float(direction @ slope)
        if not rate > _FLAT:
            break
        t = 1.0 if pairs else min(1.0, 1 / float(np.linalg.norm(slope)))
        low, high = 0.0, np.inf
        best: tuple[Array, float, Array] | None = None
        for _ in range(_TRIALS):
            new = x + t * direction
            there, bend = yield new
            usable = np.isfinite(there) and np.isfinite(bend).all()
            if not (usable and there >= value + 1e-4 * t * rate):
                high = t
            else:
                best, low = (new, there, bend), t
                if bend @ direction <= 0.9 * rate:
                    break
            t = (low + high) / 2 if high < np.inf else 2 * low
        if best is None:
            break
        step, change = best[0] - x, slope - best[2]
        if step @ change > 1e-12 * (change @ change):
            pairs = [*pairs, (step, change)][-_HISTORY:]
        x, value, slope = best
        path.append((x, slope))
    return path


def _newton(slope: Array, pairs: list[tuple[Array, Array]]) -> Array:
    """Return the product of the inverse Hessian of the last pairs with a gradient."""
    direction, parts = slope.copy(), []
    for step, change in reversed(pairs):
        parts.append((step @ direction) / (step @ change))
        direction -= parts[-1] * change
    if pairs:
        step, change = pairs[-1]
        direction *= (step @ change) / (change @ change)
    for (step, change), part in zip(pairs, reversed(parts), strict=True):
        direction += (part - (change @ direction) / (step @ change)) * step
    return direction


def _normal(stream: _core.Stream, n: int, dim: int) -> Array:
    flat = np.empty(n * dim)
    stream.fill_normal(flat)
    return flat.reshape(n, dim)


def _best(target: LogDensity, laws: list[_Normal], noise: Array) -> list[Array]:
    """Return the draws of the law with the largest evidence lower bound."""
    if not laws:
        return []
    drawn = [law.draws(noise) for law in laws]
    values, _ = target._evaluate(np.concatenate([x for x, _ in drawn]), False)
    values = values.reshape(len(laws), -1)
    values = np.where(np.isnan(values), -np.inf, values)
    gaps = values - np.array([density for _, density in drawn])
    at = int(np.argmax(gaps.mean(axis=1)))
    if not np.isfinite(gaps[at]).any():
        return []
    return [drawn[at][0][np.isfinite(gaps[at])]]


@dataclass(frozen=True)
class _Normal:
    """A normal law with the covariance diag(a) + B C Bᵀ of a quasi-Newton step."""

    mean: Array
    scales: Array
    basis: Array
    factor: Array

    def draws(self, noise: Array) -> tuple[Array, Array]:
        """Return points for rows of standard normal numbers, and the log-densities there."""
        inside = noise @ self.basis
        moved = noise + (inside @ self.factor.T - inside) @ self.basis.T
        log_det = np.log(self.scales).sum() + np.log(np.diag(self.factor)).sum()
        density = -0.5 * (noise**2).sum(axis=1) - log_det
        return self.mean + self.scales * moved, density


def _laws(path: Path) -> list[_Normal]:
    """Return the normal law at every point of a path except the first."""
    found: list[_Normal] = []
    diagonal = np.ones(len(path[0][0]))
    steps: list[Array] = []
    bends: list[Array] = []
    for (before, slope_before), (x, slope) in pairwise(path):
        step, bend = x - before, slope_before - slope
        if step @ bend > 1e-12 * (bend @ bend):
            diagonal = _diagonal(diagonal, step, bend)
            steps, bends = [*steps, step][-_HISTORY:], [*bends, bend][-_HISTORY:]
        law = _law(x, slope, diagonal, steps, bends)
        if law is not None:
            found.append(law)
    return found


def _diagonal(a: Array, step: Array, bend: Array) -> Array:
    """Return the diagonal of the inverse Hessian after a step.

    J. C. Gilbert, C. Lemaréchal, "Some numerical experiments with variable-storage quasi-Newton
    algorithms", Mathematical Programming, 1989.
    """
    bab, along, sas = bend @ (a * bend), step @ bend, step @ (step / a)
    new = 1 / (bab / (along * a) + bend**2 / along - bab * step**2 / (along * sas * a**2))
    return np.where(np.isfinite(new) & (new > 0), new, a)


def _law(
    x: Array, slope: Array, a: Array, steps: list[Array], bends: list[Array]
) -> _Normal | None:
    """Return the law around the Newton step from `x`, by the compact form of the inverse Hessian.

    R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and their use
    in limited memory methods", Mathematical Programming, 1994.
    """
    dim, m = len(x), len(steps)
    if m == 0:
        return None
    s, z = np.array(steps).T, np.array(bends).T
    products = s.T @ z
    try:
        inverse = np.linalg.inv(np.triu(products))
        corner = inverse.T @ (np.diag(np.diag(products)) + z.T @ (a[:, None] * z)) @ inverse
        middle = np.block([[np.zeros((m, m)), -inverse], [-inverse.T, corner]])
        outer = np.hstack([a[:, None] * z, s])
        scales = np.sqrt(a)
        basis, r = np.linalg.qr(outer / scales[:, None])
        factor = np.linalg.cholesky(np.eye(len(r)) + r @ middle @ r.T)
    except np.linalg.LinAlgError:
        return None
    mean = x + a * slope + outer @ (middle @ (outer.T @ slope))
    if not np.isfinite(mean).all() or basis.shape != (dim, len(factor)):
        return None
    return _Normal(mean, scales, basis, factor)
