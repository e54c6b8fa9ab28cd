"""The base chains of walks: their names, and those that have settings of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fermiac._base.validate import choice, positive, whole
from fermiac.errors import ArgumentError

__all__ = ["MTM", "Base", "Lazy", "Node2Vec", "base_of", "inner_of", "real", "takes_target"]

NAMES = ("srw", "weighted", "mhrw", "mhda", "nbrw", "maxdeg", "barker", "lazy", "mtm")

# Their law is that of the degrees, or of the strengths: no target can be given to them.
_BY_DEGREE = ("srw", "nbrw", "weighted")


@dataclass(frozen=True)
class Lazy:
    """A base chain that stays where it is with some probability in each step.

    Parameters
    ----------
    base : str or MTM, default "srw"
        The chain that moves otherwise.
    eps : float, default 0.5
        The probability to stay, in [0, 1).

    Raises
    ------
    ArgumentError
        For a probability outside of [0, 1), or a base of another kind.

    Examples
    --------
    >>> import fermiac as fm
    >>> triangle = [[0, 1], [1, 2], [2, 0]]
    >>> round(fm.walks.spectral_gap(triangle, fm.walks.Lazy("srw", 0.5)), 12)
    0.75
    """

    base: str | MTM = "srw"
    eps: float = 0.5

    def __post_init__(self) -> None:
        inner = base_of(self.base, "base of Lazy")
        if isinstance(inner, Lazy | Node2Vec):
            raise ArgumentError(
                f"base of Lazy: {self.base!r} was given; a chain that is not lazy itself, and of "
                "first order, is needed"
            )
        eps = real(self.eps)
        if not 0.0 <= eps < 1.0:
            raise ArgumentError(f"eps: {self.eps!r:.60} was given; a number in [0, 1) is needed")
        object.__setattr__(self, "base", inner)
        object.__setattr__(self, "eps", eps)


@dataclass(frozen=True)
class MTM:
    """Multiple-try Metropolis: the best of several neighbours, locally balanced.

    Parameters
    ----------
    n_tries : int, default 2
        Neighbours that are proposed in each step, from 1 to 64.
    balance : {"barker", "sqrt"}, default "barker"
        How the ratio u of the target's values, corrected by the degrees, weighs a neighbour:
        u / (1 + u), or the square root of u.

    Raises
    ------
    ArgumentError
        For a number of tries out of range, or an unknown balance.

    References
    ----------
    .. [1] J. S. Liu, F. Liang, W. H. Wong, "The multiple-try method and local optimization in
       Metropolis sampling", Journal of the American Statistical Association, 2000.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.MTM(n_tries=4).balance
    'barker'
    """

    n_tries: int = 2
    balance: str = "barker"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_tries", whole("n_tries", self.n_tries, 1, 64))
        choice("balance", self.balance, ("barker", "sqrt"))


@dataclass(frozen=True)
class Node2Vec:
    """The second-order walk of node2vec, which has no stationary law in closed form.

    Parameters
    ----------
    p : float, default 1
        Return parameter: the weight of going back is 1 / p.
    q : float, default 1
        In-out parameter: the weight of leaving the neighbourhood of the node before is 1 / q.

    Raises
    ------
    ArgumentError
        For a parameter that is not positive and finite.

    References
    ----------
    .. [1] A. Grover, J. Leskovec, "node2vec: Scalable feature learning for networks", KDD 2016.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.Node2Vec(p=0.5, q=2.0)
    Node2Vec(p=0.5, q=2.0)
    """

    p: float = 1.0
    q: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", positive("p", self.p))
        object.__setattr__(self, "q", positive("q", self.q))


def real(value: object) -> float:
    """Give the number that `value` is, NaN if it is none."""
    known = isinstance(value, int | float | np.integer | np.floating)
    return float(value) if known and not isinstance(value, bool) else math.nan  # type: ignore[arg-type]


Base: TypeAlias = "str | Lazy | MTM | Node2Vec"
"""What every ``base=`` argument takes."""


def base_of(base: object, name: str = "base") -> Base:
    """Take `base` as a base chain: ``"lazy"`` and ``"mtm"`` become those with default settings."""
    if isinstance(base, Lazy | MTM | Node2Vec):
        return base
    if not isinstance(base, str) or base not in NAMES:
        words = ", ".join(repr(word) for word in NAMES)
        raise ArgumentError(
            f"{name}: {base!r:.60} was given; one of {words}, or a Lazy, MTM or Node2Vec is needed"
        )
    if base == "lazy":
        return Lazy()
    return MTM() if base == "mtm" else base


def inner_of(base: Base) -> tuple[Base, float]:
    """The chain that moves, and the probability that it is not asked."""
    return (base.base, base.eps) if isinstance(base, Lazy) else (base, 0.0)


def takes_target(base: Base) -> bool:
    """Whether the chain has a target of its own choice, other than the degrees."""
    return inner_of(base)[0] not in _BY_DEGREE and not isinstance(base, Node2Vec)
