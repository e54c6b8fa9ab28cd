"""Slice sampling, and elliptical slice sampling for normal priors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import choice, positive, shown, whole
from fermiac.distributions import MultivariateNormal, Normal, as_law
from fermiac.distributions.law import Law
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import Kernel, Oracles, Spec, metric_spec

__all__ = ["EllipticalSlice", "Slice"]

Array = NDArray[np.float64]

_DIRECTIONS = ("coordinates", "random", "box")
_TARGETS = ("likelihood", "posterior")


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice(Kernel):
    r"""Slice sampling by stepping out and shrinkage of brackets.

    At a point x, a height :math:`\log p(x) - e` is drawn with an exponential e. The slice consists
    of all y with a larger log-density. Points are then drawn from a bracket around x, which shrinks
    towards x until one of them lies in the slice.

    Parameters
    ----------
    width : float, optional
        The first width of a bracket, in the units of the metric. By default it starts at 3, and the
        warm-up adapts it to the geometric mean length of the brackets in which points were found;
        for ``"box"`` to three times that length.
    max_steps : int, default 32
        The largest number of widths in a bracket. It has no effect on ``"box"``.
    direction : {"coordinates", "random", "box"}, default "coordinates"
        The updates of a transition. ``"coordinates"``: one along each of the d coordinates of the
        metric in turn (the columns of L, where :math:`L L^\top` is the learned covariance; those
        of x with the metrics ``"unit"`` and ``"diag"``), with a width for each. ``"random"``: d
        updates along random lines. ``"box"``: one update of all coordinates in a randomly placed
        box, which does not step out; for few dimensions.
    metric : {"auto", "unit", "diag", "dense"} or array_like, default "auto"
        As in `RWM`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Notes
    -----
    Both ends of a bracket are evaluated together. An update that finds no other point in 200 tries
    leaves the chain where it is; the statistic ``slice_fail`` counts such updates. This happens if
    the density has a spike at the point, or is not a function of the point alone. ``n_evals`` is
    the number of evaluations of a transition, ``acceptance_rate`` the number of updates divided by
    that of tries, and ``width`` the mean width.

    References
    ----------
    .. [1] R. M. Neal, "Slice sampling", Annals of Statistics, 2003, doi:10.1214/aos/1056562461.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 1.0])
    >>> s = fm.mcmc.sample(law, kernel=fm.mcmc.Slice(), n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 2)
    """

    width: float | None = None
    max_steps: int = 32
    direction: str = "coordinates"
    metric: str | ArrayLike = "auto"

    def __post_init__(self) -> None:
        if self.width is not None:
            positive("width", self.width)
        whole("max_steps", self.max_steps, 1, 2**32)
        choice("direction", self.direction, _DIRECTIONS)

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        return "slice", {
            "direction": self.direction,
            "width": None if self.width is None else float(self.width),
            "max_steps": self.max_steps,
            "metric": metric_spec(self.metric, dim, gradients=False),
        }


@dataclass(frozen=True, eq=False)
class EllipticalSlice(Kernel):
    r"""Elliptical slice sampling, for a normal prior.

    With :math:`\nu` drawn from the centred prior, the next point is one of the ellipse
    :math:`\mu + (x - \mu) \cos\theta + \nu \sin\theta`, on which the prior is constant; θ is drawn
    from a slice of the likelihood. There is nothing to tune; the warm-up only brings the chains to
    the bulk of the posterior.

    Parameters
    ----------
    prior : Normal, MultivariateNormal or frozen scipy.stats distribution
        The prior N(μ, Σ) of all coordinates. A law of one coordinate stands for independent copies.
    target : {"likelihood", "posterior"}, default "likelihood"
        The meaning of the `log_density` of `fermiac.mcmc.sample`: the log-likelihood alone, to
        which the kernel adds the log-prior; or the log-posterior, from which it subtracts the
        log-prior. For a ``"posterior"`` any normal law can be the `prior`; one close to the
        posterior works best.

    Raises
    ------
    ArgumentError
        If the prior is not normal, or `target` is not known; by `fermiac.mcmc.sample` if the prior
        has another dimension, or if ``"likelihood"`` is used in a part of another kernel, for which
        the `log_density` is that of the whole target.

    Notes
    -----
    The draws follow the posterior, and the `log_densities` of the sample are those of the
    posterior; for a ``"likelihood"`` with the normalised prior. The statistic ``log_likelihood`` is
    the log-likelihood. ``n_evals`` is the number of evaluations of a transition, and
    ``acceptance_rate`` is its inverse, or 0 if no other point was found in 200 tries
    (``slice_fail`` is then 1).

    References
    ----------
    .. [1] I. Murray, R. P. Adams, D. J. C. MacKay, "Elliptical slice sampling", Proceedings of the
       13th International Conference on Artificial Intelligence and Statistics, 2010,
       arXiv:1001.0175.
    .. [2] R. Nishihara, I. Murray, R. P. Adams, "Parallel MCMC with generalized elliptical slice
       sampling", Journal of Machine Learning Research, 2014, arXiv:1210.7477.

    Examples
    --------
    A normal likelihood of one observation, 1.5, gives the mean 0.75:

    >>> import numpy as np, fermiac as fm
    >>> kernel = fm.mcmc.EllipticalSlice(fm.distributions.Normal())
    >>> s = fm.mcmc.sample(
    ...     lambda x: -0.5 * (x[:, 0] - 1.5) ** 2,
    ...     1,
    ...     kernel=kernel,
    ...     n_warmup=100,
    ...     n_draws=2000,
    ...     rng=0,
    ... )
    >>> bool(abs(s.draws.mean() - 0.75) < 0.05)
    True
    """

    prior: Any
    target: str = "likelihood"

    def __post_init__(self) -> None:
        law = as_law(self.prior, "prior")
        if not isinstance(law, Normal | MultivariateNormal):
            raise ArgumentError(
                f"prior: {shown(law)} given; fermiac.distributions.Normal or MultivariateNormal is "
                "needed"
            )
        object.__setattr__(self, "prior", law)
        choice("target", self.target, _TARGETS)

    def _adds_prior(self) -> bool:
        return self.target == "likelihood"

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        law: Law = self.prior
        if law.dim not in (1, dim):
            raise ArgumentError(
                f"prior: a law of {law.dim} coordinates given for a density of {dim}; give one of "
                f"{dim}, or of 1 for all"
            )
        mean, spread = _moments(self.prior)
        if law.dim != dim:
            mean, spread = np.full(dim, mean), np.full(dim, spread)
        return "elliptical_slice", {
            "mean": np.ascontiguousarray(mean),
            "covariance": ("fixed", np.ascontiguousarray(spread)),
            "posterior": self.target == "posterior",
        }


def _moments(law: Normal | MultivariateNormal) -> tuple[Array, Array]:
    """Return the mean, and the variances of independent coordinates or the covariance."""
    spread = law.cov if isinstance(law, MultivariateNormal) and law.dim > 1 else law.variance
    return np.atleast_1d(law.mean), np.atleast_1d(spread)
