"""Whether the steps that denoise the copies of chains are enough for the errors that are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.tensors import to_numpy
from fermiac.diagnostics.convergence import mcse
from fermiac.score.gibbs_settings import GibbsSettings
from fermiac.score.integration import integrate
from fermiac.score.model import Model
from fermiac.score.rng_domains import PROBE
from fermiac.score.schedules import karras

if TYPE_CHECKING:
    from fermiac.score.gibbs_result import LangevinGibbs

__all__ = ["steps_too_few"]

Array = NDArray[np.float64]

#: Draws that are denoised again, as a share of all and at most; coordinates that are looked at.
_SHARE, _MOST_DRAWS, _MOST_COORDINATES = 1 / 16, 4096, 64
#: Fewer draws of a chain tell no error.
_MIN_DRAWS = 4
#: A shift is told where it is above this many errors of the average, and of itself.
_HARMFUL, _CLEAR = 1.0, 4.0
#: Levels below this many times the end are next to it.
_NEAR = 1.05
#: A draw of the purpose whose other draws are the signs of traces.
_DRAW = 1


def steps_too_few(result: LangevinGibbs, model: Model, settings: GibbsSettings) -> str | None:
    """Denoise some draws again, in as many steps and in twice as many.

    Noise of its level is added to a draw, which gives a point as the chains had it. Where the
    average of a coordinate or of its square moves by more than the sample's own error of it, the
    error bars do not hold what the integrator does, and a text says so.
    """
    draws, sigma = result.draws, np.asarray(result.stats["sigma"])
    n_chains, n_draws, dim = draws.shape
    if n_draws < _MIN_DRAWS:
        return None
    # Paths of noise cost more than the rest.
    most = _MOST_DRAWS // 8 if settings.denoiser.needs_noise else _MOST_DRAWS
    n = min(max(int(n_chains * n_draws * _SHARE), 16), most, n_chains * n_draws)
    # Spread over all chains and windows.
    which = np.linspace(0, n_chains * n_draws - 1, n).astype(int)
    x, s = draws.reshape(-1, dim)[which], sigma.reshape(-1)[which]
    y = x + s[:, None] * _core.score_noise(settings.key, PROBE, 0, n, _DRAW, dim, 0)[0]
    seen = np.unique(np.linspace(0, dim - 1, min(dim, _MOST_COORDINATES)).astype(int))
    # Steps from next to the end are short enough in any number.
    far = s > _NEAR * settings.sigma_end
    moved = np.zeros((2, n, len(seen)))
    if far.any():
        few, many = (_denoised(model, settings, y[far], s[far], k)[:, seen] for k in (1, 2))
        moved[:, far] = few - many, few**2 - many**2
    shift = moved.mean(axis=1)
    noise = moved.std(axis=1, ddof=1) / np.sqrt(n)
    errors = np.array([[_error(draws[..., j] ** p) for j in seen] for p in (1, 2)])
    clear = np.abs(shift) > _CLEAR * noise
    # Chains that all stand still have no error to compare with.
    size = np.divide(np.abs(shift), errors, out=np.zeros_like(errors), where=clear & (errors > 0))
    power, at = np.unravel_index(np.argmax(size), size.shape)
    if not size[power, at] > _HARMFUL:
        return None
    name = (result.names or [f"x[{j}]" for j in range(dim)])[seen[at]]
    what = f"{name}²" if power else name
    return (
        f"denoiser: twice the steps would move the average of {what} by {-shift[power, at]:.2g}, "
        f"{size[power, at]:.1f} of its standard errors, which do not hold that; raise n_denoise "
        f"above {settings.n_denoise}, or take a denoiser of higher order"
    )


def _error(values: Array) -> float:
    return float(mcse(values))


def _denoised(model: Model, settings: GibbsSettings, y: Array, sigma: Array, factor: int) -> Array:
    """The points denoised in `factor` times the steps of the run."""
    end, n = settings.sigma_end, factor * settings.n_denoise
    grids = [karras(n, end, level, settings.rho, final="zero") for level in sigma]
    # The same noise for both, where there is noise.
    paths = (end, float(sigma.max())) if settings.denoiser.needs_noise else False
    denoised = integrate(
        model,
        y,
        np.stack(grids),
        settings.denoiser,
        rng=settings.key,
        brownian=paths,
        progress=False,
    )
    return np.asarray(to_numpy(denoised), dtype=np.float64)
