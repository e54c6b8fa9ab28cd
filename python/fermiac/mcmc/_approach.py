"""Starts nearer to the bulk of a density: its modes, or normal laws along the way to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.targets._density import LogDensity

__all__ = ["approach"]

Array = NDArray[np.float64]

#: Pairs of steps that the inverse Hessian is made of.
_HISTORY = 6
_ITERATIONS = 200
#: Points at which a normal law is judged, and laws along a path that are.
_JUDGES = 10
_LAWS = 50
#: Starts lie about a mode at this share of the deviations there, so that chains differ.
_SPREAD = 0.1


def approach(
    target: LogDensity, x0: Array, streams: list[_core.Stream], how: str
) -> tuple[Array, int]:
    """Better starts from these, one climb a chain, and the evaluations that they took.

    ``"mode"``: near the top. ``"pathfinder"``: a draw from that normal law along the way which
    diverges least from the target.

    References
    ----------
    L. Zhang, B. Carpenter, A. Gelman, A. Vehtari, "Pathfinder: parallel quasi-Newton variational
    inference", Journal of Machine Learning Research, 2022.
    """
    out, n_evals = x0.copy(), 0
    for i, stream in enumerate(streams):
        climb = _Climb(target, x0[i])
        laws = climb.laws()
        if how == "mode":
            noise = _normal(stream, 1, len(x0[i]))
            points = [law.draws(_SPREAD * noise)[0] for law in laws[-1:]]
        else:
            candidates = laws[:: max(len(laws) // _LAWS, 1)]
            noise = _normal(stream, _JUDGES, len(x0[i]))
            points = _best(target, candidates, noise)
            climb.n_evals += _JUDGES * len(candidates)
        # The first at which a chain can start; at least the end of the climb is one.
        tried = np.concatenate([*points, climb.points[-1][None]])
        values, gradients = target._evaluate(tried.copy(), True)
        assert gradients is not None
        good = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
        if good.any():
            out[i] = tried[np.argmax(good)]
        n_evals += climb.n_evals + len(tried)
    return out, n_evals


def _normal(stream: _core.Stream, n: int, dim: int) -> Array:
    flat = np.empty(n * dim)
    stream.fill_normal(flat)
    return flat.reshape(n, dim)


def _best(target: LogDensity, laws: list[_Normal], noise: Array) -> list[Array]:
    """The draws of the law with the best evidence lower bound, the best draws first."""
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
        """Points for rows of standard normal numbers, and the log-densities there."""
        inside = noise @ self.basis
        moved = noise + (inside @ self.factor.T - inside) @ self.basis.T
        log_det = np.log(self.scales).sum() + np.log(np.diag(self.factor)).sum()
        density = -0.5 * (noise**2).sum(axis=1) - log_det
        return self.mean + self.scales * moved, density


class _Climb:
    """The path of a quasi-Newton ascent."""

    def __init__(self, target: LogDensity, x0: Array) -> None:
        from scipy.optimize import minimize

        self.n_evals = 0
        self.points: list[Array] = []
        self.slopes: list[Array] = []
        last: dict[bytes, Array] = {}

        def downhill(x: Array) -> tuple[float, Array]:
            values, gradients = target._evaluate(np.array(x)[None], True)
            assert gradients is not None
            self.n_evals += 1
            if not (np.isfinite(values[0]) and np.isfinite(gradients[0]).all()):
                return 1e300, np.zeros(len(x))  # a line search turns back
            last[x.tobytes()] = gradients[0].copy()
            return -float(values[0]), -gradients[0]

        def keep(x: Array) -> None:
            slope = last.get(x.tobytes())
            if slope is not None:
                self.points.append(x.copy())
                self.slopes.append(slope)
            last.clear()

        downhill(x0)
        keep(x0)
        if not self.points:
            self.points, self.slopes = [x0.copy()], [np.zeros(len(x0))]
        options: Any = {"maxiter": _ITERATIONS, "maxcor": _HISTORY}
        minimize(downhill, x0, jac=True, method="L-BFGS-B", callback=keep, options=options)

    def laws(self) -> list[_Normal]:
        """The normal law at every point of the path."""
        found: list[_Normal] = []
        diagonal = np.ones(len(self.points[0]))
        steps: list[Array] = []
        bends: list[Array] = []
        for i in range(1, len(self.points)):
            step = self.points[i] - self.points[i - 1]
            bend = self.slopes[i - 1] - self.slopes[i]
            along = step @ bend
            if along > 1e-12 * (bend @ bend):
                diagonal = _diagonal(diagonal, step, bend)
                steps, bends = [*steps, step][-_HISTORY:], [*bends, bend][-_HISTORY:]
            law = _law(self.points[i], self.slopes[i], diagonal, steps, bends)
            if law is not None:
                found.append(law)
        return found


def _diagonal(a: Array, step: Array, bend: Array) -> Array:
    """The diagonal of the inverse Hessian that a step teaches.

    J. C. Gilbert, C. Lemaréchal, "Some numerical experiments with variable-storage quasi-Newton
    algorithms", Mathematical Programming, 1989.
    """
    bab, along, sas = bend @ (a * bend), step @ bend, step @ (step / a)
    new = 1 / (bab / (along * a) + bend**2 / along - bab * step**2 / (along * sas * a**2))
    return np.where(np.isfinite(new) & (new > 0), new, a)


def _law(
    x: Array, slope: Array, a: Array, steps: list[Array], bends: list[Array]
) -> _Normal | None:
    """The law about the Newton step from `x`, by the compact form of the inverse Hessian.

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
