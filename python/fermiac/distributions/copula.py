"""Dependent coordinates with any univariate laws, by a Gaussian copula."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import real_numbers, shown
from fermiac.distributions.compound import listed_laws, moments
from fermiac.distributions.law import Array, BuiltInLaw, Law, points, unit_points
from fermiac.distributions.univariate import UnivariateLaw
from fermiac.errors import ArgumentError


class GaussianCopula(BuiltInLaw):
    r"""Dependent coordinates, each with its own law, by the normal scores of a correlation matrix.

    It is the law of the vector with coordinates :math:`F_j^{-1}(\Phi(z_j))`, where z is normal with
    mean 0 and this correlation matrix, and :math:`F_j` is the distribution function of coordinate j
    [1]_.

    Parameters
    ----------
    laws : iterable of univariate laws
        The laws of the coordinates, from this package or from scipy.stats if this package has the
        same law. A law of d independent coordinates stands for d laws.
    correlation : array_like of shape (d, d)
        The correlations of the normal scores: symmetric, positive definite, 1 on the diagonal. They
        are not the correlations of the coordinates. The rank correlations of the coordinates are
        ``6 / pi * arcsin(correlation / 2)``.

    Raises
    ------
    ArgumentError
        If a law is not univariate, or the matrix is not a correlation matrix.

    References
    ----------
    .. [1] P. X.-K. Song, "Multivariate dispersion models generated from Gaussian copula",
       Scandinavian Journal of Statistics 27 (2000), doi:10.1111/1467-9469.00191.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = fm.distributions
    >>> law = d.GaussianCopula([d.Gamma(2.0), d.Beta(1.0, 3.0)], [[1.0, 0.7], [0.7, 1.0]])
    >>> law.mean
    array([2.  , 0.25])
    >>> law.sample(4, rng=0).shape
    (4, 2)
    """

    def __init__(self, laws: Iterable[Any], correlation: ArrayLike) -> None:
        parts = listed_laws(laws)
        univariate = [law for law in parts if isinstance(law, UnivariateLaw)]
        if len(univariate) < len(parts):
            other = next(law for law in parts if not isinstance(law, UnivariateLaw))
            raise ArgumentError(
                f"laws: {shown(other)} was given; univariate laws of fermiac.distributions are "
                "needed"
            )
        matrix = real_numbers("correlation", correlation)
        dim = sum(law.dim for law in parts)
        if matrix.shape != (dim, dim):
            raise ArgumentError(
                f"correlation: shape {matrix.shape} was given for {dim} "
                f"coordinate{'s' if dim > 1 else ''}; ({dim}, {dim}) is needed"
            )
        marginals = [marginal for law in univariate for marginal in law._marginals]
        handle = _core.Law.gaussian_copula(marginals, matrix)
        self._freeze(dim, handle, laws=parts, correlation=matrix)

    @property
    def laws(self) -> tuple[Law, ...]:
        """The laws of the coordinates."""
        return tuple(self._values["laws"])

    @property
    def correlation(self) -> Array:
        """The correlations of the normal scores, shape (d, d)."""
        return np.array(self._values["correlation"])

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube: normal quantiles z, then L z, then each law's quantiles.

        L is the Cholesky factor of the correlation matrix.

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
        """The means of the coordinates, shape (d,)."""
        return moments(self.laws, "mean")

    @property
    def variance(self) -> Array:
        """The variances of the coordinates, shape (d,)."""
        return moments(self.laws, "variance")
