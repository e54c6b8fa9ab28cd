"""The chains of denoising Langevin Gibbs: what all of them can do, and those in the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.score.gibbs_settings import GibbsSettings
from fermiac.score.integrator import Integrator

__all__ = ["Chains", "CoreChains", "Windows"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """Draws and statistics of windows: a row for each chain, a column for each window."""

    #: The denoised points, (n_chains, windows, d).
    draws: Array
    #: The levels of the states that were denoised, (n_chains, windows).
    sigma: Array
    #: Means of log s over the states after each sweep, (n_chains, windows).
    log_sigma: Array
    #: Shares of accepted moves, (n_chains, windows); 1 without a correction.
    acceptance: Array


class Chains(Protocol):
    """All chains of a run: `CoreChains`, or those of ``device_gibbs`` for a model on a device."""

    @property
    def n_windows(self) -> int:
        """The number of windows that all chains have finished."""
        ...

    def begin(self, report: Callable[[int, int], object] | None) -> None:
        """Start the chains and make the sweeps of the warm-up; not after `load`.

        `report` is called with (done, total) model calls per chain. An exception of `report` ends
        the call and leaves the chains unchanged.
        """
        ...

    def advance(self, n_windows: int, report: Callable[[int, int], object] | None) -> Windows:
        """Make windows; after an error all chains are as they were before."""
        ...

    def counts(self) -> dict[str, NDArray[Any]]:
        """Return the counts of the run.

        ``level_counts`` (L,), ``passages`` (n_chains,) between the ends of the levels, and
        ``n_calls`` (4,): calls of the model for each chain at the start, in the warm-up, in sweeps
        and in denoising.
        """
        ...

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the state of the chains, for `load`."""
        ...

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Restore a state that `save` returned."""
        ...


class CoreChains:
    """The chains of a run in the core.

    Parameters
    ----------
    spec : Any
        The model, in its form for the bindings.
    settings : GibbsSettings
    total : int
        The total of the progress, in draws of all chains.
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
        """The number of windows that all chains have finished."""
        return self._run.n_windows

    def begin(self, report: Callable[[int, int], object] | None) -> None:
        """Start the chains and make the sweeps of the warm-up."""
        self._run.begin(*self._ports, self._workers, self._total, report)

    def advance(self, n_windows: int, report: Callable[[int, int], object] | None) -> Windows:
        """Make windows."""
        made = self._run.advance(*self._ports, n_windows, self._workers, self._total, report)
        return Windows(**made)

    def counts(self) -> dict[str, NDArray[Any]]:
        """Return the counts of the run."""
        counted = self._run.counts()
        return {name: array.astype(np.int64) for name, array in counted.items()}

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the state of the chains, for `load`."""
        return {"words": self._run.save()}

    def load(self, kept: dict[str, NDArray[Any]]) -> None:
        """Restore a state that `save` returned."""
        self._run.load(kept["words"])


def _options(settings: GibbsSettings) -> dict[str, Any]:
    names = (
        "dim n_chains key first_chain levels log_prior step warmup_step metropolis predictor "
        "argmax nearest n_warmup n_skip select tweedie_step init_noise x0 sigma0"
    )
    out = {name: getattr(settings, name) for name in names.split()}
    grid = (settings.rho, settings.sigma_end)
    out["denoise"] = (*_core_integrator(settings.denoiser), settings.n_denoise, *grid)
    out["init"] = (*_core_integrator(settings.init_integrator), settings.n_init, *grid)
    return out


def _core_integrator(given: Integrator) -> tuple[Any, ...]:
    return given._method(), given._options(), given._langevin()
