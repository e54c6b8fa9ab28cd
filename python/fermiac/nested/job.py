"""What a run is to do, as the core takes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fermiac import _core
from fermiac._base.validate import labels, positive, whole
from fermiac.errors import ArgumentError
from fermiac.nested.allocation import Dynamic
from fermiac.nested.likelihood import Blobs, handle_of
from fermiac.nested.prior import Prior
from fermiac.nested.samplers import Sampler

__all__ = ["BOUNDS", "Job", "job_of"]

BOUNDS = ("multi", "single", "friends", "none")
#: More evaluations or batches than any run makes.
_NO_LIMIT = 2**62


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run: its problem and its settings, checked."""

    prior: Prior
    target: Any
    sampler: Sampler
    bound: str
    n_live: int
    batch: int
    dlogz: float
    likelihood_tol: float
    max_evals: int | None
    max_iter: int | None
    max_init_blocks: int
    periodic: tuple[int, ...]
    reflective: tuple[int, ...]
    nan: str
    names: tuple[str, ...]
    blobs: Blobs
    key: int
    first_batch: int = 0
    high: float = float("inf")
    dynamic: Dynamic | None = None
    #: The likelihood itself, where another stands for it that is evaluated elsewhere.
    source: Any = None

    @property
    def dim(self) -> int:
        """Return the number of parameters."""
        return self.prior.dim

    @property
    def ports(self) -> tuple[Any, Any]:
        """Prior and likelihood as the core takes them."""
        return self.prior.handle, handle_of(self.target, self.dim, self.blobs[0])

    def options(self) -> dict[str, Any]:
        """The settings as the core takes them."""
        edges = ["h"] * self.dim
        for letter, given in (("p", self.periodic), ("r", self.reflective)):
            for axis in given:
                edges[axis] = letter
        return {
            "n_moves": 1,
            "direction": "sweeps",
            "step_out": False,
            "step": None,
            "bootstrap": 0,
            "enlarge": 1.0,
            "adapt_length": False,
            "importance": False,
            **self.sampler._options(self.dim),
            "bound": self.bound,
            "n_live": self.n_live,
            "batch": self.batch,
            "dlogz": self.dlogz,
            "high": self.high,
            "likelihood_tol": self.likelihood_tol,
            "max_evals": _NO_LIMIT if self.max_evals is None else self.max_evals,
            "max_iter": _NO_LIMIT if self.max_iter is None else self.max_iter,
            "max_init_blocks": self.max_init_blocks,
            "key": self.key,
            "first_batch": self.first_batch,
            "edges": "".join(edges),
            "nan": self.nan,
        }

    def make(self, above: dict[str, Any] | None = None) -> _core.NestedRun:
        """The run, before its first point."""
        return _core.NestedRun(*self.ports, self.options(), above)

    def with_target(self, target: Any) -> Job:
        """The same, of a likelihood that is evaluated elsewhere."""
        return replace(self, target=target, source=self.source or self.target)

    def at_home(self) -> Job:
        """The same, of the likelihood itself."""
        return self if self.source is None else replace(self, target=self.source, source=None)

    def settings(self) -> dict[str, Any]:
        """For the result: what was chosen, defaults filled in."""
        return {
            "n_live": self.n_live,
            "batch": self.batch,
            "sampler": repr(self.sampler),
            "bound": self.bound,
            "dlogz": self.dlogz,
            "likelihood_tol": self.likelihood_tol,
            "max_evals": self.max_evals,
            "max_iter": self.max_iter,
            "periodic": list(self.periodic),
            "reflective": list(self.reflective),
            "nan": self.nan,
            "blobs": list(self.blobs[1]) or self.blobs[0],
            "prior": repr(self.prior),
        }

    def identity(self) -> dict[str, Any]:
        """What makes a run the same run, as types of JSON."""
        options = self.options()
        # A run may be made longer; the ends of axes go by the names that users know.
        for name in ("max_evals", "max_iter", "key", "high", "edges"):
            del options[name]
        aim = self.dynamic
        dynamic = None if aim is None else [aim.posterior_share, aim.n_batch, aim.explore_every]
        return {
            "version": _core.__version__,
            "isa": _core.isa_level,
            "seed": self.key,
            "dim": self.dim,
            "sampler": options.pop("sampler"),
            "dynamic": dynamic,
            **options,
            "periodic": list(self.periodic),
            "reflective": list(self.reflective),
            "blobs": self.blobs[0],
        }


def axes(name: str, given: Any, dim: int, names: tuple[str, ...]) -> tuple[int, ...]:
    """Axes by their numbers or names, or flags of all of them."""
    if given is None:
        return ()
    listed = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if len(listed) == dim and all(isinstance(flag, bool | np.bool_) for flag in listed):
        return tuple(axis for axis, flag in enumerate(listed) if flag)
    found = []
    for axis in listed:
        if isinstance(axis, str) and axis in names:
            found.append(names.index(axis))
        elif (
            isinstance(axis, int | np.integer) and not isinstance(axis, bool) and -dim <= axis < dim
        ):
            found.append(int(axis) % dim)
        else:
            raise ArgumentError(
                f"{name}: {axis!r:.60} given; numbers of axes from 0 to {dim - 1}, their names, or "
                f"{dim} booleans are needed"
            )
    return tuple(sorted(set(found)))


def job_of(
    *,
    prior: Prior,
    target: Any,
    sampler: Sampler,
    bound: str,
    n_live: Any,
    batch: Any,
    dlogz: Any,
    likelihood_tol: Any,
    max_evals: Any,
    max_iter: Any,
    max_init_blocks: Any,
    periodic: Any,
    reflective: Any,
    nan: str,
    names: Sequence[str] | None,
    blobs: Blobs,
    key: int,
    dynamic: Dynamic | None = None,
) -> Job:
    """Check the settings of a call."""
    dim = prior.dim
    known = labels(names, dim)
    n_live = whole("n_live", n_live, 1, 2**31)
    circles, mirrors = (
        axes(n, a, dim, known) for n, a in (("periodic", periodic), ("reflective", reflective))
    )
    both = set(circles) & set(mirrors)
    if both:
        raise ArgumentError(
            f"periodic, reflective: axis {min(both)} is in both; an axis has one kind of end"
        )
    tolerance = 0.0 if likelihood_tol == 0 else positive("likelihood_tol", likelihood_tol)
    return Job(
        prior=prior,
        target=target,
        sampler=sampler,
        bound=bound,
        n_live=n_live,
        batch=max(1, n_live // 8) if batch is None else whole("batch", batch, 1, 2**31),
        dlogz=positive("dlogz", dlogz),
        likelihood_tol=tolerance,
        max_evals=None if max_evals is None else whole("max_evals", max_evals, 1, _NO_LIMIT),
        max_iter=None if max_iter is None else whole("max_iter", max_iter, 1, _NO_LIMIT),
        max_init_blocks=whole("max_init_blocks", max_init_blocks, 1, 2**40),
        periodic=circles,
        reflective=mirrors,
        nan=nan,
        names=known,
        blobs=blobs,
        key=key,
        dynamic=dynamic,
    )
