"""Losses on the nodes of a graph: the base class, and quadratic losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import numbers, taken
from fermiac.errors import ArgumentError, NumericalError

__all__ = ["Loss", "Quadratic", "finite", "solved"]

Array = NDArray[np.float64]

#: The largest number of parameters in a part of an objective.
_PART = 2**22


class Loss:
    """Base class of losses on the nodes that are evaluated in Rust.

    `Quadratic`, `LeastSquares` and `Logistic` are losses.

    Attributes
    ----------
    dim : int
        The number of parameters.
    n_nodes : int
        The number of nodes.
    """

    __slots__ = ("_handle", "dim", "n_nodes")

    _handle: _core.TokenLoss
    dim: int
    n_nodes: int

    def gradient(self, theta: ArrayLike, nodes: ArrayLike) -> Array:
        """Return the gradients at nodes.

        Parameters
        ----------
        theta : array_like of shape (n, d)
            Parameters.
        nodes : array_like of int, shape (n,)
            The node of each row.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            For arrays of other shapes, or nodes that do not exist.
        """
        theta, nodes = self._rows(theta, nodes)
        return self._handle.evaluate(theta, nodes, False).reshape(theta.shape)

    def value(self, theta: ArrayLike, nodes: ArrayLike) -> Array:
        """Return the losses at nodes.

        Parameters
        ----------
        theta : array_like of shape (n, d)
            Parameters.
        nodes : array_like of int, shape (n,)
            The node of each row.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        ArgumentError
            For arrays of other shapes, or nodes that do not exist.
        """
        return self._handle.evaluate(*self._rows(theta, nodes), True)

    def objective(self, theta: ArrayLike, weights: ArrayLike | None = None) -> Any:
        """Return the mean of the losses of all nodes, which tokens minimise.

        Parameters
        ----------
        theta : array_like of shape (d,) or (n, d)
            Parameters.
        weights : array_like of shape (n_nodes,), optional
            The weight of each node; by default all are equal.

        Returns
        -------
        float or ndarray of shape (n,)

        Raises
        ------
        ArgumentError
            For arrays of other shapes, or weights that are not positive.
        """
        points = numbers("theta", theta)
        shares = self._shares(weights)
        rows = np.atleast_2d(points)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ArgumentError(
                f"theta: shape {points.shape} was given; ({self.dim},) or (n, {self.dim}) is needed"
            )
        out = np.empty(len(rows))
        part = max(1, _PART // self.dim)
        for i, row in enumerate(rows):
            total = []
            for first in range(0, self.n_nodes, part):
                nodes = np.arange(first, min(first + part, self.n_nodes))
                values = self.value(np.broadcast_to(row, (len(nodes), self.dim)), nodes)
                total.append(float(shares[nodes] @ values))
            out[i] = math.fsum(total)
        return float(out[0]) if points.ndim == 1 else out

    def _rows(self, theta: ArrayLike, nodes: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
        given, places = taken("theta", theta), taken("nodes", nodes)
        # Before the numbers are read: a view of another shape may be larger than the memory.
        if given.shape != (places.size, self.dim) or places.ndim != 1:
            raise ArgumentError(
                f"theta, nodes: shapes {given.shape} and {places.shape} were given; "
                f"(n, {self.dim}) and (n,) are needed"
            )
        points = np.ascontiguousarray(numbers("theta", given))
        needed = f"whole numbers from 0 to {self.n_nodes - 1} are needed"
        if places.size and places.dtype.kind not in "iu":
            raise ArgumentError(f"nodes: an array of {places.dtype} was given; {needed}")
        if places.size and (places.min() < 0 or places.max() >= self.n_nodes):
            raise ArgumentError(
                f"nodes: numbers from {places.min()} to {places.max()} were given; {needed}"
            )
        return points, np.ascontiguousarray(places, dtype=np.int64)

    def _shares(self, weights: ArrayLike | None) -> Array:
        if weights is None:
            return np.full(self.n_nodes, 1.0 / self.n_nodes)
        w = numbers("weights", weights)
        if w.shape != (self.n_nodes,) or not (np.isfinite(w).all() and (w > 0).all()):
            raise ArgumentError(
                f"weights: shape {w.shape} was given; {self.n_nodes} positive, finite numbers are "
                "needed"
            )
        return np.asarray(w / w.sum())


class Quadratic(Loss):
    r"""Quadratic functions :math:`f_i(\theta) = (\theta - b_i)^\top A_i (\theta - b_i) / 2`.

    Parameters
    ----------
    A : float or array_like of shape (n_nodes,), (n_nodes, d) or (n_nodes, d, d)
        The second derivatives: one number for all nodes or for each node, times the identity;
        diagonals; or symmetric matrices.
    b : array_like of shape (n_nodes, d) or (n_nodes,)
        The stationary point of each function; of shape (n_nodes,) for one parameter.

    Raises
    ------
    ArgumentError
        For arrays of other shapes, numbers that are not finite, or a matrix that is not symmetric.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> loss = fm.walks.Quadratic(1.0, np.arange(6.0))
    >>> loss.gradient([[2.0]], [5])
    array([[-3.]])
    >>> loss.minimum()
    array([2.5])
    """

    __slots__ = ("A", "b")

    def __init__(self, A: ArrayLike, b: ArrayLike) -> None:
        centers = finite("b", b)
        centers = centers[:, None] if centers.ndim == 1 else centers
        if centers.ndim != 2 or not centers.size:
            raise ArgumentError(
                f"b: shape {centers.shape} was given; (n_nodes, d) or (n_nodes,) is needed"
            )
        n, d = centers.shape
        curvature = finite("A", A)
        kinds = {(): "same", (n,): "scalars", (n, d): "diagonals", (n, d, d): "full"}
        kind = kinds.get(curvature.shape)
        if kind is None:
            raise ArgumentError(
                f"A: shape {curvature.shape} was given for b of shape {centers.shape}; a number, "
                f"({n},), ({n}, {d}) or ({n}, {d}, {d}) is needed"
            )
        if kind == "full":
            turned = np.swapaxes(curvature, 1, 2)
            wrong = np.abs(curvature - turned).max(axis=(1, 2)) > 1e-12 * np.abs(curvature).max()
            if wrong.any():
                raise ArgumentError(
                    f"A: the matrix of node {int(wrong.argmax())} is not symmetric; (A + A.T) / 2 "
                    "has the same values, and that gradient"
                )
        self.A, self.b = curvature, centers
        self.n_nodes, self.dim = n, d
        flat = np.ascontiguousarray(curvature).reshape(-1)
        self._handle = _core.TokenLoss.quadratic(np.ascontiguousarray(centers), kind, flat)

    def __reduce__(self) -> tuple[Any, ...]:
        return Quadratic, (self.A, self.b)

    def __repr__(self) -> str:
        return f"Quadratic: {self.n_nodes} nodes, {self.dim} parameters"

    def minimum(self, weights: ArrayLike | None = None) -> Array:
        """Return the stationary point of the mean of the losses: its minimum, if it is convex.

        Parameters
        ----------
        weights : array_like of shape (n_nodes,), optional
            The weight of each node; by default all are equal.

        Returns
        -------
        ndarray of shape (d,)

        Raises
        ------
        ArgumentError
            For weights of another shape, or that are not positive.
        NumericalError
            If the mean of the second derivatives is singular.
        """
        shares = self._shares(weights)
        if self.A.ndim == 3:
            mean = np.einsum("n,nij->ij", shares, self.A)
            right = np.einsum("n,nij,nj->i", shares, self.A, self.b)
            return solved(mean, right)
        diagonals = self.A if self.A.ndim == 2 else self.A.reshape(-1, 1)
        diagonals = np.broadcast_to(diagonals, self.b.shape)
        return solved(np.diag(shares @ diagonals), shares @ (diagonals * self.b))


def finite(name: str, given: ArrayLike) -> Array:
    """Take finite numbers."""
    array = numbers(name, given)
    if not np.isfinite(array).all():
        raise ArgumentError(f"{name}: infinity was given; finite numbers are needed")
    return array


def solved(matrix: Any, right: Any) -> Array:
    """Return the minimum of a quadratic function."""
    try:
        found = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        found = np.full(len(right), np.nan)
    if not np.isfinite(found).all():
        raise NumericalError(
            "the mean of the second derivatives is singular: the losses do not determine the "
            "minimum; a ridge does"
        )
    return np.asarray(found, dtype=np.float64)
