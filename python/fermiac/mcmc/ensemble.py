"""Ensembles of walkers whose moves use each other's positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import listed, positive, probability, shown, whole
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import Kernel, Oracles, Spec
from fermiac.mcmc.python_kernel import as_kernel

__all__ = ["DE", "DESnooker", "Ensemble", "Stretch"]

#: A move as the core takes it: its name and its numbers.
Move: TypeAlias = tuple[str, list[float]]

#: The largest condition number of the starts: walkers nearer to a hyperplane cannot leave it.
_FLATTEST = 1e8


@dataclass(frozen=True, kw_only=True, eq=False)
class _Walkers(Kernel):
    """Base class of the ensembles: the chains of a run are the walkers of one state or of some."""

    _asks_many: ClassVar[bool] = True

    n_walkers: int | None = None

    def __post_init__(self) -> None:
        if self.n_walkers is not None:
            whole("n_walkers", self.n_walkers, 2, 10**6)

    def _moves(self, dim: int) -> list[tuple[Move, float]]:
        """Return the moves and their weights."""
        raise NotImplementedError

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        moves = [(*move, float(weight)) for move, weight in self._moves(dim)]
        return "ensemble", {"moves": moves}

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch(_Walkers):
    r"""The affine-invariant ensemble with stretch moves.

    `n_chains` of `fermiac.mcmc.sample` is the number of walkers, of one ensemble or of several. An
    ensemble has an even number of walkers, at least twice the dimension. In a transition a random
    half of them moves, then the other half. A walker x proposes :math:`y = w + z (x - w)`, where w
    is a walker of the half that does not move, and z lies between 1/a and a with a density
    proportional to :math:`1/\sqrt z`. It is accepted with probability :math:`\min(1, z^{d-1}
    p(y)/p(x))`. Each half is one batch for the density.

    Parameters
    ----------
    a : float, default 2
        The largest factor, above 1.
    n_walkers : int, optional
        The number of walkers of an ensemble. `n_chains` is a multiple of it, for several ensembles
        that do not depend on each other, and which an executor can run apart. By default all chains
        are one ensemble.

    Raises
    ------
    ArgumentError
        If `a` is not above 1, or `n_walkers` not above 1; by `fermiac.mcmc.sample` if the number of
        walkers is odd or below twice the dimension, if `n_chains` is not a multiple of it, or if
        the starts lie in a hyperplane.

    Notes
    -----
    The walkers depend on each other, so their R-hat is meaningless. `summary` shows the
    autocorrelation time τ instead (`fermiac.diagnostics.autocorr_time`), and a run shorter than
    50 τ gives a warning. Standard errors use the larger of τ and the autocorrelation time of the
    ensemble averages, which includes the dependence. Statistics are those of the whole ensemble,
    the same for each walker: ``acceptance_rate``, the mean acceptance probability; ``accepted``,
    the share of walkers that moved; ``move``, the index of the move. Nothing is adapted. The
    warm-up only brings the walkers to the bulk of the density.

    References
    ----------
    .. [1] J. Goodman, J. Weare, "Ensemble samplers with affine invariance", Communications in
       Applied Mathematics and Computational Science, 2010, doi:10.2140/camcos.2010.5.65.
    .. [2] D. Foreman-Mackey, D. W. Hogg, D. Lang, J. Goodman, "emcee: the MCMC hammer",
       Publications of the Astronomical Society of the Pacific, 2013, doi:10.1086/670067.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(
    ...     law, kernel=fm.mcmc.Stretch(), n_chains=32, n_draws=2000, rng=0
    ... )
    >>> s.draws.shape  # (walkers, draws, d)
    (32, 2000, 2)
    """

    a: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not positive("a", self.a) > 1:
            raise ArgumentError(f"a: {shown(self.a)} was given; a number above 1 is needed")

    def _moves(self, dim: int) -> list[tuple[Move, float]]:
        return [(("stretch", [float(self.a)]), 1.0)]


@dataclass(frozen=True, kw_only=True, eq=False)
class DE(_Walkers):
    r"""The ensemble with moves by differential evolution.

    Walker x moves to :math:`y = x + g (a - b)`, with walkers a and b of the half that does not move
    (see `Stretch`).

    Parameters
    ----------
    factor : float, optional
        The mean of g; by default :math:`2.38 / \sqrt{2 d}`.
    spread : float, default 1e-5
        The relative standard deviation of g.
    jump : float, default 0.1
        The probability, below 1, of moves with a mean of 1 instead, which jump between modes.
    n_walkers : int, optional
        The number of walkers of each of several ensembles, as for `Stretch`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain; by `fermiac.mcmc.sample` as for `Stretch`, and for
        fewer than four walkers.

    References
    ----------
    .. [1] C. J. F. ter Braak, "A Markov chain Monte Carlo version of the genetic algorithm
       differential evolution: easy Bayesian computing for real parameter spaces", Statistics and
       Computing, 2006, doi:10.1007/s11222-006-8769-1.
    .. [2] B. Nelson, E. B. Ford, M. J. Payne, "RUN DMC: an efficient, parallel code for analyzing
       radial velocity observations using N-body integrations and differential evolution Markov
       chain Monte Carlo", Astrophysical Journal Supplement Series, 2014,
       doi:10.1088/0067-0049/210/1/11.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(
    ...     law, kernel=fm.mcmc.DE(), n_chains=32, n_draws=2000, rng=0
    ... )
    >>> s.draws.shape
    (32, 2000, 2)
    """

    factor: float | None = None
    spread: float = 1e-5
    jump: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor is not None:
            positive("factor", self.factor)
        positive("spread", self.spread)
        probability("jump", self.jump, zero=True)

    def _moves(self, dim: int) -> list[tuple[Move, float]]:
        factor = 2.38 / math.sqrt(2 * dim) if self.factor is None else float(self.factor)
        return [(("difference", [factor, float(self.spread), float(self.jump)]), 1.0)]


@dataclass(frozen=True, kw_only=True, eq=False)
class DESnooker(_Walkers):
    r"""The ensemble with the snooker update of differential evolution.

    Walker x moves along the line through a, by `factor` times the projection of b - c on it, with
    walkers a, b and c of the half that does not move (see `Stretch`). It is for mixtures with
    other moves: see `Ensemble`.

    Parameters
    ----------
    factor : float, default 1.7
        The multiple of the projection.
    n_walkers : int, optional
        The number of walkers of each of several ensembles, as for `Stretch`.

    Raises
    ------
    ArgumentError
        If `factor` is not positive; by `fermiac.mcmc.sample` as for `Stretch`, and for fewer than
        six walkers.

    References
    ----------
    .. [1] C. J. F. ter Braak, J. A. Vrugt, "Differential evolution Markov chain with snooker
       updater and fewer chains", Statistics and Computing, 2008, doi:10.1007/s11222-008-9104-9.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(
    ...     law, kernel=fm.mcmc.DESnooker(), n_chains=32, n_draws=2000, rng=0
    ... )
    >>> s.draws.shape
    (32, 2000, 2)
    """

    factor: float = 1.7

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("factor", self.factor)

    def _moves(self, dim: int) -> list[tuple[Move, float]]:
        return [(("snooker", [float(self.factor)]), 1.0)]


@dataclass(frozen=True, eq=False)
class Ensemble(_Walkers):
    """A mixture of moves of one ensemble: each transition takes one of them at random.

    Parameters
    ----------
    moves : sequence of (kernel, weight) or of kernels
        `Stretch`, `DE`, `DESnooker`, their names, or mixtures of them, with weights in proportion
        to their probabilities (1 for a kernel without a weight).
    n_walkers : int, optional
        The number of walkers of each of several ensembles, as for `Stretch`.

    Raises
    ------
    ArgumentError
        If a move is not an ensemble move, or a weight is not positive.

    References
    ----------
    .. [1] J. Goodman, J. Weare, "Ensemble samplers with affine invariance", Communications in
       Applied Mathematics and Computational Science, 2010, doi:10.2140/camcos.2010.5.65.
    .. [2] C. J. F. ter Braak, "A Markov chain Monte Carlo version of the genetic algorithm
       differential evolution: easy Bayesian computing for real parameter spaces", Statistics and
       Computing, 2006, doi:10.1007/s11222-006-8769-1.

    Examples
    --------
    >>> import fermiac as fm
    >>> from fermiac.mcmc import DE, DESnooker
    >>> kernel = fm.mcmc.Ensemble([(DE(), 0.8), (DESnooker(), 0.2)])
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(law, kernel=kernel, n_chains=32, n_draws=2000, rng=0)
    >>> s.draws.shape
    (32, 2000, 2)
    """

    moves: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.moves
        items = None if isinstance(given, Kernel) else listed(given, 1000)
        moves = tuple(_weighted(item) for item in ([given] if items is None else items))
        if not moves:
            raise ArgumentError("moves: none given; one at least is needed")
        object.__setattr__(self, "moves", moves)

    def _moves(self, dim: int) -> list[tuple[Move, float]]:
        flat = []
        for kernel, weight in self.moves:
            parts = kernel._moves(dim)
            total = sum(part for _, part in parts)
            flat += [(move, weight * part / total) for move, part in parts]
        return flat


def _weighted(item: Any) -> tuple[_Walkers, float]:
    kernel, weight = item if isinstance(item, tuple | list) and len(item) == 2 else (item, 1.0)
    if isinstance(kernel, str):
        kernel = as_kernel(kernel, "moves")
    if not isinstance(kernel, _Walkers):
        raise ArgumentError(
            f"moves: {shown(item)} given; Stretch(), DE(), DESnooker(), or pairs of one and its "
            "weight, are needed"
        )
    if kernel.n_walkers is not None:
        raise ArgumentError(
            f"moves: {shown(item)} has n_walkers=; give it to the Ensemble, whose walkers they move"
        )
    return kernel, positive("moves: weight", weight)
