"""Rules that end a walk before it has made all its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import positive, whole, yes

__all__ = ["StopAtStderr"]


@dataclass(frozen=True, kw_only=True)
class StopAtStderr:
    """End a walk once averages are accurate enough: the argument ``stop=`` of `fermiac.walks.walk`.

    Parameters
    ----------
    stderr : float
        The largest standard error of the averages of the ``f`` of `walk`.
    relative : bool, default False
        Whether the standard error is relative to the average.
    every : int, default 10_000
        The number of steps of each walker between two tests.

    Raises
    ------
    ArgumentError
        If a number is outside its domain.

    Notes
    -----
    The error comes from the spread of the walkers' averages. A test takes place only when all
    walkers have made the same multiple of `every` steps, so the end of a walk depends only on its
    steps. A rule that stops at the first success is optimistic, especially with few walkers.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
    >>> enough = fm.walks.StopAtStderr(stderr=0.02, every=500)
    >>> w = fm.walks.walk(
    ...     ring, base="mhrw", n_steps=10**6, f=np.arange(9.0), stop=enough, rng=0
    ... )
    >>> w.n_steps % 500, w.n_steps < 10**6
    (0, True)
    """

    stderr: float
    relative: bool = False
    every: int = 10_000

    def __post_init__(self) -> None:
        positive("stderr", self.stderr)
        yes("relative", self.relative)
        whole("every", self.every, 1, 2**40)

    def met(self, sums: NDArray[np.float64] | None, n_steps: int) -> bool:
        """Return whether averages from sums (walkers, k) over these steps have small errors."""
        if sums is None or n_steps <= 0 or n_steps % self.every:
            return False
        means = sums / n_steps
        error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        limit = self.stderr * (np.abs(means.mean(axis=0)) if self.relative else 1.0)
        return bool((error <= limit).all())
