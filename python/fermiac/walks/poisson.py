"""Asymptotic covariances of averages along chains: spectral sums and Poisson's equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse import csgraph
from scipy.sparse import linalg as iterative

from fermiac.errors import ArgumentError, NumericalError
from fermiac.walks.markov_chains import Chain, EdgeChain, NodeChain

__all__ = [
    "base_covariance",
    "fast_covariance",
    "gap",
    "late_covariance",
    "late_share",
    "modes",
    "repelled_covariance",
    "spectrum",
]

Array = NDArray[np.float64]

#: Up to this many states dense matrices are as fast; above, iterations are faster, and as accurate.
DENSE = 500
LARGEST = 20_000
#: The least gap: the error of about 1e-15 leaves three digits of it.
_LEAST_GAP = 1e-12
#: The largest numbers of entries and of vectors of a Lanczos basis.
_BASIS_NUMBERS = 200_000_000
_MAX_BASIS = 3000


def dense(chain: Chain, method: str) -> bool:
    """Return whether full matrices are factored."""
    if method == "dense" and chain.n_states > LARGEST:
        raise ArgumentError(
            f"method: 'dense' for {chain.n_states} states, whose matrix takes "
            f"{8e-9 * chain.n_states**2:.0f} GB; take 'iterative'"
        )
    return method == "dense" or (method == "auto" and chain.n_states <= DENSE)


def spectrum(chain: NodeChain, f: Array) -> tuple[Array, Array]:
    """Return the eigenvalues of P, and its left eigenvectors times the columns of f.

    The eigenvalue 1 is returned as 0 with products of 0, since functions are centred.
    """
    root = np.sqrt(chain.mu)
    matrix = chain.symmetric().toarray() - np.multiply.outer(root, root)
    values, vectors = linalg.eigh(matrix, overwrite_a=True, driver="evd")
    if not 1.0 - values[-1] > _LEAST_GAP:
        raise NumericalError(
            f"the chain mixes too slowly: its spectral gap, {1.0 - values[-1]:.1g}, is not above "
            "the rounding of its eigenvalues; its averages do not converge in a feasible number "
            "of steps"
        )
    return values, vectors.T @ _scaled(chain, f)


def modes(chain: NodeChain, f: Array, method: str) -> tuple[Array, Array]:
    """Return the spectrum, or a quadrature rule for it."""
    return spectrum(chain, f) if dense(chain, method) else _quadrature(chain, _scaled(chain, f))


def _quadrature(chain: NodeChain, scaled: Array) -> tuple[Array, Array]:
    """Return nodes l and products B whose sums of g(l) B B^T are those over the whole spectrum.

    This is Gauss quadrature with respect to the spectral measure of the centred functions, by the
    block Lanczos method with full orthogonalisation. If it has converged for the sharpest function,
    (1 + l) / (1 - l), it has converged for smoother ones.
    """
    s, v = chain.symmetric(), np.sqrt(chain.mu)
    start = scaled - np.multiply.outer(v, v @ scaled)
    most = min(len(v) - 1, _MAX_BASIS, max(_BASIS_NUMBERS // len(v), 1))
    block, left = _orthonormal(start, 0.0)
    basis = block
    first = block.T @ start
    projected: Array = np.zeros((0, 0))
    before, settled, step, check = np.inf, 0, 0, 4
    while True:
        width, m = block.shape[1], basis.shape[1]
        image = s @ block
        image -= np.multiply.outer(v, v @ image)
        entries = basis.T @ image
        grown = np.zeros((m, m))
        grown[: m - width, : m - width] = projected
        grown[:, m - width :] = entries
        grown[m - width :, :] = entries.T
        projected = grown
        image -= basis @ entries
        image -= basis @ (basis.T @ image)
        block, left = _orthonormal(image, 1e-10)
        step += 1
        if not left or m >= len(v) - 1 or step == check:
            check += 4 + step // 8
            nodes, vectors = linalg.eigh(projected)
            products = vectors[: len(first)].T @ first
            now = float(np.sum((1 + nodes) / (1 - nodes) * (products**2).sum(axis=1)))
            settled = settled + 1 if abs(now - before) <= 1e-11 * abs(now) else 0
            if settled == 2 or not left or m >= len(v) - 1:
                return nodes, products
            before = now
        if m + left > most:
            raise NumericalError(
                f"the spectrum that acts on the token was not found with {m} vectors: the chain of "
                f"{len(v)} nodes mixes too slowly, or the parameters are too many; take "
                "method='dense', the kernel 'hdt', or fewer parameters"
            )
        basis = np.concatenate([basis, block], axis=1)


def _orthonormal(columns: Array, floor: float) -> tuple[Array, int]:
    """Return an orthonormal basis of the columns, without almost vanishing ones, and its size."""
    q, r, _ = linalg.qr(columns, mode="economic", pivoting=True)
    size = np.abs(np.diagonal(r))
    keep = int((size > max(floor, 1e-13 * size.max(initial=0.0))).sum())
    return q[:, :keep], keep


def base_covariance(chain: Chain, f: Array, method: str) -> Array:
    """Return the covariance of averages of the columns of f along the base chain."""
    if isinstance(chain, EdgeChain):
        return _of_edges(chain, f, dense(chain, method))
    return repelled_covariance(chain, f, 0.0, 1.0, method)


def repelled_covariance(
    chain: NodeChain, f: Array, alpha: float, constant: float, method: str
) -> Array:
    """Return the sum over the modes of (1 + l) / (1 - l) / (2 alpha (1 + l) + constant)."""
    if dense(chain, method):
        values, b = spectrum(chain, f)
        up = 1 + values
        return _summed(b, up / ((1 - values) * (2 * alpha * up + constant)))
    # By partial fractions: the error of each term is the square of that of the solver.
    scaled = _scaled(chain, f)
    whole = 4 * alpha + constant
    slow = _solve(chain, scaled, 1.0, -1.0)
    smooth = _solve(chain, scaled, 2 * alpha + constant, 2 * alpha) if alpha else scaled / constant
    return _symmetrised(scaled.T @ (2 * slow - constant * smooth) / whole)


def late_share(pull: Any, n: int, burned: int) -> Any:
    """Return the variance of an average over the steps after `burned` of n, over V.

    If the history pulls a mode back with the strength p, its sum S over n steps follows dS = -p S
    dn / n + noise. The variance of S is V n, and the covariance of the sums over m and n steps is V
    m (m / n)^p.
    """
    m = float(burned)
    return (n + m - 2.0 * m * (m / n) ** np.asarray(pull)) / (n - m) ** 2


def late_covariance(chain: Chain, f: Array, alpha: float, n: int, burned: int) -> Array:
    """Return the covariance of averages of the self-repellent walk after `burned` of n steps."""
    if not isinstance(chain, NodeChain) or not _scaled(chain, f).any():
        return np.zeros((f.shape[1], f.shape[1]))
    values, b = modes(chain, f, "auto")
    up = 1 + values
    limit = up / ((1 - values) * (2 * alpha * up + 1))
    return _summed(b, limit * late_share(alpha * np.maximum(up, 0.0), n, burned))


def fast_covariance(chain: NodeChain, f: Array, alpha: float, method: str) -> Array:
    """Return the sum over the modes of (1 + l) / (1 - l) / (1 + alpha (1 + l))²."""
    if dense(chain, method):
        values, b = spectrum(chain, f)
        up = 1 + values
        return _summed(b, up / ((1 - values) * (1 + alpha * up) ** 2))
    # The error of this solution acts in first order.
    scaled = _solve(chain, _scaled(chain, f), 1 + alpha, alpha, 1e-13)
    return _symmetrised(scaled.T @ (2 * _solve(chain, scaled, 1.0, -1.0) - scaled))


def gap(chain: NodeChain, absolute: bool) -> float:
    """Return 1 minus the second eigenvalue, or minus the second largest modulus."""
    if chain.n_states <= DENSE:
        root = np.sqrt(chain.mu)
        # The eigenvalue 1 becomes -2, below all others.
        matrix = chain.symmetric().toarray() - 3.0 * np.multiply.outer(root, root)
        values = linalg.eigvalsh(matrix, overwrite_a=True)[1:]
        if not len(values):
            return 1.0
        return float(1.0 - (np.abs(values).max() if absolute else values[-1]))
    top = _largest(_shifted(chain, 0.0, 1.0, 3.0))
    return 1.0 - (max(top, _largest(_shifted(chain, 0.0, -1.0, 0.0))) if absolute else top)


def _largest(operator: Any) -> float:
    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    try:
        found = iterative.eigsh(
            operator, k=1, which="LA", v0=start, ncv=60, tol=1e-9, return_eigenvectors=False
        )
    except iterative.ArpackNoConvergence:
        raise NumericalError(
            f"the second eigenvalue of a chain on {operator.shape[0]} nodes was not found by "
            "Lanczos' method: too many eigenvalues lie close to it"
        ) from None
    return float(found[0])


def _scaled(chain: NodeChain, f: Array) -> Array:
    """Return D^(1/2) times the centred functions."""
    return np.asarray(np.sqrt(chain.mu)[:, None] * (f - chain.mu @ f))


def _summed(b: Array, weights: Array) -> Array:
    return _symmetrised((weights[:, None] * b).T @ b)


def _symmetrised(matrix: Array) -> Array:
    return np.asarray(0.5 * (matrix + matrix.T))


def _shifted(chain: NodeChain, diagonal: float, factor: float, deflate: float) -> Any:
    """Return diagonal I + factor S - deflate v v^T, with the eigenvector v of S for 1."""
    s, v = chain.symmetric(), np.sqrt(chain.mu)

    def apply(x: Array) -> Array:
        return np.asarray(diagonal * x + factor * (s @ x) - (deflate * (v @ x)) * v)

    return _operator(len(v), apply)


def _solve(
    chain: NodeChain, b: Array, diagonal: float, factor: float, rtol: float = 1e-10
) -> Array:
    """Solve (diagonal I + factor S) x = b by conjugate gradients, orthogonally to v."""
    # The eigenvalue of v becomes `diagonal`, which keeps the operator positive.
    operator = _shifted(chain, diagonal, factor, factor)
    jacobi = 1.0 / (diagonal + factor * chain.matrix.diagonal())
    precondition = _operator(len(b), lambda r: jacobi * r)
    limit = 20 * len(b) + 1000
    return _columns(b, lambda c: _refined(operator, c, iterative.cg, rtol, limit, M=precondition))


def _operator(n: int, apply: Callable[[Array], Array]) -> Any:
    return iterative.LinearOperator((n, n), lambda x: apply(x.reshape(-1)), dtype=np.float64)


def _columns(b: Array, solve: Callable[[Array], tuple[Array, float]]) -> Array:
    """Solve for every column that is not 0, and check the solution."""
    x = np.zeros_like(b)
    for k in np.flatnonzero(np.abs(b).max(axis=0, initial=0.0) > 0):
        x[:, k], left = solve(b[:, k])
        if not left < 1e-8:
            raise NumericalError(
                f"Poisson's equation on {len(b)} states was solved to a relative error of "
                f"{left:.1g} only: the chain mixes too slowly; method='dense' is exact where "
                "memory allows"
            )
    return x


def _refined(
    operator: Any, b: Array, solver: Any, rtol: float, maxiter: int, **options: Any
) -> tuple[Array, float]:
    """Return the solution and its relative error, by iterative refinement."""
    x, rest, norm = np.zeros_like(b), b, np.linalg.norm(b)
    best = x, 1.0
    for _ in range(4):
        x = x + solver(operator, rest, maxiter=maxiter, rtol=rtol, **options)[0]
        rest = b - operator @ x
        left = float(np.linalg.norm(rest) / norm)
        if not left < 0.5 * best[1]:
            break
        best = x, left
        if left < 2 * rtol:
            break
    return best


def _of_edges(chain: EdgeChain, f: Array, full: bool) -> Array:
    """Return the covariance of averages along a chain on directed edges."""
    centred = f - chain.mu @ f
    # Holding times depend on the nodes; the jumps are reversible after a reversal of the edges.
    h = chain.of_states(chain.holding[:, None] * centred)
    flow = chain.flow / chain.flow.sum()
    if full:
        jumps = chain.jumps()
        matrix = np.eye(chain.n_states) - jumps.toarray()
        # On a cycle the two directions never meet.
        classes, labels = csgraph.connected_components(jumps, connection="strong")
        for c in range(classes):
            within = labels == c
            matrix[np.ix_(within, within)] += flow[within] / flow[within].sum()
        g = linalg.solve(matrix, h, overwrite_a=True)
    else:
        root = np.sqrt(flow)
        reverse = chain.reverse

        def jump(x: Array) -> Array:
            return np.asarray(root * chain.jump_back(x / root))

        ahead = _operator(len(root), lambda x: x - jump(x)[reverse])
        symmetric = _operator(len(root), lambda x: x[reverse] - jump(x))

        def solve(b: Array) -> tuple[Array, float]:
            # The first solver is faster; the second fails only by rounding.
            with np.errstate(all="ignore"):
                x, left = _refined(ahead, b, iterative.bicgstab, 1e-12, 5000)
            if left < 1e-11:
                return x, left
            return _refined(symmetric, b[reverse], iterative.minres, 1e-12, 20 * len(b) + 1000)

        g = _columns(root[:, None] * h, solve) / root[:, None]
    # The flow is that of the steps, weighted by the holding times; its sum is their mean.
    cross = h.T @ (flow[:, None] * g) * (chain.flow.sum() * (1.0 - chain.eps))
    return _symmetrised(2 * cross - centred.T @ (chain.mu[:, None] * centred))
