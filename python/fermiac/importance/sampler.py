"""Trained samplers as laws that can be saved and reused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.validate import whole
from fermiac.distributions.law import Law, points, unit_points
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.random import RngLike, Stream, key_of
from fermiac.results import Result
from fermiac.results.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Sampler"]

Array = NDArray[np.float64]

_KINDS = ("uniform", "map", "rotated", "mixture", "components")
_ENDS = ("finite", "half", "infinite")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sampler(Law, Result):
    """A sampler that a call of `fermiac.importance` trained.

    It is a law like those of `fermiac.distributions`, and can be used wherever a law is
    accepted. `fermiac.importance.expect` and `fermiac.importance.evidence` take it as ``sampler=``,
    as does `fermiac.importance.integrate` if it was trained there.

    Attributes
    ----------
    kind : str
        ``"uniform"``; ``"map"``, a smooth map of every axis; ``"rotated"``, such maps along the
        principal axes of the mass; ``"mixture"``, of Student-t densities: those of `integrate`. Or
        ``"components"``, the densities that `expect` or `evidence` fitted.
    dim : int
        Coordinates of a point.
    share : float
        The share of the uniform law in it; 0 for components. On an unbounded axis that is the
        law of c + s u / (1 - u^2) with u uniform on (-1, 1), on a half-line that of
        a + s u / (1 - u).
    ends : tuple of str
        The kinds of the axes: ``"finite"``, ``"half"`` or ``"infinite"``.
    origin, scale : ndarray, shape (dim,)
        Their ends a, or middles c, and their lengths or units s (1 with components).
    knots, n_knots : ndarray
        The knots of the maps, one map after the other, and the number of knots for each axis.
    centre : ndarray, shape (dim,) or (0,)
        The origin of a rotated frame, in units of the axes.
    axes : ndarray, shape (dim * dim,) or (0,)
        The axes of the frame: the columns of a matrix, in row-major order.
    parts : ndarray of int, shape (k,)
        The shares of the components of a mixture, in 64ths.
    means, covariances : ndarray, shapes (k, dim) and (k, dim, dim)
        The means and covariances of the components, in units of the axes. With kind
        ``"components"`` the scale matrices (covariances of normal ones), in coordinates of the
        whole line: logarithms of the distance from the end of a half-line, normal quantiles of
        the place in an interval.
    shares : ndarray, shape (k,) or (0,)
        The shares of ``"components"``.
    df : float
        The degrees of freedom of the components; infinite for normal ones.

    Notes
    -----
    The maps are those of vegas [1]_, with rational quadratics between their knots [2]_ instead of
    lines. Mixtures and rotated maps have mass outside a bounded region: their densities are
    normalised over the whole space, and the integrand counts as 0 outside the region.

    Components are only the fitted part of the sampler of `expect` or `evidence`. The share of the
    law, which bounds the weights, is not included; the next call adds its own.

    References
    ----------
    .. [1] G. P. Lepage, "Adaptive multidimensional integration: VEGAS enhanced", Journal of
       Computational Physics, 2021, arXiv:2009.05112.
    .. [2] J. A. Gregory, R. Delbourgo, "Piecewise rational quadratic interpolation to monotonic
       data", IMA Journal of Numerical Analysis, 1982, doi:10.1093/imanum/2.2.123.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def f(x):
    ...     return np.exp(-8 * ((x - 0.4) ** 2).sum(axis=1))
    >>> e = fm.importance.integrate(f, [(0, 1)] * 3, n=10_000, method="map", rng=0)
    >>> q = e.sampler
    >>> q.sample(5, rng=1).shape
    (5, 3)
    >>> again = fm.importance.integrate(f, [(0, 1)] * 3, n=10_000, sampler=q, rng=2)
    >>> bool(abs(again.mean - e.mean) < 6 * np.hypot(again.stderr, e.stderr))
    True
    """

    kind: str
    share: float
    ends: tuple[str, ...]
    origin: Array
    scale: Array
    knots: Array
    n_knots: NDArray[np.int64]
    centre: Array
    axes: Array
    parts: NDArray[np.int64]
    means: Array
    covariances: Array
    shares: Array = field(default_factory=lambda: np.empty(0))
    df: float = 8.0
    _made: _core.IntegralSampler | _core.ComponentSampler = field(
        init=False, repr=False, compare=False
    )

    _layout: ClassVar[fit.Layout] = {
        "kind": fit.text(*_KINDS),
        "share": fit.real,
        "ends": fit.listed(fit.text(*_ENDS), "dim", least=1),
        "origin": fit.array("f", "dim"),
        "scale": fit.array("f", "dim"),
        "knots": fit.array("f", "knots"),
        "n_knots": fit.array("i", "maps"),
        "centre": fit.array("f", "frame"),
        "axes": fit.array("f", "entries"),
        "parts": fit.array("i", "parts"),
        "means": fit.array("f", "components", "dim"),
        "covariances": fit.array("f", "components", "dim", "dim"),
        "shares": fit.array("f", "shares"),
        "df": fit.real,
    }

    def __post_init__(self) -> None:
        of_components = self.kind == "components"
        made: _core.IntegralSampler | _core.ComponentSampler
        try:
            if of_components:
                made = _core.ComponentSampler(self._state())
            else:
                made = _core.IntegralSampler(self._state())
        except (ArgumentError, OverflowError, TypeError) as error:
            raise CheckpointError(f"the sampler cannot be used: {error}") from error
        object.__setattr__(self, "_made", made)
        object.__setattr__(self, "dim", self.origin.size)

    def _state(self) -> dict[str, Any]:
        names = ("kind", "share", "origin", "scale", "knots", "n_knots", "centre", "axes", "parts")
        state: dict[str, Any] = {name: getattr(self, name) for name in names}
        state |= {"means": self.means.ravel(), "covariances": self.covariances.ravel()}
        state |= {"shares": self.shares, "df": self.df}
        return {**state, "ends": list(self.ends)}

    def __reduce__(self) -> tuple[Any, ...]:
        state = {own.name: getattr(self, own.name) for own in fields(self) if own.init}
        return _rebuilt, (state,)

    def log_density(self, x: ArrayLike) -> Array:
        """Return the normalised log-density.

        Parameters
        ----------
        x : array_like of shape (..., d)
            Points.

        Returns
        -------
        ndarray of shape (...)
            -inf outside the support, NaN where a coordinate is NaN.

        Raises
        ------
        ArgumentError
            If the last axis does not have the dimension of the sampler.
        """
        rows, shape = points(x, self.dim)
        density: Array = self._made.log_density(rows).reshape(shape)[()]
        return density

    def from_unit(self, u: Array) -> Array:
        """Map points of the unit cube to points of the sampler.

        Parameters
        ----------
        u : array_like of shape (n, d)
            Uniform numbers. The first coordinate also chooses the part of the sampler.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If a number is not in [0, 1], or the last axis does not have the dimension of the
            sampler.
        """
        rows, shape = points(unit_points("u", u), self.dim)
        inner = np.clip(rows, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)
        x: Array = self._made.map_unit(np.ascontiguousarray(inner)).reshape(*shape, self.dim)
        return x

    def sample(self, n: int, rng: RngLike = None) -> Array:
        """Draw independent points.

        Parameters
        ----------
        n : int
            The number of points.
        rng : int, numpy.random.SeedSequence, numpy.random.Generator or None, default None
            An int in [0, 2**64) is the key itself: equal keys give equal draws.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If an argument is invalid.
        """
        n = whole("n", n, 0, 2**62)
        uniform = np.asarray(Stream(key_of(rng)).uniform((n, self.dim)), dtype=np.float64)
        return self.from_unit(uniform)

    def _mixed(self, samplers: Sequence[Sampler], shares: Sequence[float]) -> Sampler:
        """Return the mixture of samplers of components, this one first; of others this one."""

        def alike(other: Sampler) -> bool:
            return (
                other.kind == self.kind == "components"
                and other.ends == self.ends
                and other.df == self.df
                and np.array_equal(other.origin, self.origin)
                and np.array_equal(other.scale, self.scale)
            )

        if not all(alike(other) for other in samplers):
            return self
        # Calls with the same sampler= have the same components.
        parts: dict[bytes, tuple[Sampler, float]] = {}
        for one, share in zip(samplers, shares, strict=True):
            key = b"".join(a.tobytes() for a in (one.means, one.covariances, one.shares))
            parts[key] = (one, parts.get(key, (one, 0.0))[1] + float(share))
        if len(parts) == 1:
            return self
        seeds = tuple(seed for one in samplers for seed in one.settings.get("seeds", (one.seed,)))
        weights = np.concatenate([one.shares * share for one, share in parts.values()])
        return replace(
            self,
            settings=dict(self.settings) | {"seeds": seeds},
            means=np.concatenate([one.means for one, _ in parts.values()]),
            covariances=np.concatenate([one.covariances for one, _ in parts.values()]),
            shares=weights / math.fsum(weights),
        )

    def _support(self) -> list[tuple[float, float]]:
        if self.kind in ("mixture", "rotated"):
            return [(-np.inf, np.inf)] * self.dim
        return self._bounds()

    def _bounds(self) -> list[tuple[float, float]]:
        """Return the region that it was trained for."""
        out = []
        for ends, a, s in zip(self.ends, self.origin.tolist(), self.scale.tolist(), strict=True):
            other = a + s if ends == "finite" else np.copysign(np.inf, s)
            both = (-np.inf, np.inf) if ends == "infinite" else (min(a, other), max(a, other))
            out.append(both)
        return out

    def _headline(self) -> str:
        parts = {
            "uniform": "the uniform law",
            "map": f"a map of {self.dim} axes",
            "rotated": f"a map of {self.dim} rotated axes",
            "mixture": f"a mixture of {self.parts.size} components",
        }
        if self.kind == "components":
            law = f"Student-t, df {self.df:g}" if np.isfinite(self.df) else "normal"
            return f"Sampler: {self.shares.size} fitted components in {self.dim} axes, {law}"
        return f"Sampler: {parts[self.kind]}, uniform share {self.share:g}"

    def summary(self) -> Summary:
        """Return a table of the axes: bounds, and the middle half of the mass of each.

        Returns
        -------
        Summary
        """
        # A net of fixed points suffices for quartiles, and gives the same result each time.
        net = _grid(self.dim)
        low, middle, high = np.quantile(self.from_unit(net), [0.25, 0.5, 0.75], axis=0)
        bounds = np.array(self._bounds())
        names = [f"x[{j}]" for j in range(self.dim)]
        columns: Mapping[str, Array] = {
            "low": bounds[:, 0],
            "high": bounds[:, 1],
            "25%": low,
            "50%": middle,
            "75%": high,
        }
        return Summary(names, columns, head=[self._first_line()], figures={"share": self.share})

    def plot_sampler(self, ax: Axes | None = None, axes: tuple[int, int] = (0, 1)) -> Axes:
        """Draw the grid of a map, or points and components; see `fermiac.plotting.plot_sampler`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            The axes; of a new figure by default.
        axes : pair of int, default (0, 1)
            The two coordinates; of one coordinate the density is drawn.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ArgumentError
            If a coordinate does not exist.
        ImportError
            If matplotlib is not installed.
        """
        drawn: Axes = registry.function("plotting", "plot_sampler")(self, ax, axes)
        return drawn

    def _points_of(self, axis: int, t: float) -> float:
        """Return the coordinate in the original region at a point t of (0, 1)."""
        a, s, ends = float(self.origin[axis]), float(self.scale[axis]), self.ends[axis]
        if ends == "finite":
            return a + s * t
        if t in (0.0, 1.0):
            return float("inf")
        u = 2 * t - 1
        return a + s * (t / (1 - t) if ends == "half" else u / (1 - u * u))

    def _maps(self) -> list[Array]:
        """Return the knots of each map, in (0, 1)."""
        return np.split(self.knots, np.cumsum(self.n_knots)[:-1]) if self.n_knots.size else []


def _rebuilt(state: dict[str, Any]) -> Sampler:
    return Sampler(**state)


def _grid(dim: int) -> Array:
    from fermiac.random import sobol

    return sobol(1 << 12, dim, rng=0)


def sampler_of(state: Mapping[str, Any], **provenance: Any) -> Sampler:
    """Return a sampler from the fields that the core gives."""
    return Sampler(**{**state, "ends": tuple(state["ends"])}, **provenance)


def components_of(state: Mapping[str, Any], **provenance: Any) -> Sampler:
    """Return a sampler of fitted components from the fields that the core gives."""
    none, no_parts = np.empty(0), np.empty(0, np.int64)
    unused = {"knots": none, "n_knots": no_parts, "centre": none, "axes": none, "parts": no_parts}
    return sampler_of({**state, **unused, "kind": "components", "share": 0.0}, **provenance)
