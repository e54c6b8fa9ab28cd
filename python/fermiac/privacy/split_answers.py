"""Answers to adaptive queries from fresh rows each: what noisy mechanisms have to beat."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import ArrayLike

from fermiac.errors import ArgumentError
from fermiac.privacy.mechanism import Answer, Mechanism, data_of, probability

__all__ = ["SplitAnswers"]


class SplitAnswers(Mechanism):
    """Answer each query from rows of its own: n / budget rows, without noise.

    What noisy mechanisms have to beat. Rows are taken in the order that they come in, which must
    be a random one.

    Parameters
    ----------
    data : array_like, shape (n, d) or (n,)
        The rows, at least as many as the budget.
    budget : int
        How many answers there may be.
    value_range, on_exhausted, n_threads
        As of `Thresholdout`.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> mechanism = fm.privacy.SplitAnswers(np.arange(10.0) / 10, budget=5)
    >>> [float(mechanism.query(lambda x: x[:, 0])) for _ in range(3)]
    [0.05, 0.25, 0.45]
    """

    def __init__(
        self,
        data: ArrayLike,
        *,
        budget: int,
        value_range: tuple[float, float] = (0.0, 1.0),
        on_exhausted: str = "nan",
        n_threads: int | None = None,
    ) -> None:
        super().__init__(budget, value_range, on_exhausted, False, n_threads)
        self._data = data_of("data", data)
        self._rows = len(self._data) // self._budget
        self._done = 0
        if self._rows == 0:
            raise ArgumentError(
                f"budget: {budget} was given for {len(self._data)} rows; every answer needs one"
            )

    def query(self, f: Any) -> Answer:
        """Answer a query from the next rows.

        Parameters
        ----------
        f : callable or integrand
            As `Thresholdout.query` takes it. All k columns of f are answered from the same rows:
            as they are chosen at once, they cost one unit of the budget.

        Returns
        -------
        Answer
            ``value`` and ``source``: ``"data"`` or ``"exhausted"``.

        Raises
        ------
        RangeError, TargetError, BudgetExhausted, ArgumentError
            As by `Thresholdout.query`.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> float(fm.privacy.SplitAnswers(np.eye(4), budget=2).query(lambda x: x[:, 0]))
        0.5
        """
        start = min(self._done, self._budget - 1) * self._rows
        means, scalar = self._evaluated(f, self._data[start : start + self._rows], "data")
        answer = self._answers(means, scalar=scalar)
        self._done += 1
        self._left = self._budget - min(self._done, self._budget)
        return answer

    def _answer(self, means: tuple[float, ...]) -> tuple[float, str]:
        return means[0], "data"

    def certificate(self, tau: float) -> float | None:
        """Bound the probability that any answer is off by more than tau widths, for scalar queries.

        Parameters
        ----------
        tau : float
            In (0, 1), in units of the range.

        Returns
        -------
        float or None
            By Hoeffding's inequality for each answer, added up; None if that is 1 or more.

        Raises
        ------
        ArgumentError
            If `tau` is outside its domain.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> mechanism = fm.privacy.SplitAnswers(np.zeros(100_000), budget=10)
        >>> round(mechanism.certificate(0.02), 5)
        0.00671
        """
        tau = probability("tau", tau)
        bound = 2 * self._budget * math.exp(-2 * self._rows * tau * tau)
        return bound if bound < 1 else None
