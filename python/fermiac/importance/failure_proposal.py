"""Proposals for rare events: mixtures of laws that differ from the standard normal in few directions.

Every density is kept as its ratio to the standard normal one. The ratio depends on a few
projections of a point, or on its norm and one angle, so that neither its cost nor its rounding
grows with the dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fermiac import special
from fermiac.random import RngLike, Stream, key_of, sobol

__all__ = ["Axis", "Component", "Polar", "Proposal", "Slab"]

Array = NDArray[np.float64]

#: Rows of one block: its arrays fit into the cache, and an interrupt is answered between blocks.
_BLOCK = 8192
#: Largest size of a rotation that is kept as a matrix and not as reflections.
_MOST_DENSE = 128
#: The reach of a heavy-tailed axis from its centre.
_REACH = 10.0
#: Bins of the cosine of a polar component.
_BINS = 64
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Axis:
    """A law of one coordinate: normal, a normal tail beyond `loc`, or Student-t with df 2.

    The Student-t law ends at a distance of `_REACH` from its centre: far beyond all mass, but
    before functions of its points overflow.
    """

    kind: str
    loc: float
    scale: float = 1.0

    @property
    def _inside(self) -> float:
        """The mass of Student's law within the reach."""
        z = _REACH / self.scale
        return z / math.sqrt(2 + z * z)

    def log_ratio(self, c: Array) -> Array:
        """Return the log of its density over the standard normal one."""
        if self.kind == "tail":
            # A point drawn at the bound must not fall outside by rounding.
            bound = self.loc - 1e-12 * max(1.0, abs(self.loc))
            inside = -float(special.log_ndtr(-self.loc))
            return np.where(c >= bound, inside, -np.inf)
        z = (c - self.loc) / self.scale
        if self.kind == "t":
            constant = _HALF_LOG_2PI - math.log(2 * math.sqrt(2) * self.scale * self._inside)
            spread = 0.5 * c * c - 1.5 * np.log1p(0.5 * z * z) + constant
            # A point drawn at the end must not fall outside by rounding.
            return np.where(np.abs(c - self.loc) <= _REACH * (1 + 1e-12), spread, -np.inf)
        ratio: Array = 0.5 * (c * c - z * z) - math.log(self.scale)
        return ratio

    def from_unit(self, v: Array) -> Array:
        """Return points of the law for uniform numbers."""
        if self.kind == "tail":
            # By the logarithm of the tail where it is below the range of doubles.
            tail = float(special.ndtr(-self.loc))
            if tail < 1e-290:
                return np.sqrt(self.loc**2 - 2 * np.log(v))
            return np.maximum(-np.asarray(special.ndtri(tail * v, n_threads=1)), self.loc)
        if self.kind == "t":
            v = 0.5 + (v - 0.5) * self._inside
            z = (2 * v - 1) / np.sqrt(2 * v * (1 - v))
            return self.loc + np.clip(self.scale * z, -_REACH, _REACH)
        return self.loc + self.scale * np.asarray(special.ndtri(v, n_threads=1))


class Component:
    """A law of points, by its density over the standard normal one."""

    #: Uniform numbers that a point takes beyond one for each coordinate.
    extra = 0

    def log_ratio(self, u: Array, norm: Array | None) -> Array:
        """Return the log-ratio at each row; `norm` has the norms where a component needs them."""
        raise NotImplementedError

    def from_unit(self, v: Array) -> Array:
        """Return a point for each row of uniform numbers."""
        raise NotImplementedError


