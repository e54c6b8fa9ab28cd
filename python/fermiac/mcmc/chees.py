"""The kernel of many chains: trajectories whose length all chains learn together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from fermiac._base.validate import choice, positive, probability
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import GradientKernel, Oracles, Spec

__all__ = ["ChEES"]

_CRITERIA = ("chees", "snaper")
#: The sources of the metric.
_ESTIMATORS = ("gradients", "draws")


@dataclass(frozen=True, kw_only=True, eq=False)
class ChEES(GradientKernel):
    r"""Hamiltonian Monte Carlo for tens to hundreds of chains, adapted by all chains together.

    All chains make trajectories of the same length, which varies from transition to transition
    about a learned mean. They therefore run in step: each leapfrog step is one batch with a point
    of every chain. After each transition of the warm-up, all chains together adapt the step size
    and the mean length. The warm-up can be short, since the adaptation has hundreds of draws after
    one transition. After the warm-up the chains are independent.

    Parameters
    ----------
    target_accept : float, default 0.651
        The harmonic mean of the acceptance rates of the chains to which the step size is adapted.
        Acceptance rates below 0.05 count as 0.05.
    criterion : {"chees", "snaper"}, default "chees"
        The quantity whose expected squared change along a trajectory is made large, in relation to
        the cost: the squared distance from the mean (``"chees"``), or the square of the deviation
        along the principal component (``"snaper"``), both in the units of the metric. The second
        follows the widest direction of a target with many coordinates.
    trajectory_length : float, optional
        The mean length of trajectories, as a time in the units of the metric; by default it is
        learned. A trajectory has at most 1024 steps.
    jitter : float, default 1.0
        The relative variation of the length of trajectories, from 0 to 1: lengths are between
        1 - jitter and 1 + jitter times the mean, spread evenly by a sequence of van der Corput.
    step_size : float, optional
        The step size, in the units of the metric; by default it is adapted to `target_accept`.
    metric, estimator
        As in `NUTS`, from the draws of all chains; ``"auto"`` chooses by cost as there.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Notes
    -----
    Let :math:`c(x) = \lVert x - \mathrm E x \rVert^2 / 2` for ``"chees"``, and :math:`\epsilon`
    be the step size. The mean length :math:`T` is to maximise :math:`\mathrm E[(c(x') - c(x))^2] /
    (T + \epsilon / 2)^{1/3}`, where :math:`x'` is the end of a trajectory from :math:`x`, weighted
    by its acceptance probability. The derivative in :math:`\log T` is known from the momenta at the
    ends of the trajectories, and a stochastic recursion follows it. Its terms are limited, so that
    :math:`T` is about a fifth longer than the maximum for a normal law. The value that is used
    after the warm-up is an average over its last part. The published criteria [1]_, [2]_ have other
    powers of the cost.

    Statistics of a transition: those of `HMC`, and ``trajectory_length``. The adaptation of the
    result has pairs of the step size and the mean length.

    The kernel needs ``pool=True``, and cannot be a part of another kernel. It works with few
    chains, but learns more slowly; `NUTS` is then the better choice.

    References
    ----------
    .. [1] M. D. Hoffman, A. Radul, P. Sountsov, "An adaptive-MCMC scheme for setting trajectory
       lengths in Hamiltonian Monte Carlo", AISTATS, PMLR 130, 2021.
    .. [2] P. Sountsov, M. D. Hoffman, "Focusing on difficult directions for learning HMC trajectory
       lengths", arXiv:2110.11576, 2021.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> s = fm.mcmc.sample(
    ...     lambda x: -0.5 * (x**2).sum(axis=1),
    ...     5,
    ...     gradient=lambda x: -x,
    ...     kernel=fm.mcmc.ChEES(),
    ...     n_chains=128,
    ...     n_draws=50,
    ...     rng=0,
    ... )
    >>> s.draws.shape, s.settings["n_warmup"] < 200
    ((128, 50, 5), True)
    """

    _ends_early: ClassVar[bool] = True
    _adapts_together: ClassVar[bool] = True

    target_accept: float = 0.651
    criterion: Literal["chees", "snaper"] = "chees"
    trajectory_length: float | None = None
    jitter: float = 1.0
    estimator: str = "gradients"

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("criterion", self.criterion, _CRITERIA)
        if self.trajectory_length is not None:
            positive("trajectory_length", self.trajectory_length)
        probability("jitter", self.jitter, zero=True, one=True)
        choice("estimator", self.estimator, _ESTIMATORS)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "chees", {
            "tuning": self._tuning_by_cost(dim),
            "trajectory_length": self.trajectory_length,
            "jitter": float(self.jitter),
            "criterion": self.criterion,
        }

    def _check_part(self) -> None:
        raise ArgumentError(
            "kernel: ChEES adapts all chains of a run together, and cannot be a part of another "
            "kernel; use it alone, or HMC"
        )
