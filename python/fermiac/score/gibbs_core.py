"""Chains over noise levels that run in the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.score.gibbs_settings import GibbsSettings, Windows
from fermiac.score.single_step import Integrator

__all__ = ["CoreChains"]

Report = Callable[[int, int], object]


class CoreChains:
    """The chains of a run, behind the interface of `Chains`.

    Parameters
    ----------
    spec : Any
        The model, as the bindings take it.
    settings : GibbsSettings
    total : int
        The whole of the progress, in draws of all chains.
    workers : int
        Threads.
    """

    def __init__(self, spec: Any, settings: GibbsSettings, total: int, workers: int) -> None:
        predict = settings.predict
        self._ports = (spec, None if predict is None else (predict, settings.dim))
        self._run = _core.GibbsRun(_options(settings))
        self._total = total
        self._workers = workers

    @property
    def n_windows(self) -> int:
        """Windows that all chains have finished."""
        return self._run.n_windows

    def begin(self, report: Report | None) -> None:
        """Start the chains and make the sweeps of the warm-up."""
        self._run.begin(*self._ports, self._workers, self._total, report)

    def advance(self, n_windows: int, report: Report | None) -> Windows:
        """Make windows."""
        made = self._run.advance(*self._ports, n_windows, self._workers, self._total, report)
        return Windows(**made)

    def counts(self) -> dict[str, NDArray[Any]]:
        """What was counted until now."""
        counted = self._run.counts()
        return {name: array.astype(np.int64) for name, array in counted.items()}

    def save(self) -> dict[str, NDArray[Any]]:
        """Everything that changes."""
        return {"words": self._run.save()}

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Bring the chains to where `save` was called."""
        self._run.load(kept["words"])


def _options(settings: GibbsSettings) -> dict[str, Any]:
    names = (
        "dim n_chains key levels log_prior step warmup_step metropolis predictor argmax nearest "
        "n_warmup n_skip select tweedie_step init_noise x0 sigma0"
    )
    out = {name: getattr(settings, name) for name in names.split()}
    grid = (settings.rho, settings.sigma_end)
    out["denoise"] = (*_integrator(settings.denoiser), settings.n_denoise, *grid)
    out["init"] = (*_integrator(settings.init_integrator), settings.n_init, *grid)
    return out


def _integrator(given: Integrator) -> tuple[Any, ...]:
    return given._method(), given._options(), given._langevin()
