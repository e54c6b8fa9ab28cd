"""Answers to adaptive mean queries: with Laplace or normal noise, or each from new rows."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.validate import positive, taken, whole
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import single
from fermiac.privacy.gaussian import gdp_epsilon
from fermiac.privacy.mechanism import (
    Answer,
    Mechanism,
    Noise,
    NoiseSource,
    advanced,
    certificate_from,
    data_of,
    max_information,
)
from fermiac.random import RngLike

__all__ = ["GaussianAnswers", "LaplaceAnswers", "SplitAnswers"]


class _NoisyAnswers(Mechanism):
    """Means over all rows, with noise."""

    _index: int

    def __init__(
        self,
        data: ArrayLike | int,
        *,
        budget: int,
        value_range: tuple[float, float],
        on_exhausted: str,
        rng: RngLike,
        noise_source: NoiseSource | None,
    ) -> None:
        super().__init__(budget, value_range, on_exhausted, False)
        count = taken("data", data).ndim == 0
        self._data = None if count else data_of("data", data)
        self._n = whole("data", data, 1, 2**53) if self._data is None else len(self._data)
        self._noise = Noise(rng, noise_source, self._index)

    @property
    def seed(self) -> int | None:
        """The key of the noise; None with a noise source.

        The noise can be computed from it and removed from the answers: keep it secret.
        """
        return self._noise.seed

    def query(self, f: Any) -> Answer:
        """Answer a query: the mean of a function over the rows, with noise.

        Parameters
        ----------
        f : callable or integrand
            A function of rows, as for `Thresholdout.query`; every column counts as a query.

        Returns
        -------
        Answer
            ``value`` and ``source``: ``"data"`` or ``"exhausted"``.

        Raises
        ------
        RangeError, TargetError, BudgetExhausted, ArgumentError
            As for `Thresholdout.query`.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> mechanism = fm.privacy.GaussianAnswers(
        ...     np.ones((1000, 1)), rho=0.01, budget=9, rng=0
        ... )
        >>> bool(abs(float(mechanism.query(lambda x: x[:, 0])) - 1) < 0.05)
        True
        """
        if self._data is None:
            raise ArgumentError("f: a query was given, but no data; query_means takes its mean")
        means, scalar = self._evaluated(f, self._data, "data")
        return self._answers(means, scalar=scalar)

    def query_means(self, means: ArrayLike) -> Answer:
        """Answer a query whose mean the caller has computed.

        Parameters
        ----------
        means : array_like, scalar or shape (k,)
            Means over the rows, in the declared range.

        Returns
        -------
        Answer
            As for `query`.

        Raises
        ------
        RangeError, BudgetExhausted, ArgumentError
            As for `query`.

        Examples
        --------
        >>> import fermiac as fm
        >>> mechanism = fm.privacy.LaplaceAnswers(1000, epsilon=1.0, budget=3, rng=0)
        >>> mechanism.query_means([0.2, 0.4]).value.shape
        (2,)
        """
        array = self._given("means", means)
        return self._answers(np.atleast_1d(array), scalar=array.ndim == 0)


class LaplaceAnswers(_NoisyAnswers):
    """Answer mean queries with Laplace noise of scale width / (n epsilon).

    One row changes a mean over n rows by at most width / n, so every answer is epsilon-DP [1]_.

    Parameters
    ----------
    data : array_like, shape (n, d) or (n,), or int
        The rows; for `query_means` their number is sufficient.
    epsilon : float
        The epsilon of each answer, positive.
    budget : int
        The largest number of answers.
    value_range, on_exhausted, rng, noise_source
        As for `Thresholdout`; the kind of noise is ``"answer"``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.

    References
    ----------
    .. [1] C. Dwork, F. McSherry, K. Nissim, A. Smith, "Calibrating noise to sensitivity in private
       data analysis", TCC 2006, doi:10.1007/11681878_14.

    Examples
    --------
    >>> import fermiac as fm
    >>> mechanism = fm.privacy.LaplaceAnswers(10_000, epsilon=0.01, budget=100, rng=0)
    >>> mechanism.epsilon(), round(mechanism.epsilon(1e-6), 4)
    (1.0, 0.5357)
    """

    _index = 1

    def __init__(
        self,
        data: ArrayLike | int,
        *,
        epsilon: float,
        budget: int,
        value_range: tuple[float, float] = (0.0, 1.0),
        on_exhausted: Literal["nan", "raise"] = "nan",
        rng: RngLike = None,
        noise_source: NoiseSource | None = None,
    ) -> None:
        super().__init__(
            data,
            budget=budget,
            value_range=value_range,
            on_exhausted=on_exhausted,
            rng=rng,
            noise_source=noise_source,
        )
        self._each = positive("epsilon", epsilon)
        self.scale = self._width / (self._n * self._each)

    def _answer(self, means: tuple[float, ...]) -> tuple[float, str]:
        self._left -= 1
        return means[0] + self._noise.laplace("answer", self.scale), "data"

    def epsilon(self, delta: float = 0.0) -> float:
        """Return the epsilon of the whole budget, as in `Thresholdout.epsilon`.

        Parameters
        ----------
        delta : float, default 0
            From 0, below 1.

        Returns
        -------
        float
            The smaller of basic and advanced composition.

        Raises
        ------
        ArgumentError
            If `delta` is outside its domain.

        Examples
        --------
        >>> import fermiac as fm
        >>> fm.privacy.LaplaceAnswers(100, epsilon=0.5, budget=4, rng=0).epsilon()
        2.0
        """
        delta = single("delta", delta, zero=True)
        return advanced(self._each, self._budget, delta)

    def certificate(self, tau: float, beta: float = 0.01) -> float | None:
        """Bound the probability that a query chosen from the answers is far off on the data.

        Parameters
        ----------
        tau, beta : float
            As for `Thresholdout.certificate`, whose formula is used with the epsilon of all
            answers.

        Returns
        -------
        float or None
            None if the bound is 1 or more.

        Raises
        ------
        ArgumentError
            If `tau` or `beta` is outside its domain.

        Examples
        --------
        >>> import fermiac as fm
        >>> mechanism = fm.privacy.LaplaceAnswers(100_000, epsilon=0.001, budget=20, rng=0)
        >>> round(mechanism.certificate(0.03, beta=0.001), 6)
        0.001
        """
        tau, beta = single("tau", tau), single("beta", beta)
        information = max_information(self.epsilon(), self._n, beta)
        return certificate_from(information, self._n, tau, beta)


class GaussianAnswers(_NoisyAnswers):
    r"""Answer mean queries with normal noise of standard deviation width / (n √(2 rho)).

    Every answer is rho-zero-concentrated DP [1]_ and √(2 rho)-Gaussian DP [2]_. The rho of the
    answers add up, even if queries depend on earlier answers.

    Parameters
    ----------
    data : array_like, shape (n, d) or (n,), or int
        The rows; for `query_means` their number is sufficient.
    rho : float
        The epsilon of each answer, positive.
    budget : int
        The largest number of answers.
    value_range, on_exhausted, rng, noise_source
        As for `Thresholdout`; the kind of noise is ``"answer"``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.

    References
    ----------
    .. [1] M. Bun, T. Steinke, "Concentrated differential privacy: simplifications, extensions, and
       lower bounds", TCC 2016, arXiv:1605.02065.
    .. [2] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> mechanism = fm.privacy.GaussianAnswers(10_000, rho=0.005, budget=100, rng=0)
    >>> round(mechanism.epsilon(1e-5), 4)
    4.3772
    """

    _index = 2

    def __init__(
        self,
        data: ArrayLike | int,
        *,
        rho: float,
        budget: int,
        value_range: tuple[float, float] = (0.0, 1.0),
        on_exhausted: Literal["nan", "raise"] = "nan",
        rng: RngLike = None,
        noise_source: NoiseSource | None = None,
    ) -> None:
        super().__init__(
            data,
            budget=budget,
            value_range=value_range,
            on_exhausted=on_exhausted,
            rng=rng,
            noise_source=noise_source,
        )
        self._rho = positive("rho", rho) * self._budget
        self.scale = self._width / (self._n * math.sqrt(2 * rho))

    def _answer(self, means: tuple[float, ...]) -> tuple[float, str]:
        self._left -= 1
        return means[0] + self._noise.normal("answer", self.scale), "data"

    def epsilon(self, delta: float) -> float:
        """Return the epsilon of the whole budget, exactly, by `gdp_epsilon`.

        Parameters
        ----------
        delta : float
            In (0, 1).

        Returns
        -------
        float
            The epsilon of all answers together.

        Raises
        ------
        ArgumentError
            If `delta` is outside its domain.

        Examples
        --------
        >>> import fermiac as fm
        >>> mechanism = fm.privacy.GaussianAnswers(100, rho=0.5, budget=4, rng=0)
        >>> round(mechanism.epsilon(1e-5), 10)
        9.9972561464
        """
        return float(gdp_epsilon(single("delta", delta), mu=math.sqrt(2 * self._rho)))

    def certificate(self, tau: float) -> float | None:
        r"""Bound the probability that a query chosen from the answers is far off on the data.

        Let rho be that of all answers together. The mutual information of the rows and all answers
        is at most I = n rho, in nats, because rows are independent, and a change of one row changes
        the law of the answers by a divergence of at most rho [1]_. Let P be the probability that
        the error of the mean exceeds tau widths. For a query chosen without the answers it would be
        at most :math:`q = 2 e^{-2 n \tau^2}` (Hoeffding). Therefore P ln(P / q) + (1 - P) ln((1 -
        P) / (1 - q)) <= I.

        Parameters
        ----------
        tau : float
            In (0, 1), in units of the range.

        Returns
        -------
        float or None
            The largest such P; None if q is 1 or more, or if no P below 1 is excluded.

        Raises
        ------
        ArgumentError
            If `tau` is outside its domain.

        References
        ----------
        .. [1] V. Feldman, T. Steinke, "Calibrating noise to variance in adaptive data analysis",
           COLT 2018, arXiv:1712.07196.

        Examples
        --------
        >>> import fermiac as fm
        >>> mechanism = fm.privacy.GaussianAnswers(100_000, rho=1e-6, budget=20, rng=0)
        >>> round(mechanism.certificate(0.05), 4)
        0.0041
        """
        tau = single("tau", tau)
        ln_q = math.log(2) - 2 * self._n * tau * tau
        information = self._n * self._rho
        if ln_q >= 0 or information >= -ln_q:
            return None
        low, high = math.exp(ln_q), 1.0
        for _ in range(200):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            rest = (1 - middle) * (math.log1p(-middle) - math.log1p(-math.exp(ln_q)))
            if middle * (math.log(middle) - ln_q) + rest <= information:
                low = middle
            else:
                high = middle
        return high


class SplitAnswers(Mechanism):
    """Answer each query from its own n / budget rows, without noise.

    This is the baseline for noisy mechanisms. Rows are taken in their given order, which must be
    random.

    Parameters
    ----------
    data : array_like, shape (n, d) or (n,)
        The rows, at least as many as the budget.
    budget : int
        The largest number of answers.
    value_range, on_exhausted
        As for `Thresholdout`.

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
        on_exhausted: Literal["nan", "raise"] = "nan",
    ) -> None:
        super().__init__(budget, value_range, on_exhausted, False)
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
            As for `Thresholdout.query`. All k columns of f are answered from the same rows. Since
            they are chosen at once, they cost one unit of the budget.

        Returns
        -------
        Answer
            ``value`` and ``source``: ``"data"`` or ``"exhausted"``.

        Raises
        ------
        RangeError, TargetError, BudgetExhausted, ArgumentError
            As for `Thresholdout.query`.

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
        """Bound the probability that any error exceeds tau widths, for scalar queries.

        Parameters
        ----------
        tau : float
            In (0, 1), in units of the range.

        Returns
        -------
        float or None
            The sum over the answers of Hoeffding's bounds; None if it is 1 or more.

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
        tau = single("tau", tau)
        bound = 2 * self._budget * math.exp(-2 * self._rows * tau * tau)
        return bound if bound < 1 else None
