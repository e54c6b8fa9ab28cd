"""The theory of tokens that walks drive: limit laws, and predictions at finite n."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.calls import public
from fermiac._base.validate import choice, numbers, positive, shown, unwrapped, whole
from fermiac.errors import ArgumentError
from fermiac.walks.chains import Base
from fermiac.walks.kernels import Alpha, HistoryKernel, Kernel, exponent
from fermiac.walks.variance import METHODS, Method, limit_kernel

if TYPE_CHECKING:
    from fermiac.walks.node_functions import NodeFunctionLike
    from fermiac.walks.transition import Weights

__all__ = ["predict", "token_covariance"]


@public
def token_covariance(
    graph: Any,
    gradients: NodeFunctionLike,
    hessian: ArrayLike,
    alpha: Alpha | None = None,
    a: float = 0.7,
    b: float = 0.9,
    *,
    c: float = 1.0,
    kernel: Kernel = "srrw",
    base: Base = "mhrw",
    weights: Weights = None,
    method: Method = "auto",
) -> Any:
    r"""Compute the exact covariance of the limit law of a token that minimises along a walk.

    The token moves by :math:`\theta_{n+1} = \theta_n - \beta_{n+1} \nabla f_{X_{n+1}}(\theta_n)`
    over the nodes X of a walk, to the minimum :math:`\theta^*` of the mean of the losses f under
    the law of the walk. :math:`(\theta_n - \theta^*) / \beta_n^{1/2}` tends to a normal law with
    mean 0, whose covariance this function returns.

    Parameters
    ----------
    graph : graph
        An undirected, connected graph, as `fermiac.walks.as_graph` takes it.
    gradients : array (n_nodes, d) or (n_nodes,), or callable
        The gradients of the nodes' losses at the minimum, where their mean is 0; a callable takes
        all nodes, an int64 array.
    hessian : array (d, d) or (n_nodes, d, d), or number
        The mean of the losses' Hessians at the minimum, or all Hessians. For a root of functions
        that are not gradients it may be any matrix whose eigenvalues have positive real parts.
    alpha : float, optional
        The repellence, by default that of the kernel, 5.0; for a schedule the last value is used.
    a, b : float, default 0.7 and 0.9
        The exponents of the step sizes :math:`\gamma_n = (n + 1)^{-a}` of the visit measure and
        :math:`\beta_n = c (n + 1)^{-b}` of the token, above 1/2, up to 1.
    c : float, default 1
        The scale of the token's steps.
    kernel, base, weights
        The walk, as for `asymptotic_variance`.
    method : {"auto", "dense", "iterative"}, default "auto"
        As for `asymptotic_variance`.

    Returns
    -------
    array (d, d) or float
        The covariance V; a float for gradients of shape (n_nodes,).

    Raises
    ------
    ArgumentError
        As for `asymptotic_variance`; if the mean of the gradients is not 0, or an eigenvalue of the
        Hessian is not positive (if b = 1: not above 1 / (2 c)).
    TargetError
        If a callable returns a wrong shape, or numbers that are not finite.
    NumericalError
        If the chain mixes so slowly that the iterations do not converge.

    Notes
    -----
    Let A be minus the Hessian, :math:`l_k` the eigenvalues of the base chain, and :math:`B_k` the
    sum of the gradients weighted by its left eigenvector k. Then :math:`A V + V A^\top + U = 0`
    with

    .. math:: U = \sum_{k \ge 1} \frac{1 + l_k}{1 - l_k} \frac{B_k B_k^\top}{g_k^2}, \qquad
              g_k = 1 + \alpha (1 + l_k) \ (a < b), \quad g_k = 1 \ (a > b).

    If b = 1, A is replaced by A + I / (2 c). If a = b, the token and the measure move on the same
    scale, and V is a block of the solution of their joint equation, of the order of :math:`1 /
    \alpha`. For the history-driven target the factors :math:`1 + l_k` next to alpha are 1.

    References
    ----------
    .. [1] J. Hu, V. Doshi, D. Y. Eun, "Accelerating distributed stochastic optimization via
       self-repellent random walks", ICLR 2024, arXiv:2401.09665.

    Examples
    --------
    The losses are (θ - i)² / 2 on a path. If the walk's measure settles first, the token's variance
    falls with the square of the repellence:

    >>> import numpy as np, fermiac as fm
    >>> path = [[i, i + 1] for i in range(5)]
    >>> gradients = 2.5 - np.arange(6)
    >>> for alpha in 0.0, 5.0:
    ...     print(f"{fm.walks.token_covariance(path, gradients, 1.0, alpha):.4f}")
    20.1250
    0.1889
    """
    from fermiac.walks import token_law

    strategy, repellence, exponents = _settings(alpha, a, b, c, kernel, method)
    chain, values, drift, shape = _problem(graph, gradients, hessian, strategy, base, weights)
    token_law.check_stable(drift, b, exponents[2])
    law = token_law.limit(chain, values, drift, repellence, exponents, strategy, method)
    return unwrapped(law.reshape(shape))


@public
def predict(
    graph: Any,
    gradients: NodeFunctionLike,
    hessian: ArrayLike,
    n_steps: int | ArrayLike,
    alpha: Alpha | None = None,
    a: float = 0.7,
    b: float = 0.9,
    *,
    c: float = 1.0,
    start_error: ArrayLike = 0.0,
    kernel: Kernel = "srrw",
    base: Base = "mhrw",
    weights: Weights = None,
    method: Method = "auto",
) -> Any:
    r"""Predict the mean square error of a token after n steps.

    As long as the step sizes of the token and of the visit measure are of the same order, the limit
    law is inaccurate: with exponents 0.7 and 0.9 they differ by a factor of 10 only after 10**5
    steps. This function follows the covariance of token and measure step by step, in the linear
    approximation around the minimum.

    Parameters
    ----------
    graph, gradients, hessian
        As for `token_covariance`.
    n_steps : int or array of int
        The numbers of steps, at least 0.
    alpha, a, b, c
        As for `token_covariance`.
    start_error : number or array (d,), default 0
        The initial distance of the token from the minimum.
    kernel, base, weights, method
        As for `token_covariance`. Above 500 nodes a few modes represent the spectrum, by Gauss
        quadrature.

    Returns
    -------
    array (d, d) or float
        The matrix of second moments of :math:`\theta_n - \theta^*`; a float for gradients of shape
        (n_nodes,). For an array of numbers of steps, with a first axis of its shape.

    Raises
    ------
    ArgumentError, TargetError, NumericalError
        As for `token_covariance`.

    Notes
    -----
    The noise of the walk is treated as white, with its long-run covariance. This fails if the token
    moves far while the walk mixes, that is, if the step :math:`\beta_n` times the mixing time is
    large, especially in the first steps. With the history-driven target, Metropolis rules reach the
    limit late, because their acceptance is not smooth at an even history. The error then exceeds
    the prediction by about alpha times the relative noise of the history, :math:`\alpha
    \gamma_n^{1/2} \max_i V_{ii}^{1/2} / \mu_i` with the variances V of visits. The base
    ``"barker"`` is smooth.

    References
    ----------
    .. [1] J. Hu, V. Doshi, D. Y. Eun, "Accelerating distributed stochastic optimization via
       self-repellent random walks", ICLR, 2024, arXiv:2401.09665.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> path = [[i, i + 1] for i in range(5)]
    >>> gradients = 2.5 - np.arange(6)
    >>> n = np.array([1000, 10000])
    >>> error = fm.walks.predict(path, gradients, 1.0, n, start_error=3.0)
    >>> print(np.round(error / n**-0.9, 3))
    [0.722 0.527]
    """
    from fermiac.walks import token_law

    strategy, repellence, exponents = _settings(alpha, a, b, c, kernel, method)
    given = np.asarray(n_steps, dtype=object)
    times = np.array([whole("n_steps", n, 0, 10**9) for n in given.reshape(-1)], dtype=np.int64)
    chain, values, drift, shape = _problem(graph, gradients, hessian, strategy, base, weights)
    dim = values.shape[1]
    start = numbers("start_error", start_error)
    if start.shape not in ((), (dim,)) or not np.isfinite(start).all():
        raise ArgumentError(
            f"start_error: {shown(start_error)} was given; a number or {dim} finite numbers are "
            "needed"
        )
    start = np.broadcast_to(start, (dim,))
    modes = token_law.modes_of(chain, values, strategy, method)
    order, back = np.unique(times, return_inverse=True)
    law = np.empty((0, dim, dim))
    if len(order):
        law = token_law.recursion(modes, drift, start, repellence, exponents, order)
    return unwrapped(law[back].reshape(given.shape + shape))


def _settings(
    alpha: Any, a: Any, b: Any, c: Any, kernel: Any, method: Any
) -> tuple[HistoryKernel, float, tuple[float, float, float]]:
    """Return the kernel, its repellence, and the exponents and scale of step sizes."""
    known = limit_kernel(kernel, alpha)
    choice("method", method, METHODS)
    return known, known.schedule.end, (exponent("a", a), exponent("b", b), positive("c", c))


def _problem(
    graph: Any,
    gradients: NodeFunctionLike,
    hessian: ArrayLike,
    kernel: HistoryKernel,
    base: Base,
    weights: Weights,
) -> tuple[Any, Any, Any, tuple[int, ...]]:
    """Return the chain, gradients (n_nodes, d), drift (d, d), and the shape of the result."""
    from fermiac.walks import token_law, transition
    from fermiac.walks.conversions import as_graph

    net = as_graph(graph)
    chain = transition.chain_of(net, base, weights, kernel)
    values = transition.node_values("gradients", gradients, net)
    shape = () if values.ndim == 1 else (values.shape[1], values.shape[1])
    values = values.reshape(chain.n_nodes, -1)
    mean, spread = chain.mu @ values, np.sqrt(chain.mu @ values**2)
    if (np.abs(mean) > 1e-3 * np.linalg.norm(spread)).any():
        raise ArgumentError(
            f"gradients: their mean under the walk's law is {np.abs(mean).max():.3g}, their root "
            f"mean square {np.linalg.norm(spread):.3g}; at the minimum the mean is 0: give the "
            "gradients there"
        )
    dim = values.shape[1]
    matrix = numbers("hessian", hessian)
    shapes = [(dim, dim), (chain.n_nodes, dim, dim)] + [()] * (dim == 1)
    if matrix.shape not in shapes or not np.isfinite(matrix).all():
        raise ArgumentError(
            f"hessian: shape {matrix.shape} was given; finite numbers of shape {(dim, dim)} are "
            f"needed, or {(chain.n_nodes, dim, dim)} for those of all nodes"
        )
    return chain, values, token_law.as_drift(matrix, chain.mu, dim), shape
