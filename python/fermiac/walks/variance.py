"""The theory of averages along walks: asymptotic variances and spectral gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from fermiac._base.calls import public
from fermiac._base.validate import choice, yes
from fermiac.errors import ArgumentError
from fermiac.walks.chains import CHAINS, Base
from fermiac.walks.kernels import Alpha, HistoryKernel, Kernel, exponent, kernel_of, named_kernels

if TYPE_CHECKING:
    from fermiac.walks.node_functions import NodeFunctionLike
    from fermiac.walks.transition import Weights

__all__ = ["METHODS", "asymptotic_variance", "limit_kernel", "spectral_gap"]

Method: TypeAlias = Literal["auto", "dense", "iterative"]
METHODS: tuple[str, ...] = get_args(Method)


def limit_kernel(kernel: object, alpha: Any) -> HistoryKernel:
    """Return a kernel whose averages have a central limit theorem."""
    known = kernel_of(kernel, alpha)
    if not known.has_clt:
        raise ArgumentError(
            f"kernel: {known.name!r} has no central limit theorem: its error falls like 1/n, or "
            "its path ends, and no asymptotic variance is defined; take one of "
            f"{named_kernels('has_clt')}, or the spread of independent walks"
        )
    return known


@public
def asymptotic_variance(
    graph: Any,
    f: NodeFunctionLike,
    kernel: Kernel = "srrw",
    base: Base = "mhrw",
    alpha: Alpha | None = None,
    weights: Weights = None,
    step_exponent: float = 1.0,
    *,
    covariance: bool = False,
    method: Method = "auto",
) -> Any:
    r"""Compute the exact asymptotic variance of an average along a walk.

    After n steps of one walker, the average of f over the visits has the variance V / n about the
    mean of f under the law of the walk, up to terms that vanish faster. This function returns V.
    With step sizes :math:`\gamma_n = (n + 1)^{-a}` and a < 1, the variance is :math:`\gamma_n V`.

    Parameters
    ----------
    graph : graph
        An undirected, connected graph, as `fermiac.walks.as_graph` takes it.
    f : array (n_nodes,) or (n_nodes, k), mapping or callable
        The function of the nodes, or k functions, with numbers or booleans. A callable takes all
        nodes, an array (n_nodes,) of int64 or of the labels of the graph, and returns such an
        array.
    kernel : {"srrw", "hdt", "none"} or kernel, default "srrw"
        The self-repellent walk, the history-driven target, or the base chain itself, for which
        `alpha` is ignored.
    base : str or base chain, default "mhrw"
        The base chain, as for `walk`; ``"srrw"`` needs one that is reversible: neither ``"mhda"``
        nor ``"nbrw"``. With ``"hdt"`` a base with the law of the degrees is the Metropolis chain
        with this target, which accepts all proposals once the history is even.
    alpha : float, optional
        The repellence, at least 0; by default that of the kernel, 5.0. For a schedule ``("linear",
        a0, a1, n1)`` or ``("log", a0, a1)`` the limit is that of its last value, a1.
    weights : None, "degree", array (n_nodes,), mapping or callable, optional
        The target, which need not be normalised; uniform by default. Bases whose law is that of
        the degrees (``"srw"``, ``"nbrw"``, ``"lazy"``) or of the strengths (``"weighted"``) take
        none.
    step_exponent : float, default 1
        The exponent a of the step sizes of the visit measure, above 1/2, up to 1: the plain
        average.
    covariance : bool, default False
        Return the whole covariance matrix of k functions instead of the variances.
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
        central limit theorem; if the graph has several components, or edges whose reverse is
        missing (for ``"weighted"``: has another weight); if the base does not fit the kernel; and
        if the matrix of `MTM` is too large to enumerate.
    TargetError
        If a callable returns a wrong shape, or numbers that are not finite.
    NumericalError
        If the chain mixes so slowly that the iterations do not converge.

    Notes
    -----
    With the eigenvalues :math:`l_k` of the base chain, and its left eigenvectors :math:`u_k`
    normalised in the scalar product of :math:`1/\mu`, and with e = 1 if a = 1 and e = 0 otherwise,

    .. math:: V = \sum_{k \ge 1} \frac{1 + l_k}{1 - l_k}
              \frac{(u_k^\top f)^2}{2 \alpha (1 + l_k) + 2 - e}

    for the self-repellent walk. For the history-driven target it is the variance of the base chain,
    reversible or not, divided by :math:`2 \alpha + 2 - e`. The limits come from the linear part of
    the recursion of the visit measure about the target. ``"mhda"`` and ``"nbrw"`` are chains on the
    directed edges, whose jumps are reversible up to a reversal of the edges.

    References
    ----------
    .. [1] V. Doshi, J. Hu, D. Y. Eun, "Self-repellent random walks on general graphs: achieving
       minimal sampling variance via nonlinear Markov chains", ICML 2023, arXiv:2305.05097.
    .. [2] J. Hu, Y.-T. Ma, D. Y. Eun, "Beyond self-repellent kernels: history-driven target towards
       efficient nonlinear MCMC on general graphs", ICML 2025, arXiv:2505.18300.
    .. [3] C.-H. Lee, X. Xu, D. Y. Eun, "Beyond random walk and Metropolis-Hastings samplers: why
       you should not backtrack for unbiased graph sampling", SIGMETRICS 2012,
       doi:10.1145/2254756.2254795.

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
    from fermiac.walks.conversions import as_graph

    strategy, known = limit_kernel(kernel, alpha), CHAINS.resolve(base)
    repellence = strategy.schedule.end
    constant = 1.0 if exponent("step_exponent", step_exponent) == 1.0 else 2.0
    choice("method", method, METHODS)
    net = as_graph(graph)
    chain = transition.chain_of(net, known, weights, strategy)
    strategy.base(known)
    values = transition.node_values("f", f, net)
    columns = values.reshape(chain.n_nodes, -1)
    if strategy.by_modes and isinstance(chain, transition.NodeChain):
        matrix = poisson.repelled_covariance(chain, columns, repellence, constant, method)
    else:
        matrix = poisson.base_covariance(chain, columns, method) / (2 * repellence + constant)
    if yes("covariance", covariance) and values.ndim == 2:
        return matrix
    # Negative variances are rounding errors.
    variances = np.maximum(np.diagonal(matrix), 0.0)
    return variances if values.ndim == 2 else float(variances[0])


