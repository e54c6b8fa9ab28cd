"""Laws made of laws: products of independent blocks, and mixtures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import listed, real_numbers, shown
from fermiac.distributions.law import (
    Array,
    BuiltInLaw,
    Law,
    Measure,
    points,
    subkey,
    unit_points,
)
from fermiac.distributions.scipy import as_law
from fermiac.distributions.univariate import UnivariateLaw
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import Stream

#: A longer iterable of laws is assumed to be endless.
_MOST_LAWS = 2**20


def listed_laws(laws: Iterable[Any]) -> tuple[Law, ...]:
    """Return the laws of an iterable, at least one."""
    given = listed(laws, _MOST_LAWS)
    if given is None:
        raise ArgumentError(
            f"laws: {shown(laws)} was given; a list of laws is needed, of {_MOST_LAWS} at most"
        )
    if not given:
        raise ArgumentError("laws: none was given; at least one is needed")
    return tuple(as_law(law, f"laws[{i}]") for i, law in enumerate(given))


def _handles(laws: tuple[Law, ...]) -> list[_core.Law] | None:
    handles = [law._handle for law in laws]
    known = [handle for handle in handles if handle is not None]
    return known if len(known) == len(handles) else None


def _moment(law: Law, name: str) -> Array:
    value = getattr(law, name, None)
    if value is None:
        raise AttributeError(f"{type(law).__name__} has no attribute {name}")
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (law.dim,))


def moments(laws: tuple[Law, ...], name: str) -> Array:
    """Return the means or variances of the coordinates of laws, one law after the other."""
    return np.concatenate([_moment(law, name) for law in laws])


def common_measure(laws: tuple[Law, ...]) -> Measure:
    """Return the reference measure of the joint density of points with a part from each law."""
    return next((law._measure() for law in laws if law._measure() != "volume"), "volume")


class Product(BuiltInLaw):
    """Independent blocks of coordinates, each with its own law.

    Parameters
    ----------
    laws : iterable of laws
        Laws of any dimensions, frozen scipy.stats laws included. The coordinates are those of the
        laws in this order.

    Raises
    ------
    ArgumentError
        If `laws` is empty or an item is not a law.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = fm.distributions
    >>> d.Product(
    ...     [d.Normal(), d.Gamma(2.0), d.MultivariateNormal([0, 0], [[1, 0], [0, 1]])]
    ... ).dim
    4
    """

    def __init__(self, laws: Iterable[Any]) -> None:
        parts = listed_laws(laws)
        univariate = [law for law in parts if isinstance(law, UnivariateLaw)]
        handles = _handles(parts)
        handle = None
        if len(univariate) == len(parts):
            # One kernel over all coordinates instead of one call for each part.
            marginals = [marginal for law in univariate for marginal in law._marginals]
            handle = _core.Law.independent(marginals)
        elif handles is not None:
            handle = _core.Law.product(handles)
        self._freeze(sum(law.dim for law in parts), handle, laws=parts)

    def _measure(self) -> Measure:
        return common_measure(self.laws)

    @property
    def laws(self) -> tuple[Law, ...]:
        """The laws of the blocks."""
        return tuple(self._values["laws"])

    def _blocks(self, x: Array) -> list[Array]:
        ends = np.cumsum([law.dim for law in self.laws])[:-1]
        return [np.ascontiguousarray(block) for block in np.split(x, ends, axis=1)]

    def _log_density_rows(self, x: Array) -> Array:
        if self._handle is not None:
            return super()._log_density_rows(x)
        blocks = zip(self.laws, self._blocks(x), strict=True)
        values = np.stack([density_rows(law, block) for law, block in blocks])
        # A point outside the support of one block is outside, even if another density is infinite.
        outside = (values == -np.inf).any(axis=0) & ~np.isnan(values).any(axis=0)
        total: Array = np.where(outside, 0.0, values).sum(axis=0)
        return np.where(outside, -np.inf, total)

    def _sample_rows(self, n: int, key: int) -> Array:
        if self._handle is not None:
            return super()._sample_rows(n, key)
        parts = [sample_rows(law, n, subkey(key, i)) for i, law in enumerate(self.laws)]
        return np.concatenate(parts, axis=1)

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube block by block.

        Parameters
        ----------
        u : array_like of shape (n, d)
            Numbers in [0, 1].

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If a law has no such map, the shape is wrong, or a number is not in [0, 1].
        """
        rows, shape = points(unit_points("u", u), self.dim)
        blocks = zip(self.laws, self._blocks(rows), strict=True)
        mapped = np.concatenate([law.from_unit(block) for law, block in blocks], axis=1)
        return mapped.reshape((*shape, self.dim))

    def _support(self) -> list[tuple[float, float]]:
        return [bounds for law in self.laws for bounds in law._support()]

    @property
    def mean(self) -> Array:
        """The mean, shape (d,), where all parts have one."""
        return moments(self.laws, "mean")

    @property
    def variance(self) -> Array:
        """The variances of the coordinates, shape (d,), where all parts have them."""
        return moments(self.laws, "variance")


