"""The job of a run: its target, kernel and settings, and the arrays that it fills."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.mcmc.disk import Folder
from fermiac.mcmc.kernel import Kernel, Oracles
from fermiac.targets.density import LogDensity
from fermiac.targets.model import ModelTarget
from fermiac.targets.transformed_density import TransformedDensity

__all__ = ["Arrays", "Job", "Settings"]

Array = NDArray[np.float64]

#: The first window, and the last transitions, which adapt only the step size, as a share and at
#: least. With gradients the windows start at once: gradients show the scales of the coordinates
#: long before the chains reach the typical set.
_FIRST, _LAST, _LEAST = 10, 0.25, 10
#: Without gradients the draws show the scales only after the chains reach the typical set: the
#: windows of Stan.
_WITHOUT = (75, 25, 50)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The checked settings of a run."""

    n_chains: int
    n_warmup: int
    #: Whether the warm-up ends early where the chains agree.
    early: bool = False
    n_draws: int
    thin: int
    pool: bool
    keep_warmup: bool
    keep_gradients: bool
    #: The number of groups of chains with a common start, if there are such groups.
    n_superchains: int | None = None

    def warmup(self, gradients: bool) -> tuple[int, int, int, int]:
        """Return the warm-up of a kernel with or without gradients.

        It consists of the number of transitions, and the numbers of initial, first-window and final
        transitions among them. The windows in between learn the metric.
        """
        if not gradients:
            return (self.n_warmup, *_WITHOUT)
        return self.n_warmup, 0, _FIRST, max(int(_LAST * self.n_warmup), _LEAST)

    def transition(self, n_draws: int) -> int:
        """Return the number of transitions of a chain with this number of draws."""
        return self.n_warmup + n_draws * self.thin

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as the provenance of a result keeps them."""
        settings = asdict(self)
        if self.n_superchains is None:
            del settings["n_superchains"]
        return settings


@dataclass(frozen=True, kw_only=True)
class Job:
    """The target, kernel and settings of a run, without a state."""

    target: LogDensity
    kernel: Kernel
    settings: Settings
    key: int
    names: tuple[str, ...]
    #: The constrained space of the draws, if chains move in an unconstrained one.
    space: TransformedDensity | ModelTarget | None
    #: The address of the first chain, and the chains of the call, if these are some of them.
    first: int = 0
    n_all: int | None = None

    @property
    def model(self) -> ModelTarget | None:
        """The model whose posterior is sampled, if it is one of another library."""
        return self.space if isinstance(self.space, ModelTarget) else None

    def oracles(self) -> Oracles:
        """Return the oracles of a run before the kernel adds its own."""
        names = self.names if self.model is None else self.model.free_names
        oracles = Oracles(self.target, names or None)
        if not self.kernel.needs_density:
            # A target that is never asked does not keep the chains on the calling thread.
            oracles[0] = ("unused", self.target.dim)
        return oracles

    def sampler(self, x0: Array) -> tuple[_core.Sampler, Oracles]:
        """Return the chains at these starts, and their oracles."""
        oracles = self.oracles()
        name, options = self.kernel._spec(self.target.dim, oracles)
        settings = self.settings
        n_points = self.kernel._n_points(settings.n_chains)
        sampler = _core.Sampler(
            (name, {**options, "n_points": n_points}),
            self.target.dim,
            x0,
            settings.warmup(self.kernel.needs_gradient),
            settings.pool,
            self.key,
            self.first,
            early=settings.early,
        )
        return sampler, oracles

    @property
    def leaders(self) -> list[int]:
        """The index of the chain of the call at whose start each chain starts: often its own."""
        k, n_all = self.settings.n_superchains, self.n_all or self.settings.n_chains
        size = 1 if k is None else n_all // k
        chains = range(self.first, self.first + self.settings.n_chains)
        return [chain - chain % size for chain in chains]

    @property
    def rows(self) -> slice:
        """The indices of the chains among those of the call."""
        return slice(self.first, self.first + self.settings.n_chains)

    def support(self) -> list[tuple[float, float]]:
        """Return the bounds of the coordinates of a draw, as far as they are known."""
        return self.target._support() if self.space is None else self.space._constrained_support()

    def labelled(self) -> dict[str, Any]:
        """Return the fields of the result that name its parts."""
        return {"names": self.names} if self.model is None else self.model._labelled

    def shown(self, draws: Array) -> Array:
        """Return the draws as the user sees them."""
        return draws if self.space is None else self.space.constrain(draws)

    @property
    def shown_dim(self) -> int:
        """The number of coordinates of a draw as the user sees it."""
        return self.target.dim if self.space is None else self.space.constrained_dim


class Arrays:
    """The arrays of a run: (chains, transitions, ...) of the warm-up and of the draws."""

    def __init__(
        self, job: Job, sampler: _core.Sampler, folder: Folder | None, first: int = 0
    ) -> None:
        """Allocate the arrays; the `first` draws of each chain are stored elsewhere."""
        self.job = job
        self.folder = folder
        self.first = first
        self._constrained = 0
        for name, shape in _shapes(job, sampler, first).items():
            setattr(self, name, self._made(name, shape))

    draws: Array
    log_densities: Array
    gradients: Array | None
    stats: Array
    warmup_draws: Array | None
    warmup_stats: Array | None
    #: Only on disk: the draws as the user sees them, if they are constrained.
    seen: Array | None

    def _made(self, name: str, shape: tuple[int, ...] | None) -> Array | None:
        if shape is None or (self.folder is None and name == "seen"):
            return None
        if self.folder is None or 0 in shape:
            # Zeros, since a checkpoint may have slots that only some of the chains have filled.
            return np.zeros(shape)
        # In a folder, "draws" are the constrained ones.
        if self.job.space is not None:
            name = {"draws": "unconstrained", "seen": "draws"}.get(name, name)
        return self.folder.array(name, shape)

    def named(self) -> dict[str, Array]:
        """Return the arrays that exist, by name."""
        each = {name: getattr(self, name) for name in _NAMES}
        return {name: array for name, array in each.items() if array is not None}

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the transition up to which the chains run, and its record."""
        s = self.job.settings
        if s.n_warmup and not self.first:
            warmup = {
                "first": 0,
                "thin": 1,
                "n_slots": s.n_warmup,
                "draws": self.warmup_draws,
                "log_densities": None,
                "gradients": None,
                "stats": self.warmup_stats,
            }
            yield s.n_warmup, warmup
        yield (
            s.transition(s.n_draws),
            {
                "first": s.transition(self.first),
                "thin": s.thin,
                "n_slots": s.n_draws - self.first,
                "draws": self.draws,
                "log_densities": self.log_densities,
                "gradients": self.gradients,
                "stats": self.stats,
            },
        )

    def shown(self, n: int) -> Array:
        """Return the first `n` draws of every chain as the user sees them."""
        if self.seen is None:
            return self.job.shown(self.draws[:, :n])
        for chain, out in zip(self.draws, self.seen, strict=True):
            # Only the new part: the part before is on disk.
            out[self._constrained : n] = self.job.shown(chain[self._constrained : n])
        self._constrained = max(self._constrained, n)
        return self.seen[:, :n]


_NAMES = (
    "draws",
    "log_densities",
    "gradients",
    "stats",
    "warmup_draws",
    "warmup_stats",
    "seen",
)


def _shapes(job: Job, sampler: _core.Sampler, first: int) -> dict[str, tuple[int, ...] | None]:
    """Return the shapes of the arrays, None for those that do not exist."""
    s, dim = job.settings, job.target.dim
    chains, draws = s.n_chains, s.n_draws - first
    groups, n_stats = chains // sampler.n_points, len(sampler.stat_names)
    # Gradients at unconstrained points do not belong to constrained draws.
    gradients = s.keep_gradients and sampler.gives_gradient and job.space is None
    warmup = s.keep_warmup and not first
    return {
        "draws": (chains, draws, dim),
        "log_densities": (chains, draws),
        "gradients": (chains, draws, dim) if gradients else None,
        "stats": (groups, draws, n_stats),
        "warmup_draws": (chains, s.n_warmup, dim) if warmup else None,
        "warmup_stats": (groups, s.n_warmup, n_stats) if warmup else None,
        "seen": (chains, draws, job.shown_dim) if job.space is not None else None,
    }