@public
def spectral_gap(
    graph: Any, base: Base = "mhrw", weights: Weights = None, *, absolute: bool = False
) -> float:
    """Compute the spectral gap of a base chain, which measures how fast it mixes.

    Parameters
    ----------
    graph : graph
        An undirected, connected graph, as `fermiac.walks.as_graph` takes it.
    base : str or base chain, default "mhrw"
        A reversible base chain, as for `asymptotic_variance`.
    weights : None, "degree", array (n_nodes,), mapping or callable, optional
        The target, as for `asymptotic_variance`.
    absolute : bool, default False
        Include eigenvalues near -1, which slow down the law of the current node on nearly bipartite
        graphs, but not averages along the walk.

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

    References
    ----------
    .. [1] D. A. Levin, Y. Peres, "Markov Chains and Mixing Times", American Mathematical Society,
       2017, doi:10.1090/mbk/107.

    Examples
    --------
    >>> import fermiac as fm
    >>> complete = [[i, j] for i in range(5) for j in range(i)]
    >>> round(fm.walks.spectral_gap(complete, "srw"), 12)
    1.25
    """
    from fermiac.walks import poisson, transition

    known = CHAINS.resolve(base)
    chain = transition.chain_of(graph, known, weights)
    if not isinstance(chain, transition.NodeChain):
        raise ArgumentError(
            f"base: {known.spec!r} is not reversible, and its eigenvalues are complex; take a "
            "reversible one, 'mhrw' for instance"
        )
    return poisson.gap(chain, yes("absolute", absolute))
