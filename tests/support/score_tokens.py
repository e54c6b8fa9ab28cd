"""A chain of four tokens over three letters, its exact conditional laws, and a test of counts."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALL", "JOINT", "LENGTH", "N_TOKENS", "chain", "chi_square"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
LENGTH, N_TOKENS = 4, 3

#: All sequences, and their probabilities under a chain whose neighbours depend on each other.
ALL = np.array(list(itertools.product(range(N_TOKENS), repeat=LENGTH)))
_FIRST = np.array([0.5, 0.3, 0.2])
_NEXT = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.25, 0.05, 0.7]])
JOINT = _FIRST[ALL[:, 0]] * np.prod(_NEXT[ALL[:, :-1], ALL[:, 1:]], axis=1)


def chain(tokens: Ints, time: Array, positions: Ints | None = None) -> Array:
    """The exact conditional laws of single tokens, given those that are there."""
    fits = ((tokens[:, None, :] == ALL) | (tokens[:, None, :] == N_TOKENS)).all(-1) * JOINT
    out = np.empty((len(tokens), LENGTH, N_TOKENS))
    for token in range(N_TOKENS):
        out[:, :, token] = fits @ (token == ALL)
    with np.errstate(divide="ignore"):
        logits = np.log(out)
    if positions is None:
        return np.asarray(logits)
    return np.asarray(np.take_along_axis(logits, positions[:, :, None], axis=1))


def chi_square(tokens: Ints, law: Array) -> float:
    """How far counts of sequences are from a law, in standard deviations of chi-square."""
    counts = np.bincount(tokens @ N_TOKENS ** np.arange(LENGTH)[::-1], minlength=len(ALL))
    expected = len(tokens) * law / law.sum()
    degrees = len(law) - 1
    return float((np.sum((counts - expected) ** 2 / expected) - degrees) / np.sqrt(2 * degrees))
