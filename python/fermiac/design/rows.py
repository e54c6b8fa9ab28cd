"""Importance of the rows of a matrix, and random rows that preserve its norms."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import RngLike, choice, key_of, numbers, positive, real, whole
from fermiac.design.sensitivity import sensitivities
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.random.stream import Stream
from fermiac.results.result import Result, warn

__all__ = ["RowSample", "row_scores", "sample_rows"]

Array = NDArray[np.float64]
Kind = Literal["leverage", "ridge", "lewis", "sensitivity"]
_KINDS = ("leverage", "ridge", "lewis", "sensitivity")
#: The smallest and the largest exponent of Lewis weights, the change of their logarithms at
#: convergence, and the number of iterations.
_LEAST_P, _MOST_P, _CONVERGED, _ITERATIONS = 0.1, 100.0, 1e-10, 2000
#: The numbers of a block of rows, between which Ctrl-C is answered.
_BLOCK = 2**22
#: The largest number of rows for sensitivities, each of which is an optimisation over all rows.
_MOST_ROWS = 5000


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RowSample(Result):
    """Random rows of a matrix, with the factors that keep its norms unbiased.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        The drawn rows, which may repeat.
    factors : ndarray, shape (n,)
        The factor of each drawn row: the matrix S A is ``factors[:, None] * A[rows]``.
    probabilities : ndarray, shape (N,)
        The probability of each row in a draw.
    p : float
        The exponent of the norm.

    Examples
    --------
    >>> import fermiac as fm
    >>> A = fm.random.Stream(1).normal((1000, 3))
    >>> s = fm.design.sample_rows(A, 200, rng=0)
    >>> SA = s.factors[:, None] * A[s.rows]
    >>> bool(0.7 < (SA**2).sum() / (A**2).sum() < 1.3)
    True
    """

    rows: NDArray[np.int64]
    factors: Array
    probabilities: Array
    p: float

    _layout: ClassVar[fit.Layout] = {
        "rows": fit.array("i", "n"),
        "factors": fit.array("f", "n"),
        "probabilities": fit.array("f", "rows"),
        "p": fit.real,
    }

    def _headline(self) -> str:
        return f"RowSample: {self.rows.size} of {self.probabilities.size} rows"


@public
def row_scores(
    A: ArrayLike, kind: Kind = "leverage", *, p: float = 2.0, ridge: float = 1.0
) -> Array:
    r"""Return the importance of each row of a matrix: leverage, Lewis weight or sensitivity.

    Parameters
    ----------
    A : array_like, shape (N, d)
        The matrix; its columns may be linearly dependent.
    kind : {"leverage", "ridge", "lewis", "sensitivity"}, default "leverage"
        ``"leverage"``: :math:`a_i' (A'A)^{+} a_i`. ``"ridge"``: :math:`a_i' (A'A + \lambda I)^{-1}
        a_i`. ``"lewis"``: the weights w that solve :math:`w_i^{2/p} = a_i' (A' W^{1 - 2/p} A)^{+}
        a_i` [1]_ [2]_, which are the leverage scores for p = 2. ``"sensitivity"``:
        :math:`\max_x |a_i' x|^p / \|A x\|_p^p`, the largest share of a row in the norm.
    p : float, default 2
        The exponent of the norm, for Lewis weights from 0.1 to 100, and for sensitivities from 1 to
        100.
    ridge : float, default 1
        The number λ, positive, for ``"ridge"``.

    Returns
    -------
    ndarray, shape (N,)
        Leverage scores and Lewis weights sum to the rank of `A`; rows of zeros have the score 0.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or sensitivities of more than 5000 rows are wanted.

    Warns
    -----
    ConvergenceWarning
        If the iteration of Lewis weights or of sensitivities has not converged.

    Notes
    -----
    The iteration is log w ← (1 - η) log w + η log F(w) with :math:`F_i = (a_i' (A' W^{1 - 2/p}
    A)^{-1} a_i)^{p/2}`, where η = 1 for p ≤ 2 and 4 / (p + 2) above.

    A sensitivity is found between two bounds that agree to 1e-9: the share of a row at one x, and
    :math:`\|y\|_q^p` for one y with :math:`A' y = a_i` and 1 / p + 1 / q = 1. Each takes the time
    of several regressions. For p ≤ 2 Lewis weights are at least as large as sensitivities, and
    serve as well for large matrices.

    References
    ----------
    .. [1] D. R. Lewis, "Finite dimensional subspaces of Lp", Studia Mathematica, 1978.
    .. [2] M. B. Cohen, R. Peng, "Lp row sampling by Lewis weights", STOC, 2015, arXiv:1412.0588.

    Examples
    --------
    >>> import fermiac as fm
    >>> A = [[1, 0], [0, 1], [1, 1], [1, -1], [4, 0]]
    >>> fm.design.row_scores(A, "lewis", p=1).round(8).tolist()
    [0.17056216, 0.35660253, 0.39529333, 0.39529333, 0.68224865]
    """
    scores, converged = _scores(A, kind, p, ridge)
    if not converged:
        _warn_alone()
    return scores


@public
def sample_rows(
    A: ArrayLike,
    n: int,
    kind: Kind = "leverage",
    *,
    p: float = 2.0,
    ridge: float = 1.0,
    scores: ArrayLike | None = None,
    rng: RngLike = None,
) -> RowSample:
    r"""Draw rows of a matrix, so that :math:`\|S A x\|_p^p` is unbiased for every x [1]_.

    Parameters
    ----------
    A : array_like, shape (N, d)
        The matrix.
    n : int
        The number of draws, with replacement.
    kind, p, ridge
        The scores and the exponent of the norm; see `row_scores`. Leverage scores suit p = 2, and
        Lewis weights any p.
    scores : array_like, shape (N,), optional
        Scores of your own in place of those of `kind`; not negative, and positive for rows that are
        not zero.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Returns
    -------
    RowSample
        ``rows`` and ``factors``.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or all rows are zero.

    Warns
    -----
    ConvergenceWarning
        If the iteration of the scores has not converged; the norms are unbiased all the same.

    Notes
    -----
    Row i is drawn with the probability :math:`q_i` proportional to its score, and multiplied by
    :math:`(n q_i)^{-1/p}`. A row that is not zero and has the score 0 would make norms too small,
    and is refused.

    References
    ----------
    .. [1] M. B. Cohen, R. Peng, "Lp row sampling by Lewis weights", STOC, 2015, arXiv:1412.0588.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> A = fm.random.Stream(1).normal((2000, 4))
    >>> s = fm.design.sample_rows(A, 500, "lewis", p=1, rng=0)
    >>> x = np.array([1.0, -1.0, 0.5, 2.0])
    >>> ratio = (s.factors * abs(A[s.rows] @ x)).sum() / abs(A @ x).sum()
    >>> bool(abs(ratio - 1) < 0.2)
    True
    """
    began = time.perf_counter()
    count = whole("n", n, 1, 2**40)
    key = key_of(rng)
    a = _matrix(A)
    power = real("p", p, f"a number from {_LEAST_P:g} to {_MOST_P:g} is needed", _is_exponent)
    converged = True
    if scores is None:
        q, converged = _scores(a, kind, power, ridge)
    else:
        q = numbers("scores", scores)
        if q.shape != (len(a),) or not ((q >= 0) & np.isfinite(q)).all():
            raise ArgumentError(
                f"scores: an array of shape {q.shape} given; {len(a)} finite numbers are needed "
                "that are not negative"
            )
        if (a[q == 0] != 0).any():
            raise ArgumentError(
                "scores: 0 given for a row that is not zero; positive scores are needed for these"
            )
    total = float(q.sum())
    if not total > 0:
        raise ArgumentError("A: all rows are zero; others are needed")
    q = q / total
    rows = Stream(key).categorical(q, count)
    made = RowSample(
        rows=rows,
        factors=(count * q[rows]) ** (-1 / power),
        probabilities=q,
        p=power,
        seed=key,
        version=_core.__version__,
        isa=_core.isa_level,
        settings={"n": count, "kind": "given" if scores is not None else kind, "p": power},
        n_evals=0,
        wall_time=time.perf_counter() - began,
    )
    if not converged:
        warn([(ConvergenceWarning, _SLOW)], made)
    return made


_SLOW = "the iteration of the scores has not converged; take a smaller p, or leverage scores"


def _warn_alone() -> None:
    import warnings

    from fermiac._base.calls import users_level

    warnings.warn(_SLOW, ConvergenceWarning, stacklevel=users_level())


def _is_exponent(p: float) -> bool:
    return _LEAST_P <= p <= _MOST_P


def _matrix(given: Any) -> Array:
    array = numbers("A", given)
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
        raise ArgumentError(
            f"A: an array of shape {array.shape} given; a matrix (N, d) of finite numbers is needed"
        )
    return array


def _scores(given: Any, kind: Any, p: Any, ridge: Any) -> tuple[Array, bool]:
    """Return the scores, and whether their iteration has converged."""
    a = _matrix(given)
    chosen = choice("kind", kind, _KINDS)
    power = real("p", p, f"a number from {_LEAST_P:g} to {_MOST_P:g} is needed", _is_exponent)
    penalty = positive("ridge", ridge)
    if chosen == "ridge":
        return _forms(a, _factor(a, None, penalty)), True
    scale = np.abs(a).max(0)
    scale[scale == 0] = 1.0
    a = a / scale  # which changes neither leverage scores nor Lewis weights
    own = _forms(a, _factor(a, None, 0.0))
    if chosen == "leverage" or power == 2:
        return own, True
    there = own > 0
    if chosen == "sensitivity":
        return _sensitivities(a, own, there, power)
    rows, logs = a[there], np.log(own[there])
    step = 1.0 if power <= 2 else 4 / (power + 2)
    converged = False
    for _ in range(_ITERATIONS):
        factor = _factor(rows, np.exp((0.5 - 1 / power) * logs), 0.0)
        new = (1 - step) * logs + step * 0.5 * power * np.log(_forms(rows, factor))
        change = float(np.abs(new - logs).max())
        logs = new
        if change < _CONVERGED:
            converged = True
            break
    own[there] = np.exp(logs)
    return own, converged


def _sensitivities(a: Array, own: Array, there: NDArray[np.bool_], p: float) -> tuple[Array, bool]:
    """Return the sensitivities, and whether they are known; `own` are the leverage scores."""
    if p < 1:
        raise ArgumentError(f"p: {p:g} given for 'sensitivity'; a number from 1 to 100 is needed")
    if there.sum() > _MOST_ROWS:
        raise ArgumentError(
            f"A: {int(there.sum())} rows given to 'sensitivity', whose scores would take too long; "
            f"at most {_MOST_ROWS} are possible; kind='lewis' has no such limit"
        )
    if not there.any():
        return own, True
    basis = a[there] @ _factor(a, None, 0.0)
    own[there], converged = sensitivities(basis, p)
    return own, converged


def _blocks(a: Array) -> range:
    return range(0, len(a), max(1, a.shape[1], _BLOCK // a.shape[1]))


def _factor(a: Array, root: Array | None, penalty: float) -> Array:
    """Return M with M M' = (A'WA + penalty I)⁺, where `root` is the square root of W.

    The rows are reduced to a triangle block by block, which keeps twice the digits of A'WA.
    """
    d = a.shape[1]
    step = _blocks(a).step
    triangle = np.sqrt(penalty) * np.eye(d) if penalty else np.zeros((0, d))
    for i in _blocks(a):
        part = a[i : i + step]
        if root is not None:
            part = part * root[i : i + step, None]
        triangle = np.linalg.qr(np.concatenate([triangle, part]), mode="r")
    _, s, vt = np.linalg.svd(triangle, full_matrices=False)
    kept = s > d * np.finfo(float).eps * max(float(s[0]), np.finfo(float).tiny)
    return np.asarray(vt[kept].T / s[kept])


def _forms(a: Array, factor: Array) -> Array:
    """Return the squared length of each row of A M."""
    step = _blocks(a).step
    out = np.empty(len(a))
    for i in _blocks(a):
        part = a[i : i + step] @ factor
        out[i : i + step] = np.einsum("nd,nd->n", part, part)
    return out
