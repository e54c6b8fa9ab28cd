"""Hamiltonian kernels: the No-U-Turn samplers, and trajectories of fixed length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from fermiac._base.validate import choice, positive, probability, whole
from fermiac.mcmc.kernel import GradientKernel, Oracles, Spec

__all__ = ["HMC", "NUTS", "WALNUTS"]

#: The sources of the metric.
_ESTIMATORS = ("gradients", "draws")


@dataclass(frozen=True, kw_only=True, eq=False)
class NUTS(GradientKernel):
    r"""The No-U-Turn sampler: Hamiltonian trajectories that double until they turn back.

    This is the multinomial form: the next point is drawn from all states of the trajectory in
    proportion to :math:`e^{-H}`, with a preference for the last half. The warm-up adapts the step
    size, and learns the inverse metric :math:`M^{-1}` from draws and their gradients.

    Parameters
    ----------
    target_accept : float, optional
        The mean acceptance rate along trajectories to which the step size is adapted; by default
        0.8. The default is raised after warm-up windows of 40 or more transitions: to 0.9 if the
        energy error of a trajectory exceeded 10, and halfway to 1 (at most 0.98) if one diverged.
        At the end of the warm-up, step sizes larger by up to 30 % are tried, and one is taken if
        trajectories then have at least 10 % fewer steps for each accepted state; from 0.8, the
        acceptance rate may fall to 0.65. A given number is kept. The acceptance rate of the draws
        is then close to the target; programs with the adaptation of [1]_ accept at about 0.9 for a
        target of 0.8. A larger target, such as 0.99, means smaller steps and fewer divergences. A
        smaller one is faster on nearly normal densities.
    max_depth : int, default 10
        The largest number of doublings, from 1 to 30: a transition takes at most
        ``2**max_depth - 1`` gradients; in the first three windows of the warm-up at most 31, 63 and
        127.
    step_size : float, optional
        The step size, in the units of the metric; by default it is adapted to `target_accept`.
    metric : {"auto", "unit", "diag", "dense", "low_rank"} or array_like, default "auto"
        The part of the inverse metric :math:`M^{-1}` that is learned: none, its diagonal, all of it
        (up to 2000 coordinates), or a diagonal plus a correction in up to 50 directions (low rank).
        An array gives fixed variances (d,) or a fixed covariance (d, d). ``"auto"``, up to 200
        coordinates, takes the one of the last three with the least cost of trajectories as
        predicted from the spectrum of the whole matrix; a gradient counts as 100 multiplications
        per coordinate, and the diagonal stays unless 30 % are saved, or if trajectories have fewer
        than 10 steps anyway. For more coordinates it takes
        the diagonal plus those directions that are worth their cost.
    estimator : {"gradients", "draws"}, default "gradients"
        The source of the metric: draws and their gradients, by minimising the Fisher divergence, or
        the covariance of the draws alone.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Notes
    -----
    Statistics of a transition: ``acceptance_rate`` (mean over the states of the trajectory),
    ``energy`` and its error ``energy_error`` at the draw, ``diverging`` (1 if the error passed
    1000 on the trajectory), ``n_steps`` (gradients), ``tree_depth``, ``reached_max_depth``,
    ``step_size``. A divergence means that the steps were too long for a region, which the draws may
    miss.

    References
    ----------
    .. [1] M. D. Hoffman, A. Gelman, "The No-U-Turn sampler: adaptively setting path lengths in
       Hamiltonian Monte Carlo", Journal of Machine Learning Research, 2014, arXiv:1111.4246.
    .. [2] M. Betancourt, "A conceptual introduction to Hamiltonian Monte Carlo", arXiv:1701.02434,
       2017.
    .. [3] A. Seyboldt, E. L. Carlson, B. Carpenter, "Preconditioning Hamiltonian Monte Carlo by
       minimizing Fisher divergence", arXiv:2603.18845, 2026.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.mcmc.sample(
    ...     fm.targets.eight_schools(), kernel=fm.mcmc.NUTS(target_accept=0.95), rng=0
    ... )
    >>> s.draws.shape
    (4, 1000, 10)
    """

    _ends_early: ClassVar[bool] = True

    target_accept: float | None = None
    max_depth: int = 10
    estimator: str = "gradients"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("max_depth", self.max_depth, 1, 30)
        choice("estimator", self.estimator, _ESTIMATORS)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "nuts", {
            "tuning": self._tuning_by_cost(dim),
            "max_depth": self.max_depth,
            "raising": self.target_accept is None,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class WALNUTS(GradientKernel):
    r"""The No-U-Turn sampler with steps that are halved within the trajectory where needed.

    The trajectory consists of macro steps of size `step_size`. A macro step is divided into
    :math:`2^k` leapfrog steps, with the smallest :math:`k` for which these are accurate, or with
    the largest :math:`k` if there is none. Small steps are thus made only where the density needs
    them, as in the neck of a funnel. If the same rule would divide the step back into fewer parts,
    the trajectory ends there, which keeps the target exact.

    Parameters
    ----------
    target_accept : float, default 0.8
        The mean acceptance rate to which the step size is adapted. It is the rate of macro steps
        without halvings, so that the step size fits most of the density rather than its narrowest
        part.
    energy_tolerance : float, default 2.0
        The largest difference of the energies along a macro step. In each leapfrog step, the
        oscillation of the energy (see the notes) must be at most 0.8 times as large. A smaller
        value means more halvings.
    max_halvings : int, default 10
        The largest number of halvings of a macro step, from 0 to 20. With 0 it is `NUTS`.
    max_depth, step_size, metric, estimator
        As in `NUTS`, where `max_depth` counts doublings of the number of macro steps.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Notes
    -----
    Statistics of a transition: those of `NUTS`, where ``n_steps`` counts all gradients, and
    ``diverging`` is 1 if the error passed 1000 in a macro step with `max_halvings` halvings.
    Further ``n_macro_steps``, the extremes ``min_halvings`` and ``max_halvings`` over the macro
    steps of the trajectory, and ``irreversible``, 1 if the trajectory ended at a step that would be
    divided into fewer parts on the way back.

    A leapfrog step of size :math:`\epsilon` from forces :math:`f` to :math:`f'` with the momentum
    :math:`p` in the middle has the oscillation :math:`(\sum_i s_i^2)^{1/2}`, :math:`s_i =
    \epsilon^2 (f_i^2 + f_i'^2) / 16 + \epsilon |p_i (f_i' - f_i)| / 8`. For a normal law it is the
    range of the energy error over a period, whatever the phase of the motion. The change of the
    energy in one step can be small by chance; without the oscillation, macro steps are
    irreversible several times as often.

    The first three windows of the warm-up, whose metrics are guesses, make no halvings. A macro
    step with :math:`k` halvings takes up to :math:`2^{k+1} - 1` gradients, and its
    check up to :math:`2^k - 1`; attempts end at the first inaccurate leapfrog step.

    Trajectories of very many halved macro steps often end early. If ``irreversible`` is frequent,
    a larger `step_size` helps: 2 for Rosenbrock's density.

    References
    ----------
    .. [1] N. Bou-Rabee, B. Carpenter, T. S. Kleppe, S. Liu, "The within-orbit adaptive leapfrog
       No-U-Turn sampler", arXiv:2506.18746, 2025.
    .. [2] N. Bou-Rabee, B. Carpenter, M. Marsden, "GIST: Gibbs self-tuning for locally adaptive
       Hamiltonian Monte Carlo", arXiv:2404.15253, 2024.

    Examples
    --------
    >>> import fermiac as fm
    >>> target = fm.targets.funnel(3, scale=1.0)
    >>> s = fm.mcmc.sample(target, kernel=fm.mcmc.WALNUTS(), n_draws=4000, rng=0)
    >>> s.draws.shape, int(s.stats["diverging"].sum())
    ((4, 4000, 3), 0)
    """

    _ends_early: ClassVar[bool] = True

    target_accept: float = 0.8
    energy_tolerance: float = 2.0
    max_halvings: int = 10
    max_depth: int = 10
    estimator: str = "gradients"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("energy_tolerance", self.energy_tolerance)
        whole("max_halvings", self.max_halvings, 0, 20)
        whole("max_depth", self.max_depth, 1, 30)
        choice("estimator", self.estimator, _ESTIMATORS)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "walnuts", {
            "tuning": self._tuning_by_cost(dim),
            "max_depth": self.max_depth,
            "energy_tolerance": self.energy_tolerance,
            "max_halvings": self.max_halvings,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class HMC(GradientKernel):
    r"""Hamiltonian Monte Carlo with trajectories of fixed length.

    A transition draws a momentum :math:`p \sim N(0, M)` and makes leapfrog steps of size
    :math:`\epsilon`. The end of the trajectory is accepted with probability :math:`\min(1,
    e^{-\Delta H})`. With one step of size :math:`\sqrt{h}` it is `MALA`.

    Parameters
    ----------
    n_steps : int, optional
        The number of leapfrog steps in a trajectory; by default it follows from
        `trajectory_length`.
    trajectory_length : float, default π/2
        The length of a trajectory, as a time in the units of the metric. π/2 is a quarter of a
        period if the metric has made the target isotropic. A trajectory has at most 1024 steps.
    jitter : float, default 0.2
        The relative variation of the length of trajectories, from 0 to 1, uniform to both sides. It
        changes the number of steps with `trajectory_length`, and the step size with `n_steps`.
    target_accept : float, default 0.8
        The acceptance rate to which the step size is adapted.
    step_size : float, optional
        The step size, in the units of the metric; by default it is adapted to `target_accept`.
    metric, estimator
        As in `NUTS`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] S. Duane, A. D. Kennedy, B. J. Pendleton, D. Roweth, "Hybrid Monte Carlo", Physics
       Letters B, 1987, doi:10.1016/0370-2693(87)91197-X.
    .. [2] R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo,
       2011, arXiv:1206.1901.

    Examples
    --------
    >>> import fermiac as fm
    >>> target = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(target, kernel=fm.mcmc.HMC(trajectory_length=3.0), rng=0)
    >>> s.draws.shape
    (4, 1000, 2)
    """

    target_accept: float = 0.8
    n_steps: int | None = None
    trajectory_length: float = math.pi / 2
    jitter: float = 0.2
    estimator: str = "gradients"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_steps is not None:
            whole("n_steps", self.n_steps, 1, 2**20)
        positive("trajectory_length", self.trajectory_length)
        probability("jitter", self.jitter, zero=True, one=True)
        choice("estimator", self.estimator, _ESTIMATORS)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "hmc", {
            "tuning": self._tuning(dim, self.estimator == "gradients"),
            "n_steps": self.n_steps,
            "trajectory_length": self.trajectory_length,
            "jitter": self.jitter,
        }
