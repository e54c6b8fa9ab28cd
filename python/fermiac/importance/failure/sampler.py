"""Trained samplers of rare events as laws that can be saved and reused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.validate import whole
from fermiac.distributions.law import Law, points
from fermiac.errors import CheckpointError
from fermiac.importance.failure.proposal import Axis, Component, Polar, Proposal, Slab
from fermiac.random import RngLike
from fermiac.results import Result
from fermiac.results.summary import Summary

__all__ = ["FailureSampler", "failure_sampler"]

Array = NDArray[np.float64]

_KINDS = ("normal", "tail", "t")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FailureSampler(Law, Result):
    """A sampler that `fermiac.importance.failure_probability` trained, in standard normal space.

    It is a law of standard normal coordinates u, which `failure_probability` maps to points
    x = F⁻¹(Φ(u)) of its law. It can therefore be the ``sampler=`` of a call with other parameters
    of the law, another threshold, or a changed limit state.

    Attributes
    ----------
    dim : int
        The number of coordinates of a point.
    base : float
        The share of the standard normal distribution.
    shares : ndarray, shape (k,)
        The shares of the components.
    n_axes : ndarray of int, shape (k,)
        The number of axes of each component: directions along which it is not standard normal. 0
        for polar components, which are given by the norm and the angle to one axis.
    kinds : ndarray of int, shape (a,)
        The distributions along all axes, component by component: 0 for normal, 1 for the standard
        normal tail beyond a bound, 2 for Student's t with 2 degrees of freedom.
    locs, scales : ndarray, shape (a,)
        Their locations, or bounds, and their scales.
    directions : ndarray, shape (a, dim)
        The axes, orthonormal within a component.
    polar_axes : ndarray, shape (p, dim)
        The axes of the polar components, von Mises-Fisher-Nakagami distributions [1]_.
    polar_numbers : ndarray, shape (p, 3)
        Their concentrations, and the shapes and scales of the gamma distributions of their squared
        norms.

    References
    ----------
    .. [1] I. Papaioannou, S. Geyer, D. Straub, "Improved cross entropy-based importance sampling
       with a flexible mixture model", Reliability Engineering and System Safety, 2019,
       doi:10.1016/j.ress.2019.106564: the distributions of norm and angle.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = fm.distributions.Normal(np.zeros(2), np.ones(2))
    >>> def g(x):
    ...     return 5.0 - x[:, 0] - x[:, 1]
    >>> p = fm.importance.failure_probability(g, law, n=4000, rng=0)
    >>> p.sampler.sample(5, rng=1).shape
    (5, 2)
    >>> shifted = fm.distributions.Normal(np.array([-0.1, 0.0]), np.ones(2))
    >>> again = fm.importance.failure_probability(
    ...     g, shifted, n=2000, sampler=p.sampler, rng=2
    ... )
    >>> bool(abs(again.mean - 1.5533e-4) < 5 * again.stderr)
    True
    """

    base: float
    shares: Array
    n_axes: NDArray[np.int64]
    kinds: NDArray[np.int64]
    locs: Array
    scales: Array
    directions: Array
    polar_axes: Array
    polar_numbers: Array
    _proposal: Proposal = field(init=False, repr=False, compare=False)

    _layout: ClassVar[fit.Layout] = {
        "base": fit.real,
        "shares": fit.array("f", "components"),
        "n_axes": fit.array("i", "components"),
        "kinds": fit.array("i", "axes"),
        "locs": fit.array("f", "axes"),
        "scales": fit.array("f", "axes"),
        "directions": fit.array("f", "axes", "dim"),
        "polar_axes": fit.array("f", "polars", "dim"),
        "polar_numbers": fit.array("f", "polars", 3),
    }

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", int(self.directions.shape[1]))
        object.__setattr__(self, "_proposal", self._rebuilt())

    def _rebuilt(self) -> Proposal:
        """Return the mixture, after checks that detect a damaged file."""
        sizes = self.n_axes
        every = (self.shares, self.locs, self.scales, self.directions, self.polar_axes)
        good = (
            self.dim >= 1
            and 0 < self.base <= 1
            and all(np.isfinite(a).all() for a in (*every, self.polar_numbers))
            and bool((self.shares > 0).all() and abs(self.base + self.shares.sum() - 1) < 1e-9)
            and bool(((sizes >= 0) & (sizes <= self.dim)).all())
            and int(sizes.sum()) == len(self.kinds)
            and int((sizes == 0).sum()) == len(self.polar_axes)
            and bool(((self.kinds >= 0) & (self.kinds < len(_KINDS))).all())
            and bool((self.scales > 0).all() and (self.polar_numbers[:, 1:] > 0).all())
            and bool((self.polar_numbers[:, 0] >= 0).all())
        )
        components: list[Component] = []
        axis = polar = 0
        for size in sizes.tolist() if good else ():
            if size == 0:
                direction, numbers = self.polar_axes[polar], self.polar_numbers[polar].tolist()
                polar += 1
                good &= self.dim > 1 and abs(float(direction @ direction) - 1) < 1e-9
                if not good:
                    break
                components.append(Polar(direction, *numbers))
                continue
            rows = slice(axis, axis + size)
            axis += size
            directions = self.directions[rows]
            good &= bool(np.allclose(directions @ directions.T, np.eye(size), atol=1e-9))
            laws = zip(
                self.kinds[rows].tolist(),
                self.locs[rows].tolist(),
                self.scales[rows].tolist(),
                strict=True,
            )
            # The kinds are those of the field of the same name.
            axes = [Axis(_KINDS[kind], loc, scale) for kind, loc, scale in laws]  # type: ignore[arg-type]
            components.append(Slab(np.ascontiguousarray(directions.T), axes))
        if not good:
            raise CheckpointError(
                "the sampler cannot be used: its shares, axes or directions are inconsistent"
            )
        return Proposal(self.dim, float(self.base), self.shares, tuple(components))

    def __reduce__(self) -> tuple[Any, ...]:
        state = {own.name: getattr(self, own.name) for own in fields(self) if own.init}
        return _unpickled, (state,)

    def _digest(self) -> str:
        """Return a digest of the law, for the identity of a checkpoint."""
        code = hashlib.sha256()
        for own in fields(self):
            if own.name in self._layout:
                code.update(np.asarray(getattr(self, own.name)).tobytes())
        return code.hexdigest()

    def log_density(self, x: ArrayLike) -> Array:
        """Return the normalised log-density.

        Parameters
        ----------
        x : array_like of shape (..., d)
            Points of standard normal space.

        Returns
        -------
        ndarray of shape (...)

        Raises
        ------
        ArgumentError
            If the last axis does not match the dimension of the sampler.
        """
        rows, shape = points(x, self.dim)
        density: Array = self._proposal.log_density(np.ascontiguousarray(rows)).reshape(shape)[()]
        return density

    def sample(self, n: int, rng: RngLike = None) -> Array:
        """Draw independent points of standard normal space.

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
        return self._proposal.sample(whole("n", n, 0, 2**62), rng)

    def _headline(self) -> str:
        return (
            f"FailureSampler: {self.shares.size} components in {self.dim} dimensions, "
            f"normal share {self.base:.2g}"
        )

    def summary(self) -> Summary:
        """Return a table of the components: share, number of axes, distance of the first axis.

        Returns
        -------
        Summary
        """
        names: list[str] = []
        distance: list[float] = []
        axis = polar = 0
        for size in self.n_axes.tolist():
            if size == 0:
                names.append(f"{len(names)}: norm and angle")
                _, shape, scale = self.polar_numbers[polar]
                distance.append(float(np.sqrt(shape * scale)))
                polar += 1
            else:
                names.append(f"{len(names)}: {_KINDS[self.kinds[axis]]}")
                distance.append(float(self.locs[axis]))
                axis += size
        columns: Mapping[str, Array] = {
            "share": self.shares,
            "axes": self.n_axes.astype(float),
            "distance": np.array(distance, float),
        }
        return Summary(names, columns, head=[self._first_line()], figures={"base": self.base})


def _unpickled(state: dict[str, Any]) -> FailureSampler:
    return FailureSampler(**state)


def failure_sampler(proposal: Proposal, **provenance: Any) -> FailureSampler:
    """Return the sampler of a trained mixture."""
    slabs = [c for c in proposal.components if isinstance(c, Slab)]
    polars = [c for c in proposal.components if isinstance(c, Polar)]
    axes = [axis for slab in slabs for axis in slab.axes]
    none = np.empty((0, proposal.dim))
    return FailureSampler(
        base=proposal.base,
        shares=proposal.shares,
        n_axes=np.array(
            [len(c.axes) if isinstance(c, Slab) else 0 for c in proposal.components], np.int64
        ),
        kinds=np.array([_KINDS.index(axis.kind) for axis in axes], np.int64),
        locs=np.array([axis.loc for axis in axes], np.float64),
        scales=np.array([axis.scale for axis in axes], np.float64),
        directions=np.concatenate([none, *(slab.directions.T for slab in slabs)]),
        polar_axes=np.concatenate([none, *(polar.axis[None] for polar in polars)]),
        polar_numbers=np.array(
            [(polar.kappa, polar.shape, polar.scale) for polar in polars], np.float64
        ).reshape(-1, 3),
        **provenance,
    )
