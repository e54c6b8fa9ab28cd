"""Samples: everything that is done with points and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._rng import RngLike, plain, whole
from fermiac._sample_views import SampleViews

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.results import Estimate
    from fermiac.targets import BuiltinIntegrand
    from fermiac.targets._density import LogDensity

__all__ = ["Sample"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sample(SampleViews):
    """Points, with weights where they were not drawn from the law itself.

    Attributes
    ----------
    draws : ndarray, shape (n, d) or (chains, n, d)
        The points.
    log_weights : ndarray, shape (n,) or (n, L), or None
        Logarithms of the importance weights p / g, one column for each of several laws. Their
        scale is kept: the exponentials have mean 1 if both densities are normalised, and else
        estimate the ratio of the two normalising constants.
    log_densities : ndarray, shape (n,), or None
        Logarithms of the target density at the points, up to a constant.
    gradients : ndarray, shape (n, d), or None
        Their gradients.
    names : tuple of str
        Names of the coordinates.
    error_model : str
        ``"iid"``, ``"weighted"`` or ``"chains"``: how errors of averages over the sample are to be
        computed.
    stats : mapping of str to ndarray, shape (chains, n)
        Of chains: figures of each transition, by the names ``acceptance_rate``, ``energy``,
        ``energy_error``, ``diverging``, ``n_steps``, ``tree_depth``, ``reached_max_depth``,
        ``step_size``, ``n_evals``, as far as the kernel has them; those of a Gibbs block begin
        with its name, like ``x.energy``.
    warmup_stats : mapping of str to ndarray, shape (chains, n_warmup)
        The same of the warm-up, where it was kept.

    Notes
    -----
    With chains, the arrays beside `draws` have the chains as their first axis too. `from_arrays`
    makes a sample from points of any origin.
    """

    @classmethod
    def from_arrays(
        cls,
        draws: ArrayLike,
        log_weights: ArrayLike | None = None,
        *,
        log_densities: ArrayLike | None = None,
        gradients: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> Sample:
        """Make a sample from arrays, whoever drew the points.

        Parameters
        ----------
        draws : array_like, shape (n, d), (n,) for one coordinate, or (chains, n, d)
            Points; those of (n, d) are taken as independent.
        log_weights : array_like, shape (n,), optional
            Logarithms of their weights, -inf for no weight; without them all count equally.
        log_densities : array_like, shape (n,), optional
            Logarithms of the target density at the points, up to a constant: for `reweight`.
        gradients : array_like, shape (n, d), optional
            Their gradients: for ``expect(..., controls="stein")``.
        names : sequence of str, optional
            Names of the coordinates.
        seed : int, optional
            What the points were drawn with; `merge` refuses equal ones.

        Returns
        -------
        Sample
            Its error model is ``"iid"`` without weights and ``"weighted"`` with them;
            ``"chains"`` with a third axis, since points of a chain depend on each other.

        Raises
        ------
        ArgumentError
            If the shapes do not fit, a number is NaN, or a log-weight is +inf.

        Examples
        --------
        Points from N(0, 2²), weighted for N(0, 1):

        >>> import numpy as np, fermiac as fm
        >>> x = fm.distributions.Normal(0.0, 2.0).sample(4000, rng=0)
        >>> s = fm.Sample.from_arrays(x, -0.5 * x[:, 0] ** 2 + 0.5 * (x[:, 0] / 2) ** 2)
        >>> e = s.expect(lambda x: x[:, 0] ** 2)
        >>> bool(abs(e.mean - 1) < 5 * e.stderr)
        True
        """
        points = np.asarray(plain("draws", draws))
        return Sample(
            seed=None if seed is None else whole("seed", seed, 0, 2**64 - 1),
            version=_core.__version__,
            isa=_core.isa_level,
            settings={},
            n_evals=0,
            wall_time=0.0,
            draws=points[:, None] if points.ndim == 1 else points,
            log_weights=log_weights,  # type: ignore[arg-type]  # checked and converted
            log_densities=log_densities,  # type: ignore[arg-type]
            gradients=gradients,  # type: ignore[arg-type]
            names=() if names is None else names,  # type: ignore[arg-type]
            error_model=(
                "chains" if points.ndim == 3 else "iid" if log_weights is None else "weighted"
            ),
        )

    @cached_property
    def _of_chains(self) -> str:
        from fermiac import _chains

        return _chains.headline(self)

    def _headline(self) -> str:
        return self._of_chains if self.error_model == "chains" else super()._headline()

    @property
    def mean(self) -> Array:
        """The mean of the coordinates, shape (d,); `expect` also gives its error."""
        from fermiac import _averages

        return _averages.moments(self)[0]

    @property
    def cov(self) -> Array:
        """The covariance of the coordinates under the law, shape (d, d), bias-corrected."""
        from fermiac import _averages

        return _averages.moments(self)[1]

    def expect(
        self,
        f: Callable[[Array], ArrayLike] | BuiltinIntegrand | ArrayLike,
        *,
        controls: str | Callable[[Array], ArrayLike] | ArrayLike | None = None,
        degree: int = 2,
        law: int = 0,
        names: Sequence[str] | None = None,
        n_threads: int | None = None,
    ) -> Estimate:
        r"""Average functions over the sample, with errors.

        Parameters
        ----------
        f : callable, built-in integrand or array_like
            Takes a batch of points, shape (n, d), gives (n,), or (n, K) for K functions; or the
            values themselves. It may be complex.
        controls : {"stein"}, callable, array_like or None, default None
            Functions whose means are known to be zero, shape (n, m); what they explain of the
            fluctuations of `f` is taken out. ``"stein"`` makes them from the gradients of the
            log-density, which the sample must hold.
        degree : int, default 2
            With ``"stein"``: the degree of the polynomials, which make C(d + degree, d) - 1
            controls. For a Gaussian law the average of a polynomial up to this degree is exact.
        law : int, default 0
            Of several laws, the one that is averaged over.
        names : sequence of str, optional
            Names of the averages.
        n_threads : int, optional
            Worker threads; see `fermiac.set_num_threads`. Never changes the result.

        Returns
        -------
        Estimate
            Its ``ess`` is the variance of the integrand over the squared error, above n where
            controls help or chains alternate; its ``khat`` is the tail shape of the parts that
            single points have in the error, before controls.

        Raises
        ------
        ArgumentError
            If there are not fewer controls than points of positive weight, there are no
            gradients, chains have fewer than 4 draws, or an argument is outside its domain.
        TargetError
            If `f` or the controls give a wrong shape, or a NaN or an infinity at a point that has
            weight.

        Warns
        -----
        WeightWarning
            If k-hat is above min(1 - 1/log10(n), 0.7) (without weights: and a point makes a tenth
            of the variance), five effective points or fewer are left, or one point all but fixes
            a coefficient.
        FermiacWarning
            If there are more controls than a tenth of the effective points, they do harm, or
            their mean is more than six standard errors from zero: the average is biased then. If
            `f` was 0 at every draw.
        ConvergenceWarning
            Of chains: if the rank-normalised R-hat of `f` is above 1.01 (of a single chain: that
            of its halves), or the effective sample size below 100 for each chain.

        Notes
        -----
        With normalised weights :math:`W_i` the average is :math:`\hat I = \sum_i W_i
        \varphi(x_i)`, its variance :math:`\sum_i W_i^2 (\varphi(x_i) - \hat I)^2` (for equal
        weights the usual one, with n - 1). With controls it is the intercept of the weighted
        least-squares fit of :math:`\varphi` on them, and the variance takes the residual of each
        point from the fit without it. The controls of a polynomial P are :math:`\Delta P + \nabla
        P \cdot \nabla \log p`; their mean is zero where :math:`p \nabla P` vanishes at the bounds.

        Of chains the average is the same, and the parts that the N draws have in its error,
        :math:`N W_i (\varphi(x_i) - \hat I)` or those of the residuals, are taken as the chains
        that they are: their variance over their effective sample size [4]_ is the squared error.
        The noise of the coefficients of controls is of second order even so: it meets the mean of
        the controls, which is near zero itself. The covariance of several averages has these
        squared errors on its diagonal and the correlations of the means of batches of √n draws
        beside it; where nearly proportional functions are to be subtracted, average the
        difference.

        References
        ----------
        .. [1] A. Owen, "Monte Carlo theory, methods and examples", chapters 8 and 9, 2013.
        .. [2] A. Mira, R. Solgi, D. Imparato, "Zero variance Markov chain Monte Carlo for
           Bayesian estimators", Statistics and Computing, 2013.
        .. [3] R. Leluc, F. Portier, J. Segers, A. Zhuman, "A quadrature rule combining control
           variates and adaptive importance sampling", NeurIPS, 2022.
        .. [4] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization,
           folding, and localization: an improved R-hat for assessing convergence of MCMC",
           Bayesian Analysis, 2021.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> x = fm.distributions.Normal().sample(50, rng=0)
        >>> s = fm.Sample.from_arrays(x, gradients=-x)
        >>> e = s.expect(lambda x: x[:, 0] ** 2, controls="stein")
        >>> bool(abs(e.mean - 1) < 1e-9)
        True
        """
        from fermiac import _averages

        return _averages.expect(self, f, controls, degree, law, names, n_threads)

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
        """Quantiles of every coordinate.

        Parameters
        ----------
        q : array_like, shape () or (m,)
            Probabilities from 0 to 1.
        kind : {"linear", "inverted_cdf"}, default "linear"
            ``"inverted_cdf"`` is the least point at which the weighted distribution function
            reaches `q`. ``"linear"`` averages that over probabilities in a window of width 1/n
            about `q`, n the effective sample size; for equal weights these are NumPy's quantiles.
        return_stderr : bool, default False
            Also give standard errors: half the distance of the quantiles at `q` plus and minus
            the standard error of the distribution function there (of chains without weights: what
            `fermiac.diagnostics.mcse` gives, with n the effective sample size); inf where these
            are within 1/(2n) of 0 or 1, so that the sample does not tell. Far out in a tail, with
            fewer than ten effective points beyond `q`, they are rough.

        Returns
        -------
        quantiles : ndarray, shape (d,) or (m, d)
        stderr : ndarray of the same shape
            With ``return_stderr=True``.

        Raises
        ------
        ArgumentError
            If `q` is not in [0, 1], or is 0 or 1 where an error is wanted: the ends have none.

        References
        ----------
        .. [1] A. Akinshin, "Weighted quantile estimators", arXiv:2304.07265, 2023.
        .. [2] R. S. Woodruff, "Confidence intervals for medians and other position measures",
           Journal of the American Statistical Association, 1952.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([1.0, 2.0, 3.0, 4.0, 5.0])
        >>> s.quantile([0.5, 0.6])
        array([[3. ],
               [3.4]])
        """
        from fermiac import _quantiles

        return _quantiles.quantile(self, q, kind, return_stderr)

    def resample(
        self, n: int | None = None, *, rng: RngLike = None, method: str = "systematic"
    ) -> Sample:
        """Draw points in proportion to their weights, so that all count equally.

        Parameters
        ----------
        n : int, optional
            How many; by default the effective sample size. Errors of averages over the new
            sample, taken as independent, are then about right with ``"systematic"`` and
            ``"stratified"``, and up to √2 too small with ``"multinomial"`` and ``"residual"``.
            With more points they come out smaller still: `expect` on the weighted sample gives
            better ones.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.
        method : {"systematic", "stratified", "multinomial", "residual"}, default "systematic"
            Each draws point i an expected n · Wᵢ times; independent draws (``"multinomial"``)
            add the most noise.

        Returns
        -------
        Sample
            With the error model ``"iid"``, in random order.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, no point has weight, or the points are those of
            chains, which would pass for independent.

        References
        ----------
        .. [1] R. Douc, O. Cappé, E. Moulines, "Comparison of resampling schemes for particle
           filtering", ISPA, 2005.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([1.0, 2.0, 3.0], [0.0, -float("inf"), 0.0])
        >>> sorted(s.resample(4, rng=0).draws[:, 0].tolist())
        [1.0, 1.0, 3.0, 3.0]
        """
        from fermiac import _reweighting

        return _reweighting.resample(self, n, rng, method)

    def reweight(
        self,
        new: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike,
        *,
        old: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike | None = None,
    ) -> Sample:
        """Turn the sample towards another target, by weights.

        Parameters
        ----------
        new : law, log-density or array_like, shape (n,)
            The new target, or the logarithm of its density at the points.
        old : law, log-density or array_like, shape (n,), optional
            The present target; by default what `log_densities` holds. Chains that were drawn with
            ``transforms`` need it: their log-densities are of unconstrained points.

        Returns
        -------
        Sample
            The same points with log-weights that have grown by new - old, without gradients.
            Chains stay chains: errors still account for their dependence.

        Raises
        ------
        ArgumentError
            If the old density is not known, or 0 at a point where the new one is not.
        TargetError
            If a density gives a wrong shape, a NaN or +inf.

        Warns
        -----
        WeightWarning
            If the k-hat of the weights is above min(1 - 1/log10(n), 0.7).

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal(0.0, 2.0)
        >>> s = fm.Sample.from_arrays(law.sample(4000, rng=0))
        >>> t = s.reweight(fm.distributions.Normal(), old=law)
        >>> bool(abs(t.cov[0, 0] - 1) < 0.1)
        True
        """
        from fermiac import _reweighting

        return _reweighting.reweight(self, new, old)

    def merge(self, *others: Sample) -> Sample:
        """Join independent samples of the same target into one.

        Parameters
        ----------
        *others : Sample
            With the same coordinates and error model; chains with as many draws. Log-weights keep
            their scale: they must be relative to the same unnormalised target.

        Returns
        -------
        Sample
            All points; ``settings["seeds"]`` lists the seeds that they came from. Chains are put
            side by side, with the `stats` that all have.

        Raises
        ------
        ArgumentError
            If the samples do not fit, or two came from the same seed or hold the same points.

        Warns
        -----
        ConvergenceWarning
            If chains, taken together, have not converged, or diverged.

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal()
        >>> a, b = (fm.Sample.from_arrays(law.sample(10, rng=k), seed=k) for k in (1, 2))
        >>> a.merge(b).n_draws
        20
        """
        from fermiac import _reweighting

        return _reweighting.merge(self, others)

    def select_law(self, law: int) -> Sample:
        """The sample with the weights of one of several laws.

        Parameters
        ----------
        law : int
            Its position.

        Returns
        -------
        Sample

        Raises
        ------
        ArgumentError
            If there is no such law.
        """
        law = whole("law", law, 0, self.n_laws - 1)
        if self.log_weights is None or self.log_weights.ndim < self.draws.ndim:
            return self
        return replace(self, log_weights=self.log_weights[..., law].copy())

    def summary(self) -> str:
        """Return a table: mean, its error, deviation, quantiles and ESS of every coordinate.

        Of chains it has the bulk and tail effective sample sizes and R-hat of 40 coordinates, the
        worst of all, and below it what the kernel did: divergences, saturated trees, E-BFMI.
        """
        from fermiac import _averages

        return _averages.summary(self)
