"""Random numbers of exact draws: each row uses the stream of its own chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core, special
from fermiac._base.validate import numbers, require, shape_of, whole
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import RngLike, key_of

__all__ = ["RowGenerator"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Size = int | Sequence[int] | None

#: Below this logarithm a probability has few digits, or none.
_FAR = -650.0
_LOG_ROOT = 0.9189385332046727  # log √(2π)


class RowGenerator:
    """Random numbers for a batch of chains: row i comes from the stream of chain i alone.

    The function of a `fermiac.mcmc.Conditional` gets one. Its methods are those of
    `numpy.random.Generator`, and their parameters broadcast; their results have a row for every
    chain of the batch: shape (n,), or (n, k) if a parameter or `size` has k columns. The numbers of
    a chain do not depend on the other chains of the batch.

    Parameters
    ----------
    rng : int, numpy.random.SeedSequence, numpy.random.Generator or None
        The key of the streams, for tests of a function.
    n : int
        The number of rows.

    Raises
    ------
    ArgumentError
        By all methods: if a parameter is outside its domain, or the shape has no row for every
        chain.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> rng = fm.mcmc.RowGenerator(0, 3)
    >>> rng.normal(np.array([0.0, 10.0, 20.0])).shape
    (3,)
    >>> rng.gamma([[2.0, 3.0]]).shape
    (3, 2)
    >>> rng.uniform(size=(3, 4)).shape
    (3, 4)
    """

    __slots__ = ("_streams", "n")

    def __init__(self, rng: RngLike, n: int) -> None:
        self.n = shape_of(whole("n", n, 0, 2**63 - 1))[0]
        self._streams = _core.RowStreams(key_of(rng), self.n)

    @classmethod
    def _of(cls, streams: _core.RowStreams) -> RowGenerator:
        self = cls.__new__(cls)
        self._streams, self.n = streams, len(streams)
        return self

    def __repr__(self) -> str:
        """Return the number of rows in words."""
        return f"RowGenerator of {self.n} chains"

    def random(self, size: Size = None) -> Array:
        """Uniform numbers in the open interval (0, 1)."""
        return self._draw(self._streams.fill_uniform, size)

    def uniform(self, low: ArrayLike = 0.0, high: ArrayLike = 1.0, size: Size = None) -> Array:
        """Uniform numbers between `low` and `high`."""
        a, b = numbers("low", low), numbers("high", high)
        out: Array = a + (b - a) * self._draw(self._streams.fill_uniform, size, a, b)
        return out

    def standard_normal(self, size: Size = None) -> Array:
        """Normal numbers with mean 0 and variance 1."""
        return self._draw(self._streams.fill_normal, size)

    def normal(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, size: Size = None) -> Array:
        """Normal numbers with mean `loc` and standard deviation `scale`."""
        mean, sd = numbers("loc", loc), numbers("scale", scale)
        require("scale", sd, sd >= 0, "numbers from 0 on are needed")
        out: Array = mean + sd * self._draw(self._streams.fill_normal, size, mean, sd)
        return out

    def truncated_normal(
        self,
        loc: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        low: ArrayLike = -np.inf,
        high: ArrayLike = np.inf,
        size: Size = None,
    ) -> Array:
        """Normal numbers between `low` and `high`, also far in a tail."""
        mean, sd = numbers("loc", loc), _positive("scale", scale)
        a, b = numbers("low", low), numbers("high", high)
        u = self._draw(self._streams.fill_uniform, size, mean, sd, a, b)
        left, right = (np.broadcast_to(z, u.shape) for z in ((a - mean) / sd, (b - mean) / sd))
        require("high", right, left < right, "more than `low` is needed")
        # In the left tail, where logarithms of probabilities keep their digits.
        flip = left > -right
        near, far = np.where(flip, -right, left), np.where(flip, -left, right)
        z = _between(near, far, u)
        out: Array = mean + sd * np.clip(np.where(flip, -z, z), left, right)
        return np.clip(out, a, b)

    def exponential(self, scale: ArrayLike = 1.0, size: Size = None) -> Array:
        """Exponential numbers with mean `scale`."""
        mean = _positive("scale", scale)
        out: Array = mean * self._draw(self._streams.fill_exponential, size, mean)
        return out

    def gamma(self, shape: ArrayLike, scale: ArrayLike = 1.0, size: Size = None) -> Array:
        """Gamma numbers: mean `shape` times `scale` (1 / rate)."""
        a, b = _positive("shape", shape), _positive("scale", scale)
        out: Array = b * self._draw(self._streams.fill_gamma, size, a, b, uses=1)
        return out

    def inverse_gamma(self, shape: ArrayLike, scale: ArrayLike = 1.0, size: Size = None) -> Array:
        """Inverse gamma numbers: density x**(-shape - 1) exp(-scale / x)."""
        a, b = _positive("shape", shape), _positive("scale", scale)
        logs = self._draw(self._streams.fill_log_gamma, size, a, b, uses=1)
        out: Array = b * special.exp(-logs)
        return out

    def chisquare(self, df: ArrayLike, size: Size = None) -> Array:
        """Chi-squared numbers with `df` degrees of freedom."""
        return self.gamma(0.5 * _positive("df", df), 2.0, size)

    def beta(self, a: ArrayLike, b: ArrayLike, size: Size = None) -> Array:
        """Beta numbers: density x**(a - 1) (1 - x)**(b - 1)."""
        first, second = _positive("a", a), _positive("b", b)
        return self._draw(self._streams.fill_beta, size, first, second, uses=2)

    def student_t(self, df: ArrayLike, size: Size = None) -> Array:
        """Student numbers with `df` degrees of freedom."""
        return self._draw(self._streams.fill_student_t, size, _positive("df", df), uses=1)

    standard_t = student_t

    def dirichlet(self, alpha: ArrayLike) -> Array:
        """Dirichlet numbers with concentrations (k,) or (n, k); shape (n, k)."""
        a = _rows("alpha", _positive("alpha", alpha), self.n, 1)
        logs = self._draw(self._streams.fill_log_gamma, None, a, uses=1)
        weights = special.exp(logs - logs.max(axis=1, keepdims=True))
        out: Array = weights / weights.sum(axis=1, keepdims=True)
        return out

    def multivariate_normal(
        self,
        mean: ArrayLike = 0.0,
        cov: ArrayLike | None = None,
        *,
        precision: ArrayLike | None = None,
    ) -> Array:
        """Normal vectors, shape (n, k), with a given covariance or its inverse.

        Parameters
        ----------
        mean : array_like of shape (k,) or (n, k)
        cov, precision : array_like of shape (k, k) or (n, k, k)
            The covariance or its inverse; give exactly one of them.
        """
        if (cov is None) == (precision is None):
            raise ArgumentError("cov: give either cov= or precision=")
        name = "cov" if precision is None else "precision"
        given = numbers(name, cov if precision is None else precision)  # type: ignore[arg-type]
        k = given.shape[-1] if given.ndim in (2, 3) else -1
        if given.shape[-2:] != (k, k) or (given.ndim == 3 and len(given) != self.n):
            raise ArgumentError(
                f"{name}: an array of shape {given.shape} given; (k, k) or ({self.n}, k, k) is "
                "needed"
            )
        try:
            factor = np.linalg.cholesky(given)
        except np.linalg.LinAlgError as error:
            raise ArgumentError(f"{name}: a matrix is not positive definite") from error
        z = self.standard_normal((self.n, k))[..., None]
        if precision is None:
            moved = (factor * z.swapaxes(1, 2)).sum(axis=2)
        else:
            moved = np.linalg.solve(np.swapaxes(factor, -1, -2), z)[..., 0]
        out: Array = _rows("mean", numbers("mean", mean), self.n, 1) + moved
        return out

    def poisson(self, mean: ArrayLike, size: Size = None) -> Integers:
        """Poisson numbers with mean `mean`."""
        rate = _positive("mean", mean)
        require("mean", rate, rate < 2**52, "numbers below 2**52 are needed")
        u = self._draw(self._streams.fill_uniform, size, rate)
        guess = rate + np.sqrt(rate) * special.ndtri(u)
        return _counts(u, guess, lambda k: special.gammaincc(k + 1, rate))

    def binomial(self, n: ArrayLike, p: ArrayLike, size: Size = None) -> Integers:
        """Binomial numbers: successes in `n` trials with probability `p`."""
        trials, share = numbers("n", n), numbers("p", p)
        whole = (trials >= 0) & (trials <= 2**53) & (trials == np.floor(trials))
        require("n", trials, whole, "whole numbers from 0 on are needed")
        require("p", share, (share >= 0) & (share <= 1), "numbers from 0 to 1 are needed")
        u = self._draw(self._streams.fill_uniform, size, trials, share)

        def cdf(k: Array) -> Array:
            below = special.betaincc(k + 1, np.maximum(trials - k, 1), share)
            return np.where(k >= trials, 1.0, below)

        guess = trials * share + np.sqrt(trials * share * (1 - share)) * special.ndtri(u)
        return _counts(u, np.minimum(guess, trials), cdf)

    def integers(
        self, low: ArrayLike, high: ArrayLike | None = None, size: Size = None
    ) -> Integers:
        """Whole numbers from `low` to `high` - 1, or from 0 to `low` - 1."""
        first = numbers("low", 0 if high is None else low)
        count = numbers("high", low if high is None else high) - first
        whole = (count >= 1) & (count <= 2**53) & (count == np.floor(count))
        require("high", count, whole, "a whole number above `low` is needed")
        shape = self._shape(size, first, count)
        out = np.empty(_flat(shape), np.int64)
        self._streams.fill_below(out, _spread(count, shape))
        result: Integers = out.reshape(shape) + first.astype(np.int64)
        return result

    def categorical(self, weights: ArrayLike) -> Integers:
        """One index for each row, with weights (k,) or (n, k) that need not sum to 1."""
        w = _rows("weights", numbers("weights", weights), self.n, 1)
        require("weights", w, (w >= 0) & np.isfinite(w), "finite numbers from 0 on are needed")
        sums = np.cumsum(np.broadcast_to(w, (self.n, w.shape[1])), axis=1)
        require("weights", sums[:, -1], sums[:, -1] > 0, "a weight above 0 is needed")
        u = self.random() * sums[:, -1]
        # Rounding may pass the last index that has weight.
        last = w.shape[1] - 1 - np.argmax(np.broadcast_to(w, sums.shape)[:, ::-1] > 0, axis=1)
        out: Integers = np.minimum((sums <= u[:, None]).sum(axis=1), last).astype(np.int64)
        return out

    def categorical_log(self, log_weights: ArrayLike) -> Integers:
        """One index for each row, with the logarithms of its weights."""
        logs = _rows("log_weights", numbers("log_weights", log_weights), self.n, 1)
        top = logs.max(axis=1, keepdims=True)
        require("log_weights", top, np.isfinite(top), "a finite largest one is needed in each row")
        return self.categorical(special.exp(logs - top))

    def _draw(
        self, fill: Callable[..., None], size: Size, *parameters: Array, uses: int = 0
    ) -> Array:
        """Return numbers of the broadcast shape; `fill` uses the first `uses` parameters."""
        shape = self._shape(size, *parameters)
        out = np.empty(_flat(shape))
        if len(self._streams) != self.n:
            raise TargetError(
                "the random numbers of a draw were asked for after it had ended; draw them within "
                "the call that is given the generator"
            )
        fill(out, *(_spread(p, shape) for p in parameters[:uses]))
        return out.reshape(shape)

    def _shape(self, size: Size, *parameters: Array) -> tuple[int, ...]:
        wanted = () if size is None else shape_of(size)
        try:
            shape = np.broadcast_shapes(wanted, *(p.shape for p in parameters))
        except ValueError:
            shape = (-1,)
        if not shape:
            shape = (self.n,)
        elif len(shape) > 1:
            shape = (self.n if shape[0] == 1 else shape[0], *shape[1:])
            if any(p.ndim == 1 and p.size > 1 for p in parameters):
                # NumPy would broadcast it along the columns.
                shape = (-1,)
        if shape[0] != self.n or (size is not None and shape != wanted):
            shapes = ", ".join(str(p.shape) for p in parameters)
            raise ArgumentError(
                f"size: parameters of shapes {shapes or '()'} and size {size} given for "
                f"{self.n} chains; ({self.n},) or ({self.n}, k) is needed with "
                "parameters of shape (n,), or (n, 1), (1, k) and (n, k)"
            )
        return shape


def _counts(u: Array, guess: Array, cdf: Callable[[Array], Array]) -> Integers:
    """Return the least counts whose cumulative probabilities reach `u`, from a guess on."""
    high = np.maximum(np.floor(guess), 0)
    low, step = high - 1, 1
    while (short := cdf(high) < u).any():
        low = np.where(short, high, low)
        high, step = high + short * step, 2 * step
    step = 1
    while (far := (low >= 0) & (cdf(np.maximum(low, 0)) >= u)).any():
        high = np.where(far, low, high)
        low, step = np.maximum(low - far * step, -1), 2 * step
    while (wide := high - low > 1).any():
        middle = np.where(wide, np.floor((low + high) / 2), high)
        reaches = cdf(middle) >= u
        high = np.where(wide & reaches, middle, high)
        low = np.where(wide & ~reaches, middle, low)
    out: Integers = high.astype(np.int64)
    return out


def _flat(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], int(np.prod(shape[1:]))


def _spread(array: Array, shape: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(_flat(shape))


def _positive(name: str, given: ArrayLike) -> Array:
    array = numbers(name, given)
    require(name, array, (array > 0) & np.isfinite(array), "finite numbers above 0 are needed")
    return array


def _rows(name: str, array: Array, n: int, more: int) -> Array:
    """Return an array with an axis of n rows or one row before `more` axes."""
    if array.ndim == more:
        return array[None]
    if array.ndim == 0:
        return array
    if array.ndim != more + 1 or len(array) not in (1, n):
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} given; (k,) or ({n}, k) is needed"
        )
    return array


def _between(low: Array, high: Array, u: Array) -> Array:
    """Return the quantile `u` of a standard normal number in (low, high), with low <= -high."""
    top, bottom = special.log_ndtr(high), special.log_ndtr(low)
    # log((1 - u) P(low) + u P(high)), relative to log P(high).
    share = special.exp(bottom - top)
    return _quantile(top + special.log(share + u * (1 - share)))


def _quantile(log_p: Array) -> Array:
    """Return the normal quantile of a probability, given by its logarithm."""
    z: Array = special.ndtri(special.exp(log_p))
    far = log_p < _FAR
    if far.any():
        p = log_p[far]
        # The tail's leading terms, and Newton's steps on the logarithm.
        w = -np.sqrt(-2 * p - special.log(-2 * p * 2 * np.pi))
        for _ in range(4):
            log_mass = special.log_ndtr(w)
            slope = special.exp(-0.5 * w * w - _LOG_ROOT - log_mass)
            w -= (log_mass - p) / slope
        z[far] = w
    return z
