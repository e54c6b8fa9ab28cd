"""Ensembles of walkers whose moves use each other's positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import positive, probability, whole
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import Kernel, Oracles, Spec

__all__ = ["DE"]

#: The largest condition number of the starts: walkers nearer to a hyperplane cannot leave it.
_FLATTEST = 1e8
#: The multiple of the projection in a snooker update.
_PROJECTION = 1.7


@dataclass(frozen=True, kw_only=True, eq=False)
class DE(Kernel):
    r"""An ensemble of walkers that moves by differential evolution.

    `n_chains` of `fermiac.mcmc.sample` is the number of walkers, of one ensemble or of several. An
    ensemble has an even number of walkers, at least twice the dimension, and at least four (six
    with `snooker`). In a transition a random half of them moves, then the other half. Walker x
    moves to :math:`y = x + g (a - b)`, with walkers a and b of the half that does not move. Each
    half is one batch for the density.

    Parameters
    ----------
    factor : float, optional
        The mean of g; by default :math:`2.38 / \sqrt{2 d}`.
    spread : float, default 1e-5
        The relative standard deviation of g.
    jump : float, default 0.1
        The probability, below 1, of moves with a mean of 1 instead, which jump between modes.
    snooker : float, default 0
        The probability of a transition by snooker updates: x moves along the line through a, by 1.7
        times the projection of b - c on it, with walkers a, b and c of the half that does not move.
        They help in two to five dimensions, if tails are heavy or the bulk is bent.
    n_walkers : int, optional
        The number of walkers of an ensemble. `n_chains` is a multiple of it, for several ensembles
        that do not depend on each other, and which an executor can run apart. By default all chains
        are one ensemble.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain; by `fermiac.mcmc.sample` if the number of walkers is
        odd or too small, if `n_chains` is not a multiple of it, or if the starts lie in a
        hyperplane.

    Notes
    -----
    The walkers depend on each other, so their R-hat is meaningless. `summary` shows the
    autocorrelation time τ instead (`fermiac.diagnostics.autocorr_time`), and a run shorter than
    50 τ gives a warning. Standard errors use the larger of τ and the autocorrelation time of the
    ensemble averages, which includes the dependence. Statistics are those of the whole ensemble,
    the same for each walker: ``acceptance_rate``, the mean acceptance probability; ``accepted``,
    the share of walkers that moved; ``move``, 1 for snooker updates beside others, else 0. Nothing
    is adapted. The warm-up only brings the walkers to the bulk of the density.

    References
    ----------
    .. [1] C. J. F. ter Braak, "A Markov chain Monte Carlo version of the genetic algorithm
       differential evolution: easy Bayesian computing for real parameter spaces", Statistics and
       Computing, 2006, doi:10.1007/s11222-006-8769-1.
    .. [2] B. Nelson, E. B. Ford, M. J. Payne, "RUN DMC: an efficient, parallel code for analyzing
       radial velocity observations using N-body integrations and differential evolution Markov
       chain Monte Carlo", Astrophysical Journal Supplement Series, 2014,
       doi:10.1088/0067-0049/210/1/11.
    .. [3] C. J. F. ter Braak, J. A. Vrugt, "Differential evolution Markov chain with snooker
       updater and fewer chains", Statistics and Computing, 2008, doi:10.1007/s11222-008-9104-9.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(
    ...     law, kernel=fm.mcmc.DE(), n_chains=32, n_draws=2000, rng=0
    ... )
    >>> s.draws.shape  # (walkers, draws, d)
    (32, 2000, 2)
    """

    _asks_many: ClassVar[bool] = True

    factor: float | None = None
    spread: float = 1e-5
    jump: float = 0.1
    snooker: float = 0.0
    n_walkers: int | None = None

    def __post_init__(self) -> None:
        if self.n_walkers is not None:
            whole("n_walkers", self.n_walkers, 2, 10**6)
        if self.factor is not None:
            positive("factor", self.factor)
        positive("spread", self.spread)
        probability("jump", self.jump, zero=True)
        probability("snooker", self.snooker, zero=True, one=True)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        factor = 2.38 / math.sqrt(2 * dim) if self.factor is None else float(self.factor)
        numbers = [factor, float(self.spread), float(self.jump)]
        rest = float(self.snooker)
        moves = [("difference", numbers, 1 - rest), ("snooker", [_PROJECTION], rest)]
        return "ensemble", {"moves": [move for move in moves if move[-1] > 0]}

    def _n_points(self, n_chains: int) -> int:
        return n_chains if self.n_walkers is None else int(self.n_walkers)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "ensemble": True}

    def _check_starts(self, x0: NDArray[np.float64]) -> None:
        n_walkers = self._n_points(len(x0))
        if len(x0) % n_walkers:
            raise ArgumentError(
                f"n_chains: {len(x0)} given with ensembles of n_walkers={n_walkers}; a multiple "
                "of that is needed"
            )
        for start in range(0, len(x0), n_walkers):
            self._check_spread(x0[start : start + n_walkers])

    def _check_spread(self, x0: NDArray[np.float64]) -> None:
        """Raise an error if the walkers of one ensemble cannot reach all points."""
        n, dim = x0.shape
        centred = x0 - x0.mean(axis=0)
        size = np.abs(centred).max(axis=0)
        flat = n <= dim or not size.all() or np.linalg.cond(centred / size) > _FLATTEST
        if n >= 2 * dim and flat:
            raise ArgumentError(
                f"init: the {n} walkers lie in a hyperplane of the {dim} coordinates (condition "
                f"number above {_FLATTEST:g}), which an ensemble cannot leave; spread them in all "
                "directions, as init='jitter' does"
            )
