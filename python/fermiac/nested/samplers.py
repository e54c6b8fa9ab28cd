"""How new points are found: options of the samplers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from fermiac._base.validate import choice, positive, whole, yes
from fermiac.errors import ArgumentError

__all__ = [
    "Galilean",
    "RandomWalk",
    "Sampler",
    "Slice",
    "Uniform",
    "as_sampler",
    "refuse_importance",
    "settled",
]

_DIRECTIONS = ("sweeps", "differential", "mixture", "axes")


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """The base of the samplers."""

    def _options(self, dim: int) -> dict[str, Any]:
        """What the core takes."""
        raise NotImplementedError

    def _moving(self, n_moves: int) -> Sampler:
        """The sampler with chains of so many moves; chains of slices, where it has none."""
        return Slice(n_slices=n_moves)


@dataclass(frozen=True, kw_only=True)
class Uniform(Sampler):
    """Rejection: points uniform in a bound, until enough lie above the level.

    Independent points at the price of one evaluation for each that the bound holds in vain: the
    method of choice in few dimensions.

    Parameters
    ----------
    bootstrap : int, default 5
        Rounds of the bootstrap by which the bound is enlarged; more of them make a wider bound.
    enlarge : float, default 1.0
        A factor of the volume of the bound beside that of the bootstrap; 1 or more.
    importance : bool, default False
        Estimate the evidence a second time, from all points that were evaluated, also those below
        the level [2]_: see `ImportanceEvidence`. Keeps all points and bounds in memory; not for
        runs with ``dynamic``, ``validate`` or ``surrogate``.

    References
    ----------
    .. [1] F. Feroz, M. P. Hobson, M. Bridges, "MultiNest: an efficient and robust Bayesian
       inference tool for cosmology and particle physics", Monthly Notices of the Royal
       Astronomical Society, 2009.
    .. [2] F. Feroz, M. P. Hobson, E. Cameron, A. N. Pettitt, "Importance nested sampling and the
       MultiNest algorithm", Open Journal of Astrophysics, 2019.
    """

    bootstrap: int = 5
    enlarge: float = 1.0
    importance: bool = False

    def __post_init__(self) -> None:
        whole("bootstrap", self.bootstrap, 0, 1000)
        yes("importance", self.importance)
        if positive("enlarge", self.enlarge) < 1.0:
            raise ArgumentError(
                f"enlarge: {self.enlarge!r} given; a finite number from 1 up is needed"
            )

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            "sampler": "uniform",
            "bootstrap": self.bootstrap,
            "enlarge": float(self.enlarge),
            "importance": bool(self.importance),
        }


@dataclass(frozen=True, kw_only=True)
class Slice(Sampler):
    """Chains of slices: each new point is the end of one that starts at a point above the level.

    A line through the chain is cut to a bracket, which is placed at random and shrinks until a
    point of it lies above the level. Evaluations grow like d² with the dimension d, whatever the
    shape of the likelihood.

    Parameters
    ----------
    n_slices : int, optional
        Slices of each chain, for the whole run. By default they are 3 d, and more from batch to
        batch as long as chains end where they began: while the correlation of ends and starts in
        any coordinate of the mode is above 0.2, up to 48 d. Chains that are too short bias the
        evidence upwards.
    direction : {"sweeps", "differential", "mixture", "axes"}, default "sweeps"
        Where the lines point: through random orthonormal bases, after the covariance of the points
        of the mode is made a unit matrix; from one point to another; half of each; or along an
        axis.
    step_out : bool, default False
        Let the ends of the bracket step out until they lie below the level. Brackets that do not
        are as right, and took less than half of the evaluations for the same error in tests.

    References
    ----------
    .. [1] R. M. Neal, "Slice sampling", Annals of Statistics, 2003.
    .. [2] W. J. Handley, M. P. Hobson, A. N. Lasenby, "PolyChord: next-generation nested
       sampling", Monthly Notices of the Royal Astronomical Society, 2015.
    """

    n_slices: int | None = None
    direction: str = "sweeps"
    step_out: bool = False

    def __post_init__(self) -> None:
        if self.n_slices is not None:
            whole("n_slices", self.n_slices, 1, 10**6)
        choice("direction", self.direction, _DIRECTIONS)
        yes("step_out", self.step_out)

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            "sampler": "slice",
            "n_moves": self.n_slices or 3 * dim,
            "adapt_length": self.n_slices is None,
            "direction": self.direction,
            "step_out": self.step_out,
        }

    def _moving(self, n_moves: int) -> Sampler:
        return replace(self, n_slices=n_moves)


@dataclass(frozen=True, kw_only=True)
class RandomWalk(Sampler):
    """Random walks: each new point is the end of one that starts at a point above the level.

    Steps are uniform in a ball, after the covariance of the points of the mode (or of all) is made
    a unit matrix; its radius is tuned between batches so that half of them are accepted.

    Parameters
    ----------
    n_steps : int, optional
        Steps of each walk, accepted or not, for the whole run; by default 20 + d, and more as long
        as walks end where they began, as with `Slice`. A walk without an accepted step goes
        on, and starts anew after four times as many: no copy of its start is ever returned.

    References
    ----------
    .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006.
    """

    n_steps: int | None = None

    def __post_init__(self) -> None:
        if self.n_steps is not None:
            whole("n_steps", self.n_steps, 1, 10**6)

    def _options(self, dim: int) -> dict[str, Any]:
        return {
            "sampler": "rwalk",
            "n_moves": self.n_steps or 20 + dim,
            "adapt_length": self.n_steps is None,
        }

    def _moving(self, n_moves: int) -> Sampler:
        return replace(self, n_steps=n_moves)


@dataclass(frozen=True, kw_only=True)
class Galilean(Sampler):
    """Flights by the gradient: each new point is the end of one that starts above the level.

    Steps go straight on, and reflect where they would leave the region above the level, by the
    gradient of the log-likelihood there; if that leads out too, they turn back. Part of the
    velocity is drawn anew before each step. The likelihood must have a gradient, and the prior be
    a law of `fermiac.distributions` (or a list of laws), for the gradient is carried to the unit
    cube.

    Parameters
    ----------
    n_steps : int, optional
        Steps of each flight, one evaluation each, and another where it meets the boundary;
        10 √d by default, rounded up. A flight without a step that went on is prolonged, and starts
        anew after four times as many: no copy of its start is ever returned.
    step : float, optional
        The root mean square length of steps, after the covariance of the points of the mode (or of
        all) is made a unit matrix. By default it is tuned between batches, so that one step in
        three meets the boundary.

    References
    ----------
    .. [1] J. Skilling, "Bayesian computation in big spaces: nested sampling and Galilean Monte
       Carlo", AIP Conference Proceedings, 2012.
    .. [2] F. Feroz, J. Skilling, "Exploring multi-modal distributions with nested sampling", AIP
       Conference Proceedings, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> normal = fm.distributions.Normal([0.0] * 20)
    >>> prior = fm.distributions.Uniform([-5.0] * 20, [5.0] * 20)
    >>> r = fm.nested.sample(normal, prior, sampler="galilean", n_live=100, rng=0)
    >>> bool(abs(r.log_evidence + 20 * np.log(10)) < 5 * r.log_evidence_stderr)
    True
    """

    n_steps: int | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        if self.n_steps is not None:
            whole("n_steps", self.n_steps, 1, 10**6)
        if self.step is not None:
            positive("step", self.step)

    def _length(self, dim: int) -> int:
        return self.n_steps or math.ceil(10 * math.sqrt(dim))

    def _options(self, dim: int) -> dict[str, Any]:
        step = None if self.step is None else float(self.step)
        return {
            "sampler": "galilean",
            "n_moves": self._length(dim),
            "adapt_length": self.n_steps is None,
            "step": step,
        }

    def _moving(self, n_moves: int) -> Sampler:
        return replace(self, n_steps=n_moves)


@dataclass(frozen=True, kw_only=True, repr=False)
class _Auto(Sampler):
    """Rejection in up to nine dimensions, until chains of slices are cheaper; else those."""

    def __repr__(self) -> str:
        return "auto"

    def _options(self, dim: int) -> dict[str, Any]:
        if dim >= _MANY:
            return Slice()._options(dim)
        return {
            **Uniform()._options(dim),
            "sampler": "auto",
            "n_moves": 3 * dim,
            "adapt_length": True,
        }


#: From this dimension on rejection is not tried.
_MANY = 10
_BY_NAME: dict[str, type[Sampler]] = {
    "auto": _Auto,
    "unif": Uniform,
    "uniform": Uniform,
    "slice": Slice,
    "rwalk": RandomWalk,
    "galilean": Galilean,
}


def as_sampler(given: Any) -> Sampler:
    """Take a sampler, or the name of one with its defaults."""
    if isinstance(given, Sampler):
        return given
    if not isinstance(given, str) or given not in _BY_NAME:
        names = ", ".join(map(repr, _BY_NAME))
        raise ArgumentError(
            f"sampler: {given!r:.60} was given; one of {names}, or an object such as "
            "fermiac.nested.Slice(n_slices=50) is needed"
        )
    return _BY_NAME[given]()


def refuse_importance(sampler: Sampler, **others: bool) -> None:
    """Refuse importance beside arguments with which points are not all from bounds of one run."""
    given = [name for name, is_given in others.items() if is_given]
    if given and getattr(sampler, "importance", False):
        raise ArgumentError(
            f"sampler: importance=True was given with {given[0]}=, with which not all points are "
            "drawn from the bounds of one run on the likelihood; leave one of them out"
        )


def settled(sampler: Sampler, dim: int, n_moves: int) -> Sampler:
    """What a run came to use, whose longest chains had so many moves; none of rejection."""
    if n_moves:
        return sampler._moving(n_moves)
    return Uniform() if isinstance(sampler, _Auto) and dim < _MANY else sampler
