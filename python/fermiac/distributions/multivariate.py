"""The multivariate normal and t laws."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import real_numbers
from fermiac.distributions.law import Array, BuiltInLaw, points, unit_points
from fermiac.distributions.univariate import t_variance
from fermiac.errors import ArgumentError


def _centre_and_matrix(names: tuple[str, str], *values: ArrayLike) -> tuple[Array, Array]:
    centre = real_numbers(names[0], values[0])
    matrix = real_numbers(names[1], values[1])
    centre = centre.reshape(1) if centre.ndim == 0 else centre
    matrix = matrix.reshape(1, 1) if matrix.ndim == 0 else matrix
    if centre.ndim != 1 or matrix.shape != (centre.size, centre.size):
        raise ArgumentError(
            f"{names[1]}: shape {matrix.shape} was given for {names[0]} of shape {centre.shape}; "
            f"(d,) and (d, d) are needed"
        )
    return centre, matrix


class MultivariateNormal(BuiltInLaw):
    """The multivariate normal law.

    Parameters
    ----------
    mean : array_like of shape (d,)
    cov : array_like of shape (d, d)
        Covariance: symmetric and positive definite.

    Raises
    ------
    ArgumentError
        If the shapes do not fit or the covariance is not positive definite (the message names the
        pivot that fails).

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.MultivariateNormal([0.0, 1.0], [[1.0, 0.5], [0.5, 2.0]])
    >>> law.from_unit([[0.5, 0.5]])
    array([[0., 1.]])
    """

    def __init__(self, mean: ArrayLike, cov: ArrayLike) -> None:
        centre, matrix = _centre_and_matrix(("mean", "cov"), mean, cov)
        handle = _core.Law.multivariate_normal(centre, matrix)
        self._freeze(centre.size, handle, mean=centre, cov=matrix)

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube to mean + L z, with normal quantiles z of the coordinates.

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
            If the shape is another, or a number is not in [0, 1].
        """
        rows, shape = points(unit_points("u", u), self.dim)
        assert self._handle is not None
        return self._handle.from_unit(rows).reshape((*shape, self.dim))

    @property
    def mean(self) -> Array:
        """The mean, shape (d,)."""
        return np.array(self._values["mean"])

    @property
    def cov(self) -> Array:
        """The covariance, shape (d, d)."""
        return np.array(self._values["cov"])

    @property
    def variance(self) -> Array:
        """The variances of the coordinates, shape (d,)."""
        return np.diag(self._values["cov"]).copy()


class MultivariateT(BuiltInLaw):
    """The multivariate t law.

    Parameters
    ----------
    df : float
        Degrees of freedom, above 0.
    loc : array_like of shape (d,)
        Centre.
    scale : array_like of shape (d, d)
        Scale matrix, symmetric and positive definite; the covariance is ``df / (df - 2)`` times
        it.

    Raises
    ------
    ArgumentError
        If ``df`` is outside its domain, the shapes do not fit or the matrix is not positive
        definite.

    References
    ----------
    S. Kotz and S. Nadarajah, "Multivariate t Distributions and Their Applications", 2004,
    doi:10.1017/CBO9780511550683.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.MultivariateT(4.0, [0.0, 1.0], [[1.0, 0.0], [0.0, 2.0]]).variance
    array([2., 4.])
    """

    def __init__(self, df: float, loc: ArrayLike, scale: ArrayLike) -> None:
        freedom = real_numbers("df", df)
        if freedom.ndim != 0:
            raise ArgumentError(
                f"df: an array of shape {freedom.shape} was given; one number is needed"
            )
        centre, matrix = _centre_and_matrix(("loc", "scale"), loc, scale)
        handle = _core.Law.multivariate_t(float(freedom), centre, matrix)
        self._freeze(centre.size, handle, df=float(freedom), loc=centre, scale=matrix)

    @property
    def mean(self) -> Array:
        """The mean, shape (d,); NaN where it does not exist (``df`` <= 1)."""
        return (
            np.array(self._values["loc"]) if self._values["df"] > 1.0 else np.full(self.dim, np.nan)
        )

    @property
    def variance(self) -> Array:
        """The variances, shape (d,): infinite for 1 < ``df`` <= 2, NaN for ``df`` <= 1."""
        df = np.asarray(self._values["df"])
        return t_variance(df, np.diag(self._values["scale"]))
