"""Laws of constrained vectors: the Dirichlet law, and that of correlation matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import positive, real_numbers, whole
from fermiac.distributions.law import Array, BuiltInLaw, Measure, points, unit_points
from fermiac.errors import ArgumentError

#: The largest correlation matrices: one point has half a million coordinates.
_LARGEST = 1000


class Dirichlet(BuiltInLaw):
    r"""The Dirichlet law on positive numbers with sum 1.

    .. math:: p(x) = \frac{\Gamma(\sum_j a_j)}{\prod_j \Gamma(a_j)} \prod_j x_j^{a_j - 1}

    Parameters
    ----------
    concentration : array_like of shape (k,)
        The parameters :math:`a_j`: two or more numbers above 0. If all are 1, the law is uniform.

    Raises
    ------
    ArgumentError
        If there are fewer than two parameters, or one is outside its domain.

    Notes
    -----
    A point has all k coordinates. The density is with respect to the first k - 1 of them. It is 0
    if the sum differs from 1 by more than 1e-6, a tolerance that admits points in single precision.
    Markov chains need ``transforms=fermiac.targets.transforms.simplex(k)``.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Dirichlet([1.0, 2.0, 3.0])
    >>> law.mean
    array([0.16666667, 0.33333333, 0.5       ])
    >>> round(law.log_density([0.2, 0.3, 0.5]), 6)
    np.float64(1.504077)
    """

    def __init__(self, concentration: ArrayLike) -> None:
        values = real_numbers("concentration", concentration)
        if values.ndim != 1:
            raise ArgumentError(
                f"concentration: an array of shape {values.shape} was given; two or more numbers, "
                "shape (k,), are needed"
            )
        handle = _core.Law.dirichlet(values.tolist())
        self._freeze(values.size, handle, concentration=values)

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube by stick breaking.

        Coordinate j takes a share of the remainder after the coordinates before it; the share is
        the quantile of a beta law. The last coordinate takes the rest.

        Parameters
        ----------
        u : array_like of shape (n, k)
            Numbers in [0, 1]; the last one of a row is not used.

        Returns
        -------
        ndarray of shape (n, k)

        Raises
        ------
        ArgumentError
            If the shape is wrong, or a number is not in [0, 1].
        """
        return _mapped(self, u)

    def _measure(self) -> Measure:
        return "surface"

    @property
    def mean(self) -> Array:
        """The mean, shape (k,)."""
        a: Array = self._values["concentration"]
        return np.asarray(a / a.sum())

    @property
    def variance(self) -> Array:
        """The variances of the coordinates, shape (k,)."""
        mean = self.mean
        return np.asarray(mean * (1.0 - mean) / (self._values["concentration"].sum() + 1.0))


class LKJ(BuiltInLaw):
    r"""The Lewandowski-Kurowicka-Joe law of correlation matrices, by Cholesky factors.

    The density of the correlation matrix R is proportional to :math:`\det(R)^{\eta - 1}` [1]_. A
    point holds the entries below the diagonal of the Cholesky factor L, :math:`R = L L^T`, row by
    row. They determine L, since its rows have length 1.

    Parameters
    ----------
    size : int
        The rows of the correlation matrix, 2 to 1000. A point has ``size * (size - 1) / 2``
        coordinates.
    eta : float, default 1
        Above 0. With 1 the law of R is uniform; larger numbers favour small correlations.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Notes
    -----
    The density is with respect to the coordinates of a point. Markov chains need
    ``transforms=fermiac.targets.transforms.cholesky_corr(size)``.

    References
    ----------
    .. [1] D. Lewandowski, D. Kurowicka and H. Joe, "Generating random correlation matrices based on
       vines and extended onion method", Journal of Multivariate Analysis 100 (2009),
       doi:10.1016/j.jmva.2009.04.008.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.LKJ(3, eta=2.0)
    >>> law.cholesky([0.6, 0.0, 0.8]).round(12)
    array([[1. , 0. , 0. ],
           [0.6, 0.8, 0. ],
           [0. , 0.8, 0.6]])
    >>> law.correlation(law.sample(5, rng=0)).shape
    (5, 3, 3)
    """

    def __init__(self, size: int, eta: float = 1.0) -> None:
        rows, power = whole("size", size, 2, _LARGEST), positive("eta", eta)
        self._freeze(rows * (rows - 1) // 2, _core.Law.lkj(rows, power), size=rows, eta=power)

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube: each number to a partial correlation, by its quantile.

        Parameters
        ----------
        u : array_like of shape (n, d)
            Numbers in [0, 1].

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If the shape is wrong, or a number is not in [0, 1].
        """
        return _mapped(self, u)

    def cholesky(self, x: ArrayLike) -> Array:
        """Return points as Cholesky factors.

        Parameters
        ----------
        x : array_like of shape (..., d)

        Returns
        -------
        ndarray of shape (..., size, size)
            Lower triangular, with rows of length 1. The diagonal is NaN for a point outside the
            support.

        Raises
        ------
        ArgumentError
            If the last axis does not have the law's dimension.
        """
        rows, shape = points(x, self.dim)
        size: int = self._values["size"]
        factor = np.zeros((len(rows), size, size))
        below, beside = np.tril_indices(size, -1)
        factor[:, below, beside] = rows
        left = 1.0 - (factor**2).sum(axis=2)
        with np.errstate(invalid="ignore"):
            factor[:, np.arange(size), np.arange(size)] = np.sqrt(left)
        return factor.reshape((*shape, size, size))

    def correlation(self, x: ArrayLike) -> Array:
        """Return points as correlation matrices.

        Parameters
        ----------
        x : array_like of shape (..., d)

        Returns
        -------
        ndarray of shape (..., size, size)

        Raises
        ------
        ArgumentError
            If the last axis does not have the law's dimension.
        """
        factor = self.cholesky(x)
        return np.asarray(factor @ np.swapaxes(factor, -1, -2))

    @property
    def mean(self) -> Array:
        """The mean, shape (d,): zeros."""
        return np.zeros(self.dim)

    @property
    def variance(self) -> Array:
        """The variances of the coordinates, shape (d,)."""
        return np.full(self.dim, 1.0 / (2.0 * self._values["eta"] + self._values["size"] - 1.0))


def _mapped(law: BuiltInLaw, u: ArrayLike) -> Array:
    rows, shape = points(unit_points("u", u), law.dim)
    assert law._handle is not None
    return law._handle.from_unit(rows).reshape((*shape, law.dim))