class Slab(Component):
    """Independent laws along orthonormal directions, standard normal across them.

    Parameters
    ----------
    directions : ndarray, shape (d, r)
        Orthonormal columns.
    axes : sequence of Axis
        The laws along them.
    """

    def __init__(self, directions: Array, axes: Sequence[Axis]) -> None:
        self.directions = np.ascontiguousarray(directions)
        self.axes = tuple(axes)
        self._normal = np.array([a.kind == "normal" for a in axes])
        loc = np.array([a.loc for a in axes])[self._normal]
        scale = np.array([a.scale for a in axes])[self._normal]
        # The normal axes make one quadratic form.
        self._square = 0.5 - 0.5 / scale**2
        self._linear = loc / scale**2
        self._constant = float(np.sum(-np.log(scale) - 0.5 * (loc / scale) ** 2))
        self._others = [j for j, a in enumerate(axes) if a.kind != "normal"]
        self._rotation: Array | None = None
        self._reflections: list[tuple[int, Array]] | None = None
        self._signs = np.ones(len(self.axes))

    def log_ratio(self, u: Array, norm: Array | None) -> Array:
        c = u @ self.directions
        own = c if not self._others else c[:, self._normal]
        total = np.full(len(u), self._constant)
        if own.shape[1]:
            total += (own * (own * self._square + self._linear)).sum(axis=1)
        for j in self._others:
            total += self.axes[j].log_ratio(c[:, j])
        return total

    def from_unit(self, v: Array) -> Array:
        self._prepare()
        y = np.empty_like(v)
        r = len(self.axes)
        for j, axis in enumerate(self.axes):
            y[:, j] = self._signs[j] * axis.from_unit(v[:, j])
        if r < v.shape[1]:
            y[:, r:] = special.ndtri(v[:, r:], n_threads=1)
        if self._rotation is not None:
            return y @ self._rotation
        assert self._reflections is not None
        for j, w in reversed(self._reflections):
            y[:, j:] -= np.outer(y[:, j:] @ (2 * w), w)
        return y

    def _prepare(self) -> None:
        """Make the rotation whose first rows are the directions, up to their signs."""
        if self._reflections is not None:
            return
        rest = self.directions.copy()
        d, r = rest.shape
        self._reflections = []
        for j in range(r):
            w = rest[j:, j].copy()
            w[0] += math.copysign(float(np.linalg.norm(w)), w[0])
            length = float(np.linalg.norm(w))
            w = w / length if length > 0 else w
            rest[j:] -= 2 * np.outer(w, w @ rest[j:])
            self._signs[j] = 1.0 if rest[j, j] >= 0 else -1.0
            self._reflections.append((j, w))
        if d <= _MOST_DENSE:
            whole = np.eye(d)
            for j, w in reversed(self._reflections):
                whole[:, j:] -= np.outer(whole[:, j:] @ (2 * w), w)
            self._rotation = whole


