"""Labels of classes: of any type, and their numbers in sorted order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import shown, taken
from fermiac.errors import ArgumentError

__all__ = ["encoded", "listing", "place_of"]

Array = NDArray[np.float64]


def encoded(name: str, arrays: Sequence[Any]) -> tuple[list[Any], list[Array]]:
    """Return the sorted labels that occur in arrays, and the arrays as numbers of labels.

    NaN stays NaN.
    """
    given = [taken(name, array) for array in arrays]
    if all(array.dtype.kind in "biu" and array.size for array in given):
        pair = _of_two(given)
        if pair is not None:
            return pair
    text = {array.dtype.kind in "UST" for array in given if array.dtype.kind != "O"}
    known = all(array.dtype.kind in "biufUSTO" for array in given)
    flat = [array.ravel() for array in given]
    try:
        here = [np.asarray(f == f, bool) if f.dtype.kind in "fO" else np.ones(f.size, bool)
                for f in flat]  # fmt: skip
        kept = [f[own] for f, own in zip(flat, here, strict=True)]
        labels, places = np.unique(np.concatenate(kept), return_inverse=True)
    except (TypeError, ValueError):
        known = False
    if not known or len(text) > 1:
        types = " and ".join(str(array.dtype) for array in given)
        raise ArgumentError(f"{name}: labels of type {types} given, which cannot be compared")
    codes, rest = [], places.reshape(-1)
    for array, own in zip(given, here, strict=True):
        code = np.full(array.size, np.nan)
        n = int(np.count_nonzero(own))
        code[own], rest = rest[:n], rest[n:]
        codes.append(code.reshape(array.shape))
    return labels.tolist(), codes


def _of_two(given: Sequence[NDArray[Any]]) -> tuple[list[Any], list[Array]] | None:
    """Return what `encoded` returns, without a sort, if two whole numbers occur; else None."""
    low, high = min(array.min() for array in given), max(array.max() for array in given)
    codes = []
    for array in given:
        top = array == high
        if low == high or not (top | (array == low)).all():
            return None
        codes.append(top.astype(np.float64))
    return np.array([low, high], np.result_type(*given)).tolist(), codes


def place_of(positive: Any, labels: Sequence[Any]) -> int:
    """Return the number of the positive label; None stands for the last."""
    if positive is None:
        return len(labels) - 1
    for place, label in enumerate(labels):
        if np.ndim(positive) == 0 and label == positive:
            return place
    raise ArgumentError(
        f"positive: {shown(positive)} given, which is not among the labels {listing(labels)}"
    )


def listing(labels: Sequence[Any]) -> str:
    """Return the first labels as text."""
    return ", ".join(map(shown, labels[:10])) + (", …" if len(labels) > 10 else "")
