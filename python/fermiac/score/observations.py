"""Observations of data: linear ones with normal noise, and others given by their likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from fermiac._base.ask import ask
from fermiac._base.validate import numbers, positive, shown
from fermiac.errors import ArgumentError, NumericalError
from fermiac.score.class_gradients import checked_rows
from fermiac.score.exact import Gaussian, GaussianMixture
from fermiac.score.model import Model
from fermiac.score.rewards import checked

__all__ = ["Linear", "Measured", "Observation", "parts_of"]

Array = NDArray[np.float64]


class Observation:
    """Base class of the observations.

    References
    ----------
    .. [1] B. Kawar, M. Elad, S. Ermon, J. Song, "Denoising diffusion restoration models", 2022,
       arXiv:2201.11793.

    Examples
    --------
    >>> import fermiac as fm
    >>> isinstance(fm.score.Linear([[1.0]], noise=0.1), fm.score.Observation)
    True
    """

    def _require(self, dim: int) -> None:
        """Refuse points of another number of coordinates."""

    def _observed(self, y: Any) -> Any:
        """Return the checked observed numbers."""
        raise NotImplementedError

    def _log_likelihood(self, x: Array, observed: Any) -> Array:
        raise NotImplementedError

    def _residuals(self, x: Array, observed: Any) -> Array:
        """Return observed numbers minus predictions of points, (n, m); no columns if unknown."""
        return np.empty((len(x), 0))


class Linear(Observation):
    r"""A linear observation with normal noise, :math:`A x + \sigma\varepsilon`.

    Parameters
    ----------
    matrix : array_like of shape (m, d) or (d,), or scipy.sparse.linalg.LinearOperator
        The matrix A; an operator is converted to a matrix. A boolean mask, in the shape of a point,
        observes the coordinates where it is True.
    noise : float
        The standard deviation σ of the noise.

    Attributes
    ----------
    matrix : ndarray, shape (m, d)
    noise : float
    dim : int
        Coordinates of a point.

    Raises
    ------
    ArgumentError
        If `matrix` is not a matrix, a number is not finite, the noise is not positive, or a mask
        observes nothing.

    References
    ----------
    .. [1] B. Kawar, M. Elad, S. Ermon, J. Song, "Denoising diffusion restoration models", 2022,
       arXiv:2201.11793.

    Examples
    --------
    >>> import fermiac as fm
    >>> o = fm.score.Linear([[1.0, 0.5]], noise=0.3)
    >>> o.predict([[1.0, 2.0]])
    array([[2.]])
    >>> fm.score.Linear([True, False, True], noise=0.1).matrix
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """

    def __init__(self, matrix: Any, noise: float) -> None:
        self.mask: NDArray[np.int64] | None = None
        if isinstance(matrix, LinearOperator):
            dense = np.asarray(matrix @ np.eye(matrix.shape[1]))
        elif (flags := _as_mask(matrix)) is not None:
            self.mask = np.flatnonzero(flags)
            if not self.mask.size:
                raise ArgumentError("matrix: a mask without any True was given; observe something")
            dense = np.eye(flags.size)[self.mask]
        else:
            dense = numbers("matrix", matrix)
        if dense.ndim != 2 or 0 in dense.shape:
            raise ArgumentError(
                f"matrix: shape {dense.shape} was given; (m, d) is needed, or a mask of booleans"
            )
        if not np.isfinite(dense).all():
            raise ArgumentError("matrix: infinity was given; finite numbers are needed")
        self.matrix: Array = np.ascontiguousarray(dense, dtype=np.float64)
        self.matrix.flags.writeable = False
        self.noise = positive("noise", noise)
        self.dim = int(self.matrix.shape[1])

    def __repr__(self) -> str:
        return f"Linear({len(self.matrix)} of {self.dim} coordinates, noise={self.noise:g})"

    def predict(self, x: ArrayLike) -> Array:
        """Return A x for points (n, d)."""
        points = numbers("x", x)
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise ArgumentError(f"x: shape {points.shape} was given; (n, {self.dim}) is needed")
        return np.asarray(points @ self.matrix.T)

    def posterior_of(
        self, model: GaussianMixture | Gaussian, y: ArrayLike
    ) -> tuple[GaussianMixture, float]:
        """Return the exact posterior of a mixture, and the log-density of the observation.

        Parameters
        ----------
        model : GaussianMixture or Gaussian
            The law before the observation.
        y : array_like, shape (m,)
            What was observed.

        Returns
        -------
        GaussianMixture
            The law given the observation.
        float
            The log evidence.

        Raises
        ------
        ArgumentError
            If the model is not a mixture, or a shape does not fit.
        NumericalError
            If the observed numbers have a singular covariance, as with too little noise.

        Examples
        --------
        >>> import fermiac as fm
        >>> o = fm.score.Linear([[1.0]], noise=1.0)
        >>> law, log_evidence = o.posterior_of(fm.score.Gaussian([0.0], 1.0), [2.0])
        >>> law.means.tolist(), law.covariances.tolist(), round(log_evidence, 4)
        ([[1.0]], [[[0.5]]], -2.2655)
        """
        weights, means, covariances = parts_of(model)
        self._require(means.shape[1])
        observed = self._observed(y)
        a, m = self.matrix, len(self.matrix)
        away = observed - means @ a.T
        cross = covariances @ a.T
        inner = a @ cross + self.noise**2 * np.eye(m)
        try:
            gain = np.linalg.solve(inner, cross.transpose(0, 2, 1)).transpose(0, 2, 1)
        except np.linalg.LinAlgError as error:
            raise NumericalError(
                "observation: the covariance of the observed numbers is singular in double "
                f"precision; the noise {self.noise:g} is too small"
            ) from error
        moved = means + np.einsum("kdm,km->kd", gain, away)
        left = covariances - gain @ cross.transpose(0, 2, 1)
        left = 0.5 * (left + left.transpose(0, 2, 1))
        squares = np.einsum("km,km->k", away, np.linalg.solve(inner, away[..., None])[..., 0])
        with np.errstate(divide="ignore"):
            log_shares = np.log(weights) - 0.5 * (squares + np.linalg.slogdet(2 * np.pi * inner)[1])
        total = float(np.logaddexp.reduce(log_shares))
        return GaussianMixture(np.exp(log_shares - total), moved, left), total

    # The singular values give all inverses: A = U diag(S) Vᵀ.

    @cached_property
    def _singular(self) -> tuple[Array, Array, Array]:
        u, s, vt = np.linalg.svd(self.matrix, full_matrices=False)
        return u, s, vt

    def _require(self, dim: int) -> None:
        if dim != self.dim:
            raise ArgumentError(
                f"observation: its matrix has {self.dim} columns; the model has {dim} coordinates"
            )

    def _observed(self, y: Any) -> Array:
        observed = numbers("y", y).reshape(-1)
        m = len(self.matrix)
        if observed.size == self.dim and self.mask is not None and m < self.dim:
            observed = observed[self.mask]
        if observed.shape != (m,):
            raise ArgumentError(f"y: {observed.size} numbers were given; {m} were observed")
        if not np.isfinite(observed).all():
            raise ArgumentError("y: infinity was given; finite numbers are needed")
        return observed

    def _residuals(self, x: Array, observed: Array) -> Array:
        return np.asarray(observed - x @ self.matrix.T)

    def _solved(self, residuals: Array, variance: float) -> Array:
        """Return (variance A Aᵀ + σ²)⁻¹ r for rows r, (n, m)."""
        u, s, _ = self._singular
        inside = residuals @ u
        scaled = inside * (1 / (variance * s**2 + self.noise**2) - 1 / self.noise**2)
        return np.asarray(residuals / self.noise**2 + scaled @ u.T)

    def _log_normal(self, residuals: Array, variance: float) -> Array:
        """Return the log-density of residuals under N(0, variance A Aᵀ + σ²)."""
        s, m = self._singular[1], residuals.shape[1]
        log_det = np.log(variance * s**2 + self.noise**2).sum()
        log_det += (m - s.size) * math.log(self.noise**2)
        squares = (residuals * self._solved(residuals, variance)).sum(axis=1)
        return np.asarray(-0.5 * (squares + log_det + m * math.log(2 * math.pi)))

    def _log_likelihood(self, x: Array, observed: Array) -> Array:
        return self._log_normal(self._residuals(x, observed), 0.0)

    def _drawn(self, x: Array, observed: Array, variance: float, z: Array) -> Array:
        """Return draws of N(x, variance I) given the observation, from normal numbers z."""
        _, s, vt = self._singular
        shrink = self.noise / np.sqrt(variance * s**2 + self.noise**2) - 1.0
        noise = z + ((z @ vt.T) * shrink) @ vt
        pull = self._solved(self._residuals(x, observed), variance)
        return np.asarray(x + variance * pull @ self.matrix + math.sqrt(variance) * noise)


class Measured(Observation):
    """Any observation, given by its likelihood.

    Parameters
    ----------
    forward : callable
        A function from points x (n, d) to their predictions.
    log_likelihood : callable
        A function of predictions and observed data that returns (n,) log-likelihoods, below
        infinity.
    gradient : callable, optional
        A function of x and the observed data that returns the gradient of the log-likelihood by x,
        (n, d).

    Raises
    ------
    ArgumentError
        If an argument is not a function.

    References
    ----------
    .. [1] B. Zhang, W. Chu, J. Berner, C. Meng, A. Anandkumar, Y. Song, "Improving diffusion
       inverse problem solving with decoupled noise annealing", 2024, arXiv:2407.01521.

    Examples
    --------
    >>> import fermiac as fm
    >>> o = fm.score.Measured(
    ...     lambda x: (x**2).sum(axis=1), lambda f, y: -0.5 * ((f - y) / 0.5) ** 2
    ... )
    >>> s = fm.score.posterior(
    ...     fm.score.Gaussian([0.0, 0.0], 1.0), o, 1.0, 4000, method="particles", rng=0
    ... )
    >>> e = s.expect(lambda x: (x**2).sum(axis=1))
    >>> bool(abs(e.mean - 0.920) < 5 * e.stderr)
    True
    """

    def __init__(
        self,
        forward: Callable[[Array], Any],
        log_likelihood: Callable[[Any, Any], ArrayLike],
        gradient: Callable[[Array, Any], ArrayLike] | None = None,
    ) -> None:
        for name, given in (("forward", forward), ("log_likelihood", log_likelihood)):
            if not callable(given):
                raise ArgumentError(f"{name}: {shown(given)} was given; a function is needed")
        if gradient is not None and not callable(gradient):
            raise ArgumentError(f"gradient: {shown(gradient)} was given; a function is needed")
        self._forward, self._value, self._slope = forward, log_likelihood, gradient

    def __repr__(self) -> str:
        return f"Measured({getattr(self._forward, '__name__', 'function')})"

    @property
    def has_gradient(self) -> bool:
        """Whether the gradient of the log-likelihood is known."""
        return self._slope is not None

    def _observed(self, y: Any) -> Any:
        return y

    def _log_likelihood(self, x: Array, observed: Any) -> Array:
        predicted = ask(self._forward, (x,), "forward")
        got = ask(self._value, (predicted, observed), "log_likelihood", f"for {len(x)} points")
        return checked("log_likelihood", got, len(x), minus_infinity=True)

    def _gradient(self, x: Array, observed: Any) -> Array:
        if self._slope is None:
            raise ArgumentError(
                "observation: it has no gradient; give Measured(..., gradient=...), or take "
                "method='particles'"
            )
        return checked_rows("gradient", ask(self._slope, (x, observed), "gradient"), x.shape)


def _as_mask(given: Any) -> NDArray[np.bool_] | None:
    """Return a boolean mask as a row; None for anything else."""
    try:
        array = np.asarray(given)
    except ValueError:
        return None
    return array.reshape(-1) if array.dtype == bool else None


def parts_of(model: Model) -> tuple[Array, Array, Array]:
    """Return the weights, means and covariance matrices of a mixture."""
    if isinstance(model, Gaussian):
        weights, means, given = np.ones(1), model.mean[None], np.asarray(model.covariance)[None]
        given = given[0] if given.ndim == 1 else given
    elif isinstance(model, GaussianMixture):
        weights, means, given = model.weights, model.means, np.asarray(model.covariances)
    else:
        raise ArgumentError(
            f"model: a {type(model).__name__} was given; a GaussianMixture or Gaussian is needed"
        )
    k, d = means.shape
    if given.ndim == 3:
        return weights, means, given
    if given.ndim == 2:
        return weights, means, given[:, :, None] * np.eye(d)
    return weights, means, np.broadcast_to(given, (k,))[:, None, None] * np.eye(d)
