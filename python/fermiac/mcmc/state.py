"""Kernels one transition at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import numbers
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import Stream
from fermiac.targets import as_target

if TYPE_CHECKING:
    from fermiac.mcmc.kernel import Kernel, Ports

__all__ = ["State", "first_state", "next_state"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """Where a chain stands, of `Kernel.init` and `Kernel.step`. It never changes.

    Attributes
    ----------
    x : ndarray of shape (d,)
    log_density : float
        NaN where the kernel does not know it.
    gradient : ndarray of shape (d,) or None
        Where the kernel knows it.
    """

    x: Array
    log_density: float
    gradient: Array | None
    _spec: Any = field(repr=False)
    _ports: Ports = field(repr=False)
    _words: NDArray[np.uint64] = field(repr=False)
    _n_done: int = field(repr=False)


def first_state(kernel: Kernel, target: Any, x0: ArrayLike) -> State:
    """A state at `x0`."""
    from fermiac.mcmc.kernel import Ports

    x = np.array(numbers("x0", x0))
    if x.ndim != 1 or x.size == 0:
        raise ArgumentError(f"x0: shape {x.shape} given; a point, (d,), is needed")
    density = as_target(target, len(x))
    if kernel._n_points(2) != 1:
        raise ArgumentError(f"kernel: {type(kernel).__name__} moves several points at a time")
    if kernel.needs_gradient and not density.has_gradient:
        raise ArgumentError(
            f"target: {type(kernel).__name__} needs the gradient of the log-density, which this "
            "one has not; make it by fermiac.targets.as_target(f, dim, gradient)"
        )
    value = float(density.log_density(x[None])[0])
    if value == -np.inf:
        raise TargetError(f"x0: the density is 0 at {x[:6]}; a point of the support is needed")
    ports = Ports(density)
    spec = kernel._spec(len(x), ports)
    words = _core.Sampler(spec, len(x), x[None], [], False, 0).save()
    return State(
        x=x, log_density=value, gradient=None, _spec=spec, _ports=ports, _words=words, _n_done=0
    )


def next_state(rng: Stream, state: State) -> tuple[State, dict[str, float]]:
    """The state after a transition, and its statistics; the stream moves on."""
    if not isinstance(rng, Stream):
        raise ArgumentError(
            f"rng: {type(rng).__name__} given; a fermiac.random.Stream is needed, which moves on"
        )
    if not isinstance(state, State):
        raise ArgumentError(
            f"state: {type(state).__name__} given; what init or step gave is needed"
        )
    dim = len(state.x)
    sampler = _core.Sampler(state._spec, dim, state.x[None], [], False, 0)
    sampler.load(state._words)
    sampler.set_stream_position(rng.position)
    draws, values = np.empty((1, 1, dim)), np.empty((1, 1))
    gradients = np.empty((1, 1, dim)) if sampler.gives_gradient else None
    stats = np.empty((1, 1, len(sampler.stat_names)))
    record = {
        "first": state._n_done,
        "thin": 1,
        "n_slots": 1,
        "draws": draws,
        "log_densities": values,
        "gradients": gradients,
        "stats": stats,
    }
    until = state._n_done + 1
    _, error = sampler.run(state._ports, until, record, None, 1, 1)
    if error is not None:
        raise error
    rng._stream = _core.Stream.from_position(sampler.stream_position())
    after = State(
        x=draws[0, 0],
        log_density=float(values[0, 0]),
        gradient=None if gradients is None else gradients[0, 0],
        _spec=state._spec,
        _ports=state._ports,
        _words=sampler.save(),
        _n_done=until,
    )
    return after, dict(zip(sampler.stat_names, map(float, stats[0, 0]), strict=True))
