"""Losses of data on the nodes of a graph: least squares and logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import numbers, real, taken
from fermiac.errors import ArgumentError, NumericalError
from fermiac.walks.losses import Loss, finite, solved

__all__ = ["LeastSquares", "Logistic"]

Array = NDArray[np.float64]


class _Data(Loss):
    """Base class of losses of data on nodes."""

    __slots__ = ("X", "ridge", "starts", "y")

    _link: str

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        shards: ArrayLike,
        *,
        ridge: float = 0.0,
    ) -> None:
        rows = finite("X", X)
        if rows.ndim != 2 or not rows.size:
            raise ArgumentError(f"X: shape {rows.shape} was given; (n, d) is needed")
        targets = self._targets(y)
        if targets.shape != (len(rows),):
            raise ArgumentError(
                f"y: shape {targets.shape} was given for {len(rows)} rows; ({len(rows)},) is needed"
            )
        needed = "a finite number from 0 on is needed"
        self.ridge = real("ridge", ridge, needed, lambda x: 0.0 <= x < np.inf)
        order, self.starts = _sorted(shards, len(rows))
        if order is not None:
            rows, targets = rows[order], targets[order]
        self.X, self.y = np.ascontiguousarray(rows), np.ascontiguousarray(targets)
        self.n_nodes, self.dim = len(self.starts) - 1, rows.shape[1]
        self._handle = _core.TokenLoss.data(self.X, self.y, self.starts, self._link, self.ridge)

    def _targets(self, y: ArrayLike) -> Array:
        return finite("y", y)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of rows of each node; with these as ``weights=`` all rows count the same."""
        return np.diff(self.starts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.X, self.y, self.starts, self.ridge)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}: {len(self.y)} rows on {self.n_nodes} nodes, {self.dim} "
            "parameters"
        )

    def _row_shares(self, weights: ArrayLike | None) -> Array:
        return np.repeat(self._shares(weights) / self.sizes, self.sizes)


class LeastSquares(_Data):
    r"""Least squares: the mean of :math:`(x \cdot \theta - y)^2 / 2` over the rows of a node.

    Parameters
    ----------
    X : array_like of shape (n, d)
        Rows of data.
    y : array_like of shape (n,)
        The target of each row.
    shards : array_like of int
        The node of each row, shape (n,); or, if rows are sorted by node, the start of the rows of
        each node, and the end, shape (n_nodes + 1,).
    ridge : float, default 0
        ridge :math:`|\theta|^2 / 2` is added to the loss of every node.

    Raises
    ------
    ArgumentError
        For arrays of other shapes, numbers that are not finite, or a node without rows.

    Notes
    -----
    Tokens minimise the mean over nodes, regardless of their numbers of rows. With
    ``weights=loss.sizes`` nodes are visited in proportion to these numbers, and every row counts
    the same.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> X = np.column_stack([np.ones(6), np.arange(6.0)])
    >>> loss = fm.walks.LeastSquares(X, 2.0 * np.arange(6) - 1.0, shards=[0, 0, 1, 1, 2, 2])
    >>> print(np.round(loss.minimum(), 6))
    [-1.  2.]
    """

    __slots__ = ()

    _link = "square"

    def minimum(self, weights: ArrayLike | None = None) -> Array:
        """Return the minimum of the mean of the losses.

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
            If the rows do not determine the minimum.
        """
        shares = self._row_shares(weights)
        weighed = self.X * shares[:, None]
        return solved(weighed.T @ self.X + self.ridge * np.eye(self.dim), weighed.T @ self.y)


