"""Statistics of labels of more than two classes, from the counts of pairs of truth and guess."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["OfClasses"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OfClasses:
    """A function of batches of resampled pairs, or of pairs and weights.

    Precision, recall and F1 are means over the classes that occur.
    """

    name: str
    n: int

    def __call__(self, truth: Array, guess: Array, weights: Array | None = None) -> Array:
        """Return the values of resamples, shape (b,)."""
        n = self.n
        cells = (n * truth + guess).astype(np.int64)
        if weights is None:
            places = cells + n * n * np.arange(len(cells))[:, None]
            counts = np.bincount(places.ravel(), minlength=n * n * len(cells)).astype(float)
        else:
            counts = weights @ np.eye(n * n)[cells]
        table = counts.reshape(-1, n, n)
        of_truth, of_guess, right = table.sum(2), table.sum(1), table.diagonal(0, 1, 2)
        total = of_truth.sum(1)
        agreed, chance = right.sum(1), (of_truth * of_guess).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.name == "kappa":
                return np.asarray((agreed * total - chance) / (total * total - chance))
            if self.name == "mcc":
                spreads = [total * total - (of * of).sum(1) for of in (of_truth, of_guess)]
                return np.asarray((agreed * total - chance) / np.sqrt(spreads[0] * spreads[1]))
            below = {"precision": of_guess, "recall": of_truth}
            share = right / below.get(self.name, 0.5 * (of_truth + of_guess))
        occurs = of_truth + of_guess > 0
        return np.asarray(np.where(right > 0, share, 0.0).sum(1) / occurs.sum(1))
