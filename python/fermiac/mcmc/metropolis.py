"""Metropolis kernels: random walks and Langevin steps."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from fermiac._base.validate import positive, probability, yes
from fermiac.mcmc.kernel import GradientKernel, Kernel, Oracles, Spec, metric_spec

__all__ = ["MALA", "RWM", "ULA"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RWM(Kernel):
    r"""Random-walk Metropolis with an adapted scale and covariance.

    Proposals are :math:`y = x + s L \xi`, where :math:`L L^\top` is the covariance that the warm-up
    has learned.

    Parameters
    ----------
    scale : float, optional
        The scale s; by default it is adapted to `target_accept`, starting from 2.38/√d.
    target_accept : float, optional
        The acceptance rate to which the scale is adapted; by default 0.44 in one dimension, 0.35 in
        two to four, and 0.234 above.
    metric : {"auto", "unit", "diag", "dense"} or array_like, default "auto"
        The part of the covariance of the draws that is learned: none, the variances, or all of it
        (``"auto"`` up to 200 coordinates); or fixed variances (d,) or a fixed covariance (d, d).

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] H. Haario, E. Saksman, J. Tamminen, "An adaptive Metropolis algorithm", Bernoulli, 2001,
       doi:10.2307/3318737.
    .. [2] A. Gelman, G. O. Roberts, W. R. Gilks, "Efficient Metropolis jumping rules", Bayesian
       Statistics 5, 1996.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.mcmc.sample(
    ...     lambda x: -0.5 * (x**2).sum(axis=1),
    ...     2,
    ...     kernel=fm.mcmc.RWM(),
    ...     n_draws=2000,
    ...     rng=0,
    ... )
    >>> s.draws.shape
    (4, 2000, 2)
    """

    scale: float | None = None
    target_accept: float | None = None
    metric: str | ArrayLike = "auto"

    def __post_init__(self) -> None:
        if self.scale is not None:
            positive("scale", self.scale)
        if self.target_accept is not None:
            probability("target_accept", self.target_accept)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "rwm", {
            "scale": self.scale,
            "target_accept": self.target_accept,
            "metric": metric_spec(self.metric, dim, gradients=False),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class MALA(GradientKernel):
    r"""The Metropolis-adjusted Langevin algorithm, with an adapted step and preconditioner.

    Proposals are :math:`y = x + \tfrac{h}{2} M^{-1} \nabla \log p(x) + \sqrt{h}\, L \xi` with
    :math:`M^{-1} = L L^\top`; h is the *variance* of a step.

    Parameters
    ----------
    step_size : float, optional
        √h, in the units of the metric; by default it is adapted to `target_accept`.
    target_accept : float, default 0.574
        The acceptance rate to which the step size is adapted.
    metric : {"auto", "unit", "diag", "dense", "low_rank"} or array_like, default "auto"
        The part of the inverse metric :math:`M^{-1}` that is learned from draws and their
        gradients: none, its diagonal, all of it, or a diagonal plus a correction in up to 50
        directions (low rank). ``"auto"`` learns all of it up to 200 coordinates, and the low-rank
        form above. An array gives fixed variances (d,) or a fixed covariance (d, d).
    truncate : float, optional
        The largest length of :math:`L^\top \nabla \log p`, for gradients that grow faster than
        linearly. The Metropolis correction accounts for it, so the target does not change.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] G. O. Roberts, R. L. Tweedie, "Exponential convergence of Langevin distributions and
       their discrete approximations", Bernoulli, 1996, doi:10.2307/3318418.
    .. [2] G. O. Roberts, J. S. Rosenthal, "Optimal scaling of discrete approximations to Langevin
       diffusions", Journal of the Royal Statistical Society B, 1998, doi:10.1111/1467-9868.00123.

    Examples
    --------
    >>> import fermiac as fm
    >>> target = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(target, kernel=fm.mcmc.MALA(), n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 2)
    """

    target_accept: float = 0.574
    truncate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.truncate is not None:
            positive("truncate", self.truncate)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "langevin", {
            "tuning": self._tuning(dim),
            "corrected": True,
            "drift": ("plain", 0.0) if self.truncate is None else ("truncated", self.truncate),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ULA(GradientKernel):
    r"""The unadjusted Langevin algorithm: the proposals of `MALA`, all of them accepted.

    Its draws follow the target up to a bias of order h, which no number of draws removes. While the
    warm-up adapts the step size, proposals are corrected as in `MALA`. Afterwards only proposals
    with an acceptance probability below e⁻¹⁰⁰⁰ are rejected, so that no chain escapes. If the bias
    is beyond the errors, as it mostly is at the default step size, `sample` gives a
    `ConvergenceWarning`.

    Parameters
    ----------
    step_size : float, optional
        √h, in the units of the metric; by default it is adapted so that `MALA` would accept at the
        rate `target_accept`.
    target_accept : float, default 0.9
        The acceptance rate of `MALA` at the adapted step size.
    metric : {"auto", "unit", "diag", "dense", "low_rank"} or array_like, default "auto"
        As in `MALA`.
    tamed : bool, default False
        Divide the drift by 1 + (h/2) times its length, for gradients that grow faster than
        linearly.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] A. Durmus, E. Moulines, "Nonasymptotic convergence analysis for the unadjusted Langevin
       algorithm", Annals of Applied Probability, 2017, doi:10.1214/16-AAP1238.
    .. [2] N. Brosse, A. Durmus, E. Moulines, S. Sabanis, "The tamed unadjusted Langevin algorithm",
       Stochastic Processes and their Applications, 2019, doi:10.1016/j.spa.2018.10.002.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(law, kernel=fm.mcmc.ULA(step_size=0.4), n_draws=4000, rng=0)
    >>> s.settings["bias"]
    'discretisation'
    """

    tamed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        yes("tamed", self.tamed)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "langevin", {
            "tuning": self._tuning(dim),
            "corrected": False,
            "drift": ("tamed" if self.tamed else "plain", 0.0),
        }
