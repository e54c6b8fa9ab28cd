"""Samples: draws with their weights, densities and statistics, and the methods on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.validate import RngLike, numbered, taken, whole
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError
from fermiac.results import averages, chain_summary, intervals, pictures, quantiles, tables
from fermiac.results.axes import COORDS, DIMS, Coords, Dims, restricted
from fermiac.results.bounds import bounds_of, bounds_setting, with_bounds
from fermiac.results.error_models import error_model_of
from fermiac.results.result import Result
from fermiac.results.sample_exports import SampleExports
from fermiac.results.sample_fields import checked
from fermiac.results.sample_plots import SamplePlots
from fermiac.results.summary import Summary

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.results.estimate import Estimate
    from fermiac.targets import BuiltinIntegrand
    from fermiac.targets.density import LogDensity

__all__ = ["OTHER_SPACE", "Sample"]

Array = NDArray[np.float64]
#: The setting of samples whose log-densities are those of other points than their draws.
OTHER_SPACE = "log_densities"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sample(SampleExports, SamplePlots, Result):
    """Points, with weights if they were not drawn from the target itself.

    Attributes
    ----------
    draws : ndarray, shape (n, d) or (chains, n, d)
        The points.
    log_weights : ndarray, shape (n,) or (n, L), or None
        Logarithms of the importance weights p / g, one column for each of several laws. Their
        scale is kept: the mean of the weights estimates the ratio of the normalising constants of
        p and g, which is 1 if both densities are normalised.
    log_densities : ndarray, shape (n,), or None
        Logarithms of the target density at the points, up to a constant.
    gradients : ndarray, shape (n, d), or None
        Gradients of the target log-density at the points.
    names : tuple of str
        Names of the coordinates.
    error_model : str
        The method for errors of averages over the sample: ``"iid"``, ``"weighted"``, ``"chains"``,
        or ``"replicas"``, with replicates of Sobol' points in place of chains.
    stats : mapping of str to ndarray, shape (chains, n)
        Statistics of each transition of the chains: ``acceptance_rate``, ``energy``,
        ``energy_error``, ``diverging``, ``n_steps``, ``tree_depth``, ``reached_max_depth``,
        ``step_size``, ``n_evals``, as far as the kernel has them. Those of a Gibbs block begin
        with its name, like ``x.energy``.
    warmup_stats : mapping of str to ndarray, shape (chains, n_warmup)
        The statistics of the warm-up, if it was kept.
    coords : mapping of str to tuple
        Labels along named dimensions: ``{"school": ("Choate", "Deerfield")}``.
    dims : mapping of str to tuple of str
        The names of the dimensions of variables with axes: ``{"theta": ("school",)}``.
    log_likelihood : mapping of str to ndarray, shape (n, ...) or (chains, n, ...)
        The log-likelihoods of single observations at each draw, by the names of the data.
    observed_data : mapping of str to ndarray
        The data themselves.

    Notes
    -----
    For chains, the other arrays also have the chains as their first axis. `from_arrays` makes a
    sample from points of any origin.

    The names of the coordinates define variables and their shapes: ``mu`` is a number,
    ``theta[0]``, ``theta[1]``, ... are one vector, ``m[0, 0]``, ``m[0, 1]``, ... a matrix in C
    order; see `variables`. A sample behaves like a DataFrame: ``sample["theta"]`` is a variable,
    ``sample[100:]`` are some of the draws, ``len(sample)`` is the number of draws (of each chain),
    ``"theta" in sample`` and ``for name in sample`` refer to names. ``numpy.asarray(sample)`` is
    `draws`.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((4, 500, 4))
    >>> s = fm.Sample.from_arrays(x, names=["mu", "theta[0]", "theta[1]", "theta[2]"])
    >>> list(s), s["theta"].shape, s["theta[2]"].shape
    (['mu', 'theta'], (4, 500, 3), (4, 500))
    >>> len(s), len(s[100:]), s[[0, 2], ::10].draws.shape
    (500, 400, (2, 50, 4))
    """

    draws: Array
    log_weights: Array | None = None
    log_densities: Array | None = None
    gradients: Array | None = None
    names: tuple[str, ...] = ()
    error_model: str = "iid"
    stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    warmup_stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    coords: Coords = field(default_factory=dict)
    dims: Dims = field(default_factory=dict)
    log_likelihood: Mapping[str, Array] = field(default_factory=dict)
    observed_data: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("fiu", "*points", "d", finite=True, least=1),
        "log_weights": fit.maybe(
            fit.either(fit.array("fiu", "*points"), fit.array("fiu", "*points", "laws"))
        ),
        "log_densities": fit.maybe(fit.array("fiu", "*points")),
        "gradients": fit.maybe(fit.array("fiu", "*points", "d")),
        "names": fit.texts,
        "settings": with_bounds,
        "error_model": fit.text(),
        "stats": fit.mapping(fit.array("biuf", "*points")),
        "warmup_stats": fit.mapping(fit.array("biuf", "chains", "warmup")),
        "coords": COORDS,
        "dims": DIMS,
        "log_likelihood": fit.mapping(fit.array("f")),
        "observed_data": fit.mapping(fit.array("biuf")),
    }

    @property
    def _error_model_name(self) -> str:
        """The name under which the error model is registered."""
        return self.error_model

    def __post_init__(self) -> None:
        for name, value in checked(self).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(
        cls,
        draws: ArrayLike,
        log_weights: ArrayLike | None = None,
        *,
        log_densities: ArrayLike | None = None,
        gradients: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
        log_likelihood: Mapping[str, ArrayLike] | None = None,
        observed_data: Mapping[str, ArrayLike] | None = None,
        seed: int | None = None,
    ) -> Sample:
        """Make a sample from arrays of points of any origin.

        Parameters
        ----------
        draws : array_like, shape (n, d), (n,) for one coordinate, or (chains, n, d)
            Points; those of an array (n, d) count as independent. A DataFrame of pandas or polars
            also gives the names of its columns. One from `to_dataframe` also gives chains and
            log-weights.
        log_weights : array_like, shape (n,), optional
            Logarithms of the weights, -inf for a weight of 0; by default all weights are equal.
        log_densities : array_like, shape (n,), optional
            Logarithms of the target density at the points, up to a constant; `reweight` uses them.
        gradients : array_like, shape (n, d), optional
            Gradients of the log-density; ``expect(..., controls="stein")`` uses them.
        names : sequence of str, optional
            Names of the coordinates; ``theta[0]``, ``theta[1]``, ... form a variable ``theta``.
        coords, dims : mapping, optional
            Labels along dimensions, and the dimensions of variables: `Sample.coords`,
            `Sample.dims`.
        log_likelihood, observed_data : mapping, optional
            Log-likelihoods by observation, (n, ...) or (chains, n, ...), and the data.
        seed : int, optional
            The seed of the points; `merge` refuses samples with equal seeds.

        Returns
        -------
        Sample
            Its error model is ``"iid"`` without weights and ``"weighted"`` with weights. For an
            array (chains, n, d) it is ``"chains"``, since the draws of a chain are dependent.

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
        given, columns, weights = tables.from_frame(draws)
        points = taken("draws", given)
        log_weights = weights if log_weights is None else log_weights
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
            names=columns if names is None else names,  # type: ignore[arg-type]
            error_model=(
                "chains" if points.ndim == 3 else "iid" if log_weights is None else "weighted"
            ),
            coords=_or_empty(coords),
            dims=_or_empty(dims),
            log_likelihood=_or_empty(log_likelihood),
            observed_data=_or_empty(observed_data),
        )

    def __getitem__(self, key: Any) -> Any:
        """Return a variable by its name, or the sample of some draws.

        Parameters
        ----------
        key : str, slice, or pair of chains and a slice
            ``sample["theta"]`` is the array of a variable, with the leading axes of `draws` and
            then its own; ``sample["theta[2]"]`` is that of one coordinate. ``sample[100:]`` and
            ``sample[..., ::10]`` are samples of some draws of every chain. ``sample[[0, 2], 100:]``
            selects chains, too, as ``isel`` does in xarray.

        Returns
        -------
        ndarray or Sample

        Raises
        ------
        UnknownNameError
            If there is no parameter of this name; it is a KeyError as well.
        ArgumentError
            If the key is of another kind, if it selects no draw, or for samples of nested sampling
            and walks, whose parts are not samples.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100, 2)), names=["mu", "tau"])
        >>> s["tau"].shape
        (100,)
        >>> s[::2]
        Sample of 50 points in 2 dimensions
        """
        from fermiac.results.selection import part

        return part(self, key)

    def __len__(self) -> int:
        return int(self.draws.shape[-2])

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables.shapes)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self.variables.shapes or name in self.variables.names
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `draws`, for ``numpy.asarray``; weighted points give a warning."""
        return tables.as_array(self, dtype, copy)

    @property
    def variables(self) -> Variables:
        """The variables that the names of the coordinates define.

        The attribute ``shapes`` maps the names of the variables to their shapes.
        """
        return _variables(self._labels)

    @property
    def dim(self) -> int:
        """The number of coordinates of a point."""
        return int(self.draws.shape[-1])

    @property
    def n_draws(self) -> int:
        """The number of points; for chains, the number of all draws."""
        return self.draws.size // self.dim

    @property
    def n_laws(self) -> int:
        """The number of laws that the weights are for."""
        if self.log_weights is None or self.log_weights.ndim < self.draws.ndim:
            return 1
        return int(self.log_weights.shape[-1])

    @property
    def bounds(self) -> Array:
        """The bounds of the support of every coordinate, shape (d, 2).

        They come from the prior, the law or the transforms of a target, and are infinite if none of
        these defines bounds. Plots respect them.
        """
        return bounds_of(self.settings, self.dim)

    @property
    def ess(self) -> float | Array:
        """The effective sample size.

        For weighted points it is (Σw)² / Σw², for each law. For chains it is the least bulk ESS of
        a coordinate, as in `summary` (for the walkers of an ensemble the ESS for the mean; NaN for
        fewer than 4 draws per chain). For weighted chains it is the smaller of the two. `expect`
        returns an ESS for each integrand.
        """
        if error_model_of(self).of_chains:
            return chain_summary.least_size(self)
        return self._ess_of_weights

    @property
    def _ess_of_weights(self) -> float | Array:
        """Return (Σw)² / Σw² for each law, which treats draws as independent."""
        return self._per_law(lambda w: float(1 / np.sum(w**2)) if w.any() else 0.0)

    @property
    def khat(self) -> float | Array:
        """The tail shape k-hat of the weights, for each law; -inf for equal weights.

        The fitted tail has moments of order below 1 / k-hat. Averages are unreliable above
        min(1 - 1/log10(n), 0.7) and have no mean above 1. NaN for fewer than ten points.
        """
        return self._per_law(_core.khat)

    @property
    def weights(self) -> Array:
        """The weights, shape (n,), scaled to sum to one."""
        return self._weights().reshape(self.draws.shape[:-1])

    @property
    def mean(self) -> Array:
        """The mean of the coordinates, shape (d,); `expect` also returns its error."""
        return averages.moments(self)[0]

    @property
    def cov(self) -> Array:
        """The covariance of the coordinates under the law, shape (d, d), bias-corrected."""
        return averages.moments(self)[1]

    def expect(
        self,
        f: Callable[..., ArrayLike] | BuiltinIntegrand | ArrayLike | str | Sequence[str],
        *,
        controls: str | Callable[[Array], ArrayLike] | ArrayLike | None = None,
        degree: int = 2,
        penalty: Literal["ridge", "lasso"] | None = None,
        law: int | Law = 0,
        names: Sequence[str] | None = None,
        executor: Any = None,
        n_threads: int | None = None,
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
        executor : object, optional
            The workers, in a form that `fermiac.executor.Sharded` takes, for a costly function `f`.
            Each evaluates it at some of the draws.
        n_threads : int, optional
            Worker threads; see `fermiac.set_num_threads`. Never changes the result.

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
            average biased. Also if `f` was 0 at every draw.
        ConvergenceWarning
            For chains, if the rank-normalised R-hat of `f` is above 1.01 (for a single chain, that
            of its halves), or the effective sample size is below 100 per chain.

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
        return averages.expect(self, f, controls, degree, penalty, law, names, executor, n_threads)

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
        return quantiles.quantile(self, q, kind, return_stderr)

    def resample(
        self, n: int | None = None, *, rng: RngLike = None, method: str = "systematic"
    ) -> Sample:
        """Draw points in proportion to their weights, which gives points of equal weight.

        Parameters
        ----------
        n : int, optional
            The number of draws; by default the effective sample size. Errors of averages over the
            new sample are then about right with ``"systematic"`` and ``"stratified"``, and up to
            √2 too small with ``"multinomial"`` and ``"residual"``. With more draws they become too
            small; use `expect` on the weighted sample for correct errors.
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed; an int in [0, 2**64) is the key itself.
        method : {"systematic", "stratified", "multinomial", "residual"}, default "systematic"
            The scheme. With each scheme the expected number of copies of point i is n · Wᵢ;
            independent draws (``"multinomial"``) add the most noise.

        Returns
        -------
        Sample
            A sample with the error model ``"iid"``, in random order.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, if no point has weight, or for chains, whose
            resampled draws would be treated as independent.

        References
        ----------
        .. [1] R. Douc, O. Cappé, E. Moulines, "Comparison of resampling schemes for particle
           filtering", ISPA, 2005, doi:10.1109/ISPA.2005.195385.

        Examples
        --------
        >>> import fermiac as fm
        >>> s = fm.Sample.from_arrays([1.0, 2.0, 3.0], [0.0, -float("inf"), 0.0])
        >>> sorted(s.resample(4, rng=0).draws[:, 0].tolist())
        [1.0, 1.0, 3.0, 3.0]
        """
        from fermiac.results import reweight as weights

        return weights.resample(self, n, rng, method)

    def reweight(
        self,
        new: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike,
        *,
        old: Law | LogDensity | Callable[[Array], ArrayLike] | ArrayLike | None = None,
    ) -> Sample:
        """Return the sample with weights for another target.

        Parameters
        ----------
        new : law, log-density or array_like, shape (n,)
            The new target, or the logarithm of its density at the points.
        old : law, log-density or array_like, shape (n,), optional
            The present target; by default `log_densities`. Chains that were drawn with
            ``transforms`` need it, since their log-densities are those of unconstrained points.

        Returns
        -------
        Sample
            The same points without gradients; new - old is added to their log-weights. Errors of
            chains still account for the dependence of the draws.

        Raises
        ------
        ArgumentError
            If the old density is unknown, or 0 at a point where the new one is not.
        TargetError
            If a density returns a wrong shape, a NaN or +inf.

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
        from fermiac.results import reweight as weights

        return weights.reweight(self, new, old)

    def merge(self, *others: Sample) -> Sample:
        """Join independent samples of the same target into one.

        Parameters
        ----------
        *others : Sample
            Samples with the same coordinates and error model; chains of the same length.
            Log-weights keep their scale and must be relative to the same unnormalised target.

        Returns
        -------
        Sample
            All points; ``settings["seeds"]`` lists their seeds. Chains are put side by side, with
            the `stats` that all samples have.

        Raises
        ------
        ArgumentError
            If the samples do not match, or if two have the same seed or the same points.

        Warns
        -----
        ConvergenceWarning
            If the chains, taken together, have not converged or have diverged.

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal()
        >>> a, b = (fm.Sample.from_arrays(law.sample(10, rng=k), seed=k) for k in (1, 2))
        >>> a.merge(b).n_draws
        20
        """
        from fermiac.results import reweight as weights

        return weights.merge(self, others)

    def select_law(self, law: int) -> Sample:
        """Return the sample with the weights of one of several laws.

        Parameters
        ----------
        law : int
            The position of the law.

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
        return intervals.interval(self, prob, kind)

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
        return averages.summary(self, prob, kind, var_names)

    @cached_property
    def _chain_headline(self) -> str:
        return chain_summary.headline(self)

    def _headline(self) -> str:
        if error_model_of(self).of_chains:
            return self._chain_headline
        dimensions = "1 dimension" if self.dim == 1 else f"{self.dim} dimensions"
        return f"Sample of {self.n_draws} points in {dimensions}{self._weighted}"

    @property
    def _weighted(self) -> str:
        """Return the ESS of the weights for a headline, or an empty text without weights."""
        if self.log_weights is None:
            return ""
        return f", weighted: ESS {np.min(self._ess_of_weights):.0f}"

    def _picture(self) -> str:
        return pictures.of_sample(self)

    @property
    def _points(self) -> Array:
        return np.ascontiguousarray(self.draws.reshape(-1, self.dim), dtype=np.float64)

    def _log_weights(self, law: int | None = None) -> Array:
        """Return the log-weights of one law, (n,); zeros without weights."""
        if self.log_weights is None:
            return np.zeros(self.n_draws)
        columns = self.log_weights.reshape(self.n_draws, -1)
        if law is None and columns.shape[1] > 1:
            raise ArgumentError(
                f"this sample has weights for {columns.shape[1]} laws: choose one by "
                "sample.select_law(position)"
            )
        return np.ascontiguousarray(columns[:, law or 0])

    def _weights(self, law: int | None = None) -> Array:
        """Return the normalised weights of one law, (n,)."""
        weights, log_mean = _core.normalize_weights(self._log_weights(law))
        if log_mean == -np.inf:
            raise ArgumentError("no point of this sample has weight: all log-weights are -inf")
        return weights

    def _per_law(self, figure: Callable[[Array], float]) -> float | Array:
        each = [
            figure(_core.normalize_weights(self._log_weights(j))[0]) for j in range(self.n_laws)
        ]
        several = self.log_weights is not None and self.log_weights.ndim == self.draws.ndim
        return np.array(each) if several else each[0]

    @property
    def _labels(self) -> tuple[str, ...]:
        """Return the names, or x[0], x[1] and so on."""
        return self.names or numbered("x", self.dim)

    def _coordinates(self, columns: Sequence[int]) -> Self:
        """Return the sample of some coordinates."""
        chosen = list(columns)
        # A view, as draws may be on the disk.
        at = (
            slice(columns.start, columns.stop, columns.step)
            if isinstance(columns, range)
            else chosen
        )
        others = {name: value for name, value in self.settings.items() if name != "bounds"}
        names = tuple(self._labels[j] for j in chosen)
        whole_ones = Variables.of_names(names).shapes.items() & self.variables.shapes.items()
        coords, dims = restricted(
            self.coords,
            self.dims,
            [*(name for name, _ in whole_ones), *self.log_likelihood, *self.observed_data],
        )
        return replace(
            self,
            settings={**others, **bounds_setting(self.bounds[chosen])},
            draws=self.draws[..., at],
            gradients=None if self.gradients is None else self.gradients[..., at],
            names=names,
            coords=coords,
            dims=dims,
        )


@lru_cache(maxsize=32)
def _variables(names: tuple[str, ...]) -> Variables:
    return Variables.of_names(names)


def _or_empty(given: Any) -> Any:
    return {} if given is None else given
