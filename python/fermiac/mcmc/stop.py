"""Rules that end a run before it has all its draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.validate import positive, whole
from fermiac.diagnostics.autocorrelation import LEAST_TIMES, is_long_enough
from fermiac.errors import ArgumentError
from fermiac.results.chain_errors import walker_sizes, walker_times
from fermiac.results.chain_summary import BLOCK, copied

__all__ = ["StopWhen"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StopWhen:
    """End a run once its draws suffice: the argument ``stop=`` of `fermiac.mcmc.sample`.

    Parameters
    ----------
    ess : float or None, default 400
        The bulk and the tail effective sample size that every coordinate must have.
    rhat : float or None, default 1.01
        The rank-normalised R-hat that no coordinate may exceed.
    every : int, default 500
        The number of draws of each chain between two tests.

    Raises
    ------
    ArgumentError
        If a number is outside its domain, or both are None; by `sample` if there is an R-hat for a
        single chain, or for the walkers of an ensemble.

    Notes
    -----
    A test takes place only when all chains have the same multiple of `every` draws, so the end of
    the run depends only on its draws. A rule that stops at the first success is optimistic: ask for
    a larger ESS than you need.

    The walkers of an ensemble depend on each other and have no R-hat. ``StopWhen(rhat=None)`` ends
    their run once the ESS for the mean suffices and the run is 50 autocorrelation times long.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 0.0])
    >>> s = fm.mcmc.sample(
    ...     law,
    ...     kernel=fm.mcmc.MALA(),
    ...     n_draws=100_000,
    ...     stop=fm.mcmc.StopWhen(ess=1000),
    ...     rng=0,
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

    def check(self, n_chains: int, coupled: bool) -> None:
        """Refuse chains that the rule cannot test; the walkers of an ensemble are `coupled`."""
        if self.rhat is not None and coupled:
            raise ArgumentError(
                "stop: R-hat compares independent chains, and the walkers of an ensemble depend on "
                "each other; pass StopWhen(rhat=None)"
            )
        if self.rhat is not None and n_chains < 2:
            raise ArgumentError(
                "stop: R-hat compares chains, and n_chains is 1; give StopWhen(rhat=None), or more "
                "chains"
            )

    def met(self, draws: Array, coupled: bool) -> bool:
        """Return whether draws (chains, n, d) meet the rule."""
        ess, worst = self._figures(draws, coupled)
        if coupled and not is_long_enough(draws.shape[1], worst):
            return False
        return (self.ess is None or ess >= self.ess) and (self.rhat is None or worst <= self.rhat)

    def missed(self, draws: Array, coupled: bool) -> str:
        """Return the warning about draws that do not meet the rule."""
        ess, worst = self._figures(draws, coupled)
        parts = []
        if self.ess is not None:
            parts.append(f"an ESS of {ess:.0f} instead of {self.ess:g}")
        if self.rhat is not None:
            parts.append(f"an R-hat of {worst:.3f} instead of {self.rhat:g}")
        if coupled:
            parts.append(
                f"an autocorrelation time of {worst:.3g} (the run must be {LEAST_TIMES} long)"
            )
        return (
            f"stop: all {draws.shape[1]} draws of each chain have {', '.join(parts)}; raise n_draws"
        )

    def _figures(self, draws: Array, coupled: bool) -> tuple[float, float]:
        """Return the least ESS and the largest R-hat, or autocorrelation time of walkers."""
        threads = resolve_threads(None)
        # Columns do not depend on each other, and the draws may be on the disk.
        step = max(BLOCK // (draws.shape[0] * draws.shape[1]), 1)
        parts = [
            self._of_columns(copied(draws[..., at : at + step]), coupled, threads)
            for at in range(0, draws.shape[2], step)
        ]
        sizes, worst = zip(*parts, strict=True)
        return float(np.min(sizes)), float(np.max(worst))

    def _of_columns(self, columns: Array, coupled: bool, threads: int) -> tuple[float, float]:
        """Return the figures of some columns."""
        if coupled:
            sizes, times = walker_sizes(columns, threads), walker_times(columns, threads)
            return float(sizes.min()), float(times.max())

        def figure(name: str, prob: tuple[float, float] = (0.0, 0.0)) -> Array:
            return _core.diagnostics_convergence(columns, name, prob, threads)

        ess = rhat = math.nan
        if self.ess is not None:
            ess = float(min(figure("ess_bulk").min(), figure("ess_tail", (0.05, 0.95)).min()))
        if self.rhat is not None:
            rhat = float(figure("rhat_rank").max())
        return ess, rhat
