"""Estimates with their standard errors, and functions of them by the delta method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.ask import ask
from fermiac._base.validate import (
    MOST_NAMES,
    labels,
    listed,
    probability,
    real_numbers,
    shown,
    whole,
)
from fermiac.errors import ArgumentError, NumericalError
from fermiac.results import pictures
from fermiac.results.result import Result
from fermiac.results.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.distributions import Law
    from fermiac.results.sample import Sample

__all__ = ["Estimate"]

Array = NDArray[np.float64]


def _stages(value: Any, sizes: fit.Sizes) -> None:
    """Accept the stages of an adaptation; one can be chosen only if the last has all counts."""
    fit.listed(fit.instance("dict", "mappingproxy"))(value, sizes)
    sizes["stages"] = len(value) if value and "used" in value[-1] else 0


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Estimate(Result):
    """Estimates of expectations with their standard errors.

    Attributes
    ----------
    mean : float or ndarray, shape (J,)
        The estimates; a number if the integrand has a single output.
    stderr : float or ndarray, shape (J,)
        Their standard errors.
    cov : float or ndarray, shape (J, J)
        The covariance of the estimates; with ``covariance="diag"`` the J variances. It is Hermitian
        for a complex integrand.
    ess : float or ndarray, shape (J,)
        Effective sample sizes (Σ|v|)² / Σv² of the final sample with weighted values v. For an
        average over a `Sample`: the variance of the integrand divided by the squared error.
    khat : float or ndarray, shape (J,)
        Tail shapes of ``|v|``: the fitted tail has moments of order below 1 / k-hat, so its
        variance is in doubt above 0.5 and its mean above 1. Worry about k-hat only when a
        `WeightWarning` appears, which also requires that a few points contribute most of the
        variance: a sampler with a share of the law bounds v, so that the tail ends. k-hat is -inf
        if v has no tail, and NaN if the tail could not be fitted.
    names : tuple of str
        Names of the expectations.
    method : str
        The method of computation.
    stages : tuple of dict
        The stages of the adaptation: ``stage``, ``n_evals``, ``used``, ``forecast``, ``alpha``,
        ``alpha_gap``, ``alpha_passes``, ``mean``, ``stderr``, ``degenerate``.
    chosen_stage : int or None
        The stage whose sampler drew the final sample; stage 0 is the law itself.
    sample : Sample or None
        The final sample, with ``keep_draws=True``.
    df : float or ndarray, shape (J,)
        The degrees of freedom of the standard errors; see `interval`.
    n_replicates : int or None
        The number of independent replicates of the points whose spread gives the standard error;
        None if the points themselves are independent.
    converged : bool or None
        Whether the checks of the method passed and the requested tolerance was met; None for
        methods without checks and tolerances.
    unseen : float or ndarray, shape (J,), or None
        A bound on the contribution of regions that no point met. For `fermiac.importance.expect` it
        is 3 B / N, where B is the largest absolute value of the integrand so far and N the number
        of points drawn from its law, over all stages (the rule of three, at 95 % confidence). For
        `fermiac.importance.integrate` it is the same with N uniform points. It is not part of
        `stderr`, and does not matter for integrands that are positive almost everywhere. None for
        other estimates.
    replicates : ndarray, shape (R, J), or None
        The means of the replicates, of which `mean` is the mean or median.
    combine : str
        The combination of the replicates: ``"mean"`` or ``"median"``.
    n_looks : int or None
        The number of times that a run with a tolerance may check its error; intervals hold for all
        checks together. None for other runs.
    sampler : Law or None
        The trained sampler: a `fermiac.importance.Sampler` of `fermiac.importance.integrate` and
        `fermiac.importance.expect`, a `fermiac.importance.FailureSampler` of
        `fermiac.importance.failure_probability`. None if none was trained, and for blocks that were
        joined (``part=``, ``store=``).

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> e = fm.importance.expect(
    ...     fm.targets.powers([2, 4]), law, n=20_000, names=["x2", "x4"], rng=0
    ... )
    >>> e.mean.shape, e.cov.shape
    ((2,), (2, 2))
    >>> kurtosis = e.transform(lambda m: m[1] / m[0] ** 2)
    >>> bool(abs(kurtosis.mean - 3) < 5 * kurtosis.stderr)
    True
    >>> print(e.summary())
    name ...
    x2   ...
    x4   ...
    method aiscv, 20000 evaluations, seed 0
    ...
    """

    mean: float | Array
    stderr: float | Array
    cov: float | Array
    ess: float | Array
    khat: float | Array
    names: tuple[str, ...]
    method: str
    stages: tuple[Mapping[str, Any], ...] = ()
    chosen_stage: int | None = None
    sample: Sample | None = field(default=None)
    df: float | Array = float("inf")
    n_replicates: int | None = None
    converged: bool | None = field(default_factory=lambda: None)
    unseen: float | Array | None = None
    replicates: NDArray[Any] | None = None
    combine: str = "mean"
    n_looks: int | None = None
    sampler: Law | None = None

    _layout: ClassVar[fit.Layout] = {
        "mean": fit.either(fit.single("outputs"), fit.array("fc", "outputs")),
        "stderr": fit.either(fit.single("outputs"), fit.array("fc", "outputs")),
        "cov": fit.either(
            fit.scalar, fit.array("fc", "outputs"), fit.array("fc", "outputs", "outputs")
        ),
        "ess": fit.either(fit.scalar, fit.array("fc", "outputs")),
        "khat": fit.either(fit.scalar, fit.array("fc", "outputs")),
        "names": fit.listed(fit.text(), "outputs", least=1),
        "method": fit.text(),
        "stages": _stages,
        "chosen_stage": fit.maybe(fit.whole(0, below="stages")),
        "sample": fit.maybe(fit.instance("Sample")),
        "df": fit.either(fit.real, fit.array("f", "outputs")),
        "n_replicates": fit.maybe(fit.whole(1)),
        "converged": fit.maybe(fit.flag),
        "unseen": fit.maybe(fit.either(fit.real, fit.array("f", "outputs"))),
        "replicates": fit.maybe(fit.array("fc", "replicates", "outputs")),
        "combine": fit.text("mean", "median"),
        "n_looks": fit.maybe(fit.whole(1)),
        "sampler": fit.maybe(fit.instance("Sampler", "FailureSampler")),
    }

    def _headline(self) -> str:
        mean, stderr = np.atleast_1d(self.mean), np.atleast_1d(self.stderr)
        rows = [
            f"{name} = {m:.6g} ± {s:.2g}"
            for name, m, s in zip(self.names[:3], mean, stderr, strict=False)
        ]
        more = f", … ({mean.size} in all)" if mean.size > 3 else ""
        return f"Estimate: {', '.join(rows)}{more}"

    def summary(self) -> Summary:
        """Return a table: name, estimate, standard error, relative error, ESS and k-hat."""
        columns = [np.atleast_1d(c) for c in (self.mean, self.stderr, self.ess, self.khat)]
        width = max([len(n) for n in self.names] + [4])
        lines = [
            f"{'name':<{width}}  {'mean':>13}  {'stderr':>9}  {'relative':>8}  {'ess':>9}  "
            f"{'khat':>6}"
        ]
        for name, mean, stderr, ess, khat in zip(self.names, *columns, strict=True):
            relative = f"{stderr / abs(mean):.2e}" if mean != 0 else "-"
            lines.append(
                f"{name:<{width}}  {mean:>13.6g}  {stderr:>9.3g}  {relative:>8}  {ess:>9.0f}  "
                f"{khat:>6.2f}"
            )
        foot = [f"method {self.method}, {self.n_evals} evaluations, seed {self.seed}"]
        if self.chosen_stage is not None:
            used = self.stages[-1]["used"]
            foot.append(
                f"{len(self.stages)} stages took {used} of them; the final sample is from the "
                f"sampler of stage {self.chosen_stage}"
            )
        foot += [_told(stage) for stage in self.stages if "purpose" in stage]
        foot += [f"warning: {w}" for w in self.warnings]
        means, errors, *others = columns
        with np.errstate(divide="ignore", invalid="ignore"):
            relative_errors = np.where(means != 0, errors / np.abs(means), np.nan)
        numbers = [means, errors, relative_errors, *others]
        titles = ("mean", "stderr", "relative", "ess", "khat")
        return Summary(self.names, dict(zip(titles, numbers, strict=True)), lines=lines, foot=foot)

    def interval(self, prob: float = 0.95) -> tuple[Any, Any]:
        """Return confidence intervals for the expectations.

        Parameters
        ----------
        prob : float, default 0.95
            The confidence of each interval, above 0 and below 1.

        Returns
        -------
        low, high : float, or ndarray of shape (J,)

        Raises
        ------
        ArgumentError
            If `prob` is outside its domain, or the estimates are complex.

        Notes
        -----
        They are mean ± t · stderr, where t is the quantile of Student's law [1]_ with `df` degrees
        of freedom, since the standard errors are estimates, too. The degrees of freedom depend on
        the error model. They are the number of independent points minus 1 and minus the number of
        fitted controls. Weighted points count as (Σw)² / Σw² points, and chains as their effective
        sample size. For nested sampling the number is that of lineages, or of bootstrap sets if
        smaller; for walks that of independent walkers; for importance sampling that of final
        points. Otherwise they are infinite, and the law is normal. With 30 degrees of freedom or
        more the difference is below 5 %.

        All intervals rely on the central limit theorem: they are too short if k-hat is large. If
        all values in `fermiac.importance.expect` were 0, the interval is one-sided: from 0 to
        -log(1 - prob) / 3 times `stderr`. This is the bound for the probability of an event that no
        point met [2]_, or for a mean of values of one sign and of size at most 1. If an event
        happened at every point, the interval extends to the other side.

        A run that stopped at a tolerance checked its error several times; the error probability is
        shared among these checks, `n_looks`. Intervals around the median of replicates come from
        their order statistics, and have a coverage of at least `prob`.

        References
        ----------
        .. [1] Student, "The probable error of a mean", Biometrika, 1908,
           doi:10.1093/biomet/6.1.1.
        .. [2] J. A. Hanley, A. Lippman-Hand, "If nothing goes wrong, is everything all right?
           Interpreting zero numerators", Journal of the American Medical Association, 1983,
           doi:10.1001/jama.1983.03330370053031.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([1.0, 2.0, 3.0, 4.0])
        >>> low, high = s.expect(lambda x: x[:, 0]).interval(0.95)
        >>> round(low, 4), round(high, 4)
        (0.4457, 4.5543)
        """
        from scipy.special import ndtri, stdtrit

        # A run with a tolerance divides the error probability among its checks.
        tail = (1 - probability("prob", prob)) / 2 / (self.n_looks or 1)
        if np.iscomplexobj(self.mean):
            raise ArgumentError("interval: the estimates are complex; take their parts in f")
        df = np.asarray(self.df, dtype=float)
        finite = np.isfinite(df)
        factor = np.where(finite, -stdtrit(np.where(finite, df, 1.0), tail), -ndtri(tail))
        half = factor * self.stderr
        low, high = self.mean - half, self.mean + half
        if self.combine == "median" and self.replicates is not None:
            low, high = _of_order(self.replicates, tail)
            if np.ndim(self.mean) == 0:
                low, high = low[0], high[0]
        if self.unseen is not None:
            # The rule of three: no event was met, or an event at every point.
            mean, bound = np.asarray(self.mean), -np.log(2 * tail) / 3 * np.asarray(self.stderr)
            three = (np.asarray(self.stderr) == self.unseen) & (bound > 0)
            low = np.where(three, np.where(mean > 0, mean - bound, mean), low)
            high = np.where(three, np.where(mean > 0, mean, mean + bound), high)
        if np.ndim(self.mean) == 0:
            return float(low), float(high)
        return low, high

    def _picture(self) -> str:
        return pictures.of_estimate(self)

    def ratio(
        self, numerators: int | str | Sequence[int | str], denominator: int | str
    ) -> Estimate:
        """Return ratios of estimates, with errors by the delta method from the full covariance.

        Parameters
        ----------
        numerators : int, str or sequence of them
            Positions or names of the numerators; one gives a number, a sequence a vector.
        denominator : int or str
            Position or name of the common denominator.

        Returns
        -------
        Estimate
            The ratios. Each has the smaller ESS and the larger k-hat of its numerator and
            denominator.

        Raises
        ------
        ArgumentError
            If a name or position does not exist, the denominator is 0, or there is no full
            covariance.
        NumericalError
            If a variance is outside the range of double precision, as for likelihoods below 1e-150.

        Examples
        --------
        A posterior mean is the ratio of two integrals over the prior:

        >>> import numpy as np, fermiac as fm
        >>> prior = fm.distributions.Normal()
        >>> def f(x):
        ...     likelihood = np.exp(-0.5 * (x[:, 0] - 1) ** 2)
        ...     return np.column_stack([likelihood, x[:, 0] * likelihood])
        >>> posterior = fm.importance.expect(f, prior, n=2000, rng=0).ratio(1, 0)
        >>> bool(abs(posterior.mean - 0.5) < 5 * posterior.stderr)
        True
        """
        single = isinstance(numerators, int | str | np.integer)
        keys = [numerators] if single else listed(numerators, MOST_NAMES)
        if not keys:
            raise ArgumentError(
                f"numerators: {shown(numerators)} given; positions or names of estimates, one at "
                "least, are needed"
            )
        top = [self._position(k) for k in keys]  # type: ignore[arg-type]
        bottom = self._position(denominator)
        mean = np.atleast_1d(self.mean)
        if mean[bottom] == 0:
            raise ArgumentError(f"denominator: the estimate of {shown(self.names[bottom])} is 0")
        jacobian = np.zeros((len(top), mean.size))
        rows = np.arange(len(top))
        jacobian[rows, top] = 1 / mean[bottom]
        jacobian[rows, bottom] -= mean[top] / mean[bottom] / mean[bottom]
        jacobian[np.array(top) == bottom] = 0.0
        names = tuple(f"{self.names[i]}/{self.names[bottom]}" for i in top)
        ess, khat = np.atleast_1d(self.ess), np.atleast_1d(self.khat)
        return self._derived(
            mean[top] / mean[bottom],
            jacobian,
            single,
            names,
            np.minimum(ess[top], ess[bottom]),
            np.fmax(khat[top], khat[bottom]),
        )

    def transform(
        self,
        g: Callable[[Array], ArrayLike],
        *,
        jacobian: Callable[[Array], ArrayLike] | None = None,
        names: Sequence[str] | None = None,
    ) -> Estimate:
        """Return a smooth function of the estimates, with errors by the delta method.

        Parameters
        ----------
        g : callable
            A function that takes the vector of estimates, shape (J,), and returns a number or a
            vector (K,).
        jacobian : callable, optional
            Returns the derivatives of `g`, shape (K, J); central differences by default.
        names : sequence of str, optional
            Names of the K outputs.

        Returns
        -------
        Estimate
            The values. Each has the smallest ESS and the largest k-hat of the estimates that it
            depends on.

        Raises
        ------
        ArgumentError
            If `g` or its derivatives are not finite or not of these shapes, or if there is no full
            covariance.
        NumericalError
            If a variance is outside the range of double precision, as for likelihoods below 1e-150.

        Notes
        -----
        The delta method is linear: it is valid if `g` is nearly linear on the scale of the errors.

        Examples
        --------
        A variance from the first two moments:

        >>> import numpy as np, fermiac as fm
        >>> law = fm.distributions.Normal(3.0, 2.0)
        >>> e = fm.importance.expect(lambda x: np.hstack([x, x**2]), law, n=2000, rng=0)
        >>> variance = e.transform(lambda m: m[1] - m[0] ** 2)
        >>> bool(abs(variance.mean - 4.0) < 5 * variance.stderr)
        True
        """
        at = np.atleast_1d(np.asarray(self.mean))
        if at.dtype.kind == "c":
            raise ArgumentError("transform: the estimates are complex; take their parts in f")
        value = _values("g", g, at)
        if value.ndim > 1 or not np.all(np.isfinite(value)):
            raise ArgumentError(
                f"g: gave {shown(value)}; it must give finite numbers, one or a vector of them"
            )
        if jacobian is None:
            slopes = self._differences(g, at, value)
        else:
            slopes = _values("jacobian", jacobian, at)
        if slopes.size == value.size * at.size:
            slopes = slopes.reshape(value.size, at.size)
        if slopes.shape != (value.size, at.size) or not np.all(np.isfinite(slopes)):
            raise ArgumentError(
                f"g: its derivatives must be finite, of shape ({value.size}, {at.size})"
            )
        if names is None:
            names = ["g"] if value.ndim == 0 else [f"g[{k}]" for k in range(value.size)]
        names = labels(names, value.size, "output of g")
        used = slopes != 0
        worst = np.where(used, np.atleast_1d(self.khat), np.nan)
        none = np.isnan(worst).all(axis=1)
        worst[none] = 0.0
        khat = np.where(none, np.nan, np.nanmax(worst, axis=1))
        least = np.where(used, np.atleast_1d(self.ess), np.inf).min(axis=1)
        ess = np.where(np.isfinite(least), least, np.nan)
        return self._derived(np.atleast_1d(value), slopes, value.ndim == 0, tuple(names), ess, khat)

    def _differences(self, g: Callable[[Array], ArrayLike], at: Array, value: Array) -> Array:
        # The step balances truncation and rounding at the scale of the value. It is at least a
        # small part of the standard error, because g must be smooth on that scale anyway.
        scale = np.abs(at)
        scale[scale == 0] = 1.0
        step = np.maximum(np.cbrt(np.finfo(float).eps) * scale, 1e-3 * np.atleast_1d(self.stderr))
        slopes = np.empty((value.size, at.size))
        for j, h in enumerate(step):
            up, down = at.copy(), at.copy()
            up[j] += h
            down[j] -= h
            difference = _values("g", g, up) - _values("g", g, down)
            slopes[:, j] = np.ravel(difference) / (up[j] - down[j])
        return slopes

    def _derived(
        self,
        mean: Array,
        jacobian: Array,
        single: bool,
        names: tuple[str, ...],
        ess: Array,
        khat: Array,
    ) -> Estimate:
        cov = np.atleast_1d(self.cov)
        if cov.size == 1:
            cov = cov.reshape(1, 1)
        if cov.ndim != 2 or cov.dtype.kind == "c":
            raise ArgumentError(
                "functions of the estimates need their full real covariance: run expect with "
                'covariance="full" and a real integrand'
            )
        # The squares of errors below 1e-154 or above 1e154 are beyond the range of doubles.
        variances, uses = np.diag(cov), np.any(jacobian != 0, axis=0)
        lost = (np.atleast_1d(self.stderr) > 0) & ~((variances > 1e-300) & (variances < np.inf))
        if np.any(lost & uses):
            which = self.names[int(np.argmax(lost & uses))]
            raise NumericalError(
                f"the variance of {shown(which)} is beyond the range of doubles; scale f to a "
                "moderate size: a common factor of numerator and denominator cancels"
            )
        known = np.broadcast_to(self.df, jacobian.shape[1:])
        df = np.where(jacobian != 0, known, np.inf).min(axis=1)
        jacobian = jacobian[:, uses]
        out = jacobian @ cov[np.ix_(uses, uses)] @ jacobian.T
        stderr = np.sqrt(np.maximum(np.diag(out), 0.0))

        def shape(a: Array) -> Any:
            return float(a.ravel()[0]) if single else a

        return replace(
            self,
            mean=shape(mean),
            stderr=shape(stderr),
            cov=shape(out),
            ess=shape(ess),
            khat=shape(khat),
            names=names,
            df=shape(df),
            unseen=None,
            replicates=None,
            combine="mean",
        )

    def merge(self, *others: Estimate, weights: ArrayLike | None = None) -> Estimate:
        """Join estimates of the same expectations from independent calls into one.

        Parameters
        ----------
        *others : Estimate
            Estimates with the same names and method, from other seeds.
        weights : array_like, shape (K,), optional
            The weights of the estimates, this one first. They must have been fixed before the
            calls. The default is the requested number of points of each call.

        Returns
        -------
        Estimate
            The weighted mean, with errors for independent terms. `ess` is combined as for values of
            equal size, `khat` is the largest one, and `df` is by Welch and Satterthwaite;
            ``settings["seeds"]`` lists the seeds. The order of the estimates changes no bit.
            `stages` and `sample` are left out. `sampler` is the mixture of the fitted components of
            all calls, or that of the smallest seed if it has no components.

        Raises
        ------
        ArgumentError
            If the estimates do not match, two have the same seed, or no weights were fixed, because
            a run was interrupted or its requested number of points is not known.

        Warns
        -----
        ConvergenceWarning
            If the estimates differ by more than their errors allow.

        Notes
        -----
        Weights that were fixed in advance keep the mean unbiased. Weights of 1 / stderr² do not: if
        a run has missed a part of the mass, both its estimate and its error are too small [1]_.

        References
        ----------
        .. [1] A. B. Owen, Y. Zhou, "The square root rule for adaptive importance sampling", ACM
           Transactions on Modeling and Computer Simulation, 2020, doi:10.1145/3350426.

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal()
        >>> a, b = (fm.importance.expect(lambda x: x**2, law, n=4000, rng=k) for k in (1, 2))
        >>> e = a.merge(b)
        >>> bool(e.stderr < min(a.stderr, b.stderr)), e.settings["seeds"]
        (True, (1, 2))
        """
        from fermiac.results.merging import merge_estimates

        return merge_estimates(self, others, weights)

    def _position(self, key: int | str) -> int:
        n = len(self.names)
        if isinstance(key, str):
            if key in self.names:
                return self.names.index(key)
            raise ArgumentError(
                f"{shown(key)} is not a name; the names are {', '.join(self.names)}"
            )
        index = whole("position", key, -(2**62), 2**62)
        if -n <= index < n:
            return index % n
        raise ArgumentError(f"position {index} given; there are {n} estimates")

    def plot_estimates(self, ax: Axes | None = None, truth: ArrayLike | None = None) -> Axes:
        """Draw the estimates; see `fermiac.plotting.plot_estimates`."""
        drawn: Axes = registry.function("plotting", "plot_estimates")(self, ax, truth)
        return drawn

    def plot_stages(self, ax: Axes | None = None) -> Axes:
        """Draw the adaptation; see `fermiac.plotting.plot_stages`."""
        drawn: Axes = registry.function("plotting", "plot_stages")(self, ax)
        return drawn

    def plot_correlation(self, ax: Axes | None = None) -> Axes:
        """Draw the correlations; see `fermiac.plotting.plot_correlation`."""
        drawn: Axes = registry.function("plotting", "plot_correlation")(self, ax)
        return drawn


def _told(stage: Mapping[str, Any]) -> str:
    """Return a line about a stage and its use."""
    forecast = stage["forecast"]
    said = "" if np.isnan(forecast) else f", mean squared relative error {forecast:.2g}"
    return f"{stage['purpose']}: {stage['n_evals']} evaluations{said}"


def _of_order(replicates: NDArray[Any], tail: float) -> tuple[Any, Any]:
    """Return the order statistics outside which the median lies with probability 2 tail."""
    from scipy.special import bdtr

    count = len(replicates)
    at = np.arange(count // 2)
    fits = bdtr(at, count, 0.5) <= tail
    if not fits.any():
        raise ArgumentError(
            f"prob: {1 - 2 * tail:.6g} given; an interval about the median of {count} replicates "
            f"holds with probability {1 - 2 * bdtr(0, count, 0.5):.6g} at most: raise n_replicates"
        )
    ordered = np.sort(replicates, axis=0)
    k = int(at[fits].max())
    return ordered[k], ordered[count - 1 - k]


def _values(name: str, function: Callable[[Array], ArrayLike], at: Array) -> Array:
    """Return the values of a function of the estimates as an array of numbers."""
    if not callable(function):
        raise ArgumentError(
            f"{name}: {shown(function)} given; a function of the estimates is needed"
        )
    return real_numbers(f"{name}: its values", ask(function, (at,), name))
