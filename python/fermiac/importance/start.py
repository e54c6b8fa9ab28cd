"""Initial laws for the evidence of a model: around its mode, with heavy tails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fermiac.distributions import Mixture, MultivariateT
from fermiac.distributions.law import Law
from fermiac.targets.model import ModelTarget

__all__ = ["start_law"]

Array = NDArray[np.float64]

#: The largest distance of the climb in each coordinate, and its largest number of steps.
_FAR = 20.0
_ITERATIONS = 500
#: Degrees of freedom, and the factor of the covariance at the mode.
_DF = 5.0
_WIDER = 2.0
#: The limits of the standard deviations at the mode, and the value if there are none.
_LEAST, _MOST, _DEFAULT = 1e-4, 10.0, 1.5
#: The share of the wide law about the initial point.
_WIDE_SHARE = 0.2


def start_law(model: ModelTarget) -> Law:
    """Return a law over the unconstrained points of a model, wider than its posterior near a mode.

    Eight tenths are a t law around the mode that L-BFGS reaches from the initial point, with twice
    the covariance from the curvature there. The rest is a wide t law around the initial point. If
    there is no mode, the whole law is this wide t law.
    """
    first = model.initial_point
    wide = MultivariateT(_DF, first, _DEFAULT**2 * np.eye(model.dim))
    found = _mode(model, first)
    if found is None:
        return wide
    near = MultivariateT(_DF, found, _WIDER * _covariance(model, found))
    return Mixture([1 - _WIDE_SHARE, _WIDE_SHARE], [near, wide])


def _mode(model: ModelTarget, first: Array) -> Array | None:
    """Return the mode near a point, None if there is none at a finite distance."""
    from scipy.optimize import minimize

    def downhill(x: Array) -> tuple[float, Array]:
        values, slopes = model._evaluate(np.ascontiguousarray(x[None]), True)
        assert slopes is not None
        if not (np.isfinite(values[0]) and np.isfinite(slopes).all()):
            return 1e300, np.zeros_like(x)
        return -float(values[0]), -slopes[0]

    bounds = np.stack([first - _FAR, first + _FAR], axis=1)
    climb = minimize(
        downhill,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _ITERATIONS},
    )
    at: Array = climb.x
    return at if climb.success and (np.abs(at - first) < _FAR).all() else None


def _covariance(model: ModelTarget, x: Array) -> Array:
    """Return the inverse of the curvature at a mode, with standard deviations within limits."""
    dim = model.dim
    step = 1e-4
    ends = np.concatenate([x + step * np.eye(dim), x - step * np.eye(dim)])
    _, slopes = model._evaluate(ends, True)
    assert slopes is not None
    curvature = (slopes[dim:] - slopes[:dim]) / (2 * step)
    if not np.isfinite(curvature).all():
        return _DEFAULT**2 * np.eye(dim)
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    bent = np.where(values > _MOST**-2, values, _DEFAULT**-2)
    deviations = np.clip(bent**-0.5, _LEAST, _MOST)
    out: Array = (vectors * deviations**2) @ vectors.T
    return (out + out.T) / 2
