"""Statistics given by users' functions of batches of resamples, or of data and weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, TargetError
from fermiac.resample.data import Data

__all__ = ["Function", "StatisticFunction"]

Array = NDArray[np.float64]
StatisticFunction: TypeAlias = Callable[..., Any]
"""``f(batch)``, where the batch has the shape (b, n) or (b, n, d) and the values (b,) or (b, k).

For several samples ``f(batch, batch, ...)``; with ``weights=True`` ``f(x, ..., weights)`` with
weights of the shape (b, n)."""
#: Numbers in a batch: it stays in the cache, and Ctrl-C is handled soon.
_NUMBERS = 2**20
#: Functions of NumPy that take their axis as an argument, which is why they are refused.
_OF_NUMPY = {
    np.mean: "mean",
    np.median: "median",
    np.var: "var",
    np.std: "sd",
}


@dataclass(frozen=True)
class Function:
    """A callable statistic of checked data."""

    f: StatisticFunction
    weighted: bool
    batch: int | None
    data: Data
    #: Whether the values have an axis of outputs, and how many there are.
    many: bool = False
    width: int = 1

    @classmethod
    def of(cls, f: Any, weighted: bool, batch: int | None, data: Data) -> tuple[Function, Array]:
        """Return the statistic after a first call, and its values of the whole data, shape (k,)."""
        if not callable(f):
            raise ArgumentError(
                f"statistic: {shown(f)} given; a name such as 'mean' or a callable is needed"
            )
        try:
            known = _OF_NUMPY.get(f)
        except TypeError:  # a callable that cannot be hashed
            known = None
        if known is not None:
            raise ArgumentError(
                f"statistic: numpy.{f.__name__} given, which averages over all axes; give "
                f"{known!r}, or a function of a batch such as lambda x: numpy.{f.__name__}(x, "
                "axis=1)"
            )
        made = cls(f, weighted, batch, data)
        first = made._called(
            np.ones((1, data.units.n)) if weighted else np.arange(data.units.n)[None]
        )
        many = first.ndim == 2
        return cls(f, weighted, batch, data, many, first.shape[1] if many else 1), first.reshape(-1)

    def _called(self, drawn: NDArray[Any]) -> Array:
        """Return the values of rows of weights or of indices, checked."""
        data = self.data
        if self.weighted:
            arguments: tuple[Any, ...] = (*data.samples, *self._split(drawn))
        else:
            arguments = data.rows(drawn)
        values = self.f(*arguments)
        b = drawn.shape[0]
        try:
            array = np.asarray(values, dtype=np.float64)
        except Exception as error:
            raise TargetError(
                f"statistic: it returned a {type(values).__name__}, which is no array of numbers "
                f"({error}); values of shape ({b},) or ({b}, k) are needed"
            ) from error
        if array.ndim not in (1, 2) or array.shape[0] != b or array.size == 0:
            raise TargetError(
                f"statistic: it returned values of shape {array.shape} for a batch of {b} "
                f"resamples; ({b},) or ({b}, k) is needed, with one value for each resample (for "
                "instance by axis=1)"
            )
        return array

    def _split(self, weights: Array) -> list[Array]:
        """Return the weights of each independent sample."""
        if self.data.paired or len(self.data.samples) == 1:
            return [weights]
        return np.split(weights, np.cumsum(self.data.sizes)[:-1], axis=1)

    def values(self, drawn: NDArray[Any]) -> Array:
        """Return the values of rows of weights or indices, shape (b, k)."""
        found = self._called(drawn)
        if (found.ndim == 2) != self.many or found.reshape(len(found), -1).shape[1] != self.width:
            raise TargetError(
                f"statistic: it returned values of shape {found.shape}, and others for the first "
                "call; the same number of outputs is needed each time"
            )
        return found.reshape(-1, self.width)

    @property
    def rows(self) -> int:
        """The resamples of a batch."""
        if self.batch is not None:
            return self.batch
        numbers = sum(sample.size for sample in self.data.samples)
        return max(1, min(4096, _NUMBERS // numbers))

    def replicates(self, scheme: str, first: int, n: int, key: int, n_threads: int) -> Array:
        """Return replicates `first` to `first` + n - 1, which are at most one batch."""
        options = self.data.units.core(scheme)
        if self.weighted:
            drawn = _core.resample_weights(options, first, n, key, n_threads)
            return self.values(drawn.reshape(n, -1))
        flat, starts = _core.resample_rows(options, first, n, key, n_threads)
        if flat.size == n * self.data.units.n and (np.diff(starts) == self.data.units.n).all():
            return self.values(flat.reshape(n, -1))
        # Clusters of several sizes make resamples of several sizes.
        parts = [self.values(flat[None, a:b]) for a, b in itertools.pairwise(starts)]
        return np.concatenate(parts)

    def leave_one_out(self) -> Array:
        """Return the values with each unit left out, shape (units, k)."""
        units, n = self.data.units, self.data.units.n
        starts = np.arange(n + 1) if units.starts is None else units.starts
        members = np.arange(n) if units.members is None else units.members
        found = []
        for unit in range(len(starts) - 1):
            out = members[starts[unit] : starts[unit + 1]]
            if self.weighted:
                weights = np.ones((1, n))
                weights[0, out] = 0.0
                found.append(self.values(weights))
                continue
            kept = np.ones(n, bool)
            kept[out] = False
            found.append(self._shorter(kept))
        return np.concatenate(found)

    def _shorter(self, kept: NDArray[np.bool_]) -> Array:
        """Return the value of the observations that are kept."""
        data = self.data
        if data.paired or len(data.samples) == 1:
            arguments = tuple(sample[kept][None] for sample in data.samples)
        else:
            parts = np.split(kept, np.cumsum(data.sizes)[:-1])
            arguments = tuple(s[k][None] for s, k in zip(data.samples, parts, strict=True))
        values = np.asarray(self.f(*arguments), dtype=np.float64).reshape(-1)
        if values.size != self.width:
            raise TargetError(
                f"statistic: it returned {values.size} values for fewer observations; "
                f"{self.width} are needed"
            )
        return values[None]
