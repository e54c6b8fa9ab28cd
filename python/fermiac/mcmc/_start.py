"""Where chains start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._arguments import numbers
from fermiac.errors import ArgumentError, TargetError
from fermiac.mcmc._kernels import Kernel, Ports
from fermiac.targets._density import LogDensity

__all__ = ["starts"]

Array = NDArray[np.float64]

#: How often a start without density is drawn anew.
_TRIES = 100
#: Starts are uniform within this distance of 0, coordinate by coordinate.
_RADIUS = 2.0


def starts(init: Any, ports: Ports, kernel: Kernel, n_chains: int, key: int) -> tuple[Array, int]:
    """The first point of every chain, (n_chains, d), and the evaluations that they took.

    What was given is checked; what is drawn is drawn anew where the density is 0.
    """
    target, needs_gradient = ports.target, kernel.needs_gradient
    if init is None or isinstance(init, str):
        name = "jitter" if init is None else init
        if name != "jitter":
            raise ArgumentError(f"init: {init!r} given; 'jitter', an array or a callable is needed")
        return _drawn(_jitter, ports, kernel, n_chains, key)
    points = init(n_chains) if callable(init) else init
    x = np.array(numbers("init", points))
    if x.ndim == 1 and n_chains > 0:
        x = np.tile(x, (n_chains, 1))
    if x.shape != (n_chains, target.dim):
        raise ArgumentError(
            f"init: an array of shape {np.shape(points)} given; one point for every chain, "
            f"({n_chains}, {target.dim}), or one for all, ({target.dim},), is needed"
        )
    x = np.ascontiguousarray(x)
    bad = np.flatnonzero(~_usable(target, x, needs_gradient))
    if len(bad):
        raise _no_density(int(bad[0]), x[bad[0]], "give points inside the support")
    return x, n_chains


def _jitter(stream: _core.Stream, dim: int) -> Array:
    out = np.empty(dim)
    stream.fill_uniform(out)
    return _RADIUS * (2 * out - 1)


def _drawn(
    draw: Callable[[_core.Stream, int], Array],
    ports: Ports,
    kernel: Kernel,
    n_chains: int,
    key: int,
) -> tuple[Array, int]:
    """Draws each chain's start from a stream of its own, again where the density is 0."""
    target, needs_gradient = ports.target, kernel.needs_gradient
    streams = [_core.Stream.start(key, i) for i in range(n_chains)]
    x = np.array([draw(stream, target.dim) for stream in streams])
    kernel._settle(x, ports)
    left, n_evals = np.arange(n_chains), 0
    for _ in range(_TRIES):
        n_evals += len(left)
        left = left[~_usable(target, x[left], needs_gradient)]
        if not len(left):
            return x, n_evals
        again = np.array([draw(streams[i], target.dim) for i in left])
        kernel._settle(again, ports)
        x[left] = again
    raise _no_density(
        int(left[0]),
        x[left[0]],
        f"no start with density was found in {_TRIES} tries; give init= an array of points inside "
        "the support",
    )


def _usable(target: LogDensity, x: Array, needs_gradient: bool) -> NDArray[np.bool_]:
    values, gradients = target._evaluate(x.copy(), needs_gradient)
    good = np.isfinite(values)
    if gradients is not None:
        good &= np.isfinite(gradients).all(axis=1)
    return good


def _no_density(chain: int, x: Array, advice: str) -> TargetError:
    return TargetError(
        f"init: the density is 0, or its gradient is not finite, at the start of chain {chain}, "
        f"x = {np.array2string(x[:6], precision=6)}{'' if len(x) <= 6 else ' …'}: {advice}"
    )
