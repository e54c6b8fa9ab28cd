"""Losses of predictions, and the no-information rate of a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import ask
from fermiac._base.exponents import exponents, restored, scaled
from fermiac._base.validate import choice, shown
from fermiac.errors import ArgumentError, NumericalError, TargetError
from fermiac.random.stream import Stream

__all__ = ["Loss", "LossName", "loss_of"]

Array = NDArray[np.float64]
LossName: TypeAlias = Literal["zero-one", "squared", "absolute"]
LossFunction: TypeAlias = Callable[[NDArray[Any], Any], Any]
_NAMES: tuple[LossName, ...] = ("zero-one", "squared", "absolute")
#: The largest number of pairs of a truth and a prediction for a loss function of the user.
_PAIRS = 2**24


class Loss:
    """A loss, by name or by a function of truths and predictions."""

    def __init__(self, given: LossName | LossFunction) -> None:
        self.function: LossFunction | None = None
        if callable(given):
            self.name = getattr(given, "__name__", "function")
            self.function = given
        elif isinstance(given, str):
            self.name = choice("loss", given, _NAMES)
        else:
            raise ArgumentError(
                f"loss: {shown(given)} given; one of {', '.join(map(repr, _NAMES))} or a function "
                "of truths and predictions is needed"
            )

    def __call__(self, y: NDArray[Any], predicted: Any) -> Array:
        """Return the loss of each prediction, shape (m,)."""
        m = len(y)
        if self.function is not None:
            values = ask(self.function, (y, predicted), "loss", f"for {m} predictions")
        else:
            guess = _predictions(predicted, m)
            if self.name == "zero-one":
                _require_same_kind(y, guess)
                values = guess != y
            else:
                values = self._distances(_real("y", y), _real("the prediction", guess))
        try:
            losses = np.array(values, np.float64)  # a copy: it may be the same array each time
        except Exception as error:
            raise TargetError(
                f"loss: it returned a {type(values).__name__}, not an array of numbers ({error})"
            ) from error
        if losses.shape != (m,):
            raise TargetError(
                f"loss: it returned an array of shape {losses.shape} for {m} predictions; ({m},) "
                "is needed"
            )
        if not np.isfinite(losses).all():
            raise TargetError(
                "loss: it returned values that are not finite; finite ones are needed"
            )
        return losses

    def _distances(self, y: Array, guess: Array) -> Array:
        """Return absolute or squared differences of finite numbers."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            off = y - guess
            values = off * off if self.name == "squared" else np.abs(off)
        # Differences beyond the rounding of the numbers themselves.
        apart = np.abs(off) > 1e-8 * np.maximum(np.abs(y), np.abs(guess))
        lost = np.isinf(values) | ((values == 0) & apart)
        if (lost & np.isfinite(y) & np.isfinite(guess)).any():
            raise NumericalError(
                f"loss: a {self.name!r} loss is out of the range of doubles; give the truths in "
                "another unit"
            )
        return values

    def no_information(self, y: NDArray[Any], predicted: Any, key: int) -> float:
        """Return the mean loss over all pairs of a truth and a prediction.

        Functions of the user are averaged over at most 2**24 pairs. If there are more, each truth
        is paired with the same number of predictions, chosen at random.
        """
        n = len(y)
        if self.function is None:
            guess = _predictions(predicted, n)
            if self.name == "zero-one":
                try:
                    kinds = np.unique(np.concatenate([y, guess]), return_inverse=True)[1]
                except TypeError as error:
                    raise TargetError(
                        f"fit: predictions of type {guess.dtype} for truths of type {y.dtype} "
                        f"cannot be compared ({error})"
                    ) from error
                counts = [
                    np.bincount(part, minlength=2 * n) for part in np.split(kinds.reshape(-1), [n])
                ]
                return float(1 - (counts[0] / n) @ (counts[1] / n))
            truth, value = _real("y", y), _real("the prediction", guess)
            e = exponents(np.append(truth, value))
            truth, value, degree = scaled(truth, e), scaled(value, e), 1
            if self.name == "squared":
                mean = truth.var() + value.var() + (truth.mean() - value.mean()) ** 2
                degree = 2
            else:
                mean = _mean_distance(truth, value)
            name = "mean over all pairs"
            return float(restored("loss", {name: mean}, degree * e)[name])
        guess = np.asarray(predicted)
        shifts = min(n, max(_PAIRS // n, 1))
        if shifts < n:
            guess = guess[np.argsort(Stream(key).uniform(n), kind="stable")]
        total = 0.0
        for j in range(shifts):
            total += float(self(y, np.roll(guess, j, axis=0)).mean())
        return total / shifts


def _predictions(predicted: Any, m: int) -> NDArray[Any]:
    """Return predictions with one value for each example."""
    try:
        guess = np.asarray(predicted)
    except Exception as error:
        raise TargetError(f"fit: the predictions are not an array ({error})") from error
    if guess.shape != (m,):
        raise TargetError(
            f"fit: predictions of shape {guess.shape} were given for {m} examples; ({m},) is "
            "needed, or a loss that is a function of truths and predictions"
        )
    return guess


def _require_same_kind(y: NDArray[Any], guess: NDArray[Any]) -> None:
    """Refuse text as predictions of numbers, or numbers as predictions of text."""
    texts = [array.dtype.kind in "STU" for array in (y, guess)]
    if texts[0] != texts[1] and "O" not in (y.dtype.kind, guess.dtype.kind):
        raise TargetError(
            f"fit: predictions of type {guess.dtype} were given for truths of type {y.dtype}; the "
            "same labels are needed"
        )


def _real(name: str, values: NDArray[Any]) -> Array:
    if values.dtype.kind not in "biuf":
        raise TargetError(
            f"loss: numbers are needed for this loss; {name} has the type {values.dtype}"
        )
    return values.astype(np.float64)


def _mean_distance(a: Array, b: Array) -> float:
    """Return the mean of |a_i - b_j| over all pairs, in O(n log n)."""
    b = np.sort(b)
    below = np.concatenate([[0.0], np.cumsum(b)])
    k = np.searchsorted(b, a)
    sums = a * k - below[k] + (below[-1] - below[k]) - a * (b.size - k)
    return float(sums.mean() / b.size)


def loss_of(given: Any) -> Loss:
    """Return what was given as ``loss=``, checked."""
    return Loss(given)
