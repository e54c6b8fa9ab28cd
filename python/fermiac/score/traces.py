"""Traces of the derivative of a denoiser: from the model, probes, or differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.score.model import Model
from fermiac.score.noise import PROBE

__all__ = ["Traces", "require_smooth", "slope", "traces_of"]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

#: The most coordinates with derivatives along each; above, random probes are used.
_FEW = 16
#: The step of differences as a share of the level, the scale on which D bends. The relative error
#: is the square of the share plus the rounding error of D over the share.
_SHARE = 1e-5
#: Differences over a step and over four steps that disagree by more than this are rounding.
_AGREEMENT = 1e-4


@dataclass(frozen=True)
class Traces:
    """The traces of a run, in the form for the core, and their cost.

    Attributes
    ----------
    kind : {"exact", "hutchinson"}
    core : tuple
        (None, 1), or (callable, estimates of each row).
    cost : int
        Evaluations of the model for one D with its traces.
    """

    kind: str
    core: tuple[Callable[[Rows, Array, Array], tuple[Array, Array]] | None, int]
    cost: int


def traces_of(
    model: Model, x: Array, sigma: float, kind: str, n_probes: int, key: int, first: int = 0
) -> Traces:
    """Return the traces for rows `x` of a call from `first` on, which begin at level `sigma`."""
    dim = x.shape[1]
    if kind == "auto":
        in_core = model.has_trace and not isinstance(model._core(dim), tuple)
        kind = "exact" if in_core or dim <= _FEW else "hutchinson"
    if kind == "exact":
        if model.has_trace:
            return Traces("exact", (None, 1), 1)
        require_smooth(model, x, sigma)
        return Traces("exact", (lambda _, y, s: _by_coordinates(model, y, s), 1), 1 + 2 * dim)
    probes = _probes(key, first, len(x), n_probes, dim)
    with_probe = getattr(model, "_with_probe", None) if model.has_trace else None
    if with_probe is not None:
        given = lambda rows, y, s: _by_model(with_probe, y, s, probes[rows])  # noqa: E731
        return Traces("hutchinson", (given, n_probes), n_probes)
    require_smooth(model, x, sigma)
    differences = lambda rows, y, s: _by_differences(model, y, s, probes[rows])  # noqa: E731
    return Traces("hutchinson", (differences, n_probes), 1 + 2 * n_probes)


def _probes(key: int, first: int, n: int, n_probes: int, dim: int) -> Array:
    """Return random signs, (n, probes, d): the independent coordinates with the least variance."""
    signs = np.empty((n, n_probes, dim))
    for p in range(n_probes):
        _, u = _core.score_noise(key, PROBE, first, n, p, 0, dim)
        signs[:, p] = np.where(u < 0.5, -1.0, 1.0)
    return signs


def _by_model(
    with_probe: Callable[[Array, Array, Array], tuple[Array, Array]],
    y: Array,
    sigma: Array,
    probes: Array,
) -> tuple[Array, Array]:
    estimates = np.empty(probes.shape[:2])
    for p in range(probes.shape[1]):
        denoised, estimates[:, p] = with_probe(y, sigma, np.ascontiguousarray(probes[:, p]))
    return denoised, estimates


def slope(model: Model, y: Array, sigma: Array, along: Array, step: float = _SHARE) -> Array:
    """Return the derivative of D along `along`, by a central difference."""
    h = step * sigma[:, None]
    ahead = model._denoise(y + h * along, sigma)
    rate: Array = (ahead - model._denoise(y - h * along, sigma)) / (2 * h)
    return rate


def _by_differences(model: Model, y: Array, sigma: Array, probes: Array) -> tuple[Array, Array]:
    estimates = np.empty(probes.shape[:2])
    for p in range(probes.shape[1]):
        v = np.ascontiguousarray(probes[:, p])
        estimates[:, p] = (v * slope(model, y, sigma, v)).sum(axis=1)
    return model._denoise(y, sigma), estimates


def _by_coordinates(model: Model, y: Array, sigma: Array) -> tuple[Array, Array]:
    trace = np.zeros((len(y), 1))
    for c in range(y.shape[1]):
        along = np.zeros_like(y)
        along[:, c] = 1.0
        trace[:, 0] += slope(model, y, sigma, along)[:, c]
    return model._denoise(y, sigma), trace


def require_smooth(model: Model, x: Array, sigma: float) -> None:
    """Refuse a model whose values are too coarse for differences."""
    if not len(x):
        return
    y = np.ascontiguousarray(x[:8])
    levels = np.full(len(y), sigma)
    along = np.ones_like(y)
    near, far = (slope(model, y, levels, along, k * _SHARE) for k in (1, 4))
    gap = float(np.abs(near - far).sum(axis=1).max()) / y.shape[1]
    size = 1.0 + float(np.abs(far).max())
    # The run reports differences that are not finite, with their rows.
    if gap > _AGREEMENT * size:
        raise ArgumentError(
            f"model: {type(model).__name__} does not give its derivative, and its values are too "
            f"coarse for differences: over steps of {_SHARE:g} and {4 * _SHARE:g} of the level "
            f"{sigma:g} they are {gap:.2g} apart; compute in double precision, or give a model "
            "that knows its derivative, such as a torch module"
        )
