"""Conjugate blocks of normal data: means, variances, coefficients of a regression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public_class
from fermiac._base.validate import numbers, require
from fermiac.errors import ArgumentError
from fermiac.mcmc.conjugate import ConjugateBlock, positive_start
from fermiac.mcmc.kernel import Oracles
from fermiac.mcmc.quantities import Quantity, parsed

__all__ = ["NormalMean", "NormalMeanVariance", "NormalVariance", "RegressionCoefficients"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NormalMean(ConjugateBlock):
    r"""Means of normal data with given variances, under normal priors.

    Observation i of group g(i) is :math:`y_i \sim N(\theta_{g(i)} + o_i, v_i)`, and the block is
    :math:`\theta`, with independent priors :math:`\theta_j \sim N(m_j, s_j)`.

    Parameters
    ----------
    data : quantity
        The observations y, n of them. A quantity is a number, an array, the name of coordinates
        (a key of the ``blocks`` of `Gibbs`, or a name of the target), `Grouped`, `Linear`, or a
        list of these, which are added.
    variance : quantity
        Their variances v: one, or n.
    prior_mean, prior_variance : quantity
        The means m and variances s of the priors: one, or one for each coordinate of the block.
        ``numpy.inf`` is a flat prior.
    offset : quantity, default 0
        The known part o of the means of the observations.
    groups : array_like of int, shape (n,), optional
        The group of each observation, counted from 0: the coordinate of the block that is its mean.
        By default a block of one coordinate is the mean of all observations, and a block of n
        coordinates has one observation each. A group may be empty.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a variance is not above 0.

    See Also
    --------
    NormalVariance, NormalMeanVariance, RegressionCoefficients

    References
    ----------
    .. [1] D. V. Lindley, A. F. M. Smith, "Bayes estimates for the linear model", Journal of the
       Royal Statistical Society B, 1972, doi:10.1111/j.2517-6161.1972.tb00885.x.

    Examples
    --------
    Effects of eight schools, their common mean and their variance:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    >>> se = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [
    ...         ("theta", of.NormalMean(y, se**2, prior_mean="mu", prior_variance="v")),
    ...         ("mu", of.NormalMean("theta", "v", prior_mean=0.0, prior_variance=25.0)),
    ...         ("v", of.NormalVariance("theta", "mu", shape=1.0, scale=10.0)),
    ...     ],
    ...     blocks={"theta": slice(0, 8), "mu": 8, "v": 9},
    ... )
    >>> s = fm.mcmc.sample(None, 10, kernel=kernel, n_draws=2000, rng=0)
    >>> s.draws.shape
    (4, 2000, 10)
    """

    _law: ClassVar[str] = "normal_mean"

    data: Quantity
    variance: Quantity
    prior_mean: Quantity = field(kw_only=True)
    prior_variance: Quantity = field(kw_only=True)
    offset: Quantity = field(default=0.0, kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._finite("data", "prior_mean", "offset")
        self._above("variance")
        self._above("prior_variance", infinite=True)

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        n = self._n(oracles, "data", "variance", "offset")
        rest = self._of("data").minus(self._of("offset"))
        return {
            "data": rest.resolved("data", n, oracles),
            **self._resolved(n, oracles, "variance"),
            **self._resolved(dim, oracles, "prior_mean", "prior_variance"),
            **self._grouped(dim, oracles, n),
        }


@dataclass(frozen=True, eq=False)
class NormalVariance(ConjugateBlock):
    r"""Variances of normal data with given means, under inverse gamma priors.

    Observation i of group g(i) is :math:`y_i \sim N(m_i, v_{g(i)})`, and the block is v, with
    independent priors of density proportional to :math:`v^{-a-1} e^{-b/v}`.

    Parameters
    ----------
    data : quantity
        The observations y, n of them; see `NormalMean` for quantities.
    mean : quantity
        Their means m: one, or n. For the errors of a regression it is ``Linear(X, "beta")``.
    shape, scale : quantity
        The parameters a and b of the priors: one, or one for each coordinate of the block. They may
        be improper: a = -1/2 and b = 0 is the flat prior of a standard deviation, a = b = 0 that of
        its logarithm.
    groups : array_like of int, shape (n,), optional
        The group of each observation, counted from 0; see `NormalMean`.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper, since its shape or scale is not above 0.

    Notes
    -----
    Sums over observations that do not depend on the state are computed once: a turn takes a time
    that does not depend on n for a mean of one coordinate, or of a few groups, and k² operations
    for a regression on k columns.

    References
    ----------
    .. [1] D. V. Lindley, A. F. M. Smith, "Bayes estimates for the linear model", Journal of the
       Royal Statistical Society B, 1972, doi:10.1111/j.2517-6161.1972.tb00885.x.

    Examples
    --------
    The mean and the variance of normal data, in turns:

    >>> import fermiac as fm
    >>> data = [4.8, 5.3, 6.1, 4.4, 5.9]
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [
    ...         ("mean", of.NormalMean(data, "v", prior_mean=0.0, prior_variance=100.0)),
    ...         ("v", of.NormalVariance(data, "mean", shape=1.0, scale=1.0)),
    ...     ],
    ...     blocks={"mean": 0, "v": 1},
    ... )
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=1000, rng=0)
    >>> bool((s.draws[..., 1] > 0).all())
    True
    """

    _law: ClassVar[str] = "normal_variance"

    data: Quantity
    mean: Quantity
    shape: Quantity = field(kw_only=True)
    scale: Quantity = field(kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._finite("data", "mean", "shape")
        self._at_least("scale")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        n = self._n(oracles, "data", "mean")
        rest = self._of("data").minus(self._of("mean"))
        return {
            "data": rest.resolved("data", n, oracles),
            **self._resolved(dim, oracles, "shape", "scale"),
            **self._grouped(dim, oracles, n),
        }

    def _place(self, x: Array) -> Array:
        return positive_start(x)


@dataclass(frozen=True, eq=False)
class NormalMeanVariance(ConjugateBlock):
    r"""Means and variances of normal data together, under normal-inverse-gamma priors.

    Observation i of group g(i) is :math:`y_i \sim N(\theta_{g(i)} + o_i, v_{g(i)})`. The block has
    the means of all J groups and then their variances, 2 J coordinates, with the priors
    :math:`\theta_j \mid v_j \sim N(m_j, v_j / k_j)` and :math:`v_j` of density proportional to
    :math:`v^{-a-1} e^{-b/v}`.

    Parameters
    ----------
    data : quantity
        The observations y, n of them; see `NormalMean` for quantities.
    prior_mean : quantity
        The means m of the priors: one, or one for each group.
    prior_count : quantity
        The number k of observations that the prior of a mean is worth: one, or one for each group.
        0 is a flat prior.
    shape, scale : quantity
        The parameters a and b of the priors of the variances: one, or one for each group.
    offset : quantity, default 0
        The known part o of the means of the observations.
    groups : array_like of int, shape (n,), optional
        The group of each observation, counted from 0; see `NormalMean`.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a law is improper.

    References
    ----------
    .. [1] M. H. DeGroot, "Optimal Statistical Decisions", McGraw-Hill, 1970.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.conditionals.NormalMeanVariance(
    ...     [4.8, 5.3, 6.1, 4.4, 5.9], prior_mean=5.0, prior_count=1.0, shape=2.0, scale=1.0
    ... )
    >>> s = fm.mcmc.sample(None, 2, kernel=kernel, n_draws=500, rng=0)
    >>> s.draws.shape
    (4, 500, 2)
    """

    _law: ClassVar[str] = "normal_mean_variance"

    data: Quantity
    prior_mean: Quantity = field(kw_only=True)
    prior_count: Quantity = field(kw_only=True)
    shape: Quantity = field(kw_only=True)
    scale: Quantity = field(kw_only=True)
    offset: Quantity = field(default=0.0, kw_only=True)
    groups: ArrayLike | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._finite("data", "prior_mean", "shape", "offset")
        self._at_least("prior_count", "scale")

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        if dim % 2:
            raise ArgumentError(
                f"blocks: a NormalMeanVariance block of {dim} coordinates given; the means of all "
                "groups and then their variances are needed, an even number"
            )
        n = self._n(oracles, "data", "offset")
        rest = self._of("data").minus(self._of("offset"))
        return {
            "data": rest.resolved("data", n, oracles),
            **self._resolved(dim // 2, oracles, "prior_mean", "prior_count", "shape", "scale"),
            **self._grouped(dim // 2, oracles, n),
        }

    def _place(self, x: Array) -> Array:
        half = x.shape[1] // 2
        return np.hstack([x[:, :half], positive_start(x[:, half:])])


@dataclass(frozen=True, eq=False)
class RegressionCoefficients(ConjugateBlock):
    r"""Coefficients of a linear regression with given error variances, under a normal prior.

    Observation i is :math:`y_i \sim N(x_i^T \beta + o_i, v_i)`, and the block is :math:`\beta`,
    drawn together, with a normal prior. The errors' variance is a `NormalVariance` block with the
    mean ``Linear(X, "beta")``.

    Parameters
    ----------
    X : array_like of shape (n, k)
        The regressors, a column for each coordinate of the block.
    data : quantity
        The observations y, n of them; see `NormalMean` for quantities.
    variance : quantity
        The variances v of their errors: one, or n.
    prior_mean : quantity, default 0
        The means of the prior: one, or one for each coefficient.
    prior_variance : quantity, optional
        The variances of a prior of independent coefficients: one, or one for each coefficient.
        ``numpy.inf`` is a flat prior.
    prior_precision : array_like of shape (k, k), optional
        The precision matrix of a prior, symmetric and positive semidefinite. Either this or
        `prior_variance` is needed.
    offset : quantity, default 0
        The known part o of the means of the observations.

    Raises
    ------
    ArgumentError
        If a number is outside its domain. `sample` raises it for an unknown name, sizes that do not
        fit, or a law that depends on the block itself.
    TargetError
        In a run: if a variance is not above 0, or the precision is not positive definite.

    Notes
    -----
    A turn takes k³ / 3 operations, and n k more if the data or the offset depend on the state;
    variances that differ between observations and depend on the state take n k² more.

    References
    ----------
    .. [1] D. V. Lindley, A. F. M. Smith, "Bayes estimates for the linear model", Journal of the
       Royal Statistical Society B, 1972, doi:10.1111/j.2517-6161.1972.tb00885.x.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> t = np.arange(6.0)
    >>> X, y = (
    ...     np.column_stack([np.ones(6), t]),
    ...     2.0 + 0.5 * t + np.array([1, -1, 1, -1, 1, -1]),
    ... )
    >>> of = fm.mcmc.conditionals
    >>> kernel = fm.mcmc.Gibbs(
    ...     [
    ...         ("beta", of.RegressionCoefficients(X, y, "v", prior_variance=np.inf)),
    ...         ("v", of.NormalVariance(y, of.Linear(X, "beta"), shape=1.0, scale=1.0)),
    ...     ],
    ...     blocks={"beta": [0, 1], "v": 2},
    ... )
    >>> s = fm.mcmc.sample(None, 3, kernel=kernel, n_draws=1000, rng=0)
    >>> s.draws.shape
    (4, 1000, 3)
    """

    _law: ClassVar[str] = "coefficients"
    _plain: ClassVar[tuple[str, ...]] = ("X", "prior_variance", "prior_precision")

    X: ArrayLike
    data: Quantity
    variance: Quantity
    prior_mean: Quantity = field(default=0.0, kw_only=True)
    prior_variance: Quantity | None = field(default=None, kw_only=True)
    prior_precision: ArrayLike | None = field(default=None, kw_only=True)
    offset: Quantity = field(default=0.0, kw_only=True)

    def _check(self) -> None:
        matrix = np.array(numbers("X", self.X))
        if matrix.ndim == 1:
            matrix = matrix[:, None]
        if matrix.ndim != 2 or matrix.size == 0:
            raise ArgumentError(
                f"X: an array of shape {matrix.shape} given; a row for every observation, (n, k), "
                "is needed"
            )
        require("X", matrix, np.isfinite(matrix), "finite numbers are needed")
        object.__setattr__(self, "X", np.ascontiguousarray(matrix))
        self._finite("data", "prior_mean", "offset")
        self._above("variance")
        if (self.prior_variance is None) == (self.prior_precision is None):
            raise ArgumentError(
                "prior_variance: either this or prior_precision is needed; for a flat prior give "
                "prior_variance=numpy.inf"
            )
        if self.prior_variance is not None:
            variances = parsed("prior_variance", self.prior_variance)
            object.__setattr__(self, "prior_variance", variances)
            self._above("prior_variance", infinite=True)
        else:
            k = matrix.shape[1]
            precision = np.array(
                numbers("prior_precision", cast("ArrayLike", self.prior_precision))
            )
            if precision.shape != (k, k) or not np.isfinite(precision).all():
                raise ArgumentError(
                    f"prior_precision: an array of shape {precision.shape} given; finite numbers "
                    f"of shape ({k}, {k}) are needed"
                )
            if not np.allclose(precision, precision.T, rtol=1e-10):
                raise ArgumentError("prior_precision: it must be symmetric; give (m + m.T) / 2")
            object.__setattr__(self, "prior_precision", np.ascontiguousarray(precision))

    def _options(self, dim: int, oracles: Oracles) -> dict[str, Any]:
        matrix = np.asarray(self.X)
        if matrix.shape[1] != dim:
            raise ArgumentError(
                f"X: {matrix.shape[1]} columns given for a block of {dim} coordinates; a column "
                "for each is needed"
            )
        n = len(matrix)
        rest = self._of("data").minus(self._of("offset"))
        options: dict[str, Any] = {
            "matrix": matrix,
            "data": rest.resolved("data", n, oracles),
            **self._resolved(n, oracles, "variance"),
            **self._resolved(dim, oracles, "prior_mean"),
            "precision": self.prior_precision,
        }
        if self.prior_variance is not None:
            options |= self._resolved(dim, oracles, "prior_variance")
        return options


for _kind in (NormalMean, NormalMeanVariance, NormalVariance, RegressionCoefficients):
    public_class(_kind)
