"""Jobs: the checked problem and settings of a run, in the form that the core needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from fermiac import _core
from fermiac._base.validate import labels, listed, positive, real, shown, whole
from fermiac.errors import ArgumentError
from fermiac.nested.allocation import Dynamic
from fermiac.nested.problem import Blobs, Prior, handle_of
from fermiac.nested.samplers import Sampler
from fermiac.results.bounds import bounds_setting
from fermiac.targets.model import ModelTarget

__all__ = ["BOUNDS", "BoundName", "Job", "job_of"]

BoundName: TypeAlias = Literal["multi", "single", "friends", "none"]
BOUNDS: tuple[str, ...] = get_args(BoundName)
#: A limit that no run reaches.
_NO_LIMIT = 2**62


@dataclass(frozen=True, kw_only=True)
class Job:
    """The problem and the settings of a run."""

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
    on_nan: str
    names: tuple[str, ...]
    blobs: Blobs
    key: int
    first_batch: int = 0
    high: float = float("inf")
    #: Whether the bounds are probed.
    probed: bool = True
    #: Whether the evidence is also estimated from points of known densities, if the sampler can.
    keeps_points: bool = True
    dynamic: Dynamic | None = None
    #: The likelihood itself, if `target` evaluates it on an executor.
    source: Any = None
    #: The model whose unconstrained space the points live in, if it is one of another library.
    model: ModelTarget | None = None

    @property
    def dim(self) -> int:
        """Return the number of parameters."""
        return self.prior.dim

    def labelled(self) -> dict[str, Any]:
        """Return the fields of a result that name its parts."""
        return {"names": self.names} if self.model is None else self.model._labelled

    def shown(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the arrays of points with the draws as the user sees them."""
        if self.model is None:
            return raw
        return {**raw, "draws": self.model.constrain(raw["draws"])}

    @property
    def ports(self) -> tuple[Any, Any]:
        """Return the prior and the likelihood as the core takes them."""
        return self.prior.handle, handle_of(self.target, self.dim, self.blobs[0])

    def options(self) -> dict[str, Any]:
        """Return the settings as the core takes them."""
        edges = ["h"] * self.dim
        for letter, given in (("p", self.periodic), ("r", self.reflective)):
            for axis in given:
                edges[axis] = letter
        return {
            **self.sampler._options(self.dim),
            "bound": self.bound,
            "n_live": self.n_live,
            "batch": self.batch,
            "dlogz": self.dlogz,
            "high": self.high,
            "probed": self.probed,
            "importance": self.keeps_points and self.sampler._keeps_points,
            "proposals": self.keeps_points and self.sampler._proposes,
            "likelihood_tol": self.likelihood_tol,
            "max_evals": _NO_LIMIT if self.max_evals is None else self.max_evals,
            "max_iter": _NO_LIMIT if self.max_iter is None else self.max_iter,
            "max_init_blocks": self.max_init_blocks,
            "key": self.key,
            "first_batch": self.first_batch,
            "edges": "".join(edges),
            "on_nan": self.on_nan,
        }

    def make(self, above: dict[str, Any] | None = None) -> _core.NestedRun:
        """Return the run before its first point; `above` starts it above a level."""
        return _core.NestedRun(*self.ports, self.options(), above)

    def with_target(self, target: Any) -> Job:
        """Return the job with a target that evaluates the likelihood on an executor."""
        return replace(self, target=target, source=self.source or self.target)

    def at_home(self) -> Job:
        """Return the job with the likelihood itself as the target."""
        return self if self.source is None else replace(self, target=self.source, source=None)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the result, defaults filled in."""
        return {
            "n_live": self.n_live,
            "batch": self.batch,
            "sampler": repr(self.sampler),
            "tuned": self.sampler._is_tuned,
            "bound": self.bound,
            "dlogz": self.dlogz,
            "likelihood_tol": self.likelihood_tol,
            "max_evals": self.max_evals,
            "max_iter": self.max_iter,
            "periodic": list(self.periodic),
            "reflective": list(self.reflective),
            "on_nan": self.on_nan,
            "blobs": list(self.blobs[1]) or self.blobs[0],
            "prior": repr(self.prior),
            **bounds_setting(self._support()),
        }

    def _support(self) -> list[tuple[float, float]]:
        """Return the bounds of the coordinates of a draw, as far as they are known."""
        if self.model is not None:
            return self.model._constrained_support()
        return [] if self.prior.law is None else list(self.prior.law._support())

    def identity(self) -> dict[str, Any]:
        """Return the identity of the run that a checkpoint must match, as types of JSON."""
        options = self.options()
        # Limits may change; the ends of axes are listed under the names of the arguments.
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
    """Return the axes that were given by numbers, by names, or by a flag for each."""
    if given is None:
        return ()
    items = listed(given, max(dim, len(names)))
    items = [given] if items is None else items
    if len(items) == dim and all(isinstance(flag, bool | np.bool_) for flag in items):
        return tuple(axis for axis, flag in enumerate(items) if flag)
    found = []
    for axis in items:
        if isinstance(axis, str) and axis in names:
            found.append(names.index(axis))
        elif (
            isinstance(axis, int | np.integer) and not isinstance(axis, bool) and -dim <= axis < dim
        ):
            found.append(int(axis) % dim)
        else:
            raise ArgumentError(
                f"{name}: {shown(axis)} given; numbers of axes from 0 to {dim - 1}, their names, "
                f"or {dim} booleans are needed"
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
    on_nan: str,
    names: Sequence[str] | None,
    blobs: Blobs,
    key: int,
    dynamic: Dynamic | None = None,
    model: ModelTarget | None = None,
) -> Job:
    """Return the job of a call, with its settings checked."""
    dim = prior.dim
    known = labels(names, dim)
    n_live = whole("n_live", n_live, 1, 2**31)
    periodic = axes("periodic", periodic, dim, known)
    reflective = axes("reflective", reflective, dim, known)
    both = set(periodic) & set(reflective)
    if both:
        raise ArgumentError(
            f"periodic, reflective: axis {min(both)} is in both; an axis has one kind of end"
        )
    tolerance = real(
        "likelihood_tol",
        likelihood_tol,
        "0 or a positive, finite number is needed",
        lambda x: 0 <= x < np.inf,
    )
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
        periodic=periodic,
        reflective=reflective,
        on_nan=on_nan,
        names=known,
        blobs=blobs,
        key=key,
        dynamic=dynamic,
        model=model,
    )
