"""Samples of streams of unknown length, in one pass and mergeable over shards."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import RngLike, choice, key_of, numbers, real_numbers, shown, whole
from fermiac.design.survey import SurveyTotal, told
from fermiac.errors import ArgumentError
from fermiac.random.stream import Stream
from fermiac.results.result import Result

__all__ = ["StreamSample", "sample_stream"]

Array = NDArray[np.float64]
_METHODS = ("priority", "reservoir")
#: Units with neighbouring numbers take their uniform numbers from one stream of this length.
_SECTION = 4096
#: The largest number of a unit.
_LAST = 2**53


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class StreamSample(Result):
    """A random sample of the units of a stream.

    Attributes
    ----------
    units : ndarray of int, shape (m,)
        The numbers of the units of the sample, in ascending order.
    weights : ndarray, shape (m,)
        Their weights.
    values : ndarray, shape (m, ...)
        Their values.
    probabilities : ndarray, shape (m,)
        For ``"reservoir"`` their inclusion probabilities, n over the number of units. For
        ``"priority"`` those given the ranks of all other units.
    method : str
        How the sample was drawn.
    shards : ndarray of int, shape (k, 2)
        The first unit of each shard, and the number of its units.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> size = 1 + fm.random.Stream(1).exponential(10_000)
    >>> s = fm.design.sample_stream([size[:5000], size[5000:]], 200, rng=0)
    >>> t = s.total(s.weights)
    >>> bool(abs(t.value - size.sum()) < 5 * t.stderr)
    True
    """

    units: NDArray[np.int64]
    weights: Array
    values: Array
    probabilities: Array
    method: str
    shards: NDArray[np.int64]
    #: The ranks of the units, and the smallest rank of the others, which may be infinite.
    ranks: Array
    threshold: float

    _layout: ClassVar[fit.Layout] = {
        "units": fit.array("i", "m", low=0),
        "weights": fit.array("f", "m", low=0),
        "values": fit.array("f", "m", "*rest"),
        "probabilities": fit.array("f", "m", low=0, high=1),
        "method": fit.text(*_METHODS),
        "shards": fit.array("i", "k", 2, low=0),
        "ranks": fit.array("f", "m", low=0),
        "threshold": fit.real,
    }

    @property
    def n_units(self) -> int:
        """The number of units of the stream."""
        return int(self.shards[:, 1].sum())

    def _headline(self) -> str:
        return f"StreamSample: {self.units.size} of {self.n_units} units, {self.method}"

    def total(self, y: ArrayLike) -> SurveyTotal:
        r"""Estimate the total of a quantity over the stream.

        Parameters
        ----------
        y : array_like, shape (m,)
            Its values for the units of the sample, in the order of `units`; zeros for units outside
            of a group give the total of the group.

        Returns
        -------
        SurveyTotal
            With ``value`` and ``stderr``; the error is infinite for a single unit of several.

        Warns
        -----
        ConvergenceWarning
            If the error is 0 since all values of units drawn by chance are equal. They tell nothing
            of a large unit that was not drawn.

        Raises
        ------
        ArgumentError
            If there is not a finite value for each unit of the sample.

        Notes
        -----
        Both estimates are unbiased. For ``"priority"`` that of the variance is
        :math:`\sum (1 - p) y^2 / p^2` with the `probabilities` p, because two estimates of this
        kind are uncorrelated [1]_. For ``"reservoir"`` it is that of simple random samples.

        References
        ----------
        .. [1] N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation of arbitrary
           subset sums", Journal of the ACM, 2007, doi:10.1145/1314690.1314696.
        """
        values = numbers("y", y)
        if values.shape != self.units.shape or not np.isfinite(values).all():
            raise ArgumentError(
                f"y: an array of shape {values.shape} given; finite numbers of shape "
                f"{self.units.shape} are needed, one for each unit of the sample"
            )
        p, m = self.probabilities, self.units.size
        total, all_units = float((values / p).sum()), self.n_units
        if m == all_units:
            return SurveyTotal(total, 0.0)
        if m < 2:
            return SurveyTotal(total, np.inf)
        if self.method == "priority":
            error = float(np.sqrt(((1 - p) * (values / p) ** 2).sum()))
            return told(SurveyTotal(total, error), values[p < 1])
        share = m / all_units
        error = float(all_units * np.sqrt((1 - share) * values.var(ddof=1) / m))
        return told(SurveyTotal(total, error), values)

    def merge(self, *others: StreamSample) -> StreamSample:
        """Return the sample of all units of several shards.

        It has the same units as a sample of the joined stream, whichever way it was cut into
        shards.

        Parameters
        ----------
        *others : StreamSample
            Samples of other shards, with the same seed, size and method, and other units.

        Returns
        -------
        StreamSample

        Raises
        ------
        ArgumentError
            If the samples have different seeds, sizes, methods or kinds of values, or shards have
            units in common.

        Examples
        --------
        >>> import fermiac as fm
        >>> size = 1 + fm.random.Stream(1).exponential(1000)
        >>> whole = fm.design.sample_stream([size], 50, rng=0)
        >>> left = fm.design.sample_stream([size[:300]], 50, rng=0)
        >>> right = fm.design.sample_stream([size[300:]], 50, first=300, rng=0)
        >>> bool((left.merge(right).units == whole.units).all())
        True
        """
        parts = (self, *others)
        for other in others:
            if not isinstance(other, StreamSample):
                raise ArgumentError(f"others: {shown(other)} given; a StreamSample is needed")
            for name in ("seed", "settings"):
                if getattr(other, name) != getattr(self, name):
                    raise ArgumentError(
                        f"others: a sample with {name}={getattr(other, name)} given to one with "
                        f"{getattr(self, name)}; the same seed, n and method are needed"
                    )
            if other.values.shape[1:] != self.values.shape[1:]:
                raise ArgumentError(
                    f"others: values of shape {other.values.shape[1:]} given to "
                    f"{self.values.shape[1:]}; the same shape is needed for each unit"
                )
        shards = np.concatenate([part.shards for part in parts])
        order = np.argsort(shards[:, 0], kind="stable")
        shards = shards[order]
        if (shards[1:, 0] < (shards[:-1, 0] + shards[:-1, 1])).any():
            raise ArgumentError(
                "others: shards with units in common given; give each shard its `first` unit"
            )
        reservoir = _Reservoir(self.settings["n"], self.method)
        for part in parts:
            reservoir.take(part.units, part.weights, part.values, part.ranks)
            reservoir.threshold = min(reservoir.threshold, part.threshold)
        return replace(
            self,
            **reservoir.content(int(shards[:, 1].sum())),
            shards=shards,
            wall_time=sum(part.wall_time for part in parts),
        )


class _Reservoir:
    """The units with the smallest ranks so far."""

    def __init__(self, n: int, method: str) -> None:
        self.n, self.method, self.threshold = n, method, np.inf
        self._kept: tuple[NDArray[Any], ...] = ()

    def take(self, units: Any, weights: Array, values: Array, ranks: Array) -> None:
        """Take a block of units."""
        new: tuple[NDArray[Any], ...] = (units, weights, values, ranks)
        if self._kept:
            near = ranks < self.threshold
            new = tuple(
                np.concatenate([old, part[near]]) for old, part in zip(self._kept, new, strict=True)
            )
            if not near.all():
                self.threshold = min(self.threshold, float(ranks[~near].min()))
        if len(new[3]) > self.n:
            order = np.lexsort((new[0], new[3]))
            self.threshold = min(self.threshold, float(new[3][order[self.n]]))
            new = tuple(part[order[: self.n]] for part in new)
        self._kept = new

    def content(self, n_units: int) -> dict[str, Any]:
        """Return the fields of the sample."""
        order = np.argsort(self._kept[0], kind="stable")
        units, weights, values, ranks = (part[order] for part in self._kept)
        p = np.full(units.size, units.size / n_units)
        if self.method == "priority":
            with np.errstate(over="ignore", invalid="ignore"):
                p = np.minimum(weights * self.threshold, 1.0)
            p[np.isnan(p)] = 1.0
        return {
            "units": units.astype(np.int64),
            "weights": weights,
            "values": values,
            "probabilities": p,
            "ranks": ranks,
            "threshold": float(self.threshold),
        }


@public
def sample_stream(
    blocks: Iterable[Any],
    n: int,
    *,
    method: Literal["priority", "reservoir"] = "priority",
    first: int = 0,
    rng: RngLike = None,
) -> StreamSample:
    r"""Draw n units of a stream of unknown length, in one pass.

    The random number of a unit depends on the seed and on its number in the stream alone. The
    sample is therefore the same for every size of blocks, and samples of shards merge to that of
    all of them.

    Parameters
    ----------
    blocks : iterable of array_like, or of pairs
        The weights of consecutive units, (b,) numbers that are not negative, or pairs of weights
        and values, (b, ...) numbers that are kept for the units of the sample. Units of weight 0
        are never drawn for ``"priority"``.
    n : int
        The size of the sample; all units of a shorter stream are taken.
    method : {"priority", "reservoir"}, default "priority"
        ``"priority"``: the units with the largest w / U for uniform U [1]_. Totals of quantities
        that are about proportional to the weights, over any group of units, have a small error.
        ``"reservoir"``: each sample of n units has the same probability, whatever the weights are
        [2]_.
    first : int, default 0
        The number of the first unit, for shards of a larger stream.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system. All shards
        need the same.

    Returns
    -------
    StreamSample
        ``units``, ``values`` and ``probabilities``, and the methods ``total`` and ``merge``.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the stream has no units that can be drawn.

    Notes
    -----
    With the threshold τ, the largest priority w / U outside of the sample, the total of y is
    estimated by the sum of y / p with p = min(1, w / τ). It is unbiased.

    References
    ----------
    .. [1] N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation of arbitrary subset
       sums", Journal of the ACM, 2007, doi:10.1145/1314690.1314696.
    .. [2] J. S. Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical
       Software, 1985, doi:10.1145/3147.3165.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> flows = 1 + fm.random.Stream(1).exponential((100, 50))  # a hundred blocks
    >>> port = np.arange(5000) % 4
    >>> s = fm.design.sample_stream(zip(flows, port.reshape(100, 50)), 400, rng=0)
    >>> t = s.total(s.weights * (s.values == 3))  # of one port
    >>> bool(abs(t.value - flows.ravel()[port == 3].sum()) < 5 * t.stderr)
    True
    """
    began = time.perf_counter()
    count = whole("n", n, 1, 2**40)
    chosen = choice("method", method, _METHODS)
    start = whole("first", first, 0, _LAST)
    key = key_of(rng)
    try:
        steps = iter(blocks)
    except TypeError as error:
        raise ArgumentError(
            f"blocks: {shown(blocks)} given; an iterable of arrays of weights is needed"
        ) from error
    reservoir, at = _Reservoir(count, chosen), start
    shape: tuple[int, ...] | None = None
    for block in steps:
        weights, values = _block(block)
        if shape is not None and values.shape[1:] != shape:
            raise ArgumentError(
                f"blocks: values of shape {values.shape[1:]} for each unit given after {shape}; "
                "the same shape is needed in all blocks"
            )
        shape = values.shape[1:]
        if at + weights.size > _LAST:
            raise ArgumentError(f"first: unit {at} given; the largest number is {_LAST}")
        ranks = _uniform(key, at, weights.size)
        if chosen == "priority":
            with np.errstate(divide="ignore", over="ignore"):
                ranks = ranks / weights
        good = ranks < np.inf
        reservoir.take(
            (at + np.arange(weights.size))[good], weights[good], values[good], ranks[good]
        )
        at += weights.size
    if not reservoir._kept or not reservoir._kept[0].size:
        raise ArgumentError("blocks: no unit of positive weight given; at least one is needed")
    return StreamSample(
        **reservoir.content(at - start),
        method=chosen,
        shards=np.array([[start, at - start]]),
        seed=key,
        version=_core.__version__,
        isa=_core.isa_level,
        settings={"n": count, "method": chosen},
        n_evals=0,
        wall_time=time.perf_counter() - began,
    )


def _block(given: Any) -> tuple[Array, Array]:
    """Return the weights and the values of a block."""
    pair = isinstance(given, tuple) and len(given) == 2
    weights = numbers("blocks", given[0] if pair else given)
    if weights.ndim != 1 or not ((weights >= 0) & np.isfinite(weights)).all():
        raise ArgumentError(
            f"blocks: weights of shape {weights.shape} given; finite numbers of shape (b,) are "
            "needed that are not negative"
        )
    values = real_numbers("blocks", given[1]) if pair else weights
    if values.ndim == 0 or len(values) != weights.size:
        raise ArgumentError(
            f"blocks: values of shape {values.shape} given for {weights.size} weights; a value "
            "for each is needed"
        )
    return weights, values


def _uniform(key: int, first: int, count: int) -> Array:
    """Return the uniform numbers of consecutive units."""
    parts = []
    last = first + count
    for section in range(first // _SECTION, (last - 1) // _SECTION + 1 if count else 0):
        u = Stream(key, section).uniform(_SECTION)
        low = section * _SECTION
        parts.append(u[max(first - low, 0) : last - low])
    return np.concatenate(parts) if parts else np.empty(0)
