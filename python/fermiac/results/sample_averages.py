"""The methods of samples for averages, quantiles and tables of the coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import part_of
from fermiac._base.plan import PlanLike, plan_of
from fermiac.results import averages, intervals, quantiles
from fermiac.results.summary import Summary

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.results.estimate import Estimate
    from fermiac.results.sample import Sample
    from fermiac.targets import BuiltinIntegrand

__all__ = ["SampleAverages"]

Array = NDArray[np.float64]


@part_of("Sample", "fermiac.results.sample")
class SampleAverages:
    """The part of `fermiac.Sample` for averages, quantiles and tables of the coordinates."""

    @property
    def mean(self) -> Array:
        """The mean of the coordinates, shape (d,); `expect` also returns its error."""
        return averages.moments(cast("Sample", self))[0]

    @property
    def cov(self) -> Array:
        """The covariance of the coordinates under the law, shape (d, d), bias-corrected."""
        return averages.moments(cast("Sample", self))[1]

    def expect(
        self,
        f: Callable[..., ArrayLike] | BuiltinIntegrand | ArrayLike | str | Sequence[str],
        *,
        controls: str | Callable[[Array], ArrayLike] | ArrayLike | None = None,
        degree: int = 2,
        penalty: Literal["ridge", "lasso"] | None = None,
        law: int | Law = 0,
        names: Sequence[str] | None = None,
        plan: PlanLike | None = None,
    ) -> Estimate:
        r"""Average functions over the sample, with standard errors.

        Parameters
        ----------
        f : callable, built-in integrand, array_like, str or list of str
            A function that takes a batch of points, shape (n, d), and returns (n,), or (n, K) for K
            functions; or the values themselves. It may be complex. The name of a parameter, or a
            list of names, stands for the coordinates. A function with two or more required
            arguments takes parameters by name, each with an axis for the batch, (n, \*shape). So
            does a function with keyword-only arguments, ``lambda *, tau: tau**2``.
        controls : {"stein", "polynomial"}, callable, array_like or None, default None
            Control variates: functions with known mean zero, shape (n, m), on which `f` is
            regressed. ``"stein"`` makes them from the gradients of the log-density, which the
            sample must have. ``"polynomial"`` takes the polynomials that are orthonormal under the
            `law` of the draws; see ``law.polynomials``.
        degree : int, default 2
            The highest degree of the polynomials behind the ``"stein"`` controls, of which there
            are C(d + degree, d) - 1, or of those of the law. For a Gaussian law the average of a
            polynomial up to this degree is exact.
        penalty : {"ridge", "lasso"}, optional
            Penalise the coefficients of many controls, with the strength that is best by folds; see
            Notes. ``"lasso"`` suits functions of few of the controls. At most 500 controls are
            possible.
        law : int or Law, default 0
            The position of the law, for a sample with the weights of several; or the law of the
            draws, for ``controls="polynomial"``.
        names : sequence of str, optional
            Names of the averages.
        plan : Plan or executor, optional
            Where the call runs and what is kept (it takes ``executor``); see `fermiac.Plan`.

        Returns
        -------
        Estimate
            The average. Its ``ess`` is the variance of the integrand divided by the squared error;
            it exceeds n if controls help or chains alternate. Its ``khat`` is the tail shape of the
            contributions of single points to the error, before controls.

        Raises
        ------
        ArgumentError
            If there are as many controls as points of positive weight, if gradients are missing,
            if chains have fewer than 4 draws, or if an argument is outside its domain.
        TargetError
            If `f` or the controls return a wrong shape, or a NaN or an infinity at a point with
            weight.

        Warns
        -----
        WeightWarning
            If k-hat is above min(1 - 1/log10(n), 0.7), if the effective sample size is at most
            five, or if one point almost determines a coefficient.
        HeavyTailWarning
            For draws without weights: if k-hat is above 0.5, so the variance of the values may be
            infinite, and one point contributes a tenth of the variance.
        FermiacWarning
            If there are more controls than a tenth of the effective points, if they increase the
            error, or if their mean is more than six standard errors from zero, which makes the
            average biased.
        ConvergenceWarning
            For chains, if the rank-normalised R-hat of `f` is above 1.01 (for a single chain, that
            of its halves), or the effective sample size is below 100 per chain. If all values are
            equal: the error of 0 then says nothing of a region that no draw has met.

        Notes
        -----
        With normalised weights :math:`W_i` the average is :math:`\hat I = \sum_i W_i
        \varphi(x_i)`, and its variance is :math:`\sum_i W_i^2 (\varphi(x_i) - \hat I)^2` (for
        equal weights the usual one, with n - 1). With controls the average is the intercept of the
        weighted least-squares fit of :math:`\varphi` on them, and the variance uses leave-one-out
        residuals. The controls of a polynomial P are :math:`\Delta P + \nabla P \cdot \nabla
        \log p`; their mean is zero if :math:`p \nabla P` vanishes at the bounds.

        For chains the average is the same. The contributions of the N draws to its error, :math:`N
        W_i (\varphi(x_i) - \hat I)` or those of the residuals, form chains. Their variance divided
        by their effective sample size [4]_ is the squared error. The noise of the coefficients of
        controls is of second order, since it is multiplied by the mean of the controls, which is
        near zero. The covariance of several averages has these squared errors on its diagonal; its
        correlations are those of the means of batches of √n draws. For the difference of nearly
        proportional functions, average the difference.

        With a `penalty`, and for ``controls="polynomial"``, a third of the draws is a pilot: every
        third draw, and of chains the first third. The coefficients come from it, and the average
        and its error from the other draws, so that the error holds with hundreds of controls. The
        strength of the penalty [5]_ [6]_, or without one the degree, has the least squared error
        over five folds of the pilot, for each function by itself. Least squares without a penalty
        is tried where the pilot has ten effective points for each control. Functions whose squared
        error is forecast to be more than half of that without controls are averaged over all draws
        without controls. ``settings["chosen"]`` tells the choices.

        References
        ----------
        .. [1] A. Owen, "Monte Carlo theory, methods and examples", chapters 8 and 9, 2013.
        .. [2] A. Mira, R. Solgi, D. Imparato, "Zero variance Markov chain Monte Carlo for Bayesian
           estimators", Statistics and Computing, 2013, doi:10.1007/s11222-012-9344-6.
        .. [3] R. Leluc, F. Portier, J. Segers, A. Zhuman, "A quadrature rule combining control
           variates and adaptive importance sampling", NeurIPS, 2022, arXiv:2205.11890.
        .. [4] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization,
           folding, and localization: an improved R-hat for assessing convergence of MCMC", Bayesian
           Analysis, 2021, doi:10.1214/20-BA1221.
        .. [5] L. F. South, C. J. Oates, A. Mira, C. Drovandi, "Regularized zero-variance control
           variates", Bayesian Analysis, 2023, arXiv:1811.05073.
        .. [6] R. Leluc, F. Portier, J. Segers, "Control variate selection for Monte Carlo
           integration", Statistics and Computing, 2021, doi:10.1007/s11222-021-10011-z.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> x = fm.distributions.Normal().sample(50, rng=0)
        >>> s = fm.Sample.from_arrays(x, gradients=-x)
        >>> e = s.expect(lambda x: x[:, 0] ** 2, controls="stein")
        >>> bool(abs(e.mean - 1) < 1e-9)
        True
        >>> law = fm.distributions.Exponential(1.0)
        >>> s = fm.Sample.from_arrays(law.sample(500, rng=0))
        >>> e = s.expect(lambda x: x[:, 0] ** 3, controls="polynomial", degree=4, law=law)
        >>> bool(abs(e.mean - 6) < 1e-9), e.settings["chosen"]
        (True, ['degree 3'])
        >>> pair = fm.Sample.from_arrays([[1.0, 2.0], [3.0, 4.0]], names=["a", "b"])
        >>> pair.expect(["b", "a"]).mean.tolist(), pair.expect(lambda a, b: a * b).mean
        ([3.0, 2.0], 7.0)
        """
        where = plan_of(plan, "executor")
        return averages.expect(
            cast("Sample", self),
            f,
            controls,
            degree,
            penalty,
            law,
            names,
            where.executor,
            where.n_threads,
        )

    @overload
    def quantile(
        self, q: ArrayLike, *, kind: str = "linear", return_stderr: Literal[False] = False
    ) -> Array: ...
    @overload
    def quantile(
        self, q: ArrayLike, *, kind: str = "linear", return_stderr: Literal[True]
    ) -> tuple[Array, Array]: ...
    @overload
    def quantile(
        self, q: ArrayLike, *, kind: str = "linear", return_stderr: bool
    ) -> Array | tuple[Array, Array]: ...
    def quantile(
        self, q: ArrayLike, *, kind: str = "linear", return_stderr: bool = False
    ) -> Array | tuple[Array, Array]:
        """Return the quantiles of every coordinate.

        Parameters
        ----------
        q : array_like, shape () or (m,)
            Probabilities from 0 to 1.
        kind : {"linear", "inverted_cdf"}, default "linear"
            ``"inverted_cdf"`` is the least point at which the weighted distribution function
            reaches `q`. ``"linear"`` averages it over probabilities in a window of width 1/n
            about `q`, where n is the effective sample size; for equal weights these are NumPy's
            quantiles.
        return_stderr : bool, default False
            Also return standard errors: half the distance between the quantiles at `q` plus and
            minus the standard error of the distribution function there (for chains without
            weights, those of `fermiac.diagnostics.mcse`, where n is the effective sample size).
            They are inf if these probabilities are within 1/(2n) of 0 or 1, and inaccurate with
            fewer than ten effective points beyond `q`.

        Returns
        -------
        quantiles : ndarray, shape (d,) or (m, d)
        stderr : ndarray of the same shape
            With ``return_stderr=True``.

        Raises
        ------
        ArgumentError
            If `q` is not in [0, 1], or is 0 or 1 with ``return_stderr=True``.

        References
        ----------
        .. [1] A. Akinshin, "Weighted quantile estimators", arXiv:2304.07265, 2023.
        .. [2] R. S. Woodruff, "Confidence intervals for medians and other position measures",
           Journal of the American Statistical Association, 1952,
           doi:10.1080/01621459.1952.10483443.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([1.0, 2.0, 3.0, 4.0, 5.0])
        >>> s.quantile([0.5, 0.6])
        array([[3. ],
               [3.4]])
        """
        return quantiles.quantile(cast("Sample", self), q, kind, return_stderr)

    def interval(self, prob: float = 0.9, *, kind: str = "equal") -> tuple[Array, Array]:
        """Return intervals that contain a given probability of every coordinate.

        Parameters
        ----------
        prob : float, default 0.9
            The probability, above 0 and below 1.
        kind : {"equal", "hdi"}, default "equal"
            The interval with equal tails, or the shortest interval between two points with this
            share of the weight between them [1]_, which for a unimodal law is the interval of
            highest density.

        Returns
        -------
        low, high : ndarray, shape (d,)

        Raises
        ------
        ArgumentError
            If an argument is outside its domain.

        References
        ----------
        .. [1] M.-H. Chen, Q.-M. Shao, "Monte Carlo estimation of Bayesian credible and HPD
           intervals", Journal of Computational and Graphical Statistics, 1999,
           doi:10.1080/10618600.1999.10474802.

        Examples
        --------
        The shortest interval of an exponential law begins at 0:

        >>> import fermiac as fm
        >>> x = fm.distributions.Exponential(1.0).sample(4000, rng=0)
        >>> low, high = fm.Sample.from_arrays(x).interval(0.9, kind="hdi")
        >>> bool(low[0] < 0.01), bool(abs(high[0] - 2.3) < 0.1)
        (True, True)
        """
        return intervals.interval(cast("Sample", self), prob, kind)

    def summary(
        self,
        *,
        prob: float = 0.9,
        kind: str = "equal",
        var_names: str | Sequence[str] | None = None,
    ) -> Summary:
        """Return a table of coordinates: mean, its error, standard deviation, an interval and ESS.

        For chains the table has the bulk and tail effective sample sizes and R-hat of the first 40
        coordinates and of the worst ones. Statistics of the kernel are below it: divergences,
        saturated trees, E-BFMI.

        Parameters
        ----------
        prob : float, default 0.9
            The probability of the interval, which is shown beside the median.
        kind : {"equal", "hdi"}, default "equal"
            Equal tails, or the shortest interval; see `interval`.
        var_names : str or sequence of str, optional
            Variables or coordinates; by default all.

        Returns
        -------
        Summary
            It prints as text, and is a table in notebooks. It is a mapping from names to numbers,
            and has `to_dataframe`.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, or a name is unknown.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([[1.0, 2.0], [3.0, 4.0]], names=["mu", "tau"])
        >>> print(s.summary(prob=0.5, var_names="mu"))
        Sample of 2 points in 2 dimensions
        name ...
        mu   ...
        >>> s.summary()["mu"]["mean"]
        2.0
        """
        return averages.summary(cast("Sample", self), prob, kind, var_names)
