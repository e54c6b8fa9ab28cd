"""Exact score models: mixtures of normal laws, one normal law, data points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import get_num_threads
from fermiac._base.tensors import like
from fermiac._base.validate import RngLike, key_of, numbers, whole
from fermiac.errors import ArgumentError
from fermiac.score.model import Model
from fermiac.targets.builtin import Built

__all__ = ["Empirical", "Gaussian", "GaussianMixture"]

Array = NDArray[np.float64]

#: The least work, in rows times components times coordinates, for more than one thread.
_SMALL = 1 << 17
#: The most numbers of derivatives at a time.
_MATRICES = 1 << 22


class _Exact(Built, Model):
    """Base class of the exact models: a mixture that runs in Rust."""

    dim: int
    _n_components: int
    _mixture: _core.GaussianMixture
    _handle: _core.ScoreModel
    _range: tuple[float, float]
    _diameter: float

    def _set_mixture(
        self, weights: Array, means: Array, covariances: Array, kind: str, /, **arguments: Array
    ) -> None:
        mixture = _core.GaussianMixture(weights, means, covariances.reshape(-1), kind)
        count, dim = means.shape
        self._freeze(
            type(self),
            arguments,
            dim=dim,
            _n_components=count,
            _mixture=mixture,
            _handle=mixture.model(),
            _range=_default_range(weights, means, covariances, kind),
            _diameter=_diameter(weights, means),
        )

    def _threads(self, n: int, more: int = 1) -> int:
        work = n * self._n_components * self.dim * more
        return 1 if work < _SMALL else get_num_threads()

    def _core(self, dim: int) -> Any:
        return self._handle

    def _sampling_range(self) -> tuple[float, float]:
        return self._range

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return self._handle.denoise(y, sigma, self._threads(len(y)))

    def _score(self, y: Array, sigma: Array) -> Array:
        return self._handle.score(y, sigma, self._threads(len(y)))

    @property
    def has_log_density(self) -> bool:
        """Whether `log_density` can be called: True."""
        return True

    def _log_density(self, y: Array, sigma: Array) -> Array:
        return self._handle.log_density(y, sigma, self._threads(len(y))).reshape(-1)

    @property
    def has_trace(self) -> bool:
        """Whether the model provides the trace of its derivative: True."""
        return True

    def _with_trace(self, y: Array, sigma: Array) -> tuple[Array, Array]:
        both = self._handle.denoise_with_trace(y, sigma, self._threads(len(y)))
        return np.ascontiguousarray(both[:, :-1]), both[:, -1].copy()

    @property
    def has_vjp(self) -> bool:
        """Whether the model provides the products of its derivative with vectors: True."""
        return True

    def _vjp(self, y: Array, sigma: Array, vectors: Array) -> Array:
        d = self.dim
        made = np.empty_like(y)
        # The matrices of some rows at a time.
        size = max(1, _MATRICES // (d * d))
        for at in range(0, len(y), size):
            rows = slice(at, at + size)
            levels = sigma if sigma.size == 1 else sigma[rows]
            part = np.ascontiguousarray(y[rows])
            flat = self._mixture.jacobian(part, levels, self._threads(len(part), d))
            matrices = flat.reshape(len(part), d, d)
            made[rows] = (matrices @ vectors[rows][..., None])[..., 0]
        return made

    def level_log_density(self, y: Any, levels: ArrayLike) -> Any:
        """Return the log-density of every point at every level.

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d)
            Noisy points.
        levels : array_like, shape (L,)
            Noise levels. Terms that depend only on the points are computed once for all levels.

        Returns
        -------
        ndarray or torch.Tensor, shape (n, L)

        Raises
        ------
        ArgumentError
            As for `denoise`.
        NumericalError
            If a level is 0 and the law of the data has no density.

        Examples
        --------
        >>> import fermiac as fm
        >>> model = fm.score.Gaussian([0.0], 1.0)
        >>> model.level_log_density([[0.0], [3.0]], [0.0, 2.0]).round(4)
        array([[-0.9189, -1.7237],
               [-5.4189, -2.6237]])
        """
        given = numbers("levels", levels)
        if given.ndim != 1:
            raise ArgumentError(f"levels: shape {given.shape} was given; (L,) is needed")
        points, _ = self._asked(y, 0.0)
        wanted = self._levels(given, len(given))
        threads = self._threads(len(points), max(1, len(wanted) // 2))
        return like(y, self._handle.level_log_densities(points, wanted, threads))

    def responsibilities(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the probabilities of the components, given noisy points.

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d)
            Noisy points.
        sigma : float or array_like, shape (n,)
            The noise levels of the points.

        Returns
        -------
        ndarray or torch.Tensor, shape (n, k)
            Each row sums to 1. At level 0 the probabilities are the limit of vanishing noise.

        Raises
        ------
        ArgumentError
            As for `denoise`.

        Examples
        --------
        >>> import fermiac as fm
        >>> model = fm.score.Empirical([[-1.0], [1.0]])
        >>> model.responsibilities([[0.0], [0.5]], 1.0).round(4)
        array([[0.5   , 0.5   ],
               [0.2689, 0.7311]])
        """
        points, levels = self._asked(y, sigma)
        threads = self._threads(len(points))
        return like(y, self._mixture.responsibilities(points, levels, threads))

    def jacobian(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the derivatives ∂D/∂y of the denoised points by the noisy ones.

        They are the posterior covariances divided by s².

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d)
            Noisy points.
        sigma : float or array_like, shape (n,)
            The noise levels of the points.

        Returns
        -------
        ndarray or torch.Tensor, shape (n, d, d)
            Symmetric matrices. At level 0 they are the limit of vanishing noise.

        Raises
        ------
        ArgumentError
            As for `denoise`.

        Examples
        --------
        >>> import fermiac as fm
        >>> fm.score.Gaussian([0.0, 0.0], [1.0, 3.0]).jacobian([[0.3, -0.2]], 1.0)
        array([[[0.5 , 0.  ],
                [0.  , 0.75]]])
        """
        points, levels = self._asked(y, sigma)
        flat = self._mixture.jacobian(points, levels, self._threads(len(points), self.dim))
        return like(y, flat.reshape(len(points), self.dim, self.dim))

    def sample(self, n: int, sigma: ArrayLike = 0.0, rng: RngLike = None) -> Array:
        """Draw noisy points, or data at level 0.

        Parameters
        ----------
        n : int
            The number of draws.
        sigma : float or array_like, shape (n,), default 0
            Noise levels.
        rng : int, SeedSequence, Generator or None
            The seed; see `fermiac.random.key_of`.

        Returns
        -------
        ndarray, shape (n, d)
            Draw i depends only on the key and on i.

        Raises
        ------
        ArgumentError
            If `n` or a level is negative, or a shape does not fit.
        MemoryError
            If the draws do not fit into memory.

        Examples
        --------
        >>> import fermiac as fm
        >>> model = fm.score.Empirical([[-1.0], [1.0]])
        >>> model.sample(5, rng=1)
        array([[ 1.],
               [-1.],
               [ 1.],
               [ 1.],
               [-1.]])
        """
        count = whole("n", n, 0, 2**40)
        levels = self._levels(sigma, count)
        # NumPy raises a MemoryError; the core could only abort.
        np.empty((count, self.dim))
        # The cost of a draw does not depend on the number of components.
        threads = 1 if count * self.dim < _SMALL else get_num_threads()
        return self._mixture.sample(count, levels, key_of(rng), threads)


class GaussianMixture(_Exact):
    r"""The exact score model of a mixture of normal laws.

    With noise of level s the law of the data :math:`\sum_k w_k N(\mu_k, \Sigma_k)` becomes
    :math:`p_s = \sum_k w_k N(\mu_k, \Sigma_k + s^2 I)`. Its log-density, score and denoiser

    .. math::
        D(y, s) = \sum_k r_k(y) \left(\mu_k + \Sigma_k (\Sigma_k + s^2 I)^{-1} (y - \mu_k)\right),

    where :math:`r_k` are the posterior weights, are known exactly, and so is the derivative of D.

    Parameters
    ----------
    weights : array_like, shape (k,)
        Nonnegative weights of the components; they are divided by their sum.
    means : array_like, shape (k, d)
    covariances : array_like, shape (k, d, d), (k, d), (k,) or ()
        Covariance matrices; variances of the coordinates; a variance for all coordinates; or one
        variance for all components. Covariances may be singular, even 0.

    Attributes
    ----------
    weights : ndarray, shape (k,)
        The weights, which add up to 1.
    means : ndarray, shape (k, d)
    covariances : ndarray
        As given.
    dim : int
        Coordinates of a point.

    Raises
    ------
    ArgumentError
        If a shape does not fit, a weight is negative or all are 0, a number is not finite, a
        matrix is not symmetric or has an eigenvalue below -1e-12 times its largest.

    Notes
    -----
    Matrices are decomposed once, V Λ Vᵀ. A point then costs :math:`O(k d^2)`, or :math:`O(k d)` if
    no component has a full matrix. Values never depend on the batch or on the number of threads. At
    level 0, D is y, or the nearest point of the support for points off a singular law.

    References
    ----------
    B. Efron, "Tweedie's formula and selection bias", Journal of the American Statistical
    Association 106, 2011, doi:10.1198/jasa.2011.tm11181.

    Examples
    --------
    >>> import fermiac as fm
    >>> model = fm.score.GaussianMixture([1, 3], [[-2.0, 0.0], [2.0, 0.0]], 0.25)
    >>> model
    GaussianMixture(k=2, dim=2, isotropic)
    >>> model.denoise([[2.0, 0.5]], 0.5).round(6)
    array([[2.  , 0.25]])
    >>> model.log_density([[2.0, 0.5]], 0.5).round(6)
    array([-1.682412])
    """

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> None:
        w, m, c = (
            _array("weights", weights),
            _array("means", means),
            _array("covariances", covariances),
        )
        if m.ndim != 2 or 0 in m.shape:
            raise ArgumentError(f"means: shape {m.shape} was given; (k, d) is needed")
        k, d = m.shape
        if w.shape != (k,):
            raise ArgumentError(
                f"weights: shape {w.shape} was given; ({k},), one for each mean, is needed"
            )
        kinds = {(): "isotropic", (k,): "isotropic", (k, d): "diagonal", (k, d, d): "full"}
        if c.shape not in kinds:
            raise ArgumentError(
                f"covariances: shape {c.shape} was given; ({k}, {d}, {d}), ({k}, {d}), ({k},) or "
                "one number is needed"
            )
        self._set_mixture(w, m, c, kinds[c.shape], weights=w, means=m, covariances=c)

    def __repr__(self) -> str:
        kind = ("isotropic", "isotropic", "diagonal", "full")[self.covariances.ndim]
        return f"GaussianMixture(k={len(self.means)}, dim={self.dim}, {kind})"

    @property
    def weights(self) -> Array:
        """The weights, shape (k,); they add up to 1."""
        return _shares(self._arguments["weights"])

    @property
    def means(self) -> Array:
        """The means, shape (k, d), read-only."""
        means: Array = self._arguments["means"]
        return means

    @property
    def covariances(self) -> Array:
        """The covariances as given, read-only."""
        covariances: Array = self._arguments["covariances"]
        return covariances


class Gaussian(_Exact):
    """The exact score model of a normal law.

    Parameters
    ----------
    mean : array_like, shape (d,)
    covariance : array_like, shape (d, d), (d,) or ()
        The covariance; variances of the coordinates; or one variance. It may be singular.

    Attributes
    ----------
    mean : ndarray, shape (d,)
    covariance : ndarray
        As given.
    dim : int
        Coordinates of a point.

    Raises
    ------
    ArgumentError
        As for `GaussianMixture`.

    References
    ----------
    .. [1] B. Efron, "Tweedie's formula and selection bias", Journal of the American Statistical
       Association, 2011, doi:10.1198/jasa.2011.tm11181.

    Examples
    --------
    >>> import fermiac as fm
    >>> model = fm.score.Gaussian([1.0, 0.0], [[2.0, 1.0], [1.0, 2.0]])
    >>> model.denoise([[2.0, 0.0]], 1.0)
    array([[1.625, 0.125]])
    """

    def __init__(self, mean: ArrayLike, covariance: ArrayLike) -> None:
        m, c = _array("mean", mean), _array("covariance", covariance)
        if m.ndim != 1 or not m.size:
            raise ArgumentError(f"mean: shape {m.shape} was given; (d,) is needed")
        d = m.size
        kinds = {(): "isotropic", (d,): "diagonal", (d, d): "full"}
        if c.shape not in kinds:
            raise ArgumentError(
                f"covariance: shape {c.shape} was given; ({d}, {d}), ({d},) or one number is needed"
            )
        self._set_mixture(np.ones(1), m.reshape(1, d), c, kinds[c.shape], mean=m, covariance=c)

    def __repr__(self) -> str:
        kind = ("isotropic", "diagonal", "full")[self.covariance.ndim]
        return f"Gaussian(dim={self.dim}, {kind})"

    @property
    def mean(self) -> Array:
        """The mean, shape (d,), read-only."""
        mean: Array = self._arguments["mean"]
        return mean

    @property
    def covariance(self) -> Array:
        """The covariance as given, read-only."""
        covariance: Array = self._arguments["covariance"]
        return covariance


class Empirical(_Exact):
    """The exact score model of data points with weights.

    A network that memorises its training data is such a model.

    Parameters
    ----------
    data : array_like, shape (k, d)
        The points.
    weights : array_like, shape (k,), optional
        Nonnegative weights of the points; they are divided by their sum. Equal by default.

    Attributes
    ----------
    data : ndarray, shape (k, d)
    weights : ndarray, shape (k,)
        The weights, which add up to 1.
    dim : int
        Coordinates of a point.

    Raises
    ------
    ArgumentError
        If a shape does not fit, a weight is negative or all are 0, or a number is not finite.

    Notes
    -----
    A noisy point costs O(k d). At level 0 its denoised point is the nearest data point.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", NeurIPS, 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import fermiac as fm
    >>> model = fm.score.Empirical([[0.0, 0.0], [1.0, 1.0], [4.0, 0.0]])
    >>> model.denoise([[0.4, 0.4]], 0.0)
    array([[0., 0.]])
    >>> model.denoise([[0.4, 0.4]], 10.0).round(4)
    array([[1.6179, 0.3399]])
    """

    def __init__(self, data: ArrayLike, weights: ArrayLike | None = None) -> None:
        points = _array("data", data)
        if points.ndim != 2 or 0 in points.shape:
            raise ArgumentError(f"data: shape {points.shape} was given; (k, d) is needed")
        k = len(points)
        w = np.ones(k) if weights is None else _array("weights", weights)
        if w.shape != (k,):
            raise ArgumentError(
                f"weights: shape {w.shape} was given; ({k},), one for each point, is needed"
            )
        if not np.isfinite(points).all():
            raise ArgumentError("data: infinity was given; finite numbers are needed")
        self._set_mixture(w, points, np.zeros(1), "isotropic", data=points, weights=w)

    def __repr__(self) -> str:
        return f"Empirical(k={len(self.data)}, dim={self.dim})"

    @property
    def data(self) -> Array:
        """The points, shape (k, d), read-only."""
        data: Array = self._arguments["data"]
        return data

    @property
    def weights(self) -> Array:
        """The weights, shape (k,); they add up to 1."""
        return _shares(self._arguments["weights"])


def _array(name: str, given: ArrayLike) -> Array:
    """Return a copy of the argument, as numbers in C order."""
    return np.array(numbers(name, given), order="C")


def _shares(weights: Array) -> Array:
    relative = weights / weights.max()
    shares: Array = relative / relative.sum()
    return shares


def _default_range(
    weights: Array, means: Array, covariances: Array, kind: str
) -> tuple[float, float]:
    """Return levels from well below the narrowest component to well above the size of the data."""
    dim = means.shape[1]
    if kind == "full":
        matrices = covariances.reshape(-1, dim, dim)
        variances = np.linalg.eigvalsh(matrices)
        diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    else:
        diagonal = variances = covariances.reshape(-1, dim if kind == "diagonal" else 1)
    shares = weights / weights.sum()
    size = float(np.sqrt((shares @ (np.square(means) + diagonal)).max())) or 1.0
    # Rounding leaves a small variance in singular directions.
    wide = variances[variances > 1e-12 * size * size]
    narrow = float(np.sqrt(wide.min())) if wide.size else size
    return min(0.1 * narrow, 0.002 * size), 80.0 * size


def _diameter(weights: Array, means: Array) -> float:
    """Return the distance between the means that are farthest apart, or slightly less.

    Means without a share that draws would show do not count.
    """
    some = means[weights > 2e-4 * weights.max()]
    far = some[np.square(some - some.mean(axis=0)).sum(axis=1).argmax()]
    return float(np.sqrt(np.square(some - far).sum(axis=1).max()))
