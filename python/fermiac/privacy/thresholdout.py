"""Thresholdout, the reusable holdout set."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.validate import positive, shown, whole
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import single
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

__all__ = ["Thresholdout"]


class Thresholdout(Mechanism):
    r"""Answer adaptive queries from training data, and from the holdout only if they disagree.

    Let t and h be the means of a query over the training and the holdout data. The answer is t
    unless ``|h - t|`` exceeds a noisy threshold. In that case it is h plus noise, the threshold is
    drawn anew, and one unit of the budget is spent [1]_. In units of the range, with Laplace noise:

    .. math:: |h - t| > \hat T + \mathrm{Lap}(4\sigma), \qquad
              \hat T = T + \mathrm{Lap}(2\sigma), \qquad a = h + \mathrm{Lap}(\sigma).

    Parameters
    ----------
    train, holdout : array_like, shape (n, d) or (n,)
        The data, with observations in rows. If only `query_means` is used, `train` may be None and
        `holdout` the number of its rows.
    budget : int or None
        The largest number of answers from the holdout, at least 1. None means no limit and is
        allowed only for ``noise="gaussian"``.
    threshold : float, optional
        T, by default 4 / √n, where n is the number of rows of the holdout.
    sigma : float, optional
        The scale of the noise, by default 1 / (4 √n), or 1 / √n for Gaussian noise.
    noise : {"laplace", "gaussian"} or tuple of three floats, default "laplace"
        Laplace noise as above; or Gaussian noise of standard deviation sigma in the test and in the
        answer, with a fixed threshold, as in the experiments of [2]_, for which there is no
        certificate. Three numbers are the scales of Laplace noise on the threshold, in the test and
        on the answer, as multiples of sigma; ``"laplace"`` is (2, 4, 1).
    value_range : tuple of two floats, default (0, 1)
        Bounds of every query's values. `threshold` and `sigma` are in units of its width.
    on_exhausted : {"nan", "raise"}, default "nan"
        The behaviour after the end of the budget: the answer NaN, or the error `BudgetExhausted`.
    blind : bool, default False
        Hide the sources of answers, the remaining budget and the seed from the analyst.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed of the noise.
    noise_source : callable, optional
        A function ``noise_source(kind, scale)`` that returns the noise instead of a stream, for
        replays. The kinds are ``"threshold"``, ``"test"`` and ``"answer"``, in the order of the
        algorithm.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.

    Notes
    -----
    A round costs :math:`1/(2\sigma n) + 2/(4\sigma n)` for the test, which is a run of the sparse
    vector technique on means that one row changes by 1/n, and :math:`1/(\sigma n)` for the answer.
    With the budget B the holdout is protected with :math:`\varepsilon = 2B/(\sigma n)`; see
    `epsilon`. The theorem on Thresholdout in [1]_ sets T = 3 tau / 4 and sigma = tau / (96 ln(4 m /
    beta)), as `for_accuracy` does. All m answers are then within tau of the truth with probability
    1 - beta, under two conditions. Fewer than B queries overfit the training data by more than tau
    / 2, and n is large enough, of the order of ln(m / beta) / tau² · min(B, (B ln(ln(m / beta) /
    tau))^½).

    A pickled copy continues with the same bits, and contains the data, the seed and the sources.
    The noise consists of ordinary floating-point numbers, so it does not protect against an analyst
    who studies the last bits of answers. Nothing protects against a malicious function: it is
    called with the rows of the holdout, and an exception that depends on them (a `RangeError`, for
    instance) reveals information without noise. For untrusted analysts, compute the means
    elsewhere, clipped to the range, and give them to `query_means`.

    References
    ----------
    .. [1] C. Dwork, V. Feldman, M. Hardt, T. Pitassi, O. Reingold, A. Roth, "Generalization in
       adaptive data analysis and holdout reuse", NIPS 2015, arXiv:1506.02629.
    .. [2] C. Dwork, V. Feldman, M. Hardt, T. Pitassi, O. Reingold, A. Roth, "The reusable holdout:
       preserving validity in adaptive data analysis", Science, 2015, doi:10.1126/science.aaa9375.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> data = np.random.default_rng(0).random((20_000, 3))
    >>> holdout = fm.privacy.Thresholdout(data[:10_000], data[10_000:], budget=10, rng=1)
    >>> answer = holdout.query(lambda x: x[:, :2] > 0.5)
    >>> answer.source, holdout.remaining
    (('train', 'train'), 10)
    """

    def __init__(
        self,
        train: ArrayLike | None,
        holdout: ArrayLike | int,
        *,
        budget: int | None,
        threshold: float | None = None,
        sigma: float | None = None,
        noise: str | tuple[float, float, float] = "laplace",
        value_range: tuple[float, float] = (0.0, 1.0),
        on_exhausted: Literal["nan", "raise"] = "nan",
        blind: bool = False,
        rng: RngLike = None,
        noise_source: NoiseSource | None = None,
    ) -> None:
        super().__init__(budget, value_range, on_exhausted, blind)
        if train is None:
            self._data = None
            self._n = whole("holdout", holdout, 1, 2**53, " where train is None")
        else:
            self._data = (data_of("train", train), data_of("holdout", holdout))
            dims = [part.shape[1] for part in self._data]
            if dims[0] != dims[1]:
                raise ArgumentError(
                    f"holdout: {dims[1]} columns were given where train has {dims[0]}"
                )
            self._n = len(self._data[1])
        root = math.sqrt(self._n)
        self._gaussian = isinstance(noise, str) and noise == "gaussian"
        if self._gaussian:
            scales = (0.0, 1.0, 1.0)
        elif isinstance(noise, str) and noise == "laplace":
            scales = (2.0, 4.0, 1.0)
        elif isinstance(noise, tuple) and len(noise) == 3:
            scales = tuple(positive("noise", scale) for scale in noise)  # type: ignore[assignment]
        else:
            raise ArgumentError(
                f"noise: {shown(noise)} was given; 'laplace', 'gaussian' or three scales are needed"
            )
        if budget is None and not self._gaussian:
            raise ArgumentError("budget: None was given; only Gaussian noise goes without a budget")
        usual = 1.0 if self._gaussian else 0.25
        self.sigma = usual / root if sigma is None else positive("sigma", sigma)
        self.threshold = 4 / root if threshold is None else positive("threshold", threshold)
        self._scales = tuple(scale * self.sigma for scale in scales)
        self._noise = Noise(rng, noise_source, 0)
        self._level = self.threshold
        self._refresh()

    @staticmethod
    def for_accuracy(tau: float, *, beta: float, n_queries: int) -> dict[str, float]:
        """Return the settings of the accuracy theorem; see the notes of the class.

        Parameters
        ----------
        tau : float
            The required accuracy of all answers, in (0, 1).
        beta : float
            The probability of failure, in (0, 1).
        n_queries : int
            The number of queries.

        Returns
        -------
        dict
            ``threshold`` and ``sigma``.

        Raises
        ------
        ArgumentError
            For an argument outside its domain.

        Examples
        --------
        >>> import fermiac as fm
        >>> round(
        ...     fm.privacy.Thresholdout.for_accuracy(0.1, beta=0.05, n_queries=100)["sigma"], 8
        ... )
        0.00011591
        """
        tau, beta = single("tau", tau), single("beta", beta)
        n = whole("n_queries", n_queries, 1, 2**53)
        return {"threshold": 0.75 * tau, "sigma": tau / (96 * math.log(4 * n / beta))}

    def query(self, f: Any) -> Answer:
        """Answer a query: the mean of a function over the rows.

        Parameters
        ----------
        f : callable or integrand
            A function of a batch of rows, (n, d) -> (n,) or (n, k), a native pointer, a torch
            module or a built-in integrand, with values in the declared range. Each of the k
            columns is a query, answered in order.

        Returns
        -------
        Answer
            ``value`` and ``source``, with k entries if f has columns.

        Raises
        ------
        RangeError
            If a value is outside the declared range.
        TargetError
            If f returns a wrong shape or type, or numbers that are not finite.
        BudgetExhausted
            After the end of the budget, with ``on_exhausted="raise"``.
        ArgumentError
            If f is not a function, or there are no data.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> data = np.random.default_rng(0).random((2000, 1))
        >>> holdout = fm.privacy.Thresholdout(data[:1000], data[1000:], budget=3, rng=1)
        >>> bool(abs(float(holdout.query(lambda x: x[:, 0])) - 0.5) < 0.1)
        True
        """
        if self._data is None:
            raise ArgumentError("f: a query was given, but no data; query_means takes its means")
        train, scalar = self._evaluated(f, self._data[0], "train")
        hold, _ = self._evaluated(f, self._data[1], "holdout")
        return self._answers(train, hold, scalar=scalar)

    def query_means(self, train_mean: ArrayLike, holdout_mean: ArrayLike) -> Answer:
        """Answer a query whose means the caller has computed.

        Parameters
        ----------
        train_mean, holdout_mean : array_like, scalar or shape (k,)
            The means over the training and the holdout rows, in the declared range.

        Returns
        -------
        Answer
            As of `query`.

        Raises
        ------
        RangeError
            If a mean is outside the declared range.
        ArgumentError
            If the shapes differ, or for NaN.
        BudgetExhausted
            After the end of the budget, with ``on_exhausted="raise"``.

        Examples
        --------
        >>> import fermiac as fm
        >>> holdout = fm.privacy.Thresholdout(None, 10_000, budget=1, rng=0)
        >>> [holdout.query_means(0.9, 0.5).source for _ in range(2)]
        ['holdout', 'exhausted']
        """
        t, h = self._given("train_mean", train_mean), self._given("holdout_mean", holdout_mean)
        if t.shape != h.shape:
            raise ArgumentError(
                f"holdout_mean: shape {h.shape} was given where train_mean has {t.shape}"
            )
        return self._answers(np.atleast_1d(t), np.atleast_1d(h), scalar=t.ndim == 0)

    def _answer(self, means: tuple[float, ...]) -> tuple[float, str]:
        train, hold = means
        draw = self._noise.normal if self._gaussian else self._noise.laplace
        test = draw("test", self._scales[1])
        if abs(hold - train) / self._width > self._level + test:
            self._left -= 1
            value = hold + self._width * draw("answer", self._scales[2])
            self._refresh()
            return value, "holdout"
        return train, "train"

    def _refresh(self) -> None:
        if not self._gaussian:
            self._level = self.threshold + self._noise.laplace("threshold", self._scales[0])

    @property
    def seed(self) -> int | None:
        """The key of the noise; None with a noise source, or if the mechanism is blind.

        With it the noise can be removed from the answers: keep it secret.
        """
        return None if self._blind else self._noise.seed

    def epsilon(self, delta: float = 0.0) -> float:
        """Return the epsilon of the protection of the holdout's rows over the whole budget.

        Parameters
        ----------
        delta : float, default 0
            In [0, 1). Above 0 the result is the smaller of basic and advanced composition [1]_.

        Returns
        -------
        float
            Infinite for Gaussian noise, for which no guarantee is claimed.

        Raises
        ------
        ArgumentError
            If `delta` is outside its domain.

        References
        ----------
        .. [1] C. Dwork, G. N. Rothblum, S. Vadhan, "Boosting and differential privacy", FOCS 2010,
           doi:10.1109/FOCS.2010.12.

        Examples
        --------
        >>> import fermiac as fm
        >>> holdout = fm.privacy.Thresholdout(None, 10_000, budget=5, sigma=0.01, rng=0)
        >>> round(holdout.epsilon(), 12)
        0.1
        """
        delta = single("delta", delta, zero=True)
        if self._gaussian:
            return math.inf
        each = (1 / self._scales[0] + 2 / self._scales[1] + 1 / self._scales[2]) / self._n
        return advanced(each, self._budget, delta)

    def certificate(self, tau: float, beta: float = 0.01) -> float | None:
        r"""Bound the probability that a query chosen from the answers is far off on the holdout.

        Let a query f with values in the range be chosen from all answers together, with the mean h
        over the holdout and the expectation p. Then

        .. math:: P(|h - p| > \tau w) \le e^I \, 2 e^{-2 n \tau^2} + \beta, \qquad
                  I = \varepsilon^2 n / 2 + \varepsilon \sqrt{n \ln(2/\beta) / 2},

        where w is the width of the range. I is the bound of [1]_ on the beta-approximate
        max-information, in nats, of epsilon-DP answers about independent rows; the other factor is
        Hoeffding's inequality. (The bound I follows from McDiarmid's inequality. The logarithm of
        the ratio of the joint density to the product of the marginal densities has a mean of at
        most 0 under the product, and changes by at most epsilon with a row.)

        Parameters
        ----------
        tau : float
            In (0, 1), in units of the range.
        beta : float, default 0.01
            In (0, 1).

        Returns
        -------
        float or None
            None if the bound is 1 or more, or there is none (Gaussian noise).

        Raises
        ------
        ArgumentError
            If `tau` or `beta` is outside its domain.

        References
        ----------
        .. [1] C. Dwork, V. Feldman, M. Hardt, T. Pitassi, O. Reingold, A. Roth, "Generalization in
           adaptive data analysis and holdout reuse", NIPS 2015, arXiv:1506.02629.

        Examples
        --------
        >>> import fermiac as fm
        >>> holdout = fm.privacy.Thresholdout(None, 100_000, budget=2, rng=0)
        >>> round(holdout.certificate(0.05, beta=0.01), 4)
        0.01
        """
        tau, beta = single("tau", tau), single("beta", beta)
        epsilon = self.epsilon()
        if math.isinf(epsilon):
            return None
        return certificate_from(max_information(epsilon, self._n, beta), self._n, tau, beta)
