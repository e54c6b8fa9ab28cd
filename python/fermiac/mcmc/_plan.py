"""The settings of a run, and the arrays that it fills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.mcmc._kernels import Kernel
from fermiac.results import Sample
from fermiac.targets._density import LogDensity
from fermiac.targets._transformed import TransformedDensity

__all__ = ["Arrays", "Settings"]

Array = NDArray[np.float64]

#: The warm-up learns from the first transition on: gradients tell the scales of coordinates long
#: before chains have arrived. The first window, and the share that adapts the step size alone at
#: the end, with its least number of transitions.
_FIRST, _LAST, _LEAST = 10, 0.25, 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is asked for, checked."""

    n_chains: int
    n_warmup: int
    n_draws: int
    thin: int
    pool: bool
    keep_warmup: bool

    @property
    def total(self) -> int:
        """Transitions of all chains."""
        return self.n_chains * (self.n_warmup + self.n_draws * self.thin)

    def segments(self) -> list[tuple[int, str]]:
        """The segments of the warm-up."""
        last = max(int(_LAST * self.n_warmup), _LEAST)
        return _core.mcmc_windows(self.n_warmup, 0, _FIRST, last)

    def to_dict(self) -> dict[str, Any]:
        """For provenance."""
        return asdict(self)


class Arrays:
    """The arrays of a run: of the warm-up and of the draws."""

    def __init__(self, settings: Settings, dim: int, sampler: _core.Sampler) -> None:
        self._settings = settings
        self._sampler = sampler
        chains, draws = settings.n_chains, settings.n_draws
        groups = chains // sampler.n_points
        n_stats = len(sampler.stat_names)
        self.draws = np.empty((chains, draws, dim))
        self.log_densities = np.empty((chains, draws))
        self.gradients = np.empty((chains, draws, dim)) if sampler.needs_gradient else None
        self.stats = np.empty((groups, draws, n_stats))
        self.warmup_stats = np.empty((groups, settings.n_warmup, n_stats))
        kept = settings.n_warmup if settings.keep_warmup else 0
        self.warmup_draws = np.empty((chains, kept, dim))

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Up to which transition to run, and where what comes goes."""
        s = self._settings
        if s.n_warmup:
            warmup = {
                "first": 0,
                "thin": 1,
                "n_slots": s.n_warmup,
                "draws": self.warmup_draws if s.keep_warmup else None,
                "log_densities": None,
                "gradients": None,
                "stats": self.warmup_stats,
            }
            yield s.n_warmup, warmup
        yield (
            s.n_warmup + s.n_draws * s.thin,
            {
                "first": s.n_warmup,
                "thin": s.thin,
                "n_slots": s.n_draws,
                "draws": self.draws,
                "log_densities": self.log_densities,
                "gradients": self.gradients,
                "stats": self.stats,
            },
        )

    def to_sample(
        self,
        target: LogDensity,
        kernel: Kernel,
        key: int,
        n_evals: int,
        wall_time: float,
        names: Sequence[str] | None,
    ) -> Sample | None:
        """The sample, cut to the draws that all chains have; None before there are any."""
        s = self._settings
        done = min(self._sampler.n_done)
        n = max(done - s.n_warmup, 0) // s.thin
        if n == 0:
            return None
        draws = self.draws[:, :n]
        gradients = None if self.gradients is None else self.gradients[:, :n]
        if isinstance(target, TransformedDensity):
            draws, gradients = target.constrain(draws), None
        settings = {**s.to_dict(), **kernel._settings()}
        if self._sampler.is_biased:
            settings["bias"] = "discretisation"
        return Sample(
            seed=key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=settings,
            n_evals=n_evals + self._sampler.n_evals[0],
            wall_time=wall_time,
            status="complete" if n == s.n_draws else "interrupted",
            draws=draws,
            log_densities=self.log_densities[:, :n],
            gradients=gradients,
            names=names,
            error_model="chains",
        )
