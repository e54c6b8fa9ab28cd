"""Constraints of parameters: blocks of coordinates, for `fermiac.targets.transformed`.

Each function makes one block. A list of blocks covers the coordinates of a point in order; a
dictionary maps coordinates to blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fermiac._base.validate import real, shown, whole
from fermiac.errors import ArgumentError

__all__ = [
    "Transform",
    "above",
    "below",
    "bounded",
    "cholesky_corr",
    "identity",
    "ordered",
    "positive",
    "simplex",
]


@dataclass(frozen=True, repr=False)
class Transform:
    """A block of coordinates with the same constraint, made by the functions of this module.

    Attributes
    ----------
    kind : {"identity", "above", "below", "bounded", "ordered", "simplex", "cholesky_corr"}
        The constraint.
    size : int
        The number of constrained coordinates.
    low, high : float
        The bounds; infinite where there is none.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.simplex(3).free_size
    2
    """

    kind: str
    size: int = 1
    low: float = -math.inf
    high: float = math.inf

    @property
    def free_size(self) -> int:
        """The number of unconstrained coordinates: one less for a simplex."""
        return self.size - (self.kind == "simplex")

    def _support(self) -> list[tuple[float, float]]:
        """Return the bounds of every constrained coordinate."""
        known = {"simplex": (0.0, 1.0), "cholesky_corr": (-1.0, 1.0)}
        return [known.get(self.kind, (self.low, self.high))] * self.size

    def __repr__(self) -> str:
        bounds = [repr(b) for b in (self.low, self.high) if math.isfinite(b)]
        size = [str(self.size)] if self.kind in ("ordered", "simplex") else []
        if self.kind == "cholesky_corr":
            size = [str((1 + math.isqrt(1 + 8 * self.size)) // 2)]
        if not size and self.size != 1:
            size = [f"n={self.size}"]
        return f"{self.kind}({', '.join(bounds + size)})"


def identity(n: int = 1) -> Transform:
    """Leave coordinates unchanged.

    Parameters
    ----------
    n : int, default 1
        The number of coordinates.

    Returns
    -------
    Transform

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.identity(3)
    identity(n=3)
    """
    return Transform("identity", whole("n", n, 1, 2**31 - 1))


def positive(n: int = 1) -> Transform:
    r"""Constrain coordinates to positive numbers: :math:`x = e^z`.

    Parameters
    ----------
    n : int, default 1
        The number of coordinates.

    Returns
    -------
    Transform

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.positive()
    above(0.0)
    """
    return above(0.0, n)


def above(low: float, n: int = 1) -> Transform:
    r"""Constrain coordinates to numbers above a bound: :math:`x = l + e^z`.

    Parameters
    ----------
    low : float
        The bound l.
    n : int, default 1
        The number of coordinates.

    Returns
    -------
    Transform

    Raises
    ------
    ArgumentError
        If the bound is not finite.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.above(2.0, n=2)
    above(2.0, n=2)
    """
    return Transform("above", whole("n", n, 1, 2**31 - 1), low=real("low", low))


def below(high: float, n: int = 1) -> Transform:
    r"""Constrain coordinates to numbers below a bound: :math:`x = h - e^z`.

    Parameters
    ----------
    high : float
        The bound h.
    n : int, default 1
        The number of coordinates.

    Returns
    -------
    Transform

    Raises
    ------
    ArgumentError
        If the bound is not finite.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.below(0.0)
    below(0.0)
    """
    return Transform("below", whole("n", n, 1, 2**31 - 1), high=real("high", high))


def bounded(low: float, high: float, n: int = 1) -> Transform:
    r"""Constrain coordinates to an interval: :math:`x = l + (h - l) / (1 + e^{-z})`.

    Parameters
    ----------
    low, high : float
        The bounds l < h.
    n : int, default 1
        The number of coordinates.

    Returns
    -------
    Transform

    Raises
    ------
    ArgumentError
        If the bounds are not finite, or not in order.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.bounded(0.0, 1.0)
    bounded(0.0, 1.0)
    """
    bottom, top = real("low", low), real("high", high)
    if not (math.nextafter(bottom, math.inf) < top and math.isfinite(top - bottom)):
        raise ArgumentError(
            f"high: {shown(high)} given; a number above low = {shown(low)} is needed, with numbers "
            "between them, and high - low finite"
        )
    return Transform("bounded", whole("n", n, 1, 2**31 - 1), bottom, top)


def ordered(k: int) -> Transform:
    r"""Constrain coordinates to increasing ones: :math:`x_1 = z_1, x_i = x_{i-1} + e^{z_i}`.

    Parameters
    ----------
    k : int
        The number of coordinates, 1 or more.

    Returns
    -------
    Transform

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.ordered(3)
    ordered(3)
    """
    return Transform("ordered", whole("k", k, 1, 2**31 - 1))


def simplex(k: int) -> Transform:
    r"""Constrain coordinates to positive numbers with sum 1, by additive log-ratios.

    :math:`z_i = \log(x_i / x_k)` for i < k, which gives k - 1 unconstrained coordinates. Densities
    are with respect to the first k - 1 constrained coordinates, as is usual for Dirichlet
    densities.

    Parameters
    ----------
    k : int
        The number of coordinates, 2 or more.

    Returns
    -------
    Transform

    References
    ----------
    J. Aitchison, "The Statistical Analysis of Compositional Data", 1986,
    doi:10.1007/978-94-009-4109-0.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.transforms.simplex(3)
    simplex(3)
    """
    return Transform("simplex", whole("k", k, 2, 2**31 - 1))


def cholesky_corr(k: int) -> Transform:
    r"""Constrain coordinates to the Cholesky factor of a correlation matrix.

    The coordinates are the ``k * (k - 1) / 2`` entries below the diagonal, row by row, as in
    `fermiac.distributions.LKJ`. Each is a partial correlation :math:`t = \tanh z` times the
    remaining length of the row after the entries before it [1]_: :math:`r_j = t_j \sqrt{1 - r_1^2 -
    \dots - r_{j-1}^2}`.

    Parameters
    ----------
    k : int
        The rows of the matrix, 2 to 1000.

    Returns
    -------
    Transform

    References
    ----------
    .. [1] D. Lewandowski, D. Kurowicka and H. Joe, "Generating random correlation matrices based on
       vines and extended onion method", Journal of Multivariate Analysis 100 (2009),
       doi:10.1016/j.jmva.2009.04.008.

    Examples
    --------
    >>> import fermiac as fm
    >>> block = fm.targets.transforms.cholesky_corr(3)
    >>> block, block.size
    (cholesky_corr(3), 3)
    """
    rows = whole("k", k, 2, 1000)
    return Transform("cholesky_corr", rows * (rows - 1) // 2)


def __dir__() -> list[str]:
    return sorted(__all__)
