"""Statistics that are functions of the user: of batches of resamples, or of data and weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.ask import ask, own
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import Stream
from fermiac.resample.data import Data
from fermiac.resample.schemes import Parametric, Replay, Scheme
from fermiac.resample.series import most_orders
from fermiac.resample.several_classes import OfClasses
from fermiac.targets.builtin import BuiltinIntegrand
from fermiac.targets.conversion import adapted
from fermiac.targets.density import LogDensity
from fermiac.targets.native_pointer import NativeTarget

__all__ = ["Function", "StatisticFunction", "given_samples"]

Array = NDArray[np.float64]
StatisticFunction: TypeAlias = Callable[..., Any]
"""``f(batch)``, where the batch has the shape (b, n) or (b, n, d) and the values (b,) or (b, k).

For several samples ``f(batch, batch, ...)``; with ``weights=True`` ``f(x, ..., weights)`` with
weights of the shape (b, n)."""
#: The size of a batch in numbers, which keeps it in the cache and lets Ctrl-C be answered.
_NUMBERS = 2**20
#: The block of the streams of samplers.
_SAMPLER_BLOCK = 0x5202
#: Functions of NumPy that are refused, because without an axis they average over the whole batch.
_OF_NUMPY = {
    np.mean: "mean",
    np.median: "median",
    np.var: "var",
    np.std: "sd",
}


def _checked(values: Any, b: int) -> Array:
    """Return the values of a batch of b resamples, shape (b,) or (b, k)."""
    try:
        array = np.array(values, dtype=np.float64)  # a copy: it may be the same array each time
    except Exception as error:
        raise TargetError(
            f"statistic: it returned a {type(values).__name__}, not an array of numbers "
            f"({error}); values of shape ({b},) or ({b}, k) are needed"
        ) from error
    if array.ndim not in (1, 2) or array.shape[0] != b or array.size == 0:
        raise TargetError(
            f"statistic: it returned values of shape {array.shape} for a batch of {b} "
            f"resamples; ({b},) or ({b}, k) is needed, with one value for each resample (for "
            "instance with axis=1)"
        )
    return array


@dataclass(frozen=True)
class _OnRows:
    """A target of fermiac.targets, a C pointer or a torch module, called with rows of numbers."""

    target: Any

    def __call__(self, *batches: Array) -> Array:
        rows = batches[-1].reshape(len(batches[-1]), -1)
        call = self.target if callable(self.target) else self.target.log_density
        return np.asarray(call(rows))


@dataclass(frozen=True)
class Function:
    """A callable statistic of checked data."""

    f: StatisticFunction
    weighted: bool
    batch: int | None
    data: Data
    groups: int | None = None
    #: Whether the values have an axis of outputs, and the number of outputs.
    many: bool = False
    width: int = 1

    @classmethod
    def of(
        cls,
        f: Any,
        weighted: bool,
        batch: int | None,
        data: Data,
        groups: int | None = None,
    ) -> tuple[Function, Array]:
        """Return the statistic after a first call, and its values for the data, shape (k,)."""
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
        dim = data.units.n if weighted else data.samples[0].size
        target = adapted(f, dim, what="statistic")
        if isinstance(target, NativeTarget | BuiltinIntegrand | LogDensity):
            if len(data.samples) > 1 and not weighted:
                raise ArgumentError(
                    f"statistic: {shown(f)} given for {len(data.samples)} samples; a C pointer or "
                    "a torch module takes rows of one sample, or weights with weights=True"
                )
            if target.dim != dim:
                what = "weights" if weighted else "numbers of a resample"
                raise ArgumentError(
                    f"statistic: {shown(target)} takes {target.dim} coordinates; {dim} are needed, "
                    f"the {what}"
                )
            f = _OnRows(target)
        made = cls(f, weighted, batch, data, groups)
        if weighted:
            arguments: tuple[Array, ...] = made._weights(np.ones((1, data.units.n)))
        else:
            arguments = data.rows(np.arange(data.units.n)[None])
        first = made._asked(arguments)
        many = first.ndim == 2
        width = first.shape[1] if many else 1
        return cls(f, weighted, batch, data, groups, many, width), first.reshape(-1)

    @property
    def name(self) -> str:
        """Its name in results."""
        return self.f.name if isinstance(self.f, OfClasses) else "function"

    @property
    def shortens(self) -> bool:
        """Whether it can be called with fewer observations than the data have."""
        return self.weighted or not isinstance(self.f, _OnRows)

    @property
    def _fixed(self) -> tuple[Array, ...]:
        """The arguments that are the same for all resamples."""
        return self.data.samples if self.weighted else ()

    def _weights(self, weights: Array) -> tuple[Array, ...]:
        """Return the weights of each independent sample."""
        if self.data.paired or len(self.data.samples) == 1:
            return (weights,)
        return tuple(np.split(weights, np.cumsum(self.data.sizes)[:-1], axis=1))

    def _asked(self, resamples: tuple[Array, ...]) -> Array:
        """Return the checked values of batches that were made for this call."""
        b = len(resamples[0])
        arguments = (*map(own, self._fixed), *resamples)
        given = ask(self.f, arguments, "the statistic", lambda: f"on {b} resamples", fresh=True)
        return _checked(given, b)

    def values(self, arguments: tuple[Array, ...]) -> Array:
        """Return the values of batches of resamples or of weights, shape (b, k)."""
        b = len(arguments[0])
        found = self._asked(arguments)
        if (found.ndim == 2) != self.many or found.reshape(b, -1).shape[1] != self.width:
            raise TargetError(
                f"statistic: it returned values of shape {found.shape}, unlike those of the first "
                "call; the same number of outputs is needed each time"
            )
        return found.reshape(-1, self.width)

    @property
    def rows(self) -> int:
        """The number of resamples of a batch."""
        if self.batch is not None:
            return self.batch
        numbers = sum(sample.size for sample in self.data.samples)
        return max(1, min(4096, _NUMBERS // numbers))

    def replicates(self, scheme: Scheme, first: int, n: int, key: int, n_threads: int) -> Array:
        """Return replicates `first` to `first` + n - 1, at most one batch."""
        data, size = self.data, self.data.units.n
        if scheme.is_free:
            return self.values(given_samples(scheme, data, first, n, key, n_threads))
        if isinstance(scheme, Replay):
            rows = scheme.indices[first : first + n]
            if self.weighted:
                return self.values(self._weights(counted(rows, size)))
            return self.values(data.rows(rows))
        options = data.units.core(scheme)
        if self.weighted:
            drawn = _core.resample_weights(options, first, n, key, n_threads)
            return self.values(self._weights(drawn.reshape(n, -1)))
        flat, starts = _core.resample_rows(options, first, n, key, n_threads)
        widths = np.diff(starts)
        draws = options["draws"]
        if draws is not None:
            # Strata lie within samples, one sample after the other.
            units = data.units
            first_of = (
                units.strata[:-1] if units.members is None else units.members[units.strata[:-1]]
            )
            sample = np.searchsorted(np.cumsum(data.sizes), first_of, side="right")
            draws = np.bincount(sample, draws, len(data.sizes)).astype(np.int64)
        if (widths == widths[0]).all():
            return self.values(data.rows(flat.reshape(n, -1), draws))
        # Clusters of several sizes make resamples of several sizes.
        parts = [self.values(data.rows(flat[None, a:b])) for a, b in itertools.pairwise(starts)]
        return np.concatenate(parts)

    def left_out(self) -> list[range]:
        """Return the units that are left out together, one range for each value of a jackknife."""
        found = []
        for first, last in itertools.pairwise(self.data.units.strata.tolist()):
            many = last - first
            groups = many if self.groups is None else min(self.groups, many)
            # Every groups-th unit, so that groups of sorted data are similar.
            found += [range(first + group, last, groups) for group in range(groups)]
        return found

    def leave_one_out(self, start: int = 0, stop: int | None = None) -> Array:
        """Return the values with each unit, or each group of units, left out: (units, k)."""
        units, n = self.data.units, self.data.units.n
        starts = np.arange(n + 1) if units.starts is None else units.starts
        members = np.arange(n) if units.members is None else units.members
        found = []
        for group in self.left_out()[start:stop]:
            kept = np.ones(n, bool)
            kept[np.concatenate([members[starts[u] : starts[u + 1]] for u in group])] = False
            if self.weighted:
                found.append(self.values(self._weights(kept[None].astype(float))))
            else:
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
        values = self._asked(arguments).reshape(-1)
        if values.size != self.width:
            raise TargetError(
                f"statistic: it returned {values.size} values for fewer observations; "
                f"{self.width} are needed"
            )
        return values[None]


def counted(rows: NDArray[np.int64], n: int) -> Array:
    """Return how often each of n observations is in each row of indices."""
    places = rows + n * np.arange(len(rows))[:, None]
    return np.bincount(places.ravel(), minlength=n * len(rows)).reshape(-1, n).astype(float)


def given_samples(
    scheme: Scheme, data: Data, first: int, n: int, key: int, n_threads: int
) -> tuple[Array, ...]:
    """Return n samples of a sieve or of a sampler of the user, on the first axis."""
    if not (isinstance(scheme, Parametric) and scheme.sampler is not None):
        x = np.ascontiguousarray(data.samples[0])
        most = int(scheme.parameters[0]) if scheme.parameters else most_orders(x.size)
        flat = _core.resample_sieve_samples(x, most, first, n, key, n_threads)
        return (flat.reshape(n, -1),)
    batches = tuple(np.empty((n, *sample.shape)) for sample in data.samples)
    for i in range(n):
        stream = Stream(key, first + i, _SAMPLER_BLOCK)
        drawn = ask(scheme.sampler, (stream,), "the sampler", f"for sample {first + i}")
        parts = drawn if isinstance(drawn, tuple) else (drawn,)
        for j, sample in enumerate(data.samples):
            try:
                part = np.asarray(parts[j] if len(parts) == len(batches) else None, np.float64)
            except Exception as error:
                raise TargetError(f"sampler: an array of numbers is needed ({error})") from error
            if part.shape != sample.shape or not np.isfinite(part).all():
                shapes = ", ".join(str(s.shape) for s in data.samples)
                raise TargetError(
                    f"sampler: it returned an array of shape {part.shape}, or numbers that are not "
                    f"finite; finite numbers of the shape of the data, {shapes}, are needed"
                )
            batches[j][i] = part
    return batches
