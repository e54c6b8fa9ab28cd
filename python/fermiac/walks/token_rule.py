"""The rule of the steps of tokens: its arguments, checked, and its settings in the core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import ask
from fermiac._base.validate import numbers, positive, probability, shown, whole
from fermiac.errors import ArgumentError
from fermiac.walks.kernels import exponent

__all__ = ["Rule", "initial_parameters"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The rule of a step: its size, momentum, clipping, projection and averages."""

    b: float
    c: float
    step_sizes: Array | None
    momentum: float
    clip: float | None
    projection: tuple[Any, ...] | None
    local_steps: int
    batch_size: int | None
    average: int | None
    sync: int | None

    @classmethod
    def of(cls, dim: int, n_steps: int, n_tokens: int, **given: Any) -> Rule:
        """Return the rule, checked; `n_steps` are those of the whole run."""
        momentum = probability("momentum", given["momentum"], zero=True)
        average = given["average"]
        if isinstance(average, bool | np.bool_):
            average = 0 if average else None
        else:
            average = whole("average", average, 0, 2**62)
        sync = given["sync"]
        if sync is not None:
            sync = whole("sync", sync, 1, 2**62)
            if n_tokens == 1:
                raise ArgumentError(
                    "sync: given for one token, which has none to meet; leave it out"
                )
        batch, clip = given["batch_size"], given["clip"]
        return cls(
            b=exponent("b", given["b"]),
            c=positive("c", given["c"]),
            step_sizes=_sizes(given["step_sizes"], n_steps),
            momentum=momentum,
            clip=None if clip is None else positive("clip", clip),
            projection=_projection(given["projection"], dim),
            local_steps=whole("local_steps", given["local_steps"], 1, 2**31),
            batch_size=None if batch is None else whole("batch_size", batch, 1, 2**31),
            average=average,
            sync=sync,
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings of the rule in the core."""
        kind, *limits = self.projection or (None,)
        return {
            "scale": self.c,
            "exponent": self.b,
            "step_sizes": self.step_sizes,
            "momentum": self.momentum,
            "clip": self.clip,
            "radius": limits[0] if kind == "ball" else None,
            "bounds": tuple(limits) if kind == "box" else None,
            "local_steps": self.local_steps,
            "batch": self.batch_size,
            "average_after": self.average,
            "sync": self.sync,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for results and checkpoints."""
        sizes = self.step_sizes
        out = dict(vars(self))
        if sizes is not None:
            out["step_sizes"] = f"given, {blake2b(sizes.tobytes(), digest_size=8).hexdigest()}"
        if self.projection is not None:
            out["projection"] = [
                x.tolist() if isinstance(x, np.ndarray) else x for x in self.projection
            ]
        return out


def initial_parameters(
    init: Any, dim: int | None, n_tokens: int
) -> tuple[Array | None, int | None]:
    """Return the first parameters, a row for each token, and their number; None if not known."""
    if dim is not None:
        dim = whole("dim", dim, 1, 2**31)
    if init is None:
        return None, dim
    theta = np.atleast_1d(numbers("init", init))
    if theta.ndim > 2 or not theta.size or (theta.ndim == 2 and len(theta) != n_tokens):
        raise ArgumentError(
            f"init: shape {theta.shape} was given; (d,) for all tokens, or ({n_tokens}, d), is "
            "needed"
        )
    if not np.isfinite(theta).all():
        raise ArgumentError("init: infinity was given; finite numbers are needed")
    if dim is not None and dim != theta.shape[-1]:
        raise ArgumentError(f"dim: {dim} was given with init of shape {theta.shape}")
    dim = int(theta.shape[-1])
    return np.ascontiguousarray(np.broadcast_to(theta, (n_tokens, dim))), dim


def _sizes(given: Any, n_steps: int) -> Array | None:
    if given is None:
        return None
    sizes = ask(given, (np.arange(1, n_steps + 1),), "step_sizes") if callable(given) else given
    sizes = np.ascontiguousarray(numbers("step_sizes", sizes))
    if sizes.ndim != 1 or len(sizes) < n_steps:
        raise ArgumentError(
            f"step_sizes: shape {sizes.shape} was given for {n_steps} steps; ({n_steps},) is "
            "needed, one for each, or a function of an array of steps 1, 2, ..."
        )
    if not ((sizes >= 0) & np.isfinite(sizes)).all():
        raise ArgumentError("step_sizes: finite numbers from 0 on are needed")
    return sizes


def _projection(given: Any, dim: int) -> tuple[Any, ...] | None:
    if given is None:
        return None
    kind = given[0] if isinstance(given, tuple | list) and given else None
    if kind == "ball" and len(given) == 2:
        return "ball", positive("projection", given[1])
    if kind == "box" and len(given) == 3:
        low, high = (numbers("projection", side) for side in given[1:])
        if low.shape not in ((), (dim,)) or high.shape not in ((), (dim,)):
            raise ArgumentError(
                f"projection: a box of shapes {low.shape} and {high.shape} was given; numbers, or "
                f"({dim},), are needed"
            )
        if not (low <= high).all() or (low == math.inf).any() or (high == -math.inf).any():
            raise ArgumentError("projection: a box without points was given")
        sides = (np.broadcast_to(side, (dim,)) for side in (low, high))
        return "box", *(np.ascontiguousarray(side) for side in sides)
    raise ArgumentError(
        f"projection: {shown(given)} was given; ('ball', radius) or ('box', low, high) is needed"
    )
