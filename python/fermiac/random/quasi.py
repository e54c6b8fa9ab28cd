"""Quasi-random points: `sobol`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import config
from fermiac._base.validate import RngLike, choice, key_of, shape_of, whole

__all__ = ["sobol"]

#: The number of points of a sequence: an index has 52 binary digits, like a coordinate.
_MOST = 2**52
_SCRAMBLES = ("linear", "owen", "shift")


def sobol(
    n: int,
    dim: int,
    rng: RngLike = None,
    scramble: str | None = "linear",
    start: int = 0,
    *,
    replicate: int = 0,
) -> NDArray[np.float64]:
    """Return Sobol' points, which fill the unit cube more evenly than random points.

    The points have the direction numbers of Joe and Kuo [1]_ and the order of
    `scipy.stats.qmc.Sobol`. The first 2**m points, and each block of 2**m points after them, are a
    (t, m, dim)-net in base 2: each box of volume 2**(t - m) whose sides are cut at binary fractions
    holds exactly 2**t of them. The error of an average over a net falls like 1/n up to a power of
    log n, or faster for smooth integrands, instead of like 1/sqrt(n).

    Parameters
    ----------
    n : int
        The number of points. Take a power of two: other numbers of points are not a net and lose
        much of the accuracy. Keep the first point: without it, the rest is not a net either [2]_.
    dim : int
        The dimension, at least 1. There are direction numbers for 21 201 coordinates; further
        coordinates are random and independent. The accuracy is that of the leading coordinates, so
        put the important ones first.
    rng : int, numpy.random.SeedSequence, numpy.random.Generator or None
        The key of the scramble, or an argument from which `key_of` makes one; by default a new key
        from the system. Calls that continue a sequence need the same whole number.
    scramble : {"linear", "owen", "shift"} or None, default "linear"
        How the points are randomised. Each point of a scrambled sequence is uniform, so that
        averages are unbiased, and the sequence keeps its nets.

        - "linear": a random lower triangular matrix of binary digits for each coordinate [3]_, and
          a digital shift. The mean and the variance of averages are those of "owen" [5]_, at a
          lower cost.
        - "owen": nested uniform scrambling [4]_. The variance of averages of smooth functions over
          nets falls like n**-3 up to powers of log n. A hash of all digits before a digit decides
          whether it is flipped, down to digit 36. Up to the quality of the hash, the first 2**36
          points are therefore scrambled by the exact method.
        - "shift": a digital shift alone, one random word for each coordinate. The variance falls
          like n**-2.
        - None: the points themselves, those of SciPy plus 2**-53. The first point is almost 0.
    start : int, default 0
        The index of the first point. ``sobol(n, dim, rng, start=k)`` continues
        ``sobol(k, dim, rng)``; `start` and `n` together are at most 2**52.
    replicate : int, default 0
        The number of the scramble. Scrambles of one key and different numbers are independent, so
        that the spread of averages over some of them gives an error bar.

    Returns
    -------
    ndarray, shape (n, dim)
        Numbers (k + 1/2) 2**-52 for whole numbers k: never 0 or 1. Column j is the same for every
        `dim`, and all bits are the same on every machine.

    Raises
    ------
    ArgumentError
        If a number is out of range or not whole, or if `scramble` is not one of the words.
    MemoryError
        If the points do not fit into memory.

    See Also
    --------
    fermiac.distributions.Law.from_unit : Turn points of the unit cube into points of a law.

    References
    ----------
    .. [1] S. Joe and F. Y. Kuo (2008), "Constructing Sobol sequences with better two-dimensional
       projections", SIAM Journal on Scientific Computing 30(5), doi:10.1137/070709359.
    .. [2] A. B. Owen (2020), "On dropping the first Sobol' point", arXiv:2008.08051.
    .. [3] J. Matousek (1998), "On the L2-discrepancy for anchored boxes", Journal of Complexity
       14(4), doi:10.1006/jcom.1998.0489.
    .. [4] A. B. Owen (1995), "Randomly permuted (t, m, s)-nets and (t, s)-sequences", in Monte
       Carlo and Quasi-Monte Carlo Methods in Scientific Computing, Lecture Notes in Statistics 106,
       doi:10.1007/978-1-4612-2552-2_19.
    .. [5] A. B. Owen (2003), "Variance with alternative scramblings of digital nets", ACM
       Transactions on Modeling and Computer Simulation 13(4),
       doi:10.1145/945511.945518.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> u = fm.random.sobol(1024, 3, rng=0)
    >>> u.shape
    (1024, 3)
    >>> bool(np.all(np.histogram(u[:, 0], bins=1024, range=(0, 1))[0] == 1))
    True

    The integral of x y z over the cube is 1/8. Eight replicates give its error:

    >>> means = [
    ...     fm.random.sobol(1024, 3, rng=0, replicate=r).prod(axis=1).mean()
    ...     for r in range(8)
    ... ]
    >>> stderr = np.std(means, ddof=1) / np.sqrt(8)
    >>> bool(abs(np.mean(means) - 0.125) < 5 * stderr < 1e-3)
    True

    More points of the same sequence:

    >>> more = fm.random.sobol(1024, 3, rng=0, start=1024)
    >>> bool(np.all(np.vstack([u, more]) == fm.random.sobol(2048, 3, rng=0)))
    True
    """
    n = whole("n", n, 0, _MOST)
    dim = whole("dim", dim, 1, 2**63 - 1)
    key = key_of(rng)
    kind = "none" if scramble is None else choice("scramble", scramble, _SCRAMBLES)
    start = whole("start", start, 0, _MOST - n, f", as {n} points follow of {_MOST}")
    replicate = whole("replicate", replicate, 0, 2**64 - 1)
    threads = config.get_num_threads()
    out = np.empty(shape_of((n, dim)))
    if n:
        _core.sobol_fill(out.reshape(-1), dim, key, replicate, kind, start, threads)
    return out
