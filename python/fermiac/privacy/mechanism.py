"""Base class of the mechanisms that answer adaptive queries: data, noise, budget, history."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.config import get_num_threads
from fermiac._base.validate import choice, key_of, numbers, real, shown, whole, yes
from fermiac.errors import ArgumentError, BudgetExhausted, RangeError, TargetError
from fermiac.random import RngLike, Stream
from fermiac.targets.callables import CallableIntegrand
from fermiac.targets.conversion import adapted, as_integrand, compared

__all__ = [
    "Answer",
    "Mechanism",
    "Noise",
    "NoiseSource",
    "advanced",
    "certificate_from",
    "data_of",
    "max_information",
    "means_of",
]

Array = NDArray[np.float64]
NoiseSource: TypeAlias = Callable[[str, float], float]
"""``noise_source(kind, scale)``: the next draw for ``kind``, of this scale."""

#: The distance beyond the range that a given mean may have, in widths.
_ROUNDING = 1e-9
#: Rows of one call of a Python function.
_BATCH = 65_536


@dataclass(frozen=True)
class Answer:
    """The answer to a query; ``float(answer)`` is its value.

    Attributes
    ----------
    value : float or numpy.ndarray
        The answer, one for each column of the query; NaN after the end of the budget.
    source : str, tuple of str or None
        ``"train"``, ``"holdout"``, ``"data"`` or ``"exhausted"`` for each column; None if the
        mechanism is blind.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> holdout = fm.privacy.LaplaceAnswers(
    ...     np.ones((1000, 2)), epsilon=0.1, budget=5, rng=0
    ... )
    >>> answer = holdout.query(lambda x: x[:, 0])
    >>> answer.source, bool(abs(float(answer) - 1) < 0.1)
    ('data', True)
    """

    value: float | Array
    source: str | tuple[str, ...] | None

    def __float__(self) -> float:
        """Return the value of a query with one column."""
        return float(self.value)


class Noise:
    """Draws of noise, from an addressed stream or from the caller's source."""

    def __init__(self, rng: RngLike, source: NoiseSource | None, index: int) -> None:
        if source is not None and not callable(source):
            raise ArgumentError(
                f"noise_source: {type(source).__name__} was given; a function (kind, scale) is "
                "needed"
            )
        self.seed = None if source is not None else key_of(rng)
        self._source = source
        if self.seed is not None:
            made = _core.privacy_stream(self.seed, index)
            self._stream = Stream.from_position(made.position())

    def laplace(self, kind: str, scale: float) -> float:
        """Return a draw with density exp(-|z| / scale) / (2 scale)."""
        if self._source is not None:
            return self._given(kind, scale)
        return scale * (self._stream.exponential() - self._stream.exponential())

    def normal(self, kind: str, scale: float) -> float:
        """Return a normal number with this standard deviation."""
        if self._source is not None:
            return self._given(kind, scale)
        return scale * self._stream.normal()

    def _given(self, kind: str, scale: float) -> float:
        draw = ask(self._source, (kind, scale), "noise_source", f"for {kind!r}")  # type: ignore[arg-type]
        return real("noise_source", draw, f"finite draws are needed (for {kind!r})")


