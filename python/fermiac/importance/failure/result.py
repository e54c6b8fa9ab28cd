"""The result of `failure_probability`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base.validate import probability
from fermiac.results import Estimate
from fermiac.results.summary import Summary

__all__ = ["FailureProbability"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FailureProbability(Estimate):
    """The probabilities of rare events, with failure regions, levels and warnings.

    It has all fields of `fermiac.Estimate`, for J events: each output of g with each threshold.

    Attributes
    ----------
    beta : float or ndarray, shape (J,)
        The reliability index -Φ⁻¹(p); infinite if no failure was found.
    beta_stderr : float or ndarray, shape (J,)
        Its standard error, by the delta method.
    regions : tuple of dict
        The regions of failure of each event: ``event`` (its position), ``weight`` (the share of the
        failure points found during the training of the sampler), ``point`` (the design point,
        in the coordinates of the law), ``normal_point`` (the same in standard normal space) and
        ``importance`` (the squared direction cosines of `normal_point`, with sum 1: the importance
        of the coordinates). At most 8 events and 12 regions of each are listed, and none for an
        interrupted run.
    levels : tuple of dict
        The levels of the walks: ``column`` of g, ``walk``, ``threshold``, ``probability`` and its
        ``cov`` (standard error divided by the value), ``acceptance`` of the proposals, ``n``
        points, and ``n_ancestors``, the number of points of the first level with descendants in
        this level.
    subset : mapping or None
        The second estimate, from subset simulation alone: ``mean`` and ``stderr``. None for methods
        without subset simulation, and with a surrogate, for which the walk concerns another event.
    looks : int
        The number of times the error was compared with `rtol`; `interval` allows for it.
    sensitivities : tuple of dict or None
        With ``sensitivities=True``, for each parameter of the law: ``parameter``, ``value``,
        ``derivative`` of the probabilities with respect to it, and its ``stderr``.
    gain : float, ndarray of shape (J,), or None
        With a surrogate: the variance of the estimate without the control by the surrogate, divided
        by the variance with it.
    n_surrogate_evals : int
        The number of evaluations of the surrogate, which are not in `n_evals`.

    References
    ----------
    .. [1] S.-K. Au, J. L. Beck, "Estimation of small failure probabilities in high dimensions by
       subset simulation", Probabilistic Engineering Mechanics, 2001,
       doi:10.1016/S0266-8920(01)00019-4: the c.o.v. of levels, from the correlation of their
       chains.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.importance.failure_probability(
    ...     fm.targets.linear([-1.0, -1.0], intercept=5.0),
    ...     fm.distributions.Normal([0.0, 0.0], [1.0, 1.0]), rng=0
    ... )
    >>> p.converged, len(p.regions), round(p.beta, 2)
    (True, 1, 3.54)
    """

    beta: float | Array
    beta_stderr: float | Array
    regions: tuple[Mapping[str, Any], ...] = ()
    levels: tuple[Mapping[str, Any], ...] = ()
    subset: Mapping[str, Any] | None = None
    looks: int = 1
    sensitivities: tuple[Mapping[str, Any], ...] | None = None
    gain: float | Array | None = None
    n_surrogate_evals: int = 0

    _layout: ClassVar[fit.Layout] = {
        "beta": fit.either(fit.real, fit.array("f", "outputs")),
        "beta_stderr": fit.either(fit.real, fit.array("f", "outputs")),
        "regions": fit.listed(
            fit.record(
                {
                    "event": fit.whole(0, below="outputs"),
                    "weight": fit.real,
                    "point": fit.array("f", "coordinates"),
                    "normal_point": fit.array("f", "coordinates"),
                    "importance": fit.array("f", "coordinates"),
                }
            )
        ),
        "levels": fit.listed(
            fit.record(
                {
                    "column": fit.whole(0),
                    "walk": fit.whole(0),
                    "threshold": fit.real,
                    "probability": fit.real,
                    "cov": fit.real,
                    "acceptance": fit.real,
                    "n": fit.whole(1),
                    "n_ancestors": fit.whole(1),
                }
            )
        ),
        "subset": fit.maybe(
            fit.record(
                {
                    "mean": fit.either(fit.real, fit.array("f", "outputs")),
                    "stderr": fit.either(fit.real, fit.array("f", "outputs")),
                }
            )
        ),
        "looks": fit.whole(0),
        "sensitivities": fit.maybe(
            fit.listed(
                fit.record(
                    {
                        "parameter": fit.text(),
                        "value": fit.real,
                        "derivative": fit.either(fit.real, fit.array("f", "outputs")),
                        "stderr": fit.either(fit.real, fit.array("f", "outputs")),
                    }
                )
            )
        ),
        "gain": fit.maybe(fit.either(fit.real, fit.array("f", "outputs"))),
        "n_surrogate_evals": fit.whole(0),
    }

    def _headline(self) -> str:
        mean, stderr = np.atleast_1d(self.mean), np.atleast_1d(self.stderr)
        rows = [
            f"{name} = {m:.4g} ± {s:.2g}"
            for name, m, s in zip(self.names[:3], mean, stderr, strict=False)
        ]
        more = f", … ({mean.size} in all)" if mean.size > 3 else ""
        return f"FailureProbability: {', '.join(rows)}{more}"

    def summary(self) -> Summary:
        """Return a table: event, probability, standard and relative error, β, second estimate."""
        mean, stderr, beta = (np.atleast_1d(x) for x in (self.mean, self.stderr, self.beta))
        blank = np.full(mean.size, np.nan)
        walked = blank if self.subset is None else np.atleast_1d(self.subset["mean"])
        walked_error = blank if self.subset is None else np.atleast_1d(self.subset["stderr"])
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(mean > 0, stderr / mean, np.nan)
        width = max([len(n) for n in self.names] + [5])
        lines = [
            f"{'event':<{width}}  {'mean':>11}  {'stderr':>9}  {'relative':>8}  {'beta':>7}  "
            f"{'subset':>18}"
        ]
        for j, name in enumerate(self.names):
            second = "-" if np.isnan(walked[j]) else f"{walked[j]:.3g} ± {walked_error[j]:.1g}"
            lines.append(
                f"{name:<{width}}  {mean[j]:>11.4e}  {stderr[j]:>9.2e}  {relative[j]:>8.2e}  "
                f"{beta[j]:>7.4f}  {second:>18}"
            )
        of = "s" if len(self.regions) != 1 else ""
        foot = [
            f"method {self.method}, {self.n_evals} evaluations, seed {self.seed}",
            f"{len(self.regions)} region{of} of failure, {len(self.levels)} levels, "
            + ("converged" if self.converged else "not converged"),
        ]
        foot += [f"warning: {w}" for w in self.warnings]
        numbers = {
            "mean": mean,
            "stderr": stderr,
            "relative": relative,
            "beta": beta,
            "subset": walked,
            "subset_stderr": walked_error,
        }
        return Summary(self.names, numbers, lines=lines, foot=foot)

    def interval(self, prob: float = 0.95) -> tuple[Any, Any]:
        """Return confidence intervals for the probabilities.

        Parameters
        ----------
        prob : float, default 0.95
            The confidence of each interval, above 0 and below 1.

        Returns
        -------
        low, high : float, or ndarray of shape (J,)
            Within [0, 1].

        Raises
        ------
        ArgumentError
            If `prob` is outside its domain.

        Notes
        -----
        They are symmetric on the log scale, p exp(± t stderr / p), where t is the quantile of
        Student's law with `df` degrees of freedom. After a run that stopped at a tolerance, the
        error probability is divided by the number of checks. If no point failed, or all points did,
        the interval is one-sided: its bound is the probability at which N points of the law would
        still show no event; `stderr` is then 3 / N.

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal()
        >>> p = fm.importance.failure_probability(
        ...     fm.targets.linear([-1.0], intercept=3.0), law, rng=0
        ... )
        >>> low, high = p.interval(0.99)
        >>> low < 0.0013499 < high
        True
        """
        from scipy.special import stdtrit

        alpha = (1 - probability("prob", prob)) / max(self.looks, 1)
        mean, stderr = np.atleast_1d(self.mean), np.atleast_1d(self.stderr)
        df = np.broadcast_to(np.asarray(self.df, float), mean.shape)
        factor = -stdtrit(np.minimum(df, 1e10), alpha / 2)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            spread = np.exp(factor * stderr / mean)
            low, high = mean / spread, np.minimum(mean * spread, 1.0)
        bound = np.minimum(-np.log(alpha) / 3 * stderr, 1.0)
        none, all_of = mean == 0, mean == 1
        low = np.where(none, 0.0, np.where(all_of, 1 - bound, low))
        high = np.where(none, bound, np.where(all_of, 1.0, high))
        if np.ndim(self.mean) == 0:
            return float(low[0]), float(high[0])
        return low, high
