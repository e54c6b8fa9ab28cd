"""When a run may end before it has all its draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._config import resolve_threads
from fermiac._rng import positive, whole
from fermiac.errors import ArgumentError

__all__ = ["StopWhen"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StopWhen:
    """End a run once its draws are worth enough; ``stop=`` of `fermiac.mcmc.sample` takes it.

    Parameters
    ----------
    ess : float or None, default 400
        The bulk and the tail effective sample size that every coordinate must have.
    rhat : float or None, default 1.01
        The rank-normalised R-hat that no coordinate may exceed.
    every : int, default 500
        Draws of each chain between two tests.

    Raises
    ------
    ArgumentError
        If a number is outside its domain, or both are None.

    Notes
    -----
    A test takes place only when all chains have exactly a multiple of `every` draws, so that where
    the run ends depends on nothing but its draws. A rule that stops at the first good look is
    optimistic: take an ESS with room to spare.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 0.0])
    >>> s = fm.mcmc.sample(
    ...     law, kernel=fm.mcmc.MALA(), n_draws=100_000, stop=fm.mcmc.StopWhen(ess=1000), rng=0
    ... )
    >>> s.draws.shape[1] % 500, s.draws.shape[1] < 100_000
    (0, True)
    """

    ess: float | None = 400.0
    rhat: float | None = 1.01
    every: int = 500

    def __post_init__(self) -> None:
        if self.ess is None and self.rhat is None:
            raise ArgumentError("ess, rhat: both None given; one of them is needed")
        if self.ess is not None:
            positive("ess", self.ess)
        if self.rhat is not None and positive("rhat", self.rhat) <= 1:
            raise ArgumentError(f"rhat: {self.rhat:g} given; a number above 1 is needed")
        whole("every", self.every, 4, 2**40)

    def check(self, n_chains: int) -> None:
        """Refuse what cannot be judged."""
        if self.rhat is not None and n_chains < 2:
            raise ArgumentError(
                "stop: R-hat compares chains, and n_chains is 1; give StopWhen(rhat=None), or more "
                "chains"
            )

    def met(self, draws: Array) -> bool:
        """Whether draws (chains, n, d) are enough."""
        ess, rhat = self._figures(draws)
        return (self.ess is None or ess >= self.ess) and (self.rhat is None or rhat <= self.rhat)

    def missed(self, draws: Array) -> str:
        """What is to be said of draws that are not."""
        ess, rhat = self._figures(draws)
        parts = []
        if self.ess is not None:
            parts.append(f"an ESS of {ess:.0f} where {self.ess:g} is asked for")
        if self.rhat is not None:
            parts.append(f"an R-hat of {rhat:.3f} where {self.rhat:g} is")
        return (
            f"stop: all {draws.shape[1]} draws of each chain have {', '.join(parts)}; raise n_draws"
        )

    def _figures(self, draws: Array) -> tuple[float, float]:
        columns, threads = np.ascontiguousarray(draws), resolve_threads(None)

        def figure(name: str, prob: tuple[float, float] = (0.0, 0.0)) -> Array:
            return _core.diagnostics_convergence(columns, name, prob, threads)

        ess = rhat = math.nan
        if self.ess is not None:
            ess = float(min(figure("ess_bulk").min(), figure("ess_tail", (0.05, 0.95)).min()))
        if self.rhat is not None:
            rhat = float(figure("rhat_rank").max())
        return ess, rhat
