"""What chains over noise levels are told to do, checked: the same for the core and for a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fermiac.score.single_step import Integrator

__all__ = ["Chains", "GibbsSettings", "Windows"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GibbsSettings:
    """The settings of a run of denoising Langevin Gibbs.

    What they mean to the last operation is told at the head of the core's ``score/langevin``.

    Attributes
    ----------
    dim, n_chains : int
        Coordinates d of a point; chains.
    key : int
        The key of all streams.
    levels : ndarray, shape (L,)
        The noise levels, strictly decreasing.
    log_prior : ndarray, shape (L,)
        log π of each, up to a constant.
    step, warmup_step : tuple of (str, float)
        ``("langevin", eta)``, ``("scaled", c)`` or ``("ou", c)``.
    metropolis : {None, "exact", "score"}
        The correction.
    predictor : {"exact", "logits", "regression", "estimate"}
        How levels are drawn: by the model's log-densities, by a classifier, by mean and deviation
        of log s, or from the denoised point.
    predict : callable or None
        Of ``"logits"`` and ``"regression"``: takes points (n, d), gives (n, L) with columns in the
        order of `levels`, or (n, 2). On a device it takes and gives tensors if `predict_tensor` is
        not None.
    predict_tensor : callable or None
        The same for a tensor on the model's device, where there is such a form.
    argmax : bool
        Of ``"exact"`` and ``"logits"``: the most likely level, not a draw.
    nearest : bool
        Of ``"regression"`` and ``"estimate"``: the nearest of `levels`.
    n_warmup, n_skip : int
        Sweeps before the first window; sweeps of a window.
    select : {"random", "min", "last"}
        Which state of a window is denoised.
    denoiser : Integrator
        What denoises.
    n_denoise : int
        Steps of the integrator, the one to level 0 included.
    rho : float
        The exponent of the grid.
    sigma_end : float
        The last level of the grid above 0.
    tweedie_step : float or None
        The level of a last step of Tweedie's formula.
    x0 : ndarray, shape (n_chains, d), or None
        Where the chains start; None for points of an integrator.
    sigma0 : ndarray, shape (n_chains,), or None
        The levels at which they start; None for drawn ones.
    init_integrator : Integrator
        What starts the chains, on a grid of the same kind from the highest level.
    n_init : int
        Its steps, the one to level 0 included.
    init_noise : float
        The level of the noise that its points are given.
    """

    dim: int
    n_chains: int
    key: int
    levels: Array
    log_prior: Array
    step: tuple[str, float]
    warmup_step: tuple[str, float]
    metropolis: str | None
    predictor: str
    predict: Callable[[Any], Any] | None
    predict_tensor: Callable[[Any], Any] | None
    argmax: bool
    nearest: bool
    n_warmup: int
    n_skip: int
    select: str
    denoiser: Integrator
    n_denoise: int
    rho: float
    sigma_end: float
    tweedie_step: float | None
    x0: Array | None
    sigma0: Array | None
    init_integrator: Integrator
    n_init: int
    init_noise: float


@dataclass(frozen=True)
class Windows:
    """What some windows gave: a row for each chain, a column for each window."""

    #: The denoised points, (n_chains, windows, d).
    draws: Array
    #: The levels of the states that were denoised, (n_chains, windows).
    sigma: Array
    #: Means of log s over the states after each sweep, (n_chains, windows).
    log_sigma: Array
    #: Shares of accepted moves, (n_chains, windows); 1 without a correction.
    acceptance: Array


class Chains(Protocol):
    """All chains of a run, wherever they live; the core's are `_core.GibbsRun`.

    ``fermiac.score.device_gibbs.run(model, settings)`` gives such an object for a model that lives
    on a device.
    """

    @property
    def n_windows(self) -> int:
        """Windows that all chains have finished."""
        ...

    def begin(self, report: Callable[[int, int], object] | None) -> None:
        """Start the chains and make the sweeps of the warm-up; not after `load`.

        `report` takes (done, total) model calls per chain, now and then; what it raises ends the
        call, after which the chains are as before.
        """
        ...

    def advance(self, n_windows: int, report: Callable[[int, int], object] | None) -> Windows:
        """Make windows; after an error all chains are where they were before."""
        ...

    def counts(self) -> dict[str, NDArray[Any]]:
        """What was counted until now.

        ``level_counts`` (L,), ``passages`` (n_chains,) between the ends of the levels, and
        ``n_calls`` (4,): calls of the model for each chain at the start, in the warm-up, in sweeps
        and in denoising.
        """
        ...

    def save(self) -> dict[str, NDArray[Any]]:
        """Everything that changes, for `load`."""
        ...

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Bring the chains to where `save` was called."""
        ...