class Logistic(_Data):
    r"""Logistic regression: the mean of :math:`\ln(1 + \exp(-y\, x \cdot \theta))` over a node.

    Parameters
    ----------
    X : array_like of shape (n, d)
        Rows of data; a column of ones makes an intercept.
    y : array_like of shape (n,)
        Classes: 1 and -1, or 1 and 0, or booleans.
    shards : array_like of int
        The node of each row, shape (n,); or, if rows are sorted by node, the start of the rows of
        each node, and the end, shape (n_nodes + 1,).
    ridge : float, default 0
        ridge :math:`|\theta|^2 / 2` is added to the loss of every node.

    Raises
    ------
    ArgumentError
        For arrays of other shapes, numbers that are not finite, other classes, or a node without
        rows.

    Notes
    -----
    As for `LeastSquares`, ``weights=loss.sizes`` makes every row count the same.

    Examples
    --------
    >>> import fermiac as fm
    >>> x, y = [[-2.0], [-1.0], [1.0], [2.0]], [0, 1, 0, 1]
    >>> loss = fm.walks.Logistic(x, y, shards=[0, 0, 1, 1], ridge=0.1)
    >>> print(f"{loss.minimum()[0]:.4f}")
    0.3553
    """

    __slots__ = ()

    _link = "logistic"

    def _targets(self, y: ArrayLike) -> Array:
        given = taken("y", y)
        classes = numbers("y", given.astype(np.float64) if given.dtype.kind == "b" else y)
        found = set(np.unique(classes).tolist())
        if not (found <= {0.0, 1.0} or found <= {-1.0, 1.0}):
            raise ArgumentError(
                f"y: the values {sorted(found)[:5]} were given; classes are 1 and -1, or 1 and 0"
            )
        return np.where(classes > 0, 1.0, -1.0)

    def minimum(self, weights: ArrayLike | None = None) -> Array:
        """Return the minimum of the mean of the losses, by Newton's method.

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
            If there is no minimum, because the classes can be separated and ``ridge`` is 0.
        """
        shares = self._row_shares(weights)

        def value(theta: Array) -> float:
            losses = np.logaddexp(0.0, -self.y * (self.X @ theta))
            return float(shares @ losses + 0.5 * self.ridge * theta @ theta)

        theta = np.zeros(self.dim)
        for _ in range(100):
            wrong = 1.0 / (1.0 + np.exp(np.minimum(self.y * (self.X @ theta), 700.0)))
            slope = self.ridge * theta - self.X.T @ (shares * self.y * wrong)
            bend = (self.X * (shares * wrong * (1.0 - wrong))[:, None]).T @ self.X
            step = solved(bend + self.ridge * np.eye(self.dim), slope)
            if np.abs(step).max() <= 1e-13 * (1.0 + np.abs(theta).max()):
                return theta - step
            size, here = 1.0, value(theta)
            # Near the minimum values only differ by rounding.
            while size > 1e-10 and value(theta - size * step) > here * (1.0 + 1e-13):
                size /= 2.0
            theta = theta - size * step
        raise NumericalError(
            "the mean of the losses has no minimum, or one that is too flat to be found: the "
            "classes can be separated; give a ridge"
        )


def _restored(kind: type[_Data], x: Array, y: Array, starts: Array, ridge: float) -> _Data:
    return kind(x, y, starts, ridge=ridge)


def _sorted(shards: ArrayLike, n: int) -> tuple[NDArray[np.intp] | None, NDArray[np.int64]]:
    """Return the order that sorts rows by node, or None, and the start of each node's rows."""
    given = taken("shards", shards)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iu":
        raise ArgumentError(
            f"shards: {given.dtype} of shape {given.shape} was given; the node of each row, shape "
            f"({n},), or where the rows of each node begin, and the end, are needed"
        )
    nodes = given.astype(np.int64)
    # Used as the nodes of rows, these values would leave a node without rows.
    if nodes[0] == 0 and nodes[-1] == n and len(nodes) > 1:
        return None, nodes
    if len(nodes) != n or nodes.min() < 0:
        raise ArgumentError(
            f"shards: {len(nodes)} numbers from {nodes.min()} to {nodes.max()} were given for {n} "
            f"rows; the node of each row is needed, or numbers from 0 to {n} where the rows of "
            "each node begin, and the end"
        )
    if nodes.max() >= n:
        raise ArgumentError(
            f"shards: node {nodes.max()} was given, and there are {n} rows; every node needs a row"
        )
    starts = np.concatenate([[0], np.cumsum(np.bincount(nodes))])
    return np.argsort(nodes, kind="stable"), starts.astype(np.int64)
