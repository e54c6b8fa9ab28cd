"""Proposals for rare events: mixtures of laws that differ from the normal law in few directions.

Every density is kept as its ratio to the standard normal one. The ratio depends on a few
projections of a point, or on its norm and one angle. Its rounding errors therefore do not grow with
the dimension. The core computes ratios and points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core, special
from fermiac.random import RngLike, Stream, key_of, sobol

__all__ = ["Axis", "Component", "Polar", "Proposal", "Slab", "finite"]

Array = NDArray[np.float64]

#: Points that are made together; an interrupt is answered between them.
_BLOCK = 65536
#: Bins of the cosine of a polar component.
_BINS = 64
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Axis:
    """A law of one coordinate: normal, the normal tail beyond `loc`, or Student-t with df 2."""

    kind: Literal["normal", "tail", "t"]
    loc: float
    scale: float = 1.0


class Slab:
    """Independent laws along orthonormal directions, standard normal across them.

    Parameters
    ----------
    directions : ndarray, shape (d, r)
        Orthonormal columns.
    axes : sequence of Axis
        The laws along them.
    """

    #: Uniform numbers that a point takes beyond one for each coordinate.
    extra = 0

    def __init__(self, directions: Array, axes: Sequence[Axis]) -> None:
        self.directions = directions
        self.axes = tuple(axes)

    def add_to(self, mixture: _core.RareMixture, share: float) -> None:
        """Add the law to a mixture of the core."""
        mixture.add_slab(
            share,
            [axis.kind for axis in self.axes],
            np.array([axis.loc for axis in self.axes]),
            np.array([axis.scale for axis in self.axes]),
            np.ascontiguousarray(self.directions.T),
        )


class Polar:
    """A random direction about an axis, and a squared norm with a gamma law.

    The cosine of the angle to the axis has a von Mises-Fisher law, discretised to the bins of a
    table. Within a bin it is that of a uniform direction, which makes the density exact.

    Parameters
    ----------
    axis : ndarray, shape (d,)
        A unit vector; d is at least 2.
    kappa : float
        The concentration of the direction; 0 for a uniform one.
    shape, scale : float
        The parameters of the gamma law of the squared norm.
    """

    extra = 2

    def __init__(self, axis: Array, kappa: float, shape: float, scale: float) -> None:
        self.axis, self.kappa = np.ascontiguousarray(axis), kappa
        self.shape, self.scale = shape, scale
        self._dim = axis.size
        half = self._half = 0.5 * (axis.size - 1)
        self._edges, self._log_bins = np.array([-1.0, 1.0]), np.zeros(1)
        if kappa > 0:
            self._make_bins(half)

    def _make_bins(self, half: float) -> None:
        kappa = self.kappa
        fine = np.linspace(-1.0, 1.0, 4097)
        middle = 0.5 * (fine[1:] + fine[:-1])
        log_density = kappa * (middle - 1) + (half - 1) * np.log1p(-(middle**2))
        mass = np.exp(log_density - log_density.max())
        cumulative = np.concatenate([[0.0], np.cumsum(mass)]) / mass.sum()
        inner = np.interp(np.linspace(0, 1, _BINS + 1)[1:-1], cumulative, fine)
        # 0 is an edge, so each bin is measured in its own tail.
        self._edges = np.unique(np.concatenate([[-1.0, 0.0], inner, [1.0]]))
        at = 0.5 * (1 + self._edges)
        self._upper = self._edges >= 0
        self._first = np.where(
            self._upper, special.betaincc(half, half, at), special.betainc(half, half, at)
        )
        self._last = np.where(self._edges[1:] == 0, 0.5, self._first[1:])
        uniform = np.abs(self._last - self._first[:-1])
        chances = np.diff(np.interp(self._edges, fine, cumulative))
        # A bin without probability for uniform directions gets none.
        self._chances = np.where(uniform > 1e-280, np.maximum(chances, 1e-12), 0.0)
        self._chances /= self._chances.sum()
        self._steps = np.concatenate([[0.0], np.cumsum(self._chances)])
        with np.errstate(divide="ignore", invalid="ignore"):
            bins = np.log(self._chances) - np.log(uniform)
        self._log_bins = np.where(self._chances > 0, bins, -np.inf)

    def add_to(self, mixture: _core.RareMixture, share: float) -> None:
        """Add the law to a mixture of the core."""
        constant = (
            math.lgamma(0.5 * self._dim)
            + 0.5 * self._dim * math.log(2)
            - math.lgamma(self.shape)
            - self.shape * math.log(self.scale)
        )
        radial = (self.shape - 0.5 * self._dim, 0.5 - 1 / self.scale, constant)
        edges = np.ascontiguousarray(self._edges[1:-1])
        mixture.add_polar(share, self.axis, radial, edges, self._log_bins)

    def from_unit(self, v: Array) -> Array:
        """Return a point for each row of d + 2 uniform numbers."""
        square = np.asarray(special.gammaincinv(self.shape, v[:, 0]))
        norm = np.sqrt(self.scale * square)
        z = np.asarray(special.ndtri(v[:, 2:]))
        if self.kappa == 0:
            length = np.sqrt((z * z).sum(axis=1))
            uniform: Array = (norm / np.where(length > 0, length, 1.0))[:, None] * z
            return uniform
        cosine = self._cosines(v[:, 1])
        z = z - np.outer(z @ self.axis, self.axis)
        length = np.sqrt((z * z).sum(axis=1, keepdims=True))
        across = z / np.where(length > 0, length, 1.0)
        sine = np.sqrt(np.maximum(1 - cosine**2, 0.0))
        points: Array = norm[:, None] * (np.outer(cosine, self.axis) + sine[:, None] * across)
        return points

    def _cosines(self, v: Array) -> Array:
        """Return cosines of the angle to the axis, by a bin and a position in it."""
        bins = np.searchsorted(self._steps, v, side="right") - 1
        bins = np.clip(bins, 0, len(self._chances) - 1)
        inside = np.clip((v - self._steps[bins]) / self._chances[bins], 0.0, 1.0)
        first = self._first[bins]
        p = np.minimum(first + inside * (self._last[bins] - first), 0.5)
        low = np.asarray(special.betaincinv(self._half, self._half, p))
        cosine = np.where(self._upper[bins], 1 - 2 * low, 2 * low - 1)
        # The point must lie in the bin that it was drawn from.
        return np.clip(cosine, self._edges[bins], np.nextafter(self._edges[bins + 1], -2))


#: A law of points, by its density over the standard normal one.
Component: TypeAlias = Slab | Polar


@dataclass(frozen=True)
class Proposal:
    """A mixture of components and of the standard normal law itself, in standard normal space.

    Attributes
    ----------
    dim : int
    base : float
        The share of the standard normal law.
    shares : ndarray, shape (K,)
        The shares of the components; their sum is 1 - `base`.
    components : tuple of Component
    n_threads : int
        Worker threads, which never change the numbers.
    """

    dim: int
    base: float = 1.0
    shares: Array = field(default_factory=lambda: np.empty(0))
    components: tuple[Component, ...] = ()
    n_threads: int = 1

    def __post_init__(self) -> None:
        mixture = _core.RareMixture(self.dim, self.base)
        for share, component in zip(self.shares.tolist(), self.components, strict=True):
            component.add_to(mixture, share)
        object.__setattr__(self, "_core", mixture)

    @property
    def _mixture(self) -> _core.RareMixture:
        mixture: _core.RareMixture = vars(self)["_core"]
        return mixture

    @property
    def unit_dim(self) -> int:
        """The number of uniform numbers for one point: for its label and for its component."""
        return 1 + self.dim + max((c.extra for c in self.components), default=0)

    def log_ratio(self, u: Array) -> Array:
        """Return the log of the density over the standard normal one at each row."""
        if not self.components:
            return np.zeros(len(u))
        return self._mixture.log_ratio(np.ascontiguousarray(u), self.n_threads)

    def component_ratios(self, u: Array) -> Array:
        """Return the log-ratios of all components, shape (n, K)."""
        return self._mixture.component_ratios(np.ascontiguousarray(u), self.n_threads)

    def log_density(self, u: Array) -> Array:
        """Return the log-density at each row of an (n, d) array."""
        u = np.asarray(u, np.float64)
        normal: Array = -0.5 * (u * u).sum(axis=1) - self.dim * _HALF_LOG_2PI
        return self.log_ratio(u) + normal

    def from_unit(self, v: Array) -> Array:
        """Return points for rows of `unit_dim` uniform numbers; the first chooses the component."""
        u = self._mixture.points(np.ascontiguousarray(v), self.n_threads)
        if any(isinstance(component, Polar) for component in self.components):
            for start in range(0, len(v), _BLOCK):
                block = slice(start, start + _BLOCK)
                self._add_polar(v[block], u[block])
        return u

    def _add_polar(self, v: Array, u: Array) -> None:
        """Compute the points of polar components, which the core does not draw."""
        # Summed from the left, as in the core.
        edges = np.cumsum(np.concatenate([[self.base], self.shares[:-1]]))
        labels = np.searchsorted(edges, v[:, 0], side="right") - 1
        for k, component in enumerate(self.components):
            if isinstance(component, Polar):
                rows = np.flatnonzero(labels == k)
                u[rows] = component.from_unit(v[rows, 1 : 3 + self.dim])

    def sample(self, n: int, rng: RngLike = None) -> Array:
        """Draw `n` independent points."""
        return self.from_unit(np.asarray(Stream(key_of(rng)).uniform((n, self.unit_dim))))

    def nets(self, n: int, key: int, replicates: range, start: int = 0) -> Iterator[Array]:
        """Yield the points of Sobol' nets, one scramble for each replicate."""
        for replicate in replicates:
            v = sobol(
                n,
                self.unit_dim,
                key,
                start=start,
                replicate=replicate,
            )
            yield self.from_unit(v)


def finite(fitted: Component | Proposal) -> bool:
    """Return whether the parameters of a fit are usable: finite numbers, and positive scales."""
    if isinstance(fitted, Slab):
        of_axes = [(axis.loc, axis.scale) for axis in fitted.axes]
        return bool(np.isfinite(fitted.directions).all() and np.isfinite(of_axes).all())
    if isinstance(fitted, Polar):
        numbers = (fitted.kappa, fitted.shape, fitted.scale)
        return bool(np.isfinite((*fitted.axis, *numbers)).all() and fitted.scale > 0)
    return bool(np.isfinite((fitted.base, *fitted.shares)).all())