class Mixture(BuiltInLaw):
    """A finite mixture of laws of one dimension.

    Parameters
    ----------
    weights : array_like of shape (k,)
        Nonnegative numbers with a positive sum, by which they are divided.
    laws : iterable of k laws
        Frozen scipy.stats laws are accepted too.

    Raises
    ------
    ArgumentError
        If the weights are invalid or the dimensions differ.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = fm.distributions
    >>> d.Mixture([1, 3], [d.Normal(0.0), d.Normal(4.0)]).mean
    array([3.])
    """

    def __init__(self, weights: ArrayLike, laws: Iterable[Any]) -> None:
        parts = listed_laws(laws)
        shares = real_numbers("weights", weights)
        if shares.shape != (len(parts),):
            raise ArgumentError(
                f"weights: shape {shares.shape} was given for {len(parts)} laws; one weight for "
                "each law is needed"
            )
        if not (shares >= 0.0).all() or not 0.0 < shares.sum() < np.inf:
            raise ArgumentError(
                f"weights: {shares} were given; numbers from 0 up with a finite sum above 0 are "
                "needed"
            )
        dims = [law.dim for law in parts]
        if len(set(dims)) > 1:
            raise ArgumentError(f"laws: they have {dims} coordinates; one dimension is needed")
        if len({law._measure() for law in parts}) > 1:
            raise ArgumentError(
                "laws: laws of counts, of simplexes and of other points were given together; the "
                "density of a mixture needs laws of one kind"
            )
        handles = _handles(parts)
        handle = None if handles is None else _core.Law.mixture(shares.tolist(), handles)
        self._freeze(dims[0], handle, weights=shares / shares.sum(), laws=parts)

    def _measure(self) -> Measure:
        return common_measure(self.laws)

    @property
    def weights(self) -> Array:
        """The weights, with sum 1."""
        return np.array(self._values["weights"])

    @property
    def laws(self) -> tuple[Law, ...]:
        """The components."""
        return tuple(self._values["laws"])

    def _weighted(self) -> list[tuple[float, Law]]:
        return [
            (w, law) for w, law in zip(self.weights.tolist(), self.laws, strict=True) if w > 0.0
        ]

    def _log_density_rows(self, x: Array) -> Array:
        if self._handle is not None:
            return super()._log_density_rows(x)
        terms = [np.log(w) + density_rows(law, x) for w, law in self._weighted()]
        return np.asarray(np.logaddexp.reduce(terms, axis=0), dtype=np.float64)

    def _sample_rows(self, n: int, key: int) -> Array:
        if self._handle is not None:
            return super()._sample_rows(n, key)
        u = np.asarray(Stream(key).uniform(n))
        edges = np.cumsum([w for w, _ in self._weighted()])[:-1]
        labels = np.searchsorted(edges, u, side="right")
        out = np.empty((n, self.dim))
        for k, (_, law) in enumerate(self._weighted()):
            mine = labels == k
            out[mine] = sample_rows(law, int(mine.sum()), subkey(key, k))
        return out

    def cdf(self, x: ArrayLike) -> Array:
        """Return P(X <= x), elementwise.

        Parameters
        ----------
        x : array_like
            Of any shape.

        Returns
        -------
        ndarray
            Of the shape of ``x``.

        Raises
        ------
        ArgumentError
            If a component has no distribution function. Laws of several coordinates have none.
        """
        parts = [w * np.asarray(law.cdf(x)) for w, law in self._weighted()]
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)[()]

    def _support(self) -> list[tuple[float, float]]:
        bounds = [law._support() for _, law in self._weighted()]
        return [b[0] if len(set(b)) == 1 else (-np.inf, np.inf) for b in zip(*bounds, strict=True)]

    @property
    def mean(self) -> Array:
        """The mean, shape (d,), where all components have one."""
        parts = [w * _moment(law, "mean") for w, law in self._weighted()]
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)

    @property
    def variance(self) -> Array:
        """The variances of the coordinates, shape (d,), where all components have them."""
        centre = self.mean
        parts = [
            w * (_moment(law, "variance") + (_moment(law, "mean") - centre) ** 2)
            for w, law in self._weighted()
        ]
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def density_rows(law: Law, x: Array) -> Array:
    """Return a law's log-densities, which are checked if the law is not built in."""
    values = np.asarray(law.log_density(x), dtype=np.float64)
    if values.shape != (len(x),):
        raise TargetError(
            f"{type(law).__name__}.log_density gave shape {values.shape} for {len(x)} points; "
            f"({len(x)},) is needed"
        )
    return values


def sample_rows(law: Law, n: int, key: int) -> Array:
    """Return draws of a law, which are checked if the law is not built in."""
    draws = np.asarray(law.sample(n, rng=key), dtype=np.float64)
    if draws.shape != (n, law.dim):
        raise TargetError(
            f"{type(law).__name__}.sample({n}) gave shape {draws.shape}; {(n, law.dim)} is needed"
        )
    return draws