class Mechanism:
    """Base class of mechanisms: they answer a query column by column while the budget lasts."""

    def __init__(
        self,
        budget: int | None,
        value_range: tuple[float, float],
        on_exhausted: str,
        blind: bool,
    ) -> None:
        self._unlimited = budget is None
        self._budget = 2**53 if budget is None else whole("budget", budget, 1, 2**53)
        self._left = self._budget
        ends = numbers("value_range", value_range)
        if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] >= ends[1]:
            raise ArgumentError(
                f"value_range: {shown(value_range)} was given; two finite numbers are needed, the "
                "lower one first"
            )
        self._low, self._high = (float(end) for end in ends)
        self._width = self._high - self._low
        self._raises = choice("on_exhausted", on_exhausted, ("nan", "raise")) == "raise"
        self._blind = yes("blind", blind)
        self._history: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        left = "without a budget" if self._unlimited else f"{self._left} of {self._budget} left"
        return f"{type(self).__name__}: {'blind' if self._blind else left}"

    @property
    def remaining(self) -> int | None:
        """The remaining budget; None without a budget, or if the mechanism is blind."""
        return None if self._blind or self._unlimited else self._left

    @property
    def history(self) -> tuple[Answer, ...]:
        """All answers so far, column by column; without their sources if the mechanism is blind."""
        return tuple(Answer(v, None if self._blind else s) for v, s in self._history)

    def _answers(self, *means: Array, scalar: bool) -> Answer:
        """Return the answer of each column from its means, which are in units of the range."""
        values: list[float] = []
        sources: list[str] = []
        for column in zip(*(m.tolist() for m in means), strict=True):
            value, source = self._answer(column) if self._left else (math.nan, "exhausted")
            if source == "exhausted" and self._raises:
                error = BudgetExhausted(
                    f"the budget of {self._budget} is exhausted; answers from here on need fresh "
                    "data"
                )
                if values:
                    error.partial_result = self._columns(values, sources)
                raise error
            self._history.append((value, source))
            values.append(value)
            sources.append(source)
        if scalar:
            return Answer(values[0], None if self._blind else sources[0])
        return self._columns(values, sources)

    def _columns(self, values: list[float], sources: list[str]) -> Answer:
        return Answer(np.array(values), None if self._blind else tuple(sources))

    def _answer(self, means: tuple[float, ...]) -> tuple[float, str]:
        raise NotImplementedError

    def _evaluated(self, f: Any, data: Array, name: str) -> tuple[Array, bool]:
        return means_of(f, data, name, self._low, self._high)

    def _given(self, name: str, means: ArrayLike) -> Array:
        """Return means that the caller computed, checked."""
        array = numbers(name, means)
        if array.ndim > 1:
            raise ArgumentError(f"{name}: shape {array.shape} was given; a number, or (k,)")
        # A mean of values at an end may be rounded to beyond it.
        inside = np.clip(array, self._low, self._high)
        near = abs(array - inside) <= _ROUNDING * self._width
        _in_range(name, np.where(near, inside, array), self._low, self._high)
        return np.asarray(inside)


def data_of(name: str, data: ArrayLike) -> Array:
    """Return rows of data: finite numbers, shape (n, d) or (n,)."""
    array = numbers(name, data)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise ArgumentError(f"{name}: shape {array.shape} was given; (n, d) is needed, not empty")
    return np.ascontiguousarray(array)


def means_of(f: Any, data: Array, name: str, low: float, high: float) -> tuple[Array, bool]:
    """Return the mean over the rows of each column of a query, and whether it is one number."""
    target = as_integrand(compared(adapted(f, data.shape[1]), "the query"), data.shape[1])
    n = len(data)
    if isinstance(target, CallableIntegrand):
        values = np.vstack([target(data[i : i + _BATCH]) for i in range(0, n, _BATCH)])
        if target.complex:
            raise TargetError("the query gave complex numbers; it must give real ones")
    else:
        values = target.handle(data, get_num_threads()).reshape(n, -1)
    if not np.isfinite(values).all():
        raise TargetError(f"the query gave numbers on {name} that are not finite; it must not")
    _in_range(name, values, low, high)
    return values.mean(axis=0), bool(target.scalar)


def _in_range(name: str, values: Array, low: float, high: float) -> None:
    if ((values < low) | (values > high)).any():
        # The message does not show the value: it may be that of a single protected row.
        raise RangeError(
            f"{name}: a query gave a value outside of the declared range from {low:g} to "
            f"{high:g}; declare a range that holds all its values, or clip them"
        )


def certificate_from(information: float, n: int, tau: float, beta: float) -> float | None:
    """Return the bound e^I 2 exp(-2 n tau²) + beta, or None if it is 1 or more."""
    exponent = information - 2 * n * tau * tau
    if exponent >= 0:
        return None
    bound = 2 * math.exp(exponent) + beta
    return bound if bound < 1 else None


def max_information(epsilon: float, n: int, beta: float) -> float:
    """Return the beta-approximate max-information, in nats, of epsilon-DP answers on n rows."""
    return epsilon * epsilon * n / 2 + epsilon * math.sqrt(n * math.log(2 / beta) / 2)


def advanced(each: float, count: int, delta: float) -> float:
    """Return the epsilon at `delta` of `count` answers that are `each`-DP."""
    pure = each * count
    if delta == 0 or each > 700:
        return pure
    composed = each * math.sqrt(2 * count * math.log(1 / delta)) + pure * math.expm1(each)
    return min(pure, composed)
