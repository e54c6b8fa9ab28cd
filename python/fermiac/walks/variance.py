"""What the theory of walks says of their averages: asymptotic variances, spectral gaps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.validate import choice
from fermiac.errors import ArgumentError
from fermiac.walks.chains import Base, base_of, real

if TYPE_CHECKING:
    from fermiac.walks.node_functions import NodeFunctionLike
    from fermiac.walks.transition import Weights

__all__ = ["alpha_of", "asymptotic_variance", "exponent_of", "kernel_of", "spectral_gap"]

METHODS = ("auto", "dense", "iterative")
_LIMITS = ("none", "srrw", "hdt")
_KERNELS = (*_LIMITS, "tsaw", "rotor", "saw")


def kernel_of(kernel: object) -> str:
    """Take `kernel` as one whose averages have a central limit theorem."""
    known = choice("kernel", kernel, _KERNELS)
    if known not in _LIMITS:
        raise ArgumentError(
            f"kernel: {known!r} has no central limit theorem: its error falls like 1/n, or its path"
            " ends, and no asymptotic variance is defined; take 'none', 'srrw' or 'hdt', or the "
            "spread of independent walks"
        )
    return known


def alpha_of(alpha: Any) -> float:
    """The repellence in the end: a number from 0 up, or what a schedule arrives at."""
    end = alpha
    if isinstance(alpha, tuple | list):
        sizes = {"linear": 4, "log": 3}
        if not alpha or sizes.get(str(alpha[0])) != len(alpha):
            raise ArgumentError(
                f"alpha: {alpha!r:.60} was given; a number, ('linear', a0, a1, n1) or "
                "('log', a0, a1) is needed"
            )
        end = alpha[2]
    number = real(end)
    if not 0.0 <= number < math.inf:
        raise ArgumentError(f"alpha: {end!r:.60} was given; a finite number from 0 up is needed")
    return number


def exponent_of(name: str, exponent: Any) -> float:
    """Take `exponent` as one of a step size: above 1/2, up to 1."""
    number = real(exponent)
    if not 0.5 < number <= 1.0:
        raise ArgumentError(f"{name}: {exponent!r:.60} was given; a number in (1/2, 1] is needed")
    return number


def asymptotic_variance(
    graph: Any,
    f: NodeFunctionLike,
    kernel: str = "srrw",
    base: Base = "mhrw",
    alpha: float | tuple[Any, ...] = 5.0,
    weights: Weights = None,
    step_exponent: float = 1.0,
    *,
    covariance: bool = False,
    method: str = "auto",
) -> Any:
    r"""Compute the asymptotic variance of an average along a walk, exactly.

    After n steps of one walker, the average of f over the visits has the variance V / n about the
    mean of f under the walk's law, up to terms that vanish faster; V is what this gives. With step
    sizes :math:`\gamma_n = (n + 1)^{-a}`, a below 1, it is :math:`\gamma_n V`.

    Parameters
    ----------
    graph : graph
        An undirected, connected graph, as `fermiac.walks.as_graph` takes it.
    f : array (n_nodes,) or (n_nodes, k), or callable
        The function of the nodes, or k of them, numbers or booleans; a callable takes all nodes, an
        int64 array (n_nodes,), and gives such an array.
    kernel : {"srrw", "hdt", "none"}, default "srrw"
        How the history drives the walk: the self-repellent walk, the history-driven target, or not
        at all: the base chain itself, `alpha` being ignored.
    base : str, Lazy or MTM, default "mhrw"
        The base chain: ``"srw"``, ``"weighted"``, ``"mhrw"``, ``"mhda"``, ``"nbrw"``,
        ``"maxdeg"``, ``"barker"``, ``"lazy"``, ``"mtm"``, `Lazy` or `MTM`. ``"srrw"`` needs one
        that is reversible: neither ``"mhda"`` nor ``"nbrw"``. With ``"hdt"`` a base whose law is
        that of the degrees is the Metropolis chain with this target, which accepts all that it
        proposes once the history is even.
    alpha : float, default 5
        The repellence, from 0 up. A schedule ``("linear", a0, a1, n1)`` or ``("log", a0, a1)`` has
        the limit of its last value, a1.
    weights : None, "degree", array (n_nodes,) or callable, optional
        The target, which need not be normalised; uniform by default. Bases whose law is that of
        the degrees (``"srw"``, ``"nbrw"``, ``"lazy"``) or of the strengths (``"weighted"``) take
        none.
    step_exponent : float, default 1
        The exponent a of the step sizes of the visit measure, above 1/2, up to 1: the plain
        average.
    covariance : bool, default False
        Give the whole matrix of k functions, not the variances alone.
    method : {"auto", "dense", "iterative"}, default "auto"
        Factor full matrices, or solve Poisson's equation by Krylov methods, which work with
        millions of nodes. By default full matrices are used up to 500 states.

    Returns
    -------
    float or array (k,) or (k, k)
        A float for one function, the variances for k of them, or their covariance matrix.

    Raises
    ------
    ArgumentError
        For an argument outside its domain; for ``"tsaw"``, ``"rotor"`` and ``"saw"``, which have no
        central limit theorem; where the graph has several components, or edges whose reverse is
        missing (for ``"weighted"``: has another weight); where the base does not fit the kernel;
        and where the matrix of `MTM` is too large to enumerate.
    TargetError
        If a callable gives a wrong shape, or numbers that are not finite.
    NumericalError
        If the chain mixes so slowly that the iterations do not converge.

    Notes
    -----
    With the eigenvalues :math:`l_k` of the base chain, and its left eigenvectors :math:`u_k`
    normalised in the scalar product of :math:`1/\mu`, e being 1 if a = 1 and 0 else,

    .. math:: V = \sum_{k \ge 1} \frac{1 + l_k}{1 - l_k}
              \frac{(u_k^\top f)^2}{2 \alpha (1 + l_k) + 2 - e}

    for the self-repellent walk. For the history-driven target it is the variance of the base chain,
    reversible or not, over :math:`2 \alpha + 2 - e`. The limits come from the linear part of the
    recursion of the visit measure about the target; see `fermiac.walks.walk` on when they apply.
    ``"mhda"`` and ``"nbrw"`` are chains on the directed edges, whose jumps are reversible up to a
    reversal of the edges.

    References
    ----------
    .. [1] V. Doshi, J. Hu, D. Y. Eun, "Self-repellent random walks on general graphs: achieving
       minimal sampling variance via nonlinear Markov chains", ICML 2023.
    .. [2] J. Hu, Y.-T. Ma, D. Y. Eun, "Beyond self-repellent kernels: history-driven target towards
       efficient nonlinear MCMC on general graphs", ICML 2025.
    .. [3] C.-H. Lee, X. Xu, D. Y. Eun, "Beyond random walk and Metropolis-Hastings samplers: why
       you should not backtrack for unbiased graph sampling", SIGMETRICS 2012.

    Examples
    --------
    On a star, a repellence of 5 divides the variance of averages over the leaves by 11:

    >>> import numpy as np, fermiac as fm
    >>> star = [[0, leaf] for leaf in range(1, 6)]
    >>> for alpha in 0.0, 5.0:
    ...     v = fm.walks.asymptotic_variance(star, np.arange(6), base="srw", alpha=alpha)
    ...     print(f"{v:.6f}")
    1.000000
    0.090909
    """
    from fermiac.walks import poisson, transition
    from fermiac.walks.job import goes_with

    kernel, base = kernel_of(kernel), base_of(base)
    repellence = 0.0 if kernel == "none" else alpha_of(alpha)
    constant = 1.0 if exponent_of("step_exponent", step_exponent) == 1.0 else 2.0
    choice("method", method, METHODS)
    chain = transition.chain_of(graph, base, weights, kernel)
    goes_with(kernel, base)
    values = transition.node_values("f", f, chain.n_nodes)
    columns = values.reshape(chain.n_nodes, -1)
    if kernel == "srrw" and isinstance(chain, transition.NodeChain):
        matrix = poisson.repelled_covariance(chain, columns, repellence, constant, method)
    else:
        matrix = poisson.base_covariance(chain, columns, method) / (2 * repellence + constant)
    if covariance and values.ndim == 2:
        return matrix
    # Rounding is all that may lie below 0.
    variances = np.maximum(np.diagonal(matrix), 0.0)
    return variances if values.ndim == 2 else float(variances[0])


def spectral_gap(
    graph: Any, base: Base = "mhrw", weights: Weights = None, *, absolute: bool = False
) -> float:
    """Compute the spectral gap of a base chain: how fast it mixes.

    Parameters
    ----------
    graph : graph
        An undirected, connected graph, as `fermiac.walks.as_graph` takes it.
    base : str, Lazy or MTM, default "mhrw"
        A reversible base chain, as for `asymptotic_variance`.
    weights : None, "degree", array (n_nodes,) or callable, optional
        The target, as for `asymptotic_variance`.
    absolute : bool, default False
        Count eigenvalues near -1 too, which slow down the law of the walk's place on nearly
        bipartite graphs, but not averages along it.

    Returns
    -------
    float
        1 minus the second largest eigenvalue, or minus the second largest modulus. For a single
        node it is 1. Above 500 nodes Lanczos' method finds it, up to about a million.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, a base that is not reversible, or a graph that is not
        undirected and connected.
    NumericalError
        If Lanczos' method does not converge.

    Examples
    --------
    >>> import fermiac as fm
    >>> complete = [[i, j] for i in range(5) for j in range(i)]
    >>> round(fm.walks.spectral_gap(complete, "srw"), 12)
    1.25
    """
    from fermiac.walks import poisson, transition

    chain = transition.chain_of(graph, base, weights)
    if not isinstance(chain, transition.NodeChain):
        raise ArgumentError(
            f"base: {base!r} is not reversible, and its eigenvalues are complex; take a reversible "
            "one, 'mhrw' for instance"
        )
    return poisson.gap(chain, absolute)