class Polar(Component):
    """A direction about an axis, and a squared norm of a gamma law.

    The cosine to the axis has a von Mises-Fisher law up to the bins of a table; within a bin it is
    that of a uniform direction, so that the density is exact.

    Parameters
    ----------
    axis : ndarray, shape (d,)
        A unit vector.
    kappa : float
        The concentration of the direction; 0 for a uniform one.
    shape, scale : float
        Of the gamma law of the squared norm.
    """

    extra = 2

    def __init__(self, axis: Array, kappa: float, shape: float, scale: float) -> None:
        self.axis, self.kappa = axis, kappa
        self.shape, self.scale = shape, scale
        d = axis.size
        self._dim = d
        half = 0.5 * (d - 1)
        fine = np.linspace(-1.0, 1.0, 4097)
        middle = 0.5 * (fine[1:] + fine[:-1])
        log_density = kappa * (middle - 1) + (half - 1) * np.log1p(-(middle**2))
        mass = np.exp(log_density - log_density.max())
        cumulative = np.concatenate([[0.0], np.cumsum(mass)]) / mass.sum()
        inner = np.interp(np.linspace(0, 1, _BINS + 1)[1:-1], cumulative, fine)
        # No bin has 0 inside: each is measured by the tail that it lies in.
        self._edges = np.unique(np.concatenate([[-1.0, 0.0], inner, [1.0]]))
        at = 0.5 * (1 + self._edges)
        self._upper = self._edges >= 0
        self._tail = np.where(
            self._upper, special.betaincc(half, half, at), special.betainc(half, half, at)
        )
        first = self._tail[:-1]
        last = np.where(self._edges[1:] == 0, 0.5, self._tail[1:])
        self._last = last
        uniform = np.abs(last - first)
        chances = np.diff(np.interp(self._edges, fine, cumulative))
        # A bin that a uniform direction cannot meet is left out, its chance that of the others.
        self._chances = np.where(uniform > 1e-280, np.maximum(chances, 1e-12), 0.0)
        self._chances /= self._chances.sum()
        self._steps = np.concatenate([[0.0], np.cumsum(self._chances)])
        with np.errstate(divide="ignore", invalid="ignore"):
            bins = np.log(self._chances) - np.log(uniform)
        self._log_bins = np.where(self._chances > 0, bins, -np.inf)
        self._constant = (
            math.lgamma(0.5 * d)
            + 0.5 * d * math.log(2)
            - math.lgamma(shape)
            - shape * math.log(scale)
        )

    def log_ratio(self, u: Array, norm: Array | None) -> Array:
        assert norm is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            cosine = np.clip((u @ self.axis) / norm, -1.0, 1.0)
            bins = np.searchsorted(self._edges, cosine, side="right") - 1
            bins = np.clip(bins, 0, len(self._log_bins) - 1)
            square = norm * norm
            radial = (self.shape - 0.5 * self._dim) * np.log(square) + square * (
                0.5 - 1 / self.scale
            )
        ratio: Array = radial + self._constant + self._log_bins[bins]
        return ratio

    def from_unit(self, v: Array) -> Array:
        half = 0.5 * (self._dim - 1)
        norm = np.sqrt(self.scale * np.asarray(special.gammaincinv(self.shape, v[:, 0])))
        bins = np.clip(
            np.searchsorted(self._steps, v[:, 1], side="right") - 1, 0, len(self._chances) - 1
        )
        inside = np.clip((v[:, 1] - self._steps[bins]) / self._chances[bins], 0.0, 1.0)
        first = self._tail[bins]
        p = first + inside * (self._last[bins] - first)
        low = np.asarray(special.betaincinv(half, half, np.minimum(p, 0.5)))
        cosine = np.where(self._upper[bins], 1 - 2 * low, 2 * low - 1)
        # The point must lie in the bin that it was drawn from.
        cosine = np.clip(cosine, self._edges[bins], np.nextafter(self._edges[bins + 1], -2))
        z = np.asarray(special.ndtri(v[:, 2:], n_threads=1))
        z = z - np.outer(z @ self.axis, self.axis)
        length = np.linalg.norm(z, axis=1, keepdims=True)
        across = z / np.where(length > 0, length, 1.0)
        sine = np.sqrt(np.maximum(1 - cosine**2, 0.0))
        points: Array = norm[:, None] * (np.outer(cosine, self.axis) + sine[:, None] * across)
        return points


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
    """

    dim: int
    base: float = 1.0
    shares: Array = field(default_factory=lambda: np.empty(0))
    components: tuple[Component, ...] = ()

    @property
    def unit_dim(self) -> int:
        """The uniform numbers that one point takes: for the label, and for the components."""
        return 1 + self.dim + max((c.extra for c in self.components), default=0)

    def log_ratio(self, u: Array) -> Array:
        """Return the log of the density over the standard normal one at each row."""
        out = np.empty(len(u))
        for start in range(0, len(u), _BLOCK):
            out[start : start + _BLOCK] = self._log_ratio(u[start : start + _BLOCK])
        return out

    def _log_ratio(self, u: Array) -> Array:
        if not self.components:
            return np.zeros(len(u))
        total = self.component_ratios(u) + np.log(self.shares)
        top = np.maximum(total.max(axis=1), math.log(self.base) if self.base > 0 else -np.inf)
        top = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(divide="ignore"):
            ratio: Array = top + np.log(
                np.exp(total - top[:, None]).sum(axis=1) + self.base * np.exp(-top)
            )
        return ratio

    def component_ratios(self, u: Array) -> Array:
        """Return the log-ratios of all components, shape (n, K)."""
        polar = any(isinstance(c, Polar) for c in self.components)
        norm = np.sqrt((u * u).sum(axis=1)) if polar else None
        return np.stack([c.log_ratio(u, norm) for c in self.components], axis=1)

    def log_density(self, u: Array) -> Array:
        """Return the log-density at each row of an (n, d) array."""
        u = np.asarray(u, np.float64)
        return self.log_ratio(u) - 0.5 * (u * u).sum(axis=1) - self.dim * _HALF_LOG_2PI

    def from_unit(self, v: Array) -> Array:
        """Return points for rows of `unit_dim` uniform numbers; the first chooses the component."""
        u = np.empty((len(v), self.dim))
        for start in range(0, len(v), _BLOCK):
            u[start : start + _BLOCK] = self._from_unit(v[start : start + _BLOCK])
        return u

    def _from_unit(self, v: Array) -> Array:
        u = np.empty((len(v), self.dim))
        edges = self.base + np.cumsum(self.shares)
        labels = np.searchsorted(np.concatenate([[self.base], edges[:-1]]), v[:, 0], side="right")
        if not self.components:
            labels = np.zeros(len(v), int)
        for k in range(len(self.components) + 1):
            rows = np.flatnonzero(labels == k)
            if not rows.size:
                continue
            if k == 0:
                u[rows] = special.ndtri(v[rows, 1 : 1 + self.dim], n_threads=1)
            else:
                component = self.components[k - 1]
                u[rows] = component.from_unit(v[rows, 1 : 1 + self.dim + component.extra])
        return u

    def sample(self, n: int, rng: RngLike = None) -> Array:
        """Draw `n` independent points."""
        return self.from_unit(np.asarray(Stream(key_of(rng)).uniform((n, self.unit_dim))))

    def nets(
        self, n: int, key: int, replicates: range, start: int = 0, n_threads: int = 1
    ) -> Iterator[Array]:
        """Yield the points of Sobol' nets, one scramble for each replicate."""
        for replicate in replicates:
            v = sobol(
                n, self.unit_dim, key, start=start, replicate=replicate, n_threads=n_threads
            )
            yield self.from_unit(v)
