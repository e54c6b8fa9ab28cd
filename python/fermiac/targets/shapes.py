"""Built-in log-densities with known normalisation: normal laws by precision, curved shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.validate import whole, yes
from fermiac.errors import ArgumentError
from fermiac.targets.builtin import numbered, real_numbers, scalar
from fermiac.targets.density import BuiltinDensity

__all__ = ["banana", "funnel", "gaussian", "rosenbrock"]

Array = NDArray[np.float64]


@public
def gaussian(mean: ArrayLike, precision: ArrayLike, *, banded: bool = False) -> BuiltinDensity:
    r"""Return a multivariate normal law given by its precision, the inverse of the covariance.

    :math:`x \sim N(m, P^{-1})`. If P has few nonzero diagonals (an autoregression, a random walk, a
    smoothing prior), the cost of a point is proportional to d times their number.
    `fermiac.distributions.MultivariateNormal` is the same law given by its covariance.

    Parameters
    ----------
    mean : array_like of shape () or (d,)
        The mean m; a number stands for d equal means.
    precision : array_like of shape (d, d) or, banded, (w + 1, d)
        The precision P, symmetric and positive definite. The outermost diagonal that is not 0
        determines the cost of an evaluation.
    banded : bool, default False
        Whether `precision` is given by its diagonals, the main one first and then those below it:
        :math:`P_{i + k, i}` is ``precision[k, i]``, and entries beyond the matrix are not read
        (the lower form of `scipy.linalg.cholesky_banded`).

    Returns
    -------
    BuiltinDensity
        The density is normalised: `log_evidence` is 0.

    Raises
    ------
    ArgumentError
        If the shapes do not fit, or P is not symmetric and positive definite.

    Notes
    -----
    With the Cholesky factor L of P and :math:`z = L^T (x - m)`, the logarithm of the density is
    :math:`-|z|^2 / 2` plus a constant, and its gradient is :math:`-L z`.

    References
    ----------
    H. Rue and L. Held, *Gaussian Markov Random Fields: Theory and Applications*, 2005,
    doi:10.1201/9780203492024.

    Examples
    --------
    An autoregression with standard normal coordinates and correlation 0.9 between neighbours:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> diagonals = np.array([[1.0, 1.81, 1.0], [-0.9, -0.9, 0.0]]) / 0.19
    >>> target = fm.targets.gaussian(0.0, precision=diagonals, banded=True)
    >>> target.log_density([[0.0, 0.0, 0.0]]).round(6)
    array([-1.096084])
    >>> law = fm.distributions.MultivariateNormal(
    ...     np.zeros(3), [[1.0, 0.9, 0.81], [0.9, 1.0, 0.9], [0.81, 0.9, 1.0]]
    ... )
    >>> law.log_density([[0.0, 0.0, 0.0]]).round(6)
    array([-1.096084])
    """
    given, centre = real_numbers("precision", precision), real_numbers("mean", mean)
    diagonals = _from_diagonals(given) if yes("banded", banded) else _diagonals(given)
    d = diagonals.shape[1]
    if centre.shape not in ((), (d,)):
        raise ArgumentError(
            f"mean: an array of shape {centre.shape} given; a number, or one for each coordinate, "
            f"shape ({d},), is needed"
        )
    handle = _core.LogDensity.gaussian(np.full(d, centre), diagonals)
    names = numbered("x", d)
    return BuiltinDensity(gaussian, handle, names, mean=centre, precision=diagonals, banded=True)


@public
def rosenbrock(
    n_blocks: int = 1, block_size: int = 2, *, mean: float = 1.0, a: float = 0.05, b: float = 5.0
) -> BuiltinDensity:
    r"""Return a normal law that is bent along parabolas, as in Rosenbrock's function.

    :math:`x_1 \sim N(\mu, 1 / 2a)`, and in every block of coordinates
    :math:`x_{j,i} \sim N(x_{j,i-1}^2, 1 / 2b)`, where :math:`x_{j,1}` is :math:`x_1` in all of
    them. The defaults give :math:`-(x_1 - 1)^2 / 20 - 5 (x_2 - x_1^2)^2` plus a constant.

    Parameters
    ----------
    n_blocks : int, default 1
        Blocks, 1 or more.
    block_size : int, default 2
        Coordinates of a block, including :math:`x_1`; 2 or more. A point has
        1 + `n_blocks` · (`block_size` - 1) coordinates, :math:`x_1` first, then block by block.
    mean : float, default 1
        The mean of :math:`x_1`.
    a, b : float, default 0.05 and 5
        Half the precisions of :math:`x_1`, and of the others given those before them; above 0.

    Returns
    -------
    BuiltinDensity
        The density is normalised: `log_evidence` is 0. With v = 1 / 2a the second coordinate of a
        block has mean :math:`\mu^2 + v` and variance :math:`1 / 2b + 2 v^2 + 4 \mu^2 v`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    F. Pagani, M. Wiegand and S. Nadarajah, "An n-dimensional Rosenbrock distribution for Markov
    chain Monte Carlo testing", Scandinavian Journal of Statistics 49, 2022, doi:10.1111/sjos.12532.

    Examples
    --------
    >>> import fermiac as fm
    >>> target = fm.targets.rosenbrock()
    >>> target.log_density_and_gradient([[1.0, 2.0]])[1]
    array([[ 20., -10.]])
    >>> fm.targets.rosenbrock(3, 4).names[-1]
    'x[3,4]'
    """
    n, size = whole("n_blocks", n_blocks, 1, 2**15), whole("block_size", block_size, 2, 2**15)
    m, first, rest = scalar("mean", mean), scalar("a", a), scalar("b", b)
    handle = _core.LogDensity.rosenbrock(n, size, m, first, rest)
    names = (f"x[{j},{i}]" for j in range(1, n + 1) for i in range(2, size + 1))
    arguments = {"n_blocks": n, "block_size": size, "mean": m, "a": first, "b": rest}
    return BuiltinDensity(rosenbrock, handle, ("x[1]", *names), **arguments)


def _from_diagonals(given: Array) -> Array:
    """Return given diagonals without the entries beyond the matrix and outermost zeros."""
    if given.ndim != 2 or not 1 <= given.shape[0] <= given.shape[1]:
        raise ArgumentError(
            f"precision: an array of shape {given.shape} given; the main diagonal and those below "
            "it, shape (w + 1, d) with w < d, are needed"
        )
    for k in range(1, len(given)):
        given[k, -k:] = 0.0
    width = int(np.flatnonzero(given.any(axis=1)).max(initial=0))
    return np.ascontiguousarray(given[: width + 1])


def _diagonals(given: Array) -> Array:
    """Return the main diagonal of a symmetric matrix and those below it, up to the last not 0."""
    d = len(given) if given.ndim else 0
    if given.shape != (d, d) or d == 0:
        raise ArgumentError(
            f"precision: an array of shape {given.shape} given; a square matrix, shape (d, d), is "
            "needed, or its diagonals with banded=True"
        )
    size = np.sqrt(np.abs(np.outer(given.diagonal(), given.diagonal())))
    if not (np.abs(given - given.T) <= 1e-8 * size).all():
        raise ArgumentError(
            "precision: a matrix that is not symmetric, or not finite, given; a symmetric, "
            "positive definite one is needed"
        )
    rows, columns = np.nonzero(given)
    width = int(np.abs(rows - columns).max(initial=0))
    diagonals = np.zeros((width + 1, d))
    for k in range(width + 1):
        diagonals[k, : d - k] = given.diagonal(-k)
    return diagonals


@public
def banana(dim: int = 2, curvature: float = 0.1, scale: float = 10.0) -> BuiltinDensity:
    r"""Return a normal law that is bent along a parabola.

    With b the curvature and s the scale, :math:`x_1 \sim N(0, s^2)`,
    :math:`x_2 + b (x_1^2 - s^2) \sim N(0, 1)`, and the other coordinates are standard normal. The
    density is normalised; every coordinate has mean 0, and :math:`x_2` the variance
    :math:`1 + 2 b^2 s^4`.

    Parameters
    ----------
    dim : int, default 2
        Coordinates of a point, 2 or more.
    curvature : float, default 0.1
        The published values are 0.03 (moderate) and 0.1 (strong).
    scale : float, default 10
        Standard deviation of the first coordinate, above 0.

    Returns
    -------
    BuiltinDensity
        `log_evidence` is 0.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    H. Haario, E. Saksman and J. Tamminen, "Adaptive proposal distribution for random walk
    Metropolis algorithm", Computational Statistics 14, 1999, doi:10.1007/s001800050022.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.banana().log_density([[0.0, 10.0]]).round(6)
    array([-4.140462])
    """
    d, b, s = (
        whole("dim", dim, 2, 2**31 - 1),
        scalar("curvature", curvature),
        scalar("scale", scale),
    )
    handle = _core.LogDensity.banana(d, b, s)
    return BuiltinDensity(banana, handle, numbered("x", d), dim=d, curvature=b, scale=s)


@public
def funnel(dim: int = 10, scale: float = 3.0) -> BuiltinDensity:
    r"""Return Neal's funnel: :math:`v \sim N(0, s^2)` and, given v, :math:`x_i \sim N(0, e^v)`.

    Parameters
    ----------
    dim : int, default 10
        Coordinates of a point, v first; 2 or more.
    scale : float, default 3
        Standard deviation s of v, above 0.

    Returns
    -------
    BuiltinDensity
        The density is normalised: `log_evidence` is 0.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    R. M. Neal, "Slice sampling", The Annals of Statistics 31, 2003, doi:10.1214/aos/1056562461.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.funnel(2).log_density([[0.0, 0.0]]).round(6)
    array([-2.936489])
    """
    d, s = whole("dim", dim, 2, 2**31 - 1), scalar("scale", scale)
    names = ("v", *numbered("x", d - 1))
    return BuiltinDensity(funnel, _core.LogDensity.funnel(d, s), names, dim=d, scale=s)
