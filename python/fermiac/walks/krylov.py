"""A few modes that stand for the whole spectrum of a large chain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fermiac.errors import NumericalError
from fermiac.walks.transition import NodeChain

__all__ = ["quadrature"]

Array = NDArray[np.float64]

_NUMBERS = 200_000_000
_LARGEST = 3000


def quadrature(chain: NodeChain, scaled: Array) -> tuple[Array, Array]:
    """Nodes l and products B such that the sums of g(l) B B^T are those over the whole spectrum.

    By the block Lanczos method with full orthogonalisation, from the centred functions: it is Gauss
    quadrature with respect to their spectral measure, and has converged for smooth g when it has
    for the sharpest one, (1 + l) / (1 - l).
    """
    s, v = chain.symmetric(), np.sqrt(chain.mu)
    start = scaled - np.multiply.outer(v, v @ scaled)
    most = min(len(v) - 1, _LARGEST, max(_NUMBERS // len(v), 1))
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
                f"the spectrum that the token feels was not found with {m} vectors: the chain of "
                f"{len(v)} nodes mixes too slowly, or the parameters are too many; take "
                "method='dense', the kernel 'hdt', or fewer parameters"
            )
        basis = np.concatenate([basis, block], axis=1)


def _orthonormal(columns: Array, floor: float) -> tuple[Array, int]:
    """An orthonormal basis of the columns, those that are next to nothing left out."""
    q, r, _ = linalg.qr(columns, mode="economic", pivoting=True)
    size = np.abs(np.diagonal(r))
    keep = int((size > max(floor, 1e-13 * size.max(initial=0.0))).sum())
    return q[:, :keep], keep
